"""A kernel from a configuration: the same one for a backtest as for paper and live."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.di.config import Config
from holdfast.di.strategy_loader import load_strategy
from holdfast.kernel import Kernel, KernelSettings
from holdfast.risk import PreTradeRiskGate, RiskLimits
from holdfast.risk.protections import create_default_protections
from holdfast.state.order_tracker import OrderTracker
from holdfast.strategies import Strategy
from holdfast.time import Clock, SessionsFor, sessions_for


def make_strategies(config: Config) -> tuple[Strategy, ...]:
    """What ``config.strategy`` names; nothing where it has no symbols.

    Raises:
        ConfigurationError: It cannot be found, or a parameter is wrong.
    """
    settings = config.strategy
    if not settings.symbols:
        return ()
    return (load_strategy(settings.source, settings.symbols, settings.params),)


def make_kernel(
    config: Config,
    strategies: Iterable[Strategy],
    *,
    clock: Clock | None = None,
    sessions: SessionsFor = sessions_for,
    rate: float | None = None,
    kind: type[Kernel] = Kernel,
    tracker: OrderTracker | None = None,
) -> Kernel:
    """Guards as configured around these strategies.

    In a replayed session at N times real time our own latency is N times as long in the session's time,
    so the kernel's durations are scaled with the clock's rate; ``rate`` says it where there is no such clock.
    ``kind`` and ``tracker`` are for those who need other ones than ours, such as the simulator's canaries.

    Raises:
        ConfigurationError: A limit or a protection's setting makes no sense.
    """
    return kind(
        tuple(strategies),
        protections=create_default_protections(clock=clock, **config.protection_overrides()),
        gate=PreTradeRiskGate(RiskLimits(**dict(config.risk))),
        sessions_for=sessions,
        settings=_scaled(KernelSettings(), kernel_rate(clock) if rate is None else rate),
        tracker=tracker,
    )


def kernel_rate(clock: Clock | None) -> float:
    """By how much the kernel's durations are longer than in real time."""
    return 1.0 if clock is None or clock.rate == float("inf") else max(clock.rate, 1.0)


def _scaled(settings: KernelSettings, rate: float) -> KernelSettings:
    return KernelSettings(**{name: round(getattr(settings, name) * rate) for name in settings.__struct_fields__})
