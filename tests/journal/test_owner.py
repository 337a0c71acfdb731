"""One process owns a journal. The second is refused with the owner's name, and who looks from outside learns it too."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.journal import DatabaseUrl, Owner, SqliteJournal, read_owner
from holdfast.journal.owner import _birth_by_ps, lock_path, owner_of, this_process
from holdfast.model.errors import JournalError, JournalOwnedError
from holdfast.model.events import TimerFired
from holdfast.model.timestamps import NS_PER_SECOND
from tests.journal.conftest import Bench

_OWNER = Path(__file__).with_name("owner.py")


@contextlib.contextmanager
def running(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the journal."""
    where = bench.where.address if isinstance(bench.where, DatabaseUrl) else str(bench.where)
    process = subprocess.Popen(
        [sys.executable, str(_OWNER), where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().split()[0] == str(process.pid)
        yield process
    finally:
        process.kill()
        process.wait(timeout=30)
        process.stdin.close()
        process.stdout.close()


def test_a_second_owner_is_refused_and_the_first_is_named(bench: Bench) -> None:
    """With pid, machine and the moment of its start; after its end, however it came, the journal is free."""
    with running(bench) as process:
        found = read_owner(bench.where)
        refusal = rf"owned by another running process \(pid {process.pid}\) on {socket.gethostname()}, started 20\S+Z"

        assert found == owner_of(process.pid)
        with pytest.raises(JournalOwnedError, match=refusal):
            bench.open()
        with bench.read() as reader:  # looking is free
            assert reader.last_seq == 3
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        _wait_until_free(bench)

    assert read_owner(bench.where) is None
    journal = bench.open()
    assert [record.seq for record in journal.records()] == [1, 2, 3]
    assert read_owner(bench.where) == this_process()
    journal.close()
    assert read_owner(bench.where) is None


def _wait_until_free(bench: Bench) -> None:
    """PostgreSQL notices the end of a client a moment later; the file's lock is gone with the process."""
    if isinstance(bench.where, DatabaseUrl):
        bench.do(
            "DO $$ BEGIN FOR i IN 1..1000 LOOP "
            "EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid IN (SELECT backend FROM {}owner)); "
            "PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
        )


def test_a_stopped_owner_is_an_owner(bench: Bench) -> None:
    """A process that hangs still owns, and can be named from outside: that is how it is found and ended."""
    with running(bench) as process:
        process.send_signal(signal.SIGSTOP)

        found = read_owner(bench.where)

        assert found is not None
        assert (found.pid, found.host, found.is_alive) == (process.pid, socket.gethostname(), True)
        with pytest.raises(JournalOwnedError, match=f"pid {process.pid}"):
            bench.open()


def test_a_second_opening_by_the_same_process_is_refused(bench: Bench) -> None:
    """Two bots on one journal are as bad as two processes; the first goes on undisturbed."""
    journal = bench.open()

    with pytest.raises(JournalOwnedError, match=f"pid {os.getpid()}"):
        bench.open()

    journal.append_event(TimerFired(ts=1, name="on"))
    journal.close()
    bench.open().close()


def test_there_is_no_owner_where_there_is_no_journal(tmp_path: Path) -> None:
    """And asking makes no file."""
    assert read_owner(tmp_path / "bot.journal") is None
    assert list(tmp_path.iterdir()) == []


def test_a_pid_that_was_used_again_is_nobody(tmp_path: Path) -> None:
    """The lock file may outlive its process, and the number go to another one: the birth tells them apart."""
    path = tmp_path / "bot.journal"
    SqliteJournal(path).close()
    me = this_process()

    def say(owner: Owner) -> None:
        lock_path(path).write_bytes(msgspec.json.encode(owner))

    say(me)
    assert read_owner(path) == me
    say(msgspec.structs.replace(me, birth=me.birth + "0"))
    assert read_owner(path) is None
    say(msgspec.structs.replace(me, pid=2**22 + 1))
    assert read_owner(path) is None
    elsewhere = msgspec.structs.replace(me, host="elsewhere", pid=2**22 + 1)
    say(elsewhere)  # of another machine nothing can be known from here
    assert read_owner(path) == elsewhere


def test_a_process_has_one_birth() -> None:
    """The same whenever it is asked for, in the past, and another one's differs."""
    me, first = this_process(), owner_of(1)

    assert me == this_process()
    assert me.birth
    assert me.birth != first.birth
    assert 0 < first.started_at < me.started_at
    assert str(me).startswith(f"pid {os.getpid()} on {socket.gethostname()}, started 20")


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps")
def test_where_there_is_no_proc_ps_tells_the_birth() -> None:
    """To the second, and the same moment as the other way; nobody's is empty."""
    birth, started_at = _birth_by_ps(os.getpid())

    assert birth.endswith("Z")
    assert abs(started_at - this_process().started_at) <= 2 * NS_PER_SECOND
    assert _birth_by_ps(2**22 + 1) == ("", 0)


@pytest.mark.parametrize("said", [b"", b"12345", b"{", b"\xff" * 40, b'{"pid": "x"}'])
def test_a_lock_file_of_anybody_is_no_obstacle(tmp_path: Path, said: bytes) -> None:
    """An older version wrote the bare pid; whatever stands there, nobody holds the lock."""
    path = tmp_path / "bot.journal"
    lock_path(path).write_bytes(said)

    assert read_owner(path) is None
    journal = SqliteJournal(path)
    assert read_owner(path) == this_process()
    journal.close()


def test_an_unreadable_lock_is_one_sentence(tmp_path: Path) -> None:
    """A folder in its place, for instance."""
    path = tmp_path / "bot.journal"
    lock_path(path).mkdir()

    with pytest.raises(JournalError, match=r"the owner of .* cannot be read"):
        read_owner(path)
    with pytest.raises(JournalError, match="cannot be opened"):
        SqliteJournal(path)


##### What the lock file remembers


async def test_a_journal_that_ends_too_early_is_noticed(tmp_path: Path) -> None:
    """An older copy in its place, or a disk that lost what it had confirmed: said once, and the journal goes on."""
    path = tmp_path / "bot.journal"
    journal = SqliteJournal(path)
    journal.append_event(TimerFired(ts=1, name="1"))
    journal.close()
    older = path.read_bytes()
    journal = SqliteJournal(path)
    for number in (2, 3):
        journal.append_event(TimerFired(ts=number, name=str(number)))
    await journal.sync()
    first = journal.intent_prefix
    journal.close()
    path.write_bytes(older)

    journal = SqliteJournal(path)

    (report,) = journal.reports
    assert report.startswith("the journal ends at record 1, and 3 were written: an older copy was put in its place, or")
    assert journal.intent_prefix != first
    journal.close()
    journal = SqliteJournal(path)
    assert journal.reports == ()
    journal.close()


async def test_another_journal_in_its_place_is_not_compared(tmp_path: Path) -> None:
    """The lock file remembers the id too."""
    path = tmp_path / "bot.journal"
    journal = SqliteJournal(path)
    journal.append_event(TimerFired(ts=1, name="1"))
    journal.close()
    path.unlink()

    journal = SqliteJournal(path)

    assert (journal.last_seq, journal.reports) == (0, ())
    journal.close()
