"""Through the real Apprise to a real HTTP server on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from holdfast.model.errors import ConfigurationError
from holdfast.notify import AppriseSender, Notifier, SendError
from holdfast.time import BacktestClock

# A plugin of Apprise imports a module that the standard library has deprecated; that is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "s3cr3t-t0ken"
T0 = datetime(2024, 1, 2, 15, 0, tzinfo=UTC)


class Webhook:
    """Takes JSON posts."""

    def __init__(self) -> None:
        self.status = 200
        self.is_dead = False
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.called = asyncio.Event()
        self.port = 0
        self._conversations: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """In Apprise's words, with a secret in the path; the time-outs bound what a dead one leaves behind."""
        return f"json://127.0.0.1:{self.port}/{SECRET}?cto=1&rto=1"

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A caller is there."""
        task = asyncio.ensure_future(self.talk(reader, writer))
        self._conversations.add(task)

    async def hang_up(self) -> None:
        """End every conversation."""
        for task in self._conversations:
            task.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        path = (await reader.readline()).split()[1].decode()
        length = 0
        while (line := (await reader.readline()).decode().strip()) != "":
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        self.received.append((path, json.loads(await reader.readexactly(length))))
        self.called.set()
        if self.is_dead:
            await reader.read()  # until the client gives up
        else:
            writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    """A running webhook."""
    made = Webhook()
    server = await asyncio.start_server(made.connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
        await made.hang_up()


async def test_a_notice_arrives(webhook: Webhook) -> None:
    """Title and details, as Apprise's JSON service posts them."""
    notifier = Notifier({"trading": webhook.url}, BacktestClock(T0))
    await notifier.start()
    notifier.notify_nowait("trading", "Filled", "SPY 10 @ 450.12")
    await notifier.stop(flush_seconds=20)

    ((path, message),) = webhook.received
    assert path == f"/{SECRET}"
    assert (message["title"], message["message"]) == ("Filled", "SPY 10 @ 450.12")


async def test_a_refusal_has_a_reason_without_the_url(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    """The status is told; the URL is in no log, whatever its level, and in no error."""
    webhook.status = 404
    with caplog.at_level(logging.DEBUG), capture_logs() as logs, pytest.raises(SendError, match="404") as raised:
        await AppriseSender().send(webhook.url, "title", "body")

    shown = str(raised.value) + str(logs) + "".join(record.getMessage() for record in caplog.records)
    assert SECRET not in shown
    assert len(webhook.received) == 1


async def test_a_connection_that_is_refused_is_a_send_error() -> None:
    """Nobody listens there."""
    with pytest.raises(SendError) as raised:
        await AppriseSender().send(f"json://127.0.0.1:1/{SECRET}", "title", "body")

    assert str(raised.value)
    assert SECRET not in str(raised.value)


async def test_a_dead_webhook_holds_up_neither_the_caller_nor_the_stop(webhook: Webhook) -> None:
    """The thread that waits is left behind; telling, stopping and the loop go on."""
    webhook.is_dead = True
    notifier = Notifier({"trading": webhook.url}, BacktestClock(T0), attempts=1)
    await notifier.start()
    await notifier.send_message("trading", "hello")
    await webhook.called.wait()
    began = asyncio.get_running_loop().time()
    await notifier.stop(flush_seconds=0.05)

    assert asyncio.get_running_loop().time() - began < 0.9  # the webhook's own time-out is 1 s
    assert notifier.get_stats()["channels"]["trading"]["dropped"] == 1


async def test_threads_that_hang_are_bounded(webhook: Webhook) -> None:
    """Sixteen may hang; the next send fails at once rather than adding another."""
    webhook.is_dead = True
    sender = AppriseSender()
    await sender.check(webhook.url)
    sends = [asyncio.create_task(sender.send(webhook.url, "", "x")) for _ in range(16)]
    await asyncio.sleep(0)

    with pytest.raises(SendError, match="16 sends hang already"):
        await sender.send(webhook.url, "", "x")
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(outcome, SendError) for outcome in outcomes)


@pytest.mark.parametrize("url", [f"nosuchservice://{SECRET}", "https://discord.com/api/webhooks/", "json://"])
async def test_a_url_that_apprise_does_not_understand_is_a_configuration_error(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Told at the start, by channel and number."""
    notifier = Notifier({"system": url}, BacktestClock(T0))
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ConfigurationError, match="URL 1 of channel 'system' cannot be used") as raised,
    ):
        await notifier.start()

    assert SECRET not in str(raised.value) + "".join(record.getMessage() for record in caplog.records)


async def test_the_address_that_discord_shows_is_understood() -> None:
    """People paste it as it is; checking it does not use the network."""
    await AppriseSender().check(f"https://discord.com/api/webhooks/123456789012345678/{SECRET * 5}")


def test_apprise_is_not_imported_until_it_is_needed() -> None:
    """It is slow to import, and a bot without webhooks never needs it."""
    code = (
        "import sys, holdfast.notify; n = holdfast.notify.Notifier(); "
        "n.notify_nowait('system', 'x'); sys.exit('apprise' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
