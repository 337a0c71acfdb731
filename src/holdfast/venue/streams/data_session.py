"""The market-data stream of one connection, without I/O.

It is handed decoded messages and posts its answers to a ``Socket``. Who may say what when:

market data (greets, frames are arrays)        before authentication     after
    auth                                       authenticate              403 already authenticated
    subscribe, unsubscribe                     401 not authenticated     change and show the whole state
    anything else                              400 invalid syntax        400 invalid syntax

A key pair has one data connection for each market: stocks, crypto, and the test feed. A further one is refused
until the first is gone, and a connection is gone as soon as its TCP connection is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.streams.sockets import POLICY_VIOLATION, Message, Socket
from holdfast.venue.wire.market import json_time, msgpack_time
from holdfast.venue.wire.words import Json, encode_json

_log = logging.getLogger("holdfast.venue")

__all__ = ["CRYPTO_CHANNELS", "DATA_ERRORS", "FEEDS", "STOCK_CHANNELS", "TEST_SYMBOL", "DataSession", "Feed", "Item"]

STOCK_CHANNELS: Final = (
    "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors",
)  # fmt: skip
CRYPTO_CHANNELS: Final = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "orderbooks")
# Subscribing to trades subscribes to what corrects them.
_WITH_TRADES: Final = ("corrections", "cancelErrors")

#: The errors of the market-data stream, by code.
DATA_ERRORS: Final = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    408: "v2 not enabled",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}
#: The errors after which the venue closes the connection.
_FATAL: Final = frozenset({402, 404, 406, 407, 408, 409})

#: The symbol of the test feed.
TEST_SYMBOL: Final = "FAKEPACA"

Authenticate = Callable[[str, str], VenueAccount | None]


class Feed(msgspec.Struct, frozen=True):
    """What a data stream's address stands for.

    Attributes:
        market: ``stocks``, ``crypto`` or ``test``: whose symbols it carries.
        delay: How much later than it happens everything is told (ns).
        is_paid: Not part of Alpaca's free plan.
        nights_only: Carries what happens in the nights alone.
    """

    market: str
    delay: int = 0
    is_paid: bool = False
    nights_only: bool = False


#: The data streams by their paths.
FEEDS: Final = {
    "/v2/iex": Feed("stocks"),
    "/v2/sip": Feed("stocks", is_paid=True),
    "/v2/delayed_sip": Feed("stocks", delay=15 * NS_PER_MINUTE),
    "/v2/test": Feed("test"),
    "/v1beta1/boats": Feed("stocks", nights_only=True),
    "/v1beta1/overnight": Feed("stocks", nights_only=True),
    "/v1beta3/crypto/us": Feed("crypto"),
}


def market_of(symbol: str) -> str:
    """The market whose streams carry a symbol."""
    if "/" in symbol:
        return "crypto"
    return "test" if symbol == TEST_SYMBOL else "stocks"


class Item:
    """One message of market data. It is written at most once in each of the two codecs, whoever reads it.

    Attributes:
        channel: What it is sent on.
        symbol: What it is about.
        is_night: Whether it is for feeds of nights alone, too.
    """

    __slots__ = ("_body", "_kind", "_payloads", "channel", "is_night", "symbol")

    def __init__(
        self, channel: str, kind: str, symbol: str, body: Callable[[Any], Json], *, is_night: bool = False
    ) -> None:
        self.channel = channel
        self.symbol = symbol
        self.is_night = is_night
        self._kind = kind
        self._body = body
        self._payloads: dict[bool, bytes] = {}

    def payload(self, *, packed: bool) -> bytes:
        """The message as bytes."""
        payload = self._payloads.get(packed)
        if payload is None:
            message = {"T": self._kind, "S": self.symbol, **self._body(msgpack_time if packed else json_time)}
            payload = msgspec.msgpack.encode(message) if packed else encode_json(message)
            self._payloads[packed] = payload
        return payload


class DataSession:
    """The market-data stream of one connection.

    Args:
        places: Who has the data connection of an account and market; shared by all sessions.
        socket: Where answers go.
        authenticate: Gives the account of a key pair.
        feed: What its address stands for.
        symbol_limit: Symbols that it may subscribe to; None is unlimited.
        is_basic: Whether the client has the free plan.
        on_subscribed: Called with the symbols that a channel has gained, after the acknowledgement.

    Attributes:
        account: Whose it is; None until authenticated.
        channels: The symbols subscribed to, by channel, in the order of asking.
        sent: Bars sent on this connection.
    """

    def __init__(
        self,
        places: dict[tuple[int, str], DataSession],
        socket: Socket,
        authenticate: Authenticate,
        feed: Feed,
        *,
        symbol_limit: int | None = None,
        is_basic: bool = False,
        on_subscribed: Callable[[DataSession, str, Sequence[str]], None] = lambda _session, _channel, _symbols: None,
    ) -> None:
        self._places = places
        self._authenticate = authenticate
        self._symbol_limit = symbol_limit
        self._is_refused = is_basic and feed.is_paid
        self._on_subscribed = on_subscribed
        self.feed = feed
        self.socket = socket
        self.account: VenueAccount | None = None
        self.channels: dict[str, list[str]] = {
            name: [] for name in (CRYPTO_CHANNELS if feed.market == "crypto" else STOCK_CHANNELS)
        }
        self._wanted: dict[str, frozenset[str]] = {}
        self.sent = 0
        socket.on_slow = self._on_slow

    def greet(self, key: str, secret: str) -> None:
        """The connection is open; keys may have come with the upgrade."""
        self._success("connected")
        if key or secret:
            self._on_auth(key, secret)

    def on_frame(self, frame: Message) -> None:
        """Handle one frame of the client."""
        try:
            message = self.socket.codec.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            _log.warning("a frame on the market-data stream is neither JSON nor what was agreed on")
            message = None
        action = message.get("action") if isinstance(message, dict) else None
        if not isinstance(message, dict) or action not in ("auth", "subscribe", "unsubscribe"):
            self.fail(400)
        elif action == "auth":
            self._on_auth(message.get("key"), message.get("secret"))
        elif self.account is None:
            self.fail(401)
        else:
            self._on_subscription(message, subscribe=action == "subscribe")

    def on_auth_timeout(self) -> None:
        """The time to authenticate is over."""
        if self.account is None:
            self.fail(404)

    def release(self) -> None:
        """The connection is gone."""
        if self.account is not None:
            place = (self.account.number, self.feed.market)
            if self._places.get(place) is self:
                del self._places[place]

    def wants(self, channel: str, symbol: str) -> bool:
        """Whether a message goes to this connection."""
        wanted = self._wanted.get(channel)
        return wanted is not None and (symbol in wanted or "*" in wanted) and market_of(symbol) == self.feed.market

    def wanted(self, channel: str) -> frozenset[str]:
        """The symbols of a channel, ``*`` among them if it is all."""
        return self._wanted.get(channel, frozenset())

    def tell(self, items: Sequence[Item]) -> None:
        """Send those of the messages that are subscribed to, in one frame."""
        packed = self.socket.codec.packed
        nights_only = self.feed.nights_only
        chosen = []
        for item in items:
            if self.wants(item.channel, item.symbol) and (item.is_night or not nights_only):
                chosen.append(item.payload(packed=packed))
                self.sent += item.channel == "bars"
        if not chosen:
            return
        if packed:
            self.socket.post([msgspec.Raw(payload) for payload in chosen])
        else:
            self.socket.post_payload(b"[" + b",".join(chosen) + b"]")

    def fail(self, code: int) -> None:
        """Tell an error, and close where it is one of those that end a connection."""
        text = DATA_ERRORS[code]
        self.socket.post([{"T": "error", "code": code, "msg": text}])
        if code in _FATAL:
            self.socket.close(POLICY_VIOLATION, text)

    def _on_slow(self) -> None:
        """The client reads so slowly that its messages have been dropped. Its place is free for a better connection."""
        self.fail(407)
        self.release()

    def _on_auth(self, key: object, secret: object) -> None:
        if self.account is not None:
            self.fail(403)
            return
        account = self._authenticate(key, secret) if isinstance(key, str) and isinstance(secret, str) else None
        if account is None:
            self.fail(402)
        elif self._is_refused:
            self.fail(409)
        elif self._places.setdefault((account.number, self.feed.market), self) is not self:
            self.fail(406)
        else:
            self.account = account
            self._success("authenticated")

    def _on_subscription(self, message: dict[str, Any], *, subscribe: bool) -> None:
        asked = {name: symbols for name, symbols in message.items() if name != "action" and symbols is not None}
        if any(not _is_symbols(symbols) for symbols in asked.values()):
            self.fail(400)
            return
        if any(name not in self.channels for name in asked):
            self.fail(410)
            return
        before = self.channels
        changed = {name: list(symbols) for name, symbols in before.items()}
        for name, symbols in asked.items():
            names = (name, *_WITH_TRADES) if name == "trades" and "corrections" in changed else (name,)
            for channel in names:
                changed[channel] = _changed(changed[channel], symbols, subscribe=subscribe)
        distinct = {symbol for symbols in changed.values() for symbol in symbols if symbol != "*"}
        if self._symbol_limit is not None and len(distinct) > self._symbol_limit:
            self.fail(405)
            return
        self.channels = changed
        self._wanted = {name: frozenset(symbols) for name, symbols in changed.items() if symbols}
        self.socket.post([{"T": "subscription", **changed}])
        for name, symbols in changed.items():
            gained = [symbol for symbol in symbols if symbol not in before[name]]
            if gained:
                self._on_subscribed(self, name, gained)

    def _success(self, text: str) -> None:
        self.socket.post([{"T": "success", "msg": text}])


def _is_symbols(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(symbol, str) for symbol in value)


def _changed(present: list[str], asked: list[str], *, subscribe: bool) -> list[str]:
    if subscribe:
        return list(dict.fromkeys([*present, *asked]))
    return [symbol for symbol in present if symbol not in asked]
