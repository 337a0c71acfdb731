"""Bars, quotes, days and sessions as the kernel takes them; and strategies that raise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model import Bar, Quote
from holdfast.model.commands import Command, RecordVerdict, SubmitOrder
from holdfast.model.decimals import Exact
from holdfast.model.errors import InvariantError, StrategyError
from holdfast.model.events import BarRevised, EpochStarted
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND
from holdfast.risk.protections import MaxDrawdown
from holdfast.strategies import Strategy
from tests.kernel.helpers import SPY, START, Bench, buy, make_kernel, sell


def test_a_bar_that_comes_again_or_late_is_ignored_and_counted() -> None:
    """Backfill and stream overlap; a strategy sees each minute once, in order."""
    bench = Bench()
    seen, counted = bench.strategy.bars, bench.kernel.bars
    for ts in (bench.now, bench.now - NS_PER_MINUTE):
        assert bench.show(Bar(ts, SPY, 1.0, 1.0, 1.0, 1.0, 1.0)) == []
    assert (bench.strategy.bars, bench.kernel.bars) == (seen, counted)
    assert bench.kernel.counters.duplicate_bars == 2
    assert bench.strategy.view(SPY).last_price == 100.0


def test_symbols_may_be_at_different_minutes() -> None:
    """Late is judged by symbol; the kernel's time is the latest of all and never goes back."""
    bench = Bench("SPY", "QQQ")
    bench.bar(symbol="SPY", after=600)
    now = bench.now
    bench.show(Bar(now - NS_PER_MINUTE, "QQQ", 50.0, 50.0, 50.0, 50.0, 1.0))
    assert bench.strategy.view("QQQ").last_price == 50.0
    assert bench.kernel.portfolio.now_ns == now
    assert bench.kernel.counters.duplicate_bars == 0


def test_a_quote_moves_the_price_and_is_shown() -> None:
    """The midpoint is the last price until the next trade."""
    bench = Bench()
    bench.wait(1)
    bench.show(Quote(bench.now, SPY, 101.0, 102.0))
    assert bench.strategy.view(SPY).last_price == 101.5
    assert bench.strategy.told == ["quote 101.0/102.0"]
    bench.bar(99.0)
    assert bench.strategy.view(SPY).last_price == 99.0


@pytest.mark.parametrize(
    ("bid", "ask"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (1.0, float("nan"))]
)
def test_a_quote_that_makes_no_sense_is_ignored(bid: float, ask: float) -> None:
    """Crossed, one-sided or not a number: no price to judge by."""
    bench = Bench()
    bench.wait(1)
    bench.show(Quote(bench.now, SPY, bid, ask))
    assert bench.strategy.view(SPY).last_price == 100.0
    assert bench.strategy.told == []


def test_a_quote_older_than_the_last_price_is_ignored() -> None:
    """Sockets are not in step."""
    bench = Bench()
    bench.show(Quote(bench.now - 1, SPY, 101.0, 102.0))
    assert bench.strategy.view(SPY).last_price == 100.0


def test_the_days_profit_starts_anew_at_midnight_utc() -> None:
    """A bar that ends at midnight is the old day's last; the next one is the new day's first."""
    bench = Bench()
    bench.hold(10)
    bench.now = (START // NS_PER_DAY + 1) * NS_PER_DAY
    bench.bar(110.0, after=0)
    assert bench.kernel.portfolio.day_pnl == pytest.approx(100.0)
    bench.bar(111.0)
    assert bench.kernel.portfolio.day_pnl == pytest.approx(0.0)
    bench.bar(112.0)
    assert bench.kernel.portfolio.day_pnl == pytest.approx(10.0)


def test_views_know_the_session_of_the_last_bar() -> None:
    """A bar that ends at the close still belongs to the session."""
    bench = Bench()
    day = START // NS_PER_DAY * NS_PER_DAY
    view = bench.strategy.view(SPY)
    assert (view.session_open, view.session_close) == (day, day + NS_PER_DAY)
    bench.now = day + NS_PER_DAY
    bench.bar(after=0)
    assert view.session_open == day
    bench.bar()
    assert view.session_open == day + NS_PER_DAY


def test_a_symbol_that_nobody_trades_is_followed_all_the_same() -> None:
    """Its price may be needed for a position that is reported; nobody is woken."""
    bench = Bench()
    seen = bench.strategy.bars
    bench.show(Bar(bench.now, "IWM", 200.0, 200.0, 200.0, 200.0, 1.0))
    assert bench.kernel.view("IWM").last_price == 200.0
    assert bench.strategy.bars == seen


# -- bars that a late trade changed --------------------------------------------------------------


def revised(bench: Bench, close: float, *, symbol: str = SPY, ts: int | None = None) -> BarRevised:
    """The news that the last bar of a symbol, or the one that ended at ``ts``, has another close."""
    ended = bench.kernel.portfolio.book(symbol).last_bar_at if ts is None else ts
    bench.now += NS_PER_SECOND
    return BarRevised(ts=bench.now, bar=Bar(ended, symbol, 100.0, max(100.0, close), min(100.0, close), close, 9.0))


def test_a_revised_bar_is_told_and_decides_nothing_by_itself() -> None:
    """Price, equity, count of bars and orders are as they were; time goes on."""
    bench = Bench()
    book, portfolio = bench.kernel.portfolio.book(SPY), bench.kernel.portfolio
    before = (book.last_price, book.last_price_at, book.last_bar_at, book.bars, portfolio.equity)
    assert bench.show(revised(bench, 90.0)) == []
    assert bench.strategy.told == ["revised 90.0"]
    assert (book.last_price, book.last_price_at, book.last_bar_at, book.bars, portfolio.equity) == before
    assert portfolio.now_ns == bench.now


def test_what_a_strategy_makes_of_it_goes_down_the_guarded_path() -> None:
    """An order like any other, with its verdict."""
    bench = Bench()
    bench.strategy.script[-bench.strategy.bars] = lambda s: s.buy(SPY, 10)
    commands = bench.show(revised(bench, 90.0))
    assert [type(command) for command in commands] == [RecordVerdict, SubmitOrder]
    assert bench.strategy.answer.approved


def test_a_revision_of_what_was_never_shown_is_not_told() -> None:
    """Nor one of a symbol that nobody trades."""
    bench = Bench()
    later = bench.kernel.portfolio.book(SPY).last_bar_at + NS_PER_MINUTE
    assert bench.show(revised(bench, 90.0, ts=later)) == []
    assert bench.show(revised(bench, 90.0, symbol="IWM", ts=later)) == []
    assert bench.strategy.told == []


# -- strategies that raise -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["on_bar", "on_bar_revised", "on_quote", "on_fill", "on_order"])
def test_a_strategy_that_raises_is_named_with_the_place(method: str) -> None:
    """One sentence: which strategy, what it was doing, file and line, and its own words."""
    bench = Bench()
    intent = bench.order(buy(10))

    def broken(*_arguments: object) -> None:
        message = "my bad"
        raise RuntimeError(message)

    setattr(bench.strategy, method, broken)
    cause: dict[str, Callable[[], object]] = {
        "on_bar": bench.bar,
        "on_bar_revised": lambda: bench.show(revised(bench, 90.0)),
        "on_quote": lambda: bench.show(Quote(bench.now, SPY, 99.0, 101.0)),
        "on_fill": lambda: bench.filled(intent, 10),
        "on_order": lambda: bench.accepted(intent),
    }
    with pytest.raises(StrategyError, match="my bad") as caught:
        cause[method]()
    sentence = str(caught.value)
    assert sentence.startswith(f"strategy Scripted raised RuntimeError in {method} (")
    assert "test_market_data.py:" in sentence
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_strategy_that_asks_for_nonsense_is_told_so() -> None:
    """Both sizes at once, or none: the sentence names the strategy and the symbol."""
    bench = Bench()
    with pytest.raises(StrategyError, match="give either quantity or notional for SPY; not both"):
        bench.act(lambda s: s.buy(SPY, 1, notional=100))
    bench = Bench()
    with pytest.raises(StrategyError, match="give either quantity or notional for SPY; there is none"):
        bench.act(lambda s: s.buy(SPY))


def test_a_kernel_belongs_to_one_journal() -> None:
    """An epoch of another journal is a bug of whoever drives it."""
    bench = Bench()
    with pytest.raises(InvariantError, match="another journal"):
        bench.show(EpochStarted(ts=bench.now, epoch=2, journal_id="other"))


def test_strategies_are_bound_before_anything_is_shown() -> None:
    """Views exist in ``on_start``; before that, asking is an error that says so."""

    class Eager(Strategy):
        def on_start(self) -> None:
            assert self.view(SPY).flat

    unbound = Eager([SPY])
    with pytest.raises(StrategyError, match="Eager is not running"):
        unbound.view(SPY)
    make_kernel([unbound])
    assert unbound.view(SPY).symbol == SPY


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.sampled_from([-60, 0, 60, 60, 60, 3_600, 86_400]), min_size=1, max_size=40),
    buys=st.sets(st.integers(1, 12)),
    held=st.sampled_from([0, 10, -10]),
)
def test_a_stretch_of_bars_is_its_bars_one_by_one(steps: list[int], buys: set[int], held: int) -> None:
    """P10: the same commands, prices, equity and counts, wherever a stretch ends and whatever is held."""
    one_by_one, stretched = (Bench(protections=[MaxDrawdown(max_drawdown=0.01)]) for _ in range(2))
    for bench in (one_by_one, stretched):
        for number in buys:
            bench.strategy.script[number] = buy(1)
        if held:
            order = bench.order(buy(10) if held > 0 else sell(10))
            bench.filled(order, 10)
    now, bars = one_by_one.now, []
    for number, step in enumerate(steps):
        now += step * NS_PER_SECOND
        close = 100.0 + number % 7 - 3
        bars.append(Bar(now, SPY, close, close, close, close, 1_000.0))

    expected = [one_by_one.kernel.handle(bar) for bar in bars]
    commands: list[Command] = []
    shown = 0
    with Exact():
        while shown < len(bars):
            stop = next((i for i in range(shown + 1, len(bars)) if bars[i].ts <= bars[i - 1].ts), len(bars))
            after, stopped = stretched.kernel.on_bars(bars, shown, stop)
            assert after > shown
            assert stopped == bool(expected[after - 1])
            shown = after
            commands.extend(stretched.kernel.take_commands())

    assert commands == [command for answer in expected for command in answer]
    for kernel in (one_by_one.kernel, stretched.kernel):
        kernel.protections.observe_equity(now, kernel.portfolio.equity)
    assert _facts(stretched) == _facts(one_by_one)


def _facts(bench: Bench) -> tuple[object, ...]:
    kernel, view = bench.kernel, bench.strategy.view(SPY)
    return (
        kernel.bars,
        kernel.counters.duplicate_bars,
        kernel.portfolio.now_ns,
        kernel.portfolio.equity,
        kernel.portfolio.day_start_equity,
        view.last_price,
        view.session_close,
        view.position_float,
        kernel.protections.check_all(symbol=SPY, now=bench.now),
        [protection.export_state() for protection in kernel.protections.protections],  # type: ignore[attr-defined]  # all of them watch the equity
    )
