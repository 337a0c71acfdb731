"""Time: clocks that can be real, replayed or driven by hand, and the sessions of the markets.

Everything that asks for the time asks a ``Clock`` that it was given, so that a backtest, a
replayed session and a live account run the same code. ``RealTimeClock`` is the only place
that reads the wall clock.
"""

from holdfast.time.backtest import BacktestClock
from holdfast.time.choose import get_clock
from holdfast.time.clock import Clock
from holdfast.time.real import RealTimeClock
from holdfast.time.scaled import ScaledClock
from holdfast.time.sessions import (
    ExchangeSessions,
    FixedSessions,
    Session,
    Sessions,
    SessionsFor,
    UtcDaySessions,
    sessions_for,
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
