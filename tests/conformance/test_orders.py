"""The SDK's trading client on orders: placing, finding, replacing, canceling, and being refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.harness import Judge, Market, covers
from tests.conformance.sdk import Sort, enums, requests

pytestmark = [
    # The SDK uses what newer versions of its own dependencies deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_TIF, _SIDE = enums.TimeInForce, enums.OrderSide
_BUY, _SELL = _SIDE.BUY, _SIDE.SELL


def market(quantity: float = 1, side: Any = _BUY, symbol: str = "SPY", **more: Any) -> Any:
    """A market order."""
    members = {"time_in_force": _TIF.GTC if "/" in symbol else _TIF.DAY} | more
    return requests.MarketOrderRequest(symbol=symbol, qty=quantity, side=side, **members)


def limit(price: float, quantity: float = 1, side: Any = _BUY, symbol: str = "SPY", **more: Any) -> Any:
    """A limit order."""
    members = {"time_in_force": _TIF.GTC if "/" in symbol else _TIF.DAY} | more
    return requests.LimitOrderRequest(symbol=symbol, qty=quantity, side=side, limit_price=price, **members)


@covers(
    "TradingClient.submit_order: market day",
    "TradingClient.submit_order: market gtc",
    "TradingClient.submit_order: market ioc",
    "TradingClient.submit_order: limit day",
    "TradingClient.submit_order: limit gtc",
    "TradingClient.submit_order: limit ioc",
    "TradingClient.submit_order: sell short",
    "TradingClient.submit_order: part of a share",
    "TradingClient.submit_order: coin market gtc",
    "TradingClient.submit_order: coin limit gtc",
    "TradingClient.submit_order: coin limit ioc",
    "TradingClient.submit_order: coin without its slash",
    "TradingClient.get_order_by_id: filled",
    "TradingClient.get_order_by_id: canceled by ioc",
    "TradingClient.get_order_by_id: resting",
    "TradingClient.get_order_by_client_id",
)
async def test_every_type_and_time_in_force(judge: Judge) -> None:
    """Each is taken as it was asked for, and becomes what the market makes of it."""
    client = judge.trading
    placed = {
        "market day": market(3),
        "market gtc": market(4, time_in_force=_TIF.GTC),
        "market ioc": market(5, time_in_force=_TIF.IOC),
        "limit day": limit(300, 6),
        "limit gtc": limit(310, 7, time_in_force=_TIF.GTC),
        "limit ioc": limit(320, 8, time_in_force=_TIF.IOC),
        "sell short": market(2, _SELL, "QQQ"),
        "part of a share": market(0.123456789),
        "coin market gtc": market(0.1, symbol="BTC/USD", client_order_id="coin"),
        "coin limit gtc": limit(30_000, 2e-3, symbol="BTC/USD"),
        "coin limit ioc": limit(30_000.5, 0.01, symbol="BTC/USD", time_in_force=_TIF.IOC),
        "coin without its slash": limit(30_000, 0.001, symbol="BTCUSD", time_in_force=_TIF.GTC),
    }
    async with Market.opened(judge, "SPY") as venue:
        await venue.step()
        orders = {name: await judge.call(name, client.submit_order, request) for name, request in placed.items()}
        await venue.step(4)
        filled = await judge.call("filled", client.get_order_by_id, orders["market day"].id)
        canceled = await judge.call("canceled by ioc", client.get_order_by_id, str(orders["limit ioc"].id))
        resting = await judge.call("resting", client.get_order_by_id, orders["limit gtc"].id)
        coin = await judge.call("", client.get_order_by_client_id, "coin")
        became = {name: client.get_order_by_id(order.id).status.value for name, order in orders.items()}

    for name, order in orders.items():
        asked = placed[name]
        assert (order.side, order.time_in_force, order.order_type.value) == (
            asked.side,
            asked.time_in_force,
            asked.type.value,
        ), name
        assert Decimal(order.qty) == Decimal(repr(asked.qty)), name
        assert (order.filled_qty, order.order_class.value, order.extended_hours) == ("0", "simple", False), name
    assert became == {
        name: "canceled"
        if name in ("limit ioc", "coin limit ioc")
        else "new"
        if "limit" in name or "without" in name
        else "filled"
        for name in placed
    }
    assert (filled.filled_qty, filled.status) == ("3", enums.OrderStatus.FILLED)
    assert Decimal(filled.filled_avg_price) > 0
    assert filled.filled_at == filled.updated_at >= filled.submitted_at
    assert canceled.canceled_at is not None
    assert (resting.limit_price, resting.status) == ("310", enums.OrderStatus.NEW)
    assert (resting.expires_at - resting.submitted_at).days == 90
    assert (coin.id, coin.symbol, coin.asset_class) == (
        orders["coin market gtc"].id,
        "BTC/USD",
        enums.AssetClass.CRYPTO,
    )
    assert orders["coin without its slash"].symbol == "BTC/USD"


@covers(
    "TradingClient.get_orders: default",
    "TradingClient.get_orders: closed",
    "TradingClient.get_orders: all",
    "TradingClient.get_orders: limit",
    "TradingClient.get_orders: oldest first",
    "TradingClient.get_orders: after and until",
    "TradingClient.get_orders: symbols",
    "TradingClient.get_orders: side",
    "TradingClient.get_orders: nested",
    "TradingClient.get: after an order",
    "TradingClient.get: before an order",
    "TradingClient.replace_order_by_id: price",
    "TradingClient.replace_order_by_id: quantity and client order id",
    "TradingClient.replace_order_by_id: nothing changed",
    "TradingClient.replace_order_by_id: not open",
    "TradingClient.get_order_by_id: replaced",
    "TradingClient.cancel_order_by_id",
    "TradingClient.cancel_order_by_id: again",
    "TradingClient.cancel_order_by_id: filled",
    "TradingClient.cancel_order_by_id: unknown",
    "TradingClient.cancel_orders: several",
)
async def test_lists_replacing_and_canceling(judge: Judge) -> None:
    """Every filter of a list; a replaced order has another id; a cancel of what is filled is refused."""
    client, query = judge.trading, requests.GetOrdersRequest
    status = enums.QueryOrderStatus
    async with Market.opened(judge, "SPY") as venue:
        await venue.step()
        first = client.submit_order(market(2, client_order_id="first"))
        await venue.step(2)
        second = client.submit_order(limit(300, client_order_id="second"))
        third = client.submit_order(limit(900, 1, _SELL, client_order_id="third"))
        fourth = client.submit_order(limit(200, symbol="QQQ", client_order_id="fourth"))
        listed = {
            name: [order.client_order_id for order in await judge.call(name, client.get_orders, asked)]
            for name, asked in {
                "default": None,
                "closed": query(status=status.CLOSED),
                "all": query(status=status.ALL),
                "limit": query(status=status.ALL, limit=2),
                "oldest first": query(status=status.ALL, direction=Sort.ASC),
                "after and until": query(
                    status=status.ALL, after=first.submitted_at, until=datetime(2024, 1, 3, tzinfo=UTC)
                ),
                "symbols": query(symbols=["QQQ"]),
                "side": query(side=_SELL),
                "nested": query(nested=True),
            }.items()
        }
        after = await judge.call(
            "after an order", client.get, "/orders", {"after_order_id": str(second.id), "direction": "asc"}
        )
        before = await judge.call("before an order", client.get, "/orders", {"before_order_id": str(third.id)})
        moved = await judge.call(
            "price", client.replace_order_by_id, second.id, requests.ReplaceOrderRequest(limit_price=301.5)
        )
        grown = await judge.call(
            "quantity and client order id",
            client.replace_order_by_id,
            moved.id,
            requests.ReplaceOrderRequest(qty=3, client_order_id="grown"),
        )
        same = await judge.refused(
            "nothing changed", client.replace_order_by_id, grown.id, requests.ReplaceOrderRequest(limit_price=301.5)
        )
        closed = await judge.refused(
            "not open", client.replace_order_by_id, first.id, requests.ReplaceOrderRequest(qty=5)
        )
        replaced = await judge.call("replaced", client.get_order_by_id, second.id)
        await judge.call("", client.cancel_order_by_id, fourth.id)
        await judge.call("again", client.cancel_order_by_id, fourth.id)
        filled = await judge.refused("filled", client.cancel_order_by_id, first.id)
        unknown = await judge.refused("unknown", client.cancel_order_by_id, "11111111-1111-1111-1111-111111111111")
        canceled = await judge.call("several", client.cancel_orders)
        left = client.get_orders()

    assert listed == {
        "default": ["fourth", "third", "second"],
        "closed": ["first"],
        "all": ["fourth", "third", "second", "first"],
        "limit": ["fourth", "third"],
        "oldest first": ["first", "second", "third", "fourth"],
        "after and until": ["fourth", "third", "second"],
        "symbols": ["fourth"],
        "side": ["third"],
        "nested": ["fourth", "third", "second"],
    }
    assert [row["client_order_id"] for row in after] == ["third", "fourth"]
    assert [row["client_order_id"] for row in before] == ["second"]
    assert (moved.replaces, moved.limit_price, moved.qty) == (second.id, "301.5", "1")
    assert (grown.replaces, grown.client_order_id, grown.qty, grown.limit_price) == (moved.id, "grown", "3", "301.5")
    assert (same.status_code, same.message) == (403, "order parameters are not changed")
    assert (closed.status_code, closed.code) == (422, 42210000)
    assert (replaced.status, replaced.replaced_by) == (enums.OrderStatus.REPLACED, moved.id)
    assert (filled.status_code, filled.message) == (422, 'order is already in "filled" state')
    assert (unknown.status_code, unknown.code) == (404, 40410000)
    assert {row.id: row.status for row in canceled} == {third.id: 200, grown.id: 200}
    assert left == []


REFUSED: dict[str, tuple[Any, int, int, str]] = {
    "client order id used": (
        lambda: market(client_order_id="taken"),
        422,
        40010001,
        "client_order_id must be unique",
    ),
    "client order id too long": (
        lambda: market(client_order_id="x" * 129),
        422,
        40010001,
        "client_order_id must be no more than 128 characters",
    ),
    "unknown symbol": (lambda: market(symbol="NONE"), 422, 42210000, 'asset "NONE" not found'),
    "nothing": (lambda: market(0), 422, 40010001, "qty must be > 0"),
    "sub-penny": (
        lambda: limit(290.123),
        422,
        42210000,
        "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    "part of a share gtc": (
        lambda: market(0.5, time_in_force=_TIF.GTC),
        422,
        42210000,
        "fractional orders must be DAY orders",
    ),
    "part of a share short": (
        lambda: market(0.5, _SELL, "QQQ"),
        422,
        42210000,
        "fractional orders cannot be sold short",
    ),
    "too expensive": (lambda: market(100_000), 403, 40310000, "insufficient buying power"),
    "more than held": (
        lambda: market(11, _SELL),
        403,
        40310000,
        "insufficient qty available for order (requested: 11, available: 10)",
    ),
    "coin for the day": (
        lambda: market(0.1, symbol="BTC/USD", time_in_force=_TIF.DAY),
        422,
        42210000,
        "invalid crypto time_in_force",
    ),
    "coin too small": (
        lambda: limit(30_000, 1e-9, symbol="BTC/USD"),
        403,
        40310000,
        "cost basis must be >= minimal amount of order 10",
    ),
    "coin not held": (
        lambda: market(1, _SELL, "BTC/USD"),
        403,
        40310000,
        "insufficient balance for BTC (requested: 1, available: 0)",
    ),
}


@covers(
    *(f"TradingClient.submit_order: {name}" for name in REFUSED),
    "TradingClient.submit_order: against an own order",
    "TradingClient.get_order_by_id: unknown",
    "TradingClient.get_order_by_client_id: unknown",
)
async def test_what_alpaca_refuses(judge: Judge) -> None:
    """With its status, its code and its text, through the SDK's own error; and nothing has changed."""
    client, errors = judge.trading, {}
    async with Market.opened(judge, "SPY") as venue:
        await venue.step()
        client.submit_order(market(10, client_order_id="taken"))
        await venue.step(3)
        count = len(client.get_orders(requests.GetOrdersRequest(status=enums.QueryOrderStatus.ALL)))
        for name, (request, *_) in REFUSED.items():
            errors[name] = await judge.refused(name, client.submit_order, request())
        nobody = "11111111-1111-1111-1111-111111111111"
        by_id = await judge.refused("unknown", client.get_order_by_id, nobody)
        by_client_id = await judge.refused("unknown", client.get_order_by_client_id, "nobody")
        resting = client.submit_order(limit(300, 1))
        wash = await judge.refused("against an own order", client.submit_order, limit(299, 1, _SELL))
        after = len(client.get_orders(requests.GetOrdersRequest(status=enums.QueryOrderStatus.ALL)))

    assert {name: (error.status_code, error.code, error.message) for name, error in errors.items()} == {
        name: tuple(expected) for name, (_, *expected) in REFUSED.items()
    }
    assert (by_id.status_code, by_id.message) == (404, f"order not found for {nobody}")
    assert (by_client_id.status_code, by_client_id.message) == (404, "order not found for nobody")
    assert (wash.status_code, wash.message) == (403, "potential wash trade detected. use complex orders")
    assert json.loads(str(wash))["existing_order_id"] == str(resting.id)
    assert after == count + 1
