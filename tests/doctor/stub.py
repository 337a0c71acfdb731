"""A small Alpaca on the loopback interface: answers and sockets that say what a test wants to hear."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

ACCOUNT = {
    "account_number": "PA0000000001",
    "status": "ACTIVE",
    "crypto_status": "ACTIVE",
    "currency": "USD",
    "equity": "100000",
    "shorting_enabled": True,
    "trading_blocked": False,
    "account_blocked": False,
    "trade_suspended_by_user": False,
}
CLOCK = {
    "timestamp": "2026-07-01T10:00:00-04:00",
    "is_open": True,
    "next_open": "2026-07-02T09:30:00-04:00",
    "next_close": "2026-07-01T16:00:00-04:00",
}
ASSET = {"status": "active", "tradable": True}
BARS: Mapping[str, Any] = {"bars": {}, "next_page_token": None}
Answer = tuple[int, Any]


class Stub:
    """What is answered: ``answers`` by path, ``data_error`` instead of taking the keys on a market-data socket."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            "/v2/account": (200, ACCOUNT),
            "/v2/clock": (200, CLOCK),
            "/v2/assets/SPY": (200, ASSET),
            "/v2/assets/BTC/USD": (200, ASSET),
            "/v2/stocks/bars": (200, BARS),
            "/v1beta3/crypto/us/bars": (200, BARS),
        }
        self.date: str | None = None
        self.data_error: tuple[int, str] | None = None
        self.is_authorised = True
        self.server: Server | None = None

    @property
    def url(self) -> str:
        """Of everything."""
        assert self.server is not None
        return f"http://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}"

    def answer(self, _: ServerConnection, request: Request) -> Response | None:
        """The answer to a plain request; None lets a socket open."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return None
        path = urlsplit(request.path).path.replace("%2F", "/")
        status, body = self.answers.get(path, (404, {"code": 40410000, "message": "endpoint not found"}))
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = Headers({"Content-Length": str(len(content)), "Connection": "close"})
        if self.date is not None:
            headers["Date"] = self.date
        return Response(status, HTTPStatus(status).phrase, headers, content)

    async def talk(self, socket: ServerConnection) -> None:
        """The venue's part on a socket."""
        assert socket.request is not None
        if socket.request.path == "/stream":
            await self._talk_of_trades(socket)
        else:
            await self._talk_of_data(socket)
        await socket.wait_closed()

    async def _talk_of_trades(self, socket: ServerConnection) -> None:
        await socket.recv()
        status = "authorized" if self.is_authorised else "unauthorized"
        await _say(socket, {"stream": "authorization", "data": {"status": status, "action": "authenticate"}})
        await socket.recv()
        await _say(socket, {"stream": "listening", "data": {"streams": ["trade_updates"]}})

    async def _talk_of_data(self, socket: ServerConnection) -> None:
        await _say(socket, [{"T": "success", "msg": "connected"}])
        await socket.recv()
        if self.data_error is not None:
            code, text = self.data_error
            await _say(socket, [{"T": "error", "code": code, "msg": text}])
            return
        await _say(socket, [{"T": "success", "msg": "authenticated"}])
        asked = msgspec.json.decode(await socket.recv())
        await _say(socket, [{"T": "subscription", **{key: asked[key] for key in asked if key != "action"}}])


@asynccontextmanager
async def running_stub() -> AsyncIterator[Stub]:
    """A stub that listens."""
    stub = Stub()
    async with serve(stub.talk, "127.0.0.1", 0, process_request=stub.answer, compression=None) as server:
        stub.server = server
        yield stub


async def _say(socket: ServerConnection, message: object) -> None:
    await socket.send(msgspec.json.encode(message), text=True)
