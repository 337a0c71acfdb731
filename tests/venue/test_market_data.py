"""Bars, quotes and trades over REST and the streams: they agree with each other and with the recorded bars."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.venue.helpers import KEYS, OPENING, StartVenue, VenueProcess, hear, minutes
from tests.venue.market_watch import CRYPTO, STOCKS, Messages, flowing, hear_bars, only, subscribed

MINUTES = 12
FAST = 1200  # twenty minutes a second
DATA = "/v1beta3/crypto/us"
EVERYTHING: Any = {name: ["*"] for name in ("trades", "quotes", "bars", "updatedBars", "dailyBars")}


def anyone(venue: VenueProcess) -> httpx.Client:
    """A client without keys."""
    return httpx.Client(base_url=venue.url, trust_env=False, timeout=30)


def pages(client: httpx.Client, path: str, kind: str, **params: Any) -> tuple[dict[str, Messages], list[int]]:
    """All rows of a range by symbol, and how many each page had."""
    rows: dict[str, Messages] = {}
    counts: list[int] = []
    token: str | None = None
    while True:
        answer = client.get(path, params=params | ({"page_token": token} if token else {}))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        for symbol, part in body[kind].items():
            rows.setdefault(symbol, []).extend(part)
        counts.append(sum(map(len, body[kind].values())))
        token = body["next_page_token"]
        if token is None:
            return rows, counts


async def test_history_is_what_was_streamed_and_bars_are_what_was_traded(start_venue: StartVenue) -> None:
    """For crypto, whose data need no keys: quotes, trades, bars, books, snapshots; in pages, both ways round."""
    names = ["BTC/USD", "ETH/USD"]
    series = {"BTC/USD": minutes("BTC/USD", MINUTES), "ETH/USD": minutes("ETH/USD", MINUTES, base=3_000.0)}
    venue = start_venue(*series.values(), speed=FAST)
    async with subscribed(venue, CRYPTO, **EVERYTHING, orderbooks=["BTC/USD"]) as data, flowing(venue):
        heard = await hear_bars(data, 2 * MINUTES)

    window = {"start": "2022-01-03T00:00:00Z", "symbols": ",".join(names)}
    with anyone(venue) as client:
        for kind, letter in (("trades", "t"), ("quotes", "q")):
            told = {symbol: only(heard, letter, symbol) for symbol in names}
            found, counts = pages(client, f"{DATA}/{kind}", kind, limit=37, **window)
            backwards, _ = pages(client, f"{DATA}/{kind}", kind, limit=41, sort="desc", **window)
            # The first ticks happened as the market began, before anybody could be subscribed.
            assert {symbol: rows[-len(told[symbol]) :] for symbol, rows in found.items()} == told
            assert all(0 <= len(found[symbol]) - len(told[symbol]) <= 1 for symbol in names)
            assert {symbol: rows[::-1] for symbol, rows in backwards.items()} == found
            assert set(counts[:-1]) == {37}
        bars, _ = pages(client, f"{DATA}/bars", "bars", timeframe="1Min", limit=5, **window)
        trades, _ = pages(client, f"{DATA}/trades", "trades", **window)
        latest = {kind: client.get(f"{DATA}/latest/{kind}", params=window).json() for kind in ("trades", "quotes")}
        book = client.get(f"{DATA}/latest/orderbooks", params=window).json()["orderbooks"]["BTC/USD"]
        snapshots = client.get(f"{DATA}/snapshots", params=window).json()["snapshots"]

    for symbol, recorded in series.items():
        assert bars[symbol] == only(heard, "b", symbol)
        assert only(heard, "u", symbol) == []
        assert [only(heard, "d", symbol)[-1]["n"]] == [sum(bar["n"] for bar in bars[symbol])]
        for bar, row in zip(bars[symbol], recorded.bars(), strict=True):
            until = f"{bar['t'][:-3]}59.999999999Z"
            inside = [trade for trade in trades[symbol] if bar["t"] <= trade["t"] <= until]
            prices = [trade["p"] for trade in inside]
            assert (prices[0], max(prices), min(prices), prices[-1]) == (row.open, row.high, row.low, row.close)
            assert round(sum(trade["s"] for trade in inside), 9) == row.volume == bar["v"]
            assert bar["n"] == len(inside)
            assert bar["vw"] == pytest.approx(sum(trade["p"] * trade["s"] for trade in inside) / row.volume)
        assert latest["trades"]["trades"][symbol] == trades[symbol][-1] == snapshots[symbol]["latestTrade"]
        assert latest["quotes"]["quotes"][symbol] == snapshots[symbol]["latestQuote"]
        assert snapshots[symbol]["minuteBar"] == bars[symbol][-1]
        assert snapshots[symbol]["dailyBar"] == only(heard, "d", symbol)[-1]
        assert "prevDailyBar" not in snapshots[symbol]
    assert {trade["tks"] for trade in trades["BTC/USD"]} == {"B", "S"}
    assert rebuilt(only(heard, "o", "BTC/USD")) == (book["b"], book["a"])


def rebuilt(messages: Messages) -> tuple[Messages, Messages]:
    """An order book from its stream: a whole one first, then changes, of which size 0 removes a level."""
    assert messages[0]["r"] is True
    assert all("r" not in message for message in messages[1:])
    sides: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    for message in messages:
        for side, known in sides.items():
            for level in message[side]:
                if level["s"] == 0:
                    del known[level["p"]]
                else:
                    known[level["p"]] = level["s"]
    bids = [{"p": price, "s": sides["b"][price]} for price in sorted(sides["b"], reverse=True)]
    asks = [{"p": price, "s": sides["a"][price]} for price in sorted(sides["a"])]
    return bids, asks


async def played(venue: VenueProcess, symbol: str, bars: int) -> None:
    """Let the market run to its end."""
    async with subscribed(venue, STOCKS, bars=[symbol]) as data, flowing(venue):
        await hear_bars(data, bars)


async def test_stocks_have_single_symbol_forms_flat_snapshots_and_checked_parameters(start_venue: StartVenue) -> None:
    """Feeds, adjustments, timeframes, symbols, ranges: what is wrong is a 400 that names it."""
    venue = start_venue(minutes("SPY", MINUTES, start=OPENING, base=400.0), speed=FAST)
    await played(venue, "SPY", MINUTES)
    window = {"start": "2024-01-02T14:30:00Z"}
    with venue.client() as client:

        def get(path: str, **params: Any) -> Any:
            return client.get(f"/v2/stocks/{path}", params=params).json()

        many = {
            kind: get(kind, symbols="SPY,NONE", timeframe="1Min", **window) for kind in ("bars", "quotes", "trades")
        }
        one = {kind: get(f"SPY/{kind}", timeframe="1Min", **window) for kind in ("bars", "quotes", "trades")}
        latest = {kind: get(f"{kind}/latest", symbols="SPY,NONE") for kind in ("bars", "quotes", "trades")}
        last = {kind: get(f"SPY/{kind}/latest", feed="iex") for kind in ("bars", "quotes", "trades")}
        flat, single = get("snapshots", symbols="SPY,NONE"), get("SPY/snapshot")
        delayed = get("SPY/trades/latest", feed="delayed_sip")
        exact = get("SPY/trades", start=one["trades"]["trades"][3]["t"], end=one["trades"]["trades"][5]["t"])
        empty = [get("SPY/bars", timeframe="1Min", feed="otc", **window), get("SPY/quotes/latest", feed="overnight")]
        wrong = [
            client.get(f"/v2/stocks/{path}", params=params)
            for path, params in (
                ("bars", {"timeframe": "1Min"}),
                ("bars", {"symbols": "spy", "timeframe": "1Min"}),
                ("bars", {"symbols": "SPY", "timeframe": "61Min"}),
                ("bars", {"symbols": "SPY", "timeframe": "1Min", "adjustment": "none"}),
                ("bars", {"symbols": "SPY", "timeframe": "1Min", "feed": "delayed_sip"}),
                ("trades", {"symbols": "SPY", "sort": "up"}),
                ("trades", {"symbols": "SPY", "start": "2024-01-03", "end": "2024-01-02"}),
                ("quotes/latest", {"symbols": "SPY", "feed": "x"}),
            )
        ]
        no_pair = client.get(f"{DATA}/trades", params={"symbols": "BTCUSD"})

    for kind, letter in (("bars", "bar"), ("quotes", "quote"), ("trades", "trade")):
        assert many[kind] == {kind: {"SPY": one[kind][kind]}, "next_page_token": None}
        assert one[kind]["symbol"] == "SPY"
        assert last[kind] == {"symbol": "SPY", letter: one[kind][kind][-1]}
        assert latest[kind] == {kind: {"SPY": one[kind][kind][-1]}}
    assert set(one["trades"]["trades"][0]) == {"t", "x", "p", "s", "c", "i", "z"}
    assert set(one["quotes"]["quotes"][0]) == {"t", "bx", "bp", "bs", "ax", "ap", "as", "c", "z"}
    assert flat == {"SPY": {name: part for name, part in single.items() if name != "symbol"}}
    assert set(flat["SPY"]) == {"latestTrade", "latestQuote", "minuteBar", "dailyBar"}
    assert exact["trades"] == one["trades"]["trades"][3:6]
    assert delayed == {"symbol": "SPY", "trade": None}
    assert empty == [{"bars": [], "symbol": "SPY", "next_page_token": None}, {"symbol": "SPY", "quote": None}]
    assert [answer.status_code for answer in wrong] == [400] * len(wrong)
    texts = [answer.json()["message"] for answer in wrong]
    for text, word in zip(texts, ("symbols", "spy", "61Min", "none", "delayed_sip", "up", "end", "feed"), strict=True):
        assert word in text
    assert no_pair.json()["message"] == "invalid symbol: BTCUSD does not match ^[A-Z]+/[A-Z]+$"


async def test_the_free_plan_has_no_recent_sip_data_and_no_sip_stream(start_venue: StartVenue) -> None:
    """403 over REST, 409 on the stream; older data, IEX and defaults remain. And thirty symbols a stream."""
    venue = start_venue(minutes("SPY", 30, start=OPENING, base=400.0), speed=2400, basic_plan=True)
    await played(venue, "SPY", 30)
    start, old = "2024-01-02T14:30:00Z", "2024-01-02T14:45:00Z"
    with venue.client() as client:

        def get(path: str, **params: Any) -> httpx.Response:
            return client.get(f"/v2/stocks/{path}", params={"timeframe": "1Min", **params})

        recent = get("SPY/bars", start=start, end="2024-01-02T14:46:00Z")
        latest = get("SPY/quotes/latest", feed="sip")
        fine = [get("SPY/bars", start=start), get("SPY/bars", start=start, end=old), get("SPY/trades/latest")]
        whole = get("SPY/bars", start=start, end="2024-01-02T15:00:00Z", feed="iex")
    async with subscribed(venue, STOCKS, bars=["SPY"]) as data:
        await data.send('{"action":"subscribe","bars":[' + ",".join(f'"S{n}"' for n in range(30)) + "]}")
        too_many = await hear(data)
    async with venue_stream(venue, "/v2/sip") as data:
        await hear(data)
        refused = await hear(data)
        await data.wait_closed()

    for answer in (recent, latest):
        assert (answer.status_code, answer.json()) == (
            403,
            {"code": 42210000, "message": "subscription does not permit querying recent SIP data"},
        )
    assert [answer.status_code for answer in fine] == [200] * 3
    assert [len(answer.json()["bars"]) for answer in fine[:2]] == [16, 16]
    assert len(whole.json()["bars"]) == 30
    assert too_many == [{"T": "error", "code": 405, "msg": "symbol limit exceeded"}]
    assert refused == [{"T": "error", "code": 409, "msg": "insufficient subscription"}]


def venue_stream(venue: VenueProcess, path: str) -> Any:
    """A connection that brings its keys along."""
    from websockets.asyncio.client import connect  # noqa: PLC0415 - here alone

    return connect(venue.socket_url + path, proxy=None, additional_headers=KEYS)


async def test_the_test_feed_speaks_at_any_hour_and_the_delayed_one_a_quarter_late(start_venue: StartVenue) -> None:
    """FAKEPACA trades while nothing else does; delayed_sip tells what happened fifteen minutes ago."""
    venue = start_venue(minutes("SPY", 20, start=OPENING, base=400.0), speed=FAST)
    channels: Any = {"trades": ["*"], "bars": ["*"], "lulds": ["*"]}
    async with (
        subscribed(venue, "/v2/test", **channels) as fake,
        subscribed(venue, "/v2/delayed_sip", **channels) as delayed,
        flowing(venue),
    ):
        faked, late = await asyncio.gather(hear_bars(fake, 3), hear_bars(delayed, 3))

    assert {message["S"] for message in faked} == {"FAKEPACA"}
    assert {message["T"] for message in faked} == {"t", "b"}
    assert [bar["t"] for bar in only(late, "b", "SPY")] == [f"2024-01-02T14:3{n}:00Z" for n in range(3)]
    assert {message["T"] for message in late} == {"t", "b", "l"}
    band = only(late, "l", "SPY")[0]
    assert band["d"] < only(late, "b", "SPY")[0]["c"] < band["u"]


async def test_in_lock_step_and_without_ticks_the_market_is_one_of_bars(start_venue: StartVenue) -> None:
    """Quotes and trades are empty, bars say the little that they know, and nothing fails."""
    for options in ({}, {"speed": FAST, "ticks": False}):
        venue = start_venue(minutes("BTC/USD", MINUTES), **options)
        window = {"symbols": "BTC/USD", "start": "2022-01-03T00:00:00Z"}
        with anyone(venue) as client:
            quotes = client.get(f"{DATA}/quotes", params=window).json()
            latest = client.get(f"{DATA}/latest/trades", params=window).json()
            snapshots = client.get(f"{DATA}/snapshots", params=window).json()
        assert quotes == {"quotes": {}, "next_page_token": None}
        assert latest == {"trades": {}}
        assert snapshots == {"snapshots": {}}
