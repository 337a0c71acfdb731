"""The public names, each used alone as a library, and the integration guide's flow against a running venue.

These are promises: a name or a call shape that changes here breaks its users' programs. So the tests keep to
what is promised, in the guide's own words where it has them, and use nothing else of the package.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from holdfast.brokers import AlpacaConnector
from holdfast.data import PolygonProvider
from holdfast.di import Container
from holdfast.market import SecurityCache, SymbolProperties, SymbolPropertiesCache
from holdfast.model import Signal, Verdict
from holdfast.model.errors import OrderBlockedError, UnknownSymbolError
from holdfast.net import RateLimit, Throttler, create_combined_throttler
from holdfast.notify import Notifier
from holdfast.realtime import UserStreamTracker
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import (
    CooldownPeriod,
    LowProfitSymbols,
    MaxDrawdown,
    ProtectionManager,
    ProtectionResult,
    StoplossGuard,
    create_default_protections,
)
from holdfast.state import OrderStateMachine, PositionStore
from holdfast.state.order_tracker import FillEvent, InFlightOrder, OrderSide, OrderTracker, OrderType
from holdfast.strategies import Strategy, VwapMeanReversion
from holdfast.testing.processes import VenueBooks, VenueProcess
from holdfast.time import BacktestClock, Clock, RealTimeClock, get_clock
from tests.e2e.helpers import SAMPLE_SYMBOL, Commands, save_waves

NOON = datetime(2025, 1, 6, 12, tzinfo=UTC)
KEYS = {"APCA-API-KEY-ID": "KEY", "APCA-API-SECRET-KEY": "SECRET"}


@dataclass
class Trade:
    """Any object with these will do as a completed trade."""

    symbol: str
    profit: float
    close_timestamp: datetime


# -- the guide's own checks -----------------------------------------------------------------------


def test_clock_abstraction() -> None:
    """Real time is aware UTC; a backtest clock advances by exactly what it is told, and never back."""
    clock: Clock = RealTimeClock()
    assert clock.now().tzinfo == UTC
    start = datetime(2025, 1, 1, tzinfo=UTC)
    backtest = BacktestClock(start)
    assert backtest.now() == start
    backtest.advance(timedelta(hours=1))
    assert backtest.now() == start + timedelta(hours=1)
    backtest.advance(timedelta(microseconds=1))
    assert backtest.now() == start + timedelta(hours=1, microseconds=1)
    with pytest.raises(ValueError, match="back"):
        backtest.advance(timedelta(seconds=-1))
    assert backtest.now() == start + timedelta(hours=1, microseconds=1)
    assert isinstance(get_clock({"account": {"mode": "paper"}}), RealTimeClock)
    assert isinstance(clock.is_market_hours(), bool)


async def test_throttler() -> None:
    """Five calls pass at once and the sixth waits; sync and async functions, with their arguments."""
    throttler = Throttler({"test": RateLimit(5, 1.0)})
    before = time.monotonic()
    for number in range(5):
        assert await throttler.execute("test", lambda x: x, number) == number
    assert time.monotonic() - before < 0.9

    async def add(one: int, *, two: int) -> int:
        return one + two

    assert await throttler.execute("test", add, 1, two=2) == 3
    assert time.monotonic() - before >= 0.9
    assert throttler.get_stats()["test"]["total_waits"] == 1
    assert throttler.get_stats()["test"]["total_calls"] == 6
    assert {"alpaca_orders", "alpaca_account", "polygon_bars"} <= set(create_combined_throttler().get_stats())


def test_orphan_detection() -> None:
    """A broker order that is unknown here is an orphan; one that is open here and unknown there is a shadow."""
    tracker = OrderTracker()
    assert "BROKER_001" in tracker.get_orphaned_orders({"BROKER_001": {"status": "FILLED"}})

    order = InFlightOrder(
        client_order_id="ORD_1",
        symbol="SPY",
        quantity=Decimal(10),
        side=OrderSide.BUY,
        order_type=OrderType.MARKET,
        strategy_id=None,
        created_at=NOON,
    )
    tracker.start_tracking(order)
    update = {"exchange_order_id": "BROKER_002", "status": "new", "filled_qty": "0", "submitted_at": NOON}
    tracker.process_order_update("ORD_1", update)
    assert tracker.get_orphaned_orders({"BROKER_002": {"id": "BROKER_002"}}) == {}
    assert list(tracker.get_shadow_orders({})) == ["ORD_1"]

    fill = FillEvent(
        timestamp=NOON, quantity=Decimal(4), price=Decimal("450.1"), commission=Decimal(0), execution_id="e1"
    )
    tracker.process_fill("ORD_1", fill)
    tracker.process_fill("ORD_1", fill)  # said twice, counted once
    assert order.filled_quantity == 4
    assert tracker.get_stats()["open"] == 1


def test_stoploss_guard() -> None:
    """Three losing trades within the hour trip it; it protects for as long as it was told."""
    clock = BacktestClock(NOON)
    guard = StoplossGuard(max_stoplosses=3, lookback_period=timedelta(hours=1), cooldown_duration=timedelta(hours=1))
    trades = [Trade("SPY", -100, clock.now()) for _ in range(3)]
    result = guard.check(symbol="SPY", completed_trades=trades, now=clock.now())
    assert isinstance(result, ProtectionResult)
    assert result.is_protected
    assert result.reason
    assert result.until == NOON + timedelta(hours=1)
    assert isinstance(result.trigger.value, str)
    assert not guard.check(symbol="SPY", completed_trades=trades, now=NOON + timedelta(hours=1)).is_protected
    assert not guard.check(symbol="SPY", completed_trades=trades[:2], now=NOON).is_protected

    real = [Trade("SPY", -100, RealTimeClock().now()) for _ in range(3)]
    assert guard.check(symbol="SPY", completed_trades=real).is_protected, "without now, by the real clock"


def test_protection_manager() -> None:
    """All of them behind one question; each of the named ones can be made and told off."""
    manager = create_default_protections()
    assert isinstance(manager, ProtectionManager)
    trades = [Trade("SPY", -100, NOON) for _ in range(5)]
    result = manager.check(symbol="SPY", current_trades=[], completed_trades=trades, now=NOON)
    assert result.is_protected
    assert isinstance(result.trigger.value, str)
    assert {"stoploss_guard", "max_drawdown", "cooldown_period"} <= set(manager.get_all_statuses())
    assert not manager.check(symbol="SPY", current_trades=[], completed_trades=[], now=NOON).is_protected
    for kind in (MaxDrawdown, CooldownPeriod, LowProfitSymbols):
        assert callable(kind)


def test_symbol_validation() -> None:
    """450.13 fits a tick of 0.01; 450.127 does not."""
    properties = SymbolProperties(symbol="SPY", min_price_increment=Decimal("0.01"), lot_size=1, min_order_size=1)
    assert properties.validate_order(quantity=10, price=Decimal("450.13"), side="BUY") == (True, "")
    valid, reason = properties.validate_order(quantity=10, price=Decimal("450.127"), side="BUY")
    assert not valid
    assert "0.01" in reason


def test_what_stands_alone_is_made_without_the_rest() -> None:
    """The remaining names, with the arguments that are promised."""
    assert PositionStore().get_all() == []
    assert OrderStateMachine().is_open
    approved, reason = PreTradeRiskGate().check({"symbol": "SPY", "side": "BUY", "quantity": 1})
    assert (approved, bool(reason)) == (False, True), "a gate that knows nothing fails closed"
    throttler = create_combined_throttler()
    assert inspect.iscoroutinefunction(PolygonProvider("key", throttler).get_bars)
    stream = UserStreamTracker(api_key="key", api_secret="secret", is_paper=True)
    assert not stream.is_connected()
    assert isinstance(stream.get_stats(), dict)
    assert issubclass(VwapMeanReversion, Strategy)


async def test_notifier_only_enqueues() -> None:
    """Both calls return at once, whatever is configured."""
    notifier = Notifier()
    await notifier.send_alert("Orphan orders found!", {"BROKER_001": {"status": "FILLED"}})
    await notifier.send_message(channel="trading", message="Protection active")
    assert [notice.channel for notice in notifier.recent()] == ["system", "trading"]


# -- the guide's flow, against a venue that runs ---------------------------------------------------


@pytest.fixture
def venue(commands: Commands) -> VenueProcess:
    """A day of a calm market at 300 times real time."""
    data = save_waves(commands.folder / "waves.csv", 1_440)
    return commands.venue("--data", data, "--symbol", SAMPLE_SYMBOL, "--speed", "300")


@pytest.fixture
async def container(venue: VenueProcess) -> AsyncIterator[Container]:
    """Connected with the guide's dictionary, started, and past the first price."""
    config = {
        "alpaca": {
            "api_key": "KEY",
            "api_secret": "SECRET",
            "base_url": venue.url,
            "data_url": venue.url,
            "market_stream_url": venue.url.replace("http", "ws", 1),
        },
        "account": {"mode": "paper"},
        "watch": [SAMPLE_SYMBOL],
    }
    async with await Container.connect(config) as found:
        async with asyncio.timeout(60):
            await minutes(found, 2)
        yield found


async def minutes(container: Container, count: float) -> None:
    """Wait, by the container's clock."""
    end = container.clock.now() + timedelta(minutes=count)
    await container.clock.wait_until(int(end.timestamp()) * 10**9)


@pytest.mark.slow
async def test_the_guides_flow(container: Container, venue: VenueProcess) -> None:
    """Signal -> verdict -> order -> fill -> position -> exit -> closed trade -> equal books, with handlers and messages."""
    updates: list[dict[str, Any]] = []
    accounts: list[dict[str, Any]] = []
    container.user_stream.on_trade_update(updates.append)
    container.user_stream.on_account_update(accounts.append)

    verdict = await container.process_signal({"symbol": SAMPLE_SYMBOL, "side": "BUY", "quantity": "0.05"})
    assert isinstance(verdict, Verdict)
    assert (verdict.approved, verdict.reason) == (True, "")
    async with asyncio.timeout(60):
        while not container.position_store.get_all():
            await minutes(container, 0.2)
    tracked = container.order_tracker.get(verdict.client_order_id or "")
    assert tracked is not None
    assert tracked.filled_quantity == Decimal("0.05")
    assert updates[-1]["event"] == "fill"
    assert Decimal(updates[-1]["qty"]) <= Decimal("0.05")

    order = await container.create_order({"symbol": SAMPLE_SYMBOL, "side": "BUY", "quantity": "0.01", "price": 39_000})
    assert isinstance(order, InFlightOrder)
    async with asyncio.timeout(60):
        while order.broker_id is None:
            await minutes(container, 0.2)
    rows = await container.broker.get_open_orders()
    by_id = {row["id"]: row for row in rows}
    assert order.broker_id in by_id
    assert container.order_tracker.get_orphaned_orders(by_id) == {}
    assert container.order_tracker.get_shadow_orders(by_id) == {}

    # The exit takes back what rests first, waits for the venue's word, and sends the remainder.
    held = container.position_store.quantity(SAMPLE_SYMBOL)
    left = await container.execute_signal(
        {"symbol": SAMPLE_SYMBOL, "side": "SELL", "quantity": held, "reduce_only": True, "reason": "guide"}
    )
    assert left.approved
    async with asyncio.timeout(60):
        while container.position_store.get_all() or order.is_open:
            await minutes(container, 0.2)
    assert order.status.value == "canceled"
    assert [trade.exit_reason for trade in container.position_store.closed_trades] == ["guide"]

    async with asyncio.timeout(60):
        while not accounts:
            await minutes(container, 1)
    assert "cash" in accounts[-1]
    assert await container.reconcile_orders() == {"orphans": [], "shadows": [], "drift": []}
    books = VenueBooks.ask(venue.url, KEYS)
    assert len(books.orders) == 3
    assert len({row["client_order_id"] for row in books.orders}) == 3


@pytest.mark.slow
async def test_the_guides_refusals_messages_and_status(container: Container) -> None:
    """What a guard refuses has a verdict with its reason; messages are kept; every system tells of itself."""
    too_much = Signal(symbol=SAMPLE_SYMBOL, side=OrderSide.BUY, quantity=Decimal(50))
    assert container.risk_gate.check(too_much)[0] is False
    refused = await container.execute_signal(too_much)
    assert (refused.approved, refused.guard) == (False, "order_notional")
    assert "order" in refused.reason
    with pytest.raises(OrderBlockedError, match="order_notional"):
        await container.create_order(too_much)
    with pytest.raises(UnknownSymbolError, match="DOGE/USD"):
        await container.process_signal({"symbol": "DOGE/USD", "side": "BUY", "quantity": 1})
    assert container.order_tracker.get_stats()["open"] == 0

    await container.discord.send_message(channel="trading", message="the flow is done")
    await container.discord.send_alert("Orphan orders found!", {})
    assert {"the flow is done", "Orphan orders found!"} <= {notice.title for notice in container.notifier.recent()}

    security = await container.security_cache.get_or_create(SAMPLE_SYMBOL)
    assert security.validate_order(quantity=Decimal("0.01"), price=None, side="BUY")[0]
    assert security.round_quantity(Decimal("0.0123456789")) == Decimal("0.012345678")
    assert security.round_price(Decimal("40000.12")) > 0
    assert container.clock.now().tzinfo == UTC
    assert container.throttler.get_stats()["alpaca_account"]["total_calls"] > 0
    assert "stoploss_guard" in container.protections.get_all_statuses()
    assert container.user_stream.is_connected()
    assert set(container.snapshot()) >= {
        "clock",
        "throttler",
        "order_tracker",
        "protections",
        "user_stream",
        "securities",
    }


@pytest.mark.slow
async def test_an_order_of_somebody_else_is_an_orphan_and_is_told(container: Container, venue: VenueProcess) -> None:
    """Placed past the container on the same account: found by the next comparison, reported, and left alone."""
    body = {"symbol": SAMPLE_SYMBOL, "qty": "0.01", "side": "buy", "type": "limit", "time_in_force": "gtc"}
    async with httpx.AsyncClient(base_url=venue.url, headers=KEYS, trust_env=False) as client:
        foreign = (await client.post("/v2/orders", json={**body, "limit_price": "30000"})).raise_for_status().json()
        found = await container.reconcile_orders()
        assert found["orphans"] == [foreign["id"]]
        assert "order-drift" in {notice.channel for notice in container.notifier.recent()}
        still = (await client.get(f"/v2/orders/{foreign['id']}")).json()
        assert still["status"] == "new"


@pytest.mark.slow
async def test_connector_and_caches_alone(venue: VenueProcess) -> None:
    """Without a container: submit, look, cancel; and a security from the broker's own description."""
    throttler = create_combined_throttler()
    broker = AlpacaConnector(throttler=throttler, api_key="KEY", api_secret="SECRET", base_url=venue.url)
    try:
        cache = SecurityCache(SymbolPropertiesCache(broker))
        security = await cache.get_or_create(SAMPLE_SYMBOL)
        price = security.round_price(Decimal("38000.123456789123"))
        order = await broker.submit_order(SAMPLE_SYMBOL, Decimal("0.01"), "buy", "limit", price=price)
        assert [row["id"] for row in await broker.get_open_orders()] == [order["id"]]
        await broker.cancel_order(order["id"])
        assert await broker.get_open_orders() == []
        assert Decimal((await broker.get_account())["cash"]) == 100_000
        assert cache.get_stats()["symbols"] == [SAMPLE_SYMBOL]
        stats = throttler.get_stats()
        assert stats["alpaca_orders"]["total_calls"] + stats["alpaca_account"]["total_calls"] >= 4
    finally:
        await broker.close()
