"""The account's trades as server-sent events: ``GET /v2beta1/events/activities``, which can be resumed.

What the WebSocket does not have, this has: a past. ``since`` (a time) or ``since_id`` (an event's id) begins with what has
been, the named event included, and goes on with what comes. Without either there is no past. ``until`` or ``until_id``, which
need their ``since``, end the answer before the first later event; with all of the past told, at once. Ids are ULIDs that sort in the
order of the events; a restarted venue replays its book and gives every event the id that it had.

There is no queue for each reader: the account's list of trades is the queue, and a reader has its place in it and the number
of the last event that is committed. A slow reader costs nothing, and loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from holdfast.model.errors import VenueError
from holdfast.model.timestamps import format_rfc3339
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.http import keys_of, unauthorized
from holdfast.venue.matching.orders import EngineEvent, Refusal
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.streams.sockets import Outlet, Receive, Scope, Send, cut_of
from holdfast.venue.wire.account import activity_json
from holdfast.venue.wire.words import (
    Json,
    derived_id,
    encode_json,
    event_id,
    is_event_id,
    moment_of,
    parse_time,
    refusal_json,
)

PATH: Final = "/v2beta1/events/activities"
HEARTBEAT_SECONDS: Final = 10.0

#: Gives the outlet of an account's new connection, for as long as it lasts; the second argument wakes the connection.
Watch = Callable[[VenueAccount, Callable[[], None]], contextlib.AbstractContextManager[Outlet | None]]

_HEARTBEAT: Final = b":heartbeat\n\n"
_BATCH: Final = 500
_LAST_NUMBER: Final = (1 << 48) - 1


class _Reader:
    """One connection.

    Attributes:
        committed: The number of the account's last event that may be told.
        outlet: What messages pass on their way out.
        ended: Its account is no more.
    """

    __slots__ = ("account", "committed", "ended", "outlet", "wake")

    def __init__(self, account: VenueAccount) -> None:
        self.account = account
        self.outlet: Outlet | None = None
        self.ended = False
        self.committed = account.event_count
        self.wake = asyncio.Event()

    @property
    def is_cut(self) -> bool:
        """Whether the connection is to be cut."""
        return self.outlet is not None and self.outlet.cut


class ActivityStreams:
    """Everybody who reads their trades this way.

    Args:
        authenticate: Gives the account of a key pair, with everything until now committed.
        now: The venue's time (UTC ns).
        heartbeat_seconds: The longest silence (real seconds).
        watch: Gives what the messages of a connection pass on their way out, for as long as it lasts.
    """

    def __init__(
        self,
        authenticate: Callable[[str, str], VenueAccount | None],
        now: Callable[[], int],
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        watch: Watch = lambda _, __: contextlib.nullcontext(),
    ) -> None:
        self._authenticate = authenticate
        self._now = now
        self._watch = watch
        self._heartbeat = heartbeat_seconds
        self._readers: set[_Reader] = set()
        self._ended = False

    def tell(self, account: VenueAccount, news: Sequence[tuple[int, EngineEvent]]) -> None:
        """These events of an account are committed."""
        for reader in self._readers:
            if reader.account is account:
                reader.committed = max(reader.committed, news[-1][0])
                reader.wake.set()

    def end(self) -> None:
        """The venue stops: end all answers."""
        self._ended = True
        for reader in self._readers:
            reader.wake.set()

    def end_account(self, account: VenueAccount) -> None:
        """The account is no more: end its answers, once what has happened to it is told."""
        for reader in self._readers:
            if reader.account is account:
                reader.ended = True
                reader.wake.set()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, until its client goes away or the venue stops."""
        try:
            account = self._authenticate(*keys_of(scope))
            if account is None:
                raise unauthorized()
            place, until = _range(account, scope)
        except Refusal as refusal:
            body: object = {"message": refusal.message} if refusal.http_status == 401 else refusal_json(refusal)
            await _answer(send, refusal.http_status, encode_json(body))
            return
        except VenueError:
            # The venue is stopping, for a reason that it keeps.
            await _answer(send, 500, encode_json({"code": 50010000, "message": "internal server error"}))
            return
        reader = _Reader(account)
        self._readers.add(reader)
        with self._watch(account, reader.wake.set) as reader.outlet:
            await self._serve(reader, place, until, scope, receive, send)

    async def _serve(
        self, reader: _Reader, place: int, until: _Until, scope: Scope, receive: Receive, send: Send
    ) -> None:
        gone = asyncio.ensure_future(_until_gone(receive))
        gone.add_done_callback(lambda _: reader.wake.set())
        try:
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _HEARTBEAT, "more_body": True})
            while not gone.done() and not self._ended:
                payload, after, over = _next(reader, place, until)
                over = over or (after == place and (reader.ended or self._now() > until.moment))
                if not payload and after == place and not over and not reader.is_cut:
                    payload = await self._wait(reader)
                place = after
                if payload and not gone.done():
                    await send({"type": "http.response.body", "body": payload, "more_body": True})
                if reader.is_cut:
                    cut = cut_of(scope)
                    if cut is not None:
                        cut()
                        await gone
                    break
                if over:
                    break
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._readers.discard(reader)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _wait(self, reader: _Reader) -> bytes:
        try:
            async with asyncio.timeout(self._heartbeat):
                await reader.wake.wait()
        except TimeoutError:
            return _HEARTBEAT
        reader.wake.clear()
        return b""


def trade_event_json(event: EngineEvent, number: int, namespace: int) -> Json:
    """One event of the stream: a fill, or an execution that is taken back."""
    execution = event.execution
    if execution is None:
        message = f"event {number} is no trade"
        raise ValueError(message)
    row = activity_json(execution)
    busted = event.kind == "trade_bust"
    return {
        "event_id": event_id(event.at, number, namespace),
        # A bust has an id of its own, and names the execution that it takes back.
        "ref_id": derived_id("event", f"{number}:{event.order.id}") if busted else execution.execution_id,
        "previous_id": execution.execution_id if busted else None,
        "activity_type": "TRD",
        "at": format_rfc3339(event.at),
        "executed_at": row["transaction_time"],
        "price": row["price"],
        "qty": row["qty"],
        "details": {
            "order_id": execution.order_id,
            "client_order_id": execution.client_order_id,
            **{name: row[name] for name in ("side", "symbol", "cum_qty", "leaves_qty", "order_status")},
            "execution_type": "trade_bust" if busted else "fill",
        },
    }


class _Until(msgspec.Struct, frozen=True):
    """Where an answer ends: after this event at the latest, and once this moment (UTC ns) is over."""

    last_id: str
    moment: int


_NEVER: Final = _Until("~", 1 << 62)


def _range(account: VenueAccount, scope: Scope) -> tuple[int, _Until]:
    """Where in the account's trades to begin, and where to end.

    Raises:
        Refusal: What is asked for makes no sense.
    """
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    since, since_id, until, until_id = (query.get(name) for name in ("since", "since_id", "until", "until_id"))
    if since and since_id:
        refuse_invalid("only one of since or since_id is accepted")
    if until and not since:
        refuse_invalid("until needs since")
    if until_id and not since_id:
        refuse_invalid("until_id needs since_id")
    end = _NEVER
    if until:
        moment = parse_time(until, "until")
        end = _Until(event_id(max(moment, 0), _LAST_NUMBER, _LAST_NUMBER), moment)
    elif until_id:
        _check_id(until_id, "until_id")
        end = _Until(until_id.upper(), moment_of(until_id.upper()))
    return _place(account, since, since_id), end


def _check_id(text: str, name: str) -> None:
    if not is_event_id(text.upper()):
        refuse_invalid(f"{name} must be the id of an event, got {text[:40]!r}")


def _place(account: VenueAccount, since: str | None, since_id: str | None) -> int:
    if since:
        moment = parse_time(since, "since")
        return next((i for i, (_, event) in enumerate(account.trades) if event.at >= moment), len(account.trades))
    if since_id:
        _check_id(since_id, "since_id")
        namespace = account.namespace
        return next(
            (
                i
                for i, (number, event) in enumerate(account.trades)
                if event_id(event.at, number, namespace) >= since_id.upper()
            ),
            len(account.trades),
        )
    return len(account.trades)


def _next(reader: _Reader, place: int, until: _Until) -> tuple[bytes, int, bool]:
    """What may be told from a place on, as one piece; the place after it; and whether the end has been passed."""
    account, over = reader.account, False
    lines: list[bytes] = []
    for number, event in account.trades[place : place + _BATCH]:
        if number > reader.committed:
            break
        body = trade_event_json(event, number, account.namespace)
        if body["event_id"] > until.last_id:
            over = True
            break
        lines.append(encode_json(body))
    place += len(lines)
    if reader.outlet is not None and reader.outlet.is_concerned:
        lines = [line for message in lines for line in reader.outlet.pass_on(message)]
    return b"".join(b"data: " + line + b"\n\n" for line in lines), place, over


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
