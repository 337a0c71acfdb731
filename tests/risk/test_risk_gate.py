"""The pre-trade risk gate: each check at its boundary, modes, and what it must never do (P7)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import GuardMode, OrderSide, Signal, TradingState
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.risk import CHECKS, PreTradeRiskGate, RiskLimits, RiskView, StaticRiskView

D = Decimal
NOW = 1_700_000_000 * NS_PER_SECOND
WIDE = {
    "max_order_notional": D(10**9),
    "max_order_quantity": D(10**9),
    "max_position_notional": D(10**9),
    "max_gross_exposure": D(10**9),
    "max_open_orders": 1000,
    "max_daily_loss": D(10**9),
    "price_collar": 0.5,
    "max_data_age": timedelta(hours=1),
}


def known(**facts: Any) -> StaticRiskView:
    """A view that knows everything: SPY at 100, seen now; flat; money enough."""
    price, age = facts.pop("price", 100.0), facts.pop("age", 0)
    defaults: dict[str, Any] = {
        "now_ns": NOW,
        "positions": {},
        "exposure": 0.0,
        "open_orders": 0,
        "day_pnl": 0.0,
        "buying_power": D(10**9),
        "cash_power": D(10**9),
    }
    view = StaticRiskView(**{**defaults, **facts})
    for symbol in ("SPY", "BTC/USD"):
        view.set_price(symbol, price, NOW - age)
    return view


def signal(**fields: Any) -> Signal:
    """Buy 10 SPY at the market, unless told otherwise."""
    return Signal(**{"symbol": "SPY", "side": OrderSide.BUY, "quantity": D(10), **fields})


# check, limits, facts, signal: exactly at the limit, and one tick beyond it
BOUNDARIES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("order_notional", {"max_order_notional": D(1000)}, {}, {}, {}, {"quantity": D("10.000000001")}),
    (
        "order_notional",
        {"max_order_notional": D("0.3")},
        {"price": 0.1},
        {"quantity": D(3)},
        {},
        {"quantity": D("3.000000001")},
    ),
    (
        "order_notional",
        {"max_order_notional": D(1010)},
        {},
        {"price": D(101)},
        {},
        {"price": D("101.01")},  # the limit price is higher than the last: it counts
    ),
    ("order_quantity", {"max_order_quantity": D(10)}, {}, {}, {}, {"quantity": D("10.000000001")}),
    (
        "position_notional",
        {"max_position_notional": D(3000)},
        {"positions": {"SPY": D(20)}},
        {},
        {},
        {"quantity": D("10.000000001")},
    ),
    (
        "position_notional",
        {"max_position_notional": D(3000)},
        {"positions": {"SPY": D(-20)}},
        {"side": OrderSide.SELL},
        {},
        {"quantity": D(11)},
    ),
    ("gross_exposure", {"max_gross_exposure": D(5000)}, {"exposure": 4000.0}, {}, {"exposure": 4000.01}, {}),
    ("open_orders", {"max_open_orders": 3}, {"open_orders": 2}, {}, {"open_orders": 3}, {}),
    ("daily_loss", {"max_daily_loss": D(500)}, {"day_pnl": -499.99}, {}, {"day_pnl": -500.0}, {}),
    ("price_collar", {"price_collar": 0.05}, {}, {"price": D("105.00")}, {}, {"price": D("105.01")}),
    (
        "price_collar",
        {"price_collar": 0.05},
        {},
        {"price": D("95.00"), "side": OrderSide.SELL},
        {},
        {"price": D("94.99"), "side": OrderSide.SELL},
    ),
    ("price_collar", {"price_collar": 0.05}, {}, {"price": D("0.01")}, {}, {"price": D("105.000000001")}),
    ("market_data", {"max_data_age": timedelta(seconds=90)}, {"age": 90 * 10**9}, {}, {"age": 90 * 10**9 + 1}, {}),
    ("buying_power", {}, {"buying_power": D(1000), "cash_power": D(0)}, {}, {"buying_power": D("999.99")}, {}),
    (
        "buying_power",
        {},
        {"buying_power": D(0), "cash_power": D(1000)},
        {"symbol": "BTC/USD"},
        {"cash_power": D("999.999999999")},
        {"symbol": "BTC/USD"},
    ),
    ("trading_state", {}, {}, {}, {"trading_state": TradingState.REDUCING}, {}),
    ("trading_state", {}, {}, {}, {"trading_state": TradingState.HALTED}, {}),
    ("signal", {}, {}, {"quantity": D("0.000000001")}, {}, {"quantity": D(0)}),
]


@pytest.mark.parametrize(("check", "limits", "facts", "order", "worse_facts", "worse_order"), BOUNDARIES)
def test_exactly_at_the_limit_passes_and_one_tick_beyond_is_refused(
    check: str,
    limits: dict[str, Any],
    facts: dict[str, Any],
    order: dict[str, Any],
    worse_facts: dict[str, Any],
    worse_order: dict[str, Any],
) -> None:
    """Each check by its name, with a reason."""
    set_limits = RiskLimits(**limits)

    assert PreTradeRiskGate(set_limits, known(**facts)).check(signal(**order)) == (True, "")
    refused = PreTradeRiskGate(set_limits, known(**{**facts, **worse_facts})).evaluate(
        signal(**{**order, **worse_order})
    )
    assert not refused.approved
    assert refused.check == check
    assert refused.reason


def test_every_check_has_a_boundary_above() -> None:
    """A check that is added needs its line in the table."""
    assert {row[0] for row in BOUNDARIES} == {check.name for check in CHECKS}


@pytest.mark.parametrize(("check", "limits", "facts", "order", "worse_facts", "worse_order"), BOUNDARIES)
def test_observed_checks_tell_and_let_pass(
    check: str,
    limits: dict[str, Any],
    facts: dict[str, Any],
    order: dict[str, Any],
    worse_facts: dict[str, Any],
    worse_order: dict[str, Any],
) -> None:
    """In ``observe`` the same refusal is recorded; in ``off`` it is not even asked for."""
    if check in {"trading_state", "signal", "market_data"}:
        with pytest.raises(ConfigurationError, match=f"modes.{check} must be enforce"):
            PreTradeRiskGate(RiskLimits(**limits, modes={check: GuardMode.OBSERVE}))
        return
    view, asked = known(**{**facts, **worse_facts}), signal(**{**order, **worse_order})
    observed = PreTradeRiskGate(RiskLimits(**limits, modes={check: GuardMode.OBSERVE}), view).evaluate(asked)
    off = PreTradeRiskGate(RiskLimits(**limits, modes={check: GuardMode.OFF}), view).evaluate(asked)

    assert observed.approved
    assert [told.partition(": ")[0] for told in observed.observed] == [check]
    assert (off.approved, off.observed) == (True, ())


def test_a_refusal_keeps_what_was_observed_before_it() -> None:
    """Both are for the record."""
    limits = RiskLimits(max_order_quantity=D(1), max_order_notional=D(1), modes={"order_quantity": GuardMode.OBSERVE})
    result = PreTradeRiskGate(limits, known()).evaluate(signal())

    assert (result.approved, result.check) == (False, "order_notional")
    assert result.observed == ("order_quantity: quantity 10 is above the limit 1",)
    assert result.reason == "the order is worth 1000.00 (limit 1)"


def test_the_guides_dictionary_is_a_signal_too() -> None:
    """``check`` takes what the guide passes."""
    gate = PreTradeRiskGate(RiskLimits(max_order_quantity=D(5)), known())

    assert gate.check({"symbol": "SPY", "side": "BUY", "quantity": 5}) == (True, "")
    assert gate.check({"symbol": "SPY", "side": "BUY", "quantity": 6}) == (False, "quantity 6 is above the limit 5")
    with pytest.raises(ConfigurationError, match="unknown key 'qantity'"):
        gate.check({"symbol": "SPY", "side": "BUY", "qantity": 6})


def test_a_gate_without_a_view_lets_only_exits_through() -> None:
    """Nothing is known."""
    gate = PreTradeRiskGate()

    assert not gate.check(signal())[0]
    assert gate.check(signal(reduce_only=True)) == (True, "")


# -- P7 ------------------------------------------------------------------------------------------------------

SIZES = st.decimals(min_value=0, max_value=10**6, places=3) | st.just(D("NaN"))
SIGNALS = st.builds(
    signal,
    symbol=st.sampled_from(["SPY", "BTC/USD", "NEW"]),
    side=st.sampled_from(list(OrderSide)),
    quantity=SIZES,
    price=st.none() | SIZES,
)
MAYBE = st.none() | st.floats(-1e6, 1e6) | st.just(float("nan"))
VIEWS = st.builds(
    known,
    trading_state=st.sampled_from(list(TradingState)),
    positions=st.none() | st.dictionaries(st.sampled_from(["SPY", "BTC/USD"]), SIZES),
    exposure=MAYBE,
    open_orders=st.none() | st.integers(0, 5),
    day_pnl=MAYBE,
    buying_power=st.none() | SIZES,
    cash_power=st.none() | SIZES,
    price=st.floats(allow_nan=True, allow_infinity=True),
    age=st.integers(0, 10**12),
)
TIGHT = RiskLimits(
    max_order_notional=D(0),
    max_order_quantity=D(0),
    max_position_notional=D(0),
    max_gross_exposure=D(0),
    max_open_orders=0,
    max_daily_loss=D(0),
    price_collar=0.0,
    max_data_age=timedelta(0),
)


@given(VIEWS, SIGNALS)
def test_p7_a_reducing_order_is_never_blocked_unless_trading_is_halted(view: StaticRiskView, order: Signal) -> None:
    """Whatever is missing, stale, exhausted or exceeded."""
    exit_order = signal(
        symbol=order.symbol, side=order.side, quantity=order.quantity, price=order.price, reduce_only=True
    )
    approved, reason = PreTradeRiskGate(TIGHT, view).check(exit_order)

    assert approved is (view.trading_state is not TradingState.HALTED)
    assert bool(reason) is not approved


class Forgetful:
    """A view that lacks one fact of another view."""

    def __init__(self, view: RiskView, missing: str) -> None:
        self._view, self._missing = view, missing

    def __getattr__(self, name: str) -> Any:
        if name != self._missing:
            return getattr(self._view, name)
        return (lambda *_: None) if callable(getattr(self._view, name)) else None


FACTS_THAT_CAN_BE_MISSING = (
    "last_price",
    "last_price_at",
    "position_quantity",
    "gross_exposure",
    "open_order_count",
    "day_pnl",
    "buying_power",
)


@given(
    st.sampled_from(FACTS_THAT_CAN_BE_MISSING),
    st.builds(
        signal,
        side=st.sampled_from(list(OrderSide)),
        quantity=st.integers(1, 100).map(D),
        price=st.sampled_from([None, D(99), D(101)]),
    ),
)
def test_p7_an_opening_order_with_any_fact_missing_is_blocked(missing: str, order: Signal) -> None:
    """And with none missing the same order passes: it is the missing fact that blocks."""
    limits = RiskLimits(**WIDE)  # type: ignore[arg-type]  # a table of several types
    blocked = PreTradeRiskGate(limits, Forgetful(known(), missing)).evaluate(order)

    assert PreTradeRiskGate(limits, known()).check(order) == (True, "")
    assert not blocked.approved
    assert "known" in blocked.reason


def test_the_list_of_facts_is_complete() -> None:
    """Whatever a view is asked for is in the list above, or cannot be missing."""
    asked = {name for name in vars(RiskView) if not name.startswith("_")}

    assert asked - set(FACTS_THAT_CAN_BE_MISSING) == {"now_ns", "trading_state", "cash_power"}
    crypto = signal(symbol="BTC/USD")
    assert PreTradeRiskGate(None, Forgetful(known(), "buying_power")).check(crypto)[0]
    assert not PreTradeRiskGate(None, Forgetful(known(), "cash_power")).check(crypto)[0]


@given(VIEWS, SIGNALS)
def test_an_opening_order_gets_a_verdict_whatever_the_facts(view: StaticRiskView, order: Signal) -> None:
    """NaN, infinity, nothing: never an exception, and never an approval at limits of zero."""
    result = PreTradeRiskGate(TIGHT, view).evaluate(order)

    assert not result.approved
    assert result.check
    assert result.reason


@given(
    st.integers(1, 10**6),
    st.integers(1, 10**9),
    st.integers(-3, 3),
    st.sampled_from([D("0.01"), D("0.0001"), D("1E-9")]),
)
def test_worth_is_compared_exactly_though_prices_are_floats(
    cents: int, quantity: int, ticks: int, tick: Decimal
) -> None:
    """The limit is the exact product of quantity and price, give or take a tick that no float would see."""
    price = cents / 100
    limit = D(cents) / 100 * quantity + ticks * tick
    if limit < 0:
        return
    gate = PreTradeRiskGate(RiskLimits(max_order_notional=limit), known(price=price, buying_power=D(10**18)))

    assert gate.check(signal(quantity=D(quantity)))[0] is (ticks >= 0)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"max_order_notional": D(-1)}, "max_order_notional must be a number that is not negative"),
        ({"price_collar": float("nan")}, "price_collar must be a number that is not negative"),
        ({"max_data_age": 90}, "max_data_age must be a timedelta that is not negative"),
        ({"max_order_notional": "many"}, "max_order_notional must be a number"),
        ({"modes": {"orders": GuardMode.OFF}}, "modes: there is no check 'orders'"),
        ({"modes": {"open_orders": "maybe"}}, "modes.open_orders must be one of off, observe, enforce"),
    ],
)
def test_limits_that_make_no_sense_are_named(limits: dict[str, Any], named: str) -> None:
    """One clear error each."""
    with pytest.raises(ConfigurationError, match=named):
        PreTradeRiskGate(RiskLimits(**limits))
