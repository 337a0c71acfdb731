"""What we own, what it cost, and what it earned: first in, first out, exact.

Quantities and money are Decimal and every sum is exact, so that our books can be compared with the venue's to the
last digit. The floats (``quantity_float``, ``average_price_float``, ``last_price``) are mirrors for whoever looks at
a position on every bar, where a Decimal would cost more than the strategy.

Three decisions:

* **A fill opens and closes lots.** A position is a queue of lots, each at the price of the execution that opened it;
  closing takes the oldest first. Lots are never averaged, so nothing is rounded.
* **Fees are kept apart from prices.** A lot remembers the fees paid to open it; a closed trade's profit is the
  difference of the prices less its share of the entry's and of the exit's fees. A fee taken in coin makes the lot
  smaller and is a fee of its value at the fill's price: what was paid stays the cost.
* **A round trip is one entry order against one exit order.** An exit that the venue fills in five pieces is one trade,
  not five; a guard that counts losing trades would otherwise count the venue's liquidity. The pieces are recognised
  by ``order_id``. Without it, every lot that a fill closes is a trade of its own.

At any moment, exactly:
cash = initial cash + adjustments in cash and in kind (quantity x price) + realised profit - cost basis of what is
open (fees included).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from holdfast.model.enums import OrderSide
from holdfast.model.errors import DataError, OrderError
from holdfast.model.trades import ClosedTrade

_ZERO = Decimal(0)
_BUY = OrderSide.BUY
# A share of a fee is cut here, and the last share takes the rest: the shares add up to the fee, exactly.
_SHARE_QUANTUM = Decimal("1e-12")


class Lot(msgspec.Struct, gc=False):
    """What one execution opened and nothing has closed yet. ``fees`` are those paid to open it."""

    quantity: Decimal
    price: Decimal
    opened_at: int
    fees: Decimal
    order_id: str


class Adjustment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change of the books that no execution made, with its reason. ``cash`` in the quote currency, ``at`` UTC ns.

    ``price`` is what each share or coin counts for that came or went; 0 where it came free, or was lost.
    """

    symbol: str
    quantity: Decimal
    cash: Decimal
    label: str
    at: int
    price: Decimal = _ZERO


class Position:
    """One symbol's position. A store makes one object a symbol and keeps it, flat or not: it may be held on to.

    Attributes:
        symbol: What is held.
        quantity: Shares or coins, negative when short; flat is exactly zero, dust is not flat.
        quantity_float: The same as a float.
        average_price_float: ``average_price`` as a float.
        last_price: What ``mark`` was told last, or the price that opened the position since; 0.0 before both.
        opened_at: When it was last opened from flat, or flipped (UTC ns); 0 if never.
        realized_pnl: Profit of all that was closed, after fees, in the quote currency.
        lots: What is open, oldest first. The store's: read it, do not change it.
        newest_trip: The entry order and the exit order of its newest closed trade.
    """

    __slots__ = (
        "average_price_float",
        "last_price",
        "lots",
        "newest_trip",
        "opened_at",
        "quantity",
        "quantity_float",
        "realized_pnl",
        "symbol",
    )

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.quantity = _ZERO
        self.quantity_float = 0.0
        self.average_price_float = 0.0
        self.last_price = 0.0
        self.opened_at = 0
        self.realized_pnl = _ZERO
        self.lots: deque[Lot] = deque()
        self.newest_trip: tuple[str, str] | None = None

    @property
    def is_flat(self) -> bool:
        """True at exactly zero."""
        return not self.quantity

    @property
    def average_price(self) -> Decimal:
        """The mean price of the open lots, weighted by quantity, without fees; zero when flat."""
        lots = self.lots
        if not lots:
            return _ZERO
        if len(lots) == 1:
            return lots[0].price
        return sum((lot.quantity * lot.price for lot in lots), _ZERO) / abs(self.quantity)

    @property
    def cost_basis(self) -> Decimal:
        """What the open lots took from our cash, fees included; negative for a short, which brought cash in."""
        cost = sum((lot.quantity * lot.price for lot in self.lots), _ZERO)
        fees = sum((lot.fees for lot in self.lots), _ZERO)
        return (cost if self.quantity > 0 else -cost) + fees

    def unrealized_pnl(self, price: Decimal | float | None = None) -> Decimal:
        """What closing everything at ``price`` (default: ``last_price``), free of further fees, would earn."""
        if price is None:
            price = self.last_price
        if isinstance(price, float):
            price = Decimal(repr(price))
        return price * self.quantity - self.cost_basis

    def refresh_mirrors(self) -> None:
        """Set the two floats from the Decimals; to make a float of a Decimal costs more than to multiply two."""
        if self.quantity:
            self.quantity_float = float(self.quantity)
            self.average_price_float = float(self.lots[0].price if len(self.lots) == 1 else self.average_price)
        else:
            self.quantity = _ZERO  # not 0.00
            self.quantity_float = self.average_price_float = 0.0

    def __repr__(self) -> str:
        return f"<Position {self.quantity} {self.symbol} at {self.average_price}>"


class PositionStore:
    """All positions, the cash beside them, and the trades that were closed.

    Args:
        cash: Cash to begin with, in the account's currency (USD).

    Attributes:
        cash: Cash now.
        realized_pnl: Profit of all that was closed, after fees.
        fees_total: All fees of all fills, those in coin at their value, and the cost of what adjustments took away.
        closed_trades: Round trips, in the order in which they closed. While an exit order fills on, its newest trade is
            replaced by the grown one, at the end.
        adjustments: Labelled adjustments, oldest first.
    """

    __slots__ = ("_positions", "adjustments", "cash", "closed_trades", "fees_total", "realized_pnl")

    def __init__(self, cash: Decimal = _ZERO) -> None:
        self.cash = cash
        self.realized_pnl = _ZERO
        self.fees_total = _ZERO
        self.closed_trades: list[ClosedTrade] = []
        self.adjustments: list[Adjustment] = []
        self._positions: dict[str, Position] = {}

    def apply(
        self,
        symbol: str,
        side: OrderSide,
        quantity: Decimal,
        price: Decimal,
        at: int,
        *,
        fee_cash: Decimal = _ZERO,
        fee_coin: Decimal = _ZERO,
        exit_reason: str = "",
        order_id: str = "",
    ) -> tuple[ClosedTrade, ...]:
        """Book one execution.

        Args:
            symbol: What was traded.
            side: Buy or sell.
            quantity: Shares or coins, positive, before any fee in coin.
            price: Per share or coin, not negative.
            at: When (UTC ns).
            fee_cash: A fee taken from cash.
            fee_coin: A fee taken from the coins that a buy brought.
            exit_reason: Kept with the trades that it closes.
            order_id: The order that it is part of: its pieces become one trade. Use the client order id.

        Returns:
            The closed trades that it made or, where it is a further piece of the same exit, made grow.

        Raises:
            OrderError: The quantity is not positive, the price is negative, or the fee in coin makes no sense.
        """
        if quantity <= _ZERO or price < _ZERO:
            message = f"a fill of {quantity} {symbol} at {price}; expected a positive quantity and no negative price"
            raise OrderError(message)
        buy = side is _BUY
        notional = quantity * price
        fees = fee_cash
        if fee_coin:
            if not buy or not 0 < fee_coin < quantity:
                message = f"a fee of {fee_coin} coins on a {side.value} of {quantity} {symbol}"
                raise OrderError(message)
            quantity -= fee_coin
            fees = fee_coin * price + fee_cash
        if fees:
            self.fees_total += fees
            self.cash -= fee_cash
        if buy:
            self.cash -= notional
            change = quantity
        else:
            self.cash += notional
            change = -quantity

        position = self._positions.get(symbol)
        if position is None:
            position = self.position(symbol)
        held = position.quantity
        position.quantity = held + change
        if held and (held > _ZERO) is not buy:
            return self._close(position, side.opposite, quantity, price, at, fees, exit_reason, order_id)
        position.lots.append(Lot(quantity, price, at, fees, order_id))
        position.refresh_mirrors()
        if not held:
            position.opened_at = at
            position.last_price = position.average_price_float
        return ()

    def position(self, symbol: str) -> Position:
        """The one Position object of a symbol, flat if it was never traded. It stays the same object."""
        position = self._positions.get(symbol)
        if position is None:
            position = self._positions[symbol] = Position(symbol)
        return position

    def get(self, symbol: str) -> Position | None:
        """The position in a symbol; ``None`` where there is none, or it is flat."""
        position = self._positions.get(symbol)
        return position if position is not None and position.quantity else None

    def get_all(self) -> list[Position]:
        """Open positions, in the order in which their symbols were first met."""
        return [position for position in self._positions.values() if position.quantity]

    def all(self) -> Iterable[Position]:
        """Every position that was ever held, flat ones too, in the order in which their symbols were first met."""
        return self._positions.values()

    def quantity(self, symbol: str) -> Decimal:
        """Shares or coins held, negative when short, zero where there is no position."""
        position = self._positions.get(symbol)
        return _ZERO if position is None else position.quantity

    def mark(self, symbol: str, price: float) -> None:
        """Note the market's price of a symbol. Symbols without a position are ignored."""
        position = self._positions.get(symbol)
        if position is not None:
            position.last_price = price

    def adjust(
        self,
        symbol: str,
        quantity: Decimal,
        label: str,
        at: int,
        cash: Decimal = _ZERO,
        *,
        price: Decimal | None = None,
        order_id: str = "",
    ) -> None:
        """Change the books without an execution: a fee posted later, a corporate action, a correction.

        Without a price, what comes, comes free of cost. What goes, goes newest lot first, and what it had cost becomes
        a fee of the lots that remain, or is realised at once where none remains. With a price, what comes has cost it,
        and what goes is realised against it at once.

        Args:
            symbol: The position it concerns; may be empty for cash alone.
            quantity: Signed change of the position.
            label: Why. It is kept in ``adjustments``.
            at: When (UTC ns).
            cash: Signed change of the cash.
            price: What each share or coin counts for.
            order_id: Lots that this order opened go first.

        Raises:
            OrderError: There is a quantity without a symbol, or no label.
        """
        if not label or (quantity and not symbol):
            message = f"an adjustment of {quantity} {symbol!r} labelled {label!r}; expected a symbol and a label"
            raise OrderError(message)
        worth = _ZERO if price is None else price
        self.adjustments.append(
            Adjustment(symbol=symbol, quantity=quantity, cash=cash, label=label, at=at, price=worth)
        )
        self.cash += cash
        if not quantity:
            return
        position = self.position(symbol)
        held = position.quantity
        rest = abs(quantity)
        if held and (held > 0) is not (quantity > 0):
            rest = self._take_away(position, rest) if price is None else self._give_up(position, rest, price, order_id)
        if rest:
            if not position.lots:
                position.opened_at = at
            position.lots.append(Lot(rest, worth, at, _ZERO, ""))
        position.quantity = held + quantity
        position.refresh_mirrors()

    def rescale(self, symbol: str, change: Decimal, label: str, at: int) -> None:
        """Spread a change of the quantity over all lots, each at the same cost as before: what a split does.

        Where that makes no sense (there is no position, or none would be left) it is an adjustment like any other.

        Args:
            symbol: The position.
            change: Signed change of its quantity.
            label: Why. It is kept in ``adjustments``.
            at: When (UTC ns).
        """
        position = self.position(symbol)
        held = position.quantity
        after = held + change
        sizes = _spread([lot.quantity for lot in position.lots], abs(after)) if held and held * after > 0 else []
        if not sizes or min(sizes) <= _ZERO:
            self.adjust(symbol, change, label, at)
            return
        self.adjustments.append(Adjustment(symbol=symbol, quantity=change, cash=_ZERO, label=label, at=at))
        sign = 1 if held > 0 else -1
        for lot, size in zip(position.lots, sizes, strict=True):
            cost = lot.quantity * lot.price
            lot.quantity, lot.price = size, (cost / size).quantize(_SHARE_QUANTUM)
            lot.fees += sign * (cost - lot.quantity * lot.price)  # what rounding the price left: the cost is the same
        position.quantity = after
        position.refresh_mirrors()

    def to_json(self) -> bytes:
        """The whole store, exactly: ``from_json`` of it behaves the same in every respect."""
        return msgspec.json.encode(self.export_state())

    @classmethod
    def from_json(cls, data: bytes | str) -> PositionStore:
        """The store that ``to_json`` wrote.

        Raises:
            DataError: The data is not a store's.
        """
        try:
            state = msgspec.json.decode(data, type=StoreState)
        except msgspec.MsgspecError as error:
            message = f"not a position store's JSON: {error}"
            raise DataError(message) from None
        store = cls()
        store.import_state(state)
        return store

    def export_state(self) -> StoreState:
        """The whole store in its written form, apart from the store itself."""
        return StoreState(
            cash=self.cash,
            realized_pnl=self.realized_pnl,
            fees_total=self.fees_total,
            positions=[_freeze(position) for position in self._positions.values()],
            closed_trades=list(self.closed_trades),
            adjustments=list(self.adjustments),
        )

    def import_state(self, state: StoreState) -> None:
        """Become the store that was written, in place: whoever holds this one, or a flat position of it, sees that one."""
        self.cash = state.cash
        self.realized_pnl = state.realized_pnl
        self.fees_total = state.fees_total
        self.closed_trades[:] = state.closed_trades
        self.adjustments[:] = state.adjustments
        held = dict(self._positions)
        self._positions.clear()
        for record in state.positions:
            self._positions[record.symbol] = _thaw(record, held.get(record.symbol) or Position(record.symbol))

    # --- The mechanism --------------------------------------------------------------------------------------------

    def _close(
        self,
        position: Position,
        opened_by: OrderSide,
        quantity: Decimal,
        price: Decimal,
        at: int,
        fees: Decimal,
        exit_reason: str,
        order_id: str,
    ) -> tuple[ClosedTrade, ...]:
        """Take ``quantity`` from the oldest lots; what is left over opens the other side (a flip)."""
        lots = position.lots
        long = opened_by is OrderSide.BUY
        trades: list[ClosedTrade] = []
        realized = _ZERO
        while True:
            lot = lots[0]
            if lot.quantity <= quantity:
                taken, entry_fees = lot.quantity, lot.fees
                lots.popleft()
            else:
                taken, entry_fees = quantity, _share(lot.fees, quantity, lot.quantity)
                lot.quantity -= taken
                lot.fees -= entry_fees
            exit_fees = fees if taken == quantity else _share(fees, taken, quantity)
            fees -= exit_fees
            quantity -= taken
            profit = taken * (price - lot.price if long else lot.price - price)
            trip_fees = _ZERO
            if entry_fees or exit_fees:
                trip_fees = entry_fees + exit_fees
                profit -= trip_fees
            realized += profit
            trade = ClosedTrade(
                symbol=position.symbol,
                side=opened_by,
                quantity=taken,
                entry_price=lot.price,
                exit_price=price,
                opened_at=lot.opened_at,
                closed_at=at,
                profit=profit,
                fees=trip_fees,
                exit_reason=exit_reason,
            )
            self._record(position, trade, lot.order_id, order_id, trades)
            if not quantity or not lots:
                break
        if quantity:
            lots.append(Lot(quantity, price, at, fees, order_id))
            position.opened_at = at
        position.realized_pnl += realized
        self.realized_pnl += realized
        position.refresh_mirrors()
        return tuple(trades)

    def _record(
        self, position: Position, trade: ClosedTrade, entry_id: str, exit_id: str, trades: list[ClosedTrade]
    ) -> None:
        """Keep a closed trade, or make the one grow that it is a further piece of."""
        if exit_id and entry_id and position.newest_trip == (entry_id, exit_id):
            index = len(self.closed_trades) - 1
            while self.closed_trades[index].symbol != position.symbol:
                index -= 1
            before = self.closed_trades.pop(index)
            trade = _joined(before, trade)
            if trades and trades[-1] is before:
                trades.pop()
        position.newest_trip = (entry_id, exit_id)
        self.closed_trades.append(trade)
        trades.append(trade)

    def _take_away(self, position: Position, quantity: Decimal) -> Decimal:
        """Remove ``quantity`` from the newest lots without an execution. Returns what was more than there was."""
        lots = position.lots
        sign = 1 if position.quantity > 0 else -1
        lost = _ZERO
        fees = _ZERO
        while quantity and lots:
            lot = lots[-1]
            taken = min(lot.quantity, quantity)
            lost += sign * taken * lot.price
            quantity -= taken
            if taken == lot.quantity:
                fees += lot.fees
                lots.pop()
            else:
                lot.quantity -= taken
        self.fees_total += lost
        if lots:
            lots[-1].fees += lost + fees
        else:
            position.realized_pnl -= lost + fees
            self.realized_pnl -= lost + fees
        return quantity

    def _give_up(self, position: Position, quantity: Decimal, price: Decimal, order_id: str) -> Decimal:
        """Remove ``quantity`` without an execution, at a price. Returns what was more than there was."""
        sign = 1 if position.quantity > 0 else -1
        lots = sorted(position.lots, key=lambda lot: bool(order_id) and lot.order_id == order_id)  # taken from the end
        realized = _ZERO
        while quantity and lots:
            lot = lots.pop()
            taken = min(lot.quantity, quantity)
            fees = lot.fees if taken == lot.quantity else _share(lot.fees, taken, lot.quantity)
            realized += sign * taken * (price - lot.price) - fees
            lot.quantity -= taken
            lot.fees -= fees
            quantity -= taken
        left = [lot for lot in position.lots if lot.quantity]
        position.lots.clear()
        position.lots.extend(left)
        position.realized_pnl += realized
        self.realized_pnl += realized
        return quantity


def _spread(sizes: list[Decimal], total: Decimal) -> list[Decimal]:
    """The sizes in proportion, so that they add up to the total; the last one takes what rounding leaves."""
    before = sum(sizes, _ZERO)
    spread = [(size * total / before).quantize(_SHARE_QUANTUM) for size in sizes[:-1]]
    return [*spread, total - sum(spread, _ZERO)]


def _share(fees: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The part of the fees that belongs to a part of the quantity."""
    return (fees * part / whole).quantize(_SHARE_QUANTUM) if fees else fees


def _joined(trade: ClosedTrade, piece: ClosedTrade) -> ClosedTrade:
    """A round trip and a further piece of it as one; quantity, fees and profit add up exactly."""
    quantity = trade.quantity + piece.quantity
    return ClosedTrade(
        symbol=trade.symbol,
        side=trade.side,
        quantity=quantity,
        entry_price=_mean(trade.entry_price, trade.quantity, piece.entry_price, piece.quantity, quantity),
        exit_price=_mean(trade.exit_price, trade.quantity, piece.exit_price, piece.quantity, quantity),
        opened_at=trade.opened_at,
        closed_at=piece.closed_at,
        profit=trade.profit + piece.profit,
        fees=trade.fees + piece.fees,
        exit_reason=trade.exit_reason or piece.exit_reason,
    )


def _mean(price: Decimal, weight: Decimal, other: Decimal, other_weight: Decimal, total: Decimal) -> Decimal:
    return price if price == other else (price * weight + other * other_weight) / total


# --- The written form -----------------------------------------------------------------------------------------------


class PositionState(msgspec.Struct, frozen=True, kw_only=True):
    """A position as it is written; ``trip`` is its ``newest_trip``."""

    symbol: str
    quantity: Decimal
    last_price: float
    opened_at: int
    realized_pnl: Decimal
    lots: list[Lot]
    trip: tuple[str, str] | None


class StoreState(msgspec.Struct, frozen=True, kw_only=True):
    """All of a store."""

    cash: Decimal
    realized_pnl: Decimal
    fees_total: Decimal
    positions: list[PositionState]
    closed_trades: list[ClosedTrade]
    adjustments: list[Adjustment]


def _freeze(position: Position) -> PositionState:
    return PositionState(
        symbol=position.symbol,
        quantity=position.quantity,
        last_price=position.last_price,
        opened_at=position.opened_at,
        realized_pnl=position.realized_pnl,
        lots=[msgspec.structs.replace(lot) for lot in position.lots],
        trip=position.newest_trip,
    )


def _thaw(record: PositionState, position: Position) -> Position:
    position.quantity = record.quantity
    position.last_price = record.last_price
    position.opened_at = record.opened_at
    position.realized_pnl = record.realized_pnl
    position.lots.clear()
    position.lots.extend(record.lots)
    position.newest_trip = record.trip
    position.refresh_mirrors()
    return position
