"""A journal replayed by itself: kernels are made as its own records say, and each run is compared by one of its kind.

A run can be compared where today's code made it, on this Python and platform, with a configuration and a strategy that
can be made again. Runs of several configurations are compared by as many kernels, each of which is shown the whole
journal: what it did not decide it follows, as the restart of then did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from holdfast.di.config import load
from holdfast.di.epochs import (
    Recipe,
    Versions,
    bare_kernel,
    config_hash,
    recipe_of,
    settings_of,
    versions_of,
    with_strategy,
)
from holdfast.journal import EpochRecord, Record
from holdfast.kernel import Kernel
from holdfast.model.errors import ConfigurationError, StrategyError
from holdfast.runner.replay import EpochReplay, Replay, replay

Records = Callable[[], Iterable[Record]]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel that can be made, and the versions of the runs that it can judge."""

    recipe: Recipe
    versions: Versions

    def kernel(self) -> Kernel:
        """A new one."""
        return self.recipe.kernel(self.recipe.strategies())


def replay_journal(records: Records, *, config: Path | None = None, strategy: str | None = None) -> Replay:
    """Compare every run of a journal that can be compared.

    Args:
        records: Gives all records, each time that it is called.
        config: A configuration file in place of the recorded settings.
        strategy: ``FILE.py:Class`` or ``module:Class`` in place of the recorded strategy.

    Raises:
        JournalError: A record is damaged or missing; names the place.
        ConfigurationError: What was given makes no kernel.
    """
    epochs = [record.content for record in records() if isinstance(record.content, EpochRecord)]
    reasons: dict[int, tuple[str, ...]] = {}
    if config is not None or strategy is not None:
        candidates = [_given(epochs, config, strategy)]
    else:
        candidates = list(_recorded(epochs, reasons))
    passes = [_pass(records, candidate, reasons) for candidate in candidates]
    return _joined(
        passes or [replay(records(), bare_kernel(), lambda epoch: reasons.get(epoch.epoch) or ("no settings",))]
    )


def _pass(records: Records, candidate: Candidate, reasons: dict[int, tuple[str, ...]]) -> Replay:
    def incomparable(epoch: EpochRecord) -> tuple[str, ...]:
        return reasons.get(epoch.epoch, ()) or candidate.versions.differences(Versions.of(epoch))

    return replay(records(), candidate.kernel(), incomparable)


def _recorded(epochs: list[EpochRecord], reasons: dict[int, tuple[str, ...]]) -> Iterator[Candidate]:
    """One candidate for each kind of run that can be made again; why the others cannot."""
    seen: list[Versions] = []
    for epoch in epochs:
        try:
            recipe = recipe_of(epoch.settings)
            ours = versions_of(epoch.settings, recipe.strategies())
        except (ConfigurationError, StrategyError) as error:
            reasons[epoch.epoch] = (str(error),)
            continue
        if ours.differences(Versions.of(epoch)):
            reasons[epoch.epoch] = ours.differences(Versions.of(epoch))
        elif ours not in seen:
            seen.append(ours)
            yield Candidate(recipe=recipe, versions=ours)


def _given(epochs: list[EpochRecord], config: Path | None, strategy: str | None) -> Candidate:
    """The kernel that was asked for: the newest recorded settings, with what was given in their place."""
    recorded = next((epoch.settings for epoch in reversed(epochs) if epoch.settings), "")
    settings = recorded or settings_of(load(config), None)
    if config is not None and recorded:
        values = json.loads(settings_of(load(config), None))
        values["kernel"] = json.loads(recorded)["kernel"]
        settings = json.dumps(values)
    known = config_hash(settings)
    if strategy is not None:
        handed_over = json.loads(settings)["strategy"]["source"] is None
        settings = with_strategy(settings, strategy)
        # A strategy that was handed over as an object is in no hash: whoever names it now says that this is it.
        known = known if handed_over else config_hash(settings)
    recipe = recipe_of(settings)
    versions = msgspec.structs.replace(versions_of(settings, recipe.strategies()), config=known)
    return Candidate(recipe=recipe, versions=versions)


def _joined(passes: list[Replay]) -> Replay:
    """One report of several: each run as the pass saw it that compared it, and the earliest difference."""
    runs: dict[int, EpochReplay] = {}
    for found in passes:
        for run in found.epochs:
            known = runs.get(run.seq)
            if known is None or (known.incomparable and not run.incomparable):
                runs[run.seq] = run
    differences = [found.difference for found in passes if found.difference is not None]
    first = min(differences, key=lambda difference: difference.seq, default=None)
    return Replay(epochs=[runs[seq] for seq in sorted(runs)], difference=first)
