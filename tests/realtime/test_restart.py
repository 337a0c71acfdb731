"""A connection that is given up because somebody knows better than the socket, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.net import Backoff
from holdfast.realtime import StreamState, UserStreamTracker

Peer = Any
MakeVenue = Callable[..., Awaitable[Any]]
MakeInbox = Callable[[], Any]
Track = Callable[..., UserStreamTracker]

MUTE = "mute: it never told of what happened to order o-1, and REST did"


async def mute(peer: Peer) -> None:
    """Admits, answers pings, and says nothing more; it answers a close as the library does."""
    await peer.admit_user()
    await peer.stay()


async def test_a_connection_that_is_given_up_is_closed_told_of_and_made_anew(
    venue: MakeVenue, track: Track, sleeper: Any, inbox: MakeInbox
) -> None:
    """The reason is ours; the count stands in the statistics; one connection at a time."""
    server = await venue(mute)
    stream, lost, back = track(server.url), inbox(), inbox()
    stream.on_disconnected(lost)
    await stream.start()
    stream.on_connected(lambda: back("back"))

    assert stream.restart(MUTE)
    assert not stream.is_connected(), "at once, and not when the socket is closed"
    assert await lost.next() == MUTE
    await sleeper.waits.get()
    await server.empty.wait()  # the old connection goes before the next one may be opened
    sleeper.release()
    await back.next()

    stats = stream.get_stats()
    assert (stats["restarts"], stats["disconnects"], stats["connects"]) == (1, 1, 2)
    assert stats["last_error"] == MUTE
    assert stream.is_connected()
    assert server.open_max == 1


async def test_a_venue_that_never_answers_the_close_does_not_hold_it_up(
    venue: MakeVenue, track: Track, sleeper: Any, inbox: MakeInbox
) -> None:
    """A half-dead peer reads nothing any more: after the time for a close the socket is dropped."""
    gone = asyncio.Event()

    async def deaf(peer: Peer) -> None:
        await peer.admit_user()
        peer.socket.transport.pause_reading()
        await gone.wait()
        await peer.cut()

    server = await venue(deaf)
    stream, lost = track(server.url), inbox()
    stream.on_disconnected(lost)
    await stream.start()

    assert stream.restart(MUTE)
    assert await lost.next() == MUTE
    await sleeper.waits.get()
    assert stream.state is StreamState.WAITING
    gone.set()
    await server.empty.wait()


async def test_a_stream_that_is_not_listening_is_left_to_itself(venue: MakeVenue, track: Track, sleeper: Any) -> None:
    """It is on its way already; to tear at it would only begin the back-off anew."""

    async def cut(peer: Peer) -> None:
        await peer.admit_user()
        await peer.cut()

    server = await venue(cut)
    stream = track(server.url)
    assert not stream.restart(MUTE), "never started"
    await stream.start()
    await sleeper.waits.get()
    assert not stream.restart(MUTE), "waits for its next connection"
    assert stream.get_stats()["restarts"] == 0


async def test_asked_twice_it_is_given_up_once(venue: MakeVenue, track: Track, inbox: MakeInbox) -> None:
    """Two sources may find the same thing."""
    server = await venue(mute)
    stream, lost = track(server.url, backoff=Backoff(base=1.0, cap=1.0)), inbox()
    stream.on_disconnected(lost)
    await stream.start()

    assert stream.restart(MUTE)
    assert not stream.restart("again")
    assert await lost.next() == MUTE
    assert lost.is_empty


async def test_a_stop_in_the_middle_of_it_ends_it(venue: MakeVenue, track: Track) -> None:
    """Stop wins; nothing is left behind."""
    server = await venue(mute)
    stream = track(server.url)
    await stream.start()
    stream.restart(MUTE)
    await stream.stop()
    assert stream.state is StreamState.STOPPED
    assert not stream.is_connected()
