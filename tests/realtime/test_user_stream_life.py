"""A user stream that is lost and comes back, started and stopped, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.net import Backoff
from holdfast.realtime import StreamState, StreamTimeouts, UserStreamTracker

Peer = Any
MakeVenue = Callable[..., Awaitable[Any]]
MakeInbox = Callable[[], Any]

ORDER = {"id": "o-1", "client_order_id": "hf-1", "status": "new", "filled_qty": "0"}

AUTHORIZED = {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
LISTENING = {"stream": "listening", "data": {"streams": ["trade_updates"]}}


def update(event: str = "new", **fields: Any) -> dict[str, Any]:
    """A trade update as it stands in its envelope."""
    return {"stream": "trade_updates", "data": {"event": event, "order": ORDER, **fields}}


Track = Callable[..., UserStreamTracker]


async def admit_and_stay(peer: Peer) -> None:
    """A venue where all is well."""
    await peer.admit_user()
    await peer.stay()


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

    backoff = Backoff(base=1.0, cap=30.0, rng=Loudest())  # type: ignore[arg-type]  # no more of a Random is asked for
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


@pytest.mark.parametrize("answers", [[], [AUTHORIZED], [AUTHORIZED, LISTENING]])
async def test_stop_in_any_state_closes_the_socket(venue: MakeVenue, track: Track, answers: list[Any]) -> None:
    """Also while start has not returned: then start is cancelled, not left hanging."""
    reached = asyncio.Event()

    async def told(peer: Peer) -> None:
        for answer in answers:
            await peer.hear()
            await peer.say(answer)
        reached.set()
        await peer.stay()

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
