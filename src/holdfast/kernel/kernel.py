"""The kernel: all of the decision-making and none of the I/O.

``handle(event)`` takes one event, updates the books, lets strategies and guards decide, and returns
the commands that follow. It never awaits, sleeps, reads a clock, draws a random number or touches
disk or network. Whoever drives it (backtester, live runner, replayer) shows it the same events and
gets the same commands.

The order path, for one that goes well:

    Bar -> strategy.buy() -> SignalPath.decide() -> [RecordVerdict, SubmitOrder]
    OrderUpdated (accepted) -> tracker                         -> strategy.on_order()
    OrderFilled -> tracker -> positions                        -> strategy.on_fill()

and for one that does not: SubmitUnknown -> [LookupOrder] -> OrderUpdated (it was there after all), or
LookupMissed again and again until look-up, stream and a list of orders agree -> closed as never sent,
with the evidence. Silence settles nothing. ``unknown_table`` has all of these cases.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from decimal import getcontext
from typing import Any

import msgspec

from holdfast.kernel.adjustments import Adjustments
from holdfast.kernel.book import PendingExit, SymbolBook
from holdfast.kernel.boundary import tell
from holdfast.kernel.counters import Counters
from holdfast.kernel.flattening import Flattening
from holdfast.kernel.group_care import GroupCare
from holdfast.kernel.hearing import UNHEARD, Hearing
from holdfast.kernel.looks import REASONS, RECHECK, Looks
from holdfast.kernel.market_flow import MarketFlow
from holdfast.kernel.others import Others
from holdfast.kernel.portfolio import Portfolio
from holdfast.kernel.reconciliation import Reconciliation
from holdfast.kernel.recorded import RecordedDecisions
from holdfast.kernel.refused import stopping_verdict
from holdfast.kernel.settings import KernelSettings
from holdfast.kernel.signal_path import RULES_NOT_LOADED, Decision, SignalPath
from holdfast.kernel.state import Restorable
from holdfast.kernel.unknowns import LOOKUP_TIMER, USER_STREAM, Outlets, Unknowns
from holdfast.market import FeeModel, SymbolProperties
from holdfast.model import (
    AssetClass,
    Bar,
    Execution,
    OrderReport,
    OrderStatus,
    Quote,
    Signal,
    Source,
    Stage,
    TradingState,
    Verdict,
)
from holdfast.model.commands import (
    Command,
    LoadSecurity,
    QueryAccount,
    RecordVerdict,
    ReplaceOrder,
    SendAlert,
    SubmitOrder,
)
from holdfast.model.decimals import DIGITS, EXACT, Exact
from holdfast.model.errors import StrategyError, invariant
from holdfast.model.events import (
    AccountUpdated,
    BarRevised,
    BrokerReported,
    CancelRefused,
    CancelUnknown,
    EpochStarted,
    Event,
    LookupFailed,
    LookupMissed,
    OrderAccepted,
    OrderFilled,
    OrderRefused,
    OrderReleased,
    OrderUpdated,
    ReconcileFailed,
    ReconcileRequested,
    SecurityLoaded,
    SecurityUnavailable,
    ShutdownStarted,
    SignalReceived,
    StateHashed,
    StreamConnected,
    StreamLost,
    SubmitDropped,
    SubmitUnknown,
    TimerFired,
    TradingStateChanged,
    VenueAdjusted,
)
from holdfast.model.orders import with_legs
from holdfast.model.timestamps import NS_PER_DAY
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import ProtectionManager
from holdfast.state.order_machine import CLOSED, OPEN
from holdfast.state.order_tracker import DiscrepancyKind, InFlightOrder, OrderTracker
from holdfast.strategies import Strategy
from holdfast.time import Sessions

_NOTHING: tuple[Command, ...] = ()
_VERDICTS_KEPT = 200


class Kernel(MarketFlow, Restorable):
    """Strategies, guards, orders and positions behind one method.

    Args:
        strategies: What trades; bound to this kernel here.
        protections: Circuit breakers, asked first.
        gate: The pre-trade risk gate; its view becomes this kernel's portfolio.
        sessions_for: Market sessions by asset class.
        fees: What the venue charges.
        settings: Durations and switches.
        tracker: What holds the orders; default: a new one.

    Attributes:
        commands: What ``dispatch`` and ``on_bars`` led to and nobody has taken yet; their driver empties it.
        unknowns_kind: What deals with unknown outcomes; a subclass of the kernel may name another.
        reconciliation_kind: What compares the books, likewise.
    """

    unknowns_kind: type[Unknowns] = Unknowns
    reconciliation_kind: type[Reconciliation] = Reconciliation

    def __init__(
        self,
        strategies: Sequence[Strategy],
        *,
        protections: ProtectionManager,
        gate: PreTradeRiskGate,
        sessions_for: Callable[[AssetClass], Sessions],
        fees: FeeModel | None = None,
        settings: KernelSettings | None = None,
        tracker: OrderTracker | None = None,
    ) -> None:
        self.settings = settings or KernelSettings()
        self.strategies = tuple(strategies)
        self.portfolio = Portfolio(self.strategies, sessions_for, fees or FeeModel(), tracker)
        self.protections = protections
        gate.view = self.portfolio
        self.gate = gate
        self.counters = Counters()
        self.timers: dict[str, int] = {}
        self.recent_verdicts: deque[Verdict] = deque(maxlen=_VERDICTS_KEPT)
        self.journal_id = ""
        self.epoch = 0
        self.others = Others(self.portfolio, self.settings.foreign, self._alert)
        self.adjustments = Adjustments(self.portfolio, self.others, self._alert)
        self.reconciliation = self.reconciliation_kind(self.portfolio, self.settings, self.others)
        self.looks = Looks(self.reconciliation, self.settings, self.timers)
        self.hearing = Hearing(self.settings, self.timers)
        self._hears = self.settings.mute_after > 0
        self._path = SignalPath(self.portfolio, protections, gate)
        self._books = self.portfolio.books
        self._tracker = self.portfolio.tracker
        self.commands: list[Command] = []
        self._recorded: RecordedDecisions | None = None
        self._next_intent = 1
        self._day_ends_at = 0
        self._stopping = False
        unknowns = self.unknowns = self.unknowns_kind(
            self.portfolio,
            self.settings,
            self.timers,
            Outlets(self._emit, self._alert, self._order_changed, self._reconcile),
        )
        self._groups = GroupCare(self.portfolio, self.settings, self.timers, unknowns, self._alert)
        self._handlers: dict[type[Any], Callable[[Any], object]] = {
            Bar: self._on_bar,
            BarRevised: self._on_bar_revised,
            Quote: self._on_quote,
            EpochStarted: self._on_epoch_started,
            SecurityLoaded: self._on_security_loaded,
            SecurityUnavailable: self._on_security_unavailable,
            AccountUpdated: self._on_account_updated,
            SignalReceived: self._on_signal_received,
            TimerFired: self._on_timer_fired,
            TradingStateChanged: self._on_trading_state_changed,
            ShutdownStarted: self._on_shutdown_started,
            StreamConnected: self._on_stream_connected,
            StreamLost: self._on_stream_lost,
            OrderAccepted: self._on_order_accepted,
            OrderUpdated: self._on_order_updated,
            OrderFilled: self._on_order_filled,
            OrderRefused: self._on_order_refused,
            SubmitUnknown: self._on_submit_unknown,
            SubmitDropped: self._advanced(unknowns.on_submit_dropped),
            LookupMissed: self._advanced(unknowns.on_lookup_missed),
            LookupFailed: self._advanced(unknowns.on_lookup_failed),
            CancelRefused: self._advanced(unknowns.on_cancel_refused),
            CancelUnknown: self._advanced(unknowns.on_cancel_unknown),
            BrokerReported: self._on_broker_reported,
            ReconcileRequested: self._on_reconcile_requested,
            ReconcileFailed: self._on_reconcile_failed,
            OrderReleased: self._take_note,
            StateHashed: self._take_note,
            VenueAdjusted: self._on_venue_adjusted,
        }
        self.flattening = Flattening(self, self._take_report)
        self._handlers |= self.flattening.handlers
        for strategy in self.strategies:
            tell(strategy, "bind", self)

    # -- the one way in -------------------------------------------------------------------------

    def handle(self, event: Event) -> Sequence[Command]:
        """Take one event; return what is to be done about it.

        Raises:
            StrategyError: A strategy raised; names it and the place.
            InvariantError: A bug of ours; the state is void.
        """
        with Exact():
            self._handlers[event.__class__](event)
        return self.take_commands()

    def dispatch(self, event: Event) -> None:
        """``handle`` for drivers that have made the Decimal context exact; what follows is in ``commands``."""
        self._handlers[event.__class__](event)

    def follow(self, event: Event, commands: Sequence[Command]) -> tuple[str, ...]:
        """Take one event of a journal together with the commands that were given then, which win.

        What would be decided otherwise today (other code, other configuration) is not enacted but
        described in the answer, one sentence per difference.
        """
        recorded = self._recorded = RecordedDecisions(commands)
        try:
            self.handle(event)
            for decision, request in recorded.remaining():
                self._enact(self.portfolio.book(decision.verdict.signal.symbol), decision, request)
        finally:
            self._recorded = None
            self.commands = []
        return recorded.differences()

    @property
    def bars(self) -> int:
        """Bars shown so far."""
        return sum(book.bars for book in self._books.values())

    # -- what strategies may ask (StrategyContext) ----------------------------------------------

    def view(self, symbol: str) -> SymbolBook:
        """The symbol's book."""
        return self.portfolio.book(symbol)

    def submit(self, signal: Signal, request: int | None = None) -> Verdict:
        """Send a signal down the guarded path; the verdict is recorded and returned."""
        self.counters.signals += 1
        book = self._books.get(signal.symbol) or self.portfolio.book(signal.symbol)
        if getcontext() is EXACT:
            return self._decide(book, signal, request).verdict
        with Exact():  # a strategy is asked to trade by its own caller, not by the kernel
            return self._decide(book, signal, request).verdict

    def order(self, client_order_id: str) -> InFlightOrder | None:
        """The order of ours with this client order id."""
        return self._tracker.get(client_order_id)

    def cancel(self, symbol: str) -> int:
        """Ask the venue to cancel every open order of ours on the symbol."""
        orders = [order for order in self._tracker.open_orders(symbol) if not order.cancel_requested]
        for order in orders:
            if not order.cancel_requested:  # a cancel of one order of a group is one of all
                self.unknowns.cancel(order)
        return len(orders)

    def verdicts(self) -> Sequence[Verdict]:
        """The last verdicts, newest last."""
        return tuple(self.recent_verdicts)

    # -- days -----------------------------------------------------------------------------------

    def _start_day(self, ts: int) -> None:
        """A UTC day began: the day's profit starts at zero, and the books are compared with the venue's."""
        first = self._day_ends_at == 0
        self._day_ends_at = (ts - 1) // NS_PER_DAY * NS_PER_DAY + NS_PER_DAY
        self.portfolio.day_start_equity = self.portfolio.equity
        self._observe_equity()
        if not first:
            self._reconcile("daily")

    # -- the venue's reference data -------------------------------------------------------------

    def _on_security_loaded(self, event: SecurityLoaded) -> None:
        self._advance(event.ts)
        book = self.portfolio.book(event.asset.symbol)
        book.take_properties(SymbolProperties.from_asset(event.asset))
        book.shortable = event.asset.shortable

    def _on_security_unavailable(self, event: SecurityUnavailable) -> None:
        self._advance(event.ts)
        self._alert("system", f"{event.symbol}: no symbol rules", f"opening orders stay blocked: {event.reason}")

    def _on_account_updated(self, event: AccountUpdated) -> None:
        self._advance(event.ts)
        first = self.portfolio.account is None
        self.portfolio.take_account(event.account)
        if first:
            self._observe_equity()

    # -- signals --------------------------------------------------------------------------------

    def _on_signal_received(self, event: SignalReceived) -> None:
        self._advance(event.ts)
        self.submit(event.signal, event.request)

    def _decide(self, book: SymbolBook, signal: Signal, request: int | None) -> Decision:
        decision = self._path.decide(signal, book, f"{self.journal_id}-{self._next_intent}")
        if EXACT.prec != DIGITS:
            message = f"a strategy changed the Decimal context of the kernel to {EXACT.prec} digits; use one of its own"
            raise StrategyError(message)
        if self._stopping and decision.intent is not None:
            decision = Decision(stopping_verdict(decision.verdict))
        if self._recorded is not None:
            decision = self._recorded.settle(decision)
        self._enact(book, decision, request)
        return decision

    def _enact(self, book: SymbolBook, decision: Decision, request: int | None) -> None:
        """The side effects of a decision, in one place: counters, tracker, commands."""
        verdict, intent = decision.verdict, decision.intent
        self.recent_verdicts.append(verdict)
        self.commands.append(RecordVerdict(verdict=verdict, request=request))
        if intent is not None:
            if self._recorded is None:
                self._next_intent += 1
            else:
                self._next_intent = int(intent.client_order_id.rpartition("-")[2]) + 1
            order = self._tracker.track_submitted(intent)
            book.busy = True
            self.counters.orders += 1
            deadline = intent.created_at + self.settings.submit_deadline
            if intent.replaces:
                old = self._tracker.get(intent.replaces)
                broker_id = (old.broker_id if old is not None else None) or ""
                self.commands.append(ReplaceOrder(intent=intent, broker_id=broker_id, deadline=deadline))
            else:
                self.commands.append(SubmitOrder(intent=intent, deadline=deadline))
            if book.order_listeners:
                self._tell_order(book, order)
        elif not verdict.approved:
            blocked = self.counters.blocked
            blocked[verdict.guard] = blocked.get(verdict.guard, 0) + 1
            if verdict.stage is Stage.PROTECTIONS:
                self._alert("protections", f"{verdict.signal.symbol}: protection active", verdict.reason)
            elif verdict.guard == RULES_NOT_LOADED:
                self.commands.append(LoadSecurity(symbol=verdict.signal.symbol))
        elif decision.waits:
            held = self.portfolio.positions.quantity(book.symbol)
            book.exit = PendingExit(verdict.signal, request, everything=verdict.signal.quantity >= abs(held))
            book.busy = True
            self.cancel(book.symbol)

    def _continue_exit(self, book: SymbolBook) -> None:
        """The venue has spoken on everything that rested: send what is left of a waiting exit."""
        waiting = book.exit
        if waiting is None or self._tracker.has_open(book.symbol):
            return
        if self.portfolio.closed_with_fills_missing(book.symbol):
            return  # the look that is coming brings them, and with them the position that is to be left
        book.exit, book.busy = None, False
        held = self.portfolio.positions.quantity(book.symbol)
        signal = waiting.signal
        quantity = abs(held) if waiting.everything else min(signal.quantity, abs(held))
        side = signal.side if not held or (held > 0) != (signal.side.sign > 0) else signal.side.opposite
        self._decide(
            book,
            Signal(
                symbol=signal.symbol,
                side=side,
                quantity=quantity,
                price=signal.price,
                time_in_force=signal.time_in_force,
                reduce_only=True,
                strategy_id=signal.strategy_id,
                reason=signal.reason,
                terms=signal.terms,
            ),
            waiting.request,
        )

    # -- orders: what the venue says ------------------------------------------------------------

    def _on_order_updated(self, event: OrderUpdated) -> None:
        self._advance(event.ts)
        self._take_report(event.report, event.source)

    def _on_order_accepted(self, event: OrderAccepted) -> None:
        self._advance(event.ts)
        order = self._tracker.accept(event.client_order_id, event.broker_id, event.ts)
        if order is not None:
            if self._tracker.adopted:
                self._take_adopted()
            book = self._books[order.symbol]
            if book.order_listeners or book.exit is not None or self.unknowns.has_any():
                self._order_changed(order)

    def _on_order_filled(self, event: OrderFilled) -> None:
        self._advance(event.ts)
        order = self._tracker.apply_execution(event.execution)
        if self._hears:
            self.hearing.take_execution(event.execution, event.source, event.ts, news=order is not None)
        if order is not None:
            if self._tracker.adopted:
                self._take_adopted((order, event.execution))
            else:
                book = self._books[order.symbol]
                self._book_execution(book, order, event.execution)
                self._tell_execution(book, order, event.execution)
        elif self._tracker.adopted:
            self._take_adopted()
        elif self._tracker.is_orphan(event.execution.execution_id):
            self.others.on_orphan(event.execution)
        if event.report is not None:
            self._take_report(event.report, event.source)
        elif self._tracker.discrepancies:
            self._report_discrepancies()

    def _take_adopted(self, *counted: tuple[InFlightOrder, Execution]) -> None:
        """Book the executions that were orphans until now, behind one that has just been counted.

        All of it before anyone is told: whoever decides on the first must see the position after the last.
        """
        adopted = self._tracker.take_adopted()
        for _, execution in adopted:
            self.others.give_back(execution)
        counted += tuple(adopted)
        for order, execution in counted:
            self._book_execution(self._books[order.symbol], order, execution)
        for order, execution in counted:
            self._tell_execution(self._books[order.symbol], order, execution)

    def _book_execution(self, book: SymbolBook, order: InFlightOrder, execution: Execution) -> None:
        """Book what the tracker has counted, and tell the protections what it did to the equity."""
        portfolio = self.portfolio
        before = portfolio.equity
        portfolio.book_fill(book, order, execution)
        if self.adjustments.state.waiting:
            self.adjustments.on_counted(execution)
        if portfolio.account is not None:
            self.protections.observe_equity(portfolio.now_ns, portfolio.equity, before=before)
        self.counters.executions += 1

    def _tell_execution(self, book: SymbolBook, order: InFlightOrder, execution: Execution) -> None:
        for strategy in book.fill_listeners:
            tell(strategy, "on_fill", execution, order)
        self._order_changed(order)

    def _take_report(self, report: OrderReport, source: Source) -> None:
        order = self._tracker.get(report.client_order_id) or self._tracker.by_broker_id(report.broker_id)
        if order is None:
            if not self._groups.may_be_leg(report):
                self.reconciliation.note_orphan(report, self._alert)
                self.others.on_report(report)
            return
        before = order.status
        changed = self._tracker.apply_report(report, source, self.portfolio.now_ns)
        if self._hears:
            news = changed and order.is_closed and before in OPEN
            self.hearing.take_report(report, source, self.portfolio.now_ns, news=news)
        if self._tracker.adopted:
            self._take_adopted()
        if self._tracker.discrepancies:
            self._report_discrepancies()
        if changed:
            if order.status is OrderStatus.REJECTED and before is not OrderStatus.REJECTED:
                self._alert("trading", f"{order.symbol}: order rejected by the venue", order.client_order_id)
            self._order_changed(order)
        self.unknowns.on_reported(order)
        if order.terms is not None:
            self._take_group(order, report, source)
        if order.fills_missing and (order.is_closed or self.settings.reconcile_interval):
            self.timers.setdefault(RECHECK, self.portfolio.now_ns + self.settings.lookup_interval)

    def _take_group(self, order: InFlightOrder, report: OrderReport, source: Source) -> None:
        """The venue has described an order of a group, and perhaps with it those that depend on it."""
        for leg in report.legs or ():
            self._take_report(leg, source)
        for gone in self._groups.on_reported(order, report, source):
            self._order_changed(gone)
        self._groups.tend(order)

    def _on_order_refused(self, event: OrderRefused) -> None:
        self._advance(event.ts)
        self.unknowns.on_order_refused(event)
        order = self._tracker.get(event.client_order_id)
        # An exit that asks for the coins that were its fee is refused until the fee is settled: nothing must keep it waiting.
        waits = order is not None and order.reduce_only and bool(self._books[order.symbol].fee_uncertainty)
        self.looks.hurry(event.ts, at_once=waits)

    def _on_submit_unknown(self, event: SubmitUnknown) -> None:
        self._advance(event.ts)
        self.unknowns.on_submit_unknown(event)
        self.looks.hurry(event.ts)

    def _report_discrepancies(self) -> None:
        """What did not fit is told to people; where our id is on an order that we never meant, trading halts."""
        for discrepancy in self._tracker.take_discrepancies():
            if discrepancy.kind is DiscrepancyKind.ORPHAN_EXECUTION and not self.others.tells:
                continue
            if discrepancy.kind in _UNTRUSTWORTHY:
                self.portfolio.trading_state = TradingState.HALTED
                title = "the venue's orders differ from our intents: trading is halted"
            else:
                title = f"order {discrepancy.kind.value.replace('_', ' ')}"
            self._alert("order-drift", title, f"{discrepancy.client_order_id} {discrepancy.detail}".strip())

    # -- time -----------------------------------------------------------------------------------

    def _on_timer_fired(self, event: TimerFired) -> None:
        self._advance(event.ts)
        self.timers.pop(event.name, None)
        if event.name in REASONS:
            if self.looks.is_wanted(event.name, event.ts):
                self._reconcile(REASONS[event.name])
        elif event.name == UNHEARD:
            mute = self.hearing.verdict(event.ts)
            if mute is not None:
                self.commands.append(mute)
        elif event.name.startswith(LOOKUP_TIMER):
            self.unknowns.on_timer(event.name.removeprefix(LOOKUP_TIMER))

    # -- the run --------------------------------------------------------------------------------

    def _on_epoch_started(self, event: EpochStarted) -> None:
        self.unknowns.on_stream_lost(self.portfolio.now_ns)  # nobody listened from the last run's end to now
        self._advance(event.ts)
        # The journal's id and, behind a dash, this run's own part: an id is not given out twice by two copies of a journal.
        same = self.journal_id.partition("-")[0] in ("", event.journal_id.partition("-")[0])
        invariant(same, "an epoch of another journal")
        self.journal_id, self.epoch = event.journal_id, event.epoch
        self.portfolio.verified = False
        self._stopping = False
        self.hearing.listening(0)
        self.flattening.forget()
        for book in self._books.values():
            if book.exit is not None:
                book.exit.request = None  # whoever waited for its verdict is gone
        self.commands.extend(LoadSecurity(symbol=symbol) for symbol in self._books)
        self.commands.append(QueryAccount())
        self.unknowns.on_restart()
        self.reconciliation.begin(event.ts)
        self._reconcile("start")

    def _on_trading_state_changed(self, event: TradingStateChanged) -> None:
        self._advance(event.ts)
        self.portfolio.trading_state = event.state
        self._alert("system", f"trading is {event.state}", event.reason)

    def _on_shutdown_started(self, event: ShutdownStarted) -> None:
        self._advance(event.ts)
        self._stopping = True
        if event.cancel_orders:
            for symbol in self._books:
                self._books[symbol].exit = None
                self.cancel(symbol)

    def _on_stream_connected(self, event: StreamConnected) -> None:
        self._advance(event.ts)
        if event.stream != USER_STREAM:
            return
        self.hearing.listening(event.ts)
        self.unknowns.on_stream_connected(event.ts)
        if self.portfolio.account is not None:
            # What happened while nobody listened was streamed to nobody.
            self._reconcile("reconnect")

    def _on_stream_lost(self, event: StreamLost) -> None:
        self._advance(event.ts)
        if event.stream == USER_STREAM:
            self.hearing.listening(0)
            self.unknowns.on_stream_lost(event.ts)
        self._alert("system", f"{event.stream} stream lost", event.reason)

    # -- reconciliation -------------------------------------------------------------------------

    def _reconcile(self, reason: str) -> None:
        self.commands.append(self.looks.ask(reason, self.portfolio.now_ns))

    def _on_broker_reported(self, event: BrokerReported) -> None:
        self._advance(event.ts)
        orders = with_legs(event.orders)
        if orders is not event.orders:
            event = msgspec.structs.replace(event, orders=orders)
        told = {report.broker_id for report in event.orders if self._tracker.get(report.client_order_id) is not None}
        told |= {leg.broker_id for report in event.orders if report.broker_id in told for leg in report.legs or ()}
        for execution in event.executions:
            nameless = not execution.client_order_id and self._tracker.by_broker_id(execution.broker_id) is None
            if nameless and execution.broker_id in told:
                self._tracker.apply_execution(execution)  # an orphan until its order's report, below, names it
                self._tracker.take_discrepancies()
            else:
                self._on_order_filled(OrderFilled(ts=event.ts, execution=execution, source=Source.RECONCILE))
        for report in event.orders:
            self._take_report(report, Source.RECONCILE)
        if self.portfolio.account is None:
            self.portfolio.take_account(event.account)
        self.others.on_reported(event)
        self.portfolio.take_account(event.account)
        outcome = self.reconciliation.compare(event, self._alert)
        self.unknowns.on_compared(event)
        for order in outcome.waited_enough:
            self._order_changed(order)
        self.portfolio.verified = True
        for order in outcome.shadows:
            self.unknowns.look_up(order)
        if outcome.recheck_after is not None:
            self.timers.setdefault(RECHECK, event.ts + outcome.recheck_after)

    def _on_reconcile_requested(self, event: ReconcileRequested) -> None:
        self._advance(event.ts)
        self._reconcile(event.reason)

    def _on_reconcile_failed(self, event: ReconcileFailed) -> None:
        self._advance(event.ts)
        self.timers.setdefault(RECHECK, event.ts + self.settings.recheck_after)

    def _on_venue_adjusted(self, event: VenueAdjusted) -> None:
        self._advance(event.ts)
        before = self.portfolio.equity
        if self.adjustments.on_adjusted(event):
            self._observe_equity(before)
            self.timers.setdefault(RECHECK, event.ts + self.settings.recheck_after)

    # -- inside ---------------------------------------------------------------------------------

    def _observe_equity(self, before: float | None = None) -> None:
        """Tell the protections; before the venue has named our money there is nothing to tell."""
        portfolio = self.portfolio
        if portfolio.account is not None:
            self.protections.observe_equity(portfolio.now_ns, portfolio.equity, before=before)

    def _advanced(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        """A handler outside this class, after our time has moved on to the event's."""

        def handle(event: Any) -> None:
            self._advance(event.ts)
            handler(event)

        return handle

    def _emit(self, command: Command) -> None:
        self.commands.append(command)

    def _order_changed(self, order: InFlightOrder) -> None:
        symbol, portfolio, tracker = order.symbol, self.portfolio, self._tracker
        book = self._books[symbol]
        if self.timers or self.unknowns.has_any():
            self.unknowns.on_heard(order)
        if (book.fee_uncertainty or portfolio.cash_uncertainty) and order.status in CLOSED:
            self.timers.setdefault(RECHECK, portfolio.now_ns + self.settings.recheck_after)
        book.busy = (
            book.exit is not None
            or tracker.has_open(symbol)
            or (bool(tracker.missing) and bool(portfolio.closed_with_fills_missing(symbol)))
        )
        if book.order_listeners:
            self._tell_order(book, order)
        if order.terms is not None:
            self._groups.tend(order)
        if book.exit is not None:
            self._continue_exit(book)

    def _tell_order(self, book: SymbolBook, order: InFlightOrder) -> None:
        for strategy in book.order_listeners:
            tell(strategy, "on_order", order)

    def _alert(self, channel: str, title: str, details: str = "") -> None:
        self.commands.append(SendAlert(channel=channel, title=title, details=details))


_UNTRUSTWORTHY = frozenset({DiscrepancyKind.MISMATCH, DiscrepancyKind.SECOND_ORDER})
