"""The one place where the parts are wired together.

A user's own code needs nothing else: build a container, start it, and use its parts.

    container = Container(config)
    await container.start()
    try:
        verdict = await container.process_signal({"symbol": "SPY", "side": "BUY", "quantity": 10})
    finally:
        await container.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import structlog

from holdfast.brokers import AlpacaConnector
from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_activities import revisions
from holdfast.brokers.alpaca_endpoints import trade_stream_url
from holdfast.di import report
from holdfast.di.assembly import make_strategies
from holdfast.di.bar_sources import make_source
from holdfast.di.config import Config, build
from holdfast.di.control import Control
from holdfast.di.epochs import config_hash, epoch_record, settings_of, strategy_versions
from holdfast.di.feed import Feed
from holdfast.di.parts import Parts
from holdfast.di.places import account_keys, configured_journal, trading_url
from holdfast.di.venue_link import VenueInfo, discover_venue
from holdfast.journal import EpochRecord, Journal, MemoryJournal
from holdfast.market import SecurityCache, SymbolPropertiesCache
from holdfast.model import AssetClass, Bar, Signal, Verdict
from holdfast.model.errors import BrokerError, ConfigurationError, OrderBlockedError, VenueError
from holdfast.model.events import (
    AccountUpdated,
    BrokerReported,
    Event,
    ReconcileFailed,
    ReconcileRequested,
    SecurityLoaded,
    StreamConnected,
    StreamLost,
)
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.net import Backoff, Throttler
from holdfast.notify import Notifier
from holdfast.realtime import ActivityStream, UserStreamTracker
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import ProtectionManager
from holdfast.runner import Recovery
from holdfast.runner.inbox import Inbox
from holdfast.runner.lockstep import LockstepClock
from holdfast.runner.monitor import Monitor
from holdfast.state import PositionStore
from holdfast.state.order_tracker import InFlightOrder, OrderTracker
from holdfast.strategies import Strategy
from holdfast.time import Clock, RealTimeClock, ScaledClock, get_clock, sessions_for

_log = structlog.get_logger(__name__)

# How far back a price is looked for when a signal comes for a symbol that no stream follows.
_PRICE_LOOKBACK = 30 * NS_PER_MINUTE
_CANCEL_PATIENCE_SECONDS = 2.0
_REPORT_PATIENCE_SECONDS = 5.0
_ACCOUNT_POLL_SECONDS = 60.0


class Container:
    """All systems, wired.

    Args:
        config: A ``Config``, or the guide's dictionary.
        strategies: What trades; default: what ``config.strategy`` names, where it has symbols.
        clock: Default: ``get_clock(config)``.
        journal: Default: the file or database that ``config.journal.path`` names, else memory.
        venue: What the built-in venue says of itself, where it is the other side (see ``connect``).
        parts: What the parts are made by; default: the real ones.

    Attributes:
        books_only: Set before the start: this run has no strategies and looks after what others left in the journal. It
            goes on from any snapshot, and what strategies would decide otherwise is not told.

    Raises:
        ConfigurationError: A setting is missing or wrong.
        JournalError: The journal cannot be opened.
    """

    def __init__(
        self,
        config: Config | Mapping[str, Any],
        *,
        strategies: Iterable[Strategy] | None = None,
        clock: Clock | None = None,
        journal: Journal | None = None,
        venue: VenueInfo | None = None,
        parts: Parts | None = None,
    ) -> None:
        parts = parts or Parts()
        self.config = config = config if isinstance(config, Config) else build(config)
        self.venue = venue
        self._strategies = make_strategies(config) if strategies is None else tuple(strategies)
        self._clock = clock or get_clock({"clock": config.clock})
        self._throttler = parts.throttler(config.limits, clock=self._clock)
        # People read messages in real time, however fast a replayed session runs; what happened in it has its time.
        self._notifier = parts.notifier(config.notify.channels(), RealTimeClock(), session=self._clock)
        self.control = Control(config, journal)
        keys = account_keys(config)
        self._broker = parts.connector(
            throttler=self._throttler,
            api_key=keys[0],
            api_secret=keys[1],
            base_url=trading_url(config),
            data_url=config.alpaca.data_url,
            feed=config.alpaca.feed,
            clock=self._clock,
            brake=self.control.brake,
        )
        self._security_cache = SecurityCache(SymbolPropertiesCache(self._broker))
        self.kernel = parts.kernel(config, self._strategies, clock=self._clock)
        self._user_stream = parts.user_stream(
            *keys,
            is_paper=config.account.mode == "paper",
            url=trade_stream_url(config.alpaca.base_url) if config.alpaca.base_url else None,
            clock=self._clock,
            backoff=self._backoff(),
            account_source=None if venue is not None and venue.is_lockstep else self._broker.get_account,
            # Once a minute of real time, however fast a replayed session runs.
            account_poll_seconds=_ACCOUNT_POLL_SECONDS * (1.0 if math.isinf(self._clock.rate) else self._clock.rate),
        )
        self._source = make_source(
            config, parts, self._broker, self._throttler, self._clock, is_replayed=venue is not None
        )
        inbox = Inbox()
        self.feed = Feed(
            config,
            self._source,
            self.kernel,
            inbox,
            self._clock,
            backoff=self._backoff,
            follow_time=self._follow_venue_time,
        )
        self.market_streams = self.feed.streams
        # Last, because it takes ownership of a file: nothing after this may fail.
        self._journal = journal or configured_journal(config)
        self.runner = parts.runner(
            self.kernel,
            self._journal,
            self._broker,
            self._notifier,
            self._clock,
            inbox=inbox,
            serial=venue is not None and venue.is_lockstep,
            brake=self.control.brake,
            # What is forgotten with the process need not be shortened.
            snapshot_every=0 if isinstance(self._journal, MemoryJournal) else config.journal.snapshot_every,
        )
        self.activity_stream: ActivityStream | None = None
        if config.alpaca.activity_stream and not self.is_lockstep:
            # A second witness of fills that can be resumed; in lock-step no message is ever lost.
            self.activity_stream = parts.activity_stream(
                *keys, trading_url(config), self.runner.inbox.post, clock=self._clock, backoff=self._backoff()
            )
        self._settings = settings_of(config, self._clock, own_strategies=strategies is not None)
        if isinstance(self._clock, LockstepClock):
            self._clock.on_wait = self.runner.inbox.activity.set
        if not self.is_lockstep:
            # In lock-step the venue stands still until we have heard everything: there is nothing to wait for.
            self.runner.outbox.gate.stream = self._user_stream
        self.recovery: Recovery | None = None
        self.books_only = False
        self._stopped = False
        self.progress: float | None = None
        self._started = False
        self._following = asyncio.Lock()
        self._reported = asyncio.Event()
        self.monitor = Monitor(self.kernel, self._throttler, self.streams, self._notifier)
        self._tasks: list[asyncio.Task[None]] = []
        self._wire_streams()
        self.runner.observers.append(self._observe)
        self.control.attach(self)

    @classmethod
    async def connect(cls, config: Config | Mapping[str, Any], **parts: Any) -> Container:
        """Build a container for whatever is at ``config.alpaca.base_url``: it follows a built-in venue's clock.

        Raises:
            VenueError: The address is on this machine and nothing answers.
        """
        config = config if isinstance(config, Config) else build(config)
        venue = await discover_venue(config.alpaca.base_url)
        clock: Clock | None = None
        if venue is not None and venue.is_lockstep:
            clock = LockstepClock(venue.now_ns)
        elif venue is not None:
            clock = ScaledClock(venue.now_ns, float(venue.speed))
        return cls(config, **{"clock": clock, "venue": venue, **parts})

    # -- the parts, under the guide's names -----------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The bot's time."""
        return self._clock

    @property
    def throttler(self) -> Throttler:
        """The rate limits of all APIs."""
        return self._throttler

    @property
    def broker(self) -> AlpacaConnector:
        """The venue's REST API."""
        return self._broker

    @property
    def order_tracker(self) -> OrderTracker:
        """Every order of ours."""
        return self.kernel.portfolio.tracker

    @property
    def position_store(self) -> PositionStore:
        """Positions, cash and closed trades."""
        return self.kernel.portfolio.positions

    @property
    def protections(self) -> ProtectionManager:
        """Circuit breakers."""
        return self.kernel.protections

    @property
    def risk_gate(self) -> PreTradeRiskGate:
        """Limits on every order."""
        return self.kernel.gate

    @property
    def user_stream(self) -> UserStreamTracker:
        """News of our orders."""
        return self._user_stream

    @property
    def security_cache(self) -> SecurityCache:
        """Symbols with their rules and last prices."""
        return self._security_cache

    @property
    def notifier(self) -> Notifier:
        """Messages to people."""
        return self._notifier

    discord = notifier

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """What trades by itself."""
        return self._strategies

    @property
    def streams(self) -> dict[str, Any]:
        """All sockets by name."""
        return {"user": self._user_stream, **{f"data {kind.value}": s for kind, s in self.market_streams.items()}}

    # -- running --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Recover, connect, compare the books with the venue, fetch missed bars; then trade (in lock-step: be driven).

        Raises:
            BrokerAuthError: The venue refuses the keys.
            UnknownSymbolError: The venue does not know a symbol of a strategy.
            JournalError: The journal is damaged; names the place.
        """
        if self._started:
            message = "the container is started already; to run again, make another one"
            raise ConfigurationError(message)
        self._started = True
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        for kind in self.market_streams:
            # The exchange's calendar takes a second to load: now, and not while a bar waits.
            await asyncio.to_thread(sessions_for(kind).at, self._clock.now_ns())
        self.recovery = self.runner.recover(
            config=config_hash(self._settings),
            strategy=strategy_versions(self._strategies),
            books_only=self.books_only,
        )
        if self.recovery.unused:
            _log.info("the whole journal was read", reason=self.recovery.unused)
        for told in self._journal.reports:
            _log.warning("journal", report=told)
            self._notifier.notify_nowait("system", "the journal reports", told)
        if self.recovery.difference_count and not self.books_only:
            self._notifier.notify_nowait(
                "system",
                f"{self.recovery.difference_count} recorded decisions would be made otherwise today",
                "\n".join(self.recovery.differences),
            )
        await self._notifier.start()
        await self._user_stream.start()
        for stream in self.market_streams.values():
            await stream.start()
        await self._follow_venue_time()
        await self.runner.begin(self._epoch(self.recovery))
        self.control.begin()
        await self.runner.settle(blocked=self._is_blocked)
        await self._require_known_symbols()
        await self.feed.backfill()
        await self.feed.open(refills=not self.is_lockstep)
        if not self.is_lockstep:
            self._tasks = [
                asyncio.create_task(self.runner.run(), name="holdfast-runner"),
                asyncio.create_task(self.monitor.run(), name="holdfast-monitor"),
                *(asyncio.create_task(watch.run(), name="holdfast-bars") for watch in self.feed.watches()),
            ]
            self._tasks[0].add_done_callback(self._runner_ended)
            if self.activity_stream is not None:
                self._tasks.append(asyncio.create_task(self.activity_stream.run(), name="holdfast-activities"))
        else:
            await self.runner.settle(blocked=self._is_blocked)
            self._tasks = [asyncio.create_task(self.monitor.run(), name="holdfast-monitor")]

    async def wait(self) -> None:
        """Until the runner ends; raises what ended it. Who no longer waits does not stop the runner."""
        if self._tasks:
            await asyncio.shield(self._tasks[0])

    async def stop(self) -> None:
        """Handle open orders as configured, write everything, let go of everything. Ends within five seconds.

        Stopping again does nothing; to run again, make another container.
        """
        if self._stopped:
            return
        self._stopped = True
        failed = self.runner.outbox.failure is not None
        try:
            if self.recovery is not None:
                self.runner.pause()
                if self._tasks and not self.is_lockstep:
                    await asyncio.wait({self._tasks[0]})
                await self.runner.shut_down(
                    cancel_orders=self.config.shutdown.open_orders == "cancel",
                    patience_seconds=_CANCEL_PATIENCE_SECONDS,
                )
        finally:
            runner = next(iter(self._tasks), None)
            if runner is not None and runner.done() and not runner.cancelled():
                failed = failed or runner.exception() is not None
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.control.end(orderly=not failed)
            streams = [self._user_stream, *self.market_streams.values()]
            await asyncio.gather(*(stream.stop() for stream in streams), return_exceptions=True)
            await self._notifier.stop(flush_seconds=0.5)
            await self._source.close()
            await self._broker.close()
            self._journal.close()

    @property
    def is_lockstep(self) -> bool:
        """Whether a replayed session drives this bot step by step."""
        return self.venue is not None and self.venue.is_lockstep

    # -- what it shows --------------------------------------------------------------------------

    @property
    def venue_name(self) -> str:
        """Where orders go, in words."""
        if self.venue is not None:
            return f"built-in venue at {self.config.alpaca.base_url} (speed {self.venue.speed})"
        if self.config.alpaca.base_url:
            return self.config.alpaca.base_url
        return "Alpaca live" if self.config.account.mode == "live" else "Alpaca paper"

    def received(self) -> tuple[int, int]:
        """How many trade updates and bars have arrived on the current connections."""
        return self._user_stream.received, sum(stream.received for stream in self.market_streams.values())

    def is_market_hours(self) -> bool:
        """Whether the market of our symbols is open; with crypto among them it always is."""
        kinds = list(self.market_streams) or [AssetClass.US_EQUITY]
        return any(self._clock.is_market_hours(kind) for kind in kinds)

    def snapshot(self) -> dict[str, Any]:
        """Everything at one moment, for the status API and the live view."""
        return report.snapshot(self)

    def summary(self) -> dict[str, Any]:
        """The whole run in plain values."""
        return report.summary(self.kernel)

    def health(self) -> tuple[bool, list[str]]:
        """Whether the bot does its work, and what keeps it from doing so."""
        reasons = [
            f"the {name} stream is not connected" for name, stream in self.streams.items() if not stream.is_connected()
        ]
        if not self.kernel.portfolio.verified:
            reasons.append("our books were not compared with the venue's yet")
        if self.runner.outbox.failure is not None:
            reasons.append(f"the runner failed: {self.runner.outbox.failure}")
        if self._tasks and self._tasks[0].done() and not self.is_lockstep:
            reasons.append("the runner has ended")
        return not reasons, reasons

    # -- the guide's flow -----------------------------------------------------------------------

    async def process_signal(self, signal: Signal | Mapping[str, Any]) -> Verdict:
        """Send a signal down the whole path: protections, risk gate, symbol rules, journal, venue.

        Starts the container where that was not done yet.

        Raises:
            ConfigurationError: The signal's dictionary makes no sense.
            UnknownSymbolError: The venue does not know its symbol.
        """
        if self.is_lockstep:
            message = (
                "in lock-step the recorded market drives the bot; run the venue at a speed to send signals of your own"
            )
            raise ConfigurationError(message)
        if not self._started:
            await self.start()
        typed = signal if isinstance(signal, Signal) else Signal.from_mapping(dict(signal))
        await self._prepare(typed.symbol)
        return await self.runner.submit(typed)

    async def execute_signal(self, signal: Signal | Mapping[str, Any]) -> Verdict:
        """The same path: there is no way to the venue that goes around the guards."""
        return await self.process_signal(signal)

    async def create_order(self, signal: Signal | Mapping[str, Any]) -> InFlightOrder:
        """The order that a signal leads to.

        Raises:
            OrderBlockedError: A guard refused; carries the verdict.
        """
        verdict = await self.process_signal(signal)
        order = self.order_tracker.get(verdict.client_order_id) if verdict.client_order_id else None
        if order is None:
            raise OrderBlockedError(verdict)
        return order

    async def reconcile_orders(self, *, patience_seconds: float = _REPORT_PATIENCE_SECONDS) -> dict[str, Any]:
        """Have our books compared with the venue's, wait for the outcome (five seconds at most), and tell it.

        Findings also go to the notifier, the log and the status.

        Returns:
            ``orphans`` and ``shadows`` (ids) and ``drift`` (symbols).
        """
        self._reported.clear()
        self.request_reconcile("asked for")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._reported.wait()
        found = self.kernel.reconciliation
        return {
            "orphans": list(found.orphans),
            "shadows": list(found.shadows),
            "drift": [drift.symbol for drift in found.differences],
        }

    def hold(self) -> None:
        """Let no more orders leave; cancels and look-ups still do. For a bot that is about to stop."""
        self.runner.outbox.closed = True

    def request_reconcile(self, reason: str) -> None:
        """Have the books compared, without waiting for it."""
        self.runner.inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason=reason),))

    # -- inside ---------------------------------------------------------------------------------

    async def _follow_venue_time(self) -> None:
        """A venue's replayed time begins to run when somebody listens: take it from there.

        At each connection, because a venue that was restarted goes on where it was and not where we are; our clock
        stands still until it has caught up. Without that every price would be too old for the rest of the session.
        """
        if isinstance(self._clock, ScaledClock):
            # One after the other: of two answers the older one, read last, would put the clock back by their distance.
            async with self._following:
                await self._ask_venue_time(self._clock)

    async def _ask_venue_time(self, clock: ScaledClock) -> None:
        with contextlib.suppress(VenueError):  # gone again: the next connection asks again
            venue = await discover_venue(self.config.alpaca.base_url)
            if venue is not None:
                clock.follow(venue.now_ns)

    def _runner_ended(self, runner: asyncio.Task[None]) -> None:
        """A runner that dies says so, whoever is or is not waiting for it."""
        error = None if runner.cancelled() else runner.exception()
        if error is not None:
            _log.error("the bot has stopped trading", reason=str(error))
            self._notifier.notify_nowait("system", "the bot has stopped trading", str(error))

    def _is_blocked(self) -> bool:
        return isinstance(self._clock, LockstepClock) and self._clock.waiting > 0

    def _epoch(self, recovery: Recovery) -> EpochRecord:
        last = recovery.last_epoch
        return epoch_record(
            epoch=1 if last is None else last.epoch + 1,
            started_at=max(self._clock.now_ns(), self.kernel.portfolio.now_ns),
            settings=self._settings,
            strategies=self._strategies,
        )

    def _backoff(self) -> Backoff | None:
        """Between connections: a built-in venue bans nobody, and each second of ours is many of its session."""
        return None if self.venue is None else Backoff(base=0.25, cap=2.0)

    def _wire_streams(self) -> None:
        inbox = self.runner.inbox
        self._broker.on_malformed(
            lambda *_: inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="malformed row"),))
        )
        self._user_stream.on_trade_update(self._on_trade_update)
        self._user_stream.on_account_update(self._on_account_update)
        self._user_stream.on_connected(self._follow_venue_time)
        for name, stream in self.streams.items():
            kind = name.split()[0]
            stream.on_connected(lambda kind=kind: inbox.post(lambda ts: (StreamConnected(ts=ts, stream=kind),)))
            stream.on_disconnected(
                lambda *reason, kind=kind: inbox.post(
                    lambda ts: (StreamLost(ts=ts, stream=kind, reason=" ".join(str(r) for r in reason)),)
                )
            )
            stream.on_malformed(
                lambda *_: inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="malformed message"),))
            )

    def _on_trade_update(self, update: dict[str, Any]) -> None:
        wire.trade_update_events(update, 0)  # raises here, in the stream's own error handling, if it cannot be read

        def events(ts: int) -> Sequence[Event]:
            found: list[Event] = [*revisions(update, ts), *wire.trade_update_events(update, ts)]
            reason = wire.reconcile_reason(update)
            if reason is not None:
                found.append(ReconcileRequested(ts=ts, reason=reason))
            return found

        self.runner.inbox.post(events)

    def _on_account_update(self, row: dict[str, Any]) -> None:
        account = wire.account(row)
        self.runner.inbox.post(lambda ts: (AccountUpdated(ts=ts, account=account),))

    def _observe(self, event: Event) -> None:
        if type(event) is Bar:
            security = self._security_cache.get(event.symbol)
            if security is not None:
                security.on_bar(event)
        elif type(event) is SecurityLoaded:
            self._security_cache.add(event.asset)
        elif type(event) is BrokerReported or type(event) is ReconcileFailed:
            self._reported.set()

    async def _require_known_symbols(self) -> None:
        for strategy in self._strategies:
            for symbol in strategy.symbols:
                if self.kernel.portfolio.book(symbol).properties is None:
                    await self._broker.fetch_asset(symbol)  # raises what is the matter, in one sentence

    async def _prepare(self, symbol: str) -> None:
        """Rules and a price of a symbol that nothing follows, so that the guards can judge."""
        book = self.kernel.portfolio.book(symbol)
        inbox = self.runner.inbox
        try:
            if book.properties is None:
                asset = await self._broker.fetch_asset(symbol)
                inbox.post(lambda ts: (SecurityLoaded(ts=ts, asset=asset),))
            if symbol not in self.config.symbols:
                now = self._clock.now_ns()
                bars = await self._broker.fetch_bars(symbol, now - _PRICE_LOOKBACK, now, NS_PER_MINUTE)
                for bar in bars[-1:]:
                    inbox.post_event(bar)
        except BrokerError as error:
            _log.warning("symbol could not be prepared", symbol=symbol, reason=error.message)
