"""What is asked of a provider, checked before anything is sent, and what its answer to a question for bars is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple, Self

import numpy as np

from holdfast.data.bar_rules import Row, complaint
from holdfast.data.tables import BarTable, join
from holdfast.data.timeframes import Timeframe, asset_class_of, parse_timeframe, zone_of
from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.market import Bar
from holdfast.model.timestamps import format_rfc3339, to_ns


class Question(NamedTuple):
    """``first`` and ``last`` are UTC ns; ``last`` is no later than what may be asked for."""

    vendor: str
    symbol: str
    first: int
    last: int
    timeframe: Timeframe

    @property
    def is_crypto(self) -> bool:
        """Whether the symbol is a pair."""
        return asset_class_of(self.symbol) is AssetClass.CRYPTO

    @classmethod
    def of(
        cls, vendor: str, symbol: str, start: datetime, end: datetime, horizon: int, timeframe: str = "1Min"
    ) -> Self:
        """A checked one; what lies after ``horizon`` (UTC ns) is not asked for.

        Raises:
            ConfigurationError: An argument makes no sense.
        """
        try:
            length = parse_timeframe(timeframe)
        except ConfigurationError as error:
            message = f"{vendor}: {error}"
            raise ConfigurationError(message) from None
        _check_symbol(vendor, symbol)
        first, last = _moment(vendor, "start", start), _moment(vendor, "end", end)
        if last < first:
            message = f"{vendor}: the end {format_rfc3339(last)} is before the start {format_rfc3339(first)}"
            raise ConfigurationError(message)
        return cls(vendor, symbol, first, min(last, horizon), length)

    @classmethod
    def of_days(cls, vendor: str, symbol: str, start: date, end: date) -> Self:
        """A question about days, both included.

        Raises:
            ConfigurationError: An argument makes no sense.
        """
        _check_symbol(vendor, symbol)
        if end < start:
            message = f"{vendor}: the end {end} is before the start {start}"
            raise ConfigurationError(message)
        return cls(vendor, symbol, 0, 0, Timeframe(1, "Day"))


def complete_bars(question: Question, pages: Sequence[BarTable]) -> list[Bar]:
    """The bars of some pages that begin and end inside the question.

    Raises:
        DataError: One cannot be, or does not come after the one before.
    """
    table = join(pages)
    previous = None
    for begin, *numbers in zip(*(column.tolist() for column in table[:6]), strict=True):
        reason = complaint(Row(*numbers))
        if reason is None and previous is not None and begin <= previous:
            reason = f"it does not come after the bar of {format_rfc3339(previous)}"
        if reason is not None:
            message = f"{question.vendor}: the bar of {question.symbol} at {format_rfc3339(begin)} is wrong: {reason}"
            raise DataError(message)
        previous = begin
    zone = zone_of(asset_class_of(question.symbol))
    ends = table.ends(question.timeframe, zone)
    inside = (table.start >= question.first) & (ends <= question.last)
    return table.take(np.flatnonzero(inside)).to_bars(question.symbol, question.timeframe, zone)


def _check_symbol(vendor: str, symbol: str) -> None:
    if not symbol:
        message = f"{vendor}: the symbol is empty"
        raise ConfigurationError(message)


def _moment(vendor: str, name: str, moment: datetime) -> int:
    try:
        return to_ns(moment)
    except ValueError:
        message = f"{vendor}: the {name} {moment!r} has no time zone; expected an aware datetime"
        raise ConfigurationError(message) from None
