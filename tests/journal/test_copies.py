"""Backup and restore: between files and PostgreSQL, while a bot writes, damaged sources, and ids that are never used again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.journal import DatabaseUrl, JournalReader, Snapshot, SqliteJournal, open_journal
from holdfast.journal.copies import backup, restore
from holdfast.model.errors import JournalDamagedError, JournalError
from holdfast.model.events import TimerFired
from holdfast.testing.journal_conformance import EPOCH
from holdfast.testing.samples import COMMANDS, EVENTS
from tests.journal.conftest import Bench, schema_name
from tests.journal.postgres import Schemas

_FORM_1 = Path(__file__).with_name("data") / "form-1.sqlite"


async def written(bench: Bench) -> str:
    """A journal with one message of every type and two snapshots; its id."""
    journal = bench.open()
    journal.append_epoch(EPOCH)
    for event in EVENTS:
        journal.append_event(event)
    journal.save_snapshot(Snapshot(seq=3, form=1, state=b"three"))
    journal.append_commands(COMMANDS)
    journal.save_snapshot(Snapshot(seq=journal.last_seq, form=1, state=b"last"))
    await journal.sync()
    journal.close()
    return journal.journal_id


def contents(where: Path | DatabaseUrl) -> list[object]:
    """What a journal holds."""
    with JournalReader(where) as journal:
        return [record.content for record in journal.records()]


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


async def test_a_journal_goes_through_a_backup_and_back(bench: Bench, schemas: Schemas, tmp_path: Path) -> None:
    """Rows for rows, checksums and snapshots among them, into a file and into a database."""
    journal_id = await written(bench)
    rows = bench.rows()

    count = backup(bench.where, tmp_path / "backup")

    targets: list[Path | DatabaseUrl] = [tmp_path / "restored.journal", schemas.url(schema_name(tmp_path / "restored"))]
    assert count == len(rows)
    assert Bench(tmp_path / "backup").rows() == rows
    for target in targets:
        assert restore(tmp_path / "backup", target) == count
        assert Bench(target).rows() == rows
        journal = open_journal(target)
        assert journal.journal_id == journal_id
        snapshot = journal.latest_snapshot()
        assert snapshot is not None
        assert (snapshot.seq, snapshot.state) == (count, b"last")
        assert [row[0] for row in Bench(target).do("SELECT seq FROM {}snapshots ORDER BY seq")] == [3, count]
        journal.append_event(TimerFired(ts=1, name="on"))
        journal.close()
        assert len(contents(target)) == count + 1
    assert not [name for name in names(tmp_path) if "unfinished" in name]


async def test_a_restored_journal_gives_out_no_id_again(bench: Bench, tmp_path: Path) -> None:
    """Its older self went on after the backup; whatever number comes next, it stands behind another part."""
    await written(bench)
    backup(bench.where, tmp_path / "backup")
    used = set()
    for _ in range(2):
        journal = bench.open()
        used.add(journal.intent_prefix)
        journal.close()
    restore(tmp_path / "backup", tmp_path / "restored.journal")
    shutil.copy(tmp_path / "backup", tmp_path / "copied.journal")  # by hand, as people do

    for name in ("restored.journal", "copied.journal"):
        journal = SqliteJournal(tmp_path / name)
        assert journal.intent_prefix not in used
        assert journal.intent_prefix.startswith(f"{journal.journal_id}-")
        used.add(journal.intent_prefix)
        journal.close()


async def test_a_backup_of_a_journal_that_is_being_written(bench: Bench, tmp_path: Path) -> None:
    """Everything that was synced is in it, and the bot goes on undisturbed."""
    journal = bench.open()
    for number in range(1, 4):
        journal.append_event(TimerFired(ts=number, name=str(number)))
    await journal.sync()
    journal.append_event(TimerFired(ts=4, name="not yet"))

    assert backup(bench.where, tmp_path / "backup") == 3

    await journal.sync()
    journal.close()
    assert len(contents(bench.where)) == 4
    assert len(contents(tmp_path / "backup")) == 3


async def test_nothing_is_overwritten(bench: Bench, schemas: Schemas, tmp_path: Path) -> None:
    """Neither by a backup nor by a restore, in a file or in a database."""
    await written(bench)
    target = tmp_path / "there"
    target.write_text("mine", encoding="ascii")
    database = Bench(schemas.url(schema_name(tmp_path / "there")))
    database.open().close()

    with pytest.raises(JournalError, match="there exists, and nothing is overwritten"):
        backup(bench.where, target)
    with pytest.raises(JournalError, match="there exists, and nothing is overwritten"):
        restore(bench.where, target)
    with pytest.raises(JournalError, match=r"there is a journal in .* and nothing is overwritten"):
        restore(bench.where, database.where)

    assert target.read_text(encoding="ascii") == "mine"
    assert database.rows() == []


async def test_a_damaged_journal_is_not_backed_up(bench: Bench, tmp_path: Path) -> None:
    """A backup that nobody can read is none; nothing of it is left."""
    await written(bench)
    bench.cut_payload(5)

    with pytest.raises(JournalDamagedError, match="journal record 5 is damaged"):
        backup(bench.where, tmp_path / "backup")

    assert not [name for name in names(tmp_path) if name.startswith("backup")]


async def test_what_comes_before_a_damage_can_be_taken(bench: Bench, schemas: Schemas, tmp_path: Path) -> None:
    """The refusal says how; what is there then is a journal, and snapshots of later records are not in it."""
    await written(bench)
    bench.cut_payload(5)
    targets: list[Path | DatabaseUrl] = [tmp_path / "new.journal", schemas.url(schema_name(tmp_path / "new"))]

    for target in targets:
        with pytest.raises(JournalDamagedError, match=r"record 5 is damaged .*; --until 4 takes what comes before"):
            restore(bench.where, target)
        assert restore(bench.where, target, until=4) == 4
        journal = open_journal(target)
        assert [record.seq for record in journal.records()] == [1, 2, 3, 4]
        snapshot = journal.latest_snapshot()
        assert snapshot is not None
        assert snapshot.seq == 3
        journal.close()


async def test_only_records_that_are_there_can_be_asked_for(bench: Bench, tmp_path: Path) -> None:
    """A number beyond the end is a mistake."""
    await written(bench)
    count = len(bench.rows())

    for until in (0, count + 1):
        with pytest.raises(JournalError, match=rf"has no record {until}: expected 1 to {count}"):
            restore(bench.where, tmp_path / "new.journal", until=until)
    assert not (tmp_path / "new.journal").exists()


def test_an_old_form_is_restored_as_todays(tmp_path: Path) -> None:
    """With its records as they were."""
    with JournalReader(_FORM_1) as old:
        before = list(old.records())

    assert restore(_FORM_1, tmp_path / "new.journal") == len(before) == 26

    with JournalReader(tmp_path / "new.journal") as journal:
        assert journal.form == 2
        assert list(journal.records()) == before


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """A folder that is not there, for instance; and a source that is not there."""
    with pytest.raises(JournalError, match="No such file or directory"):
        restore(_FORM_1, tmp_path / "nowhere" / "new.journal")
    with pytest.raises(JournalError, match=r"cannot be copied: unable to open|No such file"):
        backup(_FORM_1, tmp_path / "nowhere" / "backup")
    with pytest.raises(JournalError, match="there is no journal"):
        backup(tmp_path / "none.journal", tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []
