"""Two lanes of events: what concerns orders and money goes first, market data after it.

Posts are small functions of the time (``ts -> events``) rather than events: an event's ``ts`` is the
moment at which the runner takes it, by the runner's clock, so that times in the journal never go
backwards, also when a socket delivers late.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from holdfast.model import Bar, Quote
from holdfast.model.events import BarRevised, Event

Post = Callable[[int], Sequence[Event]]


class Inbox:
    """Unbounded for order events, which are never dropped; quotes are conflated to the last per symbol."""

    def __init__(self) -> None:
        self.activity = asyncio.Event()
        self._orders: deque[Post] = deque()
        self._bars: deque[Bar | BarRevised] = deque()
        self._quotes: dict[str, Quote] = {}

    def post(self, make: Post) -> None:
        """Add to the first lane."""
        self._orders.append(make)
        self.activity.set()

    def post_event(self, event: Event) -> None:
        """Add an event that carries its own time already."""
        self.post(lambda _ts: (event,))

    def post_bar(self, bar: Bar | BarRevised) -> None:
        """Add a bar, or what became of one, to the market lane. Bars are not conflated: each one counts."""
        self._bars.append(bar)
        self.activity.set()

    def post_quote(self, quote: Quote) -> None:
        """Add a quote, in place of an older one of the symbol that nobody has taken."""
        self._quotes[quote.symbol] = quote
        self.activity.set()

    def take_posts(self) -> Post | None:
        """The next of the first lane."""
        return self._orders.popleft() if self._orders else None

    def take_market(self) -> Bar | BarRevised | Quote | None:
        """The next of the market lane."""
        if self._bars:
            return self._bars.popleft()
        if self._quotes:
            return self._quotes.pop(next(iter(self._quotes)))
        return None

    @property
    def has_posts(self) -> bool:
        """Whether the first lane holds anything."""
        return bool(self._orders)

    @property
    def depth(self) -> int:
        """Events waiting in both lanes."""
        return len(self._orders) + len(self._bars) + len(self._quotes)
