"""Circuit breakers without the rest: three losses within the hour pause trading for an hour.

    python examples/protections_alone.py

Your trades may be any objects with ``symbol``, ``profit`` and ``close_timestamp``. Time is an argument, so the same
guard judges a backtest and the present.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdfast.risk.protections import ProtectionManager, StoplossGuard


@dataclass(frozen=True)
class Trade:
    """A round trip, as some other program keeps it."""

    symbol: str
    profit: float
    close_timestamp: datetime


def main() -> None:
    """Ask before, at and after the third loss, and when it is over."""
    guard = StoplossGuard(max_stoplosses=3, lookback_period=timedelta(hours=1), cooldown_duration=timedelta(hours=1))
    manager = ProtectionManager([guard])
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    trades = [Trade("SPY", -100.0, noon + timedelta(minutes=minute)) for minute in (0, 20, 40)]
    for minute in (39, 40, 99, 100):
        now = noon + timedelta(minutes=minute)
        closed = [trade for trade in trades if trade.close_timestamp <= now]
        result = manager.check(symbol="SPY", completed_trades=closed, now=now)
        word = f"closed until {result.until:%H:%M}: {result.reason}" if result.is_protected and result.until else "open"
        print(f"{now:%H:%M}  {word}")


if __name__ == "__main__":
    main()
