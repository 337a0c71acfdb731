"""Closed round trips."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from holdfast.model.enums import OrderSide
from holdfast.model.timestamps import to_datetime


class ClosedTrade(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One round trip, matched first in, first out.

    ``side`` is the side that opened it. ``profit`` is in the quote currency, after fees.
    """

    symbol: str
    side: OrderSide
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    opened_at: int
    closed_at: int
    profit: Decimal
    fees: Decimal = Decimal(0)
    exit_reason: str = ""

    @property
    def close_timestamp(self) -> datetime:
        """When it closed, UTC."""
        return to_datetime(self.closed_at)

    @property
    def profit_pct(self) -> Decimal:
        """Profit as a fraction of what the entry cost (0.01 is one percent)."""
        cost = self.entry_price * self.quantity
        return self.profit / cost if cost else Decimal(0)
