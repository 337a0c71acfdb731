"""The life of an order at the venue: how it comes, fills and ends, and what that does to the account.

What makes it trade is told elsewhere: ``bars`` and ``quotes`` find who trades at which price, and both end here, so
that an order lives the same life whatever the market is made of. Ids are UUIDs made of the namespace and a counter,
which is written in decimal: its digits are hexadecimal ones, too.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from heapq import heappush

from holdfast.model.decimals import Exact
from holdfast.model.enums import AssetClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.market import Asset
from holdfast.model.timestamps import NS_PER_DAY
from holdfast.time import Sessions
from holdfast.venue.matching.account import NANO, Account
from holdfast.venue.matching.admission import held_for_orders
from holdfast.venue.matching.book import Book, Entry, entry_of
from holdfast.venue.matching.forms import AUCTIONS
from holdfast.venue.matching.hours import Phase, day_expiry, gtc_expiry, hours_at
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import (
    OPEN_STATUSES,
    ZERO,
    EngineEvent,
    EventKind,
    NewOrder,
    Terms,
    VenueExecution,
    VenueOrder,
)
from holdfast.venue.matching.settings import BPS, EngineSettings
from holdfast.venue.matching.stops import is_dormant

_BUY = OrderSide.BUY
_MARKET = OrderType.MARKET
_DAY, _GTC, _IOC, _FOK = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
_ENDLESS = (_IOC, _FOK)  # they end with the first moment that they meet, and need no end of their own
_ACCEPTED, _HELD = OrderStatus.ACCEPTED, OrderStatus.HELD
_NEW, _PARTIALLY_FILLED, _FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
_CANCELED, _EXPIRED, _REPLACED = OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REPLACED

_CRYPTO_GTC_LIFE_NS = 90 * NS_PER_DAY


class OrderLedger:
    """All orders of one account, open and closed, with their executions and events.

    Args:
        assets: What may be traded. Crypto is also found without its slash (``BTCUSD``).
        cash: What the account starts with (USD).
        settings: How it trades.
        sessions: Gives the sessions of an asset class; DAY orders expire at their close.

    Attributes:
        prices: Last trade by symbol. Bars and trades write it; a caller may, too. Always the same dictionary.
        open_count: How many orders are open. Read only.

    Raises:
        ConfigurationError: An asset cannot be traded here.
    """

    def __init__(
        self,
        assets: Mapping[str, Asset],
        *,
        cash: Decimal,
        settings: EngineSettings,
        sessions: Callable[[AssetClass], Sessions],
    ) -> None:
        self.settings = settings
        self.prices: dict[str, float] = {}
        self.open_count = 0

        with Exact():
            half_spread = Decimal(repr(settings.spread_bps)) / (2 * BPS)
            self._maker_rate, self._taker_rate = settings.maker_bps / BPS, settings.taker_bps / BPS
            self._instruments: dict[str, Instrument] = {}
            for asset in assets.values():
                instrument = Instrument(asset, half_spread=half_spread)
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
        # Books exist for symbols whose market matters: with open orders, or with a bar or a quote of which orders took
        # a share, or halted. What happens to all other symbols only moves a price.
        self._books: dict[str, Book] = {}
        # (when, number, order), the earliest first; orders that closed otherwise stay until they come up, or none is open.
        self._expiries: list[tuple[int, int, VenueOrder]] = []
        # From when until when equities are known to be in session.
        self._core = (0, 0)
        # Since when and until when an equity order without an end gets which one.
        self._gtc = (0, 0, 0)
        # Entries of groups that were filled in the moment that is being matched.
        self._filled_entries: list[VenueOrder] = []

    # ------------------------------------------------------------------ coming and going

    def _place(
        self,
        new: NewOrder,
        client_order_id: str,
        instrument: Instrument,
        reserve_price: Decimal,
        now: int,
        *,
        held: bool = False,
    ) -> VenueOrder:
        """Put an order that was accepted into its book, but for one that is held: it waits for its entry."""
        number = len(self._orders) + 1
        terms, time_in_force = new.terms, new.time_in_force
        bound = new.limit_price
        if bound is None and instrument.is_crypto:
            bound = reserve_price or self._sale_collar(instrument)  # a buy reserves its collar, and no sale reserves
        status: OrderStatus
        expires_at: int | None
        since, until = self._core
        # Most orders come in a session that is known already, and end with it. (None for crypto is for the day.)
        is_usual = time_in_force is _DAY and terms is None and since <= now < until
        if is_usual:
            status, expires_at = _NEW, until
        else:
            status, expires_at = self._begin(instrument, time_in_force, terms, now)
        order = VenueOrder(
            self._order_id_head + str(number).zfill(12),
            client_order_id,
            number,
            instrument.symbol,
            instrument.asset_class,
            new.side,
            new.order_type,
            time_in_force,
            new.quantity,
            new.limit_price,
            bound,
            status,
            now,
            now,
            now,
            expires_at,
            reserve_price,
        )
        if terms is not None:
            order.terms = terms
        self._orders[order.id] = self._by_client_id[client_order_id] = order
        if not self.open_count:
            self._expiries.clear()
        self.open_count += 1
        if expires_at is not None:
            heappush(self._expiries, (expires_at, number, order))
        if reserve_price:
            self._account.reserve(instrument, new.side, reserve_price * new.quantity)
        if held:
            order.status = _HELD
            return order
        book = self._book(instrument)
        if is_usual:
            insort(book.entries, entry_of(order))
        else:
            self._shelve(order, book)
        kind: EventKind = "new" if status is _NEW else "accepted"
        self._events.append(EngineEvent(kind, order, None, now, status, ZERO, None, terms))
        return order

    def _begin(
        self, instrument: Instrument, time_in_force: TimeInForce, terms: Terms | None, now: int
    ) -> tuple[OrderStatus, int | None]:
        """The state in which an order begins, and when it ends.

        What cannot trade before the next session is accepted, and new when its market is there.
        """
        endless = time_in_force in _ENDLESS
        if instrument.is_crypto:
            return _NEW, None if endless else now + _CRYPTO_GTC_LIFE_NS
        extended = terms is not None and terms.extended_hours
        sessions = self._sessions(instrument.asset_class)
        session = sessions.at(now)
        status = _NEW
        if now < session.open and not (extended and not self._is_closed(instrument, now)):
            status = _ACCEPTED
        if endless:
            return status, None
        if time_in_force is _GTC:
            since, until, expires_at = self._gtc
            if not since <= now < until:
                expires_at, until = gtc_expiry(sessions, now)
                self._gtc = (now, until, expires_at)
            return status, expires_at
        return status, day_expiry(sessions, now, extended=True) if extended else session.close

    def _book(self, instrument: Instrument) -> Book:
        """A symbol's book, made if need be."""
        book = self._books.get(instrument.symbol)
        if book is None:
            book = self._books[instrument.symbol] = Book(instrument)
        return book

    @staticmethod
    def _shelve(order: VenueOrder, book: Book) -> None:
        """Put an open order where it belongs in its book."""
        if (
            (order.status is _NEW or order.status is _PARTIALLY_FILLED)
            and order.time_in_force not in AUCTIONS
            and (order.terms is None or not is_dormant(order.order_type, order.terms))
        ):
            insort(book.entries, entry_of(order))
        else:
            insort(book.aside, order, key=_number)

    def _close(self, order: VenueOrder, status: OrderStatus, kind: EventKind, now: int) -> None:
        """End an order that is not filled."""
        book = self._books.get(order.symbol)
        if book is not None:
            book.entries = [entry for entry in book.entries if entry[3] is not order]
            if book.aside:
                book.aside = [other for other in book.aside if other is not order]
            self._forget(order.symbol)
        self.open_count -= 1
        if order.reserve_price:
            instrument = self._instruments[order.symbol]
            self._account.reserve(instrument, order.side, -order.reserve_price * order.leaves_qty)
        order.status = status
        order.updated_at = now
        if status is _EXPIRED:
            order.expired_at = now
        elif status is _REPLACED:
            order.replaced_at = now
        else:
            order.canceled_at = now
        self._events.append(
            EngineEvent(kind, order, None, now, status, order.filled_qty, order.filled_avg_price, order.terms)
        )
        if order.terms is not None:
            self._on_close(order, now)

    def _wake(self, order: VenueOrder, now: int) -> None:
        """An order that was accepted or held is at the market now."""
        order.status = _NEW
        order.updated_at = now
        self._events.append(EngineEvent("new", order, None, now, _NEW, order.filled_qty, None, order.terms))

    def _sale_collar(self, instrument: Instrument) -> Decimal:
        """The worst price that a market sale of crypto takes which comes now."""
        raise NotImplementedError

    def _on_close(self, order: VenueOrder, now: int) -> None:
        """An order with terms of its own has ended without being filled."""
        raise NotImplementedError

    def _on_fill(self, order: VenueOrder, quantity: Decimal, now: int) -> None:
        """An order with terms of its own has filled so much."""
        raise NotImplementedError

    def _on_moment(self, now: int) -> None:
        """All orders have met the market: what their fills brought about comes now."""
        raise NotImplementedError

    # ------------------------------------------------------------------ trading

    def _execute(
        self, book: Book, order: VenueOrder, price: Decimal, budget: Decimal | None, now: int
    ) -> Decimal | None:
        """Fill as much as the budget allows (None: any amount); return what is left of it."""
        terms = order.terms
        if terms is not None and terms.notional is not None and not order.filled_qty:
            self._settle_quantity(order, terms.notional, book.instrument, price)
        quantity = order.quantity - order.filled_qty
        if budget is not None:
            if budget < quantity:
                if order.time_in_force is _FOK:
                    return budget
                lot = book.instrument.lot_of(order.quantity)
                quantity = budget // lot * lot
                if quantity <= 0:
                    return budget
            budget -= quantity
        self._fill(book.instrument, order, quantity, price, now)
        return budget

    def _settle_quantity(self, order: VenueOrder, notional: Decimal, instrument: Instrument, price: Decimal) -> None:
        """The quantity of an order by notional: what its money buys at its first fill, in lots."""
        quantity = max((notional / price) // instrument.lot * instrument.lot, instrument.lot)
        if order.side is not _BUY:
            others = (other for other in self._books[order.symbol].resting() if other is not order)
            quantity = min(quantity, self._account.held(order.symbol) - held_for_orders(others, order.side))
        if order.reserve_price:
            self._account.reserve(instrument, order.side, order.reserve_price * (quantity - order.quantity))
        order.quantity = quantity

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
        kind: EventKind
        if leaves_qty:
            kind, status = "partial_fill", _PARTIALLY_FILLED
        else:
            kind, status = "fill", _FILLED
            order.filled_at = now
            self.open_count -= 1
        order.status = status
        order.updated_at = now
        order.filled_qty = cum_qty
        order.filled_avg_price = average

        executions = self._executions
        execution_id = self._execution_id_head + str(len(executions) + 1).zfill(12)
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
        terms = order.terms
        self._events.append(EngineEvent(kind, order, execution, now, status, cum_qty, average, terms))
        if terms is not None:
            self._on_fill(order, quantity, now)

    def _fee(self, order: VenueOrder, amount: Decimal) -> Decimal:
        """The crypto fee on an amount of coin or cash, rounded up. Whoever meets the market at once takes liquidity."""
        taker = not order.rested or order.order_type is _MARKET
        return (amount * (self._taker_rate if taker else self._maker_rate)).quantize(NANO, ROUND_CEILING)

    def _end_moment(self, book: Book, met: list[Entry], now: int) -> None:
        """These entries have met the market: filled ones leave the book, what is left of IOC and FOK ones is canceled."""
        book.entries = [entry for entry in book.entries if entry[3].status is not _FILLED] if self.open_count else []
        if self._filled_entries:
            self._on_moment(now)
        for entry in met:
            order = entry[3]
            order.rested = True
            if order.time_in_force in _ENDLESS and order.status in OPEN_STATUSES:
                self._close(order, _CANCELED, "canceled", now)

    def _miss_moment(self, book: Book, now: int) -> None:
        """There was a moment, and nothing could trade in it: orders that wait for nothing are canceled."""
        for _, _, _, order in book.entries:
            if order.time_in_force in _ENDLESS:
                self._close(order, _CANCELED, "canceled", now)

    # ------------------------------------------------------------------ hours

    def _is_core(self, instrument: Instrument, now: int) -> bool:
        """Whether a moment lies in the symbol's session; for crypto every moment does."""
        since, until = self._core
        if since <= now < until or instrument.is_crypto:
            return True
        session = self._sessions(instrument.asset_class).at(now)
        if now < session.open:
            return False
        self._core = (session.open, session.close)
        return True

    def _is_closed(self, instrument: Instrument, now: int) -> bool:
        """Whether at a moment outside the session not even orders for extended hours trade."""
        phase = hours_at(self._sessions(instrument.asset_class), now).phase
        if phase is Phase.OVERNIGHT:
            return self._account.configuration.disable_overnight_trading
        return phase is Phase.CLOSED

    def _forget(self, symbol: str) -> None:
        """Drop a book that remembers nothing that matters."""
        book = self._books.get(symbol)
        if book is None or book.entries or book.aside:
            return
        if not (book.taken or book.bid_taken or book.ask_taken or book.halted):
            del self._books[symbol]


def _number(order: VenueOrder) -> int:
    return order.number


def is_extended(order: VenueOrder) -> bool:
    """Whether an order trades before the open and after the close, too."""
    return order.terms is not None and order.terms.extended_hours
