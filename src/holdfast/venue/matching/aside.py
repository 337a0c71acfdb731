"""Orders that the market does not reach yet, and what brings them to it: their session, their stop, an auction."""

from __future__ import annotations

from decimal import Decimal

from holdfast.model.enums import OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.venue.matching.book import Book, Entry
from holdfast.venue.matching.groups import Groups
from holdfast.venue.matching.ledger import is_extended
from holdfast.venue.matching.orders import OPEN_STATUSES, VenueOrder
from holdfast.venue.matching.stops import is_dormant, is_struck, trailed

_BUY = OrderSide.BUY
_ACCEPTED, _CANCELED, _FILLED = OrderStatus.ACCEPTED, OrderStatus.CANCELED, OrderStatus.FILLED
_TRAILING = OrderType.TRAILING_STOP


class Aside(Groups):
    """What a market does to the orders that wait beside the book. ``core`` is whether the session is open."""

    def _wake_all(self, book: Book, now: int, *, core: bool) -> None:
        """The market of these hours is there: what was accepted for it is new."""
        for order in tuple(book.aside):
            if order.status is _ACCEPTED and (core or is_extended(order)):
                self._wake(order, now)
                book.aside = [other for other in book.aside if other is not order]
                self._shelve(order, book)

    def _strike(
        self, book: Book, low: Decimal, high: Decimal, last: Decimal, now: int, *, core: bool
    ) -> list[tuple[VenueOrder, bool]]:
        """Elect the stops that a stretch of the market has struck, and let the others trail it.

        Args:
            book: Whose stops.
            low: The lowest price of the stretch.
            high: The highest one.
            last: The last one, which is all that orders see that came while the stretch was running.
            now: The moment at which it is over.
            core: Whether the session is open. No stop is struck outside it.

        Returns:
            The orders that were elected, each with whether it saw the whole stretch. They have joined the entries.
        """
        struck: list[tuple[VenueOrder, bool]] = []
        if not core:
            return struck
        for order in tuple(book.aside):
            # One that an earlier one canceled is open no more.
            if order.status not in OPEN_STATUSES or not is_dormant(order.order_type, order.terms):
                continue
            saw_all = order.rested
            from_, to = (low, high) if saw_all else (last, last)
            if is_struck(order, from_, to):
                self._elect(order, now)
                struck.append((order, saw_all))
                continue
            if order.order_type is _TRAILING and order.terms is not None:
                best = from_ if order.side is _BUY else to
                order.terms = trailed(order.terms, order.side, book.instrument, best)
            order.rested = True
        return struck

    def _auction(
        self, book: Book, kind: TimeInForce, price: Decimal, budget: Decimal | None, now: int
    ) -> Decimal | None:
        """Fill the orders of an auction at its one price; cancel what they did not get. Returns what is left."""
        for order in tuple(book.aside):
            if order.time_in_force is not kind or order.status not in OPEN_STATUSES:
                continue
            budget = self._bid_in_auction(book, order, price, budget, now)
        return budget

    def _bid_in_auction(
        self, book: Book, order: VenueOrder, price: Decimal, budget: Decimal | None, now: int
    ) -> Decimal | None:
        instrument, limit_price = book.instrument, order.limit_price
        buys = order.side is _BUY
        at = instrument.round_up(price) if buys else instrument.round_down(price)
        if limit_price is None or (at <= limit_price if buys else at >= limit_price):
            budget = self._execute(book, order, at, budget, now)
        if order.status is _FILLED:
            book.aside = [other for other in book.aside if other is not order]
        else:
            self._close(order, _CANCELED, "canceled", now)
        return budget


def extended(entries: list[Entry]) -> list[Entry]:
    """Those that trade outside the session, too."""
    return [entry for entry in entries if is_extended(entry[3])]
