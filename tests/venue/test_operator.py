"""What an operator does over the admin port: time, market, accounts. All of it survives SIGKILL."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from holdfast.model.errors import VenueError
from holdfast.testing import VenueAdmin
from holdfast.time import sessions_for
from holdfast.venue.config import default_asset
from holdfast.venue.exchange import Exchange
from holdfast.venue.market.replay import Replay
from holdfast.venue.market.ticks import GeneratedTicks
from holdfast.venue.matching.engine import EngineSettings
from holdfast.venue.operations import Dividend, Reset, Split
from holdfast.venue.store import open_book
from tests.venue.desk import Desk
from tests.venue.helpers import (
    KEY,
    MIDNIGHT,
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

D = Decimal


def stocks(base: float = 100.0) -> Any:
    """Two hours of SPY."""
    return minutes("SPY", 120, start=OPENING, base=base)


def admin_of(venue: VenueProcess) -> VenueAdmin:
    """Its admin port."""
    return VenueAdmin(venue.admin)


def lasts(client: httpx.Client, symbol: str = "SPY") -> list[dict[str, Any]]:
    """All bars that the venue serves."""
    params = {"symbols": symbol, "timeframe": "1Min", "start": "2024-01-01", "limit": "10000"}
    rows: list[dict[str, Any]] = client.get("/v2/stocks/bars", params=params).raise_for_status().json()["bars"][symbol]
    return rows


# -- time ----------------------------------------------------------------------------------------


def test_time_is_moved_paused_stepped_and_let_go(start_venue: StartVenue) -> None:
    """A venue with a speed obeys; nobody has to listen."""
    venue = start_venue(stocks(), speed=1.0)
    with admin_of(venue) as admin:
        state = admin.state()
        assert (state["now"], state["running"], state["paused"]) == ("2024-01-02T14:30:00Z", False, False)
        assert admin.set_time("2024-01-02T14:35:30Z")["symbols"]["SPY"]["bars"] == 5
        assert admin.state()["now"] == "2024-01-02T14:35:30Z"
        assert admin.step(bars=2)["now"] == "2024-01-02T14:37:00Z"
        assert admin.step()["now"] == "2024-01-02T14:38:00Z"
        assert admin.set_speed(36_000)["speed"] == 36_000
        assert admin.run()["running"]
        while admin.state()["symbols"]["SPY"]["bars"] < 15:
            pass
        paused = admin.pause()
        assert (paused["running"], paused["paused"]) == (False, True)
        assert admin.state()["now"] == paused["now"]
        assert admin.step(steps=3)["symbols"]["SPY"]["bars"] == paused["symbols"]["SPY"]["bars"] + 3
        admin.run()
        while not admin.state()["done"]:
            pass


def test_in_lockstep_what_cannot_be_is_refused_with_a_sentence(venue: VenueProcess) -> None:
    """Time is the driver's; without one, the operator may step."""
    with admin_of(venue) as admin:
        refused: list[tuple[Callable[[], Any], str]] = [
            (lambda: admin.set_time("2030-01-01T00:00:00Z"), "its time cannot be set"),
            (lambda: admin.set_speed(2), "it has no speed"),
            (admin.pause, "its time stands still between steps"),
            (admin.run, "its time does not flow"),
        ]
        for ask, why in refused:
            with pytest.raises(VenueError, match=f"409.*lock-step: {why}; start it with a speed that is a number"):
                ask()
        assert admin.step(bars=3)["symbols"]["BTC/USD"]["bars"] == 3

    async def driven() -> None:
        async with Bot.connected(venue):
            with admin_of(venue) as admin, pytest.raises(VenueError, match="a lock-step driver is connected"):
                admin.step()

    asyncio.run(driven())


def test_the_market_flows_only_forward(start_venue: StartVenue) -> None:
    """And a flowing time is not stepped."""
    venue = start_venue(stocks(), speed=1.0)
    with admin_of(venue) as admin:
        with pytest.raises(VenueError, match="time only moves forward: it is 2024-01-02T14:30:00Z"):
            admin.set_time("2024-01-02T14:29:00Z")
        admin.run()
        with pytest.raises(VenueError, match="the time is flowing: POST /pause first"):
            admin.step()


# -- the market ----------------------------------------------------------------------------------


def test_a_halted_symbol_trades_nothing(start_venue: StartVenue) -> None:
    """Orders rest, also those of an account that was opened later, until it is resumed."""
    venue = start_venue(stocks())
    with admin_of(venue) as admin, venue.client() as one, venue.client("other") as other:
        admin.step(bars=1)
        assert one.post("/v2/orders", json=market("1", symbol="SPY")).status_code == 200
        assert admin.halt("SPY")["symbols"]["SPY"]["halted"]
        assert other.post("/v2/orders", json=market("1", symbol="SPY")).status_code == 200
        admin.step(bars=3)
        for client in (one, other):
            assert [order["status"] for order in client.get("/v2/orders").json()] == ["new"]
        with pytest.raises(VenueError, match="SPY is halted already"):
            admin.halt("SPY")
        assert not admin.resume("SPY")["symbols"]["SPY"]["halted"]
        admin.step(bars=1)
        for client in (one, other):
            assert client.get("/v2/positions/SPY").json()["qty"] == "1"
        with pytest.raises(VenueError, match="SPY is not halted"):
            admin.resume("SPY")


def test_a_moved_price_is_the_next_trade_and_stays(start_venue: StartVenue) -> None:
    """Orders fill at it, and the bars that are served tell the same story."""
    venue = start_venue(stocks())
    with admin_of(venue) as admin, venue.client() as client:
        admin.step(bars=2)
        before = lasts(client)
        client.post("/v2/orders", json=market("1", symbol="SPY")).raise_for_status()
        admin.move_price("SPY", 50)
        admin.step(bars=2)
        assert client.get("/v2/positions/SPY").json()["avg_entry_price"] == "50"
        after = lasts(client)
        assert after[:2] == before
        assert after[2]["o"] == 50
        assert all(row["l"] <= row["o"] <= row["h"] and row["l"] > 49 and row["h"] < 51 for row in after[2:])
        admin.move_price("SPY", 25)
        assert 20 < admin.step(bars=1)["symbols"]["SPY"]["price"] < 30


def test_a_bar_in_progress_ends_as_it_was_recorded(start_venue: StartVenue) -> None:
    """The next one opens at the price."""
    venue = start_venue(stocks(), speed=1.0)
    with admin_of(venue) as admin, venue.client() as client:
        admin.set_time("2024-01-02T14:32:30Z")
        admin.move_price("SPY", 200)
        admin.set_time("2024-01-02T14:34:00Z")
        rows = lasts(client)
        assert rows[2]["c"] < 102
        assert rows[3]["o"] == 200


def test_a_split_changes_shares_and_prices_and_nobodys_worth(start_venue: StartVenue) -> None:
    """The activity is listed, orders in the symbol are gone, later bars are on the new scale, earlier ones stay."""
    venue = start_venue(stocks(), participation=None)
    with admin_of(venue) as admin, venue.client() as client:
        admin.step(bars=1)
        client.post("/v2/orders", json=market("3", symbol="SPY")).raise_for_status()
        admin.step(bars=1)
        resting = client.post("/v2/orders", json=limit("1", "90", symbol="SPY")).json()
        position, account = client.get("/v2/positions/SPY").json(), client.get("/v2/account").json()
        before = lasts(client)
        admin.split("SPY", old=1, new=4)
        split = client.get("/v2/positions/SPY").json()
        assert (position["qty"], split["qty"]) == ("3", "12")
        assert D(split["avg_entry_price"]) == D(position["avg_entry_price"]) / 4
        assert abs(D(split["current_price"]) - D(position["current_price"]) / 4) < D("0.0001")
        assert abs(D(client.get("/v2/account").json()["equity"]) - D(account["equity"])) < D("0.01")
        assert client.get(f"/v2/orders/{resting['id']}").json()["status"] == "canceled"
        (row,) = client.get("/v2/account/activities/SPLIT").json()
        assert (row["symbol"], row["qty"]) == ("SPY", "9")
        admin.step(bars=1)
        after = lasts(client)
        assert after[:2] == before
        assert 24 < after[2]["l"] <= after[2]["h"] < 26
        assert after[2]["v"] == 40


def test_what_makes_no_sense_is_refused_in_a_sentence(start_venue: StartVenue) -> None:
    """What, where, what was expected; nothing has changed."""
    venue = start_venue(stocks(), minutes(start=OPENING), speed=1.0)
    with admin_of(venue) as admin:
        before = admin.state()
        wrong: list[tuple[str, Any, int, str]] = [
            ("/symbols/QQQ/halt", None, 404, "symbol not found: QQQ; this venue has BTC/USD, SPY"),
            ("/symbols/SPY/price", {"price": "0"}, 422, "price must be above 0"),
            ("/symbols/SPY/price", {"price": "x"}, 422, "price must be a number, got 'x'"),
            ("/symbols/SPY/price", {"cost": 1}, 422, "unknown member 'cost'; expected price"),
            ("/symbols/SPY/split", {"from": 1, "to": 1}, 422, "two different numbers from 1 to 1000, got 1 and 1"),
            ("/symbols/SPY/split", {"from": 1.5, "to": 1}, 422, "a split needs two whole numbers"),
            ("/symbols/BTC%2FUSD/split", {"from": 1, "to": 2}, 422, "BTC/USD is no equity: it cannot be split"),
            ("/symbols/SPY/borrow", {"status": "hard"}, 422, "status must be easy_to_borrow or hard_to_borrow"),
            ("/symbols/SPY/borrow", {"status": "easy_to_borrow"}, 422, "SPY is easy to borrow already"),
            ("/accounts/nobody/reset", {}, 404, "account not found for nobody"),
            ("/time", {"now": "tomorrow"}, 422, "now must be an RFC 3339 time or a date, got 'tomorrow'"),
            ("/time", {}, 422, "now must be a time like 2024-01-02T14:30:00Z"),
            ("/speed", {"speed": -1}, 422, "speed must be a number above 0 and at most 1e+09, got -1"),
            ("/speed", {"speed": True}, 422, "got True"),
            ("/step", {"steps": 0}, 422, "steps must be a whole number from 1 to 100000, got 0"),
            ("/step", {"steps": 1, "bars": 1}, 422, "give steps or bars, not both"),
            ("/step", [], 422, "request body must be a JSON object"),
            ("/nowhere", {}, 404, "endpoint not found"),
        ]
        for path, body, status, said in wrong:
            answer = httpx.post(venue.admin + path, json=body, trust_env=False)
            assert (answer.status_code, said in answer.json()["message"]) == (status, True), answer.text
        assert admin.state() == before


async def test_a_halt_is_told_on_the_stream(start_venue: StartVenue) -> None:
    """The status of the symbol, when it is halted and when it trades again."""
    venue = start_venue(stocks())
    with admin_of(venue) as admin:
        async with connect(venue.socket_url + "/v2/sip", proxy=None) as data:
            await subscribe(data, ["SPY"])
            await say(data, {"action": "subscribe", "statuses": ["SPY"]})
            await hear(data)
            admin.halt("SPY")
            (halted,) = await hear(data)
            admin.resume("SPY")
            (resumed,) = await hear(data)
            assert (halted["T"], halted["S"], halted["sc"]) == ("s", "SPY", "H")
            assert (resumed["T"], resumed["sc"]) == ("s", "T")


def test_quotes_and_trades_move_with_the_price(start_venue: StartVenue) -> None:
    """Where the venue has ticks they follow the bars, and those that were stay."""
    venue = start_venue(stocks(), speed=1.0)
    with admin_of(venue) as admin, venue.client() as client:
        admin.set_time("2024-01-02T14:32:00Z")
        params = {"symbols": "SPY", "start": "2024-01-02T14:30:00Z", "end": "2024-01-02T14:32:00Z", "limit": "10000"}
        before = client.get("/v2/stocks/trades", params=params).json()["trades"]["SPY"]
        admin.move_price("SPY", 50)
        admin.set_time("2024-01-02T14:34:00Z")
        assert client.get("/v2/stocks/trades", params=params).json()["trades"]["SPY"] == before
        latest = client.get("/v2/stocks/snapshots?symbols=SPY").json()["SPY"]
        assert 49 < latest["latestTrade"]["p"] < 51
        assert 49 < latest["latestQuote"]["bp"] < latest["latestQuote"]["ap"] < 51


# -- accounts ------------------------------------------------------------------------------------


def test_a_reset_gives_a_new_account_to_the_same_keys(start_venue: StartVenue) -> None:
    """Cash as asked, no orders, no positions, other ids; streams stay and go on with the new one."""
    venue = start_venue(stocks(), participation=None)

    async def run() -> None:
        async with Bot.connected(venue, "SPY") as bot:
            with admin_of(venue) as admin, venue.client() as client:
                await bot.run(1)
                client.post("/v2/orders", json=market("3", symbol="SPY")).raise_for_status()
                await bot.run(3)
                old = client.post("/v2/orders", json=limit("1", "90", symbol="SPY", client_order_id="name")).json()
                assert (await bot.next_update())["event"] == "new"
                old_account = client.get("/v2/account").json()
                admin.reset(KEY, cash=D(5000))
                told = await bot.next_update()
                assert (told["event"], told["order"]["id"]) == ("canceled", old["id"])
                account = client.get("/v2/account").json()
                assert (account["cash"], account["equity"]) == ("5000", "5000")
                assert account["id"] != old_account["id"]
                assert client.get("/v2/positions").json() == client.get("/v2/orders?status=all").json() == []
                assert client.get(f"/v2/orders/{old['id']}").status_code == 404
                new = client.post("/v2/orders", json=limit("1", "90", symbol="SPY", client_order_id="name")).json()
                assert new["id"] != old["id"]
                assert (await bot.next_update())["order"]["id"] == new["id"]
                bot.last = {**bot.last, "updates": len(bot.updates)}
                await bot.run(2)
                assert len(bot.bars) > 3

    asyncio.run(run())


def test_accounts_do_not_meet(start_venue: StartVenue) -> None:
    """Orders, positions, cash, streams, names and limits of one key pair are nothing to another."""
    venue = start_venue(stocks(), rate_limit=20)

    async def run() -> None:
        async with Bot.connected(venue, "SPY", key="one") as bot:
            with venue.client("one") as one, venue.client("two") as two:
                await bot.run(1)
                for client in (one, two):
                    order = client.post("/v2/orders", json=market("1", symbol="SPY", client_order_id="same"))
                    assert order.status_code == 200
                assert (await bot.next_update())["order"]["client_order_id"] == "same"
                await bot.run(3)
                assert {data["order"]["client_order_id"] for data in bot.updates} == {"same"}
                assert [data["event"] for data in bot.updates] == ["new", "fill"]
                two.delete("/v2/positions").raise_for_status()
                await bot.run(3)
                assert one.get("/v2/positions").json()[0]["qty"] == "1"
                assert two.get("/v2/positions").json() == []
                ids = [{row["id"] for row in client.get("/v2/orders?status=all").json()} for client in (one, two)]
                assert not ids[0] & ids[1]
                assert one.get(f"/v2/orders/{min(ids[1])}").status_code == 404
                while two.delete("/v2/orders").status_code != 429:
                    pass
                assert one.delete("/v2/orders").status_code == 207
                assert two.get("/v2/account", headers={"APCA-API-SECRET-KEY": "wrong"}).status_code == 401

    asyncio.run(run())


# -- borrowing -----------------------------------------------------------------------------------


def test_a_stock_that_is_hard_to_borrow_is_not_sold_short(start_venue: StartVenue) -> None:
    """Open short sales are canceled with their exits, new ones refused, in accounts old and new; what is held stays, and may be sold or covered."""
    venue = start_venue(stocks(), rate_limit=None)

    def sell(client: httpx.Client, quantity: str, **members: Any) -> httpx.Response:
        return client.post("/v2/orders", json=limit(quantity, "150", "sell", symbol="SPY", **members))

    exits = {"take_profit": {"limit_price": "90"}, "stop_loss": {"stop_price": "160"}}
    with admin_of(venue) as admin, venue.client() as client, venue.client("long") as holder, venue.client("new") as new:
        admin.step(bars=1)
        client.post("/v2/orders", json=market("2", "sell", symbol="SPY")).raise_for_status()
        holder.post("/v2/orders", json=market("2", symbol="SPY")).raise_for_status()
        admin.step(bars=2)
        short = [sell(client, "1"), sell(client, "1", order_class="bracket", **exits)]
        closes = sell(holder, "1").raise_for_status().json()
        admin.restrict_borrowing("SPY")

        for answer in short:
            order = client.get(f"/v2/orders/{answer.raise_for_status().json()['id']}?nested=true").json()
            assert {order["status"], *(leg["status"] for leg in order["legs"] or ())} == {"canceled"}
        assert holder.get(f"/v2/orders/{closes['id']}").json()["status"] == "new"
        for one in (client, new):
            refused = sell(one, "1")
            assert (refused.status_code, refused.json()["code"]) == (422, 42210000)
            assert refused.json()["message"] == 'asset "SPY" cannot be sold short'
        sell(holder, "1").raise_for_status()
        assert client.post("/v2/orders", json=market("1", symbol="SPY")).status_code == 200
        asset = client.get("/v2/assets/SPY").json()
        assert (asset["shortable"], asset["easy_to_borrow"], asset["borrow_status"]) == (True, False, "hard_to_borrow")

        admin.step(bars=1)
        admin.restrict_borrowing("SPY", is_hard=False)
        assert client.get("/v2/positions/SPY").json()["qty"] == "-1"
        assert sell(new, "1").status_code == 200
        assert client.get("/v2/assets/SPY").json()["borrow_status"] == "easy_to_borrow"


# -- persistence ---------------------------------------------------------------------------------


def _record(venue: VenueProcess) -> list[Any]:
    """All that can be seen of the venue, but who is connected."""
    paths = ["/v2/orders?status=all&limit=500", "/v2/account/activities", "/v2/positions", "/v2/account"]
    with venue.client() as client, admin_of(venue) as admin:
        seen = [client.get(path).raise_for_status().json() for path in paths]
        return [*seen, client.get("/v2/account/activities/SPLIT").json(), lasts(client), admin.state()]


_OPERATIONS: dict[str, Callable[[VenueAdmin], Any]] = {
    "halt": lambda admin: admin.halt("SPY"),
    "price": lambda admin: admin.move_price("SPY", 123.45),
    "split": lambda admin: admin.split("SPY", old=2, new=3),
    "hard to borrow": lambda admin: admin.restrict_borrowing("SPY"),
    "post": lambda admin: admin.post_activity(KEY, "DIV", symbol="SPY", net_amount="3.5"),
    "step": lambda admin: admin.step(bars=4),
    "resume": lambda admin: admin.resume("SPY"),
    "reset": lambda admin: admin.reset(KEY, cash=D(2_000)),
}


@pytest.mark.slow
def test_what_an_operator_did_survives_sigkill(start_venue: StartVenue, tmp_path: Path) -> None:
    """Killed after each operation, the venue comes back as it was, and in the end trades as one that never died."""
    ends = []
    for kills in (True, False):
        options: dict[str, Any] = {"book": str(tmp_path / f"{kills}.book"), "seed": 5}
        venue = start_venue(stocks(), **options)
        for name, operate in _OPERATIONS.items():
            with venue.client() as client, admin_of(venue) as admin:
                client.post("/v2/orders", json=market("3", symbol="SPY"))
                admin.step(bars=2)
                client.post("/v2/orders", json=limit("2", "20", symbol="SPY"))
                operate(admin)
            seen = _record(venue)
            if kills:
                venue.kill()
                venue = start_venue(stocks(), **options)
                assert _record(venue) == seen, name
        with admin_of(venue) as admin:
            admin.step(bars=50)
        ends.append(_record(venue))
    assert ends[0] == ends[1]


async def test_a_paused_stream_says_nothing_and_goes_on(start_venue: StartVenue) -> None:
    """The market-data stream follows the operator's time."""
    venue = start_venue(minutes(count=5000), speed=600.0)
    with admin_of(venue) as admin:
        async with (
            connect(venue.socket_url + "/stream", proxy=None) as trade,
            connect(venue.socket_url + "/v1beta3/crypto/us", proxy=None) as data,
        ):
            await subscribe(data, ["*"])
            await listen(trade)
            first = await hear(data)
            admin.pause()
            admin.step(bars=5)
            rows: list[dict[str, Any]] = []
            while len(rows) < 5:
                rows += await hear(data)
            assert rows[-1]["t"] > first[0]["t"]
            admin.set_speed(1200)
            admin.run()
            assert (await hear(data))[0]["t"] > rows[0]["t"]


async def test_an_account_that_was_reset_is_valued_no_more() -> None:
    """Nobody can ask for it: its history ends, and that of its successor goes on."""
    async with Desk.opened(None, minutes()) as desk:
        desk.buy("BTC/USD", "1")
        desk.step(3)
        old, at = desk.account, desk.exchange.now
        worth = old.history.at(at)
        desk.exchange.operate(Reset(KEY, D(2_000)))
        desk.step(5)
        new = desk.exchange.account_of(KEY)
        assert new is not None
        assert worth != 100_000
        assert (old.history.at(desk.exchange.now), new.history.at(desk.exchange.now)) == (worth, 2_000)


async def test_an_account_that_was_reset_has_no_part_in_a_split_or_a_dividend() -> None:
    """Its book ends where it was reset; its successor, who holds nothing, has no rows either."""
    async with Desk.opened(None, minutes("SPY", start=OPENING)) as desk:
        desk.buy("SPY", "1")
        desk.step(3)
        old = desk.account
        assert old.engine.position("SPY") is not None
        desk.exchange.operate(Reset(KEY, D(2_000)))
        desk.exchange.operate(Split("SPY", 1, 2))
        desk.exchange.operate(Dividend("SPY", D("0.5")))
        new = desk.exchange.account_of(KEY)
        assert new is not None
        assert [account.posted for account in (old, new)] == [[], []]


async def test_a_market_of_quotes_replays_quotes_alone(tmp_path: Path) -> None:
    """Of the two replays only the one that drives the market is made."""

    def replays() -> int:
        gc.collect()
        return sum(isinstance(thing, Replay) for thing in gc.get_objects())

    before, series = replays(), minutes()
    with await open_book(tmp_path / "book", {"data": "of the test"}, book_id=1) as book:
        exchange = Exchange(
            book,
            {series.symbol: series},
            {series.symbol: default_asset(series.symbol)},
            cash=D(100_000),
            settings=EngineSettings(),
            sessions=sessions_for,
            ticks={series.symbol: GeneratedTicks(series, default_asset(series.symbol))},
        )
        assert replays() == before
        assert exchange.now == MIDNIGHT
