"""The account's trades as server-sent events: the one stream of Alpaca's that can be resumed.

It is a second witness beside the ``trade_updates`` socket, and counts as REST does (``Source.RECONCILE``): a fill is known
within moments where that socket is mute, and ``kernel.hearing`` learns that it is. Executions and adjustments are counted once
by their ids, whoever tells of them first, so reading again is harmless and reading too little is not. After a cut it goes
on a minute *before* the last event that it read, since ids within one millisecond are in no order; what it has read
already it passes over. The first connection asks for no past: the comparison of the books brings that.

    what the venue answers            what follows
    200, text/event-stream            its events
    403, 404, 405, 501, other text    it does not offer this: said once, and never asked again; REST as before
    anything else, a cut, a silence   again after 1 to 30 s with jitter
    an event that cannot be read      counted, logged whole, and the books are compared
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx
import msgspec
import structlog

from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_activities import REVISIONS, revisions
from holdfast.brokers.alpaca_endpoints import check_base_url, check_key, is_loopback
from holdfast.model.enums import Source
from holdfast.model.events import Event, OrderFilled, ReconcileRequested
from holdfast.model.timestamps import NS_PER_MS, format_rfc3339
from holdfast.net import Backoff
from holdfast.net.tls import trusted_by
from holdfast.time import Clock

PATH = "/v2beta1/events/activities"
#: Longer than any heartbeat (real seconds): after so long a silence the connection is dead.
SILENCE_SECONDS = 60.0

_NOT_OFFERED = frozenset({403, 404, 405, 501})
_OVERLAP_MS = 60_000
_STABLE_SECONDS = 30.0
_REMEMBERED = 50_000
_LINE_BYTES_MAX = 1 << 20
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH, _TIME_LENGTH = 26, 10

Post = Callable[[Callable[[int], Sequence[Event]]], None]

_log = structlog.get_logger(__name__)


class EventLines:
    """Server-sent events out of chunks that end anywhere. Only ``data`` and comments mean anything here."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """What has become whole: ``("data", text)``, ``("comment", text)``, or ``("overlong", its beginning)``."""
        found: list[tuple[str, bytes]] = []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if not line:
                if self._data:
                    found.append(("data", b"\n".join(self._data)))
                    self._data = []
            elif line.startswith(b":"):
                found.append(("comment", line[1:].strip()))
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
        if len(self._rest) + sum(map(len, self._data)) > _LINE_BYTES_MAX:
            found.append(("overlong", (b"".join(self._data) + self._rest)[:200]))
            self._rest, self._data = b"", []
        return found


class ActivityStream:
    """Reads the account's trades until it is cancelled, or the venue says that it has no such stream.

    Args:
        api_key, api_secret: The account's keys.
        base_url: The trading API.
        post: The runner's inbox: takes functions from a time to events.
        clock: The bot's time.
        backoff: Between connections; default 1 to 30 s.
        silence_seconds: How long nothing may come (real seconds).
        sleep: Waits real seconds.

    Attributes:
        fills, repeated, malformed, connections: Counters.
        state: ``stopped``, ``connecting``, ``listening``, ``waiting`` or ``not offered``.
        last_id: Of the newest event that was read; empty before the first.

    Raises:
        ConfigurationError: The address or a key is none.
    """

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        base_url: str,
        post: Post,
        *,
        clock: Clock,
        backoff: Backoff | None = None,
        silence_seconds: float = SILENCE_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._url = check_base_url(base_url, "base_url") + PATH
        self._headers = {
            "APCA-API-KEY-ID": check_key(api_key, "api_key"),
            "APCA-API-SECRET-KEY": check_key(api_secret, "api_secret"),
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
        }
        self._post, self._clock, self._sleep = post, clock, sleep
        self._backoff = backoff or Backoff()
        self._timeout = httpx.Timeout(10.0, read=silence_seconds)
        self._opened_at: int | None = None
        self._read: dict[str, str] = {}
        self.fills = self.repeated = self.malformed = self.connections = 0
        self.state = "stopped"
        self.last_id = ""

    def get_stats(self) -> dict[str, Any]:
        """For the status."""
        names = ("state", "connections", "fills", "repeated", "malformed", "last_id")
        return {name: getattr(self, name) for name in names}

    async def run(self) -> None:
        """Read, and begin again after every cut."""
        trust = not is_loopback(self._url)
        try:
            async with httpx.AsyncClient(
                headers=self._headers, timeout=self._timeout, trust_env=trust, verify=trusted_by(self._url)
            ) as client:
                while await self._connect(client):
                    self.state = "waiting"
                    await self._sleep(self._backoff.next())
        finally:
            if self.state != "not offered":
                self.state = "stopped"

    async def _connect(self, client: httpx.AsyncClient) -> bool:
        """One connection, to its end; whether there shall be another."""
        self.state = "connecting"
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with client.stream("GET", self._url, params=self._from()) as response:
                kind = response.headers.get("content-type", "")
                if response.status_code in _NOT_OFFERED or (response.is_success and "text/event-stream" not in kind):
                    self.state = "not offered"
                    _log.info("activities.not_offered", status=response.status_code, kind=kind, instead="REST")
                    return False
                if response.is_success:
                    await self._listen(response)
                    reason = "the venue ended it"
                else:
                    reason = f"HTTP {response.status_code}"
        except (httpx.HTTPError, OSError) as error:
            reason = f"{type(error).__name__}: {error}"
        if loop.time() - began >= _STABLE_SECONDS:
            self._backoff.reset()
        _log.warning("activities.cut", reason=reason, last_id=self.last_id)
        return True

    async def _listen(self, response: httpx.Response) -> None:
        if self._opened_at is None:
            self._opened_at = self._clock.now_ns()
        self.connections += 1
        self.state = "listening"
        _log.info("activities.listening", since_id=self.last_id)
        lines = EventLines()
        async for chunk in response.aiter_bytes():
            for kind, text in lines.feed(chunk):
                if kind == "data":
                    self._take(text)
                elif kind == "overlong":
                    self._unreadable(text, "longer than any event")
                elif b"dropped" in text:
                    self._ask("the activity stream dropped messages")

    def _from(self) -> dict[str, str]:
        """Where to begin: nowhere at first, then a little before where we were."""
        if self._opened_at is None:
            return {}
        if not self.last_id:
            return {"since": format_rfc3339(self._opened_at)}
        return {"since_id": earlier(self.last_id, not_before=self._opened_at // NS_PER_MS)}

    def _take(self, text: bytes) -> None:
        try:
            event = msgspec.json.decode(text)
            identity, execution_id = str(event["event_id"]), str(event["ref_id"])
            if identity in self._read:
                self.repeated += 1
                return
            if event["activity_type"] == "TRD":
                self._tell(event)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, wire.MalformedMessageError) as error:
            self._unreadable(text, str(error))
            return
        self._read[identity] = execution_id
        if len(self._read) > _REMEMBERED:
            del self._read[next(iter(self._read))]
        self.last_id = max(self.last_id, identity)

    def _tell(self, event: Mapping[str, Any]) -> None:
        details = event["details"]
        word = details["execution_type"]
        if word in REVISIONS:
            update = self._as_update(event, word)
            reason = wire.reconcile_reason(update) or word
            self._post(lambda ts: (*revisions(update, ts), ReconcileRequested(ts=ts, reason=reason)))
            return
        if word != "fill":
            message = f"execution_type is {word!r}, expected fill, trade_correct or trade_bust"
            raise wire.MalformedMessageError(message, event)
        row = {
            **details,
            "id": event["ref_id"],
            "qty": event["qty"],
            "price": event["price"],
            "transaction_time": event.get("executed_at") or event.get("at"),
        }
        execution = msgspec.structs.replace(
            wire.execution_from_activity(row), client_order_id=details.get("client_order_id") or None
        )
        self.fills += 1
        self._post(lambda ts: (OrderFilled(ts=ts, execution=execution, source=Source.RECONCILE),))

    def _as_update(self, event: Mapping[str, Any], word: str) -> dict[str, Any]:
        """As the socket tells it, so that both make the same adjustment and it is counted once."""
        previous = event.get("previous_id") or event["ref_id"]
        return {
            "event": word,
            # Either the execution's own id, or that of the event which told of it.
            "previous_execution_id": self._read.get(previous, previous),
            "qty": event.get("qty"),
            "price": event.get("price"),
            "timestamp": event.get("at"),
            "order": {"symbol": event["details"]["symbol"]},
        }

    def _unreadable(self, text: bytes, reason: str) -> None:
        self.malformed += 1
        _log.error("activities.malformed", text=text.decode("utf-8", "backslashreplace"), reason=reason)
        self._ask("malformed message")

    def _ask(self, reason: str) -> None:
        self._post(lambda ts: (ReconcileRequested(ts=ts, reason=reason),))


def earlier(event_id: str, *, not_before: int) -> str:
    """The smallest ULID of the moment a minute before another one's, or of ``not_before`` (ms) if that is later.

    An id that is no ULID is returned as it is.
    """
    if len(event_id) != _ID_LENGTH or any(character not in _CROCKFORD for character in event_id):
        return event_id
    at = 0
    for character in event_id[:_TIME_LENGTH]:
        at = at * 32 + _CROCKFORD.index(character)
    moment = min(at, max(at - _OVERLAP_MS, not_before))
    time = "".join(_CROCKFORD[moment >> shift & 31] for shift in range(5 * _TIME_LENGTH - 5, -1, -5))
    return time + "0" * (_ID_LENGTH - _TIME_LENGTH)
