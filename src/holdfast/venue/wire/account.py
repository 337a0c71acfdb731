"""The account on the wire: money, positions, activities."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from holdfast.model.enums import OrderStatus
from holdfast.model.market import Asset
from holdfast.model.timestamps import NS_PER_MS, NS_PER_SECOND, format_rfc3339, to_datetime
from holdfast.venue.matching.account import AccountView, PositionView
from holdfast.venue.matching.configuration import Configuration
from holdfast.venue.matching.orders import PostedRow, VenueExecution
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.watchlists import Watchlist
from holdfast.venue.wire.assets import asset_id, exchange_of
from holdfast.venue.wire.words import NEW_YORK, Json, amount, ratio, slashless


def account_json(
    view: AccountView,
    *,
    account_id: str,
    number: int,
    created_at: int,
    balance_asof: str,
    has_crypto: bool,
    crypto_tier: int,
    accrued_fees: Decimal,
) -> Json:
    """The account."""
    buying_power = amount(view.buying_power)
    return {
        "id": account_id,
        "account_number": f"PA{number:010d}",
        "status": "ACTIVE",
        "crypto_status": "ACTIVE" if has_crypto else "INACTIVE",
        "currency": "USD",
        "cash": amount(view.cash),
        "equity": amount(view.equity),
        "portfolio_value": amount(view.equity),
        "last_equity": amount(view.last_equity),
        "buying_power": buying_power,
        "regt_buying_power": amount(view.regt_buying_power),
        "effective_buying_power": buying_power,
        "non_marginable_buying_power": amount(view.non_marginable_buying_power),
        "options_buying_power": "0",
        "initial_margin": amount(view.initial_margin),
        "maintenance_margin": amount(view.maintenance_margin),
        "last_maintenance_margin": amount(view.last_maintenance_margin),
        "long_market_value": amount(view.long_market_value),
        "short_market_value": amount(view.short_market_value),
        "position_market_value": amount(view.long_market_value + view.short_market_value),
        "multiplier": str(view.multiplier),
        "sma": amount(view.sma),
        "accrued_fees": amount(accrued_fees),
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "pending_reg_taf_fees": "0",
        "intraday_adjustments": "0",
        "balance_asof": balance_asof,
        "created_at": format_rfc3339(created_at),
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": view.is_suspended,
        "shorting_enabled": view.shorting_enabled,
        "options_approved_level": 0,
        "options_trading_level": 0,
        "crypto_tier": crypto_tier,
    }


def configuration_json(configuration: Configuration) -> Json:
    """The switches of an account."""
    body: Json = msgspec.to_builtins(configuration)
    return body | {"max_margin_multiplier": str(configuration.max_margin_multiplier)}


def parse_configuration(body: object, current: Configuration) -> Configuration:
    """The switches after a request that names some of them; names that Alpaca has dropped are passed over.

    Raises:
        Refusal: A value is none of those that the switch can have.
    """
    if not isinstance(body, dict):
        refuse_invalid("request body must be an object")
    changes = {}
    for name, accepted in _SWITCHES.items():
        if name not in body:
            continue
        value = body[name]
        if (type(value), value) not in [(type(one), one) for one in accepted]:
            refuse_invalid(f"invalid {name}: expected one of {', '.join(map(repr, accepted))}")
        changes[name] = int(value) if name == "max_margin_multiplier" else value
    return msgspec.structs.replace(current, **changes)


_SWITCHES: Final[dict[str, tuple[object, ...]]] = {
    "fractional_trading": (True, False),
    "no_shorting": (True, False),
    "suspend_trade": (True, False),
    "disable_overnight_trading": (True, False),
    "ptp_no_exception_entry": (True, False),
    "max_margin_multiplier": ("1", "2", "4"),
    "trade_confirm_email": ("all", "none"),
    "max_options_trading_level": (None, 0, 1, 2, 3),
}


def watchlist_json(watchlist: Watchlist, account_id: str, assets: Sequence[Json] | None = None) -> Json:
    """A watchlist, with its assets as they are told, or without."""
    body: Json = {
        "id": watchlist.id,
        "account_id": account_id,
        "created_at": format_rfc3339(watchlist.created_at),
        "updated_at": format_rfc3339(watchlist.updated_at),
        "name": watchlist.name,
    }
    if assets is not None:
        body["assets"] = assets
    return body


def position_json(view: PositionView, asset: Asset) -> Json:
    """A position. Crypto shows without its slash, and its asset id is another than the asset's, as at Alpaca."""
    cost, value = view.cost_basis, view.market_value
    profit = view.unrealized_pl
    lastday_value = view.quantity * view.lastday_price
    intraday = value - lastday_value
    symbol = slashless(view.symbol)
    return {
        "asset_id": asset_id(symbol),
        "symbol": symbol,
        "exchange": asset.exchange or exchange_of(asset),
        "asset_class": view.asset_class.value,
        "avg_entry_price": amount(view.avg_entry_price),
        "qty": amount(view.quantity),
        "qty_available": amount(view.quantity_available.copy_sign(view.quantity)),
        "side": "long" if view.quantity > 0 else "short",
        "market_value": amount(value),
        "cost_basis": amount(cost),
        "unrealized_pl": amount(profit),
        "unrealized_plpc": ratio(profit, abs(cost)),
        "unrealized_intraday_pl": amount(intraday),
        "unrealized_intraday_plpc": ratio(intraday, abs(lastday_value)),
        "current_price": amount(view.current_price),
        "lastday_price": amount(view.lastday_price),
        "change_today": ratio(view.current_price - view.lastday_price, view.lastday_price),
        "asset_marginable": asset.marginable,
    }


def activity_id(execution: VenueExecution | PostedRow) -> str:
    """``YYYYMMDDHHMMSSmmm::uuid``, the time being New York's, to sort by and to page with."""
    local = to_datetime(execution.at).astimezone(NEW_YORK)
    return f"{local:%Y%m%d%H%M%S}{execution.at % NS_PER_SECOND // NS_PER_MS:03d}::{execution.execution_id}"


def activity_json(execution: VenueExecution) -> Json:
    """A FILL activity. It carries no client order id, as Alpaca's does not."""
    closed = not execution.leaves_qty
    return {
        "id": activity_id(execution),
        "activity_type": "FILL",
        "transaction_time": format_rfc3339(execution.at),
        "type": "fill" if closed else "partial_fill",
        "price": amount(execution.price),
        "qty": amount(execution.quantity),
        "side": execution.side.value,
        "symbol": execution.symbol,
        "leaves_qty": amount(execution.leaves_qty),
        "cum_qty": amount(execution.cum_qty),
        "order_id": execution.order_id,
        "order_status": (OrderStatus.FILLED if closed else OrderStatus.PARTIALLY_FILLED).value,
    }


def posted_json(row: PostedRow) -> Json:
    """An activity that is no trade: dated by the day in New York, amounts as text."""
    posting = row.posting
    body: Json = {
        "id": activity_id(row),
        "activity_type": posting.activity_type,
        "date": f"{to_datetime(row.at).astimezone(NEW_YORK):%Y-%m-%d}",
        "created_at": format_rfc3339(row.at),
        "net_amount": amount(posting.cash),
        "status": "executed",
    }
    if posting.symbol:
        body |= {"symbol": slashless(posting.symbol), "qty": amount(posting.quantity)}
    if posting.price is not None:
        body["price"] = amount(posting.price)
    return body
