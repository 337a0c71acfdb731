"""Nothing of a new connection passes before the gap behind it is closed."""

from __future__ import annotations

import asyncio

from holdfast.di.bar_gate import BarGate
from holdfast.model import Bar
from holdfast.model.errors import OutcomeUnknownError
from holdfast.model.events import BarRevised


def bar(ts: int) -> Bar:
    """By its end."""
    return Bar(ts, "SPY", 1.0, 1.0, 1.0, 1.0, 1.0)


class Case:
    """A gate whose fetches the test answers."""

    def __init__(self) -> None:
        self.passed: list[int] = []
        self.listening = True
        self.asked: list[asyncio.Future[list[int]]] = []
        self.pauses: list[float] = []
        self.gate = BarGate(
            lambda bar: self.passed.append(bar.ts), self.fetch, lambda: self.listening, sleep=self.pause
        )

    async def fetch(self) -> None:
        """What was missed, when the test says so."""
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.asked.append(answer)
        self.passed += await answer

    async def pause(self, seconds: float) -> None:
        """Counted, not waited for."""
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def answer(self, number: int, *missed: int, fails: bool = False) -> None:
        """The fetch of this number brings these, or fails."""
        while len(self.asked) <= number:  # noqa: ASYNC110 - the test's own time limit is the end
            await asyncio.sleep(0)
        if fails:
            self.asked[number].set_exception(OutcomeUnknownError("no answer"))
        else:
            self.asked[number].set_result(list(missed))
        for _ in range(5):
            await asyncio.sleep(0)


async def opened() -> Case:
    """A gate whose start is over."""
    case = Case()
    case.gate.take(bar(3))
    case.gate.open()
    assert case.passed == [3], "what came during the start follows what the start fetched"
    case.gate.take(bar(4))
    return case


async def test_a_bar_that_comes_with_the_connection_waits_for_the_gap_before_it() -> None:
    """The hold begins in the call that tells of the connection: there is no moment between."""
    case = await opened()
    refill = asyncio.ensure_future(case.gate.refill())
    case.gate.take(bar(8))
    assert case.passed == [3, 4]
    await case.answer(0, 5, 6, 7)
    await refill
    case.gate.take(bar(9))
    assert case.passed == [3, 4, 5, 6, 7, 8, 9]


async def test_a_second_connection_has_a_fetch_of_its_own() -> None:
    """What was missed between the two is in the second only; nothing passes before it."""
    case = await opened()
    first = asyncio.ensure_future(case.gate.refill())
    case.gate.take(bar(6))
    second = asyncio.ensure_future(case.gate.refill())
    case.gate.take(bar(8))
    await case.answer(0, 5)
    assert case.passed == [3, 4, 5]
    await case.answer(1, 6, 7)
    await asyncio.gather(first, second)
    assert case.passed == [3, 4, 5, 6, 7, 6, 8], "the kernel drops a bar that it has seen"


async def test_a_fetch_that_fails_is_tried_again_and_then_given_up() -> None:
    """Five times while the socket is up; bars that never come are worse than a gap."""
    case = await opened()
    refill = asyncio.ensure_future(case.gate.refill())
    case.gate.take(bar(6))
    for number in range(5):
        assert case.passed == [3, 4]
        await case.answer(number, fails=True)
    await refill
    assert case.passed == [3, 4, 6]
    assert case.pauses == [1.0] * 5


async def test_where_the_socket_is_lost_meanwhile_the_hold_goes_on_to_the_next_connection() -> None:
    """Else the bar that came would have made the gap before it final."""
    case = await opened()
    refill = asyncio.ensure_future(case.gate.refill())
    case.gate.take(bar(6))
    case.listening = False
    await case.answer(0, fails=True)
    await refill
    assert case.passed == [3, 4]
    case.listening = True
    refill = asyncio.ensure_future(case.gate.refill())
    await case.answer(1, 5, 6, 7)
    await refill
    assert case.passed == [3, 4, 5, 6, 7, 6]


async def test_what_became_of_a_bar_never_passes_the_bar() -> None:
    """A revision waits behind the bars that are held."""
    case = await opened()
    refilling = asyncio.ensure_future(case.gate.refill())
    case.gate.take(bar(6))
    case.gate.take(BarRevised(ts=7, bar=bar(6)))
    assert case.passed == [3, 4]
    await case.answer(0, 5)
    await refilling
    assert case.passed == [3, 4, 5, 6, 7]
