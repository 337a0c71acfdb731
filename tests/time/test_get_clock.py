"""get_clock: the clock that a configuration asks for, or one sentence on what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from holdfast.model.errors import ConfigurationError
from holdfast.time import BacktestClock, Clock, RealTimeClock, ScaledClock, get_clock

START = datetime(2024, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (None, RealTimeClock),
        ({}, RealTimeClock),
        ({"clock": {}}, RealTimeClock),
        ({"clock": {"mode": "real"}}, RealTimeClock),
        ({"account": {"mode": "paper"}, "alpaca": {"api_key": "k"}}, RealTimeClock),
        ({"account": {"mode": "live"}}, RealTimeClock),
        ({"account": {"mode": "backtest"}, "clock": {"start": START}}, BacktestClock),
        ({"account": {"mode": "paper"}, "clock": {"mode": "backtest", "start": START}}, BacktestClock),
        ({"clock": {"mode": "scaled", "start": START, "rate": 60}}, ScaledClock),
        (SimpleNamespace(clock=SimpleNamespace(mode="backtest", start=START)), BacktestClock),
        (SimpleNamespace(clock=None, account=SimpleNamespace(mode="live")), RealTimeClock),
    ],
)
def test_a_configuration_names_its_clock(config: object, kind: type[Clock]) -> None:
    """Dictionaries and objects; clock.mode before account.mode; real time where nothing is said."""
    assert type(get_clock(config)) is kind


@pytest.mark.parametrize(
    "start",
    [START, date(2024, 1, 2), "2024-01-02", "2024-01-02T00:00:00Z", "2024-01-01T19:00:00-05:00", 1_704_153_600 * 10**9],
)
def test_a_start_may_be_written_in_several_ways(start: object) -> None:
    """All of these are midnight UTC on 2 January 2024."""
    assert get_clock({"clock": {"mode": "backtest", "start": start}}).now() == START


def test_a_scaled_clock_takes_its_rate() -> None:
    """Default 1."""
    assert get_clock({"clock": {"mode": "scaled", "start": START, "rate": 60}}).rate == 60
    assert get_clock({"clock": {"mode": "scaled", "start": START}}).rate == 1


@dataclass
class Odd:
    """A configuration object whose clock is not one."""

    clock: object = 5
    account: object = None


def test_a_clock_section_without_known_keys_is_real_time() -> None:
    """An object that has no such attributes asks for nothing."""
    assert isinstance(get_clock(Odd()), RealTimeClock)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"clock": {"mode": "lunar"}}, r"clock\.mode is 'lunar'; expected one of real, backtest, scaled"),
        ({"clock": {"mode": ["real"]}}, r"clock\.mode is \['real'\]; expected one of"),
        ({"account": {"mode": "papr"}}, r"account\.mode is 'papr'; expected one of paper, live, backtest"),
        ({"account": {"mode": ["paper"]}}, r"account\.mode is \['paper'\]"),
        ({"clock": {"mode": "backtest"}}, r"clock\.start is None; expected an aware datetime"),
        ({"clock": {"mode": "backtest", "start": "soon"}}, r"clock\.start is 'soon'; expected"),
        ({"clock": {"mode": "backtest", "start": "2024-13-01"}}, r"clock\.start is '2024-13-01'; expected"),
        ({"clock": {"mode": "backtest", "start": True}}, r"clock\.start is True; expected"),
        ({"clock": {"mode": "backtest", "start": "2024-01-02T09:30"}}, r"clock\.start is .* a time with an offset"),
        ({"clock": {"mode": "scaled", "start": START, "rate": 0}}, r"clock\.rate is 0; expected a positive number"),
        ({"clock": {"mode": "scaled", "start": START, "rate": "fast"}}, r"clock\.rate is 'fast'; expected"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected(config: object, message: str) -> None:
    """One sentence: the key, the value, what was expected."""
    with pytest.raises(ConfigurationError, match=message):
        get_clock(config)
