"""A beat is taken by the runner or not at all, and only what was taken is written down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.runner.liveness import Liveness, age_seconds, liveness_path, read_liveness, write_liveness
from holdfast.runner.pulse import Pulse
from holdfast.testing import InProcessBot
from holdfast.time import BacktestClock, RealTimeClock
from tests.runner.helpers import trading, turns, until


def beat(at: int = 0) -> Liveness:
    """Of a bot that holds something."""
    return Liveness(
        pid=1, birth="b", host="h", at=at, trading_state="active", positions={"SPY": "10"}, open_orders=("x",)
    )


def pulse_of(bot: InProcessBot, path: Path | None = None) -> tuple[Pulse, BacktestClock]:
    """A pulse, and the clock by which it tells the time."""
    clock = BacktestClock(1_000)
    return Pulse(bot.runner.inbox, path, beat, clock), clock


async def test_a_beat_proves_that_the_runner_takes_events_and_leaves_no_trace() -> None:
    """Nothing is journaled for it."""
    bot = await trading()
    await bot.journal.sync()
    records = len(list(bot.journal.records()))
    pulse, _ = pulse_of(bot)
    running = asyncio.create_task(bot.runner.run())
    assert await pulse.beat() == 1_000
    assert await pulse.prove(5.0)
    bot.runner.pause()
    await running
    await bot.journal.sync()

    assert len(list(bot.journal.records())) == records


async def test_a_runner_that_hangs_proves_nothing_and_writes_nothing(tmp_path: Path) -> None:
    """The loop turns, other tasks run, and the runner takes nothing: no file, no proof."""
    bot = await trading()
    path = liveness_path(tmp_path / "journal")
    pulse, _ = pulse_of(bot, path)
    writing = asyncio.create_task(pulse.run())
    await turns()
    assert not await pulse.prove(0.01)
    assert not path.exists()

    running = asyncio.create_task(bot.runner.run())
    await until(path.exists)
    assert read_liveness(tmp_path / "journal") == beat(1_000)
    bot.runner.pause()
    await running
    writing.cancel()


async def test_many_proofs_share_one_beat() -> None:
    """However many ask while it hangs, one post waits for it."""
    bot = await trading()
    pulse, _ = pulse_of(bot)
    asking = [asyncio.create_task(pulse.beat()) for _ in range(10)]
    await turns()
    assert bot.runner.inbox.depth == 1
    await bot.settle()
    assert await asyncio.gather(*asking) == [1_000] * 10


async def test_a_nudge_writes_at_once(tmp_path: Path) -> None:
    """Who waits for an answer waits no second for it."""
    bot = await trading()
    path = liveness_path(tmp_path / "journal")
    pulse, clock = pulse_of(bot, path)
    running, writing = asyncio.create_task(bot.runner.run()), asyncio.create_task(pulse.run())
    await until(path.exists)
    clock.advance_to(2_000)
    pulse.nudge()
    await until(lambda: read_liveness(tmp_path / "journal") == beat(2_000))
    bot.runner.pause()
    await running
    writing.cancel()


async def test_a_folder_that_is_gone_stops_no_bot(tmp_path: Path) -> None:
    """The file grows old; whoever watches notices."""
    bot = await trading()
    pulse, _ = pulse_of(bot, tmp_path / "nowhere" / "journal.alive")
    running, writing = asyncio.create_task(bot.runner.run()), asyncio.create_task(pulse.run())
    await turns()
    pulse.end(beat())
    assert not writing.done()
    bot.runner.pause()
    await running
    writing.cancel()


def test_a_beat_is_read_as_it_was_written(tmp_path: Path) -> None:
    """And an orderly end says so."""
    write_liveness(liveness_path(tmp_path / "journal"), beat(5).ending())
    found = read_liveness(tmp_path / "journal")

    assert found == beat(5).ending()
    assert found is not None
    assert found.ended
    assert [path.name for path in tmp_path.iterdir()] == ["journal.alive"]
    assert liveness_path(tmp_path / "journal").stat().st_mode & 0o077 == 0, "it tells what somebody owns"


@pytest.mark.parametrize("content", [b"", b"{}", b"no json", b'{"pid":"one"}'])
def test_what_cannot_be_read_is_no_beat(tmp_path: Path, content: bytes) -> None:
    """As if there were none."""
    liveness_path(tmp_path / "journal").write_bytes(content)

    assert read_liveness(tmp_path / "journal") is None


def test_the_age_is_real_time() -> None:
    """However fast a session is replayed."""
    assert 0.0 <= age_seconds(beat(RealTimeClock().now_ns())) < 60.0
    assert age_seconds(beat(0)) > 1e9
