"""What a symbol lets an order be: lots, price increments, the spread around a trade, collars, and bounds of cost."""

from __future__ import annotations

from decimal import Decimal

from holdfast.model.enums import AssetClass, OrderSide
from holdfast.model.errors import ConfigurationError
from holdfast.model.market import Asset
from holdfast.venue.matching.orders import NewOrder, Refusal
from holdfast.venue.matching.rules import Rule

_BUY = OrderSide.BUY
_ONE = Decimal(1)
_CENT = Decimal("0.01")
_HUNDREDTH_OF_A_CENT = Decimal("0.0001")
_NANO = Decimal("0.000000001")

CRYPTO_MINIMUM_COST = Decimal(10)
CRYPTO_MAXIMUM_COST = Decimal(200_000)
FRACTIONAL_MINIMUM_COST = _ONE

# A market order in crypto takes no price that is further from the ask or the bid than this.
_CRYPTO_COLLAR = Decimal("0.02")
# A market buy is valued this far above the ask when the buying power is checked.
_EQUITY_COLLAR_BELOW_50 = Decimal("1.04")
_EQUITY_COLLAR = Decimal("1.025")
_FIFTY = Decimal(50)
# An opening short is valued at least this far above the ask.
_SHORT_COLLAR = Decimal("1.03")


class Instrument:
    """One symbol's rules, worked out once.

    Args:
        asset: What the venue says of the symbol. Crypto must be quoted in USD: the account has no other money.
        half_spread: Half the spread as a fraction of the price.

    Attributes:
        is_borrowable: Whether it may be sold short, until the stock becomes hard to borrow.
        bars_have_hours: Whether its bars, once their length is told, are short enough to lie before, in or after the session.

    Raises:
        ConfigurationError: The asset cannot be traded by this engine.
    """

    __slots__ = (
        "asset",
        "asset_class",
        "bars_have_hours",
        "base",
        "half_spread",
        "is_borrowable",
        "is_crypto",
        "is_marginable",
        "lot",
        "symbol",
        "takes_whole",
        "tick",
    )

    def __init__(self, asset: Asset, *, half_spread: Decimal) -> None:
        self.asset = asset
        self.symbol = asset.symbol
        self.asset_class = asset.asset_class
        self.is_crypto = asset.asset_class is AssetClass.CRYPTO
        self.base, _, quote = asset.symbol.partition("/")
        if self.is_crypto and quote != "USD":
            message = f"{asset.symbol}: the venue trades crypto against USD only (expected BASE/USD)"
            raise ConfigurationError(message)
        self.half_spread = half_spread
        self.lot = Decimal(asset.min_trade_increment) if asset.min_trade_increment else _NANO
        self.tick = Decimal(asset.price_increment) if asset.price_increment else _NANO if self.is_crypto else None
        # An order for the day in whole shares breaks no rule of form, which spares most orders most of the checks.
        self.takes_whole = asset.tradable and not self.is_crypto and not _ONE % self.lot
        self.is_borrowable = asset.shortable
        self.bars_have_hours = False
        self.is_marginable = asset.marginable and not self.is_crypto

    def tick_at(self, price: Decimal) -> Decimal:
        """The price increment at a price: a cent from $1 up, a hundredth of a cent below, or the asset's own."""
        if self.tick is not None:
            return self.tick
        return _CENT if price >= _ONE else _HUNDREDTH_OF_A_CENT

    def ask(self, price: Decimal) -> Decimal:
        """What a buyer pays when the market trades at ``price``: half the spread above, rounded up to the increment."""
        if self.half_spread:
            price += price * self.half_spread
        tick = self.tick or (_CENT if price >= _ONE else _HUNDREDTH_OF_A_CENT)
        below = price // tick * tick
        return below if below == price else below + tick

    def bid(self, price: Decimal) -> Decimal:
        """What a seller gets when the market trades at ``price``: half the spread below, rounded down, one tick at least."""
        if self.half_spread:
            price -= price * self.half_spread
        tick = self.tick or (_CENT if price >= _ONE else _HUNDREDTH_OF_A_CENT)
        return price // tick * tick or tick

    def round_up(self, price: Decimal) -> Decimal:
        """The next price on the increment, not below."""
        tick = self.tick_at(price)
        below = price // tick * tick
        return below if below == price else below + tick

    def round_down(self, price: Decimal) -> Decimal:
        """The next price on the increment, not above; one tick at least."""
        tick = self.tick_at(price)
        return price // tick * tick or tick

    def lot_of(self, quantity: Decimal) -> Decimal:
        """The pieces in which an order of this quantity fills: an order in whole shares fills in whole shares."""
        return self.lot if self.is_crypto or quantity % 1 else _ONE

    def buy_value(self, limit_price: Decimal | None, price: Decimal) -> Decimal:
        """USD a share that an opening buy is valued at: its limit, or the ask and a collar above it."""
        if limit_price is not None:
            return limit_price
        if self.is_crypto:
            return self.crypto_collar(_BUY, price)
        return self.collared(price + price * self.half_spread if self.half_spread else price)

    def collared(self, ask: Decimal) -> Decimal:
        """What a buy at this price may cost at most: a collar above it."""
        return ask * (_EQUITY_COLLAR_BELOW_50 if ask < _FIFTY else _EQUITY_COLLAR)

    def crypto_collar(self, side: OrderSide, price: Decimal) -> Decimal:
        """The worst price that a market order in crypto takes when the market trades at ``price``: 2 % beyond it.

        On the increment, away from the market: else nothing could trade where the increment is coarse.
        """
        distance = price * self.half_spread
        if side is _BUY:
            ask = price + distance
            return self.round_up(ask + ask * _CRYPTO_COLLAR)
        bid = price - distance
        return self.round_down(bid - bid * _CRYPTO_COLLAR)

    def short_value(self, limit_price: Decimal | None, price: Decimal) -> Decimal:
        """USD a share that an opening short is valued at: the larger of its limit and 3 % above the ask."""
        value = (price + price * self.half_spread) * _SHORT_COLLAR
        return value if limit_price is None else max(limit_price, value)

    def cost_refusal(self, new: NewOrder, cost: Decimal) -> Refusal | None:
        """What is wrong with the order's size in USD (quantity x limit, or x last price); None if nothing is."""
        buys = new.side is _BUY
        if self.is_crypto:
            if buys and cost < CRYPTO_MINIMUM_COST:
                return Rule.COST_TOO_SMALL.refusal(cost=CRYPTO_MINIMUM_COST)
            if cost > CRYPTO_MAXIMUM_COST:
                return Rule.COST_TOO_LARGE.refusal(cost=CRYPTO_MAXIMUM_COST)
        elif buys and cost < FRACTIONAL_MINIMUM_COST and new.quantity % 1:
            return Rule.COST_TOO_SMALL.refusal(cost=FRACTIONAL_MINIMUM_COST)
        return None
