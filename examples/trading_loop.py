"""A trading loop of your own around a container, from nothing to a closed trade, on a venue that it starts itself.

    python examples/trading_loop.py

The loop asks; the container's guards decide. There is no way to the venue that goes around them: each signal passes
protections, risk gate and symbol rules, is written to the journal, and leaves through the throttler. With your keys
instead of the venue's addresses the same loop trades on Alpaca paper.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog

from holdfast.di import Container
from holdfast.model import Verdict
from holdfast.model.timestamps import to_ns

SYMBOL = "BTC/USD"
SPEED = 120  # seconds of the market in one real second


async def trading_loop(container: Container) -> None:
    """Buy, hold five minutes, leave; then try to buy again at once, which a protection does not allow."""
    bought = await container.create_order({"symbol": SYMBOL, "side": "BUY", "quantity": "0.1", "reason": "example"})
    while bought.is_open:
        await pause(container, timedelta(seconds=20))
    print(f"bought {bought.filled_quantity} at {bought.average_price}")

    await pause(container, timedelta(minutes=5))
    held = container.position_store.quantity(SYMBOL)
    # A little less than was bought: at Alpaca, and here, a purchase of coins pays its fee in coins.
    print(f"holding {held}")
    leave = await container.process_signal({"symbol": SYMBOL, "side": "SELL", "quantity": held, "reduce_only": True})
    print("exit:", in_words(leave))
    while container.position_store.quantity(SYMBOL):
        await pause(container, timedelta(seconds=20))

    again = await container.process_signal({"symbol": SYMBOL, "side": "BUY", "quantity": "0.1"})
    print("again:", in_words(again))
    for trade in container.position_store.closed_trades:
        print(f"trade: {trade.profit:.2f} USD, fees included")
    print("books against the venue's:", await container.reconcile_orders())


async def pause(container: Container, duration: timedelta) -> None:
    """Wait by the container's clock, which runs as fast as the market does."""
    await container.clock.wait_until(to_ns(container.clock.now() + duration))


def in_words(verdict: Verdict) -> str:
    """A verdict says which guard decided, and why."""
    return "accepted" if verdict.approved else f"blocked by {verdict.guard} ({verdict.reason})"


@asynccontextmanager
async def venue(*arguments: str) -> AsyncIterator[dict[str, Any]]:
    """The built-in venue in a process of its own, replaying the bundled sample."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "holdfast", "venue", "--exit-with-parent", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        ready = await process.stdout.readline() if process.stdout is not None else b""
        if not ready:
            sys.exit("the venue did not start")
        yield json.loads(ready)
    finally:
        if process.stdin is not None:
            process.stdin.close()  # it ends with us
        await process.wait()


async def main() -> None:
    """Wire everything, trade, let go of everything."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with venue("--speed", str(SPEED)) as addresses:
        url = addresses["url"]
        config = {
            "alpaca": {
                "api_key": "ANY-KEY",
                "api_secret": "any-secret",
                "base_url": url,
                "data_url": url,
                "market_stream_url": url.replace("http", "ws", 1),
            },
            "account": {"mode": "paper"},
            "watch": [SYMBOL],
        }
        async with await Container.connect(config) as container:
            while not container.kernel.bars:  # until the market has shown a price, every guard says no
                await pause(container, timedelta(seconds=20))
            await trading_loop(container)


if __name__ == "__main__":
    asyncio.run(main())
