"""Positions of more than 600 % of the equity: from then on the account may only close."""

from __future__ import annotations

import pytest

from holdfast.venue.matching.engine import MatchingEngine
from holdfast.venue.matching.orders import Refusal
from holdfast.venue.matching.replacing import Replacement
from tests.venue.engine_bench import NOON, SELL, make_engine, order, trade

ONLY_CLOSING = (403, 40310000, "account is restricted to liquidation only")


def loser(price: float) -> MatchingEngine:
    """An account of 100,000 USD with 3,900 shares that it has bought at 100, which are now at another price."""
    engine = make_engine(multiplier=4)
    trade(engine, order(quantity="3900"))
    engine.prices["SPY"] = price
    return engine


def refusal(engine: MatchingEngine, quantity: str, limit: str, symbol: str = "SPY") -> tuple[int, int, str]:
    """Why an order may not come."""
    with pytest.raises(Refusal) as refused:
        engine.submit(order(symbol, quantity=quantity, limit=limit), NOON)
    return refused.value.http_status, refused.value.code, refused.value.message


def test_what_exceeds_six_times_the_equity_is_refused_to_the_cent() -> None:
    """354,900 USD of shares and 64,900 of equity leave 34,500, although the buying power is 45,100."""
    engine = loser(91.0)
    assert engine.account().buying_power == 45_100
    assert refusal(engine, "345", "100.01") == ONLY_CLOSING
    assert refusal(engine, "3450", "10.01", "CASHONLY")[2] == "insufficient buying power"  # cash comes first
    placed = engine.submit(order(quantity="345", limit="100"), NOON)
    assert placed.is_open


def test_open_orders_count_and_what_they_are_replaced_by_counts_instead() -> None:
    """Two orders cannot do what one may not; a replacement takes the place of the old order, and may be as large."""
    engine = loser(91.0)
    placed = engine.submit(order(quantity="345", limit="80"), NOON)
    assert refusal(engine, "69", "100.01") == ONLY_CLOSING
    with pytest.raises(Refusal, match="liquidation only"):
        engine.replace(placed.id, Replacement(quantity=placed.quantity + 87), NOON)
    assert engine.replace(placed.id, Replacement(quantity=placed.quantity + 86), NOON).is_open


def test_who_is_beyond_it_already_may_close() -> None:
    """Fourteen times the equity: not a share more, and all of them may go."""
    engine = loser(80.0)
    assert refusal(engine, "1", "80") == ONLY_CLOSING
    assert engine.submit(order(side=SELL, quantity="3900"), NOON).is_open


def test_an_account_without_equity_opens_nothing() -> None:
    """Six times less than nothing is less than nothing."""
    engine = loser(74.0)
    assert engine.account().equity < 0
    assert refusal(engine, "1", "74") == ONLY_CLOSING


@pytest.mark.parametrize("multiplier", [1, 2])
def test_other_accounts_run_out_of_buying_power_first(multiplier: int) -> None:
    """Whatever they lose: they have none left long before."""
    engine = make_engine(multiplier=multiplier)
    trade(engine, order(quantity=str(970 * multiplier)))
    for price in (99.0, 80.0, 60.0, 52.0):
        engine.prices["SPY"] = price
        assert refusal(engine, "3000", "100")[2] == "insufficient buying power"
