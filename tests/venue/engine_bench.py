"""A small book to try the matching engine with: assets, prices, orders."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from holdfast.model import Asset, AssetClass, OrderSide, OrderType, TimeInForce
from holdfast.time import FixedSessions
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.matching.orders import NewOrder, VenueOrder

HOUR = 3600 * 10**9
DAY = 24 * HOUR
NOON = 12 * HOUR
BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY_ORDER, GTC, IOC = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC

ASSETS = {
    asset.symbol: asset
    for asset in (
        Asset(symbol="SPY", marginable=True, shortable=True, fractionable=True),
        Asset(symbol="PLAIN", marginable=True),
        Asset(symbol="CASHONLY", fractionable=True),
        Asset(symbol="HALTED", tradable=False),
        Asset(symbol="BTC/USD", asset_class=AssetClass.CRYPTO, min_trade_increment="0.000000001"),
        Asset(symbol="BIG/USD", asset_class=AssetClass.CRYPTO, min_trade_increment="0.01", price_increment="0.5"),
    )
}
PRICES = {"SPY": 100.0, "PLAIN": 50.0, "CASHONLY": 10.0, "HALTED": 1.0, "BTC/USD": 40_000.0, "BIG/USD": 10.0}


def make_engine(cash: int = 100_000, **settings: Any) -> MatchingEngine:
    """A book over these assets and prices; its session is from 10:00 to 20:00 UTC."""
    engine = MatchingEngine(
        ASSETS,
        cash=Decimal(cash),
        settings=EngineSettings(**settings),
        sessions=lambda _: FixedSessions(10 * HOUR, 20 * HOUR),
    )
    engine.prices.update(PRICES)
    return engine


def order(
    symbol: str = "SPY",
    side: OrderSide = BUY,
    quantity: str = "10",
    limit: str | None = None,
    time_in_force: TimeInForce | None = None,
    client_order_id: str | None = None,
) -> NewOrder:
    """Ten shares of SPY at the market for the day, but for what is said otherwise."""
    return NewOrder(
        symbol,
        side,
        OrderType.MARKET if limit is None else OrderType.LIMIT,
        time_in_force or (GTC if "/" in symbol else DAY_ORDER),
        Decimal(quantity),
        None if limit is None else Decimal(limit),
        client_order_id,
    )


def usd(*amounts: int) -> tuple[Decimal, ...]:
    """Amounts as the engine gives them."""
    return tuple(map(Decimal, amounts))


def trade(engine: MatchingEngine, new: NewOrder, price: float | None = None) -> VenueOrder:
    """Submit and fill at the next bar's open."""
    placed = engine.submit(new, NOON)
    price = PRICES[placed.symbol] if price is None else price
    engine.open_bar(placed.symbol, NOON, price, 10.0**9)
    engine.close_bar(placed.symbol, NOON, price, price, price, price, 10.0**9)
    return placed
