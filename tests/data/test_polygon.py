"""PolygonProvider against a real HTTP server that answers as the aggregates API does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from structlog.testing import capture_logs

from holdfast.data import PolygonProvider
from holdfast.data.polygon import TIMEFRAMES, rule_for
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerRefusedError,
    ConfigurationError,
    DataError,
    OutcomeUnknownError,
)
from holdfast.model.timestamps import NS_PER_MINUTE, to_ns
from holdfast.net import Backoff, RateLimit, Throttler
from holdfast.time import BacktestClock

KEY = "pk_5eCretKeyOfNobody"
T0 = datetime(2024, 3, 8, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOT_ENTITLED = {
    "status": "NOT_AUTHORIZED",
    "request_id": "r403",
    "message": "You are not entitled to this data. Please upgrade your plan.",
}


class Answer(NamedTuple):
    """A scripted answer, given instead of the server's own. Status 0 cuts the connection, -1 never answers."""

    status: int
    body: Any = ""
    headers: tuple[tuple[str, str], ...] = ()


class Request(NamedTuple):
    """What came in."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class Massive:
    """Serves bars page by page over real sockets."""

    def __init__(self) -> None:
        self.bars: list[dict[str, Any]] = []
        self.page_size = 50_000
        self.status = "OK"
        self.next_host = "https://api.massive.com"  # what it believes to be called
        self.script: list[Answer] = []
        self.requests: list[Request] = []
        self.url = ""
        self._conversations: set[asyncio.Task[None]] = set()

    def add_minutes(self, *offsets: int, symbol_price: float = 100.0) -> None:
        """Minute bars that start this many minutes after ``T0``."""
        for offset in offsets:
            start = int((T0 + offset * MINUTE).timestamp() * 1000)
            price = symbol_price + offset
            self.bars.append(
                {"t": start, "o": price, "h": price + 1, "l": price - 1, "c": price + 0.5, "v": 10 * price}
            )

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client is there."""
        self._conversations.add(asyncio.ensure_future(self.talk(reader, writer)))

    async def hang_up(self) -> None:
        """End every conversation."""
        for task in self._conversations:
            task.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection."""
        try:
            while line := await reader.readline():
                target = line.split()[1].decode()
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                parts = urlsplit(target)
                self.requests.append(Request(parts.path, parse_qs(parts.query), headers))
                answer = self.script.pop(0) if self.script else self.answer(self.requests[-1])
                if answer.status == 0:
                    return
                if answer.status == -1:
                    await reader.read()  # until the client gives up
                    return
                body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
                extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
                writer.write(
                    f"HTTP/1.1 {answer.status} X\r\nContent-Length: {len(body.encode())}\r\n{extra}\r\n{body}".encode()
                )
                await writer.drain()
        finally:
            writer.close()

    def answer(self, request: Request) -> Answer:
        """The API as it is documented."""
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Answer(401, {"status": "ERROR", "request_id": "r401", "error": "Unknown API Key"})
        first, last = request.path.split("/")[-2:]
        found = [bar for bar in self.bars if int(first) <= bar["t"] <= int(last)]
        begin = int(request.query.get("cursor", ["0"])[0])
        page: dict[str, Any] = {
            "ticker": request.path.split("/")[4],
            "status": self.status,
            "adjusted": True,
            "queryCount": len(found),
            "resultsCount": len(found[begin : begin + self.page_size]),
            "request_id": "r200",
        }
        if found:
            page["results"] = found[begin : begin + self.page_size]
        if begin + self.page_size < len(found):
            page["next_url"] = f"{self.next_host}{request.path}?cursor={begin + self.page_size}"
        return Answer(200, page)


@pytest.fixture
async def massive() -> AsyncIterator[Massive]:
    """A running server on this machine."""
    fake = Massive()
    server = await asyncio.start_server(fake.connected, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield fake
        await fake.hang_up()


@pytest.fixture
def throttler() -> Throttler:
    """A limit that never makes a test wait."""
    return Throttler({"polygon_bars": RateLimit(10_000, 1.0)})


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that the provider made between attempts."""
    return []


@pytest.fixture
async def provider(massive: Massive, throttler: Throttler, pauses: list[float]) -> AsyncIterator[PolygonProvider]:
    """The provider, an hour after T0."""

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with PolygonProvider(
        KEY,
        throttler,
        base_url=massive.url,
        clock=BacktestClock(T0 + timedelta(hours=1)),
        sleep=sleep,
        backoff=lambda: Backoff(base=1.0, cap=2.0),
        timeout_seconds=0.5,
    ) as made:
        yield made


def requests_made(throttler: Throttler) -> int:
    """How often the limit was passed."""
    return throttler.get_stats()["polygon_bars"]["total_calls"]


class TestBars:
    """What comes back."""

    async def test_ts_is_the_end_of_the_bar(self, massive: Massive, provider: PolygonProvider) -> None:
        """The API names starts in milliseconds; a bar is known at its end."""
        massive.add_minutes(0, 1, 3)
        bars = await provider.get_bars("SPY", "1Min", T0, T0 + 10 * MINUTE)

        assert [bar.ts for bar in bars] == [to_ns(T0) + n * NS_PER_MINUTE for n in (1, 2, 4)]
        assert {bar.symbol for bar in bars} == {"SPY"}
        assert (bars[0].open, bars[0].high, bars[0].low, bars[0].close, bars[0].volume) == (100, 101, 99, 100.5, 1000)

    async def test_the_request_is_the_documented_one(self, massive: Massive, provider: PolygonProvider) -> None:
        """Path, window in milliseconds, ascending, the largest page; the key in a header and not in the URL."""
        await provider.get_bars("SPY", "5Min", T0, T0 + 10 * MINUTE)

        (request,) = massive.requests
        assert request.path == "/v2/aggs/ticker/SPY/range/5/minute/1709908200000/1709908800000"
        assert request.query == {"adjusted": ["true"], "sort": ["asc"], "limit": ["50000"]}
        assert request.headers["authorization"] == f"Bearer {KEY}"

    async def test_crypto_pairs_have_another_name_there(self, massive: Massive, provider: PolygonProvider) -> None:
        """BTC/USD is asked for as X:BTCUSD and comes back as BTC/USD."""
        massive.add_minutes(0)
        (bar,) = await provider.get_bars("BTC/USD", "1Min", T0, T0 + MINUTE)

        assert massive.requests[0].path.split("/")[4] == "X:BTCUSD"
        assert bar.symbol == "BTC/USD"

    async def test_only_bars_inside_the_window(self, massive: Massive, provider: PolygonProvider) -> None:
        """The API's end includes a bar that begins there; ours does not, as it ends later."""
        massive.add_minutes(0, 1, 2, 3)
        bars = await provider.get_bars("SPY", "1Min", T0 + MINUTE, T0 + 3 * MINUTE)

        assert [bar.open for bar in bars] == [101, 102]

    async def test_a_bar_that_still_forms_is_left_out(self, massive: Massive, provider: PolygonProvider) -> None:
        """It is 15:30: the bar that began at 15:30 is not over, whatever end was asked for."""
        massive.add_minutes(58, 59, 60)
        bars = await provider.get_bars("SPY", "1Min", T0, T0 + timedelta(days=1))

        assert [bar.open for bar in bars] == [158, 159]

    async def test_delayed_is_valid(self, massive: Massive, provider: PolygonProvider) -> None:
        """Plans without real time say DELAYED."""
        massive.add_minutes(0)
        massive.status = "DELAYED"

        assert len(await provider.get_bars("SPY", "1Min", T0, T0 + MINUTE)) == 1

    async def test_absent_results_are_no_bars(self, massive: Massive, provider: PolygonProvider) -> None:
        """A symbol without trades, or an unknown one, has no results at all."""
        assert await provider.get_bars("NONE", "1Min", T0, T0 + MINUTE) == []
        assert await provider.get_bars("NONE", "1Min", T0, T0) == []
        assert len(massive.requests) == 1

    @pytest.mark.parametrize(
        ("symbol", "timeframe", "start", "end"),
        [
            ("SPY", "1Hour", "2024-03-08T14:00Z", "2024-03-08T15:00Z"),
            ("SPY", "1Day", "2024-03-08T05:00Z", "2024-03-09T05:00Z"),
            ("SPY", "1Day", "2024-03-10T05:00Z", "2024-03-11T04:00Z"),  # the day that has 23 hours in New York
            ("BTC/USD", "1Day", "2024-03-10T00:00Z", "2024-03-11T00:00Z"),
            ("SPY", "1Week", "2024-03-03T05:00Z", "2024-03-10T05:00Z"),
            ("SPY", "1Month", "2023-12-01T05:00Z", "2024-01-01T05:00Z"),
            ("SPY", "1Month", "2024-03-01T05:00Z", "2024-04-01T04:00Z"),
        ],
    )
    async def test_long_bars_end_where_the_calendar_says(
        self, massive: Massive, throttler: Throttler, symbol: str, timeframe: str, start: str, end: str
    ) -> None:
        """Midnight to midnight in New York for shares, in UTC for crypto."""
        begin, finish = datetime.fromisoformat(start), datetime.fromisoformat(end)
        massive.bars = [{"t": int(begin.timestamp() * 1000), "o": 1, "h": 1, "l": 1, "c": 1, "v": 0}]
        clock = BacktestClock(datetime(2025, 1, 1, tzinfo=UTC))
        async with PolygonProvider(KEY, throttler, base_url=massive.url, clock=clock) as provider:
            (bar,) = await provider.get_bars(symbol, timeframe, begin, finish)

        assert bar.ts == to_ns(finish)


class TestPages:
    """Following next_url."""

    async def test_every_page_is_fetched_and_throttled_once(
        self, massive: Massive, provider: PolygonProvider, throttler: Throttler
    ) -> None:
        """Seven bars in pages of three are three requests."""
        massive.add_minutes(*range(7))
        massive.page_size = 3
        bars = await provider.get_bars("SPY", "1Min", T0, T0 + 10 * MINUTE)

        assert [bar.open for bar in bars] == [100, 101, 102, 103, 104, 105, 106]
        assert len(massive.requests) == requests_made(throttler) == 3
        assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in massive.requests)

    @pytest.mark.parametrize("host", ["https://api.massive.com", "https://api.polygon.io", ""])
    async def test_the_key_goes_to_the_configured_host_only(
        self, massive: Massive, provider: PolygonProvider, host: str
    ) -> None:
        """A next_url that names the vendor's own host is asked of ours; nothing else is contacted."""
        massive.add_minutes(*range(4))
        massive.page_size = 2
        massive.next_host = host

        assert len(await provider.get_bars("SPY", "1Min", T0, T0 + 10 * MINUTE)) == 4

    async def test_a_next_page_elsewhere_is_refused(self, massive: Massive, provider: PolygonProvider) -> None:
        """Whoever names a stranger's host is not followed, nor half believed."""
        massive.add_minutes(*range(4))
        massive.page_size = 2
        massive.next_host = "https://api.massive.com.example.net"

        with pytest.raises(
            DataError, match=r"the next page is said to be on the host 'api\.massive\.com\.example\.net'"
        ):
            await provider.get_bars("SPY", "1Min", T0, T0 + 10 * MINUTE)
        assert len(massive.requests) == 1

    async def test_a_redirect_is_not_followed(self, massive: Massive, provider: PolygonProvider) -> None:
        """It could carry the key elsewhere."""
        massive.script = [Answer(302, "", (("Location", f"{massive.url}/elsewhere"),))]

        with pytest.raises(BrokerRefusedError, match=r"unexpected answer \(HTTP 302"):
            await provider.get_bars("SPY", "1Min", T0, T0 + MINUTE)
        assert len(massive.requests) == 1

    async def test_pages_that_run_in_a_circle_end(self, massive: Massive, provider: PolygonProvider) -> None:
        """A cursor that was seen before is an error, not an endless loop."""
        page = {"status": "OK", "next_url": "https://api.massive.com/v2/aggs?cursor=same"}
        massive.script = [Answer(200, page)] * 3

        with pytest.raises(DataError, match="run in a circle"):
            await provider.get_bars("SPY", "1Min", T0, T0 + MINUTE)


class TestErrors:
    """What is definite is raised at once; what may pass is asked for again, a bounded number of times."""

    @pytest.mark.parametrize(
        ("answer", "error", "words", "attempts"),
        [
            (Answer(400, {"status": "ERROR", "error": "bad range"}), BrokerRefusedError, "bad range", 1),
            (Answer(401, {"status": "ERROR", "error": "Unknown API Key"}), BrokerAuthError, "Unknown API Key", 1),
            (Answer(403, NOT_ENTITLED), BrokerRefusedError, "plan of this API key .* not entitled", 1),
            (Answer(404, "not found"), BrokerRefusedError, "no such data .HTTP 404", 1),
            (Answer(429, {"status": "ERROR", "error": "maximum requests"}), BrokerRefusedError, "rate limit is", 4),
            (Answer(500, "<html>"), OutcomeUnknownError, "it failed .HTTP 500", 4),
            (Answer(503), OutcomeUnknownError, "it failed .HTTP 503", 4),
            (Answer(0), OutcomeUnknownError, "no answer", 4),
            (Answer(200, {"status": "ERROR", "error": "no"}), BrokerRefusedError, "unexpected answer", 1),
        ],
        ids=["400", "401", "403", "404", "429", "500", "503", "cut", "200 that is an error"],
    )
    async def test_each_kind(
        self,
        massive: Massive,
        provider: PolygonProvider,
        throttler: Throttler,
        pauses: list[float],
        answer: Answer,
        error: type[BrokerError],
        words: str,
        attempts: int,
    ) -> None:
        """Type, words, number of attempts; each attempt passes the throttler once."""
        massive.script = [answer] * 10
        with pytest.raises(error, match=words) as raised:
            await provider.get_bars("SPY", "1Min", T0, T0 + MINUTE)

        assert type(raised.value) is error
        assert raised.value.status == (answer.status or None)
        assert len(massive.requests) == requests_made(throttler) == attempts
        assert len(pauses) == attempts - 1

    async def test_a_server_that_never_answers_is_given_up(self, massive: Massive, throttler: Throttler) -> None:
        """The time-out is real time and bounds the whole request."""
        massive.script = [Answer(-1)] * 2
        async with PolygonProvider(
            KEY, throttler, base_url=massive.url, attempts=2, timeout_seconds=0.4, backoff=lambda: Backoff(1e-6, 1e-6)
        ) as provider:
            with pytest.raises(OutcomeUnknownError, match="no answer"):
                await provider.get_bars("SPY", "1Min", T0, T0 + MINUTE)

        assert len(massive.requests) == 2

    async def test_weather_passes(self, massive: Massive, provider: PolygonProvider, pauses: list[float]) -> None:
        """After a 429, a 502 and a cut the bars come; Retry-After is honoured, up to a minute."""
        massive.add_minutes(0)
        massive.script = [
            Answer(429, {"status": "ERROR"}, (("Retry-After", "12"),)),
            Answer(502, "<html>", (("Retry-After", "86400"),)),
            Answer(0),
        ]
        bars = await provider.get_bars("SPY", "1Min", T0, T0 + MINUTE)

        assert len(bars) == 1
        assert pauses[:2] == [12.0, 60.0]
        assert 0 <= pauses[2] <= 2.0

    @pytest.mark.parametrize(
        "body",
        ["", "<html>", "[]", '{"status":"OK","results":[{"t":1}]}', '{"status":"OK","results":[{"t":"x"}]}'],
    )
    async def test_an_answer_that_is_not_the_api_is_told(
        self, massive: Massive, provider: PolygonProvider, body: str
    ) -> None:
        """A 200 with something else inside is a data error."""
        massive.script = [Answer(200, body)]

        with pytest.raises(DataError, match="is not what the API promises"):
            await provider.get_bars("SPY", "1Min", T0, T0 + MINUTE)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda bars: bars[1].update(l=-1.0), "a price is negative"),
            (lambda bars: bars[1].update(h=1.0), r"high 1\.0 is below low"),
            (lambda bars: bars[1].update(t=bars[0]["t"]), "does not come after the bar of 2024-03-08T14:30:00Z"),
        ],
    )
    async def test_bars_that_cannot_be_are_told(
        self, massive: Massive, provider: PolygonProvider, change: Callable[[list[dict[str, Any]]], None], reason: str
    ) -> None:
        """The same rules as for files."""
        massive.add_minutes(0, 1)
        change(massive.bars)

        with pytest.raises(DataError, match=f"the bar of SPY at .* is wrong: .*{reason}"):
            await provider.get_bars("SPY", "1Min", T0, T0 + 2 * MINUTE)

    def test_every_status_has_a_rule(self) -> None:
        """None is unmapped, and only what may pass is asked for again."""
        for status in range(100, 600):
            rule = rule_for(status)
            assert issubclass(rule.error, BrokerError)
            assert rule.is_temporary == (status == 429 or status >= 500)


class TestArguments:
    """Bad input is one clear sentence, before anything is sent."""

    @pytest.mark.parametrize("key", ["", "  ", "two\nlines", "schlüssel"])
    def test_a_key_that_is_none(self, throttler: Throttler, key: str) -> None:
        """An empty or unprintable key cannot be meant."""
        with pytest.raises(ConfigurationError, match="API key is empty or no key"):
            PolygonProvider(key, throttler)

    @pytest.mark.parametrize("url", ["http://api.massive.com", "api.massive.com", "ftp://x", "https://u:p@x", ""])
    def test_a_base_url_that_would_show_the_key(self, throttler: Throttler, url: str) -> None:
        """HTTPS, save for this machine."""
        with pytest.raises(ConfigurationError, match="expected an https:// URL"):
            PolygonProvider(KEY, throttler, base_url=url)

    @pytest.mark.parametrize(
        ("symbol", "timeframe", "start", "end", "words"),
        [
            ("SPY", "1min", T0, T0, "unknown timeframe '1min'; expected one of 1Min, 5Min"),
            ("", "1Min", T0, T0, "the symbol is empty"),
            ("SPY", "1Min", T0.replace(tzinfo=None), T0, "the start .* has no time zone"),
            ("SPY", "1Min", T0, T0.replace(tzinfo=None), "the end .* has no time zone"),
            ("SPY", "1Min", T0, T0 - MINUTE, "the end 2024-03-08T14:29:00Z is before the start"),
        ],
    )
    async def test_a_question_that_makes_no_sense(
        self,
        massive: Massive,
        provider: PolygonProvider,
        symbol: str,
        timeframe: str,
        start: datetime,
        end: datetime,
        words: str,
    ) -> None:
        """Which argument, and what was expected."""
        with pytest.raises(ConfigurationError, match=words):
            await provider.get_bars(symbol, timeframe, start, end)
        assert massive.requests == []

    async def test_every_timeframe_can_be_asked_for(self, massive: Massive, provider: PolygonProvider) -> None:
        """The table holds no name that the request cannot be made of."""
        for timeframe in TIMEFRAMES:
            assert await provider.get_bars("SPY", timeframe, T0, T0 + MINUTE) == []


async def test_the_key_is_never_shown(
    massive: Massive, provider: PolygonProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a log at any level, a repr, a URL or an error, even where the server echoes it."""
    massive.script = [
        Answer(429, {"status": "ERROR", "error": f"slow down, {KEY}"}),
        Answer(403, {"status": "NOT_AUTHORIZED", "message": f"{KEY} may not"}),
    ]
    with caplog.at_level(logging.DEBUG), capture_logs() as logs, pytest.raises(BrokerRefusedError) as raised:
        await provider.get_bars("SPY", "1Min", T0, T0 + MINUTE)

    shown = [str(raised.value), repr(raised.value), repr(provider), str(logs)]
    shown += [str(request.path) + str(request.query) for request in massive.requests]
    shown += [record.getMessage() for record in caplog.records]
    assert len(logs) == 1
    assert "***" in str(raised.value)
    assert KEY not in "".join(shown)
