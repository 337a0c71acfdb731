"""What a request to replace an order asks for, and the new order that it makes of the old one.

A replacement is a new order with an id of its own: it arrives anew, so of equal prices it is the last. It trades its
whole quantity, whatever the old one has traded; where the request names no quantity, that is the old one's original
quantity and not what is left of it. Clients have been surprised by that at Alpaca, so they are here, too.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from holdfast.model.enums import TimeInForce
from holdfast.venue.instruments import CLIENT_ORDER_ID_LENGTH_MAX
from holdfast.venue.orders import OPEN_STATUSES, NewOrder, VenueOrder, forbidden, invalid, unprocessable


class Replacement(msgspec.Struct, frozen=True, gc=False):
    """What is to change; ``None`` keeps what the old order has, but for the client order id, which is then made."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    client_order_id: str | None = None
    time_in_force: TimeInForce | None = None


def successor(old: VenueOrder, change: Replacement) -> NewOrder:
    """The request for the new order. Whether it breaks a rule of orders is not asked here.

    Raises:
        Refusal: The old order cannot be replaced like this.
    """
    name = change.client_order_id
    if name is not None and len(name) > CLIENT_ORDER_ID_LENGTH_MAX:
        message = f"client_order_id must be no more than {CLIENT_ORDER_ID_LENGTH_MAX} characters"
        raise invalid(message)
    if old.status not in OPEN_STATUSES:
        message = "unable to replace order, order is not open"
        raise unprocessable(message)
    if change.time_in_force not in (None, old.time_in_force):
        message = "replacing the time_in_force is not offered by this venue; expected qty or limit_price"
        raise unprocessable(message)
    quantity = old.quantity if change.quantity is None else change.quantity
    limit_price = old.limit_price if change.limit_price is None else change.limit_price
    if (quantity, limit_price) == (old.quantity, old.limit_price):
        message = "order parameters are not changed"
        raise forbidden(message)
    if "/" not in old.symbol and old.quantity % 1 and quantity != old.quantity:
        # That it cannot be is documented, its text is not.
        message = "qty of a fractional order cannot be replaced"
        raise unprocessable(message)
    return NewOrder(old.symbol, old.side, old.order_type, old.time_in_force, quantity, limit_price, name)
