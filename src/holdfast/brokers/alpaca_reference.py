"""What Alpaca says that the kernel has no need of, as typed values: calendar, clock, settings, the account's history.

For users' own programs. The same rules as in ``alpaca_wire``: what we do not know never breaks what we do know, and what we
need and cannot read is an error that keeps the whole offending object.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from holdfast.brokers.alpaca_wire import UNREADABLE, decimal, malformed
from holdfast.model.timestamps import NS_PER_SECOND, parse_rfc3339

Json = Mapping[str, Any]

_NEW_YORK = ZoneInfo("America/New_York")


class MarketClock(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The venue's clock of the stock exchange. Times are UTC ns."""

    now: int
    is_open: bool
    next_open: int
    next_close: int


class MarketDay(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One trading day of the stock exchange. Times are UTC ns.

    Attributes:
        date: ``YYYY-MM-DD`` in New York.
        open, close: Of the core session.
        session_open, session_close: With extended hours; those of the core session where the venue names none.
        settlement_date: When trades of this day settle; empty where the venue does not say.
    """

    date: str
    open: int
    close: int
    session_open: int
    session_close: int
    settlement_date: str = ""


class EquityPoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One moment (UTC ns) of the account's history; an amount is None where the venue has none for it."""

    at: int
    equity: Decimal | None
    profit_loss: Decimal | None
    profit_loss_pct: Decimal | None


class PortfolioHistory(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The account's equity over time, oldest first."""

    points: tuple[EquityPoint, ...]
    base_value: Decimal | None
    timeframe: str


class AccountConfiguration(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the account's owner has set; what the venue does not name is read as the more careful of the two."""

    fractional_trading: bool
    max_margin_multiplier: int
    no_shorting: bool
    suspend_trade: bool
    trade_confirm_email: str


def market_clock(row: Json) -> MarketClock:
    """The venue's clock.

    Raises:
        MalformedMessageError: It cannot be read.
    """
    try:
        return MarketClock(
            now=parse_rfc3339(row["timestamp"]),
            is_open=_flag(row["is_open"]),
            next_open=parse_rfc3339(row["next_open"]),
            next_close=parse_rfc3339(row["next_close"]),
        )
    except UNREADABLE as error:
        raise malformed(error, "a clock", row) from None


def market_day(row: Json) -> MarketDay:
    """One day of the calendar. Its hours are New York's, written "09:30" or "0930".

    Raises:
        MalformedMessageError: The date, the opening or the close cannot be read.
    """
    try:
        day = date.fromisoformat(row["date"])
        opens, closes = _moment(day, row["open"]), _moment(day, row["close"])
        return MarketDay(
            date=row["date"],
            open=opens,
            close=closes,
            session_open=_moment(day, row["session_open"]) if row.get("session_open") else opens,
            session_close=_moment(day, row["session_close"]) if row.get("session_close") else closes,
            settlement_date=str(row.get("settlement_date") or ""),
        )
    except UNREADABLE as error:
        raise malformed(error, "a day of the calendar", row) from None


def portfolio_history(row: Json) -> PortfolioHistory:
    """The account's history. Its columns are lists of one length; an amount may be null.

    Raises:
        MalformedMessageError: A column is missing, of another length, or holds what is no number.
    """
    try:
        columns = [row[name] for name in ("timestamp", "equity", "profit_loss", "profit_loss_pct")]
        points = tuple(
            EquityPoint(
                at=int(decimal(at)) * NS_PER_SECOND,
                equity=_amount(equity),
                profit_loss=_amount(gain),
                profit_loss_pct=_amount(share),
            )
            for at, equity, gain, share in zip(*columns, strict=True)
        )
        base, timeframe = _amount(row.get("base_value")), str(row.get("timeframe") or "")
        return PortfolioHistory(points=points, base_value=base, timeframe=timeframe)
    except UNREADABLE as error:
        raise malformed(error, "an account's history", row) from None


def account_configuration(row: Json) -> AccountConfiguration:
    """The account's settings.

    Raises:
        MalformedMessageError: It is no object, or the multiplier is no number.
    """
    try:
        return AccountConfiguration(
            fractional_trading=_flag(row.get("fractional_trading")),
            max_margin_multiplier=int(decimal(row.get("max_margin_multiplier") or 1)),
            no_shorting=_flag(row.get("no_shorting", True)),
            suspend_trade=_flag(row.get("suspend_trade", True)),
            trade_confirm_email=str(row.get("trade_confirm_email") or ""),
        )
    except UNREADABLE as error:
        raise malformed(error, "an account's settings", row) from None


def _amount(value: object) -> Decimal | None:
    return None if value is None else decimal(value)


def _moment(day: date, text: str) -> int:
    hours = time.fromisoformat(text if ":" in text else f"{text[:2]}:{text[2:]}")
    return int(datetime.combine(day, hours, _NEW_YORK).timestamp()) * NS_PER_SECOND


def _flag(value: object) -> bool:
    return value is True or value == "true"
