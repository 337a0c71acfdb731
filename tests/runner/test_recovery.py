"""A restart from the journal: the same kernel, nothing lost, nothing sent twice (P2, P8)."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.journal import EpochRecord, SqliteJournal
from holdfast.kernel import Kernel
from holdfast.model import Bar, OrderStatus, TradingState
from holdfast.model.errors import JournalError, OutcomeUnknownError
from holdfast.model.events import ReconcileRequested, StreamConnected
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.runner import recover
from holdfast.runner.replay import replay
from holdfast.strategies import Strategy
from holdfast.testing import (
    Answer,
    Call,
    FaultyJournal,
    Held,
    InProcessBot,
    carry_out,
    cut_off,
    make_engine,
    never_left,
    not_found,
    refuse,
    sent_twice,
    time_out_after,
    time_out_before,
    unaccounted,
    written_behind,
)
from holdfast.testing.bot import START, make_kernel
from holdfast.venue.matching.engine import EngineSettings
from tests.runner.helpers import Scripted, bar, buy, sell, turns


class Swings(Strategy):
    """Trades often, with state of its own, and remembers everything it was told."""

    def __init__(self, symbols: Sequence[str], quantity: int = 7) -> None:
        super().__init__(symbols)
        self.quantity = quantity
        self.history: list[str] = []

    def on_bar(self, bar: Bar) -> None:
        """In and out, sometimes at a limit."""
        view = self.view(bar.symbol)
        step = len(self.history) % 5
        if step == 0:
            verdict = self.buy(bar.symbol, self.quantity)
        elif step == 1:
            verdict = self.buy(bar.symbol, 1, limit=bar.close - 0.5)
        elif step == 3:
            verdict = self.exit(bar.symbol)
        else:
            self.history.append(f"bar {bar.ts} {view.position} {view.busy}")
            return
        self.history.append(f"{verdict.stage} {verdict.guard} {verdict.client_order_id}")


def maker(quantity: int = 7) -> list[Strategy]:
    """New strategies, as a new process makes them."""
    return [Swings(["SPY"], quantity)]


def state_of(kernel: Kernel) -> dict[str, object]:
    """Everything that a kernel knows, in a form that can be compared."""
    portfolio, found = kernel.portfolio, kernel.reconciliation
    return {
        "tracker": portfolio.tracker.to_json(),
        "positions": portfolio.positions.to_json(),
        "money": (portfolio.equity, portfolio.day_start_equity, portfolio.account, portfolio.buying_power),
        "time": (portfolio.now_ns, kernel.timers),
        "epoch": (kernel.journal_id, kernel.epoch, portfolio.trading_state, portfolio.verified),
        "counters": [getattr(kernel.counters, name) for name in kernel.counters.__slots__],
        "verdicts": list(kernel.recent_verdicts),
        "books": {
            symbol: (book.position_float, book.last_price, book.bars, book.busy, book.exit is None)
            for symbol, book in portfolio.books.items()
        },
        "reconciliation": (found.count, found.last_at, found.drift, found.orphans, found.venue_positions),
        "strategies": [getattr(strategy, "history", None) for strategy in kernel.strategies],
    }


async def a_day(bot: InProcessBot) -> None:
    """Bars that swing, and answers of every kind."""
    await bot.start()
    bot.broker.script("place", carry_out, time_out_before, carry_out, time_out_after, refuse(), cut_off, never_left)
    bot.broker.script("find_order", not_found, never_left)
    for minute in range(1, 40):
        await bot.play(bar(minute, 100.0 + minute % 4 * 0.5))
        await bot.submit(buy(1, limit=99.9))
        if minute % 7 == 0:
            await bot.advance(seconds=15)


##### P8: the same kernel


async def test_p8_the_records_make_the_same_kernel() -> None:
    """Orders, positions, money, timers, verdicts, the strategy's own state: all as before the crash, to the last digit."""
    bot = InProcessBot(maker)
    await a_day(bot)
    await bot.journal.sync()
    before = state_of(bot.kernel)
    assert bot.kernel.counters.executions > 10

    after = await bot.crash()
    recovery = after.runner.recover()

    assert state_of(after.kernel) == before
    assert recovery.differences == ()
    assert recovery.records == len(list(after.journal.records()))
    assert recovery.last_epoch is not None
    assert recovery.last_epoch.epoch == 1
    assert after.broker.requests == []


async def test_what_was_never_synced_is_as_if_it_had_not_happened() -> None:
    """The kernel of the next run is that of the last sync."""
    bot = InProcessBot(lambda: [Scripted(["SPY"])])
    await bot.start()
    await bot.play(bar(1))
    await bot.submit(buy(limit=50))  # syncs
    kept = len(list(bot.journal.records()))
    await bot.play(bar(2), bar(3))
    assert len(list(bot.journal.records())) == kept

    after = await bot.crash()
    recovery = after.runner.recover()

    assert recovery.records == kept
    assert after.kernel.bars == 1


async def test_a_new_journal_is_a_new_beginning() -> None:
    """No epoch before the first."""
    bot = InProcessBot()

    recovery = await bot.start()

    assert recovery.last_epoch is None
    assert recovery.records == 0
    assert bot.kernel.epoch == 1


async def test_epochs_count_up() -> None:
    """Each run is one, with who wrote it; a run goes on in the same journal."""
    bot = InProcessBot(maker)
    for _ in range(3):
        await bot.start()
        await bot.journal.sync()
        bot = await bot.crash()

    epochs = [record.content for record in bot.journal.records() if isinstance(record.content, EpochRecord)]

    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert {epoch.strategy for epoch in epochs} == {"Swings@1"}


async def test_another_strategy_is_told_apart_and_sends_nothing() -> None:
    """What it would have done otherwise is described; what was done stays done."""
    bot = InProcessBot(maker)
    await bot.start()
    for minute in range(1, 12):
        await bot.play(bar(minute))
    await bot.journal.sync()
    orders = bot.kernel.portfolio.tracker.to_json()
    sent = bot.broker.sent()
    await bot.runner.outbox.stop()

    after = InProcessBot(lambda: maker(quantity=8), engine=bot.engine, journal=bot.journal.crash(), clock=bot.clock)
    recovery = after.runner.recover()

    assert recovery.difference_count > 0
    assert "not in the journal, not sent" in recovery.differences[0]
    assert after.kernel.portfolio.tracker.to_json() == orders
    assert after.broker.requests == []
    assert sent_twice(bot.broker.requests) == []
    assert len(sent) == len(set(sent))


async def test_recorded_decisions_that_nobody_asks_for_today_are_enacted() -> None:
    """An order that was sent exists, also where today's strategy would not have sent it."""
    bot = InProcessBot(maker)
    await bot.start()
    await bot.play(bar(1), bar(2))
    await bot.journal.sync()
    await bot.runner.outbox.stop()

    after = InProcessBot(lambda: [Scripted(["SPY"])], engine=bot.engine, journal=bot.journal.crash(), clock=bot.clock)
    recovery = after.runner.recover()

    assert any("not asked for today" in difference for difference in recovery.differences)
    assert after.kernel.portfolio.positions.quantity("SPY") == bot.kernel.portfolio.positions.quantity("SPY") == 7


async def test_a_damaged_journal_starts_nothing(tmp_path: Path) -> None:
    """The error names the record, and comes out before anything is asked of the venue."""
    path = tmp_path / "bot.journal"
    bot = await _ran(FaultyJournal(SqliteJournal(path)))
    bot.journal.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE records SET crc = crc + 1 WHERE seq = 3")
        db.commit()

    after = InProcessBot(journal=FaultyJournal(SqliteJournal(path)), engine=bot.engine, clock=bot.clock)
    with pytest.raises(JournalError, match="record 3 is damaged"):
        await after.start()

    assert after.broker.requests == []
    after.journal.close()


##### P2: nothing twice, nothing lost


async def _ran(journal: FaultyJournal | None = None) -> InProcessBot:
    bot = InProcessBot(lambda: [Scripted(["SPY"])], journal=journal)
    await bot.start()
    await bot.play(bar(1))
    return bot


async def test_p2_a_crash_between_sync_and_send_is_closed_as_never_sent() -> None:
    """The intent was durable and never left: it is looked up, not sent again, and closed once the grace has passed."""
    bot = await _ran()
    bot.broker.script("place", Held())
    verdict = await bot.submit(buy())

    after = await bot.crash()
    await after.start()
    (order,) = after.kernel.portfolio.tracker.orders()
    assert order.client_order_id == verdict.client_order_id
    assert order.status is OrderStatus.UNKNOWN  # one "not found" so soon is no evidence yet
    await after.advance(seconds=30)

    assert {call.subject for call in after.broker.made("find_order")} == {order.client_order_id}
    assert order.is_closed
    assert order.status.value == "never_sent"
    assert "the venue has no order with this id" in order.evidence
    assert bot.broker.sent() == after.broker.sent() == []
    assert unaccounted(after.engine, after.journal.records(), after.kernel.portfolio.tracker) == []


async def test_p2_a_crash_after_the_send_is_adopted() -> None:
    """The venue had accepted it: the next run finds it, follows it, and counts its fill once."""
    bot = await _ran()
    bot.broker.script("place", Held(at_venue=True))
    bot.broker.copies = 0
    verdict = await bot.submit(buy())
    assert bot.engine.open_count == 1

    after = await bot.crash()
    await after.start()
    (order,) = after.kernel.portfolio.tracker.orders()
    assert order.client_order_id == verdict.client_order_id
    assert order.status is OrderStatus.NEW
    await after.play(bar(2))

    assert after.kernel.portfolio.positions.quantity("SPY") == 10
    assert after.kernel.counters.executions == 1
    assert sent_twice([*bot.broker.requests, *after.broker.requests]) == []


async def test_p2_fills_while_nobody_was_there_are_counted() -> None:
    """With their real execution ids, by the reconciliation of the start."""
    bot = await _ran()
    await bot.submit(buy(limit=99))
    await bot.runner.outbox.stop()
    bot.broker.stream = None
    bot.clock.advance_to(bar(3).ts)
    bot.broker.play(bar(2, 98.0))

    after = await bot.crash()
    await after.start()

    assert after.kernel.portfolio.positions.quantity("SPY") == 10
    (order,) = after.kernel.portfolio.tracker.orders()
    assert order.status is OrderStatus.FILLED
    assert [e.execution_id for e in order.executions] == [e.execution_id for e in after.engine.activities()]


async def test_p2_a_look_up_that_fails_is_no_evidence() -> None:
    """However long it lasts: the order stays unknown until the venue speaks."""
    bot = await _ran()
    bot.broker.script("place", time_out_after)
    bot.broker.copies = 0
    bot.broker.script("find_order", *[never_left, time_out_before, refuse("try later", status=500)] * 2)
    await bot.submit(buy())

    await bot.advance(seconds=60)
    (order,) = bot.kernel.portfolio.tracker.orders()
    assert bot.kernel.portfolio.tracker.unknown_orders() == [order]
    await bot.advance(seconds=120)

    assert order.status is OrderStatus.NEW


##### Everything at once


class Whims(Strategy):
    """Cancels and exits at some prices: a function of what it is shown, as every strategy must be."""

    keeps_state = False

    def on_bar(self, bar: Bar) -> None:
        """By the last digits of the price."""
        dimes = round(bar.close * 10)
        if dimes % 4 == 0:
            self.cancel(bar.symbol)
        if dimes % 9 == 0:
            self.exit(bar.symbol)


class Late:
    """The venue does it, and the time-out comes only when the faults stop, if the process lives that long."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def __call__(self, call: Call, /) -> None:
        """Wait."""
        call.carry_out()
        await call.hold(self.over)
        message = "no answer within the time-out"
        raise OutcomeUnknownError(message)


FAULTS: dict[str, Answer] = {
    "time_out_before": time_out_before,
    "time_out_after": time_out_after,
    "cut_off": cut_off,
    "never_left": never_left,
    "refused": refuse(),
}
METHODS = ["place", "request_cancel", "find_order", "fetch_orders", "fetch_executions", "fetch_account"]

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("bar"), st.integers(-6, 6)),
        st.tuples(st.sampled_from(["buy", "sell", "limit"]), st.integers(1, 9)),
        st.tuples(st.just("wait"), st.integers(1, 20)),
        st.tuples(st.just("copies"), st.integers(0, 2)),
        st.tuples(st.just("reconcile"), st.just(0)),
        st.tuples(st.just("crash"), st.booleans()),
        st.tuples(st.sampled_from(METHODS), st.sampled_from([*FAULTS, "late"])),
    ),
    max_size=40,
)


class Life:
    """A bot that lives through steps, crashes among them, on one venue and one journal."""

    def __init__(self) -> None:
        self.engine = make_engine(settings=EngineSettings(participation=Decimal("0.005")))
        self.bot = InProcessBot(lambda: [Whims(["SPY"])], engine=self.engine, snapshot_every=30)
        self.requests: list[Call] = []
        self.late: list[Late] = []
        self.price = 100.0

    async def take(self, kind: str, value: Any) -> None:
        """One step."""
        bot = self.bot
        if kind == "bar":
            self.price = max(self.price + value * 0.1, 90.0)
            minute = (bot.clock.now_ns() - START) // NS_PER_MINUTE + 1
            await bot.play(bar(minute, round(self.price, 1)))
        elif kind == "limit":
            await bot.submit(buy(value, limit=round(self.price - 0.2, 1)))
        elif kind in {"buy", "sell"}:
            await bot.submit(buy(value) if kind == "buy" else sell(value))
        elif kind == "wait":
            await bot.advance(seconds=value)
        elif kind == "copies":
            bot.broker.copies = value
        elif kind == "reconcile":
            bot.runner.inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="test"),))
            await bot.settle()
        elif kind == "crash":
            await self.crash(synced=value)
        elif value == "late":
            self.late.append(Late())
            bot.broker.script(kind, self.late[-1])
        else:
            bot.broker.script(kind, FAULTS[value])

    async def crash(self, *, synced: bool) -> None:
        """End the run, and begin the next."""
        if synced:
            await self.bot.journal.sync()
        self.requests += self.bot.broker.requests
        self.bot = await self.bot.crash()
        whole, short = make_kernel([Whims(["SPY"])]), make_kernel([Whims(["SPY"])])
        recover(self.bot.journal, whole)
        recover(self.bot.journal, short, config="", strategy="Whims@1")
        assert whole.state_hash() == short.state_hash(), "a snapshot is not what the whole journal gives"
        await self.bot.start()

    async def heal(self) -> None:
        """The faults stop; what is open gets a minute to settle."""
        self.bot.broker.heal()
        for late in self.late:
            late.over.set()
        self.bot.runner.inbox.post(lambda ts: (StreamConnected(ts=ts, stream="user"),))
        await turns(5)
        await self.bot.advance(seconds=60)
        await self.take("reconcile", 0)
        self.requests += self.bot.broker.requests


@settings(max_examples=150)
@given(_steps)
def test_p2_p3_p4_p9_whatever_happens_the_books_are_equal_in_the_end(steps: list[tuple[str, Any]]) -> None:
    """Faults and crashes in any order; then they stop, and within a minute of clock time everything is accounted for."""
    asyncio.run(_live(steps))


async def _live(steps: list[tuple[str, Any]]) -> None:
    life = Life()
    await life.bot.start()
    await life.take("bar", 0)
    for step in steps:
        await life.take(*step)
    await life.heal()
    bot, tracker = life.bot, life.bot.kernel.portfolio.tracker

    assert written_behind(life.requests) == []
    assert sent_twice(life.requests) == []
    await bot.journal.sync()
    assert unaccounted(life.engine, bot.journal.records(), tracker) == []
    assert tracker.unknown_orders() == []
    assert [order for order in tracker.orders() if order.fills_missing] == []
    counted = sorted(e.execution_id for order in tracker.orders() for e in order.executions)
    assert counted == sorted(execution.execution_id for execution in life.engine.activities())
    theirs = {position.symbol: position.quantity for position in life.engine.positions()}
    assert {p.symbol: p.quantity for p in bot.kernel.portfolio.positions.get_all() if p.quantity} == theirs
    assert bot.kernel.portfolio.positions.cash == life.engine.account().cash
    assert bot.kernel.reconciliation.drift == ()
    assert bot.kernel.portfolio.trading_state is TradingState.ACTIVE
    assert replay(bot.journal.records(), make_kernel([Whims(["SPY"])])).difference is None
