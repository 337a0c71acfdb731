"""SIGINT and SIGTERM in the middle of a session: a clean end within five seconds, and a journal to go on from."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from holdfast.model.timestamps import NS_PER_MINUTE, parse_rfc3339
from holdfast.testing.processes import Command, VenueBooks
from tests.e2e.helpers import (
    SAMPLE_SYMBOL,
    STRATEGIES,
    Commands,
    assert_equal_books,
    assert_same_on_both_sides,
    epochs,
    open_orders,
    save_waves,
    venue_time,
)

RESTING = ("--strategy", f"{STRATEGIES / 'resting.py'}:Resting")
SECONDS = 5.0


def stop(bot: Command, number: signal.Signals) -> dict[str, Any]:
    """The summary of a bot that was told to stop, and stopped in time."""
    before = time.monotonic()
    ended = bot.finish(number)
    took = time.monotonic() - before
    assert "Traceback" not in ended.err
    assert took < SECONDS
    return ended.json


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("choice", ["cancel", "leave"])
def test_a_signal_ends_a_session_in_time_with_open_orders_as_configured(
    commands: Commands, number: signal.Signals, choice: str
) -> None:
    """Exit code 0 within 5 s; the resting order canceled or left; the next run goes on from the journal."""
    journal = commands.folder / "journal"
    venue = commands.venue(
        "--data", save_waves(commands.folder / "waves.csv", 2_000), "--symbol", SAMPLE_SYMBOL, "--speed", "300"
    )
    arguments = ["--venue", venue.url, "--symbol", SAMPLE_SYMBOL, *RESTING, "--journal", journal, "--json"]

    bot = commands.start("paper", *arguments, "--open-orders", choice)
    order = bot.until(lambda: open_orders(venue.url))[0]
    first = stop(bot, number)
    assert_equal_books(first)
    assert [own["status"] for own in first["orders"]] == [{"cancel": "canceled", "leave": "new"}[choice]]
    assert [resting["id"] for resting in open_orders(venue.url)] == {"cancel": [], "leave": [order["id"]]}[choice]

    bot = commands.start("paper", *arguments, "--open-orders", "cancel")
    bot.status_url()
    here = venue_time(venue.url)
    bot.until(lambda: venue_time(venue.url) > here + 3 * NS_PER_MINUTE or None)
    bot.until(lambda: open_orders(venue.url))
    second = stop(bot, signal.SIGTERM)
    assert second["orders"][0]["id"] == first["orders"][0]["id"]
    assert len(second["orders"]) == {"cancel": 2, "leave": 1}[choice], "an order was forgotten or doubled"
    assert second["bars"] > first["bars"]
    assert [epoch.epoch for epoch in epochs(journal)] == [1, 2]
    assert_same_on_both_sides(second, VenueBooks.ask(venue.url), journal)


@pytest.mark.slow
def test_a_signal_ends_a_lockstep_session_and_its_venue(commands: Commands) -> None:
    """Without --once a session at full speed stays open at the end of its data, until it is told to stop."""
    data = save_waves(commands.folder / "waves.csv", 60)
    bot = commands.start("paper", "--data", data, "--symbol", SAMPLE_SYMBOL, *RESTING, "--speed", "max", "--json")
    url = bot.venue_url()
    bot.until(lambda: venue_time(url) >= parse_rfc3339("2022-01-03T01:00:00Z") or None)
    summary = stop(bot, signal.SIGINT)
    assert summary["bars"] == 60
    assert [order["status"] for order in summary["orders"]] == ["canceled"]
    assert venue_time(url) == 0, "the venue outlived its bot"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_venue_ends_on_a_signal_too(commands: Commands, number: signal.Signals) -> None:
    """Exit code 0, nothing on standard error."""
    venue = commands.venue("--data", save_waves(commands.folder / "waves.csv", 10), "--symbol", SAMPLE_SYMBOL)
    ended = venue.finish(number)
    assert (ended.code, ended.err) == (0, "")
