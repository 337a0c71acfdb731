"""Alpaca's trading API: what is the same for every account: assets, clocks, calendars, and what this venue has none of."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset
from holdfast.model.timestamps import NS_PER_DAY, format_rfc3339
from holdfast.venue.api.query import day, words
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.market.calendar import MarketDay, days_between, new_york_date, next_days
from holdfast.venue.matching.refusals import BAD_DATA_REQUEST, refuse, refuse_invalid, refuse_missing
from holdfast.venue.wire.assets import asset_id, asset_json
from holdfast.venue.wire.calendar import MARKETS, calendar_json, market_clock_json, market_day_json, market_json
from holdfast.venue.wire.words import Json, new_york_time, parse_time

_CALENDAR_FIRST: Final = "1970-01-02"
_CALENDAR_LAST: Final = "2029-12-31"
_DATE_TYPES: Final = ("TRADING", "SETTLEMENT")
_SETTLEMENT_LAG_NS: Final = 14 * NS_PER_DAY
_STATUSES: Final = ("active", "inactive", "all")
_ANNOUNCEMENT_TYPES: Final = ("dividend", "merger", "spinoff", "split")
_ANNOUNCEMENTS_NS: Final = 90 * NS_PER_DAY
_CLOCK_DAYS: Final = 3


class ReferenceApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/v2/assets", self.assets),
            Route("GET", "/v2/assets/{}", self.asset),
            Route("GET", "/v2/clock", self.clock),
            Route("GET", "/v2/calendar", self.calendar),
            Route("GET", "/v3/clock", self.market_clocks),
            Route("GET", "/v3/calendar/{}", self.market_calendar),
            Route("GET", "/v2/corporate_actions/announcements", self.announcements),
            Route("GET", "/v2/corporate_actions/announcements/{}", self.announcement),
            Route("GET", "/v2/options/contracts", self.option_contracts),
            Route("GET", "/v2/options/contracts/{}", self.option_contract),
        ]

    # --- Assets ------------------------------------------------------------------------------------------------

    def assets(self, request: Request) -> Answer:
        """GET /v2/assets."""
        query = request.query
        status, attributes = query.get("status") or "all", set(words(query.get("attributes", "")))
        if status not in _STATUSES:
            refuse_invalid(f"invalid status: {status}")
        wanted = query.get("asset_class") or AssetClass.US_EQUITY.value
        rows = (self._row(asset) for asset in self._exchange.assets.values() if asset.asset_class == wanted)
        chosen = [
            row
            for row in rows
            if status in ("all", row["status"])
            and query.get("exchange", "") in ("", row["exchange"])
            and (not attributes or attributes & set(row["attributes"]))
        ]
        return Answer(sorted(chosen, key=lambda row: (row["exchange"], row["symbol"])))

    def _row(self, asset: Asset) -> Json:
        return asset_json(asset, self._exchange.group.hard_to_borrow)

    def asset(self, request: Request) -> Answer:
        """GET /v2/assets/{symbol or id}."""
        return Answer(self._row(self._asset(request.parts[0])))

    def _asset(self, name: str) -> Asset:
        assets = self._exchange.assets
        symbol = self._exchange.symbol_of(name)
        if symbol is None:
            symbol = next((known for known in assets if asset_id(known) == name.lower()), None)
        if symbol is None:
            refuse_missing(f"asset not found for {name}")
        return assets[symbol]

    # --- Clocks and calendars ----------------------------------------------------------------------------------

    def clock(self, request: Request) -> Answer:
        """GET /v2/clock: of the equities' market, at the venue's time."""
        now, sessions = self._exchange.now, self._exchange.sessions(AssetClass.US_EQUITY)
        session = sessions.at(now)
        is_open = session.open <= now
        following = sessions.at(session.close) if is_open else session
        body = {
            "timestamp": new_york_time(now),
            "is_open": is_open,
            "next_open": new_york_time(following.open),
            "next_close": new_york_time(session.close),
        }
        return Answer(body)

    def calendar(self, request: Request) -> Answer:
        """GET /v2/calendar: the equities' days from ``start`` to ``end``, both included."""
        query = request.query
        date_type = query.get("date_type") or "TRADING"
        if date_type not in _DATE_TYPES:
            refuse_invalid(f"invalid date_type: {date_type}")
        first = day(query.get("start") or _CALENDAR_FIRST, "start")
        last = day(query.get("end") or _CALENDAR_LAST, "end")
        if date_type == "TRADING":
            return Answer([calendar_json(one) for one in self._days(first, last)])
        first_date, last_date = new_york_date(first), new_york_date(last)
        found = self._days(first - _SETTLEMENT_LAG_NS, last)
        return Answer([calendar_json(one) for one in found if first_date <= one.settlement_date <= last_date])

    def market_clocks(self, request: Request) -> Answer:
        """GET /v3/clock: of the markets that keep the hours of US equities."""
        query = request.query
        now = parse_time(query["time"], "time") if query.get("time") else self._exchange.now
        names = words(query.get("markets", "")) or sorted({acronym for acronym, *_ in MARKETS.values()})
        days = list(islice(next_days(self._exchange.sessions(AssetClass.US_EQUITY), now), _CLOCK_DAYS))
        if len(days) < _CLOCK_DAYS:
            refuse(400, BAD_DATA_REQUEST, f"time is beyond what is known of the markets: {format_rfc3339(now)}")
        today = new_york_date(now)
        return Answer({"clocks": [market_clock_json(_market(name), now, today, days) for name in names]})

    def market_calendar(self, request: Request) -> Answer:
        """GET /v3/calendar/{market}: from ``start``, which is today, to ``end``, which is a week on."""
        query, name = request.query, _market(request.parts[0])
        if query.get("timezone", "") not in ("", "UTC"):
            refuse(400, BAD_DATA_REQUEST, "timezone must be UTC, or left out")
        first = day(query["start"], "start") if query.get("start") else self._today()
        last = day(query["end"], "end") if query.get("end") else first + 7 * NS_PER_DAY
        time = format_rfc3339 if query.get("timezone") else new_york_time
        days = [market_day_json(one, time) for one in self._days(first, last)]
        return Answer({"market": market_json(name), "calendar": days})

    def _today(self) -> int:
        return day(format_rfc3339(self._exchange.now), "now")

    def _days(self, first: int, last: int) -> Iterable[MarketDay]:
        """The equities' days from one midnight to another, both included, within what Alpaca's calendar has."""
        first = max(first, day(_CALENDAR_FIRST, "start"))
        last = min(last, day(_CALENDAR_LAST, "end"))
        return days_between(self._exchange.sessions(AssetClass.US_EQUITY), first, last + NS_PER_DAY)

    # --- What there is none of ---------------------------------------------------------------------------------

    def announcements(self, request: Request) -> Answer:
        """GET /v2/corporate_actions/announcements: a well-formed question has an empty answer."""
        query = request.query
        types = words(query.get("ca_types", "").lower())
        if not types or not set(types) <= set(_ANNOUNCEMENT_TYPES):
            refuse_invalid(f"ca_types must name some of {', '.join(_ANNOUNCEMENT_TYPES)}")
        for name in ("since", "until"):
            if not query.get(name):
                refuse_invalid(f"{name} is required")
        if day(query["until"], "until") - day(query["since"], "since") > _ANNOUNCEMENTS_NS:
            refuse_invalid("since and until must lie within 90 days")
        return Answer([])

    def announcement(self, request: Request) -> Answer:
        """GET /v2/corporate_actions/announcements/{id}."""
        refuse_missing(f"announcement not found for {request.parts[0]}")

    def option_contracts(self, request: Request) -> Answer:
        """GET /v2/options/contracts."""
        return Answer({"option_contracts": [], "next_page_token": None})

    def option_contract(self, request: Request) -> Answer:
        """GET /v2/options/contracts/{symbol or id}."""
        refuse_missing(f"option contract not found for {request.parts[0]}")


def _market(name: str) -> str:
    if name not in MARKETS:
        refuse(
            400, BAD_DATA_REQUEST, f"this venue keeps no calendar of {name[:40]!r}; it has {', '.join(sorted(MARKETS))}"
        )
    return name
