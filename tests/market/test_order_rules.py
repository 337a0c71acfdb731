"""What Alpaca takes in combination: each row of the table is broken by an order, and named by its reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from holdfast.market import SymbolProperties
from holdfast.market.order_rules import RULES, must_be_whole, objection, rounded_terms
from holdfast.model import AssetClass, OrderClass, OrderSide, OrderTerms, OrderType, TimeInForce
from holdfast.model.terms import order_type_of

D = Decimal
SPY = SymbolProperties("SPY", fractionable=True)
COIN = SymbolProperties("BTC/USD", asset_class=AssetClass.CRYPTO)
BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC, IOC, FOK, OPG = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.OPG
BRACKET, OCO, OTO = OrderClass.BRACKET, OrderClass.OCO, OrderClass.OTO


def terms(**values: Any) -> OrderTerms:
    """Terms whose numbers are given as they come."""
    exact: dict[str, Any] = {
        name: D(str(value)) if type(value) in (int, float) else value for name, value in values.items()
    }
    return OrderTerms(**exact)


def judge(
    side: OrderSide = BUY,
    time_in_force: TimeInForce = DAY,
    price: float | None = None,
    properties: SymbolProperties = SPY,
    reduce_only: bool = False,
    **values: Any,
) -> str:
    """What is wrong with such an order, with the last price at 100."""
    named = terms(**values)
    exact = None if price is None else D(str(price))
    return objection(
        properties,
        side=side,
        order_type=order_type_of(exact, named),
        time_in_force=time_in_force,
        price=exact,
        terms=named,
        reduce_only=reduce_only,
        last=D(100),
    )


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"stop_price": -1}, "positive number"),
    ({"trail_price": 1, "trail_percent": 1}, "not both"),
    ({"trail_price": 1, "price": 99}, "neither a limit nor a stop"),
    ({"trail_percent": 100}, "less than 100 percent"),
    (
        {"properties": COIN, "time_in_force": GTC, "order_class": BRACKET, "take_profit": 110, "stop_loss": 90},
        "bring no others",
    ),
    ({"properties": COIN, "time_in_force": GTC, "stop_price": 110}, "market, limit or stop-limit"),
    ({"properties": COIN, "time_in_force": DAY}, "gtc or ioc"),
    ({"properties": COIN, "time_in_force": GTC, "price": 99, "extended_hours": True}, "around the clock"),
    ({"time_in_force": OPG, "stop_price": 110}, "opg and cls orders"),
    ({"time_in_force": FOK, "stop_price": 110}, "ioc and fok orders"),
    ({"extended_hours": True}, "only limit orders"),
    ({"extended_hours": True, "price": 99, "time_in_force": IOC}, "day or gtc"),
    ({"extended_hours": True, "price": 99, "order_class": OTO, "stop_loss": 90}, "do not trade in extended hours"),
    ({"stop_loss": 90}, "a simple order brings no exits"),
    ({"stop_loss_limit": 90}, "needs its stop price"),
    ({"order_class": BRACKET, "take_profit": 110, "stop_loss": 90, "time_in_force": IOC}, "are day or gtc"),
    ({"order_class": BRACKET, "take_profit": 110, "stop_loss": 90, "stop_price": 105}, "are market or limit"),
    ({"order_class": BRACKET, "take_profit": 110}, "a take-profit and a stop-loss"),
    ({"order_class": OTO, "take_profit": 110, "stop_loss": 90}, "one exit"),
    ({"order_class": OCO, "price": 110, "reduce_only": True}, "with a stop-loss beside it"),
    ({"order_class": OCO, "price": 110, "stop_loss": 90, "side": SELL}, "no position that it leaves"),
    ({"order_class": BRACKET, "take_profit": 110, "stop_loss": 90, "reduce_only": True}, "brings no exits of its own"),
    ({"order_class": OCO, "price": 90, "stop_loss": 110, "side": SELL, "reduce_only": True}, "winning side"),
    ({"order_class": BRACKET, "take_profit": 80, "stop_loss": 90}, "winning side"),
    ({"order_class": OTO, "stop_loss": 99.995}, "at least 0.01"),
    ({"stop_price": 99}, "passed already"),
]


@pytest.mark.parametrize(("order", "reason"), BROKEN)
def test_what_the_venue_would_refuse_is_refused_with_its_reason(order: dict[str, Any], reason: str) -> None:
    """Before anything is sent, in a sentence that names the symbol."""
    found = judge(**order)

    assert reason in found
    assert found.startswith(("SPY: ", "BTC/USD: "))


def test_every_row_of_the_table_is_broken_by_an_order_above() -> None:
    """A row that nothing can break would be no rule."""
    reasons = {judge(**order).partition(": ")[2] for order, _ in BROKEN}

    assert {rule.reason for rule in RULES} <= reasons


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"price": 99, "time_in_force": FOK},
        {"price": 99, "time_in_force": OPG},
        {"time_in_force": TimeInForce.CLS},
        {"stop_price": 105},
        {"stop_price": 105, "price": 106, "time_in_force": GTC},
        {"stop_price": 95, "side": SELL},
        {"trail_price": 2},
        {"trail_percent": 1.5, "time_in_force": GTC, "side": SELL},
        {"price": 99, "extended_hours": True},
        {"price": 99, "extended_hours": True, "time_in_force": GTC},
        {"order_class": BRACKET, "take_profit": 110, "stop_loss": 90, "stop_loss_limit": 89},
        {"order_class": BRACKET, "take_profit": 90, "stop_loss": 110, "side": SELL, "time_in_force": GTC},
        {"order_class": OTO, "take_profit": 110},
        {"order_class": OTO, "stop_loss": 99.99},
        {"order_class": OCO, "price": 110, "stop_loss": 90, "side": SELL, "reduce_only": True},
        {"properties": COIN, "price": 99, "stop_price": 101, "time_in_force": GTC},
        {"properties": COIN, "time_in_force": IOC},
    ],
)
def test_what_the_venue_takes_is_not_refused(order: dict[str, Any]) -> None:
    """Every type, every time in force, every class."""
    assert judge(**order) == ""


def test_a_stop_that_is_passed_does_not_keep_an_exit_from_the_venue() -> None:
    """Our price may be old: where the market is, the venue knows, and an exit must not wait for us."""
    assert judge(side=SELL, stop_price=101, reduce_only=True) == ""


def test_every_price_is_put_on_its_tick() -> None:
    """Exits' limits are never more aggressive than asked, stops go to the nearest tick, percents stay as they are."""
    rounded = rounded_terms(
        SPY, BUY, terms(order_class=BRACKET, take_profit=110.001, stop_loss=94.996, stop_loss_limit=94.001)
    )

    assert (rounded.take_profit, rounded.stop_loss, rounded.stop_loss_limit) == (D("110.01"), D("95.00"), D("94.01"))
    assert rounded_terms(SPY, SELL, terms(trail_percent=1.234)).trail_percent == D("1.234")


def test_orders_that_bring_others_or_trail_are_in_whole_shares() -> None:
    """Parts of a share trade in simple orders that do not trail."""
    assert must_be_whole(terms(trail_price=1))
    assert must_be_whole(terms(order_class=OTO, stop_loss=90))
    assert not must_be_whole(terms(stop_price=90))
    quantity, _, flaw = SPY.round_then_validate(quantity=10.7, side=BUY, whole=True)
    assert (quantity, flaw) == (D(10), "")


def test_the_type_follows_from_the_prices() -> None:
    """Nobody names it twice."""
    assert order_type_of(None, None) is OrderType.MARKET
    assert order_type_of(D(1), None) is OrderType.LIMIT
    assert order_type_of(None, terms(stop_price=1)) is OrderType.STOP
    assert order_type_of(D(1), terms(stop_price=1)) is OrderType.STOP_LIMIT
    assert order_type_of(None, terms(trail_percent=1)) is OrderType.TRAILING_STOP
