"""The catalog: what is written is read, what is missing is told, and a crash leaves nothing half."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from holdfast.data import parquet
from holdfast.data.actions import Adjustment, Dividend, Split
from holdfast.data.catalog import BARS, QUOTES, TICK, TRADES, Catalog, Key, make_key
from holdfast.data.tables import BarTable, join
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.market import Quote, Trade
from holdfast.model.timestamps import NS_PER_MINUTE, to_ns
from tests.data.vendors import OPEN, files_of, minutes, new_catalog, same

SPY = make_key("SPY")


def put(catalog: Catalog, key: Key, table: BarTable, source: str = "test") -> None:
    """Store bars, one part after the other; every day from the first to the last is known."""
    shelf = catalog.shelf(key)
    for part in key.parts(int(table.start[0]), int(table.start[-1]) + 1):
        first, last = key.bounds(part)
        shelf.write(part, parquet.bar_frame(table.between(first, last)), until=last, source=source)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """An empty one."""
    return new_catalog(tmp_path)


class TestLayout:
    """Where things stand."""

    @pytest.mark.parametrize(
        ("key", "moment", "part", "bounds"),
        [
            (SPY, "2024-01-03T04:59:59Z", "2024-01-02", ("2024-01-02T05:00Z", "2024-01-03T05:00Z")),
            (SPY, "2024-03-10T12:00:00Z", "2024-03-10", ("2024-03-10T05:00Z", "2024-03-11T04:00Z")),  # 23 hours
            (SPY, "2024-11-03T12:00:00Z", "2024-11-03", ("2024-11-03T04:00Z", "2024-11-04T05:00Z")),  # 25 hours
            (make_key("BTC/USD"), "2024-01-02T23:59:59Z", "2024-01-02", ("2024-01-02T00:00Z", "2024-01-03T00:00Z")),
            (make_key("SPY", BARS, "1Day"), "2024-12-31T05:00:00Z", "2024", ("2024-01-01T05:00Z", "2025-01-01T05:00Z")),
            (
                make_key("SPY", TRADES, TICK),
                "2024-01-03T04:59:59Z",
                "2024-01-02",
                ("2024-01-02T05:00Z", "2024-01-03T05:00Z"),
            ),
        ],
    )
    def test_a_moment_belongs_to_a_part(self, key: Key, moment: str, part: str, bounds: tuple[str, str]) -> None:
        """Days of the market, whatever their length; years for bars of a day."""
        assert key.part_of(to_ns(datetime.fromisoformat(moment))) == part
        assert key.bounds(part) == tuple(to_ns(datetime.fromisoformat(bound)) for bound in bounds)

    def test_files_stand_by_symbol_and_day(self, catalog: Catalog) -> None:
        """The folder names say what is in them."""
        put(catalog, SPY, minutes(OPEN, 0, 1, 3 * 1440))
        put(catalog, make_key("BTC/USD"), minutes(OPEN, 0))
        put(catalog, make_key("SPY", BARS, "1Day"), minutes(datetime(2024, 1, 2, 5, tzinfo=UTC), 0))

        assert sorted(files_of(catalog.root)) == [
            "catalog.json",
            "crypto/BTC-USD/bars/1Min/2024-01-02.parquet",
            "crypto/BTC-USD/bars/1Min/manifest.jsonl",
            "us_equity/SPY/bars/1Day/2024.parquet",
            "us_equity/SPY/bars/1Day/manifest.jsonl",
            "us_equity/SPY/bars/1Min/2024-01-02.parquet",
            "us_equity/SPY/bars/1Min/2024-01-05.parquet",
            "us_equity/SPY/bars/1Min/manifest.jsonl",
        ]
        assert [str(key) for key in catalog.names()] == ["BTC/USD bars 1Min", "SPY bars 1Day", "SPY bars 1Min"]

    @pytest.mark.parametrize("symbol", ["", "../etc", "/SPY", "A/B/C", "SPY ", ".hidden"])
    def test_a_symbol_cannot_lead_elsewhere(self, symbol: str) -> None:
        """It becomes a folder's name."""
        with pytest.raises(ConfigurationError, match="is no symbol"):
            make_key(symbol)

    def test_a_folder_with_other_things_is_not_taken(self, tmp_path: Path) -> None:
        """Nor is one that is no catalog read as one."""
        (tmp_path / "letter.txt").write_text("dear")
        with pytest.raises(DataError, match="a folder with other things in it"):
            Catalog(tmp_path, create=True)
        with pytest.raises(DataError, match="is no catalog"):
            Catalog(tmp_path)


class TestReading:
    """What is written is read."""

    def test_bars_come_back_exactly(self, catalog: Catalog) -> None:
        """Every column, over several days, and what is not known stays so."""
        table = join([minutes(OPEN, 0, 1, 2), minutes(OPEN + timedelta(days=1), 0, 7)])
        table.vwap[1], table.trades[1] = np.nan, -1
        put(catalog, SPY, table)

        assert same(catalog.read_table("SPY"), table)
        assert catalog.read_bars("SPY").period == NS_PER_MINUTE

    def test_a_range_is_cut_at_its_ends(self, catalog: Catalog) -> None:
        """Bars begin at or after the start and end at or before the end."""
        put(catalog, SPY, minutes(OPEN, *range(10)))
        start = to_ns(OPEN)

        found = catalog.read_bars("SPY", "1Min", start + 2 * NS_PER_MINUTE, start + 5 * NS_PER_MINUTE)
        assert found.open.tolist() == [102, 103, 104]

    def test_ticks_come_back_exactly(self, catalog: Catalog) -> None:
        """Trades and quotes, with all that is known of them."""
        ts = to_ns(OPEN)
        trades = [Trade(ts + n, "SPY", 1.5 + n, 10.0, str(n), "@I", "V", "B") for n in range(3)]
        quotes = [Quote(ts + n, "SPY", 1.0, 1.1, 3.0, 4.0) for n in range(3)]
        for kind, frame in ((TRADES, parquet.trade_frame(trades)), (QUOTES, parquet.quote_frame(quotes))):
            key = make_key("SPY", kind, TICK)
            catalog.shelf(key).write("2024-01-02", frame, until=key.bounds("2024-01-02")[1], source="test")

        assert catalog.read_trades("SPY") == trades
        assert catalog.read_trades("SPY", ts + 1, ts + 2) == trades[1:2]
        assert catalog.read_quotes("SPY", ts, ts + 2) == quotes[:2]

    def test_what_is_not_there_is_told(self, catalog: Catalog) -> None:
        """A day in the middle, a day beyond the end, another symbol: what is missing, and what there is."""
        put(catalog, SPY, minutes(OPEN, 0))
        put(catalog, SPY, minutes(OPEN + timedelta(days=2), 0))
        end = to_ns(OPEN + timedelta(days=3, minutes=1))

        with pytest.raises(DataError, match=r"missing 2024-01-03 \(1 of 3\); it has 2024-01-02 to 2024-01-04"):
            catalog.read_table("SPY")
        with pytest.raises(DataError, match=r"missing 2024-01-05"):
            catalog.read_table("SPY", "1Min", to_ns(OPEN + timedelta(days=2)), end)
        with pytest.raises(DataError, match="no bars of QQQ in 1Min; the catalog has: SPY bars 1Min"):
            catalog.read_table("QQQ")

    def test_days_without_a_session_are_not_missing(self, catalog: Catalog) -> None:
        """New Year's day and a weekend around the data; for crypto they are."""
        put(catalog, SPY, minutes(OPEN, *(1440 * day for day in range(4))))
        first, last = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 7, tzinfo=UTC)
        assert catalog.read_table("SPY", "1Min", to_ns(first), to_ns(last)).rows == 4

        put(catalog, make_key("BTC/USD"), minutes(OPEN, *(1440 * day for day in range(4))))
        with pytest.raises(DataError, match="missing 2024-01-01, 2024-01-06"):
            catalog.read_table("BTC/USD", "1Min", to_ns(first), to_ns(last))

    def test_a_damaged_file_is_named(self, catalog: Catalog) -> None:
        """And one that is gone."""
        put(catalog, SPY, minutes(OPEN, 0, 1440))
        path = catalog.root / "us_equity/SPY/bars/1Min/2024-01-03.parquet"
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(DataError, match=r"2024-01-03\.parquet: cannot be read as Parquet"):
            catalog.read_table("SPY")
        path.unlink()
        with pytest.raises(DataError, match=r"2024-01-03\.parquet: the file is gone"):
            catalog.read_table("SPY")


class TestWriting:
    """Whole or not at all."""

    def test_a_torn_line_never_counted(self, catalog: Catalog) -> None:
        """A crash in the middle of a line loses that line alone, and the next write mends the file."""
        put(catalog, SPY, minutes(OPEN, 0))
        manifest = catalog.root / "us_equity/SPY/bars/1Min/manifest.jsonl"
        whole = manifest.read_bytes()
        manifest.write_bytes(whole + b'{"part":"2024-01-03","ro')

        assert list(catalog.shelf(SPY).parts) == ["2024-01-02"]
        put(catalog, SPY, minutes(OPEN + timedelta(days=1), 0))
        assert list(catalog.shelf(SPY).parts) == ["2024-01-02", "2024-01-03"]
        assert manifest.read_bytes().startswith(whole)

    def test_a_broken_line_is_named(self, catalog: Catalog) -> None:
        """A whole line that says nothing is damage, not a crash."""
        put(catalog, SPY, minutes(OPEN, 0))
        manifest = catalog.root / "us_equity/SPY/bars/1Min/manifest.jsonl"
        manifest.write_bytes(b"nonsense\n" + manifest.read_bytes())

        with pytest.raises(DataError, match=r"manifest\.jsonl, line 1: is no line of a manifest"):
            catalog.read_table("SPY")

    def test_a_part_is_replaced_by_a_newer_one(self, catalog: Catalog) -> None:
        """The last line counts, also when the newer part is empty."""
        put(catalog, SPY, minutes(OPEN, 0, 1))
        put(catalog, SPY, minutes(OPEN, 0, 1, 2))
        assert catalog.read_table("SPY").rows == 3

        catalog.shelf(SPY).write("2024-01-02", None, until=SPY.bounds("2024-01-02")[1], source="test")
        assert catalog.read_table("SPY").rows == 0
        assert not (catalog.root / "us_equity/SPY/bars/1Min/2024-01-02.parquet").exists()

    def test_one_writes_at_a_time(self, catalog: Catalog) -> None:
        """And sweeps up what a crash left."""
        left = catalog.root / "us_equity/SPY/bars/1Min/2024-01-02.parquet.partial"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half")
        with (
            catalog.writing(),
            pytest.raises(DataError, match="another process is writing"),
            Catalog(catalog.root).writing(),
        ):
            pass
        assert not left.exists()


class TestAdjusting:
    """Raw is stored; an adjustment is a way to read."""

    @pytest.fixture
    def adjusted(self, catalog: Catalog) -> Catalog:
        """Three sessions of one bar each: 400, then a 4-for-1 split to 100, then a dividend of 1."""
        begins = [datetime(2024, 1, 2, 20, 59, tzinfo=UTC) + timedelta(days=day) for day in range(3)]
        closes = [400.0, 100.0, 99.0]
        table = BarTable.of([to_ns(begin) for begin in begins], closes, closes, closes, closes, [10.0, 40.0, 50.0])
        put(catalog, SPY, table)
        catalog.write_actions(
            "SPY",
            [Split(date(2024, 1, 3), 4.0, 1.0), Dividend(date(2024, 1, 4), 1.0)],
            date(2024, 1, 1),
            date(2024, 1, 31),
        )
        return catalog

    @pytest.mark.parametrize(
        ("adjustment", "closes", "volumes"),
        [
            (Adjustment.RAW, [400.0, 100.0, 99.0], [10.0, 40.0, 50.0]),
            (Adjustment.SPLIT, [100.0, 100.0, 99.0], [40.0, 40.0, 50.0]),
            (Adjustment.DIVIDEND, [396.0, 99.0, 99.0], [10.0, 40.0, 50.0]),
            (Adjustment.ALL, [99.0, 99.0, 99.0], [40.0, 40.0, 50.0]),
        ],
    )
    def test_each_adjustment(
        self, adjusted: Catalog, adjustment: Adjustment, closes: list[float], volumes: list[float]
    ) -> None:
        """A holder who neither gained nor lost sees no step in the prices that are adjusted for both."""
        table = adjusted.read_table("SPY", adjustment=adjustment)

        assert table.close.tolist() == pytest.approx(closes)
        assert table.volume.tolist() == volumes

    def test_actions_after_a_day_can_be_left_out(self, adjusted: Catalog) -> None:
        """As things stood on that day."""
        table = adjusted.read_table("SPY", adjustment=Adjustment.ALL, as_of=date(2024, 1, 3))
        assert table.close.tolist() == [100.0, 100.0, 99.0]

    def test_adjusting_without_actions_is_refused(self, catalog: Catalog) -> None:
        """Not knowing of a split is not the same as knowing that there was none."""
        put(catalog, SPY, minutes(OPEN, 0))
        with pytest.raises(DataError, match="the splits and dividends of SPY are not in the catalog"):
            catalog.read_table("SPY", adjustment=Adjustment.SPLIT)
        catalog.write_actions("SPY", [], date(2024, 1, 1), date(2024, 1, 31))
        assert catalog.read_table("SPY", adjustment=Adjustment.SPLIT).close.tolist() == [100.5]

    def test_a_dividend_needs_the_close_before_it(self, catalog: Catalog) -> None:
        """Where the catalog has none it says which."""
        put(catalog, SPY, minutes(datetime(2024, 1, 3, 12, 0, tzinfo=UTC), 0))  # before the open: no session's close
        catalog.write_actions("SPY", [Dividend(date(2024, 1, 4), 1.0)], date(2024, 1, 1), date(2024, 1, 31))
        with pytest.raises(DataError, match="the close of SPY before the ex-date 2024-01-04 is not in the catalog"):
            catalog.read_table("SPY", adjustment=Adjustment.ALL)

    def test_a_source_has_the_last_word_on_its_days(self, catalog: Catalog) -> None:
        """What it does not list any more is gone; other days stay."""
        catalog.write_actions("SPY", [Dividend(date(2024, 1, 4), 1.0)], date(2024, 1, 1), date(2024, 1, 31))
        catalog.write_actions("SPY", [Dividend(date(2024, 2, 4), 1.0)], date(2024, 2, 1), date(2024, 2, 29))
        catalog.write_actions("SPY", [Dividend(date(2024, 1, 5), 2.0)], date(2024, 1, 1), date(2024, 1, 31))

        assert catalog.read_actions("SPY") == [Dividend(date(2024, 1, 5), 2.0), Dividend(date(2024, 2, 4), 1.0)]
