"""Virtual time for throttler tests: the loop runs until nobody can, then the clock jumps to the next wake-up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import pytest

from holdfast.time import BacktestClock

Settle = Callable[[], Awaitable[None]]
Drive = Callable[[BacktestClock, Iterable[asyncio.Task[Any]]], Awaitable[None]]


async def _settle() -> None:
    """Let everyone run until all wait for something (or are done)."""
    loop = cast("Any", asyncio.get_running_loop())
    while True:
        await asyncio.sleep(0)
        if not loop._ready:
            return


async def _drive(clock: BacktestClock, tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Run tasks to their ends in virtual time; a task that waits for nothing that comes is an error."""
    tasks = list(tasks)
    while True:
        await _settle()
        if all(task.done() for task in tasks):
            return
        moment = clock.next_wakeup()
        assert moment is not None, "somebody waits, and nothing will ever wake them"
        clock.advance_to(moment)


@pytest.fixture(scope="session")
def settle() -> Settle:
    """Let everyone run until all wait."""
    return _settle


@pytest.fixture(scope="session")
def drive() -> Drive:
    """Run tasks to their ends in virtual time."""
    return _drive
