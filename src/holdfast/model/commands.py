"""What the kernel wants done. It does none of it itself; results come back as events."""

from __future__ import annotations

import msgspec

from holdfast.model.orders import OrderIntent
from holdfast.model.signals import Verdict


class SubmitOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="submit_order"):
    """Send this order, once.

    An opening order that cannot leave within ``deadline - intent.created_at`` (ns) of being handed to the sender is
    dropped: nobody wants a stale entry. A reducing order is never too late.
    """

    intent: OrderIntent
    deadline: int


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="cancel_order"):
    """Ask the venue to cancel. The final word is its event, not its answer."""

    client_order_id: str
    broker_id: str


class LookupOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="lookup_order"):
    """Ask the venue whether it has an order with this client order id.

    Where ``broker_id`` is given, it is asked by the venue's id, and for what depends on the order too: a leg is known there
    by no id of ours.
    """

    client_order_id: str
    broker_id: str = ""


class QueryAccount(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="query_account"):
    """Ask the venue for the account."""


class Reconcile(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="reconcile"):
    """Ask the venue for orders, positions, account and the executions after ``since`` (UTC ns).

    ``asked_at`` is when the kernel asked (UTC ns); the report repeats it.
    """

    reason: str
    since: int
    asked_at: int = 0


class LoadSecurity(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="load_security"):
    """Ask the venue to describe a symbol."""

    symbol: str


class SendAlert(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="send_alert"):
    """Tell people. Never in the trading path."""

    channel: str
    title: str
    details: str = ""


class RecordVerdict(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="record_verdict"):
    """Nothing to do: the verdict on a signal, for the journal and for whoever reads along."""

    verdict: Verdict
    request: int | None = None


class RestartStream(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="restart_stream"):
    """Give up this connection of a stream, which claims to be well and is not, and make another one."""

    stream: str
    reason: str


class ClosePosition(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="close_position"):
    """Have the venue close a whole position by its own word, because ours is in doubt."""

    symbol: str


class ReplaceOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="replace_order"):
    """Ask the venue, once, to put this order in the place of the one that ``intent.replaces`` names.

    The old one stays open until the venue's own word says "replaced". The deadline is that of ``SubmitOrder``;
    ``broker_id`` is the venue's id of the old order.
    """

    intent: OrderIntent
    broker_id: str
    deadline: int


Command = (
    SubmitOrder
    | CancelOrder
    | LookupOrder
    | QueryAccount
    | Reconcile
    | LoadSecurity
    | SendAlert
    | RecordVerdict
    | RestartStream
    | ClosePosition
    | ReplaceOrder
)

# The commands whose intent becomes an order at the venue.
PLACING = (SubmitOrder, ReplaceOrder)
# The commands that reach the venue's order endpoints: they leave only after a journal sync.
ORDER_COMMANDS = (SubmitOrder, CancelOrder, ClosePosition, ReplaceOrder)
