"""Who is connected to the venue's streams, and the stream of trade updates, without I/O.

A session is handed decoded messages and posts its answers to a ``Socket``. Who may say what when:

trade stream (no greeting)                     before authorisation      after
    auth, authenticate                         authorise                 authorise again
    listen                                     unauthorized              set the list of streams
    anything else                              error, close              error, close

A key pair has one trade connection. A further one is refused until the first is gone, and a connection is gone as
soon as its TCP connection is. The counters of the lock-step protocol count messages, not frames: one frame of
market data may hold several bars.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from holdfast.venue.accounts import VenueAccount
from holdfast.venue.matching.orders import EngineEvent
from holdfast.venue.streams.data_session import Authenticate, DataSession
from holdfast.venue.streams.sockets import BAD_DATA, POLICY_VIOLATION, Message, Socket
from holdfast.venue.wire.orders import trade_update_json

_log = logging.getLogger("holdfast.venue")

TRADE_STREAMS: Final = ("trade_updates",)


class Hub:
    """Who is connected: the one trade connection and the data connections of each account."""

    def __init__(self) -> None:
        self.trade: dict[int, TradeSession] = {}
        self.data: dict[tuple[int, str], DataSession] = {}

    def succeed(self, old: VenueAccount, new: VenueAccount) -> None:
        """Let the connections of an account be those of another: its key pair has a new account."""
        trade = self.trade.pop(old.number, None)
        if trade is not None:
            trade.account = new
            self.trade[new.number] = trade
        for number, market in [place for place in self.data if place[0] == old.number]:
            data = self.data.pop((number, market))
            data.account = new
            self.data[new.number, market] = data

    def is_listening(self, account: VenueAccount) -> bool:
        """Whether the account's trade stream gets its updates."""
        session = self.trade.get(account.number)
        return session is not None and session.listening

    def has_bars(self, account: VenueAccount) -> bool:
        """Whether a data stream of the account is subscribed to bars."""
        return any(session.wanted("bars") for session in self.data_sessions(account))

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
            _log.warning("a frame on the trade stream is neither JSON nor what was agreed on")
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
