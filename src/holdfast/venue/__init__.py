"""The built-in venue: a matching engine without I/O, and a server around it that speaks Alpaca's protocols.

The names below load on first use, because the backtester takes the engine from here and needs neither
a web server nor SQLite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.model.later import later

if TYPE_CHECKING:
    from holdfast.venue.config import Ready, VenueConfig, default_asset
    from holdfast.venue.server import run, serve
else:
    __getattr__ = later(
        __name__,
        {"Ready": "config", "VenueConfig": "config", "default_asset": "config", "run": "server", "serve": "server"},
    )

__all__ = ["Ready", "VenueConfig", "default_asset", "run", "serve"]
