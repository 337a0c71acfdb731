"""Time: clocks that can be real, replayed or driven by hand, and the sessions of the markets.

Everything that asks for the time asks a ``Clock`` that it was given, so that a backtest, a
replayed session and a live account run the same code. ``RealTimeClock`` is the only place
that reads the wall clock.
"""

from typing import TYPE_CHECKING

from holdfast.model.later import later
from holdfast.time.sessions import (
    ExchangeSessions,
    FixedSessions,
    Session,
    Sessions,
    SessionsFor,
    UtcDaySessions,
    sessions_for,
)

if TYPE_CHECKING:
    from holdfast.time.backtest import BacktestClock
    from holdfast.time.choose import get_clock
    from holdfast.time.clock import Clock
    from holdfast.time.real import RealTimeClock
    from holdfast.time.scaled import ScaledClock
else:
    # Clocks can wait, for which they need asyncio.
    __getattr__ = later(
        __name__,
        {
            "BacktestClock": "backtest",
            "Clock": "clock",
            "RealTimeClock": "real",
            "ScaledClock": "scaled",
            "get_clock": "choose",
        },
    )

__all__ = [
    "BacktestClock",
    "Clock",
    "ExchangeSessions",
    "FixedSessions",
    "RealTimeClock",
    "ScaledClock",
    "Session",
    "Sessions",
    "SessionsFor",
    "UtcDaySessions",
    "get_clock",
    "sessions_for",
]
