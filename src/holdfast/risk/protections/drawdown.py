"""The account has fallen too far from its peak.

Told of the equity (``observe_equity``), it judges the equity: realised and unrealised alike, peak to trough.
Alone, with nothing but closed trades, it judges ``starting_equity`` plus their cumulative profit by the rule of
time of all trade protections.

Peaks are kept in buckets of 1/64 of the lookback, so that an observation is a few comparisons; a peak is
forgotten when its whole bucket has left the window, up to 1/64 later than exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from math import inf, isfinite
from typing import Any

from holdfast.model import ClosedTrade
from holdfast.model.errors import DataError
from holdfast.risk.protections.base import (
    BEGINNING_OF_TIME,
    EquityProtection,
    Hold,
    ProtectionTrigger,
    Quiet,
    duration_ns,
    proper_fraction,
)
from holdfast.risk.protections.trades import Close, closes_between

_BUCKETS = 64
_ZERO = Decimal(0)


class MaxDrawdown(EquityProtection):
    """Protects while the last known equity is ``max_drawdown`` or more below the peak of the lookback window.

    And for ``cooldown_duration`` after the observation that tripped it. Observations while that lasts do not extend
    it; one after it that finds the equity that far down still trips it again. With no observations (a flat account
    has none) it holds until the window has forgotten the peak.

    Args:
        max_drawdown: Fraction of the peak (0.1 is ten percent).
        lookback_period: How long a peak counts; ``None``: for ever.
        cooldown_duration: How long it protects at least.
        starting_equity: USD before the first trade; only for use without ``observe_equity``.
        **base: See ``Protection``. Equity belongs to the account, so there is no ``per_symbol``.
    """

    trigger = ProtectionTrigger.MAX_DRAWDOWN

    def __init__(
        self,
        *,
        max_drawdown: float = 0.1,
        lookback_period: timedelta | None = timedelta(days=1),
        cooldown_duration: timedelta = timedelta(hours=4),
        starting_equity: Decimal | float | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.max_drawdown = proper_fraction(max_drawdown, f"{self.name}: max_drawdown")
        self.lookback_period = lookback_period
        self.cooldown_duration = cooldown_duration
        self.starting_equity = None if starting_equity is None else Decimal(str(starting_equity))
        self._cooldown = duration_ns(cooldown_duration, f"{self.name}: cooldown_duration")
        self._lookback = (
            None if lookback_period is None else duration_ns(lookback_period, f"{self.name}: lookback_period")
        )
        self._bucket = 1 << 62 if self._lookback is None else max(self._lookback // _BUCKETS, 1)
        self._kept = 1.0 - self.max_drawdown
        self._equity: float | None = None
        self._peaks: deque[tuple[int, float]] = deque()  # (end of bucket, peak in it), each higher than the next
        self._bucket_end = BEGINNING_OF_TIME
        self._bucket_peak = -inf
        self._peak = -inf
        self._floor = -inf
        self._held_until = BEGINNING_OF_TIME
        self._held_reason = ""

    @property
    def lookback_ns(self) -> int:
        """As an equity protection it needs no trades; without equity it reads all that it is given."""
        return 0

    def settings(self) -> dict[str, Any]:
        """The parameters, for people."""
        return {
            "max_drawdown": self.max_drawdown,
            "lookback_period": self.lookback_period,
            "cooldown_duration": self.cooldown_duration,
            "starting_equity": self.starting_equity,
        }

    # -- From equity ---------------------------------------------------------------------------------------

    def observe_equity(self, now_ns: int, equity: float) -> Quiet:
        """See ``EquityProtection``. Called once a bar while a position is open, so it is short."""
        if now_ns >= self._bucket_end:
            self._forget(now_ns)
        self._equity = equity
        if inf > equity > self._bucket_peak:
            self._bucket_peak = equity
            if equity > self._peak:
                self._set_peak(equity)
        if not equity > self._floor:  # written so that a NaN lands here
            self._note_breach(now_ns, equity)
        return self._bucket_end, self._floor, self._kept

    def level(self, equity: float, highest: float) -> None:
        """See ``EquityProtection``."""
        self._equity = equity
        if highest > self._bucket_peak:
            self._bucket_peak = highest
            if highest > self._peak:
                self._set_peak(highest)

    def judge_trades(self, symbol: str, trades: Iterable[Any], now: int) -> Hold | None:
        """The equity's verdict where it is known, else that of the trades."""
        equity = self._equity
        if equity is not None:
            # Forgetting peaks only lowers the floor, so being above the one that we have is enough.
            return None if now >= self._held_until and inf > equity > self._floor else self._hold(now, equity)
        if not trades:
            return None
        try:
            closes = closes_between(trades, BEGINNING_OF_TIME, now)
        except DataError as error:
            return Hold(f"cannot judge: {error}", None, ProtectionTrigger.MISSING_DATA)
        return self.judge(symbol, closes, now)

    def _forget(self, now: int) -> None:
        """Close the running bucket, drop those that have left the window, and find the peak of the rest."""
        peaks = self._peaks
        if self._bucket_peak > -inf:
            # An older peak that is no higher will leave the window before this one: it can never matter again.
            while peaks and peaks[-1][1] <= self._bucket_peak:
                peaks.pop()
            peaks.append((self._bucket_end, self._bucket_peak))
        self._bucket_end = now - now % self._bucket + self._bucket
        # The last equity is a level that lasts: it is a peak of the new bucket too.
        self._bucket_peak = -inf if self._equity is None or not isfinite(self._equity) else self._equity
        if self._lookback is not None:
            while peaks and peaks[0][0] <= now - self._lookback:
                peaks.popleft()
        self._set_peak(peaks[0][1] if peaks else self._bucket_peak)

    def _set_peak(self, peak: float) -> None:
        self._peak = max(peak, self._bucket_peak)
        # An account that is worth nothing has nothing to lose: at zero it is always held.
        self._floor = max(self._peak * self._kept, 0.0) if self._peak > -inf else -inf

    def _note_breach(self, now: int, equity: float) -> None:
        # With no peak there is no fall: the level holds for as long as it lasts, but nothing has tripped.
        if now < self._held_until or not isfinite(equity) or not self._peak > 0:
            return
        self._held_until = now + self._cooldown
        self._held_reason = self._describe(equity)

    def _hold(self, now: int, equity: float) -> Hold | None:
        """The hold at ``now``, if its time has not passed. Asking changes nothing, also about the future."""
        if not isfinite(equity):
            return Hold("the account's equity is not known", None, ProtectionTrigger.MISSING_DATA)
        if equity > self._floor:
            return Hold(self._held_reason, self._held_until, self.trigger)
        forgotten = self._forgotten_at(equity)
        if forgotten is None:
            return Hold(self._describe(equity), None, self.trigger)
        until = max(forgotten, self._held_until)
        return Hold(self._describe(equity), until, self.trigger) if now < until else None

    def _forgotten_at(self, equity: float) -> int | None:
        """When the window has lost every peak that this equity is too far below, if it ever does."""
        if self._lookback is None or equity <= 0:
            return None
        buckets = (*self._peaks, (self._bucket_end, self._bucket_peak))
        last = max(end for end, peak in buckets if not equity > peak * self._kept) + self._lookback
        return -(-last // self._bucket) * self._bucket

    def _describe(self, equity: float) -> str:
        if not self._peak > 0:
            return f"the account's equity is {equity:.2f}"
        lost = 1 - equity / self._peak
        return f"equity {equity:.2f} is {lost:.2%} below its peak {self._peak:.2f} (limit {self.max_drawdown:.2%})"

    def export_state(self) -> dict[str, Any]:
        """See ``EquityProtection``."""
        return {
            "equity": self._equity,
            "peaks": [list(row) for row in self._peaks],
            "bucket_end": self._bucket_end,
            "bucket_peak": None if self._bucket_peak == -inf else self._bucket_peak,
            "held_until": self._held_until,
            "held_reason": self._held_reason,
        }

    def import_state(self, state: dict[str, Any]) -> None:
        """See ``EquityProtection``."""
        self._equity = state["equity"]
        self._peaks = deque((int(end), float(peak)) for end, peak in state["peaks"])
        self._bucket_end = state["bucket_end"]
        self._bucket_peak = -inf if state["bucket_peak"] is None else state["bucket_peak"]
        self._held_until = state["held_until"]
        self._held_reason = state["held_reason"]
        self._set_peak(max((peak for _, peak in self._peaks), default=self._bucket_peak))

    # -- From trades ---------------------------------------------------------------------------------------

    def judge(self, symbol: str, closes: Sequence[ClosedTrade | Close], now: int) -> Hold | None:
        """The verdict of trades alone, which must be all trades since ``starting_equity``.

        Only a losing close can trip it: a gain made in a drawdown is no reason to stop.
        """
        # Trades of one moment are one step of the curve.
        steps: dict[int, Decimal] = {}
        for close in closes:
            steps[close.closed_at] = steps.get(close.closed_at, _ZERO) + close.profit
        times = sorted(steps)
        start = self.starting_equity
        level = _ZERO if start is None else start
        levels = [level]
        for closed_at in times:
            level += steps[closed_at]
            levels.append(level)  # levels[i + 1] is the equity after times[i]
        for last in range(len(times) - 1, -1, -1):
            closed_at = times[last]
            if closed_at <= now - self._cooldown:
                return None
            if steps[closed_at] >= 0:
                continue
            # The level that held when the window began counts as well.
            first = 0 if self._lookback is None else bisect_right(times, closed_at - self._lookback)
            peak, equity = max(levels[first : last + 2]), levels[last + 1]
            if start is None:
                return Hold(
                    f"closed trades lost {peak - equity} from their peak, and the account's equity is not known "
                    f"(call observe_equity, or give starting_equity)",
                    closed_at + self._cooldown,
                    ProtectionTrigger.MISSING_DATA,
                )
            if equity <= 0 or peak - equity >= peak * Decimal(repr(self.max_drawdown)):
                reason = (
                    f"equity {equity} after trades is {1 - equity / peak:.2%} below its peak {peak} "
                    f"(limit {self.max_drawdown:.2%})"
                    if peak > 0
                    else f"equity after trades is {equity}"
                )
                return Hold(reason, closed_at + self._cooldown, self.trigger)
        return None
