"""Drawdown and daily loss on observed equity."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, to_datetime
from holdfast.risk.protections import DailyLossLimit, MaxDrawdown, ProtectionTrigger
from holdfast.risk.protections.base import EquityProtection
from holdfast.time import FixedSessions
from tests.risk.trade_strategies import START, at, closed_trade

HOUR = timedelta(hours=1)


def held(protection: EquityProtection, now: int) -> bool:
    """Whether it protects, asked as the kernel asks."""
    return protection.judge_trades("SPY", (), now) is not None


@pytest.mark.parametrize(("trough", "protected"), [(90.01, False), (90.0, True), (50.0, True)])
def test_exactly_the_limit_below_the_peak_trips_the_drawdown(trough: float, protected: bool) -> None:
    """Ten percent of 100 is 10."""
    guard = MaxDrawdown(max_drawdown=0.1)
    for minute, equity in enumerate((80.0, 100.0, 95.0, trough)):
        guard.observe_equity(at(minute), equity)

    assert held(guard, at(3)) is protected


def test_unrealised_losses_count_and_trades_no_more_once_equity_is_known() -> None:
    """The equity is the whole truth; a trade's loss is in it already."""
    guard = MaxDrawdown(max_drawdown=0.1)
    guard.observe_equity(at(0), 100.0)

    assert not guard.check(symbol="SPY", completed_trades=[closed_trade("SPY", 0, -99)], now=at(1)).is_protected
    guard.observe_equity(at(1), 89.0)
    result = guard.check(symbol="SPY", completed_trades=(), now=at(1))
    assert result.is_protected
    assert result.reason == "equity 89.00 is 11.00% below its peak 100.00 (limit 10.00%)"


def test_a_recovery_is_held_until_the_cooldown_ends_and_no_longer() -> None:
    """Back at the peak a minute later: the hold stays as long as it was set, and is not extended."""
    guard = MaxDrawdown(max_drawdown=0.1, cooldown_duration=HOUR)
    for minute, equity in enumerate((100.0, 90.0, 85.0, 100.0)):
        guard.observe_equity(at(minute), equity)

    assert guard.check(symbol="SPY", now=at(3)).until == to_datetime(at(61))
    assert held(guard, at(60.999))
    assert not held(guard, at(61))


def test_a_flat_account_is_held_until_the_window_has_forgotten_the_peak() -> None:
    """No observation comes, and the equity stays down: not before the peak is a lookback old."""
    guard = MaxDrawdown(max_drawdown=0.1, lookback_period=2 * HOUR, cooldown_duration=HOUR / 60)
    guard.observe_equity(at(0), 100.0)
    guard.observe_equity(at(1), 80.0)
    until = guard.check(symbol="SPY", now=at(30)).until

    assert until is not None
    assert to_datetime(at(120)) <= until <= to_datetime(at(120) + 2 * 2 * NS_PER_HOUR // 64)
    assert held(guard, at(119))
    assert not guard.check(symbol="SPY", now=until).is_protected
    assert guard.check(symbol="SPY", now=until - timedelta(microseconds=1)).is_protected


def test_without_a_lookback_the_peak_counts_for_ever() -> None:
    """Then no time is known at which it ends."""
    guard = MaxDrawdown(max_drawdown=0.1, lookback_period=None, cooldown_duration=HOUR)
    guard.observe_equity(at(0), 100.0)
    guard.observe_equity(at(1), 80.0)
    result = guard.check(symbol="SPY", now=at(1) + 1000 * NS_PER_DAY)

    assert result.is_protected
    assert result.until is None


CURVES = st.lists(st.tuples(st.integers(1, 40), st.floats(50, 150)), min_size=1, max_size=40)


@given(CURVES, st.sampled_from([30, 64, 97]))
def test_the_drawdown_agrees_with_its_oracle_up_to_a_bucket(curve: list[tuple[int, float]], lookback: int) -> None:
    """A peak within the window always counts; one older than the window and two buckets never does."""
    guard = MaxDrawdown(
        max_drawdown=0.1, lookback_period=timedelta(minutes=lookback), cooldown_duration=timedelta(microseconds=1)
    )
    seen: list[tuple[int, float]] = []
    minute = 0
    slack = 2 * lookback / 64
    for gap, equity in curve:
        minute += gap
        guard.observe_equity(at(minute), equity)
        seen.append((minute, equity))
        # An equity is a level that lasts until the next one is seen.
        lasted = [(end, value) for (_, value), (end, _) in zip(seen, [*seen[1:], (minute, 0.0)], strict=True)]
        must = max(value for end, value in lasted if end > minute - lookback)
        may = max(value for end, value in lasted if end > minute - lookback - slack)

        if equity <= must * 0.9 * (1 - 1e-12):
            assert held(guard, at(minute))
        if equity > may * 0.9 * (1 + 1e-12):
            assert not held(guard, at(minute) + NS_PER_MINUTE // 60)


@pytest.mark.parametrize("equity", [float("nan"), float("inf"), float("-inf"), 0.0, -5.0])
def test_an_equity_that_tells_nothing_holds_and_leaves_no_trace(equity: float) -> None:
    """Fails closed while it lasts; a sane value afterwards is judged as if it had not been."""
    guards: list[EquityProtection] = [MaxDrawdown(), DailyLossLimit(max_loss_fraction=0.05)]
    for guard in guards:
        guard.observe_equity(at(0), equity)
        assert held(guard, at(0))
        guard.observe_equity(at(1), 100_000.0)
        assert not held(guard, at(1))
        guard.observe_equity(at(2), 99_999.0)
        assert not held(guard, at(2))


@pytest.mark.parametrize(("equity", "protected"), [(95.01, False), (95.0, True)])
def test_the_daily_loss_is_against_the_days_start(equity: float, protected: bool) -> None:
    """Five percent of the first equity of the day, whatever the peak since."""
    limit = DailyLossLimit(max_loss_fraction=0.05)
    for minute, value in enumerate((100.0, 120.0, equity)):
        limit.observe_equity(at(minute), value)

    assert held(limit, at(2)) is protected


def test_a_gap_overnight_belongs_to_the_new_day() -> None:
    """The last equity of the day before is the start; the limit holds to the end of the day, also after a recovery."""
    limit = DailyLossLimit(max_loss=10)
    midnight = START - START % NS_PER_DAY + NS_PER_DAY
    limit.observe_equity(midnight - 1, 100.0)
    limit.observe_equity(midnight, 95.0)
    assert not held(limit, midnight)
    limit.observe_equity(midnight + 1, 85.0)
    limit.observe_equity(midnight + 2, 200.0)

    result = limit.check(symbol="SPY", now=midnight + NS_PER_DAY - 1000)
    assert result.is_protected
    assert result.trigger is ProtectionTrigger.DAILY_LOSS_LIMIT
    assert result.until == to_datetime(midnight + NS_PER_DAY)
    assert result.reason == "equity 85.00 is 10.00 below the day's start 95.00 (limit 10.00)"
    assert not held(limit, midnight + NS_PER_DAY)


def test_sessions_decide_where_the_day_ends() -> None:
    """A loss of the session blocks until its close; what is seen exactly at the close belongs to it."""
    limit = DailyLossLimit(max_loss=10, sessions=FixedSessions(14 * NS_PER_HOUR, 20 * NS_PER_HOUR))
    day = START - START % NS_PER_DAY
    close = day + 20 * NS_PER_HOUR
    limit.observe_equity(day + 15 * NS_PER_HOUR, 100.0)
    limit.observe_equity(close, 90.0)

    assert held(limit, close - 1)
    assert not held(limit, close)
    limit.observe_equity(close + NS_PER_HOUR, 85.0)
    assert not held(limit, close + NS_PER_HOUR)
    limit.observe_equity(close + 2 * NS_PER_HOUR, 80.0)
    assert limit.check(symbol="SPY", now=close + 3 * NS_PER_HOUR).until == to_datetime(close + NS_PER_DAY)


@given(CURVES, st.integers(0, 39))
def test_a_snapshot_continues_as_if_nothing_had_happened(curve: list[tuple[int, float]], cut: int) -> None:
    """State goes through JSON at any point and gives the same answers afterwards."""

    def fresh() -> list[EquityProtection]:
        return [MaxDrawdown(max_drawdown=0.2, lookback_period=HOUR), DailyLossLimit(max_loss=20)]

    straight, resumed = fresh(), fresh()
    minute = 0
    for step, (gap, equity) in enumerate(curve):
        minute += gap
        if step == cut:
            states = [json.loads(json.dumps(guard.export_state())) for guard in resumed]
            resumed = fresh()
            for guard, state in zip(resumed, states, strict=True):
                guard.import_state(state)
        for guard in (*straight, *resumed):
            guard.observe_equity(at(minute), equity)
        answers = [[guard.judge_trades("SPY", (), at(minute)) for guard in guards] for guards in (straight, resumed)]
        assert answers[0] == answers[1]
