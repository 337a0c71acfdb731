"""Equity is cash + long + short at every moment, and the cash is what trades, fees and postings have made of it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model.enums import OrderSide
from holdfast.venue.matching.orders import Posting, Refusal
from tests.venue.desk import Desk
from tests.venue.helpers import OPENING, minutes

SYMBOLS = ("SPY", "QQQ", "BTC/USD")
START = Decimal(100_000)

ACTIONS = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 4)),
    st.tuples(st.just("market"), st.integers(-40, 40)),
    st.tuples(st.just("limit"), st.integers(-40, 40)),
    st.tuples(st.just("close"), st.integers(0, 2)),
    st.tuples(st.just("cancel"), st.just(0)),
    st.tuples(st.just("post"), st.integers(-50, 50)),
    st.tuples(st.just("bust"), st.integers(0, 9)),
    st.tuples(st.just("multiplier"), st.sampled_from([1, 2, 4])),
)


def place(desk: Desk, kind: str, number: int) -> None:
    """An order in one of the symbols, of a size that is sometimes too large."""
    symbol = SYMBOLS[number % 3]
    size = Decimal(abs(number)) / (50 if "/" in symbol else 1)
    price = desk.account.engine.prices[symbol]
    members: dict[str, Any] = {"side": "buy" if number > 0 else "sell"}
    if kind == "limit":
        members |= {"type": "limit", "limit_price": str(round(price * (1 + number / 20_000), 2))}
    desk.buy(symbol, str(size), **members)


def act(desk: Desk, kind: str, number: int) -> None:
    """Do one of ACTIONS; what the venue refuses changes nothing."""
    account, fills = desk.account, desk.account.engine.activities()
    try:
        if kind == "step":
            desk.step(number)
        elif kind in ("market", "limit"):
            place(desk, kind, number)
        elif kind == "close":
            desk.ask("DELETE", f"/v2/positions/{SYMBOLS[number].replace('/', '')}")
        elif kind == "cancel":
            desk.ask("DELETE", "/v2/orders")
        elif kind == "post":
            desk.exchange.post(account, Posting("DIV", SYMBOLS[number % 3], Decimal(0), Decimal(number)))
        elif kind == "bust" and fills:
            desk.exchange.bust(account, fills[number % len(fills)].execution_id)
        elif kind == "multiplier":
            desk.ask("PATCH", "/v2/account/configurations", {"max_margin_multiplier": str(number)})
    except Refusal:
        pass


def check(desk: Desk) -> None:
    """The account's figures against its positions, and its cash against its fills."""
    shown = {name: Decimal(value) for name, value in desk.get("/v2/account").items() if name in FIGURES}
    positions = desk.get("/v2/positions")
    values = [Decimal(row["market_value"]) for row in positions]
    long, short = sum(v for v in values if v > 0), sum(v for v in values if v < 0)
    assert (shown["long_market_value"], shown["short_market_value"]) == (long, short)
    assert shown["equity"] == shown["cash"] + long + short
    assert shown["position_market_value"] == long + short

    busted = desk.account.engine.amendments.busted
    cash, held = START, dict.fromkeys(SYMBOLS, Decimal(0))
    for fill in desk.account.engine.activities():
        if fill.execution_id in busted:
            continue
        sign = 1 if fill.side is OrderSide.BUY else -1
        cash -= sign * fill.quantity * fill.price + fill.fee_cash
        held[fill.symbol] += sign * fill.quantity - fill.fee_coin
    cash += sum(row.posting.cash for row in desk.account.posted if row.posting.activity_type == "DIV")
    assert shown["cash"] == cash
    assert {row["symbol"]: Decimal(row["qty"]) for row in positions} == {
        symbol.replace("/", ""): quantity for symbol, quantity in held.items() if quantity
    }
    for name in ("buying_power", "regt_buying_power", "non_marginable_buying_power", "sma"):
        assert shown[name] >= 0, name


FIGURES = (
    "cash",
    "equity",
    "long_market_value",
    "short_market_value",
    "position_market_value",
    "buying_power",
    "regt_buying_power",
    "non_marginable_buying_power",
    "sma",
)


@given(actions=st.lists(ACTIONS, min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_equity_is_cash_and_long_and_short_whatever_is_traded(actions: list[tuple[str, int]]) -> None:
    """After every action: longs and shorts, crypto with its fees, postings, busts, other multipliers."""

    async def run() -> None:
        series = (
            minutes("SPY", 120, start=OPENING, base=400.0),
            minutes("QQQ", 120, start=OPENING, base=300.0),
            minutes(count=120, start=OPENING),
        )
        async with Desk.opened(None, *series) as desk:
            desk.step()
            for kind, number in actions:
                act(desk, kind, number)
                check(desk)

    asyncio.run(run())


async def test_money_from_nowhere_is_noticed() -> None:
    """A cent that no row explains breaks the check: it is no tautology."""
    async with Desk.opened(None, minutes("SPY", 5, start=OPENING)) as desk:
        desk.step()
        check(desk)
        desk.account.engine.amendments.adjust("", Decimal(0), Decimal("0.01"))
        with pytest.raises(AssertionError):
            check(desk)
