"""The life of an order at the venue: how it comes, fills and ends, and what that does to the account.

What makes it trade is told elsewhere: ``bars`` and ``quotes`` find who trades at which price, and both end here, so
that an order lives the same life whatever the market is made of. Ids are UUIDs made of the namespace and a counter.
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
from holdfast.venue.account import NANO, Account
from holdfast.venue.book import Book, entry_of
from holdfast.venue.instruments import Instrument
from holdfast.venue.orders import (
    ZERO,
    EngineEvent,
    EventKind,
    NewOrder,
    VenueExecution,
    VenueOrder,
)
from holdfast.venue.settings import BPS, EngineSettings

_BUY = OrderSide.BUY
_MARKET = OrderType.MARKET
_DAY, _IOC, _FOK = TimeInForce.DAY, TimeInForce.IOC, TimeInForce.FOK
_NEW, _PARTIALLY_FILLED, _FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
_CANCELED, _EXPIRED, _REPLACED = OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REPLACED

_GTC_LIFE_NS = 90 * NS_PER_DAY


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
        # (when, number, order), the earliest first; orders that closed otherwise stay until they come up.
        self._expiries: list[tuple[int, int, VenueOrder]] = []

    # ------------------------------------------------------------------ coming and going

    def _place(
        self, new: NewOrder, client_order_id: str, instrument: Instrument, reserve_price: Decimal, now: int
    ) -> VenueOrder:
        """Put an order that was accepted into its book."""
        number = len(self._orders) + 1
        symbol = instrument.symbol
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
        book = self._books.get(symbol)
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
        if time_in_force is _IOC or time_in_force is _FOK:
            return None
        if time_in_force is _DAY:
            return self._sessions(instrument.asset_class).at(now).close
        return now + _GTC_LIFE_NS

    def _close(self, order: VenueOrder, status: OrderStatus, kind: EventKind, now: int) -> None:
        """End an order that is not filled."""
        book = self._books[order.symbol]
        book.entries = [entry for entry in book.entries if entry[3] is not order]
        if book.is_spent:
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

    # ------------------------------------------------------------------ trading

    def _execute(
        self, book: Book, order: VenueOrder, price: Decimal, budget: Decimal | None, now: int
    ) -> Decimal | None:
        """Fill as much as the budget allows (None: any amount); return what is left of it."""
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
        """Every order has met the market now: filled ones leave the book, what is left of IOC and FOK ones is canceled."""
        entries = book.entries
        book.entries = [entry for entry in entries if entry[3].status is not _FILLED]
        for _, _, _, order in entries:
            order.rested = True
            time_in_force = order.time_in_force
            if (time_in_force is _IOC or time_in_force is _FOK) and order.status is not _FILLED:
                self._close(order, _CANCELED, "canceled", now)

    def _miss_moment(self, book: Book, now: int) -> None:
        """There was a moment, and nothing could trade in it: orders that wait for nothing are canceled."""
        for _, _, _, order in book.entries:
            if order.time_in_force in (_IOC, _FOK):
                self._close(order, _CANCELED, "canceled", now)
