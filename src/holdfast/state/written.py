"""The written form of the tracker: everything that a snapshot must hold to behave the same afterwards.

Decimal is written as text, digit for digit, and lists keep their order, so that a tracker read back is the tracker
that was written, to the byte.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Self

import msgspec

from holdfast.model.enums import OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import DataError
from holdfast.model.orders import Execution
from holdfast.model.terms import OrderTerms
from holdfast.state.discrepancies import Discrepancy
from holdfast.state.groups import Groups
from holdfast.state.in_flight import InFlightOrder
from holdfast.state.order_machine import OPEN

_ZERO = Decimal(0)


class Counts(msgspec.Struct, kw_only=True):
    """What happened since the tracker began."""

    total_tracked: int = 0
    fills: int = 0
    duplicate_fills: int = 0
    late_fills: int = 0
    stale_reports: int = 0
    foreign_reports: int = 0


class Forgotten(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What must be remembered of an order that was dropped."""

    client_order_id: str
    broker_id: str | None
    filled_quantity: Decimal


class TrackerState(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    orders: list[OrderState]
    seen: list[str]
    orphans: list[Execution]
    forgotten: list[Forgotten]
    adopted: list[tuple[str, Execution]]
    discrepancies: list[Discrepancy]
    counts: Counts


class OrderState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order as it is written, field for field."""

    client_order_id: str
    symbol: str
    quantity: Decimal
    side: OrderSide
    order_type: OrderType
    created_at: int
    sequence: int
    status: OrderStatus
    last_event_at: int
    time_in_force: TimeInForce
    strategy_id: str | None = None
    limit_price: Decimal | None = None
    reduce_only: bool = False
    reason: str = ""
    broker_id: str | None = None
    executions: list[Execution] = []
    filled_quantity: Decimal = _ZERO
    reported_filled_qty: Decimal = _ZERO
    commission: Decimal = _ZERO
    cancel_requested: bool = False
    submitted_at: int | None = None
    closed_at: int | None = None
    evidence: str = ""
    replaces: str | None = None
    replacement: str | None = None
    terms: OrderTerms | None = None
    parent: str | None = None


# What the constructor does not take.
_LIFE = (
    "sequence",
    "status",
    "broker_id",
    "filled_quantity",
    "reported_filled_qty",
    "commission",
    "cancel_requested",
    "submitted_at",
    "closed_at",
    "last_event_at",
    "evidence",
    "replaces",
    "replacement",
    "parent",
)


def freeze(order: InFlightOrder) -> OrderState:
    """An order in its written form, which does not change with the order any more."""
    fields = {name: getattr(order, name) for name in OrderState.__struct_fields__}
    fields["executions"] = list(order.executions)
    return OrderState(**fields)


def thaw(record: OrderState) -> InFlightOrder:
    """The order that was written."""
    order = InFlightOrder(
        client_order_id=record.client_order_id,
        symbol=record.symbol,
        quantity=record.quantity,
        side=record.side,
        order_type=record.order_type,
        created_at=record.created_at,
        strategy_id=record.strategy_id,
        limit_price=record.limit_price,
        time_in_force=record.time_in_force,
        reduce_only=record.reduce_only,
        reason=record.reason,
        terms=record.terms,
    )
    for name in _LIFE:
        setattr(order, name, getattr(record, name))
    order.executions = list(record.executions)
    return order


class WrittenTracker(Groups):
    """The part of the tracker that can be written down and taken up again. The lists are the tracker's own."""

    __slots__ = ()

    adopted: list[tuple[InFlightOrder, Execution]]
    discrepancies: list[Discrepancy]
    open: dict[str, InFlightOrder]
    _open_by_symbol: dict[str, dict[str, InFlightOrder]]
    missing: dict[str, InFlightOrder]
    _seen: dict[str, None]
    _orphans: dict[str, Execution]
    _forgotten: dict[str, Forgotten]
    _forgotten_broker_ids: dict[str, Forgotten]
    _counts: Counts

    def to_json(self) -> bytes:
        """The whole tracker, exactly: ``from_json`` of it behaves the same in every respect."""
        return msgspec.json.encode(self.export_state())

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """The tracker that ``to_json`` wrote.

        Raises:
            DataError: The data is not a tracker's.
        """
        try:
            state = msgspec.json.decode(data, type=TrackerState)
        except msgspec.MsgspecError as error:
            message = f"not an order tracker's JSON: {error}"
            raise DataError(message) from None
        tracker = cls()
        tracker.import_state(state)
        return tracker

    def export_state(self) -> TrackerState:
        """The whole tracker in its written form, apart from the tracker itself."""
        return TrackerState(
            orders=[freeze(order) for order in self._orders.values()],
            seen=list(self._seen),
            orphans=list(self._orphans.values()),
            forgotten=list(self._forgotten.values()),
            adopted=[(order.client_order_id, execution) for order, execution in self.adopted],
            discrepancies=list(self.discrepancies),
            counts=msgspec.structs.replace(self._counts),
        )

    def import_state(self, state: TrackerState) -> None:
        """Become the tracker that was written, in place: whoever holds this one, and it must be new, sees that one."""
        for record in state.orders:
            order = thaw(record)
            self._orders[order.client_order_id] = order
            if order.broker_id is not None:
                self._by_broker_id[order.broker_id] = order
            if order.fills_missing:
                self.missing[order.client_order_id] = order
            if order.parent is not None:
                self._join_group(order, order.parent)
            elif order.terms is not None:
                self._open_group(order)
            if order.status in OPEN:
                self._enlist(order)
        self._seen.update(dict.fromkeys(state.seen))
        self._orphans.update({execution.execution_id: execution for execution in state.orphans})
        for forgotten in state.forgotten:
            self._bury(forgotten)
        self.adopted.extend((self._orders[client_order_id], execution) for client_order_id, execution in state.adopted)
        self.discrepancies.extend(state.discrepancies)
        for name in Counts.__struct_fields__:
            setattr(self._counts, name, getattr(state.counts, name))

    def _enlist(self, order: InFlightOrder) -> None:
        """Put an order, the newest so far, into the lists of open ones."""
        client_order_id = order.client_order_id
        self.open[client_order_id] = order
        of_symbol = self._open_by_symbol.get(order.symbol)
        if of_symbol is None:
            of_symbol = self._open_by_symbol[order.symbol] = {}
        of_symbol[client_order_id] = order

    def _bury(self, forgotten: Forgotten) -> None:
        """Keep what must be remembered of an order that is dropped."""
        self._forgotten[forgotten.client_order_id] = forgotten
        if forgotten.broker_id is not None:
            self._forgotten_broker_ids[forgotten.broker_id] = forgotten
