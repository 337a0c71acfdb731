"""Checks of Massive (Polygon), where ``market_data`` says that bars come from there."""

from __future__ import annotations

from typing import Final

from holdfast.data.polygon import LIMIT_ID, PolygonProvider
from holdfast.di.bar_sources import check_massive
from holdfast.di.places import massive_key
from holdfast.doctor.findings import Failed, Warned
from holdfast.doctor.situation import Situation
from holdfast.model.errors import BrokerError, ConfigurationError, DataError
from holdfast.model.timestamps import NS_PER_MINUTE, to_datetime
from holdfast.net import create_combined_throttler
from holdfast.realtime import MassiveStream
from holdfast.realtime.massive import REAL_TIME_URL
from holdfast.realtime.stream import StreamTimeouts

_RECENT: Final = 5 * NS_PER_MINUTE
_KEY: Final = "check MASSIVE_API_KEY or POLYGON_API_KEY (polygon.api_key): Massive's dashboard shows the key"
_PLAN: Final = 'upgrade the plan at Massive, or set market_data = "alpaca"'

#: What to do about an HTTP status of the REST API.
REST_REMEDIES: Final[dict[int | None, str]] = {
    401: _KEY,
    403: _PLAN,
    404: "check polygon.base_url",
    429: "set limits.polygon to what the plan allows, and look for other programs that use the key",
}
#: What to do about a status of the socket; what they mean is in holdfast.realtime.massive.
STREAM_REMEDIES: Final = {
    "auth_failed": f"{_KEY}; or {_PLAN}",
    "auth_timeout": "look at the network: the greeting took too long",
    "not_authorized": f"{_PLAN}; plans without real time have wss://delayed.massive.com/stocks (polygon.stream_url)",
    "max_connections": "end the other program that uses this key; where there is none, wait a minute",
    "force_disconnect": "end the other program that uses this key",
}


async def rest_api(situation: Situation) -> str:
    """Whether it answers, takes the key, and gives recent bars; and how long those of all symbols would take."""
    config = situation.config
    throttler = create_combined_throttler(config.limits)
    try:
        check_massive(config, is_replayed=situation.replays)
        provider = PolygonProvider(
            massive_key(config),
            throttler,
            base_url=config.polygon.base_url,
            clock=situation.clock,
            attempts=1,
            timeout_seconds=situation.thresholds.answer,
        )
    except ConfigurationError as error:
        raise Failed(str(error)) from None
    now = situation.clock.now_ns()
    async with provider:
        try:
            await provider.get_bars(situation.symbols[0], "1Min", to_datetime(now - _RECENT), to_datetime(now))
        except BrokerError as error:
            remedy = REST_REMEDIES.get(error.status, "check the network, a proxy (HTTPS_PROXY), and polygon.base_url")
            raise Failed(error.message, remedy) from None
        except DataError as error:
            raise Failed(str(error), "check polygon.base_url: this is not what Massive answers") from None
    rate = throttler.get_stats()[LIMIT_ID]
    seconds = (len(situation.symbols) - 1) // rate["limit"] * rate["period"]
    if seconds >= config.strategy.period_seconds:
        message = (
            f"Massive gives bars of stocks, but {rate['limit']} in {rate['period']:g} s: after a gap those of "
            f"{len(situation.symbols)} symbols take {seconds:g} s, and new ones wait for them"
        )
        raise Warned(message, "set limits.polygon to what the plan allows, such as {limit = 1000}")
    return "Massive gives bars of stocks"


def make_stream(situation: Situation, timeouts: StreamTimeouts) -> MassiveStream:
    """The socket, for the symbols that are followed."""
    config = situation.config
    return MassiveStream(
        massive_key(config),
        situation.symbols,
        lambda _: None,
        url=config.polygon.stream_url or REAL_TIME_URL,
        period=NS_PER_MINUTE,
        clock=situation.clock,
        timeouts=timeouts,
    )
