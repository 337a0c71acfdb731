"""The halt file: what leaves while it is there, what is told to the kernel, and what a damaged one counts as."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from holdfast.model import OrderStatus, TradingState
from holdfast.model.errors import HoldfastError
from holdfast.runner import Runner
from holdfast.runner.halt_file import TRADING_STATE, HaltFile, HaltOrder, HaltState, new_id
from holdfast.runner.halt_watch import HaltWatch
from holdfast.testing import Held, InProcessBot
from tests.runner.helpers import bar, buy, sell, trading


def order(state: HaltState, reason: str = "test") -> HaltOrder:
    """A request."""
    return HaltOrder(state=state, who="somebody", at="2024-01-02T15:00:00Z", reason=reason, id=new_id())


@pytest.fixture
def file(tmp_path: Path) -> HaltFile:
    """Of a journal that needs not be there."""
    return HaltFile(tmp_path / "journal")


# -- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "opening", "reducing"),
    [("halted", False, False), ("reducing", False, True), ("flatten", False, True)],
)
def test_what_may_leave_by_the_state_of_the_file(
    file: HaltFile, state: HaltState, *, opening: bool, reducing: bool
) -> None:
    """As the module's table says; the reason names who, when and why."""
    assert file.brake(reduces=False) is None
    file.write(order(state))

    assert (file.brake(reduces=False) is None, file.brake(reduces=True) is None) == (opening, reducing)
    assert file.brake(reduces=False) == f"the halt file says {state} by somebody at 2024-01-02T15:00:00Z: test"
    assert state in TRADING_STATE


@pytest.mark.parametrize(
    "content", [b"", b"{", b"halt!", b'{"state":"on"}', b'{"state":"halted","seconds":"many"}', b"\xff"]
)
def test_what_cannot_be_read_counts_as_a_halt(file: HaltFile, content: bytes) -> None:
    """Somebody put it there to stop something: it fails closed, for exits too."""
    file.path.write_bytes(content)

    assert "which counts as a halt" in str(file.brake(reduces=True))
    file.path.unlink()
    assert file.brake(reduces=True) is None


def test_an_empty_file_made_by_hand_halts(file: HaltFile) -> None:
    """`touch FILE.halt` is what somebody without this program can do."""
    file.path.touch()

    assert file.brake(reduces=True) is not None


def test_a_file_that_cannot_be_looked_at_counts_as_a_halt(tmp_path: Path) -> None:
    """Only "there is no such file" is a clear answer: here a part of the path is no folder."""
    (tmp_path / "plain").touch()

    assert "cannot be looked at" in str(HaltFile(tmp_path / "plain" / "journal").brake(reduces=True))


def test_a_folder_of_that_name_counts_as_a_halt(file: HaltFile) -> None:
    """Whatever it is, it is there."""
    file.path.mkdir()

    assert file.brake(reduces=True) is not None


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(file: HaltFile) -> None:
    """The look is one stat; content is read once."""
    file.write(order("reducing"))
    first = file.read()
    assert file.read() is first
    file.write(order("halted"))

    assert file.brake(reduces=True) is not None


def test_a_request_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """And leaves nothing behind."""
    file = HaltFile(tmp_path / "nowhere" / "journal")
    with pytest.raises(HoldfastError, match="cannot be written: No such file or directory; nothing was changed"):
        file.write(order("halted"))
    assert list(tmp_path.iterdir()) == []


def test_a_later_halt_wins_over_a_resume_that_nobody_took(file: HaltFile) -> None:
    """The last word counts."""
    file.write(order("halted"))
    assert file.resume("somebody")
    assert file.resume_asked()
    file.write(order("halted"))

    assert not file.resume_asked()
    assert not file.resume_path.exists()
    assert file.brake(reduces=False) is not None


def test_only_its_owner_may_read_the_file(file: HaltFile) -> None:
    """It names people and reasons."""
    file.write(order("halted"))

    assert file.path.stat().st_mode & 0o077 == 0
    assert [found.name for found in file.path.parent.iterdir()] == ["journal.halt"]


# -- in a session --------------------------------------------------------------------------------


async def braked(file: HaltFile) -> InProcessBot:
    """A bot whose sender looks at the file, and nobody else does."""

    class Braked(Runner):
        def __init__(self, *parts: Any, **options: Any) -> None:
            super().__init__(*parts, **options, brake=file.brake)

    bot = await trading(make_runner=Braked)
    await bot.submit(buy())
    await bot.play(bar(2))
    return bot


def statuses(bot: InProcessBot) -> list[OrderStatus]:
    """Of all orders."""
    return [one.status for one in bot.kernel.portfolio.tracker.orders()]


async def test_an_order_that_waits_for_its_turn_meets_the_file(file: HaltFile) -> None:
    """The kernel knew of nothing and had decided: at the last moment before it leaves, the file is there."""
    bot = await braked(file)
    held = Held()
    bot.broker.script("place", held)
    waiting = asyncio.ensure_future(bot.submit(buy()))
    await asyncio.sleep(0)
    await bot.settle()
    file.write(order("halted", "news"))
    held.release()
    await waiting
    await bot.settle()

    assert statuses(bot) == [OrderStatus.FILLED, OrderStatus.NEVER_SENT]
    assert len(bot.broker.sent()) == 1
    closed = bot.kernel.portfolio.tracker.orders()[-1]
    assert "the halt file says halted by somebody" in closed.evidence


@pytest.mark.parametrize(("state", "leaves"), [("halted", False), ("reducing", True), ("flatten", True)])
async def test_an_exit_leaves_unless_everything_is_halted(file: HaltFile, state: HaltState, *, leaves: bool) -> None:
    """Cancels always do."""
    bot = await braked(file)
    await bot.submit(buy(5, limit=50.0))
    file.write(order(state))
    await bot.submit(sell())
    await bot.settle()

    assert len(bot.broker.made("request_cancel")) == 1
    assert len(bot.broker.sent()) == (3 if leaves else 2)


async def test_canary_without_the_last_look_the_order_leaves(file: HaltFile) -> None:
    """What the look is for can be seen to be missing."""
    bot = await trading()
    held = Held()
    bot.broker.script("place", held)
    waiting = asyncio.ensure_future(bot.submit(buy()))
    await asyncio.sleep(0)
    await bot.settle()
    file.write(order("halted"))
    held.release()
    await waiting
    await bot.settle()

    assert len(bot.broker.sent()) == 1


# -- what the kernel is told ---------------------------------------------------------------------


async def watched(file: HaltFile) -> tuple[InProcessBot, HaltWatch]:
    """A bot, and what looks at the file for it."""
    bot = await trading()
    return bot, HaltWatch(bot.runner, file)


def state(bot: InProcessBot) -> TradingState:
    """What the kernel may do."""
    return bot.kernel.portfolio.trading_state


async def test_each_request_is_told_once_and_stays_when_the_file_goes(file: HaltFile) -> None:
    """Only a resume lifts it."""
    bot, watch = await watched(file)
    request = order("reducing")
    file.write(request)
    assert watch.look()
    assert not watch.look()
    await bot.settle()
    assert (state(bot), watch.heard) == (TradingState.REDUCING, request.id)
    assert bot.alerts.titles("system").count("trading is reducing") == 1

    file.path.unlink()
    watch.look()
    await bot.settle()
    assert state(bot) is TradingState.REDUCING


async def test_a_resume_is_taken_once_and_its_file_goes_when_trading_is_active(file: HaltFile) -> None:
    """Not before: a bot that dies in between must find it again."""
    bot, watch = await watched(file)
    file.write(order("halted"))
    watch.look()
    await bot.settle()
    file.resume("somebody")
    assert watch.look()
    assert not watch.look()
    assert file.resume_path.exists()
    await bot.settle()
    assert state(bot) is TradingState.ACTIVE
    watch.look()
    assert not file.resume_path.exists()

    bot.runner.change_state(TradingState.HALTED, "a halt of the kernel's own, later")
    await bot.settle()
    watch.look()
    await bot.settle()
    assert state(bot) is TradingState.HALTED, "a resume works once"


@pytest.mark.parametrize(
    ("journaled", "asked", "then"),
    [
        (TradingState.ACTIVE, "halted", TradingState.HALTED),
        (TradingState.ACTIVE, "reducing", TradingState.REDUCING),
        (TradingState.HALTED, "reducing", TradingState.HALTED),
        (TradingState.REDUCING, "halted", TradingState.HALTED),
    ],
)
async def test_a_run_starts_in_the_stricter_of_journal_and_file(
    file: HaltFile, journaled: TradingState, asked: HaltState, then: TradingState
) -> None:
    """And says so."""
    bot, watch = await watched(file)
    bot.runner.change_state(journaled, "before")
    await bot.settle()
    file.write(order(asked, "old news"))
    watch.look(at_start=True)
    await bot.settle()

    assert state(bot) is then
    assert "old news" in bot.alerts.alerts[-1].details


async def test_a_later_request_counts_as_it_stands(file: HaltFile) -> None:
    """Halted, then `halt --reduce`: exits may leave again; that is the operator's word."""
    bot, watch = await watched(file)
    for asked, then in (("halted", TradingState.HALTED), ("reducing", TradingState.REDUCING)):
        file.write(order(asked))  # type: ignore[arg-type]  # both are states
        watch.look()
        await bot.settle()
        assert state(bot) is then


async def test_a_damaged_file_is_told_as_a_halt(file: HaltFile) -> None:
    """Once."""
    bot, watch = await watched(file)
    file.path.write_bytes(b"?")
    assert watch.look()
    assert not watch.look()
    await bot.settle()

    assert state(bot) is TradingState.HALTED


async def test_the_state_survives_a_crash(file: HaltFile) -> None:
    """It is an event in the journal like any other."""
    bot, watch = await watched(file)
    file.write(order("reducing"))
    watch.look()
    await bot.settle()
    await bot.journal.sync()
    again = await bot.crash()
    await again.start()

    assert state(again) is TradingState.REDUCING
    refused = await again.submit(buy())
    assert (refused.approved, refused.guard) == (False, "trading_state")
