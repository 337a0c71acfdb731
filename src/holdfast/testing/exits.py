"""A strategy that leaves its exits to the venue: brackets, one exit alone, pairs of exits, stops that rest and stops that trail.

Like the ladder it has no opinion of the market: each round opens another way, as a function of how many bars it has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.model import Bar, TimeInForce
from holdfast.strategies import Strategy


class Exits(Strategy):
    """Open with exits or put them beside the position, move them now and then, and leave what they did not.

    Args:
        symbols: What to trade.
        notional: USD per entry.
        width: How far from the price the exits are, as a fraction of it.
        hold: Bars after which a position is left by force.
    """

    def __init__(
        self, symbols: Sequence[str], *, notional: float = 9_000, width: float = 0.0015, hold: int = 12
    ) -> None:
        super().__init__(symbols)
        self.notional, self.width, self.hold = notional, width, hold
        self._bars = dict.fromkeys(self.symbols, 0)
        self._rounds = dict.fromkeys(self.symbols, 0)
        self._since = dict.fromkeys(self.symbols, 0)
        self._entry = dict.fromkeys(self.symbols, "")

    def on_bar(self, bar: Bar) -> None:
        """Do what is due."""
        symbol = bar.symbol
        self._bars[symbol] += 1
        view, age = self.view(symbol), self._bars[symbol] - self._since[symbol]
        if view.flat:
            self._open(symbol, bar.close)
        elif not view.position_float:
            if age >= self.hold // 2:
                self.cancel(symbol)
        elif age >= self.hold:
            self.exit(symbol, reason="out of time")
        elif age == self.hold // 2:
            self._guard(symbol, bar.close, 1.0 if view.position_float > 0 else -1.0)

    def save_state(self) -> object:
        """The counts of each symbol, and the last entry."""
        return [dict(self._bars), dict(self._rounds), dict(self._since), dict(self._entry)]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Go on counting."""
        self._bars, self._rounds, self._since, self._entry = state

    def _open(self, symbol: str, price: float) -> None:
        self._since[symbol] = self._bars[symbol]
        turn = self._rounds[symbol] + 1
        sells = turn % 3 == 0 and self.view(symbol).shortable
        ask, sign = (self.sell, -1.0) if sells else (self.buy, 1.0)
        profit, loss = price * (1 + sign * self.width), price * (1 - sign * self.width)
        terms: dict[str, Any] = {}
        match turn % 6:
            case 0 | 1:
                terms = {"take_profit": profit, "stop_loss": loss}
            case 2:
                terms = {"take_profit": profit, "stop_loss": loss, "stop_loss_limit": loss * (1 - sign * self.width)}
                terms |= {"limit": price * (1 - sign * self.width / 4), "time_in_force": TimeInForce.GTC}
            case 3:
                terms = {"stop_loss": loss}
            case 4:
                terms = {"stop": price * (1 + sign * self.width / 4)}
            case 5:
                terms = {"limit": price * (1 + sign * self.width / 2), "time_in_force": TimeInForce.FOK}
        verdict = ask(symbol, notional=self.notional, reason=f"turn {turn % 6}", **terms)
        if verdict.approved:  # a round that a guard forbids is tried again
            self._rounds[symbol], self._entry[symbol] = turn, verdict.client_order_id or ""

    def _guard(self, symbol: str, price: float, sign: float) -> None:
        """Halfway: move the stop of a bracket, or put exits beside a position that has none."""
        profit, loss = price * (1 + sign * self.width), price * (1 - sign * self.width / 2)
        stop = self.context.order(f"{self._entry[symbol]}.sl")
        turn = self._rounds[symbol] % 6
        if stop is not None and stop.is_open and stop.limit_price is None:
            self.replace(stop, stop=loss)
        elif turn == 4:
            self.protect(symbol, take_profit=profit, stop_loss=loss)
        elif turn == 5:
            self.exit(symbol, trail_percent=round(100 * self.width, 3), reason="trailing_stop")
