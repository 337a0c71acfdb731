"""What all sockets of market data have in common: frames are arrays of items, and some items are bars.

An item is either a word of the protocol (a greeting, a confirmation, an error) or data. Data may share a frame with the
word that we wait for, and are kept. Items are read one by one: one that cannot be read takes none of its neighbours with it.

A vendor's protocol is what ``TYPE`` and ``WORDS`` say, and three methods: ``_subscribe`` (what has to be said and heard),
``_heed`` (a word, at any time) and ``_take_data`` (an item of data).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Unpack

import msgspec

from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model.errors import ConfigurationError
from holdfast.model.market import Bar
from holdfast.realtime.market_items import TapeStats
from holdfast.realtime.stream import Conversation, Stream, StreamOptions
from holdfast.realtime.subscribers import Handler, Subscribers

_HIGH_WATER = 10_000  # a market says more than an account


class MarketStream(Stream):
    """Follows the bars of some symbols. See ``Stream`` for what every stream does.

    ``received`` counts the bars of the current connection (one frame may hold several).

    Args:
        symbols: Whose bars.
        period: The length of a bar (ns).
        options: See ``Stream``, which also takes the name and the URL.

    Raises:
        ConfigurationError: There are no symbols.
    """

    #: Where an item says what it is, and which of these are words of the protocol.
    TYPE: ClassVar[str]
    WORDS: ClassVar[frozenset[str]]

    def __init__(
        self, *, name: str, url: str, symbols: Iterable[str], period: int, **options: Unpack[StreamOptions]
    ) -> None:
        options.setdefault("high_water", _HIGH_WATER)
        super().__init__(name=name, url=url, **options)
        self._symbols = tuple(dict.fromkeys(symbols))
        if not self._symbols:
            message = "a market data stream needs at least one symbol"
            raise ConfigurationError(message)
        self._period = period
        self._channels: list[str] = []
        self._last_bar = (0, 0)
        self._last_bars: dict[str, int] = {}
        self._tape = TapeStats()

    # ------------------------------------------------------------------ what a protocol adds

    @abstractmethod
    async def _subscribe(self, conversation: Conversation, early: list[Any]) -> None:
        """Say what has to be said, and ``_hear`` until the venue confirms that all channels are subscribed."""

    @abstractmethod
    def _heed(self, word: dict[str, Any]) -> None:
        """A word of the protocol.

        Raises:
            BrokerError: It ends this connection.
        """

    @abstractmethod
    def _take_data(self, kind: str, item: dict[str, Any]) -> None:
        """An item of data.

        Raises:
            MalformedMessageError: It cannot be read.
        """

    # ------------------------------------------------------------------ public

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

    # ------------------------------------------------------------------ for protocols

    def _channel(self, kind: str, handler: Handler | None, name: str | None) -> Subscribers:
        """The listeners of one kind; with one, the channel of this name is asked for (None: it comes unasked)."""
        subscribers = self._new_subscribers(kind)
        if handler is not None:
            subscribers.add(handler)
            if name is not None:
                self._channels.append(name)
        return subscribers

    def _take_bar(self, bar: Bar, subscribers: Subscribers) -> None:
        """Count a bar, and hand it on whatever it is counted as."""
        last = self._last_bars.get(bar.symbol, 0)
        self._received += 1
        self._tape.count_bar(bar, last, self._period)
        self._last_bars[bar.symbol] = max(bar.ts, last)
        self._last_bar = (max(bar.ts, self._last_bar[0]), self._clock.now_ns())
        subscribers.publish(bar)

    async def _hear(
        self, conversation: Conversation, early: list[Any], is_it: Callable[[dict[str, Any]], bool]
    ) -> None:
        """Read until a word passes; data that come meanwhile go to ``early``."""
        found = False
        while not found:
            for item in _items(await conversation.receive()):
                if self._kind(item) in self.WORDS:
                    self._heed(item)
                    found = is_it(item) or found
                else:
                    early.append(item)

    # ------------------------------------------------------------------ what a stream does

    async def _open(self, conversation: Conversation) -> list[Any]:
        self._last_bar = (0, 0)
        early: list[Any] = []
        await self._subscribe(conversation, early)
        return [early] if early else []

    def _receive(self, message: Any) -> None:
        for item in _items(message):
            try:
                self._take_item(item)
            except MalformedMessageError as error:
                self._report_malformed(error)

    def _take_item(self, item: Any) -> None:
        kind = self._kind(item)
        if kind is None:
            reason = "the venue sent market data without a type"
            raise MalformedMessageError(reason, item)
        if kind in self.WORDS:
            self._heed(item)
        else:
            self._take_data(kind, item)

    def _kind(self, item: Any) -> str | None:
        kind = item.get(self.TYPE) if isinstance(item, dict) else None
        return kind if isinstance(kind, str) else None


def _items(message: Any) -> list[Any]:
    if not isinstance(message, list):
        reason = f"the venue sent {type(message).__name__} where an array of market data was expected"
        raise MalformedMessageError(reason, message)
    return message
