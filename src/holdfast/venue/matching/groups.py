"""Groups of orders: an entry with its exits (bracket, OTO), and two exits of which one cancels the other (OCO).

    bracket   a market or limit order, and once it is filled whole a take-profit and a stop-loss
    oto       the same with one exit
    oco       the exits alone: the take-profit is the parent, the stop-loss its leg

The exits are orders from the beginning, with ids of their own, ``held``: nothing can trade them. When the entry is
filled they come to the market, not before the next moment: the take-profit is new, and the stop-loss stays held while
its stop is watched. If the stop is struck the take-profit is canceled first and the stop-loss is new. What the
take-profit fills makes the stop-loss smaller; what ends one of them (a cancel, the end of the day) ends the group. An
entry that ends before it is filled whole takes its exits along.
"""

from __future__ import annotations

from decimal import Decimal
from heapq import heappush

import msgspec

from holdfast.model.decimals import Exact
from holdfast.model.enums import OrderClass, OrderStatus, OrderType
from holdfast.venue.matching.admission import held_for_orders
from holdfast.venue.matching.ledger import OrderLedger
from holdfast.venue.matching.orders import OPEN_STATUSES, ZERO, EventKind, Terms, VenueOrder
from holdfast.venue.matching.stops import working_bound

_SIMPLE, _OCO = OrderClass.SIMPLE, OrderClass.OCO
_HELD, _FILLED, _EXPIRED = OrderStatus.HELD, OrderStatus.FILLED, OrderStatus.EXPIRED
_NEW, _CANCELED, _REPLACED = OrderStatus.NEW, OrderStatus.CANCELED, OrderStatus.REPLACED


class Groups(OrderLedger):
    """What orders that belong together do to each other. See the module's first lines."""

    def legs_of(self, order: VenueOrder) -> list[VenueOrder]:
        """The exits that an order brought along, take-profit first; empty for all others."""
        return [] if order.terms is None else [self._orders[leg] for leg in order.terms.legs]

    def _bring_legs(self, parent: VenueOrder, now: int) -> None:
        """Make the exits of an order that was just placed."""
        terms = parent.terms
        if terms is None or terms.exits is None:
            return
        exits, order_class = terms.exits, terms.order_class
        legs: list[VenueOrder] = []
        if exits.take_profit is not None and order_class is not _OCO:
            legs.append(self._leg(parent, OrderType.LIMIT, exits.take_profit, None, now))
        if exits.stop_loss is not None:
            order_type = OrderType.STOP if exits.stop_loss_limit is None else OrderType.STOP_LIMIT
            legs.append(self._leg(parent, order_type, exits.stop_loss_limit, exits.stop_loss, now))
        parent.terms = msgspec.structs.replace(terms, exits=None, legs=tuple(leg.id for leg in legs))
        if order_class is _OCO:
            for leg in legs:
                self._shelve(leg, self._books[parent.symbol])

    def _leg(
        self,
        parent: VenueOrder,
        order_type: OrderType,
        limit_price: Decimal | None,
        stop_price: Decimal | None,
        now: int,
    ) -> VenueOrder:
        number = len(self._orders) + 1
        order_class = OrderClass.SIMPLE if parent.terms is None else parent.terms.order_class
        leg = VenueOrder(
            self._order_id_head + str(number).zfill(12),
            self._client_order_id_head + str(number).zfill(12),
            number,
            parent.symbol,
            parent.asset_class,
            parent.side if order_class is _OCO else parent.side.opposite,
            order_type,
            parent.time_in_force,
            parent.quantity,
            limit_price,
            limit_price,
            _HELD,
            now,
            now,
            now,
            parent.expires_at,
            terms=Terms(order_class=order_class, stop_price=stop_price, parent=parent.id),
        )
        self._orders[leg.id] = self._by_client_id[leg.client_order_id] = leg
        self.open_count += 1
        if leg.expires_at is not None:
            heappush(self._expiries, (leg.expires_at, number, leg))
        return leg

    def _others(self, order: VenueOrder) -> list[VenueOrder]:
        """The open orders of a group, but for this one."""
        terms = order.terms
        if terms is None or terms.order_class is _SIMPLE:
            return []
        parent = order if terms.parent is None else self._orders[terms.parent]
        group = (parent, *self.legs_of(parent))
        return [other for other in group if other is not order and other.status in OPEN_STATUSES]

    def _elect(self, order: VenueOrder, now: int) -> None:
        """A stop was struck: it joins the entries as what it has become, and its sibling is canceled."""
        terms = order.terms
        book = self._books[order.symbol]
        book.aside = [other for other in book.aside if other is not order]
        if terms is not None:
            order.bound = working_bound(order, book.instrument)
            order.terms = msgspec.structs.replace(terms, elected=True)
        order.rested = False
        was_held = order.status is _HELD
        if was_held:
            order.status = _NEW
        self._shelve(order, book)
        if was_held:
            for other in self._others(order):
                self._close(other, _CANCELED, "canceled", now)
            self._wake(order, now)

    def _on_close(self, order: VenueOrder, now: int) -> None:
        """What ends one ends the group; a stop that was struck has left it, and what is replaced goes on."""
        if order.status is _REPLACED:
            return
        kind: EventKind = "expired" if order.status is _EXPIRED else "canceled"
        for other in self._others(order):
            if other.status in OPEN_STATUSES and not (other.terms is not None and other.terms.elected):
                self._close(other, order.status, kind, now)

    def _on_fill(self, order: VenueOrder, quantity: Decimal, now: int) -> None:
        """A filled entry brings its exits to the market; what a take-profit fills is no longer the stop-loss's."""
        terms = order.terms
        if terms is None or terms.order_class is _SIMPLE:
            return
        if terms.legs and terms.order_class is not _OCO:
            if order.status is _FILLED:
                self._filled_entries.append(order)
            return
        for other in self._others(order):
            if other.status is not _HELD:
                continue
            if order.status is _FILLED:
                self._close(other, _CANCELED, "canceled", now)
            else:
                other.quantity -= quantity

    def _on_moment(self, now: int) -> None:
        entries, self._filled_entries = self._filled_entries, []
        for entry in entries:
            self._activate(entry, now)

    def _activate(self, entry: VenueOrder, now: int) -> None:
        """Bring the exits of a filled entry to the market, for as much as there is to close."""
        legs = [leg for leg in self.legs_of(entry) if leg.status is _HELD]
        if not legs:
            return
        side = legs[0].side
        book = self._book(self._instruments[entry.symbol])
        held = -side.sign * self._account.held(entry.symbol)
        free = max(held - held_for_orders(book.resting(), side), ZERO)
        if not free:  # somebody has closed the position meanwhile
            self._close(legs[0], _CANCELED, "canceled", now)
            return
        watched = len(legs) > 1
        for leg in legs:
            leg.quantity = min(leg.quantity, free)
            leg.rested = True
            if not (watched and leg.terms is not None and leg.terms.stop_price is not None):
                self._wake(leg, now)
            self._shelve(leg, book)

    def _release_excess(self, symbol: str, now: int) -> None:
        """Cancel what would reduce a position by more than is left of it, the newest first.

        For whoever changes a position without a trade: orders were judged by what was held before, and no order may
        cross through zero. Where nothing is left, whatever was to reduce goes.
        """
        book = self._books.get(symbol)
        if book is None:
            return
        with Exact():
            held = self._account.held(symbol)
            for order in sorted(book.resting(), key=lambda order: order.number, reverse=True):
                if order.status is _HELD or order.status not in OPEN_STATUSES:
                    continue  # it goes with its sibling, or is gone already
                if held:
                    is_excessive = order.side.sign * held < 0 and held_for_orders(book.resting(), order.side) > abs(
                        held
                    )
                else:
                    is_excessive = not order.reserve_price
                if is_excessive:
                    self._close(order, _CANCELED, "canceled", now)

    def _is_shelved(self, order: VenueOrder) -> bool:
        """Whether an open order is in its book: exits are not, before their entry is filled."""
        if order.status is not _HELD or order.terms is None or order.terms.parent is None:
            return True
        return order.terms.order_class is _OCO or self._orders[order.terms.parent].status is _FILLED

    def _succeed(self, old: VenueOrder, order: VenueOrder) -> None:
        """An order that replaced another takes its place in the group, too."""
        terms = old.terms
        if terms is None:
            return
        if terms.parent is not None:
            parent = self._orders[terms.parent]
            if parent.terms is not None:
                legs = tuple(order.id if leg == old.id else leg for leg in parent.terms.legs)
                parent.terms = msgspec.structs.replace(parent.terms, legs=legs)
        for leg in self.legs_of(old):
            if leg.terms is not None and leg.status in OPEN_STATUSES:
                leg.terms = msgspec.structs.replace(leg.terms, parent=order.id)
                leg.quantity = order.quantity
