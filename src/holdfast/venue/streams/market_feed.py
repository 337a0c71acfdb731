"""What the market-data streams are told, and when.

Whenever the venue has committed, the feed is told how far time has come and which bars have ended. It then sends
to each connection what it is subscribed to, in one frame: first the quotes and trades since the last time, in their
order, then the bars with what belongs to them (the day's bar, the price bands). Nothing here changes the venue: who
listens must not matter to what happens. A subscriber is told what happens from then on, and no past; only an order
book begins with the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset, Bar
from holdfast.model.timestamps import NS_PER_DAY
from holdfast.venue.market.amended_ticks import Amendment
from holdfast.venue.market.fakepaca import FAKEPACA, fake_day, fake_ticks, next_fake_tick
from holdfast.venue.market.ticks import QuoteTick, Tick
from holdfast.venue.market_view import DataBar, MarketView, data_bar, order_book
from holdfast.venue.streams.data_session import TEST_SYMBOL, DataSession, Item, market_of
from holdfast.venue.wire.market import (
    Time,
    bands_body,
    bar_body,
    book_changes_body,
    cancel_body,
    correction_body,
    order_book_body,
    quote_body,
    status_body,
    trade_body,
)
from holdfast.venue.wire.words import Json

_TICK_CHANNELS: Final = ("trades", "quotes", "orderbooks")

Audience = Sequence[DataSession]


class MarketFeed:
    """The sender of market data.

    Args:
        market: What there is to tell.
        sessions: Who is connected, by account and market; others add and remove.
    """

    def __init__(self, market: MarketView, sessions: Mapping[tuple[int, str], DataSession]) -> None:
        self._market = market
        self._sessions = sessions
        self._told = market.now

    def tell(self, bars: Sequence[Bar], now: int) -> None:
        """Time has come this far (UTC ns), and these bars have ended since the last call."""
        after, self._told = self._told, now
        if now <= after and not bars:
            return
        by_delay: dict[int, list[DataSession]] = {}
        for session in self._sessions.values():
            by_delay.setdefault(session.feed.delay, []).append(session)
        for delay, audience in by_delay.items():
            items = list(self._tick_items(audience, after - delay, now - delay))
            shown = map(self._market.shown, bars) if not delay else self._late_bars(audience, after, now, delay)
            items.extend(self._bar_items(audience, shown))
            items.extend(self._fake_bar_items(audience, after - delay, now - delay))
            if items:
                for session in audience:
                    session.tell(items)

    def next_at(self) -> int | None:
        """When there is something to tell next, apart from bars (UTC ns); None if nobody waits for it."""
        found: list[int] = []
        for session in self._sessions.values():
            delay = session.feed.delay
            for symbol in self._ticking((session,)):
                after = self._told - delay
                at = next_fake_tick(after) if symbol == TEST_SYMBOL else self._market.ticks[symbol].next_after(after)
                if at is not None:
                    found.append(at + delay)
        return min(found, default=None)

    def on_subscribed(self, session: DataSession, channel: str, symbols: Sequence[str]) -> None:
        """A connection has subscribed: order books begin with all their levels."""
        if channel != "orderbooks":
            return
        items = []
        for symbol in self._named(symbols, session.feed.market):
            quote, _ = self._market.latest(symbol, self._told - session.feed.delay)
            if quote is not None:
                items.append(Item("orderbooks", "o", symbol, _book_body(None, quote)))
        session.tell(items)

    def tell_status(self, symbol: str, *, is_halted: bool) -> None:
        """Trading in a stock has been halted or resumed."""
        now = self._market.now
        body = partial(status_body, self._asset(symbol), now, is_halted=is_halted)
        item = Item("statuses", "s", symbol, body, is_night=self._market.is_night(now))
        self._publish((item,))

    def tell_amendment(self, amendment: Amendment) -> None:
        """The past has changed. A delayed stream to which it is still to come will hear it right at once."""
        symbol, before, after = amendment.symbol, amendment.before, amendment.after
        asset, bar = self._asset(symbol), self._market.bar_at(symbol, amendment.row)
        trade = after or before
        if trade is None:
            return
        is_night = self._market.is_night(bar.start)
        if before is None:
            report = Item("trades", "t", symbol, partial(trade_body, trade, asset), is_night=is_night)
        elif after is None:
            body = partial(cancel_body, before, asset, amendment.action)
            report = Item("cancelErrors", "x", symbol, body, is_night=is_night)
        else:
            body = partial(correction_body, before, after, asset)
            report = Item("corrections", "c", symbol, body, is_night=is_night)
        revision = [Item("updatedBars", "u", symbol, partial(bar_body, bar), is_night=is_night)]
        revision = revision if amendment.is_revised else []
        end = bar.start + self._market.period(symbol)
        for session in self._sessions.values():
            heard = self._told - session.feed.delay
            session.tell([report] * (trade.ts <= heard) + revision * (end <= heard))

    # --- Inside ------------------------------------------------------------------------------------------------

    def _publish(self, items: Sequence[Item]) -> None:
        for session in self._sessions.values():
            session.tell(items)

    def _named(self, symbols: Iterable[str], market: str) -> list[str]:
        """Which of the symbols that have ticks are meant, by name or ``*``."""
        asked = set(symbols)
        if market == "test":
            return [TEST_SYMBOL] if asked & {TEST_SYMBOL, "*"} else []
        return [
            symbol for symbol in self._market.ticks if ("*" in asked or symbol in asked) and market_of(symbol) == market
        ]

    def _ticking(self, audience: Audience) -> list[str]:
        """The symbols whose ticks somebody gets."""
        found: dict[str, None] = {}
        for session in audience:
            asked = {symbol for channel in _TICK_CHANNELS for symbol in session.wanted(channel)}
            if asked:
                found.update(dict.fromkeys(self._named(asked, session.feed.market)))
        return list(found)

    def _tick_items(self, audience: Audience, after: int, until: int) -> Iterator[Item]:
        symbols = self._ticking(audience)
        if not symbols:
            return
        told: list[tuple[int, Item]] = []
        for symbol in symbols:
            has_books = any(session.wants("orderbooks", symbol) for session in audience)
            has_nights = any(session.feed.nights_only for session in audience)
            ticks = (
                fake_ticks(after, until) if symbol == TEST_SYMBOL else self._market.ticks[symbol].between(after, until)
            )
            told.extend(self._items_of(symbol, ticks, after, has_books=has_books, has_nights=has_nights))
        told.sort(key=lambda pair: pair[0])  # stable: quotes stay before the trades of their moment
        for _, item in told:
            yield item

    def _items_of(
        self, symbol: str, ticks: Sequence[Tick], after: int, *, has_books: bool, has_nights: bool
    ) -> Iterator[tuple[int, Item]]:
        asset = self._asset(symbol)
        before = self._market.latest(symbol, after)[0] if has_books else None
        for tick in ticks:
            is_night = has_nights and self._market.is_night(tick.ts)
            if isinstance(tick, QuoteTick):
                yield tick.ts, Item("quotes", "q", symbol, partial(quote_body, tick, asset), is_night=is_night)
                if has_books:
                    yield tick.ts, Item("orderbooks", "o", symbol, _book_body(before, tick))
                    before = tick
            else:
                yield tick.ts, Item("trades", "t", symbol, partial(trade_body, tick, asset), is_night=is_night)

    def _bar_items(self, audience: Audience, bars: Iterable[DataBar]) -> Iterator[Item]:
        has_nights = any(session.feed.nights_only for session in audience)
        for bar in bars:
            symbol = bar.symbol
            is_night = has_nights and self._market.is_night(bar.start)
            yield Item("bars", "b", symbol, partial(bar_body, bar), is_night=is_night)
            if any(session.wants("dailyBars", symbol) for session in audience):
                today, _ = self._market.daily_bars(symbol)
                if today is not None:
                    yield Item("dailyBars", "d", symbol, partial(bar_body, today))
            asset = self._asset(symbol)
            if asset.asset_class is AssetClass.US_EQUITY:
                body = partial(bands_body, bar, self._market.period(symbol), asset)
                yield Item("lulds", "l", symbol, body, is_night=is_night)

    def _late_bars(self, audience: Audience, after: int, until: int, delay: int) -> Iterator[DataBar]:
        for symbol in self._market.symbols:
            if any(session.wants("bars", symbol) for session in audience):
                yield from self._market.ended(symbol, after - delay, until - delay)

    def _fake_bar_items(self, audience: Audience, after: int, until: int) -> Iterator[Item]:
        if not any(session.wants("bars", TEST_SYMBOL) for session in audience):
            return
        for day in range(max(after, until - NS_PER_DAY) // NS_PER_DAY, until // NS_PER_DAY + 1):
            series, ticks = fake_day(day)
            first, stop = series.ts.searchsorted((after, until), side="right").tolist()
            counts, values = ticks.sums(first, stop)
            rows = zip(series.slice(first, stop).bars(), counts.tolist(), values.tolist(), strict=True)
            for bar, count, value in rows:
                yield Item(
                    "bars", "b", TEST_SYMBOL, partial(bar_body, data_bar(bar, series.period, count, value / bar.volume))
                )

    def _asset(self, symbol: str) -> Asset:
        return FAKEPACA if symbol == TEST_SYMBOL else self._market.assets[symbol]


def _book_body(before: QuoteTick | None, quote: QuoteTick) -> Callable[[Time], Json]:
    """The changes from one quote's book to the next one's; the whole book where there was none."""

    def body(time: Time) -> Json:
        book = order_book(quote)
        if before is None:
            return {**order_book_body(book, time), "r": True}
        return book_changes_body(order_book(before), book, time)

    return body
