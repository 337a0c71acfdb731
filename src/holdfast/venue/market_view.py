"""What may be known of the market: bars, quotes and trades as far as the replay has come.

A bar is known once it has become visible, a quote or a trade from its moment on, and nothing before: a client
that asks for "everything until now" learns nothing that the streams have not said. Longer timeframes are put
together from the recorded bars; the last one may be unfinished, and then holds what is visible of it.

Where the venue has ticks, the number of trades in a bar and their average price are those of its ticks. Without
them ``count`` is 1 for a bar with any volume, and ``vwap`` the mean of its high, low and close.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset, Bar
from holdfast.model.series import BarSeries
from holdfast.venue.exchange import Exchange
from holdfast.venue.market.ticks import QuoteTick, SymbolTicks, TradeTick
from holdfast.venue.market.timeframes import Timeframe, days
from holdfast.venue.matching.hours import Phase, hours_at, last_night

_CHUNK_ROWS: Final = 512
_LEVELS: Final = 5  # of an order book, on each side


class DataBar(msgspec.Struct, frozen=True, gc=False):
    """A bar as market data shows it: by its start (UTC ns), with the number and the average price of its trades."""

    start: int
    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    count: int
    vwap: float


class OrderBook(msgspec.Struct, frozen=True, gc=False):
    """The best levels of both sides, the best first: price -> size. ``ts`` is the moment of the quote they stand on."""

    ts: int
    bids: dict[float, float]
    asks: dict[float, float]


class MarketView:
    """The readers' view of an exchange.

    Args:
        exchange: Whose market it is.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._days = {kind: days(kind) for kind in (AssetClass.US_EQUITY, AssetClass.CRYPTO)}

    @property
    def now(self) -> int:
        """The venue's time (UTC ns)."""
        return self._exchange.now

    @property
    def symbols(self) -> Iterable[str]:
        """Whose market is recorded."""
        return self._exchange.series

    @property
    def assets(self) -> Mapping[str, Asset]:
        """What the symbols are."""
        return self._exchange.assets

    def asset(self, symbol: str, asset_class: AssetClass) -> Asset | None:
        """What is traded here under a symbol, if it is of this class."""
        asset = self._exchange.assets.get(symbol)
        return asset if asset is not None and asset.asset_class is asset_class else None

    def period(self, symbol: str) -> int:
        """Length of a symbol's recorded bars (ns)."""
        return self._exchange.periods[symbol]

    def is_night(self, moment: int) -> bool:
        """Whether a moment (UTC ns) lies in the night before a session of stocks."""
        return hours_at(self._exchange.sessions(AssetClass.US_EQUITY), moment).phase is Phase.OVERNIGHT

    def last_night(self) -> tuple[int, int]:
        """When the last night began, which may still go on, and when it ends (UTC ns)."""
        return last_night(self._exchange.sessions(AssetClass.US_EQUITY), self.now)

    # --- Bars --------------------------------------------------------------------------------------------------

    def bars(
        self,
        symbol: str,
        frame: Timeframe,
        since: int,
        until: int,
        *,
        newest_first: bool = False,
        nights_only: bool = False,
    ) -> Iterator[DataBar]:
        """Visible bars of a timeframe that start in ``[since, until]``, made of all recorded bars or of those of the nights."""
        if newest_first:
            yield from reversed(list(self.bars(symbol, frame, since, until, nights_only=nights_only)))
            return
        series = self._exchange.series[symbol]
        first, count = int(series.ts.searchsorted(since + series.period)), self._exchange.visible[symbol]
        building: DataBar | None = None
        for bar in self._recorded(series, first, count):
            start = frame.start_of(bar.start)
            if start < since or (nights_only and not self.is_night(bar.start)):
                continue
            if building is not None and building.start == start:
                building = _merged(building, bar)
                continue
            if building is not None:
                yield building
                building = None
            if start > until:
                return
            building = bar if bar.start == start else msgspec.structs.replace(bar, start=start)
        if building is not None:
            yield building

    def latest_bar(self, symbol: str) -> DataBar | None:
        """The bar that became visible last."""
        count = self._exchange.visible[symbol]
        return next(self._recorded(self._exchange.series[symbol], count - 1, count), None) if count else None

    def shown(self, bar: Bar) -> DataBar:
        """A bar of the replay as market data shows it."""
        if bar.symbol not in self._exchange.ticks:
            return _plain(bar, self._exchange.periods[bar.symbol])
        series = self._exchange.series[bar.symbol]
        return self.bar_at(bar.symbol, int(series.ts.searchsorted(bar.ts)))

    def bar_at(self, symbol: str, row: int) -> DataBar:
        """A recorded bar by its number."""
        return next(self._recorded(self._exchange.series[symbol], row, row + 1))

    def ended(self, symbol: str, after: int, until: int) -> Iterator[DataBar]:
        """The visible bars that ended in ``(after, until]``."""
        series = self._exchange.series[symbol]
        first, stop = series.ts.searchsorted((after, until), side="right").tolist()
        return self._recorded(series, first, min(stop, self._exchange.visible[symbol]))

    def daily_bars(self, symbol: str) -> tuple[DataBar | None, DataBar | None]:
        """The day of the last visible bar, and the last day before it."""
        series, count = self._exchange.series[symbol], self._exchange.visible[symbol]
        frame = self._days[self._exchange.assets[symbol].asset_class]
        found: list[DataBar | None] = []
        for _ in range(2):
            if not count:
                found.append(None)
                continue
            start = frame.start_of(series.ts.item(count - 1) - series.period)
            first = int(series.ts.searchsorted(start + series.period))
            building: DataBar | None = None
            for bar in self._recorded(series, first, count):
                building = msgspec.structs.replace(bar, start=start) if building is None else _merged(building, bar)
            found.append(building)
            count = first
        return found[0], found[1]

    def _recorded(self, series: BarSeries, first: int, stop: int) -> Iterator[DataBar]:
        """The recorded bars of these rows."""
        ticks = self._exchange.ticks.get(series.symbol)
        for chunk in range(max(first, 0), stop, _CHUNK_ROWS):
            end = min(chunk + _CHUNK_ROWS, stop)
            rows = series.slice(chunk, end).bars()
            if ticks is None:
                for bar in rows:
                    yield _plain(bar, series.period)
                continue
            counts, values = ticks.sums(chunk, end)
            for bar, count, value in zip(rows, counts.tolist(), values.tolist(), strict=True):
                vwap = round(value / bar.volume, 6) if bar.volume > 0 else 0.0
                yield data_bar(bar, series.period, count, vwap)

    # --- Quotes and trades -------------------------------------------------------------------------------------

    @property
    def ticks(self) -> Mapping[str, SymbolTicks]:
        """All ticks by symbol, also those to come."""
        return self._exchange.ticks

    def quotes(self, symbol: str, since: int, until: int, *, newest_first: bool = False) -> Iterator[QuoteTick]:
        """The quotes of ``[since, until]`` that there have been."""
        ticks = self._exchange.ticks.get(symbol)
        return iter(()) if ticks is None else ticks.quotes(since, min(until, self.now), newest_first=newest_first)

    def trades(self, symbol: str, since: int, until: int, *, newest_first: bool = False) -> Iterator[TradeTick]:
        """The trades of ``[since, until]`` that there have been."""
        ticks = self._exchange.ticks.get(symbol)
        return iter(()) if ticks is None else ticks.trades(since, min(until, self.now), newest_first=newest_first)

    def latest(self, symbol: str, moment: int) -> tuple[QuoteTick | None, TradeTick | None]:
        """The last quote and the last trade as of a moment, which must not be ahead of now (UTC ns)."""
        ticks = self._exchange.ticks.get(symbol)
        return (None, None) if ticks is None else ticks.latest(moment)


def order_book(quote: QuoteTick) -> OrderBook:
    """A book around a quote: level after level a spread further away, and larger."""
    width = quote.ask - quote.bid
    bids, asks = {}, {}
    for level in range(_LEVELS):
        bid = round(quote.bid - level * width, 9)
        if bid > 0:
            bids[bid] = round(quote.bid_size * (1 + level), 9)
        asks[round(quote.ask + level * width, 9)] = round(quote.ask_size * (1 + level), 9)
    return OrderBook(quote.ts, bids, asks)


def _plain(bar: Bar, period: int) -> DataBar:
    """A bar of which no ticks are known."""
    is_traded = bar.volume > 0
    return data_bar(bar, period, int(is_traded), (bar.high + bar.low + bar.close) / 3 if is_traded else 0.0)


def data_bar(bar: Bar, period: int, count: int, vwap: float) -> DataBar:
    """A bar with the number and the average price of its trades."""
    return DataBar(bar.ts - period, bar.symbol, bar.open, bar.high, bar.low, bar.close, bar.volume, count, vwap)


def _merged(whole: DataBar, part: DataBar) -> DataBar:
    volume = whole.volume + part.volume
    value = whole.vwap * whole.volume + part.vwap * part.volume
    return DataBar(
        whole.start,
        whole.symbol,
        whole.open,
        max(whole.high, part.high),
        min(whole.low, part.low),
        part.close,
        volume,
        whole.count + part.count,
        round(value / volume, 6) if volume > 0 else 0.0,
    )
