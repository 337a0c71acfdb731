"""News of the account, made by asking for it.

Alpaca has no account stream any more. So the account is asked for when there is reason to think that it
changed (a fill, a new connection) and every so often, and told on only when it is different from the last time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.time import Clock

AccountSource = Callable[[], Awaitable[Any]]

_log = structlog.get_logger(__name__)


class AccountPoller:
    """Asks ``source`` for the account and tells ``publish`` what is new.

    Args:
        source: Returns the account; retries and time-outs are its business.
        publish: Told of each account that differs from the one before.
        clock: The period follows it.
        period_seconds: The longest time between two looks.
    """

    def __init__(
        self, source: AccountSource, publish: Callable[[Any], None], *, clock: Clock, period_seconds: float
    ) -> None:
        self._source, self._publish, self._clock = source, publish, clock
        self._period = int(period_seconds * NS_PER_SECOND)
        self._due = asyncio.Event()
        self._told: Any = None
        self.polls = 0
        self.failures = 0

    def wake(self) -> None:
        """Something happened: look soon. Many wakes before the next look are one look."""
        self._due.set()

    async def run(self) -> None:
        """Look, wait for the period or a wake, and look again, until cancelled."""
        while True:
            self._due.clear()
            await self._look()
            await self._wait()

    async def _look(self) -> None:
        self.polls += 1
        try:
            account = await self._source()
        except Exception as error:  # noqa: BLE001 - a boundary: a failed look must not end the looking
            self.failures += 1
            _log.warning("account.not_learned", error=type(error).__name__, detail=str(error))
            return
        if account != self._told:
            self._told = account
            self._publish(account)

    async def _wait(self) -> None:
        timer = asyncio.ensure_future(self._clock.wait_until(self._clock.now_ns() + self._period))
        wake = asyncio.ensure_future(self._due.wait())
        try:
            await asyncio.wait({timer, wake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            wake.cancel()
