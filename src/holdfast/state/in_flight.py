"""One order of ours: what was asked for, and all that has been learned of it since."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from holdfast.model.enums import OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import OrderError
from holdfast.model.orders import Execution, OrderIntent
from holdfast.model.terms import OrderTerms
from holdfast.state.order_machine import CLOSED, OPEN
from holdfast.state.order_updates import read_moment

_ZERO = Decimal(0)


class FillEvent(msgspec.Struct, frozen=True, gc=False):
    """One execution as a user's own code reports it. ``quantity`` is this execution's, not the cumulative one.

    Attributes:
        timestamp: When, as an aware datetime or UTC ns.
        quantity: Shares or coins of this execution.
        price: Per share or coin, in the quote currency.
        commission: In the quote currency.
        execution_id: The venue's id. Without it the fill cannot be recognised when it comes again.
    """

    timestamp: datetime | int
    quantity: Decimal
    price: Decimal
    commission: Decimal = _ZERO
    execution_id: str | None = None


class InFlightOrder(msgspec.Struct, eq=False, gc=False):
    """One order of ours and all that is known of it. Mutable: the tracker that holds it changes it.

    Construct it with keywords.

    Args:
        client_order_id: Our id, unique forever.
        symbol: What it trades.
        quantity: Shares or coins, positive.
        side: Buy or sell.
        order_type: Market, limit, or one of the stops.
        strategy_id: Who asked.
        created_at: When it was made: an aware datetime, or UTC ns.
        limit_price: For limit and stop-limit orders.
        time_in_force: How long it may rest.
        reduce_only: True for an exit.
        reason: Why, in the strategy's words.
        terms: Stops, trails, and exits that come with it.

    Attributes:
        status: Where it is in its life.
        broker_id: The venue's id, once known.
        executions: What was counted, in the order in which it was learned.
        filled_quantity: The sum of the executions.
        reported_filled_qty: The highest cumulative quantity that the venue told, never below ``filled_quantity``.
        commission: The sum that ``process_fill`` was told, in the quote currency.
        cancel_requested: True once a cancel was asked for.
        submitted_at: When the venue says that it got it (UTC ns), once known.
        closed_at: When it closed (UTC ns), or ``None`` while it is open.
        last_event_at: The newest moment at which something was learned (UTC ns).
        evidence: Why the status is what it is: the source of the venue's word, or the caller's sentence.
        sequence: Its place among the orders of its tracker, from 1.
        replaces: Our id of the order whose place it was asked to take; ``None`` for an order of its own.
        replacement: Our id of the last order that was asked to take its place. Whether it did, ``replaced_by`` says.
        parent: Our id of the intent that it is an exit of (see ``holdfast.state.groups``); ``None`` for an order of its own.

    Raises:
        OrderError: The quantity is not positive, or ``created_at`` is a naive datetime.
    """

    client_order_id: str
    symbol: str
    quantity: Decimal
    side: OrderSide
    order_type: OrderType
    created_at: int
    strategy_id: str | None = None
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    reduce_only: bool = False
    reason: str = ""
    terms: OrderTerms | None = None

    sequence: int = 0
    status: OrderStatus = OrderStatus.CREATED
    broker_id: str | None = None
    executions: list[Execution] = msgspec.field(default_factory=list)
    filled_quantity: Decimal = _ZERO
    reported_filled_qty: Decimal = _ZERO
    commission: Decimal = _ZERO
    cancel_requested: bool = False
    submitted_at: int | None = None
    closed_at: int | None = None
    last_event_at: int = 0
    evidence: str = ""
    replaces: str | None = None
    replacement: str | None = None
    parent: str | None = None

    if TYPE_CHECKING:
        # The constructor as people call it: what is learned later is not theirs to give.
        def __init__(
            self,
            client_order_id: str,
            symbol: str,
            quantity: Decimal,
            side: OrderSide,
            order_type: OrderType,
            created_at: datetime | int,
            strategy_id: str | None = None,
            limit_price: Decimal | None = None,
            time_in_force: TimeInForce = TimeInForce.DAY,
            reduce_only: bool = False,
            reason: str = "",
            terms: OrderTerms | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.quantity <= _ZERO:
            message = f"order {self.client_order_id!r} has the quantity {self.quantity}; expected a positive number"
            raise OrderError(message)
        created_at = self.created_at
        if created_at.__class__ is not int:
            self.created_at = created_at = read_moment(created_at, "created_at")
        self.last_event_at = created_at

    @classmethod
    def from_intent(cls, intent: OrderIntent) -> InFlightOrder:
        """The order that an intent asks for."""
        # By position: naming twelve arguments would cost as much again as the order itself.
        return cls(
            intent.client_order_id,
            intent.symbol,
            intent.quantity,
            intent.side,
            intent.order_type,
            intent.created_at,
            intent.strategy_id,
            intent.limit_price,
            intent.time_in_force,
            intent.reduce_only,
            intent.reason,
            intent.terms,
        )

    @property
    def exchange_order_id(self) -> str | None:
        """The venue's id, once known: another name of ``broker_id``."""
        return self.broker_id

    @property
    def remaining(self) -> Decimal:
        """What has not traded as far as we counted; never negative."""
        rest = self.quantity - self.filled_quantity
        return rest if rest > 0 else _ZERO

    @property
    def average_price(self) -> Decimal | None:
        """The mean price of what was counted, weighted by quantity; ``None`` before the first execution."""
        if not self.filled_quantity:
            return None
        cost = sum((execution.quantity * execution.price for execution in self.executions), _ZERO)
        return cost / self.filled_quantity

    @property
    def is_open(self) -> bool:
        """True until it is closed; created, submitted and unknown orders are open."""
        return self.status in OPEN

    @property
    def is_closed(self) -> bool:
        """True once the venue closed it, or once we inferred that it never got there."""
        return self.status in CLOSED

    @property
    def fills_missing(self) -> bool:
        """True while the venue has told of more than the executions that we counted."""
        return self.reported_filled_qty > self.filled_quantity

    @property
    def replaced_by(self) -> str | None:
        """Our id of the order that took its place, once the venue has said that one did."""
        return self.replacement if self.status is OrderStatus.REPLACED else None

    def __repr__(self) -> str:
        return (
            f"<InFlightOrder {self.client_order_id} {self.side.value} {self.quantity} {self.symbol} "
            f"{self.status.value} filled {self.filled_quantity}>"
        )
