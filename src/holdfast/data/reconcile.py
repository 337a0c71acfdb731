"""Pages of bars made into one series: in order, each bar once, the vendor's last word on each.

Vendors send a bar again when a late trade has changed it, send a row twice at the seam of two pages, and now and then
send rows out of order. All of that is put right, and all of it is counted: a number that grows is a reason to ask.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from holdfast.data.tables import BarTable, join


class Counts(msgspec.Struct, frozen=True):
    """What was put right.

    Attributes:
        duplicates: Bars that came again with the same numbers.
        revisions: Bars that came again with other numbers; the later ones stand.
        out_of_order: Bars that came after a later one.
    """

    duplicates: int = 0
    revisions: int = 0
    out_of_order: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.duplicates + other.duplicates,
            self.revisions + other.revisions,
            self.out_of_order + other.out_of_order,
        )


def merge(tables: Iterable[BarTable]) -> tuple[BarTable, Counts]:
    """One series of several tables; where two speak of the same bar, the later table (or row) is right."""
    table = join(tables)
    if table.rows < 2:
        return table, Counts()
    steps = np.diff(table.start)
    if bool(np.all(steps > 0)):
        return table, Counts()
    newest = np.maximum.accumulate(table.start)
    out_of_order = int(np.count_nonzero(table.start[1:] < newest[:-1]))
    ordered = table.take(np.argsort(table.start, kind="stable"))
    is_last = np.append(np.diff(ordered.start) > 0, True)
    again = np.flatnonzero(~is_last)
    same = np.ones(len(again), dtype=bool)
    for column in ordered[1:]:
        same &= np.isclose(column[again], column[again + 1], rtol=0.0, atol=0.0, equal_nan=True)
    duplicates = int(np.count_nonzero(same))
    return ordered.take(np.flatnonzero(is_last)), Counts(duplicates, len(again) - duplicates, out_of_order)
