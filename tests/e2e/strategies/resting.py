"""A strategy that keeps one limit order resting, too far away to trade."""

from __future__ import annotations

from holdfast.model import Bar
from holdfast.strategies import Strategy


class Resting(Strategy):
    """Buys four percent below the first price that it sees, and waits."""

    def on_bar(self, bar: Bar) -> None:
        """Put the order down, once."""
        if self.view(bar.symbol).flat:
            self.buy(bar.symbol, 0.1, limit=bar.close * 0.96, reason="far below")
