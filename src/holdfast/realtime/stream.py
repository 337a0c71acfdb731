"""A WebSocket that stays: it connects, says what its protocol wants said, listens, and begins again when it is cut.

What goes wrong in clients that do this badly, and what is done about it here:

* They call an open socket "connected". Here it is connected when the venue has confirmed that we are
  authorised *and* listening, and no longer once the socket ends.
* They reconnect at once and for ever, a hundred times a second, until the venue bans them. Here the delay doubles
  from 1 s to 30 s, with jitter, and goes back to 1 s only after a connection has held for a while.
* They open a new socket before the old one is gone, and are refused as one too many. Here one task owns the one socket,
  and leaves it closed before it opens the next.
* One message that cannot be read, or one handler that raises, ends the reading without a word. Here the message is
  logged whole and counted, ``on_malformed`` is told (someone has to ask the venue what it was), and reading goes on.
* They believe a socket that answers pings and delivers nothing. Here whoever knows better (REST shows what the socket
  did not bring) says ``restart``: the connection is closed, counted in ``restarts``, and made anew after the back-off.
* They forget that a gap is a loss. Here ``on_connected`` is told of every connection, first or not: there is no replay
  on these sockets, so what happened in between must be asked for.

Life of a stream (a connection that fails at any step goes to WAITING):

    STOPPED --start--> CONNECTING -> OPENING -> LISTENING -> WAITING -> CONNECTING ...
       ^----------------------- stop, from anywhere -----------------------------'

A protocol is two methods: ``_open`` (greeting, authorisation, subscription) and ``_receive`` (one message).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, TypedDict

import msgspec
import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from holdfast.brokers.alpaca_endpoints import is_loopback
from holdfast.brokers.alpaca_errors import KEYS_REFUSED
from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model.errors import BrokerAuthError, BrokerError, BrokerRefusedError
from holdfast.model.timestamps import format_rfc3339
from holdfast.net import Backoff
from holdfast.realtime.subscribers import POLICIES, Handler, Subscribers
from holdfast.time import Clock, RealTimeClock

_log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder().decode


class StreamState(StrEnum):
    """Where a stream is in its life."""

    STOPPED = "stopped"
    CONNECTING = "connecting"  # TCP, TLS, upgrade
    OPENING = "opening"  # the socket is open, but the venue has not yet said that we are authorised and listening
    LISTENING = "listening"  # both are confirmed
    WAITING = "waiting"  # the last connection ended; the next one is due after the back-off


class StreamTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in real seconds: transport follows the real clock, whatever clock the bot follows.

    Attributes:
        connect: TCP, TLS and upgrade together.
        open: Greeting, authorisation and subscription together.
        ping_interval: Between two pings.
        ping_timeout: After this long without a pong the connection counts as dead.
        close: For the venue's half of a close.
        stable: A connection that held this long sets the back-off to its beginning.
        drain: For handlers to finish what waits for them, at stop.
    """

    connect: float = 10.0
    open: float = 10.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    close: float = 2.0
    stable: float = 30.0
    drain: float = 2.0


class OpenSocket(Protocol):
    """What a stream needs of a WebSocket that is open; the client of ``websockets`` has it."""

    async def send(self, message: bytes, *, text: bool | None = None) -> None:
        """Send one message; as a text frame where ``text``."""
        ...

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message; bytes where not ``decode``."""
        ...


class Dialled(Protocol):
    """A WebSocket that opens on entering and is closed on leaving."""

    async def __aenter__(self) -> OpenSocket: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


Connect = Callable[..., Dialled]


class StreamOptions(TypedDict, total=False):
    """What every stream takes beside its protocol's own; ``Stream`` says what each is."""

    clock: Clock | None
    backoff: Backoff | None
    timeouts: StreamTimeouts | None
    sleep: Callable[[float], Awaitable[object]]
    connect: Connect
    high_water: int


class Conversation:
    """The opening of one connection: JSON out, JSON in."""

    def __init__(self, socket: OpenSocket) -> None:
        self._socket = socket

    async def send(self, message: object) -> None:
        """Send one message as a text frame."""
        await self._socket.send(msgspec.json.encode(message), text=True)

    async def receive(self) -> Any:
        """The next message, from a text or a binary frame.

        Raises:
            MalformedMessageError: It is no JSON.
        """
        return _decoded(await self._socket.recv(decode=False))


class Stream(ABC):
    """The base of all streams. See the module for what it promises.

    Handlers may be plain or coroutine functions; treat what they are given as read-only, they share it.

    Args:
        name: For logs and statistics.
        url: The whole ``ws://`` or ``wss://`` URL.
        clock: Stamps ``last_message_at``. Default: real time.
        backoff: The delays between connections. Default: 1 s doubling to 30 s, with jitter.
        timeouts: See ``StreamTimeouts``.
        sleep: Waits real seconds between connections.
        connect: Opens a WebSocket: ``websockets.connect``, or what replaces the network, with the same arguments.
        high_water: Messages waiting for one slow handler at which an alarm is raised.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        timeouts: StreamTimeouts | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        connect: Connect = connect,
        high_water: int = 1_000,
    ) -> None:
        self._name, self._url = name, url
        self._clock: Clock = clock or RealTimeClock()
        self._backoff = backoff or Backoff(base=1.0, cap=30.0)
        self._timeouts = timeouts or StreamTimeouts()
        self._sleep = sleep
        self._connect = connect
        self._high_water = high_water
        self._subscribers: list[Subscribers] = []
        self._connected = self._new_subscribers("connected")
        self._disconnected = self._new_subscribers("disconnected")
        self._malformed = self._new_subscribers("malformed")

        self._state = StreamState.STOPPED
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._listening = asyncio.Event()
        self._received = 0
        self._leash: asyncio.Timeout | None = None  # ends the reading of the one connection
        self._given_up: BrokerError | None = None  # why this connection is being ended by us
        self._restarts = 0
        self._connects = self._disconnects = self._failures = 0
        self._messages = self._malformed_count = 0
        self._listening_since: int | None = None
        self._last_message_at: int | None = None
        self._last_error: str | None = None

    # ------------------------------------------------------------------ what a protocol adds

    @abstractmethod
    async def _open(self, conversation: Conversation) -> list[Any]:
        """Say what has to be said until the venue confirms that we are listening.

        Returns:
            Messages that arrived before the confirmation and are not part of it.

        Raises:
            BrokerRefusedError: A definite no (``BrokerAuthError``: to our keys).
            BrokerError: It did not work this time.
        """

    @abstractmethod
    def _receive(self, message: Any) -> None:
        """Take one message.

        Raises:
            MalformedMessageError: It cannot be read; the connection goes on.
            BrokerError: The venue ends this connection.
        """

    # ------------------------------------------------------------------ public

    async def start(self) -> None:
        """Connect, and stay connected until ``stop``.

        Returns when the first attempt has been decided. A venue that cannot be reached is tried again in the
        background (see ``is_connected``, ``wait_connected``); one that says a definite no is an error now, and only
        now: said later, it is logged and tried again, for a key may come back.

        Raises:
            BrokerAuthError: The venue refused our keys.
            BrokerRefusedError: The venue refused the stream or the subscription.
        """
        if self._task is None:
            self._first = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._run(self._first), name=f"holdfast-{self._name}")
        assert self._first is not None  # noqa: S101 - set with the task, for the type checker
        try:
            await asyncio.shield(self._first)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the socket and let the handlers finish what they have. ``on_disconnected`` is not told."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            if self._first is not None and not self._first.done():
                self._first.cancel()
        self._state = StreamState.STOPPED
        self._listening.clear()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeouts.drain
        for subscribers in self._subscribers:
            await subscribers.drain(max(0.0, deadline - loop.time()))

    def abandon(self) -> None:
        """Forget what waits for handlers, without running it. For a simulated process that is gone; others ``stop``."""
        for subscribers in self._subscribers:
            subscribers.abandon()

    def restart(self, reason: str) -> bool:
        """Give up the connection, which claims to be well and is not, and make another one.

        ``is_connected()`` is false at once; ``on_disconnected`` is told the reason when the old socket is closed, which
        is before the next one is opened: a venue that allows one connection never sees two.

        Returns:
            Whether there was one to give up: one that is lost already, or not yet listening, is left to itself.
        """
        if self._leash is None or not self.is_connected():
            return False
        self._restarts += 1
        self._given_up = BrokerError(reason)
        self._listening.clear()
        self._leash.reschedule(asyncio.get_running_loop().time())
        return True

    def is_connected(self) -> bool:
        """Whether the venue has confirmed that we are authorised and listening, on a socket that is still open."""
        return self._state is StreamState.LISTENING and self._given_up is None

    async def wait_connected(self) -> None:
        """Return once ``is_connected()``; bound it with ``asyncio.timeout``."""
        await self._listening.wait()

    @property
    def state(self) -> StreamState:
        """Where it is in its life."""
        return self._state

    @property
    def received(self) -> int:
        """Messages of the stream's own kind on the current connection; 0 again at each new one."""
        return self._received

    @property
    def listening_since(self) -> int | None:
        """When the connection that is listening now began to (UTC ns of the clock); None while none is."""
        return self._listening_since if self.is_connected() else None

    def on_connected(self, handler: Handler) -> None:
        """``handler()`` is called each time the stream is listening, before any of the connection's messages."""
        self._connected.add(handler)

    def on_disconnected(self, handler: Handler) -> None:
        """``handler(reason)`` is called each time a listening stream is lost."""
        self._disconnected.add(handler)

    def on_malformed(self, handler: Handler) -> None:
        """``handler(reason, payload)`` is called for each message that could not be read: ask the venue instead."""
        self._malformed.add(handler)

    def get_stats(self) -> dict[str, Any]:
        """What happened so far; counters are since the object was made, but ``received`` is of this connection."""
        last = self._last_message_at
        return {
            "connected": self.is_connected(),
            "state": self._state.value,
            "url": self._url,
            "connects": self._connects,
            "disconnects": self._disconnects,
            "failures": self._failures,
            "restarts": self._restarts,
            "messages": self._messages,
            "received": self._received,
            "malformed": self._malformed_count,
            "handler_errors": sum(subscribers.errors for subscribers in self._subscribers),
            "queue_depth": sum(subscribers.depth for subscribers in self._subscribers),
            "backlog_alarms": sum(subscribers.backlog_alarms for subscribers in self._subscribers),
            "conflated": sum(subscribers.conflated for subscribers in self._subscribers),
            "dropped": sum(subscribers.dropped for subscribers in self._subscribers),
            "last_message_at": None if last is None else format_rfc3339(last),
            "last_error": self._last_error,
        }

    # ------------------------------------------------------------------ for protocols

    def _new_subscribers(self, kind: str) -> Subscribers:
        subscribers = Subscribers(
            f"{self._name}.{kind}",
            policy=POLICIES[kind],
            high_water=self._high_water,
            on_error=self._handler_failed,
            on_dropped=lambda: self.restart("a handler is too slow: a message was dropped, the gap has to be fetched"),
        )
        self._subscribers.append(subscribers)
        return subscribers

    def _report_malformed(self, error: MalformedMessageError) -> None:
        self._malformed_count += 1
        _log.error("stream.malformed", stream=self._name, reason=error.message, payload=error.payload)
        self._malformed.publish(error.message, error.payload)

    def _handler_failed(self, error: Exception, message: tuple[Any, ...]) -> None:
        # A handler that translates may be the first to find that a message cannot be read.
        if isinstance(error, MalformedMessageError):
            self._report_malformed(error)

    # ------------------------------------------------------------------ the one task

    async def _run(self, first: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            error = await self._connection(first)
            self._last_error = error.message
            if not first.done():
                if isinstance(error, BrokerRefusedError):
                    first.set_exception(error)
                    return
                first.set_result(None)
            # An authorised connection that is cut at once must not bring back the storm of reconnects.
            if self._state is StreamState.LISTENING and loop.time() - began >= self._timeouts.stable:
                self._backoff.reset()
            self._lost(error)
            self._state = StreamState.WAITING
            await self._sleep(max(self._backoff.next(), error.retry_after_seconds or 0.0))

    async def _connection(self, first: asyncio.Future[None]) -> BrokerError:
        """One connection from its beginning to its end. Returns why it ended; leaves the socket closed."""
        self._state, self._received, self._given_up = StreamState.CONNECTING, 0, None
        is_local = is_loopback(self._url)
        try:
            async with self._connect(
                self._url,
                open_timeout=self._timeouts.connect,
                ping_interval=self._timeouts.ping_interval,
                ping_timeout=self._timeouts.ping_timeout,
                close_timeout=self._timeouts.close,
                compression=None if is_local else "deflate",
                proxy=None if is_local else True,
                max_size=2**24,
            ) as socket:
                self._state = StreamState.OPENING
                async with asyncio.timeout(self._timeouts.open):
                    early = await self._open(Conversation(socket))
                self._is_listening(first)
                for message in early:
                    self._take(message)
                async with asyncio.timeout(None) as self._leash:
                    while True:
                        self._take_frame(await socket.recv(decode=False))
        except BrokerError as error:
            return self._why(error)
        except Exception as error:  # noqa: BLE001 - a boundary: a stream survives everything but its own stop
            return self._why(self._translated(error))
        finally:
            self._leash = None

    def _is_listening(self, first: asyncio.Future[None]) -> None:
        self._state = StreamState.LISTENING
        self._connects += 1
        self._listening_since = self._clock.now_ns()
        self._listening.set()
        _log.info("stream.listening", stream=self._name, connects=self._connects)
        if not first.done():
            first.set_result(None)
        self._connected.publish()

    def _lost(self, error: BrokerError) -> None:
        if self._state is StreamState.LISTENING:
            self._state = StreamState.WAITING  # before the handlers look
            self._listening.clear()
            self._disconnects += 1
            _log.warning("stream.lost", stream=self._name, reason=error.message)
            self._disconnected.publish(error.message)
        else:
            self._failures += 1
            _log.warning("stream.not_connected", stream=self._name, reason=error.message)

    def _take_frame(self, frame: bytes) -> None:
        try:
            message = _decoded(frame)
        except MalformedMessageError as error:
            self._messages += 1
            self._report_malformed(error)
            return
        self._take(message)

    def _take(self, message: Any) -> None:
        self._messages += 1
        self._last_message_at = self._clock.now_ns()
        try:
            self._receive(message)
        except MalformedMessageError as error:
            self._report_malformed(error)

    def _why(self, error: BrokerError) -> BrokerError:
        """Our own reason, where it was we who ended the connection."""
        return error if self._given_up is None else self._given_up

    def _translated(self, error: Exception) -> BrokerError:
        """Why a connection ended, in a sentence and as the class that says what to do next."""
        where = f"{self._name} stream at {self._url}"
        if isinstance(error, InvalidStatus):
            return _upgrade_refused(where, error)
        if isinstance(error, ConnectionClosed):
            return BrokerError(f"{where}: the connection ended ({error})")
        if isinstance(error, TimeoutError):
            return BrokerError(f"{where}: no answer in time while {self._state.value}")
        if isinstance(error, OSError | WebSocketException):
            return BrokerError(f"{where}: cannot connect: {str(error) or type(error).__name__}")
        _log.error("stream.unexpected_error", stream=self._name, exc_info=error)
        return BrokerError(f"{where}: unexpected {type(error).__name__}: {error}")


def _decoded(frame: bytes) -> Any:
    try:
        return _decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = "the venue sent a frame that is no JSON"
        raise MalformedMessageError(message, frame) from None


def _upgrade_refused(where: str, error: InvalidStatus) -> BrokerError:
    status, headers = error.response.status_code, error.response.headers
    if status in (401, 403):
        return BrokerAuthError(f"{where}: {KEYS_REFUSED}", status=status)
    if status == 429:
        text = headers.get("Retry-After", "")
        wait = float(text) if text.isdigit() else None
        message = f"{where}: the venue allows no further connection now (HTTP 429): an old one is not yet gone"
        return BrokerError(message, status=status, retry_after_seconds=wait)
    if 400 <= status < 500 and status != 408:
        return BrokerRefusedError(f"{where}: the venue has no such stream (HTTP {status})", status=status)
    return BrokerError(f"{where}: the venue failed (HTTP {status})", status=status)
