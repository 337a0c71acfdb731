"""What a check found, and the two short ways out of one: a warning, and a failure."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "not checked"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report.

    Attributes:
        name: Of the check.
        state: How it ended.
        said: What was found, in a sentence.
        remedy: What to do about it; empty where there is nothing to do.
        waits_for: The check without which this one could not be made.
    """

    name: str
    state: State
    said: str
    remedy: str = ""
    waits_for: str = ""


class Outcome(Exception):  # noqa: N818 - most of them are no errors: a check ends early with what it has found
    """Ends a check with something else than "ok".

    Args:
        said: What was found.
        remedy: What to do; None takes the one of the check's row.
    """

    state = State.FAILED

    def __init__(self, said: str, remedy: str | None = None) -> None:
        super().__init__(said)
        self.said = said
        self.remedy = remedy


class Failed(Outcome):
    """A bot would not work, or not safely."""


class Warned(Outcome):
    """A bot would work, and somebody should know."""

    state = State.WARNING


class NotChecked(Outcome):
    """It could not be looked at, or looking would have changed something."""

    state = State.SKIPPED
