"""Alpaca's market-data REST API apart from prices: corporate actions, and news, of which there are none here."""

from __future__ import annotations

from datetime import date
from typing import Final, NoReturn

from holdfast.model.timestamps import to_datetime
from holdfast.venue.api.query import words
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.market.corporate_actions import CorporateAction
from holdfast.venue.matching.refusals import BAD_DATA_REQUEST, refuse
from holdfast.venue.wire.words import NEW_YORK, Json, decode_token, encode_token, parse_time

_TYPES: Final = frozenset(
    {
        "reverse_split", "forward_split", "unit_split", "cash_dividend", "stock_dividend", "spin_off", "cash_merger",
        "stock_merger", "stock_and_cash_merger", "redemption", "name_change", "worthless_removal", "rights_distribution",
        "partial_call", "reorganization",
    }
)  # fmt: skip
_ACTIONS_DEFAULT, _ACTIONS_MAX, _NEWS_DEFAULT, _NEWS_MAX = 100, 1000, 10, 50
_FILTERS: Final = ("symbols", "cusips", "types", "start", "end")
_PAGES: Final = "corporate-actions"


class AnnouncementsApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table. Data requests have limits of their own at Alpaca; here they have none."""
        return [
            Route("GET", "/v1/corporate-actions", self.corporate_actions, limited=False),
            Route("GET", "/v1beta1/news", self.news, limited=False),
        ]

    def corporate_actions(self, request: Request) -> Answer:
        """One page of what an operator has done to stocks, by type."""
        chosen = self._chosen(request)
        if _sort(request, "asc") == "desc":
            chosen.reverse()
        token = request.query.get("page_token")
        if token:
            name, last = decode_token(token, 2)
            place = next((place for place, action in enumerate(chosen) if action.id == last), None)
            if name != _PAGES or place is None:
                _refuse("page_token is not one that this venue gave")
            chosen = chosen[place + 1 :]
        limit = request.integer("limit", _ACTIONS_DEFAULT, _ACTIONS_MAX)
        page: Json = {}
        for action in chosen[:limit]:
            page.setdefault(f"{action.kind}s", []).append(action.body())
        following = encode_token(_PAGES, chosen[limit - 1].id) if len(chosen) > limit else None
        return Answer({"corporate_actions": page, "next_page_token": following})

    def news(self, request: Request) -> Answer:
        """None: nothing is written about what was recorded."""
        _sort(request, "desc")
        request.integer("limit", _NEWS_DEFAULT, _NEWS_MAX)
        for name in ("start", "end"):
            if request.query.get(name):
                parse_time(request.query[name], name)
        return Answer({"news": [], "next_page_token": None})

    def _chosen(self, request: Request) -> list[CorporateAction]:
        """The actions that are asked for, oldest first."""
        query, actions = request.query, self._exchange.actions
        if query.get("ids"):
            other = next((name for name in _FILTERS if query.get(name)), None)
            if other is not None:
                _refuse(f"ids and {other} cannot be given together")
            ids = frozenset(words(query["ids"]))
            return [action for action in actions if action.id in ids]
        symbols, types = words(query.get("symbols", "")), words(query.get("types", ""))
        for word in types:
            if word not in _TYPES:
                _refuse(f"invalid type: {word[:40]!r}")
        today = to_datetime(self._exchange.now).astimezone(NEW_YORK).date().isoformat()
        first, last = _day(request, "start", today), _day(request, "end", today)
        if first > last and query.get("end"):
            _refuse("end should not be before start")
        return [
            action
            for action in actions
            if first <= action.date <= last
            and (not symbols or action.symbol in symbols)
            and (not types or action.kind in types)
            and not query.get("cusips")
        ]


def _day(request: Request, name: str, default: str) -> str:
    text = request.query.get(name)
    if not text:
        return default
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        _refuse(f"{name} must be a date like 2024-01-02, got {text[:40]!r}")


def _sort(request: Request, default: str) -> str:
    order = request.query.get("sort") or default
    if order not in ("asc", "desc"):
        _refuse(f"invalid sort: {order[:40]!r}")
    return order


def _refuse(message: str) -> NoReturn:
    refuse(400, BAD_DATA_REQUEST, message)
