"""Executions: each counted once, whoever tells of it and however often, and the books that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from holdfast.model import OrderSide, OrderStatus, Source, Stage, TimeInForce
from holdfast.model.commands import Reconcile
from holdfast.model.events import OrderFilled
from holdfast.risk import RiskLimits
from holdfast.risk.protections import StoplossGuard
from tests.kernel.helpers import COIN, SPY, Action, Bench, alerts, buy, leave, of, report_of, sell


def test_a_fill_is_counted_told_and_paid_for() -> None:
    """Position and cash first, then the strategy is told."""
    bench = Bench()
    power = bench.kernel.portfolio.cash_power
    assert power is not None
    intent = bench.order(buy(10))
    bench.accepted(intent)
    bench.filled(intent, 4, 101.5)
    assert bench.position() == Decimal(4)
    assert bench.kernel.portfolio.positions.cash == Decimal(100000) - Decimal("406.0")
    assert "fill 4, holds 4" in bench.strategy.told
    assert bench.strategy.view(SPY).average_price_float == 101.5
    assert bench.strategy.view(SPY).busy
    bench.filled(intent, 6, 102.0)
    assert bench.position() == Decimal(10)
    assert not bench.strategy.view(SPY).busy
    assert bench.kernel.portfolio.cash_power == power - Decimal("1018.0")


def test_an_execution_that_comes_from_every_source_counts_once() -> None:
    """P3: stream, stream again, look-up's report, the account's activities under another id, and a second report."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    execution = bench.execution(intent, 10)
    report = report_of(intent, OrderStatus.FILLED)
    for _ in range(2):
        bench.show(OrderFilled(ts=bench.now, execution=execution, source=Source.STREAM, report=report))
    bench.updated(intent, OrderStatus.FILLED, source=Source.LOOKUP)
    activity = bench.execution(intent, 10, execution_id="activity-1", client_order_id=None, cum_qty=Decimal(10))
    for _ in range(2):
        bench.reported(executions=[activity], orders=[report], positions={SPY: 10})
    assert bench.position() == Decimal(10)
    assert bench.kernel.counters.executions == 1
    assert bench.kernel.reconciliation.drift == ()


def test_a_report_alone_moves_no_position() -> None:
    """P3: ``filled_qty`` is the cross-check; only executions are counted."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.updated(intent, OrderStatus.PARTIALLY_FILLED, filled_qty=Decimal(4))
    assert bench.position() == 0
    assert bench.state(intent).fills_missing


@pytest.mark.parametrize("source", [Source.RESPONSE, Source.STREAM, Source.LOOKUP])
def test_an_order_that_closed_with_fills_missing_makes_the_kernel_look(source: Source) -> None:
    """P9: what the stream lost is fetched from the activities, soon, by a timer."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    bench.updated(intent, OrderStatus.FILLED, source=source, filled_qty=Decimal(10))
    assert of(Reconcile, bench.fire())
    report = report_of(intent, OrderStatus.FILLED)
    bench.reported(executions=[bench.execution(intent, 10)], orders=[report])
    assert bench.position() == Decimal(10)
    assert bench.kernel.timers == {}


def test_it_looks_again_until_the_missing_fills_are_there() -> None:
    """P9: the activities may be late as well."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.updated(intent, OrderStatus.FILLED, filled_qty=Decimal(10))
    for _ in range(3):
        assert of(Reconcile, bench.fire())
        bench.reported(orders=[report_of(intent, OrderStatus.FILLED)], positions={SPY: 10})
    bench.fire()
    bench.reported(executions=[bench.execution(intent, 10)], positions={SPY: 10})
    assert bench.position() == Decimal(10)
    assert bench.kernel.timers == {}


def test_a_fill_after_the_venues_closing_word_is_counted_and_reported() -> None:
    """P5: what the venue closed stays closed; the position is still the sum of the executions."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    bench.filled(intent, 4)
    bench.canceled(intent)
    commands = bench.filled(intent, 2, reports=False)
    assert bench.state(intent).status is OrderStatus.CANCELED
    assert bench.position() == Decimal(6)
    assert alerts(commands) == ["order-drift: order late fill"]


def test_old_words_do_not_reopen_a_closed_order() -> None:
    """P5: a stale "new" from a slow socket, after the fill."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    bench.filled(intent, 10)
    bench.updated(intent, OrderStatus.NEW, filled_qty=Decimal(0))
    bench.updated(intent, OrderStatus.PARTIALLY_FILLED, filled_qty=Decimal(4))
    assert bench.state(intent).status is OrderStatus.FILLED
    assert not bench.strategy.view(SPY).busy


def test_an_execution_that_names_only_the_venues_id_waits_until_that_id_is_known() -> None:
    """P3: activities carry no id of ours; the order's report comes later and brings both together."""
    bench = Bench()
    intent = bench.order(buy(10))
    activity = bench.execution(intent, 10, client_order_id=None)
    bench.show(OrderFilled(ts=bench.now, execution=activity, source=Source.RECONCILE))
    assert bench.position() == 0
    bench.updated(intent, OrderStatus.FILLED, source=Source.LOOKUP)
    assert bench.position() == Decimal(10)
    assert bench.kernel.counters.executions == 1


@pytest.mark.parametrize("client_order_id", [None, "J-1"])
def test_a_report_of_everything_brings_fills_of_an_unknown_order_without_a_false_alarm(
    client_order_id: str | None,
) -> None:
    """The execution and its order come in one report: there is no moment at which it belonged to nobody."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.unknown(intent)
    activity = bench.execution(intent, 10, client_order_id=client_order_id)
    commands = bench.reported(
        executions=[activity], orders=[report_of(intent, OrderStatus.FILLED)], positions={SPY: 10}
    )
    assert bench.position() == Decimal(10)
    assert alerts(commands) == []


def test_an_order_whose_fills_are_missing_is_not_over_for_the_strategy() -> None:
    """P7: it sees no position yet, and must not enter again; guards count what the venue has told of."""
    bench = Bench(limits=RiskLimits(max_position_notional=Decimal(1_500)))
    intent = bench.order(buy(10))
    bench.updated(intent, OrderStatus.FILLED, source=Source.LOOKUP)
    assert bench.strategy.view(SPY).busy
    assert not bench.strategy.view(SPY).flat
    bench.act(buy(10))
    assert bench.verdict.guard == "position_notional"
    bench.filled(intent, 10)
    assert not bench.strategy.view(SPY).busy
    assert bench.position() == Decimal(10)


def test_an_execution_of_nobodys_order_is_reported_and_moves_nothing() -> None:
    """P2, P4: an order that is not ours traded. Its position will show as drift; it is not adopted."""
    bench = Bench()
    stranger = bench.execution(bench.order(buy(10)), 3, broker_id="B-x", client_order_id="x", execution_id="x-1")
    commands = bench.show(OrderFilled(ts=bench.now, execution=stranger, source=Source.STREAM))
    assert alerts(commands) == ["order-drift: order orphan execution"]
    assert bench.position() == 0


# -- what fills do to the books ------------------------------------------------------------------


def test_the_coin_fee_of_a_crypto_buy_makes_the_position_smaller() -> None:
    """P4: the venue takes its fee in the coin, so 1 BTC bought as taker is 0.9975 BTC held, exactly as it says."""
    bench = Bench(COIN)
    intent = bench.order(buy(1, symbol=COIN), symbol=COIN)
    bench.accepted(intent)
    bench.filled(intent, 1, 40_000.0)
    assert bench.position(COIN) == Decimal("0.9975")
    commands = bench.reported(positions={COIN: Decimal("0.9975")})
    assert alerts(commands) == []
    assert bench.kernel.reconciliation.differences == ()
    out = bench.order(leave(symbol=COIN), symbol=COIN)
    assert out.quantity == Decimal("0.9975")
    bench.accepted(out)
    bench.filled(out, out.quantity, 40_000.0)
    assert bench.position(COIN) == 0
    # 0.9975 x 40,000 came back, less 0.25 % in cash.
    assert bench.kernel.portfolio.positions.cash == 100_000 - 40_000 + Decimal(39900) - Decimal("99.75")


def test_what_a_limit_order_paid_is_settled_by_the_venues_position() -> None:
    """P4: a fill does not say whether it was maker or taker; the difference is booked with its label, and no drift."""
    bench = Bench(COIN)
    intent = bench.order(lambda s: s.buy(COIN, 1, limit=100, time_in_force=TimeInForce.GTC), symbol=COIN)
    bench.accepted(intent)
    bench.filled(intent, 1)
    assert bench.position(COIN) == Decimal("0.9985")
    commands = bench.reported(positions={COIN: Decimal("0.9975")})
    assert alerts(commands) == []
    assert bench.position(COIN) == Decimal("0.9975")
    (adjustment,) = bench.kernel.portfolio.positions.adjustments
    assert (adjustment.quantity, adjustment.label) == (Decimal("-0.0010"), "coin fee as charged")


@pytest.mark.parametrize(("enter", "price", "profit"), [(buy, 98.0, -20), (sell, 98.0, 20)])
def test_a_closed_trade_knows_why_it_was_closed(enter: Callable[[float], Action], price: float, profit: int) -> None:
    """The reason is that of the exit order; long and short, and the profit is the prices' difference."""
    bench = Bench()
    entry = bench.order(enter(10))
    bench.accepted(entry)
    bench.filled(entry, 10)
    out = bench.order(leave(reason="stop_loss"), close=price)
    bench.accepted(out)
    bench.filled(out, 4, price)
    bench.filled(out, 6, price)
    (trade,) = bench.kernel.portfolio.positions.closed_trades
    assert (trade.exit_reason, trade.profit, trade.quantity) == ("stop_loss", Decimal(profit), Decimal(10))
    assert trade.side is (OrderSide.BUY if enter is buy else OrderSide.SELL)


def test_the_reason_survives_the_wait_for_a_resting_order() -> None:
    """An exit that had to wait is still the stop-loss that it was."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    bench.act(leave(reason="stop_loss"))
    bench.canceled(resting)
    out = bench.state(resting).client_order_id.replace("2", "3")
    order = bench.kernel.portfolio.tracker.get(out)
    assert order is not None
    assert order.reason == "stop_loss"


def test_stop_losses_trip_the_stoploss_guard() -> None:
    """Three exits for ``stop_loss`` within the hour; then no entry for the cool-down, and again one after it."""
    guard = StoplossGuard(max_stoplosses=3, lookback_period=timedelta(hours=1), cooldown_duration=timedelta(hours=1))
    bench = Bench(protections=[guard])
    for _ in range(3):
        bench.hold(10)
        out = bench.order(leave(reason="stop_loss"), close=99.0)
        bench.accepted(out)
        bench.filled(out, 10, 99.0)
    bench.act(buy(10))
    assert (bench.verdict.stage, bench.verdict.guard) == (Stage.PROTECTIONS, "stoploss_guard")
    bench.wait(3600)
    assert bench.order(buy(10)).quantity == Decimal(10)


def test_equity_follows_cash_and_the_last_price() -> None:
    """Baseline plus profit, at each bar; flat, it is the cash."""
    bench = Bench()
    bench.hold(10)
    bench.bar(103.0)
    assert bench.kernel.portfolio.equity == pytest.approx(100_030.0)
    assert bench.kernel.portfolio.day_pnl == pytest.approx(30.0)
    out = bench.order(leave(), close=99.0)
    bench.accepted(out)
    bench.filled(out, 10, 99.0)
    assert bench.kernel.portfolio.equity == pytest.approx(99_990.0)
    assert bench.kernel.portfolio.positions.cash == Decimal(99_990)
