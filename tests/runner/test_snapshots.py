"""Restart from a snapshot: what it saves, when it may be used, and what a crash leaves of it (P8)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.journal import SqliteJournal
from holdfast.model import Bar
from holdfast.model.errors import JournalError, StrategyError
from holdfast.model.events import OrderReleased, StateHashed
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.runner.snapshots import Kept
from holdfast.strategies import Strategy
from holdfast.testing import FaultyJournal, InProcessBot
from holdfast.testing.bot import make_kernel
from tests.runner.helpers import Scripted, bar, buy


class Every(Strategy):
    """Buys on every second bar and leaves on the others: where it is depends on every bar so far."""

    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__(symbols)
        self.count = 0

    def on_bar(self, bar: Bar) -> None:
        """In and out."""
        self.count += 1
        if self.count % 2:
            self.buy(bar.symbol, 3)
        else:
            self.exit(bar.symbol)

    def save_state(self) -> object:
        """The count."""
        return self.count

    def load_state(self, state: Any) -> None:
        """The count."""
        self.count = state


class Newer(Every):
    """The same, with a state that means something else."""

    name = "Every"
    version = 2


def strategies() -> list[Strategy]:
    """What trades."""
    return [Every(["SPY"])]


async def a_run(bars: int = 12, every: int = 20, **parts: Any) -> InProcessBot:
    """A bot that has traded, with everything synced."""
    bot = InProcessBot(strategies, snapshot_every=every, **parts)
    await bot.start()
    await bot.play(*(bar(minute) for minute in range(1, bars + 1)))
    await bot.journal.sync()
    return bot


def hashed(bot: InProcessBot) -> list[StateHashed]:
    """The hashes in its journal."""
    return [record.content for record in bot.journal.records() if isinstance(record.content, StateHashed)]


async def test_p8_a_restart_reads_from_the_snapshot_on_and_is_the_same() -> None:
    """State, hash, and what comes next; a kernel that reads the whole journal is the same one, too."""
    bot = await a_run()
    before = bot.kernel.state_hash()
    total = bot.journal.last_seq
    after = await bot.crash()

    recovery = after.runner.recover(config="", strategy="Every@1")
    whole = make_kernel(strategies())
    slow = InProcessBot(strategies, engine=bot.engine, journal=after.journal, clock=bot.clock, make=lambda _: whole)

    assert 0 < recovery.snapshot < total
    assert recovery.records == total - recovery.snapshot
    assert recovery.differences == ()
    assert recovery.last_epoch is not None
    assert recovery.last_epoch.epoch == 1
    assert slow.runner.recover().records == total
    assert after.kernel.state_hash() == whole.state_hash() == before


async def test_p8_the_next_run_trades_on() -> None:
    """Over several crashes: each begins with a snapshot, ids go on, and nothing is sent twice."""
    bot = await a_run()
    for epoch in (2, 3, 4):
        bot = await bot.crash()
        recovery = await bot.start()
        assert recovery.snapshot > 0
        assert bot.kernel.epoch == epoch
        minute = (bot.clock.now_ns() - bar(0).ts) // (60 * NS_PER_SECOND)
        await bot.play(*(bar(minute + n) for n in range(1, 5)))
        await bot.journal.sync()
    strategy = bot.strategies[0]
    assert isinstance(strategy, Every)
    assert strategy.count == bot.kernel.bars == 24
    ids = [order.client_order_id for order in bot.kernel.portfolio.tracker.orders()]
    assert len(set(ids)) == len(ids) == 24
    assert {order.status.value for order in bot.kernel.portfolio.tracker.orders()} <= {"filled", "new"}


async def test_a_snapshot_that_was_not_synced_is_lost_with_its_records() -> None:
    """A crash leaves the last one that was durable, or none."""
    bot = InProcessBot(strategies, snapshot_every=5, journal=FaultyJournal(fail_sync_at=1))
    with pytest.raises(JournalError):
        await bot.start()
    assert bot.journal.inner.latest_snapshot() is None

    bot = await a_run(every=10_000)
    assert bot.journal.latest_snapshot() is None


async def test_a_clean_stop_leaves_a_snapshot_of_its_end() -> None:
    """The next start reads nothing at all before it begins."""
    bot = await a_run(every=10_000)
    await bot.runner.shut_down(cancel_orders=True, patience_seconds=0.0)
    snapshot = bot.journal.latest_snapshot()
    assert snapshot is not None
    assert snapshot.seq == bot.journal.last_seq
    assert hashed(bot)[-1].digest == msgspec.msgpack.decode(snapshot.state, type=Kept).digest

    after = await bot.crash()
    recovery = await after.start()

    assert (recovery.records, recovery.snapshot) == (0, snapshot.seq)
    assert after.kernel.epoch == 2


async def test_the_hash_is_recorded_with_each_snapshot_and_is_that_of_the_state() -> None:
    """Every so many records, and it changes nothing itself."""
    bot = await a_run(bars=30, every=25)
    found = hashed(bot)
    assert len(found) >= 3
    assert len({event.digest for event in found}) == len(found)
    before = bot.kernel.state_hash()
    assert bot.kernel.handle(StateHashed(ts=bot.clock.now_ns() + 1, digest="x")) == ()
    assert bot.kernel.state_hash() == before


@pytest.mark.parametrize(
    ("config", "strategy", "reason"),
    [
        ("", "Every@2", "it is of the strategies Every@1 and these are Every@2"),
        ("other", "Every@1", "the configuration was another one"),
    ],
)
async def test_a_snapshot_of_other_versions_is_not_used(config: str, strategy: str, reason: str) -> None:
    """The whole journal is shown instead, and recorded decisions win."""
    bot = await a_run()
    tracked = bot.kernel.portfolio.tracker.to_json()
    total = bot.journal.last_seq
    after = await bot.crash()
    recovery = after.runner.recover(config=config, strategy=strategy)

    assert recovery.snapshot == 0
    assert recovery.records == total
    assert recovery.unused.endswith(f"was not used: {reason}")
    assert after.kernel.portfolio.tracker.to_json() == tracked


async def test_a_snapshot_of_another_form_is_not_used() -> None:
    """Nor one whose content cannot be read: by number, or by looking."""
    bot = await a_run()
    snapshot = bot.journal.latest_snapshot()
    assert snapshot is not None
    later = bot.journal.last_seq
    for changed, reason in (
        (msgspec.structs.replace(snapshot, seq=later, form=99), "its state has form 99 and this version reads form"),
        (msgspec.structs.replace(snapshot, seq=later, state=b"nonsense"), "it cannot be read"),
    ):
        bot.journal.save_snapshot(changed)
        await bot.journal.sync()
        after = InProcessBot(strategies, engine=bot.engine, journal=bot.journal, clock=bot.clock)
        recovery = after.runner.recover(config="", strategy="Every@1")
        assert recovery.snapshot == 0
        assert reason in recovery.unused
        assert after.kernel.state_hash() == bot.kernel.state_hash()


async def test_no_snapshots_are_taken_or_used_where_they_are_switched_off() -> None:
    """The hash at the clean stop is recorded all the same."""
    bot = await a_run()
    off = InProcessBot(strategies, engine=bot.engine, journal=bot.journal.crash(), clock=bot.clock, snapshot_every=0)
    recovery = await off.start()
    kept = off.journal.latest_snapshot()
    assert (recovery.snapshot, recovery.unused) == (0, "")
    await off.play(*(bar(minute) for minute in range(13, 40)))
    await off.runner.shut_down(cancel_orders=True, patience_seconds=0.0)
    assert off.journal.latest_snapshot() == kept
    assert hashed(off)[-1].digest == off.kernel.state_hash()


async def test_a_strategy_that_gives_no_state_is_said_once_and_shown_everything() -> None:
    """There is no snapshot with half a memory; the hash of the rest is recorded all the same."""
    bot = InProcessBot(lambda: [Scripted(["SPY"])], snapshot_every=5)
    await bot.start()
    await bot.play(*(bar(minute) for minute in range(1, 30)))
    await bot.journal.sync()

    assert len(hashed(bot)) > 2
    assert bot.journal.latest_snapshot() is None
    said = [alert for alert in bot.alerts.alerts if "no snapshots are taken" in alert.title]
    assert [alert.details for alert in said] == [
        "strategy Scripted does not implement save_state and load_state, nor says keeps_state = False"
    ]
    after = await bot.crash()
    kept = after.journal.last_seq
    assert (await after.start()).records == kept


async def test_a_strategy_that_raised_leaves_no_snapshot() -> None:
    """The kernel was stopped in the middle of an event: that is no state to go on from."""
    bot = InProcessBot(lambda: [Scripted(["SPY"], {2: lambda s, _: s.load_state(1)})], snapshot_every=1)
    await bot.start()
    await bot.play(bar(1))
    with pytest.raises(StrategyError):
        await bot.play(bar(2))
    before = bot.journal.appends
    await bot.runner.shut_down(cancel_orders=True, patience_seconds=0.0)
    await bot.journal.sync()
    assert bot.journal.appends > before
    assert [
        record for record in bot.journal.records() if isinstance(record.content, StateHashed) and record.seq > before
    ] == []


async def test_a_damaged_snapshot_costs_time_and_nothing_else(tmp_path: Path) -> None:
    """The one before it is used; in a real file."""
    path = tmp_path / "bot.journal"
    bot = await a_run(journal=FaultyJournal(SqliteJournal(path)))
    before = bot.kernel.state_hash()
    bot.journal.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        seqs = [row[0] for row in db.execute("SELECT seq FROM snapshots ORDER BY seq")]
        db.execute("UPDATE snapshots SET crc = crc + 1 WHERE seq = ?", (seqs[-1],))
        db.commit()
    assert len(seqs) > 1

    after = InProcessBot(strategies, journal=FaultyJournal(SqliteJournal(path)), engine=bot.engine, clock=bot.clock)
    recovery = after.runner.recover(config="", strategy="Every@1")
    after.journal.close()

    assert recovery.snapshot == seqs[-2]
    assert after.kernel.state_hash() == before


async def test_when_an_order_left_is_recorded() -> None:
    """One event for each, with moments that do not go back."""
    bot = InProcessBot(lambda: [Scripted(["SPY"])])
    await bot.start()
    await bot.play(bar(1))
    verdict = await bot.submit(buy())
    await bot.journal.sync()
    released = [record.content for record in bot.journal.records() if isinstance(record.content, OrderReleased)]
    assert [event.client_order_id for event in released] == [verdict.client_order_id]
    (event,) = released
    moments = [event.taken_at, event.decided_at, event.synced_at, event.granted_at, event.ts]
    assert moments == sorted(moments)
