"""All protections together: one question, one answer, and what observers would have said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Any

import msgspec

from holdfast.model import ClosedTrade, GuardMode
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.risk.protections.base import (
    NOT_PROTECTED,
    EquityProtection,
    Hold,
    Protection,
    ProtectionResult,
    ProtectionTrigger,
    moment_ns,
)
from holdfast.risk.protections.cooldown import CooldownPeriod
from holdfast.risk.protections.daily_loss import DailyLossLimit
from holdfast.risk.protections.drawdown import MaxDrawdown
from holdfast.risk.protections.low_profit import LowProfitSymbols
from holdfast.risk.protections.stoploss import StoplossGuard
from holdfast.risk.protections.trades import Close, closes_between
from holdfast.time import Clock

# Of the distance to the nearest floor, the share that new highs may use up before the protections are told of them.
_HEADROOM = 0.25
_NOT_HELD: tuple[ProtectionResult, tuple[str, ...]] = (NOT_PROTECTED, ())


class ProtectionsState(msgspec.Struct, frozen=True, kw_only=True):
    """What the protections have seen and said, as it is written; ``watchers`` are those that watch the equity."""

    quiet_until: int
    quiet_low: float
    quiet_top: float
    quiet_highest: float
    unheard: float | None
    watchers: tuple[tuple[str, dict[str, Any]], ...]
    last: dict[str, Hold]
    blocks: dict[str, int]


class ProtectionManager:
    """Asks every protection that is not off.

    Of several enforcing ones that protect, the answer is the one that holds longest (no known end is the longest;
    of equals the first): its ``until`` is when trading can really resume.

    Args:
        protections: In the order in which they are asked. Names must differ.
        clock: Asked where ``check`` is given no ``now``; default: real time.

    Attributes:
        lookback_ns: How long after its close a trade can still matter (ns), given that the equity is observed.

    Raises:
        ConfigurationError: Two protections have the same name.
    """

    def __init__(self, protections: Iterable[Protection] = (), *, clock: Clock | None = None) -> None:
        self.protections = tuple(protections)
        self._clock = clock
        names = [protection.name for protection in self.protections]
        for name in names:
            if names.count(name) > 1:
                message = f"two protections are named {name!r}; give one another name"
                raise ConfigurationError(message)
        asked = [protection for protection in self.protections if protection.mode is not GuardMode.OFF]
        self._by_equity = [protection for protection in asked if isinstance(protection, EquityProtection)]
        self._by_trades = [protection for protection in asked if not isinstance(protection, EquityProtection)]
        self.lookback_ns = max((protection.lookback_ns for protection in self._by_trades), default=0)
        # An observation before ``quiet_until`` and between the two levels changes nothing but the last and the highest
        # equity known: whoever observes once a bar may skip it, if he raises ``quiet_highest`` to it where it is higher,
        # and tells the last one before asking.
        self.quiet_until, self.quiet_low, self.quiet_top = 0, inf, -inf
        self.quiet_highest = -inf
        self._unheard: float | None = None  # the last quiet observation that the protections were not told
        self._last: dict[str, Hold] = {}
        self._blocks: dict[str, int] = {}

    def quiet(self) -> tuple[float, float, int, float]:
        """``quiet_low``, ``quiet_top``, ``quiet_until`` and ``quiet_highest``."""
        return self.quiet_low, self.quiet_top, self.quiet_until, self.quiet_highest

    def observe_equity(self, now_ns: int, equity: float, *, before: float | None = None) -> None:
        """Tell the protections that watch the equity (USD) at a moment (UTC ns).

        ``before`` is the level just before, for a caller that skips quiet observations.
        """
        if self.quiet_low < equity < self.quiet_top and now_ns < self.quiet_until:
            if equity > self.quiet_highest:  # noqa: PLR1730 - on every fill and every opening; max() costs three times as much
                self.quiet_highest = equity
            self._unheard = equity
            return
        self._tell_unheard(before)
        until, low, kept = 1 << 62, -inf, 0.0
        for protection in self._by_equity:
            its_until, its_low, its_kept = protection.observe_equity(now_ns, equity)
            until = min(until, its_until)
            low = max(low, its_low)
            kept = max(kept, its_kept)
        # Room for new highs: up to the top, no high can lift a floor above the low that goes with the top.
        self.quiet_top = top = equity + abs(equity) * (1.0 - kept) * _HEADROOM
        self.quiet_low = max(low, top * kept)
        self.quiet_until = until
        self.quiet_highest = equity

    def _tell_unheard(self, last: float | None = None) -> None:
        """The last and the highest of the quiet observations, to those who watch the equity."""
        if last is None:
            last = self._unheard
        if last is not None:
            highest = self.quiet_highest
            for protection in self._by_equity:
                protection.level(last, max(last, highest))
        self._unheard = None

    def check(
        self,
        *,
        symbol: str,
        current_trades: Any = (),
        completed_trades: Iterable[Any] = (),
        now: datetime | int | None = None,
    ) -> ProtectionResult:
        """Whether a new position in ``symbol`` may be opened. See ``Protection.check`` for the arguments."""
        return self.check_all(symbol=symbol, current_trades=current_trades, completed_trades=completed_trades, now=now)[
            0
        ]

    def check_all(
        self,
        *,
        symbol: str,
        current_trades: Any = (),
        completed_trades: Iterable[Any] = (),
        now: datetime | int | None = None,
    ) -> tuple[ProtectionResult, tuple[str, ...]]:
        """The same, and what observing protections would have blocked, each as ``name: reason``."""
        if not hasattr(completed_trades, "__len__"):
            completed_trades = tuple(completed_trades)  # several will read it
        now_ns = now if isinstance(now, int) else moment_ns(now, self._clock)
        closes: Sequence[Any] = ()
        unreadable: Hold | None = None
        if completed_trades and self._by_trades:
            try:
                closes = closes_between(completed_trades, now_ns - self.lookback_ns, now_ns)
            except DataError as error:
                unreadable = Hold(f"cannot judge: {error}", None, ProtectionTrigger.MISSING_DATA)
        return self.judge(symbol, completed_trades, closes, now_ns, unreadable)

    def judge(
        self,
        symbol: str,
        trades: Iterable[Any],
        closes: Sequence[ClosedTrade | Close],
        now: int,
        unreadable: Hold | None = None,
    ) -> tuple[ProtectionResult, tuple[str, ...]]:
        """``check_all`` for a caller that has read the trades.

        Args:
            symbol: What would be traded.
            trades: All trades, for protections that watch the equity and were told of none.
            closes: Those that closed in ``(now - lookback_ns, now]``, oldest first.
            now: UTC ns.
            unreadable: Why the trades could not be read: it holds for every protection that judges by trades.
        """
        if self._unheard is not None:
            self._tell_unheard()
        holds: list[tuple[Protection, Hold]] | None = None
        for watcher in self._by_equity:
            hold = watcher.judge_trades(symbol, trades, now)
            if hold is not None:
                holds = [*(holds or ()), (watcher, hold)]
        if closes or unreadable is not None:
            for protection in self._by_trades:
                hold = unreadable or protection.judge(symbol, closes, now)
                if hold is not None:
                    holds = [*(holds or ()), (protection, hold)]
        return _NOT_HELD if holds is None else self._settle(holds)

    def _settle(self, holds: list[tuple[Protection, Hold]]) -> tuple[ProtectionResult, tuple[str, ...]]:
        observed: list[str] = []
        longest: Hold | None = None
        name = ""
        for protection, hold in holds:
            self._last[protection.name] = hold
            self._blocks[protection.name] = self._blocks.get(protection.name, 0) + 1
            if protection.mode is GuardMode.OBSERVE:
                observed.append(f"{protection.name}: {hold.reason}")
            elif hold.outlasts(longest):
                longest, name = hold, protection.name
        return NOT_PROTECTED if longest is None else longest.result(name), tuple(observed)

    def get_all_statuses(self) -> dict[str, dict[str, Any]]:
        """Every protection by name: its mode, scope, settings, how often it held, and its last hold."""
        statuses: dict[str, dict[str, Any]] = {}
        for protection in self.protections:
            last = self._last.get(protection.name)
            result = None if last is None else last.result(protection.name)
            statuses[protection.name] = {
                "trigger": protection.trigger.value,
                "mode": protection.mode.value,
                "scope": "symbol" if protection.per_symbol else "global",
                "settings": {key: _plain(value) for key, value in protection.settings().items()},
                "blocks": self._blocks.get(protection.name, 0),
                "last_reason": None if result is None else result.reason,
                "last_until": None if result is None or result.until is None else result.until.isoformat(),
            }
        return statuses

    def export_state(self) -> ProtectionsState:
        """All that was observed and answered, in its written form."""
        return ProtectionsState(
            quiet_until=self.quiet_until,
            quiet_low=self.quiet_low,
            quiet_top=self.quiet_top,
            quiet_highest=self.quiet_highest,
            unheard=self._unheard,
            watchers=tuple((protection.name, protection.export_state()) for protection in self._by_equity),
            last=dict(self._last),
            blocks=dict(self._blocks),
        )

    def import_state(self, state: ProtectionsState) -> None:
        """Continue from what was written.

        Raises:
            DataError: It is that of other protections.
        """
        names = [protection.name for protection in self._by_equity]
        written = [name for name, _ in state.watchers]
        if names != written:
            message = f"the state is that of the protections {written}; these are {names}"
            raise DataError(message)
        for protection, (_, seen) in zip(self._by_equity, state.watchers, strict=True):
            protection.import_state(seen)
        self.quiet_until, self.quiet_low, self.quiet_top = state.quiet_until, state.quiet_low, state.quiet_top
        self.quiet_highest, self._unheard = state.quiet_highest, state.unheard
        self._last, self._blocks = dict(state.last), dict(state.blocks)


_DEFAULTS: dict[str, tuple[type[Protection], dict[str, Any]]] = {
    "stoploss_guard": (
        StoplossGuard,
        {"max_stoplosses": 3, "lookback_period": timedelta(hours=1), "cooldown_duration": timedelta(hours=1)},
    ),
    "max_drawdown": (
        MaxDrawdown,
        {"max_drawdown": 0.1, "lookback_period": timedelta(days=1), "cooldown_duration": timedelta(hours=4)},
    ),
    "cooldown_period": (CooldownPeriod, {"cooldown_duration": timedelta(minutes=5)}),
    "daily_loss_limit": (DailyLossLimit, {"max_loss_fraction": 0.05}),
}
_OPTIONAL: dict[str, type[Protection]] = {"low_profit_symbols": LowProfitSymbols}


def create_default_protections(*, clock: Clock | None = None, **overrides: dict[str, Any] | None) -> ProtectionManager:
    """The usual protections, all enforcing.

    Three stop-losses within an hour pause an hour; ten percent below the day's peak pauses four hours; five minutes'
    pause in a symbol after each trade; five percent lost in a UTC day ends the day.

    Args:
        clock: Asked where ``check`` is given no ``now``; default: real time.
        **overrides: By name (``stoploss_guard``, ``max_drawdown``, ``cooldown_period``, ``daily_loss_limit``;
            ``low_profit_symbols`` is added only if named): keyword arguments that replace the defaults, or ``None``
            to leave the protection out.

    Raises:
        ConfigurationError: A name, an argument or a value is wrong.
    """
    kinds = {**{name: kind for name, (kind, _) in _DEFAULTS.items()}, **_OPTIONAL}
    for name in overrides:
        if name not in kinds:
            message = f"there is no protection {name!r}; expected one of {', '.join(kinds)}"
            raise ConfigurationError(message)
    protections: list[Protection] = []
    for name, kind in kinds.items():
        override = overrides.get(name, {} if name in _DEFAULTS else None)
        if override is None:
            continue
        defaults = _DEFAULTS[name][1] if name in _DEFAULTS else {}
        try:
            protections.append(kind(clock=clock, **{**defaults, **override}))
        except TypeError as error:
            message = f"protection {name}: {error}"
            raise ConfigurationError(message) from None
    return ProtectionManager(protections, clock=clock)


def _plain(value: Any) -> Any:
    """A setting as JSON can carry it: durations in seconds, amounts as text."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
