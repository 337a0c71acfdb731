"""The venue without the wire: the matching engine answers the kernel's commands at once.

Each command has the same consequences, in the same order, as over HTTP and WebSocket in lock-step:
that is what makes a backtest and a replayed session give the same orders (P10).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from holdfast.model import (
    Account,
    AccountActivity,
    ActivityKind,
    BrokerPosition,
    Execution,
    OrderClass,
    OrderIntent,
    OrderReport,
    OrderTerms,
    Source,
)
from holdfast.model.commands import (
    CancelOrder,
    Command,
    LoadSecurity,
    LookupOrder,
    QueryAccount,
    Reconcile,
    ReplaceOrder,
    SubmitOrder,
)
from holdfast.model.events import (
    AccountUpdated,
    BrokerReported,
    CancelRefused,
    Event,
    LookupMissed,
    OrderAccepted,
    OrderFilled,
    OrderRefused,
    OrderUpdated,
    SecurityLoaded,
    SecurityUnavailable,
    VenueAdjusted,
)
from holdfast.model.terms import terms_or_none
from holdfast.venue.matching.engine import MatchingEngine
from holdfast.venue.matching.orders import EngineEvent, Exits, NewOrder, Refusal, Terms, VenueExecution, VenueOrder
from holdfast.venue.matching.replacing import Replacement

_STREAM = Source.STREAM


class InProcessBroker:
    """Answers commands from a matching engine.

    Args:
        engine: Where orders go.
        deliver: Takes each resulting event.
        terse: Say everything once: acknowledgements and fills do not describe the order again, and reports do not list
            the executions that were told. A backtest, which loses no message, needs no repetition.
    """

    def __init__(self, engine: MatchingEngine, deliver: Callable[[Event], None], *, terse: bool = False) -> None:
        self._engine = engine
        self._deliver = deliver
        self._terse = terse
        self._reported = 0  # executions that earlier reports contained
        self.actions: dict[type[Any], Callable[[Any, int], None]] = {
            SubmitOrder: self._submit,
            CancelOrder: self._cancel,
            LookupOrder: self._look_up,
            QueryAccount: self._query_account,
            LoadSecurity: self._load_security,
            Reconcile: self._reconcile,
            ReplaceOrder: self._replace,
        }

    def execute(self, command: Command, now: int) -> None:
        """Carry out a command at ``now`` (UTC ns). Verdicts and alerts need nothing done: they are not in ``actions``."""
        action = self.actions.get(command.__class__)
        if action is not None:
            action(command, now)

    def deliver_events(self, now: int) -> None:
        """Hand over what the engine has done since the last call."""
        deliver = self._deliver
        for event in self._engine.take_events():
            execution = event.execution
            if execution is None:
                deliver(OrderUpdated(ts=now, report=_report_at(event), source=_STREAM))
            elif event.kind == "trade_bust":
                deliver(VenueAdjusted(ts=now, activity=_busted(execution, event.at)))
            else:
                report = None if self._terse else _report_at(event)
                deliver(OrderFilled(ts=now, execution=_execution(execution), source=_STREAM, report=report))

    # -- one method a command -------------------------------------------------------------------

    def _submit(self, command: SubmitOrder, now: int) -> None:
        intent = command.intent
        try:
            order = self._engine.submit(new_order_of(intent), now)
        except Refusal as refusal:
            self._deliver(
                OrderRefused(ts=now, client_order_id=intent.client_order_id, reason=refusal.message, code=refusal.code)
            )
            return
        if intent.terms is not None and intent.terms.is_group:
            self._deliver(OrderUpdated(ts=now, report=whole_report_of(order, self._engine), source=Source.RESPONSE))
            self.deliver_events(now)
        elif self._terse:
            self._engine.take_events()  # that it is new, and nothing else: nothing trades inside a submit
            self._deliver(OrderAccepted(ts=now, client_order_id=intent.client_order_id, broker_id=order.id))
        else:
            self.deliver_events(now)

    def _replace(self, command: ReplaceOrder, now: int) -> None:
        intent = command.intent
        try:
            self._engine.replace(command.broker_id, replacement_of(intent), now)
        except Refusal as refusal:
            self._deliver(
                OrderRefused(ts=now, client_order_id=intent.client_order_id, reason=refusal.message, code=refusal.code)
            )
            return
        self.deliver_events(now)

    def _cancel(self, command: CancelOrder, now: int) -> None:
        try:
            self._engine.cancel(command.broker_id, now)
        except Refusal as refusal:
            self._deliver(CancelRefused(ts=now, client_order_id=command.client_order_id, reason=refusal.message))
            return
        self.deliver_events(now)

    def _look_up(self, command: LookupOrder, now: int) -> None:
        engine = self._engine
        order = engine.order(command.broker_id) if command.broker_id else engine.by_client_id(command.client_order_id)
        if order is None:
            self._deliver(LookupMissed(ts=now, client_order_id=command.client_order_id))
        else:
            self._deliver(OrderUpdated(ts=now, report=whole_report_of(order, engine), source=Source.LOOKUP))

    def _query_account(self, _command: QueryAccount, now: int) -> None:
        self._deliver(AccountUpdated(ts=now, account=self._account()))

    def _load_security(self, command: LoadSecurity, now: int) -> None:
        asset = self._engine.asset(command.symbol)
        if asset is None:
            reason = f"asset not found for {command.symbol}"
            self._deliver(SecurityUnavailable(ts=now, symbol=command.symbol, reason=reason))
        else:
            self._deliver(SecurityLoaded(ts=now, asset=asset))

    def _reconcile(self, command: Reconcile, now: int) -> None:
        engine = self._engine
        executions = [] if self._terse else engine.activities(self._reported)
        self._reported += len(executions)
        self._deliver(
            BrokerReported(
                ts=now,
                reason=command.reason,
                account=self._account(),
                orders=tuple(whole_report_of(order, engine) for order in engine.orders()) if engine.open_count else (),
                executions=tuple(_execution(row) for row in executions),
                positions=tuple(
                    BrokerPosition(
                        symbol=p.symbol,
                        quantity=p.quantity,
                        avg_entry_price=p.avg_entry_price,
                        current_price=p.current_price,
                    )
                    for p in engine.positions()
                ),
                asked_at=command.asked_at,
            )
        )

    def _account(self) -> Account:
        view = self._engine.account()
        return Account(
            account_id="backtest",
            cash=view.cash,
            equity=view.equity,
            buying_power=view.buying_power,
            non_marginable_buying_power=view.non_marginable_buying_power,
            last_equity=view.last_equity,
            multiplier=view.multiplier,
            shorting_enabled=view.shorting_enabled,
        )


def new_order_of(intent: OrderIntent) -> NewOrder:
    """What an intent asks of the engine."""
    return NewOrder(
        intent.symbol,
        intent.side,
        intent.order_type,
        intent.time_in_force,
        intent.quantity,
        intent.limit_price,
        intent.client_order_id,
        None if intent.terms is None else _engine_terms(intent.terms, intent.limit_price),
    )


def _engine_terms(terms: OrderTerms, limit_price: Decimal | None) -> Terms:
    exits = None
    if terms.is_group:
        # An OCO is its own take-profit.
        take_profit = limit_price if terms.order_class is OrderClass.OCO else terms.take_profit
        exits = Exits(take_profit, terms.stop_loss, terms.stop_loss_limit)
    return Terms(
        stop_price=terms.stop_price,
        trail_price=terms.trail_price,
        trail_percent=terms.trail_percent,
        extended_hours=terms.extended_hours,
        order_class=terms.order_class,
        exits=exits,
    )


def replacement_of(intent: OrderIntent) -> Replacement:
    """What an intent that replaces an order asks of the engine."""
    terms = intent.terms
    if terms is None:
        return Replacement(intent.quantity, intent.limit_price, intent.client_order_id)
    return Replacement(
        None if terms.is_group else intent.quantity,  # of an exit the venue changes the price only
        intent.limit_price,
        intent.client_order_id,
        stop_price=terms.stop_price,
        trail=terms.trail_price or terms.trail_percent,
    )


def report_of(order: VenueOrder) -> OrderReport:
    """The engine's order in the kernel's words."""
    return _report(order, order)


def whole_report_of(order: VenueOrder, engine: MatchingEngine) -> OrderReport:
    """The engine's order in the kernel's words, with the orders that depend on it."""
    names = () if order.terms is None else order.terms.legs
    legs = (leg for name in names if (leg := engine.order(name)) is not None)
    return msgspec.structs.replace(report_of(order), legs=tuple(report_of(leg) for leg in legs))


def _report_at(event: EngineEvent) -> OrderReport:
    return _report(event.order, event)


def _report(order: VenueOrder, state: VenueOrder | EngineEvent) -> OrderReport:
    return OrderReport(
        broker_id=order.id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        status=state.status,
        quantity=order.quantity,
        filled_qty=state.filled_qty,
        filled_avg_price=state.filled_avg_price,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        limit_price=order.limit_price,
        submitted_at=order.submitted_at,
        terms=None if state.terms is None else _our_terms(state.terms),
    )


def _our_terms(terms: Terms) -> OrderTerms | None:
    return terms_or_none(
        OrderTerms(
            order_class=terms.order_class,
            stop_price=terms.stop_price,
            trail_price=terms.trail_price,
            trail_percent=terms.trail_percent,
            extended_hours=terms.extended_hours,
        )
    )


def _busted(row: VenueExecution, at: int) -> AccountActivity:
    label = "trade busted"
    return AccountActivity(
        activity_id=f"{label}:{row.execution_id}",
        kind=ActivityKind.BUST,
        label=label,
        at=at,
        symbol=row.symbol,
        execution_id=row.execution_id,
    )


def _execution(row: VenueExecution) -> Execution:
    return Execution(
        execution_id=row.execution_id,
        broker_id=row.order_id,
        symbol=row.symbol,
        side=row.side,
        quantity=row.quantity,
        price=row.price,
        at=row.at,
        cum_qty=row.cum_qty,
        client_order_id=row.client_order_id,
    )
