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


def test_who_asks_moves_the_time_and_wakes_nobody() -> None:
    """A request does what is due by its moment; the pacer sleeps on until the next step of the market."""

    async def follow(loop: VirtualLoop) -> None:
        market = exchange(memory_book(1), {"BTC/USD": minutes("BTC/USD", 3)})
        woken: list[float] = []
        pacer = Pacer(market, 1.0, lambda: woken.append(loop.time()))
        pacer.start()
        running = asyncio.ensure_future(pacer.run())
        await asyncio.sleep(1)
        asleep_since = list(woken)
        for _ in range(30):
            await asyncio.sleep(1)
            pacer.catch_up()
            pacer.look_again()

        assert market.now == pacer.now
        assert woken == asleep_since
        running.cancel()

    run(follow)


def test_what_is_due_earlier_than_was_known_wakes_the_pacer_in_time() -> None:
    """A request may bring it about; without it the pacer would sleep until the end of the minute."""

    async def follow(loop: VirtualLoop) -> None:
        market = exchange(memory_book(1), {"BTC/USD": minutes("BTC/USD", 3)})
        alarms: list[int] = []
        rung: list[float] = []

        def settle() -> None:
            if alarms and alarms[0] <= market.now:
                rung.append(loop.time())
                alarms.clear()

        pacer = Pacer(market, 1.0, settle, lambda: alarms[0] if alarms else None)
        pacer.start()
        running = asyncio.ensure_future(pacer.run())
        await asyncio.sleep(10)
        pacer.catch_up()
        alarms.append(market.now + 5 * NS_PER_SECOND)
        pacer.look_again()
        await asyncio.sleep(20)

        assert rung == [15.0]
        running.cancel()

    run(follow)
