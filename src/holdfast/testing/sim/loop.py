"""An event loop whose time is a number: it jumps to the next timer whenever nothing is left to do.

Hours of timers, time-outs and back-offs pass in the time that their callbacks take, and each of them happens at
exactly its own moment. There are no sockets, threads or signals here: whatever would need one fails loudly, because
an answer from outside would make two runs differ. What is sent to an executor is carried out on the spot.

Every task has an owner: the simulated process in whose context it was created. A process that is killed loses all
of its tasks and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from itertools import count
from typing import Any, NoReturn, TypeVar, TypeVarTuple

from holdfast.model.errors import HoldfastError
from holdfast.model.timestamps import NS_PER_SECOND

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SimulationError(HoldfastError):
    """The simulation itself cannot go on."""


class Killed(BaseException):
    """The simulated process has ended between two instructions. Whatever unwinds after it has no effect.

    It is what happened rather than an error, and no code that handles an ``Exception`` may take it for one.
    """


# Two moments closer than this are one (s). Times stay below a few days, so a float tells them apart.
_ONE_MOMENT = 1e-9
# Forget tasks that have ended only now and then: a callback for each would cost a turn of the loop.
_TIDY_EVERY = 512


class Owner:
    """Whoever tasks belong to.

    Attributes:
        name: For the log.
        dead: It was killed: nothing that it still does may have an effect.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._tidy_at = _TIDY_EVERY

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """A task was created in our context."""
        tasks = self._tasks
        tasks[task] = None
        if len(tasks) >= self._tidy_at:
            self._tasks = {task: None for task in tasks if not task.done()}
            self._tidy_at = 2 * len(self._tasks) + _TIDY_EVERY

    def living(self) -> list[asyncio.Task[Any]]:
        """Tasks that have not ended, oldest first."""
        return [task for task in self._tasks if not task.done()]


_owner: ContextVar[Owner | None] = ContextVar("holdfast_sim_owner", default=None)


def context_of(owner: Owner) -> Context:
    """A context whose tasks belong to this owner."""
    context = Context()
    context.run(_owner.set, owner)
    return context


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module.

    Attributes:
        errors: What callbacks and forgotten tasks raised, in order: nobody else would hear of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        # With a number, so that of two timers for one moment the older one is first.
        self._scheduled: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self.errors: list[str] = []
        self.set_exception_handler(_collect)
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._now

    def now_ns(self) -> int:
        """The same in nanoseconds."""
        return round(self._now * NS_PER_SECOND)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it in the next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it at this moment."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._scheduled, (when, next(self._numbers), timer))
        return timer

    def _run_once(self) -> None:
        """One turn: all that is ready; where nothing is, time jumps to the next timer first.

        In place of the base class's, which waits for sockets and reads a clock.
        """
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0][2].cancelled():
            heappop(scheduled)
        if not ready:
            if not scheduled:
                message = "everything in the simulation waits for something that will never happen"
                raise SimulationError(message)
            self._now = max(self._now, scheduled[0][0])
        due = self._now + _ONE_MOMENT
        while scheduled and scheduled[0][0] < due:
            ready.append(heappop(scheduled)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 - what the base class calls

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call it now: a thread would finish whenever it likes."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits the future, as an executor does
            future.set_exception(error)
        return future

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> NoReturn:  # type: ignore[override]  # refused
        """There are no threads."""
        message = "a thread reached into the simulation"
        raise SimulationError(message)


def _collect(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(loop, VirtualLoop) and not isinstance(error, Killed):
        loop.errors.append(f"{context.get('message')}: {error!r}")


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    *,
    context: Context | None = None,
) -> asyncio.Task[T]:
    task = asyncio.Task(coroutine, loop=loop, context=context)
    owner = _owner.get() if context is None else context.get(_owner)
    if owner is not None:
        owner.adopt(task)
    return task


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a simulation to its end, in a loop of its own.

    Raises:
        SimulationError: Nothing can ever happen any more.
    """
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
