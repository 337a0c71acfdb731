"""A venue over recorded quotes and trades: orders meet them, the bars are theirs, and SIGKILL changes nothing."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.data.tick_files import minute_bars, read_quotes, read_trades
from holdfast.model.errors import DataError
from holdfast.model.timestamps import NS_PER_SECOND, format_rfc3339
from holdfast.testing import VenueAdmin
from tests.venue.helpers import OPENING, VenueProcess, market

Row = dict[str, Any]
Start = Callable[..., VenueProcess]

MINUTES = 6


def trade_rows() -> list[str]:
    """Of each minute three trades, the last of them a second before its end; none in minute 3."""
    rows = []
    for minute in (0, 1, 2, 4, 5):
        for number, second in enumerate((1, 20, 59)):
            ts = OPENING + (60 * minute + second) * NS_PER_SECOND
            rows.append(f"{format_rfc3339(ts)},SPY,{400 + minute + number * 0.25},{10 + number}")
    return rows


def quote_rows() -> list[str]:
    """A quote every ten seconds, moments in nanoseconds."""
    rows = []
    for number in range(MINUTES * 6):
        ts, bid = OPENING + number * 10 * NS_PER_SECOND, 400 + number / 100
        rows.append(f"{ts},SPY,{bid:.2f},5,{bid + 0.37:.2f},7")
    return rows


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The options that name both files; one is gzipped."""
    quotes, trades = tmp_path / "quotes.csv", tmp_path / "trades.csv.gz"
    quotes.write_text("\n".join(["ts,symbol,bid,bid_size,ask,ask_size", *quote_rows()]))
    trades.write_bytes(gzip.compress("\n".join(["ts,symbol,price,size", *trade_rows()]).encode()))
    return ["--quotes", str(quotes), "--trades", str(trades)]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``holdfast venue`` with options; all are dead in the end."""
    started: list[VenueProcess] = []

    def run(*options: str) -> VenueProcess:
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast", "venue", "--exit-with-parent", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1])
        started.append(VenueProcess(process, json.loads(line)))
        return started[-1]

    yield run
    for venue in started:
        venue.kill()


SLOW = ("--speed", "0.001", "--participation", "0")


def get(venue: VenueProcess, path: str, **params: str) -> Any:
    """What a data request is answered."""
    with venue.client() as client:
        return client.get(path, params={"start": "2024-01-02", "limit": "10000", **params}).raise_for_status().json()


def test_orders_fill_at_the_recorded_quotes(start: Start, files: list[str]) -> None:
    """A buy at the ask of now, as far as its size goes, and the rest at the next one."""
    venue = start("--speed", "0.001", *files)
    with VenueAdmin(venue.admin) as admin, venue.client() as client:
        admin.set_time("2024-01-02T14:31:05Z")
        order = client.post("/v2/orders", json=market("9", symbol="SPY")).raise_for_status().json()
        assert client.get("/v2/stocks/SPY/quotes/latest").json()["quote"]["ap"] == 400.43
        assert client.get(f"/v2/orders/{order['id']}").json()["filled_qty"] == "7"
        admin.set_time("2024-01-02T14:31:15Z")
        fills = client.get("/v2/account/activities/FILL", params={"direction": "asc"}).json()
    assert [(fill["qty"], fill["price"]) for fill in fills] == [("7", "400.43"), ("2", "400.44")]


def test_bars_quotes_and_trades_are_those_of_the_files(start: Start, files: list[str]) -> None:
    """A minute with quotes alone has no volume and the price of the last trade."""
    venue = start(*SLOW, *files)
    with VenueAdmin(venue.admin) as admin:
        admin.set_time("2024-01-02T14:35:59Z")
        trades = get(venue, "/v2/stocks/SPY/trades")["trades"]
        quotes = get(venue, "/v2/stocks/SPY/quotes")["quotes"]
        bars = get(venue, "/v2/stocks/SPY/bars", timeframe="1Min")["bars"]

    assert [f"{row['t']},SPY,{row['p']:g},{row['s']}" for row in trades] == [
        row.replace(".0,", ",") for row in trade_rows()
    ]
    assert [row["bp"] for row in quotes] == [float(row.split(",")[2]) for row in quote_rows()]
    assert [[bar[name] for name in ("o", "h", "l", "c", "v", "n")] for bar in bars] == [
        [400, 400.5, 400, 400.5, 33, 3],
        [401, 401.5, 401, 401.5, 33, 3],
        [402, 402.5, 402, 402.5, 33, 3],
        [402.5, 402.5, 402.5, 402.5, 0, 0],
        [404, 404.5, 404, 404.5, 33, 3],
    ]
    assert bars[0]["vw"] == pytest.approx((400 * 10 + 400.25 * 11 + 400.5 * 12) / 33)


def test_of_one_kind_alone_the_other_is_made_of_the_bars(start: Start, files: list[str]) -> None:
    """Trades have quotes around them; quotes without bars or trades are refused."""
    venue = start(*SLOW, *files[2:])
    with VenueAdmin(venue.admin) as admin:
        admin.set_time("2024-01-02T14:32:30Z")
        assert len(get(venue, "/v2/stocks/SPY/quotes")["quotes"]) > 16
        assert len(get(venue, "/v2/stocks/SPY/trades")["trades"]) == 8
    with pytest.raises(AssertionError, match="there are quotes of SPY, and neither bars nor trades"):
        start(*SLOW, *files[:2])


def test_with_bars_the_symbols_that_are_not_recorded_keep_theirs(start: Start, files: list[str]) -> None:
    """The recorded ones join them."""
    venue = start(*SLOW, *files, "--synthetic", "QQQ", "--sessions", "1")
    with VenueAdmin(venue.admin) as admin:
        assert set(admin.state()["symbols"]) == {"QQQ", "SPY"}


def test_in_lockstep_there_are_no_ticks_to_replay(start: Start, files: list[str]) -> None:
    """Orders meet bars there; so it is said."""
    with pytest.raises(AssertionError, match="recorded quotes and trades need --speed NUMBER"):
        start(*files)


def test_a_killed_venue_goes_on_and_other_ticks_are_another_market(
    start: Start, files: list[str], tmp_path: Path
) -> None:
    """The same fills, a price that was moved, a late trade; a book knows its ticks."""
    book = ("--book", str(tmp_path / "book.db"))

    def everything(venue: VenueProcess) -> Any:
        with venue.client() as client:
            account = [client.get(path).json() for path in ("/v2/account", "/v2/account/activities/FILL", "/v2/orders")]
        return account, [
            get(venue, f"/v2/stocks/SPY/{kind}", timeframe="1Min") for kind in ("bars", "trades", "quotes")
        ]

    first = start(*SLOW, *files, *book)
    with VenueAdmin(first.admin) as admin, first.client() as client:
        admin.set_time("2024-01-02T14:31:05Z")
        client.post("/v2/orders", json=market("9", symbol="SPY")).raise_for_status()
        admin.late_trade("SPY", 410, 3)
        admin.move_price("SPY", 804)
        admin.set_time("2024-01-02T14:32:25Z")
        client.post("/v2/orders", json=market("2", "sell", symbol="SPY")).raise_for_status()
        kept = everything(first)
        first.kill()
    assert [row["p"] for row in kept[1][1]["trades"]][3:] == [410, 401, 401.25, 401.5, 804, 804.5]
    assert kept[0][1][0]["price"] == f"{round(400.14 * 2, 2)}"

    second = start(*SLOW, *files, *book)
    assert everything(second) == kept
    second.kill()
    quotes = Path(files[1])
    quotes.write_text(quotes.read_text().replace(",7\n", ",8\n", 1))
    with pytest.raises(AssertionError, match="book"):
        start(*SLOW, *files, *book)


BAD_QUOTES: list[tuple[str, str]] = [
    ("1704205800000000000,SPY,1,1,2", "line 2: 5 columns; expected 6: ts,symbol,bid,bid_size,ask,ask_size"),
    ("yesterday,SPY,1,1,2,1", "line 2, column ts: 'yesterday'; expected nanoseconds since the epoch, or a time like"),
    ("1704205800,SPY,1,1,2,1", "line 2, column ts: '1704205800'; expected nanoseconds"),
    ("1704205800000000000,S PY,1,1,2,1", "column symbol: 'S PY'; expected one like SPY, BRK.B or BTC/USD"),
    ("1704205800000000000,SPY,x,1,2,1", "column bid: 'x'; expected a number"),
    ("1704205800000000000,SPY,nan,1,2,1", "column bid: 'nan'; expected a number"),
    ("1704205800000000000,SPY,0,1,2,1", "column bid: '0'; expected a price above 0"),
    ("1704205800000000000,SPY,3,1,2,1", "column bid: '3'; expected a bid that is not above the ask of 2"),
    ("1704205800000000000,SPY,1,1,2,-1", "column ask_size: '-1'; expected a size of 0 or more"),
    (
        "1704205800000000001,SPY,1,1,2,1\n1704205800000000000,SPY,1,1,2,1",
        "line 3, column ts: '1704205800000000000'; expected a time not before that of the row of SPY before it",
    ),
    ("", "there are no rows after the header"),
]


@pytest.mark.parametrize(("rows", "why"), BAD_QUOTES)
def test_a_bad_row_is_named_by_file_line_and_column(tmp_path: Path, rows: str, why: str) -> None:
    """With what was expected."""
    path = tmp_path / "quotes.csv"
    path.write_text(f"ts,symbol,bid,bid_size,ask,ask_size\n{rows}\n")
    with pytest.raises(DataError) as refused:
        read_quotes(path)
    assert str(refused.value).startswith(f"{path}")
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ts,symbol,price\n", "line 1: the header is 'ts,symbol,price'; expected the columns ts,symbol,price,size"),
        ("ts,symbol,price,size\n1704205800000000000,SPY,1,0\n", "line 2, column size: '0'; expected a size above 0"),
        ("", "the file is empty; expected the header ts,symbol,price,size"),
    ],
)
def test_trades_are_read_as_strictly(tmp_path: Path, text: str, why: str) -> None:
    """Header and rows."""
    path = tmp_path / "trades.csv"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        read_trades(path)
    assert why in str(refused.value)


def test_columns_may_stand_in_any_order_and_symbols_be_mixed(tmp_path: Path) -> None:
    """Both ways to write a moment mean the same."""
    path = tmp_path / "trades.csv"
    path.write_text(
        f"size,price,symbol,ts\n1,2,SPY,{OPENING}\n3,4,BTC/USD,{OPENING - 1}\n5,6,SPY,2024-01-02T14:30:00Z\n"
    )
    trades = read_trades(path)
    assert trades["SPY"].ts.tolist() == [OPENING, OPENING]
    assert (trades["SPY"].price.tolist(), trades["SPY"].size.tolist()) == ([2, 6], [1, 5])
    assert minute_bars("SPY", trades["SPY"]).volume.tolist() == [6]
