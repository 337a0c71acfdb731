"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.helpers import Commands


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Starts the command; ends with the test, whatever it started too."""
    found = Commands(tmp_path)
    try:
        yield found
    finally:
        found.clean_up()
