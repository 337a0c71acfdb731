"""What the tracker holds of an order, message by message."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

import pytest

from holdfast.model import (
    Execution,
    OrderIntent,
    OrderReport,
    OrderSide,
    OrderStatus,
    OrderType,
    Source,
    TimeInForce,
)
from holdfast.model.errors import DataError, DuplicateOrderError, OrderError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.state.order_machine import IllegalTransitionError, OrderEvent
from holdfast.state.order_tracker import Discrepancy, DiscrepancyKind, FillEvent, InFlightOrder, OrderTracker
from holdfast.state.written import OrderState

STREAM = Source.STREAM
S = OrderStatus


class Makers(Protocol):
    """What the fixture ``make`` offers."""

    def intent(self, name: str = "A", **changes: Any) -> OrderIntent:
        """An intent."""

    def report(self, status: OrderStatus, filled: int | str = 0, name: str = "A", **changes: Any) -> OrderReport:
        """A report."""

    def execution(
        self, execution_id: str, quantity: int | str, cum: int | str | None = None, **changes: Any
    ) -> Execution:
        """An execution."""


def kinds(tracker: OrderTracker) -> list[DiscrepancyKind]:
    """Drain the discrepancies."""
    return [discrepancy.kind for discrepancy in tracker.take_discrepancies()]


def status(tracker: OrderTracker, name: str = "A") -> OrderStatus:
    """The status of an order."""
    order = tracker.get(name)
    assert order is not None
    return order.status


def test_an_order_lives_from_intent_to_filled(make: Makers) -> None:
    """The everyday path, each step visible on the order."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    assert status(tracker) is S.CREATED
    assert tracker.apply("A", OrderEvent.SUBMIT, 2, "outbox")
    assert tracker.apply_report(make.report(S.NEW, submitted_at=3), STREAM, 4)
    assert (order.broker_id, order.exchange_order_id, order.submitted_at) == ("B-A", "B-A", 3)
    assert tracker.by_broker_id("B-A") is order
    assert tracker.apply_execution(make.execution("e1", 4, 4)) is order
    assert status(tracker) is S.PARTIALLY_FILLED
    assert order.remaining == 6
    assert tracker.apply_execution(make.execution("e2", 6, 10, price=Decimal(110), at=12)) is order
    assert order.status is S.FILLED
    assert order.average_price == Decimal(106)
    assert (order.is_open, order.is_closed, order.fills_missing, order.closed_at) == (False, True, False, 12)
    assert not tracker.apply_report(make.report(S.FILLED, 10), STREAM, 13)
    assert tracker.open_orders() == []
    assert tracker.unsettled() == []
    assert kinds(tracker) == []


def test_an_id_is_used_once_and_forever(make: Makers) -> None:
    """Also after the order was settled and dropped."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    with pytest.raises(DuplicateOrderError, match="'A'"):
        tracker.track(make.intent())
    tracker.apply_report(make.report(S.CANCELED), STREAM, 5)
    assert tracker.forget_settled(100) == 1
    with pytest.raises(DuplicateOrderError, match="'A'"):
        tracker.track(make.intent())


def test_an_order_must_have_a_positive_quantity_and_a_moment(make: Makers) -> None:
    """Bad input is one clear error."""
    with pytest.raises(OrderError, match="quantity 0"):
        OrderTracker().track(make.intent(quantity=Decimal(0)))
    with pytest.raises(OrderError, match=r"created_at.*no time zone"):
        InFlightOrder(
            client_order_id="A",
            symbol="SPY",
            quantity=Decimal(1),
            side=OrderSide.BUY,
            order_type=OrderType.MARKET,
            created_at=datetime(2026, 1, 1),  # noqa: DTZ001 - naive on purpose
        )


def test_our_own_triggers_obey_the_table(make: Makers) -> None:
    """An illegal trigger is an error and changes nothing; a legal one that stays is reported as no change."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    with pytest.raises(OrderError, match="'nobody'"):
        tracker.apply("nobody", OrderEvent.SUBMIT, 2)
    with pytest.raises(IllegalTransitionError, match=r"created.*never_sent"):
        tracker.apply("A", OrderEvent.NEVER_SENT, 2)
    tracker.apply("A", OrderEvent.SUBMIT_UNKNOWN, 2, "time-out")
    assert not tracker.apply("A", OrderEvent.RESTARTED, 3)
    assert [order.client_order_id for order in tracker.unknown_orders()] == ["A"]
    assert tracker.apply("A", OrderEvent.NEVER_SENT, 4, "looked up three times")
    order = tracker.get("A")
    assert order is not None
    assert (order.status, order.closed_at, order.evidence) == (S.NEVER_SENT, 4, "looked up three times")


# --- Executions -----------------------------------------------------------------------------------------------------


def test_an_execution_is_counted_once_by_its_id(make: Makers) -> None:
    """Also without a cumulative quantity."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    assert tracker.apply_execution(make.execution("e1", 4)) is order
    assert tracker.apply_execution(make.execution("e1", 4)) is None
    assert order.filled_quantity == 4
    assert tracker.get_stats()["duplicate_fills"] == 1


def test_an_execution_is_counted_once_by_where_it_ends(make: Makers) -> None:
    """Two sources with different ids for one execution are recognised by order and cumulative quantity."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    assert tracker.apply_execution(make.execution("stream-id", 4, 4)) is order
    assert tracker.apply_execution(make.execution("activity-id", 4, "4.00", client_order_id=None)) is None
    assert order.filled_quantity == 4
    assert kinds(tracker) == []


def test_two_reports_of_one_execution_that_disagree_are_a_discrepancy(make: Makers) -> None:
    """Counted once, as it was learned first, and said aloud."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply_execution(make.execution("e1", 4, 4))
    assert tracker.apply_execution(make.execution("e2", 3, 4)) is None
    assert order.filled_quantity == 4
    assert kinds(tracker) == [DiscrepancyKind.CONFLICTING_EXECUTION]


def test_a_fill_after_cancel_is_counted_and_reopens_nothing(make: Makers) -> None:
    """What the venue closed stays closed; the late fill is in the books and in the discrepancies."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply_report(make.report(S.CANCELED, 0), STREAM, 5)
    assert tracker.apply_execution(make.execution("e1", 4, 4)) is order
    assert (order.status, order.filled_quantity) == (S.CANCELED, Decimal(4))
    assert tracker.get_stats()["late_fills"] == 1
    assert kinds(tracker) == [DiscrepancyKind.LATE_FILL]
    assert tracker.open_orders() == []


def test_a_fill_that_the_closing_word_announced_is_not_late(make: Makers) -> None:
    """The report came first, its executions were missing, and now they are here."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply_report(make.report(S.FILLED, 10), STREAM, 5)
    assert order.fills_missing
    assert tracker.orders_with_missing_fills() == [order]
    assert tracker.unsettled() == [order]
    assert tracker.forget_settled(1000) == 0
    tracker.apply_execution(make.execution("e2", 6, 10))
    assert tracker.orders_with_missing_fills() == [order]
    tracker.apply_execution(make.execution("e1", 4, 4))
    assert tracker.unsettled() == []
    assert tracker.get_stats()["late_fills"] == 0
    assert kinds(tracker) == []


def test_the_last_execution_tells_that_earlier_ones_are_missing(make: Makers) -> None:
    """Its cumulative quantity is the venue's word: the order is filled, its books are not complete."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply_execution(make.execution("e2", 6, 10))
    assert order.status is S.FILLED
    assert tracker.orders_with_missing_fills() == [order]


def test_an_execution_of_an_unknown_order_is_kept_and_told(make: Makers) -> None:
    """Counted as an orphan once, never as a fill."""
    tracker = OrderTracker()
    foreign = make.execution("e1", 4, 4, client_order_id="somebody", broker_id="B-X")
    assert tracker.apply_execution(foreign) is None
    assert tracker.apply_execution(foreign) is None
    assert tracker.orphan_executions() == [foreign]
    assert tracker.get_stats()["orphan_executions"] == 1
    assert tracker.get_stats()["fills"] == 0
    assert kinds(tracker) == [DiscrepancyKind.ORPHAN_EXECUTION]


def test_an_orphan_is_counted_when_its_orders_venue_id_is_adopted(make: Makers) -> None:
    """An activity knows only the venue's id; the order whose submit had no answer learns that id later."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply("A", OrderEvent.SUBMIT_UNKNOWN, 2)
    early = make.execution("e1", 4, 4, client_order_id=None)
    assert tracker.apply_execution(early) is None
    assert tracker.apply_report(make.report(S.PARTIALLY_FILLED, 4), Source.LOOKUP, 3)
    assert order.filled_quantity == 4
    assert tracker.take_adopted() == [(order, early)]
    assert tracker.take_adopted() == []
    assert tracker.orphan_executions() == []
    assert tracker.apply_execution(early) is None


def test_an_orphan_that_comes_again_with_its_orders_name_is_counted(make: Makers) -> None:
    """By activity first, without a name; then by stream, with it, under the same id or another."""
    for second_id in ("e1", "e1-stream"):
        tracker = OrderTracker()
        order = tracker.track(make.intent())
        early = make.execution("e1", 4, 4, client_order_id=None)
        assert tracker.apply_execution(early) is None
        assert tracker.apply_execution(make.execution(second_id, 4, 4)) is None
        assert tracker.take_adopted() == [(order, early)]
        assert order.filled_quantity == 4


@pytest.mark.parametrize("change", [{"symbol": "QQQ"}, {"side": OrderSide.SELL}, {"broker_id": "B-other"}])
def test_an_execution_that_cannot_be_of_the_order_is_no_fill_of_it(make: Makers, change: dict[str, Any]) -> None:
    """Another symbol, side or venue order under our id: kept apart, told."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply_report(make.report(S.NEW), STREAM, 2)
    assert tracker.apply_execution(make.execution("e1", 4, 4, **change)) is None
    assert order.filled_quantity == 0
    assert kinds(tracker)[-1] is DiscrepancyKind.ORPHAN_EXECUTION
    assert len(tracker.orphan_executions()) == 1


def test_more_executed_than_ordered_is_told(make: Makers) -> None:
    """Counted, because the venue says so, and never in silence."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply_execution(make.execution("e1", 10, 10))
    tracker.apply_execution(make.execution("e2", 1, 11))
    assert order.filled_quantity == 11
    assert order.remaining == 0
    assert kinds(tracker) == [DiscrepancyKind.LATE_FILL, DiscrepancyKind.OVERFILL]


# --- Reports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "QQQ"},
        {"side": OrderSide.SELL},
        {"quantity": Decimal(11)},
        {"order_type": "limit"},
        {"limit_price": Decimal(1)},
        {"time_in_force": "gtc"},
    ],
)
def test_an_order_under_our_id_that_is_not_the_one_we_meant_is_not_adopted(
    make: Makers, change: dict[str, Any]
) -> None:
    """It is a mismatch for people to look at, and our order stays what it was."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    assert not tracker.apply_report(make.report(S.NEW, **change), STREAM, 2)
    assert (order.broker_id, order.status) == (None, S.CREATED)
    (found,) = tracker.take_discrepancies()
    assert found.kind is DiscrepancyKind.MISMATCH
    assert str(next(iter(change.values()))) in found.detail


def test_a_limit_order_is_adopted_whatever_the_notation_of_its_price(make: Makers) -> None:
    """450.10 and 450.1 are one price."""
    tracker = OrderTracker()
    tracker.track(make.intent(order_type=OrderType.LIMIT, limit_price=Decimal("450.10"), time_in_force=TimeInForce.GTC))
    report = make.report(S.NEW, order_type="limit", limit_price=Decimal("450.1"), time_in_force="gtc")
    assert tracker.apply_report(report, STREAM, 2)


def test_an_adopted_order_that_changes_at_the_venue_is_a_mismatch(make: Makers) -> None:
    """Quantity, side and symbol are compared on every report."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.apply_report(make.report(S.NEW), STREAM, 2)
    assert not tracker.apply_report(make.report(S.FILLED, 11, quantity=Decimal(11)), STREAM, 3)
    assert status(tracker) is S.NEW
    assert kinds(tracker) == [DiscrepancyKind.MISMATCH]


def test_a_second_venue_order_for_one_intent_is_told(make: Makers) -> None:
    """The promise that no intent has two orders is watched, not assumed."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.apply_report(make.report(S.NEW), STREAM, 2)
    assert not tracker.apply_report(make.report(S.NEW, broker_id="B-A2"), STREAM, 3)
    assert kinds(tracker) == [DiscrepancyKind.SECOND_ORDER]


def test_one_venue_order_cannot_stand_for_two_intents(make: Makers) -> None:
    """A venue id that is taken is not adopted a second time."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.track(make.intent("C"))
    tracker.apply_report(make.report(S.NEW), STREAM, 2)
    assert not tracker.apply_report(make.report(S.NEW, name="C", broker_id="B-A"), STREAM, 3)
    assert kinds(tracker) == [DiscrepancyKind.MISMATCH]


def test_stale_reports_change_nothing_and_are_counted(make: Makers) -> None:
    """The answer to the submit often comes after the stream has told the rest."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.apply_report(make.report(S.PARTIALLY_FILLED, 4), STREAM, 3)
    assert not tracker.apply_report(make.report(S.PENDING_NEW), Source.RESPONSE, 4)
    assert not tracker.apply_report(make.report(S.NEW), Source.RESPONSE, 4)
    assert status(tracker) is S.PARTIALLY_FILLED
    tracker.apply_report(make.report(S.CANCELED, 4), STREAM, 5)
    assert not tracker.apply_report(make.report(S.NEW), Source.RESPONSE, 6)
    assert status(tracker) is S.CANCELED
    assert tracker.get_stats()["stale_reports"] == 3
    assert kinds(tracker) == []


def test_an_arrival_after_the_arrival_is_stale(make: Makers) -> None:
    """New stays new when the answer to the submit still says pending_new."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.apply_report(make.report(S.NEW), STREAM, 3)
    assert not tracker.apply_report(make.report(S.PENDING_NEW), Source.RESPONSE, 4)
    assert status(tracker) is S.NEW


def test_two_closing_words_are_a_contradiction(make: Makers) -> None:
    """The first stands, and people are told."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.apply_report(make.report(S.CANCELED), STREAM, 3)
    tracker.apply_report(make.report(S.EXPIRED), STREAM, 4)
    assert status(tracker) is S.CANCELED
    assert kinds(tracker) == [DiscrepancyKind.CONTRADICTION]


@pytest.mark.parametrize("evidence", ["report", "execution"])
def test_never_sent_is_reopened_by_evidence_where_it_was_created(make: Makers, evidence: str) -> None:
    """Its place among the open orders is that of its creation, and people are told."""
    tracker = OrderTracker()
    for name in "ABC":
        tracker.track(make.intent(name))
    tracker.apply("A", OrderEvent.SUBMIT_UNKNOWN, 2)
    tracker.apply("A", OrderEvent.NEVER_SENT, 3)
    assert [order.client_order_id for order in tracker.open_orders("SPY")] == ["B", "C"]
    if evidence == "report":
        assert tracker.apply_report(make.report(S.NEW), Source.RECONCILE, 4)
    else:
        assert tracker.apply_execution(make.execution("e1", 4, 4)) is not None
    assert [order.client_order_id for order in tracker.open_orders("SPY")] == ["A", "B", "C"]
    assert [order.client_order_id for order in tracker.open_orders()] == ["A", "B", "C"]
    order = tracker.get("A")
    assert order is not None
    assert order.closed_at is None
    assert kinds(tracker) == [DiscrepancyKind.REOPENED]


def test_a_final_quantity_below_the_executions_is_told(make: Makers) -> None:
    """The cross-check works in both directions: here we counted more than the venue's own sum."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.apply_execution(make.execution("e1", 4, 4))
    tracker.apply_report(make.report(S.CANCELED, 3), STREAM, 3)
    assert status(tracker) is S.CANCELED
    assert kinds(tracker) == [DiscrepancyKind.OVERCOUNTED]


def test_a_report_of_somebody_elses_order_is_counted(make: Makers) -> None:
    """Not ours, not an error."""
    tracker = OrderTracker()
    assert not tracker.apply_report(make.report(S.NEW), STREAM, 2)
    assert tracker.get_stats()["foreign_reports"] == 1


# --- The guide's own calls ------------------------------------------------------------------------------------------


def guides_order() -> InFlightOrder:
    """An order as the integration guide makes it."""
    return InFlightOrder(
        client_order_id="ORD_1",
        symbol="SPY",
        quantity=Decimal(10),
        side=OrderSide.BUY,
        order_type=OrderType.MARKET,
        strategy_id="vwap",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_the_guides_calls_work() -> None:
    """Track, learn the broker's id, take fills: all by the names of the guide."""
    tracker = OrderTracker()
    order = guides_order()
    tracker.start_tracking(order)
    update = {"exchange_order_id": "X", "status": "accepted", "submitted_at": datetime(2026, 1, 2, tzinfo=UTC)}
    assert tracker.process_order_update("ORD_1", update)
    assert not tracker.process_order_update("ORD_1", update)
    assert (order.status, order.exchange_order_id) == (S.ACCEPTED, "X")
    assert order.submitted_at == 1767312000 * NS_PER_SECOND
    moment = datetime(2026, 1, 2, 0, 1, tzinfo=UTC)
    fill = FillEvent(moment, Decimal(4), Decimal("99.5"), Decimal("0.1"), execution_id="e1")
    assert tracker.process_fill("ORD_1", fill)
    assert not tracker.process_fill("ORD_1", fill)
    assert tracker.process_order_update("ORD_1", {"status": "FILLED", "filled_qty": "10"})
    assert order.fills_missing
    assert tracker.process_fill("ORD_1", FillEvent(moment, Decimal(6), Decimal(100), Decimal(0)))
    assert order.status is S.FILLED
    assert order.filled_quantity == 10
    assert order.commission == Decimal("0.1")
    assert not order.fills_missing


def test_updates_of_unknown_orders_are_counted_and_harmless() -> None:
    """Neither raises; the fill is kept as an orphan."""
    tracker = OrderTracker()
    assert not tracker.process_order_update("nobody", {"status": "filled"})
    assert not tracker.process_fill("nobody", FillEvent(1, Decimal(1), Decimal(1)))
    assert not tracker.process_fill("nobody", FillEvent(1, Decimal(1), Decimal(1)))
    stats = tracker.get_stats()
    assert (stats["foreign_reports"], stats["orphan_executions"]) == (1, 2)


@pytest.mark.parametrize("word", ["restated", "unknown", "never_sent", "created"])
def test_a_word_that_is_not_the_venues_only_proves_existence(word: str) -> None:
    """Our own words mean nothing in a venue's mouth."""
    tracker = OrderTracker()
    order = guides_order()
    tracker.start_tracking(order)
    assert tracker.process_order_update("ORD_1", {"status": word})
    assert order.status is S.ACCEPTED


def test_an_update_without_status_and_id_changes_no_status() -> None:
    """A submit time alone is no evidence of existence."""
    tracker = OrderTracker()
    order = guides_order()
    tracker.start_tracking(order)
    assert tracker.process_order_update("ORD_1", {"submitted_at": 5})
    assert status(tracker, "ORD_1") is S.CREATED
    assert tracker.process_order_update("ORD_1", {"exchange_order_id": "X"})
    assert order.status is S.ACCEPTED
    assert not tracker.process_order_update("ORD_1", {"exchange_order_id": "Y", "status": "filled"})
    assert kinds(tracker) == [DiscrepancyKind.SECOND_ORDER]


@pytest.mark.parametrize(
    "update",
    [
        {"filled_qty": "many"},
        {"filled_qty": -1},
        {"filled_qty": "nan"},
        {"submitted_at": "yesterday"},
        {"submitted_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive on purpose
        {"submitted_at": 1.5},
    ],
)
def test_an_update_that_cannot_be_read_is_one_clear_error(update: dict[str, Any]) -> None:
    """It names the field, and nothing changed."""
    tracker = OrderTracker()
    order = guides_order()
    tracker.start_tracking(order)
    with pytest.raises(OrderError, match=next(iter(update))):
        tracker.process_order_update("ORD_1", {"status": "new"} | update)
    assert order.status is S.CREATED


def test_a_fill_must_make_sense() -> None:
    """No zero quantities, no zero prices."""
    with pytest.raises(OrderError, match="positive quantity and price"):
        OrderTracker().process_fill("A", FillEvent(1, Decimal(0), Decimal(1)))


# --- Orphans and shadows --------------------------------------------------------------------------------------------


class BrokerObject:
    """An order as a broker's library gives it."""

    client_order_id = "A"


def test_a_broker_order_unknown_here_is_an_orphan() -> None:
    """The guide's own check."""
    orphans = OrderTracker().get_orphaned_orders({"BROKER_001": {"status": "FILLED"}})
    assert "BROKER_001" in orphans


def test_our_own_order_is_no_orphan_by_whichever_id(make: Makers) -> None:
    """By broker id, or by client order id while that is unknown; in every form of order; also when long settled."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    for order in ({"client_order_id": "A"}, BrokerObject(), make.report(S.NEW)):
        assert tracker.get_orphaned_orders({"B-A": order}) == {}
    assert tracker.get_orphaned_orders({"B-A": {}}) == {"B-A": {}}
    tracker.apply_report(make.report(S.CANCELED), STREAM, 2)
    assert tracker.get_orphaned_orders({"B-A": {}}) == {}
    tracker.forget_settled(100)
    assert tracker.get_orphaned_orders({"B-A": {}, "x": {"client_order_id": "A"}}) == {}


def test_an_order_open_here_and_absent_there_is_a_shadow(make: Makers) -> None:
    """Only if the venue is known to have had it: what is in flight or unknown may arrive yet."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    assert tracker.get_shadow_orders({}) == {}
    tracker.apply("A", OrderEvent.SUBMIT, 2)
    assert tracker.get_shadow_orders({}) == {}
    tracker.apply("A", OrderEvent.SUBMIT_UNKNOWN, 3)
    assert tracker.get_shadow_orders({}) == {}
    tracker.apply_report(make.report(S.NEW), STREAM, 4)
    assert tracker.get_shadow_orders({}) == {"A": order}
    assert tracker.get_shadow_orders({"B-A": {}}) == {}
    assert tracker.get_shadow_orders({"else": {"client_order_id": "A"}}) == {}
    tracker.apply_report(make.report(S.CANCELED), STREAM, 5)
    assert tracker.get_shadow_orders({}) == {}


# --- Lists, counts, memory ------------------------------------------------------------------------------------------


def test_open_orders_are_listed_by_symbol_in_order_of_creation(make: Makers) -> None:
    """Closing one takes it out of both lists."""
    tracker = OrderTracker()
    for name, symbol in (("A", "SPY"), ("B", "QQQ"), ("C", "SPY")):
        tracker.track(make.intent(name, symbol=symbol))
    assert [order.client_order_id for order in tracker.open_orders()] == ["A", "B", "C"]
    assert [order.client_order_id for order in tracker.open_orders("SPY")] == ["A", "C"]
    assert tracker.open_orders("IWM") == []
    tracker.apply_report(make.report(S.REJECTED), STREAM, 2)
    assert [order.client_order_id for order in tracker.open_orders("SPY")] == ["C"]
    assert [order.client_order_id for order in tracker.orders()] == ["A", "B", "C"]
    assert (tracker.has_open("SPY"), tracker.has_open("IWM"), len(tracker.open)) == (True, False, 2)


def test_stats_count_what_happened(make: Makers) -> None:
    """By status, and since the beginning."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.track(make.intent("C"))
    tracker.apply_report(make.report(S.NEW), STREAM, 2)
    tracker.apply_execution(make.execution("e1", 4, 4))
    tracker.apply("C", OrderEvent.SUBMIT_UNKNOWN, 3)
    assert tracker.get_stats() == {
        "total_tracked": 2,
        "held": 2,
        "open": 2,
        "unknown": 1,
        "fills_missing": 0,
        "fills": 1,
        "duplicate_fills": 0,
        "late_fills": 0,
        "orphan_executions": 0,
        "stale_reports": 0,
        "foreign_reports": 0,
        "by_status": {"unknown": 1, "partially_filled": 1},
    }


def test_settled_orders_can_be_forgotten_but_never_counted_again(make: Makers) -> None:
    """Executions of a dropped order are recognised by id and by where they end; a new one is an orphan, told."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.track(make.intent("C"))
    tracker.apply_execution(make.execution("e1", 10, 10, at=50))
    assert tracker.forget_settled(50) == 0
    assert tracker.forget_settled(51) == 1
    assert tracker.get("A") is None
    assert tracker.apply_execution(make.execution("e1", 10, 10)) is None
    assert tracker.apply_execution(make.execution("other-id", 10, 10, client_order_id=None)) is None
    assert kinds(tracker) == []
    assert tracker.get_stats()["duplicate_fills"] == 2
    assert tracker.apply_execution(make.execution("e2", 1, 11)) is None
    assert kinds(tracker) == [DiscrepancyKind.ORPHAN_EXECUTION]
    assert [order.client_order_id for order in tracker.orders()] == ["C"]


def test_what_we_only_inferred_is_never_forgotten(make: Makers) -> None:
    """Evidence may still come, and must find the order."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.apply("A", OrderEvent.SUBMIT_DROPPED, 2)
    assert tracker.forget_settled(10**18) == 0


def test_json_keeps_everything(make: Makers) -> None:
    """Every field, every list, every count; Decimal notation included."""
    tracker = OrderTracker()
    tracker.track(make.intent(quantity=Decimal("10.000"), strategy_id="s", reason="why", reduce_only=True))
    tracker.track(make.intent("C", order_type=OrderType.LIMIT, limit_price=Decimal("1.10")))
    tracker.track(make.intent("D"))
    tracker.apply_execution(make.execution("e9", "2.50", "2.50", client_order_id=None, broker_id="B-A"))
    tracker.apply_execution(make.execution("e8", 1, client_order_id="nobody", broker_id="B-Z"))
    tracker.apply_report(make.report(S.PARTIALLY_FILLED, "5.00", quantity=Decimal("10.000")), STREAM, 7)
    tracker.apply_report(make.report(S.CANCELED, name="D"), STREAM, 8)
    tracker.forget_settled(100)
    order = tracker.get("C")
    assert order is not None
    order.cancel_requested = True
    written = tracker.to_json()
    again = OrderTracker.from_json(written)
    assert again.to_json() == written
    assert again.get_stats() == tracker.get_stats()
    assert [repr(order) for order in again.unsettled()] == [repr(order) for order in tracker.unsettled()]
    assert again.take_discrepancies() == tracker.take_discrepancies()
    ((adopted, execution),) = again.take_adopted()
    assert adopted is again.get("A")
    assert execution.execution_id == "e9"
    assert again.get_orphaned_orders({"B-D": {}, "B-A": {}}) == {}


def test_the_written_form_has_every_field_of_an_order() -> None:
    """A field that is added to the order and not to its written form would be lost in a restart."""
    assert set(OrderState.__struct_fields__) == set(InFlightOrder.__struct_fields__)


def test_json_of_something_else_is_one_clear_error() -> None:
    """Not a traceback of a codec."""
    with pytest.raises(DataError, match="not an order tracker's JSON"):
        OrderTracker.from_json(b'{"orders": 1}')


def test_a_discrepancy_names_the_order(make: Makers) -> None:
    """What an alert needs is in it."""
    tracker = OrderTracker()
    tracker.track(make.intent())
    tracker.apply_report(make.report(S.CANCELED), STREAM, 3)
    tracker.apply_execution(make.execution("e1", 4, 4))
    assert tracker.take_discrepancies() == [
        Discrepancy(kind=DiscrepancyKind.LATE_FILL, client_order_id="A", detail="canceled, then 4 at 100 (e1)")
    ]
    assert tracker.take_discrepancies() == []


def test_two_fills_that_both_show_the_order_after_the_second_are_two() -> None:
    """P3: the order's quantity in a message may be a later one; ids and amounts tell the executions apart."""
    tracker = OrderTracker()
    tracker.start_tracking(InFlightOrder("a", "SPY", Decimal(10), OrderSide.BUY, OrderType.MARKET, created_at=1))
    first, second = (
        Execution(
            execution_id=name,
            broker_id="b",
            symbol="SPY",
            side=OrderSide.BUY,
            quantity=Decimal(quantity),
            price=Decimal(100),
            at=2,
            cum_qty=Decimal(10),
            client_order_id="a",
        )
        for name, quantity in (("e1", 4), ("e2", 6))
    )
    assert tracker.apply_execution(first) is not None
    assert tracker.apply_execution(second) is not None
    assert tracker.apply_execution(second) is None
    order = tracker.get("a")
    assert order is not None
    assert order.filled_quantity == 10
