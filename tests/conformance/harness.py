"""How the official SDK judges a venue: every call and every event has a name, is made over real sockets, and is counted.

A scenario declares with ``covers`` what it exercises. It makes its calls through ``Judge.call`` and takes its events through
``Judge.event``, which note the names; where a declared name was not exercised, or an exercised one not declared, the
scenario fails. So the number of declared names is the number of exercised ones, whatever order the tests run in.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conformance.sdk import (
    APIError,
    CryptoDataStream,
    CryptoHistoricalDataClient,
    StockDataStream,
    StockHistoricalDataClient,
    TradingClient,
    TradingStream,
)
from tests.venue.helpers import KEY, SECRET, VenueProcess, hear, say

#: What each scenario exercises, by the scenario's name.
COVERED: dict[str, tuple[str, ...]] = {}

Scenario = Callable[..., Awaitable[None]]


def covers(*names: str) -> Callable[[Scenario], Scenario]:
    """Declare what a scenario exercises."""

    def declare(scenario: Scenario) -> Scenario:
        COVERED[f"{scenario.__module__}.{scenario.__name__}"] = names

        @functools.wraps(scenario)
        async def run(judge: Judge, *args: Any, **kwargs: Any) -> None:
            await scenario(*args, judge=judge, **kwargs)
            missing, undeclared = set(names) - judge.exercised, judge.exercised - set(names)
            assert not missing, f"declared and not exercised: {sorted(missing)}"
            assert not undeclared, f"exercised and not declared: {sorted(undeclared)}"

        return run

    return declare


class Judge:
    """The SDK's clients and streams at one venue, and what was exercised with them.

    Attributes:
        exercised: The names so far.
        trading, stocks, coins: The SDK's clients.
    """

    def __init__(self, venue: VenueProcess) -> None:
        self.exercised: set[str] = set()
        self._connect(venue)

    def _connect(self, venue: VenueProcess) -> None:
        self.venue = venue
        self.trading: Any = TradingClient(KEY, SECRET, url_override=venue.url)
        self.stocks: Any = StockHistoricalDataClient(KEY, SECRET, url_override=venue.url)
        self.coins: Any = CryptoHistoricalDataClient(url_override=venue.url)

    def move_to(self, venue: VenueProcess) -> None:
        """Judge another venue from now on."""
        self.close()
        self._connect(venue)

    async def call(self, what: str, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Make a call of the SDK in a thread of its own; its name is ``Client.method`` and, if given, what it is about."""
        self._note(method, what)
        return await asyncio.to_thread(method, *args, **kwargs)

    async def refused(self, what: str, method: Any, *args: Any, **kwargs: Any) -> APIError:
        """Make a call that the venue refuses, and give the SDK's error."""
        self._note(method, what)
        with pytest.raises(APIError) as error:
            await asyncio.to_thread(method, *args, **kwargs)
        return error.value

    async def event(self, what: str, heard: Heard) -> Any:
        """The next message of a stream; its name is ``Stream kind``."""
        message = await heard.next()
        self.exercised.add(f"{heard.name} {what}")
        return message

    def close(self) -> None:
        """Close the clients."""
        for client in (self.trading, self.stocks, self.coins):
            client._session.close()

    def _note(self, method: Any, what: str) -> None:
        name = f"{type(method.__self__).__name__}.{method.__name__}"
        self.exercised.add(f"{name}: {what}" if what else name)


class Heard:
    """What a stream's handler was given, one by one.

    Attributes:
        count: How many messages it was given.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._more = asyncio.Event()

    async def handler(self, message: Any) -> None:
        """To be subscribed with."""
        self.count += 1
        self._queue.put_nowait(message)
        self._more.set()

    async def next(self) -> Any:
        """The next message."""
        async with asyncio.timeout(20):
            return await self._queue.get()

    async def until(self, count: int) -> None:
        """Wait until so many messages have come."""
        async with asyncio.timeout(20):
            while self.count < count:
                self._more.clear()
                await self._more.wait()

    def take(self) -> list[Any]:
        """All messages that nobody has taken yet."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


@contextlib.asynccontextmanager
async def running(stream: Any) -> AsyncIterator[None]:
    """One of the SDK's streams, from its start to its end."""
    task = asyncio.create_task(stream._run_forever())
    try:
        yield
    finally:
        await stream.stop_ws()
        await stream.close()
        await asyncio.gather(task, return_exceptions=True)


class Market:
    """A venue in lock-step whose trade updates and bars the SDK's own streams receive.

    Attributes:
        updates: The trade updates.
        bars: The bars of all symbols.
        done: Whether the recorded market has ended.
    """

    def __init__(self, driver: ClientConnection, updates: Heard, bars: Heard) -> None:
        self._driver = driver
        self.updates = updates
        self.bars = bars
        self.done = False

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, judge: Judge, *symbols: str) -> AsyncIterator[Self]:
        """Both streams listening, and the driver's seat taken."""
        venue, crypto = judge.venue, "/" in symbols[0]
        user: Any = TradingStream(KEY, SECRET, url_override=venue.socket_url + "/stream")
        updates = Heard("TradingStream")
        user.subscribe_trade_updates(updates.handler)
        stream, path = (CryptoDataStream, "/v1beta3/crypto/us") if crypto else (StockDataStream, "/v2/iex")
        data: Any = stream(KEY, SECRET, url_override=venue.socket_url + path)
        bars = Heard(stream.__name__)
        data.subscribe_bars(bars.handler, *symbols)
        async with (
            running(user),
            running(data),
            connect(f"{venue.lockstep_url}?key={KEY}", proxy=None) as driver,
        ):
            await hear(driver)
            yield cls(driver, updates, bars)

    async def step(self, count: int = 1) -> None:
        """Let the market take so many steps; all that they say has been received when this returns."""
        for _ in range(count):
            await self._step()

    async def settle(self) -> None:
        """Wait until everything that the venue has sent was received, without a step."""
        answer = await self._ask(-1)
        await self.updates.until(answer["updates"])

    async def _step(self) -> None:
        async with asyncio.timeout(20):
            while True:
                answer = await self._ask(self.updates.count)
                await self.updates.until(answer["updates"])
                await self.bars.until(answer["bars"])
                if answer["advanced"] or answer["done"]:
                    self.done = answer["done"]
                    return
                await asyncio.sleep(0)  # the streams may not be listening yet: ask again

    async def _ask(self, updates: int) -> dict[str, Any]:
        message = {"op": "advance", "next_timer": None, "updates": updates, "bars": self.bars.count}
        await say(self._driver, message)
        answer: dict[str, Any] = await hear(self._driver)
        return answer


def plain(model: Any) -> Any:
    """A model of the SDK as plain data, to compare it whole."""
    return msgspec.to_builtins(model.model_dump(mode="json"))
