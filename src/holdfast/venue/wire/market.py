"""Market data on the wire. ``time`` writes a moment: RFC 3339 in JSON, a datetime in MessagePack."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset
from holdfast.model.timestamps import format_rfc3339, to_datetime
from holdfast.venue.market.ticks import QuoteTick, TradeTick
from holdfast.venue.market_view import DataBar, OrderBook
from holdfast.venue.wire.words import Json

Time = Callable[[int], str | datetime]

#: How JSON writes a moment.
json_time: Final[Time] = format_rfc3339
#: What MessagePack writes as its own timestamp.
msgpack_time: Final[Time] = to_datetime

_EXCHANGE: Final = "V"  # IEX
_TRADE_CONDITIONS: Final = ["@"]
_QUOTE_CONDITIONS: Final = ["R"]
_BAND: Final = 0.05
#: By tape (C is Nasdaq's, A stands for both others) and whether trading stops: code, message, reason, its message.
_STATUSES: Final = {
    ("C", True): ("H", "Trading Halt", "T1", "Halt News Pending"),
    ("C", False): ("T", "Trading Resumption", "T3", "News and Resumption Times"),
    ("A", True): ("2", "Trading Halt", "P", "News Pending"),
    ("A", False): ("3", "Resume", "D", "News Released (formerly News Dissemination)"),
}
_TAPES: Final = {"NYSE": "A", "NASDAQ": "C"}


def tape(asset: Asset) -> str:
    """The tape of a stock: A for NYSE, C for Nasdaq, B for all others."""
    return _TAPES.get(asset.exchange, "B")


def bar_body(bar: DataBar, time: Time) -> Json:
    """A bar of market data: ``t`` is its start."""
    return {
        "t": time(bar.start),
        "o": bar.open,
        "h": bar.high,
        "l": bar.low,
        "c": bar.close,
        "v": _size(bar.volume),
        "n": bar.count,
        "vw": bar.vwap,
    }


def quote_body(quote: QuoteTick, asset: Asset, time: Time) -> Json:
    """A quote; stocks have exchanges, conditions and a tape, coins have not."""
    if asset.asset_class is AssetClass.CRYPTO:
        return {
            "t": time(quote.ts),
            "bp": quote.bid,
            "bs": quote.bid_size,
            "ap": quote.ask,
            "as": quote.ask_size,
        }
    return {
        "t": time(quote.ts),
        "bx": _EXCHANGE,
        "bp": quote.bid,
        "bs": _size(quote.bid_size),
        "ax": _EXCHANGE,
        "ap": quote.ask,
        "as": _size(quote.ask_size),
        "c": _QUOTE_CONDITIONS,
        "z": tape(asset),
    }


def trade_body(trade: TradeTick, asset: Asset, time: Time) -> Json:
    """A trade; a coin's names the side that took."""
    if asset.asset_class is AssetClass.CRYPTO:
        return {"t": time(trade.ts), "p": trade.price, "s": trade.size, "i": trade.id, "tks": trade.taker}
    return {
        "t": time(trade.ts),
        "x": _EXCHANGE,
        "p": trade.price,
        "s": _size(trade.size),
        "c": _TRADE_CONDITIONS,
        "i": trade.id,
        "z": tape(asset),
    }


def correction_body(before: TradeTick, after: TradeTick, asset: Asset, time: Time) -> Json:
    """A correction of a trade. Its time is the trade's, so that whoever adds trades up knows the bar."""
    was, now = trade_body(before, asset, time), trade_body(after, asset, time)
    names = ("i", "p", "s", "c")
    return {
        "x": was["x"],
        **{f"o{name}": was[name] for name in names},
        **{f"c{name}": now[name] for name in names},
        "t": was["t"],
        "z": was["z"],
    }


def cancel_body(trade: TradeTick, asset: Asset, action: str, time: Time) -> Json:
    """A cancel of a trade, with the trade's time."""
    was = trade_body(trade, asset, time)
    return {**{name: was[name] for name in ("i", "x", "p", "s")}, "a": action, "t": was["t"], "z": was["z"]}


def order_book_body(book: OrderBook, time: Time) -> Json:
    """A whole order book, the best levels first."""
    return {"t": time(book.ts), "b": levels(book.bids), "a": levels(book.asks)}


def book_changes_body(before: OrderBook, book: OrderBook, time: Time) -> Json:
    """The levels that are new or of another size; those that are gone have the size 0."""

    def changes(old: dict[float, float], new: dict[float, float]) -> list[Json]:
        gone = dict.fromkeys((price for price in old if price not in new), 0.0)
        return levels(gone | {price: size for price, size in new.items() if old.get(price) != size})

    return {"t": time(book.ts), "b": changes(before.bids, book.bids), "a": changes(before.asks, book.asks)}


def bands_body(bar: DataBar, period: int, asset: Asset, time: Time) -> Json:
    """The limit-up and limit-down prices that follow a bar: 5 % around its close, as for the large stocks."""
    return {
        "u": round(bar.close * (1 + _BAND), 2),
        "d": round(bar.close * (1 - _BAND), 2),
        "i": "B",
        "t": time(bar.start + period),
        "z": tape(asset),
    }


def status_body(asset: Asset, at: int, time: Time, *, is_halted: bool) -> Json:
    """A trading status, in the words of the stock's tape."""
    letter = tape(asset)
    code, message, reason, why = _STATUSES["C" if letter == "C" else "A", is_halted]
    return {"sc": code, "sm": message, "rc": reason, "rm": why, "t": time(at), "z": letter}


def levels(side: dict[float, float]) -> list[Json]:
    """Levels of one side of an order book."""
    return [{"p": price, "s": size} for price, size in side.items()]


def _size(size: float) -> float:
    """Whole shares are written as whole numbers."""
    return int(size) if size.is_integer() else size
