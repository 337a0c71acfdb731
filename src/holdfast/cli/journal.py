"""The work behind ``holdfast journal ...``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import typer

from holdfast.cli.journal_export import export_tables
from holdfast.journal import JournalReader, copies, read_owner
from holdfast.journal.inspection import Contents, inspect
from holdfast.journal.inspection import verify as verify_contents
from holdfast.journal.places import to_place
from holdfast.model.timestamps import format_rfc3339


def verify(where: str, *, as_json: bool) -> None:
    """Say that a journal is whole.

    Raises:
        JournalError: It is not; names the place.
    """
    with JournalReader(where) as journal:
        found = verify_contents(journal)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    runs, kept = _many(len(found.epochs), "run"), _many(len(found.snapshots), "snapshot")
    typer.echo(f"{found.name} is whole: {_many(found.records, 'record')}, {runs}, {kept}, form {found.form}")
    if found.torn:
        typer.echo(f"{_many(found.torn, 'torn record')} cut off earlier and put aside")


def stats(where: str, *, as_json: bool) -> None:
    """Show what a journal holds.

    Raises:
        JournalError: It cannot be read; names the place.
    """
    with JournalReader(where) as journal:
        found = inspect(journal)
    owner = read_owner(where)
    if as_json:
        said = {**msgspec.to_builtins(found), "owner": msgspec.to_builtins(owner)}
        typer.echo(msgspec.json.encode(said).decode())
        return
    rows = [
        ("journal", found.name),
        ("id", found.journal_id),
        ("owner", "none" if owner is None else str(owner)),
        ("form", str(found.form)),
        ("size", f"{found.size:,} bytes"),
        ("records", f"{found.records:,}"),
        *((f"  {name}", f"{kind.records:,} ({kind.bytes:,} bytes)") for name, kind in found.kinds.items()),
        ("from", _moment(found.first_at)),
        ("to", _moment(found.last_at)),
        ("orders", f"{found.orders:,}"),
        ("fills", f"{found.fills:,}"),
        ("verdicts", f"{found.verdicts_approved:,} approved, {found.verdicts_blocked:,} blocked"),
        ("runs", f"{len(found.epochs):,}"),
        *_runs(found),
        ("snapshots", f"{len(found.snapshots):,}"),
        *_snapshots(found),
        ("torn", f"{found.torn:,} cut off and put aside"),
        ("events", ""),
        *((f"  {name}", f"{count:,}") for name, count in found.events.items()),
        ("commands", ""),
        *((f"  {name}", f"{count:,}") for name, count in found.commands.items()),
    ]
    for name, value in rows:
        typer.echo(f"{name:<22}{value}".rstrip())


def export(where: str, folder: Path, form: str, tables: Sequence[str]) -> None:
    """Write tables for research.

    Raises:
        JournalError: The journal cannot be read.
        ConfigurationError: The folder cannot be written, or what writes the format is not installed.
    """
    with JournalReader(where) as journal:
        for path, count in export_tables(journal, folder, form, tables):
            typer.echo(f"{path}: {_many(count, 'row')}")


def backup(where: str, target: Path) -> None:
    """Copy a journal into a file.

    Raises:
        JournalError: It cannot be read, or the target exists.
    """
    count = copies.backup(where, target)
    typer.echo(f"{target}: {_many(count, 'record')}, verified")


def restore(source: str, target: str, until: int | None) -> None:
    """Make a journal of a backup.

    Raises:
        JournalError: The backup is damaged, or there is something at the target.
    """
    count = copies.restore(source, target, until)
    typer.echo(f"{to_place(target)}: {_many(count, 'record')}; the next run sends orders under ids of its own")


def _runs(found: Contents) -> list[tuple[str, str]]:
    return [
        (f"  {run.epoch}", f"{_moment(run.started_at)}, Holdfast {run.code}, {run.strategy or 'no strategy'}")
        for run in found.epochs
    ]


def _snapshots(found: Contents) -> list[tuple[str, str]]:
    return [
        (f"  after {kept.seq}", kept.fault or f"{_moment(kept.at)}, {kept.bytes:,} bytes, Holdfast {kept.code}")
        for kept in found.snapshots
    ]


def _moment(ns: int | None) -> str:
    return "-" if ns is None else format_rfc3339(ns)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
