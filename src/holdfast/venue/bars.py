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
against the taker; a limit order trades where that price is within its limit. IOC orders are canceled
after the first moment that they meet, whatever it gave them; FOK orders fill whole in it or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, getcontext

from holdfast.model.decimals import EXACT, Exact
from holdfast.model.enums import OrderSide
from holdfast.model.market import Bar
from holdfast.venue.book import Book
from holdfast.venue.instruments import Instrument
from holdfast.venue.ledger import OrderLedger
from holdfast.venue.orders import ZERO, VenueOrder

_BUY = OrderSide.BUY


class BarMatching(OrderLedger):
    """What bars do to the orders. See the module's first lines."""

    def open_bar(self, symbol: str, now: int, price: float, volume: float) -> None:
        """The first trade of a bar that will have this volume.

        Does nothing for a symbol without open orders.
        """
        book = self._books.get(symbol)
        if book is None or not book.entries:
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
        if not book.entries and book.is_spent:
            self._books.pop(symbol, None)

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
            if book.entries:
                with Exact():
                    self._match_close(book, now, (open_, high, low, close), volume)
        book.taken = ZERO
        if not book.entries and book.is_spent:
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

    def _match_open(self, book: Book, now: int, price: float, volume: float) -> None:
        instrument = book.instrument
        budget = offered = self._budget(book, volume)
        ask = bid = None
        for _, _, _, order in book.entries:
            limit_price = order.limit_price
            if order.side is _BUY:
                at = ask = ask or instrument.ask(Decimal(repr(price)))
                if limit_price is not None and ask > limit_price:
                    continue
            else:
                at = bid = bid or instrument.bid(Decimal(repr(price)))
                if limit_price is not None and bid < limit_price:
                    continue
            budget = self._execute(book, order, at, budget, now)
        if offered is not None and budget is not None:
            book.taken += offered - budget
        self._end_moment(book, now)

    def _match_close(self, book: Book, now: int, bar: tuple[float, float, float, float], volume: float) -> None:
        budget = offered = self._budget(book, volume)
        for _, _, _, order in book.entries:
            at = _price_at_close(order, book.instrument, bar)
            if at is not None:
                budget = self._execute(book, order, at, budget, now)
        if offered is not None and budget is not None:
            book.taken += offered - budget
        self._end_moment(book, now)

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
    volume ran out), it pays no more than that; else the market has to come to its limit.
    """
    open_, high, low, close = bar
    limit_price = order.limit_price
    if order.side is _BUY:
        if limit_price is not None and order.rested:
            return (
                None
                if instrument.ask(Decimal(repr(low))) > limit_price
                else min(limit_price, instrument.ask(Decimal(repr(open_))))
            )
        ask = instrument.ask(Decimal(repr(close)))
        return ask if limit_price is None or ask <= limit_price else None
    if limit_price is not None and order.rested:
        return (
            None
            if instrument.bid(Decimal(repr(high))) < limit_price
            else max(limit_price, instrument.bid(Decimal(repr(open_))))
        )
    bid = instrument.bid(Decimal(repr(close)))
    return bid if limit_price is None or bid >= limit_price else None
