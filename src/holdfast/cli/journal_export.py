"""Orders, fills, trades and verdicts of a journal as tables, in CSV or Parquet.

Verdicts stand in the records. Orders, fills and trades are what the kernel made of them: a kernel without
strategies follows the journal, as a restart does, and its recorded decisions are enacted; so a fill that came twice is one
here too, and a trade is matched as it was.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.di.assembly import make_kernel
from holdfast.di.config import build
from holdfast.journal import EpochRecord, JournalReader
from holdfast.kernel import Kernel
from holdfast.model import Verdict
from holdfast.model.commands import Command, RecordVerdict
from holdfast.model.decimals import EXACT, plain
from holdfast.model.errors import ConfigurationError
from holdfast.model.events import Event
from holdfast.model.timestamps import format_rfc3339

TEXT, TIME, AMOUNT, FLAG = "text", "time", "amount", "flag"
# What Parquet's decimals hold; no price, quantity or coin fee at Alpaca has more than nine places.
_PLACES = 12
_SMALLEST = Decimal(1).scaleb(-_PLACES)


class Column(NamedTuple):
    """One column: what of a thing, and as what."""

    name: str
    kind: str
    get: Callable[[Any], Any]


def _own(kind: str, *names: str) -> list[Column]:
    return [Column(name, kind, attrgetter(name)) for name in names]


def _of_signal(kind: str, *names: str) -> list[Column]:
    return [Column(name, kind, attrgetter(f"signal.{name}")) for name in names]


COLUMNS: dict[str, list[Column]] = {
    "orders": [
        *_own(TIME, "created_at"),
        *_own(TEXT, "client_order_id", "broker_id", "symbol", "side"),
        *_own(AMOUNT, "quantity"),
        *_own(TEXT, "order_type", "time_in_force"),
        *_own(AMOUNT, "limit_price"),
        *_own(TEXT, "status"),
        *_own(AMOUNT, "filled_quantity", "average_price"),
        *_own(FLAG, "reduce_only"),
        *_own(TEXT, "strategy_id", "reason", "evidence"),
    ],
    "fills": [
        *_own(TIME, "at"),
        *_own(TEXT, "execution_id", "client_order_id", "broker_id", "symbol", "side"),
        *_own(AMOUNT, "quantity", "price", "cum_qty"),
    ],
    "trades": [
        *_own(TIME, "opened_at", "closed_at"),
        *_own(TEXT, "symbol", "side"),
        *_own(AMOUNT, "quantity", "entry_price", "exit_price", "profit", "fees"),
        *_own(TEXT, "exit_reason"),
    ],
    "verdicts": [
        *_own(TIME, "ts"),
        *_of_signal(TEXT, "symbol", "side"),
        *_of_signal(AMOUNT, "quantity", "price"),
        *_of_signal(FLAG, "reduce_only"),
        *_of_signal(TEXT, "strategy_id"),
        Column("signal_reason", TEXT, lambda verdict: verdict.signal.reason),
        *_own(FLAG, "approved"),
        *_own(TEXT, "stage", "guard", "reason", "client_order_id"),
        Column("observed", TEXT, lambda verdict: "; ".join(verdict.observed)),
    ],
}


def export_tables(journal: JournalReader, folder: Path, form: str, tables: Sequence[str]) -> Iterator[tuple[Path, int]]:
    """Write the tables, one file each; yields each file with its rows.

    Raises:
        JournalError: The journal cannot be read.
        ConfigurationError: The folder cannot be written, or what writes the format is not installed.
    """
    write = _write_csv if form == "csv" else _parquet_writer()
    found = _gather(journal, tables)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            path = folder / f"{table}.{form}"
            write(path, COLUMNS[table], found[table])
            yield path, len(found[table])
    except OSError as error:
        message = f"nothing can be exported to {folder}: {error.strerror}"
        raise ConfigurationError(message) from None


def _gather(journal: JournalReader, tables: Sequence[str]) -> dict[str, list[Any]]:
    kernel = make_kernel(build({}), ())
    verdicts: list[Verdict] = []
    rebuild = set(tables) != {"verdicts"}
    for event, commands in _steps(journal):
        verdicts += [command.verdict for command in commands if isinstance(command, RecordVerdict)]
        if rebuild:
            kernel.follow(event, commands)
    return {**_books(kernel), "verdicts": verdicts}


def _books(kernel: Kernel) -> dict[str, list[Any]]:
    orders = list(kernel.portfolio.tracker.orders())
    fills = [execution for order in orders for execution in order.executions]
    return {
        "orders": orders,
        "fills": sorted(fills, key=lambda fill: fill.at),
        "trades": list(kernel.portfolio.positions.closed_trades),
    }


def _steps(journal: JournalReader) -> Iterator[tuple[Event, tuple[Command, ...]]]:
    """Each event with the commands that were given then."""
    waiting: Event | None = None
    for record in journal.records():
        content = record.content
        if isinstance(content, tuple):
            if waiting is not None:
                yield waiting, content
            waiting = None
            continue
        if waiting is not None:
            yield waiting, ()
        waiting = None if isinstance(content, EpochRecord) else content
    if waiting is not None:
        yield waiting, ()


# -- formats ------------------------------------------------------------------------------------


def _write_csv(path: Path, columns: Sequence[Column], things: Iterable[Any]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in columns])
        for thing in things:
            writer.writerow([_as_text(column.kind, column.get(thing)) for column in columns])


def _as_text(kind: str, value: Any) -> str:
    if value is None:
        return ""
    if kind == TIME:
        return format_rfc3339(value)
    if kind == AMOUNT:
        return plain(value)
    if kind == FLAG:
        return "true" if value else "false"
    return str(value)


def _parquet_writer() -> Callable[[Path, Sequence[Column], Iterable[Any]], None]:
    try:
        import polars as pl  # noqa: PLC0415 - an extra, and large
    except ImportError:
        message = "Parquet files need polars: expected pip install 'holdfast[parquet]', or --format csv"
        raise ConfigurationError(message) from None
    types = {
        TEXT: pl.String(),
        TIME: pl.Datetime("ns", "UTC"),
        AMOUNT: pl.Decimal(38, _PLACES),
        FLAG: pl.Boolean(),
    }

    def write(path: Path, columns: Sequence[Column], things: Iterable[Any]) -> None:
        rows = list(things)
        data = {column.name: [_as_value(column.kind, column.get(thing)) for thing in rows] for column in columns}
        schema = {column.name: types[column.kind] for column in columns}
        pl.DataFrame(data, schema=schema).write_parquet(path)

    return write


def _as_value(kind: str, value: Any) -> Any:
    if value is None or kind in (TIME, FLAG):
        return value
    if kind == AMOUNT:
        return value.quantize(_SMALLEST, context=EXACT)
    return str(value)
