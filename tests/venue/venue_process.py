"""Starts a venue as its own process, from a file of bars: ``python venue_process.py BARS.npz OPTIONS_AS_JSON``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from holdfast.data.calendar_cache import kept_calendar
from holdfast.model import BarSeries
from holdfast.model.errors import HoldfastError
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.time.sessions import NYSE
from holdfast.venue import VenueConfig, run


def load(path: Path) -> dict[str, BarSeries]:
    """One-minute series by symbol."""
    found: dict[str, BarSeries] = {}
    with np.load(path) as columns:
        for name in columns.files:
            number, symbol, what = name.split("|")
            if what == "ts":
                found[symbol] = BarSeries(symbol, NS_PER_MINUTE, columns[name], *columns[f"{number}|{symbol}|prices"])
    return found


def main() -> None:
    """Run until told to stop; one sentence and status 1 where it cannot."""
    NYSE.read = kept_calendar
    path, text = sys.argv[1:]
    options: dict[str, Any] = msgspec.json.decode(text)
    try:
        run(msgspec.convert(options, VenueConfig, dec_hook=lambda _, value: Path(value)), load(Path(path)))
    except HoldfastError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
