"""What the tests of vendors, catalog and downloads share."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from holdfast.data.alpaca import AlpacaProvider
from holdfast.data.catalog import Catalog
from holdfast.data.polygon import PolygonProvider
from holdfast.data.tables import BarTable
from holdfast.model.timestamps import NS_PER_MINUTE, to_ns
from holdfast.net import Backoff, RateLimit, Throttler
from holdfast.testing.vendors import KEY, SECRET, VendorServer
from holdfast.time import BacktestClock

pytest.importorskip("polars", reason="the catalog needs the extra parquet")

#: When the tests of vendors happen: after all that is served.
NOW = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
DAY = date(2024, 1, 2)
#: The session of DAY in New York.
OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def minutes(start: datetime, *offsets: int, price: float = 100.0) -> BarTable:
    """Minute bars that begin so many minutes after ``start``."""
    prices = [price + offset for offset in offsets]
    return BarTable.of(
        [to_ns(start) + offset * NS_PER_MINUTE for offset in offsets],
        prices,
        [each + 1 for each in prices],
        [each - 1 for each in prices],
        [each + 0.5 for each in prices],
        [10 * each for each in prices],
        vwap=prices,
        trades=[7] * len(offsets),
    )


def same(one: BarTable, other: BarTable) -> bool:
    """Whether two tables hold the same."""
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


async def no_wait(_seconds: float) -> None:
    """Pauses take no time in tests."""


def quick_throttler() -> Throttler:
    """Limits that never make a test wait."""
    names = ("polygon_bars", "polygon_reference", "alpaca_bars", "alpaca_trades", "alpaca_quotes")
    return Throttler({name: RateLimit(100_000, 1.0) for name in names})


def polygon(server: VendorServer, throttler: Throttler | None = None, now: datetime = NOW) -> PolygonProvider:
    """A provider of that server, with raw prices."""
    return PolygonProvider(
        KEY,
        throttler or quick_throttler(),
        base_url=server.url,
        clock=BacktestClock(now),
        adjusted=False,
        sleep=no_wait,
        backoff=lambda: Backoff(base=1e-6, cap=1e-6),
        timeout_seconds=5.0,
    )


def alpaca(
    server: VendorServer, throttler: Throttler | None = None, now: datetime = NOW, feed: str = "iex"
) -> AlpacaProvider:
    """A provider of that server."""
    return AlpacaProvider(
        KEY,
        SECRET,
        throttler or quick_throttler(),
        base_url=server.url,
        feed=feed,
        clock=BacktestClock(now),
        sleep=no_wait,
        backoff=lambda: Backoff(base=1e-6, cap=1e-6),
    )


def new_catalog(folder: Path) -> Catalog:
    """An empty one."""
    return Catalog(folder / "catalog", create=True)


def files_of(root: Path) -> dict[str, bytes]:
    """Every file of a catalog but its lock, and what is in it."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
