"""The rounds that close everything, driven from the shell in virtual time: when they end, and with which word."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from holdfast.model import OrderSide, OrderType, TimeInForce, TradingState
from holdfast.model.errors import BrokerRefusedError
from holdfast.model.events import FlattenRequested
from holdfast.runner.flatten import FLAT, Flatten
from holdfast.runner.halt_file import HaltOrder
from holdfast.testing import InProcessBot, time_out_before
from holdfast.venue.matching.engine import NewOrder
from tests.runner.helpers import bar, buy, trading


async def flatten(
    bot: InProcessBot, *, seconds: float = 20.0, market: bool = True, everything: bool = False
) -> Flatten:
    """Run the rounds to their end; a bar of SPY is traded every second where there is a market."""
    ticks = 0

    async def sleep(interval: float) -> None:
        nonlocal ticks
        ticks += 1
        await bot.advance(interval)
        if market and ticks % 10 == 0:
            await bot.play(bar(10 + ticks))

    order = HaltOrder(state="flatten", who="somebody", reason="test", id="1", seconds=seconds, everything=everything)
    rounds = Flatten(bot.runner, order, sleep=sleep)
    await rounds.run()
    await bot.settle()
    return rounds


async def holding() -> InProcessBot:
    """A bot that holds ten SPY."""
    bot = await trading()
    await bot.submit(buy(10))
    await bot.play(bar(2))
    return bot


def state(bot: InProcessBot) -> TradingState:
    """What the kernel may do."""
    return bot.kernel.portfolio.trading_state


async def test_flat_is_said_only_after_the_venue_has_said_it() -> None:
    """Our own books are flat first; then a comparison that was asked for afterwards."""
    bot = await holding()
    before = bot.kernel.reconciliation.count
    rounds = await flatten(bot)

    assert rounds.outcome == FLAT
    assert bot.kernel.reconciliation.count > before
    assert bot.engine.positions() == []
    assert state(bot) is TradingState.HALTED
    assert bot.alerts.alerts[-1].details == "flatten: everything is closed"


async def test_a_flat_bot_is_flat_after_one_look() -> None:
    """Nothing is sent; it is halted all the same."""
    bot = await trading()
    rounds = await flatten(bot, market=False)

    assert (rounds.outcome, bot.broker.sent(), state(bot)) == (FLAT, [], TradingState.HALTED)


async def test_what_is_left_when_the_time_is_over_is_told() -> None:
    """No market, no fill: the exit rests, and the outcome names position and order."""
    bot = await holding()
    rounds = await flatten(bot, seconds=5.0, market=False)

    assert rounds.outcome.startswith("10 SPY; an order in SPY is open (")
    assert state(bot) is TradingState.HALTED
    assert len(bot.broker.sent()) == 2, "one exit, however many rounds"


async def test_a_venue_that_cannot_be_asked_is_never_taken_for_flat() -> None:
    """Our own books are flat, and nobody confirms it: silence is no evidence."""
    bot = await trading()
    bot.broker.script("fetch_positions", *[time_out_before] * 100)
    rounds = await flatten(bot, seconds=5.0, market=False)

    assert rounds.outcome == "the venue did not confirm it"


async def test_a_refused_exit_is_tried_again() -> None:
    """The next round sees a position and nothing under way."""
    bot = await holding()

    async def refuse(_call: object) -> None:
        await asyncio.sleep(0)
        message = "insufficient qty available"
        raise BrokerRefusedError(message, status=403, code=40310000)

    bot.broker.script("place", refuse, refuse)
    rounds = await flatten(bot)

    assert rounds.outcome == FLAT
    assert len(bot.broker.made("place")) == 4


async def test_the_rounds_of_one_wish_are_numbered() -> None:
    """So that the kernel knows which of them begins something new."""
    bot = await holding()
    seen: list[FlattenRequested] = []
    bot.runner.observers.append(lambda event: seen.append(event) if isinstance(event, FlattenRequested) else None)
    await flatten(bot, seconds=4.0, market=False)

    assert [event.round for event in seen] == [1, 2, 3, 4]
    assert {event.reason for event in seen} == {"flatten by somebody: test"}


async def test_all_means_all() -> None:
    """A person's own position goes too, and our books are none the wiser."""
    bot = await holding()
    bot.engine.submit(NewOrder("QQQ", OrderSide.BUY, OrderType.MARKET, TimeInForce.DAY, Decimal(4)), bot.clock.now_ns())
    bot.broker.play(bar(3, 200.0, "QQQ"))

    async def trade_both() -> None:
        for minute in range(4, 8):
            await bot.play(bar(minute), bar(minute, 200.0, "QQQ"))

    rounds = Flatten(
        bot.runner,
        HaltOrder(state="flatten", who="somebody", id="1", seconds=20.0, everything=True),
        sleep=lambda _seconds: trade_both(),
    )
    assert await rounds.run() == FLAT
    assert bot.engine.positions() == []
    assert bot.kernel.portfolio.positions.get_all() == []
