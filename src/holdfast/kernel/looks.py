"""When our books are compared with the venue's, and how far back each look goes.

    look       asked for                                                          goes back to
    start      at the beginning of a run                                          the last look
    reconnect  when the user stream is listening again                            the last look
    timer      nothing else asked for so long (30 s by default)                   the last look
    unknown    at once, when the outcome of an order is not known, or the venue   the last look
               refused one; at most every five seconds, except where an exit was
               refused whose coins may have been taken as the fee
    recheck    soon, when something differed, or when fills that were told of     the last look
               have not come
    daily      at the first bar of a UTC day, and by any look when the last full  a day back
               pass is a day old

"The last look" less five minutes, because activities may be listed late, and never later than the oldest order whose
fills are missing.

The timer is a timer of the kernel, so that it is journaled and replayed like everything else. It exists only where
``KernelSettings.reconcile_interval`` is not zero, which is where a real broker is: a backtest and a session in lock-step
leave it off. There every message arrives or the run fails, so that the look would find nothing; and a timer that is
always set would be one more moment between any two bars, in the loop that coasts only while no timer is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.model.commands import Reconcile

if TYPE_CHECKING:
    from holdfast.kernel.reconciliation import Reconciliation
    from holdfast.kernel.settings import KernelSettings

RECHECK, IDLE = "recheck", "reconcile"
# Why a look is asked for, by the timer that fired.
REASONS = {RECHECK: "recheck", IDLE: "timer"}
_FULL = "daily"


class Looks:
    """Plans the looks. Its state is two numbers and two of the kernel's timers.

    Args:
        reconciliation: Knows how far back a look must go, and whether the last one was answered.
        settings: The intervals.
        timers: The kernel's own.

    Attributes:
        asked_at: When the last look was asked for (UTC ns); 0 before the first.
        full_at: When the last full pass was asked for (UTC ns); 0 before the first.
    """

    def __init__(self, reconciliation: Reconciliation, settings: KernelSettings, timers: dict[str, int]) -> None:
        self._reconciliation = reconciliation
        self._timers = timers
        self._interval = settings.reconcile_interval
        self._full_interval = settings.full_pass_interval
        self._pause = settings.recheck_after
        self.asked_at = 0
        self.full_at = 0

    def ask(self, reason: str, now: int) -> Reconcile:
        """The command for a look now; the next one by the timer is due an interval later."""
        found = self._reconciliation
        found.is_current = False
        self.asked_at = now
        self._plan(now)
        since = found.since
        self.full_at = self.full_at or now  # what was there before the first look of all is not ours to ask for
        if reason == _FULL or (self._interval and now - self.full_at >= self._full_interval):
            self.full_at = now
            since = min(since, max(now - self._full_interval, found.born_at))
        return Reconcile(reason=reason, since=since, asked_at=now)

    def is_wanted(self, timer: str, now: int) -> bool:
        """Whether the look of a timer is to be asked for: not by the idle one while an answer is still on its way."""
        if timer == IDLE and not self._reconciliation.is_current:
            self._plan(now)
            return False
        return True

    def hurry(self, now: int, *, at_once: bool = False) -> None:
        """Something is unknown: look at once, but not more often than every few seconds.

        A venue that fails with every order must not use up, by our looks at it, the requests that cancels need. With
        ``at_once`` the pause does not count: for what a single look settles.
        """
        if self._interval:
            due = now if at_once else max(now, self.asked_at + self._pause if self.asked_at else now)
            self._timers[RECHECK] = min(due, self._timers.get(RECHECK, due))

    def _plan(self, now: int) -> None:
        if self._interval:
            self._timers[IDLE] = now + self._interval
