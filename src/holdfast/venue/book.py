"""One symbol's open orders, in the order in which they trade."""

from __future__ import annotations

from decimal import Decimal

from holdfast.model.enums import OrderSide
from holdfast.venue.instruments import Instrument
from holdfast.venue.orders import ZERO, VenueOrder

_BUY = OrderSide.BUY

#: Rank (market, limit buy, limit sell), price (better is smaller), number, order. Numbers are unique, so two entries never
#: compare their orders.
Entry = tuple[int, Decimal, int, VenueOrder]


class Book:
    """One symbol's open orders by priority, and what they took of the bar in progress."""

    __slots__ = ("entries", "instrument", "taken")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.entries: list[Entry] = []
        self.taken = ZERO

    def resting(self) -> list[VenueOrder]:
        """The open orders."""
        return [entry[3] for entry in self.entries]


def entry_of(order: VenueOrder) -> Entry:
    """Where an order stands: market orders by arrival, then limit buys from the highest, limit sells from the lowest."""
    limit_price = order.limit_price
    if limit_price is None:
        return (0, ZERO, order.number, order)
    if order.side is _BUY:
        return (1, -limit_price, order.number, order)
    return (2, limit_price, order.number, order)
