"""What a container's parts are made by, so that whoever needs other ones (a simulator, a canary) passes them in."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.brokers import AlpacaConnector
from holdfast.di.assembly import make_kernel
from holdfast.kernel import Kernel
from holdfast.net import Throttler, create_combined_throttler
from holdfast.notify import Notifier
from holdfast.realtime import ActivityStream, MarketDataStream, UserStreamTracker
from holdfast.runner import Runner


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """One maker a part: a class, or any function that takes the arguments of the default and gives its kind."""

    throttler: Callable[..., Throttler] = create_combined_throttler
    notifier: Callable[..., Notifier] = Notifier
    connector: Callable[..., AlpacaConnector] = AlpacaConnector
    kernel: Callable[..., Kernel] = make_kernel
    user_stream: Callable[..., UserStreamTracker] = UserStreamTracker
    market_stream: Callable[..., MarketDataStream] = MarketDataStream
    activity_stream: Callable[..., ActivityStream] = ActivityStream
    runner: Callable[..., Runner] = Runner
