"""What is done so that no order of a group is forgotten: legs whose ids are not known, and legs that outlive their group.

    what is found                                             what follows
    an intent is at the venue, and its legs have no ids here   it is asked for with all its legs, until it names them
    an unknown order that may be such a leg                    no orphan: its intent is asked for
    the venue describes an intent that is over, without a leg  there is no such leg: closed, with that as the evidence;
                                                               people are told where a position stands without it
    a leg is open, and its group has ended                     asked for: its cancel may never be streamed
    it is still open then, with nothing left to leave          cancelled: it would open a position of its own
    a group was to be cancelled, and its entry is over         the cancel is asked for of a leg

That a sibling has filled, or the entry was cancelled, is never taken for a word on a leg: the venue closes it, here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.kernel.portfolio import Portfolio
from holdfast.kernel.settings import KernelSettings
from holdfast.kernel.unknowns import LOOKUP_TIMER, Unknowns
from holdfast.model import OrderReport, Source
from holdfast.state.in_flight import InFlightOrder
from holdfast.state.order_machine import IN_FLIGHT

Alert = Callable[[str, str, str], None]
_ASKED_FOR = frozenset({Source.LOOKUP, Source.RECONCILE})


class GroupCare:
    """Looks after the orders that depend on each other.

    Args:
        portfolio: Orders and time.
        settings: Durations.
        timers: The kernel's own, by name (UTC ns).
        unknowns: What asks and cancels.
        alert: Tells people.
    """

    def __init__(
        self,
        portfolio: Portfolio,
        settings: KernelSettings,
        timers: dict[str, int],
        unknowns: Unknowns,
        alert: Alert,
    ) -> None:
        self._portfolio = portfolio
        self._tracker = portfolio.tracker
        self._settings = settings
        self._timers = timers
        self._unknowns = unknowns
        self._alert = alert

    def tend(self, order: InFlightOrder) -> None:
        """Something of the order has changed: have asked for what should be known of its group and is not."""
        tracker = self._tracker
        unnamed = tracker.unnamed_legs(order)
        first = tracker.get(tracker.group_of(order))
        if unnamed and first is not None and first.status not in IN_FLIGHT:
            self._ask_soon(first)
        entry_is_over = first is None or first.is_closed
        for leg in tracker.exits_of(order):
            if leg.broker_id is None or leg.is_closed:
                continue
            if tracker.is_dying(leg):
                self._ask_soon(leg)
            elif leg.cancel_requested and entry_is_over and not self._unknowns.is_cancelling(leg):
                self._unknowns.cancel(leg)

    def may_be_leg(self, report: OrderReport) -> bool:
        """Whether an unknown order may be a leg of ours that has no name yet; its intent is asked for then."""
        first = self._tracker.awaited_leg(report)
        if first is None:
            return False
        self._ask_soon(first)
        return True

    def on_reported(self, order: InFlightOrder, report: OrderReport, source: Source) -> Sequence[InFlightOrder]:
        """The venue has described an order of a group. Returns the legs that are closed by that."""
        gone: Sequence[InFlightOrder] = ()
        if report.legs is not None and source in _ASKED_FOR:
            gone = self._tracker.close_unnamed(order, self._portfolio.now_ns)
            if gone and order.filled_quantity:
                names = ", ".join(leg.client_order_id for leg in gone)
                self._alert("trading", f"{order.symbol}: the venue has no exits for what was entered", names)
        if source in _ASKED_FOR and not order.cancel_requested and self._tracker.outlives_group(order):
            self._unknowns.cancel(order)
        return gone

    def _ask_soon(self, order: InFlightOrder) -> None:
        name, due = LOOKUP_TIMER + order.client_order_id, self._portfolio.now_ns + self._settings.lookup_interval
        self._timers[name] = min(due, self._timers.get(name, due))
