"""Enough lost for one day.

A day is what the sessions say: the UTC day by default, or the exchange's session, which then reaches from the
close before it to its own close. It protects to the end of the day in which the limit was reached, even if the
equity recovers.

Told of the equity (``observe_equity``), the loss is against the last equity of the day before (of the first
observation, if there is none), so a gap overnight counts. Alone, it is the sum of the trades that closed today.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import inf, isfinite
from typing import Any, Protocol

from holdfast.model import ClosedTrade
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.timestamps import NS_PER_DAY
from holdfast.risk.protections.base import (
    BEGINNING_OF_TIME,
    EquityProtection,
    Hold,
    ProtectionTrigger,
    Quiet,
    proper_fraction,
)
from holdfast.risk.protections.trades import Close, closes_between
from holdfast.time import Sessions

_ZERO = Decimal(0)


class _Calendar(Protocol):
    """When the day ends to which a moment belongs."""

    def __call__(self, now: int, /) -> int: ...


def _utc_day_end(now: int) -> int:
    return now - now % NS_PER_DAY + NS_PER_DAY


class DailyLossLimit(EquityProtection):
    """Protects for the rest of the day once the day's loss reaches the limit.

    Args:
        max_loss: USD.
        max_loss_fraction: Of the equity at the day's start (0.05 is five percent). With both, the smaller holds.
        sessions: Where days end; ``None``: at midnight UTC.
        starting_equity: USD; only for ``max_loss_fraction`` without ``observe_equity``.
        **base: See ``Protection``. Equity belongs to the account, so there is no ``per_symbol``.

    Raises:
        ConfigurationError: No limit is given, or one makes no sense.
    """

    trigger = ProtectionTrigger.DAILY_LOSS_LIMIT

    def __init__(
        self,
        *,
        max_loss: Decimal | float | None = None,
        max_loss_fraction: float | None = None,
        sessions: Sessions | None = None,
        starting_equity: Decimal | float | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if max_loss is None and max_loss_fraction is None:
            message = f"{self.name}: max_loss or max_loss_fraction must be given"
            raise ConfigurationError(message)
        self.max_loss = None if max_loss is None else Decimal(str(max_loss))
        if self.max_loss is not None and not (self.max_loss.is_finite() and self.max_loss > 0):
            message = f"{self.name}: max_loss must be a positive amount, got {max_loss!r}"
            raise ConfigurationError(message)
        self.max_loss_fraction = (
            None if max_loss_fraction is None else proper_fraction(max_loss_fraction, f"{self.name}: max_loss_fraction")
        )
        self.starting_equity = None if starting_equity is None else Decimal(str(starting_equity))
        self._sessions = sessions
        self._end_of_day: _Calendar = _utc_day_end if sessions is None else lambda now: sessions.at(now).close
        self._day_end = BEGINNING_OF_TIME
        self._equity: float | None = None
        self._start = -inf
        self._floor = inf
        self._held_until = BEGINNING_OF_TIME
        self._held_reason = ""

    @property
    def lookback_ns(self) -> int:
        """As an equity protection it needs no trades; without equity it reads all that it is given."""
        return 0

    def settings(self) -> dict[str, Any]:
        """The parameters, for people."""
        return {
            "max_loss": self.max_loss,
            "max_loss_fraction": self.max_loss_fraction,
            "sessions": "UTC day" if self._sessions is None else type(self._sessions).__name__,
            "starting_equity": self.starting_equity,
        }

    # -- From equity ---------------------------------------------------------------------------------------

    def observe_equity(self, now_ns: int, equity: float) -> Quiet:
        """See ``EquityProtection``. What is observed exactly at a day's end belongs to that day."""
        if now_ns > self._day_end:
            self._start_day(now_ns, equity)
        self._equity = equity
        if not equity > self._floor:  # written so that a NaN lands here
            self._note_breach(equity)
        return self._day_end + 1, self._floor, 0.0

    def level(self, equity: float, highest: float) -> None:
        """See ``EquityProtection``."""
        self._equity = equity

    def judge_trades(self, symbol: str, trades: Iterable[Any], now: int) -> Hold | None:
        """The equity's verdict where it is known, else that of the trades."""
        equity = self._equity
        if equity is not None:
            if not isfinite(equity) or self._start == -inf:
                return Hold(f"no loss can be told from an equity of {equity}", None, ProtectionTrigger.MISSING_DATA)
            return Hold(self._held_reason, self._held_until, self.trigger) if now < self._held_until else None
        if not trades:
            return None
        try:
            closes = closes_between(trades, BEGINNING_OF_TIME, now)
        except DataError as error:
            return Hold(f"cannot judge: {error}", None, ProtectionTrigger.MISSING_DATA)
        return self.judge(symbol, closes, now)

    def _start_day(self, now: int, equity: float) -> None:
        self._day_end = self._end_of_day(now - 1)
        before = self._equity
        self._set_start(equity if before is None or not isfinite(before) or before <= 0 else before)

    def _set_start(self, start: float) -> None:
        if not (isfinite(start) and start > 0):
            # No loss can be told from nothing. A floor above everything sends the next observation back here.
            self._start, self._floor = -inf, inf
            return
        allowed = [] if self.max_loss is None else [float(self.max_loss)]
        if self.max_loss_fraction is not None:
            allowed.append(start * self.max_loss_fraction)
        self._start, self._floor = start, start - min(allowed)

    def _note_breach(self, equity: float) -> None:
        if not isfinite(equity) or self._held_until >= self._day_end:
            return
        if self._start == -inf:
            self._set_start(equity)
            return
        self._held_until = self._day_end
        self._held_reason = (
            f"equity {equity:.2f} is {self._start - equity:.2f} below the day's start {self._start:.2f} "
            f"(limit {self._start - self._floor:.2f})"
        )

    def export_state(self) -> dict[str, Any]:
        """See ``EquityProtection``."""
        return {
            "day_end": self._day_end,
            "equity": self._equity,
            "start": None if self._start == -inf else self._start,
            "held_until": self._held_until,
            "held_reason": self._held_reason,
        }

    def import_state(self, state: dict[str, Any]) -> None:
        """See ``EquityProtection``."""
        self._day_end = state["day_end"]
        self._equity = state["equity"]
        self._set_start(-inf if state["start"] is None else state["start"])
        self._held_until = state["held_until"]
        self._held_reason = state["held_reason"]

    # -- From trades ---------------------------------------------------------------------------------------

    def judge(self, symbol: str, closes: Sequence[ClosedTrade | Close], now: int) -> Hold | None:
        """The verdict of trades alone: those that closed today, in order, until their sum reached the limit."""
        day_end = self._end_of_day(now)
        today = sorted(
            (close.closed_at, close.profit)
            for close in closes
            if close.closed_at <= now and self._end_of_day(close.closed_at) == day_end
        )
        limit = self._limit_of_trades()
        profit = lowest = _ZERO
        for _, earned in today:
            profit += earned
            lowest = min(lowest, profit)
        if limit is None:
            if lowest >= 0:
                return None
            reason = (
                f"trades lost {-lowest} today, and the account's equity is not known "
                f"(call observe_equity, or give starting_equity)"
            )
            return Hold(reason, day_end, ProtectionTrigger.MISSING_DATA)
        if -lowest < limit:
            return None
        return Hold(f"trades lost {-lowest} today (limit {limit})", day_end, self.trigger)

    def _limit_of_trades(self) -> Decimal | None:
        if self.max_loss_fraction is None:
            return self.max_loss
        if self.starting_equity is None:
            return None
        share = self.starting_equity * Decimal(repr(self.max_loss_fraction))
        return share if self.max_loss is None else min(self.max_loss, share)
