"""Streams: news of our orders and of the market, over sockets that come back by themselves."""

from holdfast.realtime.activity_stream import ActivityStream
from holdfast.realtime.bar_watch import BarWatch
from holdfast.realtime.market_data import MarketDataStream
from holdfast.realtime.massive import MassiveStream
from holdfast.realtime.stream import Stream, StreamState, StreamTimeouts
from holdfast.realtime.user_stream import UserStreamTracker

__all__ = [
    "ActivityStream",
    "BarWatch",
    "MarketDataStream",
    "MassiveStream",
    "Stream",
    "StreamState",
    "StreamTimeouts",
    "UserStreamTracker",
]
