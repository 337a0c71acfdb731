"""The reference workload: the whole engine gives what a bare loop over the same bars gives."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from holdfast.backtest import BacktestResult
from holdfast.model import AssetClass, BarSeries
from holdfast.model.timestamps import NS_PER_HOUR, NS_PER_MINUTE
from holdfast.strategies import VwapMeanReversion
from holdfast.time import FixedSessions, Sessions
from tests.backtest.helpers import run

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "reference.py"
OPEN = 14 * NS_PER_HOUR + 30 * NS_PER_MINUTE
BARS = 50_000


@pytest.fixture(scope="module")
def reference() -> Any:
    """The script that makes the bars and runs the bare loop."""
    if not REFERENCE.is_file():
        pytest.skip("the reference workload is not part of this checkout")
    spec = importlib.util.spec_from_file_location("reference", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sessions(_kind: AssetClass) -> Sessions:
    """390 minutes from 14:30 UTC, every day."""
    return FixedSessions(OPEN, OPEN + 390 * NS_PER_MINUTE)


def trade(reference: Any, seeds: dict[str, int], bars: int) -> tuple[BacktestResult, int, float]:
    """The engine's result, and the bare loop's round trips and cash."""
    columns = {symbol: reference.bars(seed, bars) for symbol, seed in seeds.items()}
    series = {
        symbol: BarSeries(symbol, NS_PER_MINUTE, c[0], *(column.astype(float) for column in c[1:]))
        for symbol, c in columns.items()
    }
    strategy = VwapMeanReversion(
        list(seeds),
        quantity=100,
        deviations=2.0,
        warmup_bars=20,
        stop_loss=None,
        time_stop_bars=None,
        flat_minutes=1,
        allow_short=False,
    )
    result = run([strategy], series, sessions=sessions, cash=10_000_000)
    rows = [
        (k, *(column[i].item() for column in c)) for i in range(bars) for k, c in enumerate(columns[s] for s in seeds)
    ]
    trips, cash = reference.loop(rows, [reference.Rule() for _ in seeds])
    return result, trips, cash


def test_one_symbol_gives_the_bare_loops_round_trips_and_cash(reference: Any) -> None:
    """P10: 50,000 bars, every order at the next open, to the cent."""
    result, trips, cash = trade(reference, {"REF": 7}, BARS)
    positions = result.kernel.portfolio.positions
    assert result.kernel.bars == BARS
    assert len(positions.closed_trades) == trips > 200
    assert float(positions.cash) - 10_000_000 == pytest.approx(cash, abs=1e-6)
    assert {trade.exit_reason for trade in positions.closed_trades} == {"reverted", "session_end"}


def test_many_symbols_merged_by_time_do_not_disturb_each_other(reference: Any) -> None:
    """P10: four symbols of 5,000 bars in one kernel: the sum of four bare loops."""
    result, trips, cash = trade(reference, {"A": 7, "B": 8, "C": 9, "D": 10}, 5_000)
    positions = result.kernel.portfolio.positions
    assert len(positions.closed_trades) == trips > 50
    assert float(positions.cash) - 10_000_000 == pytest.approx(cash, abs=1e-6)


def test_the_books_are_the_engines(reference: Any) -> None:
    """P3, P4: our cash and positions, and the matching engine's."""
    result, _, _ = trade(reference, {"REF": 7}, 5_000)
    assert result.kernel.portfolio.positions.cash == result.engine.account().cash
    assert not result.kernel.reconciliation.differences
    assert result.kernel.reconciliation.count > 5
