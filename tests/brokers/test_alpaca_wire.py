"""Translation between Alpaca's JSON and our values."""

from __future__ import annotations

import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import brokers, realtime
from holdfast.brokers import alpaca_reference as reference
from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model import AssetClass, Bar, OrderIntent, OrderSide, OrderStatus, OrderType, Source, TimeInForce
from holdfast.model.errors import DataError
from holdfast.model.events import OrderFilled, OrderUpdated
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, parse_rfc3339

Row = dict[str, Any]

FILL = {
    "event": "partial_fill",
    "execution_id": "e-7",
    "timestamp": "2024-01-02T14:30:01.5Z",
    "price": "150.2",
    "qty": "3",
    "position_qty": "13",
}


def fill_of(order: Row, **changes: Any) -> Row:
    """A fill of an order that had seven before."""
    return {**FILL, "order": {**order, "status": "partially_filled", "filled_qty": "10", **changes}}


# ---------------------------------------------------------------------- orders


def test_an_order_is_read_to_the_nanosecond_and_the_last_decimal(order: Row) -> None:
    """Every field of the report comes from its field of the order."""
    report = wire.order_report(order)

    assert (report.broker_id, report.client_order_id, report.symbol) == (order["id"], "hf-1", "AAPL")
    assert (report.side, report.status, report.raw_status) == (OrderSide.BUY, OrderStatus.ACCEPTED, "")
    assert (report.quantity, report.filled_qty, report.filled_avg_price) == (Decimal(10), Decimal(0), None)
    assert (report.order_type, report.time_in_force, report.limit_price) == ("limit", "day", Decimal("150.25"))
    assert report.submitted_at == parse_rfc3339("2024-01-02T14:30:00.123456789Z")


@pytest.mark.parametrize("status", sorted(wire.VENUE_STATUSES))
def test_every_status_of_the_venue_is_known(order: Row, status: str) -> None:
    """The venue's words are our words."""
    report = wire.order_report({**order, "status": status})

    assert (report.status.value, report.raw_status) == (status, "")


@pytest.mark.parametrize("status", ["teleported", "unknown", "created", "submitted", "never_sent", "NEW"])
def test_an_unknown_status_is_kept_and_proves_only_that_the_order_exists(order: Row, status: str) -> None:
    """Neither a new word nor one of our own words can pass for a status of the venue."""
    report = wire.order_report({**order, "status": status})

    assert (report.status, report.raw_status) == (OrderStatus.UNKNOWN, status)


def test_numbers_are_read_like_strings_and_exponents_like_decimals(order: Row) -> None:
    """A JSON number, "2e-05" and "0.00002" are the same amount."""
    reports = [wire.order_report({**order, "qty": qty}) for qty in (2e-05, "2e-05", "0.00002")]

    assert [report.quantity for report in reports] == [Decimal("0.00002")] * 3


def test_an_order_by_notional_is_reported_with_what_has_filled(order: Row) -> None:
    """It has no quantity of its own."""
    report = wire.order_report({**order, "qty": None, "notional": "100", "filled_qty": "0.5"})

    assert report.quantity == Decimal("0.5")


@pytest.mark.parametrize("text", ["BTC/USD", "BTCUSD"])
def test_coin_orders_have_a_slash(order: Row, text: str) -> None:
    """Also where a venue answers in the old form."""
    assert wire.order_report({**order, "symbol": text, "asset_class": "crypto"}).symbol == "BTC/USD"


@pytest.mark.parametrize("field", ["id", "client_order_id", "symbol", "side", "status"])
@pytest.mark.parametrize("value", [None, "", 7, [], {}])
def test_an_order_without_what_names_it_is_malformed_and_kept_whole(order: Row, field: str, value: object) -> None:
    """The error keeps the offending object."""
    broken = {**order, field: value}
    with pytest.raises(MalformedMessageError, match=r"an order that cannot be read") as caught:
        wire.order_report(broken)

    assert caught.value.payload is broken


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "many", "1e999999999", True, [], {}])
def test_an_amount_that_is_no_sane_number_is_malformed(order: Row, amount: object) -> None:
    """Not a number, not finite, or absurdly large."""
    with pytest.raises(MalformedMessageError, match="number"):
        wire.order_report({**order, "filled_qty": amount})


def test_an_intent_goes_out_as_plain_decimal_strings() -> None:
    """No float and no exponent ever leaves."""
    intent = OrderIntent(
        client_order_id="hf-2",
        symbol="BTC/USD",
        side=OrderSide.SELL,
        quantity=Decimal("1E-9"),
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        created_at=0,
        limit_price=Decimal("6E+4"),
    )

    assert wire.intent_body(intent) == {
        "symbol": "BTC/USD",
        "qty": "0.000000001",
        "side": "sell",
        "type": "limit",
        "time_in_force": "gtc",
        "limit_price": "60000",
        "client_order_id": "hf-2",
    }


# ---------------------------------------------------------------------- trade updates


def test_a_fill_is_its_own_quantity_and_price_not_the_sum(order: Row) -> None:
    """Top-level qty and price are one execution; the order's filled_qty is its cumulative quantity."""
    update = fill_of(order, filled_avg_price="150.1")
    (event,) = wire.trade_update_events(update, ts=99)

    assert isinstance(event, OrderFilled)
    assert (event.ts, event.source) == (99, Source.STREAM)
    assert event.report == wire.order_report(update["order"])
    execution = event.execution
    assert (execution.execution_id, execution.broker_id, execution.client_order_id) == ("e-7", order["id"], "hf-1")
    assert (execution.quantity, execution.price, execution.cum_qty) == (Decimal(3), Decimal("150.2"), Decimal(10))
    assert execution.at == parse_rfc3339("2024-01-02T14:30:01.5Z")
    assert wire.reconcile_reason(update) is None


@pytest.mark.parametrize("event", ["new", "accepted", "canceled", "expired", "replaced", "held", "a_new_word"])
def test_every_other_event_delivers_its_order(order: Row, event: str) -> None:
    """Also one that nobody has heard of, and one without a timestamp."""
    (told,) = wire.trade_update_events({"event": event, "order": order, "novelty": 1}, ts=5)

    assert told == OrderUpdated(ts=5, report=wire.order_report(order), source=Source.STREAM)


@pytest.mark.parametrize("event", sorted(wire.REVISION_EVENTS))
def test_a_revision_tells_the_order_only_and_asks_for_a_reconcile(order: Row, event: str) -> None:
    """Its price and quantity are no new execution."""
    update = {**fill_of(order), "event": event}

    assert [type(told) for told in wire.trade_update_events(update, ts=1)] == [OrderUpdated]
    assert wire.reconcile_reason(update) == wire.REVISION_EVENTS[event]


@pytest.mark.parametrize("missing", ["execution_id", "qty", "price"])
def test_a_fill_without_its_execution_is_no_fill_but_asks_for_one(order: Row, missing: str) -> None:
    """An execution that cannot be named cannot be counted once."""
    update = {**fill_of(order), missing: None}

    assert [type(told) for told in wire.trade_update_events(update, ts=1)] == [OrderUpdated]
    assert wire.reconcile_reason(update) == "a fill came without its execution"


@pytest.mark.parametrize("update", [{}, {"event": "fill"}, {"event": [], "order": {}}, [], None, "fill"])
def test_an_update_without_event_or_order_is_malformed(update: Any) -> None:
    """And nothing else is raised."""
    with pytest.raises(MalformedMessageError):
        wire.trade_update_events(update, ts=1)


def test_a_fill_with_an_unreadable_price_is_malformed(order: Row) -> None:
    """It is not quietly turned into an order update: the venue has to be asked."""
    with pytest.raises(MalformedMessageError, match=r"a fill that cannot be read: 'cheap' is not a number"):
        wire.trade_update_events({**fill_of(order), "price": "cheap"}, ts=1)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ORDER_FIELDS = (
    *("id", "client_order_id", "symbol", "asset_class", "side", "status", "qty", "filled_qty", "filled_avg_price"),
    *("limit_price", "submitted_at", "type", "time_in_force"),
)


@given(
    changes=st.dictionaries(st.sampled_from(ORDER_FIELDS), JSON_VALUES, max_size=3),
    top=st.dictionaries(st.sampled_from((*FILL, "order")), JSON_VALUES, max_size=3),
)
def test_whatever_a_message_holds_it_is_read_or_malformed(changes: Row, top: Row) -> None:
    """No other exception escapes, whatever JSON stands in whatever field."""
    order = {"id": "o", "client_order_id": "c", "symbol": "AAPL", "side": "buy", "status": "new", "qty": "1", **changes}
    update = {**FILL, "order": order, **top}
    with suppress(MalformedMessageError):
        assert len(wire.trade_update_events(update, ts=0)) == 1


@given(row=st.dictionaries(st.sampled_from(("t", "o", "h", "l", "c", "v", "bp", "ap", "bs", "as")), JSON_VALUES))
def test_whatever_market_data_holds_it_is_read_or_malformed(row: Row) -> None:
    """Bars and quotes alike."""
    for read in (lambda: wire.bar(row, "AAPL", NS_PER_MINUTE), lambda: wire.quote(row, "AAPL")):
        with suppress(MalformedMessageError):
            read()


# Some 22 today, which take about ten microseconds: room for a field or two, and for no second reading of the message.
CALLS_OF_A_TRADE_UPDATE = 26


def test_a_trade_update_is_read_in_few_steps(order: Row) -> None:
    """From the decoded message to the kernel's event, counted in calls of Python's: they do not depend on the machine's mood."""
    update = msgspec.json.decode(msgspec.json.encode(fill_of(order, filled_avg_price="150.1")))
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        events = wire.trade_update_events(update, 1)
    finally:
        sys.setprofile(None)

    assert len(events) == 1
    assert 5 < calls <= CALLS_OF_A_TRADE_UPDATE


# ---------------------------------------------------------------------- activities


def activity(**changes: Any) -> Row:
    """A row of the FILL activities."""
    return {
        "id": "20240102093001500::2d7be4ff-d1f3-43e9-856a-0f5cf5c5088e",
        "activity_type": "FILL",
        "transaction_time": "2024-01-02T14:30:01.5Z",
        "type": "partial_fill",
        "price": "150.2",
        "qty": "3",
        "side": "sell_short",
        "symbol": "AAPL",
        "leaves_qty": "0",
        "cum_qty": "10",
        "order_id": "o-1",
        **changes,
    }


def test_an_activity_is_an_execution_named_by_the_uuid_part_of_its_id() -> None:
    """So that it is the execution that the stream told us of."""
    execution = wire.execution_from_activity(activity())

    assert execution.execution_id == "2d7be4ff-d1f3-43e9-856a-0f5cf5c5088e"
    assert (execution.broker_id, execution.side, execution.cum_qty) == ("o-1", OrderSide.SELL, Decimal(10))
    assert execution.client_order_id is None


def test_fills_of_one_millisecond_are_put_in_their_order_by_cum_qty() -> None:
    """The venue lists them in any order."""
    times_and_sums = [("14:30:01.5009Z", "1"), ("14:30:01.5001Z", "3"), ("14:30:01.5005Z", "2"), ("14:30:00Z", "9")]
    executions = [
        wire.execution_from_activity(activity(transaction_time=f"2024-01-02T{at}", cum_qty=cum))
        for at, cum in times_and_sums
    ]

    assert [str(execution.cum_qty) for execution in wire.in_order_of_trading(executions)] == ["9", "1", "2", "3"]


# ---------------------------------------------------------------------- account, positions, assets, clock


ACCOUNT = {"id": "a-1", "cash": "1000.5", "equity": "2000", "buying_power": "4000", "multiplier": "2"}


def test_an_account_without_the_rest_is_read_as_the_worst_case() -> None:
    """No crypto buying power, no shorting; nothing is assumed in our favour."""
    account = wire.account(ACCOUNT)

    assert (account.cash, account.equity, account.buying_power) == (Decimal("1000.5"), Decimal(2000), Decimal(4000))
    assert (account.non_marginable_buying_power, account.shorting_enabled, account.multiplier) == (Decimal(0), False, 2)
    assert not account.trading_blocked


@pytest.mark.parametrize("flag", ["trading_blocked", "account_blocked", "trade_suspended_by_user"])
def test_each_of_the_three_blocks_blocks(flag: str) -> None:
    """Whoever set it."""
    assert wire.account({**ACCOUNT, flag: True}).trading_blocked


@pytest.mark.parametrize("field", ["cash", "equity", "buying_power"])
def test_an_account_without_money_is_malformed(field: str) -> None:
    """A guard must not judge by a zero that nobody said."""
    with pytest.raises(MalformedMessageError, match=f"it has no '{field}'"):
        wire.account({key: value for key, value in ACCOUNT.items() if key != field})


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTCUSD", "BTC/USD"),
        ("BTCUSDT", "BTC/USDT"),
        ("BTCUSDC", "BTC/USDC"),
        ("ETHBTC", "ETH/BTC"),
        ("USDTUSD", "USDT/USD"),
        ("USDCUSD", "USDC/USD"),
        ("BTC/USD", "BTC/USD"),
        ("SHIBEUR", "SHIBEUR"),
        ("USD", "USD"),
    ],
)
def test_a_coin_position_gets_its_slash_back(text: str, symbol: str) -> None:
    """By the known quote currencies, the longest that fits first."""
    row = {"symbol": text, "asset_class": "crypto", "qty": "0.1", "avg_entry_price": "1"}

    assert wire.position(row).symbol == symbol


@given(base=st.from_regex(r"[A-Z]{2,6}", fullmatch=True), quote=st.sampled_from(wire.QUOTE_CURRENCIES))
def test_joining_and_splitting_a_pair_gives_the_pair(base: str, quote: str) -> None:
    """For every base that does not itself end such that a longer quote currency would fit."""
    joined = base + quote
    longest = next(known for known in wire.QUOTE_CURRENCIES if joined.endswith(known))

    assert wire.crypto_symbol(joined) == (f"{base}/{quote}" if longest == quote else f"{joined[:-4]}/{joined[-4:]}")


def test_a_stock_that_ends_like_a_currency_stays_a_stock() -> None:
    """Only coins have a slash."""
    row = {"symbol": "TUSD", "asset_class": "us_equity", "qty": "1", "avg_entry_price": "1"}

    assert wire.position(row).symbol == "TUSD"


@pytest.mark.parametrize("qty", ["5", "-5"])
def test_a_short_position_is_negative(qty: str) -> None:
    """However the venue signs it."""
    row = {"symbol": "AAPL", "asset_class": "us_equity", "qty": qty, "side": "short", "avg_entry_price": "150"}

    assert wire.position(row).quantity == Decimal(-5)


ASSET = {"class": "us_equity", "symbol": "AAPL", "status": "active", "tradable": True, "shortable": True}


@pytest.mark.parametrize(
    ("changes", "tradable", "shortable"),
    [
        ({}, True, True),
        ({"easy_to_borrow": True}, True, True),
        ({"easy_to_borrow": False}, True, False),
        ({"borrow_status": "easy_to_borrow"}, True, True),
        ({"borrow_status": "hard_to_borrow"}, True, False),
        ({"borrow_status": "hard_to_borrow", "easy_to_borrow": True}, True, False),
        ({"status": "inactive"}, False, True),
        ({"tradable": False}, False, True),
        ({"class": "us_option"}, False, True),
        ({"class": "crypto_perp"}, False, True),
    ],
)
def test_an_asset_is_what_may_be_done_with_it(changes: Row, tradable: bool, shortable: bool) -> None:
    """A class that we do not know is described, and not traded."""
    asset = wire.asset({**ASSET, **changes})

    assert (asset.tradable, asset.shortable) == (tradable, shortable)


def test_a_coin_has_increments() -> None:
    """As plain decimal strings, however the venue writes them."""
    row = {"class": "crypto", "symbol": "BTC/USD", "tradable": True, "fractionable": True}
    asset = wire.asset(
        {**row, "min_order_size": "0.000013047", "min_trade_increment": 1e-09, "price_increment": "1E-9"}
    )

    assert (asset.asset_class, asset.symbol) == (AssetClass.CRYPTO, "BTC/USD")
    assert (asset.min_order_size, asset.min_trade_increment) == ("0.000013047", "0.000000001")
    assert asset.price_increment == "0.000000001"


def test_the_clock_is_read_with_its_offset() -> None:
    """The venue's clock speaks New York time."""
    row = {
        "timestamp": "2024-01-02T09:00:00.5-05:00",
        "is_open": False,
        "next_open": "2024-01-02T09:30:00-05:00",
        "next_close": "2024-01-02T16:00:00-05:00",
    }
    clock = reference.market_clock(row)

    assert clock.next_open == parse_rfc3339("2024-01-02T14:30:00Z")
    assert clock.now == parse_rfc3339("2024-01-02T14:00:00.5Z")


# ---------------------------------------------------------------------- market data


def test_a_bar_is_stamped_with_its_end() -> None:
    """The venue stamps it with its start."""
    row = {"t": "2024-01-02T14:30:00Z", "o": 1, "h": 3.5, "l": 0.5, "c": 2, "v": 10, "n": 3, "vw": 2.0}

    expected = Bar(parse_rfc3339("2024-01-02T14:31:00Z"), "AAPL", 1.0, 3.5, 0.5, 2.0, 10.0)
    assert wire.bar(row, "AAPL", NS_PER_MINUTE) == expected


@pytest.mark.parametrize(
    "changes", [{"l": -1}, {"o": 0}, {"h": 0.1}, {"c": "NaN"}, {"v": -1}, {"h": "Infinity"}, {"t": "noon"}, {"t": 7}]
)
def test_a_bar_that_cannot_be_one_is_malformed(changes: Row) -> None:
    """A strategy never sees a price that nobody could have paid."""
    row = {"t": "2024-01-02T14:30:00Z", "o": 1, "h": 3.5, "l": 0.5, "c": 2, "v": 10, **changes}
    with pytest.raises(MalformedMessageError, match="a bar of AAPL"):
        wire.bar(row, "AAPL", NS_PER_MINUTE)


@pytest.mark.parametrize(
    ("period", "word"),
    [
        (NS_PER_MINUTE, "1Min"),
        (59 * NS_PER_MINUTE, "59Min"),
        (NS_PER_HOUR, "1Hour"),
        (23 * NS_PER_HOUR, "23Hour"),
        (NS_PER_DAY, "1Day"),
    ],
)
def test_a_period_has_a_word(period: int, word: str) -> None:
    """Alpaca's time frames."""
    assert wire.timeframe(period) == word


@pytest.mark.parametrize("period", [0, 1, 90 * NS_PER_MINUTE, 2 * NS_PER_DAY, -NS_PER_MINUTE])
def test_a_period_without_a_word_is_an_error(period: int) -> None:
    """Said before anything is asked."""
    with pytest.raises(DataError, match="Alpaca has no bars"):
        wire.timeframe(period)


def test_what_unreadable_json_raises_is_said_in_one_place() -> None:
    """Every reader of a venue's JSON catches the same errors, and words them the same."""
    sources = sorted(
        path for package in (brokers, realtime) for path in Path(str(package.__file__)).parent.glob("*.py")
    )
    saying = {
        text: [path.name for path in sources if text in path.read_text("utf-8")]
        for text in ("ValueError, TypeError, AttributeError", "it has no {error.args[0]!r}")
    }
    assert set(map(tuple, saying.values())) == {("alpaca_wire.py",)}, saying
