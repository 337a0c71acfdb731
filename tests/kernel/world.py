"""A kernel and a venue that tells the truth late, twice, or not at all; a history is a list of what happens.

The venue here is a list of orders. What it does and what it tells are two things: an order may arrive and the answer
be lost, trade without a word, be cancelled in silence. Only its answers to look-ups and its full reports are reliable.
It accepts everything, also what a real one would refuse, so that nothing but the kernel stands before a flip.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import msgspec

from holdfast.kernel import KernelSettings
from holdfast.model import Execution, OrderIntent, OrderReport, OrderStatus, Source
from holdfast.model.commands import CancelOrder, Command, LookupOrder, Reconcile, SubmitOrder
from holdfast.model.events import (
    CancelRefused,
    CancelUnknown,
    Event,
    LookupFailed,
    LookupMissed,
    OrderFilled,
    OrderRefused,
    OrderUpdated,
    SubmitUnknown,
)
from holdfast.model.timestamps import NS_PER_SECOND
from tests.kernel.helpers import ACCOUNT, SPY, Action, Bench, buy, leave, report_of, sell

ACTIONS: dict[str, Action] = {
    "buy": buy(10),
    "sell": sell(10),
    "sell_more": sell(17),
    "buy_limit": buy(7, limit=100.0),
    "sell_limit": sell(7, limit=100.0),
    "exit": leave(),
    "exit_part": leave(3),
    "exit_limit": leave(limit=100.0),
    "cancel": lambda strategy: strategy.cancel(SPY),
}
VENUE = (
    "arrive",
    "arrive_in_silence",
    "get_lost",
    "refuse",
    "trade",
    "trade_in_silence",
    "answer_lookup",
    "fail_lookup",
    "carry_out_cancel",
    "carry_out_cancel_in_silence",
    "lose_cancel",
    "repeat_itself",
    "report",
    "timer",
)


class AtTheVenue:
    """One order as it really is."""

    def __init__(self, intent: OrderIntent) -> None:
        self.intent = intent
        self.status = OrderStatus.NEW
        self.executions: list[Execution] = []

    @property
    def filled(self) -> Decimal:
        """What has traded."""
        return sum((execution.quantity for execution in self.executions), Decimal(0))

    @property
    def rest(self) -> Decimal:
        """What has not."""
        return self.intent.quantity - self.filled

    @property
    def is_open(self) -> bool:
        """Whether it may still trade."""
        return self.status in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)

    def report(self) -> OrderReport:
        """As the venue describes it."""
        return report_of(self.intent, self.status, filled_qty=self.filled)


class World:
    """A kernel, a venue, and the requests that are between them."""

    def __init__(self) -> None:
        self.bench = Bench(settings=KernelSettings(lookup_grace=4 * NS_PER_SECOND))
        self.orders: dict[str, AtTheVenue] = {}
        self.submits: deque[OrderIntent] = deque()
        self.lookups: deque[str] = deque()
        self.cancels: deque[CancelOrder] = deque()
        self.told: list[Event] = []

    # -- what happens ---------------------------------------------------------------------------

    def step(self, name: str, choice: int) -> None:
        """One thing happens."""
        if name in ACTIONS:
            self._take(self.bench.act(ACTIONS[name]))
        else:
            getattr(self, name)(choice)
        self.check()

    def arrive(self, _choice: int) -> None:
        """The oldest request arrives, and is answered."""
        if self.submits:
            order = self._arrived()
            self._tell(OrderUpdated(ts=self.bench.now, report=order.report(), source=Source.RESPONSE))

    def arrive_in_silence(self, _choice: int) -> None:
        """It arrives, and the answer is lost."""
        if self.submits:
            order = self._arrived()
            self._tell(SubmitUnknown(ts=self.bench.now, client_order_id=order.intent.client_order_id, reason="?"))

    def get_lost(self, _choice: int) -> None:
        """It never arrives; nobody can tell the difference."""
        if self.submits:
            lost = self.submits.popleft().client_order_id
            self._tell(SubmitUnknown(ts=self.bench.now, client_order_id=lost, reason="?"))

    def refuse(self, _choice: int) -> None:
        """A definite no."""
        if self.submits:
            refused = self.submits.popleft().client_order_id
            self._tell(OrderRefused(ts=self.bench.now, client_order_id=refused, reason="no"))

    def trade(self, choice: int) -> None:
        """An open order trades, and the stream says so."""
        order = self._trade(choice)
        if order is not None:
            fill = OrderFilled(
                ts=self.bench.now, execution=order.executions[-1], source=Source.STREAM, report=order.report()
            )
            self._tell(fill)

    def trade_in_silence(self, choice: int) -> None:
        """It trades, and the stream loses it."""
        self._trade(choice)

    def answer_lookup(self, _choice: int) -> None:
        """The truth about one order."""
        if self.lookups:
            self.bench.wait(1)
            client_order_id = self.lookups.popleft()
            order = self.orders.get(client_order_id)
            if order is None:
                self._tell(LookupMissed(ts=self.bench.now, client_order_id=client_order_id))
            else:
                self._tell(OrderUpdated(ts=self.bench.now, report=order.report(), source=Source.LOOKUP))

    def fail_lookup(self, _choice: int) -> None:
        """No answer to a look-up."""
        if self.lookups:
            self._tell(LookupFailed(ts=self.bench.now, client_order_id=self.lookups.popleft(), reason="?"))

    def carry_out_cancel(self, _choice: int) -> None:
        """A cancel works, or is refused because the order is over."""
        if self.cancels:
            order = self._canceled()
            if order is None:
                return
            self._tell(OrderUpdated(ts=self.bench.now, report=order.report(), source=Source.STREAM))

    def carry_out_cancel_in_silence(self, _choice: int) -> None:
        """It works, and nobody says so."""
        if self.cancels:
            self._canceled()

    def lose_cancel(self, _choice: int) -> None:
        """It never arrives."""
        if self.cancels:
            lost = self.cancels.popleft().client_order_id
            self._tell(CancelUnknown(ts=self.bench.now, client_order_id=lost, reason="?"))

    def repeat_itself(self, choice: int) -> None:
        """Old news comes again."""
        if self.told:
            self._take(self.bench.show(self.told[choice % len(self.told)]))

    def report(self, _choice: int) -> None:
        """The whole truth."""
        orders = tuple(order.report() for order in self.orders.values())
        # Activities name the venue's id only.
        executions = [
            Execution(
                execution_id=f"activity-{e.execution_id}",
                broker_id=e.broker_id,
                symbol=e.symbol,
                side=e.side,
                quantity=e.quantity,
                price=e.price,
                at=e.at,
                cum_qty=e.cum_qty,
            )
            for order in self.orders.values()
            for e in order.executions
        ]
        held = {SPY: self.position} if self.position else {}
        account = msgspec.structs.replace(ACCOUNT, cash=self.cash)
        self._take(self.bench.reported(orders=orders, executions=executions, positions=held, account=account))

    def timer(self, _choice: int) -> None:
        """The kernel's next timer fires."""
        if self.bench.kernel.timers:
            self._take(self.bench.fire())

    def settle(self) -> None:
        """Faults stop: everything is carried out and answered, and orders that may trade do."""
        for _ in range(60):
            while self.submits or self.lookups or self.cancels:
                self.arrive(0)
                self.carry_out_cancel(0)
                self.answer_lookup(0)
                self.check()
            self.trade_at_the_market()
            self.report(0)
            if not (self.submits or self.lookups or self.cancels or self.bench.kernel.timers):
                return
            self.timer(0)
            self.check()

    def trade_at_the_market(self) -> None:
        """Market orders do not rest."""
        for order in self.orders.values():
            if order.is_open and order.intent.limit_price is None:
                self._fill(order, order.rest)

    # -- the laws -------------------------------------------------------------------------------

    @property
    def position(self) -> Decimal:
        """What is really held."""
        executions = [execution for order in self.orders.values() for execution in order.executions]
        return sum((execution.side.sign * execution.quantity for execution in executions), Decimal(0))

    @property
    def cash(self) -> Decimal:
        """What is really left of the money."""
        executions = [execution for order in self.orders.values() for execution in order.executions]
        return ACCOUNT.cash - sum((e.side.sign * e.quantity * e.price for e in executions), Decimal(0))

    def check(self) -> None:
        """Whatever happens next, the reducing orders that are out cannot carry the position through zero."""
        out = [(intent, intent.quantity) for intent in self.submits]
        out += [(order.intent, order.rest) for order in self.orders.values() if order.is_open]
        for sign in (1, -1):
            against = sum(
                (rest for intent, rest in out if intent.reduce_only and intent.side.sign == -sign), Decimal(0)
            )
            assert against <= max(sign * self.position, Decimal(0)), self.told

    # -- inside ---------------------------------------------------------------------------------

    def _take(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, SubmitOrder):
                assert command.intent.client_order_id not in self.orders, "sent twice"
                self.submits.append(command.intent)
            elif isinstance(command, LookupOrder):
                self.lookups.append(command.client_order_id)
            elif isinstance(command, CancelOrder):
                self.cancels.append(command)
            elif isinstance(command, Reconcile):
                pass  # answered by ``report``, whenever it comes

    def _tell(self, event: Event) -> None:
        if isinstance(event, OrderFilled | OrderUpdated):
            self.told.append(event)
        self._take(self.bench.show(event))

    def _arrived(self) -> AtTheVenue:
        intent = self.submits.popleft()
        order = self.orders[intent.client_order_id] = AtTheVenue(intent)
        return order

    def _trade(self, choice: int) -> AtTheVenue | None:
        tradable = [order for order in self.orders.values() if order.is_open]
        if not tradable:
            return None
        order = tradable[choice % len(tradable)]
        self._fill(order, min(order.rest, Decimal(1 + choice % 10)))
        return order

    def _fill(self, order: AtTheVenue, quantity: Decimal) -> None:
        intent = order.intent
        cumulative = order.filled + quantity
        order.status = OrderStatus.FILLED if cumulative == intent.quantity else OrderStatus.PARTIALLY_FILLED
        order.executions.append(
            Execution(
                execution_id=f"{intent.client_order_id}-{cumulative}",
                broker_id=f"B-{intent.client_order_id}",
                symbol=intent.symbol,
                side=intent.side,
                quantity=quantity,
                price=Decimal(100),
                at=self.bench.now,
                cum_qty=cumulative,
                client_order_id=intent.client_order_id,
            )
        )

    def _canceled(self) -> AtTheVenue | None:
        request = self.cancels.popleft()
        order = self.orders[request.client_order_id]
        if not order.is_open:
            self._tell(CancelRefused(ts=self.bench.now, client_order_id=request.client_order_id, reason="closed"))
            return None
        order.status = OrderStatus.CANCELED
        return order
