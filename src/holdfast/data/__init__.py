"""Market data from elsewhere: files, vendors, and a catalog that keeps them.

Each name is loaded with its first use: NumPy, an HTTP library or Polars are nothing to wait for without need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.model.later import later

if TYPE_CHECKING:
    from holdfast.data.aggregate import TradeBars, bars_from_trades
    from holdfast.data.alpaca import AlpacaProvider
    from holdfast.data.catalog import Catalog
    from holdfast.data.csv import load, read_bars, write_bars
    from holdfast.data.polygon import PolygonProvider
    from holdfast.data.provider import DataProvider
    from holdfast.data.synthetic import synthetic_sessions
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
            "load": "csv",
            "read_bars": "csv",
            "synthetic_sessions": "synthetic",
            "write_bars": "csv",
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
