"""A market order in crypto is a limit order 2 % from the market that it came to, whatever the market is made of."""

from __future__ import annotations

from decimal import Decimal

import pytest

from holdfast.model import OrderSide, OrderStatus
from holdfast.venue.matching.engine import MatchingEngine
from holdfast.venue.matching.orders import VenueOrder
from holdfast.venue.matching.replacing import Replacement
from holdfast.venue.wire.orders import order_json
from tests.venue.engine_bench import BUY, GTC, IOC, NOON, SELL, make_engine, order, trade

MUCH = 10.0**6
NEW, FILLED, CANCELED = OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.CANCELED


def bar(engine: MatchingEngine, open_: float, high: float, low: float, close: float, volume: float = MUCH) -> None:
    """One bar of the coin."""
    engine.open_bar("BTC/USD", NOON, open_, volume)
    engine.close_bar("BTC/USD", NOON, open_, high, low, close, volume)


def holder() -> MatchingEngine:
    """An engine that holds a coin, bought at 40,000."""
    engine = make_engine()
    trade(engine, order("BTC/USD", quantity="1"))
    return engine


def state_of(placed: VenueOrder) -> tuple[OrderStatus, Decimal, Decimal | None]:
    """Its status, what it has, and at what average."""
    return placed.status, placed.filled_qty, placed.filled_avg_price


@pytest.mark.parametrize(("side", "beyond", "collar"), [(BUY, 40_801.0, "40800"), (SELL, 39_199.0, "39200")])
def test_it_rests_at_its_collar_and_fills_when_the_market_comes_back(
    side: OrderSide, beyond: float, collar: str
) -> None:
    """Bars: nothing trades where the whole bar is beyond it, and the next bar that comes by fills it there."""
    engine = holder()
    placed = engine.submit(order("BTC/USD", side, "0.1"), NOON)
    bar(engine, beyond, beyond, beyond, beyond)
    assert state_of(placed) == (NEW, Decimal(0), None)
    within = 40_000.0
    bar(engine, beyond, max(beyond, within), min(beyond, within), beyond)
    assert state_of(placed) == (FILLED, Decimal("0.1"), Decimal(collar))


def test_at_its_collar_it_trades() -> None:
    """Bars: the collar itself is within it."""
    engine = make_engine()
    placed = engine.submit(order("BTC/USD", quantity="0.1"), NOON)
    bar(engine, 40_800.0, 41_000.0, 40_800.0, 41_000.0)
    assert state_of(placed) == (FILLED, Decimal("0.1"), Decimal(40_800))


def test_within_its_collar_it_meets_the_close() -> None:
    """Bars: what the open's volume left meets the close of a bar that stays within, as a market order does."""
    engine = make_engine()
    placed = engine.submit(order("BTC/USD", quantity="1.5"), NOON)
    bar(engine, 40_000.0, 40_300.0, 39_900.0, 40_200.0, volume=10.0)
    assert state_of(placed) == (OrderStatus.PARTIALLY_FILLED, Decimal(1), Decimal(40_000))
    bar(engine, 41_000.0, 41_000.0, 40_500.0, 40_700.0, volume=10.0)
    assert placed.filled_cost == 40_000 + Decimal("0.5") * 40_700


def test_ioc_does_not_wait_for_it() -> None:
    """Bars: beyond the collar the moment gives nothing, and the order is canceled."""
    engine = make_engine()
    placed = engine.submit(order("BTC/USD", quantity="0.1", time_in_force=IOC), NOON)
    bar(engine, 40_801.0, 40_801.0, 40_000.0, 40_000.0)
    assert state_of(placed) == (CANCELED, Decimal(0), None)


def test_a_quote_beyond_it_is_not_taken() -> None:
    """Quotes: the ask at which it came is what counts, not the last trade, and not the ask that follows."""
    engine = make_engine()
    engine.quote("BTC/USD", NOON, 41_900.0, 1.0, 42_000.0, 0.1)
    placed = engine.submit(order("BTC/USD", quantity="0.3"), NOON)
    engine.meet("BTC/USD", NOON)
    engine.quote("BTC/USD", NOON, 42_800.0, 1.0, 42_840.01, 1.0)
    assert state_of(placed) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.1"), Decimal(42_000))
    engine.quote("BTC/USD", NOON, 42_800.0, 1.0, 42_840.0, 1.0)
    assert placed.filled_cost == Decimal("0.1") * 42_000 + Decimal("0.2") * 42_840


def test_a_sale_is_collared_at_the_bid() -> None:
    """Quotes: it takes no bid lower than 2 % below the one that it came to, or below the last trade where nobody bids."""
    engine = holder()
    engine.quote("BTC/USD", NOON, 39_000.0, 0.0, 41_000.0, 1.0)
    at_the_bid = engine.submit(order("BTC/USD", SELL, "0.1"), NOON)
    engine.quote("BTC/USD", NOON, 0.0, 0.0, 41_000.0, 1.0)
    at_the_trade = engine.submit(order("BTC/USD", SELL, "0.1"), NOON)
    assert (at_the_bid.bound, at_the_trade.bound) == (Decimal(38_220), Decimal(39_200))
    engine.quote("BTC/USD", NOON, 38_220.0, 1.0, 41_000.0, 1.0)
    assert (at_the_bid.status, at_the_trade.status) == (FILLED, NEW)


def test_it_never_pays_more_than_it_reserved() -> None:
    """Also where the increment is coarse: collar and reserve are the same price, and the cash covers it."""
    engine = make_engine(cash=105, taker_bps=Decimal(0))
    placed = engine.submit(order("BIG/USD", quantity="10"), NOON)
    assert (placed.bound, placed.reserve_price) == (Decimal("10.5"), Decimal("10.5"))
    engine.open_bar("BIG/USD", NOON, 10.3, MUCH)
    assert (placed.filled_avg_price, engine.account().cash) == (Decimal("10.5"), Decimal(0))


def test_no_client_sees_it() -> None:
    """It stays a market order without a limit, comes before limit orders, and pays as a taker."""
    engine = make_engine()
    limit = engine.submit(order("BTC/USD", quantity="0.1", limit="45000"), NOON)
    placed = engine.submit(order("BTC/USD", quantity="1"), NOON)
    told = order_json(placed)
    assert (told["type"], told["limit_price"]) == ("market", None)
    bar(engine, 41_000.0, 41_000.0, 40_000.0, 41_000.0, volume=10.0)
    assert (placed.filled_qty, limit.filled_qty) == (Decimal("0.9"), Decimal("0.1"))
    assert engine.activities()[-1].fee_coin == Decimal("0.9") * Decimal("0.0025")


def test_a_replacement_is_collared_anew() -> None:
    """It arrives anew, so that it is the market of its own moment that counts."""
    engine = make_engine()
    placed = engine.submit(order("BTC/USD", quantity="0.1", time_in_force=GTC), NOON)
    bar(engine, 42_000.0, 42_000.0, 42_000.0, 42_000.0)
    new = engine.replace(placed.id, Replacement(quantity=Decimal("0.2")), NOON)
    assert (placed.bound, new.bound, new.limit_price) == (Decimal(40_800), Decimal(42_840), None)


def test_shares_have_no_collar() -> None:
    """A market order for a share pays what the market asks, as far as it may jump."""
    engine = make_engine()
    placed = engine.submit(order("SPY"), NOON)
    engine.open_bar("SPY", NOON, 150.0, MUCH)
    assert (placed.bound, placed.filled_avg_price) == (None, Decimal(150))
