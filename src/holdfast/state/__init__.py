"""What we hold to be true: where each order is in its life, and what we own. Pure, synchronous, no I/O, no clock."""

from holdfast.state.order_machine import OrderEvent, OrderStateMachine
from holdfast.state.order_tracker import Discrepancy, DiscrepancyKind, FillEvent, InFlightOrder, OrderTracker
from holdfast.state.positions import Adjustment, Position, PositionStore

__all__ = [
    "Adjustment",
    "Discrepancy",
    "DiscrepancyKind",
    "FillEvent",
    "InFlightOrder",
    "OrderEvent",
    "OrderStateMachine",
    "OrderTracker",
    "Position",
    "PositionStore",
]
