"""Bars, trades and quotes as they are made: the socket of Massive, which was Polygon. Shares only.

Behind the same interface as Alpaca's ``MarketDataStream``, so that whoever follows one can follow the other:

    Massive    what it is                    told to
    AM, A      a bar of a minute, a second   on_bar (``period`` chooses between them)
    T          a trade                       on_trade; its conditions as the marks of its tape
    Q          a quote                       on_quote

Every frame is an array. ``{"action": "auth"}`` is answered with a status; each channel that we subscribe to is confirmed by a status
of its own (``subscribed to: AM.SPY``), and the stream is connected when all are. One connection is allowed for a cluster: the next
one is opened only when the last is closed (see ``Stream``), and where another program holds it, we wait longer and longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final, NamedTuple, Unpack

from holdfast.brokers.alpaca_endpoints import check_key, check_socket_url
from holdfast.brokers.alpaca_wire import UNREADABLE, malformed
from holdfast.data.sale_conditions import POLYGON_MARKS
from holdfast.model.errors import BrokerAuthError, BrokerError, BrokerRefusedError, ConfigurationError
from holdfast.model.market import Bar, Quote, Trade
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_MS, NS_PER_SECOND
from holdfast.realtime.market_stream import MarketStream
from holdfast.realtime.stream import Conversation, StreamOptions
from holdfast.realtime.subscribers import Handler

REAL_TIME_URL: Final = "wss://socket.massive.com/stocks"
DELAYED_URL: Final = "wss://delayed.massive.com/stocks"

_TAPES: Final = {1: "A", 2: "B", 3: "C"}
_BARS_OF: Final = {NS_PER_MINUTE: "AM", NS_PER_SECOND: "A"}


class Status(NamedTuple):
    """What a status that ends a connection means."""

    error: type[BrokerError]
    sentence: str


# A refusal is for the operator: trying again changes nothing. The others pass, or may pass.
STATUSES: dict[str, Status] = {
    "auth_failed": Status(
        BrokerAuthError,
        "it does not accept the API key, or its plan has no streams: check MASSIVE_API_KEY or POLYGON_API_KEY",
    ),
    "auth_timeout": Status(BrokerError, "we were too slow to authenticate"),
    "not_authorized": Status(BrokerRefusedError, "the plan of this API key does not include the channel"),
    "max_connections": Status(BrokerError, "another connection with this key is open, or an old one is not yet gone"),
    "force_disconnect": Status(BrokerError, "it ended the connection"),
    "error": Status(BrokerError, "it reports an error"),
}


class MassiveStream(MarketStream):
    """Follows bars (and, if asked, trades and quotes) of some shares. See ``MarketStream``.

    Args:
        api_key: The key.
        symbols: Whose.
        on_bar: ``on_bar(bar)`` is called with each ``holdfast.model.Bar``; ``ts`` is the bar's end.
        on_quote: ``on_quote(quote)``; None subscribes to no quotes.
        on_trade: ``on_trade(trade)``; None subscribes to no trades.
        url: The whole URL of the socket; ``DELAYED_URL`` for plans without real time.
        period: The length of a bar (ns): a minute or a second.
        options: See ``Stream``.

    Raises:
        ConfigurationError: The key or the symbols are missing, one is a pair of coins, the URL is none, or there are no
            bars of this period.
    """

    TYPE = "ev"
    WORDS = frozenset(("status",))

    def __init__(
        self,
        api_key: str,
        symbols: Iterable[str],
        on_bar: Handler,
        on_quote: Handler | None = None,
        *,
        on_trade: Handler | None = None,
        url: str = REAL_TIME_URL,
        period: int = NS_PER_MINUTE,
        **options: Unpack[StreamOptions],
    ) -> None:
        url = check_socket_url(url, "polygon.stream_url")
        super().__init__(name="massive", url=url, symbols=symbols, period=period, **options)
        self._key = check_key(api_key, "polygon.api_key")
        pair = next((symbol for symbol in self._symbols if "/" in symbol), None)
        if pair is not None:
            message = f"massive's stream has shares, and no pairs of coins; got {pair}"
            raise ConfigurationError(message)
        if period not in _BARS_OF:
            message = f"massive streams bars of a minute or a second, not of {period / NS_PER_SECOND:g} s"
            raise ConfigurationError(message)
        self._bar = _BARS_OF[period]
        self._bars = self._channel("bar", on_bar, self._bar)
        self._quotes = self._channel("quote", on_quote, "Q")
        self._trades = self._channel("trade", on_trade, "T")

    # ------------------------------------------------------------------ the protocol

    async def _subscribe(self, conversation: Conversation, early: list[Any]) -> None:
        await conversation.send({"action": "auth", "params": self._key})
        await self._hear(conversation, early, lambda word: word.get("status") == "auth_success")
        wanted = [f"{channel}.{symbol}" for channel in self._channels for symbol in self._symbols]
        await conversation.send({"action": "subscribe", "params": ",".join(wanted)})
        missing = set(wanted)

        def are_all(word: dict[str, Any]) -> bool:
            missing.difference_update(_confirmed(word))
            return not missing

        await self._hear(conversation, early, are_all)

    def _heed(self, word: dict[str, Any]) -> None:
        status = STATUSES.get(str(word.get("status")))
        if status is not None:
            said = f"{word.get('status')} {word.get('message')}"
            message = f"the market data stream of massive says: {status.sentence} ({said})"
            raise status.error(message)

    def _take_data(self, kind: str, item: dict[str, Any]) -> None:
        if kind == self._bar:
            self._take_bar(_read(_bar, item, self._period), self._bars)
        elif kind == "T":
            self._tape.trades += 1
            if self._trades.are_any:
                self._trades.publish(_read(_trade, item))
        elif kind == "Q":
            self._quotes.publish(_read(_quote, item))
        else:
            self._tape.unheard_of += 1


def _confirmed(item: dict[str, Any]) -> set[str]:
    """The channels that a status confirms: ``subscribed to: AM.SPY``."""
    words, _, channels = str(item.get("message", "")).partition(":")
    if item.get("status") != "success" or words.strip().lower() != "subscribed to":
        return set()
    return {channel.strip() for channel in channels.split(",")}


def _read(read: Callable[..., Any], item: Any, *rest: Any) -> Any:
    try:
        return read(item, *rest)
    except UNREADABLE as error:
        raise malformed(error, "data", item, "massive") from None


def _bar(item: dict[str, Any], period: int) -> Bar:
    open_, high, low, close, volume = (float(item[name]) for name in ("o", "h", "l", "c", "v"))
    # NaN fails every comparison, so this refuses it too.
    if not (0.0 < low <= min(open_, close) and max(open_, close) <= high < inf and 0.0 <= volume < inf):
        message = f"open {open_}, high {high}, low {low}, close {close}, volume {volume} cannot be a bar's"
        raise ValueError(message)
    return Bar(int(item["s"]) * NS_PER_MS + period, _symbol(item), open_, high, low, close, volume)


def _trade(item: dict[str, Any]) -> Trade:
    price, size = float(item["p"]), float(item["s"])
    if not (0.0 < price < inf and 0.0 <= size < inf):
        message = f"price {price}, size {size} cannot be a trade's"
        raise ValueError(message)
    return Trade(
        int(item["t"]) * NS_PER_MS,
        _symbol(item),
        price,
        size,
        str(item.get("i", "")),
        "".join(POLYGON_MARKS.get(number, "") for number in item.get("c") or ()),
        str(item.get("x", "")),
        _TAPES.get(item.get("z", 0), ""),
    )


def _quote(item: dict[str, Any]) -> Quote:
    bid, ask = float(item.get("bp") or 0.0), float(item.get("ap") or 0.0)
    if not (0.0 <= bid < inf and 0.0 <= ask < inf):
        message = f"bid {bid}, ask {ask} cannot be a quote's"
        raise ValueError(message)
    sizes = float(item.get("bs") or 0.0), float(item.get("as") or 0.0)
    return Quote(int(item["t"]) * NS_PER_MS, _symbol(item), bid, ask, *sizes)


def _symbol(item: dict[str, Any]) -> str:
    symbol = item["sym"]
    if not isinstance(symbol, str) or not symbol:
        message = f"its symbol is {symbol!r}"
        raise ValueError(message)
    return symbol
