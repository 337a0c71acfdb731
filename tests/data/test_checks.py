"""Checks of a catalog: every kind of wrong is found, with its place; what is only odd is not called wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from holdfast.data import parquet
from holdfast.data.catalog import BARS, QUOTES, TICK, TRADES, Catalog, Key, make_key
from holdfast.data.checks import Finding, check
from holdfast.data.synthetic import synthetic_sessions
from holdfast.data.tables import BarTable, join, table_of
from holdfast.data.timeframes import NEW_YORK, midnight
from holdfast.model.market import Quote, Trade
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, to_ns
from tests.data.vendors import OPEN, minutes, new_catalog

SPY = make_key("SPY")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """An empty one."""
    return new_catalog(tmp_path)


def put(catalog: Catalog, key: Key, table: BarTable) -> None:
    """Store bars as they are, in the parts of the days from the first to the last."""
    shelf = catalog.shelf(key)
    begin, end = int(table.start.min()), int(table.start.max())
    for part in key.parts(begin, end + 1):
        first, last = key.bounds(part)
        rows = table.take((table.start >= first) & (table.start < last))
        shelf.write(part, parquet.bar_frame(rows), until=last, source="test")


def found(catalog: Catalog, key: Key = SPY, **options: object) -> list[tuple[str, str]]:
    """Kinds and places."""
    return [(finding.kind, finding.place) for finding in check(catalog, key, **options).findings]  # type: ignore[arg-type]  # a test's options


def session(day: datetime = OPEN, count: int = 390) -> BarTable:
    """Every minute of a session, flat."""
    flat = [100.0] * count
    starts = to_ns(day) + np.arange(count, dtype=np.int64) * NS_PER_MINUTE
    return BarTable.of(starts, flat, flat, flat, flat, flat)


class TestWhatIsFine:
    """Real data are odd, and not wrong."""

    def test_sessions_with_holiday_weekend_early_close_and_clock_change(self, catalog: Catalog) -> None:
        """Synthetic sessions over Thanksgiving 2023 (closed on Thursday, early close on Friday) and a spring change."""
        for start, count in (("2023-11-20", 6), ("2024-03-07", 4)):
            put(catalog, SPY, table_of(synthetic_sessions(["SPY"], count, 7, start)["SPY"]))
            catalog.shelf(SPY)
        report = check(catalog, SPY)

        assert [f for f in report.findings if f.kind != "hole"] == []
        assert report.rows > 3_500
        assert report.outside == 0

    def test_extended_hours_are_counted_and_are_normal(self, catalog: Catalog) -> None:
        """Bars before the open and after the close."""
        early = minutes(OPEN - timedelta(hours=2), 0, 7)
        put(catalog, SPY, join([early._replace(close=early.open), session()]))
        report = check(catalog, SPY, spike=10.0)
        assert (report.findings, report.outside) == ([], 2)

    def test_crypto_trades_around_the_clock(self, catalog: Catalog) -> None:
        """A weekend with bars is right, and one without is not."""
        key = make_key("BTC/USD")
        put(catalog, key, session(datetime(2024, 1, 6, tzinfo=UTC), 2 * 1440))
        assert found(catalog, key) == []
        put(
            catalog,
            key,
            join([session(datetime(2024, 1, 5, tzinfo=UTC), 1440), session(datetime(2024, 1, 7, tzinfo=UTC), 1440)]),
        )
        assert found(catalog, key) == [("session", "2024-01-06T00:00:00Z")]

    def test_daily_bars_by_the_calendar(self, catalog: Catalog) -> None:
        """A year of sessions without its holidays."""
        key = make_key("SPY", BARS, "1Day")
        days = [date(2024, 1, 2) + timedelta(days=n) for n in range(14)]
        starts = [midnight(day, NEW_YORK) for day in days if day.weekday() < 5]
        flat = [100.0] * len(starts)
        catalog.shelf(key).write(
            "2024",
            parquet.bar_frame(BarTable.of(starts, flat, flat, flat, flat, flat)),
            until=starts[-1] + NS_PER_DAY,
            source="test",
        )
        # Martin Luther King's day, the 15th, is no session.
        assert found(catalog, key) == [("session", "2024-01-15T05:00:00Z")]


def zero_price(table: BarTable) -> None:
    """A price of nothing."""
    table.low[5] = 0.0


def high_below_low(table: BarTable) -> None:
    """The wrong way round."""
    table.high[5] = 99.0


def negative_volume(table: BarTable) -> None:
    """Less than nothing."""
    table.volume[5] = -1.0


def not_a_number(table: BarTable) -> None:
    """A hole in a column."""
    table.close[5] = np.nan


class TestWhatIsWrong:
    """Each kind, at its place."""

    @pytest.mark.parametrize("spoil", [zero_price, high_below_low, negative_volume, not_a_number])
    def test_bars_that_cannot_be(self, catalog: Catalog, spoil: Callable[[BarTable], None]) -> None:
        """By the rules that files are read with."""
        table = session()
        spoil(table)
        put(catalog, SPY, table)
        assert ("bad", "2024-01-02T14:35:00Z") in found(catalog)

    @pytest.mark.parametrize(("column", "value"), [("high", 130.0), ("low", 60.0)])
    def test_a_bad_tick(self, catalog: Catalog, column: str, value: float) -> None:
        """A price far away, to which nothing near it comes."""
        table = session()
        getattr(table, column)[100] = value
        put(catalog, SPY, table)
        assert found(catalog) == [("spike", "2024-01-02T16:10:00Z")]

    def test_a_move_that_lasts_is_no_bad_tick(self, catalog: Catalog) -> None:
        """A fall by a third that stays is news."""
        table = session()
        for column in table[1:5]:
            column[100:] = 66.0
        put(catalog, SPY, table)
        assert found(catalog) == []

    def test_a_gap_and_its_bounds(self, catalog: Catalog) -> None:
        """From the first missing minute to the next bar; shorter ones pass; at both ends of the session too."""
        table = session()
        keep = np.ones(table.rows, dtype=bool)
        keep[:40] = keep[100:131] = keep[200:230] = keep[340:] = False
        put(catalog, SPY, table.take(keep))
        report = check(catalog, SPY, max_gap=30)
        assert report.findings == [
            Finding("gap", "2024-01-02T14:30:00Z", "40 bars are missing, until 2024-01-02T15:10:00Z"),
            Finding("gap", "2024-01-02T16:10:00Z", "31 bars are missing, until 2024-01-02T16:41:00Z"),
            Finding("gap", "2024-01-02T20:10:00Z", "50 bars are missing, until 2024-01-02T21:00:00Z"),
        ]

    def test_a_session_without_a_bar_and_bars_without_a_session(self, catalog: Catalog) -> None:
        """A Wednesday that is empty, and a Saturday that is not."""
        put(catalog, SPY, join([session(), session(OPEN + timedelta(days=2)), session(OPEN + timedelta(days=4))]))
        assert found(catalog) == [
            ("session", "2024-01-03T14:30:00Z"),
            ("session", "2024-01-05T14:30:00Z"),
            ("session", "2024-01-06"),
        ]

    def test_rows_out_of_order_twice_and_astray(self, catalog: Catalog) -> None:
        """As another program may have written them."""
        table = session()
        order = np.arange(table.rows)
        order[[10, 11]] = order[[11, 10]]
        order[20] = 19
        shelf = catalog.shelf(SPY)
        astray = session(OPEN + timedelta(days=1), 1)
        shelf.write(
            "2024-01-02",
            parquet.bar_frame(join([table.take(order), astray])),
            until=SPY.bounds("2024-01-02")[1],
            source="test",
        )
        assert [place for kind, place in found(catalog) if kind == "order"] == [
            "2024-01-02T14:40:00Z",
            "2024-01-02T14:49:00Z",
            "2024-01-03T14:30:00Z",
        ]

    def test_a_hole_between_stored_days(self, catalog: Catalog) -> None:
        """Friday to Tuesday: Monday was never stored; the weekend needs not be."""
        put(catalog, SPY, session(OPEN + timedelta(days=3)))
        put(catalog, SPY, session(OPEN + timedelta(days=7)))
        assert found(catalog) == [("hole", "2024-01-08")]

    def test_files_that_are_not_what_was_stored(self, catalog: Catalog) -> None:
        """One flipped bit, a file that is gone, and one that nobody listed."""
        put(catalog, SPY, join([session(), session(OPEN + timedelta(days=1))]))
        folder = catalog.root / SPY.folder
        data = bytearray((folder / "2024-01-02.parquet").read_bytes())
        data[len(data) // 2] ^= 1
        (folder / "2024-01-02.parquet").write_bytes(bytes(data))
        (folder / "2024-01-03.parquet").rename(folder / "2024-02-03.parquet")
        report = check(catalog, SPY)
        assert [(f.kind, f.place) for f in report.findings] == [
            ("file", "2024-01-02.parquet"),
            ("file", "2024-01-03.parquet"),
            ("file", "2024-02-03.parquet"),
        ]
        assert "checksum" in report.findings[0].what

    def test_ticks_that_cannot_be(self, catalog: Catalog) -> None:
        """A price of nothing, a crossed quote, and one that goes back in time; a quote without one side is normal."""
        ts = to_ns(OPEN)
        trades = [Trade(ts, "SPY", 1.0, 1.0), Trade(ts + 1, "SPY", 0.0, 1.0)]
        quotes = [Quote(ts + 5, "SPY", 2.0, 1.0), Quote(ts, "SPY", 1.0, 1.1), Quote(ts + 6, "SPY", 1.0, 0.0)]
        for kind, frame in ((TRADES, parquet.trade_frame(trades)), (QUOTES, parquet.quote_frame(quotes))):
            key = make_key("SPY", kind, TICK)
            catalog.shelf(key).write("2024-01-02", frame, until=key.bounds("2024-01-02")[1], source="test")
        assert found(catalog, make_key("SPY", TRADES, TICK)) == [("bad", "2024-01-02T14:30:00.000000001Z")]
        assert found(catalog, make_key("SPY", QUOTES, TICK)) == [
            ("order", "2024-01-02T14:30:00Z"),
            ("crossed", "2024-01-02T14:30:00.000000005Z"),
        ]

    def test_many_of_a_kind_are_summed_up(self, catalog: Catalog) -> None:
        """Twenty places, then how many more."""
        table = session()
        table.volume[:50] = -1.0
        put(catalog, SPY, table)
        report = check(catalog, SPY)
        assert len(report.findings) == 21
        assert report.findings[-1] == Finding("bad", "2024-01-02T15:19:00Z", "and 30 more like these, up to here")
