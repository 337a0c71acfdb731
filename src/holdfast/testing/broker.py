"""A broker in this process: a real matching engine, with answers that a test can script.

What the venue does, and what we are told of it, are two things here. The engine does what it is asked
for exactly; the script decides which requests reach it and which of its answers come back, and
``copies`` decides how often each of its stream messages arrives.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast.backtest.broker import InProcessBroker, new_order_of, replacement_of, report_of, whole_report_of
from holdfast.model import (
    Account,
    AccountActivity,
    Asset,
    AssetClass,
    Bar,
    BrokerPosition,
    Execution,
    OrderIntent,
    OrderReport,
    OrderSide,
    OrderType,
    TimeInForce,
)
from holdfast.model.commands import Reconcile
from holdfast.model.enums import Outcome
from holdfast.model.errors import BrokerError, BrokerRefusedError, OutcomeUnknownError, UnknownSymbolError, invariant
from holdfast.model.events import BrokerReported, Event
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND
from holdfast.runner.inbox import Post
from holdfast.testing.answers import PLACING_METHODS, Answer, Call, carry_out
from holdfast.time import Clock
from holdfast.venue.matching.engine import MatchingEngine, NewOrder, Refusal
from holdfast.venue.matching.orders import VenueOrder

_NOTHING_DURABLE: frozenset[str] = frozenset()


class ScriptedBroker:
    """A ``BrokerPort`` of the runner on top of a matching engine.

    Every request takes one turn of the event loop at least, as a real one would.

    Args:
        engine: The venue.
        clock: Whose time requests carry to the venue.
        stream: Takes the venue's messages, as the user stream's handler does: ``runner.inbox.post``.
        witness: Asked at the moment a request leaves; its answer is kept as ``Call.durable``. For tests of P1 it
            tells which intents are durable (see ``holdfast.testing.checks``).

    Attributes:
        requests: Every request, in the order in which they were made.
        copies: How often each stream message arrives: 0 is a mute socket, 2 a stream that repeats itself.
        held: How many requests wait for ``Held.release``.
        on_held: Called when a request begins to wait.
        bars: What ``fetch_bars`` knows.
        adjustments: What ``fetch_adjustments`` knows.
    """

    def __init__(
        self,
        engine: MatchingEngine,
        clock: Clock,
        *,
        stream: Callable[[Post], None] | None = None,
        witness: Callable[[], frozenset[str]] | None = None,
    ) -> None:
        self.engine = engine
        self.stream = stream
        self.requests: list[Call] = []
        self.copies = 1
        self.held = 0
        self.on_held: Callable[[], None] | None = None
        self.bars: list[Bar] = []
        self.adjustments: list[AccountActivity] = []
        self._clock = clock
        self._witness = witness or (lambda: _NOTHING_DURABLE)
        self._lag: int | None = None
        self._views: deque[tuple[int, BrokerReported]] = deque()
        self._scripts: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self._news: list[Event] = []
        self._translator = InProcessBroker(engine, self._news.append)

    # -- the script -----------------------------------------------------------------------------

    def script(self, method: str, *answers: Answer) -> None:
        """What becomes of the next requests of a method; those after them are carried out."""
        invariant(hasattr(type(self), method), f"there is no broker method {method!r} to script")
        self._scripts[method].extend(answers)

    def heal(self) -> None:
        """The faults stop: nothing is scripted any more, no view lags, and each stream message arrives once."""
        self._scripts.clear()
        self.lag(None)
        self.copies = 1

    def lag(self, seconds: float | None) -> None:
        """From now on positions and account are shown as they were so long ago; None: as they are.

        Orders and executions are not behind: REST's views disagree, as those of Alpaca were seen to.
        """
        self._lag = None if seconds is None else round(seconds * NS_PER_SECOND)
        self._views.clear()
        self._keep_view()

    def made(self, method: str) -> list[Call]:
        """The requests of one method."""
        return [call for call in self.requests if call.method == method]

    def sent(self) -> list[str]:
        """The client order ids of the orders that left, in order."""
        return [call.subject for call in self.requests if call.method in PLACING_METHODS and call.left]

    # -- the market -----------------------------------------------------------------------------

    def play(self, bar: Bar, *, period: int = NS_PER_MINUTE) -> None:
        """Trade one bar at the venue, from its open to its close, and stream what came of it.

        Args:
            bar: Its ``ts`` is its end.
            period: Its length (ns).
        """
        self.engine.open_bar(bar.symbol, bar.ts - period, bar.open, bar.volume)
        self.engine.close_bar(bar.symbol, bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume)
        self.deliver()

    def deliver(self) -> None:
        """Stream what the engine has done since the last time. Called after each change made through this broker."""
        self._keep_view()
        self._translator.deliver_events(self._clock.now_ns())
        for event in self._news:
            for _ in range(self.copies if self.stream is not None else 0):
                self._stream(event)
        self._news.clear()

    def _stream(self, event: Event) -> None:
        if self.stream is not None:
            # The event's own time is the moment at which the runner takes it, as with a real socket.
            self.stream(lambda ts: (_at(event, ts),))

    # -- BrokerPort -----------------------------------------------------------------------------

    async def place(self, intent: OrderIntent, *, admit: Callable[[], str | None]) -> OrderReport:
        """Send an order, once."""
        report: OrderReport = await self._request(
            "place", intent.client_order_id, lambda: self._place(intent), admit=admit
        )
        return report

    async def replace(self, intent: OrderIntent, broker_id: str, *, admit: Callable[[], str | None]) -> OrderReport:
        """Ask, once, to put an order in the place of an open one."""
        report: OrderReport = await self._request(
            "replace", intent.client_order_id, lambda: self._replace(intent, broker_id), admit=admit
        )
        return report

    async def find_order(self, client_order_id: str) -> OrderReport | None:
        """The order with this id of ours, or None."""
        report: OrderReport | None = await self._request(
            "find_order", client_order_id, lambda: self._find(client_order_id)
        )
        return report

    async def fetch_order(self, broker_id: str) -> OrderReport | None:
        """The order with this id of the venue, and those that depend on it; or None."""
        report: OrderReport | None = await self._request(
            "fetch_order", broker_id, lambda: self._whole(self.engine.order(broker_id))
        )
        return report

    async def request_cancel(self, broker_id: str) -> None:
        """Ask for a cancel."""
        await self._request("request_cancel", broker_id, lambda: self._cancel(broker_id))

    async def request_close(self, symbol: str, *, admit: Callable[[], str | None]) -> OrderReport:
        """Have the venue close a whole position."""
        report: OrderReport = await self._request("request_close", symbol, lambda: self._close(symbol), admit=admit)
        return report

    async def fetch_account(self) -> Account:
        """The account as it is now."""
        account: Account = await self._request("fetch_account", "", lambda: self._view().account)
        return account

    async def fetch_asset(self, symbol: str) -> Asset:
        """What the venue says of a symbol."""
        asset: Asset = await self._request("fetch_asset", symbol, lambda: self._asset(symbol))
        return asset

    async def fetch_positions(self) -> tuple[BrokerPosition, ...]:
        """All positions."""
        positions: tuple[BrokerPosition, ...] = await self._request(
            "fetch_positions", "", lambda: self._view().positions
        )
        return positions

    async def fetch_orders(self, since: int) -> tuple[OrderReport, ...]:
        """Open orders, and those submitted since."""
        orders: tuple[OrderReport, ...] = await self._request("fetch_orders", "", lambda: self._orders(since))
        return orders

    async def fetch_executions(self, since: int) -> tuple[Execution, ...]:
        """Executions since, oldest first."""
        executions: tuple[Execution, ...] = await self._request(
            "fetch_executions", "", lambda: tuple(e for e in self._report().executions if e.at >= since)
        )
        return executions

    async def fetch_adjustments(self, since: int) -> tuple[AccountActivity, ...]:
        """Those of ``adjustments`` since."""
        found: tuple[AccountActivity, ...] = await self._request(
            "fetch_adjustments", "", lambda: tuple(a for a in self.adjustments if a.at >= since)
        )
        return found

    async def fetch_bars(self, symbol: str, start: int, end: int, period: int) -> Sequence[Bar]:
        """Those of ``bars`` that end in ``(start, end]``."""
        bars: list[Bar] = await self._request(
            "fetch_bars", symbol, lambda: [bar for bar in self.bars if bar.symbol == symbol and start < bar.ts <= end]
        )
        return bars

    # -- inside ---------------------------------------------------------------------------------

    async def _request(
        self, method: str, subject: str, perform: Callable[[], Any], *, admit: Callable[[], str | None] | None = None
    ) -> Any:
        call = Call(
            method,
            subject,
            self._clock.now_ns(),
            perform=perform,
            admit=admit,
            witness=self._witness,
            on_hold=self._on_hold,
        )
        self.requests.append(call)
        script = self._scripts[method]
        answer = script.popleft() if script else carry_out
        await asyncio.sleep(0)
        try:
            call.outcome = await answer(call)
        except Exception as error:
            call.outcome = error
            raise
        return call.outcome

    def _on_hold(self, change: int) -> None:
        self.held += change
        if change > 0 and self.on_held is not None:
            self.on_held()

    def _place(self, intent: OrderIntent) -> OrderReport:
        try:
            order = self.engine.submit(new_order_of(intent), self._clock.now_ns())
        except Refusal as refusal:
            raise _refused(refusal) from None
        report = whole_report_of(order, self.engine)
        self.deliver()
        return report

    def _replace(self, intent: OrderIntent, broker_id: str) -> OrderReport:
        try:
            order = self.engine.replace(broker_id, replacement_of(intent), self._clock.now_ns())
        except Refusal as refusal:
            raise _refused(refusal) from None
        report = report_of(order)
        self.deliver()
        return report

    def _cancel(self, broker_id: str) -> None:
        try:
            self.engine.cancel(broker_id, self._clock.now_ns())
        except Refusal as refusal:
            raise _refused(refusal) from None
        self.deliver()

    def _close(self, symbol: str) -> OrderReport:
        row = self.engine.position(symbol)
        if row is None:
            message = "position does not exist"
            raise BrokerRefusedError(message, status=404, code=40410000)
        crypto = row.asset_class is AssetClass.CRYPTO
        new = NewOrder(
            symbol=row.symbol,
            side=OrderSide.SELL if row.quantity > 0 else OrderSide.BUY,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.GTC if crypto else TimeInForce.DAY,
            quantity=abs(row.quantity),
        )
        try:
            order = self.engine.submit(new, self._clock.now_ns())
        except Refusal as refusal:
            raise _refused(refusal) from None
        report = report_of(order)
        self.deliver()
        return report

    def _find(self, client_order_id: str) -> OrderReport | None:
        return self._whole(self.engine.by_client_id(client_order_id))

    def _whole(self, order: VenueOrder | None) -> OrderReport | None:
        return None if order is None else whole_report_of(order, self.engine)

    def _asset(self, symbol: str) -> Asset:
        asset = self.engine.asset(symbol)
        if asset is None:
            message = f"the venue has no asset {symbol!r}"
            raise UnknownSymbolError(message)
        return asset

    def _orders(self, since: int) -> tuple[OrderReport, ...]:
        orders = self.engine.orders("all", newest_first=False)
        return tuple(
            whole_report_of(order, self.engine) for order in orders if order.is_open or order.submitted_at >= since
        )

    def _keep_view(self) -> None:
        if self._lag is not None:
            self._views.append((self._clock.now_ns(), self._report()))

    def _view(self) -> BrokerReported:
        """Positions and account as they are shown now."""
        if self._lag is None:
            return self._report()
        shown_at = self._clock.now_ns() - self._lag
        while len(self._views) > 1 and self._views[1][0] <= shown_at:
            self._views.popleft()
        return self._views[0][1]

    def _report(self) -> BrokerReported:
        found: list[Event] = []
        InProcessBroker(self.engine, found.append).execute(Reconcile(reason="", since=0), self._clock.now_ns())
        (report,) = found
        invariant(isinstance(report, BrokerReported), "the engine was asked for a report")
        return report  # type: ignore[return-value]  # the line above


def _refused(refusal: Refusal) -> BrokerError:
    if "client_order_id must be unique" in refusal.message:
        # It says that the first one arrived: no verdict on this one.
        return OutcomeUnknownError(
            refusal.message, status=refusal.http_status, code=refusal.code, outcome=Outcome.ID_TAKEN
        )
    return BrokerRefusedError(refusal.message, status=refusal.http_status, code=refusal.code)


def _at(event: Event, ts: int) -> Event:
    """The event as learned at ``ts``."""
    return msgspec.structs.replace(event, ts=ts)
