"""The hours around a session: before the open, after the close, overnight, and which orders may be sent when.

Everything is measured from the session, so that early closes move it along: on an ordinary day of US equities the
hours before the open begin at 04:00 and those after the close end at 20:00 in New York. The night belongs to the session
that follows it, and begins at 20:00 on the evening before: on Sunday before a Monday, and on no evening before a holiday.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import count

import msgspec

from holdfast.model.enums import TimeInForce
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE
from holdfast.time import Sessions
from holdfast.time.sessions import Session
from holdfast.venue.matching.rules import Rule

_PRE_NS = 330 * NS_PER_MINUTE
_POST_NS = 240 * NS_PER_MINUTE
_OVERNIGHT_NS = 480 * NS_PER_MINUTE
_GTC_LIFE_NS = 90 * NS_PER_DAY
_GTC_AFTER_CLOSE_NS = 15 * NS_PER_MINUTE

# Auction orders are taken until so long before their auction, and again so long after the close.
_OPG_BEFORE_OPEN_NS = 2 * NS_PER_MINUTE
_CLS_BEFORE_CLOSE_NS = 10 * NS_PER_MINUTE
_AUCTIONS_AFTER_CLOSE_NS = 180 * NS_PER_MINUTE


class Phase(StrEnum):
    """What part of a trading day a moment is."""

    PRE = "pre"
    CORE = "core"
    POST = "post"
    OVERNIGHT = "overnight"
    CLOSED = "closed"


class Hours(msgspec.Struct, frozen=True, gc=False):
    """A moment's part of the day.

    Attributes:
        phase: Which part it is.
        session: The session that it belongs to; of the night and of a closed moment, the next one.
        since: From when on that is so, at the latest the moment itself ...
        until: ... and until when (UTC ns).
    """

    phase: Phase
    session: Session
    since: int
    until: int


def hours_at(sessions: Sessions, now: int) -> Hours:
    """What part of the trading day a moment is."""
    session = sessions.at(now)
    if session.open <= now:
        return Hours(Phase.CORE, session, session.open, session.close)
    pre = session.open - _PRE_NS
    earlier = sessions.at(now - _POST_NS)
    if earlier.close <= now:
        return Hours(Phase.POST, earlier, earlier.close, min(earlier.close + _POST_NS, session.open))
    if pre <= now:
        return Hours(Phase.PRE, session, now, session.open)
    night = pre - _OVERNIGHT_NS
    if night <= now:
        return Hours(Phase.OVERNIGHT, session, now, pre)
    return Hours(Phase.CLOSED, session, now, night)


def last_night(sessions: Sessions, now: int) -> tuple[int, int]:
    """When the last night began, which may still go on, and when it ends (UTC ns)."""
    # No session is shorter than an hour, so this passes over none.
    nights = (sessions.at(now - hours * NS_PER_HOUR).open - _PRE_NS for hours in count())
    end = next(end for end in nights if end - _OVERNIGHT_NS <= now)
    return end - _OVERNIGHT_NS, end


def day_expiry(sessions: Sessions, now: int, *, extended: bool) -> int:
    """When an order for the day ends: at the close, or with the hours after it."""
    return hours_at(sessions, now).session.close + _POST_NS if extended else sessions.at(now).close


def gtc_expiry(sessions: Sessions, now: int) -> tuple[int, int]:
    """When an order without an end is ended all the same: a quarter of an hour after the close, 90 days on.

    And until when (UTC ns) that is the answer, since asking so far ahead takes long.
    """
    close = sessions.at(now + _GTC_LIFE_NS).close
    return close + _GTC_AFTER_CLOSE_NS, close - _GTC_LIFE_NS


def window_rule(time_in_force: TimeInForce, sessions: Sessions, now: int) -> Rule | None:
    """The row that refuses an auction order at this moment; None if it may be sent."""
    session = sessions.at(now)
    earlier = sessions.at(now - _AUCTIONS_AFTER_CLOSE_NS)
    too_soon = earlier.close <= now
    if time_in_force is TimeInForce.OPG:
        return Rule.OPG_WINDOW if too_soon or now >= session.open - _OPG_BEFORE_OPEN_NS else None
    return Rule.CLS_WINDOW if too_soon or now >= session.close - _CLS_BEFORE_CLOSE_NS else None
