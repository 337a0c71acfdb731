"""Files of other forms into a catalog. Every fixture is written here."""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.data.catalog import Catalog, make_key
from holdfast.data.csv import read_bars, write_bars
from holdfast.data.importing import FORMS, Imported, guess_form, import_path, total
from holdfast.data.lean import describe, find_files, read_file
from holdfast.data.synthetic import synthetic_sessions
from holdfast.data.timeframes import NEW_YORK, midnight
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.market import Quote, Trade
from holdfast.model.timestamps import NS_PER_MINUTE, to_ns
from tests.data.vendors import OPEN, new_catalog
from tests.e2e.helpers import shared_file

pl = pytest.importorskip("polars", reason="the catalog needs the extra parquet")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """An empty one."""
    return new_catalog(tmp_path)


def put(catalog: Catalog, path: Path, form: str, *symbols: str, timeframe: str | None = None) -> list[Imported]:
    """Import and sum up."""
    with catalog.writing():
        return total(import_path(catalog, path, form, symbols, timeframe))


def lean(root: Path, path: str, *lines: str) -> Path:
    """A LEAN file."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(target.stem + ".csv", "".join(line + "\n" for line in lines))
    return target


class TestCsv:
    """The format of ``holdfast.data.csv``."""

    def test_what_was_in_the_file_is_in_the_catalog(self, catalog: Catalog, tmp_path: Path) -> None:
        """Bar by bar; every day between the first and the last is known, the weekend too."""
        series = synthetic_sessions(["SPY"], 6, 7, "2024-01-02")["SPY"]
        write_bars(series, tmp_path / "SPY.csv.gz")
        (done,) = put(catalog, tmp_path / "SPY.csv.gz", "csv", "SPY")

        assert (str(done.key), done.parts, done.rows) == ("SPY bars 1Min", 8, len(series))
        assert list(catalog.read_bars("SPY").bars()) == list(series.bars())

    def test_days_that_begin_at_midnight_utc_are_dates(self, catalog: Catalog, tmp_path: Path) -> None:
        """A share's day of the 2nd is New York's, whatever zone the file was written in."""
        rows = ["2024-01-02T00:00:00Z,1,1,1,1,1", "2024-01-03T00:00:00Z,1,1,1,1,1"]
        (tmp_path / "SPY.csv").write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
        put(catalog, tmp_path / "SPY.csv", "csv", "SPY")
        assert catalog.read_table("SPY", "1Day").start.tolist() == [
            midnight(date(2024, 1, day), NEW_YORK) for day in (2, 3)
        ]

    def test_real_minutes_of_a_coin(self, catalog: Catalog) -> None:
        """A month around the clock, gaps and all."""
        path = shared_file("btcusd_1m_2022-01.csv.gz")
        series = read_bars(path, "BTC/USD")
        (done,) = put(catalog, path, "csv", "BTC/USD")
        assert (done.parts, done.rows) == (31, len(series))
        assert list(catalog.read_bars("BTC/USD").bars()) == list(series.bars())

    def test_whose_bars_must_be_said(self, catalog: Catalog, tmp_path: Path) -> None:
        """The file does not know."""
        (tmp_path / "x.csv").write_text("timestamp,open,high,low,close,volume\n")
        with pytest.raises(ConfigurationError, match="does not say whose bars it holds; expected --symbols"):
            put(catalog, tmp_path / "x.csv", "csv")


class TestParquet:
    """Frames as other tools write them."""

    @pytest.mark.parametrize(
        ("names", "unit"),
        [
            (("timestamp", "open", "high", "low", "close", "volume"), "us"),
            (("t", "o", "h", "l", "c", "v"), "ns"),
            (("Date", "Open", "High", "Low", "Close", "Volume"), "ms"),
        ],
    )
    def test_the_usual_names_are_known(
        self, catalog: Catalog, tmp_path: Path, names: tuple[str, ...], unit: Any
    ) -> None:
        """In any case of letters, with times of any precision."""
        times = pl.Series([OPEN + timedelta(minutes=n) for n in (0, 1, 3)]).dt.cast_time_unit(unit)
        pl.DataFrame({names[0]: times, **{name: [1.0, 2.0, 3.0] for name in names[1:]}}).write_parquet(
            tmp_path / "a.parquet"
        )
        (done,) = put(catalog, tmp_path / "a.parquet", "parquet", "SPY")
        assert (str(done.key), done.rows) == ("SPY bars 1Min", 3)
        assert catalog.read_table("SPY").start[0] == to_ns(OPEN)

    def test_a_column_of_symbols_and_integer_times(self, catalog: Catalog, tmp_path: Path) -> None:
        """Several symbols in one file; milliseconds since 1970; vwap and counts are kept."""
        base = to_ns(OPEN) // 1_000_000
        pl.DataFrame(
            {
                "symbol": ["SPY", "QQQ", "SPY", "QQQ"],
                "timestamp": [base, base, base + 60_000, base + 60_000],
                **{name: [1.0, 2.0, 1.0, 2.0] for name in ("open", "high", "low", "close", "volume", "vwap")},
                "trade_count": [5, None, 5, 5],
            }
        ).write_parquet(tmp_path / "a.parquet")
        done = put(catalog, tmp_path / "a.parquet", "parquet")
        assert [str(one.key) for one in done] == ["QQQ bars 1Min", "SPY bars 1Min"]
        assert catalog.read_table("QQQ").trades.tolist() == [-1, 5]
        assert catalog.read_table("SPY").vwap.tolist() == [1.0, 1.0]
        with pytest.raises(DataError, match="no bars of IWM; it has nothing"):
            put(catalog, tmp_path / "a.parquet", "parquet", "IWM")

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"timestamp": [datetime(2024, 1, 2, 14, 30)]}, "no time zone, so they name no moments"),  # noqa: DTZ001 - on purpose
            ({"timestamp": ["2024-01-02"]}, "holds no times"),
            ({"timestamp": [None]}, "rows without a time|holds no times"),
            ({"when": [1]}, "has no column for start; expected one of start, timestamp"),
            ({"low": [0.0]}, r"row 1 \(2024-01-02T14:30:00Z\): a price is zero"),
            ({"close": [None]}, "row 1 .*: a number is missing"),
            ({"high": ["x"]}, "the column 'high' holds no numbers"),
        ],
    )
    def test_what_cannot_be_read_is_told(
        self, catalog: Catalog, tmp_path: Path, columns: dict[str, list[Any]], words: str
    ) -> None:
        """File, column or row, and what was expected."""
        values: dict[str, list[Any]] = {
            "timestamp": [OPEN],
            **{name: [1.0] for name in ("open", "high", "low", "close", "volume")},
        }
        if "when" in columns:
            del values["timestamp"]
        pl.DataFrame({**values, **columns}).write_parquet(tmp_path / "a.parquet")
        with pytest.raises(DataError, match=words):
            put(catalog, tmp_path / "a.parquet", "parquet", "SPY", timeframe="1Min")


class TestLean:
    """QuantConnect's zipped CSV."""

    def test_minutes_of_a_share(self, catalog: Catalog, tmp_path: Path) -> None:
        """Milliseconds after New York's midnight, prices in ten-thousandths; each file is a day."""
        lean(
            tmp_path,
            "equity/usa/minute/spy/20240102_trade.zip",
            "34200000,4724500,4725000,4724000,4724800,12345",
            "34260000,4724800,4726000,4724700,4725900,2000",
        )
        lean(tmp_path, "equity/usa/minute/spy/20240103_trade.zip", "34200000,4700000,4700000,4700000,4700000,1")
        (done,) = put(catalog, tmp_path / "equity", "lean")
        table = catalog.read_table("SPY")

        assert (str(done.key), done.parts, done.rows) == ("SPY bars 1Min", 2, 3)
        assert table.start.tolist()[:2] == [to_ns(OPEN), to_ns(OPEN) + NS_PER_MINUTE]
        assert [column[0] for column in table[1:6]] == [472.45, 472.5, 472.4, 472.48, 12345.0]

    @pytest.mark.parametrize(("day", "offset"), [("20240308", 5), ("20240311", 4), ("20240310", 4), ("20231105", 5)])
    def test_midnight_is_the_clocks(self, catalog: Catalog, tmp_path: Path, day: str, offset: int) -> None:
        """9:30 on the clock of New York, in winter, in summer and on the days on which it is changed."""
        lean(tmp_path, f"equity/usa/minute/spy/{day}_trade.zip", "34200000,1,1,1,1,1")
        put(catalog, tmp_path, "lean")
        expected = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) + timedelta(hours=9 + offset, minutes=30)
        assert catalog.read_table("SPY").start.tolist() == [to_ns(expected)]

    def test_days_and_hours_of_a_share(self, catalog: Catalog, tmp_path: Path) -> None:
        """One file for all time; times as text."""
        lean(tmp_path, "equity/usa/daily/spy.zip", "20240102 00:00,1,2,1,2,9", "20240103 00:00,2,2,2,2,9")
        lean(tmp_path, "equity/usa/hour/spy.zip", "20240102 09:00,1,2,1,2,9", "20240102 10:00,2,2,2,2,9")
        put(catalog, tmp_path, "lean")
        assert catalog.read_table("SPY", "1Day").start.tolist() == [
            midnight(date(2024, 1, day), NEW_YORK) for day in (2, 3)
        ]
        assert catalog.read_table("SPY", "1Hour").start[0] == to_ns(OPEN - timedelta(minutes=30))

    def test_coins_are_not_scaled_and_count_from_utc(self, catalog: Catalog, tmp_path: Path) -> None:
        """The pair is told from its name."""
        lean(tmp_path, "crypto/coinbase/minute/btcusd/20240102_trade.zip", "60000,42000.5,42001,42000,42000.25,0.125")
        lean(tmp_path, "crypto/coinbase/daily/ethusdt_trade.zip", "20240102 00:00,2300.5,2301,2300,2300.5,7")
        put(catalog, tmp_path, "lean")
        table = catalog.read_table("BTC/USD")
        assert (table.start[0], table.open[0], table.volume[0]) == (
            to_ns(datetime(2024, 1, 2, 0, 1, tzinfo=UTC)),
            42000.5,
            0.125,
        )
        assert catalog.read_table("ETH/USDT", "1Day").rows == 1

    def test_quote_bars_become_the_last_quote(self, catalog: Catalog, tmp_path: Path) -> None:
        """At the end of its minute; a side without a quote is zero."""
        lean(
            tmp_path,
            "equity/usa/minute/spy/20240102_quote.zip",
            "34200000,4724000,4725000,4723000,4724500,300,4726000,4727000,4725000,4726500,200",
            "34260000,,,,,0,4726000,4727000,4725000,4726500,200",
        )
        put(catalog, tmp_path, "lean")
        end = to_ns(OPEN) + NS_PER_MINUTE
        assert catalog.read_quotes("SPY", timeframe="1Min") == [
            Quote(end, "SPY", 472.45, 472.65, 300.0, 200.0),
            Quote(end + NS_PER_MINUTE, "SPY", 0.0, 472.65, 0.0, 200.0),
        ]

    def test_trade_ticks_keep_their_conditions(self, catalog: Catalog, tmp_path: Path) -> None:
        """Bits become marks; suspicious ticks are left out and counted."""
        lean(
            tmp_path,
            "equity/usa/tick/spy/20240102_trade.zip",
            "34200000.25,4724500,100,P,1,0",
            "34200001,4724500,5,D,80000020,0",
            "34200002,9999900,5,D,1,1",
        )
        (done,) = put(catalog, tmp_path, "lean")
        assert catalog.read_trades("SPY") == [
            Trade(to_ns(OPEN) + 250_000, "SPY", 472.45, 100.0, "", "@", "P", "C"),
            Trade(to_ns(OPEN) + 1_000_000, "SPY", 472.45, 5.0, "", "FI", "D", "C"),
        ]
        assert done.left_out == 1

    def test_ticks_of_coins(self, catalog: Catalog, tmp_path: Path) -> None:
        """Trades and two-sided quotes."""
        lean(tmp_path, "crypto/coinbase/tick/btcusd/20240102_trade.zip", "1,42000.5,0.5")
        lean(tmp_path, "crypto/coinbase/tick/btcusd/20240102_quote.zip", "1,42000,0.5,42001,0.7")
        put(catalog, tmp_path, "lean")
        ts = to_ns(datetime(2024, 1, 2, tzinfo=UTC)) + 1_000_000
        assert catalog.read_trades("BTC/USD") == [Trade(ts, "BTC/USD", 42000.5, 0.5)]
        assert catalog.read_quotes("BTC/USD") == [Quote(ts, "BTC/USD", 42000.0, 42001.0, 0.5, 0.7)]

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("34200000,1,1,1,1", "has 5 columns; expected at least 6"),
            ("34200000,1,1,1,x,1", "'x' is not a number"),
            ("34200000,1,1,2,1,1", "high 0.0001 is below low 0.0002"),
            ("99999999999,1,1,1,1,1", "expected milliseconds since midnight"),
            ("34199000,1,1,1,1,1", "does not come after the row before"),
        ],
    )
    def test_a_wrong_line_is_named(self, catalog: Catalog, tmp_path: Path, line: str, words: str) -> None:
        """File, line and reason."""
        lean(tmp_path, "equity/usa/minute/spy/20240102_trade.zip", "34200000,1,1,1,1,1", line)
        with pytest.raises(DataError, match=rf"20240102_trade\.zip, line 2: .*{words}"):
            put(catalog, tmp_path, "lean")

    @settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.lists(
                st.one_of(
                    st.text("0123456789.-+eEnaNif x:", max_size=12),
                    st.sampled_from(["34200000", "1", "20240102 00:00"]),
                ),
                max_size=12,
            ).map(",".join),
            max_size=4,
        ),
        st.sampled_from(
            [
                "equity/usa/minute/spy/20240102_trade.zip",
                "equity/usa/minute/spy/20240102_quote.zip",
                "equity/usa/tick/spy/20240102_trade.zip",
                "equity/usa/daily/spy.zip",
                "crypto/coinbase/tick/btcusd/20240102_quote.zip",
            ]
        ),
    )
    def test_whatever_the_lines_say_it_is_data_or_a_sentence(self, tmp_path: Path, lines: list[str], path: str) -> None:
        """Never another exception, and no number that is none."""
        file = describe(lean(tmp_path, path, *lines))
        assert file is not None
        try:
            found = read_file(file)
        except DataError as error:
            said = str(error)
        else:
            said = f"{Path(path).name}, line "
            assert found.bars is None or all(np.isfinite(column).all() for column in found.bars[:6])
        assert f"{Path(path).name}, line " in said

    def test_what_is_not_ours_is_left_or_told(self, tmp_path: Path) -> None:
        """Options and open interest are passed over; one-sided quotes are refused; damage is named."""
        assert describe(lean(tmp_path, "option/usa/minute/spy/20240102_trade_american.zip")) is None
        assert describe(lean(tmp_path, "equity/usa/minute/spy/20240102_openinterest.zip")) is None
        with pytest.raises(DataError, match="one-sided quotes of single exchanges"):
            describe(lean(tmp_path, "equity/usa/tick/spy/20240102_quote.zip"))
        with pytest.raises(DataError, match="cannot tell in what 'xyz' is quoted"):
            describe(lean(tmp_path, "crypto/coinbase/daily/xyz_trade.zip"))
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="there is no LEAN file of shares or crypto"):
            find_files(tmp_path / "empty")

    def test_a_damaged_zip_is_named(self, catalog: Catalog, tmp_path: Path) -> None:
        """Not a traceback."""
        path = lean(tmp_path, "equity/usa/daily/spy.zip", "20240102 00:00,1,2,1,2,9")
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(DataError, match=r"spy\.zip: cannot be read as a zip"):
            put(catalog, tmp_path, "lean")


def test_the_form_is_told_from_names(tmp_path: Path) -> None:
    """And where it cannot be, what was expected."""
    for name, form in (("a.csv", "csv"), ("b.csv.gz", "csv"), ("c.parquet", "parquet"), ("d.zip", "lean")):
        (tmp_path / name).touch()
        assert guess_form(tmp_path / name) == form
        assert form in FORMS
    (tmp_path / "e.txt").touch()
    with pytest.raises(DataError, match=r"cannot be told what it holds; expected \*\.csv"):
        guess_form(tmp_path / "e.txt")
    with pytest.raises(DataError, match="there is no such file or folder"):
        guess_form(tmp_path / "f")


def test_an_import_replaces_what_it_covers_from_its_own_source_only(catalog: Catalog, tmp_path: Path) -> None:
    """CSV over CSV is an update; CSV over a vendor's days needs a word."""
    series = synthetic_sessions(["SPY"], 2, 7, "2024-01-02")["SPY"]
    write_bars(series, tmp_path / "SPY.csv")
    put(catalog, tmp_path / "SPY.csv", "csv", "SPY")
    put(catalog, tmp_path / "SPY.csv", "csv", "SPY")
    lean(tmp_path, "equity/usa/minute/spy/20240102_trade.zip", "34200000,1,1,1,1,1")
    with pytest.raises(ConfigurationError, match="came from csv, and this is lean"):
        put(catalog, tmp_path / "equity", "lean")
    assert catalog.shelf(make_key("SPY")).source == "csv"
