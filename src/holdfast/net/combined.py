"""The limits of the venues that Holdfast speaks to, as they publish them.

Alpaca allows 200 requests a minute for each account on the trading API, and counts the
market-data API apart; Polygon's free plan allows 5 a minute. Everything about an account
shares one limit there, so the ids that name what a request is about (``alpaca_orders``, ...)
have no window of their own and draw on the shared one: figures for each kind, one limit for
all. Who pays for more changes the shared one::

    create_combined_throttler({"alpaca_trading": {"limit": 1000}})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.model.errors import ConfigurationError
from holdfast.net.throttler import RateLimit, SharedLimit, Throttler
from holdfast.time import Clock

# The share that is kept for cancels, closing orders and look-ups of orders whose outcome is unknown.
_RESERVE = 0.1

_TRADING = SharedLimit(("alpaca_trading",))
_DATA = SharedLimit(("alpaca_data",))
_POLYGON = SharedLimit(("polygon",))

DEFAULT_LIMITS: Mapping[str, RateLimit | SharedLimit] = {
    "alpaca_trading": RateLimit(200, 60.0, reserve=_RESERVE),
    "alpaca_orders": _TRADING,
    "alpaca_account": _TRADING,
    "alpaca_positions": _TRADING,
    "alpaca_assets": _TRADING,
    "alpaca_clock": _TRADING,
    "alpaca_calendar": _TRADING,
    "alpaca_activities": _TRADING,
    "alpaca_data": RateLimit(200, 60.0),
    "alpaca_bars": _DATA,
    "alpaca_quotes": _DATA,
    "alpaca_trades": _DATA,
    "alpaca_snapshots": _DATA,
    "polygon": RateLimit(5, 60.0),
    "polygon_bars": _POLYGON,
    "polygon_reference": _POLYGON,
}

Override = RateLimit | SharedLimit | Mapping[str, Any]


def create_combined_throttler(overrides: Mapping[str, Override] | None = None, clock: Clock | None = None) -> Throttler:
    """One throttler for Alpaca's trading and market-data APIs and for Polygon.

    Args:
        overrides: Limits by id, new or in place of a default: a ``RateLimit`` or ``SharedLimit``, or a dictionary
            of their fields. A dictionary changes what it names and leaves the rest of the default as it is.
        clock: Whose time counts. Default: real time.

    Raises:
        ConfigurationError: A value makes no sense; names ``limits.ID`` and what was expected.
    """
    limits = dict(DEFAULT_LIMITS)
    for name, override in (overrides or {}).items():
        limits[name] = _read(name, override, limits.get(name))
    return Throttler(limits, clock)


def _read(name: str, override: object, default: RateLimit | SharedLimit | None) -> RateLimit | SharedLimit:
    if isinstance(override, (RateLimit, SharedLimit)):
        return override
    if not isinstance(override, Mapping):
        message = f"limits.{name} is {override!r}; expected a table such as {{limit = 200, period = 60}}"
        raise ConfigurationError(message)
    fields = {**(msgspec.structs.asdict(default) if default is not None else {}), **override}
    kind: type[RateLimit | SharedLimit] = RateLimit if "limit" in fields or "period" in fields else SharedLimit
    unknown = sorted(set(fields) - set(kind.__struct_fields__))
    if unknown:
        message = f"limits.{name} has unknown key {unknown[0]!r}; expected {', '.join(kind.__struct_fields__)}"
        raise ConfigurationError(message)
    try:
        return msgspec.convert(fields, kind)
    except (msgspec.ValidationError, ConfigurationError) as error:
        message = f"limits.{name} is not valid: {error}"
        raise ConfigurationError(message) from None
