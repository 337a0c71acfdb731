"""What an order may say beyond side, quantity, price and time in force: stops, trails, and exits that come with it.

Most orders say nothing of this, so it is a value of its own that they do without.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from holdfast.model.enums import OrderClass, OrderType

# Why a leg closed a position, in the words that guards and reports know.
TAKE_PROFIT, STOP_LOSS = "take_profit", "stop_loss"


class OrderTerms(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The further terms of an order. Prices in the quote currency.

    Attributes:
        order_class: Whether exits come with it. ``oco``: it is the take-profit itself, and a stop-loss stands beside it.
        stop_price: The price at which it becomes a market order or, with a limit, a limit order.
        trail_price: How far a trailing stop stays behind the best price.
        trail_percent: The same in percent of that price.
        take_profit: The limit of the exit with a profit.
        stop_loss: The stop price of the exit with a loss.
        stop_loss_limit: The limit of that exit once it is stopped out; ``None`` makes it a market order then.
        extended_hours: It may also trade before and after the exchange's own hours.
    """

    order_class: OrderClass = OrderClass.SIMPLE
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    stop_loss_limit: Decimal | None = None
    extended_hours: bool = False

    @property
    def trails(self) -> bool:
        """Whether it is a trailing stop."""
        return self.trail_price is not None or self.trail_percent is not None

    @property
    def is_group(self) -> bool:
        """Whether the order comes with others that depend on it."""
        return self.order_class is not OrderClass.SIMPLE

    def numbers(self) -> Iterator[tuple[str, Decimal]]:
        """Each number that is given, with its name."""
        for name in NUMBERS:
            value = getattr(self, name)
            if value is not None:
                yield name, value


NUMBERS = ("stop_price", "trail_price", "trail_percent", "take_profit", "stop_loss", "stop_loss_limit")
_NO_TERMS = OrderTerms()


def order_type_of(price: Decimal | None, terms: OrderTerms | None) -> OrderType:
    """The type that follows from a limit price and the further terms."""
    if terms is not None:
        if terms.trails:
            return OrderType.TRAILING_STOP
        if terms.stop_price is not None:
            return OrderType.STOP if price is None else OrderType.STOP_LIMIT
    return OrderType.MARKET if price is None else OrderType.LIMIT


def terms_or_none(terms: OrderTerms) -> OrderTerms | None:
    """The terms; ``None`` where they say nothing, as most orders have it."""
    return None if terms == _NO_TERMS else terms


def class_of(take_profit: Decimal | None, stop_loss: Decimal | None) -> OrderClass:
    """The class of an entry that brings these exits."""
    if take_profit is None and stop_loss is None:
        return OrderClass.SIMPLE
    return OrderClass.OTO if take_profit is None or stop_loss is None else OrderClass.BRACKET
