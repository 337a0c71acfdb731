"""The written form of the tracker: everything that a snapshot must hold to behave the same afterwards.

Decimal is written as text, digit for digit, and lists keep their order, so that a tracker read back is the tracker
that was written, to the byte.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from holdfast.model.enums import OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.orders import Execution
from holdfast.state.discrepancies import Discrepancy
from holdfast.state.in_flight import InFlightOrder

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
    )
    for name in _LIFE:
        setattr(order, name, getattr(record, name))
    order.executions = list(record.executions)
    return order
