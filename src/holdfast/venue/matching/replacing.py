"""What a request to replace an order asks for, and the new order that it makes of the old one.

A replacement is a new order with an id of its own: it arrives anew, so of equal prices it is the last. It trades its
whole quantity, whatever the old one has traded; where the request names no quantity, that is the old one's original
quantity and not what is left of it. Clients have been surprised by that at Alpaca, so they are here, too. Only an exit
keeps to what is left, since there is no more to close.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from holdfast.model.enums import OrderClass, OrderStatus, OrderType, TimeInForce
from holdfast.venue.matching.forms import CLIENT_ORDER_ID_LENGTH_MAX
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import OPEN_STATUSES, NewOrder, Terms, VenueOrder
from holdfast.venue.matching.rules import Rule
from holdfast.venue.matching.stops import trailed

_TRAILING = OrderType.TRAILING_STOP
_AT_THE_MARKET_WHEN_STRUCK = (OrderType.STOP, _TRAILING)
_PLAIN = Terms()


class Replacement(msgspec.Struct, frozen=True, gc=False):
    """What is to change; ``None`` keeps what the old order has, but for the client order id, which is then made."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    client_order_id: str | None = None
    time_in_force: TimeInForce | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None


def successor(old: VenueOrder, change: Replacement, instrument: Instrument) -> NewOrder:
    """The request for the new order. Whether it breaks a rule of orders is not asked here.

    Raises:
        Refusal: The old order cannot be replaced like this.
    """
    name = change.client_order_id
    if name is not None and len(name) > CLIENT_ORDER_ID_LENGTH_MAX:
        raise Rule.CLIENT_ORDER_ID_TOO_LONG.refusal()
    terms = old.terms or _PLAIN
    elected = terms.elected and old.order_type in _AT_THE_MARKET_WHEN_STRUCK
    if old.status not in OPEN_STATUSES or old.status is OrderStatus.ACCEPTED or elected:
        raise Rule.NOT_REPLACEABLE.refusal()
    if terms.notional is not None:
        raise Rule.REPLACE_NOTIONAL.refusal()
    is_leg = terms.parent is not None
    if is_leg and terms.order_class is OrderClass.OTO:
        raise Rule.REPLACE_OTO_LEG.refusal()
    left = old.leaves_qty if is_leg or terms.order_class is OrderClass.OCO else old.quantity
    quantity = left if change.quantity is None else change.quantity
    limit_price = old.limit_price if change.limit_price is None else change.limit_price
    time_in_force = change.time_in_force or old.time_in_force
    if (
        quantity in (old.quantity, left)
        and (limit_price, time_in_force) == (old.limit_price, old.time_in_force)
        and change.stop_price in (None, terms.stop_price)
        and change.trail in (None, terms.trail_price, terms.trail_percent)
    ):
        raise Rule.NOT_CHANGED.refusal()
    if is_leg and quantity != left:
        raise Rule.REPLACE_LEG_QTY.refusal()
    if not instrument.is_crypto and old.quantity % 1 and quantity != old.quantity:
        raise Rule.REPLACE_FRACTIONAL.refusal()
    return NewOrder(
        old.symbol,
        old.side,
        old.order_type,
        time_in_force,
        quantity,
        limit_price,
        name,
        _changed(old, terms, change, instrument),
    )


def _changed(old: VenueOrder, terms: Terms, change: Replacement, instrument: Instrument) -> Terms | None:
    """The new order's terms."""
    trails = old.order_type is _TRAILING
    if change.trail is not None and not trails:
        raise Rule.TRAIL_UNASKED.refusal()
    if change.stop_price is not None:
        if trails:
            raise Rule.STOP_UNASKED.refusal(order_type="trailing stop")
        return msgspec.structs.replace(terms, stop_price=change.stop_price)
    if change.trail is None:
        return old.terms
    if not change.trail.is_finite() or change.trail <= 0:
        raise Rule.PRICE_NOT_POSITIVE.refusal(name="trail")
    # The best price so far stays what it was; only the distance from it is another.
    hwm = terms.hwm
    by_price = terms.trail_price is not None
    terms = msgspec.structs.replace(
        terms,
        trail_price=change.trail if by_price else None,
        trail_percent=None if by_price else change.trail,
        hwm=None,
    )
    return terms if hwm is None else trailed(terms, old.side, instrument, hwm)
