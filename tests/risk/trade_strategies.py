"""Hypothesis strategies for closed trades on a coarse grid of time, so that boundaries are hit often."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from holdfast.model import ClosedTrade, OrderSide
from holdfast.model.timestamps import NS_PER_MINUTE

START = 1_700_000_000 * 1_000_000_000


def closed_trade(symbol: str, minute: float, profit: float, exit_reason: str = "") -> ClosedTrade:
    """A trade that closed so many minutes after the start."""
    closed_at = START + int(minute * NS_PER_MINUTE)
    return ClosedTrade(
        symbol=symbol,
        side=OrderSide.BUY,
        quantity=Decimal(1),
        entry_price=Decimal(100),
        exit_price=Decimal(100) + Decimal(str(profit)),
        opened_at=closed_at - NS_PER_MINUTE,
        closed_at=closed_at,
        profit=Decimal(str(profit)),
        exit_reason=exit_reason,
    )


def at(minute: float) -> int:
    """So many minutes after the start (UTC ns)."""
    return START + int(minute * NS_PER_MINUTE)


MINUTES = st.integers(0, 30)
TRADES = st.lists(
    st.builds(
        closed_trade,
        st.sampled_from(["SPY", "QQQ"]),
        MINUTES,
        st.integers(-30, 20),
        st.sampled_from(["", "", "stop_loss", "vwap"]),
    ),
    max_size=14,
)
