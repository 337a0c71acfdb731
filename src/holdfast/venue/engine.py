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
in a Decimal context of the engine's own, wide enough to be exact (only average prices are rounded).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal, getcontext, setcontext
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from holdfast.model.enums import AssetClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import ConfigurationError, VenueError, invariant
from holdfast.model.market import Asset, Bar
from holdfast.model.timestamps import NS_PER_DAY
from holdfast.time import Session, Sessions, sessions_for
from holdfast.venue.account import AccountView, PositionView, maintenance_margin
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
    forbidden,
    invalid,
    not_found,
    unprocessable,
)

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
_CANCELED, _EXPIRED = OrderStatus.CANCELED, OrderStatus.EXPIRED

# Quantities and prices have nine decimals at most, so products have eighteen: sixty digits leave
# forty-two before the point.
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_NANO = Decimal("0.000000001")
_BPS = Decimal(10_000)

_GTC_LIFE_NS = 90 * NS_PER_DAY
_SHORTING_EQUITY_MIN = Decimal(2000)
# The float estimate of the account decides only where it is further from the limit than this share of what it summed.
_ESTIMATE_ERROR = 1e-9

# An entry of a book: market orders before limits, better limits first, then arrival. The number is
# unique, so two entries never compare their orders.
_Entry = tuple[int, Decimal, int, VenueOrder]


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one book trades.

    Attributes:
        participation: Share of a bar's volume that our orders may take together; None is unlimited.
        spread_bps: Full spread around the traded price, in basis points of it.
        maker_bps, taker_bps: Crypto fees; equities trade free.
        multiplier: 2 is a Reg-T margin account, 1 a cash account (no shorts).
        namespace: Makes the ids of this book its own; below 2**60.
    """

    participation: Decimal | None = Decimal("0.1")
    spread_bps: float = 0.0
    maker_bps: Decimal = Decimal(15)
    taker_bps: Decimal = Decimal(25)
    multiplier: int = 2
    namespace: int = 0


class _Book:
    """One symbol's open orders in priority order, and what they took of the bar in progress."""

    __slots__ = ("entries", "instrument", "taken")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.entries: list[_Entry] = []
        self.taken = ZERO


class _Position:
    """What is held of one symbol; never zero."""

    __slots__ = ("average", "instrument", "quantity", "units")

    def __init__(self, instrument: Instrument, quantity: Decimal, average: Decimal) -> None:
        self.instrument = instrument
        self.quantity = quantity
        self.average = average
        self.units = float(quantity)  # for the estimate


class MatchingEngine:
    """One account's orders, positions and cash.

    Args:
        assets: What may be traded, by symbol. Crypto is also found without its slash (``BTCUSD``).
        cash: What the account starts with (USD).
        settings: How it trades.
        sessions: Gives the sessions of an asset class; DAY orders expire at their close.

    Attributes:
        prices: Last trade by symbol. Bars write it; a caller may, too.
        open_count: How many orders are open.
        active: Symbols that need their bars (open orders, or a bar in progress of which orders took a share).
            Of other symbols only ``prices`` changes. Read only.

    Raises:
        ConfigurationError: A setting or an asset is out of range.
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
        _check_settings(settings)
        self.sessions = sessions
        self.prices: dict[str, float] = {}
        self.open_count = 0

        self._instruments: dict[str, Instrument] = {}
        half_spread = Decimal(repr(settings.spread_bps)) / (2 * _BPS)
        for asset in assets.values():
            instrument = Instrument(asset, half_spread=half_spread, multiplier=settings.multiplier)
            self._instruments[asset.symbol] = instrument
            if instrument.is_crypto:
                self._instruments.setdefault(asset.symbol.replace("/", ""), instrument)

        self._participation = settings.participation
        self._maker_rate = settings.maker_bps / _BPS
        self._taker_rate = settings.taker_bps / _BPS
        self._session: dict[AssetClass, tuple[int, Session]] = {}

        namespace = settings.namespace
        head = f"{namespace >> 28:08x}-{namespace >> 12 & 0xFFFF:04x}-4{{kind:03x}}-8{namespace & 0xFFF:03x}-"
        self._order_id_head = head.format(kind=1)
        self._execution_id_head = head.format(kind=2)
        self._client_order_id_head = head.format(kind=3)

        self._orders: dict[str, VenueOrder] = {}
        self._by_client_id: dict[str, VenueOrder] = {}
        self._executions: list[VenueExecution] = []
        self._events: list[EngineEvent] = []
        self.active: dict[str, _Book] = {}
        self._expiries: list[tuple[int, int, VenueOrder]] = []

        self._cash = cash
        self._positions: dict[str, _Position] = {}
        self._reserved_margin = ZERO  # what open orders hold back of the excess ...
        self._reserved_cash = ZERO  # ... and, of that, what open buys would pay
        self._last_equity = cash
        self._last_maintenance_margin = ZERO
        self._lastday_prices: dict[str, float] = {}

    # ------------------------------------------------------------------ orders

    def submit(self, new: NewOrder, now: int) -> VenueOrder:
        """Take an order into the book. It trades at the next moment of a bar, never here.

        Raises:
            Refusal: The order breaks a rule; nothing has changed, and its client order id is not used up.
        """
        outer = getcontext()
        setcontext(_CONTEXT)
        try:
            return self._submit(new, now)
        finally:
            setcontext(outer)

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
            self._close(order, _CANCELED, "canceled", now)
        elif order.status is not _CANCELED:
            message = f'order is already in "{order.status}" state'
            raise unprocessable(message)
        return order

    def has_open(self, symbol: str) -> bool:
        """Whether an order in this symbol is open."""
        book = self.active.get(symbol)
        return book is not None and bool(book.entries)

    # ------------------------------------------------------------------ the market

    def open_bar(self, symbol: str, now: int, price: float, volume: float) -> None:
        """The first trade of a bar that will have this volume: see the module's first lines.

        Does nothing for a symbol without open orders.
        """
        book = self.active.get(symbol)
        if book is None or not book.entries:
            return
        outer = getcontext()
        setcontext(_CONTEXT)
        try:
            self.prices[symbol] = price
            book.taken = ZERO
            self._match_open(book, now, price, volume)
        finally:
            setcontext(outer)

    def close_bar(
        self, symbol: str, now: int, open_: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """The rest of a bar, and its end: see the module's first lines. Sets the last price to ``close``."""
        self.prices[symbol] = close
        book = self.active.get(symbol)
        if book is None:
            return
        if book.entries:
            outer = getcontext()
            setcontext(_CONTEXT)
            try:
                self._match_close(book, now, (open_, high, low, close), volume)
            finally:
                setcontext(outer)
        book.taken = ZERO
        if not book.entries:
            self.active.pop(symbol, None)

    def close_bars(self, bars: Sequence[Bar], now: int) -> None:
        """``close_bar`` for each of these bars, in their order."""
        prices, active = self.prices, self.active
        for bar in bars:
            symbol = bar.symbol
            if symbol in active:
                self.close_bar(symbol, now, bar.open, bar.high, bar.low, bar.close, bar.volume)
            else:
                prices[symbol] = bar.close

    def next_expiry(self) -> int | None:
        """When the next open order expires (UTC ns)."""
        expiries = self._expiries
        while expiries and expiries[0][2].status not in OPEN_STATUSES:
            heappop(expiries)
        return expiries[0][0] if expiries else None

    def expire_day_orders(self, now: int) -> None:
        """Expire what was good until now or earlier: DAY orders at their session's close, GTC after 90 days."""
        while (at := self.next_expiry()) is not None and at <= now:
            self._close(self._expiries[0][2], _EXPIRED, "expired", now)

    def end_session(self) -> None:
        """The account's session has closed: what it is worth now is what it was worth "last day"."""
        account = self.account()
        self._last_equity = account.equity
        self._last_maintenance_margin = account.maintenance_margin
        self._lastday_prices = dict(self.prices)

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
        with _exact():
            return self._account()

    def positions(self) -> list[PositionView]:
        """All positions at the last prices, in the order in which they were opened."""
        with _exact():
            return [self._position_view(position) for position in self._positions.values()]

    def position(self, symbol: str) -> PositionView | None:
        """One position, also by the symbol without its slash."""
        instrument = self._instruments.get(symbol)
        position = self._positions.get(instrument.symbol) if instrument else None
        if position is None:
            return None
        with _exact():
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
            after, until: Only those submitted after and before these moments (UTC ns, both exclusive).
            limit: At most so many.
            newest_first: From the last to arrive; else from the first.
        """
        wanted = None if symbols is None else {s.replace("/", "") for s in symbols}
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
        """The FILL rows from number ``start`` on, oldest first."""
        return self._executions[start:]

    # ------------------------------------------------------------------ persistence

    def dump(self) -> dict[str, Any]:
        """The whole state as strings, numbers, lists and dictionaries: ready for JSON or MessagePack.

        Events that were not taken are no state: take them first.
        """
        return {
            "cash": str(self._cash),
            "reserved_margin": str(self._reserved_margin),
            "reserved_cash": str(self._reserved_cash),
            "last_equity": str(self._last_equity),
            "last_maintenance_margin": str(self._last_maintenance_margin),
            "prices": dict(self.prices),
            "lastday_prices": dict(self._lastday_prices),
            "positions": {s: [str(p.quantity), str(p.average)] for s, p in self._positions.items()},
            "taken": {symbol: str(book.taken) for symbol, book in self.active.items()},
            "orders": [msgspec.to_builtins(order) for order in self._orders.values()],
            "executions": [msgspec.to_builtins(execution) for execution in self._executions],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Become the engine that gave this dump. The engine must be new, with the same assets and settings.

        Raises:
            VenueError: The state is damaged, or names a symbol that this engine does not trade.
        """
        invariant(not self._orders, "an engine that has traded cannot load a state")
        try:
            self._load(state)
        except (KeyError, ValueError, ArithmeticError, msgspec.ValidationError) as error:
            message = f"the state of the matching engine cannot be loaded: {error!r}"
            raise VenueError(message) from error

    def _load(self, state: Mapping[str, Any]) -> None:
        self._cash = Decimal(state["cash"])
        self._reserved_margin = Decimal(state["reserved_margin"])
        self._reserved_cash = Decimal(state["reserved_cash"])
        self._last_equity = Decimal(state["last_equity"])
        self._last_maintenance_margin = Decimal(state["last_maintenance_margin"])
        self.prices.update(state["prices"])
        self._lastday_prices = dict(state["lastday_prices"])
        self._positions = {
            symbol: _Position(self._instruments[symbol], Decimal(quantity), Decimal(average))
            for symbol, (quantity, average) in state["positions"].items()
        }
        for symbol, taken in state["taken"].items():
            book = self.active[symbol] = _Book(self._instruments[symbol])
            book.taken = Decimal(taken)
        for order in msgspec.convert(state["orders"], list[VenueOrder]):
            self._orders[order.id] = self._by_client_id[order.client_order_id] = order
            if order.status in OPEN_STATUSES:
                self.open_count += 1
                insort(self.active[order.symbol].entries, _entry(order))
                if order.expires_at is not None:
                    self._expiries.append((order.expires_at, order.number, order))
        heapify(self._expiries)
        self._executions = msgspec.convert(state["executions"], list[VenueExecution])

    # ------------------------------------------------------------------ admission

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
        instrument.check(new)
        reserve_price = self._admit(new, instrument)

        symbol, quantity, time_in_force = instrument.symbol, new.quantity, new.time_in_force
        order = VenueOrder(
            f"{self._order_id_head}{number:012x}",
            client_order_id,
            number,
            symbol,
            instrument.asset_class,
            new.side,
            new.order_type,
            time_in_force,
            quantity,
            new.limit_price,
            _NEW,
            now,
            now,
            now,
            None if time_in_force is _IOC else self._expiry(instrument, time_in_force, now),
            reserve_price,
        )
        self._orders[order.id] = self._by_client_id[client_order_id] = order
        self.open_count += 1
        book = self.active.get(symbol)
        if book is None:
            book = self.active[symbol] = _Book(instrument)
        insort(book.entries, _entry(order))
        if order.expires_at is not None:
            heappush(self._expiries, (order.expires_at, number, order))
        if reserve_price:
            self._reserve(order, instrument, quantity)
        self._events.append(EngineEvent("new", order, None, now, _NEW, ZERO, None))
        return order

    def _expiry(self, instrument: Instrument, time_in_force: TimeInForce, now: int) -> int:
        if time_in_force is not _DAY:
            return now + _GTC_LIFE_NS
        # The session found at some moment is also the answer for every later one until it closes.
        asked_at, session = self._session.get(instrument.asset_class, (now + 1, None))
        if session is None or not asked_at <= now < session.close:
            session = self.sessions(instrument.asset_class).at(now)
            self._session[instrument.asset_class] = (now, session)
        return session.close

    def _admit(self, new: NewOrder, instrument: Instrument) -> Decimal:
        """Check the order against what is held, what rests, and the money; return its reserve a share."""
        position = self._positions.get(instrument.symbol)
        held = position.quantity if position else ZERO
        book = self.active.get(instrument.symbol)
        entries = book.entries if book else ()
        if entries:
            _check_wash_trade(new, entries)
        price = self.prices.get(instrument.symbol)
        reference = new.limit_price if new.limit_price is not None else None if price is None else Decimal(repr(price))
        if reference is None:
            # Before the first trade of a replay. The real venue always has a last trade.
            message = f"no trade in {instrument.symbol} yet: a market order cannot be valued"
            raise forbidden(message)
        if new.side is _BUY:
            if held < 0:
                _check_available(new, instrument, -held, entries)
                return ZERO
            if entries and held == 0 and any(entry[3].side is _SELL for entry in entries):
                message = "cannot open a long buy while a short sell order is open"
                raise forbidden(message)
        elif held > 0 or instrument.is_crypto:
            _check_available(new, instrument, held, entries)
            instrument.check_cost(_SELL, new.quantity * reference, fractional=False)
            return ZERO
        else:
            self._check_short(new, instrument, entries)
        if price is None:
            price = float(reference)
        if new.side is _BUY:
            instrument.check_cost(_BUY, new.quantity * reference, fractional=bool(new.quantity % 1))
            value = instrument.buy_value(new.limit_price, price)
        else:
            value = instrument.short_value(new.limit_price, price)
        self._check_buying_power(new, instrument, value)
        return value

    def _check_short(self, new: NewOrder, instrument: Instrument, entries: Sequence[_Entry]) -> None:
        if new.quantity % 1:
            message = "fractional orders cannot be sold short"
            raise unprocessable(message)
        if not instrument.asset.shortable:
            message = f'asset "{instrument.symbol}" cannot be sold short'
            raise unprocessable(message)
        if any(entry[3].side is _BUY and entry[3].reserve_price for entry in entries):
            message = "cannot open a short sell while a long buy order is open"
            raise forbidden(message)
        if not self._account().shorting_enabled:
            message = "account is not allowed to short"
            raise forbidden(message)

    def _check_buying_power(self, new: NewOrder, instrument: Instrument, value: Decimal) -> None:
        cost = new.quantity * value
        required = cost * instrument.margin_rate
        cash_only = instrument.margin_rate == 1
        # The exact account costs microseconds a position; far from the limit an estimate is as good.
        excess, free_cash, summed = self._estimate()
        available = min(excess, free_cash) if cash_only else excess
        if float(required) <= available - summed * _ESTIMATE_ERROR:
            return
        account = self._account()
        power = account.non_marginable_buying_power if cash_only else account.buying_power / self.settings.multiplier
        if required > power:
            shown = account.non_marginable_buying_power if cash_only else account.buying_power
            raise forbidden("insufficient buying power", buying_power=_text(shown), cost_basis=_text(cost))

    def _estimate(self) -> tuple[float, float, float]:
        """Excess, free cash, and the sum of all magnitudes that went into them, in floats."""
        cash, reserved = float(self._cash), float(self._reserved_margin)
        excess, free_cash = cash - reserved, cash - float(self._reserved_cash)
        summed = abs(cash) + reserved
        prices = self.prices
        for symbol, position in self._positions.items():
            price = prices.get(symbol)
            value = position.units * (float(position.average) if price is None else price)
            size = abs(value)
            excess += value - size * position.instrument.margin_rate_float
            summed += size
            if value < 0:
                free_cash += value
        return excess, free_cash, summed

    # ------------------------------------------------------------------ matching

    def _match_open(self, book: _Book, now: int, price: float, volume: float) -> None:
        instrument = book.instrument
        budget = self._budget(book, volume)
        ask = bid = None
        for _, _, _, order in book.entries:
            limit_price = order.limit_price
            if order.side is _BUY:
                if ask is None:
                    ask = instrument.ask(price)
                at = ask if limit_price is None or ask <= limit_price else None
            else:
                if bid is None:
                    bid = instrument.bid(price)
                at = bid if limit_price is None or bid >= limit_price else None
            if at is not None:
                budget = self._execute(book, order, at, budget, now)
        self._end_moment(book, now)

    def _match_close(self, book: _Book, now: int, bar: tuple[float, float, float, float], volume: float) -> None:
        budget = self._budget(book, volume)
        for _, _, _, order in book.entries:
            at = _price_at_close(order, book.instrument, bar)
            if at is not None:
                budget = self._execute(book, order, at, budget, now)
        self._end_moment(book, now)

    def _budget(self, book: _Book, volume: float) -> Decimal | None:
        """How much our orders may still take of this bar; None is any amount."""
        if self._participation is None:
            return None
        return self._participation * Decimal(repr(volume)) - book.taken

    def _execute(self, book: _Book, order: VenueOrder, price: Decimal, budget: Decimal | None, now: int) -> Decimal | None:
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
        symbol = order.symbol
        cost = quantity * price
        fee_coin = fee_cash = ZERO
        if order.side is _BUY:
            change = quantity
            if instrument.is_crypto:
                fee_coin = self._fee(order, quantity)
                change -= fee_coin
            self._cash -= cost
        else:
            change = -quantity
            if instrument.is_crypto:
                fee_cash = self._fee(order, cost)
            self._cash += cost - fee_cash
        held = self._move_position(symbol, instrument, change, price)
        if order.reserve_price:
            self._reserve(order, instrument, -quantity)

        first = order.filled_qty == 0
        cum_qty = order.filled_qty = order.filled_qty + quantity
        order.filled_cost += cost
        average = price if first else (order.filled_cost / cum_qty).quantize(_NANO)
        order.filled_avg_price = average
        order.updated_at = now
        leaves = order.quantity - cum_qty
        if leaves:
            status, kind = _PARTIALLY_FILLED, "partial_fill"
        else:
            status, kind = _FILLED, "fill"
            order.filled_at = now
            self.open_count -= 1
        order.status = status
        executions = self._executions
        execution = VenueExecution(
            f"{self._execution_id_head}{len(executions) + 1:012x}",
            order.id,
            order.client_order_id,
            symbol,
            order.side,
            quantity,
            price,
            now,
            cum_qty,
            leaves,
            held,
            fee_coin,
            fee_cash,
        )
        executions.append(execution)
        self._events.append(EngineEvent(kind, order, execution, now, status, cum_qty, average))

    def _fee(self, order: VenueOrder, amount: Decimal) -> Decimal:
        taker = not order.rested or order.order_type is _MARKET
        fee = amount * (self._taker_rate if taker else self._maker_rate)
        return fee.quantize(_NANO, ROUND_CEILING)

    def _move_position(self, symbol: str, instrument: Instrument, change: Decimal, price: Decimal) -> Decimal:
        position = self._positions.get(symbol)
        if position is None:
            if change:
                self._positions[symbol] = _Position(instrument, change, price)
            return change
        before, after = position.quantity, position.quantity + change
        if not after:
            del self._positions[symbol]
            return after
        invariant((before > 0) is (after > 0), "no order crosses through zero")
        if abs(after) > abs(before):
            position.average = ((before * position.average + change * price) / after).quantize(_NANO)
        position.quantity = after
        position.units = float(after)
        return after

    def _end_moment(self, book: _Book, now: int) -> None:
        """Every order has now met the market: what is done leaves the book, IOC remainders are canceled."""
        entries = book.entries
        done = False
        for _, _, _, order in entries:
            order.rested = True
            if order.status is _FILLED or order.time_in_force is _IOC:
                done = True
        if not done:
            return
        book.entries = [entry for entry in entries if entry[3].status is not _FILLED]
        for _, _, _, order in entries:
            if order.time_in_force is _IOC and order.status is not _FILLED:
                self._close(order, _CANCELED, "canceled", now)

    def _close(self, order: VenueOrder, status: OrderStatus, kind: EventKind, now: int) -> None:
        """End an order that is not filled."""
        book = self.active[order.symbol]
        book.entries = [entry for entry in book.entries if entry[3] is not order]
        if not book.entries and not book.taken:
            del self.active[order.symbol]
        self.open_count -= 1
        if order.reserve_price:
            self._reserve(order, book.instrument, order.filled_qty - order.quantity)
        order.status = status
        order.updated_at = now
        if status is _EXPIRED:
            order.expired_at = now
        else:
            order.canceled_at = now
        self._events.append(EngineEvent(kind, order, None, now, status, order.filled_qty, order.filled_avg_price))

    def _reserve(self, order: VenueOrder, instrument: Instrument, quantity: Decimal) -> None:
        value = order.reserve_price * quantity
        self._reserved_margin += value * instrument.margin_rate
        if order.side is _BUY:
            self._reserved_cash += value

    # ------------------------------------------------------------------ arithmetic of the account

    def _mark(self, position: _Position) -> Decimal:
        price = self.prices.get(position.instrument.symbol)
        return position.average if price is None else Decimal(repr(price))

    def _account(self) -> AccountView:
        long_value = short_value = initial = maintenance = ZERO
        for position in self._positions.values():
            instrument, quantity, mark = position.instrument, position.quantity, self._mark(position)
            value = quantity * mark
            if value > 0:
                long_value += value
            else:
                short_value += value
            initial += abs(value) * instrument.margin_rate
            maintenance += maintenance_margin(instrument.asset_class, quantity, mark)
        cash, multiplier = self._cash, self.settings.multiplier
        equity = cash + long_value + short_value
        excess = equity - initial - self._reserved_margin
        return AccountView(
            cash=cash,
            equity=equity,
            last_equity=self._last_equity,
            buying_power=max(excess, ZERO) * multiplier,
            non_marginable_buying_power=max(min(cash + short_value - self._reserved_cash, excess), ZERO),
            long_market_value=long_value,
            short_market_value=short_value,
            initial_margin=initial,
            maintenance_margin=maintenance,
            last_maintenance_margin=self._last_maintenance_margin,
            multiplier=multiplier,
            shorting_enabled=multiplier > 1 and equity >= _SHORTING_EQUITY_MIN,
        )

    def _position_view(self, position: _Position) -> PositionView:
        instrument, quantity = position.instrument, position.quantity
        book = self.active.get(instrument.symbol)
        mark = self._mark(position)
        lastday = self._lastday_prices.get(instrument.symbol)
        return PositionView(
            symbol=instrument.symbol,
            asset_class=instrument.asset_class,
            quantity=quantity,
            quantity_available=abs(quantity) - _held_for_orders(quantity, book.entries if book else ()),
            avg_entry_price=position.average,
            current_price=mark,
            lastday_price=position.average if lastday is None else Decimal(repr(lastday)),
            market_value=quantity * mark,
            cost_basis=quantity * position.average,
        )


def _check_settings(settings: EngineSettings) -> None:
    participation = settings.participation
    if participation is not None and not 0 < participation <= 1:
        message = f"participation must be above 0 and at most 1, or None; got {participation}"
        raise ConfigurationError(message)
    if not 0 <= settings.spread_bps < 10_000:
        message = f"spread_bps must be at least 0 and below 10000; got {settings.spread_bps}"
        raise ConfigurationError(message)
    if settings.multiplier not in (1, 2):
        message = f"multiplier must be 1 (cash account) or 2 (margin account); got {settings.multiplier}"
        raise ConfigurationError(message)
    if not 0 <= settings.namespace < 1 << 60:
        message = f"namespace must be at least 0 and below 2**60; got {settings.namespace}"
        raise ConfigurationError(message)
    if not (0 <= settings.maker_bps < _BPS and 0 <= settings.taker_bps < _BPS):
        message = f"fees must be at least 0 and below 10000 bps; got {settings.maker_bps} and {settings.taker_bps}"
        raise ConfigurationError(message)


@contextmanager
def _exact() -> Iterator[None]:
    """The engine's own Decimal context, for paths where a microsecond does not matter."""
    outer = getcontext()
    setcontext(_CONTEXT)
    try:
        yield
    finally:
        setcontext(outer)


def _entry(order: VenueOrder) -> _Entry:
    limit_price = order.limit_price
    if limit_price is None:
        return (0, ZERO, order.number, order)
    if order.side is _BUY:
        return (1, -limit_price, order.number, order)
    return (2, limit_price, order.number, order)


def _price_at_close(order: VenueOrder, instrument: Instrument, bar: tuple[float, float, float, float]) -> Decimal | None:
    """Where an order trades in the rest of a bar; None if it does not.

    A limit order that rested follows the bar from its open: had it been marketable there (and the volume
    ran out), that price is the worst it gets; else the market has to come to its limit.
    """
    open_, high, low, close = bar
    limit_price = order.limit_price
    if order.side is _BUY:
        if limit_price is None:
            return instrument.ask(close)
        if order.rested:
            if instrument.ask(low) > limit_price:
                return None
            return min(limit_price, instrument.ask(open_))
        ask = instrument.ask(close)
        return ask if ask <= limit_price else None
    if limit_price is None:
        return instrument.bid(close)
    if order.rested:
        if instrument.bid(high) < limit_price:
            return None
        return max(limit_price, instrument.bid(open_))
    bid = instrument.bid(close)
    return bid if bid >= limit_price else None


def _held_for_orders(held: Decimal, entries: Iterable[_Entry]) -> Decimal:
    """How much of a position its open closing orders hold."""
    closing = _SELL if held > 0 else _BUY
    return sum((e[3].quantity - e[3].filled_qty for e in entries if e[3].side is closing), ZERO)


def _check_available(new: NewOrder, instrument: Instrument, held: Decimal, entries: Sequence[_Entry]) -> None:
    """Refuse to reduce by more than is held and free: no order crosses through zero."""
    reserved = sum((e[3].quantity - e[3].filled_qty for e in entries if e[3].side is new.side), ZERO)
    available = held - reserved
    if new.quantity <= available:
        return
    if instrument.is_crypto:
        message = (
            f"insufficient balance for {instrument.base} "
            f"(requested: {_text(new.quantity)}, available: {_text(available)})"
        )
        raise forbidden(message, available=_text(available), balance=_text(held), symbol="USD")
    message = f"insufficient qty available for order (requested: {_text(new.quantity)}, available: {_text(available)})"
    raise forbidden(
        message,
        available=_text(available),
        existing_qty=_text(held),
        held_for_orders=_text(reserved),
        related_orders=[entry[3].id for entry in entries if entry[3].side is new.side],
        symbol=instrument.symbol,
    )


def _check_wash_trade(new: NewOrder, entries: Iterable[_Entry]) -> None:
    """Refuse an order that could trade against one of ours."""
    for _, _, _, order in entries:
        if order.side is new.side:
            continue
        if new.limit_price is None or order.limit_price is None:
            kind = "market" if order.limit_price is None else "limit"
        elif (new.limit_price - order.limit_price) * new.side.sign >= 0:
            kind = "limit"
        else:
            continue
        raise forbidden(
            "potential wash trade detected. use complex orders",
            existing_order_id=order.id,
            reject_reason=f"opposite side {'market/stop' if kind == 'market' else 'limit'} order exists",
        )


def _text(amount: Decimal) -> str:
    """An amount as the venue writes it: plain digits, no trailing zeros."""
    return f"{amount.normalize():f}"
