"""What a running bot shows of itself, in one place: the shape of ``GET /status`` and of the live view.

Every key is optional, so that a part that is not running is simply absent and a window shows a dash.
Money, prices and quantities are Decimal (strings in JSON); times are aware UTC datetimes, or text
made of one; lists are oldest first and short (the last dozen or two), for a snapshot is taken
between two trading decisions and has to cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias, TypedDict

Moment: TypeAlias = datetime | str
"""An aware UTC datetime, or RFC 3339 text."""

Number: TypeAlias = Decimal | float | str
"""An amount. Money and quantities are Decimal; what came from market data may be a float."""


class ClockView(TypedDict, total=False):
    """The time by which the bot lives; a replayed session has its own."""

    current_time: Moment
    is_market_hours: bool
    next_open: Moment
    next_close: Moment


class PositionView(TypedDict, total=False):
    """One open position; ``quantity`` is signed, P&L is USD after fees."""

    symbol: str
    quantity: Number
    average_price: Number
    last_price: Number | None
    market_value: Number | None
    unrealised_pnl: Number | None
    realised_pnl: Number


class OrderView(TypedDict, total=False):
    """One order of ours, open or lately closed; ``at`` is when it was created.

    ``parent`` is the ``client_order_id`` of the intent whose exit it is; None for an order of its own.
    """

    at: Moment
    client_order_id: str
    symbol: str
    side: str
    order_type: str
    quantity: Number
    filled_quantity: Number
    limit_price: Number | None
    stop_price: Number | None
    trail_price: Number | None
    trail_percent: Number | None
    order_class: str
    parent: str | None
    average_price: Number | None
    status: str
    reason: str


class TradeView(TypedDict, total=False):
    """One closed round trip; ``profit`` is USD after fees."""

    closed_at: Moment
    symbol: str
    side: str
    quantity: Number
    entry_price: Number
    exit_price: Number
    profit: Number
    exit_reason: str


class CountersView(TypedDict, total=False):
    """What the kernel has seen and done since the journal began; ``blocked`` counts by guard."""

    bars: int
    signals: int
    orders: int
    fills: int
    trades: int
    blocked: Mapping[str, int]


class ProtectionView(TypedDict, total=False):
    """One protection, as ``ProtectionManager.get_all_statuses()`` tells it.

    It holds trading back while the clock is before ``last_until``.
    """

    mode: str
    scope: str
    trigger: str
    settings: Mapping[str, Any]
    blocks: int
    last_reason: str | None
    last_until: Moment | None


class StreamView(TypedDict, total=False):
    """One socket, as its ``get_stats()`` tells it. ``connected`` means authorised and listening, not merely open."""

    connected: bool
    state: str
    url: str
    connects: int
    disconnects: int
    messages: int
    last_message_at: Moment | None
    last_error: str | None


class AlertView(TypedDict, total=False):
    """One alert as it was told to the operator.

    Attributes:
        level: info, warning or error.
        repeats: 0 for a first occurrence; N where it sums up N more of the same.
    """

    at: Moment
    level: str
    channel: str
    title: str
    details: str
    repeats: int


class Snapshot(TypedDict, total=False):
    """Everything at one moment.

    Attributes:
        mode: ``paper``, ``live``, ``backtest``: whose money it is.
        venue: Where orders go, in words ("built-in venue", "Alpaca paper").
        strategy: The strategy's name.
        trading_state: ``active``, ``reducing`` or ``halted``.
        trading_state_reason: Why it is not active.
        equity: USD, at the last prices.
        cash: USD.
        day_pnl: USD since the session began.
        progress: How much of a replayed session is done, 0 to 1; absent where it has no end.
        protections: ``ProtectionManager.get_all_statuses()``.
        throttler: ``Throttler.get_stats()``.
        order_tracker: ``OrderTracker.get_stats()``.
        securities: ``SecurityCache.get_stats()``.
    """

    mode: str
    venue: str
    strategy: str
    clock: ClockView
    trading_state: str
    trading_state_reason: str
    equity: Number | None
    cash: Number | None
    day_pnl: Number | None
    progress: float | None
    positions: Sequence[PositionView]
    orders_recent: Sequence[OrderView]
    trades_recent: Sequence[TradeView]
    counters: CountersView
    protections: Mapping[str, ProtectionView]
    throttler: Mapping[str, Any]
    order_tracker: Mapping[str, Any]
    user_stream: StreamView
    market_stream: StreamView
    securities: Mapping[str, Any]
    alerts_recent: Sequence[AlertView]
