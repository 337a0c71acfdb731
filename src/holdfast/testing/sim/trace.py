"""What happened, one line a transition: kept in memory, shown on failure, and hashed.

Two runs of one seed must give the same lines. The hash says so without keeping both.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable


class Trace:
    """The log of one run.

    Args:
        now: Seconds of virtual time.

    Attributes:
        lines: Everything, oldest first.
        counts: How often each kind of line was written.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sha = hashlib.sha256()
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()

    def note(self, who: str, kind: str, detail: str = "") -> None:
        """One thing that happened."""
        line = f"{self._now():13.6f} {who:<7} {kind:<18} {detail}".rstrip()
        self.lines.append(line)
        self.counts[kind] += 1
        self._sha.update(line.encode())

    def absorb(self, payload: bytes) -> None:
        """Take something into the hash that is not worth a line, such as a journal record."""
        self._sha.update(payload)

    @property
    def digest(self) -> str:
        """Says whether two runs were the same."""
        return self._sha.hexdigest()

    def about(self, text: str) -> list[str]:
        """The lines that name something."""
        return [line for line in self.lines if text in line]
