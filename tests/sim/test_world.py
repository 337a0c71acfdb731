"""Whole runs: a quiet one, stormy ones, and that one seed is one run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import msgspec
import pytest
import structlog

from holdfast.model.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerRefusedError,
    InvariantError,
    JournalDamagedError,
    JournalError,
    OutcomeUnknownError,
    RateLimitedError,
)
from holdfast.testing.sim import scenario, simulate
from holdfast.testing.sim.scenario import Scenario
from holdfast.testing.sim.torture import quiet
from holdfast.testing.sim.world import is_excused

_PRINT = "from holdfast.testing.sim import scenario, simulate; print(simulate(scenario({seed}, bars_max=45)).digest)"


def _quiet(seed: int) -> Scenario:
    return msgspec.structs.replace(
        scenario(seed, bars_max=60),
        rates={},
        crashes=0,
        venue_restarts=0,
        clock_steps=(),
        stalls=0,
        stops=0,
        halts=0,
        asks=0,
        strategy="both",
        appetite=0.6,
    )


def test_a_quiet_session_ends_with_equal_books() -> None:
    """Without faults the bot trades, nothing is violated and nobody dies."""
    result = simulate(_quiet(6))

    assert result.violations == ()
    assert result.faults == {}
    assert result.starts == 2  # the session, and one more look
    assert result.orders > 10
    assert result.fills > 10


def test_an_error_of_a_new_kind_is_excused_as_its_parents_are() -> None:
    """What the simulation causes is known by base class; what it gives no cause for is a failure, of whatever kind."""

    class NewRefusalError(BrokerRefusedError):
        """A kind of "no" that nobody has heard of yet."""

    class NewSilenceError(OutcomeUnknownError):
        """And one of silence."""

    class NewDamageError(JournalDamagedError):
        """A new way for a record to be wrong."""

    excused = (
        NewRefusalError("no"),
        NewSilenceError("?"),
        BrokerError("?"),
        RateLimitedError("later"),
        JournalError("full"),
    )
    ours = (NewDamageError("wrong", 1, "bar", "?"), BrokerAuthError("no"), InvariantError("?"), ValueError("?"), None)

    assert all(is_excused(error) for error in excused)
    assert not any(is_excused(error) for error in ours)


@pytest.mark.parametrize("seed", range(4, 11))
def test_stormy_seeds_violate_nothing(seed: int) -> None:
    """Short runs of the same kind as ``holdfast torture``."""
    result = simulate(scenario(seed, bars_max=60))

    assert result.violations == ()
    assert result.orders > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [126, 189])
def test_what_torture_once_found_stays_mended(seed: int) -> None:
    """126: a crash that was planned for the storm came after it. 189: a handler at work when its process was given up."""
    assert simulate(scenario(seed)).violations == ()


@pytest.mark.slow
def test_one_seed_is_one_run_in_every_process() -> None:
    """Two processes that hash texts differently see the same run, line by line and byte by byte."""
    digests = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", _PRINT.format(seed=8)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": salt},
        ).stdout.split()[-1]
        for salt in ("1", "2")
    }

    assert len(digests) == 1
    assert len(digests.pop()) == 64


def test_another_seed_is_another_run() -> None:
    """Else the digest would prove nothing."""
    assert simulate(scenario(4, bars_max=45)).digest != simulate(scenario(5, bars_max=45)).digest


def test_quiet_is_over_when_it_is_over() -> None:
    """Whoever tortures from Python keeps the logging that they had."""
    before, level = structlog.get_config(), logging.getLogger("holdfast").level
    was_configured = structlog.is_configured()

    with quiet():
        assert logging.getLogger("holdfast").level == logging.CRITICAL
        assert structlog.get_config()["wrapper_class"] is not before["wrapper_class"]

    assert structlog.get_config() == before
    assert structlog.is_configured() is was_configured
    assert logging.getLogger("holdfast").level == level
