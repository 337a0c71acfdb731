"""The matching engine: orders in, trades out, no I/O, no clock of its own, the same answer every time.

The venue puts a server around it and the backtester drives it in a tight loop, so that both give the
same fills. It meets a market of bars (``open_bar``, ``close_bar``: see ``bars``) or one of quotes and
trades (``quote``, ``trade``, ``meet``: see ``quotes``); the book and the life of an order are the same
in both (see ``ledger``). A symbol can be halted: orders rest, may be canceled, and nothing trades; an
IOC or FOK order that meets a halt is canceled.

Nothing iterates over a set, and all arithmetic runs in a Decimal context wide enough to be exact,
whatever the caller's is (only average prices are rounded).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, getcontext
from heapq import heapify, heappop
from typing import Any

import msgspec

from holdfast.model.decimals import EXACT, Exact
from holdfast.model.enums import AssetClass, OrderSide, OrderStatus
from holdfast.model.errors import VenueError, invariant
from holdfast.model.market import Asset
from holdfast.time import Sessions, sessions_for
from holdfast.venue.account import AccountView, Position, PositionView
from holdfast.venue.admission import assess, held_for_orders
from holdfast.venue.amendments import Amendments
from holdfast.venue.bars import BarMatching
from holdfast.venue.book import Book, entry_of
from holdfast.venue.instruments import CLIENT_ORDER_ID_LENGTH_MAX
from holdfast.venue.orders import (
    OPEN_STATUSES,
    ZERO,
    EngineEvent,
    NewOrder,
    Refusal,
    VenueExecution,
    VenueOrder,
    invalid,
    not_found,
    unprocessable,
)
from holdfast.venue.quotes import Quote, QuoteMatching
from holdfast.venue.replacing import Replacement, successor
from holdfast.venue.settings import EngineSettings

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
_CANCELED, _EXPIRED, _REPLACED = OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REPLACED
_NONE_RESTING: list[VenueOrder] = []


class MatchingEngine(BarMatching, QuoteMatching):
    """One account's orders, positions and cash.

    Args:
        assets: What may be traded. Crypto is also found without its slash (``BTCUSD``).
        cash: What the account starts with (USD).
        settings: How it trades.
        sessions: Gives the sessions of an asset class; DAY orders expire at their close.

    Attributes:
        prices: Last trade by symbol. Bars and trades write it; a caller may, too. Always the same dictionary.
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
        super().__init__(assets, cash=cash, settings=settings or EngineSettings(), sessions=sessions)
        self.quotes: dict[str, Quote] = {}
        self.amendments = Amendments(self._account, self._instruments)

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
        return self._place(new, client_order_id, instrument, reserve_price, now)

    # ------------------------------------------------------------------ the market

    def halt(self, symbol: str, now: int) -> None:
        """Let a symbol trade nothing from now on: orders come, rest and may be canceled, IOC and FOK ones are at once.

        Raises:
            Refusal: There is no such symbol.
        """
        book = self._book_of(symbol)
        book.halted = True
        with Exact():
            self._miss_moment(book, now)

    def resume(self, symbol: str, now: int) -> None:
        """Let a halted symbol trade again: its orders meet what the market brings next.

        Raises:
            Refusal: There is no such symbol.
        """
        book = self._book_of(symbol)
        book.halted = False
        if book.is_spent:
            self._books.pop(book.instrument.symbol, None)

    def is_halted(self, symbol: str) -> bool:
        """Whether a symbol trades nothing now."""
        book = self._books.get(symbol)
        return book is not None and book.halted

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

    def _book_of(self, symbol: str) -> Book:
        instrument = self._instruments.get(symbol)
        if instrument is None:
            message = f"asset not found for {symbol}"
            raise not_found(message)
        book = self._books.get(instrument.symbol)
        if book is None:
            book = self._books[instrument.symbol] = Book(instrument)
        return book

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
            "quotes": {symbol: list(quote) for symbol, quote in self.quotes.items()},
            "books": {symbol: book.dump() for symbol, book in self._books.items()},
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
        self.quotes.update(
            {symbol: (bid, size, ask, ask_size) for symbol, (bid, size, ask, ask_size) in state["quotes"].items()}
        )
        for symbol, told in state["books"].items():
            book = self._books[symbol] = Book(self._instruments[symbol])
            book.load(told)
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
