"""Handlers: called in order, and unable to stop the reading."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from holdfast.realtime.subscribers import Subscribers


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_plain_handler_has_run_when_publish_returns() -> None:
    """So that a count of messages is a count of messages handled."""
    seen: list[Any] = []
    subscribers = Subscribers("test")
    subscribers.add(seen.append)
    subscribers.publish(1)
    subscribers.publish(2)

    assert (seen, subscribers.depth) == ([1, 2], 0)


async def test_a_coroutine_handler_works_in_order_one_at_a_time() -> None:
    """However long each takes."""
    seen: dict[str, list[str]] = {"one": [], "two": []}

    async def handler(who: str, name: str) -> None:
        seen[who].append(f"{name} begins")
        await asyncio.sleep(0)
        seen[who].append(f"{name} ends")

    subscribers = Subscribers("test")
    subscribers.add(partial(handler, "one"))
    subscribers.add(partial(handler, "two"))
    for name in "ab":
        subscribers.publish(name)
    assert subscribers.depth == 4
    await subscribers.drain(1.0)

    assert seen["one"] == seen["two"] == ["a begins", "a ends", "b begins", "b ends"]
    assert subscribers.depth == 0


async def test_a_slow_handler_delays_nobody_else() -> None:
    """Each has a queue of its own, and publish never waits."""
    gate, fast = asyncio.Event(), []

    async def slow(_: int) -> None:
        await gate.wait()

    async def quick(number: int) -> None:
        fast.append(number)

    subscribers = Subscribers("test")
    subscribers.add(slow)
    subscribers.add(quick)
    for number in range(5):
        subscribers.publish(number)
    await settle()

    assert (fast, subscribers.depth) == ([0, 1, 2, 3, 4], 5)
    gate.set()
    await settle()
    assert subscribers.depth == 0


async def test_a_raising_handler_is_counted_and_goes_on() -> None:
    """Plain or coroutine, the next message is handled, and whoever asked is told what was raised, and on what."""
    told: list[tuple[str, Any]] = []
    seen: list[int] = []

    def plain(number: int) -> None:
        seen.append(number)
        message = "plain"
        raise ValueError(message)

    async def coroutine(number: int) -> None:
        seen.append(number * 10)
        message = "coroutine"
        raise KeyError(message)

    subscribers = Subscribers("test", on_error=lambda error, message: told.append((type(error).__name__, message)))
    subscribers.add(plain)
    subscribers.add(coroutine)
    subscribers.publish(1)
    subscribers.publish(2)
    await subscribers.drain(1.0)

    assert seen == [1, 2, 10, 20]
    assert told == [("ValueError", (1,)), ("ValueError", (2,)), ("KeyError", (1,)), ("KeyError", (2,))]
    assert subscribers.errors == 4


async def test_a_handler_that_awaits_something_cancelled_is_a_failed_handler() -> None:
    """Its cancellation is not ours."""
    seen: list[int] = []

    async def handler(number: int) -> None:
        if number == 1:
            raise asyncio.CancelledError
        seen.append(number)

    subscribers = Subscribers("test")
    subscribers.add(handler)
    subscribers.publish(1)
    subscribers.publish(2)
    await subscribers.drain(1.0)

    assert (seen, subscribers.errors) == ([2], 1)


async def test_a_backlog_raises_one_alarm_and_drops_nothing() -> None:
    """And another one only after it has been worked off."""
    gate, seen = asyncio.Event(), []

    async def handler(number: int) -> None:
        await gate.wait()
        seen.append(number)

    subscribers = Subscribers("test", high_water=3)
    subscribers.add(handler)
    for number in range(10):
        subscribers.publish(number)
    assert (subscribers.backlog_alarms, subscribers.depth) == (1, 10)

    gate.set()
    await subscribers.drain(1.0)
    assert seen == list(range(10))

    gate.clear()
    for number in range(3):
        subscribers.publish(number)
    assert subscribers.backlog_alarms == 2
    gate.set()
    await subscribers.drain(1.0)


async def test_a_drain_gives_up_what_hangs() -> None:
    """Within its limit; later messages are handled again."""
    seen: list[int] = []

    async def handler(number: int) -> None:
        if number == 0:
            await asyncio.Event().wait()
        seen.append(number)

    subscribers = Subscribers("test")
    subscribers.add(handler)
    subscribers.publish(0)
    subscribers.publish(1)
    await subscribers.drain(0.01)
    assert (seen, subscribers.depth) == ([], 0)

    subscribers.publish(2)
    await subscribers.drain(1.0)
    assert seen == [2]


async def test_a_handler_may_drain_its_own_queue() -> None:
    """A handler that stops its own stream does not wait for itself."""
    subscribers = Subscribers("test")
    done: list[bool] = []

    async def handler(_: int) -> None:
        await subscribers.drain(10.0)
        done.append(True)

    subscribers.add(handler)
    subscribers.publish(1)
    await settle()

    assert done == [True]
