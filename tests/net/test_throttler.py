"""The throttler, case by case, in virtual time unless a test says otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import combinations
from typing import Any

import pytest

from holdfast.model.errors import ConfigurationError, HoldfastError, UnknownLimitError
from holdfast.model.timestamps import NS_PER_MS, NS_PER_SECOND
from holdfast.net import RateLimit, SharedLimit, Throttler
from holdfast.time import BacktestClock, ScaledClock

Settle = Callable[[], Awaitable[None]]
Drive = Callable[[BacktestClock, Iterable[asyncio.Task[Any]]], Awaitable[None]]


class Calls:
    """Calls on one throttler that write down who started when."""

    def __init__(self, limits: dict[str, RateLimit | SharedLimit], start: int = 0) -> None:
        self.clock = BacktestClock(start)
        self.throttler = Throttler(limits, self.clock)
        self.started: list[tuple[str, int]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def spawn(self, name: str, limit_id: str = "x", weight: int = 1) -> asyncio.Task[None]:
        """Make a call in a task of its own."""

        async def call() -> None:
            async with self.throttler.slot(limit_id, weight):
                self.started.append((name, self.clock.now_ns()))

        self.tasks.append(asyncio.create_task(call(), name=name))
        return self.tasks[-1]

    def names(self) -> str:
        """Who has started, in order."""
        return "".join(name for name, _ in self.started)


async def test_five_calls_pass_at_once_and_the_sixth_waits_a_second(drive: Drive) -> None:
    """The guide's check in virtual time, where the wait is exactly one second."""
    calls = Calls({"x": RateLimit(5, 1.0)})
    for name in "abcdef":
        calls.spawn(name)
    await drive(calls.clock, calls.tasks)

    assert calls.started == [(name, 0) for name in "abcde"] + [("f", NS_PER_SECOND)]


async def test_five_calls_pass_at_once_and_the_sixth_waits_in_real_time() -> None:
    """The guide's check by the real clock, with a short period."""
    throttler = Throttler({"test": RateLimit(5, 0.05)})
    start = time.perf_counter()
    for number in range(5):
        assert await throttler.execute("test", lambda x: x, number) == number

    before_sixth = time.perf_counter()
    await throttler.execute("test", lambda: None)

    assert time.perf_counter() - start >= 0.05
    assert before_sixth - start < 0.05
    assert throttler.get_stats()["test"]["total_waits"] == 1


class TestExecute:
    """What becomes of the function."""

    async def test_it_calls_functions_and_awaits_coroutine_functions(self) -> None:
        """Arguments go through, results come back; ``limit_id`` and ``fn`` are free for the function's own use."""
        throttler = Throttler({"x": RateLimit(9, 1.0)})

        def plain(a: int, *, limit_id: int) -> int:
            return a + limit_id

        async def coroutine(a: int, *, fn: int) -> int:
            await asyncio.sleep(0)
            return a * fn

        assert await throttler.execute("x", plain, 2, limit_id=3) == 5
        assert await throttler.execute("x", coroutine, 2, fn=3) == 6
        assert throttler.get_stats()["x"]["total_calls"] == 2

    async def test_errors_of_the_function_come_through_and_count_as_started(self) -> None:
        """A request that failed was a request."""
        throttler = Throttler({"x": RateLimit(5, 1.0)}, BacktestClock(0))

        async def fail() -> None:
            message = "cut"
            raise ConnectionError(message)

        with pytest.raises(ConnectionError, match="cut"):
            await throttler.execute("x", fail)
        with pytest.raises(ZeroDivisionError):
            await throttler.execute("x", lambda: 1 / 0)
        with pytest.raises(ConnectionError):
            async with throttler.slot("x"):
                await fail()

        assert throttler.get_stats()["x"]["in_window"] == 3

    async def test_the_function_starts_when_the_call_does(self, settle: Settle) -> None:
        """Nothing is called before its turn, and in its turn it is called at once."""
        clock = BacktestClock(0)
        throttler = Throttler({"x": RateLimit(1, 1.0)}, clock)
        called = list[int]()
        tasks = [asyncio.create_task(throttler.execute("x", lambda: called.append(clock.now_ns()))) for _ in range(2)]
        await settle()
        assert called == [0]

        clock.advance_to(NS_PER_SECOND - 1)
        await settle()
        assert called == [0]

        clock.advance_to(NS_PER_SECOND)
        await asyncio.gather(*tasks)
        assert called == [0, NS_PER_SECOND]


class TestMisuse:
    """One clear sentence for each."""

    async def test_an_unknown_limit_is_named_with_the_known_ones(self) -> None:
        """By every way in; it is one of our errors and a KeyError."""
        throttler = Throttler({"b": RateLimit(1, 1.0), "a": RateLimit(1, 1.0)})
        message = "^there is no limit 'c'; known: a, b$"
        with pytest.raises(UnknownLimitError, match=message):
            await throttler.execute("c", lambda: None)
        with pytest.raises(UnknownLimitError, match=message):
            await throttler.acquire("c")
        with pytest.raises(UnknownLimitError, match=message):
            async with throttler.slot("c"):
                pass
        with pytest.raises(UnknownLimitError, match=message):
            throttler.penalise("c", 0)
        assert issubclass(UnknownLimitError, (HoldfastError, KeyError))

    async def test_a_weight_above_the_limit_is_refused_at_once(self) -> None:
        """It could never start, so it does not wait; also where only a linked limit is too small."""
        throttler = Throttler({"x": RateLimit(9, 1.0, linked=("small",)), "small": RateLimit(5, 2.0)})
        with pytest.raises(ConfigurationError, match="'x' of weight 7 could never start: 'small' allows 5 in 2 s"):
            await throttler.acquire("x", 7)

        assert throttler.get_stats()["x"]["total_waits"] == 0

    @pytest.mark.parametrize("weight", [0, -1, 1.5, "2"])
    async def test_a_weight_is_a_positive_whole_number(self, weight: Any) -> None:
        """Anything else is refused."""
        with pytest.raises(ConfigurationError, match=r"the weight .* whole number of at least 1"):
            await Throttler({"x": RateLimit(5, 1.0)}).acquire("x", weight)

    @pytest.mark.parametrize(
        ("limit", "period", "weight", "message"),
        [
            (0, 1.0, 1, "the limit of a rate limit must be a whole number of at least 1, got 0"),
            (2.5, 1.0, 1, "the limit .* got 2.5"),
            (5, 0.0, 1, "the period .* positive number of seconds, got 0.0"),
            (5, float("inf"), 1, "the period .* got inf"),
            (5, float("nan"), 1, "the period .* got nan"),
            (5, 1.0, 0, "the weight .* got 0"),
        ],
    )
    def test_a_limit_that_makes_no_sense_is_refused(self, limit: Any, period: float, weight: int, message: str) -> None:
        """When it is made, not when it is used."""
        with pytest.raises(ConfigurationError, match=message):
            RateLimit(limit, period, weight)

    @pytest.mark.parametrize(
        ("limits", "message"),
        [
            ({"x": SharedLimit(("y",))}, "'x' is linked to 'y', which does not exist; known: x"),
            ({"x": SharedLimit(("y",)), "y": SharedLimit(("x",))}, "linked in a circle: x -> y -> x"),
            ({"x": RateLimit(5, 1.0, linked=("x",))}, "linked in a circle: x -> x"),
            ({"x": RateLimit(2, 1.0, weight=3)}, "'x' of weight 3 could never start: 'x' allows 2"),
        ],
    )
    def test_limits_that_do_not_fit_together_are_refused(
        self, limits: dict[str, RateLimit | SharedLimit], message: str
    ) -> None:
        """When the throttler is made."""
        with pytest.raises(ConfigurationError, match=message):
            Throttler(limits)

    def test_a_shared_limit_is_linked_to_something(self) -> None:
        """Else it would limit nothing."""
        with pytest.raises(ConfigurationError, match="at least one other limit"):
            SharedLimit(())

    @pytest.mark.parametrize("margin", [-0.1, float("nan")])
    def test_a_margin_is_not_negative(self, margin: float) -> None:
        """Windows are never made shorter."""
        with pytest.raises(ConfigurationError, match="margin"):
            Throttler({}, margin=margin)


class TestOrderAndWaiting:
    """First come, first served, and woken exactly when due."""

    async def test_a_heavy_call_is_not_overtaken_by_light_ones(self, drive: Drive) -> None:
        """There is room for the light one, and it waits its turn all the same."""
        calls = Calls({"x": RateLimit(5, 1.0)})
        for name, weight in [("a", 3), ("B", 4), ("c", 1)]:
            calls.spawn(name, weight=weight)
        await drive(calls.clock, calls.tasks)

        assert calls.started == [("a", 0), ("B", NS_PER_SECOND), ("c", NS_PER_SECOND)]

    async def test_only_the_head_waits_on_the_clock(self, settle: Settle) -> None:
        """A hundred wait, one timer is set, and it is set for the very nanosecond."""
        calls = Calls({"x": RateLimit(10, 1.0)}, start=77)
        for _ in range(110):
            calls.spawn("a")
        await settle()

        assert calls.throttler.get_stats()["x"]["queued"] == 100
        assert calls.clock.waiting == 1
        assert calls.clock.next_wakeup() == 77 + NS_PER_SECOND
        for task in calls.tasks:
            task.cancel()
        await asyncio.gather(*calls.tasks, return_exceptions=True)
        assert calls.clock.waiting == 0

    async def test_all_that_fit_start_at_the_same_moment(self, settle: Settle) -> None:
        """A window that empties at once is filled at once, in order, and within three turns of a busy event loop."""
        calls = Calls({"x": RateLimit(10, 1.0)})
        for name in "0123456789abcdefghijklmno":
            calls.spawn(name)
        await settle()
        calls.clock.advance_to(NS_PER_SECOND)
        for _ in range(3):
            await asyncio.sleep(0)
        assert calls.names() == "0123456789abcdefghij"

        calls.clock.advance_to(2 * NS_PER_SECOND)
        await asyncio.gather(*calls.tasks)
        assert calls.names() == "0123456789abcdefghijklmno"

    async def test_who_comes_while_others_are_being_woken_stands_behind_them(self, settle: Settle) -> None:
        """A newcomer in the very turn in which the queue is released does not slip in."""
        calls = Calls({"x": RateLimit(2, 1.0)})
        for name in "abcd":
            calls.spawn(name)
        await settle()

        calls.clock.advance_to(NS_PER_SECOND)  # c is woken, but has not run
        newcomer = asyncio.create_task(calls.throttler.execute("x", lambda: calls.started.append(("e", 0))))
        await settle()
        assert calls.names() == "abcd"

        calls.clock.advance_to(2 * NS_PER_SECOND)
        await newcomer
        assert calls.names() == "abcde"

    async def test_starts_exactly_a_period_apart_share_no_window(self) -> None:
        """Nanoseconds are whole numbers: a period that no float can name exactly adds up exactly."""
        clock = BacktestClock(1_700_000_000_123_456_789)
        throttler = Throttler({"x": RateLimit(1, 0.1)}, clock)
        for _ in range(1000):
            await throttler.acquire("x")
            clock.advance_to(clock.now_ns() + 100 * NS_PER_MS)

        assert throttler.get_stats()["x"]["total_waits"] == 0

    async def test_a_throttler_outlives_its_event_loop(self) -> None:
        """Nothing in it is bound to a loop while nobody waits."""
        throttler = Throttler({"x": RateLimit(1, 0.001)})

        def run_twice() -> None:
            for _ in range(2):
                asyncio.run(throttler.acquire("x"))

        await asyncio.to_thread(run_twice)
        assert throttler.get_stats()["x"]["total_calls"] == 2


class TestCancellation:
    """A call that is cancelled while it waits was never there."""

    @pytest.mark.parametrize("count", [1, 2, 3, 4])
    async def test_places_are_given_back_at_once_in_all_positions(
        self, count: int, drive: Drive, settle: Settle
    ) -> None:
        """Whichever waiting calls are cancelled, the others start in order at the earliest moments."""
        for gone in combinations("cdef", count):
            calls = Calls({"x": RateLimit(2, 1.0)})
            tasks = {name: calls.spawn(name) for name in "abcdefg"}
            await settle()
            for name in gone:
                tasks[name].cancel()
            await settle()

            assert calls.throttler.get_stats()["x"]["queued"] == 5 - count
            await drive(calls.clock, calls.tasks)
            left = [name for name in "abcdefg" if name not in gone]
            assert calls.started == [(name, place // 2 * NS_PER_SECOND) for place, name in enumerate(left)]
            assert [name for name in tasks if tasks[name].cancelled()] == list(gone)

    async def test_cancelled_in_the_turn_in_which_it_was_woken(self, drive: Drive, settle: Settle) -> None:
        """Woken, and cancelled before it ran: it does not count as started and the next one takes its place."""
        for gone in "cd":
            calls = Calls({"x": RateLimit(2, 1.0)})
            tasks = {name: calls.spawn(name) for name in "abcde"}
            await settle()

            calls.clock.advance_to(NS_PER_SECOND)
            tasks[gone].cancel()
            await settle()
            assert calls.names() == "ab" + "cde".replace(gone, "")
            assert calls.clock.now_ns() == NS_PER_SECOND

            await drive(calls.clock, calls.tasks)
            assert calls.throttler.get_stats()["x"]["total_calls"] == 4

    async def test_cancelled_after_its_neighbour_woke_it(self, settle: Settle) -> None:
        """The head wakes those who fit; one of them is cancelled between that and its turn."""
        calls = Calls({"x": RateLimit(3, 1.0)})
        for name in "abc":
            calls.spawn(name)
        await settle()

        async def start_and_cancel_the_next() -> None:
            async with calls.throttler.slot("x"):
                calls.started.append(("d", calls.clock.now_ns()))
                calls.tasks[-3].cancel()  # e: woken by the same release, not yet run

        head = asyncio.create_task(start_and_cancel_the_next())
        await settle()
        for name in "efg":
            calls.spawn(name)
        await settle()
        calls.clock.advance_to(NS_PER_SECOND)
        await settle()

        assert calls.names() == "abcdfg"
        assert head.done()

    async def test_a_timeout_of_the_caller_is_a_cancellation(self) -> None:
        """By the real clock: the caller gives up, and nothing is left in the queue."""
        throttler = Throttler({"x": RateLimit(1, 60.0)})
        await throttler.acquire("x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await throttler.acquire("x")

        stats = throttler.get_stats()["x"]
        assert (stats["total_calls"], stats["total_waits"], stats["queued"]) == (1, 1, 0)
        assert 0.009 <= stats["total_wait_seconds"] < 10


class TestLinkedLimits:
    """One call may draw on several limits, on all at once or on none."""

    async def test_members_share_the_limit_they_are_linked_to(self, drive: Drive) -> None:
        """Order holds across the members."""
        calls = Calls({"shared": RateLimit(2, 1.0), "x": SharedLimit(("shared",)), "y": SharedLimit(("shared",))})
        for name, limit in [("a", "x"), ("b", "y"), ("c", "shared"), ("d", "y"), ("e", "x")]:
            calls.spawn(name, limit)
        await drive(calls.clock, calls.tasks)

        assert calls.started == [(name, place // 2 * NS_PER_SECOND) for place, name in enumerate("abcde")]

    async def test_a_call_holds_nothing_while_it_waits(self, settle: Settle) -> None:
        """A call that waits for its own narrow limit has drawn nothing from the wide one."""
        calls = Calls({"wide": RateLimit(100, 1.0), "x": RateLimit(1, 10.0, linked=("wide",))})
        calls.spawn("a")
        calls.spawn("b")
        await settle()

        assert calls.throttler.get_stats()["wide"]["in_window"] == 1
        calls.tasks[1].cancel()
        await asyncio.gather(*calls.tasks, return_exceptions=True)

    async def test_limits_without_a_common_window_do_not_wait_for_each_other(self, drive: Drive) -> None:
        """A full limit stops its own calls only."""
        calls = Calls({"x": RateLimit(1, 5.0), "y": RateLimit(1, 1.0)})
        for name, limit in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")]:
            calls.spawn(name, limit)
        await drive(calls.clock, calls.tasks)

        assert calls.names() == "acdb"

    async def test_links_are_followed_and_each_window_is_drawn_on_once(self, settle: Settle) -> None:
        """Through a chain and around a diamond, with the weight of the id that was called."""
        calls = Calls(
            {
                "top": RateLimit(100, 1.0),
                "left": RateLimit(100, 1.0, weight=50, linked=("top",)),
                "right": SharedLimit(("top",)),
                "x": RateLimit(100, 1.0, weight=3, linked=("left", "right")),
            }
        )
        calls.spawn("a", "x", weight=2)
        await settle()

        in_window = {name: figures["in_window"] for name, figures in calls.throttler.get_stats().items()}
        assert in_window == {"top": 6, "left": 6, "right": 6, "x": 6}

    async def test_crossed_calls_do_not_block_each_other_for_ever(self, drive: Drive) -> None:
        """Two ids that link two limits in opposite orders: all calls start."""
        limits: dict[str, RateLimit | SharedLimit] = {
            "p": RateLimit(1, 1.0),
            "q": RateLimit(1, 1.0),
            "x": SharedLimit(("p", "q")),
            "y": SharedLimit(("q", "p")),
        }
        calls = Calls(limits)
        for place in range(10):
            calls.spawn(str(place), "xypq"[place % 4])
        await drive(calls.clock, calls.tasks)

        assert len(calls.started) == 10


class TestPenalty:
    """The venue said "too many requests"."""

    async def test_nothing_starts_before_the_penalty_ends(self, settle: Settle) -> None:
        """Not newcomers, not waiters, and no member of the shared limit; then all in order."""
        calls = Calls({"shared": RateLimit(2, 1.0), "x": SharedLimit(("shared",)), "y": SharedLimit(("shared",))})
        for name in "abc":
            calls.spawn(name)
        await settle()
        calls.throttler.penalise("x", 3 * NS_PER_SECOND)
        calls.throttler.penalise("y", 2 * NS_PER_SECOND)  # shorter: changes nothing
        calls.spawn("d", "y")

        calls.clock.advance_to(3 * NS_PER_SECOND - 1)
        await settle()
        assert calls.names() == "ab"

        calls.clock.advance_to(3 * NS_PER_SECOND)
        await asyncio.gather(*calls.tasks)
        assert calls.started[2:] == [("c", 3 * NS_PER_SECOND), ("d", 3 * NS_PER_SECOND)]

    async def test_a_penalty_in_the_past_changes_nothing(self) -> None:
        """The venue's clock may be behind ours."""
        throttler = Throttler({"x": RateLimit(1, 1.0)}, BacktestClock(100))
        throttler.penalise("x", 50)

        await throttler.acquire("x")
        assert throttler.get_stats()["x"]["total_waits"] == 0


class TestStats:
    """Figures for people."""

    async def test_figures_of_members_and_of_what_they_share(self, settle: Settle) -> None:
        """A member's calls are its own; the shared limit's include all members'."""
        calls = Calls({"shared": RateLimit(2, 1.0), "x": SharedLimit(("shared",)), "y": SharedLimit(("shared",))})
        for name, limit in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")]:
            calls.spawn(name, limit)
        await settle()
        assert {name: s["queued"] for name, s in calls.throttler.get_stats().items()} == {"shared": 2, "x": 2, "y": 0}

        calls.clock.advance_to(2 * NS_PER_SECOND)
        await asyncio.gather(*calls.tasks)

        stats = calls.throttler.get_stats()
        common = {"in_window": 2, "queued": 0, "limit": 2, "period": 1.0}
        assert stats["shared"] == {"total_calls": 4, "total_waits": 2, "total_wait_seconds": 4.0, **common}
        assert stats["x"] == {"total_calls": 3, "total_waits": 2, "total_wait_seconds": 4.0, **common}
        assert stats["y"] == {"total_calls": 1, "total_waits": 0, "total_wait_seconds": 0.0, **common}

        calls.clock.advance_to(3 * NS_PER_SECOND)
        assert calls.throttler.get_stats()["shared"]["in_window"] == 0

    async def test_an_id_with_several_shared_limits_shows_the_fullest(self) -> None:
        """The one that it will have to wait for."""
        throttler = Throttler(
            {"p": RateLimit(10, 1.0), "q": RateLimit(4, 2.0), "x": SharedLimit(("p", "q"))}, BacktestClock(0)
        )
        await throttler.acquire("x", 2)

        stats = throttler.get_stats()["x"]
        assert (stats["limit"], stats["period"], stats["in_window"]) == (4, 2.0, 2)


class TestMargin:
    """Where real time passes, windows are a little longer than they must be."""

    async def test_it_covers_the_moment_between_start_and_sight(self) -> None:
        """One real millisecond by default, in the throttler's own time; nothing where time is advanced by hand."""
        now = 0
        scaled = ScaledClock(0, 60.0, monotonic_ns=lambda: now)
        throttler = Throttler({"x": RateLimit(1, 60.0)}, scaled)
        await throttler.acquire("x")

        now = NS_PER_SECOND
        assert throttler.get_stats()["x"]["in_window"] == 1
        now = NS_PER_SECOND + NS_PER_MS
        assert throttler.get_stats()["x"]["in_window"] == 0
