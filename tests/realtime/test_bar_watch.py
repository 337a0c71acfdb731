"""A quiet market or a mute socket: silence alone proves nothing, REST decides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

import pytest

from holdfast.model import Bar
from holdfast.model.errors import OutcomeUnknownError
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_SECOND
from holdfast.realtime import BarWatch
from holdfast.time import BacktestClock, FixedSessions, Sessions

MINUTE = NS_PER_MINUTE
NOON = 12 * NS_PER_HOUR


class FakeStream:
    """A market data stream as the test says it is."""

    def __init__(self, clock: BacktestClock) -> None:
        self._clock = clock
        self.listening_since: int | None = clock.now_ns()
        self.last_bar = (0, 0)
        self.reasons: list[str] = []

    def hear(self, ts: int) -> None:
        """A bar that ended at ``ts`` comes now."""
        self.last_bar = (ts, self._clock.now_ns())

    def restart(self, reason: str) -> bool:
        """It is back at once."""
        self.reasons.append(reason)
        self.listening_since, self.last_bar = self._clock.now_ns(), (0, 0)
        return True


class Case:
    """A watch over a stream of SPY and QQQ, with a REST that knows what the test gives it."""

    def __init__(self, sessions: Sessions | None = None) -> None:
        self.clock = BacktestClock(NOON)
        self.stream = FakeStream(self.clock)
        self.rest: list[Bar] = []
        self.fails = False
        self.watch = BarWatch(
            self.stream,
            ("SPY", "QQQ"),
            self.fetch,
            clock=self.clock,
            sessions=sessions or FixedSessions(0, NS_PER_DAY),
            period=MINUTE,
            patience=MINUTE * 5 // 2,
            grace=10 * NS_PER_SECOND,
        )

    async def fetch(self, symbol: str, start: int, end: int, period: int) -> Sequence[Bar]:
        """REST: the bars that lie within two moments."""
        if self.fails:
            message = "no answer"
            raise OutcomeUnknownError(message)
        return [bar for bar in self.rest if bar.symbol == symbol and bar.ts - period >= start and bar.ts <= end]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.watch.run())
        await self._turns()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def pass_time(self, seconds: float) -> None:
        """From second to second, so that each wait ends when it should."""
        end = self.clock.now_ns() + round(seconds * NS_PER_SECOND)
        while self.clock.now_ns() < end:
            self.clock.advance_to(min(end, self.clock.now_ns() + NS_PER_SECOND))
            await self._turns()

    async def _turns(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)


def bar(minute: int, symbol: str = "SPY") -> Bar:
    """The bar that ends so many minutes after noon."""
    return Bar(NOON + minute * MINUTE, symbol, 1.0, 1.0, 1.0, 1.0, 1.0)


async def test_a_socket_that_owes_a_bar_is_mute() -> None:
    """Two and a half minutes of silence, and REST has what it should have brought."""
    async with Case() as case:
        case.rest = [bar(1, "QQQ"), bar(2, "QQQ")]
        await case.pass_time(149)
        assert case.stream.reasons == []
        await case.pass_time(1)
        (reason,) = case.stream.reasons
        assert reason.startswith("mute: no bar since 1970-01-01T12:00:00Z, and REST has one of QQQ")
        assert case.watch.mutes == 1
        case.rest = []
        await case.pass_time(600)
        assert len(case.stream.reasons) == 1, "the new connection owes nothing"


async def test_a_quiet_market_is_no_fault_of_the_socket() -> None:
    """REST has nothing either; it is asked again when as much time has passed, and not more often."""
    async with Case() as case:
        await case.pass_time(1500)
        assert case.stream.reasons == []
        assert case.watch.looks == 10


async def test_a_socket_that_brings_bars_is_never_asked_about() -> None:
    """No request is spent on a stream that works."""
    async with Case() as case:
        for minute in range(1, 30):
            await case.pass_time(60)
            case.rest.append(bar(minute))
            case.stream.hear(case.rest[-1].ts)
        assert case.watch.looks == 0


@pytest.mark.parametrize("minute", [-3, 0])
async def test_bars_of_before_the_connection_are_a_gap_and_no_debt(minute: int) -> None:
    """They are fetched when a connection begins; nobody could have streamed them."""
    async with Case() as case:
        case.rest = [bar(minute)]
        await case.pass_time(200)
        assert case.stream.reasons == []
        assert case.watch.looks == 1


async def test_a_bar_that_has_just_ended_may_be_on_its_way() -> None:
    """The socket may be ten seconds late with it."""
    async with Case() as case:
        case.stream.hear(NOON)
        await case.pass_time(30)
        case.rest = [Bar(NOON + 145 * NS_PER_SECOND, "SPY", 1.0, 1.0, 1.0, 1.0, 1.0)]
        await case.pass_time(120)
        assert case.watch.looks == 1
        assert case.stream.reasons == []
        await case.pass_time(150)
        assert len(case.stream.reasons) == 1


async def test_while_the_market_is_closed_nothing_is_owed() -> None:
    """The silence begins to count at the open."""
    async with Case(FixedSessions(13 * NS_PER_HOUR, 20 * NS_PER_HOUR)) as case:
        await case.pass_time(3600)
        assert case.watch.looks == 0
        await case.pass_time(150)
        assert case.watch.looks == 1


async def test_a_socket_that_is_down_or_a_rest_that_does_not_answer_proves_nothing() -> None:
    """The one is being connected anyway, of the other nothing was learned."""
    async with Case() as case:
        case.rest = [bar(1), bar(2)]
        case.fails = True
        await case.pass_time(151)
        assert (case.watch.looks, case.stream.reasons) == (1, [])
        case.fails = False
        case.stream.listening_since = None
        await case.pass_time(300)
        assert (case.watch.looks, case.stream.reasons) == (1, [])
