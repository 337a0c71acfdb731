"""Parquet files through Polars, which is an extra: imported at the first file, so that nobody else waits for it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from holdfast.data.tables import UNKNOWN_COUNT, BarTable
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.market import Quote, Trade
from holdfast.model.series import Int64

if TYPE_CHECKING:
    import polars as pl

    Frame = pl.DataFrame

#: The columns of each kind of file; the first is the time (UTC, ns).
BAR_COLUMNS: Final = ("start", "open", "high", "low", "close", "volume", "vwap", "trades")
TRADE_COLUMNS: Final = ("ts", "price", "size", "id", "conditions", "exchange", "tape")
QUOTE_COLUMNS: Final = ("ts", "bid", "ask", "bid_size", "ask_size")


def polars() -> Any:
    """The library.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import polars as pl  # noqa: PLC0415 - an extra, and large
    except ImportError:
        message = "Parquet files need polars: expected pip install 'holdfast[parquet]'"
        raise ConfigurationError(message) from None
    return pl


def _times(pl: Any, values: Any) -> Any:
    return pl.Series(values, dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))


def bar_frame(table: BarTable) -> Frame:
    """Bars as a frame; what is not known is null."""
    pl = polars()
    columns: dict[str, Any] = {"start": _times(pl, table.start)}
    columns |= {name: pl.Series(values) for name, values in zip(BAR_COLUMNS[1:6], table[1:6], strict=True)}
    columns["vwap"] = pl.Series(table.vwap).fill_nan(None)
    columns["trades"] = pl.Series(table.trades)
    found: Frame = pl.DataFrame(columns).with_columns(
        pl.when(pl.col("trades") == UNKNOWN_COUNT).then(None).otherwise(pl.col("trades")).alias("trades")
    )
    return found


def bar_table(frame: Frame) -> BarTable:
    """A frame as bars."""
    return BarTable.of(
        times_of(frame),
        *(frame[name].to_numpy() for name in BAR_COLUMNS[1:6]),
        vwap=frame["vwap"].fill_null(float("nan")).to_numpy(),
        trades=frame["trades"].fill_null(UNKNOWN_COUNT).to_numpy(),
    )


def times_of(frame: Frame) -> Int64:
    """The first column of any of these frames, as UTC ns."""
    found: Int64 = frame.to_series(0).to_physical().to_numpy().astype(np.int64, copy=False)
    return found


def trade_frame(trades: Sequence[Trade]) -> Frame:
    """Trades as a frame."""
    pl = polars()
    columns: dict[str, Any] = {"ts": _times(pl, [trade.ts for trade in trades])}
    for name in TRADE_COLUMNS[1:]:
        kind = pl.Float64 if name in ("price", "size") else pl.String
        columns[name] = pl.Series([getattr(trade, name) for trade in trades], dtype=kind)
    found: Frame = pl.DataFrame(columns)
    return found


def trades_of(frame: Frame, symbol: str) -> list[Trade]:
    """A frame as trades."""
    columns = [frame["ts"].to_physical().to_list(), *(frame[name].to_list() for name in TRADE_COLUMNS[1:])]
    return [Trade(ts, symbol, *rest) for ts, *rest in zip(*columns, strict=True)]


def quote_frame(quotes: Sequence[Quote]) -> Frame:
    """Quotes as a frame."""
    pl = polars()
    columns: dict[str, Any] = {"ts": _times(pl, [quote.ts for quote in quotes])}
    for name in QUOTE_COLUMNS[1:]:
        columns[name] = pl.Series([getattr(quote, name) for quote in quotes], dtype=pl.Float64)
    found: Frame = pl.DataFrame(columns)
    return found


def quotes_of(frame: Frame, symbol: str) -> list[Quote]:
    """A frame as quotes."""
    columns = [frame["ts"].to_physical().to_list(), *(frame[name].to_list() for name in QUOTE_COLUMNS[1:])]
    return [Quote(ts, symbol, *rest) for ts, *rest in zip(*columns, strict=True)]


def encode(frame: Frame) -> bytes:
    """As the bytes of a file; the same frame gives the same bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def read_files(paths: Sequence[Path], columns: Sequence[str] | None = None) -> Frame:
    """One frame of several files of one kind, in their order.

    Raises:
        DataError: One cannot be read; names it.
    """
    pl = polars()
    try:
        found: Frame = pl.read_parquet(list(paths), columns=columns, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        for path in paths:
            try:
                pl.read_parquet(path, columns=columns, hive_partitioning=False)
            except (pl.exceptions.PolarsError, OSError, ValueError) as reason:
                message = f"{path}: cannot be read as Parquet: {' '.join(str(reason).split())[:200]}"
                raise DataError(message) from None
        message = (
            f"{paths[0]} and {len(paths) - 1} more files do not fit together: {' '.join(str(error).split())[:200]}"
        )
        raise DataError(message) from None
    return found
