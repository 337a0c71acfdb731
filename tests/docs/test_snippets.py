"""What a reader copies from the documents runs, and is true."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.backtest import Backtest
from holdfast.data import load as load_bars
from holdfast.di import load
from holdfast.di.assembly import make_kernel
from holdfast.di.config import build
from holdfast.di.strategy_loader import load_strategy
from holdfast.model import GuardMode
from holdfast.samples import SAMPLES, path
from holdfast.strategies import Strategy
from holdfast.venue import default_asset
from holdfast.venue.matching.engine import MatchingEngine
from tests.docs.snippets import ROOT, blocks

PAGES = ["README.md", "CONTRIBUTING.md", "docs/GUIDE.md", "docs/DATA.md"]
SNIPPETS = [
    pytest.param(code, id=f"{page}-{number}") for page in PAGES for number, code in enumerate(blocks(page, "python"), 1)
]


def run(code: str) -> dict[str, Any]:
    """Run a snippet as a module of its own; what it defines."""
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, "snippet", "exec"), names)  # noqa: S102 - our own documents
    return names


def backtest(strategy: Strategy) -> int:
    """How many orders a strategy makes on the bundled sample."""
    engine = MatchingEngine({symbol: default_asset(symbol) for symbol in SAMPLES.values()})
    kernel = make_kernel(build({}), [strategy])
    return Backtest(kernel, engine, load_bars(path(), SAMPLES.values())).run().kernel.counters.orders


@pytest.mark.parametrize("code", SNIPPETS)
def test_every_python_snippet_runs(code: str) -> None:
    """As it stands on the page; a strategy among them trades on the sample."""
    names = run(code)
    for found in list(names.values()):
        if isinstance(found, type) and issubclass(found, Strategy) and found is not Strategy:
            assert backtest(found(["BTC/USD"])) > 0


def test_snippets_are_found() -> None:
    """The finder finds: the README alone has two, the guide several."""
    assert [len(blocks(page, "python")) for page in PAGES] >= [2, 1, 5, 2]


def test_the_readmes_strategy_is_loaded_from_a_file(tmp_path: Path) -> None:
    """Saved as dip.py it is found as dip.py:Dip, as the README says."""
    file = tmp_path / "dip.py"
    file.write_text(blocks("README.md", "python")[0], encoding="utf-8")

    strategy = load_strategy(f"{file}:Dip", ["BTC/USD"], {})

    assert backtest(strategy) > 0


@pytest.mark.parametrize("page", ["README.md", "docs/CONFIGURATION.md"])
def test_toml_in_the_documents_is_a_configuration(page: str, tmp_path: Path) -> None:
    """It loads, and its guards can be made."""
    found = blocks(page, "toml")
    assert found
    for text in found:
        file = tmp_path / "page.toml"
        file.write_text(text, encoding="utf-8")
        make_kernel(load(file), ())


def test_the_guides_protection_observes() -> None:
    """Three trades within the hour would hold; in observe mode it is recorded and does not block."""
    (code,) = [code for code in blocks("docs/GUIDE.md", "python") if "EnoughForNow" in code]
    manager = run(code)["manager"]
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    trades = [
        SimpleNamespace(symbol="SPY", profit=1, close_timestamp=noon + timedelta(minutes=minute))
        for minute in (1, 2, 3)
    ]

    result, observed = manager.check_all(symbol="SPY", completed_trades=trades, now=noon + timedelta(minutes=4))

    assert manager.protections[0].mode is GuardMode.OBSERVE
    assert not result.is_protected
    assert observed == ("enough_for_now: 3 trades within an hour",)


def test_the_example_configuration_loads() -> None:
    """With every section that there is, commented ones aside."""
    file = ROOT / "examples" / "config.toml"
    config = load(file)

    assert config.symbols == ("SPY", "BTC/USD", "QQQ")
    assert set(tomllib.loads(file.read_text(encoding="utf-8"))) >= {
        "alpaca",
        "account",
        "strategy",
        "risk",
        "protections",
    }
    make_kernel(config, ())
