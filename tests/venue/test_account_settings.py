"""What an account's owner sets: the configuration and the watchlists, and what the engine makes of them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.venue.desk import Desk
from tests.venue.helpers import OPENING, StartVenue, minutes

STOCK = minutes("SPY", 60, start=OPENING, base=100.0)
COIN = minutes(count=60, start=OPENING)
SWITCHES = "/v2/account/configurations"


async def test_a_new_account_has_alpacas_switches_and_a_change_keeps_the_others() -> None:
    """Every switch is told, and a PATCH of one names no other."""
    async with Desk.opened(None, STOCK) as desk:
        before = desk.get(SWITCHES)
        after = desk.ask("PATCH", SWITCHES, {"trade_confirm_email": "all", "pdt_check": None})

        assert before == {
            "fractional_trading": True,
            "no_shorting": False,
            "suspend_trade": False,
            "max_margin_multiplier": "2",
            "disable_overnight_trading": False,
            "ptp_no_exception_entry": False,
            "trade_confirm_email": "none",
            "max_options_trading_level": None,
        }
        assert after == before | {"trade_confirm_email": "all"} == desk.get(SWITCHES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suspend_trade", "yes"),
        ("suspend_trade", 1),
        ("max_margin_multiplier", "3"),
        ("max_margin_multiplier", 4),
        ("trade_confirm_email", "some"),
        ("max_options_trading_level", 4),
    ],
)
async def test_a_switch_takes_only_the_values_that_it_has(name: str, value: Any) -> None:
    """The refusal names the switch, and nothing changes."""
    async with Desk.opened(None, STOCK) as desk:
        before = desk.get(SWITCHES)
        answer = desk.ask("PATCH", SWITCHES, {name: value, "no_shorting": True})

        assert (desk.status, answer["code"]) == (422, 40010001)
        assert answer["message"].startswith(f"invalid {name}: expected one of ")
        assert desk.get(SWITCHES) == before


ORDERS_REFUSED: dict[str, tuple[dict[str, object], dict[str, str], str]] = {
    "suspended": ({"suspend_trade": True}, {}, "account is not authorized to trade"),
    "no parts": ({"fractional_trading": False}, {"qty": "0.5"}, "fractional trading is disabled for this account"),
    "long only": ({"no_shorting": True}, {"side": "sell"}, "account is not allowed to short"),
    "cash account": ({"max_margin_multiplier": "1"}, {"side": "sell"}, "account is not allowed to short"),
}


@pytest.mark.parametrize("name", ORDERS_REFUSED)
async def test_the_engine_obeys_the_switches(name: str) -> None:
    """The order that was taken before is refused, and is taken again when the switch is back."""
    switches, members, text = ORDERS_REFUSED[name]
    async with Desk.opened(None, STOCK) as desk:
        desk.step()
        before = desk.get(SWITCHES)
        desk.ask("DELETE", f"/v2/orders/{desk.buy('SPY', '1', **members)['id']}")
        desk.ask("PATCH", SWITCHES, switches)
        refused = desk.buy("SPY", "1", **members)
        refused_status = desk.status
        suspended = desk.get("/v2/account")["trade_suspended_by_user"]
        desk.ask("PATCH", SWITCHES, before)
        taken = desk.buy("SPY", "1", **members)

        assert (refused_status, refused) == (403, {"code": 40310000, "message": text})
        assert suspended is ("suspend_trade" in switches)
        assert taken["status"] == "new"


@pytest.mark.parametrize(
    ("multiplier", "power", "regt", "initial"),
    [("1", "90000", "90000", "10000"), ("2", "190000", "190000", "5000"), ("4", "390000", "190000", "5000")],
)
async def test_buying_power_is_the_multipliers(multiplier: str, power: str, regt: str, initial: str) -> None:
    """1 is cash; 2 is twice the excess over half of what is held; 4 is four times last day's, less what was opened since."""
    flat = minutes("SPY", 60, start=OPENING, base=100.0)
    for column in (flat.open, flat.high, flat.low, flat.close):
        column[:] = 100.0
    flat.volume[:] = 10_000.0
    async with Desk.opened(None, flat) as desk:
        desk.step()
        desk.ask("PATCH", SWITCHES, {"max_margin_multiplier": multiplier})
        desk.buy("SPY", "100")
        desk.step(2)
        account = desk.get("/v2/account")

        assert account["multiplier"] == multiplier
        assert (account["buying_power"], account["effective_buying_power"]) == (power, power)
        assert (account["regt_buying_power"], account["initial_margin"]) == (regt, initial)
        assert account["non_marginable_buying_power"] == "90000"
        assert account["cash"] == "90000"
        assert account["equity"] == account["portfolio_value"] == "100000"


@pytest.mark.parametrize(("multiplier", "most"), [("1", 975), ("2", 1951), ("4", 3902)])
async def test_what_the_buying_power_allows_is_bought_and_no_share_more(multiplier: str, most: int) -> None:
    """Also with other orders resting: a market buy counts with its collar of 2.5 percent."""
    flat = minutes("SPY", 60, start=OPENING, base=100.0)
    for column in (flat.open, flat.high, flat.low, flat.close):
        column[:] = 100.0
    async with Desk.opened(None, flat) as desk:
        desk.step()
        desk.ask("PATCH", SWITCHES, {"max_margin_multiplier": multiplier})
        first = desk.buy("SPY", str(most - 100))
        beyond = desk.buy("SPY", "101")
        last = desk.buy("SPY", "100")

        assert first["status"] == last["status"] == "new"
        assert beyond["message"] == "insufficient buying power"
        assert Decimal(beyond["buying_power"]) < Decimal(beyond["cost_basis"])


async def test_watchlists_are_made_read_changed_and_deleted() -> None:
    """By id and by name; the list of lists does not say what is in them."""
    async with Desk.opened(None, STOCK, COIN) as desk:
        made = desk.ask("POST", "/v2/watchlists", {"name": "mine", "symbols": ["SPY"]})
        path = f"/v2/watchlists/{made['id']}"
        grown = desk.ask("POST", path, {"symbol": "BTCUSD"})
        shrunk = desk.ask("DELETE", path + "/BTC/USD")
        renamed = desk.ask("PUT", "/v2/watchlists:by_name", {"name": "yours", "symbols": ["BTC/USD"]}, name="mine")
        listed = desk.get("/v2/watchlists")
        read, named = desk.get(path), desk.get("/v2/watchlists:by_name", name="yours")
        desk.ask("DELETE", path)
        status = desk.status
        gone = desk.get(path)

        assert (made["name"], made["account_id"]) == ("mine", desk.account.id)
        assert [[asset["symbol"] for asset in one["assets"]] for one in (made, grown, shrunk, renamed)] == [
            ["SPY"],
            ["SPY", "BTC/USD"],
            ["SPY"],
            ["BTC/USD"],
        ]
        assert [(one["name"], "assets" in one) for one in listed] == [("yours", False)]
        assert read == named == renamed
        assert (status, desk.status, gone["message"]) == (204, 404, "watchlist not found")


WATCHLISTS_REFUSED: dict[str, tuple[str, str, object, int, str]] = {
    "no name": ("POST", "", {"symbols": []}, 422, "watchlist name must have 1 to 64 characters"),
    "long name": ("POST", "", {"name": "x" * 65}, 422, "watchlist name must have 1 to 64 characters"),
    "name taken": ("POST", "", {"name": "mine"}, 422, "watchlist name must be unique"),
    "unknown symbol": ("POST", "", {"name": "a", "symbols": ["NONE"]}, 404, "asset not found for NONE"),
    "symbol twice": ("POST", "", {"name": "a", "symbols": ["SPY", "SPY"]}, 422, "duplicate symbol"),
    "no object": ("POST", "", [1], 422, "request body must be an object"),
    "no symbol": ("POST", "/{}", {}, 422, "symbol is required"),
    "held already": ("POST", "/{}", {"symbol": "SPY"}, 422, "duplicate symbol"),
    "not held": ("DELETE", "/{}/BTC/USD", None, 404, "symbol not found in the watchlist"),
    "unknown list": ("DELETE", "/none", None, 404, "watchlist not found"),
}


@pytest.mark.parametrize("name", WATCHLISTS_REFUSED)
async def test_what_makes_no_watchlist_is_refused(name: str) -> None:
    """And the lists stay what they were."""
    method, path, body, status, text = WATCHLISTS_REFUSED[name]
    async with Desk.opened(None, STOCK, COIN) as desk:
        made = desk.ask("POST", "/v2/watchlists", {"name": "mine", "symbols": ["SPY"]})
        answer = desk.ask(method, "/v2/watchlists" + path.format(made["id"]), body)
        answered = desk.status

        assert (answered, answer["message"]) == (status, text)
        assert desk.get(f"/v2/watchlists/{made['id']}") == made
        assert len(desk.get("/v2/watchlists")) == 1


def test_what_was_set_survives_a_kill(start_venue: StartVenue, tmp_path: Path) -> None:
    """Configuration and watchlists are inputs of the book."""
    book = str(tmp_path / "venue.book")
    first = start_venue(STOCK, book=book)
    with first.client() as client:
        switches = client.patch(SWITCHES, json={"no_shorting": True, "max_margin_multiplier": "4"}).json()
        watchlist = client.post("/v2/watchlists", json={"name": "mine", "symbols": ["SPY"]}).json()
    first.kill()
    with start_venue(STOCK, book=book).client() as client:
        found = client.get(SWITCHES).json(), client.get("/v2/watchlists:by_name", params={"name": "mine"}).json()
        account = client.get("/v2/account").json()

    assert found == (switches, watchlist)
    assert (account["multiplier"], account["buying_power"]) == ("4", "400000")
