"""Every deliberately broken variant is caught, and every checker has one that it catches."""

from __future__ import annotations

import pytest

from holdfast.testing.sim import simulate
from holdfast.testing.sim.canaries import CANARIES
from holdfast.testing.sim.checkers import AT_THE_BOUND, CHECKERS
from holdfast.testing.sim.torture import CANARY_SEEDS, catch_one

# For each canary a seed that catches it, and the checkers that complain there (others may, too).
CATCHES: dict[str, tuple[int, tuple[str, ...]]] = {
    "journal-after-send": (1, ("P1 written ahead",)),
    "sync-not-awaited": (1, ("P1 written ahead",)),
    "retry-new-id": (1, ("P2 accounted for", "P7 only approved")),
    "retry-submit": (1, ("P2 sent once",)),
    "unknown-is-rejected": (1, ("P5 verdicts hold",)),
    "no-deadline": (7, ("deadlines",)),
    "throttle-off-by-one": (1, ("P6 within limits",)),
    "no-dedupe": (1, ("P3 counted once", "P4 books equal")),
    "late-fill-dropped": (1, ("P3 counted once", "P9 settled")),
    "last-word-wins": (1, ("P5 stays closed",)),
    "sum-read-as-fill": (2, ("P3 counted once", "P4 books equal")),
    "connected-when-open": (1, ("two sources",)),
    "not-found-is-never-sent": (1, ("P5 verdicts hold",)),
    "silence-is-never-sent": (2, ("P5 verdicts hold",)),
    "cancel-is-cancelled": (1, ("P2 accounted for", "P9 settled")),
    "no-look-after-gap": (1, ("two sources",)),
    "drift-adopted": (2, ("P4 books equal",)),
    "exit-flips": (1, ("P7 never flips",)),
    "guard-fails-open": (1, ("P7 no stale entries",)),
    "bars-shown-again": (1, ("shown once",)),
    "resend-after-restart": (1, ("P2 sent once",)),
    "numbers-used-again": (1, ("failure",)),
    "strategies-forgotten": (1, ("P8 replays", "P8 strategies alike")),
    "snapshot-without-strategies": (1, ("P8 replays", "P8 restarted alike")),
    "halt-forgotten": (2, ("P7 halts hold",)),
    "protections-forgotten": (1, ("P8 replays",)),
}


@pytest.mark.parametrize("name", CATCHES)
def test_each_canary_is_caught(name: str) -> None:
    """By the checkers that are there for it."""
    seed, checkers = CATCHES[name]
    canary = CANARIES[name]
    violations = simulate(canary.scenario(seed), parts=canary.parts).violations

    assert set(checkers) <= {violation.split(":")[0] for violation in violations}
    assert any(violation.startswith(canary.caught_by) for violation in violations)


def test_every_canary_and_every_checker_is_in_the_table_above() -> None:
    """A checker that cannot complain proves nothing; at least fifteen canaries see to it that each can."""
    complaining = {checker for _, checkers in CATCHES.values() for checker in checkers}

    assert set(CATCHES) == set(CANARIES)
    assert len(CANARIES) >= 15
    assert {*CHECKERS, *AT_THE_BOUND} <= complaining
    assert all(seed <= CANARY_SEEDS for seed, _ in CATCHES.values())


def test_each_canary_says_what_its_mistake_is() -> None:
    """The command line and the documents show these sentences."""
    assert all(canary.mistake.endswith(".") for canary in CANARIES.values())


def test_the_seeds_are_tried_one_after_the_other() -> None:
    """As ``holdfast torture --canary`` does; one that nothing complains of has escaped."""
    assert catch_one("sum-read-as-fill").seed == 2
    assert catch_one("sum-read-as-fill", seeds=1).seed is None
