"""Matching against quotes and trades: the market as a venue that runs by itself shows it.

``quote``  brings a bid and an ask with their sizes. Resting orders meet it by priority, a buy at the ask and a sell
           at the bid: market orders first by arrival, then limits by price and arrival.
``trade``  is a print of the market. It moves the last price, strikes stops, and the session's first one is the opening
           auction; the closing auction is held at the last price when the session ends. Other orders it does not fill.
``meet``   lets what has just been submitted meet the quote that stands: marketable orders fill inside the request's
           own moment, as at a real venue, and what IOC and FOK orders did not get is canceled.

How much fills: what the quote offers at its price, in lots. Our orders use it up, and only the next quote brings
more; a price or a size of zero is an empty side. ``participation=None`` takes any amount, as Alpaca's paper trading
does. At what price: the quote's own, rounded to the price increment against the taker; the setting ``spread_bps`` is
for bars alone. Outside the session only orders for extended hours trade. Exits come to the market after the moment
in which their entry filled, and meet the next quote.
"""

from __future__ import annotations

from decimal import Decimal

from holdfast.model.decimals import Exact
from holdfast.model.enums import OrderSide, TimeInForce
from holdfast.venue.matching.aside import Aside, extended
from holdfast.venue.matching.book import Book
from holdfast.venue.matching.orders import ZERO

_BUY = OrderSide.BUY
_OPG = TimeInForce.OPG

#: Bid, its size, ask, its size.
Quote = tuple[float, float, float, float]


class QuoteMatching(Aside):
    """What quotes and trades do to the orders. See the module's first lines.

    Attributes:
        quotes: The present quote by symbol. Read only; an engine that comes later is given them through ``quote``.
    """

    quotes: dict[str, Quote]

    def quote(self, symbol: str, now: int, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """The market's best prices from now on, with fresh sizes."""
        self.quotes[symbol] = (bid, bid_size, ask, ask_size)
        book = self._books.get(symbol)
        if book is None:
            return
        book.bid_taken = book.ask_taken = ZERO
        if not book.halted:
            with Exact():
                self._match_quote(book, now)
        self._forget(symbol)

    def trade(self, symbol: str, now: int, price: float, size: float) -> None:
        """The market has traded at this price."""
        book = self._books.get(symbol)
        if book is not None and book.halted:
            return
        self.prices[symbol] = price
        if book is None or not book.aside:
            return
        with Exact():
            core = self._is_core(book.instrument, now)
            if not core and self._is_closed(book.instrument, now):
                return
            exact = Decimal(repr(price))
            left = None if self._participation is None else Decimal(repr(size))
            self._wake_all(book, now, core=core)
            if core:
                left = self._auction(book, _OPG, exact, left, now)
                book.traded_at, book.traded_left = now, left
            if self._strike(book, exact, exact, exact, now, core=core):
                self._match_quote(book, now)
        self._forget(symbol)

    def meet(self, symbol: str, now: int) -> None:
        """Let the orders of a symbol meet the quote that stands. For whoever has just submitted one."""
        book = self._books.get(symbol)
        if book is None or not book.entries:
            return
        with Exact():
            if book.halted:
                self._miss_moment(book, now)
            else:
                self._match_quote(book, now)
        self._forget(symbol)

    def _match_quote(self, book: Book, now: int) -> None:
        instrument = book.instrument
        core = self._is_core(instrument, now)
        if not core and self._is_closed(instrument, now):
            return
        if book.aside:
            self._wake_all(book, now, core=core)
        quote = self.quotes.get(instrument.symbol)
        if quote is None:
            self._miss_moment(book, now)
            return
        entries = book.entries if core else extended(book.entries)
        bid, bid_size, ask, ask_size = quote
        ask_price = instrument.round_up(Decimal(repr(ask))) if ask > 0 else None
        bid_price = instrument.round_down(Decimal(repr(bid))) if bid > 0 else None
        asked = asks = self._offered(ask_size, book.ask_taken)
        wanted = bids = self._offered(bid_size, book.bid_taken)
        for _, _, _, order in entries:
            bound = order.bound
            if order.side is _BUY:
                if ask_price is not None and (bound is None or ask_price <= bound):
                    asks = self._execute(book, order, ask_price, asks, now)
            elif bid_price is not None and (bound is None or bid_price >= bound):
                bids = self._execute(book, order, bid_price, bids, now)
        if asked is not None and asks is not None:
            book.ask_taken += asked - asks
        if wanted is not None and bids is not None:
            book.bid_taken += wanted - bids
        self._end_moment(book, entries, now)

    def _offered(self, size: float, taken: Decimal) -> Decimal | None:
        """What is left of one side of the quote; None is any amount."""
        return None if self._participation is None else Decimal(repr(size)) - taken
