"""What an operator did to a stock for all who hold it: splits and cash dividends, as market data lists them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from holdfast.model.timestamps import to_datetime
from holdfast.venue.wire.words import NEW_YORK, Json, derived_id

__all__ = ["CorporateAction"]


class CorporateAction(msgspec.Struct, frozen=True):
    """A split of ``old`` shares into ``new`` ones, or a dividend of ``rate`` USD a share. It is processed on the day it came.

    Attributes:
        number: Which one of this venue's it is.
        at: When it came (UTC ns).
    """

    number: int
    symbol: str
    at: int
    old: int = 0
    new: int = 0
    rate: Decimal = Decimal(0)

    @property
    def id(self) -> str:
        """Its UUID."""
        return derived_id("corporate action", f"{self.symbol}:{self.at}:{self.number}")

    @property
    def kind(self) -> str:
        """Its type, in Alpaca's words."""
        if self.rate:
            return "cash_dividend"
        return "forward_split" if self.new > self.old else "reverse_split"

    @property
    def date(self) -> str:
        """Its day in New York."""
        return to_datetime(self.at).astimezone(NEW_YORK).date().isoformat()

    def body(self) -> Json:
        """As market data shows it. This venue knows no CUSIPs: they are empty."""
        day = self.date
        dates = {"ex_date": day, "process_date": day, "record_date": day, "payable_date": day}
        body: Json = {"id": self.id, "symbol": self.symbol, **dates}
        if self.rate:
            return {**body, "cusip": "", "rate": float(self.rate), "special": False, "foreign": False}
        rates = {"old_rate": self.old, "new_rate": self.new}
        if self.new > self.old:
            return {**body, "cusip": "", **rates}
        return {**body, "old_cusip": "", "new_cusip": "", **rates}
