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

from tests.venue.helpers import KEY, OPENING, SECRET, StartVenue, VenueProcess, hear, minutes, say

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


async def test_trading_client_and_streams_trade_a_session(venue: VenueProcess, trading: Any) -> None:
    """Account, assets, orders, streams in JSON and MessagePack, positions, activities: every model parses."""
    from alpaca.common.exceptions import APIError  # noqa: PLC0415
    from alpaca.data.live.crypto import CryptoDataStream  # noqa: PLC0415
    from alpaca.trading.enums import AssetClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce  # noqa: PLC0415
    from alpaca.trading.requests import (  # noqa: PLC0415
        GetAssetsRequest,
        GetOrdersRequest,
        LimitOrderRequest,
        MarketOrderRequest,
    )
    from alpaca.trading.stream import TradingStream  # noqa: PLC0415

    updates: list[Any] = []
    bars: list[Any] = []

    async def on_update(update: Any) -> None:
        updates.append(update)

    async def on_bar(bar: Any) -> None:
        bars.append(bar)

    user = TradingStream(KEY, SECRET, url_override=venue.socket_url + "/stream")
    user.subscribe_trade_updates(on_update)
    data = CryptoDataStream(KEY, SECRET, url_override=venue.socket_url + "/v1beta3/crypto/us")
    data.subscribe_bars(on_bar, "BTC/USD")
    call = asyncio.to_thread
    async with (
        running(user),
        running(data),
        connect(f"{venue.lockstep_url}?key={KEY}", proxy=None) as driver,
    ):
        await hear(driver)
        await move(driver, 0, 0)
        account = await call(trading.get_account)
        assets = await call(trading.get_all_assets, GetAssetsRequest(asset_class=AssetClass.CRYPTO))
        asset = await call(trading.get_asset, "BTC/USD")
        bought = MarketOrderRequest(symbol="BTC/USD", qty=0.1, side=OrderSide.BUY, time_in_force=TimeInForce.GTC)
        order = await call(trading.submit_order, bought)
        rests = LimitOrderRequest(
            symbol="BTCUSD", qty=2e-05, limit_price=50_000, side=OrderSide.SELL, time_in_force=TimeInForce.GTC
        )
        while len(updates) < 1 or len(bars) < 1:
            await asyncio.sleep(0.01)
        await move(driver, 1, 1)  # the next bar's first trade: the fill
        while len(updates) < 2:
            await asyncio.sleep(0.01)
        resting = await call(trading.submit_order, rests)
        found = await call(trading.get_order_by_client_id, order.client_order_id)
        opened = await call(trading.get_orders, GetOrdersRequest(status=QueryOrderStatus.OPEN, symbols=["BTC/USD"]))
        positions = await call(trading.get_all_positions)
        position = await call(trading.get_open_position, "BTCUSD")
        fills = await call(trading.get, "/account/activities", {"activity_types": "FILL"})
        with pytest.raises(APIError, match="minimal amount"):
            await call(
                trading.submit_order,
                rests.model_copy(update={"qty": 1e-09, "side": OrderSide.BUY, "limit_price": 30_000}),
            )
        await call(trading.cancel_order_by_id, resting.id)
        canceled = await call(trading.cancel_orders)
        closing = await call(trading.close_position, "BTCUSD")
        configuration = await call(trading.get_account_configurations)

    assert (account.cash, account.shorting_enabled, str(account.status.value)) == ("100000", True, "ACTIVE")
    assert [one.symbol for one in assets] == ["BTC/USD"] == [asset.symbol]
    assert (found.id, found.status, found.filled_qty) == (order.id, OrderStatus.FILLED, "0.1")
    assert [one.id for one in opened] == [resting.id]
    assert (resting.qty, resting.limit_price) == ("0.00002", "50000")
    assert [one.qty for one in positions] == [position.qty] == ["0.09975"]
    assert [update.event.value if hasattr(update.event, "value") else update.event for update in updates[:2]] == [
        "new",
        "fill",
    ]
    assert (updates[1].qty, updates[1].position_qty, updates[1].order.id) == (0.1, 0.09975, order.id)
    assert str(updates[1].execution_id) == fills[0]["id"].partition("::")[2]
    assert (bars[0].symbol, bars[0].timestamp) == ("BTC/USD", datetime(2022, 1, 3, tzinfo=UTC))
    assert canceled == []
    assert (closing.side, Decimal(closing.qty)) == (OrderSide.SELL, Decimal("0.09975"))
    assert configuration.no_shorting is False


async def test_history_clients_read_bars(start_venue: StartVenue) -> None:
    """Stocks with keys, crypto without; the clock and the calendar parse."""
    from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient  # noqa: PLC0415
    from alpaca.data.live.stock import StockDataStream  # noqa: PLC0415
    from alpaca.data.requests import (  # noqa: PLC0415
        CryptoBarsRequest,
        CryptoLatestBarRequest,
        StockBarsRequest,
        StockLatestBarRequest,
    )
    from alpaca.data.timeframe import TimeFrame  # noqa: PLC0415
    from alpaca.trading.client import TradingClient  # noqa: PLC0415
    from alpaca.trading.requests import GetCalendarRequest  # noqa: PLC0415

    venue = start_venue(minutes("SPY", 30, start=OPENING, base=400.0), minutes("BTC/USD", 30, start=OPENING))
    bars: list[Any] = []

    async def on_bar(bar: Any) -> None:
        bars.append(bar)

    data = StockDataStream(KEY, SECRET, url_override=venue.socket_url + "/v2/iex")
    data.subscribe_bars(on_bar, "SPY")
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
            while len(bars) <= count:
                await asyncio.sleep(0.01)

    start = datetime(2024, 1, 2, tzinfo=UTC)
    stocks = StockHistoricalDataClient(KEY, SECRET, url_override=venue.url)
    coins = CryptoHistoricalDataClient(url_override=venue.url)
    trading = TradingClient(KEY, SECRET, url_override=venue.url)
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
