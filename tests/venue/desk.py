"""The venue's REST handlers over a real exchange and a real book, without sockets: quick to ask."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import msgspec

from holdfast.model import BarSeries
from holdfast.time import sessions_for
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.api import public_routes
from holdfast.venue.config import default_asset
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Request, Router
from holdfast.venue.matching.engine import EngineSettings
from holdfast.venue.matching.orders import Refusal
from holdfast.venue.store import open_book
from holdfast.venue.wire.words import encode_json, refusal_json


class Desk:
    """One account's questions to an exchange.

    Attributes:
        status: That of the last answer.
    """

    def __init__(self, exchange: Exchange, account: VenueAccount) -> None:
        self.exchange = exchange
        self.account = account
        self.status = 0
        self._router = Router(public_routes(exchange))

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls, book: Path | None, *series: BarSeries, settings: EngineSettings | None = None
    ) -> AsyncIterator[Self]:
        """A desk over a book, which is closed in the end."""
        markets = {bars.symbol: bars for bars in series}
        with await open_book(book, {"data": "of the test"}, book_id=1) as memory:
            exchange = Exchange(
                memory,
                markets,
                {symbol: default_asset(symbol) for symbol in markets},
                cash=Decimal(100_000),
                settings=settings or EngineSettings(),
                sessions=sessions_for,
                rate_limit=None,
            )
            account = exchange.authenticate("key", "secret")
            assert account is not None
            yield cls(exchange, account)
            exchange.commit()

    def ask(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Ask as over HTTP; gives the body, of a refusal too."""
        request = Request(method, path, query, b"" if body is None else msgspec.json.encode(body))
        request.account = self.account
        try:
            route, request.parts = self._router.find(method, path)
            answer = route.handler(request)
        except Refusal as refusal:
            self.status = refusal.http_status
            return refusal_json(refusal)
        self.exchange.commit()
        self.status = answer.status
        return msgspec.json.decode(encode_json(answer.body))

    def get(self, path: str, **query: str) -> Any:
        """GET."""
        return self.ask("GET", path, **query)

    def buy(self, symbol: str, quantity: str, **members: Any) -> Any:
        """A market order, which rests until the next step."""
        tif = "gtc" if "/" in symbol else "day"
        body = {"symbol": symbol, "qty": quantity, "side": "buy", "type": "market", "time_in_force": tif}
        return self.ask("POST", "/v2/orders", body | members)

    def step(self, count: int = 1) -> None:
        """Let the market take so many steps."""
        for _ in range(count):
            self.exchange.advance(None)
