"""The one order of things in replayed time, shared by the venue and the backtester.

If two programs that replay the same bars disagree on what comes first at 10:31:00, their books drift
apart. So the order is a contract, and this module is its only author. At each moment T:

    1. The bars that end at T meet the orders (``close_bar``), in the order of their symbols' names.
    2. Orders whose time ends at T expire. If T is the close of the account's session, the account's
       worth is noted as its last equity.
    3. The bars become visible, all in one step, in the order of their symbols' names.
    4. Whoever trades reacts; what is submitted now rests.
    5. The bars that begin at T have their first trade (``open_bar``), one step for each symbol, by name.
       A symbol without open orders has no such step: nobody could see it. The next one is looked for
       anew after every step, so that an order which a fill at T's first opening causes still meets T's
       later openings, and none that are over.

A caller has its own business at certain moments, such as timers: the *limit*. A limit at T comes before
everything above, for T. ``advance(limit)`` therefore does the next step if it lies strictly before the
limit, and else only moves time to the limit.

Expiry without a bar that ends then (a gap in the data) is a step of its own, with no bars. The replay is
done when the last bar has ended, and nothing happens after that: what is open stays open.

From the moment at which a symbol's first bar begins its open is the symbol's last price, so that orders can be valued before
that bar has ended. Before, it has none: nobody can know it.

Bars with volume 0 are steps and visible like any others; the engine fills nothing in them, since nobody
traded in that minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from holdfast.model.enums import AssetClass
from holdfast.model.errors import DataError
from holdfast.model.market import Bar
from holdfast.model.series import BarSeries
from holdfast.time import Sessions, sessions_for
from holdfast.venue.market.tape import Tape

__all__ = ["Market", "Replay", "Step", "TimedMarket", "account_class_of"]

_NEVER: Final = 1 << 63

StepKind = Literal["close", "open", "tick", "expiry", "limit"]

# Shows ``bars[start:stop]`` one after the other; answers with the index after the last one shown, and whether to stop.
Show = Callable[[Sequence[Bar], int, int], tuple[int, bool]]


class Step(msgspec.Struct, frozen=True, gc=False):
    """What one call of ``advance`` did.

    Attributes:
        now: The moment at which it happened (UTC ns).
        bars: The bars that became visible; empty unless ``kind`` is ``close``.
        kind: ``close`` of bars, ``open`` of one bar, ``tick`` of one symbol, ``expiry`` of orders between bars, or
            ``limit``: only time moved.
    """

    now: int
    bars: tuple[Bar, ...]
    kind: StepKind


class TimedMarket(Protocol):
    """What time does to every market that is replayed, whatever its orders meet."""

    @property
    def open_count(self) -> int:
        """How many orders are open."""
        ...

    def set_periods(self, periods: Mapping[str, int]) -> None:
        """The length of each symbol's bars (ns)."""
        ...

    def has_open(self, symbol: str) -> bool:
        """Whether an order in the symbol is open."""
        ...

    def next_expiry(self) -> int | None:
        """When the next open order expires."""
        ...

    def expire_day_orders(self, now: int) -> None:
        """Expire what was good until now."""
        ...

    def end_session(self) -> None:
        """The account's session has closed."""
        ...


class Market(TimedMarket, Protocol):
    """What a replay drives: a ``MatchingEngine``, or several that look like one.

    Attributes:
        prices: Last prices by symbol; the replay writes those with which it begins.
    """

    prices: dict[str, float]

    def open_bar(self, symbol: str, now: int, price: float, volume: float) -> None:
        """The first trade of a bar."""
        ...

    def close_bars(self, bars: Sequence[Bar], now: int) -> None:
        """The ends of all bars of a moment."""
        ...


def account_class_of(symbols: Iterable[str]) -> AssetClass:
    """Whose sessions are an account's days: those of equities, if any symbol has no slash."""
    return AssetClass.CRYPTO if all("/" in symbol for symbol in symbols) else AssetClass.US_EQUITY


class Replay:
    """Bars of many symbols, merged, driving a market. See the module's first lines for the order of things.

    Attributes:
        now: The replay's time (UTC ns). It starts when the first bar begins. Read only.
        next_close: When the next bars end (UTC ns); None when done. Read only.

    Args:
        engine: What the bars meet.
        series: The bars, by symbol. Periods may differ.
        sessions: Gives the sessions of an asset class; the account's day ends at their closes.
        account_class: Whose sessions are the account's days. By default those of equities, if any symbol has no slash.
        position: Where to go on, from ``Replay.position``; the engine must be in the state that belongs to it.

    Raises:
        DataError: There are no bars, a series is filed under another symbol's name, or the position is not of these bars.
    """

    def __init__(
        self,
        engine: Market,
        series: Mapping[str, BarSeries],
        sessions: Callable[[AssetClass], Sessions] = sessions_for,
        *,
        account_class: AssetClass | None = None,
        position: Sequence[int] | None = None,
    ) -> None:
        self._engine = engine
        engine.set_periods({symbol: bars.period for symbol, bars in series.items()})
        self._tape = tape = Tape(series)
        self._sessions = sessions(account_class or account_class_of(series))
        self._is_single = len(tape.names) == 1
        self._period = series[tape.names[0]].period  # of a single symbol's bars
        # The first openings of the symbols that have not begun to trade, the next one last, and when that is.
        self._firsts = sorted(tape.first_openings(), reverse=True)
        self._first_at = _NEVER

        if position is None:
            self.now = int(tape.begins[0])
            closed = self._opened = 0
            self._session_close = self._sessions.at(self.now).close
            self._tell_first_prices()
        else:
            self.now, closed, self._opened, self._session_close = (int(part) for part in position)
            if not (0 <= closed <= tape.moments and 0 <= self._opened <= len(tape.begins)):
                message = f"the position {list(position)} does not belong to these {len(tape.begins)} bars"
                raise DataError(message)
            # What has begun by then has its price in the state that belongs to the position.
            self._firsts = [first for first in self._firsts if tape.begins.item(first) > self.now]
            self._first_at = tape.begins.item(self._firsts[-1]) if self._firsts else _NEVER
        self._bars: list[Bar] = []  # a chunk: the bars of the next moments
        self._cuts: list[int] = []  # where in the chunk each of those moments begins; not kept for a single symbol
        self._chunk_start = closed  # the chunk's first moment
        self._index = 0  # how many moments of the chunk are closed
        self._coast_end = 0  # where in the chunk coasting ends; for several symbols it never begins
        self.next_close: int | None = None
        self._await_session_close(self._session_close)
        self._load()

    @property
    def done(self) -> bool:
        """Whether the last bar has ended."""
        return self.next_close is None

    @property
    def position(self) -> tuple[int, int, int, int]:
        """Where the replay is: now, moments closed, openings passed, the session close that is awaited."""
        return self.now, self._closed, self._passed(), self._session_close

    @property
    def session_close(self) -> int:
        """The close of the account's session that is awaited (UTC ns)."""
        return self._session_close

    def next_at(self) -> int | None:
        """When the next step happens (UTC ns); None when done."""
        if self._engine.open_count and self.next_close is not None:
            return self._next_with_orders(self.next_close)[0]
        return self.next_close

    def advance(self, limit: int | None = None) -> Step:
        """Do the next step, if it lies before ``limit``; else only move time there.

        A limit in the past moves nothing. Without limit, and when done, nothing happens either.
        """
        at = self.next_close
        kind: StepKind = "close"
        opening = 0
        if at is not None and self._engine.open_count:
            at, kind, opening = self._next_with_orders(at)
        if at is None or (limit is not None and limit <= at):
            if limit is not None and limit > self.now:
                self._move(limit)
            return Step(self.now, (), "limit")
        self._move(at)
        if kind == "open":
            self._open(opening)
            return Step(at, (), kind)
        bars: tuple[Bar, ...] = ()
        if kind == "close":
            bars = self._close_moment()
            self._engine.close_bars(bars, at)
        if self._engine.open_count:
            self._engine.expire_day_orders(at)
        if at == self._session_close:
            self._engine.end_session()
            self._await_session_close(self._sessions.at(at).close)
        return Step(at, bars, kind)

    def bars_begun(self, symbol: str) -> int:
        """How many bars of a symbol have begun, the one that begins at this moment if its first trade is over."""
        return self._tape.begun(symbol, self._passed())

    def revise(self, series: BarSeries) -> None:
        """Let other prices and volumes take the place of a symbol's recorded ones. The times must be the same."""
        self._tape.revise(series)
        self._load()

    def open_at_once(self) -> bool:
        """The first trade of a bar that begins at this very moment, where that is the next step; returns whether it was.

        It is ``advance`` for whoever has coasted here, may have sent an order, and has no limit at this moment: all that
        is open came at this moment, so that nothing expires at it. Markets of several symbols are left to ``advance``.
        """
        opening = self._chunk_start + self._index
        if (
            not self._engine.open_count
            or not self._is_single
            or self.next_close != self.now + self._period
            or self._opened > opening
        ):
            return False
        self._open(opening)
        return True

    def coast(self, show: Show) -> bool:
        """Show bar after bar while nothing else can happen: the same as ``advance`` without orders, and much quicker.

        Only for a caller without a limit, whose market has no open order. Stops where ``show`` says so, so that the
        caller can act before time moves on; and at the end of the data. Markets of several symbols, and the moment of
        a session's close, are left to ``advance``.

        Args:
            show: Called with stretches of bars. The replay's own ``now`` stands still meanwhile; the bar's ``ts`` is
                the time. The market hears of the last bar of each: that is its price, and the end of the bar in progress.

        Returns:
            Whether ``show`` said to stop.
        """
        while self._index < self._coast_end:
            bars = self._bars
            shown, stopped = show(bars, self._index, self._coast_end)
            last = bars[shown - 1]
            self.now = last.ts
            self._engine.close_bars((last,), last.ts)
            self._index = shown
            if shown == len(bars):
                self._load()
            else:
                self.next_close = bars[shown].ts
            if stopped:
                return True
        return False

    @property
    def _closed(self) -> int:
        """How many moments are closed."""
        return self._chunk_start + self._index

    def _tell_first_prices(self) -> None:
        """What has begun to trade has a price from then on: orders can be valued before a bar has ended."""
        tape, firsts = self._tape, self._firsts
        while firsts and tape.begins.item(firsts[-1]) <= self.now:
            symbol, _, price, _ = tape.opening(firsts.pop())
            self._engine.prices.setdefault(symbol, price)
        self._first_at = tape.begins.item(firsts[-1]) if firsts else _NEVER

    def _close_moment(self) -> tuple[Bar, ...]:
        """The bars of the next moment, which is over with this."""
        index = self._index
        self._index = index + 1
        bars = self._bars
        if self._is_single:
            closing: tuple[Bar, ...] = (bars[index],)
            after = index + 1
        else:
            after = self._cuts[index + 1]
            closing = tuple(bars[self._cuts[index] : after])
        if after == len(bars):
            self._load()
        else:
            self.next_close = bars[after].ts
        return closing

    def _open(self, opening: int) -> None:
        """The first trade of a bar."""
        self._opened = opening + 1
        if self._is_single:
            bar = self._bars[self._index]
            self._engine.open_bar(bar.symbol, self.now, bar.open, bar.volume)
        else:
            self._engine.open_bar(*self._tape.opening(opening))

    def _await_session_close(self, close: int) -> None:
        self._session_close = close
        self._session_end = self._tape.moments_before(close)
        self._set_coast_end()

    def _move(self, to: int) -> None:
        """Move time. A session close that was passed without a step happens on the way, at the prices of then."""
        if to > self._session_close:
            self._engine.end_session()
            self._await_session_close(self._sessions.at(to - 1).close)
        self.now = to
        if to >= self._first_at:
            self._tell_first_prices()

    def _next_with_orders(self, close: int) -> tuple[int, StepKind, int]:
        """The next step while orders are open: an expiry, an opening before the next close, or that close."""
        expiry = self._engine.next_expiry()
        opening = self._next_opening(close if expiry is None or expiry > close else expiry)
        if opening is not None:
            return self._tape.begins.item(opening), "open", opening
        if expiry is not None and expiry < close:
            # An order can be accepted with an expiry in the past only by a caller whose clock runs behind.
            return max(expiry, self.now), "expiry", 0
        return close, "close", 0

    def _next_opening(self, before: int) -> int | None:
        """The first opening that is still to come, before this moment, in a symbol with open orders."""
        tape, has_open = self._tape, self._engine.has_open
        if self._is_single:
            # One symbol: the only opening before the next close is that of the bar which is next to end.
            first = self._closed
            is_ahead = self._opened <= first and self.now <= tape.begins.item(first) < before
            return first if is_ahead and has_open(tape.names[0]) else None
        begins, ranks, names = tape.begins, tape.opening_ranks, tape.names
        first = self._passed()
        if first == len(begins) or begins.item(first) >= before:
            return None
        if has_open(names[ranks.item(first)]):
            return first
        stop = int(begins.searchsorted(before))
        for index, rank in enumerate(ranks[first + 1 : stop].tolist(), first + 1):
            if has_open(names[rank]):
                return index
        return None

    def _passed(self) -> int:
        """How many openings are over: all that began before now, and of those at this moment the ones done."""
        # A bar that has ended began before now, so at least as many openings are over; often no more.
        passed = max(self._opened, self._tape.rows_ended(self._closed))
        begins = self._tape.begins
        if passed < len(begins) and begins.item(passed) < self.now:
            passed = max(passed, int(begins.searchsorted(self.now)))
        self._opened = passed
        return passed

    def _load(self) -> None:
        """Make the bars of the next moments."""
        self._chunk_start, self._index = self._closed, 0
        self._bars, self._cuts = self._tape.chunk(self._chunk_start)
        self.next_close = self._bars[0].ts if self._bars else None
        self._set_coast_end()

    def _set_coast_end(self) -> None:
        """Coasting ends with the chunk, or before the moment at which the session closes."""
        if self._is_single:
            self._coast_end = min(len(self._bars), self._session_end - self._chunk_start)
