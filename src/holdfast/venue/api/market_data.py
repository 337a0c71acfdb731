"""Alpaca's market-data REST API: bars, quotes, trades, the last of each, snapshots and order books."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final, NoReturn

import msgspec

from holdfast.model.enums import AssetClass
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, format_rfc3339
from holdfast.venue.api.query import words
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Handler, Request, Route
from holdfast.venue.market.timeframes import timeframe
from holdfast.venue.market_view import DataBar, MarketView, order_book
from holdfast.venue.matching.orders import UNPROCESSABLE
from holdfast.venue.matching.refusals import BAD_DATA_REQUEST, refuse
from holdfast.venue.wire.market import bar_body, json_time, order_book_body, quote_body, trade_body
from holdfast.venue.wire.words import Json, decode_token, encode_token, parse_time

_STOCK, _CRYPTO = AssetClass.US_EQUITY, AssetClass.CRYPTO
_LIMIT_DEFAULT, _LIMIT_MAX = 1000, 10_000
_RECENT_NS: Final = 15 * NS_PER_MINUTE

_ADJUSTMENTS: Final = frozenset({"raw", "split", "dividend", "spin-off", "all"})
_FEEDS: Final = frozenset({"sip", "iex", "otc", "boats"})
_LATEST_FEEDS: Final = _FEEDS | {"delayed_sip", "overnight"}
#: Feeds that carry the nights alone.
_NIGHT_FEEDS: Final = frozenset({"boats", "overnight"})

_STOCK_SYMBOL: Final = re.compile(r"[A-Z0-9]+([./][A-Z0-9]+)*")
_CRYPTO_SYMBOL: Final = re.compile("[A-Z]+/[A-Z]+")

#: The rows of a symbol in a range of time, in the order asked for, each with its moment.
Rows = Iterator[tuple[int, Json]]


class Asked(msgspec.Struct, frozen=True):
    """What a request for a range asks for, checked."""

    symbols: list[str]
    since: int
    until: int
    newest_first: bool


class Span(msgspec.Struct, frozen=True):
    """Between which moments (UTC ns) the last of a feed's data lie, and whether it carries nights alone."""

    since: int
    until: int
    is_night: bool = False


#: For a kind of data: the rows of one symbol.
Source = Callable[[str, Asked], Rows]


class MarketDataApi:
    """The handlers, over one exchange.

    Args:
        exchange: Its market.
        is_basic: Whether clients have Alpaca's free plan, to which SIP data younger than 15 minutes are refused.
    """

    def __init__(self, exchange: Exchange, *, is_basic: bool = False) -> None:
        self._market = MarketView(exchange)
        self._is_basic = is_basic

    def routes(self) -> list[Route]:
        """The table. Data requests have limits of their own at Alpaca; here they have none."""
        found: list[Route] = []
        for kind, single in (("bars", "bar"), ("quotes", "quote"), ("trades", "trade")):
            found += [
                self._stock(f"/v2/stocks/{kind}", partial(self._many, kind, _STOCK)),
                self._stock(f"/v2/stocks/{kind}/latest", partial(self._latest_many, kind, single, _STOCK)),
                self._stock(f"/v2/stocks/{{}}/{kind}/latest", partial(self._latest_one, single)),
                self._stock(f"/v2/stocks/{{}}/{kind}", partial(self._one, kind)),
                self._crypto(kind, partial(self._many, kind, _CRYPTO)),
                self._crypto(f"latest/{kind}", partial(self._latest_many, kind, single, _CRYPTO)),
            ]
        return [
            *found,
            self._stock("/v2/stocks/snapshots", self._stock_snapshots),
            self._stock("/v2/stocks/{}/snapshot", self._stock_snapshot),
            self._crypto("snapshots", self._crypto_snapshots),
            self._crypto("latest/orderbooks", partial(self._latest_many, "orderbooks", "orderbook", _CRYPTO)),
        ]

    def _stock(self, pattern: str, handler: Handler) -> Route:
        return Route("GET", pattern, handler, limited=False)

    def _crypto(self, rest: str, handler: Handler) -> Route:
        return Route("GET", f"/v1beta3/crypto/us/{rest}", handler, access="optional", limited=False)

    # --- Ranges ------------------------------------------------------------------------------------------------

    def _many(self, kind: str, asset_class: AssetClass, request: Request) -> Answer:
        rows, token = self._page(kind, request, _symbols(request, asset_class), asset_class)
        return Answer({kind: rows, "next_page_token": token})

    def _one(self, kind: str, request: Request) -> Answer:
        symbol = _checked(request.parts[0], _STOCK)
        rows, token = self._page(kind, request, [symbol], _STOCK)
        return Answer({kind: rows.get(symbol, []), "symbol": symbol, "next_page_token": token})

    def _page(
        self, kind: str, request: Request, symbols: list[str], asset_class: AssetClass
    ) -> tuple[Json, str | None]:
        """One page: rows by symbol, sorted by symbol and then by time; and the token of the next page.

        The token says after which row to go on: its symbol, its moment, and how many rows of this moment were given.
        """
        source = self._source(kind, request, asset_class)
        asked = self._range(request, symbols, asset_class)
        limit = request.integer("limit", _LIMIT_DEFAULT, _LIMIT_MAX)
        after_symbol, after_ts, passed = _place(request)
        page: Json = {}
        last: tuple[str, int, int] | None = None
        for symbol in asked.symbols:
            if symbol < after_symbol or self._market.asset(symbol, asset_class) is None:
                continue
            rest, skipped = asked, 0
            if symbol == after_symbol:
                edge = {"until": after_ts} if asked.newest_first else {"since": after_ts}
                rest, skipped = msgspec.structs.replace(asked, **edge), passed
            rows = islice(source(symbol, rest), skipped, None)
            chosen = list(islice(rows, limit + 1))
            # There is more, and only now is it known: the last row given is where to go on.
            is_more = len(chosen) > limit
            chosen = chosen[:limit]
            if chosen:
                page[symbol] = [row for _, row in chosen]
                moment = chosen[-1][0]
                same = sum(ts == moment for ts, _ in chosen)
                if symbol == after_symbol and moment == after_ts:
                    same += skipped
                last = (symbol, moment, same)
                limit -= len(chosen)
            if is_more:
                return page, encode_token(last[0], format_rfc3339(last[1]), str(last[2])) if last else None
        return page, None

    def _source(self, kind: str, request: Request, asset_class: AssetClass) -> Source:
        market = self._market
        feed = _feed(request, _FEEDS) if asset_class is _STOCK else None
        if feed == "otc":
            return lambda _symbol, _asked: iter(())
        nights_only = feed in _NIGHT_FEEDS
        if kind == "bars":
            return self._bars(request, asset_class, nights_only=nights_only)

        def quotes(symbol: str, asked: Asked) -> Rows:
            asset = market.asset(symbol, asset_class)
            if asset is not None:
                for quote in market.quotes(symbol, asked.since, asked.until, newest_first=asked.newest_first):
                    yield quote.ts, quote_body(quote, asset, json_time)

        def trades(symbol: str, asked: Asked) -> Rows:
            asset = market.asset(symbol, asset_class)
            if asset is not None:
                for trade in market.trades(symbol, asked.since, asked.until, newest_first=asked.newest_first):
                    yield trade.ts, trade_body(trade, asset, json_time)

        ticks = quotes if kind == "quotes" else trades
        if not nights_only:
            return ticks
        return lambda symbol, asked: (row for row in ticks(symbol, asked) if market.is_night(row[0]))

    def _bars(self, request: Request, asset_class: AssetClass, *, nights_only: bool) -> Source:
        name = request.query.get("timeframe", "")
        frame = timeframe(name, asset_class)
        if frame is None:
            _refuse(f"invalid timeframe: {name[:40]!r}")
        for word in words(request.query.get("adjustment", "") if asset_class is _STOCK else ""):
            if word not in _ADJUSTMENTS:
                _refuse(f"invalid adjustment: {word[:40]!r}")
        market = self._market

        def bars(symbol: str, asked: Asked) -> Rows:
            if market.period(symbol) > frame.shortest:
                _refuse(f"timeframe is shorter than the recorded bars of {symbol}")
            for bar in market.bars(
                symbol, frame, asked.since, asked.until, newest_first=asked.newest_first, nights_only=nights_only
            ):
                yield bar.start, bar_body(bar, json_time)

        return bars

    def _range(self, request: Request, symbols: list[str], asset_class: AssetClass) -> Asked:
        query, now = request.query, self._market.now
        latest = now
        if self._is_basic and asset_class is _STOCK and _feed(request, _FEEDS) == "sip":
            latest = now - _RECENT_NS
        since = parse_time(query["start"], "start") if query.get("start") else now // NS_PER_DAY * NS_PER_DAY
        until = parse_time(query["end"], "end") if query.get("end") else latest
        if until > latest < now:
            _refuse_recent()
        direction = query.get("sort") or "asc"
        if direction not in ("asc", "desc"):
            _refuse(f"invalid sort: {direction[:40]!r}")
        if since > until and query.get("end"):
            _refuse("end should not be before start")
        return Asked(sorted(set(symbols)), since, until, direction == "desc")

    # --- The last of each --------------------------------------------------------------------------------------

    def _latest_many(self, kind: str, single: str, asset_class: AssetClass, request: Request) -> Answer:
        symbols = _symbols(request, asset_class)
        span = self._span(request, asset_class)
        found = {symbol: self._latest(single, symbol, asset_class, span) for symbol in symbols}
        return Answer({kind: {symbol: body for symbol, body in found.items() if body is not None}})

    def _latest_one(self, single: str, request: Request) -> Answer:
        symbol = _checked(request.parts[0], _STOCK)
        span = self._span(request, _STOCK)
        return Answer({"symbol": symbol, single: self._latest(single, symbol, _STOCK, span)})

    def _latest(self, single: str, symbol: str, asset_class: AssetClass, span: Span | None) -> Json | None:
        asset = self._market.asset(symbol, asset_class)
        if asset is None or span is None:
            return None
        if single == "bar":
            bar = self._latest_bar(symbol, span)
            return None if bar is None else bar_body(bar, json_time)
        quote, trade = self._market.latest(symbol, span.until)
        if single == "trade":
            return None if trade is None or trade.ts < span.since else trade_body(trade, asset, json_time)
        if quote is None or quote.ts < span.since:
            return None
        return (
            order_book_body(order_book(quote), json_time)
            if single == "orderbook"
            else quote_body(quote, asset, json_time)
        )

    def _latest_bar(self, symbol: str, span: Span) -> DataBar | None:
        if not span.is_night:
            return self._market.latest_bar(symbol)
        bars = [bar for bar in self._market.ended(symbol, span.since, span.until + 1) if bar.start >= span.since]
        return bars[-1] if bars else None

    def _span(self, request: Request, asset_class: AssetClass) -> Span | None:
        """Where the last data of the feed that is asked for lie; None if it has none."""
        now = self._market.now
        if asset_class is _CRYPTO:
            return Span(0, now)
        feed = _feed(request, _LATEST_FEEDS, default="iex" if self._is_basic else "sip")
        if feed == "sip" and self._is_basic:
            _refuse_recent()
        if feed in _NIGHT_FEEDS:
            start, end = self._market.last_night()
            return Span(start, min(end - 1, now), is_night=True)
        if feed == "otc":
            return None
        return Span(0, now - _RECENT_NS if feed == "delayed_sip" else now)

    # --- Snapshots ---------------------------------------------------------------------------------------------

    def _stock_snapshots(self, request: Request) -> Answer:
        span = self._span(request, _STOCK)
        found = {symbol: self._snapshot(symbol, _STOCK, span) for symbol in _symbols(request, _STOCK)}
        return Answer({symbol: body for symbol, body in found.items() if body is not None})

    def _stock_snapshot(self, request: Request) -> Answer:
        symbol = _checked(request.parts[0], _STOCK)
        return Answer({"symbol": symbol, **(self._snapshot(symbol, _STOCK, self._span(request, _STOCK)) or {})})

    def _crypto_snapshots(self, request: Request) -> Answer:
        span = self._span(request, _CRYPTO)
        found = {symbol: self._snapshot(symbol, _CRYPTO, span) for symbol in _symbols(request, _CRYPTO)}
        return Answer({"snapshots": {symbol: body for symbol, body in found.items() if body is not None}})

    def _snapshot(self, symbol: str, asset_class: AssetClass, span: Span | None) -> Json | None:
        """All that is known last; None if nothing is. What is not known is left out, and the days of a feed of nights."""
        asset = self._market.asset(symbol, asset_class)
        if asset is None or span is None:
            return None
        today, before = (None, None) if span.is_night else self._market.daily_bars(symbol)
        body = {
            "latestTrade": self._latest("trade", symbol, asset_class, span),
            "latestQuote": self._latest("quote", symbol, asset_class, span),
            "minuteBar": self._latest("bar", symbol, asset_class, span),
            "dailyBar": None if today is None else bar_body(today, json_time),
            "prevDailyBar": None if before is None else bar_body(before, json_time),
        }
        return {name: part for name, part in body.items() if part is not None} or None


def _place(request: Request) -> tuple[str, int, int]:
    """Where a page goes on: after this symbol's rows until this moment, of which so many were given."""
    token = request.query.get("page_token")
    if not token:
        return "", 0, 0
    symbol, moment, passed = decode_token(token, 3)
    if not (passed.isascii() and passed.isdigit() and len(passed) < 9):
        _refuse("page_token is not one that this venue gave")
    return symbol, parse_time(moment, "page_token"), int(passed)


def _symbols(request: Request, asset_class: AssetClass) -> list[str]:
    symbols = words(request.query.get("symbols", ""))
    if not symbols:
        _refuse("symbols is required")
    return [_checked(symbol, asset_class) for symbol in symbols]


def _checked(symbol: str, asset_class: AssetClass) -> str:
    pattern = _CRYPTO_SYMBOL if asset_class is _CRYPTO else _STOCK_SYMBOL
    if not pattern.fullmatch(symbol):
        reason = f" does not match ^{pattern.pattern}$" if asset_class is _CRYPTO else ""
        _refuse(f"invalid symbol: {symbol[:40]}{reason}")
    return symbol


def _feed(request: Request, known: frozenset[str], default: str = "sip") -> str:
    feed = request.query.get("feed") or default
    if feed not in known:
        _refuse(f"invalid feed: {feed[:40]}")
    return feed


def _refuse(message: str) -> NoReturn:
    refuse(400, BAD_DATA_REQUEST, message)


def _refuse_recent() -> NoReturn:
    refuse(403, UNPROCESSABLE, "subscription does not permit querying recent SIP data")
