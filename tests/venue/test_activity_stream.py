"""The venue's server-sent events, over real HTTP, and with the bot's own reader at the other end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.model.events import OrderFilled, VenueAdjusted
from holdfast.time import BacktestClock
from holdfast.venue.streams.activity_stream import PATH, ActivityStreams
from tests.realtime.test_activity_stream import Heard, make, running
from tests.venue.helpers import KEY, KEYS, MIDNIGHT, Bot, StartVenue, VenueProcess, market


@contextlib.asynccontextmanager
async def reading(venue: VenueProcess, **params: str) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of the stream."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20) as client,
        client.stream("GET", venue.url + PATH, params=params, headers=KEYS) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        yield response.aiter_lines()


async def take(lines: AsyncIterator[str], count: int) -> list[dict[str, Any]]:
    """The next events."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            line = await anext(lines)
            if line.startswith("data: "):
                found.append(msgspec.json.decode(line[6:]))
    return found


def trade(venue: VenueProcess, quantity: str) -> None:
    """Send a market order; it trades at the next step."""
    with venue.client() as client:
        assert client.post("/v2/orders", json=market(quantity)).status_code == 200


async def bust(venue: VenueProcess, execution_id: str) -> None:
    """As the venue's operator."""
    async with httpx.AsyncClient(trust_env=False) as admin:
        answer = await admin.post(f"{venue.admin}/accounts/{KEY}/busts", json={"execution_id": execution_id})
    assert answer.status_code == 200


class Asked(BacktestClock):
    """Says when it was asked: the stream asks at its first connection."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.asked = asyncio.Event()

    def now_ns(self) -> int:
        """The time."""
        self.asked.set()
        return super().now_ns()


async def test_a_fill_and_its_bust_are_streamed_as_rest_and_the_socket_tell_them(venue: VenueProcess) -> None:
    """The same execution id in all three, and the same event id as on the socket."""
    async with Bot.connected(venue) as bot, reading(venue) as lines:
        assert await anext(lines) == ":heartbeat"
        await bot.run(2)
        trade(venue, "0.1")
        await bot.run(3)
        (fill,) = await take(lines, 1)
        with venue.client() as client:
            (row,) = client.get("/v2/account/activities/FILL").json()
        assert row["id"].endswith(fill["ref_id"])
        assert {name: row[name] for name in ("price", "qty")} == {name: fill[name] for name in ("price", "qty")}
        assert fill["executed_at"] == row["transaction_time"]
        assert fill["details"] | {"execution_type": "fill"} == fill["details"]
        told = next(update for update in bot.updates if update["event"] == "fill")
        assert (fill["event_id"], fill["ref_id"]) == (told["event_id"], told["execution_id"])
        assert fill["details"]["client_order_id"] == told["order"]["client_order_id"]
        await bust(venue, fill["ref_id"])
        (taken,) = await take(lines, 1)
    assert (taken["previous_id"], taken["details"]["execution_type"]) == (fill["ref_id"], "trade_bust")
    assert taken["ref_id"] != fill["ref_id"]
    assert taken["event_id"] > fill["event_id"]


async def test_the_past_is_told_to_those_who_ask_and_survives_a_restart(
    start_venue: StartVenue, tmp_path: Path
) -> None:
    """The same events with the same ids; nothing of it without being asked, and nobody else's."""
    venue = start_venue(book=str(tmp_path / "book"))
    async with Bot.connected(venue) as bot:
        await bot.run(2)
        for _ in range(3):
            trade(venue, "0.1")
            await bot.run(2)
    async with reading(venue, since="2020-01-01T00:00:00Z") as lines:
        before = await take(lines, 3)
    ids = [each["event_id"] for each in before]
    assert ids == sorted(set(ids))
    venue.kill()
    venue = start_venue(book=str(tmp_path / "book"))
    async with reading(venue, since="2020-01-01T00:00:00Z") as lines:
        assert await take(lines, 3) == before
    async with reading(venue, since_id=ids[1]) as lines:
        assert await take(lines, 2) == before[1:], "the named event included"
    async with reading(venue, since=before[2]["at"]) as lines:
        assert await take(lines, 1) == before[2:]
    since = {"since": "2020-01-01T00:00:00Z"}
    for asked, told in (
        (since | {"until": before[1]["at"]}, 2),
        (since | {"until": "2020-01-02"}, 0),
        ({"since_id": ids[0], "until_id": ids[1]}, 2),
        ({"since_id": ids[1], "until_id": ids[0]}, 0),
    ):
        async with reading(venue, **asked) as lines:
            events = [msgspec.json.decode(line[6:]) async for line in lines if line.startswith("data: ")]
        assert events == before[before.index(events[0]) if events else 0 :][:told], asked
    async with Bot.connected(venue) as bot, reading(venue) as lines:
        await anext(lines)
        trade(venue, "0.2")
        await bot.run(2)
        (news,) = await take(lines, 1)
        assert news["event_id"] > ids[-1]
    assert venue.stop() == 0


async def test_it_ends_with_the_venue(venue: VenueProcess) -> None:
    """A stop does not wait for an answer that has no end."""
    async with reading(venue) as lines:
        await anext(lines)
        assert await asyncio.to_thread(venue.stop) == 0
        assert [line async for line in lines if line] == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"since": "2020-01-01T00:00:00Z", "since_id": "0" * 26}, "only one of since or since_id is accepted"),
        ({"since": "yesterday"}, "since"),
        ({"since_id": "7"}, "since_id must be the id of an event"),
        ({"since_id": "I" * 26}, "since_id must be the id of an event"),
        ({"until": "2020-01-01T00:00:00Z"}, "until needs since"),
        ({"until_id": "0" * 26}, "until_id needs since_id"),
        ({"since": "2020-01-01", "until_id": "0" * 26}, "until_id needs since_id"),
        ({"since_id": "0" * 26, "until": "2020-01-01"}, "until needs since"),
        ({"since": "2020-01-01", "until": "tomorrow"}, "until must be"),
        ({"since_id": "0" * 26, "until_id": "8" * 26}, "until_id must be the id of an event"),
    ],
)
def test_what_makes_no_sense_is_refused(venue: VenueProcess, params: dict[str, str], said: str) -> None:
    """In Alpaca's form; and without keys there is nothing to read."""
    with venue.client() as client:
        answer = client.get(PATH, params=params)
    assert answer.status_code == 422
    assert said in answer.json()["message"]
    assert httpx.get(venue.url + PATH, trust_env=False).status_code == 401


async def test_silence_is_filled_with_heartbeats() -> None:
    """And a client that goes away ends the answer."""
    account = type("Account", (), {"trades": [], "event_count": 0, "namespace": 1})()
    streams = ActivityStreams(lambda *_: account, lambda: 0, heartbeat_seconds=0.001)
    gone, sent = asyncio.Event(), []

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 4:
            gone.set()

    async with asyncio.timeout(20):
        await streams.serve({"headers": [], "query_string": b""}, receive, send)
    assert {message["body"] for message in sent[1:]} == {b":heartbeat\n\n"}


async def test_the_bots_reader_loses_nothing_while_the_venue_is_gone(start_venue: StartVenue, tmp_path: Path) -> None:
    """P3: killed with a fill that nobody was told of, and back on its port; each execution once, and the bust."""
    venue = start_venue(book=str(tmp_path / "book"))
    port = int(venue.url.rpartition(":")[2])
    heard = Heard()
    clock = Asked(MIDNIGHT)
    stream = make(venue.url, heard, clock=clock)
    stream._headers |= KEYS
    async with running(stream):
        async with Bot.connected(venue) as bot:
            async with asyncio.timeout(20):
                await clock.asked.wait()
            await bot.run(2)
            trade(venue, "0.1")
            await bot.run(3)
            await heard.until(1)
        venue.kill()
        venue = start_venue(book=str(tmp_path / "book"), port=port)
        async with Bot.connected(venue) as bot:
            trade(venue, "0.2")
            await bot.run(3)
            await heard.until(2)
        with venue.client() as client:
            rows = client.get("/v2/account/activities/FILL", params={"direction": "asc"}).json()
        await bust(venue, rows[1]["id"].partition("::")[2])
        await heard.until(4)
    fills = [each.execution.execution_id for each in heard.events if isinstance(each, OrderFilled)]
    assert fills == [row["id"].partition("::")[2] for row in rows]
    (taken,) = [each.activity for each in heard.events if isinstance(each, VenueAdjusted)]
    assert taken.execution_id == fills[1]
    assert stream.connections >= 2
