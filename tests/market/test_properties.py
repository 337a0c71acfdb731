"""Symbol rules: what rounds to what, and what is refused with which reason."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.market import SymbolProperties, price_to_decimal, quantity_to_decimal
from holdfast.model import Asset, AssetClass, OrderSide, TimeInForce
from holdfast.model.errors import ConfigurationError, OrderError

D = Decimal
EQUITY = SymbolProperties("SPY", shortable=True)
FRACTIONAL = SymbolProperties("AAPL", fractionable=True)
UNSHORTABLE = SymbolProperties("HARD", shortable=False)
BTC = SymbolProperties.from_asset(
    Asset(
        symbol="BTC/USD",
        asset_class=AssetClass.CRYPTO,
        fractionable=True,
        min_order_size="0.000013047",
        min_trade_increment="0.000000001",
        price_increment="0.01",
    )
)
ALL = [
    EQUITY,
    FRACTIONAL,
    UNSHORTABLE,
    BTC,
    SymbolProperties("ODD", "0.05", 100, 200),
    SymbolProperties("INT", 1, 1, 1),
]


def test_the_guides_own_check_holds() -> None:
    """450.13 is on a tick of 0.01; 450.127 is refused, and the reason has the numbers."""
    props = SymbolProperties(symbol="SPY", min_price_increment=D("0.01"), lot_size=1, min_order_size=1)

    assert props.validate_order(quantity=10, price=D("450.13"), side="BUY") == (True, "")
    valid, reason = props.validate_order(quantity=10, price=D("450.127"), side="BUY")
    assert not valid
    assert reason == "SPY: price 450.127 is not a multiple of the tick 0.01"


BUY, SELL = OrderSide.BUY, OrderSide.SELL
REFUSED = [
    (EQUITY, {"quantity": 0, "side": "buy"}, "quantity must be positive"),
    (EQUITY, {"quantity": -1, "side": "buy"}, "quantity must be positive"),
    (EQUITY, {"quantity": D("1.5"), "side": "buy"}, "not a multiple of the lot 1"),
    (EQUITY, {"quantity": 1, "side": "buy", "price": 0}, "price must be positive"),
    (EQUITY, {"quantity": 1, "side": "buy", "price": D("-5")}, "price must be positive"),
    (EQUITY, {"quantity": 1, "side": "buy", "price": D("1.001")}, "the tick 0.01"),
    (EQUITY, {"quantity": 1, "side": "buy", "price": D("0.99995")}, "the tick 0.0001"),
    (EQUITY, {"quantity": float("nan"), "side": "buy"}, "not a finite number"),
    (EQUITY, {"quantity": 1, "side": "hold"}, "side must be buy or sell"),
    (EQUITY, {"quantity": 10, "side": "sell", "position": D(5)}, "through zero"),
    (EQUITY, {"quantity": 10, "side": "buy", "position": D(-5)}, "through zero"),
    (UNSHORTABLE, {"quantity": 1, "side": "sell", "position": D(0)}, "cannot be sold short"),
    (UNSHORTABLE, {"quantity": 1, "side": "sell", "position": D(-3)}, "cannot be sold short"),
    (FRACTIONAL, {"quantity": D("0.5"), "side": "sell", "position": D(0)}, "whole shares"),
    (FRACTIONAL, {"quantity": D("0.5"), "side": "buy", "time_in_force": TimeInForce.GTC}, "day orders only"),
    (FRACTIONAL, {"quantity": D("0.0000000001"), "side": "buy"}, "not a multiple of the lot"),
    (FRACTIONAL, {"quantity": D("0.001"), "side": "buy", "price": D(10)}, "below the minimum 1 of a part"),
    (BTC, {"quantity": D("0.000013046"), "side": "buy"}, "below the minimum 0.000013047"),
    (BTC, {"quantity": D("0.0002"), "side": "buy", "price": D("49999.99")}, "below the minimum 10 of a buy"),
    (BTC, {"quantity": D(4), "side": "buy", "price": D("50000.01")}, "above the maximum 200000"),
    (BTC, {"quantity": D(4), "side": "buy", "reference_price": 50000.01}, "above the maximum 200000"),
    (BTC, {"quantity": D(1), "side": "buy", "reference_price": float("nan")}, "worth is not known"),
    (BTC, {"quantity": D(1), "side": "sell", "position": D(0)}, "cannot be sold short"),
    (BTC, {"quantity": D(2), "side": "sell", "position": D(1)}, "through zero"),
    (SymbolProperties("OFF", tradable=False), {"quantity": 1, "side": "buy"}, "not tradable"),
]
ALLOWED = [
    (EQUITY, {"quantity": 1, "side": "BUY", "price": D("1.00")}),
    (EQUITY, {"quantity": 1, "side": "buy", "price": D("0.9999")}),
    (EQUITY, {"quantity": 1, "side": "buy", "price": 450.13}),
    (EQUITY, {"quantity": 10, "side": SELL, "position": D(10)}),
    (EQUITY, {"quantity": 10, "side": "sell", "position": D(0)}),
    (UNSHORTABLE, {"quantity": 5, "side": "sell", "position": D(5)}),
    (UNSHORTABLE, {"quantity": 5, "side": "sell"}),  # what is held is not known here: the caller's question
    (FRACTIONAL, {"quantity": D("0.000000001"), "side": "buy"}),
    (FRACTIONAL, {"quantity": D("0.1"), "side": "buy", "price": D(10)}),
    (FRACTIONAL, {"quantity": 1, "side": "buy", "time_in_force": TimeInForce.GTC}),
    (FRACTIONAL, {"quantity": D("0.5"), "side": "sell", "position": D("0.5")}),
    (BTC, {"quantity": D("0.000013047"), "side": "sell", "position": D(1), "price": D("50000")}),
    (BTC, {"quantity": D("0.0002"), "side": "buy", "price": D("50000")}),
    (BTC, {"quantity": D(4), "side": "buy", "price": D("50000")}),
    # What reduces is bound by form only: what the venue permitted may have changed since.
    (SymbolProperties("OFF", tradable=False), {"quantity": 1, "side": "sell", "reduce_only": True}),
    (UNSHORTABLE, {"quantity": 1, "side": "sell", "reduce_only": True, "position": D(0)}),
    (BTC, {"quantity": D("0.000000001"), "side": "sell", "reduce_only": True}),
    (BTC, {"quantity": D(9), "side": "sell", "reduce_only": True, "price": D("50000")}),
]


@pytest.mark.parametrize(("props", "order", "why"), REFUSED)
def test_refused_with_a_reason_that_names_the_rule(props: SymbolProperties, order: dict[str, Any], why: str) -> None:
    """One step beyond each boundary is refused."""
    valid, reason = props.validate_order(**order)

    assert not valid
    assert why in reason
    assert reason.startswith(props.symbol)


@pytest.mark.parametrize(("props", "order"), ALLOWED)
def test_allowed_up_to_each_boundary(props: SymbolProperties, order: dict[str, Any]) -> None:
    """Exactly at each boundary is allowed."""
    assert props.validate_order(**order) == (True, "")


@pytest.mark.parametrize(
    ("price", "side", "expected"),
    [
        ("450.127", BUY, "450.12"),
        ("450.127", SELL, "450.13"),
        ("450.127", None, "450.13"),
        ("450.125", None, "450.12"),
        ("450.135", None, "450.14"),
        ("0.12345", "BUY", "0.1234"),
        ("0.12345", "sell", "0.1235"),
        ("0.99999", "sell", "1.0000"),
        ("1.0099", "buy", "1.00"),
        ("450.13", "buy", "450.13"),
    ],
)
def test_prices_round_away_from_aggression(price: str, side: OrderSide | str | None, expected: str) -> None:
    """Buys down, sells up, and to the nearest (ties to even) where the side is not known."""
    assert EQUITY.round_price(D(price), side) == D(expected)


def test_quantities_round_down() -> None:
    """Never more than was asked for; whole shares on request."""
    assert EQUITY.round_quantity(D("10.9")) == 10
    assert FRACTIONAL.round_quantity(D("10.9999999999")) == D("10.999999999")
    assert FRACTIONAL.round_quantity(D("10.9"), whole=True) == 10
    assert BTC.round_quantity(0.1234567891) == D("0.123456789")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"quantity": D("10.5"), "side": "sell", "position": D(0)}, 10),
        ({"quantity": D("10.5"), "side": "sell", "position": D(-1)}, 10),
        ({"quantity": D("10.5"), "side": "sell", "position": D(20)}, D("10.5")),
        ({"quantity": D("10.5"), "side": "buy", "time_in_force": TimeInForce.GTC}, 10),
        ({"quantity": D("10.5"), "side": "buy", "time_in_force": TimeInForce.DAY}, D("10.5")),
        ({"quantity": D("0.5"), "side": "sell", "position": D(0), "reduce_only": True}, D("0.5")),
    ],
)
def test_round_then_validate_takes_whole_shares_where_it_must(order: dict[str, Any], expected: Decimal) -> None:
    """A short sale or an order that outlives the day is cut to whole shares, not refused."""
    assert FRACTIONAL.round_then_validate(**order) == (expected, None, "")


PRICES = st.decimals(min_value=D("0.01"), max_value=D(10**6), places=9, allow_nan=False)
QUANTITIES = st.decimals(min_value=D("0.001"), max_value=D(10**6), places=12, allow_nan=False)
PROPS = st.sampled_from(ALL)
SIDES = st.sampled_from(list(OrderSide))


@given(PROPS, PRICES, SIDES)
def test_rounding_is_never_more_aggressive_and_is_stable(
    props: SymbolProperties, price: Decimal, side: OrderSide
) -> None:
    """A buy never pays more than asked, a sell never takes less, and a rounded price rounds to itself."""
    rounded = props.round_price(price, side)

    assert rounded <= price if side is BUY else rounded >= price
    assert abs(rounded - price) < props.price_increment_at(price)
    assert props.round_price(rounded, side) == rounded


@given(PROPS, QUANTITIES, st.none() | PRICES, SIDES)
def test_what_was_rounded_has_valid_form(
    props: SymbolProperties, quantity: Decimal, price: Decimal | None, side: OrderSide
) -> None:
    """After rounding, tick and lot are never the reason; for an exit only nothing at all is refused."""
    size, limit, reason = props.round_then_validate(quantity=quantity, price=price, side=side, reduce_only=True)

    assert size <= quantity
    assert (reason == "") == (size > 0 and (limit is None or limit > 0))
    assert "multiple" not in reason
    if not reason:
        assert props.validate_order(quantity=size, price=limit, side=side, reduce_only=True) == (True, "")


@given(PROPS, QUANTITIES, st.none() | PRICES, SIDES, st.integers(-50, 50), st.sampled_from([None, *TimeInForce]))
def test_round_then_validate_agrees_with_validate(
    props: SymbolProperties,
    quantity: Decimal,
    price: Decimal | None,
    side: OrderSide,
    held: int,
    tif: TimeInForce | None,
) -> None:
    """The one call gives the verdict that validating its own result gives."""
    more: dict[str, Any] = {"side": side, "position": D(held), "time_in_force": tif, "reference_price": 25.0}
    size, limit, reason = props.round_then_validate(quantity=quantity, price=price, **more)

    assert props.validate_order(quantity=size, price=limit, **more) == (not reason, reason)


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_a_float_survives_the_bridge(number: float) -> None:
    """The Decimal reads back as the same float."""
    assert float(price_to_decimal(number)) == number
    assert float(quantity_to_decimal(number)) == number


def test_an_asset_with_impossible_increments_is_a_clear_error() -> None:
    """Garbage from the venue is named as such, with the symbol."""
    with pytest.raises(ConfigurationError, match=r"BTC/USD: the venue describes"):
        SymbolProperties.from_asset(Asset(symbol="BTC/USD", asset_class=AssetClass.CRYPTO, price_increment="zero"))
    with pytest.raises(OrderError, match="min_order_size"):
        SymbolProperties("X", min_order_size=0)


def test_crypto_increments_come_from_the_asset_and_crypto_is_never_shortable() -> None:
    """What the venue says wins; missing values take nine decimals."""
    bare = SymbolProperties.from_asset(Asset(symbol="ETH/BTC", asset_class=AssetClass.CRYPTO, shortable=True))

    assert (BTC.min_price_increment, BTC.lot_size, BTC.min_order_size) == (D("0.01"), D("1E-9"), D("0.000013047"))
    assert (bare.min_price_increment, bare.lot_size, bare.shortable) == (D("1E-9"), D("1E-9"), False)
    assert bare.min_notional is None


@given(
    quantity=st.decimals(min_value=-5, max_value=10**6, places=2)
    | st.sampled_from([Decimal("NaN"), Decimal("Infinity")])
    | st.integers(-2, 500).map(Decimal),
    side=st.sampled_from(list(OrderSide)),
    reduce_only=st.booleans(),
    position=st.none() | st.integers(-200, 200).map(Decimal),
    tif=st.none() | st.sampled_from(list(TimeInForce)),
    options=st.fixed_dictionaries(
        {},
        optional={
            "shortable": st.booleans(),
            "fractionable": st.booleans(),
            "lot_size": st.sampled_from([Decimal(1), Decimal(10), Decimal("0.5"), Decimal("0.3")]),
            "min_order_size": st.sampled_from([Decimal(1), Decimal(5)]),
        },
    ),
)
def test_whole_shares_at_the_market_are_judged_by_all_rules(
    quantity: Decimal,
    side: OrderSide,
    reduce_only: bool,
    position: Decimal | None,
    tif: TimeInForce | None,
    options: dict[str, Any],
) -> None:
    """The short way for most orders gives the quantity and the reason of the long one."""
    quick, slow = SymbolProperties("SPY", **options), SymbolProperties("SPY", **options)
    slow._trades_whole = False
    answers = []
    for properties in (quick, slow):
        try:
            answers.append(
                properties.round_then_validate(
                    quantity=quantity,
                    side=side,
                    reduce_only=reduce_only,
                    position=position,
                    time_in_force=tif,
                    reference_price=100.0,
                )
            )
        except OrderError as error:
            answers.append((Decimal(0), None, str(error)))
    # The same amounts, however many zeros they are written with.
    (shares, _, reason), (rounded, _, long_reason) = answers
    assert (shares, _without_zeros(reason)) == (rounded, _without_zeros(long_reason))


def _without_zeros(sentence: str) -> str:
    return re.sub(r"\.0+\b", "", sentence)
