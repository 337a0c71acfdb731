"""The connector's methods: what they ask for, how they walk pages, what they make of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from holdfast.brokers import AlpacaConnector, MalformedMessageError
from holdfast.brokers.alpaca_endpoints import (
    check_base_url,
    check_key,
    check_socket_url,
    data_stream_url,
    is_loopback,
    trade_stream_url,
)
from holdfast.model import AssetClass, OrderIntent, OrderSide, OrderType, TimeInForce
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerRefusedError,
    ConfigurationError,
    OrderDroppedError,
    OutcomeUnknownError,
    UnknownSymbolError,
)
from holdfast.model.timestamps import NS_PER_MINUTE, parse_rfc3339
from holdfast.net import create_combined_throttler
from holdfast.time import BacktestClock

Desk = Any
MakeDesk = Callable[..., Desk]
Row = dict[str, Any]

MISSING = httpx.Response(404, json={"code": 40410000, "message": "order not found for hf-1"})
NO_ENDPOINT = httpx.Response(404, json={"code": 40410000, "message": "endpoint not found"})


def query(desk: Desk, request: int = 0) -> dict[str, str]:
    """The query parameters of one request."""
    return dict(desk.requests[request].url.params)


# ---------------------------------------------------------------------- raw orders


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (
            {"symbol": "AAPL", "qty": 10, "side": "BUY", "order_type": "market"},
            {"symbol": "AAPL", "qty": "10", "side": "buy", "type": "market", "time_in_force": "day"},
        ),
        (
            {"symbol": "AAPL", "qty": Decimal("1.5"), "side": "sell", "price": 150.25, "client_order_id": "mine"},
            {
                "symbol": "AAPL",
                "qty": "1.5",
                "side": "sell",
                "type": "limit",
                "time_in_force": "day",
                "limit_price": "150.25",
                "client_order_id": "mine",
            },
        ),
        (
            {"symbol": "BTC/USD", "qty": "0.1", "side": "buy"},
            {"symbol": "BTC/USD", "qty": "0.1", "side": "buy", "type": "market", "time_in_force": "gtc"},
        ),
        (
            {"symbol": "BTC/USD", "qty": 1e-05, "side": "buy", "limit_price": "6e4", "time_in_force": "IOC"},
            {
                "symbol": "BTC/USD",
                "qty": "0.00001",
                "side": "buy",
                "type": "limit",
                "time_in_force": "ioc",
                "limit_price": "60000",
            },
        ),
    ],
)
async def test_a_raw_submit_is_written_as_the_guide_calls_it(desk: MakeDesk, arguments: Row, body: Row) -> None:
    """With the defaults that make sense for the symbol; the venue's own object comes back."""
    d = desk(httpx.Response(200, json={"id": "o-1", "novelty": True}))
    answer = await d.connector.submit_order(**arguments)

    assert answer == {"id": "o-1", "novelty": True}
    assert httpx.Response(200, content=d.requests[0].content).json() == body


async def test_a_raw_submit_of_no_number_is_a_clear_error(desk: MakeDesk) -> None:
    """Nothing leaves."""
    d = desk(MISSING)
    with pytest.raises(ConfigurationError, match="order for AAPL: 'ten' is not a number"):
        await d.connector.submit_order("AAPL", "ten", "buy")

    assert d.requests == []


async def test_a_position_is_closed_by_the_venue_under_its_slashless_name(desk: MakeDesk, order: Row) -> None:
    """Alpaca answers 404 to "BTC/USD" there; its order comes back typed or as it is."""
    d = desk(httpx.Response(200, json=order))

    assert (await d.connector.close_position("BTC/USD"))["id"] == order["id"]
    assert (await d.connector.request_close("AAPL")).client_order_id == "hf-1"
    assert [(r.method, r.url.raw_path) for r in d.requests] == [
        ("DELETE", b"/v2/positions/BTCUSD"),
        ("DELETE", b"/v2/positions/AAPL"),
    ]


async def test_all_orders_are_cancelled_in_one_request(desk: MakeDesk) -> None:
    """Alpaca answers 207 with one row an order."""
    d = desk(httpx.Response(207, json=[{"id": "o-1", "status": 200, "body": None}]))

    assert await d.connector.cancel_all_orders() == [{"id": "o-1", "status": 200, "body": None}]
    assert (d.requests[0].method, d.requests[0].url.path) == ("DELETE", "/v2/orders")


async def test_a_brake_stops_orders_and_never_cancels_or_reads(desk: MakeDesk, order: Row) -> None:
    """Whoever asks: a raw submit counts as one that opens, a close-position call as one that reduces."""
    asked: list[bool] = []

    def brake(*, reduces: bool) -> str | None:
        asked.append(reduces)
        return "the halt file says so"

    d = desk(httpx.Response(200, json=order), brake=brake)
    with pytest.raises(OrderDroppedError, match="the halt file says so"):
        await d.connector.submit_order("AAPL", 1, "buy")
    with pytest.raises(OrderDroppedError, match="the halt file says so"):
        await d.connector.close_position("AAPL")
    assert (d.requests, asked) == ([], [False, True])

    await d.connector.cancel_order("o-1")
    await d.connector.get_order("o-1")
    assert len(d.requests) == 2


async def test_cancels_closes_and_look_ups_use_the_reserve(desk: MakeDesk, order: Row) -> None:
    """With every ordinary slot taken they leave at once; an ordinary read would wait."""
    clock = BacktestClock(datetime(2024, 1, 2, 14, 30, tzinfo=UTC))
    throttler = create_combined_throttler({"alpaca_trading": {"limit": 10, "reserve": 0.5}}, clock)
    d = desk(httpx.Response(200, json=order), throttler=throttler, clock=clock)
    for _ in range(5):
        await d.connector.get_order("o-1")
    waiting = asyncio.create_task(d.connector.get_order("o-1"))
    await asyncio.sleep(0)

    await d.connector.cancel_order("o-1")
    await d.connector.find_order("hf-1")
    await d.connector.close_position("AAPL")
    exit_order = OrderIntent(
        client_order_id="hf-1",
        symbol="AAPL",
        side=OrderSide.SELL,
        quantity=Decimal(10),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        created_at=0,
        reduce_only=True,
    )
    await d.connector.place(exit_order)
    assert len(d.requests) == 9
    assert not waiting.done(), "an ordinary read waits for an ordinary place"
    waiting.cancel()


async def test_raw_methods_return_what_the_venue_said(desk: MakeDesk) -> None:
    """Objects as dictionaries, lists as lists, each under its own limit."""
    d = desk(httpx.Response(200, json={"id": "x"}))
    calls = {
        "/v2/account": d.connector.get_account(),
        "/v2/orders/o-1": d.connector.get_order("o-1"),
        "/v2/orders:by_client_order_id": d.connector.get_order_by_client_id("hf/1"),
        "/v2/assets/BTC%2FUSD": d.connector.get_asset("BTC/USD"),
        "/v2/clock": d.connector.get_clock(),
    }
    for call in calls.values():
        assert await call == {"id": "x"}

    d.answers = [httpx.Response(200, json=[{"id": "x"}])]
    lists = {
        "/v2/positions": d.connector.get_positions(),
        "/v2/calendar": d.connector.get_calendar(start="2024-01-02"),
        "/v2/account/activities/FILL": d.connector.get_activities(),
        "/v2/orders": d.connector.get_orders(status="all", symbols=["AAPL", "BTC/USD"], nested=True),
    }
    for call in lists.values():
        assert await call == [{"id": "x"}]

    paths = [request.url.raw_path.decode().partition("?")[0] for request in d.requests]
    assert paths == [*calls, *lists]
    assert query(d, 2) == {"client_order_id": "hf/1"}
    assert query(d, -1) == {
        "status": "all",
        "limit": "500",
        "direction": "asc",
        "symbols": "AAPL,BTC/USD",
        "nested": "true",
    }


@pytest.mark.parametrize("method", ["get_account", "get_clock"])
async def test_a_list_where_an_object_belongs_is_malformed(desk: MakeDesk, method: str) -> None:
    """And the other way round, below."""
    d = desk(httpx.Response(200, json=[]))
    with pytest.raises(MalformedMessageError, match="sent list where"):
        await getattr(d.connector, method)()


@pytest.mark.parametrize("method", ["get_positions", "get_orders", "get_activities", "get_open_orders"])
async def test_an_object_where_a_list_belongs_is_malformed(desk: MakeDesk, method: str) -> None:
    """An empty answer must not look like "no positions"."""
    d = desk(httpx.Response(200, json={}))
    with pytest.raises(MalformedMessageError, match="sent dict where"):
        await getattr(d.connector, method)()


# ---------------------------------------------------------------------- look-up


async def test_a_look_up_finds_the_order(desk: MakeDesk, order: Row) -> None:
    """By our id."""
    d = desk(httpx.Response(200, json=order))
    report = await d.connector.find_order("hf-1")

    assert report.broker_id == order["id"]
    assert query(d) == {"client_order_id": "hf-1"}


async def test_a_look_up_misses_only_where_alpaca_says_so(desk: MakeDesk) -> None:
    """That is evidence."""
    assert await desk(MISSING).connector.find_order("hf-1") is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NO_ENDPOINT, BrokerRefusedError),
        (httpx.Response(404, text="nginx"), OutcomeUnknownError),
        (httpx.Response(503), OutcomeUnknownError),
        (httpx.Response(200, json={}), MalformedMessageError),
        (httpx.Response(401), BrokerAuthError),
        (httpx.ReadTimeout("slow"), OutcomeUnknownError),
    ],
)
async def test_silence_is_never_evidence(
    desk: MakeDesk, answer: httpx.Response | Exception, error: type[Exception]
) -> None:
    """A look-up that gives no answer does not say that there is no order."""
    with pytest.raises(error):
        await desk(answer).connector.find_order("hf-1")


async def test_a_look_up_that_finds_another_order_is_malformed(desk: MakeDesk, order: Row) -> None:
    """Never adopted."""
    d = desk(httpx.Response(200, json={**order, "client_order_id": "other"}))
    with pytest.raises(MalformedMessageError, match="look-up of hf-1 with order other"):
        await d.connector.find_order("hf-1")


# ---------------------------------------------------------------------- pages


def book(order: Row, count: int) -> list[Row]:
    """So many orders, all submitted in the same moment."""
    return [{**order, "id": f"o-{n}", "client_order_id": f"hf-{n}"} for n in range(count)]


def serve_orders(rows: list[Row]) -> Callable[[httpx.Request], httpx.Response]:
    """A venue that pages by order id."""

    def answer(request: httpx.Request) -> httpx.Response:
        params = request.url.params
        after = params.get("after_order_id")
        assert after is None or "after" not in params
        first = 0 if after is None else next(n for n, row in enumerate(rows) if row["id"] == after) + 1
        return httpx.Response(200, json=rows[first : first + int(params["limit"])])

    return answer


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1000, 1203])
async def test_all_orders_are_walked_however_many(desk: MakeDesk, order: Row, count: int) -> None:
    """Across the cap of 500, with equal times, each once and in order."""
    rows = book(order, count)
    d = desk(MISSING, transport=httpx.MockTransport(serve_orders(rows)))

    assert [report.broker_id for report in await d.connector.fetch_open_orders()] == [row["id"] for row in rows]
    assert await d.connector.get_open_orders() == rows
    assert len(await d.connector.fetch_orders(since=0)) == count


async def test_orders_since_a_moment_include_the_moment(desk: MakeDesk, order: Row) -> None:
    """The venue's bound is exclusive, so a millisecond earlier is asked for."""
    d = desk(httpx.Response(200, json=[order]))
    reports = await d.connector.fetch_orders(since=parse_rfc3339("2024-01-02T14:30:00Z"))

    assert query(d, -1)["after"] == "2024-01-02T14:29:59.999Z"
    assert query(d, -1)["status"] == "all"
    assert len(reports) == 1


async def test_an_order_that_rests_since_long_ago_is_among_those_since_a_moment(desk: MakeDesk, order: Row) -> None:
    """Left out, it would look as if the venue had lost it."""
    d = desk(httpx.Response(200, json=[order]), httpx.Response(200, json=[]))
    reports = await d.connector.fetch_orders(since=parse_rfc3339("2030-01-01T00:00:00Z"))

    assert [query(d, number)["status"] for number in (0, 1)] == ["open", "all"]
    assert [report.broker_id for report in reports] == [order["id"]]


async def test_a_page_that_comes_twice_is_an_error_and_no_endless_loop(desk: MakeDesk, order: Row) -> None:
    """A venue that ignores the page's key must not look like a short list."""
    d = desk(httpx.Response(200, json=book(order, 500)))
    with pytest.raises(OutcomeUnknownError, match="paging of orders does not move on"):
        await d.connector.fetch_open_orders()


async def test_an_options_combination_is_left_out_and_is_no_broken_order(desk: MakeDesk, order: Row) -> None:
    """It has no side and no symbol, and this engine never makes one."""
    combination = {**order, "id": "m", "order_class": "mleg", "side": "", "symbol": ""}
    d = desk(httpx.Response(200, json=[combination, order]))

    assert [report.broker_id for report in await d.connector.fetch_open_orders()] == [order["id"]]
    assert d.connector.get_stats()["malformed"] == 0


def fills(count: int) -> list[Row]:
    """So many FILL activities in one millisecond, in the wrong order."""
    return [
        {
            "id": f"20240102093001500::e-{n}",
            "activity_type": "FILL",
            "transaction_time": "2024-01-02T14:30:01.5Z",
            "price": "1",
            "qty": "1",
            "side": "buy",
            "symbol": "AAPL",
            "cum_qty": str(count - n),
            "order_id": "o-1",
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
async def test_all_executions_are_walked_and_put_in_order(desk: MakeDesk, count: int) -> None:
    """By the last id of each page; within a millisecond by the cumulative quantity."""
    rows = fills(count)

    def answer(request: httpx.Request) -> httpx.Response:
        params = request.url.params
        token = params.get("page_token")
        first = 0 if token is None else next(n for n, row in enumerate(rows) if row["id"] == token) + 1
        assert (params["direction"], params["after"]) == ("asc", "2024-01-02T14:29:59Z")
        return httpx.Response(200, json=rows[first : first + int(params["page_size"])])

    d = desk(MISSING, transport=httpx.MockTransport(answer))
    executions = await d.connector.fetch_executions(since=parse_rfc3339("2024-01-02T14:30:00.75Z"))

    assert [execution.cum_qty for execution in executions] == [Decimal(n) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("symbol", "path", "feed"), [("AAPL", "/v2/stocks/bars", "iex"), ("BTC/USD", "/v1beta3/crypto/us/bars", None)]
)
async def test_bars_are_walked_and_cut_to_the_window(desk: MakeDesk, symbol: str, path: str, feed: str | None) -> None:
    """A bar is given where it lies within the window whole; its time is its end."""
    start, end = parse_rfc3339("2024-01-02T14:30:00Z"), parse_rfc3339("2024-01-02T14:32:00Z")

    def row(minute: int) -> Row:
        return {"t": f"2024-01-02T14:{minute}:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": minute}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == path
        assert request.url.params.get("feed") == feed
        if request.url.params.get("page_token"):
            return httpx.Response(200, json={"bars": {symbol: [row(31), row(32)]}, "next_page_token": None})
        bars = {symbol: [row(29), row(30)], "OTHER": [row(30)]}
        return httpx.Response(200, json={"bars": bars, "next_page_token": "p2"})

    d = desk(MISSING, transport=httpx.MockTransport(answer))
    bars = await d.connector.fetch_bars(symbol, start, end, NS_PER_MINUTE)

    assert [(bar.symbol, bar.ts, bar.volume) for bar in bars] == [
        (symbol, start + NS_PER_MINUTE, 30.0),
        (symbol, end, 31.0),
    ]
    assert d.granted("alpaca_bars") == 2


async def test_no_bars_fit_into_less_than_one(desk: MakeDesk) -> None:
    """Nothing is asked for."""
    d = desk(MISSING)

    assert await d.connector.fetch_bars("AAPL", 0, NS_PER_MINUTE - 1, NS_PER_MINUTE) == []
    assert d.requests == []


@pytest.mark.parametrize("bars", [None, {}])
async def test_no_bars_at_all_is_an_empty_list(desk: MakeDesk, bars: object) -> None:
    """However the venue says so."""
    d = desk(httpx.Response(200, json={"bars": bars, "next_page_token": None}))

    assert await d.connector.fetch_bars("AAPL", 0, NS_PER_MINUTE, NS_PER_MINUTE) == []


async def test_bars_that_page_in_a_circle_are_an_error(desk: MakeDesk) -> None:
    """Not an endless loop."""
    d = desk(httpx.Response(200, json={"bars": {}, "next_page_token": "again"}))
    with pytest.raises(OutcomeUnknownError, match="paging of bars"):
        await d.connector.get_bars("AAPL")


# ---------------------------------------------------------------------- the rest of the typed side


async def test_an_asset_is_described_and_an_unknown_one_is_said_to_be_unknown(desk: MakeDesk) -> None:
    """Whichever of its two ways the venue has of saying so."""
    d = desk(httpx.Response(200, json={"class": "crypto", "symbol": "BTC/USD", "tradable": True}))
    assert (await d.connector.fetch_asset("BTC/USD")).asset_class is AssetClass.CRYPTO

    for code, status in ((40410000, 404), (42210000, 422)):
        d.answers = [httpx.Response(status, json={"code": code, "message": "asset not found for NOPE"})]
        with pytest.raises(UnknownSymbolError, match="does not know the symbol 'NOPE'"):
            await d.connector.fetch_asset("NOPE")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NO_ENDPOINT, BrokerRefusedError),
        (httpx.Response(401), BrokerAuthError),
        (httpx.Response(500), OutcomeUnknownError),
    ],
)
async def test_an_asset_that_could_not_be_asked_for_is_not_unknown(
    desk: MakeDesk, answer: httpx.Response, error: type[Exception]
) -> None:
    """A wrong address is not an unknown symbol."""
    with pytest.raises(error):
        await desk(answer).connector.fetch_asset("AAPL")


async def test_positions_are_told_with_slashes_and_signs(desk: MakeDesk) -> None:
    """And one that cannot be read fails them all: a gap would look like flat."""
    rows = [
        {"symbol": "BTCUSD", "asset_class": "crypto", "qty": "0.09975", "avg_entry_price": "60000"},
        {"symbol": "AAPL", "asset_class": "us_equity", "qty": "-3", "side": "short", "avg_entry_price": "150"},
    ]
    d = desk(httpx.Response(200, json=rows))
    positions = await d.connector.fetch_positions()
    assert [(p.symbol, p.quantity) for p in positions] == [("BTC/USD", Decimal("0.09975")), ("AAPL", Decimal(-3))]

    d.answers = [httpx.Response(200, json=[*rows, {"symbol": "MSFT"}])]
    with pytest.raises(MalformedMessageError, match="a position that cannot be read: it has no 'qty'"):
        await d.connector.fetch_positions()


async def test_the_clock_is_told_in_nanoseconds(desk: MakeDesk) -> None:
    """Of UTC."""
    times = {"next_open": "2024-01-02T14:30:00Z", "next_close": "2024-01-02T21:00:00Z"}
    d = desk(httpx.Response(200, json={"timestamp": "2024-01-02T09:00:00-05:00", "is_open": False, **times}))
    clock = await d.connector.fetch_clock()

    assert (clock.now, clock.is_open) == (parse_rfc3339("2024-01-02T14:00:00Z"), False)


# ---------------------------------------------------------------------- configuration


async def test_the_guides_configuration_is_read() -> None:
    """Keyword arguments win over it, and live is live only where it says so."""
    keys = {"api_key": "k", "api_secret": "s"}
    live = AlpacaConnector({"alpaca": keys, "account": {"mode": "live"}})
    paper = AlpacaConnector({"alpaca": keys, "account": {"mode": "paper"}})
    other = AlpacaConnector({"alpaca": {**keys, "base_url": "http://127.0.0.1:1/v2/"}})

    assert [repr(one) for one in (live, paper, other)] == [
        "AlpacaConnector(https://api.alpaca.markets)",
        "AlpacaConnector(https://paper-api.alpaca.markets)",
        "AlpacaConnector(http://127.0.0.1:1)",
    ]
    for one in (live, paper, other):
        await one.close()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "alpaca.api_key is missing"),
        ({"alpaca": {"api_key": "k"}}, "alpaca.api_secret is missing"),
        ({"alpaca": {"api_key": "k y", "api_secret": "s"}}, "alpaca.api_key holds a space"),
        ({"alpaca": {"api_key": "ké", "api_secret": "s"}}, "a character that no Alpaca key has"),
        ({"alpaca": {"api_key": "k", "api_secret": "s", "base_url": "paper"}}, "alpaca.base_url is 'paper'"),
        ({"alpaca": {"api_key": "k", "api_secret": "s", "base_url": "ftp://x"}}, "expected a URL like https"),
        ({"alpaca": "keys"}, "configuration key 'alpaca' is str"),
    ],
)
def test_a_configuration_that_cannot_work_is_one_clear_sentence(config: dict[str, Any], words: str) -> None:
    """Which key, what was expected; never the key's value."""
    with pytest.raises(ConfigurationError, match=words):
        AlpacaConnector(config)


def test_a_key_copied_with_its_line_break_is_the_key() -> None:
    """White space around it is not part of it."""
    assert check_key(" AK123\n", "key") == "AK123"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://paper-api.alpaca.markets/v2/", "https://paper-api.alpaca.markets"),
        ("https://paper-api.alpaca.markets", "https://paper-api.alpaca.markets"),
        ("http://[::1]:80/x/", "http://[::1]:80/x"),
    ],
)
def test_a_base_url_is_read_as_people_write_it(text: str, url: str) -> None:
    """With and without a slash or a version."""
    assert check_base_url(text, "base_url") == url


@pytest.mark.parametrize("text", ["", "x", "http://", "https://h:0", "https://h:99999", "ws://h", "http://[::1"])
def test_what_is_no_base_url_is_refused(text: str) -> None:
    """Before anything is sent there."""
    with pytest.raises(ConfigurationError, match="base_url is"):
        check_base_url(text, "base_url")


def test_stream_urls_follow_the_rest_urls() -> None:
    """One host, other scheme."""
    assert trade_stream_url("https://api.alpaca.markets") == "wss://api.alpaca.markets/stream"
    assert trade_stream_url("http://127.0.0.1:8080/") == "ws://127.0.0.1:8080/stream"
    assert data_stream_url(AssetClass.US_EQUITY) == "wss://stream.data.alpaca.markets/v2/iex"
    assert (
        data_stream_url(AssetClass.CRYPTO, stream_url="http://127.0.0.1:8080")
        == "ws://127.0.0.1:8080/v1beta3/crypto/us"
    )
    with pytest.raises(ConfigurationError, match="stream is 'http://x'"):
        check_socket_url("http://x", "stream")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True),
        ("ws://localhost/x", True),
        ("http://[::1]", True),
        ("http://10.0.0.1", False),
        ("https://localhost.evil.example", False),
        ("nonsense", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(url: str, local: bool) -> None:
    """Proxy settings are not for it."""
    assert is_loopback(url) is local
