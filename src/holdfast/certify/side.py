"""One venue, asked raw: no table of errors, nothing tried again, every answer and every stream message as it came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from holdfast.brokers.alpaca_endpoints import check_key, is_loopback, trade_stream_url
from holdfast.brokers.alpaca_errors import failure_of
from holdfast.model.errors import BrokerError
from holdfast.net.tls import trusted_by
from holdfast.time import Clock, RealTimeClock

_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 15.0
_TICK_SECONDS = 0.05
_TOO_MANY_WAIT_SECONDS = 60.0
_TOO_MANY_TRIES = 3
#: Stands for a status where there was no answer: whether the request was carried out is unknown.
NO_ANSWER = 0


class Answer(NamedTuple):
    """What came back: ``body`` is its JSON, or None where there was none."""

    status: int
    body: Any

    @property
    def is_known(self) -> bool:
        """Whether it says what became of the request."""
        return self.status != NO_ANSWER and self.status < 500


class Side:
    """One account at one venue.

    Args:
        trading: Base URL of the trading API.
        data: Base URL of the market-data API.
        key: The key's id.
        secret: The key's secret.
        speed: Venue seconds per real second.
        clock: Ours.

    Attributes:
        handshake: What the trade stream said until it listened.
        events: The data of every trade update so far.
        failure: Why the last request that had no answer had none.
        waited: How often the rate limit made us wait.
    """

    def __init__(
        self, trading: str, data: str, key: str, secret: str, *, speed: float = 1.0, clock: Clock | None = None
    ) -> None:
        self.trading, self.data, self.speed = trading, data, speed
        self.key, self.secret = check_key(key, "alpaca.api_key"), check_key(secret, "alpaca.api_secret")
        self.clock: Clock = clock or RealTimeClock()
        self.handshake: list[Any] = []
        self.events: list[dict[str, Any]] = []
        self.waited = 0
        self.failure = ""
        self._client = httpx.AsyncClient(
            headers={"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret},
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            trust_env=not (is_loopback(trading) and is_loopback(data)),
            follow_redirects=False,
            verify=trusted_by(trading, data),
        )
        self._stack = contextlib.AsyncExitStack()
        self._heard = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        base: str | None = None,
    ) -> Answer:
        """One request, once. Only "too many requests" is waited out: it says that nothing was done."""
        for _ in range(_TOO_MANY_TRIES):
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    response = await self._client.request(
                        method, (base or self.trading) + path, json=None if body is None else dict(body), params=params
                    )
            except Exception as error:
                failure = failure_of(error)
                if failure is None:
                    raise
                self.failure = f"{failure.sentence}: {str(error) or type(error).__name__}"
                return Answer(NO_ANSWER, None)
            if response.status_code != 429:
                break
            self.waited += 1
            wait = response.headers.get("Retry-After", "")
            await asyncio.sleep(min(float(wait) if wait.isdigit() else 5.0, _TOO_MANY_WAIT_SECONDS))
        try:
            return Answer(response.status_code, msgspec.json.decode(response.content) if response.content else None)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Answer(response.status_code, {"message": "<no JSON>"})

    async def listen(self) -> None:
        """Open the trade stream, and keep everything that it says.

        Raises:
            BrokerError: It does not come to listening.
        """
        url = trade_stream_url(self.trading)
        is_local = is_loopback(url)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS + _ANSWER_SECONDS):
                socket = await self._stack.enter_async_context(
                    connect(url, close_timeout=1.0, compression=None, proxy=None if is_local else True)
                )
                await self._say(socket, {"action": "auth", "key": self.key, "secret": self.secret})
                self.handshake.append(await self._hear(socket))
                await self._say(socket, {"action": "listen", "data": {"streams": ["trade_updates"]}})
                self.handshake.append(await self._hear(socket))
        except (OSError, TimeoutError, WebSocketException, msgspec.DecodeError) as error:
            message = f"the trade stream at {url} cannot be followed: {str(error) or type(error).__name__}"
            raise BrokerError(message) from None
        if "listening" not in [part.get("stream") for part in self.handshake if isinstance(part, dict)]:
            message = f"the trade stream at {url} does not listen: is another program connected with these keys?"
            raise BrokerError(message)
        reading = asyncio.create_task(self._read(socket), name="holdfast-certify")
        self._stack.push_async_callback(_ended, reading)

    async def until(self, look: Callable[[], bool], seconds: float) -> bool:
        """Whether something came to be true of the events, within so many real seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not look():
                    self._heard.clear()
                    await self._heard.wait()
        return look()

    async def pause(self) -> None:
        """Between two looks at the same thing."""
        await asyncio.sleep(_TICK_SECONDS if self.speed > 1 else 10 * _TICK_SECONDS)

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(WebSocketException, OSError):
            while True:
                try:
                    message = await self._hear(socket)
                except msgspec.DecodeError:
                    message = {"data": {"event": "<no JSON>", "order": {}}}
                if isinstance(message, dict) and isinstance(message.get("data"), dict) and "event" in message["data"]:
                    self.events.append(message["data"])
                    self._heard.set()

    async def _say(self, socket: ClientConnection, message: object) -> None:
        await socket.send(msgspec.json.encode(message), text=True)

    async def _hear(self, socket: ClientConnection) -> Any:
        return msgspec.json.decode(await socket.recv(decode=False))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
