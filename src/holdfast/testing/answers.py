"""What may become of a request, each as a function of the request.

A request passes four points, and can be lost between any two of them:

    asked -> admitted (the throttler granted it) -> carried out (the venue has it) -> answered

An answer is an async function that is given the ``Call`` and takes it as far as it likes:

    answer            goes as far as        and then
    carry_out         carried out           gives the venue's answer
    never_left        asked                 says that nothing left this process
    time_out_before   admitted              no verdict; the venue never saw it
    refuse(...)       admitted              a definite no
    not_found         admitted              None, whatever the venue has
    time_out_after    carried out           no verdict, although the venue has it
    cut_off           carried out           the same, by a cut connection
    Held()            asked                 waits for ``release()``, then goes on
    Held(at_venue=True)  carried out        waits for ``release()``, then gives the answer

Write others in the same way: ``async def slow(call): await clock.wait_until(t); return call.carry_out()``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from holdfast.model import Outcome
from holdfast.model.errors import BrokerRefusedError, OrderDroppedError, OutcomeUnknownError


class Call:
    """One request to the broker, and how far it came.

    Attributes:
        method: The broker's method, e.g. ``place``.
        subject: What it is about: a client order id, a broker id or a symbol; empty for the account as a whole.
        at: When it was made (UTC ns).
        left: Whether it left this process.
        durable: What the witness said at the moment it left: for an order, the ids of the intents on disk.
        outcome: What was answered, or the exception; None while it is under way.
    """

    def __init__(
        self,
        method: str,
        subject: str,
        at: int,
        *,
        perform: Callable[[], Any],
        admit: Callable[[], str | None] | None,
        witness: Callable[[], frozenset[str]],
        on_hold: Callable[[int], None],
    ) -> None:
        self.method = method
        self.subject = subject
        self.at = at
        self.left = False
        self.durable: frozenset[str] = frozenset()
        self.outcome: object = None
        self._perform = perform
        self._admit = admit
        self._witness = witness
        self._on_hold = on_hold

    def leave(self) -> None:
        """Pass the throttler: the last moment at which the runner may say no.

        Raises:
            OrderDroppedError: It said no.
        """
        if self.left:
            return
        reason = self._admit() if self._admit is not None else None
        if reason is not None:
            raise OrderDroppedError(reason)
        self.left = True
        self.durable = self._witness()

    def carry_out(self) -> Any:
        """Have the venue do it; returns its answer, or raises its refusal."""
        self.leave()
        return self._perform()

    async def hold(self, until: asyncio.Event) -> None:
        """Stay where it is until the event is set; ``ScriptedBroker.held`` counts it meanwhile."""
        self._on_hold(1)
        try:
            await until.wait()
        finally:
            self._on_hold(-1)

    def __repr__(self) -> str:
        return f"<Call {self.method} {self.subject} {'left' if self.left else 'did not leave'}>"


# The requests that make an order: they carry its client order id.
PLACING_METHODS = ("place", "replace")


class Answer(Protocol):
    """Decides what becomes of a request."""

    def __call__(self, call: Call, /) -> Awaitable[Any]:
        """Take the call as far as it goes, and answer or raise."""
        ...


async def carry_out(call: Call) -> Any:
    """The venue does it and says so."""
    return call.carry_out()


async def never_left(call: Call) -> Any:
    """No connection could be made. For an order that is certainty that nothing left; a read only learned nothing."""
    message = "no connection could be made"
    if call.method in PLACING_METHODS:
        raise OrderDroppedError(message)
    raise OutcomeUnknownError(message)


async def time_out_before(call: Call) -> Any:
    """The request is lost on its way, and nobody says so."""
    call.leave()
    message = "no answer within the time-out"
    raise OutcomeUnknownError(message)


async def time_out_after(call: Call) -> Any:
    """The venue does it, and the answer is lost."""
    call.carry_out()
    message = "no answer within the time-out"
    raise OutcomeUnknownError(message)


async def cut_off(call: Call) -> Any:
    """The venue does it, and the connection is cut before the answer."""
    call.carry_out()
    message = "the connection was cut"
    raise OutcomeUnknownError(message, outcome=Outcome.CUT)


async def not_found(call: Call) -> Any:
    """A look-up finds nothing, as it may shortly after a submit, whatever the venue has."""
    call.leave()


def refuse(message: str = "insufficient buying power", *, status: int = 403, code: int = 40310000) -> Answer:
    """The venue gives a definite no."""

    async def refused(call: Call) -> Any:
        call.leave()
        raise BrokerRefusedError(message, status=status, code=code)

    return refused


class Held:
    """Waits for ``release()``: before the request leaves, as in a throttler's queue, or at the venue.

    Args:
        at_venue: The venue has done it already, and only the answer waits.
    """

    def __init__(self, *, at_venue: bool = False) -> None:
        self._at_venue = at_venue
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let it go on."""
        self._released.set()

    async def __call__(self, call: Call, /) -> Any:
        """Wait, before or after the venue did it."""
        answer = call.carry_out() if self._at_venue else None
        await call.hold(self._released)
        return answer if self._at_venue else call.carry_out()
