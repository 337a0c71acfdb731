"""The books do not depend on the order, the number or the source of the messages.

A history is what truly happened at the venue. Its messages (executions by stream and by activities, reports, our own
late answers) are repeated and shuffled; between any two of them the tracker may be written and read again, and
settled orders may be forgotten. Whatever arrives how often in what order: the same executions are counted, once each.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from holdfast.model import Execution, OrderIntent, OrderReport, OrderSide, OrderStatus, OrderType, Source, TimeInForce
from holdfast.state.in_flight import InFlightOrder
from holdfast.state.order_machine import TRANSITIONS, VENUE_CLOSED, OrderEvent
from holdfast.state.order_tracker import DiscrepancyKind, OrderTracker

Message = Execution | OrderReport | tuple[str, OrderEvent]
# Discrepancies that no true history may cause, however its messages are mangled and whatever we inferred too early.
IMPOSSIBLE = frozenset(DiscrepancyKind) - {
    DiscrepancyKind.LATE_FILL,
    DiscrepancyKind.ORPHAN_EXECUTION,
    DiscrepancyKind.OVERCOUNTED,  # a closing word that is older than a late fill
    DiscrepancyKind.REOPENED,
}


class History:
    """One order as it truly went: its intent, its executions in order, and the venue's closing word if it closed."""

    def __init__(
        self,
        name: str,
        sizes: list[int],
        rest: int,
        closing: OrderStatus | None,
        *,
        with_cum: bool,
        same_ids: bool,
        late: bool,
    ) -> None:
        self.name = name
        self.quantity = Decimal(sum(sizes) + rest)
        self.closing = OrderStatus.FILLED if not rest else closing
        self.filled = Decimal(sum(sizes))
        self.cost = Decimal(sum(size * (100 + number) for number, size in enumerate(sizes)))
        self.messages: list[Message] = [
            self._report(OrderStatus.NEW, 0),
            (name, OrderEvent.SUBMIT),
            (name, OrderEvent.SUBMIT_UNKNOWN),
            (name, OrderEvent.NEVER_SENT),
        ]
        cum = 0
        for number, size in enumerate(sizes):
            cum += size
            stream = self._execution(f"{name}-{number}", size, cum, number, with_cum=with_cum, client_id=name)
            # Without a cumulative quantity only the id can tell that two messages are one execution.
            other_id = f"{name}-{number}" if same_ids or not with_cum else f"{name}-{number}-activity"
            activity = self._execution(other_id, size, cum, number, with_cum=with_cum, client_id=None)
            filled = cum == self.quantity
            self.messages += [
                stream,
                activity,
                self._report(OrderStatus.FILLED if filled else OrderStatus.PARTIALLY_FILLED, cum),
            ]
        if self.closing is not None:
            # A late fill is one that the closing word did not know of yet.
            self.messages.append(self._report(self.closing, cum - sizes[-1] if late and rest and sizes else cum))

    def intent(self) -> OrderIntent:
        """What we asked for."""
        return OrderIntent(
            client_order_id=self.name,
            symbol="SPY",
            side=OrderSide.BUY,
            quantity=self.quantity,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.DAY,
            created_at=1,
        )

    def _report(self, status: OrderStatus, filled: int) -> OrderReport:
        return OrderReport(
            broker_id=f"B-{self.name}",
            client_order_id=self.name,
            symbol="SPY",
            side=OrderSide.BUY,
            status=status,
            quantity=self.quantity,
            filled_qty=Decimal(filled),
        )

    def _execution(
        self, execution_id: str, size: int, cum: int, number: int, *, with_cum: bool, client_id: str | None
    ) -> Execution:
        return Execution(
            execution_id=execution_id,
            broker_id=f"B-{self.name}",
            client_order_id=client_id,
            symbol="SPY",
            side=OrderSide.BUY,
            quantity=Decimal(size),
            price=Decimal(100 + number),
            at=10 + number,
            cum_qty=Decimal(cum) if with_cum else None,
        )


@st.composite
def histories(draw: st.DrawFn, *, late: bool) -> list[History]:
    """One to three orders, with late fills or without."""
    closings = st.sampled_from([None, OrderStatus.CANCELED, OrderStatus.EXPIRED])
    return [
        History(
            name,
            draw(st.lists(st.integers(1, 5), min_size=0, max_size=4)) or [1] * draw(st.integers(0, 1)),
            draw(st.integers(0, 3)) or 0,
            draw(closings),
            with_cum=draw(st.booleans()),
            same_ids=draw(st.booleans()),
            late=late and draw(st.booleans()),
        )
        for name in "ABC"[: draw(st.integers(1, 3))]
    ]


@st.composite
def mangled(draw: st.DrawFn, *, late: bool = True) -> tuple[list[History], list[Message]]:
    """Histories, and their messages repeated and shuffled; each message arrives at least once."""
    true = [history for history in draw(histories(late=late)) if history.quantity]
    messages = [message for history in true for message in history.messages]
    repeated = draw(st.lists(st.sampled_from(messages), max_size=12)) if messages else []
    return true, draw(st.permutations(messages + repeated))


def apply_if_legal(tracker: OrderTracker, name: str, event: OrderEvent) -> None:
    """Our own triggers, as a caller gives them: where the table allows them."""
    order = tracker.get(name)
    if order is not None and event in TRANSITIONS[order.status]:
        tracker.apply(name, event, 20)


class Books:
    """What the tracker says was counted, kept outside of it."""

    def __init__(self, histories: list[History], tracker: OrderTracker) -> None:
        self.histories = histories
        self.tracker = tracker
        self.counted: dict[str, list[Execution]] = {history.name: [] for history in histories}
        self.discrepancies: set[DiscrepancyKind] = set()
        self.closed: dict[str, OrderStatus] = {}
        self.last_seen: dict[str, InFlightOrder] = {}
        for history in histories:
            tracker.track(history.intent())

    def deliver(self, message: Message) -> None:
        """Hand over one message and note what comes of it."""
        tracker = self.tracker
        if isinstance(message, Execution):
            order = tracker.apply_execution(message)
            if order is not None:
                self.counted[order.client_order_id].append(message)
        elif isinstance(message, OrderReport):
            tracker.apply_report(message, Source.STREAM, 20)
        else:
            apply_if_legal(tracker, *message)
        for order, execution in tracker.take_adopted():
            self.counted[order.client_order_id].append(execution)
        self.discrepancies |= {discrepancy.kind for discrepancy in tracker.take_discrepancies()}

    def check_always(self) -> None:
        """What must hold after every message."""
        tracker = self.tracker
        for order in tracker.orders():
            name = order.client_order_id
            self.last_seen[name] = order
            assert order.filled_quantity == sum(execution.quantity for execution in self.counted[name])
            assert order.status is self.closed.get(name, order.status), "a closed state is sticky"
            if order.status in VENUE_CLOSED:
                self.closed[name] = order.status
            assert order.is_open == (order in tracker.open_orders("SPY"))
            assert order.fills_missing == (order in tracker.orders_with_missing_fills())

    def check_finally(self) -> None:
        """What must hold once every message has arrived."""
        for history in self.histories:
            executions = self.counted[history.name]
            assert sum(execution.quantity for execution in executions) == history.filled
            assert sum(execution.quantity * execution.price for execution in executions) == history.cost
            order = self.last_seen[history.name]
            assert order.filled_quantity == history.filled
            assert order.average_price == (history.cost / history.filled if history.filled else None)
            assert history.closing in (None, order.status)
        assert not IMPOSSIBLE & self.discrepancies
        assert self.tracker.orders_with_missing_fills() == []
        assert self.tracker.orphan_executions() == []


def run(
    histories: list[History],
    messages: list[Message],
    *,
    tracker_class: type[OrderTracker] = OrderTracker,
    between: Callable[[OrderTracker], OrderTracker] = lambda tracker: tracker,
) -> None:
    """Deliver the messages and compare with what truly happened."""
    books = Books(histories, tracker_class())
    for message in messages:
        books.deliver(message)
        books.check_always()
        books.tracker = between(books.tracker)
    books.check_finally()


def written_and_read(tracker: OrderTracker) -> OrderTracker:
    """The tracker after a restart."""
    return OrderTracker.from_json(tracker.to_json())


def without_the_settled(tracker: OrderTracker) -> OrderTracker:
    """The tracker after it dropped all that it may drop."""
    tracker.forget_settled(10**18)
    return tracker


@given(mangled())
@settings(max_examples=200, deadline=None)
def test_any_order_and_repetition_of_the_messages_gives_the_same_books(
    case: tuple[list[History], list[Message]],
) -> None:
    """Each execution counted once, by whichever source it came first."""
    run(*case)


@given(mangled())
@settings(max_examples=60, deadline=None)
def test_a_restart_between_any_two_messages_changes_nothing(case: tuple[list[History], list[Message]]) -> None:
    """The written form is the whole state."""
    run(*case, between=written_and_read)


# Without late fills: a new execution of an order that was dropped is an orphan, and told, not counted.
@given(mangled(late=False))
@settings(max_examples=100, deadline=None)
def test_forgetting_settled_orders_counts_nothing_twice(case: tuple[list[History], list[Message]]) -> None:
    """Messages of an order that was dropped are recognised."""
    run(*case, between=without_the_settled)


@given(mangled())
@settings(max_examples=60, deadline=None)
def test_two_trackers_of_the_same_messages_write_the_same_bytes(case: tuple[list[History], list[Message]]) -> None:
    """The state is a function of the messages, and survives a restart half-way byte for byte."""
    true, messages = case

    def feed(tracker: OrderTracker, part: list[Message]) -> OrderTracker:
        for message in part:
            if isinstance(message, Execution):
                tracker.apply_execution(message)
            elif isinstance(message, OrderReport):
                tracker.apply_report(message, Source.STREAM, 20)
            else:
                apply_if_legal(tracker, *message)
        return tracker

    trackers = [OrderTracker(), OrderTracker()]
    for tracker in trackers:
        for history in true:
            tracker.track(history.intent())
    half = len(messages) // 2
    whole = feed(trackers[0], messages)
    resumed = feed(written_and_read(feed(trackers[1], messages[:half])), messages[half:])
    assert whole.to_json() == resumed.to_json()
    assert whole.get_stats() == resumed.get_stats()


# --- Canaries: trackers with one defence removed must be caught -----------------------------------------------------


class ForgetsIds(OrderTracker):
    """Counts an execution again when its id comes again."""

    def apply_execution(self, execution: Execution) -> InFlightOrder | None:
        """Count, having seen nothing."""
        self._seen.clear()
        return super().apply_execution(execution)


class IgnoresCumulative(OrderTracker):
    """Counts an execution again when it comes under a second id."""

    def _recognise(self, order: InFlightOrder, known: Execution, again: Execution) -> None:
        self._count(order, again)


class DropsOrphans(OrderTracker):
    """Forgets an execution whose order is not known yet."""

    def _keep_orphan(self, execution: Execution) -> None:
        self._seen[execution.execution_id] = None


class BelievesEveryWord(OrderTracker):
    """Assigns whatever status a report carries."""

    def apply_report(self, report: OrderReport, source: Source, at: int = 0) -> bool:
        """Apply it, then assign."""
        changed = super().apply_report(report, source, at)
        order = self.get(report.client_order_id)
        if order is not None and order.status is not report.status:
            self._move(order, report.status, at)
        return changed


@pytest.mark.parametrize("broken", [ForgetsIds, IgnoresCumulative, DropsOrphans, BelievesEveryWord])
def test_a_tracker_with_one_defence_removed_is_caught(broken: type[OrderTracker]) -> None:
    """The property has teeth: it fails for each of these."""

    @given(mangled())
    @settings(max_examples=500, deadline=None, database=None, print_blob=False, phases=[Phase.generate])
    def law(case: tuple[list[History], list[Message]]) -> None:
        run(*case, tracker_class=broken)

    with pytest.raises((AssertionError, KeyError)):
        law()
