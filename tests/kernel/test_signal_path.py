"""What becomes of a signal: the guards in their order, and a recorded reason for every answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import Asset, GuardMode, OrderSide, OrderType, Stage, TimeInForce, TradingState
from holdfast.model.commands import CancelOrder, LoadSecurity, RecordVerdict, SubmitOrder
from holdfast.model.events import (
    AccountUpdated,
    SecurityLoaded,
    SecurityUnavailable,
    ShutdownStarted,
    SignalReceived,
    TradingStateChanged,
)
from holdfast.risk import RiskLimits
from holdfast.risk.protections import CooldownPeriod, StoplossGuard
from tests.kernel.helpers import ACCOUNT, SPY, Bench, alerts, buy, leave, of, sell, signal, verdict_of

# -- what passes ---------------------------------------------------------------------------------


def test_a_signal_that_every_guard_likes_becomes_one_order() -> None:
    """P2: one signal, one verdict, one intent with an id of its own; in that order."""
    bench = Bench()
    commands = bench.act(buy(10))
    record, submit = commands
    assert isinstance(record, RecordVerdict)
    assert isinstance(submit, SubmitOrder)
    assert record.verdict == bench.verdict
    assert (bench.verdict.approved, bench.verdict.stage, bench.verdict.guard) == (True, Stage.ACCEPTED, "")
    assert bench.verdict.client_order_id == submit.intent.client_order_id == "J-1"
    intent = submit.intent
    assert (intent.side, intent.quantity, intent.order_type, intent.time_in_force) == (
        OrderSide.BUY,
        Decimal(10),
        OrderType.MARKET,
        TimeInForce.DAY,
    )
    assert (intent.strategy_id, intent.reason, intent.reduce_only) == ("Scripted", "entry", False)
    assert submit.deadline == intent.created_at + bench.kernel.settings.submit_deadline


def test_ids_count_up_and_are_never_used_twice() -> None:
    """P2: also a signal that is refused in between takes none away from the next."""
    bench = Bench(limits=RiskLimits(max_order_quantity=Decimal(50)))
    first = bench.order(buy(10))
    assert not of(SubmitOrder, bench.act(buy(60)))
    second = bench.order(buy(10))
    assert [first.client_order_id, second.client_order_id] == ["J-1", "J-2"]


def test_an_order_in_crypto_is_good_until_cancelled() -> None:
    """Crypto knows no day orders; the asset class decides where the strategy says nothing."""
    bench = Bench("BTC/USD")
    intent = bench.order(buy(0.5, symbol="BTC/USD"), symbol="BTC/USD")
    assert intent.time_in_force is TimeInForce.GTC


def test_rounding_comes_before_validation_and_is_never_more_aggressive() -> None:
    """100.019 to buy is 100.01; 10.7 whole shares are 10."""
    bench = Bench()
    intent = bench.order(buy(10.7, limit=100.019))
    assert (intent.quantity, intent.limit_price) == (Decimal(10), Decimal("100.01"))


def test_a_notional_is_sized_at_the_last_price() -> None:
    """1,000 USD at 100 are 10 shares; at a limit of 125 they are 8."""
    bench = Bench()
    assert bench.order(lambda s: s.buy(SPY, notional=1_000)).quantity == Decimal(10)
    assert bench.order(lambda s: s.buy(SPY, notional=1_000, limit=125.0)).quantity == Decimal(8)


# -- what is refused, and in which order ---------------------------------------------------------


def _stopped_out(bench: Bench) -> None:
    """One round trip that a stop-loss ended."""
    bench.hold(10)
    out = bench.order(leave(reason="stop_loss"), close=99.0)
    bench.accepted(out)
    bench.filled(out, 10, 99.0)


def test_the_guards_are_asked_in_the_order_of_the_design() -> None:
    """P7: protections, then the risk gate, then the symbol's rules; the first that objects is the one recorded."""
    guard = StoplossGuard(max_stoplosses=1, lookback_period=timedelta(hours=1), cooldown_duration=timedelta(minutes=5))
    bench = Bench(protections=[guard], limits=RiskLimits(max_order_quantity=Decimal(50)))
    bench.load(tradable=False)
    bench.load(tradable=True)
    _stopped_out(bench)
    bench.load(tradable=False)

    def stage(quantity: int) -> tuple[Stage, str]:
        bench.act(buy(quantity))
        return bench.verdict.stage, bench.verdict.guard

    assert stage(60) == (Stage.PROTECTIONS, "stoploss_guard")
    bench.wait(600)
    assert stage(60) == (Stage.RISK, "order_quantity")
    assert stage(10) == (Stage.SYMBOL, "symbol_rules")
    bench.load(tradable=True)
    assert stage(10) == (Stage.ACCEPTED, "")


def test_every_answer_is_recorded_told_and_counted() -> None:
    """The same verdict is returned to the strategy, journaled, kept for all to read, and counted by guard."""
    bench = Bench(limits=RiskLimits(max_order_quantity=Decimal(50)))
    commands = bench.act(buy(60))
    assert verdict_of(commands) == bench.verdict == bench.kernel.verdicts()[-1]
    assert bench.strategy.context.verdicts()[-1] == bench.verdict
    assert not bench.verdict.approved
    assert "60" in bench.verdict.reason
    assert "50" in bench.verdict.reason
    assert bench.kernel.counters.blocked == {"order_quantity": 1}
    assert bench.kernel.counters.signals == 1
    assert not of(SubmitOrder, commands)


def test_a_protection_that_blocks_alerts_people() -> None:
    """It is rare and it matters: the channel is the protections' own."""
    bench = Bench(protections=[CooldownPeriod(cooldown_duration=timedelta(hours=1))])
    _stopped_out(bench)
    assert alerts(bench.act(buy(10))) == ["protections: SPY: protection active"]


def test_a_guard_that_observes_records_and_does_not_block() -> None:
    """``observe`` is how a new guard is rolled out: its word is in the verdict, and the order leaves."""
    limits = RiskLimits(max_order_quantity=Decimal(5), modes={"order_quantity": GuardMode.OBSERVE})
    cooldown = CooldownPeriod(cooldown_duration=timedelta(hours=1), mode="observe")
    bench = Bench(limits=limits, protections=[cooldown])
    _stopped_out(bench)
    bench.order(buy(10))
    assert bench.verdict.approved
    assert [word.split(":")[0] for word in bench.verdict.observed] == ["cooldown_period", "order_quantity"]
    assert bench.kernel.counters.blocked == {}


def test_what_observers_said_is_kept_where_another_guard_blocks() -> None:
    """Otherwise the roll-out of a guard would be judged by half of its answers."""
    limits = RiskLimits(max_order_quantity=Decimal(5))
    bench = Bench(limits=limits, protections=[CooldownPeriod(cooldown_duration=timedelta(hours=1), mode="observe")])
    bench.hold(5)
    bench.accepted(out := bench.order(leave()))
    bench.filled(out, 5)
    bench.act(buy(10))
    assert not bench.verdict.approved
    assert bench.verdict.guard == "order_quantity"
    assert bench.verdict.observed[0].startswith("cooldown_period")


# -- guards fail closed --------------------------------------------------------------------------


def _without_price(bench: Bench) -> None:
    bench.begin()
    bench.load()
    bench.reported()


def _without_account(bench: Bench) -> None:
    bench.begin()
    bench.load()
    bench.kernel.portfolio.verified = True
    bench.bar()


def _unverified(bench: Bench) -> None:
    bench.begin()
    bench.load()
    bench.show(AccountUpdated(ts=bench.now, account=ACCOUNT))
    bench.bar()


def _without_rules(bench: Bench) -> None:
    bench.begin()
    bench.reported()
    bench.bar()


def _with_a_stale_price(bench: Bench) -> None:
    _without_price(bench)
    bench.bar()
    bench.wait(121)


@pytest.mark.parametrize(
    ("prepare", "guard"),
    [
        (_without_price, "market_data"),
        (_with_a_stale_price, "market_data"),
        (_without_account, "buying_power"),
        (_unverified, "unverified_books"),
        (_without_rules, "rules_not_loaded"),
    ],
)
def test_missing_data_blocks_an_opening_order(prepare: Callable[[Bench], None], guard: str) -> None:
    """P7: what cannot be judged is refused, and the verdict says what is missing."""
    bench = Bench(ready=False, limits=RiskLimits(max_data_age=timedelta(minutes=2)))
    prepare(bench)
    commands = bench.show(SignalReceived(ts=bench.now, signal=signal(), request=7))
    assert (verdict_of(commands).approved, verdict_of(commands).guard) == (False, guard)
    assert not of(SubmitOrder, commands)
    assert [c.request for c in of(RecordVerdict, commands)] == [7]


def test_rules_that_are_not_loaded_are_asked_for() -> None:
    """The order is refused now; the next one has a chance."""
    bench = Bench(ready=False)
    _without_rules(bench)
    commands = bench.act(buy(10))
    assert [c.symbol for c in of(LoadSecurity, commands)] == [SPY]
    bench.load()
    assert bench.order(buy(10)).quantity == Decimal(10)


def test_a_symbol_that_the_venue_cannot_describe_stays_blocked_with_an_alert() -> None:
    """Nobody is left to guess why nothing trades."""
    bench = Bench(ready=False)
    _without_rules(bench)
    said = alerts(bench.show(SecurityUnavailable(ts=bench.now, symbol=SPY, reason="asset not found for SPY")))
    assert said == ["system: SPY: no symbol rules"]
    assert not of(SubmitOrder, bench.act(buy(10)))


@given(
    verified=st.booleans(),
    rules=st.booleans(),
    age=st.integers(0, 10_000),
    state=st.sampled_from([TradingState.ACTIVE, TradingState.REDUCING]),
    account=st.booleans(),
    losses=st.integers(0, 3),
    as_exit=st.booleans(),
    quantity=st.integers(1, 30),
)
def test_missing_data_and_protections_never_block_a_reducing_order(
    *,
    verified: bool,
    rules: bool,
    age: int,
    state: TradingState,
    account: bool,
    losses: int,
    as_exit: bool,
    quantity: int,
) -> None:
    """P7: whatever is unknown, and whatever protects, an order against the position leaves, cut to the position."""
    protections = [
        StoplossGuard(max_stoplosses=1, lookback_period=timedelta(days=9), cooldown_duration=timedelta(days=9))
    ]
    limits = RiskLimits(max_data_age=timedelta(seconds=1), max_order_quantity=Decimal(10), max_open_orders=0)
    free = RiskLimits()
    bench = Bench(limits=free, protections=[])
    for _ in range(losses):
        _stopped_out(bench)
    bench.hold(10)
    # From here on everything that can be missing may be missing, and every guard objects.
    strict = Bench(ready=False, limits=limits, protections=protections).kernel
    kernel = bench.kernel
    kernel._path._gate, kernel._path._protections = strict.gate, strict.protections
    strict.gate.view = kernel.portfolio
    kernel.portfolio.verified = verified
    kernel.portfolio.trading_state = state
    if not rules:
        kernel.portfolio.book(SPY).properties = None
    if not account:
        kernel.portfolio.account = None
    bench.wait(age)
    asked = signal(OrderSide.SELL, quantity, reduce_only=as_exit)
    commands = bench.show(SignalReceived(ts=bench.now, signal=asked, request=1))
    if as_exit or quantity <= 10:
        assert [submit.intent.quantity for submit in of(SubmitOrder, commands)] == [min(quantity, 10)]
        assert all(submit.intent.reduce_only for submit in of(SubmitOrder, commands))
    else:
        assert verdict_of(commands).guard == "no_flip"


# -- trading state -------------------------------------------------------------------------------


def test_while_reducing_only_what_reduces_leaves() -> None:
    """P7: an opening order is refused, an exit is sent."""
    bench = Bench()
    bench.hold(10)
    said = alerts(bench.show(TradingStateChanged(ts=bench.now, state=TradingState.REDUCING, reason="operator")))
    assert said == ["system: trading is reducing"]
    bench.act(buy(10))
    assert bench.verdict.guard == "trading_state"
    assert bench.order(leave()).quantity == Decimal(10)


def test_while_halted_nothing_leaves_but_cancels() -> None:
    """Halted is the operator's word, not a protection's: it stops exits too. Cancels are still allowed."""
    bench = Bench()
    bench.hold(10)
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    bench.show(TradingStateChanged(ts=bench.now, state=TradingState.HALTED, reason="operator"))
    for action in (buy(10), sell(5), leave()):
        bench.act(action)
        assert (bench.verdict.approved, bench.verdict.guard) == (False, "trading_state")
    assert [c.client_order_id for c in of(CancelOrder, bench.act(lambda s: s.cancel(SPY)))] == ["J-2"]


def test_a_bot_that_stops_sends_nothing_more() -> None:
    """What would have been an order is recorded as refused, and open orders are cancelled as configured."""
    bench = Bench()
    resting = bench.order(buy(5, limit=90.0))
    bench.accepted(resting)
    commands = bench.show(ShutdownStarted(ts=bench.now, cancel_orders=True))
    assert [c.client_order_id for c in of(CancelOrder, commands)] == ["J-1"]
    bench.act(buy(10))
    assert (bench.verdict.approved, bench.verdict.guard) == (False, "stopping")
    bench.begin(epoch=2)
    bench.reported()
    assert bench.order(buy(10)).client_order_id == "J-2"


# -- guards see what is under way ----------------------------------------------------------------


def test_orders_in_flight_and_unknown_count_as_filled() -> None:
    """P7: two orders of 60 against a limit of 100 shares' worth: the second is refused, whatever became of the first."""
    bench = Bench(limits=RiskLimits(max_position_notional=Decimal(10_000)))
    first = bench.order(buy(60))
    bench.act(buy(60))
    assert bench.verdict.guard == "position_notional"
    bench.unknown(first)
    bench.act(buy(60))
    assert bench.verdict.guard == "position_notional"
    bench.missed(first)
    bench.act(buy(60))
    assert bench.verdict.guard == "position_notional"
    bench.denied(first)
    assert bench.order(buy(60)).quantity == Decimal(60)


def test_buying_power_is_the_venues_last_word_carried_on_by_our_books() -> None:
    """An order counts from when it is sent; a description of the account that does not know it yet changes nothing."""
    bench = Bench()
    first = bench.order(buy(1_500))
    for _ in range(2):
        bench.act(buy(600))
        assert bench.verdict.guard == "buying_power"
        bench.show(AccountUpdated(ts=bench.now, account=ACCOUNT))
    bench.accepted(first)
    bench.show(AccountUpdated(ts=bench.now, account=msgspec.structs.replace(ACCOUNT, buying_power=Decimal(50_000))))
    bench.act(buy(600))
    assert bench.verdict.guard == "buying_power"
    bench.filled(first, 1_500)
    assert bench.kernel.portfolio.buying_power == Decimal(50_000)
    out = bench.order(leave())
    bench.filled(out, 1_500)
    assert bench.kernel.portfolio.buying_power == Decimal(200_000)


def test_a_second_strategy_sees_only_its_own_symbols() -> None:
    """The bars of one symbol wake the strategies that asked for it, and no others."""
    bench = Bench("SPY", "QQQ")
    seen = bench.strategy.bars
    bench.bar(symbol="QQQ")
    assert bench.strategy.bars == seen + 1
    bench.show(SecurityLoaded(ts=bench.now, asset=Asset(symbol="IWM")))
    bench.bar(symbol="IWM")
    assert bench.strategy.bars == seen + 1
