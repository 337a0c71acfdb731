"""The simulated disk: what is lost at a crash, and what never is."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from holdfast.journal import Journal
from holdfast.model.errors import JournalError
from holdfast.model.events import TimerFired
from holdfast.testing.journal_conformance import JournalConformance
from holdfast.testing.sim.chance import stream
from holdfast.testing.sim.faults import Faults
from holdfast.testing.sim.journal import Disk, SimJournal
from holdfast.testing.sim.loop import Killed, VirtualLoop, run
from holdfast.testing.sim.trace import Trace


def _nowhere(_: str) -> None:
    """A process that does not end."""


def _journal(disk: Disk, *faults: str, point: Callable[[str], None] = _nowhere) -> SimJournal:
    dice = Faults(stream(1, "faults"), dict.fromkeys(faults, 1.0))
    return SimJournal(disk, dice, point, Trace(lambda: 0.0), lambda: False)


def _disk() -> Disk:
    return Disk(secrets.token_hex(16), lambda: 0.0)


def _event(number: int) -> TimerFired:
    return TimerFired(ts=number, name="t")


class TestConformance(JournalConformance):
    """The suite that every journal is put through."""

    disks: ClassVar[dict[Path, Disk]] = {}

    def open(self, place: Path) -> Journal:
        """The journal of this place."""
        return _journal(self.disks.setdefault(place, _disk()))


def test_what_was_not_synced_is_gone() -> None:
    """And what was synced is there for the next opening."""

    async def main(_: VirtualLoop) -> list[int]:
        disk = _disk()
        journal = _journal(disk)
        journal.append_event(_event(1))
        await journal.sync()
        journal.append_event(_event(2))
        return [record.seq for record in _journal(disk).records()]

    assert run(main) == [1]


@pytest.mark.parametrize(("point", "durable"), [("sync-before", {0}), ("sync-middle", {0, 2}), ("sync-after", {2})])
def test_a_crash_in_a_sync_leaves_nothing_or_all_of_it(point: str, durable: set[int]) -> None:
    """A commit is atomic; in its middle the dice say which of the two it is."""

    def end(at: str) -> None:
        if at == point:
            raise Killed

    async def main(_: VirtualLoop, seed: int) -> int:
        disk = _disk()
        dice = Faults(stream(seed, "faults"), {})
        journal = SimJournal(disk, dice, end, Trace(lambda: 0.0), lambda: False)
        journal.append_event(_event(1))
        journal.append_event(_event(2))
        with pytest.raises(Killed):
            await journal.sync()
        return len(disk.rows)

    assert {run(partial(main, seed=seed)) for seed in range(12)} == durable


def test_a_full_disk_fails_for_good_and_loses_nothing_that_was_durable() -> None:
    """The journal that failed takes nothing any more, also no append."""

    async def main(_: VirtualLoop) -> int:
        disk = _disk()
        journal = _journal(disk)
        journal.append_event(_event(1))
        await journal.sync()
        full = _journal(disk, "disk_full")
        full.append_event(_event(2))
        with pytest.raises(JournalError, match="no space left"):
            await full.sync()
        with pytest.raises(JournalError, match="no space left"):
            full.append_event(_event(3))
        full.close()
        return len(disk.rows)

    assert run(main) == 1


def test_a_slow_sync_takes_virtual_seconds_and_a_cancelled_one_is_finished() -> None:
    """A disk does not stop half-way because nobody waits any more."""

    async def main(loop: VirtualLoop) -> tuple[float, int]:
        disk = _disk()
        journal = _journal(disk, "disk_slow")
        journal.append_event(_event(1))
        await journal.sync()
        took = loop.time()
        journal.append_event(_event(2))
        task = asyncio.ensure_future(journal.sync())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return took, len(disk.rows)

    took, rows = run(main)

    assert 0.5 <= took <= 8.0
    assert rows == 2
