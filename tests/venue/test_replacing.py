"""Replacing an order at the venue: a new arrival in the old one's place, judged as one of the two."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.model import AssetClass, OrderSide, OrderStatus, OrderType, TimeInForce
from holdfast.time import sessions_for
from holdfast.venue import default_asset
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine
from holdfast.venue.matching.orders import NewOrder, Refusal
from holdfast.venue.matching.replacing import Replacement
from holdfast.venue.store import Book, open_book
from tests.venue.engine_bench import IOC, NOON, SELL, make_engine, order
from tests.venue.helpers import minutes


def change(quantity: str | None = None, limit: str | None = None, name: str | None = None, **more: Any) -> Replacement:
    """What is to change."""
    return Replacement(
        None if quantity is None else Decimal(quantity), None if limit is None else Decimal(limit), name, **more
    )


def refused(engine: MatchingEngine, order_id: str, what: Replacement) -> tuple[int, int, str]:
    """How the engine says no; nothing has changed then."""
    before, open_count = engine.dump(), engine.open_count
    with pytest.raises(Refusal) as caught:
        engine.replace(order_id, what, NOON)
    assert (engine.dump(), engine.open_count, engine.take_events()) == (before, open_count, [])
    return caught.value.http_status, caught.value.code, caught.value.message


# -- the engine ------------------------------------------------------------------------------------


def test_a_new_order_takes_the_old_ones_place() -> None:
    """Each names the other; the old one's event comes first, as of its end."""
    engine = make_engine()
    old = engine.submit(order(limit="99", client_order_id="a"), NOON)
    engine.take_events()
    new = engine.replace(old.id, change(limit="99.5", name="b"), NOON + 1)

    assert (old.status, old.replaced_by, old.replaced_at) == (OrderStatus.REPLACED, new.id, NOON + 1)
    assert (new.status, new.replaces, new.client_order_id, new.number) == (OrderStatus.NEW, old.id, "b", 2)
    assert (new.quantity, new.limit_price, new.time_in_force) == (Decimal(10), Decimal("99.5"), old.time_in_force)
    first, second = engine.take_events()
    assert (first.kind, first.order.id, first.snapshot().replaced_by) == ("replaced", old.id, new.id)
    assert (second.kind, second.order.id, second.snapshot().replaces) == ("new", new.id, old.id)
    assert engine.open_count == 1
    assert [found.id for found in engine.orders("open")] == [new.id]


def test_a_replaced_order_is_the_last_to_arrive() -> None:
    """Price, then time: it is behind an equal one that was behind it."""
    engine = make_engine(participation=Decimal("0.1"))
    moved = engine.submit(order(limit="98"), NOON)
    stayed = engine.submit(order(limit="99"), NOON)
    moved = engine.replace(moved.id, change(limit="99"), NOON)
    engine.open_bar("SPY", NOON + 1, 98.5, 100.0)

    assert (stayed.filled_qty, moved.filled_qty) == (Decimal(10), Decimal(0))


def test_after_a_partial_fill_the_original_quantity_is_the_default() -> None:
    """The new order trades all of its own quantity; only one that names what is left stops there."""
    engine = make_engine(participation=Decimal("0.1"))
    old = engine.submit(order(quantity="10", limit="99"), NOON)
    engine.open_bar("SPY", NOON + 1, 99.0, 40.0)
    assert old.filled_qty == 4
    again = engine.replace(old.id, change(limit="99.5"), NOON + 2)
    assert (again.quantity, again.filled_qty) == (Decimal(10), Decimal(0))
    rest = engine.replace(again.id, change(quantity="6"), NOON + 2)
    engine.close_bar("SPY", NOON + 3, 99.0, 99.0, 99.0, 99.0, 1_000.0)
    engine.open_bar("SPY", NOON + 4, 99.0, 1_000.0)
    assert (rest.status, engine.account().cash) == (OrderStatus.FILLED, Decimal(100_000) - 10 * Decimal(99))


def test_what_cannot_be_replaced_is_refused_and_nothing_changes() -> None:
    """Not there, not open, not changed, a used id, a part of a share, what no order may be."""
    engine = make_engine()
    old = engine.submit(order(limit="99", client_order_id="a"), NOON)
    gone = engine.submit(order(limit="98", client_order_id="b"), NOON)
    part = engine.submit(order(quantity="1.5", limit="97"), NOON)
    now = engine.submit(order(), NOON)
    engine.cancel(gone.id, NOON)
    engine.take_events()

    assert refused(engine, "nobody", change(limit="1"))[:2] == (404, 40410000)
    assert refused(engine, gone.id, change(limit="97")) == (
        422,
        42210000,
        "unable to replace order, order is not open",
    )
    assert refused(engine, old.id, change()) == (403, 40310000, "order parameters are not changed")
    assert refused(engine, old.id, change(quantity="10", limit="99.00")) == (
        403,
        40310000,
        "order parameters are not changed",
    )
    assert refused(engine, old.id, change(limit="97", name="b")) == (422, 40010001, "client_order_id must be unique")
    assert refused(engine, old.id, change(limit="97", name="x" * 129))[:2] == (422, 40010001)
    assert refused(engine, part.id, change(quantity="2"))[:2] == (422, 42210000)
    assert refused(engine, old.id, change(quantity="0"))[2] == "qty must be > 0"
    assert refused(engine, old.id, change(limit="97.001"))[2].startswith("invalid limit_price")
    assert refused(engine, now.id, change(limit="97"))[2] == "market orders require no stop or limit price"
    assert engine.replace(part.id, change(limit="96"), NOON).quantity == Decimal("1.5")


def test_the_larger_of_the_two_needs_buying_power_and_never_both() -> None:
    """An account that is nearly used up can move its order, and not make it larger than it can pay for."""
    engine = make_engine(cash=1_000, multiplier=1)
    old = engine.submit(order(quantity="9", limit="100"), NOON)
    engine.take_events()
    assert engine.account().buying_power == 100
    assert refused(engine, old.id, change(quantity="11"))[2] == "insufficient buying power"
    new = engine.replace(old.id, change(limit="105"), NOON)
    assert engine.account().buying_power == 1_000 - 945
    engine.replace(new.id, change(quantity="1"), NOON)
    assert engine.account().buying_power == 1_000 - 105


def test_a_reducing_one_takes_no_more_than_is_held() -> None:
    """The old one's hold on the position is the new one's to have."""
    engine = make_engine()
    engine.submit(order(), NOON)
    engine.open_bar("SPY", NOON, 100.0, 1_000.0)
    old = engine.submit(order(side=SELL, quantity="6", limit="105"), NOON)
    other = engine.submit(order(side=SELL, quantity="3", limit="106"), NOON)
    engine.take_events()
    assert refused(engine, old.id, change(quantity="8"))[2].startswith("insufficient qty available for order")
    assert engine.replace(old.id, change(quantity="7"), NOON).is_open
    assert other.is_open


def test_a_replaced_order_cannot_be_cancelled_and_its_place_can() -> None:
    """The state is named."""
    engine = make_engine()
    old = engine.submit(order(limit="99"), NOON)
    new = engine.replace(old.id, change(limit="98"), NOON)
    with pytest.raises(Refusal, match='order is already in "replaced" state'):
        engine.cancel(old.id, NOON)
    assert engine.cancel(new.id, NOON).status is OrderStatus.CANCELED


def test_the_state_is_the_same_after_a_dump() -> None:
    """Chains and all; and an immediate order can be replaced until it has met the market."""
    engine = make_engine()
    old = engine.submit(order(limit="99", time_in_force=IOC), NOON)
    engine.replace(old.id, change(limit="101"), NOON)
    again = make_engine()
    again.load(msgspec.json.decode(msgspec.json.encode(engine.dump())))
    for one in (engine, again):
        one.open_bar("SPY", NOON, 100.0, 1_000.0)
    assert again.dump() == engine.dump()


# -- the book --------------------------------------------------------------------------------------


def exchange_over(book: Book) -> Exchange:
    """A venue of one coin."""
    series = {"BTC/USD": minutes("BTC/USD", 30)}
    assets = {symbol: default_asset(symbol) for symbol in series}
    settings = EngineSettings(participation=None)
    return Exchange(book, series, assets, cash=Decimal(100_000), settings=settings, sessions=lambda _: CRYPTO)


CRYPTO = sessions_for(AssetClass.CRYPTO)


def opened(exchange: Exchange) -> VenueAccount:
    """An account."""
    account = exchange.authenticate("key", "secret")
    assert account is not None
    return account


async def test_a_replacement_survives_a_restart(tmp_path: Path) -> None:
    """It is an input of the book: replayed, it gives the same orders and ids; what was refused is none."""
    path, identity = tmp_path / "book", {"data": "x"}
    with await open_book(path, identity) as book:
        exchange = exchange_over(book)
        account = opened(exchange)
        exchange.advance(None)
        exchange.advance(None)
        new = NewOrder("BTC/USD", OrderSide.BUY, OrderType.LIMIT, TimeInForce.GTC, Decimal(1), Decimal(50), "a")
        old = exchange.submit(account, new)
        exchange.advance(None)
        moved = exchange.replace(account, old.id, change(limit="60", name="b"))
        with pytest.raises(Refusal):
            exchange.replace(account, old.id, change(limit="70"))
        exchange.replace(account, moved.id, change(quantity="2", name="c"))
        exchange.advance(None)
        exchange.commit()
        expected = account.engine.dump()
    with await open_book(path, identity) as book:
        assert opened(exchange_over(book)).engine.dump() == expected
