"""Backtests of one strategy over small series, with matching that holds nothing back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from holdfast.backtest import Backtest, BacktestResult
from holdfast.kernel import Kernel
from holdfast.model import Asset, AssetClass, BarSeries
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.risk import PreTradeRiskGate, RiskLimits
from holdfast.risk.protections import Protection, ProtectionManager
from holdfast.strategies import Strategy
from holdfast.time import Sessions, SessionsFor, UtcDaySessions
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine

Row = tuple[float, float, float, float, float]  # open, high, low, close, volume


def make_series(
    symbol: str, rows: Sequence[Row], *, start: int, period: int = NS_PER_MINUTE, ends: Sequence[int] | None = None
) -> BarSeries:
    """Rows as bars, one a period, the first of which begins at ``start``; or at the ends that are given."""
    columns = np.array(rows, dtype=np.float64).T
    ts = np.array([start + (i + 1) * period for i in range(len(rows))] if ends is None else ends, dtype=np.int64)
    return BarSeries(symbol, period, ts, *columns)


def closes(*prices: float, volume: float = 1_000.0) -> list[Row]:
    """Rows that open at the close before."""
    rows, before = list[Row](), prices[0]
    for price in prices:
        rows.append((before, max(before, price), min(before, price), price, volume))
        before = price
    return rows


def always_open(_kind: AssetClass) -> Sessions:
    """Every UTC day is a session."""
    return UtcDaySessions()


def run(
    strategies: Sequence[Strategy],
    series: Mapping[str, BarSeries],
    *,
    sessions: SessionsFor = always_open,
    limits: RiskLimits | None = None,
    protections: Sequence[Protection] = (),
    participation: Decimal | None = None,
    cash: int = 1_000_000,
) -> BacktestResult:
    """The whole engine over the series."""
    kernel = Kernel(
        strategies,
        protections=ProtectionManager(protections),
        gate=PreTradeRiskGate(limits),
        sessions_for=sessions,
    )
    assets = {symbol: asset_of(symbol) for symbol in series}
    engine = MatchingEngine(
        assets, cash=Decimal(cash), settings=EngineSettings(participation=participation), sessions=sessions
    )
    return Backtest(kernel, engine, series, sessions=sessions).run()


def asset_of(symbol: str) -> Asset:
    """A shortable share, or a coin."""
    if "/" in symbol:
        return Asset(
            symbol=symbol,
            asset_class=AssetClass.CRYPTO,
            min_order_size="0.0001",
            min_trade_increment="0.0001",
            price_increment="0.01",
        )
    return Asset(symbol=symbol, shortable=True, marginable=True)
