"""The life of an order from its journal: each step with its time, each guard with its word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from holdfast.di import load
from holdfast.di.epochs import epoch_record, recipe_of, settings_of
from holdfast.di.explain import Life, explain
from holdfast.journal import Record
from holdfast.kernel import Kernel
from holdfast.model.errors import ConfigurationError
from holdfast.strategies import Strategy
from holdfast.testing import Call, FaultyJournal, Held, InProcessBot, never_left, refuse, time_out_after
from holdfast.testing.bot import always_open
from holdfast.time import BacktestClock
from tests.runner.helpers import Scripted, bar, buy, sell

SPY = "SPY"
RISK = {"max_order_notional": 500, "modes": {"order_notional": "observe", "order_quantity": "off"}}


class SlowDisk(FaultyJournal):
    """Each sync takes three milliseconds of the bot's clock."""

    clock: BacktestClock

    async def sync(self) -> None:
        """Take the time, then sync."""
        self.clock.advance(timedelta(milliseconds=3))
        await super().sync()


class Bot:
    """A bot that records its settings, as the container's does."""

    def __init__(self, acts: dict[int, Callable[[Scripted, Any], object]] | None = None) -> None:
        self.settings = settings_of(
            load(None, {"strategy": {"symbols": (SPY,)}, "risk": RISK}), None, own_strategies=True
        )
        self.acts = acts or {}
        self.bot = InProcessBot(self._strategies, make=self._kernel, journal=SlowDisk())
        disk = self.bot.journal
        assert isinstance(disk, SlowDisk)
        disk.clock = self.bot.clock

    def _strategies(self) -> list[Scripted]:
        return [Scripted([SPY], self.acts)]  # type: ignore[arg-type]  # they are given what they take

    def _kernel(self, strategies: Sequence[Strategy]) -> Kernel:
        recipe = recipe_of(self.settings, handed_over=True)
        made = recipe.kernel(())
        return Kernel(strategies, protections=made.protections, gate=made.gate, sessions_for=always_open)

    async def start(self, epoch: int = 1) -> InProcessBot:
        """Begin a run."""
        bot = self.bot
        bot.runner.recover()
        now = bot.clock.now_ns()
        record = epoch_record(epoch=epoch, started_at=now, settings=self.settings, strategies=bot.strategies)
        await bot.runner.begin(record)
        await bot.settle()
        return bot

    async def records(self) -> Callable[[], list[Record]]:
        """All, synced."""
        await self.bot.journal.sync()
        return lambda: list(self.bot.journal.records())


def steps(life: Life) -> list[str]:
    """What happened, in order."""
    return [step.what for step in life.steps]


async def test_each_step_of_a_market_order_with_its_milliseconds() -> None:
    """A bar leads to it; it waits for the disk, the rate limit and the venue; two pieces fill it."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 10, reason="dip")})
    bot = await made.start()
    await bot.play(bar(1))

    async def slow(call: Call) -> Any:
        bot.clock.advance(timedelta(milliseconds=20))
        call.leave()
        bot.clock.advance(timedelta(milliseconds=40))
        return call.carry_out()

    bot.broker.script("place", slow)
    await bot.play(bar(2), bar(3))
    life = explain(await made.records(), "1")

    assert steps(life)[:5] == ["cause", "taken", "decided", "durable", "released"]
    assert sorted(steps(life)[5:7]) == ["answered", "told"]  # the stream may be quicker than the answer
    assert steps(life)[7:] == ["filled", "told", "closed"]
    assert life.steps[0].detail == "bar of SPY: close 100, volume 1000"
    assert life.steps[2].detail == "buy 10 SPY at the market, day; asked by Scripted (dip)"
    assert life.took["decision"] == 0.0
    assert life.took["journal sync"] == 3.0
    assert life.took["rate limit"] == 20.0
    assert life.took["request"] == 40.0
    assert life.took["from decision to close"] >= max(63.0, life.took["until the first fill"])
    assert [step.at for step in life.steps] == sorted(step.at for step in life.steps)
    assert (life.status, life.evidence) == ("filled", "execution")
    assert life.broker_id is not None


async def test_every_guard_that_was_asked_is_named_with_its_word() -> None:
    """In their order and modes, as configured: one that only observes says what it would have done."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 10)})
    bot = await made.start()
    await bot.play(bar(1), bar(2))
    life = explain(await made.records(), "1")

    names = [guard.name for guard in life.guards]
    assert names.index("stoploss_guard") < names.index("trading_state") < names.index("order_notional")
    assert names[-1] == "symbol_rules"
    assert "order_quantity" not in names
    said = {guard.name: (guard.mode, guard.word, guard.reason) for guard in life.guards}
    assert said.pop("order_notional") == ("observe", "would block", "the order is worth 1000.00 (limit 500)")
    assert {word for _, word, _ in said.values()} == {"passed"}
    assert life.unknown_guards == ""


async def test_an_order_is_found_by_its_id_its_number_and_the_venues_id() -> None:
    """All three tell the same life."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 1), 3: lambda s, b: s.buy(b.symbol, 2, limit=90)})
    bot = await made.start()
    await bot.play(bar(1), bar(2), bar(3))
    records = await made.records()
    second = bot.kernel.portfolio.tracker.orders()[1]
    assert second.broker_id is not None
    lives = [explain(records, name) for name in ("2", second.client_order_id, second.broker_id)]

    assert lives[0] == lives[1] == lives[2]
    assert lives[0].intent.quantity == 2
    assert lives[0].steps[2].detail.startswith("buy 2 SPY limit 90")


@pytest.mark.parametrize("name", ["3", "0", "nobody", ""])
async def test_an_unknown_order_is_one_sentence(name: str) -> None:
    """It says what the journal has."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 1)})
    bot = await made.start()
    await bot.play(bar(1), bar(2))
    last = bot.kernel.portfolio.tracker.orders()[-1].client_order_id
    with pytest.raises(ConfigurationError, match=f"no order '{name}'.*it has 1, the last one is {last}"):
        explain(await made.records(), name)


async def test_a_journal_without_orders_says_so() -> None:
    """There is nothing to explain."""
    made = Bot()
    await made.start()
    with pytest.raises(ConfigurationError, match="it has none"):
        explain(await made.records(), "1")


async def test_an_unknown_outcome_a_restart_and_a_look_up_are_told() -> None:
    """The request timed out, the process died, and the next run found the order at the venue."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 4, limit=90)})
    bot = await made.start()
    await bot.play(bar(1))
    bot.broker.script("place", time_out_after)
    bot.broker.script("find_order", Held())
    bot.broker.copies = 0
    await bot.play(bar(2))
    await bot.journal.sync()
    made.bot = await bot.crash()
    after = await made.start(epoch=2)
    await after.advance(seconds=30)
    await after.runner.shut_down(cancel_orders=True, patience_seconds=0.0)
    life = explain(await made.records(), "1")

    told = steps(life)
    assert told[:5] == ["cause", "taken", "decided", "durable", "released"]
    assert told.index("outcome unknown") < told.index("restart") < told.index("told") < told.index("stop")
    assert "look-up asked for" in told
    assert "alert" in told
    assert "cancel asked for" in told
    assert life.steps[told.index("restart")].detail == "run 2 begins; the order is unknown"


async def test_a_refused_and_a_dropped_order() -> None:
    """Each ends with the reason that was given."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 1), 3: lambda s, b: s.buy(b.symbol, 2)})
    bot = await made.start()
    await bot.play(bar(1))
    bot.broker.script("place", refuse("no money"), never_left)
    await bot.play(bar(2), bar(3))
    records = await made.records()
    refused, dropped = explain(records, "1"), explain(records, "2")

    assert steps(refused)[4:] == ["released", "refused by the venue", "alert", "closed"]
    assert refused.steps[5].detail == "no money"
    assert (refused.status, refused.evidence) == ("rejected", "no money")
    assert "released" not in steps(dropped)
    assert "dropped before it left" in steps(dropped)
    assert "journal sync" not in dropped.took


async def test_an_exit_that_had_to_wait_tells_of_its_waiting() -> None:
    """What rested was cancelled first: the deferred verdict stands at the beginning."""
    made = Bot()
    bot = await made.start()
    await bot.play(bar(1))
    await bot.submit(buy(10))
    await bot.play(bar(2))
    await bot.submit(buy(5, limit=90))
    position = bot.kernel.portfolio.positions.quantity(SPY)
    assert position == 10
    strategy = bot.strategies[0]
    assert isinstance(strategy, Scripted)
    strategy.acts[3] = lambda s, b: s.exit(b.symbol, reason="stop_loss")
    await bot.play(bar(3), bar(4))
    await asyncio.sleep(0)
    life = explain(await made.records(), "3")

    assert steps(life)[:2] == ["exit deferred", "cause"]
    assert life.steps[0].detail == "cancels what rests on the symbol first"
    assert life.intent.reduce_only
    assert [guard.name for guard in life.guards][:3] == ["signal", "nothing_to_reduce", "trading_state"]


async def test_without_recorded_settings_the_guards_are_not_guessed() -> None:
    """The rest of the life is told all the same."""
    bot = InProcessBot(lambda: [Scripted([SPY])])
    await bot.start()
    await bot.play(bar(1))
    await bot.submit(sell(1))
    await bot.play(bar(2))
    await bot.journal.sync()
    life = explain(bot.journal.records, "1")

    assert life.guards == ()
    assert "holds no settings" in life.unknown_guards
    assert life.steps[0].detail == "signal from outside (request 1)"
    assert life.status == "filled"


async def test_a_replaced_order_and_the_one_in_its_place_name_each_other() -> None:
    """The old one's life tells what was asked for and by whom it was replaced; the new one's whose place it took."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 4, limit=90)})
    made.acts[3] = lambda s, _: s.replace(made.bot.kernel.portfolio.tracker.orders()[0], limit=91)
    bot = await made.start()
    await bot.play(bar(1), bar(2), bar(3))
    await bot.settle()
    records = await made.records()
    old, new = explain(records, "1"), explain(records, "2")

    asked = old.steps[steps(old).index("replace asked for")]
    assert asked.detail == f"4 limit 91, as order {new.intent.client_order_id}"
    assert old.steps[-1].what == "closed"
    assert old.steps[-1].detail.startswith(f"replaced by order {new.intent.client_order_id}: ")
    decided = new.steps[steps(new).index("decided")]
    assert f"in the place of order {old.intent.client_order_id}" in decided.detail
    assert new.guards[1].name == "not_replaceable"
    assert "released" in steps(new)


async def test_a_brackets_life_is_told_with_its_exits_whichever_is_asked_about() -> None:
    """Entry, the fill of the take-profit, the venue's cancel of the stop-loss: one life, with the prices of all three."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 4, take_profit=102, stop_loss=98)})
    bot = await made.start()
    await bot.play(bar(1), bar(2), bar(3), bar(4, 104.0), bar(5, 104.0))
    await bot.settle()
    records = await made.records()
    life = explain(records, "1")
    name, (profit, loss) = life.intent.client_order_id, life.legs

    decided = life.steps[steps(life).index("decided")]
    assert "at the market, day; bracket with take-profit 102 and stop-loss 98" in decided.detail
    assert (profit.client_order_id, profit.price, profit.status) == (f"{name}.tp", "limit 102", "filled")
    assert (loss.client_order_id, loss.price, loss.status) == (f"{name}.sl", "stop 98", "canceled")
    assert steps(life).index("take_profit filled") > steps(life).index("filled")
    assert "stop_loss closed" in steps(life)
    assert profit.broker_id is not None
    assert loss.broker_id is not None
    for other in ("1.tp", f"{name}.sl", profit.broker_id, loss.broker_id):
        assert explain(records, other).steps == life.steps


async def test_an_exit_that_was_moved_is_followed_to_the_order_in_its_place() -> None:
    """The intent's life names the new order; the new order has a life of its own, with its stop price."""
    made = Bot({2: lambda s, b: s.buy(b.symbol, 4, take_profit=110, stop_loss=90)})
    made.acts[4] = lambda s, _: s.replace(
        f"{made.bot.kernel.portfolio.tracker.orders()[0].client_order_id}.sl", stop=95
    )
    bot = await made.start()
    await bot.play(bar(1), bar(2), bar(3), bar(4), bar(5))
    await bot.settle()
    records = await made.records()
    life, moved = explain(records, "1"), explain(records, "2")

    assert [leg.price for leg in life.legs] == ["limit 110", "stop 90", "stop 95"]
    asked = life.steps[steps(life).index("stop_loss replace asked for")]
    assert asked.detail == f"4 stop 95, as order {moved.intent.client_order_id}"
    assert "stop_loss replaces" in steps(life)
    assert "stop 95" in moved.steps[steps(moved).index("decided")].detail
    assert moved.legs == ()
