"""What a bot shows of itself: the snapshot for status and live view, and the summary of a finished run."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from holdfast.kernel import Kernel
from holdfast.model import ClosedTrade, OrderClass, OrderTerms
from holdfast.model.decimals import EXACT, plain
from holdfast.model.terms import NUMBERS
from holdfast.model.timestamps import format_rfc3339, to_datetime

if TYPE_CHECKING:
    from holdfast.di.container import Container
    from holdfast.state.order_tracker import InFlightOrder

_RECENT = 12
_CENT = Decimal("0.01")


def summary(kernel: Kernel) -> dict[str, Any]:
    """The whole of a run in plain values: amounts as strings, times as RFC 3339 in UTC.

    ``orders`` names for each order the bar on which it was decided (its end), so that two runs can be compared.
    """
    portfolio, reconciliation = kernel.portfolio, kernel.reconciliation
    tracker, positions = portfolio.tracker, portfolio.positions
    fills = [execution for order in tracker.orders() for execution in order.executions]
    return {
        "bars": kernel.bars,
        "signals": kernel.counters.signals,
        "blocked": dict(sorted(kernel.counters.blocked.items())),
        "orders": [_order(order) for order in tracker.orders()],
        "fills": [
            {
                "at": format_rfc3339(fill.at),
                "symbol": fill.symbol,
                "side": fill.side.value,
                "quantity": plain(fill.quantity),
                "price": plain(fill.price),
                "id": fill.execution_id,
            }
            for fill in sorted(fills, key=lambda fill: fill.at)
        ],
        "trades": [_trade(trade) for trade in positions.closed_trades],
        "equity": plain(exact_equity(kernel)),
        "cash": plain(positions.cash),
        "positions": {position.symbol: plain(position.quantity) for position in positions.get_all()},
        "venue_positions": {symbol: plain(quantity) for symbol, quantity in reconciliation.venue_positions.items()},
        "drift": [
            {"symbol": drift.symbol, "ours": plain(drift.ours), "venue": plain(drift.venue)}
            for drift in reconciliation.differences
        ],
        "orphans": list(reconciliation.orphans),
        "shadows": list(reconciliation.shadows),
        "others": {symbol: plain(quantity) for symbol, quantity in kernel.others.state.held.items()},
        "adjustments": [
            {
                "at": format_rfc3339(adjustment.at),
                "symbol": adjustment.symbol,
                "quantity": plain(adjustment.quantity),
                "cash": plain(adjustment.cash),
                "label": adjustment.label,
            }
            for adjustment in positions.adjustments
        ],
        "compared": reconciliation.is_current,
        "trading_state": portfolio.trading_state.value,
    }


# Before the venue has described the account, zero would be a lie.
_NO_MONEY_YET = {"equity": None, "cash": None, "day_pnl": None}


def _money(kernel: Kernel) -> dict[str, Decimal]:
    portfolio = kernel.portfolio
    return {
        "equity": exact_equity(kernel),
        "cash": portfolio.positions.cash,
        "day_pnl": Decimal(repr(portfolio.day_pnl)).quantize(_CENT),
    }


def exact_equity(kernel: Kernel) -> Decimal:
    """Cash plus every position at its last price (USD), to the cent."""
    portfolio = kernel.portfolio
    equity = portfolio.positions.cash + Decimal(repr(portfolio.foreign_value))
    for position in portfolio.positions.get_all():
        book = portfolio.book(position.symbol)
        price = book.mark if math.isnan(book.last_price) else book.last_price  # adopted, and nobody follows its price
        if price:
            equity += EXACT.multiply(position.quantity, Decimal(repr(price)))
    return equity.quantize(_CENT, context=EXACT)


def snapshot(container: Container) -> dict[str, Any]:
    """What ``GET /status`` answers; cheap, because it is taken between two trading decisions."""
    kernel, clock = container.kernel, container.clock
    portfolio, reconciliation = kernel.portfolio, kernel.reconciliation
    tracker = portfolio.tracker
    market = [stream.get_stats() for stream in container.market_streams.values()]
    closed = portfolio.positions.closed_trades
    return {
        "mode": container.config.account.mode,
        "venue": container.venue_name,
        "strategy": ", ".join(strategy.name for strategy in container.strategies) or "none",
        "clock": {"current_time": clock.now(), "is_market_hours": container.is_market_hours()},
        "trading_state": portfolio.trading_state.value,
        **(_NO_MONEY_YET if portfolio.account is None else _money(kernel)),
        "progress": container.progress,
        "positions": [_position(container, position) for position in portfolio.positions.get_all()],
        "orders_recent": [_recent(order) for order in tracker.latest_orders(_RECENT)],
        "trades_recent": [{**_trade(trade), "closed_at": to_datetime(trade.closed_at)} for trade in closed[-_RECENT:]],
        "counters": {
            "bars": kernel.bars,
            "signals": kernel.counters.signals,
            "orders": kernel.counters.orders,
            "fills": kernel.counters.executions,
            "trades": len(closed),
            "blocked": dict(kernel.counters.blocked),
        },
        "verdicts_recent": [
            {
                "at": to_datetime(verdict.ts),
                "symbol": verdict.signal.symbol,
                "side": verdict.signal.side.value,
                "approved": verdict.approved,
                "stage": verdict.stage.value,
                "guard": verdict.guard,
                "reason": verdict.reason,
            }
            for verdict in list(kernel.recent_verdicts)[-_RECENT:]
        ],
        "reconciliation": {
            "count": reconciliation.count,
            "last_at": to_datetime(reconciliation.last_at) if reconciliation.last_at else None,
            "drift": len(reconciliation.differences),
            "orphans": len(reconciliation.orphans),
            "shadows": len(reconciliation.shadows),
        },
        "protections": container.protections.get_all_statuses(),
        "throttler": container.throttler.get_stats(),
        "order_tracker": tracker.get_stats(),
        "user_stream": container.user_stream.get_stats(),
        "activity_stream": container.activity_stream.get_stats() if container.activity_stream else {},
        "market_stream": market[0] if market else {},
        "securities": container.security_cache.get_stats(),
        "notifier": container.notifier.get_stats(),
        "alerts_recent": [
            {
                "at": to_datetime(notice.at),
                "level": "info" if notice.is_good or notice.channel == "trading" else "warning",
                "channel": notice.channel,
                "title": notice.title,
                "details": notice.details,
                "repeats": notice.repeats,
            }
            for notice in container.notifier.recent()[-_RECENT:]
        ],
    }


def terms_values(terms: OrderTerms | None) -> dict[str, Any]:
    """What an order says beyond quantity and limit, in its values; of an entry the prices of the exits that it brings."""
    given = {} if terms is None else dict(terms.numbers())
    values = {name: plain(given[name]) if name in given else None for name in NUMBERS}
    return {"class": (OrderClass.SIMPLE if terms is None else terms.order_class).value, **values}


def _order(order: InFlightOrder) -> dict[str, Any]:
    return {
        "bar": format_rfc3339(order.created_at),
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": plain(order.quantity),
        "type": order.order_type.value,
        "time_in_force": order.time_in_force.value,
        "limit_price": None if order.limit_price is None else plain(order.limit_price),
        **terms_values(order.terms),
        "parent": order.parent,
        "status": order.status.value,
        "filled": plain(order.filled_quantity),
        "reason": order.reason,
        "id": order.client_order_id,
        "evidence": order.evidence,
    }


def _recent(order: InFlightOrder) -> dict[str, Any]:
    return {
        "at": to_datetime(order.created_at),
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "order_type": order.order_type.value,
        "quantity": order.quantity,
        "filled_quantity": order.filled_quantity,
        "limit_price": order.limit_price,
        "stop_price": None if order.terms is None else order.terms.stop_price,
        "trail_price": None if order.terms is None else order.terms.trail_price,
        "trail_percent": None if order.terms is None else order.terms.trail_percent,
        "order_class": (OrderClass.SIMPLE if order.terms is None else order.terms.order_class).value,
        "parent": order.parent,
        "average_price": order.average_price,
        "status": order.status.value,
        "reason": order.reason,
    }


def _trade(trade: ClosedTrade) -> dict[str, Any]:
    return {
        "closed_at": format_rfc3339(trade.closed_at),
        "symbol": trade.symbol,
        "side": trade.side.value,
        "quantity": plain(trade.quantity),
        "entry_price": plain(trade.entry_price),
        "exit_price": plain(trade.exit_price),
        "profit": plain(trade.profit.quantize(_CENT, context=EXACT)),
        "exit_reason": trade.exit_reason,
    }


def _position(container: Container, position: Any) -> dict[str, Any]:
    price = container.kernel.portfolio.book(position.symbol).last_price
    last = None if math.isnan(price) else Decimal(repr(price))
    return {
        "symbol": position.symbol,
        "quantity": position.quantity,
        "average_price": position.average_price,
        "last_price": last,
        "market_value": None
        if last is None
        else EXACT.multiply(position.quantity, last).quantize(_CENT, context=EXACT),
        "unrealised_pnl": None if last is None else position.unrealized_pnl(last).quantize(_CENT, context=EXACT),
        "realised_pnl": position.realized_pnl.quantize(_CENT, context=EXACT),
    }
