"""What trades in a simulation when nobody brings a strategy: one that is typical, and one that tries everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.model import Bar, OrderSide, TimeInForce
from holdfast.model.errors import StrategyError
from holdfast.state.order_tracker import InFlightOrder
from holdfast.strategies import Strategy
from holdfast.testing.sim.chance import Chance, stream


class Monkey(Strategy):
    """Buys, sells, exits, cancels and replaces at random, with orders of every type and class, all of it a function of bar and seed.

    Args:
        symbols: What to trade.
        seed: Of its chance.
        appetite: The chance that it does something at a bar.
        notional: About how much an order is worth (USD).
        shorts: Whether it also opens short positions.
        guarded: The chance that an order brings exits or waits behind a stop, and that a position is guarded.
        quiet_from: At and after this moment it only exits (UTC ns).
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        seed: int = 0,
        appetite: float = 0.3,
        notional: float = 5_000.0,
        shorts: bool = True,
        guarded: float = 0.0,
        quiet_from: int | None = None,
    ) -> None:
        super().__init__(symbols)
        self.seed, self.appetite, self.notional, self.shorts = seed, appetite, notional, shorts
        self.quiet_from, self.guarded = quiet_from, guarded
        self.seen: dict[str, int] = {}
        self.resting: dict[str, str] = {}  # the last limit order of each symbol, as far as it knows

    def save_state(self) -> object:
        """Which bars were seen, and what may rest."""
        return {"seen": dict(self.seen), "resting": dict(self.resting)}

    def load_state(self, state: Any) -> None:
        """Go on from there."""
        self.seen, self.resting = dict(state["seen"]), dict(state["resting"])

    def on_bar(self, bar: Bar) -> None:
        """Perhaps do something."""
        # A backfill that showed a bar twice would change what follows: the strategy is where that would be felt.
        if bar.ts <= self.seen.get(bar.symbol, 0):
            message = f"the bar of {bar.ts} was shown again"
            raise StrategyError(message)
        self.seen[bar.symbol] = bar.ts
        chance = stream(self.seed, f"{bar.symbol}/{bar.ts}")
        if chance.random() >= self.appetite:
            return
        view = self.view(bar.symbol)
        if self.quiet_from is not None and bar.ts >= self.quiet_from:
            if view.position:
                self.exit(bar.symbol, reason="quiet")
            return
        if self.guarded and chance.random() < self.guarded and self._guard(bar, chance):
            return
        rests = self.context.order(self.resting.get(bar.symbol, ""))
        if rests is not None and rests.is_open and chance.random() < 0.6:
            self._move(bar, rests, chance.uniform(-0.002, 0.004), chance.random())
            return
        roll = chance.random()
        if view.position and roll < 0.35:
            part = None if chance.random() < 0.6 else abs(view.position) / 2
            self.exit(bar.symbol, part or None, reason=chance.choice(("exit", "stop_loss")))
        elif roll < 0.45:
            self.cancel(bar.symbol)
        else:
            self._trade(bar, chance.random(), chance.random(), chance.uniform(-0.003, 0.003))

    def _guard(self, bar: Bar, chance: Chance) -> bool:
        """Something with a stop, a trail or exits; whether there was anything to do."""
        symbol, view = bar.symbol, self.view(bar.symbol)
        held, width = view.position_float, chance.uniform(0.0005, 0.004)
        sign = 1.0 if (held > 0 if held else chance.random() < 0.6 or not (self.shorts and view.shortable)) else -1.0
        profit, loss = (round(bar.close * (1 + sign * width * way), 2) for way in (1, -1))
        stop = self.context.order(f"{self.resting.get(symbol, '')}.sl")
        roll = chance.random()
        if held and stop is not None and stop.is_open:
            self.replace(stop, stop=loss)
        elif held:
            if roll < 0.5:
                self.protect(symbol, take_profit=profit, stop_loss=loss)
            elif roll < 0.75:
                self.exit(symbol, stop=loss, reason="stop_loss")
            else:
                self.exit(symbol, trail_percent=round(width * 100, 2), reason="trailing_stop")
        elif "/" in symbol or not view.flat:
            return False
        else:
            terms: dict[str, Any] = {"take_profit": profit, "stop_loss": loss}
            if roll < 0.2:
                terms = {"stop_loss": loss}
            elif roll < 0.4:
                terms = {"stop": profit}
            elif roll < 0.6:
                terms["limit"] = round(bar.close * (1 - sign * width / 3), 2)
            ask = self.buy if sign > 0 else self.sell
            verdict = ask(symbol, notional=self.notional * (0.3 + chance.random()), reason="guarded", **terms)
            self.resting[symbol] = verdict.client_order_id or ""
        return True

    def _trade(self, bar: Bar, side: float, kind: float, offset: float) -> None:
        held = self.view(bar.symbol).position_float
        sells = self.shorts and side < 0.5 if not held else side < 0.3
        limit = round(bar.close * (1 + offset), 2) if kind < 0.6 else None
        tif = TimeInForce.IOC if limit is not None and kind < 0.1 and "/" in bar.symbol else None
        ask = self.sell if sells else self.buy
        verdict = ask(
            bar.symbol,
            notional=self.notional * (0.3 + kind),
            limit=limit,
            time_in_force=tif,
            reason=(OrderSide.SELL if sells else OrderSide.BUY).value,
        )
        if limit is not None and verdict.client_order_id is not None:
            self.resting[bar.symbol] = verdict.client_order_id

    def _move(self, bar: Bar, order: InFlightOrder, away: float, kind: float) -> None:
        """Another price for what rests, and perhaps another quantity; whether it can be, the verdict says."""
        quantity = None if kind < 0.5 else order.remaining * 2 if kind < 0.75 else order.remaining / 2
        verdict = self.replace(order, limit=round(bar.close * (1 - order.side.sign * away), 2), quantity=quantity)
        self.resting[bar.symbol] = verdict.client_order_id or order.client_order_id
