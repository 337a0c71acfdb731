"""A whole bot in one process under virtual time: real kernel, real runner, real engine; no socket, no wall clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import inf

from holdfast.journal import EpochRecord
from holdfast.kernel import Kernel, KernelSettings
from holdfast.model import Asset, AssetClass, Bar, Signal, Verdict
from holdfast.model.events import StreamConnected
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_SECOND, parse_rfc3339
from holdfast.risk import PreTradeRiskGate, RiskLimits
from holdfast.risk.protections import ProtectionManager
from holdfast.runner import Recovery, Runner
from holdfast.runner.snapshots import SNAPSHOT_EVERY
from holdfast.strategies import Strategy
from holdfast.testing.alerts import RecordingAlerts
from holdfast.testing.broker import ScriptedBroker
from holdfast.testing.checks import journaled_intents
from holdfast.testing.journal import FaultyJournal
from holdfast.time import BacktestClock, FixedSessions, Sessions
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine

START = parse_rfc3339("2024-01-02T15:00:00Z")

_ASSETS = (
    Asset(symbol="SPY", marginable=True, shortable=True, fractionable=True),
    Asset(symbol="QQQ", marginable=True, shortable=True, fractionable=True),
    Asset(
        symbol="BTC/USD", asset_class=AssetClass.CRYPTO, min_trade_increment="0.000000001", min_order_size="0.000000001"
    ),
)
_ALWAYS_OPEN = FixedSessions(0, NS_PER_DAY)

MakeStrategies = Callable[[], Sequence[Strategy]]


def always_open(_asset_class: AssetClass) -> Sessions:
    """A market whose session is the UTC day, whatever it trades."""
    return _ALWAYS_OPEN


def make_kernel(
    strategies: Sequence[Strategy] = (),
    *,
    limits: RiskLimits | None = None,
    protections: ProtectionManager | None = None,
    settings: KernelSettings | None = None,
) -> Kernel:
    """A kernel whose market never closes, without limits or protections unless they are given."""
    return Kernel(
        strategies,
        protections=protections or ProtectionManager(),
        gate=PreTradeRiskGate(limits or RiskLimits()),
        sessions_for=always_open,
        settings=settings,
    )


def make_engine(
    prices: Mapping[str, float] | None = None,
    *,
    cash: Decimal = Decimal(100_000),
    settings: EngineSettings | None = None,
) -> MatchingEngine:
    """A venue with SPY, QQQ and BTC/USD, whose bars fill any quantity unless settings say otherwise.

    Args:
        prices: Last trades; default: 100, 200 and 40,000 USD.
        cash: What the account starts with (USD).
        settings: How it trades.
    """
    engine = MatchingEngine(
        {asset.symbol: asset for asset in _ASSETS},
        cash=cash,
        settings=settings or EngineSettings(participation=None),
        sessions=always_open,
    )
    engine.prices.update({"SPY": 100.0, "QQQ": 200.0, "BTC/USD": 40_000.0} if prices is None else prices)
    return engine


class InProcessBot:
    """One run of a bot, from its journal to the venue's engine.

    Args:
        make_strategies: Makes what trades; called again by ``crash``, since a new run has new objects.
        engine: The venue, which outlives the bot.
        journal: Where it writes.
        clock: Its time, and the venue's.
        make: Makes the kernel from the strategies; default: ``make_kernel``.
        make_runner: The runner's class, or a variant of it.
        serial: As the runner's.
        snapshot_every: As the runner's.
        witness: Tells which intents are durable; default: those among ``journal.records()``.

    Attributes:
        broker: Scriptable; remembers every request.
        alerts: What people would have been told.
    """

    def __init__(
        self,
        make_strategies: MakeStrategies = tuple,
        *,
        engine: MatchingEngine | None = None,
        journal: FaultyJournal | None = None,
        clock: BacktestClock | None = None,
        make: Callable[[Sequence[Strategy]], Kernel] = make_kernel,
        make_runner: type[Runner] = Runner,
        serial: bool = False,
        snapshot_every: int = SNAPSHOT_EVERY,
        witness: Callable[[], frozenset[str]] | None = None,
    ) -> None:
        self.clock = clock or BacktestClock(START)
        self.engine = engine or make_engine()
        self.journal = journal or FaultyJournal()
        self.alerts = RecordingAlerts()
        self.strategies = tuple(make_strategies())
        self.kernel = make(self.strategies)
        self.broker = ScriptedBroker(
            self.engine,
            self.clock,
            witness=witness or (lambda: frozenset(journaled_intents(self.journal.records()))),
        )
        self.runner = make_runner(
            self.kernel,
            self.journal,
            self.broker,
            self.alerts,
            self.clock,
            serial=serial,
            snapshot_every=snapshot_every,
        )
        self.broker.stream = self.runner.inbox.post
        self.broker.on_held = self.runner.outbox.gate.on_wait = self.runner.inbox.activity.set
        self._again = (make_strategies, make, make_runner, serial, snapshot_every)

    async def start(self) -> Recovery:
        """Recover, begin an epoch, and settle."""
        strategy = ", ".join(f"{strategy.name}@{strategy.version}" for strategy in self.strategies)
        recovery = self.runner.recover(config="", strategy=strategy)
        last = recovery.last_epoch
        epoch = EpochRecord(
            epoch=1 if last is None else last.epoch + 1,
            started_at=self.clock.now_ns(),
            code="testing",
            config="",
            strategy=strategy,
        )
        await self.runner.begin(epoch)
        # The broker's messages come from now on: an unknown order may be settled beside a stream that would tell.
        self.runner.inbox.post(lambda ts: (StreamConnected(ts=ts, stream="user"),))
        await self.settle()
        return recovery

    async def settle(self) -> None:
        """Handle everything that can be handled without time moving on, save requests and submits that are held."""
        outbox, broker = self.runner.outbox, self.broker
        await self.runner.settle(blocked=lambda: outbox.unfinished <= broker.held + outbox.gate.waiting)

    async def play(self, *bars: Bar) -> None:
        """For each bar: time moves to its end, the venue trades it, the bot sees it, and all settles."""
        for bar in bars:
            self.clock.advance_to(max(bar.ts, self.clock.now_ns()))
            self.broker.play(bar)
            await self.settle()
            self.runner.inbox.post_bar(bar)
            await self.settle()

    async def advance(self, seconds: float) -> None:
        """Let time pass, from one timer to the next, settling at each."""
        await self.settle()
        end = self.clock.now_ns() + round(seconds * NS_PER_SECOND)
        while True:
            due = min(self.runner.next_timer() or inf, self.clock.next_wakeup() or inf)
            if due > end:
                break
            self.clock.advance_to(max(int(due), self.clock.now_ns()))
            await self.settle()
        self.clock.advance_to(end)
        await self.settle()

    async def submit(self, signal: Signal) -> Verdict:
        """Send a signal down the guarded path, settle, and return its verdict."""
        task = asyncio.ensure_future(self.runner.submit(signal))
        await asyncio.sleep(0)
        await self.settle()
        return await task

    async def crash(self) -> InProcessBot:
        """End this run as SIGKILL would; returns the next one, not started, on what had become durable."""
        await self.runner.outbox.stop()
        make_strategies, make, make_runner, serial, snapshot_every = self._again
        return InProcessBot(
            make_strategies,
            engine=self.engine,
            journal=self.journal.crash(),
            clock=self.clock,
            make=make,
            make_runner=make_runner,
            serial=serial,
            snapshot_every=snapshot_every,
        )
