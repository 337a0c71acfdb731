"""The manager: one answer from many protections, modes, statuses, defaults."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from holdfast.model import ClosedTrade
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import to_datetime
from holdfast.risk.protections import (
    NOT_PROTECTED,
    CooldownPeriod,
    LowProfitSymbols,
    MaxDrawdown,
    ProtectionManager,
    ProtectionTrigger,
    StoplossGuard,
    create_default_protections,
)
from holdfast.time import BacktestClock
from tests.risk.trade_strategies import MINUTES, TRADES, at, closed_trade

MINUTE = timedelta(minutes=1)
LOSSES = [closed_trade("SPY", minute, -1) for minute in (0, 5, 9)]


def test_with_nothing_traded_the_defaults_protect_nothing() -> None:
    """An account without history may trade; the guide's call shape works, on real time."""
    manager = create_default_protections()

    assert manager.check(symbol="SPY", current_trades=[], completed_trades=[]) is NOT_PROTECTED
    assert NOT_PROTECTED.trigger.value == "none"


def test_the_answer_is_the_hold_that_lasts_longest() -> None:
    """Its ``until`` is when trading can really resume."""
    manager = ProtectionManager(
        [
            CooldownPeriod(cooldown_duration=5 * MINUTE),
            StoplossGuard(cooldown_duration=60 * MINUTE),
            CooldownPeriod(cooldown_duration=6 * MINUTE, name="pause"),
        ]
    )
    result = manager.check(symbol="SPY", completed_trades=LOSSES, now=at(10))

    assert (result.trigger, result.until) == (ProtectionTrigger.STOPLOSS_GUARD, to_datetime(at(69)))
    assert result.name == "stoploss_guard"


def test_a_hold_without_an_end_is_the_longest() -> None:
    """Unknown is not sooner."""
    manager = ProtectionManager(
        [
            StoplossGuard(),
            MaxDrawdown(max_drawdown=0.1, lookback_period=None, cooldown_duration=MINUTE),
        ]
    )
    manager.observe_equity(at(0), 100.0)
    manager.observe_equity(at(9), 50.0)
    result = manager.check(symbol="SPY", completed_trades=LOSSES, now=at(11))

    assert (result.trigger, result.until) == (ProtectionTrigger.MAX_DRAWDOWN, None)


def test_observing_protections_tell_and_do_not_block_and_off_ones_are_not_asked() -> None:
    """``check_all`` gives what they would have blocked."""
    observe = ProtectionManager([StoplossGuard(mode="observe"), CooldownPeriod(mode="off")])
    result, observed = observe.check_all(symbol="SPY", completed_trades=LOSSES, now=at(10))

    assert result is NOT_PROTECTED
    assert observed == ("stoploss_guard: 3 stop-losses within 1:00:00 (limit 3)",)
    off = CooldownPeriod(mode="off").check(symbol="SPY", completed_trades=LOSSES, now=at(10))
    assert off is NOT_PROTECTED


def test_now_may_be_a_datetime_ns_or_the_clocks() -> None:
    """The three are the same moment."""
    clock = BacktestClock(datetime(2023, 11, 14, 22, 23, 20, tzinfo=UTC))
    manager = create_default_protections(clock=clock, max_drawdown=None, daily_loss_limit=None)
    now = clock.now_ns()
    answers = [manager.check(symbol="SPY", completed_trades=LOSSES, now=moment) for moment in (None, clock.now(), now)]

    assert now == at(10)
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].is_protected


def test_an_answer_has_no_truth_value() -> None:
    """``if manager.check(...)`` is an error, not always true."""
    with pytest.raises(TypeError, match="is_protected"):
        bool(NOT_PROTECTED)


def test_a_trade_that_cannot_be_read_blocks_all_symbols() -> None:
    """Whatever the other trades say."""
    manager = ProtectionManager([CooldownPeriod()])
    result = manager.check(symbol="QQQ", completed_trades=[*LOSSES, object()], now=at(10))

    assert (result.is_protected, result.trigger) == (True, ProtectionTrigger.MISSING_DATA)


def test_a_one_shot_iterator_of_trades_is_read_by_all() -> None:
    """A generator is as good as a list."""
    limit = {"max_loss": 3, "max_loss_fraction": None}
    manager = create_default_protections(max_drawdown=None, daily_loss_limit=limit)
    result = manager.check(symbol="SPY", completed_trades=(trade for trade in LOSSES), now=at(9))
    listed = manager.check(symbol="SPY", completed_trades=LOSSES, now=at(9))

    assert result == listed
    assert result.trigger is ProtectionTrigger.DAILY_LOSS_LIMIT


@given(TRADES, MINUTES)
def test_the_manager_says_what_its_members_say_and_pruning_changes_nothing(
    trades: list[ClosedTrade], minute: int
) -> None:
    """Each member alone, all together, and all together on the trades of the lookback alone, as the kernel asks."""

    def members() -> list[Any]:
        span: dict[str, Any] = {"lookback_period": 6 * MINUTE, "cooldown_duration": 4 * MINUTE}
        return [
            StoplossGuard(**span),
            CooldownPeriod(cooldown_duration=3 * MINUTE),
            LowProfitSymbols(min_trades=2, **span),
        ]

    now = at(minute)
    manager = ProtectionManager(members())
    alone = [member.check(symbol="SPY", completed_trades=trades, now=now) for member in members()]
    ends = [result.until for result in alone if result.is_protected and result.until is not None]
    together = manager.check(symbol="SPY", completed_trades=trades, now=now)
    recent = [trade for trade in trades if trade.closed_at > now - manager.lookback_ns]

    assert together.until == max(ends, default=None)
    assert together.is_protected is any(result.is_protected for result in alone)
    assert manager.check(symbol="SPY", completed_trades=recent, now=now) == together


def test_statuses_name_every_protection_and_are_json() -> None:
    """With settings, counts and the last hold."""
    manager = create_default_protections(cooldown_period={"mode": "observe"}, low_profit_symbols={"min_profit": "1.5"})
    manager.check(symbol="SPY", completed_trades=LOSSES, now=at(10))
    statuses = json.loads(json.dumps(manager.get_all_statuses()))

    assert list(statuses) == [
        "stoploss_guard",
        "max_drawdown",
        "cooldown_period",
        "daily_loss_limit",
        "low_profit_symbols",
    ]
    assert statuses["stoploss_guard"]["blocks"] == 1
    assert statuses["stoploss_guard"]["last_until"] == to_datetime(at(69)).isoformat()
    assert statuses["stoploss_guard"]["settings"]["lookback_period"] == 3600.0
    assert statuses["cooldown_period"]["mode"] == "observe"
    assert statuses["cooldown_period"]["scope"] == "symbol"
    assert statuses["low_profit_symbols"]["settings"]["min_profit"] == "1.5"
    assert statuses["low_profit_symbols"]["last_reason"] is None


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"stoplossguard": {}}, "no protection 'stoplossguard'"),
        ({"stoploss_guard": {"max_stops": 3}}, "protection stoploss_guard: .*max_stops"),
        ({"max_drawdown": {"max_drawdown": 10}}, "max_drawdown: max_drawdown must be a fraction"),
        ({"cooldown_period": {"name": "max_drawdown"}}, "two protections are named 'max_drawdown'"),
    ],
)
def test_wrong_overrides_are_named(overrides: dict[str, Any], named: str) -> None:
    """One clear error each."""
    with pytest.raises(ConfigurationError, match=named):
        create_default_protections(**overrides)


def test_defaults_can_be_left_out() -> None:
    """``None`` leaves one out."""
    manager = create_default_protections(max_drawdown=None, daily_loss_limit=None, cooldown_period=None)

    assert [protection.name for protection in manager.protections] == ["stoploss_guard"]
    assert ProtectionManager([]).check(symbol="SPY", now=0) is NOT_PROTECTED


def test_repr_shows_the_settings() -> None:
    """For logs."""
    assert repr(StoplossGuard()).startswith("StoplossGuard(max_stoplosses=3, ")
