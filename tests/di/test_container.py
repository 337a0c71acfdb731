"""The container: built from the guide's dictionary, with the guide's names, and refusing what is not confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.brokers import AlpacaConnector
from holdfast.di import Container
from holdfast.di.report import snapshot
from holdfast.di.venue_link import discover_venue
from holdfast.journal import MemoryJournal, SqliteJournal
from holdfast.market import SecurityCache
from holdfast.model.errors import ConfigurationError, JournalOwnedError, VenueError
from holdfast.net import Throttler
from holdfast.notify import Notifier
from holdfast.realtime import UserStreamTracker
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import ProtectionManager
from holdfast.state import PositionStore
from holdfast.state.order_tracker import OrderTracker
from holdfast.strategies import VwapMeanReversion
from holdfast.time import BacktestClock, Clock, RealTimeClock

SECRET = "PKhunter2hunter2"
GUIDE: dict[str, Any] = {"alpaca": {"api_key": SECRET, "api_secret": SECRET}, "account": {"mode": "paper"}}

MakeContainer = Callable[..., Container]


@pytest.fixture
async def make() -> AsyncIterator[MakeContainer]:
    """Makes containers from the guide's dictionary and more; lets go of all of them in the end."""
    made: list[Container] = []

    def build(more: dict[str, Any] | None = None, **parts: Any) -> Container:
        container = Container({**GUIDE, **(more or {})}, **parts)
        made.append(container)
        return container

    yield build
    for container in made:
        await container.stop()


async def test_the_guides_names_are_there(make: MakeContainer) -> None:
    """Each part is what the guide calls it, and they are wired to each other."""
    container = make()

    parts: dict[str, type[Any]] = {
        "clock": Clock,
        "throttler": Throttler,
        "order_tracker": OrderTracker,
        "protections": ProtectionManager,
        "risk_gate": PreTradeRiskGate,
        "position_store": PositionStore,
        "user_stream": UserStreamTracker,
        "security_cache": SecurityCache,
        "broker": AlpacaConnector,
        "notifier": Notifier,
        "discord": Notifier,
    }
    assert {name: isinstance(getattr(container, name), kind) for name, kind in parts.items()} == dict.fromkeys(
        parts, True
    )
    assert container.discord is container.notifier
    assert container.risk_gate.view is container.kernel.portfolio
    assert container.order_tracker is container.kernel.portfolio.tracker
    assert container.venue_name == "Alpaca paper"
    assert not container.is_lockstep


async def test_what_it_tells_bears_the_time_of_its_clock(make: MakeContainer) -> None:
    """In a replayed session an alert stands beside the orders that it is about."""
    began = datetime(2022, 1, 24, 15, 0, tzinfo=UTC)
    container = make(clock=BacktestClock(began))
    await container.notifier.send_alert("a title", "details")

    assert [alert["at"] for alert in snapshot(container)["alerts_recent"]] == [began]


async def test_a_container_that_was_never_started_stops_quietly(make: MakeContainer) -> None:
    """And tells what it is not doing."""
    container = make()

    well, reasons = container.health()
    await container.stop()

    assert not well
    assert "the user stream is not connected" in reasons


async def test_strategies_come_from_the_configuration_or_from_the_caller(make: MakeContainer) -> None:
    """Without symbols nothing trades by itself."""
    mine = VwapMeanReversion(["QQQ"])

    assert make().strategies == ()
    (configured,) = make({"strategy": {"symbols": ["SPY"], "params": {"deviations": 3}}}).strategies
    assert isinstance(configured, VwapMeanReversion)
    assert (configured.symbols, configured.deviations) == (("SPY",), 3.0)
    assert make(strategies=[mine]).strategies == (mine,)


async def test_the_clock_can_be_given(make: MakeContainer) -> None:
    """Default is real time."""
    clock = BacktestClock(0)

    assert isinstance(make().clock, RealTimeClock)
    assert make(clock=clock).clock is clock
    set_by_hand = make({"clock": {"mode": "backtest", "start": "2024-01-02"}}).clock
    assert isinstance(set_by_hand, BacktestClock)
    assert str(set_by_hand.now()) == "2024-01-02 00:00:00+00:00"


async def test_the_journal_is_a_file_where_one_is_named(make: MakeContainer, tmp_path: Path) -> None:
    """Else memory; and one file has one owner at a time."""
    assert isinstance(make()._journal, MemoryJournal)
    path = tmp_path / "bot.journal"
    container = make({"journal": {"path": path}})
    assert isinstance(container._journal, SqliteJournal)

    with pytest.raises(JournalOwnedError, match="pid"):
        Container({**GUIDE, "journal": {"path": path}})

    await container.stop()
    await Container({**GUIDE, "journal": {"path": path}}).stop()


##### Refusals


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"alpaca": {"api_secret": "s"}}, r"alpaca\.api_key is not set: expected .*APCA_API_KEY_ID"),
        ({"alpaca": {"api_key": "k"}}, r"alpaca\.api_secret is not set: expected .*APCA_API_SECRET_KEY"),
        ({"alpaca": {"api_key": "", "api_secret": "s"}}, r"alpaca\.api_key is not set"),
        ({"alpaca": {**GUIDE["alpaca"], "base_url": "no url"}}, r"alpaca\.base_url .*expected a URL like"),
        ({"protections": {"max_drawdwn": True}}, "max_drawdwn"),
        ({"protections": {"max_drawdown": {"max_drawdwn": 1}}}, "protection max_drawdown: .*max_drawdwn"),
        ({"limits": {"alpaca_trading": {"limit": 0}}}, r"limits\.alpaca_trading"),
        ({"risk": {"modes": {"price_colar": "off"}}}, "price_colar"),
        ({"strategy": {"symbols": ["SPY"], "source": "nowhere:Mine"}}, "nowhere"),
        ({"strategy": {"symbols": ["SPY"], "params": {"deviations": 0}}}, "deviations"),
        ({"notify": {"trading": ["no url"]}}, "trading"),
        ({"clock": {"mode": "backtest"}}, r"clock\.start is None; expected"),
        ({"clock": {"mode": "scaled", "start": "today"}}, r"clock\.start is 'today'; expected"),
        ({"whatever": 1}, "whatever: no such setting"),
    ],
)
def test_a_bad_setting_is_one_sentence_and_starts_nothing(more: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    """The sentence names the setting and never a secret; no journal was made or owned."""
    path = tmp_path / "bot.journal"

    with pytest.raises(ConfigurationError, match=complaint) as caught:
        Container({**GUIDE, "journal": {"path": path}, **more})

    assert SECRET not in str(caught.value)
    assert not path.exists()


def test_live_is_refused_without_its_confirmation() -> None:
    """The mode alone is not enough."""
    with pytest.raises(ConfigurationError, match=r"account\.live_confirmed is not true: expected both"):
        Container({**GUIDE, "account": {"mode": "live"}})


@pytest.mark.parametrize(
    "address", ["https://api.alpaca.markets", "https://api.alpaca.markets/v2", "https://API.alpaca.markets"]
)
@pytest.mark.parametrize("account", [{}, {"mode": "paper"}, {"live_confirmed": True}, {"mode": "live"}])
def test_the_address_of_the_real_market_needs_mode_and_confirmation_too(address: str, account: dict[str, Any]) -> None:
    """Else a variable left in the environment would trade real money in a paper run."""
    with pytest.raises(ConfigurationError, match="expected"):
        Container({"alpaca": {**GUIDE["alpaca"], "base_url": address}, "account": account})


async def test_live_confirmed_is_live(make: MakeContainer, tmp_path: Path) -> None:
    """With both words, and a journal to remember by, it is built and says so."""
    journal = {"path": tmp_path / "live.journal"}
    live = make({"account": {"mode": "live", "live_confirmed": True}, "journal": journal})
    assert live.venue_name == "Alpaca live"


async def test_live_without_a_journal_is_refused(make: MakeContainer) -> None:
    """Real money needs a memory that survives a crash."""
    with pytest.raises(ConfigurationError, match=r"journal\.path is not set"):
        make({"account": {"mode": "live", "live_confirmed": True}})


##### Is it our venue?


async def serve(answer: bytes) -> tuple[asyncio.Server, str]:
    """A server that gives one answer to everything."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(body: str, status: str = "200 OK") -> bytes:
    """An HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@pytest.mark.parametrize("url", [None, "https://paper-api.alpaca.markets", "https://example.com"])
async def test_other_machines_are_not_asked(url: str | None) -> None:
    """A built-in venue is on this machine; nobody else is bothered."""
    assert await discover_venue(url) is None


async def test_our_venue_says_who_it_is() -> None:
    """With its admin port, its speed and its time."""
    body = '{"name":"holdfast-venue","version":"1","admin":"http://127.0.0.1:2","speed":"max","now_ns":7,"symbols":["SPY"]}'
    server, url = await serve(http(body))
    async with server:
        venue = await discover_venue(url)

    assert venue is not None
    assert (venue.admin, venue.is_lockstep, venue.now_ns, venue.symbols) == ("http://127.0.0.1:2", True, 7, ("SPY",))


@pytest.mark.parametrize(
    "answer",
    [
        http("<html>hello</html>"),
        http("{}"),
        http('{"name":"somebody else","admin":"","speed":1,"now_ns":0}'),
        http('{"code":40410000,"message":"endpoint not found"}', "404 Not Found"),
    ],
)
async def test_anything_else_on_this_machine_is_not_our_venue(answer: bytes) -> None:
    """A proxy to Alpaca, say: it is traded with as Alpaca."""
    server, url = await serve(answer)
    async with server:
        assert await discover_venue(url) is None


async def test_nobody_there_is_one_sentence() -> None:
    """With the address."""
    server, url = await serve(b"")
    server.close()
    await server.wait_closed()

    with pytest.raises(VenueError, match=f"no venue answers at {url}: "):
        await discover_venue(url)
    with pytest.raises(VenueError, match="no venue answers"):
        await Container.connect({**GUIDE, "alpaca": {**GUIDE["alpaca"], "base_url": url}})


async def test_a_server_that_speaks_no_http_is_one_sentence() -> None:
    """Whatever it says."""
    server, url = await serve(b"SSH-2.0-OpenSSH\r\n")
    async with server:
        with pytest.raises(VenueError, match=f"no venue answers at {url}: "):
            await discover_venue(url)
