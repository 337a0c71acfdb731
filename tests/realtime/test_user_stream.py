"""The user stream against a real server that fails in every way, before, during and after each step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from holdfast.brokers import MalformedMessageError
from holdfast.model.errors import BrokerAuthError, BrokerRefusedError, ConfigurationError
from holdfast.net import Backoff
from holdfast.realtime import StreamState, StreamTimeouts, UserStreamTracker

Peer = Any
Venue = Any
MakeVenue = Callable[..., Awaitable[Venue]]
MakeInbox = Callable[[], Any]
Keep = Callable[[Any], Any]

ORDER = {"id": "o-1", "client_order_id": "hf-1", "status": "new", "filled_qty": "0"}


def update(event: str = "new", **fields: Any) -> dict[str, Any]:
    """A trade update as it stands in its envelope."""
    return {"stream": "trade_updates", "data": {"event": event, "order": ORDER, **fields}}


@pytest.fixture
def track(keep: Keep, sleeper: Any, quick: StreamTimeouts) -> Callable[..., UserStreamTracker]:
    """Makes trackers whose back-off the test controls."""

    def make(url: str, **options: Any) -> UserStreamTracker:
        options = {"sleep": sleeper, "timeouts": quick, **options}
        tracker = UserStreamTracker(api_key="AK", api_secret="hush", is_paper=True, url=url, **options)
        keep(tracker)
        return tracker

    return make


Track = Callable[..., UserStreamTracker]


async def admit_and_stay(peer: Peer) -> None:
    """A venue where all is well."""
    await peer.admit_user()
    await peer.stay()


# ---------------------------------------------------------------------- the opening


async def test_connected_means_authorised_and_listening(venue: MakeVenue, track: Track) -> None:
    """Not merely open, and not merely authorised; and what is said on the way is what Alpaca expects."""
    heard: list[Any] = []
    states: list[tuple[str, bool]] = []

    async def script(peer: Peer) -> None:
        states.append((tracker.state, tracker.is_connected()))
        heard.append(await peer.hear())
        states.append((tracker.state, tracker.is_connected()))
        await peer.say({"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}})
        heard.append(await peer.hear())
        states.append((tracker.state, tracker.is_connected()))
        await peer.say({"stream": "listening", "data": {"streams": ["trade_updates"]}})
        await peer.stay()

    server = await venue(script)
    tracker = track(server.url)
    assert (tracker.state, tracker.is_connected()) == (StreamState.STOPPED, False)
    await tracker.start()

    assert heard == [
        {"action": "auth", "key": "AK", "secret": "hush"},
        {"action": "listen", "data": {"streams": ["trade_updates"]}},
    ]
    assert [connected for _, connected in states] == [False, False, False]
    assert states[-1][0] == StreamState.OPENING
    assert tracker.is_connected()
    stats = tracker.get_stats()
    assert (stats["connected"], stats["connects"], stats["state"]) == (True, 1, "listening")

    await tracker.stop()
    assert (tracker.state, tracker.is_connected()) == (StreamState.STOPPED, False)


async def test_refused_keys_are_one_clear_error_of_start(venue: MakeVenue, track: Track) -> None:
    """And nothing goes on in the background."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.say({"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}})
        await peer.stay()

    server = await venue(script)
    tracker = track(server.url)
    with pytest.raises(BrokerAuthError, match="refused our API keys"):
        await tracker.start()

    assert tracker.state is StreamState.STOPPED
    assert server.connections == 1


async def test_keys_that_are_refused_later_are_tried_again(venue: MakeVenue, track: Track, sleeper: Any) -> None:
    """Nobody is there to take an exception then, and a key may come back."""

    async def script(peer: Peer) -> None:
        if peer.number == 2:
            await peer.hear()
            await peer.say({"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}})
            return
        await peer.admit_user()
        if peer.number == 1:
            await peer.cut()
        await peer.stay()

    server = await venue(script)
    tracker = track(server.url)
    await tracker.start()
    await sleeper.waits.get()
    sleeper.release()
    await sleeper.waits.get()
    assert tracker.get_stats()["last_error"].startswith("the venue refused our API keys")
    sleeper.release()
    await tracker.wait_connected()

    stats = tracker.get_stats()
    assert (stats["connects"], stats["disconnects"], stats["failures"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, BrokerAuthError), (403, BrokerAuthError), (404, BrokerRefusedError), (400, BrokerRefusedError)],
)
async def test_a_refused_upgrade_is_an_error_of_start(
    venue: MakeVenue, track: Track, status: int, error: type[Exception]
) -> None:
    """Wrong keys, or a wrong address."""

    def refuse(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(HTTPStatus(status), "no")

    server = await venue(admit_and_stay, process_request=refuse)
    with pytest.raises(error):
        await track(server.url).start()


@pytest.mark.parametrize(("headers", "least"), [({}, 0.0), ({"Retry-After": "9"}, 9.0), ({"Retry-After": "x"}, 0.0)])
async def test_one_connection_too_many_waits_until_the_old_one_is_gone(
    venue: MakeVenue, track: Track, sleeper: Any, headers: dict[str, str], least: float
) -> None:
    """HTTP 429 at the upgrade is no refusal: start returns, and the stream comes up by itself."""
    refusals = 1

    def refuse(connection: ServerConnection, _: Request) -> Response | None:
        nonlocal refusals
        refusals -= 1
        if refusals < 0:
            return None
        response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "later")
        response.headers.update(headers)
        return response

    server = await venue(admit_and_stay, process_request=refuse)
    tracker = track(server.url, backoff=Backoff(base=1.0, cap=1.0))
    await tracker.start()
    assert not tracker.is_connected()
    assert "429" in tracker.get_stats()["last_error"]
    assert least <= await sleeper.waits.get() <= max(least, 1.0)
    sleeper.release()
    await tracker.wait_connected()

    assert tracker.is_connected()


async def test_a_venue_that_is_not_there_is_tried_in_the_background(
    venue: MakeVenue, track: Track, sleeper: Any
) -> None:
    """Connection refused, again and again, until it is."""
    server = await venue(admit_and_stay)
    await server.stop()
    tracker = track(server.url)
    await tracker.start()
    assert not tracker.is_connected()
    await sleeper.waits.get()
    assert "cannot connect" in tracker.get_stats()["last_error"]

    again = await venue(admit_and_stay, port=urlsplit(server.url).port)
    sleeper.release()
    await tracker.wait_connected()
    assert again.connections == 1


async def test_a_venue_without_tls_is_a_failed_attempt(venue: MakeVenue, track: Track, sleeper: Any) -> None:
    """Said as what it is."""
    server = await venue(admit_and_stay)
    tracker = track(server.url.replace("ws:", "wss:"))
    await tracker.start()
    await sleeper.waits.get()

    assert "cannot connect" in tracker.get_stats()["last_error"]
    assert server.connections == 0


async def silent(peer: Peer) -> None:
    """Says nothing."""
    await peer.stay()


async def mute_after_auth(peer: Peer) -> None:
    """Takes the keys and says nothing more."""
    await peer.hear()
    await peer.say({"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}})
    await peer.stay()


async def cut_at_once(peer: Peer) -> None:
    """Cut before authorisation."""
    await peer.cut()


async def cut_after_keys(peer: Peer) -> None:
    """Cut instead of the verdict on our keys."""
    await peer.hear()
    await peer.cut()


async def cut_after_auth(peer: Peer) -> None:
    """Cut between authorised and listening."""
    await peer.hear()
    await peer.say({"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}})
    await peer.cut()


async def garbage_first(peer: Peer) -> None:
    """Something that is no JSON, instead of the verdict."""
    await peer.hear()
    await peer.socket.send(b"\x00\xff{")
    await peer.stay()


async def error_first(peer: Peer) -> None:
    """The venue's own error."""
    await peer.hear()
    await peer.say({"action": "error", "data": {"error_message": "internal server error"}})
    await peer.stay()


async def listening_to_nothing(peer: Peer) -> None:
    """Confirms another list than the one asked for."""
    await peer.hear()
    await peer.say({"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}})
    await peer.hear()
    await peer.say({"stream": "listening", "data": {"streams": []}})
    await peer.stay()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (silent, "no answer in time while opening"),
        (mute_after_auth, "no answer in time while opening"),
        (cut_at_once, "the connection ended"),
        (cut_after_keys, "the connection ended"),
        (cut_after_auth, "the connection ended"),
        (garbage_first, "no JSON"),
        (error_first, "ended the user stream: internal server error"),
        (listening_to_nothing, "not to trade_updates"),
    ],
)
async def test_an_opening_that_fails_is_tried_again(
    venue: MakeVenue, track: Track, sleeper: Any, script: Callable[[Peer], Awaitable[None]], reason: str
) -> None:
    """It never counts as connected, the old socket is gone before the next is opened, and the next one works."""

    async def first_fails(peer: Peer) -> None:
        await (script if peer.number == 1 else admit_and_stay)(peer)

    server = await venue(first_fails)
    tracker = track(server.url)
    await tracker.start()
    await sleeper.waits.get()
    assert not tracker.is_connected()
    assert reason in tracker.get_stats()["last_error"]
    assert server.open <= 1
    sleeper.release()
    await tracker.wait_connected()

    stats = tracker.get_stats()
    assert (stats["connects"], stats["failures"], stats["disconnects"]) == (1, 1, 0)


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


# ---------------------------------------------------------------------- loss and return


async def cut(peer: Peer) -> None:
    """TCP ends without a word."""
    await peer.cut()


async def close(peer: Peer) -> None:
    """The venue closes as the protocol wants it."""
    await peer.socket.close(1001, "going away")


async def half_a_message(peer: Peer) -> None:
    """Cut in the middle of a fragmented message."""

    async def fragments() -> Any:
        yield b'{"stream":'
        await peer.cut()
        yield b"never"

    await peer.socket.send(fragments())


async def garbage_on_the_wire(peer: Peer) -> None:
    """Bytes that are no WebSocket frame."""
    peer.socket.transport.write(b"\xff\xff\xff\xff\xff")
    await peer.stay()


async def venue_error(peer: Peer) -> None:
    """The venue says that it failed."""
    await peer.say({"action": "error", "data": {"error_message": "internal server error"}})
    await peer.stay()


async def stops_listening(peer: Peer) -> None:
    """The venue confirms that it will send nothing."""
    await peer.say({"stream": "listening", "data": {"streams": []}})
    await peer.stay()


@pytest.mark.parametrize("ending", [cut, close, half_a_message, garbage_on_the_wire, venue_error, stops_listening])
async def test_a_lost_stream_comes_back_and_says_both(
    venue: MakeVenue, track: Track, inbox: MakeInbox, sleeper: Any, ending: Callable[[Peer], Awaitable[None]]
) -> None:
    """Told once of the loss, once of the return; the count of the connection begins again; never two sockets."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        await peer.say(update(seq=peer.number))
        if peer.number == 1:
            await ending(peer)
        await peer.stay()

    log = inbox()
    server = await venue(script)
    tracker = track(server.url)
    tracker.on_connected(lambda: log("connected"))
    tracker.on_disconnected(lambda reason: log(("lost", tracker.is_connected(), bool(reason))))
    tracker.on_trade_update(lambda message: log(message["seq"]))
    await tracker.start()
    await sleeper.waits.get()
    assert not tracker.is_connected()
    sleeper.release()
    await tracker.wait_connected()

    assert [await log.next() for _ in range(5)] == ["connected", 1, ("lost", False, True), "connected", 2]
    assert (tracker.received, server.connections, server.open_max) == (1, 2, 1)
    stats = tracker.get_stats()
    assert (stats["connects"], stats["disconnects"], stats["failures"]) == (2, 1, 0)


async def test_a_dead_connection_is_found_by_its_missing_pongs(venue: MakeVenue, track: Track, sleeper: Any) -> None:
    """A peer that no longer answers is not connected, however open the socket looks."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        peer.socket.transport.pause_reading()
        await peer.stay()

    server = await venue(script, ping_interval=None, close_timeout=0.1)
    timeouts = StreamTimeouts(ping_interval=0.05, ping_timeout=0.05, close=0.05, stable=1_000)
    tracker = track(server.url, timeouts=timeouts)
    await tracker.start()
    await sleeper.waits.get()

    assert "ping timeout" in tracker.get_stats()["last_error"]
    assert not tracker.is_connected()


async def test_the_back_off_grows_while_connections_do_not_hold(venue: MakeVenue, track: Track, sleeper: Any) -> None:
    """A venue that lets us in and cuts us at once is not hammered; one connection that held resets the delays."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        await peer.cut()

    class Loudest:
        """Draws the bound itself, so that the test sees how it grows."""

        def uniform(self, _: float, high: float) -> float:
            return high

    backoff = Backoff(base=1.0, cap=30.0, rng=Loudest())  # type: ignore[arg-type]
    tracker = track((await venue(script)).url, backoff=backoff)
    await tracker.start()
    delays = []
    for _ in range(7):
        delays.append(await sleeper.waits.get())
        sleeper.release()

    assert delays == [1, 2, 4, 8, 16, 30, 30]


async def test_a_connection_that_held_resets_the_back_off(venue: MakeVenue, track: Track, sleeper: Any) -> None:
    """Here every connection counts as having held."""

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        await peer.cut()

    backoff = Backoff(base=1.0, cap=30.0)
    tracker = track((await venue(script)).url, backoff=backoff, timeouts=StreamTimeouts(stable=0.0))
    await tracker.start()
    for _ in range(5):
        assert await sleeper.waits.get() <= 1.0
        assert backoff.tries == 1
        sleeper.release()


# ---------------------------------------------------------------------- start and stop


async def test_stop_during_back_off_returns_at_once(venue: MakeVenue, track: Track, sleeper: Any) -> None:
    """Nobody lets the sleeper go, and nothing is left behind."""

    async def script(peer: Peer) -> None:
        await peer.cut()

    tracker = track((await venue(script)).url)
    await tracker.start()
    await sleeper.waits.get()
    async with asyncio.timeout(1.0):
        await tracker.stop()

    assert tracker.state is StreamState.STOPPED
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("holdfast")] == []


@pytest.mark.parametrize("script", [silent, mute_after_auth, admit_and_stay])
async def test_stop_in_any_state_closes_the_socket(
    venue: MakeVenue, track: Track, script: Callable[[Peer], Awaitable[None]]
) -> None:
    """Also while start has not returned: then start is cancelled, not left hanging."""
    reached = asyncio.Event()

    async def told(peer: Peer) -> None:
        reached.set()
        await script(peer)

    server = await venue(told)
    tracker = track(server.url, timeouts=StreamTimeouts())
    starting = asyncio.ensure_future(tracker.start())
    await reached.wait()
    async with asyncio.timeout(5.0):
        await tracker.stop()
        await asyncio.wait({starting})

    assert tracker.state is StreamState.STOPPED
    assert not tracker.is_connected()


async def test_a_cancelled_start_leaves_nothing_behind(venue: MakeVenue, track: Track) -> None:
    """No task, no socket."""
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        reached.set()
        await peer.stay()

    tracker = track((await venue(script)).url, timeouts=StreamTimeouts())
    starting = asyncio.ensure_future(tracker.start())
    await reached.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert tracker.state is StreamState.STOPPED


async def test_start_twice_is_one_connection_and_stop_twice_is_one_stop(venue: MakeVenue, track: Track) -> None:
    """And after a stop it can be started again."""
    server = await venue(admit_and_stay)
    tracker = track(server.url)
    await asyncio.gather(tracker.start(), tracker.start())
    await tracker.start()
    assert (server.connections, server.open_max) == (1, 1)

    await tracker.stop()
    await tracker.stop()
    await tracker.start()
    assert (tracker.is_connected(), server.connections) == (True, 2)


async def test_stop_lets_handlers_finish_what_arrived(venue: MakeVenue, track: Track) -> None:
    """No order event is dropped for the sake of a quick exit."""
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.admit_user()
        for number in range(5):
            await peer.say(update(seq=number))
        await peer.stay()

    handled: list[int] = []
    tracker = track((await venue(script)).url, timeouts=StreamTimeouts())

    async def slow(message: Any) -> None:
        await asyncio.sleep(0.01)
        handled.append(message["seq"])

    def last(message: Any) -> None:
        if message["seq"] == 4:
            arrived.set()

    tracker.on_trade_update(slow)
    tracker.on_trade_update(last)
    await tracker.start()
    await arrived.wait()
    await tracker.stop()

    assert handled == [0, 1, 2, 3, 4]


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
