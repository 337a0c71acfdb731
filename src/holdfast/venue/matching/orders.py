"""What the matching engine speaks of: requests, orders, executions, events, and the ways to say no.

The venue is the other side of the wire, so it has its own order type and its own checks: if it
borrowed the bot's, a mistake in the bot would be a law of the venue. The texts and codes of the
refusals are the ones that Alpaca is known to give, since clients decide on status, code and text.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import msgspec

from holdfast.model.enums import AssetClass, OrderClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import HoldfastError

ZERO = Decimal(0)

EventKind = Literal[
    "accepted", "new", "fill", "partial_fill", "canceled", "expired", "rejected", "replaced", "trade_bust"
]

#: Alpaca's error codes. They are coarse: the HTTP status and the text carry the rest.
INVALID = 40010001
FORBIDDEN = 40310000
NOT_FOUND = 40410000
UNPROCESSABLE = 42210000


class Refusal(HoldfastError):  # noqa: N818 - the venue's answer "no" to a client, not a failure of the venue
    """A request that the venue does not carry out.

    Args:
        http_status: The status of the HTTP answer.
        code: Alpaca's code, for the body.
        message: Alpaca's text, for the body.
        extras: Further members of the body, ready for JSON (amounts are strings).
    """

    def __init__(self, http_status: int, code: int, message: str, extras: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.message = message
        self.extras: dict[str, Any] = dict(extras or {})


class Exits(msgspec.Struct, frozen=True, gc=False):
    """The prices of the exits that come with a bracket, an OCO or an OTO order.

    Attributes:
        take_profit: Limit of the exit with a profit.
        stop_loss: Stop of the exit with a loss.
        stop_loss_limit: Limit of that exit once its stop was struck; None makes it a market order then.
    """

    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    stop_loss_limit: Decimal | None = None


class Terms(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What only some orders have, kept apart so that plain market and limit orders stay small and quick.

    Frozen: where a term changes (a trailing stop moves), the order gets other terms, so that an event can keep
    those of its moment.

    Attributes:
        stop_price: Where a stop is struck; of a trailing stop, where it is now.
        trail_price: How far a trailing stop stays behind, in USD.
        trail_percent: The same as a percentage of ``hwm``.
        extended_hours: Whether it trades before the open and after the close, too.
        notional: USD that it trades; its quantity is then settled by the price of its first fill.
        order_class: Whether it comes alone or in a group.
        exits: What a group's order brings along; None for the exits themselves.
        hwm: The best price since a trailing stop was placed.
        elected: Whether the stop was struck: from then on it is a market or a limit order.
        parent: The id of the order that brought this exit along.
        legs: The ids of the exits that this order brought along.
    """

    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    notional: Decimal | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    exits: Exits | None = None
    hwm: Decimal | None = None
    elected: bool = False
    parent: str | None = None
    legs: tuple[str, ...] = ()


class NewOrder(msgspec.Struct, gc=False):
    """A request for an order. The members are the enums, not their words: ``OrderSide("buy")``.

    ``client_order_id`` None lets the venue make one. With ``terms.notional`` the quantity is zero.
    """

    symbol: str
    side: OrderSide
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    limit_price: Decimal | None = None
    client_order_id: str | None = None
    terms: Terms | None = None


class VenueOrder(msgspec.Struct, gc=False, eq=False):
    """An order at the venue. Only the engine changes it; all times are UTC ns.

    Attributes:
        number: Place in the order of arrival, from 1: the time in price-time priority.
        limit_price: The limit that was asked for.
        bound: The worst price that it trades at: its limit, or one that the client does not see (of a market order in
            crypto, of a buy stop that was struck). None is any price.
        expires_at: When the engine expires it: the session's close for DAY, 90 days on for GTC, None for IOC.
        filled_cost: Sum of quantity x price of its executions (USD), exact.
        filled_avg_price: ``filled_cost / filled_qty`` to nine decimals.
        reserve_price: USD that each unfilled share holds back from the buying power; zero if it reduces a position.
        replaces: The id of the order in whose place it was put.
        replaced_by: The id of the order that was put in its place.
        rested: True once it had its first matching opportunity; from then on it makes liquidity.
        terms: What plain orders do not have.
    """

    id: str
    client_order_id: str
    number: int
    symbol: str
    asset_class: AssetClass
    side: OrderSide
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    limit_price: Decimal | None
    bound: Decimal | None
    status: OrderStatus
    created_at: int
    submitted_at: int
    updated_at: int
    expires_at: int | None = None
    reserve_price: Decimal = ZERO
    filled_qty: Decimal = ZERO
    filled_cost: Decimal = ZERO
    filled_avg_price: Decimal | None = None
    filled_at: int | None = None
    canceled_at: int | None = None
    expired_at: int | None = None
    failed_at: int | None = None
    rested: bool = False
    replaces: str | None = None
    replaced_by: str | None = None
    replaced_at: int | None = None
    terms: Terms | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in OPEN_STATUSES

    @property
    def leaves_qty(self) -> Decimal:
        """What has not been filled."""
        return self.quantity - self.filled_qty


#: The engine's open states; every other state of its orders is final.
OPEN_STATUSES = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.ACCEPTED, OrderStatus.HELD)


class VenueExecution(msgspec.Struct, frozen=True, gc=False):
    """One trade, and at the same time the row of the FILL activity (``fill`` if ``leaves_qty`` is zero).

    Attributes:
        at: When (UTC ns).
        cum_qty: The order's filled quantity after this execution.
        leaves_qty: The order's open quantity after this execution.
        position_qty: The signed position after this execution, net of the coin fee.
        fee_coin: Fee of a crypto buy, taken from the coin received.
        fee_cash: Fee of a crypto sell (USD), taken from the cash received.
    """

    execution_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: OrderSide
    quantity: Decimal
    price: Decimal
    at: int
    cum_qty: Decimal
    leaves_qty: Decimal
    position_qty: Decimal
    fee_coin: Decimal = ZERO
    fee_cash: Decimal = ZERO


class Posting(msgspec.Struct, frozen=True, gc=False):
    """An activity that is no trade, as it is asked for: its type, what it changes (cash in USD), and at what price."""

    activity_type: str
    symbol: str
    quantity: Decimal
    cash: Decimal
    price: Decimal | None = None


class PostedRow(msgspec.Struct, frozen=True, gc=False):
    """The row of an activity that is no trade. ``execution_id`` is the part of its id that is its own."""

    execution_id: str
    at: int
    posting: Posting
    order_id: str = ""


class EngineEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to an order, as it was then.

    ``order`` is the living order, which may have moved on since; what an event changes is kept here,
    so that making one stays cheap. ``snapshot()`` is the order as of this event.
    """

    kind: EventKind
    order: VenueOrder
    execution: VenueExecution | None
    at: int
    status: OrderStatus
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    terms: Terms | None = None

    def snapshot(self) -> VenueOrder:
        """A copy of the order as it was at this event; nobody changes it any more."""
        return msgspec.structs.replace(
            self.order,
            status=self.status,
            filled_qty=self.filled_qty,
            filled_avg_price=self.filled_avg_price,
            updated_at=self.at,
            terms=self.terms,
            filled_at=self.at if self.status is OrderStatus.FILLED else None,
            canceled_at=self.at if self.status is OrderStatus.CANCELED else None,
            expired_at=self.at if self.status is OrderStatus.EXPIRED else None,
            failed_at=self.at if self.status is OrderStatus.REJECTED else None,
            replaced_at=self.at if self.status is OrderStatus.REPLACED else None,
            replaced_by=self.order.replaced_by if self.status is OrderStatus.REPLACED else None,
        )


def invalid(message: str) -> Refusal:
    """422: the request itself is malformed."""
    return Refusal(422, INVALID, message)


def unprocessable(message: str) -> Refusal:
    """422: the request is well formed, and cannot be carried out."""
    return Refusal(422, UNPROCESSABLE, message)


def forbidden(message: str, **extras: Any) -> Refusal:
    """403: the account or its state forbids it."""
    return Refusal(403, FORBIDDEN, message, extras)


def not_found(message: str) -> Refusal:
    """404: there is no such thing."""
    return Refusal(404, NOT_FOUND, message)
