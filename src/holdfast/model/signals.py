"""What a strategy asks for, and what it is told."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from holdfast.model.enums import OrderClass, OrderSide, OrderType, Stage, TimeInForce
from holdfast.model.errors import ConfigurationError
from holdfast.model.terms import OrderTerms, class_of, order_type_of, terms_or_none

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
        "stop_price",
        "trail_price",
        "trail_percent",
        "take_profit",
        "stop_loss",
        "order_class",
        "extended_hours",
    }
)
# What the two exits of an order may say.
_EXIT_KEYS = {"take_profit": ("limit_price",), "stop_loss": ("stop_price", "limit_price")}


class Signal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A wish to trade, before any guard has seen it.

    Attributes:
        symbol: What to trade.
        side: Buy or sell.
        quantity: Shares or coins, positive.
        price: The limit price; ``None`` makes a market order, or with a stop price a stop order.
        time_in_force: ``None`` takes the asset class's default (day for equities, gtc for crypto).
        reduce_only: True for an exit: it may only make the position smaller, and is never blocked by a protection.
        strategy_id: Who asks.
        reason: Why, in the strategy's words; kept with the order (an exit's ``stop_loss`` counts for StoplossGuard).
        replaces: The client order id of the open order whose place the new one is to take; empty for an order of its own.
        terms: Stops, trails, and exits that come with it; ``None`` for an order without any.
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
    terms: OrderTerms | None = None

    @property
    def order_type(self) -> OrderType:
        """Limit where a price is given, else market; stops and trails as the terms say."""
        return order_type_of(self.price, self.terms)

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
            terms = _terms(mapping)
            if price is None and terms is not None and terms.order_class is OrderClass.OCO:
                price = terms.take_profit  # such an order is its own take-profit
            signal = cls(
                symbol=str(mapping["symbol"]),
                side=OrderSide(str(mapping["side"]).lower()),
                quantity=_decimal(mapping.get("quantity", mapping.get("qty"))),
                price=None if price is None else _decimal(price),
                time_in_force=None if tif is None else TimeInForce(str(tif).lower()),
                reduce_only=bool(mapping.get("reduce_only", False)),
                strategy_id=str(mapping.get("strategy_id") or ""),
                reason=str(mapping.get("reason") or ""),
                terms=terms,
            )
        except (ValueError, InvalidOperation) as error:
            message = f"signal {mapping!r} is not valid: {error}"
            raise ConfigurationError(message) from None
        named = mapping.get("order_type")
        if named is not None and str(named).lower() != signal.order_type.value:
            message = (
                f"signal {mapping!r}: order_type is {named!r}, and its prices are those of a {signal.order_type} order"
            )
            raise ConfigurationError(message)
        return signal


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


def _terms(mapping: dict[str, Any]) -> OrderTerms | None:
    """The further terms of a signal; None where it has none."""
    exits = {name: _exit_prices(name, mapping.get(name)) for name in _EXIT_KEYS}
    take_profit, stop_loss = exits["take_profit"].get("limit_price"), exits["stop_loss"].get("stop_price")
    word = mapping.get("order_class")
    named = OrderClass(str(word).lower()) if word else class_of(take_profit, stop_loss)
    return terms_or_none(
        OrderTerms(
            order_class=named,
            stop_price=_decimal_or_none(mapping.get("stop_price")),
            trail_price=_decimal_or_none(mapping.get("trail_price")),
            trail_percent=_decimal_or_none(mapping.get("trail_percent")),
            take_profit=take_profit,
            stop_loss=stop_loss,
            stop_loss_limit=exits["stop_loss"].get("limit_price"),
            extended_hours=bool(mapping.get("extended_hours", False)),
        )
    )


def _exit_prices(name: str, given: object) -> dict[str, Decimal]:
    """The prices of one of the two exits."""
    expected = _EXIT_KEYS[name]
    if given is None:
        return {}
    if not isinstance(given, dict) or not set(given) <= set(expected) or given.get(expected[0]) is None:
        message = f"{name} is {given!r}, expected a dictionary with {expected[0]!r}"
        if len(expected) > 1:
            message += f" and perhaps {expected[1]!r}"
        raise ValueError(message)
    return {key: _decimal(value) for key, value in given.items() if value is not None}


def _decimal_or_none(value: object) -> Decimal | None:
    return None if value is None else _decimal(value)


def _decimal(value: object) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite():
        message = f"{value!r} is not a finite number"
        raise ValueError(message)
    return number
