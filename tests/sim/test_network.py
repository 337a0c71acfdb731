"""The simulated network: what each fault does to a request or a message, and what the venue has seen of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from holdfast.data import synthetic_sessions
from holdfast.testing.sim.chance import stream
from holdfast.testing.sim.faults import FAULTS, Faults, swarm
from holdfast.testing.sim.journal import Disk
from holdfast.testing.sim.loop import Killed, Owner, VirtualLoop, run
from holdfast.testing.sim.network import Door, Network, SimTransport
from holdfast.testing.sim.trace import Trace
from holdfast.testing.sim.venue import URL, SimVenue
from holdfast.venue.matching.engine import EngineSettings

KEYS = {"APCA-API-KEY-ID": "K", "APCA-API-SECRET-KEY": "S"}
ORDER = {
    "symbol": "SPY",
    "qty": "1",
    "side": "buy",
    "type": "limit",
    "limit_price": "10",
    "time_in_force": "day",
    "client_order_id": "o-1",
}


class Place:
    """A venue and one process's network, under faults that strike always, or not at all."""

    def __init__(self, loop: VirtualLoop, *faults: str) -> None:
        self.loop = loop
        self.trace = Trace(loop.time)
        self.faults = Faults(stream(1, "faults"), dict.fromkeys(faults, 1.0))
        series = synthetic_sessions(["SPY"], 1, 1)
        self.venue = SimVenue(
            loop,
            self.trace,
            {"SPY": series["SPY"].slice(0, 30)},
            settings=EngineSettings(),
            cash=Decimal(100_000),
            rate_limit=200,
            book_id=1,
        )
        self.venue.start()
        self.disk = Disk("j", loop.time)
        self.door = Door()
        self.owner = Owner("bot-1")
        self.network = Network(
            loop, self.venue, self.owner, 1, self.disk, self.faults, self.trace, self.door, self._point, "K"
        )
        self.client = httpx.AsyncClient(transport=SimTransport(self.network), base_url=URL, headers=KEYS, timeout=10.0)

    def _point(self, _: str) -> None:
        if self.owner.dead:
            raise Killed

    async def submit(self) -> httpx.Response:
        """Send the order."""
        return await self.client.post("/v2/orders", json=ORDER)

    def orders(self) -> list[str]:
        """What the venue has."""
        engine = self.venue.engine("K")
        return [] if engine is None else [o.client_order_id for o in engine.orders("all", newest_first=False)]


def at(work: Callable[[Place], Awaitable[Any]], *faults: str) -> Any:
    """Run something at a place under these faults."""

    async def main(loop: VirtualLoop) -> Any:
        place = Place(loop, *faults)
        try:
            return await work(place)
        finally:
            place.venue.close()

    return run(main)


def test_without_faults_a_request_is_answered_within_milliseconds() -> None:
    """And the venue has the order."""

    async def work(place: Place) -> tuple[int, list[str], float]:
        response = await place.submit()
        return response.status_code, place.orders(), place.loop.time()

    status, orders, seconds = at(work)

    assert (status, orders) == (200, ["o-1"])
    assert 0 < seconds < 0.2


@pytest.mark.parametrize(
    ("fault", "error", "seconds"),
    [
        ("refused", httpx.ConnectError, 0.1),
        ("lost", httpx.ReadTimeout, 10.0),
        ("cut_before", httpx.ReadError, 0.1),
    ],
)
def test_what_strikes_before_the_venue_leaves_no_order(fault: str, error: type[Exception], seconds: float) -> None:
    """A minute later it is still not there."""

    async def work(place: Place) -> tuple[float, list[str]]:
        with pytest.raises(error):
            await place.submit()
        took = place.loop.time()
        await asyncio.sleep(60.0)
        return took, place.orders()

    took, orders = at(work, fault)

    assert orders == []
    assert took == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(
    ("fault", "error"), [("answer_lost", httpx.ReadTimeout), ("cut_after", httpx.RemoteProtocolError)]
)
def test_what_strikes_the_answer_leaves_the_order(fault: str, error: type[Exception]) -> None:
    """The client cannot tell it from one that was lost."""

    async def work(place: Place) -> list[str]:
        with pytest.raises(error):
            await place.submit()
        return place.orders()

    assert at(work, fault) == ["o-1"]


def test_a_late_request_arrives_after_the_time_out() -> None:
    """Within the seven seconds that the simulation allows it."""

    async def work(place: Place) -> tuple[list[str], list[str], float]:
        with pytest.raises(httpx.ReadTimeout):
            await place.submit()
        before = place.orders()
        await asyncio.sleep(7.1)
        return before, place.orders(), place.door.arrivals[0][0]

    before, after, arrived = at(work, "late")

    assert (before, after) == ([], ["o-1"])
    assert 10.0 < arrived <= 17.0


@pytest.mark.parametrize(("fault", "status"), [("gateway_before", 500), ("limit_headers", 429), ("limit_bare", 429)])
def test_answers_of_others_are_not_the_venues(fault: str, status: int) -> None:
    """It has seen nothing; one of the two 429s says when to come back."""

    async def work(place: Place) -> tuple[httpx.Response, list[str]]:
        return await place.submit(), place.orders()

    response, orders = at(work, fault)

    assert (response.status_code, orders) == (status, [])
    assert ("Retry-After" in response.headers) is (fault == "limit_headers")


def test_an_answer_that_is_cut_off_is_no_json() -> None:
    """With status 200, and the order there."""

    async def work(place: Place) -> tuple[httpx.Response, list[str]]:
        return await place.submit(), place.orders()

    response, orders = at(work, "malformed_answer")

    assert (response.status_code, orders) == (200, ["o-1"])
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(response.content)


def test_a_request_that_comes_twice_is_one_order() -> None:
    """The second answer says that the id is taken."""

    async def work(place: Place) -> tuple[httpx.Response, list[str], int]:
        return await place.submit(), place.orders(), len(place.door.arrivals)

    response, orders, arrivals = at(work, "twice")

    assert (orders, arrivals) == (["o-1"], 2)
    assert response.status_code == 422
    assert "must be unique" in response.text


def test_the_door_knows_whether_the_intent_was_durable() -> None:
    """That is what the first promise is judged by."""

    async def work(place: Place) -> list[tuple[str, bool]]:
        await place.submit()
        return [(d.client_order_id, d.durable) for d in place.door.departures]

    assert at(work) == [("o-1", False)]


def test_a_request_on_its_way_outlives_the_process() -> None:
    """And its answer reaches nobody."""

    async def work(place: Place) -> tuple[list[str], bool]:
        task = asyncio.ensure_future(place.submit())
        await asyncio.sleep(0.001)
        place.owner.dead = True
        await asyncio.sleep(30.0)
        done = task.done()
        task.cancel()
        return place.orders(), done

    assert at(work) == (["o-1"], False)


def test_a_venue_that_is_down_refuses_and_one_that_is_killed_hangs_up() -> None:
    """After its restart it has what it had."""

    async def work(place: Place) -> list[str]:
        await place.submit()
        place.venue.kill()
        with pytest.raises(httpx.ConnectError):
            await place.submit()
        await asyncio.sleep(1.0)
        place.venue.start()
        return place.orders()

    assert at(work) == ["o-1"]


def test_a_stall_keeps_everything_back() -> None:
    """And then lets it pass."""

    async def work(place: Place) -> float:
        place.network.stalled_until = 3.0
        await place.submit()
        return place.loop.time()

    assert 3.0 < at(work) < 3.3


# -- WebSockets -----------------------------------------------------------------------------------


async def _listen(place: Place) -> Any:
    socket = await place.network.connect(URL.replace("http", "ws") + "/stream").__aenter__()
    await socket.send(msgspec.json.encode({"action": "auth", "key": "K", "secret": "S"}), text=True)
    await socket.send(msgspec.json.encode({"action": "listen", "data": {"streams": ["trade_updates"]}}), text=True)
    return socket


async def _heard(socket: Any, seconds: float) -> list[Any]:
    frames = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                frames.append(msgspec.json.decode(await socket.recv(decode=False)))
    except TimeoutError:
        return frames


def _streams(frames: list[Any]) -> list[str]:
    return [frame["stream"] for frame in frames]


def test_messages_arrive_in_order() -> None:
    """Authorisation, confirmation, the order's first word."""

    async def work(place: Place) -> list[Any]:
        socket = await _listen(place)
        await asyncio.sleep(0.5)
        await place.submit()
        return await _heard(socket, 5.0)

    assert _streams(at(work)) == ["authorization", "listening", "trade_updates"]


@pytest.mark.parametrize(
    ("fault", "streams"),
    [
        ("frame_lost", []),
        ("socket_mute", []),
        ("frame_twice", ["authorization", "authorization", "listening", "listening"]),
    ],
)
def test_frames_are_lost_and_doubled(fault: str, streams: list[str]) -> None:
    """On a socket that looks well."""

    async def work(place: Place) -> list[Any]:
        return await _heard(await _listen(place), 5.0)

    assert _streams(at(work, fault)) == streams


def test_a_frame_is_overtaken_by_the_next() -> None:
    """Each is held until another one passes it, or some seconds are over."""

    async def work(place: Place) -> list[Any]:
        place.faults.rates = {"frame_swapped": 1.0}
        socket = await _listen(place)
        await asyncio.sleep(0.5)
        place.faults.rates = {}
        await place.submit()
        return await _heard(socket, 10.0)

    heard = _streams(at(work))

    assert sorted(heard) == ["authorization", "listening", "trade_updates"]
    assert heard.index("trade_updates") < heard.index("listening")


def test_a_torn_frame_is_no_json_and_a_cut_socket_says_so() -> None:
    """What the client's own code must tell apart."""

    async def torn(place: Place) -> None:
        with pytest.raises(msgspec.DecodeError):
            await _heard(await _listen(place), 5.0)

    async def cut(place: Place) -> None:
        with pytest.raises(ConnectionClosedError):
            await _heard(await _listen(place), 5.0)

    at(torn, "frame_malformed")
    at(cut, "socket_cut")


def test_a_dead_socket_is_noticed_when_no_pong_came() -> None:
    """Between twenty and forty seconds later, as pings are sent every twenty."""

    async def work(place: Place) -> float:
        socket = await _listen(place)
        with pytest.raises(ConnectionClosedError):
            await _heard(socket, 100.0)
        return place.loop.time()

    assert 20.0 < at(work, "socket_half_open") < 41.0


@pytest.mark.parametrize(("fault", "error"), [("socket_refused", OSError), ("socket_too_many", InvalidStatus)])
def test_a_socket_may_not_open(fault: str, error: type[Exception]) -> None:
    """For the reasons that a real one has."""

    async def work(place: Place) -> None:
        with pytest.raises(error):
            await _listen(place)

    at(work, fault)


# -- the dice -------------------------------------------------------------------------------------


def test_every_drawn_fault_can_be_drawn_and_none_after_the_storm() -> None:
    """The table has no row that nothing draws."""
    faults = Faults(stream(1, "x"), dict.fromkeys(FAULTS, 0.01))
    places = {fault.place for fault in FAULTS.values()} - {"weather"}
    for _ in range(20_000):
        for place in sorted(places):
            faults.draw(place)
    drawn = {name for name, fault in FAULTS.items() if fault.place != "weather"}

    assert set(faults.counts) == drawn
    faults.active = False
    assert all(faults.draw(place) is None for place in places)


def test_a_swarm_leaves_some_out() -> None:
    """A run in which everything fails never gets anywhere."""
    sizes = [len(swarm(stream(seed, "s"), 1.0)) for seed in range(50)]

    assert 0 < min(sizes) < max(sizes) < len(FAULTS)
