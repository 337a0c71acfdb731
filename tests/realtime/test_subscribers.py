"""Handlers: called in order, and unable to stop the reading."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import Any

from holdfast.realtime.subscribers import POLICIES, Policy, Subscribers


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


# ---------------------------------------------------------------------- what may wait


class Slow:
    """A coroutine handler that goes on when the test says so, and what it was given."""

    def __init__(self) -> None:
        self.gate, self.seen = asyncio.Event(), list[object]()

    async def __call__(self, *message: object) -> None:
        """Keep the message once the gate is open."""
        await self.gate.wait()
        self.seen.append(message[0] if len(message) == 1 else message)


def test_every_kind_of_message_of_every_stream_has_a_policy() -> None:
    """And an order event is never dropped nor passed over, whatever waits."""
    made = {name for name in POLICIES if name in ("trade_update", "connected", "disconnected", "malformed")}

    assert made == {"trade_update", "connected", "disconnected", "malformed"}
    assert all(POLICIES[name] == Policy(newest_of=None, most=None) for name in made)


async def test_the_newest_quote_of_a_symbol_is_the_one_that_waits() -> None:
    """One that is being handled is finished; the symbols keep their places."""
    slow = Slow()
    subscribers = Subscribers("test", policy=Policy(newest_of=lambda message: message[0][0]))
    subscribers.add(slow)
    for quote in ("A1", "B1", "A2", "B2", "A3"):
        subscribers.publish(quote)
    await settle()
    assert (subscribers.conflated, subscribers.depth) == (3, 2)

    subscribers.publish("A4")
    slow.gate.set()
    await subscribers.drain(1.0)

    assert slow.seen == ["A3", "B2", "A4"]
    assert (subscribers.conflated, subscribers.dropped) == (3, 0)


async def test_a_queue_that_is_full_drops_its_oldest_counts_it_and_says_so() -> None:
    """The message that is being handled is not the one."""
    slow, told = Slow(), list[int]()
    subscribers = Subscribers("test", policy=Policy(most=3), on_dropped=lambda: told.append(1))
    subscribers.add(slow)
    subscribers.publish(0)
    await settle()
    for number in range(1, 6):
        subscribers.publish(number)
    assert (subscribers.dropped, len(told), subscribers.depth) == (3, 3, 3)

    slow.gate.set()
    await subscribers.drain(1.0)
    assert slow.seen == [0, 4, 5]


async def test_what_is_given_up_leaves_nothing_to_be_replaced() -> None:
    """After a drain the next quote waits again."""
    slow = Slow()
    subscribers = Subscribers("test", policy=Policy(newest_of=lambda message: message[0]))
    subscribers.add(slow)
    subscribers.publish("A")
    subscribers.abandon()
    slow.gate.set()
    subscribers.publish("A")
    await subscribers.drain(1.0)

    assert slow.seen == ["A"]


async def test_a_handler_at_work_when_all_is_given_up_comes_to_its_own_end() -> None:
    """It finishes; what waited behind it does not begin, and its worker does not fail."""
    slow = Slow()
    subscribers = Subscribers("test")
    subscribers.add(slow)
    subscribers.publish("A")
    subscribers.publish("B")
    await settle()
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

    subscribers.abandon()
    slow.gate.set()
    await settle()
    gc.collect()

    assert (slow.seen, subscribers.depth, subscribers.errors, failures) == (["A"], 0, 0, [])
