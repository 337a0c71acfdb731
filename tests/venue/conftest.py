"""Fixtures of the venue's tests: real processes, real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.venue.helpers import StartVenue, VenueProcess, venues


@pytest.fixture
def start_venue(tmp_path: Path) -> Iterator[StartVenue]:
    """Starts venues that end with the test."""
    with venues(tmp_path) as start:
        yield start


@pytest.fixture
def venue(start_venue: StartVenue) -> VenueProcess:
    """A venue in lock-step over an hour of BTC/USD, without a memory."""
    return start_venue()


@pytest.fixture(scope="module")
def lasting_venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    """One venue for the many examples of a property."""
    with venues(tmp_path_factory.mktemp("lasting")) as start:
        yield start(rate_limit=None)
