"""The journal of a run, followed once more from its first record, and what several checkers want to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.journal import EpochRecord, Record
from holdfast.kernel import Kernel
from holdfast.model import Bar, OrderStatus
from holdfast.model.commands import Command
from holdfast.model.errors import HoldfastError
from holdfast.model.events import Event, StateHashed
from holdfast.runner.recovery import steps
from holdfast.state.order_machine import CLOSED, VENUE_CLOSED
from holdfast.state.order_tracker import InFlightOrder

_DENIALS = frozenset({OrderStatus.NEVER_SENT, OrderStatus.REJECTED})


def recorded(records: Iterable[Record]) -> Iterator[tuple[Event, tuple[Command, ...]]]:
    """The events, each with the commands that were given then."""
    for step in steps(records):
        if not isinstance(step.content, EpochRecord):
            yield step.content, step.commands


class Replayed:
    """A new kernel that was shown everything.

    Args:
        kernel: New.
        told: What the journal tells.

    Attributes:
        difference: The first decision that comes out otherwise; empty if none does.
        reopened: Orders that were open again after the venue's closing word, as sentences.
        denied: Orders that were once closed as refused or never sent, with status and evidence.
    """

    def __init__(self, kernel: Kernel, told: Iterable[tuple[Event, tuple[Command, ...]]]) -> None:
        self.kernel = kernel
        self.difference = ""
        self.reopened: list[str] = []
        self.denied: dict[str, tuple[OrderStatus, str]] = {}
        self._open: dict[str, InFlightOrder] = {}
        self._closed: dict[str, OrderStatus] = {}
        for event, commands in told:
            try:
                self._compare_hash(event)
                differences = kernel.follow(event, commands)
            except HoldfastError as error:
                self.difference = self.difference or f"{_place(event)} cannot be followed: {error}"
                return
            if differences and not self.difference:
                self.difference = f"{_place(event)}: {differences[0]}"
            if type(event) is not Bar or commands:
                self._look()

    def _compare_hash(self, event: Event) -> None:
        """The state's hash, where the bot has recorded it, was that of this moment."""
        if type(event) is StateHashed and not self.difference and event.digest != self.kernel.state_hash():
            self.difference = f"{_place(event)}: the state after a replay has another hash than was recorded"

    def _look(self) -> None:
        now_open = {order.client_order_id: order for order in self.kernel.portfolio.tracker.open_orders()}
        for order_id, order in now_open.items():
            before = self._closed.get(order_id)
            if before is not None:
                self.reopened.append(f"order {order_id} was {before}, and is {order.status} again")
        for order_id, order in self._open.items():
            if order_id in now_open or order.status not in CLOSED:
                continue
            if order.status in VENUE_CLOSED and order.status is not OrderStatus.REJECTED:
                self._closed.setdefault(order_id, order.status)
            if order.status in _DENIALS:
                self.denied[order_id] = (order.status, order.evidence)
        self._open = now_open


def _place(event: Event) -> str:
    return f"the event {type(event).__name__} of {event.ts}"
