"""The virtual loop: hours pass in no time, in the right order, and what would need the outside fails loudly."""

from __future__ import annotations

import asyncio
import time

import pytest

from holdfast.testing.sim.loop import Killed, Owner, SimulationError, VirtualLoop, context_of, run


def test_hours_of_timers_pass_at_once_and_in_order() -> None:
    """Each sleeper wakes at exactly its own moment."""
    woken: list[tuple[str, float]] = []

    async def main(loop: VirtualLoop) -> None:
        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append((name, loop.time()))

        await asyncio.gather(sleeper("day", 86_400.0), sleeper("hour", 3_600.0), sleeper("blink", 0.001))

    began = time.perf_counter()
    run(main)

    assert woken == [("blink", 0.001), ("hour", 3_600.0), ("day", 86_400.0)]
    assert time.perf_counter() - began < 5.0


def test_time_outs_are_virtual_too() -> None:
    """``asyncio.timeout`` fires at its moment, and a thread's work is done on the spot."""

    async def main(loop: VirtualLoop) -> tuple[float, int]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30.0):
                await asyncio.Event().wait()
        return loop.time(), await asyncio.to_thread(lambda: 7)

    assert run(main) == (30.0, 7)


def test_what_raises_in_an_executor_is_raised_by_its_future() -> None:
    """As with a real one."""

    def fail() -> None:
        message = "on purpose"
        raise ValueError(message)

    async def main(_: VirtualLoop) -> None:
        await asyncio.to_thread(fail)

    with pytest.raises(ValueError, match="on purpose"):
        run(main)


def test_a_wait_for_nothing_is_an_error_and_no_hang() -> None:
    """Where no timer and no callback is left, nothing can ever happen."""

    async def main(_: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(SimulationError, match="never happen"):
        run(main)


def test_threads_are_refused() -> None:
    """An answer from a thread would come whenever it likes."""

    async def main(loop: VirtualLoop) -> None:
        loop.call_soon_threadsafe(lambda: None)

    with pytest.raises(SimulationError, match="thread"):
        run(main)


def test_tasks_belong_to_the_process_that_made_them_and_their_children_too() -> None:
    """So that a killed process loses all of its tasks, and no other one."""

    async def main(loop: VirtualLoop) -> tuple[int, int, list[str]]:
        bot, venue = Owner("bot"), Owner("venue")

        async def parent() -> None:
            child = asyncio.create_task(asyncio.sleep(100.0))
            await child

        loop.create_task(parent(), context=context_of(bot))
        loop.create_task(asyncio.sleep(1.0), context=context_of(venue))
        await asyncio.sleep(0.5)
        counts = len(bot.living()), len(venue.living())
        for task in bot.living():
            task.cancel()
        await asyncio.sleep(1.0)
        return *counts, [owner.name for owner in (bot, venue) if owner.living()]

    assert run(main) == (2, 1, [])


def test_a_task_that_fails_unheard_is_kept() -> None:
    """The end of a killed process is no such failure."""

    async def main(loop: VirtualLoop) -> list[str]:
        async def fail(error: BaseException) -> None:
            raise error

        tasks = [loop.create_task(fail(ValueError("unheard"))), loop.create_task(fail(Killed()))]
        await asyncio.sleep(1.0)
        del tasks
        return loop.errors

    errors = run(main)

    assert len(errors) == 1
    assert "unheard" in errors[0]


def test_of_two_timers_for_one_moment_the_older_one_is_first() -> None:
    """However many there are, and whatever was cancelled among them."""
    woken: list[int] = []

    async def main(loop: VirtualLoop) -> None:
        timers = [loop.call_at(1.0, woken.append, number) for number in range(200)]
        for timer in timers[::3]:
            timer.cancel()
        await asyncio.sleep(2.0)

    run(main)

    assert woken == [number for number in range(200) if number % 3]
