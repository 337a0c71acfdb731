"""The matching engine: orders in, trades out, no I/O, no clock of its own, the same answer every time.

The venue puts a server around it and the backtester drives it in a tight loop, so that both give the
same fills. It knows the market only as bars, and a bar has three moments at which orders may trade:

``open_bar``  the first trade of a bar. Whatever rests meets that price: market orders fill, limit
              orders fill if it is as good as their limit, and at that price (price improvement).
``close_bar`` the rest of the bar. An order that rested when the bar began fills at its limit if the
              bar's range reached it. An order that came while the bar was running has seen none of it:
              for it the close is one more trade, and nothing else is.

Between them the caller may submit and cancel; nothing ever trades inside ``submit``.

How much fills: all our orders together take at most ``participation`` x volume of a bar, in lots (the
asset's increment; whole shares for orders in whole shares). A bar with volume 0 had no trade: nothing
fills, except that ``participation=None`` always fills. First come market orders by arrival, then limit
buys from the highest price, then limit sells from the lowest, equal prices by arrival.

At what price: a market buy pays the trade's price plus half the spread, rounded to the price increment
against the taker; a limit order trades where that price is within its limit. IOC orders are canceled
after the first moment that they meet, whatever it gave them.

Ids are UUIDs made of the namespace and a counter. Nothing iterates over a set, and all arithmetic runs
in a Decimal context wide enough to be exact, whatever the caller's is (only average prices are rounded).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal, getcontext
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from holdfast.model.decimals import EXACT, Exact
from holdfast.model.enums import AssetClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import ConfigurationError, VenueError, invariant
from holdfast.model.market import Asset, Bar
from holdfast.model.timestamps import NS_PER_DAY
from holdfast.time import Sessions, sessions_for
from holdfast.venue.account import NANO, Account, AccountView, Position, PositionView
from holdfast.venue.admission import assess, held_for_orders
from holdfast.venue.amendments import Amendments
from holdfast.venue.book import Book, entry_of
from holdfast.venue.instruments import CLIENT_ORDER_ID_LENGTH_MAX, Instrument
from holdfast.venue.orders import (
    OPEN_STATUSES,
    ZERO,
    EngineEvent,
    EventKind,
    NewOrder,
    Refusal,
    VenueExecution,
    VenueOrder,
    invalid,
    not_found,
    unprocessable,
)
from holdfast.venue.replacing import Replacement, successor

__all__ = [
    "AccountView",
    "EngineEvent",
    "EngineSettings",
    "MatchingEngine",
    "NewOrder",
    "PositionView",
    "Refusal",
    "VenueExecution",
    "VenueOrder",
]

_BUY, _SELL = OrderSide.BUY, OrderSide.SELL
_MARKET = OrderType.MARKET
_DAY, _IOC = TimeInForce.DAY, TimeInForce.IOC
_NEW, _PARTIALLY_FILLED, _FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
_CANCELED, _EXPIRED, _REPLACED = OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REPLACED
_NONE_RESTING: list[VenueOrder] = []

_BPS = Decimal(10_000)
_GTC_LIFE_NS = 90 * NS_PER_DAY


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one book trades.

    Attributes:
        participation: Share of a bar's volume that our orders may take together; None is unlimited.
        spread_bps: Full spread around the traded price, in basis points of it.
        maker_bps: Crypto fee of orders that rested; equities trade free.
        taker_bps: Crypto fee of orders that met the market at once.
        multiplier: 2 is a Reg-T margin account, 1 a cash account (no shorts).
        namespace: Makes the ids of this book its own; below 2**60.
    """

    participation: Decimal | None = Decimal("0.1")
    spread_bps: float = 0.0
    maker_bps: Decimal = Decimal(15)
    taker_bps: Decimal = Decimal(25)
    multiplier: int = 2
    namespace: int = 0

    def __post_init__(self) -> None:
        checks = (
            (
                "participation",
                self.participation,
                self.participation is None or 0 < self.participation <= 1,
                "in (0, 1] or None",
            ),
            ("spread_bps", self.spread_bps, 0 <= self.spread_bps < _BPS, "in [0, 10000)"),
            ("maker_bps", self.maker_bps, 0 <= self.maker_bps < _BPS, "in [0, 10000)"),
            ("taker_bps", self.taker_bps, 0 <= self.taker_bps < _BPS, "in [0, 10000)"),
            ("multiplier", self.multiplier, self.multiplier in (1, 2), "1 (cash account) or 2 (margin account)"),
            ("namespace", self.namespace, 0 <= self.namespace < 1 << 60, "in [0, 2**60)"),
        )
        for name, value, good, expected in checks:
            if not good:
                message = f"{name} of the matching engine is {value}; expected {expected}"
                raise ConfigurationError(message)


class MatchingEngine:
    """One account's orders, positions and cash.

    Args:
        assets: What may be traded. Crypto is also found without its slash (``BTCUSD``).
        cash: What the account starts with (USD).
        settings: How it trades.
        sessions: Gives the sessions of an asset class; DAY orders expire at their close.

    Attributes:
        prices: Last trade by symbol. Bars write it; a caller may, too. Always the same dictionary.
        open_count: How many orders are open. Read only.
        amendments: Changes the account without a trade.

    Raises:
        ConfigurationError: An asset cannot be traded here.
    """

    def __init__(
        self,
        assets: Mapping[str, Asset],
        *,
        cash: Decimal = Decimal(100_000),
        settings: EngineSettings | None = None,
        sessions: Callable[[AssetClass], Sessions] = sessions_for,
    ) -> None:
        self.settings = settings = settings or EngineSettings()
        self.prices: dict[str, float] = {}
        self.open_count = 0

        with Exact():
            half_spread = Decimal(repr(settings.spread_bps)) / (2 * _BPS)
            self._maker_rate, self._taker_rate = settings.maker_bps / _BPS, settings.taker_bps / _BPS
            self._instruments: dict[str, Instrument] = {}
            for asset in assets.values():
                instrument = Instrument(asset, half_spread=half_spread, multiplier=settings.multiplier)
                self._instruments[asset.symbol] = instrument
                self._instruments.setdefault(asset.symbol.replace("/", ""), instrument)
        self._participation = settings.participation
        self._sessions = sessions

        namespace = settings.namespace
        id_head = f"{namespace >> 28:08x}-{namespace >> 12 & 0xFFFF:04x}-4{{kind:03x}}-8{namespace & 0xFFF:03x}-"
        self._order_id_head = id_head.format(kind=1)
        self._execution_id_head = id_head.format(kind=2)
        self._client_order_id_head = id_head.format(kind=3)

        self._account = Account(cash, settings.multiplier, self.prices)
        self._orders: dict[str, VenueOrder] = {}
        self._by_client_id: dict[str, VenueOrder] = {}
        self._executions: list[VenueExecution] = []
        self._events: list[EngineEvent] = []
        self.amendments = Amendments(self._account, self._instruments)
        # Books exist for symbols that need their bars: with open orders, or with a bar in progress of which orders
        # took a share. Bars of all other symbols only move a price.
        self._books: dict[str, Book] = {}
        # (when, number, order), the earliest first; orders that closed otherwise stay until they come up.
        self._expiries: list[tuple[int, int, VenueOrder]] = []

    # ------------------------------------------------------------------ orders

    def submit(self, new: NewOrder, now: int) -> VenueOrder:
        """Take an order into the book. It trades at the next moment of a bar, never here.

        Raises:
            Refusal: The order breaks a rule. Nothing has changed, and its client order id is not used up.
        """
        if getcontext() is EXACT:  # a driver that has seen to it: see Exact
            return self._submit(new, now)
        with Exact():
            return self._submit(new, now)

    def cancel(self, order_id: str, now: int) -> VenueOrder:
        """Cancel an order. One that is canceled already stays so, without a second event.

        Raises:
            Refusal: There is no such order, or it is filled or expired.
        """
        order = self._orders.get(order_id)
        if order is None:
            message = f"order not found for {order_id}"
            raise not_found(message)
        if order.status in OPEN_STATUSES:
            with Exact():
                self._close(order, _CANCELED, "canceled", now)
        elif order.status is not _CANCELED:
            message = f'order is already in "{order.status}" state'
            raise unprocessable(message)
        return order

    def replace(self, order_id: str, change: Replacement, now: int) -> VenueOrder:
        """Put a new order in the place of an open one, at once; the new one is the last to arrive.

        It is judged with the old one left out, so that of the two the larger needs buying power, and not both.

        Raises:
            Refusal: It cannot be. Nothing has changed, and its client order id is not used up.
        """
        old = self._orders.get(order_id)
        if old is None:
            message = f"order not found for {order_id}"
            raise not_found(message)
        with Exact():
            new = successor(old, change)
            if new.client_order_id in self._by_client_id:
                message = "client_order_id must be unique"
                raise invalid(message)
            book, account = self._books[old.symbol], self._account
            instrument, held_back = book.instrument, old.reserve_price * old.leaves_qty
            others = [order for order in book.resting() if order is not old]
            account.reserve(instrument, old.side, -held_back)
            judged = instrument.refusal(new) or assess(new, instrument, account, others, self.prices.get(old.symbol))
            account.reserve(instrument, old.side, held_back)
            if isinstance(judged, Refusal):
                raise judged
            self._close(old, _REPLACED, "replaced", now)
            order = self._submit(new, now)
        order.replaces, old.replaced_by = old.id, order.id
        return order

    def has_open(self, symbol: str) -> bool:
        """Whether an order in this symbol is open."""
        book = self._books.get(symbol)
        return book is not None and bool(book.entries)

    @property
    def is_idle(self) -> bool:
        """No order is open, and none took part in the bar in progress: the next bars change ``prices`` and nothing else."""
        return not self._books

    # ------------------------------------------------------------------ the market

    def open_bar(self, symbol: str, now: int, price: float, volume: float) -> None:
        """The first trade of a bar that will have this volume: see the module's first lines.

        Does nothing for a symbol without open orders.
        """
        book = self._books.get(symbol)
        if book is None or not book.entries:
            return
        self.prices[symbol] = price
        book.taken = ZERO
        if getcontext() is EXACT:
            self._match_open(book, now, price, volume)
        else:
            with Exact():
                self._match_open(book, now, price, volume)
        if not book.entries and not book.taken:
            self._books.pop(symbol, None)

    def close_bar(
        self, symbol: str, now: int, open_: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """The rest of a bar, and its end: see the module's first lines. Sets the last price to ``close``."""
        self.prices[symbol] = close
        book = self._books.get(symbol)
        if book is None:
            return
        if book.entries:
            with Exact():
                self._match_close(book, now, (open_, high, low, close), volume)
        book.taken = ZERO
        if not book.entries:
            self._books.pop(symbol, None)

    def close_bars(self, bars: Sequence[Bar], now: int) -> None:
        """``close_bar`` for each of these bars, in their order."""
        prices, books = self.prices, self._books
        for bar in bars:
            symbol = bar.symbol
            if symbol in books:
                self.close_bar(symbol, now, bar.open, bar.high, bar.low, bar.close, bar.volume)
            else:
                prices[symbol] = bar.close

    def next_expiry(self) -> int | None:
        """When the next open order expires (UTC ns); None if none does."""
        expiries = self._expiries
        while expiries and expiries[0][2].status not in OPEN_STATUSES:
            heappop(expiries)
        return expiries[0][0] if expiries else None

    def expire_day_orders(self, now: int) -> None:
        """Expire what was good until now or earlier: DAY orders at their session's close, GTC ones after 90 days."""
        while (at := self.next_expiry()) is not None and at <= now:
            with Exact():
                self._close(self._expiries[0][2], _EXPIRED, "expired", now)

    def end_session(self) -> None:
        """The account's session has closed: what it is worth now is what it was worth "last day"."""
        with Exact():
            self._account.end_session()

    def take_events(self) -> list[EngineEvent]:
        """What happened since the last call, in order."""
        events = self._events
        if events:
            self._events = []
            return events
        return []

    # ------------------------------------------------------------------ views

    def account(self) -> AccountView:
        """The account at the last prices."""
        with Exact():
            return self._account.view()

    def positions(self) -> list[PositionView]:
        """All positions at the last prices, in the order in which they were opened."""
        with Exact():
            return [self._position_view(position) for position in self._account.positions.values()]

    def position(self, symbol: str) -> PositionView | None:
        """One position, also by the symbol without its slash."""
        instrument = self._instruments.get(symbol)
        position = self._account.positions.get(instrument.symbol) if instrument else None
        if position is None:
            return None
        with Exact():
            return self._position_view(position)

    def asset(self, symbol: str) -> Asset | None:
        """What may be traded under this symbol, also without its slash."""
        instrument = self._instruments.get(symbol)
        return instrument.asset if instrument else None

    def order(self, order_id: str) -> VenueOrder | None:
        """The living order of this id."""
        return self._orders.get(order_id)

    def by_client_id(self, client_order_id: str) -> VenueOrder | None:
        """The living order of this client order id."""
        return self._by_client_id.get(client_order_id)

    def orders(
        self,
        status: str = "open",
        *,
        symbols: Iterable[str] | None = None,
        after: int | None = None,
        until: int | None = None,
        limit: int | None = None,
        newest_first: bool = True,
    ) -> list[VenueOrder]:
        """Living orders by order of arrival.

        Args:
            status: ``open``, ``closed`` or ``all``.
            symbols: Only these, with or without slash.
            after: Only those submitted after this moment (UTC ns).
            until: Only those submitted before this moment (UTC ns).
            limit: At most so many.
            newest_first: From the last to arrive; else from the first.
        """
        wanted = None if symbols is None else {symbol.replace("/", "") for symbol in symbols}
        found: list[VenueOrder] = []
        orders = self._orders.values()
        for order in reversed(orders) if newest_first else orders:
            if limit is not None and len(found) >= limit:
                break
            if (
                (status == "all" or (status == "open") is (order.status in OPEN_STATUSES))
                and (wanted is None or order.symbol.replace("/", "") in wanted)
                and (after is None or order.submitted_at > after)
                and (until is None or order.submitted_at < until)
            ):
                found.append(order)
        return found

    def activities(self, start: int = 0) -> list[VenueExecution]:
        """The FILL rows from number ``start`` on (the first is 0), oldest first."""
        return self._executions[start:]

    def bust(self, execution_id: str, now: int) -> VenueExecution:
        """Take an execution back; its order stays as it is.

        Raises:
            Refusal: There is no such execution, or it cannot be taken back.
        """
        execution = self.amendments.take_back(self._executions, execution_id)
        order = self._orders[execution.order_id]
        self._events.append(
            EngineEvent("trade_bust", order, execution, now, order.status, order.filled_qty, order.filled_avg_price)
        )
        return execution

    def _position_view(self, position: Position) -> PositionView:
        book = self._books.get(position.instrument.symbol)
        closing = _SELL if position.quantity > 0 else _BUY
        return self._account.position_view(position, held_for_orders(book.resting(), closing) if book else ZERO)

    # ------------------------------------------------------------------ persistence

    def dump(self) -> dict[str, Any]:
        """The whole state as strings, numbers, lists and dictionaries: ready for JSON or MessagePack.

        Events that were not taken are no state: take them first.
        """
        return {
            "account": self._account.dump(),
            "prices": dict(self.prices),
            "taken": {symbol: str(book.taken) for symbol, book in self._books.items()},
            "orders": [msgspec.to_builtins(order) for order in self._orders.values()],
            "executions": [msgspec.to_builtins(execution) for execution in self._executions],
            "busted": list(self.amendments.busted),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Become the engine that gave this dump. The engine must be new, with the same assets and settings.

        Raises:
            VenueError: The state is damaged, or names a symbol that this engine does not trade.
        """
        invariant(not self._orders, "an engine that has traded cannot load a state")
        try:
            self._load(state)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            message = f"the state of the matching engine cannot be loaded: {error!r}"
            raise VenueError(message) from error

    def _load(self, state: Mapping[str, Any]) -> None:
        self._account.load(state["account"], self._instruments)
        self.prices.update(state["prices"])
        for symbol, taken in state["taken"].items():
            book = self._books[symbol] = Book(self._instruments[symbol])
            book.taken = Decimal(taken)
        for order in msgspec.convert(state["orders"], list[VenueOrder]):
            self._orders[order.id] = self._by_client_id[order.client_order_id] = order
            if order.status in OPEN_STATUSES:
                self.open_count += 1
                insort(self._books[order.symbol].entries, entry_of(order))
                if order.expires_at is not None:
                    self._expiries.append((order.expires_at, order.number, order))
        heapify(self._expiries)
        self._executions = msgspec.convert(state["executions"], list[VenueExecution])
        self.amendments.busted = dict.fromkeys(state["busted"])

    # ------------------------------------------------------------------ the life of an order

    def _submit(self, new: NewOrder, now: int) -> VenueOrder:
        number = len(self._orders) + 1
        client_order_id = new.client_order_id
        if client_order_id is None:
            client_order_id = f"{self._client_order_id_head}{number:012x}"
        elif len(client_order_id) > CLIENT_ORDER_ID_LENGTH_MAX:
            message = f"client_order_id must be no more than {CLIENT_ORDER_ID_LENGTH_MAX} characters"
            raise invalid(message)
        if client_order_id in self._by_client_id:
            message = "client_order_id must be unique"
            raise invalid(message)
        instrument = self._instruments.get(new.symbol)
        if instrument is None:
            message = f'asset "{new.symbol}" not found'
            raise unprocessable(message)
        refusal = instrument.refusal(new)
        if refusal is not None:
            raise refusal
        symbol = instrument.symbol
        book = self._books.get(symbol)
        resting = book.resting() if book is not None and book.entries else _NONE_RESTING
        reserve_price = assess(new, instrument, self._account, resting, self.prices.get(symbol))
        if isinstance(reserve_price, Refusal):
            raise reserve_price

        order = VenueOrder(
            f"{self._order_id_head}{number:012x}",
            client_order_id,
            number,
            symbol,
            instrument.asset_class,
            new.side,
            new.order_type,
            new.time_in_force,
            new.quantity,
            new.limit_price,
            _NEW,
            now,
            now,
            now,
            self._expiry(instrument, new.time_in_force, now),
            reserve_price,
        )
        if book is None:
            book = self._books[symbol] = Book(instrument)
        insort(book.entries, entry_of(order))
        if order.expires_at is not None:
            heappush(self._expiries, (order.expires_at, number, order))
        if reserve_price:
            self._account.reserve(instrument, new.side, reserve_price * new.quantity)
        self._orders[order.id] = self._by_client_id[client_order_id] = order
        self.open_count += 1
        self._events.append(EngineEvent("new", order, None, now, _NEW, ZERO, None))
        return order

    def _expiry(self, instrument: Instrument, time_in_force: TimeInForce, now: int) -> int | None:
        if time_in_force is _IOC:
            return None
        if time_in_force is _DAY:
            return self._sessions(instrument.asset_class).at(now).close
        return now + _GTC_LIFE_NS

    def _close(self, order: VenueOrder, status: OrderStatus, kind: EventKind, now: int) -> None:
        """End an order that is not filled."""
        book = self._books[order.symbol]
        book.entries = [entry for entry in book.entries if entry[3] is not order]
        if not book.entries and not book.taken:
            del self._books[order.symbol]
        self.open_count -= 1
        if order.reserve_price:
            self._account.reserve(book.instrument, order.side, -order.reserve_price * order.leaves_qty)
        order.status = status
        order.updated_at = now
        if status is _EXPIRED:
            order.expired_at = now
        elif status is _REPLACED:
            order.replaced_at = now
        else:
            order.canceled_at = now
        self._events.append(EngineEvent(kind, order, None, now, status, order.filled_qty, order.filled_avg_price))

    # ------------------------------------------------------------------ matching

    def _match_open(self, book: Book, now: int, price: float, volume: float) -> None:
        instrument = book.instrument
        budget = self._budget(book, volume)
        ask = bid = None
        for _, _, _, order in book.entries:
            limit_price = order.limit_price
            if order.side is _BUY:
                at = ask = ask or instrument.ask(price)
                if limit_price is not None and ask > limit_price:
                    continue
            else:
                at = bid = bid or instrument.bid(price)
                if limit_price is not None and bid < limit_price:
                    continue
            budget = self._execute(book, order, at, budget, now)
        self._end_moment(book, now)

    def _match_close(self, book: Book, now: int, bar: tuple[float, float, float, float], volume: float) -> None:
        budget = self._budget(book, volume)
        for _, _, _, order in book.entries:
            at = _price_at_close(order, book.instrument, bar)
            if at is not None:
                budget = self._execute(book, order, at, budget, now)
        self._end_moment(book, now)

    def _budget(self, book: Book, volume: float) -> Decimal | None:
        """How much our orders may still take of this bar; None is any amount."""
        if self._participation is None:
            return None
        return self._participation * Decimal(repr(volume)) - book.taken

    def _execute(
        self, book: Book, order: VenueOrder, price: Decimal, budget: Decimal | None, now: int
    ) -> Decimal | None:
        """Fill as much as the budget allows; return what is left of the budget."""
        quantity = order.quantity - order.filled_qty
        if budget is not None:
            if budget < quantity:
                lot = book.instrument.lot_of(order.quantity)
                quantity = budget // lot * lot
                if quantity <= 0:
                    return budget
            budget -= quantity
            book.taken += quantity
        self._fill(book.instrument, order, quantity, price, now)
        return budget

    def _fill(self, instrument: Instrument, order: VenueOrder, quantity: Decimal, price: Decimal, now: int) -> None:
        account, side = self._account, order.side
        cost = quantity * price
        fee_coin = fee_cash = ZERO
        if side is _BUY:
            if instrument.is_crypto:
                fee_coin = self._fee(order, quantity)
            held = account.trade(instrument, quantity - fee_coin, price, -cost)
        else:
            if instrument.is_crypto:
                fee_cash = self._fee(order, cost)
            held = account.trade(instrument, -quantity, price, cost - fee_cash)
        if order.reserve_price:
            account.reserve(instrument, side, -order.reserve_price * quantity)

        cum_qty = order.filled_qty + quantity
        leaves_qty = order.quantity - cum_qty
        order.filled_cost += cost
        average = price if cum_qty == quantity else (order.filled_cost / cum_qty).quantize(NANO)
        kind: EventKind = "partial_fill"
        status = _PARTIALLY_FILLED
        if not leaves_qty:
            kind, status = "fill", _FILLED
            order.filled_at = now
            self.open_count -= 1
        order.filled_qty, order.filled_avg_price, order.status, order.updated_at = cum_qty, average, status, now

        executions = self._executions
        execution_id = f"{self._execution_id_head}{len(executions) + 1:012x}"
        execution = VenueExecution(
            execution_id,
            order.id,
            order.client_order_id,
            order.symbol,
            side,
            quantity,
            price,
            now,
            cum_qty,
            leaves_qty,
            held,
            fee_coin,
            fee_cash,
        )
        executions.append(execution)
        self._events.append(EngineEvent(kind, order, execution, now, status, cum_qty, average))

    def _fee(self, order: VenueOrder, amount: Decimal) -> Decimal:
        """The crypto fee on an amount of coin or cash, rounded up. Whoever meets the market at once takes liquidity."""
        taker = not order.rested or order.order_type is _MARKET
        return (amount * (self._taker_rate if taker else self._maker_rate)).quantize(NANO, ROUND_CEILING)

    def _end_moment(self, book: Book, now: int) -> None:
        """Every order has met the market now: filled ones leave the book, what is left of IOC ones is canceled."""
        entries = book.entries
        book.entries = [entry for entry in entries if entry[3].status is not _FILLED]
        for _, _, _, order in entries:
            order.rested = True
            if order.time_in_force is _IOC and order.status is not _FILLED:
                self._close(order, _CANCELED, "canceled", now)


def _price_at_close(
    order: VenueOrder, instrument: Instrument, bar: tuple[float, float, float, float]
) -> Decimal | None:
    """Where an order trades in the rest of a bar; None if it does not.

    A limit order that rested lives through the bar from its open. If the open was within its limit already (and the
    volume ran out), it pays no more than that; else the market has to come to its limit.
    """
    open_, high, low, close = bar
    limit_price = order.limit_price
    if order.side is _BUY:
        if limit_price is not None and order.rested:
            return None if instrument.ask(low) > limit_price else min(limit_price, instrument.ask(open_))
        ask = instrument.ask(close)
        return ask if limit_price is None or ask <= limit_price else None
    if limit_price is not None and order.rested:
        return None if instrument.bid(high) < limit_price else max(limit_price, instrument.bid(open_))
    bid = instrument.bid(close)
    return bid if limit_price is None or bid >= limit_price else None
