"""A strategy that does everything an order can do, as a function of how many bars it has seen.

It has no opinion of the market: in turn it opens with a limit below (or above) the price, with an
immediate-or-cancel, with a market order; lets some rest and takes some back; and leaves by limit, in
halves or at once. So a short market brings partial fills, cancels, expiries and exits that must wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.model import Bar, TimeInForce
from holdfast.strategies import Strategy


class Ladder(Strategy):
    """Open, wait, leave; each round another way.

    Args:
        symbols: What to trade.
        notional: USD per entry.
        offset: How far from the last price limits are placed, as a fraction of it.
        patience: Bars that an entry may rest before it is taken back.
        hold: Bars that a position is held.
        allow_short: Also open by selling, where the symbol is shortable.
        moves: While an entry rests, have it follow the price: each bar it is replaced, now and then by half of it.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        notional: float = 9_000,
        offset: float = 0.0004,
        patience: int = 3,
        hold: int = 6,
        allow_short: bool = True,
        moves: bool = False,
    ) -> None:
        super().__init__(symbols)
        self.notional, self.offset, self.patience, self.hold = notional, offset, patience, hold
        self.allow_short, self.moves = allow_short, moves
        self._entry = dict.fromkeys(self.symbols, "")
        self._bars = dict.fromkeys(self.symbols, 0)
        self._rounds = dict.fromkeys(self.symbols, 0)
        self._since = dict.fromkeys(self.symbols, 0)

    def on_bar(self, bar: Bar) -> None:
        """Do what is due."""
        symbol = bar.symbol
        self._bars[symbol] += 1
        view, age = self.view(symbol), self._bars[symbol] - self._since[symbol]
        if view.flat:
            if age >= 2 and bar.volume >= 0:
                self._open(symbol, bar.close)
        elif not view.position_float:
            if age >= self.patience:
                self.cancel(symbol)
            elif self.moves:
                self._move(symbol, bar.close)
        elif age >= self.hold:
            self._leave(symbol, bar.close, view.position_float, age)

    def save_state(self) -> object:
        """The three counts of each symbol, and the entry that may rest."""
        return [dict(self._bars), dict(self._rounds), dict(self._since), dict(self._entry)]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Go on counting."""
        self._bars, self._rounds, self._since, self._entry = state

    def _open(self, symbol: str, price: float) -> None:
        self._since[symbol] = self._bars[symbol]
        turn = self._rounds[symbol] = self._rounds[symbol] + 1
        short = self.allow_short and self.view(symbol).shortable and turn % 3 == 0
        away = self.offset * (1 if short else -1)
        limit: float | None = None
        time_in_force: TimeInForce | None = None
        match turn % 5:
            case 0:
                pass
            case 1 | 2:
                limit = price * (1 + away)
            case 3:
                limit, time_in_force = price * (1 - 3 * away), TimeInForce.IOC
            case 4:
                limit, time_in_force = price * (1 + away), TimeInForce.IOC
        ask = self.sell if short else self.buy
        verdict = ask(
            symbol, notional=self.notional, limit=limit, time_in_force=time_in_force, reason=f"turn {turn % 5}"
        )
        self._entry[symbol] = verdict.client_order_id or ""

    def _move(self, symbol: str, price: float) -> None:
        order = self.context.order(self._entry[symbol])
        if order is None or not order.is_open or order.limit_price is None:
            return
        away = self.offset / 2 * -order.side.sign
        quantity = order.remaining / 2 if self._bars[symbol] % 4 == 0 else None
        verdict = self.replace(order, limit=price * (1 + away), quantity=quantity)
        self._entry[symbol] = verdict.client_order_id or order.client_order_id

    def _leave(self, symbol: str, price: float, held: float, age: int) -> None:
        turn = self._rounds[symbol]
        overdue = age >= 3 * self.hold
        if turn % 2 == 0 and not overdue:
            # A resting exit; asked for again while it rests, so that it is taken back and renewed.
            away = self.offset / 2 if held > 0 else -self.offset / 2
            if age % 3 == 0:
                self.exit(symbol, limit=price * (1 + away), reason="limit exit")
        elif turn % 3 == 1 and not overdue:
            self.exit(symbol, abs(held) / 2, reason="half")
        else:
            self.exit(symbol, reason="out of time" if overdue else "out")
