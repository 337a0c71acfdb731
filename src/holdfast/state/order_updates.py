"""Reading what users and brokers' libraries hand us: dictionaries, objects, words in any case, times in any form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from holdfast.model.enums import OrderStatus
from holdfast.model.errors import DataError, OrderError
from holdfast.model.timestamps import parse_rfc3339, to_ns
from holdfast.state.order_machine import VENUE_WORDS


def client_order_id_of(order: object) -> str | None:
    """The client order id of a broker's order, in whatever form the broker's library gives it."""
    value = order.get("client_order_id") if isinstance(order, Mapping) else getattr(order, "client_order_id", None)
    return None if value is None else str(value)


def read_update(update: Mapping[str, Any]) -> tuple[OrderStatus | None, str | None, Decimal | None, int | None]:
    """Status word, venue id, cumulative quantity and submit time of an update; ``None`` for what it lacks."""
    broker_id = update.get("exchange_order_id") or update.get("broker_id") or update.get("id")
    filled_qty, submitted_at = update.get("filled_qty"), update.get("submitted_at")
    return (
        read_word(update.get("status")),
        None if broker_id is None else str(broker_id),
        None if filled_qty is None else read_number(filled_qty, "filled_qty"),
        None if submitted_at is None else read_moment(submitted_at, "submitted_at"),
    )


def read_word(status: object) -> OrderStatus | None:
    """A status in a venue's mouth: one that we do not know, or that is only ours, is UNKNOWN."""
    if status is None:
        return None
    text = str(getattr(status, "value", status)).lower()
    return OrderStatus(text) if text in VENUE_WORDS else OrderStatus.UNKNOWN


def read_number(value: object, name: str) -> Decimal:
    """A number that is finite and not negative, from any form of number or its text."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        message = f"order update: {name} is {value!r}; expected a number that is not negative"
        raise OrderError(message)
    return number


def read_moment(value: object, name: str) -> int:
    """UTC ns of an aware datetime, an int of ns, or an RFC 3339 text."""
    try:
        if isinstance(value, datetime):
            return to_ns(value)
        if isinstance(value, str):
            return parse_rfc3339(value)
    except (ValueError, DataError) as error:
        message = f"{name}: {error}"
        raise OrderError(message) from None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    message = f"{name} is {value!r}; expected an aware datetime or UTC nanoseconds"
    raise OrderError(message)
