"""Alpaca's trading API: account, orders, positions, assets, clock, calendar and activities.

Handlers translate and choose; what an order may do is the engine's business. Unknown query parameters
are tolerated, as at Alpaca.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal
from itertools import islice
from typing import Final

from holdfast.model.enums import AssetClass, OrderSide, OrderType, TimeInForce
from holdfast.model.errors import DataError
from holdfast.model.market import Asset
from holdfast.model.timestamps import NS_PER_DAY, to_datetime, to_ns
from holdfast.time import Session, Sessions
from holdfast.venue.account import PositionView
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.orders import NewOrder, PostedRow, Refusal, VenueExecution, VenueOrder
from holdfast.venue.refusals import refuse_invalid, refuse_missing
from holdfast.venue.wire import (
    CONFIGURATION,
    NEW_YORK,
    Json,
    account_json,
    activity_id,
    activity_json,
    asset_id,
    asset_json,
    calendar_json,
    new_york_time,
    order_json,
    parse_amount,
    parse_flag,
    parse_new_order,
    parse_replacement,
    parse_time,
    position_json,
    posted_json,
    refusal_json,
    slashless,
)

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_STATUSES: Final = ("open", "closed", "all")
_DIRECTIONS: Final = ("asc", "desc")
_ORDERS_DEFAULT, _ORDERS_MAX = 50, 500
_PAGE_MAX: Final = 100
_CALENDAR_FIRST: Final = "2016-01-01"
_CALENDAR_LAST: Final = "2029-12-31"
_NANO: Final = Decimal("0.000000001")
ACTIVITY_TYPES: Final = re.compile(
    "FILL|ACAT[CS]|CFEE|CFO|CIL|CORR|CSD|CSW|DIV(CGL|CGS|FEE|FT|NRA|ROC|TW|TXEX)?|FEE|FOPT|INT(NRA|TW)?|JNL[CS]?|MA|MEM|NC|"
    "OCT|OP(ASN|CA|EXC|EXP|TRD|XRC)|PTC|PTR|REORG|SC|SPIN|SPLIT|SSO|SSP|TAXWH|TRANS|VOF|WH"
)


class TradingApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/v2/account", self.account),
            Route("GET", "/v2/account/configurations", self.configurations),
            Route("GET", "/v2/account/activities", self.activities),
            Route("GET", "/v2/account/activities/{}", self.activities_of_type),
            Route("POST", "/v2/orders", self.submit),
            Route("GET", "/v2/orders", self.orders),
            Route("DELETE", "/v2/orders", self.cancel_all),
            Route("GET", "/v2/orders:by_client_order_id", self.order_by_client_id),
            Route("GET", "/v2/orders/{}", self.order),
            Route("DELETE", "/v2/orders/{}", self.cancel),
            Route("PATCH", "/v2/orders/{}", self.replace),
            Route("GET", "/v2/positions", self.positions),
            Route("DELETE", "/v2/positions", self.close_all),
            Route("GET", "/v2/positions/{}", self.position),
            Route("DELETE", "/v2/positions/{}", self.close),
            Route("GET", "/v2/assets", self.assets),
            Route("GET", "/v2/assets/{}", self.asset),
            Route("GET", "/v2/clock", self.clock),
            Route("GET", "/v2/calendar", self.calendar),
        ]

    # --- Account -----------------------------------------------------------------------------------------------

    def account(self, request: Request) -> Answer:
        """GET /v2/account."""
        account, exchange = request.owner, self._exchange
        has_crypto = any(asset.asset_class is AssetClass.CRYPTO for asset in exchange.assets.values())
        view = account.engine.account()
        body = account_json(
            view,
            account_id=account.id,
            number=account.number,
            created_at=account.created_at,
            now=exchange.now,
            has_crypto=has_crypto,
        )
        return Answer(body)

    def configurations(self, request: Request) -> Answer:
        """GET /v2/account/configurations."""
        return Answer(CONFIGURATION)

    def activities(self, request: Request) -> Answer:
        """GET /v2/account/activities."""
        types = _words(request.query.get("activity_types", ""))
        category = request.query.get("category", "")
        if types and category:
            refuse_invalid("only one of activity_types or category is accepted")
        if category and category not in ("trade_activity", "non_trade_activity"):
            refuse_invalid(f"invalid category: {category}")
        return self._activities(request, types or ([] if category == "non_trade_activity" else ["FILL"]))

    def activities_of_type(self, request: Request) -> Answer:
        """GET /v2/account/activities/{type}."""
        return self._activities(request, [request.parts[0]])

    def _activities(self, request: Request, types: list[str]) -> Answer:
        for name in types:
            if not ACTIVITY_TYPES.fullmatch(name):
                refuse_invalid(f"invalid activity type: {name}")
        query = request.query
        size = request.integer("page_size", _PAGE_MAX, _PAGE_MAX)
        newest_first = _direction(request) == "desc"
        after, until = _bounds(request)
        token = query.get("page_token", "")
        # Fees are settled in the fills at once, so there are no rows but fills and what an operator posted.
        rows: list[VenueExecution | PostedRow] = [*request.owner.engine.activities()] if "FILL" in types else []
        posted = [row for row in request.owner.posted if not types or row.posting.activity_type in types]
        if posted:
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

    # --- Orders ------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Answer:
        """POST /v2/orders."""
        return Answer(order_json(self._exchange.submit(request.owner, parse_new_order(request.json()))))

    def orders(self, request: Request) -> Answer:
        """GET /v2/orders."""
        query = request.query
        status = query.get("status") or "open"
        if status not in _STATUSES:
            refuse_invalid(f"invalid status: {status}")
        limit = request.integer("limit", _ORDERS_DEFAULT, _ORDERS_MAX)
        after, until = _bounds(request)
        before_id, after_id = query.get("before_order_id"), query.get("after_order_id")
        if before_id and after_id:
            refuse_invalid("only one of before_order_id or after_order_id is accepted")
        if (before_id or after_id) and (after is not None or until is not None):
            refuse_invalid("before_order_id and after_order_id are not accepted together with after or until")
        side, asset_class = query.get("side"), query.get("asset_class")
        lowest = self._number(request.owner, after_id)
        highest = self._number(request.owner, before_id)
        found = request.owner.engine.orders(
            status,
            symbols=_words(query["symbols"]) if query.get("symbols") else None,
            after=after,
            until=until,
            newest_first=_direction(request) == "desc",
        )
        chosen = (
            order
            for order in found
            if (lowest is None or order.number > lowest)
            and (highest is None or order.number < highest)
            and side in (None, "", order.side)
            and asset_class in (None, "", "all", order.asset_class)
        )
        return Answer([order_json(order) for order in islice(chosen, limit)])

    def order(self, request: Request) -> Answer:
        """GET /v2/orders/{id}."""
        return Answer(order_json(self._order(request.owner, request.parts[0])))

    def order_by_client_id(self, request: Request) -> Answer:
        """GET /v2/orders:by_client_order_id."""
        name = request.query.get("client_order_id", "")
        if not name:
            refuse_invalid("client_order_id is missing")
        order = request.owner.engine.by_client_id(name)
        if order is None:
            refuse_missing(f"order not found for {name}")
        return Answer(order_json(order))

    def cancel(self, request: Request) -> Answer:
        """DELETE /v2/orders/{id}."""
        self._exchange.cancel(request.owner, self._order(request.owner, request.parts[0]).id)
        return Answer(None, 204)

    def cancel_all(self, request: Request) -> Answer:
        """DELETE /v2/orders."""
        orders = request.owner.engine.orders("open", newest_first=False)
        return Answer([self._cancel_row(request.owner, order) for order in orders], 207)

    def replace(self, request: Request) -> Answer:
        """PATCH /v2/orders/{id}."""
        old = self._order(request.owner, request.parts[0])
        return Answer(order_json(self._exchange.replace(request.owner, old.id, parse_replacement(request.json()))))

    def _cancel_row(self, account: VenueAccount, order: VenueOrder) -> Json:
        canceled = self._exchange.cancel(account, order.id)
        return {"id": order.id, "status": 200, "body": order_json(canceled)}

    def _order(self, account: VenueAccount, order_id: str) -> VenueOrder:
        if not _UUID.match(order_id):
            refuse_invalid("order_id is missing")
        order = account.engine.order(order_id.lower())
        if order is None:
            refuse_missing(f"order not found for {order_id}")
        return order

    def _number(self, account: VenueAccount, order_id: str | None) -> int | None:
        return self._order(account, order_id).number if order_id else None

    # --- Positions ---------------------------------------------------------------------------------------------

    def positions(self, request: Request) -> Answer:
        """GET /v2/positions."""
        rows = request.owner.engine.positions()
        return Answer([position_json(row, self._exchange.assets[row.symbol]) for row in rows])

    def position(self, request: Request) -> Answer:
        """GET /v2/positions/{symbol or asset id}."""
        row = self._position(request.owner, request.parts[0])
        return Answer(position_json(row, self._exchange.assets[row.symbol]))

    def close(self, request: Request) -> Answer:
        """DELETE /v2/positions/{symbol or asset id}: a market order for all of it, for ``qty`` or for ``percentage``."""
        row = self._position(request.owner, request.parts[0])
        quantity, percentage = request.query.get("qty"), request.query.get("percentage")
        if quantity and percentage:
            refuse_invalid("only one of qty or percentage is accepted")
        wanted = abs(row.quantity)
        if quantity:
            wanted = parse_amount(quantity, "qty")
        elif percentage:
            share = parse_amount(percentage, "percentage")
            if not 0 < share <= 100:
                refuse_invalid("percentage must be above 0 and at most 100")
            wanted = (wanted * share / 100).quantize(_NANO, ROUND_DOWN)
        return Answer(order_json(self._close(request.owner, row, wanted)))

    def close_all(self, request: Request) -> Answer:
        """DELETE /v2/positions."""
        account = request.owner
        if parse_flag(request.query.get("cancel_orders", "false")):
            for order in account.engine.orders("open", newest_first=False):
                self._exchange.cancel(account, order.id)
        answers: list[Json] = []
        for row in account.engine.positions():
            symbol = slashless(row.symbol)
            try:
                body = order_json(self._close(account, row, abs(row.quantity)))
                answers.append({"symbol": symbol, "status": 200, "body": body})
            except Refusal as refusal:
                answers.append({"symbol": symbol, "status": refusal.http_status, "body": refusal_json(refusal)})
        return Answer(answers, 207)

    def _close(self, account: VenueAccount, row: PositionView, quantity: Decimal) -> VenueOrder:
        crypto = row.asset_class is AssetClass.CRYPTO
        order = NewOrder(
            symbol=row.symbol,
            side=OrderSide.SELL if row.quantity > 0 else OrderSide.BUY,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.GTC if crypto else TimeInForce.DAY,
            quantity=quantity,
        )
        return self._exchange.submit(account, order)

    def _position(self, account: VenueAccount, name: str) -> PositionView:
        row = account.engine.position(name)
        if row is None:
            for candidate in account.engine.positions():
                if name in (asset_id(candidate.symbol), asset_id(slashless(candidate.symbol))):
                    return candidate
            refuse_missing("position does not exist")
        return row

    # --- Assets, clock, calendar -------------------------------------------------------------------------------

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
        first = _day(request.query.get("start") or _CALENDAR_FIRST, "start")
        last = _day(request.query.get("end") or _CALENDAR_LAST, "end")
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


def _day(text: str, name: str) -> int:
    """Midnight in New York of a date, or of the day of a time."""
    moment = parse_time(text, name)
    return to_ns(to_datetime(moment).astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0))


def _bounds(request: Request) -> tuple[int | None, int | None]:
    """``after`` and ``until``, or the day that ``date`` names."""
    query = request.query
    if query.get("date"):
        day = _day(query["date"], "date")
        return day - 1, day + NS_PER_DAY
    after, until = query.get("after"), query.get("until")
    return (
        parse_time(after, "after") if after else None,
        parse_time(until, "until") if until else None,
    )


def _direction(request: Request) -> str:
    direction = request.query.get("direction") or "desc"
    if direction not in _DIRECTIONS:
        refuse_invalid(f"invalid direction: {direction}")
    return direction


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


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
