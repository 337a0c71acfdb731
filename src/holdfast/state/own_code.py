"""The tracker for users' own code: fills and updates in the form of plain values and dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from holdfast.model.enums import OrderSide, OrderStatus
from holdfast.model.errors import OrderError
from holdfast.model.orders import Execution
from holdfast.state.in_flight import FillEvent, InFlightOrder
from holdfast.state.order_updates import read_moment, read_update
from holdfast.state.written import Counts


class OwnCode:
    """The part of the tracker that takes them. The lists are the tracker's own."""

    __slots__ = ()

    _orders: dict[str, InFlightOrder]
    _seen: dict[str, None]
    _counts: Counts

    if TYPE_CHECKING:
        # What the tracker itself does.
        def apply_execution(self, execution: Execution) -> InFlightOrder | None: ...  # noqa: D102 - the tracker's
        def _adopt(self, order: InFlightOrder, broker_id: str) -> None: ...
        def _is_free(self, order: InFlightOrder, broker_id: str) -> bool: ...
        def _take_word(
            self, order: InFlightOrder, word: OrderStatus, filled_qty: Decimal, evidence: str, at: int, *, refused: bool
        ) -> bool: ...

    def process_fill(self, client_order_id: str, fill: FillEvent) -> bool:
        """Count a fill of an order. Returns whether it was counted: False if it was before, or the order is unknown.

        Raises:
            OrderError: A quantity or price is not positive, or the time is a naive datetime.
        """
        if fill.quantity <= 0 or fill.price <= 0:
            message = f"fill of {client_order_id!r}: expected a positive quantity and price, got {fill!r}"
            raise OrderError(message)
        order = self._orders.get(client_order_id)
        execution = Execution(
            execution_id=fill.execution_id or f"unnamed:{client_order_id}:{len(self._seen)}",
            broker_id=(order.broker_id if order is not None else None) or "",
            client_order_id=client_order_id,
            symbol=order.symbol if order is not None else "",
            side=order.side if order is not None else OrderSide.BUY,
            quantity=fill.quantity,
            price=fill.price,
            at=read_moment(fill.timestamp, "timestamp"),
        )
        counted = self.apply_execution(execution)
        if counted is None:
            return False
        counted.commission += fill.commission
        return True

    def process_order_update(self, client_order_id: str, update: Mapping[str, Any]) -> bool:
        """Take an update in the form of a dictionary; an unknown order is counted, and is no error.

        Args:
            client_order_id: Our id.
            update: Any of ``status`` (the venue's word, in any case), ``exchange_order_id`` (or ``broker_id``, ``id``),
                ``filled_qty`` (cumulative) and ``submitted_at`` (aware datetime, UTC ns or RFC 3339 text).

        Returns:
            Whether anything about the order changed.

        Raises:
            OrderError: A value cannot be read.
        """
        order = self._orders.get(client_order_id)
        if order is None:
            self._counts.foreign_reports += 1
            return False
        word, broker_id, filled_qty, submitted_at = read_update(update)
        changed = False
        if submitted_at is not None and order.submitted_at is None:
            order.submitted_at = submitted_at
            changed = True
        adopts = broker_id is not None and broker_id != order.broker_id
        refused = adopts and order.status is OrderStatus.REJECTED
        if broker_id is not None and adopts:
            if not self._is_free(order, broker_id):
                return changed
            self._adopt(order, broker_id)
        if word is None and not adopts:
            return changed
        known = order.reported_filled_qty if filled_qty is None else filled_qty
        at = submitted_at or 0
        moved = self._take_word(order, word or OrderStatus.UNKNOWN, known, "update", at, refused=refused)
        return moved or adopts or changed
