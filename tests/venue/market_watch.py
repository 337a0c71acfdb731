"""Watching a venue that runs by itself until its market has ended: what its streams have said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.venue.helpers import KEY, SECRET, VenueProcess, hear, listen, say

CRYPTO = "/v1beta3/crypto/us"
STOCKS = "/v2/iex"

Messages = list[dict[str, Any]]


@contextlib.asynccontextmanager
async def subscribed(venue: VenueProcess, path: str, key: str = KEY, **channels: list[str]) -> AsyncIterator[Any]:
    """A data stream that is subscribed to these channels."""
    async with connect(venue.socket_url + path, proxy=None) as data:
        await hear(data)
        await say(data, {"action": "auth", "key": key, "secret": SECRET})
        assert (await hear(data))[0]["msg"] == "authenticated"
        await say(data, {"action": "subscribe", **channels})
        assert (await hear(data))[0]["T"] == "subscription"
        yield data


@contextlib.asynccontextmanager
async def flowing(venue: VenueProcess, key: str = KEY) -> AsyncIterator[ClientConnection]:
    """A trade stream that listens: with it the venue's time begins to flow."""
    async with connect(venue.socket_url + "/stream", proxy=None) as trade:
        await listen(trade, key)
        yield trade


async def hear_bars(data: ClientConnection, bars: int) -> Messages:
    """Everything that a data stream says until this many bars have come."""
    heard: Messages = []
    async with asyncio.timeout(60):
        while sum(message["T"] == "b" for message in heard) < bars:
            heard.extend(await hear(data))
    return heard


def only(heard: Messages, kind: str, symbol: str) -> Messages:
    """The messages of a kind about a symbol, as REST would show them."""
    return [
        {name: value for name, value in message.items() if name not in ("T", "S")}
        for message in heard
        if (message["T"], message["S"]) == (kind, symbol)
    ]
