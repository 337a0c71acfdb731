"""Adapters to brokers: REST in and out. What comes back is a value, a refusal, or "no verdict"."""

from holdfast.brokers.alpaca import AlpacaConnector
from holdfast.brokers.alpaca_http import RetryPolicy, Timeouts
from holdfast.brokers.alpaca_reference import (
    AccountConfiguration,
    EquityPoint,
    MarketClock,
    MarketDay,
    PortfolioHistory,
)
from holdfast.brokers.alpaca_wire import MalformedMessageError

__all__ = [
    "AccountConfiguration",
    "AlpacaConnector",
    "EquityPoint",
    "MalformedMessageError",
    "MarketClock",
    "MarketDay",
    "PortfolioHistory",
    "RetryPolicy",
    "Timeouts",
]
