"""How much of the SDK is judged."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

from tests.conformance.harness import COVERED


def test_at_least_120_calls_and_events_are_exercised() -> None:
    """No name counts twice; each scenario fails by itself if one of its names was not exercised."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.conformance.{path.stem}")
    names = Counter(name for scenario in COVERED.values() for name in scenario)

    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) >= 120
