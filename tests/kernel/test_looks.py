"""When the books are compared, and how far back: timer, haste, the full pass of the day."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from holdfast.kernel import KernelSettings
from holdfast.kernel.looks import IDLE, RECHECK
from holdfast.model import OrderStatus, Source, TimeInForce
from holdfast.model.commands import LookupOrder, Reconcile
from holdfast.model.events import ReconcileFailed, ReconcileRequested
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND
from tests.kernel.helpers import COIN, SPY, START, Bench, buy, leave, of

TIMED = KernelSettings(reconcile_interval=30 * NS_PER_SECOND)
SELDOM = KernelSettings(reconcile_interval=3600 * NS_PER_SECOND)


def test_an_idle_bot_looks_every_thirty_seconds() -> None:
    """P4: nothing happens, nothing is asked for, and the books are compared all the same."""
    bench = Bench(settings=TIMED)
    looks = []
    for _ in range(3):
        (look,) = of(Reconcile, bench.fire())
        looks.append((bench.now - START, look.reason))
        bench.reported()
    assert looks == [(30 * NS_PER_SECOND, "timer"), (60 * NS_PER_SECOND, "timer"), (90 * NS_PER_SECOND, "timer")]


def test_a_look_for_another_reason_puts_the_timer_off() -> None:
    """Thirty seconds without a look, not a look every thirty seconds on top of all others."""
    bench = Bench(settings=TIMED)
    bench.wait(20)
    bench.show(ReconcileRequested(ts=bench.now, reason="operator"))
    bench.reported()
    assert bench.kernel.timers == {IDLE: bench.now + 30 * NS_PER_SECOND}


def test_no_second_look_is_asked_for_while_the_answer_to_one_is_on_its_way() -> None:
    """A venue that answers slowly is not asked more for it; the timer goes on, and so does a failed look's own."""
    bench = Bench(settings=TIMED)
    assert of(Reconcile, bench.fire())
    assert of(Reconcile, bench.fire()) == []
    assert IDLE in bench.kernel.timers
    bench.show(ReconcileFailed(ts=bench.now, reason="time-out"))
    assert RECHECK in bench.kernel.timers
    assert [look.reason for look in of(Reconcile, bench.fire())] == ["recheck"]


def test_without_a_real_broker_there_is_no_timer() -> None:
    """P10: what a backtest and a session in lock-step are built with. Their loop coasts only while no timer is set."""
    bench = Bench()
    bench.unknown(bench.order(buy(10)))
    bench.reported()
    assert IDLE not in bench.kernel.timers
    assert RECHECK not in bench.kernel.timers


def test_an_unknown_outcome_is_looked_for_at_once_in_both_sources() -> None:
    """P9: the order by its id, and the whole account beside it."""
    bench = Bench(settings=SELDOM)
    intent = bench.order(buy(10))
    assert [look.client_order_id for look in of(LookupOrder, bench.unknown(intent))] == [intent.client_order_id]
    then = bench.now
    assert [look.reason for look in of(Reconcile, bench.fire())] == ["recheck"]
    assert bench.now == then


def test_many_unknown_outcomes_do_not_use_up_the_rate_limit_with_looks() -> None:
    """A venue that fails with every order is looked at every five seconds, and cancels keep their share."""
    bench = Bench(settings=SELDOM)
    intents = [bench.order(buy(10)) for _ in range(20)]
    looks = []
    for intent in intents:
        bench.unknown(intent)
        if bench.kernel.timers[RECHECK] <= bench.now:
            (look,) = of(Reconcile, bench.fire())
            looks.append((bench.now, look.reason))
            bench.reported()
        bench.wait(1)
    assert len(looks) == 4
    assert {later - earlier for (earlier, _), (later, _) in pairwise(looks)} == {5 * NS_PER_SECOND}


def test_an_exit_refused_for_the_coins_of_a_fee_is_followed_by_a_look_without_a_pause() -> None:
    """A limit order that met the market was charged as taker: until that is settled, no exit of all that we hold goes through."""
    bench = Bench(COIN, settings=SELDOM)
    bench.fire()
    bench.reported()  # a look, just now
    bench.wait(1)
    entry = bench.order(lambda s: s.buy(COIN, 1, limit=100, time_in_force=TimeInForce.GTC), symbol=COIN)
    bench.accepted(entry)
    bench.filled(entry, 1)
    stop = bench.order(leave(symbol=COIN), symbol=COIN, after=1)
    assert stop.quantity == Decimal("0.9985")
    bench.refused(stop, "insufficient balance for BTC (requested: 0.9985, available: 0.9975)")
    assert bench.kernel.timers[RECHECK] == bench.now
    bench.fire()
    bench.reported(positions={COIN: Decimal("0.9975")})
    again = bench.order(leave(symbol=COIN), symbol=COIN, after=1)
    assert again.quantity == Decimal("0.9975")
    bench.refused(again, "insufficient balance")
    assert bench.kernel.timers[RECHECK] == bench.now + 4 * NS_PER_SECOND, "no fee is open: the pause counts again"


def test_fills_that_were_told_of_and_have_not_come_are_looked_for_while_the_order_is_open_too() -> None:
    """P3: the answer says that four have traded, and the stream tells of none."""
    bench = Bench(settings=SELDOM)
    intent = bench.order(buy(10, limit=90.0))
    bench.accepted(intent)
    bench.updated(intent, OrderStatus.PARTIALLY_FILLED, source=Source.LOOKUP, filled_qty=Decimal(4))
    bench.fire()
    assert [look.reason for look in of(Reconcile, bench.shown[-1][1])] == ["recheck"]
    bench.reported(executions=[bench.execution(intent, 4)])
    assert bench.position(SPY) == Decimal(4)


def test_once_a_day_a_look_goes_a_whole_day_back() -> None:
    """Also where no bar comes to begin a day: a weekend, an account without symbols."""
    bench = Bench(settings=TIMED)
    full = []
    for _ in range(3 * 2 * 60 * 24):
        (look,) = of(Reconcile, bench.fire())
        if bench.now - look.since > NS_PER_MINUTE * 6:
            full.append((bench.now - START, bench.now - look.since))
        bench.reported()
    assert full == [(day * NS_PER_DAY, NS_PER_DAY) for day in (1, 2, 3)]


def test_the_first_look_of_a_day_goes_a_day_back_but_never_before_the_first_run() -> None:
    """What was at the venue before this journal began is not ours."""
    bench = Bench()
    bench.now = (START // NS_PER_DAY + 1) * NS_PER_DAY
    (look,) = of(Reconcile, bench.bar())
    assert (look.reason, look.since) == ("daily", START - 5 * NS_PER_MINUTE)
    bench.reported()
    bench.now += NS_PER_DAY // 2
    bench.reported()
    bench.now += NS_PER_DAY // 2
    (look,) = of(Reconcile, bench.bar())
    assert look.since == bench.now - NS_PER_DAY
