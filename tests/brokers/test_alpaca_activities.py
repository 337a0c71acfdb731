"""Activities that are no trades, and trades that the venue takes back, as Alpaca writes them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from holdfast.brokers.alpaca_activities import KINDS, activity, kind_of, revisions
from holdfast.model import ActivityKind, OrderStatus
from holdfast.model.events import OrderUpdated
from holdfast.model.timestamps import parse_rfc3339

K = ActivityKind
Row = dict[str, Any]


def row(activity_type: str = "DIV", number: int = 1, **fields: Any) -> Row:
    """A row of the activities that are no trades."""
    return {
        "id": f"20240102000000000::{number}",
        "activity_type": activity_type,
        "date": "2024-01-02",
        "net_amount": "1.02",
        "status": "executed",
        **fields,
    }


@pytest.mark.parametrize(
    ("activity_type", "kind"),
    [
        ("CFEE", K.FEE),
        ("FEE", K.FEE),
        ("DIV", K.INCOME),
        ("DIVNRA", K.INCOME),
        ("INT", K.INCOME),
        ("INTTW", K.INCOME),
        ("JNLC", K.TRANSFER),
        ("JNLS", K.TRANSFER),
        ("CSD", K.TRANSFER),
        ("CSW", K.TRANSFER),
        ("ACATS", K.TRANSFER),
        ("SPLIT", K.SPLIT),
        ("SPIN", K.SHARES),
        ("MA", K.SHARES),
        ("A_TYPE_OF_TOMORROW", K.SHARES),
    ],
)
def test_every_type_has_its_kind(activity_type: str, kind: ActivityKind) -> None:
    """By the longest prefix that is known; an unknown type is what its amounts say."""
    assert kind_of(activity_type)[0] is kind


def test_a_dividend() -> None:
    """Cash, dated by the day where there is no time of its own."""
    found = activity(row(symbol="AAPL", qty="51", per_share_amount="0.02"))
    assert found is not None
    assert (found.kind, found.symbol, found.cash) == (K.INCOME, "AAPL", Decimal("1.02"))
    assert (found.label, found.at) == ("dividend (DIV)", parse_rfc3339("2024-01-02T00:00:00Z"))


def test_a_coin_fee_names_the_pair_and_takes_coins() -> None:
    """As the documents show it: no money, a negative quantity, the pair without its slash."""
    found = activity(row("CFEE", symbol="ETHUSD", qty="-0.000195", net_amount="0", price="1884.5"))
    assert found is not None
    assert (found.kind, found.symbol) == (K.FEE, "ETH/USD")
    assert (found.quantity, found.cash) == (Decimal("-0.000195"), Decimal(0))


def test_a_cancelled_row_takes_its_own_back() -> None:
    """Under an id of its own, with the opposite amounts."""
    found = activity(row(status="canceled", created_at="2024-01-03T10:00:00Z"))
    assert found is not None
    assert found.activity_id == "20240102000000000::1:canceled"
    assert (found.cancels, found.cash) == ("20240102000000000::1", Decimal("-1.02"))
    assert found.at == parse_rfc3339("2024-01-03T10:00:00Z")


@pytest.mark.parametrize(
    "broken",
    [
        {"net_amount": "much"},
        {"id": None, "activity_type": None, "date": "?"},
        {"date": None},
        {"qty": "x", "symbol": "A"},
    ],
)
def test_a_row_that_cannot_be_read_is_left_out_and_breaks_nothing(broken: Row) -> None:
    """What it changed shows as drift; the comparison of the books must go on."""
    assert activity(row(**broken)) is None


def test_something_that_is_no_row_is_left_out() -> None:
    """A list where an object was expected, or an object without an id."""
    assert activity({}) is None


def test_no_kind_is_a_revision() -> None:
    """Busts and corrections come from the stream alone: a row never names an execution."""
    assert {kind for kind, _ in KINDS.values()}.isdisjoint({K.BUST, K.CORRECTION})


# -- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
async def test_all_pages_are_walked_from_two_days_earlier_on(desk: Callable[..., Any], count: int) -> None:
    """Such rows are posted late; which of them are new the kernel says, by their ids."""
    rows = [row(number=number) for number in range(count)]

    def answer(request: httpx.Request) -> httpx.Response:
        params = request.url.params
        assert request.url.path == "/v2/account/activities"
        assert (params["category"], params["direction"]) == ("non_trade_activity", "asc")
        assert params["after"] == "2023-12-31T14:30:00Z"
        token = params.get("page_token")
        first = 0 if token is None else next(n for n, one in enumerate(rows) if one["id"] == token) + 1
        return httpx.Response(200, json=rows[first : first + int(params["page_size"])])

    d = desk(httpx.Response(404), transport=httpx.MockTransport(answer))
    found = await d.connector.fetch_adjustments(since=parse_rfc3339("2024-01-02T14:30:00.75Z"))

    assert [one.activity_id for one in found] == [one["id"] for one in rows]
    assert d.granted("alpaca_activities") == count // 100 + 1


# -- the stream ----------------------------------------------------------------------------------


def update(event: str, order: Row, **fields: Any) -> Row:
    """A message of the stream."""
    return {"event": event, "order": order, "timestamp": "2024-01-02T15:00:00Z", **fields}


@pytest.mark.parametrize("name", ["previous_execution_id", "previous_id", "execution_id"])
def test_a_busted_trade_names_its_execution(order: Row, name: str) -> None:
    """By any of the names under which venues tell it."""
    (event,) = revisions(update("trade_bust", order, **{name: "e-1"}), 7)
    busted = event.activity
    assert (event.ts, busted.kind, busted.execution_id, busted.symbol) == (7, K.BUST, "e-1", "AAPL")
    assert busted.at == parse_rfc3339("2024-01-02T15:00:00Z")


def test_a_correction_carries_what_the_execution_is_now(order: Row) -> None:
    """The earlier execution is the one that changed, not the message's own id."""
    fields = {"previous_execution_id": "e-1", "execution_id": "e-2", "qty": "9", "price": "99.5"}
    (event,) = revisions(update("trade_correct", order, **fields), 7)
    corrected = event.activity
    assert (corrected.kind, corrected.execution_id) == (K.CORRECTION, "e-1")
    assert (corrected.quantity, corrected.price) == (Decimal(9), Decimal("99.5"))


@pytest.mark.parametrize(
    "message",
    [
        {"event": "fill", "execution_id": "e-1"},
        {"event": "trade_bust"},
        {"event": "trade_correct", "execution_id": "e-1", "qty": "nine", "price": "1"},
        {"event": "trade_correct", "execution_id": "e-1"},
        {"event": ["trade_bust"], "execution_id": "e-1"},
    ],
)
def test_anything_else_is_no_revision(order: Row, message: Row) -> None:
    """And what cannot be read breaks nothing: the books are compared after it anyway."""
    assert revisions({"order": order, "timestamp": "2024-01-02T15:00:00Z", **message}, 7) == []


def test_a_bust_is_told_beside_its_order(order: Row) -> None:
    """The order's own description still comes, from the wire module."""
    from holdfast.brokers import alpaca_wire as wire  # noqa: PLC0415 - only here

    message = update("trade_bust", {**order, "status": "filled"}, execution_id="e-1")
    (told,) = wire.trade_update_events(message, 7)
    assert isinstance(told, OrderUpdated)
    assert told.report.status is OrderStatus.FILLED
    assert wire.reconcile_reason(message) is not None
