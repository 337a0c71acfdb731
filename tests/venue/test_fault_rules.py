"""Rules of faults: how they are read, refused, counted, removed and decided by chance; and scenario files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.model.errors import ConfigurationError, VenueError
from holdfast.testing import VenueAdmin
from holdfast.venue.faults import EFFECTS, FaultBoard, parse_rules, read_scenario
from tests.venue.helpers import Bot, StartVenue, VenueProcess, limit


def test_without_faults_nothing_is_altered(venue: VenueProcess) -> None:
    """The canary of the checks above: the same requests, nothing strikes."""
    with venue.client() as client:
        assert client.post("/v2/orders", json=limit("0.1", "30000")).json()["status"] == "new"
    with VenueAdmin(venue.admin) as admin:
        assert admin.faults() == []


def test_rules_are_listed_counted_and_removed(venue: VenueProcess) -> None:
    """An id is given once; what has been removed strikes no more."""
    with VenueAdmin(venue.admin) as admin, venue.client() as client:
        first = admin.fault("server_error", path="/v2/clock", count=2, name="clock")
        second, third = admin.add_faults(
            [{"effect": "mute", "target": "trade"}, {"effect": "lag", "count": "unlimited"}]
        )
        assert [client.get("/v2/clock").status_code for _ in range(3)] == [500, 500, 200]
        rows = {row["id"]: row for row in admin.faults()}
        assert list(rows) == [first, second, third]
        assert (rows[first]["struck"], rows[first]["spent"], rows[first]["name"]) == (2, True, "clock")
        assert (rows[second]["struck"], rows[second]["target"]) == (0, "trade")
        assert admin.remove_fault(first) == 2
        with pytest.raises(VenueError, match="there is no fault f1; GET /faults lists them"):
            admin.remove_fault(first)
        admin.clear_faults()
        assert admin.faults() == []
        assert admin.fault("mute") == "f4"
        assert httpx.get(f"{venue.admin}/faults/effects", trust_env=False).json().keys() == EFFECTS.keys()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"effect": "nope"}, "fault: there is no effect 'nope'; expected one of too_many_requests"),
        ({}, "fault: Object missing required field `effect`"),
        ([{"effect": "mute"}, {"effect": "mute", "second": 1}], "faults[1]: Object contains unknown field `second`"),
        (
            {"effect": "mute", "target": "requests"},
            "effect mute cannot strike requests; expected trade or data or events",
        ),
        ({"effect": "mute", "seconds": 3}, "effect mute takes no seconds; it takes no option"),
        ({"effect": "lag", "status": 500}, "effect lag takes no status; it takes seconds"),
        ({"effect": "lag", "kind": "fill"}, "kind cannot be matched where the target is requests"),
        ({"effect": "mute", "path": "/v2*"}, "path cannot be matched where the target is trade"),
        ({"effect": "alter", "target": "trade"}, "effect alter needs set"),
        ({"effect": "lag", "count": 0}, "count must be between 1 and"),
        ({"effect": "lag", "count": "often"}, "fault: Invalid enum value 'often'"),
        ({"effect": "lag", "probability": 1.5}, "probability must be between 0 and 1, got 1.5"),
        ({"effect": "lag", "seconds": -1}, "seconds must be between 0 and"),
        ({"effect": "server_error", "status": 200}, "status must be between 400 and 599, got 200"),
        ({"effect": "too_many_requests", "headers": "some"}, "headers must be one of all, limits, none, got 'some'"),
        ({"effect": "lag", "start": "noon"}, "start must be a time like 2024-01-02T14:30:00Z or a number of seconds"),
        ({"effect": "lag", "skip": -1}, "skip must be between 0 and"),
        ("mute", "fault: Expected `object`, got `str`"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_a_sentence(lasting_venue: VenueProcess, rule: Any, said: str) -> None:
    """What, where, what was expected; and none of a list stands if one is wrong."""
    answer = httpx.post(f"{lasting_venue.admin}/faults", json=rule, trust_env=False)
    assert answer.status_code == 422
    assert said in answer.json()["message"]
    assert httpx.get(f"{lasting_venue.admin}/faults", trust_env=False).json()["faults"] == []


def test_chance_is_decided_by_the_seed() -> None:
    """The same seed strikes the same matches; another one others; about as many as were asked for."""

    def struck(seed: int) -> list[bool]:
        board = FaultBoard(seed=seed)
        (one,) = board.add(parse_rules({"effect": "lag", "probability": 0.3}))
        return [board.strikes(one) for _ in range(1000)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 250 < sum(struck(1)) < 350


def test_a_rule_has_its_moments() -> None:
    """From its start to its end, in the venue's time; seconds count from the market's beginning."""
    now = 0
    board = FaultBoard(begins_at=1_000_000_000, now=lambda: now)
    board.add(parse_rules({"effect": "lag", "start": 2, "end": "1970-01-01T00:00:05Z"}))
    stood = {}
    for second in range(7):
        now = second * 1_000_000_000
        stood[second] = bool(board.rules("requests"))
    assert [second for second, stands in stood.items() if stands] == [3, 4]


def test_a_mute_stream_does_not_stop_the_lockstep(venue: VenueProcess) -> None:
    """What was not sent is not counted: the driver is drained."""

    async def run() -> None:
        async with Bot.connected(venue) as bot:
            with VenueAdmin(venue.admin) as admin, venue.client() as client:
                admin.fault("lost", target="trade", kind="new")
                admin.fault("duplicated", target="data", skip=1)
                admin.fault("malformed", target="trade", kind="fill")
                client.post("/v2/orders", json=limit("0.1", "50000")).raise_for_status()
                await bot.run(4)
                assert len(bot.bars) == 4
                assert bot.updates == []

    asyncio.run(run())


# -- scenario files ------------------------------------------------------------------------------


def test_a_scenario_stands_from_the_beginning(start_venue: StartVenue, tmp_path: Path) -> None:
    """From TOML or JSON alike."""
    toml, json = tmp_path / "night.toml", tmp_path / "night.json"
    toml.write_text(
        'seed = 7\n[[faults]]\neffect = "server_error"\npath = "/v2/clock"\nstart = 2022-01-01T00:00:00Z\n',
        encoding="utf-8",
    )
    json.write_bytes(
        msgspec.json.encode(
            {
                "seed": 7,
                "faults": [{"effect": "server_error", "path": "/v2/clock", "start": "2022-01-01T00:00:00+00:00"}],
            }
        )
    )
    assert read_scenario(toml) == read_scenario(json)
    venue = start_venue(scenario=msgspec.to_builtins(read_scenario(toml)))
    with venue.client() as client:
        assert [client.get("/v2/clock").status_code for _ in range(2)] == [500, 200]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "seed = ", "is no TOML: "),
        ("a.json", "{", "is no JSON: "),
        ("a.toml", "sead = 1", "expected the members seed and faults, found ['sead']"),
        ("a.json", "[]", "expected the members seed and faults, found list"),
        ("a.toml", "seed = 'x'", "seed must be an integer, got 'x'"),
        ("a.toml", "faults = 1", "faults must be a list of tables"),
        ("a.toml", "[[faults]]\neffect = 'mute'\ncount = 0", "faults[0]: count must be between 1 and"),
    ],
)
def test_a_bad_scenario_is_one_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    """It names the file and the place."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as error:
        read_scenario(path)
    assert str(error.value).startswith(f"the scenario {path}")
    assert said in str(error.value)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_scenario(tmp_path / "none.toml")
