"""The venue's voice for a group of orders: it names the legs, and speaks of them under ids of its own making."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from holdfast.model import OrderIntent, OrderReport, OrderStatus, OrderTerms, Source
from holdfast.model.events import OrderFilled, OrderUpdated
from holdfast.state.order_tracker import InFlightOrder
from tests.kernel.helpers import SPY, Action, Bench, report_of

D = Decimal


def bracket(quantity: int = 10, **terms: Any) -> Action:
    """A strategy's action: buy with a take-profit at 110 and a stop-loss at 95."""
    prices = {"take_profit": 110, "stop_loss": 95} | terms
    return lambda strategy: strategy.buy(SPY, quantity, reason="entry", **prices)


class Group:
    """The venue's side of a group on a bench: it names the legs and speaks of them."""

    def __init__(self, bench: Bench, intent: OrderIntent) -> None:
        self.bench, self.intent = bench, intent
        self.statuses = {"tp": OrderStatus.HELD, "sl": OrderStatus.HELD}

    def leg(self, name: str) -> InFlightOrder:
        """One of the exits, as the kernel holds it."""
        order = self.bench.kernel.portfolio.tracker.get(f"{self.intent.client_order_id}.{name}")
        assert order is not None
        return order

    def leg_report(self, name: str, status: OrderStatus | None = None, **changes: Any) -> OrderReport:
        """The venue's description of an exit, under an id of the venue's own."""
        leg = self.leg(name)
        if status is not None:
            self.statuses[name] = status
        fields: dict[str, Any] = {
            "broker_id": f"V-{leg.client_order_id}",
            "client_order_id": f"made-by-the-venue-{name}",
            "symbol": leg.symbol,
            "side": leg.side,
            "status": self.statuses[name],
            "quantity": leg.quantity,
            "filled_qty": leg.filled_quantity,
            "order_type": leg.order_type.value,
            "time_in_force": leg.time_in_force.value,
            "limit_price": leg.limit_price,
            "terms": leg.terms,
        }
        return OrderReport(**fields | changes)

    def report(self, status: OrderStatus, *, nested: bool = True, **changes: Any) -> OrderReport:
        """The venue's description of the entry, with or without its legs."""
        terms = None if self.intent.terms is None else OrderTerms(order_class=self.intent.terms.order_class)
        fields: dict[str, Any] = {"terms": terms, "filled_qty": self.bench.counted(self.intent)} | changes
        fields.setdefault("legs", tuple(self.leg_report(name) for name in self.names) if nested else None)
        return report_of(self.intent, status, **fields)

    @property
    def names(self) -> list[str]:
        """Which exits there are."""
        tracker = self.bench.kernel.portfolio.tracker
        return [name for name in ("tp", "sl") if tracker.get(f"{self.intent.client_order_id}.{name}") is not None]

    def accepted(self, source: Source = Source.RESPONSE, *, legs: bool = True) -> list[Any]:
        """The venue has the group."""
        report = self.report(OrderStatus.NEW, nested=legs)
        return self.bench.show(OrderUpdated(ts=self.bench.now, report=report, source=source))

    def entered(self, price: float = 100.0) -> list[Any]:
        """The entry fills in whole; then the exits are live."""
        execution = self.bench.execution(self.intent, self.intent.quantity, price)
        report = self.report(OrderStatus.FILLED, nested=False, filled_qty=self.intent.quantity)
        commands = self.bench.show(
            OrderFilled(ts=self.bench.now, execution=execution, source=Source.STREAM, report=report)
        )
        return commands + self.told("tp", OrderStatus.NEW) if "tp" in self.names else commands

    def told(self, name: str, status: OrderStatus, source: Source = Source.STREAM, **changes: Any) -> list[Any]:
        """The venue describes an exit."""
        report = self.leg_report(name, status, **changes)
        return self.bench.show(OrderUpdated(ts=self.bench.now, report=report, source=source))

    def exited(self, name: str, price: float, quantity: int | None = None) -> list[Any]:
        """An exit trades, and the stream says so."""
        leg = self.leg(name)
        amount = leg.remaining if quantity is None else D(quantity)
        execution = self.bench.execution(
            self.intent,
            amount,
            price,
            side=leg.side,
            broker_id=f"V-{leg.client_order_id}",
            client_order_id=f"made-by-the-venue-{name}",
            cum_qty=leg.filled_quantity + amount,
        )
        done = leg.filled_quantity + amount >= leg.quantity
        status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        report = self.leg_report(name, status, filled_qty=leg.filled_quantity + amount)
        return self.bench.show(OrderFilled(ts=self.bench.now, execution=execution, source=Source.STREAM, report=report))


def entered(**guards: Any) -> tuple[Bench, Group]:
    """A bracket whose entry has filled: 10 are held, and two exits rest."""
    bench = Bench(**guards)
    group = Group(bench, bench.order(bracket()))
    group.accepted()
    group.entered()
    return bench, group
