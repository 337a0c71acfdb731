"""Cool-down, low profit, and drawdown and daily loss where only trades are known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import ClosedTrade
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, to_datetime
from holdfast.risk.protections import (
    CooldownPeriod,
    DailyLossLimit,
    LowProfitSymbols,
    MaxDrawdown,
    Protection,
    ProtectionTrigger,
)
from tests.risk.trade_strategies import MINUTES, START, TRADES, at, closed_trade

MINUTE = timedelta(minutes=1)
SPANS = st.integers(1, 12).map(lambda n: n * MINUTE)


def until(protection: Protection, trades: Sequence[ClosedTrade], now: int) -> int | None:
    """When SPY's hold ends, if there is one."""
    hold = protection.judge_trades("SPY", trades, now)
    return None if hold is None else hold.until


@given(SPANS, st.booleans(), st.booleans(), TRADES, MINUTES)
def test_cooldown_agrees_with_its_oracle(
    cooldown: timedelta, per_symbol: bool, only_after_stops: bool, trades: list[ClosedTrade], minute: int
) -> None:
    """The latest close (or stop) of the symbol (or of any), if less than the cooldown ago."""
    protection = CooldownPeriod(cooldown_duration=cooldown, per_symbol=per_symbol, only_after_stops=only_after_stops)
    length = int(cooldown / MINUTE) * NS_PER_MINUTE
    ends = [
        trade.closed_at + length
        for trade in trades
        if trade.closed_at <= at(minute) < trade.closed_at + length
        and (not per_symbol or trade.symbol == "SPY")
        and (not only_after_stops or trade.exit_reason == "stop_loss" or (not trade.exit_reason and trade.profit < 0))
    ]

    assert until(protection, trades, at(minute)) == max(ends, default=None)


@given(SPANS, SPANS, st.integers(1, 4), st.integers(-20, 20), st.booleans(), TRADES, MINUTES)
def test_low_profit_agrees_with_its_oracle(
    lookback: timedelta,
    cooldown: timedelta,
    min_trades: int,
    min_profit: int,
    per_symbol: bool,
    trades: list[ClosedTrade],
    minute: int,
) -> None:
    """At each close: enough trades in its window, and too little earned by them."""
    protection = LowProfitSymbols(
        min_profit=min_profit,
        min_trades=min_trades,
        lookback_period=lookback,
        cooldown_duration=cooldown,
        per_symbol=per_symbol,
    )
    back, length = (int(span / MINUTE) * NS_PER_MINUTE for span in (lookback, cooldown))
    own = [trade for trade in trades if not per_symbol or trade.symbol == "SPY"]
    ends = []
    for close in {trade.closed_at for trade in own}:
        window = [trade.profit for trade in own if close - back < trade.closed_at <= close]
        if close <= at(minute) < close + length and len(window) >= min_trades and sum(window) < min_profit:
            ends.append(close + length)

    assert until(protection, trades, at(minute)) == max(ends, default=None)


@given(SPANS, SPANS, st.sampled_from([0.05, 0.1, 0.2, 1.0]), TRADES, MINUTES)
def test_drawdown_of_trades_agrees_with_its_oracle(
    lookback: timedelta, cooldown: timedelta, limit: float, trades: list[ClosedTrade], minute: int
) -> None:
    """At each losing close: how far the curve is below its highest level within the window."""
    protection = MaxDrawdown(
        max_drawdown=limit, lookback_period=lookback, cooldown_duration=cooldown, starting_equity=100
    )
    back, length = (int(span / MINUTE) * NS_PER_MINUTE for span in (lookback, cooldown))

    def level(moment: int) -> Decimal:
        return 100 + sum((trade.profit for trade in trades if trade.closed_at <= moment), Decimal(0))

    ends = []
    moments = {trade.closed_at for trade in trades}
    for close in moments:
        lost = sum(trade.profit for trade in trades if trade.closed_at == close) < 0
        peak = max(level(m) for m in {close - back, *(m for m in moments if close - back < m <= close)})
        fallen = level(close) <= 0 or peak - level(close) >= peak * Decimal(str(limit))
        if lost and fallen and close <= at(minute) < close + length:
            ends.append(close + length)

    assert until(protection, trades, at(minute)) == max(ends, default=None)


def test_a_loss_of_unknown_weight_protects() -> None:
    """Without equity a fraction cannot be judged: no loss is fine, a loss is not."""
    for protection in (MaxDrawdown(), DailyLossLimit(max_loss_fraction=0.1)):
        assert not protection.check(symbol="SPY", completed_trades=[], now=at(1)).is_protected
        gain = [closed_trade("SPY", 0, 5)]
        assert not protection.check(symbol="SPY", completed_trades=gain, now=at(1)).is_protected
        loss = protection.check(symbol="SPY", completed_trades=[closed_trade("SPY", 0, -5)], now=at(1))

        assert loss.is_protected
        assert loss.trigger is ProtectionTrigger.MISSING_DATA
        assert "the account's equity is not known" in loss.reason


@pytest.mark.parametrize(("second_loss", "protected"), [("-49.99", False), ("-50", True)])
def test_the_days_trades_add_up_to_the_limit(second_loss: str, protected: bool) -> None:
    """Exactly the limit is reached; yesterday does not count; it lasts to midnight."""
    limit = DailyLossLimit(max_loss=100)
    midnight = START - START % NS_PER_DAY
    yesterday = (midnight - START) / NS_PER_MINUTE - 1
    trades = [
        closed_trade("SPY", yesterday, -1000),
        closed_trade("SPY", 0, -50),
        closed_trade("QQQ", 1, float(second_loss)),
    ]
    result = limit.check(symbol="SPY", completed_trades=trades, now=at(2))

    assert result.is_protected is protected
    if protected:
        assert result.until == to_datetime(midnight + NS_PER_DAY)
    assert not limit.check(symbol="SPY", completed_trades=trades, now=midnight + NS_PER_DAY).is_protected


def test_a_gain_later_that_day_does_not_lift_the_daily_limit() -> None:
    """Once reached, it holds to the end of the day."""
    trades = [closed_trade("SPY", 0, -100), closed_trade("SPY", 5, 500)]

    assert DailyLossLimit(max_loss=100).check(symbol="SPY", completed_trades=trades, now=at(6)).is_protected


def test_the_daily_limit_takes_the_smaller_of_two() -> None:
    """An amount and a fraction of the starting equity."""
    both = DailyLossLimit(max_loss=1000, max_loss_fraction=0.01, starting_equity=10_000)

    assert both.check(symbol="SPY", completed_trades=[closed_trade("SPY", 0, -100)], now=at(1)).is_protected


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"max_loss": 0},
        {"max_loss": -5},
        {"max_loss": float("nan")},
        {"max_loss_fraction": 0},
        {"max_loss_fraction": 5},
    ],
)
def test_a_daily_limit_must_make_sense(arguments: dict[str, float]) -> None:
    """One clear error that names the argument."""
    with pytest.raises(ConfigurationError, match=r"daily_loss_limit: max_loss"):
        DailyLossLimit(**arguments)  # type: ignore[arg-type]  # wrong on purpose
