"""What a protection is, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, NoReturn

import msgspec

from holdfast.model import ClosedTrade, GuardMode
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.timestamps import delta_ns, to_datetime, to_ns
from holdfast.risk.protections.trades import Close, closes_between
from holdfast.time import Clock, RealTimeClock

# Before every moment of which we speak; the start of "everything so far".
BEGINNING_OF_TIME = -(1 << 62)


class ProtectionTrigger(StrEnum):
    """Which rule protects."""

    NONE = "none"
    STOPLOSS_GUARD = "stoploss_guard"
    MAX_DRAWDOWN = "max_drawdown"
    COOLDOWN_PERIOD = "cooldown_period"
    LOW_PROFIT_SYMBOLS = "low_profit_symbols"
    DAILY_LOSS_LIMIT = "daily_loss_limit"
    MISSING_DATA = "missing_data"  # the trades or the equity cannot be read, so nothing new is opened


class ProtectionResult(msgspec.Struct, frozen=True, gc=False):
    """The answer of a protection or of all of them.

    It has no truth value: ``if manager.check(...)`` would be true for every answer, so it is an error.

    Attributes:
        is_protected: True where no new position may be opened now.
        reason: Why, in a sentence with the numbers.
        until: When trading may resume (UTC); ``None`` where no time is known.
        trigger: Which rule; ``NONE`` where nothing protects.
        name: Which protection, by its name.
    """

    is_protected: bool
    reason: str = ""
    until: datetime | None = None
    trigger: ProtectionTrigger = ProtectionTrigger.NONE
    name: str = ""

    def __bool__(self) -> NoReturn:
        message = "a ProtectionResult is neither true nor false: ask .is_protected"
        raise TypeError(message)


NOT_PROTECTED = ProtectionResult(is_protected=False)


class Hold(msgspec.Struct, frozen=True, gc=False):
    """A reason to open nothing now, and until when (UTC ns; ``None``: no time is known)."""

    reason: str
    until: int | None
    trigger: ProtectionTrigger

    def outlasts(self, other: Hold | None) -> bool:
        """True where this one holds longer. No known end is the longest."""
        if other is None:
            return True
        return other.until is not None and (self.until is None or self.until > other.until)

    def result(self, name: str) -> ProtectionResult:
        """The hold as a public answer."""
        until = None if self.until is None else to_datetime(self.until)
        return ProtectionResult(is_protected=True, reason=self.reason, until=until, trigger=self.trigger, name=name)


class Protection(ABC):
    """One circuit breaker. Usable alone, and in a ``ProtectionManager``.

    Args:
        name: What statuses and verdicts call it; default: the trigger's value.
        mode: ``off`` is never asked, ``observe`` only recorded, ``enforce`` blocks. Alone, ``check`` answers in every
            mode but ``off``: what to do about it is the caller's.
        per_symbol: True where a symbol's trades protect that symbol only; False where all trades protect all symbols.
        clock: Asked where ``check`` is given no ``now``; default: real time.
    """

    trigger: ClassVar[ProtectionTrigger]

    def __init__(
        self,
        *,
        name: str = "",
        mode: GuardMode | str = GuardMode.ENFORCE,
        per_symbol: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.name = name or self.trigger.value
        self.mode = guard_mode(mode, self.name)
        self.per_symbol = per_symbol
        self._clock = clock

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self.settings().items())
        return f"{type(self).__name__}({settings})"

    @property
    @abstractmethod
    def lookback_ns(self) -> int:
        """How long after its close a trade can still matter to the answer (ns)."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The parameters, for people."""

    @abstractmethod
    def judge(self, symbol: str, closes: Sequence[ClosedTrade | Close], now: int) -> Hold | None:
        """Whether to hold back from opening in ``symbol`` at ``now`` (UTC ns).

        ``closes`` holds at least the trades of all symbols that closed in ``(now - lookback_ns, now]``, oldest first.
        """

    def judge_trades(self, symbol: str, trades: Iterable[Any], now: int) -> Hold | None:
        """The same from trades as anyone has them; one that cannot be read holds.

        Raises nothing for bad trades: a guard that cannot judge answers that it cannot.
        """
        try:
            closes = closes_between(trades, now - self.lookback_ns, now)
        except DataError as error:
            return Hold(f"cannot judge: {error}", None, ProtectionTrigger.MISSING_DATA)
        return self.judge(symbol, closes, now)

    def check(
        self,
        *,
        symbol: str,
        completed_trades: Iterable[Any] = (),
        current_trades: Any = (),
        now: datetime | int | None = None,
    ) -> ProtectionResult:
        """Whether a new position in ``symbol`` may be opened.

        Args:
            symbol: What would be traded.
            completed_trades: Closed trades of all symbols, in any order (see ``holdfast.risk.protections.trades``).
            current_trades: Open positions; taken for the caller's convenience, no rule needs them.
            now: Aware datetime or UTC ns; ``None`` asks the clock.
        """
        if self.mode is GuardMode.OFF:
            return NOT_PROTECTED
        hold = self.judge_trades(symbol, completed_trades, moment_ns(now, self._clock))
        return NOT_PROTECTED if hold is None else hold.result(self.name)


# Where an observation changes nothing but the last and the highest equity known: before a moment (UTC ns), and above a
# level (USD) that rises to a share of each new high. A plain tuple, because one is made for every observation that counts.
Quiet = tuple[int, float, float]


class EquityProtection(Protection):
    """A protection that watches the account's equity, and reads trades only as long as it was told of none."""

    @abstractmethod
    def level(self, equity: float, highest: float) -> None:
        """The last and the highest of the observations that were skipped."""

    @abstractmethod
    def observe_equity(self, now_ns: int, equity: float) -> Quiet:
        """The account was worth ``equity`` USD at ``now_ns`` (UTC ns, not before the last observation).

        Returns:
            Which next observations a caller may skip, if it tells the last of them by ``level`` before one that it
            may not.
        """

    @abstractmethod
    def export_state(self) -> dict[str, Any]:
        """All that was observed, as plain values, for a snapshot."""

    @abstractmethod
    def import_state(self, state: dict[str, Any]) -> None:
        """Continue from an exported state."""


# -- Arguments, checked alike everywhere ---------------------------------------------------------------------


def guard_mode(mode: GuardMode | str, name: str) -> GuardMode:
    """The mode that a word means.

    Raises:
        ConfigurationError: There is no such mode.
    """
    try:
        return GuardMode(mode)
    except ValueError:
        message = f"{name}: mode must be one of {', '.join(GuardMode)}, got {mode!r}"
        raise ConfigurationError(message) from None


def moment_ns(now: datetime | int | None, clock: Clock | None) -> int:
    """A moment in UTC ns; ``None`` asks the clock (default: real time)."""
    if now is None:
        return (clock or RealTimeClock()).now_ns()
    return now if isinstance(now, int) else to_ns(now)


def duration_ns(duration: Any, name: str) -> int:
    """A positive duration in ns.

    Raises:
        ConfigurationError: It is not a positive timedelta.
    """
    if not isinstance(duration, timedelta) or duration <= timedelta(0):
        message = f"{name} must be a positive timedelta, got {duration!r}"
        raise ConfigurationError(message)
    return delta_ns(duration)


def positive_count(count: Any, name: str) -> int:
    """A whole number of at least one.

    Raises:
        ConfigurationError: It is not.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        message = f"{name} must be a whole number of at least 1, got {count!r}"
        raise ConfigurationError(message)
    return count


def proper_fraction(fraction: float, name: str) -> float:
    """A fraction above 0 and at most 1 (0.05 is five percent).

    Raises:
        ConfigurationError: It is not.
    """
    number = float(fraction)
    if not 0.0 < number <= 1.0:
        message = f"{name} must be a fraction above 0 and at most 1 (0.05 is five percent), got {fraction!r}"
        raise ConfigurationError(message)
    return number
