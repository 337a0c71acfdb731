"""Adjusting prices, against an oracle that looks at every bar and every ex-date; and how actions are written down."""

from __future__ import annotations

from datetime import UTC, date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.actions import (
    Action,
    Adjustment,
    Dividend,
    Split,
    action_from,
    adjust,
    check_adjustment,
    decode_actions,
    encode_actions,
)
from holdfast.data.tables import BarTable
from holdfast.data.timeframes import midnight
from holdfast.model.errors import ConfigurationError, DataError

FIRST = date(2024, 1, 2)
DAYS = st.integers(0, 9).map(lambda n: FIRST + timedelta(days=n))
ACTIONS = st.lists(
    st.one_of(
        st.builds(Split, DAYS, st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.sampled_from([1.0, 2.0, 20.0])),
        st.builds(Dividend, DAYS, st.sampled_from([0.01, 0.125, 0.5])),
    ),
    max_size=6,
)
CLOSES = st.lists(st.integers(5_000, 20_000).map(lambda cents: cents / 100), min_size=10, max_size=10)


def daily(closes: list[float]) -> BarTable:
    """One bar a day."""
    starts = [midnight(FIRST + timedelta(days=n), UTC) for n in range(len(closes))]
    return BarTable.of(starts, closes, closes, closes, closes, [100.0] * len(closes), vwap=closes)


def oracle(closes: list[float], actions: list[Action], adjustment: Adjustment) -> tuple[list[float], list[float]]:
    """Price and volume of each day: all that happened after it, one thing after the other."""
    prices, volumes = [], []
    for n, close in enumerate(closes):
        price, volume = close, 100.0
        for later in range(n + 1, len(closes)):
            day = FIRST + timedelta(days=later)
            today = [action for action in actions if action.ex_date == day]
            ratio = 1.0
            for action in today:
                ratio *= action.new / action.old if isinstance(action, Split) else 1.0
            cash = sum(action.amount for action in today if isinstance(action, Dividend))
            if adjustment in (Adjustment.SPLIT, Adjustment.ALL):
                price, volume = price / ratio, volume * ratio
            if adjustment in (Adjustment.DIVIDEND, Adjustment.ALL):
                price *= 1 - cash / (closes[later - 1] / ratio)
        prices.append(price)
        volumes.append(volume)
    return prices, volumes


@given(CLOSES, ACTIONS, st.sampled_from(Adjustment))
def test_every_bar_is_what_the_oracle_says(closes: list[float], actions: list[Action], adjustment: Adjustment) -> None:
    """Whatever happened, in whatever order it is listed; the last bar is never changed."""

    def close_before(day: date) -> float:
        return closes[(day - FIRST).days - 1]

    table = adjust(daily(closes), actions, adjustment, UTC, close_before)
    prices, volumes = oracle(closes, actions, adjustment)

    assert table.close.tolist() == pytest.approx(prices)
    assert table.vwap.tolist() == pytest.approx(prices)
    assert table.volume.tolist() == pytest.approx(volumes)
    assert table.close[-1] == closes[-1]


@given(CLOSES, DAYS, st.sampled_from([0.01, 0.125, 0.5]))
def test_a_holder_who_reinvests_sees_the_adjusted_return(closes: list[float], day: date, amount: float) -> None:
    """Over an ex-date the adjusted prices move as the worth of a share bought before and its dividend reinvested."""
    at = (day - FIRST).days
    if at == 0:
        return
    before, after = closes[at - 1], closes[at]
    table = adjust(daily(closes), [Dividend(day, amount)], Adjustment.ALL, UTC, lambda _: before)

    assert table.close[at] / table.close[at - 1] == pytest.approx(after / (before - amount))


def test_a_dividend_as_large_as_the_price_is_refused() -> None:
    """The prices before it would be nothing."""
    with pytest.raises(DataError, match=r"the dividend of 60 on 2024-01-03 is not below the close before it \(50\)"):
        adjust(daily([50.0, 1.0]), [Dividend(date(2024, 1, 3), 60.0)], Adjustment.ALL, UTC, lambda _: 50.0)


@given(ACTIONS)
def test_what_is_written_is_read(actions: list[Action]) -> None:
    """Each once, oldest first; the same actions give the same bytes in whatever order they come."""
    written = encode_actions(actions)
    read = decode_actions(written)
    assert set(read) == set(actions)
    assert [action.ex_date for action in read] == sorted(action.ex_date for action in set(actions))
    assert encode_actions(actions[::-1]) == written


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'[{"type":"merger"}]',
        b'[{"type":"split","ex_date":"2024-01-02","new":0,"old":1}]',
        b'[{"type":"dividend","ex_date":"soon","amount":1}]',
        b"\xff",
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    """A split by nothing, a day that is none, something else altogether."""
    with pytest.raises(DataError):
        decode_actions(data)


def test_words_and_fields_are_checked() -> None:
    """An adjustment has four words; a vendor's row must have its numbers."""
    assert check_adjustment("all") is Adjustment.ALL
    with pytest.raises(ConfigurationError, match="unknown adjustment 'adjusted'; expected raw, split, dividend, all"):
        check_adjustment("adjusted")
    assert action_from({"type": "split", "ex_date": "2024-01-02", "new": "4", "old": 1}) == Split(
        date(2024, 1, 2), 4.0, 1.0
    )
    with pytest.raises(DataError, match="is no split and no dividend"):
        action_from({"type": "split", "ex_date": "2024-01-02", "new": None, "old": 1})
