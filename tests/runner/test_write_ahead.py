"""P1: no order request leaves before its intent is durable. And what one sync covers."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from holdfast.journal import SqliteJournal
from holdfast.model import Bar
from holdfast.model.commands import ORDER_COMMANDS
from holdfast.model.errors import JournalError, OrderDroppedError
from holdfast.model.events import Event
from holdfast.runner import Runner
from holdfast.testing import FaultyJournal, InProcessBot, SqliteWitness, journaled_intents, written_behind
from tests.runner.helpers import Scripted, bar, buy, sell, trading, turns, until


class Eager(Runner):
    """A runner as it must not be: it releases commands first, and makes them durable after."""

    async def _take(self, event: Event) -> None:
        self.journal.append_event(event)
        commands = self.kernel.handle(event)
        self._release(commands)
        if commands:
            await asyncio.sleep(0)
            self.journal.append_commands(commands)
            if any(isinstance(command, ORDER_COMMANDS) for command in commands):
                await self._sync()


async def orders_of(runner: type[Runner], sync_turns: int) -> InProcessBot:
    """A bot that has sent a few orders, from a strategy and from outside, on a disk of some speed."""
    strategy = Scripted(["SPY"], {2: lambda s, b: s.buy(b.symbol, 5), 3: lambda s, b: s.exit(b.symbol)})
    bot = await trading(strategy, make_runner=runner, journal=FaultyJournal(sync_turns=sync_turns))
    await bot.submit(buy(7))
    await bot.play(bar(2), bar(3), bar(4))
    await asyncio.gather(bot.submit(buy(1, limit=50)), bot.submit(buy(2, limit=51)))
    assert len(bot.broker.sent()) >= 4
    return bot


@pytest.mark.parametrize("sync_turns", [0, 1, 3, 20])
async def test_p1_no_order_leaves_before_its_intent_is_durable(sync_turns: int) -> None:
    """P1, on fast disks and slow ones."""
    bot = await orders_of(Runner, sync_turns)

    assert written_behind(bot.broker.requests) == []


async def test_canary_a_runner_that_releases_first_is_caught() -> None:
    """The checker of P1 can fail: it names each order that left too early."""
    bot = await orders_of(Eager, sync_turns=20)

    complaints = written_behind(bot.broker.requests)

    assert len(complaints) == len(bot.broker.sent())
    assert "left before its intent was durable" in complaints[0]


@pytest.mark.parametrize("runner", [Runner, Eager])
async def test_p1_on_a_real_disk_that_hangs(tmp_path: Path, runner: type[Runner]) -> None:
    """While the commit hangs nothing leaves; once it is through, everything does. The canary leaves at once."""
    path = tmp_path / "bot.journal"
    journal = FaultyJournal(SqliteJournal(path))
    witness = SqliteWitness(path)
    bot = await trading(make_runner=runner, journal=journal, witness=witness)
    await journal.sync()
    disk = sqlite3.connect(path, isolation_level=None)
    disk.execute("BEGIN IMMEDIATE")

    submit = asyncio.ensure_future(bot.submit(buy()))
    await turns()
    left_early = bot.broker.sent()
    disk.execute("ROLLBACK")
    disk.close()
    await submit
    await until(bot.broker.sent)

    assert bool(left_early) is (runner is Eager)
    assert bool(written_behind(bot.broker.requests)) is (runner is Eager)
    witness.close()
    bot.journal.close()


async def test_one_sync_covers_everything_earlier() -> None:
    """Bars cost no sync of their own; the first order's makes them durable with it."""
    strategy = Scripted(["SPY"], {40: lambda s, b: s.buy(b.symbol, 5)})
    bot = await trading(strategy)
    await bot.play(*(bar(minute) for minute in range(2, 40)))
    assert bot.journal.syncs == 0
    assert bot.journal.unsynced > 39

    await bot.play(bar(40))

    assert bot.journal.syncs == 1
    durable = [record.content for record in bot.journal.records()]
    assert [content for content in durable if isinstance(content, Bar)] == [bar(minute) for minute in range(1, 41)]
    assert list(journaled_intents(bot.journal.records())) == bot.broker.sent()


async def test_a_cancel_is_durable_before_it_leaves_too() -> None:
    """It is an order request."""
    bot = await trading()
    await bot.submit(buy(limit=50))
    before = bot.journal.syncs

    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)

    assert len(bot.broker.made("request_cancel")) == 1
    assert bot.journal.syncs > before


async def _trade(bot: InProcessBot) -> None:
    await bot.start()
    await bot.play(*(bar(minute) for minute in range(1, 40)))


@pytest.mark.parametrize("fault", ["append", "sync"])
@pytest.mark.parametrize("number", range(1, 26))
async def test_p1_a_journal_that_fails_stops_the_bot_and_nothing_more_is_sent(fault: str, number: int) -> None:
    """Wherever it fails: the error comes out, what left was durable, and the end of the run sends nothing either."""
    journal = FaultyJournal()
    setattr(journal, f"fail_{fault}_at", number)
    strategy = Scripted(["SPY"], {n: lambda s, b: s.buy(b.symbol, 1, limit=50) for n in range(2, 40)})
    bot = InProcessBot(lambda: [strategy], journal=journal)

    with pytest.raises(JournalError, match=rf"{fault} number {number} of the journal failed"):
        await _trade(bot)
    requests = len(bot.broker.requests)
    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)
    await turns()

    assert written_behind(bot.broker.requests) == []
    assert {order.client_order_id for order in bot.engine.orders("all")} <= journaled_intents(journal.records()).keys()
    assert [call.method for call in bot.broker.requests[requests:]] == []


async def test_a_journal_that_fails_while_only_bars_come_stops_the_bot_too() -> None:
    """The regular flush meets the failure, and ``run`` raises it: no order is needed to find out."""
    bot = await trading(journal=FaultyJournal(fail_sync_at=1))

    with pytest.raises(JournalError, match="sync number 1"):
        await bot.runner.run()  # a second of real time: the flush's period


async def test_who_waits_for_a_verdict_is_told_that_the_bot_has_ended() -> None:
    """A signal that nobody will decide on any more does not hang."""
    bot = await trading(journal=FaultyJournal(fail_sync_at=1))

    first, second = bot.runner.submit(buy()), bot.runner.submit(sell())
    outcomes = asyncio.gather(first, second, return_exceptions=True)
    run = asyncio.ensure_future(bot.runner.run())

    assert [str(outcome) for outcome in await outcomes] == ["the bot has ended"] * 2
    with pytest.raises(JournalError):
        await run
    with pytest.raises(OrderDroppedError, match="the bot has ended"):
        await bot.runner.submit(sell())
    assert bot.broker.sent() == []


class Broken(Runner):
    """A runner whose kernel has a bug that shows at the price of 113."""

    async def _take(self, event: Event) -> None:
        if isinstance(event, Bar) and event.close == 113.0:
            message = "a bug"
            raise ZeroDivisionError(message)
        await super()._take(event)


async def test_a_bug_of_ours_sends_nothing_more() -> None:
    """State that may be void decides nothing: not even the cancels of a shutdown."""
    bot = await trading(make_runner=Broken)
    await bot.submit(buy(limit=50))
    with pytest.raises(ZeroDivisionError):
        await bot.play(bar(2, 113.0))
    requests = len(bot.broker.requests)

    await bot.runner.shut_down(cancel_orders=True, patience_seconds=10)

    assert len(bot.broker.requests) == requests
    assert bot.engine.open_count == 1
