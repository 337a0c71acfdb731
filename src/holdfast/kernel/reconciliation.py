"""Our books against the venue's: what may differ, for how long, and who is told.

    finding    what it is                                         what happens
    orphan     open at the venue, unknown here                    reported once; never touched
    shadow     open here and known to have arrived, absent there  looked up by id; reported if it stays
    drift      a position, or the cash, differs and no order is   looked at again every few seconds, because REST
               in flight                                          views lag; reported, once, when all looks over
                                                                  ten seconds (two at least) found the same
    missing    the venue told of more than its executions add     looked for on and on; after a while it no longer
               up to                                              holds up an exit
    fee        a coin position, or the cash, differs by no more   booked as a labelled adjustment; looked at soon
               than its fees were uncertain (fills do not say     after such a fill, because an exit of more than
               whether they were charged as maker or taker)       the venue holds for us would be refused

Nothing is adopted silently: the books change by executions and by labelled adjustments only.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from holdfast.kernel.others import Others
from holdfast.kernel.portfolio import CASH, Portfolio
from holdfast.kernel.settings import KernelSettings
from holdfast.model import AssetClass, Foreign, OrderReport
from holdfast.model.events import BrokerReported
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.state.order_machine import OPEN

if TYPE_CHECKING:
    from holdfast.state.order_tracker import InFlightOrder

Alert = Callable[[str, str, str], None]
_ZERO = Decimal(0)
# Activities may be listed late: each look begins a little before the end of the last one; executions are counted once.
_OVERLAP = 5 * NS_PER_MINUTE
# The venue's own rounding of coin fees is known to a few units of the ninth decimal.
_FEE_ROUNDING = Decimal("0.000000005")
_CENT = Decimal("0.01")
# Looks (a few seconds apart) after which fills that were told and never came no longer hold up an exit.
_MISSING_LOOKS = 6


class Drift(msgspec.Struct, frozen=True, gc=False):
    """One position on which we and the venue differ."""

    symbol: str
    ours: Decimal
    venue: Decimal

    @property
    def gap(self) -> Decimal:
        """What the venue has more than we; stays the same while the position trades."""
        return self.venue - self.ours


class Suspicion(msgspec.Struct, frozen=True, gc=False):
    """A difference that may yet go away: how large it is, and when a look first found it so large (UTC ns)."""

    gap: Decimal
    since: int

    def is_old_at(self, now: int, settings: KernelSettings) -> bool:
        """Whether it has been there too long to be a view that lags. That it needs two looks follows from it."""
        return now - self.since >= max(settings.drift_after, 1)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a comparison found.

    ``recheck_after`` (ns) asks for another look; ``waited_enough`` are orders that no longer hold up an exit.
    """

    drift: tuple[Drift, ...]
    shadows: tuple[InFlightOrder, ...]
    recheck_after: int | None
    waited_enough: tuple[InFlightOrder, ...] = ()


class ReconciliationState(msgspec.Struct, frozen=True, kw_only=True):
    """What the last comparisons found, as it is written; shadows by their client order ids."""

    count: int
    last_at: int
    is_current: bool
    drift: tuple[Drift, ...]
    differences: tuple[Drift, ...]
    orphans: tuple[OrderReport, ...]
    shadows: tuple[str, ...]
    venue_positions: dict[str, Decimal]
    suspected: dict[str, Suspicion]
    reported: dict[str, Decimal]
    missing_looks: dict[str, int]
    born_at: int
    shadowed: dict[str, int]
    shadows_told: tuple[str, ...]


class Reconciliation:
    """Compares, remembers what it found the last time, and reports what stays."""

    def __init__(self, portfolio: Portfolio, settings: KernelSettings, others: Others) -> None:
        self._portfolio = portfolio
        self._others = others
        self._settings = settings
        self.count = 0
        self.last_at = 0
        self.born_at = 0  # when the first run of all began
        self.is_current = False  # the last look that was asked for has been answered
        self.drift: tuple[Drift, ...] = ()  # confirmed by a second look
        self.differences: tuple[Drift, ...] = ()  # found by the last look
        self.orphans: dict[str, OrderReport] = {}
        self.shadows: dict[str, InFlightOrder] = {}
        self.venue_positions: dict[str, Decimal] = {}
        self._suspected: dict[str, Suspicion] = {}  # how far apart each symbol was at the last look
        self._reported: dict[str, Decimal] = {}
        self._missing_looks: dict[str, int] = {}
        self._shadowed: dict[str, int] = {}  # since when each shadow is one
        self._shadows_told: dict[str, None] = {}

    def begin(self, ts: int) -> None:
        """A run begins. Before the first one nothing at the venue can be ours."""
        self.last_at = self.last_at or ts
        self.born_at = self.born_at or ts

    @property
    def since(self) -> int:
        """From when on the venue must be asked for executions (UTC ns): fills that are missing stay in sight."""
        moments = [order.created_at for order in self._portfolio.tracker.orders_with_missing_fills()]
        return max(min([self.last_at, *moments]) - _OVERLAP, 0)

    def note_orphan(self, report: OrderReport, alert: Alert) -> None:
        """The venue described an order that is not ours."""
        if self._others.policy is Foreign.IGNORE:
            return
        if report.status not in OPEN:
            self.orphans.pop(report.broker_id, None)
            return
        if report.broker_id not in self.orphans:
            alert(
                "order-drift",
                "an order at the venue is unknown here",
                f"{report.side} {report.quantity} {report.symbol} ({report.status}), id {report.broker_id}",
            )
        self.orphans[report.broker_id] = report

    def compare(self, event: BrokerReported, alert: Alert) -> Outcome:
        """Lay the venue's report beside our books. Its executions and orders are already in them."""
        self.count += 1
        self.last_at = event.ts
        self.is_current = True
        open_there = {report.broker_id: report for report in event.orders if report.status in OPEN}
        self.orphans = {k: v for k, v in self.orphans.items() if k in open_there}
        shadows = self._portfolio.tracker.get_shadow_orders(open_there)
        self._tell_shadows(shadows, event.ts, alert)
        self.venue_positions = {p.symbol: p.quantity for p in event.positions if p.quantity}
        found = self._differences()
        cash = event.account.cash - self._others.explained_cash
        self._settle_cash(cash)
        found += self._cash_difference(cash)
        self._suspected = {drift.symbol: self._suspicion(drift, event.ts) for drift in found}
        confirmed = [drift for drift in found if self._suspected[drift.symbol].is_old_at(event.ts, self._settings)]
        for drift in confirmed:
            if self._reported.get(drift.symbol) != drift.gap:
                alert(
                    "order-drift",
                    f"{drift.symbol} differs from the venue's"
                    if drift.symbol == CASH
                    else f"{drift.symbol}: position differs from the venue's",
                    f"ours {drift.ours}, venue {drift.venue}",
                )
        self._reported = {drift.symbol: drift.gap for drift in confirmed}
        self.differences, self.drift = tuple(found), tuple(confirmed)
        self._note_gaps(confirmed, event.asked_at)
        over = self._stop_waiting(alert)
        awaited = any(count < _MISSING_LOOKS for count in self._missing_looks.values())
        again: int | None = None
        if len(found) > len(confirmed) or shadows or awaited:
            again = self._settings.recheck_after
        elif self._portfolio.tracker.missing:
            again = self._settings.open_order_interval
        return Outcome(self.drift, tuple(shadows.values()), again, over)

    def _note_gaps(self, confirmed: list[Drift], asked_at: int) -> None:
        """Where the venue is known to hold otherwise than we, exits are bound by both: what differs, and what is others'."""
        portfolio = self._portfolio
        symbols = dict.fromkeys(
            [*(drift.symbol for drift in confirmed if drift.symbol != CASH), *self._others.state.held]
        )
        gaps = {s: self.venue_positions.get(s, _ZERO) - portfolio.positions.quantity(s) for s in symbols}
        portfolio.gaps = {symbol: gap for symbol, gap in gaps.items() if gap}
        portfolio.gaps_at = asked_at

    def _suspicion(self, drift: Drift, now: int) -> Suspicion:
        """Another gap is another difference: it has to persist by itself."""
        before = self._suspected.get(drift.symbol)
        return before if before is not None and before.gap == drift.gap else Suspicion(drift.gap, now)

    def _tell_shadows(self, shadows: dict[str, InFlightOrder], now: int, alert: Alert) -> None:
        self._shadowed = {key: self._shadowed.get(key, now) for key in shadows}
        self._shadows_told = {key: None for key in shadows if key in self._shadows_told}
        for key, order in shadows.items():
            if now - self._shadowed[key] >= self._settings.drift_after and key not in self._shadows_told:
                self._shadows_told[key] = None
                alert("order-drift", "an order that is open here is not at the venue", f"{order.symbol} {key}")
        self.shadows = dict(shadows)

    def _stop_waiting(self, alert: Alert) -> tuple[InFlightOrder, ...]:
        """Fills that were told and have not come in many looks: say so, look on, and let exits go on meanwhile."""
        portfolio = self._portfolio
        missing = {o.client_order_id: o for o in portfolio.tracker.orders_with_missing_fills() if o.is_closed}
        self._missing_looks = {key: self._missing_looks.get(key, 0) + 1 for key in missing}
        over = [order for key, order in missing.items() if self._missing_looks[key] == _MISSING_LOOKS]
        for order in over:
            portfolio.waited_enough[order.client_order_id] = None
            told, counted = order.reported_filled_qty, order.filled_quantity
            details = f"{order.client_order_id}: the venue told of {told}, its executions add up to {counted}"
            alert("order-drift", f"{order.symbol}: fills that were told do not come", details)
        return tuple(over)

    def _differences(self) -> list[Drift]:
        portfolio = self._portfolio
        held = (position.symbol for position in portfolio.positions.get_all())
        symbols = dict.fromkeys([*held, *self.venue_positions, *self._others.state.held])
        found = []
        for symbol in symbols:
            ours = portfolio.positions.quantity(symbol)
            theirs = self.venue_positions.get(symbol, _ZERO) - self._others.explained(symbol)
            book = portfolio.book(symbol)
            resting = portfolio.tracker.has_open(symbol)
            if ours == theirs:
                if not resting:
                    book.fee_uncertainty = _ZERO
                continue
            if resting and symbol not in self._suspected:
                continue  # what is in flight may be on one side already; what differed before goes on differing
            allowance = _FEE_ROUNDING + book.fee_uncertainty
            if not resting and book.asset_class is AssetClass.CRYPTO and abs(theirs - ours) <= allowance:
                portfolio.positions.adjust(symbol, theirs - ours, "coin fee as charged", self.last_at)
                self._note_fee(symbol, ours - theirs)
                portfolio.refresh(book, book.mark or book.last_price)
                book.fee_uncertainty = _ZERO
                continue
            found.append(Drift(symbol, ours, theirs))
        return sorted(found, key=_symbol)

    def _cash_difference(self, theirs: Decimal) -> list[Drift]:
        """Cash is compared to the cent, when nothing is under way that could move it."""
        portfolio = self._portfolio
        ours = portfolio.positions.cash
        under_way = portfolio.tracker.open or portfolio.tracker.missing or portfolio.cash_uncertainty
        if abs(theirs - ours) < _CENT or (under_way and CASH not in self._suspected):
            return []
        return [Drift(CASH, ours, theirs)]

    def _settle_cash(self, theirs: Decimal) -> None:
        portfolio = self._portfolio
        if not portfolio.cash_uncertainty or portfolio.tracker.open:
            return
        difference = theirs - portfolio.positions.cash
        if abs(difference) <= _FEE_ROUNDING + portfolio.cash_uncertainty:
            if difference:
                portfolio.positions.adjust("", _ZERO, "cash fee as charged", self.last_at, cash=difference)
                self._note_fee(CASH, -difference)
                portfolio.recount_equity()
            portfolio.cash_uncertainty = _ZERO

    def _note_fee(self, name: str, more: Decimal) -> None:
        """What the venue took as fees beyond our model; when it posts the fee, that much is settled already."""
        booked = self._portfolio.fees_booked
        booked[name] = max(booked.get(name, _ZERO) + more, _ZERO)

    def export_state(self) -> ReconciliationState:
        """All of it in its written form."""
        return ReconciliationState(
            count=self.count,
            last_at=self.last_at,
            is_current=self.is_current,
            drift=self.drift,
            differences=self.differences,
            orphans=tuple(self.orphans.values()),
            shadows=tuple(self.shadows),
            venue_positions=dict(self.venue_positions),
            suspected=dict(self._suspected),
            reported=dict(self._reported),
            missing_looks=dict(self._missing_looks),
            born_at=self.born_at,
            shadowed=dict(self._shadowed),
            shadows_told=tuple(self._shadows_told),
        )

    def import_state(self, state: ReconciliationState) -> None:
        """Remember what was written. The portfolio must have its orders already."""
        self.count, self.last_at, self.is_current = state.count, state.last_at, state.is_current
        self.drift, self.differences = state.drift, state.differences
        self.orphans = {report.broker_id: report for report in state.orphans}
        orders = [self._portfolio.tracker.get(client_order_id) for client_order_id in state.shadows]
        self.shadows = {order.client_order_id: order for order in orders if order is not None}
        self.venue_positions = dict(state.venue_positions)
        self._suspected, self._reported = dict(state.suspected), dict(state.reported)
        self._missing_looks = dict(state.missing_looks)
        self.born_at = state.born_at
        self._shadowed, self._shadows_told = dict(state.shadowed), dict.fromkeys(state.shadows_told)


def _symbol(drift: Drift) -> str:
    return drift.symbol
