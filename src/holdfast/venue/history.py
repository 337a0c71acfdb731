"""What an account was worth: samples taken as the market goes, and the history that clients ask for.

A sample is taken at the end of every step in which bars ended, and kept only if the worth has changed; so an account without
positions costs nothing. The last month of minutes is kept, and every day's close.

    point           its time is the beginning of its window, its equity that of the window's end (or of now, if that is earlier)
    1D              one point a session, labelled with the midnight UTC that ends its date
    less            from each day's first moment to its last, both included; ``continuous`` knows no days
    profit or loss  against the close before the point's day (``per_day``), or against the base (``no_reset``)
    base            the last close before the first point; where the account is younger, what it was opened with
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import msgspec

_MINUTES_KEPT = 31 * 24 * 60


class EquityHistory:
    """The samples of one account.

    Args:
        opened_at: When it was opened (UTC ns).
        equity: With how much (USD).
    """

    def __init__(self, opened_at: int, equity: float) -> None:
        self.opened_at = opened_at
        self._minutes = _Series(opened_at, equity)
        self._days = _Series(opened_at, equity)

    def add(self, now: int, equity: float) -> None:
        """The account is worth this at a moment (UTC ns), later than all before."""
        self._minutes.add(now, equity)
        self._minutes.forget(_MINUTES_KEPT)

    def end_day(self, at: int, equity: float) -> None:
        """It was worth this at a session's close."""
        self._days.add(at, equity)

    def at(self, moment: int) -> float:
        """What it was worth: by the minutes as far as they reach, and by the days before that."""
        series = self._minutes if moment >= self._minutes.first else self._days
        return series.at(moment)


class _Series:
    """Values by time; each holds until the next."""

    __slots__ = ("_times", "_values")

    def __init__(self, time: int, value: float) -> None:
        self._times, self._values = array("q", [time]), array("d", [value])

    @property
    def first(self) -> int:
        """The earliest time."""
        return self._times[0]

    def add(self, time: int, value: float) -> None:
        """A value from this time on."""
        if value != self._values[-1]:
            self._times.append(time)
            self._values.append(value)

    def forget(self, kept: int) -> None:
        """Drop the oldest, if there are twice as many as are kept."""
        if len(self._times) >= 2 * kept:
            del self._times[:-kept], self._values[:-kept]

    def at(self, time: int) -> float:
        """The value that holds at a time; the first one before all."""
        return self._values[max(bisect_right(self._times, time) - 1, 0)]


class Window(msgspec.Struct, frozen=True, gc=False):
    """One point of a history before its value is known; moments are UTC ns.

    Attributes:
        stamp: What the point is labelled with.
        start: When its window begins.
        end: When its worth counts.
        close_before: The close of the last session before the point's day; None if there is none.
    """

    stamp: int
    start: int
    end: int
    close_before: int | None


class PortfolioHistory(msgspec.Struct, frozen=True):
    """A history, column by column, and the windows of its points.

    ``base_close`` (UTC ns) is None where the account is younger than the first point's day.
    """

    stamps: list[int]
    equity: list[float]
    profit: list[float]
    profit_share: list[float]
    base_value: float
    base_close: int | None
    windows: list[Window]


def portfolio_history(
    samples: EquityHistory, windows: Sequence[Window], now: int, worth_now: float, *, per_day: bool
) -> PortfolioHistory:
    """The history over these windows, of which those before the account was opened are left out.

    Args:
        samples: What the account was worth.
        windows: In order.
        now: The moment beyond which nothing is known (UTC ns).
        worth_now: What the account is worth at it.
        per_day: Whether profit or loss begins anew each day.
    """
    chosen = [window for window in windows if window.end > samples.opened_at and window.start <= now]
    equity = [worth_now if window.end >= now else samples.at(window.end) for window in chosen]
    closes = [window.close_before for window in chosen]
    references = [samples.at(close or samples.opened_at) for close in closes]
    base = references[0] if references else samples.at(samples.opened_at)
    compared = references if per_day else [base] * len(equity)
    profit = [round(value - reference, 4) for value, reference in zip(equity, compared, strict=True)]
    return PortfolioHistory(
        [window.stamp for window in chosen],
        equity,
        profit,
        [round(gain / reference, 4) if reference else 0.0 for gain, reference in zip(profit, compared, strict=True)],
        base,
        next((close for close in closes[:1] if close is not None and close > samples.opened_at), None),
        chosen,
    )


def cash_flows(rows: Iterable[tuple[str, int, float]], windows: Sequence[Window]) -> dict[str, list[float]]:
    """By type of activity, what came or went until the end of each window and after that of the one before.

    Args:
        rows: Type, moment (UTC ns) and amount (USD) of each activity.
        windows: Those of the history's points.
    """
    ends = [window.end for window in windows]
    flows: dict[str, list[float]] = {}
    for name, at, amount in rows:
        place = bisect_left(ends, at)
        if place < len(ends) and at >= windows[0].start:
            column = flows.setdefault(name, [0.0] * len(ends))
            column[place] = round(column[place] + amount, 4)
    return flows
