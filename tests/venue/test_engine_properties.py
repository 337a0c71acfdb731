"""Whatever is asked of the engine, in bars and on quotes: money adds up, nothing is sold twice, and a dump goes on."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.model import Asset, AssetClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.enums import OrderClass
from holdfast.time import FixedSessions
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.matching.forms import AUCTIONS, is_plainly_good, refusal_of
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import Exits, NewOrder, Refusal, Terms, VenueOrder
from holdfast.venue.matching.replacing import Replacement

HOUR = 3600 * 10**9
MINUTE = HOUR // 60
SYMBOLS = ("AAA", "BTC/USD")
ASSETS = {
    "AAA": Asset(symbol="AAA", marginable=True, shortable=True, fractionable=True),
    "BTC/USD": Asset(symbol="BTC/USD", asset_class=AssetClass.CRYPTO, price_increment="0.01"),
}
SIDES = st.sampled_from(list(OrderSide))
CENTS = st.integers(9_700, 10_300).map(lambda cents: Decimal(cents) / 100)
MAYBE_CENTS = st.none() | CENTS
PRICES = st.integers(9_600, 10_400).map(lambda cents: cents / 100)
SIZES = st.sampled_from([0.0, 3.0, 7.5, 40.0, 1e6, 1e6])

Action = tuple[str, Any]


@st.composite
def exits_of(draw: st.DrawFn, order_class: OrderClass, side: OrderSide) -> Exits | None:
    """The exits that a class of orders asks for, nearly always on their sides of the market."""
    if order_class is OrderClass.SIMPLE:
        return None
    up = side.sign if order_class is not OrderClass.OCO else -side.sign
    near, far = Decimal(draw(st.integers(1, 300))) / 100, Decimal(draw(st.integers(1, 300))) / 100
    take_profit, stop_loss = 100 + up * near, 100 - up * far
    limit = draw(st.sampled_from([None, None, stop_loss - up]))
    alone = draw(st.sampled_from(["both", "profit", "loss"])) if order_class is OrderClass.OTO else "both"
    return Exits(
        None if alone == "loss" else take_profit,
        None if alone == "profit" else stop_loss,
        None if alone == "profit" else limit,
    )


@st.composite
def new_orders(draw: st.DrawFn) -> NewOrder:
    """Orders of all kinds, most of them such that they are taken."""
    symbol = draw(st.sampled_from(["AAA", "AAA", "BTC/USD"]))
    side = draw(SIDES)
    order_class = draw(st.sampled_from([OrderClass.SIMPLE, OrderClass.SIMPLE, *OrderClass]))
    kinds = [OrderType.LIMIT, OrderType.MARKET]
    if order_class is OrderClass.SIMPLE:
        kinds += list(OrderType)
    order_type = OrderType.LIMIT if order_class is OrderClass.OCO else draw(st.sampled_from(kinds))
    stops = order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    trails = order_type is OrderType.TRAILING_STOP
    by_percent = draw(st.booleans())
    notional = draw(st.sampled_from([None, None, None, Decimal(250)]))
    stop_price = 100 + side.sign * Decimal(draw(st.integers(1, 400))) / 100
    terms = Terms(
        stop_price=stop_price if stops else None,
        trail_price=Decimal(2) if trails and not by_percent else None,
        trail_percent=Decimal("1.5") if trails and by_percent else None,
        extended_hours=order_type is OrderType.LIMIT and draw(st.sampled_from([False, False, True])),
        notional=notional,
        order_class=order_class,
        exits=draw(exits_of(order_class, side)),
    )
    usual = TimeInForce.GTC if symbol == "BTC/USD" else TimeInForce.DAY
    limited = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT) and order_class is not OrderClass.OCO
    return NewOrder(
        symbol,
        side,
        order_type,
        draw(st.sampled_from([usual, usual, usual, *TimeInForce])),
        Decimal(0) if notional is not None else Decimal(draw(st.sampled_from(["1", "10", "10", "25", "2.5"]))),
        draw(CENTS) if limited else None,
        None,
        None if terms == Terms() else terms,
    )


REPLACEMENTS = st.builds(
    Replacement,
    st.sampled_from([None, None, Decimal(5), Decimal(30)]),
    MAYBE_CENTS,
    st.none(),
    st.sampled_from([None, None, TimeInForce.GTC]),
    MAYBE_CENTS,
    st.sampled_from([None, Decimal(1)]),
)
ACTIONS = st.one_of(
    st.tuples(st.just("submit"), new_orders()),
    st.tuples(st.just("submit"), new_orders()),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("replace"), st.tuples(st.integers(0, 30), REPLACEMENTS)),
    st.tuples(st.just("bar"), st.tuples(st.sampled_from(SYMBOLS), PRICES, PRICES, PRICES, PRICES, SIZES)),
    st.tuples(st.just("quote"), st.tuples(st.sampled_from(SYMBOLS), PRICES, SIZES, SIZES)),
    st.tuples(st.just("trade"), st.tuples(st.sampled_from(SYMBOLS), PRICES, SIZES)),
    st.tuples(st.just("bar"), st.tuples(st.sampled_from(SYMBOLS), PRICES, PRICES, PRICES, PRICES, SIZES)),
    st.tuples(st.sampled_from(["halt", "resume", "resume"]), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("wait"), st.sampled_from([1, 1, 8, 12])),
)
FLOWS = st.lists(ACTIONS, min_size=15, max_size=50)


def make_engine(kind: type[MatchingEngine] = MatchingEngine, **chosen: Any) -> MatchingEngine:
    """An engine with a session from 10:00 to 20:00, that was told of minutes."""
    engine = kind(
        ASSETS,
        cash=Decimal(100_000),
        settings=EngineSettings(**chosen),
        sessions=lambda _: FixedSessions(10 * HOUR, 20 * HOUR),
    )
    engine.set_periods(dict.fromkeys(SYMBOLS, MINUTE))
    engine.prices.update(dict.fromkeys(SYMBOLS, 100.0))
    return engine


class Driver:
    """Does a flow to an engine, and keeps its time."""

    def __init__(self, engine: MatchingEngine) -> None:
        self.engine = engine
        self.now = 12 * HOUR
        self.log: list[str] = []

    def do(self, action: Action) -> None:
        """One action. What the engine refuses changes nothing."""
        what, asked = action
        try:
            getattr(self, f"_{what}")(asked)
        except Refusal as refusal:
            self.log.append(refusal.message)
        self.log.extend(str((event.kind, event.snapshot(), event.execution)) for event in self.engine.take_events())

    def _submit(self, new: NewOrder) -> None:
        self.engine.meet(self.engine.submit(new, self.now).symbol, self.now)

    def _cancel(self, number: int) -> None:
        self.engine.cancel(self._order(number), self.now)

    def _replace(self, asked: tuple[int, Replacement]) -> None:
        self.engine.replace(self._order(asked[0]), asked[1], self.now)

    def _bar(self, asked: tuple[str, float, float, float, float, float]) -> None:
        symbol, first, up, down, last, volume = asked
        prices = (first, up, down, last)
        self.engine.open_bar(symbol, self.now, first, volume)
        self.now += MINUTE
        self.engine.close_bar(symbol, self.now, first, max(prices), min(prices), last, volume)

    def _quote(self, asked: tuple[str, float, float, float]) -> None:
        symbol, bid, bid_size, ask_size = asked
        self.engine.quote(symbol, self.now, bid, bid_size, bid + 0.02, ask_size)

    def _trade(self, asked: tuple[str, float, float]) -> None:
        symbol, price, size = asked
        self.engine.trade(symbol, self.now, price, size)

    def _halt(self, symbol: str) -> None:
        self.engine.halt(symbol, self.now)

    def _resume(self, symbol: str) -> None:
        self.engine.resume(symbol, self.now)

    def _wait(self, hours: int) -> None:
        self.now += hours * HOUR
        self.engine.expire_day_orders(self.now)

    def _order(self, number: int) -> str:
        orders = self.engine.orders("all", newest_first=False)
        return orders[number % len(orders)].id if orders else "none"


def check(engine: MatchingEngine) -> None:
    """What must hold at all times."""
    account = engine.account()
    assert account.equity == account.cash + account.long_market_value + account.short_market_value
    orders = engine.orders("all", newest_first=False)
    executions = engine.activities()
    filled: dict[str, Decimal] = {}
    for row in executions:
        filled[row.order_id] = filled.get(row.order_id, Decimal(0)) + row.quantity
    margin = cash = Decimal(0)
    for order in orders:
        assert order.filled_qty == filled.get(order.id, 0)
        assert order.filled_qty <= order.quantity
        assert (order.status is OrderStatus.FILLED) is (order.filled_qty == order.quantity)
        if order.is_open:
            margin += order.reserve_price * order.leaves_qty
            cash += order.reserve_price * order.leaves_qty if order.side is OrderSide.BUY else 0
    reserves = engine.dump()["account"]
    assert Decimal(reserves["reserved_marginable"]) + Decimal(reserves["reserved_full"]) == margin
    assert Decimal(reserves["reserved_cash"]) == cash
    still_open = [order for order in orders if order.is_open]
    assert engine.open_count == len(still_open)
    assert engine.orders("open") == still_open[::-1]
    assert engine.next_expiry() == min((order.expires_at for order in still_open if order.expires_at), default=None)
    for position in engine.positions():
        assert 0 <= position.quantity_available <= abs(position.quantity)
        assert position.quantity > 0 or position.symbol != "BTC/USD"
    held = {position.symbol: position.quantity for position in engine.positions()}
    for order in orders:
        if order.is_open and is_exit_at_the_market(engine, order):
            assert order.leaves_qty <= -order.side.sign * held.get(order.symbol, Decimal(0))
    for symbol in SYMBOLS:
        traded = sum(
            (row.side.sign * row.quantity - row.fee_coin for row in executions if row.symbol == symbol), Decimal(0)
        )
        assert held.get(symbol, 0) == traded


def is_exit_at_the_market(engine: MatchingEngine, order: VenueOrder) -> bool:
    """Whether an order can do nothing but close what is there."""
    terms = order.terms
    if terms is None or terms.order_class is OrderClass.SIMPLE:
        return False
    entry = None if terms.parent is None else engine.order(terms.parent)
    return terms.order_class is OrderClass.OCO or (entry is not None and entry.status is OrderStatus.FILLED)


def run(flow: list[Action], kind: type[MatchingEngine] = MatchingEngine, **chosen: Any) -> Driver:
    """A whole flow, checked after every action."""
    driver = Driver(make_engine(kind, **chosen))
    for action in flow:
        driver.do(action)
        check(driver.engine)
    return driver


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FLOWS, st.sampled_from([Decimal("0.1"), Decimal(1), None]))
def test_money_adds_up_and_nothing_is_sold_twice(flow: list[Action], participation: Decimal | None) -> None:
    """Equity is cash and positions, fills are executions, reserves are those of open orders, positions those of trades."""
    run(flow, participation=participation)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FLOWS, st.integers(0, 39))
def test_a_dump_goes_on_as_if_nothing_had_happened(flow: list[Action], cut: int) -> None:
    """Through JSON into a new engine, at any moment; the same events, refusals and state."""
    expected, moved = Driver(make_engine()), Driver(make_engine())
    for number, action in enumerate(flow):
        expected.do(action)
        moved.do(action)
        if number == cut:
            state = json.loads(json.dumps(moved.engine.dump()))
            moved.engine = make_engine()
            moved.engine.load(state)
            assert moved.engine.dump() == state
    assert moved.log == expected.log
    assert moved.engine.dump() == expected.engine.dump()


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(SYMBOLS),
    SIDES,
    st.sampled_from(list(OrderType)),
    st.sampled_from(list(TimeInForce)),
    st.sampled_from(["1", "10", "2.5", "1E+2", "0", "-1", "1E+15", "1E-10", "NaN", "sNaN", "Infinity"]).map(Decimal),
    st.none() | st.sampled_from(["100", "100.01", "0.5", "0.00001", "0", "-1", "1E+15", "NaN"]).map(Decimal),
    st.booleans(),
)
def test_what_passes_at_a_glance_breaks_no_rule(
    symbol: str,
    side: OrderSide,
    order_type: OrderType,
    time_in_force: TimeInForce,
    quantity: Decimal,
    limit_price: Decimal | None,
    tradable: bool,
) -> None:
    """It is what all the rules of form let by, and may be sent at any time."""
    asset = msgspec.structs.replace(ASSETS[symbol], tradable=tradable)
    instrument = Instrument(asset, half_spread=Decimal(0))
    new = NewOrder(symbol, side, order_type, time_in_force, quantity, limit_price)
    if is_plainly_good(new, instrument):
        assert refusal_of(new, instrument, 100.0) is None
        assert time_in_force not in AUCTIONS


class SellsBothExits(MatchingEngine):
    """Broken: a take-profit that has filled leaves its stop-loss where it is."""

    def _on_fill(self, order: VenueOrder, quantity: Decimal, now: int) -> None:
        if order.terms is not None and order.terms.legs and order.terms.order_class is not OrderClass.OCO:
            super()._on_fill(order, quantity, now)


class ForgetsTheReserve(MatchingEngine):
    """Broken: an order by notional keeps the reserve of the quantity that was guessed."""

    def _settle_quantity(self, order: VenueOrder, notional: Decimal, instrument: Any, price: Decimal) -> None:
        reserve_price, order.reserve_price = order.reserve_price, Decimal(0)
        super()._settle_quantity(order, notional, instrument, price)
        order.reserve_price = reserve_price


class FillsTwice(MatchingEngine):
    """Broken: small executions are told twice."""

    small: ClassVar[Decimal] = Decimal(5)

    def _fill(self, instrument: Any, order: VenueOrder, quantity: Decimal, price: Decimal, now: int) -> None:
        super()._fill(instrument, order, quantity, price, now)
        if quantity < self.small:
            self._executions.append(msgspec.structs.replace(self._executions[-1]))


BRACKET = Terms(order_class=OrderClass.BRACKET, exits=Exits(Decimal(102), Decimal(98)))
BUY_TEN = NewOrder("AAA", OrderSide.BUY, OrderType.MARKET, TimeInForce.DAY, Decimal(10))
BROKEN: list[tuple[type[MatchingEngine], Terms | None]] = [
    (SellsBothExits, BRACKET),
    (ForgetsTheReserve, Terms(notional=Decimal(250))),
    (FillsTwice, None),
]


@pytest.mark.parametrize(("broken", "terms"), BROKEN)
def test_a_broken_engine_is_caught(broken: type[MatchingEngine], terms: Terms | None) -> None:
    """Canary: the checks find each of these, and nothing in the engine as it is."""
    new = msgspec.structs.replace(BUY_TEN, terms=terms, quantity=Decimal(0 if terms and terms.notional else 10))
    flow: list[Action] = [
        ("submit", new),
        ("bar", ("AAA", 100.5, 100.5, 100.5, 100.5, 15.0)),
        ("bar", ("AAA", 100.0, 100.0, 100.0, 100.0, 1e6)),
        ("bar", ("AAA", 102.5, 102.5, 102.5, 102.5, 1e6)),
    ]
    run(flow)
    with pytest.raises(AssertionError):
        run(flow, broken)
