"""The SDK's trading client on stops, groups, auctions, extended hours and notional orders; and their events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.harness import Judge, Market, covers
from tests.conformance.sdk import enums, requests
from tests.conformance.test_orders import limit, market

pytestmark = [
    # The SDK uses what newer versions of its own dependencies deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_TIF, _CLASS = enums.TimeInForce, enums.OrderClass
_BUY, _SELL = enums.OrderSide.BUY, enums.OrderSide.SELL
_COMMON: dict[str, Any] = {"symbol": "SPY", "qty": 1, "side": _SELL, "time_in_force": _TIF.DAY}


def profit(price: float) -> Any:
    """A take-profit."""
    return requests.TakeProfitRequest(limit_price=price)


def loss(price: float, limit_price: float | None = None) -> Any:
    """A stop-loss."""
    return requests.StopLossRequest(stop_price=price, limit_price=limit_price)


@covers(
    "TradingClient.submit_order: stop",
    "TradingClient.submit_order: stop limit",
    "TradingClient.submit_order: trailing stop by price",
    "TradingClient.submit_order: trailing stop by percent",
    "TradingClient.submit_order: on the close",
    "TradingClient.submit_order: limit on the close",
    "TradingClient.submit_order: fill or kill",
    "TradingClient.submit_order: extended hours",
    "TradingClient.submit_order: notional",
    "TradingClient.submit_order: notional of a coin",
    "TradingClient.submit_order: coin stop limit",
    "TradingClient.get_order_by_id: fill or kill",
    "TradingClient.get_order_by_id: notional",
    "TradingClient.get_order_by_id: high-water mark",
)
async def test_the_other_types(judge: Judge) -> None:
    """Each with the terms that it was asked for."""
    client = judge.trading
    gtc = _COMMON | {"time_in_force": _TIF.GTC}
    asked: dict[str, Any] = {
        "stop": requests.StopOrderRequest(**gtc, stop_price=350),
        "stop limit": requests.StopLimitOrderRequest(**gtc, stop_price=350, limit_price=349.5),
        "trailing stop by price": requests.TrailingStopOrderRequest(**gtc, trail_price=20),
        "trailing stop by percent": requests.TrailingStopOrderRequest(**gtc, trail_percent=7.5),
        "on the close": requests.MarketOrderRequest(**_COMMON | {"time_in_force": _TIF.CLS}),
        "limit on the close": requests.LimitOrderRequest(**_COMMON | {"time_in_force": _TIF.CLS}, limit_price=500),
        "fill or kill": limit(300, 5, symbol="QQQ", time_in_force=_TIF.FOK, client_order_id="kill"),
        "extended hours": limit(250, 1, symbol="QQQ", extended_hours=True),
        "notional": requests.MarketOrderRequest(symbol="QQQ", notional=150.5, side=_BUY, time_in_force=_TIF.DAY),
        "notional of a coin": requests.MarketOrderRequest(
            symbol="BTC/USD", notional=500, side=_BUY, time_in_force=_TIF.GTC
        ),
        "coin stop limit": requests.StopLimitOrderRequest(
            symbol="BTC/USD", qty=0.01, side=_BUY, time_in_force=_TIF.GTC, stop_price=60_000, limit_price=60_100
        ),
    }
    async with Market.opened(judge, "SPY") as venue:
        await venue.step()
        client.submit_order(market(20))
        await venue.step(3)
        orders = {name: await judge.call(name, client.submit_order, request) for name, request in asked.items()}
        await venue.step(6)
        killed = await judge.call("fill or kill", client.get_order_by_id, orders["fill or kill"].id)
        notional = await judge.call("notional", client.get_order_by_id, orders["notional"].id)
        trailing = await judge.call("high-water mark", client.get_order_by_id, orders["trailing stop by price"].id)

    for name, order in orders.items():
        assert (order.order_type, order.side, order.time_in_force) == (
            asked[name].type,
            asked[name].side,
            asked[name].time_in_force,
        ), name
    assert {name: (orders[name].stop_price, orders[name].limit_price) for name in ("stop", "stop limit")} == {
        "stop": ("350", None),
        "stop limit": ("350", "349.5"),
    }
    assert orders["trailing stop by price"].trail_price == "20"
    assert orders["trailing stop by percent"].trail_percent == "7.5"
    assert round(Decimal(trailing.hwm), 2) - Decimal(trailing.stop_price) == 20
    assert orders["extended hours"].extended_hours is True
    assert (killed.status, killed.filled_qty) in [(enums.OrderStatus.CANCELED, "0"), (enums.OrderStatus.FILLED, "5")]
    assert (orders["notional"].notional, orders["notional"].qty) == ("150.5", None)
    assert notional.status is enums.OrderStatus.FILLED
    spent = Decimal(notional.filled_qty) * Decimal(notional.filled_avg_price)
    assert abs(spent - Decimal("150.5")) < Decimal("0.01")


@covers(
    "TradingClient.submit_order: bracket",
    "TradingClient.submit_order: bracket with a limited stop",
    "TradingClient.submit_order: one cancels the other",
    "TradingClient.submit_order: one triggers the other",
    "TradingClient.get_orders: nested groups",
    "TradingClient.get_order_by_id: nested group",
    "TradingClient.replace_order_by_id: leg",
    "TradingClient.cancel_order_by_id: leg",
    "TradingStream entry filled",
    "TradingStream leg released",
    "TradingStream leg replaced",
    "TradingStream leg canceled",
)
async def test_groups(judge: Judge) -> None:
    """Legs are held until the entry fills; then the profit rests, and the end of one leg is the end of the other."""
    client = judge.trading
    bracket = market(10, order_class=_CLASS.BRACKET, take_profit=profit(500), stop_loss=loss(300))
    other = limit(200, 1, symbol="QQQ", order_class=_CLASS.BRACKET, take_profit=profit(350), stop_loss=loss(150, 149.5))
    oto = limit(200, 1, symbol="QQQ", order_class=_CLASS.OTO, stop_loss=loss(150))
    nested = requests.GetOrdersRequest(nested=True)
    async with Market.opened(judge, "SPY") as venue:
        await venue.step()
        placed = await judge.call("bracket", client.submit_order, bracket)
        limited = await judge.call("bracket with a limited stop", client.submit_order, other)
        single = await judge.call("one triggers the other", client.submit_order, oto)
        before = await judge.call("nested groups", client.get_orders, nested)
        await venue.step(2)
        events = [await venue.updates.next() for _ in range(venue.updates.count)]
        entry = next(update for update in events if update.event == "fill")
        released = next(update for update in events if update.event == "new" and update.order.side is _SELL)
        judge.exercised |= {"TradingStream entry filled", "TradingStream leg released"}
        group = await judge.call(
            "nested group", client.get_order_by_id, placed.id, requests.GetOrderByIdRequest(nested=True)
        )
        stop = next(leg for leg in group.legs if leg.stop_price)
        moved = await judge.call(
            "leg", client.replace_order_by_id, stop.id, requests.ReplaceOrderRequest(stop_price=310)
        )
        replaced = await judge.event("leg replaced", venue.updates)
        target = next(leg for leg in group.legs if not leg.stop_price)
        await judge.call("leg", client.cancel_order_by_id, target.id)
        canceled = [await judge.event("leg canceled", venue.updates) for _ in range(2)]
        client.cancel_orders()
        await venue.step()
        oco = requests.LimitOrderRequest(
            **_COMMON | {"qty": 10}, order_class=_CLASS.OCO, take_profit=profit(520), stop_loss=loss(290)
        )
        exits = await judge.call("one cancels the other", client.submit_order, oco)

    assert [order.order_class for order in (placed, limited, single, exits)] == [
        _CLASS.BRACKET,
        _CLASS.BRACKET,
        _CLASS.OTO,
        _CLASS.OCO,
    ]
    assert {order.id: len(order.legs or []) for order in before} == {placed.id: 2, limited.id: 2, single.id: 1}
    assert {leg.status.value for order in before for leg in order.legs} == {"held"}
    assert (entry.order.id, entry.qty) == (placed.id, 10.0)
    assert (released.order.id, released.order.limit_price) == (target.id, "500")
    assert sorted((leg.status.value, leg.limit_price, leg.stop_price) for leg in group.legs) == [
        ("held", None, "300"),
        ("new", "500", None),
    ]
    assert (moved.stop_price, moved.replaces) == ("310", stop.id)
    assert (replaced.event, replaced.order.id) == ("replaced", stop.id)
    assert {update.order.id for update in canceled} == {target.id, moved.id}
    assert {str(getattr(update.event, "value", update.event)) for update in canceled} == {"canceled"}
    assert (exits.order_type.value, exits.limit_price) == ("limit", "520")


REFUSED: dict[str, tuple[Any, int, str]] = {
    "bracket upside down": (
        lambda: market(1, order_class=_CLASS.BRACKET, take_profit=profit(300), stop_loss=loss(350)),
        422,
        "take_profit.limit_price must be > stop_loss.stop_price",
    ),
    "bracket for an ioc": (
        lambda: market(
            1, order_class=_CLASS.BRACKET, take_profit=profit(500), stop_loss=loss(350), time_in_force=_TIF.IOC
        ),
        422,
        "",
    ),
    "sell stop above the market": (
        lambda: requests.StopOrderRequest(**_COMMON, stop_price=450),
        422,
        "stop price must be less than current price",
    ),
    "coin stop": (
        lambda: requests.StopOrderRequest(
            symbol="BTC/USD", qty=0.01, side=_BUY, time_in_force=_TIF.GTC, stop_price=60_000
        ),
        422,
        "invalid order type for crypto order",
    ),
    "extended hours market": (
        lambda: market(1, extended_hours=True),
        422,
        "extended hours order must be DAY or GTC limit orders",
    ),
    "on the open too late": (
        lambda: market(1, time_in_force=_TIF.OPG),
        403,
        "opg orders must be submitted after 7:00pm and before 9:28am",
    ),
}


@covers(*(f"TradingClient.submit_order: {name}" for name in REFUSED))
async def test_what_alpaca_refuses_of_them(judge: Judge) -> None:
    """With its status and its text."""
    client = judge.trading
    async with Market.opened(judge, "SPY") as venue:
        await venue.step()
        client.submit_order(market(5))
        await venue.step(3)
        errors = {
            name: await judge.refused(name, client.submit_order, request()) for name, (request, *_) in REFUSED.items()
        }

    found = {name: (error.status_code, error.message) for name, error in errors.items()}
    assert found == {name: (status, text or found[name][1]) for name, (_, status, text) in REFUSED.items()}
