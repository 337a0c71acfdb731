"""The Strategy API outside of any one strategy: sizes, names, and the order boundary."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import OrderSide
from holdfast.model.errors import StrategyError
from holdfast.strategies import Strategy, VwapMeanReversion
from holdfast.strategies.base import to_decimal
from tests.kernel.helpers import SPY, Bench, leave, make_kernel


def test_a_strategy_is_named_after_its_class_unless_it_says_otherwise() -> None:
    """Orders and logs carry the name."""

    class Plain(Strategy):
        pass

    class Named(Strategy):
        name = "my edge"

    assert Plain([SPY]).name == "Plain"
    assert Named([SPY]).name == "my edge"


def through_a_pickle(strategy: Strategy) -> Strategy:
    """As one reaches another process."""
    return cast("Strategy", pickle.loads(pickle.dumps(strategy)))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("again", [copy.deepcopy, through_a_pickle])
def test_a_strategy_that_is_not_running_can_be_copied(again: Callable[[Strategy], Strategy]) -> None:
    """Whoever runs one many times makes copies of it; each says of itself that it is not running."""
    copied = again(VwapMeanReversion([SPY], quantity=7))
    assert (copied.symbols, vars(copied)["quantity"]) == ((SPY,), 7)
    with pytest.raises(StrategyError, match="VwapMeanReversion is not running"):
        copied.buy(SPY, 1)
    kernel = make_kernel([copied])
    assert copied.view(SPY) is kernel.view(SPY)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_becomes_the_decimal_that_it_shows(number: float) -> None:
    """0.1 is 0.1, and nothing is lost on the way back."""
    assert to_decimal(number) == Decimal(repr(number))
    assert float(to_decimal(number)) == number


@pytest.mark.parametrize("number", [Decimal("1.10"), 7, 0.1])
def test_numbers_of_every_kind_are_taken(number: float) -> None:
    """int, float, Decimal."""
    assert to_decimal(number) == Decimal(str(number))


def test_a_size_in_dollars_before_the_first_price_is_refused_with_a_reason() -> None:
    """There is nothing to divide by: a verdict, not an error."""
    bench = Bench(ready=False)
    bench.begin()
    bench.load()
    bench.reported()
    verdict = bench.strategy.buy(SPY, notional=1_000)
    assert not verdict.approved
    assert verdict.reason


def test_the_view_of_a_symbol_stays_current() -> None:
    """Keep the object; position, price and busyness follow."""
    bench = Bench()
    view = bench.strategy.view(SPY)
    assert (view.flat, view.position, view.last_price) == (True, Decimal(0), 100.0)
    bench.hold(-10, close=101.0)
    assert (view.position, view.position_float, view.average_price_float) == (Decimal(-10), -10.0, 101.0)
    assert view.last_price == 101.0
    intent = bench.order(leave())
    assert intent.side is OrderSide.BUY
    bench.filled(intent, 10)
    assert (view.position_float, view.average_price_float) == (0.0, 0.0)
