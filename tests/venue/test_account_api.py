"""What an account is told of itself: its figures, its history, its activities; and the calendar that dates them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from holdfast.model import BarSeries
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, parse_rfc3339
from holdfast.venue.history import EquityHistory
from holdfast.venue.matching.engine import EngineSettings
from holdfast.venue.matching.orders import Posting
from tests.venue.desk import Desk
from tests.venue.helpers import MIDNIGHT, OPENING, minutes

HISTORY = "/v2/account/portfolio/history"
CLOSE = parse_rfc3339("2024-01-02T21:00:00Z")


def moving(symbol: str, *stretches: tuple[int, list[float]]) -> BarSeries:
    """Minutes that begin at these moments and trade at one price each."""
    ends = np.concatenate([start + NS_PER_MINUTE * np.arange(1, len(prices) + 1) for start, prices in stretches])
    path = np.array([price for _, prices in stretches for price in prices], dtype=float)
    volume = np.full(len(path), 1e6)
    return BarSeries(symbol, NS_PER_MINUTE, ends.astype(np.int64), path, path, path, path, volume)


def two_days() -> BarSeries:
    """SPY over the last ten minutes of a Tuesday and the first ten of the Wednesday after it."""
    tuesday = [100.0, 100.0, *[101.0] * 8]
    wednesday = [102.0, 103.0, *[104.0] * 8]
    return moving("SPY", (CLOSE - 10 * NS_PER_MINUTE, tuesday), (OPENING + NS_PER_DAY, wednesday))


def seconds(text: str) -> int:
    """A moment as history writes it."""
    return int(datetime.fromisoformat(text).timestamp())


async def test_history_by_the_day_has_each_sessions_close_and_its_profit() -> None:
    """Today's point is worth what the account is worth now; ``no_reset`` compares all with the base."""
    async with Desk.opened(None, two_days()) as desk:
        desk.step()
        desk.buy("SPY", "100")
        desk.step(22)
        daily = desk.get(HISTORY, timeframe="1D", period="1W")
        whole = desk.get(HISTORY, timeframe="1D", period="1W", pnl_reset="no_reset")
        later = desk.get(HISTORY, timeframe="1D", start="2024-01-03")
        account = desk.get("/v2/account")

    assert daily == {
        "timestamp": [seconds("2024-01-03T00:00:00+00:00"), seconds("2024-01-04T00:00:00+00:00")],
        "equity": [100_100.0, 100_400.0],
        "profit_loss": [100.0, 300.0],
        "profit_loss_pct": [0.001, 0.003],
        "base_value": 100_000.0,
        "timeframe": "1D",
    }
    assert whole["profit_loss"] == [100.0, 400.0]
    assert (later["base_value"], later["base_value_asof"], later["equity"]) == (100_100.0, "2024-01-02", [100_400.0])
    assert (account["equity"], account["last_equity"], account["balance_asof"]) == ("100400", "100100", "2024-01-02")


async def test_history_within_the_day_is_worth_what_its_windows_end_with() -> None:
    """Market hours begin at half past nine and end with the moment of the close; each day's profit begins anew."""
    async with Desk.opened(None, two_days()) as desk:
        desk.step()
        desk.buy("SPY", "100")
        desk.step(14)
        found = desk.get(HISTORY, timeframe="5Min", start="2024-01-02T15:00:00-05:00")
        fine = desk.get(HISTORY, timeframe="1Min", start="2024-01-03T09:30:00-05:00", end="2024-01-03T09:31:00-05:00")
        whole = desk.get(HISTORY, timeframe="1H", period="1D", pnl_reset="no_reset")

    stamps = [datetime.fromtimestamp(at, UTC).isoformat()[:16] for at in found["timestamp"]]
    assert stamps == ["2024-01-02T20:50", "2024-01-02T20:55", "2024-01-02T21:00", "2024-01-03T14:30"]
    assert found["equity"] == [100_100.0, 100_100.0, 100_100.0, 100_400.0]
    assert found["profit_loss"] == [100.0, 100.0, 100.0, 300.0]
    assert fine["equity"] == [100_200.0, 100_300.0]
    assert (fine["base_value"], fine["base_value_asof"]) == (100_100.0, "2024-01-02")
    assert whole["profit_loss"][-1] == 400.0


async def test_history_around_the_clock_knows_no_days() -> None:
    """For crypto; and extended hours reach from 04:00 to 20:00, by either name."""
    async with Desk.opened(None, minutes(count=30)) as desk:
        desk.step()
        desk.buy("BTC/USD", "0.5")
        desk.step(25)
        crypto = desk.get(HISTORY, timeframe="1Min", period="1D", intraday_reporting="continuous", pnl_reset="no_reset")
        closed = desk.get(HISTORY, timeframe="1Min", period="1D")
        worth = float(desk.get("/v2/account")["equity"])
    async with Desk.opened(None, two_days()) as desk:
        desk.step(12)
        named, legacy = (
            desk.get(HISTORY, timeframe="1H", start="2024-01-02", **how)
            for how in ({"intraday_reporting": "extended_hours"}, {"extended_hours": "true"})
        )

    assert crypto["timestamp"][0] * 10**9 == MIDNIGHT
    assert np.diff(crypto["timestamp"]).tolist() == [60] * 25
    assert crypto["equity"][-1] == worth
    assert crypto["profit_loss"][-1] == round(worth - 100_000, 4)
    assert closed["timestamp"] == []
    assert named == legacy
    assert named["timestamp"][-1] == seconds("2024-01-03T09:00:00-05:00")


async def test_cash_flows_stand_in_the_window_in_which_they_came() -> None:
    """Of the types that are asked for, or of all that there were."""
    async with Desk.opened(None, two_days()) as desk:
        desk.step(3)
        desk.exchange.post(desk.account, Posting("CSD", "", Decimal(0), Decimal(500)))
        desk.step(9)
        desk.exchange.post(desk.account, Posting("DIV", "SPY", Decimal(0), Decimal("-1.5")))
        every, one, none = (
            desk.get(HISTORY, timeframe="1D", period="1W", cashflow_types=types) for types in ("ALL", "CSW", "NONE")
        )

    assert every["cashflow"] == {"CSD": [500.0, 0.0], "DIV": [0.0, -1.5]}
    assert one["cashflow"] == {"CSW": [0.0, 0.0]}
    assert "cashflow" not in none


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"timeframe": "2Min"}, "invalid timeframe: 2Min"),
        ({"period": "1Y"}, "invalid period: 1Y"),
        ({"period": "0D"}, "invalid period: 0D"),
        ({"period": "3M", "timeframe": "1H"}, "a timeframe below 1D is served for 30 days or less"),
        (
            {"period": "1D", "start": "2024-01-02", "end": "2024-01-03"},
            "only two of start, end and period are accepted",
        ),
        ({"start": "2024-01-03", "end": "2024-01-02"}, "start must not be after end"),
        ({"start": "soon"}, "start must be an RFC 3339 time or a date, got 'soon'"),
        ({"intraday_reporting": "always"}, "invalid intraday_reporting: always"),
        ({"pnl_reset": "never"}, "invalid pnl_reset: never"),
        ({"cashflow_types": "FILL"}, "invalid activity type: FILL"),
    ],
)
async def test_what_makes_no_history_is_refused(query: dict[str, str], text: str) -> None:
    """With the parameter's name."""
    async with Desk.opened(None, two_days()) as desk:
        answer = desk.get(HISTORY, **query)

        assert (desk.status, answer) == (422, {"code": 40010001, "message": text})


@pytest.mark.parametrize(
    "query",
    [
        {"start": "0001-01-02", "timeframe": "1D"},
        {"start": "9999-01-01", "period": "9999A", "timeframe": "1D"},
        {"end": "0001-01-01", "period": "9999A", "timeframe": "1D"},
        {"start": "2100-01-01", "period": "1D", "intraday_reporting": "continuous"},
        {"end": "1900-02-01", "period": "1M"},
    ],
)
async def test_history_of_a_time_without_the_account_is_empty(query: dict[str, str]) -> None:
    """However far away it is."""
    async with Desk.opened(None, two_days()) as desk:
        found = desk.get(HISTORY, **query)

        assert desk.status == 200
        assert len(found["timestamp"]) == len(found["equity"]) <= 1


def test_samples_are_bounded_and_fall_back_on_the_days() -> None:
    """A year of minutes leaves the last month of them, and every day's close."""
    samples = EquityHistory(0, 1.0)
    for minute in range(1, 200_000):
        samples.add(minute * NS_PER_MINUTE, float(minute))
        if minute % 1440 == 0:
            samples.end_day(minute * NS_PER_MINUTE, float(minute))

    assert samples.at(199_000 * NS_PER_MINUTE) == 199_000.0
    assert samples.at((199_000 - 31 * 1440) * NS_PER_MINUTE) == 199_000.0 - 31 * 1440
    assert samples.at(3000 * NS_PER_MINUTE) == 2880.0
    assert samples.at(-1) == 1.0
    assert len(samples._minutes._times) <= 2 * 31 * 1440


async def test_cryptos_fees_get_their_rows_when_the_day_ends() -> None:
    """One for the coin and one for the cash, once; they were taken at the trades, so nothing else changes."""
    async with Desk.opened(None, minutes(count=24 * 60 + 5)) as desk:
        desk.step()
        desk.buy("BTC/USD", "0.1")
        desk.step(2)
        desk.ask("DELETE", "/v2/positions/BTCUSD")
        desk.step(2)
        desk.buy("BTC/USD", "0.2")
        desk.step(2)
        before, fills = desk.get("/v2/account"), desk.get("/v2/account/activities/FILL")
        while desk.exchange.now < MIDNIGHT + NS_PER_DAY:
            assert desk.get("/v2/account/activities", category="non_trade_activity") == []
            desk.step()
        after = desk.get("/v2/account")
        rows = desk.get("/v2/account/activities", category="non_trade_activity", direction="asc")
        mixed = desk.get("/v2/account/activities")
        desk.step(3)

        assert desk.get("/v2/account/activities/CFEE,FEE".rpartition("/")[0], activity_types="CFEE,FEE") == rows[::-1]

    (sold,) = [Decimal(row["qty"]) * Decimal(row["price"]) for row in fills if row["side"] == "sell"]
    coin, cash = rows
    assert (coin["activity_type"], coin["symbol"], coin["net_amount"]) == ("CFEE", "BTCUSD", "0")
    assert Decimal(coin["qty"]) == -Decimal("0.3") * Decimal("0.0025")
    assert (cash["activity_type"], "symbol" in cash) == ("FEE", False)
    assert -Decimal(cash["net_amount"]) - sold * Decimal("0.0025") < Decimal("1e-9")
    assert {row["date"] for row in rows} == {"2022-01-03"}
    assert before["cash"] == after["cash"]
    assert Decimal(before["accrued_fees"]) > Decimal(-cash_amount(cash)) > 0
    assert after["accrued_fees"] == "0"
    assert [row["activity_type"] for row in mixed] == ["FEE", "CFEE", *["FILL"] * 3]


def cash_amount(row: dict[str, Any]) -> Decimal:
    """What a row has changed the cash by."""
    return Decimal(row["net_amount"])


async def test_activities_are_filtered_by_everything_that_alpaca_filters_by() -> None:
    """Type, category, order, day, time, and pages in both directions over rows of all kinds."""
    async with Desk.opened(None, two_days()) as desk:
        desk.step()
        first = desk.buy("SPY", "1")
        desk.step(2)
        desk.exchange.post(desk.account, Posting("DIV", "SPY", Decimal(0), Decimal(1)))
        desk.step(8)
        desk.buy("SPY", "2")
        desk.step(4)
        path = "/v2/account/activities"
        everything = desk.get(path)
        pages: list[Any] = []
        for direction in ("desc", "asc"):
            token: dict[str, str] = {}
            walked: list[Any] = []
            while page := desk.get(path, page_size="1", direction=direction, **token):
                walked += page
                token = {"page_token": page[-1]["id"]}
            pages.append(walked)
        chosen = {
            name: [row["id"] for row in desk.get(path, **query)]
            for name, query in {
                "trades": {"category": "trade_activity"},
                "others": {"category": "non_trade_activity"},
                "dividends": {"activity_types": "DIV"},
                "both": {"activity_types": "FILL,DIV"},
                "order": {"order_id": first["id"]},
                "tuesday": {"date": "2024-01-02"},
                "after": {"after": everything[1].get("created_at", "")},
                "until": {"until": everything[1].get("created_at", "")},
            }.items()
        }
        refused = [
            desk.get(path, **query)["message"]
            for query in (
                {"activity_types": "WISH"},
                {"category": "trade_activity", "activity_types": "FILL"},
                {"category": "mine"},
                {"direction": "up"},
                {"page_token": "20240102::none"},
                {"page_size": "0"},
            )
        ]

    ids = [row["id"] for row in everything]
    assert [row["activity_type"] for row in everything] == ["FILL", "DIV", "FILL"]
    assert pages == [everything, everything[::-1]]
    assert chosen == {
        "trades": [ids[0], ids[2]],
        "others": [ids[1]],
        "dividends": [ids[1]],
        "both": ids,
        "order": [ids[2]],
        "tuesday": ids[1:],
        "after": ids[:1],
        "until": ids[2:],
    }
    assert refused == [
        "invalid activity type: WISH",
        "only one of activity_types or category is accepted",
        "invalid category: mine",
        "invalid direction: up",
        "page_token is not the id of an activity",
        "page_size must be a positive integer, got '0'",
    ]


@pytest.mark.parametrize(("maker", "taker", "tier"), [(15, 25, 1), (12, 22, 2), (0, 10, 8), (1, 1, 1)])
async def test_the_crypto_tier_is_that_of_the_fees(maker: int, taker: int, tier: int) -> None:
    """A client that works fees out from it comes to what the venue takes."""
    rules = EngineSettings(maker_bps=Decimal(maker), taker_bps=Decimal(taker))
    async with Desk.opened(None, minutes(count=2), settings=rules) as desk:
        assert desk.get("/v2/account")["crypto_tier"] == tier


CALENDAR = "/v2/calendar"


async def test_the_calendar_knows_early_closes_holidays_and_settlement() -> None:
    """Trades settled after three trading days, then two, now one; SETTLEMENT looks days up by that date."""
    async with Desk.opened(None, two_days()) as desk:
        november = desk.get(CALENDAR, start="2024-11-27", end="2024-11-29")
        cycles = [desk.get(CALENDAR, start=day, end=day)[0] for day in ("2017-09-01", "2024-05-24", "2024-05-28")]
        settling = desk.get(CALENDAR, start="2024-12-02", end="2024-12-02", date_type="SETTLEMENT")
        everything = desk.get(CALENDAR)
        wrong = desk.get(CALENDAR, date_type="SOME")

    assert [row["date"] for row in november] == ["2024-11-27", "2024-11-29"]
    assert november[1] == {
        "date": "2024-11-29",
        "open": "09:30",
        "close": "13:00",
        "session_open": "0400",
        "session_close": "1700",
        "settlement_date": "2024-12-02",
    }
    assert [row["settlement_date"] for row in cycles] == ["2017-09-07", "2024-05-29", "2024-05-29"]
    assert [row["date"] for row in settling] == ["2024-11-29"]
    assert (everything[0]["date"], everything[-1]["date"]) == ("1970-01-02", "2029-12-31")
    assert wrong["message"] == "invalid date_type: SOME"


async def test_the_calendars_and_clocks_of_markets_are_told() -> None:
    """Version 3: by market, with the hours around the core, in the market's time or UTC."""
    async with Desk.opened(None, two_days()) as desk:
        week = desk.get("/v3/calendar/NYSE")
        utc = desk.get("/v3/calendar/XNAS", start="2024-01-02", end="2024-01-02", timezone="UTC")
        clocks = desk.get("/v3/clock", markets="NYSE,IEXG")
        every = desk.get("/v3/clock")
        unknown, status = desk.get("/v3/calendar/MOON"), desk.status
        beyond = desk.get("/v3/clock", time="9999-01-01T00:00:00Z")

    assert [row["date"] for row in week["calendar"]] == [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9)]
    assert week["market"]["acronym"] == "NYSE"
    assert utc["calendar"][0] == {
        "date": "2024-01-02",
        "core_start": "2024-01-02T14:30:00Z",
        "core_end": "2024-01-02T21:00:00Z",
        "pre_start": "2024-01-02T09:00:00Z",
        "pre_end": "2024-01-02T14:30:00Z",
        "post_start": "2024-01-02T21:00:00Z",
        "post_end": "2024-01-03T01:00:00Z",
        "settlement_date": "2024-01-04",
    }
    assert clocks["clocks"][0] == {
        "market": week["market"],
        "timestamp": "2024-01-02T15:50:00-05:00",
        "is_market_day": True,
        "next_market_open": "2024-01-03T09:30:00-05:00",
        "next_market_close": "2024-01-02T16:00:00-05:00",
        "phase": "core",
        "phase_until": "2024-01-02T16:00:00-05:00",
    }
    assert [clock["market"]["acronym"] for clock in clocks["clocks"]] == ["NYSE", "IEX"]
    assert [clock["market"]["acronym"] for clock in every["clocks"]] == ["IEX", "NASDAQ", "NYSE", "OTC"]
    assert status == 400
    assert "'MOON'" in unknown["message"]
    assert "beyond what is known" in beyond["message"]


@pytest.mark.parametrize(
    ("time", "phase", "until", "market_day"),
    [
        ("2024-01-02T03:59:59-05:00", "closed", "2024-01-02T04:00:00-05:00", True),
        ("2024-01-02T04:00:00-05:00", "pre", "2024-01-02T09:30:00-05:00", True),
        ("2024-01-02T09:30:00-05:00", "core", "2024-01-02T16:00:00-05:00", True),
        ("2024-01-02T16:00:00-05:00", "post", "2024-01-02T20:00:00-05:00", True),
        ("2024-01-05T20:00:00-05:00", "closed", "2024-01-08T04:00:00-05:00", False),
        ("2024-01-06T12:00:00-05:00", "closed", "2024-01-08T04:00:00-05:00", False),
    ],
)
async def test_a_clock_tells_the_phase_of_the_day(time: str, phase: str, until: str, *, market_day: bool) -> None:
    """Each phase ends where the next begins."""
    async with Desk.opened(None, two_days()) as desk:
        (clock,) = desk.get("/v3/clock", markets="NYSE", time=time)["clocks"]

    assert (clock["phase"], clock["phase_until"]) == (phase, until)
    if phase != "closed" or market_day:
        assert clock["is_market_day"] is market_day


async def test_assets_are_filtered_and_sorted() -> None:
    """By status, class, exchange and attributes; what there is none of has an empty answer."""
    async with Desk.opened(None, two_days(), minutes("AAPL", 5, start=OPENING), minutes(start=OPENING)) as desk:
        named = {
            name: [row["symbol"] for row in desk.get("/v2/assets", **query)]
            for name, query in {
                "default": {},
                "active": {"status": "active"},
                "inactive": {"status": "inactive"},
                "crypto": {"asset_class": "crypto"},
                "exchange": {"exchange": "NYSE"},
                "attributes": {"attributes": "has_options,ipo"},
            }.items()
        }
        options = desk.get("/v2/options/contracts", underlying_symbols="SPY")
        news = desk.get(
            "/v2/corporate_actions/announcements", ca_types="dividend", since="2024-01-01", until="2024-02-01"
        )
        refused = [
            desk.get("/v2/assets", status="old")["message"],
            desk.get("/v2/corporate_actions/announcements", ca_types="luck")["message"],
            desk.get("/v2/corporate_actions/announcements/1")["message"],
            desk.get("/v2/options/contracts/1")["message"],
        ]

    assert named == {
        "default": ["AAPL", "SPY"],
        "active": ["AAPL", "SPY"],
        "inactive": [],
        "crypto": ["BTC/USD"],
        "exchange": [],
        "attributes": [],
    }
    assert options == {"option_contracts": [], "next_page_token": None}
    assert news == []
    assert refused == [
        "invalid status: old",
        "ca_types must name some of dividend, merger, spinoff, split",
        "announcement not found for 1",
        "option contract not found for 1",
    ]
