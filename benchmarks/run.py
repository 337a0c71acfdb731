"""``make bench``: what a bar and an order cost, beside a hand-written loop, measured in turn in one process.

    python -m benchmarks.run [--bars 500000] [--rounds 5]

An order's whole life (signal, protections, risk gate, symbol rules, tracking, matching, the venue's reports,
fill, position, account, closed trade) is told twice:

* *in the workload*: the difference between the run that trades and one that does the same work a bar and
  never trades, divided by the orders. The bars on which a position is held, marked and watched (34 an order)
  are part of it.
* *back to back*: the same difference where every bar brings an order, so that no bar is waited for.

Machines differ and drift, so each figure is also told as a ratio within its round: bars beside the loop, an order beside an
empty method call. The aim of 25 us was set on a machine where that call takes 25 ns: it is 1,000 calls.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import NamedTuple

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


class Round(NamedTuple):
    """One round of measurements, one right after the other; seconds, but for the call (ns)."""

    call_ns: float
    by_hand: float
    trading: float
    quiet: float
    churning: float
    resting: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5, help="what is compared is measured in turn; medians count")
    options = parser.parse_args()
    series, short = make_bars(7, options.bars), make_bars(7, _CHURNED_BARS)
    rows = rows_of(series)
    rounds: list[Round] = []
    for _ in range(options.rounds):
        backtest, dense = make_backtest(series), make_churning(short)
        rounds.append(
            Round(
                _empty_call_ns(),
                _seconds(lambda: run_by_hand(rows)),
                _seconds(backtest.run),
                _seconds(make_backtest(series, trades=False).run),
                _seconds(dense.run),
                _seconds(make_churning(short, trades=False).run),
            )
        )
    orders, churned = backtest.kernel.counters.orders, dense.kernel.counters.orders
    trips, (expected, _cash) = len(backtest.kernel.portfolio.positions.closed_trades), run_by_hand(rows)

    def ns_a_bar(name: str) -> float:
        return float(median(getattr(one, name) for one in rounds) / options.bars * 1e9)

    def loops(name: str) -> float:
        return float(median(getattr(one, name) / one.by_hand for one in rounds))

    def order(more: str, less: str, count: int) -> tuple[float, float]:
        """Microseconds, and empty calls."""
        lives = [(getattr(one, more) - getattr(one, less)) / count * 1e6 for one in rounds]
        return median(lives), median(life * 1_000 / one.call_ns for life, one in zip(lives, rounds, strict=True))

    print(f"{options.bars:,} bars, {trips:,} round trips (by hand {expected:,}), {orders:,} orders")
    print(f"an empty method call          {median(one.call_ns for one in rounds):8.0f} ns")
    print(f"hand-written loop, no engine  {ns_a_bar('by_hand'):8.0f} ns a bar")
    print(f"holdfast, every guard on      {ns_a_bar('trading'):8.0f} ns a bar   {loops('trading'):.2f} x the loop")
    print(f"  the same without an order   {ns_a_bar('quiet'):8.0f} ns a bar   {loops('quiet'):.2f} x the loop")
    for what, (us, calls), where in (
        ("an order's whole life", order("trading", "quiet", orders), "in the workload, bars in the position included"),
        ("", order("churning", "resting", churned), f"back to back ({churned:,} orders)"),
    ):
        print(f"{what:30}{us:8.1f} us         {calls:,.0f} calls   {where}")


if __name__ == "__main__":
    main()
