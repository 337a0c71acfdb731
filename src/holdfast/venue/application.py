"""The venue's two applications over one exchange: the trading port and the admin port.

The trading port speaks Alpaca's REST, ``/stream`` and market-data WebSockets; the admin port speaks the lock-step
protocol and takes an operator's commands. Here is what they share: who is connected, and the one rule that everything
is committed before anyone is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

import msgspec

import holdfast
from holdfast.model.errors import HoldfastError, VenueError
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.api import public_routes
from holdfast.venue.api.corrections import CorrectionsApi
from holdfast.venue.api.faults import FaultsApi
from holdfast.venue.api.operator import OperatorApi
from holdfast.venue.config import Ready, VenueConfig
from holdfast.venue.exchange import Exchange, News
from holdfast.venue.faults import FaultControl
from holdfast.venue.http import Answer, HttpApp, Interference, Request, Route, Router, keys_of
from holdfast.venue.lockstep import DRIVER_PRESENT, NOT_IN_LOCKSTEP, LockstepSession, Pacer
from holdfast.venue.market.amended_ticks import Amendment
from holdfast.venue.market_view import MarketView
from holdfast.venue.page import admin_page, admin_rows, trading_page
from holdfast.venue.streams import activity_stream
from holdfast.venue.streams.data_session import FEEDS, DataSession
from holdfast.venue.streams.hub import Hub, TradeSession
from holdfast.venue.streams.market_feed import MarketFeed
from holdfast.venue.streams.sockets import Codec, Receive, Scope, Send, Socket, ends_of, header, is_still, serve_socket
from holdfast.venue.wire.words import Json

_TRADE_STREAM: Final = "/stream"
_BASIC_SYMBOLS: Final = 30  # on one data stream of Alpaca's free plan
_LOCKSTEP: Final = "/lockstep"


class Venue:
    """An exchange with its streams, its pace and its applications.

    Attributes:
        hub: Who is connected.
        feed: What the market-data streams are told.
        activities: Who reads their trades as server-sent events.
        failure: Why it had to stop; None while all is well.
    """

    def __init__(self, config: VenueConfig, exchange: Exchange, ready: Ready) -> None:
        self._config = config
        self._exchange = exchange
        self._ready = ready
        self.hub = Hub()
        self.feed = MarketFeed(MarketView(exchange), self.hub.data)
        self.faults = FaultControl(exchange, config.scenario)
        self.activities = activity_stream.ActivityStreams(
            self._authenticate, lambda: exchange.now, watch=self.faults.watch_events
        )
        self._driver: Socket | None = None
        self._untold: list[News] = []
        self._flush: asyncio.Future[None] | None = None
        self._answer_first = False
        self.pacer = None if config.speed == "max" else Pacer(exchange, config.speed, self.settle, self._alarm)
        self.failure: HoldfastError | None = None
        self.on_failure: Callable[[], None] = lambda: None
        routes = [
            Route("GET", "/", self._about, access="public"),
            *public_routes(exchange, is_basic=config.basic_plan),
        ]
        operator = OperatorApi(
            exchange,
            self.pacer,
            self.hub,
            is_driven=lambda: self._driver is not None,
            on_reset=self._on_reset,
            on_halt=self._on_halt,
            on_amended=self._on_amended,
            cash=config.cash,
        )
        self._trading = self._http_app(routes, self.faults.interfere)
        self._admin_routes = [
            Route("GET", "/", self._about_admin, access="public"),
            *operator.routes(),
            *CorrectionsApi(exchange).routes(),
            *FaultsApi(self.faults).routes(),
        ]
        self._admin = self._http_app(self._admin_routes)

    async def trading(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the trading port."""
        if scope["type"] == "http" and scope["path"] == activity_stream.PATH and scope["method"] == "GET":
            await self.activities.serve(scope, receive, send)
        elif scope["type"] == "http":
            await self._trading(scope, receive, send)
        elif scope["path"] == _TRADE_STREAM:
            await self._serve_trade_stream(scope, receive, send)
        elif scope["path"] in FEEDS:
            await self._serve_data_stream(scope, receive, send)
        else:
            await _deny(receive, send, 404, "endpoint not found")

    async def admin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the admin port."""
        if scope["type"] == "http":
            await self._admin(scope, receive, send)
        elif scope["path"] == _LOCKSTEP:
            await self._serve_driver(scope, receive, send)
        else:
            await _deny(receive, send, 404, "endpoint not found")

    # --- Commit, then tell -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Commit what has changed and tell the streams, now.

        Raises:
            VenueError: The book cannot be written. The venue stops; the caller may tell nobody anything.
        """
        try:
            self.faults.carry_out()
            news = self._exchange.commit()
        except VenueError as error:
            self.fail(error)
            raise
        self._untold.append(news)
        self._tell()

    def settle_soon(self) -> asyncio.Future[None] | None:
        """Commit what a request has changed, together with what others of this turn of the loop change.

        Where nothing happened but that time went on, which costs no sync, it is done at once.

        Whether the answer or the stream's message leaves first alternates, because at the real venue
        either may: a client that relies on one of them must find out here.

        Returns:
            Something to await before answering; None if there is nothing to wait for.
        """
        self.faults.carry_out()
        if self.pacer is not None:
            self.pacer.look_again()
        if not self._exchange.is_dirty:
            return None
        if not self._exchange.needs_sync:
            self.settle()
            return None
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.create_future()
            loop.call_soon(self._settle_shared)
        return asyncio.shield(self._flush)

    def _settle_shared(self) -> None:
        flush, self._flush = self._flush, None
        try:
            news = self._exchange.commit()
        except VenueError as error:
            self.fail(error)
            if flush is not None:
                flush.set_exception(error)
            return
        self._untold.append(news)
        if self._answer_first and flush is not None:
            flush.set_result(None)
            asyncio.get_running_loop().call_soon(self._tell)
        else:
            self._tell()
            if flush is not None:
                flush.set_result(None)
        if news.updates:
            self._answer_first = not self._answer_first

    def _tell(self) -> None:
        untold, self._untold = self._untold, []
        for news in untold:
            for account, updates in news.updates:
                self.hub.tell_updates(account, updates)
                self.activities.tell(account, updates)
            self.faults.note(account for account, _ in news.updates)
            self.feed.tell(news.bars, news.now)

    def _alarm(self) -> int | None:
        """When something besides the market is due (UTC ns)."""
        return min((at for at in (self.faults.next_due(), self.feed.next_at()) if at is not None), default=None)

    async def pace(self, pacer: Pacer) -> None:
        """Let the time run; if it cannot, the venue stops."""
        try:
            await pacer.run()
        except HoldfastError as error:
            self.fail(error)

    def fail(self, error: HoldfastError) -> None:
        """The venue cannot go on: stop, and say why."""
        self.failure = self.failure or error
        self.on_failure()

    # --- HTTP --------------------------------------------------------------------------------------------------

    def _http_app(self, routes: list[Route], interfere: Interference | None = None) -> HttpApp:
        return HttpApp(
            Router(routes),
            authenticate=self._exchange.authenticate,
            settle=self.settle_soon,
            now=self._now,
            count_reads=self.pacer is not None,
            rate_limit=self._config.rate_limit,
            on_failure=self.fail,
            interfere=interfere,
        )

    def _now(self) -> int:
        """By what requests are counted. It goes on where the market has ended, or a full window would stay full for ever."""
        if self.pacer is None:
            return self._exchange.now
        self.pacer.catch_up()
        return self.pacer.now

    def _facts(self) -> Json:
        exchange = self._exchange
        return {
            "name": "holdfast-venue",
            "version": holdfast.__version__,
            "admin": self._ready.admin,
            "speed": "max" if self.pacer is None else self.pacer.speed,
            "running": self.pacer is not None and self.pacer.is_running,
            "now_ns": exchange.now,
            "done": exchange.done,
            "symbols": sorted(exchange.series),
            "book": self._ready.book,
            "pid": self._ready.pid,
        }

    def _about(self, request: Request) -> Answer:
        """What this is, and how to point a client at it."""
        return Answer(trading_page(self._facts(), self._ready.url) if request.wants_html else self._facts())

    def _about_admin(self, request: Request) -> Answer:
        """What can be asked here."""
        routes = self._admin_routes
        if request.wants_html:
            return Answer(admin_page(self._facts(), routes))
        return Answer({**self._facts(), "requests": admin_rows(routes)})

    # --- Streams -----------------------------------------------------------------------------------------------

    def _authenticate(self, key: str, secret: str) -> VenueAccount | None:
        account = self._exchange.authenticate(key, secret)
        # A new account is in the book before its client hears of it.
        self.settle()
        return account

    def _on_reset(self, old: VenueAccount, new: VenueAccount) -> None:
        """A key pair has a new account: its connections go with it, once they know how the old one ended."""
        self.settle()
        self.hub.succeed(old, new)
        self.activities.end_account(old)

    def _on_halt(self, symbol: str, is_halted: bool) -> None:
        """A symbol has been halted or resumed: the streams know once it is in the book."""
        self.settle()
        self.feed.tell_status(symbol, is_halted=is_halted)

    def _on_amended(self, amendment: Amendment) -> None:
        """The past has changed: the streams know once it is in the book."""
        self.settle()
        self.feed.tell_amendment(amendment)

    def _on_listen(self) -> None:
        if self.pacer is not None:
            self.pacer.start()

    async def _serve_trade_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        key, _ = keys_of(scope)
        known = self._exchange.account_of(key)
        if known is not None and await is_still(lambda: known.number in self.hub.trade):
            await _deny(receive, send, 429, "connection limit exceeded")
            return
        socket_ = Socket(
            Codec(packed=_is_packed(scope), binary=True), ends_of(scope), slow_seconds=self._config.slow_seconds
        )
        session = TradeSession(self.hub, socket_, self._authenticate, self._on_listen)
        outlet = self.faults.watch_socket(socket_, "trade", lambda: session.account, lambda: session.listening)
        await receive()
        await send({"type": "websocket.accept"})

        def on_gone() -> None:
            self.faults.on_gone(outlet, session.release)

        await serve_socket(socket_, receive, send, on_frame=session.on_frame, on_gone=on_gone)

    async def _serve_data_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        config = self._config
        socket_ = Socket(
            Codec(packed=_is_packed(scope), binary=False),
            ends_of(scope),
            backlog=config.stream_backlog,
            slow_seconds=config.slow_seconds,
        )
        session = DataSession(
            self.hub.data,
            socket_,
            self._authenticate,
            FEEDS[scope["path"]],
            symbol_limit=_BASIC_SYMBOLS if config.basic_plan and config.symbol_limit is None else config.symbol_limit,
            is_basic=config.basic_plan,
            on_subscribed=self.feed.on_subscribed,
        )
        outlet = self.faults.watch_socket(
            socket_, "data", lambda: session.account, lambda: any(session.channels.values())
        )

        def on_gone() -> None:
            self.faults.on_gone(outlet, session.release)

        await receive()
        await send({"type": "websocket.accept"})
        session.greet(*keys_of(scope))
        patience = asyncio.get_running_loop().call_later(self._config.auth_seconds, session.on_auth_timeout)
        try:
            await serve_socket(socket_, receive, send, on_frame=session.on_frame, on_gone=on_gone)
        finally:
            patience.cancel()

    async def _serve_driver(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket_ = Socket(Codec(packed=False, binary=False))
        await receive()
        await send({"type": "websocket.accept"})
        if self.pacer is not None:
            socket_.close(NOT_IN_LOCKSTEP, "this venue runs at a speed of its own")
        elif await is_still(lambda: self._driver is not None):
            socket_.close(DRIVER_PRESENT, "another driver is connected")
        else:
            self._driver = socket_
        key = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("key", "")
        session = LockstepSession(self._exchange, self.hub, key, self.settle, socket_)
        session.greet()
        await serve_socket(
            socket_, receive, send, on_frame=session.on_frame, on_gone=lambda: self._release_driver(socket_)
        )

    def _release_driver(self, socket_: Socket) -> None:
        if self._driver is socket_:
            self._driver = None


def _is_packed(scope: Scope) -> bool:
    return "msgpack" in header(scope, b"content-type")


async def _deny(receive: Receive, send: Send, status: int, message: str) -> None:
    """Answer an upgrade with an HTTP error."""
    await receive()
    body = msgspec.json.encode({"message": message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
