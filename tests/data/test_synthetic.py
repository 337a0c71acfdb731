"""Synthetic sessions: reproducible, and shaped like sessions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data import read_bars, synthetic_sessions, write_bars
from holdfast.model.errors import ConfigurationError
from holdfast.model.series import BarSeries
from holdfast.model.timestamps import NS_PER_HOUR, NS_PER_MINUTE, to_ns
from holdfast.time import FixedSessions, UtcDaySessions

CALENDAR = FixedSessions(14 * NS_PER_HOUR, 21 * NS_PER_HOUR)


def columns(series: BarSeries) -> list[list[float]]:
    """The whole content."""
    return [getattr(series, name).tolist() for name in ("ts", "open", "high", "low", "close", "volume")]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**64), sessions=st.integers(1, 3), more=st.integers(0, 2))
def test_bars_depend_on_symbol_and_seed_alone(seed: int, sessions: int, more: int) -> None:
    """Other symbols do not matter, and a longer run begins with the bars of a shorter one."""
    alone = synthetic_sessions(["SPY"], sessions, seed, calendar=CALENDAR)["SPY"]
    among = synthetic_sessions(["AAPL", "SPY", "QQQ"], sessions + more, seed, calendar=CALENDAR)["SPY"]

    assert columns(among.slice(0, len(alone))) == columns(alone)


def test_seed_and_symbol_both_matter() -> None:
    """Canary for the law above: it does not hold because everything is the same."""
    made = synthetic_sessions(["SPY", "QQQ"], 1, 1, calendar=CALENDAR)
    other = synthetic_sessions(["SPY"], 1, 2, calendar=CALENDAR)

    assert made["SPY"].close.tolist() != made["QQQ"].close.tolist()
    assert made["SPY"].close[:100].tolist() != other["SPY"].close[:100].tolist()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_bar_is_a_valid_bar_inside_its_session(seed: int) -> None:
    """On the tick, ordered, with whole shares, ending after the open and not after the close."""
    bars = synthetic_sessions(["X"], 2, seed, "2024-03-04", calendar=CALENDAR)["X"]

    assert bars.period == NS_PER_MINUTE
    assert np.all(bars.low >= 2.0)
    assert np.all(bars.low <= np.minimum(bars.open, bars.close))
    assert np.all(bars.high >= np.maximum(bars.open, bars.close))
    assert np.all(np.round(bars.close, 2) == bars.close)
    assert np.all(np.round(bars.high, 2) == bars.high)
    assert np.all((bars.volume >= 1) & (bars.volume == np.round(bars.volume)))
    assert bars.ts[0] > to_ns(datetime(2024, 3, 4, 14, tzinfo=UTC))
    assert all(CALENDAR.is_open(end - 1) for end in bars.ts.tolist())
    assert bars.ts[-1] <= to_ns(datetime(2024, 3, 5, 21, tzinfo=UTC))


def test_a_day_has_the_shape_of_a_day() -> None:
    """Volume in a U, moves largest after the open, some minutes missing and some flat."""
    bars = synthetic_sessions(["SHAPE"], 60, 11, calendar=CALENDAR)["SHAPE"]
    minute = (bars.ts // NS_PER_MINUTE) % 1440 - 14 * 60
    opening, noon, closing = minute <= 30, (minute > 180) & (minute <= 240), minute > 400
    move = np.abs(np.log(bars.close / bars.open))

    assert bars.volume[opening].mean() > 1.5 * bars.volume[noon].mean()
    assert bars.volume[closing].mean() > 1.5 * bars.volume[noon].mean()
    assert move[opening].mean() > 1.5 * move[noon].mean()
    assert 0 < 60 * 420 - len(bars) < 400
    assert np.sum(bars.high == bars.low) > 20
    assert np.sum(np.diff(bars.close) == 0) > 50


def test_the_default_calendar_is_the_new_york_stock_exchange() -> None:
    """The first session of 2024 on 2 January at 14:30 UTC; the early close of 3 July at 17:00 UTC."""
    first = synthetic_sessions(["SPY"], 1, 3)["SPY"]
    early = synthetic_sessions(["SPY"], 1, 3, "2024-07-03")["SPY"]

    assert to_ns(datetime(2024, 1, 2, 14, 30, tzinfo=UTC)) < first.ts[0]
    assert to_ns(datetime(2024, 1, 2, 20, 50, tzinfo=UTC)) < first.ts[-1] <= to_ns(datetime(2024, 1, 2, 21, tzinfo=UTC))
    assert early.ts[-1] <= to_ns(datetime(2024, 7, 3, 17, tzinfo=UTC))
    assert len(early) <= 210


def test_a_market_that_never_closes_has_no_nights() -> None:
    """Sessions that touch follow each other without a jump."""
    bars = synthetic_sessions(["BTC/USD"], 2, 3, "2024-01-06", calendar=UtcDaySessions())["BTC/USD"]

    assert 2 * 1440 - 60 < len(bars) <= 2 * 1440
    assert np.max(np.abs(np.diff(np.log(bars.close)))) < 0.02


def test_synthetic_bars_can_be_kept_in_a_file(tmp_path: Path) -> None:
    """The period is read back although minutes are missing."""
    bars = synthetic_sessions(["SPY"], 3, 5, calendar=CALENDAR)["SPY"]
    write_bars(bars, tmp_path / "SPY.csv.gz")
    again = read_bars(tmp_path / "SPY.csv.gz", "SPY")

    assert again.period == bars.period
    assert columns(again) == columns(bars)


@pytest.mark.parametrize(
    ("symbols", "sessions", "seed", "start", "words"),
    [
        ([], 1, 1, "2024-01-02", "at least one symbol"),
        ([""], 1, 1, "2024-01-02", "no empty one"),
        (["SPY"], 0, 1, "2024-01-02", "must be at least 1, got 0"),
        (["SPY"], 1, -1, "2024-01-02", "must not be negative, got -1"),
        (["SPY"], 1, 1, "2 January", "is no date; expected YYYY-MM-DD"),
    ],
)
def test_arguments_that_make_no_sense_are_told(
    symbols: list[str], sessions: int, seed: int, start: str, words: str
) -> None:
    """One clear sentence each."""
    with pytest.raises(ConfigurationError, match=words):
        synthetic_sessions(symbols, sessions, seed, start)
