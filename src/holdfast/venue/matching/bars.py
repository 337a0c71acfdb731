"""Matching against bars: the market as the backtester and the lock-step venue know it.

A bar has two moments at which orders may trade:

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
against the taker; a limit order trades where that price is within its limit. A market order in crypto is a limit order
2 % from the last price known when it came, but that it stands before the others, and that at the close it meets the
close, or else the limit if the bar came to it. IOC orders are canceled
after the first moment that they meet, whatever it gave them; FOK orders fill whole in it or not at all.

Stops come before everything else, since a bar does not say what it reached first and the worse is assumed:
if it reached a stop-loss and a take-profit, the stop-loss has filled. A stop beyond which the bar opens meets
the open; one that the rest of the bar reaches trades at the stop, and within its limit if it has one: where the
limit does not let it, the order rests, and fills at its limit if the bar closes there. A trailing stop is
checked before it moves: the bar's best price counts from the next bar on. Exits come to the market after the
moment in which their entry filled. The opening auction is the session's first trade; the closing auction is
held at the last price when the session ends.

Bars of an hour or less (where the engine was told their length) lie before, in or after the session. Outside it
only orders for extended hours trade; longer bars, and all of crypto's, are the session's.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, getcontext

from holdfast.model.decimals import EXACT, Exact
from holdfast.model.enums import OrderSide, OrderType, TimeInForce
from holdfast.model.market import Bar
from holdfast.venue.matching.aside import Aside, extended
from holdfast.venue.matching.book import Book
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import ZERO, VenueOrder
from holdfast.venue.matching.stops import stop_of

_BUY = OrderSide.BUY
_MARKET = OrderType.MARKET
_OPG = TimeInForce.OPG


class BarMatching(Aside):
    """What bars do to the orders. See the module's first lines."""

    def open_bar(self, symbol: str, now: int, price: float, volume: float) -> None:
        """The first trade of a bar that will have this volume.

        Does nothing for a symbol without open orders.
        """
        book = self._books.get(symbol)
        if book is None or not (book.entries or book.aside):
            return
        book.taken = ZERO
        if book.halted:
            with Exact():
                self._miss_moment(book, now)
            return
        self.prices[symbol] = price
        if getcontext() is EXACT:
            self._match_open(book, now, price, volume)
        else:
            with Exact():
                self._match_open(book, now, price, volume)
        if not book.entries:
            self._forget(symbol)

    def close_bar(
        self, symbol: str, now: int, open_: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """The rest of a bar, and its end. Sets the last price to ``close``."""
        book = self._books.get(symbol)
        if book is None:
            self.prices[symbol] = close
            return
        if book.halted:
            with Exact():
                self._miss_moment(book, now)
        else:
            self.prices[symbol] = close
            if book.entries or book.aside:
                with Exact():
                    self._match_close(book, now, (open_, high, low, close), volume)
        book.taken = ZERO
        if not book.entries:
            self._forget(symbol)

    def close_bars(self, bars: Sequence[Bar], now: int) -> None:
        """``close_bar`` for each of these bars, in their order."""
        prices, books = self.prices, self._books
        for bar in bars:
            symbol = bar.symbol
            if symbol in books:
                self.close_bar(symbol, now, bar.open, bar.high, bar.low, bar.close, bar.volume)
            else:
                prices[symbol] = bar.close

    def _match_open(self, book: Book, now: int, price: float, volume: float) -> None:
        instrument = book.instrument
        core = not instrument.bars_have_hours or self._is_core(instrument, now)
        if not core and self._is_closed(instrument, now):
            return
        budget = offered = None if self._participation is None else self._budget(book, volume)
        if book.aside:
            trade = Decimal(repr(price))
            self._wake_all(book, now, core=core)
            if core:
                budget = self._auction(book, _OPG, trade, budget, now)
            self._strike(book, trade, trade, trade, now, core=core)
        entries = book.entries if core else extended(book.entries)
        ask = bid = None
        for _, _, _, order in entries:
            bound = order.bound
            if order.side is _BUY:
                at = ask = ask or instrument.ask(Decimal(repr(price)))
                if bound is not None and ask > bound:
                    continue
            else:
                at = bid = bid or instrument.bid(Decimal(repr(price)))
                if bound is not None and bid < bound:
                    continue
            budget = self._execute(book, order, at, budget, now)
        if offered is not None and budget is not None:
            book.taken += offered - budget
            # What an auction did not fill is canceled at once, and may have been the last that the book held.
            self._books[instrument.symbol] = book
        self._end_moment(book, entries, now)

    def _match_close(self, book: Book, now: int, bar: tuple[float, float, float, float], volume: float) -> None:
        instrument = book.instrument
        core = not instrument.bars_have_hours or self._is_core(instrument, now - 1)
        if not core and self._is_closed(instrument, now - 1):
            return
        budget = offered = self._budget(book, volume)
        struck: dict[str, Decimal | None] = {}
        if book.aside:
            _, high, low, close = (Decimal(repr(price)) for price in bar)
            self._wake_all(book, now, core=core)
            for order, saw_all in self._strike(book, low, high, close, now, core=core):
                struck[order.id] = _price_when_struck(order, instrument, bar, saw_all=saw_all)
        entries = book.entries if core else extended(book.entries)
        for _, _, _, order in entries:
            at = struck[order.id] if order.id in struck else _price_at_close(order, instrument, bar)
            if at is not None:
                budget = self._execute(book, order, at, budget, now)
        if offered is not None and budget is not None:
            book.taken += offered - budget
        if book.aside and core:
            book.traded_at, book.traded_left = now, budget
        self._end_moment(book, entries, now)

    def _budget(self, book: Book, volume: float) -> Decimal | None:
        """How much our orders may still take of this bar; None is any amount."""
        if self._participation is None:
            return None
        return self._participation * Decimal(repr(volume)) - book.taken


def _price_at_close(
    order: VenueOrder, instrument: Instrument, bar: tuple[float, float, float, float]
) -> Decimal | None:
    """Where an order trades in the rest of a bar; None if it does not.

    A limit order that rested lives through the bar from its open. If the open was within its limit already (and the
    volume ran out), it pays no more than that; else the market has to come to its limit. A market order meets the close;
    where that is beyond its collar, it rests there, and the market has to come to that.
    """
    open_, high, low, close = bar
    bound = order.bound
    if order.side is _BUY:
        if bound is not None and order.rested and order.order_type is not _MARKET:
            return (
                None if instrument.ask(Decimal(repr(low))) > bound else min(bound, instrument.ask(Decimal(repr(open_))))
            )
        ask = instrument.ask(Decimal(repr(close)))
        if bound is None or ask <= bound:
            return ask
        return bound if order.rested and instrument.ask(Decimal(repr(low))) <= bound else None
    if bound is not None and order.rested and order.order_type is not _MARKET:
        return None if instrument.bid(Decimal(repr(high))) < bound else max(bound, instrument.bid(Decimal(repr(open_))))
    bid = instrument.bid(Decimal(repr(close)))
    if bound is None or bid >= bound:
        return bid
    return bound if order.rested and instrument.bid(Decimal(repr(high))) >= bound else None


def _price_when_struck(
    order: VenueOrder, instrument: Instrument, bar: tuple[float, float, float, float], *, saw_all: bool
) -> Decimal | None:
    """Where a stop that the rest of a bar has struck trades in what is left of it; None if it does not.

    It meets the market at its stop, or at the open if that was beyond it already, and where that is not within its
    limit, at its limit if the market came back to it by the close. One that came during the bar saw the close alone.
    """
    open_, _, _, close = (Decimal(repr(price)) for price in bar)
    bound = order.bound
    if order.side is _BUY:
        at = instrument.ask(max(stop_of(order), open_) if saw_all else close)
        if bound is None or at <= bound:
            return at
        return bound if instrument.ask(close) <= bound else None
    at = instrument.bid(min(stop_of(order), open_) if saw_all else close)
    if bound is None or at >= bound:
        return at
    return bound if instrument.bid(close) >= bound else None
