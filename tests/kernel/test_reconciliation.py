"""Our books against the venue's: what differs is reported, once, and only when it stays."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from holdfast.kernel.reconciliation import Drift
from holdfast.model import AssetClass, OrderReport, OrderSide, OrderStatus, Source, TradingState
from holdfast.model.commands import LoadSecurity, LookupOrder, QueryAccount, Reconcile, SubmitOrder
from holdfast.model.events import ReconcileFailed, ReconcileRequested, StreamConnected, StreamLost
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE
from tests.kernel.helpers import ACCOUNT, COIN, SPY, START, Bench, alerts, buy, leave, of, report_of


def _stranger(status: OrderStatus = OrderStatus.NEW, **changes: Any) -> OrderReport:
    """An order that somebody else placed on the account."""
    fields: dict[str, Any] = {
        "broker_id": "B-x",
        "client_order_id": "somebody-else",
        "symbol": SPY,
        "side": OrderSide.BUY,
        "quantity": Decimal(3),
    }
    return OrderReport(status=status, **fields | changes)


# -- orders --------------------------------------------------------------------------------------


def test_an_order_at_the_venue_that_is_not_ours_is_reported_once() -> None:
    """P2: an orphan. It is never touched; when it is gone it is forgotten, and reported anew if it comes back."""
    bench = Bench()
    first = bench.reported(orders=[_stranger()])
    assert alerts(first) == ["order-drift: an order at the venue is unknown here"]
    assert list(bench.kernel.reconciliation.orphans) == ["B-x"]
    assert alerts(bench.reported(orders=[_stranger()])) == []
    assert alerts(bench.reported(orders=[])) == []
    assert bench.kernel.reconciliation.orphans == {}
    assert len(alerts(bench.reported(orders=[_stranger()]))) == 1
    assert not of(SubmitOrder, bench.commands)


def test_a_closed_order_that_is_not_ours_is_nobodys_business() -> None:
    """The venue lists old orders too."""
    bench = Bench()
    assert alerts(bench.reported(orders=[_stranger(OrderStatus.FILLED)])) == []
    assert bench.kernel.reconciliation.orphans == {}


def test_our_own_order_in_flight_is_no_orphan() -> None:
    """It has no venue id here yet, but our id is on it: the report is its answer."""
    bench = Bench()
    intent = bench.order(buy(10))
    commands = bench.reported(orders=[report_of(intent, OrderStatus.NEW)])
    assert alerts(commands) == []
    assert bench.state(intent).broker_id == "B-J-1"


def test_an_order_that_is_open_here_and_absent_there_is_looked_up_first_and_reported_if_it_stays() -> None:
    """A shadow. REST views lag, so the order itself is asked for before anybody is alarmed."""
    bench = Bench()
    intent = bench.order(buy(10, limit=90.0))
    bench.accepted(intent)
    first = bench.reported(orders=[])
    assert [c.client_order_id for c in of(LookupOrder, first)] == ["J-1"]
    assert alerts(first) == []
    assert of(Reconcile, bench.fire())
    assert alerts(bench.reported(orders=[])) == [], "five seconds are within what views lag"
    assert of(Reconcile, bench.fire())
    assert alerts(bench.reported(orders=[])) == ["order-drift: an order that is open here is not at the venue"]
    bench.fire()
    assert alerts(bench.reported(orders=[])) == [], "once"


def test_a_shadow_whose_look_up_says_that_it_closed_is_closed() -> None:
    """The stream lost the cancel; the look-up brings it."""
    bench = Bench()
    intent = bench.order(buy(10, limit=90.0))
    bench.accepted(intent)
    bench.reported(orders=[])
    bench.updated(intent, OrderStatus.CANCELED, source=Source.LOOKUP)
    bench.fire()
    assert alerts(bench.reported(orders=[])) == []
    assert bench.kernel.reconciliation.shadows == {}


def test_an_order_in_flight_or_unknown_is_no_shadow() -> None:
    """It may arrive yet; its own look-up is under way."""
    bench = Bench()
    bench.unknown(bench.order(buy(10)))
    commands = bench.reported(orders=[])
    assert alerts(commands) == []
    assert bench.kernel.reconciliation.shadows == {}


def test_another_order_under_our_id_in_a_report_halts_trading() -> None:
    """P2: as with a look-up. Exits stop too, since nothing about our orders can be trusted."""
    bench = Bench()
    intent = bench.order(buy(10))
    commands = bench.reported(orders=[report_of(intent, OrderStatus.NEW, quantity=Decimal(12))])
    assert alerts(commands) == ["order-drift: the venue's orders differ from our intents: trading is halted"]
    assert bench.kernel.portfolio.trading_state is TradingState.HALTED


# -- positions -----------------------------------------------------------------------------------


def test_a_difference_is_reported_only_when_it_persists_and_only_once() -> None:
    """P4: it has to be there for ten seconds, in every look of them; nothing is adopted."""
    bench = Bench()
    bench.hold(10)
    for _ in range(2):
        assert alerts(bench.reported(positions={SPY: 7})) == []
        assert not bench.kernel.reconciliation.drift
        assert of(Reconcile, bench.fire())
    assert alerts(bench.reported(positions={SPY: 7})) == ["order-drift: SPY: position differs from the venue's"]
    assert bench.kernel.reconciliation.drift == (Drift(SPY, Decimal(10), Decimal(7)),)
    assert alerts(bench.reported(positions={SPY: 7})) == []
    assert bench.position() == Decimal(10)


def test_many_looks_at_one_moment_are_one() -> None:
    """Whoever asks again and again learns nothing more of a view that lags."""
    bench = Bench()
    bench.hold(10)
    for _ in range(5):
        assert alerts(bench.reported(positions={SPY: 7})) == []
    bench.wait(9.9)
    assert alerts(bench.reported(positions={SPY: 7})) == []
    bench.wait(0.1)
    assert len(alerts(bench.reported(positions={SPY: 7}))) == 1


def test_a_difference_that_goes_away_was_none() -> None:
    """REST views disagree for a while in the best of health."""
    bench = Bench()
    bench.hold(10)
    bench.reported(positions={})
    bench.fire()
    assert alerts(bench.reported()) == []
    assert not bench.kernel.reconciliation.drift
    assert bench.kernel.timers == {}


def test_a_difference_that_changes_is_a_new_one() -> None:
    """Two different wrong numbers are not one that persists; each is looked at again."""
    bench = Bench()
    bench.hold(10)
    for venue in (7, 8, 9):
        assert alerts(bench.reported(positions={SPY: venue})) == []
        bench.fire()
    assert alerts(bench.reported(positions={SPY: 9})) == [], "it has been nine for five seconds"
    bench.fire()
    assert len(alerts(bench.reported(positions={SPY: 9}))) == 1


def test_a_position_that_we_never_had_is_drift_too() -> None:
    """P4: also in a symbol that no strategy trades."""
    bench = Bench()
    for _ in range(2):
        bench.reported(positions={"IWM": 5})
        bench.fire()
    assert len(alerts(bench.reported(positions={"IWM": 5}))) == 1
    assert bench.position("IWM") == 0


def test_no_position_is_judged_while_an_order_in_it_is_in_flight() -> None:
    """P4 holds when nothing is in flight: what is may be on one side already."""
    bench = Bench()
    bench.order(buy(10))
    for _ in range(2):
        assert alerts(bench.reported(positions={SPY: 10})) == []


def test_a_fee_that_was_rounded_otherwise_is_booked_with_its_label() -> None:
    """P4: coins differ by a few units of the ninth decimal; nothing else explains such a difference."""
    bench = Bench(COIN)
    intent = bench.order(buy(1, symbol=COIN), symbol=COIN)
    bench.accepted(intent)
    bench.filled(intent, 1)
    assert alerts(bench.reported(positions={COIN: Decimal("0.997500003")})) == []
    assert bench.position(COIN) == Decimal("0.997500003")
    (adjustment,) = bench.kernel.portfolio.positions.adjustments
    assert (adjustment.symbol, adjustment.quantity, adjustment.label) == (
        COIN,
        Decimal("0.000000003"),
        "coin fee as charged",
    )
    for _ in range(2):
        assert alerts(bench.reported(positions={COIN: Decimal("0.997")})) == []
        bench.fire()
    assert alerts(bench.reported(positions={COIN: Decimal("0.997")})) != []


def test_a_share_is_never_explained_by_a_fee() -> None:
    """P4: equities pay no fee in kind, however small the difference."""
    bench = Bench()
    bench.hold(10)
    for _ in range(3):
        commands = bench.reported(positions={SPY: Decimal("9.999999999")})
        bench.wait(5)
    assert len(alerts(commands)) == 1
    assert bench.position() == Decimal(10)


def test_what_was_held_before_us_counts_in_the_equity_and_is_not_traded() -> None:
    """The account is worth 150,000, of which 100,000 are cash: the day's profit starts at zero."""
    bench = Bench(ready=False)
    bench.begin()
    bench.load()
    bench.reported(account=msgspec.structs.replace(ACCOUNT, equity=Decimal(150_000)), positions={"IWM": 500})
    bench.bar()
    assert bench.kernel.portfolio.equity == pytest.approx(150_000.0)
    assert bench.kernel.portfolio.day_pnl == pytest.approx(0.0)


# -- when ----------------------------------------------------------------------------------------


def test_an_epoch_begins_with_questions() -> None:
    """Rules of every symbol, the account, and a look at everything."""
    bench = Bench(ready=False)
    commands = bench.begin()
    assert [c.symbol for c in of(LoadSecurity, commands)] == [SPY]
    assert of(QueryAccount, commands)
    assert [c.reason for c in of(Reconcile, commands)] == ["start"]


def test_after_a_crash_what_was_in_flight_is_unknown_and_looked_up_and_nothing_is_sent_again() -> None:
    """P2: the intent was durable before it left, so nobody here knows whether it arrived."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.wait(60)
    commands = bench.begin(epoch=2)
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    assert [c.client_order_id for c in of(LookupOrder, commands)] == ["J-1"]
    assert not of(SubmitOrder, commands)
    bench.wait(60)
    bench.missed(intent)
    bench.reported()
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.UNKNOWN, "the grace counts from when the stream of this run is up"
    bench.connected()
    bench.missed(intent)
    assert bench.state(intent).status is OrderStatus.UNKNOWN
    bench.denied(intent)
    assert bench.state(intent).status is OrderStatus.NEVER_SENT


def test_after_a_crash_opening_is_blocked_until_the_first_report_and_exits_are_not() -> None:
    """P7: our books were not compared with the venue's in this run."""
    bench = Bench()
    bench.hold(10)
    bench.begin(epoch=2)
    bench.act(buy(5))
    assert bench.verdict.guard == "unverified_books"
    assert bench.order(leave(4)).quantity == Decimal(4)
    bench.reported()
    assert bench.order(buy(5)).quantity == Decimal(5)


def test_orders_that_rest_are_not_asked_for_one_by_one_after_a_crash() -> None:
    """The report of everything tells of them."""
    bench = Bench()
    resting = bench.order(buy(10, limit=90.0))
    bench.accepted(resting)
    assert of(LookupOrder, bench.begin(epoch=2)) == []
    assert bench.state(resting).status is OrderStatus.NEW


def test_a_failed_look_is_tried_again_and_blocks_opening_until_it_worked() -> None:
    """P9: the timer asks again."""
    bench = Bench(ready=False)
    bench.begin()
    bench.load()
    bench.bar()
    bench.show(ReconcileFailed(ts=bench.now, reason="time-out"))
    bench.act(buy(10))
    assert bench.verdict.guard == "unverified_books"
    assert of(Reconcile, bench.fire())


def test_the_books_are_compared_on_reconnect_daily_and_on_request() -> None:
    """Two sources for every fact: what was streamed while nobody listened is asked for."""
    bench = Bench()
    lost = bench.show(StreamLost(ts=bench.now, stream="user", reason="cut"))
    assert alerts(lost) == ["system: user stream lost"]
    back = bench.show(StreamConnected(ts=bench.now, stream="user"))
    assert [c.reason for c in of(Reconcile, back)] == ["reconnect"]
    assert of(Reconcile, bench.show(StreamConnected(ts=bench.now, stream="iex"))) == []
    bench.now = (START // NS_PER_DAY + 1) * NS_PER_DAY
    assert of(Reconcile, bench.bar(after=0)) == [], "a bar that ends at midnight belongs to the day before"
    assert [c.reason for c in of(Reconcile, bench.bar())] == ["daily"]
    asked = bench.show(ReconcileRequested(ts=bench.now, reason="operator"))
    assert [c.reason for c in of(Reconcile, asked)] == ["operator"]


def test_each_look_begins_a_little_before_the_end_of_the_last() -> None:
    """P3: activities may be listed late; executions are counted once, so an overlap costs nothing."""
    bench = Bench()
    at = bench.now
    bench.wait(3600)
    (look,) = of(Reconcile, bench.show(ReconcileRequested(ts=bench.now, reason="operator")))
    assert look.since == at - 5 * NS_PER_MINUTE


def test_missing_fills_are_looked_for_from_the_order_on_however_long_it_takes() -> None:
    """P9: each look moves the window on, and the execution that an exit waits for must not fall out of it."""
    bench = Bench()
    intent = bench.order(buy(10))
    bench.updated(intent, OrderStatus.FILLED, source=Source.LOOKUP)
    for _ in range(100):
        (look,) = of(Reconcile, bench.fire())
        assert look.since <= intent.created_at
        bench.wait(10)
        bench.reported(orders=[], positions={SPY: 10})
    bench.fire()
    bench.reported(executions=[bench.execution(intent, 10, at=intent.created_at)], positions={SPY: 10})
    assert bench.position() == Decimal(10)
    assert bench.kernel.reconciliation.since == bench.now - 5 * NS_PER_MINUTE


def test_crypto_is_recognised_before_the_venue_has_described_it() -> None:
    """Pairs are written with a slash."""
    bench = Bench(COIN, ready=False)
    assert bench.kernel.view(COIN).asset_class is AssetClass.CRYPTO
