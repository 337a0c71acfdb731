"""A source to look at, and one full snapshot, for the tests of the windows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from holdfast.web.snapshot import Snapshot

TOKEN = "a-token-that-only-tests-know"

SNAPSHOT: Snapshot = {
    "mode": "paper",
    "venue": "built-in venue",
    "strategy": "vwap_mean_reversion",
    "clock": {"current_time": datetime(2022, 1, 3, 14, 31, tzinfo=UTC), "is_market_hours": True},
    "trading_state": "active",
    "equity": Decimal("100012.20"),
    "cash": Decimal(98000),
    "day_pnl": Decimal("12.204"),
    "progress": 0.43,
    "positions": [
        {
            "symbol": "BTC/USD",
            "quantity": Decimal("0.04300000"),
            "average_price": Decimal("46211.5"),
            "last_price": 46300.1,
            "unrealised_pnl": Decimal("3.81"),
        },
    ],
    "orders_recent": [
        {
            "at": datetime(2022, 1, 3, 14, 29, 5, tzinfo=UTC),
            "symbol": "BTC/USD",
            "side": "sell",
            "order_type": "limit",
            "quantity": Decimal("0.043"),
            "filled_quantity": Decimal(0),
            "limit_price": Decimal(46400),
            "status": "unknown",
            "reason": "exit at VWAP",
        },
        {
            "at": datetime(2022, 1, 3, 14, 30, tzinfo=UTC),
            "symbol": "BTC/USD",
            "side": "buy",
            "order_type": "market",
            "quantity": Decimal("0.043"),
            "filled_quantity": Decimal("0.043"),
            "average_price": Decimal("46211.5"),
            "status": "filled",
        },
    ],
    "trades_recent": [],
    "counters": {
        "bars": 1204,
        "signals": 12,
        "orders": 8,
        "fills": 9,
        "trades": 4,
        "blocked": {"price_collar": 1, "StoplossGuard": 2, "MaxDrawdown": 0},
    },
    "protections": {
        "CooldownPeriod": {"mode": "off", "last_reason": None, "last_until": None},
        "MaxDrawdown": {"mode": "observe", "last_reason": "-11 %", "last_until": "2022-01-03T14:31:00+00:00"},
        "StoplossGuard": {
            "mode": "enforce",
            "blocks": 2,
            "last_reason": "3 stop-losses",
            "last_until": "2022-01-03T15:01:00+00:00",
        },
    },
    "throttler": {
        "alpaca_data": {"total_calls": 8, "total_waits": 0, "in_window": 150, "queued": 0, "limit": 200},
        "alpaca_orders": {"total_calls": 80, "total_waits": 3, "in_window": 2, "queued": 1, "limit": 200},
    },
    "order_tracker": {"open": 1, "unknown": 1},
    "user_stream": {"connected": True, "disconnects": 2, "last_message_at": "2022-01-03T14:30:59Z"},
    "market_stream": {"connected": False, "state": "connecting"},
    "securities": {"symbols": ["BTC/USD"]},
    "alerts_recent": [
        {
            "at": datetime(2022, 1, 3, 14, 30, 59, tzinfo=UTC),
            "level": "warning",
            "channel": "order-drift",
            "title": "drift in BTC/USD",
            "details": "ours 0.043, venue 0.042",
        },
    ],
}


class Source:
    """A bot that stands still: it shows what it is told to, and counts how often it was asked."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.shown: dict[str, Any] = dict(SNAPSHOT if snapshot is None else snapshot)
        self.reasons: list[str] = []
        self.asked = 0

    def snapshot(self) -> dict[str, Any]:
        """What it was told to show."""
        self.asked += 1
        return dict(self.shown)

    def health(self) -> tuple[bool, list[str]]:
        """Well, while there is no reason not to be."""
        return not self.reasons, list(self.reasons)
