"""Rate limits that hold in every window, not on average.

The problem: "200 requests a minute" means that in *no* stretch of a minute, wherever it
begins, may more than 200 start. What is usually done does not give that. A token or leaky
bucket lets a full bucket go at once and refills while it empties: nearly twice the limit
in one window. A counter that is reset every minute does the same across the reset. Asking
again every so often ("is it my turn yet?") burns the processor, wakes late and loses the order.

What is done here is exact and smaller than all of these. Let a limit be 200 a minute: a call
may start if the start 200 places before it is at least a minute old. So each limit keeps
its last 200 starts (integers, ns, by the clock it was given: there is no rounding at a
window's edge), and whoever cannot start yet knows to the nanosecond when it can: no bucket, no
reset, nothing to poll. Two starts exactly one period apart are in no common window, since
windows are half-open, ``[t, t + period)``.

Order. Each limit has one queue, first come first served; a call that draws on several
limits stands in all their queues and starts when it is at the head of each and all have room.
It takes from all of them in one step or from none, so no call holds one limit while it waits
for another; and since calls join their queues in one step too, the oldest waiter of any group is at
the head of all its queues: there is no deadlock, and nobody is overtaken or starved.

Two classes. A limit may keep a share of itself for calls that must not stand behind others: cancels,
orders that close, look-ups of orders whose outcome nobody knows. An ordinary call starts only if the reserve
is still free after it, so at the moment at which a reserved call comes, at least that much is there for it; a reserved
call may use all of the limit. Starts of both classes are counted in one window, so the limit itself holds as
before. Each class has a queue of its own, first come first served; where a reserved call waits, no ordinary one goes before it.

Waiting. There is no background task and no lock. The call at the head of its queues sleeps
until its moment by the clock; all others sleep until they are woken. Whoever leaves its
queues, started or cancelled, wakes those who are now at the head, and a head whose moment has
come also wakes at once all behind it who fit in. A woken call judges for itself whether it may start, so a
needless wake-up does no harm, and the start is recorded in the same step in which the
caller's code goes on. This invariant keeps the queue alive: *a waiter whose turn it is (at the head of all its
queues, and, if it is an ordinary one, with no reserved waiter beside it) is awake or sleeps on the clock*.

What the venue says. It counts too, and for other programs on the same account as well. ``note_limit`` takes its word:
"of so many requests in this window so many are left, until then". From that answer on no more than what is left start
before the moment named, and all that started after the answered request counts against it, since the venue may not have
seen it yet; ordinary calls leave the reserve of it to reserved ones. A limit that the venue names below ours bounds every
window from then on. Its word only ever makes us stricter: what is configured holds beside it, so a header that is wrong,
late or generous lets nothing through that would not have gone anyway. Nor can it stop us for good: a moment further off
than one period is cut to that. Of two answers about the same moment the one that leaves less counts, otherwise the one
that speaks of a later moment; one whose moment is over says nothing.

A throttler belongs to one event loop at a time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import repeat
from math import isfinite
from types import TracebackType
from typing import Any, ParamSpec, TypedDict, TypeVar, overload

import msgspec

from holdfast.model.errors import ConfigurationError, UnknownLimitError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.time import Clock, RealTimeClock

P = ParamSpec("P")
T = TypeVar("T")

_NEVER_HELD = -(2**63)  # before any time that a clock can tell

#: Of each window that a limit draws on, how much had started.
Mark = tuple[int, ...]


class RateLimit(msgspec.Struct, frozen=True):
    """At most ``limit`` in any window of ``period``.

    Attributes:
        limit: How much may start in a window; the last ``limit`` starts are kept in memory.
        period: The window's length (seconds).
        weight: What one call draws.
        linked: Other limits on which each call draws too, by as much; their own links are followed.
        reserve: The share of the limit (from 0 to below 1) that only reserved calls may use. If it is not zero, it
            is at least one slot, and at least one slot is left for the others.

    Raises:
        ConfigurationError: A value makes no sense.
    """

    limit: int
    period: float
    weight: int = 1
    linked: tuple[str, ...] = ()
    reserve: float = 0.0

    def __post_init__(self) -> None:
        _check_whole("limit", self.limit)
        _check_whole("weight", self.weight)
        if isinstance(self.reserve, bool) or not 0 <= self.reserve < 1:
            message = f"the reserve of a rate limit must be a share from 0 to below 1, got {self.reserve!r}"
            raise ConfigurationError(message)
        if not (isfinite(self.period) and self.period * NS_PER_SECOND >= 1):
            message = f"the period of a rate limit must be a positive number of seconds, got {self.period!r}"
            raise ConfigurationError(message)

    @property
    def period_ns(self) -> int:
        """The window's length (ns)."""
        return round(self.period * NS_PER_SECOND)

    @property
    def reserved_slots(self) -> int:
        """How much of the limit only reserved calls may use."""
        return _slots(self.limit, self.reserve)


class SharedLimit(msgspec.Struct, frozen=True):
    """An id without a window of its own: its calls draw on the limits it is linked to.

    Attributes:
        linked: The limits on which each call draws, at least one.
        weight: What one call draws on each.

    Raises:
        ConfigurationError: A value makes no sense.
    """

    linked: tuple[str, ...]
    weight: int = 1

    def __post_init__(self) -> None:
        _check_whole("weight", self.weight)
        if not self.linked:
            message = "a shared limit must be linked to at least one other limit"
            raise ConfigurationError(message)


class LimitStats(TypedDict):
    """One limit's figures; seconds are seconds of the throttler's clock.

    For an id without a window of its own ``limit``, ``period`` and ``in_window`` are those of the linked
    limit that is nearest to full. The figures of a limit that others are linked to include their calls.
    """

    total_calls: int  # calls that started
    total_waits: int  # calls that had to wait, including those that were cancelled
    total_wait_seconds: float
    in_window: int  # weight that started within the last period
    queued: int  # calls that wait at this moment
    limit: int
    period: float


class Throttler:
    """Lets calls start no faster than their limits allow, in the order in which they came.

    Args:
        limits: The limits by id.
        clock: Whose time counts. Default: real time.
        margin: Real seconds by which windows are lengthened where real time passes. Between the moment at
            which a call is let go and the moment at which it is seen lies a little time that is never twice
            the same; a millisecond covers it. A clock that is advanced by hand needs none and gets none.

    Raises:
        ConfigurationError: A limit is linked to one that does not exist, in a circle, or to one that a single
            call would exceed.
    """

    def __init__(
        self,
        limits: Mapping[str, RateLimit | SharedLimit],
        clock: Clock | None = None,
        *,
        margin: float = 0.001,
    ) -> None:
        self._clock = clock if clock is not None else RealTimeClock()
        self._now_ns = self._clock.now_ns
        if not (isfinite(margin) and margin >= 0):
            message = f"the margin of a throttler must be a number of seconds, not negative, got {margin!r}"
            raise ConfigurationError(message)
        rate = self._clock.rate
        margin_ns = round(margin * rate * NS_PER_SECOND) if isfinite(rate) else 0
        self._windows = {
            name: _Window(name, limit, margin_ns) for name, limit in limits.items() if isinstance(limit, RateLimit)
        }
        self._routes = {
            name: _Route(limit.weight, [self._windows[window] for window in _reach(name, limits)])
            for name, limit in limits.items()
        }
        for name, route in self._routes.items():
            route.check(name, 1, reserved=False)

    # An overload per kind of function, so that the caller's types survive.
    @overload
    async def execute(
        self, limit_id: str, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def execute(self, limit_id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def execute(self, limit_id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``fn`` when the limit allows, and return what it returns.

        The call counts from the moment it starts, whatever becomes of it.

        Args:
            limit_id: The limit.
            fn: A function, or a coroutine function, which is awaited.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Raises:
            UnknownLimitError: There is no such limit.
        """
        route = self._routes.get(limit_id) or self._route(limit_id)
        if not self._start(route, 1, reserved=False):
            await self._wait_turn(route, 1, reserved=False)
        result = fn(*args, **kwargs)
        return await result if hasattr(result, "__await__") else result

    # Not a flag of `execute`: every keyword there is the function's own.
    @overload
    async def execute_reserved(
        self, limit_id: str, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def execute_reserved(self, limit_id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def execute_reserved(self, limit_id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As ``execute``, for a call that may use the limit's reserve: before ordinary calls that wait, behind reserved ones.

        Raises:
            UnknownLimitError: There is no such limit.
        """
        route = self._routes.get(limit_id) or self._route(limit_id)
        if not self._start(route, 1, reserved=True):
            await self._wait_turn(route, 1, reserved=True)
        result = fn(*args, **kwargs)
        return await result if hasattr(result, "__await__") else result

    async def acquire(self, limit_id: str, weight: int = 1, *, reserved: bool = False) -> None:
        """Wait until a call may start; it counts as started when this returns.

        Args:
            limit_id: The limit.
            weight: For how many calls of this id this one counts.
            reserved: Whether it may use the limit's reserve.

        Raises:
            UnknownLimitError: There is no such limit.
            ConfigurationError: The weight is not a positive whole number, or more than the limit ever allows.
        """
        route = self._routes.get(limit_id) or self._route(limit_id)
        if weight != 1:
            _check_whole("weight", weight)
            route.check(limit_id, weight, reserved=reserved)
        if not self._start(route, weight, reserved=reserved):
            await self._wait_turn(route, weight, reserved=reserved)

    def slot(self, limit_id: str, weight: int = 1, *, reserved: bool = False) -> Slot:
        """``async with throttler.slot("id"):`` enters when a call may start. Arguments and errors as ``acquire``."""
        return Slot(self, limit_id, weight, reserved=reserved)

    def penalise(self, limit_id: str, until_ns: int) -> None:
        """Let nothing start on this limit, and those it is linked to, before a moment (UTC ns).

        For venues that say "too many requests" and when to come back. A later moment extends
        the hold, an earlier one changes nothing.

        Raises:
            UnknownLimitError: There is no such limit.
        """
        for window in self._route(limit_id).windows:
            window.held_until = max(window.held_until, until_ns)

    def mark(self, limit_id: str) -> Mark:
        """How much has started so far. Taken by a call itself, in the step in which it starts, for ``note_limit``.

        Raises:
            UnknownLimitError: There is no such limit.
        """
        return tuple(window.count for window in self._route(limit_id).windows)

    def note_limit(
        self,
        limit_id: str,
        mark: Mark,
        *,
        limit: int | None = None,
        remaining: int | None = None,
        reset_ns: int | None = None,
    ) -> None:
        """Take the venue's word on a limit, and those it is linked to: bound by it from now on, never less than before.

        Args:
            limit_id: The limit.
            mark: ``mark(limit_id)``, taken when the answered request started: what started later counts as not yet seen.
            limit: How many requests the venue allows in a window; a number below one is no number.
            remaining: How many it has left, of this window.
            reset_ns: When it has all of them again (UTC ns). Needed for ``remaining`` to mean anything.

        Raises:
            UnknownLimitError: There is no such limit.
        """
        now = self._now_ns()
        for window, seen in zip(self._route(limit_id).windows, mark, strict=True):
            if limit is not None and limit >= 1:
                window.bound(limit)
            if remaining is not None and reset_ns is not None and reset_ns > now:
                window.note(max(0, remaining) - (window.count - seen), min(reset_ns, now + window.period_ns), now)

    def get_stats(self) -> dict[str, LimitStats]:
        """Figures by limit id, shared limits and their members alike."""
        now = self._now_ns()
        stats: dict[str, LimitStats] = {}
        for name, route in self._routes.items():
            window = self._windows.get(name)
            members = [route] if window is None else [r for r in self._routes.values() if window in r.windows]
            if window is None:
                window = max(route.windows, key=lambda w: w.in_window(now) / w.limit)
            stats[name] = LimitStats(
                total_calls=sum(member.calls for member in members),
                total_waits=sum(member.waits for member in members),
                total_wait_seconds=sum(member.wait_ns for member in members) / NS_PER_SECOND,
                in_window=window.in_window(now),
                queued=sum(member.queued for member in members),
                limit=window.limit,
                period=window.period,
            )
        return stats

    def _route(self, limit_id: str) -> _Route:
        try:
            return self._routes[limit_id]
        except KeyError:
            message = f"there is no limit {limit_id!r}; known: {', '.join(sorted(self._routes)) or 'none'}"
            raise UnknownLimitError(message) from None

    def _start(self, route: _Route, calls: int, *, reserved: bool) -> bool:
        """Start now if nobody waits who goes first, and there is room."""
        now = self._now_ns()
        draw = route.weight * calls
        windows = route.windows
        for window in windows:
            if window.urgent or window.due(draw, reserved=reserved) > now:
                return False
            if window.queue and not reserved:
                return False
        for window in windows:
            window.record(draw, now)
        route.calls += 1
        return True

    async def _wait_turn(self, route: _Route, calls: int, *, reserved: bool) -> None:
        """Stand in the queues until it is our turn, and start."""
        draw, windows, clock = route.weight * calls, route.windows, self._clock
        waiter = _Waiter(windows, reserved=reserved)
        began = self._now_ns()
        for window in windows:
            (window.urgent if reserved else window.queue)[waiter] = draw
        route.waits += 1
        route.queued += 1
        try:
            while True:
                if not waiter.is_next():
                    await waiter.sleep()
                    continue
                due = max(window.due(draw, reserved=reserved) for window in windows)
                if due <= (now := self._now_ns()):
                    for window in windows:
                        window.record(draw, now)
                    route.calls += 1
                    return
                await clock.wait_until(due)
                _wake_all_that_fit(windows, self._now_ns())
        finally:
            for window in windows:
                del (window.urgent if reserved else window.queue)[waiter]
            for window in windows:
                window.wake_next()
            route.queued -= 1
            route.wait_ns += self._now_ns() - began


class Slot:
    """What ``Throttler.slot`` returns."""

    __slots__ = ("_limit_id", "_reserved", "_throttler", "_weight")

    def __init__(self, throttler: Throttler, limit_id: str, weight: int, *, reserved: bool) -> None:
        self._throttler, self._limit_id, self._weight, self._reserved = throttler, limit_id, weight, reserved

    async def __aenter__(self) -> None:
        await self._throttler.acquire(self._limit_id, self._weight, reserved=self._reserved)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back: a start counts for its period, whatever becomes of the call."""


class _Window:
    """One limit: its last starts, its queues, and the arithmetic between them."""

    __slots__ = (
        "count",
        "held_until",
        "left",
        "left_until",
        "limit",
        "most",
        "name",
        "ordinary",
        "period",
        "period_ns",
        "queue",
        "reserve",
        "share",
        "starts",
        "urgent",
    )

    def __init__(self, name: str, limit: RateLimit, margin_ns: int) -> None:
        self.name = name
        self.limit = self.most = limit.limit  # as configured, and as the venue bounds it
        self.share, self.reserve = limit.reserve, limit.reserved_slots
        self.ordinary = self.most - self.reserve  # how full ordinary calls may make it
        self.period = limit.period
        self.period_ns = limit.period_ns + margin_ns
        # The last `limit` starts, oldest first; one of weight three is three equal entries.
        self.starts: deque[int] = deque(maxlen=limit.limit)
        self.count = 0  # all starts, ever
        self.held_until = _NEVER_HELD
        # The venue's word: until this moment no more than so much starts.
        self.left, self.left_until = 0, _NEVER_HELD
        # Waiters, oldest first, each with what it will draw. Ordered by links rather than
        # by position (as a plain dictionary is), so that head and removal are both O(1).
        self.queue: OrderedDict[_Waiter, int] = OrderedDict()
        self.urgent: OrderedDict[_Waiter, int] = OrderedDict()  # those that may use the reserve

    def due(self, draw: int, *, reserved: bool) -> int:
        """The earliest moment at which ``draw`` may start and leave no more started than its class may make it."""
        starts = self.starts
        # The last unit of the draw would push out, or stand so many places behind, this one. What is heavier than
        # the venue's bound starts in an empty window: it could not start at all otherwise.
        room = max(self.most if reserved else self.ordinary, draw)
        place = len(starts) + draw - 1 - room
        at = self.held_until if place < 0 else max(starts[place] + self.period_ns, self.held_until)
        if self.left_until > at and draw > self.left - (0 if reserved else self.reserve):
            return self.left_until
        return at

    def record(self, draw: int, now: int) -> None:
        """Count a start."""
        self.count += draw
        self.left -= draw
        if draw == 1:
            self.starts.append(now)
        else:
            self.starts.extend(repeat(now, draw))

    def bound(self, limit: int) -> None:
        """The venue allows so much in a window; the newest word counts, never above what is configured."""
        self.most = min(self.limit, limit)
        self.reserve = _slots(self.most, self.share)
        self.ordinary = self.most - self.reserve

    def note(self, left: int, until: int, now: int) -> None:
        """The venue has so much left until a moment."""
        if until > self.left_until or self.left_until <= now:
            self.left, self.left_until = left, until
        elif until == self.left_until:
            self.left = min(self.left, left)

    def in_window(self, now: int) -> int:
        """The weight that started within the last period."""
        oldest = now - self.period_ns
        return sum(start > oldest for start in self.starts)

    def wake_next(self) -> None:
        """Wake the waiter that is next here if it is its turn in all its queues."""
        head = next(iter(self.urgent), None) or next(iter(self.queue), None)
        if head is not None and head.is_next():
            head.wake()


class _Route:
    """One id: the windows on which its calls draw, and its figures."""

    __slots__ = ("calls", "queued", "wait_ns", "waits", "weight", "windows")

    def __init__(self, weight: int, windows: Iterable[_Window]) -> None:
        self.weight, self.windows = weight, tuple(windows)
        self.calls = self.waits = self.wait_ns = self.queued = 0

    def check(self, limit_id: str, calls: int, *, reserved: bool) -> None:
        """Raise unless a draw of this many calls can ever start."""
        for window in self.windows:
            room = window.limit if reserved else window.ordinary
            if self.weight * calls > room:
                kept = f", of which {window.limit - room} are reserved" if room < window.limit else ""
                message = (
                    f"a call on {limit_id!r} of weight {self.weight * calls} could never start: "
                    f"{window.name!r} allows {window.limit} in {window.period:g} s{kept}"
                )
                raise ConfigurationError(message)


class _Waiter:
    """A call that stands in the queues of its windows."""

    __slots__ = ("_reserved", "_turn", "_windows")

    def __init__(self, windows: tuple[_Window, ...], *, reserved: bool) -> None:
        self._windows = windows
        self._reserved = reserved
        self._turn: asyncio.Future[None] | None = None

    def is_next(self) -> bool:
        """True where nobody goes before us in any of our windows."""
        if self._reserved:
            return all(next(iter(window.urgent)) is self for window in self._windows)
        return all(not window.urgent and next(iter(window.queue)) is self for window in self._windows)

    async def sleep(self) -> None:
        """Sleep until woken."""
        self._turn = asyncio.get_running_loop().create_future()
        try:
            await self._turn
        finally:
            self._turn = None

    def wake(self) -> None:
        """Wake; nothing happens to one who is awake or sleeps on the clock."""
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


def _wake_all_that_fit(windows: Iterable[_Window], now: int) -> None:
    """Wake, in their order, all who would fit together at this moment: reserved ones first, then the others.

    They then start in one turn of the event loop instead of one turn each. Other windows of theirs
    may have no room: then they go on waiting.
    """
    for window in windows:
        total = 0
        for queue, room, reserved in ((window.urgent, window.most, True), (window.queue, window.ordinary, False)):
            for waiter, draw in queue.items():
                total += draw
                if total > room or window.due(total, reserved=reserved) > now:
                    break
                waiter.wake()
            else:
                continue
            break


def _reach(name: str, limits: Mapping[str, RateLimit | SharedLimit], path: tuple[str, ...] = ()) -> dict[str, None]:
    """The windows on which a call on this id draws: its own, and those of all that it is linked to, each once."""
    if name in path:
        message = f"limits are linked in a circle: {' -> '.join((*path, name))}"
        raise ConfigurationError(message)
    if name not in limits:
        message = f"limit {path[-1]!r} is linked to {name!r}, which does not exist; known: {', '.join(sorted(limits))}"
        raise ConfigurationError(message)
    limit = limits[name]
    windows = {name: None} if isinstance(limit, RateLimit) else {}
    for linked in limit.linked:
        windows |= _reach(linked, limits, (*path, name))
    return windows


def _slots(limit: int, share: float) -> int:
    return min(max(1, int(limit * share)), limit - 1) if share else 0


def _check_whole(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = f"the {what} of a rate limit must be a whole number of at least 1, got {value!r}"
        raise ConfigurationError(message)
