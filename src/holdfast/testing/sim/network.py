"""The network between one bot process and the venue, and all that it does to messages.

Requests go to the venue's ASGI application, WebSocket frames to its sockets, both with delays. The faults are
those of ``faults.FAULTS``. Once a request has left the process it is the network's: it may reach the venue after the
process is gone. What the simulation takes for granted: a request that has run into the client's time-out is carried
out within seven seconds of it, or never. (A network that keeps an order for longer than the grace period of the
look-ups would make "never sent" a guess.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import msgspec
from websockets.datastructures import Headers as SocketHeaders
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.http11 import Response

from holdfast.model.timestamps import NS_PER_SECOND, parse_rfc3339
from holdfast.testing.sim.faults import Faults, Place
from holdfast.testing.sim.journal import Disk
from holdfast.testing.sim.loop import Owner, VirtualLoop, context_of
from holdfast.testing.sim.trace import Trace
from holdfast.testing.sim.venue import Headers, HttpAnswer, ServerEnd, SimVenue, VenueGone
from holdfast.venue.streams.sockets import Message

LATE_SECONDS_MAX = 7.0
LISTED_LATE_SECONDS_MAX = 5.0

_HTML = b"<html><body><h1>Something is wrong</h1></body></html>"
_NO_SUCH_CODE = b'{"code":42299999,"message":"something went wrong"}'
_UNKNOWN_WORDS = {"status": "pending_moonrise", "moon_phase": {"waxing": True}}
# websockets pings every 20 s and gives up 20 s later.
_DEAD_AFTER = (20.0, 40.0)


class Departure(msgspec.Struct, frozen=True):
    """A request that left a process.

    Attributes:
        at: Virtual time (s).
        process: Which run of the bot.
        client_order_id: Of a submit, and of the new order that a replace asks for.
        durable: Whether the submit's intent was on disk at that moment.
    """

    at: float
    process: int
    method: str
    path: str
    client_order_id: str = ""
    durable: bool = True


class Door:
    """Everything that passed between the bot and the venue, over all runs."""

    def __init__(self) -> None:
        self.departures: list[Departure] = []
        self.arrivals: list[tuple[float, str]] = []  # submits, by client order id


class Network:
    """One process's network. Once its owner is dead nothing leaves it, and nothing reaches it.

    Args:
        loop: Virtual time.
        venue: The other side.
        owner: The process.
        number: Which run of the bot it is.
        disk: Tells which intents are durable.
        faults: The dice.
        trace: The log.
        door: What passed.
        point: Where the process may end.
        key: The bot's key at the venue.

    Attributes:
        stalled_until: Nothing passes before this moment (virtual seconds).
    """

    def __init__(
        self,
        loop: VirtualLoop,
        venue: SimVenue,
        owner: Owner,
        number: int,
        disk: Disk,
        faults: Faults,
        trace: Trace,
        door: Door,
        point: Callable[[str], None],
        key: str,
    ) -> None:
        self.loop = loop
        self.key = key
        self.venue = venue
        self.owner = owner
        self.number = number
        self.disk = disk
        self.faults = faults
        self.trace = trace
        self.door = door
        self.point = point
        # Requests on their way belong to neither side: they outlive both.
        self.ground = context_of(Owner("network"))
        self._sockets: dict[SimSocket, None] = {}
        self.stalled_until = 0.0

    def latency(self) -> float:
        """Seconds that a message takes from now on: some milliseconds, and the rest of a stall."""
        return self.faults.between(0.002, 0.08) + max(0.0, self.stalled_until - self.loop.time())

    def heal(self) -> None:
        """Faults have stopped: what was mute speaks again. What it kept to itself stays lost."""
        for socket in self._sockets:
            socket.mute = False

    def cut(self) -> None:
        """The process is gone: its connections are reset."""
        for socket in tuple(self._sockets):
            socket.end(told_after=self.latency())

    # -- HTTP -----------------------------------------------------------------------------------

    async def exchange(self, request: httpx.Request) -> httpx.Response:
        """One request. Raises what httpx raises."""
        if self.owner.dead:
            await asyncio.Event().wait()
        read_timeout = request.extensions["timeout"]["read"]
        body = request.content
        target = request.url.raw_path
        name = f"{request.method} {target.decode()}"
        fault = self.faults.draw("request")
        if fault == "refused" or not self.venue.up:
            await asyncio.sleep(self.latency())
            self._note("refused", name)
            message = "connection refused"
            raise httpx.ConnectError(message)
        order_id = _order_id(request)
        durable = not order_id or order_id in self.disk.intents
        self.door.departures.append(
            Departure(self.loop.time(), self.number, request.method, request.url.path, order_id, durable)
        )
        self._note("request", f"{name} {order_id} {fault or ''}")
        self.point("request-left")
        headers: Headers = [(key.lower(), value) for key, value in request.headers.raw]
        if fault in ("lost", "late"):
            if fault == "late" and request.method != "GET":
                delay = read_timeout + self.faults.between(0.0, LATE_SECONDS_MAX)
                self.loop.create_task(
                    self._carry(delay, request.method, target, headers, body, order_id), context=self.ground
                )
            await asyncio.sleep(read_timeout)
            message = "no answer"
            raise httpx.ReadTimeout(message)
        if fault == "cut_before":
            await asyncio.sleep(self.latency())
            message = "connection reset by peer"
            raise httpx.ReadError(message)
        if fault in _ANSWERS_OF_OTHERS:
            await asyncio.sleep(2 * self.latency())
            return self._from_elsewhere(fault)
        slowness = 0.0
        after = self.faults.draw("answer")
        if after == "slow":
            slowness = self.faults.between(0.5, 9.0)
        out = self.latency() + slowness * self.faults.between(0.0, 1.0)
        # In the network's own context: what is on its way stays on its way when the client ends.
        carried = self.loop.create_task(
            self._carry(out, request.method, target, headers, body, order_id, times=2 if fault == "twice" else 1),
            context=self.ground,
        )
        began = self.loop.time()
        await asyncio.wait({carried}, timeout=read_timeout)
        if not carried.done():
            message = "no answer"
            raise httpx.ReadTimeout(message)
        left = read_timeout - (self.loop.time() - began)
        return await self._bring_back(carried.result(), after, slowness, left, name)

    async def _bring_back(
        self, answer: HttpAnswer | None, fault: str | None, slowness: float, read_timeout: float, name: str
    ) -> httpx.Response:
        if answer is None:
            message = "the server disconnected without an answer"
            raise httpx.RemoteProtocolError(message)
        answer = self._late_view(name, answer)
        back = self.latency() + slowness
        if fault == "answer_lost" or back > read_timeout:
            await asyncio.sleep(read_timeout)
            self._note("answer_lost", name)
            message = "no answer"
            raise httpx.ReadTimeout(message)
        await asyncio.sleep(back)
        if self.owner.dead:
            await asyncio.Event().wait()
        self._note("answer", f"{answer.status} {name} {fault or ''}")
        self.point("answer-arrived")
        if fault == "cut_after":
            message = "peer closed the connection without sending a complete answer"
            raise httpx.RemoteProtocolError(message)
        if fault == "gateway_after":
            return httpx.Response(504, content=_HTML, headers={"Content-Type": "text/html"})
        if fault == "error_though_done" and not name.startswith("GET"):
            return httpx.Response(422, content=_NO_SUCH_CODE, headers={"Content-Type": "application/json"})
        body = answer.body
        if fault == "malformed_answer":
            body = body[: len(body) // 2]
        elif fault == "unknown_word" and answer.status == 200 and name.startswith("GET /v2/orders?"):
            body = self._with_unknown_word(body)
        headers = [(key, value) for key, value in answer.headers if key != b"content-length"]
        return httpx.Response(answer.status, headers=headers, stream=httpx.ByteStream(body))

    async def _carry(
        self,
        delay: float,
        method: str,
        target: bytes,
        headers: Headers,
        body: bytes,
        order_id: str,
        *,
        times: int = 1,
    ) -> HttpAnswer | None:
        """Bring a request to the venue; None where the venue ended over it."""
        await asyncio.sleep(delay)
        answer: HttpAnswer | None = None
        for _ in range(times):
            try:
                if order_id:
                    self.door.arrivals.append((self.loop.time(), order_id))
                told = await self.venue.request(method, target, headers, body)
            except VenueGone:
                return None
            self.trace.note("venue", "carried out", f"{told.status} {method} {target.decode()} {order_id}")
            # "Too many requests" says that nothing was done. Of a request that was carried out the first time it would be
            # a lie that no venue tells, and that no bot could see through.
            answer = told if answer is None or told.status != _TOO_MANY else answer
        return answer

    def _from_elsewhere(self, fault: str) -> httpx.Response:
        if fault == "gateway_before":
            return httpx.Response(500, content=_HTML, headers={"Content-Type": "text/html"})
        if fault == "limit_bare":
            return httpx.Response(429, content=b"")
        wait = 1 + self.faults.pick(20)
        return httpx.Response(
            429,
            content=b'{"code":42910000,"message":"too many requests"}',
            headers={"Retry-After": str(wait), "Content-Type": "application/json"},
        )

    def _late_view(self, name: str, answer: HttpAnswer) -> HttpAnswer:
        """The venue's views are written one after the other: some show what was some seconds ago."""
        place = next((place for path, place in _VIEWS.items() if path in name), None)
        if place is None or answer.status != 200 or self.faults.draw(place) is None:
            return answer
        cutoff = self.venue.now_ns - round(self.faults.between(0.5, LISTED_LATE_SECONDS_MAX) * NS_PER_SECOND)
        rows = msgspec.json.decode(answer.body)
        if place == "listing":
            rows = [row for row in rows if parse_rfc3339(row["transaction_time"]) < cutoff]
        elif place == "position":
            rows = self.venue.positions_at(self.key, cutoff)
        elif parse_rfc3339(rows["submitted_at"]) >= cutoff:
            rows = {"code": 40410000, "message": "order not found"}
            answer = msgspec.structs.replace(answer, status=404)
        return msgspec.structs.replace(answer, body=msgspec.json.encode(rows))

    def _with_unknown_word(self, body: bytes) -> bytes:
        rows = msgspec.json.decode(body)
        if rows:
            rows[self.faults.pick(len(rows))] |= _UNKNOWN_WORDS
        return msgspec.json.encode(rows)

    def _note(self, kind: str, detail: str) -> None:
        if not self.owner.dead:
            self.trace.note(self.owner.name, kind, detail)

    # -- WebSockets -----------------------------------------------------------------------------

    def connect(self, url: str, **_options: Any) -> SimSocket:
        """What ``websockets.connect`` is to a stream."""
        socket = SimSocket(self, url)
        self._sockets[socket] = None
        return socket

    def forget(self, socket: SimSocket) -> None:
        """It is over."""
        self._sockets.pop(socket, None)


_VIEWS: dict[str, Place] = {
    "/account/activities": "listing",
    "/v2/positions": "position",
    "by_client_order_id": "lookup",
}
_TOO_MANY = 429
_ANSWERS_OF_OTHERS = frozenset({"gateway_before", "limit_headers", "limit_bare"})


class SimTransport(httpx.AsyncBaseTransport):
    """httpx's network."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        return await self._network.exchange(request)


class SimSocket:
    """A WebSocket from the client's side: an async context manager that gives itself."""

    def __init__(self, network: Network, url: str) -> None:
        self._network = network
        self._url = url
        self._name = urlsplit(url).path
        self._opened: asyncio.Future[None] = network.loop.create_future()
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._ended: Exception | None = None
        self._over = False
        self._held: bytes | None = None
        self._next_at = 0.0  # TCP keeps the order: nothing arrives before what was sent earlier
        self._out_at = 0.0
        self._server: ServerEnd | None = None
        self.mute = False
        self._half_open = False

    # -- what the stream sees -------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        network = self._network
        await asyncio.sleep(2 * network.latency())
        fault = network.faults.draw("socket")
        if network.owner.dead:
            await asyncio.Event().wait()
        if fault == "socket_refused" or not network.venue.up:
            network.forget(self)
            message = "connection refused"
            raise ConnectionRefusedError(message)
        if fault == "socket_too_many":
            network.forget(self)
            raise InvalidStatus(Response(429, "Too Many Requests", SocketHeaders()))
        self._server = ServerEnd(self._from_venue, self._venue_gone)
        try:
            network.venue.open_socket(self._server, self._name, [])
        except VenueGone as error:
            network.forget(self)
            raise ConnectionRefusedError(str(error)) from None
        network.trace.note(network.owner.name, "socket opened", self._name)
        try:
            await self._opened
        except BaseException:
            self.end(told_after=network.latency())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(told_after=self._network.latency())

    async def send(self, message: bytes, *, text: bool | None = None) -> None:
        """Send one frame."""
        if self._ended is not None:
            raise self._ended
        network = self._network
        if network.owner.dead or self._half_open or self._server is None:
            return
        frame: Message = {"type": "websocket.receive"}
        if text:
            frame["text"] = bytes(message).decode()
        else:
            frame["bytes"] = bytes(message)
        self._out_at = max(self._out_at + 1e-6, network.loop.time() + network.latency())
        network.loop.call_at(self._out_at, self._server.put, frame)

    async def recv(self, decode: bool | None = None) -> bytes:
        """The next frame."""
        while not self._frames:
            if self._ended is not None:
                raise self._ended
            self._wake.clear()
            await self._wake.wait()
        return self._frames.popleft()

    def end(self, *, told_after: float) -> None:
        """This side is done; the venue learns of it a little later."""
        if self._over:
            return
        self._over = True
        self._network.forget(self)
        if self._ended is None:
            self._ended = ConnectionClosedError(None, None)
        if self._server is not None and not self._half_open:
            self._network.loop.call_later(told_after, self._server.put, {"type": "websocket.disconnect"})

    # -- what the venue sends -------------------------------------------------------------------

    def _venue_gone(self) -> None:
        self._break(0.01)

    def _break(self, after: float) -> None:
        self._network.loop.call_later(after, self._on_broken)

    def _on_broken(self) -> None:
        if self._ended is None:
            self._ended = ConnectionClosedError(None, None)
        if not self._opened.done():
            self._opened.set_exception(ConnectionResetError("connection reset by peer"))
            self._opened.exception()  # perhaps nobody waits for it any more
        self._wake.set()

    def _from_venue(self, message: Message) -> None:
        kind = message["type"]
        network = self._network
        if kind == "websocket.accept":
            network.loop.call_later(network.latency(), self._on_accepted)
        elif kind == "websocket.http.response.start":
            network.loop.call_later(network.latency(), self._on_denied, message["status"])
        elif kind == "websocket.close":
            self._break(network.latency())
        elif kind == "websocket.send":
            payload = message.get("bytes")
            self._on_sent(payload if payload is not None else message["text"].encode())

    def _on_accepted(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _on_denied(self, status: int) -> None:
        if not self._opened.done():
            self._opened.set_exception(InvalidStatus(Response(status, "Denied", SocketHeaders())))
            self._opened.exception()

    def _on_sent(self, payload: bytes) -> None:
        network = self._network
        if self._over or self.mute or self._half_open:
            return
        fault = network.faults.draw("frame")
        if fault is None:
            self._schedule(payload)
            self._release()
            return
        network.trace.note("network", fault, self._name)
        _FRAME_FAULTS[fault](self, payload)

    def _lose(self, payload: bytes) -> None:
        """Nothing arrives, and nobody notices."""

    def _fall_mute(self, payload: bytes) -> None:
        self.mute = True

    def _be_cut(self, payload: bytes) -> None:
        self._break(self._network.latency())
        self._tell_venue(self._network.latency())

    def _fall_dead(self, payload: bytes) -> None:
        self._half_open = True
        self._break(self._network.faults.between(*_DEAD_AFTER))
        self._tell_venue(self._network.faults.between(30.0, 60.0))

    def _tear(self, payload: bytes) -> None:
        self._schedule(payload[: max(1, len(payload) // 2)])
        self._release()

    def _reword(self, payload: bytes) -> None:
        """Of trade updates alone: only they have kinds that a newer venue may add to."""
        message = msgspec.json.decode(payload) if payload[:1] == b"{" else None
        if isinstance(message, dict) and message.get("stream") == "trade_updates":
            message["data"]["event"] = "moonrise"
            message["data"]["order"] |= _UNKNOWN_WORDS
            payload = msgspec.json.encode(message)
        self._schedule(payload)
        self._release()

    def _delay(self, payload: bytes) -> None:
        self._network.loop.call_later(self._network.faults.between(1.0, 20.0), self._deliver, payload)

    def _repeat(self, payload: bytes) -> None:
        self._schedule(payload)
        self._schedule(payload)
        self._release()

    def _hold(self, payload: bytes) -> None:
        self._release()
        self._held = payload
        self._network.loop.call_later(5.0, self._release)

    def _tell_venue(self, after: float) -> None:
        if self._server is not None:
            self._network.loop.call_later(after, self._server.put, {"type": "websocket.disconnect"})

    def _release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._schedule(held)

    def _schedule(self, payload: bytes) -> None:
        loop = self._network.loop
        self._next_at = max(self._next_at + 1e-6, loop.time() + self._network.latency())
        loop.call_at(self._next_at, self._deliver, payload)

    def _deliver(self, payload: bytes) -> None:
        network = self._network
        if self._ended is not None or network.owner.dead or self._half_open:
            return
        network.trace.note(network.owner.name, "frame", self._name)
        network.trace.absorb(payload)
        self._frames.append(payload)
        self._wake.set()


_FRAME_FAULTS: dict[str, Callable[[SimSocket, bytes], None]] = {
    "frame_lost": SimSocket._lose,  # noqa: SLF001 - a table of its own methods
    "frame_twice": SimSocket._repeat,  # noqa: SLF001 - as above
    "frame_swapped": SimSocket._hold,  # noqa: SLF001 - as above
    "frame_unknown": SimSocket._reword,  # noqa: SLF001 - as above
    "frame_late": SimSocket._delay,  # noqa: SLF001 - as above
    "frame_malformed": SimSocket._tear,  # noqa: SLF001 - as above
    "socket_cut": SimSocket._be_cut,  # noqa: SLF001 - as above
    "socket_half_open": SimSocket._fall_dead,  # noqa: SLF001 - as above
    "socket_mute": SimSocket._fall_mute,  # noqa: SLF001 - as above
}


def _order_id(request: httpx.Request) -> str:
    if request.method not in ("POST", "PATCH") or "/v2/orders" not in request.url.path:
        return ""
    body = msgspec.json.decode(request.content)
    return str(body.get("client_order_id") or "") if isinstance(body, dict) else ""
