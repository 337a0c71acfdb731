"""Bars and quotes as they are made: Alpaca's market-data socket.

Every frame is an array. The venue greets; we authenticate and subscribe; it answers with the whole state of
the subscription, which is compared with what we asked for: a stream that is open and authenticated but not
subscribed is as silent as a quiet market.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog
from websockets.asyncio.client import connect

from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_endpoints import check_key, check_socket_url
from holdfast.brokers.alpaca_errors import KEYS_REFUSED
from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model.errors import BrokerAuthError, BrokerError, BrokerRefusedError, ConfigurationError
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.net import Backoff
from holdfast.realtime import market_items
from holdfast.realtime.stream import Connect, Conversation, Stream, StreamTimeouts
from holdfast.realtime.subscribers import Handler, Subscribers
from holdfast.time import Clock

_log = structlog.get_logger(__name__)


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


class MarketDataStream(Stream):
    """Follows the bars (and, if asked, quotes) of some symbols of one feed. See ``Stream`` for what every stream does.

    ``received`` counts the bars of the current connection (one frame may hold several).

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
        clock: See ``Stream``.
        backoff: See ``Stream``.
        timeouts: See ``Stream``.
        sleep: See ``Stream``.
        connect: See ``Stream``.
        high_water: See ``Stream``.

    Raises:
        ConfigurationError: A key or the symbols are missing, or the URL is none.
    """

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
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        timeouts: StreamTimeouts | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        connect: Connect = connect,
        high_water: int = 10_000,
    ) -> None:
        super().__init__(
            name="data",
            url=check_socket_url(url, "market data url"),
            clock=clock,
            backoff=backoff,
            timeouts=timeouts,
            sleep=sleep,
            connect=connect,
            high_water=high_water,
        )
        self._key = check_key(api_key, "alpaca.api_key")
        self._secret = check_key(api_secret, "alpaca.api_secret")
        self._symbols = tuple(dict.fromkeys(symbols))
        if not self._symbols:
            message = "a market data stream needs at least one symbol"
            raise ConfigurationError(message)
        self._period = period
        self._last_bar = (0, 0)
        self._last_bars: dict[str, int] = {}
        self._tape = market_items.TapeStats()
        self._wanted: dict[str, tuple[str, ...]] = {}
        self._bars = self._channel("bar", on_bar, "bars")
        self._quotes = self._channel("quote", on_quote, "quotes")
        self._rarer = {
            "u": self._channel("revised", on_revised, "updatedBars"),
            "t": self._channel("trade", on_trade, "trades"),
            # These two come with the trades, unasked.
            "c": self._channel("correction", on_correction, None),
            "x": self._channel("cancel", on_cancel, None),
        }

    def _channel(self, kind: str, handler: Handler | None, name: str | None) -> Subscribers:
        subscribers = self._new_subscribers(kind)
        if handler is not None:
            subscribers.add(handler)
            if name is not None:
                self._wanted[name] = self._symbols
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
        await _wait_for(conversation, _is_success("connected"), early)
        await conversation.send({"action": "auth", "key": self._key, "secret": self._secret})
        await _wait_for(conversation, _is_success("authenticated"), early)
        await conversation.send({"action": "subscribe", **self._wanted})
        await _wait_for(conversation, self._is_subscribed, early)
        return early

    def _receive(self, message: Any) -> None:
        for item in _items(message):
            # Item by item: one that cannot be read takes none of its neighbours with it.
            try:
                self._take_item(item)
            except MalformedMessageError as error:
                self._report_malformed(error)

    def _take_item(self, item: Any) -> None:
        kind = item.get("T") if isinstance(item, dict) else None
        if kind == "b":
            self._received += 1
            bar = wire.bar(item, _symbol(item), self._period)
            last = self._last_bars.get(bar.symbol, 0)
            self._tape.count_bar(bar, last, self._period)
            self._last_bars[bar.symbol] = max(bar.ts, last)
            self._last_bar = (max(bar.ts, self._last_bar[0]), self._clock.now_ns())
            self._bars.publish(bar)
        elif kind == "q":
            self._quotes.publish(wire.quote(item, _symbol(item)))
        elif kind == "error":
            raise _error(item)
        elif kind == "subscription":
            self._is_subscribed(item)
        elif not isinstance(kind, str):
            reason = "the venue sent market data without a type"
            raise MalformedMessageError(reason, item)
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

    def _is_subscribed(self, item: dict[str, Any]) -> bool:
        """Whether this confirms the subscription.

        Raises:
            BrokerRefusedError: It confirms less than we asked for.
        """
        if item.get("T") != "subscription":
            return False
        for channel, wanted in self._wanted.items():
            granted = item.get(channel) or ()
            missing = [] if "*" in granted else [symbol for symbol in wanted if symbol not in granted]
            if missing:
                reason = f"the venue did not subscribe us to the {channel} of {', '.join(missing)}"
                raise BrokerRefusedError(reason)
        return True


def _items(message: Any) -> Sequence[Any]:
    if not isinstance(message, list):
        reason = f"the venue sent {type(message).__name__} where an array of market data was expected"
        raise MalformedMessageError(reason, message)
    return message


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


async def _wait_for(conversation: Conversation, is_it: Callable[[dict[str, Any]], bool], early: list[Any]) -> None:
    """Read until an item passes. What else arrives is kept: data may share a frame with the confirmation."""
    while True:
        rest: list[Any] = []
        found = False
        for item in _items(await conversation.receive()):
            if isinstance(item, dict) and item.get("T") == "error":
                raise _error(item)
            if not found and isinstance(item, dict) and is_it(item):
                found = True
            elif not isinstance(item, dict) or item.get("T") != "success":
                rest.append(item)
        if rest:
            early.append(rest)
        if found:
            return
