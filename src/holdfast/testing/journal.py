"""A journal that fails when it is told to, and forgets at a crash what was never synced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from holdfast.journal import EpochRecord, Journal, Kind, MemoryJournal, Record, Snapshot
from holdfast.journal.log import check_snapshot
from holdfast.journal.rows import decode, encode
from holdfast.model.commands import Command
from holdfast.model.errors import JournalError
from holdfast.model.events import Event

_Content = EpochRecord | Event | tuple[Command, ...]


class FaultyJournal:
    """Stands before another journal, and passes on at each sync what was appended since the last.

    Every record goes through its bytes, as on a disk: what cannot be written or read back fails here too.

    Args:
        inner: What is durable; default: a new journal in memory.
        fail_append_at: The append (counted from 1) that fails, as all later calls do.
        fail_sync_at: The sync that fails, likewise; nothing of it becomes durable.
        sync_turns: How slow the disk is: the turns of the event loop that a sync takes.

    Attributes:
        appends: How many records were appended.
        syncs: How many syncs were asked for.
    """

    def __init__(
        self,
        inner: Journal | None = None,
        *,
        fail_append_at: int | None = None,
        fail_sync_at: int | None = None,
        sync_turns: int = 3,
    ) -> None:
        self.inner = inner if inner is not None else MemoryJournal()
        self.fail_append_at = fail_append_at
        self.fail_sync_at = fail_sync_at
        self.sync_turns = sync_turns
        self.appends = 0
        self.syncs = 0
        self._unsynced: list[_Content] = []
        self._snapshots: list[Snapshot] = []
        self._last_seq = self.inner.last_seq
        self._failure: JournalError | None = None

    @property
    def journal_id(self) -> str:
        """The inner journal's."""
        return self.inner.journal_id

    @property
    def intent_prefix(self) -> str:
        """The inner journal's."""
        return self.inner.intent_prefix

    @property
    def reports(self) -> tuple[str, ...]:
        """The inner journal's."""
        return self.inner.reports

    @property
    def last_seq(self) -> int:
        """The number of the last record appended."""
        return self._last_seq

    @property
    def unsynced(self) -> int:
        """Records that a crash would lose now."""
        return len(self._unsynced)

    def crash(self) -> FaultyJournal:
        """End this journal as a power cut would; returns what the next run finds: the synced records, and no more."""
        self._unsynced.clear()
        self._snapshots.clear()
        self._failure = JournalError("this journal's process has crashed")
        return FaultyJournal(self.inner, sync_turns=self.sync_turns)

    def append_epoch(self, record: EpochRecord) -> None:
        """Append the head of a new run."""
        self._append(Kind.EPOCH, record)

    def append_event(self, event: Event) -> None:
        """Append an event."""
        self._append(Kind.EVENT, event)

    def append_commands(self, commands: Sequence[Command]) -> None:
        """Append what the kernel answered."""
        self._append(Kind.COMMANDS, tuple(commands))

    async def sync(self) -> None:
        """Make everything appended durable, or fail for good."""
        self._check()
        self.syncs += 1
        batch, self._unsynced = self._unsynced, []
        snapshots, self._snapshots = self._snapshots, []
        # A disk takes its time: others may append meanwhile, and the process may crash.
        for _ in range(self.sync_turns):
            await asyncio.sleep(0)
        self._check()
        if self.syncs == self.fail_sync_at:
            self._fail("sync", self.syncs)
        self._pass_on(batch, snapshots)
        await self.inner.sync()

    def records(self, after: int = 0) -> Iterator[Record]:
        """The durable records."""
        return self.inner.records(after)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot with the next sync."""
        self._check()
        check_snapshot(snapshot, self.last_seq)
        self._snapshots.append(snapshot)

    def latest_snapshot(self) -> Snapshot | None:
        """The newest durable one."""
        return self.inner.latest_snapshot()

    def close(self) -> None:
        """Make the rest durable, where nothing has failed."""
        if self._failure is None:
            batch, self._unsynced = self._unsynced, []
            snapshots, self._snapshots = self._snapshots, []
            self._pass_on(batch, snapshots)
        self.inner.close()

    def _append(self, kind: Kind, content: _Content) -> None:
        self._check()
        self.appends += 1
        if self.appends == self.fail_append_at:
            self._fail("append", self.appends)
        self._last_seq += 1
        self._unsynced.append(decode(kind, encode(content)))

    def _pass_on(self, batch: Sequence[_Content], snapshots: Sequence[Snapshot]) -> None:
        for content in batch:
            if isinstance(content, tuple):
                self.inner.append_commands(content)
            elif isinstance(content, EpochRecord):
                self.inner.append_epoch(content)
            else:
                self.inner.append_event(content)
        for snapshot in snapshots:
            self.inner.save_snapshot(snapshot)

    def _fail(self, what: str, number: int) -> None:
        self._failure = JournalError(f"{what} number {number} of the journal failed, as scripted")
        raise self._failure

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
