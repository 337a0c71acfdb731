"""What is in a journal: every record read, every checksum checked, everything counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from holdfast.journal.log import EpochRecord, Kind, Snapshot
from holdfast.journal.reader import JournalReader
from holdfast.journal.rows import Content, Row, SnapshotRow, open_snapshot
from holdfast.journal.store import all_records, chain_at
from holdfast.model import Execution
from holdfast.model.commands import PLACING, Command, RecordVerdict
from holdfast.model.errors import JournalError
from holdfast.model.events import BrokerReported, OrderFilled


class KindCount(msgspec.Struct):
    """Records of one kind, and the bytes of their payloads."""

    records: int = 0
    bytes: int = 0


class SnapshotInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot; ``fault`` says why it cannot be trusted, and is empty where it can."""

    seq: int
    bytes: int
    at: int = 0
    code: str = ""
    form: int = 0
    fault: str = ""


class Contents(msgspec.Struct, kw_only=True):
    """What a journal holds.

    Attributes:
        name: Where it is.
        journal_id: Its id.
        form: The form that it is in.
        size: What it takes in storage (bytes).
        records: How many records there are.
        kinds: By kind of record.
        events: Events by type.
        commands: Commands by type.
        epochs: The runs.
        first_at: The first event's time (UTC ns); None where there is none.
        last_at: The latest event's time.
        orders: Orders that were meant to be sent.
        fills: Executions that were told of, each once.
        verdicts_approved: Signals that became orders.
        verdicts_blocked: Signals that did not.
        snapshots: Newest first.
        torn: Rows that were cut off and put aside, over the journal's life.
    """

    name: str
    journal_id: str
    form: int
    size: int = 0
    records: int = 0
    kinds: dict[str, KindCount] = {}
    events: dict[str, int] = {}
    commands: dict[str, int] = {}
    epochs: list[EpochRecord] = []
    first_at: int | None = None
    last_at: int | None = None
    orders: int = 0
    fills: int = 0
    verdicts_approved: int = 0
    verdicts_blocked: int = 0
    snapshots: list[SnapshotInfo] = []
    torn: int = 0


def inspect(journal: JournalReader) -> Contents:
    """Read all of a journal.

    Raises:
        JournalDamagedError: A record is missing or damaged; names the place.
    """
    found = Contents(name=journal.name, journal_id=journal.journal_id, form=journal.form)
    counting = _Counting(found)
    for row, content in all_records(journal.store, journal.head):
        counting.take(row, content)
    counting.finish()
    found.size = journal.store.size()
    found.torn = len(journal.store.torn())
    for seq in journal.store.snapshots():
        row_of = journal.store.snapshot(seq)
        if row_of is not None:
            found.snapshots.append(_snapshot_info(row_of, chain_at(journal.store, seq, 0)))
    return found


def verify(journal: JournalReader) -> Contents:
    """Read all of a journal, and accept nothing that is not whole.

    Raises:
        JournalDamagedError: A record is missing or damaged; names the place.
        JournalError: A snapshot is damaged.
    """
    found = inspect(journal)
    for snapshot in found.snapshots:
        if snapshot.fault:
            message = f"{journal.name}: {snapshot.fault}; a start passes it over, and reads more records instead"
            raise JournalError(message)
    return found


class _Counting:
    """Goes along the records."""

    def __init__(self, found: Contents) -> None:
        self._found = found
        self._events: Counter[str] = Counter()
        self._commands: Counter[str] = Counter()
        self._executions: set[Any] = set()

    def take(self, row: Row, content: Content) -> None:
        """One record more."""
        found = self._found
        found.records += 1
        kind = found.kinds.setdefault(Kind(row.kind).name.lower(), KindCount())
        kind.records += 1
        kind.bytes += len(row.payload)
        if isinstance(content, tuple):
            for command in content:
                self._take_command(command)
        elif isinstance(content, EpochRecord):
            found.epochs.append(content)
        else:
            self._events[type(content).__name__] += 1
            found.first_at = content.ts if found.first_at is None else found.first_at
            found.last_at = max(content.ts, found.last_at or content.ts)
            if isinstance(content, OrderFilled):
                self._executions.add(_execution_key(content.execution))
            elif isinstance(content, BrokerReported):
                self._executions.update(map(_execution_key, content.executions))

    def finish(self) -> None:
        """The sums."""
        found = self._found
        found.events = dict(self._events.most_common())
        found.commands = dict(self._commands.most_common())
        found.fills = len(self._executions)

    def _take_command(self, command: Command) -> None:
        self._commands[type(command).__name__] += 1
        if isinstance(command, PLACING):
            self._found.orders += 1
        elif isinstance(command, RecordVerdict):
            self._found.verdicts_approved += command.verdict.approved
            self._found.verdicts_blocked += not command.verdict.approved


def _execution_key(execution: Execution) -> Any:
    """Two sources may give an execution two ids; the order and its quantity after it are one."""
    if execution.cum_qty is None:
        return execution.execution_id
    return execution.broker_id, execution.cum_qty


def _snapshot_info(row: SnapshotRow, chain: int | None) -> SnapshotInfo:
    try:
        snapshot: Snapshot = open_snapshot(row, chain)
    except JournalError as error:
        return SnapshotInfo(seq=row.seq, bytes=len(row.content), fault=str(error))
    return SnapshotInfo(seq=row.seq, bytes=len(row.content), at=snapshot.at, code=snapshot.code, form=snapshot.form)
