"""The boundary to the user's code: one sentence, whatever a strategy does."""

from __future__ import annotations

from decimal import getcontext

import pytest

from holdfast.model import Bar
from holdfast.model.decimals import DIGITS, EXACT
from holdfast.model.errors import StrategyError
from holdfast.strategies import Strategy
from holdfast.testing import make_kernel
from tests.kernel.helpers import SPY, Bench, Scripted


class Unwilling(Strategy):
    """Cannot even start."""

    def on_start(self) -> None:
        """Fail."""
        message = "no licence"
        raise RuntimeError(message)


class Leaving(Strategy):
    """Believes that the process is its own."""

    def on_bar(self, bar: Bar) -> None:
        """Leave."""
        raise SystemExit(bar.symbol)


def test_a_strategy_that_cannot_start_is_named() -> None:
    """It raises while the kernel is made, which is a StrategyError like any other."""
    with pytest.raises(StrategyError, match=r"strategy Unwilling raised RuntimeError .*no licence"):
        make_kernel([Unwilling(["SPY"])])


def test_a_strategy_cannot_end_the_process() -> None:
    """SystemExit is a failure of the strategy; it does not pass for success."""
    kernel = make_kernel([Leaving(["SPY"])])
    with pytest.raises(StrategyError, match=r"strategy Leaving raised SystemExit in on_bar"):
        kernel.handle(Bar(1_704_207_660 * 10**9, "SPY", 1.0, 1.0, 1.0, 1.0, 1.0))


def test_a_strategy_may_not_change_the_arithmetic_of_the_kernel() -> None:
    """Its own sums are its own affair; fewer digits for the kernel's would round money by accident."""
    bench = Bench()

    def careless(strategy: Scripted) -> object:
        getcontext().prec = 5
        return strategy.buy(SPY, 1)

    try:
        with pytest.raises(StrategyError, match="changed the Decimal context of the kernel to 5 digits"):
            bench.act(careless)
    finally:
        EXACT.prec = DIGITS
