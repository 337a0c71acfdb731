"""Many appends share a commit, and many who ask for a sync share one. In a file and in PostgreSQL alike."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from holdfast.journal import DatabaseUrl, Snapshot
from holdfast.journal.owner import FileOwnership
from holdfast.journal.postgres_store import PostgresStore
from holdfast.journal.rows import Row
from holdfast.journal.sqlite_store import SqliteStore
from holdfast.journal.store import Store
from holdfast.journal.stored import StoredJournal
from holdfast.model.errors import JournalError
from holdfast.model.events import TimerFired
from tests.journal.conftest import Bench


def timer(number: int) -> TimerFired:
    """A small event."""
    return TimerFired(ts=number, name=f"timer {number}")


class CountingStore:
    """A store that counts its commits, and holds them up while it is told to."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.commits: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def write(self, rows: Sequence[Row]) -> None:
        """When the gate is open."""
        self.gate.wait(30)
        self.commits.append(len(rows))
        self.store.write(rows)


@pytest.fixture
def store(bench: Bench) -> CountingStore:
    """The store beneath the journal."""
    if isinstance(bench.where, DatabaseUrl):
        return CountingStore(PostgresStore(bench.where))
    return CountingStore(SqliteStore(bench.where, FileOwnership(bench.where)))


@pytest.fixture
def journal(store: CountingStore) -> Iterator[StoredJournal]:
    """A journal over it."""
    made = StoredJournal(cast("Store", store))
    yield made
    store.gate.set()
    with contextlib.suppress(JournalError):  # where a test made it fail
        made.close()


async def test_many_appends_are_one_commit(journal: StoredJournal, store: CountingStore) -> None:
    """However many."""
    for number in range(1, 501):
        journal.append_event(timer(number))
    await journal.sync()

    assert store.commits == [500]


async def test_a_sync_of_nothing_is_no_commit(journal: StoredJournal, store: CountingStore) -> None:
    """Nor is a second sync of the same."""
    await journal.sync()
    journal.append_event(timer(1))
    await journal.sync()
    await journal.sync()

    assert store.commits == [1]


async def test_everybody_who_asks_meanwhile_shares_the_next_commit(
    journal: StoredJournal, store: CountingStore, bench: Bench
) -> None:
    """The first goes alone; fifty more that come while it is on its way are one."""
    store.gate.clear()
    journal.append_event(timer(1))
    first = asyncio.ensure_future(journal.sync())
    await asyncio.sleep(0)

    async def append_and_sync(number: int) -> int:
        journal.append_event(timer(number))
        await journal.sync()
        with bench.read() as reader:
            return reader.last_seq

    others = [asyncio.ensure_future(append_and_sync(number)) for number in range(2, 52)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert not first.done()
    store.gate.set()
    await first

    assert await asyncio.gather(*others) == [51] * 50
    assert store.commits == [1, 50]


async def test_who_asks_with_nothing_new_waits_for_what_is_on_its_way(
    journal: StoredJournal, store: CountingStore
) -> None:
    """Returning at once would promise what is not yet so."""
    store.gate.clear()
    journal.append_event(timer(1))
    first = asyncio.ensure_future(journal.sync())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(journal.sync())
    for _ in range(5):
        await asyncio.sleep(0)

    assert not second.done()
    store.gate.set()
    await asyncio.gather(first, second)
    assert store.commits == [1]


async def test_a_sync_whose_waiter_is_gone_still_happens(
    journal: StoredJournal, store: CountingStore, bench: Bench
) -> None:
    """And the next record follows without a gap."""
    store.gate.clear()
    journal.append_event(timer(1))
    waiter = asyncio.ensure_future(journal.sync())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    store.gate.set()
    journal.append_event(timer(2))
    await journal.sync()

    assert waiter.cancelled()
    assert [row.seq for row in bench.rows()] == [1, 2]


async def test_a_failure_reaches_everybody_who_waits_and_everybody_after(
    journal: StoredJournal, store: CountingStore, bench: Bench
) -> None:
    """Those who wait for the commit, those who wait for the next, and every later append, sync, snapshot and close."""
    store.gate.clear()
    journal.append_event(timer(1))
    first = asyncio.ensure_future(journal.sync())
    await asyncio.sleep(0)
    journal.append_event(timer(2))
    second = asyncio.ensure_future(journal.sync())
    await asyncio.sleep(0)
    bench.do("ALTER TABLE {0}records RENAME TO {0}elsewhere")
    store.gate.set()
    results = await asyncio.gather(first, second, return_exceptions=True)
    bench.do("ALTER TABLE {0}elsewhere RENAME TO {0}records")

    assert [type(result) for result in results] == [JournalError, JournalError]
    assert "could not be written" in str(results[0])
    assert "trading stops, nothing unsynced was sent" in str(results[0])
    with pytest.raises(JournalError, match="could not be written"):
        journal.append_event(timer(3))
    with pytest.raises(JournalError, match="could not be written"):
        await journal.sync()
    with pytest.raises(JournalError, match="could not be written"):
        journal.save_snapshot(Snapshot(seq=1, form=1))
    with pytest.raises(JournalError, match="could not be written"):
        journal.close()
    assert bench.rows() == []
    again = bench.open()
    assert again.last_seq == 0
    again.close()


async def test_what_cannot_be_encoded_is_a_failed_sync(journal: StoredJournal, bench: Bench) -> None:
    """A number that no record can hold: nothing of its batch is durable, and nothing after it."""
    journal.append_event(timer(1))
    await journal.sync()
    journal.append_event(timer(2))
    journal.append_event(TimerFired(ts=2**70, name="too large"))

    with pytest.raises(JournalError, match="could not be written"):
        await journal.sync()
    with pytest.raises(JournalError, match="could not be written"):
        journal.append_event(timer(3))
    with pytest.raises(JournalError, match="could not be written"):
        journal.close()
    assert [row.seq for row in bench.rows()] == [1]
