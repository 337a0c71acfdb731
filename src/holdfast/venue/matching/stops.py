"""Stops: what strikes them, how they trail, and what they become. Arithmetic alone; it changes nothing.

A stop rests aside until the market trades at its price or beyond (from below for a buy, from above for a sale). Then
it is elected: a stop-limit becomes a limit order, any other stop a market order, a buy with a limit that the client
does not see 4 % above its stop (2.5 % from $50 on). A trailing stop follows the best price since it was placed, at its
distance, rounded away from the market to the price increment; it never goes back.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from holdfast.model.enums import OrderSide, OrderType
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import Terms, VenueOrder

_BUY = OrderSide.BUY
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)
_HUNDRED = Decimal(100)


def is_dormant(order_type: OrderType, terms: Terms | None) -> bool:
    """Whether an order waits for its stop to be struck."""
    return order_type in _STOPS and terms is not None and not terms.elected


def is_struck(order: VenueOrder, low: Decimal, high: Decimal) -> bool:
    """Whether a market that traded in this range strikes the stop."""
    stop_price = stop_of(order)
    return high >= stop_price if order.side is _BUY else low <= stop_price


def stop_of(order: VenueOrder) -> Decimal:
    """Where the stop is."""
    terms = order.terms
    if terms is None or terms.stop_price is None:
        message = f"order {order.id} has no stop"
        raise AssertionError(message)
    return terms.stop_price


def trailed(terms: Terms, side: OrderSide, instrument: Instrument, price: Decimal) -> Terms:
    """The terms of a trailing stop after the market has traded at a price: the same ones, if it is no new best."""
    hwm = terms.hwm
    if hwm is not None and (price >= hwm if side is _BUY else price <= hwm):
        return terms
    distance = terms.trail_price
    if distance is None:
        distance = price * (terms.trail_percent or 0) / _HUNDRED
    if side is _BUY:
        stop_price = instrument.round_up(price + distance)
    else:
        stop_price = instrument.round_down(max(price - distance, Decimal(0)))
    return msgspec.structs.replace(terms, hwm=price, stop_price=stop_price)


def working_bound(order: VenueOrder, instrument: Instrument) -> Decimal | None:
    """The worst price that an elected stop trades at from now on."""
    if order.order_type is OrderType.STOP_LIMIT or order.side is not _BUY:
        return order.limit_price
    return instrument.round_up(instrument.collared(stop_of(order)))
