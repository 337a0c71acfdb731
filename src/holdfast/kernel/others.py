"""What others did in our account: positions that were there before us, and orders that somebody placed by hand.

The venue nets everything in one position. So what is not ours is counted, whatever is done about it, for two reasons:
the comparison of the books must know what explains a difference, and an exit must never take more than the venue
holds in its direction (``Portfolio.gaps``). Only what is certain to be foreign is counted as such:

    baseline     what the venue held at the very first comparison, when we had not traded yet
    execution    of an order that carries another's id, or that no order of ours without a venue id can be

Anything else that differs is drift. It might be a lost fill of our own, and is never adopted.

    policy   people are told   the comparison              our books
    alert    yes               shows it as drift           do not change
    ignore   no                takes it for explained      do not change
    adopt    of each adoption  has nothing left to show    change by labelled adjustments, at the venue's price or at
                                                           the execution's; guards count open orders of others too

Nothing of others is ever touched, under any policy.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from holdfast.kernel.portfolio import Portfolio
from holdfast.model import Execution, Foreign, OrderReport
from holdfast.model.events import BrokerReported
from holdfast.state.order_machine import OPEN

Alert = Callable[[str, str, str], None]
_ZERO = Decimal(0)
_HELD_BEFORE = "held before us"
_COUNTED_APART = "counted apart until now"


class OthersState(msgspec.Struct):
    """All that is remembered. Plain data: it can be written down and read back.

    Attributes:
        baseline_at: When the first comparison came (UTC ns); 0 before.
        held: Signed quantities in the account that are not in our books, by symbol; empty where they were adopted.
        cash: What the trades of others moved of the cash (USD), where they were not adopted.
        counted: Executions of others by id, with what they changed of a position; zero for those before the baseline,
            and for the second id of one that was counted.
        ends: Where each of them ended in its order, because two sources may give one execution two ids.
    """

    baseline_at: int = 0
    held: dict[str, Decimal] = {}
    cash: Decimal = _ZERO
    counted: dict[str, Decimal] = {}
    ends: dict[str, None] = {}


class Others:
    """Counts what others did, and adopts it where that is wanted."""

    def __init__(self, portfolio: Portfolio, policy: Foreign, alert: Alert) -> None:
        self.state = OthersState()
        self.policy = policy
        self._portfolio = portfolio
        self._tracker = portfolio.tracker
        self._alert = alert

    # -- what the comparison asks ----------------------------------------------------------------

    def explained(self, symbol: str) -> Decimal:
        """What of a symbol the venue may hold beyond our books without being asked about."""
        return self.state.held.get(symbol, _ZERO) if self.policy is Foreign.IGNORE else _ZERO

    @property
    def explained_cash(self) -> Decimal:
        """The same of the money."""
        return self.state.cash if self.policy is Foreign.IGNORE else _ZERO

    @property
    def tells(self) -> bool:
        """Whether people are told of orders and executions of others one by one."""
        return self.policy is Foreign.ALERT

    # -- what is learned -------------------------------------------------------------------------

    def on_orphan(self, execution: Execution) -> None:
        """The stream told of an execution whose order is not known here. With another's id on it, it is another's."""
        if not execution.client_order_id or execution.execution_id in self.state.counted:
            return
        if self._tracker.awaits_leg(execution.symbol):
            return  # legs of ours have ids of the venue's making: the next comparison tells whose it is
        if self.state.baseline_at:
            self._count(execution)
        else:
            self._pass_over(execution)  # the first comparison will show it

    def on_report(self, report: OrderReport) -> None:
        """The venue described an order that is not ours."""
        if self.policy is not Foreign.ADOPT:
            return
        if report.status in OPEN:
            self._portfolio.adopted_orders[report.broker_id] = report
        else:
            self._portfolio.adopted_orders.pop(report.broker_id, None)

    def on_reported(self, event: BrokerReported) -> None:
        """The venue's whole truth; its orders and executions are in the tracker already."""
        first = not self.state.baseline_at
        adopted = self._portfolio.adopted_orders
        if adopted:
            open_there = {report.broker_id: None for report in event.orders if report.status in OPEN}
            for broker_id in [key for key in adopted if key not in open_there]:
                del adopted[broker_id]
        foreign_orders = {r.broker_id: None for r in event.orders if self._tracker.by_broker_id(r.broker_id) is None}
        for execution in self._tracker.orphan_executions():
            if execution.execution_id in self.state.counted:
                continue
            if first:
                self._pass_over(execution)  # it is in what the venue holds now
            elif execution.broker_id in foreign_orders or not self._may_be_ours(execution):
                self._count(execution)
        if first:
            self._take_baseline(event)
        elif self.policy is Foreign.ADOPT and self.state.held:
            self._take_over(event)

    def receive(self, symbol: str, change: Decimal) -> None:
        """The venue changed what others hold: a split, a transfer of shares. It is not in our books."""
        if not change:
            return
        held = self.state.held.get(symbol, _ZERO) + change
        if held:
            self.state.held[symbol] = held
        else:
            self.state.held.pop(symbol, None)
        self._portfolio.narrow_gap(symbol, -change)

    def give_back(self, execution: Execution) -> None:
        """An execution that was taken for another's turns out to be one of ours, and is counted as such now."""
        change = self.state.counted.pop(execution.execution_id, _ZERO)
        if change:
            self._book(execution.symbol, -change, execution, "taken for another's, and ours")

    def take_back(self, execution_id: str) -> bool:
        """The venue busted an execution. Returns whether it was one of others', and is reversed now."""
        change = self.state.counted.get(execution_id, _ZERO)
        if not change:
            return False
        self.state.counted[execution_id] = _ZERO
        (execution,) = [e for e in self._tracker.orphan_executions() if e.execution_id == execution_id]
        self._book(execution.symbol, -change, execution, "traded by others, and busted")
        return True

    # -- inside ----------------------------------------------------------------------------------

    def _may_be_ours(self, execution: Execution) -> bool:
        """Whether an order of ours whose venue id is not known could be the one that traded."""
        if execution.client_order_id and not self._tracker.awaits_leg(execution.symbol):
            return False
        return any(order.broker_id is None for order in self._tracker.open_orders(execution.symbol))

    def _pass_over(self, execution: Execution) -> None:
        self.state.counted[execution.execution_id] = _ZERO
        if execution.cum_qty is not None:
            self.state.ends[_end(execution)] = None

    def _count(self, execution: Execution) -> None:
        portfolio = self._portfolio
        known = execution.cum_qty is not None and _end(execution) in self.state.ends
        self._pass_over(execution)
        if known:
            return
        book = portfolio.book(execution.symbol)
        terms = (book.asset_class, execution.side, execution.quantity, execution.price)
        fee_coin, _ = portfolio.fees.fee_for(*terms, taker=False)
        if fee_coin:
            # Whether it was charged as maker or taker, nobody says.
            book.fee_uncertainty += portfolio.fees.fee_for(*terms, taker=True)[0] - fee_coin
        change = execution.side.sign * (execution.quantity - fee_coin)
        self.state.counted[execution.execution_id] = change
        self._book(execution.symbol, change, execution, "traded by others")

    def _book(self, symbol: str, change: Decimal, execution: Execution, label: str) -> None:
        """Count a change that an execution of others made, or that it turned out not to have made."""
        portfolio = self._portfolio
        book = portfolio.book(symbol)
        terms = (book.asset_class, execution.side, execution.quantity, execution.price)
        most = portfolio.fees.fee_for(*terms, taker=True)[1]
        least = portfolio.fees.fee_for(*terms, taker=False)[1]
        portfolio.cash_uncertainty += most - least
        undone = (change > 0) is not (execution.side.sign > 0)
        notional = execution.side.sign * execution.quantity * execution.price + least
        cash = notional if undone else -notional
        if self.policy is Foreign.ADOPT:
            portfolio.positions.adjust(
                symbol, change, f"{label}: {execution.execution_id}", execution.at, cash, price=execution.price
            )
            portfolio.refresh(book, book.mark or float(execution.price))
            if execution.at <= portfolio.gaps_at:
                portfolio.narrow_gap(symbol, change)
            self._alert(
                "order-drift",
                f"{symbol}: adopted: {label}",
                f"{execution.side} {execution.quantity} at {execution.price}, execution {execution.execution_id}",
            )
            return
        self.state.cash += cash
        self.receive(symbol, change)

    def _take_baseline(self, event: BrokerReported) -> None:
        self.state.baseline_at = event.ts
        portfolio = self._portfolio
        for position in event.positions:
            symbol = position.symbol
            quantity = position.quantity - portfolio.positions.quantity(symbol)
            if not quantity:
                continue
            if self.policy is not Foreign.ADOPT:
                self.state.held[symbol] = quantity
                portfolio.gaps[symbol] = quantity
                continue
            price = position.avg_entry_price
            portfolio.positions.adjust(symbol, quantity, _HELD_BEFORE, event.ts, price=price)
            book = portfolio.book(symbol)
            mark = float(position.current_price or portfolio.last_price(symbol) or price)
            portfolio.foreign_value -= float(quantity) * mark  # it moves from one side of the equity to the other
            portfolio.refresh(book, mark)
            self._alert("order-drift", f"{symbol}: adopted what was held before us", f"{quantity} at {price}")

    def _take_over(self, event: BrokerReported) -> None:
        """An earlier run counted apart what this one is to adopt: it moves into our books, and the equity stays."""
        portfolio, state = self._portfolio, self.state
        before = portfolio.equity
        for position in event.positions:
            quantity = state.held.pop(position.symbol, _ZERO)
            if quantity:
                price = position.avg_entry_price
                portfolio.positions.adjust(position.symbol, quantity, _COUNTED_APART, event.ts, price=price)
                portfolio.narrow_gap(position.symbol, quantity)
                mark = float(position.current_price or portfolio.last_price(position.symbol) or price)
                portfolio.refresh(portfolio.book(position.symbol), mark)
                title = f"{position.symbol}: adopted what was counted apart"
                self._alert("order-drift", title, f"{quantity} at {price}")
        if state.cash:
            portfolio.positions.adjust("", _ZERO, _COUNTED_APART, event.ts, state.cash)
            state.cash = _ZERO
        portfolio.recount_equity()
        portfolio.foreign_value -= portfolio.equity - before
        portfolio.recount_equity()


def _end(execution: Execution) -> str:
    return f"{execution.broker_id}:{execution.cum_qty}"
