"""Market data as the kernel sees it. Prices and volumes are float64; ``ts`` is when the thing was known."""

from __future__ import annotations

import msgspec

from holdfast.model.enums import AssetClass


class Bar(msgspec.Struct, frozen=True, gc=False, tag="bar"):
    """One bar, complete.

    ``ts`` is the bar's end (UTC ns): the first moment at which anyone could know it.
    Positional on purpose: a backtest makes half a million of them.
    """

    ts: int
    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float


class Quote(msgspec.Struct, frozen=True, gc=False, tag="quote"):
    """The best bid and ask at a moment (UTC ns)."""

    ts: int
    symbol: str
    bid: float
    ask: float
    bid_size: float = 0.0
    ask_size: float = 0.0


class Trade(msgspec.Struct, frozen=True, gc=False, tag="trade"):
    """One trade of the market (not of ours), as the tape reports it.

    Attributes:
        ts: When it was made (UTC ns).
        symbol: Of what.
        price: At what price.
        size: Shares or coins.
        id: The exchange's id; empty where it gives none.
        conditions: Sale conditions, one letter or digit each, as the tape writes them.
        exchange: The exchange's code.
        tape: ``A``, ``B`` (CTA) or ``C`` (UTP); empty where there is no tape.
    """

    ts: int
    symbol: str
    price: float
    size: float
    id: str = ""
    conditions: str = ""
    exchange: str = ""
    tape: str = ""


class Asset(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the venue says of a symbol. Increments and sizes are decimal strings on the wire, Decimal here."""

    symbol: str
    asset_class: AssetClass = AssetClass.US_EQUITY
    name: str = ""
    exchange: str = ""
    tradable: bool = True
    shortable: bool = False
    marginable: bool = False
    fractionable: bool = False
    min_order_size: str | None = None
    min_trade_increment: str | None = None
    price_increment: str | None = None
