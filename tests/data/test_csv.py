"""CSV files: what is written is what is read, and what is wrong is named by file, line and reason."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.data import csv as module
from holdfast.data import load, read_bars, write_bars
from holdfast.model.errors import DataError
from holdfast.model.series import BarSeries
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND, format_rfc3339

HEADER = "timestamp,open,high,low,close,volume"
ROWS = [
    "2022-01-05T00:00:00Z,10.0,11.0,9.0,10.5,100.0",
    "2022-01-05T00:01:00Z,10.5,10.5,10.5,10.5,0",
    "2022-01-05T00:04:00Z,10.5,12.0,10.0,11.0,7.25",
]
T0 = 1_641_340_800 * NS_PER_SECOND  # 2022-01-05T00:00:00Z

# Hypothesis keeps the directory between examples; every example writes the files that it reads.
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def put(path: Path, *lines: str, end: str = "\n") -> Path:
    """Write lines, gzipped where the name says so."""
    data = (end.join(lines) + end).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def assert_same(one: BarSeries, two: BarSeries) -> None:
    """Every column is equal, to the last bit."""
    assert (one.symbol, one.period) == (two.symbol, two.period)
    for name in ("ts", "open", "high", "low", "close", "volume"):
        assert getattr(one, name).tolist() == getattr(two, name).tolist(), name


prices = st.floats(min_value=1e-9, max_value=1e9)


@st.composite
def series(draw: st.DrawFn) -> BarSeries:
    """Any valid bars, with gaps, at least two."""
    count = draw(st.integers(2, 12))
    period = draw(st.sampled_from([NS_PER_SECOND, NS_PER_MINUTE, 86_400 * NS_PER_SECOND, 1_000_000, 1]))
    steps = draw(st.lists(st.integers(1, 5), min_size=count - 1, max_size=count - 1))
    begin = T0 + draw(st.integers(-(10**18), 10**18))
    ts = begin + period * np.cumsum([1, *steps], dtype=np.int64)
    columns = []
    for _ in range(count):
        low, middle1, middle2, high = sorted(draw(st.tuples(prices, prices, prices, prices)))
        o, c = draw(st.permutations([middle1, middle2]))
        columns.append((o, high, low, c, draw(st.floats(min_value=0, max_value=1e15))))
    table = np.array(columns, dtype=np.float64)
    return BarSeries("ANY", period, ts, *(table[:, at] for at in range(5)))


class TestRoundTrip:
    """read_bars(write_bars(x)) == x."""

    @pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
    @same_folder
    @given(bars=series())
    def test_any_bars_come_back_exactly(self, tmp_path: Path, name: str, bars: BarSeries) -> None:
        """Plain and gzipped, to the last bit of every float and the last nanosecond."""
        write_bars(bars, tmp_path / name)

        assert_same(read_bars(tmp_path / name, "ANY", period=bars.period), bars)

    def test_the_same_bars_give_the_same_bytes(self, tmp_path: Path) -> None:
        """A gzip file holds no time of writing."""
        bars = read_bars(put(tmp_path / "x.csv", HEADER, *ROWS), "X")
        write_bars(bars, tmp_path / "a.csv.gz")
        write_bars(bars, tmp_path / "b.csv.gz")

        assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()

    def test_a_folder_that_is_not_there_is_one_clear_sentence(self, tmp_path: Path) -> None:
        """Writing fails with the path and the reason, and leaves nothing behind."""
        bars = read_bars(put(tmp_path / "x.csv", HEADER, *ROWS), "X")

        with pytest.raises(DataError, match=r"nowhere.out\.csv: cannot be written: No such file"):
            write_bars(bars, tmp_path / "nowhere" / "out.csv")


class TestForms:
    """The forms that a good file may take; the quick pass takes all the ordinary ones."""

    def test_ts_is_the_end_of_the_bar(self, tmp_path: Path) -> None:
        """The file names starts; a bar is known at its end."""
        bars = read_bars(put(tmp_path / "x.csv", HEADER, *ROWS), "BTC/USD")

        assert bars.symbol == "BTC/USD"
        assert bars.period == NS_PER_MINUTE
        assert bars.ts.tolist() == [T0 + minutes * NS_PER_MINUTE for minutes in (1, 2, 5)]
        assert [bars.open[0], bars.high[0], bars.low[0], bars.close[0]] == [10.0, 11.0, 9.0, 10.5]
        assert bars.volume.tolist() == [100.0, 0.0, 7.25]

    @pytest.mark.parametrize(
        "form",
        [
            lambda s: format_rfc3339(s * NS_PER_SECOND),
            lambda s: format_rfc3339(s * NS_PER_SECOND).replace("Z", "+00:00"),
            lambda s: format_rfc3339((s - 18_000) * NS_PER_SECOND).replace("Z", "-05:00"),
            lambda s: format_rfc3339(s * NS_PER_SECOND).replace("Z", ".000Z"),
            lambda s: format_rfc3339(s * NS_PER_SECOND).replace("Z", "Z" if s % 120 else "+00:00"),
            str,
            lambda s: str(s * 1000),
        ],
        ids=["Z", "+00:00", "-05:00", "fraction", "mixed offsets", "seconds", "milliseconds"],
    )
    def test_every_form_of_time_names_the_same_moment(self, tmp_path: Path, form: Callable[[int], str]) -> None:
        """RFC 3339 with any offset, whole seconds, whole milliseconds; the quick pass reads them all."""
        rows = [f"{form(1_641_340_800 + 60 * n)},1,2,1,1,1" for n in range(4)]
        bars = read_bars(put(tmp_path / "x.csv", HEADER, *rows), "X")

        assert bars.ts.tolist() == [T0 + n * NS_PER_MINUTE for n in (1, 2, 3, 4)]
        assert module._parse_columns(("\n".join(rows)).encode(), tuple(range(6))) is not None

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_line_ends_and_a_byte_order_mark_do_not_matter(self, tmp_path: Path, end: str, mark: str) -> None:
        """Files from any system read alike."""
        plain = read_bars(put(tmp_path / "x.csv", HEADER, *ROWS), "X")

        assert_same(read_bars(put(tmp_path / "y.csv", mark + HEADER, *ROWS, "", "", end=end), "X"), plain)

    def test_quoted_fields_are_read(self, tmp_path: Path) -> None:
        """The exact pass knows CSV; the quick one need not."""
        rows = [",".join(f'"{field}"' for field in row.split(",")) for row in ROWS]
        plain = read_bars(put(tmp_path / "x.csv", HEADER, *ROWS), "X")

        assert_same(read_bars(put(tmp_path / "y.csv", HEADER.replace("open", '"Open"'), *rows), "X"), plain)

    @given(order=st.permutations(range(6)))
    @same_folder
    def test_columns_may_come_in_any_order(self, tmp_path: Path, order: list[int]) -> None:
        """The header says which is which."""
        plain = read_bars(put(tmp_path / "x.csv", HEADER, *ROWS), "X")
        lines = [",".join(line.split(",")[at] for at in order) for line in (HEADER, *ROWS)]

        assert_same(read_bars(put(tmp_path / "y.csv", *lines), "X"), plain)

    def test_gzip_is_recognised_by_its_content(self, tmp_path: Path) -> None:
        """A name is only a name."""
        plain = read_bars(put(tmp_path / "x.csv", HEADER, *ROWS), "X")
        packed = put(tmp_path / "x.csv.gz", HEADER, *ROWS).rename(tmp_path / "packed.csv")

        assert_same(read_bars(packed, "X"), plain)


class TestPeriod:
    """How long a bar is."""

    def test_a_given_period_serves_where_rows_do_not_tell(self, tmp_path: Path) -> None:
        """One row, and rows with gaps of 2 and 3 periods."""
        one = put(tmp_path / "one.csv", HEADER, ROWS[0])
        with pytest.raises(DataError, match="one bar alone does not tell how long a bar is"):
            read_bars(one, "X")
        assert read_bars(one, "X", period=NS_PER_MINUTE).ts.tolist() == [T0 + NS_PER_MINUTE]

    def test_a_step_that_is_no_multiple_is_named(self, tmp_path: Path) -> None:
        """The line after the odd step is the one to look at."""
        odd = put(tmp_path / "odd.csv", HEADER, *ROWS, "2022-01-05T00:05:30Z,1,1,1,1,1")

        with pytest.raises(DataError, match=r"odd\.csv, line 5: the step of 90 s .* no multiple .*\(60 s\)"):
            read_bars(odd, "X")

    def test_bars_may_not_overlap(self, tmp_path: Path) -> None:
        """A given period that is longer than a step is refused, and so is one that is not positive."""
        path = put(tmp_path / "x.csv", HEADER, *ROWS)
        with pytest.raises(DataError, match=r"line 3: the step of 60 s .* shorter than the period of a bar \(300 s\)"):
            read_bars(path, "X", period=5 * NS_PER_MINUTE)
        with pytest.raises(DataError, match="must be positive, got 0 ns"):
            read_bars(path, "X", period=0)


class Bad(NamedTuple):
    """One kind of bad line: made from the fields of a good one, and the reason that must be given."""

    make: Callable[[list[str]], list[str]]
    reason: str


def with_field(at: int, text: str) -> Callable[[list[str]], list[str]]:
    """The same line with one field replaced."""
    return lambda fields: [*fields[:at], text, *fields[at + 1 :]]


BAD: dict[str, Bad] = {
    "too few columns": Bad(lambda fields: fields[:-1], "has 5 columns; expected 6"),
    "too many columns": Bad(lambda fields: [*fields, "1"], "has 7 columns; expected 6"),
    "an empty line": Bad(lambda _: [], "has 0 columns; expected 6"),
    "a word": Bad(with_field(1, "ten"), "open 'ten' is not a number"),
    "an empty field": Bad(with_field(4, ""), "close '' is not a number"),
    "a number with an underscore": Bad(with_field(5, "1_000"), "volume '1_000' is not a number"),
    "two numbers": Bad(with_field(2, "11 12"), "high '11 12' is not a number"),
    "NaN": Bad(with_field(3, "nan"), "low 'nan' is not a finite number"),
    "infinity": Bad(with_field(2, "inf"), "high 'inf' is not a finite number"),
    "too large for a float": Bad(with_field(2, "1e999"), "high '1e999' is not a finite number"),
    "a negative price": Bad(with_field(3, "-9.0"), "a price is negative"),
    "a zero price": Bad(with_field(3, "0.0"), "a price is zero"),
    "a negative volume": Bad(with_field(5, "-1"), "the volume is negative (-1.0)"),
    "high below low": Bad(lambda fields: [fields[0], "10", "9", "10", "9.5", "1"], "high 9.0 is below low 10.0"),
    "open above high": Bad(with_field(1, "99"), "open 99.0 is outside low 9.0 to high 11.0"),
    "open below low": Bad(with_field(1, "8.5"), "open 8.5 is outside low 9.0 to high 11.0"),
    "close above high": Bad(with_field(4, "11.5"), "close 11.5 is outside low 9.0 to high 11.0"),
    "close below low": Bad(with_field(4, "0.5"), "close 0.5 is outside low 9.0 to high 11.0"),
    "a naive time": Bad(with_field(0, "2022-01-05T00:00:00"), "has no time zone; expected a Z or an offset"),
    "a date": Bad(with_field(0, "2022-01-05"), "has no time zone; expected a Z or an offset"),
    "no time": Bad(with_field(0, "yesterday"), "timestamp 'yesterday' is not a time; expected RFC 3339"),
    "a day that is none": Bad(with_field(0, "2022-02-30T00:00:00Z"), "is not a time; expected RFC 3339"),
    "a fraction of a second since 1970": Bad(with_field(0, "1641340800.5"), "is not a time; expected RFC 3339"),
    "microseconds since 1970": Bad(with_field(0, "1641340800000000"), "is neither seconds nor milliseconds"),
    "seconds before 1970": Bad(with_field(0, "-5"), "is neither seconds nor milliseconds"),
    "a year out of range": Bad(with_field(0, "9999-01-01T00:00:00Z"), "is out of range"),
    "seconds out of range": Bad(with_field(0, "99999999999"), "is out of range"),
    "thousands of digits": Bad(with_field(0, "1" * 5000), "is not a time; expected RFC 3339"),
    "a duplicate time": Bad(with_field(0, "previous"), "is a duplicate of the row before"),
    "a time that goes back": Bad(with_field(0, "2021-12-31T23:59:00Z"), "goes backwards; the row before has 20"),
}
NEEDS_A_ROW_BEFORE = {"a duplicate time", "a time that goes back"}


class TestBadLines:
    """Every kind of bad line, anywhere in a file, is reported with exactly that line."""

    @pytest.mark.parametrize("kind", BAD)
    @settings(same_folder, max_examples=12)
    @given(data=st.data())
    def test_the_line_is_named_with_its_reason(self, tmp_path: Path, kind: str, data: st.DataObject) -> None:
        """Whatever its place, whether gzipped or not, with either line end."""
        count = data.draw(st.integers(3, 60), "rows")
        # The last line is left good: an empty line after it would be no line at all.
        at = data.draw(st.integers(1 if kind in NEEDS_A_ROW_BEFORE else 0, count - 2), "bad row")
        name = data.draw(st.sampled_from(["bad.csv", "bad.csv.gz"]), "name")
        end = data.draw(st.sampled_from(["\n", "\r\n"]), "line end")
        rows = [[format_rfc3339(T0 + n * NS_PER_MINUTE), "10.0", "11.0", "9.0", "10.5", "100.0"] for n in range(count)]
        rows[at] = BAD[kind].make(rows[at])
        if rows[at] and rows[at][0] == "previous":
            rows[at][0] = rows[at - 1][0]
        path = put(tmp_path / name, HEADER, *(",".join(row) for row in rows), end=end)

        with pytest.raises(DataError) as raised:
            read_bars(path, "X")

        message = str(raised.value)
        assert message.startswith(f"{path}, line {at + 2}: "), message
        assert BAD[kind].reason in message
        assert "\n" not in message
        assert len(message) < len(str(path)) + 250

    def test_the_first_of_two_bad_lines_is_reported(self, tmp_path: Path) -> None:
        """People mend a file from the top."""
        path = put(tmp_path / "x.csv", HEADER, ROWS[0], "2022-01-05T00:02:00Z,x,1,1,1,1", "also,bad")

        with pytest.raises(DataError, match=r"line 3: open 'x' is not a number"):
            read_bars(path, "X")


class TestBadFiles:
    """A file that cannot be read at all is one clear sentence."""

    def test_missing(self, tmp_path: Path) -> None:
        """There is nothing of that name."""
        with pytest.raises(DataError, match=r"none\.csv: there is no such file$"):
            read_bars(tmp_path / "none.csv", "X")

    def test_a_directory(self, tmp_path: Path) -> None:
        """read_bars reads files; load reads directories."""
        with pytest.raises(DataError, match="is a directory; expected a CSV file"):
            read_bars(tmp_path, "X")

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
    def test_empty(self, tmp_path: Path, content: bytes) -> None:
        """Nothing, blank lines, a byte order mark alone, nothing gzipped."""
        (tmp_path / "x.csv").write_bytes(content)

        with pytest.raises(DataError, match=r"x\.csv: the file is empty; expected the header timestamp,open"):
            read_bars(tmp_path / "x.csv", "X")

    def test_a_header_alone(self, tmp_path: Path) -> None:
        """No bars are no data."""
        with pytest.raises(DataError, match="has a header but no bars"):
            read_bars(put(tmp_path / "x.csv", HEADER), "X")

    @pytest.mark.parametrize(
        "header",
        [
            "time,open,high,low,close,volume",
            "timestamp,open,high,low,close",
            "timestamp,open,high,low,close,volume,vwap",
            "timestamp,open,open,low,close,volume",
            ROWS[0],
            "\0\1\2 no text \xff" * 100,
        ],
    )
    def test_wrong_header(self, tmp_path: Path, header: str) -> None:
        """What was found and what was expected, shortly."""
        with pytest.raises(DataError, match=r"line 1: the header is .*; expected the columns timestamp,open") as raised:
            read_bars(put(tmp_path / "x.csv", header, *ROWS), "X")

        assert len(str(raised.value)) < 400

    @pytest.mark.parametrize("cut", [3, 12, 40, -1, -9])
    def test_truncated_gzip(self, tmp_path: Path, cut: int) -> None:
        """Cut anywhere: in the header, in the data, in the check sum."""
        path = put(tmp_path / "x.csv.gz", HEADER, *ROWS)
        path.write_bytes(path.read_bytes()[:cut])

        with pytest.raises(DataError, match=r"x\.csv\.gz: the gzip file is truncated$"):
            read_bars(path, "X")

    def test_damaged_gzip(self, tmp_path: Path) -> None:
        """A flipped bit is found by the check sum."""
        path = put(tmp_path / "x.csv.gz", HEADER, *ROWS)
        data = bytearray(path.read_bytes())
        data[-6] ^= 1
        path.write_bytes(data)

        with pytest.raises(DataError, match=r"x\.csv\.gz: the gzip file is damaged: "):
            read_bars(path, "X")

    @same_folder
    @given(content=st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: f"{HEADER}\n".encode() + tail))
    @example(content=f"{HEADER}\n2022-01-05T00:00:00Z,1,1,1,1,1\x00".encode())
    @example(content=f'{HEADER}\n"'.encode())
    @example(content=f"{HEADER}\n{'1' * 200_000},1,1,1,1,1".encode())
    def test_any_bytes_are_bars_or_one_clear_error(self, tmp_path: Path, content: bytes) -> None:
        """Garbage is a DataError that names the file, and never anything else."""
        path = tmp_path / "x.csv"
        path.write_bytes(content)
        try:
            read_bars(path, "X", period=1)
        except DataError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - not raising at all is right, too


FIELDS = st.sampled_from(
    [
        "1",
        "2.5",
        "-1",
        "0",
        "nan",
        "inf",
        "1e5",
        " 3 ",
        "",
        "1_0",
        "0x1p3",
        "٣",
        "5\r",
        '"7"',
        "1,1",
        "1\n1",
        "+2",
        "1e999",
    ]
)
TIMES = st.sampled_from(
    [
        "2022-01-05T00:00:00Z",
        "2022-01-05T00:01:00+00:00",
        "2022-01-05 00:02:00Z",
        "2022-01-05T05:33:00+05:30",
        "2022-01-05T00:04:00",
        "2022-01-05T24:00:00Z",
        "2022-02-30T00:00:00Z",
        "20220105T000600Z",
        "1641341000",
        "1641341000000",
        "-1",
        "2022-01-05T00:07:60Z",
        "2022-01-05T00:08:00.123456789Z",
        "2022-01-05T00:08:00.1234567891Z",
        "0001-01-01T00:00:00Z",
        "99999999999",
        "99999999999999999999",
    ]
)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.tuples(TIMES, FIELDS, FIELDS, FIELDS, FIELDS, FIELDS), min_size=1, max_size=3))
def test_the_quick_pass_means_what_the_exact_one_means(rows: list[tuple[str, ...]]) -> None:
    """Where the quick pass reads a file at all, the exact pass reads the same bars."""
    body = "\n".join(",".join(row) for row in rows).encode()
    quick = module._parse_columns(body, tuple(range(6)))
    if quick is not None:
        exact = module._parse_rows(Path("x.csv"), HEADER.encode() + b"\n" + body, tuple(range(6)))
        assert [column.tolist() for column in quick] == [column.tolist() for column in exact]


def test_the_quick_pass_reads_whole_files(tmp_path: Path) -> None:
    """Canary for the test above: an ordinary file is read by columns, and by rows to the same bars."""
    body = "\n".join(ROWS).encode()
    quick = module._parse_columns(body, tuple(range(6)))
    exact = module._parse_rows(tmp_path, HEADER.encode() + b"\n" + body, tuple(range(6)))

    assert quick is not None
    assert [column.tolist() for column in quick] == [column.tolist() for column in exact]


class TestLoad:
    """Files and directories by symbol."""

    def test_a_file_holds_one_symbol(self, tmp_path: Path) -> None:
        """It is read under the name that was asked for; two names for it are refused."""
        path = put(tmp_path / "anything.csv", HEADER, *ROWS)

        assert list(load(path, ["BTC/USD", "BTC/USD"])) == ["BTC/USD"]
        with pytest.raises(DataError, match="holds the bars of one symbol, but 2 were asked for"):
            load(path, ["BTC/USD", "SPY"])

    @pytest.mark.parametrize("name", ["BTC-USD.csv", "BTC_USD.csv.gz", "BTCUSD.csv"])
    def test_a_directory_holds_one_file_a_symbol(self, tmp_path: Path, name: str) -> None:
        """The "/" of a pair is written as a dash or an underscore, or left out."""
        put(tmp_path / name, HEADER, *ROWS)
        put(tmp_path / "SPY.csv", HEADER, *ROWS)
        found = load(str(tmp_path), ["SPY", "BTC/USD"])

        assert [(symbol, bars.symbol, len(bars)) for symbol, bars in found.items()] == [
            ("SPY", "SPY", 3),
            ("BTC/USD", "BTC/USD", 3),
        ]

    def test_a_missing_symbol_is_told_with_what_there_is(self, tmp_path: Path) -> None:
        """What was expected, and what was found."""
        put(tmp_path / "SPY.csv", HEADER, *ROWS)

        with pytest.raises(DataError, match=r"no file for QQQ; expected QQQ\.csv\[\.gz\], found SPY\.csv$"):
            load(tmp_path, ["QQQ"])

    def test_two_files_for_one_symbol_are_refused(self, tmp_path: Path) -> None:
        """Nobody can tell which is meant."""
        put(tmp_path / "BTCUSD.csv", HEADER, *ROWS)
        put(tmp_path / "BTC-USD.csv", HEADER, *ROWS)

        with pytest.raises(DataError, match=r"BTC/USD has more than one file \(BTC-USD\.csv, BTCUSD\.csv\)"):
            load(tmp_path, ["BTC/USD"])

    def test_a_directory_without_csv_and_no_symbols_are_told(self, tmp_path: Path) -> None:
        """Each is one sentence."""
        (tmp_path / "notes.txt").write_text("nothing")
        with pytest.raises(DataError, match="the directory has no CSV file"):
            load(tmp_path, ["SPY"])
        with pytest.raises(DataError, match="no symbol was asked for"):
            load(tmp_path, [])

    def test_a_symbol_cannot_climb_out_of_the_directory(self, tmp_path: Path) -> None:
        """Names are looked up among the directory's own files."""
        put(tmp_path / "SPY.csv", HEADER, *ROWS)
        (tmp_path / "inner").mkdir()
        put(tmp_path / "inner" / "QQQ.csv", HEADER, *ROWS)

        with pytest.raises(DataError, match="there is no file for"):
            load(tmp_path / "inner", ["../SPY"])
