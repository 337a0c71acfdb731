"""A venue process for the tests, and a client that trades against it in lock-step."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from holdfast.model import BarSeries
from holdfast.model.timestamps import NS_PER_MINUTE, parse_rfc3339

KEY, SECRET = "key", "secret"
KEYS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
MIDNIGHT = parse_rfc3339("2022-01-03T00:00:00Z")
OPENING = parse_rfc3339("2024-01-02T14:30:00Z")  # 09:30 in New York, a Tuesday

_LAUNCHER = Path(__file__).with_name("venue_process.py")


def minutes(symbol: str = "BTC/USD", count: int = 60, *, start: int = MIDNIGHT, base: float = 40_000.0) -> BarSeries:
    """One-minute bars that swing around a price, each with volume 10; bar ``i`` closes where the next opens."""
    index = np.arange(count + 1)
    path = np.round(base + base / 400 * np.sin(index / 3.0), 2)
    opens, closes = path[:-1], path[1:]
    reach = round(base / 4000, 2)
    return BarSeries(
        symbol,
        NS_PER_MINUTE,
        start + (index[:-1] + 1).astype(np.int64) * NS_PER_MINUTE,
        opens,
        np.maximum(opens, closes) + reach,
        np.minimum(opens, closes) - reach,
        closes,
        np.full(count, 10.0),
    )


def save(path: Path, *series: BarSeries) -> None:
    """Write series where the launcher reads them."""
    columns: dict[str, Any] = {}
    for number, bars in enumerate(series):
        columns[f"{number}|{bars.symbol}|ts"] = bars.ts
        columns[f"{number}|{bars.symbol}|prices"] = np.vstack([bars.open, bars.high, bars.low, bars.close, bars.volume])
    np.savez(path, **columns)


class VenueProcess:
    """A running venue."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready
        self.url: str = ready["url"]
        self.admin: str = ready["admin"]

    @property
    def socket_url(self) -> str:
        """Where its streams are."""
        return "ws" + self.url.removeprefix("http")

    @property
    def lockstep_url(self) -> str:
        """Where a driver connects."""
        return "ws" + self.admin.removeprefix("http") + "/lockstep"

    def client(self, key: str = KEY, secret: str = SECRET) -> httpx.Client:
        """A client of its REST API."""
        headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)

    def kill(self) -> None:
        """SIGKILL, and nothing else. A dead one stays dead."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        status = self.process.wait(timeout=30)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return status


#: Starts a venue on some series, with options of ``VenueConfig``.
StartVenue = Callable[..., VenueProcess]


def launch(data: Path, **options: Any) -> subprocess.Popen[str]:
    """Start the process; whoever calls reads its ready line."""
    text = msgspec.json.encode(options).decode()
    return subprocess.Popen(
        [sys.executable, str(_LAUNCHER), str(data), text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def venues(folder: Path) -> Iterator[StartVenue]:
    """A way to start venues, all of which are dead in the end."""
    started: list[VenueProcess] = []

    def start(*series: BarSeries, **options: Any) -> VenueProcess:
        data = folder / f"bars-{len(started)}.npz"
        save(data, *(series or (minutes(),)))
        process = launch(data, **options)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read())
        venue = VenueProcess(process, msgspec.json.decode(line))
        started.append(venue)
        return venue

    yield start
    for venue in started:
        venue.kill()


class Bot:
    """Both streams and the driver's seat of one key pair, drained after every step.

    Attributes:
        updates: All messages of trade updates so far (their ``data``), of this connection.
        bars: All bars so far, of this connection.
        last: The driver's last answer.
    """

    def __init__(self, trade: ClientConnection, data: ClientConnection, driver: ClientConnection) -> None:
        self.trade, self.data, self.driver = trade, data, driver
        self.updates: list[dict[str, Any]] = []
        self.bars: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, venue: VenueProcess, *symbols: str, key: str = KEY) -> AsyncIterator[Self]:
        """A bot that listens, is subscribed and sits in the driver's seat."""
        feed = "/v2/iex" if symbols and "/" not in symbols[0] else "/v1beta3/crypto/us"
        async with (
            connect(venue.socket_url + "/stream", proxy=None) as trade,
            connect(venue.socket_url + feed, proxy=None) as data,
            connect(f"{venue.lockstep_url}?key={key}", proxy=None) as driver,
        ):
            bot = cls(trade, data, driver)
            await listen(trade, key)
            await subscribe(data, list(symbols) or ["*"], key)
            bot.last = await hear(driver)
            yield bot

    async def ask(self, **members: Any) -> dict[str, Any]:
        """Send the driver's message and take its answer."""
        await say(self.driver, {"op": "advance", "updates": len(self.updates), "bars": len(self.bars), **members})
        self.last = await hear(self.driver)
        return self.last

    async def advance(self, next_timer: int | None = None) -> dict[str, Any]:
        """Drain, and take one step."""
        await self.drain()
        answer = await self.ask(next_timer=next_timer)
        if answer.get("reason") == "not drained":  # what was done over REST has only now been counted
            await self.drain()
            answer = await self.ask(next_timer=next_timer)
        assert answer["advanced"], answer
        await self.drain()
        return answer

    async def run(self, steps: int) -> None:
        """Take so many steps, or fewer if the market ends."""
        for _ in range(steps):
            if self.last["done"]:
                return
            await self.advance()

    async def drain(self) -> None:
        """Receive everything that the driver's last answer counted."""
        while len(self.updates) < self.last["updates"]:
            self.updates.append((await hear(self.trade))["data"])
        while len(self.bars) < self.last["bars"]:
            self.bars += await hear(self.data)

    async def next_update(self) -> dict[str, Any]:
        """The next message of trade updates, whoever caused it."""
        self.updates.append((await hear(self.trade))["data"])
        return self.updates[-1]


async def say(socket: ClientConnection, message: object) -> None:
    """Send one message as JSON text."""
    await socket.send(msgspec.json.encode(message).decode())


async def hear(socket: ClientConnection) -> Any:
    """Receive one message of JSON."""
    async with asyncio.timeout(20):
        return msgspec.json.decode(await socket.recv())


async def listen(trade: ClientConnection, key: str = KEY, secret: str = SECRET) -> None:
    """Open a trade stream as far as listening."""
    await say(trade, {"action": "auth", "key": key, "secret": secret})
    assert (await hear(trade))["data"]["status"] == "authorized"
    await say(trade, {"action": "listen", "data": {"streams": ["trade_updates"]}})
    assert (await hear(trade))["stream"] == "listening"


async def subscribe(data: ClientConnection, symbols: list[str], key: str = KEY, secret: str = SECRET) -> None:
    """Open a data stream as far as a subscription to bars."""
    assert (await hear(data))[0]["msg"] == "connected"
    await say(data, {"action": "auth", "key": key, "secret": secret})
    assert (await hear(data))[0]["msg"] == "authenticated"
    await say(data, {"action": "subscribe", "bars": symbols})
    assert (await hear(data))[0]["bars"] == symbols


def market(quantity: str, side: str = "buy", symbol: str = "BTC/USD", **members: Any) -> dict[str, Any]:
    """The body of a market order."""
    tif = "gtc" if "/" in symbol else "day"
    return {"symbol": symbol, "qty": quantity, "side": side, "type": "market", "time_in_force": tif, **members}


def limit(quantity: str, price: str, side: str = "buy", symbol: str = "BTC/USD", **members: Any) -> dict[str, Any]:
    """The body of a limit order."""
    return {**market(quantity, side, symbol), "type": "limit", "limit_price": price, **members}
