"""Market data on the wire."""

from __future__ import annotations

from datetime import datetime

from holdfast.model.market import Bar
from holdfast.model.timestamps import format_rfc3339, to_datetime
from holdfast.venue.wire.words import Json


def bar_json(bar: Bar, period: int) -> Json:
    """A bar of market data: ``t`` is its start.

    The recorded bars know neither the number of trades nor their average price: ``n`` is 1 if there was
    any volume, ``vw`` the mean of high, low and close; both are 0 in a bar without a trade.
    """
    return _bar(bar, format_rfc3339(bar.ts - period))


def bar_msgpack(bar: Bar, period: int) -> Json:
    """As ``bar_json``, with a time that MessagePack writes as its own timestamp."""
    return _bar(bar, to_datetime(bar.ts - period))


def _bar(bar: Bar, start: str | datetime) -> Json:
    traded = bar.volume > 0
    return {
        "t": start,
        "o": bar.open,
        "h": bar.high,
        "l": bar.low,
        "c": bar.close,
        "v": bar.volume,
        "n": 1 if traded else 0,
        "vw": (bar.high + bar.low + bar.close) / 3 if traded else 0,
    }
