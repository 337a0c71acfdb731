"""Session VWAP mean reversion against an obvious computation of the same in NumPy."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model.errors import ConfigurationError
from holdfast.strategies import VwapMeanReversion
from tests.kernel.helpers import SPY
from tests.strategies.helpers import BARS_A_DAY, Asked, Tape

Row = tuple[float, float]


def strategy(**parameters: Any) -> VwapMeanReversion:
    """Ten shares, entries beyond one and a half deviations after five bars, and none of the exits that are not asked for."""
    return VwapMeanReversion(
        [SPY],
        **{
            "quantity": 10,
            "deviations": 1.5,
            "warmup_bars": 5,
            "stop_loss": None,
            "time_stop_bars": None,
            "flat_minutes": 5,
            **parameters,
        },
    )


def flat(count: int, close: float = 100.0) -> list[Row]:
    """Bars on which the price only wobbles, so that the deviation is small and not zero."""
    return [(close + (0.01 if index % 2 else -0.01), 100.0) for index in range(count)]


# -- parameters ----------------------------------------------------------------------------------

_NAN, _INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "bad", "expected"),
    [
        *(("quantity", bad, "a positive number") for bad in (0, -1, _NAN, _INF, Decimal("NaN"), "10", True)),
        *(("notional", bad, "a positive number of USD") for bad in (0, -1, _NAN, _INF, "10")),
        *(("deviations", bad, "a number above 0") for bad in (0, -2.0, _NAN, _INF, None, "2")),
        *(
            ("warmup_bars", bad, "a whole number of at least 2")
            for bad in (1, 2.5, 0, -3, _NAN, _INF, None, "20", True)
        ),
        *(("stop_loss", bad, "a fraction between 0 and 1, or none") for bad in (0, 1, -0.1, 5, _NAN, "0.1", False)),
        *(("time_stop_bars", bad, "a whole number of at least 1, or none") for bad in (0, -1, 1.5, _NAN, _INF, "5")),
        *(("flat_minutes", bad, "a whole number of at least 1") for bad in (0, -5, 1.5, _NAN, _INF, None, "5")),
        *(("allow_short", bad, "true or false") for bad in ("no", 1, None)),
    ],
    ids=repr,
)
def test_a_bad_parameter_is_named_with_what_was_expected(name: str, bad: object, expected: str) -> None:
    """One sentence, before anything runs."""
    with pytest.raises(ConfigurationError) as caught:
        VwapMeanReversion([SPY], **{name: bad})  # type: ignore[arg-type]  # that is the point
    assert str(caught.value) == f"VwapMeanReversion: {name} must be {expected}, got {bad!r}"


def test_a_size_is_given_once() -> None:
    """Shares or dollars; 10,000 dollars where nothing is said."""
    with pytest.raises(ConfigurationError, match="quantity or notional, not both"):
        VwapMeanReversion([SPY], quantity=1, notional=100)
    assert VwapMeanReversion([SPY]).notional == 10_000


@pytest.mark.parametrize("bad", ["SPY", [], [""], ()])
def test_symbols_are_a_list_of_names(bad: Any) -> None:
    """A bare string would be three one-letter symbols."""
    with pytest.raises(ConfigurationError, match=r"VwapMeanReversion\.symbols must be a list with at least one symbol"):
        VwapMeanReversion(bad)


def test_whole_numbers_may_come_as_floats() -> None:
    """Configuration files and sweeps write 20.0."""
    assert VwapMeanReversion([SPY], warmup_bars=20.0).warmup_bars == 20  # type: ignore[arg-type]  # 20.0 on purpose


# -- entries -------------------------------------------------------------------------------------


def test_it_buys_what_has_fallen_below_the_average() -> None:
    """And says why."""
    assert Tape(strategy()).play([*flat(10), (99.0, 100.0)]) == [(10, "buy", "below_vwap")]


def test_it_sells_short_what_has_risen_above_it() -> None:
    """Where that may be sold short."""
    assert Tape(strategy()).play([*flat(10), (101.0, 100.0)]) == [(10, "sell", "above_vwap")]


@pytest.mark.parametrize("case", [{"shortable": False}, {"allow_short": False}])
def test_it_sells_nothing_short_where_it_must_not(case: dict[str, bool]) -> None:
    """The venue's word, or the parameter's."""
    asset = {"shortable": case["shortable"]} if "shortable" in case else {}
    parameters = {"allow_short": case["allow_short"]} if "allow_short" in case else {}
    assert Tape(strategy(**parameters), **asset).play([*flat(10), (101.0, 100.0)]) == []


def test_nothing_is_entered_before_the_session_has_its_first_bars() -> None:
    """Bar 5 of 5 may; bar 4 may not."""
    assert Tape(strategy()).play([*flat(3), (99.0, 100.0)]) == []
    assert Tape(strategy()).play([*flat(4), (99.0, 100.0)]) == [(4, "buy", "below_vwap")]


def test_nothing_is_entered_in_the_last_minutes() -> None:
    """Five minutes before the close it is over: the bar that ends then is already too late."""
    assert Tape(strategy()).play([*flat(55 - 1), (99.0, 100.0)]) == []
    assert Tape(strategy()).play([*flat(54 - 1), (99.0, 100.0)]) == [(53, "buy", "below_vwap")]


def test_it_asks_once_while_its_order_is_under_way() -> None:
    """An order of which nothing is heard yet is as good as a position."""
    tape = Tape(strategy())
    tape.fills = True
    entry = [*flat(10), (99.0, 100.0)]
    silent = Tape(strategy())
    silent.filled = lambda *_arguments, **_options: []  # type: ignore[method-assign]  # the venue says nothing
    assert silent.play([*entry, (98.0, 100.0), (97.0, 100.0)]) == [(10, "buy", "below_vwap")]


def test_dollars_are_sized_at_the_close() -> None:
    """1,000 USD at 99 are ten whole shares."""
    tape = Tape(strategy(quantity=None, notional=1_000))
    tape.play([*flat(10), (99.0, 100.0)])
    assert tape.position() == Decimal(10)


# -- exits ---------------------------------------------------------------------------------------


def test_it_leaves_when_the_price_is_back_at_the_average() -> None:
    """Long: at or above; short: at or below."""
    assert Tape(strategy()).play([*flat(10), (99.0, 100.0), (99.5, 1.0), (100.0, 1.0)])[1:] == [
        (12, "sell", "reverted")
    ]
    assert Tape(strategy()).play([*flat(10), (101.0, 100.0), (100.5, 1.0), (99.9, 1.0)])[1:] == [
        (12, "buy", "reverted")
    ]


@pytest.mark.parametrize(("entry", "last", "side"), [(99.0, 98.0, "sell"), (101.0, 102.02, "buy")])
def test_it_stops_a_loss(entry: float, last: float, side: str) -> None:
    """One percent against the entry, and not less."""
    almost = entry + (last - entry) * 0.98
    rows = [*flat(10), (entry, 100.0), (almost, 1.0), (last, 1.0)]
    assert Tape(strategy(stop_loss=0.01)).play(rows)[1:] == [(12, side, "stop_loss")]


def test_it_leaves_after_its_time() -> None:
    """Three bars in the position, whatever the price."""
    rows = [*flat(10), (99.0, 100.0), *[(99.0, 1.0)] * 5]
    assert Tape(strategy(time_stop_bars=3)).play(rows)[1] == (13, "sell", "time_stop")


def test_it_is_flat_before_the_close() -> None:
    """The bar that ends five minutes before the close is the last chance."""
    rows = [*flat(10), *[(99.0, 1.0)] * 50]
    asked = Tape(strategy()).play(rows)
    assert asked == [(10, "buy", "below_vwap"), (54, "sell", "session_end")]


def test_the_first_reason_in_the_order_of_precedence_is_the_one_that_is_told() -> None:
    """The session's end before the average, the average before the stop, the stop before the clock."""
    everything = {"stop_loss": 0.001, "time_stop_bars": 1}
    entry = [*flat(10), (99.0, 100.0)]
    assert Tape(strategy(**everything)).play([*entry, (98.0, 1.0)])[1][2] == "stop_loss"
    assert Tape(strategy(**everything)).play([*entry, (99.0, 1.0)])[1][2] == "time_stop"
    assert Tape(strategy(**everything)).play([*entry, (101.0, 1.0)])[1][2] == "reverted"
    late = [*flat(53), (99.0, 100.0), (101.0, 1.0)]
    assert Tape(strategy(**everything)).play(late)[1] == (54, "sell", "session_end")


def test_a_refused_exit_is_asked_for_again_on_the_next_bar() -> None:
    """As long as the reason holds."""
    tape = Tape(strategy())
    tape.play([*flat(10), (99.0, 100.0)])
    tape.fills = False
    assert tape.play([(101.0, 1.0), (101.0, 1.0)])[1:] == [(11, "sell", "reverted"), (12, "sell", "reverted")]


# -- sessions ------------------------------------------------------------------------------------


def test_each_session_starts_afresh() -> None:
    """Yesterday's average and spread are gone, and so is the warm-up."""
    tape = Tape(strategy())
    tape.play(flat(40, close=200.0))
    tape.skip_to_day(1)
    assert tape.play([*flat(4), (99.99, 100.0)]) == []
    tape = Tape(strategy())
    tape.play(flat(40, close=200.0))
    tape.skip_to_day(1)
    assert tape.play([*flat(10), (99.0, 100.0)]) == [(70, "buy", "below_vwap")]


def test_a_position_that_was_not_closed_is_left_in_the_next_session() -> None:
    """The data ended early, the exit was refused, a gap: the position is still watched by the new session's average."""
    tape = Tape(strategy())
    tape.play([*flat(10), (99.0, 100.0)])
    tape.skip_to_day(1)
    assert tape.play([(99.5, 100.0)])[1:] == [(60, "sell", "reverted")]


def test_a_session_without_volume_has_no_average_and_no_entries() -> None:
    """An index: prices move, nothing trades. Nothing is divided by zero."""
    assert Tape(strategy()).play([(close, 0.0) for close, _ in [*flat(10), (90.0, 0.0), (110.0, 0.0)]]) == []


def test_bars_before_the_first_volume_do_not_count_for_the_warm_up() -> None:
    """There is no distance from an average that does not exist."""
    silence: list[Row] = [(50.0, 0.0)] * 20
    assert Tape(strategy()).play([*silence, *flat(3), (99.0, 100.0)]) == []
    assert Tape(strategy()).play([*silence, *flat(4), (99.0, 100.0)]) == [(24, "buy", "below_vwap")]


def test_risk_is_watched_while_there_is_no_average() -> None:
    """Held over night into a session without volume: stop, clock and session's end still work."""
    for parameters, reason in (({"stop_loss": 0.01}, "stop_loss"), ({"time_stop_bars": 2}, "time_stop")):
        tape = Tape(strategy(**parameters))
        tape.play([*flat(10), (99.0, 100.0)])
        tape.skip_to_day(1)
        asked = tape.play([(97.0, 0.0), (97.0, 0.0), (97.0, 0.0)])
        assert asked[1][2] == reason
    tape = Tape(strategy())
    tape.play([*flat(10), (99.0, 100.0)])
    tape.index = 60 + 54
    assert tape.play([(120.0, 0.0)])[1:] == [(114, "sell", "session_end")]


# -- the law -------------------------------------------------------------------------------------


def _by_hand(rows: list[Row], parameters: dict[str, Any]) -> tuple[list[Asked], int]:
    """The rule, computed anew from the whole session on every bar; and up to which row that is beyond doubt.

    Where the distance is within a billionth of the threshold, rounding may decide either way.
    """
    asked: list[Asked] = []
    position, entry, held_bars = 0, 0.0, 0
    for index, (close, _) in enumerate(rows):
        distances, over = _distances(rows, index), index % BARS_A_DAY + 1 >= BARS_A_DAY - parameters["flat_minutes"]
        if position:
            held_bars += 1
            loss = position * (entry - close) / entry
            if reason := _why_leave(position, distances, loss, held_bars, over=over, parameters=parameters):
                asked.append((index, "sell" if position > 0 else "buy", reason))
                position = 0
        elif not over and len(distances) >= parameters["warmup_bars"]:
            distance, threshold = distances[-1], parameters["deviations"] * np.std(distances)
            if 0 < abs(abs(distance) - threshold) < 1e-9:
                return asked, index
            if abs(distance) > threshold:
                position, entry, held_bars = (1 if distance < 0 else -1), close, 0
                asked.append((index, *(("buy", "below_vwap") if position > 0 else ("sell", "above_vwap"))))
    return asked, len(rows)


def _distances(rows: list[Row], index: int) -> np.ndarray:
    """Of each bar of the session so far from the average of its moment, as long as there was one."""
    session = np.array(rows[index // BARS_A_DAY * BARS_A_DAY : index + 1])
    closes, volumes = session[:, 0], session[:, 1]
    traded = np.cumsum(volumes)
    known = traded > 0
    distances: np.ndarray = closes[known] - np.cumsum(closes * volumes)[known] / traded[known]
    return distances


def _why_leave(
    position: int, distances: np.ndarray, loss: float, bars: int, *, over: bool, parameters: dict[str, Any]
) -> str:
    reasons = {
        "session_end": over,
        "reverted": len(distances) > 0 and position * distances[-1] >= 0,
        "stop_loss": loss >= parameters["stop_loss"],
        "time_stop": bars >= parameters["time_stop_bars"],
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


_ROWS = st.lists(
    st.tuples(
        st.integers(9_000, 11_000).map(lambda cents: cents / 100),
        st.one_of(st.just(0.0), st.integers(1, 10_000).map(float), st.floats(0.001, 10.0)),
    ),
    min_size=10,
    max_size=150,
)


@settings(max_examples=100)
@given(
    rows=_ROWS,
    deviations=st.sampled_from([0.5, 1.0, 2.0]),
    warmup=st.integers(2, 20),
    stop=st.sampled_from([0.001, 0.02, 0.5]),
    bars=st.sampled_from([1, 5, 200]),
    minutes=st.integers(1, 30),
)
def test_it_does_what_the_obvious_computation_does(
    *, rows: list[Row], deviations: float, warmup: int, stop: float, bars: int, minutes: int
) -> None:
    """Every entry and exit, its bar, side and reason, over sessions of random prices and volumes, zero among them."""
    parameters = {
        "deviations": deviations,
        "warmup_bars": warmup,
        "stop_loss": stop,
        "time_stop_bars": bars,
        "flat_minutes": minutes,
    }
    expected, sure = _by_hand(rows, parameters)
    asked = Tape(strategy(**parameters)).play(rows[:sure])
    assert asked == expected


def test_the_obvious_computation_trades() -> None:
    """A canary: on ordinary prices the law above compares something."""
    rng = np.random.default_rng(1)
    rows = [(float(c), float(v)) for c, v in zip(100 + rng.normal(0, 1, 120), rng.integers(1, 100, 120), strict=True)]
    parameters = {"deviations": 1.0, "warmup_bars": 5, "stop_loss": 0.005, "time_stop_bars": 5, "flat_minutes": 5}
    expected, sure = _by_hand(rows, parameters)
    assert sure == len(rows)
    assert {reason for _, _, reason in expected} >= {"below_vwap", "above_vwap", "reverted", "stop_loss"}
    assert Tape(strategy(**parameters)).play(rows) == expected
