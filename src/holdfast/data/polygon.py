"""Bars from Polygon, which has been called Massive since October 2025: the aggregates ("custom bars") API.

What its answers are like, and what is made of them:

- A bar's ``t`` is its START in milliseconds; ours is the END. Minutes and hours are added as such. Days and
  longer follow the calendar of the market (New York for shares, UTC for crypto), where a day may have 23 hours.
- ``status`` is OK, or DELAYED for plans without real time: both are valid. ``results`` is left out when empty.
- The last bar may still be forming: a bar that has not ended is not returned.
- ``next_url`` names the next page, without the key. Only its path and query are used: the key goes to the
  configured host and nowhere else. It travels in a header, never in a URL, because URLs end up in logs.
- The free plan allows 5 requests a minute, so each request, a retried one too, passes the throttler's
  ``polygon_bars`` once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple, Self
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import httpx
import msgspec
import structlog

from holdfast.data.bar_rules import Row, complaint
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerRefusedError,
    ConfigurationError,
    DataError,
    OutcomeUnknownError,
)
from holdfast.model.market import Bar
from holdfast.model.timestamps import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, format_rfc3339, to_datetime, to_ns
from holdfast.net import Backoff, Throttler
from holdfast.time import Clock, RealTimeClock

log = structlog.get_logger(__name__)

BASE_URL: Final = "https://api.massive.com"
LIMIT_ID: Final = "polygon_bars"

_PAGE_SIZE: Final = 50_000  # the most that is allowed; it counts base bars (minutes or days), not results
_RETRY_AFTER_MAX_SECONDS: Final = 60.0
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class _Span(NamedTuple):
    multiplier: int
    unit: str


# The timeframes, as Alpaca writes them -> Polygon's multiplier and timespan.
TIMEFRAMES: Final = {
    "1Min": _Span(1, "minute"),
    "5Min": _Span(5, "minute"),
    "15Min": _Span(15, "minute"),
    "30Min": _Span(30, "minute"),
    "1Hour": _Span(1, "hour"),
    "2Hour": _Span(2, "hour"),
    "4Hour": _Span(4, "hour"),
    "1Day": _Span(1, "day"),
    "1Week": _Span(1, "week"),
    "1Month": _Span(1, "month"),
}


class _Rule(NamedTuple):
    """What a status means: which error, in which words, and whether asking again may help."""

    error: type[BrokerError]
    sentence: str
    is_temporary: bool = False


_RULES: Final = {
    400: _Rule(BrokerRefusedError, "it does not understand the request"),
    401: _Rule(BrokerAuthError, "it does not accept the API key"),
    403: _Rule(BrokerRefusedError, "the plan of this API key does not include the data"),
    404: _Rule(BrokerRefusedError, "it has no such data"),
    429: _Rule(BrokerRefusedError, "its rate limit is exceeded", is_temporary=True),
}
_SERVER_FAILED: Final = _Rule(OutcomeUnknownError, "it failed", is_temporary=True)
_UNEXPECTED: Final = _Rule(BrokerRefusedError, "it gave an unexpected answer")


def rule_for(status: int) -> _Rule:
    """The one rule for an HTTP status that is not 200."""
    return _RULES.get(status) or (_SERVER_FAILED if status >= 500 else _UNEXPECTED)


class _Result(msgspec.Struct):
    t: int
    o: float
    h: float
    l: float  # noqa: E741 - the wire's name
    c: float
    v: float


class _Page(msgspec.Struct):
    status: str = ""
    results: list[_Result] | None = None
    next_url: str | None = None
    error: str = ""
    message: str = ""
    request_id: str | None = None


class PolygonProvider:
    """Historical bars from Polygon (Massive). See ``DataProvider``.

    Args:
        api_key: The key; it is sent in the ``Authorization`` header only.
        throttler: Must have the limit ``polygon_bars``; every request passes it exactly once.
        base_url: The host; HTTPS, save for this machine.
        clock: Tells which bars have ended; default real time.
        adjusted: Whether prices are adjusted for splits.
        attempts: How often one page is asked for at most.
        timeout_seconds: How long one request may take in all (real time).
        backoff: Makes the pauses between attempts.
        transport: Replaces the network.
        sleep: Waits real seconds.

    Raises:
        ConfigurationError: The key is empty or the URL is not safe for it.
    """

    def __init__(
        self,
        api_key: str,
        throttler: Throttler,
        *,
        base_url: str = BASE_URL,
        clock: Clock | None = None,
        adjusted: bool = True,
        attempts: int = 4,
        timeout_seconds: float = 20.0,
        backoff: Callable[[], Backoff] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._api_key = api_key.strip()
        if not self._api_key or not self._api_key.isascii() or not self._api_key.isprintable():
            message = "polygon: the API key is empty or no key at all; expected the key of the Massive dashboard"
            raise ConfigurationError(message)
        self._base_url = _check_base_url(base_url)
        self._throttler = throttler
        self._clock = clock if clock is not None else RealTimeClock()
        self._adjusted = adjusted
        self._attempts = max(1, attempts)
        self._timeout_seconds = timeout_seconds
        self._backoff = backoff or (lambda: Backoff(base=1.0, cap=30.0))
        self._sleep = sleep
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self._api_key}", "Accept": "application/json"},
            timeout=timeout_seconds,
            trust_env=urlsplit(self._base_url).hostname not in _LOOPBACK,
            follow_redirects=False,  # a redirect could carry the key elsewhere
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<PolygonProvider {self._base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get_bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[Bar]:
        """See ``DataProvider.get_bars``.

        Args:
            symbol: ``SPY``, or ``BTC/USD`` for crypto.
            timeframe: One of ``TIMEFRAMES``.
            start: Aware; bars begin at or after it.
            end: Aware; bars end at or before it, and have ended by now.

        Raises:
            ConfigurationError: An argument makes no sense.
            BrokerAuthError: The key is not accepted.
            BrokerRefusedError: Another definite no (not in the plan, or the rate limit outlasted our patience).
            OutcomeUnknownError: No usable answer after all attempts.
            DataError: An answer is not what the API promises.
        """
        span = TIMEFRAMES.get(timeframe)
        if span is None:
            message = f"polygon: unknown timeframe {timeframe!r}; expected one of {', '.join(TIMEFRAMES)}"
            raise ConfigurationError(message)
        if not symbol:
            message = "polygon: the symbol is empty"
            raise ConfigurationError(message)
        first, last = _moment("start", start), _moment("end", end)
        if last < first:
            message = f"polygon: the end {format_rfc3339(last)} is before the start {format_rfc3339(first)}"
            raise ConfigurationError(message)
        last = min(last, self._clock.now_ns())
        results = await self._all_pages(self._first_url(symbol, span, first, last)) if first < last else []
        return _to_bars(symbol, span, results, first, last)

    def _first_url(self, symbol: str, span: _Span, first: int, last: int) -> str:
        ticker = quote(_ticker(symbol), safe=":")
        window = f"{first // NS_PER_MS}/{last // NS_PER_MS}"
        query = f"adjusted={str(self._adjusted).lower()}&sort=asc&limit={_PAGE_SIZE}"
        return f"/v2/aggs/ticker/{ticker}/range/{span.multiplier}/{span.unit}/{window}?{query}"

    async def _all_pages(self, url: str | None) -> list[_Result]:
        results: list[_Result] = []
        seen: set[str] = set()
        while url is not None:
            if url in seen:
                message = f"polygon: the pages of {url.partition('?')[0]} run in a circle"
                raise DataError(message)
            seen.add(url)
            page = await self._page(url)
            results.extend(page.results or ())
            url = _pinned(page.next_url) if page.next_url else None
        return results

    async def _page(self, url: str) -> _Page:
        """One page, asked for again while that may help."""
        delays = self._backoff()
        attempt = 1
        while True:
            outcome = await self._throttler.execute(LIMIT_ID, self._attempt, url)
            if isinstance(outcome, _Page):
                return outcome
            error, is_temporary = outcome
            if not is_temporary or attempt >= self._attempts:
                raise error
            delay = max(delays.next(), min(error.retry_after_seconds or 0.0, _RETRY_AFTER_MAX_SECONDS))
            log.warning("polygon_retry", attempt=attempt, reason=str(error), pause_seconds=round(delay, 3))
            attempt += 1
            await self._sleep(delay)

    async def _attempt(self, url: str) -> _Page | tuple[BrokerError, bool]:
        """One request: its page, or the error and whether asking again may help."""
        try:
            async with asyncio.timeout(self._timeout_seconds):  # httpx bounds each read, not their sum
                response = await self._client.get(self._base_url + url)
        except (httpx.TransportError, TimeoutError) as error:
            reason = f"polygon: no answer ({type(error).__name__})"
            return OutcomeUnknownError(reason), True
        if response.status_code != 200:
            rule = rule_for(response.status_code)
            return self._error(rule, response), rule.is_temporary
        try:
            page = msgspec.json.decode(response.content, type=_Page)
        except msgspec.DecodeError as error:  # ValidationError is one
            message = f"polygon: the answer is not what the API promises: {error}"
            raise DataError(message) from None
        if page.status not in ("OK", "DELAYED"):
            return self._error(_UNEXPECTED, response), False
        return page

    def _error(self, rule: _Rule, response: httpx.Response) -> BrokerError:
        try:
            page = msgspec.json.decode(response.content, type=_Page)
        except msgspec.DecodeError:  # a proxy's HTML, say
            page = _Page()
        said = " ".join(part for part in (page.status, page.error, page.message) if part)
        said = said.replace(self._api_key, "***")[:300]
        retry_after = response.headers.get("Retry-After", "")
        return rule.error(
            f"polygon: {rule.sentence} (HTTP {response.status_code}{': ' + said if said else ''})",
            status=response.status_code,
            request_id=page.request_id,
            retry_after_seconds=float(retry_after) if retry_after.isdecimal() else None,
        )


def _check_base_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname or parts.query or parts.username:
        message = f"polygon: base_url {base_url!r} cannot be used; expected an https:// URL, as {BASE_URL}"
        raise ConfigurationError(message)
    return base_url.rstrip("/")


def _moment(name: str, moment: datetime) -> int:
    try:
        return to_ns(moment)
    except ValueError:
        message = f"polygon: the {name} {moment!r} has no time zone; expected an aware datetime"
        raise ConfigurationError(message) from None


def _ticker(symbol: str) -> str:
    """Polygon's name: crypto pairs are ``X:BTCUSD``."""
    return f"X:{symbol.replace('/', '')}" if "/" in symbol else symbol


def _pinned(next_url: str) -> str:
    """Path and query of the next page: whatever host it names, we ask ours."""
    parts = urlsplit(next_url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


# ------------------------------------------------------------------------------------------------ bars

_NEW_YORK: Final = ZoneInfo("America/New_York")


def _to_bars(symbol: str, span: _Span, results: list[_Result], first: int, last: int) -> list[Bar]:
    """Those of the results that begin at or after ``first`` and end at or before ``last``."""
    zone: tzinfo = UTC if "/" in symbol else _NEW_YORK
    bars: list[Bar] = []
    previous = None
    for result in results:
        begin = result.t * NS_PER_MS
        reason = complaint(Row(result.o, result.h, result.l, result.c, result.v))
        if reason is None and previous is not None and begin <= previous:
            reason = f"it does not come after the bar of {format_rfc3339(previous)}"
        if reason is not None:
            message = f"polygon: the bar of {symbol} at {format_rfc3339(begin)} is wrong: {reason}"
            raise DataError(message)
        previous = begin
        end = _end_of(begin, span, zone)
        if begin >= first and end <= last:
            bars.append(Bar(end, symbol, result.o, result.h, result.l, result.c, result.v))
    return bars


def _end_of(begin: int, span: _Span, zone: tzinfo) -> int:
    """Where a bar ends (UTC ns)."""
    if span.unit == "minute":
        return begin + span.multiplier * NS_PER_MINUTE
    if span.unit == "hour":
        return begin + span.multiplier * NS_PER_HOUR
    # Arithmetic on a zoned datetime is arithmetic on its wall clock: midnight to midnight.
    local = to_datetime(begin).astimezone(zone)
    if span.unit == "month":
        years, month = divmod(local.month - 1 + span.multiplier, 12)
        return to_ns(local.replace(year=local.year + years, month=month + 1))
    days = span.multiplier * (7 if span.unit == "week" else 1)
    return to_ns(local + timedelta(days=days))
