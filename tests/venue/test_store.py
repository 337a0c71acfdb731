"""The venue's book: what was committed is there again, and only to the venue that it belongs to."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model import AssetClass, BarSeries, OrderSide, OrderType, TimeInForce
from holdfast.model.errors import VenueError
from holdfast.time import sessions_for
from holdfast.venue import default_asset
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange, data_identity
from holdfast.venue.matching.engine import EngineSettings
from holdfast.venue.matching.orders import NewOrder, Posting, Refusal
from holdfast.venue.store import Book, Cursor, Input, open_book
from tests.venue.helpers import minutes

IDENTITY = {"data": "d", "cash": "1"}
INPUT = Input(Cursor(3, 40, 2), 1, "submit", b'{"a":1}')


async def test_a_commit_is_found_again(tmp_path: Path) -> None:
    """Inputs in their order, the cursor, and the book's id; what was not committed is gone."""
    path = tmp_path / "deep" / "book.sqlite"
    with await open_book(path, IDENTITY) as book:
        assert book.cursor is None
        book.add(INPUT)
        book.commit(Cursor(4, 50, 2), durable=True)
        book.add(Input(Cursor(5, 60, 2), 2, "cancel", b'"x"'))
        book.commit(Cursor(6, 70, 3), durable=False)
        book.commit(Cursor(7, 80, 3), durable=False)
        book.add(Input(Cursor(7, 80, 3), 1, "cancel", b'"lost"'))

    with await open_book(path, IDENTITY) as again:
        assert again.cursor == Cursor(7, 80, 3)
        assert list(again.inputs()) == [INPUT, Input(Cursor(5, 60, 2), 2, "cancel", b'"x"')]
        assert again.book_id == book.book_id


async def test_two_books_differ_in_their_ids_unless_seeded(tmp_path: Path) -> None:
    """A client that meets both must never see one id twice."""
    with await open_book(tmp_path / "a", IDENTITY) as a, await open_book(tmp_path / "b", IDENTITY) as b:
        assert a.book_id != b.book_id
    with await open_book(tmp_path / "c", IDENTITY, book_id=7) as c:
        assert c.book_id == 7


async def test_a_temporary_book_leaves_nothing() -> None:
    """It is removed when it is closed."""
    with await open_book(None, IDENTITY) as book:
        folder = book.path.parent
        assert folder.is_dir()

    assert not folder.exists()


async def test_the_book_of_other_data_is_refused(tmp_path: Path) -> None:
    """The message names what differs, and the book stays usable for its owner."""
    path = tmp_path / "book.sqlite"
    with await open_book(path, IDENTITY):
        pass
    with pytest.raises(VenueError, match=r"book.sqlite was made with cash = 1, this venue has 2; name another book"):
        await open_book(path, {**IDENTITY, "cash": "2"})
    with await open_book(path, IDENTITY):
        pass


async def test_what_is_no_book_is_refused(tmp_path: Path) -> None:
    """A file of something else, and a folder."""
    file = tmp_path / "file"
    file.write_text("this is a text, and no database at all" * 20)
    with pytest.raises(VenueError, match="file"):
        await open_book(file, IDENTITY)
    with pytest.raises(VenueError, match="cannot be opened"):
        await open_book(tmp_path, IDENTITY)


def test_a_book_in_use_names_its_owner(tmp_path: Path) -> None:
    """A second venue says whose it is; where the owner dies in time, it gets the book."""
    path = tmp_path / "book.sqlite"
    code = (
        "import asyncio, sys; from pathlib import Path; from holdfast.venue.store import open_book\n"
        "book = asyncio.run(open_book(Path(sys.argv[1]), {}))\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(VenueError, match=f"in use by process {owner.pid}"):
            asyncio.run(open_book(path, {}, wait_seconds=0.1))

        async def wait_for_the_dying() -> Book:
            opening = asyncio.ensure_future(open_book(path, {}))
            await asyncio.sleep(0)
            owner.kill()
            return await opening

        asyncio.run(wait_for_the_dying()).close()


async def test_a_book_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """The venue must stop then: its engine is ahead of its book."""
    book = await open_book(tmp_path / "book.sqlite", IDENTITY)
    book.close()
    with pytest.raises(VenueError, match="cannot be written"):
        book.commit(Cursor(1, 1, 0), durable=True)


# --- The exchange over the book ----------------------------------------------------------------------------------


def exchange(book: Book, series: dict[str, BarSeries], participation: str = "0.1") -> Exchange:
    """An exchange as the server makes it."""
    return Exchange(
        book,
        series,
        {symbol: default_asset(symbol) for symbol in series},
        cash=Decimal(100_000),
        settings=EngineSettings(participation=Decimal(participation)),
        sessions=sessions_for,
    )


def everything(venue: Exchange) -> object:
    """All that a client could ever learn."""
    return (
        venue.now,
        venue.done,
        venue.next_at(),
        dict(venue.visible),
        [(account.key, account.id, account.event_count, account.engine.dump()) for account in venue.accounts],
        [account.posted for account in venue.accounts],
    )


ACTIONS = st.one_of(
    st.tuples(st.just("step"), st.integers(0, 3)),
    st.tuples(st.just("timer"), st.integers(1, 90)),
    st.tuples(st.just("buy"), st.integers(1, 30)),
    st.tuples(st.just("limit"), st.integers(39_800, 40_200)),
    st.tuples(st.just("sell"), st.integers(1, 30)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("open"), st.integers(0, 2)),
    st.tuples(st.just("post"), st.integers(-9, 9)),
    st.tuples(st.just("bust"), st.integers(0, 5)),
    st.tuples(st.just("commit"), st.just(0)),
)


def amend(venue: Exchange, account: VenueAccount, kind: str, number: int) -> None:
    """Post an activity, or take an execution back."""
    executions = account.engine.activities()
    if kind == "post":
        symbol = "BTC/USD" if number % 2 else "ETH/USD"
        venue.post(account, Posting("SPLIT", symbol, Decimal(number), Decimal(-number)))
    elif executions:
        venue.bust(account, executions[number % len(executions)].execution_id)


def act(venue: Exchange, kind: str, number: int) -> None:
    """Do one of ACTIONS."""
    account = venue.accounts[number % len(venue.accounts)]
    symbol = "BTC/USD" if number % 2 else "ETH/USD"
    if kind == "step":
        for _ in range(number):
            venue.advance(None)
    elif kind == "timer":
        venue.advance(venue.now + number * 1_000_000_000)
    elif kind == "open":
        venue.authenticate(f"key{number}", "secret")
    elif kind == "commit":
        venue.commit()
    elif kind in ("post", "bust"):
        with contextlib.suppress(Refusal):
            amend(venue, account, kind, number)
    elif kind == "cancel":
        orders = account.engine.orders("open")
        if orders:
            venue.cancel(account, orders[number % len(orders)].id)
    else:
        side = OrderSide.SELL if kind == "sell" else OrderSide.BUY
        price = Decimal(number) if kind == "limit" else None
        quantity = Decimal(number if price is None else 7) / 20
        tif = TimeInForce.IOC if number % 5 == 0 else TimeInForce.GTC
        try:
            order_type = OrderType.MARKET if price is None else OrderType.LIMIT
            venue.submit(account, NewOrder(symbol, side, order_type, tif, quantity, price))
        except Refusal:
            pass


@given(script=st.lists(ACTIONS, max_size=60))
@settings(max_examples=60)
def test_a_restart_gives_the_same_venue(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int]]
) -> None:
    """Whatever was done, a venue opened on the book is the one that was committed, and goes on like it."""
    path = tmp_path_factory.mktemp("book") / "book.sqlite"
    series = {s.symbol: s for s in (minutes("BTC/USD", 20), minutes("ETH/USD", 25, base=3000.0))}
    with asyncio.run(open_book(path, IDENTITY)) as book:
        venue = exchange(book, series)
        venue.authenticate("key", "secret")
        for kind, number in script:
            act(venue, kind, number)
        venue.commit()
        before = everything(venue)
    with asyncio.run(open_book(path, IDENTITY)) as book:
        again = exchange(book, series)
        assert everything(again) == before
        assert again.commit().updates == ()  # what was told is not told again
        for one in (venue, again):
            for _ in range(8):
                one.advance(None)
        assert everything(again) == everything(venue)


async def test_an_engine_that_decides_otherwise_is_noticed(tmp_path: Path) -> None:
    """A canary for the comparison: the same inputs through other rules do not replay, and nobody is served."""
    path = tmp_path / "book.sqlite"
    series = {"BTC/USD": minutes(count=20)}
    with await open_book(path, IDENTITY) as book:
        venue = exchange(book, series)
        account = venue.authenticate("key", "secret")
        assert account is not None
        venue.advance(None)
        order = NewOrder("BTC/USD", OrderSide.BUY, OrderType.MARKET, TimeInForce.GTC, Decimal("1.5"))
        venue.submit(account, order)
        for _ in range(6):
            venue.advance(None)
        venue.commit()
    with await open_book(path, IDENTITY) as book, pytest.raises(VenueError, match="does not replay"):
        exchange(book, series, participation="1")


def test_data_is_known_by_every_number_of_it() -> None:
    """One changed price is another market."""
    one, same, other = minutes(), minutes(), minutes()
    other.close[7] = np.nextafter(other.close[7], np.inf)

    assert data_identity({"BTC/USD": one}) == data_identity({"BTC/USD": same})
    assert data_identity({"BTC/USD": one}) != data_identity({"BTC/USD": other})
    assert AssetClass.CRYPTO is default_asset("BTC/USD").asset_class
