"""Alpaca's trading API: orders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from holdfast.model.enums import OrderStatus
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.api.query import bounds, direction, words
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.matching.orders import VenueOrder
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.matching.rules import Rule
from holdfast.venue.wire.orders import order_json, parse_new_order, parse_replacement
from holdfast.venue.wire.words import Json, parse_flag

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_STATUSES: Final = ("open", "closed", "all")
_ORDERS_DEFAULT, _ORDERS_MAX = 50, 500


class OrdersApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("POST", "/v2/orders", self.submit),
            Route("GET", "/v2/orders", self.orders),
            Route("DELETE", "/v2/orders", self.cancel_all),
            Route("GET", "/v2/orders:by_client_order_id", self.order_by_client_id),
            Route("GET", "/v2/orders/{}", self.order),
            Route("DELETE", "/v2/orders/{}", self.cancel),
            Route("PATCH", "/v2/orders/{}", self.replace),
        ]

    def submit(self, request: Request) -> Answer:
        """POST /v2/orders."""
        order = self._exchange.submit(request.owner, parse_new_order(request.json()))
        return Answer(self._shown(request.owner, order, nested=True))

    def orders(self, request: Request) -> Answer:
        """GET /v2/orders."""
        query = request.query
        status = query.get("status") or "open"
        if status not in _STATUSES:
            refuse_invalid(f"invalid status: {status}")
        limit = request.integer("limit", _ORDERS_DEFAULT, _ORDERS_MAX)
        after, until = bounds(request)
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
            symbols=words(query["symbols"]) if query.get("symbols") else None,
            after=after,
            until=until,
            newest_first=direction(request) == "desc",
        )
        chosen: Iterator[VenueOrder] = (
            order
            for order in found
            if (lowest is None or order.number > lowest)
            and (highest is None or order.number < highest)
            and side in (None, "", order.side)
            and asset_class in (None, "", "all", order.asset_class)
        )
        account, nested = request.owner, _nested(request)
        if nested:
            chosen = self._roots(account, chosen)
        elif status == "open":
            chosen = (order for order in chosen if order.status is not OrderStatus.HELD)
        return Answer([self._shown(account, order, nested=nested) for order in islice(chosen, limit)])

    def order(self, request: Request) -> Answer:
        """GET /v2/orders/{id}."""
        order = self._order(request.owner, request.parts[0])
        return Answer(self._shown(request.owner, order, nested=_nested(request)))

    def order_by_client_id(self, request: Request) -> Answer:
        """GET /v2/orders:by_client_order_id."""
        name = request.query.get("client_order_id", "")
        if not name:
            refuse_invalid("client_order_id is missing")
        order = request.owner.engine.by_client_id(name)
        if order is None:
            raise Rule.ORDER_UNKNOWN.refusal(id=name)
        return Answer(self._shown(request.owner, order, nested=_nested(request)))

    def cancel(self, request: Request) -> Answer:
        """DELETE /v2/orders/{id}."""
        self._exchange.cancel(request.owner, self._order(request.owner, request.parts[0]).id)
        return Answer(None, 204)

    def cancel_all(self, request: Request) -> Answer:
        """DELETE /v2/orders."""
        orders = request.owner.engine.orders("open", newest_first=False)
        # What is held ends with the order that it belongs to.
        rows = [self._cancel_row(request.owner, order) for order in orders if order.status is not OrderStatus.HELD]
        return Answer(rows, 207)

    def replace(self, request: Request) -> Answer:
        """PATCH /v2/orders/{id}."""
        old = self._order(request.owner, request.parts[0])
        order = self._exchange.replace(request.owner, old.id, parse_replacement(request.json()))
        return Answer(self._shown(request.owner, order, nested=True))

    def _shown(self, account: VenueAccount, order: VenueOrder, *, nested: bool) -> Json:
        return order_json(order, account.engine.legs_of(order) if nested else ())

    def _roots(self, account: VenueAccount, orders: Iterable[VenueOrder]) -> Iterator[VenueOrder]:
        """Each order once, and in the place of legs the order that brought them along."""
        seen: set[str] = set()
        for order in orders:
            parent = None if order.terms is None or order.terms.parent is None else order.terms.parent
            root = account.engine.order(parent) if parent is not None else order
            if root is not None and root.id not in seen:
                seen.add(root.id)
                yield root

    def _cancel_row(self, account: VenueAccount, order: VenueOrder) -> Json:
        canceled = self._exchange.cancel(account, order.id)
        return {"id": order.id, "status": 200, "body": order_json(canceled)}

    def _order(self, account: VenueAccount, order_id: str) -> VenueOrder:
        if not _UUID.match(order_id):
            raise Rule.ORDER_ID_MISSING.refusal()
        order = account.engine.order(order_id.lower())
        if order is None:
            raise Rule.ORDER_UNKNOWN.refusal(id=order_id)
        return order

    def _number(self, account: VenueAccount, order_id: str | None) -> int | None:
        return self._order(account, order_id).number if order_id else None


def _nested(request: Request) -> bool:
    """Whether legs are to be shown inside the orders that they belong to."""
    return parse_flag(request.query.get("nested", "false"))
