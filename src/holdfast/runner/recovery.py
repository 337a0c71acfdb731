"""Restart from the journal: the recorded events and decisions rebuild the kernel, exactly.

From the newest snapshot on where there is one that this run may use, from the first record otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from holdfast.journal import EpochRecord, Journal, JournalReader, Record, Snapshot
from holdfast.kernel import Kernel
from holdfast.model.commands import Command
from holdfast.model.errors import DataError
from holdfast.model.events import Event
from holdfast.runner.snapshots import load, load_books, why_not

_DIFFERENCES_KEPT = 20


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal held.

    Attributes:
        records: How many records were read.
        last_epoch: The last run recorded; None for a new journal.
        differences: Decisions that today's code or configuration would make otherwise (the first few).
        difference_count: How many there were in all.
        snapshot: The record after which the snapshot was taken that this began with; 0: with none.
        unused: Why the newest snapshot was not used; empty where it was, or where there was none.
    """

    records: int
    last_epoch: EpochRecord | None
    differences: tuple[str, ...]
    difference_count: int
    snapshot: int = 0
    unused: str = ""


class Step(msgspec.Struct, frozen=True, gc=False):
    """One record that changes something: a run's head, or an event with the commands that were given then.

    ``is_torn`` is an event at the end of a run without any: its commands may never have been written down.
    """

    seq: int
    content: EpochRecord | Event
    commands: tuple[Command, ...] = ()
    is_torn: bool = False


def steps(records: Iterable[Record]) -> Iterator[Step]:
    """Put each event together with its commands."""
    seq = 0
    event: Event | None = None
    for record in records:
        content = record.content
        if isinstance(content, tuple):
            if event is not None:
                yield Step(seq, event, content)
                event = None
            continue
        is_epoch = isinstance(content, EpochRecord)
        if event is not None:
            yield Step(seq, event, is_torn=is_epoch)
            event = None
        if isinstance(content, EpochRecord):
            yield Step(record.seq, content)
        else:
            seq, event = record.seq, content
    if event is not None:
        yield Step(seq, event, is_torn=True)


def recover(
    journal: Journal | JournalReader,
    kernel: Kernel,
    *,
    config: str | None = None,
    strategy: str = "",
    books_only: bool = False,
) -> Recovery:
    """Show the kernel every recorded event, with the commands that were given then; from a snapshot on if there is one.

    Args:
        journal: What was recorded.
        kernel: A new one.
        config: Hash of the configuration that made the kernel; None: no snapshot is used.
        strategy: The strategies in it, as in ``EpochRecord``.
        books_only: The kernel has no strategies, and a snapshot of one with any will do (see ``load_books``).

    Raises:
        JournalError: A record is missing or damaged; names the place.
        StrategyError: A strategy cannot continue from its saved state, or raised at a recorded event.
    """
    last_epoch: EpochRecord | None = None
    after, unused = 0, ""
    if books_only:
        last_epoch, after, unused = _begin(journal, lambda _: "", lambda snapshot: load_books(snapshot, kernel))
    elif config is not None:
        known = config
        last_epoch, after, unused = _begin(
            journal,
            lambda snapshot: why_not(snapshot, config=known, strategy=strategy),
            lambda snapshot: load(snapshot, kernel),
        )
    differences: list[str] = []
    counted = _Counted(journal.records(after))
    for step in steps(counted):
        if isinstance(step.content, EpochRecord):
            last_epoch = step.content
        else:
            differences.extend(kernel.follow(step.content, step.commands))
    return Recovery(
        records=counted.count,
        last_epoch=last_epoch,
        differences=tuple(differences[:_DIFFERENCES_KEPT]),
        difference_count=len(differences),
        snapshot=after,
        unused=unused,
    )


def _begin(
    journal: Journal | JournalReader, refuse: Callable[[Snapshot], str], take: Callable[[Snapshot], EpochRecord]
) -> tuple[EpochRecord | None, int, str]:
    """Load the newest snapshot, if this kernel may: its run, its record, and why it was not used."""
    snapshot = journal.latest_snapshot()
    if snapshot is None:
        return None, 0, ""
    reason = refuse(snapshot)
    if not reason:
        try:
            return take(snapshot), snapshot.seq, ""
        except DataError as error:
            reason = str(error)
    return None, 0, f"the snapshot after record {snapshot.seq} was not used: {reason}"


class _Counted:
    """Records, counted as they pass."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self.count = 0

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self.count += 1
            yield record
