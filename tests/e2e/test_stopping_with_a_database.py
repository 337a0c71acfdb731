"""A bot whose journal is in PostgreSQL is stopped, flattened and watched like any other, also with a name for its files."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from holdfast.journal import DatabaseUrl, read_owner
from holdfast.runner.liveness import read_liveness
from holdfast.testing.processes import LOCAL_KEYS
from tests.e2e.helpers import SAMPLE_SYMBOL, STRATEGIES, Commands, open_orders, save_waves
from tests.journal.postgres import Schemas, answering_server

SECONDS = 10.0


@pytest.fixture
def place() -> Iterator[DatabaseUrl]:
    """A schema of the server that is there."""
    address = answering_server()
    if address is None:
        pytest.skip("no PostgreSQL server answers")
    schemas = Schemas(address)
    yield schemas.url(f"holdfast_stopping_{os.getpid()}")
    schemas.drop()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_stopped_bot_with_its_journal_in_a_database_is_flattened(commands: Commands, place: DatabaseUrl) -> None:
    """SIGSTOP, watch, flatten, watch: the owner is known by the database, the halt file by journal.control."""
    beside = commands.folder / "bot"
    env = {"HOLDFAST_JOURNAL__PATH": place.address, "HOLDFAST_JOURNAL__CONTROL": str(beside)}
    data = save_waves(commands.folder / "waves.csv", 3_000)
    venue = commands.venue("--data", data, "--symbol", SAMPLE_SYMBOL, "--speed", "300")
    holder = ("--strategy", f"{STRATEGIES / 'holder.py'}:Holder")
    bot = commands.start("paper", "--venue", venue.url, "--symbol", SAMPLE_SYMBOL, *holder, "--json", env=env)

    def positions() -> list[object]:
        found = httpx.get(venue.url + "/v2/positions", headers=LOCAL_KEYS, timeout=5.0, trust_env=False)
        return found.raise_for_status().json()  # type: ignore[no-any-return]  # JSON is what it is

    bot.until(lambda: positions() and open_orders(venue.url))
    bot.until(lambda: read_liveness(beside))
    owner = read_owner(place)
    assert owner is not None
    assert owner.pid == bot.process.pid

    bot.process.send_signal(signal.SIGSTOP)
    before = time.monotonic()
    ended = commands.start("flatten", env=env).finish()
    assert ended.code == 0, ended.err
    assert time.monotonic() - before < SECONDS
    assert f"the bot (pid {owner.pid}) does not answer; it is ended." in ended.err
    assert bot.finish().code == -signal.SIGKILL
    assert positions() == []
    assert open_orders(venue.url) == []

    watched = commands.start("watch", "--once", env=env).finish()
    assert (watched.code, watched.out) == (0, "all is well.\n"), watched.err


@pytest.mark.slow
def test_a_database_that_cannot_be_asked_is_one_sentence(commands: Commands) -> None:
    """Nobody was seen at work there, so there is nobody to halt: that is said, and no password is shown."""
    ended = commands.run("halt", "--journal", "postgresql://me:open-sesame@127.0.0.1:1/nowhere")

    assert ended.code == 1
    assert ended.err.startswith("holdfast: postgresql://me@127.0.0.1:1/nowhere cannot be used as a journal")
    assert "sesame" not in ended.err
    assert "Traceback" not in ended.err
    assert list(commands.home.glob("*.halt")) == []
