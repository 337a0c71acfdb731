"""Skipping quiet observations of the equity changes no answer of any protection."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.risk.protections import DailyLossLimit, MaxDrawdown, ProtectionManager

START = 1_704_207_600 * 10**9


def make_manager() -> ProtectionManager:
    """Two protections that watch the equity, with levels that a random walk reaches."""
    return ProtectionManager(
        [
            MaxDrawdown(max_drawdown=0.02, lookback_period=timedelta(hours=6), cooldown_duration=timedelta(minutes=30)),
            DailyLossLimit(max_loss_fraction=0.03),
        ]
    )


class Frugal:
    """Tells a manager only what it must, as the kernel does once a bar."""

    def __init__(self, manager: ProtectionManager) -> None:
        self.manager = manager
        self.equity = 100_000.0
        self.told = 0

    def move(self, now: int, equity: float) -> None:
        """The equity is now this."""
        before, self.equity = self.equity, equity
        guards = self.manager
        if guards.quiet_low < equity < guards.quiet_top and now < guards.quiet_until:
            guards.quiet_highest = max(guards.quiet_highest, equity)
        else:
            self.told += 1
            guards.observe_equity(now, equity, before=before)


# Minutes that pass, basis points that the equity moves, and whether somebody asks then.
walks = st.lists(
    st.tuples(st.sampled_from([1, 1, 1, 1, 5, 40, 400]), st.integers(-60, 55), st.booleans()), min_size=1, max_size=120
)


@settings(max_examples=400, deadline=None)
@given(walk=walks)
def test_what_is_skipped_changes_nothing(walk: list[tuple[int, int, bool]]) -> None:
    """P7: the same verdict, reason and end at every moment at which somebody asks."""
    told_all, frugal = make_manager(), Frugal(make_manager())
    now, equity = START, 100_000.0
    told_all.observe_equity(now, equity)
    frugal.manager.observe_equity(now, equity)
    for minutes, move, asks in walk:
        now += minutes * NS_PER_MINUTE
        equity *= 1 + move / 10_000
        told_all.quiet_until = 0  # every observation counts in full
        told_all.observe_equity(now, equity)
        frugal.move(now, equity)
        if asks:
            frugal.manager.observe_equity(now, equity)  # the signal path tells the last level before it asks
            expected = told_all.check_all(symbol="SPY", now=now)
            assert frugal.manager.check_all(symbol="SPY", now=now) == expected


def test_a_calm_day_is_told_in_few_words() -> None:
    """The canary of the test above: it would be empty if nothing were skipped."""
    frugal = Frugal(make_manager())
    frugal.manager.observe_equity(START, 100_000.0)
    for minute in range(1, 301):
        frugal.move(START + minute * NS_PER_MINUTE, 100_000.0 - minute % 7)
    assert frugal.told < 60  # once a bucket of the drawdown's window, and no more
