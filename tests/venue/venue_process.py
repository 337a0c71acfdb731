"""Starts a venue as its own process, from a file of bars: ``python venue_process.py BARS.npz OPTIONS_JSON``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from holdfast.model import BarSeries
from holdfast.model.errors import HoldfastError
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.venue import VenueConfig, run


def save(path: Path, *series: BarSeries) -> None:
    """Write series where ``load`` finds them."""
    columns = {
        f"{number}|{bars.symbol}": np.vstack(
            [bars.ts.astype(np.float64) / 1e9, bars.open, bars.high, bars.low, bars.close, bars.volume]
        )
        for number, bars in enumerate(series)
    }
    np.savez(path, **columns)  # type: ignore[arg-type]  # its stub takes the names for its own options


def load(path: Path) -> dict[str, BarSeries]:
    """One-minute series by symbol."""
    found: dict[str, BarSeries] = {}
    with np.load(path) as columns:
        for name in columns.files:
            symbol = name.partition("|")[2]
            seconds, *prices = columns[name]
            found[symbol] = BarSeries(symbol, NS_PER_MINUTE, (seconds * 1e9).astype(np.int64), *prices)
    return found


def main() -> None:
    """Run until told to stop; one sentence and status 1 where it cannot."""
    path, text = sys.argv[1:]
    options: dict[str, Any] = msgspec.json.decode(text)
    try:
        run(msgspec.convert(options, VenueConfig, dec_hook=lambda _, text: Path(text)), load(Path(path)))
    except HoldfastError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
