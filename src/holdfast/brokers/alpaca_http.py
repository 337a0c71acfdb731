"""One HTTP conversation with Alpaca: throttled, timed out, judged, and, for reads only, tried again.

Why POST and DELETE are never repeated here: a request that timed out may have been carried out. Clients that
resend an order on a 504 buy twice. So a submit is sent once, and what became of it is either known or looked up.

Transport time-outs follow the real monotonic clock, whatever clock the rest of the bot follows: a venue in
replayed time still answers over a real socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

import httpx
import msgspec
import structlog

from holdfast.brokers.alpaca_endpoints import is_loopback
from holdfast.brokers.alpaca_errors import ORDERING, RETRIED_STATUSES, Failure, failure_of, read_answer, rule_for
from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model.enums import Outcome
from holdfast.model.errors import BrokerError, OrderDroppedError, OutcomeUnknownError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.net import Backoff, Throttler
from holdfast.net.throttler import Mark
from holdfast.net.tls import trusted_by
from holdfast.time import Clock

Admit = Callable[[], str | None]
Params = Mapping[str, str]

# How long nothing leaves after a 429 that does not say when to come back (real seconds).
_HOLD_DEFAULT = 1.0
# A reset further away than this is no time of day (milliseconds, a counter, an infinity).
_FAR_SECONDS = 10.0 * 365 * 86_400

_log = structlog.get_logger(__name__)


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on one exchange, in real seconds. ``total`` bounds a venue that answers one byte at a time."""

    connect: float = 5.0
    read: float = 10.0
    write: float = 10.0
    pool: float = 5.0
    total: float = 20.0


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a read is tried, and for how long at most it waits between two tries (real seconds)."""

    attempts: int = 4
    wait_max: float = 60.0


class Reply(NamedTuple):
    """How one attempt ended: with a payload, or with an error and what a read may do about it."""

    payload: Any
    error: BrokerError | OrderDroppedError | None = None
    retry: bool = False
    retry_after: float | None = None


class _NoCookies(httpx.Cookies):
    """Takes none from an answer."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave them."""


class _Client(httpx.AsyncClient):
    """Keeps no cookies: no request hangs on what another's answer said, and looking for them takes a tenth of its time."""

    cookies = _NoCookies()  # type: ignore[override]  # nobody sets it


class AlpacaHttp:
    """Sends requests and judges the answers.

    Args:
        headers: Sent with every request: the keys.
        base_urls: The hosts that will be asked; where all are loopback, no proxy settings are read.
        throttler: Every attempt passes it exactly once, under the limit that the caller names.
        clock: Reads the rate-limit reset times of answers that carry no date of their own.
        timeouts: See ``Timeouts``.
        retries: See ``RetryPolicy``.
        backoff: Makes the delays between a read's tries.
        transport: Replaces the network, in tests.
        sleep: Waits real seconds.
    """

    def __init__(
        self,
        *,
        headers: Mapping[str, str],
        base_urls: tuple[str, ...],
        throttler: Throttler,
        clock: Clock,
        timeouts: Timeouts,
        retries: RetryPolicy,
        backoff: Callable[[], Backoff],
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._throttler, self._clock = throttler, clock
        self._timeouts, self._retries, self._backoff, self._sleep = timeouts, retries, backoff, sleep
        self._client = _Client(
            headers={**headers, "Accept": "application/json"},
            timeout=httpx.Timeout(
                connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.pool
            ),
            limits=httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=15.0),
            trust_env=not all(is_loopback(url) for url in base_urls),
            follow_redirects=False,
            transport=transport,
            verify=trusted_by(*base_urls),
        )
        self._requests = self._retried = self._refused = self._unknown = 0
        self._last_request_id: str | None = None

    async def read(self, limit: str, url: str, params: Params | None = None, *, reserved: bool = False) -> Any:
        """GET, tried again while that may help; ``reserved`` lets it use the limit's reserve.

        Raises:
            BrokerRefusedError: The venue said no, or its rate limit outlasted our patience.
            OutcomeUnknownError: No usable answer after all attempts.
        """
        delays, attempt = self._backoff(), 1
        while True:
            reply = await self._attempt(limit, "GET", url, params=params, reserved=reserved)
            if reply.error is None:
                return reply.payload
            if not reply.retry or attempt >= self._retries.attempts:
                raise reply.error
            attempt += 1
            self._retried += 1
            delay = delays.next()
            if reply.retry_after is not None:
                delay = max(delay, min(reply.retry_after, self._retries.wait_max))
            await self._sleep(delay)

    async def send(
        self,
        limit: str,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
        admit: Admit | None = None,
        reserved: bool = False,
        judged_as: str | None = None,
    ) -> Any:
        """POST, PATCH or DELETE, once.

        Args:
            limit: The throttler's limit.
            method: ``POST``, ``PATCH`` or ``DELETE``.
            url: Where.
            params: Its query.
            body: Sent as JSON.
            admit: Asked once, after the throttler has granted the slot and right before the request is made. A
                reason means that it must not be made any more.
            reserved: Whether it may use the limit's reserve: cancels, and orders that close.
            judged_as: Whose rows of ``alpaca_errors.HTTP_RULES`` judge the answer; default: the method's.

        Raises:
            OrderDroppedError: Nothing left this process.
            BrokerRefusedError: A definite no.
            OutcomeUnknownError: No verdict.
        """
        reply = await self._attempt(
            limit, method, url, params=params, body=body, admit=admit, reserved=reserved, judged_as=judged_as
        )
        if reply.error is not None:
            raise reply.error
        return reply.payload

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def get_stats(self) -> dict[str, Any]:
        """Counters since the start, and the venue's id of the last answer."""
        return {
            "requests": self._requests,
            "retries": self._retried,
            "refused": self._refused,
            "unknown": self._unknown,
            "last_request_id": self._last_request_id,
        }

    async def _attempt(
        self,
        limit: str,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
        admit: Admit | None = None,
        reserved: bool = False,
        judged_as: str | None = None,
    ) -> Reply:
        execute = self._throttler.execute_reserved if reserved else self._throttler.execute
        reply: Reply = await execute(
            limit, self._exchange, limit, method, url, params, body, admit, judged_as or method
        )
        error = reply.error
        if isinstance(error, OutcomeUnknownError):
            self._unknown += 1
        elif isinstance(error, BrokerError):
            self._refused += 1
            if error.status == 429:
                self._hold(limit, reply.retry_after)
        return reply

    def _hold(self, limit: str, seconds: float | None) -> None:
        """Let nothing more leave until the venue listens again.

        A clock that is advanced by hand has no seconds to wait in: there only this request is tried again.
        """
        if isfinite(self._clock.rate):
            wait = _HOLD_DEFAULT if seconds is None else min(seconds, self._retries.wait_max)
            self._throttler.penalise(limit, self._clock.now_ns() + int(wait * self._clock.rate * NS_PER_SECOND))

    def _note(self, limit: str, mark: Mark, response: httpx.Response) -> None:
        """Hand the venue's own count to the throttler. As with ``_hold``, not where time has no seconds."""
        if not isfinite(self._clock.rate):
            return
        headers = response.headers
        allowed, remaining = (_whole(headers.get(f"X-RateLimit-{name}")) for name in ("Limit", "Remaining"))
        seconds = self._seconds_to_reset(response)
        reset = None if seconds is None else self._clock.now_ns() + int(seconds * self._clock.rate * NS_PER_SECOND)
        self._throttler.note_limit(limit, mark, limit=allowed, remaining=remaining, reset_ns=reset)

    async def _exchange(
        self,
        limit: str,
        method: str,
        url: str,
        params: Params | None,
        body: Mapping[str, Any] | None,
        admit: Admit | None,
        judged_as: str,
    ) -> Reply:
        mark = self._throttler.mark(limit)  # before anything waits: this request is the last that it counts
        reason = admit() if admit is not None else None
        if reason is not None:
            return Reply(None, OrderDroppedError(reason))
        address = _address(url, None if params is None else tuple(params.items()))
        what = f"{method} {address.path}"
        if self._client.is_closed:
            return _no_response(judged_as, what, _CLOSED, "the connector is closed")
        request = httpx.Request(
            method, address, headers=self._client.headers, content=None if body is None else msgspec.json.encode(body)
        )
        if body is not None:
            request.headers["Content-Type"] = "application/json"
        self._requests += 1
        try:
            async with asyncio.timeout(self._timeouts.total):
                response = await self._client.send(request)
        except Exception as error:  # noqa: BLE001 - a boundary: whatever broke, the bytes may have left
            failure = failure_of(error) or _NO_IDEA
            return _no_response(judged_as, what, failure, str(error) or type(error).__name__, error)
        self._note(limit, mark, response)
        return self._judge(judged_as, what, response)

    def _judge(self, method: str, what: str, response: httpx.Response) -> Reply:
        status, request_id = response.status_code, response.headers.get("X-Request-ID")
        self._last_request_id = request_id
        _log.debug("alpaca.response", request=what, status=status, request_id=request_id)
        if 200 <= status < 300:
            return _payload(what, response, request_id)
        answer = read_answer(response.content)
        rule = rule_for(method, status, answer)
        wait = self._retry_after(response) if status in (429, 503) else None
        said = answer.text or f"HTTP {status} {response.reason_phrase}".rstrip()
        error = rule.error(
            f"{what}: {rule.sentence}: {said}",
            status=status,
            code=answer.code,
            request_id=request_id,
            retry_after_seconds=wait,
            outcome=rule.outcome,
        )
        _log.warning("alpaca.error", request=what, status=status, code=answer.code, said=said, request_id=request_id)
        return Reply(None, error, retry=status in RETRIED_STATUSES, retry_after=wait)

    def _retry_after(self, response: httpx.Response) -> float | None:
        """Seconds until the venue will listen again: ``Retry-After``, else when its rate limit is reset.

        Times of day are compared with the answer's own ``Date``, so that a clock that is wrong, or in
        replayed time, does no harm.
        """
        after = response.headers.get("Retry-After")
        if after is None:
            seconds = self._seconds_to_reset(response)
            return None if seconds is None else max(seconds, 0.0)
        try:
            seconds = float(after) if after.strip().isdigit() else _epoch(after) - self._venue_now(response)
        except (ValueError, TypeError):
            return None
        # "not (x > 0)" also catches NaN.
        return seconds if seconds > 0 else 0.0

    def _seconds_to_reset(self, response: httpx.Response) -> float | None:
        """Until the venue's rate limit is reset, by its own clock; None where it does not say so in a number."""
        try:
            seconds = float(response.headers["X-RateLimit-Reset"]) - self._venue_now(response)
        except (KeyError, ValueError, TypeError):
            return None
        return seconds if abs(seconds) < _FAR_SECONDS else None  # false for what is no number, too

    def _venue_now(self, response: httpx.Response) -> float:
        date = response.headers.get("Date")
        return _epoch(date) if date is not None else self._clock.now().timestamp()


def _whole(text: str | None) -> int | None:
    """A header's whole number that is not negative; None for any other text."""
    text = "" if text is None else text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@lru_cache(maxsize=256)
def _address(url: str, params: tuple[tuple[str, str], ...] | None) -> httpx.URL:
    """Parsing takes a tenth of a request's time, and most requests are for one of few addresses."""
    return httpx.URL(url, params=params)


def _epoch(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


def _payload(what: str, response: httpx.Response, request_id: str | None) -> Reply:
    if not response.content:
        return Reply(None)
    try:
        return Reply(msgspec.json.decode(response.content))
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = f"{what}: the venue answered HTTP {response.status_code} with something that is no JSON"
        _log.warning("alpaca.malformed", request=what, payload=response.content, request_id=request_id)
        return Reply(None, MalformedMessageError(message, response.content, request_id=request_id), retry=True)


_NO_IDEA = Failure(
    was_sent=True, retry=False, outcome=Outcome.NO_ANSWER, sentence="the request ended in an unexpected error"
)
_CLOSED = Failure(was_sent=False, retry=False, outcome=Outcome.NOT_SENT, sentence="nothing was sent")


def _no_response(method: str, what: str, failure: Failure, detail: str, cause: BaseException | None = None) -> Reply:
    message = f"{what}: {failure.sentence}: {detail}"
    _log.warning("alpaca.no_response", request=what, error=type(cause).__name__, detail=detail)
    verdict: BrokerError | OrderDroppedError
    if method in ORDERING and not failure.was_sent:
        verdict = OrderDroppedError(message)
    else:
        verdict = OutcomeUnknownError(message, outcome=failure.outcome)
    verdict.__cause__ = cause
    return Reply(None, verdict, retry=failure.retry)
