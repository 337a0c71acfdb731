"""Symbols that do not pay: enough trades in a while, and too little to show for them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from holdfast.model import ClosedTrade
from holdfast.risk.protections.base import Hold, Protection, ProtectionTrigger, duration_ns, positive_count
from holdfast.risk.protections.trades import Close


class LowProfitSymbols(Protection):
    """Trips at a close where the symbol's trades in the lookback number ``min_trades`` and earned below ``min_profit``.

    Args:
        min_profit: What they should have earned together, in the quote currency, after fees.
        min_trades: Fewer trades say nothing.
        lookback_period: The window in which they count.
        cooldown_duration: How long it protects after the trade that tripped it.
        per_symbol: See ``Protection``.
        **base: See ``Protection``.
    """

    trigger = ProtectionTrigger.LOW_PROFIT_SYMBOLS

    def __init__(
        self,
        *,
        min_profit: Decimal | float = 0,
        min_trades: int = 4,
        lookback_period: timedelta = timedelta(days=1),
        cooldown_duration: timedelta = timedelta(hours=4),
        per_symbol: bool = True,
        **base: Any,
    ) -> None:
        super().__init__(per_symbol=per_symbol, **base)
        self.min_profit = Decimal(str(min_profit))
        self.min_trades = positive_count(min_trades, f"{self.name}: min_trades")
        self.lookback_period = lookback_period
        self.cooldown_duration = cooldown_duration
        self._lookback = duration_ns(lookback_period, f"{self.name}: lookback_period")
        self._cooldown = duration_ns(cooldown_duration, f"{self.name}: cooldown_duration")

    @property
    def lookback_ns(self) -> int:
        """A trade can matter from its close until the end of the protection that it helped to trip."""
        return self._lookback + self._cooldown

    def settings(self) -> dict[str, Any]:
        """The parameters, for people."""
        return {
            "min_profit": self.min_profit,
            "min_trades": self.min_trades,
            "lookback_period": self.lookback_period,
            "cooldown_duration": self.cooldown_duration,
        }

    def judge(self, symbol: str, closes: Sequence[ClosedTrade | Close], now: int) -> Hold | None:
        """See ``Protection.judge``."""
        if len(closes) < self.min_trades:
            return None
        rows = sorted(
            (close.closed_at, close.profit) for close in closes if not self.per_symbol or close.symbol == symbol
        )
        times = [closed_at for closed_at, _ in rows]
        for last in range(len(rows) - 1, -1, -1):
            closed_at = times[last]
            if closed_at <= now - self._cooldown:
                return None
            if last + 1 < len(times) and times[last + 1] == closed_at:
                continue  # trades of one moment are judged together, at the last of them
            first = bisect_right(times, closed_at - self._lookback)
            count = last + 1 - first
            if count < self.min_trades:
                continue
            profit = sum((earned for _, earned in rows[first : last + 1]), Decimal(0))
            if profit < self.min_profit:
                where = f" in {symbol}" if self.per_symbol else ""
                reason = f"{count} trades{where} within {self.lookback_period} earned {profit} (at least {self.min_profit} asked)"
                return Hold(reason, closed_at + self._cooldown, self.trigger)
        return None
