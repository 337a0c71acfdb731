"""The lock-step protocol, and time that runs by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND
from tests.venue.helpers import (
    KEYS,
    MIDNIGHT,
    Bot,
    StartVenue,
    VenueProcess,
    hear,
    listen,
    market,
    minutes,
    say,
    subscribe,
)

MINUTE = NS_PER_MINUTE


async def test_the_venue_greets_and_moves_one_step_at_a_word(venue: VenueProcess) -> None:
    """The bar is sent, counted, and its end is the new time."""
    async with Bot.connected(venue) as bot:
        hello = bot.last
        answer = await bot.advance()

    assert hello == {"advanced": False, "now": MIDNIGHT, "updates": 0, "bars": 0, "done": False, "reason": "hello"}
    assert answer == {"advanced": True, "now": MIDNIGHT + MINUTE, "updates": 0, "bars": 1, "done": False}
    assert bot.bars[0]["t"] == "2022-01-03T00:00:00Z"


async def test_a_timer_comes_before_the_bar_of_the_same_moment(venue: VenueProcess) -> None:
    """Time stops at the earlier of the two; at a tie the timer is first, and one in the past moves nothing."""
    async with Bot.connected(venue) as bot:
        at_timer = await bot.advance(next_timer=MIDNIGHT + MINUTE)
        past = await bot.advance(next_timer=MIDNIGHT)
        at_bar = await bot.advance(next_timer=MIDNIGHT + 2 * MINUTE)

    assert (at_timer["now"], at_timer["bars"]) == (MIDNIGHT + MINUTE, 0)
    assert (past["now"], past["bars"]) == (MIDNIGHT + MINUTE, 0)
    assert (at_bar["now"], at_bar["bars"]) == (MIDNIGHT + MINUTE, 1)


async def test_the_venue_waits_for_a_bot_that_is_not_drained(venue: VenueProcess) -> None:
    """Any other count than what was sent is answered with what was sent, and nothing moves."""
    async with Bot.connected(venue) as bot:
        await bot.advance()
        with venue.client() as client:
            client.post("/v2/orders", json=market("0.1"))
        answers = []
        for updates, bars in ((0, 1), (1, 0), (1, 2), (-1, -1)):
            await say(bot.driver, {"op": "advance", "updates": updates, "bars": bars})
            answers.append(await hear(bot.driver))
        await say(bot.driver, {"op": "advance", "updates": 1, "bars": 1})
        moved = await hear(bot.driver)

    expected = {"advanced": False, "now": MIDNIGHT + MINUTE, "updates": 1, "bars": 1, "done": False}
    assert answers == [{**expected, "reason": "not drained"}] * 4
    assert moved["advanced"] is True


async def test_an_order_fills_at_the_next_open_before_the_bar_ends(venue: VenueProcess) -> None:
    """With orders open, the first trade of the next bar is a step of its own: the fill is known, time has not moved."""
    async with Bot.connected(venue) as bot:
        await bot.advance()
        with venue.client() as client:
            client.post("/v2/orders", json=market("0.1"))
        opened = await bot.advance()
        ended = await bot.advance()

    assert (opened["now"], opened["updates"], opened["bars"]) == (MIDNIGHT + MINUTE, 2, 1)
    assert (ended["now"], ended["updates"], ended["bars"]) == (MIDNIGHT + 2 * MINUTE, 2, 2)
    assert [update["event"] for update in bot.updates] == ["new", "fill"]


async def test_nothing_moves_until_both_streams_are_there(venue: VenueProcess) -> None:
    """The reason says which one is missing."""
    reasons = []
    async with connect(venue.lockstep_url + "?key=key", proxy=None) as driver:

        async def ask() -> None:
            await say(driver, {"op": "advance", "next_timer": None, "updates": 0, "bars": 0})
            reasons.append((await hear(driver)).get("reason"))

        await hear(driver)
        await ask()
        async with connect(venue.socket_url + "/stream", proxy=None) as trade:
            await say(trade, {"action": "auth", "key": "key", "secret": "secret"})
            await hear(trade)
            await ask()
            await say(trade, {"action": "listen", "data": {"streams": ["trade_updates"]}})
            await hear(trade)
            await ask()
            async with connect(venue.socket_url + "/v1beta3/crypto/us", proxy=None) as data:
                await subscribe(data, ["BTC/USD"])
                await ask()

    assert reasons == [
        "no account has been opened with this key",
        "the trade stream of this key is not listening",
        "no market-data stream of this key is subscribed to bars",
        None,
    ]


async def test_there_is_one_driver_at_a_time(venue: VenueProcess) -> None:
    """A second is closed with 4409; when the first is gone, however it went, the next is welcome."""
    async with connect(venue.lockstep_url + "?key=key", proxy=None) as first:
        await hear(first)
        async with connect(venue.lockstep_url + "?key=other", proxy=None) as second:
            await second.wait_closed()
            assert second.close_code == 4409
        first.transport.abort()
    async with connect(venue.lockstep_url + "?key=key", proxy=None) as third:
        assert (await hear(third))["reason"] == "hello"


@pytest.mark.parametrize("frame", ["", "{}", '{"op":"jump"}', '{"op":"advance"}', '{"op":"advance","updates":"1","bars":0}', b"\xff",
                                   '{"op":"advance","updates":0,"bars":0,"next_timer":99999999999999999999}'])  # fmt: skip
async def test_garbage_ends_the_driver_and_not_the_venue(lasting_venue: VenueProcess, frame: str | bytes) -> None:
    """One message that says what was expected, then a clean close."""
    async with connect(lasting_venue.lockstep_url + "?key=key", proxy=None) as driver:
        await hear(driver)
        await driver.send(frame)
        assert "expected" in (await hear(driver))["error"]
        await driver.wait_closed()
        assert driver.close_code == 1003
    async with Bot.connected(lasting_venue) as bot:
        await bot.advance()


async def test_the_market_ends_and_timers_may_still_fire(start_venue: StartVenue) -> None:
    """``done`` is said with the last bar; after it only timers move the time."""
    venue = start_venue(minutes(count=3))
    async with Bot.connected(venue) as bot:
        await bot.run(99)
        last = bot.last
        beyond = await bot.ask(next_timer=None)
        timer = await bot.ask(next_timer=last["now"] + NS_PER_SECOND)

    assert (last["bars"], last["done"]) == (3, True)
    assert (beyond["advanced"], beyond["reason"]) == (False, "the recorded market has ended")
    assert (timer["advanced"], timer["now"]) == (True, last["now"] + NS_PER_SECOND)


async def test_another_account_follows_without_driving(venue: VenueProcess) -> None:
    """Its streams get the same market, and its counts do not matter to the driver."""
    async with Bot.connected(venue) as bot, connect(venue.socket_url + "/v1beta3/crypto/us", proxy=None) as data:
        await subscribe(data, ["BTC/USD"], key="follower")
        await bot.run(5)
        bars = [bar for _ in range(5) for bar in await hear(data)]

    assert bars == bot.bars


# --- Time that runs by itself ------------------------------------------------------------------------------------


async def test_time_stands_still_until_somebody_listens(start_venue: StartVenue) -> None:
    """Then it runs at its speed to the end of the market, orders fill, and there is no driving it."""
    venue = start_venue(minutes(count=5), speed=600)  # a bar every tenth of a second
    async with httpx.AsyncClient(base_url=venue.url, headers=KEYS, trust_env=False) as client:

        async def about() -> Any:
            return (await client.get("/")).json()

        before = await about()
        async with (
            connect(venue.socket_url + "/stream", proxy=None) as trade,
            connect(venue.socket_url + "/v1beta3/crypto/us", proxy=None) as data,
        ):
            await subscribe(data, ["BTC/USD"])
            still = await about()
            await listen(trade)
            bars = await hear(data)
            running = await about()
            posted = await client.post("/v2/orders", json=market("0.1"))
            events = [(await hear(trade))["data"]["event"] for _ in range(2)]
            while len(bars) < 5:
                bars += await hear(data)
            after = await about()

    assert (before["running"], before["now_ns"], still["now_ns"]) == (False, MIDNIGHT, MIDNIGHT)
    assert running["running"] is True
    assert running["now_ns"] > MIDNIGHT + MINUTE
    assert posted.status_code == 200
    assert events == ["new", "fill"]
    assert [bar["t"][14:16] for bar in bars] == ["00", "01", "02", "03", "04"]
    assert (after["done"], after["now_ns"]) == (True, MIDNIGHT + 5 * MINUTE)
    async with connect(venue.lockstep_url + "?key=key", proxy=None) as driver:
        await driver.wait_closed()
        assert driver.close_code == 4400


async def test_reads_count_where_time_flows(start_venue: StartVenue) -> None:
    """At a speed the limit is Alpaca's own: every trading request counts."""
    venue = start_venue(speed=0.001, rate_limit=3)
    async with httpx.AsyncClient(base_url=venue.url, headers=KEYS, trust_env=False) as client:
        answers = await asyncio.gather(*(client.get("/v2/account") for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429, 429]
