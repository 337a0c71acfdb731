"""What becomes of a signal: the guards in their order, as a decision without side effects.

    protections -> pre-trade risk gate -> symbol rules (round, then validate) -> an order intent

Guards judge what would add risk. A signal that reduces a position passes protections and limits
unasked, but may never flip it: it is cut to what is left to reduce, counting every reducing order
that is open, in flight or unknown as filled, and every fill that the venue has told of as come.

A signal that is to take the place of an open order goes the same way, with that order left out of what is
counted and the larger of the two judged: while both are open, guards count the larger (see ``Portfolio``).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from holdfast.kernel.book import SymbolBook
from holdfast.kernel.portfolio import Portfolio
from holdfast.market import SymbolProperties, price_to_decimal
from holdfast.market.order_rules import must_be_whole, objection, rounded_terms
from holdfast.model import (
    AssetClass,
    OrderClass,
    OrderIntent,
    OrderSide,
    OrderStatus,
    OrderTerms,
    OrderType,
    Signal,
    Stage,
    TimeInForce,
    Verdict,
)
from holdfast.model.terms import order_type_of
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import ProtectionManager
from holdfast.state.order_machine import OPEN
from holdfast.state.order_tracker import InFlightOrder

# The two deferrals of an exit, as their verdicts name them.
EXIT_WAITS = "exit_waits"
EXIT_IN_FLIGHT = "exit_in_flight"
RULES_NOT_LOADED = "rules_not_loaded"
# Why an order cannot be replaced now.
NOT_REPLACEABLE = "not_replaceable"
# The states in which a venue takes a replacement.
_REPLACEABLE = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.HELD})

_ZERO = Decimal(0)
_BUY, _MARKET = OrderSide.BUY, OrderType.MARKET
_DEFAULT_TIF = {AssetClass.US_EQUITY: TimeInForce.DAY, AssetClass.CRYPTO: TimeInForce.GTC}


class Decision(msgspec.Struct, frozen=True, gc=False):
    """A verdict, and the order that follows from it where there is one."""

    verdict: Verdict
    intent: OrderIntent | None = None

    @property
    def waits(self) -> bool:
        """An exit that must see the symbol's open orders closed before its own order is made."""
        return self.verdict.guard == EXIT_WAITS


class SignalPath:
    """The guards, wired to one portfolio."""

    def __init__(self, portfolio: Portfolio, protections: ProtectionManager, gate: PreTradeRiskGate) -> None:
        self._portfolio = portfolio
        self._protections = protections
        self._gate = gate
        self._tracker = portfolio.tracker

    def decide(self, signal: Signal, book: SymbolBook, client_order_id: str) -> Decision:
        """Judge a signal. ``client_order_id`` is the id that an order would get."""
        terms = signal.terms
        if (
            not signal.quantity.is_finite()
            or not (signal.price is None or signal.price.is_finite())
            or not (terms is None or all(value.is_finite() for _, value in terms.numbers()))
        ):
            reason = f"quantity and price must be finite numbers, got {signal.quantity} at {signal.price}"
            return self._refuse(signal, Stage.RISK, "signal", reason)
        held = self._portfolio.positions.quantity(book.symbol)
        if signal.replaces:
            return self._decide_replacement(signal, book, held, client_order_id)
        if signal.reduce_only:
            return self._decide_reduction(signal, book, held, client_order_id)
        if held and (held > _ZERO) is not (signal.side is _BUY):
            # The other side of what we hold: as long as it only reduces, no guard may block it.
            if signal.quantity <= self._reducible(book, held):
                reduction = msgspec.structs.replace(signal, reduce_only=True)
                return self._decide_reduction(reduction, book, held, client_order_id)
            return self._refuse(
                signal,
                Stage.POSITION,
                "no_flip",
                f"{signal.side} {signal.quantity} would turn the position of {held} around; exit first",
            )
        return self._decide_opening(signal, book, held, client_order_id)

    # -- opening --------------------------------------------------------------------------------

    def _decide_opening(self, signal: Signal, book: SymbolBook, held: Decimal, client_order_id: str) -> Decision:
        portfolio, now = self._portfolio, self._portfolio.now_ns
        if book.exit is not None:
            # It would wait for this order, too, and a resting one might never end.
            reason = f"an exit from {signal.symbol} waits for the venue's word; nothing is opened beside it"
            return self._refuse(signal, Stage.POSITION, "exit_under_way", reason)
        if book.busy and portfolio.exit_is_unknown(signal.symbol):
            # Had it filled, there would be a closed trade for the protections to judge: they lack what they need.
            reason = f"nobody knows yet what became of an exit from {signal.symbol}; nothing is opened beside it"
            return self._refuse(signal, Stage.POSITION, "exit_unknown", reason)
        if portfolio.account is not None and portfolio.account.trading_blocked:
            return self._refuse(signal, Stage.RISK, "account_blocked", "the venue has blocked trading in this account")
        if not portfolio.verified:
            return self._refuse(
                signal, Stage.RISK, "unverified_books", "our books were not compared with the venue yet"
            )
        protections = self._protections
        protections.observe_equity(now, portfolio.equity)  # bars in between may have been skipped as quiet
        trades = portfolio.trades_since(now - protections.lookback_ns)
        protection, observed = protections.judge(signal.symbol, trades, trades, now)
        if protection.is_protected:
            return self._refuse(signal, Stage.PROTECTIONS, protection.trigger.value, protection.reason, observed)
        larger = self._larger(signal) if portfolio.left_out is not None else signal
        result = self._gate.evaluate(larger)
        observed += result.observed
        if not result.approved:
            return self._refuse(signal, Stage.RISK, result.check, result.reason, observed)
        properties = book.properties
        if properties is None:
            return self._refuse(
                signal, Stage.SYMBOL, RULES_NOT_LOADED, f"the rules of {signal.symbol} are not loaded", observed
            )
        terms = signal.terms
        quantity, price, flaw = properties.round_then_validate(
            quantity=signal.quantity,
            side=signal.side,
            price=signal.price,
            time_in_force=signal.time_in_force,
            position=held,
            reference_price=book.last_price,
            whole=terms is not None and must_be_whole(terms),
        )
        if not flaw and (terms is not None or signal.time_in_force is not None):
            terms, flaw = self._settle_terms(signal, book, properties, price)
        if flaw:
            return self._refuse(signal, Stage.SYMBOL, "symbol_rules", flaw, observed)
        return self._accept(signal, book, quantity, price, terms, client_order_id, observed)

    def _settle_terms(
        self, signal: Signal, book: SymbolBook, properties: SymbolProperties, price: Decimal | None
    ) -> tuple[OrderTerms | None, str]:
        """The further terms of an order on their ticks, and why the venue would not take such an order, if it would not."""
        terms = judged = None if signal.terms is None else rounded_terms(properties, signal.side, signal.terms)
        old = self._portfolio.left_out
        if terms is not None and old is not None and self._tracker.is_exit(old):
            judged = OrderTerms(
                stop_price=terms.stop_price
            )  # an exit of a group brings nothing: it takes another one's place
        flaw = objection(
            properties,
            side=signal.side,
            order_type=signal.order_type,
            time_in_force=signal.time_in_force or _DEFAULT_TIF[book.asset_class],
            price=price,
            terms=judged,
            reduce_only=signal.reduce_only,
            last=price_to_decimal(book.last_price) if book.last_price_at else None,
        )
        return terms, flaw

    # -- reducing -------------------------------------------------------------------------------

    def _decide_reduction(self, signal: Signal, book: SymbolBook, held: Decimal, client_order_id: str) -> Decision:
        if not held and not book.busy:
            return self._refuse(signal, Stage.POSITION, "nothing_to_reduce", f"there is no position in {signal.symbol}")
        result = self._gate.evaluate(signal)
        if not result.approved:
            return self._refuse(signal, Stage.RISK, result.check, result.reason, result.observed)
        waiting = self._what_rests(book, held) if not signal.replaces else None
        if waiting is not None:
            return self._defer(signal, *waiting)
        if held and (held > _ZERO) is (signal.side is _BUY):
            reason = f"{signal.side} does not reduce a position of {held}"
            return self._refuse(signal, Stage.POSITION, "wrong_side", reason)
        quantity = signal.quantity
        if book.busy or quantity != abs(held) or self._portfolio.gaps or self._portfolio.adopted_orders:
            quantity = min(quantity, self._reducible(book, held))
        if not quantity and book.symbol in self._portfolio.gaps:
            there = held + self._portfolio.gaps[book.symbol]
            reason = f"our books hold {held} and the venue {there}: there is nothing that both have left to reduce"
            return self._refuse(signal, Stage.POSITION, "nothing_at_venue", reason)
        return self._accept_reduction(signal, book, quantity, client_order_id)

    def _accept_reduction(self, signal: Signal, book: SymbolBook, quantity: Decimal, client_order_id: str) -> Decision:
        """Round what is to be sent and send it, unless its very form is wrong."""
        price, terms, properties = signal.price, signal.terms, book.properties
        flaw = "" if quantity > _ZERO and (price is None or price > _ZERO) else "quantity and price must be positive"
        if properties is not None:
            quantity, price, flaw = properties.round_then_validate(
                quantity=quantity,
                side=signal.side,
                price=price,
                time_in_force=signal.time_in_force,
                reduce_only=True,
                whole=terms is not None and must_be_whole(terms),
            )
            if not flaw and (terms is not None or signal.time_in_force is not None):
                terms, flaw = self._settle_terms(signal, book, properties, price)
        if flaw:
            return self._refuse(signal, Stage.SYMBOL, "symbol_rules", flaw)
        return self._accept(signal, book, quantity, price, terms, client_order_id, ())

    def _what_rests(self, book: SymbolBook, held: Decimal) -> tuple[str, str] | None:
        """Why an exit may not be sent at once, as (guard, reason); None where nothing stands in its way."""
        if book.exit is not None:
            return EXIT_IN_FLIGHT, "an exit already waits for the venue's word"
        leaving = _ZERO
        for order in self._tracker.open_orders(book.symbol) if book.busy else ():
            if not order.reduce_only or order.order_type is not OrderType.MARKET or order.cancel_requested:
                return EXIT_WAITS, "cancels what rests on the symbol first"
            leaving += order.remaining
        if self._tracker.missing and self._portfolio.closed_with_fills_missing(book.symbol):
            return EXIT_WAITS, "the venue has told of fills that have not come yet"
        if leaving and leaving >= abs(held):
            return EXIT_IN_FLIGHT, "orders in flight already close the position"
        return None

    def _reducible(self, book: SymbolBook, held: Decimal) -> Decimal:
        """What may still be sent against the position so that all reducing orders together do not flip it."""
        return self._portfolio.reducible(book.symbol, held)

    # -- in the place of another one ------------------------------------------------------------

    def _decide_replacement(self, signal: Signal, book: SymbolBook, held: Decimal, client_order_id: str) -> Decision:
        old = self._tracker.get(signal.replaces)
        obstacle = self._obstacle(signal, book, old)
        if old is None or obstacle:
            return self._refuse(signal, Stage.POSITION, NOT_REPLACEABLE, obstacle)
        portfolio = self._portfolio
        portfolio.left_out = old
        try:
            decision = self._judge_replacement(signal, book, held, old, client_order_id)
        finally:
            portfolio.left_out = None
        intent = decision.intent
        if (
            intent is not None
            and intent.limit_price == old.limit_price
            and intent.terms == old.terms
            and (intent.quantity in (old.quantity, old.remaining) or self._tracker.is_exit(old))
        ):
            # Rounded to what the symbol allows, there is nothing left to change.
            reason = f"order {signal.replaces} has this price and this quantity already"
            return self._refuse(signal, Stage.POSITION, NOT_REPLACEABLE, reason, decision.verdict.observed)
        return decision

    def _judge_replacement(
        self, signal: Signal, book: SymbolBook, held: Decimal, old: InFlightOrder, client_order_id: str
    ) -> Decision:
        if signal.time_in_force is None:
            signal = msgspec.structs.replace(signal, time_in_force=old.time_in_force)
        if self._tracker.is_exit(old):
            # It takes the place of an exit, with another price. The venue makes an exit smaller by what the other one
            # fills, and does not say so at once: what is out together stays what there is to leave.
            left = self._tracker.most_left(old)
            signal = msgspec.structs.replace(signal, quantity=min(signal.quantity, left))
            result = self._gate.evaluate(signal)
            if not result.approved:
                return self._refuse(signal, Stage.RISK, result.check, result.reason, result.observed)
            return self._accept_reduction(signal, book, signal.quantity, client_order_id)
        if not old.reduce_only and not signal.reduce_only:
            if not held or (held > 0) == (signal.side.sign > 0):
                return self._decide_opening(signal, book, held, client_order_id)
            if signal.quantity > self._reducible(book, held):
                reason = f"{signal.side} {signal.quantity} would turn the position of {held} around; exit first"
                return self._refuse(signal, Stage.POSITION, "no_flip", reason)
        reduction = signal if signal.reduce_only else msgspec.structs.replace(signal, reduce_only=True)
        return self._decide_reduction(reduction, book, held, client_order_id)

    def _obstacle(self, signal: Signal, book: SymbolBook, old: InFlightOrder | None) -> str:
        """Why the order that a signal names cannot be replaced by it; empty where it can."""
        name = signal.replaces
        if old is None:
            return f"there is no order {name} of ours"
        if old.order_type is OrderType.MARKET or signal.order_type is not old.order_type:
            return f"order {name} is a {old.order_type} order; only one with a price can be replaced, and only by one of its own type"
        if (old.symbol, old.side) != (signal.symbol, signal.side):
            return f"order {name} is a {old.side} of {old.symbol}; a replacement changes price and quantity only"
        if signal.time_in_force not in (None, old.time_in_force):
            return f"order {name} is {old.time_in_force}; a replacement changes price and quantity only"
        if "/" not in old.symbol and old.quantity % 1 and signal.quantity != old.quantity:
            return f"order {name} is one in fractions of a share, of which the venue changes no quantity"
        return self._fixed_by_group(signal, old) or self._not_now(name, book, old)

    def _not_now(self, name: str, book: SymbolBook, old: InFlightOrder) -> str:
        """Why an order cannot be replaced as things stand; empty where it can."""
        if old.status not in _REPLACEABLE or old.broker_id is None:
            return (
                f"order {name} is {old.status}; an order that is at the venue and new or partly filled can be replaced"
            )
        newer = None if old.replacement is None else self._tracker.get(old.replacement)
        if (newer is not None and newer.status in OPEN) or self._tracker.in_place_of(old) is not None:
            return f"the venue has not spoken yet on what replaces order {name}"
        if old.cancel_requested or book.exit is not None:
            return f"order {name} is about to be cancelled"
        if self._tracker.is_dying(old):
            return f"order {name} is about to end: another exit of its group has ended"
        return ""

    def _fixed_by_group(self, signal: Signal, old: InFlightOrder) -> str:
        """What the venue does not let a replacement change of an order in a group; empty where it may be replaced."""
        name, terms = signal.replaces, old.terms
        if terms is None or not terms.is_group:
            return ""
        if not self._tracker.is_exit(old):
            return f"order {name} brings its exits: cancel it and send another one, or replace an exit"
        if terms.order_class is OrderClass.OTO:
            return f"order {name} is the exit of an oto, which the venue does not replace"
        if signal.quantity not in (old.quantity, old.remaining):
            return f"order {name} is an exit of a group, of which the venue changes the price only"
        return ""

    def _larger(self, signal: Signal) -> Signal:
        """The signal with the larger quantity: its own, or what is left of the order whose place it is to take."""
        old = self._portfolio.left_out
        if old is None or old.remaining <= signal.quantity:
            return signal
        return msgspec.structs.replace(signal, quantity=old.remaining)

    # -- the three outcomes ---------------------------------------------------------------------

    def _accept(
        self,
        signal: Signal,
        book: SymbolBook,
        quantity: Decimal,
        price: Decimal | None,
        terms: OrderTerms | None,
        client_order_id: str,
        observed: tuple[str, ...],
    ) -> Decision:
        now = self._portfolio.now_ns
        intent = OrderIntent(
            client_order_id=client_order_id,
            symbol=signal.symbol,
            side=signal.side,
            quantity=quantity,
            order_type=_MARKET if price is None and terms is None else order_type_of(price, terms),
            time_in_force=signal.time_in_force or _DEFAULT_TIF[book.asset_class],
            created_at=now,
            limit_price=price,
            reduce_only=signal.reduce_only,
            strategy_id=signal.strategy_id,
            reason=signal.reason,
            replaces=signal.replaces,
            terms=terms,
        )
        verdict = Verdict(
            ts=now,
            approved=True,
            stage=Stage.ACCEPTED,
            signal=signal,
            client_order_id=client_order_id,
            observed=observed,
        )
        return Decision(verdict, intent)

    def _defer(self, signal: Signal, guard: str, reason: str) -> Decision:
        verdict = Verdict(
            ts=self._portfolio.now_ns, approved=True, stage=Stage.DEFERRED, signal=signal, guard=guard, reason=reason
        )
        return Decision(verdict)

    def _refuse(
        self, signal: Signal, stage: Stage, guard: str, reason: str, observed: tuple[str, ...] = ()
    ) -> Decision:
        verdict = Verdict(
            ts=self._portfolio.now_ns,
            approved=False,
            stage=stage,
            signal=signal,
            guard=guard,
            reason=reason,
            observed=observed,
        )
        return Decision(verdict)
