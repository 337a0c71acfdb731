"""A replay proves that a journal gives the same again, and names the first record at which it does not (P8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from holdfast.journal import EpochRecord, MemoryJournal, Record
from holdfast.kernel import Kernel
from holdfast.model.commands import SendAlert, SubmitOrder
from holdfast.model.errors import StrategyError
from holdfast.model.events import EpochStarted, ShutdownStarted, StateHashed
from holdfast.runner.recovery import recover
from holdfast.runner.replay import Replay, replay
from holdfast.testing import FaultyJournal, InProcessBot
from holdfast.testing.bot import make_kernel
from tests.runner.helpers import Scripted, bar
from tests.runner.test_recovery import Swings, a_day, maker


class Told(Swings):
    """Swings that say what they keep."""

    name = "Swings"

    def save_state(self) -> object:
        """All of its history."""
        return list(self.history)

    def load_state(self, state: Any) -> None:
        """Go on from there."""
        self.history = state


def told() -> list[Told]:
    """New ones."""
    return [Told(["SPY"])]


async def a_journal(runs: int = 2, *, clean: bool = True) -> list[Record]:
    """The records of a bot that traded through faults, in several runs."""
    bot = InProcessBot(told, snapshot_every=60)
    await a_day(bot)
    for run in range(1, runs):
        await bot.journal.sync()
        bot = await bot.crash()
        await bot.start()
        await bot.play(*(bar(60 * run + minute, 100.0 + minute % 3) for minute in range(8)))
    if clean:
        await bot.runner.shut_down(cancel_orders=True, patience_seconds=0.0)
    await bot.journal.sync()
    return list(bot.journal.records())


def fresh() -> Kernel:
    """A kernel of the journal's kind."""
    return make_kernel(told())


def change(records: list[Record], seq: int, content: Any) -> list[Record]:
    """The same records with another content in one."""
    return [Record(seq, content) if record.seq == seq else record for record in records]


def with_commands(records: list[Record], kind: type) -> list[Record]:
    """The records of commands that hold one of a kind."""
    return [r for r in records if isinstance(r.content, tuple) and any(isinstance(c, kind) for c in r.content)]


async def a_copy(records: list[Record]) -> MemoryJournal:
    """A journal with these records."""
    journal = MemoryJournal(next(r.content.journal_id for r in records if isinstance(r.content, EpochStarted)))
    for record in records:
        content = record.content
        if isinstance(content, EpochRecord):
            journal.append_epoch(content)
        elif isinstance(content, tuple):
            journal.append_commands(content)
        else:
            journal.append_event(content)
    await journal.sync()
    return journal


async def test_p8_a_journal_gives_the_same_again() -> None:
    """Through faults, two runs, snapshots and a clean stop: each command and each hash is compared."""
    records = await a_journal()
    found = replay(records, fresh())

    assert found.difference is None
    assert [run.incomparable for run in found.epochs] == [(), ()]
    recorded = sum(len(record.content) for record in records if isinstance(record.content, tuple))
    assert sum(run.commands for run in found.epochs) == recorded > 100
    hashes = [record for record in records if isinstance(record.content, StateHashed)]
    assert sum(run.hashes for run in found.epochs) == len(hashes) > 3
    assert sum(run.differences for run in found.epochs) == 0
    assert records[-1] == hashes[-1]


async def test_p8_a_journal_that_ends_between_an_event_and_its_answer_is_whole() -> None:
    """Its bot is dead, or about to write it: what was never written down is no difference."""
    records = await a_journal(1, clean=False)
    cut = with_commands(records, SubmitOrder)[-1].seq - 1
    assert replay(records[:cut], fresh()).difference is None


async def test_of_many_differences_a_restart_tells_the_first_few() -> None:
    """And how many there were: people read the message."""
    journal = await a_copy(await a_journal(4))
    recovery = recover(journal, make_kernel(maker(quantity=8)))
    assert len(recovery.differences) == 20 < recovery.difference_count


async def test_p8_also_after_a_crash_that_cut_off_an_answer() -> None:
    """An event whose commands were never written down is followed, as the restart did; the next run agrees."""
    records = await a_journal(1, clean=False)
    cut = with_commands(records, SubmitOrder)[-1].seq - 1
    bot = InProcessBot(told, journal=FaultyJournal(await a_copy(records[:cut])))
    bot.clock.advance_to(bar(200).ts)
    recovery = await bot.start()
    assert recovery.difference_count == 1
    await bot.play(bar(201))
    await bot.runner.shut_down(cancel_orders=True, patience_seconds=0.0)
    await bot.journal.sync()

    found = replay(bot.journal.records(), fresh())
    assert found.difference is None
    assert [run.differences for run in found.epochs] == [1, 0]
    assert found.epochs[-1].hashes == 1


def _another_quantity(records: list[Record]) -> tuple[list[Record], int, str, str]:
    record = with_commands(records, SubmitOrder)[3]
    assert isinstance(record.content, tuple)
    index, submit = next((i, c) for i, c in enumerate(record.content) if isinstance(c, SubmitOrder))
    more = msgspec.structs.replace(
        submit, intent=msgspec.structs.replace(submit.intent, quantity=submit.intent.quantity + 1)
    )
    commands = (*record.content[:index], more, *record.content[index + 1 :])
    return change(records, record.seq, commands), record.seq - 1, str(more.intent.quantity), str(submit.intent.quantity)


def _one_less(records: list[Record]) -> tuple[list[Record], int, str, str]:
    record = with_commands(records, SendAlert)[2]
    assert isinstance(record.content, tuple)
    return change(records, record.seq, record.content[:-1]), record.seq - 1, "nothing", "type"


def _one_more(records: list[Record]) -> tuple[list[Record], int, str, str]:
    record = with_commands(records, SubmitOrder)[5]
    assert isinstance(record.content, tuple)
    more = (*record.content, SendAlert(channel="x", title="invented"))
    return change(records, record.seq, more), record.seq - 1, "invented", "nothing"


def _another_hash(records: list[Record]) -> tuple[list[Record], int, str, str]:
    record = next(record for record in records if isinstance(record.content, StateHashed))
    assert isinstance(record.content, StateHashed)
    wrong = StateHashed(ts=record.content.ts, digest="f" * 64)
    return change(records, record.seq, wrong), record.seq, "f" * 64, record.content.digest


@pytest.mark.parametrize("falsify", [_another_quantity, _one_less, _one_more, _another_hash])
async def test_the_first_difference_is_named(
    falsify: Callable[[list[Record]], tuple[list[Record], int, str, str]],
) -> None:
    """By its record, with what stands there and what was computed; nothing after it is looked at."""
    records, seq, recorded, computed = falsify(await a_journal())
    found = replay(records, fresh())

    assert found.difference is not None
    assert found.difference.seq == seq
    assert recorded in found.difference.recorded
    assert computed in found.difference.computed
    assert sum(run.events for run in found.epochs) <= seq


async def test_a_strategy_that_forgets_something_is_found_by_the_hash() -> None:
    """The commands are the same, and the state is not."""
    records = await a_journal(1)

    class Other(Told):
        def load_state(self, state: Any) -> None:
            """As before."""

        def save_state(self) -> object:
            """Something else."""
            return len(self.history)

    found = replay(records, make_kernel([Other(["SPY"])]))
    assert found.difference is not None
    assert "state_hashed" in found.difference.event


async def test_runs_that_cannot_be_compared_are_followed_and_named() -> None:
    """Another strategy made them: what it would do today is counted, and no difference."""
    records = await a_journal()
    found = replay(records, make_kernel(maker(quantity=8)), lambda epoch: (f"run {epoch.epoch} is another's",))

    assert found.difference is None
    assert [run.incomparable for run in found.epochs] == [("run 1 is another's",), ("run 2 is another's",)]
    assert all(run.differences > 0 for run in found.epochs)
    assert sum(run.commands + run.hashes for run in found.epochs) == 0


async def test_a_run_after_one_of_another_kind_is_compared_all_the_same() -> None:
    """What it had not decided itself it followed; so does the replay."""
    records = await a_journal()
    found: Replay = replay(records, fresh(), lambda epoch: ("other code",) if epoch.epoch == 1 else ())

    assert found.difference is None
    assert [bool(run.incomparable) for run in found.epochs] == [True, False]
    assert found.epochs[1].commands > 0


async def test_a_strategy_that_raised_then_raises_again() -> None:
    """The bot stopped at that event, and the journal says no more of it than its last words."""

    def scripted() -> list[Scripted]:
        return [Scripted(["SPY"], {2: lambda s, _: s.buy("SPY", 1), 3: lambda s, _: s.load_state(0)})]

    bot = InProcessBot(scripted)
    await bot.start()
    await bot.play(bar(1), bar(2))
    with pytest.raises(StrategyError):
        await bot.play(bar(3))
    await bot.runner.shut_down(cancel_orders=True, patience_seconds=0.0)
    await bot.journal.sync()
    records = list(bot.journal.records())
    assert any(isinstance(record.content, ShutdownStarted) for record in records)

    found = replay(records, make_kernel(scripted()))
    assert (found.difference, found.epochs[0].failures) == (None, 1)

    calm = replay(records, make_kernel([Scripted(["SPY"])]))
    assert calm.difference is not None
