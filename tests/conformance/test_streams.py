"""The SDK's streams: trade updates as JSON in binary frames, market data as MessagePack, subscriptions in fragments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.conformance.harness import Heard, Judge, Market, covers, running
from tests.conformance.sdk import CryptoDataStream, StockDataStream, enums, requests
from tests.conformance.test_orders import limit, market
from tests.venue.helpers import OPENING, SECRET, StartVenue, minutes
from tests.venue.market_watch import flowing

pytestmark = [
    # The SDK uses what newer versions of its own dependencies deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_DONE = enums.TradeEvent


@covers(
    "TradingStream new",
    "TradingStream fill",
    "TradingStream fill of a coin",
    "TradingStream fill of a short sale",
    "TradingStream canceled",
    "TradingStream canceled by ioc",
    "TradingStream replaced",
    "TradingStream new in its place",
    "TradingStream trade_bust",
)
async def test_trade_updates(judge: Judge) -> None:
    """Each event with the order as it was then, and what is of this execution alone."""
    client = judge.trading
    kinds: dict[str, Any] = {}

    async def next_of(what: str) -> Any:
        kinds[what] = await judge.event(what, venue.updates)
        return kinds[what]

    async with Market.opened(judge, "SPY", "QQQ") as venue:
        await venue.step()
        order = client.submit_order(market(10))
        new = await next_of("new")
        await venue.step(2)
        fill = await next_of("fill")
        client.submit_order(market(0.1, symbol="BTC/USD"))
        await venue.updates.next()
        await venue.step(3)
        coin = await next_of("fill of a coin")
        client.submit_order(market(2, enums.OrderSide.SELL, "QQQ"))
        await venue.updates.next()
        await venue.step(3)
        short = await next_of("fill of a short sale")
        old = client.submit_order(limit(300, 5))
        await venue.updates.next()
        young = client.replace_order_by_id(old.id, requests.ReplaceOrderRequest(limit_price=301))
        replaced, renewed = await next_of("replaced"), await next_of("new in its place")
        client.cancel_order_by_id(young.id)
        canceled = await next_of("canceled")
        client.submit_order(limit(300, 5, time_in_force=enums.TimeInForce.IOC))
        await venue.updates.next()
        await venue.step(3)
        ioc = await next_of("canceled by ioc")
        async with httpx.AsyncClient(trust_env=False) as admin:
            busts = f"{judge.venue.admin}/accounts/key/busts"
            await admin.post(busts, json={"execution_id": str(fill.execution_id)})
        bust = await next_of("trade_bust")
        rows = client.get("/account/activities/FILL")

    assert [(update.event, update.order.status.value) for update in kinds.values()] == [
        (_DONE.NEW, "new"),
        (_DONE.FILL, "filled"),
        (_DONE.FILL, "filled"),
        (_DONE.FILL, "filled"),
        (_DONE.REPLACED, "replaced"),
        (_DONE.NEW, "new"),
        (_DONE.CANCELED, "canceled"),
        (_DONE.CANCELED, "canceled"),
        (bust.event, "filled"),
    ]
    assert getattr(bust.event, "value", bust.event) == "trade_bust"
    assert new.order.id == fill.order.id == bust.order.id == order.id
    assert (fill.qty, fill.position_qty, fill.order.filled_qty) == (10.0, 10.0, "10")
    assert fill.timestamp == fill.order.filled_at
    assert (coin.qty, coin.position_qty, coin.order.symbol) == (0.1, 0.09975, "BTC/USD")
    assert (short.position_qty, short.order.side.value) == (-2.0, "sell")
    assert (replaced.order.id, replaced.order.replaced_by, renewed.order.replaces) == (old.id, young.id, old.id)
    assert canceled.order.canceled_at == canceled.timestamp
    assert ioc.order.filled_qty == "0"
    assert str(fill.execution_id) in {row["id"].partition("::")[2] for row in rows}


@covers("TradingStream partial_fill", "TradingStream fill of the rest", "TradingStream expired")
async def test_trade_updates_of_what_takes_its_time(start_venue: StartVenue, judge: Judge) -> None:
    """A tenth of a bar's volume at a time; and the day's orders end with the day."""
    late = OPENING + 6 * 3600 * 10**9 + 1500 * 10**9  # five minutes before the close
    judge.move_to(start_venue(minutes("SPY", 5, start=late, base=400.0)))
    client = judge.trading
    async with Market.opened(judge, "SPY") as venue:
        await venue.step()
        client.submit_order(market(2))
        await venue.updates.next()
        await venue.step(2)
        part = await judge.event("partial_fill", venue.updates)
        await venue.step(2)
        rest = await judge.event("fill of the rest", venue.updates)
        client.submit_order(limit(100))
        await venue.updates.next()
        while not venue.done:
            await venue.step()
        expired = await judge.event("expired", venue.updates)

    assert [(update.event, update.qty, update.order.filled_qty, update.position_qty) for update in (part, rest)] == [
        (_DONE.PARTIAL_FILL, 1.0, "1", 1.0),
        (_DONE.FILL, 1.0, "2", 2.0),
    ]
    assert part.execution_id != rest.execution_id
    assert (expired.event, expired.order.status.value) == (_DONE.EXPIRED, "expired")
    assert expired.order.expired_at == datetime(2024, 1, 2, 21, 0, tzinfo=UTC)


@covers(
    "StockDataStream trade",
    "StockDataStream quote",
    "StockDataStream daily bar",
    "CryptoDataStream trade",
    "CryptoDataStream quote",
    "CryptoDataStream order book",
    "CryptoDataStream daily bar",
)
async def test_every_channel_is_streamed(start_venue: StartVenue, judge: Judge) -> None:
    """In the SDK's models, which say what they are about."""
    judge.move_to(start_venue(minutes("SPY", start=OPENING, base=400.0), minutes(start=OPENING), speed=240))
    kinds = ("trade", "quote", "daily bar", "order book")
    stocks = {kind: Heard("StockDataStream") for kind in kinds[:3]}
    coins = {kind: Heard("CryptoDataStream") for kind in kinds}
    stock: Any = StockDataStream("other", SECRET, url_override=judge.venue.socket_url + "/v2/iex")
    coin: Any = CryptoDataStream("other", SECRET, url_override=judge.venue.socket_url + "/v1beta3/crypto/us")
    for stream, heard, symbol in ((stock, stocks, "SPY"), (coin, coins, "BTC/USD")):
        stream.subscribe_trades(heard["trade"].handler, symbol)
        stream.subscribe_quotes(heard["quote"].handler, symbol)
        stream.subscribe_daily_bars(heard["daily bar"].handler, symbol)
    coin.subscribe_orderbooks(coins["order book"].handler, "BTC/USD")
    async with running(stock), running(coin), flowing(judge.venue):
        found = {kind: await judge.event(kind, heard) for kind, heard in stocks.items()}
        coined = {kind: await judge.event(kind, heard) for kind, heard in coins.items()}

    assert {one.symbol for one in found.values()} == {"SPY"}
    assert {one.symbol for one in coined.values()} == {"BTC/USD"}
    assert found["trade"].price > 0
    assert found["trade"].size > 0
    assert 0 < found["quote"].bid_price <= found["quote"].ask_price
    assert 0 < coined["quote"].bid_price <= coined["quote"].ask_price
    assert found["daily bar"].open == 400.0
    assert coined["daily bar"].open == 40_000.0
    assert coined["order book"].bids[0].price < coined["order book"].asks[0].price


@covers("StockDataStream bars", "StockDataStream bars of all symbols", "CryptoDataStream bars")
async def test_bars_are_streamed(judge: Judge) -> None:
    """The subscriber of one symbol hears that one, the subscriber of all hears all; stamps are the bars' starts."""
    stocks, every, coins = Heard("StockDataStream"), Heard("StockDataStream"), Heard("CryptoDataStream")
    streams: list[Any] = [
        StockDataStream("other", SECRET, url_override=judge.venue.socket_url + "/v2/iex"),
        StockDataStream("third", SECRET, url_override=judge.venue.socket_url + "/v2/sip"),
        CryptoDataStream("other", SECRET, url_override=judge.venue.socket_url + "/v1beta3/crypto/us"),
    ]
    for stream, heard, symbol in zip(streams, (stocks, every, coins), ("QQQ", "*", "BTC/USD"), strict=True):
        stream.subscribe_bars(heard.handler, symbol)
    async with Market.opened(judge, "SPY") as venue, running(streams[0]), running(streams[1]), running(streams[2]):
        # Others than the driver's own streams may begin to listen a bar late: step until each has heard one.
        while not (stocks.count and every.count and coins.count) and not venue.done:
            await venue.step()
        bar = await judge.event("bars", stocks)
        first = await judge.event("bars of all symbols", every)
        await every.until(every.count + 1 if every.count % 2 else every.count)
        coin = await judge.event("bars", coins)
        others = {one.symbol for one in every.take()} | {first.symbol}

    for one, symbol in ((bar, "QQQ"), (coin, "BTC/USD")):
        series = minutes(symbol, 60, start=OPENING, base=40_000.0 if "/" in symbol else 300.0)
        place = int((one.timestamp - datetime(2024, 1, 2, 14, 30, tzinfo=UTC)).total_seconds()) // 60
        assert (one.symbol, one.open, one.close, one.volume) == (
            symbol,
            series.open[place],
            series.close[place],
            10.0,
        )
    assert others == {"SPY", "QQQ"}
