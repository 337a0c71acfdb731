"""What happened so far, in whole numbers. Rebuilt by replay like all other state."""

from __future__ import annotations


class Counters:
    """Signals asked for, how many each guard blocked, orders made, executions booked, bars that came twice."""

    __slots__ = ("blocked", "duplicate_bars", "executions", "orders", "signals")

    def __init__(self) -> None:
        self.duplicate_bars = self.signals = self.orders = self.executions = 0
        self.blocked: dict[str, int] = {}
