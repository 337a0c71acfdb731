"""The one suite for brokers: Alpaca's connector at a venue process, the broker in this process, and broken ones that it catches."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import msgspec
import pytest

from holdfast.brokers import AlpacaConnector
from holdfast.model import Bar, OrderIntent, OrderReport
from holdfast.model.errors import BrokerError, BrokerRefusedError, OutcomeUnknownError
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE
from holdfast.net import create_combined_throttler
from holdfast.realtime import UserStreamTracker
from holdfast.testing import (
    BrokerConformance,
    BrokerDesk,
    ScriptedBroker,
    VenueAdmin,
    make_engine,
    time_out_after,
    time_out_before,
)
from holdfast.testing.bot import START
from holdfast.time import BacktestClock
from tests.venue.helpers import MIDNIGHT, VenueProcess, minutes, venues

# Where each request goes.
PATHS = {
    "place": ("POST", "/v2/orders"),
    "replace": ("PATCH", "/v2/orders/*"),
    "request_cancel": ("DELETE", "/v2/orders/*"),
}


class VenueDesk:
    """The connector at a venue whose time runs, and the venue's admin port."""

    def __init__(self, broker: AlpacaConnector, admin: VenueAdmin, key: str) -> None:
        self.broker, self._admin, self._key = broker, admin, key

    async def pass_time(self) -> None:
        """It passes by itself."""

    def lose_answer(self, method: str, *, executed: bool) -> None:
        """A gateway in front of the venue gives up."""
        verb, path = PATHS[method]
        self._admin.fault("gateway_timeout", account=self._key, method=verb, path=path, executed=executed)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    """Ten bars a second."""
    with venues(tmp_path_factory.mktemp("conformance")) as start:
        yield start(minutes(count=20_000), speed=600.0, rate_limit=None)


class TestAlpacaConnector(BrokerConformance):
    """Over real sockets, at a process of its own."""

    many = 510
    _accounts = count()

    @pytest.fixture(autouse=True)
    def _use(self, venue: VenueProcess) -> None:
        self.venue_process = venue

    @asynccontextmanager
    async def open(self) -> AsyncIterator[BrokerDesk]:
        """A new account."""
        key, venue = f"conformance-{next(self._accounts)}", self.venue_process
        throttler = create_combined_throttler({"alpaca_trading": {"limit": 100_000}})
        keys: dict[str, Any] = {"api_key": key, "api_secret": "secret"}
        # The market begins when the first client listens; it can be traded from its first bar on.
        stream = UserStreamTracker(key, "secret", url=f"{venue.socket_url}/stream")
        await stream.start()
        try:
            with VenueAdmin(venue.admin) as admin:
                async with AlpacaConnector(
                    throttler=throttler, base_url=venue.url, data_url=venue.url, **keys
                ) as broker:
                    while not await broker.fetch_bars("BTC/USD", MIDNIGHT, MIDNIGHT + NS_PER_DAY, NS_PER_MINUTE):
                        pass
                    yield VenueDesk(broker, admin, key)
        finally:
            await stream.stop()


class ScriptedDesk:
    """The broker in this process; time passes when a test says so."""

    def __init__(self, kind: Callable[..., ScriptedBroker]) -> None:
        self._clock = BacktestClock(START)
        self.broker = kind(make_engine(), self._clock)

    async def pass_time(self) -> None:
        """One bar."""
        ts = self._clock.now_ns() + NS_PER_MINUTE
        self._clock.advance_to(ts)
        self.broker.play(Bar(ts, "BTC/USD", 40_000.0, 40_010.0, 39_990.0, 40_000.0, 10.0))

    def lose_answer(self, method: str, *, executed: bool) -> None:
        """Scripted."""
        self.broker.script(method, time_out_after if executed else time_out_before)


class TestScriptedBroker(BrokerConformance):
    """The broker of the shipped fakes, on the matching engine."""

    def open(self) -> AbstractAsyncContextManager[BrokerDesk]:
        """A new engine."""
        return desk_of(ScriptedBroker)


@asynccontextmanager
async def desk_of(kind: Callable[..., ScriptedBroker]) -> AsyncIterator[BrokerDesk]:
    """A desk with a broker of this kind."""
    yield ScriptedDesk(kind)


# ---------------------------------------------------------------------- canaries


class TimeOutIsNo(ScriptedBroker):
    """Reads a time-out as a verdict."""

    async def place(self, intent: OrderIntent, *, admit: Any) -> OrderReport:
        """Wrong: no answer becomes a refusal."""
        try:
            return await super().place(intent, admit=admit)
        except OutcomeUnknownError as error:
            raise BrokerRefusedError(error.message) from error


class SendsAgain(ScriptedBroker):
    """Repeats a submit that timed out, as retrying HTTP clients do."""

    async def place(self, intent: OrderIntent, *, admit: Any) -> OrderReport:
        """Wrong: the second one may be the second order."""
        try:
            return await super().place(intent, admit=admit)
        except OutcomeUnknownError:
            return await super().place(intent, admit=admit)


class DuplicateIsNo(ScriptedBroker):
    """Reads "must be unique" as a rejection."""

    async def place(self, intent: OrderIntent, *, admit: Any) -> OrderReport:
        """Wrong: it says that the first arrived."""
        try:
            return await super().place(intent, admit=admit)
        except OutcomeUnknownError as error:
            if error.outcome == "id_taken":
                raise BrokerRefusedError(error.message) from error
            raise


class OnePage(ScriptedBroker):
    """Lists one page of orders."""

    async def fetch_orders(self, since: int) -> tuple[OrderReport, ...]:
        """Wrong: there are more."""
        return (await super().fetch_orders(since))[:20]


class NeverAsks(ScriptedBroker):
    """Does not ask whether an order may leave."""

    async def place(self, intent: OrderIntent, *, admit: Any) -> OrderReport:
        """Wrong: a halt would not stop it."""
        return await super().place(intent, admit=lambda: None)


class SilenceIsAbsence(ScriptedBroker):
    """Answers a look-up with None whatever happens."""

    async def find_order(self, client_order_id: str) -> OrderReport | None:
        """Wrong: an order that is there would be sent again."""
        return None


class RoundsAmounts(ScriptedBroker):
    """Sends floats."""

    async def place(self, intent: OrderIntent, *, admit: Any) -> OrderReport:
        """Wrong: to the sixth decimal."""
        report = await super().place(intent, admit=admit)
        return msgspec.structs.replace(report, quantity=round(report.quantity, 6))


class CancelAlwaysWorks(ScriptedBroker):
    """Swallows what the venue says to a cancel."""

    async def request_cancel(self, broker_id: str) -> None:
        """Wrong: a refusal and a time-out look like success."""
        try:
            await super().request_cancel(broker_id)
        except BrokerError:
            return


async def failures_of(kind: Callable[..., ScriptedBroker]) -> list[str]:
    """The tests of the suite that a broker fails."""

    class Suite(BrokerConformance):
        def open(self) -> AbstractAsyncContextManager[BrokerDesk]:
            return desk_of(kind)

    found = []
    for name, test in inspect.getmembers(Suite(), inspect.iscoroutinefunction):
        if name.startswith("test_"):
            try:
                await test()
            except AssertionError:
                found.append(name)
    return found


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (TimeOutIsNo, "test_a_submit_whose_answer_is_lost_is_found_and_is_there_once"),
        (SendsAgain, "test_a_submit_that_was_lost_is_unknown_and_is_not_sent_again"),
        (DuplicateIsNo, "test_an_id_is_taken_for_ever"),
        (OnePage, "test_many_orders_are_listed_whole_each_once_and_oldest_first"),
        (NeverAsks, "test_what_is_not_admitted_never_leaves"),
        (SilenceIsAbsence, "test_an_order_is_found_by_our_id_and_is_listed"),
        (RoundsAmounts, "test_an_order_is_reported_as_it_was_meant"),
        (CancelAlwaysWorks, "test_a_cancel_whose_answer_is_lost_is_no_verdict"),
    ],
)
async def test_canary_a_broken_broker_is_caught(broken: Callable[..., ScriptedBroker], caught_by: str) -> None:
    """By the test that speaks of what it does wrong."""
    assert caught_by in await failures_of(broken)


async def test_canary_a_sound_broker_is_not() -> None:
    """The suite finds nothing where nothing is broken."""
    assert await failures_of(ScriptedBroker) == []
