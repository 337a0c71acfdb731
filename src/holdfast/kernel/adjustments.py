"""Fees, dividends, splits, transfers, busted trades: what the venue changes without a trade of ours.

Each arrives as a ``VenueAdjusted`` event and is counted once, for ever, by the venue's id of it. Each becomes an
adjustment with a label, never an execution. What there is to do depends on the kind alone:

    fee         what our fee model has booked already is settled first. Coins beyond that widen what a comparison may
                explain as fees (the venue takes them from the position at the trade, and posts them later); money
                beyond that is charged now
    income      cash, and so profit or loss
    transfer    cash or shares that came or went; no profit, so the equity that guards watch does not move
    split       more or fewer shares at the same cost, lot by lot
    shares      any other corporate action that changed a position
    bust        the execution is reversed at its own price; it stays recorded, and the label names it
    correction  the same, and what it was corrected to is booked beside it

Rows that were there at the very first comparison are part of the baseline: the venue's figures had them already.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from holdfast.kernel.others import Others
from holdfast.kernel.portfolio import CASH, Portfolio
from holdfast.model import AccountActivity, ActivityKind, Execution, Foreign
from holdfast.model.events import VenueAdjusted
from holdfast.state.order_tracker import InFlightOrder

Alert = Callable[[str, str, str], None]
_ZERO = Decimal(0)
_NINE_DECIMALS = Decimal("1e-9")


class AdjustmentsState(msgspec.Struct):
    """Plain data: it can be written down and read back.

    Attributes:
        seen: Activities by id, and whether they changed our books.
        waiting: Busts and corrections of executions that are not known here yet, by the execution's id.
    """

    seen: dict[str, bool] = {}
    waiting: dict[str, AccountActivity] = {}


class Adjustments:
    """Carries out what the venue changed."""

    def __init__(self, portfolio: Portfolio, others: Others, alert: Alert) -> None:
        self.state = AdjustmentsState()
        self._portfolio = portfolio
        self._others = others
        self._alert = alert
        self._kinds: dict[ActivityKind, Callable[[AccountActivity], None]] = {
            ActivityKind.FEE: self._charge,
            ActivityKind.INCOME: self._pay,
            ActivityKind.TRANSFER: self._transfer,
            ActivityKind.SPLIT: self._split,
            ActivityKind.SHARES: self._change_shares,
            ActivityKind.BUST: self._take_back,
            ActivityKind.CORRECTION: self._take_back,
        }

    def on_adjusted(self, event: VenueAdjusted) -> bool:
        """Count an activity, unless it was counted before. Returns whether our books changed."""
        activity, seen = event.activity, self.state.seen
        bust = activity.kind in (ActivityKind.BUST, ActivityKind.CORRECTION)
        name = _bust_id(activity.execution_id) if bust else activity.activity_id
        if name in seen:
            return False
        baseline = not self._others.state.baseline_at
        # What takes back a row that never changed our books changes nothing either.
        void = bool(activity.cancels) and not seen.get(activity.cancels, False)
        if activity.cancels:
            seen.setdefault(activity.cancels, False)
        seen[name] = not baseline and not void
        if not seen[name]:
            return False
        self._kinds[activity.kind](activity)
        return True

    def on_counted(self, execution: Execution) -> None:
        """An execution of ours was counted; if it was taken back before we knew of it, it is reversed now."""
        activity = self.state.waiting.pop(execution.execution_id, None)
        if activity is not None:
            self._take_back(activity)

    # -- one method a kind -----------------------------------------------------------------------

    def _charge(self, activity: AccountActivity) -> None:
        portfolio = self._portfolio
        if activity.quantity:
            beyond = self._beyond_the_model(activity.symbol, -activity.quantity)
            portfolio.book(activity.symbol).fee_uncertainty += abs(beyond)
        if activity.cash:
            beyond = self._beyond_the_model(CASH, -activity.cash)
            if beyond:
                self._adjust_cash(activity, -beyond)

    def _beyond_the_model(self, name: str, posted: Decimal) -> Decimal:
        """What was posted beyond what our model had booked, which is settled hereby."""
        booked = self._portfolio.fees_booked.get(name, _ZERO)
        settled = min(posted, booked)
        if settled > 0:
            self._portfolio.fees_booked[name] = booked - settled
            return posted - settled
        return posted

    def _pay(self, activity: AccountActivity) -> None:
        if activity.quantity:
            self._change_shares(activity)
        else:
            self._adjust_cash(activity, activity.cash)

    def _transfer(self, activity: AccountActivity) -> None:
        before = self._portfolio.equity
        if activity.quantity and self._others.policy is not Foreign.ADOPT:
            self._others.receive(activity.symbol, activity.quantity)  # somebody moved shares of their own
            self._adjust_cash(activity, activity.cash)
        else:
            self._pay(activity)
        # Money that comes is no profit, and money that goes no loss: no guard may trip over it.
        self._portfolio.foreign_value -= self._portfolio.equity - before
        self._portfolio.recount_equity()

    def _split(self, activity: AccountActivity) -> None:
        portfolio, symbol = self._portfolio, activity.symbol
        held = portfolio.positions.quantity(symbol)
        change = self._our_part(activity)
        self._others.receive(symbol, activity.quantity - change)
        if not change or not held:
            return
        portfolio.positions.rescale(symbol, change, _label(activity), activity.at)
        book = portfolio.book(symbol)
        after = held + change
        portfolio.refresh(book, book.mark * float(held / after) if after else book.mark)
        self._tell(activity, change)

    def _change_shares(self, activity: AccountActivity) -> None:
        portfolio, symbol = self._portfolio, activity.symbol
        change = self._our_part(activity)
        self._others.receive(symbol, activity.quantity - change)
        if not change:
            self._adjust_cash(activity, activity.cash)
            return
        portfolio.positions.adjust(symbol, change, _label(activity), activity.at, activity.cash, price=activity.price)
        book = portfolio.book(symbol)
        portfolio.refresh(book, book.mark or portfolio.last_price(symbol) or 0.0)
        self._tell(activity, change)

    def _take_back(self, activity: AccountActivity) -> None:
        found = self._find(activity.execution_id)
        if found is None:
            if self._others.take_back(activity.execution_id):
                return
            self.state.waiting[activity.execution_id] = activity
            self._alert(
                "order-drift",
                f"{activity.symbol}: {activity.label}",
                f"execution {activity.execution_id} is not known here (yet): it is reversed when it comes",
            )
            return
        order, execution = found
        self._reverse(
            order, execution, execution.quantity, execution.price, f"{activity.label}: {execution.execution_id}"
        )
        if activity.kind is ActivityKind.CORRECTION and activity.quantity and activity.price is not None:
            label = f"{activity.label} to {activity.quantity} at {activity.price}: {execution.execution_id}"
            self._reverse(order, execution, -activity.quantity, activity.price, label)
        self._alert(
            "order-drift",
            f"{order.symbol}: {activity.label}",
            f"{execution.side} {execution.quantity} at {execution.price}, execution {execution.execution_id} of "
            f"{order.client_order_id}",
        )

    def _reverse(
        self, order: InFlightOrder, execution: Execution, quantity: Decimal, price: Decimal, label: str
    ) -> None:
        """Book the opposite of an execution, or (a negative quantity) the execution as it is now, as an adjustment."""
        portfolio, sign = self._portfolio, execution.side.sign
        book = portfolio.book(order.symbol)
        fee_coin, _ = portfolio.fees.fee_for(book.asset_class, execution.side, abs(quantity), price, taker=True)
        book.fee_uncertainty += fee_coin  # what becomes of the fee, the next comparison says
        portfolio.positions.adjust(
            order.symbol,
            -sign * quantity,
            label,
            portfolio.now_ns,
            sign * quantity * price,
            price=price,
            order_id=order.client_order_id,
        )
        portfolio.refresh(book, book.mark or float(price))

    # -- leaves ----------------------------------------------------------------------------------

    def _adjust_cash(self, activity: AccountActivity, cash: Decimal) -> None:
        if cash:
            self._portfolio.positions.adjust(activity.symbol, _ZERO, _label(activity), activity.at, cash)
            self._portfolio.recount_equity()

    def _our_part(self, activity: AccountActivity) -> Decimal:
        """The account may hold shares of others: of what the venue changed, our books get the part that is ours."""
        held = self._portfolio.positions.quantity(activity.symbol)
        there = held + self._portfolio.gaps.get(activity.symbol, _ZERO)
        if activity.kind is ActivityKind.TRANSFER or not there or held == there:
            return activity.quantity
        return (activity.quantity * held / there).quantize(_NINE_DECIMALS)

    def _find(self, execution_id: str) -> tuple[InFlightOrder, Execution] | None:
        for order in reversed(self._portfolio.tracker.orders()):
            for execution in order.executions:
                if execution.execution_id == execution_id:
                    return order, execution
        return None

    def _tell(self, activity: AccountActivity, change: Decimal) -> None:
        held = self._portfolio.positions.quantity(activity.symbol)
        self._alert("order-drift", f"{activity.symbol}: {activity.label}", f"changed by {change}, now {held}")


def _label(activity: AccountActivity) -> str:
    return f"{activity.label} [{activity.activity_id}]"


def _bust_id(execution_id: str) -> str:
    return f"bust:{execution_id}"
