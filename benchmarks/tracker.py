"""Order updates a second: our tracker beside nautilus_trader's bare orders, in turn in one process.

    python benchmarks/tracker.py [--orders 5000] [--rounds 5]

One life of an order each: it is made, and takes five updates (submitted, accepted, three executions that fill it).
On our side that is the whole of ``OrderTracker``: the intent, the lists of open orders, executions counted once by id
and by where they end, the venue's report beside each of them. On the other side it is the order object alone: made,
five event objects made and applied to it, no cache, no engine.

nautilus_trader is no dependency of ours: where it is not installed, our figure stands alone. To have both, make an
environment with both (``pip install nautilus_trader==1.221.0``; Holdfast needs only msgspec and NumPy for this).
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from decimal import Decimal
from time import perf_counter
from typing import Any

from holdfast.model import Execution, OrderIntent, OrderReport, OrderSide, OrderStatus, OrderType, Source, TimeInForce
from holdfast.model.decimals import Exact
from holdfast.state.order_machine import OrderEvent
from holdfast.state.order_tracker import OrderTracker

_UPDATES = 5
_QUANTITY = Decimal(100)
_PIECES = (Decimal(30), Decimal(30), Decimal(40))
_PRICE = Decimal("100.25")


def ours(orders: int) -> float:
    """Seconds for so many lives through the tracker."""
    tracker = OrderTracker()
    gc.collect()
    with Exact():
        started = perf_counter()
        for number in range(orders):
            _live(tracker, f"bench-{number}", f"venue-{number}", number)
        return perf_counter() - started


def _live(tracker: OrderTracker, client_order_id: str, broker_id: str, at: int) -> None:
    tracker.track(
        OrderIntent(
            client_order_id=client_order_id,
            symbol="SPY",
            side=OrderSide.BUY,
            quantity=_QUANTITY,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.DAY,
            created_at=at,
        )
    )
    tracker.apply(client_order_id, OrderEvent.SUBMIT, at)
    tracker.apply_report(_report(client_order_id, broker_id, OrderStatus.NEW, Decimal(0)), Source.STREAM, at)
    filled = Decimal(0)
    for piece in _PIECES:
        filled += piece
        tracker.apply_execution(
            Execution(
                execution_id=f"{broker_id}/{filled}",
                broker_id=broker_id,
                symbol="SPY",
                side=OrderSide.BUY,
                quantity=piece,
                price=_PRICE,
                at=at,
                cum_qty=filled,
                client_order_id=client_order_id,
            )
        )
        status = OrderStatus.FILLED if filled == _QUANTITY else OrderStatus.PARTIALLY_FILLED
        tracker.apply_report(_report(client_order_id, broker_id, status, filled), Source.STREAM, at)


def _report(client_order_id: str, broker_id: str, status: OrderStatus, filled: Decimal) -> OrderReport:
    return OrderReport(
        broker_id=broker_id,
        client_order_id=client_order_id,
        symbol="SPY",
        side=OrderSide.BUY,
        status=status,
        quantity=_QUANTITY,
        filled_qty=filled,
    )


def nautilus() -> Callable[[int], float] | None:
    """The same for nautilus_trader; None where it is not installed."""
    try:
        from nautilus_trader.core import uuid  # type: ignore[import-not-found]  # no dependency  # noqa: PLC0415 - ours is measured without it
        from nautilus_trader.model import currencies, enums, identifiers, objects  # type: ignore[import-not-found]  # noqa: PLC0415 - as above
        from nautilus_trader.model import events as happened  # noqa: PLC0415 - as above
        from nautilus_trader.model import orders as kinds  # noqa: PLC0415 - as above
    except ImportError:
        return None
    trader, strategy = identifiers.TraderId("BENCH-1"), identifiers.StrategyId("BENCH-1")
    instrument, account = identifiers.InstrumentId.from_str("SPY.BENCH"), identifiers.AccountId("BENCH-1")
    quantity, price, free = (
        objects.Quantity.from_int(100),
        objects.Price.from_str("100.25"),
        objects.Money(0, currencies.USD),
    )
    pieces = [objects.Quantity.from_int(int(piece)) for piece in _PIECES]
    buy, market, taker = enums.OrderSide.BUY, enums.OrderType.MARKET, enums.LiquiditySide.TAKER

    def live(number: int) -> None:
        name, there = identifiers.ClientOrderId(f"bench-{number}"), identifiers.VenueOrderId(f"venue-{number}")
        heads: tuple[Any, ...] = (trader, strategy, instrument, name)
        order = kinds.MarketOrder(*heads, buy, quantity, uuid.UUID4(), number)
        order.apply(happened.OrderSubmitted(*heads, account, uuid.UUID4(), number, number))
        order.apply(happened.OrderAccepted(*heads, there, account, uuid.UUID4(), number, number))
        for index, piece in enumerate(pieces):
            trade = identifiers.TradeId(f"{number}-{index}")
            what: tuple[Any, ...] = (trade, None, buy, market, piece, price, currencies.USD, free, taker)
            order.apply(happened.OrderFilled(*heads, there, account, *what, uuid.UUID4(), number, number))

    def run(orders: int) -> float:
        gc.collect()
        started = perf_counter()
        for number in range(orders):
            live(number)
        return perf_counter() - started

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5, help="each is run in turn; the fastest of each counts")
    options = parser.parse_args()
    theirs = nautilus()
    here, there = [], []
    for _ in range(options.rounds):
        here.append(ours(options.orders))
        if theirs is not None:
            there.append(theirs(options.orders))
    updates = options.orders * _UPDATES
    print(f"OrderTracker           {updates / min(here):10,.0f} updates/s")
    if there:
        print(f"nautilus_trader orders {updates / min(there):10,.0f} updates/s   {min(there) / min(here):.2f} x")
    else:
        print("nautilus_trader is not installed here")


if __name__ == "__main__":
    main()
