"""What the venue says of its limit bounds what starts, and never lets through more than is configured.

Everything is in virtual time. The property takes a random schedule of calls, each answered a while later by a venue that
says whatever it likes, and checks the words of ``note_limit`` literally against the list of starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model.errors import UnknownLimitError
from holdfast.model.timestamps import NS_PER_MS, NS_PER_SECOND
from holdfast.net import RateLimit, SharedLimit, Throttler
from holdfast.time import BacktestClock

Drive = Callable[[BacktestClock, Iterable[asyncio.Task[Any]]], Awaitable[None]]


async def starts_of(
    throttler: Throttler, clock: BacktestClock, drive: Drive, calls: int, *, reserved: bool = False, limit_id: str = "x"
) -> list[float]:
    """When so many calls that all come now start, in seconds from now."""
    began, found = clock.now_ns(), list[float]()

    async def call() -> None:
        await throttler.acquire(limit_id, reserved=reserved)
        found.append((clock.now_ns() - began) / NS_PER_SECOND)

    await drive(clock, [asyncio.create_task(call()) for _ in range(calls)])
    return found


async def test_what_the_venue_has_left_is_all_that_starts_until_its_reset(drive: Drive) -> None:
    """Other programs used the rest. After the reset our own limit alone counts."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(100, 60.0)}, clock)
    throttler.note_limit("x", throttler.mark("x"), remaining=2, reset_ns=30 * NS_PER_SECOND)

    assert await starts_of(throttler, clock, drive, 5) == [0, 0, 30, 30, 30]


async def test_a_generous_venue_changes_nothing(drive: Drive) -> None:
    """What is configured holds, whatever it says."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(2, 60.0)}, clock)
    throttler.note_limit("x", throttler.mark("x"), limit=1_000, remaining=900, reset_ns=30 * NS_PER_SECOND)

    assert await starts_of(throttler, clock, drive, 5) == [0, 0, 60, 60, 120]


async def test_a_lower_limit_bounds_every_window_until_the_venue_names_another(drive: Drive) -> None:
    """And the newest word counts."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(4, 60.0)}, clock)
    throttler.note_limit("x", throttler.mark("x"), limit=2)
    assert await starts_of(throttler, clock, drive, 5) == [0, 0, 60, 60, 120]

    clock.advance_to(1_000 * NS_PER_SECOND)
    throttler.note_limit("x", throttler.mark("x"), limit=3)
    assert await starts_of(throttler, clock, drive, 4) == [0, 0, 0, 60]


async def test_what_started_after_the_answered_request_counts_against_the_answer(drive: Drive) -> None:
    """The venue had not seen it when it counted."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(100, 60.0)}, clock)
    await throttler.acquire("x")
    mark = throttler.mark("x")
    for _ in range(3):
        await throttler.acquire("x")
    throttler.note_limit("x", mark, remaining=5, reset_ns=10 * NS_PER_SECOND)

    assert await starts_of(throttler, clock, drive, 4) == [0, 0, 10, 10]


async def test_ordinary_calls_leave_the_reserve_of_what_is_left(drive: Drive) -> None:
    """A cancel starts at once where an ordinary call waits for the reset."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(100, 60.0, reserve=0.1)}, clock)
    throttler.note_limit("x", throttler.mark("x"), remaining=11, reset_ns=30 * NS_PER_SECOND)

    assert await starts_of(throttler, clock, drive, 1) == [0]
    assert await starts_of(throttler, clock, drive, 10, reserved=True) == [0] * 10
    assert await starts_of(throttler, clock, drive, 1, reserved=True) == [30]


async def test_an_ordinary_call_waits_where_only_the_reserve_is_left(drive: Drive) -> None:
    """It waits until the reset."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(100, 60.0, reserve=0.1)}, clock)
    throttler.note_limit("x", throttler.mark("x"), remaining=10, reset_ns=30 * NS_PER_SECOND)

    assert await starts_of(throttler, clock, drive, 1) == [30]


async def test_the_reserve_shrinks_with_the_limit(drive: Drive) -> None:
    """A venue that allows ten in all keeps one of them, not twenty of two hundred."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(200, 60.0, reserve=0.1)}, clock)
    throttler.note_limit("x", throttler.mark("x"), limit=10, remaining=10, reset_ns=30 * NS_PER_SECOND)

    assert await starts_of(throttler, clock, drive, 10) == [0] * 9 + [60]


@pytest.mark.parametrize(
    ("reset_s", "starts"),
    [(-5, 0.0), (0, 0.0), (7, 7.0), (60, 60.0), (10**9, 60.0)],
)
async def test_a_reset_is_at_most_a_period_away_and_one_that_is_over_says_nothing(
    drive: Drive, reset_s: int, starts: float
) -> None:
    """So a wrong clock can neither free us nor stop us for good."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(100, 60.0)}, clock)
    throttler.note_limit("x", throttler.mark("x"), remaining=0, reset_ns=reset_s * NS_PER_SECOND)

    assert await starts_of(throttler, clock, drive, 1) == [starts]


async def test_of_two_answers_about_one_window_the_stricter_counts_and_a_later_window_replaces_it(drive: Drive) -> None:
    """Answers overtake each other."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(100, 60.0)}, clock)
    mark = throttler.mark("x")
    for left, reset in ((1, 30), (5, 30), (9, 20)):
        throttler.note_limit("x", mark, remaining=left, reset_ns=reset * NS_PER_SECOND)
    assert await starts_of(throttler, clock, drive, 2) == [0, 30]

    throttler.note_limit("x", throttler.mark("x"), remaining=3, reset_ns=50 * NS_PER_SECOND)
    assert await starts_of(throttler, clock, drive, 4) == [0, 0, 0, 20]


async def test_all_that_share_a_limit_are_bound(drive: Drive) -> None:
    """The venue counts an account's requests together."""
    clock = BacktestClock(0)
    throttler = Throttler({"x": RateLimit(100, 60.0), "y": SharedLimit(("x",))}, clock)
    throttler.note_limit("y", throttler.mark("y"), remaining=1, reset_ns=30 * NS_PER_SECOND)

    assert await starts_of(throttler, clock, drive, 2, limit_id="x") == [0, 30]


def test_half_an_answer_is_no_answer() -> None:
    """What is left means nothing without the moment, and a limit of nothing is none."""
    throttler = Throttler({"x": RateLimit(1, 60.0)}, BacktestClock(0))
    throttler.note_limit("x", throttler.mark("x"), remaining=0)
    throttler.note_limit("x", throttler.mark("x"), limit=0)
    throttler.note_limit("x", throttler.mark("x"), reset_ns=NS_PER_SECOND)

    assert throttler.get_stats()["x"]["queued"] == 0
    asyncio.run(asyncio.wait_for(throttler.acquire("x"), 1))
    with pytest.raises(UnknownLimitError):
        throttler.mark("z")


@dataclass(frozen=True)
class Asked:
    """A call: when it comes, what it is, how long its answer takes and what that says."""

    at: int
    reserved: bool
    latency: int
    limit: int
    left: int
    reset_in: int


ASKED = st.builds(
    Asked,
    st.integers(0, 3_000).map(lambda ms: ms * NS_PER_MS),
    st.booleans(),
    st.integers(1, 400).map(lambda ms: ms * NS_PER_MS),
    st.integers(0, 12),
    st.integers(0, 8),
    st.integers(-200, 2_000).map(lambda ms: ms * NS_PER_MS),
)


@settings(max_examples=300, deadline=None)
@given(asked=st.lists(ASKED, max_size=40), share=st.sampled_from([0.0, 0.2]))
def test_no_answer_is_ever_exceeded_and_every_call_starts(asked: list[Asked], share: float, drive: Drive) -> None:
    """The strictest reading of each answer, checked over all starts; P6 holds beside it; nobody waits for ever."""
    limit = RateLimit(6, 1.0, reserve=share)
    clock = BacktestClock(0)
    throttler = Throttler({"x": limit}, clock)
    moments: list[int] = []
    notes: list[tuple[int, int, int, int]] = []  # started before the answer, left, until, told at

    async def call(one: Asked) -> None:
        await clock.wait_until(one.at)
        await throttler.acquire("x", reserved=one.reserved)
        mark = throttler.mark("x")
        moments.append(clock.now_ns())
        await clock.wait_until(clock.now_ns() + one.latency)
        now = clock.now_ns()
        until = now + one.reset_in
        throttler.note_limit("x", mark, limit=one.limit, remaining=one.left, reset_ns=until)
        notes.append((len(moments), one.left - (len(moments) - mark[0]), min(until, now + limit.period_ns), now))

    async def run() -> None:
        await drive(clock, [asyncio.create_task(call(one)) for one in asked])

    asyncio.run(run())

    assert len(moments) == len(asked)
    assert all(sum(begin <= at < begin + limit.period_ns for at in moments) <= limit.limit for begin in moments)
    for index, (before, left, until, told) in enumerate(notes):
        # Binding are the first word on a window, and any later one that reaches as far.
        rivals = [note for note in notes[:index] if note[2] > told]
        if until <= told or any(rival[2] > until for rival in rivals):
            continue
        later = [note for note in notes[index + 1 :] if note[2] > until]
        end = min([until, *(note[3] for note in later)])
        assert sum(at < end for at in moments[before:]) <= max(0, left)
