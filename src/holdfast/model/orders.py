"""Orders, executions and balances as values: what crosses between kernel, journal and venue."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from holdfast.model.enums import ActivityKind, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.terms import OrderTerms


class OrderIntent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One order that we mean to have at the venue, exactly once. Journaled before it is sent.

    ``replaces`` is the client order id of the order whose place it takes; empty for an order of its own. Exits that its
    ``terms`` bring are part of it: the venue makes them orders, and they are no intents of their own.
    """

    client_order_id: str
    symbol: str
    side: OrderSide
    quantity: Decimal
    order_type: OrderType
    time_in_force: TimeInForce
    created_at: int
    limit_price: Decimal | None = None
    reduce_only: bool = False
    strategy_id: str = ""
    reason: str = ""
    replaces: str = ""
    terms: OrderTerms | None = None


class OrderReport(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as the venue describes it. Quantities are the venue's own, cumulative where they say so.

    ``status`` is the venue's word; a word that we do not know is kept in ``raw_status`` and
    mapped to ``OrderStatus.UNKNOWN``: it proves that the order exists and settles nothing else.
    ``legs`` are the orders that depend on it, where the venue was asked for them or told them; ``None``: nothing was said.
    """

    broker_id: str
    client_order_id: str
    symbol: str
    side: OrderSide
    status: OrderStatus
    quantity: Decimal
    filled_qty: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    order_type: str = "market"
    time_in_force: str = "day"
    limit_price: Decimal | None = None
    submitted_at: int | None = None
    raw_status: str = ""
    updated_at: int | None = None
    terms: OrderTerms | None = None
    legs: tuple[OrderReport, ...] | None = None


def with_legs(orders: tuple[OrderReport, ...]) -> tuple[OrderReport, ...]:
    """The reports with each leg as one of its own too, behind all others; the same tuple where there are no legs."""
    if not any(report.legs for report in orders):
        return orders
    listed = {report.broker_id: None for report in orders}
    legs = {leg.broker_id: leg for report in orders for leg in report.legs or () if leg.broker_id not in listed}
    return (*orders, *legs.values())


class Execution(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One trade at the venue.

    ``cum_qty`` is the order's filled quantity after this execution. Together with the order it
    names the execution also where two sources give it different ids.
    """

    execution_id: str
    broker_id: str
    symbol: str
    side: OrderSide
    quantity: Decimal
    price: Decimal
    at: int
    cum_qty: Decimal | None = None
    client_order_id: str | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The venue's view of the money, in USD."""

    account_id: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal
    non_marginable_buying_power: Decimal
    last_equity: Decimal = Decimal(0)
    multiplier: int = 1
    shorting_enabled: bool = False
    trading_blocked: bool = False
    currency: str = "USD"


class BrokerPosition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One position as the venue describes it; ``quantity`` is negative when short."""

    symbol: str
    quantity: Decimal
    avg_entry_price: Decimal
    current_price: Decimal | None = None


class AccountActivity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change of the account that no execution made, as the venue tells it.

    Attributes:
        activity_id: The venue's id; each is counted once, for ever.
        kind: What sort of change it is.
        label: In words; kept with the adjustment.
        at: When (UTC ns).
        symbol: Whose position it changes; empty for money alone.
        quantity: Signed change of the position. For a correction: the execution's new quantity, positive.
        cash: Signed change of the cash (USD).
        price: For a correction, the execution's new price.
        cancels: The id of the activity that this one takes back.
        execution_id: The execution that was busted or corrected.
    """

    activity_id: str
    kind: ActivityKind
    label: str
    at: int
    symbol: str = ""
    quantity: Decimal = Decimal(0)
    cash: Decimal = Decimal(0)
    price: Decimal | None = None
    cancels: str = ""
    execution_id: str = ""
