"""A catalog of market data: Parquet files by symbol and day, with a list of what is complete.

    ROOT/catalog.json                                    what this folder is
    ROOT/us_equity/SPY/actions.json                      splits and dividends
    ROOT/us_equity/SPY/bars/1Min/manifest.jsonl          what of the shelf is complete, one line a part
    ROOT/us_equity/SPY/bars/1Min/2024-01-02.parquet      a part: one day
    ROOT/us_equity/SPY/bars/1Day/2024.parquet            a part: one year
    ROOT/crypto/BTC-USD/trades/tick/2024-01-02.parquet

A *shelf* holds one kind of data of one symbol in one timeframe. Its *parts* are days (of the market: New York's for shares,
UTC's for crypto) for everything shorter than a day, and years for bars of a day and longer. What is stored is what was
traded: raw prices; an adjustment is chosen when bars are read.

A part's file appears whole or not at all, then a line in the manifest says that it is complete, until when, and its
checksum. So after a crash at any moment a part is either complete or not listed, and is made again. A part in which
nothing was traded has a line and no file: a holiday is known to be empty, not missing. The last line of a part counts.

One process writes at a time (a lock on the root); any number may read.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from holdfast.data import parquet
from holdfast.data.actions import Action, Adjustment, adjust, decode_actions, encode_actions
from holdfast.data.files import PARTIAL_SUFFIX, append_line, write_whole
from holdfast.data.tables import BarTable
from holdfast.data.timeframes import Timeframe, asset_class_of, day_of, midnight, parse_timeframe, zone_of
from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.market import Quote, Trade
from holdfast.model.series import BarSeries
from holdfast.model.timestamps import format_rfc3339, parse_rfc3339
from holdfast.time import sessions_for

if TYPE_CHECKING:
    from holdfast.data.parquet import Frame

MARKER: Final = "catalog.json"
MANIFEST: Final = "manifest.jsonl"
ACTIONS: Final = "actions.json"
BARS, TRADES, QUOTES = "bars", "trades", "quotes"
KINDS: Final = (BARS, TRADES, QUOTES)
TICK: Final = "tick"

_FORMAT: Final = 1
_LOCK: Final = ".lock"
_SYMBOL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9]+)?")
_TIME_COLUMN: Final = {BARS: "start", TRADES: "ts", QUOTES: "ts"}
_SHOWN: Final = 3


class Key(NamedTuple):
    """The name of a shelf. ``timeframe`` is ``tick`` for trades and quotes as they came."""

    symbol: str
    kind: str
    timeframe: str

    @property
    def asset_class(self) -> AssetClass:
        """Whose calendar it follows."""
        return asset_class_of(self.symbol)

    @property
    def folder(self) -> Path:
        """Where it stands below the root."""
        return Path(self.asset_class.value) / self.symbol.replace("/", "-") / self.kind / self.timeframe

    @property
    def has_years(self) -> bool:
        """Whether a part is a year rather than a day."""
        return self.timeframe != TICK and not parse_timeframe(self.timeframe).is_intraday

    def part_of(self, ns: int) -> str:
        """The part that a moment belongs to: ``2024-01-02`` or ``2024``."""
        day = day_of(ns, zone_of(self.asset_class))
        return str(day.year) if self.has_years else day.isoformat()

    def check_part(self, part: str) -> None:
        """Whether it is the name of a part.

        Raises:
            ValueError: It is none.
        """
        date.fromisoformat(f"{part}-01-01" if self.has_years else part)

    def bounds(self, part: str) -> tuple[int, int]:
        """Where a part begins and ends (UTC ns)."""
        zone = zone_of(self.asset_class)
        if self.has_years:
            return midnight(date(int(part), 1, 1), zone), midnight(date(int(part) + 1, 1, 1), zone)
        day = date.fromisoformat(part)
        return midnight(day, zone), midnight(day + timedelta(days=1), zone)

    def parts(self, first: int, last: int) -> list[str]:
        """The parts that ``[first, last)`` touches, in order."""
        zone = zone_of(self.asset_class)
        if first >= last:
            return []
        begin, end = day_of(first, zone), day_of(last - 1, zone)
        if self.has_years:
            return [str(year) for year in range(begin.year, end.year + 1)]
        return [(begin + timedelta(days=n)).isoformat() for n in range((end - begin).days + 1)]

    def __str__(self) -> str:
        return f"{self.symbol} {self.kind} {self.timeframe}"


def make_key(symbol: str, kind: str = BARS, timeframe: str = "1Min") -> Key:
    """A checked name.

    Raises:
        ConfigurationError: The symbol, the kind or the timeframe is none.
    """
    if _SYMBOL.fullmatch(symbol) is None:
        message = f"{symbol!r} is no symbol: expected one like SPY, BRK.B or BTC/USD"
        raise ConfigurationError(message)
    if kind not in KINDS:
        message = f"unknown kind of data {kind!r}; expected {', '.join(KINDS)}"
        raise ConfigurationError(message)
    if timeframe != TICK or kind == BARS:
        parse_timeframe(timeframe)
    return Key(symbol, kind, timeframe)


class Part(msgspec.Struct, frozen=True):
    """A line of a manifest.

    Attributes:
        part: Which one.
        rows: How many rows; none means that there is no file.
        until: Up to when it is complete (RFC 3339): its end, or earlier for a year that is not over.
        source: Where it came from.
        sha256: Of the file; empty where there is none.
    """

    part: str
    rows: int
    until: str
    source: str
    sha256: str = ""


class Shelf:
    """One kind of data of one symbol in one timeframe. Made by ``Catalog.shelf``."""

    def __init__(self, root: Path, key: Key) -> None:
        self.key = key
        self.folder = root / key.folder
        self._parts: dict[str, Part] | None = None

    def path(self, part: str) -> Path:
        """The file of a part."""
        return self.folder / f"{part}.parquet"

    @property
    def parts(self) -> dict[str, Part]:
        """What is complete, by part, in order.

        Raises:
            DataError: The manifest cannot be read; names the line.
        """
        if self._parts is None:
            self._parts = self._read_manifest()
        return self._parts

    def is_complete(self, part: str, until: int) -> bool:
        """Whether a part is stored as far as ``until`` (UTC ns), or to its end."""
        found = self.parts.get(part)
        return found is not None and parse_rfc3339(found.until) >= min(until, self.key.bounds(part)[1])

    @property
    def source(self) -> str | None:
        """Where its newest part came from."""
        return next((part.source for part in reversed(self.parts.values())), None)

    def write(self, part: str, frame: Frame | None, *, until: int, source: str) -> None:
        """Store a part, in place of an older one; ``None`` says that it has no rows.

        Raises:
            DataError: It cannot be written.
        """
        rows, digest, path = 0, "", self.path(part)
        if frame is not None and frame.height:
            data = parquet.encode(frame)
            write_whole(path, data)
            rows, digest = frame.height, hashlib.sha256(data).hexdigest()
        line = Part(part, rows, format_rfc3339(min(until, self.key.bounds(part)[1])), source, digest)
        if self.parts.get(part) != line:
            append_line(self.folder / MANIFEST, msgspec.json.encode(line))
        if not rows:
            path.unlink(missing_ok=True)  # only now: until the line is written, the older part stands
        self._parts = dict(sorted({**self.parts, part: line}.items()))

    def read(self, parts: Sequence[str]) -> Frame | None:
        """The rows of these parts, in order; ``None`` where there are none.

        Raises:
            DataError: A file is missing or damaged.
        """
        paths = [self.path(part) for part in parts if part in self.parts and self.parts[part].rows]
        missing = next((path for path in paths if not path.exists()), None)
        if missing is not None:
            message = f"{missing}: the file is gone, though the manifest lists it; download or import it again"
            raise DataError(message)
        return parquet.read_files(paths) if paths else None

    def _read_manifest(self) -> dict[str, Part]:
        path = self.folder / MANIFEST
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as error:
            message = f"{path}: cannot be read: {error.strerror or error}"
            raise DataError(message) from None
        found: dict[str, Part] = {}
        # After the last line end stands nothing, or what a crash left of a line: it never counted.
        for number, line in enumerate(lines[:-1], 1):
            try:
                part = msgspec.json.decode(line, type=Part)
                self.key.check_part(part.part)
                parse_rfc3339(part.until)
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError, DataError) as error:
                message = f"{path}, line {number}: is no line of a manifest: {error}"
                raise DataError(message) from None
            found[part.part] = part
        return dict(sorted(found.items()))


class Catalog:
    """A folder of market data. See the module for its layout.

    Args:
        root: The folder.
        create: Make it where it is not there.

    Raises:
        DataError: It is no catalog.
        ConfigurationError: It is to be made, and what writes its files is not installed.
    """

    def __init__(self, root: Path, *, create: bool = False) -> None:
        self.root = root
        marker = root / MARKER
        if create and not marker.exists():
            if root.is_dir() and any(root.iterdir()):
                message = f"{root}: is a folder with other things in it; expected a catalog, or a new or empty folder"
                raise DataError(message)
            parquet.polars()  # without which nothing could be put into it
            write_whole(marker, msgspec.json.encode({"holdfast_catalog": _FORMAT}) + b"\n")
        if not is_catalog(root):
            message = (
                f"{root} is no catalog (it has no {MARKER}); expected one made by holdfast data download or import"
            )
            raise DataError(message)
        try:
            form = msgspec.json.decode(marker.read_bytes())["holdfast_catalog"]
        except (OSError, msgspec.DecodeError, KeyError, TypeError):
            form = None
        if form != _FORMAT:
            message = f"{marker}: is not the marker of a catalog of format {_FORMAT}"
            raise DataError(message)

    def __repr__(self) -> str:
        return f"<Catalog {self.root}>"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of whoever writes; sweep away what a crash left.

        Raises:
            DataError: Another process holds it.
        """
        with (self.root / _LOCK).open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                message = f"{self.root}: another process is writing to this catalog; wait for it, or end it"
                raise DataError(message) from None
            for partial in self.root.rglob(f"*{PARTIAL_SUFFIX}"):
                partial.unlink(missing_ok=True)
            yield

    def shelf(self, key: Key) -> Shelf:
        """A shelf, which may be empty."""
        return Shelf(self.root, key)

    def names(self) -> list[Key]:
        """The names of all shelves that have something, in order."""
        found = []
        for manifest in self.root.glob(f"*/*/*/*/{MANIFEST}"):
            asset_class, name, kind, timeframe = manifest.parent.relative_to(self.root).parts
            symbol = name.replace("-", "/", 1) if asset_class == AssetClass.CRYPTO.value else name
            with contextlib.suppress(ConfigurationError):  # a folder that somebody else made
                found.append(make_key(symbol, kind, timeframe))
        return sorted(found)

    # ------------------------------------------------------------------ reading

    def read_table(
        self,
        symbol: str,
        timeframe: str = "1Min",
        start: int | None = None,
        end: int | None = None,
        *,
        adjustment: Adjustment = Adjustment.RAW,
        as_of: date | None = None,
    ) -> BarTable:
        """The bars that begin at or after ``start`` and end at or before ``end`` (UTC ns); all, where nothing is said.

        Args:
            symbol: Whose.
            timeframe: Which.
            start: From when.
            end: Until when.
            adjustment: For what prices are adjusted.
            as_of: Actions whose ex-date comes after this day do not count; default: all that are stored count.

        Raises:
            DataError: Part of what is asked for is not in the catalog, or cannot be read.
        """
        key = make_key(symbol, BARS, timeframe)
        frame = self._read(key, start, end)
        table = BarTable.empty() if frame is None else parquet.bar_table(frame)
        length, zone = parse_timeframe(timeframe), zone_of(key.asset_class)
        if table.rows and (start is not None or end is not None):
            ends = table.ends(length, zone)
            first, last = -(2**63) if start is None else start, 2**63 - 1 if end is None else end
            table = table.take(np.flatnonzero((table.start >= first) & (ends <= last)))
        if adjustment is Adjustment.RAW or key.asset_class is AssetClass.CRYPTO or not table.rows:
            return table
        actions = [
            action for action in self._actions_for(symbol, table, zone) if as_of is None or action.ex_date <= as_of
        ]
        return adjust(table, actions, adjustment, zone, lambda day: self._close_before(key, day, length))

    def read_bars(
        self,
        symbol: str,
        timeframe: str = "1Min",
        start: int | None = None,
        end: int | None = None,
        *,
        adjustment: Adjustment = Adjustment.RAW,
        as_of: date | None = None,
    ) -> BarSeries:
        """The same as a series, for a backtest or a venue. Raises as ``read_table``."""
        table = self.read_table(symbol, timeframe, start, end, adjustment=adjustment, as_of=as_of)
        return table.to_series(symbol, parse_timeframe(timeframe), zone_of(asset_class_of(symbol)))

    def read_trades(self, symbol: str, start: int | None = None, end: int | None = None) -> list[Trade]:
        """The trades in ``[start, end)``. Raises as ``read_table``."""
        frame = self._read(make_key(symbol, TRADES, TICK), start, end)
        found = [] if frame is None else parquet.trades_of(frame, symbol)
        return [trade for trade in found if (start is None or trade.ts >= start) and (end is None or trade.ts < end)]

    def read_quotes(
        self, symbol: str, start: int | None = None, end: int | None = None, timeframe: str = TICK
    ) -> list[Quote]:
        """The quotes in ``[start, end)``: all of them, or the last of each ``timeframe``. Raises as ``read_table``."""
        frame = self._read(make_key(symbol, QUOTES, timeframe), start, end)
        found = [] if frame is None else parquet.quotes_of(frame, symbol)
        return [quote for quote in found if (start is None or quote.ts >= start) and (end is None or quote.ts < end)]

    def _read(self, key: Key, start: int | None, end: int | None) -> Frame | None:
        shelf = self.shelf(key)
        stored = list(shelf.parts)
        if not stored:
            have = ", ".join(sorted({str(found) for found in self.names()})[:10]) or "nothing"
            message = (
                f"{self.root}: there are no {key.kind} of {key.symbol} in {key.timeframe}; the catalog has: {have}"
            )
            raise DataError(message)
        first = key.bounds(stored[0])[0] if start is None else start
        last = parse_rfc3339(shelf.parts[stored[-1]].until) if end is None else end
        parts = key.parts(first, last)
        holes = [
            part for part in parts if not shelf.is_complete(part, last) and self._may_trade(key, part, first, last)
        ]
        if holes:
            shown = ", ".join(holes[:_SHOWN]) + (", ..." if len(holes) > _SHOWN else "")
            message = (
                f"{self.root}: {key} is not complete from {format_rfc3339(first)} to {format_rfc3339(last)}: "
                f"missing {shown} ({len(holes)} of {len(parts)}); it has {stored[0]} to {stored[-1]}"
            )
            raise DataError(message)
        return shelf.read(parts)

    def _may_trade(self, key: Key, part: str, first: int, last: int) -> bool:
        """Whether the market has a session in the stretch of a part that is asked for: else nothing is missing."""
        begin, end = key.bounds(part)
        begin, end = max(begin, first), min(end, last)
        session = sessions_for(key.asset_class).at(begin)
        return session.open < end

    # ------------------------------------------------------------------ splits and dividends

    def _actions_path(self, symbol: str) -> Path:
        return self.root / make_key(symbol).folder.parents[1] / ACTIONS

    def read_actions(self, symbol: str) -> list[Action] | None:
        """The splits and dividends of a symbol, oldest first; ``None`` where none were ever stored.

        Raises:
            DataError: The file cannot be read.
        """
        path = self._actions_path(symbol)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"{path}: cannot be read: {error.strerror or error}"
            raise DataError(message) from None
        try:
            return decode_actions(data)
        except DataError as error:
            message = f"{path}: {error}"
            raise DataError(message) from None

    def write_actions(self, symbol: str, actions: Sequence[Action], first: date, last: date) -> None:
        """Store what a source says of the ex-dates in ``[first, last]``; what is known of others stays.

        Raises:
            DataError: The file cannot be written.
        """
        others = [action for action in self.read_actions(symbol) or () if not first <= action.ex_date <= last]
        write_whole(self._actions_path(symbol), encode_actions([*others, *actions]))

    def _actions_for(self, symbol: str, table: BarTable, zone: object) -> list[Action]:
        actions = self.read_actions(symbol)
        if actions is None:
            message = (
                f"{self.root}: the splits and dividends of {symbol} are not in the catalog, so its prices cannot be adjusted; "
                "expected holdfast data download (without --no-actions), or --adjustment raw"
            )
            raise DataError(message)
        return actions

    def _close_before(self, key: Key, day: date, length: Timeframe) -> float:
        """The raw close of the last regular session before a day: from daily bars where there are some."""
        begin = midnight(day, zone_of(key.asset_class))
        daily = Key(key.symbol, BARS, "1Day")
        for candidate in (daily, key):
            close = self._last_close(candidate, begin)
            if close is not None:
                return close
        message = (
            f"{self.root}: the close of {key.symbol} before the ex-date {day} is not in the catalog, so the dividend "
            "cannot be accounted for; expected 1Day bars of those days (holdfast data download --timeframe 1Day)"
        )
        raise DataError(message)

    def _last_close(self, key: Key, begin: int) -> float | None:
        shelf = self.shelf(key)
        length, zone, sessions = parse_timeframe(key.timeframe), zone_of(key.asset_class), sessions_for(key.asset_class)
        with_rows = [part for part, line in shelf.parts.items() if line.rows and key.bounds(part)[0] < begin]
        for part in reversed(with_rows[-5:]):
            frame = shelf.read([part])
            if frame is None:
                continue
            table = parquet.bar_table(frame)
            ends = table.ends(length, zone)
            for at in reversed(range(int(np.searchsorted(ends, begin, side="right")))):
                if not length.is_intraday or sessions.is_open(int(ends[at]) - 1):
                    return float(table.close[at])
        return None


def is_catalog(root: Path) -> bool:
    """Whether a folder is a catalog."""
    return (root / MARKER).is_file()
