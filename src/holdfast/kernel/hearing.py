"""Is the user stream mute? It is, when REST shows what it should have told long ago.

A socket can be open, answer pings, and deliver nothing. No silence proves that: nothing may have happened. What proves it
is news that REST brought first: an execution that nobody had told of, or an order that the venue closed meanwhile. It
happened after the connection was made (before, nobody listened), and the stream has not said a word about that order
within ``mute_after`` of the moment at which it happened. Then the connection is given up and made anew.

    news of an order, first from     when                                             what follows
    the stream                       -                                                nothing is held against it
    REST, and it happened            before the connection, or at about its moment    nothing: a gap, filled
    REST, and it happened            within ``mute_after``                            the stream gets the rest of that time
    REST, and it happened            longer ago, or the stream used up that time      mute: RestartStream

A stream that drops one message and then tells of the same order again is not mute: what it dropped was recovered.
Moments of the venue are compared with our clock, so a fifth of ``mute_after`` is allowed for their difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.model import Execution, OrderReport, Source
from holdfast.model.commands import RestartStream
from holdfast.model.timestamps import format_rfc3339

if TYPE_CHECKING:
    from holdfast.kernel.settings import KernelSettings

UNHEARD = "unheard"
_SAID_BY_REST = frozenset({Source.RECONCILE, Source.LOOKUP})


class HearingState(msgspec.Struct, frozen=True, kw_only=True):
    """What is suspected, as it is written."""

    connected_at: int
    suspects: dict[str, int]
    mutes: int


class Hearing:
    """What REST told first, and the stream has not told yet.

    Args:
        settings: ``mute_after``; zero where there is no such stream, or it cannot be mute.
        timers: The kernel's own; one of them is set while something is suspected.

    Attributes:
        connected_at: Since when the user stream claims to be listening (UTC ns); 0 while it does not.
        suspects: When the oldest unheard news of an order happened (UTC ns), by the venue's id of the order.
        mutes: How often the stream was found mute.
    """

    def __init__(self, settings: KernelSettings, timers: dict[str, int]) -> None:
        self._mute_after = settings.mute_after
        self._timers = timers
        self.connected_at = 0
        self.suspects: dict[str, int] = {}
        self.mutes = 0

    def export_state(self) -> HearingState:
        """All of it in its written form."""
        return HearingState(connected_at=self.connected_at, suspects=dict(self.suspects), mutes=self.mutes)

    def import_state(self, state: HearingState) -> None:
        """Remember what was written."""
        self.connected_at, self.suspects, self.mutes = state.connected_at, dict(state.suspects), state.mutes

    def listening(self, since: int) -> None:
        """The stream is listening; 0: it is not. What it did not tell before is no longer its fault."""
        self.connected_at = since
        self.suspects.clear()
        self._timers.pop(UNHEARD, None)

    def take_execution(self, execution: Execution, source: Source, now: int, *, news: bool) -> None:
        """An execution was told; ``news``: it was counted just now."""
        self._take(execution.broker_id, execution.at if news else None, source, now)

    def take_report(self, report: OrderReport, source: Source, now: int, *, news: bool) -> None:
        """An order was described; ``news``: the venue closed it, and we learn it just now."""
        self._take(report.broker_id, report.updated_at if news else None, source, now)

    def verdict(self, now: int) -> RestartStream | None:
        """The timer fired: has the stream used up its time?"""
        if not self.connected_at or not self.suspects:
            return None
        broker_id, at = min(self.suspects.items(), key=_moment)
        if now < at + self._mute_after:
            self._timers[UNHEARD] = at + self._mute_after
            return None
        self.mutes += 1
        self.listening(0)
        reason = f"mute: it never told of what happened to order {broker_id} at {format_rfc3339(at)}, and REST did"
        return RestartStream(stream="user", reason=reason)

    def _take(self, broker_id: str, at: int | None, source: Source, now: int) -> None:
        if source is Source.STREAM:
            if self.suspects.pop(broker_id, None) is not None and not self.suspects:
                self._timers.pop(UNHEARD, None)
        elif (
            at is not None
            and source in _SAID_BY_REST
            and self.connected_at
            and at > self.connected_at + self._mute_after // 5
        ):
            self.suspects[broker_id] = min(at, self.suspects.get(broker_id, at))
            due = max(now, self.suspects[broker_id] + self._mute_after)
            self._timers[UNHEARD] = min(due, self._timers.get(UNHEARD, due))


def _moment(suspect: tuple[str, int]) -> int:
    return suspect[1]
