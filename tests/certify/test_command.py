"""Against a venue process: no difference, nothing left, never a live account, and every fault is told as what it is."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.certify import compare
from holdfast.certify.recording import read
from holdfast.model.errors import ConfigurationError, HoldfastError
from holdfast.testing import VenueAdmin
from holdfast.testing.processes import VenueBooks, VenueProcess, venue_state
from tests.certify.conftest import HEADERS, KEY, KEYS, SECRET, Certified
from tests.certify.proxy import wire
from tests.e2e.helpers import Commands

STOCK, COIN = ("--synthetic", "F", "--speed", "120"), ("--speed", "120")
OPEN = ("new", "accepted", "pending_new", "partially_filled", "held")


def _assert_nothing_left(url: str) -> None:
    books = VenueBooks.ask(url, HEADERS)
    assert [order["client_order_id"] for order in books.orders if order["status"] in OPEN] == []
    assert books.positions == {}


async def _venue(commands: Commands, *arguments: str) -> VenueProcess:
    return await asyncio.to_thread(commands.venue, *(arguments or STOCK))


def _admin(venue: VenueProcess) -> VenueAdmin:
    state = venue_state(venue.url)
    assert state is not None
    return VenueAdmin(state["admin"])


def _places(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(difference["step"], difference["where"]) for difference in found["differences"]}


@pytest.mark.parametrize("market", [STOCK, COIN], ids=["a stock", "a coin"])
def test_the_venue_answers_as_the_venue(commands: Commands, market: tuple[str, ...]) -> None:
    """No difference; the recording tells nothing of the account and is equal to itself; nothing is left behind."""
    url = commands.venue(*market).url

    options = ("--json", "--recording", "it.json", "--max-notional", "1000")
    finished = commands.run("certify", "--venue", url, *options, env=KEYS)

    assert finished.code == 0, finished.out + finished.err
    assert finished.json["differences"] == []
    assert finished.json["finished"]
    assert finished.json["steps"] >= 40
    text = (commands.folder / "it.json").read_text()
    account = httpx.get(url + "/v2/account", headers=HEADERS, trust_env=False).json()
    orders = [row["id"] for row in VenueBooks.ask(url, HEADERS).orders]
    for secret in (KEY, SECRET, account["id"], account["account_number"], *orders):
        assert secret not in text
    recording = read(commands.folder / "it.json")
    assert compare(recording, recording) == []
    assert [event["event"] for event in recording.events["first"]] == ["new", "replaced"]
    assert [event["event"] for event in recording.events["entry"]][-1] == "fill"
    assert "position afterwards" in [step.name for step in recording.steps]
    _assert_nothing_left(url)


# -- canaries -------------------------------------------------------------------------------------


async def test_a_changed_word_is_found_and_nothing_else(commands: Commands, certified: Certified) -> None:
    """Another text in an answer, and another event on the stream, each by its place."""
    venue = await _venue(commands)
    changes = {b"must be unique": b"must be UNIQUE", b'"event":"replaced"': b'"event":"rePlaced"'}
    async with wire(venue.port, changes) as changed:
        found = await certified(changed.url)

    assert _places(found) == {("placed again", "message"), ("stream: first", "sequence")}
    assert "must be UNIQUE" in str(found["differences"])
    _assert_nothing_left(venue.url)


async def test_an_answer_that_never_came_is_told_and_its_order_is_found(
    commands: Commands, certified: Certified
) -> None:
    """The order was placed and the answer is a 504: what rests is cancelled, what was bought is sold."""
    venue = await _venue(commands)
    with _admin(venue) as admin:
        first = admin.fault("gateway_timeout", method="POST", path="/v2/orders", client_order_id="*-first")
        entry = admin.fault("gateway_timeout", method="POST", path="/v2/orders", client_order_id="*-entry")
        found = await certified(venue.url)
        assert (admin.struck(first), admin.struck(entry)) == (1, 1)

    statuses = {item["step"]: item["yours"] for item in found["differences"] if item["where"] == "HTTP status"}
    assert statuses == {"placed": 504, "bought": 504}
    missing = {item["step"] for item in found["differences"] if item["where"] == "step"}
    assert {"found by its id", "replaced", "after its fill", "closed"} <= missing
    _assert_nothing_left(venue.url)


async def test_a_field_and_a_message_that_differ_are_told(commands: Commands, certified: Certified) -> None:
    """A further field in the account, an order in an unheard-of state, a fill that is never streamed."""
    venue = await _venue(commands)
    with _admin(venue) as admin:
        admin.fault("alter", method="GET", path="/v2/account", count="unlimited", set={"mood": "good"})
        admin.fault("alter", target="trade", kind="replaced", set={"order.status": "superseded"})
        admin.fault("lost", target="trade", kind="canceled")
        found = await certified(venue.url)

    assert _places(found) == {
        ("account", "mood"),
        ("stream: first", "replaced.order.status"),
        ("stream: second", "sequence"),
    }
    _assert_nothing_left(venue.url)


# -- clean ends -----------------------------------------------------------------------------------


def test_ctrl_c_leaves_nothing_behind(commands: Commands) -> None:
    """In the middle of the script, and again while it cleans up: what rests is cancelled, what was bought is sold."""
    venue = commands.venue("--synthetic", "F", "--speed", "20", "--rate-limit", "10000")
    running = commands.start("certify", "--venue", venue.url, env=KEYS)

    def has_begun() -> bool:
        rows = httpx.get(venue.url + "/v2/orders?status=all", headers=HEADERS, trust_env=False).json()
        return isinstance(rows, list) and bool(rows)

    running.until(has_begun)
    running.process.send_signal(signal.SIGINT)
    running.until(lambda: "stopping" in running.err)
    running.process.send_signal(signal.SIGINT)
    finished = running.finish()

    assert finished.code == 130, finished.err
    assert "Traceback" not in finished.err
    _assert_nothing_left(venue.url)


async def test_a_script_that_takes_too_long_is_given_up_and_cleaned(commands: Commands, certified: Certified) -> None:
    """Where the order that was on its way comes into being after we have left: it is waited for, and cancelled."""
    venue = await _venue(commands, "--synthetic", "F", "--speed", "120")
    with _admin(venue) as admin:
        admin.fault("delay", method="POST", path="/v2/orders", client_order_id="*-first", seconds=5.0)
        found = await certified(venue.url, seconds=4.0)

    assert found["finished"] is False
    assert ("script", "finished") in _places(found)
    _assert_nothing_left(venue.url)


async def test_what_is_there_already_is_left_alone(commands: Commands, certified: Certified) -> None:
    """An open order of others is a reason not to begin; with ``--despite`` it is still there afterwards, and alone.

    Beside it no market order may sell, which is the difference that is told; what was bought is sold by a limit.
    """
    venue = await _venue(commands)
    body = {"symbol": "F", "qty": "1", "side": "buy", "type": "limit", "time_in_force": "gtc", "limit_price": "1.5"}
    async with httpx.AsyncClient(base_url=venue.url, headers=HEADERS, trust_env=False) as client:
        other = (await client.post("/v2/orders", json=body)).raise_for_status().json()

        with pytest.raises(ConfigurationError, match="--despite"):
            await certified(venue.url)
        found = await certified(venue.url, despite=True)
        open_orders = (await client.get("/v2/orders")).json()

    assert found["finished"]
    assert "wash trade" in str(found["differences"])
    assert VenueBooks.ask(venue.url, HEADERS).positions == {}
    assert [order["id"] for order in open_orders] == [other["id"]]


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"APCA_API_BASE_URL": "https://api.alpaca.markets"}, "real money"),
        ({"APCA_API_BASE_URL": "https://broker.example.org"}, "paper accounts alone"),
        ({"APCA_API_KEY_ID": f"AK{KEY[2:]}"}, "paper accounts alone"),
        ({"HOLDFAST_ACCOUNT__MODE": "live", "HOLDFAST_ACCOUNT__LIVE_CONFIRMED": "true"}, "paper accounts alone"),
        ({"APCA_API_KEY_ID": ""}, "api_key is not set"),
    ],
)
async def test_a_live_account_is_refused(
    certified: Certified, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    """By its address, its key and its mode, before anything is sent; the secret is not shown."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=said) as refused:
        await certified(None)

    assert SECRET not in str(refused.value)


async def test_an_account_that_says_it_is_live_is_refused(commands: Commands, certified: Certified) -> None:
    """Whatever its address says; nothing was ordered."""
    venue = await _venue(commands)
    async with wire(venue.port, {b'"account_number":"PA': b'"account_number":"77'}) as changed:
        with pytest.raises(ConfigurationError, match="does not begin with PA"):
            await certified(changed.url)

    assert VenueBooks.ask(venue.url, HEADERS).orders == []


async def test_what_cannot_be_certified_is_said(commands: Commands, certified: Certified) -> None:
    """A venue that stands still, one that lacks the symbol, and too little money."""
    still = await _venue(commands, "--synthetic", "F")
    running = await _venue(commands)

    for url, options, said in (
        (still.url, {}, "--speed 60"),
        (running.url, {"symbol": "SPY"}, "does not trade SPY"),
        (running.url, {"max_notional": Decimal(1)}, "--max-notional"),
    ):
        with pytest.raises(HoldfastError, match=said):
            await certified(url, **options)
    assert VenueBooks.ask(running.url, HEADERS).orders == []


def test_a_recording_can_be_read_again(commands: Commands) -> None:
    """What is none is said to be none."""
    (commands.folder / "no.json").write_text(msgspec.json.encode({"plan": 1}).decode())

    with pytest.raises(HoldfastError, match="is no recording"):
        read(commands.folder / "no.json")
