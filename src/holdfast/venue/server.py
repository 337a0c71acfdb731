"""The venue as a process: two ports, one event loop, one exchange.

The trading port speaks Alpaca's REST, ``/stream`` and market-data WebSockets; the admin port speaks the
lock-step protocol. uvicorn (with httptools and, where there is one, uvloop) carries both over sockets
that are bound here, so that a port in use is one clear sentence before anything has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl

import msgspec
import uvicorn

import holdfast
from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError, HoldfastError, VenueError
from holdfast.model.market import Asset
from holdfast.model.series import BarSeries
from holdfast.time import Sessions, sessions_for
from holdfast.venue import activity_stream
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.api import public_routes
from holdfast.venue.api.corrections import CorrectionsApi
from holdfast.venue.engine import EngineSettings
from holdfast.venue.exchange import Exchange, News, data_identity
from holdfast.venue.http import Answer, HttpApp, Request, Route, Router, keys_of
from holdfast.venue.lockstep import DRIVER_PRESENT, NOT_IN_LOCKSTEP, LockstepSession, Pacer
from holdfast.venue.sockets import Codec, Receive, Scope, Send, Socket, header, is_still, serve_socket
from holdfast.venue.store import BOOK_ID_BITS, open_book
from holdfast.venue.streams import DataSession, Hub, TradeSession

_TRADE_STREAM: Final = "/stream"
_DATA_STREAMS: Final = {"/v2/iex": "stocks", "/v2/sip": "stocks", "/v1beta3/crypto/us": "crypto"}
_LOCKSTEP: Final = "/lockstep"

_KEEP_ALIVE_SECONDS: Final = 3600  # an idle client must not find its pooled connection cut when it has an order to send
_SHUTDOWN_SECONDS: Final = 1


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a venue is set up.

    Attributes:
        host: Where it listens; loopback by default, since any key pair opens an account.
        port, admin_port: 0 takes a free one.
        speed: Venue seconds per real second, or "max": lock-step.
        book: File of its memory; None keeps it only while it runs.
        cash: What a new account holds (USD).
        participation: Share of a bar's volume that the orders of an account may take; None is unlimited.
        spread_bps: Full spread around the traded price.
        maker_bps, taker_bps: Crypto fees.
        seed: Fixes the ids of a new book; None draws them, so that two books never give the same.
        rate_limit: Trading requests a minute of venue time and account; None refuses none.
        symbol_limit: Symbols that one data stream may subscribe to; None is unlimited.
        auth_seconds: How long a data stream may stay unauthenticated (real seconds).
        exit_with_parent: End when standard input ends.
    """

    host: str = "127.0.0.1"
    port: int = 0
    admin_port: int = 0
    speed: float | Literal["max"] = "max"
    book: Path | None = None
    cash: Decimal = Decimal(100_000)
    participation: Decimal | None = Decimal("0.1")
    spread_bps: float = 0.0
    maker_bps: Decimal = Decimal(15)
    taker_bps: Decimal = Decimal(25)
    seed: int | None = None
    rate_limit: int | None = 200
    symbol_limit: int | None = None
    auth_seconds: float = 10.0
    exit_with_parent: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no venue, naming the setting."""
        for name, port in (("port", self.port), ("admin_port", self.admin_port)):
            if not 0 <= port < 1 << 16:
                message = f"{name} must be between 0 and 65535, got {port}"
                raise ConfigurationError(message)
        if self.speed != "max" and not 0 < self.speed < float("inf"):
            message = f"speed must be a positive number or 'max', got {self.speed!r}"
            raise ConfigurationError(message)
        if not self.cash.is_finite() or self.cash < 0:
            message = f"cash must be an amount of USD, got {self.cash}"
            raise ConfigurationError(message)
        if self.rate_limit is not None and self.rate_limit < 1:
            message = f"rate_limit must be at least 1, or None, got {self.rate_limit}"
            raise ConfigurationError(message)
        if self.seed is not None and not 0 <= self.seed < 1 << BOOK_ID_BITS:
            message = f"seed must be between 0 and {(1 << BOOK_ID_BITS) - 1}, got {self.seed}"
            raise ConfigurationError(message)


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says, as one line of JSON, when it listens."""

    ready: Literal[True] = True
    url: str
    admin: str
    pid: int
    book: str


def default_asset(symbol: str) -> Asset:
    """What a symbol is taken for where nothing else is known: crypto if it has a slash, else a liquid US equity."""
    if "/" in symbol:
        return Asset(
            symbol=symbol,
            asset_class=AssetClass.CRYPTO,
            name=symbol,
            exchange="CRYPTO",
            fractionable=True,
            min_order_size="0.000000001",
            min_trade_increment="0.000000001",
            price_increment="0.000000001",
        )
    return Asset(symbol=symbol, name=symbol, exchange="NASDAQ", shortable=True, marginable=True, fractionable=True)


def run(config: VenueConfig, series: Mapping[str, BarSeries], assets: Mapping[str, Asset] | None = None) -> None:
    """``serve`` in an event loop of its own, on uvloop where there is one."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(config, series, assets))


async def serve(
    config: VenueConfig,
    series: Mapping[str, BarSeries],
    assets: Mapping[str, Asset] | None = None,
    *,
    sessions: Callable[[AssetClass], Sessions] = sessions_for,
    on_ready: Callable[[Ready], None] | None = None,
) -> None:
    """Run a venue until SIGTERM, SIGINT or (``exit_with_parent``) the end of standard input.

    Args:
        config: How it is set up.
        series: The recorded market, by symbol.
        assets: What the symbols are; those missing are taken for ``default_asset``.
        sessions: The sessions of an asset class.
        on_ready: Called when it listens; by default it prints ``Ready`` as one line of JSON.

    Raises:
        VenueError: A port is in use, the book cannot be used, or the book can no longer be written.
        ConfigurationError: A setting or an asset is out of range.
        DataError: There are no bars.
    """
    known = {symbol: (assets or {}).get(symbol) or default_asset(symbol) for symbol in series}
    with _listening(config.host, config.port) as trading, _listening(config.host, config.admin_port) as admin:
        settings = EngineSettings(
            participation=config.participation,
            spread_bps=config.spread_bps,
            maker_bps=config.maker_bps,
            taker_bps=config.taker_bps,
        )
        book = await open_book(config.book, _identity(config, settings, series, known), book_id=config.seed)
        with book:
            exchange = Exchange(
                book,
                series,
                known,
                cash=config.cash,
                settings=settings,
                sessions=sessions,
                rate_limit=config.rate_limit,
            )
            ready = Ready(
                url=_url(config.host, trading), admin=_url(config.host, admin), pid=os.getpid(), book=str(book.path)
            )
            venue = Venue(config, exchange, ready)
            server = _Server(venue, admin, lambda: (on_ready or _print_ready)(ready))
            await _serve_until_told(server, venue, [trading, admin], with_parent=config.exit_with_parent)
            with contextlib.suppress(VenueError):  # kept as the failure
                venue.settle()
    if venue.failure is not None:
        raise venue.failure


class Venue:
    """An exchange with its streams, its pace and its applications.

    Attributes:
        hub: Who is connected.
        activities: Who reads their trades as server-sent events.
        failure: Why it had to stop; None while all is well.
    """

    def __init__(self, config: VenueConfig, exchange: Exchange, ready: Ready) -> None:
        self._config = config
        self._exchange = exchange
        self._ready = ready
        self.hub = Hub()
        self.activities = activity_stream.ActivityStreams(self._authenticate)
        self._driver: Socket | None = None
        self._untold: list[News] = []
        self._flush: asyncio.Future[None] | None = None
        self._answer_first = False
        self.pacer = None if config.speed == "max" else Pacer(exchange, config.speed, self.settle)
        self.failure: HoldfastError | None = None
        self.on_failure: Callable[[], None] = lambda: None
        routes = [
            Route("GET", "/", self._about, access="public"),
            *public_routes(exchange),
        ]
        self._trading = self._http_app(routes)
        self._admin = self._http_app(
            [Route("GET", "/", self._about, access="public"), *CorrectionsApi(exchange).routes()]
        )

    async def trading(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application of the trading port."""
        if scope["type"] == "http" and scope["path"] == activity_stream.PATH and scope["method"] == "GET":
            await self.activities.serve(scope, receive, send)
        elif scope["type"] == "http":
            await self._trading(scope, receive, send)
        elif scope["path"] == _TRADE_STREAM:
            await self._serve_trade_stream(scope, receive, send)
        elif scope["path"] in _DATA_STREAMS:
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
            news = self._exchange.commit()
        except VenueError as error:
            self.fail(error)
            raise
        self._untold.append(news)
        self._tell()

    def settle_soon(self) -> asyncio.Future[None] | None:
        """Commit what has changed, together with what other requests of this turn of the loop change.

        Whether the answer or the stream's message leaves first alternates, because at the real venue
        either may: a client that relies on one of them must find out here.

        Returns:
            Something to await before answering; None if there is nothing to wait for.
        """
        if not self._exchange.is_dirty:
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
            if news.bars:
                self.hub.tell_bars(news.bars, self._exchange.periods)

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

    def _http_app(self, routes: list[Route]) -> HttpApp:
        return HttpApp(
            Router(routes),
            authenticate=self._exchange.authenticate,
            settle=self.settle_soon,
            now=self._now,
            count_reads=self.pacer is not None,
            rate_limit=self._config.rate_limit,
            on_failure=self.fail,
        )

    def _now(self) -> int:
        """By what requests are counted. It goes on where the market has ended, or a full window would stay full for ever."""
        if self.pacer is None:
            return self._exchange.now
        self.pacer.catch_up()
        return self.pacer.now

    def _about(self, request: Request) -> Answer:
        exchange = self._exchange
        return Answer(
            {
                "name": "holdfast-venue",
                "version": holdfast.__version__,
                "admin": self._ready.admin,
                "speed": self._config.speed,
                "running": self.pacer is not None and self.pacer.is_running,
                "now_ns": exchange.now,
                "done": exchange.done,
                "symbols": sorted(exchange.series),
                "book": self._ready.book,
                "pid": self._ready.pid,
            }
        )

    # --- Streams -----------------------------------------------------------------------------------------------

    def _authenticate(self, key: str, secret: str) -> VenueAccount | None:
        account = self._exchange.authenticate(key, secret)
        # A new account is in the book before its client hears of it.
        self.settle()
        return account

    def _on_listen(self) -> None:
        if self.pacer is not None:
            self.pacer.start()

    async def _serve_trade_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        key, _ = keys_of(scope)
        known = self._exchange.account_of(key)
        if known is not None and await is_still(lambda: known.number in self.hub.trade):
            await _deny(receive, send, 429, "connection limit exceeded")
            return
        socket_ = Socket(Codec(packed=_is_packed(scope), binary=True))
        session = TradeSession(self.hub, socket_, self._authenticate, self._on_listen)
        await receive()
        await send({"type": "websocket.accept"})
        await serve_socket(socket_, receive, send, on_frame=session.on_frame, on_gone=session.release)

    async def _serve_data_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket_ = Socket(Codec(packed=_is_packed(scope), binary=False))
        market = _DATA_STREAMS[scope["path"]]
        session = DataSession(self.hub, socket_, self._authenticate, market, self._config.symbol_limit)
        await receive()
        await send({"type": "websocket.accept"})
        session.greet(*keys_of(scope))
        patience = asyncio.get_running_loop().call_later(self._config.auth_seconds, session.on_auth_timeout)
        try:
            await serve_socket(socket_, receive, send, on_frame=session.on_frame, on_gone=session.release)
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


class _Server(uvicorn.Server):
    """uvicorn over both sockets: it says when it listens, and leaves the signals to us."""

    def __init__(self, venue: Venue, admin: socket.socket, on_ready: Callable[[], None]) -> None:
        admin_port = admin.getsockname()[1]

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            application = venue.admin if scope["server"][1] == admin_port else venue.trading
            await application(scope, receive, send)

        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="websockets-sansio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,  # it would tell another time than the venue's
                ws_per_message_deflate=False,
                # A stopped or busy client is not cut off: only the end of its TCP connection ends a stream.
                ws_ping_interval=None,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )
        self._on_ready = on_ready
        self._venue = venue

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets=sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the answers that have no end of their own, then everything."""
        self._venue.activities.end()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the venue's business."""
        yield

    def stop(self) -> None:
        """End, soon."""
        self.should_exit = True


async def _serve_until_told(server: _Server, venue: Venue, sockets: list[socket.socket], *, with_parent: bool) -> None:
    loop = asyncio.get_running_loop()
    venue.on_failure = server.stop
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread, or Windows
            loop.add_signal_handler(number, server.stop)
    if with_parent:
        threading.Thread(target=_watch_parent, args=(loop, server.stop), daemon=True).start()
    pacing = None if venue.pacer is None else asyncio.ensure_future(venue.pace(venue.pacer))
    try:
        await server.serve(sockets=sockets)
    finally:
        if pacing is not None:
            pacing.cancel()
            await asyncio.gather(pacing, return_exceptions=True)


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Read standard input to its end: whoever started us is gone then."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(stop)


def _print_ready(ready: Ready) -> None:
    sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket. SO_REUSEADDR only: a restart may take the port over from a dead venue, not share it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, accepted connections get TCP_NODELAY from the event loop.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1024)
        except OSError as error:
            message = f"the venue cannot listen on {host}:{port}: {error.strerror or error}; choose another port"
            raise VenueError(message) from error
        yield listener
    finally:
        listener.close()


def _identity(
    config: VenueConfig, settings: EngineSettings, series: Mapping[str, BarSeries], assets: Mapping[str, Asset]
) -> dict[str, str]:
    rules = {name: str(getattr(settings, name)) for name in ("participation", "spread_bps", "maker_bps", "taker_bps")}
    listed = msgspec.json.encode([assets[symbol] for symbol in sorted(assets)]).decode()
    return {"data": data_identity(series), "cash": str(config.cash), "assets": listed, **rules}


def _url(host: str, listener: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


def _is_packed(scope: Scope) -> bool:
    return "msgpack" in header(scope, b"content-type")


async def _deny(receive: Receive, send: Send, status: int, message: str) -> None:
    """Answer an upgrade with an HTTP error."""
    await receive()
    body = msgspec.json.encode({"message": message})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not everywhere to be had
    except ImportError:
        return None
    return uvloop.new_event_loop
