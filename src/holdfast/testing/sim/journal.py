"""A journal at the log interface, on a simulated disk: what was not synced is gone after a crash.

A sync takes its time, may take much longer, may fail, and the process may end before it, in the middle of it (then
nothing or all of the batch is on disk, as a commit is atomic) or after it, before anybody could act on it. Rows are
sealed and verified by the journal's own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import msgspec

from holdfast.journal import EpochRecord, Kind, Record, Snapshot
from holdfast.journal.log import SNAPSHOTS_KEPT, check_snapshot
from holdfast.journal.rows import FORM, Row, SnapshotRow, encode, open_snapshot, seal, seal_snapshot, seed, verified
from holdfast.model import OrderIntent
from holdfast.model.commands import PLACING, Command
from holdfast.model.errors import JournalError
from holdfast.model.events import Event
from holdfast.testing.sim.faults import Faults
from holdfast.testing.sim.trace import Trace

Entry = tuple[Kind, bytes, tuple[OrderIntent, ...]]
#: A point at which the process may end; raises if it does.
Point = Callable[[str], None]


class Disk:
    """What survives the process.

    Args:
        journal_id: Of the journal on it.
        now: Seconds of virtual time.

    Attributes:
        rows: Durable records, oldest first.
        snapshots: Durable snapshots, oldest first.
        intents: The orders that are meant by durable records, by client order id.
        written_at: When each of them became durable (virtual seconds).
        openings: How often the journal was opened.
        is_full: Nothing more can be written until somebody makes room.
    """

    def __init__(self, journal_id: str, now: Callable[[], float]) -> None:
        self.journal_id = journal_id
        self._now = now
        self.rows: list[Row] = []
        self.snapshots: list[SnapshotRow] = []
        self.intents: dict[str, OrderIntent] = {}
        self.written_at: dict[str, float] = {}
        self.openings = 0
        self.is_full = False

    def write(self, batch: Sequence[Entry], snapshots: Sequence[Snapshot] = ()) -> None:
        """One commit."""
        for kind, payload, intents in batch:
            chain = seal(self._chain(len(self.rows)), FORM, kind, payload)
            self.rows.append(Row(len(self.rows) + 1, kind, FORM, payload, chain))
            for intent in intents:
                self.intents[intent.client_order_id] = intent
                self.written_at.setdefault(intent.client_order_id, self._now())
        sealed = [seal_snapshot(snapshot, self._chain(snapshot.seq)) for snapshot in snapshots]
        self.snapshots = [*self.snapshots, *sealed][-SNAPSHOTS_KEPT:]

    def records(self, after: int = 0) -> Iterator[Record]:
        """The records with numbers above ``after``, verified."""
        rows = verified(self.rows[after:], after, self._chain(after), "the simulated disk")
        for row, content in rows:
            yield Record(row.seq, content)

    def latest_snapshot(self) -> Snapshot | None:
        """The newest one, verified."""
        if not self.snapshots:
            return None
        newest = self.snapshots[-1]
        return open_snapshot(newest, self._chain(newest.seq))

    def _chain(self, seq: int) -> int:
        """The checksum of a record; for number 0, what the first goes on from."""
        return self.rows[seq - 1].crc if seq else seed(self.journal_id)


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
        disk.openings += 1
        self.intent_prefix = f"{disk.journal_id}-{disk.openings:016x}"
        self.reports: tuple[str, ...] = ()
        self.last_seq = len(disk.rows)
        self._faults = faults
        self._point = point
        self._trace = trace
        self._is_dead = is_dead
        self._pending: list[Entry] = []
        self._snapshots: list[Snapshot] = []
        self._busy = asyncio.Lock()
        self._failure: JournalError | None = None

    @property
    def journal_id(self) -> str:
        """The disk's."""
        return self.disk.journal_id

    def append_epoch(self, record: EpochRecord) -> None:
        """Append the head of a run."""
        # The hash of a run knows no process id: it would be another one each time.
        self._append(Kind.EPOCH, record, (), encode(msgspec.structs.replace(record, pid=0)))

    def append_event(self, event: Event) -> None:
        """Append an event."""
        self._append(Kind.EVENT, event, ())

    def append_commands(self, commands: Sequence[Command]) -> None:
        """Append what the kernel answered."""
        intents = tuple(command.intent for command in commands if isinstance(command, PLACING))
        self._append(Kind.COMMANDS, tuple(commands), intents)

    async def sync(self) -> None:
        """One commit for everything appended so far; commits are in order."""
        self._check()
        async with self._busy:
            self._check()
            batch, self._pending = self._pending, []
            snapshots, self._snapshots = self._snapshots, []
            if not batch and not snapshots:
                return
            self._point("sync-before")
            fault = self._faults.draw("disk")
            slow = fault == "disk_slow"
            try:
                await asyncio.sleep(self._faults.between(0.5, 8.0) if slow else self._faults.between(0.0002, 0.004))
            except asyncio.CancelledError:
                # Nobody waits any more, but a disk does not stop half-way because of that.
                if not self._is_dead():
                    self.disk.write(batch, snapshots)
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
                self.disk.write(batch, snapshots)
            else:
                self.disk.write(batch, snapshots)
                self._point("sync-middle")  # all of it is
            self._point("sync-after")

    def records(self, after: int = 0) -> Iterator[Record]:
        """The durable records."""
        return self.disk.records(after)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot with the next sync."""
        self._check()
        check_snapshot(snapshot, self.last_seq)
        self._snapshots.append(snapshot)

    def latest_snapshot(self) -> Snapshot | None:
        """The newest durable one."""
        return self.disk.latest_snapshot()

    def close(self) -> None:
        """Make the rest durable, where nothing has failed."""
        if self._failure is None and not self._is_dead():
            batch, self._pending = self._pending, []
            snapshots, self._snapshots = self._snapshots, []
            self.disk.write(batch, snapshots)

    def _append(
        self,
        kind: Kind,
        content: EpochRecord | Event | tuple[Command, ...],
        intents: tuple[OrderIntent, ...],
        traced: bytes | None = None,
    ) -> None:
        self._check()
        self._point("append-before")
        payload = encode(content)
        self._trace.absorb(payload if traced is None else traced)
        self._pending.append((kind, payload, intents))
        self.last_seq += 1
        self._point("append-after")

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
