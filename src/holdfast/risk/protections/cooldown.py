"""A pause after each trade: no revenge, no trading on the same wiggle twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from holdfast.model import ClosedTrade
from holdfast.risk.protections.base import Hold, Protection, ProtectionTrigger, duration_ns
from holdfast.risk.protections.trades import Close, is_stoploss


class CooldownPeriod(Protection):
    """Trips at every closed trade, per symbol by default.

    Args:
        cooldown_duration: How long it protects after a close.
        only_after_stops: True where only stop-losses trip it.
        per_symbol: See ``Protection``.
        **base: See ``Protection``.
    """

    trigger = ProtectionTrigger.COOLDOWN_PERIOD

    def __init__(
        self,
        *,
        cooldown_duration: timedelta = timedelta(minutes=5),
        only_after_stops: bool = False,
        per_symbol: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(per_symbol=per_symbol, **base)
        self.cooldown_duration = cooldown_duration
        self.only_after_stops = only_after_stops
        self._cooldown = duration_ns(cooldown_duration, f"{self.name}: cooldown_duration")

    @property
    def lookback_ns(self) -> int:
        """A close matters as long as it protects."""
        return self._cooldown

    def settings(self) -> dict[str, Any]:
        """The parameters, for people."""
        return {"cooldown_duration": self.cooldown_duration, "only_after_stops": self.only_after_stops}

    def judge(self, symbol: str, closes: Sequence[ClosedTrade | Close], now: int) -> Hold | None:
        """See ``Protection.judge``."""
        after = now - self._cooldown
        for close in reversed(closes):
            latest = close.closed_at
            if latest <= after:
                return None
            if (not self.per_symbol or close.symbol == symbol) and (not self.only_after_stops or is_stoploss(close)):
                break
        else:
            return None
        what = "a stop-loss" if self.only_after_stops else "a trade"
        where = f" in {symbol}" if self.per_symbol else ""
        return Hold(
            f"{what}{where} closed less than {self.cooldown_duration} ago", latest + self._cooldown, self.trigger
        )
