"""Import into the catalog and reading from it, in rows a second, beside bare Polars in the same run.

python benchmarks/catalog.py [--days 1000] [--rounds 3]

One symbol, 390 one-minute bars a day, one file a day. "Bare Polars" writes and reads the same frames in the same files, without
manifest, checksum, sync, check of completeness, or conversion into a series.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from holdfast.data import parquet
from holdfast.data.catalog import Catalog, make_key
from holdfast.data.csv import read_bars, write_bars
from holdfast.data.tables import BarTable
from holdfast.data.timeframes import NEW_YORK, midnight
from holdfast.model.timestamps import NS_PER_HOUR, NS_PER_MINUTE

KEY = make_key("SPY")
MINUTES = 390


def make_days(count: int) -> dict[str, BarTable]:
    """Seeded bars of so many weekdays."""
    rng = np.random.default_rng(7)
    days: dict[str, BarTable] = {}
    day = date(2016, 1, 4)
    while len(days) < count:
        if day.weekday() < 5:
            open_ = midnight(day, NEW_YORK) + 9 * NS_PER_HOUR + 30 * NS_PER_MINUTE
            close = 400 + np.cumsum(rng.normal(0, 0.05, MINUTES)).round(2)
            days[day.isoformat()] = BarTable.of(
                open_ + np.arange(MINUTES) * NS_PER_MINUTE,
                close,
                close + 0.05,
                close - 0.05,
                close,
                rng.integers(100, 100_000, MINUTES).astype(float),
                vwap=close,
                trades=rng.integers(1, 1_000, MINUTES),
            )
        day += timedelta(days=1)
    return days


def timed(work: Callable[[], object], rounds: int) -> float:
    """The median of some rounds (seconds)."""
    found = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def write_catalog(catalog: Catalog, days: dict[str, BarTable]) -> None:
    """Part by part, as an import does."""
    shelf = catalog.shelf(KEY)
    with catalog.writing():
        for part, table in days.items():
            shelf.write(part, parquet.bar_frame(table), until=KEY.bounds(part)[1], source="benchmark")


def write_bare(folder: Path, days: dict[str, BarTable]) -> None:
    """The same files by Polars alone."""
    for part, table in days.items():
        parquet.bar_frame(table).write_parquet(folder / f"{part}.parquet", compression="zstd")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--days", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    days = make_days(options.days)
    rows = options.days * MINUTES
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        bare = root / "bare"
        bare.mkdir()
        catalog = Catalog(root / "catalog", create=True)
        figures: list[tuple[str, float, int]] = []

        def measure(what: str, work: Callable[[], object], count: int = rows, rounds: int = options.rounds) -> None:
            figures.append((what, timed(work, rounds), count))

        measure("write, bare Polars", lambda: write_bare(bare, days), rounds=1)
        measure("write, catalog (synced, listed)", lambda: write_catalog(catalog, days), rounds=1)
        files = sorted(bare.glob("*.parquet"))
        numbers = ["open", "high", "low", "close", "volume"]
        measure("read all, bare Polars", lambda: pl.read_parquet(files))
        measure(
            "read all, bare Polars, to NumPy", lambda: [pl.read_parquet(files)[name].to_numpy() for name in numbers]
        )
        measure("read all, catalog, as a series", lambda: catalog.read_bars("SPY"))
        series = catalog.read_bars("SPY")
        a_month = series.ts[-21 * MINUTES - 1], series.ts[-1]
        month_rows = 21 * MINUTES
        measure("read the last month, bare Polars", lambda: pl.read_parquet(files[-21:]), month_rows)
        measure(
            "read the last month, catalog",
            lambda: catalog.read_bars("SPY", "1Min", int(a_month[0]), int(a_month[1])),
            month_rows,
        )
        write_bars(series, root / "SPY.csv")
        measure("read all, CSV file (holdfast.data)", lambda: read_bars(root / "SPY.csv", "SPY"))
        print(f"{rows:,} rows in {options.days:,} files of one day, median of {options.rounds} rounds")
        for what, seconds, count in figures:
            print(f"{what:40} {seconds * 1e3:10.1f} ms {count / seconds:14,.0f} rows/s")


if __name__ == "__main__":
    main()
