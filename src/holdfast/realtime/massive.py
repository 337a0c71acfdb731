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

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Any, Final, NamedTuple

import msgspec
from websockets.asyncio.client import connect

from holdfast.brokers.alpaca_endpoints import check_key, check_socket_url
from holdfast.brokers.alpaca_wire import UNREADABLE, MalformedMessageError, malformed
from holdfast.data.sale_conditions import POLYGON_MARKS
from holdfast.model.errors import BrokerAuthError, BrokerError, BrokerRefusedError, ConfigurationError
from holdfast.model.market import Bar, Quote, Trade
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_MS, NS_PER_SECOND
from holdfast.net import Backoff
from holdfast.realtime.market_items import TapeStats
from holdfast.realtime.stream import Connect, Conversation, Stream, StreamTimeouts
from holdfast.realtime.subscribers import Handler, Subscribers
from holdfast.time import Clock

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
    "auth_failed": Status(BrokerAuthError, "it does not accept the API key: check MASSIVE_API_KEY or POLYGON_API_KEY"),
    "auth_timeout": Status(BrokerError, "we were too slow to authenticate"),
    "not_authorized": Status(BrokerRefusedError, "the plan of this API key does not include the channel"),
    "max_connections": Status(BrokerError, "another connection with this key is open, or an old one is not yet gone"),
    "force_disconnect": Status(BrokerError, "it ended the connection"),
    "error": Status(BrokerError, "it reports an error"),
}


class MassiveStream(Stream):
    """Follows bars (and, if asked, trades and quotes) of some shares. See ``Stream`` for what every stream does.

    ``received`` counts the bars of the current connection.

    Args:
        api_key: The key.
        symbols: Whose.
        on_bar: ``on_bar(bar)`` is called with each ``holdfast.model.Bar``; ``ts`` is the bar's end.
        on_quote: ``on_quote(quote)``; None subscribes to no quotes.
        on_trade: ``on_trade(trade)``; None subscribes to no trades.
        url: The whole URL of the socket; ``DELAYED_URL`` for plans without real time.
        period: The length of a bar (ns): a minute or a second.
        clock: See ``Stream``.
        backoff: See ``Stream``.
        timeouts: See ``Stream``.
        sleep: See ``Stream``.
        connect: See ``Stream``.
        high_water: See ``Stream``.

    Raises:
        ConfigurationError: The key or the symbols are missing, one is a pair of coins, the URL is none, or there are no
            bars of this period.
    """

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
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        timeouts: StreamTimeouts | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        connect: Connect = connect,
        high_water: int = 10_000,
    ) -> None:
        super().__init__(
            name="massive",
            url=check_socket_url(url, "massive stream url"),
            clock=clock,
            backoff=backoff,
            timeouts=timeouts,
            sleep=sleep,
            connect=connect,
            high_water=high_water,
        )
        self._key = check_key(api_key, "polygon.api_key")
        self._symbols = tuple(dict.fromkeys(symbols))
        pair = next((symbol for symbol in self._symbols if "/" in symbol), None)
        if not self._symbols or pair is not None:
            message = f"the stream of shares needs at least one symbol, and no pair of coins; got {pair or 'none'}"
            raise ConfigurationError(message)
        if period not in _BARS_OF:
            message = f"massive streams bars of a minute or a second, not of {period / NS_PER_SECOND:g} s"
            raise ConfigurationError(message)
        self._period = period
        self._last_bar = (0, 0)
        self._last_bars: dict[str, int] = {}
        self._tape = TapeStats()
        self._channels: list[str] = []
        self._bars = self._channel("bar", on_bar, _BARS_OF[period])
        self._quotes = self._channel("quote", on_quote, "Q")
        self._trades = self._channel("trade", on_trade, "T")

    def _channel(self, kind: str, handler: Handler | None, prefix: str) -> Subscribers:
        subscribers = self._new_subscribers(kind)
        if handler is not None:
            subscribers.add(handler)
            self._channels += [f"{prefix}.{symbol}" for symbol in self._symbols]
        return subscribers

    def get_stats(self) -> dict[str, Any]:
        """What ``Stream.get_stats`` tells, and what came of each kind (see ``market_items.TapeStats``)."""
        return {**super().get_stats(), **msgspec.structs.asdict(self._tape)}

    @property
    def symbols(self) -> tuple[str, ...]:
        """Whose bars it follows."""
        return self._symbols

    @property
    def last_bar(self) -> tuple[int, int]:
        """The end of the newest bar of this connection, and when the last one was heard (UTC ns); zeros before the first."""
        return self._last_bar

    # ------------------------------------------------------------------ the protocol

    async def _open(self, conversation: Conversation) -> list[Any]:
        self._last_bar = (0, 0)
        early: list[Any] = []
        await conversation.send({"action": "auth", "params": self._key})
        while not any(item["status"] == "auth_success" for item in await self._statuses(conversation, early)):
            pass  # a greeting
        await conversation.send({"action": "subscribe", "params": ",".join(self._channels)})
        missing = set(self._channels)
        while missing:
            for item in await self._statuses(conversation, early):
                missing -= _confirmed(item)
        return early

    async def _statuses(self, conversation: Conversation, early: list[Any]) -> list[dict[str, Any]]:
        """The statuses of the next frame. What else is in it is kept: data may share a frame with a confirmation."""
        items = _items(await conversation.receive())
        rest = [item for item in items if not _is_status(item)]
        if rest:
            early.append(rest)
        found = [item for item in items if _is_status(item)]
        for item in found:
            _raise_if_bad(item)
        return found

    def _receive(self, message: Any) -> None:
        for item in _items(message):
            # Item by item: one that cannot be read takes none of its neighbours with it.
            try:
                self._take_item(item)
            except MalformedMessageError as error:
                self._report_malformed(error)

    def _take_item(self, item: Any) -> None:
        kind = item.get("ev") if isinstance(item, dict) else None
        if kind == _BARS_OF[self._period]:
            bar = _read(_bar, item, self._period)
            self._received += 1
            last = self._last_bars.get(bar.symbol, 0)
            self._tape.count_bar(bar, last, self._period)
            self._last_bars[bar.symbol] = max(bar.ts, last)
            self._last_bar = (max(bar.ts, self._last_bar[0]), self._clock.now_ns())
            self._bars.publish(bar)
        elif kind == "T":
            self._tape.trades += 1
            if self._trades.are_any:
                self._trades.publish(_read(_trade, item))
        elif kind == "Q":
            self._quotes.publish(_read(_quote, item))
        elif kind == "status":
            _raise_if_bad(item)
        elif not isinstance(kind, str):
            reason = "massive sent market data without a type"
            raise MalformedMessageError(reason, item)
        else:
            self._tape.unheard_of += 1


def _items(message: Any) -> list[Any]:
    if not isinstance(message, list):
        reason = f"massive sent {type(message).__name__} where an array of market data was expected"
        raise MalformedMessageError(reason, message)
    return message


def _is_status(item: Any) -> bool:
    return isinstance(item, dict) and item.get("ev") == "status" and isinstance(item.get("status"), str)


def _raise_if_bad(item: dict[str, Any]) -> None:
    status = STATUSES.get(str(item.get("status")))
    if status is not None:
        message = (
            f"the market data stream of massive says: {status.sentence} ({item.get('status')} {item.get('message')})"
        )
        raise status.error(message)


def _confirmed(item: dict[str, Any]) -> set[str]:
    """The channels that a status confirms: ``subscribed to: AM.SPY``."""
    words, _, channels = str(item.get("message", "")).partition(":")
    if item["status"] != "success" or words.strip().lower() != "subscribed to":
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
