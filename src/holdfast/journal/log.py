"""The log interface: what the runner needs of a journal, and the records that it keeps.

A journal is a sequence of records. Appending is buffered and cheap; ``sync`` makes everything
appended so far durable in one commit. The runner calls ``sync`` before an order request may leave,
so one sync covers every earlier event, bars included, and bars alone cost none.

    seq   kind      payload
    1     epoch     EpochRecord: code, configuration and strategy versions of this run
    2     event     what the kernel was shown
    3     commands  what it answered (absent where it answered nothing)

How records are kept, and how damage is told, is in ``holdfast.journal.rows``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Protocol

import msgspec

from holdfast.model.commands import Command
from holdfast.model.errors import JournalError
from holdfast.model.events import Event

# So many snapshots are kept: the newest, and those to fall back on.
SNAPSHOTS_KEPT = 3


class Kind(IntEnum):
    """What a record holds."""

    EPOCH = 1
    EVENT = 2
    COMMANDS = 3


class EpochRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run of the bot: who wrote the records that follow.

    Attributes:
        epoch: Counts from 1.
        started_at: UTC ns, by the bot's clock.
        code: Version of Holdfast.
        config: Hash of the effective configuration, secrets left out.
        strategy: ``name@version`` of each strategy.
        settings: The configuration as JSON, secrets left out; empty where somebody else wired the kernel.
        python: Minor version of Python: with the platform, how far determinism is promised.
        platform: Operating system and processor.
    """

    epoch: int
    started_at: int
    code: str
    config: str
    strategy: str
    pid: int = 0
    settings: str = ""
    python: str = ""
    platform: str = ""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One decoded record."""

    seq: int
    content: EpochRecord | Event | tuple[Command, ...]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The kernel's state after a record, so that a restart need not read what came before.

    The journal keeps the bytes and does not look into them.

    Attributes:
        seq: The last record that is part of the state.
        form: The form of ``state``; whoever reads it decides whether it still can.
        code: Version of Holdfast that wrote it.
        config: Hash of the configuration then.
        strategy: The strategies then, as in ``EpochRecord``.
        at: UTC ns, by the bot's clock.
        state: The state itself.
    """

    seq: int
    form: int
    code: str = ""
    config: str = ""
    strategy: str = ""
    at: int = 0
    state: bytes = b""


class Journal(Protocol):
    """An append-only log that one runner owns."""

    @property
    def journal_id(self) -> str:
        """128 random bits in hex, made once when the journal was: every client order id begins with it."""
        ...

    @property
    def intent_prefix(self) -> str:
        """What the client order ids of this run begin with: the journal's id, and a part that no other opening has.

        The second part is why a copy that was put back never gives out an id again that its other self has used.
        """
        ...

    @property
    def reports(self) -> tuple[str, ...]:
        """What people should know of this journal, as sentences: a tail that was cut off, a snapshot not trusted."""
        ...

    @property
    def last_seq(self) -> int:
        """The number of the last record appended, durable or not; 0 where there is none."""
        ...

    def append_epoch(self, record: EpochRecord) -> None:
        """Append the head of a new run."""
        ...

    def append_event(self, event: Event) -> None:
        """Append an event, before the kernel is shown it."""
        ...

    def append_commands(self, commands: Sequence[Command]) -> None:
        """Append what the kernel answered to the last event."""
        ...

    async def sync(self) -> None:
        """Return once everything appended so far is durable.

        Raises:
            JournalError: It is not, and nothing may be built on it.
        """
        ...

    def records(self, after: int = 0) -> Iterator[Record]:
        """The durable records with numbers above ``after``, oldest first.

        Raises:
            JournalError: One is damaged or missing; names the place.
        """
        ...

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot with the next ``sync``: never before every record up to its number is durable.

        Only the newest few are kept.
        """
        ...

    def latest_snapshot(self) -> Snapshot | None:
        """The newest durable snapshot that is whole and belongs to the records that are there.

        A damaged one is passed over, with a sentence in ``reports``.
        """
        ...

    def close(self) -> None:
        """Make the rest durable and let go of the journal."""
        ...


def check_snapshot(snapshot: Snapshot, last_seq: int) -> None:
    """A snapshot of records that are not there yet is a bug of its maker.

    Raises:
        JournalError: It is one.
    """
    if not 0 < snapshot.seq <= last_seq:
        message = f"a snapshot after record {snapshot.seq} cannot be kept: the last record is {last_seq}"
        raise JournalError(message)
