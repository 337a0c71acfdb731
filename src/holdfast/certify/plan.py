"""What the script trades: one share, or the least that may be bought of a coin, at prices far from the market."""

from __future__ import annotations

import asyncio
from decimal import ROUND_DOWN, ROUND_UP, Decimal

import msgspec

from holdfast.certify.side import Side
from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError, VenueError

# A buy of coins is for at least 10 USD, by its limit: far below the market that is this much above it.
_COIN_COST = Decimal(12)
_FAR_BELOW, _FARTHER_BELOW, _FAR_ABOVE = Decimal("0.5"), Decimal("0.45"), Decimal(2)
_MARGIN, _BELOW = Decimal("1.1"), Decimal("0.9")
_CENT, _SMALL, _COIN_STEP = Decimal("0.01"), Decimal("0.0001"), Decimal("0.000001")
_PRICE_PATIENCE_SECONDS = 30.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One session, for whichever venue: both sides trade the same at the same prices.

    Attributes:
        symbol: As orders name it.
        price: The last price at the venue that is certified.
        quantity: Of every order.
    """

    symbol: str
    price: Decimal
    quantity: Decimal

    @property
    def kind(self) -> AssetClass:
        """Of the symbol."""
        return AssetClass.CRYPTO if "/" in self.symbol else AssetClass.US_EQUITY

    @property
    def is_crypto(self) -> bool:
        """Whether it is traded around the clock, and paid for in coins."""
        return self.kind is AssetClass.CRYPTO

    @property
    def below(self) -> str:
        """A limit at which no buy fills."""
        return _text(self.price * _FAR_BELOW)

    @property
    def farther_below(self) -> str:
        """Another one."""
        return _text(self.price * _FARTHER_BELOW)

    @property
    def above(self) -> str:
        """A limit at which no sale fills."""
        return _text(self.price * _FAR_ABOVE)

    @property
    def farther_above(self) -> str:
        """A limit at which a buy would meet a sale at ``above``, if the venue let it."""
        return _text(self.price * _FAR_ABOVE * _MARGIN)

    @property
    def at_any_price(self) -> str:
        """A limit at which a sale fills at once, unless the market has fallen."""
        return _text(self.price * _BELOW)

    @property
    def notional(self) -> Decimal:
        """What is bought costs about this much (USD), and it is all that is ever held."""
        return self.quantity * self.price


async def make_plan(side: Side, symbol: str, max_notional: Decimal) -> Plan:
    """What to trade at this venue.

    Raises:
        VenueError: It has no price.
        ConfigurationError: It would cost more than is allowed.
    """
    price = await last_price(side, symbol)
    quantity = Decimal(1)
    if "/" in symbol:
        quantity = (_COIN_COST / (price * _FAR_BELOW)).quantize(_COIN_STEP, ROUND_UP)
    plan = Plan(symbol=symbol, price=price, quantity=quantity)
    if plan.notional * _MARGIN > max_notional:
        message = (
            f"{quantity} {symbol} cost about {plan.notional:.2f} USD, and at most {max_notional} may be spent: "
            "expected another --symbol, or a larger --max-notional"
        )
        raise ConfigurationError(message)
    return plan


async def last_price(side: Side, symbol: str) -> Decimal:
    """The close of the newest bar; waited for where a replayed market has none yet.

    Raises:
        VenueError: There is none.
    """
    path = "/v1beta3/crypto/us/latest/bars" if "/" in symbol else "/v2/stocks/bars/latest"
    params = {"symbols": symbol} if "/" in symbol else {"symbols": symbol, "feed": "iex"}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PRICE_PATIENCE_SECONDS
    while True:
        answer = await side.ask("GET", path, params=params, base=side.data)
        bars = answer.body.get("bars") if isinstance(answer.body, dict) else None
        bar = bars.get(symbol) if isinstance(bars, dict) else None
        if isinstance(bar, dict) and isinstance(bar.get("c"), int | float) and bar["c"] > 0:
            return Decimal(repr(bar["c"]))
        if loop.time() > deadline:
            break
        await side.pause()
    message = f"{side.data} tells no price of {symbol} (HTTP {answer.status})"
    raise VenueError(message)


def _text(price: Decimal) -> str:
    step = _CENT if price >= 1 else _SMALL
    return f"{price.quantize(step, ROUND_DOWN).normalize():f}"
