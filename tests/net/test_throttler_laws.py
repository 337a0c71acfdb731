"""The laws of the throttler, for random schedules: it does exactly what a slow and obvious model says.

The model knows no queues, futures or timers. It takes the calls in the order of their arrival and tries, for
each, the moments at which it might start, earliest first, against the definition of the limit. That the real
throttler starts every call at exactly the model's moment says all at once that no window is exceeded, that order
holds, that nobody starves and that no time is lost. The window checker, a third and independent
piece, is itself checked by a throttler that is known to be wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model.timestamps import NS_PER_MS, NS_PER_SECOND
from holdfast.net import RateLimit, SharedLimit, Throttler
from holdfast.time import BacktestClock

Drive = Callable[[BacktestClock, Iterable[asyncio.Task[Any]]], Awaitable[None]]
QUARTER_MS = NS_PER_MS // 4


def most_in_any_window(starts: Sequence[tuple[int, int]], period_ns: int) -> int:
    """The greatest weight that started in any half-open window of this length; starts are (moment, weight)."""
    return max(
        (sum(weight for at, weight in starts if begin <= at < begin + period_ns) for begin, _ in starts), default=0
    )


@dataclass(frozen=True)
class Call:
    """Arrives, and is cancelled if it still waits then. Cancels lie half a millisecond off, so that nothing ties."""

    at: int
    limit_id: str
    weight: int
    cancel_at: int | None
    reserved: bool = False


@dataclass(frozen=True)
class Penalty:
    """At a moment, nothing may start on a limit until another; a quarter of a millisecond off the grid."""

    at: int
    limit_id: str
    until: int


@dataclass
class Plan:
    """Limits and what is done to them."""

    limits: dict[str, RateLimit | SharedLimit]
    calls: list[Call]
    penalties: list[Penalty] = field(default_factory=list)

    def windows(self, limit_id: str) -> set[str]:
        """The windows that a call on this id draws on."""
        limit = self.limits[limit_id]
        own = {limit_id} if isinstance(limit, RateLimit) else set()
        return own.union(*(self.windows(linked) for linked in limit.linked))


def model(plan: Plan) -> list[int | None]:
    """When each call starts, or None where it is cancelled first."""
    starts: dict[str, list[tuple[int, int]]] = {name: [] for name in plan.limits}
    left: dict[str, int] = dict.fromkeys(plan.limits, 0)  # when the last arrival left each window's queue
    result: list[int | None] = []
    for call in plan.calls:
        windows = plan.windows(call.limit_id)
        bound = max([call.at, *(left[window] for window in windows)])
        moments = {bound}
        moments |= {at + _period(plan, window) for window in windows for at, _ in starts[window]}
        moments |= {penalty.until for penalty in plan.penalties}
        start = min(m for m in moments if m >= bound and _allowed(plan, call, windows, starts, m))
        if call.cancel_at is not None and call.cancel_at < start:
            result.append(None)
            leaves = max(call.cancel_at, call.at)
            for window in windows:
                left[window] = max(left[window], leaves)
            continue
        result.append(start)
        for window in windows:
            starts[window].append((start, call.weight))
            left[window] = start
    return result


def _allowed(plan: Plan, call: Call, windows: set[str], starts: dict[str, list[tuple[int, int]]], moment: int) -> bool:
    for window in windows:
        limit = plan.limits[window]
        assert isinstance(limit, RateLimit)
        recent = sum(weight for at, weight in starts[window] if moment - _period(plan, window) < at)
        if recent + call.weight > limit.limit:
            return False
        for penalty in plan.penalties:
            if window in plan.windows(penalty.limit_id) and penalty.at < moment < penalty.until:
                return False
    return True


def _room(limit: RateLimit | SharedLimit, *, reserved: bool) -> int:
    """How full a call of this class may make a window."""
    assert isinstance(limit, RateLimit)
    return limit.limit if reserved else limit.limit - limit.reserved_slots


class TwoClasses:
    """The same with reserved calls: moment by moment, whoever waits is tried in the order that the rules give."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.starts: dict[str, list[tuple[int, int]]] = {name: [] for name in plan.limits}
        self.result: list[int | None] = [None] * len(plan.calls)
        self.waiting: list[int] = []
        self.now = -1

    def run(self) -> list[int | None]:
        """When each call starts, or None where it is cancelled first."""
        calls = self.plan.calls
        fixed = {call.at for call in calls} | {penalty.until for penalty in self.plan.penalties}
        fixed |= {call.cancel_at for call in calls if call.cancel_at is not None}
        while True:
            ends = {at + _period(self.plan, window) for window, begun in self.starts.items() for at, _ in begun}
            later = [moment for moment in fixed | ends if moment > self.now]
            if not later:
                return self.result
            self.now = min(later)
            self.waiting = [index for index in self.waiting if calls[index].cancel_at != self.now]
            self.start_all()
            for index in (index for index, call in enumerate(calls) if call.at == self.now):
                self.waiting.append(index)
                self.start_all()

    def start_all(self) -> None:
        """Everybody who may start does."""
        while (index := next((i for i in self.waiting if self.is_next(i) and self.has_room(i)), None)) is not None:
            self.waiting.remove(index)
            self.result[index] = self.now
            call = self.plan.calls[index]
            for window in self.plan.windows(call.limit_id):
                self.starts[window].append((self.now, call.weight))

    def is_next(self, index: int) -> bool:
        """Nobody waits who draws on one of its windows and goes first."""
        call = self.plan.calls[index]
        windows = self.plan.windows(call.limit_id)
        rivals = [i for i in self.waiting if i != index and windows & self.plan.windows(self.plan.calls[i].limit_id)]
        firsts = [
            rival
            for rival in rivals
            if (self.plan.calls[rival].reserved, -rival) > (call.reserved, -index)  # reserved ones, then who came first
        ]
        return not firsts

    def has_room(self, index: int) -> bool:
        """All its windows have, and no penalty holds."""
        call = self.plan.calls[index]
        for window in self.plan.windows(call.limit_id):
            recent = sum(w for at, w in self.starts[window] if self.now - _period(self.plan, window) < at)
            if recent + call.weight > _room(self.plan.limits[window], reserved=call.reserved):
                return False
            for penalty in self.plan.penalties:
                if window in self.plan.windows(penalty.limit_id) and penalty.at < self.now < penalty.until:
                    return False
        return True


def _period(plan: Plan, window: str) -> int:
    limit = plan.limits[window]
    assert isinstance(limit, RateLimit)
    return limit.period_ns


async def perform(plan: Plan, drive: Drive) -> tuple[list[int | None], Throttler]:
    """The same with the real throttler."""
    clock = BacktestClock(0)
    throttler = Throttler(plan.limits, clock)
    started: list[int | None] = [None] * len(plan.calls)
    order = list[int]()

    async def make(index: int, call: Call) -> None:
        await clock.wait_until(call.at)
        await throttler.acquire(call.limit_id, call.weight, reserved=call.reserved)
        started[index] = clock.now_ns()
        order.append(index)

    async def cancel(task: asyncio.Task[None], at: int) -> None:
        await clock.wait_until(at)
        task.cancel()

    async def penalise(penalty: Penalty) -> None:
        await clock.wait_until(penalty.at)
        throttler.penalise(penalty.limit_id, penalty.until)

    tasks = [asyncio.create_task(make(index, call)) for index, call in enumerate(plan.calls)]
    others = [asyncio.create_task(penalise(penalty)) for penalty in plan.penalties]
    others += [
        asyncio.create_task(cancel(task, call.cancel_at))
        for task, call in zip(tasks, plan.calls, strict=True)
        if call.cancel_at is not None
    ]
    await drive(clock, [*tasks, *others])
    for window in plan.limits:
        for reserved in (False, True):
            mine = [index for index in order if plan.calls[index].reserved is reserved]
            drawn = [index for index in mine if window in plan.windows(plan.calls[index].limit_id)]
            assert drawn == sorted(drawn), f"{window}: calls started out of order: {drawn}"
    return started, throttler


@st.composite
def plans(draw: st.DrawFn, *, reserves: bool = False) -> Plan:
    """One limit, a shared one with members, or limits that cross, with calls of all weights, and of both classes if asked."""
    shares = st.sampled_from([0.0, 0.1, 0.5, 0.9]) if reserves else st.just(0.0)
    limit = st.builds(
        RateLimit, st.integers(1, 6), st.sampled_from([0.01, 0.03, 0.1, 1.0]), st.just(1), st.just(()), shares
    )
    shape = draw(st.sampled_from(["single", "shared", "crossed"]))
    limits: dict[str, RateLimit | SharedLimit] = {"p": draw(limit)}
    if shape != "single":
        narrow = draw(limit)
        limits["q"] = RateLimit(narrow.limit, narrow.period, linked=("p",), reserve=narrow.reserve)
        limits["r"] = SharedLimit(("p",))
    if shape == "crossed":
        limits["s"] = draw(limit)
        limits["t"] = SharedLimit(("s", "q"))
    names = sorted(limits)
    plan = Plan(limits, [])
    smallest = {
        (name, reserved): min(_room(limits[window], reserved=reserved) for window in plan.windows(name))
        for name in names
        for reserved in (False, True)
    }
    at = 0
    for _ in range(draw(st.integers(0, 30))):
        at += draw(st.sampled_from([0, 0, 0, 1, 3, 10, 95])) * NS_PER_MS
        name = draw(st.sampled_from(names))
        patience = draw(st.none() | st.none() | st.integers(0, 300))
        # No two at the same nanosecond: who of two that leave at once was still there for a moment is nobody's law.
        apart = 2 * QUARTER_MS + len(plan.calls)
        cancel_at = None if patience is None else at + patience * NS_PER_MS + apart
        reserved = reserves and draw(st.booleans())
        # A reserved call comes at a nanosecond of its own: whether it is there before or after somebody's
        # window opens at that very moment is nobody's law either.
        own = len(plan.calls) + 1 if reserved else 0
        plan.calls.append(
            Call(at + own, name, draw(st.integers(1, smallest[name, reserved])), cancel_at, reserved=reserved)
        )
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        begin = draw(st.integers(0, 200)) * NS_PER_MS + QUARTER_MS
        until = begin + draw(st.integers(-50, 300)) * NS_PER_MS + 2 * QUARTER_MS
        plan.penalties.append(Penalty(begin, draw(st.sampled_from(names)), until))
    return plan


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(plan=plans())
def test_every_call_starts_at_exactly_the_moment_of_the_model(plan: Plan, drive: Drive) -> None:
    """No window exceeded, order kept, nobody starved, no time lost, whatever arrives, weighs, or is cancelled."""
    started, throttler = asyncio.run(perform(plan, drive))

    assert started == model(plan)
    stats = throttler.get_stats()
    for name, limit in plan.limits.items():
        assert stats[name]["queued"] == 0
        if isinstance(limit, RateLimit):
            mine = [
                (at, call.weight)
                for at, call in zip(started, plan.calls, strict=True)
                if at is not None and name in plan.windows(call.limit_id)
            ]
            assert most_in_any_window(mine, limit.period_ns) <= limit.limit
            assert stats[name]["total_calls"] == len(mine)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(plan=plans(reserves=True))
def test_with_a_reserve_every_call_starts_at_exactly_the_moment_of_the_model(plan: Plan, drive: Drive) -> None:
    """The limit holds for both classes together, ordinary calls leave the reserve free, each class keeps its order."""
    started, throttler = asyncio.run(perform(plan, drive))

    assert started == TwoClasses(plan).run()
    for name, limit in plan.limits.items():
        assert throttler.get_stats()[name]["queued"] == 0
        if isinstance(limit, RateLimit):
            mine = [
                (at, call)
                for at, call in zip(started, plan.calls, strict=True)
                if at is not None and name in plan.windows(call.limit_id)
            ]
            everything = [(at, call.weight) for at, call in mine]
            assert most_in_any_window(everything, limit.period_ns) <= limit.limit
            ordinary = [(at, call.weight) for at, call in mine if not call.reserved]
            assert most_in_any_window(ordinary, limit.period_ns) <= limit.limit - limit.reserved_slots


@settings(max_examples=200, deadline=None)
@given(plan=plans())
def test_the_two_models_agree_where_nobody_is_reserved(plan: Plan) -> None:
    """Two independent ways to say the same law: the second is checked by the first."""
    assert TwoClasses(plan).run() == model(plan)


async def test_a_reserved_call_starts_at_once_however_many_wait(drive: Drive) -> None:
    """Twenty callers for nine ordinary places: the tenth is there for a cancel in the middle of it, the next one not."""
    crowd = [Call(0, "x", 1, None) for _ in range(20)]
    cancels = [Call(500 * NS_PER_MS, "x", 1, None, reserved=True), Call(501 * NS_PER_MS, "x", 1, None, reserved=True)]
    plan = Plan({"x": RateLimit(10, 1.0, reserve=0.1)}, crowd + cancels)
    started, _ = await perform(plan, drive)

    assert started[20] == 500 * NS_PER_MS
    assert started[:9] == [0] * 9
    assert started[21] == NS_PER_SECOND, "the second goes before the crowd as soon as a place is free"
    assert started[9:16] == [NS_PER_SECOND] * 7, "nine ordinary places less the two that reserved calls took"
    starts = [(at, 1) for at in started if at is not None]
    assert most_in_any_window(starts, NS_PER_SECOND) == 10


async def test_canary_one_queue_for_all_makes_a_cancel_wait(drive: Drive) -> None:
    """Without a reserve the same cancel stands behind the crowd: what the reserve is for can be seen to be missing."""
    crowd = [Call(0, "x", 1, None) for _ in range(20)]
    plan = Plan({"x": RateLimit(10, 1.0)}, [*crowd, Call(500 * NS_PER_MS, "x", 1, None)])
    started, _ = await perform(plan, drive)

    assert started[20] == 2 * NS_PER_SECOND


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 200), limit=st.integers(1, 30))
def test_a_crowd_is_through_in_the_ideal_time(count: int, limit: int, drive: Drive) -> None:
    """All at once: a full window at the start of each period, and not a nanosecond more."""
    plan = Plan({"x": RateLimit(limit, 1.0)}, [Call(0, "x", 1, None) for _ in range(count)])
    started, _ = asyncio.run(perform(plan, drive))

    assert started == [index // limit * NS_PER_SECOND for index in range(count)]


def edge_schedule() -> list[Call]:
    """One call at 0 s, 99 at 0.95 s and 200 at 1.05 s."""
    moments = [0] + [950 * NS_PER_MS] * 99 + [1050 * NS_PER_MS] * 200
    return [Call(at, "x", 1, None) for at in moments]


async def test_the_window_edge_that_breaks_buckets_holds(drive: Drive) -> None:
    """One call, 99 just before the second is over, 200 just after: never more than 100 in any one second."""
    plan = Plan({"x": RateLimit(100, 1.0)}, edge_schedule())
    started, _ = await perform(plan, drive)
    starts = [(at, 1) for at in started if at is not None]

    assert len(starts) == 300
    assert most_in_any_window(starts, NS_PER_SECOND) == 100
    assert starts[-1][0] == 2950 * NS_PER_MS  # 100 at 0 and 0.95 s, 1 at 1.05, 99 at 1.95, 1 at 2.05, 99 at 2.95


async def test_canary_a_token_bucket_is_caught_by_the_window_checker() -> None:
    """The checker sees what is wrong with the bucket: a full one goes at once and refills meanwhile."""
    limit, tokens, last = 100, 100.0, 0
    starts = list[tuple[int, int]]()
    for call in edge_schedule():
        now = max(call.at, last)
        tokens = min(limit, tokens + (now - last) / NS_PER_SECOND * limit)
        if tokens < 1:
            wait = round((1 - tokens) / limit * NS_PER_SECOND)
            now, tokens = now + wait, 1.0
        tokens, last = tokens - 1, now
        starts.append((now, 1))

    assert most_in_any_window(starts, NS_PER_SECOND) > 150


async def test_canary_the_checker_knows_the_edge_of_a_window() -> None:
    """Starts exactly a period apart share no window, one nanosecond less and they do."""
    assert most_in_any_window([(0, 1), (10, 1)], 10) == 1
    assert most_in_any_window([(0, 1), (9, 2)], 10) == 3
    assert most_in_any_window([], 10) == 0
