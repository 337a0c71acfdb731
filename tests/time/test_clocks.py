"""Clocks: what each promises of now, of waiting, and of never going back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import AssetClass
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_HOUR, NS_PER_MS, NS_PER_SECOND, to_ns
from holdfast.time import BacktestClock, Clock, FixedSessions, RealTimeClock, ScaledClock
from holdfast.time.real import FASTER_ONE_PART_IN, SLOWER_ONE_PART_IN, STEP_NS

START = datetime(2024, 1, 8, 12, tzinfo=UTC)


class Hardware:
    """A machine's two clocks, moved by hand."""

    def __init__(self, wall: int = to_ns(START)) -> None:
        self.wall, self.monotonic = wall, 12_345

    def run(self, ns: int) -> None:
        """Let time pass."""
        self.wall += ns
        self.monotonic += ns

    def clock(self) -> RealTimeClock:
        """The real-time clock of this machine."""
        return RealTimeClock(wall_ns=lambda: self.wall, monotonic_ns=lambda: self.monotonic)

    def scaled(self, rate: float) -> ScaledClock:
        """A scaled clock on this machine, at START."""
        return ScaledClock(to_ns(START), rate, monotonic_ns=lambda: self.monotonic)


async def settle() -> None:
    """Let everyone run who can."""
    for _ in range(20):
        await asyncio.sleep(0)


class TestRealTimeClock:
    """The wall's time, carried by the monotonic clock."""

    def test_it_is_utc(self) -> None:
        """The guide's check: now() is an aware UTC datetime, near the machine's own."""
        assert RealTimeClock().now().tzinfo == UTC
        assert RealTimeClock().rate == 1.0

    def test_the_monotonic_clock_carries_it(self) -> None:
        """Between looks at the wall the time passes exactly as the monotonic clock says."""
        hardware = Hardware()
        clock = hardware.clock()
        for _ in range(100):
            hardware.run(7 * NS_PER_SECOND)

            assert clock.now_ns() == hardware.wall

    def test_a_wall_clock_set_back_slows_it_and_nothing_more(self) -> None:
        """It never goes back and never stands still, and agrees with the wall again at last."""
        hardware = Hardware()
        clock = hardware.clock()
        hardware.run(NS_PER_SECOND)
        before = clock.now_ns()
        hardware.wall -= 30 * NS_PER_SECOND

        hardware.run(2 * NS_PER_SECOND)
        clock.now_ns()  # looks, and sees it
        hardware.run(10 * NS_PER_SECOND)
        slowed = clock.now_ns()
        assert slowed == before + 12 * NS_PER_SECOND - 10 * NS_PER_SECOND // SLOWER_ONE_PART_IN

        for _ in range(300):
            hardware.run(NS_PER_SECOND)
            assert clock.now_ns() > slowed
            slowed = clock.now_ns()
        assert clock.now_ns() == hardware.wall

    def test_a_long_silence_does_not_overshoot(self) -> None:
        """A small drift seen before hours in which nobody asked is made good once, not many times."""
        hardware = Hardware()
        clock = hardware.clock()
        for drift in (-50 * NS_PER_MS, 50 * NS_PER_MS):
            hardware.wall += drift
            hardware.run(NS_PER_SECOND)
            clock.now_ns()

            hardware.run(5 * NS_PER_HOUR)
            assert clock.now_ns() == hardware.wall

    def test_a_little_ahead_is_made_good_slowly(self) -> None:
        """Less than a step: it runs faster by one part in a thousand, so that rate limits hold."""
        hardware = Hardware()
        clock = hardware.clock()
        hardware.wall += STEP_NS - 1
        hardware.run(NS_PER_SECOND)
        before = clock.now_ns()
        hardware.run(NS_PER_SECOND)

        assert clock.now_ns() - before == NS_PER_SECOND + NS_PER_SECOND // FASTER_ONE_PART_IN

    def test_a_step_ahead_is_taken_at_once(self) -> None:
        """A machine that slept for eight hours has the right time as soon as somebody asks."""
        hardware = Hardware()
        clock = hardware.clock()
        hardware.wall += 8 * NS_PER_HOUR
        hardware.run(NS_PER_SECOND)

        assert clock.now_ns() == hardware.wall

    @given(st.lists(st.tuples(st.integers(0, 10**11), st.integers(-(10**12), 10**12)), max_size=60))
    def test_it_never_goes_back_and_comes_home(self, history: list[tuple[int, int]]) -> None:
        """Whatever is done to the wall clock; and left in peace it agrees with it again."""
        hardware = Hardware()
        clock = hardware.clock()
        last = clock.now_ns()
        for elapsed, step in history:
            hardware.run(elapsed)
            hardware.wall += step
            now = clock.now_ns()
            assert now >= last + elapsed - elapsed // SLOWER_ONE_PART_IN - 1
            last = now

        for _ in range(4):
            hardware.run(10**15)
            clock.now_ns()
        assert clock.now_ns() == hardware.wall

    async def test_it_waits_until_the_moment_has_come(self) -> None:
        """wait_until returns not before its moment, and at once for a moment that has passed."""
        clock = RealTimeClock()
        due = clock.now_ns() + 5 * NS_PER_MS

        await clock.wait_until(due)
        assert clock.now_ns() >= due

        await clock.wait_until(0)


class TestBacktestClock:
    """Time that its driver moves."""

    def test_it_advances_by_exactly_what_it_is_told(self) -> None:
        """The guide's check, and no rounding."""
        clock = BacktestClock(START)
        assert clock.now() == START

        clock.advance(timedelta(hours=1))
        assert clock.now() == START + timedelta(hours=1)

        clock.advance_to(clock.now_ns() + 1)
        assert clock.now_ns() == to_ns(START) + NS_PER_HOUR + 1
        assert clock.rate == inf

    def test_it_starts_from_nanoseconds_too(self) -> None:
        """A start of UTC ns is kept to the nanosecond."""
        assert BacktestClock(17).now_ns() == 17

    def test_it_never_goes_back(self) -> None:
        """Neither by a negative delta nor to a moment that has passed; the time stays what it was."""
        clock = BacktestClock(START)
        with pytest.raises(ValueError, match="never goes back"):
            clock.advance(timedelta(microseconds=-1))
        with pytest.raises(ValueError, match="never goes back: it is 2024-01-08T12:00:00Z"):
            clock.advance_to(to_ns(START) - 1)

        assert clock.now() == START

    def test_a_naive_start_is_refused(self) -> None:
        """A naive datetime names no moment."""
        with pytest.raises(ValueError, match="no time zone"):
            BacktestClock(START.replace(tzinfo=None))

    async def test_waiters_are_woken_in_due_order_and_ties_in_the_order_they_came(self) -> None:
        """One advance over many moments."""
        clock, woken = BacktestClock(0), list[str]()

        async def wait(name: str, due: int) -> None:
            await clock.wait_until(due)
            woken.append(name)

        async with asyncio.TaskGroup() as group:
            for name, due in [("c", 30), ("a1", 10), ("b", 20), ("a2", 10), ("past", 0), ("a3", 10)]:
                group.create_task(wait(name, due))
            await settle()
            assert woken == ["past"]
            assert clock.waiting == 5
            assert clock.next_wakeup() == 10

            clock.advance_to(9)
            await settle()
            assert clock.waiting == 5

            clock.advance_to(25)
            await settle()
            assert woken == ["past", "a1", "a2", "a3", "b"]
            assert clock.waiting == 1

            clock.advance_to(30)
        assert woken[-1] == "c"
        assert clock.waiting == 0
        assert clock.next_wakeup() is None

    async def test_a_cancelled_waiter_leaves_at_once(self) -> None:
        """It is no longer counted, is not the next to be woken, and leaves nothing behind."""
        clock = BacktestClock(0)
        tasks = [asyncio.create_task(clock.wait_until(due)) for due in (10, 20, 30)]
        await settle()

        tasks[0].cancel()
        assert clock.waiting == 2
        await settle()
        assert clock.waiting == 2
        assert clock.next_wakeup() == 20

        tasks[2].cancel()
        clock.advance_to(20)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [task.cancelled() for task in tasks] == [True, False, True]
        assert clock.waiting == 0

    async def test_a_waiter_cancelled_in_the_turn_it_was_woken_is_cancelled(self) -> None:
        """Woken and cancelled before it ran: it ends cancelled, and the clock goes on."""
        clock = BacktestClock(0)
        task = asyncio.create_task(clock.wait_until(10))
        await settle()
        clock.advance_to(10)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        clock.advance_to(20)
        assert clock.waiting == 0

    @given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=30))
    def test_waiters_see_their_moments_when_driven_wakeup_by_wakeup(self, plan: list[tuple[int, bool]]) -> None:
        """Advancing from next_wakeup to next_wakeup, everyone not cancelled runs at exactly its moment, in order."""

        async def run() -> list[tuple[int, int]]:
            clock, woken = BacktestClock(0), list[tuple[int, int]]()

            async def wait(index: int, due: int) -> None:
                await clock.wait_until(due)
                assert clock.now_ns() == due
                woken.append((due, index))

            tasks = [asyncio.create_task(wait(index, due)) for index, (due, _) in enumerate(plan)]
            await settle()
            for task, (_, cancelled) in zip(tasks, plan, strict=True):
                if cancelled:
                    task.cancel()
            await settle()
            while (moment := clock.next_wakeup()) is not None:
                clock.advance_to(moment)
                await settle()
            await asyncio.gather(*tasks, return_exceptions=True)
            return woken

        kept = [(due, index) for index, (due, cancelled) in enumerate(plan) if not cancelled or due == 0]
        assert asyncio.run(run()) == sorted(kept)


class TestScaledClock:
    """A venue's replayed time."""

    def test_it_runs_at_its_rate(self) -> None:
        """An hour of the venue's time in a minute of ours."""
        hardware = Hardware()
        clock = hardware.scaled(60.0)
        hardware.run(60 * NS_PER_SECOND)

        assert clock.now() == START + timedelta(hours=1)
        assert clock.rate == 60.0

    def test_it_takes_a_later_venue_time_at_once(self) -> None:
        """The venue is ahead: so are we."""
        clock = Hardware().scaled(60.0)
        clock.follow(to_ns(START) + NS_PER_HOUR)

        assert clock.now() == START + timedelta(hours=1)

    def test_it_stands_still_until_an_earlier_venue_time_has_caught_up(self) -> None:
        """The venue is behind: we wait for it, and run on together."""
        hardware = Hardware()
        clock = hardware.scaled(10.0)
        hardware.run(6 * NS_PER_SECOND)
        clock.follow(to_ns(START))
        assert clock.now() == START + timedelta(minutes=1)

        hardware.run(6 * NS_PER_SECOND)
        assert clock.now() == START + timedelta(minutes=1)

        hardware.run(6 * NS_PER_SECOND)
        assert clock.now() == START + timedelta(minutes=2)

    @given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(-(10**12), 10**12)), max_size=30))
    def test_it_never_goes_back(self, history: list[tuple[int, int]]) -> None:
        """Whatever the venue says."""
        hardware = Hardware()
        clock = hardware.scaled(7.3)
        last = clock.now_ns()
        for elapsed, told in history:
            hardware.run(elapsed)
            clock.follow(to_ns(START) + told)
            assert clock.now_ns() >= last
            last = clock.now_ns()

    async def test_waiting_takes_the_real_time_divided_by_the_rate(self) -> None:
        """An hour at a million times real time is over in a few milliseconds, and not before its moment."""
        clock = ScaledClock(to_ns(START), 1_000_000.0)
        due = to_ns(START) + NS_PER_HOUR

        async with asyncio.timeout(5):
            await clock.wait_until(due)

        assert clock.now_ns() >= due

    async def test_a_waiter_is_woken_when_the_venue_turns_out_to_be_ahead(self) -> None:
        """Following the venue re-aims those who sleep already; cancelled ones leave nothing behind."""
        clock = Hardware().scaled(1.0)  # of itself it does not move
        due = to_ns(START) + NS_PER_HOUR
        task, cancelled = (asyncio.create_task(clock.wait_until(due)) for _ in range(2))
        await settle()
        cancelled.cancel()
        clock.follow(due - 1)
        await settle()
        assert not task.done()

        clock.follow(due)
        await task
        assert cancelled.cancelled()

    @pytest.mark.parametrize("rate", [0.0, -1.0, inf, float("nan")])
    def test_a_rate_that_makes_no_sense_is_refused(self, rate: float) -> None:
        """Only positive numbers."""
        with pytest.raises(ConfigurationError, match="must be a positive number"):
            ScaledClock(0, rate)


class TestMarketHours:
    """What every clock says of the markets, at the moments around a half-day before a holiday."""

    @pytest.mark.parametrize(
        ("utc", "is_open", "next_open", "next_close"),
        [
            ("2023-07-03T13:29", False, "2023-07-03T13:30", "2023-07-03T17:00"),
            ("2023-07-03T13:30", True, "2023-07-05T13:30", "2023-07-03T17:00"),
            ("2023-07-03T16:59", True, "2023-07-05T13:30", "2023-07-03T17:00"),
            ("2023-07-03T17:00", False, "2023-07-05T13:30", "2023-07-05T20:00"),
        ],
    )
    def test_equities(self, utc: str, is_open: bool, next_open: str, next_close: str) -> None:
        """Open from 9:30 to the early close in New York; next_open is always a later session's."""
        clock: Clock = BacktestClock(datetime.fromisoformat(utc + "Z"))

        assert clock.is_market_hours() is is_open
        assert clock.next_open() == datetime.fromisoformat(next_open + "Z")
        assert clock.next_close() == datetime.fromisoformat(next_close + "Z")

    def test_crypto_is_always_open(self) -> None:
        """Its session is the UTC day."""
        clock = BacktestClock(datetime(2023, 7, 4, 17, tzinfo=UTC))
        midnight = datetime(2023, 7, 5, tzinfo=UTC)

        assert clock.is_market_hours(AssetClass.CRYPTO)
        assert clock.next_open(AssetClass.CRYPTO) == clock.next_close(AssetClass.CRYPTO) == midnight

    def test_sessions_can_be_given(self) -> None:
        """A synthetic market has hours of its own."""
        clock = BacktestClock(START, sessions=lambda _: FixedSessions(13 * NS_PER_HOUR, 14 * NS_PER_HOUR))

        assert not clock.is_market_hours()
        assert clock.next_open() == START + timedelta(hours=1)
