"""A journal in memory: for runs that keep no state between processes, and for tests of the runner."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

from holdfast.journal.log import SNAPSHOTS_KEPT, EpochRecord, Record, Snapshot, check_snapshot
from holdfast.model.commands import Command
from holdfast.model.events import Event


class MemoryJournal:
    """Keeps every record in a list. Durable for as long as the process is: no longer."""

    def __init__(self, journal_id: str | None = None) -> None:
        self.journal_id = journal_id or secrets.token_hex(16)
        # Memory cannot be copied and put back: one opening is all there is.
        self.intent_prefix = self.journal_id
        self.reports: tuple[str, ...] = ()
        self._records: list[Record] = []
        self._snapshots: list[Snapshot] = []

    @property
    def last_seq(self) -> int:
        """The number of the last record."""
        return len(self._records)

    def append_epoch(self, record: EpochRecord) -> None:
        """Append the head of a new run."""
        self._append(record)

    def append_event(self, event: Event) -> None:
        """Append an event, before the kernel is shown it."""
        self._append(event)

    def append_commands(self, commands: Sequence[Command]) -> None:
        """Append what the kernel answered to the last event."""
        self._append(tuple(commands))

    async def sync(self) -> None:
        """Nothing to do: memory is as durable as it gets here."""

    def records(self, after: int = 0) -> Iterator[Record]:
        """The records with numbers above ``after``, oldest first."""
        return iter(self._records[after:])

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        check_snapshot(snapshot, self.last_seq)
        self._snapshots = [*self._snapshots, snapshot][-SNAPSHOTS_KEPT:]

    def latest_snapshot(self) -> Snapshot | None:
        """The newest snapshot."""
        return self._snapshots[-1] if self._snapshots else None

    def close(self) -> None:
        """Nothing to let go of."""

    def _append(self, content: EpochRecord | Event | tuple[Command, ...]) -> None:
        self._records.append(Record(len(self._records) + 1, content))
