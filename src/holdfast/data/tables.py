"""Bars, as they travel between vendors, files and series: columns, with what a vendor adds to a bar.

A ``Bar`` and a ``BarSeries`` are what the kernel needs: six numbers. A vendor also says the volume-weighted average
price and how many trades there were; a catalog keeps both, so here they have columns too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.data.timeframes import Timeframe
from holdfast.model.market import Bar
from holdfast.model.series import BarSeries, Float64, Int64

#: What stands where a source does not say how many trades a bar had.
UNKNOWN_COUNT: Final = -1


class BarTable(NamedTuple):
    """Bars of one symbol as columns of one length. ``start`` is where each begins (UTC ns).

    ``vwap`` is NaN and ``trades`` is ``UNKNOWN_COUNT`` where the source does not say.
    """

    start: Int64
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Float64
    vwap: Float64
    trades: Int64

    @property
    def rows(self) -> int:
        """How many bars."""
        return len(self.start)

    @classmethod
    def of(
        cls,
        start: Sequence[int] | Int64,
        open_: Sequence[float] | Float64,
        high: Sequence[float] | Float64,
        low: Sequence[float] | Float64,
        close: Sequence[float] | Float64,
        volume: Sequence[float] | Float64,
        *,
        vwap: Sequence[float] | Float64 | None = None,
        trades: Sequence[int] | Int64 | None = None,
    ) -> BarTable:
        """From any sequences: starts, open, high, low, close, volume, and what else is known."""
        starts = np.asarray(start, dtype=np.int64)
        count = len(starts)
        return cls(
            starts,
            _floats(open_),
            _floats(high),
            _floats(low),
            _floats(close),
            _floats(volume),
            np.full(count, np.nan) if vwap is None else _floats(vwap),
            np.full(count, UNKNOWN_COUNT, dtype=np.int64) if trades is None else np.asarray(trades, dtype=np.int64),
        )

    @classmethod
    def empty(cls) -> BarTable:
        """No bars."""
        return cls.of([], [], [], [], [], [])

    def take(self, which: npt.NDArray[np.bool_] | Int64 | slice) -> BarTable:
        """Those rows that a mask, an order or a slice names."""
        return BarTable(*(column[which] for column in self))  # type: ignore[arg-type]  # columns in their order

    def between(self, first: int, last: int) -> BarTable:
        """The bars that begin in ``[first, last)``; the table must be in order."""
        at = np.searchsorted(self.start, [first, last])
        return self.take(slice(int(at[0]), int(at[1])))

    def ends(self, timeframe: Timeframe, zone: tzinfo) -> Int64:
        """Where each bar ends (UTC ns)."""
        if timeframe.is_intraday:
            return self.start + timeframe.period
        return np.array([timeframe.end_of(begin, zone) for begin in self.start.tolist()], dtype=np.int64)

    def to_series(self, symbol: str, timeframe: Timeframe, zone: tzinfo) -> BarSeries:
        """For the kernel and the venue; the table must be in order, and no bar there twice.

        Raises:
            DataError: It is not.
        """
        ends = self.ends(timeframe, zone)
        return BarSeries(symbol, timeframe.period, ends, self.open, self.high, self.low, self.close, self.volume)

    def to_bars(self, symbol: str, timeframe: Timeframe, zone: tzinfo) -> list[Bar]:
        """As single bars."""
        return list(self.to_series(symbol, timeframe, zone).bars())


def _floats(values: Sequence[float] | Float64) -> Float64:
    return np.asarray(values, dtype=np.float64)


def join(tables: Iterable[BarTable]) -> BarTable:
    """One table after the other."""
    parts = list(tables)
    if not parts:
        return BarTable.empty()
    return parts[0] if len(parts) == 1 else BarTable(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def table_of(series: BarSeries) -> BarTable:
    """A series as a table."""
    return BarTable.of(series.ts - series.period, series.open, series.high, series.low, series.close, series.volume)
