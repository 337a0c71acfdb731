"""The venue's accounts: any key pair opens one, and each has a matching engine of its own.

Accounts do not trade with each other: every one of them meets the recorded market alone, as if the
others were not there, so that one client's orders never change another's fills. The replay drives all
engines at once through ``EngineGroup``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from holdfast.model.market import Bar
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND
from holdfast.venue.history import EquityHistory
from holdfast.venue.matching.engine import MatchingEngine
from holdfast.venue.matching.fees import Fees
from holdfast.venue.matching.orders import EngineEvent, PostedRow, Posting
from holdfast.venue.matching.quotes import Quote
from holdfast.venue.watchlists import Watchlists
from holdfast.venue.wire.words import derived_id

_KEY_LENGTH = 256


class RateWindow:
    """At most ``limit`` requests in any minute of the venue's time. None counts without refusing.

    A request leaves the window exactly one minute after it was admitted. Refused ones are not counted,
    so that a client that waits gets through. Kept in memory only: a restarted venue starts with an empty
    window.
    """

    __slots__ = ("_admitted", "limit")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._admitted: deque[int] = deque()

    def admit(self, now: int) -> bool:
        """Count a request at this moment (UTC ns), unless the window is full."""
        self._forget(now)
        if self.limit is not None and len(self._admitted) >= self.limit:
            return False
        self._admitted.append(now)
        return True

    def remaining(self, now: int) -> int:
        """How many requests would be admitted now."""
        self._forget(now)
        return max(0, (self.limit or 0) - len(self._admitted))

    def reset_at(self, now: int) -> int:
        """When the next place comes free (UTC ns); now, if none is taken."""
        self._forget(now)
        return self._admitted[0] + NS_PER_MINUTE if self._admitted else now

    def retry_after_seconds(self, now: int) -> int:
        """Whole seconds of the venue's time until a place is free, at least one."""
        return max(1, -(-(self.reset_at(now) - now) // NS_PER_SECOND))

    def _forget(self, now: int) -> None:
        admitted = self._admitted
        while admitted and admitted[0] <= now - NS_PER_MINUTE:
            admitted.popleft()


class VenueAccount:
    """One key pair and what belongs to it.

    Attributes:
        number: From 1, in the order of opening.
        id: The venue's name for it.
        namespace: The one of its engine's ids; no account of any other book has the same.
        key: The key id.
        secret_digest: What the book keeps of the secret with which it was opened.
        created_at: When it was opened (venue's time, UTC ns).
        fees: What it has paid for trades in crypto since the last day.
        history: What it was worth.
        posted: Rows of activities that are no trades, oldest first.
        watchlists: Its lists of symbols.
        trades: Numbered events that are executions or take one back, oldest first; some may not be committed yet.
        news: Numbered events that no one has been told of yet; told after the next commit.
        event_count: How many events its engine has given.
        rate: The window of its trading requests.
    """

    __slots__ = (
        "created_at",
        "engine",
        "event_count",
        "fees",
        "history",
        "id",
        "key",
        "namespace",
        "news",
        "number",
        "posted",
        "rate",
        "secret_digest",
        "trades",
        "watchlists",
    )

    def __init__(
        self, number: int, key: str, secret_digest: str, engine: MatchingEngine, created_at: int, rate: RateWindow
    ) -> None:
        self.number = number
        self.namespace = engine.settings.namespace
        self.id = derived_id("account", str(self.namespace))
        self.key = key
        self.secret_digest = secret_digest
        self.engine = engine
        self.created_at = created_at
        self.rate = rate
        self.event_count = 0
        self.news: list[tuple[int, EngineEvent]] = []
        self.posted: list[PostedRow] = []
        self.trades: list[tuple[int, EngineEvent]] = []
        self.fees = Fees()
        self.history = EquityHistory(created_at, float(engine.account().cash))
        self.watchlists = Watchlists(str(self.namespace))

    def knows(self, secret: str) -> bool:
        """Whether this is the secret with which the account was opened."""
        return hmac.compare_digest(self.secret_digest, digest(secret))

    def post(self, posting: Posting, now: int) -> PostedRow:
        """Book an activity that is no trade.

        Raises:
            Refusal: It cannot be; nothing has changed.
        """
        self.engine.adjust(posting.symbol, posting.quantity, posting.cash, now)
        return self._list(posting, now)

    def sample(self, now: int) -> None:
        """Note what the account is worth at the end of a step of the market."""
        self.history.add(now, float(self.engine.account().equity))

    def end_session(self, at: int) -> None:
        """The account's session closed at this moment: its fees get their rows, and its worth is that of the day."""
        for posting in self.fees.close_day(at, self.engine.prices):
            self._list(posting, at)
        self.history.end_day(at, float(self.engine.account().last_equity))

    def _list(self, posting: Posting, at: int) -> PostedRow:
        row = PostedRow(derived_id("activity", f"{self.namespace}:{len(self.posted)}"), at, posting)
        self.posted.append(row)
        return row

    def collect(self) -> int:
        """Take the engine's new events into ``news``, and say how many there were."""
        events = self.engine.take_events()
        for event in events:
            self.event_count += 1
            self.news.append((self.event_count, event))
            if event.execution is not None:
                self.trades.append(self.news[-1])
                self.fees.count(event.execution, busted=event.kind == "trade_bust")
        return len(events)


class EngineGroup:
    """All engines as one, in the order in which the accounts were opened: what the replay drives.

    ``prices`` are the last prices, ``halted`` the symbols that do not trade, and ``hard_to_borrow`` those that nobody may
    sell short: kept here too so that an account opened later starts with them.
    """

    def __init__(self) -> None:
        self.engines: list[MatchingEngine] = []
        self.prices: dict[str, float] = {}
        self._periods: Mapping[str, int] = {}
        self.halted: dict[str, None] = {}
        self.hard_to_borrow: dict[str, None] = {}
        self._quotes: dict[str, Quote] = {}

    def add(self, engine: MatchingEngine, now: int) -> None:
        """Let an engine take part from now on."""
        engine.prices.update(self.prices)
        engine.set_periods(self._periods)
        for symbol in self.halted:
            engine.halt(symbol, 0)
        for symbol in self.hard_to_borrow:
            engine.restrict_borrowing(symbol, now, is_hard=True)
        for symbol, quote in self._quotes.items():
            engine.quote(symbol, now, *quote)
        self.engines.append(engine)

    def set_periods(self, periods: Mapping[str, int]) -> None:
        """The length of each symbol's bars (ns), for every engine."""
        self._periods = periods
        for engine in self.engines:
            engine.set_periods(periods)

    def remove(self, engine: MatchingEngine) -> None:
        """Let an engine take part no more."""
        self.engines.remove(engine)

    def halt(self, symbol: str, now: int) -> None:
        """Let a symbol trade nothing, in any engine."""
        self.halted[symbol] = None
        for engine in self.engines:
            engine.halt(symbol, now)

    def resume(self, symbol: str, now: int) -> None:
        """Let a symbol trade again, in every engine."""
        self.halted.pop(symbol, None)
        for engine in self.engines:
            engine.resume(symbol, now)

    def restrict_borrowing(self, symbol: str, now: int, *, is_hard: bool) -> None:
        """Let a stock be hard to borrow from now on, or easy again, for every engine."""
        if is_hard:
            self.hard_to_borrow[symbol] = None
        else:
            self.hard_to_borrow.pop(symbol, None)
        for engine in self.engines:
            engine.restrict_borrowing(symbol, now, is_hard=is_hard)

    def scale(self, symbol: str, factor: float) -> None:
        """Let the last prices of a symbol be so many times what they were: it was split."""
        for prices in (self.prices, *(engine.prices for engine in self.engines)):
            if symbol in prices:
                prices[symbol] = round(prices[symbol] * factor, 9)
        for engine in self.engines:
            engine.amendments.scale(symbol, factor)

    @property
    def open_count(self) -> int:
        """Orders open in all engines together."""
        return sum(engine.open_count for engine in self.engines)

    def has_open(self, symbol: str) -> bool:
        """Whether any engine has an open order in the symbol."""
        return any(engine.has_open(symbol) for engine in self.engines)

    def open_bar(self, symbol: str, now: int, price: float, volume: float) -> None:
        """The first trade of a bar, for every engine."""
        for engine in self.engines:
            engine.open_bar(symbol, now, price, volume)

    def close_bars(self, bars: Sequence[Bar], now: int) -> None:
        """The ends of all bars of a moment, for every engine."""
        for bar in bars:
            self.prices[bar.symbol] = bar.close
        for engine in self.engines:
            engine.close_bars(bars, now)

    def held(self) -> Iterable[str]:
        """The symbols of all positions, each once."""
        return dict.fromkeys(symbol for engine in self.engines for symbol in engine.held)

    def quote(self, symbol: str, now: int, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """The best prices of a symbol, for every engine."""
        self._quotes[symbol] = (bid, bid_size, ask, ask_size)
        for engine in self.engines:
            engine.quote(symbol, now, bid, bid_size, ask, ask_size)

    def trade(self, symbol: str, now: int, price: float, size: float) -> None:
        """A trade of the market, for every engine."""
        self.prices[symbol] = price
        for engine in self.engines:
            engine.trade(symbol, now, price, size)

    def mark(self, bars: Sequence[Bar]) -> None:
        """The closes of bars in which there was a trade are the last prices, for every engine; others are better than none."""
        for prices in (self.prices, *(engine.prices for engine in self.engines)):
            for bar in bars:
                if bar.volume > 0:
                    prices[bar.symbol] = bar.close
                else:
                    prices.setdefault(bar.symbol, bar.close)

    def next_expiry(self) -> int | None:
        """When the next open order of any engine expires (UTC ns)."""
        expiries = [at for engine in self.engines if (at := engine.next_expiry()) is not None]
        return min(expiries, default=None)

    def expire_day_orders(self, now: int) -> None:
        """Expire what was good until now, in every engine."""
        for engine in self.engines:
            engine.expire_day_orders(now)

    def end_session(self) -> None:
        """The accounts' session has closed, for every engine."""
        for engine in self.engines:
            engine.end_session()


def digest(secret: str) -> str:
    """What the book keeps of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def plausible_keys(key: str, secret: str) -> bool:
    """Whether this can be a key pair at all: two non-empty texts of ordinary length."""
    return 0 < len(key) <= _KEY_LENGTH and 0 < len(secret) <= _KEY_LENGTH
