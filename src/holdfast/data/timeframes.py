"""How long a bar is, as Alpaca writes it, and where each one ends.

Minutes and hours are lengths. Days and longer follow the calendar of the market (New York for shares, UTC for
crypto): a day there may have 23 hours, a month has 28 to 31 days.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_SECOND, to_datetime, to_ns

NEW_YORK: Final = ZoneInfo("America/New_York")

# Unit -> its length (ns; of a calendar unit the usual one) and the counts that make sense.
_UNITS: Final[dict[str, tuple[int, frozenset[int]]]] = {
    "Sec": (NS_PER_SECOND, frozenset(range(1, 60))),
    "Min": (NS_PER_MINUTE, frozenset(range(1, 60))),
    "Hour": (NS_PER_HOUR, frozenset(range(1, 24))),
    "Day": (NS_PER_DAY, frozenset({1})),
    "Week": (7 * NS_PER_DAY, frozenset({1})),
    "Month": (30 * NS_PER_DAY, frozenset({1, 2, 3, 4, 6, 12})),
}
_TEXT: Final = re.compile(r"([1-9][0-9]?)(Sec|Min|Hour|Day|Week|Month)")

# The ones that people use, for messages.
COMMON: Final = ("1Min", "5Min", "15Min", "30Min", "1Hour", "2Hour", "4Hour", "1Day", "1Week", "1Month")


class Timeframe(NamedTuple):
    """A length of bars: ``Timeframe(5, "Min")``."""

    multiple: int
    unit: str

    def __str__(self) -> str:
        return f"{self.multiple}{self.unit}"

    @property
    def period(self) -> int:
        """Its length (ns); of days, weeks and months the usual one."""
        return self.multiple * _UNITS[self.unit][0]

    @property
    def is_intraday(self) -> bool:
        """Whether a bar is a length of time rather than a stretch of the calendar."""
        return self.unit in ("Sec", "Min", "Hour")

    def end_of(self, begin: int, zone: tzinfo) -> int:
        """Where the bar that begins at ``begin`` ends (UTC ns)."""
        if self.is_intraday:
            return begin + self.period
        # Arithmetic on a zoned datetime is arithmetic on its wall clock: midnight to midnight.
        local = to_datetime(begin).astimezone(zone)
        if self.unit == "Month":
            years, month = divmod(local.month - 1 + self.multiple, 12)
            return to_ns(local.replace(year=local.year + years, month=month + 1))
        return to_ns(local + timedelta(days=self.multiple * (7 if self.unit == "Week" else 1)))


def parse_timeframe(text: str) -> Timeframe:
    """Read ``5Min``.

    Raises:
        ConfigurationError: It is no timeframe.
    """
    found = _TEXT.fullmatch(text)
    if found is None or int(found[1]) not in _UNITS[found[2]][1]:
        message = (
            f"unknown timeframe {text!r}; expected one of {', '.join(COMMON)} "
            "(1-59 Sec or Min, 1-23 Hour, 1 Day or Week, 1, 2, 3, 4, 6 or 12 Month)"
        )
        raise ConfigurationError(message)
    return Timeframe(int(found[1]), found[2])


def timeframe_of(period: int) -> Timeframe:
    """The timeframe of bars that are ``period`` ns long.

    Raises:
        ConfigurationError: There is none.
    """
    for unit, (length, counts) in _UNITS.items():
        count, rest = divmod(period, length)
        if not rest and count in counts:
            return Timeframe(count, unit)
    message = f"bars of {period / NS_PER_SECOND:g} s fit no timeframe; expected one of {', '.join(COMMON)}"
    raise ConfigurationError(message)


def zone_of(asset_class: AssetClass) -> tzinfo:
    """Whose midnight parts the days: UTC for crypto, New York for everything else."""
    return UTC if asset_class is AssetClass.CRYPTO else NEW_YORK


def asset_class_of(symbol: str) -> AssetClass:
    """A pair such as BTC/USD is crypto, everything else a share."""
    return AssetClass.CRYPTO if "/" in symbol else AssetClass.US_EQUITY


def midnight(day: date, zone: tzinfo) -> int:
    """The first moment of a day (UTC ns)."""
    return to_ns(datetime(day.year, day.month, day.day, tzinfo=zone))


def day_of(ns: int, zone: tzinfo) -> date:
    """The day that a moment belongs to."""
    return to_datetime(ns).astimezone(zone).date()
