"""What an operator of the venue may do to an account, over the admin port and in the engine."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.model import OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.enums import OrderClass
from holdfast.testing import make_engine
from holdfast.testing.bot import START
from holdfast.venue.matching.engine import MatchingEngine
from holdfast.venue.matching.orders import Exits, NewOrder, Posting, Refusal, Terms
from tests.venue.desk import Desk
from tests.venue.helpers import KEY, VenueProcess, minutes

D = Decimal


def _filled(side: OrderSide = OrderSide.BUY, symbol: str = "SPY", quantity: str = "10") -> MatchingEngine:
    """An engine that has traded one order at the bar's price."""
    engine = make_engine()
    tif = TimeInForce.GTC if "/" in symbol else TimeInForce.DAY
    engine.submit(NewOrder(symbol, side, OrderType.MARKET, tif, D(quantity)), START)
    price = engine.prices[symbol]
    engine.open_bar(symbol, START, price, 1e6)
    engine.close_bar(symbol, START + 60, price, price, price, price, 1e6)
    engine.take_events()
    return engine


@pytest.mark.parametrize(
    ("side", "symbol"), [(OrderSide.BUY, "SPY"), (OrderSide.SELL, "SPY"), (OrderSide.BUY, "BTC/USD")]
)
def test_a_bust_leaves_position_and_cash_as_if_it_had_not_been(side: OrderSide, symbol: str) -> None:
    """Also net of a fee in coin. The order stays, and the event names the execution."""
    engine = _filled(side, symbol, "1")
    (row,) = engine.activities()
    assert engine.bust(row.execution_id, START + 100) is row
    (event,) = engine.take_events()
    assert (event.kind, event.execution, event.at) == ("trade_bust", row, START + 100)
    assert engine.positions() == []
    assert engine.account().cash == 100_000
    assert engine.activities() == [row]


def test_a_bust_of_a_sale_gives_the_shares_back() -> None:
    """At their price of that moment."""
    engine = _filled()
    engine.submit(NewOrder("SPY", OrderSide.SELL, OrderType.MARKET, TimeInForce.DAY, D(4)), START + 60)
    engine.open_bar("SPY", START + 60, 100.0, 1e6)
    engine.bust(engine.activities()[1].execution_id, START + 100)
    assert [(p.symbol, p.quantity) for p in engine.positions()] == [("SPY", D(10))]
    assert engine.account().cash == 99_000


def test_a_bust_is_refused_where_it_cannot_be() -> None:
    """Unknown, busted already, or through zero; nothing changes."""
    engine = _filled()
    (row,) = engine.activities()
    engine.amendments.adjust("SPY", D(-4), D(0))
    with pytest.raises(Refusal, match="would turn around"):
        engine.bust(row.execution_id, START)
    engine.amendments.adjust("SPY", D(4), D(0))
    engine.bust(row.execution_id, START)
    with pytest.raises(Refusal, match="busted already"):
        engine.bust(row.execution_id, START)
    with pytest.raises(Refusal, match="execution not found"):
        engine.bust("e", START)
    again = make_engine()
    again.load(engine.dump())
    with pytest.raises(Refusal, match="busted already"):
        again.bust(row.execution_id, START)


def test_an_adjustment_keeps_the_cost_of_what_is_held() -> None:
    """A split: twice the shares at half the price; then all of them gone, and some that came free."""
    engine = _filled()
    engine.amendments.adjust("SPY", D(10), D("1.5"))
    (position,) = engine.positions()
    assert (position.quantity, position.avg_entry_price) == (D(20), D(50))
    assert engine.account().cash == D("99001.5")
    with pytest.raises(Refusal, match="would turn around"):
        engine.amendments.adjust("SPY", D(-21), D(0))
    engine.amendments.adjust("SPY", D(-20), D(0))
    assert engine.positions() == []
    engine.amendments.adjust("QQQ", D(3), D(0))
    assert [(p.symbol, p.avg_entry_price) for p in engine.positions()] == [("QQQ", D(0))]
    with pytest.raises(Refusal, match="asset not found for NOPE"):
        engine.amendments.adjust("NOPE", D(1), D(0))


# -- orders that want more than is left -----------------------------------------------------------


def _rest(engine: MatchingEngine, side: OrderSide, *quantities: str) -> list[str]:
    """Limit orders far from the market, oldest first; their ids."""
    price = D(150) if side is OrderSide.SELL else D(50)
    return [
        engine.submit(NewOrder("SPY", side, OrderType.LIMIT, TimeInForce.GTC, D(quantity), price), START + 61).id
        for quantity in quantities
    ]


def _told(engine: MatchingEngine) -> list[tuple[str, str]]:
    return [(event.kind, event.order.id) for event in engine.take_events()]


def _trade_at(engine: MatchingEngine, price: float) -> None:
    engine.open_bar("SPY", START + 120, price, 1e6)
    engine.close_bar("SPY", START + 180, price, price, price, price, 1e6)


@pytest.mark.parametrize("side", [OrderSide.BUY, OrderSide.SELL])
def test_an_adjustment_cancels_what_would_reduce_by_more_than_is_left_newest_first(side: OrderSide) -> None:
    """Of sales and of covers; the older ones stay, and fill without the position crossing through zero."""
    engine = _filled(side)
    first, second, third = _rest(engine, side.opposite, "5", "3", "2")
    engine.take_events()
    engine.adjust("SPY", D(-4) * side.sign, D(0), START + 100)
    assert _told(engine) == [("canceled", third), ("canceled", second)]
    _trade_at(engine, 200.0 if side is OrderSide.BUY else 40.0)
    assert _told(engine) == [("fill", first)]
    assert [position.quantity for position in engine.positions()] == [D(1) * side.sign]


def test_a_bust_cancels_the_sales_of_what_it_takes_back_after_it_was_told() -> None:
    """Nothing is left, so every order that was to reduce goes; an order that opens stays."""
    engine = _filled()
    opening = _rest(engine, OrderSide.BUY, "1")
    first, second = _rest(engine, OrderSide.SELL, "6", "4")
    (row,) = engine.activities()
    engine.take_events()
    engine.bust(row.execution_id, START + 100)
    assert _told(engine) == [("trade_bust", row.order_id), ("canceled", second), ("canceled", first)]
    assert [order.id for order in engine.orders()] == opening


def test_a_bust_that_leaves_a_short_cancels_buys_beyond_it() -> None:
    """A buy that was to open is one that covers now."""
    engine = _filled()
    (sale,) = _rest(engine, OrderSide.SELL, "10")
    _trade_at(engine, 200.0)
    buys = _rest(engine, OrderSide.BUY, "8", "8")
    (bought, sold) = engine.activities()
    assert sold.order_id == sale
    engine.take_events()
    engine.bust(bought.execution_id, START + 200)
    assert _told(engine) == [("trade_bust", bought.order_id), ("canceled", buys[1])]
    _trade_at(engine, 40.0)
    assert [position.quantity for position in engine.positions()] == [D(-2)]


def test_a_group_whose_position_is_gone_goes_whole() -> None:
    """An OCO's take-profit takes its stop-loss along, each told once; an adjustment that leaves enough touches nothing."""
    engine = _filled()
    exits = Terms(order_class=OrderClass.OCO, exits=Exits(D(150), D(50)))
    oco = NewOrder("SPY", OrderSide.SELL, OrderType.LIMIT, TimeInForce.GTC, D(10), terms=exits)
    parent = engine.submit(oco, START + 61)
    engine.take_events()
    engine.adjust("SPY", D(1), D(0), START + 99)
    assert _told(engine) == []
    engine.adjust("SPY", D(-2), D(0), START + 100)
    (leg,) = engine.legs_of(parent)
    assert sorted(_told(engine)) == sorted([("canceled", parent.id), ("canceled", leg.id)])
    assert engine.open_count == 0


def test_a_sale_by_notional_never_takes_what_another_sale_holds() -> None:
    """The price has halved, so its money is worth twice the shares: it gets those that are free."""
    engine = _filled()
    (rests,) = _rest(engine, OrderSide.SELL, "5")
    money = Terms(notional=D(500))
    new = NewOrder("SPY", OrderSide.SELL, OrderType.MARKET, TimeInForce.DAY, D(0), terms=money)
    engine.submit(new, START + 61)
    _trade_at(engine, 50.0)
    assert [position.quantity for position in engine.positions()] == [D(5)]
    _trade_at(engine, 200.0)
    order = engine.order(rests)
    assert order is not None
    assert (order.status, engine.positions()) == (OrderStatus.FILLED, [])


async def test_a_book_replays_the_cancels_of_an_adjustment(tmp_path: Path) -> None:
    """They follow from the input that was recorded, and are none themselves."""
    path = tmp_path / "book"
    rest = {"symbol": "BTC/USD", "qty": "0.9", "side": "sell", "type": "limit", "time_in_force": "gtc"}
    async with Desk.opened(path, minutes()) as desk:
        desk.step()
        desk.buy("BTC/USD", "1")
        desk.step(2)
        order = desk.ask("POST", "/v2/orders", rest | {"limit_price": "50000"})
        desk.exchange.post(desk.account, Posting("CORR", "BTC/USD", D("-0.5"), D(0)))
        before = desk.get(f"/v2/orders/{order['id']}")
        desk.step(5)
    async with Desk.opened(path, minutes()) as desk:
        assert before["status"] == "canceled"
        assert desk.get(f"/v2/orders/{order['id']}") == before


# -- over the wire -------------------------------------------------------------------------------


def _post(venue: VenueProcess, what: str, body: Any, key: str = KEY) -> httpx.Response:
    return httpx.post(f"{venue.admin}/accounts/{key}/{what}", json=body, trust_env=False, timeout=30)


def test_a_posted_activity_is_listed_with_the_right_types(venue: VenueProcess) -> None:
    """By its type, by the category, beside fills; and the account has it."""
    with venue.client() as client:
        assert client.get("/v2/account").status_code == 200
        posted = _post(venue, "activities", {"activity_type": "DIV", "symbol": "BTC/USD", "net_amount": "1.25"}).json()
        assert (posted["activity_type"], posted["net_amount"], posted["status"]) == ("DIV", "1.25", "executed")
        _post(venue, "activities", {"activity_type": "CSW", "net_amount": "-100"})
        path = "/v2/account/activities"
        assert client.get(path, params={"category": "non_trade_activity"}).json()[1] == posted
        assert client.get(f"{path}/DIV").json() == [posted]
        assert client.get(path, params={"activity_types": "FILL,DIV"}).json() == [posted]
        assert client.get(path, params={"category": "trade_activity"}).json() == []
        asc = {"category": "non_trade_activity", "direction": "asc", "page_size": "1"}
        (first,) = client.get(path, params=asc).json()
        (second,) = client.get(path, params={**asc, "page_token": first["id"]}).json()
        assert [first["activity_type"], second["activity_type"]] == ["DIV", "CSW"]
        assert client.get("/v2/account").json()["cash"] == "99901.25"


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("activities", {"activity_type": "FILL"}, 422),
        ("activities", {"activity_type": "NOPE"}, 422),
        ("activities", {"activity_type": 7}, 422),
        ("activities", [], 422),
        ("activities", {"activity_type": "DIV", "net_amount": "much"}, 422),
        ("activities", {"activity_type": "SPLIT", "symbol": "NOPE", "qty": "1"}, 404),
        ("busts", {}, 422),
        ("busts", {"execution_id": "e"}, 404),
    ],
)
def test_what_makes_no_sense_is_refused(lasting_venue: VenueProcess, what: str, body: Any, status: int) -> None:
    """In the venue's usual words; nothing has changed."""
    with lasting_venue.client() as client:
        before = client.get("/v2/account").json()["cash"]
        assert _post(lasting_venue, what, body).status_code == status
        assert client.get("/v2/account").json()["cash"] == before


def test_an_account_that_nobody_opened_cannot_be_amended(lasting_venue: VenueProcess) -> None:
    """The admin port opens none."""
    assert _post(lasting_venue, "activities", {"activity_type": "CSD"}, key="nobody").status_code == 404
