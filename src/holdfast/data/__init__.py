"""Market data from elsewhere: files, vendors, and a catalog that keeps them.

Whatever needs an HTTP library, a calendar or Polars is loaded with its first use: whoever only reads a file should not wait
for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.data.csv import load, read_bars, write_bars
from holdfast.data.synthetic import synthetic_sessions
from holdfast.model.later import later

if TYPE_CHECKING:
    from holdfast.data.aggregate import TradeBars, bars_from_trades
    from holdfast.data.alpaca import AlpacaProvider
    from holdfast.data.catalog import Catalog
    from holdfast.data.polygon import PolygonProvider
    from holdfast.data.provider import DataProvider
else:
    __getattr__ = later(
        __name__,
        {
            "AlpacaProvider": "alpaca",
            "Catalog": "catalog",
            "DataProvider": "provider",
            "PolygonProvider": "polygon",
            "TradeBars": "aggregate",
            "bars_from_trades": "aggregate",
        },
    )

__all__ = [
    "AlpacaProvider",
    "Catalog",
    "DataProvider",
    "PolygonProvider",
    "TradeBars",
    "bars_from_trades",
    "load",
    "read_bars",
    "synthetic_sessions",
    "write_bars",
]
