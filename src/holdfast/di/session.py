"""One run of a bot from start to end: against a replayed market to the end of its data, or until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Protocol

import httpx

from holdfast.di.container import Container
from holdfast.di.venue_link import discover_venue
from holdfast.model import TradingState
from holdfast.model.errors import VenueError
from holdfast.net.tls import trusted_by
from holdfast.runner.lockstep import LockstepClock, LockstepDriver, LockstepLink

_END_POLL_SECONDS = 0.25
_STOPPING_LOOK_SECONDS = 1.5
_FINAL_LOOK_SECONDS = 30.0
_CATCH_UP_SECONDS = 60.0  # a busy machine may be far behind a market at a thousand times real time
_LAST_LOOKS = 4
_BETWEEN_LOOKS_SECONDS = 0.2


class Books(Protocol):
    """Whoever can lay our books beside the venue's: the container."""

    async def reconcile_orders(self, *, patience_seconds: float) -> dict[str, Any]:
        """``drift`` of the answer names what differs."""


async def look_until_equal(
    books: Books, seconds: float, *, looks: int = _LAST_LOOKS, between: float = _BETWEEN_LOOKS_SECONDS
) -> None:
    """Compare the books, and again where they differ: only what stays is worth telling somebody who leaves.

    A fill between two of the venue's answers (its positions, its executions) makes one look differ, and so does a view
    that lags. ``seconds`` bound all looks together; ``between`` are the seconds from one to the next.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for look in range(looks):
                if look:
                    await asyncio.sleep(between)
                if not (await books.reconcile_orders(patience_seconds=seconds))["drift"]:
                    return


class Session:
    """Runs a container.

    Args:
        container: Not started yet; the session starts and stops it.
        keep_open: Stay after the end of replayed data, until ``stop``.
        resume: Lift a halt that an earlier run left behind.
    """

    def __init__(self, container: Container, *, keep_open: bool = False, resume: bool = False) -> None:
        self._container = container
        self._keep_open = keep_open
        self._resume = resume
        self._stop = asyncio.Event()
        self._driver: LockstepDriver | None = None
        self._link: LockstepLink | None = None

    def stop(self) -> None:
        """Ask for the end: no order leaves any more, and ``run`` returns soon after."""
        self._stop.set()
        self._container.hold()
        if self._driver is not None:
            self._driver.stop()

    async def run(self) -> None:
        """Trade until the data ends, or ``stop``, or something fails (which is raised); then compare the books once more."""
        container = self._container
        try:
            if container.is_lockstep:
                await self._run_lockstep()
            else:
                await self._run_live()
        finally:
            await container.stop()
            if self._link is not None:
                await self._link.close()

    async def _start(self) -> bool:
        """Start the container; False where ``stop`` came first: a venue that does not answer must not hold us up."""
        starting = asyncio.create_task(self._container.start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            starting.result()
            if self._resume:
                self._lift_halt()
            return not self._stop.is_set()
        starting.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        return False

    def _lift_halt(self) -> None:
        container = self._container
        halt = None if container.control.file is None else container.control.file.read()
        if halt is not None:
            container.notifier.notify_nowait("system", "not resumed: a halt file is there", halt.sentence)
        elif container.kernel.portfolio.trading_state is not TradingState.ACTIVE:
            container.runner.change_state(TradingState.ACTIVE, "resumed on the command line")

    async def _run_lockstep(self) -> None:
        container = self._container
        venue, clock = container.venue, container.clock
        if venue is None or not isinstance(clock, LockstepClock):
            message = "a lock-step session needs a venue that replays at full speed"
            raise VenueError(message)
        key = container.config.alpaca.api_key
        self._link, hello = await LockstepLink.open(venue.admin, key.get_secret_value() if key is not None else "")
        clock.advance_to(max(hello.now, clock.now_ns()))
        if not await self._start():
            return
        self._driver = driver = LockstepDriver(container.runner, clock, self._link, container.received)
        await driver.run(hello)
        container.request_reconcile("end of the data")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._look_seconds):
                await driver.settle()
        if self._keep_open:
            await self._stop.wait()

    async def _run_live(self) -> None:
        container = self._container
        if not await self._start():
            return
        waits = {
            asyncio.create_task(container.wait()),
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(self._end_of_data()),
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        await look_until_equal(container, self._look_seconds)

    @property
    def _look_seconds(self) -> float:
        """How long the last comparison of the books may take: somebody who stops us waits for it."""
        return _STOPPING_LOOK_SECONDS if self._stop.is_set() else _FINAL_LOOK_SECONDS

    async def _take_what_is_left(self) -> None:
        """The venue has said everything: what is still on its way to us, or was said before we listened, counts too."""
        container = self._container
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                await container.runner.quiet()
                await container.feed.backfill()
                await container.runner.quiet()
        except TimeoutError:
            left = container.runner.inbox.depth
            message = f"{left} events were not looked at within {_CATCH_UP_SECONDS:g} s after the end of the data"
            container.notifier.notify_nowait("system", "the session ended before all was taken in", message)

    async def _admin_of_another_run(self, admin: str) -> str:
        """A venue that was restarted has its trading port again, and another one for its admin."""
        with contextlib.suppress(VenueError):
            venue = await discover_venue(self._container.config.alpaca.base_url)
            if venue is not None:
                return venue.admin
        return admin

    async def _end_of_data(self) -> None:
        """Returns when a replayed market at a speed of its own has ended; never, for a real one."""
        venue = self._container.venue
        if venue is None:
            await asyncio.Event().wait()
            return
        admin = venue.admin
        async with httpx.AsyncClient(timeout=5.0, trust_env=False, verify=trusted_by(admin)) as client:
            while True:
                try:
                    state = (await client.get(admin + "/")).json()
                    self._container.progress = state.get("progress")
                    if state["done"]:
                        break
                except (httpx.HTTPError, ValueError, KeyError):
                    admin = await self._admin_of_another_run(admin)
                await asyncio.sleep(_END_POLL_SECONDS)
        await self._take_what_is_left()
        if self._keep_open:
            self._container.notifier.notify_nowait("system", "the recorded data have ended", "Ctrl-C stops")
            await self._stop.wait()
