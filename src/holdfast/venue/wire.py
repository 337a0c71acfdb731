"""Alpaca's JSON, both ways: the venue's values as the members that clients expect, and clients' text as values.

Outward, amounts of account, orders, positions and activities are JSON strings and market data are JSON
numbers; times are RFC 3339. Inward, amounts may be strings or numbers, exponents included (alpaca-py
sends ``1e-09``). Every member that the official SDK requires is present, also the ones Alpaca has
deprecated. Pure functions: nothing here knows sockets or the engine's inner life.
"""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from holdfast.model.enums import AssetClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.errors import DataError
from holdfast.model.market import Asset, Bar
from holdfast.model.timestamps import NS_PER_MS, NS_PER_SECOND, format_rfc3339, parse_rfc3339, to_datetime, to_ns
from holdfast.time import Session
from holdfast.venue.account import AccountView, PositionView
from holdfast.venue.orders import EngineEvent, NewOrder, PostedRow, Refusal, VenueExecution, VenueOrder
from holdfast.venue.refusals import refuse_invalid, refuse_unprocessable
from holdfast.venue.replacing import Replacement

Json = dict[str, Any]
_Word = TypeVar("_Word", bound=StrEnum)

NEW_YORK: Final = ZoneInfo("America/New_York")
_NAMESPACE: Final = uuid.UUID("3b1f4f0e-5d0a-5c1e-9d51-0f6f1c9e7a11")  # of every id below that is derived from a name
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BITS_32, _BITS_48 = (1 << 32) - 1, (1 << 48) - 1
_BODY_DIGITS: Final = 64  # longer numbers are no amounts; refusing them keeps Decimal arithmetic small
_LARGEST_EXPONENT: Final = 30
_FAR: Final = 1 << 62  # about the year 2116: times beyond are as good as "ever", and fit into 64 bits

decode_json = msgspec.json.Decoder(strict=True, float_hook=Decimal).decode
encode_json = msgspec.json.Encoder(decimal_format="string").encode


# --- Words -----------------------------------------------------------------------------------------------------


def amount(value: Decimal) -> str:
    """A Decimal as plain digits: no exponent, no trailing zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def optional_amount(value: Decimal | None) -> str | None:
    """As ``amount``; None stays null."""
    return None if value is None else amount(value)


def optional_time(ns: int | None) -> str | None:
    """A moment as RFC 3339; None stays null."""
    return None if ns is None else format_rfc3339(ns)


def new_york_time(ns: int) -> str:
    """A moment as RFC 3339 with New York's offset, as the clock endpoint writes it."""
    return to_datetime(ns).astimezone(NEW_YORK).isoformat()


def derived_id(kind: str, name: str) -> str:
    """A UUID that is always the same for the same thing."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{name}"))


def slashless(symbol: str) -> str:
    """``BTC/USD`` as positions write it: ``BTCUSD``."""
    return symbol.replace("/", "")


def event_id(at: int, number: int, namespace: int) -> str:
    """A ULID: 48 bits of milliseconds, 32 of the event's number, 48 of whose it is. An account's ids sort in order."""
    value = (at // NS_PER_MS & _BITS_48) << 80 | (number & _BITS_32) << 48 | namespace & _BITS_48
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def activity_id(execution: VenueExecution | PostedRow) -> str:
    """``YYYYMMDDHHMMSSmmm::uuid``, the time being New York's, to sort by and to page with."""
    local = to_datetime(execution.at).astimezone(NEW_YORK)
    return f"{local:%Y%m%d%H%M%S}{execution.at % NS_PER_SECOND // NS_PER_MS:03d}::{execution.execution_id}"


# --- Outward ---------------------------------------------------------------------------------------------------


def order_json(order: VenueOrder) -> Json:
    """An order, or a snapshot of one."""
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": format_rfc3339(order.created_at),
        "updated_at": format_rfc3339(order.updated_at),
        "submitted_at": format_rfc3339(order.submitted_at),
        "filled_at": optional_time(order.filled_at),
        "expired_at": optional_time(order.expired_at),
        "expires_at": optional_time(order.expires_at),
        "canceled_at": optional_time(order.canceled_at),
        "failed_at": optional_time(order.failed_at),
        "replaced_at": optional_time(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": order.asset_class.value,
        "notional": None,
        "qty": amount(order.quantity),
        "filled_qty": amount(order.filled_qty),
        "filled_avg_price": optional_amount(order.filled_avg_price),
        "order_class": "",
        "order_type": order.order_type.value,
        "type": order.order_type.value,
        "side": order.side.value,
        "position_intent": None,
        "time_in_force": order.time_in_force.value,
        "limit_price": optional_amount(order.limit_price),
        "stop_price": None,
        "status": order.status.value,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
        "ratio_qty": None,
    }


def trade_update_json(event: EngineEvent, number: int, namespace: int) -> Json:
    """A message of the ``trade_updates`` stream.

    The top-level ``qty`` and ``price`` are this one execution; ``order.filled_qty`` is cumulative at that moment.
    """
    at = format_rfc3339(event.at)
    data: Json = {
        "event": event.kind,
        "order": order_json(event.snapshot()),
        "timestamp": at,
        "at": at,
        "event_id": event_id(event.at, number, namespace),
    }
    execution = event.execution
    if execution is None:
        # Alpaca numbers every event's execution, not only trades: nobody may take one for a fill.
        data["execution_id"] = derived_id("event", f"{number}:{event.order.id}")
    else:
        data["execution_id"] = execution.execution_id
        if event.kind == "trade_bust":
            # The message has an execution id of its own, and names the one that it takes back.
            data["execution_id"] = derived_id("event", f"{number}:{event.order.id}")
            data["previous_execution_id"] = execution.execution_id
        data["price"] = amount(execution.price)
        data["qty"] = amount(execution.quantity)
        data["position_qty"] = amount(execution.position_qty)
    return {"stream": "trade_updates", "data": data}


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
    return body


def account_json(
    view: AccountView, *, account_id: str, number: int, created_at: int, now: int, has_crypto: bool
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
        "regt_buying_power": buying_power,
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
        "sma": "0",
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "pending_reg_taf_fees": "0",
        "intraday_adjustments": "0",
        "balance_asof": to_datetime(now).astimezone(NEW_YORK).date().isoformat(),
        "created_at": format_rfc3339(created_at),
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "shorting_enabled": view.shorting_enabled,
        "options_approved_level": 0,
        "options_trading_level": 0,
        "crypto_tier": 1,
    }


CONFIGURATION: Final[Json] = {
    "fractional_trading": True,
    "no_shorting": False,
    "suspend_trade": False,
    "disable_overnight_trading": False,
    "ptp_no_exception_entry": False,
    "max_margin_multiplier": "2",
    "trade_confirm_email": "none",
    "max_options_trading_level": None,
}


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
        "exchange": asset.exchange or _exchange(asset),
        "asset_class": view.asset_class.value,
        "avg_entry_price": amount(view.avg_entry_price),
        "qty": amount(view.quantity),
        "qty_available": amount(view.quantity_available.copy_sign(view.quantity)),
        "side": "long" if view.quantity > 0 else "short",
        "market_value": amount(value),
        "cost_basis": amount(cost),
        "unrealized_pl": amount(profit),
        "unrealized_plpc": _ratio(profit, abs(cost)),
        "unrealized_intraday_pl": amount(intraday),
        "unrealized_intraday_plpc": _ratio(intraday, abs(lastday_value)),
        "current_price": amount(view.current_price),
        "lastday_price": amount(view.lastday_price),
        "change_today": _ratio(view.current_price - view.lastday_price, view.lastday_price),
        "asset_marginable": asset.marginable,
    }


def asset_id(symbol: str) -> str:
    """The id of an asset, or of a position's asset where the symbol has lost its slash."""
    known = _ASSET_IDS.get(symbol)
    if known is None:
        known = _ASSET_IDS[symbol] = derived_id("asset", symbol)
    return known


_ASSET_IDS: Final[dict[str, str]] = {}


def asset_json(asset: Asset) -> Json:
    """An asset. The increments are crypto's only."""
    crypto = asset.asset_class is AssetClass.CRYPTO
    row: Json = {
        "id": asset_id(asset.symbol),
        "class": asset.asset_class.value,
        "exchange": asset.exchange or _exchange(asset),
        "symbol": asset.symbol,
        "name": asset.name or asset.symbol,
        "status": "active",
        "tradable": asset.tradable,
        "marginable": asset.marginable,
        "shortable": asset.shortable,
        "easy_to_borrow": asset.shortable,
        "borrow_status": "easy_to_borrow" if asset.shortable else "hard_to_borrow",
        "fractionable": asset.fractionable,
        "cusip": None,
        "maintenance_margin_requirement": 100 if crypto else 30,
        "margin_requirement_long": "100" if crypto else "30",
        "margin_requirement_short": "100" if crypto else "30",
        "attributes": [],
    }
    if crypto:
        row["min_order_size"] = asset.min_order_size
        row["min_trade_increment"] = asset.min_trade_increment
        row["price_increment"] = asset.price_increment
    return row


def bar_json(bar: Bar, period: int) -> Json:
    """A bar of market data: ``t`` is its start.

    The recorded bars know neither the number of trades nor their average price: ``n`` is 1 if there was
    any volume, ``vw`` the mean of high, low and close; both are 0 in a bar without a trade.
    """
    return _bar(bar, format_rfc3339(bar.ts - period))


def bar_msgpack(bar: Bar, period: int) -> Json:
    """As ``bar_json``, with a time that MessagePack writes as its own timestamp."""
    return _bar(bar, to_datetime(bar.ts - period))


def _bar(bar: Bar, start: str | datetime) -> Json:
    traded = bar.volume > 0
    return {
        "t": start,
        "o": bar.open,
        "h": bar.high,
        "l": bar.low,
        "c": bar.close,
        "v": bar.volume,
        "n": 1 if traded else 0,
        "vw": (bar.high + bar.low + bar.close) / 3 if traded else 0,
    }


def calendar_json(session: Session) -> Json:
    """A day of the exchange's calendar, in New York's time."""
    opens, closes = (to_datetime(ns).astimezone(NEW_YORK) for ns in (session.open, session.close))
    return {
        "date": opens.date().isoformat(),
        "open": f"{opens:%H:%M}",
        "close": f"{closes:%H:%M}",
        "session_open": "0400",
        "session_close": "2000",
        "settlement_date": opens.date().isoformat(),
    }


def refusal_json(refusal: Refusal) -> Json:
    """The body of an error; the extras may not hide code and message."""
    return {**refusal.extras, "code": refusal.code, "message": refusal.message}


def _exchange(asset: Asset) -> str:
    return "CRYPTO" if asset.asset_class is AssetClass.CRYPTO else "NASDAQ"


def _ratio(part: Decimal, whole: Decimal) -> str:
    return amount(round(part / whole, 9)) if whole else "0"


# --- Inward ----------------------------------------------------------------------------------------------------


def parse_amount(value: object, name: str) -> Decimal:
    """A quantity or price from a string or a number.

    Raises:
        Refusal: It is neither, or no finite amount.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        refuse_invalid(f"{name} must be a number")
    text = str(value)
    try:
        parsed = Decimal(text)
    except InvalidOperation:
        refuse_invalid(f"{name} must be a number, got {text[:40]!r}")
    if (
        not parsed.is_finite()
        or len(parsed.as_tuple().digits) > _BODY_DIGITS
        or abs(parsed.adjusted()) > _LARGEST_EXPONENT
    ):
        refuse_invalid(f"{name} must be a number of ordinary size, got {text[:40]!r}")
    return parsed


def parse_new_order(body: object) -> NewOrder:
    """The decoded body of ``POST /v2/orders`` as a request to the engine, which judges what the order asks for.

    Raises:
        Refusal: The body is malformed, or asks for what this venue does not offer.
    """
    if not isinstance(body, dict):
        refuse_invalid("request body must be a JSON object")
    given = {key: value for key, value in body.items() if value is not None}
    symbol = given.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        refuse_invalid("symbol is required")
    side = _word(OrderSide, given, "side", "side")
    _check_offered(given)
    order_type = _word(OrderType, given, "type", "order type")
    time_in_force = _word(TimeInForce, given, "time_in_force", "time_in_force")
    limit = parse_amount(given["limit_price"], "limit_price") if "limit_price" in given else None
    client_order_id = given.get("client_order_id")
    if client_order_id is not None and not isinstance(client_order_id, str):
        refuse_invalid("client_order_id must be a string")
    return NewOrder(
        symbol=symbol,
        side=side,
        order_type=order_type,
        time_in_force=time_in_force,
        quantity=parse_amount(given["qty"], "qty"),
        limit_price=limit,
        client_order_id=client_order_id or None,
    )


def parse_replacement(body: object) -> Replacement:
    """The decoded body of ``PATCH /v2/orders/{id}``.

    Raises:
        Refusal: The body is malformed, or asks for what this venue does not offer.
    """
    if not isinstance(body, dict):
        refuse_invalid("request body must be a JSON object")
    given = {key: value for key, value in body.items() if value is not None}
    for name in ("stop_price", "trail", "notional"):
        if name in given:
            refuse_invalid(f"{name} is not offered by this venue; expected qty or limit_price")
    client_order_id = given.get("client_order_id")
    if client_order_id is not None and not isinstance(client_order_id, str):
        refuse_invalid("client_order_id must be a string")
    return Replacement(
        quantity=parse_amount(given["qty"], "qty") if "qty" in given else None,
        limit_price=parse_amount(given["limit_price"], "limit_price") if "limit_price" in given else None,
        client_order_id=client_order_id or None,
        time_in_force=_word(TimeInForce, given, "time_in_force", "time_in_force") if "time_in_force" in given else None,
    )


def _check_offered(given: Json) -> None:
    """Refuse what Alpaca has and this venue has not, rather than ignore it."""
    if given.get("type") in ("stop", "stop_limit", "trailing_stop"):
        refuse_invalid(f"order type {given['type']} is not offered by this venue; expected market or limit")
    if given.get("order_class", "") not in ("", "simple"):
        refuse_invalid("order_class must be simple: this venue offers no others")
    if "qty" in given and "notional" in given:
        refuse_invalid("only one of qty or notional is accepted")
    if "notional" in given:
        refuse_invalid("notional orders are not offered by this venue; expected qty")
    if "qty" not in given:
        refuse_invalid("qty or notional is required")
    if given.get("extended_hours") is True:
        refuse_unprocessable("extended hours trading is not offered by this venue")
    for name in ("stop_price", "trail_price", "trail_percent", "take_profit", "stop_loss", "legs"):
        if name in given:
            refuse_invalid(f"{name} is not offered by this venue")


def _word(words: type[_Word], body: Json, key: str, name: str) -> _Word:
    if key not in body:
        refuse_invalid(f"{key} is required")
    try:
        return words(body[key])
    except ValueError:
        refuse_invalid(f"invalid {name}")


def parse_time(text: str, name: str) -> int:
    """A moment (UTC ns) from RFC 3339 or a bare date, which means midnight in New York.

    Raises:
        Refusal: It is neither.
    """
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            ns = to_ns(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC))
        else:
            # A plus sign that was not escaped in a query arrives as a space.
            ns = parse_rfc3339(text.replace(" ", "+"))
    except (DataError, ValueError, OverflowError):
        refuse_invalid(f"{name} must be an RFC 3339 time or a date, got {text[:40]!r}")
    return max(-_FAR, min(ns, _FAR))


def parse_flag(text: str) -> bool:
    """A boolean of a query: Python's and JSON's spellings."""
    return text.lower() in ("true", "1", "yes")


def encode_token(*parts: str) -> str:
    """An opaque page token."""
    return base64.urlsafe_b64encode(encode_json(parts)).decode("ascii")


def decode_token(token: str, parts: int) -> list[str]:
    """The parts of a page token that this venue gave.

    Raises:
        Refusal: It did not give it.
    """
    try:
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(token.encode("ascii")), type=list[str])
    except (ValueError, msgspec.DecodeError):
        decoded = []
    if len(decoded) != parts:
        refuse_invalid("page_token is not one that this venue gave")
    return decoded
