"""Adjustments with a price, and splits: the books stay exact to the last digit."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import OrderSide
from holdfast.model.decimals import EXACT
from holdfast.state import PositionStore

D = Decimal
BUY, SELL = OrderSide.BUY, OrderSide.SELL


def _identity(store: PositionStore, initial: D) -> D:
    """What the module's equation leaves over; it must be zero."""
    paid = sum((a.cash for a in store.adjustments), D(0))
    in_kind = sum((a.quantity * a.price for a in store.adjustments), D(0))
    basis = sum((position.cost_basis for position in store.get_all()), D(0))
    return store.cash - (initial + paid + in_kind + store.realized_pnl - basis)


def test_what_comes_at_a_price_has_cost_it() -> None:
    """A position that was held before us, at the venue's average price: no cash moved here."""
    store = PositionStore(D(1_000))
    store.adjust("SPY", D(20), "held before us", 1, price=D(90))
    assert (store.cash, store.position("SPY").average_price, store.realized_pnl) == (D(1_000), D(90), D(0))
    (trade,) = store.apply("SPY", SELL, D(20), D(100), 2)
    assert trade.profit == 200
    assert _identity(store, D(1_000)) == 0


def test_what_goes_at_a_price_is_realised_against_it() -> None:
    """Somebody sold ours by hand: the money came, and the profit is the difference of the prices."""
    store = PositionStore(D(1_000))
    store.apply("SPY", BUY, D(10), D(100), 1, fee_cash=D(1))
    store.adjust("SPY", D(-4), "sold by hand", 2, D(420), price=D(105))
    assert store.realized_pnl == D("19.6")
    assert store.cash == D(1_000) - 1_001 + 420
    assert _identity(store, D(1_000)) == 0


def test_a_busted_execution_leaves_the_books_as_if_it_had_not_been() -> None:
    """Its own lot goes first, at its own price; the other lot keeps its cost."""
    store = PositionStore(D(10_000))
    store.apply("SPY", BUY, D(10), D(100), 1, order_id="busted")
    store.apply("SPY", BUY, D(5), D(110), 2, order_id="other")
    store.adjust("SPY", D(-10), "trade busted: e1", 3, D(1_000), price=D(100), order_id="busted")
    assert [(lot.quantity, lot.price) for lot in store.position("SPY").lots] == [(D(5), D(110))]
    assert (store.cash, store.realized_pnl) == (D(10_000) - 550, D(0))


def test_a_split_keeps_the_cost_of_every_lot() -> None:
    """Three for two: a later exit makes one profit, and no lot looks like a loss."""
    store = PositionStore(D(10_000))
    store.apply("SPY", BUY, D(10), D(100), 1, order_id="a")
    store.apply("SPY", BUY, D(4), D(101), 2, order_id="b")
    store.rescale("SPY", D(7), "split 3:2", 3)
    position = store.position("SPY")
    assert [lot.quantity for lot in position.lots] == [D(15), D(6)]
    assert position.cost_basis == D(1_404)
    assert position.quantity_float == 21.0
    trades = store.apply("SPY", SELL, D(21), D("66.7"), 4, order_id="out")
    assert [trade.profit > -5 for trade in trades] == [True, True]
    assert store.realized_pnl == D(21) * D("66.7") - 1_404
    assert _identity(store, D(10_000)) == 0


def test_a_split_of_a_short_and_a_reverse_split() -> None:
    """The same on the other side, and with fewer shares."""
    store = PositionStore(D(10_000))
    store.apply("SPY", SELL, D(10), D(100), 1)
    store.rescale("SPY", D(-20), "split 3:1", 2)
    assert (store.quantity("SPY"), store.position("SPY").cost_basis) == (D(-30), D(-1_000))
    store.rescale("SPY", D(27), "reverse split 1:10", 3)
    assert (store.quantity("SPY"), store.position("SPY").cost_basis) == (D(-3), D(-1_000))
    assert _identity(store, D(10_000)) == 0


@pytest.mark.parametrize("change", [D(5), D(-15)])
def test_a_rescaling_that_makes_no_sense_is_an_ordinary_adjustment(change: D) -> None:
    """Into a flat position, or through zero."""
    store = PositionStore()
    if change < 0:
        store.apply("SPY", BUY, D(10), D(100), 1)
    store.rescale("SPY", change, "odd", 2)
    assert store.quantity("SPY") == (D(5) if change > 0 else D(-5))
    assert [a.label for a in store.adjustments] == ["odd"]


quantities = st.decimals("0.001", "1000", places=3)
prices = st.decimals("0.01", "1000", places=2)
steps = st.lists(
    st.tuples(st.sampled_from(["buy", "sell", "come", "go", "bust", "split"]), quantities, prices), max_size=30
)


@given(steps)
def test_cash_profit_and_cost_always_add_up(script: list[tuple[str, D, D]]) -> None:
    """P4: the equation of the module, exactly, whatever comes and goes."""
    with localcontext(EXACT):
        _play(script)


def _play(script: list[tuple[str, D, D]]) -> None:
    store = PositionStore(D(100))
    for number, (step, quantity, price) in enumerate(script):
        order_id = f"o{number // 3}"
        if step in ("buy", "sell"):
            store.apply("SPY", BUY if step == "buy" else SELL, quantity, price, number, order_id=order_id)
        elif step == "split":
            held = store.quantity("SPY")
            store.rescale("SPY", quantity if held > 0 else -quantity, "split", number)
        else:
            change = quantity if step == "come" else -quantity
            store.adjust("SPY", change, step, number, -change * price, price=price, order_id=order_id)
        assert _identity(store, D(100)) == 0
        position = store.position("SPY")
        assert sum((lot.quantity for lot in position.lots), D(0)) == abs(position.quantity)
    assert PositionStore.from_json(store.to_json()).to_json() == store.to_json()
