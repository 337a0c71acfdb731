"""Who writes the records of a run: versions of code, configuration, strategies and interpreter, and how to make them again.

The configuration is recorded as JSON, without secrets, so that a journal can be replayed by itself. Its hash covers
only what decides: strategy, limits, protections, and the kernel's durations and switches as they came out (they depend
on whose time the bot follows). A run at another address, or with another status port, decides the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

import holdfast
from holdfast.di.assembly import kernel_settings, make_kernel, make_strategies
from holdfast.di.config import Config, RiskConfig, StrategyConfig, load
from holdfast.journal import EpochRecord
from holdfast.kernel import Kernel, KernelSettings
from holdfast.model.errors import ConfigurationError
from holdfast.strategies import Strategy
from holdfast.time import Clock

_SECRET = {
    "alpaca": {"api_key", "api_secret"},
    "polygon": {"api_key"},
    "status": {"token"},
    "journal": {"path"},
    "notify": True,
}
_DECIDING = ("strategy", "risk", "protections", "kernel")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PLATFORM = f"{sys.platform} {platform.machine()}"


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """What two runs must have in common to decide alike."""

    code: str
    config: str
    strategy: str
    python: str
    platform: str

    @classmethod
    def of(cls, record: EpochRecord) -> Versions:
        """Those of a recorded run."""
        return cls(**{name: getattr(record, name) for name in cls.__struct_fields__})

    def differences(self, other: Versions) -> tuple[str, ...]:
        """Each as ``what: ours, theirs``."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__)
        return tuple(
            f"{name}: {ours or 'none'} here, {theirs or 'none'} there" for name, ours, theirs in pairs if ours != theirs
        )


def settings_of(config: Config, clock: Clock | None, *, own_strategies: bool = False) -> str:
    """A configuration as JSON, secrets left out. ``own_strategies``: they were handed over, and it does not name them."""
    values = config.model_dump(exclude=_SECRET)  # type: ignore[arg-type]  # pydantic's type is wider than its alias
    values["kernel"] = msgspec.to_builtins(kernel_settings(config, clock))
    strategy = dict(values["strategy"])
    strategy["source"] = None if own_strategies else _absolute(strategy["source"])
    values["strategy"] = strategy
    return json.dumps(values, default=_as_json, separators=(",", ":"))


def config_hash(settings: str) -> str:
    """The hash of what decides. A strategy's file counts by its name, not by its place."""
    values = json.loads(settings)
    deciding = {name: values[name] for name in _DECIDING}
    source = deciding["strategy"]["source"]
    if source is not None:
        deciding["strategy"]["source"] = source.replace("\\", "/").rpartition("/")[2]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


def with_strategy(settings: str, source: str) -> str:
    """The same settings with another strategy in them."""
    values = json.loads(settings)
    values["strategy"]["source"] = _absolute(source)
    return json.dumps(values, separators=(",", ":"))


def strategy_versions(strategies: Sequence[Strategy]) -> str:
    """``name@version`` of each."""
    return ", ".join(f"{strategy.name}@{strategy.version}" for strategy in strategies)


def versions_of(settings: str, strategies: Sequence[Strategy]) -> Versions:
    """Those of this process."""
    return Versions(
        code=holdfast.__version__,
        config=config_hash(settings),
        strategy=strategy_versions(strategies),
        python=PYTHON,
        platform=PLATFORM,
    )


def epoch_record(*, epoch: int, started_at: int, settings: str, strategies: Sequence[Strategy]) -> EpochRecord:
    """The head of a run of this process (``started_at`` in UTC ns)."""
    versions = msgspec.structs.asdict(versions_of(settings, strategies))
    return EpochRecord(epoch=epoch, started_at=started_at, pid=os.getpid(), settings=settings, **versions)


def bare_kernel() -> Kernel:
    """A kernel that decides nothing: it follows what was recorded."""
    return make_kernel(load(None, {"strategy": {"symbols": ()}}), ())


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel as recorded settings make it."""

    config: Config
    settings: KernelSettings

    def strategies(self) -> tuple[Strategy, ...]:
        """New ones.

        Raises:
            ConfigurationError: A strategy cannot be found, or its parameters do not fit.
            StrategyError: Its module or constructor raised.
        """
        return make_strategies(self.config)

    def kernel(self, strategies: Sequence[Strategy]) -> Kernel:
        """A new one, with the guards that were configured."""
        return make_kernel(self.config, strategies, settings=self.settings)


def recipe_of(settings: str, *, handed_over: bool = False) -> Recipe:
    """What recorded settings say. ``handed_over``: also where they do not name the strategy, for the guards alone.

    Raises:
        ConfigurationError: There are none, they name no strategy, or they are not of this version.
    """
    if not settings:
        message = "the journal holds no settings of this run: its kernel was wired by somebody's own code"
        raise ConfigurationError(message)
    try:
        values = json.loads(settings, object_hook=_from_json)
        if values["strategy"]["source"] is None and values["strategy"]["symbols"] and not handed_over:
            message = "the journal does not name the strategy of this run: it was handed over as an object; expected --strategy"
            raise ConfigurationError(message)
        values["strategy"]["source"] = values["strategy"]["source"] or ""
        # The environment of this process has no say in what was.
        config = Config.model_construct(
            strategy=StrategyConfig(**values["strategy"]),
            risk=RiskConfig(**values["risk"]),
            protections=values["protections"],
        )
        return Recipe(config=config, settings=msgspec.convert(values["kernel"], KernelSettings))
    except (ValueError, KeyError, TypeError, ValidationError, msgspec.MsgspecError) as error:
        message = f"the recorded settings are not of this version: {str(error).splitlines()[0]}"
        raise ConfigurationError(message) from None


def _absolute(source: str) -> str:
    place, _, name = source.rpartition(":")
    return f"{Path(place).resolve()}:{name}" if place.endswith(".py") else source


def _as_json(value: object) -> object:
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, date) else str(value)


def _from_json(values: Mapping[str, Any]) -> Any:
    return Decimal(values["decimal"]) if values.keys() == {"decimal"} else values
