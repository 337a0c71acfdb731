"""The opening of the user stream, against a real server that fails before, during and after each step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from holdfast.model.errors import BrokerAuthError, BrokerRefusedError
from holdfast.net import Backoff
from holdfast.realtime import StreamState, StreamTimeouts, UserStreamTracker

Peer = Any
MakeVenue = Callable[..., Awaitable[Any]]

ORDER = {"id": "o-1", "client_order_id": "hf-1", "status": "new", "filled_qty": "0"}


def update(event: str = "new", **fields: Any) -> dict[str, Any]:
    """A trade update as it stands in its envelope."""
    return {"stream": "trade_updates", "data": {"event": event, "order": ORDER, **fields}}


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
    tracker = track(server.url, timeouts=StreamTimeouts(open=1.0, close=0.3))
    await tracker.start()
    await sleeper.waits.get()
    assert not tracker.is_connected()
    assert reason in tracker.get_stats()["last_error"]
    assert server.open <= 1
    sleeper.release()
    await tracker.wait_connected()

    stats = tracker.get_stats()
    assert (stats["connects"], stats["failures"], stats["disconnects"]) == (1, 1, 0)
