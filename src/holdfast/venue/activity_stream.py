"""The account's trades as server-sent events: ``GET /v2beta1/events/activities``, which can be resumed.

What the WebSocket does not have, this has: a past. ``since`` (a time) or ``since_id`` (an event's id) begins with what has
been, the named event included, and goes on with what comes. Without either there is no past. Ids are ULIDs that sort in the
order of the events; a restarted venue replays its book and gives every event the id that it had.

There is no queue for each reader: the account's list of trades is the queue, and a reader has its place in it and the number
of the last event that is committed. A slow reader costs nothing, and loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl

from holdfast.model.errors import VenueError
from holdfast.model.timestamps import format_rfc3339
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.http import keys_of, unauthorized
from holdfast.venue.orders import EngineEvent, Refusal
from holdfast.venue.refusals import refuse_invalid
from holdfast.venue.sockets import Receive, Scope, Send
from holdfast.venue.wire.account import activity_json
from holdfast.venue.wire.words import Json, derived_id, encode_json, event_id, parse_time, refusal_json

PATH: Final = "/v2beta1/events/activities"
HEARTBEAT_SECONDS: Final = 10.0

_HEARTBEAT: Final = b":heartbeat\n\n"
_BATCH: Final = 500
_ID_LENGTH: Final = 26


class _Reader:
    """One connection.

    Attributes:
        committed: The number of the account's last event that may be told.
    """

    __slots__ = ("account", "committed", "wake")

    def __init__(self, account: VenueAccount) -> None:
        self.account = account
        self.committed = account.event_count
        self.wake = asyncio.Event()


class ActivityStreams:
    """Everybody who reads their trades this way.

    Args:
        authenticate: Gives the account of a key pair, with everything until now committed.
        heartbeat_seconds: The longest silence (real seconds).
    """

    def __init__(
        self,
        authenticate: Callable[[str, str], VenueAccount | None],
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._authenticate = authenticate
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

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, until its client goes away or the venue stops."""
        try:
            account = self._authenticate(*keys_of(scope))
            if account is None:
                raise unauthorized()
            place = _place(account, scope)
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
        gone = asyncio.ensure_future(_until_gone(receive))
        gone.add_done_callback(lambda _: reader.wake.set())
        try:
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _HEARTBEAT, "more_body": True})
            while not gone.done() and not self._ended:
                payload, place = _next(reader, place)
                if not payload:
                    payload = await self._wait(reader)
                if payload and not gone.done():
                    await send({"type": "http.response.body", "body": payload, "more_body": True})
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


def _place(account: VenueAccount, scope: Scope) -> int:
    """Where in the account's trades to begin.

    Raises:
        Refusal: What is asked for makes no sense, or is not served here.
    """
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    since, since_id = query.get("since"), query.get("since_id")
    if query.get("until") or query.get("until_id"):
        refuse_invalid("until and until_id are not served by this venue")
    if since and since_id:
        refuse_invalid("only one of since or since_id is accepted")
    if since:
        moment = parse_time(since, "since")
        return next((i for i, (_, event) in enumerate(account.trades) if event.at >= moment), len(account.trades))
    if since_id:
        if len(since_id) != _ID_LENGTH or not since_id.isascii() or not since_id.isalnum():
            refuse_invalid(f"since_id must be the id of an event, got {since_id[:40]!r}")
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


def _next(reader: _Reader, place: int) -> tuple[bytes, int]:
    """What may be told from a place on, as one piece, and the place after it."""
    account, lines = reader.account, []
    for number, event in account.trades[place : place + _BATCH]:
        if number > reader.committed:
            break
        lines.append(b"data: " + encode_json(trade_event_json(event, number, account.namespace)) + b"\n\n")
    return b"".join(lines), place + len(lines)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
