"""Our bars from trades against the venue's trades from bars: each was written without the other."""

from __future__ import annotations

from datetime import UTC

import pytest

from holdfast.data.aggregate import bars_from_trades
from holdfast.data.synthetic import synthetic_sessions
from holdfast.data.timeframes import parse_timeframe
from holdfast.model import Trade
from holdfast.venue import default_asset
from holdfast.venue.market.ticks import GeneratedTicks


@pytest.mark.parametrize("seed", range(3))
def test_trades_that_the_venue_makes_inside_bars_give_the_bars_again(seed: int) -> None:
    """Open, high, low, close, volume and times, to the last bit."""
    series = synthetic_sessions(["SPY"], 2, seed, "2024-03-07")["SPY"]
    ticks = GeneratedTicks(series, default_asset("SPY"), seed=seed)
    begin, end = int(series.ts[0]) - series.period, int(series.ts[-1])
    trades = [
        Trade(tick.ts, "SPY", tick.price, tick.size, str(tick.id), "@", "V", "C")
        for tick in ticks.trades(begin - 1, end)
    ]
    built = bars_from_trades(trades, "SPY").to_bars("SPY", parse_timeframe("1Min"), UTC)

    assert len(trades) > len(series)
    assert built == list(series.bars())
