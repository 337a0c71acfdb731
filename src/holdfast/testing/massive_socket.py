"""A local socket that speaks as Massive's (Polygon's) does: shares, one connection, and whatever a test wants to go wrong.

    async with MassiveSocket() as massive:
        config = {"market_data": "massive", "polygon": {"api_key": massive.key, "stream_url": massive.url}, ...}
        ...
        await massive.bar("SPY", start, 400.0)

What it should have over REST is ``holdfast.testing.vendors``'s to answer. It is written for tests: it says what it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_MS
from holdfast.testing.vendors import KEY

Item = dict[str, Any]

_BARS: Final = ("AM", "A")


def status(name: str, message: str = "") -> Item:
    """A word of the protocol."""
    return {"ev": "status", "status": name, "message": message}


class MassiveSocket:
    """Massive's side.

    Attributes:
        key: What it accepts.
        url: Where it is; set once it runs.
        refusals: Statuses that are given instead of the next admissions, one a connection: ``auth_failed``,
            ``max_connections``, ... After any but ``auth_failed`` it ends the connection.
        instead: What is answered instead of the next confirmations of channels, likewise: ``not_authorized``, ...
        is_mute: While set, data are thrown away; pings are answered.
        swallowed: How many messages that were.
        connections: How many came.
        open: How many are open.
        open_max: How many were open at once.
        channels: What the newest connection subscribed to.
        subscribed: Set while somebody is subscribed.
    """

    def __init__(self) -> None:
        self.key = KEY
        self.url = ""
        self.refusals: list[str] = []
        self.instead: list[str] = []
        self.is_mute = False
        self.swallowed = self.connections = self.open = self.open_max = 0
        self.channels: tuple[str, ...] = ()
        self.subscribed = asyncio.Event()
        self._server: Server | None = None
        self._client: ServerConnection | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", 0)
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/stocks"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    # ------------------------------------------------------------------ what a test tells it to do

    async def say(self, *items: Any) -> None:
        """One frame to whoever is subscribed; thrown away while there is nobody, or it is mute."""
        if self._client is None or self.is_mute:
            self.swallowed += 1
        else:
            await self._client.send(msgspec.json.encode(items).decode())

    async def bar(self, symbol: str, start: int, price: float, *, period: int = NS_PER_MINUTE) -> None:
        """A bar that began at ``start`` (UTC ns), in a frame of its own."""
        await self.say(bar_item(symbol, start, price, period=period))

    def cut(self) -> None:
        """End the TCP connection without a word."""
        if self._client is not None:
            self._client.transport.abort()

    # ------------------------------------------------------------------ its side of the protocol

    async def _serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        try:
            await self._send(socket, status("connected", "Connected Successfully"))
            if await self._admits(socket):
                self._client = socket
                self.subscribed.set()
                await socket.wait_closed()
        except ConnectionClosed:
            return
        finally:
            self.open -= 1
            if self._client is socket:
                self._client = None
                self.subscribed.clear()

    async def _admits(self, socket: ServerConnection) -> bool:
        asked = msgspec.json.decode(await socket.recv())
        if self.refusals:
            refusal = self.refusals.pop(0)
            await self._send(socket, status(refusal, "as Massive says it"))
            return False
        if asked != {"action": "auth", "params": self.key}:
            await self._send(socket, status("auth_failed", "authentication failed"))
            await socket.wait_closed()
            return False
        await self._send(socket, status("auth_success", "authenticated"))
        asked = msgspec.json.decode(await socket.recv())
        self.channels = tuple(asked["params"].split(","))
        if self.instead:
            await self._send(socket, status(self.instead.pop(0), "as Massive says it"))
            await socket.wait_closed()
            return False
        await self._send(socket, *(status("success", f"subscribed to: {channel}") for channel in self.channels))
        return True

    async def _send(self, socket: ServerConnection, *items: Item) -> None:
        await socket.send(msgspec.json.encode(items).decode())


def bar_item(symbol: str, start: int, price: float, *, period: int = NS_PER_MINUTE, **changes: Any) -> Item:
    """A bar as Massive sends it; ``start`` in UTC ns."""
    begin, end = start // NS_PER_MS, (start + period) // NS_PER_MS
    kind = _BARS[0] if period == NS_PER_MINUTE else _BARS[1]
    prices = dict.fromkeys(("o", "h", "l", "c", "op", "vw", "a"), price)
    return {"ev": kind, "sym": symbol, "v": 100, "av": 1000, "z": 5, **prices, "s": begin, "e": end, **changes}


def channels_of(symbols: Sequence[str], *kinds: str) -> tuple[str, ...]:
    """As they are subscribed to: ``AM.SPY``."""
    return tuple(f"{kind}.{symbol}" for kind in kinds for symbol in symbols)
