"""What is wrong with stored data: each finding names its place.

    file        the file is gone, damaged, or not what the manifest says
    hole        a stretch between two stored parts that was never stored, though the market traded
    order       rows out of order, twice, or outside their part
    bad         a bar that cannot be: a price that is no positive number, high below low, open or close outside them
    spike       a bar far from its neighbours on both sides, to which the price then returns: a bad tick, most likely
    session     a session without a bar, or bars on a day without a session
    gap         a stretch of a session longer than ``max_gap`` bars without one
    crossed     a bid above its ask

Sessions are the exchange's own: holidays, early closes and daylight saving count; crypto trades around the clock. Thin
symbols have gaps that are true, so how long one may be is the user's to say. Bars before the open and after the close are
normal, and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from holdfast.data import parquet
from holdfast.data.bar_rules import Row, complaint
from holdfast.data.catalog import BARS, QUOTES, TICK, Catalog, Key, Part, Shelf
from holdfast.data.tables import BarTable
from holdfast.data.timeframes import Timeframe, parse_timeframe, zone_of
from holdfast.model.errors import DataError
from holdfast.model.series import Float64, Int64
from holdfast.model.timestamps import format_rfc3339, parse_rfc3339
from holdfast.time import Sessions, sessions_for

if TYPE_CHECKING:
    from holdfast.data.parquet import Frame

#: How far a bar may be from its neighbours (as a fraction of the price): bars shorter than a day, and others.
SPIKE_INTRADAY: Final = 0.10
SPIKE_DAILY: Final = 0.40
MAX_GAP: Final = 30
_WINDOW: Final = 5  # bars whose median is what the price is thought to be
_PLACES_MAX: Final = 20  # of one kind in one part; more are counted


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: what kind, where, and in words."""

    kind: str
    place: str
    what: str


class Report(msgspec.Struct):
    """What a shelf is like.

    Attributes:
        series: Its name.
        parts: How many parts are stored.
        rows: How many rows.
        outside: Bars outside the regular sessions, which is normal.
        findings: What is wrong.
    """

    series: str
    parts: int = 0
    rows: int = 0
    outside: int = 0
    findings: list[Finding] = []


def check(
    catalog: Catalog, key: Key, *, max_gap: int = MAX_GAP, spike: float | None = None, sessions: Sessions | None = None
) -> Report:
    """Look at every row of a shelf.

    Args:
        catalog: Where it stands.
        key: Which.
        max_gap: How many bars in a row may be missing in a session.
        spike: How far a bar may be from its neighbours; default ``SPIKE_INTRADAY`` or ``SPIKE_DAILY``.
        sessions: When the market trades; default: as its calendar says.

    Raises:
        DataError: The manifest cannot be read.
    """
    shelf = catalog.shelf(key)
    market = sessions or sessions_for(key.asset_class)
    report = Report(str(key), parts=len(shelf.parts), findings=[])
    report.findings += _holes(shelf, market)
    for part, line in shelf.parts.items():
        frame, wrong = _file(shelf, line)
        report.findings += wrong
        if key.kind == BARS:
            table = BarTable.empty() if frame is None else parquet.bar_table(frame)
            report.rows += table.rows
            length = parse_timeframe(key.timeframe)
            limit = spike if spike is not None else (SPIKE_INTRADAY if length.is_intraday else SPIKE_DAILY)
            report.findings += [*_order(key, part, table.start), *_bad(table), *_spikes(table, limit)]
            if not wrong:  # what a damaged file lacks is not the market's doing
                missing, outside = _against_sessions(key, line, table, length, market, max_gap)
                report.findings += missing
                report.outside += outside
        elif frame is not None:
            report.rows += frame.height
            # The last quote of a bar stands at the bar's end, which may be the next day's first moment.
            slack = 0 if key.timeframe == TICK else 1
            times = parquet.times_of(frame)
            report.findings += [*_order(key, part, times - slack, strictly=False), *_bad_ticks(key, frame)]
    for path in sorted(shelf.folder.glob("*.parquet")):
        if path.stem not in shelf.parts or not shelf.parts[path.stem].rows:
            report.findings.append(Finding("file", path.name, "is not in the manifest: it does not count"))
    return report


# ------------------------------------------------------------------------------- files and holes


def _file(shelf: Shelf, line: Part) -> tuple[Frame | None, list[Finding]]:
    """The rows of a part, and whether its file is what the manifest says."""
    if not line.rows:
        return None, []
    path = shelf.path(line.part)
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, [Finding("file", path.name, f"cannot be read: {error.strerror or error}")]
    if hashlib.sha256(data).hexdigest() != line.sha256:
        return None, [Finding("file", path.name, "is not what was stored: its checksum differs")]
    try:
        frame = parquet.read_files([path])
    except DataError as error:
        return None, [Finding("file", path.name, str(error))]
    if frame.height != line.rows:
        return frame, [Finding("file", path.name, f"has {frame.height} rows; the manifest says {line.rows}")]
    return frame, []


def _holes(shelf: Shelf, market: Sessions) -> Iterator[Finding]:
    """Parts that should stand between the first and the last one."""
    stored = list(shelf.parts)
    if not stored:
        return
    key = shelf.key
    for part in key.parts(key.bounds(stored[0])[0], key.bounds(stored[-1])[1]):
        first, last = key.bounds(part)
        if part not in shelf.parts and market.at(first).open < last:
            yield Finding("hole", part, "was never stored, though the market traded")


# ------------------------------------------------------------------------------- rows by themselves


def _order(key: Key, part: str, times: Int64, *, strictly: bool = True) -> list[Finding]:
    first, last = key.bounds(part)
    steps = np.diff(times)
    found = _places("order", times[1:], steps < 0, lambda _: "comes after a later one")
    if strictly:
        found += _places("order", times[1:], steps == 0, lambda _: "stands there twice")
    return found + _places("order", times, (times < first) | (times >= last), lambda _: f"does not belong into {part}")


def _bad(table: BarTable) -> list[Finding]:
    prices = np.column_stack(table[1:5]) if table.rows else np.empty((0, 4))
    fine = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1) & np.isfinite(table.volume) & (table.volume >= 0)
    with np.errstate(invalid="ignore"):
        fine &= (table.low <= np.minimum(table.open, table.close)) & (table.high >= np.maximum(table.open, table.close))

    def say(at: int) -> str:
        row = Row(*(float(column[at]) for column in table[1:6]))
        return (complaint(row) if np.isfinite(row).all() else None) or f"a number is not finite {tuple(row)}"

    return _places("bad", table.start, ~fine, say)


def _spikes(table: BarTable, limit: float) -> list[Finding]:
    if table.rows < _WINDOW:
        return []
    usual = _rolling_median(table.close)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The body's own extremes: a wick that far is as bad as a close.
        off = np.maximum(table.high / usual - 1.0, 1.0 - table.low / usual)
    return _places(
        "spike", table.start, off > limit, lambda at: f"is {off[at]:.1%} away from its neighbours ({usual[at]:g})"
    )


def _rolling_median(values: Float64) -> Float64:
    half = _WINDOW // 2
    padded = np.pad(values, half, mode="reflect")
    found: Float64 = np.median(np.lib.stride_tricks.sliding_window_view(padded, _WINDOW), axis=1)
    return found


def _bad_ticks(key: Key, frame: Frame) -> list[Finding]:
    times = parquet.times_of(frame)
    if key.kind != QUOTES:
        price, size = frame["price"].to_numpy(), frame["size"].to_numpy()
        wrong = ~(np.isfinite(price) & (price > 0) & np.isfinite(size) & (size >= 0))
        return _places("bad", times, wrong, lambda at: f"price {price[at]:g}, size {size[at]:g}")
    bid, ask = frame["bid"].to_numpy(), frame["ask"].to_numpy()
    wrong = ~(np.isfinite(bid) & np.isfinite(ask) & (bid >= 0) & (ask >= 0))
    crossed = (bid > ask) & (ask > 0)
    return _places("bad", times, wrong, lambda at: f"bid {bid[at]:g}, ask {ask[at]:g}") + _places(
        "crossed", times, crossed, lambda at: f"bid {bid[at]:g} is above ask {ask[at]:g}"
    )


def _places(kind: str, times: Int64, wrong: object, say: Callable[[int], str]) -> list[Finding]:
    """A finding for each row that is wrong; where there are many, the rest in one sentence."""
    rows = np.flatnonzero(np.asarray(wrong)).tolist()
    found = [Finding(kind, format_rfc3339(int(times[at])), say(at)) for at in rows[:_PLACES_MAX]]
    if len(rows) > _PLACES_MAX:
        last = format_rfc3339(int(times[rows[-1]]))
        found.append(Finding(kind, last, f"and {len(rows) - _PLACES_MAX} more like these, up to here"))
    return found


# ------------------------------------------------------------------------------- rows against the calendar


def _against_sessions(
    key: Key, line: Part, table: BarTable, length: Timeframe, market: Sessions, max_gap: int
) -> tuple[list[Finding], int]:
    """What is missing of the sessions of a part, and how many bars lie outside them."""
    first, last = key.bounds(line.part)
    last = min(last, parse_rfc3339(line.until))
    sessions = list(_sessions(market, first, last))
    ends = table.ends(length, zone_of(key.asset_class))
    found: list[Finding] = []
    covered = np.zeros(table.rows, dtype=bool)
    for opened, closed in sessions:
        inside = (table.start < closed) & (ends > opened)
        covered |= inside
        if not inside.any():
            found.append(
                Finding("session", format_rfc3339(opened), f"no bar from the open to {format_rfc3339(closed)}")
            )
        elif length.is_intraday:
            found += _gaps(table.start[inside], opened, closed, length.period, max_gap)
    if table.rows and not sessions:
        found.append(Finding("session", line.part, f"{table.rows} bars, though the market had no session"))
    if length.is_intraday:
        return found, int(np.count_nonzero(~covered)) if sessions else 0
    found += _places("session", table.start, ~covered, lambda _: "a bar of a day without a session")
    return found, 0


def _gaps(starts: Int64, opened: int, closed: int, period: int, max_gap: int) -> Iterable[Finding]:
    edges = np.concatenate([[opened - period], starts[starts >= opened], [closed]])
    missing = np.diff(edges) // period - 1
    for at in np.flatnonzero(missing > max_gap).tolist():
        begin = format_rfc3339(int(edges[at]) + period)
        yield Finding("gap", begin, f"{int(missing[at])} bars are missing, until {format_rfc3339(int(edges[at + 1]))}")


def _sessions(market: Sessions, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Sessions that open in ``[first, last)``."""
    session = market.at(first)
    while session.open < last:
        if session.open >= first:
            yield session.open, session.close
        session = market.at(session.close)
