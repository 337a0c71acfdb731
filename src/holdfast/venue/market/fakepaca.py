"""FAKEPACA, the symbol of the test feed: a market that never closes and that nobody can trade.

Its minutes are a slow wave around 100 USD, the same every day, so that a client can be tried at any hour.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from holdfast.model.market import Asset
from holdfast.model.series import BarSeries, Float64
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE
from holdfast.venue.market.ticks import GeneratedTicks, Tick

FAKEPACA = Asset(symbol="FAKEPACA", name="Fake Alpaca", exchange="NASDAQ", tradable=False)

_MINUTES = NS_PER_DAY // NS_PER_MINUTE
_WAVE_MINUTES = 90.0


@lru_cache(maxsize=2)
def fake_day(day: int) -> tuple[BarSeries, GeneratedTicks]:
    """The bars and ticks of a day, by its number since the epoch (UTC)."""
    minute = np.arange(_MINUTES + 1)
    path = _cents(100.0 + 5.0 * np.sin(minute * (2.0 * np.pi / _WAVE_MINUTES)))
    opens, closes = path[:-1], path[1:]
    high = _cents(np.maximum(opens, closes) + 0.05)
    low = _cents(np.minimum(opens, closes) - 0.05)
    ends = day * NS_PER_DAY + (minute[:-1] + 1) * NS_PER_MINUTE
    volume = np.asarray(100 + minute[:-1] % 7 * 50, dtype=np.float64)
    series = BarSeries(FAKEPACA.symbol, NS_PER_MINUTE, ends, opens, high, low, closes, volume)
    return series, GeneratedTicks(series, FAKEPACA)


def fake_ticks(after: int, until: int) -> list[Tick]:
    """The ticks of ``(after, until]``, of the last day at most."""
    after = max(after, until - NS_PER_DAY)
    found: list[Tick] = []
    for day in range(after // NS_PER_DAY, until // NS_PER_DAY + 1):
        found.extend(fake_day(day)[1].between(after, until))
    return found


def next_fake_tick(after: int) -> int | None:
    """When the first tick after a moment is."""
    day = after // NS_PER_DAY
    at = fake_day(day)[1].next_after(after)
    return fake_day(day + 1)[1].next_after(after) if at is None else at


def _cents(prices: Float64) -> Float64:
    return np.asarray(np.round(prices, 2), dtype=np.float64)
