"""How one book trades."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from holdfast.model.errors import ConfigurationError

BPS = Decimal(10_000)


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one book trades.

    Attributes:
        participation: Share of a bar's volume that our orders may take together; None is unlimited.
        spread_bps: Full spread around the traded price, in basis points of it.
        maker_bps: Crypto fee of orders that rested; equities trade free.
        taker_bps: Crypto fee of orders that met the market at once.
        multiplier: 4 has more margin within the day, 2 is a Reg-T margin account, 1 a cash account (no shorts).
        namespace: Makes the ids of this book its own; below 2**60.
    """

    participation: Decimal | None = Decimal("0.1")
    spread_bps: float = 0.0
    maker_bps: Decimal = Decimal(15)
    taker_bps: Decimal = Decimal(25)
    multiplier: int = 2
    namespace: int = 0

    def __post_init__(self) -> None:
        checks = (
            (
                "participation",
                self.participation,
                self.participation is None or 0 < self.participation <= 1,
                "in (0, 1] or None",
            ),
            ("spread_bps", self.spread_bps, 0 <= self.spread_bps < BPS, "in [0, 10000)"),
            ("maker_bps", self.maker_bps, 0 <= self.maker_bps < BPS, "in [0, 10000)"),
            ("taker_bps", self.taker_bps, 0 <= self.taker_bps < BPS, "in [0, 10000)"),
            ("multiplier", self.multiplier, self.multiplier in (1, 2, 4), "1 (cash account), 2 or 4 (margin account)"),
            ("namespace", self.namespace, 0 <= self.namespace < 1 << 60, "in [0, 2**60)"),
        )
        for name, value, good, expected in checks:
            if not good:
                message = f"{name} of the matching engine is {value}; expected {expected}"
                raise ConfigurationError(message)
