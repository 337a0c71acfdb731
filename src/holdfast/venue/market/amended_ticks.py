"""Ticks of which some trades came late, were corrected or were cancelled.

The quotes stay as they are, and so do all other trades. A bar that has lost or gained a trade is the sum of the trades
that it has now: see ``revised``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from decimal import Decimal
from heapq import merge
from typing import Final

import msgspec

from holdfast.model.series import BarSeries, Float64, Int64
from holdfast.venue.market.ticks import QuoteTick, SymbolTicks, Tick, TradeTick

__all__ = ["AmendedTicks", "Amendment", "revised"]

#: What is reported later has ids above those of the market's own trades.
_LATE_IDS: Final = 1 << 40


class Amendment(msgspec.Struct, frozen=True):
    """What was changed of the past.

    Attributes:
        symbol: Whose trade it is.
        row: The bar that it belongs to.
        before: The trade as it was; None if nobody knew it.
        after: The trade as it is; None if there is none any more.
        action: Of a cancel: ``C``, or ``E`` for a trade that was an error.
        is_revised: Whether the bar has changed.
    """

    symbol: str
    row: int
    before: TradeTick | None = None
    after: TradeTick | None = None
    action: str = ""
    is_revised: bool = False


class AmendedTicks:
    """The ticks of a symbol with what was changed of them.

    Args:
        base: The ticks as they were at first.
        recorded: The bars that those belong to.
    """

    def __init__(self, base: SymbolTicks, recorded: BarSeries) -> None:
        self._base = base
        self._recorded = recorded
        self._removed: frozenset[int] = frozenset()
        self._added: list[TradeTick] = []  # by time
        self._rows: frozenset[int] = frozenset()
        self._reports = 0

    def amended(self, row: int, before: TradeTick | None, after: TradeTick | None) -> AmendedTicks:
        """The ticks with one trade taken away, and another one put in."""
        changed = AmendedTicks(self._base, self._recorded)
        changed._removed, changed._added, changed._reports = self._removed, list(self._added), self._reports + 1
        changed._rows = self._rows | {row}
        if before in changed._added:
            changed._added.remove(before)
        elif before is not None:
            changed._removed |= {before.id}
        if after is not None:
            insort(changed._added, after, key=_moment)
        return changed

    def next_id(self, any_id: int) -> int:
        """An id for what is reported next. ``any_id`` is one of the market's own."""
        # Crypto's own begin far above those of stocks.
        return any_id // _LATE_IDS * _LATE_IDS + _LATE_IDS + self._reports

    def over(self, series: BarSeries) -> AmendedTicks:
        """The ticks where other bars have taken the place of these. Bars that were amended are over, and stay."""
        columns = []
        for name in ("open", "high", "low", "close", "volume"):
            column = getattr(series, name).copy()
            for row in self._rows:
                column[row] = getattr(self._recorded, name)[row]
            columns.append(column)
        recorded = BarSeries(series.symbol, series.period, series.ts, *columns)
        changed = AmendedTicks(self._base.over(recorded), recorded)
        changed._removed, changed._added = self._removed, self._added
        changed._rows, changed._reports = self._rows, self._reports
        return changed

    def next_after(self, moment: int) -> int | None:
        """When the first tick after a moment is."""
        at = bisect_right(self._added, moment, key=_moment)
        late = [trade.ts for trade in self._added[at : at + 1]]
        return min((ts for ts in (self._base.next_after(moment), *late) if ts is not None), default=None)

    def between(self, after: int, until: int) -> list[Tick]:
        """The ticks of ``(after, until]`` in order; at equal times the quote comes first."""
        base = (tick for tick in self._base.between(after, until) if not self._is_removed(tick))
        first, stop = (bisect_right(self._added, moment, key=_moment) for moment in (after, until))
        return list(merge(base, self._added[first:stop], key=_moment))

    def latest(self, now: int) -> tuple[QuoteTick | None, TradeTick | None]:
        """The last quote and the last trade up to a moment, this moment included."""
        return self._base.latest(now)[0], next(self.trades(0, now, newest_first=True), None)

    def quotes(self, since: int, until: int, *, newest_first: bool = False) -> Iterator[QuoteTick]:
        """The quotes of ``[since, until]``."""
        return self._base.quotes(since, until, newest_first=newest_first)

    def trades(self, since: int, until: int, *, newest_first: bool = False) -> Iterator[TradeTick]:
        """The trades of ``[since, until]``."""
        base = self._base.trades(since, until, newest_first=newest_first)
        added = self._added[
            bisect_left(self._added, since, key=_moment) : bisect_right(self._added, until, key=_moment)
        ]
        # Merging prefers what is given first: at one moment the market's own trade is the older one.
        sources = (added[::-1], self._kept(base)) if newest_first else (self._kept(base), added)
        return merge(*sources, key=_moment, reverse=newest_first)

    def sums(self, start: int, stop: int) -> tuple[Int64, Float64]:
        """For each of the bars ``start`` to ``stop`` (exclusive): number of trades, and sum of price x size."""
        counts, values = self._base.sums(start, stop)
        for row in self._rows:
            if start <= row < stop:
                trades = self.of_bar(row)
                counts[row - start] = len(trades)
                values[row - start] = sum(trade.price * trade.size for trade in trades)
        return counts, values

    def of_bar(self, row: int) -> list[TradeTick]:
        """The trades of a bar."""
        end = self._recorded.ts.item(row)
        return list(self.trades(end - self._recorded.period, end - 1))

    def _is_removed(self, tick: Tick) -> bool:
        return isinstance(tick, TradeTick) and tick.id in self._removed

    def _kept(self, trades: Iterator[TradeTick]) -> Iterator[TradeTick]:
        return (trade for trade in trades if trade.id not in self._removed)


def revised(series: BarSeries, row: int, trades: Sequence[TradeTick]) -> BarSeries:
    """The bars where one is the sum of these trades, which are in order. Without any it keeps its last price, and no volume."""
    prices = [trade.price for trade in trades]
    volume = float(sum((Decimal(repr(trade.size)) for trade in trades), Decimal(0)))
    values = {"volume": volume}
    if prices:
        values |= {"open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1]}
    columns = []
    for name in ("open", "high", "low", "close", "volume"):
        column = getattr(series, name)
        if name in values:
            column = column.copy()
            column[row] = values[name]
        columns.append(column)
    return BarSeries(series.symbol, series.period, series.ts, *columns)


def _moment(tick: Tick) -> int:
    return tick.ts
