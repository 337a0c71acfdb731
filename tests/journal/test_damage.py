"""A torn tail is cut off and reported; a damaged middle stops with its place. In a file and in PostgreSQL alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from holdfast.journal import Snapshot
from holdfast.journal.log import Kind
from holdfast.journal.rows import (
    FORM,
    TORN_RECORDS_MAX,
    Row,
    encode,
    find_end,
    open_snapshot,
    seal,
    seal_all,
    seal_snapshot,
    seed,
)
from holdfast.model.errors import JournalDamagedError, JournalError
from holdfast.model.events import TimerFired
from tests.journal.conftest import Bench


def timer(number: int) -> TimerFired:
    """A small event."""
    return TimerFired(ts=number, name=f"timer {number}")


async def written(bench: Bench, count: int) -> None:
    """A journal with so many events, closed."""
    journal = bench.open()
    for number in range(1, count + 1):
        journal.append_event(timer(number))
    await journal.sync()
    journal.close()


def damaged(bench: Bench) -> JournalDamagedError:
    """What whoever opens and reads this journal meets; a reader from outside meets the same."""

    def start() -> None:
        with contextlib.closing(bench.open()) as journal:
            list(journal.records())

    with pytest.raises(JournalDamagedError) as met:
        start()
    with bench.read() as reader, pytest.raises(JournalDamagedError) as seen:
        list(reader.records())
    assert (seen.value.seq, seen.value.kind) == (met.value.seq, met.value.kind)
    return met.value


##### The middle


async def test_a_changed_byte_is_found_and_its_place_named(bench: Bench) -> None:
    """Number, kind and reason; what comes before it is given."""
    await written(bench, 5)
    row = bench.rows()[2]
    bench.put(row._replace(payload=row.payload[:-1] + bytes([row.payload[-1] ^ 1])))

    error = damaged(bench)

    assert (error.seq, error.kind, error.reason) == (3, "event", "its checksum does not match its content")
    assert "journal record 3 is damaged (event): its checksum does not match" in str(error)
    with bench.read() as reader:
        records = reader.records()
        assert [next(records).seq, next(records).seq] == [1, 2]


def _change_crc(bench: Bench) -> int:
    row = bench.rows()[2]
    bench.put(row._replace(crc=row.crc ^ 1))
    return 3


def _change_crc_of_the_last_but_one(bench: Bench) -> int:
    row = bench.rows()[3]
    bench.put(row._replace(crc=row.crc ^ 1))
    return 4


def _change_kind(bench: Bench) -> int:
    bench.put(bench.rows()[2]._replace(kind=9))
    return 3


def _change_form(bench: Bench) -> int:
    bench.put(bench.rows()[2]._replace(form=1))
    return 3


def _remove(bench: Bench) -> int:
    bench.do("DELETE FROM {}records WHERE seq = 3")
    return 3


def _remove_the_last_but_one(bench: Bench) -> int:
    bench.do("DELETE FROM {}records WHERE seq = 4")
    return 4


def _remove_the_first(bench: Bench) -> int:
    bench.do("DELETE FROM {}records WHERE seq = 1")
    return 1


def _swap(bench: Bench) -> int:
    second, third = bench.rows()[1:3]
    bench.put(second._replace(seq=3))
    bench.put(third._replace(seq=2))
    return 2


def _replace_with_a_fitting_checksum(bench: Bench) -> int:
    """Whoever can compute checksums can fake one record; the next one tells."""
    rows = bench.rows()
    payload = encode(timer(99))
    bench.put(Row(3, Kind.EVENT, FORM, payload, seal(rows[1].crc, FORM, Kind.EVENT, payload)))
    return 4


def _take_from_another_journal(bench: Bench) -> int:
    """Whole in itself, and sealed after another id."""
    bench.put(seal_all(1, seed("another"), [(Kind.EVENT, timer(1))])[0])
    return 1


@pytest.mark.parametrize(
    "sin",
    [
        _change_crc,
        _change_crc_of_the_last_but_one,
        _change_kind,
        _change_form,
        _remove,
        _remove_the_last_but_one,
        _remove_the_first,
        _swap,
        _replace_with_a_fitting_checksum,
        _take_from_another_journal,
    ],
)
async def test_whatever_is_changed_in_the_middle_is_found(bench: Bench, sin: Callable[[Bench], int]) -> None:
    """Nothing is cut off, nothing is changed: it stops, and names the record."""
    await written(bench, 5)
    expected = sin(bench)
    before = bench.rows()

    error = damaged(bench)

    assert error.seq == expected
    assert bench.rows() == before


async def test_what_is_written_whole_and_not_for_us_is_never_cut_off(bench: Bench) -> None:
    """The last record's checksum fits and its form is of the future: that is no torn write."""
    await written(bench, 3)
    row = bench.rows()[2]
    bench.put(row._replace(form=FORM + 1, crc=seal(bench.rows()[1].crc, FORM + 1, row.kind, row.payload)))

    error = damaged(bench)

    assert error.seq == 3
    assert f"form {FORM + 1}; this version of Holdfast reads up to form {FORM}" in str(error)
    assert len(bench.rows()) == 3


##### The tail


@pytest.mark.parametrize("torn", [1, 2, 4])
async def test_a_torn_tail_is_cut_off_and_reported(bench: Bench, torn: int) -> None:
    """What was half written goes aside; the rest is a journal that goes on."""
    await written(bench, 6)
    for seq in range(7 - torn, 7):
        bench.cut_payload(seq)
    with bench.read() as reader, pytest.raises(JournalDamagedError) as seen:
        list(reader.records())  # from outside it is damage: nobody but the owner cuts
    halves = bench.rows()[6 - torn :]

    journal = bench.open()

    assert seen.value.seq == 7 - torn
    assert journal.last_seq == 6 - torn
    (report,) = journal.reports
    assert "the journal's tail was torn: record" in report
    assert "cut off and put aside" in report
    assert [record.content for record in journal.records()] == [timer(n) for n in range(1, 7 - torn)]
    journal.append_event(timer(100))
    await journal.sync()
    journal.close()
    again = bench.open()
    assert again.reports == ()
    assert [record.seq for record in again.records()] == list(range(1, 8 - torn))
    again.close()
    kept = bench.do("SELECT cut, seq, kind, form, payload, crc FROM {}torn ORDER BY seq")
    assert [(cut, Row(*row)) for cut, *row in kept] == [(1, half) for half in halves]  # type: ignore[arg-type]  # a row's columns


async def test_a_journal_of_which_all_was_torn_is_empty_and_goes_on(bench: Bench) -> None:
    """Its id stays; the next records begin with number one."""
    await written(bench, 1)
    bench.cut_payload(1)
    first = bench.do("SELECT value FROM {}meta WHERE key = 'journal_id'")[0][0]

    journal = bench.open()
    journal.append_event(timer(5))
    await journal.sync()

    assert journal.journal_id == first
    assert [record.seq for record in journal.records()] == [1]
    assert "record 1 was half written" in journal.reports[0]
    journal.close()


async def test_a_second_tear_is_kept_beside_the_first(bench: Bench) -> None:
    """Nothing that was put aside is overwritten."""
    for _ in range(2):
        await written(bench, 2)
        bench.cut_payload(int(str(bench.do("SELECT max(seq) FROM {}records")[0][0])))
    bench.open().close()

    assert [row[0] for row in bench.do("SELECT cut FROM {}torn ORDER BY cut")] == [1, 2]


async def test_ids_after_a_cut_are_new(bench: Bench) -> None:
    """An intent that was cut off may have reached the venue: its id is never given out again."""
    journal = bench.open()
    first = journal.intent_prefix
    journal.append_event(timer(1))
    journal.close()
    bench.cut_payload(1)

    journal = bench.open()

    assert journal.intent_prefix != first
    assert journal.intent_prefix.startswith(f"{journal.journal_id}-")
    journal.close()


def test_a_record_with_a_fitting_checksum_that_is_no_message_is_damage_and_no_tear() -> None:
    """It was written whole: nothing is cut off, and its place is named."""
    payload = b"\xc1"  # the one byte that MessagePack never uses
    row = Row(1, Kind.EVENT, FORM, payload, seal(seed("j"), FORM, Kind.EVENT, payload))
    with pytest.raises(JournalDamagedError, match=r"journal record 1 is damaged .*cannot be read"):
        find_end([row], "j", "here")


@pytest.mark.parametrize("count", [1, 3])
def test_a_journal_whose_beginning_is_gone_says_so(count: int) -> None:
    """The last records alone are no journal: nothing says what the first of them goes on from."""
    rows = seal_all(5, seed("j"), [(Kind.EVENT, timer(number)) for number in range(count)])
    kept = [row._replace(payload=b"") for row in rows]
    with pytest.raises(JournalDamagedError, match="record 1 is missing"):
        find_end(kept[::-1], "j", "here")


def test_more_than_a_commit_holds_is_no_torn_tail() -> None:
    """At the bound it is one; beyond it nothing is cut."""
    rows = seal_all(1, seed("j"), [(Kind.EVENT, timer(n)) for n in range(1, TORN_RECORDS_MAX + 6)])

    def window(broken: int) -> list[Row]:
        whole = len(rows) - broken
        changed = [*rows[:whole], *(row._replace(payload=b"") for row in rows[whole:])]
        return changed[::-1][: TORN_RECORDS_MAX + 2]

    end, reason = find_end(window(TORN_RECORDS_MAX), "j", "here")
    assert (end, reason) == (5, "its checksum does not match its content")
    with pytest.raises(JournalDamagedError, match=rf"here: journal record \d+ is damaged .* all to {len(rows)}"):
        find_end(window(TORN_RECORDS_MAX + 1), "j", "here")
    assert find_end([], "j", "here") == (0, "")


##### Snapshots


def snapshot(seq: int) -> Snapshot:
    """A state of its own."""
    return Snapshot(seq=seq, form=1, state=bytes([seq]) * 500)


def test_a_snapshot_of_another_record_or_of_none_is_not_trusted() -> None:
    """Its checksum holds for a history, and two records of one history may have the same checksum."""
    row = seal_snapshot(snapshot(3), 7)
    assert open_snapshot(row, 7) == snapshot(3)
    with pytest.raises(JournalError, match="after record 4 says that it was taken after record 3"):
        open_snapshot(row._replace(seq=4), 7)
    with pytest.raises(JournalError, match="after record 3 belongs to a record that is not there"):
        open_snapshot(row, None)


async def with_snapshots(bench: Bench, *seqs: int) -> None:
    """Six records, and snapshots after some."""
    journal = bench.open()
    for number in range(1, 7):
        journal.append_event(timer(number))
        if number in seqs:
            journal.save_snapshot(snapshot(number))
    await journal.sync()
    journal.close()


async def test_only_the_newest_snapshots_are_kept(bench: Bench) -> None:
    """Three: the one that is used, and two to fall back on."""
    await with_snapshots(bench, 1, 2, 3, 4, 5)

    assert [row[0] for row in bench.do("SELECT seq FROM {}snapshots ORDER BY seq")] == [3, 4, 5]


async def test_a_damaged_snapshot_is_passed_over_and_reported(bench: Bench) -> None:
    """The one before it is taken; without any the journal is read from its beginning."""
    await with_snapshots(bench, 2, 4)
    bench.do("UPDATE {}snapshots SET crc = crc - 1 WHERE seq = 4")
    journal = bench.open()
    assert journal.latest_snapshot() == snapshot(2)
    assert journal.latest_snapshot() == snapshot(2)
    assert journal.reports == (
        "the snapshot after record 4 is damaged: its checksum does not match its content; it was passed over",
    )
    journal.close()

    bench.do("UPDATE {}snapshots SET content = ? WHERE seq = 2", b"short")
    journal = bench.open()
    assert journal.latest_snapshot() is None
    assert len(journal.reports) == 2
    assert len(list(journal.records())) == 6
    journal.close()


async def test_a_snapshot_of_another_history_is_not_trusted(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whole in itself, and taken after a record that is not this one."""
    other = Bench(tmp_path_factory.mktemp("other") / "other.journal")
    await with_snapshots(other, 4)
    await with_snapshots(bench, 2)
    row = other.do("SELECT seq, content, crc FROM {}snapshots")[0]
    bench.do("INSERT INTO {}snapshots (seq, content, crc) VALUES (?, ?, ?)", *row)

    with bench.read() as reader:
        assert reader.latest_snapshot() == snapshot(2)
        assert "the snapshot after record 4 is damaged" in reader.reports[0]


async def test_a_snapshot_of_what_was_cut_off_goes_with_it(bench: Bench) -> None:
    """It holds what the records no longer do."""
    await with_snapshots(bench, 4, 6)
    bench.cut_payload(6)

    journal = bench.open()

    assert journal.latest_snapshot() == snapshot(4)
    assert [row[0] for row in bench.do("SELECT seq FROM {}snapshots")] == [4]
    journal.close()


async def test_a_snapshot_waits_for_its_records(bench: Bench) -> None:
    """It is in no sync before that of the records, and it does not come back where they do not."""
    journal = bench.open()
    journal.append_event(timer(1))
    journal.save_snapshot(snapshot(1))
    assert bench.do("SELECT count(*) FROM {}snapshots") == [(0,)]
    assert journal.latest_snapshot() is None

    await journal.sync()

    assert journal.latest_snapshot() == snapshot(1)
    with pytest.raises(JournalError, match="a snapshot after record 2 cannot be kept: the last record is 1"):
        journal.save_snapshot(snapshot(2))
    journal.close()
