"""A feed between a vendor that the test plays and an inbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from holdfast.di.config import build
from holdfast.di.feed import Feed
from holdfast.model import AssetClass, Bar
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND, parse_rfc3339, to_datetime
from holdfast.realtime.market_stream import MarketStream
from holdfast.runner.inbox import Inbox
from holdfast.time import BacktestClock
from tests.kernel.helpers import make_kernel

START = parse_rfc3339("2024-01-02T15:00:00Z")


def bar(minute: int) -> Bar:
    """By the minute of its end."""
    return Bar(START + minute * NS_PER_MINUTE, "BTC/USD", 1.0, 1.0, 1.0, 1.0, 1.0)


class Vendor:
    """Its socket connects, and its REST API answers, when the test says so."""

    def __init__(self) -> None:
        self.ended: list[Bar] = []
        self.fetches = 0
        self.during_fetch: Callable[[], object] = lambda: None
        self.connected: Callable[[], Awaitable[None] | None] = lambda: None
        self.take: Callable[[Bar], object] = lambda _: None

    def open_stream(
        self, kind: AssetClass, symbols: Sequence[str], on_bar: Callable[[Bar], object], *_: object, **__: Any
    ) -> MarketStream:
        """The socket is the test itself."""
        self.take = on_bar
        return cast("MarketStream", self)

    def on_connected(self, told: Callable[[], Awaitable[None] | None]) -> None:
        """Whom to tell."""
        self.connected = told

    def is_connected(self) -> bool:
        """Always."""
        return True

    async def fetch_bars(self, symbol: str, start: int, end: int, period: int) -> Sequence[Bar]:
        """What has ended; something may happen while the answer is on its way."""
        self.fetches += 1
        answer = [bar for bar in self.ended if start < bar.ts]
        self.during_fetch()
        return answer

    async def close(self) -> None:
        """Nothing to close."""


def followed(vendor: Vendor) -> tuple[Feed, Inbox]:
    """A feed of one coin."""

    async def follow_time() -> None:
        """It is ours."""

    # Late enough in a minute that REST lists every bar that has ended: none has to be asked for twice.
    clock, inbox = BacktestClock(to_datetime(START + 5 * NS_PER_MINUTE + 30 * NS_PER_SECOND)), Inbox()
    config = build({"strategy": {"symbols": ["BTC/USD"]}})
    feed = Feed(config, vendor, make_kernel([]), inbox, clock, backoff=lambda: None, follow_time=follow_time)
    return feed, inbox


def minutes(inbox: Inbox) -> list[int]:
    """The bars that were posted, by the minute of their end."""
    posted = []
    while (what := inbox.take_market()) is not None:
        posted.append((what.ts - START) // NS_PER_MINUTE)
    return posted


@pytest.mark.parametrize("refills", [True, False], ids=["at a speed", "lock-step"])
async def test_a_stream_that_connects_during_the_starts_own_fetch_misses_no_bar(refills: bool) -> None:
    """Its first attempt failed; what ended between the answer and the connection was told by neither."""
    vendor = Vendor()
    feed, inbox = followed(vendor)
    vendor.ended = [bar(1), bar(2)]

    def connects_a_bar_later() -> None:
        vendor.during_fetch = lambda: None
        vendor.ended.append(bar(3))
        vendor.connected()
        vendor.take(bar(4))
        vendor.ended.append(bar(4))

    vendor.during_fetch = connects_a_bar_later
    await feed.backfill()
    await feed.open(refills=refills)
    vendor.take(bar(5))

    assert vendor.fetches == (2 if refills else 1)
    # A bar may be told twice: the kernel takes each once, and in this order.
    assert list(dict.fromkeys(minutes(inbox))) == ([1, 2, 3, 4, 5] if refills else [1, 2, 4, 5])


async def test_a_stream_that_was_connected_before_the_starts_fetch_has_no_second_one() -> None:
    """Which is the rule."""
    vendor = Vendor()
    feed, inbox = followed(vendor)
    vendor.connected()
    vendor.ended = [bar(1), bar(2)]
    await feed.backfill()
    await feed.open(refills=True)

    assert vendor.fetches == 1
    assert minutes(inbox) == [1, 2]
