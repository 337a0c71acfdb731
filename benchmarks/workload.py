"""The reference workload: seeded one-minute bars, and the loop that somebody would write by hand for one rule.

Bars: a geometric random walk, 390 minutes a weekday from 2018-01-02, the first ending at 14:31 UTC. Rule: the
session's VWAP (close x volume) and the population standard deviation of ``close - VWAP`` (Welford). Flat, and
``20 <= n < 389``: buy 100 where ``close - VWAP < -2 sd``. Long: sell where ``close >= VWAP`` or ``n >= 389``.
Orders fill at the next bar's open. With seed 7 and 500,000 bars that is 2,297 round trips.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import repeat
from math import sqrt

import numpy as np

from holdfast.backtest import Backtest
from holdfast.kernel import Kernel
from holdfast.model import Asset, AssetClass, Bar, BarSeries
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE
from holdfast.risk import PreTradeRiskGate, RiskLimits
from holdfast.risk.protections import create_default_protections
from holdfast.strategies import Strategy, VwapMeanReversion
from holdfast.time import FixedSessions, Sessions
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine

SYMBOL = "BENCH"
BARS_A_DAY = 390
_OPEN = 14 * NS_PER_HOUR + 30 * NS_PER_MINUTE
_SESSIONS = FixedSessions(_OPEN, _OPEN + BARS_A_DAY * NS_PER_MINUTE)


def make_bars(seed: int, count: int) -> BarSeries:
    """The bars of one symbol."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.0005, count)))
    open_ = np.concatenate(([100.0], close[:-1])) * np.exp(rng.normal(0, 0.0001, count))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.0002, count)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.0002, count)))
    volume = np.maximum(1, np.exp(rng.normal(9, 0.7, count))).astype(np.int64).astype(np.float64)
    open_, close = np.round(open_, 2), np.round(close, 2)
    high = np.maximum(np.round(high, 2), np.maximum(open_, close))
    low = np.minimum(np.round(low, 2), np.minimum(open_, close))
    days_needed = -(-count // BARS_A_DAY)
    first = np.datetime64("2018-01-02", "D").astype(np.int64)
    candidates = np.arange(first, first + 2 * days_needed + 12)
    weekdays = candidates[(candidates + 3) % 7 < 5][:days_needed]
    index = np.arange(count)
    ends = weekdays[index // BARS_A_DAY] * NS_PER_DAY + _OPEN + (index % BARS_A_DAY + 1) * NS_PER_MINUTE
    return BarSeries(SYMBOL, NS_PER_MINUTE, ends, open_, high, low, close, volume)


#: A bar as the loop reads it: the number of its rule, end, open, high, low, close, volume.
Row = tuple[int, int, float, float, float, float, float]


def rows_of(series: BarSeries) -> list[Row]:
    """The bars as the rows of the loop, which are made beforehand."""
    columns = (series.ts, series.open, series.high, series.low, series.close, series.volume)
    return list(zip(repeat(0), *(column.tolist() for column in columns), strict=False))


class HandWritten:
    """The rule without an engine: state in attributes, one method a bar, which is given the whole bar."""

    __slots__ = ("bars", "day", "m2", "mean", "pending", "position", "price_volume", "volume")

    def __init__(self) -> None:
        self.day, self.bars, self.position, self.pending = -1, 0, 0, 0
        self.price_volume = self.volume = self.mean = self.m2 = 0.0

    def on_bar(self, ts: int, _open: float, _high: float, _low: float, close: float, volume: float) -> None:
        """Update the sums; decide what to do at the next open."""
        day = ts // NS_PER_DAY
        if day != self.day:
            self.day, self.bars = day, 0
            self.price_volume = self.volume = self.mean = self.m2 = 0.0
        bars = self.bars = self.bars + 1
        price_volume = self.price_volume = self.price_volume + close * volume
        total = self.volume = self.volume + volume
        distance = close - price_volume / total
        delta = distance - self.mean
        mean = self.mean = self.mean + delta / bars
        m2 = self.m2 = self.m2 + delta * (distance - mean)
        if self.position == 0:
            if 20 <= bars < 389 and distance < -2.0 * sqrt(m2 / bars):
                self.pending = 100
        elif distance >= 0.0 or bars >= 389:
            self.pending = -100


def run_by_hand(rows: list[Row]) -> tuple[int, float]:
    """Round trips and the change of cash. A rule a symbol, as whoever trades more than one would write it."""
    rules = [HandWritten()]
    cash, trips = 0.0, 0
    for number, ts, open_, high, low, close, volume in rows:
        rule = rules[number]
        quantity = rule.pending
        if quantity:
            cash -= quantity * open_
            rule.position += quantity
            rule.pending = 0
            trips += quantity < 0
        rule.on_bar(ts, open_, high, low, close, volume)
    return trips, cash


def make_backtest(series: BarSeries, *, trades: bool = True) -> Backtest:
    """The same rule through the whole engine, every guard on, with limits that it does not reach.

    ``trades=False`` asks for a deviation that no bar has: the same work a bar, and no order.
    """
    strategy = VwapMeanReversion(
        [SYMBOL],
        quantity=100,
        deviations=2.0 if trades else 1e9,
        warmup_bars=20,
        stop_loss=None,
        time_stop_bars=None,
        flat_minutes=1,
        allow_short=False,
    )
    return _backtest(strategy, series)


class Churn(Strategy):
    """Buys at one bar and leaves at the next, over and over: nothing but orders."""

    def __init__(self, *, trades: bool) -> None:
        super().__init__([SYMBOL])
        self.trades = trades

    def on_start(self) -> None:
        """Keep the view."""
        self.seen = self.view(SYMBOL)

    def on_bar(self, bar: Bar) -> None:
        """In or out."""
        view = self.seen
        if not self.trades or view.busy:
            return
        if view.position_float:
            self.exit(bar.symbol, reason="out")
        else:
            self.buy(bar.symbol, 100, reason="in")


def make_churning(series: BarSeries, *, trades: bool = True) -> Backtest:
    """An order at every bar through the whole engine, or (``trades=False``) the same bars without one."""
    return _backtest(Churn(trades=trades), series)


def _backtest(strategy: Strategy, series: BarSeries) -> Backtest:
    protections = create_default_protections(
        stoploss_guard={"max_stoplosses": 1_000},
        max_drawdown={"max_drawdown": 0.9},
        cooldown_period={"cooldown_duration": timedelta(microseconds=1)},
        daily_loss_limit={"max_loss_fraction": 0.9},
    )
    limits = RiskLimits(
        max_order_notional=Decimal(10**6),
        max_order_quantity=Decimal(10**4),
        max_position_notional=Decimal(10**6),
        max_gross_exposure=Decimal(10**6),
        max_open_orders=100,
        max_daily_loss=Decimal(10**6),
        price_collar=0.05,
        max_data_age=timedelta(minutes=3),
    )
    kernel = Kernel([strategy], protections=protections, gate=PreTradeRiskGate(limits), sessions_for=_sessions)
    engine = MatchingEngine(
        {SYMBOL: Asset(symbol=SYMBOL, tradable=True, shortable=True, marginable=True)},
        cash=Decimal(1_000_000),
        settings=EngineSettings(participation=None),
        sessions=_sessions,
    )
    return Backtest(kernel, engine, {SYMBOL: series}, sessions=_sessions)


def _sessions(_kind: AssetClass) -> Sessions:
    return _SESSIONS
