"""Closed trades as protections read them: whose, when, how much, and whether a stop closed them.

The kernel's own ``ClosedTrade`` is read as it is. Any other object with ``symbol``, ``profit`` and
``close_timestamp`` is translated first, and one that cannot be read is an error here and a block in the
guards: a loss that we cannot date might be the one that counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

from holdfast.model import ClosedTrade
from holdfast.model.errors import DataError
from holdfast.model.timestamps import to_ns


class Close(msgspec.Struct, frozen=True, gc=False):
    """What protections need of a closed trade: a subset of ``ClosedTrade``, under the same names.

    ``closed_at`` is UTC ns; ``profit`` is in the quote currency, after fees.
    """

    symbol: str
    closed_at: int
    profit: Decimal
    exit_reason: str = ""


def close_of(trade: Any) -> Close:
    """Read any object with ``symbol``, ``profit`` and ``close_timestamp`` (or ``closed_at`` in ns).

    Raises:
        DataError: Something is missing or makes no sense.
    """
    symbol = getattr(trade, "symbol", None)
    if not symbol:
        message = f"a closed trade has no symbol: {trade!r}"
        raise DataError(message)
    closed_at = getattr(trade, "closed_at", None)
    if type(closed_at) is not int:
        moment = getattr(trade, "close_timestamp", None)
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            message = f"a closed trade in {symbol} has no close_timestamp with a time zone (got {moment!r})"
            raise DataError(message)
        closed_at = to_ns(moment)
    raw = getattr(trade, "profit", None)
    try:
        profit = raw if isinstance(raw, Decimal) else Decimal(str(raw))
    except InvalidOperation:
        profit = Decimal("NaN")
    if not profit.is_finite():
        message = f"a closed trade in {symbol} has no profit that is a number (got {raw!r})"
        raise DataError(message)
    return Close(str(symbol), closed_at, profit, str(getattr(trade, "exit_reason", None) or ""))


def closes_between(trades: Iterable[Any], after: int, until: int) -> list[ClosedTrade | Close]:
    """The trades that closed in ``(after, until]`` (UTC ns), oldest first.

    Raises:
        DataError: A trade cannot be read.
    """
    closes: list[ClosedTrade | Close] = []
    for trade in trades:
        close = trade if trade.__class__ is ClosedTrade else close_of(trade)
        if after < close.closed_at <= until:
            closes.append(close)
    closes.sort(key=_closed_at)
    return closes


def _closed_at(close: ClosedTrade | Close) -> int:
    return close.closed_at


def is_stoploss(close: ClosedTrade | Close) -> bool:
    """True where a stop closed the trade: its reason says so, or it gives none and the trade lost."""
    reason = close.exit_reason
    return names_stoploss(reason) if reason else close.profit < 0


@lru_cache(maxsize=256)
def names_stoploss(reason: str) -> bool:
    """True for ``stop_loss``, ``stoploss``, ``Stop Loss``, ``trailing_stop_loss``, ``stop``; not for ``time_stop``."""
    letters = "".join(character for character in reason.lower() if character.isalnum())
    return letters == "stop" or "stoploss" in letters
