"""Session VWAP mean reversion: buy what has fallen far below the session's average price, sell it back there.

The volume-weighted average price of the session so far is ``sum(close * volume) / sum(volume)``; the
spread of prices around it is the population standard deviation of ``close - VWAP``, kept running by
Welford's method (B. P. Welford, "Note on a method for calculating corrected sums of squares and
products", Technometrics 4(3), 1962). Both start afresh each session.

It is an example of the Strategy API that is complete enough to trade: it is no advice.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING

from holdfast.model import Bar, Execution
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.strategies.base import Number, Strategy, SymbolView

if TYPE_CHECKING:
    from holdfast.state.order_tracker import InFlightOrder


class _Session:
    """One symbol's running sums in one session."""

    __slots__ = ("bars", "bars_held", "close", "flat_from", "m2", "mean", "price_volume", "view", "volume")

    def __init__(self, view: SymbolView) -> None:
        self.view = view
        self.bars_held = 0
        self.start(0, 0)

    def start(self, close: int, flat_from: int) -> None:
        self.close, self.flat_from = close, flat_from
        self.bars = 0
        self.price_volume = self.volume = self.mean = self.m2 = 0.0


_KEPT = tuple(name for name in _Session.__slots__ if name != "view")


class VwapMeanReversion(Strategy):
    """Enter beyond ``deviations`` standard deviations from the session's VWAP; exit at the VWAP.

    Args:
        symbols: What to trade.
        quantity: Shares or coins per entry; or else ``notional``.
        notional: USD per entry at the last price (default 10,000 where no quantity is given).
        deviations: How many standard deviations from VWAP make an entry (> 0).
        warmup_bars: Bars of the session before the first entry (>= 2).
        stop_loss: Exit when the close is this fraction beyond the entry price (0.01 = 1 %); None for none.
        time_stop_bars: Exit after this many bars in the position; None for none.
        flat_minutes: No entry, and exit, from this many minutes before the session's close (>= 1).
        allow_short: Also sell above VWAP, where the symbol is shortable.

    Raises:
        ConfigurationError: A parameter is out of its range; names it and what was expected.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        quantity: Number | None = None,
        notional: Number | None = None,
        deviations: float = 2.0,
        warmup_bars: int = 20,
        stop_loss: float | None = 0.01,
        time_stop_bars: int | None = 120,
        flat_minutes: int = 5,
        allow_short: bool = True,
    ) -> None:
        super().__init__(symbols)
        if quantity is not None and notional is not None:
            message = "VwapMeanReversion: give quantity or notional, not both"
            raise ConfigurationError(message)
        if quantity is None and notional is None:
            notional = 10_000
        _require("quantity", quantity, "a positive number", quantity is None or _is_between(0, quantity))
        _require("notional", notional, "a positive number of USD", notional is None or _is_between(0, notional))
        _require("deviations", deviations, "a number above 0", _is_between(0, deviations))
        _require("warmup_bars", warmup_bars, "a whole number of at least 2", _is_whole(2, warmup_bars))
        fraction = "a fraction between 0 and 1, or none"
        _require("stop_loss", stop_loss, fraction, stop_loss is None or _is_between(0, stop_loss, 1))
        count = "a whole number of at least 1, or none"
        _require("time_stop_bars", time_stop_bars, count, time_stop_bars is None or _is_whole(1, time_stop_bars))
        _require("flat_minutes", flat_minutes, "a whole number of at least 1", _is_whole(1, flat_minutes))
        _require("allow_short", allow_short, "true or false", isinstance(allow_short, bool))
        self.quantity, self.notional = quantity, notional
        self.deviations = float(deviations)
        self.warmup_bars = int(warmup_bars)
        self.stop_loss = stop_loss
        self.time_stop_bars = time_stop_bars
        self._time_stop = inf if time_stop_bars is None else time_stop_bars
        self.flat_minutes = int(flat_minutes)
        self.allow_short = allow_short
        self._sessions: dict[str, _Session] = {}

    def on_start(self) -> None:
        """Make the running sums of each symbol."""
        self._sessions = {symbol: _Session(self.view(symbol)) for symbol in self.symbols}

    def on_bar(self, bar: Bar) -> None:
        """Update the session's sums, then look for an entry or a reason to leave."""
        s = self._sessions[bar.symbol]
        view = s.view
        if view.session_close != s.close:
            s.start(view.session_close, view.session_close - self.flat_minutes * NS_PER_MINUTE)
        close, traded = bar.close, bar.volume
        held = view.position_float
        s.price_volume = price_volume = s.price_volume + close * traded
        s.volume = volume = s.volume + traded
        if volume > 0.0:
            n = s.bars = s.bars + 1
            distance = close - price_volume / volume
            mean = s.mean
            delta = distance - mean
            s.mean = mean = mean + delta / n
            s.m2 = m2 = s.m2 + delta * (distance - mean)
            if not held:
                below = distance < 0.0
                may_enter = n >= self.warmup_bars and bar.ts < s.flat_from and (below or self.allow_short)
                if may_enter and abs(distance) > self.deviations * sqrt(m2 / n):
                    self._enter(bar.symbol, s, below=below)
                return
            reverted = distance >= 0.0 if held > 0.0 else distance <= 0.0
        else:
            # No volume yet this session: there is no VWAP to enter or leave at, but risk is still watched.
            if not held:
                return
            reverted = False
        s.bars_held = bars_held = s.bars_held + 1
        stopped = False
        if self.stop_loss is not None:
            entry = view.average_price_float
            stopped = (entry - close if held > 0.0 else close - entry) >= entry * self.stop_loss
        ends = bar.ts >= s.flat_from
        if ends or reverted or stopped or bars_held >= self._time_stop:
            # The order is the precedence.
            reason = "session_end" if ends else "reverted" if reverted else "stop_loss" if stopped else "time_stop"
            self.exit(bar.symbol, reason=reason)

    def on_fill(self, execution: Execution, order: InFlightOrder) -> None:
        """The bars of a position are counted from its first piece to its last."""
        s = self._sessions[execution.symbol]
        if not s.view.position_float:
            s.bars_held = 0

    def save_state(self) -> object:
        """Each symbol's running sums: they are the warm-up."""
        return {symbol: [getattr(s, name) for name in _KEPT] for symbol, s in self._sessions.items()}

    def load_state(self, state: dict[str, list[float]]) -> None:
        """Go on adding to the sums."""
        for symbol, values in state.items():
            for name, value in zip(_KEPT, values, strict=True):
                setattr(self._sessions[symbol], name, value)

    def _enter(self, symbol: str, s: _Session, *, below: bool) -> None:
        if s.view.busy:
            return
        if below:
            self.buy(symbol, self.quantity, notional=self.notional, reason="below_vwap")
        elif s.view.shortable:
            self.sell(symbol, self.quantity, notional=self.notional, reason="above_vwap")


def _is_between(low: float, value: object, high: float = inf) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool) and isfinite(value) and low < value < high


def _is_whole(least: int, value: object) -> bool:
    return _is_between(least - 1, value) and value == int(value)  # type: ignore[call-overload]  # it is a number


def _require(name: str, value: object, expected: str, holds: bool) -> None:
    if not holds:
        message = f"VwapMeanReversion: {name} must be {expected}, got {value!r}"
        raise ConfigurationError(message)
