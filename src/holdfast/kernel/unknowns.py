"""Orders of which nobody knows what became: the decision table of ``unknown_table``, carried out.

Each handler finds out which row applies and does what the row says; none decides anything by itself. What is
remembered between two events is ``UnknownState``: plain data that a snapshot can hold.

The clock of the grace period is the time for which the order stream has been up. It is kept as one sum for all
orders (``UnknownState.stream_time``): an order remembers what the sum was when it became unknown.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.kernel.portfolio import Portfolio
from holdfast.kernel.settings import KernelSettings
from holdfast.kernel.unknown_table import SCHEDULES, Again, Ask, Case, Facts, Request, Standing, decide
from holdfast.model import OrderStatus, Outcome
from holdfast.model.commands import CancelOrder, Command, LookupOrder, QueryAccount
from holdfast.model.events import (
    BrokerReported,
    CancelRefused,
    CancelUnknown,
    LookupFailed,
    LookupMissed,
    OrderRefused,
    SubmitDropped,
    SubmitUnknown,
)
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.state.order_machine import CLOSED, IN_FLIGHT, VENUE_CLOSED, OrderEvent
from holdfast.state.order_tracker import InFlightOrder

LOOKUP_TIMER = "lookup:"
USER_STREAM = "user"
# Why the books are compared when the grace period of an unknown order is over.
COMPARE_REASON = "unknown order"


class Doubt(msgspec.Struct):
    """What is remembered of an order whose outcome is unknown. Times are UTC ns.

    Attributes:
        since: When the outcome became unknown.
        stream_then: How long the order stream had been up in all by then (ns).
        misses: Look-ups that did not find it.
        arrived: The venue has said that its id is taken.
        asked_at: When the comparison was asked for that would show it; 0 before.
        compared_at: When that comparison came, and did not show it; 0 before.
        told: People were told that it is still unknown.
    """

    since: int
    stream_then: int
    misses: int = 0
    arrived: bool = False
    asked_at: int = 0
    compared_at: int = 0
    told: bool = False


class Asking(msgspec.Struct):
    """A cancel that the venue has not confirmed: since when (UTC ns), how often asked, and whether people were told."""

    since: int
    asked: int = 0
    told: bool = False


class UnknownState(msgspec.Struct):
    """All that is remembered, by client order id. Plain data: it can be written down and read back.

    Attributes:
        doubts: Orders whose submit has no verdict.
        cancels: Cancels that were asked for and are not confirmed.
        cancel_when_known: Orders to cancel as soon as the venue's id of them is known.
        asked: How often an order was asked for in a row without being settled.
        stream_up_since: Since when the order stream is up (UTC ns); None while it is down.
        stream_time: How long it was up before that, in all (ns).
    """

    doubts: dict[str, Doubt] = {}
    cancels: dict[str, Asking] = {}
    cancel_when_known: dict[str, None] = {}
    asked: dict[str, int] = {}
    stream_up_since: int | None = None
    stream_time: int = 0


class Outlets(msgspec.Struct, frozen=True):
    """What the handlers may set in motion, given by the kernel."""

    emit: Callable[[Command], None]
    alert: Callable[[str, str, str], None]
    order_changed: Callable[[InFlightOrder], None]
    compare: Callable[[str], None]


class Unknowns:
    """The handlers.

    Args:
        portfolio: Orders and time.
        settings: Durations.
        timers: The kernel's own, by name (UTC ns); this class sets those that begin with ``LOOKUP_TIMER``.
        outlets: What they may set in motion.
    """

    def __init__(
        self, portfolio: Portfolio, settings: KernelSettings, timers: dict[str, int], outlets: Outlets
    ) -> None:
        self.state = UnknownState()
        self._portfolio = portfolio
        self._tracker = portfolio.tracker
        self._settings = settings
        self._timers = timers
        self._out = outlets

    # -- what a request ended as ----------------------------------------------------------------

    def on_submit_unknown(self, event: SubmitUnknown) -> None:
        """The submit ended without a verdict."""
        self._on_submit(event.client_order_id, event.outcome, event.reason)

    def on_submit_dropped(self, event: SubmitDropped) -> None:
        """The submit never left this process."""
        self._on_submit(event.client_order_id, Outcome.NOT_SENT, event.reason)

    def on_order_refused(self, event: OrderRefused) -> None:
        """A definite no to the submit."""
        outcome = event.outcome if event.outcome is Outcome.RATE_LIMITED else Outcome.REFUSED
        self._on_submit(event.client_order_id, outcome, event.reason)

    def _on_submit(self, client_order_id: str, outcome: Outcome, reason: str) -> None:
        order = self._tracker.get(client_order_id)
        if order is not None:
            self._carry_out(self._case(_request_of(order), outcome, order), order, reason)

    def on_cancel_refused(self, event: CancelRefused) -> None:
        """A definite no to the cancel: most often it was filled in the meantime."""
        self._on_cancel(event.client_order_id, event.outcome)

    def on_cancel_unknown(self, event: CancelUnknown) -> None:
        """The cancel ended without a verdict."""
        self._on_cancel(event.client_order_id, event.outcome)

    def _on_cancel(self, client_order_id: str, outcome: Outcome) -> None:
        order = self._tracker.get(client_order_id)
        if order is not None:
            self._carry_out(self._case(Request.CANCEL, outcome, order), order)

    def on_lookup_missed(self, event: LookupMissed) -> None:
        """The venue says that it has no such order."""
        order = self._tracker.get(event.client_order_id)
        if order is None:
            return
        doubt = self.state.doubts.get(event.client_order_id)
        if doubt is not None:
            doubt.misses += 1
        case = self._case(Request.LOOKUP, Outcome.NOT_FOUND, order)
        self._carry_out(case, order, "" if doubt is None or case.trigger is None else self._evidence(doubt, order))
        self._ask_again_for_legs(order)

    def on_lookup_failed(self, event: LookupFailed) -> None:
        """The look-up itself had no answer."""
        order = self._tracker.get(event.client_order_id)
        if order is not None:
            self._carry_out(self._case(Request.LOOKUP, event.outcome, order), order)
            self._ask_again_for_legs(order)

    def _ask_again_for_legs(self, order: InFlightOrder) -> None:
        """What became of an order that is over needs no answer, but for the legs that only it can name."""
        if order.terms is not None and order.is_closed and self._tracker.unnamed_legs(order):
            self._set_timer(order, Again.LOOKUP, self.state.asked.get(order.client_order_id, 0))

    def on_found_another(self, order: InFlightOrder) -> None:
        """A report under our id was not of the order that we meant; people know, and trading is halted."""
        self._carry_out(self._case(Request.LOOKUP, Outcome.DIFFERS, order), order)

    # -- what else tells -------------------------------------------------------------------------

    def has_any(self) -> bool:
        """Whether anything is remembered of any order; where nothing is, ``on_heard`` has only a timer to remove."""
        state = self.state
        return bool(state.doubts or state.asked or state.cancels or state.cancel_when_known)

    def on_heard(self, order: InFlightOrder) -> None:
        """The venue has spoken of the order, or it is over: there is no doubt of it any more."""
        state, client_order_id = self.state, order.client_order_id
        if state.asked:
            state.asked.pop(client_order_id, None)
        if state.doubts and order.status is not OrderStatus.UNKNOWN and client_order_id in state.doubts:
            del state.doubts[client_order_id]
            self._ask(Ask.OLD, order)  # what was streamed of the replaced order may be lost, like the answer
        if order.status in CLOSED:
            if state.doubts and order.replacement is not None and order.replacement in state.doubts:
                self._look_up(order.replacement)  # it can be settled now, by case L11
            if self._timers:
                self._timers.pop(LOOKUP_TIMER + client_order_id, None)
            if state.cancels:
                state.cancels.pop(client_order_id, None)
            if state.cancel_when_known:
                state.cancel_when_known.pop(client_order_id, None)
        elif state.cancel_when_known and order.broker_id and client_order_id in state.cancel_when_known:
            del state.cancel_when_known[client_order_id]
            self.cancel(order)

    def on_reported(self, order: InFlightOrder) -> None:
        """The venue has described an order, whether or not that changed anything.

        Where it stays open, its closing word may yet get lost on a socket that looks well: it is asked for now and then.
        """
        if order.is_open and order.broker_id:
            if self.state.asked:
                self.state.asked.pop(order.client_order_id, None)
            self._timers.setdefault(
                LOOKUP_TIMER + order.client_order_id, self._portfolio.now_ns + self._settings.open_order_interval
            )
        elif order.status is OrderStatus.UNKNOWN:
            self.on_found_another(order)

    def on_compared(self, event: BrokerReported) -> None:
        """The venue's orders are here, and in the tracker: what was asked for in time and is not among them is not there."""
        shown = {report.client_order_id: None for report in event.orders}
        for client_order_id, doubt in self.state.doubts.items():
            if doubt.asked_at and event.asked_at >= doubt.asked_at and client_order_id not in shown:
                doubt.compared_at = event.ts
                self._look_up(client_order_id)

    def on_stream_connected(self, ts: int) -> None:
        """The order stream is up: the clock of the grace period runs, and what is unknown is asked for at once."""
        if self.state.stream_up_since is None:
            self.state.stream_up_since = ts
        for client_order_id in self.state.doubts:
            self.state.asked.pop(client_order_id, None)
            self._look_up(client_order_id)

    def on_stream_lost(self, last_seen: int) -> None:
        """The order stream is down, or nobody knows of it since ``last_seen`` (UTC ns): the clock stands still.

        A comparison from before proves nothing any more: what arrived since would have been streamed to nobody.
        """
        state = self.state
        if state.stream_up_since is not None:
            state.stream_time += max(last_seen - state.stream_up_since, 0)
            state.stream_up_since = None
        for doubt in state.doubts.values():
            doubt.asked_at = doubt.compared_at = 0

    def on_restart(self) -> None:
        """A run begins: whatever was on its way when the last one ended is unknown, and nothing is sent again."""
        for order in self._tracker.open_orders():
            if order.status in IN_FLIGHT and order.parent is not None and order.replaces is None:
                continue  # what becomes of its intent becomes of it
            if order.status in IN_FLIGHT:
                case = self._case(_request_of(order), Outcome.RESTARTED, order)
                self._carry_out(case, order, "the run that sent it ended")
            elif order.cancel_requested:
                self._carry_out(self._case(Request.CANCEL, Outcome.RESTARTED, order), order)

    # -- asking ----------------------------------------------------------------------------------

    def cancel(self, order: InFlightOrder) -> None:
        """Ask for a cancel, or remember to, where the venue's id is not known yet and there is nothing to name."""
        order.cancel_requested = True
        if order.terms is not None:
            self._cancel_with(order)
        if not order.broker_id:
            self.state.cancel_when_known[order.client_order_id] = None
            return
        asking = self.state.cancels.get(order.client_order_id)
        if asking is None:
            asking = self.state.cancels[order.client_order_id] = Asking(since=self._portfolio.now_ns)
        self._out.emit(CancelOrder(client_order_id=order.client_order_id, broker_id=order.broker_id))
        self._set_timer(order, Again.CANCEL, asking.asked)
        asking.asked += 1

    def _cancel_with(self, order: InFlightOrder) -> None:
        """A cancel of one order of a group is one of all: the others are asked for by themselves only if they stay."""
        for member in self._tracker.members_of(order):
            if member is not order and member.is_open and not self.is_cancelling(member):
                member.cancel_requested = True
                if member.broker_id:
                    self.state.cancels[member.client_order_id] = Asking(since=self._portfolio.now_ns)
                    self._set_timer(member, Again.CANCEL, 0)

    def is_cancelling(self, order: InFlightOrder) -> bool:
        """Whether a cancel of the order was asked for, and is asked for again until it is over."""
        return order.client_order_id in self.state.cancels

    def look_up(self, order: InFlightOrder) -> None:
        """Ask the venue for an order. One of a group is asked for by the venue's id, and with what depends on it."""
        broker_id = ""
        if order.terms is not None and self._tracker.group_of(order):
            if not order.broker_id and order.parent is not None and order.replaces is None:
                order = self._tracker.get(order.parent) or order  # it names its legs
            broker_id = order.broker_id or ""
        self._out.emit(LookupOrder(client_order_id=order.client_order_id, broker_id=broker_id))

    def _look_up(self, client_order_id: str) -> None:
        order = self._tracker.get(client_order_id)
        if order is not None:
            self.look_up(order)

    def on_timer(self, client_order_id: str) -> None:
        """An order is to be asked for again."""
        order = self._tracker.get(client_order_id)
        if order is None or (order.is_closed and not self._tracker.unnamed_legs(order)):
            return
        if order.cancel_requested and order.broker_id and order.is_open:
            # The last request did not work, or its outcome was lost: it may come twice.
            self._carry_out(self._case(Request.CANCEL, Outcome.SILENT, order), order)
            self._tell_of_a_stuck_cancel(order)
        else:
            self.look_up(order)
        doubt = self.state.doubts.get(client_order_id)
        patience = SCHEDULES[Again.LOOKUP].patience(self._settings)
        if doubt is not None and not doubt.told and self._portfolio.now_ns - doubt.since >= patience:
            doubt.told = True
            self._out.alert(
                "trading",
                f"{order.symbol}: still unknown what became of an order",
                f"{client_order_id}: {order.evidence}",
            )

    def _tell_of_a_stuck_cancel(self, order: InFlightOrder) -> None:
        asking = self.state.cancels.get(order.client_order_id)
        patience = SCHEDULES[Again.CANCEL].patience(self._settings)
        if asking is None or asking.told or self._portfolio.now_ns - asking.since < patience:
            return
        asking.told = True
        details = f"{order.client_order_id} is {order.status}; the cancel was asked for {asking.asked} times"
        self._out.alert("trading", f"{order.symbol}: the venue does not confirm a cancel", details)

    # -- the table -------------------------------------------------------------------------------

    def _case(self, request: Request, outcome: Outcome, order: InFlightOrder) -> Case:
        doubt = self.state.doubts.get(order.client_order_id)
        if order.is_closed:
            standing = Standing.CLOSED
        elif order.status not in IN_FLIGHT or (doubt is not None and doubt.arrived):
            standing = Standing.AT_VENUE
        else:
            standing = Standing.UNHEARD
        facts = Facts(
            standing=standing,
            stream_up=self.state.stream_up_since is not None,
            waited=doubt is not None and self._stream_time() - doubt.stream_then >= self._settings.lookup_grace,
            compared=doubt is not None and doubt.compared_at > 0,
            ended=self._old_ended(order),
        )
        return decide(request, outcome, facts)

    def _carry_out(self, case: Case, order: InFlightOrder, reason: str = "") -> None:
        client_order_id, now = order.client_order_id, self._portfolio.now_ns
        asked_before = self.state.asked.get(client_order_id, 0)
        changed = case.trigger is not None and self._tracker.apply(client_order_id, case.trigger, now, reason)
        if case.trigger in _UNKNOWN_FROM_HERE and client_order_id not in self.state.doubts:
            self.state.doubts[client_order_id] = Doubt(since=now, stream_then=self._stream_time())
        if case.arrived:
            self.state.doubts[client_order_id].arrived = True
        if case.alert and (changed or (case.trigger is None and not asked_before)):
            channel, title = ("trading", case.alert) if changed else ("order-drift", f"{order.symbol}: {case.alert}")
            self._out.alert(channel, title, f"{client_order_id}: {reason}" if reason else client_order_id)
        if changed and order.is_closed:
            self._out.order_changed(order)
        for ask in case.asks:
            self._ask(ask, order)
        if case.again is Again.CANCEL:
            if Ask.CANCEL not in case.asks:  # which has set the timer
                asking = self.state.cancels.get(client_order_id)
                self._set_timer(order, Again.CANCEL, max((1 if asking is None else asking.asked) - 1, 0))
        elif case.again is not Again.NO and Ask.LOOKUP not in case.asks:
            self._set_timer(order, case.again, asked_before)
            self.state.asked[client_order_id] = asked_before + 1

    def _ask(self, ask: Ask, order: InFlightOrder) -> None:
        if ask is Ask.LOOKUP:
            self.look_up(order)
        elif ask is Ask.OLD:
            old = self._tracker.get(order.replaces or "")
            if old is not None and old.is_open:
                self.look_up(old)
        elif ask is Ask.CANCEL:
            self.cancel(order)
        elif ask is Ask.ACCOUNT:
            self._out.emit(QueryAccount())  # perhaps there is less to spend than we thought
        else:
            doubt = self.state.doubts[order.client_order_id]
            if not doubt.asked_at:
                doubt.asked_at = self._portfolio.now_ns
                self._out.compare(COMPARE_REASON)

    def _set_timer(self, order: InFlightOrder, again: Again, asked: int) -> None:
        delay = SCHEDULES[again].delay(self._settings, asked)
        self._timers[LOOKUP_TIMER + order.client_order_id] = self._portfolio.now_ns + delay

    def _stream_time(self) -> int:
        since = self.state.stream_up_since
        return self.state.stream_time + (0 if since is None else max(self._portfolio.now_ns - since, 0))

    def _old_ended(self, order: InFlightOrder) -> bool:
        """Whether the order that this one was to replace has ended otherwise, by the venue's own word."""
        old = None if order.replaces is None else self._tracker.get(order.replaces)
        return old is not None and old.status in _ENDED_OTHERWISE

    def _evidence(self, doubt: Doubt, order: InFlightOrder) -> str:
        old = self._tracker.get(order.replaces or "")
        if old is not None and old.status in _ENDED_OTHERWISE:
            return f"the venue has no order with this id, and order {old.client_order_id}, which it was to replace, is {old.status}"
        now = self._portfolio.now_ns
        waited, listened = (
            (now - doubt.since) / NS_PER_SECOND,
            (self._stream_time() - doubt.stream_then) / NS_PER_SECOND,
        )
        asked = (doubt.asked_at - doubt.since) / NS_PER_SECOND
        return (
            f"the venue has no order with this id {waited:.0f} s after the outcome became unknown: "
            f"{doubt.misses} look-ups did not find it, the order stream, up for {listened:.0f} s of that, did not tell of it, "
            f"and a comparison of orders asked for after {asked:.0f} s does not show it"
        )


def _request_of(order: InFlightOrder) -> Request:
    """What was asked of the venue to have this order."""
    return Request.SUBMIT if order.replaces is None else Request.REPLACE


_ENDED_OTHERWISE = VENUE_CLOSED - {OrderStatus.REPLACED}
_UNKNOWN_FROM_HERE = frozenset({OrderEvent.SUBMIT_UNKNOWN, OrderEvent.RESTARTED})
