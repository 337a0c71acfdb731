"""Recorded quotes and trades from CSV files, plain or gzipped, and the market that they make.

A file of quotes has the header ``ts,symbol,bid,bid_size,ask,ask_size``, one of trades ``ts,symbol,price,size``, the
names in any order. ``ts`` is RFC 3339 with an offset or an integer of nanoseconds since the epoch. Symbols may be mixed;
each one's rows are in order of time. Prices are positive, a bid is not above its ask; a quote may have the size 0, a trade
not. Everything else is an error that names file, line and column.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from holdfast.data.aggregate import bars_from_trades
from holdfast.data.csv import read_bytes
from holdfast.model.errors import DataError
from holdfast.model.market import Trade
from holdfast.model.series import BarSeries
from holdfast.model.ticks import QuoteColumns, RecordedTicks, TradeColumns
from holdfast.model.timestamps import NS_PER_MINUTE, format_rfc3339, parse_rfc3339

QUOTE_COLUMNS: Final = ("ts", "symbol", "bid", "bid_size", "ask", "ask_size")
TRADE_COLUMNS: Final = ("ts", "symbol", "price", "size")

_SYMBOL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9]+)?")
_NANOSECONDS: Final = re.compile("[0-9]{17,19}")
_NS_LIMIT: Final = 2**63 - 1


def read_quotes(path: str | os.PathLike[str]) -> dict[str, QuoteColumns]:
    """The quotes of a file, by symbol.

    Raises:
        DataError: The file cannot be read, or a line is wrong: names file, line, column, and what was expected.
    """
    found = {}
    for symbol, (times, bid, bid_size, ask, ask_size) in _read(Path(path), QUOTE_COLUMNS, _check_quote).items():
        found[symbol] = QuoteColumns(np.array(times, dtype=np.int64), *map(np.array, (bid, bid_size, ask, ask_size)))
    return found


def read_trades(path: str | os.PathLike[str]) -> dict[str, TradeColumns]:
    """The trades of a file, by symbol. Raises as ``read_quotes``."""
    found = {}
    for symbol, (times, price, size) in _read(Path(path), TRADE_COLUMNS, _check_trade).items():
        found[symbol] = TradeColumns(np.array(times, dtype=np.int64), np.array(price), np.array(size))
    return found


def recorded_market(
    series: Mapping[str, BarSeries], quotes: Mapping[str, QuoteColumns], trades: Mapping[str, TradeColumns]
) -> tuple[dict[str, BarSeries], dict[str, RecordedTicks]]:
    """Bars and ticks of a market of which quotes and trades are recorded. Where no bars are given the trades make them.

    Raises:
        DataError: Of a symbol there are quotes, and neither bars nor trades.
    """
    bars, ticks = dict(series), {}
    for symbol in [*quotes, *(name for name in trades if name not in quotes)]:
        ticks[symbol] = RecordedTicks(quotes.get(symbol), trades.get(symbol))
        if symbol in bars:
            continue
        if symbol not in trades:
            message = f"there are quotes of {symbol}, and neither bars nor trades of it: expected one of them"
            raise DataError(message)
        bars[symbol] = minute_bars(symbol, trades[symbol], quotes.get(symbol))
    return bars, ticks


def minute_bars(symbol: str, trades: TradeColumns, quotes: QuoteColumns | None = None) -> BarSeries:
    """The minute bars of some trades. A later minute with quotes alone is a bar without volume, at the last price."""
    columns = (column.tolist() for column in trades)
    table = bars_from_trades((Trade(ts, symbol, price, size) for ts, price, size in zip(*columns, strict=True)), symbol)
    quoted = np.zeros(0, dtype=np.int64) if quotes is None else np.unique(quotes.ts // NS_PER_MINUTE * NS_PER_MINUTE)
    starts = np.union1d(table.start, quoted[quoted > table.start[0]])
    rows = table.start.searchsorted(starts, side="right") - 1
    has_traded = table.start[rows] == starts
    opens, highs, lows, closes = (
        np.where(has_traded, column[rows], table.close[rows])
        for column in (table.open, table.high, table.low, table.close)
    )
    volume = np.where(has_traded, table.volume[rows], 0.0)
    return BarSeries(symbol, NS_PER_MINUTE, starts + NS_PER_MINUTE, opens, highs, lows, closes, volume)


# --- Files -----------------------------------------------------------------------------------------------------

#: Checks the numbers of a row; gives the column that is wrong and what was expected.
_Check = Callable[[list[float]], tuple[str, str] | None]


def _check_quote(numbers: list[float]) -> tuple[str, str] | None:
    bid, bid_size, ask, ask_size = numbers
    for name, price in (("bid", bid), ("ask", ask)):
        if price <= 0:
            return name, "a price above 0"
    for name, size in (("bid_size", bid_size), ("ask_size", ask_size)):
        if size < 0:
            return name, "a size of 0 or more"
    return ("bid", f"a bid that is not above the ask of {ask:g}") if bid > ask else None


def _check_trade(numbers: list[float]) -> tuple[str, str] | None:
    for name, number in zip(("price", "size"), numbers, strict=True):
        if number <= 0:
            return name, f"a {name} above 0"
    return None


def _read(path: Path, columns: tuple[str, ...], check: _Check) -> dict[str, list[list[float]]]:
    """By symbol: its columns without the symbol; the first holds whole numbers."""
    found: dict[str, list[list[float]]] = {}
    for line, row in _rows(path, columns):
        where = f"{path}, line {line}"
        ts, symbol = _time(where, row["ts"]), row["symbol"]
        if _SYMBOL.fullmatch(symbol) is None:
            _refuse(where, "symbol", symbol, "one like SPY, BRK.B or BTC/USD")
        numbers = [_number(where, name, row[name]) for name in columns[2:]]
        complaint = check(numbers)
        if complaint is not None:
            _refuse(where, complaint[0], row[complaint[0]], complaint[1])
        kept = found.setdefault(symbol, [[] for _ in columns[1:]])
        if kept[0] and ts < kept[0][-1]:
            before = format_rfc3339(int(kept[0][-1]))
            _refuse(where, "ts", row["ts"], f"a time not before that of the row of {symbol} before it, {before}")
        for column, value in zip(kept, (ts, *numbers), strict=True):
            column.append(value)
    if not found:
        message = f"{path}: there are no rows after the header"
        raise DataError(message)
    return found


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    expected = ",".join(columns)
    try:
        text = read_bytes(path, expected).decode()
    except UnicodeDecodeError:
        message = f"{path}: is no text; expected a CSV file with the header {expected}"
        raise DataError(message) from None
    reader = csv.reader(text.splitlines())
    names = [name.strip().lower() for name in next(reader)]
    if sorted(names) != sorted(columns):
        shown = ",".join(names)[:80]
        message = f"{path}, line 1: the header is {shown!r}; expected the columns {expected}, in any order"
        raise DataError(message)
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(names):
            message = f"{path}, line {reader.line_num}: {len(fields)} columns; expected {len(names)}: {','.join(names)}"
            raise DataError(message)
        yield reader.line_num, dict(zip(names, (field.strip() for field in fields), strict=True))


def _time(where: str, text: str) -> int:
    if _NANOSECONDS.fullmatch(text) and int(text) <= _NS_LIMIT:
        return int(text)
    try:
        return parse_rfc3339(text)
    except (DataError, ValueError, OverflowError):
        _refuse(where, "ts", text, "nanoseconds since the epoch, or a time like 2024-01-02T14:30:00.5Z")


def _number(where: str, name: str, text: str) -> float:
    try:
        number = float(text) if "_" not in text else math.nan  # Python alone reads 1_000
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        _refuse(where, name, text, "a number")
    return number


def _refuse(where: str, column: str, text: str, expected: str) -> NoReturn:
    message = f"{where}, column {column}: {text[:40]!r}; expected {expected}"
    raise DataError(message)
