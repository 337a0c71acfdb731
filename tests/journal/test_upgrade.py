"""A journal of every earlier form is brought to today's, whole, in one transaction; one of the future is refused.

``data/form-1.sqlite`` was written by the last version that had form 1: an epoch, one event of each type, one
``commands`` record with a command of each type.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from holdfast.journal import JournalReader, SqliteJournal
from holdfast.journal.inspection import verify
from holdfast.journal.rows import FORM, decode
from holdfast.model.errors import JournalDamagedError, JournalError
from holdfast.model.events import TimerFired
from holdfast.testing.journal_conformance import EPOCH

_FORM_1 = Path(__file__).with_name("data") / "form-1.sqlite"
_ID = "8ccb9e021ad719f160ed99242f7d33a1"
_RECORDS = 26


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of the old journal."""
    return Path(shutil.copy(_FORM_1, tmp_path / "bot.journal"))


def do(path: Path, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Look at the file, or do to it what nobody should."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(statement, parameters).fetchall()


def old_contents() -> list[object]:
    """What is in the file, read past the journal: rows by SQL, payloads by their decoder."""
    return [decode(kind, payload) for kind, payload in do(_FORM_1, "SELECT kind, payload FROM records ORDER BY seq")]  # type: ignore[arg-type]  # a number and bytes


def test_the_old_file_holds_what_it_should() -> None:
    """An epoch, an event of each type of then, and commands of each."""
    found = old_contents()

    assert found[0] == EPOCH
    assert len({type(event) for event in found[1:-1]}) == len(found) - 2 == _RECORDS - 2
    assert isinstance(found[-1], tuple)
    assert len({type(command) for command in found[-1]}) == 8


async def test_form_1_is_brought_to_todays_form(path: Path) -> None:
    """Same id, same records to the last decimal, and it goes on; each old record still says which form wrote it."""
    journal = SqliteJournal(path)
    assert journal.journal_id == _ID
    assert journal.reports == ()
    assert [record.content for record in journal.records()] == old_contents()
    journal.append_event(TimerFired(ts=1, name="new"))
    await journal.sync()
    journal.close()

    assert do(path, "SELECT value FROM meta WHERE key = 'form'") == [(str(FORM),)]
    assert do(path, "SELECT form, count(*) FROM records GROUP BY form ORDER BY form") == [(1, _RECORDS), (FORM, 1)]
    assert do(path, "SELECT name FROM sqlite_master WHERE name = 'records_1'") == []
    with JournalReader(path) as reader:
        assert verify(reader).records == _RECORDS + 1
    again = SqliteJournal(path)
    assert again.last_seq == _RECORDS + 1
    again.close()


def test_form_1_is_read_as_it_is(path: Path) -> None:
    """Who only looks changes nothing."""
    before = path.read_bytes()

    with JournalReader(path) as reader:
        assert (reader.form, reader.journal_id) == (1, _ID)
        assert [record.content for record in reader.records()] == old_contents()
        assert verify(reader).records == _RECORDS

    assert path.read_bytes() == before


def test_a_damaged_middle_of_form_1_stays_as_it_is(path: Path) -> None:
    """The upgrade verifies what it takes over, and is undone as a whole."""
    do(path, "UPDATE records SET payload = CAST(payload || x'00' AS BLOB) WHERE seq = 4")
    before = do(path, "SELECT * FROM records")

    for _ in range(2):
        with pytest.raises(JournalDamagedError, match=r"journal record 4 is damaged \(event\)"):
            SqliteJournal(path)
    with JournalReader(path) as reader, pytest.raises(JournalDamagedError, match="record 4"):
        list(reader.records())

    assert do(path, "SELECT value FROM meta WHERE key = 'form'") == [("1",)]
    assert do(path, "SELECT * FROM records") == before


def test_a_torn_tail_of_form_1_is_cut_off_and_reported(path: Path) -> None:
    """As one of today's form is."""
    do(path, "UPDATE records SET payload = CAST(substr(payload, 1, 9) AS BLOB) WHERE seq = ?", _RECORDS)

    journal = SqliteJournal(path)

    assert [record.content for record in journal.records()] == old_contents()[:-1]
    assert f"record {_RECORDS} was half written" in journal.reports[0]
    journal.close()
    assert do(path, "SELECT cut, seq, form FROM torn") == [(1, _RECORDS, 1)]


def test_an_upgrade_that_is_interrupted_has_not_happened(path: Path) -> None:
    """Whatever fails in its middle: the file is of the old form, and the next start does it."""
    free = do(path, "PRAGMA page_count")[0][0]
    journal = None
    real = sqlite3.connect

    class Full(sqlite3.Connection):
        """A disk that has no page left."""

        def execute(self, *arguments: object) -> sqlite3.Cursor:
            if str(arguments[0]).startswith("ALTER"):
                super().execute(f"PRAGMA max_page_count = {free}")
            return super().execute(*arguments)  # type: ignore[arg-type]  # passed on as they came

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **{**k, "factory": Full}))
        with pytest.raises(JournalError, match="disk is full"):
            journal = SqliteJournal(path)
    assert journal is None
    assert do(path, "SELECT value FROM meta WHERE key = 'form'") == [("1",)]

    journal = SqliteJournal(path)
    assert journal.last_seq == _RECORDS
    journal.close()


def test_a_form_of_the_future_is_one_sentence(path: Path) -> None:
    """For owners and readers alike, and the file is left alone."""
    do(path, "UPDATE meta SET value = '99' WHERE key = 'form'")
    expected = f"form 99; this version of Holdfast reads up to form {FORM}"

    with pytest.raises(JournalError, match=expected):
        SqliteJournal(path)
    with pytest.raises(JournalError, match=expected):
        JournalReader(path)

    assert do(path, "SELECT value FROM meta WHERE key = 'form'") == [("99",)]
