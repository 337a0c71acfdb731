"""A connector over a scripted transport, and over a real socket whose server does what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from holdfast.brokers import AlpacaConnector, RetryPolicy
from holdfast.net import RateLimit, Throttler
from holdfast.time import BacktestClock

LIMIT_IDS = (
    "alpaca_orders",
    "alpaca_account",
    "alpaca_positions",
    "alpaca_assets",
    "alpaca_clock",
    "alpaca_activities",
    "alpaca_bars",
)
ORDER = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "hf-1",
    "created_at": "2024-01-02T14:30:00.123456789Z",
    "updated_at": "2024-01-02T14:30:00.123456789Z",
    "submitted_at": "2024-01-02T14:30:00.123456789Z",
    "filled_at": None,
    "asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
    "symbol": "AAPL",
    "asset_class": "us_equity",
    "notional": None,
    "qty": "10",
    "filled_qty": "0",
    "filled_avg_price": None,
    "order_class": "",
    "order_type": "limit",
    "type": "limit",
    "side": "buy",
    "time_in_force": "day",
    "limit_price": "150.25",
    "stop_price": None,
    "status": "accepted",
    "extended_hours": False,
    "legs": None,
}


class Desk:
    """A connector, the requests it made, and the delays it slept."""

    def __init__(self, throttler: Throttler, **options: Any) -> None:
        self.throttler = throttler
        self.requests: list[httpx.Request] = []
        self.sleeps: list[float] = []
        self.answers: list[httpx.Response | Exception] = []
        options.setdefault("transport", httpx.MockTransport(self._answer))
        # Stands still and is advanced by hand, so that a rate limit holds nothing up for real.
        options.setdefault("clock", BacktestClock(datetime(2024, 1, 2, 14, 30, tzinfo=UTC)))
        self.connector = AlpacaConnector(
            throttler=throttler, api_key="AK", api_secret="hush", sleep=self._sleep, **options
        )

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def granted(self, limit: str) -> int:
        """How often the throttler let a call of this id start."""
        return int(self.throttler.get_stats()[limit]["total_calls"])


@pytest.fixture
def order() -> dict[str, Any]:
    """An order as Alpaca writes it; each test may change its own copy."""
    return dict(ORDER)


@pytest.fixture
async def desk() -> AsyncIterator[Callable[..., Desk]]:
    """Makes desks; answers are given in turn, the last one again and again."""
    made: list[Desk] = []

    def make(*answers: httpx.Response | Exception, throttler: Throttler | None = None, **options: Any) -> Desk:
        throttler = throttler or Throttler({name: RateLimit(1_000, 1.0) for name in LIMIT_IDS})
        one = Desk(throttler, **options)
        one.answers = list(answers)
        made.append(one)
        return one

    yield make
    for one in made:
        await one.connector.close()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def wired() -> AsyncIterator[Callable[..., Awaitable[Desk]]]:
    """Makes desks over a real socket; the script is run for each connection."""
    servers: list[asyncio.Server] = []
    desks: list[Desk] = []

    async def make(script: Script, **options: Any) -> Desk:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        options.setdefault("retries", RetryPolicy(attempts=2))
        throttler = Throttler({name: RateLimit(1_000, 1.0) for name in LIMIT_IDS})
        one = Desk(throttler, base_url=url, data_url=url, transport=None, **options)
        desks.append(one)
        return one

    yield make
    for one in desks:
        await one.connector.close()
    for server in servers:
        server.close()
        await server.wait_closed()
