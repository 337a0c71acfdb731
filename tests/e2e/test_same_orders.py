"""P10 over real sockets: the same bars give the same orders in a backtest and in lock-step on the venue.

Each case is a market and a way to trade it; both commands get the same arguments. What a case is there for
(partial fills, cancels, blocked signals) is asked of it too, so that none can pass by doing nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from holdfast.data import read_bars, write_bars
from holdfast.model import BarSeries
from tests.e2e.helpers import (
    SAMPLE_SYMBOL,
    Commands,
    assert_equal_books,
    assert_same_session,
    sample,
    save_index_minutes,
    save_sample,
    shared_file,
)

EXITS = ("--strategy", "holdfast.testing.exits:Exits")
LADDER = ("--strategy", "holdfast.testing.ladder:Ladder")


def bundled(_folder: Path) -> list[object]:
    """Nothing named: the bundled sample."""
    return []


def bundled_cut(folder: Path) -> list[object]:
    """Its first hours."""
    return ["--data", save_sample(folder / "cut.csv.gz", 0, 450), "--symbol", SAMPLE_SYMBOL]


def month_cut(folder: Path) -> list[object]:
    """A day of the recorded month, from the middle."""
    bars = read_bars(shared_file("btcusd_1m_2022-01.csv.gz"), SAMPLE_SYMBOL).slice(28_000, 29_500)
    write_bars(bars, folder / "month.csv")
    return ["--data", folder / "month.csv", "--symbol", SAMPLE_SYMBOL]


def odd_rows(folder: Path) -> list[object]:
    """Gaps of minutes and of hours, minutes without volume, minutes that stand still, one that jumps, over a midnight."""
    bars = sample(1_100, 1_800)
    rng = np.random.default_rng(20_220_105)
    keep = rng.random(len(bars)) > 0.07
    keep[300:420] = False
    keep[510:513] = False
    ts = bars.ts[keep]
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    opens, highs, lows, closes, volumes = (column[keep].copy() for column in columns)
    volumes[rng.random(len(ts)) < 0.08] = 0.0
    still = rng.random(len(ts)) < 0.05
    highs[still] = lows[still] = opens[still] = closes[still]
    highs[200] *= 1.03
    lows[201] *= 0.97
    write_bars(BarSeries(SAMPLE_SYMBOL, bars.period, ts, opens, highs, lows, closes, volumes), folder / "odd.csv.gz")
    return ["--data", folder / "odd.csv.gz", "--symbol", SAMPLE_SYMBOL]


def jumping(folder: Path) -> list[object]:
    """A coin that moves by three percent every few minutes, and back: market orders meet their collar."""
    bars = sample(0, 450)
    factor = np.where(np.arange(len(bars)) // 7 % 2 == 1, 1.03, 1.0)
    opens, highs, lows, closes = (column * factor for column in (bars.open, bars.high, bars.low, bars.close))
    jumps = BarSeries(SAMPLE_SYMBOL, bars.period, bars.ts, opens, highs, lows, closes, bars.volume)
    write_bars(jumps, folder / "jumping.csv.gz")
    return ["--data", folder / "jumping.csv.gz", "--symbol", SAMPLE_SYMBOL]


def one_equity(_folder: Path) -> list[object]:
    """Seeded sessions of one share."""
    return ["--synthetic", "SPY", "--sessions", "2", "--seed", "11"]


def one_session(_folder: Path) -> list[object]:
    """A single session of it."""
    return ["--synthetic", "SPY", "--sessions", "1", "--seed", "11"]


def two_equities(_folder: Path) -> list[object]:
    """Seeded sessions of two, whose bars end at the same moments."""
    return ["--synthetic", "SPY,AAPL", "--sessions", "1", "--seed", "3"]


def two_files(folder: Path) -> list[object]:
    """A folder with two coins, the second with gaps of its own."""
    data = folder / "coins"
    data.mkdir()
    bars = sample(0, 350)
    write_bars(bars, data / "BTC-USD.csv")
    every = np.arange(len(bars)) % 3 != 1
    opens, highs, lows, closes = (column[every] / 16.0 for column in (bars.open, bars.high, bars.low, bars.close))
    ether = BarSeries("ETH/USD", bars.period, bars.ts[every], opens, highs, lows, closes, bars.volume[every] * 5.0)
    write_bars(ether, data / "ETHUSD.csv.gz")
    return ["--data", data, "--symbol", "BTC/USD,ETH/USD"]


def index_minutes(volume: float, sessions: int) -> Callable[[Path], list[object]]:
    """The S&P 500 index as if it were a share, with a volume that it does not have."""

    def save(folder: Path) -> list[object]:
        return ["--data", save_index_minutes(folder / "index.csv", volume, sessions), "--symbol", "SPX"]

    return save


class Case(msgspec.Struct, frozen=True):
    """A market, a way to trade it, and what must have happened.

    Attributes:
        orders: At least so many.
        statuses: Each on at least one order.
        partial: Some order took more than one execution.
        late: Some market order waited for a minute whose prices it takes.
        sides: Positions that round trips must have had: ``buy`` long, ``sell`` short.
    """

    name: str
    market: Callable[[Path], list[object]]
    options: tuple[str, ...] = ()
    orders: int = 1
    statuses: tuple[str, ...] = ("filled",)
    partial: bool = False
    late: bool = False
    sides: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


CASES = (
    Case("sample", bundled, orders=20, sides=("buy",), blocked=("cooldown_period",)),
    Case(
        "sample, eager and unlimited",
        bundled,
        (
            "--param",
            "deviations=1.1",
            "--param",
            "stop_loss=0.004",
            "--param",
            "time_stop_bars=15",
            "--participation",
            "0",
        ),
        orders=40,
    ),
    Case("sample, in slices", bundled_cut, ("--participation", "0.0004", "--param", "deviations=1.3"), 4, partial=True),
    Case("ladder", bundled_cut, LADDER, orders=60, statuses=("filled", "canceled")),
    Case(
        "ladder in slices, with a spread",
        bundled_cut,
        (*LADDER, "--participation", "0.0005", "--spread-bps", "3"),
        orders=60,
        statuses=("filled", "canceled"),
        partial=True,
    ),
    Case("ladder, unlimited", bundled_cut, (*LADDER, "--participation", "0", "--spread-bps", "6"), orders=80),
    Case(
        "ladder that moves its orders",
        bundled_cut,
        (*LADDER, "--param", "moves=true", "--param", "patience=7", "--participation", "0.0005"),
        orders=60,
        statuses=("filled", "canceled", "replaced"),
        partial=True,
    ),
    Case(
        "ladder that moves its shares",
        one_equity,
        (*LADDER, "--param", "moves=true", "--param", "patience=7", "--participation", "0.0002"),
        orders=60,
        statuses=("filled", "replaced"),
        sides=("buy", "sell"),
    ),
    Case("odd rows", odd_rows, ("--param", "deviations=1.2", "--param", "warmup_bars=5"), orders=6),
    Case(
        "ladder on odd rows",
        odd_rows,
        (*LADDER, "--participation", "0.002", "--param", "patience=1"),
        orders=60,
        statuses=("filled", "canceled"),
        partial=True,
    ),
    Case("a coin that jumps", jumping, ("--param", "deviations=1.2", "--param", "warmup_bars=5"), orders=6, late=True),
    Case("ladder on two coins", two_files, (*LADDER, "--param", "hold=4", "--participation", "0.01"), orders=60),
    Case(
        "one share, long and short",
        one_equity,
        ("--param", "deviations=1.2", "--param", "quantity=25", "--spread-bps", "1"),
        orders=8,
        sides=("buy", "sell"),
    ),
    Case(
        "one share, long only, in slices",
        one_equity,
        ("--param", "allow_short=false", "--param", "deviations=1.2", "--participation", "0.0001"),
        orders=4,
        partial=True,
        sides=("buy",),
    ),
    Case("ladder on two shares", two_equities, LADDER, orders=60, statuses=("filled", "canceled"), sides=("buy",)),
    Case(
        "ladder on two shares, in slices",
        two_equities,
        (*LADDER, "--participation", "0.0002", "--spread-bps", "2"),
        orders=60,
        statuses=("filled", "canceled"),
        partial=True,
    ),
    Case(
        "exits at the venue",
        two_equities,
        (*EXITS, "--param", "width=0.004"),
        orders=60,
        statuses=("filled", "canceled", "replaced"),
        sides=("buy", "sell"),
    ),
    Case(
        "exits at the venue, in slices",
        one_session,
        (*EXITS, "--participation", "0.005", "--spread-bps", "2", "--param", "hold=30"),
        orders=40,
        statuses=("filled", "canceled", "replaced"),
        partial=True,
    ),
    Case("index with volume", index_minutes(1_000, 4), ("--param", "deviations=1.4"), orders=8, sides=("buy", "sell")),
    Case("index without volume", index_minutes(0, 1), LADDER, orders=20, statuses=("canceled",)),
    Case("index without volume, unlimited", index_minutes(0, 1), (*LADDER, "--participation", "0"), orders=60),
    Case("recorded month", month_cut, ("--param", "deviations=1.5", "--param", "notional=20000"), orders=20),
)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-").replace(",", ""))
def test_a_backtest_and_a_lockstep_session_give_the_same_orders(case: Case, commands: Commands) -> None:
    """P10: bars, sides, quantities, prices, statuses, reasons; and so the same trades, money and positions."""
    arguments = [*case.market(commands.folder), *case.options]
    session = commands.paper(*arguments)
    assert_interesting(session, case)
    assert_equal_books(session)
    assert_same_session(session, commands.backtest(*arguments))


def assert_interesting(session: dict[str, Any], case: Case) -> None:
    """The case did what it is there for."""
    orders = session["orders"]
    assert len(orders) >= case.orders
    assert set(case.statuses) <= {order["status"] for order in orders}
    assert {order["status"] for order in orders} <= {"filled", "canceled", "expired", "rejected", "replaced"}
    assert set(case.sides) <= {trade["side"] for trade in session["trades"]}
    assert set(case.blocked) <= set(session["blocked"])
    if case.partial:
        bars_of_fills = Counter((fill["at"], fill["symbol"]) for fill in session["fills"])
        assert len(session["fills"]) > sum(order["status"] == "filled" for order in orders)
        assert len(bars_of_fills) > len(orders) // 4
    if case.late:
        # Market orders fill whole, at the end of the bar that they were decided on, but for those that rest at their collar.
        assert len(session["fills"]) == sum(order["status"] == "filled" for order in orders)
        assert {fill["at"] for fill in session["fills"]} - {order["bar"] for order in orders}
