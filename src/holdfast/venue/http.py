"""The venue's HTTP side: one table of routes, one place for keys, limits, headers and errors.

An ASGI application without a framework. Every answer of this venue is a small JSON body with the same
headers, and every handler is a plain function from a request to an answer, because nothing in the venue
waits for anything but the commit that follows it. So all that a framework would add is written here
once: find the route, check the keys, count the request, call the handler, commit, answer.

The order matters: **commit, then answer.** What a handler raises as ``Refusal`` becomes Alpaca's error
body; what it did not mean to raise becomes a 500, and the venue lives on.

Rate limits. Alpaca allows 200 trading requests a minute; so does this venue, in its own time, refusing
the others with 429 (which means: not executed). At a speed that is a number this counts every trading
request. In lock-step the venue's time stands still between steps, and a client cannot make it pass by
waiting: there the limit counts what changes something (POST, PATCH, DELETE) and lets reads go free, or a
bot that is restarted a few times within one minute of the replay could never reconcile again.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote

import msgspec

from holdfast.model.errors import HoldfastError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.venue.accounts import RateWindow, VenueAccount
from holdfast.venue.matching.orders import Refusal, not_found
from holdfast.venue.matching.refusals import refuse, refuse_invalid
from holdfast.venue.streams.sockets import Receive, Scope, Send, cut_of, header
from holdfast.venue.wire.words import decode_json, encode_json, refusal_json

_log = logging.getLogger("holdfast.venue")

BODY_BYTES_MAX: Final = 1 << 20
_READS: Final = frozenset({"GET", "HEAD"})

_NO_JSON: Final = "request body is not valid JSON"
_TOO_LARGE: Final = f"request body is larger than {BODY_BYTES_MAX} bytes"
#: What no client sends that means well: worth a line in the log.
_GARBAGE: Final = frozenset({_NO_JSON, _TOO_LARGE})

_METHOD_NOT_ALLOWED: Final = Refusal(405, 40510000, "method not allowed")
_ENDPOINT_NOT_FOUND: Final = not_found("endpoint not found")

#: Who may call: anyone; whoever has keys; or anyone, but keys that are given must be right.
Access = Literal["public", "keys", "optional"]


class Request:
    """One HTTP request, read and attributed.

    Attributes:
        parts: What the route's pattern captured.
        query: Query parameters; the last of equal names counts.
        accept: What kinds of answers the client asks for.
        account: Whose keys came with it; None on public routes.
    """

    __slots__ = ("accept", "account", "body", "method", "parts", "path", "query")

    def __init__(self, method: str, path: str, query: dict[str, str], body: bytes, accept: str = "") -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self.accept = accept
        self.parts: tuple[str, ...] = ()
        self.account: VenueAccount | None = None

    @property
    def wants_html(self) -> bool:
        """Whether a browser asks."""
        return "text/html" in self.accept

    @property
    def owner(self) -> VenueAccount:
        """The account; only for routes that need keys."""
        if self.account is None:
            raise unauthorized()
        return self.account

    def json(self) -> Any:
        """The body.

        Raises:
            Refusal: It is no JSON.
        """
        try:
            return decode_json(self.body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            refuse_invalid(_NO_JSON)

    def plain(self) -> Any:
        """The body, its numbers as Python reads them.

        Raises:
            Refusal: It is no JSON.
        """
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            refuse_invalid(_NO_JSON)

    def integer(self, name: str, default: int, largest: int) -> int:
        """A query parameter between 1 and ``largest``; larger values are cut, as Alpaca does.

        Raises:
            Refusal: It is no positive integer.
        """
        text = self.query.get(name, "")
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < 1:
            refuse_invalid(f"{name} must be a positive integer, got {text[:40]!r}")
        return min(int(text), largest)


class Html(msgspec.Struct, frozen=True):
    """The body of an answer to a browser."""

    text: str


class Answer:
    """One HTTP answer; ``body`` None is an empty one, ``Html`` a page, and everything else JSON."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: Any, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.body = body
        self.status = status
        self.headers = headers


Handler = Callable[[Request], Answer]

#: Another account to be shown in place of the one whose keys came with a request.
View = Callable[[VenueAccount], VenueAccount]


class Reply:
    """What leaves as the answer: an ``Answer`` on the wire, or what has been made of it.

    Attributes:
        cut: Nothing is answered; the connection is cut.
        after: Called once it has left.
    """

    __slots__ = ("after", "cut", "headers", "payload", "status")

    def __init__(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        payload: bytes,
        *,
        cut: bool = False,
        after: Sequence[Callable[[], object]] = (),
    ) -> None:
        self.status = status
        self.headers = headers
        self.payload = payload
        self.cut = cut
        self.after = list(after)


#: Carries a request out, on the account as a view shows it, and gives the reply.
Deed = Callable[[View | None], Awaitable[Reply]]

#: Stands between a request and its reply; may do the deed first, later or not at all.
Interference = Callable[[Scope, bytes | None, Deed], Awaitable[Reply]]

_INTERNAL_ERROR: Final = Answer({"code": 50010000, "message": "internal server error"}, 500)


class Route(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        pattern: The path; ``{}`` captures the rest up to the next literal, slashes too (``BTC/USD``).
        limited: Counts against the account's trading limit.
    """

    method: str
    pattern: str
    handler: Handler
    access: Access = "keys"
    limited: bool = True


class Router:
    """Finds the route of a request: exact paths in one look-up, patterns in the order of the table."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            if "{}" in route.pattern:
                pattern = "(.+)".join(re.escape(part) for part in route.pattern.split("{}"))
                self._patterns.append((re.compile(pattern + r"\Z"), route))
            else:
                self._exact.setdefault(route.pattern, {})[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route and what its pattern captured.

        Raises:
            Refusal: 404, or 405 where the path exists for other methods.
        """
        method = "GET" if method == "HEAD" else method
        by_method = self._exact.get(path)
        if by_method is not None and method in by_method:
            return by_method[method], ()
        known = by_method is not None
        for pattern, route in self._patterns:
            match = pattern.match(path)
            if match is not None:
                if route.method == method:
                    return route, match.groups()
                known = True
        raise _METHOD_NOT_ALLOWED if known else _ENDPOINT_NOT_FOUND


class HttpApp:
    """The application of one port.

    Args:
        router: Its routes.
        authenticate: Gives the account of a key pair, opening it if it is new.
        settle: Commits, and tells the streams; answers leave after it.
        now: The venue's time (UTC ns), after whatever was due by now has been done.
        count_reads: Whether reads count against the limit: where the venue's time flows by itself.
        rate_limit: What the headers say to those without an account.
        on_failure: Called when the venue cannot go on.
        interfere: What may come between a request and its answer.
    """

    def __init__(
        self,
        router: Router,
        *,
        authenticate: Callable[[str, str], VenueAccount | None],
        settle: Callable[[], Any],
        now: Callable[[], int],
        count_reads: bool,
        rate_limit: int | None,
        on_failure: Callable[[HoldfastError], None],
        interfere: Interference | None = None,
    ) -> None:
        self._router = router
        self._authenticate = authenticate
        self._settle = settle
        self._now = now
        self._count_reads = count_reads
        self._anyone = RateWindow(rate_limit)
        self._on_failure = on_failure
        self._interfere = interfere
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = await _read(receive)

        async def deed(view: View | None) -> Reply:
            return await self._reply(scope, body, view)

        reply = await (deed(None) if self._interfere is None else self._interfere(scope, body, deed))
        if reply.cut:
            await cut_connection(scope, receive)
        else:
            await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.payload})
        for do in reply.after:
            do()

    async def _reply(self, scope: Scope, body: bytes | None, view: View | None) -> Reply:
        self._requests += 1
        rate = self._anyone
        try:
            now = self._now()
            answer, rate = self._answer(scope, body, now, view)
            waiting = self._settle()
            if waiting is not None:
                await waiting
        except HoldfastError as error:
            # The engine is ahead of its book, or the market cannot go on: nothing may be told any more.
            self._on_failure(error)
            answer, now = _INTERNAL_ERROR, 0
        kind, payload = b"application/json", b""
        if isinstance(answer.body, Html):
            kind, payload = b"text/html; charset=utf-8", answer.body.text.encode()
        elif answer.body is not None:
            payload = encode_json(answer.body)
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(payload)).encode()),
            (b"x-request-id", f"{self._requests:032x}".encode()),
            *_rate_headers(rate, now),
            *answer.headers,
        ]
        return Reply(answer.status, headers, payload)

    def _answer(self, scope: Scope, body: bytes | None, now: int, view: View | None) -> tuple[Answer, RateWindow]:
        """The answer, and the window that its headers show."""
        rate = self._anyone
        try:
            request = _request(scope, body)
            route, request.parts = self._router.find(request.method, request.path)
            if route.access != "public":
                request.account = self._account(scope, optional=route.access == "optional")
            if request.account is not None:
                rate = request.account.rate
                if route.limited and (self._count_reads or request.method not in _READS) and not rate.admit(now):
                    return _too_many(rate, now), rate
                if view is not None:
                    request.account = view(request.account)
            return route.handler(request), rate
        except Refusal as refusal:
            if refusal.message in _GARBAGE:
                _log.warning("%s %.200r: %s", scope["method"], scope["path"], refusal.message)
            if refusal.http_status == 401:
                return Answer({"message": refusal.message}, 401), rate
            return Answer(refusal_json(refusal), refusal.http_status), rate
        except Exception:  # noqa: BLE001 - the boundary: one bad request must not take the market from the others
            _log.exception("a request failed: %s %s", scope["method"], scope["path"])
            return _INTERNAL_ERROR, rate

    def _account(self, scope: Scope, *, optional: bool) -> VenueAccount | None:
        key, secret = keys_of(scope)
        if optional and not key and not secret:
            return None
        account = self._authenticate(key, secret)
        if account is None:
            raise unauthorized()
        return account


def unauthorized() -> Refusal:
    """401, which has no code."""
    return Refusal(401, 0, "unauthorized.")


def keys_of(scope: Scope) -> tuple[str, str]:
    """The key pair in the headers, or in HTTP Basic; empty texts where there is none."""
    key = secret = basic = ""
    for name, value in scope["headers"]:
        if name == b"apca-api-key-id":
            key = value.decode("latin-1")
        elif name == b"apca-api-secret-key":
            secret = value.decode("latin-1")
        elif name == b"authorization":
            basic = value.decode("latin-1")
    if not key and not secret and basic[:6].lower() == "basic ":
        try:
            key, _, secret = base64.b64decode(basic[6:], validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return "", ""
    return key, secret


def _request(scope: Scope, body: bytes | None) -> Request:
    if body is None:
        refuse(413, 41310000, _TOO_LARGE)
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    # The raw path, so that an escaped slash is decoded once and only here.
    path = unquote(scope["raw_path"].decode("latin-1").partition("?")[0])
    return Request(scope["method"], path, query, body, header(scope, b"accept"))


def _too_many(rate: RateWindow, now: int) -> Answer:
    body = {"code": 42910000, "message": "too many requests"}
    return Answer(body, 429, [(b"retry-after", str(rate.retry_after_seconds(now)).encode())])


def _rate_headers(rate: RateWindow, now: int) -> list[tuple[bytes, bytes]]:
    if rate.limit is None:
        return []
    return [
        (b"x-ratelimit-limit", str(rate.limit).encode()),
        (b"x-ratelimit-remaining", str(rate.remaining(now)).encode()),
        (b"x-ratelimit-reset", str(-(-rate.reset_at(now) // NS_PER_SECOND)).encode()),
    ]


async def cut_connection(scope: Scope, receive: Receive) -> None:
    """End the connection without another word. Where the server does not let us, the request just ends."""
    cut = cut_of(scope)
    if cut is not None:
        cut()
        while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass


async def _read(receive: Receive) -> bytes | None:
    """The body; None if it is too large."""
    body, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_BYTES_MAX:
            body.append(chunk)
        if not message.get("more_body"):
            return b"".join(body) if size <= BODY_BYTES_MAX else None
