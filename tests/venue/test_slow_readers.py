"""A reader that never reads is cut, with all that it holds, and nobody else notices."""

from __future__ import annotations

import asyncio
import base64
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import connect

from holdfast.venue.streams.sockets import Codec, Socket
from tests.venue.helpers import StartVenue, VenueProcess, hear, limit, listen, minutes, say, subscribe


class DeafSocket:
    """A WebSocket by hand: it can speak, and reads nothing but the answer to its upgrade.

    The operating system keeps as little for it as it may, so that what is unread is the venue's to keep.
    """

    def __init__(self, url: str, path: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((parts.hostname, parts.port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        assert self._socket.recv(12) == b"HTTP/1.1 101"

    def say(self, message: object) -> None:
        """Send a message as one masked text frame."""
        payload = msgspec.json.encode(message)
        assert len(payload) < 1 << 16
        self._socket.sendall(struct.pack("!BBH4s", 0x81, 0x80 | 126, len(payload), bytes(4)) + payload)

    def is_cut(self, *, within_seconds: float) -> bool:
        """Whether the connection ends in this time. It does not read, so only a reset can tell."""
        poll = select.poll()
        poll.register(self._socket, 0)  # an error is told in any case
        return bool(poll.poll(within_seconds * 1000))

    def read_until(self, text: bytes) -> bool:
        """Begin to read after all: whether this comes before the end."""
        self._socket.settimeout(10)
        tail = b""
        while text not in tail:
            try:
                found = self._socket.recv(1 << 16)
            except ConnectionResetError:
                return False
            if not found:
                return False
            tail = tail[-len(text) :] + found
        return True

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


@contextmanager
def deaf(venue: VenueProcess, path: str, *messages: object) -> Iterator[DeafSocket]:
    """A reader that has said this and then never reads."""
    found = DeafSocket(venue.url, path)
    try:
        for message in messages:
            found.say(message)
        yield found
    finally:
        found.close()


def auth(key: str) -> dict[str, Any]:
    """The message that authenticates on either stream."""
    return {"action": "auth", "key": key, "secret": "secret"}


async def hear_bars(venue: VenueProcess, count: int) -> list[str]:
    """The times of the bars that another client hears until there are so many."""
    found: list[str] = []
    async with connect(venue.socket_url + "/v1beta3/crypto/us", proxy=None) as data:
        await subscribe(data, ["*"], key="other")
        async with connect(venue.socket_url + "/stream", proxy=None) as trade:
            await listen(trade, key="other")  # from here on time flows
            while len(found) < count:
                found += [message["t"] for message in await hear(data)]
    return found


def test_a_reader_of_market_data_that_never_reads_is_cut(start_venue: StartVenue) -> None:
    """Its connection is reset though it reads nothing, and meanwhile another reader hears every bar."""
    bars = minutes(count=8000)
    venue = start_venue(bars, speed=200_000, slow_seconds=0.5)
    everything = {"action": "subscribe", "quotes": ["*"], "trades": ["*"], "orderbooks": ["*"], "bars": ["*"]}
    with deaf(venue, "/v1beta3/crypto/us", auth("deaf"), everything) as reader:
        heard = asyncio.run(hear_bars(venue, len(bars)))

        assert reader.is_cut(within_seconds=30)
    assert len(heard) == len(set(heard)) == len(bars)


def test_a_reader_that_has_fallen_behind_and_reads_again_is_told_why(start_venue: StartVenue) -> None:
    """Its place is free at once; what waited for it is dropped, and the last that it reads is error 407."""
    venue = start_venue(minutes(count=8000), speed=200_000, stream_backlog=3, slow_seconds=60)
    everything = {"action": "subscribe", "quotes": ["*"], "trades": ["*"], "orderbooks": ["*"], "bars": ["*"]}

    async def wait_for_place() -> int:
        attempts = 0
        async with connect(venue.socket_url + "/stream", proxy=None) as trade:
            await listen(trade, key="deaf")  # from here on time flows
            while True:
                async with connect(venue.socket_url + "/v1beta3/crypto/us", proxy=None) as data:
                    await hear(data)
                    await say(data, auth("deaf"))
                    if (answer := (await hear(data))[0])["T"] == "success":
                        return attempts
                    assert answer["code"] == 406
                    attempts += 1

    with deaf(venue, "/v1beta3/crypto/us", auth("deaf"), everything) as reader:
        assert asyncio.run(wait_for_place()) > 0

        assert reader.read_until(b'"code":407,"msg":"slow client"}]')
        assert reader.is_cut(within_seconds=10)


async def test_a_reader_may_be_behind_by_so_many_bytes() -> None:
    """One that keeps up may be told any amount; one that does not is dismissed before the venue holds too much for it."""
    mebibyte, is_slow = b"x" * (1 << 20), asyncio.Event()
    may_take, has_taken = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def send(_: MutableMapping[str, Any]) -> None:
        await may_take.acquire()
        has_taken.release()

    reader = Socket(Codec(packed=False, binary=False))
    reader.on_slow = is_slow.set
    writing = asyncio.create_task(reader.write(send))
    for _ in range(100):
        reader.send_frame(mebibyte)
        may_take.release()
        await has_taken.acquire()
    assert not is_slow.is_set()

    frames = 0
    while not is_slow.is_set():
        reader.send_frame(mebibyte)
        await asyncio.sleep(0)
        frames += 1
    assert frames == 32 + 2  # one more than may wait, and the one that the connection is taking
    writing.cancel()


def test_a_reader_of_trade_updates_that_never_reads_is_cut(start_venue: StartVenue) -> None:
    """Its place is free for the next connection, which hears what happens from then on; every order was carried out."""
    venue = start_venue(speed=1, slow_seconds=0.5, rate_limit=None)
    listening = {"action": "listen", "data": {"streams": ["trade_updates"]}}
    with venue.client() as client, deaf(venue, "/stream", auth("key"), listening) as reader:
        orders = 0
        while not reader.is_cut(within_seconds=0) and orders < 5000:
            placed = client.post("/v2/orders", json=limit("0.01", "30000")).raise_for_status().json()
            client.delete(f"/v2/orders/{placed['id']}").raise_for_status()
            orders += 1
        assert reader.is_cut(within_seconds=0)

        assert asyncio.run(hear_next(venue, lambda: client.post("/v2/orders", json=limit("0.02", "30000")))) == "0.02"
        assert client.get("/v2/orders?status=open").json()[0]["qty"] == "0.02"


async def hear_next(venue: VenueProcess, act: Callable[[], object]) -> str:
    """The quantity of the order of which a new connection hears first."""
    async with connect(venue.socket_url + "/stream", proxy=None) as trade:
        await listen(trade)
        act()
        return str((await hear(trade))["data"]["order"]["qty"])
