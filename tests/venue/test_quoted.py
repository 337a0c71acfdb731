"""A market of quotes and trades: the order of things in `holdfast.venue.market.quoted`, and what a restart makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model import Asset, BarSeries, OrderSide, OrderType, TimeInForce
from holdfast.time import FixedSessions
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange
from holdfast.venue.market.ticks import GeneratedTicks, QuoteTick
from holdfast.venue.matching.engine import EngineSettings
from holdfast.venue.matching.orders import NewOrder, Refusal
from holdfast.venue.store import Book, memory_book, open_book
from tests.venue.helpers import OPENING, StartVenue, hear, market, minutes
from tests.venue.market_watch import STOCKS, flowing, subscribed

MINUTE = 60 * 10**9
SECOND = 10**9
BUY, SELL = OrderSide.BUY, OrderSide.SELL
ASSETS = {name: Asset(symbol=name, marginable=True, shortable=True) for name in ("A", "B")}
SESSIONS = FixedSessions(0, 86_400 * SECOND)


def bars(symbol: str, count: int = 6, *, first: int = 1, volume: float = 80.0, gap: int | None = None) -> BarSeries:
    """Minutes around a price of their number; after ``gap`` of them, an hour without any."""
    number = np.arange(count, dtype=np.int64)
    ends = (first + number + (60 * (number >= gap) if gap is not None else 0)) * MINUTE
    opens = np.asarray(100.0 + number, dtype=np.float64)
    return BarSeries(symbol, MINUTE, ends, opens, opens + 0.5, opens - 0.5, opens + 0.25, np.full(count, volume))


def exchange(book: Book, *series: BarSeries, participation: Decimal | None = None) -> Exchange:
    """An exchange with ticks in all its bars."""
    by_name = {one.symbol: one for one in series}
    return Exchange(
        book,
        by_name,
        ASSETS,
        cash=Decimal(100_000),
        settings=EngineSettings(participation=participation),
        sessions=lambda _: SESSIONS,
        ticks={name: GeneratedTicks(one, ASSETS[name]) for name, one in by_name.items()},
    )


def opened(venue: Exchange, key: str = "key") -> VenueAccount:
    """An account."""
    account = venue.authenticate(key, "secret")
    assert account is not None
    return account


def order(symbol: str, quantity: int = 1, side: OrderSide = BUY, limit: str | None = None, **more: Any) -> NewOrder:
    """An order for the day."""
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else Decimal(limit)
    return NewOrder(symbol, side, kind, TimeInForce.DAY, Decimal(quantity), price, **more)


def test_a_market_order_fills_at_once_at_the_far_side_of_the_quote_that_stands() -> None:
    """The answer shows it as it was taken; its fill is at the ask (or bid) of the last quote."""
    venue = exchange(memory_book(1), bars("A"))
    account = opened(venue)
    venue.run_until(100 * SECOND)
    quote, _ = venue.ticks["A"].latest(venue.now)
    assert quote is not None
    taken = venue.submit(account, order("A", 2))
    sold = venue.submit(account, order("A", 2, SELL))
    fills = account.engine.activities()

    assert (taken.status, sold.status) == ("new", "new")
    assert [(fill.side, float(fill.price), fill.at) for fill in fills] == [
        (BUY, quote.ask, venue.now),
        (SELL, quote.bid, venue.now),
    ]


def test_a_limit_order_waits_for_the_quote_that_reaches_it() -> None:
    """It fills at the first bid at or above its limit, at that bid, at that moment."""
    venue = exchange(memory_book(1), bars("A"))
    account = opened(venue)
    venue.run_until(30 * SECOND)
    stands, _ = venue.ticks["A"].latest(venue.now)
    assert stands is not None
    limit = f"{stands.bid + 1.3:.2f}"
    venue.submit(account, order("A", 1, SELL, limit=limit))
    expected = next(tick for tick in venue.ticks["A"].quotes(venue.now + 1, 10 * MINUTE) if tick.bid >= float(limit))
    venue.run_until(10 * MINUTE)
    (fill,) = account.engine.activities()

    assert (float(fill.price), fill.at) == (expected.bid, expected.ts)


def test_a_quote_offers_no_more_than_its_size() -> None:
    """With a limited participation the rest waits for the next quotes, and takes their asks."""
    venue = exchange(memory_book(1), bars("A"), participation=Decimal(1))
    account = opened(venue)
    venue.run_until(61 * SECOND)
    quotes = [tick for tick in venue.ticks["A"].between(0, 10 * MINUTE) if isinstance(tick, QuoteTick)]
    stands = [quote for quote in quotes if quote.ts <= venue.now][-1:]
    later = [quote for quote in quotes if quote.ts > venue.now]
    venue.submit(account, order("A", 30))
    venue.run_until(10 * MINUTE)
    fills = account.engine.activities()

    assert sum(fill.quantity for fill in fills) == 30
    assert len(fills) > 1
    offered = [(quote.ask, quote.ask_size) for quote in (*stands, *later)][: len(fills)]
    assert [float(fill.price) for fill in fills] == [ask for ask, _ in offered]
    assert [float(fill.quantity) for fill in fills[:-1]] == [size for _, size in offered][:-1]


def test_where_no_bar_is_in_progress_nobody_quotes() -> None:
    """An order in a gap of the data waits for the first quote after it."""
    venue = exchange(memory_book(1), bars("A", gap=3))
    account = opened(venue)
    venue.run_until(20 * MINUTE)
    venue.submit(account, order("A"))
    assert account.engine.activities() == []
    venue.run_until(64 * MINUTE)
    (fill,) = account.engine.activities()
    assert fill.at == 63 * MINUTE


def test_positions_are_valued_at_the_last_trade_whoever_asks() -> None:
    """Also inside a bar, and without an order in the symbol."""
    venue = exchange(memory_book(1), bars("A"))
    account = opened(venue)
    venue.run_until(10 * SECOND)
    venue.submit(account, order("A"))
    venue.run_until(200 * SECOND)
    venue.authenticate("key", "secret")
    position = account.engine.position("A")
    _, trade = venue.ticks["A"].latest(venue.now)

    assert position is not None
    assert trade is not None
    assert position.current_price == Decimal(repr(trade.price))


def test_bars_are_told_as_before_and_ticks_are_steps_only_where_orders_are_open() -> None:
    """Without orders a step is a moment of bars; and time never goes back."""
    venue = exchange(memory_book(1), bars("A"), bars("B", first=2))
    account = opened(venue)
    due, steps = [], 0
    while (at := venue.next_at()) is not None:
        due.append(at)
        venue.advance(None)
        steps += 1
        if steps == 2:
            venue.submit(account, order("B", limit="1"))
    assert due == sorted(due)
    assert due[:2] == [MINUTE, 2 * MINUTE]
    watched = [tick.ts for tick in venue.ticks["B"].between(2 * MINUTE, 7 * MINUTE) if isinstance(tick, QuoteTick)]
    assert due[2:] == sorted([*watched, *(n * MINUTE for n in range(3, 8))])
    assert {bar.ts for bar in venue.commit().bars} == {n * MINUTE for n in range(1, 8)}


# ---------------------------------------------------------------------- restarts

ACTS = st.lists(
    st.tuples(
        st.integers(0, 40 * 10),  # tenths of seconds until the next one
        st.sampled_from(["buy", "sell", "huge", "limit", "cancel", "look"]),
        st.sampled_from(["A", "B"]),
        st.integers(1, 30),
    ),
    max_size=25,
)


def act(venue: Exchange, account: VenueAccount, what: str, symbol: str, quantity: int) -> None:
    """One thing that a client does; what is refused changes nothing."""
    engine = account.engine
    open_orders = engine.orders()
    try:
        if what == "look":
            venue.authenticate(account.key, "secret")
        elif what == "cancel" and open_orders:
            venue.cancel(account, open_orders[quantity % len(open_orders)].id)
        elif what == "limit":
            venue.submit(account, order(symbol, quantity, limit=str(99 + quantity % 6)))
        elif what == "huge":
            venue.submit(account, order(symbol, quantity * 40))
        elif what in ("buy", "sell"):
            venue.submit(account, order(symbol, quantity, BUY if what == "buy" else SELL))
    except Refusal:
        pass


def state(venue: Exchange) -> list[Any]:
    """All that an account's owner can see."""
    found: list[Any] = [venue.now]
    for account in venue.accounts:
        venue.refresh(account)
        engine = account.engine
        found += [engine.account(), engine.positions(), engine.orders("all"), engine.activities()]
    return [str(part) for part in found[:1]] + [repr(part) for part in found[1:]]


@settings(max_examples=60, deadline=None)
@given(ACTS, st.integers(0, 25), st.sampled_from([None, Decimal(1)]))
def test_a_venue_restarted_at_any_place_has_the_same_book(
    acts: Sequence[tuple[int, str, str, int]], cut: int, participation: Decimal | None
) -> None:
    """Reads and refused orders in between leave no trace; what follows the restart is the same, too."""
    series = (bars("A", 8, gap=5), bars("B", 6, first=2, volume=0.0))
    book = memory_book(1)
    whole = exchange(book, *series, participation=participation)
    account = opened(whole)
    for wait, what, symbol, quantity in acts[:cut]:
        whole.run_until(whole.now + wait * SECOND // 10)
        act(whole, account, what, symbol, quantity)
        whole.commit()
    whole.commit()
    again = exchange(book, *series, participation=participation)
    for venue in (whole, again):
        for wait, what, symbol, quantity in acts[cut:]:
            venue.run_until(venue.now + wait * SECOND // 10)
            act(venue, venue.accounts[0], what, symbol, quantity)
        venue.run_until(9 * MINUTE)
    assert state(again) == state(whole)


async def test_a_killed_venue_comes_back_quickly_and_with_the_same_book(tmp_path: Path) -> None:
    """A position held and an order rested through two days of minutes cost a restart no more than they must."""
    number = np.arange(2_000, dtype=np.int64)
    wave = np.asarray(100.0 + np.round(np.sin(number / 9.0), 2), dtype=np.float64)
    series = BarSeries("A", MINUTE, (number + 1) * MINUTE, wave, wave + 0.5, wave - 0.5, wave, np.full(2_000, 50.0))
    path = tmp_path / "book"
    with await open_book(path, {}, book_id=1) as book:
        venue = exchange(book, series)
        account = opened(venue)
        venue.run_until(30 * SECOND)
        venue.submit(account, order("A"))
        venue.run_until(1_900 * MINUTE)
        venue.submit(account, order("A", limit="1"))
        venue.run_until(1_990 * MINUTE)
        venue.commit()
        before = state(venue)
        steps = venue._steps
    with await open_book(path, {}, book_id=1) as book:
        assert state(exchange(book, series)) == before
    # Minutes without an open order are one step each, the ninety with one are nine.
    assert steps < 1_990 + 8 * 91


async def test_a_market_order_over_http_fills_at_the_ask_that_was_streamed(start_venue: StartVenue) -> None:
    """What a client sees is what it gets: quote on the stream, order over REST, fill on the other stream."""
    venue = start_venue(minutes("SPY", 30, start=OPENING, base=400.0), speed=20, participation=None)
    async with subscribed(venue, STOCKS, quotes=["SPY"]) as data, flowing(venue) as trade:
        first = (await hear(data))[0]
        with venue.client() as client:
            answer = await asyncio.to_thread(client.post, "/v2/orders", json=market("1", symbol="SPY"))
            updates = [(await hear(trade))["data"] for _ in range(2)]
            quotes = client.get("/v2/stocks/SPY/quotes", params={"start": "2024-01-02T14:30:00Z"}).json()["quotes"]
    told = [quote for quote in quotes if quote["t"] <= updates[1]["timestamp"]]

    assert answer.json()["status"] == "new"
    assert [update["event"] for update in updates] == ["new", "fill"]
    assert float(updates[1]["price"]) == told[-1]["ap"]
    assert {name: first[name] for name in ("t", "ap", "bp")} in [
        {name: quote[name] for name in ("t", "ap", "bp")} for quote in quotes
    ]


def test_a_session_ends_at_the_prices_of_then() -> None:
    """Last equity is what the account was worth at the close, whatever was asked before."""
    sessions = FixedSessions(0, 3 * MINUTE)
    series = bars("A", 5)
    results = []
    for looks in (False, True):
        venue = Exchange(
            memory_book(1),
            {"A": series},
            ASSETS,
            cash=Decimal(100_000),
            settings=EngineSettings(participation=None),
            sessions=lambda _: sessions,
            ticks={"A": GeneratedTicks(series, ASSETS["A"])},
        )
        account = opened(venue)
        venue.run_until(10 * SECOND)
        venue.submit(account, order("A", 10))
        if looks:
            for second in range(20, 170, 10):
                venue.run_until(second * SECOND)
                venue.authenticate("key", "secret")
        venue.run_until(4 * MINUTE)
        results.append(account.engine.account().last_equity)
    fill = account.engine.activities()[0]

    assert results[0] == results[1] == 100_000 + 10 * (Decimal("102.25") - fill.price)
