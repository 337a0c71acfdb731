"""``make bench``: what a bar and an order cost, beside a hand-written loop, measured in turn in one process.

    python -m benchmarks.run [--bars 500000] [--rounds 3]

An order's whole life is the difference between a run that trades and one that does the same work a bar and
never trades, divided by the orders: signal, protections, risk gate, symbol rules, tracking, matching, the
venue's reports, fill, position, account, closed trade.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from time import perf_counter

from benchmarks.workload import columns, make_backtest, make_bars, run_by_hand

_EMPTY_CALLS = 1_000_000


class _Empty:
    __slots__ = ()

    def call(self, value: int) -> None:
        """Nothing."""


def _empty_call_ns() -> float:
    call = _Empty().call
    started = perf_counter()
    for number in range(_EMPTY_CALLS):
        call(number)
    return (perf_counter() - started) / _EMPTY_CALLS * 1e9


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    started = perf_counter()
    work()
    return perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3, help="each is run in turn; the fastest of each counts")
    options = parser.parse_args()
    series = make_bars(7, options.bars)
    rows = columns(series)
    by_hand, trading, quiet = [], [], []
    orders = trips = 0
    for _ in range(options.rounds):
        by_hand.append(_seconds(lambda: run_by_hand(rows)))
        backtest = make_backtest(series)
        trading.append(_seconds(backtest.run))
        orders = backtest.kernel.counters.orders
        trips = len(backtest.kernel.portfolio.positions.closed_trades)
        quiet.append(_seconds(make_backtest(series, trades=False).run))
    expected, _cash = run_by_hand(rows)
    loop_ns, engine_ns = min(by_hand) / options.bars * 1e9, min(trading) / options.bars * 1e9
    order_us = (min(trading) - min(quiet)) / orders * 1e6
    print(f"{options.bars:,} bars, {trips:,} round trips (by hand {expected:,}), {orders:,} orders")
    print(f"an empty method call          {_empty_call_ns():8.0f} ns")
    print(f"hand-written loop, no engine  {loop_ns:8.0f} ns a bar")
    print(f"holdfast, every guard on      {engine_ns:8.0f} ns a bar   {engine_ns / loop_ns:.2f} x the loop")
    print(f"an order's whole life         {order_us:8.1f} us")


if __name__ == "__main__":
    main()
