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
from decimal import getcontext, setcontext
from math import inf
from typing import Any

from holdfast.kernel.adjustments import Adjustments
from holdfast.kernel.book import PendingExit, SymbolBook
from holdfast.kernel.boundary import strategy_error, tell
from holdfast.kernel.counters import Counters
from holdfast.kernel.others import Others
from holdfast.kernel.portfolio import Portfolio
from holdfast.kernel.reconciliation import Reconciliation
from holdfast.kernel.recorded import RecordedDecisions
from holdfast.kernel.settings import KernelSettings
from holdfast.kernel.signal_path import RULES_NOT_LOADED, Decision, SignalPath
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
    LookupOrder,
    QueryAccount,
    Reconcile,
    RecordVerdict,
    SendAlert,
    SubmitOrder,
)
from holdfast.model.decimals import EXACT
from holdfast.model.errors import invariant
from holdfast.model.events import (
    AccountUpdated,
    BrokerReported,
    CancelRefused,
    CancelUnknown,
    EpochStarted,
    Event,
    LookupFailed,
    LookupMissed,
    OrderFilled,
    OrderRefused,
    OrderUpdated,
    ReconcileFailed,
    ReconcileRequested,
    SecurityLoaded,
    SecurityUnavailable,
    ShutdownStarted,
    SignalReceived,
    StreamConnected,
    StreamLost,
    SubmitDropped,
    SubmitUnknown,
    TimerFired,
    TradingStateChanged,
    VenueAdjusted,
)
from holdfast.model.timestamps import NS_PER_DAY
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import ProtectionManager
from holdfast.state.order_machine import OrderEvent
from holdfast.state.order_tracker import DiscrepancyKind, InFlightOrder
from holdfast.strategies import Strategy
from holdfast.time import Sessions

_NOTHING: tuple[Command, ...] = ()
_VERDICTS_KEPT = 200
_RECHECK = "recheck"


class Kernel:
    """Strategies, guards, orders and positions behind one method.

    Args:
        strategies: What trades; bound to this kernel here.
        protections: Circuit breakers, asked first.
        gate: The pre-trade risk gate; its view becomes this kernel's portfolio.
        sessions_for: Market sessions by asset class.
        fees: What the venue charges.
        settings: Durations and switches.
    """

    def __init__(
        self,
        strategies: Sequence[Strategy],
        *,
        protections: ProtectionManager,
        gate: PreTradeRiskGate,
        sessions_for: Callable[[AssetClass], Sessions],
        fees: FeeModel | None = None,
        settings: KernelSettings | None = None,
    ) -> None:
        self.settings = settings or KernelSettings()
        self.strategies = tuple(strategies)
        self.portfolio = Portfolio(self.strategies, sessions_for, fees or FeeModel())
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
        self.reconciliation = Reconciliation(self.portfolio, self.settings, self.others)
        self._path = SignalPath(self.portfolio, protections, gate)
        self._books = self.portfolio.books
        self._tracker = self.portfolio.tracker
        self._out: list[Command] = []
        self._recorded: RecordedDecisions | None = None
        self._next_intent = 1
        self._day_ends_at = 0
        self._stopping = False
        unknowns = self.unknowns = Unknowns(
            self.portfolio,
            self.settings,
            self.timers,
            Outlets(self._emit, self._alert, self._order_changed, self._reconcile),
        )
        self._handlers: dict[type[Any], Callable[[Any], object]] = {
            Bar: self.on_bar,
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
            OrderUpdated: self._on_order_updated,
            OrderFilled: self._on_order_filled,
            OrderRefused: self._advanced(unknowns.on_order_refused),
            SubmitUnknown: self._advanced(unknowns.on_submit_unknown),
            SubmitDropped: self._advanced(unknowns.on_submit_dropped),
            LookupMissed: self._advanced(unknowns.on_lookup_missed),
            LookupFailed: self._advanced(unknowns.on_lookup_failed),
            CancelRefused: self._advanced(unknowns.on_cancel_refused),
            CancelUnknown: self._advanced(unknowns.on_cancel_unknown),
            BrokerReported: self._on_broker_reported,
            ReconcileRequested: self._on_reconcile_requested,
            ReconcileFailed: self._on_reconcile_failed,
            VenueAdjusted: self._on_venue_adjusted,
        }
        for strategy in self.strategies:
            tell(strategy, "bind", self)

    # -- the one way in -------------------------------------------------------------------------

    def handle(self, event: Event) -> Sequence[Command]:
        """Take one event; return what is to be done about it.

        Raises:
            StrategyError: A strategy raised; names it and the place.
            InvariantError: A bug of ours; the state is void.
        """
        if event.__class__ is Bar:
            return self.on_bar(event)
        outer = getcontext()
        setcontext(EXACT)
        try:
            self._handlers[event.__class__](event)
        finally:
            setcontext(outer)
        return self._take_out()

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
            self._out = []
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
        book = self.portfolio.book(signal.symbol)
        outer = getcontext()
        setcontext(EXACT)
        try:
            return self._decide(book, signal, request).verdict
        finally:
            setcontext(outer)

    def cancel(self, symbol: str) -> int:
        """Ask the venue to cancel every open order of ours on the symbol."""
        orders = [order for order in self._tracker.open_orders(symbol) if not order.cancel_requested]
        for order in orders:
            self.unknowns.cancel(order)
        return len(orders)

    def verdicts(self) -> Sequence[Verdict]:
        """The last verdicts, newest last."""
        return tuple(self.recent_verdicts)

    # -- market data ----------------------------------------------------------------------------

    def on_bar(self, bar: Bar) -> Sequence[Command]:
        """``handle`` for a bar. Public, because half a million bars do not want the detour."""
        ts = bar.ts
        book = self._books.get(bar.symbol)
        if book is None:
            book = self.portfolio.book(bar.symbol)
        if ts <= book.last_bar_at:
            self.counters.duplicate_bars += 1  # backfill and stream overlap; the first one counted
            return _NOTHING
        portfolio = self.portfolio
        if ts > portfolio.now_ns:  # noqa: PLR1730 - once a bar, and a call costs more than it
            portfolio.now_ns = ts
        book.bars += 1
        book.last_bar_at = book.last_price_at = ts
        book.last_price = close = bar.close
        held = book.position_float
        if held:
            before = portfolio.equity
            portfolio.equity = equity = before + held * (close - book.mark)
            book.mark = close
            guards = self.protections
            if guards.quiet_low < equity < inf and ts < guards.quiet_until:
                if equity > guards.quiet_highest:
                    guards.note_high(equity)
            else:
                guards.observe_equity(ts, equity, before=before)
        if ts > book.boundary:
            self._cross_boundary(book, ts)
        for strategy in book.strategies:
            try:
                strategy.on_bar(bar)
            except (Exception, SystemExit) as error:
                raise strategy_error(strategy, "on_bar", error) from error
        return self._take_out() if self._out else _NOTHING

    def _cross_boundary(self, book: SymbolBook, ts: int) -> None:
        """A bar is the first of its session in this symbol, or of a UTC day."""
        if ts > self._day_ends_at:
            self._start_day(ts)
        if ts > book.session_close:
            book.enter_session(ts)
        book.boundary = min(book.session_close, self._day_ends_at)

    def _on_quote(self, quote: Quote) -> None:
        self._advance(quote.ts)
        book = self.portfolio.book(quote.symbol)
        if quote.ts < book.last_price_at or not 0.0 < quote.bid <= quote.ask:
            return
        book.last_price = (quote.bid + quote.ask) / 2
        book.last_price_at = quote.ts
        for strategy in book.strategies:
            tell(strategy, "on_quote", quote)

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
        book.properties = SymbolProperties.from_asset(event.asset)
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
        client_order_id = f"{self.journal_id}-{self._next_intent}"
        decision = self._path.decide(signal, book, client_order_id)
        if self._stopping and decision.intent is not None:
            decision = Decision(_stopping_verdict(decision.verdict))
        if self._recorded is not None:
            decision = self._recorded.settle(decision)
        self._enact(book, decision, request)
        return decision

    def _enact(self, book: SymbolBook, decision: Decision, request: int | None) -> None:
        """The side effects of a decision, in one place: counters, tracker, commands."""
        verdict, intent = decision.verdict, decision.intent
        self.recent_verdicts.append(verdict)
        self._out.append(RecordVerdict(verdict=verdict, request=request))
        if intent is not None:
            self._next_intent = int(intent.client_order_id.rpartition("-")[2]) + 1
            order = self._tracker.track(intent)
            self._tracker.apply(intent.client_order_id, OrderEvent.SUBMIT, self.portfolio.now_ns)
            book.busy = True
            self.counters.orders += 1
            self._out.append(SubmitOrder(intent=intent, deadline=intent.created_at + self.settings.submit_deadline))
            if book.order_listeners:
                self._tell_order(book, order)
        elif not verdict.approved:
            blocked = self.counters.blocked
            blocked[verdict.guard] = blocked.get(verdict.guard, 0) + 1
            if verdict.stage is Stage.PROTECTIONS:
                self._alert("protections", f"{verdict.signal.symbol}: protection active", verdict.reason)
            elif verdict.guard == RULES_NOT_LOADED:
                self._out.append(LoadSecurity(symbol=verdict.signal.symbol))
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
            ),
            waiting.request,
        )

    # -- orders: what the venue says ------------------------------------------------------------

    def _on_order_updated(self, event: OrderUpdated) -> None:
        self._advance(event.ts)
        self._take_report(event.report, event.source)

    def _on_order_filled(self, event: OrderFilled) -> None:
        self._advance(event.ts)
        order = self._tracker.apply_execution(event.execution)
        if order is not None:
            self._take_counted((order, event.execution))
        elif self._tracker.adopted:
            self._take_counted()
        elif self._tracker.is_orphan(event.execution.execution_id):
            self.others.on_orphan(event.execution)
        if event.report is not None:
            self._take_report(event.report, event.source)
        elif self._tracker.discrepancies:
            self._report_discrepancies()

    def _take_counted(self, *counted: tuple[InFlightOrder, Execution]) -> None:
        """Book what the tracker has just counted, and with it the executions that were orphans until now.

        All of it before anyone is told: whoever decides on the first must see the position after the last.
        """
        if self._tracker.adopted:
            adopted = self._tracker.take_adopted()
            for _, execution in adopted:
                self.others.give_back(execution)
            counted += tuple(adopted)
        portfolio = self.portfolio
        for order, execution in counted:
            before = portfolio.equity
            portfolio.book_fill(self._books[order.symbol], order, execution)
            if self.adjustments.state.waiting:
                self.adjustments.on_counted(execution)
            self.counters.executions += 1
            self._observe_equity(before)
        for order, execution in counted:
            for strategy in self._books[order.symbol].fill_listeners:
                tell(strategy, "on_fill", execution, order)
            self._order_changed(order)

    def _take_report(self, report: OrderReport, source: Source) -> None:
        order = self._tracker.get(report.client_order_id) or self._tracker.by_broker_id(report.broker_id)
        if order is None:
            self.reconciliation.note_orphan(report, self._alert)
            self.others.on_report(report)
            return
        before = order.status
        changed = self._tracker.apply_report(report, source, self.portfolio.now_ns)
        if self._tracker.adopted:
            self._take_counted()
        if self._tracker.discrepancies:
            self._report_discrepancies()
        if changed:
            if order.status is OrderStatus.REJECTED and before is not OrderStatus.REJECTED:
                self._alert("trading", f"{order.symbol}: order rejected by the venue", order.client_order_id)
            self._order_changed(order)
        if order.is_open and order.broker_id:
            # Its closing word may have got lost on a socket that looks well: the order itself is asked now and then.
            if self.unknowns.state.asked:
                self.unknowns.state.asked.pop(order.client_order_id, None)
            self.timers.setdefault(
                LOOKUP_TIMER + order.client_order_id, self.portfolio.now_ns + self.settings.open_order_interval
            )
        elif order.status is OrderStatus.UNKNOWN:
            self.unknowns.on_found_another(order)
        if order.fills_missing and order.is_closed:
            self.timers.setdefault(_RECHECK, self.portfolio.now_ns + self.settings.lookup_interval)

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
        if event.name == _RECHECK:
            self._reconcile("recheck")
        elif event.name.startswith(LOOKUP_TIMER):
            self.unknowns.on_timer(event.name.removeprefix(LOOKUP_TIMER))

    # -- the run --------------------------------------------------------------------------------

    def _on_epoch_started(self, event: EpochStarted) -> None:
        self.unknowns.on_stream_lost(self.portfolio.now_ns)  # nobody listened from the last run's end to now
        self._advance(event.ts)
        invariant(not self.journal_id or self.journal_id == event.journal_id, "an epoch of another journal")
        self.journal_id, self.epoch = event.journal_id, event.epoch
        self.portfolio.verified = False
        self._stopping = False
        for book in self._books.values():
            if book.exit is not None:
                book.exit.request = None  # whoever waited for its verdict is gone
        for symbol in self._books:
            self._out.append(LoadSecurity(symbol=symbol))
        self._out.append(QueryAccount())
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
        self.unknowns.on_stream_connected(event.ts)
        if self.portfolio.account is not None:
            # What happened while nobody listened was streamed to nobody.
            self._reconcile("reconnect")

    def _on_stream_lost(self, event: StreamLost) -> None:
        self._advance(event.ts)
        if event.stream == USER_STREAM:
            self.unknowns.on_stream_lost(event.ts)
        self._alert("system", f"{event.stream} stream lost", event.reason)

    # -- reconciliation -------------------------------------------------------------------------

    def _reconcile(self, reason: str) -> None:
        self.reconciliation.is_current = False
        self._out.append(Reconcile(reason=reason, since=self.reconciliation.since, asked_at=self.portfolio.now_ns))

    def _on_broker_reported(self, event: BrokerReported) -> None:
        self._advance(event.ts)
        told = {report.broker_id for report in event.orders if self._tracker.get(report.client_order_id) is not None}
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
            self._out.append(LookupOrder(client_order_id=order.client_order_id))
        if outcome.recheck_after is not None:
            self.timers.setdefault(_RECHECK, event.ts + outcome.recheck_after)

    def _on_reconcile_requested(self, event: ReconcileRequested) -> None:
        self._advance(event.ts)
        self._reconcile(event.reason)

    def _on_reconcile_failed(self, event: ReconcileFailed) -> None:
        self._advance(event.ts)
        self.timers.setdefault(_RECHECK, event.ts + self.settings.recheck_after)

    def _on_venue_adjusted(self, event: VenueAdjusted) -> None:
        self._advance(event.ts)
        before = self.portfolio.equity
        if self.adjustments.on_adjusted(event):
            self._observe_equity(before)
            self.timers.setdefault(_RECHECK, event.ts + self.settings.recheck_after)

    # -- inside ---------------------------------------------------------------------------------

    def _observe_equity(self, before: float | None = None) -> None:
        """Tell the protections; before the venue has named our money there is nothing to tell."""
        if self.portfolio.account is not None:
            self.protections.observe_equity(self.portfolio.now_ns, self.portfolio.equity, before=before)

    def _take_out(self) -> Sequence[Command]:
        if not self._out:
            return _NOTHING
        out, self._out = self._out, []
        return out

    def _advance(self, ts: int) -> None:
        self.portfolio.now_ns = max(self.portfolio.now_ns, ts)

    def _advanced(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        """A handler outside this class, after our time has moved on to the event's."""

        def handle(event: Any) -> None:
            self._advance(event.ts)
            handler(event)

        return handle

    def _emit(self, command: Command) -> None:
        self._out.append(command)

    def _order_changed(self, order: InFlightOrder) -> None:
        book = self._books[order.symbol]
        self.unknowns.on_heard(order)
        if order.is_closed and (book.fee_uncertainty or self.portfolio.cash_uncertainty):
            self.timers.setdefault(_RECHECK, self.portfolio.now_ns + self.settings.recheck_after)
        book.busy = (
            book.exit is not None
            or self._tracker.has_open(order.symbol)
            or (self._tracker.missing_count > 0 and bool(self.portfolio.closed_with_fills_missing(order.symbol)))
        )
        if book.order_listeners:
            self._tell_order(book, order)
        if book.exit is not None:
            self._continue_exit(book)

    def _tell_order(self, book: SymbolBook, order: InFlightOrder) -> None:
        for strategy in book.order_listeners:
            tell(strategy, "on_order", order)

    def _alert(self, channel: str, title: str, details: str = "") -> None:
        self._out.append(SendAlert(channel=channel, title=title, details=details))


_UNTRUSTWORTHY = frozenset({DiscrepancyKind.MISMATCH, DiscrepancyKind.SECOND_ORDER})


def _stopping_verdict(verdict: Verdict) -> Verdict:
    return Verdict(
        ts=verdict.ts,
        approved=False,
        stage=Stage.RISK,
        signal=verdict.signal,
        guard="stopping",
        reason="the bot is stopping",
        observed=verdict.observed,
    )
