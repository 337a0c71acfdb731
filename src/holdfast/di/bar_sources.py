"""Where market data come from: Alpaca, or Massive (which was Polygon). Orders go to Alpaca, whoever tells of the market.

A source opens a socket for the symbols of one class of assets, and has over REST what a socket missed. What becomes of both
is in ``feed``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from holdfast.brokers import AlpacaConnector
from holdfast.brokers.alpaca_endpoints import DATA_STREAM_URL, data_stream_url
from holdfast.brokers.alpaca_wire import is_crypto_symbol
from holdfast.di.config import Config
from holdfast.di.parts import Parts
from holdfast.di.places import account_keys, massive_key
from holdfast.model import AssetClass, Bar
from holdfast.model.errors import ConfigurationError, DataError, OutcomeUnknownError
from holdfast.model.timestamps import NS_PER_SECOND, NS_PER_US, to_datetime
from holdfast.net import Throttler
from holdfast.realtime.market_stream import MarketStream
from holdfast.realtime.massive import REAL_TIME_URL
from holdfast.realtime.subscribers import Handler
from holdfast.time import Clock

# The bars that Massive streams, by their length in seconds: what its REST API calls them.
_MASSIVE_BARS: Final = {1: "1Sec", 60: "1Min"}


class BarSource(Protocol):
    """What a feed asks of a vendor."""

    def open_stream(
        self, kind: AssetClass, symbols: Sequence[str], on_bar: Handler, on_revised: Handler, **options: Any
    ) -> MarketStream:
        """A socket for the bars of some symbols of one kind, not started yet. ``options`` are the stream's."""
        ...

    async def fetch_bars(self, symbol: str, start: int, end: int, period: int) -> Sequence[Bar]:
        """All bars of ``period`` (ns) that lie within ``[start, end]`` (UTC ns), oldest first, over REST.

        Raises:
            BrokerError: They could not be had.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class AlpacaBars:
    """Alpaca's sockets, and the broker's REST API behind them."""

    def __init__(self, config: Config, parts: Parts, broker: AlpacaConnector) -> None:
        self._alpaca, self._make = config.alpaca, parts.market_stream
        self._keys = account_keys(config)
        self.fetch_bars = broker.fetch_bars

    def open_stream(
        self, kind: AssetClass, symbols: Sequence[str], on_bar: Handler, on_revised: Handler, **options: Any
    ) -> MarketStream:
        """See ``BarSource``."""
        base = self._alpaca.market_stream_url or DATA_STREAM_URL
        url = data_stream_url(kind, feed=self._alpaca.feed, stream_url=base)
        return self._make(*self._keys, url, symbols, on_bar, on_revised=on_revised, **options)

    async def close(self) -> None:
        """The broker is its owner's to close."""


class MassiveBars:
    """Massive's socket of shares, and its REST API behind it, within the limit ``polygon_bars``. See ``check_massive``."""

    def __init__(self, config: Config, parts: Parts, throttler: Throttler, clock: Clock) -> None:
        self._key, self._make = massive_key(config), parts.massive_stream
        self._url = config.polygon.stream_url or REAL_TIME_URL
        # As they were traded, like those of the socket.
        self._provider = parts.massive_provider(
            self._key, throttler, base_url=config.polygon.base_url, clock=clock, adjusted=False
        )

    def open_stream(
        self,
        kind: AssetClass,
        symbols: Sequence[str],
        on_bar: Handler,
        on_revised: Handler,
        **options: Any,
    ) -> MarketStream:
        """See ``BarSource``."""
        return self._make(self._key, symbols, on_bar, url=self._url, **options)

    async def fetch_bars(self, symbol: str, start: int, end: int, period: int) -> Sequence[Bar]:
        """See ``BarSource``. Answers are not told to be wrong: what cannot be read was not had."""
        if end - start < period:
            return []
        # It is asked in microseconds, and of the one in which we began to listen a part was before that.
        first = -(-start // NS_PER_US) * NS_PER_US
        frame = _MASSIVE_BARS[period // NS_PER_SECOND]
        try:
            return await self._provider.get_bars(symbol, frame, to_datetime(first), to_datetime(end))
        except DataError as error:
            raise OutcomeUnknownError(str(error)) from None

    async def close(self) -> None:
        """See ``BarSource``."""
        await self._provider.aclose()


def check_massive(config: Config, *, is_replayed: bool) -> None:
    """Whether live bars can come from Massive, as configured. ``is_replayed``: orders go to a built-in venue.

    Raises:
        ConfigurationError: There is no key, a symbol is no share, it has no bars of this length, or a built-in venue has
            a market of its own.
    """
    if is_replayed:
        message = (
            "market_data is massive, and orders go to a built-in venue, which fills them in a market of its own: "
            "expected market_data = alpaca, which takes the market from the venue"
        )
        raise ConfigurationError(message)
    massive_key(config)
    coins = [symbol for symbol in config.symbols if is_crypto_symbol(symbol)]
    if coins:
        message = (
            f"market_data is massive, whose stream has shares alone, and {', '.join(coins)} would be followed: "
            "expected shares in strategy.symbols and watch, or market_data = alpaca"
        )
        raise ConfigurationError(message)
    seconds = config.strategy.period_seconds
    if seconds not in _MASSIVE_BARS:
        message = (
            f"market_data is massive, which streams bars of a second or a minute, and strategy.period_seconds is {seconds}: "
            "expected 1 or 60"
        )
        raise ConfigurationError(message)


def make_source(
    config: Config, parts: Parts, broker: AlpacaConnector, throttler: Throttler, clock: Clock, *, is_replayed: bool
) -> BarSource:
    """The source that is configured. ``is_replayed``: the venue is a built-in one, whose market is its own.

    Raises:
        ConfigurationError: It cannot be what is configured.
    """
    if config.market_data == "alpaca":
        return AlpacaBars(config, parts, broker)
    check_massive(config, is_replayed=is_replayed)
    return MassiveBars(config, parts, throttler, clock)
