"""One symbol's corner of the kernel: what a strategy may see of it, and what the guards ask."""

from __future__ import annotations

from decimal import Decimal
from math import nan
from typing import TYPE_CHECKING

import msgspec

from holdfast.market import SymbolProperties
from holdfast.model import AssetClass, Signal
from holdfast.strategies.base import Strategy, overrides

if TYPE_CHECKING:
    from holdfast.state import PositionStore
    from holdfast.time import Sessions


class PendingExit:
    """An exit that waits for the venue's word on what still rests.

    ``everything`` means the whole position, however large it is by then.
    """

    __slots__ = ("everything", "request", "signal")

    def __init__(self, signal: Signal, request: int | None, *, everything: bool) -> None:
        self.signal, self.request, self.everything = signal, request, everything


class PropertiesState(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol's rules as they are written: what their constructor takes."""

    symbol: str
    min_price_increment: Decimal | None
    lot_size: Decimal
    min_order_size: Decimal
    asset_class: AssetClass
    tradable: bool
    shortable: bool
    fractionable: bool
    marginable: bool
    min_notional: Decimal | None
    max_notional: Decimal | None


class ExitState(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting exit as it is written."""

    signal: Signal
    request: int | None
    everything: bool


class BookState(msgspec.Struct, frozen=True, kw_only=True):
    """A book as it is written; its position is in the position store."""

    symbol: str
    properties: PropertiesState | None
    exit: ExitState | None
    shortable: bool
    position_float: float
    average_price_float: float
    last_price: float
    last_price_at: int
    last_bar_at: int
    bars: int
    boundary: int
    mark: float
    session_open: int
    session_close: int
    busy: bool
    fee_uncertainty: Decimal


# What is written as it stands in the book.
_PLAIN = tuple(name for name in BookState.__struct_fields__ if name not in {"symbol", "properties", "exit"})


class SymbolBook:
    """State of one symbol. It is the ``SymbolView`` of the Strategy API.

    The floats mirror the exact books for quick comparisons and per-bar marking; they are set from
    the Decimals at each fill and never the other way round.
    """

    __slots__ = (
        "_positions",
        "asset_class",
        "average_price_float",
        "bars",
        "boundary",
        "busy",
        "exit",
        "fee_uncertainty",
        "fill_listeners",
        "last_bar_at",
        "last_price",
        "last_price_at",
        "mark",
        "order_listeners",
        "position_float",
        "properties",
        "session_close",
        "session_open",
        "sessions",
        "shortable",
        "strategies",
        "symbol",
    )

    def __init__(
        self, symbol: str, positions: PositionStore, sessions: Sessions, strategies: tuple[Strategy, ...]
    ) -> None:
        self.symbol = symbol
        self._positions = positions
        self.sessions = sessions
        self.strategies = strategies
        # Only those that have something to say: a call that does nothing still costs a call.
        self.fill_listeners = tuple(s for s in strategies if overrides(s, "on_fill"))
        self.order_listeners = tuple(s for s in strategies if overrides(s, "on_order"))
        self.properties: SymbolProperties | None = None  # the venue's rules of the symbol; None before it has told them
        # As the venue says; before it has spoken, by the form of the symbol.
        self.asset_class = asset_class_of(symbol)
        self.shortable = False
        self.position_float = 0.0
        self.average_price_float = 0.0
        self.last_price = nan
        self.last_price_at = 0
        self.last_bar_at = 0
        self.bars = 0
        self.boundary = 0  # a bar after this begins another session or another UTC day
        self.mark = 0.0  # the price at which the position is counted in the equity
        self.session_open = 0
        self.session_close = 0
        self.busy = False
        self.exit: PendingExit | None = None
        self.fee_uncertainty = Decimal(
            0
        )  # coins by which the venue's fees may differ from our model, since last settled

    def take_properties(self, properties: SymbolProperties) -> None:
        """The venue has told the symbol's rules."""
        self.properties, self.asset_class = properties, properties.asset_class

    @property
    def position(self) -> Decimal:
        """Signed quantity held, exactly."""
        return self._positions.quantity(self.symbol)

    @property
    def flat(self) -> bool:
        """No position, and nothing under way that could make one."""
        return self.position_float == 0.0 and not self.busy

    def enter_session(self, ts: int) -> None:
        """Find the session of a bar that ends at ``ts``: one that ends at the close still belongs to it."""
        session = self.sessions.at(ts - 1)
        self.session_open, self.session_close = session.open, session.close

    def export_state(self) -> BookState:
        """The book in its written form."""
        rules, waiting = self.properties, self.exit
        return BookState(
            symbol=self.symbol,
            properties=None
            if rules is None
            else PropertiesState(**{name: getattr(rules, name) for name in PropertiesState.__struct_fields__}),
            exit=None
            if waiting is None
            else ExitState(signal=waiting.signal, request=waiting.request, everything=waiting.everything),
            **{name: getattr(self, name) for name in _PLAIN},
        )

    def import_state(self, state: BookState) -> None:
        """Become the book that was written."""
        for name in _PLAIN:
            setattr(self, name, getattr(state, name))
        rules, waiting = state.properties, state.exit
        self.properties, self.asset_class = None, asset_class_of(self.symbol)
        if rules is not None:
            self.take_properties(SymbolProperties(**msgspec.structs.asdict(rules)))
        self.exit = (
            None if waiting is None else PendingExit(waiting.signal, waiting.request, everything=waiting.everything)
        )


def asset_class_of(symbol: str) -> AssetClass:
    """Crypto pairs are written with a slash; everything else is an equity."""
    return AssetClass.CRYPTO if "/" in symbol else AssetClass.US_EQUITY
