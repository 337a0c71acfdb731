"""The venue's REST APIs, one module a subject. Handlers translate and choose; what may be done is the engine's business.

Unknown query parameters are tolerated, as at Alpaca.
"""

from __future__ import annotations

from holdfast.venue.api.account import AccountApi
from holdfast.venue.api.announcements import AnnouncementsApi
from holdfast.venue.api.history import HistoryApi
from holdfast.venue.api.market_data import MarketDataApi
from holdfast.venue.api.orders import OrdersApi
from holdfast.venue.api.positions import PositionsApi
from holdfast.venue.api.reference import ReferenceApi
from holdfast.venue.api.watchlists import WatchlistsApi
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Route

_SUBJECTS = (AccountApi, HistoryApi, OrdersApi, PositionsApi, ReferenceApi, WatchlistsApi)


def public_routes(exchange: Exchange, *, is_basic: bool = False) -> list[Route]:
    """The table of the trading port: everything that Alpaca's hosts answer."""
    trading = [route for subject in _SUBJECTS for route in subject(exchange).routes()]
    return [*trading, *MarketDataApi(exchange, is_basic=is_basic).routes(), *AnnouncementsApi(exchange).routes()]
