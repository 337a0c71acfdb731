"""Orders with terms for the engine's tests: stops, trailing stops, and groups; all of SPY, ten shares."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from holdfast.model import OrderSide, OrderType, TimeInForce
from holdfast.model.enums import OrderClass
from holdfast.venue.matching.orders import Exits, NewOrder, Terms
from tests.venue.engine_bench import DAY_ORDER, SELL, order


def with_terms(new: NewOrder, order_type: OrderType | None = None, **terms: Any) -> NewOrder:
    """An order with terms; prices may be texts."""
    return msgspec.structs.replace(new, order_type=order_type or new.order_type, terms=msgspec.convert(terms, Terms))


def stop(side: OrderSide, at: str, limit: str | None = None, quantity: str = "10", **more: Any) -> NewOrder:
    """A stop, or with a limit a stop-limit."""
    kind = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
    return with_terms(order(side=side, limit=limit, quantity=quantity), kind, stop_price=at, **more)


def trailing(side: OrderSide, *, price: str | None = None, percent: str | None = None) -> NewOrder:
    """A trailing stop."""
    terms = {"trail_price": price} if price is not None else {"trail_percent": percent}
    return with_terms(order(side=side), OrderType.TRAILING_STOP, **terms)


def bracket(
    limit: str | None = "100",
    take_profit: str = "110",
    stop_loss: str = "95",
    stop_limit: str | None = None,
    time_in_force: TimeInForce = DAY_ORDER,
) -> NewOrder:
    """A buy of ten with both exits."""
    exits = Exits(Decimal(take_profit), Decimal(stop_loss), None if stop_limit is None else Decimal(stop_limit))
    return with_terms(order(limit=limit, time_in_force=time_in_force), order_class=OrderClass.BRACKET, exits=exits)


def oco(take_profit: str = "110", stop_loss: str = "95", quantity: str = "10") -> NewOrder:
    """Both exits of a long position."""
    exits = Exits(Decimal(take_profit), Decimal(stop_loss))
    return with_terms(order(side=SELL, quantity=quantity), OrderType.LIMIT, order_class=OrderClass.OCO, exits=exits)
