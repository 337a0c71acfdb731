"""Every deliberately broken variant is caught, and every checker has one that it catches."""

from __future__ import annotations

import pytest

from holdfast.testing.sim import simulate
from holdfast.testing.sim.canaries import CANARIES
from holdfast.testing.sim.checkers import AT_THE_BOUND, CHECKERS
from holdfast.testing.sim.torture import CANARY_SEEDS, catch_one

# For each canary the checkers that are there for it (others may complain, too).
CATCHES: dict[str, tuple[str, ...]] = {
    "journal-after-send": ("P1 written ahead",),
    "sync-not-awaited": ("P1 written ahead",),
    "retry-new-id": ("P2 accounted for", "P7 only approved"),
    "retry-submit": ("P2 sent once",),
    "unknown-is-rejected": ("P5 verdicts hold",),
    "no-deadline": ("deadlines",),
    "throttle-off-by-one": ("P6 within limits",),
    "no-dedupe": ("P3 counted once", "P4 books equal"),
    "late-fill-dropped": ("P3 counted once", "P9 settled"),
    "last-word-wins": ("P5 stays closed",),
    "sum-read-as-fill": ("P3 counted once", "P4 books equal"),
    "connected-when-open": ("two sources",),
    "not-found-is-never-sent": ("P5 verdicts hold",),
    "silence-is-never-sent": ("P5 verdicts hold",),
    "cancel-is-cancelled": ("P2 accounted for", "P9 settled"),
    "replace-is-replaced": ("P9 settled",),
    "old-and-new-are-two": ("P2 one at a time",),
    "replace-retried": ("P2 sent once",),
    "leg-counted-twice": ("P3 counted once", "P4 books equal"),
    "leg-is-a-stranger": ("P9 settled",),
    "one-exit-is-both": ("P2 accounted for",),
    "no-look-after-gap": ("two sources",),
    "drift-adopted": ("P4 books equal",),
    "exit-flips": ("P7 never flips",),
    "guard-fails-open": ("P7 no stale entries",),
    "bars-shown-again": ("shown once",),
    "resend-after-restart": ("P2 sent once",),
    "numbers-used-again": ("failure",),
    "strategies-forgotten": ("P8 replays", "P8 strategies alike"),
    "snapshot-without-strategies": ("P8 replays", "P8 restarted alike"),
    "halt-forgotten": ("P7 halts hold",),
    "protections-forgotten": ("P8 replays",),
}


@pytest.mark.parametrize("name", CATCHES)
def test_each_canary_is_caught(name: str) -> None:
    """By the checkers that are there for it, within the bound that ``holdfast torture --canary`` gives it."""
    canary, missing = CANARIES[name], set(CATCHES[name])
    caught = False
    for seed in range(1, CANARY_SEEDS + 1):
        violations = simulate(canary.scenario(seed), parts=canary.parts).violations
        caught = caught or any(violation.startswith(canary.caught_by) for violation in violations)
        missing -= {violation.split(":")[0] for violation in violations}
        if caught and not missing:
            return

    assert not missing
    assert caught


def test_every_canary_and_every_checker_is_in_the_table_above() -> None:
    """A checker that cannot complain proves nothing; at least fifteen canaries see to it that each can."""
    complaining = {checker for checkers in CATCHES.values() for checker in checkers}

    assert set(CATCHES) == set(CANARIES)
    assert len(CANARIES) >= 15
    assert {*CHECKERS, *AT_THE_BOUND} <= complaining


def test_each_canary_says_what_its_mistake_is() -> None:
    """The command line and the documents show these sentences."""
    assert all(canary.mistake.endswith(".") for canary in CANARIES.values())


def test_the_seeds_are_tried_one_after_the_other() -> None:
    """As ``holdfast torture --canary`` does; one that no seed catches has escaped."""
    found = catch_one("journal-after-send")

    assert found.seed == 1
    assert found.violation.startswith("P1 written ahead: ")
    assert catch_one("journal-after-send", seeds=0).seed is None
