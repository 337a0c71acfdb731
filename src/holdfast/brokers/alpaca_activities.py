"""Account activities that are no fills, and executions that the venue takes back, as ``AccountActivity`` values.

Alpaca has some fifty types of them. What matters to our books is what a row changes, so a table sorts the types; one
that it does not know is taken as what its amounts say. The venue's figures are compared with our books after each
look, so a row that was misread shows as drift and is never hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import structlog

from holdfast.brokers import alpaca_wire as wire
from holdfast.model.enums import ActivityKind
from holdfast.model.events import VenueAdjusted
from holdfast.model.orders import AccountActivity
from holdfast.model.timestamps import parse_rfc3339

Json = Mapping[str, Any]

_log = structlog.get_logger(__name__)
_ZERO = Decimal(0)
_K = ActivityKind

# By the longest prefix of the type's name: "DIVNRA" is a tax on a dividend, and changes the cash as a dividend does.
KINDS: Mapping[str, tuple[ActivityKind, str]] = {
    "CFEE": (_K.FEE, "coin fee posted"),
    "FEE": (_K.FEE, "fee posted"),
    "DIV": (_K.INCOME, "dividend"),
    "INT": (_K.INCOME, "interest"),
    "CIL": (_K.INCOME, "cash in lieu of shares"),
    "PTC": (_K.INCOME, "pass-through charge"),
    "PTR": (_K.INCOME, "pass-through rebate"),
    "TAXWH": (_K.INCOME, "tax withheld"),
    "WH": (_K.INCOME, "tax withheld"),
    "CSD": (_K.TRANSFER, "cash deposited"),
    "CSW": (_K.TRANSFER, "cash withdrawn"),
    "JNL": (_K.TRANSFER, "journal entry between accounts"),
    "ACAT": (_K.TRANSFER, "account transfer"),
    "TRANS": (_K.TRANSFER, "cash transaction"),
    "SPLIT": (_K.SPLIT, "stock split"),
    "SSP": (_K.SPLIT, "stock split"),
    "SPIN": (_K.SHARES, "spin-off"),
    "SSO": (_K.SHARES, "spin-off"),
    "MA": (_K.SHARES, "merger or acquisition"),
    "NC": (_K.SHARES, "name change"),
    "REORG": (_K.SHARES, "reorganisation"),
    "SC": (_K.SHARES, "symbol change"),
    "CORR": (_K.SHARES, "correction by the venue"),
}
_UNLISTED = (_K.SHARES, "account activity")

# The stream's words for an execution that is not what it was.
REVISIONS: Mapping[str, tuple[ActivityKind, str]] = {
    "trade_bust": (_K.BUST, "trade busted"),
    "trade_correct": (_K.CORRECTION, "trade corrected"),
}


def kind_of(activity_type: str) -> tuple[ActivityKind, str]:
    """What a type changes, and its name in words."""
    for length in range(len(activity_type), 0, -1):
        found = KINDS.get(activity_type[:length])
        if found is not None:
            return found
    return _UNLISTED


def activity(row: Json) -> AccountActivity | None:
    """One row of the activities that are no trades. A cancelled one takes the row of the same id back.

    Returns:
        ``None`` where it cannot be read; it is logged whole, and what it changed shows in the comparison of the books.
    """
    try:
        identity, word = row["id"], str(row["activity_type"])
        kind, name = kind_of(word)
        canceled = row.get("status") == "canceled"
        sign = -1 if canceled else 1
        symbol = str(row.get("symbol") or "")
        day = row.get("date")
        label = f"{name} ({word})"
        return AccountActivity(
            activity_id=f"{identity}:canceled" if canceled else str(identity),
            kind=kind,
            label=f"{label}, cancelled" if canceled else label,
            at=parse_rfc3339(row.get("created_at") or f"{day}T00:00:00Z"),
            symbol=wire.crypto_symbol(symbol) if word == "CFEE" else symbol,
            quantity=sign * (wire.decimal(row.get("qty") or 0) if symbol else _ZERO),
            cash=sign * wire.decimal(row.get("net_amount") or 0),
            cancels=str(identity) if canceled else "",
        )
    except wire.UNREADABLE as error:
        _log.warning("alpaca.activity_unreadable", row=row, reason=str(error))
        return None


def revisions(update: Json, ts: int) -> list[VenueAdjusted]:
    """The change of the account in a ``trade_updates`` message that busts or corrects an execution.

    Empty for any other message, and for one that does not name the execution: then only the comparison of the books
    tells, for which ``alpaca_wire.reconcile_reason`` asks.

    Args:
        update: The message.
        ts: When we learned of it (UTC ns).
    """
    found = REVISIONS.get(str(update.get("event")))
    if found is None:
        return []
    kind, label = found
    try:
        execution_id = update.get("previous_execution_id") or update.get("previous_id") or update.get("execution_id")
        if not execution_id:
            return []
        corrected = kind is _K.CORRECTION
        quantity, price = update.get("qty"), update.get("price")
        at = update.get("timestamp")
        return [
            VenueAdjusted(
                ts=ts,
                activity=AccountActivity(
                    activity_id=f"{label}:{execution_id}",
                    kind=kind,
                    label=label,
                    at=parse_rfc3339(at) if at else ts,
                    symbol=str(update["order"]["symbol"]),
                    quantity=abs(wire.decimal(quantity)) if corrected else _ZERO,
                    price=wire.decimal(price) if corrected else None,
                    execution_id=str(execution_id),
                ),
            )
        ]
    except wire.UNREADABLE as error:
        _log.warning("alpaca.revision_unreadable", update=update, reason=str(error))
        return []
