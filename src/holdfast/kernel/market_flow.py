"""Bars and quotes: what they change before a strategy sees them, and how it is shown them.

Half a million bars go through here in a backtest, so this is the one place in the kernel where a call is weighed
against what it costs. ``on_bars`` is the quick way for a stretch of bars of one symbol, ``_on_bar`` the plain one; that
both do the same is a law that the tests hold them to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from holdfast.kernel.book import SymbolBook
from holdfast.kernel.boundary import strategy_error, tell
from holdfast.kernel.counters import Counters
from holdfast.kernel.portfolio import Portfolio
from holdfast.model import Bar, Quote
from holdfast.model.commands import Command
from holdfast.model.events import BarRevised
from holdfast.risk.protections import ProtectionManager

_NOTHING: tuple[Command, ...] = ()
_end = attrgetter("ts")


class MarketFlow(ABC):
    """The part of the kernel that market data goes through."""

    portfolio: Portfolio
    protections: ProtectionManager
    counters: Counters
    _books: dict[str, SymbolBook]
    commands: list[Command]
    _day_ends_at: int

    def take_commands(self) -> Sequence[Command]:
        """What ``dispatch`` or ``on_bars`` led to; ``handle`` has returned its own."""
        if not self.commands:
            return _NOTHING
        out, self.commands = self.commands, []
        return out

    def on_bars(self, bars: Sequence[Bar], start: int, stop: int) -> tuple[int, bool]:
        """``handle`` for each of ``bars[start:stop]``, of one symbol and one after the other, up to the first that leads to commands.

        For drivers that show half a million bars and have made the Decimal context exact: one call a stretch and not
        one a bar. What follows is in ``commands``.

        Returns:
            The index after the last bar shown, and whether there are commands.

        Raises:
            StrategyError: A strategy raised; names it and the place.
        """
        first = bars[start]
        book = self._books.get(first.symbol)
        if book is None or len(book.strategies) != 1 or not book.last_bar_at < first.ts <= book.boundary:
            return self._on_bars_one_by_one(bars, start, stop)
        strategy = book.strategies[0]
        portfolio, guards, out = self.portfolio, self.protections, self.commands
        show = strategy.on_bar
        if bars[stop - 1].ts > book.boundary:
            stop = bisect_right(bars, book.boundary, start, stop, key=_end)
        # Nothing fills within a stretch, so what is held stands still; what the strategy may ask for is kept up to date.
        held = book.position_float
        if held:
            mark, equity = book.mark, portfolio.equity
            low, top, until, highest = guards.quiet()
        for index in range(start, stop):  # and no slice: of what is left of the session, most is not shown
            bar = bars[index]
            portfolio.now_ns = book.last_price_at = ts = bar.ts
            book.last_price = close = bar.close
            if held:
                before = equity
                portfolio.equity = equity = before + held * (close - mark)
                book.mark = mark = close
                if low < equity < top and ts < until:
                    if equity > highest:
                        highest = guards.quiet_highest = equity
                else:
                    guards.observe_equity(ts, equity, before=before)
                    low, top, until, highest = guards.quiet()
            try:
                show(bar)
            except (Exception, SystemExit) as error:
                raise strategy_error(strategy, "on_bar", error) from error
            if out:
                break
        book.last_bar_at = ts
        shown = index + 1
        book.bars += shown - start
        return shown, bool(out)

    def _on_bars_one_by_one(self, bars: Sequence[Bar], start: int, stop: int) -> tuple[int, bool]:
        """The same for stretches that need a closer look; one bar at least."""
        book = self.portfolio.book(bars[start].symbol)
        for index in range(start, stop):
            self._on_bar(bars[index])
            if self.commands or (len(book.strategies) == 1 and bars[index].ts <= book.boundary):
                return index + 1, bool(self.commands)
        return stop, False

    def _on_bar(self, bar: Bar) -> None:
        book = self._books.get(bar.symbol)
        if book is None:
            book = self.portfolio.book(bar.symbol)
        ts = bar.ts
        if ts <= book.last_bar_at:
            self.counters.duplicate_bars += 1
            return
        self._mark_bar(book, bar)
        if ts > book.boundary:
            self._cross_boundary(book, ts)
        for strategy in book.strategies:
            try:
                strategy.on_bar(bar)
            except (Exception, SystemExit) as error:
                raise strategy_error(strategy, "on_bar", error) from error

    def _mark_bar(self, book: SymbolBook, bar: Bar) -> None:
        """A bar's close is the symbol's price, and the position is worth that."""
        portfolio, ts = self.portfolio, bar.ts
        if ts > portfolio.now_ns:  # noqa: PLR1730 - once a bar, and a call costs more than it
            portfolio.now_ns = ts
        book.bars += 1
        book.last_bar_at = book.last_price_at = ts
        book.last_price = close = bar.close
        held = book.position_float
        if held:
            before = portfolio.equity
            portfolio.equity = equity = before + held * (close - book.mark)
            book.mark = close
            self.protections.observe_equity(ts, equity, before=before)

    def _cross_boundary(self, book: SymbolBook, ts: int) -> None:
        """A bar is the first of its session in this symbol, or of a UTC day."""
        if ts > self._day_ends_at:
            self._start_day(ts)
        if ts > book.session_close:
            book.enter_session(ts)
        book.boundary = min(book.session_close, self._day_ends_at)

    def _on_bar_revised(self, event: BarRevised) -> None:
        """The strategies that were shown the bar are told, and nothing else changes."""
        self._advance(event.ts)
        book = self.portfolio.book(event.bar.symbol)
        if event.bar.ts <= book.last_bar_at:
            for strategy in book.strategies:
                tell(strategy, "on_bar_revised", event.bar)

    def _on_quote(self, quote: Quote) -> None:
        self._advance(quote.ts)
        book = self.portfolio.book(quote.symbol)
        if quote.ts < book.last_price_at or not 0.0 < quote.bid <= quote.ask:
            return
        book.last_price = (quote.bid + quote.ask) / 2
        book.last_price_at = quote.ts
        for strategy in book.strategies:
            tell(strategy, "on_quote", quote)

    def _advance(self, ts: int) -> None:
        """The kernel's time moves on, never back."""
        if ts > self.portfolio.now_ns:  # noqa: PLR1730 - on every event; max() costs three times as much
            self.portfolio.now_ns = ts

    @abstractmethod
    def _start_day(self, ts: int) -> None:
        """A UTC day began."""
