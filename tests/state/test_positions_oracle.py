"""The position store against a slow, obvious one: a list of single units, in exact fractions.

The oracle holds one entry for every unit (share) that is open, with its price and its share of the entry's fee.
A fill takes units from the front while they are on the other side, then appends its own. Nothing is grouped, nothing
is rounded, nothing is shared with the code under test.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from holdfast.model import ClosedTrade, OrderSide
from holdfast.state.positions import PositionStore

# A share of a fee is cut at 1e-12; no history here makes more than a few hundred cuts.
ROUNDING = Fraction(1, 10**9)


class Fill:
    """One execution of whole units; the coin fee is a number of units."""

    def __init__(self, signed: int, price: Decimal, fee_cash: Decimal, fee_coin: int, order: int) -> None:
        self.side = OrderSide.BUY if signed > 0 else OrderSide.SELL
        self.quantity = abs(signed)
        self.price = price
        self.fee_cash = fee_cash
        self.fee_coin = fee_coin if signed > 0 and fee_coin < signed else 0
        self.order = f"order-{order}"

    def __repr__(self) -> str:
        fees = f"fees {self.fee_cash} and {self.fee_coin} units"
        return f"{self.side.value} {self.quantity} at {self.price}, {fees}, {self.order}"


class Oracle:
    """Unit by unit."""

    def __init__(self, cash: int) -> None:
        self.units: list[tuple[int, Fraction, Fraction]] = []  # sign, price, fee
        self.cash = Fraction(cash)
        self.realized = Fraction(0)
        self.fees = Fraction(0)

    def apply(self, fill: Fill) -> None:
        """Book one fill."""
        price, sign = Fraction(fill.price), fill.side.sign
        received = fill.quantity - fill.fee_coin
        self.cash -= sign * fill.quantity * price + Fraction(fill.fee_cash)
        fee = Fraction(fill.fee_cash) + fill.fee_coin * price
        self.fees += fee
        for _ in range(received):
            if self.units and self.units[0][0] != sign:
                opened, entry, entry_fee = self.units.pop(0)
                self.realized += opened * (price - entry) - entry_fee - fee / received
            else:
                self.units.append((sign, price, fee / received))


prices = st.decimals("0.0001", "500", places=4)
amounts = st.decimals("0", "3", places=3)
fills = st.builds(
    Fill,
    st.integers(-12, 12).filter(lambda signed: signed != 0),
    prices,
    st.one_of(st.just(Decimal(0)), amounts),
    st.integers(0, 2),
    st.integers(1, 3),
)


def check(store_class: type[PositionStore], sequence: list[Fill], *, with_orders: bool, restarts: bool) -> None:
    """Feed both, and compare after every fill."""
    store, oracle = store_class(Decimal(1000)), Oracle(1000)
    trades: list[ClosedTrade] = []
    for at, fill in enumerate(sequence):
        made = store.apply(
            "X",
            fill.side,
            Decimal(fill.quantity),
            fill.price,
            at,
            fee_cash=fill.fee_cash,
            fee_coin=Decimal(fill.fee_coin),
            order_id=fill.order if with_orders else "",
        )
        trades.extend(made)
        oracle.apply(fill)
        position = store.position("X")
        held = sum(sign for sign, _, _ in oracle.units)
        assert position.quantity == held
        assert position.quantity_float == float(held)
        assert (store.get("X") is None) == (held == 0)
        # Exact: what the venue can check too.
        assert Fraction(store.cash) == oracle.cash
        assert Fraction(store.fees_total) == oracle.fees
        assert store.cash == 1000 + store.realized_pnl - position.cost_basis
        assert store.realized_pnl == position.realized_pnl == sum(trade.profit for trade in store.closed_trades)
        closed_fees = sum(trade.fees for trade in store.closed_trades)
        assert closed_fees + sum(lot.fees for lot in position.lots) == store.fees_total
        # To the cut of a share: what depends on how a fee is shared.
        assert abs(Fraction(store.realized_pnl) - oracle.realized) < ROUNDING
        if held == 0:
            assert Fraction(store.realized_pnl) == oracle.realized
        else:
            mean = sum((price for _, price, _ in oracle.units), Fraction(0)) / abs(held)
            assert abs(Fraction(position.average_price) - mean) < ROUNDING
            worth = sum((sign * (7 - price) - fee for sign, price, fee in oracle.units), Fraction(0))
            assert abs(Fraction(position.unrealized_pnl(7.0)) - worth) < ROUNDING
        if restarts:
            store = store_class.from_json(store.to_json())
    if not with_orders:
        assert trades == store.closed_trades


@given(st.lists(fills, max_size=25), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_store_agrees_with_the_oracle(sequence: list[Fill], with_orders: bool, restarts: bool) -> None:
    """Longs, shorts, flips, both kinds of fee, pieces of orders, restarts."""
    check(PositionStore, sequence, with_orders=with_orders, restarts=restarts)


class ForgetsEntryFees(PositionStore):
    """Charges a round trip with its exit's fees only."""

    def _close(self, position, opened_by, quantity, price, at, fees, exit_reason, order_id):  # type: ignore[no-untyped-def]  # as its parent  # noqa: ANN001, ANN202 - the canary breaks one thing, its types are the parent's
        for lot in position.lots:
            lot.fees = Decimal(0)
        return super()._close(position, opened_by, quantity, price, at, fees, exit_reason, order_id)


class LastInFirstOut(PositionStore):
    """Closes the newest lot first."""

    def _close(self, position, opened_by, quantity, price, at, fees, exit_reason, order_id):  # type: ignore[no-untyped-def]  # as its parent  # noqa: ANN001, ANN202 - as above
        position.lots.reverse()
        return super()._close(position, opened_by, quantity, price, at, fees, exit_reason, order_id)


@pytest.mark.parametrize("broken", [ForgetsEntryFees, LastInFirstOut])
def test_a_store_that_is_wrong_is_caught(broken: type[PositionStore]) -> None:
    """The comparison has teeth: it fails for each of these."""

    @given(st.lists(fills, max_size=25))
    @settings(max_examples=500, deadline=None, database=None, print_blob=False, phases=[Phase.generate])
    def law(sequence: list[Fill]) -> None:
        check(broken, sequence, with_orders=False, restarts=False)

    with pytest.raises(AssertionError):
        law()
