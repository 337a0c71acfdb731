"""The Strategy API: what a user writes, and all that it may see.

A strategy is a plain object that the kernel calls. It never awaits, reads a clock or touches a
network: time and prices reach it in bars, and it asks for trades by ``buy``, ``sell`` and ``exit``,
each of which answers at once with a Verdict (which guard decided, and why). The same object runs in
a backtest, on the built-in venue, on paper and live.

    class Breakout(Strategy):
        def on_bar(self, bar):
            view = self.view(bar.symbol)
            if view.flat and bar.close > self.high:
                self.buy(bar.symbol, notional=5_000, reason="breakout")

State that a strategy keeps in its attributes is rebuilt after a restart, because the kernel shows it
the recorded bars and fills again in the recorded order. So it must be a function of what it was
shown: no wall clock, no unseeded randomness, no I/O. A long journal is shown from its last snapshot on,
which only a strategy can be part of that says what it keeps: ``save_state`` and ``load_state``, or
``keeps_state = False``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.model import Bar, Execution, OrderClass, OrderSide, OrderTerms, Quote, Signal, TimeInForce, Verdict
from holdfast.model.errors import ConfigurationError, StrategyError
from holdfast.model.terms import TAKE_PROFIT, class_of, terms_or_none

if TYPE_CHECKING:
    from holdfast.state.order_tracker import InFlightOrder

Number = int | float | Decimal

_ZERO = Decimal(0)


class SymbolView(Protocol):
    """What a strategy may know of one symbol; always current while the strategy is being called."""

    symbol: str
    position_float: float  # signed quantity held, as a float for quick comparisons
    average_price_float: float  # average entry price of the position, 0.0 when flat
    last_price: float  # the last trade known, NaN before the first
    session_open: int  # of the session that the last bar belongs to (UTC ns)
    session_close: int
    shortable: bool
    busy: bool  # an order of ours is open, in flight or unknown, or an exit waits

    @property
    def flat(self) -> bool:
        """No position, and nothing under way that could make one."""
        ...

    @property
    def position(self) -> Decimal:
        """Signed quantity held, exactly."""
        ...


class StrategyContext(Protocol):
    """What the kernel gives to a strategy."""

    def view(self, symbol: str) -> SymbolView:
        """What may be known of a symbol."""
        ...

    def submit(self, signal: Signal) -> Verdict:
        """Send a signal down the guarded path."""
        ...

    def order(self, client_order_id: str) -> InFlightOrder | None:
        """The order of ours with this client order id; None where there is none."""
        ...

    def cancel(self, symbol: str) -> int:
        """Ask the venue to cancel what rests on a symbol; how many orders that is."""
        ...

    def verdicts(self) -> Sequence[Verdict]:
        """The last verdicts, newest last."""
        ...


class _NotRunning:
    """The context of a strategy that has no kernel yet."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)  # whoever copies or pickles a strategy asks for what it may not have
        message = f"{self._strategy.name} is not running: nothing can be asked or traded yet"
        raise StrategyError(message)


class Strategy:
    """Base class of strategies.

    Args:
        symbols: What to trade; their bars are delivered to ``on_bar``.

    Attributes:
        name: Identifies the strategy in orders and logs; defaults to the class name.
        version: Raise it when the meaning of the kept state changes.
        keeps_state: False says that nothing in it depends on what it was shown: there is nothing to save.
    """

    name: str = ""
    version: int = 1
    keeps_state: bool = True

    def __init__(self, symbols: Sequence[str]) -> None:
        if isinstance(symbols, str) or not symbols or not all(symbols):
            message = f"{type(self).__name__}.symbols must be a list with at least one symbol, got {symbols!r}"
            raise ConfigurationError(message)
        self.symbols = tuple(symbols)
        self.name = self.name or type(self).__name__
        self._context: StrategyContext = _NotRunning(self)

    # -- what the kernel calls ------------------------------------------------------------------

    def bind(self, context: StrategyContext) -> None:
        """Called once by the kernel, before anything else."""
        self._context = context
        self.on_start()

    def on_start(self) -> None:
        """The kernel is there; views exist; no bar has been seen."""

    def on_bar(self, bar: Bar) -> None:
        """A bar of one of our symbols is complete."""

    def on_bar_revised(self, bar: Bar) -> None:
        """A late trade changed a bar that ``on_bar`` has shown; this is how it is now. Only where the stream tells of them.

        Nothing is decided again, and prices and positions are as they were: what follows from it is yours to say.
        """

    def on_quote(self, quote: Quote) -> None:
        """A quote of one of our symbols changed (only where quotes are subscribed)."""

    def on_fill(self, execution: Execution, order: InFlightOrder) -> None:
        """One of our orders traded; the position is already updated."""

    def on_order(self, order: InFlightOrder) -> None:
        """One of our orders changed its status."""

    def save_state(self) -> object:
        """All that later decisions depend on, as plain data (see ``holdfast.kernel.plain``): a copy, not the thing itself.

        As it stands it says "not implemented": then no snapshot is taken, and a restart shows every recorded bar again.
        """
        return NotImplemented

    def load_state(self, state: Any) -> None:
        """Continue from what ``save_state`` of this version gave. Called once, after ``on_start``, before any bar."""
        message = f"{self.name} has no load_state: it cannot continue from a saved state"
        raise StrategyError(message)

    # -- what a strategy calls ------------------------------------------------------------------

    @property
    def context(self) -> StrategyContext:
        """The kernel's side. Whatever is asked of it before the strategy was bound to a kernel raises StrategyError."""
        return self._context

    def view(self, symbol: str) -> SymbolView:
        """What may be known of a symbol. The object stays valid: keep it."""
        return self._context.view(symbol)

    def buy(
        self,
        symbol: str,
        quantity: Number | None = None,
        *,
        notional: Number | None = None,
        limit: Number | None = None,
        stop: Number | None = None,
        trail: Number | None = None,
        trail_percent: Number | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        stop_loss_limit: Number | None = None,
        extended_hours: bool = False,
        time_in_force: TimeInForce | None = None,
        reason: str = "",
    ) -> Verdict:
        """Ask to buy ``quantity`` (or as much as ``notional`` USD buys at the last price).

        Args:
            symbol: What to buy.
            quantity: Shares or coins.
            notional: USD, in place of a quantity.
            limit: The highest price to pay.
            stop: The price above the market at which it becomes a market order, or a limit order where ``limit`` is given.
            trail: How far a trailing stop stays above the lowest price.
            trail_percent: The same in percent.
            take_profit: The limit of an exit that comes with it; the two exits end each other.
            stop_loss: The stop price of an exit that comes with it.
            stop_loss_limit: The limit of that exit, once it is stopped out.
            extended_hours: It may also trade before and after the exchange's own hours.
            time_in_force: How long it may rest; its exits likewise. None: day for equities, gtc for crypto.
            reason: Why; kept with the order.
        """
        terms = _terms(stop, trail, trail_percent, take_profit, stop_loss, stop_loss_limit, extended_hours)
        return self._ask(OrderSide.BUY, symbol, quantity, notional, limit, terms, time_in_force, reason)

    def sell(
        self,
        symbol: str,
        quantity: Number | None = None,
        *,
        notional: Number | None = None,
        limit: Number | None = None,
        stop: Number | None = None,
        trail: Number | None = None,
        trail_percent: Number | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        stop_loss_limit: Number | None = None,
        extended_hours: bool = False,
        time_in_force: TimeInForce | None = None,
        reason: str = "",
    ) -> Verdict:
        """Ask to sell; beyond the position only where shorts are allowed, and never through zero. Arguments as for ``buy``."""
        terms = _terms(stop, trail, trail_percent, take_profit, stop_loss, stop_loss_limit, extended_hours)
        return self._ask(OrderSide.SELL, symbol, quantity, notional, limit, terms, time_in_force, reason)

    def exit(
        self,
        symbol: str,
        quantity: Number | None = None,
        *,
        limit: Number | None = None,
        stop: Number | None = None,
        trail: Number | None = None,
        trail_percent: Number | None = None,
        extended_hours: bool = False,
        time_in_force: TimeInForce | None = None,
        reason: str = "exit",
    ) -> Verdict:
        """Ask to close the position, or ``quantity`` of it. Never blocked by a protection, never flips.

        What rests on the symbol is cancelled first; the remainder is sent on the venue's word. With a stop or a trail it
        rests there and guards the position, until it is struck or another exit is asked for.
        """
        terms = _terms(stop, trail, trail_percent, None, None, None, extended_hours)
        return _leave(self, symbol, quantity, limit, terms, time_in_force, reason)

    def protect(
        self,
        symbol: str,
        quantity: Number | None = None,
        *,
        take_profit: Number,
        stop_loss: Number,
        stop_loss_limit: Number | None = None,
        time_in_force: TimeInForce | None = None,
        reason: str = TAKE_PROFIT,
    ) -> Verdict:
        """Ask to have a take-profit and a stop-loss rest beside the position, or ``quantity`` of it; one ends the other.

        It is an exit: what rests on the symbol is cancelled first. ``exit`` with a stop or a trail guards without a
        take-profit.
        """
        terms = OrderTerms(
            order_class=OrderClass.OCO,
            stop_loss=to_decimal(stop_loss),
            stop_loss_limit=_decimal_or_none(stop_loss_limit),
        )
        return _leave(self, symbol, quantity, take_profit, terms, time_in_force, reason)

    def cancel(self, symbol: str) -> int:
        """Ask the venue to cancel every open order of ours on the symbol; returns how many were asked for."""
        return self.context.cancel(symbol)

    def replace(
        self,
        order: InFlightOrder | str,
        *,
        limit: Number | None = None,
        stop: Number | None = None,
        trail: Number | None = None,
        trail_percent: Number | None = None,
        quantity: Number | None = None,
        reason: str = "",
    ) -> Verdict:
        """Ask to put a new order of its type in the place of an open one, with another price, another quantity, or both.

        The guards judge it as they do a new order, with the larger of the two counted. Where the verdict approves, the
        new order has an id of its own, and the old one stays open until the venue says that it was replaced: it may
        fill first, and then the venue rejects the new one.

        An exit that came with another order is replaced like any order, its price alone: ``order`` is then what ``on_order``
        showed, or the id of the order that brought it with ``.tp`` or ``.sl`` behind it.

        Args:
            order: The open order, or its client order id.
            limit: The new limit (USD); None keeps the old one.
            stop: The new stop price (USD); None keeps the old one.
            trail: The new distance of a trailing stop (USD); None keeps the old one.
            trail_percent: The new distance in percent; None keeps the old one.
            quantity: What the new order is to trade from now on, whatever the old one has traded; None is what is left.
            reason: Why; None given keeps the old order's.

        Raises:
            StrategyError: There never was such an order.
        """
        name = order if isinstance(order, str) else order.client_order_id
        old = self.context.order(name)
        if old is None:
            message = f"{self.name}: there is no order {name!r} to replace"
            raise StrategyError(message)
        return self.context.submit(
            Signal(
                symbol=old.symbol,
                side=old.side,
                quantity=old.remaining if quantity is None else to_decimal(quantity),
                price=old.limit_price if limit is None else to_decimal(limit),
                time_in_force=old.time_in_force,
                reduce_only=old.reduce_only,
                strategy_id=self.name,
                reason=reason or old.reason,
                replaces=name,
                terms=_replaced_terms(old.terms, stop, trail, trail_percent),
            )
        )

    def _ask(
        self,
        side: OrderSide,
        symbol: str,
        quantity: Number | None,
        notional: Number | None,
        limit: Number | None,
        terms: OrderTerms | None,
        time_in_force: TimeInForce | None,
        reason: str,
    ) -> Verdict:
        if (quantity is None) == (notional is None):
            given = "there is none" if quantity is None else "not both"
            message = f"{self.name}: give either quantity or notional for {symbol}; {given}"
            raise StrategyError(message)
        if quantity is None:
            stop = None if terms is None else terms.stop_price
            named = limit if limit is not None else stop
            price = float(named) if named is not None else self.view(symbol).last_price
            # Before the first price there is nothing to size by: zero is refused, with its reason, by the symbol rules.
            quantity = float(notional or 0) / price if price > 0.0 else 0.0
        return self._context.submit(
            Signal(
                symbol=symbol,
                side=side,
                quantity=to_decimal(quantity),
                price=None if limit is None else to_decimal(limit),
                time_in_force=time_in_force,
                strategy_id=self.name,
                reason=reason,
                terms=terms,
            )
        )


def overrides(strategy: Strategy, method: str) -> bool:
    """Whether a strategy has its own version of a method of Strategy."""
    return getattr(type(strategy), method) is not getattr(Strategy, method)


def to_decimal(value: Number) -> Decimal:
    """A number at the order boundary: floats by their shortest repr, so that 0.1 is 0.1."""
    if isinstance(value, Decimal):
        return value
    return Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))


def _leave(
    strategy: Strategy,
    symbol: str,
    quantity: Number | None,
    limit: Number | None,
    terms: OrderTerms | None,
    time_in_force: TimeInForce | None,
    reason: str,
) -> Verdict:
    """Ask to reduce what a strategy holds of a symbol."""
    context = strategy.context
    held = context.view(symbol).position
    return context.submit(
        Signal(
            symbol=symbol,
            side=OrderSide.BUY if held < _ZERO else OrderSide.SELL,
            quantity=abs(held) if quantity is None else to_decimal(quantity),
            price=None if limit is None else to_decimal(limit),
            time_in_force=time_in_force,
            reduce_only=True,
            strategy_id=strategy.name,
            reason=reason,
            terms=terms,
        )
    )


def _decimal_or_none(value: Number | None) -> Decimal | None:
    return None if value is None else to_decimal(value)


def _terms(
    stop: Number | None,
    trail: Number | None,
    trail_percent: Number | None,
    take_profit: Number | None,
    stop_loss: Number | None,
    stop_loss_limit: Number | None,
    extended_hours: bool,
) -> OrderTerms | None:
    """The further terms of an order; None where it has none, as most have."""
    if stop is trail is trail_percent is take_profit is stop_loss is stop_loss_limit is None and not extended_hours:
        return None
    profit, loss = _decimal_or_none(take_profit), _decimal_or_none(stop_loss)
    return OrderTerms(
        order_class=class_of(profit, loss),
        stop_price=_decimal_or_none(stop),
        trail_price=_decimal_or_none(trail),
        trail_percent=_decimal_or_none(trail_percent),
        take_profit=profit,
        stop_loss=loss,
        stop_loss_limit=_decimal_or_none(stop_loss_limit),
        extended_hours=extended_hours,
    )


def _replaced_terms(
    old: OrderTerms | None, stop: Number | None, trail: Number | None, trail_percent: Number | None
) -> OrderTerms | None:
    """The terms of an order that takes the place of another: a trail replaces a trail, in price or in percent."""
    if stop is None and trail is None and trail_percent is None:
        return old
    terms = old or OrderTerms()
    trails = trail is not None or trail_percent is not None
    return terms_or_none(
        OrderTerms(
            order_class=terms.order_class,
            stop_price=terms.stop_price if stop is None else to_decimal(stop),
            trail_price=_decimal_or_none(trail) if trails else terms.trail_price,
            trail_percent=_decimal_or_none(trail_percent) if trails else terms.trail_percent,
            take_profit=terms.take_profit,
            stop_loss=terms.stop_loss,
            stop_loss_limit=terms.stop_loss_limit,
            extended_hours=terms.extended_hours,
        )
    )
