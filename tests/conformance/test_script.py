"""The contract's script: a user who knows only alpaca-py, at ``holdfast venue``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "alpaca_py_only.py"


@pytest.mark.slow
def test_a_script_that_knows_only_alpaca_py_trades_at_the_venue() -> None:
    """A bracket, its fill on the stream, a leg replaced, everything closed; activities, history and account agree."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("APCA_", "HOLDFAST_"))}
    environment["NO_PROXY"] = "127.0.0.1"
    options = ("--synthetic", "SPY", "--sessions", "1", "--speed", "60", "--exit-with-parent")
    venue = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "venue", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert venue.stdin is not None
    assert venue.stdout is not None
    with venue.stdin, venue.stdout:
        url = msgspec.json.decode(venue.stdout.readline())["url"]
        command = [sys.executable, "-W", "ignore", str(SCRIPT), url]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert venue.wait(timeout=30) == 0

    assert result.returncode == 0, result.stdout + result.stderr
    events = [line.split()[0] for line in result.stdout.splitlines()[:-1]]
    assert events.count("fill") == 2
    assert {"new", "replaced", "canceled"} <= set(events)
    assert re.fullmatch(r"2 fills, [+-][\d.]+ USD; equity [\d.]+", result.stdout.splitlines()[-1])
    assert "holdfast" not in re.sub(r'"""(.|\n)*?"""', "", SCRIPT.read_text())
