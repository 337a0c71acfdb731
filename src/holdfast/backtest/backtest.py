"""Drives the kernel over recorded bars in a tight loop.

The kernel, the strategies, the guards and the matching engine are those of a replayed session; only
the wire is missing. Time moves as in lock-step: the venue's next moment, or the kernel's next timer,
whichever is first, and everything that follows from one moment is done before the next.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from decimal import getcontext, setcontext

import msgspec

from holdfast.backtest.broker import InProcessBroker
from holdfast.kernel import Kernel
from holdfast.model import BarSeries
from holdfast.model.commands import Reconcile
from holdfast.model.decimals import EXACT
from holdfast.model.events import EpochStarted, ShutdownStarted, TimerFired
from holdfast.time import SessionsFor, sessions_for
from holdfast.venue.market.replay import Replay
from holdfast.venue.matching.engine import MatchingEngine

_LAST_TIMERS = 1_000
_GC_ALLOCATIONS = 200_000


class BacktestResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where a backtest ended. The kernel holds everything else: orders, trades, positions, verdicts."""

    kernel: Kernel
    engine: MatchingEngine
    started_at: int
    ended_at: int


class Backtest:
    """One run of one kernel over bars.

    Args:
        kernel: With its strategies and guards; fresh.
        engine: With the assets and the cash; fresh.
        series: Bars by symbol.
        sessions: Market sessions by asset class; the same as the kernel's and the engine's.
        journal_id: Begins the client order ids. A backtest writes no journal, so any constant will do.
        cancel_open_orders: What the end does to them, as ``shutdown.open_orders`` does it to a bot that is stopped.
    """

    def __init__(
        self,
        kernel: Kernel,
        engine: MatchingEngine,
        series: Mapping[str, BarSeries],
        *,
        sessions: SessionsFor = sessions_for,
        journal_id: str = "backtest",
        cancel_open_orders: bool = True,
    ) -> None:
        self.kernel = kernel
        self._engine = engine
        self._replay = Replay(engine, series, sessions)
        self._journal_id = journal_id
        self._cancel_open_orders = cancel_open_orders
        self._broker = InProcessBroker(engine, kernel.dispatch, terse=True)

    def run(self) -> BacktestResult:
        """Run to the end of the data.

        Raises:
            StrategyError: A strategy raised; names it and the place.
        """
        thresholds = gc.get_threshold()
        # Messages make no cycles: scanning a growing history for them again and again would be all cost.
        gc.set_threshold(_GC_ALLOCATIONS, *thresholds[1:])
        outer = getcontext()
        setcontext(EXACT)
        try:
            return self._run()
        finally:
            setcontext(outer)
            gc.set_threshold(*thresholds)

    def _run(self) -> BacktestResult:
        started_at = self._replay.now
        self.kernel.dispatch(EpochStarted(ts=started_at, epoch=1, journal_id=self._journal_id))
        self._drain(started_at)
        self._run_bars()
        ended_at = self._run_out_timers(self._replay.now)
        self.kernel.commands.append(Reconcile(reason="end", since=self.kernel.reconciliation.since))
        self._drain(ended_at)
        self.kernel.dispatch(ShutdownStarted(ts=ended_at, cancel_orders=self._cancel_open_orders))
        self._drain(ended_at)
        return BacktestResult(kernel=self.kernel, engine=self._engine, started_at=started_at, ended_at=ended_at)

    def _run_bars(self) -> None:
        """The hot loop. While no order is open and no timer is set, bars go straight to the kernel."""
        replay, engine, broker = self._replay, self._engine, self._broker
        kernel, timers, commands = self.kernel, self.kernel.timers, self.kernel.commands
        while replay.next_close is not None:
            if not engine.open_count and not timers and replay.coast(kernel.on_bars):
                now = replay.now
                self._drain(now)
                if not timers and replay.open_at_once():
                    broker.deliver_events(now)
                    if commands:
                        self._drain(now)
                continue
            step = replay.advance(min(timers.values()) if timers else None)
            now = step.now
            if step.kind == "limit":
                self._fire_timers(now)
                continue
            broker.deliver_events(now)
            if commands:
                self._drain(now)
            for bar in step.bars:
                kernel.dispatch(bar)
                if commands:
                    self._drain(now)

    def _drain(self, now: int) -> None:
        """Carry out commands in their order; what comes of one is handled before the next."""
        commands, actions = self.kernel.commands, self._broker.actions
        for command in commands:  # it grows meanwhile
            action = actions.get(command.__class__)
            if action is not None:
                action(command, now)
        commands.clear()

    def _fire_timers(self, now: int) -> None:
        timers = self.kernel.timers
        while timers:
            name = min(timers, key=timers.__getitem__)
            if timers[name] > now:
                return
            self.kernel.dispatch(TimerFired(ts=now, name=name))
            self._drain(now)

    def _run_out_timers(self, now: int) -> int:
        timers = self.kernel.timers
        for _ in range(_LAST_TIMERS):
            if not timers:
                break
            now = max(now, min(timers.values()))
            self._fire_timers(now)
        return now
