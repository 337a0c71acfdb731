"""One run of the bot: the real container on a simulated network, disk and clock, and its sudden end.

Killing it means: its tasks are cancelled, and from that very moment nothing that they still do in their
``finally`` blocks reaches the disk or the network. What the network carries already is on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from holdfast.brokers import AlpacaConnector
from holdfast.di.config import Config
from holdfast.di.container import Container
from holdfast.di.parts import Parts
from holdfast.model import Signal
from holdfast.model.errors import HoldfastError
from holdfast.net import Backoff
from holdfast.notify import Notifier
from holdfast.strategies import Strategy
from holdfast.testing.sim.chance import Chance, stream
from holdfast.testing.sim.faults import Faults
from holdfast.testing.sim.journal import Disk, SimJournal
from holdfast.testing.sim.loop import Killed, Owner, VirtualLoop, context_of
from holdfast.testing.sim.network import Door, Network, SimTransport
from holdfast.testing.sim.trace import Trace
from holdfast.testing.sim.venue import SimVenue
from holdfast.time import RealTimeClock

_UNWINDS = 50


class Wall:
    """The wall clock of the bot's machine: the simulation's time, and whatever steps were made to it."""

    def __init__(self, loop: VirtualLoop, began_at: int) -> None:
        self._loop = loop
        self._began_at = began_at
        self.offset = 0

    def now_ns(self) -> int:
        """UTC ns."""
        return self._began_at + self._loop.now_ns() + self.offset


class SimNotifier(Notifier):
    """Writes to the trace what people would be told."""

    def __init__(self, *args: Any, note: Callable[[str, str], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._note = note

    def notify_nowait(self, channel: str, title: str, details: object = "", *, is_good: bool = False) -> None:
        """One message."""
        self._note(channel, f"{title}: {details}")


class Process:
    """A bot that runs until it is killed, fails or is stopped.

    Args:
        number: Counts the runs of a simulation, from 1.
        loop: Virtual time.
        venue: The other side.
        disk: Its journal's.
        wall: Its machine's clock.
        faults: The dice.
        trace: The log.
        door: What passes between the two.
        key: The bot's key at the venue.
        config: The bot's.
        strategies: Its own objects: made for this run.
        parts: What the container is made of; the simulator replaces the network's ends.
        countdown: Points at which it ends, each with how often it is passed before.
        seed: Of its back-offs.

    Attributes:
        container: The bot; None until its journal was opened.
        killed_at: The point at which it was killed; empty while it was not.
        failure: What ended it otherwise.
        started: It is connected, has compared its books and trades.
        stopping: It was told to stop.
        ended: It is over, in whatever way.
    """

    def __init__(
        self,
        number: int,
        loop: VirtualLoop,
        venue: SimVenue,
        disk: Disk,
        wall: Wall,
        faults: Faults,
        trace: Trace,
        door: Door,
        key: str,
        config: Config,
        strategies: Iterable[Strategy],
        parts: Parts,
        countdown: dict[str, int],
        seed: int,
    ) -> None:
        self.number = number
        self.owner = Owner(f"bot-{number}")
        self.killed_at = ""
        self.failure: BaseException | None = None
        self.ended = asyncio.Event()
        self.started = self.stopping = False
        self._loop = loop
        self._trace = trace
        self._countdown = countdown
        self._context = context_of(self.owner)
        self.network = Network(loop, venue, self.owner, number, disk, faults, trace, door, self.point, key)
        self.journal = SimJournal(disk, faults, self.point, trace, lambda: self.owner.dead)
        chance = stream(seed, f"backoff/{number}")
        clock = RealTimeClock(wall_ns=wall.now_ns, monotonic_ns=loop.now_ns)
        self.container = self._context.run(
            Container,
            config,
            strategies=strategies,
            clock=clock,
            journal=self.journal,
            parts=self._wired(parts, chance),
        )

    def _wired(self, parts: Parts, chance: Chance) -> Parts:
        def pauses() -> Backoff:
            return Backoff(base=0.5, cap=8.0, rng=chance)

        def connector(*args: Any, **kwargs: Any) -> AlpacaConnector:
            return parts.connector(*args, transport=SimTransport(self.network), backoff=pauses, **kwargs)

        def on_network(make: Callable[..., Any]) -> Callable[..., Any]:
            # A back-off for each stream, however often the maker is called.
            def stream_(*args: Any, **kwargs: Any) -> Any:
                wired = {"connect": self.network.connect, "backoff": Backoff(base=1.0, cap=30.0, rng=chance)}
                return make(*args, **{**kwargs, **wired})

            return stream_

        return msgspec.structs.replace(
            parts,
            connector=connector,
            user_stream=on_network(parts.user_stream),
            market_stream=on_network(parts.market_stream),
            notifier=lambda channels, clock, **others: SimNotifier(channels, clock, note=self._note_alert, **others),
        )

    def _note_alert(self, channel: str, text: str) -> None:
        if not self.owner.dead:
            self._trace.note(self.owner.name, "alert", f"{channel}: {text}")

    # -- its life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run; returns at once."""
        self._trace.note(self.owner.name, "started")
        self._loop.create_task(self._live(), context=self._context)

    async def _live(self) -> None:
        try:
            await self.container.start()
            self.started = True
            self._trace.note(self.owner.name, "trading")
            await self.container.wait()
        except HoldfastError as error:
            self.failure = error
            if not self.owner.dead:
                self._trace.note(self.owner.name, "failed", str(error))
        except Killed as error:
            self.failure = error
        finally:
            if not self.stopping:
                self.ended.set()

    def ask(self, signal: Signal) -> None:
        """Send a signal as a user's own code does, and forget it."""
        self._loop.create_task(self._ask(signal), context=self._context)

    async def _ask(self, signal: Signal) -> None:
        try:
            verdict = await self.container.process_signal(signal)
        except HoldfastError as error:
            if not self.owner.dead:
                self._trace.note(self.owner.name, "no verdict", str(error))
        else:
            self._trace.note(self.owner.name, "verdict", f"{verdict.approved} {verdict.guard}")

    async def stop(self) -> None:
        """As Ctrl-C does. What fails meanwhile is what the run ended with."""
        self.stopping = True
        task = self._loop.create_task(self.container.stop(), context=self._context)
        try:
            await asyncio.wait_for(task, 60.0)
        except (HoldfastError, Killed, asyncio.CancelledError) as error:
            if not self.owner.dead:  # a kill that strikes while it stops is no failure of its own
                self.failure = self.failure or error
        self._trace.note(self.owner.name, "stopped")
        self.owner.dead = True
        self.network.cut()
        self.ended.set()

    def point(self, name: str) -> None:
        """A moment at which the process may end.

        Raises:
            Killed: It does.
        """
        if self.owner.dead:
            raise Killed
        left = self._countdown.get(name)
        if left is None:
            return
        self._countdown[name] = left - 1
        if left == 0:
            self.kill(name)
            raise Killed

    def spare(self) -> None:
        """It is not killed at any point any more: the faults are over."""
        self._countdown.clear()

    def kill(self, where: str) -> None:
        """SIGKILL, or the power."""
        if self.owner.dead:
            return
        self._trace.note(self.owner.name, "killed", where)
        self.killed_at = where
        self.owner.dead = True
        self.network.cut()
        for task in self.owner.living():
            task.cancel()
        self.ended.set()

    async def unwind(self) -> None:
        """Let the dead process's tasks come to their ends, so that nothing of it is left."""
        for stream_ in self.container.streams.values():
            stream_.abandon()
        for _ in range(_UNWINDS):
            left = self.owner.living()
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
