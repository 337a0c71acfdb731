"""The proof that the runner takes events, and where it is kept.

A beat is a post in the runner's own inbox that leads to no event: nothing is journaled, nothing is decided. When the
runner takes it, the loop that decides and sends has turned. Everything that tells the outside that the bot is well
(the liveness file, the outbound heartbeat) rests on such a beat and on nothing else, because a task of its own would go on
telling so beside a runner that hangs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from holdfast.model.events import Event
from holdfast.runner.inbox import Inbox
from holdfast.runner.liveness import Liveness, write_liveness
from holdfast.time import Clock, RealTimeClock

_log = structlog.get_logger(__name__)

_BEAT_SECONDS = 1.0
_NO_EVENTS: Sequence[Event] = ()


class Pulse:
    """Beats, and writes each beat down.

    Args:
        inbox: The runner's.
        path: The liveness file; None keeps none.
        describe: The bot as it is now; ``at`` is given to it (UTC ns, real time).
        clock: Real time.
    """

    def __init__(
        self, inbox: Inbox, path: Path | None, describe: Callable[[int], Liveness], clock: Clock | None = None
    ) -> None:
        self._inbox = inbox
        self._path = path
        self._describe = describe
        self._clock = clock or RealTimeClock()
        self._waiting: asyncio.Future[int] | None = None
        self._nudged = asyncio.Event()
        self._broken = False

    def nudge(self) -> None:
        """Something has changed that others wait for: beat now rather than within a second."""
        self._nudged.set()

    async def beat(self) -> int:
        """Return when the runner has taken a beat (UTC ns, real time); never, where it takes nothing any more."""
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.get_running_loop().create_future()
            self._inbox.post(self._taken)
        return await asyncio.shield(self._waiting)

    async def prove(self, seconds: float) -> bool:
        """Whether the runner takes a beat within so many real seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self.beat()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Beat and write, until cancelled."""
        while True:
            self._nudged.clear()
            at = await self.beat()
            await self._write(self._describe(at))
            try:
                async with asyncio.timeout(_BEAT_SECONDS):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    def end(self, ended: Liveness) -> None:
        """Write the last word of an orderly end."""
        if self._path is not None:
            try:
                write_liveness(self._path, ended)
            except OSError as error:
                _log.warning("liveness file not written", path=str(self._path), reason=error.strerror)

    def _taken(self, _ts: int) -> Sequence[Event]:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._clock.now_ns())
        return _NO_EVENTS

    async def _write(self, beat: Liveness) -> None:
        if self._path is None:
            return
        try:
            await asyncio.to_thread(write_liveness, self._path, beat)  # a slow disk must not hold the loop up
        except OSError as error:
            if not self._broken:
                _log.warning("liveness file not written", path=str(self._path), reason=error.strerror)
            self._broken = True
        else:
            self._broken = False
