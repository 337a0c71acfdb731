"""Handing messages to handlers so that no handler can stop the reading.

A plain handler is called at once: it runs to its end before the next message is read, and by the time
``publish`` returns it has run. A coroutine handler gets a queue of its own, worked off in order by a
task of its own, so that a slow one delays neither the socket nor its neighbours. What either raises is
logged, counted and goes no further.

What waits for a slow coroutine handler is bounded by the table ``POLICIES``, by what a loss would mean:

    messages                   what waits                       beyond it
    orders, connections,       all of it                        never dropped: an alarm at the high-water mark, an error in
    unreadable messages                                         the log and ``backlog_alarms`` in the statistics
    account, quotes            the newest of each symbol        the older one is passed over, counted in ``conflated``
    bars, trades and what      so many, in order                the oldest is dropped, counted in ``dropped``, an error in the
    changes them                                                log; the stream makes a new connection, after which the gap
                                                                is fetched

Order news has no bound on purpose: one would mean to drop some, or to stop reading until the venue cuts us off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from inspect import iscoroutine
from typing import Any, NamedTuple

import structlog

Handler = Callable[..., object]
OnError = Callable[[Exception, tuple[Any, ...]], None]

_log = structlog.get_logger(__name__)


class Policy(NamedTuple):
    """What may wait for a coroutine handler.

    Attributes:
        newest_of: What two messages share of which only the newer one is kept; None: all are kept.
        most: How many may wait; None: no bound.
    """

    newest_of: Callable[[tuple[Any, ...]], Hashable] | None = None
    most: int | None = None


_MOST = 20_000
_ALL = Policy()
_TAPE = Policy(most=_MOST)

# By the kind of message. Whatever is not named here is kept whole.
POLICIES: dict[str, Policy] = {
    "connected": _ALL,
    "disconnected": _ALL,
    "malformed": _ALL,
    "trade_update": _ALL,
    "account_update": Policy(newest_of=lambda _: None),
    "quote": Policy(newest_of=lambda message: message[0].symbol),
    "bar": _TAPE,
    "revised": _TAPE,
    "trade": _TAPE,
    "correction": _TAPE,
    "cancel": _TAPE,
}


class Subscribers:
    """The handlers of one kind of message.

    Args:
        name: For the log.
        policy: What may wait.
        high_water: Messages waiting for one handler at which the alarm is raised.
        on_error: Told of what a handler raised, and of the message.
        on_dropped: Called when a message was dropped; not for one that a newer one replaced.
    """

    def __init__(
        self,
        name: str,
        *,
        policy: Policy = _ALL,
        high_water: int = 1_000,
        on_error: OnError | None = None,
        on_dropped: Callable[[], object] | None = None,
    ) -> None:
        self._name, self._high_water, self._on_error = name, high_water, on_error
        self._policy, self._on_dropped = policy, on_dropped
        self._lanes: list[_Lane] = []
        self.errors = 0
        self.backlog_alarms = 0
        self.conflated = 0
        self.dropped = 0

    def add(self, handler: Handler) -> None:
        """One more handler. The same handler added twice is called twice."""
        self._lanes.append(_Lane(handler))

    @property
    def are_any(self) -> bool:
        """Whether somebody listens."""
        return bool(self._lanes)

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
        newest_of, most = self._policy
        entry = _Entry(result, message)
        if newest_of is not None:
            key = newest_of(message)
            older = lane.newest.get(key)
            lane.newest[key] = entry
            if older is not None and not older.has_begun:
                self.conflated += 1
                older.take_over(entry)
                lane.newest[key] = older
                return
        if most is not None and len(lane.waiting) >= most:
            self._drop_oldest(lane)
        lane.waiting.append(entry)
        if len(lane.waiting) >= self._high_water and not lane.is_alarmed:
            lane.is_alarmed = True
            self.backlog_alarms += 1
            _log.error("stream.handler_too_slow", stream=self._name, handler=repr(lane.handler), waiting=self.depth)
        if lane.worker is None:
            lane.worker = asyncio.ensure_future(self._work(lane))

    def _drop_oldest(self, lane: _Lane) -> None:
        # The first of them is being worked on.
        index = 1 if lane.waiting[0].has_begun and len(lane.waiting) > 1 else 0
        entry = lane.waiting[index]
        if entry.has_begun:
            return
        del lane.waiting[index]
        entry.close()
        self.dropped += 1
        _log.error("stream.message_dropped", stream=self._name, handler=repr(lane.handler), message=entry.message)
        if self._on_dropped is not None:
            self._on_dropped()

    async def _work(self, lane: _Lane) -> None:
        while lane.waiting:
            entry = lane.waiting[0]
            entry.has_begun = True
            message = entry.message
            try:
                await entry.result
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Something inside the handler was cancelled, not we.
                self._failed(RuntimeError("the handler was cancelled from within"), message)
            except Exception as error:  # noqa: BLE001 - a boundary: a user's handler may raise anything
                self._failed(error, message)
            if not lane.waiting:
                return  # given up meanwhile, with all that waited
            lane.waiting.popleft()
            if len(lane.waiting) <= self._high_water // 2:
                lane.is_alarmed = False
        lane.worker = None

    def _failed(self, error: Exception, message: tuple[Any, ...]) -> None:
        self.errors += 1
        _log.error("stream.handler_failed", stream=self._name, exc_info=error)
        if self._on_error is not None:
            self._on_error(error, message)


class _Entry:
    """A message with the coroutine that will handle it."""

    __slots__ = ("has_begun", "message", "result")

    def __init__(self, result: Awaitable[object], message: tuple[Any, ...]) -> None:
        self.result, self.message = result, message
        self.has_begun = False

    def take_over(self, newer: _Entry) -> None:
        """Stand for a newer message in the same place."""
        self.close()
        self.result, self.message = newer.result, newer.message

    def close(self) -> None:
        """It will not be run."""
        if iscoroutine(self.result):
            self.result.close()


class _Lane:
    """One handler with what waits for it, and of each key the newest that waits."""

    __slots__ = ("handler", "is_alarmed", "newest", "waiting", "worker")

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.waiting: deque[_Entry] = deque()
        self.newest: dict[Hashable, _Entry] = {}
        self.worker: asyncio.Future[None] | None = None
        self.is_alarmed = False

    def give_up(self) -> None:
        for entry in self.waiting:
            if not entry.has_begun:  # what has begun is its worker's, to finish or to cancel
                entry.close()
        self.waiting.clear()
        self.newest.clear()
        self.worker = None
