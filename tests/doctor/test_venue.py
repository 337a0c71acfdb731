"""What is on the other side of the wire: against a real venue where it can be so, else against one that says what we want."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta

import pytest
from websockets.asyncio.client import connect

from holdfast.doctor import Situation, State, Thresholds, examine
from holdfast.doctor.venue import DATA_REMEDIES
from holdfast.model.timestamps import parse_rfc3339
from holdfast.realtime.market_data import DATA_ERRORS
from holdfast.time import BacktestClock
from tests.doctor.conftest import KEY, SECRET, Look
from tests.doctor.stub import ACCOUNT, CLOCK, Stub
from tests.e2e.helpers import Commands

SPY = {"symbols": ["SPY"]}
AT = parse_rfc3339(str(CLOCK["timestamp"]))


async def test_every_check_of_the_venue_passes_at_a_built_in_one(commands: Commands) -> None:
    """All of them, and nothing of it stays there; a second key for the same account is refused."""
    url = commands.venue("--synthetic", "SPY").url
    addresses = {"base_url": url, "data_url": url, "market_stream_url": url.replace("http", "ws", 1)}
    keys = {"api_key": KEY, "api_secret": SECRET}
    values = {"alpaca": {**keys, **addresses}, "strategy": SPY}

    states = {found.name: found.state async for found in examine(Situation(None, values))}
    wrong = {"alpaca": {**keys, **addresses, "api_secret": SECRET[::-1]}}
    refused = [found async for found in examine(Situation(None, wrong)) if found.name == "trading API"]

    assert {name: state for name, state in states.items() if state is not State.OK} == {"alerts": State.WARNING}
    assert refused[0].state is State.FAILED
    assert "401" in refused[0].said
    assert "APCA_API_KEY_ID" in refused[0].remedy


async def test_a_venue_whose_time_waits_for_a_listener_is_left_waiting(commands: Commands) -> None:
    """Looking changes nothing: the stream is not opened, and the time does not begin to run."""
    running = commands.venue("--synthetic", "SPY", "--speed", "60")
    environment = {"HOLDFAST_STRATEGY__SYMBOLS": '["SPY"]'}

    said = commands.run("doctor", "--venue", running.url, "--json", env=environment).json

    found = {finding["name"]: finding for finding in said["findings"]}
    assert found["trade stream"]["state"] == "not checked"
    assert said["failed"] == 0
    assert "a replayed venue has a time of its own" in found["clock"]["said"]


async def test_a_second_connection_is_told(commands: Commands) -> None:
    """The venue allows one of each: whoever has it is to be ended, or waited for."""
    url = commands.venue("--synthetic", "SPY").url
    sockets = url.replace("http", "ws", 1)
    values = {
        "alpaca": {
            "api_key": KEY,
            "api_secret": SECRET,
            "base_url": url,
            "data_url": url,
            "market_stream_url": sockets,
        },
        "strategy": SPY,
    }
    async with connect(sockets + "/stream") as trades, connect(sockets + "/v2/iex") as data:
        await trades.send(f'{{"action": "auth", "key": "{KEY}", "secret": "{SECRET}"}}')
        assert b"authorized" in bytes(await trades.recv(decode=False))
        await data.recv()
        await data.send(f'{{"action": "auth", "key": "{KEY}", "secret": "{SECRET}"}}')
        assert "authenticated" in str(await data.recv())

        found = {finding.name: finding async for finding in examine(Situation(None, values))}

    for name in ("trade stream", "data streams"):
        assert found[name].state is State.FAILED, found[name]
        assert "limit" in found[name].said or "another connection" in found[name].said
        assert "end the other program" in found[name].remedy


async def test_nobody_at_the_address_is_told(look: Look) -> None:
    """A port that is closed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = await look("trading API", f"http://127.0.0.1:{closed.getsockname()[1]}")

    assert found.state is State.FAILED
    assert "could not be reached" in found.said


async def test_a_venue_that_never_answers_is_given_up(look: Look) -> None:
    """It accepts the connection, and says nothing: the look is bounded."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        async with asyncio.timeout(10):
            slow = await look("trading API", url, thresholds=Thresholds(answer=0.2))
            late = await look("trading API", url, thresholds=Thresholds(answer=60.0, check=0.2))

    assert "gave no answer" in slow.said
    assert "longer than" in late.said
    assert (slow.state, late.state) == (State.FAILED, State.FAILED)


@pytest.mark.parametrize(
    ("status", "body", "said", "remedy"),
    [
        (401, {"message": "unauthorized."}, "401", "APCA_API_KEY_ID"),
        (403, {"message": "forbidden."}, "403", "APCA_API_KEY_ID"),
        (429, {"code": 42910000, "message": "too many requests"}, "429", "wait a minute"),
        (503, b"<html>maintenance</html>", "not in the words of Alpaca", "status page"),
        (404, b"<html>who are you</html>", "not in the words of Alpaca", "proxy"),
        (200, b"<html>welcome to the hotel's network</html>", "not Alpaca's", "proxy"),
    ],
)
async def test_answers_that_are_no_account_are_told(
    look: Look, stub: Stub, status: int, body: object, said: str, remedy: str
) -> None:
    """Keys, limits, maintenance, and whoever stands between."""
    stub.answers["/v2/account"] = (status, body)

    found = await look("trading API", stub.url)

    assert found.state is State.FAILED
    assert said in found.said
    assert remedy in found.remedy


async def test_a_feed_that_was_not_paid_for_is_told(look: Look, stub: Stub) -> None:
    """Alpaca says so for recent data alone, which is what is asked for."""
    refusal = {"code": 42210000, "message": "subscription does not permit querying recent SIP data"}
    stub.answers["/v2/stocks/bars"] = (403, refusal)

    found = await look("data API", stub.url, strategy=SPY, alpaca={"feed": "sip"})

    assert found.state is State.FAILED
    assert 'alpaca.feed = "iex"' in found.remedy


@pytest.mark.parametrize(
    ("seconds", "state", "side"),
    [
        (0.0, State.OK, "agree"),
        (4.0, State.WARNING, "ahead of"),
        (-4.0, State.WARNING, "behind"),
        (60.0, State.FAILED, "ahead of"),
        (-60.0, State.FAILED, "behind"),
    ],
)
async def test_a_clock_that_is_wrong_is_told(look: Look, stub: Stub, seconds: float, state: State, side: str) -> None:
    """By how much, and on which side."""
    clock = BacktestClock(AT + int(seconds * 1e9))

    found = await look("clock", stub.url, clock=clock)

    assert found.state is state
    assert side in found.said
    assert state is State.OK or "time server" in found.remedy


async def test_a_date_will_do_where_there_is_no_clock(look: Look, stub: Stub) -> None:
    """To the half second; and a venue that tells no time at all is told."""
    stub.answers["/v2/clock"] = (200, {})
    stub.date = "Wed, 01 Jul 2026 14:00:00 GMT"
    late = BacktestClock(AT)
    late.advance(timedelta(seconds=90))

    assert (await look("clock", stub.url, clock=BacktestClock(AT))).state is State.OK
    assert (await look("clock", stub.url, clock=late)).state is State.FAILED
    stub.date = None
    timeless = await look("clock", stub.url, clock=late)
    assert (timeless.state, "tells no time" in timeless.said) == (State.FAILED, True)


@pytest.mark.parametrize(
    ("name", "change", "state", "said"),
    [
        ("account", {"status": "ACCOUNT_CLOSED"}, State.FAILED, "ACCOUNT_CLOSED"),
        ("account", {"trading_blocked": True}, State.FAILED, "trading_blocked"),
        ("account", {"trade_suspended_by_user": True}, State.FAILED, "trade_suspended_by_user"),
        ("account", {"account_number": "123456789"}, State.FAILED, "is live by its number"),
        ("permissions", {"crypto_status": "INACTIVE"}, State.FAILED, "BTC/USD would be traded"),
        ("permissions", {"shorting_enabled": False}, State.WARNING, "shorting_enabled"),
        ("permissions", {"equity": "1999.99"}, State.WARNING, "below 2000 USD"),
        ("permissions", {}, State.OK, "shorts are allowed, and coins are"),
        ("account", {}, State.OK, "ACTIVE, paper"),
    ],
)
async def test_an_account_that_may_not_is_told(
    look: Look, stub: Stub, name: str, change: dict[str, object], state: State, said: str
) -> None:
    """Blocks, the wrong account, coins, shorts."""
    stub.answers["/v2/account"] = (200, {**ACCOUNT, **change})

    found = await look(name, stub.url, strategy={"symbols": ["SPY", "BTC/USD"]})

    assert found.state is state
    assert said in found.said


async def test_a_symbol_that_cannot_be_traded_is_told(look: Look, stub: Stub) -> None:
    """Unknown ones, and those that were delisted."""
    unknown = await look("symbols", stub.url, strategy={"symbols": ["SPY", "SYP"]})
    stub.answers["/v2/assets/SPY"] = (200, {"status": "inactive", "tradable": False})
    delisted = await look("symbols", stub.url, strategy=SPY)

    assert (unknown.state, delisted.state) == (State.FAILED, State.FAILED)
    assert "does not know SYP" in unknown.said
    assert "inactive" in delisted.said


async def test_keys_that_the_trade_stream_refuses_are_told(look: Look, stub: Stub) -> None:
    """It is authorised apart from REST."""
    stub.is_authorised = False

    found = await look("trade stream", stub.url)

    assert found.state is State.FAILED
    assert "refused our API keys" in found.said


@pytest.mark.parametrize("code", DATA_REMEDIES)
async def test_each_code_of_the_data_stream_is_explained(look: Look, stub: Stub, code: int) -> None:
    """In words, with what to do."""
    stub.data_error = (code, "as Alpaca says it")

    found = await look("data streams", stub.url, strategy=SPY)

    assert found.state is State.FAILED
    assert str(code) in found.said
    assert DATA_ERRORS[code].sentence in found.said
    assert found.remedy == DATA_REMEDIES[code]
