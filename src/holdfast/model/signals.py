"""What a strategy asks for, and what it is told."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from holdfast.model.enums import OrderSide, OrderType, Stage, TimeInForce
from holdfast.model.errors import ConfigurationError

_KNOWN_KEYS = frozenset(
    {
        "symbol",
        "side",
        "quantity",
        "qty",
        "price",
        "limit_price",
        "order_type",
        "time_in_force",
        "strategy_id",
        "reason",
        "reduce_only",
    }
)


class Signal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A wish to trade, before any guard has seen it.

    Attributes:
        symbol: What to trade.
        side: Buy or sell.
        quantity: Shares or coins, positive.
        price: The limit price; ``None`` makes a market order.
        time_in_force: ``None`` takes the asset class's default (day for equities, gtc for crypto).
        reduce_only: True for an exit: it may only make the position smaller, and is never blocked by a protection.
        strategy_id: Who asks.
        reason: Why, in the strategy's words; kept with the order (an exit's ``stop_loss`` counts for StoplossGuard).
        replaces: The client order id of the open order whose place the new one is to take; empty for an order of its own.
    """

    symbol: str
    side: OrderSide
    quantity: Decimal
    price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    reduce_only: bool = False
    strategy_id: str = ""
    reason: str = ""
    replaces: str = ""

    @property
    def order_type(self) -> OrderType:
        """Limit where a price is given, else market."""
        return OrderType.MARKET if self.price is None else OrderType.LIMIT

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> Signal:
        """Read the guide's dictionary form; ``side`` in any case, numbers as numbers or strings.

        Raises:
            ConfigurationError: A key is missing, unknown or has a value that makes no sense.
        """
        unknown = sorted(set(mapping) - _KNOWN_KEYS)
        if unknown:
            message = f"signal has unknown key {unknown[0]!r}; expected only {', '.join(sorted(_KNOWN_KEYS))}"
            raise ConfigurationError(message)
        for key in ("symbol", "side"):
            if not mapping.get(key):
                message = f"signal has no {key!r}: {mapping!r}"
                raise ConfigurationError(message)
        price = mapping.get("price", mapping.get("limit_price"))
        tif = mapping.get("time_in_force")
        try:
            return cls(
                symbol=str(mapping["symbol"]),
                side=OrderSide(str(mapping["side"]).lower()),
                quantity=_decimal(mapping.get("quantity", mapping.get("qty"))),
                price=None if price is None else _decimal(price),
                time_in_force=None if tif is None else TimeInForce(str(tif).lower()),
                reduce_only=bool(mapping.get("reduce_only", False)),
                strategy_id=str(mapping.get("strategy_id") or ""),
                reason=str(mapping.get("reason") or ""),
            )
        except (ValueError, InvalidOperation) as error:
            message = f"signal {mapping!r} is not valid: {error}"
            raise ConfigurationError(message) from None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of a signal.

    Attributes:
        approved: True where there is an order (or, for a deferred exit, will be one).
        stage: Where on the path the decision fell.
        guard: The name of the check that decided; empty where every guard agreed.
        reason: Why, in a sentence.
        client_order_id: The order, where there is one.
        observed: What guards in ``observe`` mode would have blocked, as ``guard: reason``.
    """

    ts: int
    approved: bool
    stage: Stage
    signal: Signal
    guard: str = ""
    reason: str = ""
    client_order_id: str | None = None
    observed: tuple[str, ...] = ()


def _decimal(value: object) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite():
        message = f"{value!r} is not a finite number"
        raise ValueError(message)
    return number
