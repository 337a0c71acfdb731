"""Too many stop-losses in a while: the market is not what the strategy believes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from holdfast.model import ClosedTrade
from holdfast.risk.protections.base import Hold, Protection, ProtectionTrigger, duration_ns, positive_count
from holdfast.risk.protections.trades import Close, names_stoploss


class StoplossGuard(Protection):
    """Trips at a stop-loss that is at least the ``max_stoplosses``-th in ``(close - lookback_period, close]``.

    Args:
        max_stoplosses: How many stop-losses trip it.
        lookback_period: The window in which they count.
        cooldown_duration: How long it protects after the trade that tripped it.
        only_losses: True counts only stop-losses that lost; a trailing stop may close with a profit.
        **base: See ``Protection``.
    """

    trigger = ProtectionTrigger.STOPLOSS_GUARD

    def __init__(
        self,
        *,
        max_stoplosses: int = 3,
        lookback_period: timedelta = timedelta(hours=1),
        cooldown_duration: timedelta = timedelta(hours=1),
        only_losses: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.max_stoplosses = positive_count(max_stoplosses, f"{self.name}: max_stoplosses")
        self.lookback_period = lookback_period
        self.cooldown_duration = cooldown_duration
        self.only_losses = only_losses
        self._lookback = duration_ns(lookback_period, f"{self.name}: lookback_period")
        self._cooldown = duration_ns(cooldown_duration, f"{self.name}: cooldown_duration")

    @property
    def lookback_ns(self) -> int:
        """A stop can matter from its close until the end of the protection that it helped to trip."""
        return self._lookback + self._cooldown

    def settings(self) -> dict[str, Any]:
        """The parameters, for people."""
        return {
            "max_stoplosses": self.max_stoplosses,
            "lookback_period": self.lookback_period,
            "cooldown_duration": self.cooldown_duration,
            "only_losses": self.only_losses,
        }

    def judge(self, symbol: str, closes: Sequence[ClosedTrade | Close], now: int) -> Hold | None:
        """See ``Protection.judge``."""
        if len(closes) < self.max_stoplosses:
            return None
        stops: list[int] = []
        for close in closes:
            reason = close.exit_reason
            if names_stoploss(reason) if reason else close.profit < 0:  # is_stoploss, without the call
                if self.per_symbol and close.symbol != symbol:
                    continue
                if self.only_losses and close.profit >= 0:
                    continue
                stops.append(close.closed_at)
        if len(stops) < self.max_stoplosses:
            return None
        # The latest that tripped protects longest. Of stops at one moment the last index counts them all.
        for last in range(len(stops) - 1, -1, -1):
            closed_at = stops[last]
            if closed_at <= now - self._cooldown:
                return None
            count = last + 1 - bisect_right(stops, closed_at - self._lookback)
            if count >= self.max_stoplosses:
                where = f" in {symbol}" if self.per_symbol else ""
                reason = f"{count} stop-losses{where} within {self.lookback_period} (limit {self.max_stoplosses})"
                return Hold(reason, closed_at + self._cooldown, self.trigger)
        return None
