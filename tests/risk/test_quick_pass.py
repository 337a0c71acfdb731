"""The quick pass of the risk gate never passes an order to which a check of the table would object (P7)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.model import OrderSide, Signal, TradingState
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.risk import CHECKS, StaticRiskView
from holdfast.risk.gate import Facts, QuickPass

NOW = 1_700_000_000 * NS_PER_SECOND

# Small whole numbers meet their limits exactly again and again; the odd ones are what no limit should let through.
amounts = st.integers(0, 40).map(float) | st.sampled_from([0.1, 0.3, float("nan"), float("inf"), -1.0])
decimals = st.integers(1, 40).map(Decimal) | st.sampled_from(
    [Decimal("0.1"), Decimal("0.3"), Decimal("NaN"), Decimal(-1)]
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "order_quantity": st.integers(1, 30).map(Decimal),
        "order_notional": st.integers(1, 400).map(Decimal),
        "position_notional": st.integers(1, 400).map(Decimal),
        "gross_exposure": st.integers(1, 400).map(Decimal),
        "open_orders": st.integers(1, 4),
        "daily_loss": st.integers(1, 30).map(Decimal),
        "price_collar": st.sampled_from([0.0, 0.05, 0.5]),
        "buying_power": st.none(),
        "market_data": st.sampled_from([timedelta(seconds=1), timedelta(seconds=5)]),
    },
)
facts = st.fixed_dictionaries(
    {
        "price": st.none() | amounts,
        "age": st.integers(0, 6),
        "state": st.sampled_from(list(TradingState)),
        "position": st.none() | st.integers(-20, 20).map(Decimal),
        "exposure": st.none() | amounts,
        "open_orders": st.none() | st.integers(0, 4),
        "day_pnl": st.none() | st.integers(-40, 40).map(float) | st.just(float("nan")),
        "buying_power": st.none() | decimals.map(lambda power: power * 10),
    }
)


def prepared(chosen: dict[str, Any]) -> dict[str, Any]:
    """The limits in the form that the checks take; the checks that are always asked are among them."""
    rows = {check.name: check for check in CHECKS}
    asked = {**{name: None for name, check in rows.items() if check.always and name != "buying_power"}, **chosen}
    return {name: None if limit is None else rows[name].prepare(limit) for name, limit in asked.items()}


@settings(max_examples=1500, deadline=None)
@given(
    chosen=limits,
    known=facts,
    quantity=decimals,
    limit_price=st.none() | decimals,
    side=st.sampled_from(list(OrderSide)),
    symbol=st.sampled_from(["SPY", "BTC/USD"]),
)
@example(
    chosen={"order_notional": Decimal("0.3")},
    known={
        "price": 0.1,
        "age": 0,
        "state": TradingState.ACTIVE,
        "position": None,
        "exposure": None,
        "open_orders": None,
        "day_pnl": None,
        "buying_power": None,
    },
    quantity=Decimal("3.0000000001"),
    limit_price=None,
    side=OrderSide.BUY,
    symbol="SPY",
)
def test_what_passes_quickly_passes_the_table(
    chosen: dict[str, Any],
    known: dict[str, Any],
    quantity: Decimal,
    limit_price: Decimal | None,
    side: OrderSide,
    symbol: str,
) -> None:
    """Every check that is asked has nothing to say."""
    view = StaticRiskView(
        now_ns=NOW,
        trading_state=known["state"],
        positions=None if known["position"] is None else {symbol: known["position"]},
        exposure=known["exposure"],
        open_orders=known["open_orders"],
        day_pnl=known["day_pnl"],
        buying_power=known["buying_power"],
        cash_power=known["buying_power"],
    )
    if known["price"] is not None:
        view.set_price(symbol, known["price"], NOW - known["age"] * NS_PER_SECOND)
    signal = Signal(symbol=symbol, side=side, quantity=quantity, price=limit_price)
    asked = prepared(chosen)

    if QuickPass(asked).passes(signal, view):
        told = Facts(signal, view)
        told.look_up()
        objections = [check.judge(told, asked[check.name]) for check in CHECKS if check.name in asked]
        assert objections == [""] * len(objections)


def test_an_everyday_order_passes_quickly() -> None:
    """The canary of the law above, which a quick pass that passes nothing would keep."""
    view = StaticRiskView(
        now_ns=NOW,
        positions={"SPY": Decimal(100)},
        exposure=10_000.0,
        open_orders=1,
        day_pnl=-50.0,
        buying_power=Decimal(50_000),
    )
    view.set_price("SPY", 100.0, NOW - NS_PER_SECOND)
    asked = prepared(
        {
            "order_quantity": Decimal(1000),
            "order_notional": Decimal(20_000),
            "position_notional": Decimal(40_000),
            "gross_exposure": Decimal(60_000),
            "open_orders": 10,
            "daily_loss": Decimal(1000),
            "price_collar": 0.05,
            "buying_power": None,
            "market_data": timedelta(seconds=5),
        }
    )
    for price in (None, Decimal(101), Decimal(99)):
        assert QuickPass(asked).passes(
            Signal(symbol="SPY", side=OrderSide.BUY, quantity=Decimal(100), price=price), view
        )
