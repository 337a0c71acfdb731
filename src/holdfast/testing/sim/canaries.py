"""Broken variants of the bot, each of which the simulator must catch: a checker that cannot fail proves nothing.

A canary is a mistake that real systems have made, written down as a subclass of the part that would make it and
passed in where the container takes its parts. Nothing is patched. Each names the faults and deaths that bring it out:
its seeds lean towards them, as a bound on the number of seeds should not depend on luck.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from holdfast.di.assembly import make_kernel
from holdfast.di.parts import Parts
from holdfast.kernel import Kernel
from holdfast.runner import Runner
from holdfast.state.order_tracker import OrderTracker
from holdfast.testing.sim.mistakes import (
    AdoptsWhatDiffers,
    ConnectedWhenOpen,
    CountsEveryMessage,
    CountsIntentsAnew,
    CountsLegsTwice,
    CountsOldAndNewAsTwo,
    DoesNotAskAfterAGap,
    DoesNotWaitForTheDisk,
    DropsLateFills,
    FlipsPositions,
    ForgetsAHalt,
    ForgetsItsProtections,
    ForgetsItsStrategies,
    JournalsAfterSending,
    LastWordWins,
    ReadsTheSumAsAFill,
    RetriesAReplace,
    RetriesASubmit,
    RetriesWithANewId,
    SendsAgainAfterARestart,
    SendsStaleOrders,
    ShowsBarsAgain,
    SnapshotsWithoutStrategies,
    TakesACancelForCancelled,
    TakesAFailedLookUpForNeverSent,
    TakesAReplaceForReplaced,
    TakesLegsForStrangers,
    TakesNotFoundForNeverSent,
    TakesOneExitForBoth,
    TakesSilenceForANo,
    guard_fails_open,
    throttler_off_by_one,
)
from holdfast.testing.sim.scenario import Scenario, scenario

Bias = Callable[[Scenario], Scenario]


def _busy(base: Scenario, **changes: Any) -> Scenario:
    """A lively run without deaths, on which a canary lays the faults that it needs."""
    return msgspec.structs.replace(
        base,
        **{
            "bars": min(base.bars, 45),
            "first_bar": 0,
            "strategy": "monkey",
            "appetite": 0.8,
            "guarded": 0.0,
            "loose": True,
            "crashes": 0,
            "venue_restarts": 0,
            "clock_steps": (),
            "stalls": 0,
            "stops": 0,
            "halts": 0,
            "asks": 0,
            "snapshot_every": 200,
            "rates": {},
            **changes,
        },
    )


def _with(**changes: Any) -> Bias:
    return lambda base: _busy(base, **changes)


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """One broken variant.

    Attributes:
        name: For the command line.
        mistake: What it does wrong.
        parts: The container's parts, one of them broken.
        bias: Makes of a seed's scenario one in which the mistake has something to go wrong with.
        caught_by: The checkers that are expected to complain: the beginning of a violation.
    """

    name: str
    mistake: str
    parts: Parts
    bias: Bias
    caught_by: tuple[str, ...]

    def scenario(self, seed: int) -> Scenario:
        """Its scenario of a seed."""
        return self.bias(scenario(seed))


def _kernel(kind: type[Kernel]) -> Parts:
    return Parts(kernel=partial(make_kernel, kind=kind))


def _tracker(kind: type[OrderTracker]) -> Parts:
    return Parts(kernel=lambda *args, **kwargs: make_kernel(*args, tracker=kind(), **kwargs))


_LOSSY = {"answer_lost": 0.15, "lost": 0.05, "cut_after": 0.1}
_GAPS = {"socket_cut": 0.05}
_LATE = {"late": 0.3}
_FRAMES = {"frame_late": 0.15, "frame_twice": 0.15, "frame_lost": 0.1}
_SYNCS = ("sync-after", "request-left", "request-left")


def _canary(name: str, parts: Parts, bias: Bias, *caught_by: str, of: Any) -> Canary:
    mistake = (of.__doc__ or "").strip()
    return Canary(name=name, mistake=mistake, parts=parts, bias=bias, caught_by=caught_by)


def _runner(kind: type[Runner]) -> Parts:
    return Parts(runner=kind)


_SETS: tuple[tuple[str, Any, Parts, Bias, tuple[str, ...]], ...] = (
    ("journal-after-send", JournalsAfterSending, _runner(JournalsAfterSending), _with(), ("P1",)),
    ("sync-not-awaited", DoesNotWaitForTheDisk, _runner(DoesNotWaitForTheDisk), _with(), ("P1",)),
    ("retry-new-id", RetriesWithANewId, Parts(connector=RetriesWithANewId), _with(rates=_LOSSY), ("P1", "P2")),
    ("retry-submit", RetriesASubmit, Parts(connector=RetriesASubmit), _with(rates=_LOSSY), ("P2 sent once",)),
    ("unknown-is-rejected", TakesSilenceForANo, Parts(connector=TakesSilenceForANo), _with(rates=_LOSSY), ("P5",)),
    (
        "no-deadline",
        SendsStaleOrders,
        _runner(SendsStaleOrders),
        _with(rates={"limit_headers": 0.3}),
        ("deadlines",),
    ),
    (
        "throttle-off-by-one",
        throttler_off_by_one,
        Parts(throttler=throttler_off_by_one),
        _with(rate_limit=8, symbols=("SPY", "QQQ")),
        ("P6",),
    ),
    (
        "no-dedupe",
        CountsEveryMessage,
        _tracker(CountsEveryMessage),
        _with(rates=_FRAMES, bars=20, symbols=("SPY",)),
        ("P3", "P4", "P9"),
    ),
    (
        "late-fill-dropped",
        DropsLateFills,
        _tracker(DropsLateFills),
        _with(rates=_FRAMES, bars=20, symbols=("SPY",)),
        ("P3", "P4", "P9"),
    ),
    (
        "last-word-wins",
        LastWordWins,
        _tracker(LastWordWins),
        _with(rates={"frame_late": 0.3, "frame_swapped": 0.2, "slow": 0.3}),
        ("P5 stays closed",),
    ),
    (
        "sum-read-as-fill",
        ReadsTheSumAsAFill,
        Parts(user_stream=ReadsTheSumAsAFill),
        _with(participation=Decimal("0.005")),
        ("P3", "P4", "P9"),
    ),
    (
        "connected-when-open",
        ConnectedWhenOpen,
        Parts(user_stream=ConnectedWhenOpen),
        _with(),
        ("two sources",),
    ),
    (
        "not-found-is-never-sent",
        TakesNotFoundForNeverSent,
        _kernel(TakesNotFoundForNeverSent),
        _with(rates=_LATE),
        ("P5 verdicts hold",),
    ),
    (
        "silence-is-never-sent",
        TakesAFailedLookUpForNeverSent,
        _kernel(TakesAFailedLookUpForNeverSent),
        _with(rates={"gateway_after": 0.8, "frame_lost": 0.6}),
        ("P5 verdicts hold",),
    ),
    (
        "cancel-is-cancelled",
        TakesACancelForCancelled,
        _kernel(TakesACancelForCancelled),
        _with(rates={"lost": 0.2, "slow": 0.3}),
        ("P2", "P3", "P7", "P9"),
    ),
    (
        "replace-is-replaced",
        TakesAReplaceForReplaced,
        _kernel(TakesAReplaceForReplaced),
        _with(rates={"lost": 0.3, "slow": 0.3}),
        ("P2", "P3", "P7", "P9"),
    ),
    (
        "old-and-new-are-two",
        CountsOldAndNewAsTwo,
        _tracker(CountsOldAndNewAsTwo),
        _with(),
        ("P2 one at a time",),
    ),
    (
        "replace-retried",
        RetriesAReplace,
        Parts(connector=RetriesAReplace),
        _with(rates=_LOSSY),
        ("P2 sent once",),
    ),
    (
        "leg-counted-twice",
        CountsLegsTwice,
        _tracker(CountsLegsTwice),
        _with(rates=_FRAMES, guarded=0.9, symbols=("SPY",)),
        ("P3", "P4", "P9"),
    ),
    (
        "leg-is-a-stranger",
        TakesLegsForStrangers,
        _tracker(TakesLegsForStrangers),
        _with(guarded=0.9, symbols=("SPY",)),
        ("P2", "P3", "P4", "P5", "P9"),
    ),
    (
        "one-exit-is-both",
        TakesOneExitForBoth,
        _tracker(TakesOneExitForBoth),
        _with(guarded=0.9, symbols=("SPY",), participation=Decimal("0.002"), bars=90),
        ("P2", "P9"),
    ),
    (
        "no-look-after-gap",
        DoesNotAskAfterAGap,
        _kernel(DoesNotAskAfterAGap),
        _with(rates=_GAPS),
        ("two sources",),
    ),
    (
        "drift-adopted",
        AdoptsWhatDiffers,
        _kernel(AdoptsWhatDiffers),
        _with(rates={"listed_late": 0.9, "socket_cut": 0.05, "frame_lost": 0.3}),
        ("P3", "P4", "P9"),
    ),
    ("exit-flips", FlipsPositions, _kernel(FlipsPositions), _with(participation=Decimal("0.005")), ("P7 never flips",)),
    (
        "guard-fails-open",
        guard_fails_open,
        Parts(kernel=guard_fails_open),
        _with(rates={"socket_cut": 0.2, "socket_refused": 0.85}, bars=60),
        ("P7 no stale entries",),
    ),
    (
        "bars-shown-again",
        ShowsBarsAgain,
        _kernel(ShowsBarsAgain),
        _with(rates={"frame_twice": 0.3, "socket_cut": 0.05}, strategy="vwap"),
        ("shown once",),
    ),
    (
        "resend-after-restart",
        SendsAgainAfterARestart,
        _kernel(SendsAgainAfterARestart),
        _with(crashes=3, crash_points=_SYNCS),
        ("P2 sent once",),
    ),
    (
        "numbers-used-again",
        CountsIntentsAnew,
        _kernel(CountsIntentsAnew),
        _with(crashes=2, crash_points=("time",)),
        ("failure", "P2"),
    ),
    (
        "strategies-forgotten",
        ForgetsItsStrategies,
        _runner(ForgetsItsStrategies),
        _with(crashes=2, crash_points=("time",), strategy="vwap"),
        ("P8",),
    ),
    (
        "snapshot-without-strategies",
        SnapshotsWithoutStrategies,
        _kernel(SnapshotsWithoutStrategies),
        _with(crashes=3, crash_points=("time",), strategy="vwap", bars=120, snapshot_every=20),
        ("P8",),
    ),
    (
        "halt-forgotten",
        ForgetsAHalt,
        _runner(ForgetsAHalt),
        _with(crashes=4, crash_points=("time",), halts=3, bars=120),
        ("P7 halts hold", "P8"),
    ),
    (
        "protections-forgotten",
        ForgetsItsProtections,
        _runner(ForgetsItsProtections),
        _with(crashes=3, crash_points=("time",), loose=False, bars=180),
        ("P8",),
    ),
)

CANARIES: dict[str, Canary] = {
    name: _canary(name, parts, bias, *caught_by, of=source) for name, source, parts, bias, caught_by in _SETS
}
