"""A vendor's history into a catalog, part by part, so that it can be interrupted at any moment and goes on.

Only days that are over are asked for: a part that is stored is complete. What is stored already is not asked for again. Pages
are taken as they come; as soon as a row of a later part arrives, the parts before it are complete and are stored, empty
ones too. So whatever ends the process, what was stored counts, and at most the rows of one part and the rest of a page
are asked for twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from holdfast.data import parquet
from holdfast.data.catalog import BARS, QUOTES, TRADES, Catalog, Key, Shelf
from holdfast.data.provider import DataProvider
from holdfast.data.reconcile import Counts, merge
from holdfast.data.tables import BarTable, join
from holdfast.data.timeframes import day_of, midnight, parse_timeframe, zone_of
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.market import Quote, Trade
from holdfast.model.timestamps import format_rfc3339, to_datetime

if TYPE_CHECKING:
    from holdfast.data.parquet import Frame

#: Told of each part that was stored, with its rows.
Progress = Callable[[str, int], None]


class Downloaded(NamedTuple):
    """What a download did.

    Attributes:
        parts: Parts that were stored.
        rows: Rows in them.
        skipped: Parts that were complete already.
        counts: What was put right in the vendor's pages.
    """

    parts: int
    rows: int
    skipped: int
    counts: Counts = Counts()


class Plan(NamedTuple):
    """What a download has to do.

    Attributes:
        runs: Stretches of neighbouring parts that are missing.
        skipped: How many are complete already.
        until: The midnight up to which there is something to ask for (UTC ns).
    """

    runs: list[list[str]]
    skipped: int
    until: int

    @property
    def parts(self) -> int:
        """How many parts are missing."""
        return sum(len(run) for run in self.runs)


def make_plan(shelf: Shelf, start: date, end: date, horizon: int) -> Plan:
    """What is missing of the days from ``start`` to ``end``, both included, as far as they are over.

    Args:
        shelf: What there is.
        start: The first day.
        end: The last day.
        horizon: Until when the vendor may be asked (UTC ns).

    Raises:
        ConfigurationError: The days are the wrong way round, or none of them is over.
    """
    key = shelf.key
    zone = zone_of(key.asset_class)
    if end < start:
        message = f"the end {end} is before the start {start}"
        raise ConfigurationError(message)
    first = midnight(start, zone)
    until = min(midnight(end + timedelta(days=1), zone), midnight(day_of(horizon, zone), zone))
    if until <= first:
        message = f"{start} is not over yet: only whole days are stored, and the newest there is ends at {format_rfc3339(until)}"
        raise ConfigurationError(message)
    runs: list[list[str]] = []
    skipped, is_running = 0, False
    for part in key.parts(first, until):
        if shelf.is_complete(part, until):
            skipped, is_running = skipped + 1, False
            continue
        if not is_running:
            runs.append([])
        runs[-1].append(part)
        is_running = True
    return Plan(runs, skipped, until)


def check_source(shelf: Shelf, source: str, *, mix: bool = False) -> None:
    """One shelf, one source: prices of one exchange and of the whole tape are different data.

    Raises:
        ConfigurationError: What is stored came from elsewhere, and mixing was not allowed.
    """
    stored = shelf.source
    if stored not in (None, source) and not mix:
        message = (
            f"{shelf.key}: what is stored came from {stored}, and this is {source}; "
            "expected another catalog for it, or --mix to put both on one shelf"
        )
        raise ConfigurationError(message)


async def download(
    catalog: Catalog,
    provider: DataProvider,
    key: Key,
    start: date,
    end: date,
    *,
    horizon: int,
    on_part: Progress = lambda _part, _rows: None,
    mix: bool = False,
) -> Downloaded:
    """Bring a shelf up to date. The catalog's lock must be held (``catalog.writing()``).

    Args:
        catalog: Where to.
        provider: Where from.
        key: What.
        start: The first day.
        end: The last day, included.
        horizon: Until when the provider may be asked (UTC ns).
        on_part: Told of each part that was stored.
        mix: Whether the shelf may hold data of another source.

    Raises:
        ConfigurationError: The question makes no sense.
        BrokerError: The provider said no, or nothing.
        DataError: An answer cannot be used, or a file cannot be written.
    """
    shelf = catalog.shelf(key)
    source = provider.source(key.symbol)
    check_source(shelf, source, mix=mix)
    plan = make_plan(shelf, start, end, horizon)
    done = Downloaded(0, 0, plan.skipped)
    for run in plan.runs:
        writer = _Writer(shelf, source, run, plan.until, on_part)
        async for page in _pages(provider, key, *writer.bounds):
            writer.take(page)
        writer.finish()
        done = done._replace(
            parts=done.parts + len(run), rows=done.rows + writer.rows, counts=done.counts + writer.counts
        )
    return done


def _pages(provider: DataProvider, key: Key, first: int, last: int) -> AsyncIterator[Any]:
    start, end = to_datetime(first), to_datetime(last)
    if key.kind == BARS:
        return provider.bar_pages(key.symbol, key.timeframe, start, end)
    pages = provider.trade_pages if key.kind == TRADES else provider.quote_pages
    return pages(key.symbol, start, end)


class _Writer:
    """Stores the parts of one run as its pages complete them."""

    def __init__(self, shelf: Shelf, source: str, run: Sequence[str], until: int, on_part: Progress) -> None:
        self._shelf, self._source, self._until, self._on_part = shelf, source, until, on_part
        self._waiting = list(run)
        self._pages: list[Any] = []
        self._stored_until = 0
        self.rows = 0
        self.counts = Counts()

    @property
    def bounds(self) -> tuple[int, int]:
        """What is to be asked for (UTC ns)."""
        key = self._shelf.key
        return key.bounds(self._waiting[0])[0], min(key.bounds(self._waiting[-1])[1], self._until)

    def take(self, page: Any) -> None:
        """A page of rows. Parts that lie before its newest row are complete."""
        times = page.start if isinstance(page, BarTable) else np.array([tick.ts for tick in page], dtype=np.int64)
        if not len(times):
            return
        if int(times.min()) < self._stored_until:
            message = (
                f"{self._source}: rows of {self._shelf.key} go back to {format_rfc3339(int(times.min()))}, "
                "before days that were complete; nothing of this page was stored"
            )
            raise DataError(message)
        self._pages.append(page)
        newest = int(times.max())
        count = next((n for n, part in enumerate(self._waiting) if self._shelf.key.bounds(part)[1] > newest), 0)
        self._store(count)

    def finish(self) -> None:
        """The pages are over: every part that waits is complete."""
        self._store(len(self._waiting))

    def _store(self, count: int) -> None:
        if not count:
            return
        split, left = (split_bars, join(self._pages)) if self._shelf.key.kind == BARS else (_split_ticks, self._pages)
        pages: Any = left
        for part in self._waiting[:count]:
            end = self._shelf.key.bounds(part)[1]
            rows, pages = split(pages, end)
            frame, counts = _frame(self._shelf.key, rows, min(end, self._until))
            self.counts += counts
            self._shelf.write(part, frame, until=self._until, source=self._source)
            self.rows += frame.height
            self._stored_until = end
            self._on_part(part, frame.height)
        self._pages = [pages] if isinstance(pages, BarTable) else pages
        del self._waiting[:count]


def split_bars(table: BarTable, end: int) -> tuple[BarTable, BarTable]:
    """The bars that begin before ``end``, and the others."""
    before = table.start < end
    return table.take(before), table.take(~before)


def _split_ticks(pages: list[Sequence[Any]], end: int) -> tuple[list[Any], list[Sequence[Any]]]:
    ticks = [tick for page in pages for tick in page]
    return [tick for tick in ticks if tick.ts < end], [[tick for tick in ticks if tick.ts >= end]]


def _frame(key: Key, rows: Any, until: int) -> tuple[Frame, Counts]:
    """Rows as they are stored: in order, each once, and none that was not complete by ``until``."""
    if isinstance(rows, BarTable):
        table, counts = merge([rows])
        ends = table.ends(parse_timeframe(key.timeframe), zone_of(key.asset_class))
        return parquet.bar_frame(table.take(ends <= until)), counts
    ticks = sorted(rows, key=lambda tick: tick.ts)
    moved = sum(1 for before, after in pairwise(rows) if after.ts < before.ts)
    if key.kind == QUOTES:
        quotes: list[Quote] = list(dict.fromkeys(ticks))
        return parquet.quote_frame(quotes), Counts(len(ticks) - len(quotes), 0, moved)
    trades = _each_once(ticks)
    return parquet.trade_frame(trades), Counts(len(ticks) - len(trades), 0, moved)


def _each_once(trades: Sequence[Trade]) -> list[Trade]:
    """Trades have ids; where one has none, two alike are two trades."""
    seen: set[Trade] = set()
    kept = []
    for trade in trades:
        if trade.id and trade in seen:
            continue
        seen.add(trade)
        kept.append(trade)
    return kept
