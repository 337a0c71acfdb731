"""The SDK's market-data clients: what the venue tells of the past, as far as the replay has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from holdfast.testing import VenueAdmin
from tests.conformance.harness import Judge, Market, covers
from tests.conformance.sdk import (
    CorporateActionsClient,
    CorporateActionsRequest,
    CryptoBarsRequest,
    CryptoLatestBarRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
    DataFeed,
    NewsClient,
    NewsRequest,
    Sort,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
    TimeFrame,
    TimeFrameUnit,
)
from tests.venue.helpers import KEY, OPENING, SECRET, StartVenue, minutes
from tests.venue.market_watch import STOCKS, flowing, hear_bars, subscribed

pytestmark = [
    # The SDK uses what newer versions of its own dependencies deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

START = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
SPY = minutes("SPY", 60, start=OPENING, base=400.0)
COIN = minutes("BTC/USD", 60, start=OPENING)


def columns(bars: list[Any]) -> list[tuple[float, ...]]:
    """Open, high, low, close and volume."""
    return [(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]


def recorded(series: Any, count: int) -> list[tuple[float, ...]]:
    """The same of what the venue replays."""
    rows = zip(series.open, series.high, series.low, series.close, series.volume, strict=True)
    return [tuple(float(value) for value in row) for row in rows][:count]


@covers(
    "StockHistoricalDataClient.get_stock_bars: minutes",
    "StockHistoricalDataClient.get_stock_bars: several symbols",
    "StockHistoricalDataClient.get_stock_bars: five minutes",
    "StockHistoricalDataClient.get_stock_bars: hours",
    "StockHistoricalDataClient.get_stock_bars: days",
    "StockHistoricalDataClient.get_stock_bars: start and end",
    "StockHistoricalDataClient.get_stock_bars: newest first",
    "StockHistoricalDataClient.get_stock_bars: limit",
    "StockHistoricalDataClient.get_stock_bars: nothing yet",
    "StockHistoricalDataClient.get_stock_latest_bar",
    "StockHistoricalDataClient.get_stock_latest_bar: several symbols",
    "CryptoHistoricalDataClient.get_crypto_bars: minutes",
    "CryptoHistoricalDataClient.get_crypto_bars: a quarter of an hour",
    "CryptoHistoricalDataClient.get_crypto_bars: refused",
    "CryptoHistoricalDataClient.get_crypto_latest_bar",
)
async def test_bars(judge: Judge) -> None:
    """Minutes are those of the record, longer ones are made of them, and nothing is told before its time."""
    stocks, coins = judge.stocks, judge.coins

    def ask(symbols: Any, frame: Any = TimeFrame.Minute, **more: Any) -> Any:
        return StockBarsRequest(
            symbol_or_symbols=symbols, timeframe=frame, feed=DataFeed.IEX, **{"start": START} | more
        )

    async with Market.opened(judge, "SPY") as venue:
        nothing = await judge.call("nothing yet", stocks.get_stock_bars, ask("SPY"))
        await venue.step(12)
        minute = await judge.call("minutes", stocks.get_stock_bars, ask("SPY"))
        both = await judge.call("several symbols", stocks.get_stock_bars, ask(["SPY", "QQQ"]))
        five = await judge.call("five minutes", stocks.get_stock_bars, ask("SPY", TimeFrame(5, TimeFrameUnit.Minute)))
        hour = await judge.call(
            "hours", stocks.get_stock_bars, ask("SPY", TimeFrame.Hour, start=START - timedelta(hours=1))
        )
        day = await judge.call(
            "days", stocks.get_stock_bars, ask("SPY", TimeFrame.Day, start=START - timedelta(days=1))
        )
        some = await judge.call(
            "start and end",
            stocks.get_stock_bars,
            ask("SPY", start=START + timedelta(minutes=2), end=START + timedelta(minutes=4)),
        )
        newest = await judge.call("newest first", stocks.get_stock_bars, ask("SPY", sort=Sort.DESC))
        limited = await judge.call("limit", stocks.get_stock_bars, ask("SPY", limit=3))
        last = await judge.call("", stocks.get_stock_latest_bar, StockLatestBarRequest(symbol_or_symbols="SPY"))
        lasts = await judge.call(
            "several symbols", stocks.get_stock_latest_bar, StockLatestBarRequest(symbol_or_symbols=["SPY", "QQQ"])
        )
        coin = await judge.call(
            "minutes",
            coins.get_crypto_bars,
            CryptoBarsRequest(symbol_or_symbols="BTC/USD", timeframe=TimeFrame.Minute, start=START),
        )
        quarter = await judge.call(
            "a quarter of an hour",
            coins.get_crypto_bars,
            CryptoBarsRequest(
                symbol_or_symbols=["BTC/USD"], timeframe=TimeFrame(15, TimeFrameUnit.Minute), start=START
            ),
        )
        wrong = await judge.refused(
            "refused",
            coins.get_crypto_bars,
            CryptoBarsRequest(symbol_or_symbols="BTCUSD", timeframe=TimeFrame.Minute, start=START),
        )
        last_coin = await judge.call(
            "", coins.get_crypto_latest_bar, CryptoLatestBarRequest(symbol_or_symbols="BTC/USD")
        )

    assert not nothing.data.get("SPY")
    assert columns(minute["SPY"]) == recorded(SPY, 12)
    assert [bar.timestamp for bar in minute["SPY"]] == [START + timedelta(minutes=place) for place in range(12)]
    assert (both["SPY"], len(both["QQQ"])) == (minute["SPY"], 12)
    rows = recorded(SPY, 5)
    assert columns(five["SPY"])[0] == (
        rows[0][0],
        max(row[1] for row in rows),
        min(row[2] for row in rows),
        rows[-1][3],
        50.0,
    )
    assert len(five["SPY"]) == 3
    assert [(bar.timestamp, bar.volume) for bar in hour["SPY"]] == [(START - timedelta(minutes=30), 120.0)]
    assert (day["SPY"][0].timestamp, day["SPY"][0].volume) == (datetime(2024, 1, 2, 5, tzinfo=UTC), 120.0)
    assert some["SPY"] == minute["SPY"][2:5]
    assert newest["SPY"] == minute["SPY"][::-1]
    assert limited["SPY"] == minute["SPY"][:3]
    assert last["SPY"] == lasts["SPY"] == minute["SPY"][-1]
    assert lasts["QQQ"] == both["QQQ"][-1]
    assert columns(coin["BTC/USD"]) == recorded(COIN, 12)
    assert (quarter["BTC/USD"][0].open, quarter["BTC/USD"][0].volume) == (COIN.open[0], 120.0)
    assert wrong.status_code == 400
    assert wrong.message.startswith("invalid symbol: BTCUSD")
    assert last_coin["BTC/USD"] == coin["BTC/USD"][-1]


@covers(
    "StockHistoricalDataClient.get_stock_trades",
    "StockHistoricalDataClient.get_stock_trades: limit",
    "StockHistoricalDataClient.get_stock_quotes",
    "StockHistoricalDataClient.get_stock_quotes: newest first",
    "StockHistoricalDataClient.get_stock_latest_trade",
    "StockHistoricalDataClient.get_stock_latest_quote",
    "StockHistoricalDataClient.get_stock_snapshot",
    "CryptoHistoricalDataClient.get_crypto_trades",
    "CryptoHistoricalDataClient.get_crypto_quotes",
    "CryptoHistoricalDataClient.get_crypto_latest_trade",
    "CryptoHistoricalDataClient.get_crypto_latest_quote",
    "CryptoHistoricalDataClient.get_crypto_latest_orderbook",
    "CryptoHistoricalDataClient.get_crypto_snapshot",
)
async def test_trades_and_quotes(start_venue: StartVenue, judge: Judge) -> None:
    """Each bar's trades have its open, high, low, close and volume; what is latest is the end of what was."""
    series = minutes("SPY", 3, start=OPENING, base=400.0), minutes("BTC/USD", 3, start=OPENING)
    judge.move_to(start_venue(*series, speed=1200))
    async with subscribed(judge.venue, STOCKS, bars=["SPY"]) as data, flowing(judge.venue):
        await hear_bars(data, 3)
    stocks, coins = judge.stocks, judge.coins
    spy: dict[str, Any] = {"symbol_or_symbols": "SPY", "feed": DataFeed.IEX}
    btc: dict[str, Any] = {"symbol_or_symbols": "BTC/USD"}
    window: dict[str, Any] = {"start": START, "end": START + timedelta(minutes=3) - timedelta(microseconds=1)}
    trades = await judge.call("", stocks.get_stock_trades, StockTradesRequest(**spy, **window))
    few = await judge.call("limit", stocks.get_stock_trades, StockTradesRequest(**spy, **window, limit=2))
    quotes = await judge.call("", stocks.get_stock_quotes, StockQuotesRequest(**spy, **window))
    newest = await judge.call(
        "newest first", stocks.get_stock_quotes, StockQuotesRequest(**spy, **window, sort=Sort.DESC)
    )
    trade = await judge.call("", stocks.get_stock_latest_trade, StockLatestTradeRequest(**spy))
    quote = await judge.call("", stocks.get_stock_latest_quote, StockLatestQuoteRequest(**spy))
    snapshot = await judge.call("", stocks.get_stock_snapshot, StockSnapshotRequest(**spy))
    coin_trades = await judge.call("", coins.get_crypto_trades, CryptoTradesRequest(**btc, **window))
    coin_quotes = await judge.call("", coins.get_crypto_quotes, CryptoQuoteRequest(**btc, **window))
    coin_trade = await judge.call("", coins.get_crypto_latest_trade, CryptoLatestTradeRequest(**btc))
    coin_quote = await judge.call("", coins.get_crypto_latest_quote, CryptoLatestQuoteRequest(**btc))
    book = await judge.call("", coins.get_crypto_latest_orderbook, CryptoLatestOrderbookRequest(**btc))
    coin_snapshot = await judge.call("", coins.get_crypto_snapshot, CryptoSnapshotRequest(**btc))

    for found, source, symbol in ((trades, series[0], "SPY"), (coin_trades, series[1], "BTC/USD")):
        for place, row in enumerate(recorded(source, 3)):
            begin = START + timedelta(minutes=place)
            inside = [one for one in found[symbol] if begin <= one.timestamp < begin + timedelta(minutes=1)]
            prices = [one.price for one in inside]
            made = (prices[0], max(prices), min(prices), prices[-1], round(sum(one.size for one in inside), 6))
            assert made == row
    assert few["SPY"] == trades["SPY"][:2]
    assert newest["SPY"] == quotes["SPY"][::-1]
    for found in (quotes["SPY"], coin_quotes["BTC/USD"]):
        assert found
        assert all(one.bid_price <= one.ask_price for one in found)
    assert (trade["SPY"].price, quote["SPY"].timestamp >= quotes["SPY"][-1].timestamp) == (series[0].close[2], True)
    assert snapshot["SPY"].latest_trade == trade["SPY"]
    assert snapshot["SPY"].latest_quote == quote["SPY"]
    assert columns([snapshot["SPY"].minute_bar]) == recorded(series[0], 3)[-1:]
    assert (snapshot["SPY"].daily_bar.open, snapshot["SPY"].daily_bar.volume) == (series[0].open[0], 30.0)
    assert coin_trade["BTC/USD"].price == series[1].close[2]
    assert coin_snapshot["BTC/USD"].latest_quote == coin_quote["BTC/USD"]
    bids, asks = book["BTC/USD"].bids, book["BTC/USD"].asks
    assert (bids[0].price, asks[0].price) == (coin_quote["BTC/USD"].bid_price, coin_quote["BTC/USD"].ask_price)
    assert [level.price for level in bids] == sorted((level.price for level in bids), reverse=True)
    assert [level.price for level in asks] == sorted(level.price for level in asks)


@covers(
    "CorporateActionsClient.get_corporate_actions",
    "CorporateActionsClient.get_corporate_actions: pages",
    "NewsClient.get_news",
)
async def test_corporate_actions_and_news(judge: Judge) -> None:
    """What the operator did is listed by type, over as many pages as it takes; there is no news."""
    with VenueAdmin(judge.venue.admin) as admin:
        admin.step(bars=2)
        admin.split("SPY", old=1, new=2)
        admin.split("SPY", old=4, new=1)
        for cents in range(1, 102):
            admin.dividend("QQQ", Decimal(cents) / 100)
    actions: Any = CorporateActionsClient(KEY, SECRET, url_override=judge.venue.url)
    news: Any = NewsClient(KEY, SECRET, url_override=judge.venue.url)
    try:
        every = await judge.call("", actions.get_corporate_actions, CorporateActionsRequest(start=START.date()))
        some = await judge.call(
            "pages", actions.get_corporate_actions, CorporateActionsRequest(symbols=["QQQ"], limit=50)
        )
        articles = await judge.call("", news.get_news, NewsRequest(symbols="SPY"))
    finally:
        actions._session.close()
        news._session.close()

    (split,), (reverse,) = every["forward_splits"], every["reverse_splits"]
    assert (split.symbol, split.old_rate, split.new_rate, split.ex_date) == ("SPY", 1, 2, START.date())
    assert (reverse.old_rate, reverse.new_rate) == (4, 1)
    assert [dividend.rate for dividend in every["cash_dividends"]] == [cents / 100 for cents in range(1, 102)]
    assert every["cash_dividends"][:50] == some["cash_dividends"]
    assert articles.data == {"news": []}
