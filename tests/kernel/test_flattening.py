"""What is done about each symbol when everything is to be closed: the table, and each of its rows against a real engine."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest

from holdfast.kernel.flattening import ROWS, Action, Facts, action_for
from holdfast.model import OrderReport, OrderSide, OrderStatus, OrderType, TimeInForce, TradingState
from holdfast.model.commands import ClosePosition, Command
from holdfast.model.events import FlattenRequested, PositionCloseAccepted, ReconcileRequested, TradingStateChanged
from holdfast.runner import Runner
from holdfast.testing import InProcessBot, refuse, time_out_after, time_out_before
from holdfast.testing.checks import journaled_intents
from holdfast.venue.matching.engine import NewOrder
from tests.kernel.helpers import Bench, of
from tests.kernel.helpers import buy as buy_shares
from tests.runner.helpers import bar, buy, trading

EVERY_CASE = [Facts(*cells) for cells in product([False, True], repeat=6)]


# -- the table -----------------------------------------------------------------------------------


def test_every_case_has_a_row_and_every_row_has_a_case() -> None:
    """Nothing falls through, and no row stands there that can never be reached."""
    assert {action_for(facts).label for facts in EVERY_CASE} == {row.label for row in ROWS}


@pytest.mark.parametrize("facts", EVERY_CASE, ids=str)
def test_what_must_hold_of_every_case(facts: Facts) -> None:
    """Nothing is closed twice; what never was ours is closed only where all is; an exit by number needs a sure number."""
    action = action_for(facts).action

    if facts.closing:
        assert action is Action.WAIT
    if action is Action.EXIT:
        assert facts.ours
        assert not facts.doubt
    if action is Action.CLOSE:
        assert facts.theirs
        assert facts.doubt or facts.all
    if not facts.ours and not facts.doubt and not facts.all and not facts.resting:
        assert action in (Action.NOTHING, Action.WAIT)
    if facts.ours and not facts.closing:
        assert action is not Action.NOTHING


# -- against an engine ---------------------------------------------------------------------------


async def ask(bot: InProcessBot, number: int = 1, *, everything: bool = False) -> None:
    """One round."""
    bot.runner.inbox.post(lambda ts: (FlattenRequested(ts=ts, reason="test", everything=everything, round=number),))
    await bot.settle()


async def look(bot: InProcessBot) -> None:
    """A comparison of the books."""
    bot.runner.inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="test"),))
    await bot.settle()


async def holding(quantity: int = 10) -> InProcessBot:
    """A bot that holds SPY, and whose books were compared since."""
    bot = await trading()
    await bot.submit(buy(quantity))
    await bot.play(bar(2))
    await look(bot)
    return bot


def trade_by_hand(bot: InProcessBot, symbol: str, side: OrderSide, quantity: int) -> None:
    """Somebody else trades in the same account; nobody streams it to us."""
    bot.engine.submit(NewOrder(symbol, side, OrderType.MARKET, TimeInForce.DAY, Decimal(quantity)), bot.clock.now_ns())
    bot.broker.copies = 0


def left(bot: InProcessBot, *, everything: bool = False) -> tuple[str, ...]:
    """What is not closed."""
    return bot.kernel.flattening.left(everything=everything)


async def test_what_we_hold_leaves_by_a_journaled_intent_of_its_own() -> None:
    """P1, P2: the guarded path, one order, reducing; new positions are out of the question meanwhile."""
    bot = await holding()
    await ask(bot)
    await ask(bot, 2)  # while it is under way it is not done again
    assert left(bot) != ()
    refused = await bot.submit(buy(1))
    await bot.play(bar(3))
    await look(bot)

    assert left(bot) == ()
    assert bot.engine.positions() == []
    assert not refused.approved
    assert bot.kernel.portfolio.trading_state is TradingState.REDUCING
    sent = bot.broker.made("place")
    assert [call.subject for call in sent] == list(journaled_intents(bot.journal.records()))
    assert bot.broker.made("request_close") == []


async def test_what_somebody_buys_after_it_is_not_left_by_the_next_wish() -> None:
    """That we closed something in the symbol once does not make ours what another has bought there since."""
    bot = await holding()
    await ask(bot)
    await bot.play(bar(3))
    await look(bot)
    trade_by_hand(bot, "SPY", OrderSide.BUY, 5)
    await bot.play(bar(4))
    await look(bot)
    assert left(bot) != (), "within the wish it may be a late fill of ours"
    await ask(bot)

    assert left(bot) == ()
    assert bot.broker.made("request_close") == []


async def test_what_rests_is_cancelled_first() -> None:
    """The exit waits for the venue's word on the limit order, then sends everything."""
    bot = await holding()
    await bot.submit(buy(5, limit=50.0))
    await ask(bot)
    await bot.play(bar(3))
    await look(bot)

    assert [call.method for call in bot.broker.requests if call.method in ("request_cancel", "place")][-2:] == [
        "request_cancel",
        "place",
    ]
    assert left(bot) == ()


async def test_a_halted_bot_may_still_be_flattened() -> None:
    """A halt stops exits too; whoever asks for flat asks for exits."""
    bot = await holding()
    bot.runner.inbox.post(lambda ts: (TradingStateChanged(ts=ts, state=TradingState.HALTED, reason="test"),))
    await ask(bot)
    await bot.play(bar(3))

    assert bot.engine.positions() == []


async def test_where_the_venue_holds_another_number_it_closes_by_its_own() -> None:
    """We think ten, it has seven: its call closes seven, tracked as ours, and our books follow with a label."""
    bot = await holding()
    trade_by_hand(bot, "SPY", OrderSide.SELL, 3)
    await bot.play(bar(3))
    bot.broker.copies = 1
    await look(bot)
    await ask(bot)
    assert [call.subject for call in bot.broker.made("request_close")] == ["SPY"]
    await ask(bot, 2)
    assert len(bot.broker.made("request_close")) == 1, "its order is open: nothing is asked for twice"
    await bot.play(bar(4))
    await look(bot)
    assert bot.engine.positions() == []
    assert bot.kernel.portfolio.positions.quantity("SPY") == 3
    await ask(bot, 3)
    assert left(bot) != (), "the venue's views may lag: not believed at once"
    await bot.advance(6)
    await ask(bot, 4)

    assert left(bot) == ()
    assert bot.kernel.portfolio.tracker.open_orders() == []
    assert "the venue holds nothing" in " ".join(bot.alerts.titles())


async def test_a_venue_that_holds_something_again_is_believed_anew_only_after_a_while() -> None:
    """What it did not show before says nothing about what it does not show now."""
    bot = await holding()
    trade_by_hand(bot, "SPY", OrderSide.SELL, 10)
    await bot.play(bar(3))
    await look(bot)
    await ask(bot)
    trade_by_hand(bot, "SPY", OrderSide.BUY, 4)
    await bot.play(bar(4))
    bot.broker.copies = 1
    await look(bot)
    await ask(bot, 2)
    assert [call.subject for call in bot.broker.made("request_close")] == ["SPY"]
    await bot.play(bar(5))
    await look(bot)
    assert bot.kernel.portfolio.positions.quantity("SPY") == 6
    await ask(bot, 3)
    assert bot.kernel.portfolio.positions.quantity("SPY") == 6
    await bot.advance(6)
    await ask(bot, 4)
    assert left(bot) == ()


async def test_an_unknown_order_makes_our_number_doubtful() -> None:
    """The buy of five timed out after it arrived, and its look-ups fail: the venue's call closes all fifteen."""
    bot = await holding()
    bot.broker.script("place", time_out_after)
    bot.broker.script("find_order", *[time_out_before] * 50)
    bot.broker.copies = 0
    await bot.submit(buy(5))
    await bot.play(bar(3))
    assert [order.status for order in bot.kernel.portfolio.tracker.open_orders()] == [OrderStatus.UNKNOWN]
    await ask(bot)
    bot.broker.heal()
    await bot.play(bar(4))

    assert [call.subject for call in bot.broker.made("request_close")] == ["SPY"]
    assert bot.engine.positions() == []
    await bot.advance(15)
    await look(bot)
    assert left(bot) == (), "the look-up and the account's executions have told the rest"
    assert bot.kernel.portfolio.positions.quantity("SPY") == 0


async def test_a_refused_close_is_told_and_asked_for_again() -> None:
    """A no is no end: the next round asks again."""
    bot = await holding()
    trade_by_hand(bot, "SPY", OrderSide.SELL, 3)
    await bot.play(bar(3))
    await look(bot)
    bot.broker.script("request_close", refuse("insufficient qty available"), time_out_before)
    await ask(bot)
    await ask(bot, 2)
    await ask(bot, 3)

    assert len(bot.broker.made("request_close")) == 3
    assert "SPY: not closed by the venue" in bot.alerts.titles()


@pytest.mark.parametrize("everything", [False, True])
async def test_what_never_was_ours_stays_unless_all_is_asked_for(*, everything: bool) -> None:
    """A person's own QQQ in the same account."""
    bot = await holding()
    trade_by_hand(bot, "QQQ", OrderSide.BUY, 4)
    await bot.play(bar(3, 200.0, "QQQ"))
    bot.broker.copies = 1
    await look(bot)
    await ask(bot, everything=everything)
    await bot.play(bar(4), bar(4, 200.0, "QQQ"))
    await look(bot)

    assert left(bot, everything=everything) == ()
    assert [row.symbol for row in bot.engine.positions()] == ([] if everything else ["QQQ"])


async def test_orders_that_are_not_ours_are_cancelled_only_where_all_is_asked_for() -> None:
    """A person's own resting order."""
    bot = await trading()
    bot.engine.submit(
        NewOrder("QQQ", OrderSide.BUY, OrderType.LIMIT, TimeInForce.DAY, Decimal(1), Decimal(10)), bot.clock.now_ns()
    )
    await look(bot)
    await ask(bot)
    assert bot.broker.made("request_cancel") == []
    assert left(bot) == ()
    assert left(bot, everything=True) == ("an order in QQQ that is not ours",)
    await ask(bot, 2, everything=True)
    await look(bot)

    assert left(bot, everything=True) == ()
    assert bot.engine.orders("open") == []


async def test_an_order_that_closes_what_never_was_ours_is_left_to_do_so() -> None:
    """While it is open it is neither asked for again nor cancelled as an order of somebody else."""
    bot = await trading()
    trade_by_hand(bot, "SPY", OrderSide.BUY, 5)
    await bot.play(bar(2))
    await look(bot)
    await ask(bot, everything=True)
    await ask(bot, 2, everything=True)
    assert [call.subject for call in bot.broker.made("request_close")] == ["SPY"]
    await look(bot)
    await ask(bot, 3, everything=True)
    assert len(bot.broker.made("request_close")) == 1
    assert bot.broker.made("request_cancel") == []
    assert left(bot, everything=True) == ("SPY is being closed by the venue", "5 SPY at the venue")
    await bot.play(bar(3))
    await look(bot)

    assert left(bot, everything=True) == ()
    assert bot.kernel.portfolio.tracker.orders() == [], "it moves nothing in our books"


def _wish(bench: Bench, number: int = 1) -> list[Command]:
    return bench.show(FlattenRequested(ts=bench.now, reason="test", everything=False, round=number))


def _in_doubt() -> Bench:
    """We hold ten and the venue seven, and it was asked to close them."""
    bench = Bench()
    bench.hold(10)
    bench.reported(positions={"SPY": 7})
    assert [command.symbol for command in of(ClosePosition, _wish(bench))] == ["SPY"]
    return bench


def test_the_venues_order_is_ours_also_where_a_look_was_quicker_than_its_answer() -> None:
    """The look finds an order that nobody knows; the answer says whose it is."""
    bench = _in_doubt()
    report = OrderReport(
        broker_id="B-1",
        client_order_id="made-by-the-venue",
        symbol="SPY",
        side=OrderSide.SELL,
        quantity=Decimal(7),
        order_type="market",
        time_in_force="day",
        status=OrderStatus.NEW,
    )
    bench.reported(positions={"SPY": 7}, orders=[report])
    assert list(bench.kernel.reconciliation.orphans) == ["B-1"]
    bench.show(PositionCloseAccepted(ts=bench.now, symbol="SPY", report=report))
    assert bench.kernel.reconciliation.orphans == {}
    assert [order.reduce_only for order in bench.kernel.portfolio.tracker.open_orders()] == [True]


def test_a_new_run_does_not_wait_for_what_the_last_one_asked() -> None:
    """Nobody will answer it: it is asked for again."""
    bench = _in_doubt()
    assert of(ClosePosition, _wish(bench, 2)) == []
    bench.begin(epoch=2)
    bench.reported(positions={"SPY": 7})
    assert [command.symbol for command in of(ClosePosition, _wish(bench))] == ["SPY"]


def test_a_new_run_believes_nothing_that_the_last_one_saw() -> None:
    """That the venue holds nothing must be seen for a while, and by one run."""
    bench = Bench()
    bench.hold(10)
    bench.reported(positions={})
    _wish(bench)
    bench.begin(epoch=2)
    bench.wait(6)
    bench.reported(positions={})
    _wish(bench)
    assert bench.position() == 10
    bench.wait(6)
    _wish(bench, 2)
    assert bench.position() == 0
    assert bench.strategy.view("SPY").flat


def test_fills_that_are_told_of_and_have_not_come_make_our_number_doubtful() -> None:
    """By our books there is nothing to close; the venue knows better."""
    bench = Bench()
    intent = bench.order(buy_shares(10))
    bench.updated(intent, OrderStatus.FILLED, filled_qty=Decimal(10))
    bench.reported(positions={"SPY": 10})
    assert bench.position() == 0
    assert [command.symbol for command in of(ClosePosition, _wish(bench))] == ["SPY"]


async def test_a_close_that_nobody_answered_before_a_crash_is_looked_at_afresh() -> None:
    """The next run knows nothing of the answer: it compares, and goes on from what is there."""
    bot = await holding()
    trade_by_hand(bot, "SPY", OrderSide.SELL, 3)
    await bot.play(bar(3))
    await look(bot)
    bot.broker.script("request_close", time_out_after)
    await ask(bot)
    await bot.journal.sync()
    again = await bot.crash()
    await again.start()
    await again.play(bar(4))
    assert again.engine.positions() == []
    await look(again)
    await ask(again)
    await again.advance(6)
    await ask(again, 2)

    assert left(again) == ()
    assert again.broker.made("request_close") == []


async def test_the_journal_leads_to_the_same_state_again() -> None:
    """P8: a flatten in the middle of which the bot is killed is recovered as it was; nothing is decided otherwise."""
    bot = await holding()
    trade_by_hand(bot, "SPY", OrderSide.SELL, 3)
    await bot.play(bar(3))
    bot.broker.copies = 1
    await look(bot)
    await ask(bot)
    await bot.journal.sync()
    orders = [(order.client_order_id, order.status) for order in bot.kernel.portfolio.tracker.orders()]
    again = await bot.crash()
    recovery = again.runner.recover()

    assert recovery.differences == ()
    assert [(o.client_order_id, o.status) for o in again.kernel.portfolio.tracker.orders()] == orders
    assert again.kernel.portfolio.trading_state is TradingState.REDUCING
    assert isinstance(again.runner, Runner)
