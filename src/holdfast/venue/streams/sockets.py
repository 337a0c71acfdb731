"""One WebSocket of the venue, whatever is spoken on it: frames in, frames out, and the two codecs.

What is said is decided by a session without I/O (``hub``, ``data_session``, ``lockstep``): it is handed decoded
messages and posts its answers. Posting never waits, because one slow reader must not hold up the
market for the others: each socket has a queue and a task that empties it.

A slow reader is cut off, as Alpaca does: one that falls too far behind, and one that takes nothing at all for a while.
What waited for it is dropped; it is told why, and has a moment to hear it. Then the connection is aborted, because one
whose end waits for its last bytes to be taken would never end: the reader takes none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from holdfast.model.errors import VenueError
from holdfast.venue.wire.words import decode_json, encode_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: The ASGI extension by which the server lets us cut a connection (after what was written), or abort it (at once).
CUT_EXTENSION: Final = "holdfast.cut"

BACKLOG_FRAMES: Final = 200_000
#: What a reader may be behind in bytes: one frame may hold many messages, and the venue is to stay small.
BACKLOG_BYTES: Final = 32 << 20

#: How long a reader may take nothing of what waits for it (real seconds).
SLOW_SECONDS: Final = 10.0
#: How long a slow reader has to hear why its connection ends, before it does (real seconds).
FAREWELL_SECONDS: Final = 3.0

_TURNS: Final = 16

NORMAL_CLOSURE: Final = 1000
BAD_DATA: Final = 1003
POLICY_VIOLATION: Final = 1008
_INTERNAL_ERROR: Final = 1011
_CUT: Final = "cut"


class Codec:
    """How messages are written on a socket, chosen by the Content-Type of the upgrade.

    Attributes:
        packed: MessagePack instead of JSON.
        binary: Binary frames also for JSON, as the trade stream does.
    """

    __slots__ = ("binary", "packed")

    def __init__(self, *, packed: bool, binary: bool) -> None:
        self.packed = packed
        self.binary = binary or packed

    def encode(self, value: object) -> bytes:
        """The payload of a frame."""
        return msgspec.msgpack.encode(value) if self.packed else encode_json(value)

    def decode(self, frame: Message) -> object:
        """A received frame as plain values. Text is always JSON; binary is what was agreed on.

        Raises:
            msgspec.DecodeError: The frame is neither.
        """
        text = frame.get("text")
        if text is not None:
            return decode_json(text)
        payload = frame.get("bytes") or b""
        return msgspec.msgpack.decode(payload) if self.packed else decode_json(payload)


class Outlet(Protocol):
    """What may stand between what is said on a connection and the wire.

    Attributes:
        skew: How many more (or fewer) counted messages left than were posted.
        cut: The connection is to be cut after what was given back last.
    """

    skew: int
    cut: bool

    @property
    def is_concerned(self) -> bool:
        """Whether it has to be asked."""
        ...

    def pass_on(self, frame: bytes) -> list[bytes]:
        """What to send in place of a frame."""
        ...


class Ends(NamedTuple):
    """How a connection ends without a closing handshake.

    Attributes:
        cut: After everything that was written before.
        abort: At once, and nothing is kept of it. Further calls do nothing.
    """

    cut: Callable[[], None]
    abort: Callable[[], None]


class Socket:
    """The sending side of an accepted WebSocket.

    Attributes:
        closing: A close has been posted: nothing more is sent or heard.
        outlet: What everything passes on its way out.
        ends: How the connection may be ended without a closing handshake; None where that cannot be done.
        on_slow: Says goodbye to a slow reader; what it had not read is dropped before.
    """

    __slots__ = (
        "_backlog",
        "_bytes",
        "_in_flight",
        "_is_slow",
        "_looked_at",
        "_queue",
        "_slow_seconds",
        "_wake",
        "closing",
        "codec",
        "ends",
        "on_slow",
        "outlet",
    )

    def __init__(
        self,
        codec: Codec,
        ends: Ends | None = None,
        *,
        backlog: int = BACKLOG_FRAMES,
        slow_seconds: float = SLOW_SECONDS,
    ) -> None:
        self.codec = codec
        self.closing = False
        self.outlet: Outlet | None = None
        self.ends = ends
        self.on_slow: Callable[[], None] = lambda: self.close(POLICY_VIOLATION, "slow client")
        self._backlog = backlog
        self._slow_seconds = slow_seconds
        self._is_slow = False
        self._queue: deque[Message] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        # What the connection is taking at this moment, and what it was taking when we last looked.
        self._in_flight: Message | None = None
        self._looked_at: Message | None = None

    def post(self, value: object) -> None:
        """Encode and send a message, some time soon, in order."""
        self.post_payload(self.codec.encode(value))

    def post_payload(self, payload: bytes) -> None:
        """Send an encoded message, some time soon, in order."""
        outlet = self.outlet
        if outlet is None or not outlet.is_concerned:
            self.send_frame(payload)
            return
        for frame in outlet.pass_on(payload):
            self.send_frame(frame)
        if outlet.cut:
            self.cut()

    @property
    def skew(self) -> int:
        """How many more (or fewer) counted messages left than were posted."""
        return 0 if self.outlet is None else self.outlet.skew

    def cut(self) -> None:
        """End the connection after what was posted before, without a closing handshake."""
        if self.ends is None:
            self.close(_INTERNAL_ERROR, "cut")
        elif not self.closing:
            self.closing = True
            self._queue.append({"type": _CUT})
            self._wake.set()

    def send_frame(self, payload: bytes) -> None:
        """Send a frame as it is, some time soon, in order."""
        if self.closing:
            return
        content = payload if self.codec.binary else payload.decode("utf-8", "replace")
        self._queue.append({"type": "websocket.send", "bytes" if self.codec.binary else "text": content})
        self._wake.set()
        self._bytes += len(content)
        if len(self._queue) > self._backlog or self._bytes > BACKLOG_BYTES:
            self._dismiss()

    def close(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Close after what was posted before."""
        if not self.closing:
            self.closing = True
            self._queue.append({"type": "websocket.close", "code": code, "reason": reason})
            self._wake.set()

    async def write(self, send: Send) -> None:
        """Empty the queue into the connection until a close has been sent."""
        queue, wake = self._queue, self._wake
        while True:
            await wake.wait()
            wake.clear()
            while queue:
                message = queue.popleft()
                if message["type"] == _CUT and self.ends is not None:
                    self.ends.cut()
                    return
                self._bytes -= len(message.get("bytes") or message.get("text") or "")
                self._in_flight = message
                await send(message)
                self._in_flight = None
                if message["type"] == "websocket.close":
                    return

    async def watch(self) -> None:
        """See to it that the reader reads, as long as it is connected."""
        while not self._is_slow:
            await asyncio.sleep(self._slow_seconds)
            message = self._in_flight
            if message is not None and message is self._looked_at:
                self._dismiss()
            self._looked_at = message

    def _dismiss(self) -> None:
        """The reader is slow: it goes, whether it hears of it or not."""
        if self._is_slow:
            return
        self._is_slow = True
        self._queue.clear()
        self._bytes = 0
        self.on_slow()
        if self.ends is not None:
            asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self.ends.abort)


async def serve_socket(
    socket: Socket,
    receive: Receive,
    send: Send,
    *,
    on_frame: Callable[[Message], None],
    on_gone: Callable[[], None] = lambda: None,
) -> None:
    """Run an accepted WebSocket until one side ends it.

    Args:
        socket: Its sending side.
        receive: ASGI's; gives what comes in.
        send: ASGI's; takes what goes out.
        on_frame: Gets the client's frames.
        on_gone: Called as soon as the connection is gone, so that its place is free for the client's next one.
    """
    tasks = [asyncio.ensure_future(socket.write(send))]
    if socket.ends is not None:
        tasks.append(asyncio.ensure_future(socket.watch()))
    try:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if not socket.closing:
                on_frame(message)
    except VenueError:
        # The venue is stopping, for a reason that it keeps: nothing more may be said here.
        return
    finally:
        socket.closing = True
        on_gone()
        for task in tasks:
            task.cancel()
        # Sending into a connection that the client has just cut is not an error of ours.
        await asyncio.gather(*tasks, return_exceptions=True)


async def is_still(taken: Callable[[], bool]) -> bool:
    """Whether a place is taken, once the end of an earlier connection has had its chance to be noticed.

    A client that reconnects has ended its old connection before it opened the new one, so that end is
    already known to the operating system, and a few turns of the event loop bring it to us.
    """
    for _ in range(_TURNS):
        if not taken():
            return False
        await asyncio.sleep(0)
    return taken()


def cut_of(scope: Scope) -> Callable[[], None] | None:
    """How to cut the connection of this scope, where the server lets us."""
    cut: Callable[[], None] | None = scope.get("extensions", {}).get(CUT_EXTENSION, {}).get("cut")
    return cut


def ends_of(scope: Scope) -> Ends | None:
    """How the WebSocket of this scope may be ended, where the server lets us."""
    found = scope.get("extensions", {}).get(CUT_EXTENSION)
    return None if found is None else Ends(**found)


def header(scope: Scope, name: bytes) -> str:
    """A request header, or the empty text."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""
