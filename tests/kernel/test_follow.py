"""Replay: the recorded events and commands rebuild the kernel, exactly, whatever code or configuration says today."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.di.report import summary
from holdfast.kernel import Kernel
from holdfast.model import OrderStatus, Source, Stage
from holdfast.model.events import ShutdownStarted
from holdfast.risk import RiskLimits
from tests.kernel.helpers import SPY, Action, Bench, Scripted, buy, leave, make_kernel, sell
from tests.kernel.world import ACTIONS, VENUE, World


def everything(kernel: Kernel) -> dict[str, Any]:
    """All that a kernel knows."""
    portfolio, reconciliation = kernel.portfolio, kernel.reconciliation
    return {
        "summary": summary(kernel),
        "tracker": portfolio.tracker.to_json(),
        "positions": portfolio.positions.to_json(),
        "timers": kernel.timers,
        "waiting cancels": list(kernel.unknowns.state.cancel_when_known),
        "next intent": kernel._next_intent,
        "verdicts": list(kernel.verdicts()),
        "counters": [getattr(kernel.counters, name) for name in kernel.counters.__slots__],
        "money": (portfolio.equity, portfolio.day_start_equity, portfolio.account, portfolio.buying_power),
        "time": (portfolio.now_ns, kernel.epoch, kernel.journal_id, portfolio.verified),
        "reconciliation": (reconciliation.since, reconciliation.drift, reconciliation.differences),
        "books": {
            symbol: (
                book.position_float,
                book.average_price_float,
                book.last_price,
                book.busy,
                book.flat,
                book.session_close,
                None if book.exit is None else (book.exit.signal, book.exit.request, book.exit.everything),
            )
            for symbol, book in portfolio.books.items()
        },
    }


def follow(bench: Bench, script: dict[int, Action] | None = None, **guards: Any) -> tuple[Kernel, list[str]]:
    """A second kernel that is shown the bench's journal; and the differences that it describes."""
    strategy = Scripted(bench.symbols, bench.strategy.script if script is None else script)
    kernel = make_kernel([strategy], **guards)
    differences = [d for event, commands in bench.shown for d in kernel.follow(event, commands)]
    return kernel, differences


def _eventful() -> Bench:
    """Entries, a deferred exit, an unknown order, a refusal, a restart, and one exit still waiting."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    bench.act(leave(reason="stop_loss"))
    bench.canceled(resting)
    bench.filled(bench.sent("J-3"), 10, 99.0)
    bench.unknown(bench.order(sell(4)))
    bench.missed(bench.sent("J-4"))
    bench.fire()
    bench.refused(bench.order(sell(4)))
    bench.begin(epoch=2)
    bench.reported()
    unclear = bench.sent("J-4")
    bench.lookup_failed(unclear)
    bench.accepted(unclear, source=Source.LOOKUP)
    bench.filled(unclear, 4)
    bench.accepted(bench.order(sell(2, limit=120.0)))
    bench.act(leave())
    return bench


def test_a_journal_that_is_followed_gives_the_same_kernel() -> None:
    """P8: orders, positions, timers, verdicts, money, and the exit that still waits."""
    bench = _eventful()
    assert bench.kernel.view(SPY).exit is not None
    assert bench.kernel.timers
    kernel, differences = follow(bench)
    assert differences == []
    assert everything(kernel) == everything(bench.kernel)


def test_it_goes_on_as_if_nothing_had_happened() -> None:
    """P8: the same next events give the same next commands, with the next ids."""
    bench = _eventful()
    kernel, _ = follow(bench)
    before = len(bench.shown)
    bench.canceled(bench.sent("J-6"))
    bench.filled(bench.sent("J-7"), 4)
    bench.begin(epoch=3)
    for event, commands in bench.shown[before:]:
        assert list(kernel.handle(event)) == commands
    assert everything(kernel) == everything(bench.kernel)


_HISTORIES = st.lists(st.tuples(st.sampled_from([*ACTIONS, *VENUE]), st.integers(0, 99)), min_size=20, max_size=60)


@settings(max_examples=60)
@given(history=_HISTORIES)
def test_every_history_can_be_followed_and_repeated(history: list[tuple[str, int]]) -> None:
    """P8: following gives the same state without a difference; handling anew gives the same commands, too."""
    world = World()
    for name, choice in history:
        world.step(name, choice)
    bench = world.bench
    followed, differences = follow(bench, settings=bench.kernel.settings)
    assert differences == []
    repeated = make_kernel([Scripted(bench.symbols, bench.strategy.script)], settings=bench.kernel.settings)
    for event, commands in bench.shown:
        assert list(repeated.handle(event)) == commands
    assert everything(followed) == everything(repeated) == everything(bench.kernel)


# -- another configuration, other code -----------------------------------------------------------


def test_with_stricter_limits_the_recorded_order_is_kept_and_the_difference_described() -> None:
    """P8: it was sent then. What today's limits would say is one sentence for people."""
    bench = Bench()
    bench.hold(10)
    kernel, differences = follow(bench, limits=RiskLimits(max_order_quantity=Decimal(5)))
    assert differences == ["buy 10 SPY: recorded as order 1 of 10, would be risk (order_quantity) today"]
    assert kernel.portfolio.tracker.to_json() == bench.kernel.portfolio.tracker.to_json()
    assert kernel.portfolio.positions.to_json() == bench.kernel.portfolio.positions.to_json()
    assert kernel.counters.blocked == {}


def test_with_looser_limits_a_refusal_stays_a_refusal() -> None:
    """P2: what was not sent then is not sent now."""
    bench = Bench(limits=RiskLimits(max_order_quantity=Decimal(5)))
    bench.act(buy(10))
    kernel, differences = follow(bench)
    assert differences == ["buy 10 SPY: recorded as risk (order_quantity), would be order 1 of 10 today"]
    assert kernel.portfolio.tracker.orders() == []
    assert kernel.counters.blocked == {"order_quantity": 1}


def test_a_strategy_that_asks_for_more_today_gets_nothing() -> None:
    """P2: a signal that is not in the journal is refused to the strategy's face, described, and never an order."""
    bench = Bench()
    bench.bar()
    answers = []
    kernel, differences = follow(bench, script={2: lambda s: answers.append(s.buy(SPY, 3))})
    assert differences == ["buy 3 SPY: not in the journal, not sent"]
    assert [(v.approved, v.stage, v.guard) for v in answers] == [(False, Stage.RISK, "not_recorded")]
    assert kernel.portfolio.tracker.orders() == []
    assert kernel._next_intent == 1


def test_a_strategy_that_asks_for_less_today_had_its_orders_all_the_same() -> None:
    """P2: they are at the venue. They are tracked and filled as recorded, deferred exits included."""
    bench = _eventful()
    kernel, differences = follow(bench, script={})
    assert len(differences) == bench.kernel.counters.signals
    assert all("not asked for today" in difference for difference in differences)
    assert kernel.portfolio.tracker.to_json() == bench.kernel.portfolio.tracker.to_json()
    assert kernel.portfolio.positions.to_json() == bench.kernel.portfolio.positions.to_json()
    assert kernel.timers == bench.kernel.timers
    assert kernel.view(SPY).busy


def test_a_strategy_that_asks_otherwise_today_gets_what_was_recorded_and_nothing_else() -> None:
    """P2: 3 instead of 10: the 10 are in the books, the 3 are not."""
    bench = Bench()
    bench.hold(10)
    kernel, differences = follow(bench, script={2: buy(3)})
    assert differences == [
        "buy 3 SPY: not in the journal, not sent",
        "buy 10 SPY: recorded as order 1 of 10, not asked for today",
    ]
    assert [order.quantity for order in kernel.portfolio.tracker.orders()] == [Decimal(10)]
    assert kernel.portfolio.positions.quantity(SPY) == Decimal(10)


def test_events_without_commands_were_the_last_before_a_crash() -> None:
    """P1: the event is in the journal, the answer is not, so nothing left; the order does not come to be."""
    bench = Bench()
    bench.order(buy(10))
    bench.shown[-1] = (bench.shown[-1][0], [])
    kernel, differences = follow(bench)
    assert differences == ["buy 10 SPY: not in the journal, not sent"]
    assert kernel.portfolio.tracker.orders() == []


def test_a_bot_that_was_stopping_has_no_differences_to_report() -> None:
    """The refusal was the shut-down's, and a replay knows of the shut-down."""
    bench = Bench()
    bench.show(ShutdownStarted(ts=bench.now, cancel_orders=True))
    bench.act(buy(10))
    assert bench.verdict.guard == "stopping"
    kernel, differences = follow(bench)
    assert differences == []
    assert everything(kernel) == everything(bench.kernel)


def test_late_news_after_a_restart_counts_once() -> None:
    """P3: the stream told of the fill before the crash, the activities tell of it again after it."""
    bench = Bench()
    intent = bench.hold(10)
    kernel, _ = follow(bench)
    bench.kernel = kernel
    bench.begin(epoch=2)
    activity = bench.execution(intent, 10, cum_qty=Decimal(10), execution_id="activity-1", client_order_id=None)
    bench.reported(executions=[activity], positions={SPY: 10})
    bench.updated(intent, OrderStatus.FILLED, source=Source.LOOKUP)
    assert bench.position() == Decimal(10)
    assert kernel.counters.executions == 1


def test_the_hash_seed_changes_nothing() -> None:
    """P8, P10: nothing iterates over a set: two processes with different seeds print the same bytes."""
    outputs = [
        subprocess.run(
            [sys.executable, "-m", "tests.kernel.fixed_history"],
            cwd=Path(__file__).resolve().parents[2],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b"submit_order") > 10
