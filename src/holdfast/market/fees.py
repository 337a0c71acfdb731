"""What a trade costs. Equities are free of commission; crypto pays by tier, in what it receives.

A buy of coin pays in the coin, so the position is smaller than the order's filled quantity; a sale pays
in the quote currency. The venue's own rounding is not published; rounding up to the ninth decimal never
underestimates, and differs from any other rounding by less than a billionth.
"""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

import msgspec

from holdfast.market.rounding import Number, to_decimal
from holdfast.model import AssetClass, OrderSide
from holdfast.model.decimals import EXACT
from holdfast.model.errors import ConfigurationError

_NINE_DECIMALS = Decimal("0.000000001")
_BUY, _CRYPTO = OrderSide.BUY, AssetClass.CRYPTO  # bound once: an enum look-up costs as much as a call
_ZERO = Decimal(0)
_FREE = (_ZERO, _ZERO)
_BPS = Decimal(10_000)


class FeeTier(msgspec.Struct, frozen=True, gc=False):
    """The crypto fees of accounts that traded less than ``below`` USD in the last 30 days.

    Attributes:
        below: 30-day volume in USD, exclusive; ``None`` is the last tier, which has no top.
        maker_bps: Basis points for orders that rested.
        taker_bps: Basis points for orders that took what rested.
    """

    below: Decimal | None
    maker_bps: Decimal
    taker_bps: Decimal


CRYPTO_FEE_TIERS: tuple[FeeTier, ...] = tuple(
    FeeTier(None if below is None else Decimal(below), Decimal(maker), Decimal(taker))
    for below, maker, taker in (
        (100_000, 15, 25),
        (500_000, 12, 22),
        (1_000_000, 10, 20),
        (10_000_000, 8, 18),
        (25_000_000, 5, 15),
        (50_000_000, 2, 13),
        (100_000_000, 2, 12),
        (None, 0, 10),
    )
)


class FeeModel:
    """Fees of one account.

    Args:
        maker_bps: Crypto maker fee in basis points; default: the first tier's.
        taker_bps: Crypto taker fee in basis points; default: the first tier's.

    Raises:
        ConfigurationError: A fee is negative or above 10,000 basis points.
    """

    __slots__ = ("_maker", "_taker")

    def __init__(self, *, maker_bps: Number | None = None, taker_bps: Number | None = None) -> None:
        first = CRYPTO_FEE_TIERS[0]
        maker = first.maker_bps if maker_bps is None else to_decimal(maker_bps)
        taker = first.taker_bps if taker_bps is None else to_decimal(taker_bps)
        for name, bps in (("maker_bps", maker), ("taker_bps", taker)):
            if not 0 <= bps <= _BPS:
                message = f"{name} must be between 0 and {_BPS}, got {bps}"
                raise ConfigurationError(message)
        self._maker, self._taker = EXACT.divide(maker, _BPS), EXACT.divide(taker, _BPS)

    @classmethod
    def for_volume(cls, volume_30d: Number) -> FeeModel:
        """The fees of an account with this 30-day crypto volume (USD)."""
        volume = to_decimal(volume_30d)
        for tier in CRYPTO_FEE_TIERS:
            if tier.below is None or volume < tier.below:
                return cls(maker_bps=tier.maker_bps, taker_bps=tier.taker_bps)
        message = "the last fee tier has a top"  # the table's own fault
        raise ConfigurationError(message)

    def fee_for(
        self,
        asset_class: AssetClass,
        side: OrderSide,
        quantity: Decimal,
        price: Decimal,
        taker: bool = True,
    ) -> tuple[Decimal, Decimal]:
        """The fee of one execution as ``(coin, cash)``: units of the asset, and units of the quote currency.

        Both are zero or positive; at most one is positive.
        """
        if asset_class is not _CRYPTO:
            return _FREE
        rate = self._taker if taker else self._maker
        if side is _BUY:
            return EXACT.multiply(quantity, rate).quantize(_NINE_DECIMALS, ROUND_UP, EXACT), _ZERO
        cash = EXACT.multiply(EXACT.multiply(quantity, price), rate)
        return _ZERO, cash.quantize(_NINE_DECIMALS, ROUND_UP, EXACT)
