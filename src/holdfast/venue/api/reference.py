"""Alpaca's trading API: what is the same for every account: assets, clock, calendar."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.model.enums import AssetClass
from holdfast.model.errors import DataError
from holdfast.model.market import Asset
from holdfast.model.timestamps import NS_PER_DAY
from holdfast.time import Session, Sessions
from holdfast.venue.api.query import day
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.refusals import refuse_missing
from holdfast.venue.wire.assets import asset_id, asset_json, calendar_json
from holdfast.venue.wire.words import new_york_time

_CALENDAR_FIRST: Final = "2016-01-01"
_CALENDAR_LAST: Final = "2029-12-31"


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
        ]

    def assets(self, request: Request) -> Answer:
        """GET /v2/assets."""
        query = request.query
        wanted = query.get("asset_class") or AssetClass.US_EQUITY.value
        if query.get("status", "active") not in ("active", "", "all"):
            return Answer([])
        rows = [asset for asset in self._exchange.assets.values() if asset.asset_class == wanted]
        if query.get("exchange"):
            rows = [asset for asset in rows if asset_json(asset)["exchange"] == query["exchange"]]
        return Answer([asset_json(asset) for asset in rows])

    def asset(self, request: Request) -> Answer:
        """GET /v2/assets/{symbol or id}."""
        return Answer(asset_json(self._asset(request.parts[0])))

    def _asset(self, name: str) -> Asset:
        assets = self._exchange.assets
        symbol = self._exchange.symbol_of(name)
        if symbol is None:
            symbol = next((known for known in assets if asset_id(known) == name.lower()), None)
        if symbol is None:
            refuse_missing(f"asset not found for {name}")
        return assets[symbol]

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
        """GET /v2/calendar: the equities' sessions from ``start`` to ``end``, both included."""
        first = day(request.query.get("start") or _CALENDAR_FIRST, "start")
        last = day(request.query.get("end") or _CALENDAR_LAST, "end")
        sessions = _sessions_between(self._exchange.sessions(AssetClass.US_EQUITY), first, last + NS_PER_DAY)
        return Answer([calendar_json(session) for session in sessions])


def _sessions_between(sessions: Sessions, start: int, end: int) -> Iterable[Session]:
    try:
        session = sessions.at(start)
        while session.open < end:
            if session.open >= start:
                yield session
            session = sessions.at(session.close)
    except DataError:
        # Beyond what is known of the market there are no sessions to list.
        return
