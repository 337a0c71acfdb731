"""What the venue demands of an order's form, and what it charges: ticks, lots, sizes, fees."""

from holdfast.market.cache import AssetSource, SecurityCache, SymbolPropertiesCache
from holdfast.market.fees import CRYPTO_FEE_TIERS, FeeModel, FeeTier
from holdfast.market.properties import SymbolProperties, price_to_decimal, quantity_to_decimal
from holdfast.market.security import Security

__all__ = [
    "CRYPTO_FEE_TIERS",
    "AssetSource",
    "FeeModel",
    "FeeTier",
    "Security",
    "SecurityCache",
    "SymbolProperties",
    "SymbolPropertiesCache",
    "price_to_decimal",
    "quantity_to_decimal",
]
