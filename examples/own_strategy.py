"""A strategy of your own: buy a dip below the average of the last bars, sell it back at the average.

    holdfast backtest --strategy examples/own_strategy.py:Dip
    holdfast paper --strategy examples/own_strategy.py:Dip --param bars=60 --speed max --once

It shows the Strategy API in few lines. It is no advice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import fmean

from holdfast.model import Bar
from holdfast.strategies import Strategy


class Dip(Strategy):
    """Buys a close ``dip`` below the average of the last ``bars`` closes; leaves at the average or 1 % lower."""

    def __init__(self, symbols: Sequence[str], *, bars: int = 30, dip: float = 0.004) -> None:
        super().__init__(symbols)
        self.dip = dip
        self.closes = {symbol: deque[float](maxlen=bars) for symbol in symbols}

    def on_bar(self, bar: Bar) -> None:
        """Look at one bar; ask for at most one trade."""
        view, closes = self.view(bar.symbol), self.closes[bar.symbol]
        closes.append(bar.close)
        average = fmean(closes)
        if view.flat and len(closes) == closes.maxlen and bar.close < average * (1 - self.dip):
            self.buy(bar.symbol, notional=5_000, reason="dip")
        elif view.position and bar.close >= average:
            self.exit(bar.symbol, reason="back at the average")
        elif view.position and bar.close < view.average_price_float * 0.99:
            self.exit(bar.symbol, reason="stop_loss")

    def save_state(self) -> object:
        """What decisions depend on besides the next bar, so that a restart need not show every bar again."""
        return {symbol: list(closes) for symbol, closes in self.closes.items()}

    def load_state(self, state: dict[str, list[float]]) -> None:
        """Go on from there."""
        for symbol, closes in state.items():
            self.closes[symbol].extend(closes)
