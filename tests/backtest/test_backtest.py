"""The backtester drives the kernel as a replayed session would: fills, timers, many symbols, and odd data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.backtest import BacktestResult
from holdfast.di.report import summary
from holdfast.kernel import Kernel
from holdfast.model import Bar, BarSeries, Execution, OrderStatus, TimeInForce
from holdfast.model.errors import StrategyError
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND
from holdfast.risk.protections import StoplossGuard
from holdfast.state.order_tracker import InFlightOrder
from holdfast.strategies import Strategy, VwapMeanReversion
from tests.backtest.helpers import Row, always_open, closes, make_series, run

START = 19_724 * NS_PER_DAY  # 2024-01-02
SPY, COIN = "SPY", "BTC/USD"
Action = Callable[["Player"], object]


class Player(Strategy):
    """Does on the n-th bar of all its symbols what it is told for n, and keeps what it saw."""

    def __init__(self, *symbols: str, script: dict[int, Action] | None = None) -> None:
        super().__init__(symbols)
        self.script = script or {}
        self.seen: list[tuple[int, str]] = []
        self.fills: list[tuple[int, str, Decimal, Decimal]] = []

    def on_bar(self, bar: Bar) -> None:
        """Act, if it is time to."""
        self.seen.append((bar.ts, bar.symbol))
        action = self.script.get(len(self.seen))
        if action is not None:
            action(self)

    def on_fill(self, execution: Execution, order: InFlightOrder) -> None:
        """Keep it."""
        self.fills.append((execution.at, execution.side.value, execution.quantity, execution.price))


def play(script: dict[int, Action], rows: list[Row], **options: object) -> tuple[Player, BacktestResult]:
    """One symbol, one script."""
    player = Player(SPY, script=script)
    result = run([player], {SPY: make_series(SPY, rows, start=START)}, **options)  # type: ignore[arg-type]  # as run takes
    return player, result


# -- when and at what price ----------------------------------------------------------------------


def test_a_market_order_fills_at_the_next_bars_open() -> None:
    """Decided at the close of bar 2, filled when bar 3 opens: nobody trades at a price of the past."""
    rows: list[Row] = [(100, 101, 99, 100, 50), (100, 101, 99, 100, 50), (103, 110, 90, 104, 50)]
    player, _ = play({2: lambda s: s.buy(SPY, 10)}, rows)
    assert player.fills == [(START + 2 * NS_PER_MINUTE, "buy", Decimal(10), Decimal(103))]


def test_what_was_decided_on_the_last_bar_is_never_filled() -> None:
    """There is no next price: what is open at the end of the data is cancelled, as at the end of a run."""
    player, result = play({3: lambda s: s.buy(SPY, 10)}, closes(100, 100, 100))
    assert player.fills == []
    assert [order.status for order in result.kernel.portfolio.tracker.orders()] == [OrderStatus.CANCELED]


def test_a_limit_fills_when_the_market_comes_to_it() -> None:
    """At its limit, in the bar whose low reached it."""
    script: dict[int, Action] = {1: lambda s: s.buy(SPY, 10, limit=98.0)}
    player, _ = play(script, closes(100, 99, 99.5, 97.5, 99))
    assert player.fills == [(START + 4 * NS_PER_MINUTE, "buy", Decimal(10), Decimal(98))]


def test_an_order_takes_no_more_than_its_share_of_a_bar() -> None:
    """Ten percent of 50 shares: it takes three bars to buy 12."""
    script: dict[int, Action] = {1: lambda s: s.buy(SPY, 12)}
    player, result = play(script, closes(100, 100, 100, 100, 100, volume=50.0), participation=Decimal("0.1"))
    assert [quantity for _, _, quantity, _ in player.fills] == [5, 5, 2]
    assert result.kernel.portfolio.positions.quantity(SPY) == Decimal(12)


def test_an_ioc_order_ends_with_the_first_bar() -> None:
    """What could not be had at once is cancelled by the venue."""
    script: dict[int, Action] = {1: lambda s: s.buy(SPY, 12, limit=200.0, time_in_force=TimeInForce.IOC)}
    _, result = play(script, closes(100, 100, 100, volume=50.0), participation=Decimal("0.1"))
    (order,) = result.kernel.portfolio.tracker.orders()
    assert (order.status, order.filled_quantity) == (OrderStatus.CANCELED, Decimal(5))


def test_an_exit_with_a_resting_order_works_as_it_does_live() -> None:
    """Cancel, the venue's word, then the remainder; all within one moment of the replay."""
    script: dict[int, Action] = {
        1: lambda s: s.buy(SPY, 10),
        3: lambda s: s.exit(SPY, limit=150.0, reason="target"),
        5: lambda s: s.exit(SPY, reason="stop_loss"),
    }
    player, result = play(script, closes(100, 100, 100, 100, 90, 90, 90))
    assert [(order.reason, order.status) for order in result.kernel.portfolio.tracker.orders()] == [
        ("", OrderStatus.FILLED),
        ("target", OrderStatus.CANCELED),
        ("stop_loss", OrderStatus.FILLED),
    ]
    assert player.fills[-1] == (START + 5 * NS_PER_MINUTE, "sell", Decimal(10), Decimal(90))


def test_guards_judge_in_a_backtest_as_they_do_live() -> None:
    """One stop-loss, then the guard: the second entry is refused, and the report says by whom."""
    script: dict[int, Action] = {
        1: lambda s: s.buy(SPY, 10),
        3: lambda s: s.exit(SPY, reason="stop_loss"),
        5: lambda s: s.buy(SPY, 10),
    }
    guard = StoplossGuard(max_stoplosses=1, lookback_period=timedelta(hours=1), cooldown_duration=timedelta(hours=1))
    _, result = play(script, closes(100, 100, 90, 90, 90, 90), protections=[guard])
    assert summary(result.kernel)["blocked"] == {"stoploss_guard": 1}


def test_an_order_that_the_venue_refuses_is_rejected_in_the_books() -> None:
    """More than the account can pay for, and no gate that noticed."""
    script: dict[int, Action] = {1: lambda s: s.buy(SPY, 10, limit=40.0, time_in_force=TimeInForce.IOC)}
    _, result = play(script, closes(100, 100), cash=100)
    (verdict,) = result.kernel.verdicts()
    assert verdict.guard == "buying_power"
    assert result.kernel.portfolio.tracker.orders() == []


def test_a_strategy_that_raises_ends_the_run_with_its_name() -> None:
    """One sentence for the user; the cause is attached."""

    def broken(_: Player) -> None:
        message = "my bad"
        raise ValueError(message)

    with pytest.raises(StrategyError, match="strategy Player raised ValueError in on_bar"):
        play({2: broken}, closes(100, 100, 100))


# -- time ----------------------------------------------------------------------------------------


def test_a_timer_fires_at_its_time_between_the_bars() -> None:
    """A limit order in coin leaves its fee open: the kernel looks five seconds after the fill, long before the next bar."""
    looks = list[int]()

    class Watcher(Player):
        def on_bar(self, bar: Bar) -> None:
            looks.append(kernel_of(self).reconciliation.last_at)
            super().on_bar(bar)

    def kernel_of(strategy: Strategy) -> Kernel:
        assert isinstance(strategy.context, Kernel)
        return strategy.context

    player = Watcher(COIN, script={1: lambda s: s.buy(COIN, 1, limit=99.0)})
    series = make_series(COIN, closes(100, 98.5, 100, 100), start=START)
    result = run([player], {COIN: series})
    filled_at = player.fills[0][0]
    assert filled_at == START + 2 * NS_PER_MINUTE
    assert looks[2] == filled_at + 5 * NS_PER_SECOND
    assert result.kernel.timers == {}
    assert not result.kernel.reconciliation.differences


def test_the_books_are_compared_at_the_start_daily_and_at_the_end() -> None:
    """As in a live run; a gap of days counts as one."""
    ends = [START + minute * NS_PER_MINUTE for minute in (1, 2, 3)]
    ends += [START + day * NS_PER_DAY + NS_PER_MINUTE for day in (1, 2, 9)]
    series = make_series(COIN, closes(*[100.0] * 6), start=START, ends=ends)
    assert run([Player(COIN)], {COIN: series}).kernel.reconciliation.count == 1 + 3 + 1


# -- many symbols --------------------------------------------------------------------------------


def test_bars_of_many_symbols_are_merged_by_time_and_then_by_name() -> None:
    """Gaps are allowed; at one moment the names decide, whatever the order in which the series were given."""
    minutes = {"QQQ": [1, 2, 4], "AAPL": [2, 3, 4], SPY: [1, 4, 5]}
    series = {
        symbol: make_series(symbol, closes(*[10.0] * 3), start=START, ends=[START + m * NS_PER_MINUTE for m in ends])
        for symbol, ends in minutes.items()
    }
    player = Player(*series)
    run([player], series)
    assert [((ts - START) // NS_PER_MINUTE, symbol) for ts, symbol in player.seen] == [
        (1, "QQQ"),
        (1, "SPY"),
        (2, "AAPL"),
        (2, "QQQ"),
        (3, "AAPL"),
        (4, "AAPL"),
        (4, "QQQ"),
        (4, "SPY"),
        (5, "SPY"),
    ]


def test_two_strategies_share_one_account() -> None:
    """Each has its symbols; the money is one."""
    first = Player(SPY, script={1: lambda s: s.buy(SPY, 10)})
    second = Player("QQQ", script={2: lambda s: s.sell("QQQ", 5)})
    series = {symbol: make_series(symbol, closes(*[100.0] * 4), start=START) for symbol in (SPY, "QQQ")}
    positions = run([first, second], series).kernel.portfolio.positions
    assert {p.symbol: p.quantity for p in positions.get_all()} == {SPY: Decimal(10), "QQQ": Decimal(-5)}
    assert positions.cash == 1_000_000 - 1_000 + 500


# -- odd data ------------------------------------------------------------------------------------


def test_an_index_without_volume_trades_only_where_nothing_holds_it_back() -> None:
    """No volume, no trade: with a share of the volume nothing ever fills; without the limit it does."""
    rows = closes(100, 100, 100, 100, volume=0.0)
    script: dict[int, Action] = {1: lambda s: s.buy(SPY, 10)}
    held_back, _ = play(script, rows, participation=Decimal("0.1"))
    free, _ = play(script, rows, participation=None)
    assert held_back.fills == []
    assert len(free.fills) == 1


def test_the_bundled_strategy_takes_an_index_without_volume() -> None:
    """Four sessions of an index, as they come: no average, no entries, no error."""
    rng = np.random.default_rng(11)
    prices = np.round(3_080 * np.exp(np.cumsum(rng.normal(0, 0.0003, 4 * 390))), 2)
    days = [START + day * NS_PER_DAY + (14 * 60 + 30) * NS_PER_MINUTE for day in range(4)]
    ends = [day + (minute + 1) * NS_PER_MINUTE for day in days for minute in range(390)]
    series = make_series("SPX", closes(*prices.tolist(), volume=0.0), start=START, ends=ends)
    result = run([VwapMeanReversion(["SPX"])], {"SPX": series})
    assert result.kernel.bars == 4 * 390
    assert result.kernel.counters.signals == 0


def test_daily_bars_with_gaps_and_ties_trade() -> None:
    """Ten years of days, weekends missing, some days without any move."""
    rng = np.random.default_rng(12)
    prices = np.round(146 * np.exp(np.cumsum(rng.normal(0, 0.01, 2_500) * (rng.random(2_500) > 0.2))), 2)
    days = [day for day in range(3_500) if (day + START // NS_PER_DAY + 3) % 7 < 5][:2_500]
    ends = [START + (day + 1) * NS_PER_DAY for day in days]
    series = make_series(SPY, closes(*prices.tolist(), volume=1e8), start=START, period=NS_PER_DAY, ends=ends)

    class Dips(Strategy):
        def on_bar(self, bar: Bar) -> None:
            view = self.view(bar.symbol)
            if view.flat and bar.close < bar.open:
                self.buy(bar.symbol, 10)
            elif view.position_float and bar.close > view.average_price_float:
                self.exit(bar.symbol)

    result = run([Dips([SPY])], {SPY: series})
    portfolio = result.kernel.portfolio
    assert len(portfolio.positions.closed_trades) > 20
    assert portfolio.positions.cash == result.engine.account().cash
    assert not result.kernel.reconciliation.differences


_PRICES = st.lists(st.integers(50, 150), min_size=5, max_size=60)
_VOLUMES = st.lists(st.sampled_from([0, 0, 5, 40, 1_000]), min_size=60, max_size=60)
_GAPS = st.lists(st.sampled_from([1, 1, 1, 2, 60, 1_440]), min_size=60, max_size=60)


class Restless(Strategy):
    """Buys, sells, rests limits and leaves by the price's digits: a bit of everything."""

    def on_bar(self, bar: Bar) -> None:
        """Do something."""
        symbol, digit = bar.symbol, int(bar.close) % 7
        view = self.view(symbol)
        if digit == 0 and view.position_float >= 0:
            self.buy(symbol, 7, reason="dip")
        elif digit == 1 and view.position_float <= 0 and view.shortable:
            self.sell(symbol, 5, reason="peak")
        elif digit == 2 and view.position_float >= 0:
            self.buy(symbol, 3, limit=bar.close - 2)
        elif digit == 3:
            self.exit(symbol, reason="exit")
        elif digit == 4:
            self.exit(symbol, 2, limit=bar.close + 3, reason="target")
        elif digit == 5:
            self.cancel(symbol)


@settings(max_examples=60)
@given(
    prices=st.tuples(_PRICES, _PRICES), volumes=_VOLUMES, gaps=_GAPS, participation=st.sampled_from(["0.1", "1", None])
)
def test_on_odd_data_the_books_are_the_engines_and_twice_is_the_same(
    prices: tuple[list[int], list[int]], volumes: list[int], gaps: list[int], participation: str | None
) -> None:
    """P2, P3, P4, P10: volumes of zero, gaps, ties, two symbols: no order twice, cash and positions exact, repeatable."""
    series = {symbol: _odd(symbol, column, volumes, gaps) for symbol, column in zip((SPY, COIN), prices, strict=True)}
    share = None if participation is None else Decimal(participation)
    first, second = (run([Restless([SPY, COIN])], series, participation=share) for _ in range(2))
    portfolio, engine = first.kernel.portfolio, first.engine
    assert {p.symbol: p.quantity for p in portfolio.positions.get_all()} == {
        p.symbol: p.quantity for p in engine.positions()
    }
    assert portfolio.positions.cash == engine.account().cash
    assert [order.client_order_id for order in portfolio.tracker.orders() if order.broker_id] == [
        order.client_order_id for order in engine.orders("all", newest_first=False)
    ]
    assert not first.kernel.reconciliation.drift
    assert not portfolio.tracker.unknown_orders()
    assert summary(first.kernel) == summary(second.kernel)


def _odd(symbol: str, prices: list[int], volumes: list[int], gaps: list[int]) -> BarSeries:
    ends = (START + np.cumsum(gaps[: len(prices)]) * NS_PER_MINUTE).tolist()
    rows: list[Row] = [
        (row[0], row[1], row[2], row[3], float(volume))
        for row, volume in zip(closes(*map(float, prices)), volumes, strict=False)
    ]
    return make_series(symbol, rows, start=START, ends=ends)


def test_every_day_is_a_session_in_these_tests() -> None:
    """The helper's promise."""
    session = always_open(COIN).at(START)  # type: ignore[arg-type]  # any class
    assert (session.open, session.close) == (START, START + NS_PER_DAY)
