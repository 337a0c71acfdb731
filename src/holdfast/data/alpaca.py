"""Bars, trades, quotes and corporate actions from Alpaca's market-data API: shares (iex, sip, ...) and crypto.

What its answers are like, and what is made of them:

- Times are starts, to the nanosecond; a bar's end is ours to find. Both bounds of a request are inclusive.
- Pages are joined by ``next_page_token``; a page may hold nothing. Intervals without trades are missing.
- ``raw`` prices are asked for: what is stored is what was traded, and an adjustment is chosen when it is read.
- The free plan may not see the consolidated tape (``sip``) of the last fifteen minutes: asked for, it is a 403. So a
  request of that feed ends sixteen minutes ago, unless the plan is said to have no such delay.
- A trade that was cancelled or replaced is marked (``u``); it is left out, and its correction is kept.

Requests, retries, ``Retry-After`` and the table of errors are the connector's (``holdfast.brokers``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Final, Self

import httpx

from holdfast.brokers.alpaca_endpoints import CRYPTO_LOCATION, DATA_URL, check_base_url, check_key
from holdfast.brokers.alpaca_http import AlpacaHttp, RetryPolicy, Timeouts
from holdfast.data.actions import Action, action_from
from holdfast.data.questions import Question, complete_bars
from holdfast.data.tables import BarTable
from holdfast.data.timeframes import asset_class_of
from holdfast.model.enums import AssetClass
from holdfast.model.errors import BrokerRefusedError, ConfigurationError, DataError
from holdfast.model.market import Bar, Quote, Trade
from holdfast.model.timestamps import NS_PER_MINUTE, format_rfc3339, parse_rfc3339
from holdfast.net import Backoff, Throttler
from holdfast.time import Clock, RealTimeClock

FEEDS: Final = ("iex", "sip", "otc", "boats", "delayed_sip")
#: What the free plan may not see yet of the consolidated tape, and a minute for clocks that differ (ns).
SIP_DELAY: Final = 16 * NS_PER_MINUTE

_PAGE: Final = 10_000  # the most that is allowed
_ACTIONS_PAGE: Final = 1_000
_PROCESSED_BEFORE: Final = timedelta(days=7)
_PROCESSED_AFTER: Final = timedelta(days=120)
_TOO_RECENT: Final = "recent sip data"
# What Alpaca calls an action -> how it becomes one of ours. Other kinds do not change a price by a known ratio.
_ACTIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "forward_splits": lambda row: {
        "type": "split", "ex_date": row["ex_date"], "new": row["new_rate"], "old": row["old_rate"]
    },
    "reverse_splits": lambda row: {
        "type": "split", "ex_date": row["ex_date"], "new": row["new_rate"], "old": row["old_rate"]
    },
    # A dividend in shares of the same stock: 0.05 is five new ones for a hundred.
    "stock_dividends": lambda row: {
        "type": "split", "ex_date": row["ex_date"], "new": 1.0 + float(row["rate"]), "old": 1.0
    },
    "cash_dividends": lambda row: {"type": "dividend", "ex_date": row["ex_date"], "amount": row["rate"]},
}  # fmt: skip
_ACTION_TYPES: Final = "forward_split,reverse_split,stock_dividend,cash_dividend"
_GONE: Final = ("canceled", "incorrect")


class AlpacaProvider:
    """Market data of the past from Alpaca. See ``DataProvider``.

    Args:
        api_key: The key's id.
        api_secret: The key's secret.
        throttler: Must have ``alpaca_bars``, ``alpaca_trades`` and ``alpaca_quotes``; every request passes once.
        base_url: The data API; every request goes to this host.
        feed: Of shares: one of ``FEEDS``. Crypto has none.
        sip_delay: What the plan hides of ``sip`` (ns); 0 for a plan that pays for all of it.
        clock: Tells which bars have ended; default real time.
        timeouts: See ``Timeouts``.
        retries: See ``RetryPolicy``.
        backoff: Makes the pauses between attempts.
        transport: Replaces the network.
        sleep: Waits real seconds.

    Raises:
        ConfigurationError: A key, the URL or the feed is none.
    """

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        throttler: Throttler,
        *,
        base_url: str = DATA_URL,
        feed: str = "iex",
        sip_delay: int = SIP_DELAY,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
        backoff: Callable[[], Backoff] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        if feed not in FEEDS:
            message = f"unknown feed {feed!r}; expected one of {', '.join(FEEDS)}"
            raise ConfigurationError(message)
        self._base = check_base_url(base_url, "alpaca.data_url")
        self._feed = feed
        self._delay = sip_delay if feed == "sip" else 0
        self._clock = clock or RealTimeClock()
        self._http = AlpacaHttp(
            headers={
                "APCA-API-KEY-ID": check_key(api_key, "alpaca.api_key"),
                "APCA-API-SECRET-KEY": check_key(api_secret, "alpaca.api_secret"),
            },
            base_urls=(self._base,),
            throttler=throttler,
            clock=self._clock,
            timeouts=timeouts or Timeouts(),
            retries=retries or RetryPolicy(attempts=6),
            backoff=backoff or (lambda: Backoff(base=0.5, cap=8.0)),
            transport=transport,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"<AlpacaProvider {self._base} {self._feed}>"

    def source(self, symbol: str) -> str:
        """Alpaca and the feed: iex and sip are different data. Crypto has one."""
        return "alpaca-crypto" if asset_class_of(symbol) is AssetClass.CRYPTO else f"alpaca-{self._feed}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()

    @property
    def horizon(self) -> int:
        """Until when it may be asked (UTC ns)."""
        return self._clock.now_ns() - self._delay

    # ------------------------------------------------------------------ what is asked

    async def get_bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[Bar]:
        """See ``DataProvider.get_bars``.

        Raises:
            ConfigurationError: An argument makes no sense.
            BrokerAuthError: The keys are not accepted.
            BrokerRefusedError: Another definite no (not in the plan, or the rate limit outlasted our patience).
            OutcomeUnknownError: No usable answer after all attempts.
            DataError: An answer is not what the API promises.
        """
        question = Question.of("alpaca", symbol, start, end, self.horizon, timeframe)
        pages = [page async for page in self.bar_pages(symbol, timeframe, start, end)]
        return complete_bars(question, pages)

    async def bar_pages(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> AsyncIterator[BarTable]:
        """See ``DataProvider.bar_pages``; every bar begins in ``[start, end)``. Raises as ``get_bars``."""
        question = Question.of("alpaca", symbol, start, end, self.horizon, timeframe)
        if question.timeframe.unit == "Sec":
            message = f"alpaca: there are no bars of {timeframe}; the shortest are of 1Min"
            raise ConfigurationError(message)
        extra = {"timeframe": timeframe}
        if not question.is_crypto:
            extra["adjustment"] = "raw"
        async for rows in self._pages("alpaca_bars", "bars", question, extra):
            yield self._read(question, rows, _bar_table)

    async def trade_pages(self, symbol: str, start: datetime, end: datetime) -> AsyncIterator[Sequence[Trade]]:
        """See ``DataProvider.trade_pages``. Raises as ``get_bars``."""
        question = Question.of("alpaca", symbol, start, end, self.horizon)
        async for rows in self._pages("alpaca_trades", "trades", question, {}):
            yield self._read(
                question, rows, lambda found: [_trade(symbol, row) for row in found if row.get("u") not in _GONE]
            )

    async def quote_pages(self, symbol: str, start: datetime, end: datetime) -> AsyncIterator[Sequence[Quote]]:
        """See ``DataProvider.quote_pages``. Raises as ``get_bars``."""
        question = Question.of("alpaca", symbol, start, end, self.horizon)
        async for rows in self._pages("alpaca_quotes", "quotes", question, {}):
            yield self._read(question, rows, lambda found: [_quote(symbol, row) for row in found])

    async def get_actions(self, symbol: str, start: date, end: date) -> list[Action]:
        """See ``DataProvider.get_actions``. Crypto has none. Raises as ``get_bars``."""
        question = Question.of_days("alpaca", symbol, start, end)
        if question.is_crypto:
            return []
        params = {
            "symbols": symbol,
            "types": _ACTION_TYPES,
            # They are found by the day they were processed, which for a dividend is when it is paid, weeks after its ex-date.
            "start": (start - _PROCESSED_BEFORE).isoformat(),
            "end": (end + _PROCESSED_AFTER).isoformat(),
            "limit": str(_ACTIONS_PAGE),
            "sort": "asc",
        }
        found: list[Action] = []
        async for page in self._walk("alpaca_bars", "/v1/corporate-actions", params):
            kinds = page.get("corporate_actions") or {}
            for kind, make in _ACTIONS.items():
                found += self._read(question, kinds.get(kind) or [], partial(_actions, make))
        return sorted((action for action in found if start <= action.ex_date <= end), key=lambda action: action.ex_date)

    # ------------------------------------------------------------------ how it is asked

    async def _pages(
        self, limit: str, what: str, question: Question, extra: Mapping[str, str]
    ) -> AsyncIterator[list[dict[str, Any]]]:
        if question.first >= question.last:
            return
        path = f"/v1beta3/crypto/{CRYPTO_LOCATION}/{what}" if question.is_crypto else f"/v2/stocks/{what}"
        params = {
            "symbols": question.symbol,
            "start": format_rfc3339(question.first),
            "end": format_rfc3339(question.last - 1),  # their end is inclusive
            "limit": str(_PAGE),
            "sort": "asc",
            **({} if question.is_crypto else {"feed": self._feed}),
            **extra,
        }
        async for page in self._walk(limit, path, params):
            by_symbol = page.get(what) or {}
            rows = by_symbol.get(question.symbol) or [] if isinstance(by_symbol, dict) else None
            if not isinstance(rows, list):
                message = f"alpaca: the {what} of {question.symbol} are not what the API promises"
                raise DataError(message)
            yield rows

    async def _walk(self, limit: str, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        seen: set[str] = set()
        while True:
            try:
                page = await self._http.read(limit, self._base + path, params)
            except BrokerRefusedError as error:
                if _TOO_RECENT in error.message.lower():
                    raise _too_recent(error) from None
                raise
            if not isinstance(page, dict):
                message = f"alpaca: the answer of {path} is not what the API promises"
                raise DataError(message)
            yield page
            token = page.get("next_page_token")
            if not token:
                return
            if not isinstance(token, str) or token in seen:
                message = f"alpaca: the pages of {path} run in a circle"
                raise DataError(message)
            seen.add(token)
            params = {**params, "page_token": token}

    def _read(self, question: Question, rows: Any, make: Callable[[Any], Any]) -> Any:
        try:
            return make(rows)
        except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
            message = (
                f"alpaca: the data of {question.symbol} are not what the API promises: {type(error).__name__} {error}"
            )
            raise DataError(message) from None


def _too_recent(error: BrokerRefusedError) -> BrokerRefusedError:
    return BrokerRefusedError(
        f"{error.message}; the free plan sees the consolidated tape (sip) only after 15 minutes: "
        "end earlier, use the feed iex, or upgrade the plan",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        outcome=error.outcome,
    )


def _bar_table(rows: list[dict[str, Any]]) -> BarTable:
    return BarTable.of(
        [parse_rfc3339(row["t"]) for row in rows],
        *([float(row[name]) for row in rows] for name in "ohlcv"),
        vwap=[float(row["vw"]) if row.get("vw") is not None else float("nan") for row in rows],
        trades=[int(row["n"]) if row.get("n") is not None else -1 for row in rows],
    )


def _trade(symbol: str, row: Mapping[str, Any]) -> Trade:
    conditions = "".join(mark.strip() or "@" for mark in row.get("c") or ())
    return Trade(
        parse_rfc3339(row["t"]),
        symbol,
        float(row["p"]),
        float(row["s"]),
        str(row["i"]),
        conditions or str(row.get("tks", "")),
        str(row.get("x", "")),
        str(row.get("z", "")),
    )


def _actions(make: Callable[[Mapping[str, Any]], dict[str, Any]], rows: Sequence[Mapping[str, Any]]) -> list[Action]:
    return [action_from(make(row)) for row in rows]


def _quote(symbol: str, row: Mapping[str, Any]) -> Quote:
    return Quote(
        parse_rfc3339(row["t"]), symbol, float(row["bp"]), float(row["ap"]), float(row["bs"]), float(row["as"])
    )
