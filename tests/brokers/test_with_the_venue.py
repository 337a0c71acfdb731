"""Connector and streams against the built-in venue, a process of its own, over real sockets."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from holdfast.brokers import AlpacaConnector
from holdfast.brokers.alpaca_activities import revisions
from holdfast.brokers.alpaca_endpoints import data_stream_url, trade_stream_url
from holdfast.brokers.alpaca_wire import trade_update_events
from holdfast.data import AlpacaProvider
from holdfast.model import (
    ActivityKind,
    AssetClass,
    Bar,
    Execution,
    OrderIntent,
    OrderSide,
    OrderStatus,
    OrderType,
    TimeInForce,
)
from holdfast.model.errors import BrokerRefusedError, OutcomeUnknownError, UnknownSymbolError
from holdfast.model.events import OrderFilled
from holdfast.model.timestamps import NS_PER_MINUTE, parse_rfc3339, to_datetime
from holdfast.net import create_combined_throttler
from holdfast.realtime import MarketDataStream, UserStreamTracker

START = parse_rfc3339("2024-01-02T14:30:00Z")
KEY, SECRET = "PKTEST", "secret"


class Bench:
    """A venue process with a connector, both streams and the lock-step driver."""

    def __init__(self, url: str, admin: str) -> None:
        self.url, self.admin = url, admin
        throttler = create_combined_throttler({"alpaca_trading": {"limit": 10_000}, "alpaca_data": {"limit": 10_000}})
        self.connector = AlpacaConnector(
            throttler=throttler, api_key=KEY, api_secret=SECRET, base_url=url, data_url=url
        )
        self.user = UserStreamTracker(KEY, SECRET, url=trade_stream_url(url))
        self.bars: list[Bar] = []
        self.updates: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        data_url = data_stream_url(AssetClass.CRYPTO, stream_url=url)
        self.data = MarketDataStream(KEY, SECRET, data_url, ["BTC/USD"], self._on_bar)
        self.user.on_trade_update(self._on_update)

    def _on_bar(self, bar: Bar) -> None:
        self.bars.append(bar)
        self._news.set()

    def _on_update(self, update: dict[str, Any]) -> None:
        self.updates.append(update)
        self._news.set()

    async def _drained(self, answer: dict[str, Any]) -> None:
        """Return when all that was sent has arrived: it comes through other sockets than the answer."""
        while (self.user.received, self.data.received) != (answer["updates"], answer["bars"]):
            self._news.clear()
            await self._news.wait()

    async def advance(self, steps: int) -> None:
        """So many steps of the replay, each once everything that was sent has been received."""
        async with connect(self.admin.replace("http", "ws") + f"/lockstep?key={KEY}", proxy=None) as driver:
            answer = msgspec.json.decode(await driver.recv())
            await self._drained(answer)
            while steps:
                sent = {"updates": answer["updates"], "bars": answer["bars"]}
                await driver.send(msgspec.json.encode({"op": "advance", "next_timer": None, **sent}).decode())
                answer = msgspec.json.decode(await driver.recv())
                await self._drained(answer)
                steps -= answer["advanced"]

    def executions(self) -> list[Execution]:
        """What the stream told of executions."""
        events = [event for update in self.updates for event in trade_update_events(update, 0)]
        return [event.execution for event in events if isinstance(event, OrderFilled)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Everything started and connected; ended with its standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("serve_venue.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    ready = msgspec.json.decode(await process.stdout.readline())
    one = Bench(ready["url"], ready["admin"])
    await one.user.start()
    await one.data.start()
    yield one
    await one.user.stop()
    await one.data.stop()
    await one.connector.close()
    process.stdin.close()
    await process.communicate()


def intent(number: int, **changes: Any) -> OrderIntent:
    """A market order for half a coin."""
    fields: dict[str, Any] = {
        "client_order_id": f"hf-{number}",
        "symbol": "BTC/USD",
        "side": OrderSide.BUY,
        "quantity": Decimal("0.5"),
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.GTC,
        "created_at": START,
        **changes,
    }
    return OrderIntent(**fields)


@pytest.mark.parametrize("symbol", ["AAPL", "BTC/USD"])
async def test_the_provider_of_history_has_the_bars_of_the_connector(bench: Bench, symbol: str) -> None:
    """Two readers of the same pages: complete bars alone, with the same ends."""
    await bench.advance(12)
    start, end = to_datetime(START), to_datetime(START + 60 * NS_PER_MINUTE)
    throttler = create_combined_throttler()
    async with AlpacaProvider(KEY, SECRET, throttler, base_url=bench.url) as provider:
        bars = await provider.get_bars(symbol, "1Min", start, end)

    assert len(bars) >= 2
    assert bars == await bench.connector.fetch_bars(symbol, START, START + 60 * NS_PER_MINUTE, NS_PER_MINUTE)


async def test_an_order_lives_its_whole_life(bench: Bench) -> None:
    """Placed, filled, told by the stream and by the activities as the same execution, held as a position net of fee."""
    assert bench.user.is_connected()
    assert bench.data.is_connected()
    await bench.advance(2)
    before = await bench.connector.fetch_account()
    report = await bench.connector.place(intent(1))
    assert (report.client_order_id, report.symbol, report.quantity) == ("hf-1", "BTC/USD", Decimal("0.5"))
    await bench.advance(3)

    (told,) = bench.executions()
    (listed,) = await bench.connector.fetch_executions(since=START)
    assert (told.execution_id, told.broker_id, told.quantity) == (listed.execution_id, listed.broker_id, Decimal("0.5"))
    assert (told.price, told.cum_qty, told.at) == (listed.price, listed.cum_qty, listed.at)

    found = await bench.connector.find_order("hf-1")
    assert found is not None
    assert (found.status, found.filled_qty) == (OrderStatus.FILLED, Decimal("0.5"))
    assert await bench.connector.fetch_orders(since=START) == (found,)
    assert await bench.connector.fetch_open_orders() == ()

    (position,) = await bench.connector.fetch_positions()
    assert (position.symbol, position.quantity) == ("BTC/USD", Decimal("0.49875"))
    account = await bench.connector.fetch_account()
    assert account.cash == before.cash - told.price * told.quantity


async def test_bars_of_the_stream_are_the_bars_of_the_past(bench: Bench) -> None:
    """With the same ends; no bar is missed."""
    while len(bench.bars) < 5:
        await bench.advance(1)

    assert [bar.ts for bar in bench.bars] == [START + n * NS_PER_MINUTE for n in range(1, len(bench.bars) + 1)]
    end = bench.bars[-1].ts
    assert await bench.connector.fetch_bars("BTC/USD", START, end, NS_PER_MINUTE) == bench.bars


async def test_what_the_venue_refuses_has_its_verdict(bench: Bench) -> None:
    """Arrived before, poor, unknown, not there: each as the kernel needs to hear it."""
    await bench.advance(2)
    assert await bench.connector.find_order("hf-1") is None
    placed = await bench.connector.place(intent(1, order_type=OrderType.LIMIT, limit_price=Decimal(1000)))
    with pytest.raises(OutcomeUnknownError, match="its id is taken"):
        await bench.connector.place(intent(1))
    with pytest.raises(BrokerRefusedError, match="insufficient"):
        await bench.connector.place(intent(2, quantity=Decimal(3)))
    assert await bench.connector.find_order("hf-2") is None
    with pytest.raises(UnknownSymbolError):
        await bench.connector.fetch_asset("NOPE")

    await bench.connector.request_cancel(placed.broker_id)
    with pytest.raises(BrokerRefusedError, match="order not found"):
        await bench.connector.request_cancel("00000000-0000-4000-8000-000000000000")
    found = await bench.connector.find_order("hf-1")
    assert found is not None
    assert found.status is OrderStatus.CANCELED


async def test_a_symbol_of_each_class_is_described(bench: Bench) -> None:
    """The slash survives the path."""
    coin, share = await bench.connector.fetch_asset("BTC/USD"), await bench.connector.fetch_asset("AAPL")

    assert (coin.symbol, coin.asset_class, coin.min_trade_increment) == ("BTC/USD", AssetClass.CRYPTO, "0.000000001")
    assert (share.symbol, share.asset_class, share.shortable) == ("AAPL", AssetClass.US_EQUITY, True)
    clock = await bench.connector.fetch_clock()
    assert clock.now == START


async def test_a_second_stream_of_the_account_waits_for_the_first_to_go(bench: Bench) -> None:
    """One too many is no refusal of our keys."""
    url = bench.user.get_stats()["url"]
    second = UserStreamTracker(KEY, SECRET, url=url)
    await second.start()
    assert not second.is_connected()
    assert bench.user.is_connected()
    await bench.user.stop()
    async with asyncio.timeout(20):
        await second.wait_connected()
    await second.stop()


async def test_more_orders_and_fills_than_a_page_holds_are_walked_whole(bench: Bench) -> None:
    """Three pages of orders, all submitted at one moment, and two of executions of one millisecond; none lost, none twice."""
    await bench.advance(2)
    resting = [
        intent(
            n,
            symbol="AAPL",
            quantity=Decimal(1),
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.DAY,
            limit_price=Decimal(1),
        )
        for n in range(1_100)
    ]
    trading = [intent(n, quantity=Decimal("0.001")) for n in range(2_000, 2_130)]
    placed: list[str] = []
    for first in range(0, 1_100, 50):
        reports = await asyncio.gather(*(bench.connector.place(one) for one in resting[first : first + 50]))
        placed += [report.broker_id for report in reports]
    placed += [(await bench.connector.place(one)).broker_id for one in trading]
    await bench.advance(3)

    seen = await bench.connector.fetch_orders(since=START)
    assert sorted(report.broker_id for report in seen) == sorted(placed)
    assert len({report.submitted_at for report in seen}) == 1
    assert sorted(report.broker_id for report in await bench.connector.fetch_open_orders()) == sorted(placed[:1_100])
    listed = await bench.connector.fetch_executions(since=START)
    assert len(listed) == 130
    assert sorted(one.execution_id for one in listed) == sorted(one.execution_id for one in bench.executions())
    assert {report.updated_at for report in seen if report.status is OrderStatus.FILLED} == {listed[0].at}


async def test_a_busted_trade_and_posted_activities_come_as_what_they_are(bench: Bench) -> None:
    """P3, P4: over the real stream and the real REST; position and cash are the venue's, and nothing looks like a fill."""
    await bench.advance(2)
    before = await bench.connector.fetch_account()
    await bench.connector.place(intent(1))
    await bench.advance(3)
    (told,) = bench.executions()
    seen = len(bench.updates)

    async with httpx.AsyncClient(base_url=f"{bench.admin}/accounts/{KEY}", trust_env=False) as operator:
        assert (await operator.post("/busts", json={"execution_id": told.execution_id})).status_code == 200
        body = {"activity_type": "CFEE", "symbol": "BTC/USD", "qty": "0.25", "net_amount": "-3"}
        assert (await operator.post("/activities", json=body)).status_code == 200
    await bench.advance(1)

    (busted,) = [event for update in bench.updates[seen:] for event in revisions(update, 7)]
    assert (busted.activity.kind, busted.activity.execution_id) == (ActivityKind.BUST, told.execution_id)
    assert bench.executions() == [told]
    (posted,) = await bench.connector.fetch_adjustments(since=START)
    assert (posted.kind, posted.symbol) == (ActivityKind.FEE, "BTC/USD")
    assert (posted.quantity, posted.cash) == (Decimal("0.25"), Decimal(-3))
    (position,) = await bench.connector.fetch_positions()
    assert (position.quantity, position.current_price is not None) == (Decimal("0.25"), True)
    assert (await bench.connector.fetch_account()).cash == before.cash - 3
