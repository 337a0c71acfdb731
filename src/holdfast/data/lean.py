"""Files in the format of QuantConnect's LEAN engine: one CSV without a header, in a zip, whose path says what it is.

    equity/usa/minute/spy/20240102_trade.zip     also second, tick; _quote.zip
    equity/usa/daily/spy.zip                     also hour
    crypto/coinbase/minute/btcusd/20240102_trade.zip
    crypto/coinbase/daily/btcusd_trade.zip       also hour; _quote.zip

- Up to a minute a file is a day, and times are milliseconds after its midnight; longer bars are one file, with times as
  ``YYYYMMDD HH:MM``. Midnight is New York's for shares and UTC's for crypto. All times are starts of bars.
- Prices of shares are ten-thousandths of a dollar; those of crypto are plain.
- Quote bars have two sides with four prices and a size each. What is kept is how each ended: a quote at the bar's end.
- Ticks that LEAN calls suspicious are left out, as LEAN does when it builds bars, and counted. Their sale conditions are bits;
  they become the marks of tape C, since the file does not say which tape it was.
- Quote ticks of shares are one-sided quotes of single exchanges, of which no best bid and offer can be made: they are refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from holdfast.data.bar_rules import Row, complaint
from holdfast.data.catalog import BARS, QUOTES, TICK, TRADES, Key, make_key
from holdfast.data.tables import BarTable
from holdfast.data.timeframes import Timeframe, midnight, parse_timeframe, zone_of
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.market import Quote, Trade
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MS, format_rfc3339, to_ns

_TIMEFRAMES: Final = {"second": "1Sec", "minute": "1Min", "hour": "1Hour", "daily": "1Day", "tick": TICK}
_LARGEST: Final = Decimal(10) ** 15  # more than any price, volume or time there has been
_YEARS: Final = range(1900, 2200)  # which UTC ns can tell
_BY_DAY: Final = ("tick", "second", "minute")
_SCALE: Final = {"equity": Decimal(10_000), "crypto": Decimal(1)}
# In which currencies a pair may be quoted, the longer names first: btcusdt ends with usdt, not with a strange usd.
_QUOTED_IN: Final = ("usdt", "usdc", "busd", "usd", "eur", "gbp", "jpy", "btc", "eth")
# LEAN's bits of a trade's conditions -> the marks of tape C. Bits that are left out change nothing.
_MARKS: Final = {
    0x2: "C", 0x4: "N", 0x8: "R", 0x10: "Y", 0x20: "F", 0x40: "O", 0x80: "6", 0x100: "5", 0x200: "4", 0x400: "T",
    0x800: "L", 0x1000: "1", 0x2000: "T", 0x4000: "U", 0x20000: "B", 0x40000: "V", 0x80000: "D", 0x100000: "W",
    0x200000: "X", 0x400000: "H", 0x800000: "K", 0x1000000: "M", 0x2000000: "P", 0x4000000: "Q", 0x80000000: "I",
}  # fmt: skip


class LeanFile(NamedTuple):
    """What a path says.

    Attributes:
        path: The zip.
        key: The shelf where it belongs.
        security: ``equity`` or ``crypto``.
        day: Its day; ``None`` where it holds all days.
    """

    path: Path
    key: Key
    security: str
    day: date | None

    @property
    def zone(self) -> tzinfo:
        """Whose midnight its times count from."""
        return zone_of(self.key.asset_class)


class LeanData(NamedTuple):
    """What was in a file: bars, or trades, or quotes; and how many suspicious ticks were left out."""

    bars: BarTable | None = None
    trades: Sequence[Trade] = ()
    quotes: Sequence[Quote] = ()
    suspicious: int = 0


def find_files(root: Path) -> list[LeanFile]:
    """Every file below a folder (or the one file) that is LEAN data of shares or crypto.

    Raises:
        DataError: There is none.
    """
    paths = [root] if root.is_file() else sorted(root.rglob("*.zip"))
    found = [file for path in paths if (file := describe(path)) is not None]
    if not found:
        message = (
            f"{root}: there is no LEAN file of shares or crypto; expected paths like "
            "equity/usa/minute/spy/20240102_trade.zip or crypto/coinbase/daily/btcusd_trade.zip"
        )
        raise DataError(message)
    return found


def describe(path: Path) -> LeanFile | None:
    """What a path says; ``None`` where it is of another kind of security, or no LEAN path.

    Raises:
        DataError: It is one, and it cannot be told what it holds.
    """
    folders, stem = path.resolve().parts[:-1], path.name.removesuffix(".zip")
    if len(folders) >= 4 and folders[-2] in _BY_DAY and folders[-4] in _SCALE:
        security, resolution, ticker = folders[-4], folders[-2], folders[-1]
        day_text, _, tick_type = stem.partition("_")
        try:
            day = datetime.strptime(day_text, "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            return None
        if day.year not in _YEARS:
            return None
    elif len(folders) >= 3 and folders[-1] in ("hour", "daily") and folders[-3] in _SCALE:
        security, resolution, day = folders[-3], folders[-1], None
        ticker, _, tick_type = stem.partition("_")
        tick_type = tick_type or "trade"
    else:
        return None
    if tick_type not in ("trade", "quote"):
        return None  # open interest, say
    if (security, resolution, tick_type) == ("equity", "tick", "quote"):
        message = (
            f"{path}: quote ticks of shares are one-sided quotes of single exchanges; "
            "expected minute or second quotes, or trades"
        )
        raise DataError(message)
    kind = QUOTES if tick_type == "quote" else TRADES if resolution == "tick" else BARS
    try:
        key = make_key(_symbol(security, ticker), kind, _TIMEFRAMES[resolution])
    except ConfigurationError as error:
        message = f"{path}: {error}"
        raise DataError(message) from None
    return LeanFile(path, key, security, day)


def _symbol(security: str, ticker: str) -> str:
    if security == "equity":
        return ticker.upper()
    for quoted in _QUOTED_IN:
        base = ticker.lower().removesuffix(quoted)
        if base and base != ticker.lower():
            return f"{base.upper()}/{quoted.upper()}"
    message = f"cannot tell in what {ticker!r} is quoted; known are {', '.join(_QUOTED_IN)}"
    raise ConfigurationError(message)


def read_file(file: LeanFile) -> LeanData:
    """Read a file.

    Raises:
        DataError: It cannot be read, or a line is wrong: names file, line and reason.
    """
    rows = _Rows(file)
    if file.key.kind == BARS:
        return LeanData(bars=rows.bars())
    if file.key.timeframe != TICK:
        return LeanData(quotes=rows.quote_bars())
    if file.key.kind == TRADES:
        trades = rows.trades()
        return LeanData(trades=trades, suspicious=rows.suspicious)
    return LeanData(quotes=rows.quote_ticks())


class _Rows:
    """The lines of one file, read with their numbers."""

    def __init__(self, file: LeanFile) -> None:
        self._file = file
        self._scale = _SCALE[file.security]
        self._midnight = 0 if file.day is None else midnight(file.day, file.zone)
        self._line = 0
        self.suspicious = 0

    # ------------------------------------------------------------------ what a line is

    def bars(self) -> BarTable:
        starts: list[int] = []
        rows: list[Row] = []
        for fields in self._fields(6):
            start = self._time(fields[0])
            open_, high, low, close = (self._price(text) for text in fields[1:5])
            row = Row(open_, high, low, close, self._number(fields[5]))
            reason = complaint(row)
            if reason is None and starts and start <= starts[-1]:
                reason = f"the time {format_rfc3339(start)} does not come after the row before"
            if reason is not None:
                self._refuse(reason)
            starts.append(start)
            rows.append(row)
        return BarTable.of(starts, *([row[n] for row in rows] for n in range(5)))

    def quote_bars(self) -> list[Quote]:
        length: Timeframe = parse_timeframe(self._file.key.timeframe)
        quotes = []
        for fields in self._fields(11):
            end = length.end_of(self._time(fields[0]), self._file.zone)
            # A side without a quote is left empty; Alpaca writes it as zero.
            bid, bid_size, ask, ask_size = fields[4], fields[5], fields[9], fields[10]
            quotes.append(
                Quote(
                    end,
                    self._file.key.symbol,
                    self._price(bid or "0"),
                    self._price(ask or "0"),
                    self._number(bid_size or "0"),
                    self._number(ask_size or "0"),
                )
            )
        return quotes

    def trades(self) -> list[Trade]:
        trades = []
        symbol = self._file.key.symbol
        is_equity = self._file.security == "equity"
        for fields in self._fields(6 if is_equity else 3):
            ts, price, size = self._time(fields[0]), self._price(fields[1]), self._number(fields[2])
            if not is_equity:
                trades.append(Trade(ts, symbol, price, size))
            elif fields[5] == "1":
                self.suspicious += 1
            else:
                trades.append(Trade(ts, symbol, price, size, "", self._marks(fields[4]), fields[3], "C"))
        return trades

    def quote_ticks(self) -> list[Quote]:
        symbol = self._file.key.symbol
        return [
            Quote(
                self._time(t),
                symbol,
                self._price(bid),
                self._price(ask),
                self._number(bid_size),
                self._number(ask_size),
            )
            for t, bid, bid_size, ask, ask_size, *_ in self._fields(5)
        ]

    # ------------------------------------------------------------------ fields

    def _fields(self, at_least: int) -> Iterator[list[str]]:
        for self._line, line in enumerate(_lines(self._file.path), 1):  # noqa: B020 - the number of the line that is read
            fields = line.split(",")
            if len(fields) < at_least:
                self._refuse(f"has {len(fields)} columns; expected at least {at_least}")
            yield fields

    def _time(self, text: str) -> int:
        if self._file.day is None:
            try:
                clock = datetime.strptime(text, "%Y%m%d %H:%M").replace(tzinfo=self._file.zone)
            except ValueError:
                clock = datetime.min.replace(tzinfo=self._file.zone)
            if clock.year not in _YEARS:
                self._refuse(f"the time {text[:40]!r} is none; expected YYYYMMDD HH:MM")
            return to_ns(clock)
        # Milliseconds of the clock since midnight: on a day on which it is changed, the clock's reading counts.
        ms = self._decimal(text)
        if not 0 <= ms * NS_PER_MS <= NS_PER_DAY:
            self._refuse(f"the time {text[:40]!r} is none; expected milliseconds since midnight")
        return self._at(int(ms * NS_PER_MS))

    def _at(self, ns_of_day: int) -> int:
        seconds, rest = divmod(ns_of_day, 1_000_000_000)
        day = self._file.day
        if day is None or seconds >= 86_400:
            return self._midnight + ns_of_day
        clock = datetime(
            day.year, day.month, day.day, seconds // 3600, seconds // 60 % 60, seconds % 60, tzinfo=self._file.zone
        )
        return to_ns(clock) + rest

    def _price(self, text: str) -> float:
        return float(self._decimal(text) / self._scale)

    def _number(self, text: str) -> float:
        return float(self._decimal(text))

    def _decimal(self, text: str) -> Decimal:
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or abs(value) > _LARGEST:
            self._refuse(f"{text[:40]!r} is not a number")
        return value

    def _marks(self, text: str) -> str:
        try:
            bits = int(text or "0", 16)
        except ValueError:
            self._refuse(f"the sale condition {text[:40]!r} is no hexadecimal number")
        return "".join(mark for bit, mark in _MARKS.items() if bits & bit) or "@"

    def _refuse(self, reason: str) -> NoReturn:
        message = f"{self._file.path}, line {self._line}: {reason}"
        raise DataError(message) from None


def _lines(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                message = f"{path}: holds {len(names)} CSV files; expected one"
                raise DataError(message)
            text = archive.read(names[0]).decode("ascii")
    except FileNotFoundError:
        message = f"{path}: there is no such file"
        raise DataError(message) from None
    except (OSError, zipfile.BadZipFile, zlib.error, UnicodeDecodeError, RuntimeError, NotImplementedError) as error:
        message = f"{path}: cannot be read as a zip of CSV: {error}"
        raise DataError(message) from None
    return [line for line in text.splitlines() if line]
