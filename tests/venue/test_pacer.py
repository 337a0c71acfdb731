"""A venue's time at a speed of its own: it flows with the market, and on where the market has ended."""

from __future__ import annotations

import asyncio

from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.testing.sim.loop import VirtualLoop, run
from holdfast.venue.lockstep import Pacer
from holdfast.venue.store import memory_book
from tests.venue.helpers import minutes
from tests.venue.test_store import exchange


def test_time_goes_on_when_the_market_has_ended() -> None:
    """P6: a window of requests that was full at the end of the data empties like any other."""

    async def follow(_loop: VirtualLoop) -> None:
        market = exchange(memory_book(1), {"BTC/USD": minutes("BTC/USD", 3)})
        pacer = Pacer(market, 60.0, lambda: None)
        began = market.now
        await asyncio.sleep(5)
        assert pacer.now == began
        pacer.start()
        await pacer.run()
        assert market.done
        ended = market.now
        at = pacer.now
        assert at >= ended
        await asyncio.sleep(2)

        assert market.now == ended
        assert pacer.now == at + 120 * NS_PER_SECOND

    run(follow)
