"""How a venue is set up, what it says when it listens, and what a symbol is where nothing else is known."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError
from holdfast.model.market import Asset
from holdfast.venue.faults.rules import Scenario
from holdfast.venue.store import BOOK_ID_BITS
from holdfast.venue.streams.sockets import BACKLOG_FRAMES, SLOW_SECONDS


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a venue is set up.

    Attributes:
        host: Where it listens; loopback by default, since any key pair opens an account.
        port, admin_port: 0 takes a free one.
        speed: Venue seconds per real second, or "max": lock-step.
        book: File of its memory; None keeps it only while it runs.
        cash: What a new account holds (USD).
        participation: Share of a bar's volume that the orders of an account may take; None is unlimited.
        spread_bps: Full spread around the traded price.
        maker_bps, taker_bps: Crypto fees.
        seed: Fixes the ids of a new book; None draws them, so that two books never give the same.
        rate_limit: Trading requests a minute of venue time and account; None refuses none.
        symbol_limit: Symbols that one data stream may subscribe to; None is unlimited.
        basic_plan: Whether clients have Alpaca's free plan: no recent SIP data, no SIP stream, 30 symbols a stream.
        ticks: Whether there are quotes and trades, and orders meet them; at a speed that is a number only.
        stream_backlog: Frames that a reader of market data may be behind before it is cut off.
        slow_seconds: How long a reader may take nothing of what waits for it before it is cut off (real seconds).
        auth_seconds: How long a data stream may stay unauthenticated (real seconds).
        exit_with_parent: End when standard input ends.
        scenario: The faults that stand from the beginning.
    """

    host: str = "127.0.0.1"
    port: int = 0
    admin_port: int = 0
    speed: float | Literal["max"] = "max"
    book: Path | None = None
    cash: Decimal = Decimal(100_000)
    participation: Decimal | None = Decimal("0.1")
    spread_bps: float = 0.0
    maker_bps: Decimal = Decimal(15)
    taker_bps: Decimal = Decimal(25)
    seed: int | None = None
    rate_limit: int | None = 200
    symbol_limit: int | None = None
    basic_plan: bool = False
    ticks: bool = True
    stream_backlog: int = BACKLOG_FRAMES
    slow_seconds: float = SLOW_SECONDS
    auth_seconds: float = 10.0
    exit_with_parent: bool = False
    scenario: Scenario = Scenario()

    def __post_init__(self) -> None:
        """Refuse what makes no venue, naming the setting."""
        for name, port in (("port", self.port), ("admin_port", self.admin_port)):
            if not 0 <= port < 1 << 16:
                message = f"{name} must be between 0 and 65535, got {port}"
                raise ConfigurationError(message)
        if self.speed != "max" and not 0 < self.speed < float("inf"):
            message = f"speed must be a positive number or 'max', got {self.speed!r}"
            raise ConfigurationError(message)
        if not self.cash.is_finite() or self.cash < 0:
            message = f"cash must be an amount of USD, got {self.cash}"
            raise ConfigurationError(message)
        if self.rate_limit is not None and self.rate_limit < 1:
            message = f"rate_limit must be at least 1, or None, got {self.rate_limit}"
            raise ConfigurationError(message)
        if self.stream_backlog < 1:
            message = f"stream_backlog must be at least 1, got {self.stream_backlog}"
            raise ConfigurationError(message)
        if not 0 < self.slow_seconds < float("inf"):
            message = f"slow_seconds must be a positive number of seconds, got {self.slow_seconds}"
            raise ConfigurationError(message)
        if self.seed is not None and not 0 <= self.seed < 1 << BOOK_ID_BITS:
            message = f"seed must be between 0 and {(1 << BOOK_ID_BITS) - 1}, got {self.seed}"
            raise ConfigurationError(message)

    @property
    def has_ticks(self) -> bool:
        """Whether orders meet quotes and trades: not in lock-step, where they meet bars, as in a backtest."""
        return self.ticks and self.speed != "max"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says, as one line of JSON, when it listens."""

    ready: Literal[True] = True
    url: str
    admin: str
    pid: int
    book: str


def default_asset(symbol: str) -> Asset:
    """What a symbol is taken for where nothing else is known: crypto if it has a slash, else a liquid US equity."""
    if "/" in symbol:
        return Asset(
            symbol=symbol,
            asset_class=AssetClass.CRYPTO,
            name=symbol,
            exchange="CRYPTO",
            fractionable=True,
            min_order_size="0.000000001",
            min_trade_increment="0.000000001",
            price_increment="0.000000001",
        )
    return Asset(symbol=symbol, name=symbol, exchange="NASDAQ", shortable=True, marginable=True, fractionable=True)
