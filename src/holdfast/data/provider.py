"""What a source of historical bars looks like to everybody else."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from holdfast.model.market import Bar


class DataProvider(Protocol):
    """Gives complete bars of the past."""

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
