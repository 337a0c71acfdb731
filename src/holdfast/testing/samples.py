"""One message of every kind, with every field filled: what a journal must be able to keep."""

from __future__ import annotations

from decimal import Decimal

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
    OrderType,
    Quote,
    Signal,
    Source,
    Stage,
    TimeInForce,
    TradingState,
    Verdict,
)
from holdfast.model.commands import (
    CancelOrder,
    Command,
    LoadSecurity,
    LookupOrder,
    QueryAccount,
    Reconcile,
    RecordVerdict,
    SendAlert,
    SubmitOrder,
)
from holdfast.model.events import (
    AccountUpdated,
    BrokerReported,
    CancelRefused,
    CancelUnknown,
    EpochStarted,
    Event,
    LookupFailed,
    LookupMissed,
    OrderFilled,
    OrderRefused,
    OrderReleased,
    OrderUpdated,
    ReconcileFailed,
    ReconcileRequested,
    SecurityLoaded,
    SecurityUnavailable,
    ShutdownStarted,
    SignalReceived,
    StateHashed,
    StreamConnected,
    StreamLost,
    SubmitDropped,
    SubmitUnknown,
    TimerFired,
    TradingStateChanged,
)

_TS = 1_704_207_600_000_000_001  # every digit of a nanosecond counts
_ID = "00112233445566778899aabbccddeeff-7"

ASSET = Asset(
    symbol="BTC/USD",
    asset_class=AssetClass.CRYPTO,
    name="Bitcoin",
    exchange="CRYPTO",
    fractionable=True,
    min_order_size="0.000000002",
    min_trade_increment="0.000000001",
    price_increment="0.5",
)
ACCOUNT = Account(
    account_id="a",
    cash=Decimal("99999.123456789"),
    equity=Decimal("100000.000000001"),
    buying_power=Decimal("199999.99"),
    non_marginable_buying_power=Decimal("99999.12"),
    last_equity=Decimal("1e5"),
    multiplier=2,
    shorting_enabled=True,
)
SIGNAL = Signal(
    symbol="BTC/USD",
    side=OrderSide.SELL,
    quantity=Decimal("0.100000000"),
    price=Decimal("40000.50"),
    time_in_force=TimeInForce.IOC,
    reduce_only=True,
    strategy_id="s",
    reason="stop_loss",
)
INTENT = OrderIntent(
    client_order_id=_ID,
    symbol="BTC/USD",
    side=OrderSide.SELL,
    quantity=Decimal("0.100000000"),
    order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.IOC,
    created_at=_TS,
    limit_price=Decimal("40000.50"),
    reduce_only=True,
    strategy_id="s",
    reason="stop_loss",
)
REPORT = OrderReport(
    broker_id="b",
    client_order_id=_ID,
    symbol="BTC/USD",
    side=OrderSide.SELL,
    status=OrderStatus.UNKNOWN,
    quantity=Decimal("0.1"),
    filled_qty=Decimal("0.05"),
    filled_avg_price=Decimal("40000.333333333"),
    order_type="limit",
    time_in_force="ioc",
    limit_price=Decimal("40000.50"),
    submitted_at=_TS,
    raw_status="a word of tomorrow",
)
EXECUTION = Execution(
    execution_id="e",
    broker_id="b",
    symbol="BTC/USD",
    side=OrderSide.SELL,
    quantity=Decimal("0.05"),
    price=Decimal("40000.333333333"),
    at=_TS,
    cum_qty=Decimal("0.05"),
    client_order_id=_ID,
)
POSITION = BrokerPosition(symbol="SPY", quantity=Decimal("-3.5"), avg_entry_price=Decimal("450.127"))
VERDICT = Verdict(
    ts=_TS,
    approved=False,
    stage=Stage.RISK,
    signal=SIGNAL,
    guard="max_order_notional",
    reason="zu groß: 4 000 €",
    client_order_id=_ID,
    observed=("cooldown_period: too soon", "x: y"),
)

EVENTS: tuple[Event, ...] = (
    Bar(_TS, "SPY", 450.1, 450.2 + 1e-13, 449.9, 450.0, 12345.678),
    Quote(_TS, "SPY", 450.0, 450.01, 3.0, 0.1),
    EpochStarted(ts=_TS, epoch=3, journal_id="00112233445566778899aabbccddeeff"),
    SecurityLoaded(ts=_TS, asset=ASSET),
    SecurityUnavailable(ts=_TS, symbol="NOPE", reason="asset not found"),
    AccountUpdated(ts=_TS, account=ACCOUNT),
    SignalReceived(ts=_TS, signal=SIGNAL, request=9),
    TimerFired(ts=_TS, name=f"lookup:{_ID}"),
    TradingStateChanged(ts=_TS, state=TradingState.REDUCING, reason="an operator"),
    ShutdownStarted(ts=_TS, cancel_orders=True),
    StreamConnected(ts=_TS, stream="user"),
    StreamLost(ts=_TS, stream="data", reason="1006"),
    OrderUpdated(ts=_TS, report=REPORT, source=Source.LOOKUP),
    OrderFilled(ts=_TS, execution=EXECUTION, source=Source.STREAM, report=REPORT),
    OrderRefused(ts=_TS, client_order_id=_ID, reason="no", code=40310000),
    SubmitUnknown(ts=_TS, client_order_id=_ID, reason="time-out"),
    SubmitDropped(ts=_TS, client_order_id=_ID, reason="too late"),
    LookupMissed(ts=_TS, client_order_id=_ID),
    LookupFailed(ts=_TS, client_order_id=_ID, reason="503"),
    CancelRefused(ts=_TS, client_order_id=_ID, reason="filled"),
    CancelUnknown(ts=_TS, client_order_id=_ID, reason="time-out"),
    BrokerReported(
        ts=_TS,
        reason="daily",
        account=ACCOUNT,
        orders=(REPORT, REPORT),
        executions=(EXECUTION,),
        positions=(POSITION,),
    ),
    ReconcileRequested(ts=_TS, reason="asked for"),
    ReconcileFailed(ts=_TS, reason="503"),
    OrderReleased(
        ts=_TS, client_order_id=_ID, taken_at=_TS - 4, decided_at=_TS - 3, synced_at=_TS - 2, granted_at=_TS - 1
    ),
    StateHashed(ts=_TS, digest="0" * 64),
)
"""One event of each type."""

COMMANDS: tuple[Command, ...] = (
    SubmitOrder(intent=INTENT, deadline=_TS + 5),
    CancelOrder(client_order_id=_ID, broker_id="b"),
    LookupOrder(client_order_id=_ID),
    QueryAccount(),
    Reconcile(reason="start", since=_TS),
    LoadSecurity(symbol="SPY"),
    SendAlert(channel="trading", title="t", details="d"),
    RecordVerdict(verdict=VERDICT, request=9),
)
"""One command of each type."""
