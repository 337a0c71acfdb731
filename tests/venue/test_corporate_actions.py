"""Splits and dividends: what an operator does to a stock is listed, paid, and survives SIGKILL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.model.errors import VenueError
from holdfast.testing import VenueAdmin
from tests.venue.helpers import OPENING, StartVenue, VenueProcess, market, minutes


def stocks() -> list[Any]:
    """Two stocks and a coin, an hour from a Tuesday's opening on."""
    return [minutes("SPY", 60, start=OPENING), minutes("QQQ", 60, start=OPENING), minutes(start=OPENING)]


@pytest.fixture
def venue(start_venue: StartVenue) -> VenueProcess:
    """A venue of them."""
    return start_venue(*stocks())


@pytest.fixture
def client(venue: VenueProcess) -> Iterator[httpx.Client]:
    """A client of its REST API."""
    with venue.client() as client:
        yield client


def listed(client: httpx.Client, **params: str) -> Any:
    """The page of corporate actions."""
    return client.get("/v1/corporate-actions", params=params).raise_for_status().json()


def test_a_dividend_is_paid_to_whoever_holds_the_stock(venue: VenueProcess, client: httpx.Client) -> None:
    """By the share; who is short pays it, who holds none has no row."""
    with VenueAdmin(venue.admin) as admin, venue.client("short") as short, venue.client("bystander") as bystander:
        admin.step(bars=1)
        client.post("/v2/orders", json=market("2", symbol="SPY")).raise_for_status()
        short.post("/v2/orders", json=market("1", "sell", symbol="SPY")).raise_for_status()
        bystander.get("/v2/account").raise_for_status()
        admin.step(bars=2)
        cash = [float(one.get("/v2/account").json()["cash"]) for one in (client, short, bystander)]
        admin.dividend("SPY", "0.505")
        paid = [float(one.get("/v2/account").json()["cash"]) for one in (client, short, bystander)]
        rows = [one.get("/v2/account/activities/DIV").json() for one in (client, short, bystander)]
    assert [round(after - before, 2) for before, after in zip(cash, paid, strict=True)] == [1.01, -0.51, 0]
    assert [[row["net_amount"] for row in found] for found in rows] == [["1.01"], ["-0.51"], []]


def test_they_are_listed_by_type_filtered_and_paged(venue: VenueProcess, client: httpx.Client) -> None:
    """Oldest first unless asked otherwise; every page says where the next one begins."""
    assert listed(client) == {"corporate_actions": {}, "next_page_token": None}
    with VenueAdmin(venue.admin) as admin:
        admin.split("SPY", old=1, new=2)
        admin.step(bars=1)
        admin.dividend("QQQ", 1.25)
        admin.step(bars=1)
        admin.split("QQQ", old=10, new=1)
    every = listed(client)["corporate_actions"]
    day = {
        "ex_date": "2024-01-02",
        "process_date": "2024-01-02",
        "record_date": "2024-01-02",
        "payable_date": "2024-01-02",
    }
    assert list(every) == ["forward_splits", "cash_dividends", "reverse_splits"]
    (split,), (dividend,), (reverse,) = every.values()
    assert split == {"id": split["id"], "symbol": "SPY", "cusip": "", "old_rate": 1, "new_rate": 2, **day}
    assert (dividend["symbol"], dividend["rate"], dividend["special"]) == ("QQQ", 1.25, False)
    assert (reverse["old_rate"], reverse["new_rate"]) == (10, 1)

    assert list(listed(client, symbols="QQQ")["corporate_actions"]) == ["cash_dividends", "reverse_splits"]
    assert listed(client, types="cash_dividend")["corporate_actions"] == {"cash_dividends": [dividend]}
    assert listed(client, ids=reverse["id"])["corporate_actions"] == {"reverse_splits": [reverse]}
    assert listed(client, start="2024-01-01", end="2024-01-01")["corporate_actions"] == {}
    assert listed(client, start="2024-01-01", end="2024-01-02")["corporate_actions"] == every
    seen: list[str] = []
    token: Any = ""
    for _ in range(3):
        page = listed(client, limit="1", sort="desc", page_token=token)
        seen += list(page["corporate_actions"])
        token = page["next_page_token"]
    assert seen == ["reverse_splits", "cash_dividends", "forward_splits"]
    assert token is None


REFUSED = [
    ({"types": "party"}, "invalid type: 'party'"),
    ({"start": "now"}, "start must be a date"),
    ({"sort": "up"}, "invalid sort: 'up'"),
    ({"ids": "1", "symbols": "SPY"}, "ids and symbols cannot be given together"),
    ({"start": "2024-01-03", "end": "2024-01-02"}, "end should not be before start"),
    ({"page_token": "bm9uZQ=="}, "page_token"),
]


@pytest.mark.parametrize(("params", "why"), REFUSED)
def test_what_cannot_be_asked_is_refused(client: httpx.Client, params: dict[str, str], why: str) -> None:
    """In a sentence."""
    answer = client.get("/v1/corporate-actions", params=params)
    assert answer.status_code in {400, 422}
    assert why in answer.json()["message"]


def test_there_is_no_news(client: httpx.Client) -> None:
    """In the right form."""
    assert client.get("/v1beta1/news", params={"limit": "10"}).json() == {"news": [], "next_page_token": None}
    assert client.get("/v1beta1/news", params={"sort": "up"}).status_code == 400


def test_a_coin_pays_no_dividend(venue: VenueProcess) -> None:
    """Nor is one of nothing paid."""
    with VenueAdmin(venue.admin) as admin:
        with pytest.raises(VenueError, match="BTC/USD is no equity"):
            admin.dividend("BTCUSD", 1)
        with pytest.raises(VenueError, match="rate must be above 0"):
            admin.dividend("SPY", 0)


def test_they_survive_sigkill(start_venue: StartVenue, tmp_path: Path) -> None:
    """With their ids."""
    book = str(tmp_path / "book.db")
    first = start_venue(*stocks(), book=book)
    with VenueAdmin(first.admin) as admin, first.client() as client:
        admin.step(bars=1)
        admin.split("SPY", old=1, new=2)
        admin.dividend("SPY", 0.5)
        before = listed(client)
        first.kill()
    with start_venue(*stocks(), book=book).client() as client:
        assert listed(client) == before
        assert list(before["corporate_actions"]) == ["forward_splits", "cash_dividends"]
