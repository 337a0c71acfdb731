"""One simulated run from its seed to its verdict.

    phase one   the market is open, faults strike, the bot is killed and started again: safety
    phase two   faults stop; within a bound everything that was unknown must be settled: liveness
    the end     the bot is stopped as by Ctrl-C, started once more on its journal, and the books are laid side by side

A supervisor restarts the bot whenever it ends, as a service manager would, and makes room on a full disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from holdfast.di.config import Config
from holdfast.di.parts import Parts
from holdfast.model import OrderSide, Signal, TradingState
from holdfast.model.commands import Command
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerError,
    HoldfastError,
    InvalidRequestError,
    JournalDamagedError,
    JournalError,
    JournalOwnedError,
    NotFoundError,
    NotPermittedError,
)
from holdfast.model.events import Event
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.strategies import Strategy
from holdfast.testing.sim import checkers
from holdfast.testing.sim.chance import Chance, stream
from holdfast.testing.sim.faults import Faults
from holdfast.testing.sim.journal import Disk
from holdfast.testing.sim.loop import VirtualLoop, run
from holdfast.testing.sim.network import Door
from holdfast.testing.sim.process import Process, Wall
from holdfast.testing.sim.replayed import Replayed, recorded
from holdfast.testing.sim.scenario import Scenario
from holdfast.testing.sim.trace import Trace
from holdfast.testing.sim.venue import URL, SimVenue
from holdfast.time import RealTimeClock
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine

KEY, SECRET = "SIMULATED-KEY", "simulated-secret"
CASH = Decimal(100_000)

#: Within so many seconds after the last fault everything unknown must be settled (P9).
SETTLE_SECONDS = 240.0
# The share of the market's time in which faults strike.
_STORM = 0.7
# How long the last run may take to compare the books.
_LAST_LOOK_SECONDS = 90.0
_LOOK_SECONDS = 5.0
_STARTS_MAX = 60
# A stall must not keep a request for longer than a look-up's grace period.
STALL_SECONDS_MAX = 12.0

MakeStrategies = Callable[[Sequence[str]], Sequence[Strategy]]


class SimConfig(Config):
    """A configuration that no environment changes: a simulation is what its seed says."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the simulator gives, and nothing else."""
        return (init_settings,)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to.

    Attributes:
        digest: Of all that happened: the same for the same seed.
        days: Simulated time (days).
        faults: How often each kind struck.
        violations: What must not be, each with the checker's name in front.
        tail: The last lines of the log, where something was violated.
    """

    seed: int
    digest: str
    days: float
    bars: int
    orders: int
    fills: int
    crashes: int
    starts: int
    records: int
    faults: dict[str, int]
    violations: tuple[str, ...]
    tail: tuple[str, ...] = ()


class World:
    """Everything of one run. Made and run by ``simulate``."""

    def __init__(
        self,
        loop: VirtualLoop,
        scenario: Scenario,
        *,
        make_strategies: MakeStrategies | None = None,
        parts: Parts | None = None,
    ) -> None:
        self.loop = loop
        self.scenario = scenario
        self.trace = Trace(loop.time)
        chance = stream(scenario.seed, "world")
        self._chance = chance
        self.faults = Faults(stream(scenario.seed, "faults"), scenario.rates)
        self.disk = Disk(f"{chance.getrandbits(128):032x}", loop.time)
        self.door = Door()
        self.venue = SimVenue(
            loop,
            self.trace,
            scenario.series(),
            settings=EngineSettings(participation=scenario.participation, spread_bps=scenario.spread_bps),
            cash=CASH,
            rate_limit=scenario.rate_limit,
            book_id=chance.getrandbits(40),
        )
        self.wall = Wall(loop, self.venue.began_at)
        self.market_seconds = (self.venue.ends_at - self.venue.began_at) / NS_PER_SECOND
        self.storm_seconds = self.market_seconds * _STORM
        self.parts = parts or Parts()
        self._make_strategies = make_strategies
        self.config = self._configure()
        self.process: Process | None = None
        self.starts = self.crashes = self.stops = 0
        self.steps: list[tuple[float, int]] = []  # of the wall clock: when, by how much (ns)
        self.violations: list[str] = []
        self._resuming: list[asyncio.Task[None]] = []
        self.differences: list[tuple[int, str]] = []  # found by recoveries: which run, and the first of them

    # -- parts ----------------------------------------------------------------------------------

    def strategies(self) -> Sequence[Strategy]:
        """New objects of what trades."""
        if self._make_strategies is not None:
            return self._make_strategies(self.scenario.symbols)
        quiet = self.venue.began_at + round(self.market_seconds * 0.9 * NS_PER_SECOND)
        return self.scenario.strategies(quiet)

    def _configure(self) -> Config:
        scenario = self.scenario
        values: dict[str, Any] = {
            "alpaca": {
                "api_key": KEY,
                "api_secret": SECRET,
                "base_url": URL,
                "data_url": URL,
                "market_stream_url": URL.replace("http", "ws"),
                "activity_stream": False,  # the simulated network has no answers without an end
            },
            "strategy": {"symbols": scenario.symbols},
            "journal": {"snapshot_every": scenario.snapshot_every},
            "limits": {"alpaca_trading": {"limit": scenario.rate_limit, "period": 60}},
        }
        if scenario.loose:
            values["risk"] = {
                "max_daily_loss": None,
                "max_position_notional": 200_000,
                "max_gross_exposure": 400_000,
            }
            values["protections"] = dict.fromkeys(_PROTECTIONS, False)
        return SimConfig(**values)

    @property
    def engine(self) -> MatchingEngine | None:
        """The venue's engine for our account."""
        return self.venue.engine(KEY)

    @property
    def key(self) -> str:
        """Of our account."""
        return KEY

    @cached_property
    def recorded(self) -> tuple[tuple[Event, tuple[Command, ...]], ...]:
        """What the journal on the disk tells; ask for it when the run is over."""
        return tuple(recorded(self.disk.records()))

    @cached_property
    def replayed(self) -> Replayed:
        """The journal followed by a new kernel; likewise."""
        clock = RealTimeClock(wall_ns=self.wall.now_ns, monotonic_ns=self.loop.now_ns)
        return Replayed(self.parts.kernel(self.config, self.strategies(), clock=clock), self.recorded)

    # -- the run --------------------------------------------------------------------------------

    async def run(self) -> Result:
        """All of it."""
        self.venue.start()
        plan = asyncio.create_task(self._weather())
        supervisor = asyncio.create_task(self._supervise())
        await asyncio.sleep(self.storm_seconds)
        self._heal()
        self._resuming.append(asyncio.create_task(self._resume(0.0)))
        await asyncio.sleep(max(SETTLE_SECONDS, self.market_seconds - self.storm_seconds) + 5.0)
        tasks = (plan, supervisor, *self._resuming)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                self.violations.append(f"simulation: {type(outcome).__name__}: {outcome}")
        for name, check in checkers.AT_THE_BOUND.items():
            self._judge(name, check(self))
        await self._stop()
        await self._look_once_more()
        self._judge_all()
        return self._result()

    async def _supervise(self) -> None:
        """Start the bot, and start it again when it ends."""
        while True:
            await self._start()
            process = self.process
            if process is None:
                return
            await process.ended.wait()
            self._note_recovery(process)
            await process.unwind()
            if process.killed_at:
                self.crashes += 1
                self.faults.struck("crash")
            elif process.failure is not None or not process.stopping:
                self._note_failure(process)
                await process.stop()
                await process.unwind()
            if self.starts >= _STARTS_MAX:
                self.violations.append(f"liveness: the bot ended {self.starts} times")
                return
            await asyncio.sleep(self._chance.uniform(0.2, 20.0) if self.faults.active else 1.0)

    async def _start(self) -> None:
        self.starts += 1
        self.disk.is_full = False
        try:
            self.process = Process(
                self.starts,
                self.loop,
                self.venue,
                self.disk,
                self.wall,
                self.faults,
                self.trace,
                self.door,
                KEY,
                self.config,
                self.strategies(),
                self.parts,
                self._countdown(),
                self.scenario.seed,
            )
        except HoldfastError as error:
            self.violations.append(f"start: the bot cannot be made: {error}")
            self.process = None
            return
        self.process.start()

    def _countdown(self) -> dict[str, int]:
        """Where this run of the bot is to end, if it is."""
        if not self.faults.active or self.crashes >= self.scenario.crashes:
            return {}
        point = self.scenario.crash_points[self.crashes % len(self.scenario.crash_points)]
        if point == "time":
            return {}
        # Not always early: a start alone passes some of these points dozens of times.
        often = _OFTEN.get(point, 40)
        return {point: self._chance.randrange(often)}

    def _note_recovery(self, process: Process) -> None:
        recovery = process.container.recovery
        if recovery is not None and recovery.differences:
            self.differences.append((process.number, recovery.differences[0]))

    def _note_failure(self, process: Process) -> None:
        """A run that ended by itself must have had a reason that the simulation gave it."""
        error = process.failure
        if is_excused(error):
            return
        self.violations.append(f"failure: {process.owner.name} ended with {type(error).__name__}: {error}")

    async def _weather(self) -> None:
        """What happens at moments rather than to messages: kills, restarts of the venue, steps of the clock."""
        chance = stream(self.scenario.seed, "weather")
        points = self.scenario.crash_points
        deaths = sum(points[number % len(points)] == "time" for number in range(self.scenario.crashes))
        moments = [(chance.uniform(0.0, self.storm_seconds), "crash") for _ in range(deaths)]
        moments += [
            (chance.uniform(5.0, self.storm_seconds), "venue_restart") for _ in range(self.scenario.venue_restarts)
        ]
        moments += [(chance.uniform(5.0, self.storm_seconds), f"clock_{step}") for step in self.scenario.clock_steps]
        for kind, count in (
            ("network_stall", self.scenario.stalls),
            ("stop", self.scenario.stops),
            ("halt", self.scenario.halts),
            ("operator", self.scenario.asks),
        ):
            moments += [(chance.uniform(5.0, self.storm_seconds), kind) for _ in range(count)]
        for at, kind in sorted(moments):
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            await self._happen(kind, chance)

    async def _happen(self, kind: str, chance: Chance) -> None:
        process = self.process
        running = process is not None and process.started and not process.owner.dead
        if kind == "crash":
            if process is not None:
                process.kill("time")
        elif kind == "venue_restart":
            self.faults.struck(kind)
            self.venue.kill()
            await asyncio.sleep(chance.uniform(0.1, 15.0))
            if not self.venue.up:  # faults may have stopped meanwhile
                self.venue.start()
        elif kind in ("clock_ahead", "clock_back"):
            self.faults.struck(kind)
            size = chance.uniform(1.0, 60.0) if kind == "clock_ahead" else -chance.uniform(0.05, 10.0)
            step = round(size * NS_PER_SECOND)
            self.wall.offset += step
            self.steps.append((self.loop.time(), step))
            self.trace.note("clock", "stepped", f"{size:+.3f} s")
        elif process is not None and running:
            self.faults.struck(kind)
            await self._do(kind, process, chance)

    async def _do(self, kind: str, process: Process, chance: Chance) -> None:
        """What is done to a bot that is trading."""
        self.trace.note("world", kind)
        if kind == "network_stall":
            process.network.stalled_until = self.loop.time() + chance.uniform(1.0, STALL_SECONDS_MAX)
        elif kind == "stop":
            self.stops += 1
            await process.stop()
        elif kind == "halt":
            state = chance.choice((TradingState.HALTED, TradingState.REDUCING))
            process.container.runner.change_state(state, "an operator says so")
            # A task of its own: the weather does not wait for an operator.
            self._resuming.append(asyncio.create_task(self._resume(chance.uniform(1.0, 900.0))))
        else:
            symbol = chance.choice(self.scenario.symbols)
            side = chance.choice((OrderSide.BUY, OrderSide.SELL))
            quantity = Decimal("0.01") if "/" in symbol else Decimal(chance.randrange(1, 20))
            process.ask(Signal(symbol=symbol, side=side, quantity=quantity, reduce_only=chance.random() < 0.3))

    async def _resume(self, after: float) -> None:
        """Lift a halt in whatever run there is by then, as somebody would who has waited long enough."""
        await asyncio.sleep(after)
        while True:
            process = self.process
            if process is not None and process.started and not process.owner.dead:
                process.container.runner.change_state(TradingState.ACTIVE, "an operator says so")
                await asyncio.sleep(2.0)
                if process.container.kernel.portfolio.trading_state is TradingState.ACTIVE:
                    return
            await asyncio.sleep(2.0)

    def _heal(self) -> None:
        self.faults.active = False
        self.disk.is_full = False
        if not self.venue.up:
            self.venue.start()
        if self.process is not None:
            self.process.network.heal()
            self.process.spare()
        self.trace.note("world", "faults stop")

    async def _stop(self) -> None:
        process = self.process
        if process is None or process.owner.dead:
            self.violations.append("liveness: no bot is running at the end")
            return
        self._note_recovery(process)
        await process.stop()
        await process.unwind()
        if process.failure is not None:
            self._note_failure(process)

    async def _look_once_more(self) -> None:
        """One more run on the journal, long enough to compare the books."""
        await self._start()
        process = self.process
        if process is None:
            return
        ended = asyncio.create_task(process.ended.wait())
        await asyncio.wait({ended}, timeout=_LAST_LOOK_SECONDS)
        # A new run does not know how much of the venue's rate limit the last one used up: its first questions may be
        # turned away for a minute. What it has to settle has the same bound as after any fault.
        patience = SETTLE_SECONDS - _LAST_LOOK_SECONDS
        while patience > 0 and not process.ended.is_set() and process.container.order_tracker.unknown_orders():
            await asyncio.sleep(_LOOK_SECONDS)
            patience -= _LOOK_SECONDS
        self._note_recovery(process)
        if process.ended.is_set():
            self._note_failure(process)
        ended.cancel()
        if not process.ended.is_set():
            process.journal.close()  # what it has appended is compared with what it knows

    # -- judgement ------------------------------------------------------------------------------

    def _judge(self, name: str, complaints: Iterable[str]) -> None:
        self.violations += [f"{name}: {complaint}" for complaint in complaints]

    def _judge_all(self) -> None:
        for name, check in checkers.CHECKERS.items():
            self._judge(name, check(self))
        self._judge("loop", self.loop.errors)

    def _result(self) -> Result:
        engine = self.engine
        orders = [] if engine is None else engine.orders("all", newest_first=False)
        fills = [] if engine is None else engine.activities()
        violations = tuple(dict.fromkeys(self.violations))
        if self.process is not None:
            self.process.kill("end")
        return Result(
            seed=self.scenario.seed,
            digest=self.trace.digest,
            days=self.loop.time() / 86_400,
            bars=sum(len(bars) for bars in self.venue.exchange.series.values()),
            orders=len(orders),
            fills=len(fills),
            crashes=self.crashes,
            starts=self.starts,
            records=len(self.disk.rows),
            faults=dict(sorted(self.faults.counts.items())),
            violations=violations,
            tail=tuple(self.trace.lines) if violations else (),
        )


# What the simulation gives no cause for: the keys are right, what a start asks for is there, and the disk loses what was
# not synced and nothing else.
_NEVER_CAUSED = (
    BrokerAuthError,
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
    JournalDamagedError,
    JournalOwnedError,
)


def is_excused(error: BaseException | None) -> bool:
    """Whether a run may end by itself with this: the simulation breaks the venue's answers, and the disk.

    By base class, so that a new kind of refusal or of silence is what its parents are.
    """
    return isinstance(error, BrokerError | JournalError) and not isinstance(error, _NEVER_CAUSED)


_OFTEN = {
    "append-before": 400,
    "append-after": 400,
    "sync-before": 60,
    "sync-middle": 60,
    "sync-after": 60,
    "request-left": 60,
    "answer-arrived": 60,
}
_PROTECTIONS = ("stoploss_guard", "max_drawdown", "cooldown_period", "daily_loss_limit")


def simulate(
    scenario: Scenario, *, make_strategies: MakeStrategies | None = None, parts: Parts | None = None
) -> Result:
    """Run one scenario to its end, in a loop of its own."""

    async def main(loop: VirtualLoop) -> Result:
        world = World(loop, scenario, make_strategies=make_strategies, parts=parts)
        try:
            return await world.run()
        finally:
            if world.process is not None:
                world.process.kill("end")
                await world.process.unwind()
            world.venue.close()

    return run(main)
