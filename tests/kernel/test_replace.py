"""Replacing an order: what the guards count, what becomes of the two orders, and what nobody knows."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from holdfast.kernel.portfolio import Portfolio
from holdfast.model import (
    OrderIntent,
    OrderSide,
    OrderStatus,
    Outcome,
    Signal,
    Source,
    Stage,
    TimeInForce,
    TradingState,
)
from holdfast.model.commands import ORDER_COMMANDS, LookupOrder, ReplaceOrder, SubmitOrder
from holdfast.model.errors import StrategyError
from holdfast.model.events import SignalReceived, TradingStateChanged
from holdfast.risk import RiskLimits
from holdfast.state.order_tracker import InFlightOrder
from tests.kernel.helpers import SPY, Action, Bench, of


def rest(bench: Bench, quantity: int = 10, limit: float = 99.0) -> OrderIntent:
    """A limit buy that rests at the venue."""
    intent = bench.order(lambda s: s.buy(SPY, quantity, limit=limit, reason="low"))
    bench.accepted(intent)
    return intent


def ask(old: OrderIntent, limit: float | None = None, quantity: int | None = None) -> Action:
    """A strategy that replaces."""
    return lambda s: s.replace(old.client_order_id, limit=limit, quantity=quantity)


def tracked(bench: Bench, intent: OrderIntent) -> InFlightOrder:
    """The order of an intent."""
    order = bench.kernel.portfolio.tracker.get(intent.client_order_id)
    assert order is not None
    return order


def looked_up(bench: Bench) -> list[str]:
    """What the last event had looked up."""
    return [command.client_order_id for command in of(LookupOrder, bench.shown[-1][1])]


# -- the order that goes well ----------------------------------------------------------------------


def test_the_new_order_takes_the_old_ones_place_on_the_venues_word() -> None:
    """One command with an id of its own; the old one stays open until it is said to be replaced."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))

    (command,) = of(ReplaceOrder, bench.shown[-1][1])
    assert of(SubmitOrder, bench.shown[-1][1]) == []
    assert isinstance(command, ORDER_COMMANDS)
    assert command.broker_id == f"B-{old.client_order_id}"
    assert (new.replaces, new.limit_price, new.quantity, new.reason) == (
        old.client_order_id,
        Decimal("99.5"),
        Decimal(10),
        "low",
    )
    assert new.client_order_id != old.client_order_id
    assert [tracked(bench, order).status for order in (old, new)] == [OrderStatus.NEW, OrderStatus.SUBMITTED]
    assert tracked(bench, old).replaced_by is None

    bench.updated(old, OrderStatus.REPLACED)
    bench.accepted(new)
    ours, theirs = tracked(bench, old), tracked(bench, new)
    assert (ours.status, ours.replaced_by, theirs.replaces) == (
        OrderStatus.REPLACED,
        new.client_order_id,
        old.client_order_id,
    )
    assert theirs.status is OrderStatus.NEW
    bench.filled(new, 10, 99.5)
    assert bench.kernel.portfolio.positions.quantity(SPY) == 10


def test_a_fill_that_wins_the_race_is_the_old_orders() -> None:
    """The venue rejects the new one, and nothing is bought twice."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))
    bench.filled(old, 10, 99.0)
    bench.accepted(new, source=Source.RESPONSE)
    bench.updated(new, OrderStatus.REJECTED)

    assert [tracked(bench, order).status for order in (old, new)] == [OrderStatus.FILLED, OrderStatus.REJECTED]
    assert bench.kernel.portfolio.positions.quantity(SPY) == 10
    assert not bench.kernel.view(SPY).busy


def test_after_a_partial_fill_what_is_left_is_asked_for() -> None:
    """The venue would take the original quantity; the new order's own is always said."""
    bench = Bench()
    old = rest(bench)
    bench.filled(old, 4, 99.0)
    assert bench.order(ask(old, limit=99.5)).quantity == 6


def test_pending_replace_and_back() -> None:
    """The old order says so itself, and may fill in it or come back from it."""
    bench = Bench()
    old = rest(bench)
    bench.order(ask(old, limit=99.5))
    bench.updated(old, OrderStatus.PENDING_REPLACE)
    assert tracked(bench, old).is_open
    bench.updated(old, OrderStatus.NEW)
    assert tracked(bench, old).status is OrderStatus.NEW


# -- what cannot be replaced -----------------------------------------------------------------------


def refusal(bench: Bench, action: Action) -> str:
    """The reason why it cannot be."""
    commands = bench.act(action)
    assert of(ReplaceOrder, commands) == []
    verdict = bench.verdict
    assert not verdict.approved
    assert (verdict.stage, verdict.guard) == (Stage.POSITION, "not_replaceable")
    return verdict.reason


def test_what_the_venue_would_refuse_is_refused_here() -> None:
    """Not at the venue yet, about to be cancelled, in the middle of a replacement, unchanged, a market order, over."""
    bench = Bench()
    fresh = bench.order(lambda s: s.buy(SPY, 1, limit=99))
    assert "is submitted" in refusal(bench, ask(fresh, limit=98))
    bench.accepted(fresh)
    assert "already" in refusal(bench, ask(fresh, limit=99))
    new = bench.order(ask(fresh, limit=98))
    assert "not spoken yet" in refusal(bench, ask(fresh, limit=97))
    bench.accepted(new)
    assert "not spoken yet" in refusal(bench, ask(new, limit=97))
    bench.updated(fresh, OrderStatus.REPLACED)
    bench.act(lambda s: s.cancel(SPY))
    assert "about to be cancelled" in refusal(bench, ask(new, limit=97))
    bench.canceled(new)
    assert "is canceled" in refusal(bench, ask(new, limit=97))
    market = bench.order(lambda s: s.buy(SPY, 1))
    bench.accepted(market)
    assert "only one with a price can be replaced" in refusal(bench, ask(market, limit=97))


def test_what_is_unchanged_once_it_is_rounded_is_not_sent() -> None:
    """The venue refuses it, too."""
    bench = Bench()
    old = rest(bench)
    assert "already" in refusal(bench, ask(old, limit=99.004))
    bench.filled(old, 4, 99.0)
    assert "already" in refusal(bench, ask(old, quantity=6))
    assert "already" in refusal(bench, ask(old, quantity=10))
    assert bench.order(ask(old, quantity=7)).quantity == 7


def test_a_part_of_a_share_can_be_moved_and_not_resized() -> None:
    """Its quantity is one that the venue does not change."""
    bench = Bench()
    bench.load(fractionable=True)
    old = bench.order(lambda s: s.buy(SPY, 1.5, limit=99))
    bench.accepted(old)
    assert "fractions" in refusal(bench, ask(old, quantity=1))
    assert bench.order(ask(old, limit=98)).quantity == Decimal("1.5")


def test_a_signal_from_outside_replaces_too_and_keeps_the_time_in_force() -> None:
    """Whatever the default would be; another one, another side or another symbol is refused."""
    bench = Bench()
    old = bench.order(lambda s: s.buy(SPY, 10, limit=99, time_in_force=TimeInForce.GTC))
    bench.accepted(old)
    wish = Signal(symbol=SPY, side=OrderSide.BUY, quantity=Decimal(10), price=Decimal(98), replaces=old.client_order_id)
    for other in (
        msgspec.structs.replace(wish, side=OrderSide.SELL),
        msgspec.structs.replace(wish, time_in_force=TimeInForce.DAY),
        msgspec.structs.replace(wish, price=None),
        msgspec.structs.replace(wish, replaces="nobody"),
    ):
        assert bench.kernel.submit(other).guard == "not_replaceable"
    bench.kernel.take_commands()
    (command,) = of(ReplaceOrder, bench.show(SignalReceived(ts=bench.now, signal=wish, request=1)))
    assert command.intent.time_in_force is TimeInForce.GTC


def test_an_order_that_never_was_is_the_strategys_mistake() -> None:
    """Named."""
    bench = Bench()
    with pytest.raises(StrategyError, match="there is no order 'nonsense' to replace"):
        bench.act(lambda s: s.replace("nonsense", limit=1))


# -- what the guards count -------------------------------------------------------------------------


def test_the_larger_of_the_two_is_counted_and_never_both() -> None:
    """Position, exposure, orders and money, while nobody knows which of them is at the venue."""
    bench = Bench()
    portfolio = bench.kernel.portfolio
    old = rest(bench)
    one = portfolio.gross_exposure()
    assert (portfolio.position_quantity(SPY), portfolio.open_order_count()) == (Decimal(10), 1)

    bench.order(ask(old, limit=98.0, quantity=25))
    assert (portfolio.position_quantity(SPY), portfolio.open_order_count()) == (Decimal(25), 1)
    assert portfolio.gross_exposure() == pytest.approx(one * 2.5)
    bench.filled(old, 10, 99.0)
    assert portfolio.position_quantity(SPY) == 35, "the old one has filled, and the new one is not refused yet"


def test_a_smaller_one_does_not_free_what_the_old_one_may_still_take() -> None:
    """Not before the venue's word."""
    bench = Bench()
    portfolio = bench.kernel.portfolio
    old = rest(bench)
    power = portfolio.buying_power
    new = bench.order(ask(old, quantity=3))
    assert (portfolio.position_quantity(SPY), portfolio.buying_power) == (Decimal(10), power)
    bench.updated(old, OrderStatus.REPLACED)
    bench.accepted(new)
    assert portfolio.position_quantity(SPY) == 3


def test_the_limits_judge_the_new_order_without_the_old_one() -> None:
    """It fits where both together would not; and it is blocked where it is too large by itself."""
    bench = Bench(limits=RiskLimits(max_position_notional=Decimal(1_200), max_open_orders=1))
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5, quantity=11))
    bench.updated(old, OrderStatus.REPLACED)
    bench.accepted(new)
    bench.act(ask(new, quantity=13))
    assert (bench.verdict.approved, bench.verdict.guard) == (False, "position_notional")
    bench.act(lambda s: s.buy(SPY, 1))
    assert bench.verdict.guard in ("position_notional", "open_orders")


def test_an_opening_replacement_is_asked_everything() -> None:
    """A bot that only reduces opens nothing, be it in the place of another."""
    bench = Bench()
    old = rest(bench)
    bench.show(TradingStateChanged(ts=bench.now, state=TradingState.REDUCING, reason="told to"))
    bench.act(ask(old, limit=99.5))
    assert (bench.verdict.approved, bench.verdict.guard) == (False, "trading_state")
    assert tracked(bench, old).is_open


def leave(bench: Bench, quantity: int, limit: float) -> OrderIntent:
    """An exit that rests."""
    intent = bench.order(lambda s: s.exit(SPY, quantity, limit=limit))
    bench.accepted(intent)
    return intent


def test_a_reducing_one_passes_where_nothing_may_open_and_never_flips() -> None:
    """It is cut to what is held."""
    bench = Bench()
    bench.hold(10)
    old = leave(bench, 4, 105.0)
    bench.show(TradingStateChanged(ts=bench.now, state=TradingState.REDUCING, reason="told to"))
    new = bench.order(ask(old, limit=104.0, quantity=25))
    assert (new.quantity, new.reduce_only) == (Decimal(10), True)
    assert bench.kernel.portfolio.reducible(SPY, Decimal(10)) == 0
    bench.filled(old, 4, 105.0)
    assert bench.kernel.portfolio.reducible(SPY, Decimal(6)) == 0


def test_an_opening_order_cannot_be_made_one_that_turns_the_position() -> None:
    """A sell above what is held is refused, as it is by itself."""
    bench = Bench()
    bench.hold(10)
    old = bench.order(lambda s: s.sell(SPY, 4, limit=105))
    bench.accepted(old)
    assert old.reduce_only
    assert bench.order(ask(old, quantity=11)).quantity == 10


def test_an_exit_waits_for_both() -> None:
    """Whatever rests is cancelled first: the old one by its id, the new one as soon as it has one."""
    bench = Bench()
    bench.hold(10)
    old = bench.order(lambda s: s.buy(SPY, 5, limit=99))
    bench.accepted(old)
    new = bench.order(ask(old, limit=99.5))
    bench.act(lambda s: s.exit(SPY))
    assert bench.verdict.guard == "exit_waits"
    bench.updated(old, OrderStatus.REPLACED)
    bench.accepted(new)
    assert tracked(bench, new).cancel_requested
    commands = bench.canceled(new)
    (exit_,) = of(SubmitOrder, commands)
    assert (exit_.intent.reduce_only, exit_.intent.quantity) == (True, Decimal(10))


# -- what nobody knows -----------------------------------------------------------------------------


def test_a_replace_without_an_answer_is_looked_up_by_the_new_id() -> None:
    """Found: it was replaced, and the old one is asked for, whose word may be lost as the answer was."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))
    bench.unknown(new)
    assert looked_up(bench) == [new.client_order_id]
    assert bench.kernel.portfolio.position_quantity(SPY) == 10

    bench.accepted(new, source=Source.LOOKUP)
    assert looked_up(bench) == [old.client_order_id]
    bench.updated(old, OrderStatus.REPLACED, source=Source.LOOKUP)
    assert tracked(bench, old).replaced_by == new.client_order_id


def test_not_found_needs_what_it_needs_of_a_submit_and_the_old_order_lives_on() -> None:
    """Grace period, stream, list of orders."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))
    bench.unknown(new)
    bench.missed(new)
    assert tracked(bench, new).status is OrderStatus.UNKNOWN
    bench.denied(new)
    assert tracked(bench, new).status is OrderStatus.NEVER_SENT
    assert tracked(bench, old).status is OrderStatus.NEW
    again = bench.order(ask(old, limit=99.5))
    assert again.client_order_id != new.client_order_id


def test_an_old_order_that_ended_otherwise_settles_the_new_one_at_once() -> None:
    """L11: what is filled was not replaced. No grace period for a matter that is decided."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))
    bench.unknown(new, "order is not open", Outcome.UNLISTED)
    assert looked_up(bench) == [old.client_order_id, new.client_order_id]
    bench.missed(new)
    assert tracked(bench, new).status is OrderStatus.UNKNOWN
    bench.filled(old, 10, 99.0)
    assert looked_up(bench) == [new.client_order_id]
    bench.missed(new)
    assert tracked(bench, new).status is OrderStatus.NEVER_SENT
    assert f"order {old.client_order_id}, which it was to replace, is filled" in tracked(bench, new).evidence


def test_a_definite_no_leaves_the_old_one_and_is_checked_once() -> None:
    """An error answer has been seen although the order was replaced: the venue's word on the new one reopens it."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))
    bench.refused(new)
    assert looked_up(bench) == [new.client_order_id, old.client_order_id]
    assert [tracked(bench, order).status for order in (old, new)] == [OrderStatus.NEW, OrderStatus.REJECTED]

    bench.accepted(new, source=Source.LOOKUP)
    bench.updated(old, OrderStatus.REPLACED, source=Source.LOOKUP)
    assert [tracked(bench, order).status for order in (old, new)] == [OrderStatus.REPLACED, OrderStatus.NEW]


def test_too_many_requests_is_a_definite_no() -> None:
    """And nothing is sent again."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))
    commands = bench.refused(new, "too many requests", Outcome.RATE_LIMITED)
    assert not of(ReplaceOrder, commands)
    assert not of(LookupOrder, commands)
    assert tracked(bench, new).status is OrderStatus.REJECTED
    assert tracked(bench, old).is_open


def test_a_restart_in_flight_looks_up_and_never_sends_again() -> None:
    """P2: whether it left died with the process."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))
    commands = bench.begin(epoch=2)
    assert not any(isinstance(command, ORDER_COMMANDS) for command in commands)
    assert new.client_order_id in [command.client_order_id for command in of(LookupOrder, commands)]
    assert tracked(bench, new).status is OrderStatus.UNKNOWN
    assert bench.kernel.portfolio.open_order_count() == 1


def test_a_journal_of_replaced_orders_gives_the_same_kernel() -> None:
    """P8: followed with the recorded commands, also by a kernel whose strategy asks for nothing."""
    bench = Bench()
    old = rest(bench)
    new = bench.order(ask(old, limit=99.5))
    bench.updated(old, OrderStatus.REPLACED)
    bench.accepted(new)
    silent = Bench(ready=False)
    for event, commands in bench.shown:
        silent.kernel.follow(event, commands)
    ours = silent.kernel.portfolio.tracker
    theirs = bench.kernel.portfolio.tracker
    assert ours.to_json() == theirs.to_json()
    followed = ours.get(new.client_order_id)
    assert followed is not None
    assert followed.replaces == old.client_order_id


# -- canaries: variants that the tests above must catch ---------------------------------------------


class _CountsBoth(Portfolio):
    def _beyond_old(self, order: InFlightOrder) -> Decimal:
        return order.remaining


def test_a_portfolio_that_counts_both_is_caught() -> None:
    """By the position, and by the limit that both together would break."""
    bench = Bench(limits=RiskLimits(max_position_notional=Decimal(2_000)))
    bench.kernel.portfolio.__class__ = _CountsBoth
    old = rest(bench)
    bench.order(ask(old, limit=99.5))
    assert bench.kernel.portfolio.position_quantity(SPY) == 20, "and 10 is what the test asks for"
