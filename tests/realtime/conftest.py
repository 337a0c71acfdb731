"""A real WebSocket server on the loopback interface that does what a test tells it, and a sleeper that the test wakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from holdfast.realtime import Stream, StreamTimeouts, UserStreamTracker
from holdfast.time import BacktestClock

AUTHORIZED = {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
LISTENING = {"stream": "listening", "data": {"streams": ["trade_updates"]}}

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The venue's end of one connection."""

    def __init__(self, socket: ServerConnection, number: int) -> None:
        self.socket = socket
        self.number = number

    async def hear(self) -> Any:
        """The client's next message."""
        return msgspec.json.decode(await self.socket.recv())

    async def say(self, message: object, *, text: bool = False) -> None:
        """One message, in a binary frame as Alpaca's paper venue does, or in a text frame."""
        await self.socket.send(msgspec.json.encode(message), text=text)

    async def cut(self) -> None:
        """End the TCP connection without a word."""
        self.socket.transport.abort()
        await self.socket.wait_closed()

    async def stay(self) -> None:
        """Keep the connection until the client ends it."""
        await self.socket.wait_closed()

    async def admit_user(self) -> None:
        """Alpaca's opening of the user stream."""
        await self.hear()
        await self.say(AUTHORIZED)
        await self.hear()
        await self.say(LISTENING)

    async def admit_data(self) -> None:
        """Alpaca's opening of the market data stream, granting what is asked for."""
        await self.say([{"T": "success", "msg": "connected"}], text=True)
        await self.hear()
        await self.say([{"T": "success", "msg": "authenticated"}], text=True)
        asked = await self.hear()
        channels = {key: value for key, value in asked.items() if key != "action"}
        await self.say([{"T": "subscription", "trades": [], "quotes": [], **channels}], text=True)


class Venue:
    """The server: which connections came, and how many were open at once."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.open = 0
        self.open_max = 0
        self.empty = asyncio.Event()
        self.url = ""
        self.server: Server
        self._scripts: set[asyncio.Task[Any]] = set()

    async def start(self, port: int, **options: Any) -> None:
        """Serve on a port; 0 is any that is free."""
        self.server = await serve(self._serve, "127.0.0.1", port, **options)
        self.url = f"ws://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}/stream"

    async def stop(self) -> None:
        """End what the scripts still wait for, and the server."""
        for script in self._scripts:
            script.cancel()
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._scripts.add(task)
            task.add_done_callback(self._scripts.discard)
        self.connections += 1
        self.open += 1
        self.empty.clear()
        self.open_max = max(self.open_max, self.open)
        try:
            await self._script(Peer(socket, self.connections))
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1
            if not self.open:
                self.empty.set()


class Sleeper:
    """Stands in for waiting: each wait is told to the test and lasts until the test lets it go."""

    def __init__(self) -> None:
        self.waits: asyncio.Queue[float] = asyncio.Queue()
        self._gate = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        """Wait for the test."""
        self.waits.put_nowait(seconds)
        await self._gate.acquire()

    def release(self) -> None:
        """Let one wait end."""
        self._gate.release()


class Inbox:
    """A handler that keeps what it is given, and lets the test wait for it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, *message: Any) -> None:
        """Keep it; a message of one part is that part."""
        self._queue.put_nowait(message[0] if len(message) == 1 else message)

    async def next(self) -> Any:
        """The next message, as soon as it is there."""
        return await self._queue.get()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return self._queue.empty()


class RecordingClock(BacktestClock):
    """A clock advanced by hand that tells the test for which moments others wait."""

    def __init__(self) -> None:
        super().__init__(0)
        self.awaited: asyncio.Queue[int] = asyncio.Queue()

    async def wait_until(self, ns: int) -> None:
        """Tell, and wait."""
        self.awaited.put_nowait(ns)
        await super().wait_until(ns)


@pytest.fixture
def clock() -> RecordingClock:
    """Stands at the epoch until it is advanced."""
    return RecordingClock()


@pytest.fixture
def sleeper() -> Sleeper:
    """Waits that the test ends."""
    return Sleeper()


@pytest.fixture
def inbox() -> Callable[[], Inbox]:
    """Makes handlers that keep what they are given."""
    return Inbox


@pytest.fixture
async def venue() -> AsyncIterator[Callable[..., Awaitable[Venue]]]:
    """Makes venues; the script is run for each connection."""
    made: list[Venue] = []

    async def make(script: Script, *, port: int = 0, **options: Any) -> Venue:
        one = Venue(script)
        await one.start(port, **options)
        made.append(one)
        return one

    yield make
    for one in made:
        await one.stop()


@pytest.fixture
async def keep() -> AsyncIterator[Callable[[Stream], Stream]]:
    """Stops streams at the end of the test."""
    kept: list[Stream] = []

    def keeper(stream: Stream) -> Stream:
        kept.append(stream)
        return stream

    yield keeper
    for stream in kept:
        await stream.stop()


@pytest.fixture
def limits() -> StreamTimeouts:
    """Patient with a busy machine, save where the test's own server never answers a close."""
    return StreamTimeouts(close=0.3, drain=0.3, stable=1_000)


@pytest.fixture
def track(
    keep: Callable[[Stream], Stream], sleeper: Sleeper, limits: StreamTimeouts
) -> Callable[..., UserStreamTracker]:
    """Makes trackers whose back-off the test controls."""

    def make(url: str, **options: Any) -> UserStreamTracker:
        options = {"sleep": sleeper, "timeouts": limits, **options}
        tracker = UserStreamTracker(api_key="AK", api_secret="hush", is_paper=True, url=url, **options)
        keep(tracker)
        return tracker

    return make
