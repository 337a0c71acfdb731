"""Whether an account may place an order: against what it holds, what it has resting, and its money.

The rules, in the order in which they are asked (the request itself was checked before, see ``instruments``):

    configuration            trading is not suspended, and parts of shares are not switched off
    no price yet             a market order cannot be valued before the first trade of its symbol
    cost                     neither too small nor too large, where there are such limits
    wash trade               it could trade against an order of ours that rests on the other side
    reducing                 by no more than is held and not held for other orders: so nothing crosses zero
    opening long             not beside an open short sale; buying power
    opening short            whole shares of a shortable asset, not beside an open buy, $2,000 of equity; buying power

An order on the side opposite to the position reduces it, any other one opens; crypto is never sold short.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from holdfast.model.enums import OrderSide
from holdfast.venue.account import Account
from holdfast.venue.configuration import Configuration
from holdfast.venue.instruments import Instrument
from holdfast.venue.orders import ZERO, NewOrder, Refusal, VenueOrder, forbidden, unprocessable

_BUY, _SELL = OrderSide.BUY, OrderSide.SELL
_ONE = Decimal(1)


def assess(
    new: NewOrder, instrument: Instrument, account: Account, resting: list[VenueOrder], price: float | None
) -> Decimal | Refusal:
    """Judge an order.

    Args:
        new: The order, already found well-formed.
        instrument: Its symbol's rules.
        account: Who places it.
        resting: The account's open orders in the symbol.
        price: Last trade of the symbol, if any.

    Returns:
        What each of its shares reserves of the buying power (USD; zero if it reduces a position), or the refusal.
    """
    refusal = _switched_off(new, instrument, account.configuration)
    if refusal is not None:
        return refusal
    if new.limit_price is not None:
        reference = new.limit_price
    elif price is not None:
        reference = Decimal(repr(price))
    else:
        # Only before the first bar of a replay; the text is ours.
        return forbidden(f"no trade in {instrument.symbol} yet: a market order cannot be valued")
    if not (instrument.takes_whole and new.quantity > _ONE):  # more than one whole share has no bounds of cost
        refusal = instrument.cost_refusal(new, new.quantity * reference)
        if refusal is not None:
            return refusal
    refusal = _wash_trade(new, resting)
    if refusal is not None:
        return refusal
    held = account.held(instrument.symbol)
    if new.side is _BUY:
        if held < 0:
            return _too_much(new, instrument, -held, resting) or ZERO
        return _open_long(new, instrument, account, resting, reference)
    if held > 0 or instrument.is_crypto:
        return _too_much(new, instrument, held, resting) or ZERO
    return _open_short(new, instrument, account, resting, reference if price is None else Decimal(repr(price)))


def held_for_orders(resting: Iterable[VenueOrder], side: OrderSide) -> Decimal:
    """How much the open orders of one side still want."""
    return sum((order.leaves_qty for order in resting if order.side is side), ZERO)


def _switched_off(new: NewOrder, instrument: Instrument, configuration: Configuration) -> Refusal | None:
    if configuration.suspend_trade:
        return forbidden("account is not authorized to trade")
    if not configuration.fractional_trading and not instrument.is_crypto and new.quantity % 1:
        return forbidden("fractional trading is disabled for this account")
    return None


def _open_long(
    new: NewOrder, instrument: Instrument, account: Account, resting: list[VenueOrder], reference: Decimal
) -> Decimal | Refusal:
    if resting and any(order.side is _SELL and order.reserve_price for order in resting):
        return forbidden("cannot open a long buy while a short sell order is open")
    value = instrument.buy_value(new.limit_price, reference)
    return _too_expensive(instrument, account, new.quantity * value) or value


def _open_short(
    new: NewOrder, instrument: Instrument, account: Account, resting: list[VenueOrder], last_price: Decimal
) -> Decimal | Refusal:
    if new.quantity % 1:
        return unprocessable("fractional orders cannot be sold short")
    if not instrument.asset.shortable:
        return unprocessable(f'asset "{instrument.symbol}" cannot be sold short')
    if any(order.side is _BUY and order.reserve_price for order in resting):
        return forbidden("cannot open a short sell while a long buy order is open")
    if not account.view().shorting_enabled:
        return forbidden("account is not allowed to short")
    value = instrument.short_value(new.limit_price, last_price)
    return _too_expensive(instrument, account, new.quantity * value) or value


def _too_expensive(instrument: Instrument, account: Account, cost: Decimal) -> Refusal | None:
    if account.affords(instrument, cost):
        return None
    view = account.view()
    power = view.non_marginable_buying_power if account.pays_cash(instrument) else view.buying_power
    return forbidden("insufficient buying power", buying_power=_text(power), cost_basis=_text(cost))


def _too_much(new: NewOrder, instrument: Instrument, held: Decimal, resting: list[VenueOrder]) -> Refusal | None:
    on_hold = held_for_orders(resting, new.side) if resting else ZERO
    available = held - on_hold
    if new.quantity <= available:
        return None
    amounts = f"(requested: {_text(new.quantity)}, available: {_text(available)})"
    if instrument.is_crypto:
        return forbidden(
            f"insufficient balance for {instrument.base} {amounts}",
            available=_text(available),
            balance=_text(held),
            symbol="USD",
        )
    return forbidden(
        f"insufficient qty available for order {amounts}",
        available=_text(available),
        existing_qty=_text(held),
        held_for_orders=_text(on_hold),
        related_orders=[order.id for order in resting if order.side is new.side],
        symbol=instrument.symbol,
    )


def _wash_trade(new: NewOrder, resting: Iterable[VenueOrder]) -> Refusal | None:
    for order in resting:
        if order.side is new.side:
            continue
        if order.limit_price is None:
            kind = "market/stop"
        elif new.limit_price is None or (new.limit_price - order.limit_price) * new.side.sign >= 0:
            kind = "limit"
        else:
            continue
        return forbidden(
            "potential wash trade detected. use complex orders",
            existing_order_id=order.id,
            reject_reason=f"opposite side {kind} order exists",
        )
    return None


def _text(amount: Decimal) -> str:
    """An amount as the venue writes it: plain digits without trailing zeros."""
    return f"{amount.normalize():f}"
