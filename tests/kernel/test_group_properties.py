"""Laws of a group of orders, over random histories of one bracket that the venue tells of late, twice, or not at all."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model import Execution, OrderReport, OrderStatus, OrderTerms, Source
from holdfast.model.commands import SubmitOrder
from holdfast.model.events import Event, OrderFilled, OrderUpdated
from holdfast.state.in_flight import InFlightOrder
from holdfast.state.order_machine import VENUE_CLOSED
from holdfast.state.order_tracker import OrderTracker
from holdfast.testing.sim.mistakes import CountsLegsTwice, TakesLegsForStrangers, TakesOneExitForBoth
from tests.kernel.group import bracket
from tests.kernel.helpers import SPY, Bench, report_of

D = Decimal
_OVER = (OrderStatus.FILLED, OrderStatus.CANCELED)


class Leg:
    """One exit as it really is."""

    def __init__(self, ours: InFlightOrder) -> None:
        self.name, self.ours = ours.client_order_id, ours
        self.quantity, self.filled = ours.quantity, D(0)
        self.status = OrderStatus.HELD

    @property
    def broker_id(self) -> str:
        """Of the venue's making."""
        return f"V-{self.name}"

    def report(self) -> OrderReport:
        """As the venue describes it."""
        return OrderReport(
            broker_id=self.broker_id,
            client_order_id=f"made-by-the-venue-{self.name}",
            symbol=SPY,
            side=self.ours.side,
            status=self.status,
            quantity=self.quantity,
            filled_qty=self.filled,
            order_type=self.ours.order_type.value,
            time_in_force=self.ours.time_in_force.value,
            limit_price=self.ours.limit_price,
            terms=self.ours.terms,
        )


class Venue:
    """A bracket for ten, and the venue that has it. What happens and what is told of it are two things."""

    def __init__(self, tracker: OrderTracker | None = None) -> None:
        self.bench = Bench(tracker=tracker)
        self.intent = self.bench.order(bracket())
        tracker = self.bench.kernel.portfolio.tracker
        self.profit, self.loss = (Leg(leg) for leg in tracker.exits_of(self.bench.state(self.intent)))
        self.status, self.entered = OrderStatus.NEW, D(0)
        self.executions: list[Execution] = []
        self.untold: list[Event] = []
        self.told: list[Event] = []

    # -- what happens ---------------------------------------------------------------------------

    def enter(self, choice: int) -> None:
        """The entry trades; filled in whole, it brings its exits to the market."""
        if self.status in _OVER:
            return
        quantity = min(D(1 + choice % 10), 10 - self.entered)
        self.entered += quantity
        is_whole = self.entered == 10
        self.status = OrderStatus.FILLED if is_whole else OrderStatus.PARTIALLY_FILLED
        self._fill(
            f"B-{self.intent.client_order_id}", self.intent.client_order_id, quantity, self.entered, self.entry()
        )
        if is_whole:
            self.profit.status = OrderStatus.NEW
            self._update(self.profit)

    def take_profit(self, choice: int) -> None:
        """The take-profit trades; the stop-loss becomes smaller without a word, or ends."""
        leg, other = self.profit, self.loss
        if leg.status not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED):
            return
        quantity = min(D(1 + choice % 10), leg.quantity - leg.filled)
        self._trade(leg, quantity)
        if leg.filled == leg.quantity:
            other.status = OrderStatus.CANCELED
            self._update(other)
        else:
            other.quantity -= quantity

    def stop_out(self, choice: int) -> None:
        """The stop is struck, which ends the take-profit; or it goes on to trade."""
        leg, other = self.loss, self.profit
        if self.status is not OrderStatus.FILLED or leg.status in _OVER:
            return
        if leg.status is OrderStatus.HELD:
            other.status, leg.status = OrderStatus.CANCELED, OrderStatus.NEW
            self._update(other)
            self._update(leg)
        self._trade(leg, min(D(1 + choice % 10), leg.quantity - leg.filled))

    # -- what is told ---------------------------------------------------------------------------

    def tell(self, choice: int) -> None:
        """One message arrives, in whatever order."""
        if self.untold:
            event = self.untold.pop(choice % len(self.untold))
            self.told.append(event)
            self._show(event)

    def lose(self, choice: int) -> None:
        """One is lost."""
        if self.untold:
            self.untold.pop(choice % len(self.untold))

    def repeat(self, choice: int) -> None:
        """Old news comes again."""
        if self.told:
            self._show(self.told[choice % len(self.told)])

    def describe(self, choice: int) -> None:
        """The entry is described with its legs: an answer, a look-up."""
        source = (Source.RESPONSE, Source.LOOKUP)[choice % 2]
        self._show(OrderUpdated(ts=self.bench.now, report=self.entry(nested=True), source=source))

    def look_up_leg(self, choice: int) -> None:
        """One exit is described by a look-up."""
        leg = (self.profit, self.loss)[choice % 2]
        if leg.ours.broker_id is not None:
            self._show(OrderUpdated(ts=self.bench.now, report=leg.report(), source=Source.LOOKUP))

    def reconcile(self, _choice: int) -> None:
        """The whole truth; activities name the venue's ids only, and have ids of their own."""
        executions = [
            msgspec.structs.replace(e, execution_id=f"activity-{e.execution_id}", client_order_id=None)
            for e in self.executions
        ]
        legs = (self.profit.report(), self.loss.report())
        held = {SPY: self.position} if self.position else {}
        self.bench.reported(orders=(self.entry(nested=True), *legs), executions=executions, positions=held)

    # -- the laws -------------------------------------------------------------------------------

    @property
    def position(self) -> Decimal:
        """What is really held."""
        return sum((e.side.sign * e.quantity for e in self.executions), D(0))

    def check(self) -> None:
        """Nothing is counted twice or closed without a word, and no order that reduces may be added to the exits."""
        tracker, portfolio = self.bench.kernel.portfolio.tracker, self.bench.kernel.portfolio
        for leg in (self.profit, self.loss):
            assert leg.ours.filled_quantity <= leg.filled
            assert not leg.ours.is_closed or leg.status in VENUE_CLOSED, f"{leg.name} was closed by inference"
        assert self.bench.counted(self.intent) <= self.entered
        exits = [leg.ours for leg in (self.profit, self.loss) if leg.ours.is_open]
        assert portfolio.open_order_count() <= 1 + (not tracker.get(self.intent.client_order_id).is_closed)  # type: ignore[union-attr]  # it is tracked
        held, live = self.bench.position(), [leg for leg in (self.profit, self.loss) if leg.status not in _OVER]
        if exits and live and held > 0 and self.status is OrderStatus.FILLED:
            # What the strategy may still sell, and what the exits may: together never more than there is.
            out = max(leg.quantity - leg.filled for leg in live)
            assert portfolio.reducible(SPY, held) + out <= max(self.position, D(0))

    # -- inside ---------------------------------------------------------------------------------

    def entry(self, *, nested: bool = False) -> OrderReport:
        """The entry as the venue describes it."""
        terms = None if self.intent.terms is None else OrderTerms(order_class=self.intent.terms.order_class)
        legs = (self.profit.report(), self.loss.report()) if nested else None
        return report_of(self.intent, self.status, filled_qty=self.entered, terms=terms, legs=legs)

    def _trade(self, leg: Leg, quantity: Decimal) -> None:
        leg.filled += quantity
        leg.status = OrderStatus.FILLED if leg.filled == leg.quantity else OrderStatus.PARTIALLY_FILLED
        self._fill(leg.broker_id, f"made-by-the-venue-{leg.name}", quantity, leg.filled, leg.report())

    def _fill(self, broker_id: str, client: str, quantity: Decimal, total: Decimal, report: OrderReport) -> None:
        execution = Execution(
            execution_id=f"{broker_id}-{total}",
            broker_id=broker_id,
            symbol=SPY,
            side=report.side,
            quantity=quantity,
            price=D(100),
            at=self.bench.now,
            cum_qty=total,
            client_order_id=client,
        )
        self.executions.append(execution)
        self.untold.append(OrderFilled(ts=self.bench.now, execution=execution, source=Source.STREAM, report=report))

    def _update(self, leg: Leg) -> None:
        self.untold.append(OrderUpdated(ts=self.bench.now, report=leg.report(), source=Source.STREAM))

    def _show(self, event: Event) -> None:
        self.bench.wait(1)
        self.bench.show(msgspec.structs.replace(event, ts=self.bench.now))


_HAPPENINGS = ("enter", "take_profit", "stop_out")
_WORDS = ("tell", "lose", "repeat", "describe", "look_up_leg", "reconcile")
_HISTORIES = st.lists(
    st.tuples(st.sampled_from([*_HAPPENINGS, *_HAPPENINGS, "tell", *_WORDS]), st.integers(0, 99)),
    min_size=5,
    max_size=50,
)


def live(history: list[tuple[str, int]], tracker: OrderTracker | None = None) -> None:
    """One history, with the laws after each of its steps, and at its end the whole truth."""
    venue = Venue(tracker)
    for name, choice in history:
        getattr(venue, name)(choice)
        venue.check()
    for _ in range(2):  # the first may name legs whose fills nobody could place before
        venue.reconcile(0)
        venue.check()

    bench = venue.bench
    assert bench.position() == venue.position
    for leg in (venue.profit, venue.loss):
        assert leg.ours.filled_quantity == leg.filled
        assert leg.ours.is_closed == (leg.status in VENUE_CLOSED)
    sent = [command for command in bench.commands if isinstance(command, SubmitOrder)]
    assert len(sent) <= 1


@settings(max_examples=200)
@given(history=_HISTORIES)
def test_whatever_is_told_of_a_bracket_its_fills_count_once_and_no_exit_ends_without_a_word(
    history: list[tuple[str, int]],
) -> None:
    """P2, P3, P7: at every moment; and once the whole truth was told, our books are the venue's."""
    live(history)


@pytest.mark.parametrize("mistake", [CountsLegsTwice, TakesOneExitForBoth, TakesLegsForStrangers])
def test_trackers_that_make_a_mistake_with_exits_break_a_law(mistake: type[OrderTracker]) -> None:
    """The laws bite: a fill told twice, an exit closed by its sibling's fill, exits that are taken for somebody else's."""
    history = [
        ("describe", 0),
        ("enter", 9),
        ("tell", 0),
        ("tell", 0),
        ("take_profit", 3),
        ("tell", 0),
        ("reconcile", 0),
    ]

    live(history)
    with pytest.raises(AssertionError):
        live(history, mistake())
