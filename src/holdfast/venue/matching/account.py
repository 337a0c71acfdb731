"""The money side of a book: cash, positions, and the arithmetic of a Reg-T margin account.

    equity          = cash + long value + short value            (short value is negative)
    initial margin  = sum of |value| x rate                      (one half if marginable, else 1; crypto: 1)
    excess          = equity - initial margin - what open orders reserve
    Reg-T power     = max(excess, 0) x 2
    non-marginable  = max(min(cash + short value - reserved cash, excess), 0)      what crypto is bought with

The buying power depends on the multiplier. 1: all rates are 1, and it is the free cash. 2: it is the Reg-T power. 4: it is
what the last close left, (equity then - maintenance margin then) x 4, less what is held more than then and what open orders
reserve; crypto and whatever else is not marginable is bought with cash in any case. Amounts are exact Decimals in
USD (the engine sees to the context); nothing is rounded but average prices. A position is marked at the last trade of its symbol.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from holdfast.model.enums import AssetClass, OrderSide
from holdfast.model.errors import invariant
from holdfast.venue.matching.configuration import Configuration, configuration_of
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import ZERO

NANO = Decimal("0.000000001")

_BUY = OrderSide.BUY
_SHORTING_EQUITY_MIN = Decimal(2000)
_THIRTY_PERCENT = Decimal("0.3")
_LONG_FULL_MARGIN_BELOW = Decimal("2.5")
_SHORT_LOW_PRICE_BELOW = Decimal(5)

_ONE, _HALF = Decimal(1), Decimal("0.5")
_FOUR = 4
#: Beyond so many times the equity an account may only close what it holds.
_EXPOSURE_MAX = Decimal(6)
#: Initial margin of what is marginable, by the account's multiplier.
_RATES = {1: _ONE, 2: _HALF, 4: _HALF}

# An estimate in floats may be wrong by this share of all that it summed; it decides only beyond that.
_ESTIMATE_ERROR = 1e-9


class AccountView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The account at a moment, in USD.

    ``short_market_value`` is negative or zero; ``sma``, the special memorandum account, is the excess at the last close.
    """

    cash: Decimal
    equity: Decimal
    last_equity: Decimal
    buying_power: Decimal
    regt_buying_power: Decimal
    non_marginable_buying_power: Decimal
    long_market_value: Decimal
    short_market_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    last_maintenance_margin: Decimal
    sma: Decimal
    multiplier: int
    shorting_enabled: bool
    is_suspended: bool


class PositionView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One position at a moment.

    Attributes:
        quantity: Signed; negative when short.
        quantity_available: What no open order holds, as a magnitude.
        avg_entry_price: Average price of what is held (nine decimals).
        lastday_price: The mark when the last session closed; the entry price where there was none.
        market_value: Signed like the quantity.
        cost_basis: Signed like the quantity.
    """

    symbol: str
    asset_class: AssetClass
    quantity: Decimal
    quantity_available: Decimal
    avg_entry_price: Decimal
    current_price: Decimal
    lastday_price: Decimal
    market_value: Decimal
    cost_basis: Decimal

    @property
    def unrealized_pl(self) -> Decimal:
        """Profit if closed at the current price, before fees."""
        return self.market_value - self.cost_basis


class Position(msgspec.Struct, eq=False, gc=False):
    """What is held of one symbol; never zero. ``units`` is the quantity again, once an estimate has asked for it."""

    instrument: Instrument
    quantity: Decimal
    average: Decimal
    units: float | None = None


class Account:
    """Cash, positions and reserves of one account.

    Args:
        cash: What it starts with (USD).
        multiplier: 4 is a margin account with more within the day, 2 a margin account, 1 a cash account.
        prices: Last trades by symbol; the engine's own dictionary, read only here.

    Attributes:
        cash: In USD; negative if borrowed.
        positions: What is held, by symbol.
        configuration: What its owner has set; change it with ``configure``.
        is_restricted: Whether that forbids any order that other accounts may place.
    """

    __slots__ = (
        "_last_equity",
        "_last_exposure",
        "_last_maintenance_margin",
        "_lastday_prices",
        "_multiplier",
        "_prices",
        "_rate",
        "_reserved_cash",
        "_reserved_full",
        "_reserved_marginable",
        "_sma",
        "cash",
        "configuration",
        "is_restricted",
        "positions",
    )

    def __init__(self, cash: Decimal, multiplier: int, prices: Mapping[str, float]) -> None:
        self.cash = cash
        self.positions: dict[str, Position] = {}
        self._prices = prices
        self._reserved_marginable = ZERO  # value of open orders that add risk, where it is marginable ...
        self._reserved_full = ZERO  # ... and where it is not
        self._reserved_cash = ZERO  # what open buys would pay
        self._last_equity = self._sma = cash
        self._last_exposure = ZERO
        self._last_maintenance_margin = ZERO
        self._lastday_prices: dict[str, float] = {}
        self.configure(configuration_of(multiplier))

    def configure(self, configuration: Configuration) -> None:
        """Obey these switches from now on; what is open or held already stays."""
        self.configuration = configuration
        self._multiplier = configuration.max_margin_multiplier
        self._rate = _RATES[self._multiplier]
        self.is_restricted = configuration.suspend_trade or not configuration.fractional_trading

    def pays_cash(self, instrument: Instrument) -> bool:
        """Whether it is bought with cash only."""
        return self._multiplier == 1 or not instrument.is_marginable

    def scale_lastday(self, symbol: str, factor: float) -> None:
        """Let the mark of the last session's close be so many times what it was."""
        if symbol in self._lastday_prices:
            self._lastday_prices[symbol] = round(self._lastday_prices[symbol] * factor, 9)

    def held(self, symbol: str) -> Decimal:
        """The signed position; zero if there is none."""
        position = self.positions.get(symbol)
        return position.quantity if position else ZERO

    def trade(self, instrument: Instrument, change: Decimal, price: Decimal, cash_change: Decimal) -> Decimal:
        """Book a trade; return the signed position after it.

        The average price moves when the position grows and stays when it shrinks.
        """
        self.cash += cash_change
        position = self.positions.get(instrument.symbol)
        if position is None:
            if change:
                self.positions[instrument.symbol] = Position(instrument, change, price)
            return change
        before, after = position.quantity, position.quantity + change
        if not after:
            del self.positions[instrument.symbol]
            return after
        invariant((before > 0) is (after > 0), "no order crosses through zero")
        if abs(after) > abs(before):
            position.average = ((before * position.average + change * price) / after).quantize(NANO)
        position.quantity = after
        position.units = None
        return after

    def rescale(self, instrument: Instrument, change: Decimal) -> None:
        """Change a position without a trade; what is held keeps its cost, what comes into nothing came free."""
        position = self.positions.get(instrument.symbol)
        if position is None:
            self.positions[instrument.symbol] = Position(instrument, change, ZERO)
            return
        before, after = position.quantity, position.quantity + change
        if not after:
            del self.positions[instrument.symbol]
            return
        invariant((before > 0) is (after > 0), "no adjustment crosses through zero")
        position.average = (before * position.average / after).quantize(NANO)
        position.quantity = after
        position.units = None

    def reserve(self, instrument: Instrument, side: OrderSide, value: Decimal) -> None:
        """Hold back ``value`` (USD) for an open order that adds risk; negative gives back."""
        if instrument.is_marginable:
            self._reserved_marginable += value
        else:
            self._reserved_full += value
        if side is _BUY:
            self._reserved_cash += value

    def end_session(self) -> None:
        """What the account is worth now is from now on what it was worth last day."""
        view = self.view()
        self._last_equity = view.equity
        self._last_exposure = view.long_market_value - view.short_market_value
        self._sma = max(view.equity - view.initial_margin, ZERO)
        self._last_maintenance_margin = view.maintenance_margin
        self._lastday_prices = dict(self._prices)

    # -------------------------------------------------------------- what it is worth

    def affords(self, instrument: Instrument, cost: Decimal) -> bool:
        """Whether there is buying power for an opening order of this cost (USD)."""
        cash_only = self.pays_cash(instrument)
        if self._multiplier == _FOUR and not cash_only:
            return cost <= self.view().buying_power
        required = cost if cash_only else cost * self._rate
        excess, free_cash = self.cash - self._reserved_margin(), self.cash - self._reserved_cash
        if self.positions:
            # Marking many positions exactly takes long. Far from the limit an estimate is as good.
            excess_estimate, free_cash_estimate, error = self._estimate()
            available = min(excess_estimate, free_cash_estimate) if cash_only else excess_estimate
            if float(required) <= available - error:
                return True
            long_value, short_value, initial, _ = self._values()
            excess, free_cash = excess + long_value + short_value - initial, free_cash + short_value
        return required <= (min(excess, free_cash) if cash_only else excess)

    def overreaches(self, cost: Decimal) -> bool:
        """Whether an opening order of this cost (USD) would make positions and opening orders exceed six times the equity.

        Only a multiplier of 4 lets them come near: its buying power is what the last close left, and the equity may have
        fallen since. The others require half of what is held to be free equity, so that twice is the most.
        """
        if self._multiplier != _FOUR:
            return False
        long_value, short_value, _, _ = self._values()
        exposure = long_value - short_value + self._reserved_marginable + self._reserved_full + cost
        return exposure > (self.cash + long_value + short_value) * _EXPOSURE_MAX

    def _estimate(self) -> tuple[float, float, float]:
        """Excess and free cash in floats, and by how much they may be wrong."""
        cash, reserved, rate = float(self.cash), float(self._reserved_margin()), float(self._rate)
        excess, free_cash = cash - reserved, cash - float(self._reserved_cash)
        summed = abs(cash) + reserved
        prices = self._prices
        for symbol, position in self.positions.items():
            units = position.units
            if units is None:
                units = position.units = float(position.quantity)
            price = prices.get(symbol)
            value = units * (float(position.average) if price is None else price)
            size = abs(value)
            excess += value - (size * rate if position.instrument.is_marginable else size)
            summed += size
            if value < 0:
                free_cash += value
        return excess, free_cash, summed * _ESTIMATE_ERROR

    def _values(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Long value, short value, initial margin and maintenance margin of the positions, exact."""
        long_value = short_value = initial = maintenance = ZERO
        for position in self.positions.values():
            mark = self._mark(position)
            value = position.quantity * mark
            if value > 0:
                long_value += value
            else:
                short_value += value
            initial += abs(value) * self._rate if position.instrument.is_marginable else abs(value)
            maintenance += maintenance_margin(position.instrument.asset_class, position.quantity, mark)
        return long_value, short_value, initial, maintenance

    def view(self) -> AccountView:
        """The account at the last prices."""
        long_value, short_value, initial, maintenance = self._values()
        equity = self.cash + long_value + short_value
        excess = equity - initial - self._reserved_margin()
        power = regt = max(excess, ZERO) * min(self._multiplier, 2)
        if self._multiplier == _FOUR:
            opened = max(long_value - short_value - self._last_exposure, ZERO)
            left = (self._last_equity - self._last_maintenance_margin) * _FOUR - opened
            power = max(left - self._reserved_marginable - self._reserved_full, ZERO)
        free_cash = self.cash + short_value - self._reserved_cash
        return AccountView(
            cash=self.cash,
            equity=equity,
            last_equity=self._last_equity,
            buying_power=power,
            regt_buying_power=regt,
            non_marginable_buying_power=max(min(free_cash, excess), ZERO),
            long_market_value=long_value,
            short_market_value=short_value,
            initial_margin=initial,
            maintenance_margin=maintenance,
            last_maintenance_margin=self._last_maintenance_margin,
            sma=self._sma,
            multiplier=self._multiplier,
            shorting_enabled=(
                self._multiplier > 1 and not self.configuration.no_shorting and equity >= _SHORTING_EQUITY_MIN
            ),
            is_suspended=self.configuration.suspend_trade,
        )

    def _reserved_margin(self) -> Decimal:
        """What open orders hold back of the excess."""
        return self._reserved_marginable * self._rate + self._reserved_full

    def position_view(self, position: Position, held_for_orders: Decimal) -> PositionView:
        """One position at the last price, of which open orders hold so much."""
        instrument, quantity, mark = position.instrument, position.quantity, self._mark(position)
        lastday = self._lastday_prices.get(instrument.symbol)
        return PositionView(
            symbol=instrument.symbol,
            asset_class=instrument.asset_class,
            quantity=quantity,
            quantity_available=abs(quantity) - held_for_orders,
            avg_entry_price=position.average,
            current_price=mark,
            lastday_price=position.average if lastday is None else Decimal(repr(lastday)),
            market_value=quantity * mark,
            cost_basis=quantity * position.average,
        )

    def _mark(self, position: Position) -> Decimal:
        price = self._prices.get(position.instrument.symbol)
        return position.average if price is None else Decimal(repr(price))

    # -------------------------------------------------------------- persistence

    def dump(self) -> dict[str, Any]:
        """The state, ready for JSON."""
        return {
            "cash": str(self.cash),
            "reserved_marginable": str(self._reserved_marginable),
            "reserved_full": str(self._reserved_full),
            "reserved_cash": str(self._reserved_cash),
            "last_equity": str(self._last_equity),
            "last_maintenance_margin": str(self._last_maintenance_margin),
            "last_exposure": str(self._last_exposure),
            "sma": str(self._sma),
            "configuration": msgspec.to_builtins(self.configuration),
            "lastday_prices": dict(self._lastday_prices),
            "positions": {s: [str(p.quantity), str(p.average)] for s, p in self.positions.items()},
        }

    def load(self, state: Mapping[str, Any], instruments: Mapping[str, Instrument]) -> None:
        """Become the account that gave this dump."""
        self.cash = Decimal(state["cash"])
        self._reserved_marginable = Decimal(state["reserved_marginable"])
        self._reserved_full = Decimal(state["reserved_full"])
        self._reserved_cash = Decimal(state["reserved_cash"])
        self._last_equity = Decimal(state["last_equity"])
        self._last_maintenance_margin = Decimal(state["last_maintenance_margin"])
        self._last_exposure, self._sma = Decimal(state["last_exposure"]), Decimal(state["sma"])
        self.configure(msgspec.convert(state["configuration"], Configuration))
        self._lastday_prices = dict(state["lastday_prices"])
        self.positions = {
            symbol: Position(instruments[symbol], Decimal(quantity), Decimal(average))
            for symbol, (quantity, average) in state["positions"].items()
        }


def maintenance_margin(asset_class: AssetClass, quantity: Decimal, price: Decimal) -> Decimal:
    """What a position must keep as equity (USD).

    Crypto all of it. Long equities 30 % (100 % below $2.50). Short equities the larger of $5 a share
    and 30 % from $5 up, and the larger of $2.50 a share and 100 % below.
    """
    size = abs(quantity)
    value = size * price
    if asset_class is AssetClass.CRYPTO:
        return value
    if quantity > 0:
        return value if price < _LONG_FULL_MARGIN_BELOW else value * _THIRTY_PERCENT
    if price < _SHORT_LOW_PRICE_BELOW:
        return max(size * _LONG_FULL_MARGIN_BELOW, value)
    return max(size * _SHORT_LOW_PRICE_BELOW, value * _THIRTY_PERCENT)
