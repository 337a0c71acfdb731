"""A whole bot whose orders go to a venue and whose bars come from Massive: socket and REST, each failing in each way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.venue_process import local_venue
from holdfast.data.tables import BarTable
from holdfast.di import Container
from holdfast.di.config import load
from holdfast.kernel import Kernel
from holdfast.model import Bar
from holdfast.model.errors import BrokerAuthError, BrokerRefusedError, ConfigurationError, OutcomeUnknownError
from holdfast.model.events import Event, ReconcileRequested, StreamConnected, StreamLost
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND
from holdfast.realtime.market_stream import MarketStream
from holdfast.testing.massive_socket import MassiveSocket, bar_item, channels_of, status
from holdfast.testing.vendors import KEY, MUTE, NOT_ENTITLED, TOO_MANY, UNKNOWN_KEY, Answer, VendorServer
from holdfast.time import ScaledClock
from tests.venue.helpers import OPENING, VenueProcess, minutes, venues

SYMBOL = "SPY"
HOUR_OF_REAL_TIME = 3_600.0
PRICE = 400.0
SLOW, QUICK = 1.0, 120.0
PATIENCE_SECONDS = 60.0
SINCE = OPENING + 10 * NS_PER_MINUTE  # the bot starts ten minutes into the session


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    """Where orders go. Each test has an account of its own."""
    with venues(tmp_path_factory.mktemp("massive")) as start:
        yield start(minutes(SYMBOL, count=390, start=OPENING, base=PRICE), speed=SLOW, rate_limit=None)


class ToldClock(ScaledClock):
    """Runs at its rate from a second after the tenth minute of the session; what a venue would tell it, the test tells."""

    def __init__(self, rate: float) -> None:
        super().__init__(SINCE + NS_PER_SECOND, rate)
        self.minute: int | None = None

    def follow(self, venue_ns: int) -> None:
        """At each new connection: a second after the minute that the test has named, or nothing."""
        if self.minute is not None:
            super().follow(OPENING + self.minute * NS_PER_MINUTE + NS_PER_SECOND)


class Bench:
    """Massive as the test wants it, and a bot that follows it."""

    def __init__(self, venue: VenueProcess, massive: MassiveSocket, vendors: VendorServer, key: str) -> None:
        self.massive, self.vendors = massive, vendors
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.asked: asyncio.Queue[None] = asyncio.Queue()  # a request of Massive's REST API each
        vendors.refuse_when = self._note_request
        self.seen: list[Bar] = []
        self.settings: dict[str, Any] = {
            "alpaca": {
                "api_key": key,
                "api_secret": "secret",
                "base_url": venue.url,
                "data_url": venue.url,
                "market_stream_url": "ws://127.0.0.1:1",  # nobody is asked there
                "activity_stream": False,
            },
            "market_data": "massive",
            "polygon": {"api_key": KEY, "base_url": vendors.url, "stream_url": massive.url},
            "watch": [SYMBOL],
            "limits": {"polygon": {"limit": 1_000}},
            "reconcile": {"interval_seconds": HOUR_OF_REAL_TIME, "mute_seconds": 2},
        }
        self.container: Container
        self.clock: ToldClock

    def make(self, rate: float = SLOW, **settings: Any) -> Container:
        """The bot, not started."""
        self.clock = ToldClock(rate)
        self.container = Container({**self.settings, **settings}, clock=self.clock)
        self.container.runner.observers.append(self._observe)
        return self.container

    def _observe(self, event: Event) -> None:
        self.events.put_nowait(event)
        if isinstance(event, Bar):
            self.seen.append(event)

    def _note_request(self) -> bool:
        self.asked.put_nowait(None)
        return False

    async def until_asked(self, count: int = 1) -> None:
        """REST was asked so often more."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(count):
                await self.asked.get()

    def has_until(self, *numbers: int) -> None:
        """What REST has: the session's bars of these numbers."""
        starts = [OPENING + number * NS_PER_MINUTE for number in numbers]
        price = [PRICE] * len(starts)
        columns = (price, price, price, price, [100.0] * len(starts))
        self.vendors.add(SYMBOL, "1Min", BarTable.of(starts, *columns, vwap=price, trades=[7] * len(starts)))

    async def bar(self, number: int) -> None:
        """The session's bar of this number, on the socket."""
        await self.massive.bar(SYMBOL, OPENING + number * NS_PER_MINUTE, PRICE)

    async def until(self, kind: type[Event], **members: Any) -> Any:
        """The next event of a kind, with these members."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                event = await self.events.get()
                if isinstance(event, kind) and all(getattr(event, name) == value for name, value in members.items()):
                    return event

    async def until_bar(self, number: int) -> None:
        """The bar of this number was handled."""
        await self.until(Bar, ts=OPENING + (number + 1) * NS_PER_MINUTE)

    @property
    def numbers(self) -> list[int]:
        """What the kernel was shown, as numbers."""
        return [(bar.ts - OPENING) // NS_PER_MINUTE - 1 for bar in self.seen]

    @property
    def stream(self) -> MarketStream:
        """The one market data stream."""
        (stream,) = self.container.market_streams.values()
        return stream

    @property
    def rest_requests(self) -> int:
        """How often Massive's REST API was asked."""
        return len(self.vendors.requests)


_accounts = iter(range(1_000))


@pytest.fixture
async def bench(venue: VenueProcess) -> AsyncIterator[Bench]:
    """Massive with the ten bars that there are at the start."""
    async with MassiveSocket() as massive, VendorServer() as vendors:
        found = Bench(venue, massive, vendors, f"MASSIVE-{next(_accounts)}")
        found.has_until(*range(10))
        yield found
        if hasattr(found, "container"):
            await found.container.stop()


async def test_bars_come_from_massive_and_orders_go_to_the_broker(bench: Bench) -> None:
    """The session so far by REST, then the socket, each bar once; an order is judged by them and fills at the venue."""
    container = bench.make()
    await container.start()
    await bench.until_bar(9)
    assert container.health() == (True, [])
    for number in (10, 11):
        await bench.bar(number)
    await bench.until_bar(11)

    assert bench.numbers == list(range(12))
    assert bench.massive.channels == channels_of([SYMBOL], "AM")
    assert container.throttler.get_stats()["polygon_bars"]["total_calls"] == bench.rest_requests == 1
    assert {request.headers["authorization"] for request in bench.vendors.requests} == {f"Bearer {KEY}"}
    verdict = await container.process_signal({"symbol": SYMBOL, "side": "BUY", "quantity": 1})
    assert verdict.approved, verdict.reason
    stats = container.snapshot()["market_stream"]
    assert (stats["url"], stats["received"], stats["gaps"]) == (bench.massive.url, 2, 0)


async def test_quotes_come_from_massive_too(bench: Bench) -> None:
    """Where the configuration wants them."""
    container = bench.make(alpaca={**bench.settings["alpaca"], "quotes": True})
    await container.start()
    at = (SINCE + NS_PER_SECOND) // 1_000_000
    await bench.massive.say({"ev": "Q", "sym": SYMBOL, "bp": 401.0, "ap": 403.0, "bs": 1, "as": 1, "t": at})
    while container.kernel.portfolio.book(SYMBOL).last_price != 402.0:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await bench.events.get()
    assert bench.massive.channels == channels_of([SYMBOL], "AM", "Q")


async def test_bars_of_a_second_come_from_massive_too(bench: Bench) -> None:
    """From both of its sides; Alpaca streams minutes alone."""
    first = SINCE - 2 * NS_PER_SECOND
    price = [PRICE, PRICE]
    table = BarTable.of([first, first + NS_PER_SECOND], price, price, price, price, price, vwap=price, trades=[1, 1])
    bench.vendors.add(SYMBOL, "1Sec", table)
    await bench.make(strategy={"period_seconds": 1}).start()
    await bench.massive.bar(SYMBOL, SINCE, PRICE, period=NS_PER_SECOND)
    await bench.until(Bar, ts=SINCE + NS_PER_SECOND)
    assert bench.massive.channels == channels_of([SYMBOL], "A")
    assert [bar.ts - SINCE for bar in bench.seen] == [-NS_PER_SECOND, 0, NS_PER_SECOND]


@pytest.mark.parametrize(
    ("refusals", "instead", "error", "words"),
    [
        (["auth_failed"], [], BrokerAuthError, "check MASSIVE_API_KEY or POLYGON_API_KEY"),
        ([], ["not_authorized"], BrokerRefusedError, "the plan of this API key does not include the channel"),
    ],
)
async def test_a_definite_no_of_the_socket_ends_the_start(
    bench: Bench, refusals: list[str], instead: list[str], error: type[Exception], words: str
) -> None:
    """In one sentence; the key is not in it."""
    bench.massive.refusals, bench.massive.instead = refusals, instead
    with pytest.raises(error, match=words) as raised:
        await bench.make().start()
    assert KEY not in str(raised.value)
    assert bench.massive.open == 0


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ([UNKNOWN_KEY], BrokerAuthError, "it does not accept the API key"),
        ([NOT_ENTITLED], BrokerRefusedError, "the plan of this API key does not include the data"),
        ([Answer(200, {"status": "OK", "results": [{"t": "x"}]})], OutcomeUnknownError, "not what the API promises"),
    ],
)
async def test_a_definite_no_of_the_rest_api_ends_the_start(
    bench: Bench, answers: list[Answer], error: type[Exception], words: str
) -> None:
    """Without the session so far a bot would decide on half of it."""
    bench.vendors.script = answers
    with pytest.raises(error, match=words):
        await bench.make().start()


async def test_a_connection_that_is_held_by_others_is_waited_for(bench: Bench) -> None:
    """The bot starts without it and says so, comes again, never with two, and fetches what it missed meanwhile."""
    bench.massive.refusals = ["max_connections"]
    container = bench.make()
    await container.start()
    assert container.health()[1] == ["the data us_equity stream is not connected"]
    assert "max_connections" in bench.stream.get_stats()["last_error"]
    bench.has_until(*range(12))
    bench.clock.minute = 12
    await bench.until(StreamConnected, stream="data")
    await bench.until_bar(11)
    assert (bench.massive.connections, bench.massive.open_max) == (2, 1)
    assert container.health() == (True, [])


async def test_what_a_cut_socket_missed_is_fetched_before_what_it_brings(bench: Bench) -> None:
    """A REST API that is out at first is asked again; what the new connection brings waits; each bar comes once."""
    container = bench.make()
    await container.start()
    await bench.until_bar(9)
    await bench.bar(10)
    await bench.until_bar(10)
    bench.vendors.script = [Answer(500, "<html>"), TOO_MANY]
    bench.vendors.status = "DELAYED"  # as good as any
    bench.has_until(*range(13))
    bench.clock.minute = 14
    bench.massive.cut()
    await bench.until(StreamLost, stream="data")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await bench.massive.subscribed.wait()
    await bench.bar(13)
    await bench.until_bar(13)

    assert bench.numbers == list(range(14))
    assert (bench.stream.get_stats()["connects"], bench.massive.open_max) == (2, 1)
    assert container.throttler.get_stats()["polygon_bars"]["total_calls"] == bench.rest_requests


async def test_a_bar_that_ended_just_before_the_connection_is_asked_for_twice(bench: Bench) -> None:
    """REST lists it a moment later, and the socket that would have brought it was not listening."""
    container = bench.make()
    await container.start()
    await bench.until_bar(9)
    await bench.until_asked()
    bench.has_until(*range(11))
    bench.clock.minute = 12
    bench.massive.cut()
    await bench.until_asked()
    await bench.until_bar(10)
    bench.has_until(*range(12))  # the bar that ended a second before
    await bench.massive.bar(SYMBOL, OPENING + 12 * NS_PER_MINUTE, PRICE)
    await bench.until_asked()
    await bench.until_bar(12)
    assert bench.numbers == list(range(13))


async def test_a_rest_api_that_stays_silent_holds_up_no_stop(bench: Bench) -> None:
    """A fetch that gets no answer ends with the bot."""
    container = bench.make()
    await container.start()
    await bench.until_asked()
    bench.vendors.script = [MUTE]
    bench.clock.minute = 12
    bench.massive.cut()
    await bench.until_asked()
    await container.stop()
    assert bench.massive.open == 0


@pytest.mark.slow
async def test_a_mute_socket_is_found_by_rest_and_replaced_and_no_bar_is_lost(bench: Bench) -> None:
    """It answers pings and brings nothing; Massive's own REST API shows what it owes."""
    container = bench.make(QUICK)
    await container.start()
    await bench.until_bar(9)
    bench.massive.is_mute = True
    await bench.bar(10)
    bench.has_until(*range(60))  # those that have ended by then
    lost = await bench.until(StreamLost, stream="data")
    bench.massive.is_mute = False
    await bench.until_bar(15)
    bench.has_until()
    await bench.bar(60)
    await bench.until_bar(60)

    assert lost.reason.startswith("mute: no bar since ")
    assert bench.massive.swallowed == 1
    assert (bench.stream.get_stats()["restarts"], bench.massive.open_max) == (1, 1)
    *fetched, last = bench.numbers
    assert fetched == list(range(len(fetched)))
    assert last == 60


@pytest.mark.slow
async def test_a_quiet_market_is_left_alone(bench: Bench) -> None:
    """REST has no bar that the socket owes: it is asked again and again, and nothing is replaced."""
    container = bench.make(QUICK)
    await container.start()
    await bench.until_asked(3)
    assert (bench.massive.connections, bench.stream.get_stats()["restarts"]) == (1, 0)


async def test_what_cannot_be_read_is_counted_told_and_followed_by_a_comparison(bench: Bench) -> None:
    """Its neighbours arrive; gaps, repeats and disorder are counted; the connection goes on."""
    container = bench.make()
    await container.start()
    await bench.until_bar(9)
    spoiled = bar_item(SYMBOL, SINCE, PRICE, o="x")
    after = [bar_item(SYMBOL, OPENING + number * NS_PER_MINUTE, PRICE) for number in (10, 12, 12, 11)]
    await bench.massive.say(spoiled, *after, {"ev": "LULD"}, status("success", "unsubscribed"))
    await bench.until(ReconcileRequested, reason="malformed message")
    await bench.until_bar(11)

    stats = container.snapshot()["market_stream"]
    names = ("bars", "malformed", "gaps", "repeated", "out_of_order", "unheard_of")
    assert [stats[name] for name in names] == [4, 1, 1, 1, 1, 1]
    assert container.kernel.counters.duplicate_bars == 2
    assert bench.stream.is_connected()


##### Configuration


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"polygon": {}}, "polygon.api_key is not set: expected the key from Massive's dashboard, or MASSIVE_API_KEY"),
        ({"watch": ["SPY", "BTC/USD"]}, "whose stream has shares alone, and BTC/USD would be followed"),
        ({"strategy": {"period_seconds": 300}}, "strategy.period_seconds is 300: expected 1 or 60"),
        ({"polygon": {"api_key": "k", "stream_url": "https://x"}}, "polygon.stream_url is 'https://x'"),
        ({"polygon": {"api_key": "k", "base_url": "http://x"}}, "base_url 'http://x' cannot be used"),
        ({"market_data": "yahoo"}, "market_data: input should be 'alpaca' or 'massive'"),
    ],
)
def test_a_configuration_that_cannot_work_is_told_at_once(settings: dict[str, Any], words: str) -> None:
    """Before anything is connected."""
    base = {"alpaca": {"api_key": "k", "api_secret": "s"}, "market_data": "massive", "polygon": {"api_key": "k"}}
    with pytest.raises(ConfigurationError, match=words):
        Container({**base, "watch": ["SPY"], **settings})


async def test_a_built_in_venue_has_a_market_of_its_own(bench: Bench) -> None:
    """Its orders fill in that market: bars of another would be a lie."""
    with pytest.raises(ConfigurationError, match="orders go to a built-in venue"):
        await Container.connect(bench.settings)


def test_the_command_takes_the_market_of_the_venue_that_it_starts(tmp_path: Path) -> None:
    """Whatever the file says of live bars."""
    path = tmp_path / "holdfast.toml"
    path.write_text('market_data = "massive"\n')
    assert load(path).market_data == "massive"
    assert load(path, local_venue({}, "http://127.0.0.1:1")).market_data == "alpaca"


def test_the_key_is_in_no_journal(bench: Bench) -> None:
    """Settings are recorded with each run, without secrets."""
    container = bench.make()
    assert isinstance(container.kernel, Kernel)
    assert "massive" in container._settings
    assert KEY not in container._settings
