"""A bar that a late trade changed, from the venue to the strategy, through the journal and again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.di import Container
from holdfast.journal import JournalReader
from holdfast.model import Bar
from holdfast.model.events import BarRevised, Event
from holdfast.model.timestamps import NS_PER_MINUTE, format_rfc3339
from holdfast.strategies import Strategy
from holdfast.testing import VenueAdmin
from tests.venue.helpers import OPENING, VenueProcess, minutes, venues

SYMBOL = "SPY"
PATIENCE_SECONDS = 60.0
SPEED = 60.0


class Deaf(Strategy):
    """Does nothing."""

    keeps_state = False


class Listening(Strategy):
    """Keeps the bars as they are now; trades on none."""

    def on_start(self) -> None:
        """Nothing is known."""
        self.closes: dict[int, float] = {}
        self.revised: list[int] = []

    def on_bar(self, bar: Bar) -> None:
        """Keep its close."""
        self.closes[bar.ts] = bar.close

    def on_bar_revised(self, bar: Bar) -> None:
        """Keep the new one."""
        assert bar.ts in self.closes, "told of a bar that it was never shown"
        self.closes[bar.ts] = bar.close
        self.revised.append(bar.ts)


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[VenueProcess]:
    """A share in the hours of its exchange, a bar a second."""
    with venues(tmp_path) as start:
        yield start(minutes(SYMBOL, count=390, start=OPENING, base=400.0), speed=SPEED, rate_limit=None)


async def told_of_a_late_trade(venue: VenueProcess, strategy: Strategy, journal: Path) -> dict[str, Any]:
    """A bot whose venue reports a trade in a bar that it has seen; the stream's numbers when that was heard."""
    settings = {
        "alpaca": {
            "api_key": "LATE",
            "api_secret": "secret",
            "base_url": venue.url,
            "data_url": venue.url,
            "market_stream_url": venue.socket_url,
        },
        "strategy": {"symbols": [SYMBOL]},
        "risk": {"max_data_age": 3_600},
        "journal": {"path": journal},
    }
    container = await Container.connect(settings, strategies=[strategy])
    seen: asyncio.Queue[Event] = asyncio.Queue()
    container.runner.observers.append(seen.put_nowait)

    async def next_bar() -> Bar:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not isinstance(event := await seen.get(), Bar):
                pass
        return event

    await container.start()
    try:
        (stream,) = container.market_streams.values()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not stream.received:
                bar = await next_bar()
        admin = VenueAdmin(venue.admin)
        made = format_rfc3339(bar.ts - NS_PER_MINUTE // 2)
        await asyncio.to_thread(admin.late_trade, SYMBOL, bar.close + 1.0, 5.0, at=made)
        admin.close()
        while not stream.get_stats()["revisions"]:
            await next_bar()
        await next_bar()
        return stream.get_stats()
    finally:
        await container.stop()


def recorded(journal: Path) -> list[BarRevised]:
    """What the journal has of it."""
    with JournalReader(journal) as reader:
        return [record.content for record in reader.records() if isinstance(record.content, BarRevised)]


async def test_a_strategy_that_listens_is_told_and_told_the_same_after_a_restart(
    venue: VenueProcess, tmp_path: Path
) -> None:
    """It is in the journal, and so a strategy without a saved state comes to the same from the records alone."""
    journal, first = tmp_path / "bot.journal", Listening([SYMBOL])
    stats = await told_of_a_late_trade(venue, first, journal)
    (event,) = recorded(journal)
    assert (stats["revisions"], first.revised, first.closes[event.bar.ts]) == (1, [event.bar.ts], event.bar.close)
    assert event.ts > event.bar.ts

    second = Listening([SYMBOL])
    await told_of_a_late_trade(venue, second, journal)
    assert second.revised[0] == event.bar.ts
    assert first.closes.items() <= second.closes.items()
    assert len(recorded(journal)) == 2


async def test_where_no_strategy_listens_it_is_counted_and_not_recorded(venue: VenueProcess, tmp_path: Path) -> None:
    """Nothing depends on it."""
    journal = tmp_path / "bot.journal"
    stats = await told_of_a_late_trade(venue, Deaf([SYMBOL]), journal)
    assert (stats["revisions"], recorded(journal)) == (1, [])
