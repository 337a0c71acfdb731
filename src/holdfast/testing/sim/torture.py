"""Many seeds, on all processors, and what they came to: the machinery of ``holdfast torture``."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import msgspec
import structlog

from holdfast.di.strategy_loader import load_strategy
from holdfast.model.errors import ConfigurationError, HoldfastError
from holdfast.strategies import Strategy
from holdfast.testing.sim.canaries import CANARIES, Canary
from holdfast.testing.sim.scenario import scenario
from holdfast.testing.sim.world import Result, simulate

# A canary must be caught within so many seeds.
CANARY_SEEDS = 24
T = TypeVar("T")
_AT_ONCE = 4


class Tally(msgspec.Struct, kw_only=True):
    """What all seeds came to together."""

    seeds: int = 0
    days: float = 0.0
    bars: int = 0
    orders: int = 0
    fills: int = 0
    crashes: int = 0
    records: int = 0
    faults: dict[str, int] = {}
    violations: int = 0
    failed_seeds: list[int] = []

    def add(self, result: Result) -> None:
        """One more."""
        self.seeds += 1
        self.days += result.days
        self.bars += result.bars
        self.orders += result.orders
        self.fills += result.fills
        self.crashes += result.crashes
        self.records += result.records
        self.faults = dict(Counter(self.faults) + Counter(result.faults))
        self.violations += len(result.violations)
        if result.violations:
            self.failed_seeds.append(result.seed)


class Catch(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a canary.

    Attributes:
        name: The canary's.
        seed: The one that caught it; None if it escaped.
        violation: The checker's complaint.
        mistake: What the canary does wrong.
    """

    name: str
    seed: int | None
    violation: str
    mistake: str


def torture(seeds: Sequence[int], *, strategy: str | None = None, bars_max: int = 390) -> Iterator[Result]:
    """Run seeds, in processes of their own where there are several; results come in the order of the seeds.

    Args:
        seeds: Which.
        strategy: ``FILE.py:Class`` or ``module:Class`` to trade in place of the simulator's own.
        bars_max: The longest session (minutes).
    """
    yield from _spread(_run_seed, [(seed, strategy, bars_max) for seed in seeds])


def catch(names: Iterable[str]) -> Iterator[Catch]:
    """Run canaries until they are caught, or their seeds are used up."""
    yield from _spread(catch_one, [(name,) for name in names])


def catch_one(name: str, seeds: int = CANARY_SEEDS) -> Catch:
    """Run one canary over the seeds from 1 on."""
    canary = CANARIES[name]
    for seed in range(1, seeds + 1):
        with quiet():
            found = _complaint(canary, simulate(canary.scenario(seed), parts=canary.parts))
        if found:
            return Catch(name=name, seed=seed, violation=found, mistake=canary.mistake)
    return Catch(name=name, seed=None, violation="", mistake=canary.mistake)


def _complaint(canary: Canary, result: Result) -> str:
    return next((text for text in result.violations if text.startswith(canary.caught_by)), "")


def _run_seed(seed: int, strategy: str | None, bars_max: int) -> Result:
    def make(symbols: Sequence[str]) -> Sequence[Strategy]:
        return (load_strategy(strategy or "", symbols, {}),)

    try:
        with quiet():
            return simulate(scenario(seed, bars_max=bars_max), make_strategies=make if strategy else None)
    except ConfigurationError:
        raise
    except HoldfastError as error:
        # The simulation itself came to an end that it should not have: that is a finding, too.
        return Result(
            seed=seed,
            digest="",
            days=0.0,
            bars=0,
            orders=0,
            fills=0,
            crashes=0,
            starts=0,
            records=0,
            faults={},
            violations=(f"simulation: {type(error).__name__}: {error}",),
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Thousands of provoked faults log thousands of warnings: the trace has them all. As it was before, afterwards."""
    was_configured, before = structlog.is_configured(), structlog.get_config()
    logger = logging.getLogger("holdfast")
    level = logger.level
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        if was_configured:
            structlog.configure(**before)
        else:
            structlog.reset_defaults()


def _spread(work: Callable[..., T], jobs: Sequence[tuple[object, ...]]) -> Iterator[T]:
    count = min(os.cpu_count() or 1, len(jobs))
    if count <= 1:
        for job in jobs:
            yield work(*job)
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        # A few jobs ahead of what was asked for, so that a failure or Ctrl-C does not wait for hundreds.
        waiting = []
        for job in jobs:
            waiting.append(pool.submit(work, *job))
            if len(waiting) >= count * _AT_ONCE:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
