"""Calendar, settings, history, single positions and whole lists: what a user's own program asks for."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.brokers import AccountConfiguration, EquityPoint, MarketDay, PortfolioHistory
from holdfast.model.errors import (
    ConfigurationError,
    InsufficientFundsError,
    InvalidRequestError,
    NotFoundError,
    OrderDroppedError,
    OutcomeUnknownError,
)
from holdfast.model.timestamps import parse_rfc3339

Row = dict[str, Any]
Desk = Any
MakeDesk = Callable[..., Desk]

FLAT = httpx.Response(404, json={"code": 40410000, "message": "position does not exist"})


async def test_a_trading_day_is_told_in_utc_with_and_without_its_extended_hours(desk: MakeDesk) -> None:
    """New York's hours, on both sides of the change of the clocks."""
    day = {"date": "2024-01-02", "open": "09:30", "close": "13:00", "session_open": "0400", "session_close": "1700"}
    d = desk(httpx.Response(200, json=[{**day, "settlement_date": "2024-01-04"}, {**day, "date": "2024-07-03"}]))
    winter, summer = await d.connector.fetch_calendar(start="2024-01-02", end="2024-07-03")

    assert winter == MarketDay(
        date="2024-01-02",
        open=parse_rfc3339("2024-01-02T14:30:00Z"),
        close=parse_rfc3339("2024-01-02T18:00:00Z"),
        session_open=parse_rfc3339("2024-01-02T09:00:00Z"),
        session_close=parse_rfc3339("2024-01-02T22:00:00Z"),
        settlement_date="2024-01-04",
    )
    assert summer.open == parse_rfc3339("2024-07-03T13:30:00Z")

    d.answers = [httpx.Response(200, json=[{"date": "2024-01-02", "open": "09:30", "close": "16:00"}])]
    (bare,) = await d.connector.fetch_calendar()
    assert (bare.session_open, bare.session_close) == (bare.open, bare.close)


async def test_the_history_keeps_what_the_venue_has_no_amount_for(desk: MakeDesk) -> None:
    """Exactly, as decimals; and the question is passed on as it was asked."""
    row = {
        "timestamp": [1704205800, 1704209400],
        "equity": [100.1, None],
        "profit_loss": [0.1, None],
        "profit_loss_pct": [0.001, None],
        "base_value": 100,
        "timeframe": "1H",
    }
    d = desk(httpx.Response(200, json=row))
    history = await d.connector.fetch_portfolio_history(period="1D", timeframe="1H")

    at = parse_rfc3339("2024-01-02T14:30:00Z")
    first = EquityPoint(at=at, equity=Decimal("100.1"), profit_loss=Decimal("0.1"), profit_loss_pct=Decimal("0.001"))
    second = EquityPoint(at=at + 3600 * 10**9, equity=None, profit_loss=None, profit_loss_pct=None)
    assert history == PortfolioHistory(points=(first, second), base_value=Decimal(100), timeframe="1H")
    assert dict(d.requests[0].url.params) == {"period": "1D", "timeframe": "1H"}

    d.answers = [httpx.Response(200, json={**row, "equity": [100.1]})]
    with pytest.raises(OutcomeUnknownError, match="an account's history that cannot be read"):
        await d.connector.fetch_portfolio_history()


async def test_settings_are_read_carefully_and_changed_once(desk: MakeDesk) -> None:
    """What is not named counts as forbidden; a change that is answered with 504 is not sent again."""
    d = desk(httpx.Response(200, json={"fractional_trading": True, "max_margin_multiplier": "4"}))
    assert await d.connector.fetch_account_configuration() == AccountConfiguration(
        fractional_trading=True,
        max_margin_multiplier=4,
        no_shorting=True,
        suspend_trade=True,
        trade_confirm_email="",
    )

    await d.connector.configure_account(no_shorting=False)
    assert (d.requests[-1].method, msgspec.json.decode(d.requests[-1].content)) == ("PATCH", {"no_shorting": False})

    d.answers = [httpx.Response(504)]
    with pytest.raises(OutcomeUnknownError):
        await d.connector.configure_account(no_shorting=True)
    assert len(d.requests) == 3


async def test_one_position_is_asked_for_by_its_slashless_name(desk: MakeDesk) -> None:
    """None where Alpaca itself says that there is none; any other refusal is one."""
    row = {"symbol": "BTCUSD", "asset_class": "crypto", "qty": "0.5", "side": "long", "avg_entry_price": "40000"}
    d = desk(httpx.Response(200, json=row), FLAT, httpx.Response(422, json={"code": 40010001, "message": "no"}))
    found = await d.connector.fetch_position("BTC/USD")

    assert found is not None
    assert (found.symbol, found.quantity) == ("BTC/USD", Decimal("0.5"))
    assert d.requests[0].url.raw_path == b"/v2/positions/BTCUSD"
    assert await d.connector.fetch_position("AAPL") is None
    with pytest.raises(InvalidRequestError, match="refused"):
        await d.connector.fetch_position("AAPL")


async def test_all_assets_of_a_class_are_asked_for_in_one_request(desk: MakeDesk) -> None:
    """Active ones if nothing else is said."""
    rows = [
        {"class": "crypto", "symbol": "BTCUSD", "status": "active", "tradable": True},
        {"class": "moon_rocks", "symbol": "ROCK", "status": "active", "tradable": True},
    ]
    d = desk(httpx.Response(200, json=rows))
    assets = await d.connector.fetch_assets(asset_class="crypto")

    assert [(asset.symbol, asset.tradable) for asset in assets] == [("BTC/USD", True), ("ROCK", False)]
    assert dict(d.requests[0].url.params) == {"status": "active", "asset_class": "crypto"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (FLAT, NotFoundError),
        (
            httpx.Response(403, json={"code": 40310000, "message": "insufficient qty available for order"}),
            InsufficientFundsError,
        ),
        (httpx.Response(504), OutcomeUnknownError),
        (httpx.ConnectError("refused"), OrderDroppedError),
    ],
)
async def test_closing_a_position_is_an_order_and_ends_in_an_orders_verdicts(
    desk: MakeDesk, answer: Any, error: type[Exception]
) -> None:
    """A part of it or all of them; sent once."""
    d = desk(answer)
    with pytest.raises(error):
        await d.connector.close_position("AAPL", qty="2")
    assert dict(d.requests[0].url.params) == {"qty": "2"}
    with pytest.raises(error):
        await d.connector.close_all_positions(cancel_orders=True)
    assert dict(d.requests[1].url.params) == {"cancel_orders": "true"}
    assert len(d.requests) == 2


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1203])
async def test_all_orders_are_walked_from_either_end(desk: MakeDesk, order: Row, count: int) -> None:
    """Each once, and in the order that was asked for, across the cap of 500."""
    rows = [{**order, "id": f"o-{n}"} for n in range(count)]

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        forward = asked["direction"] == "asc"
        seen = rows if forward else rows[::-1]
        last = asked.get("after_order_id" if forward else "before_order_id")
        first = 0 if last is None else next(n for n, row in enumerate(seen) if row["id"] == last) + 1
        # Pages overlap where an order moves between two requests: each is still told once.
        first = max(0, first - 3)
        return httpx.Response(200, json=seen[first : first + int(asked["limit"])])

    d = desk(FLAT, transport=httpx.MockTransport(answer))

    assert await d.connector.get_all_orders(direction="desc") == rows[::-1]
    assert await d.connector.get_all_orders(after="2024-01-01T00:00:00Z") == rows
    with pytest.raises(ConfigurationError, match="after only with direction asc"):
        await d.connector.get_all_orders(after="2024-01-01T00:00:00Z", direction="desc")
