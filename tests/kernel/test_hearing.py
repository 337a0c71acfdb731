"""A user stream that is connected and mute: what proves it, and what does not."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from holdfast.kernel import KernelSettings
from holdfast.kernel.hearing import UNHEARD
from holdfast.model import Execution, OrderIntent, OrderStatus, Source
from holdfast.model.commands import RestartStream
from holdfast.model.events import OrderFilled, StreamConnected, StreamLost, TimerFired
from holdfast.model.timestamps import NS_PER_SECOND
from tests.kernel.helpers import Bench, buy, of, report_of

S = NS_PER_SECOND


class Listening:
    """A bench whose user stream came up a minute ago, with an order that rests at the venue."""

    def __init__(self, mute_after: int = 10 * S) -> None:
        self.bench = bench = Bench(settings=KernelSettings(mute_after=mute_after))
        bench.show(StreamConnected(ts=bench.now, stream="user"))
        bench.reported()
        bench.wait(60)
        self.intent: OrderIntent = bench.order(buy(10, limit=90.0))
        bench.accepted(self.intent)

    def rest_shows_a_fill(self, at: int) -> Execution:
        """An execution that nobody has told of."""
        execution = self.bench.execution(self.intent, 4, at=at)
        self.bench.reported(executions=[execution], positions={"SPY": 4})
        return execution

    def restarts(self, seconds: float) -> list[RestartStream]:
        """Let time pass from timer to timer; what was asked of the stream meanwhile."""
        bench, end = self.bench, self.bench.now + round(seconds * S)
        found: list[RestartStream] = []
        while bench.kernel.timers and min(bench.kernel.timers.values()) <= end:
            found += of(RestartStream, bench.fire())
        bench.now = end
        return found


def test_a_fill_that_only_rest_tells_of_proves_the_stream_mute() -> None:
    """Fact one: it happened while we listened. Fact two: ten seconds later nothing had come."""
    case = Listening()
    at = case.bench.now
    case.bench.wait(20)
    case.rest_shows_a_fill(at)

    (restart,) = case.restarts(0)

    assert restart.stream == "user"
    assert restart.reason.startswith("mute: ")
    assert case.bench.kernel.hearing.mutes == 1
    assert case.bench.position() == Decimal(4), "and the fill itself is counted"


def test_a_young_fill_leaves_the_stream_the_rest_of_its_time() -> None:
    """REST may be quicker; nothing is held against a stream that tells in time."""
    case = Listening()
    at = case.bench.now
    case.bench.wait(3)
    case.rest_shows_a_fill(at)
    assert case.restarts(6.9) == []
    assert len(case.restarts(0.1)) == 1


def test_a_stream_that_tells_in_time_is_not_mute() -> None:
    """The execution is a repetition by then, and counted once."""
    case = Listening()
    at = case.bench.now
    case.bench.wait(3)
    told = case.rest_shows_a_fill(at)
    case.bench.wait(2)
    case.bench.show(OrderFilled(ts=case.bench.now, execution=told, source=Source.STREAM))
    assert UNHEARD not in case.bench.kernel.timers
    assert case.restarts(120) == []
    assert case.bench.position() == Decimal(4)


@pytest.mark.parametrize("seconds", [-30.0, 0.0, 1.9])
def test_what_happened_before_the_connection_or_at_about_its_moment_is_a_gap_and_no_fault(seconds: float) -> None:
    """The look that follows each connection is there to fill it. Clocks differ by a little, too."""
    case = Listening()
    connected = case.bench.kernel.hearing.connected_at
    case.rest_shows_a_fill(connected + round(seconds * S))
    assert case.restarts(120) == []


def test_an_order_that_the_venue_closed_in_silence_proves_it_too() -> None:
    """By its time of the last change; a venue that names none is not judged by it."""
    for named, expected in ((True, 1), (False, 0)):
        case = Listening()
        changed = case.bench.now
        case.bench.wait(15)
        report = report_of(case.intent, OrderStatus.CANCELED)
        report = msgspec.structs.replace(report, updated_at=changed if named else None)
        case.bench.reported(orders=[report])
        assert len(case.restarts(60)) == expected


def test_it_is_said_once_and_the_new_connection_begins_with_a_clean_slate() -> None:
    """Until it is there nothing more is held against the old one."""
    case = Listening()
    at = case.bench.now
    case.bench.wait(20)
    case.rest_shows_a_fill(at)
    assert len(case.restarts(0)) == 1
    case.bench.reported(executions=[case.bench.execution(case.intent, 3, at=at + S)], positions={"SPY": 7})
    assert case.restarts(60) == []
    bench = case.bench
    bench.show(StreamLost(ts=bench.now, stream="user", reason="mute"))
    bench.show(StreamConnected(ts=bench.now, stream="user"))
    assert bench.kernel.hearing.suspects == {}
    assert bench.kernel.hearing.connected_at == bench.now


def test_a_stream_that_was_lost_meanwhile_is_not_torn_down_again() -> None:
    """The connection that was suspected is gone by itself."""
    case = Listening()
    at = case.bench.now
    case.bench.wait(3)
    case.rest_shows_a_fill(at)
    case.bench.show(StreamLost(ts=case.bench.now, stream="user", reason="cut"))
    assert case.restarts(60) == []
    late = case.bench.show(TimerFired(ts=case.bench.now, name=UNHEARD))
    assert of(RestartStream, late) == []


def test_where_no_stream_can_be_mute_nothing_is_suspected() -> None:
    """Lock-step and backtests: zero switches it off."""
    case = Listening(mute_after=0)
    at = case.bench.now
    case.bench.wait(60)
    case.rest_shows_a_fill(at)
    assert case.bench.kernel.hearing.suspects == {}
    assert case.restarts(60) == []
