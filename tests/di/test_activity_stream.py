"""A whole bot at a real venue: what the stream of activities brings, and when it is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from holdfast.data import read_bars, write_bars
from holdfast.di import Container
from holdfast.model import Bar
from holdfast.model.enums import OrderStatus, Source
from holdfast.model.events import Event, OrderFilled
from holdfast.samples import path as sample_path
from holdfast.testing.processes import VenueProcess

SYMBOL = "BTC/USD"
KEYS = {"api_key": "AK", "api_secret": "secret"}


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[VenueProcess]:
    """The bundled market, four bars a second."""
    data = tmp_path / "bars.csv.gz"
    write_bars(read_bars(sample_path(), SYMBOL).slice(0, 400), data)
    process = VenueProcess(tmp_path, "venue", ["--data", data, "--symbol", SYMBOL, "--speed", 240])
    yield process
    process.kill()


@pytest.fixture
async def bot(venue: VenueProcess) -> AsyncIterator[Container]:
    """A bot without a strategy, whose comparisons of the books are an hour of the venue's time apart."""
    url = venue.url
    alpaca = {**KEYS, "base_url": url, "data_url": url, "market_stream_url": url.replace("http", "ws", 1)}
    container = await Container.connect(
        {
            "alpaca": alpaca,
            "watch": [SYMBOL],
            "risk": {"max_data_age": 3_600},
            "reconcile": {"interval_seconds": 3_600, "mute_seconds": 3_600},
        }
    )
    yield container
    await container.stop()


@pytest.mark.slow
async def test_both_witnesses_tell_of_a_fill_and_it_is_counted_once(bot: Container) -> None:
    """P3: one execution under the venue's id, from whichever came first; the status shows the stream; a stop ends it."""
    told: dict[Source, OrderFilled] = {}
    both, barred = asyncio.Event(), asyncio.Event()

    def observe(event: Event) -> None:
        if isinstance(event, Bar):
            barred.set()
        if isinstance(event, OrderFilled):
            told[event.source] = event
            if len(told) == 2:
                both.set()

    await bot.start()
    bot.runner.observers.append(observe)
    stream = bot.activity_stream
    assert stream is not None
    async with asyncio.timeout(60):
        await barred.wait()
        verdict = await bot.process_signal({"symbol": SYMBOL, "side": "BUY", "quantity": "0.01"})
        assert verdict.approved, verdict.reason
        await both.wait()
    ids = {event.execution.execution_id for event in told.values()}
    assert ids == {execution.execution_id for execution in await bot.broker.fetch_executions(0)}
    assert set(told) == {Source.STREAM, Source.RECONCILE}
    (order,) = bot.order_tracker.orders()
    assert (len(order.executions), order.filled_quantity, order.status) == (1, Decimal("0.01"), OrderStatus.FILLED)
    assert bot.kernel.counters.executions == 1
    shown: dict[str, Any] = bot.snapshot()["activity_stream"]
    assert (shown["state"], shown["fills"], shown["malformed"]) == ("listening", 1, 0)
    await bot.stop()
    assert stream.state == "stopped"


@pytest.mark.slow
async def test_a_bot_whose_venue_does_not_offer_it_goes_on_without(bot: Container) -> None:
    """It says so, and the fill comes as before."""
    stream = bot.activity_stream
    assert stream is not None
    stream._url += "/elsewhere"
    fills: asyncio.Queue[OrderFilled] = asyncio.Queue()
    barred = asyncio.Event()

    def observe(event: Event) -> None:
        if isinstance(event, Bar):
            barred.set()
        if isinstance(event, OrderFilled):
            fills.put_nowait(event)

    await bot.start()
    bot.runner.observers.append(observe)
    async with asyncio.timeout(60):
        await barred.wait()
        await bot.process_signal({"symbol": SYMBOL, "side": "BUY", "quantity": "0.01"})
        fill = await fills.get()
    assert fill.source is Source.STREAM
    assert stream.state == "not offered"
    assert bot.health() == (True, [])


async def test_it_can_be_switched_off() -> None:
    """Then there is none; and without a word there is one."""
    without, with_it = Container({"alpaca": {**KEYS, "activity_stream": False}}), Container({"alpaca": KEYS})
    assert without.activity_stream is None
    assert with_it.activity_stream is not None
    await without.stop()
    await with_it.stop()
