"""What the matching engine refuses, with status, code and text."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.model import OrderStatus, OrderType
from holdfast.venue.matching.orders import NewOrder, Refusal
from tests.venue.engine_bench import (
    DAY_ORDER,
    GTC,
    HOUR,
    NOON,
    SELL,
    make_engine,
    order,
    trade,
)

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
