"""Processes killed with SIGKILL while they trade, and what the two sides say afterwards (P1 to P4).

The moments are drawn from a seed and given as places of the replayed session, not as seconds: a test
watches the venue's time from outside and kills when it has come so far, so that every kill hits a bot that
is trading, on a fast machine and on a busy one. A few hit the start instead: recovery, connecting, backfill.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from holdfast.data import write_bars
from tests.e2e.helpers import (
    SAMPLE_SYMBOL,
    STRATEGIES,
    Commands,
    Running,
    VenueBooks,
    assert_same_on_both_sides,
    journaled_intents,
    sample,
    venue_time,
)

KILLS = 20
KILLS_AT_START = 4
LADDER = ("--strategy", f"{STRATEGIES / 'ladder.py'}:Ladder", "--param", "patience=2", "--param", "hold=5")
ROWS = 900


class Kill(msgspec.Struct, frozen=True):
    """When to kill: after so much of the session under this run (ns), or after so many looks from its start."""

    after: int | None
    looks: int = 0


def draw(seed: int, period: int) -> Iterator[Kill]:
    """Twenty kills, of which some hit the start of a run."""
    rng = np.random.default_rng(seed)
    starts = set(rng.choice(np.arange(2, KILLS), KILLS_AT_START, replace=False).tolist())
    for number in range(KILLS):
        if number in starts:
            yield Kill(None, int(rng.integers(5, 40)))
        else:
            yield Kill(int(rng.integers(2 * period, 50 * period)))


def kill_when_due(bot: Running, kill: Kill) -> int:
    """Wait for the moment; SIGKILL. Returns how much of the session the run has seen (ns)."""
    if kill.after is None:
        for _ in range(kill.looks):
            bot.tick()
        assert not bot.has_ended, bot.err
        bot.kill()
        return 0
    url, due = bot.venue_url(), kill.after
    start = bot.until(lambda: venue_time(url))
    seen = bot.until(lambda: past if (past := venue_time(url) - start) >= due else None)
    bot.kill()
    return seen


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("own_venue", [True, False], ids=["venue dies with it", "venue stays"])
def test_twenty_kills_in_one_session_end_with_equal_books_and_no_order_twice(
    commands: Commands, *, own_venue: bool
) -> None:
    """P2, P3, P4: every order at the venue is one journaled intent, every execution counted once, positions and cash equal."""
    bars = sample(0, ROWS)
    data, journal = commands.folder / "bars.csv.gz", commands.folder / "journal"
    write_bars(bars, data)
    market: list[object] = ["--data", data, "--symbol", SAMPLE_SYMBOL, "--participation", "0.002"]
    book: Path = commands.folder / ("journal.venue" if own_venue else "book")
    if own_venue:
        place = [*market, "--speed", "max"]
    else:
        place = ["--venue", commands.venue(*market, "--book", book).url, "--symbol", SAMPLE_SYMBOL]
    arguments = ["paper", *place, *LADDER, "--journal", journal, "--once", "--json"]

    seen = [kill_when_due(commands.start(*arguments), kill) for kill in draw(20_220_106, bars.period)]
    assert sum(past > 0 for past in seen) == KILLS - KILLS_AT_START
    summary = commands.run(*arguments).json

    url = commands.venue(*market, "--book", book).url if own_venue else str(place[1])
    venue = VenueBooks.ask(url)
    assert len(journaled_intents(journal)) > 100
    assert_same_on_both_sides(summary, venue, journal)
    assert summary["bars"] == len(bars), "a bar was lost or counted twice"


@pytest.mark.slow
def test_a_venue_killed_in_mid_session_is_one_sentence_and_both_go_on_from_their_files(commands: Commands) -> None:
    """The bot ends by itself, non-zero, without a traceback; venue and bot restarted on their files end with equal books."""
    bars = sample(0, 600)
    data, journal, book = (commands.folder / name for name in ("bars.csv.gz", "journal", "book"))
    write_bars(bars, data)
    market = ["--data", data, "--symbol", SAMPLE_SYMBOL, "--book", book]

    def trade(url: str) -> Running:
        return commands.start(
            "paper", "--venue", url, "--symbol", SAMPLE_SYMBOL, *LADDER, "--journal", journal, "--once", "--json"
        )

    venue = commands.venue(*market)
    bot = trade(venue.url)
    bot.until(lambda: venue_time(venue.url) >= int(bars.ts[250]) or None)
    venue.kill()
    ended = bot.end()
    assert ended.code not in {0, -signal.SIGKILL}
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("holdfast: ")
    assert ended.out == ""

    venue = commands.venue(*market)
    summary = trade(venue.url).end().json
    assert_same_on_both_sides(summary, VenueBooks.ask(venue.url), journal)
    assert summary["bars"] == len(bars)
