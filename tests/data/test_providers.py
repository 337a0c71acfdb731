"""Both providers behind one interface, against a local server that answers, and misbehaves, as the vendors do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from holdfast.data.actions import Action, Dividend, Split
from holdfast.data.provider import DataProvider
from holdfast.data.tables import join
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerRefusedError,
    ConfigurationError,
    DataError,
    OutcomeUnknownError,
)
from holdfast.model.market import Quote, Trade
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND, to_ns
from holdfast.net import create_combined_throttler
from holdfast.testing.vendors import (
    CUT,
    CUT_IN_MID_PAGE,
    HTML,
    NOT_ENTITLED,
    SIP_TOO_RECENT,
    TOO_MANY,
    UNKNOWN_KEY,
    Answer,
    VendorServer,
)
from holdfast.time import BacktestClock
from tests.data.vendors import MINUTE, NOW, OPEN, alpaca, minutes, polygon, quick_throttler, same

Make = Callable[..., DataProvider]


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    """Both vendors on this machine."""
    async with VendorServer() as running:
        yield running


@pytest.fixture(params=[alpaca, polygon], ids=["alpaca", "polygon"])
def make(request: pytest.FixtureRequest) -> Make:
    """Either provider."""
    found: Make = request.param
    return found


async def all_of(pages: AsyncIterator[Any]) -> list[Any]:
    """Every page."""
    return [page async for page in pages]


class TestBars:
    """What both give."""

    async def test_bars_are_complete_and_end_where_they_say(self, server: VendorServer, make: Make) -> None:
        """Only what begins and ends inside the question."""
        server.add("SPY", "1Min", minutes(OPEN, 0, 1, 2, 5, 6))
        provider = make(server)
        bars = await provider.get_bars("SPY", "1Min", OPEN + MINUTE, OPEN + 6 * MINUTE)
        await provider.aclose()

        assert [bar.open for bar in bars] == [101, 102, 105]
        assert [bar.ts for bar in bars] == [to_ns(OPEN) + n * NS_PER_MINUTE for n in (2, 3, 6)]

    async def test_pages_hold_all_that_the_vendor_says(self, server: VendorServer, make: Make) -> None:
        """Also vwap and the number of trades; no page is lost, and each passes the throttler once."""
        table = minutes(OPEN, *range(10))
        server.add("SPY", "1Min", table)
        server.page_size = 3
        throttler = quick_throttler()
        provider = make(server, throttler)
        pages = await all_of(provider.bar_pages("SPY", "1Min", OPEN, OPEN + 10 * MINUTE))
        await provider.aclose()

        assert same(join(pages), table)
        assert [page.rows for page in pages] == [3, 3, 3, 1]
        assert sum(stats["total_calls"] for stats in throttler.get_stats().values()) == len(server.requests) == 4

    async def test_crypto_has_its_own_names(self, server: VendorServer, make: Make) -> None:
        """Asked for and given as BTC/USD, whatever it is called on the wire."""
        server.add("BTC/USD", "1Min", minutes(OPEN, 0))
        provider = make(server)
        (bar,) = await provider.get_bars("BTC/USD", "1Min", OPEN, OPEN + MINUTE)
        await provider.aclose()

        assert bar.symbol == "BTC/USD"
        assert server.requests[0].path in (
            "/v1beta3/crypto/us/bars",
            f"/v2/aggs/ticker/X:BTCUSD/range/1/minute/{to_ns(OPEN) // 1_000_000}/{to_ns(OPEN + MINUTE) // 1_000_000}",
        )

    async def test_raw_prices_are_asked_for(self, server: VendorServer, make: Make) -> None:
        """What is stored is what was traded."""
        provider = make(server)
        await provider.get_bars("SPY", "1Day", OPEN, OPEN + timedelta(days=3))
        await provider.aclose()

        (request,) = server.requests
        assert request.query.get("adjustment") == "raw" or request.query.get("adjusted") == "false"

    async def test_nothing_is_an_empty_list(self, server: VendorServer, make: Make) -> None:
        """A symbol without trades, and a stretch without length."""
        provider = make(server)
        assert await provider.get_bars("NONE", "1Min", OPEN, OPEN + MINUTE) == []
        assert await provider.get_bars("SPY", "1Min", OPEN, OPEN) == []
        await provider.aclose()

        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("timeframe", "start", "end", "words"),
        [
            ("7Hours", OPEN, OPEN, "unknown timeframe '7Hours'; expected one of 1Min"),
            ("1Min", OPEN.replace(tzinfo=None), OPEN, "the start .* has no time zone"),
            ("1Min", OPEN, OPEN - MINUTE, "is before the start"),
        ],
    )
    async def test_a_question_without_sense_is_not_sent(
        self, server: VendorServer, make: Make, timeframe: str, start: Any, end: Any, words: str
    ) -> None:
        """Which argument, and what was expected."""
        provider = make(server)
        with pytest.raises(ConfigurationError, match=words):
            await provider.get_bars("SPY", timeframe, start, end)
        await provider.aclose()

        assert server.requests == []


class TestTicks:
    """Trades and quotes."""

    async def test_trades_come_whole(self, server: VendorServer, make: Make) -> None:
        """Time to the nanosecond, price, size, id, conditions and tape; the end is not included."""
        first = to_ns(OPEN)
        made = [
            Trade(first + 1, "SPY", 100.25, 10.0, "1", "@", "V", "B"),
            Trade(first + 2, "SPY", 100.5, 5.0, "2", "@I", "V", "B"),
            Trade(first + NS_PER_MINUTE, "SPY", 101.0, 5.0, "3", "@", "V", "B"),
        ]
        server.add_trades("SPY", made)
        server.page_size = 1
        provider = make(server)
        found = [trade for page in await all_of(provider.trade_pages("SPY", OPEN, OPEN + MINUTE)) for trade in page]
        await provider.aclose()

        keep = ("ts", "symbol", "price", "size", "id", "conditions", "tape")
        assert [[getattr(trade, name) for name in keep] for trade in found] == [
            [getattr(trade, name) for name in keep] for trade in made[:2]
        ]

    async def test_quotes_come_whole(self, server: VendorServer, make: Make) -> None:
        """Both sides and both sizes."""
        made = [Quote(to_ns(OPEN) + n, "SPY", 100.0 + n, 100.1 + n, 100.0, 200.0) for n in range(3)]
        server.add_quotes("SPY", made)
        provider = make(server)
        pages: list[Sequence[Quote]] = await all_of(provider.quote_pages("SPY", OPEN, OPEN + MINUTE))
        await provider.aclose()

        assert [quote for page in pages for quote in page] == made

    @pytest.mark.parametrize(("mark", "counts"), [("canceled", False), ("incorrect", False), ("corrected", True)])
    async def test_a_trade_that_was_taken_back_is_left_out(self, server: VendorServer, mark: str, counts: bool) -> None:
        """Alpaca marks it, and keeps its correction."""
        row = {"t": "2024-01-02T14:30:00Z", "x": "V", "p": 1.0, "s": 1, "c": [" "], "i": 1, "z": "C", "u": mark}
        server.script = [Answer(200, {"trades": {"SPY": [row]}, "next_page_token": None})]
        provider = alpaca(server)
        pages = await all_of(provider.trade_pages("SPY", OPEN, OPEN + MINUTE))
        await provider.aclose()

        assert sum(map(len, pages)) == counts


class TestActions:
    """Splits and dividends."""

    async def test_both_kinds_oldest_first(self, server: VendorServer, make: Make) -> None:
        """Those whose ex-date lies in the days asked for; crypto has none."""
        made: list[Action] = [
            Dividend(date(2024, 1, 5), 0.25),
            Split(date(2024, 1, 9), 4.0, 1.0),
            Split(date(2024, 1, 11), 1.0, 20.0),
            Dividend(date(2024, 2, 5), 0.25),
        ]
        server.actions["SPY"] = made
        server.page_size = 1
        provider = make(server)
        assert await provider.get_actions("SPY", date(2024, 1, 1), date(2024, 1, 31)) == made[:3]
        assert await provider.get_actions("BTC/USD", date(2024, 1, 1), date(2024, 1, 31)) == []
        await provider.aclose()


class PatientClock(BacktestClock):
    """Tells the test when somebody waits for a moment."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self.awaited: asyncio.Queue[int] = asyncio.Queue()

    async def wait_until(self, ns: int) -> None:
        """Tell, and wait."""
        self.awaited.put_nowait(ns)
        await super().wait_until(ns)


async def test_the_free_plan_of_massive_is_kept_to(server: VendorServer) -> None:
    """Five requests a minute: the sixth page waits until the first request is a minute old."""
    table = minutes(OPEN, *range(6))
    server.add("SPY", "1Min", table)
    server.page_size = 1
    clock = PatientClock()
    provider = polygon(server, create_combined_throttler(clock=clock))
    reading = asyncio.ensure_future(all_of(provider.bar_pages("SPY", "1Min", OPEN, OPEN + 6 * MINUTE)))
    assert await clock.awaited.get() == to_ns(NOW) + 60 * NS_PER_SECOND
    assert len(server.requests) == 5
    clock.advance(timedelta(seconds=60))
    assert same(join(await reading), table)
    await provider.aclose()


class TestErrors:
    """What is definite is raised at once; what may pass is asked for again."""

    @pytest.mark.parametrize("weather", [TOO_MANY, HTML, CUT, CUT_IN_MID_PAGE], ids=["429", "html", "cut", "mid-page"])
    async def test_weather_passes(self, server: VendorServer, make: Make, weather: Answer) -> None:
        """A page that was not had is asked for again, and nothing is had twice."""
        table = minutes(OPEN, *range(6))
        server.add("SPY", "1Min", table)
        server.page_size = 2
        provider = make(server)
        pages = provider.bar_pages("SPY", "1Min", OPEN, OPEN + 10 * MINUTE)
        got = [await anext(pages)]
        server.script = [weather, weather]
        got += await all_of(pages)
        await provider.aclose()

        assert same(join(got), table)
        assert len(server.requests) == 3 + 2

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (UNKNOWN_KEY, BrokerAuthError),
            (NOT_ENTITLED, BrokerRefusedError),
            (TOO_MANY, BrokerRefusedError),
            (HTML, OutcomeUnknownError),
            (CUT_IN_MID_PAGE, OutcomeUnknownError),
            (Answer(200, "<html>hello</html>"), (DataError, OutcomeUnknownError)),
            (Answer(200, '{"status":"OK","bars":{"SPY":[{"t":1}]},"results":[{"t":1}]}'), DataError),
            (Answer(200, '{"status":"OK","bars":[1],"results":1}'), DataError),
        ],
        ids=["401", "403", "429", "502 html", "mid-page", "200 html", "rows of something else", "no rows"],
    )
    async def test_each_kind_for_good(self, server: VendorServer, make: Make, answer: Answer, error: Any) -> None:
        """The error of the family, after a bounded number of requests."""
        server.add("SPY", "1Min", minutes(OPEN, 0, 1))
        server.script = [answer] * 20
        provider = make(server)
        with pytest.raises(error):
            await provider.get_bars("SPY", "1Min", OPEN, OPEN + 10 * MINUTE)
        await provider.aclose()

        assert len(server.requests) <= 6

    async def test_pages_in_a_circle_end(self, server: VendorServer) -> None:
        """A token that was had before is an error, not an endless loop."""
        server.script = [Answer(200, {"bars": {}, "next_page_token": "again"})] * 5
        provider = alpaca(server)
        with pytest.raises(DataError, match="run in a circle"):
            await provider.get_bars("SPY", "1Min", OPEN, OPEN + MINUTE)
        await provider.aclose()

        assert len(server.requests) == 2


class TestSip:
    """The consolidated tape and the free plan."""

    async def test_the_last_minutes_are_not_asked_for(self, server: VendorServer) -> None:
        """Fifteen of them are not in the free plan, and clocks differ by up to one more."""
        provider = alpaca(server, now=OPEN + timedelta(hours=1), feed="sip")
        await provider.get_bars("SPY", "1Min", OPEN, OPEN + timedelta(days=1))
        await provider.aclose()

        (request,) = server.requests
        assert request.query["end"] == "2024-01-02T15:13:59.999999999Z"
        assert request.query["feed"] == "sip"

    async def test_a_refusal_says_what_helps(self, server: VendorServer) -> None:
        """The vendor's words, and the three ways out."""
        server.script = [SIP_TOO_RECENT]
        provider = alpaca(server, feed="sip")
        with pytest.raises(
            BrokerRefusedError, match=r"recent SIP data.*end earlier, use the feed iex, or upgrade"
        ) as raised:
            await provider.get_bars("SPY", "1Min", OPEN, OPEN + MINUTE)
        await provider.aclose()

        assert (raised.value.status, raised.value.code) == (403, 42210000)

    async def test_the_name_tells_the_feeds_apart(self, server: VendorServer) -> None:
        """They are different data."""
        for feed in ("iex", "sip"):
            provider = alpaca(server, feed=feed)
            assert provider.source("SPY") == f"alpaca-{feed}"
            assert provider.source("BTC/USD") == "alpaca-crypto"
            await provider.aclose()
        with pytest.raises(ConfigurationError, match="unknown feed 'SIP'; expected one of iex, sip"):
            alpaca(server, feed="SIP")


async def test_seconds_are_not_to_be_had_from_alpaca(server: VendorServer) -> None:
    """Massive has them."""
    provider = alpaca(server)
    with pytest.raises(ConfigurationError, match="no bars of 5Sec; the shortest are of 1Min"):
        await provider.get_bars("SPY", "5Sec", OPEN, NOW)
    await provider.aclose()
