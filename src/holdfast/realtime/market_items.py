"""What the market-data socket sends beside bars and quotes: trades, and what is taken back or changed of them.

    T   what it is                                     told to
    b   a bar, as it ended                             on_bar
    u   a bar again, changed by a late trade           on_revised; never on_bar: a decision that was made stays made
    t   a trade                                        on_trade
    c   a trade, corrected                             on_correction(symbol, exchange, id, trade as it is now)
    x   a trade, cancelled                             on_cancel(symbol, exchange, id)

The arguments of the last two are those of ``holdfast.data.TradeBars.correct`` and ``cancel``, which builds bars from them.
All of them are counted, whoever listens.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import msgspec

from holdfast.brokers.alpaca_wire import UNREADABLE, malformed
from holdfast.model.market import Bar, Trade
from holdfast.model.timestamps import parse_rfc3339

Item = Mapping[str, Any]


class TapeStats(msgspec.Struct):
    """What came, in numbers; bars are delivered whatever they are counted as.

    Attributes:
        bars: Bars, as they ended.
        gaps: Bars before which at least one period is missing; a minute without a trade is one, too.
        out_of_order: Bars that are older than the symbol's last one.
        repeated: Bars of the period of the symbol's last one.
        revisions: Bars that a late trade changed.
        trades: Trades.
        corrections: Trades that were corrected.
        cancels: Trades that were cancelled.
        unheard_of: Items of a type that we do not know.
    """

    bars: int = 0
    gaps: int = 0
    out_of_order: int = 0
    repeated: int = 0
    revisions: int = 0
    trades: int = 0
    corrections: int = 0
    cancels: int = 0
    unheard_of: int = 0

    def count_bar(self, bar: Bar, last: int, period: int) -> None:
        """One bar; ``last`` is the end of the symbol's bar before it, 0 where there is none."""
        self.bars += 1
        if not last:
            return
        if bar.ts < last:
            self.out_of_order += 1
        elif bar.ts == last:
            self.repeated += 1
        elif bar.ts > last + period:
            self.gaps += 1


def trade(item: Item, symbol: str) -> Trade:
    """A trade.

    Raises:
        MalformedMessageError: Its time, price or size cannot be read.
    """
    try:
        return _trade(item, symbol, "i", "p", "s", "c")
    except UNREADABLE as error:
        raise malformed(error, f"a trade of {symbol}", item) from None


def correction(item: Item, symbol: str) -> tuple[str, str, str, Trade]:
    """Symbol, exchange and id of a trade, and what it is now.

    Raises:
        MalformedMessageError: It does not name the trade, or what it is now cannot be read.
    """
    try:
        now = _trade(item, symbol, "ci", "cp", "cs", "cc")
        return symbol, str(item.get("x", "")), str(item["oi"]), now
    except UNREADABLE as error:
        raise malformed(error, f"a correction of {symbol}", item) from None


def cancel(item: Item, symbol: str) -> tuple[str, str, str]:
    """Symbol, exchange and id of a trade that counts no more.

    Raises:
        MalformedMessageError: It does not name the trade.
    """
    try:
        return symbol, str(item.get("x", "")), str(item["i"])
    except UNREADABLE as error:
        raise malformed(error, f"a cancel of {symbol}", item) from None


def _trade(item: Item, symbol: str, identity: str, price: str, size: str, conditions: str) -> Trade:
    at, amount = float(item[price]), float(item[size])
    # NaN fails every comparison, so this refuses it too.
    if not (0.0 < at < inf and 0.0 <= amount < inf):
        message = f"price {at}, size {amount} cannot be a trade's"
        raise ValueError(message)
    marks = "".join(str(mark).strip() or "@" for mark in item.get(conditions) or ())
    return Trade(
        parse_rfc3339(item["t"]),
        symbol,
        at,
        amount,
        str(item.get(identity, "")),
        marks or str(item.get("tks", "")),
        str(item.get("x", "")),
        str(item.get("z", "")),
    )
