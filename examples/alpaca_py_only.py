"""A bracket from its entry to its end, with Alpaca's own SDK and nothing else: against the local Alpaca, or against paper.

    $ holdfast venue --synthetic SPY --speed 60 --port 8080
    $ python examples/alpaca_py_only.py http://127.0.0.1:8080

It takes the price from the first bar that it hears, buys ten shares with a take-profit and a stop-loss, waits for the fill on its stream, moves the stop-loss, closes
everything, and reads back what became of it. Without an address it trades at Alpaca paper, with the keys of the environment.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, TimeInForce
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetPortfolioHistoryRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)
from alpaca.trading.stream import TradingStream

SYMBOL = "SPY"
QUANTITY = 10
PATIENCE_SECONDS = 60.0


def first_bar(key: str, secret: str, url: str | None) -> Any:
    """The next minute bar of the symbol."""
    bars: queue.Queue[Any] = queue.Queue()

    async def keep(bar: Any) -> None:
        bars.put(bar)

    stream = StockDataStream(key, secret, url_override=None if url is None else socket_of(url, "/v2/iex"))
    stream.subscribe_bars(keep, SYMBOL)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        return bars.get(timeout=PATIENCE_SECONDS)
    finally:
        stream.stop()
        thread.join(timeout=10)


def socket_of(url: str, path: str) -> str:
    """The address of a stream."""
    return "ws" + url.removeprefix("http") + path


class Updates:
    """The account's trade updates, read in a thread of their own."""

    def __init__(self, key: str, secret: str, url: str | None) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        address = None if url is None else socket_of(url, "/stream")
        stream: Any = TradingStream
        self._stream = stream(key, secret, url_override=address)
        self._stream.subscribe_trade_updates(self._keep)
        self._thread = threading.Thread(target=self._stream.run, daemon=True)
        self._thread.start()

    async def _keep(self, update: Any) -> None:
        self._queue.put(update)

    def wait_for(self, wanted: Callable[[Any], bool]) -> Any:
        """The next update of the kind; those before it are shown and passed over."""
        while True:
            update = self._queue.get(timeout=PATIENCE_SECONDS)
            event = getattr(update.event, "value", update.event)
            print(f"{event:<14} {update.order.side.value:<5} {update.order.order_type.value:<8} {update.order.id}")
            if wanted(update):
                return update

    def stop(self) -> None:
        """End the stream and its thread."""
        self._stream.stop()
        self._thread.join(timeout=10)


def check(as_expected: bool, seen: object) -> None:
    """Stop where something is not as it should be, and show it."""
    if not as_expected:
        sys.exit(f"not as expected: {seen}")


def is_event(name: str, order_id: object) -> Callable[[Any], bool]:
    """Whether an update is this event of this order."""
    return lambda update: getattr(update.event, "value", update.event) == name and update.order.id == order_id


def trade(client: Any, updates: Updates, price: float) -> None:
    """The bracket, from its entry to its end."""
    bracket = client.submit_order(
        MarketOrderRequest(
            symbol=SYMBOL,
            qty=QUANTITY,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.DAY,
            order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=round(price * 1.05, 2)),
            stop_loss=StopLossRequest(stop_price=round(price * 0.95, 2)),
        )
    )
    filled = updates.wait_for(is_event("fill", bracket.id))
    check(filled.order.filled_qty == str(QUANTITY), filled)

    legs = client.get_order_by_id(bracket.id, GetOrderByIdRequest(nested=True)).legs or []
    check(len(legs) == 2, legs)
    stop_loss = next(leg for leg in legs if leg.stop_price is not None)
    moved = client.replace_order_by_id(stop_loss.id, ReplaceOrderRequest(stop_price=round(price * 0.96, 2)))
    updates.wait_for(is_event("replaced", stop_loss.id))
    check(float(moved.stop_price or 0) == round(price * 0.96, 2), moved)

    closed = client.close_all_positions(cancel_orders=True)
    check([answer.status for answer in closed] == [200], closed)
    exit_order = closed[0].body
    updates.wait_for(is_event("fill", exit_order.id))

    check(client.get_all_positions() == [], "nothing is left")
    check(client.get_orders() == [], "nothing is left")
    for leg in (*legs, moved):
        check(client.get_order_by_id(leg.id).status in (OrderStatus.CANCELED, OrderStatus.REPLACED), leg)


def read_back(client: Any, cash_before: Decimal) -> None:
    """The account against its fills, to the cent."""
    fills = client.get("/account/activities", {"activity_types": "FILL", "direction": "asc"})
    signs = {"buy": -1, "sell": 1}
    change = sum(signs[fill["side"]] * Decimal(fill["qty"]) * Decimal(fill["price"]) for fill in fills)
    account = client.get_account()
    check(Decimal(account.cash) == cash_before + change, (account.cash, cash_before, change))
    check(account.equity == account.cash, "nothing is held")
    history = client.get_portfolio_history(GetPortfolioHistoryRequest(period="1D", timeframe="1Min"))
    check(abs(history.equity[-1] - float(account.equity)) < 0.01, history)
    print(f"{len(fills)} fills, {change:+} USD; equity {account.equity}")


def main() -> None:
    """Trade at the address that was given, or at Alpaca paper."""
    url = sys.argv[1] if len(sys.argv) > 1 else None
    key, secret = (os.environ.get(name, "any") for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"))
    client: Any = TradingClient(key, secret, paper=True, url_override=url)
    cash = Decimal(client.get_account().cash)
    updates = Updates(key, secret, url)
    try:
        trade(client, updates, first_bar(key, secret, url).close)
    finally:
        updates.stop()
    read_back(client, cash)


if __name__ == "__main__":
    main()
