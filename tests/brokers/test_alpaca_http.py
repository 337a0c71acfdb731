"""One request and its outcome: over a scripted transport, and over real sockets that misbehave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
import structlog

from holdfast.brokers import AlpacaConnector, RetryPolicy, Timeouts
from holdfast.model import OrderIntent, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerRefusedError,
    HoldfastError,
    InsufficientFundsError,
    NotFoundError,
    OrderDroppedError,
    OrderNotOpenError,
    OutcomeUnknownError,
    RateLimitedError,
)
from holdfast.net import RateLimit, Throttler
from holdfast.time import BacktestClock

Desk = Any
MakeDesk = Callable[..., Desk]
Wired = Callable[..., Awaitable[Desk]]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

INTENT = OrderIntent(
    client_order_id="hf-1",
    symbol="AAPL",
    side=OrderSide.BUY,
    quantity=Decimal(10),
    order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.DAY,
    created_at=0,
    limit_price=Decimal("150.25"),
)
UNIQUE = {"code": 40010001, "message": "client_order_id must be unique"}
POOR = {"code": 40310000, "message": "insufficient buying power", "buying_power": "1"}
HTML = httpx.Response(502, html="<html>Bad Gateway</html>")


# ---------------------------------------------------------------------- submit


async def test_an_accepted_order_is_reported(desk: MakeDesk, order: dict[str, Any]) -> None:
    """One request, through the throttler once, with the keys and the intent."""
    d = desk(httpx.Response(200, json=order))
    report = await d.connector.place(INTENT)

    assert (report.client_order_id, report.status) == ("hf-1", OrderStatus.ACCEPTED)
    (request,) = d.requests
    assert (request.method, str(request.url)) == ("POST", "https://paper-api.alpaca.markets/v2/orders")
    assert request.headers["APCA-API-KEY-ID"] == "AK"
    assert request.headers["APCA-API-SECRET-KEY"] == "hush"
    assert request.headers["Content-Type"] == request.headers["Accept"] == "application/json"
    assert b'"client_order_id":"hf-1"' in request.content
    assert d.granted("alpaca_orders") == 1


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.Response(403, json=POOR), InsufficientFundsError, "insufficient buying power (buying_power 1)"),
        (httpx.Response(422, json=UNIQUE), OutcomeUnknownError, "its id is taken"),
        (httpx.Response(401, text="no"), BrokerAuthError, "refused our API keys"),
        (httpx.Response(403, json={"message": "forbidden."}), BrokerAuthError, "refused our API keys"),
        (httpx.Response(429), RateLimitedError, "rate limit"),
        (httpx.Response(408), OutcomeUnknownError, "timed out"),
        (httpx.Response(504), OutcomeUnknownError, "the venue failed"),
        (HTML, OutcomeUnknownError, "HTTP 502 Bad Gateway"),
        (httpx.Response(404, text="nginx"), OutcomeUnknownError, "not Alpaca's"),
        (httpx.Response(200, text="<html>"), OutcomeUnknownError, "no JSON"),
        (httpx.Response(200), OutcomeUnknownError, "cannot be read"),
        (httpx.Response(200, json=[]), OutcomeUnknownError, "cannot be read"),
        (httpx.Response(200, json={"id": "x"}), OutcomeUnknownError, "cannot be read"),
        (httpx.Response(302, headers={"Location": "/"}), OutcomeUnknownError, "not understood"),
        (httpx.ReadTimeout("slow"), OutcomeUnknownError, "no answer: slow"),
        (httpx.WriteError("cut"), OutcomeUnknownError, "before an answer: cut"),
        (httpx.RemoteProtocolError("cut"), OutcomeUnknownError, "before an answer: cut"),
        (ConnectionResetError("reset"), OutcomeUnknownError, "before an answer: reset"),
        (RuntimeError("a bug"), OutcomeUnknownError, "unexpected error: a bug"),
        (httpx.ConnectError("refused"), OrderDroppedError, "nothing was sent: refused"),
        (httpx.ConnectTimeout("far"), OrderDroppedError, "nothing was sent: far"),
        (httpx.PoolTimeout("busy"), OrderDroppedError, "nothing was sent: busy"),
    ],
)
async def test_a_submit_ends_in_one_verdict_and_is_never_repeated(
    desk: MakeDesk, answer: httpx.Response | Exception, error: type[HoldfastError], words: str
) -> None:
    """Whatever comes back, the request was made once and passed the throttler once."""
    d = desk(answer)
    with pytest.raises(HoldfastError) as caught:
        await d.connector.place(INTENT)

    assert type(caught.value) is error or (error is OutcomeUnknownError and isinstance(caught.value, error))
    assert words in str(caught.value)
    assert (len(d.requests), d.granted("alpaca_orders"), d.sleeps) == (1, 1, [])


async def test_an_error_keeps_what_support_will_ask_for(desk: MakeDesk) -> None:
    """Status, code, and the venue's id of the request."""
    d = desk(httpx.Response(403, json=POOR, headers={"X-Request-ID": "req-9"}))
    with pytest.raises(BrokerRefusedError) as caught:
        await d.connector.place(INTENT)

    assert (caught.value.status, caught.value.code, caught.value.request_id) == (403, 40310000, "req-9")
    assert d.connector.get_stats() == {
        "requests": 1,
        "retries": 0,
        "refused": 1,
        "unknown": 0,
        "last_request_id": "req-9",
        "malformed": 0,
    }


async def test_an_answer_about_another_order_is_no_verdict(desk: MakeDesk, order: dict[str, Any]) -> None:
    """Never taken for ours."""
    d = desk(httpx.Response(200, json={**order, "client_order_id": "someone-else"}))
    with pytest.raises(OutcomeUnknownError, match="with another one, someone-else"):
        await d.connector.place(INTENT)


async def test_admission_is_asked_once_and_after_the_throttler(desk: MakeDesk, order: dict[str, Any]) -> None:
    """Right before the request is made, when the slot is ours."""
    d = desk(httpx.Response(200, json=order))
    seen: list[tuple[int, int]] = []

    def admit() -> None:
        seen.append((d.granted("alpaca_orders"), len(d.requests)))

    await d.connector.place(INTENT, admit=admit)

    assert seen == [(1, 0)]


async def test_a_submit_that_is_not_admitted_never_leaves(desk: MakeDesk, order: dict[str, Any]) -> None:
    """The reason comes back."""
    d = desk(httpx.Response(200, json=order))
    with pytest.raises(OrderDroppedError, match=r"^deadline has passed$"):
        await d.connector.place(INTENT, admit=lambda: "deadline has passed")

    assert d.requests == []


# ---------------------------------------------------------------------- cancel


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(404, json={"code": 40410000, "message": "order not found for 1"}), NotFoundError),
        (httpx.Response(422, json={"code": 42210000, "message": "order is already filled"}), OrderNotOpenError),
        (httpx.Response(429), OutcomeUnknownError),
        (httpx.Response(403, json=POOR), OutcomeUnknownError),
        (httpx.Response(500), OutcomeUnknownError),
        (httpx.ReadTimeout("slow"), OutcomeUnknownError),
        (httpx.ConnectError("refused"), OutcomeUnknownError),
        (httpx.Response(401), BrokerAuthError),
    ],
)
async def test_a_cancel_is_refused_only_where_there_is_nothing_to_cancel(
    desk: MakeDesk, answer: httpx.Response | Exception, error: type[HoldfastError]
) -> None:
    """Everything else is unknown, and nothing is repeated."""
    d = desk(answer)
    with pytest.raises(error) as caught:
        await d.connector.request_cancel("o-1")

    assert type(caught.value) is error
    assert len(d.requests) == 1


async def test_a_cancel_that_was_accepted_returns_nothing(desk: MakeDesk) -> None:
    """204 without a body; the id is escaped, it may be anything."""
    d = desk(httpx.Response(204))
    await d.connector.request_cancel("o/1")

    assert d.requests[0].url.raw_path == b"/v2/orders/o%2F1"


# ---------------------------------------------------------------------- reads


ACCOUNT = {"id": "a", "cash": "1", "equity": "1", "buying_power": "1"}
GOOD = httpx.Response(200, json=ACCOUNT)


@pytest.mark.parametrize(
    "bad",
    [
        httpx.Response(429),
        httpx.Response(408),
        httpx.Response(500),
        HTML,
        httpx.Response(503),
        httpx.Response(504),
        httpx.Response(200, text="<html>"),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut"),
    ],
)
async def test_a_read_is_tried_again_while_that_may_help(desk: MakeDesk, bad: httpx.Response | Exception) -> None:
    """Each try passes the throttler, and waits first."""
    d = desk(bad, bad, GOOD)

    assert await d.connector.get_account() == ACCOUNT
    assert (len(d.requests), d.granted("alpaca_account"), len(d.sleeps)) == (3, 3, 2)
    assert d.connector.get_stats()["retries"] == 2


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (httpx.Response(401), BrokerAuthError),
        (httpx.Response(403, json=POOR), BrokerRefusedError),
        (httpx.Response(404, text="nginx"), OutcomeUnknownError),
        (httpx.Response(302), OutcomeUnknownError),
        (httpx.DecodingError("gzip"), OutcomeUnknownError),
    ],
)
async def test_a_read_is_not_tried_again_where_that_changes_nothing(
    desk: MakeDesk, bad: httpx.Response | Exception, error: type[HoldfastError]
) -> None:
    """A definite no stays one."""
    d = desk(bad, GOOD)
    with pytest.raises(error):
        await d.connector.get_account()

    assert len(d.requests) == 1


async def test_no_cookie_is_kept(desk: MakeDesk) -> None:
    """What one answer sets is not sent with the next request."""
    cookie = {"Set-Cookie": "session=1; Path=/"}
    d = desk(*(httpx.Response(200, json=[], headers=cookie) for _ in range(2)))
    for _ in range(2):
        await d.connector.fetch_positions()
    assert ["Cookie" in request.headers for request in d.requests] == [False, False]


async def test_a_read_gives_up_after_so_many_tries(desk: MakeDesk) -> None:
    """With the last error, and no sleep after it."""
    d = desk(httpx.Response(503), retries=RetryPolicy(attempts=3))
    with pytest.raises(OutcomeUnknownError, match="GET /v2/account: the venue failed: HTTP 503"):
        await d.connector.get_account()

    assert (len(d.requests), len(d.sleeps)) == (3, 2)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "Tue, 02 Jan 2024 14:30:20 GMT", "Date": "Tue, 02 Jan 2024 14:30:00 GMT"}, 20.0),
        ({"X-RateLimit-Reset": "1704205825", "Date": "Tue, 02 Jan 2024 14:30:00 GMT"}, 25.0),
        ({"X-RateLimit-Reset": "1704205825"}, 25.0),
        ({"Retry-After": "99999"}, 60.0),
    ],
)
async def test_a_read_waits_as_long_as_the_venue_says(desk: MakeDesk, headers: dict[str, str], seconds: float) -> None:
    """By its own date where it gives one, else by our clock; never longer than our patience."""
    clock = BacktestClock(datetime(2024, 1, 2, 14, 30, tzinfo=UTC))
    d = desk(httpx.Response(429, headers=headers), GOOD, clock=clock)
    await d.connector.get_account()

    assert d.sleeps == [seconds]


@pytest.mark.parametrize("header", ["soon", "", "nan", "-5", "Tue, 99 Foo"])
async def test_a_retry_after_that_makes_no_sense_is_ignored(desk: MakeDesk, header: str) -> None:
    """The usual back-off remains: at most half a second before the second try."""
    d = desk(httpx.Response(429, headers={"Retry-After": header}), GOOD)
    await d.connector.get_account()

    assert 0.0 <= d.sleeps[0] <= 0.5


class HandClock(BacktestClock):
    """A clock that stands still until it is advanced, but says that it runs like real time."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.awaited: asyncio.Queue[int] = asyncio.Queue()

    async def wait_until(self, ns: int) -> None:
        """Tell the test for which moment someone waits, and wait."""
        self.awaited.put_nowait(ns)
        await super().wait_until(ns)

    @property
    def rate(self) -> float:
        """One second per second."""
        return 1.0


async def test_a_429_holds_everything_that_shares_the_limit() -> None:
    """The next request of any kind waits until the venue listens again."""
    clock = HandClock(datetime(2024, 1, 2, 14, 30, tzinfo=UTC))
    throttler = Throttler({"alpaca_orders": RateLimit(100, 1.0), "alpaca_account": RateLimit(100, 1.0)}, clock)
    transport = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "7"}))
    async with AlpacaConnector(
        throttler=throttler, api_key="k", api_secret="s", clock=clock, transport=transport
    ) as connector:
        with pytest.raises(BrokerRefusedError) as caught:
            await connector.place(INTENT)
        held = asyncio.create_task(connector.place(INTENT))
        due = await clock.awaited.get()
        held.cancel()
        await asyncio.wait({held})

    assert caught.value.retry_after_seconds == 7.0
    assert due - clock.now_ns() == 7_000_000_000


DATED = {"Date": "Tue, 02 Jan 2024 14:30:00 GMT"}
NINE_SECONDS_ON = "1704205809"


async def next_start(headers: dict[str, str]) -> float:
    """How long the request after an answer with these headers waits (s)."""
    clock = HandClock(datetime(2024, 1, 2, 14, 30, tzinfo=UTC))
    throttler = Throttler({"alpaca_account": RateLimit(100, 60.0)}, clock)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={}, headers=headers))
    async with AlpacaConnector(
        throttler=throttler, api_key="k", api_secret="s", clock=clock, transport=transport
    ) as connector:
        await connector.get_account()
        second = asyncio.create_task(connector.get_account())
        waiting = asyncio.create_task(clock.awaited.get())
        await asyncio.wait({second, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waits = (waiting.result() - clock.now_ns()) / 1e9 if waiting.done() else 0.0
        for task in (second, waiting):
            task.cancel()
        await asyncio.wait({second, waiting})
    return waits


async def test_what_the_venue_has_left_is_kept_to() -> None:
    """Its headers come with every answer, also with a good one: there need be no 429 first."""
    left = {"X-RateLimit-Limit": "200", "X-RateLimit-Reset": NINE_SECONDS_ON, **DATED}

    assert await next_start({**left, "X-RateLimit-Remaining": "0"}) == 9.0
    assert await next_start({**left, "X-RateLimit-Remaining": "1"}) == 0.0


@pytest.mark.parametrize("name", ["X-RateLimit-Remaining", "X-RateLimit-Reset"])
@pytest.mark.parametrize("value", [None, "", "soon", "-1", "nan", "inf", "1e400", "99999999999999999999"])
async def test_headers_that_make_no_sense_hold_nothing_up(name: str, value: str | None) -> None:
    """What is configured goes on to hold."""
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": NINE_SECONDS_ON, **DATED, name: value}

    assert await next_start({key: text for key, text in headers.items() if text is not None}) == 0.0


# ---------------------------------------------------------------------- over real sockets


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """The head of a request."""
    return await reader.readuntil(b"\r\n\r\n")


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Reads and never answers."""
    await reader.read()


async def cut_before(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Closes as soon as the connection is open."""


async def cut_after_request(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Takes the request and closes."""
    await read_head(reader)


async def cut_in_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes in the middle of the head of its answer."""
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()


async def cut_in_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes in the middle of the body of its answer."""
    await read_head(reader)
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id":"x"')
    await writer.drain()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with something that is not HTTP."""
    await read_head(reader)
    writer.write(b"\x00\xff\x00\xffnot http at all\r\n\r\n")
    await writer.drain()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one byte at a time, each in time, for ever."""
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


MISBEHAVIOURS: list[Script] = [
    silent,
    cut_before,
    cut_after_request,
    cut_in_head,
    cut_in_body,
    garbage,
    dripping,
]
QUICK = Timeouts(connect=2, read=0.2, write=2, pool=2, total=0.4)


@pytest.mark.parametrize("script", MISBEHAVIOURS)
async def test_a_submit_into_a_broken_venue_is_unknown(wired: Wired, script: Script) -> None:
    """Before, during and after the answer: once the connection is open, the order may have arrived."""
    d = await wired(script, timeouts=QUICK)
    with pytest.raises(OutcomeUnknownError, match="POST /v2/orders"):
        await d.connector.place(INTENT)

    assert d.granted("alpaca_orders") == 1


@pytest.mark.parametrize("script", MISBEHAVIOURS)
async def test_a_read_from_a_broken_venue_is_tried_again_and_then_unknown(wired: Wired, script: Script) -> None:
    """And the connector still works afterwards."""
    d = await wired(script, timeouts=QUICK)
    with pytest.raises(OutcomeUnknownError):
        await d.connector.fetch_account()

    assert d.granted("alpaca_account") == 2


async def test_a_read_survives_a_venue_that_comes_back(wired: Wired) -> None:
    """Cut once, then answered."""
    connections = 0

    async def moody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_head(reader)
        if connections > 1:
            body = b'{"id":"a","cash":"1","equity":"2","buying_power":"3"}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()

    d = await wired(moody)
    account = await d.connector.fetch_account()

    assert account.equity == Decimal(2)
    assert connections == 2


async def test_a_submit_to_nobody_was_not_sent(wired: Wired) -> None:
    """Connection refused: no byte of it left."""
    d = await wired(silent)
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    connector = AlpacaConnector(throttler=d.throttler, api_key="k", api_secret="s", base_url=f"http://127.0.0.1:{port}")
    async with connector:
        with pytest.raises(OrderDroppedError, match="could not be reached, nothing was sent"):
            await connector.place(INTENT)


async def test_a_submit_to_a_venue_without_tls_was_not_sent(wired: Wired) -> None:
    """The handshake fails before the request."""

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 this is not TLS\r\n\r\n")
        await writer.drain()

    d = await wired(no_tls)
    url = str(d.connector).removeprefix("AlpacaConnector(").removesuffix(")").replace("http:", "https:")
    connector = AlpacaConnector(throttler=d.throttler, api_key="k", api_secret="s", base_url=url)
    async with connector:
        with pytest.raises(OrderDroppedError, match="nothing was sent") as caught:
            await connector.place(INTENT)

    assert ssl.SSLError.__name__ in repr(caught.value.__cause__) or "SSL" in str(caught.value)


async def test_a_cancelled_submit_stays_cancelled(wired: Wired) -> None:
    """Whoever cancels the task learns nothing, and nothing is swallowed."""
    arrived = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_head(reader)
        arrived.set()
        await reader.read()

    d = await wired(hold, timeouts=Timeouts())
    task = asyncio.create_task(d.connector.place(INTENT))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_closed_connector_sends_nothing(desk: MakeDesk) -> None:
    """It says so, and no request is made."""
    d = desk(GOOD)
    await d.connector.close()
    with pytest.raises(OrderDroppedError, match="closed"):
        await d.connector.place(INTENT)
    with pytest.raises(OutcomeUnknownError, match="closed"):
        await d.connector.get_account()

    assert d.requests == []


# ---------------------------------------------------------------------- the venue's own id of a request


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (httpx.Response(200, json=[], headers={"X-Request-ID": "req-7"}), {"debug"}),
        (httpx.Response(403, json=POOR, headers={"X-Request-ID": "req-7"}), {"debug", "warning"}),
        (httpx.Response(200, text="<html>", headers={"X-Request-ID": "req-7"}), {"debug", "warning"}),
    ],
)
async def test_the_venues_request_id_is_logged_with_every_answer_and_every_error(
    desk: MakeDesk, answer: httpx.Response, level: set[str]
) -> None:
    """Its support asks for it first."""
    d = desk(answer, retries=RetryPolicy(attempts=1))
    with structlog.testing.capture_logs() as lines, suppress(HoldfastError):
        await d.connector.get_orders()

    assert {line["log_level"] for line in lines if line.get("request_id") == "req-7"} == level


async def test_an_answer_that_is_no_json_keeps_the_request_id(desk: MakeDesk) -> None:
    """In the error too."""
    d = desk(httpx.Response(200, text="<html>", headers={"X-Request-ID": "req-8"}))
    with pytest.raises(OutcomeUnknownError) as caught:
        await d.connector.place(INTENT)

    assert caught.value.request_id == "req-8"
