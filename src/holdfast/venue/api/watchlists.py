"""Alpaca's trading API: watchlists, by id and by name."""

from __future__ import annotations

from typing import Any, Final, Literal

from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.matching.refusals import refuse_invalid, refuse_missing
from holdfast.venue.watchlists import Watchlist, WatchlistChange
from holdfast.venue.wire.account import watchlist_json
from holdfast.venue.wire.assets import asset_json

_SYMBOLS_MAX: Final = 1000
Kind = Literal["create", "update", "add", "remove", "delete"]


class WatchlistsApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/v2/watchlists", self.watchlists),
            Route("POST", "/v2/watchlists", self.create),
            Route("GET", "/v2/watchlists:by_name", self.read_named),
            Route("PUT", "/v2/watchlists:by_name", self.update_named),
            Route("POST", "/v2/watchlists:by_name", self.add_named),
            Route("DELETE", "/v2/watchlists:by_name", self.delete_named),
            Route("GET", "/v2/watchlists/{}", self.read),
            Route("PUT", "/v2/watchlists/{}", self.update),
            Route("POST", "/v2/watchlists/{}", self.add),
            Route("DELETE", "/v2/watchlists/{}", self.delete),
        ]

    def watchlists(self, request: Request) -> Answer:
        """GET /v2/watchlists: without what is in them."""
        return Answer([watchlist_json(one, request.owner.id) for one in request.owner.watchlists])

    def create(self, request: Request) -> Answer:
        """POST /v2/watchlists."""
        return self._change(request, "create", "", _object(request))

    def read(self, request: Request) -> Answer:
        """GET /v2/watchlists/{id}."""
        return self._answer(request, request.owner.watchlists.get(request.parts[0]))

    def update(self, request: Request) -> Answer:
        """PUT /v2/watchlists/{id}: another name, other symbols, or both."""
        return self._change(request, "update", request.parts[0], _object(request))

    def add(self, request: Request) -> Answer:
        """POST /v2/watchlists/{id}: one symbol more."""
        return self._change(request, "add", request.parts[0], _one_symbol(request))

    def delete(self, request: Request) -> Answer:
        """DELETE /v2/watchlists/{id}, or one symbol of it: DELETE /v2/watchlists/{id}/{symbol}."""
        watchlist_id, slash, symbol = request.parts[0].partition("/")
        if slash:
            return self._change(request, "remove", watchlist_id, {"symbols": [symbol]})
        self._change(request, "delete", watchlist_id, {})
        return Answer(None, 204)

    def read_named(self, request: Request) -> Answer:
        """GET /v2/watchlists:by_name."""
        return self._answer(request, self._named(request))

    def update_named(self, request: Request) -> Answer:
        """PUT /v2/watchlists:by_name."""
        return self._change(request, "update", self._named(request).id, _object(request))

    def add_named(self, request: Request) -> Answer:
        """POST /v2/watchlists:by_name."""
        return self._change(request, "add", self._named(request).id, _one_symbol(request))

    def delete_named(self, request: Request) -> Answer:
        """DELETE /v2/watchlists:by_name."""
        self._change(request, "delete", self._named(request).id, {})
        return Answer(None, 204)

    def _named(self, request: Request) -> Watchlist:
        return request.owner.watchlists.named(request.query.get("name", ""))

    def _change(self, request: Request, kind: Kind, watchlist_id: str, body: dict[str, Any]) -> Answer:
        name, symbols = body.get("name"), body.get("symbols")
        if name is not None and not isinstance(name, str):
            refuse_invalid("name must be text")
        change = WatchlistChange(kind, watchlist_id, name, None if symbols is None else self._symbols(symbols))
        return self._answer(request, self._exchange.watch(request.owner, change))

    def _symbols(self, names: object) -> tuple[str, ...]:
        if not isinstance(names, list) or len(names) > _SYMBOLS_MAX:
            refuse_invalid(f"symbols must be a list of at most {_SYMBOLS_MAX} symbols")
        return tuple(self._symbol(name) for name in names)

    def _symbol(self, name: object) -> str:
        symbol = self._exchange.symbol_of(name) if isinstance(name, str) else None
        if symbol is None:
            refuse_missing(f"asset not found for {str(name)[:40]}")
        return symbol

    def _answer(self, request: Request, watchlist: Watchlist) -> Answer:
        hard = self._exchange.group.hard_to_borrow
        assets = [asset_json(self._exchange.assets[symbol], hard) for symbol in watchlist.symbols]
        return Answer(watchlist_json(watchlist, request.owner.id, assets))


def _object(request: Request) -> dict[str, Any]:
    body = request.json()
    if not isinstance(body, dict):
        refuse_invalid("request body must be an object")
    return body


def _one_symbol(request: Request) -> dict[str, Any]:
    body = _object(request)
    if not body.get("symbol"):
        refuse_invalid("symbol is required")
    return {"symbols": [body["symbol"]]}
