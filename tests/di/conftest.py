"""A configuration is read from the environment too: these tests have one of their own."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the variables that Holdfast reads."""
    for name in list(os.environ):
        if name.upper().startswith(("HOLDFAST_", "APCA_", "MASSIVE_", "POLYGON_")):
            monkeypatch.delenv(name)
