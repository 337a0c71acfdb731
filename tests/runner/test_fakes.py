"""The shipped fakes themselves: what they promise to those who test with them, and canaries for the checkers."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from holdfast.journal import MemoryJournal
from holdfast.model import OrderIntent, OrderSide, OrderType, Source, TimeInForce
from holdfast.model.commands import SubmitOrder
from holdfast.model.errors import InvariantError, OrderDroppedError, UnknownSymbolError
from holdfast.runner import AlertPort, BrokerPort
from holdfast.state.order_machine import OrderEvent
from holdfast.state.order_tracker import OrderTracker
from holdfast.testing import (
    Held,
    RecordingAlerts,
    ScriptedBroker,
    carry_out,
    make_engine,
    sent_twice,
    time_out_after,
    unaccounted,
    written_behind,
)
from holdfast.testing.bot import START
from holdfast.time import BacktestClock
from holdfast.venue.matching.engine import MatchingEngine
from tests.runner.helpers import bar, until


def intent(number: int, quantity: int = 10) -> OrderIntent:
    """An order that rests."""
    return OrderIntent(
        client_order_id=f"j-{number}",
        symbol="SPY",
        side=OrderSide.BUY,
        quantity=Decimal(quantity),
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        created_at=START,
        limit_price=Decimal(99),
    )


def admitted() -> None:
    """The throttler says yes."""


@pytest.fixture
def broker() -> ScriptedBroker:
    """With nothing scripted."""
    return ScriptedBroker(make_engine(), BacktestClock(START))


async def test_they_fit_the_runners_ports(broker: ScriptedBroker) -> None:
    """The type checker reads this test."""
    port: BrokerPort = broker
    alerts: AlertPort = RecordingAlerts()
    alerts.notify_nowait("system", "t")

    assert (await port.fetch_account()).cash == 100_000
    with pytest.raises(UnknownSymbolError):
        await port.fetch_asset("NOPE")
    broker.bars = [bar(1), bar(2), bar(3), bar(2, symbol="QQQ")]
    assert await port.fetch_bars("SPY", bar(1).ts, bar(2).ts, 1) == [bar(2)]


async def test_an_unscripted_broker_does_what_a_venue_does(broker: ScriptedBroker) -> None:
    """Accepts, fills, cancels and reports; executions and orders since a moment."""
    first = await broker.place(intent(1), admit=admitted)
    second = await broker.place(intent(2), admit=admitted)
    await broker.request_cancel(second.broker_id)
    broker.play(bar(1, 98.0))

    assert await broker.find_order("j-3") is None
    found = await broker.find_order("j-1")
    assert found is not None
    assert (found.broker_id, found.filled_qty) == (first.broker_id, Decimal(10))
    assert [execution.quantity for execution in await broker.fetch_executions(0)] == [Decimal(10)]
    assert await broker.fetch_executions(bar(2).ts) == ()
    assert [order.client_order_id for order in await broker.fetch_orders(0)] == ["j-1", "j-2"]
    assert await broker.fetch_orders(START + 1) == ()
    assert [position.quantity for position in await broker.fetch_positions()] == [Decimal(10)]


async def test_scripts_are_used_up_in_order(broker: ScriptedBroker) -> None:
    """One answer for each request; then all is well again, or after ``heal``."""
    broker.script("fetch_account", time_out_after, carry_out, time_out_after, time_out_after)
    outcomes = await asyncio.gather(*(broker.fetch_account() for _ in range(3)), return_exceptions=True)
    broker.heal()

    assert [isinstance(outcome, Exception) for outcome in outcomes] == [True, False, True]
    assert (await broker.fetch_account()).cash == 100_000
    assert [call.outcome for call in broker.made("fetch_account")][1] == outcomes[1]


async def test_a_method_that_does_not_exist_cannot_be_scripted(broker: ScriptedBroker) -> None:
    """A mistyped script would test nothing."""
    with pytest.raises(InvariantError, match="no broker method 'plaice'"):
        broker.script("plaice", carry_out)


async def test_an_order_that_is_not_admitted_never_reaches_the_venue(broker: ScriptedBroker) -> None:
    """And is known as one that did not leave."""
    with pytest.raises(OrderDroppedError, match="too late"):
        await broker.place(intent(1), admit=lambda: "too late")

    assert broker.sent() == []
    assert broker.engine.orders("all") == []


@pytest.mark.parametrize("at_venue", [False, True])
async def test_a_held_request_waits_for_its_release(broker: ScriptedBroker, at_venue: bool) -> None:
    """Before it leaves, or with the answer only."""
    held = Held(at_venue=at_venue)
    broker.script("place", held)
    request = asyncio.ensure_future(broker.place(intent(1), admit=admitted))
    await until(lambda: broker.held == 1)
    assert bool(broker.engine.orders("all")) is at_venue

    held.release()

    assert (await request).client_order_id == "j-1"
    assert broker.held == 0


##### Canaries


def scene(*numbers: int, quantity: int = 10) -> tuple[MatchingEngine, MemoryJournal, OrderTracker]:
    """A venue without orders, and a journal and a tracker with these intents."""
    journal, tracker = MemoryJournal("j"), OrderTracker()
    for number in numbers:
        journal.append_commands((SubmitOrder(intent=intent(number, quantity), deadline=START),))
        tracker.track(intent(number, quantity))
        tracker.apply(f"j-{number}", OrderEvent.SUBMIT, START)
    return make_engine(), journal, tracker


async def place(engine: MatchingEngine, *intents: OrderIntent) -> ScriptedBroker:
    """Orders that just appear at the venue."""
    broker = ScriptedBroker(engine, BacktestClock(START))
    for one in intents:
        await broker.place(one, admit=admitted)
    return broker


async def test_canary_an_order_without_an_intent() -> None:
    """It is named."""
    engine, journal, tracker = scene()
    broker = await place(engine, intent(1))

    assert unaccounted(engine, journal.records(), tracker) == ["order j-1 at the venue is no journaled intent"]
    assert written_behind(broker.requests) == ["order j-1 left before its intent was durable"]


async def test_canary_an_order_that_was_not_meant_so() -> None:
    """Another quantity is another order."""
    engine, journal, tracker = scene(1, quantity=11)
    broker = await place(engine, intent(1))
    tracker.apply_report((await broker.fetch_orders(0))[0], Source.RECONCILE)

    assert unaccounted(engine, journal.records(), tracker)[0] == "order j-1 at the venue is not what was meant"


async def test_canary_an_intent_that_nobody_closed() -> None:
    """Submitted, and not at the venue: somebody forgot it."""
    engine, journal, tracker = scene(1)

    (complaint,) = unaccounted(engine, journal.records(), tracker)
    assert complaint.startswith("intent j-1 is not at the venue and not closed as never sent")


async def test_canary_an_intent_closed_without_evidence() -> None:
    """Silence is none."""
    engine, journal, tracker = scene(1)
    tracker.apply("j-1", OrderEvent.SUBMIT_DROPPED, START)

    assert unaccounted(engine, journal.records(), tracker) == ["intent j-1 is closed as never_sent without evidence"]


async def test_canary_an_order_that_is_held_never_to_have_been() -> None:
    """The venue has it."""
    engine, journal, tracker = scene(1)
    await place(engine, intent(1))
    tracker.apply("j-1", OrderEvent.SUBMIT_DROPPED, START, "surely not")

    (complaint,) = unaccounted(engine, journal.records(), tracker)
    assert complaint.startswith("intent j-1 is new at the venue, and held to be")


async def test_canary_an_order_sent_twice() -> None:
    """Also where the venue refused the second."""
    broker = await place(make_engine(), intent(1))
    await asyncio.gather(broker.place(intent(1), admit=admitted), return_exceptions=True)

    assert sent_twice(broker.requests) == ["order j-1 was sent 2 times"]


async def test_all_well_is_no_complaint() -> None:
    """The checkers can also be content."""
    engine, journal, tracker = scene(1, 2)
    broker = await place(engine, intent(1))
    tracker.apply_report((await broker.fetch_orders(0))[0], Source.RECONCILE)
    tracker.apply("j-2", OrderEvent.SUBMIT_DROPPED, START, "its deadline had passed")

    assert unaccounted(engine, journal.records(), tracker) == []
    assert sent_twice(broker.requests) == []
