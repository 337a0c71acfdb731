"""A kernel from a configuration: the same one for a backtest as for paper and live."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from holdfast.di.config import Config
from holdfast.di.strategy_loader import load_strategy
from holdfast.kernel import Kernel, KernelSettings
from holdfast.model.timestamps import NS_PER_SECOND
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
    settings: KernelSettings | None = None,
    kind: type[Kernel] = Kernel,
    tracker: OrderTracker | None = None,
) -> Kernel:
    """Guards as configured around these strategies.

    In a replayed session at N times real time our own latency is N times as long in the session's time,
    so the kernel's durations are scaled with the clock's rate; ``settings`` are taken as they are.
    ``kind`` and ``tracker`` are for those who need other ones than ours, such as the simulator's canaries.

    Raises:
        ConfigurationError: A limit or a protection's setting makes no sense.
    """
    return kind(
        tuple(strategies),
        protections=create_default_protections(clock=clock, **config.protection_overrides()),
        gate=PreTradeRiskGate(RiskLimits(**dict(config.risk))),
        sessions_for=sessions,
        settings=settings or kernel_settings(config, clock),
        tracker=tracker,
    )


def kernel_settings(config: Config, clock: Clock | None) -> KernelSettings:
    """The kernel's durations and switches, as configured and by whose time it runs."""
    follows_time = clock is not None and clock.rate != float("inf")
    rate = max(clock.rate, 1.0) if clock is not None and follows_time else 1.0
    return _scaled(_settings(config, follows_time=follows_time), rate)


def _settings(config: Config, *, follows_time: bool) -> KernelSettings:
    """The kernel's durations.

    The timer that compares the books, and the suspicion that a stream is mute, are for a broker on the other side of a
    wire that may lose messages while time runs on. A backtest and lock-step have none: time there goes from moment to
    moment, no message is lost, and the timer would be a moment more between any two bars (see ``kernel.looks``).
    """
    reconcile = config.reconcile
    settings = KernelSettings(foreign=config.foreign, drift_after=_ns(reconcile.drift_seconds))
    if not follows_time:
        return settings
    return msgspec.structs.replace(
        settings,
        reconcile_interval=_ns(reconcile.interval_seconds),
        full_pass_interval=_ns(reconcile.full_pass_seconds),
        mute_after=_ns(reconcile.mute_seconds),
    )


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_SECOND)


def _scaled(settings: KernelSettings, rate: float) -> KernelSettings:
    durations = {name: value for name, value in msgspec.structs.asdict(settings).items() if isinstance(value, int)}
    return msgspec.structs.replace(settings, **{name: round(value * rate) for name, value in durations.items()})
