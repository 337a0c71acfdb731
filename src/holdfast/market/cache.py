"""What the venue says of symbols, asked once.

Callers that miss at the same moment share one request. An answer is kept, also the answer that there is no
such symbol; a failure to get an answer is not, so that the next caller asks again. This module waits, and is
the only one here that does; it reaches the venue through the broker it is given and imports no I/O of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from holdfast.market.properties import SymbolProperties
from holdfast.market.security import Security
from holdfast.model import Asset, AssetClass
from holdfast.model.errors import DataError, UnknownSymbolError


class AssetSource(Protocol):
    """Who can describe an asset. A broker that only has ``get_asset`` is taken as well (see ``describe``)."""

    async def fetch_asset(self, symbol: str) -> Asset:
        """The asset, or ``UnknownSymbolError``."""
        ...  # pragma: no cover


class SymbolPropertiesCache:
    """Rules by symbol, from the venue.

    Args:
        broker: Has ``fetch_asset(symbol) -> Asset`` or ``get_asset(symbol) -> Asset | dict``, both awaitable.
    """

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._known: dict[str, SymbolProperties] = {}
        self._unknown: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[SymbolProperties]] = {}
        self._hits = 0
        self._requests = 0
        self._failures = 0

    async def get(self, symbol: str) -> SymbolProperties:
        """The rules of a symbol.

        Raises:
            UnknownSymbolError: The venue does not know it.
            BrokerError: The venue could not be asked; the next call asks again.
        """
        known = self._known.get(symbol)
        if known is not None:
            self._hits += 1
            return known
        if symbol in self._unknown:
            self._hits += 1
            raise UnknownSymbolError(self._unknown[symbol])
        task = self._asking.get(symbol)
        if task is None:
            task = asyncio.create_task(self._ask(symbol), name=f"describe {symbol}")
            self._asking[symbol] = task
            task.add_done_callback(lambda done: self._settle(symbol, done))
        # One caller giving up must not take the answer from the others.
        return await asyncio.shield(task)

    def put(self, properties: SymbolProperties | Asset) -> SymbolProperties:
        """Keep rules that were learned elsewhere; they replace what was known."""
        if isinstance(properties, Asset):
            properties = SymbolProperties.from_asset(properties)
        self._known[properties.symbol] = properties
        self._unknown.pop(properties.symbol, None)
        return properties

    def forget(self, symbol: str) -> None:
        """Ask again at the next call."""
        self._known.pop(symbol, None)
        self._unknown.pop(symbol, None)

    def get_stats(self) -> dict[str, int]:
        """How often the cache answered, asked and failed."""
        return {
            "known": len(self._known),
            "unknown": len(self._unknown),
            "hits": self._hits,
            "requests": self._requests,
            "failures": self._failures,
        }

    async def _ask(self, symbol: str) -> SymbolProperties:
        self._requests += 1
        fetch = getattr(self._broker, "fetch_asset", None) or self._broker.get_asset
        try:
            return self.put(describe(symbol, await fetch(symbol)))
        except UnknownSymbolError as error:
            self._unknown[symbol] = str(error)
            raise

    def _settle(self, symbol: str, done: asyncio.Task[SymbolProperties]) -> None:
        del self._asking[symbol]
        # Reading the exception marks it as seen: every caller may have given up by now.
        if done.cancelled() or done.exception() is not None:
            self._failures += 1


class SecurityCache:
    """Securities by symbol. ``get`` is for the kernel and never waits; ``get_or_create`` asks the venue."""

    def __init__(self, properties: SymbolPropertiesCache) -> None:
        self._properties = properties
        self._securities: dict[str, Security] = {}

    async def get_or_create(self, symbol: str) -> Security:
        """The security, described by the venue where it is not here yet.

        Raises:
            UnknownSymbolError: The venue does not know it.
            BrokerError: The venue could not be asked; the next call asks again.
        """
        security = self._securities.get(symbol)
        return security if security is not None else self.add(await self._properties.get(symbol))

    def get(self, symbol: str) -> Security | None:
        """The security if it is here; asks nobody."""
        return self._securities.get(symbol)

    def add(self, properties: SymbolProperties | Asset) -> Security:
        """Keep a security with these rules. One that is here keeps its market data and takes the new rules."""
        properties = self._properties.put(properties)
        security = self._securities.get(properties.symbol)
        if security is None:
            security = self._securities[properties.symbol] = Security(properties)
        else:
            security.properties = properties
        return security

    def get_stats(self) -> dict[str, Any]:
        """The symbols that are loaded, and how often the venue was asked."""
        return {"symbols": sorted(self._securities), **self._properties.get_stats()}


def describe(symbol: str, answer: Asset | Mapping[str, Any]) -> Asset:
    """An asset from what a broker's ``get_asset`` returned.

    Raises:
        DataError: The answer is neither an Asset nor the venue's JSON object for one.
    """
    if isinstance(answer, Asset):
        return answer
    try:
        return Asset(
            symbol=str(answer["symbol"]),
            asset_class=AssetClass(answer.get("class", answer.get("asset_class", AssetClass.US_EQUITY))),
            name=str(answer.get("name") or ""),
            exchange=str(answer.get("exchange") or ""),
            tradable=bool(answer.get("tradable", False)),
            shortable=bool(answer.get("shortable", False)),
            marginable=bool(answer.get("marginable", False)),
            fractionable=bool(answer.get("fractionable", False)),
            min_order_size=answer.get("min_order_size"),
            min_trade_increment=answer.get("min_trade_increment"),
            price_increment=answer.get("price_increment"),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"{symbol}: the broker's description of the asset makes no sense: {error!r}"
        raise DataError(message) from None
