"""Broken variants of the bot's parts, each with a mistake that real systems have made. ``canaries`` makes use of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from holdfast.brokers import AlpacaConnector
from holdfast.di.assembly import make_kernel
from holdfast.di.config import Config
from holdfast.kernel import Kernel
from holdfast.kernel.book import SymbolBook
from holdfast.kernel.reconciliation import Drift, Reconciliation
from holdfast.kernel.signal_path import Decision, SignalPath
from holdfast.kernel.state import KernelState
from holdfast.kernel.unknowns import USER_STREAM, Unknowns
from holdfast.model import Bar, Execution, OrderIntent, OrderReport, OrderStatus, Source, TradingState
from holdfast.model.commands import ORDER_COMMANDS, SubmitOrder
from holdfast.model.errors import BrokerRefusedError, OutcomeUnknownError
from holdfast.model.events import EpochStarted, Event, LookupFailed, LookupMissed, StreamConnected
from holdfast.net import Throttler, create_combined_throttler
from holdfast.realtime import UserStreamTracker
from holdfast.realtime.stream import Conversation
from holdfast.runner import Recovery, Runner
from holdfast.runner.outbox import Outbox
from holdfast.state.in_flight import InFlightOrder
from holdfast.state.order_machine import VENUE_CLOSED, VENUE_OPEN, OrderEvent
from holdfast.state.order_tracker import OrderTracker

_ZERO = Decimal(0)

_ZERO = Decimal(0)


# -- the journal --------------------------------------------------------------------------------


class JournalsAfterSending(Runner):
    """Releases an order first and writes it down after."""

    async def _take(self, event: Event) -> None:
        self.journal.append_event(event)
        commands = self.kernel.handle(event)
        for observe in self.observers:
            observe(event)
        if commands:
            self.journal.append_commands(commands)
            self._release(commands)
            if any(isinstance(command, ORDER_COMMANDS) for command in commands):
                await self._sync()


class DoesNotWaitForTheDisk(Runner):
    """Asks for a sync and goes on: the tail of the journal may be lost with orders out."""

    async def _sync(self) -> None:
        self._buffered = 0
        self._syncing = asyncio.ensure_future(self.journal.sync())


# -- requests -----------------------------------------------------------------------------------


class RetriesWithANewId(AlpacaConnector):
    """Sends an order again under another id when the first got no answer."""

    async def place(self, intent: OrderIntent, *, admit: Callable[[], str | None] | None = None) -> OrderReport:
        """Send it, and make the mistake."""
        try:
            return await super().place(intent, admit=admit)
        except OutcomeUnknownError:
            again = msgspec.structs.replace(intent, client_order_id=f"{intent.client_order_id}-again")
            report = await super().place(again)
            return msgspec.structs.replace(report, client_order_id=intent.client_order_id)


class RetriesASubmit(AlpacaConnector):
    """Sends an order again, as it does with a read, when the first got no answer."""

    async def place(self, intent: OrderIntent, *, admit: Callable[[], str | None] | None = None) -> OrderReport:
        """Send it, and make the mistake."""
        try:
            return await super().place(intent, admit=admit)
        except OutcomeUnknownError:
            return await super().place(intent, admit=admit)


class TakesSilenceForANo(AlpacaConnector):
    """A submit without an answer is a refused one."""

    async def place(self, intent: OrderIntent, *, admit: Callable[[], str | None] | None = None) -> OrderReport:
        """Send it, and make the mistake."""
        try:
            return await super().place(intent, admit=admit)
        except OutcomeUnknownError as error:
            raise BrokerRefusedError(error.message) from error


class EagerOutbox(Outbox):
    """Sends whatever it was given, however late the throttler lets it."""

    async def _submit(self, command: SubmitOrder) -> None:
        await super()._submit(msgspec.structs.replace(command, deadline=command.deadline * 2))


class SendsStaleOrders(Runner):
    """Has no deadline."""

    outbox_kind = EagerOutbox


def throttler_off_by_one(limits: Mapping[str, Any] | None = None, clock: Any = None) -> Throttler:
    """Lets one request more through than the limit says, and is deaf to the venue's own count, which would hide that."""
    trading = dict((limits or {}).get("alpaca_trading", {}))
    trading["limit"] = trading.get("limit", 200) + 1
    throttler = create_combined_throttler({**(limits or {}), "alpaca_trading": trading}, clock)
    throttler.note_limit = lambda *_, **__: None  # type: ignore[method-assign]  # the mistake itself
    return throttler


# -- what the venue says ------------------------------------------------------------------------


class CountsEveryMessage(OrderTracker):
    """Counts an execution whenever it is told of one."""

    __slots__ = ()

    def apply_execution(self, execution: Execution) -> InFlightOrder | None:
        """Count it, or not, wrongly."""
        again = len(self._seen)
        renamed = f"{execution.execution_id}/{again}"
        return super().apply_execution(msgspec.structs.replace(execution, execution_id=renamed, cum_qty=None))


class DropsLateFills(OrderTracker):
    """An order that the venue has closed takes no further execution."""

    __slots__ = ()

    def apply_execution(self, execution: Execution) -> InFlightOrder | None:
        """Count it, or not, wrongly."""
        order = self.get(execution.client_order_id or "") or self.by_broker_id(execution.broker_id)
        if order is not None and order.status in VENUE_CLOSED:
            self._seen[execution.execution_id] = None
            return None
        return super().apply_execution(execution)


class LastWordWins(OrderTracker):
    """Takes whatever word on an order comes last, also one that is older than the closing word."""

    __slots__ = ()

    def apply_report(self, report: OrderReport, source: Source, at: int = 0) -> bool:
        """Take it for the truth."""
        order = self.get(report.client_order_id)
        if order is not None and order.status in VENUE_CLOSED and report.status in VENUE_OPEN:
            self._move(order, report.status, at)
            return True
        return super().apply_report(report, source, at)


class ReadsTheSumAsAFill(UserStreamTracker):
    """Takes an order's cumulative quantity for the size of its last execution."""

    def _take_update(self, message: dict[str, Any]) -> None:
        update = message.get("data")
        if isinstance(update, dict) and "qty" in update and isinstance(update.get("order"), dict):
            message = {**message, "data": {**update, "qty": update["order"].get("filled_qty")}}
        super()._take_update(message)


class ConnectedWhenOpen(UserStreamTracker):
    """Calls a socket that is open connected, and forgets to ask for the updates."""

    async def _open(self, conversation: Conversation) -> list[Any]:
        await conversation.send({"action": "auth", "key": self._key, "secret": self._secret})
        return []


# -- what nobody knows --------------------------------------------------------------------------


class _NotFoundIsNeverSent(Unknowns):
    def on_lookup_missed(self, event: LookupMissed) -> None:
        self._close(event.client_order_id, event.ts, "the venue does not have it")

    def _close(self, client_order_id: str, now: int, evidence: str) -> None:
        order = self._tracker.get(client_order_id)
        if order is not None and order.status is OrderStatus.UNKNOWN:
            self._tracker.apply(client_order_id, OrderEvent.NEVER_SENT, now, evidence)
            self._out.order_changed(order)


class TakesNotFoundForNeverSent(Kernel):
    """A look-up that finds nothing settles the matter at once: no grace for what is still on its way."""

    unknowns_kind = _NotFoundIsNeverSent


class _FailedIsNeverSent(_NotFoundIsNeverSent):
    def on_lookup_failed(self, event: LookupFailed) -> None:
        self._close(event.client_order_id, event.ts, "nobody answers")


class TakesAFailedLookUpForNeverSent(Kernel):
    """A look-up that fails says as much as one that finds nothing."""

    unknowns_kind = _FailedIsNeverSent


class _CancelIsCancelled(Unknowns):
    def cancel(self, order: InFlightOrder) -> None:
        super().cancel(order)
        if order.broker_id:
            word = OrderReport(
                broker_id=order.broker_id,
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                status=OrderStatus.CANCELED,
                quantity=order.quantity,
                filled_qty=order.filled_quantity,
            )
            self._tracker.apply_report(word, Source.RESPONSE, self._portfolio.now_ns)
            self._out.order_changed(order)


class TakesACancelForCancelled(Kernel):
    """Asking for a cancel closes the order: the venue's word is not waited for."""

    unknowns_kind = _CancelIsCancelled


class TakesAReplaceForReplaced(Kernel):
    """Asking for a replace closes the old order: the venue's word is not waited for."""

    def _enact(self, book: SymbolBook, decision: Decision, request: int | None) -> None:
        super()._enact(book, decision, request)
        old = None if decision.intent is None else self._tracker.get(decision.intent.replaces)
        if old is not None and old.broker_id is not None:
            word = OrderReport(
                broker_id=old.broker_id,
                client_order_id=old.client_order_id,
                symbol=old.symbol,
                side=old.side,
                status=OrderStatus.REPLACED,
                quantity=old.quantity,
                filled_qty=old.filled_quantity,
            )
            self._tracker.apply_report(word, Source.RESPONSE, self.portfolio.now_ns)
            self._order_changed(old)


class CountsOldAndNewAsTwo(OrderTracker):
    """Forgets which order took whose place: the old one and the new one count as two."""

    __slots__ = ()

    def track_submitted(self, intent: OrderIntent) -> InFlightOrder:
        """Hold it, as an order of its own."""
        return super().track_submitted(msgspec.structs.replace(intent, replaces=""))


class RetriesAReplace(AlpacaConnector):
    """Asks for a replace again when the first got no answer."""

    async def replace(
        self, intent: OrderIntent, broker_id: str, *, admit: Callable[[], str | None] | None = None
    ) -> OrderReport:
        """Ask, and make the mistake."""
        try:
            return await super().replace(intent, broker_id, admit=admit)
        except OutcomeUnknownError:
            return await super().replace(intent, broker_id, admit=admit)


class DoesNotAskAfterAGap(Kernel):
    """A stream that is back is as good as one that was never lost."""

    def _on_stream_connected(self, event: StreamConnected) -> None:
        self._advance(event.ts)
        if event.stream == USER_STREAM:
            self.unknowns.on_stream_connected(event.ts)


class _Adopting(Reconciliation):
    def _differences(self) -> list[Drift]:
        found = super()._differences()
        for drift in found:
            self._portfolio.positions.adjust(drift.symbol, drift.gap, "as the venue says", self.last_at)
        return []


class AdoptsWhatDiffers(Kernel):
    """Where the venue's position is another one, ours becomes the venue's."""

    reconciliation_kind = _Adopting


# -- guards -------------------------------------------------------------------------------------


class _Flipping(SignalPath):
    def _reducible(self, book: SymbolBook, held: Decimal) -> Decimal:
        return abs(held)

    def _what_rests(self, book: SymbolBook, held: Decimal) -> tuple[str, str] | None:
        return None


class FlipsPositions(Kernel):
    """An exit takes the whole position, whatever is already on its way to the venue."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._path = _Flipping(self.portfolio, self.protections, self.gate)


def guard_fails_open(config: Config, *args: Any, **kwargs: Any) -> Kernel:
    """Trades without a price: the check of the data's age is off."""
    off = config.model_copy(update={"risk": config.risk.model_copy(update={"max_data_age": None})})
    return make_kernel(off, *args, **kwargs)


class ShowsBarsAgain(Kernel):
    """What a backfill brings is shown to the strategies, seen before or not."""

    def _on_bar(self, bar: Bar) -> None:
        book = self.portfolio.book(bar.symbol)
        if bar.ts <= book.last_bar_at:
            book.last_bar_at = bar.ts - 1
        super()._on_bar(bar)


# -- restarts -----------------------------------------------------------------------------------


class SendsAgainAfterARestart(Kernel):
    """What was on its way when the last run ended is sent once more."""

    def _on_epoch_started(self, event: EpochStarted) -> None:
        pending = [order for order in self._tracker.open_orders() if order.status is OrderStatus.SUBMITTED]
        super()._on_epoch_started(event)
        for order in pending:
            intent = OrderIntent(
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                order_type=order.order_type,
                time_in_force=order.time_in_force,
                created_at=event.ts,
                limit_price=order.limit_price,
                reduce_only=order.reduce_only,
            )
            self.commands.append(SubmitOrder(intent=intent, deadline=event.ts + self.settings.submit_deadline))


class CountsIntentsAnew(Kernel):
    """Every run numbers its intents from one, and the ids have no part of the run's own."""

    def _on_epoch_started(self, event: EpochStarted) -> None:
        journal_id = event.journal_id.partition("-")[0]
        super()._on_epoch_started(msgspec.structs.replace(event, journal_id=journal_id))
        self._next_intent = 1


class SnapshotsWithoutStrategies(Kernel):
    """A snapshot holds the books, and the strategies as they were when they were new."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._blank = super()._written().strategies

    def _written(self) -> KernelState:
        return msgspec.structs.replace(super()._written(), strategies=self._blank)


class ForgetsItsStrategies(Runner):
    """Restores the books and leaves the strategies as new."""

    def recover(self, **versions: Any) -> Recovery:
        """Recover, and forget."""
        recovery = super().recover(**versions)
        for strategy in self.kernel.strategies:
            strategy.on_start()
        return recovery


class ForgetsItsProtections(Runner):
    """Restores the books and forgets the trades on which the protections judge."""

    def recover(self, **versions: Any) -> Recovery:
        """Recover, and forget."""
        recovery = super().recover(**versions)
        self.kernel.portfolio.positions.closed_trades.clear()
        return recovery


class ForgetsAHalt(Runner):
    """Every run begins active, whatever an operator had said."""

    def recover(self, **versions: Any) -> Recovery:
        """Recover, and forget."""
        recovery = super().recover(**versions)
        self.kernel.portfolio.trading_state = TradingState.ACTIVE
        return recovery


# -- orders that depend on each other ----------------------------------------------------------


class CountsLegsTwice(OrderTracker):
    """Counts what an exit of a group trades for the exit, and once more when it is told of again under another id."""

    __slots__ = ()

    def apply_execution(self, execution: Execution) -> InFlightOrder | None:
        """Count it, or not, wrongly."""
        order = self.by_broker_id(execution.broker_id)
        if order is not None and order.parent is not None:
            again = f"{execution.execution_id}/{len(self._seen)}"
            execution = msgspec.structs.replace(execution, execution_id=again, cum_qty=None)
        return super().apply_execution(execution)


class TakesLegsForStrangers(OrderTracker):
    """Does not learn which orders at the venue are the exits of an intent: they are somebody else's."""

    __slots__ = ()

    def name_legs(self, order: InFlightOrder, told: Sequence[OrderReport]) -> None:
        """Learn nothing."""


class TakesOneExitForBoth(OrderTracker):
    """Takes the first fill of an exit for the end of the other one: the venue's word is not waited for."""

    __slots__ = ()

    def apply_execution(self, execution: Execution) -> InFlightOrder | None:
        """Count it, and make the mistake."""
        order = super().apply_execution(execution)
        if order is not None and order.parent is not None:
            for other in self.exits_of(order):
                if other is not order and other.is_open:
                    self._move(other, OrderStatus.CANCELED, execution.at)
        return order
