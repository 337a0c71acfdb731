"""The matching engine, rule by rule."""

from __future__ import annotations

import json
import math
import uuid
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from holdfast.model import Asset, AssetClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import ConfigurationError, VenueError
from holdfast.time import FixedSessions
from holdfast.venue.engine import EngineSettings, MatchingEngine
from holdfast.venue.orders import NewOrder, Refusal, VenueOrder

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


# ---------------------------------------------------------------------- refusals

LONG_10 = [("trade", order())]
SHORT_10 = [("trade", order(side=SELL))]
ONE_BTC = [("trade", order("BTC/USD", quantity="1"))]

# what was done before, the order, HTTP status, code, text (and members of the body)
REFUSALS: dict[str, tuple[list[tuple[str, NewOrder]], NewOrder, int, int, str, dict[str, Any]]] = {
    "client order id used before": (
        [("rest", order(client_order_id="a"))],
        order(client_order_id="a"),
        422,
        40010001,
        "client_order_id must be unique",
        {},
    ),
    "client order id of a canceled order": (
        [("cancel", order(client_order_id="a"))],
        order(client_order_id="a"),
        422,
        40010001,
        "client_order_id must be unique",
        {},
    ),
    "client order id too long": (
        [],
        order(client_order_id="x" * 129),
        422,
        40010001,
        "client_order_id must be no more than 128 characters",
        {},
    ),
    "nothing": ([], order(quantity="0"), 422, 40010001, "qty must be > 0", {}),
    "less than nothing": ([], order(quantity="-1"), 422, 40010001, "qty must be > 0", {}),
    "not a number": ([], order(quantity="NaN"), 422, 40010001, "qty must be > 0", {}),
    "beyond all reason": ([], order(quantity="1e15"), 422, 40010001, "qty is too large", {}),
    "limit order without limit": (
        [],
        msgspec.structs.replace(order(), order_type=OrderType.LIMIT),
        422,
        40010001,
        "limit orders require a limit price",
        {},
    ),
    "market order with limit": (
        [],
        msgspec.structs.replace(order(limit="1"), order_type=OrderType.MARKET),
        422,
        40010001,
        "market orders require no stop or limit price",
        {},
    ),
    "limit of zero": ([], order(limit="0"), 422, 40010001, "limit price must be > 0", {}),
    "limit beyond all reason": ([], order(limit="1e15"), 422, 40010001, "limit price is too large", {}),
    "sub-penny": (
        [],
        order(limit="290.123"),
        422,
        42210000,
        "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria",
        {},
    ),
    "five decimals below a dollar": (
        [],
        order(limit="0.12345"),
        422,
        42210000,
        "invalid limit_price 0.12345. sub-penny increment does not fulfill minimum pricing criteria",
        {},
    ),
    "off the crypto's own increment": (
        [],
        order("BIG/USD", limit="10.25"),
        422,
        42210000,
        "invalid limit_price 10.25. sub-penny increment does not fulfill minimum pricing criteria",
        {},
    ),
    "off the crypto's own lot": (
        [],
        order("BIG/USD", quantity="1.001"),
        422,
        42210000,
        "invalid qty 1.001. it must be a multiple of 0.01",
        {},
    ),
    "ten decimals": (
        [],
        order(quantity="0.1234567891"),
        422,
        42210000,
        "invalid qty 0.1234567891. it must be a multiple of 0.000000001",
        {},
    ),
    "unknown symbol": ([], order("NOPE"), 422, 42210000, 'asset "NOPE" not found', {}),
    "not tradable": ([], order("HALTED"), 422, 42210000, 'asset "HALTED" is not tradable', {}),
    "not fractionable": ([], order("PLAIN", quantity="1.5"), 403, 40310000, 'asset "PLAIN" is not fractionable', {}),
    "fractional and not DAY": (
        [],
        order(quantity="1.5", time_in_force=GTC),
        422,
        42210000,
        "fractional orders must be DAY orders",
        {},
    ),
    "fractional below a dollar": (
        [],
        order(quantity="0.009"),
        403,
        40310000,
        "cost basis must be >= minimal amount of order 1",
        {},
    ),
    "fractional short": (
        [],
        order(side=SELL, quantity="1.5"),
        422,
        42210000,
        "fractional orders cannot be sold short",
        {},
    ),
    "not shortable": ([], order("PLAIN", SELL), 422, 42210000, 'asset "PLAIN" cannot be sold short', {}),
    "crypto for the day": (
        [],
        order("BTC/USD", time_in_force=DAY_ORDER),
        422,
        42210000,
        "invalid crypto time_in_force",
        {},
    ),
    "crypto below ten dollars": (
        [],
        order("BTC/USD", quantity="0.0002"),
        403,
        40310000,
        "cost basis must be >= minimal amount of order 10",
        {},
    ),
    "crypto above 200,000 dollars": (
        [],
        order("BTC/USD", quantity="5.1"),
        403,
        40310000,
        "cost basis must be <= maximal amount of order 200000",
        {},
    ),
    "crypto sold short": (
        [],
        order("BTC/USD", SELL, "0.5"),
        403,
        40310000,
        "insufficient balance for BTC (requested: 0.5, available: 0)",
        {"available": "0", "balance": "0", "symbol": "USD"},
    ),
    "more crypto than is left after the fee": (
        ONE_BTC,
        order("BTC/USD", SELL, "1"),
        403,
        40310000,
        "insufficient balance for BTC (requested: 1, available: 0.9975)",
        {"available": "0.9975", "balance": "0.9975", "symbol": "USD"},
    ),
    "more than is held": (
        LONG_10,
        order(side=SELL, quantity="11"),
        403,
        40310000,
        "insufficient qty available for order (requested: 11, available: 10)",
        {"available": "10", "existing_qty": "10", "held_for_orders": "0", "related_orders": [], "symbol": "SPY"},
    ),
    "more than other orders leave": (
        [*LONG_10, ("rest", order(side=SELL, quantity="9", limit="200"))],
        order(side=SELL, quantity="2"),
        403,
        40310000,
        "insufficient qty available for order (requested: 2, available: 1)",
        {"held_for_orders": "9", "related_orders": ["00000000-0000-4001-8000-000000000002"]},
    ),
    "cover through zero": (
        SHORT_10,
        order(quantity="11"),
        403,
        40310000,
        "insufficient qty available for order (requested: 11, available: 10)",
        {},
    ),
    "too dear": (
        [],
        order(quantity="2000", limit="101"),
        403,
        40310000,
        "insufficient buying power",
        {"buying_power": "200000", "cost_basis": "202000"},
    ),
    "too dear beside what rests": (
        [("rest", order(quantity="1500", limit="100"))],
        order(quantity="600", limit="90"),
        403,
        40310000,
        "insufficient buying power",
        {"buying_power": "50000", "cost_basis": "54000"},
    ),
    "market order with its collar": (
        [],
        order(quantity="1960"),
        403,
        40310000,
        "insufficient buying power",
        {"buying_power": "200000", "cost_basis": "200900"},
    ),
    "crypto on margin": (
        [],
        order("BTC/USD", quantity="2.5", limit="40000.1"),
        403,
        40310000,
        "insufficient buying power",
        {"buying_power": "100000", "cost_basis": "100000.25"},
    ),
    "non-marginable on margin": (
        [],
        order("CASHONLY", quantity="10001", limit="10"),
        403,
        40310000,
        "insufficient buying power",
        {"buying_power": "100000", "cost_basis": "100010"},
    ),
    "short beyond the buying power": (
        [],
        order(side=SELL, quantity="1950"),
        403,
        40310000,
        "insufficient buying power",
        {"buying_power": "200000", "cost_basis": "200850"},
    ),
    "against a market order": (
        [("rest", order())],
        order(side=SELL, limit="500"),
        403,
        40310000,
        "potential wash trade detected. use complex orders",
        {
            "existing_order_id": "00000000-0000-4001-8000-000000000001",
            "reject_reason": "opposite side market/stop order exists",
        },
    ),
    "market order against a limit": (
        [*LONG_10, ("rest", order(limit="90"))],
        order(side=SELL),
        403,
        40310000,
        "potential wash trade detected. use complex orders",
        {"reject_reason": "opposite side limit order exists"},
    ),
    "crossing limits": (
        [*LONG_10, ("rest", order(limit="90"))],
        order(side=SELL, limit="90"),
        403,
        40310000,
        "potential wash trade detected. use complex orders",
        {"reject_reason": "opposite side limit order exists"},
    ),
    "short beside an open buy": (
        [("rest", order(limit="90"))],
        order(side=SELL, limit="110"),
        403,
        40310000,
        "cannot open a short sell while a long buy order is open",
        {},
    ),
    "long beside an open short sale": (
        [("rest", order(side=SELL, limit="110"))],
        order(limit="90"),
        403,
        40310000,
        "cannot open a long buy while a short sell order is open",
        {},
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    """Each row is refused with its status, code, text and members, and changes nothing."""
    steps, new, status, code, text, members = REFUSALS[name]
    engine = make_engine()
    for what, earlier in steps:
        if what == "trade":
            trade(engine, earlier)
        else:
            placed = engine.submit(earlier, NOON)
            if what == "cancel":
                engine.cancel(placed.id, NOON)
    before = engine.dump()
    engine.take_events()
    with pytest.raises(Refusal) as caught:
        engine.submit(new, NOON)
    assert (caught.value.http_status, caught.value.code, caught.value.message) == (status, code, text)
    assert members.items() <= caught.value.extras.items()
    assert engine.dump() == before
    assert engine.take_events() == []


def test_a_small_or_cash_account_may_not_short() -> None:
    """Shorting needs a margin account with $2,000 of equity."""
    for engine in (make_engine(cash=1_999), make_engine(multiplier=1)):
        with pytest.raises(Refusal, match="account is not allowed to short"):
            engine.submit(order(side=SELL, quantity="1"), NOON)


def test_a_market_order_before_the_first_trade_is_refused_and_a_limit_order_is_not() -> None:
    """Nothing says what a market order would cost before anything has traded."""
    engine = make_engine()
    engine.prices.clear()
    with pytest.raises(Refusal, match="no trade in SPY yet"):
        engine.submit(order(), NOON)
    assert engine.submit(order(limit="100"), NOON).status is OrderStatus.NEW


def test_a_cash_account_buys_with_its_cash() -> None:
    """With the multiplier 1 the buying power is the free cash."""
    engine = make_engine(multiplier=1)
    engine.submit(order(quantity="600", limit="100"), NOON)
    assert engine.account().buying_power == 40_000
    with pytest.raises(Refusal, match="insufficient buying power"):
        engine.submit(order(quantity="401", limit="100"), NOON)
    engine.submit(order(quantity="400", limit="100"), NOON)
    assert engine.account().buying_power == 0


def test_a_refused_client_order_id_may_be_used_again() -> None:
    """Only an accepted order uses its id up."""
    engine = make_engine()
    with pytest.raises(Refusal):
        engine.submit(order(quantity="0", client_order_id="a"), NOON)
    assert engine.submit(order(client_order_id="a"), NOON).client_order_id == "a"


def test_cancel() -> None:
    """Unknown: 404. Open: canceled with one event. Canceled: fine, no event. Filled or expired: 422."""
    engine = make_engine()
    with pytest.raises(Refusal, match="order not found for nope") as caught:
        engine.cancel("nope", NOON)
    assert (caught.value.http_status, caught.value.code) == (404, 40410000)

    resting = engine.submit(order(limit="90"), NOON)
    engine.take_events()
    assert engine.cancel(resting.id, NOON + 1).status is OrderStatus.CANCELED
    assert engine.cancel(resting.id, NOON + 2).canceled_at == NOON + 1
    assert [event.kind for event in engine.take_events()] == ["canceled"]
    assert engine.account().buying_power == 200_000

    filled = trade(engine, order())
    with pytest.raises(Refusal, match='order is already in "filled" state') as caught:
        engine.cancel(filled.id, NOON)
    assert (caught.value.http_status, caught.value.code) == (422, 42210000)
    late = engine.submit(order(limit="90"), NOON)
    engine.expire_day_orders(20 * HOUR)
    with pytest.raises(Refusal, match='order is already in "expired" state'):
        engine.cancel(late.id, NOON)


# ---------------------------------------------------------------------- fills


def test_a_market_order_fills_at_the_next_open() -> None:
    """Not inside submit, and not at the price that was known then."""
    engine = make_engine()
    placed = engine.submit(order(), NOON)
    assert placed.status is OrderStatus.NEW
    engine.open_bar("SPY", NOON + 5, 101.25, 1000.0)
    assert (placed.status, placed.filled_avg_price, placed.filled_at) == (
        OrderStatus.FILLED,
        Decimal("101.25"),
        NOON + 5,
    )
    assert engine.account().cash == Decimal("98987.5")


def test_a_bar_without_volume_fills_nothing_unless_participation_is_unlimited() -> None:
    """Volume 0 means that nobody traded in that minute."""
    for participation, status in ((Decimal("0.1"), OrderStatus.NEW), (None, OrderStatus.FILLED)):
        engine = make_engine(participation=participation)
        placed = engine.submit(order(), NOON)
        engine.open_bar("SPY", NOON, 100.0, 0.0)
        engine.close_bar("SPY", NOON, 100.0, 100.0, 100.0, 100.0, 0.0)
        assert placed.status is status


def test_a_large_order_takes_its_share_of_each_bar_in_whole_shares() -> None:
    """A tenth of 105, rounded down, from every bar until it is done."""
    engine = make_engine()
    placed = engine.submit(order(quantity="25"), NOON)
    for expected in (10, 20, 25):
        engine.open_bar("SPY", NOON, 100.0, 105.0)
        engine.close_bar("SPY", NOON, 100.0, 100.0, 100.0, 100.0, 105.0)
        assert placed.filled_qty == expected
    kinds = [event.kind for event in engine.take_events()]
    assert kinds == ["new", "partial_fill", "partial_fill", "fill"]


def test_orders_share_a_bar_by_price_then_time() -> None:
    """Market orders first, then the better limit, then the earlier one."""
    engine = make_engine()
    late_better = [
        engine.submit(order(limit=limit, client_order_id=name), NOON)
        for limit, name in (("100", "first"), ("101", "better"), ("100", "second"))
    ]
    engine.submit(order(client_order_id="market"), NOON)
    engine.open_bar("SPY", NOON, 99.0, 350.0)
    filled = [(e.client_order_id, int(e.quantity)) for e in engine.activities()]
    assert filled == [("market", 10), ("better", 10), ("first", 10), ("second", 5)]
    assert late_better[2].status is OrderStatus.PARTIALLY_FILLED
    engine.close_bar("SPY", NOON, 99.0, 99.0, 98.0, 98.0, 350.0)
    assert len(engine.activities()) == 4  # the bar's share was used up at its open


def test_a_limit_order_gets_the_better_open_or_its_limit() -> None:
    """Through the limit at the open: at the open. Reached later in the bar: at the limit. Never worse."""
    engine = make_engine()
    resting = engine.submit(order(limit="99"), NOON)
    engine.open_bar("SPY", NOON, 100.0, 1e6)
    engine.close_bar("SPY", NOON, 100.0, 100.0, 99.01, 100.0, 1e6)
    assert resting.status is OrderStatus.NEW
    engine.open_bar("SPY", NOON, 100.0, 1e6)
    engine.close_bar("SPY", NOON, 100.0, 100.0, 98.5, 100.0, 1e6)
    assert resting.filled_avg_price == 99

    improved = engine.submit(order(side=SELL, limit="101"), NOON)
    engine.open_bar("SPY", NOON, 102.0, 1e6)
    assert improved.filled_avg_price == 102


def test_an_order_that_comes_during_a_bar_sees_only_its_close() -> None:
    """The bar's low may have been before the order was there."""
    engine = make_engine()
    low = engine.submit(order(limit="99", client_order_id="low"), NOON)
    close = engine.submit(order(limit="100", client_order_id="close"), NOON)
    engine.close_bar("SPY", NOON, 100.0, 100.0, 98.0, 99.5, 1e6)
    assert low.status is OrderStatus.NEW
    assert close.filled_avg_price == Decimal("99.5")


def test_the_spread_costs_half_on_each_side_and_rounds_against_the_taker() -> None:
    """Five bps above 100.01 are 100.060005, which costs a buyer 100.07; a seller gets 99.95."""
    engine = make_engine(spread_bps=10.0)
    assert trade(engine, order(), 100.01).filled_avg_price == Decimal("100.07")
    assert trade(engine, order(side=SELL), 100.01).filled_avg_price == Decimal("99.95")


def test_the_spread_keeps_a_limit_from_filling_at_a_mere_touch() -> None:
    """A buy fills when the ask, not the last trade, is within its limit."""
    engine = make_engine(spread_bps=10.0)
    resting = engine.submit(order(limit="99"), NOON)
    for low, status in ((98.96, OrderStatus.NEW), (98.95, OrderStatus.FILLED)):
        engine.open_bar("SPY", NOON, 100.0, 1e6)
        engine.close_bar("SPY", NOON, 100.0, 100.0, low, 100.0, 1e6)
        assert resting.status is status
    assert resting.filled_avg_price == 99


def test_ioc_meets_one_moment_and_no_more() -> None:
    """What the first moment does not fill is canceled, also where nobody traded."""
    engine = make_engine()
    partly = engine.submit(order(quantity="20", time_in_force=IOC), NOON)
    engine.open_bar("SPY", NOON, 100.0, 100.0)
    assert (partly.status, partly.filled_qty) == (OrderStatus.CANCELED, Decimal(10))
    events = engine.take_events()
    assert [event.kind for event in events] == ["new", "partial_fill", "canceled"]
    assert [event.snapshot().status for event in events] == ["new", "partially_filled", "canceled"]
    assert [event.snapshot().canceled_at for event in events] == [None, None, NOON]
    empty = engine.submit(order(time_in_force=IOC), NOON)
    engine.close_bar("SPY", NOON, 100.0, 100.0, 100.0, 100.0, 0.0)
    assert empty.status is OrderStatus.CANCELED
    assert engine.open_count == 0
    assert not engine.has_open("SPY")


def test_crypto_buys_pay_in_coin_and_sells_in_cash() -> None:
    """A buy of 0.1 BTC leaves 0.09975; a sell's fee leaves the cash. Both round up to nine decimals."""
    engine = make_engine()
    trade(engine, order("BTC/USD", quantity="0.1"))
    bought = engine.activities()[-1]
    assert (bought.cum_qty, bought.fee_coin, bought.position_qty) == (
        Decimal("0.1"),
        Decimal("0.00025"),
        Decimal("0.09975"),
    )
    trade(engine, order("BTCUSD", SELL, "0.000000333", time_in_force=GTC), 40_000.1)
    sold = engine.activities()[-1]
    assert sold.symbol == "BTC/USD"
    assert sold.fee_cash == Decimal("0.000033301")  # 0.0133200333 x 25 bps = 0.00003330008..., rounded up
    assert engine.account().cash == Decimal(96_000) + Decimal("0.0133200333") - Decimal("0.000033301")


def test_a_limit_order_that_rested_pays_the_maker_fee() -> None:
    """Taker at its first moment, maker afterwards."""
    engine = make_engine()
    engine.submit(order("BTC/USD", quantity="0.1", limit="39000"), NOON)
    engine.open_bar("BTC/USD", NOON, 40_000.0, 1e6)
    engine.close_bar("BTC/USD", NOON, 40_000.0, 40_000.0, 38_000.0, 38_500.0, 1e6)
    engine.submit(order("BTC/USD", quantity="0.1", limit="39000"), NOON)
    engine.open_bar("BTC/USD", NOON, 38_500.0, 1e6)
    assert [e.fee_coin for e in engine.activities()] == [Decimal("0.00015"), Decimal("0.00025")]
    assert [e.price for e in engine.activities()] == [39_000, 38_500]


# ---------------------------------------------------------------------- account, positions, time


def test_margin_of_longs_and_shorts() -> None:
    """Half of what is held is margin; the short's proceeds are cash and no buying power."""
    engine = make_engine()
    trade(engine, order(quantity="100"))
    trade(engine, order("CASHONLY", quantity="1000"))
    account = engine.account()
    assert (account.cash, account.long_market_value, account.equity) == usd(80_000, 20_000, 100_000)
    assert account.initial_margin == 5_000 + 10_000
    assert account.maintenance_margin == 6_000
    assert account.buying_power == 2 * (100_000 - 15_000)
    assert account.non_marginable_buying_power == 80_000

    trade(engine, order(side=SELL, quantity="100"), 100.0)
    trade(engine, order(side=SELL, quantity="200"), 100.0)
    engine.prices["SPY"] = 110.0
    account = engine.account()
    assert (account.cash, account.short_market_value, account.equity) == usd(110_000, -22_000, 98_000)
    assert account.buying_power == 2 * (98_000 - 11_000 - 10_000)
    assert account.non_marginable_buying_power == 77_000  # less than the 88,000 of cash that are not the short's
    (cash_only, short) = engine.positions()
    assert (cash_only.symbol, short.quantity, short.avg_entry_price) == ("CASHONLY", *usd(-200, 100))
    assert short.unrealized_pl == -2_000


def test_average_entry_price_moves_when_a_position_grows_and_stays_when_it_shrinks() -> None:
    """Rounded to nine decimals."""
    engine = make_engine()
    trade(engine, order(quantity="1"), 100.0)
    trade(engine, order(quantity="2"), 101.0)
    view = engine.position("SPY")
    assert view is not None
    assert view.avg_entry_price == Decimal("100.666666667")
    trade(engine, order(side=SELL, quantity="2"), 150.0)
    view = engine.position("SPY")
    assert view is not None
    assert (view.quantity, view.avg_entry_price) == (Decimal(1), Decimal("100.666666667"))
    trade(engine, order(side=SELL, quantity="1"), 150.0)
    assert engine.position("SPY") is None
    assert engine.positions() == []


def test_closing_orders_hold_their_quantity() -> None:
    """An open sale makes what it would sell unavailable; it needs no buying power."""
    engine = make_engine()
    trade(engine, order())
    power = engine.account().buying_power
    engine.submit(order(side=SELL, quantity="4", limit="200"), NOON)
    view = engine.position("SPY")
    assert view is not None
    assert view.quantity_available == 6
    assert engine.account().buying_power == power


def test_day_orders_expire_at_the_close_of_the_session_they_were_sent_in_or_wait_for() -> None:
    """Sent after the close, a DAY order is good for the next session."""
    engine = make_engine()
    today = engine.submit(order(limit="90", client_order_id="today"), NOON)
    tomorrow = engine.submit(order(limit="90", client_order_id="tomorrow"), 20 * HOUR)
    long = engine.submit(order(limit="90", time_in_force=GTC), NOON)
    assert engine.next_expiry() == today.expires_at == 20 * HOUR
    engine.expire_day_orders(20 * HOUR - 1)
    assert today.is_open
    engine.expire_day_orders(20 * HOUR)
    assert (today.status, today.expired_at, tomorrow.status) == (OrderStatus.EXPIRED, 20 * HOUR, OrderStatus.NEW)
    assert engine.next_expiry() == tomorrow.expires_at == DAY + 20 * HOUR
    engine.expire_day_orders(NOON + 90 * DAY)
    assert [str(each.status) for each in (tomorrow, long)] == ["expired", "expired"]
    assert engine.account().buying_power == 200_000


def test_last_day_is_noted_when_the_session_ends() -> None:
    """Equity, maintenance margin and prices of the close."""
    engine = make_engine()
    trade(engine, order())
    engine.prices["SPY"] = 110.0
    engine.end_session()
    engine.prices["SPY"] = 120.0
    account, view = engine.account(), engine.position("SPY")
    assert view is not None
    assert (account.last_equity, account.equity, account.last_maintenance_margin) == usd(100_100, 100_200, 330)
    assert (view.lastday_price, view.current_price) == usd(110, 120)


def test_orders_are_found_by_state_symbol_and_time() -> None:
    """Newest first unless asked otherwise; both bounds exclude."""
    engine = make_engine()
    names = ["a", "b", "c", "d"]
    for number, name in enumerate(names):
        engine.submit(order("BTC/USD" if name == "c" else "SPY", limit="90", client_order_id=name), NOON + number)
    engine.cancel(engine.orders()[0].id, NOON + 9)

    def found(status: str = "all", **query: Any) -> list[str]:
        return [each.client_order_id for each in engine.orders(status, **query)]

    assert found() == ["d", "c", "b", "a"]
    assert found("open", newest_first=False) == ["a", "b", "c"]
    assert found("closed") == ["d"]
    assert found(symbols=["BTCUSD"]) == found(symbols=["BTC/USD"]) == ["c"]
    assert found(after=NOON, until=NOON + 3) == ["c", "b"]
    assert found(limit=2) == ["d", "c"]


def test_ids_are_uuids_of_the_namespace_and_the_same_every_time() -> None:
    """The same inputs give the same ids; another namespace gives others; orders and executions never share one."""

    def ids(namespace: int) -> list[str]:
        engine = make_engine(namespace=namespace)
        placed = [trade(engine, order()) for _ in range(3)]
        return (
            [each.id for each in placed] + [e.execution_id for e in engine.activities()] + [placed[0].client_order_id]
        )

    top = 2**60 - 1
    assert ids(5) == ids(5)
    everything = ids(0) + ids(5) + ids(5 << 12) + ids(5 << 28) + ids(top)
    assert len(set(everything)) == len(everything)
    assert all(uuid.UUID(each).version == 4 and str(uuid.UUID(each)) == each for each in everything)


def test_money_is_exact_whatever_the_callers_decimal_context_is() -> None:
    """The engine brings its own context and leaves the caller's alone."""
    results = []
    for precision in (6, 28):
        engine = make_engine()
        with localcontext(Context(prec=precision)) as context:
            trade(engine, order("BTC/USD", quantity="0.123456789"), 40_123.123456789)
            trade(engine, order("BTC/USD", SELL, "0.023456789"), 40_123.123456789)
            results.append((engine.account(), engine.positions()))
            assert context.prec == precision
    assert results[0] == results[1]
    fee = math.ceil(Fraction("0.023456789") * Fraction("40123.123456789") * Fraction(25, 10_000) * 10**9)
    expected = 100_000 - Fraction("0.1") * Fraction("40123.123456789") - Fraction(fee, 10**9)
    assert Fraction(results[0][0].cash) == expected


def test_state_that_is_damaged_is_refused() -> None:
    """One clear error, whatever is wrong with it."""
    good = json.dumps(make_engine().dump())
    for old, new in (('"orders": []', '"orders": [{}]'), ('"cash": "100000"', '"cash": "much"'), ('"taken"', '"took"')):
        assert old in good
        with pytest.raises(VenueError, match="cannot be loaded"):
            make_engine().load(json.loads(good.replace(old, new)))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("participation", Decimal(0)),
        ("participation", Decimal(2)),
        ("spread_bps", -1.0),
        ("maker_bps", Decimal(-1)),
        ("taker_bps", Decimal(10_000)),
        ("multiplier", 4),
        ("namespace", 2**60),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting: str, value: Any) -> None:
    """The message names the setting, its value and what was expected."""
    with pytest.raises(ConfigurationError, match=rf"{setting} .* is {value}; expected"):
        EngineSettings(**{setting: value})


def test_crypto_against_other_money_than_usd_is_refused() -> None:
    """The account holds USD only."""
    with pytest.raises(ConfigurationError, match="ETH/BTC: the venue trades crypto against USD only"):
        MatchingEngine({"ETH/BTC": Asset(symbol="ETH/BTC", asset_class=AssetClass.CRYPTO)})
