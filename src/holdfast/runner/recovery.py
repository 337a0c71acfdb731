"""Restart from the journal: the recorded events and decisions rebuild the kernel, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from holdfast.journal import EpochRecord
from holdfast.journal.log import Record
from holdfast.kernel import Kernel
from holdfast.model.events import Event

_DIFFERENCES_KEPT = 20


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal held.

    Attributes:
        records: How many records were read.
        last_epoch: The last run recorded; None for a new journal.
        differences: Decisions that today's code or configuration would make otherwise (the first few).
        difference_count: How many there were in all.
    """

    records: int
    last_epoch: EpochRecord | None
    differences: tuple[str, ...]
    difference_count: int


class Records(Protocol):
    """Whatever has records: a journal that we own, or one that we only read."""

    def records(self) -> Iterator[Record]:
        """Oldest first."""
        ...


def recover(journal: Records, kernel: Kernel) -> Recovery:
    """Show the kernel every recorded event, with the commands that were given then.

    Raises:
        JournalError: A record is missing or damaged; names the place.
    """
    records, last_epoch = 0, None
    differences: list[str] = []
    waiting: Event | None = None

    def show(commands: tuple[object, ...]) -> None:
        nonlocal waiting
        if waiting is not None:
            event, waiting = waiting, None
            differences.extend(kernel.follow(event, commands))  # type: ignore[arg-type]  # decoded as commands

    for record in journal.records():
        records += 1
        content = record.content
        if isinstance(content, tuple):
            show(content)
            continue
        show(())
        if isinstance(content, EpochRecord):
            last_epoch = content
        else:
            waiting = content
    show(())
    return Recovery(
        records=records,
        last_epoch=last_epoch,
        differences=tuple(differences[:_DIFFERENCES_KEPT]),
        difference_count=len(differences),
    )
