"""Single stops over random bars, against a slow matcher that was written again from the rules and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model import OrderSide
from holdfast.venue.matching.engine import MatchingEngine, VenueOrder
from tests.venue.complex_orders import stop, trailing
from tests.venue.engine_bench import BUY, HOUR, NOON, SELL, make_engine, order, trade

MINUTE = HOUR // 60
CENT = Fraction(1, 100)
Bar = tuple[int, int, int, int]  # open, high, low, close in cents

PATHS = st.lists(st.integers(9_000, 11_000), min_size=4, max_size=4)
BARS = st.lists(PATHS.map(lambda p: (p[0], max(p), min(p), p[3])), min_size=1, max_size=8)


@dataclass
class Slow:
    """One stop, in cents, mirrored so that it is always a sale: a buy is a sale in a market upside down."""

    stop: Fraction
    limit: Fraction | None
    trail: Fraction | None
    best: Fraction
    elected: bool = False
    price: Fraction | None = None

    def trade(self, at: Fraction, worst: Fraction, best: Fraction, *, is_last: Fraction) -> None:
        """A stretch of the market that begins at one price, goes as far down and up as this, and ends somewhere."""
        if self.price is not None:
            return
        if not self.elected:
            if worst > self.stop:
                if self.trail is not None and best > self.best:
                    self.best, self.stop = best, best - self.trail
                return
            self.elected = True
            struck_at = min(self.stop, at)
            if self.limit is None or struck_at >= self.limit:
                self.price = struck_at
            elif is_last >= self.limit:
                self.price = self.limit
        elif self.limit is None or at >= self.limit:
            self.price = at
        elif best >= self.limit:
            self.price = self.limit


def expected(slow: Slow, bars: list[Bar], sign: int, *, during: bool) -> Fraction | None:
    """What the slow matcher gets; an order that came during the first bar sees the last price of it alone."""
    for number, prices in enumerate(bars):
        first, high, low, last = (Fraction(sign * price) for price in prices)
        up, down = max(high, low), min(high, low)
        if number == 0 and during:
            slow.trade(last, last, last, is_last=last)
            continue
        slow.trade(first, first, first, is_last=first)
        slow.trade(first, down, up, is_last=last)
    return None if slow.price is None else sign * slow.price


def drive(engine: MatchingEngine, placed: VenueOrder, bars: list[Bar], *, during: bool) -> Fraction | None:
    """What the engine gives."""
    for number, prices in enumerate(bars):
        first, high, low, last = (price / 100 for price in prices)
        if number or not during:
            engine.open_bar("SPY", NOON, first, 1e9)
        engine.close_bar("SPY", NOON + MINUTE, first, high, low, last, 1e9)
    return None if placed.filled_avg_price is None else Fraction(placed.filled_avg_price) / CENT


@settings(max_examples=300, deadline=None)
@given(BARS, st.sampled_from([BUY, SELL]), st.integers(1, 900), st.none() | st.integers(-300, 300), st.booleans())
def test_stops_fill_where_the_slow_matcher_says(
    bars: list[Bar], side: OrderSide, distance: int, limit: int | None, during: bool
) -> None:
    """Stops and stop-limits of both sides; a buy stop without a limit has the collar's."""
    engine = make_engine()
    if side is SELL:
        trade(engine, order())
    sign = -side.sign
    at = 10_000 - sign * distance
    at_limit = None if limit is None else at - sign * limit
    placed = engine.submit(
        stop(side, str(Decimal(at) / 100), None if at_limit is None else str(Decimal(at_limit) / 100)), NOON
    )
    if at_limit is None and side is BUY:
        collar = Fraction(at) * Fraction("1.025")
        at_limit = -(-collar.numerator // collar.denominator)
    slow = Slow(Fraction(sign * at), None if at_limit is None else Fraction(sign * at_limit), None, Fraction(0))

    assert drive(engine, placed, bars, during=during) == expected(slow, bars, sign, during=during)


@settings(max_examples=200, deadline=None)
@given(BARS, st.integers(1, 900), st.booleans())
def test_trailing_sales_fill_where_the_slow_matcher_says(bars: list[Bar], distance: int, during: bool) -> None:
    """The best price counts only once the stretch that made it is over."""
    engine = make_engine()
    trade(engine, order())
    placed = engine.submit(trailing(SELL, price=str(Decimal(distance) / 100)), NOON)
    slow = Slow(Fraction(10_000 - distance), None, Fraction(distance), Fraction(10_000))

    assert drive(engine, placed, bars, during=during) == expected(slow, bars, 1, during=during)


class TrailsFirst(MatchingEngine):
    """Broken: a bar's best price moves the stop before the bar was checked against it."""

    def close_bar(
        self, symbol: str, now: int, open_: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """The rest of a bar, as if its high came first."""
        super().close_bar(symbol, now, open_, high, open_, high, volume)
        super().close_bar(symbol, now, open_, high, low, close, volume)


def test_an_engine_that_trails_too_soon_is_caught() -> None:
    """Canary: the slow matcher says otherwise."""
    bars: list[Bar] = [(10_000, 10_500, 10_100, 10_200)]
    found: list[Fraction | None] = []
    for kind in (MatchingEngine, TrailsFirst):
        engine = make_engine()
        engine.__class__ = kind
        trade(engine, order())
        found.append(drive(engine, engine.submit(trailing(SELL, price="3"), NOON), bars, during=False))
    slow = Slow(Fraction(9_700), None, Fraction(300), Fraction(10_000))
    assert found[0] == expected(slow, bars, 1, during=False)
    with pytest.raises(AssertionError):
        assert found[1] == found[0]
