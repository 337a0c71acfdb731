"""The venue's REST API over real connections: fields, errors, keys, limits, paging."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.venue.helpers import KEYS, MIDNIGHT, OPENING, Bot, StartVenue, VenueProcess, limit, market, minutes

ACCOUNT_AMOUNTS = [
    "cash",
    "equity",
    "last_equity",
    "buying_power",
    "regt_buying_power",
    "non_marginable_buying_power",
    "initial_margin",
    "maintenance_margin",
    "last_maintenance_margin",
    "long_market_value",
    "short_market_value",
    "position_market_value",
    "portfolio_value",
    "multiplier",
    "sma",
    "accrued_fees",
    "pending_transfer_in",
    "pending_transfer_out",
    "pending_reg_taf_fees",
    "intraday_adjustments",
]
ORDER_MEMBERS = [
    "id",
    "client_order_id",
    "created_at",
    "updated_at",
    "submitted_at",
    "filled_at",
    "expired_at",
    "expires_at",
    "canceled_at",
    "failed_at",
    "replaced_at",
    "replaced_by",
    "replaces",
    "asset_id",
    "symbol",
    "asset_class",
    "notional",
    "qty",
    "filled_qty",
    "filled_avg_price",
    "order_class",
    "order_type",
    "type",
    "side",
    "position_intent",
    "time_in_force",
    "limit_price",
    "stop_price",
    "status",
    "extended_hours",
    "legs",
    "trail_percent",
    "trail_price",
    "hwm",
    "subtag",
    "source",
    "ratio_qty",
]
POSITION_MEMBERS = [
    "asset_id",
    "symbol",
    "exchange",
    "asset_class",
    "avg_entry_price",
    "qty",
    "qty_available",
    "side",
    "market_value",
    "cost_basis",
    "unrealized_pl",
    "unrealized_plpc",
    "unrealized_intraday_pl",
    "unrealized_intraday_plpc",
    "current_price",
    "lastday_price",
    "change_today",
    "asset_marginable",
]


async def bought(venue: VenueProcess, quantity: str = "0.5", symbol: str = "BTC/USD") -> None:
    """Buy at the market and let it fill."""
    async with Bot.connected(venue, symbol) as bot:
        with venue.client() as client:
            await bot.advance()  # the venue takes orders once there is a price
            client.post("/v2/orders", json=market(quantity, symbol=symbol)).raise_for_status()
        await bot.run(2)


def test_an_account_shows_its_amounts_as_strings(venue: VenueProcess) -> None:
    """Every amount of the account is a JSON string, and a new one holds the configured cash."""
    with venue.client() as client:
        account = client.get("/v2/account").json()

    assert {name for name in ACCOUNT_AMOUNTS if not isinstance(account[name], str)} == set()
    assert (account["cash"], account["status"], account["currency"]) == ("100000", "ACTIVE", "USD")
    assert "pattern_day_trader" not in account


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"APCA-API-KEY-ID": "key"}, 401),
        ({"APCA-API-SECRET-KEY": "secret"}, 401),
        (KEYS, 200),
        ({"Authorization": "Basic a2V5OnNlY3JldA=="}, 200),
        ({"Authorization": "Basic !!"}, 401),
        ({**KEYS, "APCA-API-SECRET-KEY": "other"}, 401),
    ],
)
def test_any_key_pair_opens_an_account_and_its_first_secret_stays(
    venue: VenueProcess, headers: dict[str, str], status: int
) -> None:
    """Both halves are needed, HTTP Basic is as good, and another secret for a known key is refused."""
    with venue.client() as client:
        client.get("/v2/account").raise_for_status()

    answer = httpx.get(venue.url + "/v2/account", headers=headers, trust_env=False)

    assert answer.status_code == status
    if status == 401:
        assert answer.json() == {"message": "unauthorized."}


def test_accounts_do_not_see_each_other(venue: VenueProcess) -> None:
    """Each key pair has a book of its own."""
    with venue.client() as one, venue.client(key="second") as other:
        asyncio.run(bought(venue))
        ids = {client.get("/v2/account").json()["id"] for client in (one, other)}

        assert len(one.get("/v2/positions").json()) == 1
        assert other.get("/v2/positions").json() == []
        assert len(ids) == 2


def test_an_order_has_every_member_and_is_found_by_both_ids(venue: VenueProcess) -> None:
    """POST answers with the full order; GET by id and by client order id give the same."""
    asyncio.run(bought(venue))
    with venue.client() as client:
        order = client.post("/v2/orders", json=limit("0.1", "30000", client_order_id="mine")).json()
        by_id = client.get(f"/v2/orders/{order['id']}").json()
        by_client_id = client.get("/v2/orders:by_client_order_id", params={"client_order_id": "mine"}).json()

    assert sorted(order) == sorted(ORDER_MEMBERS)
    assert (order["qty"], order["limit_price"], order["filled_qty"]) == ("0.1", "30000", "0")
    assert order == by_id == by_client_id


@pytest.mark.parametrize("quantity", ["0.001", 0.001, "1e-03", "0.0010"])
def test_amounts_are_accepted_as_strings_and_numbers(venue: VenueProcess, quantity: str | float) -> None:
    """What alpaca-py and others write, exponents included."""
    asyncio.run(bought(venue))
    with venue.client() as client:
        order = client.post("/v2/orders", json={**limit("1", "30000.0"), "qty": quantity}).json()

    assert order["qty"] == "0.001"


def test_exponents_in_raw_numbers_are_exact(venue: VenueProcess) -> None:
    """``2e-05`` in the bytes of the body is exactly 0.00002."""
    asyncio.run(bought(venue))
    body = b'{"symbol":"BTCUSD","qty":2e-05,"side":"sell","type":"limit","time_in_force":"gtc","limit_price":5e4}'
    with venue.client() as client:
        order = client.post("/v2/orders", content=body).json()

    assert (order["qty"], order["limit_price"], order["symbol"]) == ("0.00002", "50000", "BTC/USD")


REFUSED: list[tuple[Any, int, int, str]] = [
    ([], 422, 40010001, "request body must be a JSON object"),
    ({**market("1"), "symbol": None}, 422, 40010001, "symbol is required"),
    ({**market("1"), "symbol": "NOPE"}, 422, 42210000, 'asset "NOPE" not found'),
    ({**market("1"), "side": "hold"}, 422, 40010001, "invalid side"),
    ({**market("1"), "side": {}}, 422, 40010001, "invalid side"),
    ({**market("1"), "type": "maybe"}, 422, 40010001, "invalid order type"),
    ({**market("1"), "time_in_force": "opg"}, 422, 42210000, "invalid crypto time_in_force"),
    ({**market("1"), "time_in_force": "never"}, 422, 40010001, "invalid time_in_force"),
    ({**market("1"), "time_in_force": "day"}, 422, 42210000, "invalid crypto time_in_force"),
    ({**market("1"), "qty": None}, 422, 40010001, "qty or notional is required"),
    ({**market("1"), "notional": "10"}, 422, 40010001, "only one of qty or notional is accepted"),
    ({**market("1"), "qty": "many"}, 422, 40010001, "qty must be a number, got 'many'"),
    ({**market("1"), "qty": True}, 422, 40010001, "qty must be a number"),
    ({**market("1"), "qty": "NaN"}, 422, 40010001, "qty must be a number of ordinary size, got 'NaN'"),
    ({**market("1"), "qty": "1e999999999"}, 422, 40010001, "qty must be a number of ordinary size, got '1e999999999'"),
    (market("0"), 422, 40010001, "qty must be > 0"),
    (market("-1"), 422, 40010001, "qty must be > 0"),
    (limit("1", "0"), 422, 40010001, "limit price must be > 0"),
    ({**limit("1", "1"), "limit_price": None}, 422, 40010001, "limit orders require a limit price"),
    (market("1", limit_price="1"), 422, 40010001, "market orders require no stop or limit price"),
    (limit("0.0001", "40000"), 403, 40310000, "cost basis must be >= minimal amount of order 10"),
    (limit("4", "40000"), 403, 40310000, "insufficient buying power"),
    (market("1", "sell"), 403, 40310000, "insufficient balance for BTC (requested: 1, available: 0)"),
    (market("1", client_order_id="x" * 129), 422, 40010001, "client_order_id must be no more than 128 characters"),
]


def test_what_alpaca_refuses_is_refused_with_its_status_code_and_text(venue: VenueProcess) -> None:
    """Each malformed or forbidden order gets the known answer, and leaves no trace."""

    async def price() -> None:
        async with Bot.connected(venue) as bot:
            await bot.advance()

    with venue.client() as client:
        client.get("/v2/account")
        asyncio.run(price())
        answers = [client.post("/v2/orders", json=body) for body, *_ in REFUSED]
        orders = client.get("/v2/orders", params={"status": "all"}).json()

    given_ = [(answer.status_code, answer.json()["code"], answer.json()["message"]) for answer in answers]
    assert given_ == [tuple(row[1:]) for row in REFUSED]
    assert orders == []


def test_a_client_order_id_is_unique_for_ever(venue: VenueProcess) -> None:
    """It is refused again also after its order was canceled."""
    asyncio.run(bought(venue))
    with venue.client() as client:
        body = limit("0.1", "30000", client_order_id="once")
        first = client.post("/v2/orders", json=body).json()
        while_open = client.post("/v2/orders", json=body)
        canceled = client.delete(f"/v2/orders/{first['id']}")
        after = client.post("/v2/orders", json=body)

    assert (canceled.status_code, canceled.content) == (204, b"")
    for answer in (while_open, after):
        assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (
            422,
            40010001,
            "client_order_id must be unique",
        )


def test_canceling_says_what_became_of_each_order(venue: VenueProcess) -> None:
    """204 for one, 207 with a row each for all, 404 for unknown ones, 422 for what is no id or no longer open."""
    asyncio.run(bought(venue))
    with venue.client() as client:
        filled = client.get("/v2/orders", params={"status": "closed"}).json()[0]
        ids = [client.post("/v2/orders", json=limit("0.1", str(30_000 + n))).json()["id"] for n in range(3)]
        one = client.delete(f"/v2/orders/{ids[0]}")
        again = client.delete(f"/v2/orders/{ids[0]}")
        rest = client.delete("/v2/orders")
        unknown = client.delete("/v2/orders/00000000-0000-4000-8000-000000000000")
        no_id = client.delete("/v2/orders/nonsense")
        closed = client.delete(f"/v2/orders/{filled['id']}")

    assert (one.status_code, again.status_code) == (204, 204)
    assert rest.status_code == 207
    assert [(row["id"], row["status"], row["body"]["status"]) for row in rest.json()] == [
        (order_id, 200, "canceled") for order_id in ids[1:]
    ]
    assert (unknown.status_code, unknown.json()["code"]) == (404, 40410000)
    assert (no_id.status_code, no_id.json()["message"]) == (422, "order_id is missing")
    assert (closed.status_code, closed.json()["message"]) == (422, 'order is already in "filled" state')


def test_lists_of_orders_are_filtered_and_paged(venue: VenueProcess) -> None:
    """Status, direction, symbols, side, limit, and walking by order id although all were submitted in one moment."""
    asyncio.run(bought(venue))
    with venue.client() as client:
        ids = [client.post("/v2/orders", json=limit("0.1", str(30_000 + n))).json()["id"] for n in range(7)]
        client.delete(f"/v2/orders/{ids[6]}")

        def listed(**query: Any) -> list[str]:
            return [row["id"] for row in client.get("/v2/orders", params=query).json()]

        walked: list[str] = []
        while page := listed(
            status="all", direction="asc", limit=3, **({"after_order_id": walked[-1]} if walked else {})
        ):
            walked += page

        assert listed() == ids[5::-1]
        assert listed(limit=2) == [ids[5], ids[4]]
        assert listed(direction="asc", symbols="BTCUSD") == listed(direction="asc", symbols="BTC/USD") == ids[:6]
        assert listed(symbols="ETHUSD") == listed(side="sell") == []
        assert listed(before_order_id=ids[2]) == [ids[1], ids[0]]
        assert set(listed(status="closed")) >= {ids[6]}
        assert walked == listed(status="all", direction="asc", limit=500)
        assert walked[1:] == ids
        submitted = client.get(f"/v2/orders/{ids[0]}").json()["submitted_at"]
        assert listed(after=submitted) == []
        assert listed(until="2100-01-01", nested="True", whatever="1") == listed()
        assert client.get("/v2/orders", params={"limit": "x"}).status_code == 422
        assert client.get("/v2/orders", params={"status": "x"}).status_code == 422
        assert client.get("/v2/orders", params={"after": "yesterday"}).status_code == 422


def test_a_position_shows_without_slash_and_is_closed_by_a_market_order(venue: VenueProcess) -> None:
    """The coin fee has left the position; DELETE answers with the closing order."""
    asyncio.run(bought(venue, "0.1"))
    with venue.client() as client:
        (row,) = client.get("/v2/positions").json()
        assert sorted(row) == sorted(POSITION_MEMBERS)
        assert (row["symbol"], row["qty"], row["side"]) == ("BTCUSD", "0.09975", "long")
        assert client.get("/v2/positions/BTCUSD").json() == row
        assert client.get(f"/v2/positions/{row['asset_id']}").json() == row
        assert client.get("/v2/positions/ETHUSD").json() == {"code": 40410000, "message": "position does not exist"}
        for raw in ("BTC/USD", "BTC%2FUSD"):
            assert client.get(f"/v2/positions/{raw}").status_code == 404
            assert client.delete(f"/v2/positions/{raw}").status_code == 404
        assert client.get("/v2/orders").json() == []

        half = client.delete("/v2/positions/BTCUSD", params={"percentage": "50"}).json()
        assert (half["side"], half["type"], half["qty"], half["time_in_force"]) == ("sell", "market", "0.049875", "gtc")
        assert client.delete("/v2/positions/BTCUSD").status_code == 403

        closing = client.delete("/v2/positions", params={"cancel_orders": "true"})
        assert closing.status_code == 207
        ((symbol, status, body),) = [(row["symbol"], row["status"], row["body"]) for row in closing.json()]
        assert (symbol, status, body["qty"]) == ("BTCUSD", 200, "0.09975")


def test_fill_activities_page_by_id_in_both_directions(venue: VenueProcess) -> None:
    """Rows carry New York's time in their id, cumulative quantities, and no client order id."""

    async def trade() -> None:
        async with Bot.connected(venue) as bot:
            await bot.advance()
            with venue.client() as client:
                for _ in range(3):
                    client.post("/v2/orders", json=market("0.4")).raise_for_status()
                    await bot.run(3)

    asyncio.run(trade())
    with venue.client() as client:

        def pages(**query: Any) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = []
            while page := client.get(
                "/v2/account/activities/FILL",
                params={"page_size": 2, **query, **({"page_token": rows[-1]["id"]} if rows else {})},
            ).json():
                rows += page
            return rows

        newest_first, oldest_first = pages(), pages(direction="asc")
        everything = client.get("/v2/account/activities", params={"activity_types": "FILL,CFEE"}).json()
        after_all = client.get("/v2/account/activities", params={"after": "2030-01-01T00:00:00Z"}).json()
        unknown = client.get("/v2/account/activities/NOPE")
        bad_token = client.get("/v2/account/activities/FILL", params={"page_token": "nope"})

    assert newest_first == oldest_first[::-1] == everything
    assert len(oldest_first) == 3
    first = oldest_first[0]
    assert first["id"].startswith("20220102190100000::")
    assert "client_order_id" not in first
    assert (first["type"], first["qty"], first["cum_qty"], first["leaves_qty"]) == ("fill", "0.4", "0.4", "0")
    assert after_all == []
    assert (unknown.status_code, unknown.json()["message"]) == (422, "invalid activity type: NOPE")
    assert bad_token.status_code == 422


def test_assets_are_found_by_every_spelling(venue: VenueProcess) -> None:
    """With slash, escaped slash, without, and by id; crypto has its increments as strings."""
    with venue.client() as client:
        asset = client.get("/v2/assets/BTCUSD").json()
        others = [client.get(f"/v2/assets/{name}").json() for name in ("BTC/USD", "BTC%2FUSD", asset["id"])]
        listed = client.get("/v2/assets", params={"asset_class": "crypto"}).json()
        missing = client.get("/v2/assets/NOPE")

    assert others == [asset] * 3
    assert listed == [asset]
    assert (asset["class"], asset["symbol"], asset["easy_to_borrow"]) == ("crypto", "BTC/USD", False)
    assert asset["min_trade_increment"] == "0.000000001"
    assert (missing.status_code, missing.json()) == (404, {"code": 40410000, "message": "asset not found for NOPE"})


def test_the_limit_counts_orders_in_the_venues_minute(start_venue: StartVenue) -> None:
    """The one too many is 429 with Retry-After and not executed; a minute of the venue's time later it passes."""
    venue = start_venue(rate_limit=5)

    async def trade() -> None:
        async with Bot.connected(venue) as bot:
            await bot.advance()
            with venue.client() as client:
                statuses = [client.post("/v2/orders", json=limit("0.1", "30000")).status_code for _ in range(7)]
                refused = client.post("/v2/orders", json=limit("0.1", "30000"))
                reads = [client.get("/v2/account") for _ in range(20)]
                assert statuses == [200] * 5 + [429] * 2
                assert (refused.headers["retry-after"], refused.headers["x-ratelimit-remaining"]) == ("60", "0")
                assert {answer.status_code for answer in reads} == {200}
                assert len(client.get("/v2/orders").json()) == 5
                await bot.run(2)  # the next bar's first trade, now; and its end, a minute on
                assert client.post("/v2/orders", json=limit("0.1", "30000")).status_code == 200

    asyncio.run(trade())


def test_every_answer_has_its_headers(venue: VenueProcess) -> None:
    """Request id and limits, also on errors and without keys; request ids differ."""
    with venue.client() as client:
        answers = [
            client.get("/v2/account"),
            client.get("/v2/nope"),
            httpx.get(venue.url + "/v2/account", trust_env=False),
        ]

    assert [answer.status_code for answer in answers] == [200, 404, 401]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    for answer in answers:
        assert answer.headers["x-ratelimit-limit"] == "200"
        assert int(answer.headers["x-ratelimit-reset"]) == MIDNIGHT // 10**9
        assert answer.headers["content-type"] == "application/json"


def test_the_first_page_says_what_it_is(venue: VenueProcess) -> None:
    """Both ports answer GET / without keys."""
    trading, admin = (httpx.get(url + "/", trust_env=False).json() for url in (venue.url, venue.admin))

    assert trading == {name: fact for name, fact in admin.items() if name != "requests"}
    assert (trading["name"], trading["admin"], trading["speed"]) == ("holdfast-venue", venue.admin, "max")
    assert (trading["now_ns"], trading["done"], trading["symbols"]) == (MIDNIGHT, False, ["BTC/USD"])


def test_a_path_of_another_method_is_405_and_an_unknown_one_404(venue: VenueProcess) -> None:
    """Errors have Alpaca's form there too."""
    with venue.client() as client:
        assert client.post("/v2/account").status_code == 405
        assert client.get("/v3/account").json() == {"code": 40410000, "message": "endpoint not found"}
        assert client.head("/v2/account").content == b""


def test_bars_are_served_only_once_they_are_visible(venue: VenueProcess) -> None:
    """A bar that has not ended in the replay does not exist, whatever is asked for."""

    async def look() -> None:
        async with Bot.connected(venue) as bot:
            with venue.client() as client:

                def bars(**query: Any) -> Any:
                    everything = {"symbols": "BTC/USD", "timeframe": "1Min", "start": "2022-01-01", "end": "2100-01-01"}
                    return client.get("/v1beta3/crypto/us/bars", params={**everything, **query}).json()

                assert bars() == {"bars": {}, "next_page_token": None}
                await bot.run(10)
                shown = bars()["bars"]["BTC/USD"]
                assert [(row["t"], row["c"]) for row in shown] == [(row["t"], row["c"]) for row in bot.bars]
                assert len(shown) == 10

                latest = client.get("/v1beta3/crypto/us/latest/bars", params={"symbols": "BTC/USD"}).json()
                assert latest["bars"]["BTC/USD"] == shown[-1]
                assert bars(sort="desc", limit=3)["bars"]["BTC/USD"] == shown[:-4:-1]

                paged: list[Any] = []
                token: str | None = ""
                while token is not None:
                    page = bars(limit=4, **({"page_token": token} if token else {}))
                    paged += page["bars"]["BTC/USD"]
                    token = page["next_page_token"]
                assert paged == shown
                assert bars(start=shown[2]["t"], end=shown[5]["t"])["bars"]["BTC/USD"] == shown[2:6]

                (five, rest) = bars(timeframe="5Min")["bars"]["BTC/USD"]
                assert (five["o"], five["c"]) == (shown[0]["o"], shown[4]["c"])
                assert (five["h"], five["l"]) == (max(b["h"] for b in shown[:5]), min(b["l"] for b in shown[:5]))
                assert (five["v"], rest["t"]) == (50, shown[5]["t"])
                (day,) = bars(timeframe="1Day")["bars"]["BTC/USD"]
                assert (day["t"], day["v"]) == ("2022-01-03T00:00:00Z", 100)

    asyncio.run(look())


def test_bad_questions_for_bars_are_refused(venue: VenueProcess) -> None:
    """Crypto needs its slash and a known timeframe; keys are optional there, but wrong ones are wrong."""
    with venue.client() as client:
        client.get("/v2/account")
        path = "/v1beta3/crypto/us/bars"
        asked = {"symbols": "BTC/USD", "timeframe": "1Min"}
        slashless = client.get(path, params={**asked, "symbols": "BTCUSD"})
        timeframe = client.get(path, params={**asked, "timeframe": "61Min"})
        token = client.get(path, params={**asked, "page_token": "nope"})
        start = client.get(path, params={**asked, "start": "soon"})
        stocks = client.get("/v2/stocks/bars", params={**asked, "symbols": "BTC/USD"})
    public = httpx.get(venue.url + path, params=asked, trust_env=False)
    wrong = httpx.get(venue.url + path, params=asked, headers={**KEYS, "APCA-API-SECRET-KEY": "other"}, trust_env=False)

    assert slashless.status_code == timeframe.status_code == 400
    assert slashless.json()["message"] == "invalid symbol: BTCUSD does not match ^[A-Z]+/[A-Z]+$"
    assert token.status_code == start.status_code == 422
    assert stocks.json() == {"bars": {}, "next_page_token": None}
    assert (public.status_code, wrong.status_code) == (200, 401)


def test_equities_have_a_clock_a_calendar_and_shorts(start_venue: StartVenue) -> None:
    """At the venue's time, in New York's words; a short position is negative."""
    venue = start_venue(minutes("SPY", 30, start=OPENING, base=400.0), minutes("QQQ", 30, start=OPENING, base=300.0))

    async def trade() -> None:
        async with Bot.connected(venue, "SPY", "QQQ") as bot:
            await bot.advance()
            with venue.client() as client:
                client.post("/v2/orders", json=market("1", "sell", "SPY")).raise_for_status()
            await bot.run(2)

    asyncio.run(trade())
    with venue.client() as client:
        clock = client.get("/v2/clock").json()
        week = client.get("/v2/calendar", params={"start": "2024-01-01", "end": "2024-01-04"}).json()
        (position,) = client.get("/v2/positions").json()
        account = client.get("/v2/account").json()
        asset = client.get("/v2/assets/SPY").json()
        one = client.get("/v2/stocks/SPY/bars", params={"timeframe": "1Min", "start": "2024-01-02"}).json()
        both = client.get("/v2/stocks/bars", params={"symbols": "SPY,QQQ", "timeframe": "1Min", "limit": 3}).json()
        latest = client.get("/v2/stocks/SPY/bars/latest").json()

    assert clock == {
        "timestamp": "2024-01-02T09:32:00-05:00",
        "is_open": True,
        "next_open": "2024-01-03T09:30:00-05:00",
        "next_close": "2024-01-02T16:00:00-05:00",
    }
    assert [(day["date"], day["open"], day["close"]) for day in week] == [
        ("2024-01-02", "09:30", "16:00"),
        ("2024-01-03", "09:30", "16:00"),
        ("2024-01-04", "09:30", "16:00"),
    ]
    assert (position["symbol"], position["qty"], position["side"]) == ("SPY", "-1", "short")
    assert Decimal(account["short_market_value"]) < 0
    assert account["shorting_enabled"] is True
    assert "price_increment" not in asset
    assert (asset["shortable"], asset["easy_to_borrow"], asset["fractionable"]) == (True, True, True)
    assert (one["symbol"], len(one["bars"])) == ("SPY", 2)
    assert [(symbol, len(rows)) for symbol, rows in both["bars"].items()] == [("QQQ", 2), ("SPY", 1)]
    assert both["next_page_token"] is not None
    assert latest["bar"] == one["bars"][-1]


METHODS = st.sampled_from(["GET", "POST", "DELETE", "PATCH", "PUT", "OPTIONS"])
PATHS = st.sampled_from(
    [
        "/v2/orders",
        "/v2/orders/x",
        "/v2/positions/%00",
        "/v2/account/activities/FILL",
        "/v2/calendar",
        "/%ff",
        "//",
        "/v2/assets/a%2Fb",
    ]
)
QUERIES = st.dictionaries(
    st.sampled_from(
        ["limit", "after", "until", "symbols", "page_token", "status", "start", "end", "date", "page_size"]
    ),
    st.text(max_size=12) | st.sampled_from(["-1", "0", "9" * 30, "9999-12-31T23:59:59Z", "0001-01-01", "2022-13-01"]),
    max_size=3,
)
BODIES = st.binary(max_size=40) | st.sampled_from(
    [b"[" * 5000, b'{"symbol":', b"\xff\xfe", b"1e999", b'{"symbol":"BTC/USD","qty":' + b"9" * 4000 + b"}"]
)


@pytest.mark.slow
@given(method=METHODS, path=PATHS, query=QUERIES, body=BODIES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_is_more_than_a_4xx(
    lasting_venue: VenueProcess, method: str, path: str, query: dict[str, str], body: bytes
) -> None:
    """Whatever is sent, the answer is JSON (or empty), never a 5xx, and the venue lives."""
    with lasting_venue.client() as client:
        answer = client.request(method, path, params=query, content=body)

    assert answer.status_code < 500
    assert not answer.content or answer.json() is not None


def test_a_body_too_large_is_refused(venue: VenueProcess) -> None:
    """A megabyte is enough for any order."""
    with venue.client() as client:
        assert client.post("/v2/orders", content=b" " * (1 << 21)).status_code == 413
        assert client.get("/v2/account").status_code == 200
