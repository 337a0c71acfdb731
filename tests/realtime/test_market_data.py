"""The market data stream against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.model import Bar, Quote
from holdfast.model.errors import BrokerAuthError, BrokerError, BrokerRefusedError, ConfigurationError
from holdfast.model.market import Trade
from holdfast.model.timestamps import NS_PER_MINUTE, parse_rfc3339
from holdfast.realtime import MarketDataStream, StreamState, StreamTimeouts
from holdfast.realtime.market_data import DATA_ERRORS
from holdfast.realtime.subscribers import POLICIES

Peer = Any
MakeVenue = Callable[..., Awaitable[Any]]
MakeInbox = Callable[[], Any]
Keep = Callable[[Any], Any]
Row = dict[str, Any]

GREETING = [{"T": "success", "msg": "connected"}]
AUTHENTICATED = [{"T": "success", "msg": "authenticated"}]


def bar_row(symbol: str = "AAPL", minute: int = 30, **changes: Any) -> Row:
    """A bar as the venue sends it."""
    at = f"2024-01-02T14:{minute}:00Z"
    return {"T": "b", "S": symbol, "t": at, "o": 1, "h": 3, "l": 1, "c": 2, "v": 5, **changes}


def subscribed(**channels: list[str]) -> list[Row]:
    """The venue's word on the subscription."""
    return [{"T": "subscription", "trades": [], "quotes": [], "bars": [], **channels}]


@pytest.fixture
def follow(keep: Keep, sleeper: Any, limits: StreamTimeouts) -> Callable[..., MarketDataStream]:
    """Makes streams whose back-off the test controls."""

    def make(url: str, on_bar: Any, symbols: tuple[str, ...] = ("AAPL",), **options: Any) -> MarketDataStream:
        options = {"sleep": sleeper, "timeouts": limits, **options}
        stream = MarketDataStream("AK", "hush", url, symbols, on_bar, **options)
        keep(stream)
        return stream

    return make


Follow = Callable[..., MarketDataStream]


async def test_the_opening_is_what_alpaca_expects(venue: MakeVenue, follow: Follow, inbox: MakeInbox) -> None:
    """Greeting, keys, subscription; connected only once the subscription is confirmed."""
    heard: list[Any] = []

    async def script(peer: Peer) -> None:
        await peer.say(GREETING)
        heard.append(await peer.hear())
        await peer.say(AUTHENTICATED)
        heard.append(await peer.hear())
        heard.append(stream.is_connected())
        await peer.say(subscribed(bars=["AAPL", "MSFT"], quotes=["AAPL", "MSFT"]))
        await peer.stay()

    stream = follow((await venue(script)).url, inbox(), ("AAPL", "MSFT", "AAPL"), on_quote=inbox())
    await stream.start()

    assert heard == [
        {"action": "auth", "key": "AK", "secret": "hush"},
        {"action": "subscribe", "bars": ["AAPL", "MSFT"], "quotes": ["AAPL", "MSFT"]},
        False,
    ]
    assert stream.is_connected()


async def test_bars_arrive_with_their_end_and_quotes_with_their_time(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox
) -> None:
    """As values of the model; several in one frame, text or binary; other kinds of data are passed over."""
    quote = {"T": "q", "S": "AAPL", "t": "2024-01-02T14:30:00.5Z", "bp": 1.5, "bs": 2, "ap": 1.6, "as": 3}

    async def script(peer: Peer) -> None:
        await peer.admit_data()
        await peer.say([bar_row(minute=30), {"T": "t", "S": "AAPL"}, bar_row(minute=31), quote], text=True)
        await peer.say([bar_row("BTC/USD", minute=32), {"T": "u"}, {"T": "a new kind"}])
        await peer.stay()

    bars, quotes = inbox(), inbox()
    stream = follow((await venue(script)).url, bars, ("AAPL", "BTC/USD"), on_quote=quotes)
    await stream.start()

    start = parse_rfc3339("2024-01-02T14:30:00Z")
    expected = [
        Bar(start + (n + 1) * NS_PER_MINUTE, symbol, 1.0, 3.0, 1.0, 2.0, 5.0)
        for n, symbol in enumerate(("AAPL", "AAPL", "BTC/USD"))
    ]
    assert [await bars.next() for _ in range(3)] == expected
    assert await quotes.next() == Quote(start + 500_000_000, "AAPL", 1.5, 1.6, 2.0, 3.0)
    assert (stream.received, stream.get_stats()["malformed"]) == (3, 0)


async def test_bars_that_share_a_frame_with_the_confirmation_are_kept(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox
) -> None:
    """They are told after on_connected."""

    async def script(peer: Peer) -> None:
        await peer.say(GREETING)
        await peer.hear()
        await peer.say(AUTHENTICATED)
        await peer.hear()
        await peer.say([*subscribed(bars=["AAPL"]), bar_row(minute=30)])
        await peer.say([bar_row(minute=31)])
        await peer.stay()

    log = inbox()
    stream = follow((await venue(script)).url, lambda bar: log(bar.ts))
    stream.on_connected(lambda: log("connected"))
    await stream.start()

    first = parse_rfc3339("2024-01-02T14:31:00Z")
    assert [await log.next() for _ in range(3)] == ["connected", first, first + NS_PER_MINUTE]
    assert stream.received == 2


@pytest.mark.parametrize("code", sorted(DATA_ERRORS))
@pytest.mark.parametrize("step", ["greeting", "keys", "subscription"])
async def test_every_error_code_is_told_clearly_at_every_step(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox, sleeper: Any, code: int, step: str
) -> None:
    """A refusal is an error of start; what may pass is tried again."""
    known = DATA_ERRORS[code]

    async def script(peer: Peer) -> None:
        error = [{"T": "error", "code": code, "msg": "as the venue puts it"}]
        if step == "greeting":
            await peer.say(error)
            return
        await peer.say(GREETING)
        await peer.hear()
        if step == "keys":
            await peer.say(error)
            return
        await peer.say(AUTHENTICATED)
        await peer.hear()
        await peer.say(error)

    stream = follow((await venue(script)).url, inbox())
    if issubclass(known.error, BrokerRefusedError):
        with pytest.raises(known.error) as caught:
            await stream.start()
        assert caught.value.code == code
        assert stream.state is StreamState.STOPPED
    else:
        await stream.start()
        await sleeper.waits.get()
        assert not stream.is_connected()
    told = stream.get_stats()["last_error"]
    assert known.sentence in told
    assert f"({code} as the venue puts it)" in told


def test_the_codes_that_matter_say_what_to_do() -> None:
    """Keys and plans are for the operator; a full house passes."""
    verdicts = {code: DATA_ERRORS[code].error for code in (402, 405, 406, 409)}

    assert verdicts == {402: BrokerAuthError, 405: BrokerRefusedError, 406: BrokerError, 409: BrokerRefusedError}


async def test_a_subscription_that_grants_less_is_refused(venue: MakeVenue, follow: Follow, inbox: MakeInbox) -> None:
    """An open stream without our symbol is as silent as a quiet market."""

    async def script(peer: Peer) -> None:
        await peer.say(GREETING)
        await peer.hear()
        await peer.say(AUTHENTICATED)
        await peer.hear()
        await peer.say(subscribed(bars=["AAPL"]))
        await peer.stay()

    stream = follow((await venue(script)).url, inbox(), ("AAPL", "MSFT", "TSLA"))
    with pytest.raises(BrokerRefusedError, match="did not subscribe us to the bars of MSFT, TSLA"):
        await stream.start()


async def test_a_subscription_to_everything_grants_everything(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox
) -> None:
    """The asterisk."""

    async def script(peer: Peer) -> None:
        await peer.say(GREETING)
        await peer.hear()
        await peer.say(AUTHENTICATED)
        await peer.hear()
        await peer.say(subscribed(bars=["*"]))
        await peer.stay()

    stream = follow((await venue(script)).url, inbox())
    await stream.start()
    assert stream.is_connected()


@pytest.mark.parametrize(
    "items",
    [
        [bar_row(l="x")],
        [bar_row(S=None)],
        [{"T": "b"}],
        [7],
        [{"no": "type"}],
        {"T": "b"},
        "hello",
    ],
)
async def test_malformed_data_is_reported_and_takes_no_neighbour_with_it(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox, items: Any
) -> None:
    """One bad bar in a frame, or one bad frame, and the rest goes on."""

    async def script(peer: Peer) -> None:
        await peer.admit_data()
        if isinstance(items, list):
            await peer.say([*items, bar_row()])
        else:
            await peer.say(items)
            await peer.say([bar_row()])
        await peer.stay()

    bars, malformed = inbox(), inbox()
    stream = follow((await venue(script)).url, bars)
    stream.on_malformed(malformed)
    await stream.start()

    assert (await bars.next()).close == 2.0
    reason, _ = await malformed.next()
    assert "the venue sent" in reason
    assert stream.get_stats()["malformed"] == 1


@pytest.mark.parametrize(
    "ending",
    [
        [{"T": "error", "code": 407, "msg": "slow client"}],
        [{"T": "error", "code": 406, "msg": "connection limit exceeded"}],
        [{"T": "error", "code": "odd", "msg": None}],
        subscribed(bars=[]),
        None,
    ],
)
async def test_a_stream_that_ends_comes_back_and_subscribes_again(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox, sleeper: Any, ending: Any
) -> None:
    """Whatever ended it: an error, a subscription taken away, a cut. The count begins again."""

    async def script(peer: Peer) -> None:
        await peer.admit_data()
        await peer.say([bar_row(minute=30 + peer.number)])
        if peer.number == 1:
            if ending is None:
                await peer.cut()
            else:
                await peer.say(ending)
        await peer.stay()

    bars, lost = inbox(), inbox()
    server = await venue(script)
    stream = follow(server.url, bars)
    stream.on_disconnected(lost)
    await stream.start()
    await sleeper.waits.get()
    assert not stream.is_connected()
    assert await lost.next()
    sleeper.release()
    await stream.wait_connected()

    assert [(await bars.next()).ts for _ in range(2)] == [
        parse_rfc3339("2024-01-02T14:32:00Z"),
        parse_rfc3339("2024-01-02T14:33:00Z"),
    ]
    assert (stream.received, server.open_max) == (1, 1)


@pytest.mark.parametrize("handler", ["plain", "coroutine"])
async def test_a_raising_bar_handler_stops_nothing(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox, handler: str
) -> None:
    """Every bar is still told."""

    async def script(peer: Peer) -> None:
        await peer.admit_data()
        for minute in range(30, 35):
            await peer.say([bar_row(minute=minute)])
        await peer.stay()

    seen = inbox()

    def plain(bar: Bar) -> None:
        seen(bar)
        raise KeyError

    async def coroutine(bar: Bar) -> None:
        plain(bar)

    stream = follow((await venue(script)).url, plain if handler == "plain" else coroutine)
    await stream.start()
    for _ in range(5):
        await seen.next()
    await stream.stop()

    assert stream.get_stats()["handler_errors"] == 5


def test_a_stream_of_nothing_is_refused() -> None:
    """At least one symbol."""
    with pytest.raises(ConfigurationError, match="at least one symbol"):
        MarketDataStream("k", "s", "wss://x/v2/iex", [], print)


# ---------------------------------------------------------------------- late trades, corrections, gaps


def trade_row(**changes: Any) -> Row:
    """A trade as the venue sends it."""
    at = "2024-01-02T14:30:01.5Z"
    return {"T": "t", "S": "AAPL", "i": 7, "x": "V", "p": 1.5, "s": 3, "c": ["@", " "], "t": at, "z": "C", **changes}


CORRECTION = {
    "T": "c",
    "S": "AAPL",
    "x": "V",
    "oi": 7,
    "op": 1.5,
    "os": 3,
    "oc": ["@"],
    "ci": 9,
    "cp": 1.25,
    "cs": 2,
    "cc": ["@"],
    "t": "2024-01-02T14:30:02Z",
    "z": "C",
}
CANCEL = {"T": "x", "S": "AAPL", "i": 9, "x": "V", "p": 1.25, "s": 2, "a": "C", "t": "2024-01-02T14:30:03Z", "z": "C"}


async def test_what_changes_the_past_is_told_apart_from_what_is_new(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox
) -> None:
    """A revised bar never comes as a bar; a correction and a cancel are what builds bars from trades takes."""

    async def script(peer: Peer) -> None:
        await peer.admit_data()
        await peer.say([bar_row(minute=30), trade_row(), CORRECTION, CANCEL, bar_row(minute=30, T="u", c=2.5)])
        await peer.say([bar_row(minute=31)])
        await peer.stay()

    bars, revised, trades, corrections, cancels = (inbox() for _ in range(5))
    stream = follow(
        (await venue(script)).url,
        bars,
        on_revised=revised,
        on_trade=trades,
        on_correction=corrections,
        on_cancel=cancels,
    )
    await stream.start()
    assert [(await bars.next()).close for _ in range(2)] == [2.0, 2.0]

    start = parse_rfc3339("2024-01-02T14:30:00Z")
    assert await revised.next() == Bar(start + NS_PER_MINUTE, "AAPL", 1.0, 3.0, 1.0, 2.5, 5.0)
    assert await trades.next() == Trade(start + 1_500_000_000, "AAPL", 1.5, 3.0, "7", "@@", "V", "C")
    now = Trade(start + 2_000_000_000, "AAPL", 1.25, 2.0, "9", "@", "V", "C")
    assert await corrections.next() == ("AAPL", "V", "7", now)
    assert await cancels.next() == ("AAPL", "V", "9")
    stats = stream.get_stats()
    assert {name: stats[name] for name in ("bars", "trades", "corrections", "cancels", "revisions", "malformed")} == {
        "bars": 2,
        "trades": 1,
        "corrections": 1,
        "cancels": 1,
        "revisions": 1,
        "malformed": 0,
    }


async def test_gaps_repeats_and_bars_out_of_order_are_counted_and_delivered(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox
) -> None:
    """Each symbol by itself; what to do about them is for whoever takes the bars."""
    minutes = [30, 31, 34, 34, 33, 35]

    async def script(peer: Peer) -> None:
        await peer.admit_data()
        await peer.say([bar_row(minute=minute) for minute in minutes] + [bar_row("MSFT", minute=50)])
        await peer.stay()

    bars = inbox()
    stream = follow((await venue(script)).url, bars, ("AAPL", "MSFT"))
    await stream.start()
    for _ in range(7):
        await bars.next()

    stats = stream.get_stats()
    assert [stats[name] for name in ("bars", "gaps", "repeated", "out_of_order")] == [7, 1, 1, 1]


@pytest.mark.parametrize("changes", [{"p": None}, {"p": "NaN"}, {"s": -1}, {"t": "now"}, {"c": 7}, {"S": ""}])
async def test_a_trade_that_cannot_be_read_is_malformed_and_reading_goes_on(
    venue: MakeVenue, follow: Follow, inbox: MakeInbox, changes: Row
) -> None:
    """Its neighbours are used."""

    async def script(peer: Peer) -> None:
        await peer.admit_data()
        await peer.say([trade_row(**changes), {**CORRECTION, "cp": None}, {"T": "x", "S": "AAPL"}, trade_row(i=8)])
        await peer.stay()

    trades = inbox()
    stream = follow(
        (await venue(script)).url,
        inbox(),
        on_trade=trades,
        on_correction=inbox(),
        on_cancel=inbox(),
    )
    await stream.start()

    assert (await trades.next()).id == "8"
    assert stream.get_stats()["malformed"] == 3


async def test_a_bar_handler_that_falls_behind_for_good_loses_its_oldest_and_the_gap_is_fetched(
    venue: MakeVenue, follow: Follow, sleeper: Any
) -> None:
    """A dropped bar is counted, and the connection is made anew, because a new one is followed by a look at the gap."""
    most = POLICIES["bar"].most
    assert most is not None
    gate = asyncio.Event()

    async def on_bar(_: Bar) -> None:
        await gate.wait()

    async def script(peer: Peer) -> None:
        await peer.admit_data()
        await peer.say([bar_row(minute=30)] * (most + 2))
        await peer.stay()

    server = await venue(script)
    stream = follow(server.url, on_bar)
    await stream.start()
    await sleeper.waits.get()

    assert (stream.get_stats()["dropped"], stream.get_stats()["restarts"]) == (2, 1)
    assert server.open_max == 1
    gate.set()
