"""Bars of a socket wait while those that were missed before it was listening are fetched.

The kernel takes a symbol's bars in the order of their ends: one that comes after a later one is old, and dropped. So
nothing of a new connection may pass before the gap behind it is closed. Three ways to lose a bar all the same:

* The hold begins a moment late, when a first bar has passed already. Here it begins in the call that tells of the
  connection, before any of its messages is read.
* A second connection comes while the gap of the first is being fetched, and gets no fetch of its own. Here each has one.
* The fetch fails, what was held is let go, and the gap stays open behind it. Here it is tried again, and where the socket
  is lost meanwhile, the hold goes on until the next connection's fetch: what waits then is in it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from holdfast.model import Bar
from holdfast.model.errors import BrokerError
from holdfast.model.events import BarRevised

_TRIES = 5
_PAUSE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class BarGate:
    """Between one market data stream and the inbox; closed until the start's own fetch is done.

    Args:
        post: Takes bars.
        fetch: Fetches what was missed, and posts it.
        is_listening: Whether the stream is still up.
        sleep: Waits real seconds between tries.
    """

    def __init__(
        self,
        post: Callable[[Bar | BarRevised], None],
        fetch: Callable[[], Awaitable[None]],
        is_listening: Callable[[], bool],
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._post, self._fetch, self._is_listening, self._sleep = post, fetch, is_listening, sleep
        self._held: list[Bar | BarRevised] = []
        self._fetches = 1
        self._is_owed = False  # the last fetch failed and its connection is gone

    def take(self, bar: Bar | BarRevised) -> None:
        """A bar of the stream, or what a late trade made of one."""
        if self._fetches or self._is_owed:
            self._held.append(bar)
        else:
            self._post(bar)

    def open(self) -> None:
        """The start's own fetch is done."""
        self._end(owed=False)

    def refill(self) -> Awaitable[None]:
        """The stream is listening again: hold from now on; the rest is in what is returned."""
        self._fetches += 1
        return self._refill()

    async def _refill(self) -> None:
        owed = False
        try:
            for _ in range(_TRIES):
                try:
                    await self._fetch()
                except BrokerError as error:
                    owed = not self._is_listening()
                    _log.warning("missed bars could not be fetched", reason=error.message, tried_again=not owed)
                    if owed:
                        return
                    await self._sleep(_PAUSE_SECONDS)
                else:
                    return
        finally:
            self._end(owed=owed)

    def _end(self, *, owed: bool) -> None:
        self._fetches -= 1
        self._is_owed = owed
        if not self._fetches and not owed:
            held, self._held = self._held, []
            for bar in held:
                self._post(bar)
