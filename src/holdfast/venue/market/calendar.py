"""Days of a market as Alpaca's calendars and clocks tell them: before, core and after hours, and when trades settle.

A market's sessions give the core hours. What lies around them is derived: the time before them begins at 04:00 in New York,
the time after them lasts four hours from the close (so 20:00, and 17:00 where the close is early). Trades settle some
trading days later; banks' holidays that are trading days are not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final, Literal

import msgspec

from holdfast.model.errors import DataError
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, to_datetime, to_ns
from holdfast.time import Session, Sessions
from holdfast.venue.wire.words import NEW_YORK

Phase = Literal["closed", "pre", "core", "post"]

_PRE_HOUR: Final = 4
_POST_NS: Final = 4 * NS_PER_HOUR
#: From which trade date on trades settle after so many trading days.
_CYCLES: Final = ((date(2024, 5, 28), 1), (date(2017, 9, 5), 2), (date.min, 3))
_LONGEST_CYCLE: Final = 3
#: No market is closed for longer.
_LONGEST_BREAK_NS: Final = 12 * NS_PER_DAY


class MarketDay(msgspec.Struct, frozen=True, gc=False):
    """One day on which a market trades; moments are UTC ns."""

    trade_date: date
    pre_start: int
    core_start: int
    core_end: int
    post_end: int
    settlement_date: date

    def phase(self, now: int) -> tuple[Phase, int] | None:
        """The phase at a moment and when it ends; None after the last."""
        phases: tuple[tuple[Phase, int], ...] = (
            ("closed", self.pre_start),
            ("pre", self.core_start),
            ("core", self.core_end),
            ("post", self.post_end),
        )
        return next(((name, end) for name, end in phases if now < end), None)


def sessions_between(sessions: Sessions, start: int, end: int) -> Iterator[Session]:
    """The sessions that open at ``start`` or later and before ``end``; none where nothing is known of the market."""
    try:
        session = sessions.at(start)
        while session.open < end:
            if session.open >= start:
                yield session
            session = sessions.at(session.close)
    except DataError:
        return


def days_between(sessions: Sessions, start: int, end: int) -> Iterator[MarketDay]:
    """The days whose sessions open at ``start`` or later and before ``end``."""
    ahead: list[Session] = []
    for session in sessions_between(sessions, start, end + 2 * _LONGEST_BREAK_NS):
        ahead.append(session)
        if len(ahead) > _LONGEST_CYCLE:
            if ahead[0].open >= end:
                return
            yield _day(ahead)
            del ahead[0]
    while ahead and ahead[0].open < end:  # the last days that are known settle on the last of them
        yield _day(ahead)
        del ahead[0]


def last_closed(sessions: Sessions, now: int) -> Session | None:
    """The last session that is over; None where there is none."""
    try:
        session, following = sessions.at(now - _LONGEST_BREAK_NS), None
    except DataError:
        return None
    while session.close <= now:
        following, session = session, sessions.at(session.close)
    return following


def next_days(sessions: Sessions, now: int) -> Iterator[MarketDay]:
    """The day on which a moment lies or which comes next, and those after it."""
    return (day for day in days_between(sessions, now - NS_PER_DAY, now + 2 * _LONGEST_BREAK_NS) if now < day.post_end)


def new_york_date(ns: int) -> date:
    """The date in New York."""
    return to_datetime(ns).astimezone(NEW_YORK).date()


def _day(sessions: list[Session]) -> MarketDay:
    """The day of the first of these sessions."""
    session = sessions[0]
    opens = to_datetime(session.open).astimezone(NEW_YORK)
    pre = to_ns(opens.replace(hour=_PRE_HOUR, minute=0, second=0, microsecond=0))
    trade_date = opens.date()
    cycle = next(days for since, days in _CYCLES if trade_date >= since)
    settles = sessions[min(cycle, len(sessions) - 1)]
    return MarketDay(
        trade_date,
        min(pre, session.open),
        session.open,
        session.close,
        session.close + _POST_NS,
        new_york_date(settles.open),
    )
