"""The asyncio shell around the kernel: inbox, journal, outbox, timers.

One task takes events in turn. For each: append it to the journal, show it to the kernel, append what
the kernel answered; if an order request is among the answers, make all of it durable; then release
the answers to the outbox. So no order request leaves before its intent is on disk (P1), and one sync
covers every event before it.

If the journal fails, or a strategy raises, or the kernel finds itself in an impossible state, the
runner stops: it raises, and what is in the journal is what the next run starts from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import structlog

from holdfast.journal import EpochRecord, Journal
from holdfast.kernel import Kernel
from holdfast.kernel.looks import REASONS, RECHECK
from holdfast.model import Signal, TradingState, Verdict
from holdfast.model.commands import ORDER_COMMANDS, Command, RecordVerdict
from holdfast.model.errors import JournalError, OrderDroppedError, StrategyError
from holdfast.model.events import (
    EpochStarted,
    Event,
    ReconcileRequested,
    ShutdownStarted,
    SignalReceived,
    StateHashed,
    TimerFired,
    TradingStateChanged,
)
from holdfast.runner.inbox import Inbox
from holdfast.runner.outbox import Outbox, Timing
from holdfast.runner.ports import AlertPort, Brake, BrokerPort
from holdfast.runner.recovery import Recovery, recover
from holdfast.runner.snapshots import SNAPSHOT_EVERY, Snapshots
from holdfast.time import Clock

_log = structlog.get_logger(__name__)

# Records that may wait in memory while nothing is being ordered. Losing them costs a backfill.
_FLUSH_RECORDS = 2_000
_FLUSH_SECONDS = 1.0
# After this many events in a row, sockets and the status API get a turn.
_EVENTS_PER_TURN = 64
_ENDED = "the bot has ended"


class Runner:
    """Drives one kernel live.

    Args:
        kernel: What decides.
        journal: Where everything is written first.
        broker: Where orders go.
        alerts: Where messages to people go.
        clock: Whose time events get.
        serial: Commands one after the other, and no market event while one is out: for replayed sessions.
        brake: What may stop an order from outside at the last moment.
        snapshot_every: Records between two snapshots of the kernel; 0: none is taken, and none is used.

    Attributes:
        outbox_kind: What carries out commands; a subclass of the runner may name another.
        observers: Called with each event after the kernel has handled it. Read models live here; they may not raise.
    """

    outbox_kind: type[Outbox] = Outbox

    def __init__(
        self,
        kernel: Kernel,
        journal: Journal,
        broker: BrokerPort,
        alerts: AlertPort,
        clock: Clock,
        *,
        inbox: Inbox | None = None,
        serial: bool = False,
        brake: Brake | None = None,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self.kernel = kernel
        self.journal = journal
        self.clock = clock
        self.inbox = inbox or Inbox()
        self.outbox = self.outbox_kind(
            broker, alerts, self.inbox, clock, self._trading_state, serial=serial, brake=brake
        )
        self.before_market: Callable[[], Awaitable[None]] | None = None
        self.observers: list[Callable[[Event], None]] = []
        self.snapshots = Snapshots(kernel, journal, alerts, every=snapshot_every)
        self._serial = serial
        self._paused = False
        self._quiet = asyncio.Event()
        self._trusted = True
        self._requests = count(1)
        self._verdicts: dict[int, asyncio.Future[Verdict]] = {}
        self._ended = False
        self._buffered = 0
        self._unsynced = asyncio.Event()

    # -- a run's beginning ----------------------------------------------------------------------

    def recover(self, *, config: str | None = None, strategy: str = "", books_only: bool = False) -> Recovery:
        """Rebuild the kernel from the journal: the whole of it, or, told our versions, its newest snapshot of the same.

        Args:
            config: Hash of the configuration now, as in ``EpochRecord``; None: whatever the journal has is shown.
            strategy: The strategies now, likewise.
            books_only: Nothing trades here, and a snapshot of whatever did will do.
        """
        config = config if self.snapshots.every else None
        recovery = recover(self.journal, self.kernel, config=config, strategy=strategy, books_only=books_only)
        self.snapshots.last = recovery.snapshot
        return recovery

    async def begin(self, epoch: EpochRecord) -> None:
        """Start a new epoch: ask the venue for everything, look up what was in flight."""
        self.snapshots.epoch = epoch
        try:
            self.journal.append_epoch(epoch)
        except JournalError:
            self._trusted = False
            raise
        await self._process(EpochStarted(ts=epoch.started_at, epoch=epoch.epoch, journal_id=self.journal.intent_prefix))

    # -- what others may ask --------------------------------------------------------------------

    async def submit(self, signal: Signal) -> Verdict:
        """Send a signal through the inbox and the whole guarded path; returns its verdict.

        Raises:
            OrderDroppedError: The bot has ended, or ends before it comes to a verdict.
        """
        if self._ended:
            raise OrderDroppedError(_ENDED)
        request = next(self._requests)
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._verdicts[request] = verdict
        self.inbox.post(lambda ts: (SignalReceived(ts=ts, signal=signal, request=request),))
        try:
            return await verdict
        finally:
            self._verdicts.pop(request, None)

    def change_state(self, state: TradingState, reason: str) -> None:
        """Change what the bot may do; recorded, and so still in force after a restart."""
        self.inbox.post(lambda ts: (TradingStateChanged(ts=ts, state=state, reason=reason),))

    # -- running --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take events until ``stop``. Raises what went wrong, if anything did."""
        flusher = asyncio.create_task(self._flush_regularly())
        try:
            while not self._paused:
                self.inbox.activity.clear()
                await self._pump()
                if not self._paused:
                    await self._snapshot_if_due()
                    self._quiet.set()
                    await self._wait()
        except BaseException:
            self._end()  # whoever waits for a verdict must not wait for ever
            raise
        finally:
            flusher.cancel()
            await asyncio.gather(flusher, return_exceptions=True)

    async def quiet(self) -> None:
        """Return once ``run`` has handled all that has arrived, and every command is carried out."""
        while self.inbox.depth or self.outbox.unfinished:
            self._quiet.clear()
            await self._quiet.wait()

    async def settle(self, *, blocked: Callable[[], bool]) -> None:
        """Handle everything until all is quiet, or what is left waits for the clock (``blocked``)."""
        while True:
            self.inbox.activity.clear()
            await self._pump()
            if self._paused:
                return
            if self.inbox.has_posts:
                continue
            if self.outbox.unfinished == 0 or blocked():
                await self._snapshot_if_due()
                return
            await self.inbox.activity.wait()

    def next_timer(self) -> int | None:
        """When the kernel wants to be woken next (UTC ns)."""
        return min(self.kernel.timers.values(), default=None)

    def pause(self) -> None:
        """Let ``run`` end after the event that it is at."""
        self._paused = True
        self.inbox.activity.set()

    async def shut_down(self, *, cancel_orders: bool, patience_seconds: float) -> None:
        """No new orders; cancel what is open, or leave it; give the venue a moment to answer; write everything.

        Where fees of the last fills are uncertain, the books are compared once more when nothing is open. Each of the two
        waits takes ``patience_seconds`` at most.

        After a failure of the journal, or an impossible state of the kernel, nothing more is decided or sent.
        """
        self._paused = True
        self.outbox.closed = True
        try:
            if self._trusted and not isinstance(self.outbox.failure, JournalError):
                self.outbox.failure = None
                await self._process(ShutdownStarted(ts=self.clock.now_ns(), cancel_orders=cancel_orders))
                if cancel_orders:
                    await self._pump_while(self.kernel.portfolio.tracker.open_orders, patience_seconds)
                    await self._settle_fees(patience_seconds)
                await self._snapshot()
        finally:
            self._end()
            await self.outbox.stop()

    async def _settle_fees(self, patience_seconds: float) -> None:
        """What the last fills were charged can be told once nothing is open: compare the books a last time."""
        kernel = self.kernel
        if RECHECK not in kernel.timers or kernel.portfolio.tracker.open:
            return
        compared = kernel.reconciliation.count
        await self._process(ReconcileRequested(ts=self.clock.now_ns(), reason=REASONS[RECHECK]))
        await self._pump_while(lambda: kernel.reconciliation.count == compared, patience_seconds)

    async def _pump_while(self, waiting: Callable[[], object], patience_seconds: float) -> None:
        """Handle the venue's answers, and nothing of the market, until what is waited for is there."""
        try:
            async with asyncio.timeout(patience_seconds):
                while waiting():
                    self.inbox.activity.clear()
                    try:
                        await self._pump(market=False)
                    except StrategyError as error:
                        # What it thinks of the venue's answers matters no more; the next cancel does.
                        _log.warning("strategy failed during shutdown", reason=str(error))
                        continue
                    if waiting():
                        await self.inbox.activity.wait()
        except TimeoutError:
            return  # all stays as it is known: open, unknown or uncertain; the next run asks the venue

    # -- inside ---------------------------------------------------------------------------------

    async def _snapshot_if_due(self) -> None:
        """Called when all is quiet: nothing that was decided waits for this."""
        if self.snapshots.is_due:
            await self._snapshot()

    async def _snapshot(self) -> None:
        """Record the state's hash, and keep the state where there is one to keep."""
        if self.snapshots.is_void:
            return
        digest, state = self.snapshots.take()
        await self._process(StateHashed(ts=self.clock.now_ns(), digest=digest))
        self.snapshots.keep(self.clock.now_ns(), digest, state)
        await self._sync()

    async def _pump(self, *, market: bool = True) -> None:
        """Take events while there are any that may be taken now."""
        taken = 0
        while not self._paused or not market:
            self._raise_failure()
            if self._buffered >= _FLUSH_RECORDS:
                await self._sync()
            taken += 1
            if taken % _EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)
            post = self.inbox.take_posts()
            if post is not None:
                for event in post(self.clock.now_ns()):
                    await self._process(event)
                continue
            if not market or (self._serial and self.outbox.unfinished):
                return
            event_due = self._due_timer()
            if event_due is None and self.before_market is not None and self.inbox.depth:
                await self.before_market()
                if self.inbox.has_posts:
                    continue  # what it brought comes first, with all that follows from it
            event_due = event_due or self.inbox.take_market()
            if event_due is None:
                return
            await self._process(event_due)

    def _due_timer(self) -> Event | None:
        timers = self.kernel.timers
        if not timers:
            return None
        name = min(timers, key=timers.__getitem__)
        now = self.clock.now_ns()
        return TimerFired(ts=now, name=name) if timers[name] <= now else None

    async def _process(self, event: Event) -> None:
        try:
            await self._take(event)
        except StrategyError:
            self.snapshots.is_void = True  # stopped in the middle of an event: no state that one could go on from
            raise
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._trusted = False  # the kernel may be ahead of its log, or in a state that cannot be
            raise

    async def _take(self, event: Event) -> None:
        taken_at = self.clock.now_ns()
        self.journal.append_event(event)
        commands = self.kernel.handle(event)
        for observe in self.observers:
            observe(event)
        self._buffered += 1
        self._unsynced.set()
        if not commands:
            return
        self._buffered += 1
        self.journal.append_commands(commands)
        timing: Timing | None = None
        if any(isinstance(command, ORDER_COMMANDS) for command in commands):
            decided_at = self.clock.now_ns()
            await self._sync()
            timing = Timing(taken_at, decided_at, self.clock.now_ns())
        self._release(commands, timing)

    def _release(self, commands: Sequence[Command], timing: Timing | None = None) -> None:
        for command in commands:
            if isinstance(command, RecordVerdict) and command.request is not None:
                waiting = self._verdicts.get(command.request)
                if waiting is not None and not waiting.done():
                    waiting.set_result(command.verdict)
            self.outbox.start(command, timing)

    async def _sync(self) -> None:
        self._buffered = 0
        self._unsynced.clear()
        try:
            await self.journal.sync()
        except JournalError:
            self._trusted = False
            raise

    async def _flush_regularly(self) -> None:
        """A record waits for a second at most; where there is none, nobody wakes."""
        while True:
            await self._unsynced.wait()
            await asyncio.sleep(_FLUSH_SECONDS)
            if self._buffered:
                try:
                    await self._sync()
                except JournalError as error:
                    self.outbox.failure = self.outbox.failure or error
                    self.inbox.activity.set()
                    return

    async def _wait(self) -> None:
        """Until something arrives, or the kernel's next timer is due."""
        due = self.next_timer()
        if due is None:
            await self.inbox.activity.wait()
            return
        alarm = asyncio.ensure_future(self.clock.wait_until(due))
        alarm.add_done_callback(self._on_alarm)
        try:
            await self.inbox.activity.wait()
        finally:
            alarm.cancel()

    def _on_alarm(self, alarm: asyncio.Future[None]) -> None:
        if not alarm.cancelled():
            self.inbox.activity.set()

    def _end(self) -> None:
        self._ended = True
        for verdict in self._verdicts.values():
            if not verdict.done():
                verdict.set_exception(OrderDroppedError(_ENDED))

    def _raise_failure(self) -> None:
        if self.outbox.failure is not None:
            raise self.outbox.failure

    def _trading_state(self) -> TradingState:
        return self.kernel.portfolio.trading_state
