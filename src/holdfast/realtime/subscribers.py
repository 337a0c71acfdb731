"""Handing messages to handlers so that no handler can stop the reading.

A plain handler is called at once: it runs to its end before the next message is read, and by the time
``publish`` returns it has run. A coroutine handler gets a queue of its own, worked off in order by a
task of its own, so that a slow one delays neither the socket nor its neighbours. What either raises is
logged, counted and goes no further.

The queues are unbounded on purpose. They carry news of orders: a bound would mean to drop one, or to
stop reading until the venue cuts us off as too slow. Instead a queue that passes the high-water mark
raises an alarm: an error in the log, and ``backlog_alarms`` in the statistics.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from inspect import iscoroutine
from typing import Any

import structlog

Handler = Callable[..., object]
OnError = Callable[[Exception, tuple[Any, ...]], None]

_log = structlog.get_logger(__name__)


class Subscribers:
    """The handlers of one kind of message.

    Args:
        name: For the log.
        high_water: Messages waiting for one handler at which the alarm is raised.
        on_error: Told of what a handler raised, and of the message.
    """

    def __init__(self, name: str, *, high_water: int = 1_000, on_error: OnError | None = None) -> None:
        self._name, self._high_water, self._on_error = name, high_water, on_error
        self._lanes: list[_Lane] = []
        self.errors = 0
        self.backlog_alarms = 0

    def add(self, handler: Handler) -> None:
        """One more handler. The same handler added twice is called twice."""
        self._lanes.append(_Lane(handler))

    @property
    def depth(self) -> int:
        """Messages that some coroutine handler has not yet finished."""
        return sum(len(lane.waiting) for lane in self._lanes)

    def publish(self, *message: Any) -> None:
        """Give one message to every handler. Never raises, never waits."""
        for lane in self._lanes:
            try:
                result = lane.handler(*message)
            except Exception as error:  # noqa: BLE001 - a boundary: a user's handler may raise anything
                self._failed(error, message)
                continue
            # A coroutine has not begun to run: it is the message and its handler in one, and waits its turn.
            if isinstance(result, Awaitable):
                self._enqueue(lane, result, message)

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - a limit on the wait, after which the rest is given up
        """Wait until the queues are empty, for so many real seconds at most; what is left then is logged and given up."""
        me = asyncio.current_task()
        workers = {lane.worker for lane in self._lanes if lane.worker is not None and lane.worker is not me}
        if not workers:
            return
        _, late = await asyncio.wait(workers, timeout=timeout)
        if late:
            _log.error("stream.messages_given_up", stream=self._name, messages=self.depth)
        for worker in late:
            worker.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for lane in self._lanes:
            if lane.worker in late:
                lane.give_up()

    def abandon(self) -> None:
        """Forget what waits, without running it: for whoever will never run again."""
        for lane in self._lanes:
            lane.give_up()

    def _enqueue(self, lane: _Lane, result: Awaitable[object], message: tuple[Any, ...]) -> None:
        lane.waiting.append((result, message))
        if len(lane.waiting) >= self._high_water and not lane.is_alarmed:
            lane.is_alarmed = True
            self.backlog_alarms += 1
            _log.error("stream.handler_too_slow", stream=self._name, handler=repr(lane.handler), waiting=self.depth)
        if lane.worker is None:
            lane.worker = asyncio.ensure_future(self._work(lane))

    async def _work(self, lane: _Lane) -> None:
        while lane.waiting:
            result, message = lane.waiting[0]
            try:
                await result
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Something inside the handler was cancelled, not we.
                self._failed(RuntimeError("the handler was cancelled from within"), message)
            except Exception as error:  # noqa: BLE001 - a boundary: a user's handler may raise anything
                self._failed(error, message)
            lane.waiting.popleft()
            if len(lane.waiting) <= self._high_water // 2:
                lane.is_alarmed = False
        lane.worker = None

    def _failed(self, error: Exception, message: tuple[Any, ...]) -> None:
        self.errors += 1
        _log.error("stream.handler_failed", stream=self._name, exc_info=error)
        if self._on_error is not None:
            self._on_error(error, message)


class _Lane:
    """One handler with what waits for it."""

    __slots__ = ("handler", "is_alarmed", "waiting", "worker")

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.waiting: deque[tuple[Awaitable[object], tuple[Any, ...]]] = deque()
        self.worker: asyncio.Future[None] | None = None
        self.is_alarmed = False

    def give_up(self) -> None:
        for result, _ in self.waiting:
            if iscoroutine(result):
                result.close()
        self.waiting.clear()
        self.worker = None
