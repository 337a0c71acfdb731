"""The look around: it tells of changes, once each."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from holdfast.net import RateLimit, Throttler
from holdfast.runner.monitor import Monitor
from holdfast.testing import Alert, RecordingAlerts, make_kernel
from holdfast.testing.bot import START
from holdfast.testing.samples import REPORT
from holdfast.time import BacktestClock
from tests.runner.helpers import until


class Stream:
    """A stream that is as well as it is told."""

    def __init__(self) -> None:
        self.connected = True

    def is_connected(self) -> bool:
        """As told."""
        return self.connected


class Scene:
    """A monitor and all that it looks at."""

    def __init__(self) -> None:
        self.clock = BacktestClock(START)
        self.throttler = Throttler({"orders": RateLimit(2, 1.0), "bars": RateLimit(2, 1.0)}, clock=self.clock)
        self.kernel = make_kernel()
        self.alerts = RecordingAlerts()
        self.stream = Stream()
        self.monitor = Monitor(self.kernel, self.throttler, {"user": self.stream}, self.alerts)

    def look(self) -> list[Alert]:
        """What one look tells."""
        before = len(self.alerts.alerts)
        self.monitor.look()
        return self.alerts.alerts[before:]

    async def call(self, limit_id: str, times: int) -> None:
        """Draw on a limit, and let time pass until all have had their turn."""
        calls = [asyncio.ensure_future(self.throttler.acquire(limit_id)) for _ in range(times)]
        while not all(call.done() for call in calls):
            await until(lambda: self.clock.waiting or all(call.done() for call in calls))
            self.clock.advance(timedelta(milliseconds=500))


@pytest.fixture
async def scene() -> Scene:
    """All is well."""
    return Scene()


async def test_all_well_is_nothing_to_tell(scene: Scene) -> None:
    """However often it looks."""
    assert [scene.look() for _ in range(3)] == [[], [], []]


async def test_a_stream_is_told_of_when_it_goes_and_when_it_comes(scene: Scene) -> None:
    """Once each, not at every look."""
    scene.stream.connected = False
    assert scene.look() == [("system", "the user stream is down", "")]
    assert scene.look() == []
    scene.stream.connected = True
    assert scene.look() == [("system", "the user stream is up again", "")]
    assert scene.look() == []


async def test_orders_that_differ_are_told_of_when_their_number_changes(scene: Scene) -> None:
    """And not again while it stays."""
    found = scene.kernel.reconciliation
    found.orphans = {"b": REPORT}
    ((channel, _, details),) = scene.look()
    assert channel == "order-drift"
    assert details.startswith("1 at the venue unknown here, 0 open here")
    assert scene.look() == []
    found.orphans = {"b": REPORT, "c": REPORT}
    assert len(scene.look()) == 1
    found.orphans = {}
    assert scene.look() == []
    found.orphans = {"d": REPORT}
    assert len(scene.look()) == 1


async def test_throttle_waits_are_those_since_the_last_look(scene: Scene) -> None:
    """Not since the start: what was told once is not told again."""
    await scene.call("orders", 3)
    assert scene.look() == [
        ("throttle-warnings", "rate limit orders makes calls wait", "1 calls waited 1.0 s in all since the last look")
    ]
    assert scene.look() == []
    await scene.call("bars", 1)
    assert scene.look() == []
    scene.clock.advance(timedelta(seconds=10))
    await scene.call("orders", 4)
    ((_, _, details),) = scene.look()
    assert details.startswith("2 calls waited")


async def test_it_looks_every_minute(scene: Scene) -> None:
    """Until it is cancelled."""
    waits: list[float] = []
    turn = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await turn.wait()
        turn.clear()

    scene.stream.connected = False
    run = asyncio.ensure_future(scene.monitor.run(sleep))
    await until(lambda: len(waits) == 1)
    assert scene.alerts.alerts == []
    turn.set()
    await until(lambda: len(waits) == 2)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    assert waits == [60.0, 60.0]
    assert scene.alerts.titles() == ["the user stream is down"]
