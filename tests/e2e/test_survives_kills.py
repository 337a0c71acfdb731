"""Processes killed with SIGKILL while they trade, and what the two sides say afterwards (P1 to P4).

Twenty kills here, and three of a database; ``make nightly`` makes two hundred of each kind, with the same harness: ``holdfast.testing.kills``.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from holdfast.data import write_bars
from holdfast.testing.kills import Plan, run
from holdfast.testing.postgres import why_no_server
from holdfast.testing.processes import Command, VenueBooks
from tests.e2e.helpers import SAMPLE_SYMBOL, Commands, assert_same_on_both_sides, sample, venue_time

LADDER = ("--strategy", "holdfast.testing.ladder:Ladder", "--param", "patience=2", "--param", "hold=5")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("who", "kills", "orders"), [("bot", 14, 100), ("both", 3, 20), ("venue", 3, 20)])
def test_twenty_kills_end_with_equal_books_and_no_order_twice(
    tmp_path: Path, who: str, kills: int, orders: int
) -> None:
    """P2, P3, P4: every order at the venue is one journaled intent, every execution counted once, positions and cash equal."""
    said: list[str] = []

    outcome = run(Plan(who=who, kills=kills, seed=20_220_106, folder=tmp_path), said.append)

    assert outcome.complaints == ()
    assert len(said) == kills
    assert outcome.orders > orders
    assert outcome.fills > orders


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_database_that_crashes_under_a_bot_loses_nothing(tmp_path: Path) -> None:
    """P2, P3, P4, P8: a PostgreSQL server of our own, stopped as by a crash three times while the bot trades at a speed."""
    if reason := why_no_server():
        pytest.skip(reason)
    said: list[str] = []

    outcome = run(Plan(who="database", kills=3, seed=20_220_107, folder=tmp_path), said.append)

    assert outcome.complaints == ()
    assert len(said) == 3
    assert outcome.orders > 5, (
        "the time that a commit takes is some venue seconds: on a busy machine many orders are dropped"
    )
    assert outcome.fills > 5


@pytest.mark.slow
def test_a_venue_killed_in_mid_session_is_one_sentence_and_both_go_on_from_their_files(commands: Commands) -> None:
    """The bot ends by itself, non-zero, without a traceback; venue and bot restarted on their files end with equal books."""
    bars = sample(0, 600)
    data, journal, book = (commands.folder / name for name in ("bars.csv.gz", "journal", "book"))
    write_bars(bars, data)
    market = ["--data", data, "--symbol", SAMPLE_SYMBOL, "--book", book]

    def trade(url: str) -> Command:
        return commands.start(
            "paper", "--venue", url, "--symbol", SAMPLE_SYMBOL, *LADDER, "--journal", journal, "--once", "--json"
        )

    venue = commands.venue(*market)
    bot = trade(venue.url)
    bot.until(lambda: venue_time(venue.url) >= int(bars.ts[250]) or None)
    venue.kill()
    ended = bot.finish()
    assert ended.code not in {0, -signal.SIGKILL}
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("holdfast: ")
    assert ended.out == ""

    venue = commands.venue(*market)
    summary = trade(venue.url).finish().json
    assert_same_on_both_sides(summary, VenueBooks.ask(venue.url), journal)
    assert summary["bars"] == len(bars)
