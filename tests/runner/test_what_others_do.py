"""The whole bot beside people who trade on its account, and a venue that takes trades back (P3, P4, P7, P9)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from holdfast.kernel import Kernel, KernelSettings
from holdfast.model import AccountActivity, ActivityKind, Foreign, OrderSide, OrderType, TimeInForce
from holdfast.model.events import ReconcileRequested, StreamConnected, StreamLost
from holdfast.strategies import Strategy
from holdfast.testing import InProcessBot, make_engine, make_kernel, time_out_before
from holdfast.venue.matching.engine import MatchingEngine, NewOrder
from tests.runner.helpers import Scripted, bar, buy, sell

D = Decimal


def _by_hand(engine: MatchingEngine, bot: InProcessBot, side: OrderSide, quantity: int) -> None:
    """Somebody else sends an order on the account."""
    engine.submit(NewOrder("SPY", side, OrderType.MARKET, TimeInForce.DAY, D(quantity)), bot.clock.now_ns())
    bot.broker.deliver()


async def _bot(policy: Foreign, engine: MatchingEngine | None = None) -> InProcessBot:
    def make(strategies: Sequence[Strategy]) -> Kernel:
        return make_kernel(strategies, settings=KernelSettings(foreign=policy))

    bot = InProcessBot(lambda: [Scripted(["SPY"])], engine=engine, make=make)
    await bot.start()
    await bot.play(bar(1))
    return bot


def _held_before() -> MatchingEngine:
    engine = make_engine()
    engine.submit(NewOrder("SPY", OrderSide.BUY, OrderType.MARKET, TimeInForce.DAY, D(20)), bar(0).ts)
    engine.open_bar("SPY", bar(0).ts, 100.0, 1e6)
    engine.close_bar("SPY", bar(0).ts, 100.0, 100.0, 100.0, 100.0, 1e6)
    engine.take_events()
    return engine


@pytest.mark.parametrize(("policy", "drift"), [(Foreign.ALERT, 2), (Foreign.IGNORE, 0), (Foreign.ADOPT, 0)])
async def test_p4_what_others_hold_and_trade_is_told_ignored_or_adopted(policy: Foreign, drift: int) -> None:
    """Before us and beside us, through a crash: books plus what is explained equal the venue's."""
    engine = _held_before()
    bot = await _bot(policy, engine)
    await bot.submit(buy(10))
    await bot.play(bar(2))
    _by_hand(engine, bot, OrderSide.BUY, 5)
    await bot.play(bar(3))
    for epoch in range(2):
        if epoch:
            bot = await bot.crash()
            await bot.start()
        bot.runner.inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="test"),))
        await bot.advance(seconds=200)
        found, positions = bot.kernel.reconciliation, bot.kernel.portfolio.positions
        assert len(found.drift) == drift
        assert engine.position("SPY").quantity == 35  # type: ignore[union-attr]  # it is held
        assert positions.quantity("SPY") == (35 if policy is Foreign.ADOPT else 10)


async def test_p7_an_exit_after_a_manual_sale_leaves_the_venue_flat_and_never_short() -> None:
    """The stream told of the sale of six: four are sold, and no more."""
    bot = await _bot(Foreign.ALERT)
    await bot.submit(buy(10))
    await bot.play(bar(2))
    _by_hand(bot.engine, bot, OrderSide.SELL, 6)
    await bot.play(bar(3))
    await bot.submit(sell(4))
    await bot.play(bar(4))
    assert bot.engine.positions() == []
    verdict = await bot.submit(sell(6))
    assert not verdict.approved
    await bot.play(bar(5))
    assert bot.engine.positions() == []


async def test_p3_a_busted_trade_is_reversed_once_and_stays_so_after_a_crash() -> None:
    """From the stream, into the journal, and out of it again."""
    bot = await _bot(Foreign.ALERT)
    await bot.submit(buy(10))
    await bot.play(bar(2))
    (execution,) = bot.engine.activities()
    bot.engine.bust(execution.execution_id, bot.clock.now_ns())
    bot.broker.copies = 2
    bot.broker.deliver()
    await bot.settle()
    assert bot.kernel.portfolio.positions.quantity("SPY") == 0
    await bot.journal.sync()

    after = await bot.crash()
    await after.start()
    await after.advance(seconds=60)
    portfolio = after.kernel.portfolio
    assert (portfolio.positions.quantity("SPY"), portfolio.positions.cash) == (D(0), D(100_000))
    assert [a.label for a in portfolio.positions.adjustments] == [f"trade busted: {execution.execution_id}"]
    assert after.kernel.reconciliation.drift == ()


async def test_p3_a_fee_that_is_posted_is_counted_once_however_often_it_is_listed() -> None:
    """In this run, and in the next, which is shown it again."""
    bot = await _bot(Foreign.ALERT)
    fee = AccountActivity(
        activity_id="f", kind=ActivityKind.FEE, label="fee posted (FEE)", at=bot.clock.now_ns(), cash=D("-0.02")
    )
    bot.engine.amendments.adjust("", D(0), D("-0.02"))
    bot.broker.adjustments.append(fee)
    for _ in range(3):
        bot.runner.inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="test"),))
        await bot.advance(seconds=30)
    await bot.journal.sync()
    after = await bot.crash()
    after.broker.adjustments.append(fee)
    await after.start()
    await after.advance(seconds=60)
    assert after.kernel.portfolio.positions.cash == D("99999.98")
    assert after.kernel.reconciliation.drift == ()
    assert len(after.kernel.portfolio.positions.adjustments) == 1


async def test_p9_an_order_that_got_lost_is_settled_within_half_a_minute_beside_a_live_stream() -> None:
    """P2: and by three witnesses, which the requests show: look-ups, then a list of orders, then a look-up."""
    bot = await _bot(Foreign.ALERT)
    bot.broker.script("place", time_out_before)
    await bot.submit(buy(10))
    seen = len(bot.broker.requests)
    await bot.advance(seconds=30)
    (order,) = bot.kernel.portfolio.tracker.orders()
    assert order.is_closed
    assert "a comparison of orders asked for after" in order.evidence
    asked = [call.method for call in bot.broker.requests[seen:] if call.method in ("find_order", "fetch_orders")]
    assert asked[-2:] == ["fetch_orders", "find_order"]
    assert asked.count("find_order") >= 3


async def test_p9_beside_a_dead_stream_it_stays_unknown_until_the_stream_is_back() -> None:
    """P2: an hour of "not found" settles nothing."""
    bot = await _bot(Foreign.ALERT)
    bot.runner.inbox.post(lambda ts: (StreamLost(ts=ts, stream="user", reason="cut"),))
    await bot.settle()
    bot.broker.script("place", time_out_before)
    await bot.submit(buy(10))
    await bot.advance(seconds=3_600)
    (order,) = bot.kernel.portfolio.tracker.orders()
    assert order.is_open
    bot.runner.inbox.post(lambda ts: (StreamConnected(ts=ts, stream="user"),))
    await bot.advance(seconds=30)
    assert order.is_closed
