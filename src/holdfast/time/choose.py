"""Which clock a configuration asks for.

===============  ==================================  =========================================
key              value                               clock
===============  ==================================  =========================================
``clock.mode``   ``real`` (the default)              ``RealTimeClock``
..               ``backtest``                        ``BacktestClock(clock.start)``
..               ``scaled``                          ``ScaledClock(clock.start, clock.rate)``
``account.mode`` ``paper``, ``live``                 ``RealTimeClock``
..               ``backtest``                        ``BacktestClock(clock.start)``
===============  ==================================  =========================================

``clock.mode`` decides where both are given. ``clock.start`` is an aware datetime, a date
(midnight UTC), either of them as ISO text, or UTC ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from datetime import time as time_of_day

from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import to_ns
from holdfast.time.backtest import BacktestClock
from holdfast.time.clock import Clock
from holdfast.time.real import RealTimeClock
from holdfast.time.scaled import ScaledClock

_CLOCK_MODES = ("real", "backtest", "scaled")
_CLOCK_OF_ACCOUNT = {"paper": "real", "live": "real", "backtest": "backtest"}


def get_clock(config: object = None) -> Clock:
    """The clock that a configuration asks for; real time where it asks for none.

    Args:
        config: Nested dictionaries or objects with attributes; only ``clock`` and ``account.mode`` are read.

    Raises:
        ConfigurationError: A key has a value that makes no sense, or a needed one is missing.
    """
    mode = _mode(config)
    if mode == "real":
        return RealTimeClock()
    start = _start_ns(_read(config, "clock", "start"), mode)
    if mode == "backtest":
        return BacktestClock(start)
    return ScaledClock(start, _rate(_read(config, "clock", "rate")))


def _mode(config: object) -> str:
    mode = _read(config, "clock", "mode")
    if mode is not None:
        if mode not in _CLOCK_MODES:
            raise _bad(mode, "clock.mode", f"one of {', '.join(_CLOCK_MODES)}")
        return str(mode)
    mode = _read(config, "account", "mode")
    if mode is None:
        return "real"
    if not isinstance(mode, str) or mode not in _CLOCK_OF_ACCOUNT:
        raise _bad(mode, "account.mode", f"one of {', '.join(_CLOCK_OF_ACCOUNT)}")
    return _CLOCK_OF_ACCOUNT[mode]


def _start_ns(value: object, mode: str) -> int:
    expected = f"an aware datetime, a date, ISO text or UTC ns (a {mode} clock starts there)"
    moment = value
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment) if len(moment) > len("2024-01-02") else date.fromisoformat(moment)
        except ValueError:
            raise _bad(value, "clock.start", expected) from None
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise _bad(value, "clock.start", "a time with an offset, such as 2024-01-02T14:30:00Z")
        return to_ns(moment)
    if isinstance(moment, date):
        return to_ns(datetime.combine(moment, time_of_day(), tzinfo=UTC))
    if isinstance(moment, int) and not isinstance(moment, bool):
        return moment
    raise _bad(value, "clock.start", expected)


def _rate(value: object) -> float:
    if value is None:
        return 1.0
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise _bad(value, "clock.rate", "a positive number (replayed seconds per real second)")


def _read(config: object, *path: str) -> object:
    """The value at a path through dictionaries and objects, or None."""
    for key in path:
        config = config.get(key) if isinstance(config, Mapping) else getattr(config, key, None)
    return config


def _bad(value: object, key: str, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{key} is {value!r}; expected {expected}")
