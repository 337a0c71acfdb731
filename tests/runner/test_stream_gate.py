"""Submits wait, bounded, while the order stream is down; and a mute stream is found and replaced, in a whole bot."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from holdfast.kernel import Kernel, KernelSettings
from holdfast.model import OrderStatus, TradingState
from holdfast.model.events import ReconcileRequested
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.strategies import Strategy
from holdfast.testing import FakeOrderStream, Held, InProcessBot, make_kernel, sent_twice, unaccounted
from tests.runner.helpers import bar, buy, sell, trading

WATCHFUL = KernelSettings(reconcile_interval=30 * NS_PER_SECOND, mute_after=10 * NS_PER_SECOND)


def watchful(strategies: Sequence[Strategy]) -> Kernel:
    """A kernel as a real broker is given."""
    return make_kernel(strategies, settings=WATCHFUL)


async def listening(*strategies: Strategy) -> tuple[InProcessBot, FakeOrderStream]:
    """A bot that trades, with a stream that is up."""
    bot = await trading(*strategies, make=watchful)
    stream = FakeOrderStream(bot)
    stream.connect()
    await bot.settle()
    await bot.advance(3)
    return bot, stream


def statuses(bot: InProcessBot) -> list[OrderStatus]:
    """Of all orders, oldest first."""
    return [order.status for order in bot.kernel.portfolio.tracker.orders()]


# -- submits wait --------------------------------------------------------------------------------


async def test_an_opening_order_waits_until_the_stream_listens_again() -> None:
    """It is sent then, once, and nobody was told that anything went wrong."""
    bot, stream = await listening()
    stream.lose("cut")
    verdict = await bot.submit(buy(10))
    assert verdict.approved
    await bot.advance(3)
    assert bot.broker.sent() == []
    stream.connect()
    await bot.settle()
    assert bot.broker.sent() == [verdict.client_order_id]
    assert bot.runner.outbox.gate.waits == 1
    await bot.play(bar(3))
    assert statuses(bot) == [OrderStatus.FILLED]


async def test_it_waits_no_longer_than_its_deadline_and_the_reason_says_why() -> None:
    """Nobody wants a stale entry: five seconds after it was handed over it is dropped."""
    bot, stream = await listening()
    stream.lose("cut")
    await bot.submit(buy(10))
    await bot.advance(4.9)
    assert statuses(bot) == [OrderStatus.SUBMITTED]
    await bot.advance(0.1)
    (order,) = bot.kernel.portfolio.tracker.orders()
    assert order.is_closed
    assert order.evidence == "the order stream is down, and was until the order's deadline"
    stream.connect()
    await bot.advance(60)
    assert bot.broker.sent() == []
    assert unaccounted(bot.engine, bot.journal.records(), bot.kernel.portfolio.tracker) == []


async def test_a_reducing_order_does_not_wait() -> None:
    """A position that is to be left does not wait for a socket."""
    bot, stream = await listening()
    await bot.submit(buy(10))
    await bot.play(bar(2))
    stream.lose("cut")
    await bot.settle()
    await bot.submit(sell(10))
    assert len(bot.broker.sent()) == 2
    assert bot.runner.outbox.gate.waits == 0


async def test_a_stream_lost_while_the_order_waits_for_its_turn_sends_it_back_to_wait() -> None:
    """The throttler may grant the slot a second later, and by then nobody listens."""
    bot, stream = await listening()
    slot = Held()
    bot.broker.script("place", slot)
    await bot.submit(buy(10))
    stream.lose("cut")
    slot.release()
    await bot.settle()
    assert bot.broker.sent() == []
    assert statuses(bot) == [OrderStatus.SUBMITTED]
    await bot.advance(1)
    stream.connect()
    await bot.settle()
    assert len(bot.broker.sent()) == 1
    assert sent_twice(bot.broker.requests) == []


async def test_a_bot_that_stops_lets_nothing_wait() -> None:
    """What waits is dropped at once, and known as never sent; the shutdown does not wait for a deadline."""
    bot, stream = await listening()
    stream.lose("cut")
    await bot.submit(buy(10))
    before = bot.clock.now_ns()
    await bot.runner.shut_down(cancel_orders=True, patience_seconds=30)
    assert bot.clock.now_ns() == before
    (order,) = bot.kernel.portfolio.tracker.orders()
    assert order.is_closed
    assert order.evidence == "the bot is stopping"
    assert bot.broker.sent() == []


async def test_a_halt_counts_for_what_waits_too() -> None:
    """The trading state is asked when the order would leave."""
    bot, stream = await listening()
    stream.lose("cut")
    await bot.submit(buy(10))
    bot.runner.change_state(TradingState.HALTED, "operator")
    stream.connect()
    await bot.settle()
    assert bot.broker.sent() == []
    assert [order.evidence for order in bot.kernel.portfolio.tracker.orders()] == ["trading is halted"]


async def test_a_bot_without_such_a_stream_waits_for_nothing() -> None:
    """A broker in this process; a venue in lock-step."""
    bot = await trading()
    await bot.submit(buy(10))
    assert len(bot.broker.sent()) == 1
    assert bot.runner.outbox.gate.is_open


# -- a mute stream -------------------------------------------------------------------------------


async def test_a_mute_stream_is_replaced_and_its_fills_are_recovered_with_their_own_ids() -> None:
    """P3, P9: within one look of the timer; the fill counts once, also when the stream tells of it again."""
    bot, stream = await listening()
    stream.fall_mute()
    await bot.submit(buy(10))
    await bot.play(bar(3))

    await bot.advance(41)

    assert len(stream.restarts) == 1
    assert bot.kernel.hearing.mutes == 1
    venue_ids = [row.execution_id for row in bot.engine.activities()]
    (order,) = bot.kernel.portfolio.tracker.orders()
    assert [execution.execution_id for execution in order.executions] == venue_ids
    assert ("system", "user stream lost") in [alert[:2] for alert in bot.alerts.alerts]
    await bot.advance(300)
    assert len(stream.restarts) == 1, "the new connection is well"
    assert bot.kernel.reconciliation.drift == ()


async def test_a_quiet_stream_is_not_a_mute_one() -> None:
    """Nothing happens for an hour; nothing is torn down."""
    bot, stream = await listening()
    await bot.advance(3600)
    assert stream.restarts == []


# -- views that lag ------------------------------------------------------------------------------


@pytest.mark.parametrize(("lag", "told"), [(3.0, 0), (9.0, 0), (60.0, 1)])
async def test_positions_that_lag_behind_orders_are_no_drift_and_those_that_stay_wrong_are(
    lag: float, told: int
) -> None:
    """Alpaca's views were seen to disagree for ten seconds. A minute is something else, and is said once."""
    bot, _ = await listening()
    bot.broker.lag(lag)
    await bot.submit(buy(10))
    await bot.play(bar(3))
    for _ in range(40):
        bot.runner.inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="test"),))
        await bot.advance(1)

    titles = [alert[1] for alert in bot.alerts.alerts if alert[0] == "order-drift"]
    assert titles == ["SPY: position differs from the venue's", "cash differs from the venue's"][: 2 * told]
    await bot.advance(120)
    assert bot.kernel.reconciliation.differences == ()
    assert bot.kernel.portfolio.positions.quantity("SPY") == Decimal(10)
