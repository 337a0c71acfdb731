"""A venue that is killed while orders of every kind wait in its book, and goes on as if it had not been."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from holdfast.model import BarSeries
from holdfast.model.timestamps import NS_PER_MINUTE, format_rfc3339
from holdfast.testing import VenueAdmin
from tests.venue.helpers import OPENING, StartVenue, hear, limit, listen, market, minutes, subscribe

# One symbol for each kind of order, so that none of them is another's business.
SYMBOLS: Final = ("BRK", "CLS", "HLD", "OCO", "PART", "STL", "STP", "TRL")
BARS: Final = 60
# Bars that have ended when the venue is killed: after the entries, on the way up, past the peak, at the bottom, and up again.
KILLS: Final = (4, 8, 12, 16, 21)
MODES: Final = pytest.mark.parametrize("ticks", [False, True], ids=["bars", "quotes"])


def series() -> list[BarSeries]:
    """An hour in which every price swings three times between 399 and 401, first upwards."""
    made = (minutes(symbol, BARS, start=OPENING, base=400.0) for symbol in SYMBOLS)
    return [BarSeries(s.symbol, s.period, s.ts, s.open, s.high, s.low, s.close, np.full(BARS, 1_000.0)) for s in made]


class Desk:
    """A venue whose time moves by the operator's word alone, until it is told to flow."""

    def __init__(self, start: StartVenue, book: Path, *, ticks: bool) -> None:
        options: dict[str, Any] = {"book": str(book), "speed": 1500.0, "ticks": ticks, "seed": 3, "cash": "1000000"}
        self._start, self._options = start, options
        self.venue = self._start(*series(), **options)

    def kill(self) -> None:
        """SIGKILL, and a start on the same book."""
        self.venue.kill()
        self.venue = self._start(*series(), **self._options)

    def until(self, bars: int) -> None:
        """Let the first so many bars end."""
        with VenueAdmin(self.venue.admin) as admin:
            admin.set_time(format_rfc3339(OPENING + bars * NS_PER_MINUTE))

    def said(self) -> dict[str, bytes]:
        """Everything about the account, as it stands on the wire."""
        paths = [
            "/v2/orders?status=all&limit=500&nested=true",
            "/v2/orders?status=all&limit=500",
            "/v2/orders?status=open&nested=true",
            "/v2/positions",
            "/v2/account",
            "/v2/account/activities?direction=asc",
        ]
        with self.venue.client() as client:
            return {path: client.get(path).raise_for_status().content for path in paths}

    def orders(self) -> dict[str, dict[str, Any]]:
        """The orders by ``client_order_id``, with their legs inside."""
        with self.venue.client() as client:
            rows = client.get("/v2/orders?status=all&limit=500&nested=true").json()
        return {row["client_order_id"]: row for row in rows}

    def send(self, *bodies: dict[str, Any]) -> None:
        """Place orders."""
        with self.venue.client() as client:
            for body in bodies:
                answer = client.post("/v2/orders", json=body)
                assert answer.status_code == 200, answer.text

    def enter(self) -> None:
        """The first orders, in the first bar."""
        self.until(1)
        self.send(
            {**market("10", symbol="BRK"), **_exits("bracket", "401.05", "399.2"), "client_order_id": "bracket"},
            {
                **limit("10", "399.3", symbol="HLD"),
                **_exits("bracket", "400.5", "398.5"),
                "client_order_id": "held",
            },
            limit("3000", "400.8", symbol="PART", client_order_id="partly"),
            *(market("10", symbol=symbol, client_order_id=f"buy-{symbol}") for symbol in ("OCO", "STL", "STP", "TRL")),
            {**market("10", symbol="CLS", client_order_id="auction"), "time_in_force": "cls"},
        )

    def protect(self) -> None:
        """Orders that need what the first ones have bought, and one in the place of another."""
        self.until(3)
        self.send(
            {
                **limit("10", "401.05", "sell", "OCO", client_order_id="oco", order_class="oco"),
                "take_profit": {"limit_price": "401.5"},
                "stop_loss": {"stop_price": "399.3"},
            },
            {**market("10", "sell", "STP", client_order_id="stop"), "type": "stop", "stop_price": "399.4"},
            {
                **limit("10", "400.9", "sell", "STL", client_order_id="stop-limit"),
                "type": "stop_limit",
                "stop_price": "400.2",
            },
            {
                **market("10", "sell", "TRL", client_order_id="trailing"),
                "type": "trailing_stop",
                "trail_price": "0.6",
            },
        )
        profit = self.orders()["bracket"]["legs"][0]
        with self.venue.client() as client:
            change = {"limit_price": "401.2", "client_order_id": "moved"}
            client.patch(f"/v2/orders/{profit['id']}", json=change).raise_for_status()

    def end(self) -> dict[str, bytes]:
        """Let the market end; gives what is said of the account then."""
        self.until(BARS)
        return self.said()


def _exits(order_class: str, take_profit: str, stop_loss: str) -> dict[str, Any]:
    return {
        "order_class": order_class,
        "take_profit": {"limit_price": take_profit},
        "stop_loss": {"stop_price": stop_loss},
    }


# What the kills must have met: a name, and whether the orders are in that state.
Orders = dict[str, dict[str, Any]]


def _leg_statuses(order: dict[str, Any]) -> set[str]:
    return {leg["status"] for leg in order["legs"] or ()}


STATES: Final[dict[str, Callable[[Orders], bool]]] = {
    "a bracket that is filled, with both exits": lambda o: (
        o["bracket"]["status"] == "filled" and {"new", "held"} <= _leg_statuses(o["bracket"])
    ),
    "a leg that took the place of another": lambda o: (
        "moved" in {leg["client_order_id"] for leg in o["bracket"]["legs"]}
    ),
    "a bracket that waits for its entry": lambda o: (
        o["held"]["status"] == "new" and _leg_statuses(o["held"]) == {"held"}
    ),
    "a stop": lambda o: o["stop"]["status"] == "new",
    "a trailing stop that has moved": lambda o: (
        o["trailing"]["status"] == "new" and float(o["trailing"]["hwm"]) > 400.9
    ),
    "both orders of an OCO": lambda o: o["oco"]["status"] == "new" and _leg_statuses(o["oco"]) == {"held"},
    # It was struck on the way down from the first peak: the trailing stop, which waits higher, is filled.
    "a stop-limit that is struck": lambda o: (
        o["trailing"]["status"] == "filled" and o["stop"]["status"] == "filled" and o["stop-limit"]["status"] == "new"
    ),
    "an order that is partly filled": lambda o: o["partly"]["status"] == "partially_filled",
    "an order for the closing auction": lambda o: o["auction"]["status"] in ("new", "accepted"),
}


@MODES
def test_orders_of_every_kind_survive_kills_at_many_moments(
    start_venue: StartVenue, tmp_path: Path, ticks: bool
) -> None:
    """What is said of them is the same to the byte after each kill; at the end, it is what a venue says that nobody killed."""
    alone = Desk(start_venue, tmp_path / "alone.book", ticks=ticks)
    alone.enter()
    alone.protect()
    undisturbed = alone.end()
    alone.venue.kill()

    desk = Desk(start_venue, tmp_path / "killed.book", ticks=ticks)
    desk.enter()
    desk.kill()
    desk.protect()
    met: set[str] = set()
    for bars in KILLS:
        desk.until(bars)
        before, orders = desk.said(), desk.orders()
        met |= {name for name, holds in STATES.items() if holds(orders)}
        desk.kill()

        assert desk.said() == before, bars

    assert met == STATES.keys(), STATES.keys() - met
    assert desk.end() == undisturbed
    ended = desk.orders()
    assert {name: order["status"] for name, order in ended.items() if name in ("stop", "stop-limit", "trailing")} == {
        "stop": "filled",
        "stop-limit": "filled",
        "trailing": "filled",
    }
    assert float(ended["stop-limit"]["filled_avg_price"]) >= 400.9
    assert ended["held"]["status"] == "filled"


@MODES
def test_a_venue_killed_while_its_time_flows_trades_on_as_if_it_had_not_been(
    start_venue: StartVenue, tmp_path: Path, ticks: bool
) -> None:
    """Killed in the middle of its news, after every tenth bar: no order is behind what was told, and the end is the same."""
    alone = Desk(start_venue, tmp_path / "alone.book", ticks=ticks)
    alone.enter()
    alone.protect()
    undisturbed = alone.end()
    alone.venue.kill()

    desk = Desk(start_venue, tmp_path / "killed.book", ticks=ticks)
    desk.enter()
    desk.protect()
    told: dict[str, float] = {}
    lives = 1
    done = False
    while not done:
        done = asyncio.run(_live(desk, told, bars=10))
        lives += 1
        desk.kill()
        with desk.venue.client() as client:
            filled = {row["id"]: row["filled_qty"] for row in client.get("/v2/orders?status=all&limit=500").json()}
        assert {order_id for order_id, quantity in told.items() if float(filled[order_id]) < quantity} == set()

    assert lives > 4
    assert len(told) > 4
    assert desk.end() == undisturbed


async def _live(desk: Desk, told: dict[str, float], *, bars: int) -> bool:
    """Let the time flow for so many bars, and kill the venue then; True where the market has ended before."""
    last = format_rfc3339(OPENING + (BARS - 1) * NS_PER_MINUTE)

    async def hear_fills(trade: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                order = (await hear(trade))["data"]["order"]
                told[order["id"]] = max(told.get(order["id"], 0.0), float(order["filled_qty"]))

    async with (
        connect(desk.venue.socket_url + "/v2/iex", proxy=None) as data,
        connect(desk.venue.socket_url + "/stream", proxy=None) as trade,
    ):
        await subscribe(data, ["BRK"])
        await listen(trade)  # from here on time flows
        hearing = asyncio.create_task(hear_fills(trade))
        seen: list[str] = []
        while len(seen) < bars and last not in seen:
            seen += [message["t"] for message in await hear(data)]
        desk.venue.kill()
        await hearing
    return last in seen
