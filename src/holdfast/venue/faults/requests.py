"""The effects on requests: each wraps the deed, so that several rules can strike one request.

A deed carries the request out and gives the answer. An effect may do it first, later, or not at all, and may answer
something else. The rule that was set first is the innermost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, unquote

import msgspec

from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange
from holdfast.venue.faults.board import FaultBoard, Standing
from holdfast.venue.faults.messages import Outlet, with_members
from holdfast.venue.faults.past import Past
from holdfast.venue.faults.pending import PendingCancels
from holdfast.venue.faults.rules import Rule, has_fields, matches
from holdfast.venue.http import Deed, Reply, View, keys_of
from holdfast.venue.streams.sockets import Scope
from holdfast.venue.wire.words import encode_json

_ORDERS: Final = "/v2/orders/"
_HTML: Final = (
    b"<html><head><title>%d</title></head><body><center><h1>%d %s</h1></center></body></html>\n"
)  # fmt: skip
_REASONS: Final = {500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Temporarily Unavailable", 504: b"Gateway Time-out"}  # fmt: skip


class _Facts:
    """What rules ask of a request. The body is decoded only if one asks."""

    def __init__(self, scope: Scope, body: bytes | None, exchange: Exchange) -> None:
        self.method: str = scope["method"]
        self.path: str = unquote(scope["raw_path"].decode("latin-1").partition("?")[0])
        self.key = keys_of(scope)[0]
        self._scope = scope
        self._body = body
        self._exchange = exchange

    @property
    def account(self) -> VenueAccount | None:
        return self._exchange.account_of(self.key)

    @property
    def order_id(self) -> str:
        """The order that the path names, if it names one."""
        return self.path.removeprefix(_ORDERS).lower() if self.path.startswith(_ORDERS) else ""

    def json(self) -> Any:
        try:
            return msgspec.json.decode(self._body or b"null")
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None

    def client_order_id(self) -> str:
        """By which the request names an order: in its body, its query, or by the order of its path."""
        body = self.json()
        if isinstance(body, dict) and isinstance(body.get("client_order_id"), str) and self.method == "POST":
            return str(body["client_order_id"])
        query = parse_qs(self._scope["query_string"].decode("latin-1"))
        if query.get("client_order_id"):
            return str(query["client_order_id"][-1])
        account = self.account
        order = account.engine.order(self.order_id) if account is not None and self.order_id else None
        return order.client_order_id if order is not None else ""

    def meets(self, rule: Rule) -> bool:
        return (
            matches(rule.method, self.method)
            and matches(rule.path, self.path)
            and matches(rule.account, self.key)
            and (rule.client_order_id is None or matches(rule.client_order_id, self.client_order_id()))
            and (not rule.fields or has_fields(self.json(), rule.fields))
            and (rule.effect != "lag" or self.method in ("GET", "HEAD"))
            and (rule.effect != "pending_cancel" or (self.method == "DELETE" and bool(self.order_id)))
        )


class _Wrap(Protocol):
    def __call__(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Awaitable[Reply]: ...


class RequestFaults:
    """Strikes the requests of the trading port.

    Args:
        board: The rules.
        exchange: What is asked about orders and accounts.
        pending: Where stuck cancels go.
        past: What accounts were like.
        trade_outlets: The trade streams of an account.
    """

    def __init__(
        self,
        board: FaultBoard,
        exchange: Exchange,
        pending: PendingCancels,
        past: Past,
        trade_outlets: Callable[[str], Iterable[Outlet]],
    ) -> None:
        self._board = board
        self._exchange = exchange
        self._pending = pending
        self._past = past
        self._trade_outlets = trade_outlets
        self._effects: dict[str, _Wrap] = {
            "too_many_requests": self._too_many_requests,
            "gateway_timeout": self._gateway_timeout,
            "server_error": self._server_error,
            "error_body": self._error_body,
            "delay": self._delay,
            "cut": self._cut,
            "alter": self._alter,
            "stream_first": self._stream_first,
            "answer_first": self._answer_first,
            "pending_cancel": self._pending_cancel,
            "lag": self._lag,
        }

    async def answer(self, scope: Scope, body: bytes | None, deed: Deed) -> Reply:
        """The answer to a request, with everything that strikes it."""
        if not self._board.concerns("requests") and not self._pending:
            return await deed(None)
        facts = _Facts(scope, body, self._exchange)
        if self._pending:
            deed = self._as_shown(facts, deed)
        for standing in self._board.rules("requests"):
            if facts.meets(standing.rule) and self._board.strikes(standing):
                deed = _wrapped(self._effects[standing.rule.effect], standing, facts, deed)
        return await deed(None)

    # --- Effects -----------------------------------------------------------------------------------------------

    async def _too_many_requests(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        body = {"code": 42910000, "message": "too many requests"}
        headers = standing.rule.option("headers")
        account = facts.account
        limit = b"200" if account is None or account.rate.limit is None else str(account.rate.limit).encode()
        reset = str(self._exchange.now // 1_000_000_000 + 1).encode()
        shown = []
        if headers != "none":
            shown += [(b"x-ratelimit-limit", limit), (b"x-ratelimit-remaining", b"0"), (b"x-ratelimit-reset", reset)]
        if headers == "all":
            shown.append((b"retry-after", b"1"))
        return _json(429, body, shown)

    async def _gateway_timeout(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        if standing.rule.option("executed"):
            await deed(view)
        return _page(504)

    async def _server_error(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        rule = standing.rule
        if rule.option("executed"):
            await deed(view)
        status = rule.option("status")
        return _page(status) if rule.option("body") == "html" else Reply(status, [(b"content-length", b"0")], b"")

    async def _error_body(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        rule = standing.rule
        if rule.option("executed"):
            await deed(view)
        return _json(rule.option("status"), {"code": rule.option("code"), "message": rule.option("message")})

    async def _delay(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        rule = standing.rule
        if rule.option("executed"):
            reply = await deed(view)
            await asyncio.sleep(rule.option("seconds"))
            return reply
        await asyncio.sleep(rule.option("seconds"))
        return await deed(view)

    async def _cut(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        if standing.rule.option("executed"):
            await deed(view)
        return Reply(0, [], b"", cut=True)

    async def _alter(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        return _rewritten(await deed(view), lambda value: with_members(value, standing.rule.option("set")))

    async def _stream_first(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        reply = await deed(view)
        await asyncio.sleep(standing.rule.option("seconds"))
        return reply

    async def _answer_first(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        outlets = list(self._trade_outlets(facts.key))
        for outlet in outlets:
            outlet.hold_back()

        def resume() -> None:
            for outlet in outlets:
                outlet.resume()

        try:
            reply = await deed(view)
        except BaseException:
            resume()
            raise
        seconds = float(standing.rule.option("seconds"))
        reply.after.append(lambda: asyncio.get_running_loop().call_later(seconds, resume))
        return reply

    async def _pending_cancel(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        account = facts.account
        order = account.engine.order(facts.order_id) if account is not None else None
        if account is None or order is None or not order.is_open or order.id in self._pending:
            return await deed(view)
        seconds = standing.rule.option("seconds")
        due = None if seconds is None else self._exchange.now + int(seconds * 1_000_000_000)
        self._pending.hold(account, order.id, due, standing.id)
        return Reply(204, [(b"content-length", b"0")], b"")

    async def _lag(self, standing: Standing, facts: _Facts, deed: Deed, view: View | None) -> Reply:
        ago = int(standing.rule.option("seconds") * 1_000_000_000)
        return await deed(lambda account: self._past.view(account, self._exchange.now - ago))

    # --- Stuck orders ------------------------------------------------------------------------------------------

    def _as_shown(self, facts: _Facts, deed: Deed) -> Deed:
        """The deed as it goes where some orders are stuck: they are shown so, and cannot be replaced."""

        async def shown(view: View | None) -> Reply:
            if facts.order_id in self._pending:
                if facts.method == "PATCH":
                    return _json(422, {"code": 42210000, "message": "unable to replace order, order is not open"})
                if facts.method == "DELETE":
                    return Reply(204, [(b"content-length", b"0")], b"")
            return _rewritten(await deed(view), self._pending.show)

        return shown


def _wrapped(effect: _Wrap, standing: Standing, facts: _Facts, deed: Deed) -> Deed:
    async def wrapped(view: View | None) -> Reply:
        return await effect(standing, facts, deed, view)

    return wrapped


def _rewritten(reply: Reply, change: Callable[[Any], Any]) -> Reply:
    """The same answer with another body, if it has one of JSON."""
    try:
        value = msgspec.json.decode(reply.payload)
    except (msgspec.DecodeError, RecursionError):
        return reply
    payload = encode_json(change(value))
    headers = [(name, value) for name, value in reply.headers if name != b"content-length"]
    return Reply(reply.status, [*headers, (b"content-length", str(len(payload)).encode())], payload, after=reply.after)


def _json(status: int, body: Any, headers: Iterable[tuple[bytes, bytes]] = ()) -> Reply:
    payload = encode_json(body)
    length = (b"content-length", str(len(payload)).encode())
    return Reply(status, [(b"content-type", b"application/json"), length, *headers], payload)


def _page(status: int) -> Reply:
    """What a gateway in front of the venue would say: a page, and none of the venue's headers."""
    payload = _HTML % (status, status, _REASONS.get(status, b"Error"))
    length = (b"content-length", str(len(payload)).encode())
    return Reply(status, [(b"content-type", b"text/html"), length], payload)
