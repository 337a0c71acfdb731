"""Is the market quiet, or is the data socket mute? REST decides.

A socket that brings no bars looks the same in both cases. So when no bar has come for two and a half periods while the
market is open, the bars are asked for over REST. It has one that began after the last that the socket brought, and ended
longer ago than the socket may be late: the socket is mute, and is replaced; the bars that it owed are fetched like those
of any other gap, when the new connection is up. REST has none either: the market is quiet, and nothing happens until as
much time has passed again.

One bar of any symbol clears a socket: bars of a thin symbol may reach REST late and the socket never.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from holdfast.model import Bar
from holdfast.model.errors import BrokerError
from holdfast.model.timestamps import format_rfc3339
from holdfast.time import Clock, Sessions

FetchBars = Callable[[str, int, int, int], Awaitable[Sequence[Bar]]]

_log = structlog.get_logger(__name__)


class BarStream(Protocol):
    """What is asked of a market data stream."""

    @property
    def listening_since(self) -> int | None:
        """When this connection began to listen (UTC ns); None while there is none."""
        ...

    @property
    def last_bar(self) -> tuple[int, int]:
        """The end of the newest bar of this connection, and when it was heard (UTC ns); zeros before the first."""
        ...

    def restart(self, reason: str) -> bool:
        """Make another connection."""
        ...


class BarWatch:
    """Watches one market data stream.

    Args:
        stream: Watched.
        symbols: What it should bring.
        fetch: ``fetch(symbol, start, end, period)``: the bars that lie within two moments (UTC ns), over REST.
        clock: Whose time counts.
        sessions: When the market is open.
        period: The length of a bar (ns).
        patience: Silence after which REST is asked (ns).
        grace: How long after its end a bar may arrive (ns).

    Attributes:
        looks: How often REST was asked.
        mutes: How often the stream was found mute.
    """

    def __init__(
        self,
        stream: BarStream,
        symbols: Sequence[str],
        fetch: FetchBars,
        *,
        clock: Clock,
        sessions: Sessions,
        period: int,
        patience: int,
        grace: int,
    ) -> None:
        self._stream, self._symbols, self._fetch = stream, symbols, fetch
        self._clock, self._sessions = clock, sessions
        self._period, self._patience, self._grace = period, max(patience, grace), grace
        self.looks = 0
        self.mutes = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        looked_at = self._clock.now_ns()
        while True:
            silent_since = max(self._silent_since(), looked_at)
            await self._clock.wait_until(silent_since + self._patience)
            if max(self._silent_since(), looked_at) > silent_since:
                continue  # something came meanwhile
            looked_at = self._clock.now_ns()
            if self._stream.listening_since is not None:
                await self._look(looked_at)

    def _silent_since(self) -> int:
        """The last bar, or the beginning of the connection or of the session: before them there was nothing to bring."""
        now = self._clock.now_ns()
        return max(self._stream.last_bar[1], self._stream.listening_since or 0, self._sessions.at(now).open)

    async def _look(self, now: int) -> None:
        self.looks += 1
        since = max(self._stream.last_bar[0], self._stream.listening_since or 0)
        for symbol in self._symbols:
            try:
                bars = await self._fetch(symbol, since, now - self._grace, self._period)
            except BrokerError as error:
                _log.warning("bars could not be compared", symbol=symbol, reason=error.message)
                return
            if any(bar.ts > self._stream.last_bar[0] for bar in bars):
                self._is_mute(symbol, bars[-1], since)
                return

    def _is_mute(self, symbol: str, bar: Bar, since: int) -> None:
        reason = f"mute: no bar since {format_rfc3339(since)}, and REST has one of {symbol} that ended {format_rfc3339(bar.ts)}"
        if self._stream.restart(reason):
            self.mutes += 1
