"""Downloads into a catalog: nothing twice, nothing missed, whatever happens in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data.catalog import BARS, QUOTES, TICK, TRADES, Catalog, make_key
from holdfast.data.download import Downloaded, download, make_plan
from holdfast.data.provider import DataProvider
from holdfast.data.reconcile import Counts, merge
from holdfast.data.tables import BarTable, join
from holdfast.model.errors import BrokerRefusedError, ConfigurationError, DataError
from holdfast.model.market import Quote, Trade
from holdfast.model.timestamps import to_ns
from holdfast.testing.vendors import NOT_ENTITLED, VendorServer
from tests.data.vendors import DAY, NOW, OPEN, alpaca, files_of, minutes, new_catalog, polygon, same

SPY = make_key("SPY")
WEEK_LATER = DAY + timedelta(days=6)
DAYS = [OPEN + timedelta(days=day) for day in (0, 1, 2, 3, 6)]


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    """A vendor with a few minutes of each of five sessions."""
    async with VendorServer() as running:
        running.add("SPY", "1Min", join([minutes(day, *range(20)) for day in DAYS]))
        running.page_size = 7
        yield running


async def fetch(catalog: Catalog, provider: DataProvider, key: object = SPY, now: datetime = NOW) -> Downloaded:
    """A week."""
    with catalog.writing():
        return await download(catalog, provider, key, DAY, WEEK_LATER, horizon=to_ns(now))  # type: ignore[arg-type]  # a Key


@pytest.mark.parametrize("make", [alpaca, polygon])
async def test_all_days_are_stored_empty_ones_too(tmp_path: Path, server: VendorServer, make: object) -> None:
    """Seven days of which five have bars; a second download asks for nothing."""
    catalog, provider = new_catalog(tmp_path), make(server)  # type: ignore[operator]  # either maker
    first = await fetch(catalog, provider)
    asked = len(server.requests)
    second = await fetch(catalog, provider)
    await provider.aclose()

    assert (first.parts, first.rows, first.skipped) == (7, 100, 0)
    assert (second.parts, second.rows, second.skipped) == (0, 0, 7)
    assert len(server.requests) == asked
    assert [part.rows for part in catalog.shelf(SPY).parts.values()] == [20, 20, 20, 20, 0, 0, 20]
    assert same(catalog.read_table("SPY"), join([minutes(day, *range(20)) for day in DAYS]))


@settings(max_examples=10)  # each is several downloads, with a sync for every part
@given(stops=st.lists(st.integers(0, 18), min_size=1, max_size=3))
async def test_wherever_it_stops_it_goes_on_and_ends_the_same(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int]
) -> None:
    """Refused after so many pages, and again: the catalog is byte for byte that of one download without a stop."""
    async with VendorServer() as server:
        server.add("SPY", "1Min", join([minutes(day, *range(20)) for day in DAYS]))
        server.page_size = 7
        provider = polygon(server)
        folder = tmp_path_factory.mktemp("stops")
        (folder / "whole").mkdir()
        whole, stopped = new_catalog(folder / "whole"), new_catalog(folder)
        await fetch(whole, provider)
        for pages in stops:
            # Polygon's own answers first, then a refusal.
            pages_before = len(server.requests)

            def refuse(before: int = pages_before, after: int = pages) -> bool:
                return len(server.requests) - before > after

            server.refuse_when = refuse
            try:
                await fetch(stopped, provider)
            except BrokerRefusedError:
                pass
            finally:
                server.refuse_when = None
        await fetch(stopped, provider)
        await provider.aclose()

        assert files_of(stopped.root) == files_of(whole.root)


async def test_only_days_that_are_over_are_stored(tmp_path: Path, server: VendorServer) -> None:
    """At noon of the third day two are complete; the third is fetched when it is over."""
    catalog = new_catalog(tmp_path)
    noon = OPEN + timedelta(days=2, hours=3)
    early = polygon(server, now=noon)
    assert (await fetch(catalog, early, now=noon)).parts == 2
    with pytest.raises(ConfigurationError, match="2024-01-04 is not over yet: only whole days are stored"):
        make_plan(catalog.shelf(SPY), date(2024, 1, 4), date(2024, 1, 5), to_ns(noon))
    await early.aclose()
    late = polygon(server)
    assert (await fetch(catalog, late)).parts == 5
    await late.aclose()


async def test_a_year_that_is_not_over_is_brought_up_to_date(tmp_path: Path, server: VendorServer) -> None:
    """Daily bars are stored by the year, as far as it goes; what ends later is not yet a bar."""
    midnights = [datetime(2024, 1, day, 5, tzinfo=UTC) for day in (2, 3, 4, 5, 8)]
    server.add("SPY", "1Day", join([minutes(midnight, 0) for midnight in midnights]))
    catalog, key = new_catalog(tmp_path), make_key("SPY", BARS, "1Day")
    for now, rows in ((midnights[2] + timedelta(hours=12), 2), (NOW, 5)):
        provider = polygon(server, now=now)
        await fetch(catalog, provider, key, now)
        await provider.aclose()
        assert catalog.shelf(key).parts["2024"].rows == rows

    series = catalog.read_bars("SPY", "1Day")
    assert series.ts[0] == to_ns(midnights[1])


@pytest.mark.parametrize("make", [alpaca, polygon])
async def test_ticks_are_stored_too(tmp_path: Path, server: VendorServer, make: object) -> None:
    """Trades and quotes by the day."""
    trades = [
        Trade(to_ns(day) + n, "SPY", 100.0 + n, 5.0, f"{day.day}{n}", "@", "4", "B") for day in DAYS for n in range(5)
    ]
    quotes = [Quote(to_ns(day) + n, "SPY", 100.0, 100.1, 5.0, 6.0) for day in DAYS for n in range(5)]
    server.add_trades("SPY", trades)
    server.add_quotes("SPY", quotes)
    server.page_size = 3
    catalog, provider = new_catalog(tmp_path), make(server)  # type: ignore[operator]  # either maker
    await fetch(catalog, provider, make_key("SPY", TRADES, TICK))
    await fetch(catalog, provider, make_key("SPY", QUOTES, TICK))
    await provider.aclose()

    assert catalog.read_trades("SPY") == trades
    assert catalog.read_quotes("SPY") == quotes


async def test_a_shelf_has_one_source(tmp_path: Path, server: VendorServer) -> None:
    """Unless the user says otherwise."""
    catalog, one, other = new_catalog(tmp_path), polygon(server), alpaca(server)
    await fetch(catalog, one)
    with pytest.raises(ConfigurationError, match=r"came from polygon, and this is alpaca-iex; .* --mix"):
        await fetch(catalog, other)
    with catalog.writing():
        await download(catalog, other, SPY, DAY, WEEK_LATER, horizon=to_ns(NOW), mix=True)
    await one.aclose()
    await other.aclose()


async def test_what_was_stored_before_a_refusal_counts(tmp_path: Path, server: VendorServer) -> None:
    """The error comes through, and the days before it are complete."""
    catalog, provider = new_catalog(tmp_path), polygon(server)
    server.refuse_when = lambda: len(server.requests) > 7
    with pytest.raises(BrokerRefusedError, match="not entitled"):
        await fetch(catalog, provider)
    await provider.aclose()

    assert list(catalog.shelf(SPY).parts) == ["2024-01-02", "2024-01-03"]
    assert NOT_ENTITLED.status == 403


async def test_rows_that_go_back_behind_what_was_stored_are_refused(tmp_path: Path, server: VendorServer) -> None:
    """A day that was complete is not quietly less so."""
    table = join([minutes(DAYS[0], 0), minutes(DAYS[1], *range(7)), minutes(DAYS[0], 1)])
    server.add("SPY", "1Min", table)
    catalog, provider = new_catalog(tmp_path), polygon(server)
    with pytest.raises(DataError, match="go back to 2024-01-02T14:31:00Z, before days that were complete"):
        await fetch(catalog, provider)
    await provider.aclose()


async def test_disorder_inside_a_day_is_put_right_and_counted(tmp_path: Path, server: VendorServer) -> None:
    """A bar twice, a revised one and one out of order."""
    revised = minutes(OPEN, 2, price=50.0)
    server.add("SPY", "1Min", join([minutes(OPEN, 0, 2, 1, 1), revised, minutes(OPEN, 3)]))
    server.page_size = 4
    catalog, provider = new_catalog(tmp_path), polygon(server)
    done = await fetch(catalog, provider)
    await provider.aclose()

    assert done.counts == Counts(duplicates=1, revisions=1, out_of_order=2)
    assert same(catalog.read_table("SPY"), join([minutes(OPEN, 0, 1), revised, minutes(OPEN, 3)]))


ROWS = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 3)), max_size=30)


@given(ROWS, st.lists(st.integers(0, 30), max_size=3))
def test_merging_is_what_a_dictionary_does(rows: list[tuple[int, int]], cuts: list[int]) -> None:
    """The last word on each start, in order of starts; however the rows were paged; and the counts add up."""
    table = BarTable.of([start for start, _ in rows], *([float(value) for _, value in rows] for _ in range(5)))
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    merged, counts = merge(table.take(slice(a, b)) for a, b in pairwise(bounds))

    expected = dict(rows)
    assert list(zip(merged.start.tolist(), merged.open.tolist(), strict=True)) == sorted(expected.items())
    assert counts.duplicates + counts.revisions == len(rows) - len(expected)
    newest = np.maximum.accumulate([start for start, _ in rows]).tolist()
    assert counts.out_of_order == sum(start < top for (start, _), top in zip(rows, newest, strict=True))
