"""The stream of activities: its parser, what its events become, resuming, and a venue that does not have it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from holdfast.brokers.alpaca_activities import revisions
from holdfast.model.enums import Source
from holdfast.model.events import Event, OrderFilled, ReconcileRequested, VenueAdjusted
from holdfast.model.timestamps import parse_rfc3339
from holdfast.net import Backoff
from holdfast.realtime.activity_stream import ActivityStream, EventLines, earlier
from holdfast.time import BacktestClock

START = parse_rfc3339("2024-01-02T14:30:00Z")
FIRST, SECOND = "01HK5BVQ000000000000000001", "01HK5BVQ000000000000000002"
STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

Script = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def event(event_id: str = FIRST, ref_id: str = "x1", word: str = "fill", **members: Any) -> dict[str, Any]:
    """An event as Alpaca documents it."""
    return {
        "event_id": event_id,
        "ref_id": ref_id,
        "previous_id": None,
        "activity_type": "TRD",
        "at": "2024-01-02T14:30:01Z",
        "executed_at": "2024-01-02T14:30:00.5Z",
        "price": "100.25",
        "qty": "4",
        "details": {
            "order_id": "o1",
            "client_order_id": "c1",
            "side": "buy",
            "symbol": "SPY",
            "cum_qty": "4",
            "leaves_qty": "6",
            "order_status": "partially_filled",
            "execution_type": word,
        },
        **members,
    }


def lines(*events: object) -> bytes:
    """Events as they are sent."""
    return b"".join(b"data: " + msgspec.json.encode(each) + b"\n\n" for each in events)


class Heard:
    """The inbox: makes the events at once."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.news = asyncio.Event()

    def post(self, make: Callable[[int], Sequence[Event]]) -> None:
        """Take a post."""
        self.events += make(START)
        self.news.set()

    async def until(self, count: int) -> list[Event]:
        """All events, as soon as there are so many."""
        async with asyncio.timeout(20):
            while len(self.events) < count:
                self.news.clear()
                await self.news.wait()
        return self.events


@contextlib.asynccontextmanager
async def serving(script: Script) -> AsyncIterator[str]:
    """A server that does what a script says with each request line; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        scripts.add(task)
        try:
            # Whoever ends the server ends the script, and that is its end like any other.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await script((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    scripts: set[asyncio.Task[Any]] = set()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in scripts:
            task.cancel()
        await asyncio.gather(*scripts, return_exceptions=True)


def make(url: str, heard: Heard, **more: Any) -> ActivityStream:
    """A stream that does not wait long."""
    options = {"clock": BacktestClock(START), "backoff": Backoff(base=0.001, cap=0.001), **more}
    return ActivityStream("AK", "secret", url, heard.post, **options)


@contextlib.asynccontextmanager
async def running(stream: ActivityStream) -> AsyncIterator[None]:
    """It reads while inside."""
    task = asyncio.create_task(stream.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert stream.state in ("stopped", "not offered")


TEXT = b':heartbeat\n\ndata: {"a":\ndata: 1}\r\n\r\nid: 7\nevent: x\n\n: you are reading too slowly, dropped 3 messages\n\ndata:2\n\n'
PARSED = [
    ("comment", b"heartbeat"),
    ("data", b'{"a":\n1}'),
    ("comment", b"you are reading too slowly, dropped 3 messages"),
    ("data", b"2"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(TEXT)])
def test_chunks_may_end_anywhere(size: int) -> None:
    """The same events, byte by byte and whole; what is not finished is not told."""
    parser = EventLines()
    found = [each for at in range(0, len(TEXT), size) for each in parser.feed(TEXT[at : at + size])]
    assert found == PARSED
    assert parser.feed(b"data: 3\n") == []
    assert parser.feed(b"\n") == [("data", b"3")]


def test_a_line_without_an_end_takes_no_memory_without_an_end() -> None:
    """It is given up, and what comes after it is read."""
    parser = EventLines()
    found = [kind for _ in range(20) for kind, _ in parser.feed(b"x" * 100_000)]
    assert found == ["overlong"]
    assert parser.feed(b"\n\ndata: 1\n\n")[-1] == ("data", b"1")


async def test_a_fill_has_its_execution_and_counts_as_news_from_rest() -> None:
    """P3: the venue's own id and the order's sum, so that it is counted once whoever tells of it."""
    heard = Heard()
    requests: list[str] = []

    async def script(request: str, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        writer.write(STREAM.encode() + b":heartbeat\n\n" + lines(event()))
        await writer.drain()
        await asyncio.Event().wait()

    async with serving(script) as url, running(make(url, heard)):
        (fill,) = await heard.until(1)
    assert isinstance(fill, OrderFilled)
    assert (fill.source, fill.report, fill.ts) == (Source.RECONCILE, None, START)
    found = fill.execution
    assert (found.execution_id, found.broker_id, found.client_order_id) == ("x1", "o1", "c1")
    assert (found.quantity, found.price, found.cum_qty) == (Decimal(4), Decimal("100.25"), Decimal(4))
    assert found.at == parse_rfc3339("2024-01-02T14:30:00.5Z")
    assert requests[0].startswith("GET /v2beta1/events/activities HTTP/1.1"), "no past is asked for at first"
    assert "APCA-API-KEY-ID: AK" in requests[0]


async def test_after_a_cut_it_goes_on_a_little_earlier_and_tells_nothing_twice() -> None:
    """Ids of one millisecond have no order: the overlap is read again, and passed over."""
    heard = Heard()
    requests: list[str] = []

    async def script(request: str, writer: asyncio.StreamWriter) -> None:
        requests.append(request.split()[1])
        if len(requests) == 1:
            writer.write(STREAM.encode())  # cut before any event
        elif len(requests) == 2:
            writer.write(STREAM.encode() + lines(event(SECOND, "x2"))[:-5])  # cut in the middle of one
        elif len(requests) == 3:
            writer.write(STREAM.encode() + lines(event(SECOND, "x2")))
        else:
            writer.write(
                STREAM.encode() + lines(event(), event(SECOND, "x2"), event("01HK5BVQ000000000000000003", "x3"))
            )
            await writer.drain()
            await asyncio.Event().wait()
        await writer.drain()

    async with serving(script) as url:
        stream = make(url, heard)
        async with running(stream):
            await heard.until(3)
            assert stream.state == "listening"
    assert [each.execution.execution_id for each in heard.events if isinstance(each, OrderFilled)] == ["x2", "x1", "x3"]
    assert requests[1].endswith("?since=2024-01-02T14%3A30%3A00Z")
    assert requests[2] == requests[1]
    assert requests[3].endswith(f"?since_id={earlier(SECOND, not_before=START // 1_000_000)}")
    assert (stream.fills, stream.repeated, stream.connections) == (3, 1, 4)


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "405 No", "501 No", "200 OK"])
async def test_a_venue_without_it_is_asked_once(status: str) -> None:
    """Also one that answers any path with a page."""
    heard = Heard()
    requests: list[str] = []

    async def script(request: str, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    async with serving(script) as url, asyncio.timeout(20):
        stream = make(url, heard)
        await stream.run()
    assert (stream.state, len(requests), heard.events) == ("not offered", 1, [])


async def test_an_error_or_a_silence_is_tried_again() -> None:
    """A venue in trouble is not one without the stream; nor is one whose heartbeat stopped."""
    heard = Heard()
    requests: list[str] = []
    waits: list[float] = []

    async def script(request: str, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        if len(requests) == 1:
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        elif len(requests) == 2:
            writer.write(STREAM.encode())
            await writer.drain()
            await asyncio.Event().wait()
        else:
            writer.write(STREAM.encode() + lines(event()))
        await writer.drain()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with serving(script) as url, running(make(url, heard, silence_seconds=0.05, sleep=sleep)):
        await heard.until(1)
    assert len(waits) >= 2


@pytest.mark.parametrize(
    "line",
    [
        b'data: {"event_id"\n\n',
        b"data: []\n\n",
        b"data: 7\n\n",
        lines({**event(), "ref_id": "x0", "qty": "NaN"}),
        lines({**event(), "details": {}}),
        lines({**event(), "details": None}),
        lines(event(word="surprise")),
        lines({**event(), "executed_at": "yesterday"}),
        b": you are reading too slowly, dropped 3 messages\n\n",
    ],
)
async def test_what_cannot_be_read_has_the_books_compared_and_does_not_end_the_reading(line: bytes) -> None:
    """The next event is told."""
    heard = Heard()

    async def script(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM.encode() + line + lines(event(SECOND, "x2")))
        await writer.drain()
        await asyncio.Event().wait()

    async with serving(script) as url:
        stream = make(url, heard)
        async with running(stream):
            asked, fill = await heard.until(2)
    assert isinstance(asked, ReconcileRequested)
    assert isinstance(fill, OrderFilled)
    assert stream.malformed == (0 if line.startswith(b":") else 1)


@pytest.mark.parametrize("previous", ["x1", FIRST])
@pytest.mark.parametrize("word", ["trade_bust", "trade_correct"])
async def test_a_bust_makes_the_adjustment_that_the_socket_makes(word: str, previous: str) -> None:
    """Of the same id, whichever id the venue names the execution by: so the two count once."""
    heard = Heard()

    async def script(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM.encode() + lines(event(), event(SECOND, "b1", word, previous_id=previous)))
        await writer.drain()
        await asyncio.Event().wait()

    async with serving(script) as url, running(make(url, heard)):
        _, change, asked = await heard.until(3)
    update = {
        "event": word,
        "previous_execution_id": "x1",
        "qty": "4",
        "price": "100.25",
        "timestamp": "2024-01-02T14:30:01Z",
        "order": {"symbol": "SPY"},
    }
    assert isinstance(change, VenueAdjusted)
    assert [change] == revisions(update, START)
    assert isinstance(asked, ReconcileRequested)


def test_the_overlap_is_a_minute_and_ends_where_we_began() -> None:
    """What is no ULID is taken as it is."""
    moment = 1_704_205_860_000  # 14:31:00
    ids = {at: earlier(SECOND, not_before=at) for at in (0, moment)}
    assert ids[0] < SECOND
    assert all(len(each) == 26 and each.endswith("0" * 16) for each in ids.values())
    late = earlier(earlier("7ZZZZZZZZZ0000000000000000", not_before=moment), not_before=0)
    assert earlier(late, not_before=1 << 48) == late, "never later than the event itself"
    assert earlier("e-17", not_before=0) == "e-17"
