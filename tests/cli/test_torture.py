"""``holdfast torture`` as its user meets it: a table, a seed that repeats, failures that can be read, exit codes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdfast.cli.torture import Options, run
from holdfast.testing.sim.scenario import scenario
from holdfast.testing.sim.world import Result, simulate
from tests.e2e.helpers import Commands

RESTLESS = '''
"""Buys on every third bar and exits on the next."""

import random

from holdfast.strategies import Strategy


class Restless(Strategy):
    """A strategy that keeps nothing but a count, and gives it."""

    def on_start(self):
        self.seen = 0

    def save_state(self):
        return self.seen

    def load_state(self, state):
        self.seen = state

    def on_bar(self, bar):
        self.seen += 1
        view = self.view(bar.symbol)
        if view.position:
            self.exit(bar.symbol)
        elif self.seen % 3 == 0:
            self.buy(bar.symbol, notional=1_000)


class Gambler(Restless):
    """The same, but it tosses a coin that nobody wrote down."""

    def on_bar(self, bar):
        view = self.view(bar.symbol)
        if random.random() < 0.5 and not view.busy:
            if view.position:
                self.exit(bar.symbol)
            else:
                self.buy(bar.symbol, notional=1_000)


class Broken(Strategy):
    """Raises at its fifth bar."""

    def on_start(self):
        self.seen = 0

    def on_bar(self, bar):
        self.seen += 1
        if self.seen == 5:
            raise ValueError("the fifth bar is too much")
'''


@pytest.fixture
def strategies(tmp_path: Path) -> Path:
    """A file with three strategies."""
    file = tmp_path / "mine.py"
    file.write_text(RESTLESS, encoding="utf-8")
    return file


@pytest.mark.slow
def test_one_seed_prints_its_digest_and_repeats_it(commands: Commands) -> None:
    """From another process, the same to the last byte."""
    first, second = (commands.run("torture", "--seed", "13", "--json").json for _ in range(2))

    assert first["violations"] == 0
    assert first["seeds"] == 1
    assert len(first["digest"]) == 64
    assert first == second


def test_the_seeds_come_first_and_the_table_last(capsys: pytest.CaptureFixture[str]) -> None:
    """With everything that the run is to be judged by."""
    assert run(Options(first=12, count=1))

    said = capsys.readouterr().out
    assert said.startswith("torture: seed 12;")
    for row in ("seeds", "simulated days", "orders", "fills", "crashes", "fault: ", "violations", "digest "):
        assert row in said


def test_a_sound_strategy_survives(strategies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever says what it keeps goes on after each restart as if nothing had been."""
    assert run(Options(first=3, count=1, strategy=f"{strategies}:Restless", json=True))

    outcome = msgspec.json.decode(capsys.readouterr().out)
    assert outcome["orders"] > 3
    assert outcome["failures"] == []


@pytest.mark.parametrize(("name", "complaint"), [("Gambler", "P8 "), ("Broken", "failure: bot-")])
def test_an_unsound_strategy_is_found_and_shown(
    strategies: Path, name: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the seed, the complaint, the log's end and the command that repeats it."""
    assert not run(Options(first=3, count=1, strategy=f"{strategies}:{name}"))

    said = capsys.readouterr().out
    assert "seed 3: " in said
    assert f"  {complaint}" in said
    assert "the log's end:" in said
    assert f"again: holdfast torture --seed 3 --strategy {strategies}:{name}" in said
    assert "failed seeds: 3" in said


@pytest.mark.slow
def test_a_violation_is_a_non_zero_exit_and_a_wrong_name_one_sentence(commands: Commands, strategies: Path) -> None:
    """No traceback, whatever is wrong."""
    found = commands.run("torture", "--seed", "3", "--strategy", f"{strategies}:Broken", "--json")
    missing = commands.run("torture", "--strategy", f"{strategies}:Nobody")

    assert found.code == 1
    assert msgspec.json.decode(found.out)["failures"][0]["seed"] == 3
    assert missing.code == 2
    assert missing.err.startswith("holdfast: strategy ")
    assert "Traceback" not in found.err + missing.err


def test_a_result_without_violations_keeps_no_log() -> None:
    """Three hundred of them would not fit into memory twice."""
    result: Result = simulate(scenario(12, bars_max=45))

    assert result.violations == ()
    assert result.tail == ()
