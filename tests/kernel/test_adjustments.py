"""What the venue changes without a trade of ours: counted once, labelled, and never an execution."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from holdfast.kernel import KernelSettings
from holdfast.kernel.adjustments import AdjustmentsState
from holdfast.model import AccountActivity, ActivityKind, Execution, Foreign, OrderSide, OrderStatus, Source
from holdfast.model.commands import Command, Reconcile
from holdfast.model.events import OrderFilled, VenueAdjusted
from tests.kernel.helpers import ACCOUNT, COIN, SPY, Bench, alerts, buy, leave, of

K = ActivityKind


def _activity(kind: ActivityKind, activity_id: str = "a1", **changes: Any) -> AccountActivity:
    fields: dict[str, Any] = {"label": f"{kind}", "at": 1, **changes}
    return AccountActivity(activity_id=activity_id, kind=kind, **fields)


def _tell(bench: Bench, activity: AccountActivity) -> list[Command]:
    return bench.show(VenueAdjusted(ts=bench.now, activity=activity))


def _labels(bench: Bench) -> list[str]:
    return [adjustment.label for adjustment in bench.kernel.portfolio.positions.adjustments]


def _bust(execution: Execution, **changes: Any) -> AccountActivity:
    fields: dict[str, Any] = {"label": "trade busted", "symbol": execution.symbol, **changes}
    return _activity(K.BUST, f"bust {execution.execution_id}", execution_id=execution.execution_id, **fields)


def _first(bench: Bench, intent: Any) -> Execution:
    return bench.state(intent).executions[0]


# -- money ---------------------------------------------------------------------------------------


def test_a_dividend_is_cash_and_profit_and_is_counted_once() -> None:
    """P3, P4: by its id for ever, also after a restart, with its label; and the books are compared soon after."""
    bench = Bench()
    bench.hold(10)
    dividend = _activity(K.INCOME, cash=Decimal("12.50"), symbol=SPY, label="dividend (DIV)")
    _tell(bench, dividend)
    assert of(Reconcile, bench.fire())
    _tell(bench, dividend)
    bench.begin(epoch=2)
    _tell(bench, dividend)
    assert bench.kernel.portfolio.positions.cash == ACCOUNT.cash - 1_000 + Decimal("12.50")
    assert bench.kernel.portfolio.day_pnl == pytest.approx(12.5)
    assert _labels(bench) == ["dividend (DIV) [a1]"]


@pytest.mark.parametrize("amount", [-60_000, 5_000])
def test_money_that_comes_or_goes_is_no_profit(amount: int) -> None:
    """P7: a withdrawal trips no loss limit, and the cash still equals the venue's."""
    bench = Bench()
    _tell(bench, _activity(K.TRANSFER, cash=Decimal(amount)))
    bench.bar()
    assert bench.kernel.portfolio.day_pnl == pytest.approx(0.0)
    assert bench.kernel.portfolio.positions.cash == ACCOUNT.cash + amount


def test_what_was_posted_before_the_first_comparison_is_in_the_baseline() -> None:
    """P4: the venue's figures had it already; it is remembered, so that it never counts later either."""
    bench = Bench(ready=False)
    bench.begin()
    _tell(bench, _activity(K.INCOME, cash=Decimal(5)))
    bench.reported()
    _tell(bench, _activity(K.INCOME, cash=Decimal(5)))
    assert bench.kernel.portfolio.positions.cash == ACCOUNT.cash
    assert _labels(bench) == []


def test_a_row_that_is_taken_back_is_taken_back_once() -> None:
    """P3: and a row that never changed our books is not taken back at all."""
    bench = Bench()
    _tell(bench, _activity(K.INCOME, cash=Decimal(5)))
    back = _activity(K.INCOME, "a1:canceled", cash=Decimal(-5), cancels="a1")
    for _ in range(2):
        _tell(bench, back)
    assert bench.kernel.portfolio.positions.cash == ACCOUNT.cash
    _tell(bench, _activity(K.INCOME, "b1:canceled", cash=Decimal(-7), cancels="b1"))
    _tell(bench, _activity(K.INCOME, "b1", cash=Decimal(7)))
    assert bench.kernel.portfolio.positions.cash == ACCOUNT.cash


def test_a_fee_of_equities_is_charged_when_it_is_posted() -> None:
    """P4: our model charges none, so the venue's row is the fee."""
    bench = Bench()
    bench.hold(10)
    _tell(bench, _activity(K.FEE, cash=Decimal("-0.02"), label="fee posted (FEE)"))
    assert bench.kernel.portfolio.positions.cash == ACCOUNT.cash - 1_000 - Decimal("0.02")


def test_a_coin_fee_that_our_model_has_booked_is_not_charged_again() -> None:
    """P4: the position is net of it since the trade; the row that comes at the end of the day settles it."""
    bench = Bench(COIN)
    intent = bench.order(buy(1, symbol=COIN), symbol=COIN)
    bench.accepted(intent)
    bench.filled(intent, 1)
    assert bench.position(COIN) == Decimal("0.9975")
    _tell(bench, _activity(K.FEE, symbol=COIN, quantity=Decimal("-0.0025")))
    assert bench.position(COIN) == Decimal("0.9975")
    assert bench.kernel.portfolio.fees_booked == {COIN: Decimal(0)}
    assert alerts(bench.reported(positions={COIN: Decimal("0.9975")})) == []


def test_a_coin_fee_beyond_our_model_explains_that_much_of_a_difference() -> None:
    """P4: the comparison books it, with its label; more than was posted is drift."""
    bench = Bench(COIN)
    intent = bench.order(buy(1, symbol=COIN), symbol=COIN)
    bench.accepted(intent)
    bench.filled(intent, 1)
    _tell(bench, _activity(K.FEE, symbol=COIN, quantity=Decimal("-0.0035")))
    assert alerts(bench.reported(positions={COIN: Decimal("0.9965")})) == []
    assert bench.position(COIN) == Decimal("0.9965")
    for _ in range(2):
        told = alerts(bench.reported(positions={COIN: Decimal("0.9955")}))
        bench.wait(10)
    assert told == ["order-drift: BTC/USD: position differs from the venue's"]


def test_a_cash_fee_of_coins_settles_what_the_model_charged() -> None:
    """P4: sold for 10,000: 25 were booked with the fill; of 26 that are posted one is charged now."""
    bench = Bench(COIN)
    intent = bench.order(buy(1, symbol=COIN), symbol=COIN)
    bench.accepted(intent)
    bench.filled(intent, 1)
    out = bench.order(leave(symbol=COIN), symbol=COIN)
    bench.accepted(out)
    bench.filled(out, out.quantity, 10_000.0)
    cash = bench.kernel.portfolio.positions.cash
    charged = bench.kernel.portfolio.fees_booked["cash"]
    _tell(bench, _activity(K.FEE, cash=-charged - 1))
    assert bench.kernel.portfolio.positions.cash == cash - 1


# -- shares --------------------------------------------------------------------------------------


def test_a_split_changes_the_quantity_and_nothing_else() -> None:
    """P4: same cost, same equity, and people are told."""
    bench = Bench()
    bench.hold(10)
    told = alerts(_tell(bench, _activity(K.SPLIT, symbol=SPY, quantity=Decimal(10), label="stock split (SPLIT)")))
    assert told == ["order-drift: SPY: stock split (SPLIT)"]
    assert bench.position() == Decimal(20)
    assert bench.kernel.portfolio.positions.position(SPY).average_price == Decimal(50)
    assert bench.kernel.portfolio.equity == pytest.approx(100_000.0)
    bench.bar(50.0)
    assert bench.kernel.portfolio.day_pnl == pytest.approx(0.0)
    assert bench.order(leave(), close=50.0).quantity == Decimal(20)


def test_of_a_split_our_books_get_the_part_that_is_ours() -> None:
    """P4: thirty at the venue, twenty of them another's; thirty more come."""
    bench = Bench(ready=False, settings=KernelSettings(foreign=Foreign.IGNORE))
    bench.begin()
    bench.load()
    bench.reported(positions={SPY: 20})
    bench.bar(after=0)
    bench.hold(10)
    bench.reported(positions={SPY: 30})
    _tell(bench, _activity(K.SPLIT, symbol=SPY, quantity=Decimal(30)))
    assert bench.position() == Decimal(20)


def test_a_split_of_what_others_hold_stays_explained() -> None:
    """P4: the part that is not ours is counted with theirs, so that nothing looks like drift."""
    bench = Bench(ready=False, settings=KernelSettings(foreign=Foreign.IGNORE))
    bench.begin()
    bench.load()
    bench.reported(positions={SPY: 20})
    bench.bar(after=0)
    _tell(bench, _activity(K.SPLIT, symbol=SPY, quantity=Decimal(20)))
    for _ in range(2):
        assert alerts(bench.reported(positions={SPY: 40})) == []
        bench.wait(10)
    assert bench.position() == 0


@pytest.mark.parametrize(("policy", "ours"), [(Foreign.IGNORE, 0), (Foreign.ADOPT, 7)])
def test_shares_that_are_transferred_in_are_somebodys_own(policy: Foreign, ours: int) -> None:
    """P4: as with any position of others, the policy says whether our books take them."""
    bench = Bench(settings=KernelSettings(foreign=policy))
    _tell(bench, _activity(K.TRANSFER, symbol=SPY, quantity=Decimal(7), price=Decimal(100)))
    for _ in range(2):
        assert alerts(bench.reported(positions={SPY: 7})) == []
        bench.wait(10)
    assert bench.position() == ours
    assert bench.kernel.portfolio.day_pnl == pytest.approx(0.0)


def test_a_split_of_what_we_do_not_hold_is_nobodys_business() -> None:
    """P4: flat stays flat."""
    bench = Bench()
    assert alerts(_tell(bench, _activity(K.SPLIT, symbol=SPY, quantity=Decimal(10)))) == []
    assert bench.position() == 0


def test_a_spin_off_brings_shares_and_cash_under_one_label() -> None:
    """P4: shares of another symbol, free of cost, and what was paid instead of a fraction."""
    bench = Bench()
    told = alerts(_tell(bench, _activity(K.SHARES, symbol="QQQ", quantity=Decimal(3), cash=Decimal("0.40"))))
    assert told == ["order-drift: QQQ: shares"]
    assert (bench.position("QQQ"), bench.kernel.portfolio.positions.cash) == (
        Decimal(3),
        ACCOUNT.cash + Decimal("0.40"),
    )
    assert _labels(bench) == ["shares [a1]"]


# -- executions that are taken back --------------------------------------------------------------


@pytest.mark.parametrize("quantity", [10, -10], ids=["bought", "sold"])
def test_a_busted_trade_is_reversed_once_by_an_adjustment(quantity: int) -> None:
    """P3, P4: position and cash as before it; the execution stays recorded; nothing is synthetic."""
    bench = Bench()
    intent = bench.hold(quantity)
    execution = _first(bench, intent)
    told = alerts(_tell(bench, _bust(execution)))
    assert told == ["order-drift: SPY: trade busted"]
    assert _tell(bench, _bust(execution)) == []
    assert _tell(bench, msgspec.structs.replace(_bust(execution), activity_id="another source")) == []
    assert bench.position() == 0
    assert bench.kernel.portfolio.positions.cash == ACCOUNT.cash
    assert bench.kernel.portfolio.equity == pytest.approx(100_000.0)
    assert bench.state(intent).executions == [execution]
    assert bench.kernel.counters.executions == 1
    assert _labels(bench) == [f"trade busted: {execution.execution_id}"]
    assert alerts(bench.reported(positions={})) == []


def test_a_busted_execution_that_is_told_again_is_not_counted_again() -> None:
    """P3: activities may list it still."""
    bench = Bench()
    intent = bench.hold(10)
    execution = _first(bench, intent)
    _tell(bench, _bust(execution))
    bench.show(OrderFilled(ts=bench.now, execution=execution, source=Source.RECONCILE))
    bench.updated(intent, OrderStatus.FILLED, filled_qty=Decimal(10))
    assert bench.position() == 0


def test_a_bust_of_one_of_several_executions_takes_its_own_lot() -> None:
    """P4: the other execution keeps its cost."""
    bench = Bench()
    first = bench.hold(10, close=100.0)
    bench.hold(5, close=110.0)
    _tell(bench, _bust(_first(bench, first)))
    position = bench.kernel.portfolio.positions.position(SPY)
    assert (position.quantity, position.average_price) == (Decimal(5), Decimal(110))


def test_a_corrected_trade_is_reversed_and_booked_as_it_is_now() -> None:
    """P4: ten at 100 were nine at 99; both adjustments name the execution."""
    bench = Bench()
    execution = _first(bench, bench.hold(10))
    correction = _bust(execution, label="trade corrected", quantity=Decimal(9), price=Decimal(99))
    _tell(bench, msgspec.structs.replace(correction, kind=K.CORRECTION))
    assert (bench.position(), bench.kernel.portfolio.positions.cash) == (Decimal(9), ACCOUNT.cash - 9 * 99)
    assert bench.kernel.portfolio.positions.position(SPY).average_price == Decimal(99)
    assert _labels(bench) == [
        f"trade corrected: {execution.execution_id}",
        f"trade corrected to 9 at 99: {execution.execution_id}",
    ]


def test_a_bust_of_an_execution_that_nobody_knows_changes_nothing_and_is_told() -> None:
    """P4: the comparison that follows shows what is to be shown."""
    bench = Bench()
    stranger = Execution(
        execution_id="e-x", broker_id="b", symbol=SPY, side=OrderSide.BUY, quantity=Decimal(1), price=Decimal(1), at=1
    )
    assert alerts(_tell(bench, _bust(stranger))) == ["order-drift: SPY: trade busted"]
    assert (bench.position(), _labels(bench)) == (Decimal(0), [])


def test_a_bust_that_is_told_before_its_execution_is_known_waits_for_it() -> None:
    """P3: the stream lost the fill; when the activities bring it, it is counted and reversed."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.accepted(intent)
    execution = bench.execution(intent, 10)
    assert alerts(_tell(bench, _bust(execution))) == ["order-drift: SPY: trade busted"]
    bench.reported(executions=[execution], positions={}, account=ACCOUNT)
    assert (bench.position(), bench.kernel.portfolio.positions.cash) == (Decimal(0), ACCOUNT.cash)
    assert bench.kernel.counters.executions == 1
    assert bench.kernel.adjustments.state.waiting == {}


def test_a_bust_of_what_others_traded_is_reversed_where_it_was_adopted() -> None:
    """P4: books and venue agree again."""
    bench = Bench(settings=KernelSettings(foreign=Foreign.ADOPT))
    traded = Execution(
        execution_id="e-x",
        broker_id="b",
        client_order_id="by-hand",
        symbol=SPY,
        side=OrderSide.BUY,
        quantity=Decimal(4),
        price=Decimal(100),
        at=bench.now,
    )
    bench.show(OrderFilled(ts=bench.now, execution=traded, source=Source.STREAM))
    assert bench.position() == Decimal(4)
    _tell(bench, _bust(traded))
    assert (bench.position(), bench.kernel.portfolio.positions.cash) == (Decimal(0), ACCOUNT.cash)


def test_what_is_remembered_can_be_written_down_and_read_back() -> None:
    """P8: plain data, for a snapshot."""
    bench = Bench()
    _tell(bench, _activity(K.INCOME, cash=Decimal(5)))
    state = bench.kernel.adjustments.state
    assert state.seen == {"a1": True}
    assert msgspec.json.decode(msgspec.json.encode(state), type=AdjustmentsState) == state
