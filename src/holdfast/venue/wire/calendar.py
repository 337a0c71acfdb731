"""Calendars and clocks on the wire: version 2 (equities, New York's bare hours) and version 3 (markets by name)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

from holdfast.model.timestamps import to_datetime
from holdfast.venue.market.calendar import MarketDay
from holdfast.venue.wire.words import NEW_YORK, Json, new_york_time

#: Markets that keep the hours of US equities: acronym, name, MIC, BIC.
_NYSE: Final = ("NYSE", "New York Stock Exchange", "XNYS", "XNYSUS3NXXX")
_NASDAQ: Final = ("NASDAQ", "National Association of Securities Dealers Automated Quotations", "XNAS", "XNASUS31XXX")
_IEX: Final = ("IEX", "Investors Exchange", "IEXG", None)
_OTC: Final = ("OTC", "OTC Markets", "OTCM", None)
MARKETS: Final = {
    **dict.fromkeys(("NYSE", "XNYS"), _NYSE),
    **dict.fromkeys(("NASDAQ", "XNAS"), _NASDAQ),
    **dict.fromkeys(("IEX", "IEXG"), _IEX),
    **dict.fromkeys(("OTC", "OTCM"), _OTC),
}


def calendar_json(day: MarketDay) -> Json:
    """A day of version 2."""
    return {
        "date": day.trade_date.isoformat(),
        "open": _hours(day.core_start, ":"),
        "close": _hours(day.core_end, ":"),
        "session_open": _hours(day.pre_start, ""),
        "session_close": _hours(day.post_end, ""),
        "settlement_date": day.settlement_date.isoformat(),
    }


def market_json(name: str) -> Json:
    """What a market is called."""
    acronym, long_name, mic, bic = MARKETS[name]
    codes = {"mic": mic} | ({"bic": bic} if bic else {})
    return {"acronym": acronym, "name": long_name, "timezone": NEW_YORK.key} | codes


def market_day_json(day: MarketDay, time: Callable[[int], str]) -> Json:
    """A day of version 3."""
    return {
        "date": day.trade_date.isoformat(),
        "core_start": time(day.core_start),
        "core_end": time(day.core_end),
        "pre_start": time(day.pre_start),
        "pre_end": time(day.core_start),
        "post_start": time(day.core_end),
        "post_end": time(day.post_end),
        "settlement_date": day.settlement_date.isoformat(),
    }


def market_clock_json(name: str, now: int, today: date, days: list[MarketDay]) -> Json:
    """A clock of version 3; the days are this one, or the next, and some that follow."""
    phase, until = next(found for day in days if (found := day.phase(now)) is not None)
    return {
        "market": market_json(name),
        "timestamp": new_york_time(now),
        "is_market_day": days[0].trade_date == today,
        "next_market_open": new_york_time(next(day.core_start for day in days if day.core_start > now)),
        "next_market_close": new_york_time(next(day.core_end for day in days if day.core_end > now)),
        "phase": phase,
        "phase_until": new_york_time(until),
    }


def _hours(ns: int, between: str) -> str:
    return f"{to_datetime(ns).astimezone(NEW_YORK):%H{between}%M}"
