"""The command as its user meets it: real processes, a home of their own, and nothing left behind.

Every process writes into files of the test's folder, so that no full pipe ever holds one up and what it
said can be read while it runs. Nothing here waits for a guessed time: ``wait_until`` looks again and again
at what must become true, and only its last resort is a clock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx
import msgspec
import numpy as np
import pytest

from holdfast.data import read_bars, write_bars
from holdfast.journal import DatabaseUrl, EpochRecord, JournalReader, Record
from holdfast.model import BarSeries
from holdfast.model.commands import SubmitOrder
from holdfast.model.orders import OrderIntent
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND, parse_rfc3339, to_ns
from holdfast.samples import path as sample_path

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
STRATEGIES = Path(__file__).with_name("strategies")
SHARED_DATA = ROOT.parent / "shared" / "data"
SAMPLE_SYMBOL = "BTC/USD"
#: The account that ``holdfast paper`` opens on a built-in venue where no keys are configured.
LOCAL_KEYS = {"APCA-API-KEY-ID": "HOLDFAST-LOCAL", "APCA-API-SECRET-KEY": "local-venue-only"}
PATIENCE = 90.0
_TICK = 0.02


class Finished(msgspec.Struct, frozen=True):
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output; fails with what it said where it failed."""
        assert self.code == 0, self.err
        found: dict[str, Any] = msgspec.json.decode(self.out)
        return found


class Running:
    """A process of the command, while it runs."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def out(self) -> str:
        """What it has written to standard output so far."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None

    def tick(self) -> None:
        """Let a moment pass; less if the process ends in it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_TICK)

    def until(self, look: Callable[[], T | None]) -> T:
        """What ``look`` finds, as soon as it finds something; fails if the process ends before."""
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            assert not self.has_ended, f"ended with {self.process.returncode}: {self.err}"
            assert time.monotonic() < deadline, f"waited {PATIENCE} s in vain; it said: {self.err}"
            self.tick()
        return found

    def end(self, number: signal.Signals | None = None) -> Finished:
        """Send a signal, if one is given, and wait for the end."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        return Finished(code, self.out, self.err)

    def kill(self) -> None:
        """SIGKILL; waits until it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE)

    # -- what it serves ---------------------------------------------------------------------------

    def venue_url(self) -> str:
        """Where the venue that it trades on is, from its first lines."""
        return self.until(lambda: _word_after(self.err, "built-in venue at "))

    def status_url(self) -> str:
        """Where its status API is."""
        return self.until(lambda: _word_after(self.err, "status  ")).removesuffix("/status")


class Venue(Running):
    """A ``holdfast venue`` that listens."""

    url: str
    admin: str

    def wait_ready(self) -> Venue:
        """Returns once it has said where it is."""
        line = self.until(lambda: self.out if self.out.endswith("\n") else None)
        ready = msgspec.json.decode(line)
        self.url, self.admin = ready["url"], ready["admin"]
        return self

    @property
    def port(self) -> int:
        """Of its trading API."""
        return int(self.url.rpartition(":")[2])


class Commands:
    """Starts the command in a folder, with a home of its own; see the ``commands`` fixture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._started: list[Running] = []

    def environment(self, **more: str) -> dict[str, str]:
        """This process's, without any key or setting of a user."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("APCA_", "HOLDFAST_"))}
        return {**kept, "HOLDFAST_HOME": str(self.home), "COLUMNS": "100", **more}

    def start(self, *arguments: object, env: Mapping[str, str] | None = None) -> Running:
        """Start ``holdfast ARGUMENTS``."""
        return self._start(Running, arguments, env)

    def run(self, *arguments: object, env: Mapping[str, str] | None = None) -> Finished:
        """The same, to its end."""
        return self.start(*arguments, env=env).end()

    def venue(self, *arguments: object) -> Venue:
        """Start ``holdfast venue ARGUMENTS`` and wait until it listens."""
        return self._start(Venue, ("venue", *arguments), None).wait_ready()

    def paper(self, *arguments: object) -> dict[str, Any]:
        """The summary of a lock-step session."""
        return self.run("paper", *arguments, "--speed", "max", "--once", "--json").json

    def backtest(self, *arguments: object) -> dict[str, Any]:
        """The summary of a backtest."""
        return self.run("backtest", *arguments, "--json").json

    def clean_up(self) -> None:
        """End whatever still runs."""
        for running in self._started:
            if not running.has_ended:
                running.kill()

    def _start(self, kind: type[R], arguments: Sequence[object], env: Mapping[str, str] | None) -> R:
        number = len(self._started)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "holdfast", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self.folder,
                env=self.environment(**(env or {})),
            )
        running = kind(process, out, err)
        self._started.append(running)
        return running


R = TypeVar("R", bound=Running)


def _word_after(text: str, mark: str) -> str | None:
    """The word after a mark in a complete line; None while there is none."""
    for line in text.splitlines(keepends=True):
        if mark in line and line.endswith("\n"):
            return line.partition(mark)[2].split()[0]
    return None


# -- the venue, asked from outside ----------------------------------------------------------------


def venue_state(url: str) -> dict[str, Any] | None:
    """What the venue says of itself; None while nobody answers."""
    try:
        found: dict[str, Any] = httpx.get(url + "/", timeout=5.0, trust_env=False).json()
    except httpx.HTTPError:
        return None
    return found


def venue_time(url: str) -> int:
    """The venue's time (UTC ns); zero while nobody answers."""
    state = venue_state(url)
    return 0 if state is None else int(state["now_ns"])


def open_orders(url: str) -> list[dict[str, Any]]:
    """What rests there for the bot. One request: they count against the bot's own rate limit."""
    return httpx.get(url + "/v2/orders", headers=LOCAL_KEYS, timeout=5.0, trust_env=False).raise_for_status().json()  # type: ignore[no-any-return]  # JSON is what it is


class VenueBooks(msgspec.Struct, frozen=True):
    """What the venue's REST API says of one account."""

    orders: list[dict[str, Any]]
    fills: list[dict[str, Any]]
    positions: dict[str, str]
    cash: str

    @classmethod
    def ask(cls, url: str, keys: Mapping[str, str] | None = None) -> VenueBooks:
        """All of it, page by page."""
        with httpx.Client(base_url=url, headers=keys or LOCAL_KEYS, timeout=30.0, trust_env=False) as client:
            return cls(
                orders=list(_all_orders(client)),
                fills=list(_all_fills(client)),
                positions={row["symbol"]: row["qty"] for row in client.get("/v2/positions").json()},
                cash=client.get("/v2/account").json()["cash"],
            )

    @property
    def execution_ids(self) -> list[str]:
        """Of the fills, in their order."""
        return [row["id"].rpartition("::")[2] for row in self.fills]


def _all_orders(client: httpx.Client) -> Iterator[dict[str, Any]]:
    seen: dict[str, None] = {}
    after = "1970-01-01T00:00:00Z"
    while True:
        query = {"status": "all", "limit": "500", "direction": "asc", "after": after}
        page = [
            row for row in client.get("/v2/orders", params=query).raise_for_status().json() if row["id"] not in seen
        ]
        if not page:
            return
        seen |= dict.fromkeys(row["id"] for row in page)
        yield from page
        after = page[-1]["submitted_at"]


def _all_fills(client: httpx.Client) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        query = {"direction": "asc", "page_size": "100"} | ({"page_token": token} if token else {})
        page = client.get("/v2/account/activities/FILL", params=query).raise_for_status().json()
        if not page:
            return
        yield from page
        token = page[-1]["id"]


# -- the journal, read from outside ---------------------------------------------------------------


def journal_records(path: Path | DatabaseUrl) -> list[Record]:
    """All records of a journal that nobody owns any more."""
    with JournalReader(path) as journal:
        return list(journal.records())


def journaled_intents(path: Path | DatabaseUrl) -> list[OrderIntent]:
    """The intents of every submit command, in order."""
    return [
        command.intent
        for record in journal_records(path)
        if isinstance(record.content, tuple)
        for command in record.content
        if isinstance(command, SubmitOrder)
    ]


def epochs(path: Path | DatabaseUrl) -> list[EpochRecord]:
    """The runs that a journal has seen."""
    return [record.content for record in journal_records(path) if isinstance(record.content, EpochRecord)]


# -- what two sides must agree on -----------------------------------------------------------------


def assert_equal_books(summary: Mapping[str, Any]) -> None:
    """A run's own comparison with the venue found nothing."""
    assert summary["drift"] == []
    assert summary["orphans"] == []
    assert summary["shadows"] == []
    assert summary["positions"] == summary["venue_positions"]
    assert summary["trading_state"] == "active"


def assert_same_on_both_sides(summary: Mapping[str, Any], venue: VenueBooks, journal: Path) -> None:
    """P2, P3 and P4, seen from outside: intents, orders, executions, positions and cash."""
    assert_equal_books(summary)
    intents = [intent.client_order_id for intent in journaled_intents(journal)]
    assert len(intents) == len(set(intents)), "an intent was journaled twice"
    at_venue = [order["client_order_id"] for order in venue.orders]
    assert len(at_venue) == len(set(at_venue)), "an intent has two orders"
    assert set(at_venue) <= set(intents), "the venue has an order that was not journaled"
    ours = {order["id"]: order for order in summary["orders"]}
    assert set(ours) == set(intents)
    for client_order_id in set(intents) - set(at_venue):
        order = ours[client_order_id]
        assert order["status"] in {"never_sent", "rejected", "dropped"}, order
        assert order["evidence"], order
    for order in venue.orders:
        own = ours[order["client_order_id"]]
        assert (own["status"], own["filled"]) == (order["status"], _plain(order["filled_qty"])), (own, order)
    counted = [fill["id"] for fill in summary["fills"]]
    assert sorted(counted) == sorted(venue.execution_ids)
    assert len(counted) == len(set(counted)), "an execution was counted twice"
    assert {symbol.replace("/", ""): quantity for symbol, quantity in summary["positions"].items()} == {
        symbol: _plain(quantity) for symbol, quantity in venue.positions.items()
    }
    assert summary["cash"] == _plain(venue.cash)


def _plain(amount: str) -> str:
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


def decisions(summary: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The orders of a run as what P10 promises to be the same."""
    keys = ("bar", "symbol", "side", "quantity", "type", "time_in_force", "limit_price", "status", "filled", "reason")
    return [tuple(order[key] for key in keys) for order in summary["orders"]]


def assert_same_session(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """P10: the same orders, and everything that follows from them."""
    assert decisions(one) == decisions(other)
    for key in ("bars", "signals", "blocked", "trades", "equity", "cash", "positions", "venue_positions"):
        assert one[key] == other[key], key
    keys = ("at", "symbol", "side", "quantity", "price")
    assert [[fill[key] for key in keys] for fill in one["fills"]] == [
        [fill[key] for key in keys] for fill in other["fills"]
    ]


# -- markets --------------------------------------------------------------------------------------


def sample(start: int, stop: int) -> BarSeries:
    """Rows of the bundled sample."""
    return read_bars(sample_path(), SAMPLE_SYMBOL).slice(start, stop)


def save_sample(path: Path, start: int, stop: int) -> Path:
    """A cut of the bundled sample as a file."""
    write_bars(sample(start, stop), path)
    return path


def save_waves(path: Path, count: int, *, start: str = "2022-01-03T00:00:00Z", volume: float = 50.0) -> Path:
    """A calm made-up market around 40,000 with deep waves, which gives a mean reversion something to do."""
    index = np.arange(count + 1)
    prices = np.round(40_000 + 120 * np.sin(index / 9.0) + 30 * np.sin(index / 2.3), 2)
    opens, closes = prices[:-1], prices[1:]
    series = BarSeries(
        SAMPLE_SYMBOL,
        NS_PER_MINUTE,
        parse_rfc3339(start) + (index[:-1] + 1).astype(np.int64) * NS_PER_MINUTE,
        opens,
        np.maximum(opens, closes) + 5,
        np.minimum(opens, closes) - 5,
        closes,
        np.full(count, volume),
    )
    write_bars(series, path)
    return path


def shared_file(name: str) -> Path:
    """A file of recorded data that is not part of the repository; skips where it is absent."""
    path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


def save_index_minutes(path: Path, volume: float, sessions: int) -> Path:
    """The S&P 500 index minutes in our form: New York times to UTC, columns put right, a volume given to each."""
    lines = shared_file("spx_1m_2019-11-05_08.csv").read_text().splitlines()
    assert lines[0] == "Date,Open,Close,High,Low,Volume"
    rows = ["timestamp,open,high,low,close,volume"]
    for line in lines[1 : 1 + 390 * sessions]:
        date, open_, close, high, low, _ = line.split(",")
        at = datetime.strptime(date, "%m/%d/%Y %H:%M").replace(tzinfo=ZoneInfo("America/New_York"))
        rows.append(f"{to_ns(at) // NS_PER_SECOND},{open_},{high},{low},{close},{volume}")
    path.write_text("\n".join(rows) + "\n")
    return path


def minutes_between(start_ns: int, end_ns: int) -> float:
    """Of venue time."""
    return timedelta(microseconds=(end_ns - start_ns) / 1_000) / timedelta(minutes=1)
