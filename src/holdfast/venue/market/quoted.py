"""The order of things in a market of quotes and trades: what ``replay`` is for one of bars.

At each moment T:

    1. The bars that end at T become visible, all in one step, in the order of their symbols' names. Nothing trades
       in this step; a bar's close is the last price of its symbol anyway.
    2. Orders whose time ends at T expire. If T is the close of the account's session, the account's worth is noted
       as its last equity.
    3. The ticks of T meet the orders, one step for each symbol, by name: first the quotes, then the trades.

Only a symbol with open orders has steps of ticks. Nobody could see the others, and a restart is quick because it
does not do them. What is needed of another symbol is looked up when it is needed: ``refresh`` brings one to the
present, before an order in it is judged, or an account that holds it is valued. So last prices depend on the time and
on what was asked of the venue, and never on who looked or listened.

A quote stands until the next one, and no longer than its bar: where no bar is in progress (a night, a gap in the
data) nobody quotes, and what is submitted waits for the next quote. A limit at T comes before everything above for T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from holdfast.model.enums import AssetClass
from holdfast.model.market import Bar
from holdfast.model.series import BarSeries
from holdfast.time import Sessions, sessions_for
from holdfast.venue.market.replay import Step, StepKind, TimedMarket, account_class_of
from holdfast.venue.market.tape import Tape
from holdfast.venue.market.ticks import QuoteTick, SymbolTicks

__all__ = ["QuotedMarket", "QuotedReplay"]


class QuotedMarket(TimedMarket, Protocol):
    """What the replay drives: engines that meet quotes and trades."""

    def held(self) -> Iterable[str]:
        """The symbols of all positions, each once."""
        ...

    def quote(self, symbol: str, now: int, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """The best prices from now on; zeros where nobody quotes."""
        ...

    def trade(self, symbol: str, now: int, price: float, size: float) -> None:
        """A trade of the market."""
        ...

    def mark(self, bars: Sequence[Bar]) -> None:
        """These bars have ended: their closes are the last prices."""
        ...


class QuotedReplay:
    """Ticks and bars of many symbols, merged, driving a market. See the module's first lines.

    Args:
        market: What the ticks meet.
        series: The bars, by symbol.
        ticks: What happens inside them, by symbol; every symbol has some.
        sessions: Gives the sessions of an asset class; the account's day ends at their closes.

    Raises:
        DataError: There are no bars, or a series is filed under another symbol's name.
    """

    def __init__(
        self,
        market: QuotedMarket,
        series: Mapping[str, BarSeries],
        ticks: Mapping[str, SymbolTicks],
        sessions: Callable[[AssetClass], Sessions] = sessions_for,
    ) -> None:
        self._market = market
        market.set_periods({symbol: bars.period for symbol, bars in series.items()})
        self._series = dict(series)
        self._ticks = dict(ticks)
        self._tape = tape = Tape(series)
        self._sessions = sessions(account_class_of(series))
        self._now = int(tape.begins[0])
        self._session_close = self._sessions.at(self._now).close
        self._closed = 0
        self._bars: list[Bar] = []  # a chunk: the bars of the next moments, with their ends
        self._at = 0
        # Until when the market knows the ticks of a symbol; and when the next tick is, of those with open orders.
        self._known: dict[str, int] = {}
        self._due: dict[str, int] = {}
        self._load()

    @property
    def now(self) -> int:
        """The replay's time (UTC ns). It starts when the first bar begins."""
        return self._now

    @property
    def done(self) -> bool:
        """Whether the last bar has ended."""
        return not self._bars

    @property
    def session_close(self) -> int:
        """The close that the accounts' session is awaiting (UTC ns)."""
        return self._session_close

    def next_at(self) -> int | None:
        """When the next step happens (UTC ns); None when done."""
        return self._next()[0]

    def advance(self, limit: int | None = None) -> Step:
        """Do the next step, if it lies before ``limit``; else only move time there."""
        at, kind, symbol = self._next()
        if at is None or (limit is not None and limit <= at):
            if limit is not None and limit > self._now:
                self._move(limit)
            return Step(self._now, (), "limit")
        self._move(at)
        if kind == "tick":
            self._tick(symbol)
            return Step(at, (), kind)
        bars: tuple[Bar, ...] = ()
        if kind == "close":
            bars = self._close_moment(at)
            self._market.mark(bars)
            self._value(at)
        if self._market.open_count:
            self._market.expire_day_orders(at)
        if at == self._session_close:
            self._value(at)
            self._market.end_session()
            self._session_close = self._sessions.at(at).close
        return Step(at, bars, kind)

    def bars_begun(self, symbol: str) -> int:
        """How many bars of a symbol have begun, the one that begins at this moment included."""
        series = self._series[symbol]
        return int((series.ts - series.period).searchsorted(self._now, side="right"))

    def revise(self, series: BarSeries, ticks: SymbolTicks) -> None:
        """Let other prices and volumes take the place of a symbol's recorded ones. The times must be the same."""
        self._series[series.symbol], self._ticks[series.symbol] = series, ticks
        self._tape.revise(series)
        self._load()
        self.forget(series.symbol)

    def forget(self, symbol: str) -> None:
        """Let the market be told again what stands in a symbol, when it is refreshed next."""
        self._known.pop(symbol, None)

    def refresh(self, symbol: str) -> None:
        """Bring a symbol to the present: its last trade, and the quote that stands.

        One with open orders is there already: its ticks are steps, and those of this moment that are still to come
        stay so.
        """
        if symbol in self._due and self._market.has_open(symbol):
            return
        self._catch_up(symbol, self._now)

    def watch(self, symbol: str) -> None:
        """An order in the symbol may have come: its ticks are steps from now on."""
        if symbol not in self._due and self._market.has_open(symbol):
            due = self._ticks[symbol].next_after(self._now)
            if due is not None:
                self._due[symbol] = due

    # --- Inside ------------------------------------------------------------------------------------------------

    def _next(self) -> tuple[int | None, StepKind, str]:
        """The next step: when, of which kind, and of which symbol. At one moment bars come first and ticks last."""
        if not self._bars:
            return None, "limit", ""
        at, symbol = self._bars[self._at].ts, ""
        kind: StepKind = "close"
        market = self._market
        if not market.open_count:
            self._due.clear()
            return at, "close", ""
        expiry = market.next_expiry()
        if expiry is not None and expiry < at:
            at, kind = max(expiry, self._now), "expiry"
        for name in [name for name in self._due if not market.has_open(name)]:
            del self._due[name]
        for name, due in self._due.items():
            if due < at or (due == at and kind == "tick" and name < symbol):
                at, kind, symbol = due, "tick", name
        return at, kind, symbol

    def _tick(self, symbol: str) -> None:
        """The ticks of a symbol at this moment."""
        market, now = self._market, self._now
        for tick in self._ticks[symbol].between(now - 1, now):
            if isinstance(tick, QuoteTick):
                market.quote(symbol, now, tick.bid, tick.bid_size, tick.ask, tick.ask_size)
            else:
                market.trade(symbol, now, tick.price, tick.size)
        self._known[symbol] = now
        due = self._ticks[symbol].next_after(now)
        if due is None:
            self._due.pop(symbol, None)
        else:
            self._due[symbol] = due

    def _catch_up(self, symbol: str, until: int) -> None:
        """Tell the market of the last trade and quote of a symbol without open orders, unless it knows them."""
        known = self._known.get(symbol, -1)
        self._known[symbol] = max(known, until)
        quote, trade = self._ticks[symbol].latest(until)
        if trade is not None and trade.ts > known:
            self._market.trade(symbol, until, trade.price, trade.size)
        if quote is not None and quote.ts > known:
            self._market.quote(symbol, until, quote.bid, quote.bid_size, quote.ask, quote.ask_size)
        if not self._is_in_progress(symbol, until):
            self._market.quote(symbol, until, 0.0, 0.0, 0.0, 0.0)

    def _is_in_progress(self, symbol: str, moment: int) -> bool:
        """Whether a bar of the symbol is in progress."""
        series = self._series[symbol]
        row = int(series.ts.searchsorted(moment, side="right"))
        return row < len(series) and series.ts.item(row) - series.period <= moment

    def _value(self, moment: int) -> None:
        """Bring what is held to its last prices before a moment, where a bar is in progress."""
        for symbol in self._market.held():
            series = self._series[symbol]
            row = int(series.ts.searchsorted(moment, side="right"))
            # A bar that ends here has given its close already.
            if symbol not in self._due and row < len(series) and series.ts.item(row) - series.period < moment:
                self._catch_up(symbol, moment - 1)

    def _close_moment(self, at: int) -> tuple[Bar, ...]:
        """The bars of the next moment, which is over with this; quotes end with them, unless the next bar follows at once."""
        start = self._at
        while self._at < len(self._bars) and self._bars[self._at].ts == at:
            self._at += 1
        closing = tuple(self._bars[start : self._at])
        self._closed += 1
        if self._at == len(self._bars):
            self._load()
        for bar in closing:
            if bar.symbol in self._due and not self._is_in_progress(bar.symbol, at):
                self._market.quote(bar.symbol, at, 0.0, 0.0, 0.0, 0.0)
        return closing

    def _move(self, to: int) -> None:
        """Move time. A session close that was passed without a step happens on the way, at the prices of then."""
        if to > self._session_close:
            self._value(self._session_close)
            self._market.end_session()
            self._session_close = self._sessions.at(to - 1).close
        self._now = to

    def _load(self) -> None:
        """Make the bars of the next moments."""
        self._bars, _ = self._tape.chunk(self._closed)
        self._at = 0
