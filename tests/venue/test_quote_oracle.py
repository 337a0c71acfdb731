"""Random orders over random quotes and trades: the engine does what a slow matcher does that shares nothing with it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from holdfast.model import Asset, AssetClass, OrderSide, OrderType, TimeInForce
from holdfast.time import FixedSessions
from holdfast.venue.matching.book import Book, Entry
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import NewOrder, Refusal, VenueOrder
from tests.venue.quote_oracle import HOUR, QuoteOracle

MINUTE = 60 * 10**9
BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC, IOC, FOK = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK

ASSETS = {
    "AAA": Asset(symbol="AAA", marginable=True, shortable=True, fractionable=True),
    "PENNY": Asset(symbol="PENNY", marginable=True, shortable=True, fractionable=True),
    "BTC/USD": Asset(symbol="BTC/USD", asset_class=AssetClass.CRYPTO, price_increment="0.01"),
}
# Around which price each symbol is quoted.
MIDDLE = {"AAA": Decimal(100), "PENNY": Decimal("0.9"), "BTC/USD": Decimal(20_000)}
QUANTITIES = {
    "AAA": ("1", "7", "40", "2.5", "0.333333333"),
    "PENNY": ("1", "30", "5000"),
    "BTC/USD": ("0.001", "0.5", "0.123456789", "1.7"),
}
# Enough that no order fails for want of money: that is tested elsewhere.
CASH = 100_000_000


@dataclass(frozen=True)
class Send:
    """An order; `offset` is the limit's distance from the middle, in per mille."""

    symbol: str
    side: OrderSide
    time_in_force: TimeInForce
    quantity: str
    offset: int | None


@dataclass(frozen=True)
class Cancel:
    """Cancel the order of this number, if there is one."""

    number: int


@dataclass(frozen=True)
class Quote:
    """A bid and an ask, so many hundredths of a per mille from the middle; None is an empty side."""

    symbol: str
    bid: int | None
    bid_size: float
    ask: int | None
    ask_size: float


@dataclass(frozen=True)
class Print:
    """A trade of the market."""

    symbol: str
    offset: int
    size: float


@dataclass(frozen=True)
class Halt:
    """A symbol halts, or goes on if it has."""

    symbol: str


@dataclass(frozen=True)
class Wait:
    """Time passes (ns)."""

    duration: int


Step = Send | Cancel | Quote | Print | Halt | Wait
SYMBOLS = st.sampled_from(list(ASSETS))
# A size of one symbol is nothing to another, so that there is much of partial fills, and of none.
SIZES = st.sampled_from([0.0, 0.05, 0.6, 1.0, 3.0, 9.5, 100.0, 10.0**6])


@st.composite
def sends(draw: st.DrawFn) -> Send:
    """Orders, most of which the engine takes."""
    symbol = draw(SYMBOLS)
    quantity = draw(st.sampled_from(QUANTITIES[symbol]))
    kinds = [GTC, IOC] if symbol == "BTC/USD" else [DAY] if "." in quantity else [DAY, GTC, IOC, FOK]
    return Send(
        symbol,
        draw(st.sampled_from([BUY, SELL])),
        draw(st.sampled_from(kinds)),
        quantity,
        draw(st.none() | st.integers(-8, 8)),
    )


STEPS: st.SearchStrategy[Step] = st.one_of(
    sends(),
    sends(),
    # Coins at the market that a quote rarely fills at once, and quotes beyond the collar of what rests of them.
    st.builds(Send, st.just("BTC/USD"), st.sampled_from([BUY, SELL]), st.just(GTC), st.just("1.7"), st.none()),
    st.builds(Quote, st.just("BTC/USD"), st.integers(-4000, -1500), SIZES, st.integers(1500, 4000), SIZES),
    st.builds(Cancel, st.integers(0, 8)),
    st.builds(Quote, SYMBOLS, st.none() | st.integers(-900, 300), SIZES, st.none() | st.integers(-300, 900), SIZES),
    st.builds(Quote, SYMBOLS, st.integers(-900, 300), SIZES, st.integers(-300, 900), SIZES),
    st.builds(Print, SYMBOLS, st.integers(-900, 900), SIZES),
    st.builds(Halt, SYMBOLS),
    st.builds(Wait, st.sampled_from([1, MINUTE, HOUR, 2 * HOUR, 7 * HOUR])),
)
PARTS = st.lists(STEPS, max_size=15)


@st.composite
def flows(draw: st.DrawFn) -> list[Step]:
    """A day's part that begins before, in or late in the session, mostly with quotes; three lists make long ones likely."""
    start = draw(st.sampled_from([2 * HOUR, 2 * HOUR, 1, 10 * HOUR]))
    quotes = [Quote(symbol, -20, 30.0, 20, 30.0) for symbol in ASSETS] if draw(st.integers(0, 3)) else []
    return [Wait(start), *quotes, *draw(PARTS), *draw(PARTS), *draw(PARTS)]


FLOWS = flows()


def at(symbol: str, offset: int, per: int) -> Decimal:
    """A price so far from a symbol's middle."""
    return MIDDLE[symbol] * (per + offset) / per


class Run:
    """An engine and the slow matcher side by side, compared after every step. They begin an hour before the session."""

    def __init__(self, kind: type[MatchingEngine], *, unlimited: bool) -> None:
        self.now = 9 * HOUR
        self.sent = 0
        self.halted: set[str] = set()
        prices = {symbol: float(price) for symbol, price in MIDDLE.items()}
        chosen = EngineSettings(participation=None if unlimited else Decimal("0.1"), namespace=7)
        self.engine = kind(
            ASSETS, cash=Decimal(CASH), settings=chosen, sessions=lambda _: FixedSessions(10 * HOUR, 20 * HOUR)
        )
        self.engine.prices.update(prices)
        self.oracle = QuoteOracle(ASSETS, CASH, prices, unlimited=unlimited)

    def do(self, step: Step) -> None:
        """Do it on both sides, and compare them."""
        match step:
            case Send():
                self.send(step)
            case Cancel(number):
                order = self.engine.by_client_id(f"c{number}")
                if order is not None and order.is_open:
                    self.engine.cancel(order.id, self.now)
                    self.oracle.cancel(order.client_order_id)
            case Quote(symbol, bid, bid_size, ask, ask_size):
                prices = [0.0 if side is None else float(at(symbol, side, 100_000)) for side in (bid, ask)]
                sides = (prices[0], bid_size, prices[1], ask_size)
                self.engine.quote(symbol, self.now, *sides)
                self.oracle.quote(symbol, self.now, *sides)
            case Print(symbol, offset, size):
                price = float(at(symbol, offset, 100_000))
                self.engine.trade(symbol, self.now, price, size)
                self.oracle.trade(symbol, self.now, price)
            case Halt(symbol):
                self.halt(symbol)
            case Wait(duration):
                self.now += duration
                self.engine.expire_day_orders(self.now)
                self.oracle.expire(self.now)
        self.compare()

    def send(self, step: Send) -> None:
        """Submit an order, which meets the quote at once as at the venue."""
        limit = None if step.offset is None else at(step.symbol, step.offset, 1000).quantize(Decimal("0.01"))
        kind = OrderType.MARKET if limit is None else OrderType.LIMIT
        name = f"c{self.sent}"
        self.sent += 1
        quantity = Decimal(step.quantity)
        new = NewOrder(step.symbol, step.side, kind, step.time_in_force, quantity, limit, name)
        try:
            self.engine.submit(new, self.now)
        except Refusal:  # whether an order may come is not asked here
            return
        self.engine.meet(step.symbol, self.now)
        self.oracle.send(name, new, self.now)

    def halt(self, symbol: str) -> None:
        """Halt a symbol, or let it go on."""
        if symbol in self.halted:
            self.halted.discard(symbol)
            self.engine.resume(symbol, self.now)
            self.oracle.resume(symbol)
        else:
            self.halted.add(symbol)
            self.engine.halt(symbol, self.now)
            self.oracle.halt(symbol)

    def compare(self) -> None:
        """Executions, orders, money and positions are those of the slow matcher."""
        found = [
            (e.client_order_id, *map(Fraction, (e.quantity, e.price, e.position_qty, e.fee_coin, e.fee_cash)))
            for e in self.engine.activities()
        ]
        assert found == [
            (f.order.name, f.quantity, f.price, f.position, f.fee_coin, f.fee_cash) for f in self.oracle.fills
        ]
        orders = self.engine.orders("all", newest_first=False)
        assert [(o.client_order_id, str(o.status)) for o in orders] == [(o.name, o.state) for o in self.oracle.orders]
        account = self.engine.account()
        assert Fraction(account.cash) == self.oracle.cash()
        assert Fraction(account.equity) == self.oracle.equity()
        held = {view.symbol: Fraction(view.quantity) for view in self.engine.positions()}
        for symbol in ASSETS:
            assert held.get(symbol, 0) == self.oracle.position(symbol)


def check(flow: list[Step], kind: type[MatchingEngine] = MatchingEngine, *, unlimited: bool = False) -> Run:
    """Run a flow on an engine and the slow matcher."""
    run = Run(kind, unlimited=unlimited)
    for step in flow:
        run.do(step)
    return run


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FLOWS, st.sampled_from([False, False, True]))
def test_the_engine_does_what_the_slow_matcher_does(flow: list[Step], unlimited: bool) -> None:
    """Every fill with its price, fee and position, every state, cash and equity, after every step."""
    check(flow, unlimited=unlimited)


def test_random_flows_meet_what_matters() -> None:
    """The comparison is not empty: there are whole and partial fills, of several orders in one quote, and every ending."""
    met: set[str] = set()

    @settings(
        max_examples=600,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(FLOWS)
    def collect(flow: list[Step]) -> None:
        run = check(flow)
        met.update(f"{order.new.time_in_force} {order.state}" for order in run.oracle.orders)
        met.update("maker" for order in run.oracle.orders if order.fills and order.quotes_met > 1)
        met.update("several fills of one order" for order in run.oracle.orders if len(order.fills) > 1)

    collect()
    wanted = {
        f"{kind} {state}" for kind in ("day", "gtc") for state in ("new", "partially_filled", "filled", "canceled")
    }
    wanted |= {
        "day expired",
        "ioc filled",
        "ioc canceled",
        "fok filled",
        "fok canceled",
        "day accepted",
        "ioc accepted",
    }
    assert wanted | {"maker", "several fills of one order"} <= met


# --- Engines that are broken on purpose ----------------------------------------------------------------------------


class TakesTheSizeAgain(MatchingEngine):
    """Broken: what our orders took of a quote is there for the next one."""

    def _offered(self, size: float, taken: Decimal) -> Decimal | None:
        return super()._offered(size, Decimal(0))


class NeverHasAFreshQuote(MatchingEngine):
    """Broken: what was taken of the last quote is missing from the next."""

    def quote(self, symbol: str, now: int, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """A quote, less what the last one lost."""
        book = self._books.get(symbol)
        spent = (book.bid_taken, book.ask_taken) if book is not None else (Decimal(0), Decimal(0))
        sizes = [max(0.0, size - float(part)) for size, part in zip((bid_size, ask_size), spent, strict=True)]
        super().quote(symbol, now, bid, sizes[0], ask, sizes[1])


class FillsAtTheLimit(MatchingEngine):
    """Broken: a limit order pays its limit, where the quote is better."""

    def _fill(self, instrument: object, order: VenueOrder, quantity: Decimal, price: Decimal, now: int) -> None:
        price = price if order.limit_price is None else order.limit_price
        super()._fill(instrument, order, quantity, price, now)  # type: ignore[arg-type]  # handed through


class ForgetsTheCollar(MatchingEngine):
    """Broken: a market order in crypto pays whatever is asked."""

    def submit(self, new: NewOrder, now: int) -> VenueOrder:
        """An order without a bound of its own."""
        order = super().submit(new, now)
        order.bound = order.limit_price
        return order


class CollarsAtTheLastTrade(MatchingEngine):
    """Broken: the collar is around the last trade, whatever is quoted."""

    def _reference_price(self, symbol: str, side: OrderSide = BUY) -> float | None:
        return self.prices.get(symbol)


class FillsAPartOfFok(MatchingEngine):
    """Broken: fill-or-kill takes what it gets."""

    def _execute(
        self, book: Book, order: VenueOrder, price: Decimal, budget: Decimal | None, now: int
    ) -> Decimal | None:
        wanted, order.time_in_force = order.time_in_force, IOC if order.time_in_force is FOK else order.time_in_force
        try:
            return super()._execute(book, order, price, budget, now)
        finally:
            order.time_in_force = wanted


class LetsIocRest(MatchingEngine):
    """Broken: immediate-or-cancel waits for the next quote."""

    def _end_moment(self, book: Book, met: list[Entry], now: int) -> None:
        super()._end_moment(book, [entry for entry in met if entry[3].time_in_force is not IOC], now)


class FillsByTheTape(MatchingEngine):
    """Broken: a trade of the market fills orders as a quote of its price would."""

    def trade(self, symbol: str, now: int, price: float, size: float) -> None:
        """A trade that is taken for a quote."""
        super().trade(symbol, now, price, size)
        if size and symbol in self._books and not self.is_halted(symbol):
            quote = self.quotes.get(symbol, (0.0, 0.0, 0.0, 0.0))
            self.quotes[symbol] = (price, size, price, size)
            self.meet(symbol, now)
            self.quotes[symbol] = quote


class ServesTheLastFirst(MatchingEngine):
    """Broken: of equal limits the newest is served first."""

    def _match_quote(self, book: Book, now: int) -> None:
        book.entries.sort(key=lambda entry: (entry[0], entry[1], -entry[2]))
        super()._match_quote(book, now)
        book.entries.sort()


class TradesAtNight(MatchingEngine):
    """Broken: the session never closes."""

    def _is_core(self, instrument: Instrument, now: int) -> bool:
        return True


class NeverExpires(MatchingEngine):
    """Broken: orders for the day are good for ever."""

    def expire_day_orders(self, now: int) -> None:
        """Nothing ends."""


class TakesNobodyForATaker(MatchingEngine):
    """Broken: a limit that came to trade pays as if it had waited."""

    def _fee(self, order: VenueOrder, amount: Decimal) -> Decimal:
        order.rested = True
        return super()._fee(order, amount)


BROKEN = [
    TakesTheSizeAgain,
    NeverHasAFreshQuote,
    FillsAtTheLimit,
    ForgetsTheCollar,
    CollarsAtTheLastTrade,
    FillsAPartOfFok,
    LetsIocRest,
    FillsByTheTape,
    ServesTheLastFirst,
    TradesAtNight,
    NeverExpires,
    TakesNobodyForATaker,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_engine_is_caught(broken: type[MatchingEngine]) -> None:
    """Canary: the comparison finds each of these."""

    @settings(
        max_examples=2000,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(FLOWS)
    def compare(flow: list[Step]) -> None:
        check(flow, broken)

    with pytest.raises(AssertionError):
        compare()
