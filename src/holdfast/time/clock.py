"""What every clock can do: tell the time, wait for a moment, and say whether a market is open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from holdfast.model.enums import AssetClass
from holdfast.model.timestamps import to_datetime
from holdfast.time.sessions import SessionsFor, sessions_for


class Clock(ABC):
    """The time, in UTC. No clock ever goes back.

    Args:
        sessions: The market sessions by asset class. Default: the exchange's own hours for
            equities, the UTC day for crypto.
    """

    def __init__(self, *, sessions: SessionsFor = sessions_for) -> None:
        self._sessions = sessions

    @abstractmethod
    def now_ns(self) -> int:
        """The time, in ns since the epoch, UTC."""

    @abstractmethod
    async def wait_until(self, ns: int) -> None:
        """Return as soon as ``now_ns() >= ns``; at once where that is so already. May be cancelled."""

    @property
    @abstractmethod
    def rate(self) -> float:
        """Seconds of this clock per second of real time; infinite where somebody advances it by hand."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime, to the microsecond below."""
        return to_datetime(self.now_ns())

    def is_market_hours(self, asset_class: AssetClass = AssetClass.US_EQUITY) -> bool:
        """True while the market's regular session is open; always True for crypto."""
        return self._sessions(asset_class).is_open(self.now_ns())

    def next_open(self, asset_class: AssetClass = AssetClass.US_EQUITY) -> datetime:
        """When the next session opens (UTC): while one is open, that is the one after it."""
        now, sessions = self.now_ns(), self._sessions(asset_class)
        session = sessions.at(now)
        if session.open <= now:
            session = sessions.at(session.close)
        return to_datetime(session.open)

    def next_close(self, asset_class: AssetClass = AssetClass.US_EQUITY) -> datetime:
        """When the open session closes (UTC), or else the next one to open."""
        return to_datetime(self._sessions(asset_class).at(self.now_ns()).close)
