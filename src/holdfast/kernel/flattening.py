"""Closing everything: what is done about each symbol, as a table.

An operator asks (``FlattenRequested``), and asks again while something is left. Each time each symbol is looked at
afresh, and the first row that fits says what is done. Nothing that is under way is done twice.

    closing   the venue was asked to close this position, and has not answered yet, or its order for that is open
    ours      we hold something by our own books
    theirs    the venue held something at the last look
    doubt     we and the venue differ, or an order's outcome or fills are unknown: our number may be wrong
    resting   orders of ours that the venue has are open
    all       the operator wants everything closed, ours or not

By our own books the exit takes the guarded path, with a journaled intent of its own. Where they are in doubt, a number
of ours could be too small, too large or of the wrong sign, so the venue is asked to close what it has; its order is tracked as
ours from its answer on (an order that closes what never was ours is not: it moves nothing in our books). Orders whose outcome is unknown are looked up meanwhile, as always; one that turns up later is
met by the next round. Where the venue holds nothing any more, and says so for longer than its views may lag, our books
follow with a labelled adjustment: an operator has asked for zero, and zero is what there is.

A position that never was ours stays as it is, unless all is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.model import OrderIntent, OrderSide, OrderStatus, OrderType, Signal, Source, TimeInForce, TradingState
from holdfast.model.commands import CancelOrder, ClosePosition, Command, SendAlert
from holdfast.model.decimals import plain
from holdfast.model.events import FlattenRequested, PositionCloseAccepted, PositionCloseFailed
from holdfast.model.orders import OrderReport
from holdfast.state.order_machine import OrderEvent

if TYPE_CHECKING:
    from holdfast.kernel.kernel import Kernel

_ZERO = Decimal(0)
FLATTEN = "flatten"  # the strategy id and reason of the orders that follow from it
_BY_VENUE = "the venue's own close-position call"


class Action(StrEnum):
    """What is done about one symbol in one round."""

    WAIT = "wait"  # for the venue's word, or for the next look
    CANCEL = "cancel"  # what rests there
    CLOSE = "close"  # the venue's close-position call
    BOOK = "book"  # the venue holds nothing: our books follow, once it has said so long enough
    EXIT = "exit"  # by our own books, on the guarded path
    NOTHING = "nothing"


_CLOSING = (Action.CLOSE, Action.BOOK, Action.EXIT)


class Facts(msgspec.Struct, frozen=True):
    """What is known of one symbol; see the module's text."""

    closing: bool
    ours: bool
    theirs: bool
    doubt: bool
    resting: bool
    all: bool


class Row(msgspec.Struct, frozen=True):
    """One row: None is "either"."""

    label: str
    action: Action
    closing: bool | None = None
    ours: bool | None = None
    theirs: bool | None = None
    doubt: bool | None = None
    resting: bool | None = None
    all: bool | None = None

    def fits(self, facts: Facts) -> bool:
        """Whether every cell that says something says what is the case."""
        return all(
            wanted is None or wanted is getattr(facts, name)
            for name, wanted in ((name, getattr(self, name)) for name in Facts.__struct_fields__)
        )


# fmt: off
ROWS: tuple[Row, ...] = (
    Row("@A", Action.WAIT,    closing=True),
    Row("@B", Action.CANCEL,  doubt=True, resting=True),
    Row("@C", Action.CLOSE,   doubt=True, theirs=True),
    Row("@D", Action.BOOK,    doubt=True, ours=True),
    Row("@E", Action.WAIT,    doubt=True),
    Row("@F", Action.EXIT,    ours=True),
    Row("@G", Action.CANCEL,  resting=True),
    Row("@H", Action.CLOSE,   theirs=True, all=True),
    Row("@I", Action.NOTHING),
)
# fmt: on


def action_for(facts: Facts) -> Row:
    """The first row that fits."""
    return next(row for row in ROWS if row.fits(facts))


class FlatteningState(msgspec.Struct, frozen=True, kw_only=True):
    """What is under way, as it is written."""

    closing: dict[str, bool]
    foreign: dict[str, str]
    gone_since: dict[str, int]
    touched: tuple[str, ...]


class Flattening:
    """Carries the rounds out, inside the kernel.

    Args:
        kernel: Whose books are closed.
        take_report: The kernel's own way to take the venue's word on an order.
    """

    def __init__(self, kernel: Kernel, take_report: Callable[[OrderReport, Source], None]) -> None:
        self._kernel = kernel
        self._take_report = take_report
        self._closing: dict[str, bool] = {}  # asked and not answered; whether it is ours
        self._foreign: dict[str, str] = {}  # the venue's orders that close what never was ours, by their ids
        self._gone_since: dict[str, int] = {}
        self._touched: dict[str, None] = {}  # symbols in which this wish has closed something
        self.handlers: Mapping[type[Any], Callable[[Any], object]] = {
            FlattenRequested: self._on_flatten_requested,
            PositionCloseAccepted: self._on_close_accepted,
            PositionCloseFailed: self._on_close_failed,
        }

    def export_state(self) -> FlatteningState:
        """All of it in its written form."""
        return FlatteningState(
            closing=dict(self._closing),
            foreign=dict(self._foreign),
            gone_since=dict(self._gone_since),
            touched=tuple(self._touched),
        )

    def import_state(self, state: FlatteningState) -> None:
        """Remember what was written."""
        self._closing, self._foreign = dict(state.closing), dict(state.foreign)
        self._gone_since, self._touched = dict(state.gone_since), dict.fromkeys(state.touched)

    # -- what is left ---------------------------------------------------------------------------

    def left(self, *, everything: bool = False) -> tuple[str, ...]:
        """What is not closed yet, by our books and the venue's last report, in words; empty where all is flat."""
        portfolio, reconciliation = self._kernel.portfolio, self._kernel.reconciliation
        found = [f"{plain(position.quantity)} {position.symbol}" for position in portfolio.positions.get_all()]
        for order in portfolio.tracker.open_orders():
            what = "of unknown outcome" if order.status is OrderStatus.UNKNOWN else "open"
            found.append(f"an order in {order.symbol} is {what} ({order.client_order_id})")
        found += [f"{symbol} is being closed by the venue" for symbol in self._closing_now()]
        for symbol, quantity in reconciliation.venue_positions.items():
            ours = everything or symbol in self._touched or self._in_doubt(symbol)
            if ours and not portfolio.positions.quantity(symbol):
                found.append(f"{plain(quantity)} {symbol} at the venue")
        if everything:
            found += [f"an order in {report.symbol} that is not ours" for report in self._others_orders()]
        return tuple(found)

    def forget(self) -> None:
        """A new run begins: nobody will answer what the last one asked, and its looks are old."""
        self._closing.clear()
        self._foreign.clear()
        self._gone_since.clear()
        self._touched.clear()

    def _emit(self, command: Command) -> None:
        self._kernel.commands.append(command)

    # -- the rounds -----------------------------------------------------------------------------

    def _on_flatten_requested(self, event: FlattenRequested) -> None:
        portfolio, reconciliation = self._kernel.portfolio, self._kernel.reconciliation
        portfolio.now_ns = max(portfolio.now_ns, event.ts)
        if event.round == 1:
            self._touched.clear()
        if portfolio.trading_state is not TradingState.REDUCING:
            portfolio.trading_state = TradingState.REDUCING
            self._emit(SendAlert(channel="system", title="closing everything", details=event.reason))
        symbols = dict.fromkeys(
            [
                *(position.symbol for position in portfolio.positions.get_all()),
                *(order.symbol for order in portfolio.tracker.open_orders()),
                *reconciliation.venue_positions,
            ]
        )
        for symbol in symbols:
            self._act(symbol, action_for(self._facts(symbol, everything=event.everything)).action)
        if event.everything:
            for report in self._others_orders():
                self._emit(CancelOrder(client_order_id=report.client_order_id, broker_id=report.broker_id))

    def _facts(self, symbol: str, *, everything: bool) -> Facts:
        portfolio = self._kernel.portfolio
        return Facts(
            closing=symbol in self._closing_now(),
            ours=bool(portfolio.positions.quantity(symbol)),
            theirs=bool(self._kernel.reconciliation.venue_positions.get(symbol)),
            doubt=self._in_doubt(symbol),
            resting=any(order.broker_id for order in portfolio.tracker.open_orders(symbol)),
            all=everything,
        )

    def _closing_now(self) -> list[str]:
        orphans = self._kernel.reconciliation.orphans
        foreign = [symbol for broker_id, symbol in self._foreign.items() if broker_id in orphans]
        ours = [order.symbol for order in self._kernel.portfolio.tracker.open_orders() if order.reason == _BY_VENUE]
        return [*self._closing, *foreign, *ours]

    def _others_orders(self) -> list[OrderReport]:
        orphans = self._kernel.reconciliation.orphans
        return [report for broker_id, report in orphans.items() if broker_id not in self._foreign]

    def _in_doubt(self, symbol: str) -> bool:
        portfolio = self._kernel.portfolio
        held = portfolio.positions.quantity(symbol)
        differs = any(drift.symbol == symbol for drift in self._kernel.reconciliation.differences)
        if differs and held:
            return True
        if any(order.status is OrderStatus.UNKNOWN for order in portfolio.tracker.open_orders(symbol)):
            return True
        return bool(portfolio.closed_with_fills_missing(symbol))

    def _act(self, symbol: str, action: Action) -> None:
        if action is not Action.BOOK:
            self._gone_since.pop(symbol, None)
        held = self._kernel.portfolio.positions.quantity(symbol)
        if action in _CLOSING:
            self._touched[symbol] = None
        if action is Action.CANCEL:
            self._kernel.cancel(symbol)
        elif action is Action.CLOSE:
            self._closing[symbol] = bool(held) or self._in_doubt(symbol)
            self._emit(ClosePosition(symbol=symbol))
        elif action is Action.BOOK:
            self._book(symbol)
        elif action is Action.EXIT:
            self._exit(symbol)

    def _exit(self, symbol: str) -> None:
        held = self._kernel.portfolio.positions.quantity(symbol)
        side = OrderSide.SELL if held > 0 else OrderSide.BUY
        self._kernel.submit(
            Signal(symbol=symbol, side=side, quantity=abs(held), reduce_only=True, strategy_id=FLATTEN, reason=FLATTEN)
        )

    def _book(self, symbol: str) -> None:
        """The venue holds nothing of what we think to hold. Its views may lag: believed only after a while."""
        portfolio = self._kernel.portfolio
        since = self._gone_since.setdefault(symbol, portfolio.now_ns)
        if portfolio.now_ns - since < self._kernel.settings.recheck_after:
            return
        held = portfolio.positions.quantity(symbol)
        portfolio.positions.adjust(symbol, -held, "flatten: the venue holds nothing", portfolio.now_ns)
        book = portfolio.book(symbol)
        portfolio.refresh(book, book.mark or book.last_price)
        self._gone_since.pop(symbol)
        details = f"our books held {plain(held)}; they are adjusted"
        self._emit(SendAlert(channel="order-drift", title=f"{symbol}: the venue holds nothing", details=details))

    # -- the venue's answers --------------------------------------------------------------------

    def _on_close_accepted(self, event: PositionCloseAccepted) -> None:
        portfolio, report = self._kernel.portfolio, event.report
        portfolio.now_ns = max(portfolio.now_ns, event.ts)
        orphans = self._kernel.reconciliation.orphans
        if not self._closing.pop(event.symbol, True):
            self._foreign[report.broker_id] = event.symbol
            orphans[report.broker_id] = report
            return
        portfolio.book(report.symbol)
        if portfolio.tracker.get(report.client_order_id) is None:
            # Made by the venue at our word: ours from here on, under the id that the venue gave it.
            portfolio.tracker.track(
                OrderIntent(
                    client_order_id=report.client_order_id,
                    symbol=report.symbol,
                    side=report.side,
                    quantity=report.quantity,
                    order_type=OrderType.MARKET,
                    time_in_force=TimeInForce(report.time_in_force),
                    created_at=event.ts,
                    reduce_only=True,
                    strategy_id=FLATTEN,
                    reason=_BY_VENUE,
                )
            )
            portfolio.tracker.apply(report.client_order_id, OrderEvent.SUBMIT, event.ts)
        orphans.pop(report.broker_id, None)
        self._take_report(report, Source.RESPONSE)

    def _on_close_failed(self, event: PositionCloseFailed) -> None:
        portfolio = self._kernel.portfolio
        portfolio.now_ns = max(portfolio.now_ns, event.ts)
        self._closing.pop(event.symbol, None)
        self._emit(SendAlert(channel="trading", title=f"{event.symbol}: not closed by the venue", details=event.reason))
