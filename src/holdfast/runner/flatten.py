"""Closing everything, driven from the shell: rounds until the venue itself shows nothing of ours.

The kernel decides what is done about each symbol (``holdfast.kernel.flattening``); here it is asked again while
something is left, the books are compared in between, and the end is told: HALTED, flat or not. The same rounds are
driven by a bot that is asked to flatten and by ``holdfast flatten`` when it has taken the journal of one that is gone.

    when                                            what
    at once, then every second while something is left   FlattenRequested: the kernel looks at every symbol again
    our own books are flat                          the books are compared: only the venue's word ends it
    nothing has come of it for two seconds          the same
    flat on both sides, or the time is over         TradingStateChanged(HALTED), with what is left in its reason
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from holdfast.model import TradingState
from holdfast.model.events import FlattenRequested, ReconcileRequested
from holdfast.runner.halt_file import HaltOrder
from holdfast.runner.runner import Runner

FLAT = "flat"
_TICK_SECONDS = 0.1
_ROUND_TICKS = 10
_LOOK_TICKS = 20


class Flatten:
    """One wish to close everything.

    Args:
        runner: Which runs meanwhile.
        order: Who wants it, how much of it, and for how long it is tried; what is left then is told.
        sleep: Waits real seconds.

    Attributes:
        outcome: Empty while it runs, then ``flat`` or what is left.
    """

    def __init__(
        self,
        runner: Runner,
        order: HaltOrder,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._runner = runner
        self._order = order
        self._ticks = max(1, round(order.seconds / _TICK_SECONDS))
        self._sleep = sleep
        self._looked_at: int | None = None  # how many comparisons there had been when the last one was asked for
        self.outcome = ""

    async def run(self) -> str:
        """Drive it to its end; returns the outcome."""
        flattening = self._runner.kernel.flattening
        idle = 0
        for tick in range(self._ticks):
            if tick % _ROUND_TICKS == 0:
                self._ask(tick // _ROUND_TICKS + 1)
            await self._sleep(_TICK_SECONDS)
            left = flattening.left(everything=self._order.everything)
            if self._was_answered and not left and self._is_flat_here:
                return self._end(FLAT)
            idle += 1
            if (self._is_flat_here and self._looked_at is None) or idle >= _LOOK_TICKS:
                idle = 0
                self._look()
        return self._end(
            "; ".join(flattening.left(everything=self._order.everything)) or "the venue did not confirm it"
        )

    @property
    def _is_flat_here(self) -> bool:
        """By our own books: nothing held, nothing open."""
        portfolio = self._runner.kernel.portfolio
        return not portfolio.positions.get_all() and not portfolio.tracker.open

    @property
    def _was_answered(self) -> bool:
        reconciliation = self._runner.kernel.reconciliation
        return self._looked_at is not None and reconciliation.is_current and reconciliation.count > self._looked_at

    def _ask(self, number: int) -> None:
        reason, everything = self._order.sentence, self._order.everything
        self._runner.inbox.post(
            lambda ts: (FlattenRequested(ts=ts, reason=reason, everything=everything, round=number),)
        )

    def _look(self) -> None:
        self._looked_at = self._runner.kernel.reconciliation.count
        self._runner.inbox.post(lambda ts: (ReconcileRequested(ts=ts, reason="flatten"),))

    def _end(self, outcome: str) -> str:
        told = "everything is closed" if outcome == FLAT else f"not everything is closed: {outcome}"
        self._runner.change_state(TradingState.HALTED, f"flatten: {told}")
        self.outcome = outcome
        return outcome
