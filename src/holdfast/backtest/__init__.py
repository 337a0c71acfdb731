"""The same kernel over recorded bars, without a wire."""

from holdfast.backtest.backtest import Backtest, BacktestResult

__all__ = ["Backtest", "BacktestResult"]
