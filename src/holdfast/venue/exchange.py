"""The venue without its sockets: accounts, the replayed market, and the book that remembers both.

Everything that changes the venue comes through here and obeys one rule: **it is committed before
anyone is told.** A caller changes something (``submit``, ``cancel``, ``advance``, ``authenticate``),
then ``commit`` writes what was changed and hands out the news, and only then may answers and stream
messages leave. Calls between two commits share the next one.

A restart replays the book's inputs through fresh engines. The replay moves in market steps, whose order
depends only on the data and on what was submitted when; so an input is stored with the number of steps
before it and the time, and moves of time alone need not be remembered one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from holdfast.model.enums import AssetClass
from holdfast.model.errors import VenueError
from holdfast.model.market import Asset, Bar
from holdfast.model.series import BarSeries
from holdfast.time import Sessions
from holdfast.venue.accounts import EngineGroup, RateWindow, VenueAccount, digest, plausible_keys
from holdfast.venue.market.amended_ticks import Amendment
from holdfast.venue.market.corporate_actions import CorporateAction
from holdfast.venue.market.quoted import QuotedReplay
from holdfast.venue.market.replay import Replay, account_class_of
from holdfast.venue.market.ticks import SymbolTicks
from holdfast.venue.matching.configuration import Configuration
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.matching.orders import EngineEvent, NewOrder, PostedRow, Posting, VenueExecution, VenueOrder
from holdfast.venue.matching.replacing import Replacement
from holdfast.venue.operations import Operation, carry_out
from holdfast.venue.store import BOOK_ID_BITS, Book, Cursor, Input
from holdfast.venue.watchlists import Watchlist, WatchlistChange
from holdfast.venue.wire.words import slashless

# The engine's namespaces have 60 bits: which book, then which account.
_ACCOUNT_BITS = 60 - BOOK_ID_BITS

_OPEN, _OPERATE = "open", "operate"
_encode = msgspec.json.encode


class OpenAccount(msgspec.Struct, frozen=True):
    """Body of the input that opens an account. The secret itself is not kept."""

    key: str
    secret_digest: str


class Replacing(msgspec.Struct, frozen=True):
    """Body of the input that replaces an order."""

    order_id: str
    change: Replacement


class InputKind(msgspec.Struct, frozen=True):
    """What an input of the book does: the type of its body, and how an account carries it out at a moment (UTC ns)."""

    body: Any
    apply: Callable[[VenueAccount, Any, int], Any]


_INPUTS: Final[Mapping[str, InputKind]] = {
    "submit": InputKind(NewOrder, lambda account, new, now: account.engine.submit(new, now)),
    "cancel": InputKind(str, lambda account, order_id, now: account.engine.cancel(order_id, now)),
    "replace": InputKind(Replacing, lambda account, body, now: account.engine.replace(body.order_id, body.change, now)),
    "post": InputKind(Posting, lambda account, posting, now: account.post(posting, now)),
    "bust": InputKind(str, lambda account, execution_id, now: account.engine.bust(execution_id, now)),
    "configure": InputKind(Configuration, lambda account, body, _: account.engine.amendments.configure(body)),
    "watch": InputKind(WatchlistChange, lambda account, change, now: account.watchlists.apply(change, now)),
}


class News(msgspec.Struct, frozen=True):
    """What a commit made true, to be told now.

    Attributes:
        updates: For each account with news, its numbered events, in order.
        bars: Bars that have ended, in the order of the replay.
        now: How far time has come (UTC ns).
    """

    updates: tuple[tuple[VenueAccount, list[tuple[int, EngineEvent]]], ...]
    bars: tuple[Bar, ...]
    now: int


class Exchange:
    """All accounts over one replayed market.

    Args:
        book: Its memory; what is in it is replayed at once.
        series: The market, by symbol.
        assets: What may be traded, by symbol.
        cash: What a new account holds (USD).
        settings: How the engines trade; the namespace of their ids is made of the book's id and the account's number.
        sessions: The sessions of an asset class.
        rate_limit: Trading requests a minute that an account has; None refuses none.
        ticks: Quotes and trades of the symbols; without any, the market is one of bars.

    Raises:
        VenueError: The book does not replay to what it recorded.
    """

    def __init__(
        self,
        book: Book,
        series: Mapping[str, BarSeries],
        assets: Mapping[str, Asset],
        *,
        cash: Decimal,
        settings: EngineSettings,
        sessions: Callable[[AssetClass], Sessions],
        rate_limit: int | None = 200,
        ticks: Mapping[str, SymbolTicks] | None = None,
    ) -> None:
        self.series = dict(series)
        self.ticks = dict(ticks or {})
        self.assets = dict(assets)
        self.periods = {symbol: bars.period for symbol, bars in series.items()}
        self.visible = dict.fromkeys(series, 0)
        self.sessions = sessions
        self.account_sessions = sessions(account_class_of(series))
        self.accounts: list[VenueAccount] = []
        self.actions: list[CorporateAction] = []
        self._by_key: dict[str, VenueAccount] = {}
        self._names = {name: symbol for symbol in assets for name in (slashless(symbol), symbol)}
        self._book = book
        self._cash = cash
        self._settings = settings
        self._namespace = book.book_id << _ACCOUNT_BITS
        self._rate_limit = rate_limit
        self.group = EngineGroup()
        self._quoted = QuotedReplay(self.group, series, self.ticks, sessions) if self.ticks else None
        self._replay = self._quoted or Replay(self.group, series, sessions)
        self._steps = 0
        self._events = 0
        self._bars: list[Bar] = []
        self._dirty = False
        self._durable = False
        self._recover()

    # --- Reading -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The venue's time (UTC ns)."""
        return self._replay.now

    @property
    def done(self) -> bool:
        """Whether the recorded market has ended."""
        return self._replay.done

    @property
    def is_dirty(self) -> bool:
        """Whether something waits for a commit."""
        return self._dirty

    @property
    def needs_sync(self) -> bool:
        """Whether something waits for a commit that has to be synced: an input, or what happened to an order."""
        return self._durable

    def next_at(self) -> int | None:
        """When the next step of the market is due (UTC ns); None at its end."""
        return self._replay.next_at()

    def symbol_of(self, name: str) -> str | None:
        """A symbol by any of its spellings (``BTC/USD``, ``BTCUSD``); None if it is not traded here."""
        return self._names.get(name)

    def account_of(self, key: str) -> VenueAccount | None:
        """The account of a key, if it has been opened."""
        return self._by_key.get(key)

    def present_accounts(self) -> list[VenueAccount]:
        """The accounts that have keys: all but those that were reset."""
        return list(self._by_key.values())

    def bars_begun(self, symbol: str) -> int:
        """How many bars of a symbol have begun."""
        return self._replay.bars_begun(symbol)

    def engine_for(self, number: int, cash: Decimal | None = None) -> MatchingEngine:
        """A new engine as the account of this number has one, without a past."""
        settings = msgspec.structs.replace(self._settings, namespace=self._namespace + number)
        cash = self._cash if cash is None else cash
        return MatchingEngine(self.assets, cash=cash, settings=settings, sessions=self.sessions)

    # --- Changing ----------------------------------------------------------------------------------------------

    def authenticate(self, key: str, secret: str) -> VenueAccount | None:
        """The account of a key pair, opened if the key is new; None if the secret is not the first one given."""
        account = self._by_key.get(key)
        if account is not None:
            self.refresh(account)
            return account if account.knows(secret) else None
        if not plausible_keys(key, secret):
            return None
        opening = OpenAccount(key, digest(secret))
        self._record(len(self.accounts) + 1, _OPEN, _encode(opening))
        return self._open(opening)

    def submit(self, account: VenueAccount, new: NewOrder) -> VenueOrder:
        """Place an order.

        Raises:
            Refusal: The engine does not take it; nothing has changed.
        """
        order: VenueOrder = self._change(account, "submit", new)
        return order

    def cancel(self, account: VenueAccount, order_id: str) -> VenueOrder:
        """Cancel an order.

        Raises:
            Refusal: It does not exist, or is closed; nothing has changed.
        """
        order: VenueOrder = self._change(account, "cancel", order_id)
        return order

    def replace(self, account: VenueAccount, order_id: str, change: Replacement) -> VenueOrder:
        """Put a new order in the place of an open one.

        Raises:
            Refusal: It cannot be; nothing has changed.
        """
        order: VenueOrder = self._change(account, "replace", Replacing(order_id, change))
        return order

    def post(self, account: VenueAccount, posting: Posting) -> PostedRow:
        """Book an activity that is no trade.

        Raises:
            Refusal: It cannot be; nothing has changed.
        """
        row: PostedRow = self._change(account, "post", posting)
        return row

    def bust(self, account: VenueAccount, execution_id: str) -> VenueExecution:
        """Take an execution back.

        Raises:
            Refusal: It does not exist, or cannot be; nothing has changed.
        """
        execution: VenueExecution = self._change(account, "bust", execution_id)
        return execution

    def configure(self, account: VenueAccount, configuration: Configuration) -> None:
        """Let an account obey these switches from now on."""
        self._change(account, "configure", configuration)

    def watch(self, account: VenueAccount, change: WatchlistChange) -> Watchlist:
        """Change the watchlists of an account.

        Raises:
            Refusal: It cannot be; nothing has changed.
        """
        watchlist: Watchlist = self._change(account, "watch", change)
        return watchlist

    def operate(self, operation: Operation) -> Amendment | None:
        """Do what an operator asks for. Gives what it has changed of the past, if it has.

        Raises:
            Refusal: It cannot be; nothing has changed.
        """
        at = self._cursor()
        amendment = self._carry_out(operation)
        self._record(0, _OPERATE, _encode(operation), at)
        self._collect(self.accounts)
        return amendment

    def amend(self, series: BarSeries, ticks: SymbolTicks) -> None:
        """Let these bars and ticks take the place of a symbol's, in a market of quotes. Part of an operation."""
        symbol = series.symbol
        self.series[symbol], self.ticks[symbol] = series, ticks
        if self._quoted is not None:
            self._quoted.revise(series, ticks)

    def revise(self, series: BarSeries) -> None:
        """Let these bars take the place of a symbol's recorded ones; their times are the same. Part of an operation."""
        if isinstance(self._replay, Replay):
            self.series[series.symbol] = series
            self._replay.revise(series)
        else:
            self.amend(series, self.ticks[series.symbol].over(series))

    def succeed(self, account: VenueAccount, cash: Decimal) -> VenueAccount:
        """Open a new account for the key pair of an old one. Part of an operation."""
        self.group.remove(account.engine)
        return self._open(OpenAccount(account.key, account.secret_digest), cash)

    def step(self, count: int, *, bars_only: bool = False) -> None:
        """Do so many steps of the market, or as many as it takes until so many times bars have ended."""
        while count and not self.done:
            ended = len(self._bars)
            self.advance(None)
            if not bars_only or len(self._bars) > ended:
                count -= 1

    def advance(self, limit: int | None) -> None:
        """Do the next step of the market, or only move time to ``limit`` (UTC ns) if that comes first."""
        before, session_close = self._replay.now, self._replay.session_close
        step = self._replay.advance(limit)
        if step.kind == "limit" and step.now == before:
            return
        self._dirty = True
        if step.kind == "close":
            for account in self.present_accounts():
                account.sample(step.now)
        if step.kind != "limit":
            self._steps += 1
            for bar in step.bars:
                self.visible[bar.symbol] += 1
            self._bars.extend(step.bars)
        self._collect(self.accounts)
        if self._replay.session_close != session_close:
            for account in self.present_accounts():
                account.end_session(session_close)

    def run_until(self, moment: int) -> None:
        """Do every step that is due by a moment (UTC ns), then move time to it, unless the market has ended."""
        while (due := self._replay.next_at()) is not None and due <= moment:
            self.advance(None)
        if moment > self.now and not self.done:
            self.advance(moment)

    def commit(self) -> News:
        """Make everything since the last commit survive, and hand out what may be told now.

        Raises:
            VenueError: The book cannot be written; nothing may be told, and the venue must stop.
        """
        if not self._dirty:
            return News((), (), self.now)
        self._book.commit(self._cursor(), durable=self._durable)
        self._dirty = self._durable = False
        updates = []
        for account in self.accounts:
            if account.news:
                updates.append((account, account.news))
                account.news = []
        bars, self._bars = tuple(self._bars), []
        return News(tuple(updates), bars, self.now)

    # --- Inside ------------------------------------------------------------------------------------------------

    def _cursor(self) -> Cursor:
        return Cursor(self._steps, self._replay.now, self._events)

    def _change(self, account: VenueAccount, kind: str, body: Any) -> Any:
        """Do what an input asks for, and remember it unless it is refused."""
        at = self._cursor()
        outcome = self._apply(account, kind, body, self.now)
        self._record(account.number, kind, _encode(body), at)
        self._collect((account,))
        return outcome

    def _apply(self, account: VenueAccount, kind: str, body: Any, now: int) -> Any:
        """Carry an input out. In a market of quotes it meets the present ones, and what is marketable trades at once."""
        replay = self._quoted
        if replay is None:
            return _INPUTS[kind].apply(account, body, now)
        self.refresh(account)
        symbol = self._symbol_of_order(account, body)
        if symbol is not None:
            replay.refresh(symbol)
        outcome = _INPUTS[kind].apply(account, body, now)
        if symbol is not None:
            replay.watch(symbol)
            if isinstance(outcome, VenueOrder):
                # The answer shows the order as it was taken, before it met the market.
                outcome = msgspec.structs.replace(outcome)
                account.engine.meet(symbol, now)
        return outcome

    def _carry_out(self, operation: Operation) -> Amendment | None:
        """Do what an operator asks for; in a market of quotes at the present prices, and what stands is told anew after it."""
        if self._quoted is not None:
            for symbol in self.series:
                self._quoted.refresh(symbol)
        amendment = carry_out(self, operation)
        if self._quoted is not None:
            for symbol in self.series:
                self._quoted.forget(symbol)
        return amendment

    def last_price(self, symbol: str) -> float | None:
        """What a symbol was traded at last; None before its first trade."""
        if self._quoted is not None:
            self._quoted.refresh(symbol)
        return self.group.prices.get(symbol)

    def refresh(self, account: VenueAccount) -> None:
        """Value what an account holds at the last trades, in a market of quotes."""
        if self._quoted is not None:
            for symbol in list(account.engine.held):
                self._quoted.refresh(symbol)

    def _symbol_of_order(self, account: VenueAccount, body: Any) -> str | None:
        """The symbol of the order that an input makes; None if it makes none."""
        if isinstance(body, NewOrder):
            return self._names.get(body.symbol)
        if isinstance(body, Replacing):
            order = account.engine.order(body.order_id)
            return None if order is None else order.symbol
        return None

    def _record(self, account: int, kind: str, body: bytes, at: Cursor | None = None) -> None:
        self._book.add(Input(at or self._cursor(), account, kind, body))
        self._dirty = self._durable = True

    def _open(self, opening: OpenAccount, cash: Decimal | None = None) -> VenueAccount:
        number = len(self.accounts) + 1
        engine = self.engine_for(number, cash)
        account = VenueAccount(
            number, opening.key, opening.secret_digest, engine, self.now, RateWindow(self._rate_limit)
        )
        self.group.add(engine, self.now)
        self.accounts.append(account)
        self._by_key[opening.key] = account
        return account

    def _collect(self, accounts: Sequence[VenueAccount]) -> None:
        for account in accounts:
            count = account.collect()
            if count:
                self._events += count
                self._durable = True

    # --- Recovery ----------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        end = self._book.cursor
        if end is None:
            return
        for entry in self._book.inputs():
            self._return_to(entry.at)
            self._repeat(entry)
        self._return_to(end)
        # All of it was told before, or never will be: the streams know no past.
        for account in self.accounts:
            account.news.clear()
        self._bars.clear()
        self._dirty = self._durable = False

    def _return_to(self, at: Cursor) -> None:
        while self._steps < at.steps and not self.done:
            self.advance(None)
        if self.now < at.now:
            self.advance(at.now)
        if self._cursor() != at:
            message = (
                f"the venue's book {self._book.path} does not replay: it recorded {at}, the replay gives {self._cursor()}; "
                "it was written by another version, or is damaged. Name another book"
            )
            raise VenueError(message)

    def _repeat(self, entry: Input) -> None:
        try:
            if entry.kind == _OPEN:
                self._open(msgspec.json.decode(entry.body, type=OpenAccount))
                return
            if entry.kind == _OPERATE:
                self._carry_out(msgspec.json.decode(entry.body, type=Operation))
                self._collect(self.accounts)
                return
            account, body = self.accounts[entry.account - 1], _INPUTS[entry.kind].body
            self._apply(account, entry.kind, msgspec.json.decode(entry.body, type=body), entry.at.now)
            self._collect((account,))
        except (msgspec.DecodeError, LookupError) as error:
            message = f"the venue's book {self._book.path} holds an input that cannot be read: {entry}"
            raise VenueError(message) from error


def data_identity(series: Mapping[str, BarSeries]) -> str:
    """A digest of the market, by which a book knows its data."""
    sha = hashlib.sha256()
    for symbol in sorted(series):
        bars = series[symbol]
        sha.update(f"{symbol}:{bars.period}:{len(bars)};".encode())
        for column in (bars.ts, bars.open, bars.high, bars.low, bars.close, bars.volume):
            sha.update(column.tobytes())
    return sha.hexdigest()
