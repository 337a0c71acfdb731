"""Orders whose outcome nobody knows: silence settles nothing, evidence settles everything."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from holdfast.kernel.unknowns import UnknownState
from holdfast.model import OrderIntent, OrderSide, OrderStatus, Outcome, Source, TradingState
from holdfast.model.commands import CancelOrder, LookupOrder, Reconcile, SubmitOrder
from holdfast.model.events import OrderFilled
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.risk import RiskLimits
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


def test_it_is_asked_for_again_by_timers_that_grow_up_to_a_bound() -> None:
    """P9: for as long as it takes, and without hammering a venue that is in trouble already."""
    bench = Bench()
    intent = _unknown(bench)
    began, moments = bench.now, []
    for _ in range(8):
        bench.lookup_failed(intent)
        assert [c.client_order_id for c in of(LookupOrder, bench.fire())] == ["J-1"]
        moments.append((bench.now - began) // NS_PER_SECOND)
    assert moments == [2, 6, 14, 30, 60, 90, 120, 150]
    assert bench.state(intent).status is OrderStatus.UNKNOWN


def test_a_stream_that_is_back_has_them_asked_for_quickly_again() -> None:
    """What made the look-ups rare, a venue in trouble, may be over."""
    bench = Bench()
    intent = _unknown(bench)
    for _ in range(4):
        bench.lookup_failed(intent)
        bench.fire()
    bench.stream_lost()
    assert [c.client_order_id for c in of(LookupOrder, bench.connected())] == ["J-1"]
    bench.lookup_failed(intent)
    assert bench.kernel.timers["lookup:J-1"] - bench.now == bench.kernel.settings.lookup_interval


def test_a_cancel_without_the_venues_id_is_sent_as_soon_as_the_id_is_known() -> None:
    """There is nothing to name before; and to wait for the next timer would leave it working for a minute."""
    bench = Bench()
    intent = _unknown(bench)
    assert bench.kernel.cancel(SPY) == 1
    assert of(CancelOrder, bench.kernel.take_commands()) == []
    assert [c.broker_id for c in of(CancelOrder, bench.accepted(intent, source=Source.LOOKUP))] == ["B-J-1"]
    assert of(CancelOrder, bench.accepted(intent)) == [], "once"


def test_a_miss_alone_settles_nothing_however_late_it_comes() -> None:
    """P2: a 404 needs the stream, the grace period and a list of orders that was asked for after it."""
    bench = Bench()
    intent = _unknown(bench)
    bench.missed(intent)
    assert not of(Reconcile, bench.fire()), "within the grace period nothing follows from it"
    bench.wait(60)
    assert [c.reason for c in of(Reconcile, bench.missed(intent))] == ["unknown order"]
    assert of(Reconcile, bench.missed(intent)) == [], "one list is enough, and it is on its way"
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    assert [c.client_order_id for c in of(LookupOrder, bench.reported())] == ["J-1"]
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.NEVER_SENT
    assert not any(name.startswith("lookup:") for name in bench.kernel.timers)


def test_a_list_of_orders_that_was_asked_for_too_early_proves_nothing() -> None:
    """P2: what arrived after it was asked for is not in it."""
    bench = Bench()
    intent = _unknown(bench)
    early = bench.now
    bench.wait(11)
    bench.missed(intent)
    bench.reported(asked_at=early)
    bench.reported(asked_at=0)
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    bench.reported()
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.NEVER_SENT


def test_a_list_of_orders_within_the_grace_period_is_no_witness() -> None:
    """P2: books are compared for many reasons; only a list that was asked for because of the order, late enough, counts."""
    bench = Bench()
    intent = _unknown(bench)
    bench.wait(5)
    bench.reported()
    bench.wait(6)
    assert [c.reason for c in of(Reconcile, bench.missed(intent))] == ["unknown order"]
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.UNKNOWN


def test_the_clock_of_the_grace_period_stands_still_while_the_stream_is_down() -> None:
    """P2: beside a dead stream "not there" says nothing, however long it is said."""
    bench = Bench()
    bench.stream_lost()
    intent = _unknown(bench)
    for _ in range(5):
        bench.wait(60)
        bench.missed(intent)
        bench.reported()
        assert bench.state(intent).status is OrderStatus.UNKNOWN
    assert [c.client_order_id for c in of(LookupOrder, bench.connected())] == ["J-1"], "asked at once"
    bench.wait(6)
    bench.missed(intent)
    bench.stream_lost()
    bench.wait(60)
    bench.connected()
    bench.wait(3)
    bench.missed(intent)
    bench.reported()
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.UNKNOWN, "nine seconds of ten"
    bench.wait(1)
    bench.missed(intent)
    bench.reported()
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.NEVER_SENT


def test_a_stream_that_is_lost_after_the_list_of_orders_makes_it_worthless() -> None:
    """P2: what arrived since then would have been streamed to nobody."""
    bench = Bench()
    intent = _unknown(bench)
    bench.wait(11)
    bench.missed(intent)
    bench.reported()
    bench.stream_lost()
    bench.missed(intent)
    bench.connected()
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    bench.reported()
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.NEVER_SENT


def test_the_record_says_what_made_us_sure() -> None:
    """P2: closed as never sent, and the sentence names the look-ups, the stream and the list."""
    bench = Bench()
    intent = _unknown(bench)
    bench.missed(intent)
    bench.wait(1)
    bench.denied(intent)
    order = bench.state(intent)
    assert order.status is OrderStatus.NEVER_SENT
    assert order.evidence == (
        "the venue has no order with this id 12 s after the outcome became unknown: 3 look-ups did not find it, "
        "the order stream, up for 12 s of that, did not tell of it, and a comparison of orders asked for after 12 s "
        "does not show it"
    )
    assert bench.strategy.view(SPY).flat
    assert bench.strategy.told[-1] == "order never_sent"


def test_people_are_told_once_more_when_it_stays_unknown() -> None:
    """An outcome that a minute of asking did not settle is worth a second alert, and not a third."""
    bench = Bench()
    intent = _unknown(bench)
    told = []
    for _ in range(8):
        bench.lookup_failed(intent)
        told += alerts(bench.fire())
    assert told == ["trading: SPY: still unknown what became of an order"]


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
    bench.denied(intent)
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
    bench.denied(intent)
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


def test_an_id_that_is_taken_is_never_taken_for_never_sent() -> None:
    """P2: the venue has said that an order with this id exists; a look-up that finds none contradicts it."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.unknown(intent, "client_order_id must be unique", Outcome.ID_TAKEN)
    told = alerts(bench.missed(intent))
    bench.wait(60)
    told += alerts(bench.missed(intent))
    bench.reported()
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    assert told == ["order-drift: SPY: the venue denies an order that it had taken"]
    bench.begin(epoch=2)
    bench.connected()
    bench.denied(intent)
    assert bench.state(intent).status is OrderStatus.UNKNOWN, "a restart does not forget it"
    bench.accepted(intent, source=Source.LOOKUP)
    assert bench.state(intent).status is OrderStatus.NEW


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
    assert of(LookupOrder, bench.fire()), "it is asked for on and on, slowly"
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


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.RATE_LIMITED], ids=str)
def test_a_refused_order_that_the_venue_has_after_all_is_open_again(outcome: Outcome) -> None:
    """P2: an error came back although the order was placed. The guards count it, an exit cancels it, people are told."""
    bench = Bench(limits=RiskLimits(max_position_notional=Decimal(1_500)))
    intent = bench.order(buy(10))
    bench.refused(intent, outcome=outcome)
    told = alerts(bench.accepted(intent))
    assert told == ["order-drift: order reopened"]
    assert bench.state(intent).status is OrderStatus.NEW
    bench.act(buy(10))
    assert bench.verdict.guard == "position_notional"
    bench.filled(intent, 10)
    assert bench.position() == Decimal(10)


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


def test_a_cancel_that_is_not_confirmed_is_asked_for_again_and_people_are_told_once() -> None:
    """P9: an order can sit in pending_cancel; it is looked up, asked again at growing intervals, and stays open."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    bench.act(lambda s: s.cancel(SPY))
    bench.updated(resting, OrderStatus.PENDING_CANCEL)
    began, moments, told = bench.now, [], []
    for _ in range(7):
        commands = bench.fire()
        assert len(of(CancelOrder, commands)) == len(of(LookupOrder, commands)) == 1
        bench.updated(resting, OrderStatus.PENDING_CANCEL, source=Source.LOOKUP)
        moments.append((bench.now - began) // NS_PER_SECOND)
        told += alerts(commands)
    assert moments == [10, 30, 70, 150, 310, 610, 910]
    assert told == ["trading: SPY: the venue does not confirm a cancel"]
    assert bench.state(resting).is_open
    bench.canceled(resting)
    assert bench.state(resting).status is OrderStatus.CANCELED
    assert bench.kernel.timers == {}


def test_a_cancel_that_ends_without_a_verdict_late_is_asked_for_no_sooner_than_before() -> None:
    """A venue in trouble is not hammered: the pause that was reached holds for answers of that kind, too."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    bench.act(lambda s: s.cancel(SPY))
    bench.fire()
    bench.fire()
    bench.cancel_refused(resting, Outcome.RATE_LIMITED)
    assert bench.kernel.timers["lookup:J-1"] - bench.now == 40 * NS_PER_SECOND


def test_not_found_is_not_cancelled() -> None:
    """P2: an order whose cancel was refused and that look-ups do not find is open until the venue says otherwise."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    bench.act(lambda s: s.cancel(SPY))
    bench.cancel_refused(resting, Outcome.NOT_FOUND)
    for _ in range(4):
        bench.wait(60)
        bench.missed(resting)
        bench.reported(orders=[])
    assert bench.state(resting).status is OrderStatus.NEW
    assert bench.kernel.portfolio.position_quantity(SPY) == Decimal(10)


def test_a_cancel_that_was_on_its_way_when_the_run_ended_is_asked_for_again() -> None:
    """P9: whether it left died with the process; it may come twice."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    bench.act(lambda s: s.cancel(SPY))
    commands = bench.begin(epoch=2)
    assert [c.broker_id for c in of(CancelOrder, commands)] == ["B-J-1"]
    assert [c.client_order_id for c in of(LookupOrder, commands)] == ["J-1"]


def test_a_rate_limited_cancel_is_asked_for_again_by_the_schedule() -> None:
    """It was not executed, and the order rests on."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    bench.act(lambda s: s.cancel(SPY))
    bench.cancel_unknown(resting, Outcome.RATE_LIMITED)
    bench.accepted(resting, source=Source.LOOKUP)
    assert of(CancelOrder, bench.fire())


def test_a_look_up_that_works_again_starts_the_intervals_anew() -> None:
    """The trouble is over: the next failure is asked about soon, and told of if it is a denial."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    for _ in range(5):
        bench.lookup_failed(resting)
        bench.fire()
    bench.accepted(resting, source=Source.LOOKUP)
    assert alerts(bench.missed(resting)) == ["order-drift: SPY: the venue denies an order that it had taken"]
    began = bench.now
    bench.fire()
    assert bench.now - began == 2 * NS_PER_SECOND


# -- what is remembered --------------------------------------------------------------------------


def test_what_is_remembered_can_be_written_down_and_read_back() -> None:
    """P8: plain data, for a snapshot."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    bench.act(lambda s: s.cancel(SPY))
    bench.missed(_unknown(bench))
    state = bench.kernel.unknowns.state
    assert state.doubts
    assert state.cancels
    assert msgspec.json.decode(msgspec.json.encode(state), type=UnknownState) == state


# -- after a restart -----------------------------------------------------------------------------

_VERDICTS = (Outcome.NOT_SENT, Outcome.REFUSED, Outcome.RATE_LIMITED)
_SUBMIT_ENDS = [outcome for outcome in Outcome if outcome not in _VERDICTS]


@pytest.mark.parametrize("outcome", _SUBMIT_ENDS, ids=str)
def test_nothing_is_sent_again_after_a_restart_whatever_the_outcome_was(outcome: Outcome) -> None:
    """P2: an opening intent leaves once. What became of it is looked up, in this run and in the next."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.unknown(intent, outcome=outcome)
    seen = len(bench.commands)
    for epoch in (2, 3):
        bench.wait(60)
        assert "J-1" in [c.client_order_id for c in of(LookupOrder, bench.begin(epoch=epoch))]
        bench.connected()
        bench.reported()
        for _ in range(3):
            bench.lookup_failed(intent)
            bench.fire()
    assert of(SubmitOrder, bench.commands[seen:]) == []
    assert bench.state(intent).status is OrderStatus.UNKNOWN
