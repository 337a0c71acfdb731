"""A clock that runs a fixed number of times faster than real time, after a venue's replayed time.

The venue tells its time now and then; between two tellings both run at the same rate. Told a
later time, the clock takes it at once. Told an earlier one, it stands still until the venue
has caught up, since no clock goes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import isfinite

from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.time.clock import Clock
from holdfast.time.sessions import SessionsFor, sessions_for


class ScaledClock(Clock):
    """Replayed time.

    Args:
        anchor_ns: The replayed time at this moment (UTC ns).
        rate: Replayed seconds per real second, positive.
        sessions: The market sessions by asset class.
        monotonic_ns: Reads the monotonic clock (ns since anything).

    Raises:
        ConfigurationError: The rate is not a positive number.
    """

    def __init__(
        self,
        anchor_ns: int,
        rate: float,
        *,
        sessions: SessionsFor = sessions_for,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(sessions=sessions)
        if not (isfinite(rate) and rate > 0):
            message = f"the rate of a scaled clock must be a positive number, got {rate!r}"
            raise ConfigurationError(message)
        self._rate = float(rate)
        self._monotonic_ns = monotonic_ns
        self._anchor = (anchor_ns, monotonic_ns())
        self._floor = anchor_ns
        # A dictionary for its order: whoever waited first is woken first.
        self._sleepers: dict[asyncio.Future[None], None] = {}

    def now_ns(self) -> int:
        """The replayed time, in ns since the epoch, UTC."""
        return max(self._floor, self._raw_ns())

    @property
    def rate(self) -> float:
        """Replayed seconds per real second."""
        return self._rate

    def follow(self, venue_ns: int) -> None:
        """The venue's time is ``venue_ns`` at this moment: run on from there, without ever going back."""
        self._floor = self.now_ns()
        self._anchor = (venue_ns, self._monotonic_ns())
        for sleeper in self._sleepers:  # their moments have come nearer or gone further away
            _wake(sleeper)

    async def wait_until(self, ns: int) -> None:
        """Return as soon as ``now_ns() >= ns``; at once where that is so already."""
        loop = asyncio.get_running_loop()
        while self.now_ns() < ns:
            sleeper = loop.create_future()
            real_seconds = (ns - self._raw_ns()) / self._rate / NS_PER_SECOND
            timer = loop.call_later(real_seconds, _wake, sleeper)
            self._sleepers[sleeper] = None
            try:
                await sleeper
            finally:
                timer.cancel()
                del self._sleepers[sleeper]

    def _raw_ns(self) -> int:
        venue_ns, since = self._anchor
        return venue_ns + int((self._monotonic_ns() - since) * self._rate)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
