"""Orders on the wire: requests as the engine takes them, orders and their events as clients expect them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from holdfast.model.enums import OrderClass, OrderSide, OrderType, TimeInForce
from holdfast.model.timestamps import format_rfc3339
from holdfast.venue.matching.orders import ZERO, EngineEvent, Exits, NewOrder, Terms, VenueOrder
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.matching.replacing import Replacement
from holdfast.venue.matching.rules import Rule
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

_PLAIN = Terms()


def order_json(order: VenueOrder, legs: Sequence[VenueOrder] = ()) -> Json:
    """An order, or a snapshot of one, with the legs that are to be shown inside it."""
    terms = order.terms or _PLAIN
    simple = terms.order_class is OrderClass.SIMPLE
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
        "notional": optional_amount(terms.notional),
        "qty": amount(order.quantity) if terms.notional is None else None,
        "filled_qty": amount(order.filled_qty),
        "filled_avg_price": optional_amount(order.filled_avg_price),
        "order_class": "" if simple else terms.order_class.value,
        "order_type": order.order_type.value,
        "type": order.order_type.value,
        "side": order.side.value,
        "position_intent": _intent(order),
        "time_in_force": order.time_in_force.value,
        "limit_price": optional_amount(order.limit_price),
        "stop_price": optional_amount(terms.stop_price),
        "status": order.status.value,
        "extended_hours": terms.extended_hours,
        "legs": [order_json(leg) for leg in legs] or None,
        "trail_percent": optional_amount(terms.trail_percent),
        "trail_price": optional_amount(terms.trail_price),
        "hwm": optional_amount(terms.hwm),
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
        Refusal: The body is malformed.
    """
    if not isinstance(body, dict):
        refuse_invalid("request body must be a JSON object")
    given = {key: value for key, value in body.items() if value is not None}
    symbol = given.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        refuse_invalid("symbol is required")
    side = parse_word(OrderSide, given, "side", "side")
    order_type = parse_word(OrderType, given, "type", "order type")
    time_in_force = parse_word(TimeInForce, given, "time_in_force", "time_in_force")
    if "qty" in given and "notional" in given:
        raise Rule.QTY_AND_NOTIONAL.refusal()
    if "qty" not in given and "notional" not in given:
        raise Rule.QTY_MISSING.refusal()
    return NewOrder(
        symbol=symbol,
        side=side,
        order_type=order_type,
        time_in_force=time_in_force,
        quantity=parse_amount(given["qty"], "qty") if "qty" in given else ZERO,
        limit_price=_optional(given, "limit_price"),
        client_order_id=_client_order_id(given),
        terms=_parse_terms(given),
    )


def _parse_terms(given: Json) -> Terms | None:
    """What plain orders do not say; None if this one does not either."""
    order_class = OrderClass.SIMPLE
    if given.get("order_class", "") != "":
        order_class = parse_word(OrderClass, given, "order_class", "order_class")
    take_profit, stop_loss = _member(given, "take_profit"), _member(given, "stop_loss")
    exits = None
    if take_profit is not None or stop_loss is not None or order_class is not OrderClass.SIMPLE:
        exits = Exits(
            _optional(take_profit or {}, "limit_price", "take_profit.limit_price"),
            _optional(stop_loss or {}, "stop_price", "stop_loss.stop_price"),
            _optional(stop_loss or {}, "limit_price", "stop_loss.limit_price"),
        )
    extended_hours = given.get("extended_hours", False)
    if not isinstance(extended_hours, bool):
        refuse_invalid("extended_hours must be a boolean")
    terms = Terms(
        stop_price=_optional(given, "stop_price"),
        trail_price=_optional(given, "trail_price"),
        trail_percent=_optional(given, "trail_percent"),
        extended_hours=extended_hours,
        notional=_optional(given, "notional"),
        order_class=order_class,
        exits=exits,
    )
    return None if terms == _PLAIN else terms


def _member(given: Json, name: str) -> Json | None:
    """An object inside the body."""
    member = given.get(name)
    if member is None:
        return None
    if not isinstance(member, dict):
        refuse_invalid(f"{name} must be a JSON object")
    return {key: value for key, value in member.items() if value is not None}


def _optional(given: Json, key: str, name: str | None = None) -> Decimal | None:
    return parse_amount(given[key], name or key) if key in given else None


def _client_order_id(given: Json) -> str | None:
    client_order_id = given.get("client_order_id")
    if client_order_id is not None and not isinstance(client_order_id, str):
        refuse_invalid("client_order_id must be a string")
    return client_order_id or None


def parse_replacement(body: object) -> Replacement:
    """The decoded body of ``PATCH /v2/orders/{id}``.

    Raises:
        Refusal: The body is malformed.
    """
    if not isinstance(body, dict):
        refuse_invalid("request body must be a JSON object")
    given = {key: value for key, value in body.items() if value is not None}
    if "notional" in given:
        raise Rule.REPLACE_NOTIONAL.refusal()
    word = parse_word(TimeInForce, given, "time_in_force", "time_in_force") if "time_in_force" in given else None
    return Replacement(
        quantity=_optional(given, "qty"),
        limit_price=_optional(given, "limit_price"),
        client_order_id=_client_order_id(given),
        time_in_force=word,
        stop_price=_optional(given, "stop_price"),
        trail=_optional(given, "trail"),
    )


def _intent(order: VenueOrder) -> str:
    """Whether it opens or closes: only an order that opens holds buying power back."""
    return f"{order.side.value}_to_{'open' if order.reserve_price else 'close'}"
