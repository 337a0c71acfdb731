"""Broken variants of the bot, each of which the simulator must catch: a checker that cannot fail proves nothing.

A canary is a mistake that real systems have made, written down as a subclass of the part that would make it and
passed in where the container takes its parts. Nothing is patched. Each names the faults and deaths that bring it out:
its seeds lean towards them, as a bound on the number of seeds should not depend on luck.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from holdfast.brokers import AlpacaConnector
from holdfast.di.assembly import make_kernel
from holdfast.di.config import Config
from holdfast.di.parts import Parts
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
from holdfast.testing.sim.scenario import Scenario, scenario

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
    """Lets one request more through than the limit says."""
    trading = dict((limits or {}).get("alpaca_trading", {}))
    trading["limit"] = trading.get("limit", 200) + 1
    return create_combined_throttler({**(limits or {}), "alpaca_trading": trading}, clock)


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
            self._out.append(SubmitOrder(intent=intent, deadline=event.ts + self.settings.submit_deadline))


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


# -- the set ------------------------------------------------------------------------------------

Bias = Callable[[Scenario], Scenario]


def _busy(base: Scenario, **changes: Any) -> Scenario:
    """A lively run without deaths, on which a canary lays the faults that it needs."""
    return msgspec.structs.replace(
        base,
        **{
            "bars": min(base.bars, 45),
            "first_bar": 0,
            "strategy": "monkey",
            "appetite": 0.8,
            "loose": True,
            "crashes": 0,
            "venue_restarts": 0,
            "clock_steps": (),
            "stalls": 0,
            "stops": 0,
            "halts": 0,
            "asks": 0,
            "snapshot_every": 200,
            "rates": {},
            **changes,
        },
    )


def _with(**changes: Any) -> Bias:
    return lambda base: _busy(base, **changes)


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """One broken variant.

    Attributes:
        name: For the command line.
        mistake: What it does wrong.
        parts: The container's parts, one of them broken.
        bias: Makes of a seed's scenario one in which the mistake has something to go wrong with.
        caught_by: The checkers that are expected to complain: the beginning of a violation.
    """

    name: str
    mistake: str
    parts: Parts
    bias: Bias
    caught_by: tuple[str, ...]

    def scenario(self, seed: int) -> Scenario:
        """Its scenario of a seed."""
        return self.bias(scenario(seed))


def _kernel(kind: type[Kernel]) -> Parts:
    return Parts(kernel=partial(make_kernel, kind=kind))


def _tracker(kind: type[OrderTracker]) -> Parts:
    return Parts(kernel=lambda *args, **kwargs: make_kernel(*args, tracker=kind(), **kwargs))


_LOSSY = {"answer_lost": 0.15, "lost": 0.05, "cut_after": 0.1}
_GAPS = {"socket_cut": 0.05}
_LATE = {"late": 0.3}
_FRAMES = {"frame_late": 0.15, "frame_twice": 0.15, "frame_lost": 0.1}
_SYNCS = ("sync-after", "request-left", "request-left")


def _canary(name: str, parts: Parts, bias: Bias, *caught_by: str, of: Any) -> Canary:
    mistake = (of.__doc__ or "").strip()
    return Canary(name=name, mistake=mistake, parts=parts, bias=bias, caught_by=caught_by)


def _runner(kind: type[Runner]) -> Parts:
    return Parts(runner=kind)


_SETS: tuple[tuple[str, Any, Parts, Bias, tuple[str, ...]], ...] = (
    ("journal-after-send", JournalsAfterSending, _runner(JournalsAfterSending), _with(), ("P1",)),
    ("sync-not-awaited", DoesNotWaitForTheDisk, _runner(DoesNotWaitForTheDisk), _with(), ("P1",)),
    ("retry-new-id", RetriesWithANewId, Parts(connector=RetriesWithANewId), _with(rates=_LOSSY), ("P1", "P2")),
    ("retry-submit", RetriesASubmit, Parts(connector=RetriesASubmit), _with(rates=_LOSSY), ("P2 sent once",)),
    ("unknown-is-rejected", TakesSilenceForANo, Parts(connector=TakesSilenceForANo), _with(rates=_LOSSY), ("P5",)),
    (
        "no-deadline",
        SendsStaleOrders,
        _runner(SendsStaleOrders),
        _with(rates={"limit_headers": 0.3}),
        ("deadlines",),
    ),
    (
        "throttle-off-by-one",
        throttler_off_by_one,
        Parts(throttler=throttler_off_by_one),
        _with(rate_limit=8, symbols=("SPY", "QQQ")),
        ("P6",),
    ),
    (
        "no-dedupe",
        CountsEveryMessage,
        _tracker(CountsEveryMessage),
        _with(rates=_FRAMES, bars=20, symbols=("SPY",)),
        ("P3", "P4", "P9"),
    ),
    (
        "late-fill-dropped",
        DropsLateFills,
        _tracker(DropsLateFills),
        _with(rates=_FRAMES, bars=20, symbols=("SPY",)),
        ("P3", "P4", "P9"),
    ),
    (
        "last-word-wins",
        LastWordWins,
        _tracker(LastWordWins),
        _with(rates={"frame_late": 0.3, "frame_swapped": 0.2, "slow": 0.3}),
        ("P5 stays closed",),
    ),
    (
        "sum-read-as-fill",
        ReadsTheSumAsAFill,
        Parts(user_stream=ReadsTheSumAsAFill),
        _with(participation=Decimal("0.005")),
        ("P3", "P4", "P9"),
    ),
    (
        "connected-when-open",
        ConnectedWhenOpen,
        Parts(user_stream=ConnectedWhenOpen),
        _with(),
        ("two sources",),
    ),
    (
        "not-found-is-never-sent",
        TakesNotFoundForNeverSent,
        _kernel(TakesNotFoundForNeverSent),
        _with(rates=_LATE),
        ("P5 verdicts hold",),
    ),
    (
        "silence-is-never-sent",
        TakesAFailedLookUpForNeverSent,
        _kernel(TakesAFailedLookUpForNeverSent),
        _with(rates={"gateway_after": 0.8, "frame_lost": 0.6}),
        ("P5 verdicts hold",),
    ),
    (
        "cancel-is-cancelled",
        TakesACancelForCancelled,
        _kernel(TakesACancelForCancelled),
        _with(rates={"lost": 0.2, "slow": 0.3}),
        ("P2", "P3", "P7", "P9"),
    ),
    (
        "replace-is-replaced",
        TakesAReplaceForReplaced,
        _kernel(TakesAReplaceForReplaced),
        _with(rates={"lost": 0.3, "slow": 0.3}),
        ("P2", "P3", "P7", "P9"),
    ),
    (
        "replace-retried",
        RetriesAReplace,
        Parts(connector=RetriesAReplace),
        _with(rates=_LOSSY),
        ("P2 sent once",),
    ),
    (
        "no-look-after-gap",
        DoesNotAskAfterAGap,
        _kernel(DoesNotAskAfterAGap),
        _with(rates=_GAPS),
        ("two sources",),
    ),
    (
        "drift-adopted",
        AdoptsWhatDiffers,
        _kernel(AdoptsWhatDiffers),
        _with(rates={"listed_late": 0.9, "socket_cut": 0.05, "frame_lost": 0.3}),
        ("P3", "P4", "P9"),
    ),
    ("exit-flips", FlipsPositions, _kernel(FlipsPositions), _with(participation=Decimal("0.005")), ("P7 never flips",)),
    (
        "guard-fails-open",
        guard_fails_open,
        Parts(kernel=guard_fails_open),
        _with(rates={"socket_cut": 0.2, "socket_refused": 0.85}, bars=60),
        ("P7 no stale entries",),
    ),
    (
        "bars-shown-again",
        ShowsBarsAgain,
        _kernel(ShowsBarsAgain),
        _with(rates={"frame_twice": 0.3, "socket_cut": 0.05}, strategy="vwap"),
        ("shown once",),
    ),
    (
        "resend-after-restart",
        SendsAgainAfterARestart,
        _kernel(SendsAgainAfterARestart),
        _with(crashes=3, crash_points=_SYNCS),
        ("P2 sent once",),
    ),
    (
        "numbers-used-again",
        CountsIntentsAnew,
        _kernel(CountsIntentsAnew),
        _with(crashes=2, crash_points=("time",)),
        ("failure", "P2"),
    ),
    (
        "strategies-forgotten",
        ForgetsItsStrategies,
        _runner(ForgetsItsStrategies),
        _with(crashes=2, crash_points=("time",), strategy="vwap"),
        ("P8",),
    ),
    (
        "snapshot-without-strategies",
        SnapshotsWithoutStrategies,
        _kernel(SnapshotsWithoutStrategies),
        _with(crashes=3, crash_points=("time",), strategy="vwap", bars=120, snapshot_every=20),
        ("P8",),
    ),
    (
        "halt-forgotten",
        ForgetsAHalt,
        _runner(ForgetsAHalt),
        _with(crashes=4, crash_points=("time",), halts=3, bars=120),
        ("P7 halts hold", "P8"),
    ),
    (
        "protections-forgotten",
        ForgetsItsProtections,
        _runner(ForgetsItsProtections),
        _with(crashes=3, crash_points=("time",), loose=False, bars=180),
        ("P8",),
    ),
)

CANARIES: dict[str, Canary] = {
    name: _canary(name, parts, bias, *caught_by, of=source) for name, source, parts, bias, caught_by in _SETS
}
