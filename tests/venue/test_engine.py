"""The matching engine, rule by rule."""

from __future__ import annotations

import json
import math
import uuid
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest

from holdfast.model import Asset, AssetClass, OrderStatus
from holdfast.model.errors import ConfigurationError, VenueError
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from tests.venue.engine_bench import (
    DAY,
    GTC,
    HOUR,
    IOC,
    NOON,
    SELL,
    make_engine,
    order,
    trade,
    usd,
)

# ---------------------------------------------------------------------- fills


def test_a_market_order_fills_at_the_next_open() -> None:
    """Not inside submit, and not at the price that was known then."""
    engine = make_engine()
    placed = engine.submit(order(), NOON)
    assert placed.status is OrderStatus.NEW
    engine.open_bar("SPY", NOON + 5, 101.25, 1000.0)
    assert (placed.status, placed.filled_avg_price, placed.filled_at) == (
        OrderStatus.FILLED,
        Decimal("101.25"),
        NOON + 5,
    )
    assert engine.account().cash == Decimal("98987.5")


def test_a_bar_without_volume_fills_nothing_unless_participation_is_unlimited() -> None:
    """Volume 0 means that nobody traded in that minute."""
    for participation, status in ((Decimal("0.1"), OrderStatus.NEW), (None, OrderStatus.FILLED)):
        engine = make_engine(participation=participation)
        placed = engine.submit(order(), NOON)
        engine.open_bar("SPY", NOON, 100.0, 0.0)
        engine.close_bar("SPY", NOON, 100.0, 100.0, 100.0, 100.0, 0.0)
        assert placed.status is status


def test_a_large_order_takes_its_share_of_each_bar_in_whole_shares() -> None:
    """A tenth of 105, rounded down, from every bar until it is done."""
    engine = make_engine()
    placed = engine.submit(order(quantity="25"), NOON)
    for expected in (10, 20, 25):
        engine.open_bar("SPY", NOON, 100.0, 105.0)
        engine.close_bar("SPY", NOON, 100.0, 100.0, 100.0, 100.0, 105.0)
        assert placed.filled_qty == expected
    kinds = [event.kind for event in engine.take_events()]
    assert kinds == ["new", "partial_fill", "partial_fill", "fill"]


def test_orders_share_a_bar_by_price_then_time() -> None:
    """Market orders first, then the better limit, then the earlier one."""
    engine = make_engine()
    late_better = [
        engine.submit(order(limit=limit, client_order_id=name), NOON)
        for limit, name in (("100", "first"), ("101", "better"), ("100", "second"))
    ]
    engine.submit(order(client_order_id="market"), NOON)
    engine.open_bar("SPY", NOON, 99.0, 350.0)
    filled = [(e.client_order_id, int(e.quantity)) for e in engine.activities()]
    assert filled == [("market", 10), ("better", 10), ("first", 10), ("second", 5)]
    assert late_better[2].status is OrderStatus.PARTIALLY_FILLED
    engine.close_bar("SPY", NOON, 99.0, 99.0, 98.0, 98.0, 350.0)
    assert len(engine.activities()) == 4  # the bar's share was used up at its open


def test_a_limit_order_gets_the_better_open_or_its_limit() -> None:
    """Through the limit at the open: at the open. Reached later in the bar: at the limit. Never worse."""
    engine = make_engine()
    resting = engine.submit(order(limit="99"), NOON)
    engine.open_bar("SPY", NOON, 100.0, 1e6)
    engine.close_bar("SPY", NOON, 100.0, 100.0, 99.01, 100.0, 1e6)
    assert resting.status is OrderStatus.NEW
    engine.open_bar("SPY", NOON, 100.0, 1e6)
    engine.close_bar("SPY", NOON, 100.0, 100.0, 98.5, 100.0, 1e6)
    assert resting.filled_avg_price == 99

    improved = engine.submit(order(side=SELL, limit="101"), NOON)
    engine.open_bar("SPY", NOON, 102.0, 1e6)
    assert improved.filled_avg_price == 102


def test_an_order_that_comes_during_a_bar_sees_only_its_close() -> None:
    """The bar's low may have been before the order was there."""
    engine = make_engine()
    low = engine.submit(order(limit="99", client_order_id="low"), NOON)
    close = engine.submit(order(limit="100", client_order_id="close"), NOON)
    engine.close_bar("SPY", NOON, 100.0, 100.0, 98.0, 99.5, 1e6)
    assert low.status is OrderStatus.NEW
    assert close.filled_avg_price == Decimal("99.5")


def test_the_spread_costs_half_on_each_side_and_rounds_against_the_taker() -> None:
    """Five bps above 100.01 are 100.060005, which costs a buyer 100.07; a seller gets 99.95."""
    engine = make_engine(spread_bps=10.0)
    assert trade(engine, order(), 100.01).filled_avg_price == Decimal("100.07")
    assert trade(engine, order(side=SELL), 100.01).filled_avg_price == Decimal("99.95")


def test_the_spread_keeps_a_limit_from_filling_at_a_mere_touch() -> None:
    """A buy fills when the ask, not the last trade, is within its limit."""
    engine = make_engine(spread_bps=10.0)
    resting = engine.submit(order(limit="99"), NOON)
    for low, status in ((98.96, OrderStatus.NEW), (98.95, OrderStatus.FILLED)):
        engine.open_bar("SPY", NOON, 100.0, 1e6)
        engine.close_bar("SPY", NOON, 100.0, 100.0, low, 100.0, 1e6)
        assert resting.status is status
    assert resting.filled_avg_price == 99


def test_ioc_meets_one_moment_and_no_more() -> None:
    """What the first moment does not fill is canceled, also where nobody traded."""
    engine = make_engine()
    partly = engine.submit(order(quantity="20", time_in_force=IOC), NOON)
    engine.open_bar("SPY", NOON, 100.0, 100.0)
    assert (partly.status, partly.filled_qty) == (OrderStatus.CANCELED, Decimal(10))
    events = engine.take_events()
    assert [event.kind for event in events] == ["new", "partial_fill", "canceled"]
    assert [event.snapshot().status for event in events] == ["new", "partially_filled", "canceled"]
    assert [event.snapshot().canceled_at for event in events] == [None, None, NOON]
    empty = engine.submit(order(time_in_force=IOC), NOON)
    engine.close_bar("SPY", NOON, 100.0, 100.0, 100.0, 100.0, 0.0)
    assert empty.status is OrderStatus.CANCELED
    assert engine.open_count == 0
    assert not engine.has_open("SPY")


def test_crypto_buys_pay_in_coin_and_sells_in_cash() -> None:
    """A buy of 0.1 BTC leaves 0.09975; a sell's fee leaves the cash. Both round up to nine decimals."""
    engine = make_engine()
    trade(engine, order("BTC/USD", quantity="0.1"))
    bought = engine.activities()[-1]
    assert (bought.cum_qty, bought.fee_coin, bought.position_qty) == (
        Decimal("0.1"),
        Decimal("0.00025"),
        Decimal("0.09975"),
    )
    trade(engine, order("BTCUSD", SELL, "0.000000333", time_in_force=GTC), 40_000.1)
    sold = engine.activities()[-1]
    assert sold.symbol == "BTC/USD"
    assert sold.fee_cash == Decimal("0.000033301")  # 0.0133200333 x 25 bps = 0.00003330008..., rounded up
    assert engine.account().cash == Decimal(96_000) + Decimal("0.0133200333") - Decimal("0.000033301")


def test_a_limit_order_that_rested_pays_the_maker_fee() -> None:
    """Taker at its first moment, maker afterwards."""
    engine = make_engine()
    engine.submit(order("BTC/USD", quantity="0.1", limit="39000"), NOON)
    engine.open_bar("BTC/USD", NOON, 40_000.0, 1e6)
    engine.close_bar("BTC/USD", NOON, 40_000.0, 40_000.0, 38_000.0, 38_500.0, 1e6)
    engine.submit(order("BTC/USD", quantity="0.1", limit="39000"), NOON)
    engine.open_bar("BTC/USD", NOON, 38_500.0, 1e6)
    assert [e.fee_coin for e in engine.activities()] == [Decimal("0.00015"), Decimal("0.00025")]
    assert [e.price for e in engine.activities()] == [39_000, 38_500]


# ---------------------------------------------------------------------- account, positions, time


def test_margin_of_longs_and_shorts() -> None:
    """Half of what is held is margin; the short's proceeds are cash and no buying power."""
    engine = make_engine()
    trade(engine, order(quantity="100"))
    trade(engine, order("CASHONLY", quantity="1000"))
    account = engine.account()
    assert (account.cash, account.long_market_value, account.equity) == usd(80_000, 20_000, 100_000)
    assert account.initial_margin == 5_000 + 10_000
    assert account.maintenance_margin == 6_000
    assert account.buying_power == 2 * (100_000 - 15_000)
    assert account.non_marginable_buying_power == 80_000

    trade(engine, order(side=SELL, quantity="100"), 100.0)
    trade(engine, order(side=SELL, quantity="200"), 100.0)
    engine.prices["SPY"] = 110.0
    account = engine.account()
    assert (account.cash, account.short_market_value, account.equity) == usd(110_000, -22_000, 98_000)
    assert account.buying_power == 2 * (98_000 - 11_000 - 10_000)
    assert account.non_marginable_buying_power == 77_000  # less than the 88,000 of cash that are not the short's
    (cash_only, short) = engine.positions()
    assert (cash_only.symbol, short.quantity, short.avg_entry_price) == ("CASHONLY", *usd(-200, 100))
    assert short.unrealized_pl == -2_000


def test_average_entry_price_moves_when_a_position_grows_and_stays_when_it_shrinks() -> None:
    """Rounded to nine decimals."""
    engine = make_engine()
    trade(engine, order(quantity="1"), 100.0)
    trade(engine, order(quantity="2"), 101.0)
    view = engine.position("SPY")
    assert view is not None
    assert view.avg_entry_price == Decimal("100.666666667")
    trade(engine, order(side=SELL, quantity="2"), 150.0)
    view = engine.position("SPY")
    assert view is not None
    assert (view.quantity, view.avg_entry_price) == (Decimal(1), Decimal("100.666666667"))
    trade(engine, order(side=SELL, quantity="1"), 150.0)
    assert engine.position("SPY") is None
    assert engine.positions() == []


def test_closing_orders_hold_their_quantity() -> None:
    """An open sale makes what it would sell unavailable; it needs no buying power."""
    engine = make_engine()
    trade(engine, order())
    power = engine.account().buying_power
    engine.submit(order(side=SELL, quantity="4", limit="200"), NOON)
    view = engine.position("SPY")
    assert view is not None
    assert view.quantity_available == 6
    assert engine.account().buying_power == power


def test_day_orders_expire_at_the_close_of_the_session_they_were_sent_in_or_wait_for() -> None:
    """Sent after the close, a DAY order is good for the next session."""
    engine = make_engine()
    today = engine.submit(order(limit="90", client_order_id="today"), NOON)
    tomorrow = engine.submit(order(limit="90", client_order_id="tomorrow"), 20 * HOUR)
    long = engine.submit(order(limit="90", time_in_force=GTC), NOON)
    assert engine.next_expiry() == today.expires_at == 20 * HOUR
    engine.expire_day_orders(20 * HOUR - 1)
    assert today.is_open
    engine.expire_day_orders(20 * HOUR)
    assert (today.status, today.expired_at, tomorrow.status) == (OrderStatus.EXPIRED, 20 * HOUR, OrderStatus.ACCEPTED)
    assert engine.next_expiry() == tomorrow.expires_at == DAY + 20 * HOUR
    engine.expire_day_orders(90 * DAY + 21 * HOUR)
    assert [str(each.status) for each in (tomorrow, long)] == ["expired", "expired"]
    assert engine.account().buying_power == 200_000


def test_last_day_is_noted_when_the_session_ends() -> None:
    """Equity, maintenance margin and prices of the close."""
    engine = make_engine()
    trade(engine, order())
    engine.prices["SPY"] = 110.0
    engine.end_session()
    engine.prices["SPY"] = 120.0
    account, view = engine.account(), engine.position("SPY")
    assert view is not None
    assert (account.last_equity, account.equity, account.last_maintenance_margin) == usd(100_100, 100_200, 330)
    assert (view.lastday_price, view.current_price) == usd(110, 120)


def test_orders_are_found_by_state_symbol_and_time() -> None:
    """Newest first unless asked otherwise; both bounds exclude."""
    engine = make_engine()
    names = ["a", "b", "c", "d"]
    for number, name in enumerate(names):
        engine.submit(order("BTC/USD" if name == "c" else "SPY", limit="90", client_order_id=name), NOON + number)
    engine.cancel(engine.orders()[0].id, NOON + 9)

    def found(status: str = "all", **query: Any) -> list[str]:
        return [each.client_order_id for each in engine.orders(status, **query)]

    assert found() == ["d", "c", "b", "a"]
    assert found("open", newest_first=False) == ["a", "b", "c"]
    assert found("closed") == ["d"]
    assert found(symbols=["BTCUSD"]) == found(symbols=["BTC/USD"]) == ["c"]
    assert found(after=NOON, until=NOON + 3) == ["c", "b"]
    assert found(limit=2) == ["d", "c"]


def test_ids_are_uuids_of_the_namespace_and_the_same_every_time() -> None:
    """The same inputs give the same ids; another namespace gives others; orders and executions never share one."""

    def ids(namespace: int) -> list[str]:
        engine = make_engine(namespace=namespace)
        placed = [trade(engine, order()) for _ in range(3)]
        return (
            [each.id for each in placed] + [e.execution_id for e in engine.activities()] + [placed[0].client_order_id]
        )

    top = 2**60 - 1
    assert ids(5) == ids(5)
    everything = ids(0) + ids(5) + ids(5 << 12) + ids(5 << 28) + ids(top)
    assert len(set(everything)) == len(everything)
    assert all(uuid.UUID(each).version == 4 and str(uuid.UUID(each)) == each for each in everything)


def test_money_is_exact_whatever_the_callers_decimal_context_is() -> None:
    """The engine brings its own context and leaves the caller's alone."""
    results = []
    for precision in (6, 28):
        engine = make_engine()
        with localcontext(Context(prec=precision)) as context:
            trade(engine, order("BTC/USD", quantity="0.123456789"), 40_123.123456789)
            trade(engine, order("BTC/USD", SELL, "0.023456789"), 40_123.123456789)
            results.append((engine.account(), engine.positions()))
            assert context.prec == precision
    assert results[0] == results[1]
    fee = math.ceil(Fraction("0.023456789") * Fraction("40123.123456789") * Fraction(25, 10_000) * 10**9)
    expected = 100_000 - Fraction("0.1") * Fraction("40123.123456789") - Fraction(fee, 10**9)
    assert Fraction(results[0][0].cash) == expected


def test_state_that_is_damaged_is_refused() -> None:
    """One clear error, whatever is wrong with it."""
    good = json.dumps(make_engine().dump())
    for old, new in (
        ('"orders": []', '"orders": [{}]'),
        ('"cash": "100000"', '"cash": "much"'),
        ('"books"', '"bookz"'),
    ):
        assert old in good
        with pytest.raises(VenueError, match="cannot be loaded"):
            make_engine().load(json.loads(good.replace(old, new)))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("participation", Decimal(0)),
        ("participation", Decimal(2)),
        ("spread_bps", -1.0),
        ("maker_bps", Decimal(-1)),
        ("taker_bps", Decimal(10_000)),
        ("multiplier", 3),
        ("namespace", 2**60),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting: str, value: Any) -> None:
    """The message names the setting, its value and what was expected."""
    with pytest.raises(ConfigurationError, match=rf"{setting} .* is {value}; expected"):
        EngineSettings(**{setting: value})


def test_crypto_against_other_money_than_usd_is_refused() -> None:
    """The account holds USD only."""
    with pytest.raises(ConfigurationError, match="ETH/BTC: the venue trades crypto against USD only"):
        MatchingEngine({"ETH/BTC": Asset(symbol="ETH/BTC", asset_class=AssetClass.CRYPTO)})
