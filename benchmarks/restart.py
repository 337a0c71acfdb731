"""How fast a journal is replayed, and how long a restart takes from its last snapshot.

A journal of a million events is written first, by a real kernel with its guards and a strategy that trades, into a
real file: bars of one symbol, and for each order its acknowledgement and its fill. A snapshot is taken ten thousand
events before the end, as the runner takes it. Then, in the same process:

    replay    every event handled again, every command and every hash compared
    restart   the file opened and owned, a new kernel made, the snapshot loaded and checked, the rest followed

    python -m benchmarks.restart                    # a million events
    python -m benchmarks.restart --events 100000
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import numpy as np

from holdfast.journal import EpochRecord, JournalReader, SqliteJournal
from holdfast.kernel import Kernel
from holdfast.model import Account, Asset, AssetClass, Bar, Execution, OrderReport, OrderStatus, Source
from holdfast.model.commands import Command, SubmitOrder
from holdfast.model.events import (
    BrokerReported,
    EpochStarted,
    Event,
    OrderFilled,
    OrderUpdated,
    SecurityLoaded,
    StateHashed,
)
from holdfast.model.timestamps import NS_PER_MINUTE, parse_rfc3339
from holdfast.risk import PreTradeRiskGate, RiskLimits
from holdfast.risk.protections import create_default_protections
from holdfast.runner.recovery import Recovery, recover
from holdfast.runner.replay import Replay, replay
from holdfast.runner.snapshots import Snapshots
from holdfast.strategies import VwapMeanReversion
from holdfast.testing import RecordingAlerts
from holdfast.time import UtcDaySessions

SYMBOL = "BTC/USD"
START = parse_rfc3339("2023-01-01T00:00:00Z")
SNAPSHOT_BEFORE_END = 10_000
SYNC_EVERY = 20_000
EPOCH = EpochRecord(epoch=1, started_at=START, code="benchmark", config="", strategy="VwapMeanReversion@1")
ACCOUNT = Account(
    account_id="a",
    cash=Decimal(10_000_000),
    equity=Decimal(10_000_000),
    buying_power=Decimal(10_000_000),
    non_marginable_buying_power=Decimal(10_000_000),
)
T = TypeVar("T")


def make_kernel() -> Kernel:
    """Every guard on, with limits that are not reached."""
    strategy = VwapMeanReversion([SYMBOL], quantity=Decimal("0.1"), deviations=2.5, warmup_bars=60)
    return Kernel(
        (strategy,),
        protections=create_default_protections(cooldown_period=None, stoploss_guard=None),
        gate=PreTradeRiskGate(RiskLimits(max_order_notional=Decimal(1_000_000), max_open_orders=10)),
        sessions_for=lambda _: UtcDaySessions(),
    )


def bars(count: int) -> Iterator[Bar]:
    """A seeded walk of minutes."""
    chance = np.random.default_rng(7)
    closes = (30_000 * np.exp(np.cumsum(chance.normal(0, 0.0005, count)))).round(2).tolist()
    volumes = chance.integers(1, 500, count).astype(float).tolist()
    for index, (close, volume) in enumerate(zip(closes, volumes, strict=True), 1):
        yield Bar(START + index * NS_PER_MINUTE, SYMBOL, close, close, close, close, volume)


class Writer:
    """A bot at its barest: every event is appended, handled, and its commands appended."""

    def __init__(self, path: Path) -> None:
        self.journal = SqliteJournal(path)
        self.kernel = make_kernel()
        self.snapshots = Snapshots(self.kernel, self.journal, RecordingAlerts(), every=1)
        self.events = 0
        self.orders = 0

    async def write(self, count: int) -> None:
        """A journal of so many events."""
        self.journal.append_epoch(EPOCH)
        self.snapshots.epoch = EPOCH
        await self._show(EpochStarted(ts=START, epoch=1, journal_id=self.journal.intent_prefix))
        await self._show(SecurityLoaded(ts=START, asset=Asset(symbol=SYMBOL, asset_class=AssetClass.CRYPTO)))
        await self._show(
            BrokerReported(ts=START, reason="start", account=ACCOUNT, orders=(), executions=(), positions=())
        )
        kept = False
        for bar in bars(count):
            if not kept and self.events >= count - SNAPSHOT_BEFORE_END:
                kept = True
                await self._keep(bar.ts)
            if self.events >= count - 1:
                break
            for command in await self._show(bar):
                if isinstance(command, SubmitOrder):
                    await self._fill(command, bar)
        digest, _ = self.snapshots.take()
        await self._show(StateHashed(ts=bar.ts, digest=digest))
        await self.journal.sync()
        self.journal.close()

    async def _show(self, event: Event) -> tuple[Command, ...]:
        self.journal.append_event(event)
        commands = tuple(self.kernel.handle(event))
        if commands:
            self.journal.append_commands(commands)
        self.events += 1
        if self.events % SYNC_EVERY == 0:
            await self.journal.sync()
        return commands

    async def _keep(self, at: int) -> None:
        digest, state = self.snapshots.take()
        await self._show(StateHashed(ts=at, digest=digest))
        self.snapshots.keep(at, digest, state)
        await self.journal.sync()

    async def _fill(self, command: SubmitOrder, bar: Bar) -> None:
        self.orders += 1
        intent = command.intent
        report = OrderReport(
            broker_id=f"B{self.orders}",
            client_order_id=intent.client_order_id,
            symbol=SYMBOL,
            side=intent.side,
            status=OrderStatus.NEW,
            quantity=intent.quantity,
            time_in_force=intent.time_in_force,
        )
        await self._show(OrderUpdated(ts=bar.ts, report=report, source=Source.RESPONSE))
        execution = Execution(
            execution_id=f"E{self.orders}",
            broker_id=report.broker_id,
            symbol=SYMBOL,
            side=intent.side,
            quantity=intent.quantity,
            price=Decimal(repr(bar.close)),
            at=bar.ts,
            cum_qty=intent.quantity,
            client_order_id=intent.client_order_id,
        )
        await self._show(OrderFilled(ts=bar.ts, execution=execution, source=Source.STREAM))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result, and the seconds that it took."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def restart(path: Path) -> tuple[Recovery, str]:
    """What a start does before it asks the venue anything; the state's hash proves that it came to the same."""
    journal = SqliteJournal(path)
    kernel = make_kernel()
    recovery = recover(journal, kernel, config="", strategy=EPOCH.strategy)
    journal.close()
    return recovery, kernel.state_hash()


def replay_all(path: Path) -> Replay:
    """The whole journal, compared."""
    with JournalReader(path) as reader:
        return replay(reader.records(), make_kernel())


def main() -> None:
    """Write, replay, restart; print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=1_000_000)
    count = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bot.journal"
        writer = Writer(path)
        _, writing = timed(lambda: asyncio.run(writer.write(count)))
        megabytes = path.stat().st_size / 1e6
        print(f"written   {writer.events:,} events, {writer.orders:,} orders, {megabytes:.0f} MB in {writing:.1f} s")
        restarts = [timed(lambda: restart(path)) for _ in range(5)]
        seconds = sorted(took for _, took in restarts)
        (recovery, found), _ = restarts[0]
        same = found == writer.kernel.state_hash()
        print(
            f"restart   {seconds[0]:.2f} / {seconds[2]:.2f} / {seconds[4]:.2f} s (lowest, median, highest of 5): "
            f"snapshot after record {recovery.snapshot:,}, {recovery.records:,} records followed, same state: {same}"
        )
        replayed, took = timed(lambda: replay_all(path))
        (run,) = replayed.epochs
        print(
            f"replay    {run.events / took:,.0f} events/s: {took:.1f} s for {run.events:,} events, "
            f"{run.commands:,} commands and {run.hashes} hashes compared, same: {replayed.difference is None}"
        )


if __name__ == "__main__":
    main()
