"""What is said on the venue's streams, as two sessions without I/O: trade updates and market data.

Each session is handed decoded messages and posts its answers to a ``Socket``. Who may say what when is
in two tables:

trade stream (no greeting)                     before authorisation      after
    auth, authenticate                         authorise                 authorise again
    listen                                     unauthorized              set the list of streams
    anything else                              error, close              error, close

market data (greets, frames are arrays)        before authentication     after
    auth                                       authenticate              403 already authenticated
    subscribe, unsubscribe                     401 not authenticated     change and show the whole state
    anything else                              400 invalid syntax        400 invalid syntax

A key pair has one trade connection and one data connection for each market (stocks, crypto). A
further one is refused until the first is gone, and a connection is gone as soon as its TCP connection
is. The counters of the lock-step protocol count messages, not frames: one frame of market data
may hold several bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from holdfast.model.market import Bar
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.orders import EngineEvent
from holdfast.venue.sockets import BAD_DATA, POLICY_VIOLATION, Message, Socket
from holdfast.venue.wire.market import bar_json, bar_msgpack
from holdfast.venue.wire.orders import trade_update_json
from holdfast.venue.wire.words import encode_json

Authenticate = Callable[[str, str], VenueAccount | None]

TRADE_STREAMS: Final = ("trade_updates",)

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
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}
#: The errors after which the venue closes the connection.
_FATAL: Final = frozenset({402, 404, 406})


class Hub:
    """Who is connected: the one trade connection and the data connections of each account."""

    def __init__(self) -> None:
        self.trade: dict[int, TradeSession] = {}
        self.data: dict[tuple[int, str], DataSession] = {}

    def is_listening(self, account: VenueAccount) -> bool:
        """Whether the account's trade stream gets its updates."""
        session = self.trade.get(account.number)
        return session is not None and session.listening

    def has_bars(self, account: VenueAccount) -> bool:
        """Whether a data stream of the account is subscribed to bars."""
        return any(session.channels["bars"] for session in self.data_sessions(account))

    def updates_sent(self, account: VenueAccount) -> int:
        """Messages of trade updates sent on the present trade connection."""
        session = self.trade.get(account.number)
        return 0 if session is None else session.sent + session.socket.skew

    def bars_sent(self, account: VenueAccount) -> int:
        """Bars sent on the present data connections."""
        return sum(session.sent + session.socket.skew for session in self.data_sessions(account))

    def data_sessions(self, account: VenueAccount) -> list[DataSession]:
        """The account's data connections."""
        return [session for (number, _), session in self.data.items() if number == account.number]

    def tell_updates(self, account: VenueAccount, news: Iterable[tuple[int, EngineEvent]]) -> None:
        """Send events to the account's trade stream, if it listens. There is no replay for those who do not."""
        session = self.trade.get(account.number)
        if session is not None and session.listening:
            for number, event in news:
                session.sent += 1
                session.socket.post(trade_update_json(event, number, account.namespace))

    def tell_bars(self, bars: Sequence[Bar], periods: dict[str, int]) -> None:
        """Send finished bars to whoever is subscribed to them, each connection one frame."""
        encoded: dict[bool, list[tuple[str, bytes]]] = {}
        for session in self.data.values():
            if not session.channels["bars"]:
                continue
            packed = session.socket.codec.packed
            if packed not in encoded:
                encoded[packed] = [(bar.symbol, _encode_bar(bar, periods[bar.symbol], packed=packed)) for bar in bars]
            session.tell(encoded[packed])


class TradeSession:
    """The trade stream of one connection.

    Attributes:
        account: Whose it is; None until authorised.
        listening: It asked for trade updates.
        sent: Messages of trade updates sent on this connection.
    """

    def __init__(self, hub: Hub, socket: Socket, authenticate: Authenticate, on_listen: Callable[[], None]) -> None:
        self._hub = hub
        self._authenticate = authenticate
        self._on_listen = on_listen
        self.socket = socket
        self.account: VenueAccount | None = None
        self.listening = False
        self.sent = 0

    def on_frame(self, frame: Message) -> None:
        """Handle one frame of the client."""
        try:
            message = self.socket.codec.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            self._fail("invalid syntax")
            return
        action = message.get("action") if isinstance(message, dict) else None
        data = message.get("data") if isinstance(message, dict) else None
        if action == "auth" and isinstance(message, dict):
            self._authorise(message.get("key"), message.get("secret"))
        elif action == "authenticate" and isinstance(data, dict):
            self._authorise(data.get("key_id"), data.get("secret_key"))
        elif action == "listen" and isinstance(data, dict):
            self._listen(data.get("streams"))
        else:
            self._fail("unknown action")

    def release(self) -> None:
        """The connection is gone."""
        if self.account is not None and self._hub.trade.get(self.account.number) is self:
            del self._hub.trade[self.account.number]

    def _authorise(self, key: object, secret: object) -> None:
        account = self._authenticate(key, secret) if isinstance(key, str) and isinstance(secret, str) else None
        if account is None:
            self._answer("unauthorized", "authenticate")
            return
        if self._hub.trade.setdefault(account.number, self) is not self:
            # The client gave no keys at the upgrade, where the answer would have been HTTP 429.
            self._fail("connection limit exceeded", POLICY_VIOLATION)
            return
        if self.account is not None and self.account is not account:
            self.release()
            self.listening = False
        self.account = account
        self._answer("authorized", "authenticate")

    def _listen(self, streams: object) -> None:
        if self.account is None:
            self._answer("unauthorized", "listen")
            return
        asked = streams if isinstance(streams, list) else []
        granted = [name for name in TRADE_STREAMS if name in asked]
        self.listening = bool(granted)
        self.socket.post({"stream": "listening", "data": {"streams": granted}})
        if self.listening:
            self._on_listen()

    def _answer(self, status: str, action: str) -> None:
        self.socket.post({"stream": "authorization", "data": {"status": status, "action": action}})

    def _fail(self, message: str, code: int = BAD_DATA) -> None:
        self.socket.post({"action": "error", "data": {"error_message": message}})
        self.socket.close(code, message)


class DataSession:
    """The market-data stream of one connection.

    Attributes:
        market: ``stocks`` or ``crypto``.
        account: Whose it is; None until authenticated.
        channels: The symbols subscribed to, by channel, in the order of asking.
        sent: Bars sent on this connection.
    """

    def __init__(
        self, hub: Hub, socket: Socket, authenticate: Authenticate, market: str, symbol_limit: int | None = None
    ) -> None:
        self._hub = hub
        self._authenticate = authenticate
        self._symbol_limit = symbol_limit
        self.market = market
        self.socket = socket
        self.account: VenueAccount | None = None
        self.channels: dict[str, list[str]] = {
            name: [] for name in (CRYPTO_CHANNELS if market == "crypto" else STOCK_CHANNELS)
        }
        self._bars: frozenset[str] = frozenset()
        self.sent = 0

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
            message = None
        action = message.get("action") if isinstance(message, dict) else None
        if not isinstance(message, dict) or action not in ("auth", "subscribe", "unsubscribe"):
            self._error(400)
        elif action == "auth":
            self._on_auth(message.get("key"), message.get("secret"))
        elif self.account is None:
            self._error(401)
        else:
            self._on_subscription(message, subscribe=action == "subscribe")

    def on_auth_timeout(self) -> None:
        """The time to authenticate is over."""
        if self.account is None:
            self._error(404)

    def release(self) -> None:
        """The connection is gone."""
        if self.account is not None:
            place = (self.account.number, self.market)
            if self._hub.data.get(place) is self:
                del self._hub.data[place]

    def tell(self, bars: Sequence[tuple[str, bytes]]) -> None:
        """Send those of the encoded bars that are subscribed to, in one frame."""
        wanted = self._bars
        everything = "*" in wanted
        chosen = [payload for symbol, payload in bars if everything or symbol in wanted]
        if not chosen:
            return
        self.sent += len(chosen)
        if self.socket.codec.packed:
            self.socket.post([msgspec.Raw(payload) for payload in chosen])
        else:
            self.socket.post_payload(b"[" + b",".join(chosen) + b"]")

    def _on_auth(self, key: object, secret: object) -> None:
        if self.account is not None:
            self._error(403)
            return
        account = self._authenticate(key, secret) if isinstance(key, str) and isinstance(secret, str) else None
        if account is None:
            self._error(402)
        elif self._hub.data.setdefault((account.number, self.market), self) is not self:
            self._error(406)
        else:
            self.account = account
            self._success("authenticated")

    def _on_subscription(self, message: dict[str, Any], *, subscribe: bool) -> None:
        asked = {name: symbols for name, symbols in message.items() if name != "action" and symbols is not None}
        if any(not _is_symbols(symbols) for symbols in asked.values()):
            self._error(400)
            return
        if any(name not in self.channels for name in asked):
            self._error(410)
            return
        changed = {name: list(symbols) for name, symbols in self.channels.items()}
        for name, symbols in asked.items():
            names = (name, *_WITH_TRADES) if name == "trades" and "corrections" in changed else (name,)
            for channel in names:
                changed[channel] = _changed(changed[channel], symbols, subscribe=subscribe)
        distinct = {symbol for symbols in changed.values() for symbol in symbols if symbol != "*"}
        if self._symbol_limit is not None and len(distinct) > self._symbol_limit:
            self._error(405)
            return
        self.channels = changed
        self._bars = frozenset(changed["bars"])
        self.socket.post([{"T": "subscription", **changed}])

    def _success(self, text: str) -> None:
        self.socket.post([{"T": "success", "msg": text}])

    def _error(self, code: int) -> None:
        text = DATA_ERRORS[code]
        self.socket.post([{"T": "error", "code": code, "msg": text}])
        if code in _FATAL:
            self.socket.close(POLICY_VIOLATION, text)


def _is_symbols(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(symbol, str) for symbol in value)


def _changed(present: list[str], asked: list[str], *, subscribe: bool) -> list[str]:
    if subscribe:
        return list(dict.fromkeys([*present, *asked]))
    return [symbol for symbol in present if symbol not in asked]


def _encode_bar(bar: Bar, period: int, *, packed: bool) -> bytes:
    if packed:
        return msgspec.msgpack.encode({"T": "b", "S": bar.symbol, **bar_msgpack(bar, period)})
    return encode_json({"T": "b", "S": bar.symbol, **bar_json(bar, period)})
