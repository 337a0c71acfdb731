"""The runner: one event at a time, and what it does when a strategy, a timer or the end comes."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from holdfast.model import Bar, OrderStatus, Quote, Stage, TradingState
from holdfast.model.errors import StrategyError
from holdfast.model.events import Event, OrderFilled, OrderUpdated, ReconcileRequested, ShutdownStarted, TimerFired
from holdfast.state.order_tracker import InFlightOrder
from holdfast.testing import Held, InProcessBot, time_out_before
from holdfast.testing.sim.loop import VirtualLoop
from holdfast.testing.sim.loop import run as simulated
from tests.runner.helpers import Scripted, bar, buy, sell, trading, turns, until


def seen(bot: InProcessBot) -> list[Event]:
    """What the kernel is shown from now on."""
    events: list[Event] = []
    bot.runner.observers.append(events.append)
    return events


##### Events in turn


async def test_orders_go_before_market_data() -> None:
    """What concerns money is handled first, whatever came first; quotes come last, and only the newest."""
    bot = await trading()
    events = seen(bot)
    inbox = bot.runner.inbox
    inbox.post_quote(Quote(bar(2).ts, "SPY", 99.0, 99.1))
    inbox.post_quote(Quote(bar(2).ts, "SPY", 99.5, 99.6))
    inbox.post_bar(bar(2))
    inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="test"),))
    bot.clock.advance_to(bar(2).ts)

    await bot.settle()

    kinds = [type(event).__name__ for event in events]
    assert kinds == ["ReconcileRequested", "Bar", "Quote", "BrokerReported"]
    assert isinstance(events[2], Quote)
    assert events[2].bid == 99.5


async def test_an_observer_sees_each_event_after_the_kernel_did() -> None:
    """Read models are never ahead of the books."""
    bot = await trading()
    counted: list[tuple[type[Event], int]] = []
    bot.runner.observers.append(lambda event: counted.append((type(event), bot.kernel.counters.executions)))

    await bot.submit(buy())
    await bot.play(bar(2))

    assert (OrderFilled, 1) in counted
    assert (OrderFilled, 0) not in counted


async def test_run_takes_what_comes_until_it_is_paused() -> None:
    """Events that arrive while it waits wake it; ``pause`` ends it after the event that it is at."""
    bot = await trading()
    run = asyncio.ensure_future(bot.runner.run())
    await turns()
    assert not run.done()

    bot.runner.inbox.post_bar(bar(2))
    await until(lambda: bot.kernel.bars == 2)
    bot.runner.pause()
    await run


async def test_a_timer_fires_when_the_clock_comes_to_it() -> None:
    """Not before, and without anything else happening."""
    bot = await trading()
    bot.broker.script("place", time_out_before)
    await bot.submit(buy())  # unknown: looked up, and looked up again after the interval
    events = seen(bot)
    due = bot.runner.next_timer()
    assert due is not None
    run = asyncio.ensure_future(bot.runner.run())

    bot.clock.advance_to(due - 1)
    await turns()
    assert events == []
    bot.clock.advance_to(due)
    await until(lambda: len(events) >= 2)

    assert isinstance(events[0], TimerFired)
    assert events[0].ts == due
    bot.runner.pause()
    await run


async def test_many_events_in_a_row_leave_others_their_turn() -> None:
    """A flood of bars does not starve the sockets and the status API."""
    bot = await trading()
    for minute in range(2, 502):
        bot.runner.inbox.post_bar(bar(minute))
    seen_by_others: list[int] = []

    async def other() -> None:
        while bot.kernel.bars < 501:
            seen_by_others.append(bot.kernel.bars)
            await turns(1)

    await asyncio.gather(bot.settle(), other())

    assert len(seen_by_others) > 5


async def test_a_long_row_of_bars_is_flushed_on_its_way() -> None:
    """Memory does not hold more than a few thousand records that a crash would lose."""
    bot = await trading()
    for minute in range(2, 4_502):
        bot.runner.inbox.post_bar(bar(minute))

    await bot.settle()

    assert bot.journal.syncs == 2
    assert bot.journal.unsynced < 2_000


def test_what_is_recorded_waits_for_a_second_at_most() -> None:
    """A bar alone is worth no sync of its own, and is durable a second after it came."""

    async def follow(_loop: VirtualLoop) -> None:
        bot = await trading()
        running = asyncio.ensure_future(bot.runner.run())
        await asyncio.sleep(10)
        before = bot.journal.syncs
        bot.runner.inbox.post_bar(bar(2))
        await asyncio.sleep(0.9)
        assert bot.journal.unsynced
        await asyncio.sleep(0.2)
        assert not bot.journal.unsynced
        await asyncio.sleep(60)

        assert bot.journal.syncs == before + 1
        bot.runner.pause()
        await running

    simulated(follow)


##### Signals from outside


async def test_a_signal_comes_back_as_its_verdict() -> None:
    """Accepted, with the order's id; or refused, with guard and reason."""
    bot = await trading()

    accepted = await bot.submit(buy())
    refused = await bot.submit(sell(symbol="QQQ"))

    assert accepted.approved
    assert accepted.client_order_id == bot.broker.sent()[0]
    assert not refused.approved
    assert refused.guard
    assert refused.reason


async def test_concurrent_signals_each_get_their_own_verdict() -> None:
    """However many wait at once."""
    bot = await trading()

    verdicts = await asyncio.gather(*(bot.submit(buy(quantity)) for quantity in range(1, 21)))

    assert [verdict.signal.quantity for verdict in verdicts] == list(range(1, 21))
    assert len({verdict.client_order_id for verdict in verdicts}) == 20
    assert sorted(bot.broker.sent()) == sorted(str(verdict.client_order_id) for verdict in verdicts)


async def test_who_stops_waiting_for_a_verdict_stops_nothing() -> None:
    """The signal was asked for; cancelling the wait is no cancel of the order."""
    bot = await trading()
    wait = asyncio.ensure_future(bot.runner.submit(buy()))
    await turns(1)
    wait.cancel()

    await bot.settle()

    assert len(bot.broker.sent()) == 1


@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.REDUCING])
async def test_a_changed_state_is_in_force_for_what_waits_already(state: TradingState) -> None:
    """The order in the throttler's queue is dropped, and closed as never sent with the reason."""
    bot = await trading()
    slot = Held()
    bot.broker.script("place", slot)
    verdict = await bot.submit(buy())
    assert verdict.stage is Stage.ACCEPTED

    bot.runner.change_state(state, "an operator")
    await bot.settle()
    slot.release()
    await turns(5)
    await bot.settle()

    (order,) = bot.kernel.portfolio.tracker.orders()
    assert order.status is OrderStatus.NEVER_SENT
    assert order.evidence == f"trading is {state}"
    assert bot.broker.sent() == []


async def test_a_deadline_that_passes_in_the_queue_closes_the_order() -> None:
    """As never sent, by our own process's word; and the next order is not held up by it."""
    bot = await trading()
    slot = Held()
    bot.broker.script("place", slot)
    await bot.submit(buy())
    await bot.advance(seconds=6)
    slot.release()
    await turns(5)
    await bot.settle()

    (order,) = bot.kernel.portfolio.tracker.orders()
    assert order.status is OrderStatus.NEVER_SENT
    assert "deadline" in order.evidence
    assert bot.broker.sent() == []
    assert (await bot.submit(buy(3))).approved
    assert len(bot.broker.sent()) == 1


##### A strategy that raises


def _raise(_strategy: object, _bar: Bar) -> None:
    message = "no such luck"
    raise LookupError(message)


async def test_a_strategy_that_raises_stops_the_bot_and_open_orders_are_still_cancelled() -> None:
    """One sentence with name and place; the bar is in the journal; the end of the run does what it always does."""
    strategy = Scripted(["SPY"], {2: lambda s, b: s.buy(b.symbol, 5, limit=50), 3: _raise})
    bot = await trading(strategy)
    await bot.play(bar(2))
    assert bot.engine.open_count == 1

    with pytest.raises(StrategyError, match=r"strategy Scripted raised LookupError in on_bar \(.*: no such luck"):
        await bot.play(bar(3))
    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)
    bot.journal.close()

    assert bot.engine.open_count == 0
    contents = [record.content for record in bot.journal.records()]
    assert bar(3) in contents
    assert any(isinstance(content, ShutdownStarted) for content in contents)


async def test_what_a_strategy_asked_for_before_it_raised_is_not_sent() -> None:
    """Half a decision is none. The intent is closed as never sent, with the reason."""

    def buy_then_raise(strategy: object, bar_: Bar) -> None:
        assert isinstance(strategy, Scripted)
        assert strategy.buy(bar_.symbol, 5).approved
        _raise(strategy, bar_)

    bot = await trading(Scripted(["SPY"], {2: buy_then_raise}))
    with pytest.raises(StrategyError):
        await bot.play(bar(2))

    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)

    assert bot.broker.sent() == []
    (order,) = bot.kernel.portfolio.tracker.orders()
    assert order.status is OrderStatus.NEVER_SENT
    assert order.evidence == "the bot is stopping"


class Sulking(Scripted):
    """Raises whenever it is told of a cancelled order."""

    def on_order(self, order: InFlightOrder) -> None:
        """Not this one."""
        if order.status is OrderStatus.CANCELED:
            message = "I wanted that"
            raise RuntimeError(message)


async def test_a_strategy_that_raises_at_every_word_does_not_keep_orders_open() -> None:
    """During the shutdown its opinion of the venue's answers no longer counts."""
    bot = await trading(Sulking(["SPY"]))
    for price in (50, 51, 52):
        await bot.submit(buy(limit=price))

    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)

    assert bot.engine.open_count == 0
    assert len(bot.broker.made("request_cancel")) == 3


##### The end


async def resting() -> InProcessBot:
    """A bot with two resting orders."""
    bot = await trading()
    await bot.submit(buy(limit=50))
    await bot.submit(buy(limit=51))
    assert bot.engine.open_count == 2
    return bot


async def test_a_shutdown_cancels_what_is_open_and_waits_for_the_venue() -> None:
    """Our books say so too when it returns."""
    bot = await resting()

    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)

    assert bot.engine.open_count == 0
    assert {order.status for order in bot.kernel.portfolio.tracker.orders()} == {OrderStatus.CANCELED}


async def test_a_shutdown_leaves_what_is_open_where_it_is_told_to() -> None:
    """No cancel is asked for."""
    bot = await resting()

    await bot.runner.shut_down(cancel_orders=False, patience_seconds=10)

    assert bot.engine.open_count == 2
    assert bot.broker.made("request_cancel") == []


async def test_a_shutdown_does_not_wait_longer_than_its_patience() -> None:
    """A venue that never answers keeps nobody: the order stays known as open, and the next run asks."""
    bot = await resting()
    bot.broker.script("request_cancel", Held(), Held())

    async with asyncio.timeout(30):
        await bot.runner.shut_down(cancel_orders=True, patience_seconds=0.01)

    assert bot.engine.open_count == 2
    assert bot.broker.held == 0
    assert len(bot.kernel.portfolio.tracker.open_orders()) == 2


async def test_nothing_is_decided_any_more_once_the_end_has_begun() -> None:
    """A bar that waits in the inbox is not shown to the strategy."""
    strategy = Scripted(["SPY"], {2: lambda s, b: s.buy(b.symbol, 5)})
    bot = await trading(strategy)
    bot.runner.inbox.post_bar(bar(2))

    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)
    await turns()

    assert strategy.bars == 1
    assert bot.broker.sent() == []


async def test_an_order_that_arrives_during_the_shutdown_is_cancelled_too() -> None:
    """Its request was out when the end began; the answer brings the id that the cancel needs."""
    bot = await trading()
    answer = Held(at_venue=True)
    bot.broker.script("place", answer)
    bot.broker.copies = 0  # the stream is mute, so only the answer tells
    await bot.submit(buy(limit=50))
    assert bot.engine.open_count == 1

    shutdown = asyncio.ensure_future(bot.runner.shut_down(cancel_orders=True, patience_seconds=10))
    await turns()
    bot.broker.copies = 1
    answer.release()
    await shutdown

    assert bot.engine.open_count == 0


async def test_fills_reach_strategy_and_books() -> None:
    """The whole way: signal, submit, acceptance, fill, position."""
    strategy = Scripted(["SPY"])
    bot = await trading(strategy)
    events = seen(bot)

    verdict = await bot.submit(buy(10))
    await bot.play(bar(2, 101.0))

    assert strategy.told == [(verdict.client_order_id, Decimal(10))]
    assert bot.kernel.portfolio.positions.quantity("SPY") == 10
    assert bot.engine.positions()[0].quantity == 10
    assert sum(isinstance(event, OrderUpdated) for event in events) == 2  # the stream's word, and the answer


@pytest.mark.parametrize("copies", [1, 2, 3])
async def test_messages_that_come_again_change_nothing(copies: int) -> None:
    """P3: an execution counts once, however often the stream tells of it."""
    bot = await trading()
    bot.broker.copies = copies

    await bot.submit(buy(10))
    await bot.play(bar(2))

    assert bot.kernel.counters.executions == 1
    assert bot.kernel.portfolio.positions.quantity("SPY") == 10


async def test_a_shutdown_settles_the_fees_that_a_resting_order_kept_open() -> None:
    """The fill of a limit order does not say that it was charged as taker; once nothing is open, the cash does."""
    bot = await trading(Scripted(["BTC/USD"]))
    await bot.play(bar(2, symbol="BTC/USD"))
    await bot.submit(buy(symbol="BTC/USD"))
    await bot.play(bar(3, symbol="BTC/USD"))
    await bot.submit(sell(4, "BTC/USD", limit=99))
    await bot.play(bar(4, symbol="BTC/USD"))
    await bot.submit(sell(1, "BTC/USD", limit=101))
    portfolio = bot.kernel.portfolio
    assert bot.engine.open_count == 1
    assert portfolio.positions.cash != bot.engine.account().cash

    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)

    assert bot.engine.open_count == 0
    assert portfolio.positions.cash == bot.engine.account().cash
    assert portfolio.cash_uncertainty == 0
    assert [adjustment.label for adjustment in portfolio.positions.adjustments] == ["cash fee as charged"]
