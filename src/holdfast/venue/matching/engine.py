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

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, getcontext
from heapq import heapify, heappop
from typing import Any

import msgspec

from holdfast.model.decimals import EXACT, Exact
from holdfast.model.enums import AssetClass, OrderClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import VenueError, invariant
from holdfast.model.market import Asset
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR
from holdfast.time import Sessions, sessions_for
from holdfast.venue.matching.account import AccountView, Position, PositionView
from holdfast.venue.matching.admission import UNRESTRICTED, Permissions, assess, held_for_orders
from holdfast.venue.matching.amendments import Amendments
from holdfast.venue.matching.bars import BarMatching
from holdfast.venue.matching.book import Book
from holdfast.venue.matching.forms import (
    AUCTIONS,
    CLIENT_ORDER_ID_LENGTH_MAX,
    is_plainly_good,
    notional_refusal,
    refusal_of,
)
from holdfast.venue.matching.hours import window_rule
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import (
    OPEN_STATUSES,
    ZERO,
    EngineEvent,
    NewOrder,
    Refusal,
    Terms,
    VenueExecution,
    VenueOrder,
    not_found,
)
from holdfast.venue.matching.quotes import Quote, QuoteMatching
from holdfast.venue.matching.replacing import Replacement, successor
from holdfast.venue.matching.rules import Rule
from holdfast.venue.matching.settings import EngineSettings
from holdfast.venue.matching.stops import trailed

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
_CLS = TimeInForce.CLS
_ACCEPTED, _HELD = OrderStatus.ACCEPTED, OrderStatus.HELD
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
        permissions: What the account may do; a caller may change it.

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
        self.permissions: Permissions = UNRESTRICTED
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
            raise Rule.ORDER_UNKNOWN.refusal(id=order_id)
        if order.status in OPEN_STATUSES:
            with Exact():
                self._close(order, _CANCELED, "canceled", now)
        elif order.status is not _CANCELED:
            raise Rule.CLOSED_ALREADY.refusal(status=order.status.value)
        return order

    def replace(self, order_id: str, change: Replacement, now: int) -> VenueOrder:
        """Put a new order in the place of an open one, at once; the new one is the last to arrive.

        It is judged with the old one left out, so that of the two the larger needs buying power, and not both.

        Raises:
            Refusal: It cannot be. Nothing has changed, and its client order id is not used up.
        """
        old = self._orders.get(order_id)
        if old is None:
            raise Rule.ORDER_UNKNOWN.refusal(id=order_id)
        with Exact():
            new = successor(old, change, self._instruments[old.symbol])
            if new.client_order_id in self._by_client_id:
                raise Rule.CLIENT_ORDER_ID_TAKEN.refusal()
            instrument, account = self._instruments[old.symbol], self._account
            book, held_back = self._books.get(old.symbol), old.reserve_price * old.leaves_qty
            others = [order for order in book.resting() if order is not old] if book is not None else []
            account.reserve(instrument, old.side, -held_back)
            try:
                reserve_price = self._judge(new, instrument, others, now)
            finally:
                account.reserve(instrument, old.side, held_back)
            was_held, was_shelved = old.status is _HELD, self._is_shelved(old)
            self._close(old, _REPLACED, "replaced", now)
            order = self._place(new, self._name(new), instrument, reserve_price, now, held=was_held)
            self._succeed(old, order)
            if was_held and was_shelved:
                self._shelve(order, self._book(instrument))
        order.replaces, old.replaced_by = old.id, order.id
        return order

    def has_open(self, symbol: str) -> bool:
        """Whether an order in this symbol is open."""
        book = self._books.get(symbol)
        return book is not None and bool(book.entries or book.aside)

    def _submit(self, new: NewOrder, now: int) -> VenueOrder:
        client_order_id = self._name(new)
        instrument = self._instruments.get(new.symbol)
        if instrument is None:
            raise Rule.ASSET_UNKNOWN.refusal(symbol=new.symbol)
        terms = new.terms
        if terms is not None:
            new = self._completed(new, terms, instrument)
        book = self._books.get(instrument.symbol)
        reserve_price = self._judge(new, instrument, _NONE_RESTING if book is None else book.resting(), now)
        order = self._place(new, client_order_id, instrument, reserve_price, now)
        if terms is not None:
            self._bring_legs(order, now)
        return order

    def _name(self, new: NewOrder) -> str:
        """The client order id of an order: its own, or the next one of ours."""
        client_order_id = new.client_order_id
        if client_order_id is None:
            client_order_id = self._client_order_id_head + str(len(self._orders) + 1).zfill(12)
        elif len(client_order_id) > CLIENT_ORDER_ID_LENGTH_MAX:
            raise Rule.CLIENT_ORDER_ID_TOO_LONG.refusal()
        if client_order_id in self._by_client_id:
            raise Rule.CLIENT_ORDER_ID_TAKEN.refusal()
        return client_order_id

    def _completed(self, new: NewOrder, terms: Terms, instrument: Instrument) -> NewOrder:
        """An order with what the market settles when it comes: a quantity for its money, where a trailing stop is."""
        if terms.order_class is OrderClass.OCO and terms.exits is not None and new.order_type is OrderType.LIMIT:
            new = msgspec.structs.replace(new, limit_price=terms.exits.take_profit)
        price = self._reference_price(instrument.symbol)
        if terms.notional is not None:
            refusal = notional_refusal(terms.notional)
            if refusal is not None:
                raise refusal
            reference = new.limit_price or terms.stop_price or (None if price is None else Decimal(repr(price)))
            if reference is None or not reference.is_finite() or reference <= 0:
                raise Rule.NO_PRICE.refusal(symbol=instrument.symbol)
            quantity = max(terms.notional / reference // instrument.lot * instrument.lot, instrument.lot)
            new = msgspec.structs.replace(new, quantity=quantity)
        trails = terms.trail_price if terms.trail_price is not None else terms.trail_percent
        if new.order_type is OrderType.TRAILING_STOP and trails is not None and trails.is_finite():
            last = self.prices.get(instrument.symbol, price)
            if last is None:
                raise Rule.NO_PRICE.refusal(symbol=instrument.symbol)
            new = msgspec.structs.replace(new, terms=trailed(terms, new.side, instrument, Decimal(repr(last))))
        return new

    def _judge(self, new: NewOrder, instrument: Instrument, resting: list[VenueOrder], now: int) -> Decimal:
        """What each share of an order reserves of the buying power. Raises why it may not come."""
        terms = new.terms
        price = self.prices.get(instrument.symbol)
        if terms is not None or not is_plainly_good(new, instrument):
            refusal = refusal_of(new, instrument, price)
            if refusal is not None:
                raise refusal
            if new.time_in_force in AUCTIONS:
                rule = window_rule(new.time_in_force, self._sessions(instrument.asset_class), now)
                if rule is not None:
                    raise rule.refusal()
            if terms is not None and terms.parent is not None:
                return ZERO  # an exit reduces what its entry has opened
        if self.quotes:
            price = self._reference_price(instrument.symbol)
        return assess(new, instrument, self._account, resting, price, self.permissions)

    def _reference_price(self, symbol: str, side: OrderSide = _BUY) -> float | None:
        """What the market asks of a buyer, or bids a seller: the quote, or else the last trade."""
        quote = self.quotes.get(symbol)
        if quote is not None and (price := quote[2 if side is _BUY else 0]) > 0:
            return price
        return self.prices.get(symbol)

    def _sale_collar(self, instrument: Instrument) -> Decimal:
        price = self._reference_price(instrument.symbol, _SELL)
        if price is None:
            raise Rule.NO_PRICE.refusal(symbol=instrument.symbol)
        return instrument.crypto_collar(_SELL, Decimal(repr(price)))

    @property
    def held(self) -> Iterable[str]:
        """The symbols of its positions."""
        return self._account.positions

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
        self._forget(book.instrument.symbol)

    def is_halted(self, symbol: str) -> bool:
        """Whether a symbol trades nothing now."""
        book = self._books.get(symbol)
        return book is not None and book.halted

    def restrict_borrowing(self, symbol: str, now: int, *, is_hard: bool) -> None:
        """Let a stock be hard to borrow from now on, or easy again: no order opens a short, and open ones that would are canceled."""
        instrument = self._instruments[symbol]
        instrument.is_borrowable = instrument.asset.shortable and not is_hard
        if is_hard:
            for order in self.orders("open", symbols=[symbol], newest_first=False):
                # What reserves buying power opens a position; the legs of an entry end with it.
                if order.side is _SELL and order.reserve_price and order.is_open:
                    self.cancel(order.id, now)

    def next_expiry(self) -> int | None:
        """When the next open order expires (UTC ns); None if none does."""
        expiries = self._expiries
        while expiries and expiries[0][2].status not in OPEN_STATUSES:
            heappop(expiries)
        return expiries[0][0] if expiries else None

    def expire_day_orders(self, now: int) -> None:
        """Expire what was good until now or earlier: DAY orders at their session's close, GTC ones after 90 days.

        Orders for the closing auction trade in it before.
        """
        while (at := self.next_expiry()) is not None and at <= now:
            order = self._expiries[0][2]
            with Exact():
                if order.time_in_force is _CLS:
                    self._close_auction(order, now)
                else:
                    self._close(order, _EXPIRED, "expired", now)

    def _close_auction(self, order: VenueOrder, now: int) -> None:
        """The closing auction of one order: at the session's last price, if there was one."""
        book = self._books[order.symbol]
        opened = self._sessions(order.asset_class).at((order.expires_at or now) - 1).open
        if book.traded_at <= opened or book.halted or order.status is _ACCEPTED:
            self._close(order, _CANCELED, "canceled", now)
        else:
            price = Decimal(repr(self.prices[order.symbol]))
            book.traded_left = self._bid_in_auction(book, order, price, book.traded_left, now)
        self._forget(order.symbol)

    def set_periods(self, periods: Mapping[str, int]) -> None:
        """Tell the length of each symbol's bars (ns). Only those of an hour or less tell the session from its borders."""
        for instrument in self._instruments.values():
            is_short = periods.get(instrument.symbol, NS_PER_DAY) <= NS_PER_HOUR
            instrument.bars_have_hours = is_short and not instrument.is_crypto

    def end_session(self) -> None:
        """The account's session has closed: what it is worth now is what it was worth "last day"."""
        with Exact():
            self._account.end_session()

    def take_events(self) -> list[EngineEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

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
        open_ahead = self.open_count
        for order in reversed(orders) if newest_first else orders:
            if (limit is not None and len(found) >= limit) or (status == "open" and not open_ahead):
                break
            is_open = order.status in OPEN_STATUSES
            open_ahead -= is_open
            if (
                (status == "all" or (status == "open") is is_open)
                and (wanted is None or order.symbol.replace("/", "") in wanted)
                and (after is None or order.submitted_at > after)
                and (until is None or order.submitted_at < until)
            ):
                found.append(order)
        return found

    def activities(self, start: int = 0) -> list[VenueExecution]:
        """The FILL rows from number ``start`` on (the first is 0), oldest first."""
        return self._executions[start:]

    def adjust(self, symbol: str, change: Decimal, cash: Decimal, now: int) -> None:
        """Change a position and the cash without a trade; orders that would reduce by more than is left are canceled.

        Raises:
            Refusal: There is no such symbol, or the position would turn around; nothing has changed.
        """
        self.amendments.adjust(symbol, change, cash)
        if change:
            self._release_excess(self._instruments[symbol].symbol, now)

    def bust(self, execution_id: str, now: int) -> VenueExecution:
        """Take an execution back; its order stays as it is. Orders that would reduce by more than is left are canceled.

        Raises:
            Refusal: There is no such execution, or it cannot be taken back.
        """
        execution = self.amendments.take_back(self._executions, execution_id)
        order = self._orders[execution.order_id]
        self._events.append(
            EngineEvent("trade_bust", order, execution, now, order.status, order.filled_qty, order.filled_avg_price)
        )
        self._release_excess(order.symbol, now)
        return execution

    def _book_of(self, symbol: str) -> Book:
        instrument = self._instruments.get(symbol)
        if instrument is None:
            message = f"asset not found for {symbol}"
            raise not_found(message)
        return self._book(instrument)

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
            "orders": [_plain(order) for order in self._orders.values()],
            "executions": [msgspec.to_builtins(execution) for execution in self._executions],
            "busted": list(self.amendments.busted),
            "permissions": msgspec.to_builtins(self.permissions),
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
            self._book(self._instruments[symbol]).load(told)
        orders = msgspec.convert(state["orders"], list[VenueOrder])
        for order in orders:
            self._orders[order.id] = self._by_client_id[order.client_order_id] = order
        for order in orders:
            if order.status in OPEN_STATUSES:
                self.open_count += 1
                if self._is_shelved(order):
                    self._shelve(order, self._books[order.symbol])
                if order.expires_at is not None:
                    self._expiries.append((order.expires_at, order.number, order))
        heapify(self._expiries)
        self._executions = msgspec.convert(state["executions"], list[VenueExecution])
        self.amendments.busted = dict.fromkeys(state["busted"])
        permissions = msgspec.convert(state["permissions"], Permissions)
        self.permissions = UNRESTRICTED if permissions == UNRESTRICTED else permissions


def _plain(order: VenueOrder) -> dict[str, Any]:
    """An order as JSON would give it back."""
    told: dict[str, Any] = msgspec.to_builtins(order)
    if told["terms"] is not None:
        told["terms"]["legs"] = list(told["terms"]["legs"])
    return told
