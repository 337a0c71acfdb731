"""Carries out commands; whatever comes of one returns as an event through the inbox.

What happens when a request fails, by when it fails:

    command   before it left               while it is out              after the answer
    submit    SubmitDropped                SubmitUnknown                OrderUpdated | OrderRefused
    replace   as a submit, of the new order; the old one is the stream's affair
    cancel    CancelUnknown                CancelUnknown                (the stream tells) | CancelRefused
    look-up   LookupFailed                 LookupFailed                 OrderUpdated | LookupMissed
    account   nothing; asked again later   nothing                      AccountUpdated
    asset     SecurityUnavailable          SecurityUnavailable          SecurityLoaded | SecurityUnavailable
    report    ReconcileFailed              ReconcileFailed              BrokerReported
    stream    nothing: it is lost already  StreamLost                   StreamConnected
    close     PositionCloseFailed          PositionCloseFailed          PositionCloseAccepted | PositionCloseFailed

An opening order waits for the order stream (see ``stream_gate``) before it asks for its turn at the throttler; where the
stream is lost before the turn comes, it waits again.

Live, commands run side by side. In lock-step with a replayed session they run one after the other,
as they do in a backtest, so that the order of events is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from holdfast.model import AccountActivity, OrderIntent, OrderReport, Source, TradingState
from holdfast.model.commands import (
    CancelOrder,
    ClosePosition,
    Command,
    LoadSecurity,
    LookupOrder,
    QueryAccount,
    Reconcile,
    ReplaceOrder,
    RestartStream,
    SendAlert,
    SubmitOrder,
)
from holdfast.model.errors import (
    BrokerError,
    BrokerRefusedError,
    OrderDroppedError,
    OutcomeUnknownError,
    UnknownSymbolError,
)
from holdfast.model.events import (
    AccountUpdated,
    BrokerReported,
    CancelRefused,
    CancelUnknown,
    LookupFailed,
    LookupMissed,
    OrderRefused,
    OrderReleased,
    OrderUpdated,
    PositionCloseAccepted,
    PositionCloseFailed,
    ReconcileFailed,
    SecurityLoaded,
    SecurityUnavailable,
    SubmitDropped,
    SubmitUnknown,
    VenueAdjusted,
)
from holdfast.runner.inbox import Inbox
from holdfast.runner.ports import AlertPort, Brake, BrokerPort
from holdfast.runner.stream_gate import Place, StreamGate
from holdfast.time import Clock

_log = structlog.get_logger(__name__)


class Timing(msgspec.Struct, frozen=True, gc=False):
    """When the event of a command was taken, decided on and durable, by the bot's clock (UTC ns)."""

    taken_at: int
    decided_at: int
    synced_at: int


class Outbox:
    """Executes what the kernel wants done.

    Args:
        broker: Where orders go.
        alerts: Where messages to people go.
        inbox: Where results go.
        clock: For deadlines.
        trading_state: Asked once more at the moment an order would leave.
        serial: One command at a time, in order.
        brake: Asked at the same moment, whatever the kernel's own trading state is: it works from outside.

    Attributes:
        gate: Where opening orders wait for the order stream; without a stream, open.
    """

    def __init__(
        self,
        broker: BrokerPort,
        alerts: AlertPort,
        inbox: Inbox,
        clock: Clock,
        trading_state: Callable[[], TradingState],
        *,
        serial: bool = False,
        brake: Brake | None = None,
    ) -> None:
        self._brake = brake
        self._broker = broker
        self._alerts = alerts
        self._inbox = inbox
        self._clock = clock
        self._trading_state = trading_state
        self._serial = serial
        self._queue: asyncio.Queue[Command] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timings: dict[str, Timing] = {}
        self._unfinished = 0
        self._told: dict[str, None] = {}  # activities that were posted to the inbox
        self.failure: Exception | None = None
        self.requests_sent = 0  # submits and cancels that left: each of them makes the venue send updates
        self.gate = StreamGate(clock)
        self._actions: dict[type[Any], Callable[[Any], Awaitable[None]]] = {
            SubmitOrder: self._submit,
            CancelOrder: self._cancel,
            LookupOrder: self._look_up,
            QueryAccount: self._query_account,
            LoadSecurity: self._load_security,
            Reconcile: self._reconcile,
            RestartStream: self._restart_stream,
            ClosePosition: self._close_position,
            ReplaceOrder: self._replace,
        }

    @property
    def closed(self) -> bool:
        """The bot is stopping: no new order leaves any more; cancels and look-ups do."""
        return self.gate.shut.is_set()

    @closed.setter
    def closed(self, is_closed: bool) -> None:
        if is_closed:
            self.gate.shut.set()
        else:
            self.gate.shut.clear()

    @property
    def unfinished(self) -> int:
        """Commands started and not finished."""
        return self._unfinished

    def start(self, command: Command, timing: Timing | None = None) -> None:
        """Begin a command; returns at once. With its timing, an order's release is told when it comes to it."""
        if isinstance(command, SendAlert):
            self._alerts.notify_nowait(command.channel, command.title, command.details)
            return
        if type(command) not in self._actions:
            return  # a verdict: recorded in the journal, nothing to carry out
        if timing is not None and isinstance(command, SubmitOrder | ReplaceOrder):
            self._timings[command.intent.client_order_id] = timing
        self._unfinished += 1
        if self._serial:
            self._queue.put_nowait(command)
            if not self._tasks:
                self._spawn(self._work())
        else:
            self._spawn(self._run(command))

    async def stop(self) -> None:
        """End whatever is still running; outcomes stay unknown and are looked up by the next run."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while True:
            await self._run(await self._queue.get())

    async def _run(self, command: Command) -> None:
        try:
            await self._actions[type(command)](command)
        except Exception as error:  # noqa: BLE001 - the boundary of a task: kept, and raised by the runner
            self.failure = self.failure or error
        finally:
            self._unfinished -= 1
            self._inbox.activity.set()

    # -- one method a command -------------------------------------------------------------------

    async def _submit(self, command: SubmitOrder) -> None:
        await self._send(command.intent, command.deadline, self._broker.place)

    async def _replace(self, command: ReplaceOrder) -> None:
        def replace(intent: OrderIntent, *, admit: Callable[[], str | None]) -> Awaitable[OrderReport]:
            return self._broker.replace(intent, command.broker_id, admit=admit)

        await self._send(command.intent, command.deadline, replace)

    async def _send(self, intent: OrderIntent, deadline: int, place: Place) -> None:
        order_id = intent.client_order_id
        # By our own clock from here on: a bar may reach us late, and that is not the order's delay.
        latest = self._clock.now_ns() + deadline - intent.created_at
        timing = self._timings.pop(order_id, None)

        def admit() -> str | None:
            reason = self._stopped(reduces=intent.reduce_only)
            if reason is not None:
                return reason
            if not intent.reduce_only and self._clock.now_ns() > latest:
                return "its deadline had passed before it could leave"
            self.requests_sent += 1
            if timing is not None:
                self._tell_released(order_id, timing)
            return None

        try:
            report = await self.gate.send(intent, latest, admit, place)
        except OrderDroppedError as error:
            reason = str(error)
            self._inbox.post(lambda ts: (SubmitDropped(ts=ts, client_order_id=order_id, reason=reason),))
        except BrokerRefusedError as error:
            reason, code, how = error.message, error.code, error.outcome
            self._inbox.post(
                lambda ts: (OrderRefused(ts=ts, client_order_id=order_id, reason=reason, code=code, outcome=how),)
            )
        except OutcomeUnknownError as error:
            reason, how = error.message, error.outcome
            self._inbox.post(lambda ts: (SubmitUnknown(ts=ts, client_order_id=order_id, reason=reason, outcome=how),))
        else:
            self._inbox.post(lambda ts: (OrderUpdated(ts=ts, report=report, source=Source.RESPONSE),))

    def _stopped(self, *, reduces: bool) -> str | None:
        """Why no order of this kind may leave now; None where one may."""
        if self.closed:
            return "the bot is stopping"
        state = self._trading_state()
        if state is TradingState.HALTED or (state is TradingState.REDUCING and not reduces):
            return f"trading is {state}"
        return None if self._brake is None else self._brake(reduces=reduces)

    async def _close_position(self, command: ClosePosition) -> None:
        symbol = command.symbol

        def admit() -> str | None:
            reason = self._stopped(reduces=True)
            if reason is None:
                self.requests_sent += 1
            return reason

        try:
            report = await self._broker.request_close(symbol, admit=admit)
        except (OrderDroppedError, BrokerError) as error:
            reason = str(error)
            self._inbox.post(lambda ts: (PositionCloseFailed(ts=ts, symbol=symbol, reason=reason),))
        else:
            self._inbox.post(lambda ts: (PositionCloseAccepted(ts=ts, symbol=symbol, report=report),))

    def _tell_released(self, order_id: str, timing: Timing) -> None:
        granted_at = self._clock.now_ns()
        self._inbox.post(
            lambda ts: (
                OrderReleased(
                    ts=ts,
                    client_order_id=order_id,
                    taken_at=timing.taken_at,
                    decided_at=timing.decided_at,
                    synced_at=timing.synced_at,
                    granted_at=granted_at,
                ),
            )
        )

    async def _cancel(self, command: CancelOrder) -> None:
        order_id = command.client_order_id
        self.requests_sent += 1
        try:
            await self._broker.request_cancel(command.broker_id)
        except BrokerRefusedError as error:
            reason, how = error.message, error.outcome
            self._inbox.post(lambda ts: (CancelRefused(ts=ts, client_order_id=order_id, reason=reason, outcome=how),))
        except OutcomeUnknownError as error:
            reason, how = error.message, error.outcome
            self._inbox.post(lambda ts: (CancelUnknown(ts=ts, client_order_id=order_id, reason=reason, outcome=how),))

    async def _look_up(self, command: LookupOrder) -> None:
        order_id = command.client_order_id
        try:
            if command.broker_id:
                report = await self._broker.fetch_order(command.broker_id)
            else:
                report = await self._broker.find_order(order_id)
        except BrokerError as error:
            reason, how = error.message, error.outcome
            self._inbox.post(lambda ts: (LookupFailed(ts=ts, client_order_id=order_id, reason=reason, outcome=how),))
            return
        if report is None:
            self._inbox.post(lambda ts: (LookupMissed(ts=ts, client_order_id=order_id),))
        else:
            self._inbox.post(lambda ts: (OrderUpdated(ts=ts, report=report, source=Source.LOOKUP),))

    async def _restart_stream(self, command: RestartStream) -> None:
        self.gate.restart(command.reason)

    async def _query_account(self, _command: QueryAccount) -> None:
        try:
            account = await self._broker.fetch_account()
        except BrokerError as error:
            _log.warning("account query failed", reason=error.message)
            return
        self._inbox.post(lambda ts: (AccountUpdated(ts=ts, account=account),))

    async def _load_security(self, command: LoadSecurity) -> None:
        try:
            asset = await self._broker.fetch_asset(command.symbol)
        except (UnknownSymbolError, BrokerError) as error:
            reason = str(error)
            self._inbox.post(lambda ts: (SecurityUnavailable(ts=ts, symbol=command.symbol, reason=reason),))
            return
        self._inbox.post(lambda ts: (SecurityLoaded(ts=ts, asset=asset),))

    async def _reconcile(self, command: Reconcile) -> None:
        try:
            # Executions last: whatever moved a position that we were shown is then among them.
            positions = await self._broker.fetch_positions()
            account = await self._broker.fetch_account()
            orders = await self._broker.fetch_orders(command.since)
            executions = await self._broker.fetch_executions(command.since)
            adjustments = await self._adjustments(command.since)
        except BrokerError as error:
            reason = error.message
            self._inbox.post(lambda ts: (ReconcileFailed(ts=ts, reason=reason),))
            return
        self._inbox.post(
            lambda ts: (
                *(VenueAdjusted(ts=ts, activity=activity) for activity in adjustments),
                BrokerReported(
                    ts=ts,
                    reason=command.reason,
                    account=account,
                    orders=orders,
                    executions=executions,
                    positions=positions,
                    asked_at=command.asked_at,
                ),
            )
        )

    async def _adjustments(self, since: int) -> list[AccountActivity]:
        """What changed the account without a trade, each told once a run.

        Where it cannot be learned the comparison goes on without it: what it would have explained is then drift.
        """
        try:
            found = await self._broker.fetch_adjustments(since)
        except BrokerError as error:
            _log.warning("account activities could not be fetched", reason=error.message)
            return []
        new = [activity for activity in found if activity.activity_id not in self._told]
        self._told.update(dict.fromkeys(activity.activity_id for activity in new))
        return new
