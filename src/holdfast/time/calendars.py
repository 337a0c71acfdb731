"""What an exchange's calendar says, as plain numbers.

Opens, early closes, holidays and daylight saving come from exchange_calendars, which its
community keeps right; no table of ours could stay so. That package brings pandas, and the two
take about a second to import and to answer. So they are imported at the first question about
an exchange and never before, and the answer is lists of integers, which whoever may touch the
disk can keep for the next process (``holdfast.data.calendar_cache``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.model.errors import ConfigurationError

# What is asked of a calendar. Years that have not come yet follow the rules known today;
# a calendar with bounds of its own is asked for what lies within them.
FIRST_DAY = "1970-01-01"
LAST_DAY = "2060-12-31"


class Calendar(msgspec.Struct, frozen=True):
    """The sessions of an exchange. A lunch break counts as open.

    Attributes:
        zone: The time zone that its hours are in, e.g. ``America/New_York``.
        start: Since when the calendar is known (UTC ns).
        opens: Of all sessions, in order (UTC ns).
        closes: Of the same sessions (UTC ns).
    """

    zone: str
    start: int
    opens: list[int]
    closes: list[int]


CalendarReader = Callable[[str], Calendar]


def read_calendar(name: str) -> Calendar:
    """What exchange_calendars says of an exchange.

    Raises:
        ConfigurationError: There is no exchange of this name.
    """
    # It has no types. Imported here, since it takes half a second and pandas: only those who ask pay.
    import exchange_calendars  # type: ignore[import-untyped]  # it has no types  # noqa: PLC0415 - see above

    with warnings.catch_warnings():
        # exchange_calendars uses what newer versions of pandas deprecate; none of it is ours to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        try:
            bounds = exchange_calendars.get_calendar(name)
            first, last = _within(FIRST_DAY, bounds.bound_min(), max), _within(LAST_DAY, bounds.bound_max(), min)
            calendar = exchange_calendars.get_calendar(name, start=first, end=last)
        except exchange_calendars.errors.InvalidCalendarName:
            message = f"there is no exchange {name!r}; expected a name of exchange_calendars such as 'XNYS'"
            raise ConfigurationError(message) from None
        return Calendar(
            zone=str(calendar.tz),
            start=int(calendar.first_session.value),
            opens=calendar.opens_nanos.tolist(),
            closes=calendar.closes_nanos.tolist(),
        )


def _within(day: str, bound: Any | None, choose: Callable[[str, str], str]) -> str:
    return day if bound is None else choose(day, str(bound.date()))
