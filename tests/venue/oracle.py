"""A small, slow, obvious matcher: what the engine ought to do, written again from the rules and nothing else.

It shares no code and no arithmetic with the engine: fractions instead of Decimals, a list instead of books, all
sums formed anew each time. It takes orders that were accepted; whether they should have been is `may_open`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from holdfast.model import Asset, AssetClass, OrderSide, OrderType, TimeInForce
from holdfast.venue.matching.orders import NewOrder

NANO = Fraction(1, 10**9)


@dataclass
class Fill:
    """One expected execution."""

    name: str
    quantity: Fraction
    price: Fraction
    position: Fraction
    fee_coin: Fraction
    fee_cash: Fraction


@dataclass
class Resting:
    """One expected order. `seen` counts the moments of the market that it has met."""

    name: str
    new: NewOrder
    before_bar: int  # the first bar at whose beginning it was there
    collar: Fraction | None = None  # of a market order in crypto
    seen: int = 0
    filled: Fraction = Fraction(0)
    state: str = "new"
    fills: list[Fill] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.state in ("new", "partially_filled")

    @property
    def is_buy(self) -> bool:
        """Its side."""
        return self.new.side is OrderSide.BUY

    @property
    def limit(self) -> Fraction | None:
        """Its limit, exact."""
        return None if self.new.limit_price is None else Fraction(self.new.limit_price)

    @property
    def leaves(self) -> Fraction:
        """What has not been filled."""
        return Fraction(self.new.quantity) - self.filled

    def accepts(self, price: Fraction) -> bool:
        """Whether a price is within the limit, or the collar."""
        worst = self.collar if self.limit is None else self.limit
        if worst is None:
            return True
        return price <= worst if self.is_buy else price >= worst


class Oracle:
    """The expected book of one account."""

    def __init__(
        self,
        assets: dict[str, Asset],
        cash: int,
        participation: Fraction | None,
        spread_bps: float,
        maker_bps: int,
        taker_bps: int,
    ) -> None:
        self.assets, self.start = assets, Fraction(cash)
        self.participation = participation
        self.half = Fraction(str(spread_bps)) / 20_000
        self.maker, self.taker = Fraction(maker_bps, 10_000), Fraction(taker_bps, 10_000)
        self.orders: list[Resting] = []
        self.fills: list[Fill] = []
        self.bar: dict[str, int] = dict.fromkeys(assets, 0)  # bars that have begun
        self.taken: dict[str, Fraction] = dict.fromkeys(assets, Fraction(0))

    # what the caller does

    def submit(self, name: str, new: NewOrder, last: float) -> None:
        """An order was accepted when its symbol had last traded at this price."""
        order = Resting(name, new, self.bar[new.symbol] + 1)
        if new.limit_price is None and self.is_crypto(new.symbol):
            order.collar = self.collar(new, Fraction(str(last)))
        self.orders.append(order)

    def cancel(self, name: str) -> None:
        """It is canceled, if it is open."""
        for order in self.orders:
            if order.name == name and order.is_open:
                order.state = "canceled"

    def begin(self, symbol: str, price: float, volume: float) -> None:
        """The bar begins with its first trade."""
        self.bar[symbol] += 1
        self.taken[symbol] = Fraction(0)
        for order in self.priority(symbol):
            self.maybe_fill(order, self.touch(order, price), volume)
        self.after_moment(symbol)

    def end(self, symbol: str, bar: tuple[float, float, float, float], volume: float) -> None:
        """The bar goes on and ends."""
        first, high, low, last = bar
        for order in self.priority(symbol):
            was_there = order.before_bar <= self.bar[symbol]
            if order.limit is not None and was_there:
                reached = self.touch(order, low if order.is_buy else high)
                if order.accepts(reached):
                    # It walks from the open to its limit and stops at the first price that it accepts.
                    at_open = self.touch(order, first)
                    self.maybe_fill(order, at_open if order.accepts(at_open) else order.limit, volume)
            elif order.collar is not None and was_there and not order.accepts(self.touch(order, last)):
                # The last price is too bad for it, but the bar may have come by its collar.
                if order.accepts(self.touch(order, low if order.is_buy else high)):
                    self.maybe_fill(order, order.collar, volume)
            else:
                self.maybe_fill(order, self.touch(order, last), volume)
        self.after_moment(symbol)

    # the rules

    def priority(self, symbol: str) -> list[Resting]:
        """Market orders by arrival, buys from the highest limit, sells from the lowest."""
        mine = [order for order in self.orders if order.is_open and order.new.symbol == symbol]
        markets = [order for order in mine if order.limit is None]
        buys = [order for order in mine if order.limit is not None and order.is_buy]
        sells = [order for order in mine if order.limit is not None and not order.is_buy]
        buys.sort(key=lambda order: -(order.limit or 0))
        sells.sort(key=lambda order: order.limit or 0)
        return markets + buys + sells

    def touch(self, order: Resting, price: float) -> Fraction:
        """The far side of the market around a traded price, on the price grid."""
        exact = Fraction(str(price))
        return self.on_grid(order.new, exact * (1 + self.half if order.is_buy else 1 - self.half))

    def on_grid(self, new: NewOrder, exact: Fraction) -> Fraction:
        """A price in steps of the symbol, rounded against us."""
        if self.is_crypto(new.symbol):
            tick = Fraction(self.assets[new.symbol].price_increment or NANO)
        else:
            tick = Fraction(1, 100) if exact >= 1 else Fraction(1, 10_000)
        steps = math.ceil(exact / tick) if new.side is OrderSide.BUY else max(1, math.floor(exact / tick))
        return steps * tick

    def collar(self, new: NewOrder, last: Fraction) -> Fraction:
        """The worst price of a market order in crypto: 2 % beyond the market that it came to."""
        if new.side is OrderSide.BUY:
            return self.on_grid(new, last * (1 + self.half) * Fraction(102, 100))
        return self.on_grid(new, last * (1 - self.half) * Fraction(98, 100))

    def maybe_fill(self, order: Resting, price: Fraction, volume: float) -> None:
        """Fill at this price what the limit, the volume and the lot allow."""
        if not order.accepts(price):
            return
        quantity = order.leaves
        if self.participation is not None:
            left = self.participation * Fraction(str(volume)) - self.taken[order.new.symbol]
            if left < quantity:
                whole_shares = not self.is_crypto(order.new.symbol) and Fraction(order.new.quantity).denominator == 1
                lot = Fraction(1) if whole_shares else NANO
                quantity = math.floor(left / lot) * lot
        if quantity <= 0:
            return
        self.taken[order.new.symbol] += quantity
        fee_coin = fee_cash = Fraction(0)
        if self.is_crypto(order.new.symbol):
            rate = self.taker if order.limit is None or order.seen == 0 else self.maker
            if order.is_buy:
                fee_coin = math.ceil(quantity * rate / NANO) * NANO
            else:
                fee_cash = math.ceil(quantity * price * rate / NANO) * NANO
        order.filled += quantity
        order.state = "partially_filled" if order.leaves else "filled"
        fill = Fill(order.name, quantity, price, Fraction(0), fee_coin, fee_cash)
        order.fills.append(fill)
        self.fills.append(fill)
        fill.position = self.position(order.new.symbol)

    def after_moment(self, symbol: str) -> None:
        """Every open order has met the market once more; an IOC order has met it for the last time."""
        for order in self.orders:
            if order.is_open and order.new.symbol == symbol:
                order.seen += 1
                if order.new.time_in_force is TimeInForce.IOC:
                    order.state = "canceled"

    # what follows

    def is_crypto(self, symbol: str) -> bool:
        """Whether fees are due and nothing can be borrowed."""
        return self.assets[symbol].asset_class is AssetClass.CRYPTO

    def position(self, symbol: str) -> Fraction:
        """The sum of the signed executions, net of coin fees."""
        total = Fraction(0)
        for order in self.orders:
            if order.new.symbol == symbol:
                for fill in order.fills:
                    total += fill.quantity - fill.fee_coin if order.is_buy else -fill.quantity
        return total

    def cash(self) -> Fraction:
        """What it started with and all executions."""
        total = self.start
        for order in self.orders:
            for fill in order.fills:
                value = fill.quantity * fill.price
                total += -value if order.is_buy else value - fill.fee_cash
        return total

    def worth(self, prices: dict[str, float]) -> tuple[Fraction, Fraction]:
        """Equity, and what of it no position ties up (USD)."""
        equity, tied = self.cash(), Fraction(0)
        for symbol, asset in self.assets.items():
            if quantity := self.position(symbol):
                value = quantity * Fraction(str(prices[symbol]))
                equity += value
                tied += abs(value) / 2 if asset.marginable else abs(value)
        return equity, equity - tied

    def reserved(self, values: dict[str, Fraction]) -> tuple[Fraction, Fraction]:
        """What open orders hold back of the free equity and of the cash; `values` are USD a share by order."""
        margin = cash = Fraction(0)
        for order in self.orders:
            if order.is_open:
                value = values[order.name] * order.leaves
                margin += value / 2 if self.assets[order.new.symbol].marginable else value
                cash += value if order.is_buy else 0
        return margin, cash

    def may_open(self, new: NewOrder, prices: dict[str, float], values: dict[str, Fraction]) -> tuple[bool, Fraction]:
        """Whether there is money for an order that opens or adds to a position, and its value a share."""
        last = Fraction(str(prices[new.symbol])) if new.symbol in prices else Fraction(new.limit_price or 0)
        ask = last * (1 + self.half)
        if new.side is OrderSide.SELL:
            value = max(Fraction(new.limit_price or 0), ask * Fraction(103, 100))
        elif new.order_type is OrderType.LIMIT:
            value = Fraction(new.limit_price or 0)
        elif self.is_crypto(new.symbol):
            value = self.collar(new, last)
        else:
            value = ask * (Fraction(104, 100) if ask < 50 else Fraction(1025, 1000))
        _, free = self.worth(prices)
        margin, spoken_for = self.reserved(values)
        free -= margin
        cost = value * Fraction(new.quantity)
        if self.assets[new.symbol].marginable:
            return cost / 2 <= max(free, Fraction(0)), value
        shorts = sum(
            (self.position(s) * Fraction(str(prices[s])) for s in self.assets if self.position(s) < 0), Fraction(0)
        )
        return cost <= max(min(self.cash() + shorts - spoken_for, free), Fraction(0)), value
