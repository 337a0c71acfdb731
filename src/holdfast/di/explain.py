"""The life of one order, read from its journal: what led to it, what each guard said, and how long each step took.

The records are followed by a kernel that decides nothing, so that the order's state after each of them is the one that
the bot had, by the same rules; whatever changed, and whatever named the order, is a step. Market data that led to
nothing is passed over: it changes no order.

Exits that an intent brings are orders at the venue, and part of its life: it is told with theirs, whichever of them was
asked about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from holdfast.di.epochs import bare_kernel, recipe_of
from holdfast.journal import EpochRecord, Record
from holdfast.kernel import Kernel
from holdfast.kernel.guards import guards_asked
from holdfast.kernel.signal_path import EXIT_WAITS
from holdfast.model import Bar, Execution, OrderIntent, OrderReport, OrderTerms, Quote, Verdict
from holdfast.model.commands import (
    PLACING,
    CancelOrder,
    Command,
    LookupOrder,
    RecordVerdict,
    ReplaceOrder,
    SendAlert,
)
from holdfast.model.decimals import plain
from holdfast.model.errors import ConfigurationError
from holdfast.model.events import (
    BarRevised,
    BrokerReported,
    CancelRefused,
    CancelUnknown,
    EpochStarted,
    Event,
    LookupFailed,
    LookupMissed,
    OrderFilled,
    OrderRefused,
    OrderReleased,
    OrderUpdated,
    ShutdownStarted,
    SignalReceived,
    SubmitDropped,
    SubmitUnknown,
    TimerFired,
)
from holdfast.model.timestamps import NS_PER_MS
from holdfast.runner.recovery import Step, steps
from holdfast.state.order_tracker import InFlightOrder

Records = Callable[[], Iterable[Record]]


class GuardWord(msgspec.Struct, frozen=True):
    """What one guard said: ``passed``, or ``would block`` where it only observes, with its reason."""

    name: str
    mode: str
    word: str
    reason: str = ""


class LifeStep(msgspec.Struct):
    """One step. ``at`` is UTC ns by the bot's clock (of a bar: its end), ``seq`` the record that tells of it."""

    at: int
    seq: int
    what: str
    detail: str = ""


class LegLife(msgspec.Struct, frozen=True):
    """How one of the exits of an intent ended, or stands: one that it brought, or that took such an exit's place."""

    client_order_id: str
    role: str
    broker_id: str | None
    price: str
    quantity: Decimal
    filled: Decimal
    status: str
    evidence: str


class Life(msgspec.Struct, kw_only=True):
    """All of an order's life.

    Attributes:
        intent: What was asked for.
        broker_id: The venue's id, if it was ever known.
        status: Its last status.
        evidence: Why it is what it is.
        guards: What each guard said, in the order in which they were asked; empty where ``unknown_guards`` says why.
        legs: Its exits, where the order brought any.
        steps: From the event that led to it to its end, and to that of its exits.
        took: Milliseconds of clock time by what they were spent on.
    """

    intent: OrderIntent
    broker_id: str | None = None
    status: str = ""
    evidence: str = ""
    guards: tuple[GuardWord, ...] = ()
    unknown_guards: str = ""
    legs: tuple[LegLife, ...] = ()
    steps: list[LifeStep] = []
    took: dict[str, float] = {}


def explain(records: Records, order: str) -> Life:
    """Tell an order's life.

    Args:
        records: Gives all records, each time that it is called.
        order: Its client order id, its number (the id's last part), or the venue's id; or one of these of its exits.

    Raises:
        ConfigurationError: There is no such order in the journal.
        JournalError: A record is damaged or missing; names the place.
    """
    return _Telling(_find(records(), order)).tell(records())


def _find(records: Iterable[Record], order: str) -> str:
    """The client order id of an order, however it was named."""
    intents: dict[str, None] = {}
    by_broker_id: dict[str, str] = {}
    of_legs: dict[str, str] = {}  # by the venue's id of the leg; its client order id there is the venue's own
    for record in records:
        content = record.content
        if isinstance(content, tuple):
            intents.update((c.intent.client_order_id, None) for c in content if isinstance(c, PLACING))
        elif isinstance(content, OrderUpdated | OrderFilled | BrokerReported):
            for report in _reports(content):
                by_broker_id[report.broker_id] = report.client_order_id
                of_legs.update((leg.broker_id, report.client_order_id) for leg in report.legs or ())
    order = _LEG_NAME.sub("", order)
    for name in (by_broker_id.get(order, ""), of_legs.get(order, ""), order):
        if name in intents:
            return name
    numbered = [client_order_id for client_order_id in intents if client_order_id.rpartition("-")[2] == order]
    if len(numbered) == 1:
        return numbered[0]
    if numbered:
        message = f"several orders have the number {order}: {', '.join(numbered)}"
    else:
        newest = next(reversed(intents), "")
        count = f"it has {len(intents)}, the last one is {newest}" if intents else "it has none"
        message = (
            f"the journal has no order {order!r}: expected a client order id, its number, or the venue's id; {count}"
        )
    raise ConfigurationError(message)


# What the name of an exit has more than that of its intent (see ``holdfast.state.groups``).
_LEG_NAME = re.compile(r"\.(tp|sl)(\.\d+)?$")
_Seen = tuple[Any, ...]


class _Telling:
    """One passage over the records."""

    def __init__(self, client_order_id: str) -> None:
        self._id = client_order_id
        self._kernel: Kernel = bare_kernel()
        self._epoch: EpochRecord | None = None
        self._deferred: dict[str, LifeStep] = {}
        self._decided: LifeStep | None = None
        self._granted_at = 0
        self._life: Life | None = None

    def tell(self, records: Iterable[Record]) -> Life:
        """All of it."""
        for step in steps(records):
            event = step.content
            if isinstance(event, EpochRecord):
                self._epoch = event
            elif step.commands or not isinstance(event, Bar | BarRevised | Quote):
                before, legs_before = self._seen(), self._legs_seen()
                self._kernel.follow(event, step.commands)
                self._take(step, event, before)
                self._take_legs(step, event, legs_before)
        life, order = self._life, self._kernel.portfolio.tracker.get(self._id)
        if life is None or order is None:
            message = f"the intent of order {self._id} is in the journal and led to no order"
            raise ConfigurationError(message)
        life.broker_id, life.status, life.evidence = order.broker_id, order.status.value, order.evidence
        life.legs = tuple(_leg_life(leg) for leg in self._legs())
        life.took = _took(life)
        return life

    # -- what a record adds ---------------------------------------------------------------------

    def _seen(self) -> _Seen:
        order = self._kernel.portfolio.tracker.get(self._id)
        return () if order is None else _seen(order)

    def _legs(self) -> list[InFlightOrder]:
        """The exits that are part of its life: of an exit itself there are none."""
        tracker = self._kernel.portfolio.tracker
        order = tracker.get(self._id)
        return [] if order is None else [leg for leg in tracker.exits_of(order) if leg.parent == self._id]

    def _legs_seen(self) -> dict[str, _Seen]:
        return {leg.client_order_id: _seen(leg) for leg in self._legs()}

    def _take_legs(self, step: Step, event: Event, before: dict[str, _Seen]) -> None:
        """The same for its exits; each step says of which."""
        if self._life is None:
            return
        for leg in self._legs():
            name, known = leg.client_order_id, before.get(leg.client_order_id)
            told = [] if known is None else list(_leg_words(leg, known, event))
            told += (words for command in step.commands if (words := _command_words(command, name)) is not None)
            told += (
                [("replaces", f"order {leg.replaces}, {_price_words(leg)}")] if known is None and leg.replaces else []
            )
            for what, detail in told:
                self._life.steps.append(self._step(step, f"{leg.reason} {what}", detail))

    def _take(self, step: Step, event: Event, before: _Seen) -> None:
        if self._life is None:
            self._begin(step, event)
            return
        order = self._kernel.portfolio.tracker.get(self._id)
        if order is None:
            return
        told = list(self._of_event(step, event, order, before))
        if not told and before != self._seen():
            told = [self._step(step, "status", f"{order.status.value} ({order.evidence})")]
        self._life.steps += [*told, *self._of_commands(step)]
        if before and before[0] is not order.status and order.is_closed:
            by = f" by order {order.replaced_by}" if order.replaced_by else ""
            self._life.steps.append(self._step(step, "closed", f"{order.status.value}{by}: {order.evidence}"))

    def _begin(self, step: Step, event: Event) -> None:
        """Look for the decision that made the order."""
        for command in step.commands:
            if not isinstance(command, RecordVerdict):
                continue
            verdict = command.verdict
            symbol = verdict.signal.symbol
            if verdict.guard == EXIT_WAITS:
                self._deferred[symbol] = self._step(step, "exit deferred", verdict.reason)
            elif verdict.client_order_id == self._id:
                self._tell_decision(step, event, verdict)
            elif verdict.approved and verdict.signal.reduce_only:
                self._deferred.pop(symbol, None)

    def _tell_decision(self, step: Step, event: Event, verdict: Verdict) -> None:
        intent = next(
            c.intent for c in step.commands if isinstance(c, PLACING) and c.intent.client_order_id == self._id
        )
        life = self._life = Life(intent=intent)
        waited = self._deferred.get(intent.symbol)
        if waited is not None and intent.reduce_only:
            life.steps.append(waited)
        life.steps.append(self._step(step, "cause", _cause(event)))
        detail = f"{intent.side.value} {plain(intent.quantity)} {intent.symbol} {_price_words(intent)}"
        detail = f"{detail}, {intent.time_in_force.value}{_exit_words(intent.terms)}"
        if intent.replaces:
            detail = f"{detail}; in the place of order {intent.replaces}"
        asker = " ".join(word for word in (intent.strategy_id, f"({intent.reason})" if intent.reason else "") if word)
        self._decided = self._step(step, "decided", f"{detail}; asked by {asker}" if asker else detail)
        life.steps.append(self._decided)
        life.steps += self._of_commands(step)
        self._tell_guards(life, verdict)

    def _tell_guards(self, life: Life, verdict: Verdict) -> None:
        try:
            kernel = recipe_of(self._epoch.settings if self._epoch is not None else "", handed_over=True).kernel(())
        except ConfigurationError as error:
            life.unknown_guards = str(error)
            return
        observed = dict(found.split(": ", 1) for found in verdict.observed)
        intent = life.intent
        asked = guards_asked(
            kernel.protections, kernel.gate, reduce_only=intent.reduce_only, replaces=bool(intent.replaces)
        )
        life.guards = tuple(
            GuardWord(guard.name, guard.mode.value, "would block", observed[guard.name])
            if guard.name in observed
            else GuardWord(guard.name, guard.mode.value, "passed")
            for guard in asked
        )

    def _of_event(self, step: Step, event: Event, order: InFlightOrder, before: _Seen) -> Iterator[LifeStep]:
        if isinstance(event, OrderReleased) and event.client_order_id == self._id:
            yield from self._release(step, event)
        elif isinstance(event, EpochStarted | ShutdownStarted):
            if before and (order.is_open or before[0] is not order.status):
                yield self._step(step, *_run_words(event, order))
        elif isinstance(event, tuple(_WORDS)) and event.client_order_id == self._id:  # type: ignore[union-attr]  # all have one
            what, reason = _WORDS[type(event)], getattr(event, "reason", "")
            yield self._step(step, what, reason)
        elif isinstance(event, OrderUpdated | OrderFilled | BrokerReported):
            yield from self._venue_words(step, event, order, before)

    def _release(self, step: Step, event: OrderReleased) -> Iterator[LifeStep]:
        """The moments that were measured: the decision's own is moved to its place."""
        life, decided = self._life, self._decided
        if life is None or decided is None:
            return
        self._granted_at = event.granted_at
        decided.at = event.decided_at
        taken = LifeStep(event.taken_at, decided.seq, "taken", "from the inbox")
        life.steps.insert(next(i for i, known in enumerate(life.steps) if known is decided), taken)
        yield LifeStep(event.synced_at, step.seq, "durable", "the journal was synced")
        yield LifeStep(event.granted_at, step.seq, "released", "the rate limit granted the slot; the request leaves")

    def _venue_words(
        self,
        step: Step,
        event: OrderUpdated | OrderFilled | BrokerReported,
        order: InFlightOrder,
        before: _Seen,
    ) -> Iterator[LifeStep]:
        known = before[2] if before else 0
        source = "reconciliation" if isinstance(event, BrokerReported) else event.source.value
        for execution in order.executions[known:]:
            yield self._step(step, "filled", _fill(execution, source))
        named = any(report.client_order_id == self._id for report in _reports(event))
        changed = bool(before) and before[0] is not order.status
        if named and (changed or source == "response"):
            what = "answered" if source == "response" else "told"
            yield self._step(step, what, f"{order.status.value}, {plain(order.filled_quantity)} filled ({source})")

    def _of_commands(self, step: Step) -> Iterator[LifeStep]:
        for command in step.commands:
            words = _command_words(command, self._id)
            if words is not None:
                yield self._step(step, *words)

    def _step(self, step: Step, what: str, detail: str = "") -> LifeStep:
        return LifeStep(
            step.content.started_at if isinstance(step.content, EpochRecord) else step.content.ts,
            step.seq,
            what,
            detail,
        )


# The events that name an order and say one thing of it.
_WORDS: dict[type, str] = {
    OrderRefused: "refused by the venue",
    SubmitUnknown: "outcome unknown",
    SubmitDropped: "dropped before it left",
    LookupMissed: "not found by a look-up",
    LookupFailed: "look-up without an answer",
    CancelRefused: "cancel refused",
    CancelUnknown: "cancel without an answer",
}


def _command_words(command: Command, client_order_id: str) -> tuple[str, str] | None:
    if isinstance(command, CancelOrder) and command.client_order_id == client_order_id:
        return "cancel asked for", ""
    if isinstance(command, ReplaceOrder) and command.intent.replaces == client_order_id:
        intent = command.intent
        return (
            "replace asked for",
            f"{plain(intent.quantity)} {_price_words(intent)}, as order {intent.client_order_id}",
        )
    if isinstance(command, LookupOrder) and command.client_order_id == client_order_id:
        return "look-up asked for", ""
    if isinstance(command, SendAlert) and client_order_id in command.details.replace(":", " ").split():
        return "alert", command.title
    return None


def _seen(order: InFlightOrder) -> _Seen:
    return order.status, order.filled_quantity, len(order.executions)


def _leg_words(leg: InFlightOrder, before: _Seen, event: Event) -> Iterator[tuple[str, str]]:
    """What an event changed of an exit, as (what, detail)."""
    if isinstance(event, tuple(_WORDS)) and event.client_order_id == leg.client_order_id:  # type: ignore[union-attr]  # all have one
        yield _WORDS[type(event)], getattr(event, "reason", "")
    source = (
        "reconciliation" if isinstance(event, BrokerReported) else getattr(getattr(event, "source", None), "value", "")
    )
    for execution in leg.executions[before[2] :]:
        yield "filled", _fill(execution, source)
    if before[0] is not leg.status:
        by = f" by order {leg.replaced_by}" if leg.replaced_by else ""
        why = f": {leg.evidence}" if leg.evidence else ""
        yield "closed" if leg.is_closed else "told", f"{leg.status.value}{by}{why}"


def _leg_life(leg: InFlightOrder) -> LegLife:
    return LegLife(
        leg.client_order_id,
        leg.reason,
        leg.broker_id,
        _price_words(leg),
        leg.quantity,
        leg.filled_quantity,
        leg.status.value,
        leg.evidence,
    )


def _price_words(order: OrderIntent | InFlightOrder) -> str:
    """At which price it is to trade, and from which on."""
    terms, words = order.terms, []
    if terms is not None and terms.stop_price is not None:
        words.append(f"stop {plain(terms.stop_price)}")
    if terms is not None and terms.trail_price is not None:
        words.append(f"trailing by {plain(terms.trail_price)}")
    if terms is not None and terms.trail_percent is not None:
        words.append(f"trailing by {plain(terms.trail_percent)} %")
    if order.limit_price is not None:
        words.append(f"limit {plain(order.limit_price)}")
    return " ".join(words) or "at the market"


def _exit_words(terms: OrderTerms | None) -> str:
    """The exits that come with it; empty for an order that brings none."""
    if terms is None or not terms.is_group:
        return ""
    words = [] if terms.take_profit is None else [f"take-profit {plain(terms.take_profit)}"]
    if terms.stop_loss is not None:
        limit = "" if terms.stop_loss_limit is None else f" limit {plain(terms.stop_loss_limit)}"
        words.append(f"stop-loss {plain(terms.stop_loss)}{limit}")
    return f"; {terms.order_class.value} with {' and '.join(words)}" if words else f"; of an {terms.order_class.value}"


def _run_words(event: EpochStarted | ShutdownStarted, order: InFlightOrder) -> tuple[str, str]:
    if isinstance(event, EpochStarted):
        return "restart", f"run {event.epoch} begins; the order is {order.status.value}"
    return "stop", "open orders are cancelled" if event.cancel_orders else "open orders are left"


def _cause(event: Event) -> str:
    if isinstance(event, Bar):
        return f"bar of {event.symbol}: close {event.close:g}, volume {event.volume:g}"
    if isinstance(event, BarRevised):
        return f"late trade in {event.bar.symbol}: the bar's close is {event.bar.close:g}, volume {event.bar.volume:g}"
    if isinstance(event, Quote):
        return f"quote of {event.symbol}: {event.bid:g} / {event.ask:g}"
    if isinstance(event, SignalReceived):
        return f"signal from outside (request {event.request})"
    if isinstance(event, TimerFired):
        return f"timer {event.name}"
    return f"the venue's word on what rested ({type(event).__name__})"


def _fill(execution: Execution, source: str) -> str:
    return f"{plain(execution.quantity)} at {plain(execution.price)} ({source}, execution {execution.execution_id})"


def _reports(event: OrderUpdated | OrderFilled | BrokerReported) -> tuple[OrderReport, ...]:
    if isinstance(event, BrokerReported):
        return event.orders
    return () if event.report is None else (event.report,)


def _took(life: Life) -> dict[str, float]:
    """Milliseconds by what they were spent on; what was not recorded is left out."""
    at: dict[str, int] = {}
    for step in life.steps:
        at.setdefault(step.what, step.at)
    pairs = {
        "decision": ("taken", "decided"),
        "journal sync": ("decided", "durable"),
        "rate limit": ("durable", "released"),
        "request": ("released", "answered"),
        "until the first fill": ("released", "filled"),
        "from decision to close": ("decided", "closed"),
    }
    return {
        name: (at[last] - at[first]) / NS_PER_MS
        for name, (first, last) in pairs.items()
        if at.get(first) and at.get(last)
    }
