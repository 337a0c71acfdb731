"""What the command says of itself."""

from __future__ import annotations

import re

import pytest

import holdfast
from tests.e2e.helpers import Commands

# Each command, what its help says that it does, and the options that it must offer.
COMMANDS = {
    "paper": (
        "play money",
        ("--data", "--symbol", "--synthetic", "--speed", "--venue", "--journal", "--once", "--json"),
    ),
    "live": ("real money", ("--i-accept-real-orders", "account.live_confirmed")),
    "backtest": ("matching engine in-process", ("--data", "--symbol", "--strategy", "--param", "--json")),
    "venue": ("built-in venue", ("--speed", "--port", "--admin-port", "--book", "--scenario", "--rate-limit")),
    "data": ("list and check market data", ("download", "import", "ls", "check")),
    "journal": ("back it up", ("verify", "stats", "export", "backup", "restore")),
    "replay": ("compare every command", ("JOURNAL", "--config", "--strategy", "--json")),
    "explain": ("the life of one order", ("JOURNAL", "ORDER", "--json")),
    "torture": ("under faults and crashes", ("--seeds", "--seed", "--strategy", "--canary", "--json")),
    "status": ("running bot", ("--url", "--token", "--json")),
    "halt": ("also when the bot hangs", ("--journal", "--config", "--reason", "--reduce")),
    "resume": ("Lift a halt", ("--journal", "--config")),
    "watch": ("Look after a running bot from outside", ("--journal", "--config", "--every", "--once")),
    "certify": (
        "every answer laid side by side",
        ("--config", "--venue", "--symbol", "--max-notional", "--despite", "--recording", "--json"),
    ),
    "doctor": (
        "what to do about what is wrong",
        ("--config", "--journal", "--venue", "--symbol", "--notify", "--json"),
    ),
    "flatten": ("whatever state it is in", ("--journal", "--config", "--venue", "--timeout", "--all")),
}


def test_help_names_every_command_and_what_the_whole_is_for(commands: Commands) -> None:
    """Also without any argument: whoever types the bare command wants to know."""
    said = commands.run("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in said.out
    assert "Trade a strategy on Alpaca" in said.out
    assert [
        line for line in said.out.splitlines() if line.endswith("...") and "Usage" not in line
    ] == []  # none is cut off
    bare = commands.run()
    assert "\n  paper " in bare.out + bare.err


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_does(commands: Commands, command: str) -> None:
    """And names its options."""
    purpose, options = COMMANDS[command]
    said = commands.run(command, "--help")
    assert (said.code, said.err) == (0, "")
    words = " ".join(said.out.split())
    assert re.findall(r"--[a-z-]+ <[^>]+>", words) == []  # every value has a name that says what it is
    for expected in (purpose, *options):
        assert expected in words


def test_the_version_is_the_packages(commands: Commands) -> None:
    """As ``holdfast X.Y.Z``."""
    said = commands.run("--version")
    assert (said.code, said.out) == (0, f"holdfast {holdfast.__version__}\n")
