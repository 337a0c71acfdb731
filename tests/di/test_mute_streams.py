"""A whole bot against a real venue whose sockets, behind a proxy, answer pings and deliver nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from holdfast.data import read_bars, write_bars
from holdfast.di import Container
from holdfast.model import Bar
from holdfast.model.events import BrokerReported, Event, OrderFilled
from holdfast.samples import path as sample_path
from holdfast.testing.processes import VenueProcess

SYMBOL = "BTC/USD"
SPEED = 240  # four bars a second
_BARS_AFTER_CONNECTING = 4  # what happens within a fifth of `mute_seconds` of the connection is not held against it


class Proxy:
    """Stands between the bot's sockets and the venue's. What is muted is read, and not passed on."""

    def __init__(self, venue_url: str) -> None:
        self._upstream = venue_url.replace("http", "ws", 1)
        self._server: Server
        self.muted: set[int] = set()
        self.swallowed = 0
        self.paths: list[str] = []

    async def start(self) -> str:
        """Listen; the base URL."""
        self._server = await serve(self._serve, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def stop(self) -> None:
        """End everything."""
        self._server.close()
        await self._server.wait_closed()

    def mute(self, path: str) -> None:
        """From now on the last connection of this path delivers nothing; the next one does."""
        self.muted.add(max(number for number, known in enumerate(self.paths) if path in known))

    async def _serve(self, client: ServerConnection) -> None:
        path = client.request.path if client.request is not None else ""
        number = len(self.paths)
        self.paths.append(path)
        with contextlib.suppress(ConnectionClosed):
            async with connect(self._upstream + path, proxy=None) as venue:
                tasks = [
                    asyncio.create_task(self._ask(client, venue)),
                    asyncio.create_task(self._tell(venue, client, number)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, client: Any, venue: Any) -> None:
        async for message in client:
            await venue.send(message)

    async def _tell(self, venue: Any, client: Any, number: int) -> None:
        async for message in venue:
            if number in self.muted:
                self.swallowed += 1
            else:
                await client.send(message)


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[VenueProcess]:
    """The bundled market, four bars a second."""
    data = tmp_path / "bars.csv.gz"
    write_bars(read_bars(sample_path(), SYMBOL).slice(0, 400), data)
    process = VenueProcess(tmp_path, "venue", ["--data", data, "--symbol", SYMBOL, "--speed", SPEED])
    yield process
    process.kill()


@pytest.fixture
async def bot(venue: VenueProcess) -> AsyncIterator[tuple[Container, Proxy]]:
    """See below; it has no stream of activities, which would bring the fills that the looks of REST shall find."""
    async with behind_a_proxy(venue, activity_stream=False) as found:
        yield found


@contextlib.asynccontextmanager
async def behind_a_proxy(venue: VenueProcess, **alpaca: object) -> AsyncIterator[tuple[Container, Proxy]]:
    """A bot without a strategy, whose two sockets go through the proxy; it looks often."""
    proxy = Proxy(venue.url)
    url = await proxy.start()
    container = await Container.connect(
        {
            "alpaca": {
                "api_key": "AK",
                "api_secret": "secret",
                "base_url": venue.url,
                "data_url": venue.url,
                "market_stream_url": url,
                **alpaca,
            },
            "watch": [SYMBOL],
            "risk": {"max_data_age": 3_600},
            "reconcile": {"interval_seconds": 5, "mute_seconds": 2},
        }
    )
    container.user_stream._url = f"{url}/stream"
    await container.start()
    yield container, proxy
    await container.stop()
    await proxy.stop()


async def _seen(container: Container, kind: type[Event], count: int = 1) -> Event:
    """The next event of a kind that the kernel handles."""
    found: asyncio.Queue[Event] = asyncio.Queue()

    def observe(event: Event) -> None:
        if isinstance(event, kind):
            found.put_nowait(event)

    container.runner.observers.append(observe)
    try:
        for _ in range(count):
            event = await found.get()
    finally:
        container.runner.observers.remove(observe)
    return event


@pytest.mark.slow
async def test_a_mute_user_stream_is_found_by_rest_and_replaced_and_no_fill_is_lost(
    bot: tuple[Container, Proxy],
) -> None:
    """P3, P4: the fill comes by a look with the venue's own id; then the socket is another one, and works."""
    container, proxy = bot
    await _seen(container, Bar, _BARS_AFTER_CONNECTING)
    back = asyncio.Event()
    proxy.mute("/stream")
    reasons: list[str] = []
    container.user_stream.on_disconnected(reasons.append)
    container.user_stream.on_connected(back.set)
    verdict = await container.process_signal({"symbol": SYMBOL, "side": "BUY", "quantity": "0.01"})
    assert verdict.approved, verdict.reason

    async with asyncio.timeout(60):
        await back.wait()

    assert proxy.swallowed > 0
    assert container.user_stream.get_stats()["restarts"] == 1
    assert len(reasons) == 1
    assert reasons[0].startswith("mute: it never told of what happened to order ")
    (order,) = container.order_tracker.orders()
    assert order.filled_quantity == Decimal("0.01")
    assert [execution.execution_id for execution in order.executions] == [
        execution.execution_id for execution in await container.broker.fetch_executions(0)
    ]
    news = asyncio.ensure_future(_seen(container, OrderFilled))
    await container.process_signal({"symbol": SYMBOL, "side": "BUY", "quantity": "0.02"})
    async with asyncio.timeout(60):
        event = await news
    assert isinstance(event, OrderFilled)
    assert event.source == "stream"
    async with asyncio.timeout(60):
        await _seen(container, BrokerReported, 2)
    assert container.user_stream.get_stats()["restarts"] == 1, "the new connection is well"
    assert container.kernel.reconciliation.drift == ()


@pytest.mark.slow
async def test_a_mute_user_stream_is_found_by_the_stream_of_activities(venue: VenueProcess) -> None:
    """P3: the fill comes by it at once, and counts as news that the socket owed."""
    async with behind_a_proxy(venue) as (container, proxy):
        await _seen(container, Bar, _BARS_AFTER_CONNECTING)
        back = asyncio.Event()
        proxy.mute("/stream")
        container.user_stream.on_connected(back.set)
        news = asyncio.ensure_future(_seen(container, OrderFilled))
        verdict = await container.process_signal({"symbol": SYMBOL, "side": "BUY", "quantity": "0.01"})
        assert verdict.approved, verdict.reason
        async with asyncio.timeout(60):
            event = await news
            await back.wait()
        assert isinstance(event, OrderFilled)
        assert event.source == "reconcile"
        assert container.user_stream.get_stats()["restarts"] == 1
        (order,) = container.order_tracker.orders()
        assert [execution.execution_id for execution in order.executions] == [event.execution.execution_id]


@pytest.mark.slow
async def test_a_mute_data_socket_is_found_by_rest_and_replaced_and_no_bar_is_lost(
    bot: tuple[Container, Proxy],
) -> None:
    """The bars that it owed are fetched; every minute was seen once."""
    container, proxy = bot
    seen: list[int] = []
    container.runner.observers.append(lambda event: seen.append(event.ts) if isinstance(event, Bar) else None)
    await _seen(container, Bar, 2)
    (stream,) = container.market_streams.values()
    back = asyncio.Event()
    stream.on_connected(back.set)
    proxy.mute("/v1beta3")

    async with asyncio.timeout(60):
        await back.wait()
        await _seen(container, Bar, 8)

    assert stream.get_stats()["restarts"] == 1
    assert "and REST has one of BTC/USD" in stream.get_stats()["last_error"]
    minutes = sorted(set(seen))
    assert minutes == list(range(minutes[0], minutes[-1] + 1, container.feed.period))
