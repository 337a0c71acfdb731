"""Random order flows over random bars: the engine agrees with the oracle, and its books always add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.model import Asset, AssetClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.time import FixedSessions
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.matching.orders import NewOrder, Refusal, VenueOrder
from tests.venue.oracle import Oracle

MINUTE = 60 * 10**9
DAY = 86_400 * 10**9
BUY, SELL = OrderSide.BUY, OrderSide.SELL

ASSETS = {
    "AAA": Asset(symbol="AAA", marginable=True, shortable=True, fractionable=True),
    "BBB": Asset(symbol="BBB", marginable=False, shortable=True, fractionable=False),
    "BTC/USD": Asset(symbol="BTC/USD", asset_class=AssetClass.CRYPTO, price_increment="0.01"),
}
# The middle of each symbol's prices, and its smallest step, as a divisor.
MIDDLE = {"AAA": (10_000, 100), "BBB": (10_000, 10_000), "BTC/USD": (3_000_000, 100)}
CASH = 100_000


@dataclass(frozen=True)
class Submit:
    """Submit an order; `offset` is the limit's distance from the middle, in per mille."""

    symbol: str
    side: OrderSide
    time_in_force: TimeInForce
    quantity: Decimal
    offset: int | None


@dataclass(frozen=True)
class Cancel:
    """Cancel the order of this number, if there is one."""

    number: int


@dataclass(frozen=True)
class Minute:
    """One minute of one symbol, with what is done before it begins and while it runs."""

    symbol: str
    path: tuple[int, int, int, int]  # per mille from the middle
    volume: float
    before: tuple[Submit | Cancel, ...]
    during: tuple[Submit | Cancel, ...]

    def prices(self) -> tuple[float, float, float, float]:
        """Open, high, low and close."""
        middle, divisor = MIDDLE[self.symbol]
        first, last, up, down = (round(middle * (1000 + part) / 1000) / divisor for part in self.path)
        return first, max(first, last, up, down), min(first, last, up, down), last


@dataclass(frozen=True)
class Flow:
    """A whole run."""

    participation: Decimal | None
    spread_bps: float
    minutes: tuple[Minute, ...]


QUANTITIES = {
    "AAA": ["1", "7", "100", "2.5", "0.333333333", "900"],
    "BBB": ["1", "30", "5000", "60000"],
    "BTC/USD": ["0.001", "0.5", "0.123456789", "1.7", "4"],
}


@st.composite
def submits(draw: st.DrawFn, symbol: str) -> Submit:
    """Orders that are well-formed, most of them."""
    quantity = Decimal(draw(st.sampled_from(QUANTITIES[symbol])))
    choices = (
        [TimeInForce.GTC, TimeInForce.IOC]
        if symbol == "BTC/USD"
        else [TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC]
    )
    return Submit(
        symbol,
        draw(st.sampled_from([BUY, SELL])),
        TimeInForce.DAY if quantity % 1 and symbol == "AAA" else draw(st.sampled_from(choices)),
        quantity,
        draw(st.none() | st.integers(-12, 12)),
    )


@st.composite
def minutes(draw: st.DrawFn, symbols: tuple[str, ...] = tuple(ASSETS)) -> Minute:
    """A minute of some symbol with a few actions around it."""
    symbol = draw(st.sampled_from(symbols))
    actions = st.lists(submits(symbol) | st.builds(Cancel, st.integers(0, 8)), max_size=3)
    # Coins also leave the collar of a market order.
    part = st.integers(-10, 10) if symbol != "BTC/USD" else st.integers(-10, 10) | st.integers(-30, 30)
    return Minute(
        symbol,
        draw(st.tuples(part, part, part, part)),
        draw(st.sampled_from([0.0, 1.0, 4.0, 17.5, 300.0, 12345.0, 10.0**6])),
        tuple(draw(actions)),
        tuple(draw(actions)),
    )


FLOWS = st.builds(
    Flow,
    st.sampled_from([Decimal("0.1"), Decimal("0.1"), Decimal(1), None]),
    st.sampled_from([0.0, 0.0, 5.0, 3.7]),
    st.lists(minutes(), min_size=1, max_size=12).map(tuple),
)
# One coin and a wide spread of prices, so that market orders often rest at their collar.
COIN_FLOWS = st.builds(
    Flow,
    st.sampled_from([Decimal("0.1"), Decimal(1)]),
    st.sampled_from([0.0, 5.0]),
    st.lists(minutes(symbols=("BTC/USD",)), min_size=2, max_size=8).map(tuple),
)


def make_engine(flow: Flow, kind: type[MatchingEngine] = MatchingEngine) -> MatchingEngine:
    """The engine of a flow."""
    chosen = EngineSettings(participation=flow.participation, spread_bps=flow.spread_bps, namespace=7)
    return kind(ASSETS, cash=Decimal(CASH), settings=chosen, sessions=lambda _: FixedSessions(0, DAY))


def to_new_order(submit: Submit, number: int) -> NewOrder:
    """The request, with the name that both sides know it by."""
    middle, divisor = MIDDLE[submit.symbol]
    limit_price = None
    if submit.offset is not None:
        limit_price = Decimal(round(middle * (1000 + submit.offset) / 1000)) / divisor
    return NewOrder(
        submit.symbol,
        submit.side,
        OrderType.MARKET if limit_price is None else OrderType.LIMIT,
        submit.time_in_force,
        submit.quantity,
        limit_price,
        f"c{number}",
    )


@dataclass
class Run:
    """An engine and an oracle side by side, compared after every step."""

    engine: MatchingEngine
    oracle: Oracle
    ranges: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)
    values: dict[str, Fraction] = field(default_factory=dict)
    attempts: int = 0
    executions_seen: int = 0

    def act(self, action: Submit | Cancel, now: int) -> None:
        """Do it on both sides; the oracle also has its word on whether an order can be paid."""
        if isinstance(action, Cancel):
            order = self.engine.by_client_id(f"c{action.number}")
            if order is not None and order.is_open:
                self.engine.cancel(order.id, now)
                self.oracle.cancel(order.client_order_id)
        else:
            new = to_new_order(action, self.attempts)
            self.attempts += 1
            held = self.oracle.position(new.symbol)
            opens = held >= 0 if new.side is BUY else held <= 0 and new.symbol != "BTC/USD"
            affordable, value = self.oracle.may_open(new, self.engine.prices, self.values)
            try:
                order = self.engine.submit(new, now)
            except Refusal as refusal:
                if refusal.message == "insufficient buying power":
                    assert opens
                    assert not affordable
            else:
                assert affordable or not opens
                self.values[order.client_order_id] = value if opens else Fraction(0)
                self.oracle.submit(order.client_order_id, new, self.engine.prices.get(new.symbol, 0.0))
        self.compare()

    def minute(self, minute: Minute, now: int) -> None:
        """One minute on both sides."""
        first, high, low, last = minute.prices()
        for action in minute.before:
            self.act(action, now)
        self.engine.open_bar(minute.symbol, now, first, minute.volume)
        self.oracle.begin(minute.symbol, first, minute.volume)
        self.compare_fills(minute, first, first)
        for action in minute.during:
            self.act(action, now + MINUTE // 2)
        self.engine.close_bar(minute.symbol, now + MINUTE, first, high, low, last, minute.volume)
        self.oracle.end(minute.symbol, (first, high, low, last), minute.volume)
        self.compare_fills(minute, low, high)

    def compare_fills(self, minute: Minute, low: float, high: float) -> None:
        """No fill lies outside the traded range widened by half the spread (and a tick), nor beyond its limit."""
        half = self.oracle.half
        tick = Fraction(1, 100)
        taken = Fraction(0)
        for execution in self.engine.activities(self.executions_seen):
            price = Fraction(execution.price)
            assert Fraction(str(low)) * (1 - half) - tick <= price <= Fraction(str(high)) * (1 + half) + tick
            order = self.engine.order(execution.order_id)
            assert order is not None
            if order.limit_price is not None:
                beyond = execution.price - order.limit_price
                assert beyond <= 0 if order.side is BUY else beyond >= 0
            taken += Fraction(execution.quantity)
        if self.oracle.participation is not None:
            assert taken <= self.oracle.participation * Fraction(str(minute.volume))
        self.executions_seen = len(self.engine.activities())
        self.compare()

    def compare(self) -> None:
        """Executions and orders are those of the oracle and agree with each other."""
        executions = self.engine.activities()
        got = [
            (e.client_order_id, *map(Fraction, (e.quantity, e.price, e.position_qty, e.fee_coin, e.fee_cash)))
            for e in executions
        ]
        assert got == [(f.name, f.quantity, f.price, f.position, f.fee_coin, f.fee_cash) for f in self.oracle.fills]
        orders = self.engine.orders("all", newest_first=False)
        assert [(o.client_order_id, str(o.status)) for o in orders] == [(o.name, o.state) for o in self.oracle.orders]
        for order in orders:
            mine = [e for e in executions if e.order_id == order.id]
            assert order.filled_qty == sum(e.quantity for e in mine)
            assert order.filled_cost == sum(e.quantity * e.price for e in mine)
            if mine:
                assert order.filled_avg_price is not None
                assert abs(order.filled_avg_price * order.filled_qty - order.filled_cost) <= order.filled_qty * Decimal(
                    "0.5e-9"
                )
        assert self.engine.open_count == len(self.engine.orders("open"))
        self.compare_account()

    def compare_account(self) -> None:
        """Cash, positions and worth are those of the oracle, and add up."""
        account = self.engine.account()
        assert account.equity == account.cash + account.long_market_value + account.short_market_value
        assert Fraction(account.cash) == self.oracle.cash()
        held = {view.symbol: view for view in self.engine.positions()}
        for symbol in ASSETS:
            position = self.oracle.position(symbol)
            assert Fraction(held[symbol].quantity if symbol in held else 0) == position
            if symbol in held:
                assert 0 <= held[symbol].quantity_available <= abs(held[symbol].quantity)
                assert symbol != "BTC/USD" or position > 0
        equity, free = self.oracle.worth(self.engine.prices)
        assert Fraction(account.equity) == equity
        margin, _ = self.oracle.reserved(self.values)
        assert Fraction(account.buying_power) == 2 * max(free - margin, Fraction(0))


def check(flow: Flow, kind: type[MatchingEngine] = MatchingEngine) -> None:
    """Run a flow on an engine and the oracle."""
    share = None if flow.participation is None else Fraction(flow.participation)
    run = Run(make_engine(flow, kind), Oracle(ASSETS, CASH, share, flow.spread_bps, 15, 25))
    for number, minute in enumerate(flow.minutes):
        run.minute(minute, (number + 1) * MINUTE)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FLOWS)
def test_the_engine_agrees_with_the_oracle(flow: Flow) -> None:
    """Every fill, every state, the cash and the positions are those of the slow matcher, after every step."""
    check(flow)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(COIN_FLOWS)
def test_the_engine_agrees_with_the_oracle_about_a_coin_that_jumps(flow: Flow) -> None:
    """The same where market orders rest at their collar."""
    check(flow)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FLOWS, st.integers(0, 40))
def test_a_dump_continues_as_if_nothing_had_happened(flow: Flow, cut: int) -> None:
    """At any moment the state goes through JSON into a new engine, which does what the old one would have done."""
    expected: list[str] = []
    actual: list[str] = []
    for moved in (False, True):
        log = actual if moved else expected
        run = Run(make_engine(flow), Oracle(ASSETS, CASH, None, 0.0, 15, 25))
        moments = 0

        def between(run: Run = run, log: list[str] = log, moved: bool = moved) -> None:
            nonlocal moments
            moments += 1
            log.extend(str((e.kind, e.at, e.snapshot(), e.execution)) for e in run.engine.take_events())
            if moved and moments == cut + 1:
                state = json.loads(json.dumps(run.engine.dump()))
                run.engine = make_engine(flow)
                run.engine.load(state)
                assert run.engine.dump() == state

        for number, minute in enumerate(flow.minutes):
            _drive(run, minute, (number + 1) * MINUTE, between)
        between()
        log.append(json.dumps(run.engine.dump()))
        log.append(str(run.engine.account()))
    assert actual == expected


def _drive(run: Run, minute: Minute, now: int, between: Callable[[], None]) -> None:
    """A minute on the engine alone."""
    first, high, low, last = minute.prices()
    _do(run, minute.before, now)
    between()
    run.engine.open_bar(minute.symbol, now, first, minute.volume)
    between()
    _do(run, minute.during, now + MINUTE // 2)
    between()
    run.engine.close_bar(minute.symbol, now + MINUTE, first, high, low, last, minute.volume)
    between()


def _do(run: Run, actions: tuple[Submit | Cancel, ...], now: int) -> None:
    for action in actions:
        if isinstance(action, Submit):
            new = to_new_order(action, run.attempts)
            run.attempts += 1
            try:
                run.engine.submit(new, now)
            except Refusal:
                continue
        elif (order := run.engine.by_client_id(f"c{action.number}")) and order.is_open:
            run.engine.cancel(order.id, now)


class IgnoresParticipation(MatchingEngine):
    """Broken: takes any amount."""

    def _budget(self, book: object, volume: float) -> Decimal | None:
        return None


class FillsBeyondTheLimit(MatchingEngine):
    """Broken: a limit order gets a cent worse than its limit."""

    def _fill(self, instrument: object, order: VenueOrder, quantity: Decimal, price: Decimal, now: int) -> None:
        if order.limit_price is not None:
            price = order.limit_price + Decimal("0.01") * order.side.sign
        super()._fill(instrument, order, quantity, price, now)  # type: ignore[arg-type]  # handed through


class ForgetsTheCollar(MatchingEngine):
    """Broken: a market order in crypto pays whatever is asked."""

    def submit(self, new: NewOrder, now: int) -> VenueOrder:
        """An order without a bound of its own."""
        order = super().submit(new, now)
        order.bound = order.limit_price
        return order


class WaitsForTheClose(MatchingEngine):
    """Broken: a collared order that rests does not see a bar that came by its collar and went on."""

    def close_bar(
        self, symbol: str, now: int, open_: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """The rest of a bar, in which orders at the market see the close alone."""
        for order in self.orders():
            order.rested = order.rested and order.order_type is not OrderType.MARKET
        super().close_bar(symbol, now, open_, high, low, close, volume)


class ForgetsTheFee(MatchingEngine):
    """Broken: crypto is free."""

    def _fee(self, order: VenueOrder, amount: Decimal) -> Decimal:
        return Decimal(0)


class SeesThePastOfABar(MatchingEngine):
    """Broken: an order that came while the bar was running meets the prices from before it came."""

    def close_bar(
        self, symbol: str, now: int, open_: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """The rest of a bar, with every order taken for one that was there from its beginning."""
        for order in self.orders():
            order.rested = True
        super().close_bar(symbol, now, open_, high, low, close, volume)


class LosesAnExecution(MatchingEngine):
    """Broken: small fills are not booked to the order."""

    small: ClassVar[Decimal] = Decimal(2)

    def _fill(self, instrument: object, order: VenueOrder, quantity: Decimal, price: Decimal, now: int) -> None:
        super()._fill(instrument, order, quantity, price, now)  # type: ignore[arg-type]  # handed through
        if quantity < self.small and order.status is OrderStatus.PARTIALLY_FILLED:
            order.filled_qty -= quantity


@pytest.mark.parametrize(
    "broken",
    [
        IgnoresParticipation,
        FillsBeyondTheLimit,
        ForgetsTheCollar,
        WaitsForTheClose,
        ForgetsTheFee,
        SeesThePastOfABar,
        LosesAnExecution,
    ],
)
def test_a_broken_engine_is_caught(broken: type[MatchingEngine]) -> None:
    """Canary: the comparison is worth something, since it finds each of these."""

    @settings(
        max_examples=500,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(COIN_FLOWS if broken in (ForgetsTheCollar, WaitsForTheClose) else FLOWS)
    def compare(flow: Flow) -> None:
        check(flow, broken)

    with pytest.raises(AssertionError):
        compare()
