"""Which orders Alpaca takes at all: types, times in force, stops, and exits that come with an order, as a table.

The rules of a symbol (tick, lot, worth) are in ``properties``; these are about what may be combined. Each row says when it
is asked and what is wrong then, so that a strategy hears the reason from us and at once, instead of from the venue and
later. The first row that finds something decides.

What only the venue can know is left to it: whether an auction still takes orders, and, for orders that reduce, where
the market is now: a price of ours may be old, and must not stand between us and an exit.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from holdfast.market.properties import SymbolProperties
from holdfast.model import AssetClass, OrderClass, OrderSide, OrderType, TimeInForce
from holdfast.model.terms import OrderTerms

_CENT = Decimal("0.01")
_HUNDRED = Decimal(100)
_NO_TERMS = OrderTerms()

_CRYPTO, _EQUITY = AssetClass.CRYPTO, AssetClass.US_EQUITY
_CRYPTO_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT})
_CRYPTO_TIMES = frozenset({TimeInForce.GTC, TimeInForce.IOC})
_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})
_AT_ONCE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC})
_PLAIN_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT})


class Wish(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as the rules look at it, its prices rounded.

    ``last`` is the last price; ``None`` where it is not known, or must not be asked.
    """

    asset_class: AssetClass
    side: OrderSide
    order_type: OrderType
    time_in_force: TimeInForce
    price: Decimal | None
    terms: OrderTerms
    reduce_only: bool
    last: Decimal | None

    @property
    def base(self) -> Decimal | None:
        """The price that an entry is made at, as far as it is known."""
        return self.last if self.price is None else self.price


class Rule(msgspec.Struct, frozen=True):
    """One row: whether it is asked of an order, whether the order breaks it, and what to say then."""

    asked: Callable[[Wish], bool]
    broken: Callable[[Wish], bool]
    reason: str


def _always(_wish: Wish) -> bool:
    return True


def _is_crypto(wish: Wish) -> bool:
    return wish.asset_class is _CRYPTO


def _trails(wish: Wish) -> bool:
    return wish.terms.trails


def _has_exits(wish: Wish) -> bool:
    return wish.terms.take_profit is not None or wish.terms.stop_loss is not None


def _is_group(wish: Wish) -> bool:
    return wish.terms.is_group


def _is(order_class: OrderClass) -> Callable[[Wish], bool]:
    return lambda wish: wish.terms.order_class is order_class


def _has_stop(wish: Wish) -> bool:
    return wish.terms.stop_price is not None and wish.last is not None


def _enters_with_stop_loss(wish: Wish) -> bool:
    return wish.terms.stop_loss is not None and not wish.reduce_only and wish.base is not None


def _below(wish: Wish, low: Decimal | None, high: Decimal | None) -> bool:
    """Whether of two prices the first is on the losing side of the second, for who holds what the order buys (or sells)."""
    if low is None or high is None:
        return True
    return low < high if wish.side is OrderSide.BUY else low > high


def _stop_is_passed(wish: Wish) -> bool:
    return not _below(wish, wish.last, wish.terms.stop_price)


def _exits_are_crossed(wish: Wish) -> bool:
    return not _below(wish, wish.terms.stop_loss, wish.terms.take_profit)


def _oco_is_crossed(wish: Wish) -> bool:
    # Its own side is the exit's: what was bought is sold with a profit above.
    return not _below(wish, wish.price, wish.terms.stop_loss)


def _stop_loss_is_near(wish: Wish) -> bool:
    base, stop = wish.base, wish.terms.stop_loss
    if base is None or stop is None:
        return False
    return (base - stop) * wish.side.sign < _CENT


# fmt: off
RULES: tuple[Rule, ...] = (
    # numbers
    Rule(_always, lambda w: any(not n.is_finite() or n <= 0 for _, n in w.terms.numbers()), "every price of it must be a positive number"),
    # trailing stops
    Rule(_trails, lambda w: None not in (w.terms.trail_price, w.terms.trail_percent), "a trailing stop has a trail in price or in percent, not both"),
    Rule(_trails, lambda w: w.price is not None or w.terms.stop_price is not None, "a trailing stop has neither a limit nor a stop price of its own"),
    Rule(_trails, lambda w: (w.terms.trail_percent or _CENT) >= _HUNDRED, "a trail must be less than 100 percent"),
    # crypto
    Rule(_is_crypto, _is_group, "crypto orders bring no others: no bracket, no oco, no oto"),
    Rule(_is_crypto, lambda w: w.order_type not in _CRYPTO_TYPES, "crypto orders are market, limit or stop-limit orders"),
    Rule(_is_crypto, lambda w: w.time_in_force not in _CRYPTO_TIMES, "crypto orders are gtc or ioc"),
    Rule(_is_crypto, lambda w: w.terms.extended_hours, "crypto trades around the clock: there are no extended hours"),
    # what kinds of orders come with what time in force
    Rule(lambda w: w.time_in_force in _AUCTIONS, lambda w: w.order_type not in _PLAIN_TYPES, "opg and cls orders are market or limit orders"),
    Rule(lambda w: w.time_in_force in _AT_ONCE and not _is_crypto(w), lambda w: w.order_type not in _PLAIN_TYPES, "ioc and fok orders are market or limit orders"),
    Rule(lambda w: w.terms.extended_hours, lambda w: w.order_type is not OrderType.LIMIT, "only limit orders trade in extended hours"),
    Rule(lambda w: w.terms.extended_hours, lambda w: w.time_in_force not in _RESTING, "orders for extended hours are day or gtc"),
    Rule(lambda w: w.terms.extended_hours, _is_group, "orders that bring others do not trade in extended hours"),
    # exits that come with an order
    Rule(lambda w: not _is_group(w), _has_exits, "a simple order brings no exits: order_class must be bracket or oto"),
    Rule(_always, lambda w: w.terms.stop_loss_limit is not None and w.terms.stop_loss is None, "the limit of a stop-loss needs its stop price"),
    Rule(_is_group, lambda w: w.time_in_force not in _RESTING, "orders that bring others are day or gtc"),
    Rule(_is_group, lambda w: w.order_type not in _PLAIN_TYPES, "orders that bring others are market or limit orders"),
    Rule(_is(OrderClass.BRACKET), lambda w: w.terms.take_profit is None or w.terms.stop_loss is None, "a bracket has a take-profit and a stop-loss"),
    Rule(_is(OrderClass.OTO), lambda w: (w.terms.take_profit is None) is (w.terms.stop_loss is None), "an oto has one exit: a take-profit or a stop-loss"),
    Rule(_is(OrderClass.OCO), lambda w: w.price is None or w.terms.stop_loss is None, "an oco is a take-profit with a stop-loss beside it"),
    Rule(_is(OrderClass.OCO), lambda w: not w.reduce_only, "an oco is a pair of exits, and there is no position that it leaves"),
    Rule(_is_group, lambda w: w.reduce_only and w.terms.order_class is not OrderClass.OCO, "an exit brings no exits of its own; a pair of exits is an oco"),
    Rule(_is(OrderClass.OCO), _oco_is_crossed, "the take-profit must be on the winning side of the stop-loss"),
    Rule(_is(OrderClass.BRACKET), _exits_are_crossed, "the take-profit must be on the winning side of the stop-loss"),
    Rule(_enters_with_stop_loss, _stop_loss_is_near, "the stop-loss must be at least 0.01 on the losing side of the entry's price"),
    # where the market is
    Rule(_has_stop, _stop_is_passed, "the stop price is passed already: a buy's is above the last price, a sell's below"),
)
# fmt: on


def must_be_whole(terms: OrderTerms) -> bool:
    """Whether an order must be in whole shares for what it is: parts of a share trade in simple orders that do not trail."""
    return terms.trails or terms.is_group


def rounded_terms(properties: SymbolProperties, side: OrderSide, terms: OrderTerms) -> OrderTerms:
    """The terms with every price on its tick: limits never more aggressive than asked, stops and trails to the nearest.

    Raises:
        OrderError: A price is no finite number.
    """
    leaves = side if terms.order_class is OrderClass.OCO else side.opposite
    sides = {"take_profit": leaves, "stop_loss_limit": leaves}
    changed = {
        name: properties.round_price(value, sides.get(name))
        for name, value in terms.numbers()
        if name != "trail_percent"
    }
    return msgspec.structs.replace(terms, **changed)


def objection(
    properties: SymbolProperties,
    *,
    side: OrderSide,
    order_type: OrderType,
    time_in_force: TimeInForce,
    price: Decimal | None,
    terms: OrderTerms | None,
    reduce_only: bool,
    last: Decimal | None = None,
) -> str:
    """Why the venue would not take such an order, in a sentence; empty where it would."""
    wish = Wish(
        asset_class=properties.asset_class,
        side=side,
        order_type=order_type,
        time_in_force=time_in_force,
        price=price,
        terms=terms or _NO_TERMS,
        reduce_only=reduce_only,
        last=None if reduce_only else last,
    )
    found = next((rule.reason for rule in RULES if rule.asked(wish) and rule.broken(wish)), "")
    return f"{properties.symbol}: {found}" if found else ""
