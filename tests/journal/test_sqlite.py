"""The journal in a file: what it does when bytes, disks and processes fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.journal import SqliteJournal
from holdfast.journal.sqlite_store import SqliteStore
from holdfast.model.errors import JournalError
from holdfast.model.events import TimerFired
from holdfast.testing import FaultyJournal

_OWNER = Path(__file__).with_name("owner.py")
_NOBODY = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "bot.journal"


def timer(number: int) -> TimerFired:
    """A small event."""
    return TimerFired(ts=number, name=f"timer {number}")


async def written(path: Path, count: int) -> None:
    """A journal with so many events, closed."""
    journal = SqliteJournal(path)
    for number in range(1, count + 1):
        journal.append_event(timer(number))
    await journal.sync()
    journal.close()


def edit(path: Path, statement: str) -> None:
    """Do to the file what nobody should."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(statement)
        db.commit()


def writing(journal: SqliteJournal) -> sqlite3.Connection:
    """The connection that writes."""
    store = journal._store
    assert isinstance(store, SqliteStore)
    return store._db


##### What is refused at the door


async def test_a_newer_form_is_refused(path: Path) -> None:
    """Not misread; and the refused file stays usable by who can read it."""
    await written(path, 1)
    edit(path, "UPDATE meta SET value = '3' WHERE key = 'form'")

    for _ in range(2):  # the second time shows that the first let go of the lock
        with pytest.raises(JournalError, match="form 3; this version of Holdfast reads up to form 2"):
            SqliteJournal(path)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE other (x)",
        "CREATE TABLE meta (key, value)",
    ],
)
def test_another_database_is_no_journal(path: Path, statement: str) -> None:
    """Somebody else's SQLite file is told apart, and left as it is."""
    edit(path, statement)
    if "meta" in statement:
        edit(path, "CREATE TABLE records (x)")
    before = path.read_bytes()

    with pytest.raises(JournalError, match="is an SQLite file but no journal of Holdfast"):
        SqliteJournal(path)
    assert path.read_bytes() == before


def test_another_file_is_no_journal(path: Path) -> None:
    """A file that is not even a database: one sentence, and the file is left as it is."""
    text = b"timestamp,open,high,low,close,volume\n" * 100
    path.write_bytes(text)

    with pytest.raises(JournalError, match="cannot be used as a journal: file is not a database"):
        SqliteJournal(path)
    assert path.read_bytes() == text


def test_a_missing_folder_is_one_sentence(path: Path) -> None:
    """It is not made: a mistyped path should not start an empty journal somewhere."""
    with pytest.raises(JournalError, match="cannot be opened: No such file or directory"):
        SqliteJournal(path / "nowhere" / "bot.journal")


@contextlib.contextmanager
def no_privileges() -> Iterator[None]:
    """Without the rights of root, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_is_one_sentence(path: Path) -> None:
    """Nothing can be written there, so there is no journal."""
    path.parent.chmod(0o555)
    try:
        with no_privileges(), pytest.raises(JournalError, match="cannot be opened: Permission denied"):
            SqliteJournal(path)
    finally:
        path.parent.chmod(0o755)


def test_a_read_only_file_is_refused_at_once() -> None:
    """Not at the first order, when it would be too late to do anything else."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "bot.journal"
        asyncio.run(written(path, 2))
        folder.chmod(0o777)
        path.chmod(0o444)
        path.with_name(path.name + ".lock").chmod(0o666)

        with no_privileges(), pytest.raises(JournalError, match=r"cannot be used as a journal: .*(readonly|unable)"):
            SqliteJournal(path)


##### Failure while running


async def test_a_full_disk_fails_the_sync_and_everything_after_it(path: Path) -> None:
    """Nothing is built on records that are not durable; those before are all there for the next run."""
    journal = SqliteJournal(path)
    journal.append_event(timer(1))
    await journal.sync()
    pages = writing(journal).execute("PRAGMA page_count").fetchone()[0]
    writing(journal).execute(f"PRAGMA max_page_count = {pages}")
    for number in range(2, 2_000):
        journal.append_event(timer(number))

    with pytest.raises(JournalError, match="could not be written: database or disk is full"):
        await journal.sync()
    with pytest.raises(JournalError, match="disk is full"):
        journal.append_event(timer(2_000))
    with pytest.raises(JournalError, match="disk is full"):
        await journal.sync()
    assert [record.content for record in journal.records()] == [timer(1)]
    with pytest.raises(JournalError, match="disk is full"):
        journal.close()

    again = SqliteJournal(path)
    assert [record.content for record in again.records()] == [timer(1)]
    again.close()


async def test_a_table_that_is_gone_fails_the_sync(path: Path) -> None:
    """Any error of the database is an error of the journal, and final."""
    journal = SqliteJournal(path)
    edit(path, "DROP TABLE records")
    journal.append_event(timer(1))

    with pytest.raises(JournalError, match="could not be written"):
        await journal.sync()
    with pytest.raises(JournalError, match="could not be written"):
        journal.append_commands(())
    with pytest.raises(JournalError, match="could not be written"):
        journal.close()


async def test_a_sync_that_nobody_waits_for_any_more_still_happens(path: Path) -> None:
    """Cancelling who waits may not tear a gap into the sequence."""
    journal = SqliteJournal(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # the writer thread now waits, with whatever it is given
    journal.append_event(timer(1))
    first = asyncio.ensure_future(journal.sync())
    await asyncio.sleep(0)
    journal.append_event(timer(2))
    second = asyncio.ensure_future(journal.sync())
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert second.cancelled()
    blocker.execute("ROLLBACK")
    blocker.close()
    await first

    journal.append_event(timer(3))
    await journal.sync()

    assert [record.seq for record in journal.records()] == [1, 2, 3]
    journal.close()


async def test_concurrent_syncs_are_one_order(path: Path) -> None:
    """Each returns only when what was appended before it is durable, also where an earlier one carries it."""
    journal = SqliteJournal(path)
    reader = sqlite3.connect(path)

    async def append_and_sync(number: int) -> int:
        journal.append_event(timer(number))
        await journal.sync()
        count: int = reader.execute("SELECT count(*) FROM records WHERE seq <= ?", (number,)).fetchone()[0]
        return count

    async def only_sync() -> None:
        await journal.sync()

    counts = await asyncio.gather(*(append_and_sync(number) for number in range(1, 21)), only_sync())

    assert counts[:-1] == list(range(1, 21))
    assert journal.buffered == 0
    reader.close()
    journal.close()


async def test_close_flushes(path: Path) -> None:
    """An orderly end loses nothing."""
    journal = SqliteJournal(path)
    journal.append_event(timer(1))
    assert journal.buffered == 1
    journal.close()

    again = SqliteJournal(path)
    assert [record.content for record in again.records()] == [timer(1)]
    again.close()


async def test_commits_are_durable_ones(path: Path) -> None:
    """Write-ahead log, and a flush at every commit: this is what a sync promises."""
    journal = SqliteJournal(path)

    assert writing(journal).execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert writing(journal).execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    journal.close()


##### The fakes


async def test_a_crash_loses_exactly_what_was_not_synced() -> None:
    """And the crashed journal takes nothing more."""
    journal = FaultyJournal()
    journal.append_event(timer(1))
    await journal.sync()
    journal.append_event(timer(2))
    assert journal.unsynced == 1

    after = journal.crash()

    assert [record.content for record in after.records()] == [timer(1)]
    assert after.journal_id == journal.journal_id
    with pytest.raises(JournalError, match="crashed"):
        journal.append_event(timer(3))
