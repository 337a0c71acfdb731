"""Whether an order is well formed: what it must say, what it may not, and what its symbol lets it be.

Nothing here asks what the account holds (see ``admission``). The checks come in the order in which they are listed,
from the request's own words to those that need the market's price:

    amounts       each positive, and of ordinary size
    prices        those that the order's type requires, and no others
    class         what crypto, fractions, extended hours, auctions and groups may be
    increments    lots and price increments
    market        a stop is beyond the present price, the exits of a group are on their sides
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from holdfast.model.enums import OrderClass, OrderSide, OrderType, TimeInForce
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import ZERO, Exits, NewOrder, Refusal, Terms
from holdfast.venue.matching.rules import Rule

CLIENT_ORDER_ID_LENGTH_MAX = 128

_BUY, _SELL = OrderSide.BUY, OrderSide.SELL
_MARKET, _LIMIT = OrderType.MARKET, OrderType.LIMIT
_STOP, _STOP_LIMIT, _TRAILING = OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP
_DAY, _GTC, _IOC = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC
#: Orders for an auction, which may be sent at certain times only.
AUCTIONS = (TimeInForce.OPG, TimeInForce.CLS)
_CRYPTO_TIMES = (_GTC, _IOC)
_SIMPLE, _BRACKET, _OCO, _OTO = OrderClass.SIMPLE, OrderClass.BRACKET, OrderClass.OCO, OrderClass.OTO

_ONE = Decimal(1)
_CENT = Decimal("0.01")
_HUNDRED = Decimal(100)
_AMOUNT_END = Decimal(10) ** 15


class _Form(NamedTuple):
    """Which prices a type of order requires, and the rows for one that is missing and one that is too many."""

    limit: bool
    stop: bool
    missing: Rule
    unasked: Rule


_FORMS = {
    _MARKET: _Form(limit=False, stop=False, missing=Rule.MARKET_WITH_PRICE, unasked=Rule.MARKET_WITH_PRICE),
    _LIMIT: _Form(limit=True, stop=False, missing=Rule.LIMIT_MISSING, unasked=Rule.STOP_UNASKED),
    _STOP: _Form(limit=False, stop=True, missing=Rule.STOP_MISSING, unasked=Rule.LIMIT_UNASKED),
    _STOP_LIMIT: _Form(limit=True, stop=True, missing=Rule.STOP_LIMIT_INCOMPLETE, unasked=Rule.STOP_LIMIT_INCOMPLETE),
}

_PLAIN = Terms()
_NO_EXITS = Exits()


def refusal_of(new: NewOrder, instrument: Instrument, price: float | None) -> Refusal | None:
    """What is wrong with the order whatever the account holds; None if nothing is.

    Args:
        new: The order. One by notional already has the quantity that it would have at the present price.
        instrument: Its symbol's rules.
        price: Last trade of the symbol, if any.
    """
    terms = new.terms
    stated = terms or _PLAIN
    return (
        _amounts(new, stated)
        or _prices(new, stated)
        or _class(new, stated, instrument)
        or _increments(new, stated, instrument)
        or (None if terms is None else _market(new, terms, price))
    )


def is_plainly_good(new: NewOrder, instrument: Instrument) -> bool:
    """Whether an order without terms breaks no rule of form and may be sent at any time, at a glance: nearly all do.

    What it does not pass is judged by all the rules.
    """
    quantity, limit_price = new.quantity, new.limit_price
    if not quantity.is_finite() or not ZERO < quantity < _AMOUNT_END:
        return False
    if instrument.takes_whole:
        if quantity % _ONE or new.time_in_force in AUCTIONS:
            return False
    elif not instrument.is_crypto or new.time_in_force not in _CRYPTO_TIMES or quantity % instrument.lot:
        return False
    if new.order_type is _MARKET:
        return limit_price is None and instrument.asset.tradable
    return (
        new.order_type is _LIMIT
        and limit_price is not None
        and limit_price.is_finite()
        and ZERO < limit_price < _AMOUNT_END
        and not limit_price % instrument.tick_at(limit_price)
        and instrument.asset.tradable
    )


def notional_refusal(notional: Decimal) -> Refusal | None:
    """What is wrong with an amount to trade for."""
    if not notional.is_finite() or notional < _ONE:
        return Rule.NOTIONAL_TOO_SMALL.refusal()
    if notional >= _AMOUNT_END:
        return Rule.TOO_LARGE.refusal(name="notional")
    return Rule.NOTIONAL_DECIMALS.refusal() if notional % _CENT else None


def is_fractional(new: NewOrder) -> bool:
    """Whether it trades parts of a share, or may."""
    return bool(new.quantity % 1) or (new.terms is not None and new.terms.notional is not None)


def _named_prices(new: NewOrder, terms: Terms) -> Iterator[tuple[str, Decimal]]:
    """All prices of an order that the market could trade at, by the names that clients know them by."""
    exits = terms.exits or _NO_EXITS
    oco = terms.order_class is _OCO and terms.exits is not None  # the limit is its take-profit's
    for name, price in (
        ("limit_price", None if oco else new.limit_price),
        ("stop_price", None if new.order_type is _TRAILING else terms.stop_price),
        ("take_profit.limit_price", exits.take_profit),
        ("stop_loss.stop_price", exits.stop_loss),
        ("stop_loss.limit_price", exits.stop_loss_limit),
    ):
        if price is not None:
            yield name, price


def _amounts(new: NewOrder, terms: Terms) -> Refusal | None:
    quantity = new.quantity
    if not quantity.is_finite() or quantity <= 0:
        return Rule.QTY_NOT_POSITIVE.refusal()
    if quantity >= _AMOUNT_END:
        return Rule.TOO_LARGE.refusal(name="qty")
    trails = (("trail_price", terms.trail_price), ("trail_percent", terms.trail_percent))
    for name, price in (*_named_prices(new, terms), *((name, trail) for name, trail in trails if trail is not None)):
        if not price.is_finite() or price <= 0:
            if name == "limit_price":
                return Rule.LIMIT_NOT_POSITIVE.refusal()
            return Rule.PRICE_NOT_POSITIVE.refusal(name=name)
        if price >= _AMOUNT_END:
            return Rule.TOO_LARGE.refusal(name=name.replace("_", " ") if name == "limit_price" else name)
    return None


def _prices(new: NewOrder, terms: Terms) -> Refusal | None:
    if new.order_type is _TRAILING:
        return _trail(new, terms)
    if terms.trail_price is not None or terms.trail_percent is not None:
        return Rule.TRAIL_UNASKED.refusal()
    form = _FORMS[new.order_type]
    has_limit = new.limit_price is not None or (terms.order_class is _OCO and new.order_type is _LIMIT)
    has_stop = terms.stop_price is not None
    if (form.limit and not has_limit) or (form.stop and not has_stop):
        return form.missing.refusal()
    if (has_limit and not form.limit) or (has_stop and not form.stop):
        return form.unasked.refusal(order_type=new.order_type.value)
    return None


def _trail(new: NewOrder, terms: Terms) -> Refusal | None:
    if (terms.trail_price is None) is (terms.trail_percent is None):
        return Rule.TRAIL_NOT_ONE.refusal()
    if new.limit_price is not None:
        return Rule.LIMIT_UNASKED.refusal(order_type="trailing stop")
    if terms.trail_percent is not None and terms.trail_percent >= _HUNDRED:
        return Rule.TRAIL_PERCENT_TOO_LARGE.refusal()
    return None


def _class(new: NewOrder, terms: Terms, instrument: Instrument) -> Refusal | None:
    if not instrument.asset.tradable:
        return Rule.NOT_TRADABLE.refusal(symbol=instrument.symbol)
    if instrument.is_crypto:
        return _crypto(new, terms)
    refusal = _fractions(new, terms, instrument) if is_fractional(new) else None
    if refusal is None and terms.extended_hours:
        refusal = _extended(new, terms)
    if refusal is not None:
        return refusal
    if new.time_in_force in AUCTIONS and new.order_type not in (_MARKET, _LIMIT):
        return Rule.AUCTION_TYPE.refusal(time_in_force=new.time_in_force.value)
    return _group(new, terms)


def _crypto(new: NewOrder, terms: Terms) -> Refusal | None:
    if new.order_type in (_STOP, _TRAILING):
        return Rule.CRYPTO_TYPE.refusal()
    if new.time_in_force not in _CRYPTO_TIMES:
        return Rule.CRYPTO_TIME_IN_FORCE.refusal()
    return None if terms.order_class is _SIMPLE else Rule.CRYPTO_NOT_SIMPLE.refusal()


def _fractions(new: NewOrder, terms: Terms, instrument: Instrument) -> Refusal | None:
    if not instrument.asset.fractionable:
        return Rule.NOT_FRACTIONABLE.refusal(symbol=instrument.symbol)
    if new.time_in_force is not _DAY:
        return Rule.FRACTIONAL_NOT_DAY.refusal()
    if terms.order_class is not _SIMPLE:
        return Rule.FRACTIONAL_NOT_SIMPLE.refusal()
    return Rule.FRACTIONAL_TYPE.refusal() if new.order_type is _TRAILING else None


def _extended(new: NewOrder, terms: Terms) -> Refusal | None:
    if new.order_type is not _LIMIT or new.time_in_force not in (_DAY, _GTC):
        return Rule.EXTENDED_HOURS.refusal()
    return None if terms.order_class is _SIMPLE else Rule.EXTENDED_HOURS_NOT_SIMPLE.refusal()


def _group(new: NewOrder, terms: Terms) -> Refusal | None:
    order_class = terms.order_class
    exits = terms.exits
    if order_class is _SIMPLE:
        return Rule.EXITS_UNASKED.refusal() if exits is not None else None
    if terms.parent is not None or terms.legs or exits is None:
        return None  # a replacement of one that was judged before
    if new.time_in_force not in (_DAY, _GTC):
        return Rule.COMPLEX_TIME_IN_FORCE.refusal(order_class=order_class.value)
    if order_class is _OCO and new.order_type is not _LIMIT:
        return Rule.OCO_NOT_LIMIT.refusal()
    if new.order_type not in (_MARKET, _LIMIT):
        return Rule.COMPLEX_TYPE.refusal(order_class=order_class.value)
    if order_class is _OTO:
        return Rule.OTO_NOT_ONE.refusal() if (exits.take_profit is None) is (exits.stop_loss is None) else None
    if exits.take_profit is None:
        return Rule.TAKE_PROFIT_MISSING.refusal(order_class=order_class.value)
    return Rule.STOP_LOSS_MISSING.refusal(order_class=order_class.value) if exits.stop_loss is None else None


def _increments(new: NewOrder, terms: Terms, instrument: Instrument) -> Refusal | None:
    if new.quantity % instrument.lot:
        return Rule.QTY_INCREMENT.refusal(qty=new.quantity, lot=f"{instrument.lot:f}")
    for name, price in _named_prices(new, terms):
        if price % instrument.tick_at(price):
            return Rule.SUB_PENNY.refusal(name=name, price=price)
    return None


def _market(new: NewOrder, terms: Terms, price: float | None) -> Refusal | None:
    buys = new.side is _BUY
    if price is not None and new.order_type in (_STOP, _STOP_LIMIT) and terms.parent is None and not terms.elected:
        last, stop_price = Decimal(repr(price)), terms.stop_price or ZERO
        if buys and stop_price <= last:
            return Rule.STOP_NOT_ABOVE.refusal()
        if not buys and stop_price >= last:
            return Rule.STOP_NOT_BELOW.refusal()
    exits = terms.exits
    if exits is None or exits.stop_loss is None:
        return None
    # The exits are on the other side of the entry; those of an OCO are on the order's own.
    exit_buys = buys if terms.order_class is _OCO else not buys
    if exits.take_profit is not None and (exits.take_profit - exits.stop_loss) * (-1 if exit_buys else 1) <= 0:
        return (Rule.EXITS_CROSSED_SHORT if exit_buys else Rule.EXITS_CROSSED).refusal()
    base = None if terms.order_class is _OCO else new.limit_price
    if base is None and price is not None:
        base = Decimal(repr(price))
    if base is None:
        return None
    if exit_buys:
        return Rule.STOP_LOSS_NOT_ABOVE.refusal({"base_price": str(base)}) if exits.stop_loss < base + _CENT else None
    return Rule.STOP_LOSS_NOT_BELOW.refusal({"base_price": str(base)}) if exits.stop_loss > base - _CENT else None
