"""A strategy that is always in the market: it holds a position, and keeps an order resting far below."""

from __future__ import annotations

from holdfast.model import Bar
from holdfast.strategies import Strategy


class Holder(Strategy):
    """Buys where it holds nothing; then rests a bid two percent below the price, again and again."""

    keeps_state = False

    def on_bar(self, bar: Bar) -> None:
        """Buy, or rest."""
        view = self.view(bar.symbol)
        if view.flat:
            self.buy(bar.symbol, 0.1, reason="in")
        elif view.position and not view.busy:
            self.buy(bar.symbol, 0.05, limit=bar.close * 0.98, reason="far below")
