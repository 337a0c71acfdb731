"""Tells the kernel what the halt file says, and carries a flatten out.

The file works without this: the sender looks at it itself. Here the wish becomes an event, so that it is in the
journal, strategies and people learn of it, and it holds after the file is gone.

    found                               told to the kernel
    a halt file, new to us              TradingStateChanged to what it says, in the words of whoever asked
    the same at the start of a run      the stricter of the file and the journal
    flatten                             the rounds of ``holdfast.runner.flatten``, which end in HALTED
    the halt file is gone               nothing: only a resume lifts a halt
    a resume file and no halt file      TradingStateChanged to ACTIVE; the file is taken away once that is so
"""

from __future__ import annotations

import asyncio

from holdfast.model import TradingState
from holdfast.runner.flatten import Flatten
from holdfast.runner.halt_file import TRADING_STATE, HaltFile, HaltOrder
from holdfast.runner.runner import Runner

_STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


class HaltWatch:
    """Looks at one halt file on behalf of one runner.

    Args:
        runner: Which is told.
        file: What is looked at.

    Attributes:
        heard: The id of the last request that was acted on.
    """

    def __init__(self, runner: Runner, file: HaltFile) -> None:
        self._runner = runner
        self._file = file
        self._flatten: Flatten | None = None
        self._task: asyncio.Task[str] | None = None
        self._resuming = False
        self.heard = ""

    @property
    def outcome(self) -> str:
        """How the flatten that was asked for ended; empty while it runs, or where none was."""
        return "" if self._flatten is None else self._flatten.outcome

    def look(self, *, at_start: bool = False) -> bool:
        """One look; cheap where nothing has changed. Returns whether something was told."""
        order = self._file.read()
        if order is None:
            return self._look_for_resume()
        self._resuming = False
        if order.id == self.heard and not at_start:
            return False
        self.heard = order.id
        self._stop_flatten()
        if order.state == "flatten":
            self._flatten = Flatten(self._runner, order)
            self._task = asyncio.get_running_loop().create_task(self._flatten.run(), name="holdfast-flatten")
            return True
        self._tell(order, at_start=at_start)
        return True

    def stop(self) -> None:
        """The run ends."""
        self._stop_flatten()

    def _tell(self, order: HaltOrder, *, at_start: bool) -> None:
        wanted = TRADING_STATE[order.state]
        current = self._runner.kernel.portfolio.trading_state
        if at_start and _STRICTNESS[current] >= _STRICTNESS[wanted]:
            wanted = current
        self._runner.change_state(wanted, f"the halt file says {order.sentence}")

    def _look_for_resume(self) -> bool:
        if not self._file.resume_asked():
            self._resuming = False
            return False
        if self._runner.kernel.portfolio.trading_state is TradingState.ACTIVE:
            self._file.resume_done()
            self._resuming = False
            return True
        if not self._resuming:
            self._resuming = True
            self._stop_flatten()
            self._runner.change_state(TradingState.ACTIVE, "resumed by an operator")
            return True
        return False

    def _stop_flatten(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = self._flatten = None
