"""A bracket, an OCO, an OTO is one intent here and several orders at the venue; none of them is forgotten or counted twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from holdfast.kernel.state import digest, encode_state
from holdfast.model import (
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderTerms,
    OrderType,
    Outcome,
    Signal,
    Source,
    Stage,
    TimeInForce,
    TradingState,
)
from holdfast.model.commands import CancelOrder, LookupOrder, ReplaceOrder, SubmitOrder
from holdfast.model.events import OrderUpdated, TradingStateChanged
from holdfast.risk import RiskLimits
from holdfast.risk.protections import StoplossGuard
from tests.kernel.group import Group, bracket, entered
from tests.kernel.helpers import SPY, Action, Bench, alerts, make_kernel, of

D = Decimal


# -- one intent ---------------------------------------------------------------------------------


def test_a_bracket_is_one_intent_and_three_orders() -> None:
    """One order leaves, with the prices of its exits; the exits are held as orders from that moment on."""
    bench = Bench()

    intent = bench.order(bracket(stop_loss_limit=94.5))

    assert len(of(SubmitOrder, bench.commands)) == 1
    assert intent.terms == OrderTerms(
        order_class=OrderClass.BRACKET, take_profit=D(110), stop_loss=D(95), stop_loss_limit=D("94.5")
    )
    group = Group(bench, intent)
    profit, loss = group.leg("tp"), group.leg("sl")
    assert (profit.order_type, profit.limit_price, profit.side) == (OrderType.LIMIT, D(110), OrderSide.SELL)
    assert (loss.order_type, loss.limit_price, loss.side) == (OrderType.STOP_LIMIT, D("94.5"), OrderSide.SELL)
    assert loss.terms is not None
    assert loss.terms.stop_price == D(95)
    assert profit.reduce_only
    assert profit.parent == loss.parent == intent.client_order_id


@pytest.mark.parametrize("source", [Source.RESPONSE, Source.STREAM, Source.LOOKUP])
def test_the_venues_description_of_the_entry_names_its_exits(source: Source) -> None:
    """Whoever tells of the entry with its legs tells which orders at the venue they are."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))

    group.accepted(source)

    assert [group.leg(name).broker_id for name in ("tp", "sl")] == ["V-J-1.tp", "V-J-1.sl"]
    assert [group.leg(name).status for name in ("tp", "sl")] == [OrderStatus.HELD] * 2


def test_exits_that_nobody_has_named_are_asked_for() -> None:
    """A description without legs is followed by a look at the venue's own order, with its legs."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    group.accepted(legs=False)

    commands = bench.fire()

    assert of(LookupOrder, commands) == [LookupOrder(client_order_id="J-1", broker_id="B-J-1")]


def test_an_exit_that_is_told_before_its_entry_is_no_orphan() -> None:
    """The stream may speak of a leg before the answer has named it: people hear nothing, and the entry is asked for."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))

    commands = group.told("sl", OrderStatus.HELD)

    assert alerts(commands) == []
    assert bench.kernel.reconciliation.orphans == {}
    assert "lookup:J-1" in bench.kernel.timers
    assert of(LookupOrder, bench.fire()) == [LookupOrder(client_order_id="J-1")]


def test_a_fill_of_an_exit_that_has_no_name_yet_is_counted_once_it_has() -> None:
    """The execution waits for its order, is nobody else's meanwhile, and then closes the position."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    group.accepted(legs=False)
    group.entered()
    told = group.exited("tp", 110.0)
    assert bench.position() == 10
    assert alerts(told) == []

    group.accepted(Source.LOOKUP)

    assert bench.position() == 0
    assert group.leg("tp").filled_quantity == 10
    assert bench.kernel.others.state.held == {}


def test_an_exit_that_trades_closes_the_position_once() -> None:
    """Stream, repetition and activity tell of one execution."""
    bench, group = entered()
    group.exited("tp", 110.0)
    group.told("tp", OrderStatus.FILLED, filled_qty=D(10))
    activity = bench.execution(
        group.intent,
        10,
        110.0,
        side=OrderSide.SELL,
        broker_id="V-J-1.tp",
        client_order_id=None,
        cum_qty=D(10),
        execution_id="another-id",
    )

    bench.reported(executions=[activity], orders=[group.report(OrderStatus.FILLED)])

    assert bench.position() == 0
    assert len(bench.kernel.portfolio.positions.closed_trades) == 1


def test_an_order_that_is_not_the_exit_that_was_meant_halts_trading() -> None:
    """A leg at another price under our intent is what nobody asked for."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    legs = (group.leg_report("tp"), group.leg_report("sl", terms=OrderTerms(stop_price=D(80))))

    report = group.report(OrderStatus.NEW)
    bench.show(OrderUpdated(ts=bench.now, report=msgspec.structs.replace(report, legs=legs), source=Source.RESPONSE))

    assert bench.kernel.portfolio.trading_state is TradingState.HALTED


# -- counted as one -----------------------------------------------------------------------------


def test_the_two_exits_count_as_one_order() -> None:
    """Entry and exits are two open orders, then the exits one."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    portfolio = bench.kernel.portfolio
    assert portfolio.open_order_count() == 2
    group.accepted()
    group.entered()

    assert portfolio.open_order_count() == 1


def test_the_two_exits_take_the_position_once() -> None:
    """Ten are held and two exits of ten rest: nothing more may be sent against the position, and it cannot flip."""
    bench, group = entered()
    portfolio = bench.kernel.portfolio

    assert portfolio.reducible(SPY, D(10)) == 0
    assert portfolio.position_quantity(SPY) == 10
    group.exited("tp", 110.0, 4)
    group.told("sl", OrderStatus.HELD, quantity=D(6))
    assert (bench.position(), group.leg("sl").quantity) == (D(6), D(6))
    assert portfolio.reducible(SPY, D(6)) == 0


def test_an_exit_shrinks_with_the_fills_of_the_other_one() -> None:
    """The venue cuts the stop-loss; an older message with the larger quantity changes nothing any more."""
    bench, group = entered()
    old = group.leg_report("sl")
    group.exited("tp", 110.0, 4)
    group.told("sl", OrderStatus.HELD, quantity=D(6))

    commands = bench.show(OrderUpdated(ts=bench.now, report=old, source=Source.STREAM))

    assert alerts(commands) == []
    assert group.leg("sl").remaining == 6


def test_exits_of_an_entry_that_has_not_traded_take_nothing() -> None:
    """A bracket beside a position: its exits cannot leave what was not entered yet."""
    bench = Bench()
    bench.hold(5)
    group = Group(bench, bench.order(bracket()))
    group.accepted()

    assert bench.kernel.portfolio.reducible(SPY, D(5)) == 5


def test_exits_of_a_group_need_no_buying_power() -> None:
    """What they may cost is nothing: they reduce."""
    _, group = entered(limits=RiskLimits(max_gross_exposure=D(1_100), max_open_orders=2))

    assert group.leg("tp").is_open


def test_an_entry_is_judged_like_any_order_that_opens() -> None:
    """The same gate: a limit on open orders counts the pair that rests."""
    bench, _ = entered(limits=RiskLimits(max_open_orders=1), protections=())

    bench.act(bracket())

    assert bench.verdict.guard == "open_orders"


# -- leaving ------------------------------------------------------------------------------------


def test_an_exit_by_the_strategy_first_cancels_the_group() -> None:
    """One cancel leaves for the two exits; the exit is sent on the venue's word on both."""
    bench, group = entered()

    commands = bench.act(lambda strategy: strategy.exit(SPY))
    assert of(CancelOrder, commands) == [CancelOrder(client_order_id="J-1.tp", broker_id="V-J-1.tp")]
    assert of(SubmitOrder, group.told("tp", OrderStatus.CANCELED)) == []
    sent = of(SubmitOrder, group.told("sl", OrderStatus.CANCELED))

    assert [(s.intent.side, s.intent.quantity, s.intent.order_type) for s in sent] == [
        (OrderSide.SELL, D(10), OrderType.MARKET)
    ]


def test_a_leg_whose_cancel_was_never_streamed_does_not_keep_an_exit_waiting() -> None:
    """Its silence ends in a look-up by the venue's id, and that is the venue's word."""
    bench, group = entered()
    bench.act(lambda strategy: strategy.exit(SPY))
    group.told("tp", OrderStatus.CANCELED)
    asked: list[LookupOrder] = []
    for _ in range(6):
        asked = [look for look in of(LookupOrder, bench.fire()) if look.client_order_id == "J-1.sl"]
        if asked:
            break

    assert asked == [LookupOrder(client_order_id="J-1.sl", broker_id="V-J-1.sl")]
    assert of(SubmitOrder, group.told("sl", OrderStatus.CANCELED, Source.LOOKUP)) != []


def test_a_filled_sibling_is_no_word_on_the_other_exit() -> None:
    """The stop-loss stays open here until the venue closes it, is asked for within seconds, and then is closed."""
    bench, group = entered()
    group.exited("tp", 110.0)
    assert group.leg("sl").is_open
    assert not bench.kernel.view(SPY).flat

    looks = of(LookupOrder, bench.fire())
    assert looks == [LookupOrder(client_order_id="J-1.sl", broker_id="V-J-1.sl")]
    group.told("sl", OrderStatus.CANCELED, Source.LOOKUP)

    assert group.leg("sl").status is OrderStatus.CANCELED
    assert bench.kernel.view(SPY).flat


def test_reconciliation_finds_the_leg_whose_cancel_was_never_streamed() -> None:
    """The list of orders names it under its entry, cancelled."""
    bench, group = entered()
    group.exited("tp", 110.0)
    group.statuses["sl"] = OrderStatus.CANCELED

    bench.reported(orders=[group.report(OrderStatus.FILLED)])

    assert group.leg("sl").status is OrderStatus.CANCELED


def test_an_exit_that_outlives_its_group_is_cancelled() -> None:
    """The venue itself says that it is still open: it would open a position of its own."""
    bench, group = entered()
    group.exited("tp", 110.0)

    commands = group.told("sl", OrderStatus.NEW, Source.LOOKUP)

    assert of(CancelOrder, commands) == [CancelOrder(client_order_id="J-1.sl", broker_id="V-J-1.sl")]
    assert bench.position() == 0


def test_an_entry_cancelled_before_it_traded_takes_its_exits_along_by_the_venues_word() -> None:
    """The cancel of the entry is one request; the exits are asked for if nobody speaks of them."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    group.accepted()
    cancels = of(CancelOrder, bench.act(lambda strategy: strategy.cancel(SPY)))
    assert cancels == [CancelOrder(client_order_id="J-1", broker_id="B-J-1")]

    group.bench.show(
        OrderUpdated(ts=bench.now, report=group.report(OrderStatus.CANCELED, nested=False), source=Source.STREAM)
    )

    assert group.leg("tp").is_open
    looked = {look.client_order_id for _ in range(2) for look in of(LookupOrder, bench.fire())}
    assert looked == {"J-1.tp", "J-1.sl"}


def test_a_cancel_that_comes_too_late_for_the_entry_is_asked_for_of_an_exit() -> None:
    """The entry filled first; its group was to be cancelled, so an exit is, and with it the other."""
    bench = Bench()
    intent = bench.order(bracket())
    group = Group(bench, intent)
    bench.act(lambda strategy: strategy.cancel(SPY))

    group.entered()
    commands = group.accepted(Source.LOOKUP)

    assert of(CancelOrder, commands) == [CancelOrder(client_order_id="J-1.tp", broker_id="V-J-1.tp")]


# -- unknown ------------------------------------------------------------------------------------


def test_an_unknown_bracket_is_unknown_with_its_exits() -> None:
    """Its exits share its fate: unknown, then never sent, with the same evidence; and nothing is flat meanwhile."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    bench.unknown(group.intent)
    assert group.leg("sl").status is OrderStatus.UNKNOWN
    bench.act(bracket())
    assert bench.verdict.guard == "exit_unknown"

    bench.denied(group.intent)

    assert [group.leg(name).status for name in ("tp", "sl")] == [OrderStatus.NEVER_SENT] * 2
    assert "look-ups did not find it" in group.leg("tp").evidence
    assert bench.kernel.view(SPY).flat


def test_a_bracket_that_turns_up_brings_its_exits_back() -> None:
    """What was held to be never sent is at the venue, with what it bought and its exits."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    bench.unknown(group.intent)
    bench.denied(group.intent)

    group.accepted(Source.STREAM)

    assert [group.leg(name).status for name in ("tp", "sl")] == [OrderStatus.HELD] * 2


def test_a_refused_bracket_has_no_exits() -> None:
    """A definite no is one to all of it."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))

    bench.refused(group.intent)

    assert [group.leg(name).status for name in ("tp", "sl")] == [OrderStatus.REJECTED] * 2
    assert bench.kernel.view(SPY).flat


def test_an_entry_that_the_venue_rejected_without_exits_has_none() -> None:
    """The venue's own description of the whole names no legs: they are closed with that as the evidence."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    bench.show(
        OrderUpdated(ts=bench.now, report=group.report(OrderStatus.REJECTED, nested=False), source=Source.STREAM)
    )
    assert group.leg("tp").is_open

    looks = of(LookupOrder, bench.fire())
    assert looks == [LookupOrder(client_order_id="J-1", broker_id="B-J-1")]
    bench.show(OrderUpdated(ts=bench.now, report=group.report(OrderStatus.REJECTED, legs=()), source=Source.LOOKUP))

    assert group.leg("tp").status is OrderStatus.NEVER_SENT
    assert "has no such leg" in group.leg("tp").evidence


def test_a_look_up_for_the_legs_is_asked_again_until_it_is_answered() -> None:
    """The entry is filled and closed, and its legs have no names: a failed look-up is no answer."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    group.accepted(legs=False)
    group.entered()
    bench.fire()

    bench.lookup_failed(group.intent)

    assert of(LookupOrder, bench.fire()) == [LookupOrder(client_order_id="J-1", broker_id="B-J-1")]


def test_people_are_told_where_a_position_has_no_exits() -> None:
    """The entry filled, and the venue has no legs of it: the position stands unprotected."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))
    group.accepted(legs=False)
    group.entered()

    commands = bench.show(
        OrderUpdated(ts=bench.now, report=group.report(OrderStatus.FILLED, legs=()), source=Source.LOOKUP)
    )

    assert "trading: SPY: the venue has no exits for what was entered" in alerts(commands)


# -- guards -------------------------------------------------------------------------------------


def test_stop_losses_of_brackets_count_for_the_stoploss_guard() -> None:
    """A leg that stops out closes with the reason stop_loss, a take-profit with its own."""
    bench, group = entered(protections=[StoplossGuard(max_stoplosses=1, lookback_period=timedelta(hours=1))])
    group.exited("sl", 95.0)
    group.told("tp", OrderStatus.CANCELED)
    (trade,) = bench.kernel.portfolio.positions.closed_trades
    assert trade.exit_reason == "stop_loss"

    bench.act(bracket())

    assert bench.verdict.stage is Stage.PROTECTIONS


def test_a_take_profit_closes_with_its_own_reason() -> None:
    """So that reports and guards tell the two apart."""
    bench, group = entered()

    group.exited("tp", 110.0)

    (trade,) = bench.kernel.portfolio.positions.closed_trades
    assert trade.exit_reason == "take_profit"


# -- replacing ----------------------------------------------------------------------------------


def test_the_stop_loss_is_moved_by_replacing_it() -> None:
    """The new order has an id of ours, belongs to the group, and stands for it while nobody knows which one is live."""
    bench, group = entered()
    commands = bench.act(lambda strategy: strategy.replace("J-1.sl", stop=98))
    (replace,) = of(ReplaceOrder, commands)
    assert (replace.broker_id, replace.intent.replaces) == ("V-J-1.sl", "J-1.sl")
    assert replace.intent.terms is not None
    assert replace.intent.terms.stop_price == D(98)
    portfolio = bench.kernel.portfolio
    assert (portfolio.open_order_count(), portfolio.reducible(SPY, D(10))) == (1, D(0))

    bench.updated(replace.intent, OrderStatus.HELD, terms=replace.intent.terms)
    group.told("sl", OrderStatus.REPLACED)

    moved = bench.state(replace.intent)
    assert (moved.parent, moved.status, moved.reason) == ("J-1", OrderStatus.HELD, "stop_loss")
    assert group.leg("sl").replaced_by == replace.intent.client_order_id
    assert not bench.kernel.portfolio.tracker.is_dying(group.leg("tp"))


def test_a_moved_exit_may_have_less_to_leave_than_we_knew() -> None:
    """The take-profit traded while the stop was being moved: the venue's new stop is cut by that, and is the one we meant."""
    bench, _ = entered()
    (replace,) = of(ReplaceOrder, bench.act(lambda strategy: strategy.replace("J-1.sl", stop=98)))

    bench.updated(replace.intent, OrderStatus.HELD, terms=replace.intent.terms, quantity=D(6))

    assert bench.kernel.portfolio.trading_state is TradingState.ACTIVE
    assert bench.state(replace.intent).quantity == 6


def test_a_moved_exit_that_the_venue_has_not_cut_yet_is_the_one_that_was_meant() -> None:
    """We ask for what there is to leave; that the venue's order is still the larger one is older news."""
    bench, group = entered()
    group.exited("tp", 110.0, 4)
    (moved,) = of(ReplaceOrder, bench.act(lambda strategy: strategy.replace("J-1.sl", stop=98)))

    bench.updated(moved.intent, OrderStatus.HELD, terms=moved.intent.terms, quantity=D(10))

    assert bench.kernel.portfolio.trading_state is TradingState.ACTIVE
    assert bench.state(moved.intent).remaining == 6
    assert bench.kernel.portfolio.reducible(SPY, D(6)) == 0


def test_between_a_fill_of_one_exit_and_the_word_on_the_other_nothing_can_flip_the_position() -> None:
    """The venue has cut the stop-loss by what the take-profit traded, and we hold it for as large as it was."""
    bench, group = entered()
    group.exited("tp", 110.0, 4)
    portfolio = bench.kernel.portfolio
    assert bench.position() == 6
    assert group.leg("sl").remaining == 10
    assert portfolio.reducible(SPY, D(6)) == 0
    assert portfolio.position_quantity(SPY) == 6

    bench.act(lambda strategy: strategy.sell(SPY, 1))
    assert not bench.verdict.approved
    (moved,) = of(ReplaceOrder, bench.act(lambda strategy: strategy.replace("J-1.sl", stop=98)))
    assert moved.intent.quantity == 6
    assert of(SubmitOrder, bench.act(lambda strategy: strategy.exit(SPY))) == []  # it waits for the exits to end
    assert portfolio.reducible(SPY, D(6)) == 0

    bench.updated(moved.intent, OrderStatus.CANCELED, terms=moved.intent.terms)
    group.told("sl", OrderStatus.REPLACED)
    commands = group.told("tp", OrderStatus.CANCELED)

    (leave,) = of(SubmitOrder, commands)
    assert leave.intent.quantity == 6


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s.replace("J-1", limit=99), "brings its exits"),
        (lambda s: s.replace("J-1.tp", limit=111, quantity=5), "price only"),
        (lambda s: s.replace("J-1.sl", limit=94), "one of its own type"),
        (lambda s: s.replace("J-1.sl", stop=95), "has this price"),
    ],
)
def test_what_the_venue_does_not_replace_is_refused(change: Action, why: str) -> None:
    """The entry, the quantity of an exit, its type; and what changes nothing."""
    bench = Bench()
    group = Group(bench, bench.order(lambda s: s.buy(SPY, 10, limit=100, take_profit=110, stop_loss=95)))
    group.accepted()

    bench.act(change)

    assert not bench.verdict.approved
    assert why in bench.verdict.reason


def test_a_stop_order_is_replaced_by_another_stop() -> None:
    """Its price, and its quantity, like those of a limit order."""
    bench = Bench()
    intent = bench.order(lambda s: s.buy(SPY, 10, stop=105))
    bench.accepted(intent, terms=intent.terms)

    (replace,) = of(ReplaceOrder, bench.act(lambda s: s.replace(intent.client_order_id, stop=104)))

    assert replace.intent.order_type is OrderType.STOP
    assert replace.intent.terms == OrderTerms(stop_price=D(104))


def test_a_leg_that_the_venue_replaced_by_its_own_decision_is_followed() -> None:
    """A new leg under the same entry takes the old one's place here too, and its fill closes the position."""
    bench, group = entered()
    new = group.leg_report(
        "sl", broker_id="V-new", client_order_id="venue-again", quantity=D(6), status=OrderStatus.NEW
    )
    group.statuses["sl"] = OrderStatus.REPLACED
    report = msgspec.structs.replace(
        group.report(OrderStatus.FILLED), legs=(group.leg_report("tp"), group.leg_report("sl"), new)
    )

    commands = bench.show(OrderUpdated(ts=bench.now, report=report, source=Source.LOOKUP))

    successor = bench.kernel.portfolio.tracker.by_broker_id("V-new")
    assert alerts(commands) == []
    assert successor is not None
    assert (successor.client_order_id, successor.reason, successor.quantity) == ("J-1.sl.2", "stop_loss", D(6))
    assert bench.kernel.portfolio.open_order_count() == 1


# -- exits of a position that is there ----------------------------------------------------------


def test_an_oco_protects_a_position() -> None:
    """It is its own take-profit, with a stop-loss beside it; together they take the position once."""
    bench = Bench()
    bench.hold(10)

    intent = bench.order(lambda s: s.protect(SPY, take_profit=110, stop_loss=95))

    assert (intent.order_type, intent.limit_price, intent.reduce_only, intent.reason) == (
        OrderType.LIMIT,
        D(110),
        True,
        "take_profit",
    )
    assert intent.terms == OrderTerms(order_class=OrderClass.OCO, stop_loss=D(95))
    group = Group(bench, intent)
    assert group.names == ["sl"]
    assert group.leg("sl").side is OrderSide.SELL
    portfolio = bench.kernel.portfolio
    assert (portfolio.open_order_count(), portfolio.reducible(SPY, D(10))) == (1, D(0))


def test_a_stop_guards_a_position() -> None:
    """An exit with a stop rests; another exit takes it back first."""
    bench = Bench()
    bench.hold(10)
    intent = bench.order(lambda s: s.exit(SPY, stop=95, time_in_force=TimeInForce.GTC, reason="stop_loss"))
    assert (intent.order_type, intent.terms) == (OrderType.STOP, OrderTerms(stop_price=D(95)))
    bench.accepted(intent, terms=intent.terms)

    cancels = of(CancelOrder, bench.act(lambda s: s.exit(SPY)))

    assert [cancel.client_order_id for cancel in cancels] == [intent.client_order_id]


def test_a_protection_that_must_wait_keeps_its_terms() -> None:
    """What rests is cancelled first; then the pair of exits is sent, with its prices."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(lambda s: s.exit(SPY, limit=120))
    bench.accepted(resting)
    bench.act(lambda s: s.protect(SPY, take_profit=110, stop_loss=95))

    (submit,) = of(SubmitOrder, bench.canceled(resting))

    assert submit.intent.terms == OrderTerms(order_class=OrderClass.OCO, stop_loss=D(95))


def test_a_signal_says_the_same_in_alpacas_words() -> None:
    """The dictionary of a user's own loop takes the keys of Alpaca's API."""
    signal = Signal.from_mapping(
        {
            "symbol": SPY,
            "side": "BUY",
            "qty": 10,
            "take_profit": {"limit_price": 110},
            "stop_loss": {"stop_price": "95", "limit_price": 94.5},
        }
    )

    assert signal.terms == OrderTerms(
        order_class=OrderClass.BRACKET, take_profit=D(110), stop_loss=D(95), stop_loss_limit=D("94.5")
    )


# -- written down -------------------------------------------------------------------------------


def test_a_group_is_written_down_and_read_back() -> None:
    """A kernel that takes the state up has the group, its names and its state, to the byte."""
    bench, group = entered()
    group.exited("tp", 110.0, 4)
    group.told("sl", OrderStatus.HELD, quantity=D(6))
    state = bench.kernel.save_state()
    assert state is not None

    again = make_kernel([type(bench.strategy)(bench.symbols)])
    again.load_state(state)

    assert again.state_hash() == digest(encode_state(state)) == bench.kernel.state_hash()
    leg = again.portfolio.tracker.get("J-1.sl")
    assert leg is not None
    assert again.portfolio.tracker.members_of(leg)[0].client_order_id == "J-1"
    assert again.portfolio.open_order_count() == 1


def test_a_restart_looks_the_intent_up_and_not_its_legs() -> None:
    """A leg without a name has nothing to be looked up by; its entry is asked for and names it."""
    bench = Bench()
    bench.order(bracket())

    commands = bench.begin(epoch=2)

    assert of(LookupOrder, commands) == [LookupOrder(client_order_id="J-1")]


def test_an_exit_is_never_blocked_by_a_halt_of_openings() -> None:
    """While only reducing orders are allowed, a position may still be protected."""
    bench = Bench()
    bench.hold(10)
    bench.show(TradingStateChanged(ts=bench.now, state=TradingState.REDUCING, reason="test"))

    bench.order(lambda s: s.protect(SPY, take_profit=110, stop_loss=95))

    assert bench.verdict.approved


def test_an_unlisted_error_of_a_bracket_is_unknown() -> None:
    """No outcome of a bracket's submit is taken for a verdict that it is not."""
    bench = Bench()
    group = Group(bench, bench.order(bracket()))

    bench.unknown(group.intent, outcome=Outcome.UNLISTED)

    assert bench.state(group.intent).status is OrderStatus.UNKNOWN
