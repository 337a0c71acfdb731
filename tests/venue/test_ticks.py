"""Quotes and trades inside bars: the promises in the first lines of `holdfast.venue.market.ticks`."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast.model import Asset, AssetClass, BarSeries
from holdfast.venue.market.ticks import MOMENTS, GeneratedTicks, QuoteTick, TradeTick

MINUTE = 60 * 10**9
STOCK = Asset(symbol="SPY")
COIN = Asset(symbol="BTC/USD", asset_class=AssetClass.CRYPTO)
QUARTERS = Asset(symbol="Q", price_increment="0.25")

Row = tuple[float, float, float, float, float]


def series(rows: list[Row], symbol: str = "SPY", period: int = MINUTE) -> BarSeries:
    """Bars one after the other, with a gap after every third."""
    index = np.arange(len(rows), dtype=np.int64)
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), 5).T
    return BarSeries(symbol, period, (index + index // 3 + 1) * period, *columns)


def complete(bars: BarSeries, ticks: GeneratedTicks) -> list[QuoteTick | TradeTick]:
    """All ticks."""
    return ticks.between(-1, int(bars.ts[-1]))


@st.composite
def bar_rows(draw: st.DrawFn) -> Row:
    """A bar on cents, on nano-dollars, or anything at all; of a volume in shares, in decimals, or anything at all."""
    cents = st.integers(1, 10_000_000).map(lambda n: n / 100)
    tiny = st.integers(1, 10**6).map(lambda n: n / 10**7)
    wild = st.floats(1e-6, 1e6, allow_nan=False)
    prices = sorted(draw(st.lists(draw(st.sampled_from([cents, tiny, wild])), min_size=4, max_size=4)))
    low, one, other, high = prices
    if draw(st.booleans()):
        one, other = other, one
    if draw(st.integers(0, 9)) == 0:
        low = one = other = high
    volume = draw(
        st.one_of(
            st.just(0.0),
            st.integers(1, 10**9).map(float),
            st.integers(1, 10**14).map(lambda n: n / 10**9),
            st.integers(1, 10**6).map(lambda n: n / 10**3),
            st.floats(1e-9, 1e12),
        )
    )
    return one, high, low, other, volume


def is_short_decimal(volume: float) -> bool:
    """Whether a volume is a decimal of at most nine places and fifteen digits."""
    exact = Decimal(repr(volume)).normalize()
    return exact == round(exact, 9) and abs(exact.adjusted()) < 15 and len(exact.as_tuple().digits) <= 15


ASSETS = st.sampled_from([STOCK, COIN, QUARTERS])


@given(st.lists(bar_rows(), min_size=1, max_size=4), ASSETS, st.integers(0, 1 << 62), st.sampled_from([0.0, 0.01]))
def test_the_bars_come_out_of_their_ticks_exactly(rows: list[Row], asset: Asset, seed: int, spread: float) -> None:
    """Open, high, low, close and volume; in every bar, whatever the prices and sizes are."""
    bars = series(rows, asset.symbol)
    ticks = GeneratedTicks(bars, asset, seed=seed, spread=spread)
    for row, (open_, high, low, close, volume) in enumerate(rows):
        end = int(bars.ts[row])
        inside = ticks.between(end - MINUTE - 1, end - 1)
        quotes = [tick for tick in inside if isinstance(tick, QuoteTick)]
        trades = [tick for tick in inside if isinstance(tick, TradeTick)]
        assert len(quotes) == MOMENTS
        assert quotes[0].ts == end - MINUTE
        assert [tick.ts for tick in inside] == sorted(tick.ts for tick in inside)
        if volume == 0:
            assert trades == []
            continue
        prices = [trade.price for trade in trades]
        assert 4 <= len(trades) <= MOMENTS
        assert (prices[0], max(prices), min(prices), prices[-1]) == (open_, high, low, close)
        assert all(trade.size > 0 for trade in trades)
        if is_short_decimal(volume):
            assert sum(Decimal(repr(trade.size)) for trade in trades) == Decimal(repr(volume))
        else:
            assert sum(Fraction(trade.size) for trade in trades) == Fraction(volume)
        counts, values = ticks.sums(row, row + 1)
        assert counts.tolist() == [len(trades)]
        assert values[0] == pytest.approx(sum(trade.price * trade.size for trade in trades))


@given(st.lists(bar_rows(), min_size=1, max_size=4), ASSETS, st.integers(0, 9))
def test_quotes_are_such_as_a_market_shows(rows: list[Row], asset: Asset, seed: int) -> None:
    """Positive, bid below ask, sizes, on the increment; and every trade lies within the quote before it."""
    bars = series(rows, asset.symbol)
    quote: QuoteTick | None = None
    for tick in complete(bars, GeneratedTicks(bars, asset, seed=seed)):
        if isinstance(tick, QuoteTick):
            quote = tick
            assert 0 < quote.bid < quote.ask
            assert quote.bid_size > 0 < quote.ask_size
        else:
            assert quote is not None
            assert quote.bid <= tick.price <= quote.ask


@given(st.lists(bar_rows(), min_size=1, max_size=4), st.integers(0, 9))
def test_quotes_are_on_the_price_increment(rows: list[Row], seed: int) -> None:
    """A cent from a dollar on, a hundredth of it below, or the asset's own; a price of less has a finer grid."""
    assume(all(row[2] >= 2 for row in rows))
    for asset, increment in ((STOCK, Decimal("0.01")), (QUARTERS, Decimal("0.25"))):
        bars = series(rows, asset.symbol)
        for quote in GeneratedTicks(bars, asset, seed=seed).quotes(0, int(bars.ts[-1])):
            assert Decimal(repr(quote.bid)) % increment == 0
            assert Decimal(repr(quote.ask)) % increment == 0


@given(st.lists(bar_rows(), min_size=1, max_size=9), st.integers(0, 9), st.data())
def test_ticks_depend_on_seed_symbol_and_bar_alone(rows: list[Row], seed: int, data: st.DataObject) -> None:
    """Made again they are the same; those of the first bars are those of a shorter series; seeds and symbols differ."""
    bars = series(rows)
    count = data.draw(st.integers(1, len(rows)))
    whole = complete(bars, GeneratedTicks(bars, STOCK, seed=seed))
    head = bars.slice(0, count)

    assert complete(bars, GeneratedTicks(bars, STOCK, seed=seed)) == whole
    assert complete(head, GeneratedTicks(head, STOCK, seed=seed)) == [tick for tick in whole if tick.ts < head.ts[-1]]
    assert complete(bars, GeneratedTicks(bars, STOCK, seed=seed + 1)) != whole
    other = series(rows, "QQQ")
    assert complete(other, GeneratedTicks(other, STOCK, seed=seed)) != whole


@given(st.lists(bar_rows(), min_size=1, max_size=7), st.data())
def test_every_way_to_ask_gives_the_same_ticks(rows: list[Row], data: st.DataObject) -> None:
    """Step by step, by ranges, the last ones up to a moment, forwards and backwards."""
    bars = series(rows)
    ticks = GeneratedTicks(bars, STOCK)
    whole = complete(bars, ticks)
    stepped: list[QuoteTick | TradeTick] = []
    at = -1
    while (due := ticks.next_after(at)) is not None:
        stepped.extend(ticks.between(at, due))
        at = due
    assert stepped == whole

    since, until = sorted(data.draw(st.tuples(*[st.integers(0, int(bars.ts[-1]) + 5)] * 2)))
    quotes = [tick for tick in whole if isinstance(tick, QuoteTick) and since <= tick.ts <= until]
    trades = [tick for tick in whole if isinstance(tick, TradeTick) and since <= tick.ts <= until]
    assert list(ticks.quotes(since, until)) == quotes == list(ticks.quotes(since, until, newest_first=True))[::-1]
    assert list(ticks.trades(since, until)) == trades == list(ticks.trades(since, until, newest_first=True))[::-1]
    assert ticks.between(since, until) == [tick for tick in whole if since < tick.ts <= until]
    so_far = [tick for tick in whole if tick.ts <= until]
    last_quote = [tick for tick in so_far if isinstance(tick, QuoteTick)][-1:]
    last_trade = [tick for tick in so_far if isinstance(tick, TradeTick)][-1:]
    assert ticks.latest(until) == (last_quote[0] if last_quote else None, last_trade[0] if last_trade else None)


def test_long_series_are_the_same_across_blocks() -> None:
    """Numbers of trades, sums and ids go on where one block of bars ends and the next begins."""
    rows = [(100.0 + n % 7, 108.0, 99.0, 101.0, float(1 + n)) for n in range(700)]
    bars = series(rows)
    ticks = GeneratedTicks(bars, STOCK)
    trades = [tick for tick in complete(bars, ticks) if isinstance(tick, TradeTick)]
    counts, values = ticks.sums(0, 700)

    assert len({trade.id for trade in trades}) == len(trades) == counts.sum()
    assert [trade.id for trade in trades] == sorted(trade.id for trade in trades)
    assert values.sum() == pytest.approx(sum(trade.price * trade.size for trade in trades))
    assert [list(part) for part in zip(*ticks.sums(100, 300), strict=True)] == [
        list(part) for part in zip(counts[100:300], values[100:300], strict=True)
    ]


def test_crypto_ids_are_larger_than_a_float_can_hold() -> None:
    """As the real ones are."""
    bars = series([(1.0, 2.0, 0.5, 1.5, 3.0)], "BTC/USD")
    assert all(trade.id > 1 << 53 for trade in GeneratedTicks(bars, COIN).trades(0, 10 * MINUTE))
