"""A bot whose journal's PostgreSQL server is killed and started again underneath it, several times, while it trades."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from holdfast.journal import DatabaseUrl, JournalReader
from holdfast.journal.inspection import verify
from tests.e2e.helpers import Commands
from tests.journal.postgres import own_server

RESTARTS_AT = (300, 700, 1_100)


def records(url: DatabaseUrl) -> int:
    """How many are durable; 0 while there is no table, or nobody to ask."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(url.address, connect_timeout=2) as connection:
        found = connection.execute("SELECT count(*) FROM holdfast_records").fetchone()
        return 0 if found is None else int(found[0])
    return 0


@pytest.mark.slow
def test_a_bot_survives_the_end_of_its_database_server(commands: Commands) -> None:
    """It waits, settles what was on its way, and goes on: every order once, equal books, a journal that is whole."""
    with own_server() as server:
        url = server.url()
        bot = commands.start("paper", "--speed", "max", "--once", "--json", "--journal", url.address)
        for count in RESTARTS_AT:
            bot.until(lambda count=count: records(url) >= count)  # type: ignore[misc]  # a number of this turn
            server.stop("immediate")
            server.start()
        ended = bot.finish()

        assert ended.code == 0, ended.err
        summary = ended.json
        assert (summary["drift"], summary["compared"]) == ([], True)
        assert summary["positions"] == summary["venue_positions"]
        assert len({order["id"] for order in summary["orders"]}) == len(summary["orders"]) > 10
        with JournalReader(url) as journal:
            found = verify(journal)
        assert found.orders == len(summary["orders"])
        assert len(found.epochs) == 1
