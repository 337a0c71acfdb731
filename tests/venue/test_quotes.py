"""The matching engine against quotes and trades, and symbols that are halted."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from holdfast.model import OrderStatus, TimeInForce
from holdfast.venue.matching.engine import MatchingEngine, NewOrder, VenueOrder
from holdfast.venue.matching.orders import Refusal
from tests.venue.engine_bench import IOC, NOON, SELL, make_engine, order, trade

FOK = TimeInForce.FOK


def quoted(bid: float = 99.98, ask: float = 100.02, size: float = 100.0) -> MatchingEngine:
    """An engine whose SPY has a quote."""
    engine = make_engine()
    engine.quote("SPY", NOON, bid, size, ask, size)
    return engine


def send(engine: MatchingEngine, new: NewOrder) -> VenueOrder:
    """Submit, and meet the quote, as the venue does."""
    placed = engine.submit(new, NOON)
    engine.meet(placed.symbol, NOON)
    return placed


def fills(engine: MatchingEngine) -> list[tuple[str, Decimal, Decimal]]:
    """Who filled how much at which price."""
    return [(row.order_id[-2:], row.quantity, row.price) for row in engine.activities()]


def test_a_marketable_order_fills_at_once_against_the_quote() -> None:
    """A buy at the ask, a sell at the bid, a limit at the quote and not at its limit."""
    engine = quoted()
    bought = send(engine, order())
    assert (bought.status, bought.filled_avg_price) == (OrderStatus.FILLED, Decimal("100.02"))
    sold = send(engine, order(side=SELL, quantity="4", limit="99"))
    assert (sold.status, sold.filled_avg_price) == (OrderStatus.FILLED, Decimal("99.98"))
    assert send(engine, order(limit="100.01")).status is OrderStatus.NEW


def test_orders_use_the_quotes_size_up_and_only_the_next_quote_brings_more() -> None:
    """Also an order that comes after all others were filled meets what they left, and no more."""
    engine = quoted(size=12.5)
    first = send(engine, order(quantity="10"))
    second = send(engine, order(quantity="10"))
    assert (first.filled_qty, second.filled_qty) == (Decimal(10), Decimal(2))
    engine.quote("SPY", NOON + 1, 99.98, 7.0, 100.10, 7.0)
    assert second.filled_qty == 9
    engine.quote("SPY", NOON + 2, 99.98, 7.0, 100.20, 7.0)
    assert [row[1:] for row in fills(engine)][1:] == [
        (Decimal(2), Decimal("100.02")),
        (Decimal(7), Decimal("100.1")),
        (Decimal(1), Decimal("100.2")),
    ]
    third = send(engine, order(quantity="10"))
    assert third.filled_qty == 6


def test_price_comes_before_time_and_market_orders_before_both() -> None:
    """The better limit first, of equal ones the first to arrive; a market order before them all."""
    engine = quoted(size=0.0)
    late = send(engine, order(limit="99"))
    first = send(engine, order(limit="100"))
    second = send(engine, order(limit="100"))
    now = send(engine, order())
    engine.quote("SPY", NOON + 1, 98.0, 35.0, 98.5, 35.0)
    assert [found.filled_qty for found in (now, first, second, late)] == [10, 10, 10, 5]
    assert [row[0] for row in fills(engine)] == [found.id[-2:] for found in (now, first, second, late)]


def test_what_ioc_did_not_get_is_canceled_and_fok_gets_all_or_nothing() -> None:
    """Both are over within the moment in which they were sent."""
    engine = quoted(size=6.0)
    part = send(engine, order(time_in_force=IOC))
    assert (part.status, part.filled_qty) == (OrderStatus.CANCELED, Decimal(6))
    engine.quote("SPY", NOON, 99.98, 9.0, 100.02, 9.0)
    none = send(engine, order(time_in_force=FOK))
    assert (none.status, none.filled_qty) == (OrderStatus.CANCELED, Decimal(0))
    whole = send(engine, order(quantity="9", time_in_force=FOK))
    assert (whole.status, whole.filled_qty) == (OrderStatus.FILLED, Decimal(9))
    dear = send(engine, order(limit="1", time_in_force=IOC))
    assert dear.status is OrderStatus.CANCELED
    assert engine.open_count == 0


def test_without_a_quote_or_on_an_empty_side_nothing_fills() -> None:
    """A price of zero is no price; an IOC order without a quote is canceled."""
    engine = make_engine()
    assert send(engine, order(time_in_force=IOC)).status is OrderStatus.CANCELED
    rests = send(engine, order())
    engine.quote("SPY", NOON, 99.0, 100.0, 0.0, 0.0)
    assert rests.filled_qty == 0
    engine.quote("SPY", NOON, 0.0, 0.0, 101.0, 100.0)
    assert rests.status is OrderStatus.FILLED


def test_a_trade_moves_the_last_price_and_fills_nothing() -> None:
    """Orders meet the quote, not the tape."""
    engine = quoted()
    rests = send(engine, order(limit="99.5"))
    engine.trade("SPY", NOON + 1, 99.4, 1_000.0)
    assert (engine.prices["SPY"], rests.filled_qty) == (99.4, Decimal(0))


def test_unlimited_participation_takes_any_size() -> None:
    """As Alpaca's paper trading, which does not look at the quote's size."""
    engine = make_engine(participation=None)
    engine.quote("SPY", NOON, 99.0, 1.0, 100.0, 1.0)
    assert send(engine, order(quantity="500")).status is OrderStatus.FILLED


def test_crypto_pays_as_maker_what_rested_and_as_taker_what_met_the_quote() -> None:
    """25 basis points in coin at once, 15 for a limit that waited."""
    engine = make_engine()
    engine.quote("BTC/USD", NOON, 39_990.0, 5.0, 40_000.0, 5.0)
    send(engine, order("BTC/USD", quantity="1", limit="40000"))
    send(engine, order("BTC/USD", quantity="1", limit="39000"))
    engine.quote("BTC/USD", NOON + 1, 38_000.0, 5.0, 38_900.0, 5.0)
    assert [row.fee_coin for row in engine.activities()] == [Decimal("0.0025"), Decimal("0.0015")]


@pytest.mark.parametrize("bars", [True, False])
def test_a_halted_symbol_trades_nothing_and_then_goes_on(*, bars: bool) -> None:
    """Neither bars nor quotes move its orders or its price; cancels work, new orders rest, IOC ones are canceled."""
    engine = quoted()
    rests, gone = send(engine, order(limit="99")), send(engine, order(limit="98"))
    engine.halt("SPY", NOON)
    assert engine.is_halted("SPY")

    def market(price: float) -> None:
        if bars:
            engine.open_bar("SPY", NOON, price, 1e6)
            engine.close_bar("SPY", NOON + 1, price, price, price, price, 1e6)
        else:
            engine.trade("SPY", NOON, price, 1e6)
            engine.quote("SPY", NOON, price - 0.01, 1e6, price, 1e6)

    late = send(engine, order())
    hasty = send(engine, order(time_in_force=IOC))
    market(50.0)
    engine.cancel(gone.id, NOON)
    assert (rests.filled_qty, late.filled_qty, hasty.status) == (Decimal(0), Decimal(0), OrderStatus.CANCELED)
    assert engine.prices["SPY"] == 100.0
    engine.resume("SPY", NOON)
    assert rests.filled_qty == 0
    market(51.0)
    assert (rests.status, late.status, gone.status) == (OrderStatus.FILLED, OrderStatus.FILLED, OrderStatus.CANCELED)
    assert engine.prices["SPY"] == 51.0


def test_only_known_symbols_are_halted() -> None:
    """Anything else is a 404; a halt without orders is remembered all the same, and forgotten when it is over."""
    engine = make_engine()
    with pytest.raises(Refusal, match="asset not found for NOPE"):
        engine.halt("NOPE", NOON)
    engine.halt("BTCUSD", NOON)
    assert engine.is_halted("BTC/USD")
    engine.resume("BTCUSD", NOON)
    assert not engine.dump()["books"]


def test_a_dump_remembers_quotes_halts_and_what_was_taken() -> None:
    """The new engine fills what the old one would have filled."""
    engine = quoted(size=12.0)
    send(engine, order(quantity="10"))
    engine.halt("PLAIN", NOON)
    state = json.loads(json.dumps(engine.dump()))
    other = make_engine()
    other.load(state)
    assert other.dump() == state
    assert other.is_halted("PLAIN")
    assert send(other, order(quantity="10")).filled_qty == 2


def test_bars_and_quotes_share_one_book() -> None:
    """An order that a bar filled in part goes on with the next quote."""
    engine = make_engine()
    trade(engine, order(quantity="5"))
    placed = engine.submit(order(quantity="20", limit="101"), NOON)
    engine.open_bar("SPY", NOON, 100.0, 80.0)
    assert placed.filled_qty == 8
    engine.quote("SPY", NOON, 100.5, 50.0, 100.6, 50.0)
    assert (placed.status, placed.filled_cost) == (OrderStatus.FILLED, 8 * Decimal(100) + 12 * Decimal("100.6"))
