"""What is traded where nobody said what."""

from __future__ import annotations

import pytest

from holdfast.model.market import Bar
from tests.e2e.helpers import Commands, journal_records


@pytest.mark.parametrize(("synthetic", "traded"), [("SPY,QQQ", "QQQ"), ("BTC/USD,AAA", "BTC/USD")])
def test_a_built_in_venue_is_asked_what_it_has(commands: Commands, synthetic: str, traded: str) -> None:
    """The pair that trades around the clock where it is there, else the first by name."""
    venue = commands.venue("--synthetic", synthetic, "--sessions", "1")
    journal = commands.folder / "journal.db"
    ended = commands.run("paper", "--venue", venue.url, "--once", "--json", "--journal", journal)
    assert ended.json["bars"] > 0
    assert {record.content.symbol for record in journal_records(journal) if isinstance(record.content, Bar)} == {traded}
