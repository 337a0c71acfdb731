"""No order that opens a position leaves while nobody listens to what becomes of it.

An order sent while the order stream is down is filled unseen. So an opening order waits here until the stream is
authorised and listening again, or until its deadline; a reducing one goes at once, because a position that is to be left
does not wait for a socket.

A broker in this process, and a venue in lock-step, have no such stream: with none, the gate is always open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from holdfast.model import OrderIntent, OrderReport
from holdfast.model.errors import OrderDroppedError
from holdfast.runner.ports import OrderStreamPort
from holdfast.runner.waiting import first_of
from holdfast.time import Clock

_DOWN = "the order stream is down"

Admit = Callable[[], str | None]


class Place(Protocol):
    """``BrokerPort.place``."""

    def __call__(self, intent: OrderIntent, *, admit: Admit) -> Awaitable[OrderReport]:
        """Send the order once."""
        ...


class StreamGate:
    """Asks the stream, and waits for it.

    Args:
        clock: Whose time deadlines are in.

    Attributes:
        stream: The order stream; None where there is none.
        shut: Set when no new order may leave any more: nobody waits then.
        waits: How many orders have waited here.
        on_wait: Called when one begins to wait.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stream: OrderStreamPort | None = None
        self.shut = asyncio.Event()
        self.waits = 0
        self.on_wait: Callable[[], None] | None = None
        self._until: list[int] = []  # of each that waits, its latest moment

    @property
    def is_open(self) -> bool:
        """Whether an opening order may leave."""
        return self.stream is None or self.stream.is_connected()

    @property
    def waiting(self) -> int:
        """How many orders wait, and have nothing yet to wake them."""
        if self.is_open or self.shut.is_set():
            return 0
        now = self._clock.now_ns()
        return sum(now < latest for latest in self._until)

    async def send(self, intent: OrderIntent, latest: int, admit: Admit, place: Place) -> OrderReport:
        """Place an order when somebody listens; where nobody does any more when its turn comes, wait again.

        Args:
            intent: A reducing one goes at once.
            latest: How long an opening one may wait (UTC ns of the clock).
            admit: Asked last, as by ``BrokerPort.place``.
            place: The broker's.

        Raises:
            OrderDroppedError: Nothing left this process: nobody listened until ``latest``, or ``admit`` said no.
        """
        if intent.reduce_only:
            return await place(intent, admit=admit)
        turned_back = False

        def admit_while_listening() -> str | None:
            nonlocal turned_back
            turned_back = not self.is_open and not self.shut.is_set()
            return _DOWN if turned_back else admit()

        while True:
            if not await self.wait(latest) and not self.shut.is_set():
                message = f"{_DOWN}, and was until the order's deadline"
                raise OrderDroppedError(message)
            try:
                return await place(intent, admit=admit_while_listening)
            except OrderDroppedError:
                if not turned_back:
                    raise

    async def wait(self, latest: int) -> bool:
        """Wait for the stream until ``latest`` (UTC ns of the clock), or until the gate is shut.

        Returns:
            Whether the gate is open now.
        """
        stream = self.stream
        if stream is None or stream.is_connected():
            return True
        self.waits += 1
        self._until.append(latest)
        try:
            while not stream.is_connected() and self._clock.now_ns() < latest and not self.shut.is_set():
                if self.on_wait is not None:
                    self.on_wait()
                await first_of(stream.wait_connected(), self._clock.wait_until(latest), self.shut.wait())
        finally:
            self._until.remove(latest)
        return stream.is_connected()

    def restart(self, reason: str) -> None:
        """The stream was found mute: have it make another connection."""
        if self.stream is not None:
            self.stream.restart(reason)
