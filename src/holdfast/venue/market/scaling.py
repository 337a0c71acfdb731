"""What was recorded at other prices: bars scaled from a moment on, on the grid on which their asset trades."""

from __future__ import annotations

import numpy as np

from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset
from holdfast.model.series import BarSeries, Float64


def scaled(series: BarSeries, first: int, factor: float, volume_factor: float, asset: Asset) -> BarSeries:
    """The bars with prices and volumes scaled from a row on, on the grid on which the asset trades."""
    prices = [column.copy() for column in (series.open, series.high, series.low, series.close)]
    for column in prices:
        column[first:] = on_grid(column[first:] * factor, asset)
    volume = series.volume.copy()
    volume[first:] = np.round(volume[first:] * volume_factor, 9 if asset.asset_class is AssetClass.CRYPTO else 0)
    opens, highs, lows, closes = prices
    return BarSeries(series.symbol, series.period, series.ts, opens, highs, lows, closes, volume)


def on_grid(prices: Float64, asset: Asset) -> Float64:
    """Prices as the asset may have them."""
    if asset.asset_class is AssetClass.CRYPTO:
        return np.round(prices, 9)
    # Rounding keeps the order of prices, so that high and low stay around open and close.
    return np.maximum(np.where(prices >= 1, np.round(prices, 2), np.round(prices, 4)), 0.0001)
