"""Assets on the wire."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset
from holdfast.venue.wire.words import Json, derived_id


def asset_id(symbol: str) -> str:
    """The id of an asset, or of a position's asset where the symbol has lost its slash."""
    known = _ASSET_IDS.get(symbol)
    if known is None:
        known = _ASSET_IDS[symbol] = derived_id("asset", symbol)
    return known


_ASSET_IDS: Final[dict[str, str]] = {}


def asset_json(asset: Asset, hard_to_borrow: Container[str]) -> Json:
    """An asset. The increments are crypto's only."""
    crypto = asset.asset_class is AssetClass.CRYPTO
    is_easy = asset.shortable and asset.symbol not in hard_to_borrow
    row: Json = {
        "id": asset_id(asset.symbol),
        "class": asset.asset_class.value,
        "exchange": asset.exchange or exchange_of(asset),
        "symbol": asset.symbol,
        "name": asset.name or asset.symbol,
        "status": "active",
        "tradable": asset.tradable,
        "marginable": asset.marginable,
        "shortable": asset.shortable,
        "easy_to_borrow": is_easy,
        "borrow_status": "easy_to_borrow" if is_easy else "hard_to_borrow",
        "fractionable": asset.fractionable,
        "cusip": None,
        "maintenance_margin_requirement": 100 if crypto else 30,
        "margin_requirement_long": "100" if crypto else "30",
        "margin_requirement_short": "100" if crypto else "30",
        "attributes": ["overnight_tradable"] if asset.tradable and not crypto else [],
    }
    if crypto:
        row["min_order_size"] = asset.min_order_size
        row["min_trade_increment"] = asset.min_trade_increment
        row["price_increment"] = asset.price_increment
    return row


def exchange_of(asset: Asset) -> str:
    """Where an asset of which nothing else is known is listed."""
    return "CRYPTO" if asset.asset_class is AssetClass.CRYPTO else "NASDAQ"
