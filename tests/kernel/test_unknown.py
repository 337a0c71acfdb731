"""Orders whose outcome nobody knows: silence settles nothing, evidence settles everything."""

from __future__ import annotations

from decimal import Decimal

import pytest

from holdfast.kernel import KernelSettings
from holdfast.model import OrderIntent, OrderSide, OrderStatus, Source, TradingState
from holdfast.model.commands import CancelOrder, LookupOrder, SubmitOrder
from holdfast.model.events import OrderFilled
from holdfast.model.timestamps import NS_PER_SECOND
from tests.kernel.helpers import SPY, Bench, alerts, buy, leave, of


def _unknown(bench: Bench) -> OrderIntent:
    intent = bench.order(buy(10))
    bench.unknown(intent)
    return intent


def test_a_submit_without_a_verdict_is_unknown_and_looked_up() -> None:
    """A time-out is no rejection: the order stays open, people are told, the venue is asked by our id."""
    bench = Bench()
    intent = bench.order(buy(10))
    commands = bench.unknown(intent)
    assert [c.client_order_id for c in of(LookupOrder, commands)] == [intent.client_order_id]
    assert alerts(commands) == ["trading: outcome of an order unknown: looking it up"]
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    assert bench.strategy.view(SPY).busy


def test_one_that_is_found_is_adopted() -> None:
    """P2: the look-up's answer is the order; nothing is sent again."""
    bench = Bench()
    intent = _unknown(bench)
    commands = bench.accepted(intent, source=Source.LOOKUP)
    assert (bench.state(intent).status, bench.state(intent).broker_id) == (OrderStatus.NEW, "B-J-1")
    assert not of(SubmitOrder, commands)
    bench.filled(intent, 10)
    assert bench.position() == Decimal(10)
    assert len(of(SubmitOrder, bench.commands)) == 1


@pytest.mark.parametrize("status", [OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.EXPIRED])
def test_one_that_is_found_closed_is_closed(status: OrderStatus) -> None:
    """The venue's word, whatever it is."""
    bench = Bench()
    intent = _unknown(bench)
    bench.updated(intent, status, source=Source.LOOKUP)
    assert bench.state(intent).status is status
    assert not bench.strategy.view(SPY).busy


def test_one_that_is_missed_before_the_grace_is_asked_for_again_by_timer() -> None:
    """P9: the request may still be on its way, so "not there" is no evidence yet."""
    bench = Bench(settings=KernelSettings(lookup_grace=5 * NS_PER_SECOND, lookup_interval=2 * NS_PER_SECOND))
    intent = _unknown(bench)
    looked_up = []
    for _ in range(2):
        bench.missed(intent)
        looked_up += [c.client_order_id for c in of(LookupOrder, bench.fire())]
        assert bench.state(intent).status is OrderStatus.UNKNOWN
    assert looked_up == ["J-1", "J-1"]
    bench.wait(2)
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.NEVER_SENT
    assert bench.kernel.timers == {}


def test_after_the_grace_a_miss_closes_it_with_the_evidence() -> None:
    """P2: closed as never sent, and the sentence says what made us sure."""
    bench = Bench()
    intent = _unknown(bench)
    bench.wait(12)
    bench.missed(intent)
    order = bench.state(intent)
    assert order.status is OrderStatus.NEVER_SENT
    assert order.evidence == "the venue has no order with this id 12 s after the outcome became unknown"
    assert bench.strategy.view(SPY).flat
    assert bench.strategy.told[-1] == "order never_sent"


def test_a_lookup_that_fails_is_tried_again_and_again() -> None:
    """P9: no answer to the question about the missing answer: ask again, for as long as it takes."""
    bench = Bench()
    intent = _unknown(bench)
    for _ in range(20):
        bench.lookup_failed(intent)
        assert [c.client_order_id for c in of(LookupOrder, bench.fire())] == ["J-1"]
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.NEVER_SENT


def test_a_miss_of_an_order_that_is_known_by_now_changes_nothing() -> None:
    """The look-up was answered from a stale view; the stream's word came in between."""
    bench = Bench()
    intent = _unknown(bench)
    bench.accepted(intent)
    bench.wait(60)
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.NEW
    bench.filled(intent, 10)
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.FILLED


def test_a_timeout_that_is_reported_after_the_stream_has_spoken_is_old_news() -> None:
    """The order itself is the better witness; a look-up more does no harm."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    bench.filled(intent, 10)
    commands = bench.unknown(intent)
    assert bench.state(intent).status is OrderStatus.FILLED
    assert alerts(commands) == []


@pytest.mark.parametrize("source", [Source.STREAM, Source.LOOKUP, Source.RECONCILE])
def test_evidence_of_the_venue_reopens_what_we_only_inferred(source: Source) -> None:
    """P2, P5: "never sent" was our conclusion, so the venue's word wins, with an alert."""
    bench = Bench()
    intent = _unknown(bench)
    bench.wait(11)
    bench.missed(intent)
    commands = bench.accepted(intent, source=source)
    assert bench.state(intent).status is OrderStatus.NEW
    assert "order-drift: order reopened" in alerts(commands)
    assert bench.strategy.view(SPY).busy
    bench.filled(intent, 10)
    assert bench.position() == Decimal(10)


def test_an_execution_alone_reopens_it_too() -> None:
    """P3: a fill is the strongest evidence there is."""
    bench = Bench()
    intent = _unknown(bench)
    bench.wait(11)
    bench.missed(intent)
    execution = bench.execution(intent, 10)
    commands = bench.show(OrderFilled(ts=bench.now, execution=execution, source=Source.RECONCILE))
    assert "order-drift: order reopened" in alerts(commands)
    assert bench.position() == Decimal(10)
    assert bench.state(intent).status is OrderStatus.FILLED


# -- the id is taken -----------------------------------------------------------------------------


def test_an_id_that_the_venue_says_is_taken_is_looked_up_and_adopted_if_it_is_ours() -> None:
    """P2: "must be unique" means that it arrived. The shell reports it as unknown; symbol, side and size match."""
    bench = Bench()
    intent = bench.order(buy(10))
    assert of(LookupOrder, bench.unknown(intent, "client_order_id must be unique"))
    bench.accepted(intent, source=Source.LOOKUP)
    assert bench.state(intent).broker_id == "B-J-1"
    assert bench.kernel.portfolio.trading_state is TradingState.ACTIVE


@pytest.mark.parametrize(
    "difference",
    [
        {"symbol": "QQQ"},
        {"side": OrderSide.SELL},
        {"quantity": Decimal(11)},
        {"order_type": "limit", "limit_price": Decimal(100)},
        {"time_in_force": "gtc"},
    ],
    ids=",".join,
)
def test_another_order_under_our_id_halts_trading(difference: dict[str, object]) -> None:
    """P2: somebody else uses our ids. Nothing is adopted, people are told what differs, and nothing more is sent."""
    bench = Bench()
    intent = _unknown(bench)
    commands = bench.updated(intent, OrderStatus.NEW, source=Source.LOOKUP, **difference)
    assert alerts(commands) == ["order-drift: the venue's orders differ from our intents: trading is halted"]
    assert bench.kernel.portfolio.trading_state is TradingState.HALTED
    assert bench.state(intent).broker_id is None
    assert not of(SubmitOrder, bench.act(buy(1)))
    assert bench.verdict.guard == "trading_state"


def test_two_orders_at_the_venue_under_one_intent_halt_trading() -> None:
    """P2: the one thing that must not happen; if it does, stop."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    commands = bench.accepted(intent, broker_id="B-second")
    assert alerts(commands) == ["order-drift: the venue's orders differ from our intents: trading is halted"]
    assert bench.kernel.portfolio.trading_state is TradingState.HALTED


# -- a definite no -------------------------------------------------------------------------------


def test_a_refused_order_is_rejected_with_the_venues_reason() -> None:
    """A verdict: closed, told to people and to the strategy, and free to try again."""
    bench = Bench()
    intent = bench.order(buy(10))
    commands = bench.refused(intent)
    assert (bench.state(intent).status, bench.state(intent).evidence) == (
        OrderStatus.REJECTED,
        "insufficient buying power",
    )
    assert alerts(commands) == ["trading: order refused by the venue"]
    assert bench.strategy.told[-1] == "order rejected"
    assert bench.order(buy(5)).client_order_id == "J-2"


def test_a_refusal_that_comes_after_the_stream_accepted_it_is_old_news() -> None:
    """An error answer of a proxy, while the order is live."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    assert alerts(bench.refused(intent)) == []
    assert bench.state(intent).status is OrderStatus.NEW


def test_an_order_that_was_dropped_before_it_left_is_never_sent() -> None:
    """Our own process says so: its deadline had passed, or trading was halted, when its turn came."""
    bench = Bench()
    intent = bench.order(buy(10))
    commands = bench.dropped(intent)
    assert (bench.state(intent).status, bench.state(intent).evidence) == (
        OrderStatus.NEVER_SENT,
        "its deadline had passed",
    )
    assert alerts(commands) == ["trading: order dropped before it was sent"]
    assert bench.strategy.view(SPY).flat


@pytest.mark.parametrize("outcome", ["refused", "dropped"])
def test_a_refused_or_dropped_exit_can_be_asked_for_again(outcome: str) -> None:
    """P7: nothing is out any more, so the whole position may be sent."""
    bench = Bench()
    bench.hold(10)
    out = bench.order(leave())
    getattr(bench, outcome)(out)
    assert bench.order(leave()).quantity == Decimal(10)


def test_a_rejection_by_the_stream_alerts_once() -> None:
    """The order was accepted and rejected later; a repetition says nothing new."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    assert alerts(bench.updated(intent, OrderStatus.REJECTED)) == ["trading: SPY: order rejected by the venue"]
    assert alerts(bench.updated(intent, OrderStatus.REJECTED)) == []


# -- cancels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["cancel_refused", "cancel_unknown"])
def test_a_cancel_without_success_is_looked_up(outcome: str) -> None:
    """The order itself says what became of it."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    bench.act(lambda s: s.cancel(SPY))
    assert [c.client_order_id for c in of(LookupOrder, getattr(bench, outcome)(resting))] == ["J-1"]
    bench.updated(resting, OrderStatus.CANCELED, source=Source.LOOKUP)
    assert bench.state(resting).is_closed
    assert bench.kernel.timers == {}


def test_cancelling_twice_asks_once() -> None:
    """One request under way is enough; the answer is how many orders were asked for."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    assert len(of(CancelOrder, bench.act(lambda s: s.cancel(SPY)))) == 1
    assert bench.strategy.answer == 1
    assert of(CancelOrder, bench.act(lambda s: s.cancel(SPY))) == []
    assert bench.strategy.answer == 0
