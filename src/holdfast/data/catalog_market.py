"""What a command reads from a catalog: some symbols, from a day or a time to another one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

from holdfast.data.actions import check_adjustment
from holdfast.data.catalog import Catalog
from holdfast.data.timeframes import asset_class_of, midnight, zone_of
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.series import BarSeries
from holdfast.model.timestamps import parse_rfc3339


def read_market(
    root: Path,
    symbols: Iterable[str],
    start: str | None = None,
    end: str | None = None,
    timeframe: str | None = None,
    adjustment: str | None = None,
) -> dict[str, BarSeries]:
    """The bars of some symbols.

    Args:
        root: The catalog.
        symbols: Whose.
        start: ``2024-01-02`` (from that day's first moment in the symbol's market) or an RFC 3339 time.
        end: Likewise; a day is included.
        timeframe: The length of the bars; default ``1Min``.
        adjustment: See ``Adjustment``; default ``raw``.

    Raises:
        ConfigurationError: An option makes no sense.
        DataError: Part of it is not in the catalog, or there is not one bar.
    """
    catalog = Catalog(root)
    kind = check_adjustment(adjustment or "raw")
    found = {}
    for symbol in symbols:
        first, last = _moment("--start", symbol, start, 0), _moment("--end", symbol, end, 1)
        if first is not None and last is not None and last <= first:
            message = f"--end {end} is not after --start {start}"
            raise ConfigurationError(message)
        series = catalog.read_bars(symbol, timeframe or "1Min", first, last, adjustment=kind)
        if not len(series):
            message = f"{root}: there is not one bar of {symbol} from {start or 'the first'} to {end or 'the last'}"
            raise DataError(message)
        found[symbol] = series
    return found


def _moment(name: str, symbol: str, text: str | None, days: int) -> int | None:
    if text is None:
        return None
    zone = zone_of(asset_class_of(symbol))
    try:
        return midnight(date.fromisoformat(text) + timedelta(days=days), zone)
    except ValueError:
        try:
            return parse_rfc3339(text)
        except DataError:
            message = f"{name} {text!r} is neither a day (2024-01-02) nor a time with an offset (2024-01-02T14:30:00Z)"
            raise ConfigurationError(message) from None
