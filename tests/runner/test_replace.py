"""Replacing an order in a whole bot: what is lost on the way, a crash in the middle, and the journal that tells of it."""

from __future__ import annotations

from decimal import Decimal

from holdfast.model import OrderSide, OrderStatus, Signal
from holdfast.state.order_tracker import InFlightOrder
from holdfast.testing import (
    FaultyJournal,
    Held,
    InProcessBot,
    cut_off,
    sent_twice,
    time_out_after,
    time_out_before,
    unaccounted,
    written_behind,
)
from tests.runner.helpers import Scripted, bar, buy


async def resting(journal: FaultyJournal | None = None) -> tuple[InProcessBot, str]:
    """A bot with a limit buy at the venue, and its id."""
    bot = InProcessBot(lambda: [Scripted(["SPY"])], journal=journal)
    await bot.start()
    await bot.play(bar(1))
    verdict = await bot.submit(buy(limit=90))
    assert verdict.client_order_id is not None
    return bot, verdict.client_order_id


def move(old: str, limit: float) -> Signal:
    """Another price for it."""
    return Signal(symbol="SPY", side=OrderSide.BUY, quantity=Decimal(10), price=Decimal(repr(limit)), replaces=old)


def orders(bot: InProcessBot) -> list[InFlightOrder]:
    """All of the bot's, oldest first."""
    return bot.kernel.portfolio.tracker.orders()


def statuses(bot: InProcessBot) -> list[str]:
    """What the bot holds them to be."""
    return [order.status.value for order in orders(bot)]


async def test_p1_p2_a_replacement_is_durable_before_it_leaves_and_one_at_a_time() -> None:
    """On a slow disk, three times in a row."""
    bot, old = await resting(FaultyJournal(sync_turns=3))
    for limit in (91, 92, 93):
        verdict = await bot.submit(move(old, limit))
        assert verdict.client_order_id is not None, verdict.reason
        old = verdict.client_order_id
        await bot.settle()

    assert statuses(bot) == ["replaced", "replaced", "replaced", "new"]
    assert [order.is_open for order in bot.engine.orders("all", newest_first=False)] == [False, False, False, True]
    assert written_behind(bot.broker.requests) == []
    assert sent_twice(bot.broker.requests) == []
    assert len(bot.broker.made("replace")) == 3
    assert unaccounted(bot.engine, bot.journal.records(), bot.kernel.portfolio.tracker) == []


async def test_p2_an_answer_that_was_lost_is_found_under_the_new_id() -> None:
    """With a mute stream both words are lost: the new order is looked up, and after it the old one."""
    bot, old = await resting()
    bot.broker.script("replace", time_out_after)
    bot.broker.copies = 0
    await bot.submit(move(old, 91))
    await bot.advance(seconds=30)

    assert statuses(bot) == ["replaced", "new"]
    assert orders(bot)[0].replaced_by == orders(bot)[1].client_order_id
    assert len(bot.broker.made("replace")) == 1


async def test_p2_a_request_that_was_lost_is_never_sent_again() -> None:
    """The old order lives on, and fills."""
    bot, old = await resting()
    bot.broker.script("replace", time_out_before)
    await bot.submit(move(old, 91))
    assert statuses(bot) == ["new", "unknown"]
    await bot.advance(seconds=60)
    assert statuses(bot) == ["new", "never_sent"]
    await bot.play(bar(3, 89.0))
    assert statuses(bot) == ["filled", "never_sent"]
    assert bot.kernel.portfolio.positions.quantity("SPY") == 10
    assert len(bot.broker.made("replace")) == 1


async def test_p2_a_crash_before_the_request_left_leaves_the_old_order() -> None:
    """The intent is durable, and looked up; nothing is sent again."""
    bot, old = await resting()
    bot.broker.script("replace", Held())
    await bot.submit(move(old, 91))
    after = await bot.crash()
    await after.start()
    assert orders(after)[1].status is OrderStatus.UNKNOWN
    await after.advance(seconds=60)

    assert statuses(after) == ["new", "never_sent"]
    assert after.broker.made("replace") == []


async def test_p2_a_crash_after_the_venue_replaced_it_is_adopted() -> None:
    """Both orders are told by the next run's questions."""
    bot, old = await resting()
    bot.broker.script("replace", Held(at_venue=True))
    bot.broker.copies = 0
    await bot.submit(move(old, 91))
    after = await bot.crash()
    await after.start()
    await after.advance(seconds=30)

    assert statuses(after) == ["replaced", "new"]
    assert after.broker.made("replace") == []
    assert unaccounted(after.engine, after.journal.records(), after.kernel.portfolio.tracker) == []


async def test_a_cut_connection_and_a_fill_count_once() -> None:
    """The venue had replaced it; the new one fills; the old one's end is learned."""
    bot, old = await resting()
    bot.broker.script("replace", cut_off)
    await bot.submit(move(old, 91))
    await bot.play(bar(3, 90.5))
    assert statuses(bot) == ["replaced", "filled"]
    assert bot.kernel.portfolio.positions.quantity("SPY") == 10
    assert bot.kernel.counters.executions == 1
