"""Trades that come late, are corrected or cancelled: what REST and the streams say of them. All of it survives SIGKILL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.model.errors import VenueError
from holdfast.realtime import MarketDataStream
from holdfast.testing import VenueAdmin
from tests.venue.helpers import KEY, OPENING, SECRET, StartVenue, VenueProcess, hear, market, minutes
from tests.venue.market_watch import STOCKS, only, subscribed
from tests.venue.test_server_alpaca_py import Heard, running

Row = dict[str, Any]

pytestmark = [
    # The SDK uses what newer versions of its own dependencies deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK honours the proxies of the environment, which do not lead to this machine's loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def start(start_venue: StartVenue, **options: Any) -> VenueProcess:
    """A venue with quotes and trades of SPY and a coin, whose time moves when it is told to."""
    series = (minutes("SPY", 60, start=OPENING, base=400.0), minutes(start=OPENING))
    return start_venue(*series, **{"speed": 0.001, **options})


@pytest.fixture
def venue(start_venue: StartVenue) -> VenueProcess:
    """Five and a half minutes after the opening."""
    return start(start_venue)


@pytest.fixture
def admin(venue: VenueProcess) -> Iterator[VenueAdmin]:
    """Its admin port."""
    with VenueAdmin(venue.admin) as admin:
        admin.set_time("2024-01-02T14:35:30Z")
        yield admin


def rows(venue: VenueProcess, kind: str, minute: int | None = None) -> list[Row]:
    """The bars or trades that REST serves of SPY: all, or those of one minute after 14:30."""
    params = {"timeframe": "1Min", "start": "2024-01-02", "limit": "10000"}
    if minute is not None:
        params |= {"start": f"2024-01-02T14:{30 + minute}:00Z", "end": f"2024-01-02T14:{30 + minute}:59.999999999Z"}
    with venue.client() as client:
        answer = client.get(f"/v2/stocks/SPY/{kind}", params=params).raise_for_status().json()
    found: list[Row] = answer[kind]
    return found


def added_up(trades: list[Row]) -> Row:
    """The bar of some trades, apart from its time."""
    volume = sum(trade["s"] for trade in trades)
    prices = [trade["p"] for trade in trades]
    return {
        "o": prices[0],
        "h": max(prices),
        "l": min(prices),
        "c": prices[-1],
        "v": pytest.approx(volume),
        "n": len(trades),
        "vw": pytest.approx(sum(trade["p"] * trade["s"] for trade in trades) / volume),
    }


def without_time(bar: Row) -> Row:
    """A bar, apart from its time."""
    return {name: value for name, value in bar.items() if name != "t"}


def test_a_late_trade_revises_its_bar_and_no_other(venue: VenueProcess, admin: VenueAdmin) -> None:
    """REST serves the revised bar from then on, the trade among its trades, and an hour that holds both."""
    bars, trades = rows(venue, "bars"), rows(venue, "trades", 2)
    told = admin.late_trade("SPY", 405.5, 7, at="2024-01-02T14:32:30Z")
    after = rows(venue, "bars")

    assert told["revised"]
    assert told["bar"] == after[2]
    assert [row for place, row in enumerate(after) if place != 2] == [
        row for place, row in enumerate(bars) if place != 2
    ]
    assert (after[2]["h"], after[2]["v"], after[2]["n"]) == (405.5, 17, bars[2]["n"] + 1)
    now = rows(venue, "trades", 2)
    assert told["trade"] in now
    assert [row for row in now if row != told["trade"]] == trades
    assert without_time(after[2]) == added_up(now)
    with venue.client() as client:
        params = {"timeframe": "1Hour", "start": "2024-01-02T14:00:00Z"}
        assert client.get("/v2/stocks/SPY/bars", params=params).json()["bars"][0]["h"] == 405.5


def test_without_a_moment_it_is_the_last_trade_of_the_last_bar(venue: VenueProcess, admin: VenueAdmin) -> None:
    """So it becomes its close, also of a coin; nothing is filled by it."""
    with venue.client() as client:
        order = {**market("1", symbol="SPY"), "type": "limit", "limit_price": "380"}
        client.post("/v2/orders", json=order).raise_for_status()
        told = admin.late_trade("SPY", 379.0, 1)
        assert (told["bar"]["t"], told["bar"]["c"], told["bar"]["l"]) == ("2024-01-02T14:34:00Z", 379.0, 379.0)
        assert [row["status"] for row in client.get("/v2/orders").json()] == ["new"]
    coin = admin.late_trade("BTCUSD", 50_000, 0.25)
    assert (coin["symbol"], coin["bar"]["h"], coin["bar"]["v"]) == ("BTC/USD", 50_000, 10.25)


def test_a_correction_and_a_cancel_change_trade_and_bar(venue: VenueProcess, admin: VenueAdmin) -> None:
    """A corrected trade has another id and may be corrected again; one that is cancelled is gone."""
    first, second = rows(venue, "trades", 1)[:2]
    once = admin.correct_trade("SPY", first["i"], price=390.25, size=4)
    twice = admin.correct_trade("SPY", once["trade"]["i"], price=391.25, size=5)
    gone = admin.cancel_trade("SPY", second["i"], action="E")
    now = rows(venue, "trades", 1)

    assert (twice["trade"]["p"], twice["trade"]["s"], twice["trade"]["t"]) == (391.25, 5, first["t"])
    assert len({first["i"], once["trade"]["i"], twice["trade"]["i"]}) == 3
    assert now[0] == twice["trade"]
    assert second not in now
    assert gone["trade"] is None
    assert without_time(rows(venue, "bars")[1]) == added_up(now)
    with pytest.raises(VenueError, match=f"trade not found: SPY has had none with the id {first['i']}"):
        admin.correct_trade("SPY", first["i"], price=1, size=1)


def test_a_bar_without_its_trades_has_no_volume(venue: VenueProcess, admin: VenueAdmin) -> None:
    """It keeps the prices of the trade that went last."""
    for trade in rows(venue, "trades", 3):
        admin.cancel_trade("SPY", trade["i"])
    assert rows(venue, "trades", 3) == []
    price = trade["p"]
    told = without_time(rows(venue, "bars")[3])
    assert told == {"o": price, "h": price, "l": price, "c": price, "v": 0, "n": 0, "vw": 0}


def test_the_last_trade_is_the_one_that_stands(venue: VenueProcess, admin: VenueAdmin) -> None:
    """Where it was cancelled, the one before it; where it was corrected, what it is now."""
    admin.set_time("2024-01-02T14:36:00Z")

    def latest() -> Row:
        with venue.client() as client:
            found: Row = client.get("/v2/stocks/SPY/trades/latest").raise_for_status().json()["trade"]
        return found

    late = admin.late_trade("SPY", 398.0, 3)
    opening = latest()
    with pytest.raises(VenueError, match="no bar of SPY that has ended holds 2024-01-02T14:36:00Z"):
        admin.cancel_trade("SPY", opening["i"])
    assert late["trade"]["t"] == "2024-01-02T14:35:59.999999999Z"
    *_, before, last = rows(venue, "trades", 5)
    assert last == late["trade"]
    admin.cancel_trade("SPY", last["i"])
    assert rows(venue, "trades", 5)[-1] == before


def test_what_was_changed_survives_sigkill(start_venue: StartVenue, tmp_path: Path) -> None:
    """The same bars, trades and account, and ids that are not given twice."""
    book = str(tmp_path / "book.db")
    first = start(start_venue, book=book)
    with VenueAdmin(first.admin) as admin, first.client() as client:
        admin.set_time("2024-01-02T14:35:30Z")
        admin.late_trade("SPY", 405.5, 7, at="2024-01-02T14:32:30Z")
        admin.cancel_trade("SPY", rows(first, "trades", 1)[0]["i"])
        admin.move_price("SPY", 500)
        admin.set_time("2024-01-02T14:37:30Z")
        late = admin.late_trade("SPY", 501.0, 1)
        client.post("/v2/orders", json=market("1", symbol="SPY")).raise_for_status()
        kept = [rows(first, kind) for kind in ("bars", "trades")], client.get("/v2/account").json()
        first.kill()

    second = start(start_venue, book=book)
    with VenueAdmin(second.admin) as admin, second.client() as client:
        assert ([rows(second, kind) for kind in ("bars", "trades")], client.get("/v2/account").json()) == kept
        assert kept[0][0][2]["h"] == 405.5
        assert admin.late_trade("SPY", 501.0, 1)["trade"]["i"] != late["trade"]["i"]


REFUSED: list[tuple[str, Row, int, str]] = [
    ("/symbols/SPY/trades", {"size": 1}, 422, "price must be a number"),
    ("/symbols/SPY/trades", {"price": 0, "size": 1}, 422, "price must be above 0"),
    ("/symbols/SPY/trades", {"price": 1, "size": -1}, 422, "size must be above 0"),
    ("/symbols/SPY/trades", {"price": 1, "size": 1, "at": 5}, 422, "at must be a time"),
    ("/symbols/SPY/trades", {"price": 1, "size": 1, "when": 5}, 422, "unknown member 'when'"),
    ("/symbols/SPY/trades", {"price": 1, "size": 1, "at": "2024-01-02T14:35:10Z"}, 422, "no bar of SPY that has ended"),
    ("/symbols/SPY/trades", {"price": 1, "size": 1, "at": "2020-01-02T14:35:10Z"}, 422, "no bar of SPY that has ended"),
    ("/symbols/XYZ/trades", {"price": 1, "size": 1}, 404, "symbol not found: XYZ"),
    ("/symbols/SPY/trades/x/correct", {"price": 1, "size": 1}, 422, "a trade's id is a whole number, got 'x'"),
    ("/symbols/SPY/trades/999999/cancel", {}, 404, "trade not found"),
    ("/symbols/SPY/trades/1/cancel", {"action": "Z"}, 422, "action must be C"),
    ("/symbols/BTCUSD/trades/1/cancel", {}, 422, "BTC/USD is no equity"),
]


@pytest.mark.usefixtures("admin")
def test_what_cannot_be_is_refused_and_changes_nothing(venue: VenueProcess) -> None:
    """In a sentence."""
    before = rows(venue, "bars"), rows(venue, "trades")
    with httpx.Client(base_url=venue.admin, trust_env=False) as client:
        for path, body, status, why in REFUSED:
            answer = client.post(path, json=body)
            assert (answer.status_code, why in answer.json()["message"]) == (status, True), (path, body, answer.text)
    assert (rows(venue, "bars"), rows(venue, "trades")) == before


def test_a_market_of_bars_has_no_trades_to_amend(start_venue: StartVenue) -> None:
    """As in lock-step."""
    venue = start_venue(minutes("SPY", 60, start=OPENING, base=400.0))
    with VenueAdmin(venue.admin) as admin:
        admin.step(bars=2)
        with pytest.raises(VenueError, match="this venue has bars and no trades"):
            admin.late_trade("SPY", 400, 1)


def test_a_client_of_the_streams_is_told_what_rest_shows(venue: VenueProcess, admin: VenueAdmin) -> None:
    """A late trade as a trade, a correction and a cancel by their own messages, each followed by the bar."""
    trade = rows(venue, "trades", 1)[0]

    async def listen() -> list[Row]:
        heard: list[Row] = []
        async with subscribed(venue, STOCKS, trades=["SPY"], updatedBars=["SPY"]) as data:
            late = admin.late_trade("SPY", 405.5, 7, at="2024-01-02T14:32:30Z")
            admin.correct_trade("SPY", trade["i"], price=390.25, size=4)
            admin.cancel_trade("SPY", late["trade"]["i"], action="E")
            while sum(message["T"] == "u" for message in heard) < 3:
                heard += await hear(data)
        return heard

    heard = asyncio.run(listen())
    assert [message["T"] for message in heard] == ["t", "u", "c", "u", "x", "u"]
    assert only(heard, "t", "SPY")[0]["p"] == 405.5
    correction, cancel = only(heard, "c", "SPY")[0], only(heard, "x", "SPY")[0]
    assert (correction["oi"], correction["op"], correction["cp"], correction["cs"]) == (
        trade["i"],
        trade["p"],
        390.25,
        4,
    )
    assert (cancel["p"], cancel["s"], cancel["a"], cancel["t"]) == (405.5, 7, "E", "2024-01-02T14:32:30Z")
    assert only(heard, "u", "SPY")[1:] == [rows(venue, "bars")[1], rows(venue, "bars")[2]]


def test_a_delayed_stream_hears_it_right_at_once(venue: VenueProcess, admin: VenueAdmin) -> None:
    """What is still to come on it is not corrected first; what has been told is."""

    async def listen() -> list[Row]:
        heard: list[Row] = []
        async with subscribed(venue, "/v2/delayed_sip", trades=["SPY"], bars=["SPY"], updatedBars=["SPY"]) as data:
            admin.late_trade("SPY", 405.5, 7, at="2024-01-02T14:32:30Z")
            admin.set_time("2024-01-02T14:48:30Z")
            while not only(heard, "b", "SPY") or only(heard, "b", "SPY")[-1]["t"] != "2024-01-02T14:32:00Z":
                heard += await hear(data)
            admin.late_trade("SPY", 406.5, 7, at="2024-01-02T14:32:30Z")
            while not only(heard, "u", "SPY"):
                heard += await hear(data)
        return heard

    heard = asyncio.run(listen())
    assert [bar["h"] for bar in only(heard, "b", "SPY")][2] == 405.5
    assert [bar["h"] for bar in only(heard, "u", "SPY")] == [406.5]
    assert [trade["p"] for trade in only(heard, "t", "SPY") if trade["p"] > 405] == [405.5, 406.5]


async def test_the_official_sdk_reads_revisions_corrections_and_cancels(venue: VenueProcess, admin: VenueAdmin) -> None:
    """Corrections and cancels come with the trades."""
    from alpaca.data.enums import Exchange  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.data.live.stock import StockDataStream  # noqa: PLC0415 - as above

    trade = rows(venue, "trades", 1)[0]
    trades, bars = Heard(), Heard()
    stream = StockDataStream(KEY, SECRET, url_override=venue.socket_url + STOCKS)
    stream.subscribe_trades(trades.handler, "SPY")
    stream.register_trade_corrections(trades.handler)
    stream.register_trade_cancels(trades.handler)
    stream.subscribe_updated_bars(bars.handler, "SPY")
    async with running(stream):
        await until_subscribed(admin, trades)
        late = admin.late_trade("SPY", 405.5, 7, at="2024-01-02T14:32:30Z")
        admin.correct_trade("SPY", trade["i"], price=390.25, size=4)
        admin.cancel_trade("SPY", late["trade"]["i"])
        told = await trades.next()
        while told.price != 405.5:
            told = await trades.next()
        corrected, cancelled = await trades.next(), await trades.next()
        revised = [await bars.next() for _ in range(3)]

    assert (told.price, told.size, told.id) == (405.5, 7, late["trade"]["i"])
    assert (corrected.original_id, corrected.original_price) == (trade["i"], trade["p"])
    assert (corrected.corrected_price, corrected.corrected_size, corrected.exchange) == (390.25, 4, Exchange.V)
    assert (cancelled.id, cancelled.price, cancelled.action) == (told.id, 405.5, "C")
    assert [bar.timestamp.astimezone(UTC) for bar in revised] == [
        datetime(2024, 1, 2, 14, minute, tzinfo=UTC) for minute in (32, 31, 32)
    ]
    assert (revised[0].high, revised[1].low) == (405.5, 390.25)


async def test_the_connector_counts_them(venue: VenueProcess, admin: VenueAdmin) -> None:
    """A bar that was revised is told apart from a new one; a correction and a cancel name the trade."""
    trade = rows(venue, "trades", 1)[0]
    told = {kind: Heard() for kind in ("bar", "trade", "revised", "correction", "cancel")}
    stream = MarketDataStream(
        KEY,
        SECRET,
        venue.socket_url + STOCKS,
        ["SPY"],
        handler(told["bar"]),
        on_trade=handler(told["trade"]),
        on_revised=handler(told["revised"]),
        on_correction=handler(told["correction"]),
        on_cancel=handler(told["cancel"]),
    )
    await stream.start()
    try:
        await until_subscribed(admin, told["trade"])
        late = admin.late_trade("SPY", 405.5, 7, at="2024-01-02T14:32:30Z")
        corrected = admin.correct_trade("SPY", trade["i"], price=390.25, size=4)
        admin.cancel_trade("SPY", late["trade"]["i"])
        revised = [(await told["revised"].next())[0] for _ in range(3)]
        symbol, exchange, old_id, now = await told["correction"].next()
        cancelled = await told["cancel"].next()
        stats = stream.get_stats()
    finally:
        await stream.stop()

    assert [bar.high == 405.5 for bar in revised] == [True, False, False]
    assert (symbol, exchange, old_id) == ("SPY", "V", str(trade["i"]))
    assert (now.id, now.price, now.size) == (str(corrected["trade"]["i"]), 390.25, 4.0)
    assert cancelled == ("SPY", "V", str(late["trade"]["i"]))
    counted = ("revisions", "corrections", "cancels", "malformed", "unheard_of")
    assert [stats[name] for name in counted] == [3, 1, 1, 0, 0]


def handler(heard: Heard) -> Callable[..., Awaitable[None]]:
    """Keeps all arguments of a call."""

    async def keep(*told: Any) -> None:
        await heard.handler(told)

    return keep


async def until_subscribed(admin: VenueAdmin, trades: Heard) -> None:
    """Let the market trade until its client has heard of a trade."""
    for second in range(20 * 60):
        if not trades.is_empty:
            return
        await asyncio.to_thread(admin.set_time, f"2024-01-02T14:{36 + second // 60}:{second % 60:02}Z")
    message = "nothing was heard of 20 minutes of trades"
    raise AssertionError(message)
