"""Alpaca's trading API: account, configurations and activities."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

from holdfast.model.enums import AssetClass
from holdfast.venue.api.query import bounds, direction, words
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.market.calendar import last_closed, new_york_date
from holdfast.venue.matching.fees import crypto_tier
from holdfast.venue.matching.orders import PostedRow, VenueExecution
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.wire.account import (
    account_json,
    activity_id,
    activity_json,
    configuration_json,
    parse_configuration,
    posted_json,
)

_PAGE_MAX: Final = 100
ACTIVITY_TYPES: Final = re.compile(
    "FILL|ACAT[CS]|CFEE|CFO|CIL|CORR|CSD|CSW|DIV(CGL|CGS|FEE|FT|NRA|ROC|TW|TXEX)?|FEE|FOPT|INT(NRA|TW)?|JNL[CS]?|MA|MEM|NC|"
    "OCT|OP(ASN|CA|EXC|EXP|TRD|XRC)|PTC|PTR|REORG|SC|SPIN|SPLIT|SSO|SSP|TAXWH|TRANS|VOF|WH"
)


class AccountApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/v2/account", self.account),
            Route("GET", "/v2/account/configurations", self.configurations),
            Route("PATCH", "/v2/account/configurations", self.configure),
            Route("GET", "/v2/account/activities", self.activities),
            Route("GET", "/v2/account/activities/{}", self.activities_of_type),
        ]

    def account(self, request: Request) -> Answer:
        """GET /v2/account."""
        account, exchange = request.owner, self._exchange
        has_crypto = any(asset.asset_class is AssetClass.CRYPTO for asset in exchange.assets.values())
        view, closed = account.engine.account(), last_closed(exchange.account_sessions, exchange.now)
        body = account_json(
            view,
            account_id=account.id,
            number=account.number,
            created_at=account.created_at,
            balance_asof=new_york_date(exchange.now if closed is None else closed.close).isoformat(),
            has_crypto=has_crypto,
            crypto_tier=crypto_tier(account.engine.settings),
            accrued_fees=account.fees.accrued(account.engine.prices),
        )
        return Answer(body)

    def configurations(self, request: Request) -> Answer:
        """GET /v2/account/configurations."""
        return Answer(configuration_json(request.owner.engine.amendments.configuration))

    def configure(self, request: Request) -> Answer:
        """PATCH /v2/account/configurations: those that are named change, the others stay."""
        configuration = parse_configuration(request.json(), request.owner.engine.amendments.configuration)
        self._exchange.configure(request.owner, configuration)
        return Answer(configuration_json(configuration))

    def activities(self, request: Request) -> Answer:
        """GET /v2/account/activities."""
        types = words(request.query.get("activity_types", ""))
        category = request.query.get("category", "")
        if types and category:
            refuse_invalid("only one of activity_types or category is accepted")
        if category and category not in ("trade_activity", "non_trade_activity"):
            refuse_invalid(f"invalid category: {category}")
        return self._activities(
            request, types, fills=category != "non_trade_activity", others=category != "trade_activity"
        )

    def activities_of_type(self, request: Request) -> Answer:
        """GET /v2/account/activities/{type}."""
        return self._activities(request, [request.parts[0]], fills=True, others=True)

    def _activities(self, request: Request, types: list[str], *, fills: bool, others: bool) -> Answer:
        for name in types:
            if not ACTIVITY_TYPES.fullmatch(name):
                refuse_invalid(f"invalid activity type: {name}")
        query = request.query
        size = request.integer("page_size", _PAGE_MAX, _PAGE_MAX)
        newest_first = direction(request) == "desc"
        after, until = bounds(request)
        token = query.get("page_token", "")
        shows_fills = fills and (not types or "FILL" in types)
        rows: list[VenueExecution | PostedRow] = [*request.owner.engine.activities()] if shows_fills else []
        posted = [row for row in request.owner.posted if not types or row.posting.activity_type in types]
        if posted and others:
            rows = sorted([*rows, *posted], key=lambda row: row.at)
        if newest_first:
            rows.reverse()
        order_id = query.get("order_id")
        chosen = (
            row
            for row in _beyond(rows, token)
            if (after is None or row.at > after)
            and (until is None or row.at < until)
            and (not order_id or row.order_id == order_id)
        )
        return Answer(
            [posted_json(row) if isinstance(row, PostedRow) else activity_json(row) for row in islice(chosen, size)]
        )


def _beyond(rows: Iterable[VenueExecution | PostedRow], token: str) -> Iterable[VenueExecution | PostedRow]:
    """The rows after the one whose activity id is the token; all of them without one."""
    if not token:
        yield from rows
        return
    execution_id = token.partition("::")[2]
    found = False
    for row in rows:
        if found:
            yield row
        elif row.execution_id == execution_id and activity_id(row) == token:
            found = True
    if not found:
        refuse_invalid("page_token is not the id of an activity")
