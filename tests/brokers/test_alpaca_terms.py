"""Stops, trails and exits that come with an order, in Alpaca's words: out, and back in."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.brokers import alpaca_wire as wire
from holdfast.model import (
    OrderClass,
    OrderIntent,
    OrderSide,
    OrderStatus,
    OrderTerms,
    TimeInForce,
)
from holdfast.model.terms import order_type_of

MakeDesk = Callable[..., Any]
Row = dict[str, Any]
D = Decimal


def intent(price: str | None = None, *, replaces: str = "", **terms: Any) -> OrderIntent:
    """An order of ten with these terms."""
    named = OrderTerms(**terms)
    limit = None if price is None else D(price)
    return OrderIntent(
        client_order_id="hf-1",
        symbol="AAPL",
        side=OrderSide.BUY,
        quantity=D(10),
        order_type=order_type_of(limit, named),
        time_in_force=TimeInForce.DAY,
        created_at=0,
        limit_price=limit,
        replaces=replaces,
        terms=named,
    )


@pytest.mark.parametrize(
    ("order", "body"),
    [
        (intent(stop_price=D(160)), {"type": "stop", "stop_price": "160"}),
        (intent("161", stop_price=D("1.6E+2")), {"type": "stop_limit", "stop_price": "160", "limit_price": "161"}),
        (intent(trail_price=D(2)), {"type": "trailing_stop", "trail_price": "2"}),
        (intent(trail_percent=D("1.5")), {"type": "trailing_stop", "trail_percent": "1.5"}),
        (intent("150", extended_hours=True), {"type": "limit", "limit_price": "150", "extended_hours": True}),
        (
            intent(order_class=OrderClass.BRACKET, take_profit=D(160), stop_loss=D(140), stop_loss_limit=D(139)),
            {
                "type": "market",
                "order_class": "bracket",
                "take_profit": {"limit_price": "160"},
                "stop_loss": {"stop_price": "140", "limit_price": "139"},
            },
        ),
        (
            intent(order_class=OrderClass.OTO, stop_loss=D(140)),
            {"type": "market", "order_class": "oto", "stop_loss": {"stop_price": "140"}},
        ),
        (
            intent("160", order_class=OrderClass.OCO, stop_loss=D(140)),
            {
                "type": "limit",
                "limit_price": "160",
                "order_class": "oco",
                "take_profit": {"limit_price": "160"},
                "stop_loss": {"stop_price": "140"},
            },
        ),
    ],
)
def test_an_intent_says_its_terms_in_alpacas_words(order: OrderIntent, body: Row) -> None:
    """Amounts as plain decimal strings; nothing that was not asked for."""
    plain = {"symbol": "AAPL", "qty": "10", "side": "buy", "time_in_force": "day", "client_order_id": "hf-1"}

    assert wire.intent_body(order) == plain | body


@pytest.mark.parametrize(
    ("order", "body"),
    [
        (intent(replaces="hf-0", stop_price=D(140)), {"qty": "10", "stop_price": "140"}),
        (intent(replaces="hf-0", trail_percent=D(2)), {"qty": "10", "trail": "2"}),
        (intent("160", replaces="hf-0", order_class=OrderClass.BRACKET), {"limit_price": "160"}),
    ],
)
def test_a_replacement_names_what_it_may_change(order: OrderIntent, body: Row) -> None:
    """Stop, trail and limit; of an exit in a group the price alone."""
    assert wire.replace_body(order) == body | {"client_order_id": "hf-1"}


def leg_of(order: Row, **changes: Any) -> Row:
    """A stop-loss of an order, as Alpaca nests it."""
    return {
        **order,
        "id": "leg-1",
        "client_order_id": "made-there",
        "side": "sell",
        "status": "held",
        "order_class": "bracket",
        "type": "stop",
        "limit_price": None,
        "stop_price": "140",
        **changes,
    }


def test_a_nested_order_is_read_with_its_legs(order: Row) -> None:
    """Each leg is an order of its own, with its stop price."""
    report = wire.order_report({**order, "order_class": "bracket", "legs": [leg_of(order)]})

    assert report.terms == OrderTerms(order_class=OrderClass.BRACKET)
    (leg,) = report.legs or ()
    assert (leg.broker_id, leg.client_order_id, leg.status) == ("leg-1", "made-there", OrderStatus.HELD)
    assert leg.terms == OrderTerms(order_class=OrderClass.BRACKET, stop_price=D(140))


def test_a_plain_order_has_no_terms(order: Row) -> None:
    """As most orders have none; that no legs are named says nothing, unless it was asked for."""
    assert wire.order_report({**order, "order_class": "simple"}).terms is None
    assert wire.order_report(order).legs is None
    assert wire.order_report(order, whole=True).legs == ()


def test_an_order_class_that_nobody_knows_breaks_nothing(order: Row) -> None:
    """It is none of ours; the order itself is read."""
    assert wire.order_report({**order, "order_class": "octopus"}).terms is None


async def test_a_look_up_of_a_group_asks_for_its_legs(desk: MakeDesk, order: Row) -> None:
    """By our id alone Alpaca may not tell them: the order is read again, nested."""
    row = {**order, "order_class": "bracket"}
    d = desk(httpx.Response(200, json=row), httpx.Response(200, json={**row, "legs": [leg_of(order)]}))

    report = await d.connector.find_order("hf-1")

    assert [leg.broker_id for leg in report.legs] == ["leg-1"]
    assert [request.url.path for request in d.requests] == [
        "/v2/orders:by_client_order_id",
        f"/v2/orders/{order['id']}",
    ]
    assert d.requests[1].url.params["nested"] == "true"


async def test_a_leg_is_looked_up_by_the_venues_id(desk: MakeDesk, order: Row) -> None:
    """It has no id of ours; what Alpaca does not have is None, and another order is no answer."""
    d = desk(httpx.Response(200, json=leg_of(order)))

    report = await d.connector.fetch_order("leg-1")

    assert report.client_order_id == "made-there"
    missing = desk(httpx.Response(404, json={"code": 40410000, "message": "order not found for leg-1"}))
    assert await missing.connector.fetch_order("leg-1") is None
    with pytest.raises(wire.MalformedMessageError, match="look-up of its leg-2"):
        await d.connector.fetch_order("leg-2")


async def test_a_raw_submit_takes_terms_too(desk: MakeDesk, order: Row) -> None:
    """For people who use the connector alone; the type follows from the prices."""
    d = desk(httpx.Response(200, json=order))

    await d.connector.submit_order("AAPL", 10, "buy", terms=OrderTerms(stop_price=D(160)))

    body = msgspec.json.decode(d.requests[0].content)
    assert (body["type"], body["stop_price"]) == ("stop", "160")
