"""Orders on the wire: requests as the engine takes them, orders and their events as clients expect them."""

from __future__ import annotations

from holdfast.model.enums import OrderSide, OrderType, TimeInForce
from holdfast.model.timestamps import format_rfc3339
from holdfast.venue.orders import EngineEvent, NewOrder, VenueOrder
from holdfast.venue.refusals import refuse_invalid, refuse_unprocessable
from holdfast.venue.replacing import Replacement
from holdfast.venue.wire.assets import asset_id
from holdfast.venue.wire.words import (
    Json,
    amount,
    derived_id,
    event_id,
    optional_amount,
    optional_time,
    parse_amount,
    parse_word,
)


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
    side = parse_word(OrderSide, given, "side", "side")
    _check_offered(given)
    order_type = parse_word(OrderType, given, "type", "order type")
    time_in_force = parse_word(TimeInForce, given, "time_in_force", "time_in_force")
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
        time_in_force=parse_word(TimeInForce, given, "time_in_force", "time_in_force")
        if "time_in_force" in given
        else None,
    )


def _check_offered(given: Json) -> None:
    """Refuse what Alpaca has and this venue has not, rather than ignore it."""
    if given.get("type") in ("stop", "stop_limit", "trailing_stop"):
        refuse_invalid(f"order type {given['type']} is not offered by this venue; expected market or limit")
    if given.get("time_in_force") in ("opg", "cls"):
        refuse_invalid("invalid time_in_force")
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
