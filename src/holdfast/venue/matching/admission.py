"""Whether an account may place an order: against what it holds, what it has resting, and its money.

The rules, in the order in which they are asked (the request itself was checked before, see ``instruments``):

    permission               the account may trade, and in crypto
    configuration            trading is not suspended, and parts of shares are not switched off
    no price yet             a market order cannot be valued before the first trade of its symbol
    cost                     neither too small nor too large, where there are such limits
    wash trade               it could trade against an order of ours on the other side: any market or stop order there, or
                             a limit that crosses it; groups and trailing stops are exempt
    reducing                 by no more than is held and not held for other orders: so nothing crosses zero
    opening long             not beside an open short sale; buying power
    opening short            whole shares that are easy to borrow, not beside an open buy, $2,000 of equity; buying power
    opening at all           positions and opening orders, this one included, are worth at most six times the equity

An order on the side opposite to the position reduces it, any other one opens; crypto is never sold short. What opens
is valued at its limit; at the market at the ask and a collar above; with a stop at the stop and a collar above.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from holdfast.model.enums import OrderClass, OrderSide, OrderStatus, OrderType
from holdfast.venue.matching.account import Account
from holdfast.venue.matching.configuration import Configuration
from holdfast.venue.matching.forms import is_fractional
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import ZERO, NewOrder, Terms, VenueOrder
from holdfast.venue.matching.rules import Rule

_BUY, _SELL = OrderSide.BUY, OrderSide.SELL
_HELD = OrderStatus.HELD
_TRAILING = OrderType.TRAILING_STOP
_ONE = Decimal(1)


class Permissions(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the broker lets an account do; what its owner has switched off is its configuration.

    Attributes:
        trading: Whether it may place orders.
        opening: Whether it may open positions, or only close them.
        crypto: Whether it may trade crypto.
    """

    trading: bool = True
    opening: bool = True
    crypto: bool = True


#: An account without restrictions: the usual one, which is asked nothing more.
UNRESTRICTED = Permissions()


def assess(
    new: NewOrder,
    instrument: Instrument,
    account: Account,
    resting: list[VenueOrder],
    price: float | None,
    permissions: Permissions = UNRESTRICTED,
) -> Decimal:
    """Judge an order.

    Args:
        new: The order, already found well-formed.
        instrument: Its symbol's rules.
        account: Who places it.
        resting: The account's open orders in the symbol.
        price: Last trade of the symbol, if any; the ask, where there is a quote.
        permissions: What the account may do.

    Returns:
        What each of its shares reserves of the buying power (USD; zero if it reduces a position).

    Raises:
        Refusal: It may not be placed.
    """
    if account.is_restricted or permissions is not UNRESTRICTED:
        rule = _forbidden(new, instrument, account.configuration, permissions)
        if rule is not None:
            raise rule.refusal()
    if price is None and _named_price(new) is None:
        raise Rule.NO_PRICE.refusal(symbol=instrument.symbol)  # only before the first trade of a replay
    if not (instrument.takes_whole and new.quantity > _ONE):  # more than one whole share has no bounds of cost
        refusal = instrument.cost_refusal(new, new.quantity * _reference(new, price))
        if refusal is not None:
            raise refusal
    if resting:
        _refuse_wash_trade(new, resting)
    return _position_effect(new, instrument, account, resting, price, permissions)


def _position_effect(
    new: NewOrder,
    instrument: Instrument,
    account: Account,
    resting: list[VenueOrder],
    price: float | None,
    permissions: Permissions,
) -> Decimal:
    """What the order does to the position, and whether that may be."""
    position = account.positions.get(instrument.symbol)
    held = position.quantity if position else ZERO
    buys = new.side is _BUY
    if new.terms is not None and new.terms.order_class is OrderClass.OCO:  # exits, and never an entry
        return _reduce(new, instrument, max(-new.side.sign * held, ZERO), resting)
    if held < ZERO if buys else held > ZERO or instrument.is_crypto:
        return _reduce(new, instrument, abs(held), resting)
    if not permissions.opening:
        raise Rule.CLOSING_ONLY.refusal()
    if buys:
        return _open_long(new, instrument, account, resting, _reference(new, price))
    last_price = _reference(new, None) if price is None else Decimal(repr(price))
    return _open_short(new, instrument, account, resting, last_price)


def _named_price(new: NewOrder) -> Decimal | None:
    """The limit that an order names, or else its stop."""
    return new.limit_price if new.limit_price is not None or new.terms is None else new.terms.stop_price


def _reference(new: NewOrder, price: float | None) -> Decimal:
    """What a share of the order counts for: the price that it names, or else the market's."""
    named = _named_price(new)
    return Decimal(repr(price)) if named is None else named


def _forbidden(
    new: NewOrder, instrument: Instrument, configuration: Configuration, permissions: Permissions
) -> Rule | None:
    if configuration.suspend_trade or not permissions.trading:
        return Rule.NO_TRADING
    if instrument.is_crypto:
        return None if permissions.crypto else Rule.CRYPTO_NOT_ENABLED
    if not configuration.fractional_trading and is_fractional(new):
        return Rule.NO_FRACTIONS
    return None


def held_for_orders(resting: Iterable[VenueOrder], side: OrderSide) -> Decimal:
    """How much the open orders of one side still want. An exit that is held wants what its sibling wants already."""
    return sum((order.leaves_qty for order in resting if order.side is side and order.status is not _HELD), ZERO)


def is_exempt(order_type: OrderType, terms: Terms | None) -> bool:
    """Whether an order cannot be part of a wash trade: trailing stops, and whatever belongs to a group."""
    return terms is not None and (order_type is _TRAILING or terms.order_class is not OrderClass.SIMPLE)


def _open_long(
    new: NewOrder, instrument: Instrument, account: Account, resting: list[VenueOrder], reference: Decimal
) -> Decimal:
    if resting and any(order.side is _SELL and order.reserve_price for order in resting):
        raise Rule.LONG_BESIDE_SHORT.refusal()
    value = instrument.buy_value(new.limit_price, reference)
    _refuse_excess(instrument, account, new.quantity * value)
    return value


def _open_short(
    new: NewOrder, instrument: Instrument, account: Account, resting: list[VenueOrder], last_price: Decimal
) -> Decimal:
    if is_fractional(new):
        raise Rule.FRACTIONAL_SHORT.refusal()
    if not instrument.is_borrowable:
        raise Rule.NOT_SHORTABLE.refusal(symbol=instrument.symbol)
    if any(order.side is _BUY and order.reserve_price for order in resting):
        raise Rule.SHORT_BESIDE_LONG.refusal()
    if not account.view().shorting_enabled:
        raise Rule.NO_SHORTS.refusal()
    value = instrument.short_value(new.limit_price, last_price)
    _refuse_excess(instrument, account, new.quantity * value)
    return value


def _refuse_excess(instrument: Instrument, account: Account, cost: Decimal) -> None:
    if account.affords(instrument, cost):
        if account.overreaches(cost):
            raise Rule.CLOSING_ONLY.refusal()
        return
    view = account.view()
    power = view.non_marginable_buying_power if account.pays_cash(instrument) else view.buying_power
    raise Rule.BUYING_POWER.refusal({"buying_power": _text(power), "cost_basis": _text(cost)})


def _reduce(new: NewOrder, instrument: Instrument, held: Decimal, resting: list[VenueOrder]) -> Decimal:
    on_hold = held_for_orders(resting, new.side) if resting else ZERO
    available = held - on_hold
    if new.quantity <= available:
        return ZERO
    words = {"requested": _text(new.quantity), "available": _text(available)}
    if instrument.is_crypto:
        extras = {"available": _text(available), "balance": _text(held), "symbol": "USD"}
        raise Rule.BALANCE_TOO_SMALL.refusal(extras, coin=instrument.base, **words)
    raise Rule.QTY_UNAVAILABLE.refusal(
        {
            "available": _text(available),
            "existing_qty": _text(held),
            "held_for_orders": _text(on_hold),
            "related_orders": [order.id for order in resting if order.side is new.side and order.status is not _HELD],
            "symbol": instrument.symbol,
        },
        **words,
    )


def _refuse_wash_trade(new: NewOrder, resting: Iterable[VenueOrder]) -> None:
    if is_exempt(new.order_type, new.terms):
        return
    side, limit_price = new.side, new.limit_price
    for order in resting:
        if order.side is side or is_exempt(order.order_type, order.terms):
            continue
        if order.limit_price is None:
            kind = "market/stop"
        elif limit_price is None or (limit_price - order.limit_price) * side.sign >= 0:
            kind = "limit"
        else:
            continue
        raise Rule.WASH_TRADE.refusal(
            {"existing_order_id": order.id, "reject_reason": f"opposite side {kind} order exists"}
        )


def _text(amount: Decimal) -> str:
    """An amount as the venue writes it: plain digits without trailing zeros."""
    return f"{amount.normalize():f}"
