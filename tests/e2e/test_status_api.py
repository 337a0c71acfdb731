"""The status API of running bots, asked as a person would: by HTTP, and by ``holdfast status``."""

from __future__ import annotations

import stat
from typing import Any

import httpx
import pytest

from holdfast.testing.processes import Command
from tests.e2e.helpers import SAMPLE_SYMBOL, Commands, save_waves

KEYS = {
    "clock",
    "throttler",
    "order_tracker",
    "protections",
    "user_stream",
    "securities",
    "positions",
    "trading_state",
    "equity",
    "counters",
    "reconciliation",
}


def ask(bot: Command, path: str = "/status", token: str | None = None) -> httpx.Response:
    """One request, with a token or without."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(bot.status_url() + path, headers=headers, timeout=10.0, trust_env=False)


def until_healthy(bot: Command) -> dict[str, Any]:
    """What /healthz says once all is well."""
    return bot.until(lambda: answer.json() if (answer := ask(bot, "/healthz")).status_code == 200 else None)


def until_it_has_seen_all(bot: Command, token: str) -> dict[str, Any]:
    """Its status once the hour is over: a bot is healthy before."""
    return bot.until(lambda: said if (said := ask(bot, token=token).json())["counters"]["bars"] == 60 else None)


def start(commands: Commands, *more: object, env: dict[str, str] | None = None) -> Command:
    """A bot on an hour of a calm market, which stays after its end."""
    data = save_waves(commands.folder / "waves.csv", 60)
    arguments = ["--data", data, "--symbol", SAMPLE_SYMBOL, "--speed", "max", "--json", *more]
    return commands.start("paper", *arguments, env=env)


@pytest.mark.slow
def test_the_status_needs_its_token_and_tells_everything(commands: Commands) -> None:
    """401 without it or with another; 200 with it; /healthz takes none; the token is for its owner's eyes only."""
    bot = start(commands)
    assert until_healthy(bot) == {"status": "ok"}
    file = commands.home / "status.token"
    token = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    assert [ask(bot).status_code, ask(bot, token="x" * len(token)).status_code] == [401, 401]
    assert "Bearer" in ask(bot).headers["WWW-Authenticate"]
    assert ask(bot, "/nothing").status_code == 401
    assert ask(bot, "/nothing", token).status_code == 404

    assert ask(bot, token=token).status_code == 200
    status = until_it_has_seen_all(bot, token)
    assert set(status) >= KEYS
    assert set(status["clock"]) == {"current_time", "is_market_hours"}
    assert status["throttler"]["alpaca_trading"]["total_calls"] > 0
    assert SAMPLE_SYMBOL in str(status["securities"])


@pytest.mark.slow
def test_holdfast_status_finds_the_bot_by_itself(commands: Commands) -> None:
    """The last one started here; as JSON the same as over HTTP, else for people; a wrong token is told."""
    bot = start(commands)
    until_healthy(bot)
    until_it_has_seen_all(bot, (commands.home / "status.token").read_text().strip())
    told = commands.run("status", "--json").json
    assert set(told) >= KEYS
    assert told["counters"]["bars"] == 60
    shown = commands.run("status")
    assert shown.code == 0
    assert SAMPLE_SYMBOL in shown.out or "positions" in shown.out.lower()
    refused = commands.run("status", "--token", "0123456789abcdef0123456789abcdef")
    assert refused.code != 0
    assert "does not accept this token" in refused.err


@pytest.mark.slow
def test_several_bots_at_once_do_not_collide(commands: Commands) -> None:
    """One home, one token, made once although all of them start at the same moment; each has a port of its own."""
    bots = [start(commands, "--journal", commands.folder / f"journal-{number}") for number in range(3)]
    urls = [bot.status_url() for bot in bots]
    assert len(set(urls)) == 3
    token = (commands.home / "status.token").read_text().strip()
    for bot in bots:
        until_healthy(bot)
        assert ask(bot, token=token).status_code == 200


@pytest.mark.slow
def test_a_token_of_ones_own_from_the_environment(commands: Commands) -> None:
    """It is the one that counts, for the bot and for the question."""
    token = "a-token-of-my-own-0123456789"
    bot = start(commands, env={"HOLDFAST_STATUS__TOKEN": token})
    until_healthy(bot)
    until_it_has_seen_all(bot, token)
    told = commands.run("status", "--json", "--url", bot.status_url(), env={"HOLDFAST_STATUS__TOKEN": token})
    assert told.json["counters"]["bars"] == 60
