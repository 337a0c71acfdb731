"""The venue as a process: how it starts, stops, is killed, and comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.venue.helpers import KEYS, Bot, StartVenue, VenueProcess, launch, limit, market, minutes, save

# How long a trading venue lives before it is killed (real seconds): no two of them end at the same place.
LIVES_SECONDS = (0.053, 0.29, 0.087, 0.151, 0.071, 0.233, 0.109, 0.197)


def failure(folder: Path, **options: Any) -> str:
    """What a venue that cannot start says on its error output."""
    save(folder / "bars.npz", minutes())
    process = launch(folder / "bars.npz", **options)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (1, "")
    return err


def record(venue: VenueProcess) -> list[Any]:
    """All that the venue says of an account's past and present."""
    paths = [
        "/v2/orders?status=all&limit=500",
        "/v2/account/activities/FILL?direction=asc",
        "/v2/positions",
        "/v2/account",
        "/v1beta3/crypto/us/bars?symbols=BTC/USD&timeframe=1Min&start=2022-01-01&limit=10000",
    ]
    with venue.client() as client:
        return [client.get(path).raise_for_status().json() for path in paths]


def test_it_stops_at_once_when_told(venue: VenueProcess) -> None:
    """SIGTERM ends it with status 0 and nothing on its error output, connected streams or not."""

    async def connected() -> None:
        async with Bot.connected(venue) as bot:
            await bot.run(2)
            venue.process.terminate()
            await bot.trade.wait_closed()
            assert bot.trade.close_code == 1012

    asyncio.run(connected())
    assert venue.process.stderr is not None
    assert venue.process.wait(timeout=5) == 0
    assert venue.process.stderr.read() == ""
    assert venue.stop() == 0


def test_it_ends_with_its_parent(start_venue: StartVenue) -> None:
    """The end of standard input is the end of the venue, where asked."""
    venue = start_venue(exit_with_parent=True)
    assert venue.process.stdin is not None
    venue.process.stdin.close()

    assert venue.process.wait(timeout=10) == 0


def test_a_port_in_use_is_one_sentence(venue: VenueProcess, tmp_path: Path) -> None:
    """It names the address and what to do."""
    port = int(venue.url.rpartition(":")[2])
    said = failure(tmp_path, port=port)

    assert said == f"the venue cannot listen on 127.0.0.1:{port}: Address already in use; choose another port\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speed": 0}, "speed must be a positive number or 'max', got 0"),
        ({"port": 70_000}, "port must be between 0 and 65535, got 70000"),
        ({"cash": "-1"}, "cash must be an amount of USD, got -1"),
        ({"rate_limit": 0}, "rate_limit must be at least 1, or None, got 0"),
        ({"seed": -1}, "seed must be between 0 and"),
        ({"participation": "2"}, "participation"),
        ({"book": "/dev/null/book"}, "the venue's book /dev/null/book cannot be opened"),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    """It names the setting; there is no traceback."""
    err = failure(tmp_path, **options)

    assert said in err
    assert err.count("\n") == 1


def test_the_book_of_another_market_is_refused(start_venue: StartVenue, tmp_path: Path) -> None:
    """A book knows its data and its rules."""
    book = str(tmp_path / "book.sqlite")
    start_venue(minutes(count=50), book=book).kill()

    assert "was made with data = " in failure(tmp_path, book=book)


def test_a_killed_venue_comes_back_with_the_same_books(start_venue: StartVenue, tmp_path: Path) -> None:
    """Orders, executions, ids, positions, bars and the place in the replay; accounts keep their secrets."""
    book = str(tmp_path / "book.sqlite")
    venue = start_venue(book=book)

    async def trade() -> None:
        async with Bot.connected(venue) as bot:
            await bot.advance()
            with venue.client() as client:
                client.post("/v2/orders", json=market("2.2")).raise_for_status()
                client.post("/v2/orders", json=limit("0.1", "30000", client_order_id="rests")).raise_for_status()
                await bot.run(4)
                gone = client.post("/v2/orders", json=limit("0.1", "30001")).json()
                client.delete(f"/v2/orders/{gone['id']}").raise_for_status()
            await bot.run(7)

    asyncio.run(trade())
    before = record(venue)
    venue.kill()
    again = start_venue(book=book)

    assert record(again) == before
    assert httpx.get(again.url + "/", trust_env=False).json()["now_ns"] > 0
    wrong = {**KEYS, "APCA-API-SECRET-KEY": "wrong"}
    assert httpx.get(again.url + "/v2/account", headers=wrong, trust_env=False).status_code == 401
    with again.client() as client:
        repeated = client.post("/v2/orders", json=limit("0.1", "30000", client_order_id="rests"))
        assert repeated.json()["message"] == "client_order_id must be unique"


def test_what_was_answered_or_streamed_survives_a_kill_at_any_moment(start_venue: StartVenue, tmp_path: Path) -> None:
    """Killed at many moments of a trading session: no answered order, streamed fill or shown bar is ever lost."""
    book = str(tmp_path / "book.sqlite")
    answered: dict[str, str] = {}
    streamed: dict[str, str] = {}
    shown: dict[str, float] = {}
    number = 0

    async def trade(venue: VenueProcess, life_seconds: float) -> None:
        nonlocal number
        loop = asyncio.get_running_loop()
        async with (
            httpx.AsyncClient(base_url=venue.url, headers=KEYS, trust_env=False) as client,
            Bot.connected(venue) as bot,
        ):
            loop.call_later(life_seconds, venue.process.kill)
            while not bot.last["done"]:
                await bot.advance()
                shown.update((bar["t"], bar["c"]) for bar in bot.bars)
                streamed.update(
                    (update["execution_id"], update["order"]["id"]) for update in bot.updates if "price" in update
                )
                number += 1
                side = "sell" if number % 2 else "buy"
                order = market("0.01", side, client_order_id=f"o{number}")
                answer = await client.post("/v2/orders", json=order)
                if answer.status_code == 200:
                    answered[f"o{number}"] = answer.json()["id"]

    for life_seconds in LIVES_SECONDS:
        venue = start_venue(minutes(count=2000), book=book, rate_limit=None)
        with pytest.raises(Exception):  # noqa: B017, PT011 - however a client notices that the venue is gone
            asyncio.run(trade(venue, life_seconds))
        venue.kill()
        venue = start_venue(minutes(count=2000), book=book, rate_limit=None)
        with venue.client() as client:
            for name, order_id in answered.items():
                found = client.get("/v2/orders:by_client_order_id", params={"client_order_id": name})
                assert found.json()["id"] == order_id, (life_seconds, name)
            fills: list[Any] = []
            query: dict[str, Any] = {"direction": "asc", "page_size": 100}
            while page := client.get(
                "/v2/account/activities/FILL", params=query | ({"page_token": fills[-1]["id"]} if fills else {})
            ).json():
                fills += page
            assert streamed.items() <= {row["id"].partition("::")[2]: row["order_id"] for row in fills}.items()
            assert len({row["id"] for row in fills}) == len(fills)
            path = "/v1beta3/crypto/us/bars?symbols=BTC/USD&timeframe=1Min&start=2022-01-01&limit=10000"
            bars = client.get(path).json()["bars"].get("BTC/USD", [])
            assert shown.items() <= {bar["t"]: bar["c"] for bar in bars}.items()
        venue.kill()
    assert len(streamed) > 10
    assert len(answered) > 10


def test_a_session_killed_again_and_again_ends_like_one_left_alone(start_venue: StartVenue, tmp_path: Path) -> None:
    """The same orders on the same bars, in one life and in many: the same ids, fills, money and time."""

    async def trade(venue: VenueProcess, steps: int) -> bool:
        async with Bot.connected(venue) as bot, httpx.AsyncClient(base_url=venue.url, headers=KEYS) as client:
            for _ in range(steps):
                known = len(bot.bars)
                await bot.advance()
                if len(bot.bars) > known and bot.bars[-1]["t"][15] in "05":
                    side = "sell" if bot.bars[-1]["t"][15] == "5" else "buy"
                    await client.post("/v2/orders", json=market("0.3", side))
                if bot.last["done"]:
                    return True
        return False

    def play(name: str, steps: int) -> tuple[int, list[Any]]:
        lives, done = 0, False
        while not done:
            lives += 1
            venue = start_venue(minutes(count=60), book=str(tmp_path / name), seed=5)
            done = asyncio.run(trade(venue, steps))
            result = record(venue)
            venue.kill()
        return lives, result

    lives, killed = play("killed", 9)
    one, alone = play("alone", 10**6)

    assert (lives > 5, one) == (True, 1)
    assert killed == alone
    assert len(alone[1]) > 5
