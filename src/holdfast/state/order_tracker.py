"""Every order of ours, from intent to its last fill, held together from two unreliable sources.

The problem: the stream is fast and loses messages; REST is true and late; both repeat themselves, in any order, and
they do not always give one execution the same id. What is counted twice is a position that nobody has; what is
forgotten is a position that nobody watches.

The answers, one place each:

* **Executions are the books.** ``filled_quantity`` is the sum of the executions counted, nothing else. An execution
  is the same one if its id was seen, or if its order already has an execution that ends at the same cumulative
  quantity: executions tile an order's filled quantity, so the end of the tile names it whatever the source calls it.
* **Reports are the status and the cross-check.** The venue's cumulative quantity raises ``reported_filled_qty``;
  while that exceeds the sum, fills are missing and the order is not settled, closed or not.
* **Nothing is dropped in silence.** What does not fit (a second venue order under one intent, an execution of an order
  that is not ours, a reopened inference) is a ``Discrepancy``, which the caller drains and turns into an alert.

An execution may know its order only by the venue's id while we do not know that id yet (activities carry no client
order id). It is kept as an orphan, and counted when the id is adopted: see ``take_adopted``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, TypeVar

import msgspec

from holdfast.model.enums import OrderSide, OrderStatus, OrderType, Source
from holdfast.model.errors import DuplicateOrderError, OrderError
from holdfast.model.orders import Execution, OrderIntent, OrderReport
from holdfast.state.discrepancies import Discrepancy, DiscrepancyKind
from holdfast.state.identity import are_two, difference, is_meant
from holdfast.state.in_flight import FillEvent, InFlightOrder
from holdfast.state.order_machine import (
    CLOSED,
    INFERRED_CLOSED,
    OPEN,
    TRANSITIONS,
    VENUE_CLOSED,
    VENUE_OPEN,
    OrderEvent,
    apply_venue,
    next_status,
)
from holdfast.state.order_updates import client_order_id_of
from holdfast.state.own_code import OwnCode
from holdfast.state.written import Counts, Forgotten, WrittenTracker

__all__ = [
    "Discrepancy",
    "DiscrepancyKind",
    "FillEvent",
    "InFlightOrder",
    "OrderSide",
    "OrderTracker",
    "OrderType",
]

_T = TypeVar("_T")
# Bound once: an enum look-up costs as much as a call, and these are on every order's path.
_NEW = OrderStatus.NEW
_EXECUTION, _LAST_EXECUTION = OrderEvent.EXECUTION, OrderEvent.LAST_EXECUTION
_AFTER_SUBMIT = next_status(OrderStatus.CREATED, OrderEvent.SUBMIT)


class OrderTracker(WrittenTracker, OwnCode):
    """All orders of ours, and what is known of them.

    Attributes:
        open: Orders that are not closed, by client order id, in the order of their creation. Read only.
        missing: Orders of which the venue has told more than we counted, by client order id. Read only.
        discrepancies: What did not fit since ``take_discrepancies`` was called; look at it after every call.
        adopted: Executions that were orphans until their order's venue id became known, counted since
            ``take_adopted`` was called. They concern positions as much as those that ``apply_execution`` counts.
    """

    __slots__ = (
        "_by_broker_id",
        "_counts",
        "_exits",
        "_forgotten",
        "_forgotten_broker_ids",
        "_open_by_symbol",
        "_orders",
        "_orphans",
        "_seen",
        "_unnamed",
        "adopted",
        "discrepancies",
        "missing",
        "open",
    )

    def __init__(self) -> None:
        self._orders: dict[str, InFlightOrder] = {}
        self._by_broker_id: dict[str, InFlightOrder] = {}
        # Open orders, twice, in the order of their creation, so that asking costs what is open and not what ever was.
        self.open: dict[str, InFlightOrder] = {}
        self._open_by_symbol: dict[str, dict[str, InFlightOrder]] = {}
        self.missing: dict[str, InFlightOrder] = {}
        self._exits: dict[str, list[InFlightOrder]] = {}
        self._unnamed: dict[str, InFlightOrder] = {}
        # Ids of all executions ever, counted or orphaned. A dict, because a set has no order to write down.
        self._seen: dict[str, None] = {}
        self._orphans: dict[str, Execution] = {}
        self._forgotten: dict[str, Forgotten] = {}
        self._forgotten_broker_ids: dict[str, Forgotten] = {}
        self.adopted: list[tuple[InFlightOrder, Execution]] = []
        self.discrepancies: list[Discrepancy] = []
        self._counts = Counts()

    # --- Orders of ours -------------------------------------------------------------------------------------------

    def start_tracking(self, order: InFlightOrder) -> None:
        """Hold an order from now on, and with it the exits that it brings.

        Raises:
            DuplicateOrderError: The client order id was used before, be it long ago.
        """
        client_order_id = order.client_order_id
        if client_order_id in self._orders or client_order_id in self._forgotten:
            message = f"the client order id {client_order_id!r} was used before; an id names one order, forever"
            raise DuplicateOrderError(message)
        counts = self._counts
        order.sequence = counts.total_tracked = counts.total_tracked + 1
        self._orders[client_order_id] = order
        if order.broker_id is not None:
            self._by_broker_id[order.broker_id] = order
        if order.status in OPEN:
            self._enlist(order)
        if order.terms is not None:
            if order.parent is not None:
                self._join_group(order, order.parent)
            else:
                self._found_group(order)

    def track(self, intent: OrderIntent) -> InFlightOrder:
        """Hold the order that an intent asks for; it is CREATED.

        Raises:
            DuplicateOrderError: The client order id was used before.
        """
        order = InFlightOrder.from_intent(intent)
        self.start_tracking(order)
        return order

    def track_submitted(self, intent: OrderIntent) -> InFlightOrder:
        """Hold the order that an intent asks for, which is handed over for sending in the same breath; it is SUBMITTED.

        Raises:
            DuplicateOrderError: The client order id was used before.
        """
        order = InFlightOrder.from_intent(intent)
        order.status = _AFTER_SUBMIT
        if intent.replaces:
            order.replaces = intent.replaces
            old = self._orders.get(intent.replaces)
            if old is not None:
                order.parent = self.group_of(old) or None
                self.start_tracking(order)
                old.replacement = intent.client_order_id
                return order
        self.start_tracking(order)
        return order

    def apply(self, client_order_id: str, event: OrderEvent, now: int, evidence: str = "") -> bool:
        """Take one of our own triggers at ``now`` (UTC ns). Returns whether the status changed.

        Raises:
            OrderError: No such order is tracked.
            IllegalTransitionError: The trigger cannot happen in this status.
        """
        order = self._orders.get(client_order_id)
        if order is None:
            message = f"no order with the client order id {client_order_id!r} is tracked"
            raise OrderError(message)
        status = order.status
        target = next_status(status, event)
        if target is status:
            return False
        order.last_event_at = now
        if evidence:
            order.evidence = evidence
        self._move(order, target, now)
        if client_order_id in self._exits:
            self._share_fate(order, event, now, evidence)
        return True

    def get(self, client_order_id: str) -> InFlightOrder | None:
        """The order with this client order id."""
        return self._orders.get(client_order_id)

    def by_broker_id(self, broker_id: str) -> InFlightOrder | None:
        """The order with this id at the venue."""
        return self._by_broker_id.get(broker_id)

    def in_place_of(self, order: InFlightOrder) -> InFlightOrder | None:
        """The order whose place this one was asked to take, while both are open: only one of them can trade in whole."""
        return None if order.replaces is None else self.open.get(order.replaces)

    # --- What the venue says --------------------------------------------------------------------------------------

    def apply_execution(self, execution: Execution) -> InFlightOrder | None:
        """Count an execution, once and forever.

        It is found by its client order id or else by the venue's. It counts also after the order closed. One whose
        order is unknown here is kept as an orphan, and counted if that order's venue id is adopted later.

        Returns:
            The order where the execution was counted; ``None`` where it was counted before, or is an orphan.
        """
        if execution.execution_id in self._seen:
            self._take_again(execution)
            return None
        order = self._orders.get(execution.client_order_id or "")
        if order is None:
            order = self._by_broker_id.get(execution.broker_id)
            if order is None:
                self._keep_orphan(execution)
                return None
        fits = (
            execution.broker_id == order.broker_id and execution.side is order.side and execution.symbol == order.symbol
        )
        if not fits and not self._belongs(order, execution):
            self._keep_orphan(execution)
            return None
        # First the venue's id: an orphan that waited for it may be this very execution, under its other id.
        if order.broker_id is None and execution.broker_id:
            if order.status is OrderStatus.REJECTED:
                self._unrefuse(order)
            self._adopt(order, execution.broker_id)
        cum_qty = execution.cum_qty
        if cum_qty is not None:
            for known in order.executions:
                if known.cum_qty == cum_qty and not are_two(order, known, execution, cum_qty):
                    self._recognise(order, known, execution)
                    return None
        self._count(order, execution)
        return order

    def accept(self, client_order_id: str, broker_id: str, at: int) -> InFlightOrder | None:
        """Take a venue's word that it has an order exactly as we meant it, since ``at`` (UTC ns).

        Returns:
            The order where that is news; ``None`` where its venue id is known already, or it is not ours.
        """
        order = self._orders.get(client_order_id)
        if order is None or order.broker_id is not None:
            return None
        if self._orphans:
            self._adopt(order, broker_id)
        else:
            order.broker_id = broker_id
            self._by_broker_id[broker_id] = order
        order.submitted_at = at
        if at > order.last_event_at:  # noqa: PLR1730 - on every order; max() costs three times as much
            order.last_event_at = at
        if order.status is _AFTER_SUBMIT:
            order.status, order.evidence = _NEW, "accepted"  # from open to open: no list changes
        else:
            target = apply_venue(order.status, _NEW)
            if target is not order.status:
                order.evidence = "accepted"
                self._move(order, target, at)
        return order

    def apply_report(self, report: OrderReport, source: Source, at: int = 0) -> bool:
        """Take the venue's description of an order, learned at ``at`` (UTC ns).

        The first report of an order brings its venue id, which is adopted only if symbol, side, quantity, type,
        prices and time in force are those that we meant; its legs are named by it, and each of them is a report of
        its own. The status follows ``order_machine.apply_venue``;
        the filled quantity is a cross-check and never a fill. A report of an order that is not ours is counted.

        Returns:
            Whether anything about the order changed. What does not fit lands in ``discrepancies``.
        """
        order = self._orders.get(report.client_order_id)
        if order is None:
            order = self._by_broker_id.get(report.broker_id)
            if order is None:
                self._counts.foreign_reports += 1
                return False
        adopts = order.broker_id != report.broker_id
        refused = False
        if adopts:
            if not self._fits(order, report):
                return False
            refused = order.status is OrderStatus.REJECTED
            self._adopt(order, report.broker_id)
        elif (
            report.quantity != order.quantity or report.side is not order.side or report.symbol != order.symbol
        ) and not self._shrinks(order, report):
            self._note(DiscrepancyKind.MISMATCH, order, f"the venue's order changed: {difference(order, report)}")
            return False
        if report.legs:
            self.name_legs(order, report.legs)
        changed = self._take_word(order, report.status, report.filled_qty, source, at, refused=refused)
        if order.submitted_at is None and report.submitted_at is not None:
            order.submitted_at = report.submitted_at
            return True
        return changed or adopts

    # --- Questions ------------------------------------------------------------------------------------------------

    def open_orders(self, symbol: str | None = None) -> list[InFlightOrder]:
        """Orders that are not closed, oldest first; of one symbol, or of all."""
        if symbol is None:
            return list(self.open.values())
        orders = self._open_by_symbol.get(symbol)
        return list(orders.values()) if orders else []

    def has_open(self, symbol: str) -> bool:
        """Whether an order of the symbol is open."""
        return bool(self._open_by_symbol.get(symbol))

    def orders(self) -> list[InFlightOrder]:
        """All orders that are held, oldest first."""
        return list(self._orders.values())

    def latest_orders(self, count: int) -> list[InFlightOrder]:
        """The last orders that were made, oldest first, at the cost of what is asked for."""
        return list(islice(reversed(self._orders.values()), count))[::-1]

    def unknown_orders(self) -> list[InFlightOrder]:
        """Orders whose submit has no verdict, oldest first."""
        return [order for order in self.open.values() if order.status is OrderStatus.UNKNOWN]

    def orders_with_missing_fills(self) -> list[InFlightOrder]:
        """Orders of which the venue has told more than we counted, open or closed, oldest first."""
        return sorted(self.missing.values(), key=_sequence)

    def unsettled(self) -> list[InFlightOrder]:
        """Orders about which anything is open: status, outcome or fills. Oldest first."""
        return sorted({**self.open, **self.missing}.values(), key=_sequence)

    def orphan_executions(self) -> list[Execution]:
        """Executions of orders that are unknown here, in the order in which they came."""
        return list(self._orphans.values())

    def is_orphan(self, execution_id: str) -> bool:
        """Whether an execution is kept that belongs to no order known here."""
        return execution_id in self._orphans

    def get_orphaned_orders(self, broker_orders: Mapping[str, _T]) -> dict[str, _T]:
        """Orders that are at the broker and unknown here, by the broker's id.

        An order is known by its broker id or, since our own in-flight order has none yet, by its client order id.

        Args:
            broker_orders: The broker's orders by its ids; each a dictionary, an OrderReport or any object with a
                ``client_order_id``.
        """
        return {
            broker_id: order
            for broker_id, order in broker_orders.items()
            if broker_id not in self._by_broker_id
            and broker_id not in self._forgotten_broker_ids
            and not self._is_ours(client_order_id_of(order))
        }

    def get_shadow_orders(self, broker_orders: Mapping[str, Any]) -> dict[str, InFlightOrder]:
        """Orders that are open here and absent at the broker, by client order id, oldest first.

        Only those that the venue is known to have had: one still in flight or unknown may arrive yet.

        Args:
            broker_orders: The broker's open orders by its ids, as for ``get_orphaned_orders``.
        """
        there = {client_order_id_of(order): None for order in broker_orders.values()}
        return {
            client_order_id: order
            for client_order_id, order in self.open.items()
            if order.status in VENUE_OPEN and order.broker_id not in broker_orders and client_order_id not in there
        }

    def get_stats(self) -> dict[str, Any]:
        """Counts since the beginning, and counts of what is held by status (only statuses that occur)."""
        by_status = Counter(order.status.value for order in self._orders.values())
        return {
            **msgspec.structs.asdict(self._counts),
            "held": len(self._orders),
            "open": len(self.open),
            "unknown": by_status[OrderStatus.UNKNOWN.value],
            "fills_missing": len(self.missing),
            "orphan_executions": len(self._orphans),
            "by_status": {status.value: by_status[status.value] for status in OrderStatus if by_status[status.value]},
        }

    def take_discrepancies(self) -> list[Discrepancy]:
        """What did not fit since the last call."""
        taken, self.discrepancies = self.discrepancies, []
        return taken

    def take_adopted(self) -> list[tuple[InFlightOrder, Execution]]:
        """Former orphan executions that were counted since the last call, with their orders."""
        taken, self.adopted = self.adopted, []
        return taken

    # --- Memory ---------------------------------------------------------------------------------------------------

    def forget_settled(self, before_ns: int) -> int:
        """Drop orders that the venue closed, all fills counted, before a moment (UTC ns). Returns how many.

        Their ids and execution ids stay: an old message is still recognised, and no id is used twice. An order that
        we only inferred to be closed is never dropped.
        """
        settled = [
            order
            for order in self._orders.values()
            if order.status in VENUE_CLOSED
            and order.client_order_id not in self.missing
            and order.last_event_at < before_ns
            and (order.closed_at or 0) < before_ns
        ]
        settled = self._settled_together(settled) if self._exits else settled
        for order in settled:
            del self._orders[order.client_order_id]
            if order.terms is not None:
                self._drop_from_group(order)
            if order.broker_id is not None:
                del self._by_broker_id[order.broker_id]
            self._bury(
                Forgotten(
                    client_order_id=order.client_order_id,
                    broker_id=order.broker_id,
                    filled_quantity=order.filled_quantity,
                )
            )
        return len(settled)

    # --- The mechanism --------------------------------------------------------------------------------------------

    def _count(self, order: InFlightOrder, execution: Execution) -> None:
        """Add an execution that is known to be new to its order."""
        self._seen[execution.execution_id] = None
        self._counts.fills += 1
        order.executions.append(execution)
        filled = order.filled_quantity = order.filled_quantity + execution.quantity
        status = order.status
        known = order.reported_filled_qty
        if status in CLOSED or filled > order.quantity:
            self._note_excess(order, execution, known)
        cum_qty = execution.cum_qty
        if cum_qty is None or cum_qty < filled:
            cum_qty = filled
        if cum_qty > known:
            order.reported_filled_qty = known = cum_qty
        if execution.at > order.last_event_at:  # noqa: PLR1730 - on every execution; max() costs three times as much
            order.last_event_at = execution.at
        target = TRANSITIONS[status][_LAST_EXECUTION if known >= order.quantity else _EXECUTION]
        if target is not status:
            order.evidence = "execution"
            self._move(order, target, order.last_event_at)
        if known > filled:
            self.missing[order.client_order_id] = order
        elif self.missing:
            self.missing.pop(order.client_order_id, None)

    def _take_word(
        self, order: InFlightOrder, word: OrderStatus, filled_qty: Decimal, evidence: str, at: int, *, refused: bool
    ) -> bool:
        """Apply the venue's status and cumulative quantity to an order that is surely the one meant."""
        if refused and word is not OrderStatus.REJECTED:
            self._unrefuse(order)
        status = order.status
        known = order.reported_filled_qty
        if word is OrderStatus.FILLED and filled_qty < order.quantity:
            filled_qty = order.quantity
        lowers = filled_qty < known
        raised = filled_qty > known
        if raised:
            order.reported_filled_qty = filled_qty
            self.missing[order.client_order_id] = order
        if at > order.last_event_at:  # noqa: PLR1730 - on every report; max() costs three times as much
            order.last_event_at = at
        if word in VENUE_CLOSED and filled_qty < order.filled_quantity:
            detail = f"the venue's final {filled_qty} is below the executions' sum {order.filled_quantity}"
            self._note(DiscrepancyKind.OVERCOUNTED, order, detail)
        if word is status:
            return raised
        target = apply_venue(status, word, lowers_filled=lowers)
        if target is not status:
            order.evidence = evidence
            self._move(order, target, order.last_event_at)
            return True
        self._counts.stale_reports += 1
        if status in VENUE_CLOSED and (refused or word in VENUE_CLOSED):
            # Old news is everyday; two closing words, or an order that the venue had refused, is not.
            self._note(DiscrepancyKind.CONTRADICTION, order, f"closed as {status.value}, now said to be {word.value}")
        return raised

    def _move(self, order: InFlightOrder, status: OrderStatus, at: int) -> None:
        """Change the status, and with it the lists that the order is in."""
        was = order.status
        order.status = status
        if was in INFERRED_CLOSED:
            self._note(DiscrepancyKind.REOPENED, order, f"held to be {was.value}, now {status.value}")
            if self._exits:
                self._reopen_legs(order, at)
        if status in CLOSED:
            order.closed_at = at
            if was in OPEN:
                client_order_id = order.client_order_id
                del self.open[client_order_id]
                del self._open_by_symbol[order.symbol][client_order_id]
        elif was in CLOSED:
            order.closed_at = None
            self._relist()

    def _relist(self) -> None:
        """Make the lists of open orders anew, so that a reopened one stands where it was created. Rare."""
        self.open.clear()
        self._open_by_symbol.clear()
        for order in self._orders.values():
            if order.status in OPEN:
                self._enlist(order)

    def _adopt(self, order: InFlightOrder, broker_id: str) -> None:
        """Learn the venue's id of an order, and count what waited for it."""
        order.broker_id = broker_id
        self._by_broker_id[broker_id] = order
        if self._orphans:
            for execution in [orphan for orphan in self._orphans.values() if orphan.broker_id == broker_id]:
                del self._orphans[execution.execution_id]
                del self._seen[execution.execution_id]
                if self.apply_execution(execution) is not None:
                    self.adopted.append((order, execution))

    def _is_free(self, order: InFlightOrder, broker_id: str) -> bool:
        """Whether a venue id may become this order's; if not, it is noted."""
        if order.broker_id is not None:
            detail = f"known there as {order.broker_id}, now also as {broker_id}"
            self._note(DiscrepancyKind.SECOND_ORDER, order, detail)
            return False
        other = self._by_broker_id.get(broker_id)
        if other is not None:
            self._note(DiscrepancyKind.MISMATCH, order, f"the venue's {broker_id} is {other.client_order_id} already")
            return False
        return True

    def _fits(self, order: InFlightOrder, report: OrderReport) -> bool:
        """Whether a report that brings a venue id is one of the order that we meant; if not, it is noted."""
        if not self._is_free(order, report.broker_id):
            return False
        if is_meant(order, report):
            return True
        if self._shrinks(order, report) and is_meant(order, msgspec.structs.replace(report, quantity=order.quantity)):
            return True
        detail = f"the venue's {report.broker_id} is another order: {difference(order, report)}"
        self._note(DiscrepancyKind.MISMATCH, order, detail)
        return False

    def _belongs(self, order: InFlightOrder, execution: Execution) -> bool:
        """Whether an execution is one of this order; if not, it is noted."""
        if execution.symbol != order.symbol or execution.side is not order.side:
            detail = f"execution {execution.execution_id} is a {execution.side.value} of {execution.symbol}"
            self._note(DiscrepancyKind.MISMATCH, order, detail)
            return False
        broker_id = execution.broker_id
        return not broker_id or broker_id == order.broker_id or self._is_free(order, broker_id)

    def _take_again(self, execution: Execution) -> None:
        """An id that was seen: nothing new, unless it was an orphan and now comes with its order's name."""
        self._counts.duplicate_fills += 1
        if execution.execution_id in self._orphans:
            order = self._orders.get(execution.client_order_id or "")
            if order is not None and order.broker_id is None and self._belongs(order, execution):
                self._adopt(order, execution.broker_id)

    def _recognise(self, order: InFlightOrder, known: Execution, again: Execution) -> None:
        """Remember the second id of an execution that was counted under another."""
        self._seen[again.execution_id] = None
        self._counts.duplicate_fills += 1
        if again.quantity != known.quantity or again.price != known.price:
            detail = (
                f"{known.execution_id} ({known.quantity} at {known.price}) and {again.execution_id} "
                f"({again.quantity} at {again.price}) both end at {again.cum_qty}"
            )
            self._note(DiscrepancyKind.CONFLICTING_EXECUTION, order, detail)

    def _keep_orphan(self, execution: Execution) -> None:
        """Keep an execution that belongs to no order known here; recognise those of orders long settled."""
        self._seen[execution.execution_id] = None
        forgotten = self._forgotten.get(execution.client_order_id or "")
        forgotten = forgotten or self._forgotten_broker_ids.get(execution.broker_id)
        if forgotten is not None and execution.cum_qty is not None and execution.cum_qty <= forgotten.filled_quantity:
            self._counts.duplicate_fills += 1
            return
        self._orphans[execution.execution_id] = execution
        if self._unnamed and self.awaits_leg(execution.symbol):
            return  # perhaps that of an exit whose name is not known yet; the comparison of the books will tell
        detail = (
            f"execution {execution.execution_id} of the venue's order {execution.broker_id}: "
            f"{execution.side.value} {execution.quantity} {execution.symbol} at {execution.price}"
        )
        self.discrepancies.append(
            Discrepancy(
                kind=DiscrepancyKind.ORPHAN_EXECUTION, client_order_id=execution.client_order_id or "", detail=detail
            )
        )

    def _unrefuse(self, order: InFlightOrder) -> None:
        """An error answer refused the submit, and the venue has the order all the same: it is open until it says more.

        Rejected without a venue id means refused: the venue's own word would have brought the id.
        """
        self._note(DiscrepancyKind.REOPENED, order, "an error answer had refused it, and the venue has it")
        self._move(order, OrderStatus.UNKNOWN, order.last_event_at)
        if self._exits:
            self._reopen_legs(order, order.last_event_at)

    def _note_excess(self, order: InFlightOrder, execution: Execution, known: Decimal) -> None:
        """Note an execution beyond what the venue's closing word said, or beyond what was ordered."""
        filled = order.filled_quantity
        if order.status in VENUE_CLOSED and filled > known:
            self._counts.late_fills += 1
            detail = f"{order.status.value}, then {execution.quantity} at {execution.price} ({execution.execution_id})"
            self._note(DiscrepancyKind.LATE_FILL, order, detail)
        if filled > order.quantity:
            self._note(DiscrepancyKind.OVERFILL, order, f"{filled} executed of {order.quantity} ordered")

    def _note(self, kind: DiscrepancyKind, order: InFlightOrder, detail: str) -> None:
        self.discrepancies.append(Discrepancy(kind=kind, client_order_id=order.client_order_id, detail=detail))

    def _is_ours(self, client_order_id: str | None) -> bool:
        return client_order_id in self._orders or client_order_id in self._forgotten


def _sequence(order: InFlightOrder) -> int:
    return order.sequence
