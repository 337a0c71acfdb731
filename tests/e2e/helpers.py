"""The command as its user meets it: real processes, a home of their own, and nothing left behind.

The processes themselves are those of ``holdfast.testing.processes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pytest

from holdfast.data import read_bars, write_bars
from holdfast.journal import DatabaseUrl, EpochRecord, JournalReader, Record
from holdfast.model import BarSeries
from holdfast.model.commands import SubmitOrder
from holdfast.model.orders import OrderIntent
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND, parse_rfc3339, to_ns
from holdfast.samples import path as sample_path
from holdfast.testing.kills import complaints
from holdfast.testing.processes import LOCAL_KEYS, Command, Finished, VenueBooks, VenueProcess, venue_state

C = TypeVar("C", bound=Command)

ROOT = Path(__file__).parents[2]
STRATEGIES = Path(__file__).with_name("strategies")
SHARED_DATA = ROOT.parent / "shared" / "data"
SAMPLE_SYMBOL = "BTC/USD"
PATIENCE = 90.0


class Commands:
    """Starts the command in a folder, with a home of its own; see the ``commands`` fixture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._started: list[Command] = []

    def start(self, *arguments: object, env: Mapping[str, str] | None = None) -> Command:
        """Start ``holdfast ARGUMENTS``."""
        return self._kept(Command(self.folder, str(len(self._started)), arguments, env))

    def run(self, *arguments: object, env: Mapping[str, str] | None = None) -> Finished:
        """The same, to its end."""
        return self.start(*arguments, env=env).finish()

    def venue(self, *arguments: object) -> VenueProcess:
        """Start ``holdfast venue ARGUMENTS`` and wait until it listens."""
        return self._kept(VenueProcess(self.folder, str(len(self._started)), arguments))

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

    def _kept(self, running: C) -> C:
        self._started.append(running)
        return running


# -- the venue, asked from outside ----------------------------------------------------------------


def venue_time(url: str) -> int:
    """The venue's time (UTC ns); zero while nobody answers."""
    state = venue_state(url)
    return 0 if state is None else int(state["now_ns"])


def open_orders(url: str) -> list[dict[str, Any]]:
    """What rests there for the bot. One request: they count against the bot's own rate limit."""
    return httpx.get(url + "/v2/orders", headers=LOCAL_KEYS, timeout=5.0, trust_env=False).raise_for_status().json()  # type: ignore[no-any-return]  # JSON is what it is


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
    assert complaints(summary, venue, journal_records(journal)) == []
    intents = [intent.client_order_id for intent in journaled_intents(journal)]
    assert len(intents) == len(set(intents)), "an intent was journaled twice"


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
