"""What a bar must be to be believed: one table, for every source that we read bars from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple


class Row(NamedTuple):
    """The five finite numbers of a bar."""

    open: float
    high: float
    low: float
    close: float
    volume: float


# Most basic first: (what is wrong, how to say it).
_RULES: Final[tuple[tuple[Callable[[Row], bool], str], ...]] = (
    (lambda row: min(row[:4]) < 0, "a price is negative (open {0.open}, high {0.high}, low {0.low}, close {0.close})"),
    (lambda row: min(row[:4]) == 0, "a price is zero (open {0.open}, high {0.high}, low {0.low}, close {0.close})"),
    (lambda row: row.volume < 0, "the volume is negative ({0.volume})"),
    (lambda row: row.high < row.low, "high {0.high} is below low {0.low}"),
    (lambda row: not row.low <= row.open <= row.high, "open {0.open} is outside low {0.low} to high {0.high}"),
    (lambda row: not row.low <= row.close <= row.high, "close {0.close} is outside low {0.low} to high {0.high}"),
)


def complaint(row: Row) -> str | None:
    """What is wrong with a bar, or ``None``."""
    for is_broken, sentence in _RULES:
        if is_broken(row):
            return sentence.format(row)
    return None
