"""The kernel's durations: from the configuration, scaled with the clock, and without the timer where no wire is."""

from __future__ import annotations

import pytest

from holdfast.di.assembly import make_kernel
from holdfast.di.config import build
from holdfast.kernel import KernelSettings
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.runner.lockstep import LockstepClock
from holdfast.time import BacktestClock, Clock, RealTimeClock, ScaledClock

START = 1_704_207_600 * NS_PER_SECOND


def settings(clock: Clock | None, **reconcile: float) -> KernelSettings:
    """Of the kernel that a configuration makes."""
    return make_kernel(build({"reconcile": reconcile}), (), clock=clock).settings


@pytest.mark.parametrize("clock", [None, BacktestClock(START), LockstepClock(START)], ids=["backtest", "hand", "step"])
def test_a_backtest_and_a_session_in_lock_step_compare_by_no_timer(clock: Clock | None) -> None:
    """P10: the same kernel in both, and nothing between two bars that makes the loop stop; only drift's patience is set."""
    found = settings(clock, drift_seconds=20)

    assert (found.reconcile_interval, found.mute_after) == (0, 0)
    assert found.drift_after == 20 * NS_PER_SECOND


def test_a_bot_that_follows_a_broker_compares_every_thirty_seconds() -> None:
    """The defaults, and what the file says instead."""
    found = settings(RealTimeClock())
    assert found.reconcile_interval == 30 * NS_PER_SECOND
    assert found.full_pass_interval == 86_400 * NS_PER_SECOND
    assert (found.mute_after, found.drift_after) == (10 * NS_PER_SECOND, 10 * NS_PER_SECOND)

    found = settings(RealTimeClock(), interval_seconds=12.5, mute_seconds=4, full_pass_seconds=7_200)
    assert found.reconcile_interval == 12_500_000_000
    assert (found.mute_after, found.full_pass_interval) == (4 * NS_PER_SECOND, 7_200 * NS_PER_SECOND)


def test_in_a_session_that_runs_faster_all_of_it_takes_longer_in_its_time() -> None:
    """Our own latency is so many times as long there."""
    found = settings(ScaledClock(START, 300.0))

    assert found.reconcile_interval == 300 * 30 * NS_PER_SECOND
    assert found.mute_after == found.drift_after == 300 * 10 * NS_PER_SECOND


@pytest.mark.parametrize("key", ["interval_seconds", "full_pass_seconds", "mute_seconds", "quiet_periods"])
def test_nonsense_is_one_sentence(key: str) -> None:
    """Comparing without a pause would use up the rate limit that orders need."""
    with pytest.raises(ConfigurationError, match=rf"reconcile\.{key}: input should be greater than or equal to"):
        build({"reconcile": {key: 0}})
