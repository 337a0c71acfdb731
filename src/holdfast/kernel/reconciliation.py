"""Our books against the venue's: what may differ, for how long, and who is told.

    finding    what it is                                         what happens
    orphan     open at the venue, unknown here                    reported once; never touched
    shadow     open here and known to have arrived, absent there  looked up by id; reported if it stays
    drift      a position differs and no order is in flight       looked at again after a few seconds, because
                                                                  REST views lag; reported if it is still there
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

from holdfast.kernel.portfolio import Portfolio
from holdfast.kernel.settings import KernelSettings
from holdfast.model import AssetClass, OrderReport
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


class Drift(msgspec.Struct, frozen=True, gc=False):
    """One position on which we and the venue differ."""

    symbol: str
    ours: Decimal
    venue: Decimal


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a comparison found. ``recheck`` asks for another look in a few seconds."""

    drift: tuple[Drift, ...]
    shadows: tuple[InFlightOrder, ...]
    recheck: bool


class Reconciliation:
    """Compares, remembers what it found the last time, and reports what stays."""

    def __init__(self, portfolio: Portfolio, settings: KernelSettings) -> None:
        self._portfolio = portfolio
        self._settings = settings
        self.count = 0
        self.last_at = 0
        self.is_current = False  # the last look that was asked for has been answered
        self.drift: tuple[Drift, ...] = ()  # confirmed by a second look
        self.differences: tuple[Drift, ...] = ()  # found by the last look
        self.orphans: dict[str, OrderReport] = {}
        self.shadows: dict[str, InFlightOrder] = {}
        self.venue_positions: dict[str, Decimal] = {}
        self._suspected: frozenset[Drift] = frozenset()
        self._reported: frozenset[Drift] = frozenset()

    def begin(self, ts: int) -> None:
        """A run begins. Before the first one nothing at the venue can be ours."""
        self.last_at = self.last_at or ts

    @property
    def since(self) -> int:
        """From when on the venue must be asked for executions (UTC ns): fills that are missing stay in sight."""
        moments = [order.created_at for order in self._portfolio.tracker.orders_with_missing_fills()]
        return max(min([self.last_at, *moments]) - _OVERLAP, 0)

    def note_orphan(self, report: OrderReport, alert: Alert) -> None:
        """The venue described an order that is not ours."""
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
        for client_order_id, order in shadows.items():
            if client_order_id in self.shadows:
                alert(
                    "order-drift", "an order that is open here is not at the venue", f"{order.symbol} {client_order_id}"
                )
        self.shadows = dict(shadows)
        self.venue_positions = {p.symbol: p.quantity for p in event.positions if p.quantity}
        found = self._differences()
        self._settle_cash(event.account.cash)
        confirmed = found & self._suspected
        for drift in sorted(confirmed - self._reported, key=_symbol):
            alert(
                "order-drift",
                f"{drift.symbol}: position differs from the venue's",
                f"ours {drift.ours}, venue {drift.venue}",
            )
        self._reported = confirmed
        self._suspected = found
        self.differences = tuple(sorted(found, key=_symbol))
        self.drift = tuple(sorted(confirmed, key=_symbol))
        missing = bool(self._portfolio.tracker.orders_with_missing_fills())
        return Outcome(self.drift, tuple(shadows.values()), bool(found - confirmed) or bool(shadows) or missing)

    def _differences(self) -> frozenset[Drift]:
        portfolio = self._portfolio
        symbols = dict.fromkeys([*(p.symbol for p in portfolio.positions.get_all()), *self.venue_positions])
        found = []
        for symbol in symbols:
            ours, theirs = portfolio.positions.quantity(symbol), self.venue_positions.get(symbol, _ZERO)
            if portfolio.tracker.open_orders(symbol):
                continue  # what is in flight may be on one side already
            book = portfolio.book(symbol)
            if ours == theirs:
                book.fee_uncertainty = _ZERO
                continue
            if book.asset_class is AssetClass.CRYPTO and abs(theirs - ours) <= _FEE_ROUNDING + book.fee_uncertainty:
                portfolio.positions.adjust(symbol, theirs - ours, "coin fee as charged", self.last_at)
                portfolio.refresh(book, book.mark or book.last_price)
                book.fee_uncertainty = _ZERO
                continue
            found.append(Drift(symbol, ours, theirs))
        return frozenset(found)

    def _settle_cash(self, theirs: Decimal) -> None:
        portfolio = self._portfolio
        if not portfolio.cash_uncertainty or portfolio.tracker.open_count:
            return
        difference = theirs - portfolio.positions.cash
        if abs(difference) <= _FEE_ROUNDING + portfolio.cash_uncertainty:
            if difference:
                portfolio.positions.adjust("", _ZERO, "cash fee as charged", self.last_at, cash=difference)
                portfolio.recount_equity()
            portfolio.cash_uncertainty = _ZERO


def _symbol(drift: Drift) -> str:
    return drift.symbol
