"""Bars and quotes as they are made: Alpaca's market-data socket.

Every frame is an array. The venue greets; we authenticate and subscribe; it answers with the whole state of
the subscription, which is compared with what we asked for: a stream that is open and authenticated but not
subscribed is as silent as a quiet market.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Unpack

from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_endpoints import check_key, check_socket_url
from holdfast.brokers.alpaca_errors import KEYS_REFUSED
from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model.errors import BrokerAuthError, BrokerError, BrokerRefusedError
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.realtime import market_items
from holdfast.realtime.market_stream import MarketStream
from holdfast.realtime.stream import Conversation, StreamOptions
from holdfast.realtime.subscribers import Handler


class DataError(NamedTuple):
    """What an error code of the socket means."""

    error: type[BrokerError]
    sentence: str


# A refusal is for the operator: trying again changes nothing. The others pass, or may pass.
DATA_ERRORS: dict[int, DataError] = {
    400: DataError(BrokerError, "it did not understand us"),
    401: DataError(BrokerAuthError, "it does not know who we are"),
    402: DataError(BrokerAuthError, KEYS_REFUSED),
    403: DataError(BrokerError, "we are authenticated already"),
    404: DataError(BrokerError, "we were too slow to authenticate"),
    405: DataError(BrokerRefusedError, "too many symbols for this data plan: ask for fewer, or upgrade the plan"),
    406: DataError(BrokerError, "another connection with these keys is open, or an old one is not yet gone"),
    407: DataError(BrokerError, "we read too slowly"),
    408: DataError(BrokerRefusedError, "this account has no access to the stream"),
    409: DataError(BrokerRefusedError, "the data plan does not include this feed: use iex, or upgrade the plan"),
    410: DataError(BrokerRefusedError, "this feed has no such channel"),
    411: DataError(BrokerRefusedError, "the keys may not use this stream"),
    500: DataError(BrokerError, "it failed"),
}
_UNHEARD_OF = DataError(BrokerError, "it reports an error")

# By type: how it is counted, and what it says.
_RARER: dict[str, tuple[str, Callable[[dict[str, Any], str, int], tuple[Any, ...]]]] = {
    "u": ("revisions", lambda item, symbol, period: (wire.bar(item, symbol, period),)),
    "t": ("trades", lambda item, symbol, _: (market_items.trade(item, symbol),)),
    "c": ("corrections", lambda item, symbol, _: market_items.correction(item, symbol)),
    "x": ("cancels", lambda item, symbol, _: market_items.cancel(item, symbol)),
}


class MarketDataStream(MarketStream):
    """Follows the bars (and, if asked, quotes) of some symbols of one feed. See ``MarketStream``.

    Args:
        api_key: The key's id.
        api_secret: The key's secret.
        url: The whole URL of the socket: see ``holdfast.brokers.alpaca_endpoints.data_stream_url``.
        symbols: Whose bars. All of one asset class: each has its own socket.
        on_bar: ``on_bar(bar)`` is called with each ``holdfast.model.Bar``; ``ts`` is the bar's end.
        on_quote: ``on_quote(quote)``; None subscribes to no quotes.
        on_revised: ``on_revised(bar)`` with each bar that a late trade changed; None subscribes to none.
        on_trade: ``on_trade(trade)`` with each trade of the market; None subscribes to none.
        on_correction: ``on_correction(symbol, exchange, id, trade)``: see ``market_items``. They come with the trades.
        on_cancel: ``on_cancel(symbol, exchange, id)``. They come with the trades.
        period: The length of a bar (ns). The venue's time is the bar's start.
        options: See ``Stream``.

    Raises:
        ConfigurationError: A key or the symbols are missing, or the URL is none.
    """

    TYPE = "T"
    WORDS = frozenset(("success", "subscription", "error"))

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        url: str,
        symbols: Iterable[str],
        on_bar: Handler,
        on_quote: Handler | None = None,
        *,
        on_revised: Handler | None = None,
        on_trade: Handler | None = None,
        on_correction: Handler | None = None,
        on_cancel: Handler | None = None,
        period: int = NS_PER_MINUTE,
        **options: Unpack[StreamOptions],
    ) -> None:
        url = check_socket_url(url, "market data url")
        super().__init__(name="data", url=url, symbols=symbols, period=period, **options)
        self._key = check_key(api_key, "alpaca.api_key")
        self._secret = check_key(api_secret, "alpaca.api_secret")
        self._bars = self._channel("bar", on_bar, "bars")
        self._quotes = self._channel("quote", on_quote, "quotes")
        self._rarer = {
            "u": self._channel("revised", on_revised, "updatedBars"),
            "t": self._channel("trade", on_trade, "trades"),
            # These two come with the trades, unasked.
            "c": self._channel("correction", on_correction, None),
            "x": self._channel("cancel", on_cancel, None),
        }

    # ------------------------------------------------------------------ the protocol

    async def _subscribe(self, conversation: Conversation, early: list[Any]) -> None:
        await self._hear(conversation, early, _is_success("connected"))
        await conversation.send({"action": "auth", "key": self._key, "secret": self._secret})
        await self._hear(conversation, early, _is_success("authenticated"))
        await conversation.send({"action": "subscribe", **dict.fromkeys(self._channels, self._symbols)})
        await self._hear(conversation, early, lambda word: word["T"] == "subscription")

    def _heed(self, word: dict[str, Any]) -> None:
        """Raises: BrokerError: An error, or a subscription to less than we asked for."""
        if word["T"] == "error":
            raise _error(word)
        if word["T"] == "success":
            return
        for channel in self._channels:
            granted = word.get(channel) or ()
            missing = [] if "*" in granted else [symbol for symbol in self._symbols if symbol not in granted]
            if missing:
                reason = f"the venue did not subscribe us to the {channel} of {', '.join(missing)}"
                raise BrokerRefusedError(reason)

    def _take_data(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "b":
            self._take_bar(wire.bar(item, _symbol(item), self._period), self._bars)
        elif kind == "q":
            self._quotes.publish(wire.quote(item, _symbol(item)))
        elif kind in _RARER:
            self._take_rarer(kind, item)
        else:
            self._tape.unheard_of += 1

    def _take_rarer(self, kind: str, item: dict[str, Any]) -> None:
        """Counted always, read only where somebody listens."""
        counter, read = _RARER[kind]
        setattr(self._tape, counter, getattr(self._tape, counter) + 1)
        subscribers = self._rarer[kind]
        if subscribers.are_any:
            subscribers.publish(*read(item, _symbol(item), self._period))


def _symbol(item: dict[str, Any]) -> str:
    symbol = item.get("S")
    if not isinstance(symbol, str) or not symbol:
        reason = "the venue sent market data without a symbol"
        raise MalformedMessageError(reason, item)
    return symbol


def _error(item: dict[str, Any]) -> BrokerError:
    code = item.get("code")
    known = DATA_ERRORS.get(code, _UNHEARD_OF) if isinstance(code, int) else _UNHEARD_OF
    message = f"the market data stream says: {known.sentence} ({code} {item.get('msg')})"
    return known.error(message, code=code if isinstance(code, int) else None)


def _is_success(text: str) -> Callable[[dict[str, Any]], bool]:
    def check(item: dict[str, Any]) -> bool:
        return item.get("T") == "success" and item.get("msg") == text

    return check
