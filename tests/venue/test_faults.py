"""Every fault of the table, commanded over the admin port and seen over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import pairwise
from time import monotonic
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from holdfast.testing import VenueAdmin
from holdfast.venue.faults import EFFECTS
from tests.venue.helpers import (
    VenueProcess,
    hear,
    limit,
    listen,
    market,
    minutes,
    say,
    subscribe,
    venues,
)

RATE_HEADERS = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}
QUIET_SECONDS = 0.5


@pytest.fixture(scope="module")
def running_venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    """A venue whose time runs: ten bars a second."""
    with venues(tmp_path_factory.mktemp("faults")) as start:
        venue = start(minutes(count=20_000), speed=600.0, rate_limit=None)
        with VenueAdmin(venue.admin) as admin:
            admin.run()
        yield venue


class Client:
    """One account of the venue, with its admin port: what a check is given."""

    def __init__(self, venue: VenueProcess, key: str) -> None:
        self.venue = venue
        self.key = key
        self.admin = VenueAdmin(venue.admin)
        headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": "secret"}
        self.http = httpx.AsyncClient(base_url=venue.url, headers=headers, trust_env=False, timeout=20)

    def fault(self, effect: str, **members: Any) -> str:
        """A fault for this account only."""
        return self.admin.fault(effect, account=self.key, **members)

    async def order(self, name: str, **members: Any) -> httpx.Response:
        """An order that rests far from the market."""
        return await self.http.post("/v2/orders", json=limit("0.1", "30000", client_order_id=name, **members))

    async def has(self, name: str) -> bool:
        """Whether the venue has an order of this name."""
        answer = await self.http.get("/v2/orders:by_client_order_id", params={"client_order_id": name})
        return answer.status_code == 200

    @contextlib.asynccontextmanager
    async def trade_stream(self) -> AsyncIterator[ClientConnection]:
        """A listening trade stream."""
        async with connect(self.venue.socket_url + "/stream", proxy=None) as stream:
            await listen(stream, self.key)
            yield stream

    @contextlib.asynccontextmanager
    async def data_stream(self) -> AsyncIterator[ClientConnection]:
        """A data stream that is subscribed to bars."""
        async with connect(self.venue.socket_url + "/v1beta3/crypto/us", proxy=None) as stream:
            await subscribe(stream, ["*"], self.key)
            yield stream

    @contextlib.asynccontextmanager
    async def events(self) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        """The stream of trades; gives what reads its next ``data`` line."""
        async with self.http.stream("GET", "/v2beta1/events/activities") as answer:
            lines = aiter(answer.aiter_lines())

            async def next_line() -> str:
                async with asyncio.timeout(20):
                    while not (line := await anext(lines)).startswith("data: "):
                        pass
                return line.removeprefix("data: ")

            yield next_line

    async def names(self, stream: ClientConnection, count: int) -> list[tuple[str, str]]:
        """The next events of the trade stream: which, and of what order."""
        heard = [(await hear(stream))["data"] for _ in range(count)]
        return [(data["event"], data["order"]["client_order_id"]) for data in heard]


async def silent(stream: ClientConnection) -> bool:
    """Whether nothing comes for a while, with the connection alive."""
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await stream.recv()
    except TimeoutError:
        async with asyncio.timeout(20):
            await (await stream.ping())
        return True
    return False


async def ends_without_closing(stream: ClientConnection) -> bool:
    """Whether the connection ends without a closing handshake; what comes before is thrown away."""
    async with asyncio.timeout(20):
        try:
            while True:
                await stream.recv()
        except ConnectionClosedError as error:
            return error.rcvd is None
        except ConnectionClosed:
            return False


# -- requests ------------------------------------------------------------------------------------


async def too_many_requests(client: Client) -> None:
    """Not executed, with as many headers as asked for."""
    shown = {"all": {*RATE_HEADERS, "retry-after"}, "limits": RATE_HEADERS, "none": set()}
    for headers, expected in shown.items():
        client.fault("too_many_requests", method="POST", path="/v2/orders", headers=headers)
        answer = await client.order("refused")
        assert (answer.status_code, answer.json()["message"]) == (429, "too many requests")
        assert {*RATE_HEADERS, "retry-after"} & answer.headers.keys() == expected
        assert not await client.has("refused")


async def gateway_timeout(client: Client) -> None:
    """The order is placed, or not where asked so; the answer is a page."""
    for name, executed in (("placed", True), ("lost", False)):
        client.fault("gateway_timeout", client_order_id=name, method="POST", executed=executed)
        answer = await client.order(name)
        assert (answer.status_code, answer.headers["content-type"]) == (504, "text/html")
        assert await client.has(name) is executed


async def server_error(client: Client) -> None:
    """Before the deed, or after it."""
    for name, executed, body in (("before", False, "html"), ("after", True, "empty")):
        client.fault("server_error", client_order_id=name, method="POST", status=502, executed=executed, body=body)
        answer = await client.order(name)
        assert (answer.status_code, b"<html>" in answer.content) == (502, body == "html")
        assert await client.has(name) is executed


async def error_body(client: Client) -> None:
    """An error although the order was placed."""
    client.fault("error_body", method="POST", status=403, code=40310000, message="no reason at all")
    answer = await client.order("there")
    assert (answer.status_code, answer.json()) == (403, {"code": 40310000, "message": "no reason at all"})
    assert await client.has("there")


async def delayed_request(client: Client) -> None:
    """Before the deed or after it: the book tells the difference."""
    for name, executed in (("late-deed", False), ("late-answer", True)):
        client.fault("delay", method="POST", seconds=QUIET_SECONDS, executed=executed)
        began = monotonic()
        asking = asyncio.ensure_future(client.order(name))
        while not await client.has(name):
            assert not asking.done()
        placed_after = monotonic() - began
        assert (await asking).status_code == 200
        assert monotonic() - began >= QUIET_SECONDS
        assert (placed_after < QUIET_SECONDS) is executed


async def cut_request(client: Client) -> None:
    """The connection ends before or after the deed, without an answer."""
    for name, executed in (("before-cut", False), ("after-cut", True)):
        client.fault("cut", target="requests", client_order_id=name, method="POST", executed=executed)
        with pytest.raises(httpx.TransportError):
            await client.order(name)
        assert await client.has(name) is executed


async def altered_answer(client: Client) -> None:
    """In every object of a list, and in a single one: an unknown value, a further member."""
    client.fault("alter", path="/v2/assets", set={"class": "moon_rock", "extra.deep": 1})
    path = "/v2/assets?asset_class=crypto"
    (row,) = (await client.http.get(path)).json()
    assert (row["class"], row["extra"]) == ("moon_rock", {"deep": 1})
    assert (await client.http.get(path)).json()[0]["class"] == "crypto"


async def stream_first(client: Client) -> None:
    """The stream has said it before the answer comes."""
    async with client.trade_stream() as stream:
        client.fault("stream_first", method="POST", seconds=QUIET_SECONDS)
        asking = asyncio.ensure_future(client.order("told-first"))
        assert await client.names(stream, 1) == [("new", "told-first")]
        assert not asking.done()
        assert (await asking).status_code == 200


async def answer_first(client: Client) -> None:
    """The answer is there, and the stream is silent for a while."""
    async with client.trade_stream() as stream:
        client.fault("answer_first", method="POST", seconds=2 * QUIET_SECONDS)
        assert (await client.order("answered-first")).status_code == 200
        assert await silent(stream)
        assert await client.names(stream, 1) == [("new", "answered-first")]


async def pending_cancel(client: Client) -> None:
    """It is shown as pending, cannot be replaced, and is canceled when its time has come, or when the rule goes."""
    async with client.trade_stream() as stream:
        rule = client.fault("pending_cancel")
        order = (await client.order("stuck")).json()
        assert await client.names(stream, 1) == [("new", "stuck")]
        path = f"/v2/orders/{order['id']}"
        assert (await client.http.delete(path)).status_code == 204
        assert (await client.http.get(path)).json()["status"] == "pending_cancel"
        assert (await client.http.get("/v2/orders")).json()[0]["status"] == "pending_cancel"
        assert (await client.http.patch(path, json={"limit_price": "30001"})).status_code == 422
        assert (await client.http.delete(path)).status_code == 204
        assert await silent(stream)
        assert client.admin.remove_fault(rule) == 1
        assert await client.names(stream, 1) == [("canceled", "stuck")]
        assert (await client.http.get(path)).json()["status"] == "canceled"

        client.fault("pending_cancel", seconds=300.0)  # half a real second
        order = (await client.order("slow")).json()
        await client.http.delete(f"/v2/orders/{order['id']}")
        assert (await client.http.get(f"/v2/orders/{order['id']}")).json()["status"] == "pending_cancel"
        assert await client.names(stream, 2) == [("new", "slow"), ("canceled", "slow")]


async def lag(client: Client) -> None:
    """Orders and positions as they were, until the time has passed."""
    await client.order("seen")
    rule = client.fault("lag", path="/v2/orders*", seconds=600.0, count="unlimited")  # a real second
    await client.order("not-yet-seen")
    assert [row["client_order_id"] for row in (await client.http.get("/v2/orders")).json()] == ["seen"]
    assert not await client.has("not-yet-seen")
    while not await client.has("not-yet-seen"):
        pass
    assert client.admin.remove_fault(rule) > 3


# -- streams -------------------------------------------------------------------------------------


async def delayed_message(client: Client) -> None:
    """Later than what came after it."""
    async with client.trade_stream() as stream:
        client.fault("delay", target="trade", kind="new", client_order_id="late", seconds=QUIET_SECONDS)
        await client.order("late")
        await client.order("prompt")
        assert await client.names(stream, 2) == [("new", "prompt"), ("new", "late")]


async def delayed_bars(client: Client) -> None:
    """A bar comes after its successor."""
    async with client.data_stream() as stream:
        client.fault("delay", target="data", kind="b", seconds=QUIET_SECONDS)
        times = [(await hear(stream))[0]["t"] for _ in range(15)]
        assert times != sorted(times)
        assert len(set(times)) == 15


async def cut_trade_stream(client: Client) -> None:
    """Before or after a message; at once where the rule waits for none; and what is opened after it lives."""
    for name, executed in (("unsaid", False), ("said", True)):
        async with client.trade_stream() as stream:
            client.fault("cut", target="trade", client_order_id=name, executed=executed)
            await client.order(name)
            if executed:
                assert await client.names(stream, 1) == [("new", name)]
            assert await ends_without_closing(stream)
    async with client.trade_stream() as stream:
        client.fault("cut", target="trade")
        assert await ends_without_closing(stream)
    async with client.trade_stream() as stream:
        await client.order("alive")
        assert await client.names(stream, 1) == [("new", "alive")]


async def cut_data_stream(client: Client) -> None:
    """At once."""
    async with client.data_stream() as stream:
        client.fault("cut", target="data")
        assert await ends_without_closing(stream)


async def cut_events(client: Client) -> None:
    """The answer ends in its middle."""
    async with client.events() as next_line:
        client.fault("cut", target="events")
        with pytest.raises(httpx.RemoteProtocolError):
            await next_line()


async def altered_message(client: Client) -> None:
    """An unknown event, an unknown status, a member that nobody expects."""
    async with client.trade_stream() as stream:
        client.fault("alter", target="trade", kind="new", set={"event": "levitated", "order.status": "x", "order.y": 1})
        await client.order("odd")
        data = (await hear(stream))["data"]
        assert (data["event"], data["order"]["status"], data["order"]["y"]) == ("levitated", "x", 1)
        assert data["order"]["client_order_id"] == "odd"


async def altered_bar(client: Client) -> None:
    """In its array."""
    async with client.data_stream() as stream:
        client.fault("alter", target="data", kind="b", set={"T": "zz"})
        assert await _until(stream, lambda row: row["T"] == "zz")


async def altered_event(client: Client) -> None:
    """A number of a trade event."""
    async with client.events() as next_line:
        client.fault("alter", target="events", set={"details.extra": True})
        await client.http.post("/v2/orders", json=market("0.01"))
        assert msgspec.json.decode(await next_line())["details"]["extra"] is True


async def mute_trade_stream(client: Client) -> None:
    """Alive, and silent; the next connection is not."""
    async with client.trade_stream() as stream:
        client.fault("mute", target="trade")
        await client.order("unheard")
        assert await silent(stream)
    async with client.trade_stream() as stream:
        await client.order("heard")
        assert await client.names(stream, 1) == [("new", "heard")]


async def mute_data_stream(client: Client) -> None:
    """Though a bar ends every tenth of a second."""
    async with client.data_stream() as stream:
        client.fault("mute", target="data")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):  # what had left before
                while True:
                    await stream.recv()
        assert await silent(stream)


async def mute_events(client: Client) -> None:
    """The stream stays open without a word."""
    async with client.events() as next_line:
        rule = client.fault("mute", target="events")
        await client.http.post("/v2/orders", json=market("0.01"))
        while not (await client.http.get("/v2/positions")).json():
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS):
                await next_line()
        assert client.admin.struck(rule) == 1


async def lost_update(client: Client) -> None:
    """This one, and no other."""
    async with client.trade_stream() as stream:
        client.fault("lost", target="trade", kind="canceled", client_order_id="leg*", fields={"order.side": "buy"})
        for name in ("leg-1", "other"):
            order = (await client.order(name)).json()
            await client.http.delete(f"/v2/orders/{order['id']}")
        expected = [("new", "leg-1"), ("new", "other"), ("canceled", "other")]
        assert await client.names(stream, 3) == expected


async def duplicated_update(client: Client) -> None:
    """Twice, alike."""
    async with client.trade_stream() as stream:
        client.fault("duplicated", target="trade")
        await client.order("twin")
        assert await hear(stream) == await hear(stream)


async def reordered_updates(client: Client) -> None:
    """The message comes after its successor."""
    async with client.trade_stream() as stream:
        client.fault("reordered", target="trade")
        for name in ("first", "second", "third"):
            await client.order(name)
        assert [name for _, name in await client.names(stream, 3)] == ["second", "first", "third"]


async def malformed_update(client: Client) -> None:
    """No JSON; and the connection goes on."""
    async with client.trade_stream() as stream:
        client.fault("malformed", target="trade", client_order_id="torn")
        await client.order("torn")
        await client.order("whole")
        async with asyncio.timeout(20):
            torn = await stream.recv()
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(torn)
        assert await client.names(stream, 1) == [("new", "whole")]


async def lost_bar(client: Client) -> None:
    """A gap in the minutes."""
    async with client.data_stream() as stream:
        client.fault("lost", target="data", skip=2)
        minutes_ = [int((await hear(stream))[0]["t"][14:16]) for _ in range(6)]
        assert [(b - a) % 60 for a, b in pairwise(minutes_)].count(2) == 1


async def duplicated_bar(client: Client) -> None:
    """Twice in one frame."""
    async with client.data_stream() as stream:
        client.fault("duplicated", target="data")
        assert await _until(stream, lambda row: row["T"] == "b", alike=2)


async def reordered_bars(client: Client) -> None:
    """A bar after its successor."""
    async with client.data_stream() as stream:
        client.fault("reordered", target="data", skip=1)
        times = [row["t"] for _ in range(5) for row in await hear(stream)]
        assert times != sorted(times)


async def malformed_bar(client: Client) -> None:
    """No JSON; and the connection goes on."""
    async with client.data_stream() as stream:
        client.fault("malformed", target="data")
        with pytest.raises(msgspec.DecodeError):
            await _until(stream, lambda _: False)
        assert (await hear(stream))[0]["T"] == "b"


async def _events_of(client: Client, effect: str, fills: int) -> list[str]:
    """The lines of the trade events of some fills, the first of them struck, and one line more to end with."""
    async with client.events() as next_line:
        client.fault(effect, target="events")
        for _ in range(fills):
            await client.http.post("/v2/orders", json=market("0.01"))
        return [await next_line() for _ in range(fills + {"lost": -1, "duplicated": 1}.get(effect, 0))]


async def lost_event(client: Client) -> None:
    """The second is all that comes."""
    (line,) = await _events_of(client, "lost", 2)
    fills = (await client.http.get("/v2/account/activities/FILL?direction=asc")).json()
    assert msgspec.json.decode(line)["details"]["order_id"] == fills[1]["order_id"]


async def duplicated_event(client: Client) -> None:
    """Twice, with one id."""
    first, second = await _events_of(client, "duplicated", 1)
    assert first == second


async def reordered_events(client: Client) -> None:
    """By their ids, which sort."""
    first, second = await _events_of(client, "reordered", 2)
    assert msgspec.json.decode(first)["event_id"] > msgspec.json.decode(second)["event_id"]


async def malformed_event(client: Client) -> None:
    """No JSON."""
    (line,) = await _events_of(client, "malformed", 1)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(line)


async def half_open_trade_stream(client: Client) -> None:
    """The place is taken until the dead socket is reaped: 429 at the upgrade."""
    keys = {"APCA-API-KEY-ID": client.key, "APCA-API-SECRET-KEY": "secret"}
    client.fault("half_open", target="trade", seconds=QUIET_SECONDS)
    async with client.trade_stream():
        pass
    with pytest.raises(InvalidStatus) as refused:
        await connect(client.venue.socket_url + "/stream", proxy=None, additional_headers=keys)
    assert refused.value.response.status_code == 429
    assert await _reopened(lambda: connect(client.venue.socket_url + "/stream", proxy=None, additional_headers=keys))


async def half_open_data_stream(client: Client) -> None:
    """The place is taken: 406."""
    client.fault("half_open", target="data", seconds=QUIET_SECONDS)
    async with client.data_stream():
        pass
    async with connect(client.venue.socket_url + "/v1beta3/crypto/us", proxy=None) as stream:
        await hear(stream)
        await say(stream, {"action": "auth", "key": client.key, "secret": "secret"})
        assert (await hear(stream))[0]["code"] == 406


async def _reopened(open_: Callable[[], Any]) -> bool:
    async with asyncio.timeout(20):
        while True:
            try:
                async with open_():
                    return True
            except InvalidStatus:
                continue


async def _until(stream: ClientConnection, wanted: Callable[[dict[str, Any]], bool], alike: int = 1) -> bool:
    """Whether a message of this kind comes, so many times alike in one frame."""
    for _ in range(30):
        found = [row for row in await hear(stream) if wanted(row)]
        if len(found) == alike and all(row == found[0] for row in found):
            return True
    return False


#: Who shows an effect on a target.
CHECKS: dict[tuple[str, str], Callable[[Client], Awaitable[None]]] = {
    ("too_many_requests", "requests"): too_many_requests,
    ("gateway_timeout", "requests"): gateway_timeout,
    ("server_error", "requests"): server_error,
    ("error_body", "requests"): error_body,
    ("delay", "requests"): delayed_request,
    ("delay", "trade"): delayed_message,
    ("delay", "data"): delayed_bars,
    ("cut", "requests"): cut_request,
    ("cut", "trade"): cut_trade_stream,
    ("cut", "data"): cut_data_stream,
    ("cut", "events"): cut_events,
    ("alter", "requests"): altered_answer,
    ("alter", "trade"): altered_message,
    ("alter", "data"): altered_bar,
    ("alter", "events"): altered_event,
    ("stream_first", "requests"): stream_first,
    ("answer_first", "requests"): answer_first,
    ("pending_cancel", "requests"): pending_cancel,
    ("lag", "requests"): lag,
    ("mute", "trade"): mute_trade_stream,
    ("mute", "data"): mute_data_stream,
    ("mute", "events"): mute_events,
    ("lost", "trade"): lost_update,
    ("lost", "data"): lost_bar,
    ("lost", "events"): lost_event,
    ("duplicated", "trade"): duplicated_update,
    ("duplicated", "data"): duplicated_bar,
    ("duplicated", "events"): duplicated_event,
    ("reordered", "trade"): reordered_updates,
    ("reordered", "data"): reordered_bars,
    ("reordered", "events"): reordered_events,
    ("malformed", "trade"): malformed_update,
    ("malformed", "data"): malformed_bar,
    ("malformed", "events"): malformed_event,
    ("half_open", "trade"): half_open_trade_stream,
    ("half_open", "data"): half_open_data_stream,
}


def test_every_row_of_the_table_is_checked() -> None:
    """On each target that it can strike."""
    assert CHECKS.keys() == {(name, target) for name, effect in EFFECTS.items() for target in effect.targets}


@pytest.mark.parametrize(("effect", "target"), CHECKS)
async def test_an_effect_is_seen_over_real_sockets(running_venue: VenueProcess, effect: str, target: str) -> None:
    """Commanded at the admin port, for one account, seen by its client."""
    client = Client(running_venue, f"{effect}-{target}")
    try:
        assert (await client.http.get("/v2/account")).status_code == 200
        async with asyncio.timeout(60):
            await CHECKS[effect, target](client)
        assert (await client.http.get("/v2/account")).status_code == 200
    finally:
        await client.http.aclose()
        client.admin.close()
