"""Replacing an order over REST: one request, one verdict, and never a second request."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.brokers import alpaca_wire as wire
from holdfast.model import OrderIntent, OrderSide, OrderType, Outcome, TimeInForce
from holdfast.model.errors import BrokerError, BrokerRefusedError, HoldfastError, OrderDroppedError, OutcomeUnknownError

MakeDesk = Callable[..., Any]

NEW = OrderIntent(
    client_order_id="hf-1",
    symbol="BTC/USD",
    side=OrderSide.BUY,
    quantity=Decimal("1E+2"),
    order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.GTC,
    created_at=0,
    limit_price=Decimal("150.25"),
    replaces="hf-0",
)


async def test_one_request_names_all_that_is_meant(desk: MakeDesk, order: dict[str, Any]) -> None:
    """Left out, the quantity would be the old order's original one, and the id one that nobody chose."""
    d = desk(httpx.Response(200, json=order))
    report = await d.connector.replace(NEW, "o-1")

    assert report.client_order_id == "hf-1"
    (request,) = d.requests
    assert (request.method, request.url.path) == ("PATCH", "/v2/orders/o-1")
    assert msgspec.json.decode(request.content) == {"qty": "100", "limit_price": "150.25", "client_order_id": "hf-1"}
    assert d.granted("alpaca_orders") == 1


def said(code: int, message: str) -> dict[str, Any]:
    """An error body of Alpaca."""
    return {"code": code, "message": message}


@pytest.mark.parametrize(
    ("answer", "error", "outcome"),
    [
        (httpx.Response(403, json=said(40310000, "insufficient buying power")), BrokerRefusedError, Outcome.REFUSED),
        (httpx.Response(404, json=said(40410000, "order not found for o-1")), BrokerRefusedError, Outcome.REFUSED),
        (
            httpx.Response(422, json=said(42210000, "unable to replace order, order is not open")),
            OutcomeUnknownError,
            Outcome.UNLISTED,
        ),
        (
            httpx.Response(422, json=said(40010001, "client_order_id must be unique")),
            OutcomeUnknownError,
            Outcome.ID_TAKEN,
        ),
        (httpx.Response(429), BrokerRefusedError, Outcome.RATE_LIMITED),
        (httpx.Response(504, html="<html>"), OutcomeUnknownError, Outcome.SERVER_ERROR),
        (httpx.Response(404, text="nginx"), OutcomeUnknownError, Outcome.FOREIGN_ANSWER),
        (httpx.Response(200, text="<html>"), OutcomeUnknownError, Outcome.MALFORMED),
        (httpx.ReadTimeout("slow"), OutcomeUnknownError, Outcome.NO_ANSWER),
        (httpx.RemoteProtocolError("cut"), OutcomeUnknownError, Outcome.CUT),
        (httpx.ConnectError("refused"), OrderDroppedError, None),
    ],
)
async def test_it_ends_in_one_verdict_and_is_never_repeated(
    desk: MakeDesk, answer: httpx.Response | Exception, error: type[HoldfastError], outcome: Outcome | None
) -> None:
    """Whatever comes back, the request was made once and passed the throttler once."""
    d = desk(answer)
    with pytest.raises(error) as caught:
        await d.connector.replace(NEW, "o-1")

    if isinstance(caught.value, BrokerError):
        assert caught.value.outcome is outcome
    assert (len(d.requests), d.granted("alpaca_orders"), d.sleeps) == (1, 1, [])


async def test_an_answer_about_another_order_is_no_verdict(desk: MakeDesk, order: dict[str, Any]) -> None:
    """Not even about the old one."""
    d = desk(httpx.Response(200, json={**order, "client_order_id": "hf-0"}))
    with pytest.raises(OutcomeUnknownError, match="answered replacement hf-1 with order hf-0"):
        await d.connector.replace(NEW, "o-1")


async def test_brake_and_admission_are_asked_right_before_it_leaves(desk: MakeDesk, order: dict[str, Any]) -> None:
    """The brake first; what either stops never leaves."""
    asked: list[str] = []
    words: dict[str, str | None] = {"brake": None, "admit": None}

    def brake(*, reduces: bool) -> str | None:
        asked.append(f"brake {reduces}")
        return words["brake"]

    def admit() -> str | None:
        asked.append("admit")
        return words["admit"]

    d = desk(httpx.Response(200, json=order), brake=brake)
    await d.connector.replace(NEW, "o-1", admit=admit)
    words["admit"] = "too late"
    with pytest.raises(OrderDroppedError, match="too late"):
        await d.connector.replace(NEW, "o-1", admit=admit)
    words["brake"] = "a halt file"
    with pytest.raises(OrderDroppedError, match="a halt file"):
        await d.connector.replace(msgspec.structs.replace(NEW, reduce_only=True), "o-1", admit=admit)

    assert asked == ["brake False", "admit", "brake False", "admit", "brake True"]
    assert len(d.requests) == 1


def test_a_refused_replace_on_the_stream_asks_the_venue_again(order: dict[str, Any]) -> None:
    """The message is of the old order, and does not say what became of the new one."""
    update = {"event": "order_replace_rejected", "order": order}
    assert wire.reconcile_reason(update) == "the venue did not replace an order"
    assert len(wire.trade_update_events(update, ts=1)) == 1
