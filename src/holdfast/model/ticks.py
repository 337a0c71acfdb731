"""Recorded quotes and trades as columns: the form in which files are read and a venue replays them."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.model.series import Float64, Int64


class QuoteColumns(NamedTuple):
    """The best bids and asks of one symbol from each moment (UTC ns) on, in order of time."""

    ts: Int64
    bid: Float64
    bid_size: Float64
    ask: Float64
    ask_size: Float64


class TradeColumns(NamedTuple):
    """The trades of one symbol, in order of time (UTC ns)."""

    ts: Int64
    price: Float64
    size: Float64


class RecordedTicks(NamedTuple):
    """What is recorded of one symbol; None is made of its bars."""

    quotes: QuoteColumns | None = None
    trades: TradeColumns | None = None
