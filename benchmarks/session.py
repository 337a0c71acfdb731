"""A whole session through real sockets: venue process, HTTP, WebSockets, journal, kernel, in lock-step.

    python -m benchmarks.session [--data FILE --symbol SYM]

Without data: the bundled sample, two days of minutes. Prints the wall time of the whole command, process
starts included, and the same bars through ``holdfast backtest``, whose orders must be the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any


def _run(*arguments: str) -> tuple[float, dict[str, Any]]:
    started = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *arguments, "--json"], check=True, capture_output=True, text=True
    )
    return perf_counter() - started, json.loads(done.stdout)


def _orders(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    return [tuple(order[key] for key in ("bar", "symbol", "side", "quantity")) for order in summary["orders"]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--symbol", default="BTC/USD")
    options = parser.parse_args()
    market = ["--data", str(options.data), "--symbol", options.symbol] if options.data else []
    with tempfile.TemporaryDirectory() as folder:
        journal = str(Path(folder) / "bench.journal")
        seconds, session = _run("paper", *market, "--speed", "max", "--once", "--journal", journal)
    backtest_seconds, backtest = _run("backtest", *market)
    bars = session["bars"]
    print(f"{bars:,} bars, {len(session['orders'])} orders, {len(session['fills'])} fills, drift {session['drift']}")
    print(f"through sockets  {seconds:7.1f} s  {seconds / bars * 1e3:6.3f} ms a bar")
    print(f"backtest         {backtest_seconds:7.1f} s  {backtest_seconds / bars * 1e3:6.3f} ms a bar")
    print(f"same orders      {_orders(session) == _orders(backtest)}")


if __name__ == "__main__":
    main()
