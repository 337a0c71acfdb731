"""Whether two things are one: an order at the venue and the one that we meant, two reports of an execution."""

from __future__ import annotations

from decimal import Decimal

from holdfast.model import Execution, OrderReport, OrderTerms
from holdfast.state.in_flight import InFlightOrder


def are_two(order: InFlightOrder, known: Execution, other: Execution, cum_qty: Decimal) -> bool:
    """Whether two executions that end at the same quantity are two all the same.

    A message may show the order as it was after a later fill. They differ, and together they do not pass that quantity.
    """
    differs = (other.quantity, other.price) != (known.quantity, known.price)
    return differs and order.filled_quantity + other.quantity <= cum_qty


def is_meant(order: InFlightOrder, report: OrderReport) -> bool:
    """Whether the venue's order is the one that we meant."""
    return (
        report.symbol == order.symbol
        and report.side is order.side
        and report.quantity == order.quantity
        and report.order_type == order.order_type
        and report.time_in_force == order.time_in_force
        and report.limit_price == order.limit_price
        and (report.terms == order.terms or not _differing_terms(order, report))
        and report.client_order_id in (order.client_order_id, "")
    )


def difference(order: InFlightOrder, report: OrderReport) -> str:
    """What the venue's order and the one that we meant differ in, in words."""
    pairs: tuple[tuple[str, object, object], ...] = (
        ("client_order_id", order.client_order_id, report.client_order_id),
        ("symbol", order.symbol, report.symbol),
        ("side", order.side, report.side),
        ("quantity", order.quantity, report.quantity),
        ("type", order.order_type, report.order_type),
        ("limit price", order.limit_price, report.limit_price),
        ("time in force", order.time_in_force, report.time_in_force),
        *_differing_terms(order, report),
    )
    return ", ".join(f"{name} {there} instead of {ours}" for name, ours, there in pairs if ours != there)


_NO_TERMS = OrderTerms()


def _differing_terms(order: InFlightOrder, report: OrderReport) -> list[tuple[str, object, object]]:
    """In which further terms the venue's order differs from the one that we meant, as (name, ours, theirs).

    What a trailing stop's price is now follows the market. The exits of a group are orders of their own and are compared
    as such; an order that takes another one's place is of whatever class that one is.
    """
    ours, theirs = order.terms or _NO_TERMS, report.terms or _NO_TERMS
    names = ["trail_price", "trail_percent", "extended_hours"]
    if not ours.trails:
        names.append("stop_price")
    if order.replaces is None:
        names.append("order_class")
    found = ((name.replace("_", " "), getattr(ours, name), getattr(theirs, name)) for name in names)
    return [(name, here, there) for name, here, there in found if here != there]
