"""The feeds `boats` and `overnight` carry what happens at night and nothing else, as streams and over REST."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from holdfast.model import AssetClass
from holdfast.model.timestamps import parse_rfc3339, to_ns
from holdfast.time import sessions_for
from holdfast.venue.matching.hours import last_night
from holdfast.venue.wire.words import NEW_YORK
from tests.venue.helpers import StartVenue, minutes
from tests.venue.market_watch import STOCKS, flowing, hear_bars, only, subscribed

FAST = 1200  # twenty minutes a second
EVENING = parse_rfc3339("2024-01-03T00:54:00Z")  # 19:54 in New York, six minutes before the night
MORNING = parse_rfc3339("2024-01-03T08:54:00Z")  # 03:54, six minutes before its end
BARS = 12
CHANNELS: Any = {name: ["*"] for name in ("trades", "quotes", "bars", "lulds", "dailyBars")}


def at(text: str) -> int:
    """A moment in New York as UTC ns."""
    return to_ns(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK))


@pytest.mark.parametrize(
    ("now", "evening"),
    [
        ("2024-11-26 20:00", "2024-11-26"),  # it has just begun
        ("2024-11-27 03:59", "2024-11-26"),
        ("2024-11-27 12:00", "2024-11-26"),
        ("2024-11-28 19:59", "2024-11-26"),  # Thanksgiving has none
        ("2024-11-28 20:00", "2024-11-28"),
        ("2024-11-29 13:30", "2024-11-28"),  # after an early close
        ("2024-12-01 19:59", "2024-11-28"),  # the whole weekend
        ("2024-12-01 20:00", "2024-12-01"),
    ],
)
def test_the_last_night_is_the_one_that_began_last(now: str, evening: str) -> None:
    """From 20:00 of that evening, for eight hours."""
    begins = at(f"{evening} 20:00")
    assert last_night(sessions_for(AssetClass.US_EQUITY), at(now)) == (begins, begins + 8 * 3600 * 10**9)


@pytest.mark.parametrize("path", ["/v1beta1/overnight", "/v1beta1/boats"])
async def test_the_streams_carry_the_night_alone(start_venue: StartVenue, path: str) -> None:
    """What a stream of stocks says from 20:00 on, but for the day's bars, and nothing of what it says before."""
    venue = start_venue(minutes("SPY", BARS, start=EVENING, base=400.0), speed=FAST)
    async with (
        subscribed(venue, STOCKS, key="day", **CHANNELS) as day,
        subscribed(venue, path, key="night", **CHANNELS) as night,
        flowing(venue),
    ):
        whole, nightly = await asyncio.gather(hear_bars(day, BARS), hear_bars(night, BARS // 2))

    for kind in ("b", "t", "q"):
        wanted = [told for told in only(whole, kind, "SPY") if told["t"] >= "2024-01-03T01:00"]
        assert only(nightly, kind, "SPY") == wanted
        assert len(wanted) >= BARS // 2
        assert len(wanted) < len(only(whole, kind, "SPY"))
    assert {told["T"] for told in nightly} == {"b", "t", "q", "l"}


async def test_rest_has_the_night_alone(start_venue: StartVenue) -> None:
    """Ranges are cut at 04:00, longer bars are made of the night's, and the latest data are the last night's."""
    venue = start_venue(minutes("SPY", BARS, start=MORNING, base=400.0), speed=FAST)
    async with subscribed(venue, STOCKS, bars=["SPY"]) as data, flowing(venue):
        await hear_bars(data, BARS)
    window = {"start": "2024-01-03T00:00:00Z"}
    with venue.client() as client:

        def get(path: str, **params: Any) -> Any:
            return client.get(f"/v2/stocks/SPY/{path}", params=params).json()

        for kind in ("bars", "quotes", "trades"):
            whole = get(kind, timeframe="1Min", **window)[kind]
            night = get(kind, timeframe="1Min", feed="boats", **window)[kind]
            assert night == [row for row in whole if row["t"] < "2024-01-03T09:00"]
            assert len(night) < len(whole)
            backwards = get(kind, timeframe="1Min", feed="boats", sort="desc", **window)[kind]
            assert backwards == night[::-1]
            for feed in ("boats", "overnight"):
                assert get(f"{kind}/latest", feed=feed)[kind[:-1]] == night[-1]
        minute_bars = get("bars", timeframe="1Min", feed="boats", **window)["bars"]
        day = get("bars", timeframe="1Day", feed="boats", **window)["bars"]
        snapshot = get("snapshot", feed="overnight")
    assert [(bar["o"], bar["c"], bar["v"]) for bar in day] == [(minute_bars[0]["o"], minute_bars[-1]["c"], 60)]
    assert set(snapshot) == {"symbol", "latestTrade", "latestQuote", "minuteBar"}
    assert snapshot["minuteBar"] == minute_bars[-1]


async def test_where_no_night_is_recorded_they_are_empty(start_venue: StartVenue) -> None:
    """Data of the session are not of the night, however late it is asked for them."""
    venue = start_venue(minutes("SPY", 3, start=parse_rfc3339("2024-01-02T14:30:00Z"), base=400.0), speed=FAST)
    async with subscribed(venue, STOCKS, bars=["SPY"]) as data, flowing(venue):
        await hear_bars(data, 3)
    with venue.client() as client:
        path = "/v2/stocks/SPY/{}/latest"
        found = [
            client.get(path.format(f"{kind}s"), params={"feed": "overnight"}).json()
            for kind in ("bar", "quote", "trade")
        ]
        snapshot = client.get("/v2/stocks/snapshots", params={"feed": "overnight", "symbols": "SPY"}).json()
    assert found == [{"symbol": "SPY", kind: None} for kind in ("bar", "quote", "trade")]
    assert snapshot == {}
