"""Serves thirty minutes of two made-up symbols in lock-step, as a process of its own, until standard input ends."""

from __future__ import annotations

import numpy as np

from holdfast.data.calendar_cache import kept_calendar
from holdfast.model import BarSeries
from holdfast.model.timestamps import NS_PER_MINUTE, parse_rfc3339
from holdfast.time.sessions import NYSE
from holdfast.venue import VenueConfig, run

MINUTES = 30
START = parse_rfc3339("2024-01-02T14:30:00Z")


def rising(symbol: str, price: float) -> BarSeries:
    """Minutes that close half above where they open, each with plenty of volume."""
    ts = START + NS_PER_MINUTE * np.arange(1, MINUTES + 1, dtype=np.int64)
    close = price + np.arange(MINUTES, dtype=np.float64)
    return BarSeries(symbol, NS_PER_MINUTE, ts, close - 0.5, close + 1, close - 1, close, np.full(MINUTES, 1e6))


if __name__ == "__main__":
    NYSE.read = kept_calendar
    run(
        VenueConfig(seed=7, exit_with_parent=True, rate_limit=None),
        {"BTC/USD": rising("BTC/USD", 40_000.0), "AAPL": rising("AAPL", 150.0)},
    )
