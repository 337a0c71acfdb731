"""Market data of the past from Polygon, which has been called Massive since October 2025.

Bars ("custom bars" or aggregates), trades, quotes, splits and dividends. What its answers are like, and what is made of them:

- A bar's ``t`` is its START in milliseconds; ours is the END. Minutes and hours are added as such. Days and
  longer follow the calendar of the market (New York for shares, UTC for crypto), where a day may have 23 hours.
- ``status`` is OK, or DELAYED for plans without real time: both are valid. ``results`` is left out when empty.
- The last bar may still be forming: a bar that has not ended is not returned.
- ``next_url`` names the next page, without the key. It must be on our host or on one of the vendor's two; even then only
  its path and query are used: the key goes to the configured host and nowhere else. It travels in a header, never in
  a URL, because URLs end up in logs.
- The free plan allows 5 requests a minute, so each request, a retried one too, passes the throttler
  once (``polygon_bars`` or ``polygon_reference``).
- Sale conditions of trades are numbers there; they become the tape's own letters.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec
import structlog

from holdfast.data.actions import Action, action_from
from holdfast.data.questions import Question, complete_bars
from holdfast.data.sale_conditions import POLYGON_MARKS
from holdfast.data.tables import UNKNOWN_COUNT, BarTable
from holdfast.data.timeframes import COMMON
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerRefusedError,
    ConfigurationError,
    DataError,
    OutcomeUnknownError,
)
from holdfast.model.market import Bar, Quote, Trade
from holdfast.model.timestamps import NS_PER_MS
from holdfast.net import Backoff, Throttler
from holdfast.net.tls import trusted_by
from holdfast.time import Clock, RealTimeClock

log = structlog.get_logger(__name__)

BASE_URL: Final = "https://api.massive.com"
OLD_BASE_URL: Final = "https://api.polygon.io"  # the same API, under the name it had before
LIMIT_ID: Final = "polygon_bars"
REFERENCE_LIMIT_ID: Final = "polygon_reference"
#: The timeframes that people ask for; every other one that Alpaca has is understood too.
TIMEFRAMES: Final = COMMON

_PAGE_SIZE: Final = 50_000  # the most that is allowed; it counts base bars (minutes or days), not results
_REFERENCE_PAGE: Final = 1_000
_RETRY_AFTER_MAX_SECONDS: Final = 60.0
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_HOSTS: Final = frozenset(urlsplit(url).netloc for url in (BASE_URL, OLD_BASE_URL))
_TAPES: Final = {1: "A", 2: "B", 3: "C"}

Page = TypeVar("Page", bound="_Page")


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


class _Page(msgspec.Struct):
    """What every answer has."""

    status: str = ""
    next_url: str | None = None
    error: str = ""
    message: str = ""
    request_id: str | None = None


class _Bar(msgspec.Struct):
    t: int
    o: float
    h: float
    l: float  # noqa: E741 - the wire's name
    c: float
    v: float
    vw: float | None = None
    n: int | None = None


class _Bars(_Page):
    results: list[_Bar] | None = None


class _Tick(msgspec.Struct):
    sip_timestamp: int | None = None
    participant_timestamp: int | None = None
    tape: int = 0

    def time(self) -> int:
        """When it was made, if that is known, else when it was reported. A trade belongs to the bar in which it was made."""
        found = self.participant_timestamp or self.sip_timestamp
        if found is None:
            message = "polygon: the answer is not what the API promises: a tick without a time"
            raise DataError(message)
        return found


class _Trade(_Tick, kw_only=True):
    price: float
    size: float
    id: str = ""
    conditions: list[int] = []
    exchange: int = 0
    correction: int = 0


class _Trades(_Page):
    results: list[_Trade] | None = None


class _Quote(_Tick):
    bid_price: float = 0.0
    ask_price: float = 0.0
    bid_size: float = 0.0
    ask_size: float = 0.0


class _Quotes(_Page):
    results: list[_Quote] | None = None


class _References(_Page):
    results: list[dict[str, Any]] | None = None


class PolygonProvider:
    """Market data of the past from Polygon (Massive). See ``DataProvider``.

    Args:
        api_key: The key; it is sent in the ``Authorization`` header only.
        throttler: Must have the limits ``polygon_bars`` and, for actions, ``polygon_reference``; every request
            passes one of them exactly once.
        base_url: The host; HTTPS, save for this machine. Default: ``BASE_URL``.
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
        base_url: str | None = None,
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
        self._base_url = _check_base_url(BASE_URL if base_url is None else base_url)
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
            verify=trusted_by(self._base_url),
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<PolygonProvider {self._base_url}>"

    def source(self, symbol: str) -> str:
        """Polygon; adjusted bars are other data than traded ones."""
        return "polygon-adjusted" if self._adjusted else "polygon"

    @property
    def horizon(self) -> int:
        """Until when it may be asked (UTC ns)."""
        return self._clock.now_ns()

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
        question = Question.of("polygon", symbol, start, end, self.horizon, timeframe)
        pages = [page async for page in self.bar_pages(symbol, timeframe, start, end)]
        return complete_bars(question, pages)

    async def bar_pages(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> AsyncIterator[BarTable]:
        """See ``DataProvider.bar_pages``. Raises as ``get_bars``."""
        question = Question.of("polygon", symbol, start, end, self.horizon, timeframe)
        if question.first < question.last:
            async for page in self._pages(LIMIT_ID, self._bars_url(question), _Bars):
                yield _bar_table(page.results or [])

    async def trade_pages(self, symbol: str, start: datetime, end: datetime) -> AsyncIterator[Sequence[Trade]]:
        """See ``DataProvider.trade_pages``. Raises as ``get_bars``."""
        question = Question.of("polygon", symbol, start, end, self.horizon)
        if question.first < question.last:
            async for page in self._pages(LIMIT_ID, self._ticks_url("trades", question), _Trades):
                yield [_trade(symbol, row) for row in page.results or () if row.correction not in _GONE]

    async def quote_pages(self, symbol: str, start: datetime, end: datetime) -> AsyncIterator[Sequence[Quote]]:
        """See ``DataProvider.quote_pages``. Raises as ``get_bars``."""
        question = Question.of("polygon", symbol, start, end, self.horizon)
        if question.first < question.last:
            async for page in self._pages(LIMIT_ID, self._ticks_url("quotes", question), _Quotes):
                yield [
                    Quote(row.time(), symbol, row.bid_price, row.ask_price, row.bid_size, row.ask_size)
                    for row in page.results or ()
                ]

    async def get_actions(self, symbol: str, start: date, end: date) -> list[Action]:
        """See ``DataProvider.get_actions``. Crypto has none. Raises as ``get_bars``."""
        if Question.of_days("polygon", symbol, start, end).is_crypto:
            return []
        found: list[Action] = []
        for what, day, make in _ACTIONS:
            query = urlencode(
                {
                    "ticker": symbol,
                    f"{day}.gte": start,
                    f"{day}.lte": end,
                    "order": "asc",
                    "sort": day,
                    "limit": _REFERENCE_PAGE,
                }
            )
            async for page in self._pages(REFERENCE_LIMIT_ID, f"/v3/reference/{what}?{query}", _References):
                try:
                    found += [action_from(make(row)) for row in page.results or ()]
                except KeyError as error:
                    message = f"polygon: the answer is not what the API promises: a row of {what} without {error}"
                    raise DataError(message) from None
        return sorted(found, key=lambda action: action.ex_date)

    # ------------------------------------------------------------------ how it is asked

    def _bars_url(self, question: Question) -> str:
        span = f"{question.timeframe.multiple}/{_SPANS[question.timeframe.unit]}"
        window = f"{question.first // NS_PER_MS}/{question.last // NS_PER_MS}"
        query = f"adjusted={str(self._adjusted).lower()}&sort=asc&limit={_PAGE_SIZE}"
        return f"/v2/aggs/ticker/{_ticker(question.symbol)}/range/{span}/{window}?{query}"

    def _ticks_url(self, what: str, question: Question) -> str:
        query = (
            f"timestamp.gte={question.first}&timestamp.lt={question.last}&order=asc&sort=timestamp&limit={_PAGE_SIZE}"
        )
        return f"/v3/{what}/{_ticker(question.symbol, dash='-')}?{query}"

    async def _pages(self, limit: str, url: str | None, kind: type[Page]) -> AsyncIterator[Page]:
        seen: set[str] = set()
        while url is not None:
            if url in seen:
                message = f"polygon: the pages of {url.partition('?')[0]} run in a circle"
                raise DataError(message)
            seen.add(url)
            page = await self._page(limit, url, kind)
            yield page
            url = self._pinned(page.next_url) if page.next_url else None

    def _pinned(self, next_url: str) -> str:
        """Path and query of the next page, which is asked of our host.

        Raises:
            DataError: It is said to be on a host that is neither ours nor the vendor's.
        """
        parts = urlsplit(next_url)
        if parts.netloc and parts.netloc not in {*_HOSTS, urlsplit(self._base_url).netloc}:
            message = (
                f"polygon: the next page is said to be on the host {parts.netloc!r}; "
                f"expected {urlsplit(self._base_url).netloc}: nothing was asked of it"
            )
            raise DataError(message)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    async def _page(self, limit: str, url: str, kind: type[Page]) -> Page:
        """One page, asked for again while that may help."""
        delays = self._backoff()
        attempt = 1
        while True:
            outcome = await self._throttler.execute(limit, self._attempt, url, kind)
            if not isinstance(outcome, tuple):
                return outcome
            error, is_temporary = outcome
            if not is_temporary or attempt >= self._attempts:
                raise error
            delay = max(delays.next(), min(error.retry_after_seconds or 0.0, _RETRY_AFTER_MAX_SECONDS))
            log.warning("polygon_retry", attempt=attempt, reason=str(error), pause_seconds=round(delay, 3))
            attempt += 1
            await self._sleep(delay)

    async def _attempt(self, url: str, kind: type[Page]) -> Page | tuple[BrokerError, bool]:
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
            page = msgspec.json.decode(response.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is one
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


def _ticker(symbol: str, dash: str = "") -> str:
    """Polygon's name: crypto pairs are ``X:BTCUSD`` (bars) or ``X:BTC-USD`` (ticks)."""
    return quote(f"X:{symbol.replace('/', dash)}" if "/" in symbol else symbol, safe=":")


# Our units -> Polygon's.
_SPANS: Final = {"Sec": "second", "Min": "minute", "Hour": "hour", "Day": "day", "Week": "week", "Month": "month"}
# What is asked of the reference API: the path, by which day, and how a row becomes an action.
_ACTIONS: Final[tuple[tuple[str, str, Callable[[Mapping[str, Any]], dict[str, Any]]], ...]] = (
    (
        "splits",
        "execution_date",
        lambda row: {
            "type": "split",
            "ex_date": row["execution_date"],
            "new": row["split_to"],
            "old": row["split_from"],
        },
    ),
    (
        "dividends",
        "ex_dividend_date",
        lambda row: {"type": "dividend", "ex_date": row["ex_dividend_date"], "amount": row["cash_amount"]},
    ),
)
# ``correction`` of a row that is no trade, or one that counts no more: errors, cancels, and the second copy of a correction.
_GONE: Final = frozenset({7, 8, 10, 11, 12})


def _bar_table(rows: list[_Bar]) -> BarTable:
    return BarTable.of(
        [row.t * NS_PER_MS for row in rows],
        [row.o for row in rows],
        [row.h for row in rows],
        [row.l for row in rows],
        [row.c for row in rows],
        [row.v for row in rows],
        vwap=[float("nan") if row.vw is None else row.vw for row in rows],
        trades=[UNKNOWN_COUNT if row.n is None else row.n for row in rows],
    )


def _trade(symbol: str, row: _Trade) -> Trade:
    tape = _TAPES.get(row.tape, "")
    marks = "".join(POLYGON_MARKS.get(number, "") for number in row.conditions) if tape else ""
    return Trade(row.time(), symbol, row.price, row.size, row.id, marks, str(row.exchange), tape)
