"""The SDK's trading client on everything that is no order: account, history, assets, calendar, watchlists."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.conformance.harness import Judge, Market, covers, plain
from tests.conformance.sdk import enums, requests

pytestmark = [
    # The SDK uses what newer versions of its own dependencies deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_DAY = enums.TimeInForce.DAY
_BUY, _SELL = enums.OrderSide.BUY, enums.OrderSide.SELL


def market(symbol: str, quantity: float, side: Any = _BUY) -> Any:
    """A market order."""
    tif = enums.TimeInForce.GTC if "/" in symbol else _DAY
    return requests.MarketOrderRequest(symbol=symbol, qty=quantity, side=side, time_in_force=tif)


@covers(
    "TradingClient.get_account",
    "TradingClient.get_account: with positions",
    "TradingClient.get_account_configurations",
    "TradingClient.set_account_configurations: long only",
    "TradingClient.set_account_configurations: suspended",
    "TradingClient.set_account_configurations: four times",
    "TradingClient.set_account_configurations: back",
    "TradingClient.submit_order: suspended",
    "TradingClient.submit_order: long only",
)
async def test_the_account_and_its_configuration(judge: Judge) -> None:
    """Every figure of the account, before and after a trade; and the switches are obeyed."""
    client = judge.trading
    async with Market.opened(judge, "SPY", "QQQ") as venue:
        await venue.step()
        before = await judge.call("", client.get_account)
        switches = await judge.call("", client.get_account_configurations)
        changed = switches.model_copy(update={"no_shorting": True})
        longs = await judge.call("long only", client.set_account_configurations, changed)
        no_short = await judge.refused("long only", client.submit_order, market("SPY", 1, _SELL))
        changed = switches.model_copy(update={"suspend_trade": True})
        await judge.call("suspended", client.set_account_configurations, changed)
        suspended = await judge.refused("suspended", client.submit_order, market("SPY", 1))
        changed = switches.model_copy(update={"max_margin_multiplier": "4"})
        four = await judge.call("four times", client.set_account_configurations, changed)
        richer = client.get_account()
        back = await judge.call("back", client.set_account_configurations, switches)
        client.submit_order(market("SPY", 100))
        client.submit_order(market("QQQ", 10, _SELL))
        await venue.step(4)
        after = await judge.call("with positions", client.get_account)
        positions = client.get_all_positions()

    assert plain(before) | {
        "id": str(before.id),
        "created_at": before.created_at.isoformat().replace("+00:00", "Z"),
    } == plain(before) | {
        "account_number": before.account_number,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "cash": "100000",
        "equity": "100000",
        "last_equity": "100000",
        "buying_power": "200000",
        "regt_buying_power": "200000",
        "non_marginable_buying_power": "100000",
        "long_market_value": "0",
        "short_market_value": "0",
        "initial_margin": "0",
        "maintenance_margin": "0",
        "multiplier": "2",
        "sma": "100000",
        "accrued_fees": "0",
        "shorting_enabled": True,
        "trading_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
    }
    assert (switches.max_margin_multiplier, switches.trade_confirm_email.value) == ("2", "none")
    assert (longs.no_shorting, four.max_margin_multiplier, back) == (True, "4", switches)
    assert (no_short.status_code, no_short.message) == (403, "account is not allowed to short")
    assert (suspended.code, suspended.message) == (40310000, "account is not authorized to trade")
    assert (richer.multiplier, richer.buying_power) == ("4", "400000")
    short, long = sorted(Decimal(one.market_value) for one in positions)
    assert long > 0 > short
    assert Decimal(after.equity) == Decimal(after.cash) + long + short
    assert (Decimal(after.long_market_value), Decimal(after.short_market_value)) == (long, short)
    assert Decimal(after.initial_margin) == (long - short) / 2
    assert Decimal(after.buying_power) == (Decimal(after.equity) - Decimal(after.initial_margin)) * 2


@covers(
    "TradingClient.get_all_positions: none",
    "TradingClient.get_all_positions",
    "TradingClient.get_open_position: symbol",
    "TradingClient.get_open_position: asset id",
    "TradingClient.get_open_position: coin",
    "TradingClient.get_open_position: flat",
    "TradingClient.close_position: quantity",
    "TradingClient.close_position: percentage",
    "TradingClient.close_position: all",
    "TradingClient.close_position: flat",
    "TradingClient.close_all_positions",
    "TradingClient.close_all_positions: and orders",
    "TradingClient.cancel_orders",
)
async def test_positions_and_their_closing(judge: Judge) -> None:
    """Every field of a position; closed by quantity, by percentage, whole, and all at once."""
    client = judge.trading
    async with Market.opened(judge, "SPY", "QQQ") as venue:
        await venue.step()
        none = await judge.call("none", client.get_all_positions)
        for order in (market("SPY", 100), market("QQQ", 10, _SELL), market("BTC/USD", 0.5)):
            client.submit_order(order)
        await venue.step(6)
        rows = await judge.call("", client.get_all_positions)
        spy = await judge.call("symbol", client.get_open_position, "SPY")
        same = await judge.call("asset id", client.get_open_position, spy.asset_id)
        coin = await judge.call("coin", client.get_open_position, "BTCUSD")
        flat = await judge.refused("flat", client.get_open_position, "IWM")
        part = await judge.call("quantity", client.close_position, "SPY", requests.ClosePositionRequest(qty="30"))
        await venue.step(4)
        half = await judge.call(
            "percentage", client.close_position, "SPY", requests.ClosePositionRequest(percentage="50")
        )
        await venue.step(4)
        cover = await judge.call("all", client.close_position, "QQQ")
        await venue.step(4)
        gone = await judge.refused("flat", client.close_position, "QQQ")
        resting = client.submit_order(
            requests.LimitOrderRequest(symbol="SPY", qty=35, side=_SELL, time_in_force=_DAY, limit_price=900)
        )
        held = await judge.call("", client.close_all_positions)
        canceled = await judge.call("", client.cancel_orders)
        every = await judge.call("and orders", client.close_all_positions, cancel_orders=True)
        await venue.step(4)
        left = client.get_all_positions()

    assert none == left == []
    assert {row.symbol: (row.qty, row.side.value) for row in rows} == {
        "SPY": ("100", "long"),
        "QQQ": ("-10", "short"),
        "BTCUSD": ("0.49875", "long"),
    }
    assert spy == same == next(row for row in rows if row.symbol == "SPY")
    value, cost = Decimal(spy.market_value), Decimal(spy.cost_basis)
    assert (value, cost) == (100 * Decimal(spy.current_price), 100 * Decimal(spy.avg_entry_price))
    assert Decimal(spy.unrealized_pl) == value - cost
    assert abs(Decimal(spy.unrealized_plpc) - (value - cost) / cost) < Decimal("1e-8")
    assert (spy.exchange.value, spy.asset_class.value, spy.qty_available) == ("NASDAQ", "us_equity", "100")
    assert (coin.symbol, coin.asset_class.value, coin.exchange.value) == ("BTCUSD", "crypto", "CRYPTO")
    assert (flat.status_code, flat.code, gone.message) == (404, 40410000, "position does not exist")
    assert [(order.side, order.qty) for order in (part, half, cover)] == [(_SELL, "30"), (_SELL, "35"), (_BUY, "10")]
    assert {row.symbol: row.status for row in held} == {"SPY": 403, "BTCUSD": 200}
    assert resting.id in [row.id for row in canceled]
    assert {row.symbol for row in every} <= {"SPY", "BTCUSD"}


@covers(
    "TradingClient.get_portfolio_history",
    "TradingClient.get_portfolio_history: a day by the minute",
    "TradingClient.get_portfolio_history: around the clock",
    "TradingClient.get_portfolio_history: extended hours",
    "TradingClient.get_portfolio_history: start and end",
    "TradingClient.get_portfolio_history: cash flows",
    "TradingClient.get_portfolio_history: too long",
    "TradingClient.get: fills",
    "TradingClient.get: fills by type",
    "TradingClient.get: one page",
    "TradingClient.get: next page",
    "TradingClient.get: activities of an order",
    "TradingClient.get: dividends",
    "TradingClient.get: trades and others",
    "TradingClient.get: unknown type",
)
async def test_history_and_activities(judge: Judge) -> None:
    """What the account was worth, and why: fills and postings, page by page."""
    client, ask = judge.trading, requests.GetPortfolioHistoryRequest
    activities = "/account/activities"
    async with Market.opened(judge, "SPY", "QQQ") as venue:
        await venue.step()
        for quantity in (10, 20, 30):
            order = client.submit_order(market("SPY", quantity))
            await venue.step(3)
        async with httpx.AsyncClient(trust_env=False) as admin:
            body = {"activity_type": "DIV", "symbol": "SPY", "net_amount": "12.5"}
            await admin.post(f"{judge.venue.admin}/accounts/key/activities", json=body)
        fills = await judge.call("fills", client.get, activities, {"activity_types": "FILL", "direction": "asc"})
        typed = await judge.call("fills by type", client.get, activities + "/FILL")
        page = await judge.call("one page", client.get, activities + "/FILL", {"page_size": 2})
        token = {"page_size": 2, "page_token": page[-1]["id"]}
        rest = await judge.call("next page", client.get, activities + "/FILL", token)
        of_order = await judge.call("activities of an order", client.get, activities, {"order_id": str(order.id)})
        dividends = await judge.call("dividends", client.get, activities, {"activity_types": "DIV"})
        every = await judge.call("trades and others", client.get, activities)
        unknown = await judge.refused("unknown type", client.get, activities + "/LUCK")
        daily = await judge.call("", client.get_portfolio_history)
        by_minute = await judge.call(
            "a day by the minute", client.get_portfolio_history, ask(period="1D", timeframe="1Min")
        )
        clock = await judge.call(
            "around the clock",
            client.get_portfolio_history,
            ask(period="1D", timeframe="5Min", intraday_reporting="continuous", pnl_reset="no_reset"),
        )
        extended = await judge.call(
            "extended hours", client.get_portfolio_history, ask(period="1D", timeframe="1H", extended_hours=True)
        )
        bounds = ask(
            start=datetime(2024, 1, 2, 14, 30, tzinfo=UTC),
            end=datetime(2024, 1, 2, 14, 33, tzinfo=UTC),
            timeframe="1Min",
        )
        bounded = await judge.call("start and end", client.get_portfolio_history, bounds)
        flows = await judge.call(
            "cash flows", client.get_portfolio_history, ask(period="1W", timeframe="1D", cashflow_types="DIV")
        )
        long = await judge.refused("too long", client.get_portfolio_history, ask(period="1A", timeframe="1Min"))
        worth = float(client.get_account().equity)

    assert [(row["qty"], row["side"], row["type"]) for row in fills][-1][1:] == ("buy", "fill")
    assert sum(Decimal(row["qty"]) for row in fills) == 60 - Decimal(fills[-1]["leaves_qty"])
    assert typed == fills[::-1]
    assert page + rest == typed[: len(page) + len(rest)]
    assert {row["order_id"] for row in of_order} == {str(order.id)}
    assert [(row["activity_type"], row["symbol"], row["net_amount"]) for row in dividends] == [("DIV", "SPY", "12.5")]
    assert every == dividends + typed
    assert (unknown.status_code, unknown.message) == (422, "invalid activity type: LUCK")
    assert (daily.timeframe, daily.equity[-1], daily.base_value) == ("1D", worth, 100_000.0)
    assert daily.profit_loss[-1] == round(worth - 100_000, 4)
    assert (by_minute.timeframe, by_minute.equity[-1]) == ("1Min", worth)
    assert clock.timestamp[0] == int(datetime(2024, 1, 2, 14, 30, tzinfo=UTC).timestamp())
    assert extended.equity == [worth]
    assert len(bounded.timestamp) == len(bounded.equity) == 4
    assert flows.cashflow == {enums.ActivityType.DIV: [12.5]}
    assert long.message == "a timeframe below 1D is served for 30 days or less"


@covers(
    "TradingClient.get_all_assets",
    "TradingClient.get_all_assets: crypto",
    "TradingClient.get_all_assets: active on an exchange",
    "TradingClient.get_all_assets: with attributes",
    "TradingClient.get_asset: symbol",
    "TradingClient.get_asset: id",
    "TradingClient.get_asset: coin with its slash",
    "TradingClient.get_asset: coin without its slash",
    "TradingClient.get_asset: unknown",
    "TradingClient.get_clock",
    "TradingClient.get_calendar: a week",
    "TradingClient.get_calendar: everything",
    "TradingClient.get_corporate_announcements",
    "TradingClient.get_corporate_announcement_by_id",
    "TradingClient.get_option_contracts",
    "TradingClient.get_option_contract",
)
async def test_assets_clock_and_calendar(judge: Judge) -> None:
    """By every spelling; and what this venue has none of parses as nothing."""
    client = judge.trading
    stocks = await judge.call("", client.get_all_assets)
    coins = await judge.call(
        "crypto", client.get_all_assets, requests.GetAssetsRequest(asset_class=enums.AssetClass.CRYPTO)
    )
    listed = requests.GetAssetsRequest(status=enums.AssetStatus.ACTIVE, exchange=enums.AssetExchange.NASDAQ)
    active = await judge.call("active on an exchange", client.get_all_assets, listed)
    attributes = await judge.call(
        "with attributes", client.get_all_assets, requests.GetAssetsRequest(attributes="options_enabled")
    )
    spy = await judge.call("symbol", client.get_asset, "SPY")
    same = await judge.call("id", client.get_asset, spy.id)
    slash = await judge.call("coin with its slash", client.get_asset, "BTC/USD")
    slashless = await judge.call("coin without its slash", client.get_asset, "BTCUSD")
    unknown = await judge.refused("unknown", client.get_asset, "NONE")
    clock = await judge.call("", client.get_clock)
    week = await judge.call(
        "a week", client.get_calendar, requests.GetCalendarRequest(start=date(2024, 11, 25), end=date(2024, 11, 29))
    )
    everything = await judge.call("everything", client.get_calendar)
    news = requests.GetCorporateAnnouncementsRequest(
        ca_types=[enums.CorporateActionType.DIVIDEND], since=date(2024, 1, 1), until=date(2024, 2, 1)
    )
    announcements = await judge.call("", client.get_corporate_announcements, news)
    announcement = await judge.refused("", client.get_corporate_announcement_by_id, spy.id)
    contracts = await judge.call(
        "", client.get_option_contracts, requests.GetOptionContractsRequest(underlying_symbols=["SPY"])
    )
    contract = await judge.refused("", client.get_option_contract, "SPY241220C00300000")

    assert [asset.symbol for asset in stocks] == [asset.symbol for asset in active] == ["QQQ", "SPY"]
    assert [asset.symbol for asset in coins] == ["BTC/USD"]
    assert attributes == []
    assert spy == same
    assert (spy.tradable, spy.marginable, spy.shortable, spy.easy_to_borrow, spy.fractionable) == (True,) * 5
    assert (slash, slash.asset_class, slash.marginable) == (slashless, enums.AssetClass.CRYPTO, False)
    assert (slash.min_trade_increment, slash.price_increment) == (1e-09, 1e-09)
    assert (unknown.status_code, unknown.message) == (404, "asset not found for NONE")
    assert (clock.is_open, clock.next_close.isoformat()) == (True, "2024-01-02T16:00:00-05:00")
    assert [(day.date.day, f"{day.open:%H:%M}", f"{day.close:%H:%M}") for day in week] == [
        (25, "09:30", "16:00"),
        (26, "09:30", "16:00"),
        (27, "09:30", "16:00"),
        (29, "09:30", "13:00"),
    ]
    assert (everything[0].date, everything[-1].date) == (date(1970, 1, 2), date(2029, 12, 31))
    assert announcements == []
    assert announcement.status_code == contract.status_code == 404
    assert (contracts.option_contracts, contracts.next_page_token) == ([], None)


@covers(
    "TradingClient.get_watchlists: none",
    "TradingClient.create_watchlist",
    "TradingClient.create_watchlist: name taken",
    "TradingClient.get_watchlists",
    "TradingClient.get_watchlist_by_id",
    "TradingClient.update_watchlist_by_id: name",
    "TradingClient.update_watchlist_by_id: symbols",
    "TradingClient.add_asset_to_watchlist_by_id",
    "TradingClient.remove_asset_from_watchlist_by_id",
    "TradingClient.delete_watchlist_by_id",
    "TradingClient.get_watchlist_by_id: deleted",
)
async def test_watchlists(judge: Judge) -> None:
    """Made, read, changed in every way and deleted."""
    client = judge.trading
    none = await judge.call("none", client.get_watchlists)
    request = requests.CreateWatchlistRequest(name="mine", symbols=["SPY"])
    made = await judge.call("", client.create_watchlist, request)
    taken = await judge.refused("name taken", client.create_watchlist, request)
    listed = await judge.call("", client.get_watchlists)
    read = await judge.call("", client.get_watchlist_by_id, made.id)
    renamed = await judge.call(
        "name", client.update_watchlist_by_id, made.id, requests.UpdateWatchlistRequest(name="yours")
    )
    filled = await judge.call(
        "symbols", client.update_watchlist_by_id, made.id, requests.UpdateWatchlistRequest(symbols=["QQQ", "SPY"])
    )
    grown = await judge.call("", client.add_asset_to_watchlist_by_id, made.id, "BTC/USD")
    shrunk = await judge.call("", client.remove_asset_from_watchlist_by_id, made.id, "QQQ")
    await judge.call("", client.delete_watchlist_by_id, made.id)
    deleted = await judge.refused("deleted", client.get_watchlist_by_id, made.id)

    assert none == []
    assert [(one.id, one.name, one.assets) for one in listed] == [(made.id, "mine", None)]
    assert read == made
    assert (taken.status_code, taken.message) == (422, "watchlist name must be unique")
    assert [(one.name, [asset.symbol for asset in one.assets]) for one in (made, renamed, filled, grown, shrunk)] == [
        ("mine", ["SPY"]),
        ("yours", ["SPY"]),
        ("yours", ["QQQ", "SPY"]),
        ("yours", ["QQQ", "SPY", "BTC/USD"]),
        ("yours", ["SPY", "BTC/USD"]),
    ]
    assert (deleted.status_code, deleted.message) == (404, "watchlist not found")
