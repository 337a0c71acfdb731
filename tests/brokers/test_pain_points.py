"""Fifteen things that bots on Alpaca are known to have died of, each done to ours by a venue that is told to.

Each test first has a venue process do it, over real sockets, and sees that it did; then shows that the connector, or a whole
bot around it, goes on with nothing lost: every execution that the venue has is in the books once, under the venue's own id.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from holdfast.brokers import AlpacaConnector, Timeouts
from holdfast.di import Container
from holdfast.model import Bar, OrderIntent, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.model.enums import Outcome, Source
from holdfast.model.errors import OutcomeUnknownError
from holdfast.model.events import BrokerReported, Event, OrderFilled, OrderRefused, OrderUpdated, SubmitUnknown
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.net import create_combined_throttler
from holdfast.realtime import MarketDataStream, UserStreamTracker
from holdfast.realtime.market_stream import MarketStream
from holdfast.testing import VenueAdmin
from tests.venue.helpers import OPENING, VenueProcess, minutes, venues

SYMBOL, SHARE = "BTC/USD", "SPY"
SPEED = 60.0  # a bar a second
PATIENCE_SECONDS = 60.0
FOREVER = 3_600.0

Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration is read from the environment too."""
    for name in list(os.environ):
        if name.upper().startswith(("HOLDFAST_", "APCA_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    """A market of one coin whose time runs. Each test has an account of its own."""
    with venues(tmp_path_factory.mktemp("pain")) as start:
        yield start(minutes(count=20_000), speed=SPEED, rate_limit=None)


@pytest.fixture
def shares(tmp_path: Path) -> Iterator[VenueProcess]:
    """A market of one share in the hours of its exchange, which swings between 399 and 401."""
    with venues(tmp_path) as start:
        yield start(minutes(SHARE, count=390, start=OPENING, base=400.0), speed=2 * SPEED, rate_limit=None)


class Bot:
    """A whole bot without a strategy, its account's key, and the venue's admin port."""

    def __init__(self, venue: VenueProcess, key: str, symbol: str = SYMBOL, **settings: Any) -> None:
        self.key, self.admin, self.symbol = key, VenueAdmin(venue.admin), symbol
        self.settings = {
            "alpaca": {
                "api_key": key,
                "api_secret": "secret",
                "base_url": venue.url,
                "data_url": venue.url,
                "market_stream_url": venue.socket_url,
                # The socket and the looks of REST have to do by themselves.
                "activity_stream": False,
            },
            "watch": [symbol],
            "risk": {"max_data_age": FOREVER},
            "reconcile": {"interval_seconds": FOREVER, "mute_seconds": FOREVER, **settings},
        }
        self.container: Container
        self.bars: list[int] = []
        self.events: list[Event] = []
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Connect and trade."""
        self.container = await Container.connect(self.settings)
        await self.container.start()
        self.container.runner.observers.append(self._observe)

    async def stop(self) -> None:
        """Take the faults away, and end."""
        self.admin.clear_faults()
        await self.container.stop()
        self.admin.close()

    def fault(self, effect: str, **members: Any) -> str:
        """A fault for this account only."""
        return self.admin.fault(effect, account=self.key, **members)

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when it holds; it is looked at after each event of the kernel, and bars always come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def order(self, quantity: str = "0.01", **members: Any) -> str:
        """Have the kernel make an order; its id of ours."""
        verdict = await self.container.process_signal(
            {"symbol": self.symbol, "side": "BUY", "quantity": quantity, **members}
        )
        assert verdict.approved, verdict.reason
        assert verdict.client_order_id is not None
        return verdict.client_order_id

    def status(self, order_id: str) -> OrderStatus:
        """Of an order, in the books."""
        order = self.container.order_tracker.get(order_id)
        assert order is not None
        return order.status

    async def filled(self, order_id: str) -> None:
        """Return when an order is filled in the books."""
        await self.until(lambda: self.status(order_id) is OrderStatus.FILLED)

    def steps_between_bars(self) -> set[int]:
        """How far apart the bars were that the kernel was shown; one that is shown again is old to it."""
        return {later - earlier for earlier, later in pairwise(sorted(set(self.bars)))}

    def streamed(self, order_id: str) -> list[OrderFilled]:
        """What the stream told of an order's executions; REST's come in a report."""
        broker_id = next(o.broker_id for o in self.container.order_tracker.orders() if o.client_order_id == order_id)
        return [e for e in self.events if isinstance(e, OrderFilled) and e.execution.broker_id == broker_id]

    async def nothing_is_lost(self) -> None:
        """P3, P4: executions are counted once each under the venue's ids, and positions are the venue's."""
        container = self.container
        ours = sorted(e.execution_id for order in container.order_tracker.orders() for e in order.executions)
        theirs = sorted(e.execution_id for e in await container.broker.fetch_executions(0))
        assert ours == theirs
        await container.reconcile_orders()
        assert container.kernel.reconciliation.drift == ()
        assert not container.order_tracker.missing

    @property
    def market(self) -> MarketStream:
        """The one market data stream."""
        (stream,) = self.container.market_streams.values()
        return stream

    @property
    def user(self) -> UserStreamTracker:
        """The stream of order news."""
        return self.container.user_stream

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Bar):
            self.bars.append(event.ts)
        self._news.set()


@pytest.fixture
async def bot(venue: VenueProcess, request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    """Starts bots, each with an account named after the test."""
    started: list[Bot] = []

    async def start(at: VenueProcess = venue, **settings: Any) -> Bot:
        # A rule reads its account as a pattern, in which brackets mean something.
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        one = Bot(at, f"{name}-{len(started)}", **settings)
        started.append(one)
        await one.start()
        await one.until(lambda: one.bars)
        return one

    yield start
    for one in started:
        await one.stop()


@pytest.fixture
async def connector(venue: VenueProcess, request: pytest.FixtureRequest) -> AsyncIterator[AlpacaConnector]:
    """A connector alone, that need not keep to any limit and waits half a second for an answer."""
    throttler = create_combined_throttler({"alpaca_trading": {"limit": 100_000}})
    keys: dict[str, Any] = {"api_key": request.node.name, "api_secret": "secret"}
    async with AlpacaConnector(
        throttler=throttler, base_url=venue.url, data_url=venue.url, timeouts=Timeouts(total=3.0, read=3.0), **keys
    ) as one:
        yield one


def intent(order_id: str, price: str = "30000") -> OrderIntent:
    """An order that rests far below the market."""
    return OrderIntent(
        client_order_id=order_id,
        symbol=SYMBOL,
        side=OrderSide.BUY,
        quantity=Decimal("0.001"),
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        created_at=0,
        limit_price=Decimal(price),
    )


@pytest.mark.slow
async def test_01_a_mute_data_socket_is_found_and_replaced_without_a_storm_and_no_bar_is_lost(bot: Start) -> None:
    """The socket stays open and answers pings; the bars that it owed come from REST, each minute once."""
    one = await bot(mute_seconds=2.0, quiet_periods=1.5)
    rule = one.fault("mute", target="data")
    await one.until(lambda: one.market.get_stats()["restarts"])
    count = len(one.bars)
    await one.until(lambda: one.market.is_connected() and len(one.bars) >= count + 4)

    assert one.admin.struck(rule) == 1
    stats = one.market.get_stats()
    assert (stats["connects"], stats["failures"]) == (2, 0)
    assert one.steps_between_bars() == {NS_PER_MINUTE}


@pytest.mark.slow
async def test_02_a_handler_that_raises_is_heard_of_and_the_stream_goes_on(bot: Start) -> None:
    """An event that a user's handler does not know makes it raise; every later message is delivered all the same."""
    one = await bot()
    known = {"new": 1, "fill": 2}
    heard: list[int] = []

    async def handler(update: dict[str, Any]) -> None:
        heard.append(known[update["event"]])

    one.user.on_trade_update(handler)
    one.user.on_trade_update(lambda update: known[update["event"]])
    rule = one.fault("alter", target="trade", kind="new", set={"event": "a_new_word"})
    first = await one.order()
    await one.filled(first)
    second = await one.order()
    await one.filled(second)

    assert one.admin.struck(rule) == 1
    assert one.user.get_stats()["handler_errors"] >= 2
    assert heard[-2:] == [1, 2]
    assert [len(one.streamed(order)) for order in (first, second)] == [1, 1]
    await one.nothing_is_lost()


@pytest.mark.slow
async def test_03_an_update_that_cannot_be_parsed_is_logged_counted_and_recovered(bot: Start) -> None:
    """The fill in it is found by the comparison of the books that follows; the next one comes by the stream again."""
    one = await bot()
    rule = one.fault("malformed", target="trade", kind="fill")
    first = await one.order()
    await one.filled(first)
    second = await one.order()
    await one.filled(second)

    assert one.admin.struck(rule) == 1
    assert (one.user.get_stats()["malformed"], one.user.get_stats()["connects"]) == (1, 1)
    assert [len(one.streamed(order)) for order in (first, second)] == [0, 1]
    assert any(isinstance(event, BrokerReported) and event.reason == "malformed message" for event in one.events)
    await one.nothing_is_lost()


@pytest.mark.slow
async def test_04_events_and_statuses_that_nobody_has_heard_of_break_nothing(bot: Start) -> None:
    """On the stream and in REST's answers; what else stands in the message is used."""
    one = await bot()
    stream = one.fault("alter", target="trade", kind="new", set={"event": "moon_phase", "order.status": "waxing"})
    rest = one.fault("alter", method="POST", path="/v2/orders", set={"status": "waning", "order_class": "lunar"})
    order = await one.order()
    await one.filled(order)

    # The fill may overtake the answer to the order that it is of.
    await one.until(
        lambda: {"waxing", "waning"} <= {e.report.raw_status for e in one.events if isinstance(e, OrderUpdated)}
    )
    assert (one.admin.struck(stream), one.admin.struck(rest)) == (1, 1)
    assert one.user.get_stats()["malformed"] == 0
    await one.nothing_is_lost()


async def test_05_streams_run_in_a_loop_that_runs_already_and_may_be_stopped_by_their_own_handlers(
    venue: VenueProcess, connector: AlpacaConnector
) -> None:
    """Two streams of one loop, one of them stopped from within its handler; nothing blocks, nothing hangs."""
    key = "loop"
    user = UserStreamTracker(key, "secret", url=f"{venue.socket_url}/stream")
    stopped = asyncio.Event()

    async def on_bar(_: Bar) -> None:
        await data.stop()
        stopped.set()

    data = MarketDataStream(key, "secret", f"{venue.socket_url}/v1beta3/crypto/us", [SYMBOL], on_bar)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(user.start(), data.start())
        assert user.is_connected()
        await stopped.wait()
        assert (await connector.fetch_account()).cash > 0
        await user.stop()

    assert (user.is_connected(), data.is_connected()) == (False, False)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["data", "trade"])
async def test_06_an_old_socket_that_keeps_its_place_is_waited_out(bot: Start, target: str) -> None:
    """406 and 429: never two connections; a few tries with growing waits, then the one connection is back, gap and all."""
    one = await bot()
    stream = one.market if target == "data" else one.user
    lost: list[str] = []
    stream.on_disconnected(lost.append)
    one.fault("half_open", target=target, seconds=1.5)
    one.fault("cut", target=target)
    await one.until(lambda: lost)
    order = await one.order()
    await one.until(lambda: stream.is_connected() and stream.get_stats()["connects"] == 2)
    await one.filled(order)
    count = len(one.bars)
    await one.until(lambda: len(one.bars) >= count + 3)

    stats = stream.get_stats()
    assert 1 <= stats["failures"] <= 20
    assert one.steps_between_bars() == {NS_PER_MINUTE}
    await one.nothing_is_lost()


@pytest.mark.slow
async def test_07_the_cancel_of_a_brackets_leg_that_was_never_streamed_is_found(
    shares: VenueProcess, bot: Start
) -> None:
    """The take-profit fills, the venue cancels the stop-loss by itself, and nobody is told: the books are compared."""
    one = await bot(shares, symbol=SHARE, interval_seconds=5.0)
    rule = one.fault("lost", target="trade", kind="canceled", fields={"order.order_class": "bracket"})
    entry = await one.order("10", price="399.5", take_profit={"limit_price": "400.5"}, stop_loss={"stop_price": "380"})
    take_profit, stop_loss = f"{entry}.tp", f"{entry}.sl"
    await one.filled(take_profit)
    await one.until(lambda: one.status(stop_loss) is OrderStatus.CANCELED)

    assert one.admin.struck(rule) == 1
    streamed = [
        event.report for event in one.events if isinstance(event, OrderUpdated) and event.source is Source.STREAM
    ]
    assert OrderStatus.CANCELED not in {report.status for report in streamed}
    assert [one.status(order) for order in (entry, take_profit)] == [OrderStatus.FILLED] * 2
    assert len(one.container.order_tracker.open) == 0
    assert await one.container.broker.fetch_open_orders() == ()
    assert one.container.position_store.quantity(SHARE) == 0
    await one.nothing_is_lost()


async def test_08_an_id_that_is_taken_is_no_rejection(connector: AlpacaConnector, bot: Start) -> None:
    """Also after the first order is gone: it says that the first arrived. A bot's own ids are never used twice."""
    await connector.place(intent("mine"))
    report = await connector.find_order("mine")
    assert report is not None
    await connector.request_cancel(report.broker_id)
    with pytest.raises(OutcomeUnknownError, match="its id is taken") as caught:
        await connector.place(intent("mine", "31000"))
    found = await connector.find_order("mine")

    assert caught.value.outcome is Outcome.ID_TAKEN
    assert found is not None
    assert (found.broker_id, found.limit_price) == (report.broker_id, Decimal(30_000))

    first, second = await bot(), await bot()
    ids = [await one.order() for one in (first, second) for _ in range(2)]
    assert len(set(ids)) == 4


@pytest.mark.slow
async def test_09_fills_of_which_the_stream_says_nothing_come_from_the_activities(bot: Start) -> None:
    """All of them, once each, in the order in which they traded."""
    one = await bot(interval_seconds=5.0)
    rule = one.fault("lost", target="trade", kind="*", count="unlimited")
    orders = [await one.order("0.01"), await one.order("0.02"), await one.order("0.03")]
    for order in orders:
        await one.filled(order)

    assert one.admin.struck(rule) >= 6
    assert [one.streamed(order) for order in orders] == [[], [], []]
    assert one.container.kernel.counters.executions == len(await one.container.broker.fetch_executions(0))
    await one.nothing_is_lost()


@pytest.mark.slow
async def test_10_more_orders_than_the_cap_of_500_are_all_there(connector: AlpacaConnector) -> None:
    """One page holds 500; the walk finds the rest, from either end, each once."""
    ids = [f"many-{number}" for number in range(530)]
    for start in range(0, len(ids), 10):
        await asyncio.gather(*(connector.place(intent(name)) for name in ids[start : start + 10]))

    assert len(await connector.get_orders(status="open", limit=500)) == 500
    assert sorted(report.client_order_id for report in await connector.fetch_open_orders()) == sorted(ids)
    forward = [row["client_order_id"] for row in await connector.get_all_orders()]
    backward = [row["client_order_id"] for row in await connector.get_all_orders(direction="desc")]
    assert len(forward) == 530
    assert forward == backward[::-1]


async def test_11_an_asset_of_a_class_that_nobody_knows_breaks_no_list_of_assets(
    venue: VenueProcess, connector: AlpacaConnector
) -> None:
    """It is described as not tradable; the others are as they were."""
    with VenueAdmin(venue.admin) as admin:
        before = await connector.fetch_assets(asset_class="crypto")
        new = {"class": "moon_rocks", "exchange": "MARS", "status": "beta", "attributes": ["warp"], "borrow_status": 7}
        rule = admin.fault("alter", method="GET", path="/v2/assets", set=new)
        after = await connector.fetch_assets(asset_class="crypto")
        assert admin.struck(rule) == 1

    assert [asset.symbol for asset in after] == [asset.symbol for asset in before]
    assert all(asset.tradable for asset in before)
    assert not any(asset.tradable for asset in after)


@pytest.mark.slow
async def test_12_a_venue_that_does_not_answer_holds_nothing_up_for_long(
    venue: VenueProcess, connector: AlpacaConnector
) -> None:
    """The wait ends; whether the order arrived is unknown until it is looked up, and then it is known."""
    with VenueAdmin(venue.admin) as admin:
        rule = admin.fault("delay", method="POST", path="/v2/orders", executed=True, seconds=20)
        began = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknownError, match="no answer") as caught:
            await connector.place(intent("slow"))
        assert asyncio.get_running_loop().time() - began < 20
        assert admin.struck(rule) == 1
    found = await connector.find_order("slow")

    assert caught.value.outcome is Outcome.NO_ANSWER
    assert found is not None
    assert found.client_order_id == "slow"


@pytest.mark.slow
async def test_13_positions_that_lag_behind_orders_are_waited_for_and_not_believed(bot: Start) -> None:
    """Some looks of REST show no position after the fill: no drift is reported, and nothing is bought again."""
    one = await bot(drift_seconds=60.0)
    rule = one.fault("lag", method="GET", path="/v2/positions", count="unlimited", seconds=240)
    order = await one.order()
    await one.filled(order)
    symbol, quantity = SYMBOL, one.container.position_store.quantity(SYMBOL)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while one.container.kernel.reconciliation.venue_positions.get(symbol) != quantity:
            await one.container.reconcile_orders()
    looks = [
        {position.symbol: position.quantity for position in event.positions}
        for event in one.events
        if isinstance(event, BrokerReported) and event.ts > one.streamed(order)[0].ts
    ]

    assert one.admin.struck(rule) >= 2
    assert looks[0] == {}, "the first look after the fill was shown none"
    assert quantity > 0
    assert len(one.container.order_tracker.orders()) == 1
    assert one.container.kernel.reconciliation.drift == ()
    one.admin.clear_faults()
    await one.nothing_is_lost()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"status": 500, "code": 50010000, "message": "internal server error occurred"}, False),
        ({"status": 403, "code": 40399999, "message": "try again"}, False),
        ({"status": 422, "code": 40010001, "message": "invalid order"}, True),
    ],
)
async def test_14_an_error_although_the_order_was_placed_is_not_the_last_word(
    bot: Start, said: dict[str, Any], refused: bool
) -> None:
    """Unlisted, it is looked up; even a listed refusal is reopened by the venue's own word on the order."""
    one = await bot()
    rule = one.fault("error_body", method="POST", path="/v2/orders", **said)
    order = await one.order()
    await one.filled(order)
    # The fill may overtake the answer, and the answer changes nothing then.
    await one.until(lambda: any(isinstance(event, OrderRefused | SubmitUnknown) for event in one.events))

    assert one.admin.struck(rule) == 1
    assert any(isinstance(event, OrderRefused) for event in one.events) is refused
    assert one.status(order) is OrderStatus.FILLED
    assert len(one.container.order_tracker.orders()) == 1, "nothing was sent a second time"
    await one.nothing_is_lost()


@pytest.mark.slow
async def test_15_an_order_that_sticks_in_pending_cancel_is_still_open_until_the_venue_says_otherwise(
    bot: Start,
) -> None:
    """It may fill yet: the books count it, asking again is answered, and the end is the venue's, whenever it comes."""
    one = await bot(interval_seconds=5.0)
    rule = one.fault("pending_cancel", method="DELETE", path="/v2/orders/*")
    order = await one.order(price="30000")
    await one.until(lambda: one.status(order) is OrderStatus.NEW)
    broker = one.container.broker
    report = await broker.find_order(order)
    assert report is not None
    await broker.request_cancel(report.broker_id)
    await one.until(lambda: one.status(order) is OrderStatus.PENDING_CANCEL)
    seen = len([event for event in one.events if isinstance(event, BrokerReported)])
    await one.until(lambda: len([e for e in one.events if isinstance(e, BrokerReported)]) >= seen + 2)

    assert one.admin.struck(rule) == 1
    assert one.status(order) is OrderStatus.PENDING_CANCEL
    assert len(one.container.order_tracker.open) == 1
    one.admin.remove_fault(rule)
    await one.until(lambda: one.status(order) is OrderStatus.CANCELED)
    await one.nothing_is_lost()
