"""Whatever a disk does, what a sync promised is there afterwards, in order, and nothing else than a prefix."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from random import Random  # noqa: TID251 - seeded, and printed with each complaint

import pytest

from holdfast.journal import SqliteJournal
from holdfast.journal.sqlite_store import SqliteStore
from holdfast.model.errors import JournalError
from holdfast.model.events import Event, TimerFired
from tests.journal.disk import FULL, IOERR_FSYNC, IOERR_WRITE, Disk

# Enough for the log to be merged into the file, and begun anew, more than once.
_SYNCS, _CHECKPOINT_PAGES = 60, 40


def event(number: int) -> Event:
    """Some are small, some span pages."""
    return TimerFired(ts=number, name=f"{number} " + "x" * (number * 37 % 6_000))


async def work(journal: SqliteJournal, disk: Disk | None = None, syncs: int = _SYNCS) -> int:
    """Append and sync; tell the disk what was promised. Returns how many records were appended."""
    number = journal.last_seq
    for turn in range(syncs):
        for _ in range(turn % 4 + 1):
            number += 1
            journal.append_event(event(number))
        await journal.sync()
        if disk is not None:
            disk.mark(number)
    return number


async def recorded(folder: Path, synchronous: str = "FULL") -> tuple[Disk, int]:
    """A journal's life on a disk that keeps account, after a first part that is safely there."""
    path = folder / "bot.journal"
    journal = SqliteJournal(path)
    journal.append_event(event(1))
    journal.close()
    disk = Disk(folder)
    with disk.beneath():
        journal = SqliteJournal(path)
        store = journal._store
        assert isinstance(store, SqliteStore)
        store._db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        store._db.execute(f"PRAGMA synchronous={synchronous}")
        appended = await work(journal, disk)
        journal.close()
    return disk, appended


def complaints(disk: Disk, appended: int, moment: int, seed: int, place: Path) -> list[str]:
    """What is wrong with the journal after the power was cut at that moment."""
    place.mkdir()
    disk.lose_power(moment, seed, place)
    promised = max(disk.promised(moment), 1)
    try:
        with contextlib.closing(SqliteJournal(place / "bot.journal")) as journal:
            found = [record.content for record in journal.records()]
            if journal.reports:
                return [f"moment {moment}, seed {seed}: {journal.reports}"]
    except JournalError as error:
        return [f"moment {moment}, seed {seed}: {error}"]
    if found != [event(number) for number in range(1, len(found) + 1)]:
        return [f"moment {moment}, seed {seed}: what is there is no prefix"]
    if not promised <= len(found) <= appended:
        return [f"moment {moment}, seed {seed}: {len(found)} records are there, {promised} were promised"]
    return []


async def test_a_power_cut_at_any_moment_keeps_every_promise(tmp_path: Path) -> None:
    """Two hundred moments, chosen by a seed, with another accident each."""
    folder = tmp_path / "disk"
    folder.mkdir()
    disk, appended = await recorded(folder)
    kinds = {one.kind for one in disk.log}
    chance = Random(20)  # noqa: S311 - a seeded choice

    found = []
    for number in range(200):
        moment = chance.randrange(len(disk.log) + 1)
        found += complaints(disk, appended, moment, number, tmp_path / f"after-{number}")

    assert found == []
    assert kinds >= {"write", "sync", "mark"}
    assert any(one.kind == "write" and one.path == "bot.journal" for one in disk.log)  # the log was merged meanwhile
    assert disk.promised(len(disk.log)) == appended


async def test_canary_a_journal_that_does_not_flush_is_caught(tmp_path: Path) -> None:
    """The same checker, over a journal that confirms before it is on the disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    disk, appended = await recorded(folder, synchronous="OFF")
    chance = Random(20)  # noqa: S311 - a seeded choice

    caught = [
        complaint
        for number in range(20)
        for complaint in complaints(
            disk, appended, chance.randrange(len(disk.log) + 1), number, tmp_path / f"after-{number}"
        )
    ]

    assert caught


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("write", IOERR_WRITE, "disk I/O error"),
        ("write", FULL, "database or disk is full"),
        ("sync", IOERR_FSYNC, "disk I/O error"),
    ],
)
async def test_an_operation_that_fails_stops_the_journal(tmp_path: Path, kind: str, code: int, said: str) -> None:
    """At many places in its life: one sentence, for good; and everything that was promised is there for the next run."""
    chance = Random(code)  # noqa: S311 - a seeded choice
    for attempt in range(12):
        folder = tmp_path / f"{attempt}"
        folder.mkdir()
        path = folder / "bot.journal"
        SqliteJournal(path).close()
        disk = Disk(folder)
        fails_at = chance.randrange(8, 120)
        disk.fault = _from(kind, fails_at, code)
        with disk.beneath():
            journal = SqliteJournal(path)
            _merge_often(journal)
            error = await _until_it_fails(journal, disk)
            with contextlib.suppress(JournalError):
                journal.close()
        assert said in str(error)
        assert "trading stops, nothing unsynced was sent" in str(error)

        again = SqliteJournal(path)
        found = [record.content for record in again.records()]
        assert found == [event(number) for number in range(1, len(found) + 1)], f"{kind} {fails_at}"
        assert len(found) >= disk.promised(len(disk.log)), f"{kind} {fails_at}"
        assert again.reports == ()
        await work(again)
        again.close()


def _from(kind: str, number: int, code: int) -> Callable[[str, int], int]:
    """Every operation of a kind fails, from one on: a disk that is full stays full."""
    return lambda what, count: code if what == kind and count >= number else 0


def _merge_often(journal: SqliteJournal) -> None:
    store = journal._store
    assert isinstance(store, SqliteStore)
    store._db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")


async def _until_it_fails(journal: SqliteJournal, disk: Disk) -> JournalError:
    with pytest.raises(JournalError) as met:
        await work(journal, disk, syncs=5_000)
    with pytest.raises(JournalError):
        journal.append_event(event(1))
    with pytest.raises(JournalError):
        await journal.sync()
    return met.value
