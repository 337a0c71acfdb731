"""How exact and how cheap the throttler is, beside others where they are installed.

A crowd of callers arrives at once (the ideal: a full window at the start of each period, in
order), then a single caller calls again and again below its limit. What is measured is what
the called functions see on the machine's own clock, not what a throttler says of itself.

    python benchmarks/throttler.py             # about 10 s for each throttler
    python benchmarks/throttler.py --quick     # a tenth of that
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from holdfast.net import RateLimit, Throttler

NS = 1_000_000_000
UNCONTENDED_CALLS = 100_000

AsyncFunction = Callable[..., Awaitable[None]]
Execute = Callable[..., Awaitable[None]]  # execute(fn, *args): call fn when the limit allows


class Crowd(NamedTuple):
    """What was seen of a crowd that came all at once."""

    most_in_window: int
    total_seconds: float
    in_order: bool
    cpu_seconds: float


def ours(limit: int, period: float) -> Execute:
    """holdfast.net.Throttler."""
    throttler = Throttler({"x": RateLimit(limit, period)})

    async def execute(fn: AsyncFunction, *args: int) -> None:
        await throttler.execute("x", fn, *args)

    return execute


def aiolimiter(limit: int, period: float) -> Execute:
    """A leaky bucket."""
    limiter: Any = importlib.import_module("aiolimiter").AsyncLimiter(limit, period)

    async def execute(fn: AsyncFunction, *args: int) -> None:
        async with limiter:
            await fn(*args)

    return execute


def asyncio_throttle(limit: int, period: float) -> Execute:
    """A sliding window that is asked again every 10 ms."""
    throttler: Any = importlib.import_module("asyncio_throttle").Throttler(limit, period)

    async def execute(fn: AsyncFunction, *args: int) -> None:
        async with throttler:
            await fn(*args)

    return execute


# Name -> (the module it needs, how to make one).
THROTTLERS: dict[str, tuple[str, Callable[[int, float], Execute]]] = {
    "holdfast": ("holdfast", ours),
    "aiolimiter": ("aiolimiter", aiolimiter),
    "asyncio-throttle": ("asyncio_throttle", asyncio_throttle),
}


async def measure_crowd(execute: Execute, callers: int, period: float) -> Crowd:
    """All callers at once."""
    started = list[tuple[int, int]]()

    async def call(caller: int) -> None:
        started.append((time.perf_counter_ns(), caller))

    begin, cpu = time.perf_counter_ns(), time.process_time()
    await asyncio.gather(*(execute(call, caller) for caller in range(callers)))
    total, cpu = time.perf_counter_ns() - begin, time.process_time() - cpu
    moments = [moment for moment, _ in started]
    return Crowd(
        most_in_window=most_in_window(moments, round(period * NS)),
        total_seconds=total / NS,
        in_order=[caller for _, caller in started] == list(range(callers)),
        cpu_seconds=cpu,
    )


def most_in_window(moments: list[int], period_ns: int) -> int:
    """The most starts in any half-open window of this length; moments are in order."""
    first = most = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - period_ns:
            first += 1
        most = max(most, last - first + 1)
    return most


async def measure_uncontended(execute: Execute) -> float:
    """Microseconds a call below the limit, less those of the bare call; the best of five rounds."""

    async def call() -> None:
        pass

    async def bare(fn: AsyncFunction) -> None:
        await fn()

    async def best(of: Execute) -> float:
        rounds = list[float]()
        for _ in range(5):
            begin = time.perf_counter_ns()
            for _ in range(UNCONTENDED_CALLS // 5):
                await of(call)
            rounds.append((time.perf_counter_ns() - begin) / (UNCONTENDED_CALLS // 5) / 1_000)
        return min(rounds)

    return await best(execute) - await best(bare)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=100, help="calls in a window (default %(default)s)")
    parser.add_argument("--period", type=float, default=1.0, help="the window in seconds (default %(default)s)")
    parser.add_argument("--callers", type=int, default=1_000, help="callers at once (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the period")
    parser.add_argument("--only", choices=sorted(THROTTLERS), help="measure this one only")
    options = parser.parse_args()
    period = options.period / 10 if options.quick else options.period
    ideal = (options.callers - 1) // options.limit * period

    print(f"{options.callers} callers at once, limit {options.limit} in {period:g} s (ideal {ideal:g} s)")
    print(f"{'':<18}{'most in window':>15}{'total s':>10}{'FIFO':>6}{'CPU s':>8}{'us uncontended':>16}")
    for name, (module, make) in THROTTLERS.items():
        if options.only not in (None, name) or importlib.util.find_spec(module) is None:
            continue
        crowd = asyncio.run(measure_crowd(make(options.limit, period), options.callers, period))
        uncontended = asyncio.run(measure_uncontended(make(UNCONTENDED_CALLS * 2, 3_600.0)))
        fifo = "yes" if crowd.in_order else "no"
        print(
            f"{name:<18}{crowd.most_in_window:>15}{crowd.total_seconds:>10.3f}{fifo:>6}"
            f"{crowd.cpu_seconds:>8.3f}{uncontended:>16.2f}"
        )


if __name__ == "__main__":
    main()
