"""Files of other forms into a catalog: CSV, Parquet, and LEAN's zipped CSV.

An import replaces the parts that it covers. Between its first and its last row everything counts as known: a day without a row
is an empty day. (LEAN's files of single days say something of their own days only.) Bad rows are refused, with
file, line and reason: a catalog holds what can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from holdfast.data import lean, parquet
from holdfast.data.bar_rules import Row, complaint
from holdfast.data.catalog import BARS, TRADES, Catalog, Key, make_key
from holdfast.data.csv import load
from holdfast.data.download import check_source
from holdfast.data.reconcile import merge
from holdfast.data.tables import BarTable, table_of
from holdfast.data.timeframes import Timeframe, asset_class_of, midnight, parse_timeframe, timeframe_of, zone_of
from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.series import Int64
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND, NS_PER_US, format_rfc3339, to_datetime

if TYPE_CHECKING:
    from holdfast.data.parquet import Frame

CSV, PARQUET, LEAN = "csv", "parquet", "lean"
FORMS: Final = (CSV, PARQUET, LEAN)

# Our column -> the names under which files have it, in lower case.
_NAMES: Final = {
    "start": ("start", "timestamp", "time", "t", "datetime", "date", "ts_event"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "v"),
    "vwap": ("vwap", "vw"),
    "trades": ("trades", "n", "trade_count", "transactions"),
    "symbol": ("symbol", "ticker", "s"),
}
_OPTIONAL: Final = ("vwap", "trades", "symbol")


class Imported(NamedTuple):
    """What was put on a shelf."""

    key: Key
    parts: int
    rows: int
    left_out: int = 0


Progress = Callable[[str], None]


def guess_form(path: Path) -> str:
    """What a file or folder holds, by its names.

    Raises:
        DataError: It is not there, or cannot be told.
    """
    if not path.exists():
        message = f"{path}: there is no such file or folder"
        raise DataError(message)
    names = [path.name] if path.is_file() else [entry.name for entry in path.rglob("*") if entry.is_file()]
    for ending, form in ((".zip", LEAN), (".parquet", PARQUET), (".csv", CSV), (".csv.gz", CSV)):
        if any(name.endswith(ending) for name in names):
            return form
    message = f"{path}: it cannot be told what it holds; expected *.csv, *.csv.gz, *.parquet or LEAN's *.zip"
    raise DataError(message)


def import_path(
    catalog: Catalog,
    path: Path,
    form: str,
    symbols: Sequence[str] = (),
    timeframe: str | None = None,
    *,
    mix: bool = False,
    on_file: Progress = lambda _: None,
) -> Iterator[Imported]:
    """Put a file or a folder into the catalog, whose lock must be held (``catalog.writing()``).

    Args:
        catalog: Where to.
        path: What: see ``FORMS``.
        form: ``csv``, ``parquet`` or ``lean``.
        symbols: Whose bars; for Parquet with a column of symbols and for LEAN it chooses among them.
        timeframe: How long the bars are; default: their smallest step (LEAN's paths say it).
        mix: Whether a shelf may hold data of another source.
        on_file: Told of each file before it is read.

    Raises:
        ConfigurationError: A symbol or the form is none, or missing.
        DataError: A file is wrong: names file, line and reason.
    """
    if form not in FORMS:
        message = f"unknown form {form!r}; expected {', '.join(FORMS)}"
        raise ConfigurationError(message)
    if form == LEAN:
        yield from _import_lean(catalog, path, symbols, mix=mix, on_file=on_file)
        return
    on_file(path.name)
    read = _read_csv if form == CSV else _read_parquet
    for symbol, length, table in read(path, symbols, None if timeframe is None else parse_timeframe(timeframe)):
        yield _store(catalog, make_key(symbol, BARS, str(length)), _on_days(symbol, length, table), form, mix=mix)


def _store(catalog: Catalog, key: Key, table: BarTable, source: str, *, mix: bool) -> Imported:
    shelf = catalog.shelf(key)
    check_source(shelf, source, mix=mix)
    ends = table.ends(parse_timeframe(key.timeframe), zone_of(key.asset_class))
    # A part is complete to its end, save a year, which is complete as far as the bars go.
    until = int(ends[-1]) if key.has_years else 2**63 - 1
    parts = key.parts(int(table.start[0]), int(table.start[-1]) + 1)
    for part in parts:
        rows = table.between(*key.bounds(part))
        shelf.write(part, parquet.bar_frame(rows), until=until, source=source)
    return Imported(key, len(parts), table.rows)


def _on_days(symbol: str, length: Timeframe, table: BarTable) -> BarTable:
    """Bars of days that begin at midnight UTC name dates: for shares, those of New York."""
    if length.is_intraday or asset_class_of(symbol) is AssetClass.CRYPTO or bool(np.any(table.start % NS_PER_DAY)):
        return table
    zone = zone_of(AssetClass.US_EQUITY)
    starts = [midnight(to_datetime(start).date(), zone) for start in table.start.tolist()]
    return table._replace(start=np.array(starts, dtype=np.int64))


# ------------------------------------------------------------------------------------- CSV


Found = Iterator[tuple[str, Timeframe, BarTable]]


def _read_csv(path: Path, symbols: Sequence[str], length: Timeframe | None) -> Found:
    if not symbols:
        message = f"{path}: a CSV file does not say whose bars it holds; expected --symbols"
        raise ConfigurationError(message)
    # A bar of a day may be shorter than the usual one.
    period = length.period if length is not None and length.is_intraday else None
    for symbol, series in load(path, symbols, period=period).items():
        yield symbol, length or timeframe_of(series.period), table_of(series)


# ------------------------------------------------------------------------------------- Parquet


def _read_parquet(path: Path, symbols: Sequence[str], length: Timeframe | None) -> Found:
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    tables: dict[str, list[BarTable]] = {}
    for file in files:
        for symbol, table in _bars_of(file, parquet.read_files([file]), symbols):
            tables.setdefault(symbol, []).append(table)
    missing = [symbol for symbol in symbols if symbol not in tables]
    if missing:
        message = f"{path}: there are no bars of {', '.join(missing)}; it has {', '.join(sorted(tables)) or 'nothing'}"
        raise DataError(message)
    for symbol, parts in sorted(tables.items()):
        table, _ = merge(parts)
        yield symbol, length or _smallest_step(path, symbol, table), table


def _bars_of(path: Path, frame: Frame, symbols: Sequence[str]) -> Iterable[tuple[str, BarTable]]:
    lower = {name.lower(): name for name in frame.columns}
    columns = {ours: lower[name] for ours, names in _NAMES.items() for name in reversed(names) if name in lower}
    absent = [ours for ours in _NAMES if ours not in columns and ours not in _OPTIONAL]
    if absent:
        message = f"{path}: has no column for {absent[0]}; expected one of {', '.join(_NAMES[absent[0]])}, found {', '.join(frame.columns)}"
        raise DataError(message)
    if "symbol" not in columns:
        if len(symbols) != 1:
            message = f"{path}: has no column of symbols; expected --symbols with the one that it is of"
            raise ConfigurationError(message)
        return [(symbols[0], _table(path, frame, columns))]
    groups = frame.partition_by(columns["symbol"], as_dict=True, maintain_order=True)
    return [
        (str(symbol), _table(path, rows, columns))
        for (symbol,), rows in groups.items()
        if not symbols or str(symbol) in symbols
    ]


def _table(path: Path, frame: Frame, columns: dict[str, str]) -> BarTable:
    pl = parquet.polars()

    def numbers(name: str) -> Any:
        try:
            return frame[columns[name]].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        except pl.exceptions.PolarsError as error:
            message = f"{path}: the column {columns[name]!r} holds no numbers: {error}"
            raise DataError(message) from None

    table = BarTable.of(
        _starts(path, frame[columns["start"]], pl),
        *(numbers(name) for name in ("open", "high", "low", "close", "volume")),
        vwap=numbers("vwap") if "vwap" in columns else None,
        trades=frame[columns["trades"]].cast(pl.Int64).fill_null(-1).to_numpy() if "trades" in columns else None,
    )
    for at, row in enumerate(zip(*(column.tolist() for column in table[1:6]), strict=True)):
        reason = complaint(Row(*row)) if np.isfinite(row).all() else f"a number is missing or not finite {row}"
        if reason is not None:
            message = f"{path}, row {at + 1} ({format_rfc3339(int(table.start[at]))}): {reason}"
            raise DataError(message)
    return table


def _starts(path: Path, column: Any, pl: Any) -> Int64:
    """A column of times as UTC ns."""
    if column.null_count():
        message = f"{path}: the column {column.name!r} has rows without a time"
        raise DataError(message)
    if column.dtype == pl.Date:
        return np.asarray(column.cast(pl.Int64).to_numpy() * NS_PER_DAY, dtype=np.int64)
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is None:
            message = f"{path}: the times in {column.name!r} have no time zone, so they name no moments; expected UTC"
            raise DataError(message)
        return np.asarray(column.dt.cast_time_unit("ns").to_physical().to_numpy(), dtype=np.int64)
    if column.dtype.is_integer():
        values = column.cast(pl.Int64).to_numpy()
        largest = int(np.abs(values).max(initial=0))
        unit = next(
            ns
            for limit, ns in ((10**11, NS_PER_SECOND), (10**14, NS_PER_MS), (10**17, NS_PER_US), (2**63, 1))
            if largest < limit
        )
        return np.asarray(values * unit, dtype=np.int64)
    message = f"{path}: the column {column.name!r} ({column.dtype}) holds no times; expected times in UTC or integers since 1970"
    raise DataError(message)


def _smallest_step(path: Path, symbol: str, table: BarTable) -> Timeframe:
    if table.rows < 2:
        message = f"{path}: one bar of {symbol} alone does not tell how long it is; expected --timeframe"
        raise ConfigurationError(message)
    step = int(np.diff(table.start).min())
    # Midnights of New York are 23 hours apart once a year.
    return timeframe_of(NS_PER_DAY if step >= NS_PER_DAY - NS_PER_DAY // 24 and step < NS_PER_DAY else step)


# ------------------------------------------------------------------------------------- LEAN


def _import_lean(
    catalog: Catalog, path: Path, symbols: Sequence[str], *, mix: bool, on_file: Progress
) -> Iterator[Imported]:
    files = [file for file in lean.find_files(path) if not symbols or file.key.symbol in symbols]
    if not files:
        message = f"{path}: there are no LEAN files of {', '.join(symbols)}"
        raise DataError(message)
    for file in files:
        on_file(file.path.name)
        found = lean.read_file(file)
        shelf = catalog.shelf(file.key)
        check_source(shelf, LEAN, mix=mix)
        if file.day is None:
            if found.bars is not None and found.bars.rows:
                yield _store(catalog, file.key, found.bars, LEAN, mix=mix)
            elif found.quotes:
                for part in dict.fromkeys(file.key.part_of(quote.ts - 1) for quote in found.quotes):
                    mine = [quote for quote in found.quotes if file.key.part_of(quote.ts - 1) == part]
                    shelf.write(part, parquet.quote_frame(mine), until=mine[-1].ts, source=LEAN)
                    yield Imported(file.key, 1, len(mine))
            continue
        part = file.day.isoformat()
        if found.bars is not None:
            frame = parquet.bar_frame(found.bars)
        elif file.key.kind == TRADES:
            frame = parquet.trade_frame(found.trades)
        else:
            frame = parquet.quote_frame(found.quotes)
        shelf.write(part, frame, until=file.key.bounds(part)[1], source=LEAN)
        yield Imported(file.key, 1, frame.height, found.suspicious)


def total(imported: Iterable[Imported]) -> list[Imported]:
    """One line a shelf."""
    sums: dict[Key, Imported] = {}
    for one in imported:
        before = sums.get(one.key, Imported(one.key, 0, 0))
        sums[one.key] = Imported(
            one.key, before.parts + one.parts, before.rows + one.rows, before.left_out + one.left_out
        )
    return list(sums.values())
