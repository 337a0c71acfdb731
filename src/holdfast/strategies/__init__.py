"""The Strategy API and strategies that show it."""

from holdfast.strategies.base import Strategy, StrategyContext, SymbolView
from holdfast.strategies.vwap_mean_reversion import VwapMeanReversion

__all__ = ["Strategy", "StrategyContext", "SymbolView", "VwapMeanReversion"]
