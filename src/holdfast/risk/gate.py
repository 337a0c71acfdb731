"""The pre-trade risk gate: every limit on an order, as one table of checks.

The gate fails closed for orders that add risk: what it cannot judge for want of data it blocks. An order that
reduces a position (``reduce_only``) is asked for the trading state and nothing else: no limit may stand between
us and an exit. ``HALTED`` stops exits too, because it means that nothing at all may be sent.

Prices are float64 and limits are exact. Worth is compared as floats first, which settles all but the cases within
a billionth of the line; those are decided in Decimal. So "exactly at the limit" means what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from math import inf, isnan
from typing import Any

import msgspec

from holdfast.model import GuardMode, OrderSide, Signal, TradingState
from holdfast.model.decimals import EXACT
from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_SECOND, delta_ns
from holdfast.risk.limits import RiskLimits
from holdfast.risk.view import RiskView

_PASSED = ""
_ACTIVE, _BUY = TradingState.ACTIVE, OrderSide.BUY  # bound once: an enum look-up costs as much as a call
# Floats are trusted to this share of their size; what is nearer to a limit is decided exactly.
_NEAR = 1e-9
_HUGE = 1e300  # beyond it a float is no price, and no quantity
_ENDLESS = 1 << 62


class GateResult(msgspec.Struct, frozen=True, gc=False):
    """The gate's answer.

    Attributes:
        approved: True where every enforcing check passed.
        check: The name of the check that blocked; empty where none did.
        reason: Why, in a sentence with the numbers.
        observed: What observing checks would have blocked, each as ``name: reason``.
    """

    approved: bool
    check: str = ""
    reason: str = ""
    observed: tuple[str, ...] = ()


_APPROVED = GateResult(approved=True)


class Facts:
    """One order with what all checks need of it, looked up once.

    ``last`` is 0.0 where no price is known. ``worth`` is the quantity at ``price``, the highest of the last, the stop and
    the limit price: what it may come to in the worst case.
    """

    __slots__ = ("last", "price", "quantity", "signal", "view", "worth")

    signal: Signal
    view: RiskView
    last: float
    price: float
    quantity: float
    worth: float

    def __init__(self, signal: Signal, view: RiskView) -> None:
        self.signal = signal
        self.view = view

    def look_up(self) -> None:
        """Fill in the prices and the worth."""
        signal = self.signal
        last = self.view.last_price(signal.symbol)
        if last is None or not 0.0 < last < _HUGE:  # a NaN is no price
            last = 0.0
        self.last = price = last
        if signal.price is not None:
            limit = float(signal.price)
            if not limit <= price:
                price = limit
        stop = None if signal.terms is None else signal.terms.stop_price
        if stop is not None:
            price = max(price, float(stop))
        self.price = price
        self.quantity = float(signal.quantity)
        self.worth = self.quantity * price

    def exact_price(self) -> Decimal:
        """``price`` without the float's rounding."""
        signal = self.signal
        stop = None if signal.terms is None else signal.terms.stop_price
        return max(price for price in (Decimal(repr(self.last)), signal.price, stop) if price is not None)


class Line:
    """A limit in exact and in quick form: a float up to ``sure`` is certainly within it."""

    __slots__ = ("exact", "sure")

    def __init__(self, exact: Decimal | float) -> None:
        self.exact = exact if isinstance(exact, Decimal) else Decimal(str(exact))
        self.sure = float(self.exact) * (1.0 - _NEAR)


class Collar:
    """How far from the last price a limit may be, on either side."""

    __slots__ = ("fraction", "highest", "lowest")

    def __init__(self, fraction: float) -> None:
        self.fraction = Decimal(repr(float(fraction)))
        self.highest, self.lowest = (1.0 + fraction) * (1.0 - _NEAR), (1.0 - fraction) * (1.0 + _NEAR)


# -- The checks: each returns why the order may not pass, or an empty string ---------------------------------


def _trading_state(facts: Facts, _limit: Any) -> str:
    state = facts.view.trading_state
    if state is _ACTIVE:
        return _PASSED
    if state is TradingState.REDUCING:
        return _PASSED if facts.signal.reduce_only else "only orders that reduce a position are allowed now"
    return "trading is halted"


def _signal(facts: Facts, _limit: Any) -> str:
    quantity, price = facts.signal.quantity, facts.signal.price
    if not 0.0 < facts.quantity < _HUGE:
        return f"quantity must be a positive number, got {quantity}"
    if price is not None and not (price.is_finite() and price > 0):
        return f"price must be a positive number, got {price}"
    return _PASSED


def _market_data(facts: Facts, max_age_ns: Any) -> str:
    symbol = facts.signal.symbol
    at = facts.view.last_price_at(symbol)
    if at is None or facts.last == 0.0:
        return f"no price of {symbol} is known"
    if max_age_ns is not None:
        age = facts.view.now_ns - at
        if age > max_age_ns:
            return f"the price of {symbol} is {age / NS_PER_SECOND:g} s old (limit {max_age_ns / NS_PER_SECOND:g} s)"
    return _PASSED


def _price_collar(facts: Facts, collar: Any) -> str:
    price, last, terms = facts.signal.price, facts.last, facts.signal.terms
    if price is None:
        return _PASSED
    if terms is not None and terms.stop_price is not None:
        last = float(terms.stop_price)  # the last price, when it becomes a limit order
    if facts.signal.side is _BUY:
        if float(price) <= last * collar.highest:
            return _PASSED
        bound = Decimal(repr(last)) * (1 + collar.fraction)
        if price <= bound:
            return _PASSED
    else:
        if float(price) >= last * collar.lowest:
            return _PASSED
        bound = Decimal(repr(last)) * (1 - collar.fraction)
        if price >= bound:
            return _PASSED
    return f"a {facts.signal.side.value} at {price} is beyond {bound.normalize():f}, {collar.fraction:%} from the last price"


def _order_quantity(facts: Facts, limit: Any) -> str:
    quantity = facts.signal.quantity
    return f"quantity {quantity} is above the limit {limit}" if quantity > limit else _PASSED


def _order_notional(facts: Facts, limit: Any) -> str:
    if facts.worth <= limit.sure or _fits(facts, facts.signal.quantity, limit):
        return _PASSED
    return f"the order is worth {facts.worth:.2f} (limit {limit.exact})"


def _position_notional(facts: Facts, limit: Any) -> str:
    held = facts.view.position_quantity(facts.signal.symbol)
    if held is None or not held.is_finite():
        return f"the position in {facts.signal.symbol} is not known"
    # Added whatever its sign: an order that takes away says so by reduce_only.
    worth = facts.worth + abs(float(held)) * facts.price if held else facts.worth
    if worth <= limit.sure or _fits(facts, abs(held) + facts.signal.quantity, limit):
        return _PASSED
    return f"with this order {facts.signal.symbol} would be worth {worth:.2f} (limit {limit.exact})"


def _gross_exposure(facts: Facts, limit: Any) -> str:
    exposure = facts.view.gross_exposure()
    if exposure is None or isnan(exposure):
        return "the gross exposure is not known"
    total = exposure + facts.worth
    # The view's sum is a float; there is nothing more exact to ask.
    if total <= limit.sure or total <= limit.exact:
        return _PASSED
    return f"the gross exposure would be {total:.2f} (limit {limit.exact})"


def _open_orders(facts: Facts, limit: Any) -> str:
    count = facts.view.open_order_count()
    if count is None:
        return "the number of open orders is not known"
    return f"{count} orders are open already (limit {limit})" if count >= limit else _PASSED


def _daily_loss(facts: Facts, limit: Any) -> str:
    profit = facts.view.day_pnl
    if profit is None or isnan(profit):
        return "the day's profit is not known"
    return f"the day's loss is {-profit:.2f} (limit {limit})" if -profit >= limit else _PASSED


def _buying_power(facts: Facts, _limit: Any) -> str:
    symbol = facts.signal.symbol
    # Crypto pairs are written with a slash, and are not bought on margin.
    power = facts.view.cash_power if "/" in symbol else facts.view.buying_power
    if power is None or not power.is_finite():
        return "the buying power is not known"
    if facts.worth <= float(power) * (1.0 - _NEAR) or _fits(facts, facts.signal.quantity, Line(power)):
        return _PASSED
    return f"the order is worth {facts.worth:.2f} and the buying power is {power:.2f}"


def _fits(facts: Facts, quantity: Decimal, line: Line) -> bool:
    """Whether a quantity at the order's price is within the line, decided exactly."""
    return EXACT.multiply(quantity, facts.exact_price()) <= line.exact


def _itself(limit: Any) -> Any:
    return limit


def _nanoseconds(age: timedelta) -> int:
    return delta_ns(age)


class Check(msgspec.Struct, frozen=True):
    """One row of the gate.

    Attributes:
        name: What verdicts and modes call it.
        judge: Gives the reason to block, or an empty string.
        limit: The field of ``RiskLimits`` that it enforces. It is asked where that is set; without a field, always.
        prepare: Turns the limit into the form that ``judge`` takes, once.
        always: True where it is asked even if its limit is not set (``judge`` then gets ``None``).
        binds_exits: True where it is asked of reducing orders too.
    """

    name: str
    judge: Callable[[Facts, Any], str]
    limit: str = ""
    prepare: Callable[[Any], Any] = _itself
    always: bool = False
    binds_exits: bool = False


# In the order in which they are asked: what voids the later ones comes first, and the cheap before the dear.
CHECKS: tuple[Check, ...] = (
    Check("trading_state", _trading_state, always=True, binds_exits=True),
    Check("signal", _signal, always=True),
    Check("market_data", _market_data, "max_data_age", _nanoseconds, always=True),
    Check("price_collar", _price_collar, "price_collar", Collar),
    Check("order_quantity", _order_quantity, "max_order_quantity"),
    Check("order_notional", _order_notional, "max_order_notional", Line),
    Check("position_notional", _position_notional, "max_position_notional", Line),
    Check("gross_exposure", _gross_exposure, "max_gross_exposure", Line),
    Check("open_orders", _open_orders, "max_open_orders"),
    Check("daily_loss", _daily_loss, "max_daily_loss", float),
    Check("buying_power", _buying_power, always=True),
)
# These are what the others rest on, or what an operator said: they cannot be switched off or merely observed.
_UNCONDITIONAL = frozenset({"trading_state", "signal", "market_data"})


class QuickPass:
    """The whole table at one stroke, for orders that are clear of every limit.

    Nearly every order is far from every line, and to ask eleven checks about it costs more than all else that the
    gate does. So the numbers are first compared as floats, each limit drawn in by a billionth: where all of them are
    clear, no check could object, enforcing or observing. Where one is not, nothing is said, and the table decides. That
    the two agree is a property that the tests hold them to.

    Args:
        limits: The prepared limits of the checks that are asked, by name.
    """

    __slots__ = (
        "asks_power",
        "collar",
        "daily_loss",
        "exposure",
        "max_age",
        "notional",
        "open_orders",
        "position",
        "quantity",
    )

    def __init__(self, limits: dict[str, Any]) -> None:
        self.max_age: int = _ENDLESS if limits["market_data"] is None else limits["market_data"]
        self.collar: Collar | None = limits.get("price_collar")
        self.quantity = float(limits["order_quantity"]) * (1.0 - _NEAR) if "order_quantity" in limits else _HUGE
        self.notional = limits["order_notional"].sure if "order_notional" in limits else _HUGE
        self.position = limits["position_notional"].sure if "position_notional" in limits else inf
        self.exposure = limits["gross_exposure"].sure if "gross_exposure" in limits else inf
        self.open_orders = float(limits.get("open_orders", inf))
        self.daily_loss = float(limits.get("daily_loss", inf))
        self.asks_power = "buying_power" in limits

    def passes(self, signal: Signal, view: RiskView) -> bool:  # noqa: C901, PLR0912 - a limit, a line; see above
        """True where no check of the table would object. False says nothing."""
        if signal.terms is not None:
            return False  # few orders have any, and the table knows what they mean
        symbol, limit_price = signal.symbol, signal.price
        price, at = view.last_price(symbol), view.last_price_at(symbol)
        if price is None or at is None or view.trading_state is not _ACTIVE or view.now_ns - at > self.max_age:
            return False
        if not 0.0 < price < _HUGE:  # written so that a NaN is clear of nothing, here and below
            return False
        if limit_price is not None:
            limit, collar = float(limit_price), self.collar
            if not 0.0 < limit < _HUGE:
                return False
            if collar is not None and not price * collar.lowest <= limit <= price * collar.highest:
                return False
            price = max(price, limit)
        quantity = float(signal.quantity)
        worth = quantity * price
        if not (0.0 < quantity <= self.quantity and worth <= self.notional):
            return False
        if self.position < inf:
            held = view.position_quantity(symbol)
            if held is None or not (abs(float(held)) * price + worth if held else worth) <= self.position:
                return False
        if self.exposure < inf:
            exposure = view.gross_exposure()
            if exposure is None or not exposure + worth <= self.exposure:
                return False
        if self.open_orders < inf:
            count = view.open_order_count()
            if count is None or count >= self.open_orders:
                return False
        if self.daily_loss < inf:
            profit = view.day_pnl
            if profit is None or not -profit < self.daily_loss:
                return False
        if not self.asks_power:
            return True
        power = view.cash_power if "/" in symbol else view.buying_power
        return power is not None and power.is_finite() and worth <= float(power) * (1.0 - _NEAR)


class PreTradeRiskGate:
    """Judges orders before they leave.

    Args:
        limits: The numbers, and the mode of each check; default: no limits, which leaves the checks that need none.
        view: The state to judge against. Without one nothing is known, so every opening order is blocked.

    Raises:
        ConfigurationError: A mode names no check, or one that must be enforced.
    """

    def __init__(self, limits: RiskLimits | None = None, view: RiskView | None = None) -> None:
        self.limits = limits or RiskLimits()
        self.view = view
        modes = self.limits.modes
        _refuse_wrong_modes(modes)
        rows: list[tuple[str, Callable[[Facts, Any], str], Any, bool]] = []
        exits: list[tuple[str, Callable[[Facts, Any], str], Any, bool]] = []
        for check in CHECKS:
            limit = getattr(self.limits, check.limit) if check.limit else None
            mode = GuardMode(modes.get(check.name, GuardMode.ENFORCE))
            if mode is GuardMode.OFF or (limit is None and not check.always):
                continue
            prepared = None if limit is None else check.prepare(limit)
            row = (check.name, check.judge, prepared, mode is GuardMode.ENFORCE)
            rows.append(row)
            if check.binds_exits:
                exits.append(row)
        self._rows = tuple(rows)
        self._exits = tuple(exits)
        self._quick = QuickPass({name: limit for name, _, limit, _ in rows})

    def check(self, signal: Signal | dict[str, Any]) -> tuple[bool, str]:
        """``(approved, reason)``. See ``evaluate``."""
        result = self.evaluate(signal)
        return result.approved, result.reason

    def evaluate(self, signal: Signal | dict[str, Any]) -> GateResult:
        """Ask every check in order, up to the first that blocks.

        Raises:
            ConfigurationError: A dictionary is not a signal.
        """
        if not isinstance(signal, Signal):
            signal = Signal.from_mapping(signal)
        view = self.view
        if view is None:
            if signal.reduce_only:
                return _APPROVED
            return GateResult(approved=False, check="market_data", reason="the gate was given no view of our state")
        if signal.reduce_only:
            if view.trading_state is _ACTIVE:  # the only check that binds exits has nothing to say
                return _APPROVED
            facts = Facts(signal, view)
            rows = self._exits
        elif self._quick.passes(signal, view):
            return _APPROVED
        else:
            facts = Facts(signal, view)
            facts.look_up()
            rows = self._rows
        observed: tuple[str, ...] = ()
        for name, judge, limit, enforced in rows:
            reason = judge(facts, limit)
            if reason:
                if enforced:
                    return GateResult(approved=False, check=name, reason=reason, observed=observed)
                observed += (f"{name}: {reason}",)
        return GateResult(approved=True, observed=observed) if observed else _APPROVED

    def asked(self, *, reduce_only: bool = False) -> tuple[tuple[str, bool], ...]:
        """The checks that such an order is asked, in order, each with whether it enforces."""
        return tuple((name, enforced) for name, _, _, enforced in (self._exits if reduce_only else self._rows))


def _refuse_wrong_modes(modes: dict[str, GuardMode]) -> None:
    names = [check.name for check in CHECKS]
    for name, mode in modes.items():
        if name not in names:
            message = f"modes: there is no check {name!r}; expected one of {', '.join(names)}"
            raise ConfigurationError(message)
        if mode not in tuple(GuardMode):
            message = f"modes.{name} must be one of {', '.join(GuardMode)}, got {mode!r}"
            raise ConfigurationError(message)
        if name in _UNCONDITIONAL and mode != GuardMode.ENFORCE:
            message = f"modes.{name} must be enforce: the other checks rest on it"
            raise ConfigurationError(message)
