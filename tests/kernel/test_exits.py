"""Exits: cut to what is left, never through zero, and never beside an order that still rests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from holdfast.model import OrderSide, OrderStatus, OrderType, Signal, Source, Stage
from holdfast.model.commands import CancelOrder, LookupOrder, Reconcile, SubmitOrder
from holdfast.model.events import ShutdownStarted, SignalReceived
from tests.kernel.helpers import SPY, Action, Bench, buy, leave, of, report_of, sell, signal, verdict_of

# -- nothing in the way --------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "side"), [(10, OrderSide.SELL), (-10, OrderSide.BUY)])
def test_an_exit_closes_the_whole_position_at_the_market(held: int, side: OrderSide) -> None:
    """Long or short; the order says that it only reduces, and why."""
    bench = Bench()
    bench.hold(held)
    intent = bench.order(leave(reason="stop_loss"))
    assert (intent.side, intent.quantity, intent.order_type) == (side, Decimal(10), OrderType.MARKET)
    assert (intent.reduce_only, intent.reason) == (True, "stop_loss")


def test_a_part_of_a_position_can_be_left() -> None:
    """And the rest later."""
    bench = Bench()
    bench.hold(10)
    assert bench.order(leave(4)).quantity == Decimal(4)
    assert bench.order(leave()).quantity == Decimal(6)


def test_an_exit_is_cut_to_what_is_held() -> None:
    """P7: asked for 25 of 10, it sells 10."""
    bench = Bench()
    bench.hold(10)
    assert bench.order(leave(25)).quantity == Decimal(10)


def test_there_is_nothing_to_leave_when_flat() -> None:
    """The verdict says so; no order."""
    bench = Bench()
    commands = bench.act(leave())
    assert (bench.verdict.stage, bench.verdict.guard) == (Stage.POSITION, "nothing_to_reduce")
    assert not of(SubmitOrder, commands)


def test_an_order_against_the_position_that_only_reduces_is_an_exit() -> None:
    """A plain sell of what is held is treated as one: no limit may stand in its way."""
    bench = Bench()
    bench.hold(10)
    assert bench.order(sell(4)).reduce_only


@pytest.mark.parametrize(("held", "action"), [(10, sell(11)), (-10, buy(11))])
def test_an_order_that_would_turn_the_position_around_is_refused(held: int, action: Action) -> None:
    """P7: closing and opening are two decisions; the second must pass the guards as one that adds risk."""
    bench = Bench()
    bench.hold(held)
    assert not of(SubmitOrder, bench.act(action))
    assert (bench.verdict.stage, bench.verdict.guard) == (Stage.POSITION, "no_flip")


def test_a_reduce_only_signal_on_the_wrong_side_is_refused() -> None:
    """A buy cannot reduce a long position."""
    bench = Bench()
    bench.hold(10)
    asked = signal(OrderSide.BUY, 5, reduce_only=True)
    assert verdict_of(bench.show(SignalReceived(ts=bench.now, signal=asked, request=1))).guard == "wrong_side"


@pytest.mark.parametrize("news", ["none", "accepted", "unknown"])
def test_asking_twice_sells_once(news: str) -> None:
    """P2, P7: while the exit is in flight, out, or unknown, a second one is answered and not sent."""
    bench = Bench()
    bench.hold(10)
    first = bench.order(leave())
    if news != "none":
        getattr(bench, news)(first)
    for _ in range(2):
        assert not of(SubmitOrder, bench.act(leave()))
        assert (bench.verdict.approved, bench.verdict.stage, bench.verdict.guard) == (
            True,
            Stage.DEFERRED,
            "exit_in_flight",
        )


def test_an_exit_of_unknown_outcome_leaves_room_for_the_rest_only() -> None:
    """P7: 4 of 10 may have been sold, so only 6 may be sent."""
    bench = Bench()
    bench.hold(10)
    bench.unknown(bench.order(leave(4)))
    assert bench.order(leave()).quantity == Decimal(6)


def test_the_rest_of_a_cancelled_exit_is_sent_when_asked_for_again() -> None:
    """An exit that the venue ended half way: the position is the truth."""
    bench = Bench()
    bench.hold(10)
    first = bench.order(leave())
    bench.accepted(first)
    bench.filled(first, 4)
    bench.canceled(first)
    assert bench.order(leave()).quantity == Decimal(6)


# -- something rests -----------------------------------------------------------------------------


@pytest.mark.parametrize("held", [10, -10])
def test_an_exit_cancels_what_rests_waits_for_the_venues_word_and_then_sends(held: int) -> None:
    """In that order: nothing is sent beside an order that may still trade."""
    bench = Bench()
    bench.hold(held)
    resting = bench.order(buy(5, limit=90.0) if held > 0 else sell(5, limit=110.0))
    bench.accepted(resting)
    commands = bench.act(leave())
    assert [c.client_order_id for c in of(CancelOrder, commands)] == [resting.client_order_id]
    assert not of(SubmitOrder, commands)
    assert (bench.verdict.approved, bench.verdict.stage, bench.verdict.guard) == (True, Stage.DEFERRED, "exit_waits")
    assert not of(SubmitOrder, bench.updated(resting, OrderStatus.PENDING_CANCEL))
    (submit,) = of(SubmitOrder, bench.canceled(resting))
    assert (submit.intent.quantity, submit.intent.reduce_only, submit.intent.reason) == (Decimal(10), True, "exit")


def test_a_limit_exit_that_rests_is_replaced_by_a_market_exit() -> None:
    """A take-profit at the venue does not stop a stop-loss."""
    bench = Bench()
    bench.hold(10)
    target = bench.order(leave(limit=120.0))
    bench.accepted(target)
    assert of(CancelOrder, bench.act(leave(reason="stop_loss")))
    (submit,) = of(SubmitOrder, bench.canceled(target))
    assert (submit.intent.order_type, submit.intent.reason) == (OrderType.MARKET, "stop_loss")


def test_the_remainder_counts_what_the_resting_order_filled_meanwhile() -> None:
    """A buy of 5 that fills by 3 during the cancel: 13 are held, and 13 are sold."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=100.0))
    bench.accepted(resting)
    bench.act(leave())
    assert not of(SubmitOrder, bench.filled(resting, 3))
    (submit,) = of(SubmitOrder, bench.canceled(resting))
    assert submit.intent.quantity == Decimal(13)


def test_a_resting_exit_that_fills_during_the_cancel_leaves_nothing_to_send() -> None:
    """P7: the position went to zero by itself; a second sale would have made it short."""
    bench = Bench()
    bench.hold(10)
    target = bench.order(leave(limit=101.0))
    bench.accepted(target)
    bench.act(leave())
    commands = bench.filled(target, 10, 101.0)
    assert not of(SubmitOrder, commands)
    assert bench.position() == 0
    assert bench.strategy.view(SPY).flat


def test_a_part_of_the_position_stays_a_part_after_the_wait() -> None:
    """Asked to leave 4 of 10, it leaves 4, and at most what is held by then."""
    bench = Bench()
    bench.hold(10)
    target = bench.order(leave(8, limit=101.0))
    bench.accepted(target)
    bench.act(leave(4))
    bench.filled(target, 7, 101.0)
    (submit,) = of(SubmitOrder, bench.canceled(target))
    assert submit.intent.quantity == Decimal(3)


def test_a_second_exit_while_one_waits_changes_nothing() -> None:
    """One exit waits; asking again neither cancels nor sends again."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    bench.act(leave())
    again = bench.act(leave())
    assert bench.verdict.guard == "exit_in_flight"
    assert not of(CancelOrder, again)
    assert len(of(SubmitOrder, bench.canceled(resting))) == 1


def test_nothing_is_opened_beside_an_exit_that_waits() -> None:
    """It would have to wait for that order as well, and a limit order may rest for ever."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    bench.act(leave())
    assert not of(SubmitOrder, bench.act(buy(5, limit=80.0)))
    assert (bench.verdict.stage, bench.verdict.guard) == (Stage.POSITION, "exit_under_way")
    assert of(SubmitOrder, bench.canceled(resting))


def test_a_strategy_that_waits_for_its_exit_is_neither_flat_nor_free() -> None:
    """``busy`` holds from the request until the venue's last word."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    view = bench.strategy.view(SPY)
    bench.act(leave())
    assert view.busy
    (submit,) = of(SubmitOrder, bench.canceled(resting))
    assert view.busy
    bench.filled(submit.intent, 10)
    assert view.flat
    assert not view.busy


# -- the venue is slow, silent, or says no -------------------------------------------------------


def test_an_order_without_a_venue_id_is_cancelled_as_soon_as_it_has_one() -> None:
    """The exit came before the answer to the submit: there was nothing to name in a cancel."""
    bench = Bench()
    entry = bench.order(buy(10))
    assert not of(CancelOrder, bench.act(leave()))
    commands = bench.accepted(entry, source=Source.RESPONSE)
    assert [(c.client_order_id, c.broker_id) for c in of(CancelOrder, commands)] == [("J-1", "B-J-1")]
    assert not of(SubmitOrder, bench.canceled(entry))
    assert bench.strategy.view(SPY).flat


@pytest.mark.parametrize("reports", [True, False])
def test_it_is_cancelled_also_if_its_first_news_is_a_partial_fill(*, reports: bool) -> None:
    """The venue's "new" may be lost, and an execution may be the first that is heard; the rest must not stay."""
    bench = Bench()
    entry = bench.order(buy(10, limit=100.0))
    bench.act(leave())
    commands = bench.filled(entry, 4, reports=reports)
    assert [c.broker_id for c in of(CancelOrder, commands)] == ["B-J-1"]
    (submit,) = of(SubmitOrder, bench.canceled(entry))
    assert (submit.intent.side, submit.intent.quantity) == (OrderSide.SELL, Decimal(4))


def test_an_unknown_order_is_looked_up_cancelled_and_only_then_the_exit_leaves() -> None:
    """P7, P9: an order that may or may not exist is treated as one that does."""
    bench = Bench()
    bench.hold(10)
    unclear = bench.order(buy(5, limit=90.0))
    bench.unknown(unclear)
    assert not of(SubmitOrder, bench.act(leave()))
    found = bench.accepted(unclear, source=Source.LOOKUP)
    assert of(CancelOrder, found)
    assert not of(SubmitOrder, found)
    assert of(SubmitOrder, bench.canceled(unclear))


def test_an_unknown_order_that_never_arrived_lets_the_exit_go() -> None:
    """P9: the evidence that there is no such order is the venue's word, too."""
    bench = Bench()
    bench.hold(10)
    unclear = bench.order(buy(5, limit=90.0))
    bench.unknown(unclear)
    bench.act(leave())
    (submit,) = of(SubmitOrder, bench.denied(unclear))
    assert submit.intent.quantity == Decimal(10)


def test_a_refused_cancel_is_looked_up_and_a_closed_order_lets_the_exit_go() -> None:
    """Most often it was filled in the meantime: the order itself says, and the fill counts first."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=100.0))
    bench.accepted(resting)
    bench.act(leave())
    assert of(LookupOrder, bench.cancel_refused(resting))
    (submit,) = of(SubmitOrder, bench.filled(resting, 5))
    assert submit.intent.quantity == Decimal(15)


@pytest.mark.parametrize("outcome", ["cancel_refused", "cancel_unknown"])
def test_a_cancel_that_did_not_work_is_asked_for_again(outcome: str) -> None:
    """P9: the order still rests after the look-up, so the exit would wait for ever; one more cancel, after a while."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    bench.act(leave())
    getattr(bench, outcome)(resting)
    bench.accepted(resting, source=Source.LOOKUP)
    again = bench.fire()
    assert [c.broker_id for c in of(CancelOrder, again)] == ["B-J-2"]
    assert of(SubmitOrder, bench.canceled(resting))


def test_a_cancel_that_nobody_answers_is_followed_by_a_look_up() -> None:
    """P9: neither the answer nor the stream's word came; after a while the venue is asked."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    bench.act(leave())
    assert [c.client_order_id for c in of(LookupOrder, bench.fire())] == ["J-2"]
    canceled = bench.updated(resting, OrderStatus.CANCELED, source=Source.LOOKUP)
    assert of(SubmitOrder, canceled)


@pytest.mark.parametrize("source", [Source.LOOKUP, Source.RECONCILE, Source.STREAM])
def test_an_exit_waits_for_fills_that_the_venue_told_of_and_we_have_not_seen(source: Source) -> None:
    """P7: the resting exit is reported as filled, its execution was lost: sending now would turn the position around."""
    bench = Bench()
    bench.hold(10)
    target = bench.order(leave(limit=101.0))
    bench.accepted(target)
    bench.act(leave(reason="stop_loss"))
    told = bench.updated(target, OrderStatus.FILLED, source=source, filled_qty=Decimal(10))
    assert not of(SubmitOrder, told)
    assert of(Reconcile, bench.fire())
    report = report_of(target, OrderStatus.FILLED)
    late = bench.reported(executions=[bench.execution(target, 10)], orders=[report], positions={})
    assert not of(SubmitOrder, late)
    assert bench.position() == 0
    assert bench.strategy.view(SPY).flat


def test_a_new_exit_waits_for_missing_fills_as_well() -> None:
    """P7: the strategy still sees 10, the venue has told of a sale of 10; the truth is asked for first."""
    bench = Bench()
    bench.hold(10)
    target = bench.order(leave(limit=101.0))
    bench.accepted(target)
    bench.updated(target, OrderStatus.FILLED, source=Source.LOOKUP, filled_qty=Decimal(10))
    assert not of(SubmitOrder, bench.act(leave()))
    assert bench.verdict.stage is Stage.DEFERRED
    bench.fire()
    late = bench.reported(executions=[bench.execution(target, 6)], orders=[], positions={SPY: 4})
    assert not of(SubmitOrder, late)
    rest = bench.reported(executions=[bench.execution(target, 4)], orders=[], positions={})
    assert not of(SubmitOrder, rest)
    assert bench.strategy.view(SPY).flat


def test_a_plain_sell_counts_missing_fills_as_filled() -> None:
    """P7: 6 of 10 are sold as far as the venue says, so a sell of 10 is one too many."""
    bench = Bench()
    bench.hold(10)
    target = bench.order(leave(6, limit=101.0))
    bench.accepted(target)
    bench.updated(target, OrderStatus.FILLED, source=Source.LOOKUP, filled_qty=Decimal(6))
    assert not of(SubmitOrder, bench.act(sell(10)))
    assert bench.verdict.guard == "no_flip"


def test_an_exit_that_waits_when_the_bot_stops_is_given_up() -> None:
    """Cancelled orders are not followed by new ones; the position is the next run's business."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    bench.act(leave())
    bench.show(ShutdownStarted(ts=bench.now, cancel_orders=True))
    assert not of(SubmitOrder, bench.canceled(resting))


# -- nonsense ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("reduce_only", [True, False])
@pytest.mark.parametrize(
    "nonsense",
    [
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-5)},
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal("Infinity")},
        {"quantity": Decimal(1), "price": Decimal("NaN")},
        {"quantity": Decimal(1), "price": Decimal(-1)},
    ],
    ids=lambda nonsense: ",".join(f"{k}={v}" for k, v in nonsense.items()),
)
def test_a_signal_that_makes_no_sense_is_refused_with_a_reason(
    *, nonsense: dict[str, Any], reduce_only: bool, loaded: bool
) -> None:
    """Bad input is a verdict, not the end of the run; also where the position would be reduced by it."""
    bench = Bench()
    bench.hold(10)
    if not loaded:
        bench.kernel.portfolio.book(SPY).properties = None
    asked = Signal(symbol=SPY, side=OrderSide.SELL, reduce_only=reduce_only, **nonsense)
    commands = bench.show(SignalReceived(ts=bench.now, signal=asked, request=1))
    assert not of(SubmitOrder, commands)
    assert not verdict_of(commands).approved
    assert verdict_of(commands).reason
