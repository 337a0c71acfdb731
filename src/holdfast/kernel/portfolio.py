"""The books as one: orders, positions, money and prices, and the questions that guards ask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import msgspec

from holdfast.kernel.book import BookState, SymbolBook, asset_class_of
from holdfast.market import FeeModel, price_to_decimal
from holdfast.model import (
    Account,
    AssetClass,
    ClosedTrade,
    Execution,
    OrderReport,
    OrderStatus,
    OrderType,
    TimeInForce,
    TradingState,
)
from holdfast.state import PositionStore
from holdfast.state.order_tracker import InFlightOrder, OrderTracker
from holdfast.state.positions import StoreState
from holdfast.state.written import TrackerState
from holdfast.strategies import Strategy
from holdfast.time import Sessions

_ZERO = Decimal(0)
_EQUITY = AssetClass.US_EQUITY
CASH = "cash"  # the name under which money is compared, and its fees are kept


class PortfolioState(msgspec.Struct, frozen=True, kw_only=True):
    """All of a portfolio as it is written."""

    tracker: TrackerState
    positions: StoreState
    books: tuple[BookState, ...]
    now_ns: int
    trading_state: TradingState
    account: Account | None
    equity: float
    day_start_equity: float
    verified: bool
    waited_enough: tuple[str, ...]
    gaps: dict[str, Decimal]
    gaps_at: int
    adopted_orders: tuple[OrderReport, ...]
    fees_booked: dict[str, Decimal]
    foreign_value: float
    cash_uncertainty: Decimal
    cash_then: Decimal
    reserved_then: Decimal
    equity_then: float
    exposure_then: float


class Portfolio:
    """Everything that is true of our trading now. It is the ``RiskView`` of the pre-trade risk gate.

    Attributes:
        now_ns: Kernel time (UTC ns): the latest ``ts`` of any event handled; never goes back.
        account: The venue's last word on the money; None before the first.
        equity: Baseline plus our profit and loss, positions at their last price (USD).
        verified: Our books were compared with the venue's in this epoch.
    """

    def __init__(
        self,
        strategies: Iterable[Strategy],
        sessions_for: Callable[[AssetClass], Sessions],
        fees: FeeModel,
        tracker: OrderTracker | None = None,
    ) -> None:
        self.tracker = tracker or OrderTracker()
        self.positions = PositionStore()
        self.fees = fees
        self.now_ns = 0
        self.trading_state = TradingState.ACTIVE
        self.account: Account | None = None
        self.equity = 0.0
        self.day_start_equity = 0.0
        self.verified = False
        self.waited_enough: dict[str, None] = {}  # orders whose missing fills no longer hold up an exit
        self.gaps: dict[str, Decimal] = {}  # what the venue holds beyond our books, where the two are known to differ
        self.gaps_at = 0  # the venue's view of the gaps is not older than this (UTC ns)
        self.adopted_orders: dict[str, OrderReport] = {}  # open orders of others that guards count, by the venue's id
        self.fees_booked: dict[str, Decimal] = {}  # by our fee model, and not yet posted: coins by symbol, or CASH
        self.foreign_value = 0.0  # of the account, held before we came (USD): part of the baseline, never traded
        self.cash_uncertainty = _ZERO  # USD by which its fees may differ from our model, since last settled
        self.left_out: InFlightOrder | None = None  # while an order is judged that is to take this one's place
        self._recent_from = 0  # where ``trades_since`` found its first trade: a hint, from which it looks on
        # Our own books when the account was last described: what changed since is carried on to its powers.
        self._cash_then, self._reserved_then = _ZERO, _ZERO
        self._equity_then = self._exposure_then = 0.0
        self._sessions_for = sessions_for
        by_symbol: dict[str, list[Strategy]] = {}
        for strategy in strategies:
            for symbol in strategy.symbols:
                by_symbol.setdefault(symbol, []).append(strategy)
        self.books: dict[str, SymbolBook] = {}
        for symbol, listeners in by_symbol.items():
            self.books[symbol] = self._make_book(symbol, tuple(listeners))

    def book(self, symbol: str) -> SymbolBook:
        """The symbol's book; made on first use for symbols that no strategy listens to."""
        book = self.books.get(symbol)
        if book is None:
            book = self.books[symbol] = self._make_book(symbol, ())
        return book

    def _make_book(self, symbol: str, strategies: tuple[Strategy, ...]) -> SymbolBook:
        return SymbolBook(symbol, self.positions, self._sessions_for(asset_class_of(symbol)), strategies)

    # -- what changes the books -----------------------------------------------------------------

    def take_account(self, account: Account) -> None:
        """The venue described the money. The first description is the baseline of our equity."""
        if self.account is None:
            self.positions.cash = account.cash
            self.foreign_value = float(account.equity - account.cash)
            self.equity = self.day_start_equity = float(account.equity)
        self.account = account
        self._cash_then, self._equity_then = self.positions.cash, self.equity
        self._reserved_then = self._reserved(known_to_venue=True)
        self._exposure_then = self._exposure(known_to_venue=True)

    def book_fill(self, book: SymbolBook, order: InFlightOrder, execution: Execution) -> tuple[ClosedTrade, ...]:
        """Count one execution in the positions and the cash; returns the round trips that it closed."""
        symbol, side, quantity, price = book.symbol, execution.side, execution.quantity, execution.price
        fee_coin = fee_cash = _ZERO
        if book.asset_class is not _EQUITY:
            taker = order.order_type is OrderType.MARKET or order.time_in_force is TimeInForce.IOC
            terms = (book.asset_class, side, quantity, price)
            fee_coin, fee_cash = self.fees.fee_for(*terms, taker=taker)
            if not taker and (fee_coin or fee_cash):
                # A limit order that met the market at once was charged as taker; the fill does not say.
                most_coin, most_cash = self.fees.fee_for(*terms, taker=True)
                book.fee_uncertainty += most_coin - fee_coin
                self.cash_uncertainty += most_cash - fee_cash
            if fee_coin or fee_cash:
                name = symbol if fee_coin else CASH
                self.fees_booked[name] = self.fees_booked.get(name, _ZERO) + fee_coin + fee_cash
        trades = self.positions.apply(
            symbol,
            side,
            quantity,
            price,
            execution.at,
            fee_cash=fee_cash,
            fee_coin=fee_coin,
            exit_reason=order.reason,
            order_id=order.client_order_id,
        )
        self.refresh(book, float(price))
        if self.gaps and execution.at <= self.gaps_at and symbol in self.gaps:
            self.narrow_gap(symbol, side.sign * (quantity - fee_coin))
        return trades

    def narrow_gap(self, symbol: str, change: Decimal) -> None:
        """Our books have learned of something that the venue's view of the position held already."""
        gap = self.gaps.get(symbol, _ZERO) - change
        if gap:
            self.gaps[symbol] = gap
        else:
            self.gaps.pop(symbol, None)

    def refresh(self, book: SymbolBook, price: float) -> None:
        """Set the floats of a book, and the equity, from the exact books."""
        position = self.positions.position(book.symbol)
        book.position_float = position.quantity_float
        book.average_price_float = position.average_price_float
        book.mark = price
        self.recount_equity()

    def recount_equity(self) -> None:
        """The equity from the exact cash and every open position at its mark."""
        equity = self.foreign_value + float(self.positions.cash)
        books = self.books
        for position in self.positions.all():
            quantity = position.quantity_float
            if quantity:
                equity += quantity * books[position.symbol].mark
        self.equity = equity

    def trades_since(self, moment: int) -> Sequence[ClosedTrade]:
        """Round trips that closed after a moment (UTC ns), oldest first."""
        trades = self.positions.closed_trades
        first, count = self._recent_from, len(trades)
        if first > count or (first and trades[first - 1].closed_at > moment):
            first = 0  # somebody asks about an earlier moment than before
        while first < count and trades[first].closed_at <= moment:
            first += 1
        self._recent_from = first
        return trades[first:]

    def closed_with_fills_missing(self, symbol: str) -> Sequence[InFlightOrder]:
        """Orders that are over, of which the venue has told more than we have counted: the position is not final."""
        if not self.tracker.missing:
            return ()
        missing = self.tracker.orders_with_missing_fills()
        return [
            order
            for order in missing
            if order.symbol == symbol and order.is_closed and order.client_order_id not in self.waited_enough
        ]

    def exit_is_unknown(self, symbol: str) -> bool:
        """Whether the outcome of an order that reduces the symbol's position is unknown."""
        return any(o.reduce_only and o.status is OrderStatus.UNKNOWN for o in self.tracker.open_orders(symbol))

    # -- what guards ask ------------------------------------------------------------------------

    def last_price(self, symbol: str) -> float | None:
        """The last trade or quote midpoint known, USD."""
        book = self.books.get(symbol)
        return None if book is None or book.last_price_at == 0 else book.last_price

    def last_price_at(self, symbol: str) -> int | None:
        """When that price was known (UTC ns)."""
        book = self.books.get(symbol)
        return None if book is None or book.last_price_at == 0 else book.last_price_at

    def position_quantity(self, symbol: str) -> Decimal:
        """Signed quantity held plus all that is open, in flight or unknown, in the direction that makes it larger."""
        held = self.positions.quantity(symbol)
        if self.tracker.missing:
            for order in self.closed_with_fills_missing(symbol):
                held += order.side.sign * (order.reported_filled_qty - order.filled_quantity)
        if not self.adopted_orders and not self.tracker.has_open(symbol):
            return held
        orders = self.tracker.open_orders(symbol)
        buys, sells = self._adopted(symbol)
        left_out = self.left_out
        for order in orders:
            if order is left_out:
                continue
            rest = order.remaining if order.replaces is None and order.terms is None else self._rest(order)
            if order.side.sign > 0:
                buys += rest
            else:
                sells += rest
        return held + buys if abs(held + buys) >= abs(held - sells) else held - sells

    def _rest(self, order: InFlightOrder) -> Decimal:
        """What an order may yet trade that does not stand alone.

        Of the exits of a group the first that is open stands for all: only one of them can trade in whole. An exit that
        is left out is left out with those.
        """
        tracker, left_out = self.tracker, self.left_out
        group = tracker.group_of(order)
        if not group or not tracker.is_exit(order):
            return order.remaining if order.replaces is None else self._beyond_old(order)
        if left_out is not None and tracker.group_of(left_out) == group and tracker.is_exit(left_out):
            return _ZERO
        return tracker.group_rest(order) if tracker.speaks_for_group(order) else _ZERO

    def _beyond_old(self, order: InFlightOrder) -> Decimal:
        """What an order may trade beyond the one in whose place it is put: of the two, the larger is counted.

        While both are open nobody knows which of them is at the venue, and never both are.
        """
        old = self.tracker.in_place_of(order)
        return order.remaining if old is None else max(order.remaining - old.remaining, _ZERO)

    def _adopted(self, symbol: str) -> tuple[Decimal, Decimal]:
        """What open orders of others may still buy and sell of a symbol."""
        buys = sells = _ZERO
        for report in self.adopted_orders.values():
            if report.symbol == symbol:
                rest = max(report.quantity - report.filled_qty, _ZERO)
                if report.side.sign > 0:
                    buys += rest
                else:
                    sells += rest
        return buys, sells

    def reducible(self, symbol: str, held: Decimal) -> Decimal:
        """What may still be sent against a position so that all reducing orders together do not flip it.

        Here and at the venue, which nets what we hold with what others hold in the account: where the two are known to
        differ, an exit takes no more than both sides have. Open, in-flight and unknown orders count as filled.
        """
        left = abs(held)
        gap = self.gaps.get(symbol)
        if gap is not None:
            there = held + gap
            left = min(left, max(there if held > 0 else -there, _ZERO))
        for order in self.tracker.open_orders(symbol):
            if (order.side.sign > 0) != (held > 0) and order is not self.left_out:
                left -= order.remaining if order.replaces is None and order.terms is None else self._rest(order)
        for order in self.closed_with_fills_missing(symbol):
            if (order.side.sign > 0) != (held > 0):
                left -= order.reported_filled_qty - order.filled_quantity
        if self.adopted_orders:
            buys, sells = self._adopted(symbol)
            left -= sells if held > 0 else buys
        return max(left, _ZERO)

    def gross_exposure(self) -> float:
        """Sum of the absolute values of positions and of open orders, USD at last prices."""
        return self._exposure()

    def _exposure(self, *, known_to_venue: bool = False) -> float:
        total = 0.0
        for position in self.positions.all():
            quantity = position.quantity_float
            if quantity:
                total += abs(quantity * self.books[position.symbol].mark)
        if self.tracker.open:
            for order in self.tracker.open.values():
                if not order.reduce_only and (order.broker_id or not known_to_venue) and order is not self.left_out:
                    rest = order.remaining if order.replaces is None and order.terms is None else self._rest(order)
                    total += float(rest) * self.book(order.symbol).last_price
        for report in self.adopted_orders.values():
            price = self.last_price(report.symbol) or float(report.limit_price or 0)
            total += float(max(report.quantity - report.filled_qty, _ZERO)) * price
        return total

    def _reserved(self, *, known_to_venue: bool = False) -> Decimal:
        """What open buys that add to a position may cost, USD."""
        total = _ZERO
        if self.tracker.open:
            for order in self.tracker.open.values():
                if order.reduce_only or order.side.sign < 0 or order is self.left_out:
                    continue
                if order.broker_id or not known_to_venue:
                    cost = self._cost(order)
                    old = None if order.replaces is None else self.tracker.in_place_of(order)
                    total += cost if old is None else max(cost - self._cost(old), _ZERO)
        return total

    def _cost(self, order: InFlightOrder) -> Decimal:
        stop = None if order.terms is None else order.terms.stop_price
        price = order.limit_price or stop or price_to_decimal(self.book(order.symbol).last_price)
        return order.remaining * price

    def open_order_count(self) -> int:
        """Orders open, in flight or unknown; one and the order that is to take its place are one, and so are the exits of a group."""
        tracker = self.tracker
        count = len(tracker.open) + len(self.adopted_orders)
        if tracker.open:
            count -= sum(
                self._counts_with_another(order)
                for order in tracker.open.values()
                if order.replaces is not None or order.terms is not None
            )
        return count - (self.left_out is not None)

    def _counts_with_another(self, order: InFlightOrder) -> bool:
        tracker = self.tracker
        if tracker.is_exit(order):
            return not tracker.speaks_for_group(order)
        return order.replaces is not None and tracker.in_place_of(order) is not None

    @property
    def day_pnl(self) -> float:
        """Equity now less equity at the start of the UTC day, USD."""
        return self.equity - self.day_start_equity

    @property
    def buying_power(self) -> Decimal | None:
        """What may be spent on margin (USD): the venue's last word, carried on by our own books.

        Margin power is ``multiplier * equity - exposure``: it moves with both. None before the venue spoke.
        """
        account = self.account
        if account is None:
            return None
        moved = account.multiplier * (self.equity - self._equity_then) - (self._exposure() - self._exposure_then)
        return account.buying_power + Decimal(repr(moved))

    @property
    def cash_power(self) -> Decimal | None:
        """The same without margin, exactly: what buys crypto."""
        account = self.account
        if account is None:
            return None
        spent = self._cash_then - self.positions.cash + self._reserved() - self._reserved_then
        return account.non_marginable_buying_power - spent

    # -- the written form -----------------------------------------------------------------------

    def export_state(self) -> PortfolioState:
        """All of it in its written form, apart from what goes on changing."""
        return PortfolioState(
            tracker=self.tracker.export_state(),
            positions=self.positions.export_state(),
            books=tuple(book.export_state() for book in self.books.values()),
            now_ns=self.now_ns,
            trading_state=self.trading_state,
            account=self.account,
            equity=self.equity,
            day_start_equity=self.day_start_equity,
            verified=self.verified,
            waited_enough=tuple(self.waited_enough),
            gaps=dict(self.gaps),
            gaps_at=self.gaps_at,
            adopted_orders=tuple(self.adopted_orders.values()),
            fees_booked=dict(self.fees_booked),
            foreign_value=self.foreign_value,
            cash_uncertainty=self.cash_uncertainty,
            cash_then=self._cash_then,
            reserved_then=self._reserved_then,
            equity_then=self._equity_then,
            exposure_then=self._exposure_then,
        )

    def import_state(self, state: PortfolioState) -> None:
        """Become the portfolio that was written, in place, since strategies and guards hold on to its parts."""
        self.tracker.import_state(state.tracker)
        self.positions.import_state(state.positions)
        made = dict(self.books)
        self.books.clear()  # and filled again in the written order, which is that of many an answer
        for record in state.books:
            book = made.pop(record.symbol, None) or self._make_book(record.symbol, ())
            book.import_state(record)
            self.books[record.symbol] = book
        self.books.update(made)
        self.now_ns = state.now_ns
        self.trading_state = state.trading_state
        self.account = state.account
        self.equity, self.day_start_equity = state.equity, state.day_start_equity
        self.verified = state.verified
        self.waited_enough = dict.fromkeys(state.waited_enough)
        self.gaps, self.gaps_at = dict(state.gaps), state.gaps_at
        self.adopted_orders = {report.broker_id: report for report in state.adopted_orders}
        self.fees_booked = dict(state.fees_booked)
        self.foreign_value = state.foreign_value
        self.cash_uncertainty = state.cash_uncertainty
        self._cash_then, self._reserved_then = state.cash_then, state.reserved_then
        self._equity_then, self._exposure_then = state.equity_then, state.exposure_then
