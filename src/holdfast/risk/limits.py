"""How much is too much: the numbers of the pre-trade risk gate."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec

from holdfast.model import GuardMode
from holdfast.model.errors import ConfigurationError


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on opening orders. ``None`` is no limit. A value exactly at its limit is allowed.

    Attributes:
        max_order_notional: Worth of one order (USD).
        max_order_quantity: Shares or coins in one order.
        max_position_notional: Worth of one symbol's position with this order and all open ones (USD).
        max_gross_exposure: Worth of all positions and open orders with this one, longs and shorts added (USD).
        max_open_orders: Orders open at once, this one included.
        max_daily_loss: Loss of the day's equity at which nothing more is opened (USD); reaching it blocks.
        price_collar: How much worse than the last price a limit may be (0.05: a buy up to 5 % above, a sell down
            to 5 % below). A limit on the patient side is not bounded.
        max_data_age: How old the last price may be.
        modes: Mode by check name (see ``holdfast.risk.gate.CHECKS``); default: enforce. ``trading_state`` is always
            enforced.

    Raises:
        ConfigurationError: A limit is negative, or a mode names no check.
    """

    max_order_notional: Decimal | None = None
    max_order_quantity: Decimal | None = None
    max_position_notional: Decimal | None = None
    max_gross_exposure: Decimal | None = None
    max_open_orders: int | None = None
    max_daily_loss: Decimal | None = None
    price_collar: float | None = None
    max_data_age: timedelta | None = None
    modes: dict[str, GuardMode] = {}

    def __post_init__(self) -> None:
        """Refuse limits that make no sense, naming them."""
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if field == "modes" or value is None:
                continue
            kind = "a timedelta" if field == "max_data_age" else "a number"
            try:
                sensible = bool(value >= (timedelta(0) if field == "max_data_age" else 0))  # not so for a NaN
            except (ArithmeticError, TypeError):
                sensible = False
            if not sensible:
                message = f"{field} must be {kind} that is not negative, got {value!r}"
                raise ConfigurationError(message)
