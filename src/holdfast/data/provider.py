"""What a source of market data of the past looks like to everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from holdfast.model.market import Bar, Quote, Trade

if TYPE_CHECKING:  # a bot has a provider at hand, and most never ask it: NumPy is loaded with what it gives
    from holdfast.data.actions import Action
    from holdfast.data.tables import BarTable


class DataProvider(Protocol):
    """Gives bars, trades, quotes and corporate actions of the past."""

    def source(self, symbol: str) -> str:
        """Whose data of a symbol these are, in one word: it is noted beside all that is stored."""

    async def get_bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[Bar]:
        """The complete bars that begin at or after ``start`` and end at or before ``end``.

        Args:
            symbol: The symbol, as Alpaca writes it (``SPY``, ``BTC/USD``).
            timeframe: The length of a bar, as Alpaca writes it (``1Min``, ``1Hour``, ``1Day``).
            start: Aware.
            end: Aware.

        Returns:
            Bars, oldest first; ``Bar.ts`` is the END of the bar (UTC ns). No bars is an empty list.
        """

    def bar_pages(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> AsyncIterator[BarTable]:
        """The same bars page by page as they come, as the vendor gives them: not judged, not sorted."""

    def trade_pages(self, symbol: str, start: datetime, end: datetime) -> AsyncIterator[Sequence[Trade]]:
        """The trades in ``[start, end)``, page by page."""

    def quote_pages(self, symbol: str, start: datetime, end: datetime) -> AsyncIterator[Sequence[Quote]]:
        """The quotes in ``[start, end)``, page by page."""

    async def get_actions(self, symbol: str, start: date, end: date) -> list[Action]:
        """Splits and cash dividends whose ex-date lies in ``[start, end]``, oldest first."""

    async def aclose(self) -> None:
        """Close the connections."""
