"""A clock that moves when it is told to, and by exactly that much.

Backtests, the simulator, lock-step sessions and tests drive it. Whoever waits on it sleeps on
a future of its own in one queue ordered by (due, arrival); an advance wakes those whose time
has come, in that order. Waking means that the event loop runs them next, so they all see the
time that the clock was advanced *to*. A driver that wants each of them to see its own moment
advances from one ``next_wakeup()`` to the next and lets the loop run in between.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from math import inf

from holdfast.model.timestamps import delta_ns, format_rfc3339, to_ns
from holdfast.time.clock import Clock
from holdfast.time.sessions import SessionsFor, sessions_for


class BacktestClock(Clock):
    """Time that only its driver moves, and never back.

    Args:
        start: The first moment: an aware datetime, or UTC ns.
        sessions: The market sessions by asset class.

    Raises:
        ValueError: ``start`` is a naive datetime.
    """

    def __init__(self, start: datetime | int, *, sessions: SessionsFor = sessions_for) -> None:
        super().__init__(sessions=sessions)
        self._now = start if isinstance(start, int) else to_ns(start)
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    def now_ns(self) -> int:
        """The time, in ns since the epoch, UTC."""
        return self._now

    @property
    def rate(self) -> float:
        """Infinite: no real time has to pass."""
        return inf

    def advance(self, delta: timedelta) -> None:
        """Move the time on by exactly this much, and wake whoever is due.

        Raises:
            ValueError: The delta is negative.
        """
        if delta < timedelta(0):
            message = f"a clock never goes back: cannot advance by {delta}"
            raise ValueError(message)
        self.advance_to(self._now + delta_ns(delta))

    def advance_to(self, ns: int) -> None:
        """Move the time on to a moment (UTC ns), and wake whoever is due.

        Raises:
            ValueError: The moment has passed.
        """
        if ns < self._now:
            message = f"a clock never goes back: it is {format_rfc3339(self._now)}, asked for {format_rfc3339(ns)}"
            raise ValueError(message)
        self._now = ns
        queue = self._queue
        while queue and queue[0][0] <= ns:
            future = heappop(queue)[2]
            # A waiter that was cancelled in this very turn of the loop is still in the queue.
            if not future.done():
                future.set_result(None)

    async def wait_until(self, ns: int) -> None:
        """Return as soon as ``now_ns() >= ns``; at once where that is so already."""
        if ns <= self._now:
            return
        future = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        entry = (ns, self._arrivals, future)
        heappush(self._queue, entry)
        try:
            await future
        finally:
            woken = future.done() and not future.cancelled()
            if not woken and entry in self._queue:
                self._queue.remove(entry)
                heapify(self._queue)

    @property
    def waiting(self) -> int:
        """How many wait for a moment to come."""
        return sum(not future.done() for _, _, future in self._queue)

    def next_wakeup(self) -> int | None:
        """The earliest moment (UTC ns) that anyone waits for, or None."""
        return min((due for due, _, future in self._queue if not future.done()), default=None)
