"""The official SDK, unchanged: everything of it that the conformance tests use, imported in one place, since its import warns."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from alpaca.common.enums import Sort
    from alpaca.common.exceptions import APIError
    from alpaca.data.enums import DataFeed
    from alpaca.data.historical import CryptoHistoricalDataClient, NewsClient, StockHistoricalDataClient
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.live.crypto import CryptoDataStream
    from alpaca.data.live.stock import StockDataStream
    from alpaca.data.requests import (
        CorporateActionsRequest,
        CryptoBarsRequest,
        CryptoLatestBarRequest,
        CryptoLatestOrderbookRequest,
        CryptoLatestQuoteRequest,
        CryptoLatestTradeRequest,
        CryptoQuoteRequest,
        CryptoSnapshotRequest,
        CryptoTradesRequest,
        NewsRequest,
        StockBarsRequest,
        StockLatestBarRequest,
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockQuotesRequest,
        StockSnapshotRequest,
        StockTradesRequest,
    )
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
    from alpaca.trading import enums, models, requests
    from alpaca.trading.client import TradingClient
    from alpaca.trading.stream import TradingStream

__all__ = [
    "APIError",
    "CorporateActionsClient",
    "CorporateActionsRequest",
    "CryptoBarsRequest",
    "CryptoDataStream",
    "CryptoHistoricalDataClient",
    "CryptoLatestBarRequest",
    "CryptoLatestOrderbookRequest",
    "CryptoLatestQuoteRequest",
    "CryptoLatestTradeRequest",
    "CryptoQuoteRequest",
    "CryptoSnapshotRequest",
    "CryptoTradesRequest",
    "DataFeed",
    "NewsClient",
    "NewsRequest",
    "Sort",
    "StockBarsRequest",
    "StockDataStream",
    "StockHistoricalDataClient",
    "StockLatestBarRequest",
    "StockLatestQuoteRequest",
    "StockLatestTradeRequest",
    "StockQuotesRequest",
    "StockSnapshotRequest",
    "StockTradesRequest",
    "TimeFrame",
    "TimeFrameUnit",
    "TradingClient",
    "TradingStream",
    "enums",
    "models",
    "requests",
]
