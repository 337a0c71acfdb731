"""Replayed sessions at full speed: the venue moves on only when the bot has nothing left to do.

The bot tells the venue's admin port what it has received and handled, and when its next timer is due;
the venue advances to the earlier of the next market moment and that timer. Nothing waits on a wall
clock, nothing races, and the orders are those of a backtest (P10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from holdfast.model.errors import VenueError
from holdfast.runner.runner import Runner
from holdfast.time import BacktestClock

_PATIENCE_SECONDS = 10.0
_LAST_TIMERS = 1_000


class LockstepClock(BacktestClock):
    """A clock that stands still between the venue's steps, and says when somebody begins to wait for it."""

    def __init__(self, start: datetime | int) -> None:
        super().__init__(start)
        self.on_wait: Callable[[], None] | None = None

    async def wait_until(self, ns: int) -> None:
        """Return once the venue's time has come to ``ns``."""
        if self.on_wait is not None:
            self.on_wait()
        await super().wait_until(ns)


class Reply(msgspec.Struct, frozen=True):
    """The venue's answer: its time, and how many messages it has sent on our current connections."""

    advanced: bool
    now: int
    updates: int
    bars: int
    done: bool
    reason: str = ""


class LockstepLink:
    """The WebSocket to the venue's admin port."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._decoder = msgspec.json.Decoder(Reply)

    @classmethod
    async def open(cls, admin_url: str, key: str) -> tuple[LockstepLink, Reply]:
        """Connect; the venue greets with where it is.

        Raises:
            VenueError: It is not there, or another bot is driving it.
        """
        url = admin_url.replace("http", "ws", 1) + f"/lockstep?key={key}"
        try:
            connection = await connect(url, proxy=None, max_size=2**20, compression=None)
        except OSError as error:
            message = f"the venue's admin port at {admin_url} does not answer: {error}"
            raise VenueError(message) from None
        link = cls(connection)
        return link, await link._receive()

    async def advance(self, next_timer: int | None, updates: int, bars: int) -> Reply:
        """Ask for the next step; refused while messages are still on their way to us."""
        question = {"op": "advance", "next_timer": next_timer, "updates": updates, "bars": bars}
        try:
            await self._connection.send(msgspec.json.encode(question).decode())
        except ConnectionClosed as error:
            raise _ended(error) from None
        return await self._receive()

    async def close(self) -> None:
        """Let go of the venue; it stands still until the next bot drives it."""
        await self._connection.close()

    async def _receive(self) -> Reply:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return self._decoder.decode(await self._connection.recv())
        except ConnectionClosed as error:
            raise _ended(error) from None
        except TimeoutError:
            message = f"the venue's admin port did not answer within {_PATIENCE_SECONDS:.0f} s"
            raise VenueError(message) from None


def _ended(error: ConnectionClosed) -> VenueError:
    reason = error.rcvd.reason if error.rcvd is not None else ""
    return VenueError(f"the venue ended the lock-step connection: {reason or error}")


class LockstepDriver:
    """Runs a serial runner against a venue in lock-step.

    Args:
        runner: Must be serial.
        clock: The runner's clock.
        link: To the venue.
        received: How many trade updates and bars have arrived on the current connections.
    """

    def __init__(
        self, runner: Runner, clock: BacktestClock, link: LockstepLink, received: Callable[[], tuple[int, int]]
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._link = link
        self._received = received
        self._synced_at_requests = 0
        self._stopping = False
        self._asking: asyncio.Task[Reply] | None = None
        runner.before_market = self._catch_up

    def stop(self) -> None:
        """End after the current step; a venue that does not answer is not waited for."""
        self._stopping = True
        if self._asking is not None:
            self._asking.cancel()
        self._runner.inbox.activity.set()

    async def run(self, first: Reply) -> None:
        """Drive to the end of the data, or until ``stop``."""
        reply = first
        while not self._stopping:
            self._clock.advance_to(max(reply.now, self._clock.now_ns()))
            await self._wait_for_messages(reply)
            await self.settle()
            if reply.done:
                await self._run_out_timers()
                return
            next_reply = await self._ask()
            if next_reply is None:
                return
            reply = next_reply

    async def _ask(self) -> Reply | None:
        """The next step; None where ``stop`` came while the venue was being asked."""
        self._asking = asyncio.ensure_future(self._link.advance(self._next_wakeup(), *self._received()))
        try:
            return await self._asking
        except asyncio.CancelledError:
            if self._stopping:
                return None
            raise

    async def settle(self) -> None:
        """Handle everything that can be handled without time moving on."""
        await self._runner.settle(blocked=lambda: self._clock.waiting > 0)

    async def _catch_up(self) -> None:
        """Before a bar is shown: what our own requests made the venue send must have been seen."""
        sent = self._runner.outbox.requests_sent
        if sent != self._synced_at_requests:
            self._synced_at_requests = sent
            await self._wait_for_messages(await self._link.advance(None, -1, -1))

    async def _wait_for_messages(self, reply: Reply) -> None:
        activity = self._runner.inbox.activity
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    activity.clear()
                    updates, bars = self._received()
                    if updates >= reply.updates and bars >= reply.bars:
                        activity.set()
                        return
                    await activity.wait()
        except TimeoutError:
            message = (
                f"the venue sent {reply.updates} order updates and {reply.bars} bars; "
                f"{updates} and {bars} arrived within {_PATIENCE_SECONDS:.0f} s"
            )
            raise VenueError(message) from None

    async def _run_out_timers(self) -> None:
        """The data has ended: give what is still unknown its time to settle."""
        for _ in range(_LAST_TIMERS):
            due = self._next_wakeup()
            if due is None or self._stopping:
                return
            self._clock.advance_to(max(due, self._clock.now_ns()))
            await self.settle()

    def _next_wakeup(self) -> int | None:
        moments = [at for at in (self._runner.next_timer(), self._clock.next_wakeup()) if at is not None]
        return min(moments, default=None)
