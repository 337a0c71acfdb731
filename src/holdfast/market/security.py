"""A symbol as trading sees it: its rules, and what the market last said of it."""

from __future__ import annotations

from decimal import Decimal

from holdfast.market.properties import SymbolProperties
from holdfast.market.rounding import Number
from holdfast.model import Bar, OrderSide, Quote, TimeInForce


class Security:
    """A symbol's rules with its latest market data.

    ``last_price`` (USD) and ``last_price_at`` (UTC ns) are plain attributes: the kernel writes them once a bar.
    ``quote`` is the last quote, or ``None``.
    """

    __slots__ = ("last_price", "last_price_at", "properties", "quote", "symbol")

    def __init__(self, properties: SymbolProperties) -> None:
        self.properties = properties
        self.symbol = properties.symbol
        self.last_price: float | None = None
        self.last_price_at: int | None = None
        self.quote: Quote | None = None

    def __repr__(self) -> str:
        return f"Security({self.symbol!r}, last_price={self.last_price})"

    def on_bar(self, bar: Bar) -> None:
        """Take a bar's close as the last price, at the bar's end."""
        self.last_price, self.last_price_at = bar.close, bar.ts

    def on_quote(self, quote: Quote) -> None:
        """Take the quote, and its middle as the last price."""
        self.quote = quote
        self.last_price, self.last_price_at = (quote.bid + quote.ask) / 2, quote.ts

    def round_price(self, price: Number, side: OrderSide | str | None = None) -> Decimal:
        """See ``SymbolProperties.round_price``."""
        return self.properties.round_price(price, side)

    def round_quantity(self, quantity: Number, *, whole: bool = False) -> Decimal:
        """See ``SymbolProperties.round_quantity``."""
        return self.properties.round_quantity(quantity, whole=whole)

    def validate_order(
        self,
        *,
        quantity: Number,
        side: OrderSide | str,
        price: Number | None = None,
        reduce_only: bool = False,
        time_in_force: TimeInForce | None = None,
        position: Decimal | None = None,
    ) -> tuple[bool, str]:
        """See ``SymbolProperties.validate_order``; the worth of a market order is judged at the last price."""
        return self.properties.validate_order(
            quantity=quantity,
            side=side,
            price=price,
            reduce_only=reduce_only,
            time_in_force=time_in_force,
            position=position,
            reference_price=self.last_price,
        )

    def round_then_validate(
        self,
        *,
        quantity: Number,
        side: OrderSide | str,
        price: Number | None = None,
        reduce_only: bool = False,
        time_in_force: TimeInForce | None = None,
        position: Decimal | None = None,
    ) -> tuple[Decimal, Decimal | None, str]:
        """See ``SymbolProperties.round_then_validate``; the worth of a market order is judged at the last price."""
        return self.properties.round_then_validate(
            quantity=quantity,
            side=side,
            price=price,
            reduce_only=reduce_only,
            time_in_force=time_in_force,
            position=position,
            reference_price=self.last_price,
        )
