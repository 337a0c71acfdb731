"""One symbol's open orders, in the order in which they trade."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from holdfast.model.enums import OrderSide, OrderType
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import ZERO, VenueOrder

_BUY = OrderSide.BUY
_MARKET = OrderType.MARKET

#: Rank (market, limit buy, limit sell), price (better is smaller), number, order. Numbers are unique, so two entries never
#: compare their orders.
Entry = tuple[int, Decimal, int, VenueOrder]


class Book(msgspec.Struct, eq=False):
    """One symbol's open orders by priority, and what they took of the market in front of them.

    Attributes:
        entries: Orders that trade when the market comes to them, by priority.
        aside: Open orders that the market does not reach yet, by arrival: they wait for their session, for their stop to
            be struck, or for an auction.
        taken: What they took of the bar in progress.
        bid_taken: What they took of the present quote's bid ...
        ask_taken: ... and of its ask.
        halted: Whether the symbol does not trade now.
        traded_at: When it last traded in a session while orders were set aside (UTC ns) ...
        traded_left: ... and how much of that trade our orders left; None is any amount.
    """

    instrument: Instrument
    entries: list[Entry] = []
    aside: list[VenueOrder] = []
    taken: Decimal = ZERO
    bid_taken: Decimal = ZERO
    ask_taken: Decimal = ZERO
    halted: bool = False
    traded_at: int = 0
    traded_left: Decimal | None = ZERO

    def resting(self) -> list[VenueOrder]:
        """The open orders."""
        resting = [entry[3] for entry in self.entries]
        return resting + self.aside if self.aside else resting

    def dump(self) -> list[Any]:
        """What is not said by the orders themselves, ready for JSON."""
        left = None if self.traded_left is None else str(self.traded_left)
        return [str(self.taken), str(self.bid_taken), str(self.ask_taken), self.halted, self.traded_at, left]

    def load(self, state: list[Any]) -> None:
        """Become the book that gave this dump, but for its orders."""
        taken, bid_taken, ask_taken, self.halted, self.traded_at, left = state
        self.taken, self.bid_taken, self.ask_taken = map(Decimal, (taken, bid_taken, ask_taken))
        self.traded_left = None if left is None else Decimal(left)


def entry_of(order: VenueOrder) -> Entry:
    """Where an order stands: market orders by arrival, then limit buys from the highest, limit sells from the lowest."""
    bound = order.bound
    if bound is None or order.order_type is _MARKET:
        return (0, ZERO, order.number, order)
    if order.side is _BUY:
        return (1, -bound, order.number, order)
    return (2, bound, order.number, order)
