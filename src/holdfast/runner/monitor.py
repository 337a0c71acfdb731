"""A look around every minute: are the streams well, is anything at the venue that we do not know, do we wait too much?

It only looks and tells; it never trades, and it is not in the trading path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from holdfast.kernel import Kernel
from holdfast.net import Throttler
from holdfast.runner.ports import AlertPort

_PERIOD_SECONDS = 60.0


class StreamHealth(Protocol):
    """What the monitor asks of a stream."""

    def is_connected(self) -> bool:
        """Authorised and listening."""
        ...


class Monitor:
    """Reports changes for the worse, once each.

    Args:
        kernel: Whose reconciliation is read.
        throttler: Whose waits are read, as the difference since the last look.
        streams: By name.
        alerts: Who is told.
    """

    def __init__(
        self, kernel: Kernel, throttler: Throttler, streams: Mapping[str, StreamHealth], alerts: AlertPort
    ) -> None:
        self._kernel = kernel
        self._throttler = throttler
        self._streams = streams
        self._alerts = alerts
        self._waits: dict[str, tuple[int, float]] = {}
        self._down: dict[str, bool] = {}
        self._counts = (0, 0)

    async def run(self, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
        """Look every minute of real time, until cancelled."""
        while True:
            await sleep(_PERIOD_SECONDS)
            self.look()

    def look(self) -> None:
        """One look."""
        self._look_at_streams()
        self._look_at_orders()
        self._look_at_throttler()

    def _look_at_streams(self) -> None:
        for name, stream in self._streams.items():
            down = not stream.is_connected()
            if down != self._down.get(name, False):
                state = "is down" if down else "is up again"
                self._alerts.notify_nowait("system", f"the {name} stream {state}")
            self._down[name] = down

    def _look_at_orders(self) -> None:
        reconciliation = self._kernel.reconciliation
        counts = (len(reconciliation.orphans), len(reconciliation.shadows))
        if counts != self._counts and any(counts):
            orphans, shadows = counts
            details = f"{orphans} at the venue unknown here, {shadows} open here and not at the venue"
            self._alerts.notify_nowait("order-drift", "orders differ from the venue's", details)
        self._counts = counts

    def _look_at_throttler(self) -> None:
        for name, stats in self._throttler.get_stats().items():
            waits, seconds = stats["total_waits"], stats["total_wait_seconds"]
            waits_before, seconds_before = self._waits.get(name, (0, 0.0))
            self._waits[name] = (waits, seconds)
            if waits > waits_before:
                details = (
                    f"{waits - waits_before} calls waited {seconds - seconds_before:.1f} s in all since the last look"
                )
                self._alerts.notify_nowait("throttle-warnings", f"rate limit {name} makes calls wait", details)
