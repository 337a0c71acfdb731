"""The official SDK against the venue, unchanged: what keeps the venue honest about Alpaca's protocols."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.venue.helpers import KEY, OPENING, SECRET, Bot, StartVenue, VenueProcess, hear, minutes, say

pytestmark = [
    # The SDK uses what newer versions of its own dependencies deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK honours the proxies of the environment, which do not lead to this machine's loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def trading(venue: VenueProcess) -> Iterator[Any]:
    """The SDK's trading client."""
    from alpaca.trading.client import TradingClient  # noqa: PLC0415 - its import warns

    client = TradingClient(KEY, SECRET, url_override=venue.url)
    yield client
    client._session.close()


@contextlib.asynccontextmanager
async def running(stream: Any) -> AsyncIterator[None]:
    """One of the SDK's streams, from its start to its end."""
    task = asyncio.create_task(stream._run_forever())
    try:
        yield
    finally:
        await stream.stop_ws()
        await stream.close()
        await asyncio.gather(task, return_exceptions=True)


async def move(driver: ClientConnection, updates: int, bars: int) -> dict[str, Any]:
    """Take one step as soon as the venue takes it."""
    async with asyncio.timeout(20):
        while True:
            await say(driver, {"op": "advance", "updates": updates, "bars": bars})
            answer: dict[str, Any] = await hear(driver)
            if answer["advanced"]:
                return answer
            await asyncio.sleep(0.01)


class Heard:
    """What a stream's handler was given, one by one."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    async def handler(self, message: Any) -> None:
        """To be subscribed with."""
        self._queue.put_nowait(message)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return self._queue.empty()

    async def next(self) -> Any:
        """The next message."""
        async with asyncio.timeout(20):
            return await self._queue.get()


async def test_streams_carry_a_trade(venue: VenueProcess, trading: Any) -> None:
    """Trade updates in JSON, bars in MessagePack, and both parse into the SDK's models."""
    from alpaca.data.live.crypto import CryptoDataStream  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.enums import OrderSide, TimeInForce  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.requests import MarketOrderRequest  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.stream import TradingStream  # noqa: PLC0415 - imports when needed: the SDK takes a second

    updates, bars = Heard(), Heard()
    user = TradingStream(KEY, SECRET, url_override=venue.socket_url + "/stream")
    user.subscribe_trade_updates(updates.handler)
    data = CryptoDataStream(KEY, SECRET, url_override=venue.socket_url + "/v1beta3/crypto/us")
    data.subscribe_bars(bars.handler, "BTC/USD")
    request = MarketOrderRequest(symbol="BTC/USD", qty=0.1, side=OrderSide.BUY, time_in_force=TimeInForce.GTC)
    async with (
        running(user),
        running(data),
        connect(f"{venue.lockstep_url}?key={KEY}", proxy=None) as driver,
    ):
        await hear(driver)
        await move(driver, 0, 0)
        bar = await bars.next()
        order = await asyncio.to_thread(trading.submit_order, request)
        new = await updates.next()
        await move(driver, 1, 1)  # the next bar's first trade
        fill = await updates.next()
    fills = await asyncio.to_thread(trading.get, "/account/activities", {"activity_types": "FILL"})

    assert (bar.symbol, bar.timestamp, bar.volume) == ("BTC/USD", datetime(2022, 1, 3, tzinfo=UTC), 10)
    assert [update.event for update in (new, fill)] == ["new", "fill"]
    assert new.order.id == fill.order.id == order.id
    assert (fill.qty, fill.position_qty, fill.order.filled_qty) == (0.1, 0.09975, "0.1")
    assert str(fill.execution_id) == fills[0]["id"].partition("::")[2]


async def test_the_trading_client_reads_and_writes_every_model(venue: VenueProcess, trading: Any) -> None:
    """Account, assets, orders, cancels, positions, configuration; and errors keep code and message."""
    from alpaca.common.exceptions import APIError  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.enums import AssetClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.requests import (  # noqa: PLC0415 - imports when needed: the SDK takes a second
        GetAssetsRequest,
        GetOrdersRequest,
        LimitOrderRequest,
        MarketOrderRequest,
        ReplaceOrderRequest,
    )

    symbol, tif = "BTC/USD", TimeInForce.GTC
    async with Bot.connected(venue) as bot:
        await bot.advance()
        account = trading.get_account()
        assets = trading.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO))
        asset = trading.get_asset(symbol)
        bought = trading.submit_order(MarketOrderRequest(symbol=symbol, qty=0.1, side=OrderSide.BUY, time_in_force=tif))
        await bot.run(2)
    tiny = LimitOrderRequest(symbol=symbol, qty=1e-09, limit_price=30_000, side=OrderSide.BUY, time_in_force=tif)
    with pytest.raises(APIError) as refused:
        trading.submit_order(tiny)
    resting = trading.submit_order(
        LimitOrderRequest(symbol="BTCUSD", qty=2e-05, limit_price=50_000, side=OrderSide.SELL, time_in_force=tif)
    )
    found = trading.get_order_by_client_id(bought.client_order_id)
    opened = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, symbols=[symbol]))
    positions = trading.get_all_positions()
    position = trading.get_open_position("BTCUSD")
    moved = trading.replace_order_by_id(resting.id, ReplaceOrderRequest(limit_price=51_000.0, client_order_id="moved"))
    replaced = trading.get_order_by_id(resting.id)
    with pytest.raises(APIError) as not_open:
        trading.replace_order_by_id(resting.id, ReplaceOrderRequest(limit_price=52_000.0))
    trading.cancel_order_by_id(moved.id)
    canceled = trading.cancel_orders()
    closing = trading.close_position("BTCUSD")
    configuration = trading.get_account_configurations()

    assert (account.cash, account.shorting_enabled, account.status.value) == ("100000", True, "ACTIVE")
    assert [one.symbol for one in assets] == [symbol] == [asset.symbol]
    assert (found.id, found.status, found.filled_qty) == (bought.id, OrderStatus.FILLED, "0.1")
    assert "cost basis must be >= minimal amount of order 10" in refused.value.message
    assert [one.id for one in opened] == [resting.id]
    assert (resting.qty, resting.limit_price) == ("0.00002", "50000")
    assert [one.qty for one in positions] == [position.qty] == ["0.09975"]
    assert (moved.client_order_id, moved.limit_price, moved.qty) == ("moved", "51000", "0.00002")
    assert (moved.replaces, moved.status) == (resting.id, OrderStatus.NEW)
    assert (replaced.status, replaced.replaced_by) == (OrderStatus.REPLACED, moved.id)
    assert replaced.replaced_at is not None
    assert "order is not open" in not_open.value.message
    assert canceled == []
    assert (closing.side, Decimal(closing.qty)) == (OrderSide.SELL, Decimal("0.09975"))
    assert configuration.no_shorting is False


async def test_history_clients_read_bars(start_venue: StartVenue) -> None:
    """Stocks with keys, crypto without; the clock and the calendar parse."""
    from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.data.live.stock import StockDataStream  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.data.requests import (  # noqa: PLC0415 - imports when needed: the SDK takes a second
        CryptoBarsRequest,
        CryptoLatestBarRequest,
        StockBarsRequest,
        StockLatestBarRequest,
    )
    from alpaca.data.timeframe import TimeFrame  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.client import TradingClient  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.requests import GetCalendarRequest  # noqa: PLC0415 - imports when needed: the SDK takes a second

    venue = start_venue(minutes("SPY", 30, start=OPENING, base=400.0), minutes("BTC/USD", 30, start=OPENING))
    heard, bars = Heard(), []
    data = StockDataStream(KEY, SECRET, url_override=venue.socket_url + "/v2/iex")
    data.subscribe_bars(heard.handler, "SPY")
    async with (
        running(data),
        connect(venue.socket_url + "/stream", proxy=None) as trade,
        connect(f"{venue.lockstep_url}?key={KEY}", proxy=None) as driver,
    ):
        await say(trade, {"action": "auth", "key": KEY, "secret": SECRET})
        await say(trade, {"action": "listen", "data": {"streams": ["trade_updates"]}})
        await hear(driver)
        for count in range(4):
            await move(driver, 0, count)
            bars.append(await heard.next())

    start = datetime(2024, 1, 2, tzinfo=UTC)
    stocks: Any = StockHistoricalDataClient(KEY, SECRET, url_override=venue.url)
    coins: Any = CryptoHistoricalDataClient(url_override=venue.url)
    trading: Any = TradingClient(KEY, SECRET, url_override=venue.url)
    try:
        call = asyncio.to_thread
        spy = await call(
            stocks.get_stock_bars, StockBarsRequest(symbol_or_symbols="SPY", timeframe=TimeFrame.Minute, start=start)
        )
        btc = await call(
            coins.get_crypto_bars,
            CryptoBarsRequest(symbol_or_symbols=["BTC/USD"], timeframe=TimeFrame.Minute, start=start),
        )
        last_spy = await call(stocks.get_stock_latest_bar, StockLatestBarRequest(symbol_or_symbols="SPY"))
        last_btc = await call(coins.get_crypto_latest_bar, CryptoLatestBarRequest(symbol_or_symbols="BTC/USD"))
        clock = await call(trading.get_clock)
        calendar = await call(
            trading.get_calendar,
            GetCalendarRequest(start=datetime(2024, 7, 3).date(), end=datetime(2024, 7, 5).date()),  # noqa: DTZ001 - days
        )
    finally:
        for client in (stocks, coins, trading):
            client._session.close()

    assert len(bars) == len(spy.data["SPY"]) == len(btc.data["BTC/USD"]) == 4
    assert [bar.close for bar in bars] == [bar.close for bar in spy.data["SPY"]]
    assert (last_spy["SPY"].close, last_btc["BTC/USD"].close) == (
        spy.data["SPY"][-1].close,
        btc.data["BTC/USD"][-1].close,
    )
    assert (clock.is_open, clock.timestamp.astimezone(UTC)) == (True, datetime(2024, 1, 2, 14, 34, tzinfo=UTC))
    assert [(day.date.isoformat(), f"{day.close:%H:%M}") for day in calendar] == [
        ("2024-07-03", "13:00"),
        ("2024-07-05", "16:00"),
    ]
