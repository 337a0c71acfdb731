"""The market data that a bot lives on: sockets, and what they missed, over REST; whoever they come from (``bar_sources``).

A bar reaches the inbox once the bars before it are there (``bar_gate``); each new connection is followed by those that were
missed; and a socket that brings none although there are some is replaced (``BarWatch``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from holdfast.di.bar_gate import BarGate
from holdfast.di.bar_sources import BarSource
from holdfast.di.config import Config
from holdfast.kernel import Kernel
from holdfast.kernel.book import asset_class_of
from holdfast.model import AssetClass, Bar
from holdfast.model.events import BarRevised
from holdfast.model.timestamps import NS_PER_SECOND, to_datetime
from holdfast.net import Backoff
from holdfast.realtime import BarWatch
from holdfast.realtime.market_stream import MarketStream
from holdfast.runner.inbox import Inbox
from holdfast.strategies.base import overrides
from holdfast.time import Clock, ScaledClock, sessions_for

_FOLLOWED_WITHIN = 5 * NS_PER_SECOND  # of real time: a venue's answer is read so much later at most

# A bar that has just ended may reach REST a moment later, when the socket that would have brought it is not yet listening.
_LISTED_WITHIN = 5 * NS_PER_SECOND

_log = structlog.get_logger(__name__)


class Feed:
    """What brings market data to one inbox.

    Args:
        config: What is followed, and how.
        source: Where it comes from.
        kernel: Knows the last bar of each symbol.
        inbox: Takes what comes.
        clock: Whose time counts.
        backoff: Makes the pauses between connections of one stream; None: the stream's own.
        follow_time: Takes the venue's time, where that is not ours.

    Attributes:
        streams: By what they bring; not started yet.
        period: The length of a bar (ns).
    """

    def __init__(
        self,
        config: Config,
        source: BarSource,
        kernel: Kernel,
        inbox: Inbox,
        clock: Clock,
        *,
        backoff: Callable[[], Backoff | None],
        follow_time: Callable[[], Awaitable[None]],
    ) -> None:
        self._symbols, self._source, self._kernel = config.symbols, source, kernel
        self._inbox, self._clock, self._follow_time = inbox, clock, follow_time
        self._quiet_periods = config.reconcile.quiet_periods
        self._refills = False
        self._early: list[BarGate] = []  # whose stream connected during the start, after its backfill had begun
        self.period = config.strategy.period_seconds * NS_PER_SECOND
        self.streams: dict[AssetClass, MarketStream] = {}
        # What a stream brings before the missed bars are there waits for them: a later bar makes earlier ones old.
        self._gates: list[BarGate] = []
        on_quote = inbox.post_quote if config.alpaca.quotes else None
        by_class: dict[AssetClass, list[str]] = {}
        for symbol in self._symbols:
            by_class.setdefault(asset_class_of(symbol), []).append(symbol)
        for kind, symbols in by_class.items():
            gate = self._make_gate(kind, symbols)
            stream = source.open_stream(
                kind,
                symbols,
                gate.take,
                self._reviser(gate),
                on_quote=on_quote,
                period=self.period,
                clock=clock,
                backoff=backoff(),
            )
            stream.on_connected(lambda gate=gate: gate.refill() if self._refills else self._early.append(gate))
            self.streams[kind] = stream
            self._gates.append(gate)

    async def open(self, *, refills: bool) -> None:
        """The start's own ``backfill`` is done: let bars through.

        A stream that connected while that was under way, at its second attempt, may have missed what ended in between.

        Args:
            refills: Whether each such connection, and each from now on, is followed by what was missed; not in lock-step,
                where the venue stands still meanwhile.
        """
        self._refills = refills
        owed = [gate.refill() for gate in self._early] if refills else []
        for gate in self._gates:
            gate.open()
        await asyncio.gather(*owed)

    def watches(self) -> list[BarWatch]:
        """One for each stream, to be run."""
        return [
            BarWatch(
                stream,
                stream.symbols,
                self._source.fetch_bars,
                clock=self._clock,
                sessions=sessions_for(kind),
                period=self.period,
                patience=round(self._quiet_periods * self.period),
                grace=self._kernel.settings.mute_after,  # scaled with the clock already
            )
            for kind, stream in self.streams.items()
        ]

    async def backfill(self, symbols: Iterable[str] | None = None) -> None:
        """Bars that were missed while nobody listened, of some symbols or of all; on a first start, the session's so far.

        Raises:
            BrokerError: They could not be had.
        """
        self._early.clear()
        now = self._clock.now_ns()
        missed: list[Bar] = []
        for symbol in self._symbols if symbols is None else symbols:
            book = self._kernel.portfolio.book(symbol)
            session = book.sessions.at(now)
            start = book.last_bar_at or min(session.open, now)
            if start < now:
                missed.extend(await self._source.fetch_bars(symbol, start, now + self._behind, self.period))
        missed.sort(key=lambda bar: (bar.ts, bar.symbol))
        for bar in missed:
            self._inbox.post_bar(bar)
        if missed:
            _log.info("bars fetched", count=len(missed), since=str(to_datetime(missed[0].ts)))

    @property
    def _behind(self) -> int:
        """How far our clock may be behind that of a venue whose time runs faster (ns); that venue lists whole bars only.

        What ended before its socket listened, and by our clock is yet to come, would be neither streamed nor fetched.
        """
        return round(_FOLLOWED_WITHIN * self._clock.rate) if isinstance(self._clock, ScaledClock) else 0

    def _make_gate(self, kind: AssetClass, symbols: Sequence[str]) -> BarGate:
        async def fetch() -> None:
            # Up to now by the venue's time: what ended before the connection was streamed to nobody.
            await self._follow_time()
            await self.backfill(symbols)
            ended = self._clock.now_ns() // self.period * self.period
            listed = ended + min(_LISTED_WITHIN, self.period // 2)  # before the next one ends: nothing waits for this
            if self._clock.now_ns() < listed:
                await self._clock.wait_until(listed)
                await self.backfill(symbols)

        def is_listening() -> bool:
            return self.streams[kind].is_connected()

        return BarGate(self._inbox.post_bar, fetch, is_listening)

    def _reviser(self, gate: BarGate) -> Callable[[Bar], None]:
        """What is done with a bar that a late trade changed; the stream counts them, whatever that is."""
        is_anybody_told = any(overrides(strategy, "on_bar_revised") for strategy in self._kernel.strategies)

        def revise(bar: Bar) -> None:
            _log.info("a late trade changed a bar", symbol=bar.symbol, at=bar.ts, close=bar.close)
            if is_anybody_told:  # else nothing depends on it, and the journal need not hold it
                gate.take(BarRevised(ts=self._clock.now_ns(), bar=bar))

        return revise
