"""Alpaca's market-data REST API: bars of the recorded market, as far as the replay has come.

A bar is served once it has become visible, never before: a client that asks for "everything until now"
learns nothing that the stream has not said. Longer timeframes are put together from the recorded bars;
the last one may be unfinished, and then holds what is visible of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from holdfast.model.enums import AssetClass
from holdfast.model.market import Bar
from holdfast.model.series import BarSeries
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, parse_rfc3339, to_datetime, to_ns
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.refusals import BAD_DATA_REQUEST, refuse, refuse_invalid
from holdfast.venue.wire.market import bar_json
from holdfast.venue.wire.words import NEW_YORK, Json, decode_token, encode_token, parse_time

_TIMEFRAME: Final = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)\Z")
_CRYPTO_SYMBOL: Final = re.compile(r"[A-Z0-9]+/[A-Z]+\Z")
_BARS_DEFAULT, _BARS_MAX = 1000, 10_000
_CHUNK_ROWS: Final = 4096

#: For each unit its shortest length (ns) and the most of it that Alpaca knows.
_UNITS: Final = {
    "Min": (NS_PER_MINUTE, 59),
    "Hour": (NS_PER_HOUR, 23),
    "Day": (NS_PER_DAY, 1),
    "Week": (7 * NS_PER_DAY, 1),
    "Month": (28 * NS_PER_DAY, 12),
}
_SHORT_NAMES: Final = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}

#: The start (UTC ns) of the bar to which a moment belongs.
BucketStart = Callable[[int], int]


class MarketDataApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table. Data requests have limits of their own at Alpaca; here they have none."""
        return [
            Route("GET", "/v2/stocks/bars", self.stock_bars, limited=False),
            Route("GET", "/v2/stocks/bars/latest", self.latest_stock_bars, limited=False),
            Route("GET", "/v2/stocks/{}/bars/latest", self.latest_stock_bar, limited=False),
            Route("GET", "/v2/stocks/{}/bars", self.one_stock_bars, limited=False),
            Route("GET", "/v1beta3/crypto/us/bars", self.crypto_bars, access="optional", limited=False),
            Route("GET", "/v1beta3/crypto/us/latest/bars", self.latest_crypto_bars, access="optional", limited=False),
        ]

    def stock_bars(self, request: Request) -> Answer:
        """GET /v2/stocks/bars."""
        bars, token = self._page(request, _symbols(request, AssetClass.US_EQUITY), AssetClass.US_EQUITY)
        return Answer({"bars": bars, "next_page_token": token})

    def one_stock_bars(self, request: Request) -> Answer:
        """GET /v2/stocks/{symbol}/bars."""
        symbol = request.parts[0]
        bars, token = self._page(request, [symbol], AssetClass.US_EQUITY)
        return Answer({"bars": bars.get(symbol, []), "symbol": symbol, "next_page_token": token})

    def crypto_bars(self, request: Request) -> Answer:
        """GET /v1beta3/crypto/us/bars."""
        bars, token = self._page(request, _symbols(request, AssetClass.CRYPTO), AssetClass.CRYPTO)
        return Answer({"bars": bars, "next_page_token": token})

    def latest_stock_bars(self, request: Request) -> Answer:
        """GET /v2/stocks/bars/latest."""
        return Answer({"bars": self._latest(_symbols(request, AssetClass.US_EQUITY), AssetClass.US_EQUITY)})

    def latest_stock_bar(self, request: Request) -> Answer:
        """GET /v2/stocks/{symbol}/bars/latest."""
        symbol = request.parts[0]
        return Answer({"symbol": symbol, "bar": self._latest([symbol], AssetClass.US_EQUITY).get(symbol)})

    def latest_crypto_bars(self, request: Request) -> Answer:
        """GET /v1beta3/crypto/us/latest/bars."""
        return Answer({"bars": self._latest(_symbols(request, AssetClass.CRYPTO), AssetClass.CRYPTO)})

    # --- Inside ------------------------------------------------------------------------------------------------

    def _series(self, symbol: str, asset_class: AssetClass) -> BarSeries | None:
        series = self._exchange.series.get(symbol)
        asset = self._exchange.assets.get(symbol)
        return series if asset is not None and asset.asset_class is asset_class else None

    def _latest(self, symbols: list[str], asset_class: AssetClass) -> Json:
        found: Json = {}
        for symbol in symbols:
            series, count = self._series(symbol, asset_class), self._exchange.visible.get(symbol, 0)
            if series is not None and count:
                (bar,) = series.slice(count - 1, count).bars()
                found[symbol] = bar_json(bar, series.period)
        return found

    def _page(self, request: Request, symbols: list[str], asset_class: AssetClass) -> tuple[Json, str | None]:
        """One page: bars by symbol, sorted by symbol and then by time; and the token of the next page."""
        query, now = request.query, self._exchange.now
        shortest, bucket_start = _timeframe(query.get("timeframe", ""), asset_class)
        today = now // NS_PER_DAY * NS_PER_DAY
        start = parse_time(query["start"], "start") if query.get("start") else today
        end = parse_time(query["end"], "end") if query.get("end") else now
        limit = request.integer("limit", _BARS_DEFAULT, _BARS_MAX)
        direction = query.get("sort") or "asc"
        if direction not in ("asc", "desc"):
            refuse_invalid(f"invalid sort: {direction}")
        after_symbol, after_start = "", 0
        if query.get("page_token"):
            after_symbol, text = decode_token(query["page_token"], 2)
            after_start = parse_rfc3339(text)
        page: Json = {}
        last: tuple[str, str] | None = None
        for symbol in sorted(set(symbols)):
            series = self._series(symbol, asset_class)
            if series is None or symbol < after_symbol:
                continue
            if series.period > shortest:
                refuse_invalid(f"timeframe is shorter than the recorded bars of {symbol}")
            since, until = start, end
            if symbol == after_symbol:
                since, until = (after_start + 1, end) if direction == "asc" else (start, after_start - 1)
            rows = self._bars(series, bucket_start, since, until)
            rows = rows if direction == "asc" else reversed(list(rows))
            chosen = [bar_json(bar, 0) for bar in islice(rows, limit + 1)]
            if len(chosen) > limit:
                # There is more, and only now is it known: the last row given is where to go on.
                if limit:
                    page[symbol] = chosen[:limit]
                    last = (symbol, chosen[limit - 1]["t"])
                return page, encode_token(*last) if last else None
            if chosen:
                page[symbol] = chosen
                last = (symbol, chosen[-1]["t"])
                limit -= len(chosen)
        return page, None

    def _bars(self, series: BarSeries, bucket_start: BucketStart, since: int, until: int) -> Iterator[Bar]:
        """Visible bars of a timeframe that start in ``[since, until]``; their ``ts`` is their start."""
        count, period = self._exchange.visible[series.symbol], series.period
        first = int(series.ts.searchsorted(since + period))
        building: Bar | None = None
        for chunk in range(first, count, _CHUNK_ROWS):
            for bar in series.slice(chunk, min(chunk + _CHUNK_ROWS, count)).bars():
                start = bucket_start(bar.ts - period)
                if start < since:
                    continue
                if building is not None and building.ts == start:
                    building = _merged(building, bar)
                    continue
                if building is not None:
                    yield building
                    building = None
                if start > until:
                    return
                building = Bar(start, bar.symbol, bar.open, bar.high, bar.low, bar.close, bar.volume)
        if building is not None:
            yield building


def _merged(whole: Bar, part: Bar) -> Bar:
    high, low = max(whole.high, part.high), min(whole.low, part.low)
    return Bar(whole.ts, whole.symbol, whole.open, high, low, part.close, whole.volume + part.volume)


def _symbols(request: Request, asset_class: AssetClass) -> list[str]:
    symbols = [symbol.strip() for symbol in request.query.get("symbols", "").split(",") if symbol.strip()]
    if not symbols:
        refuse(400, BAD_DATA_REQUEST, "symbols is required")
    if asset_class is AssetClass.CRYPTO:
        for symbol in symbols:
            if not _CRYPTO_SYMBOL.match(symbol):
                refuse(400, BAD_DATA_REQUEST, f"invalid symbol: {symbol} does not match ^[A-Z]+/[A-Z]+$")
    return symbols


def _timeframe(text: str, asset_class: AssetClass) -> tuple[int, BucketStart]:
    """The shortest length of a timeframe's bar (ns), and where its bars start."""
    match = _TIMEFRAME.match(text)
    count = int(match[1]) if match else 0
    unit = _SHORT_NAMES.get(match[2], match[2]) if match else ""
    length, most = _UNITS.get(unit, (0, 0))
    if not 0 < count <= most or (unit == "Month" and 12 % count):
        refuse(400, BAD_DATA_REQUEST, f"invalid timeframe: {text[:40]!r}")
    span = count * length
    if unit in ("Min", "Hour"):
        return span, lambda ns: ns - ns % span
    zone = UTC if asset_class is AssetClass.CRYPTO else NEW_YORK

    def start_of_days(ns: int) -> int:
        day = to_datetime(ns).astimezone(zone).date()
        if unit == "Week":
            day -= timedelta(days=day.weekday())
        elif unit == "Month":
            month = (day.month - 1) // count * count + 1
            day = day.replace(month=month, day=1)
        return to_ns(datetime(day.year, day.month, day.day, tzinfo=zone))

    return span, start_of_days
