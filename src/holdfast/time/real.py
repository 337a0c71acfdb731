"""The real time, made fit for arithmetic: UTC that never goes back.

A wall clock may be set back by an operator or an NTP daemon; a time-out, a rate limit or a
journal's order of events may not notice. The monotonic clock never goes back but knows no
date, and on some systems stands still while the machine sleeps. So the wall clock is read
once, carried on by the monotonic clock, and compared with the wall again about once a second,
whenever somebody asks for the time:

======================================  =====================================================
the wall is                             and then this clock
======================================  =====================================================
ahead by ``STEP_NS`` (1 s) or more      takes the step at once: the machine slept, or its clock
                                        was badly wrong; being late by hours helps nobody
ahead by less                           runs faster by 1 part in 1,000 until it agrees: slow
                                        enough that no rate limit is broken by more than that
behind, however much                    runs slower by 1 part in 10 until they agree: it never
                                        goes back and never stands still
======================================  =====================================================

This module owns the wall clock: nothing else in Holdfast reads it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.time.clock import Clock
from holdfast.time.sessions import SessionsFor, sessions_for

STEP_NS = NS_PER_SECOND
LOOK_EVERY_NS = NS_PER_SECOND
FASTER_ONE_PART_IN = 1_000
SLOWER_ONE_PART_IN = 10

# A wait for a moment far away is aimed again at least this often (real seconds), so that
# a step of the wall clock is noticed while nobody else asks for the time.
_NAP_SECONDS_MAX = 60.0


class RealTimeClock(Clock):
    """UTC, monotonic; the module's text states the rule by which it follows the wall clock.

    Args:
        sessions: The market sessions by asset class.
        wall_ns: Reads the wall clock (UTC ns).
        monotonic_ns: Reads the monotonic clock (ns since anything).
    """

    def __init__(
        self,
        *,
        sessions: SessionsFor = sessions_for,
        wall_ns: Callable[[], int] = time.time_ns,  # noqa: TID251 - the one place that reads the wall clock
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(sessions=sessions)
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        # (our time, the monotonic time of the same moment, what the wall was ahead of us by then):
        # one tuple, so that threads see all of it or none.
        self._anchor = (wall_ns(), monotonic_ns(), 0)

    def now_ns(self) -> int:
        """The time, in ns since the epoch, UTC."""
        base, since, drift = self._anchor
        elapsed = self._monotonic_ns() - since
        now = base + elapsed + _caught_up(drift, elapsed) if drift else base + elapsed
        if elapsed >= LOOK_EVERY_NS:
            return self._look(now, since + elapsed)
        return now

    async def wait_until(self, ns: int) -> None:
        """Return as soon as ``now_ns() >= ns``; at once where that is so already."""
        # A loop, since event loops may wake a timer a little early, and the clock may have been slewed meanwhile.
        while (left := ns - self.now_ns()) > 0:  # noqa: ASYNC110 - sleeps for all that is left: it polls nothing
            await asyncio.sleep(min(left / NS_PER_SECOND, _NAP_SECONDS_MAX))

    @property
    def rate(self) -> float:
        """Always 1."""
        return 1.0

    def _look(self, now: int, monotonic: int) -> int:
        """Compare with the wall and begin the next stretch, at ``now`` or, after a step, later."""
        drift = self._wall_ns() - now
        if drift >= STEP_NS:
            now, drift = now + drift, 0
        self._anchor = (now, monotonic, drift)
        return now


def _caught_up(drift: int, elapsed: int) -> int:
    """How much of a drift (ns, negative where we are ahead) is made good after ``elapsed`` ns."""
    if drift > 0:
        return min(drift, elapsed // FASTER_ONE_PART_IN)
    return max(drift, -(elapsed // SLOWER_ONE_PART_IN))
