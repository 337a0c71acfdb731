"""Crypto fees in the account's books: taken at the trade, and told as rows of activities when the day ends.

The engine takes a buy's fee from the coin and a sale's from the cash at once, so the rows change nothing any more. They say
what was taken: one ``CFEE`` a coin, one ``FEE`` for the cash.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from holdfast.venue.matching.engine import EngineSettings
from holdfast.venue.matching.orders import ZERO, Posting, VenueExecution

#: Alpaca's tiers: maker and taker basis points of the first, the second, ...
_BPS: Final = ((15, 25), (12, 22), (10, 20), (8, 18), (5, 15), (2, 13), (2, 12), (0, 10))
_TIERS: Final = tuple((Decimal(maker), Decimal(taker)) for maker, taker in _BPS)


def crypto_tier(settings: EngineSettings) -> int:
    """The tier whose fees this venue charges; the first where it charges fees of its own."""
    charged = (settings.maker_bps, settings.taker_bps)
    return _TIERS.index(charged) + 1 if charged in _TIERS else 1


class Fees:
    """What one account has paid since the rows of the last day."""

    def __init__(self) -> None:
        self._coins: dict[str, Decimal] = {}
        self._cash = ZERO
        self._since = 0

    def count(self, execution: VenueExecution, *, busted: bool) -> None:
        """A trade was made, or taken back; one of a day that has its rows already leaves them as they are."""
        if execution.at <= self._since:
            return
        sign = -1 if busted else 1
        self._cash += sign * execution.fee_cash
        if execution.fee_coin:
            self._coins[execution.symbol] = self._coins.get(execution.symbol, ZERO) + sign * execution.fee_coin

    def accrued(self, prices: Mapping[str, float]) -> Decimal:
        """What has no rows yet, in USD at these prices."""
        coins = (fee * Decimal(repr(prices[symbol])) for symbol, fee in self._coins.items())
        return sum(coins, self._cash)

    def close_day(self, at: int, prices: Mapping[str, float]) -> list[Posting]:
        """The day has ended (UTC ns): its rows, coins by name."""
        rows = [
            Posting("CFEE", symbol, -fee, ZERO, Decimal(repr(prices[symbol])))
            for symbol, fee in sorted(self._coins.items())
            if fee
        ]
        if self._cash:
            rows.append(Posting("FEE", "", ZERO, -self._cash))
        self._coins, self._cash, self._since = {}, ZERO, at
        return rows
