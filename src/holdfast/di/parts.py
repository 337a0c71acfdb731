"""What a container's parts are made by, so that whoever needs other ones (a simulator, a canary) passes them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.brokers import AlpacaConnector
from holdfast.data.provider import DataProvider
from holdfast.di.assembly import make_kernel
from holdfast.kernel import Kernel
from holdfast.net import Throttler, create_combined_throttler
from holdfast.notify import Notifier
from holdfast.realtime import ActivityStream, MarketDataStream, MassiveStream, UserStreamTracker
from holdfast.runner import Runner


def _massive_provider(*args: Any, **options: Any) -> DataProvider:
    from holdfast.data.polygon import PolygonProvider  # noqa: PLC0415 - most bots never ask it

    return PolygonProvider(*args, **options)


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """One maker a part: a class, or any function that takes the arguments of the default and gives its kind."""

    throttler: Callable[..., Throttler] = create_combined_throttler
    notifier: Callable[..., Notifier] = Notifier
    connector: Callable[..., AlpacaConnector] = AlpacaConnector
    kernel: Callable[..., Kernel] = make_kernel
    user_stream: Callable[..., UserStreamTracker] = UserStreamTracker
    market_stream: Callable[..., MarketDataStream] = MarketDataStream
    massive_stream: Callable[..., MassiveStream] = MassiveStream
    massive_provider: Callable[..., DataProvider] = _massive_provider
    activity_stream: Callable[..., ActivityStream] = ActivityStream
    runner: Callable[..., Runner] = Runner
