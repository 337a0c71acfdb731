"""The SDK's market-data clients: what the venue tells of the past, as far as the replay has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.harness import Judge, Market, covers
from tests.conformance.sdk import (
    CryptoBarsRequest,
    CryptoLatestBarRequest,
    DataFeed,
    StockBarsRequest,
    StockLatestBarRequest,
    TimeFrame,
    TimeFrameUnit,
)
from tests.venue.helpers import OPENING, minutes

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
        newest = await judge.call("newest first", stocks.get_stock_bars, ask("SPY", sort="desc"))
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
