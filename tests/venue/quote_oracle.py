"""A small, slow, obvious matcher for a market of quotes and trades, written from the rules and nothing else.

Like `oracle`, which is its twin for bars, it shares no code with the engine and keeps no sums: what is left of a quote is
its size less all executions since it came. It takes orders that were accepted; whether they should have been is not asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from holdfast.model import Asset, AssetClass, OrderSide, TimeInForce
from holdfast.venue.matching.orders import NewOrder

NANO = Fraction(1, 10**9)
HOUR = 3600 * 10**9
DAY = 24 * HOUR
HASTY = (TimeInForce.IOC, TimeInForce.FOK)


@dataclass
class Quote:
    """What stands in a symbol, and which of all executions were the first after it came."""

    bid: Fraction
    bid_size: Fraction
    ask: Fraction
    ask_size: Fraction
    since: int


@dataclass
class Fill:
    """One expected execution."""

    order: Waiting
    quantity: Fraction
    price: Fraction
    fee_coin: Fraction
    fee_cash: Fraction
    position: Fraction = Fraction(0)


@dataclass
class Waiting:
    """One expected order."""

    name: str
    new: NewOrder
    state: str
    ends: int | None  # when it expires
    worst: Fraction | None = None  # the limit, or the collar of a market order in crypto
    quotes_met: int = 0
    fills: list[Fill] = field(default_factory=list)

    @property
    def at_market(self) -> bool:
        """Whether a quote may fill it."""
        return self.state in ("new", "partially_filled")

    @property
    def buys(self) -> bool:
        """Its side."""
        return self.new.side is OrderSide.BUY

    @property
    def leaves(self) -> Fraction:
        """What it still wants."""
        return Fraction(self.new.quantity) - sum(fill.quantity for fill in self.fills)


class QuoteOracle:
    """The expected book of one account. Its session is from 10:00 to 20:00 UTC; coins trade at all times."""

    def __init__(self, assets: dict[str, Asset], cash: int, prices: dict[str, float], *, unlimited: bool) -> None:
        self.assets, self.start, self.unlimited = assets, Fraction(cash), unlimited
        self.orders: list[Waiting] = []
        self.fills: list[Fill] = []
        self.quotes: dict[str, Quote] = {}
        self.last = {symbol: Fraction(str(price)) for symbol, price in prices.items()}
        self.halted: set[str] = set()

    # what happens

    def send(self, name: str, new: NewOrder, now: int) -> None:
        """An order was accepted, and meets the quote that stands at once."""
        day, time = divmod(now, DAY)
        ends: int | None = None
        if new.time_in_force is TimeInForce.DAY:
            ends = day * DAY + 20 * HOUR if time < 20 * HOUR else (day + 1) * DAY + 20 * HOUR
        state = "new" if self.trades_now(new.symbol, now) else "accepted"
        self.orders.append(Waiting(name, new, state, ends, self.worst(new)))
        if self.trades_now(new.symbol, now):
            if new.symbol not in self.halted:
                self.open_up(new.symbol)
            self.match(new.symbol)

    def cancel(self, name: str) -> None:
        """It is canceled, if it is open."""
        for order in self.orders:
            if order.name == name and (order.at_market or order.state == "accepted"):
                order.state = "canceled"

    def quote(self, symbol: str, now: int, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """A quote takes the place of the last one, with fresh sizes."""
        sides = [Fraction(str(number)) for number in (bid, bid_size, ask, ask_size)]
        self.quotes[symbol] = Quote(sides[0], sides[1], sides[2], sides[3], since=len(self.fills))
        if symbol not in self.halted and self.trades_now(symbol, now):
            self.open_up(symbol)
            self.match(symbol)

    def trade(self, symbol: str, now: int, price: float) -> None:
        """The market trades: a price, and nothing of ours."""
        if symbol not in self.halted:
            self.last[symbol] = Fraction(str(price))
            if self.trades_now(symbol, now):
                self.open_up(symbol)

    def halt(self, symbol: str) -> None:
        """Nothing trades from now on, and who cannot wait goes."""
        self.halted.add(symbol)
        self.match(symbol)

    def resume(self, symbol: str) -> None:
        """What the market brings next counts again."""
        self.halted.discard(symbol)

    def expire(self, now: int) -> None:
        """What was good until now is over."""
        for order in self.orders:
            if order.ends is not None and order.ends <= now and (order.at_market or order.state == "accepted"):
                order.state = "expired"

    # the rules

    def trades_now(self, symbol: str, now: int) -> bool:
        """Whether the symbol's session is open."""
        return self.is_coin(symbol) or 10 * HOUR <= now % DAY < 20 * HOUR

    def open_up(self, symbol: str) -> None:
        """The session is there: what was accepted before it is at the market."""
        for order in self.orders:
            if order.new.symbol == symbol and order.state == "accepted":
                order.state = "new"

    def match(self, symbol: str) -> None:
        """All orders at the market meet what stands there; who cannot wait is gone afterwards."""
        quote = None if symbol in self.halted else self.quotes.get(symbol)
        for order in self.in_turn(symbol):
            if quote is not None:
                self.meet(order, quote)
                order.quotes_met += 1
        for order in self.orders:
            if order.new.symbol == symbol and order.at_market and order.new.time_in_force in HASTY:
                order.state = "canceled"

    def in_turn(self, symbol: str) -> list[Waiting]:
        """Who goes first: market orders as they came, buys from the highest limit, sells from the lowest."""
        mine = [order for order in self.orders if order.at_market and order.new.symbol == symbol]
        markets = [order for order in mine if order.new.limit_price is None]
        buys = [order for order in mine if order.new.limit_price is not None and order.buys]
        sells = [order for order in mine if order.new.limit_price is not None and not order.buys]
        buys.sort(key=lambda order: order.new.limit_price or 0, reverse=True)
        sells.sort(key=lambda order: order.new.limit_price or 0)
        return markets + buys + sells

    def meet(self, order: Waiting, quote: Quote) -> None:
        """Fill of the far side of the quote what limit, size, lot and time in force allow."""
        told, size = (quote.ask, quote.ask_size) if order.buys else (quote.bid, quote.bid_size)
        if told == 0:
            return
        price = self.on_grid(order.new, told)
        if order.worst is not None and (price > order.worst if order.buys else price < order.worst):
            return
        quantity = order.leaves
        if not self.unlimited:
            ours = (fill for fill in self.fills[quote.since :] if fill.order.new.symbol == order.new.symbol)
            left = size - sum(fill.quantity for fill in ours if fill.order.buys is order.buys)
            if left < quantity:
                if order.new.time_in_force is TimeInForce.FOK:
                    return
                whole = not self.is_coin(order.new.symbol) and Fraction(order.new.quantity).denominator == 1
                lot = Fraction(1) if whole else NANO
                quantity = math.floor(left / lot) * lot
        if quantity > 0:
            self.fill(order, quantity, price)

    def worst(self, new: NewOrder) -> Fraction | None:
        """What an order that comes now would pay or take at worst: a market order in crypto 2 % beyond what is told."""
        if new.limit_price is not None:
            return Fraction(new.limit_price)
        if not self.is_coin(new.symbol):
            return None
        buys = new.side is OrderSide.BUY
        quote = self.quotes.get(new.symbol)
        told = (quote.ask if buys else quote.bid) if quote is not None else Fraction(0)
        return self.on_grid(new, (told or self.last[new.symbol]) * Fraction(102 if buys else 98, 100))

    def on_grid(self, new: NewOrder, told: Fraction) -> Fraction:
        """A price in steps of the symbol, rounded against us."""
        asset = self.assets[new.symbol]
        if self.is_coin(new.symbol):
            step = Fraction(asset.price_increment or NANO)
        else:
            step = Fraction(1, 100) if told >= 1 else Fraction(1, 10_000)
        steps = math.ceil(told / step) if new.side is OrderSide.BUY else max(1, math.floor(told / step))
        return steps * step

    def fill(self, order: Waiting, quantity: Fraction, price: Fraction) -> None:
        """An execution, and the fee on a coin: 25 basis points for who came to trade, 15 for who waited with a limit."""
        coin = cash = Fraction(0)
        if self.is_coin(order.new.symbol):
            came_to_trade = order.new.limit_price is None or order.quotes_met == 0
            rate = Fraction(25 if came_to_trade else 15, 10_000)
            if order.buys:
                coin = math.ceil(quantity * rate / NANO) * NANO
            else:
                cash = math.ceil(quantity * price * rate / NANO) * NANO
        fill = Fill(order, quantity, price, coin, cash)
        self.fills.append(fill)
        order.fills.append(fill)
        order.state = "partially_filled" if order.leaves else "filled"
        fill.position = self.position(order.new.symbol)

    # what follows

    def is_coin(self, symbol: str) -> bool:
        """Whether fees are due, and the market never closes."""
        return self.assets[symbol].asset_class is AssetClass.CRYPTO

    def position(self, symbol: str) -> Fraction:
        """All that was bought, less the fees in coin and what was sold."""
        mine = [fill for fill in self.fills if fill.order.new.symbol == symbol]
        bought = sum((fill.quantity - fill.fee_coin for fill in mine if fill.order.buys), Fraction(0))
        return bought - sum(fill.quantity for fill in mine if not fill.order.buys)

    def cash(self) -> Fraction:
        """What it started with, and what all executions cost and brought."""
        total = self.start
        for fill in self.fills:
            value = fill.quantity * fill.price
            total += -value if fill.order.buys else value - fill.fee_cash
        return total

    def equity(self) -> Fraction:
        """Cash and positions at the last prices."""
        return self.cash() + sum(self.position(symbol) * self.last[symbol] for symbol in self.assets)
