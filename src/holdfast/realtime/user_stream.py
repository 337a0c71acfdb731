"""News of our own orders: Alpaca's ``trade_updates`` socket.

The socket has no greeting and no replay. We authorise, ask to listen, and are listening when the venue
names ``trade_updates`` among the streams that it will send. Frames are text or binary; both hold JSON.
"""

from __future__ import annotations

import asyncio
from typing import Any, Unpack

import structlog

from holdfast.brokers.alpaca_endpoints import LIVE_URL, PAPER_URL, check_key, check_socket_url, trade_stream_url
from holdfast.brokers.alpaca_errors import KEYS_REFUSED
from holdfast.brokers.alpaca_wire import FILL_EVENTS, MalformedMessageError
from holdfast.model.errors import BrokerAuthError, BrokerError
from holdfast.realtime.account_poller import AccountPoller, AccountSource
from holdfast.realtime.stream import Conversation, Stream, StreamOptions
from holdfast.realtime.subscribers import Handler

TRADE_UPDATES = "trade_updates"

_log = structlog.get_logger(__name__)


class UserStreamTracker(Stream):
    """Follows the orders of one account. See ``Stream`` for what every stream does.

    ``received`` counts the trade updates of the current connection.

    Args:
        api_key: The key's id.
        api_secret: The key's secret.
        is_paper: Paper or live, where no ``url`` is given.
        url: The whole URL of the socket.
        account_source: Returns the account (``AlpacaConnector.get_account``); None: ``on_account_update`` is never told.
        account_poll_seconds: The longest time between two looks at the account, on the stream's clock.
        options: See ``Stream``; the clock also times the looks at the account.

    Raises:
        ConfigurationError: A key is missing or the URL is none.
    """

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        is_paper: bool = True,
        *,
        url: str | None = None,
        account_source: AccountSource | None = None,
        account_poll_seconds: float = 60.0,
        **options: Unpack[StreamOptions],
    ) -> None:
        super().__init__(
            name="user",
            url=check_socket_url(url or trade_stream_url(PAPER_URL if is_paper else LIVE_URL), "user stream url"),
            **options,
        )
        self._key = check_key(api_key, "alpaca.api_key")
        self._secret = check_key(api_secret, "alpaca.api_secret")
        self._updates = self._new_subscribers("trade_update")
        self._accounts = self._new_subscribers("account_update")
        self._poller: AccountPoller | None = None
        self._poll_task: asyncio.Task[None] | None = None
        if account_source is not None:
            self._poller = AccountPoller(
                account_source, self._accounts.publish, clock=self._clock, period_seconds=account_poll_seconds
            )
            self.on_connected(self._poller.wake)

    def on_trade_update(self, handler: Handler) -> None:
        """``handler(update)`` is called for every message, in order, with the message's ``data`` as it came.

        ``update["qty"]`` and ``update["price"]`` are one execution; ``update["order"]["filled_qty"]`` is the sum so far.
        """
        self._updates.add(handler)

    def on_account_update(self, handler: Handler) -> None:
        """``handler(account)`` is called when the account is different from the last time; never twice with the same."""
        self._accounts.add(handler)

    async def start(self) -> None:
        """Connect, and begin to look at the account. Raises what ``Stream.start`` raises."""
        await super().start()
        if self._poller is not None and self._poll_task is None:
            self._poll_task = asyncio.create_task(self._poller.run(), name="holdfast-account")

    async def stop(self) -> None:
        """Close the socket, stop looking, let the handlers finish what they have."""
        task, self._poll_task = self._poll_task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await super().stop()

    def get_stats(self) -> dict[str, Any]:
        """What ``Stream.get_stats`` tells, and how often the account was asked for."""
        poller = self._poller
        return {
            **super().get_stats(),
            "account_polls": 0 if poller is None else poller.polls,
            "account_poll_failures": 0 if poller is None else poller.failures,
        }

    # ------------------------------------------------------------------ the protocol

    async def _open(self, conversation: Conversation) -> list[Any]:
        await conversation.send({"action": "auth", "key": self._key, "secret": self._secret})
        while not _is_authorised(await conversation.receive()):
            pass
        await conversation.send({"action": "listen", "data": {"streams": [TRADE_UPDATES]}})
        early: list[Any] = []
        while True:
            message = await conversation.receive()
            # An update may overtake the confirmation; it must not be lost, nor be taken for it.
            if isinstance(message, dict) and message.get("stream") == TRADE_UPDATES:
                early.append(message)
            elif _is_listening(message):
                return early

    def _receive(self, message: Any) -> None:
        if not isinstance(message, dict):
            reason = f"the venue sent {type(message).__name__} where a trade update was expected"
            raise MalformedMessageError(reason, message)
        if message.get("stream") == TRADE_UPDATES:
            self._take_update(message)
        elif not _is_authorised(message) and not _is_listening(message):
            _log.info("stream.unknown_message", stream=self._name, message=message)

    def _take_update(self, message: dict[str, Any]) -> None:
        self._received += 1
        update = message.get("data")
        if (
            not isinstance(update, dict)
            or not isinstance(update.get("event"), str)
            or not isinstance(update.get("order"), dict)
        ):
            reason = "the venue sent a trade update without an event or an order"
            raise MalformedMessageError(reason, message)
        self._updates.publish(update)
        if self._poller is not None and update["event"] in FILL_EVENTS:
            self._poller.wake()


def _control(message: Any, stream: str) -> dict[str, Any] | None:
    """The data of a control message of this kind; None for any other message.

    Raises:
        BrokerError: The venue reports an error: it is about to close the connection.
    """
    if not isinstance(message, dict):
        return None
    data = message.get("data")
    if message.get("action") == "error":
        text = data.get("error_message") if isinstance(data, dict) else data
        reason = f"the venue ended the user stream: {text}"
        raise BrokerError(reason)
    return data if message.get("stream") == stream and isinstance(data, dict) else None


def _is_authorised(message: Any) -> bool:
    data = _control(message, "authorization")
    if data is None:
        return False
    if data.get("status") != "authorized":
        raise BrokerAuthError(KEYS_REFUSED)
    return True


def _is_listening(message: Any) -> bool:
    data = _control(message, "listening")
    if data is None:
        return False
    if TRADE_UPDATES not in (data.get("streams") or ()):
        reason = f"the venue listens to {data.get('streams')!r} for us, not to {TRADE_UPDATES}"
        raise BrokerError(reason)
    return True
