"""Stops, trailing stops, groups, auctions, extended hours and orders by notional, in bars and on quotes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from holdfast.model import OrderStatus, TimeInForce
from holdfast.model.enums import OrderClass
from holdfast.venue.matching.engine import MatchingEngine, VenueOrder
from holdfast.venue.matching.orders import Exits, Refusal
from holdfast.venue.matching.replacing import Replacement
from tests.venue.complex_orders import bracket, oco, stop, trailing, with_terms
from tests.venue.engine_bench import BUY, DAY, GTC, HOUR, NOON, SELL, make_engine, order, trade, usd

MINUTE = HOUR // 60
OPG, CLS = TimeInForce.OPG, TimeInForce.CLS
NEW, HELD, FILLED = OrderStatus.NEW, OrderStatus.HELD, OrderStatus.FILLED
CANCELED, ACCEPTED = OrderStatus.CANCELED, OrderStatus.ACCEPTED
PLENTY = 1e9


def bar(
    engine: MatchingEngine,
    open_: float,
    high: float,
    low: float,
    close: float,
    *,
    at: int = NOON,
    volume: float = PLENTY,
) -> None:
    """One minute of SPY."""
    engine.open_bar("SPY", at, open_, volume)
    engine.close_bar("SPY", at + MINUTE, open_, high, low, close, volume)


def holding() -> MatchingEngine:
    """An engine that holds ten SPY, bought at 100."""
    engine = make_engine()
    trade(engine, order())
    engine.take_events()
    return engine


def price_of(placed: VenueOrder) -> Decimal | None:
    """What it got."""
    return placed.filled_avg_price if placed.status is FILLED else None


# -- stops in bars ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bar_", "expected"),
    [
        ((98.0, 99.0, 95.01, 96.0), None),  # not reached
        ((98.0, 99.0, 95.0, 96.0), "95"),  # reached: at the stop
        ((94.0, 94.5, 93.0, 94.2), "94"),  # opened beyond it: at the open
    ],
)
def test_a_sell_stop_fills_at_its_stop_or_at_an_open_beyond_it(
    bar_: tuple[float, float, float, float], expected: str | None
) -> None:
    """The worse of the two is what a bar can promise."""
    engine = holding()
    placed = engine.submit(stop(SELL, "95"), NOON)
    bar(engine, *bar_)
    assert price_of(placed) == (None if expected is None else Decimal(expected))


def test_a_buy_stop_has_a_limit_that_nobody_sees() -> None:
    """Beyond the collar of 2.5 % it rests at that limit; its type and the stop stay what they were."""
    engine = make_engine()
    placed = engine.submit(stop(BUY, "101"), NOON)
    assert engine.account().buying_power == 200_000 - 10 * Decimal(101) * Decimal("1.025")
    bar(engine, 104.0, 105.0, 103.9, 104.0)
    assert (placed.filled_qty, placed.bound, placed.order_type.value) == (*usd(0), Decimal("103.53"), "stop")
    bar(engine, 103.8, 104.0, 103.5, 103.6)
    assert price_of(placed) == Decimal("103.53")


def test_a_stop_limit_whose_limit_is_not_reached_rests() -> None:
    """It is a limit order from then on, and fills at its limit in the same bar only if that closes there."""
    engine = holding()
    placed = engine.submit(stop(SELL, "95", "94.9", "5"), NOON)
    gone = engine.submit(stop(SELL, "95", "96", "5"), NOON)
    bar(engine, 98.0, 99.0, 94.0, 94.5)
    assert (price_of(placed), gone.filled_qty, gone.status) == (*usd(95, 0), NEW)
    bar(engine, 94.5, 96.5, 94.0, 95.0)
    assert price_of(gone) == 96


def test_a_stop_that_comes_during_a_bar_sees_only_its_close() -> None:
    """What the bar reached before it came is of no account."""
    engine = holding()
    engine.open_bar("SPY", NOON, 100.0, PLENTY)
    early, late = (
        engine.submit(stop(SELL, "99", quantity="5"), NOON),
        engine.submit(stop(SELL, "95", quantity="5"), NOON),
    )
    engine.close_bar("SPY", NOON + MINUTE, 100.0, 100.0, 90.0, 98.0, PLENTY)
    assert (price_of(early), late.status) == (Decimal(98), NEW)


def test_what_a_struck_stop_did_not_get_goes_on_as_a_market_order() -> None:
    """The bar's volume bounds it like all others."""
    engine = holding()
    placed = engine.submit(stop(SELL, "95"), NOON)
    bar(engine, 98.0, 98.0, 94.0, 94.0, volume=40.0)
    assert placed.filled_qty == 4
    bar(engine, 93.0, 93.0, 92.0, 92.0)
    assert placed.filled_cost == 4 * 95 + 6 * 93


def test_a_trailing_stop_follows_only_after_the_bar_was_checked() -> None:
    """A bar that makes a new high and falls is judged by the old stop; the high counts from the next one on."""
    engine = holding()
    placed = engine.submit(trailing(SELL, price="2"), NOON)
    by_share = engine.submit(trailing(BUY, percent="1.5"), NOON)
    assert placed.terms is not None
    assert (placed.terms.hwm, placed.terms.stop_price) == (Decimal(100), Decimal(98))
    assert by_share.terms is not None
    assert by_share.terms.stop_price == Decimal("101.5")
    engine.cancel(by_share.id, NOON)
    bar(engine, 100.0, 105.0, 98.5, 99.0)
    assert (placed.status, placed.terms.stop_price) == (NEW, Decimal(103))
    bar(engine, 104.0, 104.0, 100.0, 100.0)
    assert price_of(placed) == 103


def test_events_keep_the_stop_of_their_moment() -> None:
    """A trailing stop that has moved on since was somewhere else when it was new."""
    engine = holding()
    engine.submit(trailing(SELL, price="2"), NOON)
    bar(engine, 100.0, 105.0, 100.0, 105.0)
    (new,) = engine.take_events()
    terms = new.snapshot().terms
    assert terms is not None
    assert terms.stop_price == 98


# -- stops on quotes -------------------------------------------------------------------------------


def test_trades_strike_stops_and_quotes_fill_them() -> None:
    """A quote beyond the stop does nothing; a trade at it does, and the bid is the price."""
    engine = holding()
    engine.quote("SPY", NOON, 94.9, 6.0, 95.1, 50.0)
    placed = engine.submit(stop(SELL, "95"), NOON)
    engine.trade("SPY", NOON, 95.01, 10.0)
    assert placed.filled_qty == 0
    engine.trade("SPY", NOON, 95.0, 10.0)
    assert placed.filled_qty == 6
    engine.quote("SPY", NOON, 94.8, 50.0, 95.1, 50.0)
    assert placed.filled_cost == 6 * Decimal("94.9") + 4 * Decimal("94.8")


def test_trades_move_trailing_stops() -> None:
    """Each trade is a price of its own."""
    engine = holding()
    engine.quote("SPY", NOON, 101.9, 60.0, 102.1, 50.0)
    placed = engine.submit(trailing(SELL, percent="1"), NOON)
    for price in (102.0, 101.5, 103.0, 102.0):
        engine.trade("SPY", NOON, price, 10.0)
    assert placed.terms is not None
    assert (placed.status, placed.terms.hwm, placed.terms.stop_price) == (NEW, Decimal(103), Decimal("101.97"))
    engine.trade("SPY", NOON, 101.97, 1.0)
    assert price_of(placed) == Decimal("101.9")


# -- groups ----------------------------------------------------------------------------------------


def exits_of(engine: MatchingEngine, parent: VenueOrder) -> tuple[VenueOrder, VenueOrder]:
    """Take-profit and stop-loss of a bracket."""
    take_profit, stop_loss = engine.legs_of(parent)
    return take_profit, stop_loss


def test_the_exits_of_a_bracket_are_held_until_the_entry_is_filled_whole() -> None:
    """Then the take-profit is new, and the stop-loss stays held while its stop is watched."""
    engine = make_engine()
    parent = engine.submit(bracket(), NOON)
    take_profit, stop_loss = exits_of(engine, parent)
    assert (take_profit.status, stop_loss.status, engine.open_count) == (HELD, HELD, 3)
    assert (take_profit.side, take_profit.limit_price) == (SELL, Decimal(110))
    bar(engine, 100.0, 100.0, 100.0, 100.0, volume=40.0)
    assert (parent.filled_qty, take_profit.status) == (*usd(4), HELD)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    assert (parent.status, take_profit.status, stop_loss.status) == (FILLED, NEW, HELD)
    position = engine.position("SPY")
    assert position is not None
    assert position.quantity_available == 0
    kinds = [(event.kind, event.order.id[-1]) for event in engine.take_events()]
    assert kinds == [("new", "1"), ("partial_fill", "1"), ("fill", "1"), ("new", "2")]


def test_the_take_profit_shrinks_and_ends_the_stop_loss() -> None:
    """Nothing is sold twice."""
    engine = make_engine()
    parent = engine.submit(bracket(None), NOON)
    take_profit, stop_loss = exits_of(engine, parent)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    bar(engine, 109.0, 110.0, 109.0, 109.0, volume=40.0)
    assert (take_profit.filled_qty, stop_loss.quantity) == usd(4, 6)
    bar(engine, 111.0, 111.0, 111.0, 111.0)
    assert (take_profit.filled_cost, stop_loss.status) == (*usd(4 * 110 + 6 * 111), CANCELED)
    assert (engine.open_count, engine.positions()) == (0, [])


def test_if_one_bar_reaches_both_exits_the_stop_loss_comes_first() -> None:
    """A bar does not say which came first: the worse is assumed."""
    engine = make_engine()
    parent = engine.submit(bracket(None), NOON)
    take_profit, stop_loss = exits_of(engine, parent)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    engine.take_events()
    bar(engine, 100.0, 120.0, 90.0, 100.0)
    assert (price_of(stop_loss), take_profit.filled_qty, take_profit.status) == (*usd(95, 0), CANCELED)
    assert [event.kind for event in engine.take_events()] == ["canceled", "new", "fill"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_canceling_one_of_a_bracket_cancels_the_rest(which: int) -> None:
    """Before the entry is filled all three go, whichever it is."""
    engine = make_engine()
    parent = engine.submit(bracket(), NOON)
    group = (parent, *exits_of(engine, parent))
    engine.cancel(group[which].id, NOON)
    assert [member.status for member in group] == [CANCELED] * 3
    assert (engine.open_count, engine.dump()["books"], engine.account().buying_power) == (0, {}, *usd(200_000))


def test_exits_end_with_their_day_and_with_each_other() -> None:
    """Neither outlives the other."""
    engine = make_engine()
    parent = engine.submit(bracket(None), NOON)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    engine.expire_day_orders(20 * HOUR)
    assert [leg.status for leg in engine.legs_of(parent)] == [OrderStatus.EXPIRED] * 2
    engine.submit(bracket(time_in_force=GTC), NOON + DAY)
    engine.expire_day_orders(NOON + 80 * DAY)
    assert engine.open_count == 3


def test_exits_close_only_what_is_still_there() -> None:
    """Who sells a part of it before the entry is filled whole has less to close, and may have nothing."""
    engine = make_engine()
    parent = engine.submit(bracket(), NOON)
    bar(engine, 100.0, 100.0, 100.0, 100.0, volume=30.0)
    engine.submit(oco("99", "80", quantity="3"), NOON)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    take_profit, stop_loss = exits_of(engine, parent)
    assert (take_profit.quantity, stop_loss.quantity) == usd(7, 7)


def test_an_oco_is_a_take_profit_with_a_stop_loss_as_its_leg() -> None:
    """The parent is the take-profit itself, at the price that its exits name."""
    engine = holding()
    parent = engine.submit(oco(), NOON)
    (stop_loss,) = engine.legs_of(parent)
    assert (parent.limit_price, parent.status, stop_loss.status, stop_loss.side) == (Decimal(110), NEW, HELD, SELL)
    bar(engine, 96.0, 96.0, 94.0, 95.0)
    assert (price_of(stop_loss), parent.status, engine.positions()) == (Decimal(95), CANCELED, [])


def test_an_oco_only_closes() -> None:
    """Without a position there is nothing that it could be the exit of."""
    engine = make_engine()
    with pytest.raises(Refusal, match="insufficient qty available"):
        engine.submit(oco(), NOON)


def test_an_oto_brings_one_exit() -> None:
    """A stop-loss alone is new when its entry is filled, and an ordinary stop from then on."""
    engine = make_engine()
    terms: dict[str, Any] = {"order_class": OrderClass.OTO, "exits": Exits(stop_loss=Decimal(95))}
    parent = engine.submit(with_terms(order(), **terms), NOON)
    (leg,) = engine.legs_of(parent)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    assert leg.status is NEW
    bar(engine, 96.0, 96.0, 90.0, 95.0)
    assert price_of(leg) == 95


def test_a_bracket_lives_on_quotes_too() -> None:
    """Entry at the ask, take-profit watched by quotes, stop-loss by trades."""
    engine = make_engine()
    engine.quote("SPY", NOON, 99.9, 50.0, 100.0, 50.0)
    parent = engine.submit(bracket(None), NOON)
    engine.meet("SPY", NOON)
    take_profit, stop_loss = exits_of(engine, parent)
    assert (parent.status, take_profit.status, stop_loss.status) == (FILLED, NEW, HELD)
    engine.quote("SPY", NOON, 94.9, 50.0, 95.1, 50.0)
    engine.trade("SPY", NOON, 95.0, 5.0)
    assert (price_of(stop_loss), take_profit.status) == (Decimal("94.9"), CANCELED)


def test_legs_are_replaced_in_their_prices_alone() -> None:
    """The new leg takes the old one's place in its group; a stop-loss stays held."""
    engine = make_engine()
    parent = engine.submit(bracket(None), NOON)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    take_profit, stop_loss = exits_of(engine, parent)
    with pytest.raises(Refusal, match="qty of a leg cannot be replaced"):
        engine.replace(take_profit.id, Replacement(quantity=Decimal(5)), NOON)
    higher = engine.replace(take_profit.id, Replacement(limit_price=Decimal(112)), NOON)
    nearer = engine.replace(stop_loss.id, Replacement(stop_price=Decimal(98)), NOON)
    assert engine.legs_of(parent) == [higher, nearer]
    assert (higher.status, nearer.status, nearer.replaces) == (NEW, HELD, stop_loss.id)
    bar(engine, 100.0, 111.0, 98.0, 100.0)
    assert (price_of(nearer), higher.status) == (Decimal(98), CANCELED)


def test_an_entry_is_replaced_with_its_exits() -> None:
    """They belong to the new one, in its quantity."""
    engine = make_engine()
    old = engine.submit(bracket(), NOON)
    new = engine.replace(old.id, Replacement(quantity=Decimal(7), limit_price=Decimal(99)), NOON)
    take_profit, stop_loss = exits_of(engine, new)
    assert (take_profit.quantity, stop_loss.status) == (*usd(7), HELD)
    bar(engine, 98.0, 98.0, 98.0, 98.0)
    assert (new.status, take_profit.status) == (FILLED, NEW)
    engine.cancel(stop_loss.id, NOON)
    assert take_profit.status is CANCELED


# -- replacing stops -------------------------------------------------------------------------------


def test_stops_and_trails_can_be_replaced() -> None:
    """A trail keeps the best price so far; the time in force may change, too."""
    engine = holding()
    placed = engine.submit(stop(SELL, "95"), NOON)
    moved = engine.replace(placed.id, Replacement(stop_price=Decimal(96), time_in_force=GTC), NOON)
    assert moved.terms is not None
    assert (moved.terms.stop_price, moved.time_in_force) == (*usd(96), GTC)
    engine.cancel(moved.id, NOON)
    trails = engine.submit(trailing(SELL, price="5"), NOON)
    bar(engine, 104.0, 104.0, 104.0, 104.0)
    tighter = engine.replace(trails.id, Replacement(trail=Decimal(2)), NOON)
    assert tighter.terms is not None
    assert (tighter.terms.hwm, tighter.terms.trail_price, tighter.terms.stop_price) == usd(104, 2, 102)


# -- hours, auctions, notional ---------------------------------------------------------------------


def test_what_is_sent_after_the_close_is_accepted_and_new_with_the_next_session() -> None:
    """Bars before the open do not reach it."""
    engine = make_engine()
    engine.set_periods({"SPY": MINUTE})
    placed = engine.submit(order(), 21 * HOUR)
    assert (placed.status, [event.kind for event in engine.take_events()]) == (ACCEPTED, ["accepted"])
    with pytest.raises(Refusal, match="unable to replace order"):
        engine.replace(placed.id, Replacement(quantity=Decimal(1)), 21 * HOUR)
    bar(engine, 101.0, 101.0, 101.0, 101.0, at=DAY + 9 * HOUR)
    assert placed.status is ACCEPTED
    bar(engine, 102.0, 102.0, 102.0, 102.0, at=DAY + 10 * HOUR)
    assert price_of(placed) == 102
    assert [event.kind for event in engine.take_events()] == ["new", "fill"]


def test_orders_for_extended_hours_trade_before_the_open_and_after_the_close() -> None:
    """Others that rest meanwhile do not, and such a DAY order ends four hours after the close."""
    engine = make_engine()
    engine.set_periods({"SPY": MINUTE})
    plain = engine.submit(order(limit="99", time_in_force=GTC), NOON)
    early = engine.submit(with_terms(order(limit="99"), extended_hours=True), 9 * HOUR)
    assert (early.status, early.expires_at) == (NEW, 24 * HOUR)
    bar(engine, 98.0, 98.0, 98.0, 98.0, at=9 * HOUR)
    assert (price_of(early), plain.filled_qty) == usd(98, 0)
    late = engine.submit(with_terms(order(limit="99"), extended_hours=True), 21 * HOUR)
    assert (late.status, late.expires_at) == (NEW, 24 * HOUR)
    engine.quote("SPY", 21 * HOUR, 97.9, 50.0, 98.1, 50.0)
    assert (price_of(late), plain.filled_qty) == (Decimal("98.1"), *usd(0))


def test_the_opening_auction_is_the_sessions_first_trade() -> None:
    """At its price, and what it does not give is canceled."""
    for bars in (True, False):
        engine = make_engine()
        engine.set_periods({"SPY": MINUTE})
        at_market = engine.submit(order(time_in_force=OPG), 9 * HOUR)
        dear = engine.submit(order(limit="99", time_in_force=OPG), 9 * HOUR)
        assert (at_market.status, dear.status) == (ACCEPTED, ACCEPTED)
        if bars:
            engine.open_bar("SPY", 10 * HOUR, 101.25, PLENTY)
        else:
            engine.trade("SPY", 9 * HOUR, 98.0, PLENTY)
            engine.trade("SPY", 10 * HOUR, 101.25, 7.0)
        assert at_market.filled_qty == (10 if bars else 7)
        assert at_market.filled_avg_price == Decimal("101.25")
        assert (dear.status, engine.open_count) == (CANCELED, 0)


def test_what_the_opening_auction_took_of_a_bar_is_gone_for_whoever_comes_during_it() -> None:
    """Also where the auction leaves nothing behind that rests: the bar's share is given out once."""
    engine = make_engine(participation=Decimal("0.1"))
    engine.set_periods({"SPY": MINUTE})
    auctioned = engine.submit(order(time_in_force=OPG), 9 * HOUR)
    engine.open_bar("SPY", 10 * HOUR, 100.0, 50.0)
    assert (auctioned.status, auctioned.filled_qty) == (CANCELED, Decimal(5))

    late = engine.submit(order(), 10 * HOUR)
    engine.close_bar("SPY", 10 * HOUR + MINUTE, 100.0, 100.0, 100.0, 100.0, 50.0)
    assert late.filled_qty == 0
    bar(engine, 100.0, 100.0, 100.0, 100.0, at=10 * HOUR + MINUTE)
    assert late.filled_qty == 10


def test_the_closing_auction_is_the_sessions_last_price() -> None:
    """It is held when the session ends; without a trade in the session there is none."""
    for bars in (True, False):
        engine = make_engine()
        placed, dear = (
            engine.submit(order(time_in_force=CLS), NOON),
            engine.submit(order(limit="99", time_in_force=CLS), NOON),
        )
        if bars:
            bar(engine, 100.0, 100.0, 98.0, 100.5, at=19 * HOUR)
        else:
            engine.quote("SPY", 19 * HOUR, 90.0, 50.0, 91.0, 50.0)
            engine.trade("SPY", 19 * HOUR, 100.5, 50.0)
        assert placed.filled_qty == 0
        engine.expire_day_orders(20 * HOUR)
        assert (price_of(placed), dear.status) == (Decimal("100.5"), CANCELED)
    quiet = make_engine()
    placed = quiet.submit(order(time_in_force=CLS), NOON)
    quiet.expire_day_orders(20 * HOUR)
    assert (placed.status, quiet.open_count, quiet.dump()["books"]) == (CANCELED, 0, {})


def test_an_order_by_notional_buys_what_its_money_buys() -> None:
    """Its quantity is settled by the price of its first fill, and its reserve with it."""
    engine = make_engine()
    placed = engine.submit(with_terms(order(quantity="0"), notional="250"), NOON)
    bar(engine, 120.0, 120.0, 120.0, 120.0)
    assert (placed.quantity, placed.status) == (Decimal("2.083333333"), FILLED)
    assert engine.account().buying_power == 2 * (engine.account().equity - placed.filled_cost / 2)
    sold = engine.submit(with_terms(order(side=SELL, quantity="0"), notional="240"), NOON)
    bar(engine, 100.0, 100.0, 100.0, 100.0)
    assert (sold.quantity, engine.positions()) == (Decimal("2.083333333"), [])


def test_gtc_orders_end_a_quarter_of_an_hour_after_the_close_ninety_days_on() -> None:
    """As Alpaca says; crypto has no close, and exactly ninety days."""
    engine = make_engine()
    assert engine.submit(order(limit="90", time_in_force=GTC), NOON).expires_at == 90 * DAY + 20 * HOUR + 15 * MINUTE
    assert engine.submit(order("BTC/USD", quantity="1", limit="20000"), NOON).expires_at == NOON + 90 * DAY


def test_a_dump_keeps_stops_groups_and_auctions() -> None:
    """The new engine goes on with all of them."""
    engine = holding()
    engine.quote("SPY", NOON, 99.9, 50.0, 100.1, 50.0)
    engine.submit(oco(), NOON)
    waiting = engine.submit(bracket("97"), NOON)
    engine.submit(order(time_in_force=CLS), NOON)
    engine.submit(trailing(BUY, price="3"), NOON)
    engine.take_events()
    state = json.loads(json.dumps(engine.dump()))
    other = make_engine()
    other.load(state)
    assert other.dump() == state
    for each in (engine, other):
        bar(each, 98.0, 98.0, 96.9, 97.0)
        bar(each, 97.0, 99.0, 94.0, 98.0)
        each.expire_day_orders(20 * HOUR)
    assert other.dump() == engine.dump()
    assert [(e.kind, e.order.id) for e in other.take_events()] == [(e.kind, e.order.id) for e in engine.take_events()]
    assert engine.order(waiting.id) is not None
