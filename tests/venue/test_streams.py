"""The venue's two streams over real sockets: who may say what, what comes back, and when a place is free again."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.venue.helpers import (
    KEYS,
    OPENING,
    Bot,
    StartVenue,
    VenueProcess,
    hear,
    limit,
    listen,
    market,
    minutes,
    say,
    subscribe,
)

CRYPTO = "/v1beta3/crypto/us"


def to(venue: VenueProcess, path: str, **options: Any) -> Any:
    """A connection to one of the venue's streams."""
    return connect(venue.socket_url + path, proxy=None, **options)


async def closed(socket: ClientConnection) -> int | None:
    """Wait for the venue to close; gives its code."""
    async with asyncio.timeout(10):
        await socket.wait_closed()
    return socket.close_code


# --- Trade updates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {"action": "auth", "key": "key", "secret": "secret"},
        {"action": "authenticate", "data": {"key_id": "key", "secret_key": "secret"}},
    ],
)
async def test_both_forms_of_authorisation_are_accepted(venue: VenueProcess, message: dict[str, Any]) -> None:
    """There is no greeting; answers are JSON in binary frames."""
    async with to(venue, "/stream") as trade:
        await say(trade, message)
        answer = await trade.recv()

    assert isinstance(answer, bytes)
    assert msgspec.json.decode(answer) == {
        "stream": "authorization",
        "data": {"status": "authorized", "action": "authenticate"},
    }


async def test_wrong_keys_and_listening_too_early_are_unauthorized(venue: VenueProcess) -> None:
    """The answer names the action that was refused, and the connection lives on."""
    with venue.client() as client:
        client.get("/v2/account")
    async with to(venue, "/stream") as trade:
        await say(trade, {"action": "auth", "key": "key", "secret": "wrong"})
        first = await hear(trade)
        await say(trade, {"action": "listen", "data": {"streams": ["trade_updates"]}})
        second = await hear(trade)
        await listen(trade)

    assert first["data"] == {"status": "unauthorized", "action": "authenticate"}
    assert second["data"] == {"status": "unauthorized", "action": "listen"}


async def test_listening_replaces_the_earlier_list(venue: VenueProcess) -> None:
    """Unknown streams are not granted, and an empty list stops."""
    async with to(venue, "/stream") as trade:
        await listen(trade)
        await say(trade, {"action": "listen", "data": {"streams": ["account_updates", "trade_updates"]}})
        both = await hear(trade)
        await say(trade, {"action": "listen", "data": {"streams": []}})
        none = await hear(trade)

    assert (both["data"]["streams"], none["data"]["streams"]) == (["trade_updates"], [])


async def test_an_order_is_streamed_with_its_executions_and_its_state_of_then(start_venue: StartVenue) -> None:
    """Top-level quantity and price are one execution; the order's filled quantity is cumulative at that moment."""
    venue = start_venue()  # each bar has volume 10, of which a tenth may be ours
    async with Bot.connected(venue) as bot:
        await bot.advance()
        with venue.client() as client:
            order = client.post("/v2/orders", json=market("2.25")).json()
        await bot.run(10)

    events = [update["event"] for update in bot.updates]
    fills = bot.updates[1:]
    assert events == ["new", "partial_fill", "partial_fill", "fill"]
    assert [fill["qty"] for fill in fills] == ["1", "1", "0.25"]
    assert [fill["order"]["filled_qty"] for fill in fills] == ["1", "2", "2.25"]
    assert [fill["order"]["status"] for fill in fills] == ["partially_filled", "partially_filled", "filled"]
    assert [fill["order"]["filled_at"] is None for fill in fills] == [True, True, False]
    assert [fill["position_qty"] for fill in fills] == ["0.9975", "1.995", "2.244375"]
    assert len({update["execution_id"] for update in bot.updates}) == 4
    cost = sum(Decimal(fill["qty"]) * Decimal(fill["price"]) for fill in fills)
    assert abs(cost / Decimal("2.25") - Decimal(fills[-1]["order"]["filled_avg_price"])) < Decimal("1e-9")
    event_ids = [update["event_id"] for update in bot.updates]
    assert event_ids == sorted(set(event_ids))
    assert {len(event_id) for event_id in event_ids} == {26}
    for update in bot.updates:
        assert update["timestamp"] == update["at"]
        assert update["order"]["id"] == order["id"]
        assert ("price" in update) == (update["event"] != "new")


async def test_answer_and_first_event_arrive_in_either_order(venue: VenueProcess) -> None:
    """Both are there in the end, and a canceled order's last event says so."""
    async with Bot.connected(venue) as bot:
        await bot.advance()
        async with httpx.AsyncClient(base_url=venue.url, headers=KEYS, trust_env=False) as client:
            for number in range(4):
                posted, update = await asyncio.gather(
                    client.post("/v2/orders", json=limit("0.1", "30000", client_order_id=f"n{number}")),
                    bot.next_update(),
                )
                assert (update["event"], update["order"]["id"]) == ("new", posted.json()["id"])
                await client.delete(f"/v2/orders/{posted.json()['id']}")
                update = await bot.next_update()
                assert (update["event"], update["order"]["status"]) == ("canceled", "canceled")
                assert update["order"]["canceled_at"] == update["timestamp"]


async def test_a_second_trade_connection_is_refused_until_the_first_is_gone(venue: VenueProcess) -> None:
    """HTTP 429 at the upgrade where keys come with it, an error after authorisation else; a cut frees the place."""
    async with to(venue, "/stream") as first:
        await listen(first)
        with pytest.raises(InvalidStatus) as refused:
            async with to(venue, "/stream", additional_headers=KEYS):
                pass
        async with to(venue, "/stream") as second:
            await say(second, {"action": "auth", "key": "key", "secret": "secret"})
            error = await hear(second)
            code = await closed(second)
        async with to(venue, "/stream", additional_headers={**KEYS, "APCA-API-KEY-ID": "other"}) as other:
            await listen(other, key="other")
        first.transport.abort()

    assert refused.value.response.status_code == 429
    assert (error["data"]["error_message"], code) == ("connection limit exceeded", 1008)
    async with to(venue, "/stream", additional_headers=KEYS) as third:
        await listen(third)


async def test_msgpack_is_spoken_on_the_trade_stream_when_agreed(venue: VenueProcess) -> None:
    """The Content-Type of the upgrade chooses."""
    async with to(venue, "/stream", additional_headers={"Content-Type": "application/msgpack"}) as trade:
        await trade.send(msgspec.msgpack.encode({"action": "auth", "key": "key", "secret": "secret"}))
        answer = await trade.recv()

    assert isinstance(answer, bytes)
    assert msgspec.msgpack.decode(answer)["data"]["status"] == "authorized"


GARBAGE = [
    "",
    "{",
    "[]",
    "null",
    "1",
    '"auth"',
    '{"action":"dance"}',
    '{"action":"listen","data":[]}',
    b"\xff\x00",
    "[" * 9999,
]


@pytest.mark.parametrize("frame", GARBAGE)
async def test_garbage_on_the_trade_stream_is_an_error_and_a_clean_close(
    lasting_venue: VenueProcess, frame: str | bytes
) -> None:
    """One error message, then a close; the venue lives."""
    async with to(lasting_venue, "/stream") as trade:
        await trade.send(frame)
        error = await hear(trade)
        code = await closed(trade)

    assert error["action"] == "error"
    assert code == 1003
    async with to(lasting_venue, "/stream") as trade:
        await listen(trade)


# --- Market data -------------------------------------------------------------------------------------------------


async def test_the_data_stream_greets_and_shows_its_whole_state(start_venue: StartVenue) -> None:
    """Acks list exactly the feed's channels; trades bring their corrections with them on the stock feed."""
    venue = start_venue(minutes("SPY", start=OPENING, base=400.0))
    async with to(venue, "/v2/iex", additional_headers=KEYS) as stocks, to(venue, CRYPTO) as crypto:
        greetings = [await hear(stocks), await hear(stocks)]
        await say(stocks, {"action": "subscribe", "trades": ["SPY"], "bars": ["*"], "quotes": []})
        first = await hear(stocks)
        await say(stocks, {"action": "subscribe", "bars": ["SPY", "SPY"], "dailyBars": ["SPY"]})
        second = await hear(stocks)
        await say(stocks, {"action": "unsubscribe", "trades": ["SPY"], "bars": ["*", "AAPL"]})
        third = await hear(stocks)
        await subscribe(crypto, ["BTC/USD"])
        await say(crypto, {"action": "subscribe", "orderbooks": ["BTC/USD"]})
        books = await hear(crypto)

    empty: dict[str, list[str]] = {
        name: []
        for name in (
            "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors",
        )
    }  # fmt: skip
    trades = {"trades": ["SPY"], "corrections": ["SPY"], "cancelErrors": ["SPY"]}
    assert greetings == [[{"T": "success", "msg": "connected"}], [{"T": "success", "msg": "authenticated"}]]
    assert first == [{"T": "subscription", **empty, **trades, "bars": ["*"]}]
    assert second == [{"T": "subscription", **empty, **trades, "bars": ["*", "SPY"], "dailyBars": ["SPY"]}]
    assert third == [{"T": "subscription", **empty, "bars": ["SPY"], "dailyBars": ["SPY"]}]
    assert list(books[0]) == ["T", "trades", "quotes", "bars", "updatedBars", "dailyBars", "orderbooks"]


async def test_bars_carry_their_start_and_come_in_the_order_of_their_names(start_venue: StartVenue) -> None:
    """All bars of one moment are one frame; only what was subscribed to is sent, and counted."""
    series = [minutes("BTC/USD", 3), minutes("ETH/USD", 3, base=3_000.0), minutes("AAVE/USD", 3, base=90.0)]
    venue = start_venue(*series)
    async with Bot.connected(venue, "ETH/USD", "BTC/USD") as bot:
        await bot.run(3)

    assert [(bar["T"], bar["S"], bar["t"]) for bar in bot.bars] == [
        ("b", symbol, f"2022-01-03T00:0{minute}:00Z") for minute in range(3) for symbol in ("BTC/USD", "ETH/USD")
    ]
    assert bot.bars[0]["o"] == series[0].open[0]
    assert bot.last == {**bot.last, "bars": 6, "done": True}


async def test_msgpack_bars_have_real_timestamps_and_fragments_are_joined(venue: VenueProcess) -> None:
    """As alpaca-py speaks: MessagePack arrays, a subscription sent in two fragments."""
    async with to(venue, CRYPTO, additional_headers={"Content-Type": "application/msgpack"}) as data:

        async def heard() -> Any:
            frame = await data.recv()
            assert isinstance(frame, bytes)
            return msgspec.msgpack.decode(frame)

        assert await heard() == [{"T": "success", "msg": "connected"}]
        await data.send(msgspec.msgpack.encode({"action": "auth", "key": "key", "secret": "secret"}))
        assert await heard() == [{"T": "success", "msg": "authenticated"}]
        packed = msgspec.msgpack.encode({"action": "subscribe", "bars": ["BTC/USD"]})
        await data.send([packed[:10], packed[10:]])
        assert (await heard())[0]["bars"] == ["BTC/USD"]

        async with to(venue, "/stream") as trade, connect(venue.lockstep_url + "?key=key", proxy=None) as driver:
            await listen(trade)
            await hear(driver)
            await say(driver, {"op": "advance", "updates": 0, "bars": 0})
            (bar,) = await heard()

    assert (bar["T"], bar["S"], bar["t"].isoformat()) == ("b", "BTC/USD", "2022-01-03T00:00:00+00:00")


async def test_each_mistake_on_the_data_stream_has_its_code(start_venue: StartVenue) -> None:
    """400, 401, 403, 405, 406 and 410 as documented; only 406 ends the connection."""
    venue = start_venue(symbol_limit=2)
    async with to(venue, CRYPTO) as data, to(venue, CRYPTO) as second:
        await hear(data)
        await hear(second)

        async def error(message: object) -> Any:
            await data.send(message if isinstance(message, str | bytes) else msgspec.json.encode(message).decode())
            (answer,) = await hear(data)
            return answer.get("code"), answer.get("msg")

        auth = {"action": "auth", "key": "key", "secret": "secret"}
        codes = [
            await error("{"),
            await error(b"\xff"),
            await error({"action": "dance"}),
            await error({"action": "subscribe", "bars": ["BTC/USD"]}),
            await error(auth),
            await error(auth),
            await error({"action": "subscribe", "bars": "BTC/USD"}),
            await error({"action": "subscribe", "bars": [1]}),
            await error({"action": "subscribe", "statuses": ["BTC/USD"]}),
            await error({"action": "subscribe", "bars": ["A/USD", "B/USD", "C/USD"]}),
        ]
        await say(second, auth)
        limit_error = await hear(second)
        code = await closed(second)

    assert codes == [
        (400, "invalid syntax"),
        (400, "invalid syntax"),
        (400, "invalid syntax"),
        (401, "not authenticated"),
        (None, "authenticated"),
        (403, "already authenticated"),
        (400, "invalid syntax"),
        (400, "invalid syntax"),
        (410, "invalid subscribe action for this feed"),
        (405, "symbol limit exceeded"),
    ]
    assert limit_error == [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
    assert code == 1008


async def test_wrong_keys_end_the_data_stream(venue: VenueProcess) -> None:
    """402, then a close."""
    async with to(venue, CRYPTO) as data:
        await hear(data)
        await say(data, {"action": "auth", "key": "", "secret": "secret"})
        assert await hear(data) == [{"T": "error", "code": 402, "msg": "auth failed"}]
        assert await closed(data) == 1008


async def test_who_does_not_authenticate_in_time_is_sent_away(start_venue: StartVenue) -> None:
    """404, then a close; who has authenticated stays."""
    venue = start_venue(auth_seconds=0.2)
    async with to(venue, CRYPTO) as patient, to(venue, CRYPTO) as data:
        await subscribe(patient, ["BTC/USD"])
        await hear(data)
        assert await hear(data) == [{"T": "error", "code": 404, "msg": "auth timeout"}]
        assert await closed(data) == 1008
        await say(patient, {"action": "subscribe", "bars": []})
        assert (await hear(patient))[0]["bars"] == ["BTC/USD"]


async def test_a_cut_data_connection_frees_its_place_and_its_count(venue: VenueProcess) -> None:
    """A reconnecting client starts counting at zero; stocks and crypto have a place each."""
    async with Bot.connected(venue) as bot:
        await bot.run(3)
        bot.data.transport.abort()
        async with to(venue, CRYPTO) as again, to(venue, "/v2/sip") as stocks:
            await subscribe(again, ["*"])
            await subscribe(stocks, ["SPY"])
            bot.data, bot.bars = again, []
            await bot.ask(next_timer=None)
            await bot.drain()

    assert bot.last == {**bot.last, "advanced": True, "bars": 1}


async def test_unknown_streams_are_404(venue: VenueProcess) -> None:
    """On both ports."""
    for url in (venue.socket_url + "/v2/nope", venue.lockstep_url + "/nope"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, proxy=None):
                pass
        assert refused.value.response.status_code == 404


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["action", "data", "bars", "key"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FRAMES = (
    st.binary(max_size=30) | st.text(max_size=30) | JSON_VALUES.map(lambda value: msgspec.json.encode(value).decode())
)


@given(frames=st.lists(FRAMES, min_size=1, max_size=5), path=st.sampled_from(["/stream", CRYPTO, "/v2/iex"]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_frame_brings_the_venue_down(lasting_venue: VenueProcess, frames: list[str | bytes], path: str) -> None:
    """Whatever is sent, the venue answers, closes or ignores it, and takes the next client."""

    async def throw() -> None:
        async with to(lasting_venue, path) as socket:
            try:
                for frame in frames:
                    await socket.send(frame)
            except ConnectionClosed as end:
                assert end.rcvd is None or end.rcvd.code in (1003, 1008)  # noqa: PT017 - an end is one of two good outcomes
        async with to(lasting_venue, "/stream") as trade:
            await listen(trade, key="thrower")

    asyncio.run(throw())


async def test_a_replaced_order_is_told_of_before_the_one_in_its_place(venue: VenueProcess) -> None:
    """The event ``replaced`` carries the old order; then the new one is new."""
    async with Bot.connected(venue) as bot:
        await bot.advance()
        with venue.client() as client:
            old = client.post("/v2/orders", json=limit("1", "30000", client_order_id="a")).json()
            answer = client.patch(f"/v2/orders/{old['id']}", json={"limit_price": "31000", "client_order_id": "b"})
            bodies: list[Any] = [[], {"stop_price": "1"}, {"qty": True}, {"client_order_id": 3}, {"time_in_force": "x"}]
            malformed = [client.patch(f"/v2/orders/{old['id']}", json=body) for body in bodies]
            nobody = client.patch("/v2/orders/nobody", json={"qty": "2"})
        first, second, third = [await bot.next_update() for _ in range(3)]

    new = answer.json()
    assert (answer.status_code, new["replaces"], new["limit_price"], new["qty"]) == (200, old["id"], "31000", "1")
    assert [response.status_code for response in (*malformed, nobody)] == [422] * 6
    assert [(told["event"], told["order"]["id"]) for told in (first, second, third)] == [
        ("new", old["id"]),
        ("replaced", old["id"]),
        ("new", new["id"]),
    ]
    assert (second["order"]["status"], second["order"]["replaced_by"]) == ("replaced", new["id"])
    assert second["order"]["replaced_at"] is not None
    assert (first["order"]["replaced_by"], third["order"]["replaces"]) == (None, old["id"])
