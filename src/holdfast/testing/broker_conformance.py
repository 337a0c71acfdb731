"""What every broker adapter must do, as tests that any adapter can be put through.

Subclass it in a test module and say how yours is opened, at a venue where BTC/USD trades near 40,000 USD, the account is
new and holds 100,000 USD; pytest collects the rest:

    class TestMyBroker(BrokerConformance):
        @asynccontextmanager
        async def open(self):
            yield MyDesk(MyBroker(...))

The one question behind all of it: was it carried out? A definite no is ``BrokerRefusedError`` and leaves nothing behind, no
verdict is ``OutcomeUnknownError``, and what came of it is then found by our id; what never left is ``OrderDroppedError``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from functools import partial
from typing import Protocol, TypeVar

from holdfast.model import (
    Execution,
    OrderIntent,
    OrderReport,
    OrderSide,
    OrderStatus,
    OrderType,
    TimeInForce,
)
from holdfast.model.enums import Outcome
from holdfast.model.errors import (
    BrokerError,
    BrokerRefusedError,
    OrderDroppedError,
    OutcomeUnknownError,
    UnknownSymbolError,
)
from holdfast.runner.ports import BrokerPort
from holdfast.state.order_machine import OPEN

T = TypeVar("T")

SYMBOL = "BTC/USD"
FAR = Decimal(30_000)
QUANTITY = Decimal("0.001")
_LOOKS_MAX = 3_000
_AGES_AGO = 0


class BrokerDesk(Protocol):
    """A broker adapter under test, and what a test must be able to do to its venue."""

    @property
    def broker(self) -> BrokerPort:
        """The adapter."""
        ...

    async def pass_time(self) -> None:
        """Let the market go on a little: what is marketable trades, sooner or later."""
        ...

    def lose_answer(self, method: str, *, executed: bool) -> None:
        """Of the next request of ``place``, ``replace`` or ``request_cancel`` no answer arrives; ``executed``: it did."""
        ...


class BrokerConformance(ABC):
    """The suite. Its tests are ``async def`` and use nothing of pytest.

    Attributes:
        many: So many orders are listed whole; set it above the size of your venue's page.
    """

    many: int = 25

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[BrokerDesk]:
        """A desk with a new account; closed in the end."""

    # ------------------------------------------------------------------ submit

    async def test_an_order_is_reported_as_it_was_meant(self) -> None:
        """Under our id, to the last decimal, open, and with nothing filled."""
        async with self.open() as desk:
            wanted = intent("a", quantity=Decimal("0.001234567"), price=Decimal("30000.1"))
            report = await desk.broker.place(wanted, admit=may)
            _describes(report, wanted)
            _same(report.filled_qty, Decimal(0))
            _holds(report.status in OPEN, f"a new order is {report.status}")

    async def test_an_order_is_found_by_our_id_and_is_listed(self) -> None:
        """The same order, under the same id of the venue."""
        async with self.open() as desk:
            report = await desk.broker.place(intent("a"), admit=may)
            found = await desk.broker.find_order("a")
            listed = await desk.broker.fetch_orders(_AGES_AGO)
            _same(None if found is None else found.broker_id, report.broker_id)
            _same([order.broker_id for order in listed], [report.broker_id])

    async def test_an_id_that_nobody_used_is_not_found(self) -> None:
        """That is None, and no error."""
        async with self.open() as desk:
            _same(await desk.broker.find_order("nobody"), None)
            _same(await desk.broker.fetch_orders(_AGES_AGO), ())

    async def test_a_refused_order_does_not_exist(self) -> None:
        """Too dear: a definite no, which leaves nothing behind."""
        async with self.open() as desk:
            dear = intent("dear", quantity=Decimal(4), price=Decimal(39_000))
            error = await _raises(BrokerRefusedError, lambda: desk.broker.place(dear, admit=may))
            _holds(not isinstance(error, OutcomeUnknownError), "a refusal is a verdict")
            _same(await desk.broker.find_order("dear"), None)
            _same(await desk.broker.fetch_orders(_AGES_AGO), ())

    async def test_an_id_is_taken_for_ever(self) -> None:
        """Used again it is no verdict on the second order, but word that the first arrived; also when that is closed."""
        async with self.open() as desk:
            first = await desk.broker.place(intent("a"), admit=may)
            other = intent("a", quantity=QUANTITY * 2)
            for _ in range(2):
                error = await _raises(OutcomeUnknownError, lambda: desk.broker.place(other, admit=may))
                _same(error.outcome, Outcome.ID_TAKEN)
                found = await desk.broker.find_order("a")
                _same((found and found.broker_id, found and found.quantity), (first.broker_id, QUANTITY))
                await self._cancel(desk, first)

    async def test_what_is_not_admitted_never_leaves(self) -> None:
        """Neither an order nor a replacement; the question is asked once, right before."""
        async with self.open() as desk:
            report = await desk.broker.place(intent("a"), admit=may)
            asked: list[int] = []

            def may_not() -> str:
                asked.append(1)
                return "halted"

            await _raises(OrderDroppedError, lambda: desk.broker.place(intent("b"), admit=may_not))
            await _raises(OrderDroppedError, lambda: desk.broker.replace(intent("c"), report.broker_id, admit=may_not))
            _same(len(asked), 2)
            _same(await desk.broker.find_order("b"), None)
            _same(await desk.broker.find_order("c"), None)
            still = await desk.broker.find_order("a")
            _holds(still is not None and still.status in OPEN, "the old order is as it was")

    async def test_a_submit_whose_answer_is_lost_is_found_and_is_there_once(self) -> None:
        """P2: no verdict; then the look-up has it, and a second one under the same id says that it arrived."""
        async with self.open() as desk:
            desk.lose_answer("place", executed=True)
            await _raises(OutcomeUnknownError, lambda: desk.broker.place(intent("a"), admit=may))
            found = await desk.broker.find_order("a")
            _holds(found is not None, "the order that arrived is found")
            error = await _raises(OutcomeUnknownError, lambda: desk.broker.place(intent("a"), admit=may))
            _same(error.outcome, Outcome.ID_TAKEN)
            _same([order.client_order_id for order in await desk.broker.fetch_orders(_AGES_AGO)], ["a"])

    async def test_a_submit_that_was_lost_is_unknown_and_is_not_sent_again(self) -> None:
        """P2: it looks the same from here; only the look-up tells that there is none."""
        async with self.open() as desk:
            desk.lose_answer("place", executed=False)
            await _raises(OutcomeUnknownError, lambda: desk.broker.place(intent("a"), admit=may))
            _same(await desk.broker.find_order("a"), None)
            _same(await desk.broker.fetch_orders(_AGES_AGO), ())

    # ------------------------------------------------------------------ cancel

    async def test_a_cancelled_order_ends_cancelled(self) -> None:
        """The request is answered before; the order's own word comes."""
        async with self.open() as desk:
            report = await desk.broker.place(intent("a"), admit=may)
            ended = await self._cancel(desk, report)
            _same((ended.status, ended.filled_qty), (OrderStatus.CANCELED, Decimal(0)))

    async def test_a_cancel_of_what_is_not_there_is_refused(self) -> None:
        """A definite no: there is nothing to cancel."""
        async with self.open() as desk:
            unknown = "00000000-0000-4000-8000-000000000000"
            await _raises(BrokerRefusedError, lambda: desk.broker.request_cancel(unknown))

    async def test_a_cancel_of_a_filled_order_is_refused(self) -> None:
        """It is as it was."""
        async with self.open() as desk:
            filled = await self._filled(desk, market("a"))
            await _raises(BrokerRefusedError, lambda: desk.broker.request_cancel(filled.broker_id))
            found = await desk.broker.find_order("a")
            _same(found and found.status, OrderStatus.FILLED)

    async def test_a_cancel_whose_answer_is_lost_is_no_verdict(self) -> None:
        """Carried out, the order's own word says so; lost, the order is as it was."""
        async with self.open() as desk:
            for name, executed in (("a", True), ("b", False)):
                report = await desk.broker.place(intent(name), admit=may)
                desk.lose_answer("request_cancel", executed=executed)
                await _raises(OutcomeUnknownError, partial(desk.broker.request_cancel, report.broker_id))
                if executed:
                    await self._ends(desk, name, OrderStatus.CANCELED)
                else:
                    found = await desk.broker.find_order(name)
                    _holds(found is not None and found.status in OPEN, "an order whose cancel was lost is open")

    # ------------------------------------------------------------------ replace

    async def test_a_replacement_is_a_new_order_in_the_place_of_the_old_one(self) -> None:
        """With an id of its own and what it says itself; the old one is no longer open."""
        async with self.open() as desk:
            old = await desk.broker.place(intent("a"), admit=may)
            wanted = intent("b", quantity=QUANTITY * 2, price=FAR + 500)
            new = await desk.broker.replace(wanted, old.broker_id, admit=may)
            _describes(new, wanted)
            _holds(new.broker_id != old.broker_id, "the new order has an id of its own")
            await self._ends(desk, "a", OrderStatus.REPLACED)
            found = await desk.broker.find_order("b")
            _same(found and found.broker_id, new.broker_id)

    async def test_what_is_closed_is_not_replaced(self) -> None:
        """Whatever the venue says to that, there is no new order."""
        async with self.open() as desk:
            old = await desk.broker.place(intent("a"), admit=may)
            await self._cancel(desk, old)
            await _raises(BrokerError, lambda: desk.broker.replace(intent("b"), old.broker_id, admit=may))
            _same(await desk.broker.find_order("b"), None)

    async def test_a_replacement_whose_answer_is_lost_is_found(self) -> None:
        """P2: by its id, once."""
        async with self.open() as desk:
            old = await desk.broker.place(intent("a"), admit=may)
            desk.lose_answer("replace", executed=True)
            wanted = intent("b", price=FAR + 500)
            await _raises(OutcomeUnknownError, lambda: desk.broker.replace(wanted, old.broker_id, admit=may))
            found = await desk.broker.find_order("b")
            _holds(found is not None, "the replacement that arrived is found")
            await self._ends(desk, "a", OrderStatus.REPLACED)

    # ------------------------------------------------------------------ what is told

    async def test_many_orders_are_listed_whole_each_once_and_oldest_first(self) -> None:
        """Across pages; and the open ones among them however old they are."""
        async with self.open() as desk:
            names = [f"n-{number}" for number in range(self.many)]
            for name in names:
                await desk.broker.place(intent(name), admit=may)
            listed = await desk.broker.fetch_orders(_AGES_AGO)
            _same([order.client_order_id for order in listed], names)
            resting = await desk.broker.fetch_orders(2**62)
            _same(sorted(order.client_order_id for order in resting), sorted(names))

    async def test_executions_add_up_to_what_the_orders_tell(self) -> None:
        """P3: each has an id of its own, names its order, and is the same one whenever it is asked for."""
        async with self.open() as desk:
            reports = [await self._filled(desk, market(name, QUANTITY * n)) for n, name in enumerate("abc", 1)]
            executions = await desk.broker.fetch_executions(_AGES_AGO)
            _same(len({execution.execution_id for execution in executions}), len(executions))
            for report in reports:
                mine = [execution for execution in executions if execution.broker_id == report.broker_id]
                _same(sum(execution.quantity for execution in mine), report.filled_qty)
                _same({(e.symbol, e.side) for e in mine}, {(report.symbol, report.side)})
            _same(_moments(executions), sorted(_moments(executions)))
            _same(await desk.broker.fetch_executions(_AGES_AGO), executions)

    async def test_a_position_is_what_was_bought_and_is_closed_by_the_venue(self) -> None:
        """Its symbol has its slash; closing what is not there is refused."""
        async with self.open() as desk:
            await _raises(BrokerRefusedError, lambda: desk.broker.request_close(SYMBOL, admit=may))
            _same([p for p in await desk.broker.fetch_positions() if p.quantity], [])
            await self._filled(desk, market("a"))
            (position,) = await desk.broker.fetch_positions()
            _same(position.symbol, SYMBOL)
            _holds(0 < position.quantity <= QUANTITY, f"the position is {position.quantity}")
            close = await desk.broker.request_close(SYMBOL, admit=may)
            _same((close.symbol, close.side), (SYMBOL, OrderSide.SELL))

            async def is_flat() -> bool:
                await desk.pass_time()
                return not [p for p in await desk.broker.fetch_positions() if p.quantity]

            await _until(is_flat)

    async def test_the_account_pays_for_what_it_buys(self) -> None:
        """Cash and equity are there, and cash falls."""
        async with self.open() as desk:
            before = await desk.broker.fetch_account()
            _same((before.cash, before.equity), (Decimal(100_000), Decimal(100_000)))
            await self._filled(desk, market("a"))
            after = await desk.broker.fetch_account()
            _holds(after.cash < before.cash, f"cash was {before.cash} and is {after.cash}")

    async def test_a_symbol_is_described_and_an_unknown_one_is_said_to_be_unknown(self) -> None:
        """By an error of its own."""
        async with self.open() as desk:
            asset = await desk.broker.fetch_asset(SYMBOL)
            _same((asset.symbol, asset.tradable), (SYMBOL, True))
            await _raises(UnknownSymbolError, lambda: desk.broker.fetch_asset("NOSUCH"))

    # ------------------------------------------------------------------ steps

    async def _ends(self, desk: BrokerDesk, name: str, status: OrderStatus) -> OrderReport:
        """The order, when it has come to this status."""
        found: list[OrderReport] = []

        async def has_ended() -> bool:
            report = await desk.broker.find_order(name)
            if report is None or report.status is not status:
                await desk.pass_time()
                return False
            found.append(report)
            return True

        await _until(has_ended)
        return found[0]

    async def _cancel(self, desk: BrokerDesk, report: OrderReport) -> OrderReport:
        """Ask for a cancel where the order is open, and wait for its end."""
        found = await desk.broker.find_order(report.client_order_id)
        if found is not None and found.status in OPEN:
            await desk.broker.request_cancel(report.broker_id)
        return await self._ends(desk, report.client_order_id, OrderStatus.CANCELED)

    async def _filled(self, desk: BrokerDesk, wanted: OrderIntent) -> OrderReport:
        """Send an order that trades at once, and wait until it has."""
        await desk.broker.place(wanted, admit=may)
        return await self._ends(desk, wanted.client_order_id, OrderStatus.FILLED)


def may() -> None:
    """It may leave."""


def intent(name: str, *, quantity: Decimal = QUANTITY, price: Decimal = FAR) -> OrderIntent:
    """An order to buy that rests far below the market."""
    return OrderIntent(
        client_order_id=name,
        symbol=SYMBOL,
        side=OrderSide.BUY,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        created_at=0,
        limit_price=price,
    )


def market(name: str, quantity: Decimal = QUANTITY) -> OrderIntent:
    """An order to buy at once."""
    return OrderIntent(
        client_order_id=name,
        symbol=SYMBOL,
        side=OrderSide.BUY,
        quantity=quantity,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        created_at=0,
    )


def _describes(report: OrderReport, wanted: OrderIntent) -> None:
    _same(
        (report.client_order_id, report.symbol, report.side, report.quantity, report.limit_price),
        (wanted.client_order_id, wanted.symbol, wanted.side, wanted.quantity, wanted.limit_price),
    )
    _same((str(report.order_type), str(report.time_in_force)), (wanted.order_type.value, wanted.time_in_force.value))
    _holds(bool(report.broker_id), "the order has an id of the venue")


def _moments(executions: tuple[Execution, ...]) -> list[int]:
    return [execution.at // 1_000_000 for execution in executions]


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(_LOOKS_MAX):
        if await condition():
            return
    message = f"it did not come true in {_LOOKS_MAX} looks"
    raise AssertionError(message)


_Error = TypeVar("_Error", bound=Exception)


async def _raises(kind: type[_Error], request: Callable[[], Awaitable[object]]) -> _Error:
    try:
        answer = await request()
    except kind as error:
        return error
    except Exception as error:
        message = f"expected {kind.__name__}, got {error!r}"
        raise AssertionError(message) from error
    message = f"expected {kind.__name__}, got the answer {answer!r}"
    raise AssertionError(message)


def _holds(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _same(found: object, expected: object) -> None:
    if found != expected:
        message = f"expected {expected!r}\nfound    {found!r}"
        raise AssertionError(message)
