"""What others did in our account: told, ignored or adopted, and never touched; exits never take what is not there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from holdfast.kernel import KernelSettings
from holdfast.kernel.others import OthersState
from holdfast.model import BrokerPosition, Execution, Foreign, OrderReport, OrderSide, OrderStatus, Source
from holdfast.model.commands import CancelOrder, SubmitOrder
from holdfast.model.events import BrokerReported, OrderFilled, OrderUpdated
from holdfast.risk import RiskLimits
from tests.kernel.helpers import ACCOUNT, COIN, SPY, Bench, alerts, buy, leave, of

POLICIES = list(Foreign)


def _bench(policy: Foreign, held: dict[str, int] | None = None, *symbols: str, **guards: Any) -> Bench:
    """A bench whose first comparison shows what was held before us, worth 100 each."""
    bench = Bench(*symbols, ready=False, settings=KernelSettings(foreign=policy), **guards)
    bench.begin()
    bench.connected()
    for symbol in symbols or (SPY,):
        bench.load(symbol)
    worth = Decimal(100 * sum(held.values())) if held else Decimal(0)
    bench.reported(positions=held or {}, account=msgspec.structs.replace(ACCOUNT, equity=ACCOUNT.cash + worth))
    for symbol in symbols or (SPY,):
        bench.bar(symbol=symbol, after=0)
    return bench


def _by_hand(bench: Bench, side: OrderSide, quantity: int, number: int = 1, symbol: str = SPY) -> Execution:
    """What somebody traded without us, as the stream tells it."""
    return Execution(
        execution_id=f"hand-{number}",
        broker_id=f"B-hand-{number}",
        client_order_id=f"by-hand-{number}",
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(100),
        at=bench.now,
        cum_qty=Decimal(quantity),
    )


def _cash(bench: Bench, paid: int) -> Any:
    return msgspec.structs.replace(ACCOUNT, cash=bench.kernel.portfolio.positions.cash - paid)


def _twice(bench: Bench, **report: Any) -> list[str]:
    """Two looks; what people are told."""
    told = alerts(bench.reported(**report))
    bench.wait(10)
    return told + alerts(bench.reported(**report))


# -- held before us ------------------------------------------------------------------------------


def test_alert_tells_of_a_position_that_was_there_before_us_and_changes_nothing() -> None:
    """P4: the default. It is drift until a person decides otherwise."""
    bench = _bench(Foreign.ALERT, {SPY: 20})
    told = _twice(bench, positions={SPY: 20})
    assert told == ["order-drift: SPY: position differs from the venue's"]
    assert bench.position() == 0


def test_ignore_takes_it_for_explained() -> None:
    """P4: part of the baseline; what comes on top of it is drift as ever."""
    bench = _bench(Foreign.IGNORE, {SPY: 20})
    assert _twice(bench, positions={SPY: 20}) == []
    assert bench.kernel.reconciliation.drift == ()
    assert _twice(bench, positions={SPY: 25}) == ["order-drift: SPY: position differs from the venue's"]


def test_ignore_notices_that_what_was_there_before_us_is_gone() -> None:
    """P4: a foreign position that vanishes without an execution is no less of a difference."""
    bench = _bench(Foreign.IGNORE, {SPY: 20})
    assert _twice(bench, positions={}) == ["order-drift: SPY: position differs from the venue's"]


def test_adopt_takes_it_into_our_books_at_the_venues_price() -> None:
    """P4: a labelled adjustment and no execution; the equity does not move, and an exit sells it."""
    bench = _bench(Foreign.ADOPT, {SPY: 20})
    portfolio = bench.kernel.portfolio
    (adjustment,) = portfolio.positions.adjustments
    assert (adjustment.label, adjustment.quantity, adjustment.price) == ("held before us", Decimal(20), Decimal(100))
    assert portfolio.equity == pytest.approx(102_000.0)
    assert portfolio.day_pnl == pytest.approx(0.0)
    assert _twice(bench) == []
    assert bench.order(leave()).quantity == Decimal(20)
    assert bench.kernel.counters.executions == 0


def test_an_adopted_position_is_marked_at_the_venues_price_from_the_first_moment() -> None:
    """Its profit of earlier days is not one of ours: the first bar makes no jump."""
    bench = Bench(ready=False, settings=KernelSettings(foreign=Foreign.ADOPT))
    bench.begin()
    bench.load()
    position = BrokerPosition(symbol=SPY, quantity=Decimal(20), avg_entry_price=Decimal(60), current_price=Decimal(100))
    account = msgspec.structs.replace(ACCOUNT, equity=ACCOUNT.cash + 2_000)
    bench.show(
        BrokerReported(ts=bench.now, reason="t", account=account, orders=(), executions=(), positions=(position,))
    )
    bench.bar()
    assert bench.kernel.portfolio.day_pnl == pytest.approx(0.0)
    assert bench.kernel.portfolio.positions.position(SPY).average_price == Decimal(60)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_equity_starts_with_what_the_account_is_worth(policy: Foreign) -> None:
    """The same under every policy, and the day's profit starts at zero."""
    bench = _bench(policy, {SPY: 20})
    bench.bar(100.0)
    assert bench.kernel.portfolio.equity == pytest.approx(102_000.0)
    assert bench.kernel.portfolio.day_pnl == pytest.approx(0.0)


# -- exits where the venue nets ours with others' ------------------------------------------------


@pytest.mark.parametrize("policy", [Foreign.ALERT, Foreign.IGNORE])
@pytest.mark.parametrize(
    ("foreign", "taken"),
    [(20, 10), (-4, 6), (-10, 0), (-20, 0)],
    ids=["30 there, 20 theirs", "6 there", "none there", "short there"],
)
def test_an_exit_takes_no_more_than_both_sides_have(policy: Foreign, foreign: int, taken: int) -> None:
    """P7: the venue nets everything in one position: an exit of 10 must never turn it around there."""
    bench = _bench(policy, {SPY: foreign})
    bench.hold(10)
    if taken:
        assert bench.order(leave()).quantity == Decimal(taken)
    else:
        assert not of(SubmitOrder, bench.act(leave()))
        assert bench.verdict.guard == "nothing_at_venue"
        assert f"our books hold 10 and the venue {10 + foreign}" in bench.verdict.reason


def test_orders_that_reduce_share_what_both_sides_have() -> None:
    """P7: five are left at the venue and one order for three is out: the next takes two."""
    bench = _bench(Foreign.IGNORE, {SPY: -5})
    bench.hold(10)
    first = bench.order(leave(3))
    assert bench.order(leave()).quantity == Decimal(2)
    bench.accepted(first)
    bench.filled(first, 3)
    assert not of(SubmitOrder, bench.act(leave()))


def test_a_manual_sale_of_our_shares_binds_the_very_next_exit() -> None:
    """P7: the stream tells of it; no comparison is needed to know that only four are left."""
    bench = _bench(Foreign.ALERT)
    bench.hold(10)
    sold = _by_hand(bench, OrderSide.SELL, 6)
    bench.show(OrderFilled(ts=bench.now, execution=sold, source=Source.STREAM))
    assert bench.order(leave()).quantity == Decimal(4)


def test_a_late_fill_of_ours_closes_the_gap_that_it_explains() -> None:
    """P7: the venue's view had it already, so the exit may take all that both sides have then."""
    bench = _bench(Foreign.ALERT)
    bench.hold(10)
    sale = bench.order(leave(3))
    bench.accepted(sale)
    bench.updated(sale, OrderStatus.CANCELED)
    at = bench.now
    bench.wait(10)
    _twice(bench, positions={SPY: 7})
    assert bench.kernel.portfolio.gaps == {SPY: Decimal(-3)}
    bench.show(OrderFilled(ts=bench.now, execution=bench.execution(sale, 3, at=at), source=Source.RECONCILE))
    assert bench.kernel.portfolio.gaps == {}
    assert bench.order(leave()).quantity == Decimal(7)


# -- what others trade while we run --------------------------------------------------------------


def test_alert_reports_what_others_trade() -> None:
    """P4: the execution when it comes, position and cash when they stay different."""
    bench = _bench(Foreign.ALERT)
    bought = _by_hand(bench, OrderSide.BUY, 20)
    told = alerts(bench.show(OrderFilled(ts=bench.now, execution=bought, source=Source.STREAM)))
    told += _twice(bench, positions={SPY: 20}, account=_cash(bench, 2_000))
    assert told == [
        "order-drift: order orphan execution",
        "order-drift: SPY: position differs from the venue's",
        "order-drift: cash differs from the venue's",
    ]
    assert (bench.position(), bench.kernel.portfolio.positions.adjustments) == (Decimal(0), [])


def test_ignore_reports_nothing_and_keeps_counting() -> None:
    """P4: position and cash are explained by the execution, whichever source brings it and however often."""
    bench = _bench(Foreign.IGNORE)
    bought = _by_hand(bench, OrderSide.BUY, 20)
    told = alerts(bench.show(OrderFilled(ts=bench.now, execution=bought, source=Source.STREAM)))
    told += _twice(bench, positions={SPY: 20}, account=_cash(bench, 2_000), executions=[bought])
    assert told == []
    assert bench.kernel.reconciliation.drift == ()
    assert bench.kernel.portfolio.equity == pytest.approx(100_000.0)


def test_adopt_books_what_others_trade_at_its_price_and_tells() -> None:
    """P3, P4: a labelled adjustment with the cash that it moved, once; books and venue agree."""
    bench = _bench(Foreign.ADOPT)
    bought = _by_hand(bench, OrderSide.BUY, 20)
    told = alerts(bench.show(OrderFilled(ts=bench.now, execution=bought, source=Source.STREAM)))
    assert told == ["order-drift: SPY: adopted: traded by others"]
    account = msgspec.structs.replace(ACCOUNT, cash=Decimal(98_000))
    assert _twice(bench, positions={SPY: 20}, account=account, executions=[bought]) == []
    assert (bench.position(), bench.kernel.portfolio.positions.cash) == (Decimal(20), Decimal(98_000))
    assert [a.label for a in bench.kernel.portfolio.positions.adjustments] == ["traded by others: hand-1"]
    assert bench.order(leave()).quantity == Decimal(20)


def test_an_activity_without_a_client_order_id_waits_until_it_cannot_be_ours() -> None:
    """P3: while an order of ours is unknown, an execution in its symbol may belong to it."""
    bench = _bench(Foreign.ADOPT)
    unknown = bench.order(buy(20))
    bench.unknown(unknown)
    nameless = msgspec.structs.replace(_by_hand(bench, OrderSide.BUY, 20), client_order_id=None)
    bench.reported(positions={SPY: 20}, account=_cash(bench, 2_000), executions=[nameless])
    assert bench.position() == 0
    bench.accepted(unknown, broker_id="B-hand-1")
    assert bench.position() == Decimal(20)
    assert bench.kernel.portfolio.positions.adjustments == []


def test_an_execution_that_was_taken_for_anothers_and_is_ours_is_counted_once() -> None:
    """P3: the adjustment is taken back, with its label, and the execution is booked."""
    bench = _bench(Foreign.ADOPT)
    intent = bench.order(buy(20))
    bench.refused(intent)
    nameless = msgspec.structs.replace(_by_hand(bench, OrderSide.BUY, 20), client_order_id=None)
    bench.reported(positions={SPY: 20}, account=_cash(bench, 2_000), executions=[nameless])
    assert bench.position() == Decimal(20)
    bench.accepted(intent, broker_id="B-hand-1")
    assert (bench.position(), bench.kernel.portfolio.positions.cash) == (Decimal(20), Decimal(98_000))
    labels = [a.label for a in bench.kernel.portfolio.positions.adjustments]
    assert labels == ["traded by others: hand-1", "taken for another's, and ours: hand-1"]
    assert bench.state(intent).filled_quantity == Decimal(20)


def test_one_execution_of_others_under_two_ids_is_counted_once() -> None:
    """P3: stream and activities may call it differently; where it ends in its order names it."""
    bench = _bench(Foreign.ADOPT)
    bought = _by_hand(bench, OrderSide.BUY, 20)
    again = msgspec.structs.replace(bought, execution_id="activity-1", client_order_id=None)
    bench.show(OrderFilled(ts=bench.now, execution=bought, source=Source.STREAM))
    account = msgspec.structs.replace(ACCOUNT, cash=Decimal(98_000))
    assert _twice(bench, positions={SPY: 20}, account=account, executions=[again]) == []
    assert bench.position() == Decimal(20)


def test_executions_from_before_the_first_comparison_are_part_of_the_baseline() -> None:
    """P3: the position that the venue shows has them already."""
    bench = Bench(ready=False, settings=KernelSettings(foreign=Foreign.ADOPT))
    bench.begin()
    bench.load()
    before = _by_hand(bench, OrderSide.BUY, 20)
    bench.show(OrderFilled(ts=bench.now, execution=before, source=Source.STREAM))
    bench.reported(positions={SPY: 20}, executions=[before], account=ACCOUNT)
    assert bench.position() == Decimal(20)
    assert [a.label for a in bench.kernel.portfolio.positions.adjustments] == ["held before us"]


def test_coins_that_others_buy_come_net_of_the_fee() -> None:
    """P4: a fee in coin, maker or taker: the venue's position says which, within what fees explain."""
    bench = _bench(Foreign.IGNORE, {}, COIN)
    bought = msgspec.structs.replace(_by_hand(bench, OrderSide.BUY, 1, symbol=COIN), price=Decimal(10_000))
    bench.show(OrderFilled(ts=bench.now, execution=bought, source=Source.STREAM))
    assert _twice(bench, positions={COIN: Decimal("0.9975")}, account=_cash(bench, 10_000)) == []


def test_what_an_earlier_run_counted_apart_is_taken_over_when_it_is_to_be_adopted() -> None:
    """P4: a snapshot was written under another policy. Position and cash move into our books, the equity stays."""
    before = _bench(Foreign.IGNORE, {SPY: 20})
    bought = _by_hand(before, OrderSide.BUY, 5)
    before.show(OrderFilled(ts=before.now, execution=bought, source=Source.STREAM))
    bench = _bench(Foreign.IGNORE, {SPY: 20})
    bench.kernel.others.state = msgspec.json.decode(msgspec.json.encode(before.kernel.others.state), type=OthersState)
    bench.kernel.others.policy = Foreign.ADOPT
    account = msgspec.structs.replace(ACCOUNT, cash=ACCOUNT.cash - 500)
    told = _twice(bench, positions={SPY: 25}, account=account)
    assert told == ["order-drift: SPY: adopted what was counted apart"]
    assert (bench.position(), bench.kernel.portfolio.positions.cash) == (Decimal(25), ACCOUNT.cash - 500)
    assert bench.kernel.portfolio.day_pnl == pytest.approx(0.0)
    assert bench.kernel.portfolio.gaps == {}
    assert bench.order(leave()).quantity == Decimal(25)


# -- orders of others ----------------------------------------------------------------------------


def _resting(status: OrderStatus = OrderStatus.NEW, side: OrderSide = OrderSide.SELL) -> OrderReport:
    return OrderReport(
        broker_id="B-x",
        client_order_id="by-hand",
        symbol=SPY,
        side=side,
        status=status,
        quantity=Decimal(6),
        order_type="limit",
        limit_price=Decimal(101),
    )


@pytest.mark.parametrize(("policy", "told"), [(Foreign.ALERT, 1), (Foreign.ADOPT, 1), (Foreign.IGNORE, 0)])
def test_an_order_of_others_is_told_once_or_ignored_and_never_touched(policy: Foreign, told: int) -> None:
    """P2: no policy cancels what is not ours."""
    bench = _bench(policy)
    bench.hold(10)
    assert len(alerts(bench.show(OrderUpdated(ts=bench.now, report=_resting(), source=Source.STREAM)))) == told
    assert len(alerts(bench.reported(orders=[_resting()]))) == 0
    bench.act(lambda s: s.cancel(SPY))
    bench.act(leave())
    assert of(CancelOrder, bench.commands) == []
    assert list(bench.kernel.reconciliation.orphans) == ([] if policy is Foreign.IGNORE else ["B-x"])


def test_guards_count_an_adopted_order_and_an_exit_leaves_it_its_share() -> None:
    """P7: six of ten are promised to it, so that four are left to sell."""
    bench = _bench(Foreign.ADOPT, limits=RiskLimits(max_open_orders=1))
    bench.hold(10)
    bench.show(OrderUpdated(ts=bench.now, report=_resting(), source=Source.STREAM))
    bench.act(buy(1))
    assert bench.verdict.guard == "open_orders"
    assert bench.kernel.portfolio.gross_exposure() == pytest.approx(1_600.0)
    assert bench.order(leave()).quantity == Decimal(4)


def test_an_adopted_buy_counts_as_filled_for_the_size_of_the_position() -> None:
    """P7: as an order of our own would; and no longer once it is gone."""
    bench = _bench(Foreign.ADOPT, limits=RiskLimits(max_position_notional=Decimal(1_000)))
    bench.reported(orders=[_resting(side=OrderSide.BUY)])
    bench.act(buy(5))
    assert bench.verdict.guard == "position_notional"
    bench.reported(orders=[])
    assert bench.order(buy(5)).quantity == Decimal(5)


# -- what is remembered --------------------------------------------------------------------------


def test_what_is_remembered_can_be_written_down_and_read_back() -> None:
    """P8: plain data, for a snapshot."""
    bench = _bench(Foreign.IGNORE, {SPY: 20})
    bench.show(OrderFilled(ts=bench.now, execution=_by_hand(bench, OrderSide.BUY, 5), source=Source.STREAM))
    state = bench.kernel.others.state
    assert state.held == {SPY: Decimal(25)}
    assert msgspec.json.decode(msgspec.json.encode(state), type=OthersState) == state
