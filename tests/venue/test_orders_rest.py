"""Order types and groups over REST: what a client sends, what it is shown, and what each request answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.venue.helpers import KEYS, OPENING, Bot, StartVenue, VenueProcess, limit, market, minutes


@pytest.fixture
def venue(start_venue: StartVenue) -> VenueProcess:
    """One with an equity at about 470."""
    return start_venue(minutes("SPY", start=OPENING, base=470.0))


@pytest.fixture
async def client(venue: VenueProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its REST API."""
    async with httpx.AsyncClient(base_url=venue.url, headers=KEYS, trust_env=False, timeout=30) as http:
        yield http


def bracket(**members: Any) -> dict[str, Any]:
    """The body of a bracket far around the market."""
    exits = {"take_profit": {"limit_price": 600}, "stop_loss": {"stop_price": "400", "limit_price": 399}}
    return {**market("1", symbol="SPY"), "order_class": "bracket", **exits, **members}


async def test_a_bracket_is_shown_with_its_legs_and_listed_without_those_that_are_held(
    venue: VenueProcess, client: httpx.AsyncClient
) -> None:
    """At once held, after the fill the take-profit new; nested lists show all three in one place; one DELETE ends both."""
    async with Bot.connected(venue, "SPY") as bot:
        await bot.run(1)
        placed = (await client.post("/v2/orders", json=bracket())).json()
        legs = placed["legs"]
        assert (placed["order_class"], placed["status"]) == ("bracket", "new")
        assert [(leg["type"], leg["status"], leg["side"], leg["order_class"]) for leg in legs] == [
            ("limit", "held", "sell", "bracket"),
            ("stop_limit", "held", "sell", "bracket"),
        ]
        assert (legs[0]["limit_price"], legs[1]["stop_price"], legs[1]["limit_price"]) == ("600", "400", "399")
        assert [row["id"] for row in (await client.get("/v2/orders")).json()] == [placed["id"]]
        await bot.run(2)

        assert [row["id"] for row in (await client.get("/v2/orders")).json()] == [legs[0]["id"]]
        (nested,) = (await client.get("/v2/orders", params={"nested": "true"})).json()
        assert (nested["id"], [leg["status"] for leg in nested["legs"]]) == (placed["id"], ["new", "held"])
        assert (await client.get(f"/v2/orders/{placed['id']}")).json()["legs"] is None
        assert len((await client.get(f"/v2/orders/{placed['id']}", params={"nested": True})).json()["legs"]) == 2
        assert (await client.get("/v2/positions/SPY")).json()["qty_available"] == "0"

        moved = (await client.patch(f"/v2/orders/{legs[1]['id']}", json={"stop_price": "410"})).json()
        assert (moved["status"], moved["stop_price"], moved["replaces"]) == ("held", "410", legs[1]["id"])
        assert (await client.delete(f"/v2/orders/{legs[0]['id']}")).status_code == 204
        assert (await client.get(f"/v2/orders/{moved['id']}")).json()["status"] == "canceled"
        assert (await client.get("/v2/orders")).json() == []


async def test_stops_trails_and_notional_orders_say_what_they_are(
    venue: VenueProcess, client: httpx.AsyncClient
) -> None:
    """Each with its own members, and null for those of the others."""
    async with Bot.connected(venue, "SPY") as bot:
        await bot.run(1)
        stop = (
            await client.post("/v2/orders", json={**market("1", symbol="SPY"), "type": "stop", "stop_price": 500})
        ).json()
        trail = (
            await client.post(
                "/v2/orders", json={**market("1", symbol="SPY"), "type": "trailing_stop", "trail_percent": "2"}
            )
        ).json()
        money = (
            await client.post("/v2/orders", json={**market("1", symbol="SPY"), "qty": None, "notional": 100})
        ).json()
        assert (stop["type"], stop["stop_price"], stop["limit_price"]) == ("stop", "500", None)
        assert (trail["trail_percent"], trail["trail_price"], float(trail["hwm"]) > 400) == ("2", None, True)
        assert (money["qty"], money["notional"]) == (None, "100")
        await bot.run(2)
        filled = (await client.get(f"/v2/orders/{money['id']}")).json()
        assert (filled["status"], filled["qty"], 0 < float(filled["filled_qty"]) < 1) == ("filled", None, True)

        early = (await client.post("/v2/orders", json=limit("1", "300", symbol="SPY", extended_hours=True))).json()
        assert early["extended_hours"] is True
        answers = await client.delete("/v2/orders")
        assert (answers.status_code, [row["status"] for row in answers.json()]) == (207, [200] * 3)


async def test_what_is_not_there_is_404_and_what_is_no_id_is_422(client: httpx.AsyncClient) -> None:
    """With Alpaca's texts."""
    odd = market("1", symbol="SPY", take_profit=7)
    nobody = "00000000-0000-4001-8000-00000000ffff"
    for answer, status, code, text in (
        ((await client.get(f"/v2/orders/{nobody}")), 404, 40410000, f"order not found for {nobody}"),
        ((await client.delete("/v2/orders/not-an-id")), 422, 40010001, "order_id is missing"),
        ((await client.get("/v2/positions/SPY")), 404, 40410000, "position does not exist"),
        ((await client.post("/v2/orders", json=odd)), 422, 40010001, "take_profit must be a JSON object"),
    ):
        assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (status, code, text)
