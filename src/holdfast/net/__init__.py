"""How requests leave: rate limits that hold in every window, and back-off between tries."""

from holdfast.net.backoff import Backoff
from holdfast.net.combined import create_combined_throttler
from holdfast.net.throttler import RateLimit, SharedLimit, Throttler

__all__ = ["Backoff", "RateLimit", "SharedLimit", "Throttler", "create_combined_throttler"]
