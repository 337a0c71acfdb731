"""Massive's stream against a real server: the same interface as Alpaca's, and the same promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.model import Bar, Quote, Trade
from holdfast.model.errors import BrokerAuthError, BrokerError, BrokerRefusedError, ConfigurationError
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_MS, NS_PER_SECOND
from holdfast.realtime import MassiveStream, StreamTimeouts
from holdfast.realtime.massive import STATUSES

Peer = Any
MakeVenue = Callable[..., Awaitable[Any]]
MakeInbox = Callable[[], Any]
Keep = Callable[[Any], Any]
Row = dict[str, Any]

T0 = 1_704_205_800_000  # 2024-01-02T14:30:00Z, in ms
CONNECTED = [{"ev": "status", "status": "connected", "message": "Connected Successfully"}]
ADMITTED = [{"ev": "status", "status": "auth_success", "message": "authenticated"}]


def bar_row(symbol: str = "SPY", minute: int = 0, **changes: Any) -> Row:
    """A minute as Massive sends it."""
    start = T0 + minute * 60_000
    row = {
        "ev": "AM",
        "sym": symbol,
        "v": 5,
        "av": 50,
        "op": 1,
        "vw": 2,
        "o": 1,
        "c": 2,
        "h": 3,
        "l": 1,
        "a": 2,
        "z": 5,
    }
    return {**row, "s": start, "e": start + 60_000, **changes}


def confirmation(channel: str) -> Row:
    """The word on one channel."""
    return {"ev": "status", "status": "success", "message": f"subscribed to: {channel}"}


async def admit(peer: Peer) -> list[Row]:
    """The opening as it is documented; what was asked."""
    await peer.say(CONNECTED, text=True)
    asked = [await peer.hear()]
    await peer.say(ADMITTED, text=True)
    asked.append(await peer.hear())
    for channel in asked[1]["params"].split(","):
        await peer.say([confirmation(channel)], text=True)
    return asked


@pytest.fixture
def follow(keep: Keep, sleeper: Any, limits: StreamTimeouts) -> Callable[..., MassiveStream]:
    """Makes streams whose back-off the test controls."""

    def make(url: str, on_bar: Any, symbols: tuple[str, ...] = ("SPY",), **options: Any) -> MassiveStream:
        stream = MassiveStream("pk", symbols, on_bar, url=url, **{"sleep": sleeper, "timeouts": limits, **options})
        keep(stream)
        return stream

    return make


Follow = Callable[..., MassiveStream]


async def test_the_opening_is_what_massive_expects(venue: MakeVenue, follow: Follow, inbox: MakeInbox) -> None:
    """The key, then every channel; connected only once each is confirmed, also in one frame."""
    heard: list[Any] = []

    async def script(peer: Peer) -> None:
        await peer.say(CONNECTED, text=True)
        heard.append(await peer.hear())
        await peer.say(ADMITTED, text=True)
        heard.append(await peer.hear())
        await peer.say([confirmation("AM.SPY")], text=True)
        heard.append(stream.is_connected())
        await peer.say(
            [confirmation(f"{kind}.{name}") for kind in ("AM", "Q", "T") for name in ("SPY", "QQQ")], text=True
        )
        await peer.stay()

    stream = follow((await venue(script)).url, inbox(), ("SPY", "QQQ", "SPY"), on_quote=inbox(), on_trade=inbox())
    await stream.start()

    assert heard == [
        {"action": "auth", "params": "pk"},
        {"action": "subscribe", "params": "AM.SPY,AM.QQQ,Q.SPY,Q.QQQ,T.SPY,T.QQQ"},
        False,
    ]
    assert stream.is_connected()


async def test_data_arrive_as_values_of_the_model(venue: MakeVenue, follow: Follow, inbox: MakeInbox) -> None:
    """Bars with their end, quotes and trades with their time; marks as the tape writes them; strangers are counted."""
    trade = {"ev": "T", "sym": "SPY", "x": 4, "i": "12", "z": 3, "p": 114.125, "s": 100, "c": [12, 37], "t": T0, "q": 3}
    quote = {"ev": "Q", "sym": "SPY", "bx": 4, "bp": 114.1, "bs": 1, "ax": 7, "ap": 114.2, "as": 2, "c": 0, "t": T0 + 1}

    async def script(peer: Peer) -> None:
        await admit(peer)
        await peer.say([bar_row(), trade, quote, {"ev": "LULD", "sym": "SPY"}, bar_row(minute=2)], text=True)
        await peer.stay()

    bars, quotes, trades = inbox(), inbox(), inbox()
    stream = follow((await venue(script)).url, bars, on_quote=quotes, on_trade=trades)
    await stream.start()

    ends = [T0 * NS_PER_MS + (n + 1) * NS_PER_MINUTE for n in (0, 2)]
    assert [await bars.next() for _ in range(2)] == [Bar(end, "SPY", 1.0, 3.0, 1.0, 2.0, 5.0) for end in ends]
    assert await quotes.next() == Quote((T0 + 1) * NS_PER_MS, "SPY", 114.1, 114.2, 1.0, 2.0)
    assert await trades.next() == Trade(T0 * NS_PER_MS, "SPY", 114.125, 100.0, "12", "TI", "4", "C")
    stats = stream.get_stats()
    assert (stats["bars"], stats["gaps"], stats["trades"], stats["unheard_of"]) == (2, 1, 1, 1)
    assert (stream.received, stream.last_bar[0], stream.symbols) == (2, ends[1], ("SPY",))


async def test_bars_that_share_a_frame_with_the_confirmation_are_kept(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox
) -> None:
    """Nothing between the subscription and its confirmation is lost."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.say(ADMITTED)
        await peer.hear()
        await peer.say([bar_row(), confirmation("A.SPY")])
        await peer.say([bar_row(ev="A", s=T0, e=T0 + 1_000)])
        await peer.stay()

    bars = inbox()
    stream = follow((await venue(script)).url, bars, period=NS_PER_SECOND)
    await stream.start()
    assert (await bars.next()).ts == T0 * NS_PER_MS + NS_PER_SECOND


@pytest.mark.parametrize(
    "spoiled",
    [bar_row(o="x"), bar_row(l=0), bar_row(h=0.5), bar_row(sym=""), {"ev": "AM"}, bar_row(s=None), 7, {"no": "type"}],
)
async def test_what_cannot_be_read_is_told_and_takes_nothing_with_it(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox, spoiled: Any
) -> None:
    """Its neighbours in the frame arrive."""

    async def script(peer: Peer) -> None:
        await admit(peer)
        await peer.say([bar_row(), spoiled, bar_row(minute=1)])
        await peer.stay()

    bars, malformed = inbox(), inbox()
    stream = follow((await venue(script)).url, bars)
    stream.on_malformed(malformed)
    await stream.start()

    assert [(await bars.next()).ts for _ in range(2)] == [T0 * NS_PER_MS + n * NS_PER_MINUTE for n in (1, 2)]
    assert (await malformed.next())[1] == spoiled
    assert stream.is_connected()


@pytest.mark.parametrize(
    ("status", "error"), [("auth_failed", BrokerAuthError), ("not_authorized", BrokerRefusedError)]
)
async def test_a_definite_no_is_an_error_of_start(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox, status: str, error: type[BrokerError]
) -> None:
    """It is for the operator; the key is not shown."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.say([{"ev": "status", "status": status, "message": "no"}])
        await peer.stay()

    stream = follow((await venue(script)).url, inbox())
    with pytest.raises(error, match=f"{status} no") as raised:
        await stream.start()
    assert "pk" not in str(raised.value)
    assert STATUSES[status].error is error


async def test_one_connection_at_a_time_and_a_longer_wait_each_time(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox, sleeper: Any
) -> None:
    """Where another program holds the one connection, we come again; never with two."""

    async def script(peer: Peer) -> None:
        if peer.number < 3:
            await peer.hear()
            await peer.say([{"ev": "status", "status": "max_connections", "message": "one too many"}])
            return
        await admit(peer)
        await peer.stay()

    running = await venue(script)
    stream = follow(running.url, inbox())
    await stream.start()
    for _ in range(2):
        await sleeper.waits.get()
        sleeper.release()
    await stream.wait_connected()

    assert (running.connections, running.open_max) == (3, 1)


@pytest.mark.parametrize(
    ("symbols", "options", "words"),
    [
        ((), {}, "needs at least one symbol"),
        (("BTC/USD",), {}, "no pairs of coins; got BTC/USD"),
        (("SPY",), {"period": 5 * NS_PER_MINUTE}, "bars of a minute or a second, not of 300 s"),
        (("SPY",), {"url": "https://x"}, "polygon.stream_url"),
    ],
)
def test_what_makes_no_sense_is_told_at_once(symbols: tuple[str, ...], options: Row, words: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigurationError, match=words):
        MassiveStream("pk", symbols, lambda _: None, **options)
