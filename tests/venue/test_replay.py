"""The order of things in replayed time: the contract in the first lines of `holdfast.venue.market.replay`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model import Asset, AssetClass, Bar, BarSeries, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import DataError
from holdfast.time import FixedSessions
from holdfast.venue.market.replay import Market, Replay, Step
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.matching.orders import NewOrder, Refusal

MINUTE = 60 * 10**9
DAY = 86_400 * 10**9
BUY, SELL = OrderSide.BUY, OrderSide.SELL
ASSETS = {name: Asset(symbol=name, marginable=True, shortable=True) for name in ("A", "B", "C")}


def all_day(_: AssetClass) -> FixedSessions:
    """Sessions that never end before midnight."""
    return FixedSessions(0, DAY)


def make_series(
    symbol: str, ends: Sequence[int], *, period: int = 1, volume: float = 1e6, at: float = 100.0
) -> BarSeries:
    """Bars that end at these minutes; the price of a bar is ``at`` plus its number."""
    ts = np.array(ends, dtype=np.int64) * MINUTE
    price = at + np.arange(len(ts), dtype=np.float64)
    return BarSeries(
        symbol, period * MINUTE, ts, price, price + 0.5, price - 0.5, price + 0.25, np.full(len(ts), volume)
    )


def make_engine(sessions: Callable[[AssetClass], FixedSessions] = all_day) -> MatchingEngine:
    """A book over A, B and C with $100,000."""
    return MatchingEngine(ASSETS, settings=EngineSettings(), sessions=sessions)


def buy(symbol: str, *, limit: str | None = None, time_in_force: TimeInForce = TimeInForce.DAY) -> NewOrder:
    """Buy one share."""
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    return NewOrder(symbol, BUY, kind, time_in_force, Decimal(1), None if limit is None else Decimal(limit))


class Recorder:
    """A market that writes down what happens to it, in order; `orders` says which symbols have open orders."""

    def __init__(self, orders: Sequence[str] = (), expiries: Sequence[int] = ()) -> None:
        self.orders = list(orders)
        self.expiries = list(expiries)
        self.log: list[tuple[object, ...]] = []
        self.prices: dict[str, float] = {}

    @property
    def open_count(self) -> int:
        """Of both kinds."""
        return len(self.orders) + len(self.expiries)

    def set_periods(self, periods: Mapping[str, int]) -> None:
        """Nothing here depends on it."""

    def has_open(self, symbol: str) -> bool:
        """As said in the constructor."""
        return symbol in self.orders

    def open_bar(self, symbol: str, now: int, price: float, volume: float) -> None:
        """Noted."""
        self.log.append(("open", symbol, now // MINUTE, price))

    def close_bars(self, bars: Sequence[Bar], now: int) -> None:
        """Noted."""
        self.log.extend(("close", bar.symbol, now // MINUTE) for bar in bars)

    def next_expiry(self) -> int | None:
        """As said in the constructor."""
        return self.expiries[0] if self.expiries else None

    def expire_day_orders(self, now: int) -> None:
        """Noted, and forgotten."""
        while self.expiries and self.expiries[0] <= now:
            self.log.append(("expire", self.expiries.pop(0) // MINUTE))

    def end_session(self) -> None:
        """Noted."""
        self.log.append(("session",))


def run(replay: Replay) -> list[Step]:
    """All steps to the end."""
    steps = []
    while not replay.done:
        steps.append(replay.advance())
    return steps


def test_the_recorder_is_a_market_and_so_is_the_engine() -> None:
    """What stands for the engine in these tests has its shape."""
    markets: list[Market] = [Recorder(), make_engine()]
    assert [market.open_count for market in markets] == [0, 0]


def test_all_bars_of_a_moment_end_in_one_step_by_symbol() -> None:
    """Whatever the order in which the series are given; and the symbols do not need the same minutes."""
    market = Recorder()
    series = {"C": make_series("C", [1, 2]), "A": make_series("A", [1, 3]), "B": make_series("B", [2, 3])}
    steps = run(Replay(market, series, all_day))
    assert [(step.now // MINUTE, [bar.symbol for bar in step.bars], step.kind) for step in steps] == [
        (1, ["A", "C"], "close"),
        (2, ["B", "C"], "close"),
        (3, ["A", "B"], "close"),
    ]
    assert market.log == [("close", s, t) for s, t in (("A", 1), ("C", 1), ("B", 2), ("C", 2), ("A", 3), ("B", 3))]
    assert steps[2].bars[0] == Bar(3 * MINUTE, "A", 101.0, 101.5, 100.5, 101.25, 1e6)


def test_bars_open_after_the_bars_of_that_moment_have_closed_one_step_each_by_symbol() -> None:
    """Only for symbols with open orders, and by begin before symbol, whatever the periods."""
    market = Recorder(orders=["A", "B"])
    series = {
        "A": make_series("A", [1, 2, 3]),
        "B": make_series("B", [1, 2, 3]),
        "C": make_series("C", [1, 2, 3]),
    }
    steps = run(Replay(market, series, all_day))
    expected: list[tuple[object, ...]] = []
    for minute in (0, 1, 2):
        expected += [("open", "A", minute, 100.0 + minute), ("open", "B", minute, 100.0 + minute)]
        expected += [("close", symbol, minute + 1) for symbol in "ABC"]
    assert market.log == expected
    assert [step.kind for step in steps[:3]] == ["open", "open", "close"]
    assert steps[0].bars == ()

    market = Recorder(orders=["A", "B"])
    run(Replay(market, {"A": make_series("A", [2, 4], period=2), "B": make_series("B", [1, 2, 3])}, all_day))
    assert [entry[:3] for entry in market.log] == [
        ("open", "A", 0),
        ("open", "B", 0),
        ("close", "B", 1),
        ("open", "B", 1),
        ("close", "A", 2),
        ("close", "B", 2),
        ("open", "A", 2),
        ("open", "B", 2),
        ("close", "B", 3),
        ("close", "A", 4),
    ]


def test_it_starts_when_the_first_bar_begins_and_is_done_when_the_last_one_has_ended() -> None:
    """Before that nothing has happened; after that nothing does, whatever is open."""
    replay = Replay(make_engine(), {"A": make_series("A", [5, 6])}, all_day)
    assert (replay.now, replay.next_at(), replay.done) == (4 * MINUTE, 5 * MINUTE, False)
    run(replay)
    assert (replay.now, replay.next_at(), replay.done) == (6 * MINUTE, None, True)
    assert replay.advance() == Step(6 * MINUTE, (), "limit")
    assert replay.advance(9 * MINUTE) == Step(9 * MINUTE, (), "limit")
    assert replay.advance(8 * MINUTE).now == 9 * MINUTE


def test_a_limit_comes_before_everything_of_its_moment() -> None:
    """At T the caller is asked first; what it then submits meets the opening of T."""
    engine = make_engine()
    engine.prices["A"] = 100.0
    replay = Replay(engine, {"A": make_series("A", [1, 2])}, all_day)
    assert replay.advance(MINUTE) == Step(MINUTE, (), "limit")
    assert engine.prices["A"] == 100.0
    assert replay.advance(MINUTE + 1).kind == "close"

    replay = Replay(engine, {"A": make_series("A", [1, 3])}, all_day)
    replay.advance()
    replay.advance(2 * MINUTE)
    placed = engine.submit(buy("A"), replay.now)
    assert replay.next_at() == 2 * MINUTE
    assert replay.advance(2 * MINUTE).kind == "limit"  # a limit that has been reached does not move on by itself
    assert replay.advance() == Step(2 * MINUTE, (), "open")
    assert placed.filled_avg_price == 101


def test_what_comes_during_a_bar_has_missed_its_opening() -> None:
    """The order of 00:01:30 meets the close of that bar, not its open."""
    engine = make_engine()
    replay = Replay(engine, {"A": make_series("A", [1, 2, 3])}, all_day)
    replay.advance()
    replay.advance(MINUTE + MINUTE // 2)
    placed = engine.submit(buy("A"), replay.now)
    step = replay.advance()
    assert (step.kind, step.now) == ("close", 2 * MINUTE)
    assert (placed.filled_avg_price, placed.filled_at) == (Decimal("101.25"), 2 * MINUTE)


def test_an_order_meets_the_later_openings_of_its_moment_and_not_the_earlier_ones() -> None:
    """A fill at B's opening causes orders in A (over) and C (to come) at the same moment."""
    engine = make_engine()
    series = {name: make_series(name, [1, 2, 3]) for name in "ABC"}
    replay = Replay(engine, series, all_day)
    replay.advance()
    engine.submit(buy("B"), replay.now)
    assert replay.advance().kind == "open"
    in_a, in_c = engine.submit(buy("A"), replay.now), engine.submit(buy("C"), replay.now)
    assert replay.advance() == Step(MINUTE, (), "open")
    assert (in_a.is_open, in_c.filled_avg_price, in_c.filled_at) == (True, Decimal(101), MINUTE)
    assert replay.advance().kind == "close"
    assert in_a.filled_avg_price == Decimal("101.25")


def test_a_market_order_after_a_bar_fills_at_the_next_open_across_a_gap() -> None:
    """Overnight, or where minutes are missing."""
    engine = make_engine()
    replay = Replay(engine, {"A": make_series("A", [1, 100])}, all_day)
    replay.advance()
    placed = engine.submit(buy("A"), replay.now)
    assert replay.advance() == Step(99 * MINUTE, (), "open")
    assert placed.filled_avg_price == 101


def test_day_orders_expire_after_the_bar_that_ends_at_the_close() -> None:
    """It may still fill in that bar; and the session's end is noted after it."""
    sessions = FixedSessions(0, 3 * MINUTE)
    engine = make_engine(lambda _: sessions)
    replay = Replay(engine, {"A": make_series("A", [1, 2, 3, 1441])}, lambda _: sessions)
    replay.advance()
    fills = engine.submit(buy("A", limit="101.75"), replay.now)
    expires = engine.submit(buy("A", limit="50"), replay.now)
    while replay.now < 3 * MINUTE:
        step = replay.advance()
    assert (step.kind, step.now) == ("close", 3 * MINUTE)
    assert (fills.filled_at, expires.expired_at) == (MINUTE, 3 * MINUTE)
    assert engine.account().last_equity == engine.account().equity != 100_000


def test_day_orders_expire_at_the_close_without_a_bar_too() -> None:
    """A gap in the data at the close is a step of its own, before the next opening."""
    sessions = FixedSessions(0, 10 * MINUTE)
    engine = make_engine(lambda _: sessions)
    replay = Replay(engine, {"A": make_series("A", [1, 2, 1441])}, lambda _: sessions)
    replay.advance()
    placed = engine.submit(buy("A", limit="50"), replay.now)
    kinds = [(step.kind, step.now // MINUTE) for step in run(replay)]
    assert kinds == [("open", 1), ("close", 2), ("expiry", 10), ("close", 1441)]
    assert placed.expired_at == 10 * MINUTE


def test_expiry_comes_before_the_opening_of_the_same_moment() -> None:
    """What was good until T has nothing to do with the bar that begins at T."""
    market = Recorder(orders=["A"], expiries=[2 * MINUTE])
    run(Replay(market, {"A": make_series("A", [1, 2, 3])}, all_day))
    at_two = [entry[0] for entry in market.log[3:6]]
    assert at_two == ["close", "expire", "open"]


def test_the_session_ends_once_a_day_at_the_prices_of_then() -> None:
    """Also where the data jump over the close, and however many days they jump."""
    sessions = FixedSessions(0, 10 * MINUTE)
    market = Recorder()
    series = {"A": make_series("A", [9, 10, 1440 + 5, 5 * 1440 + 5, 5 * 1440 + 10])}
    run(Replay(market, series, lambda _: sessions))
    assert [entry[0] for entry in market.log] == [
        "close",
        "close",
        "session",  # at 10, after the bar
        "close",
        "session",  # at 1440 + 10, which no bar reached: noted when the data go on
        "close",
        "close",
        "session",
    ]


def test_a_bar_without_volume_is_visible_and_fills_nothing() -> None:
    """Nobody traded in that minute."""
    engine = make_engine()
    replay = Replay(engine, {"A": make_series("A", [1, 2, 3], volume=0.0)}, all_day)
    replay.advance()
    placed = engine.submit(buy("A"), replay.now)
    bars = [bar for step in run(replay) for bar in step.bars]
    assert (len(bars), placed.filled_qty) == (2, Decimal(0))


def test_many_bars_are_the_same_in_whatever_chunks_they_are_made() -> None:
    """The steps over three long series are those of the plain merge."""
    series = {
        "A": make_series("A", range(1, 9000)),
        "B": make_series("B", range(2, 18_000, 2)),
        "C": make_series("C", [5, 8191, 8192, 8193, 30_000]),
    }
    expected: dict[int, list[Bar]] = {}
    for name in sorted(series):
        for bar in series[name].bars():
            expected.setdefault(bar.ts, []).append(bar)
    steps = run(Replay(Recorder(), series, all_day))
    assert [(step.now, list(step.bars)) for step in steps] == sorted(expected.items())


@pytest.mark.parametrize(
    ("series", "position", "words"),
    [
        ({}, None, "there are no bars to replay"),
        ({"A": make_series("A", [])}, None, "there are no bars to replay"),
        ({"A": make_series("B", [1])}, None, "the bars filed under A are those of B"),
        ({"A": make_series("A", [1])}, (0, 2, 0, 0), "does not belong to these 1 bars"),
    ],
)
def test_what_cannot_be_replayed(series: dict[str, BarSeries], position: Sequence[int] | None, words: str) -> None:
    """One clear error."""
    with pytest.raises(DataError, match=words):
        Replay(Recorder(), series, all_day, position=position)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from("ABC"), st.sets(st.integers(1, 60), min_size=1).map(sorted), min_size=1),
    st.sets(st.integers(0, 80)),
)
def test_coasting_shows_what_advancing_shows(ends: dict[str, list[int]], answered: set[int]) -> None:
    """The same bars, prices, session ends and place, however often a bar is answered and the coasting interrupted."""
    series = {name: make_series(name, at) for name, at in ends.items()}
    sessions = FixedSessions(0, 13 * MINUTE)
    quick, slow = make_engine(lambda _: sessions), make_engine(lambda _: sessions)
    coasting, advancing = (Replay(engine, series, lambda _: sessions) for engine in (quick, slow))
    shown: list[Bar] = []
    expected: list[Bar] = []

    def show(bars: Sequence[Bar], start: int, stop: int) -> tuple[int, bool]:
        for index in range(start, stop):
            shown.append(bars[index])
            if len(shown) in answered:
                return index + 1, True
        return stop, False

    while not coasting.done:
        before = len(shown)
        interrupted = coasting.coast(show)
        assert interrupted == (len(shown) > before and len(shown) in answered)
        assert not answered.intersection(range(before + 1, len(shown)))
        if not interrupted and not coasting.done:
            shown.extend(coasting.advance().bars)
        while len(expected) < len(shown):
            expected.extend(advancing.advance().bars)
        assert (shown, quick.prices, coasting.position) == (expected, slow.prices, advancing.position)
        assert not quick.dump()["books"]
    assert quick.dump() == slow.dump()
    assert advancing.done


@settings(max_examples=100, deadline=None)
@given(
    st.sets(st.integers(1, 60), min_size=1).map(sorted),
    st.dictionaries(
        st.integers(1, 40),
        st.tuples(
            st.sampled_from([BUY, SELL]),
            st.sampled_from([TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC]),
            st.none() | st.integers(95, 125),
        ),
    ),
)
def test_an_opening_at_once_is_the_next_step(
    ends: list[int], orders: dict[int, tuple[OrderSide, TimeInForce, int | None]]
) -> None:
    """Whoever coasts, sends an order and has the opening at once is where one is who only advances."""
    sessions = FixedSessions(0, 13 * MINUTE)
    quick, slow = make_engine(lambda _: sessions), make_engine(lambda _: sessions)
    coasting, advancing = (
        Replay(engine, {"A": make_series("A", ends)}, lambda _: sessions) for engine in (quick, slow)
    )

    def show(_bars: Sequence[Bar], start: int, stop: int) -> tuple[int, bool]:
        closed = coasting.position[1]
        for index in range(start, stop):
            if closed + index - start + 1 in orders:
                return index + 1, True
        return stop, False

    while not coasting.done:
        stopped = not quick.open_count and coasting.coast(show)
        while advancing.position[1] < coasting.position[1]:
            advancing.advance()
        if not stopped:
            assert coasting.advance() == advancing.advance()
            continue
        side, time_in_force, limit = orders[coasting.position[1]]
        kind, price = (OrderType.MARKET, None) if limit is None else (OrderType.LIMIT, Decimal(limit))
        for engine in (quick, slow):
            engine.submit(NewOrder("A", side, kind, time_in_force, Decimal(3), price), coasting.now)
        upcoming = advancing.next_at()
        if coasting.open_at_once():
            assert advancing.advance() == Step(coasting.now, (), "open")
        else:
            assert upcoming is None or upcoming > coasting.now
        assert (coasting.position, quick.dump()) == (advancing.position, slow.dump())
    assert list(map(str, quick.activities())) == list(map(str, slow.activities()))


# ---------------------------------------------------------------------- resuming


Action = tuple[str, OrderSide, TimeInForce, int | None, int]
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from("ABC"),
        st.sampled_from([BUY, SELL]),
        st.sampled_from([TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC]),
        st.none() | st.integers(95, 125),
        st.integers(1, 6),
    ),
    max_size=2,
)
ENDS = st.sets(st.integers(1, 25), min_size=1, max_size=12).map(sorted)
PLANS = st.lists(st.tuples(ACTIONS, st.none() | st.integers(0, 26 * 4)), min_size=1, max_size=30)


class Session:
    """A replay whose caller follows a plan: at step n it acts, and sets this limit (in quarters of a minute)."""

    def __init__(self, series: dict[str, BarSeries]) -> None:
        self.series = series
        self.sessions = FixedSessions(0, 13 * MINUTE)
        self.engine = make_engine(lambda _: self.sessions)
        self.replay = Replay(self.engine, series, lambda _: self.sessions)
        self.log: list[str] = []

    def restart(self) -> None:
        """Everything but the series and two JSON texts is lost."""
        state, position = json.dumps(self.engine.dump()), json.dumps(self.replay.position)
        self.engine = make_engine(lambda _: self.sessions)
        self.engine.load(json.loads(state))
        self.replay = Replay(self.engine, self.series, lambda _: self.sessions, position=json.loads(position))
        assert json.dumps(self.replay.position) == position

    def step(self, number: int, actions: list[Action], limit: int | None) -> Step:
        """Act, then advance, and log everything that can be seen."""
        for which, (symbol, side, time_in_force, price, quantity) in enumerate(actions):
            kind = OrderType.MARKET if price is None else OrderType.LIMIT
            limit_price = None if price is None else Decimal(price)
            new = NewOrder(symbol, side, kind, time_in_force, Decimal(quantity), limit_price, f"{number}-{which}")
            try:
                self.engine.submit(new, self.replay.now)
            except Refusal as refusal:
                self.log.append(refusal.message)
        self.log.append(f"next {self.replay.next_at()} done {self.replay.done}")
        step = self.replay.advance(None if limit is None else limit * MINUTE // 4)
        self.log.append(str(step))
        self.log.extend(str((e.kind, e.at, e.snapshot(), e.execution)) for e in self.engine.take_events())
        return step


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from("ABC"), ENDS, min_size=1), st.sampled_from([1, 2]), PLANS, st.integers(0, 29))
def test_resumed_at_any_place_it_goes_on_as_if_it_had_never_stopped(
    ends: dict[str, list[int]],
    period: int,
    plan: list[tuple[list[Action], int | None]],
    cut: int,
) -> None:
    """The same steps, events and accounts, whether or not everything was lost and reloaded in between."""
    series = {
        name: make_series(name, at, period=1 if name == "A" else period, volume=40.0) for name, at in ends.items()
    }
    whole, broken = Session(series), Session(series)
    for number, (actions, limit) in enumerate(plan):
        whole.step(number, actions, limit)
        if number == cut:
            broken.restart()
        broken.step(number, actions, limit)
    assert broken.log == whole.log
    assert broken.engine.dump() == whole.engine.dump()
    assert broken.engine.account() == whole.engine.account()
    assert broken.replay.position == whole.replay.position


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from("ABC"), ENDS, min_size=1), st.sampled_from([1, 2, 3]), PLANS)
def test_time_never_goes_back_and_every_bar_comes_once(
    ends: dict[str, list[int]],
    period: int,
    plan: list[tuple[list[Action], int | None]],
) -> None:
    """Whatever is submitted and whatever limits are set; and `next_at` tells the truth about the next step."""
    series = {name: make_series(name, at, period=1 if name == "A" else period) for name, at in ends.items()}
    session = Session(series)
    seen: list[Bar] = []
    number = 0
    while not session.replay.done:
        actions, limit = plan[number] if number < len(plan) else ([], None)
        before = session.replay.now
        first = session.step(number, actions, limit)
        due = session.replay.next_at()
        second = session.replay.advance()
        assert before <= first.now <= second.now == (first.now if due is None else due)
        for step in (first, second):
            assert step.kind == "close" or step.bars == ()
            seen.extend(step.bars)
        number += 1
    assert seen == sorted(
        (bar for each in series.values() for bar in each.bars()), key=lambda bar: (bar.ts, bar.symbol)
    )


def test_an_order_before_the_first_bar_has_ended_is_valued_at_its_open() -> None:
    """And fills there: the bar's first trade is still to come."""
    engine = make_engine()
    series = {"A": make_series("A", [1, 2])}
    replay = Replay(engine, series, all_day)
    order = engine.submit(buy("A"), replay.now)
    replay.advance()
    assert (order.status, order.filled_avg_price) == (OrderStatus.FILLED, Decimal(repr(float(series["A"].open[0]))))


def test_what_begins_to_trade_later_has_no_price_before() -> None:
    """Nobody can know it; and a price that the market has already stays, as does that of a replay which goes on."""
    engine = make_engine()
    engine.prices["C"] = 7.0
    series = {"A": make_series("A", [1, 2]), "B": make_series("B", [2]), "C": make_series("C", [1])}
    replay = Replay(engine, series, all_day)
    assert engine.prices == {"A": float(series["A"].open[0]), "C": 7.0}
    with pytest.raises(Refusal, match="no trade in B yet"):
        engine.submit(buy("B"), replay.now)
    later = make_engine()
    going_on = Replay(later, series, all_day, position=replay.position)
    assert later.prices == {}
    going_on.advance()
    assert later.prices["B"] == float(series["B"].open[0])


def test_what_begins_to_trade_later_has_a_price_from_its_first_opening_on() -> None:
    """Whoever reacts at that moment can order it at the market, and gets that first trade; a price moved before counts."""
    engine = make_engine()
    series = {"A": make_series("A", [1, 2, 3]), "B": make_series("B", [3])}
    replay = Replay(engine, series, all_day)
    replay.advance()
    assert "B" not in engine.prices
    moved = make_series("B", [3], at=50.0)
    replay.revise(moved)
    replay.advance()
    assert engine.prices["B"] == float(moved.open[0])
    order = engine.submit(buy("B"), replay.now)
    step = replay.advance()
    assert (step.kind, order.status) == ("open", OrderStatus.FILLED)
    assert order.filled_avg_price == Decimal(repr(float(moved.open[0])))
