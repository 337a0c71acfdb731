"""Halt file, liveness file and heartbeat, as a container wires them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.di import Container
from holdfast.di.report import snapshot
from holdfast.journal import MemoryJournal, SqliteJournal
from holdfast.model.errors import ConfigurationError, OrderDroppedError
from holdfast.runner.halt_file import HaltFile, make_order, operator

GUIDE: dict[str, Any] = {"alpaca": {"api_key": "PKTEST", "api_secret": "secret"}}
PING = "https://example.org/ping/secret-id"
HOOK = "https://discord.com/api/webhooks/1234567890/s3cr3t-t0ken"

MakeContainer = Callable[..., Container]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeContainer]:
    """Makes containers with a journal in a file; lets go of all of them in the end."""
    made: list[Container] = []

    def build(more: dict[str, Any] | None = None, **parts: Any) -> Container:
        container = Container({**GUIDE, "journal": {"path": tmp_path / "journal"}, **(more or {})}, **parts)
        made.append(container)
        return container

    yield build
    for container in made:
        await container.stop()


async def test_no_way_to_the_venue_goes_around_the_halt_file(make: MakeContainer, tmp_path: Path) -> None:
    """A user's own code that calls the connector meets it, too; nothing leaves this process."""
    container = make()
    HaltFile(tmp_path / "journal").write(make_order("halted", "enough"))

    for request in (
        container.broker.submit_order("SPY", 1, "buy"),
        container.broker.close_position("SPY"),
    ):
        with pytest.raises(OrderDroppedError, match=r"the halt file says halted by .*: enough"):
            await request
    assert container.broker.get_stats()["requests"] == 0


async def test_the_files_stand_beside_the_journal_that_is_used(make: MakeContainer, tmp_path: Path) -> None:
    """Also where an opened one was given; a journal in memory has no place for them."""
    named = make().control.file
    given = make(journal=SqliteJournal(tmp_path / "other")).control.file
    assert named is not None
    assert given is not None
    assert (named.path.name, given.path.name) == ("journal.halt", "other.halt")

    nowhere = make(journal=MemoryJournal()).control
    assert nowhere.file is None
    assert nowhere.brake(reduces=False) is None


async def test_a_request_names_who_made_it(make: MakeContainer) -> None:
    """Login and machine; each has an id of its own."""
    one, other = make_order("halted", ""), make_order("halted", "")

    assert one.who == operator()
    assert "@" in one.who
    assert one.id != other.id
    assert one.at.endswith("Z")
    assert make() is not None


async def test_a_heartbeat_is_made_where_a_url_is_set(make: MakeContainer) -> None:
    """And not otherwise."""
    assert make().control.heartbeats == []


async def test_a_heartbeat_on_a_channel_says_how_the_bot_stands(make: MakeContainer) -> None:
    """Where somebody reads it: a channel without a URL would reach nobody, and is refused."""
    with pytest.raises(ConfigurationError, match=r"heartbeat\.channel is 'trading'; expected .* has a URL: system$"):
        make({"heartbeat": {"channel": "trading"}, "notify": {"system": [HOOK]}})
    container = make({"heartbeat": {"channel": "system"}, "notify": {"system": [HOOK]}})
    (heart,) = container.control.heartbeats
    container.control.proof_seconds = 0.01
    await heart.beat()

    assert (heart.sent, heart.withheld) == (0, 1), "a bot that does not run is not well"
    assert container.notifier.recent() == []
    await heart._send()
    (notice,) = container.notifier.recent()
    assert snapshot(container)["alerts_recent"][0]["level"] == "info", "it is no warning, whatever its channel"
    said = (notice.channel, notice.title, notice.details)
    assert said == ("system", "The bot is well", "active; equity unknown; flat; 0 orders open")


async def test_a_heartbeat_that_cannot_be_leaves_the_journal_alone(make: MakeContainer) -> None:
    """It is found before the journal is taken: the next one can have it."""
    with pytest.raises(ConfigurationError, match=r"heartbeat\.url is no URL"):
        make({"heartbeat": {"url": "secret-id"}})
    make({"heartbeat": {"url": PING, "every": 5, "method": "POST"}})


async def test_a_bot_whose_runner_hangs_proves_nothing(make: MakeContainer) -> None:
    """The event loop turns and everything else is well; only the runner takes nothing."""
    container = make({"heartbeat": {"url": PING}})
    container.control.proof_seconds = 0.01
    assert await container.control.what_is_wrong() == ("the runner takes no events",)

    running = asyncio.create_task(container.runner.run())
    container.control.proof_seconds = 30.0
    reasons = await container.control.what_is_wrong()
    assert "the runner takes no events" not in reasons
    assert "the user stream is not connected" in reasons, "it takes events, and is not well for another reason"
    container.runner.pause()
    await running
