"""What every test shares: one Hypothesis profile, and logs that no test leaves set for the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A busy machine is slow, not wrong: no property fails for the time that it took.
settings.register_profile("house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command that ran in the test's own process has set where lines go: to a file that closes with the test."""
    yield
    structlog.reset_defaults()
