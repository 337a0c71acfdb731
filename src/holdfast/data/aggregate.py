"""Bars built from trades: the same rules for a live stream and for history.

A bar of a period holds the trades made in ``[start, start + period)``; starts are whole periods since midnight UTC. A minute
in which nothing set a price has no bar. Open and close are the first and last price that may set them (see
``sale_conditions``), high and low likewise; volume, vwap and the number of trades count what counts for the volume. Trades of
one moment keep the order in which they came.

Trades come late, are corrected and are cancelled. So the trades of the last bars are kept, and a bar is always computed
from its trades: there is one way to make a bar, and a revised bar is what it would have been had all been known at
once. Sums are exactly rounded (``math.fsum``), so they do not depend on the order either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from holdfast.data.sale_conditions import Effect, Sets, effect_of
from holdfast.data.tables import BarTable
from holdfast.data.timeframes import asset_class_of
from holdfast.model.errors import ConfigurationError
from holdfast.model.market import Bar, Trade
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND
from holdfast.time import sessions_for


class BuiltBar(NamedTuple):
    """A bar made of trades.

    Attributes:
        start: Where it begins (UTC ns).
        open, high, low, close: Prices; NaN where the bar is void.
        volume: What was traded.
        vwap: The volume-weighted average price; NaN where nothing counts for the volume.
        trades: How many trades count for the volume.
        is_revision: It was given out before, with other numbers.
        is_void: It was given out before, and nothing is left of it.
    """

    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    trades: int
    is_revision: bool = False
    is_void: bool = False

    def to_bar(self, symbol: str, period: int) -> Bar:
        """For a strategy."""
        return Bar(self.start + period, symbol, self.open, self.high, self.low, self.close, self.volume)


class AggregateStats(msgspec.Struct):
    """What was seen.

    Attributes:
        trades: Trades taken, corrections not counted.
        duplicates: Trades that came again, and were not counted again.
        late: Trades for a bar that had been given out, which was then revised.
        too_late: Trades, corrections and cancels for a bar that is no longer kept: nothing was changed.
        corrections: Trades that were corrected.
        cancels: Trades that were cancelled.
        unknown: Corrections and cancels of trades that are not known.
        revisions: Bars that were given out again.
        unpriced: Periods that had trades and no price, hence no bar.
    """

    trades: int = 0
    duplicates: int = 0
    late: int = 0
    too_late: int = 0
    corrections: int = 0
    cancels: int = 0
    unknown: int = 0
    revisions: int = 0
    unpriced: int = 0


class TradeBars:
    """Makes bars of one symbol. Feed it trades; it gives back the bars that are finished or revised by them.

    Args:
        symbol: Whose trades.
        period: Length of a bar (ns); a day must be a whole number of them.
        keep: How many periods back a trade may still revise its bar; ``None`` keeps all (history).
        in_session: Whether a moment (UTC ns) lies in the regular session; default: the market's calendar.

    Raises:
        ConfigurationError: The period does not divide a day.
    """

    def __init__(
        self,
        symbol: str,
        period: int = NS_PER_MINUTE,
        *,
        keep: int | None = 5,
        in_session: Callable[[int], bool] | None = None,
    ) -> None:
        if period <= 0 or NS_PER_DAY % period:
            message = f"bars of {period / NS_PER_SECOND:g} s cannot be built: a day is no whole number of them"
            raise ConfigurationError(message)
        self._symbol, self._period, self._keep = symbol, period, keep
        self._in_session = in_session or sessions_for(asset_class_of(symbol)).is_open
        self._trades: dict[int, list[Trade]] = {}  # by the start of their bar, as they came
        self._given: dict[int, BuiltBar] = {}  # what was given out of the periods that are kept
        self._bar_of: dict[tuple[str, str], int] = {}  # (exchange, id) of a trade -> its bar
        self._done = -(2**63)  # the bars before it are finished
        self.stats = AggregateStats()

    def add(self, trade: Trade) -> list[BuiltBar]:
        """Take a trade. Gives the bars before it that were open, or its own bar again where that was given out."""
        start = trade.ts - trade.ts % self._period
        key = (trade.exchange, trade.id)
        if trade.id and key in self._bar_of:
            self.stats.duplicates += 1
            return []
        if self._is_forgotten(start):
            self.stats.too_late += 1
            return []
        self.stats.trades += 1
        finished = self.finish(start)
        self._put(start, trade)
        if start < self._done:
            self.stats.late += 1
            return finished + self._revised(start)
        return finished

    def correct(self, exchange: str, id_: str, trade: Trade) -> list[BuiltBar]:
        """Another trade takes the place of a known one; it may belong to another bar."""
        if (start := self._take(exchange, id_)) is None:
            return []
        self.stats.corrections += 1
        now = trade.ts - trade.ts % self._period
        if self._is_forgotten(now):
            self.stats.too_late += 1
            return self._revised(start)
        finished = self.finish(now)
        self._put(now, trade)
        return finished + [bar for at in sorted({start, now}) for bar in self._revised(at)]

    def cancel(self, exchange: str, id_: str) -> list[BuiltBar]:
        """A known trade counts no more."""
        if (start := self._take(exchange, id_)) is None:
            return []
        self.stats.cancels += 1
        return self._revised(start)

    def finish(self, until: int) -> list[BuiltBar]:
        """The bars that end at or before ``until`` and were still open: time has passed them, with or without a trade."""
        finished = []
        for start in sorted(start for start in self._trades if self._done <= start and start + self._period <= until):
            bar = self._build(start)
            if bar is None:
                self.stats.unpriced += 1
            else:
                self._given[start] = bar
                finished.append(bar)
        self._done = max(self._done, until - until % self._period)
        self._forget()
        return finished

    # ------------------------------------------------------------------ bookkeeping

    def _is_forgotten(self, start: int) -> bool:
        return self._keep is not None and start < self._done - self._keep * self._period

    def _put(self, start: int, trade: Trade) -> None:
        self._trades.setdefault(start, []).append(trade)
        if trade.id:
            self._bar_of[trade.exchange, trade.id] = start

    def _take(self, exchange: str, id_: str) -> int | None:
        start = self._bar_of.pop((exchange, id_), None)
        if start is None:
            self.stats.unknown += 1
            return None
        trades = self._trades[start]
        trades[:] = [trade for trade in trades if (trade.exchange, trade.id) != (exchange, id_)]
        return start

    def _revised(self, start: int) -> list[BuiltBar]:
        if start >= self._done:
            return []  # it is still open: nobody has seen it
        before, bar = self._given.get(start), self._build(start)
        if bar == before:
            return []
        self.stats.revisions += 1
        if bar is None:
            del self._given[start]
            nan = math.nan
            return [BuiltBar(start, nan, nan, nan, nan, 0.0, nan, 0, is_revision=True, is_void=True)]
        self._given[start] = bar
        return [bar._replace(is_revision=True)]

    def _forget(self) -> None:
        for start in [start for start in self._trades if self._is_forgotten(start)]:
            for trade in self._trades.pop(start):
                self._bar_of.pop((trade.exchange, trade.id), None)
            self._given.pop(start, None)

    # ------------------------------------------------------------------ one bar

    def _build(self, start: int) -> BuiltBar | None:
        in_session = self._in_session(start)
        trades = sorted(self._trades.get(start, ()), key=lambda trade: trade.ts)  # stable: ties as they came
        marked = [(trade, effect_of(trade.tape, trade.conditions, in_session=in_session)) for trade in trades]
        return build_bar(start, marked)


def build_bar(start: int, trades: Iterable[tuple[Trade, Effect]]) -> BuiltBar | None:
    """The bar of some trades, in order; ``None`` where none of them sets a price."""
    best: list[float] = []
    alone: list[float] = []
    extremes: list[float] = []
    sizes: list[float] = []
    values: list[float] = []
    for trade, effect in trades:
        if effect.open_close is Sets.ALWAYS:
            best.append(trade.price)
        elif effect.open_close is Sets.IF_ALONE:
            alone.append(trade.price)
        if effect.high_low:
            extremes.append(trade.price)
        if effect.volume:
            sizes.append(trade.size)
            values.append(trade.price * trade.size)
    prices = best or alone
    if not prices:
        return None
    extremes = [*extremes, prices[0], prices[-1]]
    volume = math.fsum(sizes)
    vwap = math.fsum(values) / volume if volume > 0 else math.nan
    return BuiltBar(start, prices[0], max(extremes), min(extremes), prices[-1], volume, vwap, len(sizes))


def bars_from_trades(
    trades: Iterable[Trade],
    symbol: str,
    period: int = NS_PER_MINUTE,
    *,
    in_session: Callable[[int], bool] | None = None,
) -> BarTable:
    """The bars of all these trades, in whatever order they are given. Raises as ``TradeBars``."""
    maker = TradeBars(symbol, period, keep=None, in_session=in_session)
    found: dict[int, BuiltBar] = {}
    last = 0
    for trade in trades:
        found.update((bar.start, bar) for bar in maker.add(trade))
        last = max(last, trade.ts)
    found.update((bar.start, bar) for bar in maker.finish(last - last % period + period))
    bars = [found[start] for start in sorted(found)]
    return BarTable.of(
        [bar.start for bar in bars],
        *([getattr(bar, name) for bar in bars] for name in ("open", "high", "low", "close", "volume")),
        vwap=[bar.vwap for bar in bars],
        trades=[bar.trades for bar in bars],
    )
