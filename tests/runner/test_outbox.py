"""The outbox's table, row by row: what comes of a command, by when its request fails."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from holdfast.model import OrderIntent, OrderSide, OrderType, Outcome, Source, TimeInForce, TradingState
from holdfast.model.commands import (
    CancelOrder,
    Command,
    LoadSecurity,
    LookupOrder,
    QueryAccount,
    Reconcile,
    RecordVerdict,
    ReplaceOrder,
    SendAlert,
    SubmitOrder,
)
from holdfast.model.errors import BrokerError, BrokerRefusedError, OutcomeUnknownError
from holdfast.model.events import (
    AccountUpdated,
    BrokerReported,
    CancelRefused,
    CancelUnknown,
    Event,
    LookupFailed,
    LookupMissed,
    OrderRefused,
    OrderUpdated,
    ReconcileFailed,
    SecurityLoaded,
    SecurityUnavailable,
    SubmitDropped,
    SubmitUnknown,
    VenueAdjusted,
)
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.runner import Inbox, Outbox
from holdfast.testing import (
    Answer,
    Call,
    Held,
    RecordingAlerts,
    ScriptedBroker,
    carry_out,
    cut_off,
    make_engine,
    never_left,
    not_found,
    refuse,
    time_out_after,
    time_out_before,
)
from holdfast.testing.bot import START
from holdfast.testing.samples import ACTIVITY, VERDICT
from holdfast.time import BacktestClock
from tests.runner.helpers import until


def intent(number: int = 1, *, reduce_only: bool = False) -> OrderIntent:
    """A small order that rests far from the market."""
    return OrderIntent(
        client_order_id=f"j-{number}",
        symbol="SPY",
        side=OrderSide.BUY,
        quantity=Decimal(10),
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.DAY,
        created_at=START,
        limit_price=Decimal(50),
        reduce_only=reduce_only,
    )


class Desk:
    """An outbox with a broker whose stream nobody hears."""

    def __init__(self, *, serial: bool = False) -> None:
        self.clock = BacktestClock(START)
        self.engine = make_engine()
        self.broker = ScriptedBroker(self.engine, self.clock)
        self.alerts = RecordingAlerts()
        self.inbox = Inbox()
        self.state = TradingState.ACTIVE
        self.outbox = Outbox(self.broker, self.alerts, self.inbox, self.clock, lambda: self.state, serial=serial)

    async def carry_out(self, *commands: Command) -> list[Event]:
        """Start commands, wait for all, and take what came of them."""
        for command in commands:
            self.outbox.start(command)
        await until(lambda: self.outbox.unfinished == 0)
        assert self.outbox.failure is None
        return self.events()

    def events(self) -> list[Event]:
        """What is in the inbox."""
        found: list[Event] = []
        while (post := self.inbox.take_posts()) is not None:
            found.extend(post(self.clock.now_ns()))
        return found


SUBMIT = SubmitOrder(intent=intent(), deadline=START + 5 * NS_PER_SECOND)
REPLACE = ReplaceOrder(
    intent=msgspec.structs.replace(intent(), limit_price=Decimal(51), replaces="j-0"),
    broker_id="set by the test",
    deadline=START + 5 * NS_PER_SECOND,
)
CANCEL = CancelOrder(client_order_id="j-1", broker_id="set by the test")
LOOK_UP = LookupOrder(client_order_id="j-1")
ACCOUNT = QueryAccount()
ASSET = LoadSecurity(symbol="SPY")
REPORT = Reconcile(reason="start", since=0)

# (command, the broker's method, what becomes of the request, the event that follows; None where nothing does)
ROWS: list[tuple[Command, str, Answer, type[Any] | None]] = [
    (SUBMIT, "place", never_left, SubmitDropped),
    (SUBMIT, "place", time_out_before, SubmitUnknown),
    (SUBMIT, "place", time_out_after, SubmitUnknown),
    (SUBMIT, "place", cut_off, SubmitUnknown),
    (SUBMIT, "place", carry_out, OrderUpdated),
    (SUBMIT, "place", refuse(), OrderRefused),
    (REPLACE, "replace", never_left, SubmitDropped),
    (REPLACE, "replace", time_out_before, SubmitUnknown),
    (REPLACE, "replace", time_out_after, SubmitUnknown),
    (REPLACE, "replace", cut_off, SubmitUnknown),
    (REPLACE, "replace", carry_out, OrderUpdated),
    (REPLACE, "replace", refuse(), OrderRefused),
    (CANCEL, "request_cancel", never_left, CancelUnknown),
    (CANCEL, "request_cancel", time_out_before, CancelUnknown),
    (CANCEL, "request_cancel", time_out_after, CancelUnknown),
    (CANCEL, "request_cancel", carry_out, None),
    (CANCEL, "request_cancel", refuse("order is already filled", status=422), CancelRefused),
    (LOOK_UP, "find_order", never_left, LookupFailed),
    (LOOK_UP, "find_order", time_out_before, LookupFailed),
    (LOOK_UP, "find_order", refuse("forbidden.", status=403), LookupFailed),
    (LOOK_UP, "find_order", carry_out, OrderUpdated),
    (LOOK_UP, "find_order", not_found, LookupMissed),
    (ACCOUNT, "fetch_account", never_left, None),
    (ACCOUNT, "fetch_account", time_out_before, None),
    (ACCOUNT, "fetch_account", refuse(), None),
    (ACCOUNT, "fetch_account", carry_out, AccountUpdated),
    (ASSET, "fetch_asset", never_left, SecurityUnavailable),
    (ASSET, "fetch_asset", time_out_before, SecurityUnavailable),
    (ASSET, "fetch_asset", refuse(), SecurityUnavailable),
    (ASSET, "fetch_asset", carry_out, SecurityLoaded),
    *(
        (REPORT, method, answer, ReconcileFailed)
        for method in ("fetch_positions", "fetch_account", "fetch_orders", "fetch_executions")
        for answer in (never_left, time_out_before, refuse())
    ),
    (REPORT, "fetch_executions", carry_out, BrokerReported),
]


def _name(value: object) -> str:
    if isinstance(value, str):
        return value
    return getattr(value, "__name__", None) or type(value).__name__


@pytest.mark.parametrize(("command", "method", "answer", "expected"), ROWS, ids=_name)
async def test_a_row_of_the_table(command: Command, method: str, answer: Answer, expected: type[Any] | None) -> None:
    """Exactly the event of the table follows, or none."""
    desk = Desk()
    if isinstance(command, CancelOrder | LookupOrder):
        placed = await desk.broker.place(intent(), admit=lambda: None)
        if isinstance(command, CancelOrder):
            command = CancelOrder(client_order_id="j-1", broker_id=placed.broker_id)
    if isinstance(command, ReplaceOrder):
        placed = await desk.broker.place(intent(0), admit=lambda: None)
        command = msgspec.structs.replace(command, broker_id=placed.broker_id)
    desk.broker.script(method, answer)

    events = await desk.carry_out(command)

    assert [type(event) for event in events] == ([] if expected is None else [expected])
    for event in events:
        if isinstance(event, OrderUpdated):
            assert event.source is (Source.RESPONSE if method in ("place", "replace") else Source.LOOKUP)
            assert event.report.client_order_id == "j-1"
        elif hasattr(event, "client_order_id"):
            assert event.client_order_id == "j-1"


async def test_every_command_is_in_the_table_or_needs_nothing_done() -> None:
    """Alerts go to people at once; verdicts are for the journal."""
    desk = Desk()

    events = await desk.carry_out(
        SendAlert(channel="trading", title="t", details="d"), RecordVerdict(verdict=VERDICT, request=1)
    )

    assert events == []
    assert desk.broker.requests == []
    assert desk.alerts.alerts == [("trading", "t", "d")]


async def test_an_unknown_symbol_is_unavailable() -> None:
    """With the venue's reason."""
    (event,) = await Desk().carry_out(LoadSecurity(symbol="NOPE"))

    assert isinstance(event, SecurityUnavailable)
    assert "NOPE" in event.reason


##### The last look before an order leaves


async def held_submit(desk: Desk, command: SubmitOrder) -> Held:
    """A submit that waits in the throttler's queue."""
    slot = Held()
    desk.broker.script("place", slot)
    desk.outbox.start(command)
    await until(lambda: desk.broker.held)
    return slot


async def test_a_replacement_is_stopped_at_the_last_moment_like_a_submit() -> None:
    """A deadline that has passed, a halt, a bot that stops: the old order lives on."""
    desk = Desk()
    placed = await desk.broker.place(intent(0), admit=lambda: None)
    command = msgspec.structs.replace(REPLACE, broker_id=placed.broker_id)
    desk.state = TradingState.REDUCING
    (halted,) = await desk.carry_out(command)
    desk.state = TradingState.ACTIVE
    slot = Held()
    desk.broker.script("replace", slot)
    desk.outbox.start(command)
    await until(lambda: desk.broker.held)
    desk.clock.advance_to(command.deadline + 1)
    slot.release()
    (late,) = await desk.carry_out()

    assert isinstance(halted, SubmitDropped)
    assert isinstance(late, SubmitDropped)
    assert (halted.reason, late.client_order_id) == ("trading is reducing", "j-1")
    assert [order.is_open for order in desk.engine.orders("all")] == [True]


async def test_a_deadline_that_passed_in_the_queue_drops_the_order() -> None:
    """It is never sent, and comes back as an event that says why."""
    desk = Desk()
    slot = await held_submit(desk, SUBMIT)
    desk.clock.advance_to(SUBMIT.deadline + 1)
    slot.release()

    (event,) = await desk.carry_out()

    assert isinstance(event, SubmitDropped)
    assert "deadline" in event.reason
    assert desk.broker.sent() == []
    assert desk.engine.orders("all") == []


async def test_at_the_deadline_itself_it_still_leaves() -> None:
    """The deadline is the last moment, not the first too late."""
    desk = Desk()
    slot = await held_submit(desk, SUBMIT)
    desk.clock.advance_to(SUBMIT.deadline)
    slot.release()

    (event,) = await desk.carry_out()

    assert isinstance(event, OrderUpdated)


@pytest.mark.parametrize(
    ("state", "reduce_only", "leaves"),
    [
        (TradingState.ACTIVE, False, True),
        (TradingState.ACTIVE, True, True),
        (TradingState.REDUCING, False, False),
        (TradingState.REDUCING, True, True),
        (TradingState.HALTED, False, False),
        (TradingState.HALTED, True, False),
    ],
)
async def test_the_trading_state_counts_when_the_slot_is_granted(
    state: TradingState, reduce_only: bool, leaves: bool
) -> None:
    """Not when the order was decided on: whoever halts trading means what is still in the queue too."""
    desk = Desk()
    command = SubmitOrder(intent=intent(reduce_only=reduce_only), deadline=START)
    slot = await held_submit(desk, command)
    desk.state = state
    slot.release()

    (event,) = await desk.carry_out()

    assert bool(desk.broker.sent()) is leaves
    assert isinstance(event, OrderUpdated if leaves else SubmitDropped)
    assert leaves or str(state) in getattr(event, "reason", "")


async def test_a_closed_outbox_sends_no_new_order() -> None:
    """A submit that waits while the bot begins to stop is dropped; a cancel still leaves."""
    desk = Desk()
    placed = await desk.broker.place(intent(2), admit=lambda: None)
    slot = await held_submit(desk, SUBMIT)
    desk.outbox.closed = True
    slot.release()

    events = await desk.carry_out(CancelOrder(client_order_id="j-2", broker_id=placed.broker_id))

    assert [type(event) for event in events] == [SubmitDropped]
    assert desk.broker.sent() == ["j-2"]
    assert desk.engine.open_count == 0


##### How commands run


async def test_live_commands_run_side_by_side() -> None:
    """A submit that waits does not hold up a cancel."""
    desk = Desk()
    placed = await desk.broker.place(intent(2), admit=lambda: None)
    slot = await held_submit(desk, SUBMIT)

    desk.outbox.start(CancelOrder(client_order_id="j-2", broker_id=placed.broker_id))
    await until(lambda: desk.outbox.unfinished == 1)

    assert desk.engine.open_count == 0
    slot.release()
    assert [type(event) for event in await desk.carry_out()] == [OrderUpdated]


async def test_in_lockstep_commands_run_one_after_the_other() -> None:
    """The second request is not even made before the first is answered."""
    desk = Desk(serial=True)
    slot = await held_submit(desk, SUBMIT)
    desk.outbox.start(ACCOUNT)
    desk.outbox.start(ASSET)
    await asyncio.sleep(0)
    assert [call.method for call in desk.broker.requests] == ["place"]
    slot.release()

    events = await desk.carry_out()

    assert [type(event) for event in events] == [OrderUpdated, AccountUpdated, SecurityLoaded]
    await desk.outbox.stop()


async def test_a_bug_in_an_adapter_is_kept_for_the_runner() -> None:
    """An exception that is no verdict is no event either: the runner raises it."""

    async def buggy(_call: object) -> None:
        message = "a bug"
        raise ZeroDivisionError(message)

    desk = Desk()
    desk.broker.script("place", buggy)
    desk.outbox.start(SUBMIT)
    await until(lambda: desk.outbox.unfinished == 0)

    assert isinstance(desk.outbox.failure, ZeroDivisionError)
    assert desk.events() == []


async def test_stop_ends_what_is_still_running() -> None:
    """No task is left behind; what was under way has no outcome."""
    desk = Desk()
    await held_submit(desk, SUBMIT)

    await desk.outbox.stop()

    assert desk.outbox.unfinished == 0
    assert desk.broker.held == 0
    assert desk.events() == []


async def test_what_changed_the_account_is_told_before_the_report_and_once_a_run() -> None:
    """P3: the kernel counts by id for ever; the journal is not filled with what is known."""
    desk = Desk()
    desk.broker.adjustments.append(ACTIVITY)
    first, report = await desk.carry_out(REPORT)
    assert isinstance(first, VenueAdjusted)
    assert first.activity == ACTIVITY
    assert isinstance(report, BrokerReported)
    assert [type(event) for event in await desk.carry_out(REPORT)] == [BrokerReported]


@pytest.mark.parametrize("answer", [never_left, time_out_before, refuse()], ids=_name)
async def test_a_comparison_goes_on_without_the_account_activities(answer: Answer) -> None:
    """What they would have explained shows as drift; a venue without them blocks nothing."""
    desk = Desk()
    desk.broker.adjustments.append(ACTIVITY)
    desk.broker.script("fetch_adjustments", answer)
    assert [type(event) for event in await desk.carry_out(REPORT)] == [BrokerReported]
    assert [type(event) for event in await desk.carry_out(REPORT)] == [VenueAdjusted, BrokerReported]


async def test_a_report_repeats_when_it_was_asked_for() -> None:
    """P2: by that the kernel knows what can be in it."""
    (report,) = await Desk().carry_out(Reconcile(reason="unknown order", since=0, asked_at=17))
    assert isinstance(report, BrokerReported)
    assert report.asked_at == 17


@pytest.mark.parametrize(
    ("command", "method", "error"),
    [
        (SUBMIT, "place", OutcomeUnknownError("taken", outcome=Outcome.ID_TAKEN)),
        (SUBMIT, "place", BrokerRefusedError("slow down", outcome=Outcome.RATE_LIMITED)),
        (CANCEL, "request_cancel", OutcomeUnknownError("slow down", outcome=Outcome.RATE_LIMITED)),
        (CANCEL, "request_cancel", BrokerRefusedError("gone", outcome=Outcome.NOT_FOUND)),
        (LOOK_UP, "find_order", OutcomeUnknownError("html", outcome=Outcome.FOREIGN_ANSWER)),
    ],
    ids=_name,
)
async def test_the_event_says_how_the_request_ended(command: Command, method: str, error: BrokerError) -> None:
    """The decision table asks for it."""
    desk = Desk()

    async def fail(_call: Call) -> Any:
        raise error

    desk.broker.script(method, fail)
    (event,) = await desk.carry_out(command)
    assert event.outcome is error.outcome  # type: ignore[union-attr]  # each of these has one
