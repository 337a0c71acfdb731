"""StoplossGuard against the guide, against its rule of time, and against an obvious oracle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from holdfast.model import ClosedTrade
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_MINUTE, to_datetime
from holdfast.risk.protections import ProtectionTrigger, StoplossGuard, is_stoploss
from holdfast.risk.protections.trades import Close
from holdfast.time import BacktestClock
from tests.risk.trade_strategies import MINUTES, TRADES, at, closed_trade

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_the_guides_own_check_holds() -> None:
    """Three losing trades within the hour trip the guard, asked without ``now`` as the guide does."""
    clock = BacktestClock(datetime(2025, 1, 6, 15, 0, tzinfo=UTC))
    guard = StoplossGuard(max_stoplosses=3, lookback_period=HOUR, cooldown_duration=HOUR, clock=clock)
    trades = [SimpleNamespace(symbol="SPY", profit=-100, close_timestamp=clock.now()) for _ in range(3)]

    result = guard.check(symbol="SPY", completed_trades=trades)

    assert result.is_protected
    assert result.trigger is ProtectionTrigger.STOPLOSS_GUARD
    assert result.trigger.value == "stoploss_guard"
    assert result.until == clock.now() + HOUR
    assert result.reason == "3 stop-losses within 1:00:00 (limit 3)"
    assert not guard.check(symbol="SPY", completed_trades=trades[:2]).is_protected
    clock.advance(HOUR)
    assert not guard.check(symbol="SPY", completed_trades=trades).is_protected


def test_without_a_clock_now_is_real_time() -> None:
    """The guide's test gives no clock at all: trades of long ago protect no more."""
    guard = StoplossGuard(max_stoplosses=3, lookback_period=HOUR, cooldown_duration=HOUR)
    trades = [closed_trade("SPY", 0, -100) for _ in range(3)]

    assert not guard.check(symbol="SPY", completed_trades=trades).is_protected


LOSSES = [closed_trade("SPY", 0, -1), closed_trade("SPY", 5, -1), closed_trade("SPY", 9, -1)]


@pytest.mark.parametrize(
    ("minute", "protected"),
    [(8.999, False), (9, True), (18.999, True), (19, False)],
)
def test_it_protects_from_the_close_until_just_before_the_cooldown_ends(minute: float, protected: bool) -> None:
    """``close <= now < close + cooldown``, to the nanosecond."""
    guard = StoplossGuard(max_stoplosses=3, lookback_period=10 * MINUTE, cooldown_duration=10 * MINUTE)

    assert guard.check(symbol="SPY", completed_trades=LOSSES, now=at(minute)).is_protected is protected


@pytest.mark.parametrize(("lookback", "protected"), [(9 * MINUTE, False), (9 * MINUTE + MINUTE / 60, True)])
def test_the_window_excludes_its_beginning(lookback: timedelta, protected: bool) -> None:
    """Trades count in ``(close - lookback, close]``: one exactly a lookback old does not."""
    guard = StoplossGuard(max_stoplosses=3, lookback_period=lookback, cooldown_duration=HOUR)

    assert guard.check(symbol="SPY", completed_trades=LOSSES, now=at(10)).is_protected is protected


def test_a_trade_that_does_not_trip_it_does_not_extend_it() -> None:
    """A gain during the cooldown, and a lone loss after the window, leave ``until`` where it was."""
    guard = StoplossGuard(max_stoplosses=3, lookback_period=10 * MINUTE, cooldown_duration=30 * MINUTE)
    until = to_datetime(at(39))
    gain, lone = closed_trade("SPY", 12, 5), closed_trade("SPY", 25, -5)

    assert guard.check(symbol="SPY", completed_trades=[*LOSSES, gain], now=at(20)).until == until
    assert guard.check(symbol="SPY", completed_trades=[lone, *LOSSES, gain], now=at(30)).until == until


def test_a_fourth_stop_that_trips_it_itself_extends_it() -> None:
    """It is the third of its own window."""
    guard = StoplossGuard(max_stoplosses=3, lookback_period=10 * MINUTE, cooldown_duration=30 * MINUTE)
    fourth = closed_trade("SPY", 15, -1)

    assert guard.check(symbol="SPY", completed_trades=[*LOSSES, fourth], now=at(20)).until == to_datetime(at(39))
    fourth = closed_trade("SPY", 11, -1)
    assert guard.check(symbol="SPY", completed_trades=[*LOSSES, fourth], now=at(20)).until == to_datetime(at(41))


def test_scope() -> None:
    """Global: other symbols' stops count and all are blocked. Per symbol: neither."""
    mixed = [*LOSSES[:2], closed_trade("QQQ", 9, -1)]
    everywhere = StoplossGuard(max_stoplosses=3)
    each = StoplossGuard(max_stoplosses=3, per_symbol=True)

    assert everywhere.check(symbol="IWM", completed_trades=mixed, now=at(10)).is_protected
    assert not each.check(symbol="SPY", completed_trades=mixed, now=at(10)).is_protected
    assert each.check(symbol="SPY", completed_trades=LOSSES, now=at(10)).is_protected
    assert not each.check(symbol="QQQ", completed_trades=LOSSES, now=at(10)).is_protected


@pytest.mark.parametrize(
    ("profit", "reason", "counts"),
    [
        (-1, "", True),
        (0, "", False),
        (1, "", False),
        (1, "stop_loss", True),
        (-1, "Stop Loss", True),
        (-1, "stoploss", True),
        (-1, "trailing-stop-loss", True),
        (-1, "stop", True),
        (-1, "vwap", False),
        (-1, "time_stop", False),
        (-1, "session_close", False),
    ],
)
def test_what_counts_as_a_stop_loss(profit: int, reason: str, counts: bool) -> None:
    """The exit reason says so; without one, a loss is one."""
    assert is_stoploss(closed_trade("SPY", 0, profit, reason)) is counts


def test_only_losses_leaves_out_stops_in_profit() -> None:
    """A trailing stop that closed with a gain does not count then."""
    gains = [closed_trade("SPY", minute, 5, "trailing_stop_loss") for minute in range(3)]

    assert StoplossGuard(max_stoplosses=3).check(symbol="SPY", completed_trades=gains, now=at(3)).is_protected
    guard = StoplossGuard(max_stoplosses=3, only_losses=True)
    assert not guard.check(symbol="SPY", completed_trades=gains, now=at(3)).is_protected


# -- The oracle ----------------------------------------------------------------------------------------------


def oracle_until(guard: StoplossGuard, symbol: str, trades: Sequence[ClosedTrade], now: int) -> int | None:
    """The rule of time, word by word, for every pair of trades."""
    lookback = int(guard.lookback_period / MINUTE) * NS_PER_MINUTE
    cooldown = int(guard.cooldown_duration / MINUTE) * NS_PER_MINUTE
    stops = [
        trade
        for trade in trades
        if (trade.exit_reason == "stop_loss" or (not trade.exit_reason and trade.profit < 0))
        and (not guard.per_symbol or trade.symbol == symbol)
    ]
    untils = [
        tripping.closed_at + cooldown
        for tripping in stops
        if tripping.closed_at <= now < tripping.closed_at + cooldown
        and sum(tripping.closed_at - lookback < stop.closed_at <= tripping.closed_at for stop in stops)
        >= guard.max_stoplosses
    ]
    return max(untils, default=None)


def guard_until(guard: StoplossGuard, symbol: str, trades: Sequence[ClosedTrade], now: int) -> int | None:
    """The guard's own answer in the oracle's form."""
    hold = guard.judge_trades(symbol, trades, now)
    return None if hold is None else hold.until


GUARDS = st.builds(
    StoplossGuard,
    max_stoplosses=st.integers(1, 4),
    lookback_period=st.integers(1, 12).map(lambda n: n * MINUTE),
    cooldown_duration=st.integers(1, 12).map(lambda n: n * MINUTE),
    per_symbol=st.booleans(),
)


@given(GUARDS, TRADES, MINUTES)
def test_it_agrees_with_the_oracle(guard: StoplossGuard, trades: list[ClosedTrade], minute: int) -> None:
    """For trades in any order, asked at any time."""
    assert guard_until(guard, "SPY", trades, at(minute)) == oracle_until(guard, "SPY", trades, at(minute))


@given(GUARDS, TRADES, MINUTES)
def test_trades_older_than_the_lookback_do_not_matter(
    guard: StoplossGuard, trades: list[ClosedTrade], minute: int
) -> None:
    """``lookback_ns`` may be used to forget trades."""
    kept = [trade for trade in trades if trade.closed_at > at(minute) - guard.lookback_ns]

    assert guard_until(guard, "SPY", kept, at(minute)) == guard_until(guard, "SPY", trades, at(minute))


class ClosedWindowGuard(StoplossGuard):
    """Wrong on purpose: a nanosecond is added to the window."""

    def judge_trades(self, symbol, trades, now):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D102 - a canary
        self._lookback += 1
        try:
            return super().judge_trades(symbol, trades, now)
        finally:
            self._lookback -= 1


def test_canary_the_oracle_finds_a_window_that_is_closed_at_both_ends() -> None:
    """The comparison above can fail."""
    wrong = ClosedWindowGuard(max_stoplosses=2, lookback_period=5 * MINUTE, cooldown_duration=5 * MINUTE)

    find(
        st.tuples(TRADES, MINUTES),
        lambda case: (
            guard_until(wrong, "SPY", case[0], at(case[1])) != oracle_until(wrong, "SPY", case[0], at(case[1]))
        ),
    )


# -- Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trade",
    [
        SimpleNamespace(symbol="SPY", profit=-1),
        SimpleNamespace(symbol="SPY", profit=-1, close_timestamp=None),
        SimpleNamespace(symbol="SPY", profit=-1, close_timestamp=datetime(2025, 1, 6)),  # noqa: DTZ001 - naive on purpose
        SimpleNamespace(symbol="SPY", profit=None, close_timestamp=datetime(2025, 1, 6, tzinfo=UTC)),
        SimpleNamespace(symbol="SPY", profit=float("nan"), close_timestamp=datetime(2025, 1, 6, tzinfo=UTC)),
        SimpleNamespace(symbol="", profit=-1, close_timestamp=datetime(2025, 1, 6, tzinfo=UTC)),
        object(),
    ],
)
def test_a_trade_that_cannot_be_read_protects(trade: object) -> None:
    """A guard that cannot judge fails closed, and says what it lacks."""
    result = StoplossGuard().check(symbol="SPY", completed_trades=[trade], now=at(0))

    assert result.is_protected
    assert result.trigger is ProtectionTrigger.MISSING_DATA
    assert result.reason.startswith("cannot judge: a closed trade")
    assert result.until is None


def test_other_objects_read_like_closed_trades() -> None:
    """Floats, strings and ``closed_at`` in ns are taken."""
    trades = [
        SimpleNamespace(symbol="SPY", profit=-1.5, close_timestamp=to_datetime(at(0)), exit_reason=None),
        SimpleNamespace(symbol="SPY", profit="-2", closed_at=at(1)),
        Close("SPY", at(2), Decimal(-3)),
    ]

    assert StoplossGuard(max_stoplosses=3).check(symbol="SPY", completed_trades=trades, now=at(3)).is_protected


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"max_stoplosses": 0}, "max_stoplosses"),
        ({"max_stoplosses": 1.5}, "max_stoplosses"),
        ({"lookback_period": timedelta(0)}, "lookback_period"),
        ({"cooldown_duration": 60}, "cooldown_duration"),
        ({"mode": "sometimes"}, "mode must be one of off, observe, enforce"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], named: str) -> None:
    """One clear error each."""
    with pytest.raises(ConfigurationError, match=f"stoploss_guard: {named}"):
        StoplossGuard(**arguments)  # type: ignore[arg-type]  # wrong on purpose
