"""Seeded equity sessions: SYNTHETIC one-minute bars that describe no real market.

They exist because real equity minutes may not be handed on, and because tests want sessions with a known
shape: volume runs in a U over the day, volatility is highest after the open and rises again before the close,
prices are on the tick, thin minutes are missing, quiet ones are flat, nights have gaps. The log price is a
random walk plus a part that reverts within some twenty minutes, so that a mean-reversion strategy has both
something to trade and something to be wrong about.

The law of the generator: the bars of a symbol depend on its name, the seed, the start and the calendar, and on
nothing else. Other symbols do not matter, and a longer run begins with the bars of a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final

import numpy as np

from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError
from holdfast.model.series import BarSeries, Float64, Int64
from holdfast.model.timestamps import NS_PER_HOUR, NS_PER_MINUTE, to_ns
from holdfast.time import Sessions, sessions_for

# The label for everything made here; show it wherever such bars are shown.
SYNTHETIC: Final = "synthetic"

# --- what a day is like ---
_DAILY_VOLATILITY: Final = 0.014  # of the random walk, from open to close
_REVERTING_VOLATILITY: Final = 0.0030  # standard deviation of the part that reverts
_REVERTING_MINUTES: Final = 20.0
_NIGHT_VOLATILITY: Final = 0.007
_FLAT_CHANCE: Final = 0.01  # a minute in which all trades had one price
_MISSING_CHANCE: Final = 0.002  # a minute without a trade, where volume is average; thin minutes are missed more often
_STEPS_A_MINUTE: Final = 6  # trades that make a bar's open, high, low and close
_TICK: Final = 0.01
_PRICE_MIN: Final = 2.0  # keeps every price where the tick is a cent


def synthetic_sessions(
    symbols: Iterable[str],
    sessions: int,
    seed: int,
    start: date | str = "2024-01-02",
    *,
    calendar: Sessions | None = None,
) -> dict[str, BarSeries]:
    """Make synthetic one-minute bars.

    Args:
        symbols: Whose; names are only seeds here.
        sessions: How many market sessions.
        seed: Not negative; the same seed gives the same bars.
        start: The first day (``YYYY-MM-DD``); the first session is the first to open on or after it (UTC).
        calendar: The market's sessions; default the New York Stock Exchange.

    Returns:
        Symbol -> bars of 60 s; sizes in shares, prices in USD, ``ts`` the END of a bar (UTC ns).

    Raises:
        ConfigurationError: An argument makes no sense.
    """
    names = list(dict.fromkeys(symbols))
    if not names or not all(names):
        message = f"synthetic sessions need at least one symbol, and no empty one; got {names!r}"
        raise ConfigurationError(message)
    if sessions < 1:
        message = f"synthetic sessions: the number of sessions must be at least 1, got {sessions}"
        raise ConfigurationError(message)
    if seed < 0:
        message = f"synthetic sessions: the seed must not be negative, got {seed}"
        raise ConfigurationError(message)
    opens_closes = _sessions_from(
        _day_ns(start), sessions, sessions_for(AssetClass.US_EQUITY) if calendar is None else calendar
    )
    return {name: _make_series(name, seed, opens_closes) for name in names}


def _day_ns(start: date | str) -> int:
    try:
        day = date.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        message = f"synthetic sessions: the start {start!r} is no date; expected YYYY-MM-DD"
        raise ConfigurationError(message) from None
    return to_ns(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _sessions_from(first_ns: int, count: int, calendar: Sessions) -> list[tuple[int, int]]:
    """``count`` sessions, none of which opened before ``first_ns``."""
    found: list[tuple[int, int]] = []
    session = calendar.at(first_ns)
    while len(found) < count:
        if session.open >= first_ns:
            found.append((session.open, session.close))
        session = calendar.at(session.close)
    return found


def _make_series(symbol: str, seed: int, opens_closes: list[tuple[int, int]]) -> BarSeries:
    # PCG64 by name: NumPy's default generator may become another one some day.
    rng = np.random.Generator(np.random.PCG64([seed, *symbol.encode()]))
    log_price = float(rng.uniform(np.log(25.0), np.log(400.0)))
    shares_a_minute = float(np.exp(rng.uniform(np.log(800.0), np.log(60_000.0))))
    days = []
    previous_close = 0
    for opened, closed in opens_closes:
        if previous_close and opened - previous_close > NS_PER_HOUR:
            log_price += _NIGHT_VOLATILITY * float(rng.standard_normal())
        previous_close = closed
        log_price = max(log_price, float(np.log(_PRICE_MIN)))
        times, prices, volume, log_price = _make_day(rng, opened, closed, log_price, shares_a_minute)
        days.append((times, prices, volume))
    prices = np.concatenate([day[1] for day in days])
    return BarSeries(
        symbol,
        NS_PER_MINUTE,
        np.concatenate([day[0] for day in days]),
        prices[:, 0].copy(),
        prices.max(axis=1),
        prices.min(axis=1),
        prices[:, -1].copy(),
        np.concatenate([day[2] for day in days]),
    )


def _make_day(
    rng: np.random.Generator, opened: int, closed: int, log_price: float, shares_a_minute: float
) -> tuple[Int64, Float64, Float64, float]:
    """One session: ends of bars, trade prices (one row a bar), volumes, and the walk's log price at the close."""
    minutes = (closed - opened) // NS_PER_MINUTE
    of_day = (np.arange(minutes) + 0.5) / minutes

    # Volatility: high after the open, low at noon, a little higher before the close; its square averages 1.
    volatility = 0.6 + 1.8 * np.exp(-of_day / 0.07) + 0.6 * np.exp(-(1.0 - of_day) / 0.08)
    volatility /= np.sqrt(np.mean(volatility**2))
    # Volume: the U; averages 1.
    busyness = 0.5 + 2.0 * np.exp(-of_day / 0.06) + 1.6 * np.exp(-(1.0 - of_day) / 0.05)
    busyness /= busyness.mean()

    steps = minutes * _STEPS_A_MINUTE
    scale = np.repeat(volatility, _STEPS_A_MINUTE)
    walk = log_price + np.cumsum(rng.standard_normal(steps) * scale) * (_DAILY_VOLATILITY / np.sqrt(steps))
    reverting = _reverting(rng.standard_normal(steps) * scale)
    price = np.exp(walk + reverting).reshape(minutes, _STEPS_A_MINUTE)
    is_flat = rng.random(minutes) < _FLAT_CHANCE / busyness
    price[is_flat] = price[is_flat, :1]
    price = np.maximum(np.round(price / _TICK), round(_PRICE_MIN / _TICK)) / round(1 / _TICK)

    # A minute that moves is a minute that trades.
    movement = np.abs(np.log(price[:, -1] / price[:, 0])) / (_DAILY_VOLATILITY / np.sqrt(minutes))
    noise = np.exp(0.45 * rng.standard_normal(minutes))
    volume = np.maximum(np.round(shares_a_minute * busyness * noise * (0.7 + 0.3 * movement)), 1.0)
    is_traded = rng.random(minutes) >= _MISSING_CHANCE / busyness

    ends = opened + (np.arange(minutes, dtype=np.int64) + 1) * NS_PER_MINUTE
    return ends[is_traded], price[is_traded], volume[is_traded], float(walk[-1])


def _reverting(shocks: Float64) -> Float64:
    """An AR(1) path that starts and ends its memory with the day."""
    keep = float(np.exp(-1.0 / (_REVERTING_MINUTES * _STEPS_A_MINUTE)))
    shocks = shocks * (_REVERTING_VOLATILITY * np.sqrt(1.0 - keep * keep))
    path = np.empty_like(shocks)
    level = 0.0
    for at, shock in enumerate(shocks.tolist()):
        level = keep * level + shock
        path[at] = level
    return path
