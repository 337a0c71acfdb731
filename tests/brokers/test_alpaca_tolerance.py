"""What nobody has heard of breaks nothing: unknown words and fields, missing and wrong ones, in every list and reader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.brokers import AlpacaConnector, MalformedMessageError, RetryPolicy
from holdfast.brokers import alpaca_reference as reference
from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_activities import activity, revisions
from holdfast.model.errors import BrokerError, HoldfastError
from holdfast.net import create_combined_throttler
from holdfast.time import BacktestClock

Row = dict[str, Any]
Desk = Any
MakeDesk = Callable[..., Desk]

ORDER: Row = {
    "id": "o",
    "client_order_id": "hf-1",
    "symbol": "AAPL",
    "asset_class": "us_equity",
    "qty": "10",
    "filled_qty": "4",
    "filled_avg_price": "150.1",
    "type": "limit",
    "side": "buy",
    "time_in_force": "day",
    "limit_price": "150.25",
    "status": "partially_filled",
    "submitted_at": "2024-01-02T14:30:00.123456789Z",
    "updated_at": "2024-01-02T14:30:01Z",
    "legs": None,
}
FILL: Row = {
    "id": "20240102093001000::e-1",
    "activity_type": "FILL",
    "order_id": "o",
    "symbol": "AAPL",
    "side": "buy",
    "qty": "4",
    "price": "150.1",
    "cum_qty": "4",
    "transaction_time": "2024-01-02T14:30:01Z",
}
DIVIDEND: Row = {
    "id": "20240102000000000::d-1",
    "activity_type": "DIV",
    "date": "2024-01-02",
    "net_amount": "1.5",
    "symbol": "AAPL",
    "status": "executed",
}
POSITION: Row = {"symbol": "AAPL", "qty": "4", "side": "long", "avg_entry_price": "150.1", "asset_class": "us_equity"}
ASSET: Row = {"id": "a", "class": "us_equity", "symbol": "AAPL", "status": "active", "tradable": True, "attributes": []}
BAR: Row = {"t": "2024-01-02T14:30:00Z", "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 100, "n": 3, "vw": 1.2}
DAY: Row = {"date": "2024-01-02", "open": "09:30", "close": "16:00", "session_open": "0400", "session_close": "2000"}
ACCOUNT: Row = {"id": "a", "cash": "1", "equity": "1", "buying_power": "2", "status": "ACTIVE", "multiplier": "2"}
CLOCK: Row = {
    "timestamp": "2024-01-02T09:30:00-05:00",
    "is_open": True,
    "next_open": "2024-01-03T09:30:00-05:00",
    "next_close": "2024-01-02T16:00:00-05:00",
}
HISTORY: Row = {
    "timestamp": [1704205800, 1704209400],
    "equity": [100.5, None],
    "profit_loss": [0.5, None],
    "profit_loss_pct": [0.005, None],
    "base_value": 100,
    "timeframe": "1H",
}
SETTINGS: Row = {"fractional_trading": True, "max_margin_multiplier": "4", "no_shorting": False, "suspend_trade": False}
QUOTE: Row = {"t": "2024-01-02T14:30:00Z", "bp": 1.0, "ap": 1.1, "bs": 1, "as": 2}
UPDATE: Row = {
    "event": "fill",
    "execution_id": "e-1",
    "timestamp": "2024-01-02T14:30:01Z",
    "price": "150.1",
    "qty": "4",
    "order": ORDER,
}

BARS_PERIOD = 60 * 10**9


class List:
    """A list of the venue's: how it is asked for, what a good row is, and how rows become its answer."""

    def __init__(
        self, fetch: Callable[[AlpacaConnector], Awaitable[Any]], good: Row, pack: Callable[[Any], Any]
    ) -> None:
        self.fetch, self.good, self.pack = fetch, good, pack


LISTS: dict[str, List] = {
    "orders": List(lambda c: c.fetch_open_orders(), ORDER, lambda rows: rows),
    "executions": List(lambda c: c.fetch_executions(0), FILL, lambda rows: rows),
    "adjustments": List(lambda c: c.fetch_adjustments(0), DIVIDEND, lambda rows: rows),
    "assets": List(lambda c: c.fetch_assets(), ASSET, lambda rows: rows),
    "calendar": List(lambda c: c.fetch_calendar(), DAY, lambda rows: rows),
    "bars": List(
        lambda c: c.fetch_bars("AAPL", 0, 2**62, BARS_PERIOD),
        BAR,
        lambda rows: {"bars": {"AAPL": rows}, "next_page_token": None},
    ),
}
BOOKS = {"orders", "executions", "adjustments"}

# Whatever JSON can hold.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def changed(row: Row) -> st.SearchStrategy[Any]:
    """The row with fields replaced, removed and added, or something that is no row at all."""
    fields = st.dictionaries(st.sampled_from(sorted(row)) | st.text(max_size=5), JSON, max_size=4)
    gone = st.sets(st.sampled_from(sorted(row)), max_size=2)
    return JSON | st.builds(lambda f, g: {k: v for k, v in {**row, **f}.items() if k not in g}, fields, gone)


async def fetched(name: str, rows: list[Any]) -> tuple[list[Any], list[object]]:
    """What the connector makes of an answer with these rows, and the rows that it told of."""
    one, told = LISTS[name], list[object]()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=one.pack(rows)))
    throttler = create_combined_throttler(clock=BacktestClock(0))
    options: Any = {"transport": transport, "retries": RetryPolicy(attempts=1), "clock": BacktestClock(0)}
    async with AlpacaConnector(throttler=throttler, api_key="k", api_secret="s", **options) as connector:
        connector.on_malformed(lambda _reason, row: told.append(row))
        return list(await one.fetch(connector)), told


@pytest.mark.parametrize("name", LISTS)
async def test_one_row_that_cannot_be_read_takes_no_other_with_it(name: str) -> None:
    """It is logged whole, counted, left out, and told of where the books depend on it."""
    good = LISTS[name].good
    bad = {**good, "symbol": None, "class": 7, "qty": "many", "net_amount": "much", "o": "x", "open": "noon", "id": "b"}
    with structlog.testing.capture_logs() as lines:
        found, told = await fetched(name, [bad, good])

    assert len(found) == 1
    assert [line["row"] for line in lines if line["event"] == "alpaca.row_left_out"] == [bad]
    assert told == ([bad] if name in BOOKS else [])


@pytest.mark.parametrize("name", LISTS)
async def test_what_is_new_is_no_obstacle(name: str) -> None:
    """Fields and words that the venue may add any day; and things that are no rows."""
    good = LISTS[name].good
    new = {**good, "galaxy": {"arm": ["Orion"]}, "attributes": ["warp"], "status": "beamed_up", "exchange": "MARS"}
    found, _ = await fetched(name, [{**new, "id": "20240102000000000::n"}, None, 7, "x", [], {}, good])

    assert len(found) == 2


async def test_the_same_row_is_told_once_and_counted_each_time(desk: MakeDesk) -> None:
    """Else the comparison that it asks for would ask for the next one, for ever."""
    d = desk(httpx.Response(200, json=[{**ORDER, "side": "sideways"}]))
    told: list[object] = []
    d.connector.on_malformed(lambda _reason, row: told.append(row))
    for _ in range(3):
        await d.connector.fetch_open_orders()

    assert (len(told), d.connector.get_stats()["malformed"]) == (1, 3)


@pytest.mark.parametrize("field", ["symbol", "qty", "avg_entry_price"])
async def test_a_position_that_cannot_be_read_fails_the_whole_list(desk: MakeDesk, field: str) -> None:
    """Left out it would look like no position, and an exit would be cut down to nothing."""
    d = desk(httpx.Response(200, json=[POSITION, {**POSITION, field: None}]))
    with pytest.raises(MalformedMessageError):
        await d.connector.fetch_positions()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=st.sampled_from(sorted(LISTS)))
def test_whatever_stands_in_a_list_the_good_rows_are_used(data: st.DataObject, name: str) -> None:
    """And nothing but our own errors comes out of it."""
    good = {**LISTS[name].good}
    if "id" in good:
        good["id"] = "20240102093002000::good"
    rows = data.draw(st.lists(changed(LISTS[name].good), max_size=4))
    at = data.draw(st.integers(0, len(rows)))
    found, _ = asyncio.run(fetched(name, [*rows[:at], good, *rows[at:]]))

    expected, _ = asyncio.run(fetched(name, [good]))
    assert expected[0] in found


READERS: dict[str, tuple[Callable[[Any], object], Row]] = {
    "order_report": (wire.order_report, ORDER),
    "trade_update_events": (lambda row: wire.trade_update_events(row, 1), UPDATE),
    "execution_from_activity": (wire.execution_from_activity, FILL),
    "account": (wire.account, ACCOUNT),
    "position": (wire.position, POSITION),
    "asset": (wire.asset, ASSET),
    "bar": (lambda row: wire.bar(row, "AAPL", BARS_PERIOD), BAR),
    "quote": (lambda row: wire.quote(row, "AAPL"), QUOTE),
    "activity": (activity, DIVIDEND),
    # The stream takes nothing but objects for updates.
    "revisions": (lambda row: revisions(row, 1) if isinstance(row, dict) else [], {**UPDATE, "event": "trade_correct"}),
    "market_clock": (reference.market_clock, CLOCK),
    "market_day": (reference.market_day, DAY),
    "portfolio_history": (reference.portfolio_history, HISTORY),
    "account_configuration": (reference.account_configuration, SETTINGS),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_its_sample(name: str) -> None:
    """Canary: the property below begins with rows that can be read."""
    reader, row = READERS[name]

    assert reader(row) is not None
    assert reader({**row, "brand_new": [{"x": 1}]}) == reader(row)


def test_an_order_with_a_leg_that_cannot_be_read_is_kept_with_it() -> None:
    """The leg alone would not say which order it belongs to."""
    order = {**ORDER, "legs": [ORDER, None]}

    with pytest.raises(MalformedMessageError, match="an order with a leg that cannot be read") as met:
        wire.order_report(order)

    assert met.value.payload is order


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(READERS)))
def test_whatever_a_reader_is_given_it_reads_it_or_says_that_it_cannot(data: st.DataObject, name: str) -> None:
    """The only error is ours, and it keeps what was given whole."""
    reader, good = READERS[name]
    row = data.draw(changed(good))
    kept: list[object] = [row, *row.values()] if isinstance(row, dict) else [row]
    try:
        reader(row)
    except MalformedMessageError as error:
        kept = [part for part in kept if part is error.payload]
    assert kept


ANSWERS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"<html>", b"", b"null", b"[[[[", b'{"code":', b"\xff\xfe{}", b'{"a":1e999}', b"[1,]", b"NaN"]),
    JSON.map(lambda value: httpx.Response(200, json=value).content),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=ANSWERS, status=st.sampled_from([200, 201, 204, 207, 301, 400, 403, 404, 422, 429, 500, 502, 504]))
def test_whatever_a_body_holds_the_connector_answers_or_raises_its_own_errors(body: bytes, status: int) -> None:
    """For every kind of request."""

    async def ask() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
        throttler = create_combined_throttler(clock=BacktestClock(0))
        options: Any = {"transport": transport, "retries": RetryPolicy(attempts=1), "clock": BacktestClock(0)}
        async with AlpacaConnector(throttler=throttler, api_key="k", api_secret="s", **options) as c:
            for make in (
                c.fetch_account,
                c.fetch_positions,
                c.fetch_portfolio_history,
                lambda: c.find_order("x"),
                lambda: c.fetch_orders(0),
                lambda: c.submit_order("AAPL", 1, "buy"),
                lambda: c.cancel_order("x"),
                c.cancel_all_orders,
                lambda: c.close_position("AAPL"),
                c.close_all_positions,
                c.fetch_assets,
                lambda: c.configure_account(no_shorting=True),
            ):
                with suppress(BrokerError):
                    await make()

    try:
        asyncio.run(ask())
    except HoldfastError as error:
        message = f"an error of another family: {error!r}"
        raise AssertionError(message) from error
