"""``make bench``: what a bar and an order cost, beside a hand-written loop, measured in turn in one process.

    python -m benchmarks.run [--bars 500000] [--rounds 3]

An order's whole life (signal, protections, risk gate, symbol rules, tracking, matching, the venue's reports,
fill, position, account, closed trade) is told twice:

* *in the workload*: the difference between the run that trades and one that does the same work a bar and
  never trades, divided by the orders. The bars on which a position is held, marked and watched (34 an order)
  are part of it.
* *back to back*: the same difference where every bar brings an order, so that no bar is waited for.

Machines differ, so each figure is also told as a ratio within the run: bars beside the loop, an order beside an empty method
call. The aim of 25 us was set on a machine where that call takes 25 ns: it is 1,000 calls.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from time import perf_counter

from benchmarks.workload import make_backtest, make_bars, make_churning, rows_of, run_by_hand

_EMPTY_CALLS = 1_000_000
_CHURNED_BARS = 20_000


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
    series, short = make_bars(7, options.bars), make_bars(7, _CHURNED_BARS)
    rows = rows_of(series)
    calls, by_hand, trading, quiet, churning, resting = [], [], [], [], [], []
    orders = trips = churned = 0
    for _ in range(options.rounds):
        calls.append(_empty_call_ns())
        by_hand.append(_seconds(lambda: run_by_hand(rows)))
        backtest = make_backtest(series)
        trading.append(_seconds(backtest.run))
        orders = backtest.kernel.counters.orders
        trips = len(backtest.kernel.portfolio.positions.closed_trades)
        quiet.append(_seconds(make_backtest(series, trades=False).run))
        dense = make_churning(short)
        churning.append(_seconds(dense.run))
        churned = dense.kernel.counters.orders
        resting.append(_seconds(make_churning(short, trades=False).run))
    expected, _cash = run_by_hand(rows)
    call_ns = min(calls)
    loop_ns, engine_ns, quiet_ns = (min(times) / options.bars * 1e9 for times in (by_hand, trading, quiet))
    order_us = (min(trading) - min(quiet)) / orders * 1e6
    dense_us = (min(churning) - min(resting)) / churned * 1e6
    print(f"{options.bars:,} bars, {trips:,} round trips (by hand {expected:,}), {orders:,} orders")
    print(f"an empty method call          {call_ns:8.0f} ns")
    print(f"hand-written loop, no engine  {loop_ns:8.0f} ns a bar")
    print(f"holdfast, every guard on      {engine_ns:8.0f} ns a bar   {engine_ns / loop_ns:.2f} x the loop")
    print(f"  the same without an order   {quiet_ns:8.0f} ns a bar   {quiet_ns / loop_ns:.2f} x the loop")
    for what, us, where in (
        ("an order's whole life", order_us, "in the workload, bars in the position included"),
        ("", dense_us, f"back to back ({churned:,} orders)"),
    ):
        print(f"{what:30}{us:8.1f} us         {us * 1_000 / call_ns:,.0f} calls   {where}")


if __name__ == "__main__":
    main()
