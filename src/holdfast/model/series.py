"""A symbol's bars as columns: the form in which files are read, venues replay and backtests run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from holdfast.model.errors import DataError
from holdfast.model.market import Bar

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class BarSeries:
    """Bars of one symbol, oldest first, strictly increasing in time; gaps are allowed.

    Attributes:
        symbol: Whose bars they are.
        period: Length of one bar (ns).
        ts: Ends of the bars (UTC ns, int64); a bar covers ``[ts - period, ts)``.
        open, high, low, close, volume: float64 columns of the same length.
    """

    __slots__ = ("close", "high", "low", "open", "period", "symbol", "ts", "volume")

    def __init__(
        self,
        symbol: str,
        period: int,
        ts: Int64,
        open_: Float64,
        high: Float64,
        low: Float64,
        close: Float64,
        volume: Float64,
    ) -> None:
        lengths = {len(column) for column in (ts, open_, high, low, close, volume)}
        if len(lengths) != 1:
            message = f"{symbol}: the columns of a bar series differ in length: {sorted(lengths)}"
            raise DataError(message)
        if period <= 0:
            message = f"{symbol}: the period of a bar series must be positive, got {period} ns"
            raise DataError(message)
        if len(ts) > 1 and not bool(np.all(np.diff(ts) > 0)):
            message = f"{symbol}: bar times must increase; row {int(np.argmin(np.diff(ts) > 0)) + 1} does not"
            raise DataError(message)
        self.symbol, self.period = symbol, period
        self.ts, self.open, self.high, self.low, self.close, self.volume = ts, open_, high, low, close, volume

    def __len__(self) -> int:
        return len(self.ts)

    def bars(self) -> Iterator[Bar]:
        """The rows as bars."""
        symbol = self.symbol
        columns = (self.ts, self.open, self.high, self.low, self.close, self.volume)
        for ts, o, h, low, c, v in zip(*(column.tolist() for column in columns), strict=True):
            yield Bar(ts, symbol, o, h, low, c, v)

    def slice(self, start: int, stop: int) -> BarSeries:
        """Rows ``start`` to ``stop`` (exclusive), sharing memory."""
        cut = slice(start, stop)
        return BarSeries(
            self.symbol,
            self.period,
            self.ts[cut],
            self.open[cut],
            self.high[cut],
            self.low[cut],
            self.close[cut],
            self.volume[cut],
        )
