"""What the user stream tells of messages and of the account, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.brokers import MalformedMessageError
from holdfast.model.errors import ConfigurationError
from holdfast.realtime import UserStreamTracker

Peer = Any
MakeVenue = Callable[..., Awaitable[Any]]
MakeInbox = Callable[[], Any]

ORDER = {"id": "o-1", "client_order_id": "hf-1", "status": "new", "filled_qty": "0"}


def update(event: str = "new", **fields: Any) -> dict[str, Any]:
    """A trade update as it stands in its envelope."""
    return {"stream": "trade_updates", "data": {"event": event, "order": ORDER, **fields}}


Track = Callable[..., UserStreamTracker]


# ---------------------------------------------------------------------- messages


async def test_updates_are_told_in_order_from_binary_and_text_frames(
    venue: MakeVenue, track: Track, inbox: MakeInbox
) -> None:
    """As the venue wrote them, each to every handler; plain and coroutine handlers alike."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        for number in range(20):
            await peer.say(update(seq=number), text=number % 2 == 0)
        await peer.stay()

    first, second = inbox(), inbox()

    async def coroutine(message: Any) -> None:
        second(message)

    tracker = track((await venue(script)).url)
    tracker.on_trade_update(first)
    tracker.on_trade_update(coroutine)
    await tracker.start()

    for handler in (first, second):
        assert [(await handler.next())["seq"] for _ in range(20)] == list(range(20))
    assert tracker.received == 20
    assert tracker.get_stats()["messages"] == 20
    assert tracker.get_stats()["last_message_at"].endswith("Z")


async def test_an_update_that_overtakes_the_confirmation_is_kept(
    venue: MakeVenue, track: Track, inbox: MakeInbox
) -> None:
    """It is told after on_connected, and before what follows."""
    log = inbox()

    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.say({"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}})
        await peer.hear()
        await peer.say(update(seq=1))
        await peer.say({"stream": "listening", "data": {"streams": ["trade_updates"]}})
        await peer.say(update(seq=2))
        await peer.stay()

    tracker = track((await venue(script)).url)
    tracker.on_connected(lambda: log("connected"))
    tracker.on_trade_update(lambda message: log(message["seq"]))
    await tracker.start()

    assert [await log.next() for _ in range(3)] == ["connected", 1, 2]
    assert tracker.received == 2


MALFORMED: list[bytes] = [
    b"\x00\xff garbage",
    b'{"stream":"trade_updates","data":',
    b"[]",
    b'"hello"',
    b'{"stream":"trade_updates"}',
    b'{"stream":"trade_updates","data":{"event":"fill"}}',
    b'{"stream":"trade_updates","data":{"event":7,"order":{}}}',
    b'{"stream":"trade_updates","data":{"event":"fill","order":[]}}',
]


@pytest.mark.parametrize("frame", MALFORMED)
async def test_a_message_that_cannot_be_read_is_reported_and_survived(
    venue: MakeVenue, track: Track, inbox: MakeInbox, frame: bytes
) -> None:
    """One unreadable update never ends the stream; someone is told, so that the venue can be asked."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        await peer.socket.send(frame)
        await peer.say(update(seq=1))
        await peer.stay()

    seen, malformed = inbox(), inbox()
    tracker = track((await venue(script)).url)
    tracker.on_trade_update(seen)
    tracker.on_malformed(malformed)
    await tracker.start()

    assert (await seen.next())["seq"] == 1
    reason, payload = await malformed.next()
    assert reason.startswith("the venue sent")
    assert payload is not None
    assert tracker.get_stats()["malformed"] == 1
    assert tracker.is_connected()


async def test_a_malformed_update_still_counts_as_received(venue: MakeVenue, track: Track, inbox: MakeInbox) -> None:
    """The venue counts it as sent; a replay in lock-step compares the two."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        await peer.say({"stream": "trade_updates", "data": {}})
        await peer.stay()

    malformed = inbox()
    tracker = track((await venue(script)).url)
    tracker.on_malformed(malformed)
    await tracker.start()
    await malformed.next()

    assert tracker.received == 1


async def test_what_is_no_trade_update_is_not_told_and_not_counted(
    venue: MakeVenue, track: Track, inbox: MakeInbox
) -> None:
    """A repeated confirmation, or a stream that we never asked for."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        await peer.say({"stream": "listening", "data": {"streams": ["trade_updates"]}})
        await peer.say({"stream": "account_updates", "data": {"cash": "1"}})
        await peer.say({"T": "novelty"})
        await peer.say(update(seq=1))
        await peer.stay()

    seen = inbox()
    tracker = track((await venue(script)).url)
    tracker.on_trade_update(seen)
    await tracker.start()

    assert (await seen.next())["seq"] == 1
    assert (tracker.received, tracker.get_stats()["malformed"]) == (1, 0)


async def test_a_handler_that_raises_or_hangs_stops_nothing(venue: MakeVenue, track: Track, inbox: MakeInbox) -> None:
    """Reading goes on, other handlers are told everything, and the statistics show it."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        for number in range(6):
            await peer.say(update(seq=number))
        await peer.stay()

    seen = inbox()

    def raises(_: Any) -> None:
        message = "no"
        raise RuntimeError(message)

    async def hangs(_: Any) -> None:
        await asyncio.Event().wait()

    tracker = track((await venue(script)).url, high_water=4)
    tracker.on_trade_update(raises)
    tracker.on_trade_update(hangs)
    tracker.on_trade_update(seen)
    await tracker.start()

    assert [(await seen.next())["seq"] for _ in range(6)] == list(range(6))
    stats = tracker.get_stats()
    assert (stats["handler_errors"], stats["queue_depth"], stats["backlog_alarms"]) == (6, 6, 1)
    assert tracker.is_connected()


async def test_a_handler_that_finds_a_message_malformed_has_it_reported(
    venue: MakeVenue, track: Track, inbox: MakeInbox
) -> None:
    """Translation happens in handlers; what they cannot read must lead to a reconcile as well."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        await peer.say(update())
        await peer.stay()

    malformed = inbox()

    def translate(message: Any) -> None:
        reason = "an order that cannot be read"
        raise MalformedMessageError(reason, message)

    tracker = track((await venue(script)).url)
    tracker.on_trade_update(translate)
    tracker.on_malformed(malformed)
    await tracker.start()

    assert await malformed.next() == ("an order that cannot be read", update()["data"])


# ---------------------------------------------------------------------- the account


async def test_the_account_is_told_when_it_changed_and_only_then(
    venue: MakeVenue, track: Track, inbox: MakeInbox, clock: Any
) -> None:
    """At the start, after a fill, and when the timer is due on the bot's clock; the same content never twice."""
    fills: asyncio.Queue[str] = asyncio.Queue()
    accounts = [{"cash": "100"}, {"cash": "100"}, {"cash": "90"}, {"cash": "90"}, {"cash": "95"}]
    looked: asyncio.Queue[int] = asyncio.Queue()
    count = 0

    async def source() -> dict[str, str]:
        nonlocal count
        count += 1
        looked.put_nowait(count)
        return accounts[min(count, len(accounts)) - 1]

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        while True:
            await peer.say(update(await fills.get()))

    told = inbox()
    server = await venue(script)
    tracker = track(server.url, clock=clock, account_source=source, account_poll_seconds=30.0)
    tracker.on_account_update(told)
    await tracker.start()

    assert await told.next() == {"cash": "100"}
    await looked.get()
    fills.put_nowait("new")
    fills.put_nowait("fill")  # 2: the same account again
    await looked.get()
    fills.put_nowait("partial_fill")  # 3
    await looked.get()
    assert await told.next() == {"cash": "90"}
    for _ in range(3):
        assert await clock.awaited.get() == 30_000_000_000
    clock.advance_to(30_000_000_000)  # 4: the same
    await looked.get()
    fills.put_nowait("fill")  # 5
    assert await told.next() == {"cash": "95"}

    assert told.is_empty
    assert tracker.get_stats()["account_polls"] == 5


async def test_an_account_that_cannot_be_learned_is_asked_for_again(
    venue: MakeVenue, track: Track, inbox: MakeInbox
) -> None:
    """A failed look ends nothing."""
    fill = asyncio.Event()
    count = 0

    async def source() -> dict[str, str]:
        nonlocal count
        count += 1
        if count == 1:
            fill.set()
            message = "no"
            raise RuntimeError(message)
        return {"cash": "1"}

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        await fill.wait()
        await peer.say(update("fill"))
        await peer.stay()

    told = inbox()
    tracker = track((await venue(script)).url, account_source=source)
    tracker.on_account_update(told)
    await tracker.start()

    assert await told.next() == {"cash": "1"}
    assert tracker.get_stats()["account_poll_failures"] == 1


# ---------------------------------------------------------------------- configuration


def test_paper_and_live_have_their_own_addresses() -> None:
    """As the guide's constructor chooses them."""
    urls = [
        UserStreamTracker(api_key="k", api_secret="s", is_paper=paper).get_stats()["url"] for paper in (True, False)
    ]

    assert urls == ["wss://paper-api.alpaca.markets/stream", "wss://api.alpaca.markets/stream"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key": "", "api_secret": "s"}, "alpaca.api_key is missing"),
        ({"api_key": "k", "api_secret": "s\ns"}, "alpaca.api_secret holds"),
        ({"api_key": "k", "api_secret": "s", "url": "http://x"}, "user stream url is 'http://x'"),
    ],
)
def test_what_cannot_work_is_said_at_once(options: dict[str, Any], words: str) -> None:
    """One clear sentence."""
    with pytest.raises(ConfigurationError, match=words):
        UserStreamTracker(**options)
