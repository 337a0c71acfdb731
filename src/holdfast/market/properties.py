"""The form that an order in a symbol must have: tick, lot, minimum size, and what the venue allows at all.

Two kinds of rules, and they fail differently:

* *Form* (a tick, a lot, a positive number) does not change while we trade. It binds every order.
* *Permission* (tradable, shortable, minimum size, notional floor and cap) is what the venue said some time
  ago, and may be stale. It blocks orders that add risk, and leaves orders that reduce risk to the venue.

The order of work is round, then validate (``round_then_validate``): validating first would refuse orders
that rounding makes valid, and rounding last could make a valid order invalid.
"""

from __future__ import annotations

from decimal import Decimal

from holdfast.market.rounding import Number, Step, to_decimal
from holdfast.model import Asset, AssetClass, OrderSide, TimeInForce
from holdfast.model.decimals import EXACT
from holdfast.model.errors import ConfigurationError, OrderError

# Looking up an enum's member costs as much as a method call, and these are on every order's path.
_BUY, _SELL = OrderSide.BUY, OrderSide.SELL
_EQUITY, _CRYPTO = AssetClass.US_EQUITY, AssetClass.CRYPTO
_DAY = TimeInForce.DAY
_ZERO, _ONE = Decimal(0), Decimal(1)
_CENT = Step("0.01")
_HUNDREDTH_CENT = Step("0.0001")
_WHOLE_SHARE = Step(1)
_NINE_DECIMALS = Step("0.000000001")

# What the venue asks of an order's worth, in USD.
_PART_OF_SHARE_FLOOR = Decimal(1)
_CRYPTO_BUY_FLOOR = Decimal(10)
_CRYPTO_ORDER_CAP = Decimal(200_000)

_SIDES = {word: side for side in OrderSide for word in (side.value, side.name)}


def price_to_decimal(price: float) -> Decimal:
    """A market price as the Decimal that its shortest text names. Not rounded to any tick."""
    return to_decimal(price)


def quantity_to_decimal(quantity: float) -> Decimal:
    """A computed quantity as the Decimal that its shortest text names. Not rounded to any lot."""
    return to_decimal(quantity)


def side_of(side: OrderSide | str) -> OrderSide:
    """The side that a word means, in any case.

    Raises:
        OrderError: The word is neither buy nor sell.
    """
    if isinstance(side, OrderSide):
        return side
    known = _SIDES.get(side) or _SIDES.get(str(side).lower())
    if known is None:
        message = f"side must be buy or sell, got {side!r}"
        raise OrderError(message)
    return known


def _has_part(number: Decimal) -> bool:
    """True where the number is not whole. Independent of the caller's decimal context, unlike ``%``."""
    return number != number.to_integral_value()


class SymbolProperties:
    """The rules of one symbol. Immutable by convention; shared freely.

    Args:
        symbol: Whose rules.
        min_price_increment: The tick in the quote currency; ``None`` takes the asset class's rule (equities:
            0.01 at $1 and above, 0.0001 below; crypto: nine decimals). A given increment wins.
        lot_size: The step of quantities in shares or coins; ``None`` takes the asset class's rule (equities:
            whole shares, nine decimals where fractionable; crypto: nine decimals).
        min_order_size: The smallest quantity; ``None`` is one lot.
        asset_class: Equity or crypto.
        tradable: Whether the venue takes orders in it.
        shortable: Whether it may be sold short. Crypto never is.
        fractionable: Whether parts of a share may be traded (day orders, long only).
        marginable: Whether it may be bought on credit.
        min_notional: The least worth of an opening buy in the quote currency, if any.
        max_notional: The greatest worth of an opening order in the quote currency, if any.

    Raises:
        OrderError: An increment or size is not a positive number.
    """

    __slots__ = (
        "_fixed_tick",
        "_lot",
        "_trades_whole",
        "asset_class",
        "fractionable",
        "lot_size",
        "marginable",
        "max_notional",
        "min_notional",
        "min_order_size",
        "min_price_increment",
        "shortable",
        "symbol",
        "tradable",
    )

    def __init__(
        self,
        symbol: str,
        min_price_increment: Number | str | None = None,
        lot_size: Number | str | None = None,
        min_order_size: Number | str | None = None,
        *,
        asset_class: AssetClass = AssetClass.US_EQUITY,
        tradable: bool = True,
        shortable: bool = True,
        fractionable: bool = False,
        marginable: bool = True,
        min_notional: Number | None = None,
        max_notional: Number | None = None,
    ) -> None:
        crypto = asset_class is _CRYPTO
        self.symbol = symbol
        self.asset_class = asset_class
        self.tradable = tradable
        self.shortable = shortable and not crypto
        self.fractionable = fractionable or crypto
        self.marginable = marginable and not crypto
        if min_price_increment is not None:
            self._fixed_tick: Step | None = Step(min_price_increment)
        else:
            self._fixed_tick = _NINE_DECIMALS if crypto else None
        if lot_size is not None:
            self._lot = Step(lot_size)
        else:
            self._lot = _NINE_DECIMALS if self.fractionable else _WHOLE_SHARE
        self.lot_size = self._lot.increment
        self.min_price_increment = None if self._fixed_tick is None else self._fixed_tick.increment
        self.min_order_size = self.lot_size if min_order_size is None else to_decimal(min_order_size)
        if self.min_order_size <= 0:
            message = f"{symbol}: min_order_size must be positive, got {self.min_order_size}"
            raise OrderError(message)
        self.min_notional = None if min_notional is None else to_decimal(min_notional)
        self.max_notional = None if max_notional is None else to_decimal(max_notional)
        self._trades_whole = (
            not crypto
            and tradable
            and self._lot.holds(_ONE)
            and self.min_notional is None
            and self.max_notional is None
        )

    @classmethod
    def from_asset(cls, asset: Asset) -> SymbolProperties:
        """The rules that the venue's description of an asset implies.

        Raises:
            ConfigurationError: An increment or size in the description is not a positive number.
        """
        crypto = asset.asset_class is _CRYPTO
        in_dollars = crypto and asset.symbol.endswith("/USD")
        try:
            return cls(
                asset.symbol,
                asset.price_increment,
                asset.min_trade_increment,
                asset.min_order_size,
                asset_class=asset.asset_class,
                tradable=asset.tradable,
                shortable=asset.shortable,
                fractionable=asset.fractionable,
                marginable=asset.marginable,
                min_notional=_CRYPTO_BUY_FLOOR if in_dollars else None,
                max_notional=_CRYPTO_ORDER_CAP if in_dollars else None,
            )
        except OrderError as error:
            message = f"{asset.symbol}: the venue describes the asset with an impossible increment or size: {error}"
            raise ConfigurationError(message) from None

    price_to_decimal = staticmethod(price_to_decimal)
    quantity_to_decimal = staticmethod(quantity_to_decimal)

    def __repr__(self) -> str:
        return (
            f"SymbolProperties({self.symbol!r}, tick={self.min_price_increment}, lot={self.lot_size}, "
            f"min={self.min_order_size}, {self.asset_class.value})"
        )

    # -- Rounding ------------------------------------------------------------------------------------------

    def price_increment_at(self, price: Decimal) -> Decimal:
        """The tick at this price, in the quote currency."""
        return self._tick(price).increment

    def round_price(self, price: Number, side: OrderSide | str | None = None) -> Decimal:
        """The price on its tick, never more aggressive than asked: buys down, sells up.

        Without a side: the nearest tick, a tie to the even one.

        Raises:
            OrderError: The price is not a finite number, or the side is no side.
        """
        exact = to_decimal(price)
        tick = self._tick(exact)
        if side is None:
            return tick.nearest(exact)
        return tick.down(exact) if side_of(side) is _BUY else tick.up(exact)

    def round_quantity(self, quantity: Number, *, whole: bool = False) -> Decimal:
        """The quantity on its lot, down. May be zero, which ``validate_order`` then refuses.

        Args:
            quantity: Shares or coins.
            whole: True for orders that must be in whole shares (short sales, orders that are not for the day).

        Raises:
            OrderError: The quantity is not a finite number.
        """
        rounded = self._lot.down(to_decimal(quantity))
        return _WHOLE_SHARE.down(rounded) if whole and _has_part(rounded) else rounded

    # -- Judging -------------------------------------------------------------------------------------------

    def validate_order(
        self,
        *,
        quantity: Number,
        side: OrderSide | str,
        price: Number | None = None,
        reduce_only: bool = False,
        time_in_force: TimeInForce | None = None,
        position: Decimal | None = None,
        reference_price: Number | None = None,
    ) -> tuple[bool, str]:
        """Whether the venue would take this order, and if not, why.

        Args:
            quantity: Shares or coins.
            side: Buy or sell, in any case.
            price: The limit price; ``None`` for a market order.
            reduce_only: True for an order that can only make a position smaller: permissions are not asked.
            time_in_force: ``None`` is the asset class's default (equities: day).
            position: What is held now (negative when short). ``None``: the rules of short sales are not judged.
            reference_price: The last price, to judge the worth of a market order; ``None``: not judged.
        """
        try:
            reason = self._objection(
                to_decimal(quantity),
                None if price is None else to_decimal(price),
                side_of(side),
                reduce_only,
                time_in_force,
                position,
                reference_price,
            )
        except OrderError as error:
            reason = f"{self.symbol}: {error}"
        return not reason, reason

    def round_then_validate(
        self,
        *,
        quantity: Number,
        side: OrderSide | str,
        price: Number | None = None,
        reduce_only: bool = False,
        time_in_force: TimeInForce | None = None,
        position: Decimal | None = None,
        reference_price: Number | None = None,
        whole: bool = False,
    ) -> tuple[Decimal, Decimal | None, str]:
        """Round, then validate: ``(quantity, price, reason)`` with an empty reason where the order is valid.

        Whole shares are taken where the order must have them, so that a short sale of 10.5 becomes one of 10; ``whole``
        says that this one must for a reason of its own.

        Raises:
            OrderError: A value is not a number, or the side is no side.
        """
        if (
            price is None
            and self._trades_whole
            and type(quantity) is Decimal
            and isinstance(side, OrderSide)
            and quantity.is_finite()
            and quantity >= self.min_order_size
            and (shares := quantity.to_integral_value()) == quantity
        ):
            # Most orders: some whole shares, at the market. Of all rules only this one can object.
            return (
                shares,
                None,
                "" if reduce_only or position is None else self._short_or_crossing(shares, side, position),
            )
        exact_side = side_of(side)
        whole = self.asset_class is _EQUITY and (
            whole
            or (time_in_force is not None and time_in_force is not _DAY)
            or (not reduce_only and position is not None and position <= _ZERO and exact_side is _SELL)
        )
        rounded = self.round_quantity(quantity, whole=whole)
        rounded_price = None if price is None else self.round_price(price, exact_side)
        reason = self._objection(
            rounded, rounded_price, exact_side, reduce_only, time_in_force, position, reference_price
        )
        return rounded, rounded_price, reason

    def _tick(self, price: Decimal) -> Step:
        fixed = self._fixed_tick
        if fixed is not None:
            return fixed
        return _CENT if price >= _ONE else _HUNDREDTH_CENT

    def _objection(
        self,
        quantity: Decimal,
        price: Decimal | None,
        side: OrderSide,
        reduce_only: bool,
        time_in_force: TimeInForce | None,
        position: Decimal | None,
        reference_price: Number | None,
    ) -> str:
        """Why the venue would not take the order, or an empty string."""
        reason = self._flaw(quantity, price)
        if not reason and not reduce_only:
            reason = self._prohibition(quantity, side, position) or self._worth_limit(
                quantity, price if price is not None else reference_price, side
            )
        if not reason and self.asset_class is _EQUITY and _has_part(quantity):
            reason = self._fractional_flaw(quantity, side, time_in_force, None if reduce_only else position)
        return reason

    def _flaw(self, quantity: Decimal, price: Decimal | None) -> str:
        """What is wrong with the order's form."""
        if quantity <= _ZERO:
            return f"{self.symbol}: quantity must be positive, got {quantity}"
        if not self._lot.holds(quantity):
            return f"{self.symbol}: quantity {quantity} is not a multiple of the lot {self.lot_size}"
        if price is None:
            return ""
        if price <= _ZERO:
            return f"{self.symbol}: price must be positive, got {price}"
        tick = self._tick(price)
        if not tick.holds(price):
            return f"{self.symbol}: price {price} is not a multiple of the tick {tick.increment}"
        return ""

    def _prohibition(self, quantity: Decimal, side: OrderSide, position: Decimal | None) -> str:
        """What the venue does not permit to an order that adds risk."""
        if not self.tradable:
            return f"{self.symbol}: not tradable at the venue"
        if quantity < self.min_order_size:
            return f"{self.symbol}: quantity {quantity} is below the minimum {self.min_order_size}"
        return "" if position is None else self._short_or_crossing(quantity, side, position)

    def _worth_limit(self, quantity: Decimal, price: Number | None, side: OrderSide) -> str:
        """What the venue says of an order's worth; nothing where no price is known."""
        part_of_share = self.asset_class is _EQUITY and _has_part(quantity)
        if price is None or not (part_of_share or self.min_notional is not None or self.max_notional is not None):
            return ""
        try:
            worth = EXACT.multiply(quantity, to_decimal(price))
        except OrderError as error:
            return f"{self.symbol}: the order's worth is not known: {error}"
        if self.min_notional is not None and side is _BUY and worth < self.min_notional:
            return f"{self.symbol}: worth {worth} is below the minimum {self.min_notional} of a buy"
        if part_of_share and worth < _PART_OF_SHARE_FLOOR:
            return f"{self.symbol}: worth {worth} is below the minimum {_PART_OF_SHARE_FLOOR} of a part of a share"
        if self.max_notional is not None and worth > self.max_notional:
            return f"{self.symbol}: worth {worth} is above the maximum {self.max_notional} of an order"
        return ""

    def _short_or_crossing(self, quantity: Decimal, side: OrderSide, position: Decimal) -> str:
        selling = side is _SELL
        if (position > _ZERO and selling and quantity > position) or (
            position < _ZERO and not selling and quantity > -position
        ):
            return f"{self.symbol}: a {side.value} of {quantity} would carry the position {position} through zero; close it first"
        if selling and position <= _ZERO and not self.shortable:
            return f"{self.symbol}: cannot be sold short, and {position} is held"
        return ""

    def _fractional_flaw(
        self, quantity: Decimal, side: OrderSide, time_in_force: TimeInForce | None, position: Decimal | None
    ) -> str:
        """What is wrong with trading part of a share. Asked of equities only."""
        if not self.fractionable:
            # A lot below one share that was given by hand says that parts are welcome.
            return "" if _has_part(self.lot_size) else f"{self.symbol}: only whole shares, got {quantity}"
        if time_in_force is not None and time_in_force is not _DAY:
            return f"{self.symbol}: parts of a share trade in day orders only, got {time_in_force.value}"
        if side is _SELL and position is not None and position <= _ZERO:
            return f"{self.symbol}: a short sale must be in whole shares, got {quantity}"
        return ""
