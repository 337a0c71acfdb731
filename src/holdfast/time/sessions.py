"""When a market trades: sessions as pairs of UTC nanoseconds, found by bisection.

A session is half-open: it trades at its open and no longer at its close. A bar that *ends*
at the close belongs to the session all the same, so whoever holds a bar asks for
``sessions.at(bar.ts - 1)``.

An exchange's calendar (``holdfast.time.calendars``) is read at the first question about it and
turned once into plain lists of integers: from then on a question about the session that was asked
for last costs a comparison, and any other one a bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from typing import Final, Protocol

import msgspec

from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.timestamps import NS_PER_DAY, format_rfc3339
from holdfast.time.calendars import CalendarReader, read_calendar


class Session(msgspec.Struct, frozen=True, gc=False):
    """One trading session, ``[open, close)``, in UTC ns."""

    open: int
    close: int


class Sessions(Protocol):
    """The sessions of one market, in order and without overlap."""

    def at(self, ns: int) -> Session:
        """The session that contains a moment (``open <= ns < close``), or else the next one to open.

        Raises:
            DataError: The moment lies beyond what is known of the market.
        """
        ...

    def is_open(self, ns: int) -> bool:
        """True where a session contains the moment."""
        ...


SessionsFor = Callable[[AssetClass], Sessions]


class FixedSessions:
    """A session on every UTC day, weekends too, at the same UTC times: for tests, benchmarks and synthetic markets.

    Args:
        open_ns_of_day: The open, in ns after midnight UTC.
        close_ns_of_day: The close, likewise; at most a whole day.

    Raises:
        ConfigurationError: The times are not ``0 <= open < close <= one day``.
    """

    __slots__ = ("_close", "_open", "_session")

    def __init__(self, open_ns_of_day: int, close_ns_of_day: int) -> None:
        if not 0 <= open_ns_of_day < close_ns_of_day <= NS_PER_DAY:
            message = (
                f"a daily session from {open_ns_of_day} to {close_ns_of_day} ns of the day makes no sense; "
                f"expected 0 <= open < close <= {NS_PER_DAY}"
            )
            raise ConfigurationError(message)
        self._open, self._close = open_ns_of_day, close_ns_of_day
        self._session = Session(open_ns_of_day, close_ns_of_day)

    def at(self, ns: int) -> Session:
        """The session that contains a moment, or else the next one to open."""
        session = self._session
        if not session.open <= ns < session.close:
            # The first day whose close lies after the moment.
            midnight = ((ns - self._close) // NS_PER_DAY + 1) * NS_PER_DAY
            self._session = session = Session(midnight + self._open, midnight + self._close)
        return session

    def is_open(self, ns: int) -> bool:
        """True where a session contains the moment."""
        return self.at(ns).open <= ns


class UtcDaySessions(FixedSessions):
    """Crypto: always open. The UTC day is the session, for daily limits and session VWAP."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0, NS_PER_DAY)


class ExchangeSessions:
    """The regular sessions of an exchange, early closes included. A lunch break counts as open.

    Args:
        name: The exchange's name in exchange_calendars, e.g. ``XNYS`` (the NYSE, whose hours all US equities keep).
        read: Whom its calendar is asked of.

    Attributes:
        read: The same. A shell that keeps calendars may put its own reader here before the first question.
    """

    __slots__ = ("_closes", "_current", "_opens", "_start", "name", "read")

    def __init__(self, name: str = "XNYS", read: CalendarReader = read_calendar) -> None:
        self.name = name
        self.read = read
        self._opens: list[int] = []
        self._closes: list[int] = []
        self._start = 0
        # The last answer, and since when it is the answer: one tuple, so that threads see both or neither.
        self._current = (0, Session(0, 0))

    def load(self) -> None:
        """Read the calendar now (about a second where nobody has kept it, once) rather than at the first question.

        For whoever must not be kept waiting later, such as a runner before its event loop turns.

        Raises:
            ConfigurationError: There is no exchange of this name.
        """
        if not self._closes:
            calendar = self.read(self.name)
            self._start, self._opens, self._closes = calendar.start, calendar.opens, calendar.closes

    def at(self, ns: int) -> Session:
        """The session that contains a moment, or else the next one to open.

        Raises:
            DataError: The moment lies before or after the calendar.
            ConfigurationError: There is no exchange of this name.
        """
        since, session = self._current
        if since <= ns < session.close:
            return session
        return self._find(ns)

    def is_open(self, ns: int) -> bool:
        """True where a session contains the moment. Raises as ``at``."""
        return self.at(ns).open <= ns

    def _find(self, ns: int) -> Session:
        self.load()
        closes = self._closes
        index = bisect_right(closes, ns)
        if ns < self._start or index == len(closes):
            message = (
                f"the calendar of {self.name} reaches from {format_rfc3339(self._start)} "
                f"to {format_rfc3339(closes[-1])}; {format_rfc3339(ns)} lies outside"
            )
            raise DataError(message)
        session = Session(self._opens[index], closes[index])
        self._current = (closes[index - 1] if index else self._start, session)
        return session


#: The hours of all US equities: one object, shared by all who ask ``sessions_for``.
NYSE: Final = ExchangeSessions("XNYS")


@cache
def sessions_for(asset_class: AssetClass) -> Sessions:
    """The sessions of an asset class: NYSE hours for equities, the UTC day for crypto. One object for each, shared."""
    return UtcDaySessions() if asset_class is AssetClass.CRYPTO else NYSE
