"""The outbound heartbeat, against a real server of this machine: sent while the bot is well, and never in its way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from structlog.testing import capture_logs

from holdfast.model.errors import ConfigurationError
from holdfast.notify.heartbeat import ChannelHeartbeat, Heartbeat, UrlHeartbeat

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
BROKEN = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Service:
    """A server that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: bytes | None = OK
        self.requests: list[str] = []
        self.url = ""
        self.asked = asyncio.Event()
        self._open: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; without an answer it is held open in silence."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.split(b"\r\n")[0].decode())
            self.asked.set()
            if self.answer is None:
                self._open.append(writer)
                return
            writer.write(self.answer)
            await writer.drain()
        writer.close()

    def close(self) -> None:
        """Let go of what hangs."""
        for writer in self._open:
            writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """On a free port of the loopback interface."""
    found = Service()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ping/secret-id"
    yield found
    found.close()
    server.close()
    await server.wait_closed()


class Bot:
    """Well, or not."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def well(self) -> Sequence[str]:
        """What keeps it from being well."""
        return self.reasons


async def beats(heart: Heartbeat, count: int = 1) -> list[float]:
    """So many, without waiting between them; how long each would have waited for the next."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == count:
            raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        await heart.run(sleep)
    return waits


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_bot_that_is_well_beats(service: Service, method: str) -> None:
    """By the method that the service wants."""
    heart = UrlHeartbeat(service.url, 60.0, Bot().well, method=method)  # type: ignore[arg-type]  # both are methods
    await beats(heart, 3)

    assert service.requests == [f"{method} /ping/secret-id HTTP/1.1"] * 3
    assert (heart.sent, heart.withheld, heart.failed) == (3, 0, 0)


async def test_a_bot_that_is_not_well_is_silent_and_says_why_once(service: Service) -> None:
    """Silence is the message. When it is well again, it beats again."""
    bot = Bot()
    heart = UrlHeartbeat(service.url, 60.0, bot.well)
    bot.reasons = ["the runner takes no events"]
    with capture_logs() as logs:
        await beats(heart, 3)
    assert service.requests == []
    assert [entry["outcome"] for entry in logs] == ["withheld: the runner takes no events"]

    bot.reasons = []
    await beats(heart)
    assert (heart.sent, heart.withheld) == (1, 3)


async def test_a_service_that_answers_an_error_is_counted(service: Service) -> None:
    """The URL is a password: it stands in no log."""
    service.answer = BROKEN
    heart = UrlHeartbeat(service.url, 60.0, Bot().well)
    with capture_logs() as logs:
        await beats(heart, 2)

    assert (heart.sent, heart.failed) == (0, 2)
    assert [entry["outcome"] for entry in logs] == ["not taken: HTTP 500"]
    assert "secret-id" not in repr(logs)


async def test_a_service_that_says_nothing_is_given_up(service: Service) -> None:
    """After its time; the next beat is tried all the same."""
    service.answer = None
    heart = UrlHeartbeat(service.url, 60.0, Bot().well, timeout_seconds=0.05)
    await beats(heart, 2)

    assert (heart.sent, heart.failed) == (0, 2)


async def test_a_service_that_is_not_there_is_counted() -> None:
    """Nobody listens on the discard port."""
    heart = UrlHeartbeat("http://127.0.0.1:9/", 60.0, Bot().well)
    await beats(heart)

    assert heart.failed == 1


async def test_a_slow_service_holds_nobody_up(service: Service) -> None:
    """It runs beside everything else: a hundred turns of the loop while one request hangs."""
    service.answer = None
    heart = UrlHeartbeat(service.url, 60.0, Bot().well)
    beating = asyncio.create_task(heart.run())
    async with asyncio.timeout(10.0):
        await service.asked.wait()
    turns = 0
    for _ in range(100):
        await asyncio.sleep(0)
        turns += 1
    assert (turns, heart.sent, beating.done()) == (100, 0, False)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)


@pytest.mark.parametrize("url", ["", "example.org/ping", "ftp://example.org/x", "https://", "/etc/hosts"])
def test_what_is_no_url_is_refused_without_being_shown(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError, match=r"heartbeat\.url is no URL") as caught:
        UrlHeartbeat(url, 60.0, Bot().well)
    assert "example.org" not in str(caught.value)


async def test_another_transport_can_be_given() -> None:
    """As for every client here."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(204)

    heart = UrlHeartbeat("https://example.net/x", 60.0, Bot().well, transport=httpx.MockTransport(answer))
    await beats(heart)

    assert (seen, heart.sent) == (["https://example.net/x"], 1)


async def test_people_are_told_on_a_channel_while_the_bot_is_well() -> None:
    """And no longer when it is not: what they miss is the message."""
    bot, told = Bot(), []

    def tell(*notice: str) -> None:
        told.append(notice)

    heart = ChannelHeartbeat(tell, "system", 3_600.0, bot.well, lambda: f"{len(told)} before")
    assert await beats(heart, 2) == [3_600.0] * 2
    bot.reasons = ["the user stream is not connected"]
    with capture_logs() as logs:
        assert await beats(heart, 3) == [60.0] * 3, "and as soon as it is well again"

    assert told == [("system", "The bot is well", "0 before"), ("system", "The bot is well", "1 before")]
    assert (heart.sent, heart.withheld, heart.failed) == (2, 3, 0)
    assert [line["outcome"] for line in logs] == ["withheld: the user stream is not connected"]
