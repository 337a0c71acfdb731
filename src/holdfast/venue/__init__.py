"""The built-in venue: a matching engine without I/O, and a server around it that speaks Alpaca's protocols.

The names below load on first use, because the backtester takes the engine from here and needs neither
a web server nor SQLite.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.venue.config import Ready, VenueConfig, default_asset
    from holdfast.venue.server import run, serve

__all__ = ["Ready", "VenueConfig", "default_asset", "run", "serve"]

_CONFIG = ("Ready", "VenueConfig", "default_asset")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("holdfast.venue.config" if name in _CONFIG else "holdfast.venue.server"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
