"""Market data from elsewhere: CSV files, seeded synthetic sessions, and the Polygon (Massive) aggregates API.

``PolygonProvider`` is loaded with its first use: whoever only reads a file should not wait for an HTTP library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.data.csv import load, read_bars, write_bars
from holdfast.data.provider import DataProvider
from holdfast.data.synthetic import synthetic_sessions

if TYPE_CHECKING:
    from holdfast.data.polygon import PolygonProvider

__all__ = ["DataProvider", "PolygonProvider", "load", "read_bars", "synthetic_sessions", "write_bars"]


def __getattr__(name: str) -> type[PolygonProvider]:
    if name == "PolygonProvider":
        from holdfast.data.polygon import PolygonProvider  # noqa: PLC0415 - see the docstring

        return PolygonProvider
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
