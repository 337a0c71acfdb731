"""Bars built from trades, against an oracle that is slow and obvious."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data.aggregate import BuiltBar, TradeBars, bars_from_trades
from holdfast.data.sale_conditions import POLYGON_MARKS, REGULAR, TAPES, UNLISTED, Effect, Sets, effect_of
from holdfast.model.errors import ConfigurationError
from holdfast.model.market import Trade
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND, to_ns

T0 = to_ns(datetime(2024, 1, 2, 14, 30, tzinfo=UTC))
# Marks of every kind: full, only if alone, volume only, nothing, price only, and one that nobody has listed.
MARKS = ("@", "F", "Z", "4", "I", "T", "W", "M", "9", "?", "B", "E")


def trade(
    second: float, price: float = 100.0, size: float = 10.0, id_: str = "", marks: str = "@", tape: str = "C"
) -> Trade:
    """A trade so many seconds after the open."""
    return Trade(T0 + int(second * NS_PER_SECOND), "SPY", price, size, id_, marks, "V", tape)


@st.composite
def some_trades(draw: st.DrawFn) -> list[Trade]:
    """Up to forty trades of five minutes, in any order, each with an id of its own."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 299),
                st.integers(9_900, 10_100),
                st.integers(1, 1_000),
                st.lists(st.sampled_from(MARKS), max_size=2).map("".join),
                st.sampled_from("ABC"),
            ),
            max_size=40,
        )
    )
    return [
        trade(second, price / 100, size / 7, str(n), marks, tape)
        for n, (second, price, size, marks, tape) in enumerate(rows)
    ]


def oracle(trades: Iterable[Trade], *, in_session: bool) -> dict[int, tuple[float, ...]]:
    """Minute by minute, condition by condition, with exact sums."""
    bars: dict[int, tuple[float, ...]] = {}
    rows = sorted(trades, key=lambda row: row.ts)  # stable
    for start in sorted({row.ts - row.ts % NS_PER_MINUTE for row in rows}):
        mine = [row for row in rows if start <= row.ts < start + NS_PER_MINUTE]
        full, poor, high_low, volume = [], [], [], []
        for row in mine:
            marks = row.conditions if in_session else row.conditions.replace("T", "@")
            effects = [TAPES[row.tape].get(mark, UNLISTED) for mark in marks] or [REGULAR]
            if all(effect.open_close is Sets.ALWAYS for effect in effects):
                full.append(row.price)
            elif not any(effect.open_close is Sets.NEVER for effect in effects):
                poor.append(row.price)
            if not any(not effect.high_low for effect in effects):
                high_low.append(row.price)
            if not any(not effect.volume for effect in effects):
                volume.append(row)
        prices = full or poor
        if not prices:
            continue
        size = float(sum((Fraction(row.size) for row in volume), Fraction()))
        value = float(sum((Fraction(row.price * row.size) for row in volume), Fraction()))
        high_low += [prices[0], prices[-1]]
        vwap = value / size if volume else math.nan
        bars[start] = (prices[0], max(high_low), min(high_low), prices[-1], size, vwap, float(len(volume)))
    return bars


def shown(bars: Iterable[BuiltBar]) -> dict[int, tuple[float, ...]]:
    """The last word on each bar; void ones are none."""
    found: dict[int, tuple[float, ...]] = {}
    for bar in bars:
        if bar.is_void:
            found.pop(bar.start, None)
        else:
            found[bar.start] = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap, float(bar.trades))
    return found


def equal(one: dict[int, tuple[float, ...]], other: dict[int, tuple[float, ...]]) -> bool:
    """Exactly, with NaN equal to itself."""
    return repr(one) == repr(dict(sorted(other.items())))


class TestAgainstTheOracle:
    """Exact rules."""

    @given(some_trades(), st.booleans())
    def test_history_is_what_the_oracle_says(self, trades: list[Trade], in_session: bool) -> None:
        """Whatever the order in which the trades are given, ties aside."""
        table = bars_from_trades(trades, "SPY", in_session=lambda _: in_session)
        found = {start: tuple(rest) for start, *rest in zip(*(column.tolist() for column in table), strict=True)}

        assert equal(oracle(trades, in_session=in_session), {k: (*v[:-1], float(v[-1])) for k, v in found.items()})

    @given(some_trades(), st.data())
    def test_live_ends_where_history_does(self, trades: list[Trade], data: st.DataObject) -> None:
        """With late trades, corrections and cancels along the way, the last word on each bar is that of what is left."""
        maker = TradeBars("SPY", keep=None, in_session=lambda _: True)
        given_out: list[BuiltBar] = []
        left: list[Trade] = []
        for each in trades:
            given_out += maker.add(each)
            left.append(each)
            what = data.draw(st.sampled_from(["nothing", "nothing", "cancel", "correct", "clock"]))
            at = data.draw(st.integers(0, len(left) - 1)) if left else 0
            if what == "cancel" and left:
                gone = left.pop(at)
                given_out += maker.cancel(gone.exchange, gone.id)
            elif what == "correct" and left:
                old = left.pop(at)
                new = trade(data.draw(st.integers(0, 299)), 100.5, 3.0, f"c{len(given_out)}-{old.id}", "@", "C")
                left.append(new)
                given_out += maker.correct(old.exchange, old.id, new)
            elif what == "clock":
                given_out += maker.finish(T0 + data.draw(st.integers(0, 300)) * NS_PER_SECOND)
        given_out += maker.finish(T0 + 300 * NS_PER_SECOND)

        assert equal(oracle(left, in_session=True), shown(given_out))


class TestRules:
    """One at a time, where a reader wants to see it."""

    def test_an_empty_minute_has_no_bar(self) -> None:
        """Absent, not zero."""
        table = bars_from_trades([trade(0), trade(125)], "SPY")
        assert ((table.start - T0) // NS_PER_MINUTE).tolist() == [0, 2]

    def test_a_bar_holds_its_start_and_not_its_end(self) -> None:
        """Half-open."""
        table = bars_from_trades([trade(0, 1.0), trade(59.999999999, 2.0), trade(60, 3.0)], "SPY")
        assert table.close.tolist() == [2.0, 3.0]

    def test_an_odd_lot_counts_for_the_volume_alone(self) -> None:
        """It sets no price, however far away it is."""
        table = bars_from_trades([trade(0), trade(1, 500.0, 5.0, marks="@I"), trade(2, 101.0)], "SPY")
        assert (table.open[0], table.high[0], table.close[0], table.volume[0], table.trades[0]) == (
            100,
            101,
            101,
            25,
            3,
        )

    def test_minutes_of_odd_lots_alone_have_no_bar_and_are_counted(self) -> None:
        """There is volume and no price."""
        maker = TradeBars("SPY")
        maker.add(trade(0, marks="I"))
        assert maker.finish(T0 + NS_PER_MINUTE) == []
        assert maker.stats.unpriced == 1

    def test_form_t_sets_prices_outside_the_session(self) -> None:
        """Before the open nearly every trade is one."""
        before = -2 * 3600
        table = bars_from_trades([trade(before, 90.0, marks="@T"), trade(0), trade(1, 90.0, marks="T")], "SPY")
        assert table.open.tolist() == [90.0, 100.0]
        assert table.low.tolist() == [90.0, 100.0]

    def test_one_letter_means_two_things(self) -> None:
        """B is an average price on tapes A and B, and a bunched trade on C."""
        assert not effect_of("A", "B", in_session=True).high_low
        assert effect_of("C", "B", in_session=True) == REGULAR

    def test_crypto_counts_in_full(self) -> None:
        """It has no tape; its marks say who was the taker."""
        assert effect_of("", "S", in_session=True) == REGULAR == Effect(Sets.ALWAYS, high_low=True, volume=True)

    def test_every_number_of_massive_is_a_mark_of_the_tapes(self) -> None:
        """None falls through to the unlisted."""
        assert {mark for mark in POLYGON_MARKS.values() if mark not in TAPES["A"] or mark not in TAPES["C"]} == set()


class TestStream:
    """What comes late."""

    def test_a_late_trade_revises_its_bar(self) -> None:
        """The bar is given again, as it would have been."""
        maker = TradeBars("SPY")
        maker.add(trade(0, id_="1"))
        (first,) = maker.add(trade(60, id_="2"))
        (again,) = maker.add(trade(30, 105.0, id_="3"))
        assert (first.close, first.is_revision) == (100.0, False)
        assert (again.start, again.close, again.high, again.is_revision) == (first.start, 105.0, 105.0, True)
        assert (maker.stats.late, maker.stats.revisions) == (1, 1)
        assert again.to_bar("SPY", NS_PER_MINUTE).ts == T0 + NS_PER_MINUTE

    def test_a_trade_that_comes_again_counts_once(self) -> None:
        """After a reconnect the same ids arrive."""
        maker = TradeBars("SPY")
        maker.add(trade(0, id_="1"))
        assert maker.add(trade(0, id_="1")) == []
        assert (maker.finish(T0 + NS_PER_MINUTE)[0].volume, maker.stats.duplicates) == (10.0, 1)

    def test_what_is_too_late_is_counted_and_changes_nothing(self) -> None:
        """Only the last bars are kept."""
        maker = TradeBars("SPY", keep=2)
        maker.add(trade(0, id_="1"))
        maker.add(trade(600, id_="2"))
        assert maker.add(trade(1, 1.0, id_="3")) == []
        assert maker.cancel("V", "1") == []
        assert (maker.stats.too_late, maker.stats.unknown) == (1, 1)

    def test_a_bar_that_loses_its_only_trade_is_void(self) -> None:
        """Whoever holds it must let go of it."""
        maker = TradeBars("SPY")
        maker.add(trade(0, id_="1"))
        maker.finish(T0 + NS_PER_MINUTE)
        (void,) = maker.cancel("V", "1")
        assert (void.is_void, void.is_revision, void.volume) == (True, True, 0.0)

    def test_a_period_must_divide_a_day(self) -> None:
        """Else bars of two days would not line up."""
        with pytest.raises(ConfigurationError, match=r"bars of 420\.001 s cannot be built"):
            TradeBars("SPY", 420_001_000_000)
