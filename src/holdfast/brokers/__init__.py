"""Adapters to brokers: REST in and out. What comes back is a value, a refusal, or "no verdict"."""

from holdfast.brokers.alpaca import AlpacaConnector
from holdfast.brokers.alpaca_http import RetryPolicy, Timeouts
from holdfast.brokers.alpaca_wire import MalformedMessageError, MarketClock

__all__ = ["AlpacaConnector", "MalformedMessageError", "MarketClock", "RetryPolicy", "Timeouts"]
