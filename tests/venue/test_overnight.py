"""The night before a session, from 20:00 to 04:00 in New York: limit orders for extended hours trade, others do not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import pytest

from holdfast.model import AssetClass, OrderStatus, TimeInForce
from holdfast.model.timestamps import NS_PER_MINUTE, parse_rfc3339, to_ns
from holdfast.time import sessions_for
from holdfast.venue.matching.configuration import Configuration
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.matching.hours import Phase, hours_at
from holdfast.venue.matching.orders import NewOrder, Terms, VenueOrder
from holdfast.venue.wire.words import NEW_YORK
from tests.venue.desk import Desk
from tests.venue.engine_bench import ASSETS, DAY_ORDER, GTC, PRICES, order
from tests.venue.helpers import minutes

NEW, ACCEPTED, FILLED = OrderStatus.NEW, OrderStatus.ACCEPTED, OrderStatus.FILLED
MUCH = 10.0**6

Market = Callable[[MatchingEngine, int, float], None]


def at(text: str) -> int:
    """A moment in New York as UTC ns."""
    return to_ns(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK))


# Wednesday, 27 November 2024; Thursday is Thanksgiving, and on Friday the market closes at 13:00.
HOURS = [
    ("2024-11-26 19:59", Phase.POST, "2024-11-26 09:30"),
    ("2024-11-26 20:00", Phase.OVERNIGHT, "2024-11-27 09:30"),
    ("2024-11-27 03:59", Phase.OVERNIGHT, "2024-11-27 09:30"),
    ("2024-11-27 04:00", Phase.PRE, "2024-11-27 09:30"),
    ("2024-11-27 20:00", Phase.CLOSED, "2024-11-29 09:30"),
    ("2024-11-28 19:59", Phase.CLOSED, "2024-11-29 09:30"),
    ("2024-11-28 20:00", Phase.OVERNIGHT, "2024-11-29 09:30"),
    ("2024-11-29 16:59", Phase.POST, "2024-11-29 09:30"),
    ("2024-11-29 17:00", Phase.CLOSED, "2024-12-02 09:30"),
    ("2024-11-29 20:00", Phase.CLOSED, "2024-12-02 09:30"),
    ("2024-12-01 19:59", Phase.CLOSED, "2024-12-02 09:30"),
    ("2024-12-01 20:00", Phase.OVERNIGHT, "2024-12-02 09:30"),
]


@pytest.mark.parametrize(("moment", "phase", "opens"), HOURS)
def test_nights_go_from_sunday_to_friday(moment: str, phase: Phase, opens: str) -> None:
    """The night belongs to the session that follows; there is none before a holiday, and none from Friday to Sunday."""
    now = at(moment)
    hours = hours_at(sessions_for(AssetClass.US_EQUITY), now)
    assert (hours.phase, hours.session.open) == (phase, at(opens))
    assert hours.since <= now < hours.until
    assert hours_at(sessions_for(AssetClass.US_EQUITY), hours.until).phase is not phase


def make_engine() -> MatchingEngine:
    """An engine with the real calendar, whose bars last a minute."""
    engine = MatchingEngine(ASSETS, settings=EngineSettings(), sessions=sessions_for)
    engine.prices.update(PRICES)
    engine.set_periods(dict.fromkeys(ASSETS, NS_PER_MINUTE))
    return engine


def extended(limit: str, time_in_force: TimeInForce = DAY_ORDER) -> NewOrder:
    """A limit order for extended hours."""
    new = order(limit=limit, time_in_force=time_in_force)
    new.terms = Terms(extended_hours=True)
    return new


def bar(engine: MatchingEngine, now: int, price: float) -> None:
    """The market is at a price: a minute's bar."""
    engine.open_bar("SPY", now, price, MUCH)
    engine.close_bar("SPY", now + NS_PER_MINUTE, price, price, price, price, MUCH)


def quote(engine: MatchingEngine, now: int, price: float) -> None:
    """The market is at a price: a quote and a trade."""
    engine.quote("SPY", now, price, 100.0, price, 100.0)
    engine.trade("SPY", now, price, 100.0)


def state_of(placed: VenueOrder) -> tuple[OrderStatus, Decimal]:
    """Its status and what it has."""
    return placed.status, placed.filled_qty


@pytest.mark.parametrize("market", [bar, quote])
def test_orders_for_extended_hours_trade_at_night(market: Market) -> None:
    """At once, in bars and in quotes; what is for the session alone does not."""
    engine = make_engine()
    sunday = at("2024-12-01 20:30")
    plain = engine.submit(order("PLAIN", limit="50"), sunday)
    waits = engine.submit(order(limit="99"), sunday)
    placed = engine.submit(extended("99"), sunday)
    assert (placed.status, waits.status) == (NEW, ACCEPTED)
    market(engine, sunday, 98.0)
    assert (state_of(placed), state_of(waits)) == ((FILLED, Decimal(10)), (ACCEPTED, Decimal(0)))
    assert (placed.filled_avg_price, plain.status) == (Decimal(98), ACCEPTED)


@pytest.mark.parametrize("market", [bar, quote])
@pytest.mark.parametrize(
    ("moment", "begins"), [("2024-11-27 21:00", "2024-11-28 20:00"), ("2024-11-29 21:00", "2024-12-01 20:00")]
)
def test_where_there_is_no_night_nothing_trades(market: Market, moment: str, begins: str) -> None:
    """Before a holiday and after Friday an order is accepted, whatever the data say, and new when the next night begins."""
    engine = make_engine()
    placed = engine.submit(extended("99"), at(moment))
    market(engine, at(moment), 98.0)
    assert state_of(placed) == (ACCEPTED, Decimal(0))
    market(engine, at(begins), 98.5)
    assert state_of(placed) == (FILLED, Decimal(10))


@pytest.mark.parametrize("market", [bar, quote])
def test_who_has_switched_it_off_trades_from_four_on(market: Market) -> None:
    """`disable_overnight_trading`: an order sent at night is accepted, one that rests does not trade; then both do."""
    engine = make_engine()
    resting = engine.submit(extended("98", GTC), at("2024-11-26 19:00"))
    engine.amendments.configure(Configuration(disable_overnight_trading=True))
    placed = engine.submit(extended("99"), at("2024-11-26 21:00"))
    market(engine, at("2024-11-26 21:00"), 97.0)
    assert (state_of(resting), state_of(placed)) == ((NEW, Decimal(0)), (ACCEPTED, Decimal(0)))
    market(engine, at("2024-11-27 04:00"), 97.0)
    assert (resting.status, placed.status) == (FILLED, FILLED)


def test_an_order_for_the_day_lasts_from_the_night_to_the_end_of_the_hours_after_the_session() -> None:
    """One sent before 20:00 ends then; one sent after it is good for the next day; `gtc` goes through all nights."""
    engine = make_engine()
    evening = engine.submit(extended("90"), at("2024-11-25 19:59"))
    night = engine.submit(extended("90"), at("2024-11-25 20:00"))
    always = engine.submit(extended("90", GTC), at("2024-11-25 19:59"))
    assert (evening.expires_at, night.expires_at) == (at("2024-11-25 20:00"), at("2024-11-26 20:00"))
    engine.expire_day_orders(at("2024-11-26 20:00"))
    bar(engine, at("2024-11-26 20:00"), 89.0)
    assert [placed.status for placed in (evening, night, always)] == [OrderStatus.EXPIRED] * 2 + [FILLED]


async def test_stocks_are_overnight_tradable_and_the_switch_is_obeyed() -> None:
    """Over REST: the asset's attribute, an order at night that fills, and one that waits since its account says so."""
    night = minutes("SPY", 60, start=parse_rfc3339("2024-01-03T02:00:00Z"), base=400.0)  # 21:00 in New York
    async with Desk.opened(None, night, minutes("BTC/USD", 60, start=parse_rfc3339("2024-01-03T02:00:00Z"))) as desk:
        desk.step()
        assert [desk.get(f"/v2/assets/{one}")["attributes"] for one in ("SPY", "BTCUSD")] == [
            ["overnight_tradable"],
            [],
        ]
        assert [one["symbol"] for one in desk.get("/v2/assets", attributes="overnight_tradable")] == ["SPY"]
        terms = {"type": "limit", "limit_price": "410", "extended_hours": True}
        first = desk.buy("SPY", "1", **terms)
        desk.step(2)
        desk.ask("PATCH", "/v2/account/configurations", {"disable_overnight_trading": True})
        second = desk.buy("SPY", "1", **terms)
        desk.step(2)
        found = [desk.get(f"/v2/orders/{one['id']}")["status"] for one in (first, second)]
        assert (first["status"], second["status"], found) == ("new", "accepted", ["filled", "accepted"])
