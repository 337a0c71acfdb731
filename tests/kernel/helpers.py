"""A kernel on a bench: events go in by hand, commands come out, and nothing else moves.

``Bench`` speaks for the venue: ``accepted``, ``filled``, ``canceled`` and so on are the events that a runner would
post. It keeps everything that it showed and what the kernel answered, which is just what a journal keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from holdfast.kernel import Kernel, KernelSettings
from holdfast.model import (
    Account,
    Asset,
    AssetClass,
    Bar,
    BrokerPosition,
    Execution,
    OrderIntent,
    OrderReport,
    OrderSide,
    OrderStatus,
    Outcome,
    Quote,
    Signal,
    Source,
    Verdict,
)
from holdfast.model.commands import (
    Command,
    RecordVerdict,
    ReplaceOrder,
    SendAlert,
    SubmitOrder,
)
from holdfast.model.events import (
    BrokerReported,
    CancelRefused,
    CancelUnknown,
    EpochStarted,
    Event,
    LookupFailed,
    LookupMissed,
    OrderFilled,
    OrderRefused,
    OrderUpdated,
    SecurityLoaded,
    StreamConnected,
    StreamLost,
    SubmitDropped,
    SubmitUnknown,
    TimerFired,
)
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.risk import PreTradeRiskGate, RiskLimits
from holdfast.risk.protections import Protection, ProtectionManager
from holdfast.state.order_tracker import InFlightOrder, OrderTracker
from holdfast.strategies import Strategy
from holdfast.time import UtcDaySessions

START = 1_704_207_600 * NS_PER_SECOND  # 2024-01-02 15:00 UTC, inside a session of the exchange too
SPY, COIN = "SPY", "BTC/USD"
ASSETS = {
    SPY: Asset(symbol=SPY, shortable=True, marginable=True),
    "QQQ": Asset(symbol="QQQ", shortable=True, marginable=True),
    COIN: Asset(
        symbol=COIN,
        asset_class=AssetClass.CRYPTO,
        min_order_size="0.0001",
        min_trade_increment="0.000000001",
        price_increment="1",
    ),
}
ACCOUNT = Account(
    account_id="a",
    cash=Decimal(100_000),
    equity=Decimal(100_000),
    buying_power=Decimal(200_000),
    non_marginable_buying_power=Decimal(100_000),
    last_equity=Decimal(100_000),
    multiplier=2,
    shorting_enabled=True,
)

Action = Callable[["Scripted"], object]
_C = TypeVar("_C")


class Scripted(Strategy):
    """Does on its n-th bar what the script says for n (for -n: when one is revised after it), and keeps what it is told."""

    def __init__(self, symbols: Sequence[str], script: dict[int, Action] | None = None) -> None:
        super().__init__(symbols)
        self.script = {} if script is None else script
        self.bars = 0
        self.answer: Any = None
        self.told: list[str] = []

    def on_bar(self, bar: Bar) -> None:
        """Act, if it is time to."""
        self.bars += 1
        if self.bars in self.script:
            self.answer = self.script[self.bars](self)

    def on_bar_revised(self, bar: Bar) -> None:
        """Keep it, and act, if it is time to."""
        self.told.append(f"revised {bar.close}")
        if -self.bars in self.script:
            self.answer = self.script[-self.bars](self)

    def on_quote(self, quote: Quote) -> None:
        """Keep it."""
        self.told.append(f"quote {quote.bid}/{quote.ask}")

    def on_fill(self, execution: Execution, order: InFlightOrder) -> None:
        """Keep it, with the position that is seen at that moment."""
        self.told.append(f"fill {execution.quantity}, holds {self.view(order.symbol).position}")

    def on_order(self, order: InFlightOrder) -> None:
        """Keep it."""
        self.told.append(f"order {order.status.value}")

    def save_state(self) -> object:
        """All but the script, which is the test's."""
        return {"bars": self.bars, "told": list(self.told)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.bars, self.told = state["bars"], state["told"]


def make_kernel(
    strategies: Sequence[Strategy],
    *,
    limits: RiskLimits | None = None,
    protections: Iterable[Protection] = (),
    settings: KernelSettings | None = None,
    tracker: OrderTracker | None = None,
) -> Kernel:
    """A fresh kernel whose sessions are UTC days."""
    return Kernel(
        strategies,
        protections=ProtectionManager(protections),
        gate=PreTradeRiskGate(limits),
        sessions_for=lambda _: UtcDaySessions(),
        settings=settings,
        tracker=tracker,
    )


def of(kind: type[_C], commands: Iterable[object]) -> list[_C]:
    """The commands of one kind."""
    return [command for command in commands if isinstance(command, kind)]


class Bench:
    """One kernel, one scripted strategy, and the venue's voice.

    Args:
        symbols: What the strategy trades.
        ready: Begin an epoch, load the rules, report an empty account and show one bar of each symbol at 100.
        **guards: See ``make_kernel``.
    """

    def __init__(self, *symbols: str, ready: bool = True, **guards: Any) -> None:
        self.symbols = symbols or (SPY,)
        self.strategy = Scripted(self.symbols)
        self.kernel = make_kernel([self.strategy], **guards)
        self.now = START
        self.shown: list[tuple[Event, list[Command]]] = []
        if ready:
            self.begin()
            self.connected()
            for symbol in self.symbols:
                self.load(symbol)
            self.reported()
            for symbol in self.symbols:
                self.bar(symbol=symbol, after=0)

    # -- showing --------------------------------------------------------------------------------

    def show(self, event: Event) -> list[Command]:
        """One event; what the kernel says to it."""
        commands = list(self.kernel.handle(event))
        self.shown.append((event, commands))
        return commands

    @property
    def commands(self) -> list[Command]:
        """All commands so far."""
        return [command for _, commands in self.shown for command in commands]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * NS_PER_SECOND)

    def begin(self, epoch: int = 1) -> list[Command]:
        """A run of the bot begins."""
        return self.show(EpochStarted(ts=self.now, epoch=epoch, journal_id="J"))

    def connected(self) -> list[Command]:
        """The order stream is up."""
        return self.show(StreamConnected(ts=self.now, stream="user"))

    def stream_lost(self) -> list[Command]:
        """The order stream is down."""
        return self.show(StreamLost(ts=self.now, stream="user", reason="cut"))

    def load(self, symbol: str = SPY, **changes: Any) -> list[Command]:
        """The venue describes a symbol."""
        return self.show(SecurityLoaded(ts=self.now, asset=msgspec.structs.replace(ASSETS[symbol], **changes)))

    def bar(self, close: float = 100.0, symbol: str = SPY, after: float = 60.0) -> list[Command]:
        """The next minute's bar."""
        self.wait(after)
        return self.show(Bar(self.now, symbol, close, close, close, close, 1_000.0))

    def act(self, action: Action, close: float = 100.0, symbol: str = SPY, after: float = 60.0) -> list[Command]:
        """A bar on which the strategy does something; its answer is then in ``verdict``."""
        self.strategy.script[self.strategy.bars + 1] = action
        return self.bar(close, symbol, after)

    @property
    def verdict(self) -> Verdict:
        """What the strategy was answered last."""
        answer = self.strategy.answer
        assert isinstance(answer, Verdict)
        return answer

    def order(self, action: Action, close: float = 100.0, symbol: str = SPY, after: float = 60.0) -> OrderIntent:
        """The one order that an action leads to."""
        commands = self.act(action, close, symbol, after)
        submits: list[SubmitOrder | ReplaceOrder] = [*of(SubmitOrder, commands), *of(ReplaceOrder, commands)]
        assert len(submits) == 1, self.verdict
        return submits[0].intent

    def hold(self, quantity: int, close: float = 100.0, symbol: str = SPY) -> OrderIntent:
        """Come to hold a position by a market order, filled at once at ``close``."""

        def enter(strategy: Scripted) -> Verdict:
            trade = strategy.buy if quantity > 0 else strategy.sell
            return trade(symbol, abs(quantity))

        intent = self.order(enter, close, symbol)
        self.accepted(intent)
        self.filled(intent, intent.quantity, close)
        return intent

    # -- the venue's voice ----------------------------------------------------------------------

    def accepted(self, intent: OrderIntent, source: Source = Source.STREAM, **changes: Any) -> list[Command]:
        """The venue has the order."""
        return self.updated(intent, OrderStatus.NEW, source=source, **changes)

    def updated(
        self, intent: OrderIntent, status: OrderStatus, source: Source = Source.STREAM, **changes: Any
    ) -> list[Command]:
        """The venue describes the order."""
        report = report_of(intent, status, **{"filled_qty": self.counted(intent), **changes})
        return self.show(OrderUpdated(ts=self.now, report=report, source=source))

    def filled(
        self, intent: OrderIntent, quantity: Decimal | int, price: float = 100.0, *, reports: bool = True
    ) -> list[Command]:
        """The stream tells of one execution, with the order after it unless ``reports`` is false."""
        execution = self.execution(intent, quantity, price)
        assert execution.cum_qty is not None
        done = execution.cum_qty >= intent.quantity
        status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        report = report_of(intent, status, filled_qty=execution.cum_qty) if reports else None
        return self.show(OrderFilled(ts=self.now, execution=execution, source=Source.STREAM, report=report))

    def execution(
        self, intent: OrderIntent, quantity: Decimal | int, price: float = 100.0, **changes: Any
    ) -> Execution:
        """The next execution of an order."""
        fields: dict[str, Any] = {
            "cum_qty": self.counted(intent) + quantity,
            "broker_id": f"B-{intent.client_order_id}",
            "client_order_id": intent.client_order_id,
            "symbol": intent.symbol,
            "side": intent.side,
            "quantity": Decimal(quantity),
            "price": Decimal(repr(price)),
            "at": self.now,
        }
        fields |= changes
        return Execution(
            execution_id=fields.pop("execution_id", f"{fields['broker_id']}-{fields['cum_qty']}"), **fields
        )

    def canceled(self, intent: OrderIntent) -> list[Command]:
        """The venue has cancelled what was left."""
        return self.updated(intent, OrderStatus.CANCELED)

    def refused(
        self, intent: OrderIntent, reason: str = "insufficient buying power", outcome: Outcome = Outcome.REFUSED
    ) -> list[Command]:
        """A definite no to the submit."""
        order_id = intent.client_order_id
        return self.show(OrderRefused(ts=self.now, client_order_id=order_id, reason=reason, outcome=outcome))

    def dropped(self, intent: OrderIntent) -> list[Command]:
        """It never left this process."""
        reason = "its deadline had passed"
        return self.show(SubmitDropped(ts=self.now, client_order_id=intent.client_order_id, reason=reason))

    def unknown(
        self, intent: OrderIntent, reason: str = "no answer", outcome: Outcome = Outcome.NO_ANSWER
    ) -> list[Command]:
        """The submit ended without a verdict."""
        lost = SubmitUnknown(ts=self.now, client_order_id=intent.client_order_id, reason=reason, outcome=outcome)
        return self.show(lost)

    def missed(self, intent: OrderIntent) -> list[Command]:
        """The venue says that it has no such order."""
        return self.show(LookupMissed(ts=self.now, client_order_id=intent.client_order_id))

    def denied(self, intent: OrderIntent) -> list[Command]:
        """All that it takes to be sure: the grace period, a look-up, a list of orders, a look-up."""
        self.wait(11)
        self.missed(intent)
        self.reported()
        return self.missed(intent)

    def lookup_failed(self, intent: OrderIntent) -> list[Command]:
        """The look-up had no answer."""
        return self.show(LookupFailed(ts=self.now, client_order_id=intent.client_order_id, reason="no answer"))

    def cancel_refused(self, intent: OrderIntent, outcome: Outcome = Outcome.REFUSED) -> list[Command]:
        """A definite no to the cancel."""
        order_id, reason = intent.client_order_id, "not cancelable"
        return self.show(CancelRefused(ts=self.now, client_order_id=order_id, reason=reason, outcome=outcome))

    def cancel_unknown(self, intent: OrderIntent, outcome: Outcome = Outcome.NO_ANSWER) -> list[Command]:
        """The cancel ended without a verdict."""
        order_id, reason = intent.client_order_id, "no answer"
        return self.show(CancelUnknown(ts=self.now, client_order_id=order_id, reason=reason, outcome=outcome))

    def reported(
        self,
        *,
        orders: Sequence[OrderReport] = (),
        executions: Sequence[Execution] = (),
        positions: Mapping[str, Decimal | int] | None = None,
        account: Account | None = None,
        asked_at: int | None = None,
    ) -> list[Command]:
        """The venue's whole truth. Positions and cash that are not given are ours, so that nothing differs."""
        if account is None:
            paid = sum((e.side.sign * e.quantity * e.price for e in executions if self._is_news(e)), Decimal(0))
            known_cash = self.kernel.portfolio.positions.cash if self.kernel.portfolio.account else ACCOUNT.cash
            account = msgspec.structs.replace(ACCOUNT, cash=known_cash - paid)
        if positions is None:
            ours = self.kernel.portfolio.positions
            positions = {position.symbol: position.quantity for position in ours.get_all()}
            for execution in executions:
                known = positions.get(execution.symbol, Decimal(0))
                positions[execution.symbol] = known + execution.side.sign * execution.quantity
        held = tuple(
            BrokerPosition(symbol=symbol, quantity=Decimal(quantity), avg_entry_price=Decimal(100))
            for symbol, quantity in positions.items()
        )
        return self.show(
            BrokerReported(
                ts=self.now,
                reason="test",
                account=account,
                orders=tuple(orders),
                executions=tuple(executions),
                positions=held,
                asked_at=self.now if asked_at is None else asked_at,
            )
        )

    def _is_news(self, execution: Execution) -> bool:
        orders = self.kernel.portfolio.tracker.orders()
        known = [e for order in orders for e in order.executions]
        return not any(
            e.execution_id == execution.execution_id
            or (e.broker_id, e.cum_qty) == (execution.broker_id, execution.cum_qty)
            for e in known
        )

    def fire(self) -> list[Command]:
        """Move to the kernel's next timer, and let it fire."""
        timers = self.kernel.timers
        name = min(timers, key=timers.__getitem__)
        self.now = max(self.now, timers[name])
        return self.show(TimerFired(ts=self.now, name=name))

    # -- looking --------------------------------------------------------------------------------

    def counted(self, intent: OrderIntent) -> Decimal:
        """How much of an order the kernel has counted as filled."""
        order = self.kernel.portfolio.tracker.get(intent.client_order_id)
        return Decimal(0) if order is None else order.filled_quantity

    def state(self, intent: OrderIntent) -> InFlightOrder:
        """What the kernel knows of an order."""
        order = self.kernel.portfolio.tracker.get(intent.client_order_id)
        assert order is not None
        return order

    def sent(self, client_order_id: str) -> OrderIntent:
        """The intent of an order that the kernel sent by itself."""
        submits = of(SubmitOrder, self.commands)
        return next(submit.intent for submit in submits if submit.intent.client_order_id == client_order_id)

    def position(self, symbol: str = SPY) -> Decimal:
        """What the kernel holds."""
        return self.kernel.portfolio.positions.quantity(symbol)


def report_of(intent: OrderIntent, status: OrderStatus, **changes: Any) -> OrderReport:
    """The venue's description of an order that is the one we meant."""
    fields: dict[str, Any] = {
        "broker_id": f"B-{intent.client_order_id}",
        "client_order_id": intent.client_order_id,
        "symbol": intent.symbol,
        "side": intent.side,
        "quantity": intent.quantity,
        "order_type": intent.order_type.value,
        "time_in_force": intent.time_in_force.value,
        "limit_price": intent.limit_price,
        "filled_qty": intent.quantity if status is OrderStatus.FILLED else Decimal(0),
    }
    return OrderReport(status=status, **fields | changes)


def verdict_of(commands: Iterable[Command]) -> Verdict:
    """The one verdict among some commands."""
    records = of(RecordVerdict, commands)
    assert len(records) == 1, records
    return records[0].verdict


def alerts(commands: Iterable[Command]) -> list[str]:
    """What people are told, as ``channel: title``."""
    return [f"{alert.channel}: {alert.title}" for alert in of(SendAlert, commands)]


def buy(quantity: float = 10, *, limit: float | None = None, symbol: str = SPY) -> Action:
    """A strategy's action: buy."""
    return lambda strategy: strategy.buy(symbol, quantity, limit=limit, reason="entry")


def sell(quantity: float = 10, *, limit: float | None = None, symbol: str = SPY) -> Action:
    """A strategy's action: sell."""
    return lambda strategy: strategy.sell(symbol, quantity, limit=limit, reason="entry")


def leave(
    quantity: float | None = None, *, limit: float | None = None, reason: str = "exit", symbol: str = SPY
) -> Action:
    """A strategy's action: exit."""
    return lambda strategy: strategy.exit(symbol, quantity, limit=limit, reason=reason)


def signal(side: OrderSide = OrderSide.BUY, quantity: int = 10, symbol: str = SPY, **changes: Any) -> Signal:
    """A signal from outside."""
    return Signal(symbol=symbol, side=side, quantity=Decimal(quantity), **changes)
