"""What happened. The kernel learns of the world through these and nothing else.

Every event carries ``ts``: when we learned of it (UTC ns, from the runner's clock; for a bar or a
quote, when it was known to the market). Times of the thing itself have names of their own.
"""

from __future__ import annotations

import msgspec

from holdfast.model.enums import Outcome, Source, TradingState
from holdfast.model.market import Asset, Bar, Quote
from holdfast.model.orders import Account, AccountActivity, BrokerPosition, Execution, OrderReport
from holdfast.model.signals import Signal


class BarRevised(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="bar_revised"):
    """A late trade changed a bar that had ended. Strategies are told; what was decided on it stays decided."""

    ts: int
    bar: Bar


class EpochStarted(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="epoch_started"):
    """A run of the bot began. Whatever was in flight before it is unknown now.

    ``journal_id`` is what the client order ids of this run begin with: the journal's id and, behind a dash, the run's own part.
    """

    ts: int
    epoch: int
    journal_id: str


class SecurityLoaded(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="security_loaded"):
    """The venue described a symbol."""

    ts: int
    asset: Asset


class SecurityUnavailable(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="security_unavailable"):
    """The venue could not or would not describe a symbol. Opening orders in it stay blocked."""

    ts: int
    symbol: str
    reason: str


class AccountUpdated(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="account_updated"):
    """The venue told us of our money."""

    ts: int
    account: Account


class SignalReceived(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="signal_received"):
    """Someone outside the kernel (a user's own loop, an operator) asks for a trade."""

    ts: int
    signal: Signal
    request: int


class TimerFired(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="timer_fired"):
    """A timer that the kernel had set is due."""

    ts: int
    name: str


class TradingStateChanged(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="trading_state_changed"):
    """An operator, or the shell, changed what the bot may do."""

    ts: int
    state: TradingState
    reason: str


class ShutdownStarted(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="shutdown_started"):
    """The bot is about to stop: no new orders, and open ones are cancelled or left as configured."""

    ts: int
    cancel_orders: bool


class StreamConnected(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="stream_connected"):
    """A stream is authorised and listening. What happened while it was not must be asked for."""

    ts: int
    stream: str


class StreamLost(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="stream_lost"):
    """A stream ended."""

    ts: int
    stream: str
    reason: str


class OrderUpdated(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="order_updated"):
    """The venue described one order."""

    ts: int
    report: OrderReport
    source: Source


class OrderFilled(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="order_filled"):
    """The venue reported one execution, and with it the order after it where it said so."""

    ts: int
    execution: Execution
    source: Source
    report: OrderReport | None = None


class OrderRefused(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="order_refused"):
    """The venue refused the submit with a definite verdict: there is no such order there."""

    ts: int
    client_order_id: str
    reason: str
    code: int | None = None
    outcome: Outcome = Outcome.REFUSED


class SubmitUnknown(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="submit_unknown"):
    """The submit ended without a verdict."""

    ts: int
    client_order_id: str
    reason: str
    outcome: Outcome = Outcome.NO_ANSWER


class SubmitDropped(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="submit_dropped"):
    """The submit never left this process: its deadline had passed, or trading was halted."""

    ts: int
    client_order_id: str
    reason: str


class LookupMissed(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="lookup_missed"):
    """The venue says that it has no order with this id. Evidence only once a grace period has passed."""

    ts: int
    client_order_id: str


class LookupFailed(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="lookup_failed"):
    """The look-up itself gave no answer."""

    ts: int
    client_order_id: str
    reason: str
    outcome: Outcome = Outcome.NO_ANSWER


class CancelRefused(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="cancel_refused"):
    """The venue refused the cancel with a definite verdict, e.g. because the order is filled."""

    ts: int
    client_order_id: str
    reason: str
    outcome: Outcome = Outcome.REFUSED


class CancelUnknown(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="cancel_unknown"):
    """The cancel ended without a verdict."""

    ts: int
    client_order_id: str
    reason: str
    outcome: Outcome = Outcome.NO_ANSWER


class BrokerReported(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="broker_reported"):
    """The venue's whole truth at one moment, for reconciliation.

    Attributes:
        orders: Open orders, and those of ours that closed since the last look.
        executions: Fills since the last look, from the account's activities, oldest first.
        positions: All positions.
        asked_at: When it was asked for (UTC ns): what was true at the venue by then is in it. 0 where nobody knows.
    """

    ts: int
    reason: str
    account: Account
    orders: tuple[OrderReport, ...]
    executions: tuple[Execution, ...]
    positions: tuple[BrokerPosition, ...]
    asked_at: int = 0


class ReconcileRequested(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="reconcile_requested"):
    """Somebody wants our books compared with the venue's now."""

    ts: int
    reason: str


class ReconcileFailed(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="reconcile_failed"):
    """The venue could not be asked; nothing was learned."""

    ts: int
    reason: str


class OrderAccepted(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="order_accepted"):
    """A venue that can lose no word has the order, exactly as it was asked for.

    Such a venue lives in our own process. One at the other end of a wire describes the order (``OrderUpdated``), and
    what it describes is compared with what we meant.
    """

    ts: int
    client_order_id: str
    broker_id: str


class FlattenRequested(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="flatten_requested"):
    """An operator wants everything closed. Told again while something is left: what is under way is left to itself.

    Attributes:
        everything: Also what is not in our books.
        round: Counts the tellings of one wish, from 1.
    """

    ts: int
    reason: str
    everything: bool = False
    round: int = 1


class PositionCloseAccepted(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="position_close_accepted"):
    """The venue made an order that closes a whole position, because we asked for that. It is ours from here on."""

    ts: int
    symbol: str
    report: OrderReport


class PositionCloseFailed(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="position_close_failed"):
    """The venue was asked to close a whole position and refused, or its answer got lost: look at the position again."""

    ts: int
    symbol: str
    reason: str


class OrderReleased(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="order_released"):
    """An order's request is about to leave; the moments that led to it, by the bot's clock (UTC ns). Changes nothing.

    Attributes:
        taken_at: The event that the order follows from was taken from the inbox.
        decided_at: The kernel had answered it; the journal's sync began.
        synced_at: The intent was durable; the wait for the rate limit began.
        granted_at: The rate limit granted the slot.
    """

    ts: int
    client_order_id: str
    taken_at: int
    decided_at: int
    synced_at: int
    granted_at: int


class StateHashed(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="state_hashed"):
    """The hash of the kernel's state after everything before this, for whoever replays the journal. Changes nothing."""

    ts: int
    digest: str


class VenueAdjusted(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="venue_adjusted"):
    """The venue changed the account without a trade of ours: a fee, a dividend, a split, a transfer, a busted trade."""

    ts: int
    activity: AccountActivity


Event = (
    Bar
    | BarRevised
    | Quote
    | EpochStarted
    | SecurityLoaded
    | SecurityUnavailable
    | AccountUpdated
    | SignalReceived
    | TimerFired
    | TradingStateChanged
    | ShutdownStarted
    | StreamConnected
    | StreamLost
    | OrderUpdated
    | OrderFilled
    | OrderRefused
    | SubmitUnknown
    | SubmitDropped
    | LookupMissed
    | LookupFailed
    | CancelRefused
    | CancelUnknown
    | BrokerReported
    | ReconcileRequested
    | ReconcileFailed
    | OrderAccepted
    | FlattenRequested
    | PositionCloseAccepted
    | PositionCloseFailed
    | OrderReleased
    | StateHashed
    | VenueAdjusted
)
