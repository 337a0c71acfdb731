"""Bars from CSV files, plain or gzipped, and back.

The format: a header with the six names ``timestamp,open,high,low,close,volume`` in any order, then one bar a
line, oldest first. ``timestamp`` is the START of the bar, as RFC 3339 with an offset (``2024-01-02T14:30:00Z``)
or as an integer of seconds or milliseconds since the epoch; a time without a zone names no moment and is
refused. Gaps are normal, a volume of zero is normal, everything else that is odd is an error which names file,
line and reason: a backtest on quietly mended data would be a lie.

Two passes, one meaning. ``_parse_rows`` reads line by line and *defines* what is valid and what each line
means; ``_parse_columns`` does the same for the ordinary shape of a file a column at a time, some ten times
faster, and gives up (``None``) at the first thing it does not expect. So the quick way never has to know which
line was wrong, and the exact way never has to be quick. A property test holds the two together.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.data.bar_rules import Row, complaint
from holdfast.model.errors import DataError
from holdfast.model.series import BarSeries, Float64, Int64
from holdfast.model.timestamps import NS_PER_MS, NS_PER_SECOND, format_rfc3339, parse_rfc3339

COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")

_GZIP_MAGIC: Final = b"\x1f\x8b"
_UTF8_BOM: Final = b"\xef\xbb\xbf"
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NS_LIMIT: Final = 2**63 - 1
# Below this an integer is read as seconds (until the year 5138), from here on as milliseconds (since March 1973).
_FIRST_MILLISECOND: Final = 100_000_000_000
_LAST_MILLISECOND: Final = 100_000_000_000_000
# The part of an RFC 3339 time that is read as one block: YYYY-MM-DDTHH:MM:SS.
_HEAD_LENGTH: Final = 19


class _Columns(NamedTuple):
    """A file's bars, as read: ``start`` in UTC ns."""

    start: Int64
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Float64


def read_bars(path: str | os.PathLike[str], symbol: str, *, period: int | None = None) -> BarSeries:
    """Read the bars of one symbol.

    Args:
        path: The file; gzip is recognised by its content.
        symbol: Whose bars they are.
        period: Length of a bar (ns). By default the smallest step between two rows, of which every other
            step must be a multiple.

    Returns:
        The bars; their ``ts`` is the END of each bar (UTC ns).

    Raises:
        DataError: The file cannot be read, or a line is wrong: names file, line and reason.
    """
    source = Path(path)
    data = read_bytes(source, ",".join(COLUMNS))
    order, body = _read_header(source, data)
    columns = _parse_columns(body, order)
    if columns is None:
        columns = _parse_rows(source, data, order)
    if not len(columns.start):
        message = f"{source}: the file has a header but no bars"
        raise DataError(message)
    length = _period_of(source, columns.start, period)
    return BarSeries(
        symbol,
        length,
        columns.start + length,
        columns.open,
        columns.high,
        columns.low,
        columns.close,
        columns.volume,
    )


def load(path: str | os.PathLike[str], symbols: Iterable[str], *, period: int | None = None) -> dict[str, BarSeries]:
    """Read the bars of some symbols from a file (one symbol) or from a directory (one file a symbol).

    In a directory the file of ``SPY`` is ``SPY.csv`` or ``SPY.csv.gz``. The "/" of a crypto pair cannot be in
    a file name: it is written as "-" or "_" or left out (``BTC-USD.csv``, ``BTC_USD.csv``, ``BTCUSD.csv``).

    Args:
        path: A file or a directory.
        symbols: Which symbols; each once.
        period: Length of a bar (ns); by default each file's own smallest step.

    Raises:
        DataError: A file is missing, ambiguous or wrong.
    """
    source, wanted = Path(path), list(dict.fromkeys(symbols))
    if not wanted:
        message = f"{source}: no symbol was asked for; expected at least one"
        raise DataError(message)
    if not source.is_dir():
        if len(wanted) > 1:
            message = (
                f"{source}: a file holds the bars of one symbol, but {len(wanted)} were asked for "
                f"({', '.join(wanted)}); expected a directory with one file a symbol"
            )
            raise DataError(message)
        return {wanted[0]: read_bars(source, wanted[0], period=period)}
    names = _csv_names(source)
    return {symbol: read_bars(_file_of(source, names, symbol), symbol, period=period) for symbol in wanted}


def write_bars(series: BarSeries, path: str | os.PathLike[str]) -> None:
    """Write bars so that ``read_bars`` gives exactly the same ones; gzipped where the name ends in ``.gz``.

    The same bars always give the same bytes. The file appears complete or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    target = Path(path)
    starts = (series.ts - series.period).tolist()
    numbers = [column.tolist() for column in (series.open, series.high, series.low, series.close, series.volume)]
    lines = [",".join(COLUMNS)]
    lines.extend(
        f"{format_rfc3339(start)},{o!r},{h!r},{low!r},{c!r},{v!r}"
        for start, o, h, low, c, v in zip(starts, *numbers, strict=True)
    )
    data = ("\n".join(lines) + "\n").encode("ascii")
    if target.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        message = f"{target}: cannot be written: {error.strerror or error}"
        raise DataError(message) from None


# ---------------------------------------------------------------------------------------------- files


def read_bytes(source: Path, header: str) -> bytes:
    """The content of a CSV file, unpacked; ``header`` is what it should begin with.

    Raises:
        DataError: It cannot be read, or is empty.
    """
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        message = f"{source}: there is no such file"
        raise DataError(message) from None
    except IsADirectoryError:
        message = f"{source}: is a directory; expected a CSV file"
        raise DataError(message) from None
    except OSError as error:
        message = f"{source}: cannot be read: {error.strerror or error}"
        raise DataError(message) from None
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except EOFError:
            message = f"{source}: the gzip file is truncated"
            raise DataError(message) from None
        except (OSError, zlib.error) as error:
            message = f"{source}: the gzip file is damaged: {error}"
            raise DataError(message) from None
    data = data.removeprefix(_UTF8_BOM)
    if not data.strip():
        message = f"{source}: the file is empty; expected the header {header}"
        raise DataError(message)
    return data


def _read_header(source: Path, data: bytes) -> tuple[tuple[int, ...], bytes]:
    """Where each of ``COLUMNS`` stands in a row, and the bytes after the header."""
    line, _, body = data.partition(b"\n")
    names = [name.strip().strip('"').lower() for name in line.decode("utf-8", "replace").strip().split(",")]
    if sorted(names) != sorted(COLUMNS):
        shown = ",".join(names)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."  # a binary file has long "lines"
        message = f"{source}, line 1: the header is {shown!r}; expected the columns {','.join(COLUMNS)}, in any order"
        raise DataError(message)
    return tuple(names.index(column) for column in COLUMNS), body


def _csv_names(directory: Path) -> list[str]:
    try:
        names = sorted(entry.name for entry in directory.iterdir())
    except OSError as error:
        message = f"{directory}: cannot be read: {error.strerror or error}"
        raise DataError(message) from None
    names = [name for name in names if name.endswith((".csv", ".csv.gz"))]
    if not names:
        message = f"{directory}: the directory has no CSV file (*.csv or *.csv.gz)"
        raise DataError(message)
    return names


def _file_of(directory: Path, names: list[str], symbol: str) -> Path:
    stems = {symbol.replace("/", mark) for mark in ("-", "_", "")}
    found = [name for name in names if name.removesuffix(".gz").removesuffix(".csv") in stems]
    if len(found) > 1:
        message = f"{directory}: {symbol} has more than one file ({', '.join(found)}); expected exactly one"
        raise DataError(message)
    if not found:
        expected = " or ".join(f"{stem}.csv[.gz]" for stem in sorted(stems))
        some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        message = f"{directory}: there is no file for {symbol}; expected {expected}, found {some}"
        raise DataError(message)
    return directory / found[0]


# ----------------------------------------------------------------------------- the quick pass: columns


def _parse_columns(body: bytes, order: tuple[int, ...]) -> _Columns | None:
    """The bars of an ordinary, valid file; ``None`` where anything is not as expected."""
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n")
    body = body.rstrip(b"\n")
    # A lone carriage return ends a row of the exact pass, and is white space to float().
    if not body or any(mark in body for mark in (b"\r", b'"', b"_")) or not _has_even_rows(body):
        return None
    fields = body.replace(b"\n", b",").split(b",")
    width = len(COLUMNS)
    try:
        start = _parse_times(fields[order[0] :: width])
        # float() reads bytes, and rounds exactly as it does for text.
        numbers = [np.array(list(map(float, fields[at::width])), dtype=np.float64) for at in order[1:]]
    except (ValueError, OverflowError):
        return None
    if start is None:
        return None
    columns = _Columns(start, *numbers)
    return columns if _is_valid(columns) else None


def _has_even_rows(body: bytes) -> bool:
    """Whether every line has exactly one comma fewer than there are columns."""
    characters = np.frombuffer(body, dtype=np.uint8)
    commas = np.flatnonzero(characters == ord(","))
    ends = np.append(np.flatnonzero(characters == ord("\n")), len(body))
    before = np.searchsorted(commas, ends)
    return bool(np.all(np.diff(before, prepend=0) == len(COLUMNS) - 1))


def _parse_times(texts: list[bytes]) -> Int64 | None:
    """Starts in UTC ns, or ``None``. May raise ValueError, which means the same."""
    if texts[0].isdigit():
        values = np.array(list(map(int, texts)), dtype=np.int64)
        if values.min() < 0 or values.max() >= _LAST_MILLISECOND:
            return None
        in_seconds = values < _FIRST_MILLISECOND
        if in_seconds.any() and int(values[in_seconds].max()) > _NS_LIMIT // NS_PER_SECOND:
            return None
        return values * np.where(in_seconds, NS_PER_SECOND, NS_PER_MS)

    # What follows the seconds (fraction and offset) takes few forms in one file: each is parsed once.
    tails = [text[_HEAD_LENGTH:] for text in texts]
    shifts: dict[bytes, int] = {}
    for tail in set(tails):
        try:
            shifts[tail] = parse_rfc3339("1970-01-01T00:00:00" + tail.decode("ascii"))
        except DataError:
            return None
    heads = np.array([text[:_HEAD_LENGTH] for text in texts], dtype=f"S{_HEAD_LENGTH}")
    if not _look_like_times(heads):
        return None
    seconds = heads.astype("datetime64[s]").astype(np.int64)
    limit = _NS_LIMIT // NS_PER_SECOND - 2 * 86_400  # room for any offset
    if int(seconds.min()) < -limit or int(seconds.max()) > limit:
        return None
    if len(shifts) == 1:
        return seconds * NS_PER_SECOND + next(iter(shifts.values()))
    return seconds * NS_PER_SECOND + np.array([shifts[tail] for tail in tails], dtype=np.int64)


def _look_like_times(heads: npt.NDArray[np.bytes_]) -> bool:
    """Whether every text is ``dddd-dd-ddTdd:dd:dd``: NumPy alone would read more forms than the exact pass."""
    grid = heads.view(np.uint8).reshape(len(heads), _HEAD_LENGTH)
    pattern = np.frombuffer(b"0000-00-00T00:00:00", dtype=np.uint8)
    is_digit = pattern == ord("0")
    digits = grid[:, is_digit]
    return bool(
        np.all(grid[:, ~is_digit] == pattern[~is_digit]) and np.all(digits >= ord("0")) and np.all(digits <= ord("9"))
    )


def _is_valid(columns: _Columns) -> bool:
    """The rules of ``bar_rules`` and the order of times, for all rows at once."""
    start, opens, highs, lows, closes, volumes = columns
    finite = all(bool(np.isfinite(column).all()) for column in columns[1:])
    # With low > 0 and low <= open, close <= high every price is positive and every range holds.
    return finite and bool(
        np.all(lows > 0)
        and np.all(lows <= np.minimum(opens, closes))
        and np.all(highs >= np.maximum(opens, closes))
        and np.all(volumes >= 0)
        and np.all(np.diff(start) > 0)
    )


# -------------------------------------------------------------------------------- the exact pass: rows


def _parse_rows(source: Path, data: bytes, order: tuple[int, ...]) -> _Columns:
    """The bars, line by line: the meaning of the format."""
    starts: list[int] = []
    rows: list[Row] = []
    reader = csv.reader(io.StringIO(data.rstrip().decode("utf-8", "replace"), newline=""))
    line = 1
    try:
        next(reader)
        for fields in reader:
            line = reader.line_num
            start, row = _parse_row(fields, order)
            if starts and start <= starts[-1]:
                _refuse_order(start, starts[-1])
            starts.append(start)
            rows.append(row)
    except csv.Error as error:
        message = f"{source}, line {reader.line_num}: not CSV: {error}"
        raise DataError(message) from None
    except DataError as error:
        message = f"{source}, line {line}: {error}"
        raise DataError(message) from None
    numbers = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return _Columns(np.array(starts, dtype=np.int64), *(np.ascontiguousarray(column) for column in numbers.T))


def _parse_row(fields: list[str], order: tuple[int, ...]) -> tuple[int, Row]:
    """One line's start (UTC ns) and numbers.

    Raises:
        DataError: What is wrong with the line.
    """
    if len(fields) != len(COLUMNS):
        message = f"has {len(fields)} columns; expected {len(COLUMNS)}"
        raise DataError(message)
    start = _parse_time(fields[order[0]].strip())
    row = Row(*(_parse_number(name, fields[at]) for name, at in zip(COLUMNS[1:], order[1:], strict=True)))
    reason = complaint(row)
    if reason is not None:
        raise DataError(reason)
    return start, row


def _parse_number(name: str, text: str) -> float:
    try:
        # Python reads 1_000 as a number; a data file that says so means something else.
        value = float("" if "_" in text else text)
    except ValueError:
        message = f"{name} {_show(text)} is not a number"
        raise DataError(message) from None
    if not math.isfinite(value):
        message = f"{name} {_show(text)} is not a finite number"
        raise DataError(message)
    return value


def _parse_time(text: str) -> int:
    if _INTEGER.fullmatch(text):
        value = int(text)
        if not 0 <= value < _LAST_MILLISECOND:
            message = f"timestamp {text} is neither seconds nor milliseconds since 1970"
            raise DataError(message)
        ns = value * (NS_PER_SECOND if value < _FIRST_MILLISECOND else NS_PER_MS)
    else:
        try:
            ns = parse_rfc3339(text)
        except DataError:
            raise DataError(_time_complaint(text)) from None
    if abs(ns) > _NS_LIMIT - 2 * 86_400 * NS_PER_SECOND:
        message = f"timestamp {_show(text)} is out of range; expected a year from 1678 to 2261"
        raise DataError(message)
    return ns


def _time_complaint(text: str) -> str:
    try:
        # Python reads any row of digits as a time of some kind; people write the date with dashes.
        is_naive = text[4:5] == "-" and datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        is_naive = False
    if is_naive:
        return f"timestamp {_show(text)} has no time zone; expected a Z or an offset, as in 2024-01-02T14:30:00Z"
    return (
        f"timestamp {_show(text)} is not a time; expected RFC 3339 with an offset, as in 2024-01-02T14:30:00Z, "
        "or whole seconds or milliseconds since 1970"
    )


def _show(text: str) -> str:
    """A field as it stands in an error message, which stays one line of readable length."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _refuse_order(start: int, previous: int) -> None:
    if start == previous:
        message = f"the time {format_rfc3339(start)} is a duplicate of the row before"
    else:
        message = f"the time {format_rfc3339(start)} goes backwards; the row before has {format_rfc3339(previous)}"
    raise DataError(message)


# ----------------------------------------------------------------------------------------- the period


def _period_of(source: Path, start: Int64, period: int | None) -> int:
    """The length of a bar (ns), inferred or checked."""
    steps = np.diff(start)
    if period is None:
        if not len(steps):
            message = f"{source}: one bar alone does not tell how long a bar is; expected two rows or a given period"
            raise DataError(message)
        length = int(steps.min())
        odd, rule = np.flatnonzero(steps % length), "is no multiple of the smallest step between two rows"
    else:
        if period <= 0:
            message = f"{source}: the period of a bar must be positive, got {period} ns"
            raise DataError(message)
        length = period
        odd, rule = np.flatnonzero(steps < length), "is shorter than the period of a bar"
    if len(odd):
        first = int(odd[0])
        # Row i begins at line i + 2; a step ends at the row after it.
        message = (
            f"{source}, line {first + 3}: the step of {steps[first] / NS_PER_SECOND:g} s from the row before "
            f"{rule} ({length / NS_PER_SECOND:g} s)"
        )
        raise DataError(message)
    return length
