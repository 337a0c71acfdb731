"""The venue as a process: two ports, one event loop, one exchange.

uvicorn (with httptools and, where there is one, uvloop) carries both applications over sockets that are bound
here, so that a port in use is one clear sentence before anything has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError, VenueError
from holdfast.model.market import Asset
from holdfast.model.series import BarSeries
from holdfast.model.ticks import RecordedTicks
from holdfast.time import Sessions, sessions_for
from holdfast.venue.application import Venue
from holdfast.venue.config import Ready, VenueConfig, default_asset
from holdfast.venue.exchange import Exchange, data_identity
from holdfast.venue.market.recorded_ticks import ReplayedTicks, ticks_identity
from holdfast.venue.market.ticks import GeneratedTicks, SymbolTicks
from holdfast.venue.matching.engine import EngineSettings
from holdfast.venue.store import open_book
from holdfast.venue.streams.sockets import CUT_EXTENSION, Receive, Scope, Send

_KEEP_ALIVE_SECONDS: Final = 3600  # an idle client must not find its pooled connection cut when it has an order to send
_SHUTDOWN_SECONDS: Final = 1
# After the closing handshake has had its 10 seconds.
_CLOSING_SECONDS: Final = 13
_HEAD_BYTES_MAX: Final = 1 << 16

_log = logging.getLogger("holdfast.venue")


def run(config: VenueConfig, series: Mapping[str, BarSeries], assets: Mapping[str, Asset] | None = None) -> None:
    """``serve`` in an event loop of its own, on uvloop where there is one."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(config, series, assets))


async def serve(
    config: VenueConfig,
    series: Mapping[str, BarSeries],
    assets: Mapping[str, Asset] | None = None,
    *,
    recorded: Mapping[str, RecordedTicks] | None = None,
    sessions: Callable[[AssetClass], Sessions] = sessions_for,
    on_ready: Callable[[Ready], None] | None = None,
) -> None:
    """Run a venue until SIGTERM, SIGINT or (``exit_with_parent``) the end of standard input.

    Args:
        config: How it is set up.
        series: The recorded market, by symbol.
        assets: What the symbols are; those missing are taken for ``default_asset``.
        recorded: Quotes and trades of symbols, in the place of those that are made of their bars.
        sessions: The sessions of an asset class.
        on_ready: Called when it listens; by default it prints ``Ready`` as one line of JSON.

    Raises:
        VenueError: A port is in use, the book cannot be used, or the book can no longer be written.
        ConfigurationError: A setting or an asset is out of range, or there are recorded ticks and orders would meet bars.
        DataError: There are no bars.
    """
    if recorded and not config.has_ticks:
        message = "recorded quotes and trades need --speed NUMBER, and no --no-ticks: in lock-step orders meet bars"
        raise ConfigurationError(message)
    known = {symbol: (assets or {}).get(symbol) or default_asset(symbol) for symbol in series}
    with _listening(config.host, config.port) as trading, _listening(config.host, config.admin_port) as admin:
        settings = EngineSettings(
            participation=config.participation,
            spread_bps=config.spread_bps,
            maker_bps=config.maker_bps,
            taker_bps=config.taker_bps,
        )
        book = await open_book(
            config.book, _identity(config, settings, series, known, recorded or {}), book_id=config.seed
        )
        with book:
            exchange = Exchange(
                book,
                series,
                known,
                cash=config.cash,
                settings=settings,
                sessions=sessions,
                rate_limit=config.rate_limit,
                ticks=_ticks(config, series, known, recorded or {}),
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


class _Http(HttpToolsProtocol):
    """HTTP whose connection the application may cut, and whose heads have a bound."""

    _head_bytes = 0
    _in_head = True
    _ended = False

    def on_message_begin(self) -> None:
        """A request has begun."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT_EXTENSION: {"cut": self.transport.close}}

    def on_headers_complete(self) -> None:
        """The request's head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole; the next head begins."""
        super().on_message_complete()
        self._in_head = self._ended = True

    def data_received(self, data: bytes) -> None:
        """Bytes have come. The parser keeps a head until it is whole, so that an endless one has to be stopped here."""
        self._ended = False
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head and not self._ended else 0
        if self._head_bytes > _HEAD_BYTES_MAX and not self.transport.is_closing():
            _log.warning("a request's head is larger than %d bytes", _HEAD_BYTES_MAX)
            self.send_400_response("Request head too large.")


class _WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose connection the application may cut, and which ends even where its reader never reads."""

    def handle_connect(self, event: Request) -> None:
        """The upgrade has come; the application begins in the loop's next turn."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"] = {
                **(self.scope["extensions"] or {}),
                CUT_EXTENSION: {"cut": self.transport.close, "abort": self.abort},
            }

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application is done. A closing handshake, and what was still to be sent, have a bounded time."""
        super().on_task_complete(task)
        if not self.disconnected:
            self.loop.call_later(_CLOSING_SECONDS, self.abort)

    def abort(self) -> None:
        """End the connection at once; neither we nor the operating system keep anything for it."""
        if self.disconnected:
            return
        with contextlib.suppress(OSError):  # it has ended by itself, and we have not been told yet
            # Without it, unread bytes would stay with the operating system for as long as the reader is there.
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self.transport.abort()


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
                http=_Http,
                ws=_WebSocket,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,  # it would tell another time than the venue's
                ws_per_message_deflate=False,
                # A stopped or busy client is not cut off, as long as the operating system takes what we send it.
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


def _ticks(
    config: VenueConfig,
    series: Mapping[str, BarSeries],
    assets: Mapping[str, Asset],
    recorded: Mapping[str, RecordedTicks],
) -> dict[str, SymbolTicks]:
    """The quotes and trades of a venue that runs by itself; in lock-step orders meet bars, as in a backtest."""
    if not config.has_ticks:
        return {}
    spread, seed = config.spread_bps / 10_000, config.seed or 0
    found: dict[str, SymbolTicks] = {}
    for symbol, bars in series.items():
        if len(bars):
            found[symbol] = GeneratedTicks(bars, assets[symbol], seed=seed, spread=spread)
            if symbol in recorded:
                found[symbol] = ReplayedTicks(recorded[symbol], found[symbol], bars, assets[symbol])
    return found


def _identity(
    config: VenueConfig,
    settings: EngineSettings,
    series: Mapping[str, BarSeries],
    assets: Mapping[str, Asset],
    recorded: Mapping[str, RecordedTicks],
) -> dict[str, str]:
    rules = {name: str(getattr(settings, name)) for name in ("participation", "spread_bps", "maker_bps", "taker_bps")}
    listed = msgspec.json.encode([assets[symbol] for symbol in sorted(assets)]).decode()
    if config.has_ticks:
        rules["ticks"] = f"generated with seed {config.seed or 0}"
    if recorded:
        rules["recorded ticks"] = ticks_identity(recorded)
    return {"data": data_identity(series), "cash": str(config.cash), "assets": listed, **rules}


def _url(host: str, listener: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not everywhere to be had
    except ImportError:
        return None
    return uvloop.new_event_loop
