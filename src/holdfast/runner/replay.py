"""Replay: a journal is shown to a new kernel, and every answer and every hash is laid beside the recorded one.

    what was recorded                     what is done with it
    an event and the commands to it       the event is handled; the commands must be the same, one by one
    the hash of the state                 the kernel's own must be the same
    an event that ends a run, without     followed, as the restart did: its commands may never have been written down
    commands
    a run that cannot be compared         followed: recorded decisions win, and differences are counted, not judged

A run can be compared where the same versions decided: of code, configuration and strategy, of Python and platform.
That is the caller's knowledge (``incomparable``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from holdfast.journal import EpochRecord, Record
from holdfast.kernel import Kernel
from holdfast.model.commands import Command
from holdfast.model.errors import StrategyError
from holdfast.model.events import Event, StateHashed
from holdfast.runner.recovery import Step, steps

_NOTHING = "nothing"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first place at which a replay came to something else.

    Attributes:
        seq: The record of the event.
        event: The event, as JSON.
        recorded: The command or the hash in the journal, as JSON or text.
        computed: What came instead.
    """

    seq: int
    event: str
    recorded: str
    computed: str


class EpochReplay(msgspec.Struct, kw_only=True):
    """One run in a replay.

    Attributes:
        epoch: The run's head; None for records before any.
        seq: The record of the head.
        incomparable: Why its decisions were not compared; empty where they were.
        events: How many were shown.
        commands: How many recorded commands were compared.
        hashes: How many hashes of the state were compared.
        differences: Decisions that would be others today, in a run that was not compared.
        failures: Events at which a strategy raised, then as now.
    """

    epoch: EpochRecord | None
    seq: int
    incomparable: tuple[str, ...]
    events: int = 0
    commands: int = 0
    hashes: int = 0
    differences: int = 0
    failures: int = 0


class Replay(msgspec.Struct, kw_only=True):
    """What a replay found: the runs up to the first difference, and that difference; None where there is none."""

    epochs: list[EpochReplay]
    difference: Difference | None = None


def replay(
    records: Iterable[Record],
    kernel: Kernel,
    incomparable: Callable[[EpochRecord], tuple[str, ...]] = lambda _: (),
) -> Replay:
    """Show a journal's records to a new kernel.

    Args:
        records: All of them, in order.
        kernel: Made as the one that decided then.
        incomparable: Why the decisions of a run cannot be compared; nothing where they can.

    Raises:
        JournalError: A record is damaged or missing; names the place.
    """
    found = Replay(epochs=[])
    now: EpochReplay | None = None
    for step in steps(records):
        event = step.content
        if isinstance(event, EpochRecord):
            now = EpochReplay(epoch=event, seq=step.seq, incomparable=incomparable(event))
            found.epochs.append(now)
            continue
        if now is None:
            now = EpochReplay(epoch=None, seq=step.seq, incomparable=())
            found.epochs.append(now)
        now.events += 1
        if now.incomparable or (step.is_torn and not isinstance(event, StateHashed)):
            now.differences += _follow(kernel, event, step.commands)
        else:
            found.difference = _compare(kernel, step, event, now)
            if found.difference is not None:
                return found
    return found


def _follow(kernel: Kernel, event: Event, commands: Sequence[Command]) -> int:
    return len(kernel.follow(event, commands))


def _compare(kernel: Kernel, step: Step, event: Event, now: EpochReplay) -> Difference | None:
    """Have the kernel handle an event, and look whether all is as it was."""
    if isinstance(event, StateHashed):
        now.hashes += 1
        computed = kernel.state_hash()
        return None if computed == event.digest else _difference(step, event, event.digest, computed)
    recorded = step.commands
    try:
        answer = tuple(kernel.handle(event))
    except StrategyError as error:
        if not recorded:
            # It raised then, too: the bot stopped at this event, and only its last words follow.
            now.failures += 1
            return None
        return _difference(step, event, _text(recorded[0]), str(error))
    now.commands += len(recorded)
    if answer == recorded:
        return None
    for index in range(max(len(answer), len(recorded))):
        ours, theirs = answer[index : index + 1], recorded[index : index + 1]
        if ours != theirs:
            return _difference(step, event, _text(*theirs), _text(*ours))
    return None  # pragma: no cover - two tuples that are not equal differ somewhere


def _difference(step: Step, event: Event, recorded: str, computed: str) -> Difference:
    return Difference(seq=step.seq, event=_text(event), recorded=recorded, computed=computed)


def _text(*message: object) -> str:
    return msgspec.json.encode(message[0]).decode() if message else _NOTHING
