"""Bars of many symbols in the order in which they end, and in which they begin: what a replay reads from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat

import numpy as np

from holdfast.model.errors import DataError
from holdfast.model.market import Bar
from holdfast.model.series import BarSeries, Int64

__all__ = ["Tape"]

# Rows that are turned into bars at once: enough to drown the cost of a NumPy call, few enough to stay small.
_CHUNK_ROWS = 512


class Tape:
    """All series as one sequence of bars by end and name, and one of openings by begin and name."""

    __slots__ = (
        "_columns",
        "_ends",
        "_ranks",
        "_starts",
        "begins",
        "moments",
        "names",
        "opening_ranks",
        "opening_rows",
    )

    def __init__(self, series: Mapping[str, BarSeries]) -> None:
        names = sorted(symbol for symbol, bars in series.items() if len(bars))
        if not names:
            message = "there are no bars to replay"
            raise DataError(message)
        for symbol in names:
            if series[symbol].symbol != symbol:
                message = f"the bars filed under {symbol} are those of {series[symbol].symbol}"
                raise DataError(message)
        parts = [series[symbol] for symbol in names]
        self.names = names
        ends = _join([part.ts for part in parts])
        begins = _join([part.ts - part.period for part in parts])
        ranks: Int64 = np.repeat(np.arange(len(parts)), [len(part) for part in parts])

        # Stable sorts of columns joined in the order of the names: equal times stay in that order.
        by_end = np.argsort(ends, kind="stable") if len(parts) > 1 else None
        self._columns = [
            _take(_join(column), by_end)
            for column in (
                [part.open for part in parts],
                [part.high for part in parts],
                [part.low for part in parts],
                [part.close for part in parts],
                [part.volume for part in parts],
            )
        ]
        self._ends, self._ranks = _take(ends, by_end), _take(ranks, by_end)
        # Rows at which a new moment starts, and the end of the last one.
        changes = np.flatnonzero(np.diff(self._ends)) + 1
        self._starts: Int64 = np.concatenate(([0], changes, [len(ends)]))
        self.moments = len(self._starts) - 1

        begins = _take(begins, by_end)
        by_begin: Int64 = np.lexsort((self._ranks, begins)) if len(parts) > 1 else np.arange(len(ends))
        self.begins, self.opening_ranks, self.opening_rows = begins[by_begin], self._ranks[by_begin], by_begin

    def rows_ended(self, moments: int) -> int:
        """How many bars the first moments hold."""
        return self._starts.item(moments)

    def begun(self, symbol: str, passed: int) -> int:
        """How many of the openings that are passed are the symbol's."""
        return int(np.count_nonzero(self.opening_ranks[:passed] == self.names.index(symbol)))

    def revise(self, series: BarSeries) -> None:
        """Take over the prices and volumes of a symbol."""
        rows = self._ranks == self.names.index(series.symbol)
        revised = (series.open, series.high, series.low, series.close, series.volume)
        for index, column in enumerate(revised):
            self._columns[index] = self._columns[index].copy()  # the recorded ones are not ours to change
            self._columns[index][rows] = column

    def first_openings(self) -> list[int]:
        """The first opening of each symbol."""
        _, firsts = np.unique(self.opening_ranks, return_index=True)
        return [int(first) for first in firsts]

    def opening(self, index: int) -> tuple[str, int, float, float]:
        """Symbol, moment, price and volume of an opening."""
        row = self.opening_rows[index]
        symbol = self.names[int(self.opening_ranks[index])]
        return symbol, int(self.begins[index]), float(self._columns[0][row]), float(self._columns[4][row])

    def moments_before(self, end: int) -> int:
        """How many moments are over before this one (UTC ns)."""
        row = int(self._ends.searchsorted(end))
        return row if len(self.names) == 1 else int(self._starts.searchsorted(row))

    def chunk(self, moment: int) -> tuple[list[Bar], list[int]]:
        """The bars of the moments from this one on, as many as fit into a chunk (one moment at least).

        And, for several symbols, where each moment begins among them, with the end of the last.
        """
        starts = self._starts
        if moment >= self.moments:
            return [], []
        first = int(starts[moment])
        last_moment = int(np.searchsorted(starts, first + _CHUNK_ROWS, side="right")) - 1
        last_moment = max(last_moment, moment + 1)
        rows = slice(first, int(starts[last_moment]))
        symbols = (
            repeat(self.names[0]) if len(self.names) == 1 else map(self.names.__getitem__, self._ranks[rows].tolist())
        )
        bars = list(map(Bar, self._ends[rows].tolist(), symbols, *(column[rows].tolist() for column in self._columns)))
        if len(self.names) == 1:
            return bars, []
        return bars, (starts[moment : last_moment + 1] - first).tolist()


def _join(columns: list[np.ndarray]) -> np.ndarray:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _take(column: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    return column if order is None else column[order]
