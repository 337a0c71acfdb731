"""A venue in our own process says that it has an order: the tracker's shortest message."""

from __future__ import annotations

from decimal import Decimal

from holdfast.model import OrderIntent, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.state.order_machine import OrderEvent
from holdfast.state.order_tracker import DiscrepancyKind, OrderTracker

INTENT = OrderIntent(
    client_order_id="A",
    symbol="SPY",
    side=OrderSide.BUY,
    quantity=Decimal(10),
    order_type=OrderType.MARKET,
    time_in_force=TimeInForce.DAY,
    created_at=1,
)


def test_an_acceptance_names_the_order_at_the_venue_once() -> None:
    """It is open there, under its id; said again, or of somebody else's order, it is no news."""
    tracker = OrderTracker()
    order = tracker.track_submitted(INTENT)
    assert order.status is OrderStatus.SUBMITTED

    assert tracker.accept("A", "B-A", 7) is order

    assert (order.status, order.broker_id, order.submitted_at) == (OrderStatus.NEW, "B-A", 7)
    assert tracker.by_broker_id("B-A") is order
    assert tracker.accept("A", "B-A", 8) is None
    assert tracker.accept("C", "B-C", 8) is None


def test_an_acceptance_reopens_what_we_had_inferred_to_be_never_sent() -> None:
    """The venue's word is evidence, whichever message brings it."""
    tracker = OrderTracker()
    order = tracker.track_submitted(INTENT)
    tracker.apply("A", OrderEvent.SUBMIT_UNKNOWN, 1)
    tracker.apply("A", OrderEvent.NEVER_SENT, 2, "not there")

    assert tracker.accept("A", "B-A", 7) is order

    assert order.status is OrderStatus.NEW
    assert [found.kind for found in tracker.take_discrepancies()] == [DiscrepancyKind.REOPENED]
