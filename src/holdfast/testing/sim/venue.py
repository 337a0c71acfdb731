"""The venue of a simulation: the real exchange, the real server application, a book that survives it.

It is reached through its ASGI application only, as uvicorn would call it. Its time is the simulation's: one second
of the market a second, from the first moment on, also while its process is down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from holdfast.model.market import Asset
from holdfast.model.series import BarSeries
from holdfast.testing.sim.loop import Owner, VirtualLoop, context_of
from holdfast.testing.sim.trace import Trace
from holdfast.time import sessions_for
from holdfast.venue.application import Venue
from holdfast.venue.config import Ready, VenueConfig, default_asset
from holdfast.venue.exchange import Exchange
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.store import Book, memory_book
from holdfast.venue.streams.sockets import Message
from holdfast.venue.wire.words import slashless

URL = "http://127.0.0.1:7000"
Headers = list[tuple[bytes, bytes]]


class VenueGone(Exception):  # noqa: N818 - what happened to the connection
    """The venue's process is not there, or ended while it was carrying out the request."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """What the application answered."""

    status: int
    headers: Headers
    body: bytes


class SimVenue:
    """One market, one book, and the processes that serve it one after the other.

    Args:
        loop: Whose time it follows.
        trace: Where it notes what it does.
        series: The market.
        settings: How its engines trade.
        cash: What a new account holds (USD).
        rate_limit: Requests a minute.
        book_id: Makes its ids.

    Attributes:
        up: Its process runs.
        began_at: Venue time at the loop's time 0 (UTC ns).
    """

    def __init__(
        self,
        loop: VirtualLoop,
        trace: Trace,
        series: Mapping[str, BarSeries],
        *,
        settings: EngineSettings,
        cash: Decimal,
        rate_limit: int | None,
        book_id: int,
    ) -> None:
        self._loop = loop
        self._trace = trace
        self._series = series
        self._assets: dict[str, Asset] = {symbol: default_asset(symbol) for symbol in series}
        self._settings = settings
        self._cash = cash
        self._rate_limit = rate_limit
        self._book: Book = memory_book(book_id)
        self._gone: dict[asyncio.Future[Any], None] = {}
        self.sockets: dict[ServerEnd, None] = {}
        self.owner = Owner("venue")
        self.context = context_of(self.owner)
        self.up = False
        self.began_at = min(int(bars.ts[0]) - bars.period for bars in series.values())
        self.ends_at = max(int(bars.ts[-1]) for bars in series.values())
        self._exchange: Exchange | None = None
        self._venue: Venue | None = None

    @property
    def now_ns(self) -> int:
        """The market's time (UTC ns)."""
        return self.began_at + self._loop.now_ns()

    @property
    def exchange(self) -> Exchange:
        """Its exchange; after a restart another object."""
        if self._exchange is None:
            message = "the venue was not started"
            raise VenueGone(message)
        return self._exchange

    def engine(self, key: str) -> MatchingEngine | None:
        """The account's engine, if the account was opened."""
        account = self.exchange.account_of(key)
        return None if account is None else account.engine

    def positions_at(self, key: str, moment: int) -> list[dict[str, str]]:
        """What the account held at a moment (UTC ns), as the venue would list it."""
        engine = self.engine(key)
        held: dict[str, tuple[Decimal, Decimal]] = {}
        for fill in [] if engine is None else engine.activities():
            if fill.at < moment:
                held[fill.symbol] = (fill.position_qty, fill.price)
        return [
            {
                "symbol": slashless(symbol),
                "asset_class": "crypto" if "/" in symbol else "us_equity",
                "qty": str(quantity),
                "side": "long" if quantity > 0 else "short",
                "avg_entry_price": str(price),
            }
            for symbol, (quantity, price) in held.items()
            if quantity
        ]

    def is_listening(self, key: str) -> bool:
        """Whether it sends the account's updates to anyone."""
        account = self.exchange.account_of(key)
        return account is not None and self._venue is not None and self._venue.hub.is_listening(account)

    def start(self) -> None:
        """Start a process on the book; the market has gone on meanwhile."""
        self.owner = Owner("venue")
        self.context = context_of(self.owner)
        exchange = self._exchange = Exchange(
            self._book,
            self._series,
            self._assets,
            cash=self._cash,
            settings=self._settings,
            sessions=sessions_for,
            rate_limit=self._rate_limit,
        )
        venue = self._venue = Venue(
            VenueConfig(speed=1.0, rate_limit=self._rate_limit),
            exchange,
            Ready(url=URL, admin=URL, pid=0, book="in memory"),
        )
        exchange.run_until(self.now_ns)
        self.context.run(venue.settle)
        if venue.pacer is not None:
            self.context.run(venue.pacer.start)
            self._loop.create_task(venue.pace(venue.pacer), context=self.context)
        self.up = True
        self._trace.note("venue", "up")

    def kill(self) -> None:
        """SIGKILL: connections are cut, what was committed stays."""
        self.up = False
        self.owner.dead = True
        for task in self.owner.living():
            task.cancel()
        gone, self._gone = self._gone, {}
        for future in gone:
            if not future.done():
                future.set_exception(VenueGone("the venue was killed"))
        sockets, self.sockets = self.sockets, {}
        for socket in sockets:
            socket.on_cut()
        self._trace.note("venue", "killed")

    def close(self) -> None:
        """Let go of the book."""
        self.kill()
        self._book.close()

    async def request(self, method: str, target: bytes, headers: Headers, body: bytes) -> HttpAnswer:
        """One HTTP request, carried out to its end also if the client is gone by then.

        Raises:
            VenueGone: There is no process, or it was killed while it was at it.
        """
        if not self.up or self._venue is None:
            message = "nothing listens"
            raise VenueGone(message)
        path, _, query = target.partition(b"?")
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path.decode(),
            "raw_path": path,
            "query_string": query,
            "headers": headers,
        }
        answered: asyncio.Future[HttpAnswer] = self._loop.create_future()
        self._gone[answered] = None
        venue = self._venue

        async def serve() -> None:
            said: list[Message] = []

            async def receive() -> Message:
                return {"type": "http.request", "body": body}

            async def send(message: Message) -> None:
                said.append(message)

            await venue.trading(scope, receive, send)
            if not answered.done():
                start = said[0]
                content = b"".join(part.get("body", b"") for part in said[1:])
                answered.set_result(HttpAnswer(start["status"], list(start["headers"]), content))

        self._loop.create_task(serve(), context=self.context)
        try:
            return await answered
        finally:
            self._gone.pop(answered, None)

    def open_socket(self, end: ServerEnd, target: str, headers: Headers) -> None:
        """Serve one WebSocket; ``end`` is its network.

        Raises:
            VenueGone: There is no process.
        """
        if not self.up or self._venue is None:
            message = "nothing listens"
            raise VenueGone(message)
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
        }
        venue = self._venue
        self.sockets[end] = None

        async def serve() -> None:
            try:
                await venue.trading(scope, end.receive, end.send)
            finally:
                self.sockets.pop(end, None)

        self._loop.create_task(serve(), context=self.context)


class ServerEnd:
    """The venue's end of one WebSocket.

    Args:
        on_message: Gets what the venue sends.
        on_cut: The venue's process is gone.
    """

    def __init__(self, on_message: Callable[[Message], None], on_cut: Callable[[], None]) -> None:
        self._on_message = on_message
        self.on_cut = on_cut
        self._waiting: deque[Message] = deque([{"type": "websocket.connect"}])
        self._wake = asyncio.Event()
        self._wake.set()
        self._ended = False

    def put(self, message: Message) -> None:
        """Something from the client has arrived."""
        if not self._ended:
            self._ended = message["type"] == "websocket.disconnect"
            self._waiting.append(message)
            self._wake.set()

    async def receive(self) -> Message:
        """ASGI's."""
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    async def send(self, message: Message) -> None:
        """ASGI's."""
        self._on_message(message)
