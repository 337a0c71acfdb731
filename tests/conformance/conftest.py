"""Fixtures: a venue process, and the SDK's clients at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.harness import Judge
from tests.venue.helpers import OPENING, StartVenue, VenueProcess, minutes, venues


@pytest.fixture
def start_venue(tmp_path: Path) -> Iterator[StartVenue]:
    """Starts venues that end with the test."""
    with venues(tmp_path) as start:
        yield start


@pytest.fixture
def venue(start_venue: StartVenue) -> VenueProcess:
    """A venue in lock-step over an hour of two stocks and a coin, from a Tuesday's opening on; all orders fill whole."""
    return start_venue(
        minutes("SPY", 60, start=OPENING, base=400.0),
        minutes("QQQ", 60, start=OPENING, base=300.0),
        minutes("BTC/USD", 60, start=OPENING),
        participation=None,
    )


@pytest.fixture
def judge(venue: VenueProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    """The SDK's clients. They honour the proxies of the environment, which do not lead to the loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    clients = Judge(venue)
    yield clients
    clients.close()
