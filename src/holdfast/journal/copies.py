"""Backup and restore: a journal copied record by record, or as a file, and verified on the way.

A backup is an SQLite journal in one file, whatever it was taken from: the form is one. A restored journal has the old
one's id and records; its next run gets a part of its own into the client order ids, as every run does, so
that nothing it sends can have an id that the old journal has used since.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from holdfast.journal.inspection import verify
from holdfast.journal.log import SNAPSHOTS_KEPT
from holdfast.journal.owner import FileOwnership, lock_path
from holdfast.journal.places import DatabaseUrl, to_place
from holdfast.journal.reader import JournalReader
from holdfast.journal.rows import Row, open_snapshot, seal, seal_snapshot, seed
from holdfast.journal.sqlite_store import SqliteStore
from holdfast.journal.store import Store, all_records, chain_at
from holdfast.model.errors import JournalDamagedError, JournalError

_BATCH = 2_000


def backup(source: str | Path | DatabaseUrl, target: Path) -> int:
    """Copy a journal as it is at one moment, also while its bot runs; returns how many records the copy has.

    Raises:
        JournalError: There is something at the target, or the journal is damaged (and then nothing is left behind).
    """
    with JournalReader(source) as journal, _beside(target) as unfinished:
        if isinstance(journal.store, SqliteStore):
            journal.store.copy_to(unfinished)
        else:
            _fill_file(journal, unfinished, None)
        with JournalReader(unfinished) as copy:
            return verify(copy).records


def restore(source: str | Path | DatabaseUrl, target: str | Path | DatabaseUrl, until: int | None = None) -> int:
    """Make a journal of a backup (or of any other journal); returns how many records it has.

    Args:
        source: What to read.
        target: Where nothing is yet: a file, or a schema of a PostgreSQL database.
        until: The last record to take; default: all. For what comes before a damage.

    Raises:
        JournalError: There is something at the target, or the source is damaged before that record.
    """
    place = to_place(target)
    with JournalReader(source) as journal:
        if until is not None and not 0 < until <= journal.last_seq:
            message = f"{journal.name} has no record {until}: expected 1 to {journal.last_seq}"
            raise JournalError(message)
        try:
            if isinstance(place, DatabaseUrl):
                return _fill_database(journal, place, until)
            with _beside(place) as unfinished:
                return _fill_file(journal, unfinished, until)
        except JournalDamagedError as error:
            hint = f"; --until {error.seq - 1} takes what comes before" if error.seq > 1 else ""
            message = f"{error}{hint}"
            raise JournalDamagedError(message, error.seq, error.kind, error.reason) from None


# -- targets ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A name beside the target to write to; it becomes the target at the end, or nothing is left."""
    _refuse_existing(target)
    unfinished = Path(f"{target}.unfinished")
    traces = [Path(f"{unfinished}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")]
    traces.append(lock_path(unfinished))
    for trace in traces:
        trace.unlink(missing_ok=True)  # of a copy that was interrupted
    try:
        yield unfinished
        _refuse_existing(target)
        unfinished.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        message = f"{target} cannot be written: {error.strerror}"
        raise JournalError(message) from None
    finally:
        for trace in traces:
            with contextlib.suppress(OSError):
                trace.unlink(missing_ok=True)


def _refuse_existing(target: Path) -> None:
    for path in (target, Path(f"{target}-wal")):
        if path.exists():
            message = f"{path} exists, and nothing is overwritten: expected a name that is free"
            raise JournalError(message)


def _flush_folder(folder: Path) -> None:
    """Make the new name as durable as the file; where the system cannot, the file is there all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _fill_file(journal: JournalReader, path: Path, until: int | None) -> int:
    ownership = FileOwnership(path)
    try:
        store = SqliteStore(path, ownership, journal.journal_id)
    except BaseException:
        ownership.release()
        raise
    try:
        store.open()
        count = _copy(journal, store, until)
        store.merge()
        return count
    finally:
        store.close()


def _fill_database(journal: JournalReader, url: DatabaseUrl, until: int | None) -> int:
    from holdfast.journal.postgres_store import UNHURRIED_SECONDS, PostgresStore  # noqa: PLC0415 - the driver is an extra

    target = PostgresStore(url, journal_id=journal.journal_id, patience_seconds=UNHURRIED_SECONDS)
    with contextlib.closing(target) as store:
        if store.exists():
            message = f"there is a journal in {store.name} (schema {store.schema}), and nothing is overwritten"
            raise JournalError(message)
        with store.as_one():
            store.open()
            return _copy(journal, store, until)


# -- copying ------------------------------------------------------------------------------------


def _copy(journal: JournalReader, target: Store, until: int | None) -> int:
    """Verified records, sealed as today's form does it, which leaves the checksums of that form as they are."""
    chain, count = seed(journal.journal_id), 0
    batch: list[Row] = []
    for row, _ in all_records(journal.store, journal.head):
        chain = seal(chain, row.form, row.kind, row.payload)
        batch.append(row._replace(crc=chain))
        count = row.seq
        if len(batch) == _BATCH:
            target.write(batch)
            batch = []
        if row.seq == until:
            break  # before the next is looked at: it may be the damaged one
    if batch:
        target.write(batch)
    for seq in reversed(journal.store.snapshots()):
        kept, here = journal.store.snapshot(seq), chain_at(journal.store, seq, 0)
        if kept is not None and here is not None and seq <= count:
            with contextlib.suppress(JournalError):  # a damaged one is of no use to anybody
                target.write_snapshot(seal_snapshot(open_snapshot(kept, here), here), SNAPSHOTS_KEPT)
    return count
