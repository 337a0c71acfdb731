"""``holdfast paper`` from its first line to its last: the sample, files, coins and shares, at full speed and at a multiple."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

import pytest

from holdfast.data import read_bars, write_bars
from tests.e2e.helpers import SAMPLE_SYMBOL, Commands, assert_equal_books, save_waves, shared_file

KEYS = {
    "bars",
    "signals",
    "blocked",
    "orders",
    "fills",
    "trades",
    "equity",
    "cash",
    "positions",
    "venue_positions",
    "drift",
    "orphans",
    "shadows",
    "trading_state",
}
EAGER = ("--param", "deviations=1.2", "--param", "warmup_bars=5")


@pytest.mark.slow
def test_the_bundled_sample_is_traded_and_ends_with_equal_books(commands: Commands) -> None:
    """Exit code 0 and one JSON object, in which everything fits together; what it is trading on is said on standard error."""
    ended = commands.run("paper", "--speed", "max", "--once", "--json")
    summary = ended.json
    assert set(summary) >= KEYS
    assert_equal_books(summary)
    assert summary["bars"] == 2_880
    assert summary["signals"] == len(summary["orders"]) + sum(summary["blocked"].values())
    assert len(summary["orders"]) >= 10
    assert len(summary["trades"]) >= 5
    assert "bundled sample" in ended.err
    assert "NOTICE" in ended.err
    for order in summary["orders"]:
        assert datetime.fromisoformat(order["bar"]).second == 0, "decided on the end of a minute"
        filled = sum(Decimal(fill["quantity"]) for fill in summary["fills"] if fill["at"] >= order["bar"])
        assert filled >= Decimal(order["filled"])
    bought, sold = (
        sum(Decimal(fill["quantity"]) for fill in summary["fills"] if fill["side"] == side) for side in ("buy", "sell")
    )
    assert sum(Decimal(order["filled"]) for order in summary["orders"]) == bought + sold
    profit = sum(Decimal(trade["profit"]) for trade in summary["trades"])
    if not summary["positions"]:
        assert abs(Decimal(summary["cash"]) - 100_000 - profit) < Decimal("0.01") * len(summary["trades"])


@pytest.mark.slow
def test_a_cut_of_the_recorded_month(commands: Commands) -> None:
    """A file of one's own, gzipped, with a symbol."""
    cut = read_bars(shared_file("btcusd_1m_2022-01.csv.gz"), SAMPLE_SYMBOL).slice(5_000, 6_500)
    write_bars(cut, commands.folder / "cut.csv.gz")
    summary = commands.paper("--data", commands.folder / "cut.csv.gz", "--symbol", SAMPLE_SYMBOL, *EAGER)
    assert_equal_books(summary)
    assert summary["bars"] == len(cut)
    assert summary["orders"]


@pytest.mark.slow
def test_shares_at_a_multiple_of_real_time(commands: Commands) -> None:
    """At --speed N both sides follow the scaled clock; the books are equal all the same, and no bar is lost."""
    summary = commands.run(
        "paper", "--synthetic", "SPY,AAPL", "--sessions", "1", *EAGER, "--speed", "6000", "--once", "--json"
    ).json
    assert_equal_books(summary)
    assert summary["bars"] == 778
    assert summary["orders"]


@pytest.mark.slow
def test_without_json_it_ends_in_a_sentence(commands: Commands) -> None:
    """Where the output is no terminal, plain lines; the last one says how it ended."""
    data = save_waves(commands.folder / "waves.csv", 120)
    ended = commands.run("paper", "--data", data, "--symbol", SAMPLE_SYMBOL, *EAGER, "--speed", "max", "--once")
    assert ended.code == 0
    assert re.fullmatch(
        r"bars 120, signals \d+ \(blocked: .*\), orders \d+, fills \d+, trades \d+, equity [\d.]+ USD; "
        r"books equal the venue's",
        ended.out.splitlines()[-1],
    )


@pytest.mark.slow
def test_a_journal_carries_a_finished_session_into_the_next_run(commands: Commands) -> None:
    """Started again on the same journal and data, there is nothing left to trade, and nothing is done twice."""
    data, journal = save_waves(commands.folder / "waves.csv", 150), commands.folder / "journal"
    arguments = ["--data", data, "--symbol", SAMPLE_SYMBOL, *EAGER, "--journal", journal]
    first, second = commands.paper(*arguments), commands.paper(*arguments)
    assert first["orders"]
    assert second == first
