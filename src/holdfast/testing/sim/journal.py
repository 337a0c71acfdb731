"""A journal at the log interface, on a simulated disk: what was not synced is gone after a crash.

A sync takes its time, may take much longer, may fail, and the process may end before it, in the middle of it (then
nothing or all of the batch is on disk, as a commit is atomic) or after it, before anybody could act on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import msgspec

from holdfast.journal import EpochRecord, Kind, Record
from holdfast.journal.log import checksum, decode, encode
from holdfast.model import OrderIntent
from holdfast.model.commands import Command, SubmitOrder
from holdfast.model.errors import JournalError
from holdfast.model.events import Event
from holdfast.testing.sim.faults import Faults
from holdfast.testing.sim.trace import Trace

Stored = tuple[Kind, bytes, int, tuple[OrderIntent, ...]]
#: A point at which the process may end; raises if it does.
Point = Callable[[str], None]


class Disk:
    """What survives the process.

    Args:
        journal_id: Of the journal on it.
        now: Seconds of virtual time.

    Attributes:
        stored: Durable records, oldest first.
        intents: The orders that are meant by durable records, by client order id.
        written_at: When each of them became durable (virtual seconds).
        is_full: Nothing more can be written until somebody makes room.
    """

    def __init__(self, journal_id: str, now: Callable[[], float]) -> None:
        self.journal_id = journal_id
        self._now = now
        self.stored: list[Stored] = []
        self.intents: dict[str, OrderIntent] = {}
        self.written_at: dict[str, float] = {}
        self.is_full = False

    def write(self, batch: Sequence[Stored]) -> None:
        """One commit."""
        for entry in batch:
            self.stored.append(entry)
            for intent in entry[3]:
                self.intents[intent.client_order_id] = intent
                self.written_at.setdefault(intent.client_order_id, self._now())

    def records(self) -> Iterator[Record]:
        """All records, decoded and checked."""
        for seq, (kind, payload, crc, _) in enumerate(tuple(self.stored), start=1):
            yield decode(seq, kind, payload, crc)


class SimJournal:
    """The journal of one process on a disk.

    Args:
        disk: What is durable.
        faults: Strike the disk.
        point: Where the process may end.
        trace: Where records are noted.
        is_dead: Whether the process has ended: then nothing reaches the disk any more.
    """

    def __init__(self, disk: Disk, faults: Faults, point: Point, trace: Trace, is_dead: Callable[[], bool]) -> None:
        self.disk = disk
        self._faults = faults
        self._point = point
        self._trace = trace
        self._is_dead = is_dead
        self._pending: list[Stored] = []
        self._busy = asyncio.Lock()
        self._failure: JournalError | None = None

    @property
    def journal_id(self) -> str:
        """The disk's."""
        return self.disk.journal_id

    def append_epoch(self, record: EpochRecord) -> None:
        """Append the head of a run. A simulated process has no process id: it would differ from run to run."""
        self._append(Kind.EPOCH, msgspec.structs.replace(record, pid=0), ())

    def append_event(self, event: Event) -> None:
        """Append an event."""
        self._append(Kind.EVENT, event, ())

    def append_commands(self, commands: Sequence[Command]) -> None:
        """Append what the kernel answered."""
        intents = tuple(command.intent for command in commands if type(command) is SubmitOrder)
        self._append(Kind.COMMANDS, tuple(commands), intents)

    async def sync(self) -> None:
        """One commit for everything appended so far; commits are in order."""
        self._check()
        async with self._busy:
            self._check()
            batch, self._pending = self._pending, []
            if not batch:
                return
            self._point("sync-before")
            fault = self._faults.draw("disk")
            slow = fault == "disk_slow"
            try:
                await asyncio.sleep(self._faults.between(0.5, 8.0) if slow else self._faults.between(0.0002, 0.004))
            except asyncio.CancelledError:
                # Nobody waits any more, but a disk does not stop half-way because of that.
                if not self._is_dead():
                    self.disk.write(batch)
                raise
            if self._is_dead():
                return
            if fault == "disk_full" or self.disk.is_full:
                self.disk.is_full = True
                self._trace.note("disk", "full")
                self._failure = JournalError("the journal cannot be written: no space left on the device")
                raise self._failure
            if self._faults.pick(2):
                self._point("sync-middle")  # nothing of it is on disk
                self.disk.write(batch)
            else:
                self.disk.write(batch)
                self._point("sync-middle")  # all of it is
            self._point("sync-after")

    def records(self) -> Iterator[Record]:
        """The durable records."""
        return self.disk.records()

    def close(self) -> None:
        """Make the rest durable, where nothing has failed."""
        if self._failure is None and not self._is_dead():
            batch, self._pending = self._pending, []
            self.disk.write(batch)

    def _append(self, kind: Kind, content: object, intents: tuple[OrderIntent, ...]) -> None:
        self._check()
        self._point("append-before")
        payload = encode(content)  # type: ignore[arg-type]  # one of the three, as the callers say
        self._trace.absorb(payload)
        self._pending.append((kind, payload, checksum(kind, payload), intents))
        self._point("append-after")

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
