"""How long the simulator takes for an equity session of one symbol: 390 minutes, the whole bot and the whole venue.

    python -m benchmarks.simulator [--sessions 5]

The first scenarios, by seed, that have one equity symbol, stretched to a whole session, with all their faults, crashes
and checkers. A fault-free one beside them: what the machinery itself costs.
"""

from __future__ import annotations

import argparse
from itertools import count
from time import perf_counter

import msgspec

from holdfast.cli.logs import configure_logs
from holdfast.testing.sim import scenario, simulate

_MINUTES = 390


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=5)
    options = parser.parse_args()
    configure_logs(quiet=True)
    found = (scenario(seed) for seed in count(1))
    single = (one for one in found if len(one.symbols) == 1 and "/" not in one.symbols[0])
    chosen = [msgspec.structs.replace(next(single), bars=_MINUTES, first_bar=0) for _ in range(options.sessions)]
    quiet = msgspec.structs.replace(
        chosen[0], rates={}, crashes=0, venue_restarts=0, clock_steps=(), stalls=0, stops=0, halts=0, asks=0
    )
    for name, one in [(f"seed {one.seed}, all its faults", one) for one in chosen] + [("no fault at all", quiet)]:
        started = perf_counter()
        result = simulate(one)
        seconds = perf_counter() - started
        print(f"{name:28} {seconds:6.2f} s   violations {len(result.violations)}")


if __name__ == "__main__":
    main()
