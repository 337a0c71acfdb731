"""What the risk gate must know, and a plain holder of it for use outside the kernel."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from holdfast.model import TradingState


class RiskView(Protocol):
    """The state that limits are judged against. ``None`` means "not known", which blocks opening orders.

    A view counts what is open, in flight or unknown as if it were filled, in the direction that is worse.
    """

    @property
    def now_ns(self) -> int:
        """The moment (UTC ns)."""

    @property
    def trading_state(self) -> TradingState:
        """What the bot may do at all."""

    def last_price(self, symbol: str) -> float | None:
        """The last price known, in the quote currency."""

    def last_price_at(self, symbol: str) -> int | None:
        """When that price was known (UTC ns)."""

    def position_quantity(self, symbol: str) -> Decimal | None:
        """Signed shares or coins: held, plus all open orders in the direction that makes the position larger."""

    def gross_exposure(self) -> float | None:
        """The absolute values of all positions and open opening orders, summed (USD)."""

    def open_order_count(self) -> int | None:
        """Orders that are open, in flight or unknown."""

    @property
    def day_pnl(self) -> float | None:
        """Equity less the equity at the day's start (USD); negative is a loss."""

    @property
    def buying_power(self) -> Decimal | None:
        """What equities may still be bought for (USD), less what was sent since the venue said it."""

    @property
    def cash_power(self) -> Decimal | None:
        """The same without margin, which is what crypto may be bought for (USD)."""


class StaticRiskView:
    """A view whose facts are set by hand: for a user's own loop, and for tests.

    Every fact starts as not known. Prices are given with ``set_price``, positions by assigning to ``positions``;
    a symbol that is not in ``positions`` is flat once ``positions`` was given, and not known before.
    """

    def __init__(
        self,
        *,
        now_ns: int = 0,
        trading_state: TradingState = TradingState.ACTIVE,
        positions: dict[str, Decimal] | None = None,
        exposure: float | None = None,
        open_orders: int | None = None,
        day_pnl: float | None = None,
        buying_power: Decimal | None = None,
        cash_power: Decimal | None = None,
    ) -> None:
        self.now_ns = now_ns
        self.trading_state = trading_state
        self.positions = positions
        self.exposure = exposure
        self.open_orders = open_orders
        self.day_pnl = day_pnl
        self.buying_power = buying_power
        self.cash_power = cash_power
        self._prices: dict[str, tuple[float, int]] = {}

    def set_price(self, symbol: str, price: float, at: int) -> None:
        """The symbol's last price, and when it was known (UTC ns)."""
        self._prices[symbol] = (price, at)

    def last_price(self, symbol: str) -> float | None:
        """See ``RiskView``."""
        known = self._prices.get(symbol)
        return None if known is None else known[0]

    def last_price_at(self, symbol: str) -> int | None:
        """See ``RiskView``."""
        known = self._prices.get(symbol)
        return None if known is None else known[1]

    def position_quantity(self, symbol: str) -> Decimal | None:
        """See ``RiskView``."""
        return None if self.positions is None else self.positions.get(symbol, Decimal(0))

    def gross_exposure(self) -> float | None:
        """See ``RiskView``."""
        return self.exposure

    def open_order_count(self) -> int | None:
        """See ``RiskView``."""
        return self.open_orders
