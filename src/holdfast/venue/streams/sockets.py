"""One WebSocket of the venue, whatever is spoken on it: frames in, frames out, and the two codecs.

What is said is decided by a session without I/O (``streams``, ``lockstep``): it is handed decoded
messages and posts its answers. Posting never waits, because one slow reader must not hold up the
market for the others: each socket has a queue and a task that empties it. A reader that falls too far
behind is cut off, as Alpaca does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

import msgspec

from holdfast.model.errors import VenueError
from holdfast.venue.wire.words import decode_json, encode_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: The ASGI extension by which the server lets us cut a connection.
CUT_EXTENSION: Final = "holdfast.cut"

BACKLOG_FRAMES: Final = 200_000

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


class Socket:
    """The sending side of an accepted WebSocket.

    Attributes:
        closing: A close has been posted: nothing more is sent or heard.
        outlet: What everything passes on its way out.
        on_cut: Cuts the connection without a closing handshake; None where that cannot be done.
        on_slow: Says goodbye to a reader that has fallen too far behind; what it had not read is dropped before.
    """

    __slots__ = ("_backlog", "_queue", "_wake", "closing", "codec", "on_cut", "on_slow", "outlet")

    def __init__(
        self, codec: Codec, on_cut: Callable[[], None] | None = None, *, backlog: int = BACKLOG_FRAMES
    ) -> None:
        self.codec = codec
        self.closing = False
        self.outlet: Outlet | None = None
        self.on_cut = on_cut
        self.on_slow: Callable[[], None] = lambda: self.close(POLICY_VIOLATION, "slow client")
        self._backlog = backlog
        self._queue: deque[Message] = deque()
        self._wake = asyncio.Event()

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
        if self.on_cut is None:
            self.close(_INTERNAL_ERROR, "cut")
        elif not self.closing:
            self.closing = True
            self._queue.append({"type": _CUT})
            self._wake.set()

    def send_frame(self, payload: bytes) -> None:
        """Send a frame as it is, some time soon, in order."""
        if self.closing:
            return
        if self.codec.binary:
            self._queue.append({"type": "websocket.send", "bytes": payload})
        else:
            self._queue.append({"type": "websocket.send", "text": payload.decode("utf-8", "replace")})
        self._wake.set()
        if len(self._queue) > self._backlog:
            self._queue.clear()
            self.on_slow()

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
                if message["type"] == _CUT and self.on_cut is not None:
                    self.on_cut()
                    return
                await send(message)
                if message["type"] == "websocket.close":
                    return


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
    writer = asyncio.ensure_future(socket.write(send))
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
        writer.cancel()
        # Sending into a connection that the client has just cut is not an error of ours.
        await asyncio.gather(writer, return_exceptions=True)


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


def header(scope: Scope, name: bytes) -> str:
    """A request header, or the empty text."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""
