"""The throttler without the rest: five calls at once, and the sixth one second after the first.

    python examples/throttler_alone.py

A limit holds in every window, wherever it begins. Here two kinds of call share one limit, as everything about an
account does at Alpaca.
"""

from __future__ import annotations

import asyncio

from holdfast.net import RateLimit, SharedLimit, Throttler
from holdfast.time import RealTimeClock

_NS_PER_SECOND = 1e9


async def fetch(page: int) -> str:
    """Stands for a request."""
    return f"page {page}"


async def main() -> None:
    """Six calls, and what they cost."""
    throttler = Throttler(
        {
            "api": RateLimit(5, 1.0),
            "orders": SharedLimit(("api",)),
            "account": SharedLimit(("api",)),
        }
    )
    clock = RealTimeClock()
    start = clock.now_ns()
    for number in range(6):
        limit = "orders" if number % 2 else "account"
        answer = await throttler.execute(limit, fetch, number)
        print(f"{(clock.now_ns() - start) / _NS_PER_SECOND:5.2f} s  {limit:7}  {answer}")
    stats = throttler.get_stats()["api"]
    print(f"{stats['total_calls']} calls, {stats['total_waits']} waited {stats['total_wait_seconds']:.2f} s")


if __name__ == "__main__":
    asyncio.run(main())
