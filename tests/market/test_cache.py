"""The caches ask the venue once, share the answer, keep a "no", and forget a failure."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from holdfast.market import SecurityCache, SymbolPropertiesCache
from holdfast.model import Asset, AssetClass, Bar, Quote
from holdfast.model.errors import DataError, OutcomeUnknownError, UnknownSymbolError


class Broker:
    """Describes SPY; answers when told to; may be made to fail."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self.failure: Exception | None = None

    async def fetch_asset(self, symbol: str) -> Asset:
        """Answer once ``go`` is set."""
        self.asked.append(symbol)
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        if symbol != "SPY":
            message = f"the venue does not know {symbol}"
            raise UnknownSymbolError(message)
        return Asset(symbol=symbol, shortable=True)


async def test_callers_that_miss_together_share_one_request() -> None:
    """Ten callers, one question, one object."""
    broker = Broker()
    broker.go.clear()
    cache = SymbolPropertiesCache(broker)
    callers = [asyncio.create_task(cache.get("SPY")) for _ in range(10)]
    await asyncio.sleep(0)
    broker.go.set()
    answers = await asyncio.gather(*callers)

    assert broker.asked == ["SPY"]
    assert len({id(answer) for answer in answers}) == 1
    assert (await cache.get("SPY")) is answers[0]
    assert cache.get_stats() == {"known": 1, "unknown": 0, "hits": 1, "requests": 1, "failures": 0}


async def test_one_caller_giving_up_does_not_take_the_answer_from_the_others() -> None:
    """Cancelling one of two waiters leaves the request running."""
    broker = Broker()
    broker.go.clear()
    cache = SymbolPropertiesCache(broker)
    first, second = (asyncio.create_task(cache.get("SPY")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    broker.go.set()

    assert (await second).symbol == "SPY"
    assert first.cancelled()
    assert broker.asked == ["SPY"]


async def test_an_unknown_symbol_is_remembered_until_forgotten() -> None:
    """The venue's "no" is an answer; it is asked again only on request."""
    broker = Broker()
    cache = SymbolPropertiesCache(broker)
    for _ in range(3):
        with pytest.raises(UnknownSymbolError, match="NOPE"):
            await cache.get("NOPE")
    assert broker.asked == ["NOPE"]

    cache.forget("NOPE")
    with pytest.raises(UnknownSymbolError):
        await cache.get("NOPE")
    assert broker.asked == ["NOPE", "NOPE"]


async def test_a_failure_is_not_an_answer() -> None:
    """After a broker failure the next call asks again, also if everyone had given up on the first."""
    broker = Broker()
    broker.failure = OutcomeUnknownError("no answer in time")
    cache = SymbolPropertiesCache(broker)
    with pytest.raises(OutcomeUnknownError):
        await cache.get("SPY")
    broker.go.clear()
    lonely = asyncio.create_task(cache.get("SPY"))
    await asyncio.sleep(0)
    lonely.cancel()
    broker.go.set()
    for _ in range(3):
        await asyncio.sleep(0)
    broker.failure = None

    assert (await cache.get("SPY")).symbol == "SPY"
    assert len(broker.asked) == 3
    assert cache.get_stats()["failures"] == 2


async def test_a_broker_that_only_has_get_asset_is_taken() -> None:
    """The venue's JSON object is read as it is; nonsense is a clear error."""

    class Guide:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        async def get_asset(self, symbol: str) -> Any:
            return self.answer

    bitcoin = {"symbol": "BTC/USD", "class": "crypto", "tradable": True, "price_increment": "0.01"}
    properties = await SymbolPropertiesCache(Guide(bitcoin)).get("BTC/USD")

    assert properties.asset_class is AssetClass.CRYPTO
    assert str(properties.min_price_increment) == "0.01"
    for nonsense in (None, 7, {"class": "us_equity"}, {"symbol": "X", "class": "tulip"}):
        with pytest.raises(DataError, match="makes no sense"):
            await SymbolPropertiesCache(Guide(nonsense)).get("X")


async def test_a_security_keeps_its_market_data_when_its_rules_change() -> None:
    """``get`` never asks; new rules replace the old on the same object."""
    cache = SecurityCache(SymbolPropertiesCache(Broker()))
    assert cache.get("SPY") is None
    security = await cache.get_or_create("SPY")
    security.on_bar(Bar(1_000, "SPY", 1.0, 2.0, 0.5, 1.5, 10.0))
    cache.add(Asset(symbol="SPY", tradable=False))

    assert cache.get("SPY") is security is await cache.get_or_create("SPY")
    assert (security.last_price, security.last_price_at) == (1.5, 1_000)
    assert security.validate_order(quantity=1, side="buy") == (False, "SPY: not tradable at the venue")
    assert cache.get_stats()["symbols"] == ["SPY"]


async def test_a_security_rounds_and_validates_like_its_rules() -> None:
    """The guide's three calls, and a quote's middle as the last price."""
    security = await SecurityCache(SymbolPropertiesCache(Broker())).get_or_create("SPY")
    security.on_quote(Quote(5, "SPY", 10.0, 11.0))

    assert str(security.round_price(450.127, "buy")) == "450.12"
    assert str(security.round_quantity(10.7)) == "10"
    assert security.round_then_validate(quantity=10.7, side="buy", price=450.127) == (
        Decimal(10),
        Decimal("450.12"),
        "",
    )
    assert (security.last_price, security.last_price_at) == (10.5, 5)
