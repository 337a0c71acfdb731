"""What an operator does to the market or to an account, and no client can: halts, moved prices, splits, resets.

Each is a message, is recorded as an input of the book at the moment at which it came, and is carried out in the same way
when the book is replayed. So a venue that was killed comes back with its halts, its moved prices and its splits.

Moved prices. From the next bar on, all prices of the symbol are scaled by one ratio, so that this bar opens at the price
that was named; the bar in progress ends as it was recorded. A split scales also the bar in progress, and prices and positions
at once, so that no account is worth more or less after it; open orders in the symbol are canceled, since their prices
and quantities mean something else now. Bars that have ended stay as they were.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Protocol

import msgspec
import numpy as np

from holdfast.model.decimals import Exact
from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset
from holdfast.model.series import BarSeries, Float64
from holdfast.venue.account import NANO
from holdfast.venue.accounts import EngineGroup, VenueAccount
from holdfast.venue.orders import Posting
from holdfast.venue.refusals import refuse_invalid, refuse_missing, refuse_unprocessable

_PRICE_MAX = 1e9
_SPLIT_MAX = 1000


class Halt(msgspec.Struct, frozen=True, tag="halt"):
    """Let a symbol trade nothing from now on."""

    symbol: str


class Resume(msgspec.Struct, frozen=True, tag="resume"):
    """Let a halted symbol trade again."""

    symbol: str


class MovePrice(msgspec.Struct, frozen=True, tag="move_price"):
    """Let the next bar of a symbol open at this price, and scale all that follow."""

    symbol: str
    price: float


class Split(msgspec.Struct, frozen=True, tag="split"):
    """Make ``new`` shares of ``old`` ones."""

    symbol: str
    old: int
    new: int


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Give a key pair a new account with this cash (USD) in place of its present one."""

    key: str
    cash: Decimal


Operation = Halt | Resume | MovePrice | Split | Reset


class Operated(Protocol):
    """What operations need of the exchange."""

    accounts: list[VenueAccount]
    group: EngineGroup
    series: dict[str, BarSeries]
    assets: dict[str, Asset]
    visible: dict[str, int]

    @property
    def now(self) -> int:
        """The venue's time (UTC ns)."""
        ...

    def symbol_of(self, name: str) -> str | None:
        """A symbol by any of its spellings."""
        ...

    def account_of(self, key: str) -> VenueAccount | None:
        """The account of a key."""
        ...

    def bars_begun(self, symbol: str) -> int:
        """How many bars of a symbol have begun."""
        ...

    def revise(self, series: BarSeries) -> None:
        """Let these bars take the place of a symbol's recorded ones; their times are the same."""
        ...

    def succeed(self, account: VenueAccount, cash: Decimal) -> VenueAccount:
        """Open a new account for the key pair of an old one."""
        ...


def carry_out(exchange: Operated, operation: Operation) -> None:
    """Do what an operator asks for, now.

    Raises:
        Refusal: It cannot be; nothing has changed.
    """
    match operation:
        case Halt(name):
            _halt(exchange, _symbol(exchange, name))
        case Resume(name):
            _resume(exchange, _symbol(exchange, name))
        case MovePrice(name, price):
            _move_price(exchange, _symbol(exchange, name), price)
        case Split(name, old, new):
            _split(exchange, _symbol(exchange, name), old, new)
        case Reset(key, cash):
            _reset(exchange, key, cash)


def _symbol(exchange: Operated, name: str) -> str:
    symbol = exchange.symbol_of(name)
    if symbol is None or symbol not in exchange.series:
        refuse_missing(f"symbol not found: {name}; this venue has {', '.join(sorted(exchange.series))}")
    return symbol


def _halt(exchange: Operated, symbol: str) -> None:
    if symbol in exchange.group.halted:
        refuse_unprocessable(f"{symbol} is halted already")
    exchange.group.halt(symbol, exchange.now)


def _resume(exchange: Operated, symbol: str) -> None:
    if symbol not in exchange.group.halted:
        refuse_unprocessable(f"{symbol} is not halted")
    exchange.group.resume(symbol, exchange.now)


def _move_price(exchange: Operated, symbol: str, price: float) -> None:
    if not 0 < price <= _PRICE_MAX:
        refuse_invalid(f"price must be above 0 and at most {_PRICE_MAX:g}, got {price}")
    series, first = exchange.series[symbol], exchange.bars_begun(symbol)
    if first >= len(series):
        refuse_unprocessable(f"no bar of {symbol} is still to begin")
    exchange.revise(scaled(series, first, price / float(series.open[first]), 1.0, exchange.assets[symbol]))


def _split(exchange: Operated, symbol: str, old: int, new: int) -> None:
    if exchange.assets[symbol].asset_class is not AssetClass.US_EQUITY:
        refuse_unprocessable(f"{symbol} is no equity: it cannot be split")
    if not (0 < old <= _SPLIT_MAX and 0 < new <= _SPLIT_MAX and old != new):
        refuse_invalid(
            f"a split makes `to` shares of `from`: two different numbers from 1 to {_SPLIT_MAX}, got {old} and {new}"
        )
    now, factor = exchange.now, old / new
    for account in exchange.accounts:
        engine = account.engine
        for order in engine.orders("open", symbols=[symbol], newest_first=False):
            engine.cancel(order.id, now)
        position = engine.position(symbol)
        if position is not None:
            with Exact():
                held = position.quantity
                change = (held * new / old).quantize(NANO, ROUND_DOWN) - held
            account.post(Posting("SPLIT", symbol, change, Decimal(0)), now)
    exchange.group.scale(symbol, factor)
    exchange.revise(
        scaled(exchange.series[symbol], exchange.visible[symbol], factor, new / old, exchange.assets[symbol])
    )


def _reset(exchange: Operated, key: str, cash: Decimal) -> None:
    account = exchange.account_of(key)
    if account is None:
        refuse_missing(f"account not found for {key}")
    if not cash.is_finite() or cash < 0:
        refuse_invalid(f"cash must be an amount of USD, got {cash}")
    for order in account.engine.orders("open", newest_first=False):
        account.engine.cancel(order.id, exchange.now)
    exchange.succeed(account, cash)


def scaled(series: BarSeries, first: int, factor: float, volume_factor: float, asset: Asset) -> BarSeries:
    """The bars with prices and volumes scaled from a row on, on the grid on which the asset trades."""
    prices = [column.copy() for column in (series.open, series.high, series.low, series.close)]
    for column in prices:
        column[first:] = _on_grid(column[first:] * factor, asset)
    volume = series.volume.copy()
    volume[first:] = np.round(volume[first:] * volume_factor, 9 if asset.asset_class is AssetClass.CRYPTO else 0)
    opens, highs, lows, closes = prices
    return BarSeries(series.symbol, series.period, series.ts, opens, highs, lows, closes, volume)


def _on_grid(prices: Float64, asset: Asset) -> Float64:
    if asset.asset_class is AssetClass.CRYPTO:
        return np.round(prices, 9)
    # Rounding keeps the order of prices, so that high and low stay around open and close.
    return np.maximum(np.where(prices >= 1, np.round(prices, 2), np.round(prices, 4)), 0.0001)
