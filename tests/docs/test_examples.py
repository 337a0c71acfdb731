"""The examples run, each as a process of its own, and say what their texts promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.docs.snippets import ROOT


def run(*arguments: str, home: Path) -> str:
    """Run Python with these arguments; what it prints."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("APCA_", "HOLDFAST_"))},
        "HOLDFAST_HOME": str(home),
    }
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_throttler_alone(tmp_path: Path) -> None:
    """The sixth call waits for the first to leave the window."""
    out = run("examples/throttler_alone.py", home=tmp_path)

    assert "6 calls, 1 waited" in out


def test_protections_alone(tmp_path: Path) -> None:
    """Closed from the third loss until an hour after it, and open at that moment."""
    words = [line.split()[:2] for line in run("examples/protections_alone.py", home=tmp_path).splitlines()]

    assert words == [["12:39", "open"], ["12:40", "closed"], ["13:39", "closed"], ["13:40", "open"]]


def test_own_strategy(tmp_path: Path) -> None:
    """A strategy from a file trades the sample, with its parameters from the command line."""
    out = run(
        *("-m", "holdfast", "backtest", "--json"),
        *("--strategy", "examples/own_strategy.py:Dip", "--param", "bars=60"),
        home=tmp_path,
    )
    summary = msgspec.json.decode(out)

    assert summary["bars"] == 2880
    assert {order["reason"] for order in summary["orders"]} >= {"dip", "stop_loss"}
    assert summary["drift"] == []


@pytest.mark.slow
def test_trading_loop(tmp_path: Path) -> None:
    """Buys, leaves, is stopped by a protection, and ends with equal books, on a venue of its own."""
    out = run("examples/trading_loop.py", home=tmp_path)

    assert "bought 0.1 at" in out
    assert "exit: accepted" in out
    assert "again: blocked by cooldown_period" in out
    assert re.search(r"trade: -?\d+\.\d\d USD", out)
    assert "{'orphans': [], 'shadows': [], 'drift': []}" in out


def test_the_readme_lists_every_key_of_the_summary(tmp_path: Path) -> None:
    """As a table of keys, beside the summary itself."""
    summary = msgspec.json.decode(run("-m", "holdfast", "backtest", "--json", home=tmp_path))
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("### The summary")[2].partition("\n## ")[0]

    assert [key for key in summary if f"`{key}`" not in text] == []
    for rows in ("orders", "fills", "trades"):
        assert [key for key in summary[rows][0] if f"`{key}`" not in text] == []


def test_the_readmes_backtest_is_what_one_sees(tmp_path: Path) -> None:
    """The figures in the README are those of today's code."""
    out = run("-m", "holdfast", "backtest", home=tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert out in text
