"""What every journal must do, as tests that any journal can be put through.

Subclass it in a test module and say how yours is opened; pytest collects the rest:

    class TestMyJournal(JournalConformance):
        def open(self, place):
            return MyJournal(place / "my.journal")
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from holdfast.journal import EpochRecord, Journal, Record, Snapshot
from holdfast.model.commands import Command
from holdfast.model.errors import JournalError
from holdfast.model.events import Event, TimerFired
from holdfast.testing.samples import COMMANDS, EVENTS

EPOCH = EpochRecord(epoch=1, started_at=1, code="0.1.0", config="c", strategy="S@1", pid=7)


class JournalConformance(ABC):
    """The suite. Its tests use pytest's ``tmp_path`` and ``async def`` tests, and nothing else of pytest.

    Attributes:
        survives: Whether records outlive ``close``: False for a journal that is durable only as long as its process.
    """

    survives: bool = True

    @abstractmethod
    def open(self, place: Path) -> Journal:
        """The journal of this place; made if it is not there."""

    async def test_every_message_comes_back_as_it_went_in(self, tmp_path: Path) -> None:
        """Every event and every command, to the last decimal and nanosecond, in the order of appending."""
        journal = self.open(tmp_path)
        journal.append_epoch(EPOCH)
        for event in EVENTS:
            journal.append_event(event)
        journal.append_commands(COMMANDS)
        await journal.sync()

        expected: list[EpochRecord | Event | tuple[Command, ...]] = [EPOCH, *EVENTS, COMMANDS]
        found = _contents(journal)
        journal.close()

        _same(found, expected)
        _same([type(content) for content in found], [type(content) for content in expected])

    async def test_the_samples_are_all_there_are(self) -> None:
        """A message of a new type is put through this suite too."""
        _same({type(event) for event in EVENTS}, set(get_args(Event)))
        _same({type(command) for command in COMMANDS}, set(get_args(Command)))

    async def test_records_are_numbered_from_one_without_gaps(self, tmp_path: Path) -> None:
        """Also over several syncs."""
        journal = self.open(tmp_path)
        for number in range(1, 8):
            journal.append_event(_event(number))
            if number % 3 == 0:
                await journal.sync()
        await journal.sync()

        records = list(journal.records())
        journal.close()

        _same(records, [Record(number, _event(number)) for number in range(1, 8)])

    async def test_a_new_journal_is_empty(self, tmp_path: Path) -> None:
        """And a sync of nothing is no error."""
        journal = self.open(tmp_path)
        await journal.sync()

        _same(_contents(journal), [])
        journal.close()

    async def test_the_id_is_128_bits_and_random(self, tmp_path: Path) -> None:
        """No two journals have the same: client order ids begin with it."""
        ids = []
        for name in ("a", "b", "c"):
            place = tmp_path / name
            place.mkdir()
            journal = self.open(place)
            ids.append(journal.journal_id)
            journal.close()

        _same(len(set(ids)), 3)
        _same([len(bytes.fromhex(journal_id)) for journal_id in ids], [16, 16, 16])

    async def test_records_after_a_number(self, tmp_path: Path) -> None:
        """For a restart that begins at a snapshot; and the last number is that of the last append, synced or not."""
        journal = self.open(tmp_path)
        _same(journal.last_seq, 0)
        for number in range(1, 6):
            journal.append_event(_event(number))
            _same(journal.last_seq, number)
        await journal.sync()

        _same([record.seq for record in journal.records(3)], [4, 5])
        _same(list(journal.records(5)), [])
        journal.close()

    async def test_the_newest_snapshot_comes_back_as_it_was(self, tmp_path: Path) -> None:
        """Every field and byte; a journal without one says so."""
        journal = self.open(tmp_path)
        _same(journal.latest_snapshot(), None)
        for number in range(1, 8):
            journal.append_event(_event(number))
            journal.save_snapshot(_snapshot(number))
            await journal.sync()

        _same(journal.latest_snapshot(), _snapshot(7))
        _same(journal.reports, ())
        journal.close()
        if self.survives:
            again = self.open(tmp_path)
            _same(again.latest_snapshot(), _snapshot(7))
            again.close()

    async def test_a_snapshot_of_what_is_not_there_is_refused(self, tmp_path: Path) -> None:
        """It would stand for records that nobody has."""
        journal = self.open(tmp_path)
        journal.append_event(_event(1))
        for seq in (0, 2):
            try:
                journal.save_snapshot(_snapshot(seq))
            except JournalError:
                continue
            message = f"a snapshot after record {seq} was taken"
            raise AssertionError(message)
        journal.close()

    async def test_ids_begin_with_the_journals(self, tmp_path: Path) -> None:
        """What a run's client order ids begin with is the journal's id, and where records survive, the run's own part."""
        journal = self.open(tmp_path)
        prefixes = {journal.intent_prefix}
        _same(journal.intent_prefix.partition("-")[0], journal.journal_id)
        journal.close()
        if self.survives:
            again = self.open(tmp_path)
            prefixes.add(again.intent_prefix)
            again.close()
            _same(len(prefixes), 2)

    async def test_the_next_run_goes_on_where_the_last_ended(self, tmp_path: Path) -> None:
        """Same id, same records, and numbers that go on; what was appended and not synced is written by ``close``."""
        if not self.survives:
            return
        journal = self.open(tmp_path)
        first_id = journal.journal_id
        journal.append_event(_event(1))
        await journal.sync()
        journal.append_event(_event(2))
        journal.close()

        again = self.open(tmp_path)
        _same(again.journal_id, first_id)
        again.append_event(_event(3))
        await again.sync()
        records = list(again.records())
        again.close()
        again.close()  # closing what is closed does no harm

        _same(records, [Record(number, _event(number)) for number in (1, 2, 3)])


def _event(number: int) -> Event:
    return TimerFired(ts=number, name=f"timer {number}")


def _snapshot(seq: int) -> Snapshot:
    state = bytes([seq]) * 1_000
    return Snapshot(seq=seq, form=1, code="0.1.0", config="c", strategy="S@1", at=10**18 + seq, state=state)


def _contents(journal: Journal) -> Sequence[object]:
    return [record.content for record in journal.records()]


def _same(found: object, expected: object) -> None:
    if found != expected:
        message = f"expected {expected!r}\nfound    {found!r}"
        raise AssertionError(message)
