"""Quotes and trades that were recorded, in the place of those that are made of bars.

What is recorded of a symbol may be its quotes, its trades or both; the rest is made of its bars. A tick outside every bar is
left out: nothing is quoted where no bar is in progress.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from heapq import merge
from typing import Final

import numpy as np
import numpy.typing as npt

from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset
from holdfast.model.series import BarSeries, Float64, Int64
from holdfast.model.ticks import QuoteColumns, RecordedTicks, TradeColumns
from holdfast.venue.market.scaling import on_grid
from holdfast.venue.market.ticks import FIRST_CRYPTO_ID, QuoteTick, SymbolTicks, Tick, TradeTick

__all__ = ["ReplayedTicks", "ticks_identity"]

_CHUNK: Final = 512  # rows that are turned into ticks at once


class ReplayedTicks:
    """Recorded ticks of one symbol. See the module's first lines.

    Args:
        recorded: What is recorded.
        made: Ticks made of the bars, for what is not.
        series: The bars.
        asset: What they are of.
    """

    def __init__(self, recorded: RecordedTicks, made: SymbolTicks, series: BarSeries, asset: Asset) -> None:
        self._made = made
        self._series = series
        self._asset = asset
        self._quotes, self._trades = recorded
        if self._quotes is not None:
            inside = _is_inside(self._quotes.ts, series)
            self._quotes = QuoteColumns(*(column[inside] for column in self._quotes))  # type: ignore[arg-type]  # in their order
        if self._trades is not None:
            inside = _is_inside(self._trades.ts, series)
            self._trades = TradeColumns(*(column[inside] for column in self._trades))  # type: ignore[arg-type]  # in their order
        self._first_id = FIRST_CRYPTO_ID if asset.asset_class is AssetClass.CRYPTO else 1

    def over(self, series: BarSeries) -> ReplayedTicks:
        """The ticks where other bars of the same times have taken the place of these: scaled as the open of its bar is."""
        quotes, trades = self._quotes, self._trades
        if quotes is not None:
            price, size = self._factors(series, quotes.ts)
            bid, ask = self._scaled(quotes.bid, price), self._scaled(quotes.ask, price)
            quotes = QuoteColumns(quotes.ts, bid, quotes.bid_size * size, ask, quotes.ask_size * size)
        if trades is not None:
            price, size = self._factors(series, trades.ts)
            trades = TradeColumns(trades.ts, self._scaled(trades.price, price), trades.size * size)
        return ReplayedTicks(RecordedTicks(quotes, trades), self._made.over(series), series, self._asset)

    def next_after(self, moment: int) -> int | None:
        """When the first tick after a moment is."""
        found = []
        for columns in (self._quotes, self._trades):
            if columns is None:
                found.append(self._made.next_after(moment))
            else:
                row = int(columns.ts.searchsorted(moment, side="right"))
                found.append(columns.ts.item(row) if row < len(columns.ts) else None)
        return min((at for at in found if at is not None), default=None)

    def between(self, after: int, until: int) -> list[Tick]:
        """The ticks of ``(after, until]`` in order; at equal times the quote comes first."""
        quotes: Iterator[Tick] = self.quotes(after + 1, until)
        return list(merge(quotes, self.trades(after + 1, until), key=_moment))

    def latest(self, now: int) -> tuple[QuoteTick | None, TradeTick | None]:
        """The last quote and the last trade up to a moment, this moment included."""
        quote, trade = self._made.latest(now)
        if self._quotes is not None:
            quote = next(self.quotes(0, now, newest_first=True), None)
        if self._trades is not None:
            trade = next(self.trades(0, now, newest_first=True), None)
        return quote, trade

    def quotes(self, since: int, until: int, *, newest_first: bool = False) -> Iterator[QuoteTick]:
        """The quotes of ``[since, until]``."""
        columns = self._quotes
        if columns is None:
            yield from self._made.quotes(since, until, newest_first=newest_first)
            return
        for rows in _chunks(columns.ts, since, until, newest_first=newest_first):
            yield from map(QuoteTick, *(column[rows].tolist() for column in columns))

    def trades(self, since: int, until: int, *, newest_first: bool = False) -> Iterator[TradeTick]:
        """The trades of ``[since, until]``."""
        columns = self._trades
        if columns is None:
            yield from self._made.trades(since, until, newest_first=newest_first)
            return
        for rows in _chunks(columns.ts, since, until, newest_first=newest_first):
            numbers = (rows + self._first_id).tolist()
            times, prices, sizes = (column[rows].tolist() for column in columns)
            for ts, number, price, size in zip(times, numbers, prices, sizes, strict=True):
                yield TradeTick(ts, number, price, size, "B")

    def sums(self, start: int, stop: int) -> tuple[Int64, Float64]:
        """For each of the bars ``start`` to ``stop`` (exclusive): number of trades, and sum of price x size.

        Where a bar was given and says another volume than its trades, the sum is that of trades at their average price.
        """
        trades = self._trades
        if trades is None:
            return self._made.sums(start, stop)
        ends = self._series.ts[start:stop]
        first, last = trades.ts.searchsorted(ends - self._series.period), trades.ts.searchsorted(ends)
        values = np.zeros(stop - start)
        for row, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            sizes = trades.size[begin:end]
            if begin < end:
                volume = self._series.volume[start + row]
                values[row] = float((trades.price[begin:end] * sizes).sum() / sizes.sum() * volume)
        return np.asarray(last - first, dtype=np.int64), values

    def _factors(self, series: BarSeries, ts: Int64) -> tuple[Float64, Float64]:
        """By what the prices and sizes of ticks at these moments are scaled."""
        rows = self._series.ts.searchsorted(ts, side="right")
        was, now = self._series.volume, series.volume
        price = series.open / self._series.open
        size = np.where(was > 0, now / np.where(was > 0, was, 1.0), 1.0)
        return price[rows], size[rows]

    def _scaled(self, prices: Float64, factor: Float64) -> Float64:
        return np.where(factor == 1.0, prices, on_grid(prices * factor, self._asset))


def ticks_identity(recorded: Mapping[str, RecordedTicks]) -> str:
    """A digest of what is recorded, by which a book knows it."""
    sha = hashlib.sha256()
    for symbol in sorted(recorded):
        for columns in recorded[symbol]:
            sha.update(f"{symbol}:{0 if columns is None else len(columns.ts)};".encode())
            for column in columns or ():
                sha.update(column.tobytes())
    return sha.hexdigest()


def _is_inside(ts: Int64, series: BarSeries) -> npt.NDArray[np.bool_]:
    """In which of these moments a bar is in progress."""
    rows = series.ts.searchsorted(ts, side="right")
    begins = np.append(series.ts - series.period, np.iinfo(np.int64).max)
    return np.asarray(ts >= begins[rows])


def _chunks(ts: Int64, since: int, until: int, *, newest_first: bool) -> Iterator[Int64]:
    first, stop = int(ts.searchsorted(since)), int(ts.searchsorted(until, side="right"))
    if newest_first:
        for end in range(stop, first, -_CHUNK):
            yield np.arange(end - 1, max(end - _CHUNK, first) - 1, -1)
    else:
        for begin in range(first, stop, _CHUNK):
            yield np.arange(begin, min(begin + _CHUNK, stop))


def _moment(tick: Tick) -> int:
    return tick.ts
