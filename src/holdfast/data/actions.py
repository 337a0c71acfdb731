"""Splits and dividends as data, and the factors by which past prices are adjusted for them.

What is stored is what was traded. An adjustment is a way to read it, chosen each time:

    raw         nothing
    split       splits only
    dividend    cash dividends only
    all         both

**Split.** For one old share there are r = new/old shares from the ex-date on. Prices before that date are divided by r,
volumes multiplied by r, so that price times volume stays what it was. (This is also what Alpaca's and Massive's
own split adjustment does; CRSP calls 1/r part of its "cumulative factor to adjust price".)

**Cash dividend.** On the ex-date the price falls by about the dividend D, from which a holder loses nothing. Prices before
that date are multiplied by 1 - D/P, where P is the close of the last session before the ex-date: the
factor with which the return over the ex-date becomes that of a holder who reinvests (the convention of CRSP's total
returns, also described by Yahoo for its adjusted close). Volumes stay. If a split has the same ex-date, D is paid on the new
shares, so P is divided by r first.

A price is multiplied by the factors of all ex-dates after its own day. Both factors are plain ratios, so
their order does not matter, and for each price they are multiplied newest first, always in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, tzinfo
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from holdfast.data.tables import BarTable
from holdfast.data.timeframes import midnight
from holdfast.model.errors import ConfigurationError, DataError


class Adjustment(StrEnum):
    """For what past prices are adjusted."""

    RAW = "raw"
    SPLIT = "split"
    DIVIDEND = "dividend"
    ALL = "all"


class Split(msgspec.Struct, frozen=True, tag="split", tag_field="type"):
    """``new`` shares for every ``old`` ones, from the ex-date on. A reverse split has fewer new ones."""

    ex_date: date
    new: float
    old: float

    @property
    def ratio(self) -> float:
        """New shares for one old one."""
        return self.new / self.old


class Dividend(msgspec.Struct, frozen=True, tag="dividend", tag_field="type"):
    """So much cash a share (USD) for whoever held it before the ex-date."""

    ex_date: date
    amount: float


Action = Split | Dividend


def check_adjustment(text: str) -> Adjustment:
    """One of the four words.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return Adjustment(text)
    except ValueError:
        message = f"unknown adjustment {text!r}; expected {', '.join(Adjustment)}"
        raise ConfigurationError(message) from None


def check_action(action: Action) -> Action:
    """The action, if its numbers can be.

    Raises:
        DataError: They cannot.
    """
    numbers = (action.new, action.old) if isinstance(action, Split) else (action.amount,)
    if not all(np.isfinite(number) and number > 0 for number in numbers):
        message = f"{action} cannot be: expected positive numbers"
        raise DataError(message)
    return action


def encode_actions(actions: Sequence[Action]) -> bytes:
    """As JSON, one action a line, oldest first; the same actions give the same bytes."""
    ordered = sorted(set(actions), key=lambda action: (action.ex_date, type(action).__name__, str(action)))
    return b"[\n" + b",\n".join(msgspec.json.encode(action) for action in ordered) + b"\n]\n"


def decode_actions(data: bytes) -> list[Action]:
    """What ``encode_actions`` wrote.

    Raises:
        DataError: It is something else.
    """
    try:
        found = msgspec.json.decode(data, type=list[Action])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"no list of splits and dividends: {error}"
        raise DataError(message) from None
    return [check_action(action) for action in found]


def adjust(
    table: BarTable,
    actions: Sequence[Action],
    adjustment: Adjustment,
    zone: tzinfo,
    close_before: Callable[[date], float],
) -> BarTable:
    """The bars, adjusted. See the module for the formulas.

    Args:
        table: In order.
        actions: All that are to count; in any order.
        adjustment: For which of them.
        zone: Whose midnight begins an ex-date.
        close_before: The raw close of the last session before a day.

    Raises:
        DataError: A dividend is as large as the price, or the close before it is not known.
    """
    if adjustment is Adjustment.RAW or not table.rows:
        return table
    price, volume = np.ones(table.rows), np.ones(table.rows)
    first = int(table.start[0])
    for day in sorted({action.ex_date for action in actions}, reverse=True):
        begin = midnight(day, zone)
        if begin <= first:
            break
        before = slice(0, int(np.searchsorted(table.start, begin)))
        ratio = 1.0
        for action in actions:
            if isinstance(action, Split) and action.ex_date == day:
                ratio *= action.ratio
        if adjustment is not Adjustment.DIVIDEND and ratio != 1.0:
            price[before] /= ratio
            volume[before] *= ratio
        cash = sum(action.amount for action in actions if isinstance(action, Dividend) and action.ex_date == day)
        if adjustment is not Adjustment.SPLIT and cash:
            close = close_before(day) / ratio
            if cash >= close:
                message = f"the dividend of {cash:g} on {day} is not below the close before it ({close:g})"
                raise DataError(message)
            price[before] *= 1.0 - cash / close
    return table._replace(
        open=table.open * price,
        high=table.high * price,
        low=table.low * price,
        close=table.close * price,
        volume=table.volume * volume,
        vwap=table.vwap * price,
    )


def action_from(fields: dict[str, Any]) -> Action:
    """An action from plain values, such as a vendor's.

    Raises:
        DataError: A value is missing or cannot be.
    """
    try:
        found: Action = msgspec.convert(fields, Action, strict=False)
    except msgspec.ValidationError as error:
        message = f"{fields} is no split and no dividend: {error}"
        raise DataError(message) from None
    return check_action(found)
