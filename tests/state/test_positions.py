"""Lots, round trips, fees and cash, by example."""

from __future__ import annotations

from decimal import Decimal

import pytest

from holdfast.model import OrderSide
from holdfast.model.errors import DataError, OrderError
from holdfast.state.positions import PositionStore

D = Decimal
BUY, SELL = OrderSide.BUY, OrderSide.SELL


def test_a_long_round_trip_pays_the_difference() -> None:
    """Cash, profit and the closed trade agree."""
    store = PositionStore(D(1000))
    assert store.apply("SPY", BUY, D(10), D(100), 1) == ()
    assert store.cash == 0
    position = store.get("SPY")
    assert position is not None
    assert (position.quantity, position.average_price, position.opened_at) == (D(10), D(100), 1)
    assert (position.quantity_float, position.average_price_float, position.last_price) == (10.0, 100.0, 100.0)
    (trade,) = store.apply("SPY", SELL, D(10), D(101), 2, exit_reason="target")
    assert (trade.side, trade.quantity, trade.entry_price, trade.exit_price) == (BUY, D(10), D(100), D(101))
    assert (trade.opened_at, trade.closed_at, trade.exit_reason) == (1, 2, "target")
    assert (trade.profit, store.realized_pnl, store.cash) == (D(10), D(10), D(1010))
    assert store.closed_trades == [trade]
    assert store.get("SPY") is None
    assert store.get_all() == []
    assert (position.is_flat, position.average_price, position.quantity_float) == (True, D(0), 0.0)


def test_a_short_round_trip_earns_when_the_price_falls() -> None:
    """The side of the trade is the side that opened it."""
    store = PositionStore(D(1000))
    store.apply("SPY", SELL, D(10), D(100), 1)
    assert store.quantity("SPY") == -10
    assert store.cash == 2000
    assert store.position("SPY").unrealized_pnl(99.5) == 5
    (trade,) = store.apply("SPY", BUY, D(10), D(99), 2)
    assert (trade.side, trade.profit, store.cash) == (SELL, D(10), D(1010))


def test_the_oldest_lot_closes_first() -> None:
    """First in, first out, each lot at its own price."""
    store = PositionStore()
    store.apply("SPY", BUY, D(10), D(100), 1)
    store.apply("SPY", BUY, D(10), D(110), 2)
    position = store.position("SPY")
    assert (position.average_price, position.average_price_float) == (D(105), 105.0)
    trades = store.apply("SPY", SELL, D(15), D(120), 3)
    assert [(trade.quantity, trade.entry_price, trade.profit) for trade in trades] == [
        (D(10), D(100), D(200)),
        (D(5), D(110), D(50)),
    ]
    assert (position.quantity, position.average_price, position.opened_at) == (D(5), D(110), 1)
    assert position.realized_pnl == store.realized_pnl == 250


def test_a_flip_closes_all_and_opens_the_rest() -> None:
    """One fill through zero: its fee is shared between what it closes and what it opens."""
    store = PositionStore()
    store.apply("SPY", BUY, D(10), D(100), 1)
    (trade,) = store.apply("SPY", SELL, D(15), D(110), 2, fee_cash=D(3))
    assert (trade.quantity, trade.fees, trade.profit) == (D(10), D(2), D(98))
    position = store.position("SPY")
    assert (position.quantity, position.average_price, position.opened_at) == (D(-5), D(110), 2)
    (trade,) = store.apply("SPY", BUY, D(5), D(110), 3)
    assert (trade.side, trade.fees, trade.profit) == (SELL, D(1), D(-1))
    assert store.fees_total == 3
    assert store.cash == store.realized_pnl == 97


def test_a_fee_in_coin_makes_the_position_smaller_and_the_paid_cash_stays_its_cost() -> None:
    """The venue's recorded case: 0.1 BTC bought, 25 basis points taken in coin, 0.09975 held."""
    store = PositionStore(D(10_000))
    store.apply("BTC/USD", BUY, D("0.1"), D(40_000), 1, fee_coin=D("0.00025"))
    position = store.position("BTC/USD")
    assert position.quantity == D("0.09975")
    assert (position.average_price, position.cost_basis) == (D(40_000), D(4_000))
    assert (store.cash, store.fees_total) == (D(6_000), D(10))
    assert position.unrealized_pnl(40_000.0) == -10
    (trade,) = store.apply("BTC/USD", SELL, D("0.09975"), D(41_000), 2, fee_cash=D("10.224375"))
    assert trade.fees == D("20.224375")
    assert trade.profit == D("0.09975") * 1000 - trade.fees
    assert store.cash == 10_000 + trade.profit


def test_shares_of_a_fee_add_up_to_the_fee() -> None:
    """Thirds of a cent are cut, and the last part takes the rest."""
    store = PositionStore()
    store.apply("SPY", BUY, D(3), D(1), 1, fee_cash=D("0.01"))
    shares = [store.apply("SPY", SELL, D(1), D(1), 2)[0].fees for _ in range(3)]
    assert shares == [D("0.003333333333"), D("0.003333333334"), D("0.003333333333")]
    assert sum(shares) == D("0.01")


def test_dust_is_not_flat() -> None:
    """A position is flat at exactly zero and nowhere near it."""
    store = PositionStore()
    store.apply("BTC/USD", BUY, D("0.100000001"), D(40_000), 1)
    store.apply("BTC/USD", SELL, D("0.1"), D(40_000), 2)
    assert store.quantity("BTC/USD") == D("0.000000001")
    assert len(store.get_all()) == 1


def test_the_pieces_of_one_exit_order_are_one_trade() -> None:
    """An exit filled in pieces is one round trip, which closes with its last piece; the sums are exact."""
    store = PositionStore()
    store.apply("SPY", BUY, D(6), D(100), 1, order_id="in", fee_cash=D(1))
    store.apply("SPY", BUY, D(4), D(101), 2, order_id="in", fee_cash=D(1))
    (first,) = store.apply("SPY", SELL, D(5), D(90), 3, order_id="out", exit_reason="stop_loss", fee_cash=D(1))
    store.apply("QQQ", BUY, D(1), D(1), 3, order_id="other-in")
    store.apply("QQQ", SELL, D(1), D(1), 3, order_id="other-out")
    (grown,) = store.apply("SPY", SELL, D(5), D(91), 4, order_id="out", exit_reason="stop_loss", fee_cash=D(1))
    assert first.quantity == 5
    assert [trade.symbol for trade in store.closed_trades] == ["QQQ", "SPY"]
    assert store.closed_trades[-1] is grown
    assert (grown.quantity, grown.entry_price, grown.exit_price) == (D(10), D("100.4"), D("90.5"))
    assert (grown.opened_at, grown.closed_at, grown.exit_reason) == (1, 4, "stop_loss")
    assert (grown.fees, grown.profit) == (D(4), D(905) - D(1004) - 4)
    assert store.realized_pnl == grown.profit


def test_one_fill_that_closes_several_pieces_of_one_entry_returns_one_trade() -> None:
    """The entry was filled in pieces, the exit at once."""
    store = PositionStore()
    for _ in range(3):
        store.apply("SPY", BUY, D(1), D(100), 1, order_id="in")
    trades = store.apply("SPY", SELL, D(3), D(101), 2, order_id="out")
    assert [trade.quantity for trade in trades] == [3]
    assert store.closed_trades == list(trades)


def test_different_entries_or_exits_are_different_trades() -> None:
    """A trade is one entry order against one exit order."""
    store = PositionStore()
    store.apply("SPY", BUY, D(2), D(100), 1, order_id="in-1")
    store.apply("SPY", BUY, D(2), D(100), 1, order_id="in-2")
    store.apply("SPY", SELL, D(1), D(101), 2, order_id="out-1")
    store.apply("SPY", SELL, D(3), D(101), 3, order_id="out-2")
    assert [trade.quantity for trade in store.closed_trades] == [1, 1, 2]


def test_a_position_is_one_object_for_the_life_of_the_store() -> None:
    """It may be held on to, flat or not; marks reach it."""
    store = PositionStore()
    position = store.position("SPY")
    assert store.get("SPY") is None
    store.apply("SPY", BUY, D(1), D(100), 1)
    assert store.get("SPY") is position
    store.mark("SPY", 101.5)
    store.mark("nothing", 1.0)
    assert position.last_price == 101.5
    assert position.unrealized_pnl() == D("1.5")
    assert "1 SPY" in repr(position)


def test_open_positions_come_in_the_order_in_which_their_symbols_were_met() -> None:
    """The order is stable, whatever is closed and opened again."""
    store = PositionStore()
    for symbol in ("B", "A", "C"):
        store.apply(symbol, BUY, D(1), D(1), 1)
    store.apply("B", SELL, D(1), D(1), 2)
    assert [position.symbol for position in store.get_all()] == ["A", "C"]
    store.apply("B", BUY, D(1), D(1), 3)
    assert [position.symbol for position in store.get_all()] == ["B", "A", "C"]


def test_a_coin_fee_posted_later_moves_its_cost_into_the_fees() -> None:
    """The labelled adjustment leaves cash alone, and the profit of the round trip knows of it."""
    store = PositionStore(D(10_000))
    store.apply("BTC/USD", BUY, D("0.1"), D(40_000), 1)
    store.adjust("BTC/USD", D("-0.00025"), "CFEE 2026-01-02", 2)
    position = store.position("BTC/USD")
    assert (position.quantity, position.quantity_float) == (D("0.09975"), 0.09975)
    assert (position.cost_basis, store.fees_total, store.cash) == (D(4_000), D(10), D(6_000))
    (trade,) = store.apply("BTC/USD", SELL, D("0.09975"), D(40_000), 3)
    assert trade.profit == -10
    assert [(adjustment.label, adjustment.quantity) for adjustment in store.adjustments] == [
        ("CFEE 2026-01-02", D("-0.00025"))
    ]


def test_what_an_adjustment_takes_wholly_is_realised() -> None:
    """Nothing remains to carry its cost."""
    store = PositionStore(D(100))
    store.apply("SPY", BUY, D(1), D(60), 1, fee_cash=D(1))
    store.apply("SPY", BUY, D(1), D(39), 1)
    store.adjust("SPY", D(-2), "delisted", 2)
    assert store.get("SPY") is None
    assert (store.cash, store.realized_pnl) == (D(0), D(-100))


def test_an_adjustment_takes_the_newest_lots_first() -> None:
    """Whole lots and a part; the cost stays with what remains."""
    store = PositionStore()
    for price in (10, 20, 30):
        store.apply("SPY", BUY, D(2), D(price), 1)
    store.adjust("SPY", D(-3), "correction", 2)
    position = store.position("SPY")
    assert [(lot.quantity, lot.price, lot.fees) for lot in position.lots] == [
        (D(2), D(10), D(0)),
        (D(1), D(20), D(80)),
    ]
    assert position.cost_basis == 120


def test_what_an_adjustment_brings_is_free() -> None:
    """A split: twice the shares at the same cost; also into a flat or a short position."""
    store = PositionStore()
    store.apply("SPY", BUY, D(10), D(100), 1)
    store.adjust("SPY", D(10), "split 2:1", 2)
    assert store.position("SPY").average_price == 50
    assert store.position("SPY").cost_basis == 1000
    store.adjust("QQQ", D(3), "spin-off", 2)
    assert (store.quantity("QQQ"), store.position("QQQ").opened_at) == (D(3), 2)
    store.apply("IWM", SELL, D(2), D(10), 1)
    store.adjust("IWM", D(3), "correction", 2)
    assert store.quantity("IWM") == 1
    assert store.realized_pnl == 20


def test_cash_can_be_adjusted_alone() -> None:
    """A fee without a symbol."""
    store = PositionStore(D(10))
    store.adjust("", D(0), "FEE", 1, D("-0.5"))
    assert store.cash == D("9.5")
    assert store.get_all() == []


@pytest.mark.parametrize(("symbol", "label"), [("", "why"), ("SPY", "")])
def test_an_adjustment_needs_a_symbol_and_a_label(symbol: str, label: str) -> None:
    """The books do not change without a reason."""
    with pytest.raises(OrderError, match="expected a symbol and a label"):
        PositionStore().adjust(symbol, D(1), label, 1)


@pytest.mark.parametrize(
    ("side", "quantity", "price", "fee_coin"),
    [(BUY, D(0), D(1), D(0)), (BUY, D(1), D(-1), D(0)), (SELL, D(1), D(1), D("0.1")), (BUY, D(1), D(1), D(1))],
)
def test_a_fill_that_makes_no_sense_is_refused_and_changes_nothing(
    side: OrderSide, quantity: D, price: D, fee_coin: D
) -> None:
    """One clear error; the books are as before."""
    store = PositionStore()
    before = store.to_json()
    with pytest.raises(OrderError, match="SPY"):
        store.apply("SPY", side, quantity, price, 1, fee_coin=fee_coin)
    assert store.to_json() == before


def test_json_keeps_everything() -> None:
    """Lots, fees, the growing trade, marks and adjustments, to the notation of each number."""
    store = PositionStore(D("1000.00"))
    store.apply("SPY", BUY, D("10.0"), D("100.10"), 1, order_id="in", fee_cash=D("0.30"))
    store.apply("SPY", SELL, D(4), D(101), 2, order_id="out")
    store.apply("QQQ", SELL, D(1), D(300), 2)
    store.mark("QQQ", 299.99)
    store.adjust("QQQ", D("-0.5"), "borrow", 3, D("-0.01"))
    again = PositionStore.from_json(store.to_json())
    assert again.to_json() == store.to_json()
    for books in (store, again):
        books.apply("SPY", SELL, D(2), D(102), 4, order_id="out")
    assert again.to_json() == store.to_json()
    assert again.closed_trades == store.closed_trades
    position, copy = store.position("SPY"), again.position("SPY")
    assert (copy.quantity_float, copy.average_price_float) == (position.quantity_float, position.average_price_float)


def test_json_of_something_else_is_one_clear_error() -> None:
    """Not a traceback of a codec."""
    with pytest.raises(DataError, match="not a position store's JSON"):
        PositionStore.from_json("[]")
