"""Orders that depend on each other: a bracket, an OCO, an OTO is one intent of ours, and several orders at the venue.

The exits that an intent brings are orders from the moment at which it is tracked, so that guards, exits and restarts
count them before the venue has said a word. Until then they share the fate of their intent. The venue gives them ids of
its own making, and tells which ones they are in its description of the whole order (``OrderReport.legs``):

    id here          what it is                                   its id at the venue is learned from
    ``<id>``         the intent; of an OCO, the take-profit       its client order id, as of any order
    ``<id>.tp``      the exit with a profit                       the leg of its type
    ``<id>.sl``      the exit with a loss                         the leg of its type
    ``<id>.sl.2``    one that the venue put in the place of       a leg whose place is taken by another one
                     an exit by its own decision

Of the exits of a group only one can trade in whole: they end each other. So together they count as one, the largest. That
one of them has ended is a reason to ask for the others, and no word on them: each is closed by the venue's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from holdfast.model.enums import OrderClass, OrderStatus, OrderType
from holdfast.model.orders import OrderReport
from holdfast.model.terms import STOP_LOSS, TAKE_PROFIT, OrderTerms, order_type_of
from holdfast.state.discrepancies import DiscrepancyKind
from holdfast.state.in_flight import InFlightOrder
from holdfast.state.order_machine import IN_FLIGHT, TRANSITIONS, VENUE_CLOSED, OrderEvent

_ZERO = Decimal(0)
_SUFFIXES = {TAKE_PROFIT: "tp", STOP_LOSS: "sl"}
# One exit that ended like this ends the others. Rejected is not among them: that may be a replacement of it.
_ENDS_OTHERS = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED})
_ENTRY_FAILED = VENUE_CLOSED - {OrderStatus.FILLED}


def role_of(order_type: str) -> str:
    """Which of the two exits an order of this type is."""
    return TAKE_PROFIT if order_type == OrderType.LIMIT else STOP_LOSS


def legs_of(order: InFlightOrder) -> Iterator[InFlightOrder]:
    """The exits that an order brings, as orders of their own."""
    terms = order.terms
    if terms is None or not terms.is_group:
        return
    is_oco = terms.order_class is OrderClass.OCO
    side = order.side if is_oco else order.side.opposite
    exits: list[tuple[str, Decimal | None, Decimal | None]] = []
    if terms.take_profit is not None and not is_oco:
        exits.append((TAKE_PROFIT, terms.take_profit, None))
    if terms.stop_loss is not None:
        exits.append((STOP_LOSS, terms.stop_loss_limit, terms.stop_loss))
    for role, limit_price, stop_price in exits:
        of_leg = OrderTerms(order_class=terms.order_class, stop_price=stop_price)
        leg = InFlightOrder(
            f"{order.client_order_id}.{_SUFFIXES[role]}",
            order.symbol,
            order.quantity,
            side,
            order_type_of(limit_price, of_leg),
            order.created_at,
            strategy_id=order.strategy_id,
            limit_price=limit_price,
            time_in_force=order.time_in_force,
            reduce_only=True,
            reason=role,
            terms=of_leg,
        )
        leg.parent, leg.status = order.client_order_id, order.status
        yield leg


def successor_of(leg: InFlightOrder, report: OrderReport, name: str) -> InFlightOrder:
    """The order that the venue put in the place of an exit by its own decision."""
    stop_price = None if report.terms is None else report.terms.stop_price
    terms = OrderTerms(
        order_class=OrderClass.SIMPLE if leg.terms is None else leg.terms.order_class, stop_price=stop_price
    )
    order = InFlightOrder(
        name,
        leg.symbol,
        report.quantity,
        leg.side,
        order_type_of(report.limit_price, terms),
        leg.created_at,
        strategy_id=leg.strategy_id,
        limit_price=report.limit_price,
        time_in_force=leg.time_in_force,
        reduce_only=True,
        reason=leg.reason,
        terms=terms,
    )
    order.parent, order.status = leg.parent, OrderStatus.SUBMITTED
    return order


class Groups:
    """The part of the tracker that knows which orders belong together. The lists are the tracker's own."""

    __slots__ = ()

    _orders: dict[str, InFlightOrder]
    # The exits of each group, by the id of its intent; of an OCO, whose intent is one of them, that one too.
    _exits: dict[str, list[InFlightOrder]]
    # Exits that the venue may have under ids that we do not know.
    _unnamed: dict[str, InFlightOrder]
    _by_broker_id: dict[str, InFlightOrder]

    if TYPE_CHECKING:
        # What the tracker itself does.
        def start_tracking(self, order: InFlightOrder) -> None: ...  # noqa: D102 - the tracker's
        def _adopt(self, order: InFlightOrder, broker_id: str) -> None: ...
        def _move(self, order: InFlightOrder, status: OrderStatus, at: int) -> None: ...
        def _note(self, kind: DiscrepancyKind, order: InFlightOrder, detail: str) -> None: ...
        def _unrefuse(self, order: InFlightOrder) -> None: ...

    def group_of(self, order: InFlightOrder) -> str:
        """The id of the intent that an order belongs to; empty where nothing depends on it, nor it on anything."""
        if order.parent is not None:
            return order.parent
        return order.client_order_id if order.client_order_id in self._exits else ""

    def exits_of(self, order: InFlightOrder) -> Sequence[InFlightOrder]:
        """All exits of an order's group, open or not."""
        return self._exits.get(self.group_of(order), ())

    def members_of(self, order: InFlightOrder) -> list[InFlightOrder]:
        """All orders of an order's group: the intent's own first; empty where there is no group."""
        group = self.group_of(order)
        if not group:
            return []
        first = self._orders.get(group)
        exits = self._exits[group]
        return exits if first is None or first in exits else [first, *exits]

    def is_exit(self, order: InFlightOrder) -> bool:
        """Whether it is one of the exits of a group."""
        return order in self.exits_of(order)

    def unnamed_legs(self, order: InFlightOrder) -> list[InFlightOrder]:
        """The open exits of its group whose ids at the venue are not known."""
        return [leg for leg in self.exits_of(order) if leg.client_order_id in self._unnamed and leg.is_open]

    def group_rest(self, order: InFlightOrder) -> Decimal:
        """What the open exits of a group may yet trade together: the largest of them, and no more than was entered."""
        exits = self.exits_of(order)
        rest = max((leg.remaining for leg in exits if leg.is_open), default=_ZERO)
        if not rest:
            return rest
        first = self._orders.get(self.group_of(order))
        if first is None:
            return rest
        entered = first.quantity if first in exits else max(first.reported_filled_qty, first.filled_quantity)
        left = sum((leg.filled_quantity for leg in exits), _ZERO)
        return min(rest, max(entered - left, _ZERO))

    def most_left(self, order: InFlightOrder) -> Decimal:
        """What an exit of a group may trade at most: its own rest, and no more than all of them have left.

        Unlike ``group_rest`` it takes the entry as filled in whole, which it may still be.
        """
        exits = self.exits_of(order)
        first = self._orders.get(self.group_of(order))
        if first is None:
            return order.remaining
        return min(order.remaining, first.quantity - sum((leg.filled_quantity for leg in exits), _ZERO))

    def speaks_for_group(self, order: InFlightOrder) -> bool:
        """Whether it is the first open exit of its group, which counts for all of them."""
        return next((leg for leg in self.exits_of(order) if leg.is_open), None) is order

    def is_dying(self, order: InFlightOrder) -> bool:
        """Whether an open exit ought to end by the venue's own rules, which is no word of the venue that it has.

        Another exit of the group is over, or the entry ended without a fill.
        """
        if not order.is_open:
            return False
        exits = self.exits_of(order)
        if order not in exits:
            return False
        if any(leg.status in _ENDS_OTHERS for leg in exits):
            return True
        first = self._orders.get(self.group_of(order))
        return first is not None and first not in exits and first.status in _ENTRY_FAILED and not first.filled_quantity

    def outlives_group(self, order: InFlightOrder) -> bool:
        """Whether an open exit has nothing left to leave: another exit has filled in whole, or nothing was entered.

        That another exit was cancelled is not enough: a venue cancels a take-profit when it strikes the stop.
        """
        if not self.is_dying(order):
            return False
        filled = any(leg.status is OrderStatus.FILLED for leg in self.exits_of(order))
        return filled or not any(leg.status in _ENDS_OTHERS for leg in self.exits_of(order))

    def awaited_leg(self, report: OrderReport) -> InFlightOrder | None:
        """The intent that an unknown order at the venue may be an exit of; ``None`` where it can be of none."""
        for leg in self._unnamed.values():
            if leg.parent is not None and not differs_from_leg(leg, report):
                return self._orders.get(leg.parent)
        return None

    def awaits_leg(self, symbol: str) -> bool:
        """Whether an exit in the symbol may be at the venue under an id that we do not know."""
        return any(leg.symbol == symbol and leg.is_open for leg in self._unnamed.values())

    # --- What the venue says of them ------------------------------------------------------------------------------

    def name_legs(self, order: InFlightOrder, told: Sequence[OrderReport]) -> None:
        """Learn which orders at the venue are the exits of an intent. What the venue says of each is a report of its own."""
        for report in told:
            if report.broker_id not in self._by_broker_id and report.client_order_id not in self._orders:
                self._name_leg(order, report)

    def close_unnamed(self, order: InFlightOrder, at: int) -> list[InFlightOrder]:
        """The venue described a whole intent that is over, without some of its exits: it has none such.

        Returns:
            The exits that are closed by that. Like all that is inferred, the venue's word on one reopens it.
        """
        gone = self.unnamed_legs(order) if order.status in VENUE_CLOSED else []
        for leg in gone:
            leg.evidence = (
                f"the venue's own description of order {order.client_order_id}, {order.status}, has no such leg"
            )
            self._move(leg, OrderStatus.NEVER_SENT, at)
        return gone

    def _name_leg(self, order: InFlightOrder, report: OrderReport) -> None:
        role = role_of(report.order_type)
        alike = [leg for leg in self.exits_of(order) if leg.reason == role and leg is not order]
        leg = next((leg for leg in alike if leg.client_order_id in self._unnamed), None)
        if leg is None and alike:
            group = self.group_of(order)
            leg = successor_of(alike[-1], report, f"{group}.{_SUFFIXES[role]}.{len(alike) + 1}")
            leg.replaces, alike[-1].replacement = alike[-1].client_order_id, leg.client_order_id
            self.start_tracking(leg)
        if leg is None:
            detail = f"the venue's {report.broker_id} is an exit of it that was never asked for"
            self._note(DiscrepancyKind.MISMATCH, order, detail)
            return
        difference = differs_from_leg(leg, report)
        if difference:
            self._note(DiscrepancyKind.MISMATCH, leg, f"the venue's {report.broker_id} is another order: {difference}")
            return
        self._unnamed.pop(leg.client_order_id, None)
        if leg.status is OrderStatus.REJECTED:
            self._unrefuse(leg)
        leg.quantity = min(leg.quantity, report.quantity)
        self._adopt(leg, report.broker_id)

    def _shrinks(self, order: InFlightOrder, report: OrderReport) -> bool:
        """Whether a report that differs in quantity is one of an exit that follows the fills of the other; it is cut.

        A larger quantity than the one known is older news.
        """
        if (report.side, report.symbol) != (order.side, order.symbol) or not self.is_exit(order):
            return False
        order.quantity = min(order.quantity, report.quantity)
        return True

    # --- What becomes of them together ----------------------------------------------------------------------------

    def _found_group(self, order: InFlightOrder) -> None:
        """Hold the exits that an intent brings, too."""
        legs = list(legs_of(order))
        if legs:
            self._open_group(order)
            for leg in legs:
                self.start_tracking(leg)

    def _open_group(self, order: InFlightOrder) -> None:
        terms = order.terms
        if terms is not None and (terms.take_profit is not None or terms.stop_loss is not None):
            self._exits[order.client_order_id] = [order] if terms.order_class is OrderClass.OCO else []

    def _join_group(self, order: InFlightOrder, group: str) -> None:
        """An order is an exit of a group, or takes the place of one."""
        self._exits.setdefault(group, []).append(order)
        if order.broker_id is None and order.replaces is None:
            self._unnamed[order.client_order_id] = order

    def _share_fate(self, order: InFlightOrder, event: OrderEvent, now: int, evidence: str) -> None:
        """What became of the request became of the exits in it, as long as the venue has not spoken of them."""
        for leg in self._exits[order.client_order_id]:
            target = TRANSITIONS[leg.status].get(event, leg.status)
            if target is leg.status or leg.client_order_id not in self._unnamed:
                continue
            leg.last_event_at, leg.evidence = now, evidence or leg.evidence
            self._move(leg, target, now)

    def _reopen_legs(self, order: InFlightOrder, at: int) -> None:
        """The venue has an order that we held to be refused or never sent: its exits may be there too."""
        for leg in self._exits.get(order.client_order_id, ()):
            if leg.client_order_id in self._unnamed and leg.status not in IN_FLIGHT:
                self._move(leg, OrderStatus.UNKNOWN, at)

    def _settled_together(self, settled: list[InFlightOrder]) -> list[InFlightOrder]:
        """Of settled orders those that can be forgotten: a group goes as a whole."""
        ids = {order.client_order_id: None for order in settled}
        return [order for order in settled if all(m.client_order_id in ids for m in self.members_of(order))]

    def _drop_from_group(self, order: InFlightOrder) -> None:
        self._unnamed.pop(order.client_order_id, None)
        self._exits.pop(order.client_order_id, None)
        if order.parent is not None:
            self._exits.pop(order.parent, None)


def differs_from_leg(leg: InFlightOrder, report: OrderReport) -> str:
    """What the venue's leg and the exit that we meant differ in, in words; empty where it is the one that we meant.

    The quantity is the venue's: it follows the fills of the other exit.
    """
    theirs = None if report.terms is None else report.terms.stop_price
    ours = None if leg.terms is None else leg.terms.stop_price
    pairs = (
        ("symbol", leg.symbol, report.symbol),
        ("side", leg.side, report.side),
        ("type", leg.order_type, report.order_type),
        ("limit price", leg.limit_price, report.limit_price),
        ("stop price", ours, theirs),
    )
    return ", ".join(f"{name} {there} instead of {here}" for name, here, there in pairs if here != there)


__all__ = ["Groups", "differs_from_leg", "legs_of", "role_of", "successor_of"]
