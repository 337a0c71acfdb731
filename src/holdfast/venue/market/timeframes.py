"""Timeframes of bars as Alpaca names them: how long their bars are at least, and where they start."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from holdfast.model.enums import AssetClass
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, to_datetime, to_ns
from holdfast.venue.wire.words import NEW_YORK

_NAME: Final = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)\Z")

#: For each unit its shortest length (ns) and the most of it that Alpaca knows.
_UNITS: Final = {
    "Min": (NS_PER_MINUTE, 59),
    "Hour": (NS_PER_HOUR, 23),
    "Day": (NS_PER_DAY, 1),
    "Week": (7 * NS_PER_DAY, 1),
    "Month": (28 * NS_PER_DAY, 12),
}
_SHORT_NAMES: Final = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}


class Timeframe(msgspec.Struct, frozen=True):
    """One timeframe.

    Attributes:
        shortest: The length of its shortest bar (ns).
        start_of: The start (UTC ns) of the bar to which a moment belongs.
    """

    shortest: int
    start_of: Callable[[int], int]


def timeframe(text: str, asset_class: AssetClass) -> Timeframe | None:
    """The timeframe of a name such as ``5Min``; None if there is no such one. Days are New York's, or UTC's for crypto."""
    match = _NAME.match(text)
    count = int(match[1]) if match else 0
    unit = _SHORT_NAMES.get(match[2], match[2]) if match else ""
    length, most = _UNITS.get(unit, (0, 0))
    if not 0 < count <= most or (unit == "Month" and 12 % count):
        return None
    span = count * length
    if unit in ("Min", "Hour"):
        return Timeframe(span, lambda ns: ns - ns % span)
    zone = UTC if asset_class is AssetClass.CRYPTO else NEW_YORK

    def start_of_days(ns: int) -> int:
        day = to_datetime(ns).astimezone(zone).date()
        if unit == "Week":
            day -= timedelta(days=day.weekday())
        elif unit == "Month":
            month = (day.month - 1) // count * count + 1
            day = day.replace(month=month, day=1)
        return to_ns(datetime(day.year, day.month, day.day, tzinfo=zone))

    return Timeframe(span, start_of_days)


def days(asset_class: AssetClass) -> Timeframe:
    """The timeframe of daily bars."""
    found = timeframe("1Day", asset_class)
    assert found is not None  # noqa: S101 - the table above has it
    return found
