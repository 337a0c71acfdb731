"""Makers of orders, reports and executions for the tests of this folder."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from holdfast.model import Execution, OrderIntent, OrderReport, OrderSide, OrderStatus, OrderType, TimeInForce


class Make:
    """Orders A, B, ... of 10 SPY at the market, and what a venue says of them (B-A, B-B, ...)."""

    def intent(self, name: str = "A", **changes: Any) -> OrderIntent:
        """An intent with the client order id ``name``."""
        fields: dict[str, Any] = {
            "client_order_id": name,
            "symbol": "SPY",
            "side": OrderSide.BUY,
            "quantity": Decimal(10),
            "order_type": OrderType.MARKET,
            "time_in_force": TimeInForce.DAY,
            "created_at": 1,
        }
        return OrderIntent(**fields | changes)

    def report(self, status: OrderStatus, filled: int | str = 0, name: str = "A", **changes: Any) -> OrderReport:
        """The venue's description of the order ``name``."""
        fields: dict[str, Any] = {
            "broker_id": f"B-{name}",
            "client_order_id": name,
            "symbol": "SPY",
            "side": OrderSide.BUY,
            "status": status,
            "quantity": Decimal(10),
            "filled_qty": Decimal(filled),
        }
        return OrderReport(**fields | changes)

    def execution(
        self, execution_id: str, quantity: int | str, cum: int | str | None = None, **changes: Any
    ) -> Execution:
        """An execution of the order A."""
        fields: dict[str, Any] = {
            "execution_id": execution_id,
            "broker_id": "B-A",
            "client_order_id": "A",
            "symbol": "SPY",
            "side": OrderSide.BUY,
            "quantity": Decimal(quantity),
            "price": Decimal(100),
            "at": 10,
            "cum_qty": None if cum is None else Decimal(cum),
        }
        return Execution(**fields | changes)


@pytest.fixture
def make() -> Make:
    """The makers."""
    return Make()
