"""What others may do to a running bot, and learn of it, without its help: halt file, liveness file, heartbeat.

One object per container. A journal in memory has no place for the two files, and nobody would find them there; the
heartbeat works all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.di.companions import companions
from holdfast.di.config import Config
from holdfast.journal import Journal
from holdfast.journal.owner import this_process
from holdfast.journal.places import DatabaseUrl, Place
from holdfast.model.decimals import plain
from holdfast.model.errors import ConfigurationError
from holdfast.notify.heartbeat import ChannelHeartbeat, Heartbeat, UrlHeartbeat
from holdfast.runner.halt_file import HaltFile
from holdfast.runner.halt_watch import HaltWatch
from holdfast.runner.liveness import Liveness, liveness_path
from holdfast.runner.pulse import Pulse
from holdfast.time import RealTimeClock

if TYPE_CHECKING:
    from holdfast.di.container import Container
    from holdfast.kernel.portfolio import Portfolio

_LOOK_SECONDS = 0.2


class Control:
    """Halt file, liveness file and heartbeat of one bot.

    Args:
        config: Where they are.
        journal: An opened journal, where one was given instead.

    Attributes:
        file: The halt file; None where the journal is in memory alone.
        own_venue: What a venue was started with that ends with this process; set by whoever started it.
        status_url: What the liveness file says of the status API; set by whoever serves it.
        proof_seconds: How long the runner may take for a beat before it counts as hanging (real time).
        heartbeats: Those that are configured.

    Raises:
        ConfigurationError: The heartbeat's URL is none, its channel reaches nobody, or there is no place for the files of a
            journal in a database.
    """

    def __init__(self, config: Config, journal: Journal | None = None) -> None:
        place = config.journal.path if journal is None else _place_of(journal)
        self._path = config.journal.control
        if self._path is None and place is not None:
            self._path = companions(place)
        self.file = None if self._path is None else HaltFile(self._path)
        self.status_url = ""
        self.own_venue: tuple[str, ...] = ()
        self.proof_seconds = 5.0
        self.watch: HaltWatch | None = None
        self._container: Container | None = None
        self._pulse: Pulse | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.heartbeats: list[Heartbeat] = []
        beat = config.heartbeat
        if beat.url is not None:
            url = beat.url.get_secret_value()
            self.heartbeats.append(UrlHeartbeat(url, beat.every, self.what_is_wrong, method=beat.method))
        channels = config.notify.channels()
        if beat.channel is not None and beat.channel not in channels:
            known = ", ".join(channels) or "there is none"
            message = f"heartbeat.channel is {beat.channel!r}; expected a channel for which notify has a URL: {known}"
            raise ConfigurationError(message)

    def brake(self, *, reduces: bool) -> str | None:
        """Why an order request must not leave, by the halt file."""
        return None if self.file is None else self.file.brake(reduces=reduces)

    def attach(self, container: Container) -> None:
        """Make what needs the runner."""
        self._container = container
        beat = container.config.heartbeat
        if beat.channel is not None:
            tell, news = (
                partial(container.notifier.notify_nowait, is_good=True),
                lambda: _news(container.kernel.portfolio),
            )
            self.heartbeats.append(ChannelHeartbeat(tell, beat.channel, beat.channel_every, self.what_is_wrong, news))
        liveness = None if self._path is None else liveness_path(self._path)
        self._pulse = Pulse(container.runner.inbox, liveness, lambda at: _describe(container, self, at))
        if self.file is not None:
            self.watch = HaltWatch(container.runner, self.file)

    async def what_is_wrong(self) -> Sequence[str]:
        """Proves that the bot is well: the runner takes a beat now, and nothing else is the matter; else why not."""
        if self._pulse is None or self._container is None or not await self._pulse.prove(self.proof_seconds):
            return ("the runner takes no events",)
        return self._container.health()[1]

    def begin(self) -> None:
        """The run has begun: take what the halt file says, and start to look, to beat and to tell."""
        if self.watch is not None:
            self.watch.look(at_start=True)
        works = [self._look()] if self.watch is not None else []
        if self._pulse is not None and self._path is not None:
            works.append(self._pulse.run())
        works += [heartbeat.run() for heartbeat in self.heartbeats]
        self._tasks = [asyncio.create_task(work, name="holdfast-control") for work in works]

    async def end(self, *, orderly: bool) -> None:
        """Stop looking; an orderly end is written down."""
        if self.watch is not None:
            self.watch.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if orderly and self._tasks and self._pulse is not None and self._container is not None:
            self._pulse.end(_describe(self._container, self, RealTimeClock().now_ns()).ending())
        self._tasks = []

    async def _look(self) -> None:
        watch, pulse = self.watch, self._pulse
        if watch is None or pulse is None:
            return
        outcome = watch.outcome
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if watch.look() or watch.outcome != outcome:
                outcome = watch.outcome
                pulse.nudge()


def _place_of(journal: Journal) -> Place | None:
    """Where an opened journal is kept; None in memory."""
    place = getattr(journal, "path", None) or getattr(journal, "url", None)
    return place if isinstance(place, Path | DatabaseUrl) else None


def _news(portfolio: Portfolio) -> str:
    """What people want to know of a bot that is well."""
    held = ", ".join(f"{plain(one.quantity)} {one.symbol}" for one in portfolio.positions.get_all()) or "flat"
    equity = "unknown" if portfolio.account is None else f"{portfolio.equity:,.2f} USD"
    return f"{portfolio.trading_state.value}; equity {equity}; {held}; {len(portfolio.tracker.open)} orders open"


def _describe(container: Container, control: Control, at: int) -> Liveness:
    me = this_process()
    kernel, config = container.kernel, container.config
    watch = control.watch
    return Liveness(
        pid=me.pid,
        birth=me.birth,
        host=me.host,
        at=at,
        trading_state=kernel.portfolio.trading_state.value,
        mode=config.account.mode,
        base_url=config.alpaca.base_url or "",
        local_venue=container.venue is not None,
        own_venue=control.own_venue,
        status_url=control.status_url,
        heard="" if watch is None else watch.heard,
        flat="" if watch is None else watch.outcome,
        positions={position.symbol: plain(position.quantity) for position in kernel.portfolio.positions.get_all()},
        open_orders=tuple(order.client_order_id for order in kernel.portfolio.tracker.open_orders()),
        reasons=tuple(container.health()[1]),
    )
