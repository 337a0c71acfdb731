"""What an operator does to the market or to an account, and no client can: halts, moved prices, splits, dividends, resets.

Each is a message, is recorded as an input of the book at the moment at which it came, and is carried out in the same way
when the book is replayed. So a venue that was killed comes back with its halts, its moved prices and its splits.

Moved prices. From the next bar on, all prices of the symbol are scaled by one ratio, so that this bar opens at the price
that was named; the bar in progress ends as it was recorded. A split scales also the bar in progress, and prices and positions
at once, so that no account is worth more or less after it; open orders in the symbol are canceled, since their prices
and quantities mean something else now. Bars that have ended stay as they were.

Reports. The trades of bars that have ended may be joined by a late one, corrected or cancelled, as an exchange does minutes after
the fact. Nothing trades by it: what was filled stays filled. The bar is the sum of its trades, and is revised.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Protocol

import msgspec

from holdfast.model.decimals import Exact
from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset
from holdfast.model.series import BarSeries
from holdfast.model.timestamps import format_rfc3339
from holdfast.venue.accounts import EngineGroup, VenueAccount
from holdfast.venue.market.amended_ticks import AmendedTicks, Amendment, revised
from holdfast.venue.market.corporate_actions import CorporateAction
from holdfast.venue.market.scaling import scaled
from holdfast.venue.market.ticks import SymbolTicks, TradeTick
from holdfast.venue.matching.account import NANO
from holdfast.venue.matching.orders import Posting
from holdfast.venue.matching.refusals import refuse_invalid, refuse_missing, refuse_unprocessable

_PRICE_MAX = 1e9
_SPLIT_MAX = 1000
_CENT = Decimal("0.01")


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


class Borrow(msgspec.Struct, frozen=True, tag="borrow"):
    """Let a stock be hard to borrow, or easy again: nobody sells it short while it is hard."""

    symbol: str
    is_hard: bool


class Dividend(msgspec.Struct, frozen=True, tag="dividend"):
    """Pay this much (USD) for each share; who is short of some pays it."""

    symbol: str
    rate: Decimal


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Give a key pair a new account with this cash (USD) in place of its present one."""

    key: str
    cash: Decimal


class LateTrade(msgspec.Struct, frozen=True, tag="late_trade"):
    """Report a trade in a bar that has ended: at a moment (UTC ns), or at the end of the last bar."""

    symbol: str
    price: float
    size: float
    at: int | None = None


class CorrectTrade(msgspec.Struct, frozen=True, tag="correct_trade"):
    """Let a trade of a bar that has ended have another price and size."""

    symbol: str
    trade_id: int
    price: float
    size: float


class CancelTrade(msgspec.Struct, frozen=True, tag="cancel_trade"):
    """Let a trade of a bar that has ended count no more; ``action`` is ``C``, or ``E`` where it was an error."""

    symbol: str
    trade_id: int
    action: str


Operation = Halt | Resume | MovePrice | Split | Borrow | Dividend | Reset | LateTrade | CorrectTrade | CancelTrade


class Operated(Protocol):
    """What operations need of the exchange."""

    group: EngineGroup
    series: dict[str, BarSeries]
    assets: dict[str, Asset]
    visible: dict[str, int]
    ticks: dict[str, SymbolTicks]
    actions: list[CorporateAction]

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

    def present_accounts(self) -> list[VenueAccount]:
        """The accounts that have keys: all but those that were reset."""
        ...

    def bars_begun(self, symbol: str) -> int:
        """How many bars of a symbol have begun."""
        ...

    def revise(self, series: BarSeries) -> None:
        """Let these bars take the place of a symbol's recorded ones; their times are the same."""
        ...

    def amend(self, series: BarSeries, ticks: SymbolTicks) -> None:
        """Let these bars and ticks take the place of a symbol's; only those of bars that have ended differ."""
        ...

    def succeed(self, account: VenueAccount, cash: Decimal) -> VenueAccount:
        """Open a new account for the key pair of an old one."""
        ...


def carry_out(exchange: Operated, operation: Operation) -> Amendment | None:
    """Do what an operator asks for, now. Gives what it has changed of the past, if it has.

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
        case Borrow(name, is_hard):
            _restrict_borrowing(exchange, _symbol(exchange, name), is_hard=is_hard)
        case Dividend(name, rate):
            _pay_dividend(exchange, _symbol(exchange, name), rate)
        case Reset(key, cash):
            _reset(exchange, key, cash)
        case LateTrade() | CorrectTrade() | CancelTrade():
            return _report(exchange, operation)
    return None


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
    for account in exchange.present_accounts():
        engine = account.engine
        for order in engine.orders("open", symbols=[symbol], newest_first=False):
            engine.cancel(order.id, now)
        position = engine.position(symbol)
        if position is not None:
            with Exact():
                held = position.quantity
                change = (held * new / old).quantize(NANO, ROUND_DOWN) - held
            account.post(Posting("SPLIT", symbol, change, Decimal(0)), now)
    exchange.actions.append(CorporateAction(len(exchange.actions), symbol, now, old, new))
    exchange.group.scale(symbol, factor)
    exchange.revise(
        scaled(exchange.series[symbol], exchange.visible[symbol], factor, new / old, exchange.assets[symbol])
    )


def _restrict_borrowing(exchange: Operated, symbol: str, *, is_hard: bool) -> None:
    if not exchange.assets[symbol].shortable:
        refuse_unprocessable(f"{symbol} cannot be sold short anyway")
    if (symbol in exchange.group.hard_to_borrow) is is_hard:
        refuse_unprocessable(f"{symbol} is {'hard' if is_hard else 'easy'} to borrow already")
    exchange.group.restrict_borrowing(symbol, exchange.now, is_hard=is_hard)


def _pay_dividend(exchange: Operated, symbol: str, rate: Decimal) -> None:
    if exchange.assets[symbol].asset_class is not AssetClass.US_EQUITY:
        refuse_unprocessable(f"{symbol} is no equity: it pays no dividend")
    if not 0 < rate <= _PRICE_MAX:
        refuse_invalid(f"rate must be above 0 and at most {_PRICE_MAX:g}, got {rate}")
    for account in exchange.present_accounts():
        position = account.engine.position(symbol)
        if position is not None:
            with Exact():
                cash = (position.quantity * rate).quantize(_CENT, ROUND_HALF_UP)
            account.post(Posting("DIV", symbol, Decimal(0), cash), exchange.now)
    exchange.actions.append(CorporateAction(len(exchange.actions), symbol, exchange.now, rate=rate))


def _reset(exchange: Operated, key: str, cash: Decimal) -> None:
    account = exchange.account_of(key)
    if account is None:
        refuse_missing(f"account not found for {key}")
    if not cash.is_finite() or cash < 0:
        refuse_invalid(f"cash must be an amount of USD, got {cash}")
    for order in account.engine.orders("open", newest_first=False):
        account.engine.cancel(order.id, exchange.now)
    exchange.succeed(account, cash)


# --- Reports ---------------------------------------------------------------------------------------------------


def _report(exchange: Operated, report: LateTrade | CorrectTrade | CancelTrade) -> Amendment:
    match report:
        case LateTrade(name, price, size, at):
            return _late_trade(exchange, _symbol(exchange, name), price, size, at)
        case CorrectTrade(name, trade_id, price, size):
            _check_trade(price, size)
            return _replace_trade(exchange, _reported(exchange, name), trade_id, price=price, size=size)
        case CancelTrade(name, trade_id, action):
            if action not in ("C", "E"):
                refuse_invalid(f"action must be C (cancel) or E (error), got {action[:40]!r}")
            return _replace_trade(exchange, _reported(exchange, name), trade_id, action=action)


def _late_trade(exchange: Operated, symbol: str, price: float, size: float, at: int | None) -> Amendment:
    _check_trade(price, size)
    series, ended = exchange.series[symbol], exchange.visible[symbol]
    if at is None and ended:
        at = series.ts.item(ended - 1) - 1
    row = _ended_row(exchange, symbol, at)
    ticks = _amendable(exchange, symbol)
    sample = next(ticks.trades(0, exchange.now), None)
    trade = TradeTick(at or 0, ticks.next_id(0 if sample is None else sample.id), price, size, "B")
    return _amend(exchange, symbol, row, None, trade)


def _replace_trade(
    exchange: Operated, symbol: str, trade_id: int, *, price: float = 0.0, size: float = 0.0, action: str = ""
) -> Amendment:
    """Put another trade in the place of one, or none."""
    ticks = _amendable(exchange, symbol)
    before = next((trade for trade in ticks.trades(0, exchange.now, newest_first=True) if trade.id == trade_id), None)
    if before is None:
        refuse_missing(f"trade not found: {symbol} has had none with the id {trade_id}")
    row = _ended_row(exchange, symbol, before.ts)
    after = None if action else TradeTick(before.ts, ticks.next_id(before.id), price, size, before.taker)
    return _amend(exchange, symbol, row, before, after, action)


def _amend(
    exchange: Operated, symbol: str, row: int, before: TradeTick | None, after: TradeTick | None, action: str = ""
) -> Amendment:
    series = exchange.series[symbol]
    old = _amendable(exchange, symbol)
    new = old.amended(row, before, after)
    bars = revised(series, row, new.of_bar(row))
    is_revised = _shown(series, old, row) != _shown(bars, new, row)
    exchange.amend(bars, new)
    return Amendment(symbol, row, before, after, action, is_revised)


def _shown(series: BarSeries, ticks: SymbolTicks, row: int) -> tuple[object, ...]:
    """What a bar says."""
    counts, values = ticks.sums(row, row + 1)
    return next(series.slice(row, row + 1).bars()), counts.tolist(), values.tolist()


def _amendable(exchange: Operated, symbol: str) -> AmendedTicks:
    ticks = exchange.ticks.get(symbol)
    if ticks is None:
        refuse_unprocessable(
            "this venue has bars and no trades: start it with a speed that is a number, and with ticks"
        )
    return ticks if isinstance(ticks, AmendedTicks) else AmendedTicks(ticks, exchange.series[symbol])


def _reported(exchange: Operated, name: str) -> str:
    """A symbol whose trades are corrected and cancelled."""
    symbol = _symbol(exchange, name)
    if exchange.assets[symbol].asset_class is not AssetClass.US_EQUITY:
        refuse_unprocessable(f"{symbol} is no equity: its trades are neither corrected nor cancelled")
    return symbol


def _check_trade(price: float, size: float) -> None:
    for name, value in (("price", price), ("size", size)):
        if not 0 < value <= _PRICE_MAX:
            refuse_invalid(f"{name} must be above 0 and at most {_PRICE_MAX:g}, got {value}")


def _ended_row(exchange: Operated, symbol: str, at: int | None) -> int:
    """The bar that a moment lies in, which has ended."""
    series, ended = exchange.series[symbol], exchange.visible[symbol]
    row = ended if at is None else int(series.ts.searchsorted(at, side="right"))
    if row >= ended or at is None or at < series.ts.item(row) - series.period:
        when = "now" if at is None else format_rfc3339(at)
        refuse_unprocessable(f"no bar of {symbol} that has ended holds {when}: only those are amended")
    return row
