"""Independent checkers: what must hold of a run, judged from the outside.

Each looks at what passed the door, at the venue's own books and at the journal on the disk, and at the bot's books
where those are what is judged; it answers with sentences, none where all is well. They share no code with what they
judge, and each of them is shown to bite by a canary (see ``canaries``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from holdfast.kernel import Kernel
from holdfast.model import OrderClass, OrderIntent, OrderStatus, OrderTerms, OrderType, TradingState, Verdict
from holdfast.model.commands import PLACING, Command, Reconcile, RecordVerdict
from holdfast.model.events import AccountUpdated, BrokerReported, StreamConnected, TradingStateChanged
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.state.order_machine import IN_FLIGHT
from holdfast.state.order_tracker import InFlightOrder
from holdfast.time.real import LOOK_EVERY_NS
from holdfast.venue.matching.engine import VenueOrder

if TYPE_CHECKING:
    from holdfast.testing.sim.world import World

Check = Callable[["World"], Iterator[str]]

_ZERO = Decimal(0)
_CENT = Decimal("0.01")
_NEVER_THERE = frozenset({OrderStatus.NEVER_SENT, OrderStatus.REJECTED})
_WINDOW_SECONDS = 60.0
_TRADING = "/v2/"
# The bot's clock looks at the wall once a second: a step ahead reaches it so much later.
_LOOK_SECONDS = LOOK_EVERY_NS / NS_PER_SECOND
# A clock that was set back runs slower for a while; and a turn of the loop is no delay.
_SLEW_SECONDS = 120.0
_TURN_SECONDS = 0.01


# -- P1, P2: intents and orders -----------------------------------------------------------------


def written_ahead(world: World) -> Iterator[str]:
    """P1: no submit left the process before its intent was on the disk."""
    for departure in world.door.departures:
        if not departure.durable:
            yield (
                f"at {departure.at:.6f} s run {departure.process} sent order {departure.client_order_id}, "
                "whose intent was not on the disk"
            )


def sent_once(world: World) -> Iterator[str]:
    """P2: no intent left twice, in whatever run."""
    submits = Counter(d.client_order_id for d in world.door.departures if d.client_order_id)
    for order_id, count in submits.items():
        if count > 1:
            yield f"order {order_id} was sent {count} times"


def accounted_for(world: World) -> Iterator[str]:
    """P2: every order at the venue is one journaled intent or one of its exits, unchanged; every other is closed with evidence."""
    intents = world.disk.intents
    there = _venue_orders_by_our_ids(world)
    for order_id, order in there.items():
        if _intent_of(world, order_id) is None:
            yield f"order {order_id} at the venue is no journaled intent"
        elif not _is_what_was_meant(world, order_id, order):
            yield f"order {order_id} at the venue is not what was meant"
    tracker = _kernel(world).portfolio.tracker
    for order_id in {**intents, **there}:
        ours = tracker.get(order_id)
        theirs = there.get(order_id)
        if ours is None:
            yield f"intent {order_id} is forgotten"
        elif theirs is None and ours.status not in _NEVER_THERE:
            yield f"intent {order_id} is not at the venue, and held to be {ours.status}"
        elif theirs is None and not ours.evidence:
            yield f"intent {order_id} is closed as {ours.status} without evidence"
        elif theirs is not None and ours.status is not theirs.status:
            yield f"order {order_id} is {theirs.status} at the venue, and held to be {ours.status}"


def one_at_a_time(world: World) -> Iterator[str]:
    """P2: an order and what replaces it are one order at a time, by the venue's books, the journal's and ours alike."""
    tracker, there = _kernel(world).portfolio.tracker, {order.id: order for order in _venue_orders(world)}
    names = {order.id: order_id for order_id, order in _venue_orders_by_our_ids(world).items()}
    successors = Counter(order.replaces for order in there.values() if order.replaces)
    for order_id, count in successors.items():
        if count > 1:
            yield f"order {order_id} at the venue was replaced {count} times"
    for order in there.values():
        old = there.get(order.replaces or "")
        intent = world.disk.intents.get(order.client_order_id)
        meant = intent.replaces if intent is not None else ""
        if (names[old.id] if old is not None else "") != meant:
            yield f"order {order.client_order_id} was meant in the place of {meant or 'none'}, and is not there"
        elif old is not None and (old.status is not OrderStatus.REPLACED or (old.replaced_at or 0) > order.created_at):
            yield f"order {order.client_order_id} stands beside {old.client_order_id}, which it replaces"
        ours = tracker.get(names[old.id]) if old is not None else None
        if ours is not None and ours.replaced_by != order.client_order_id:
            yield f"order {ours.client_order_id} was replaced by {order.client_order_id}; here by {ours.replaced_by}"


# -- P3, P4: executions and books ---------------------------------------------------------------


def counted_once(world: World) -> Iterator[str]:
    """P3: each order's executions are the venue's, each once; their sum is the venue's, to the last decimal."""
    tracker = _kernel(world).portfolio.tracker
    theirs: defaultdict[str, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    engine = world.engine
    for fill in [] if engine is None else engine.activities():
        theirs[fill.order_id].append((fill.quantity, fill.price))
    for order_id, order in _venue_orders_by_our_ids(world).items():
        ours = tracker.get(order_id)
        if ours is None:
            continue  # accounted_for says so
        if ours.filled_quantity != order.filled_qty:
            yield f"order {order_id}: {order.filled_qty} filled at the venue, {ours.filled_quantity} here"
        pieces = sorted((fill.quantity, fill.price) for fill in ours.executions)
        if pieces != sorted(theirs[order.id]):
            yield f"order {order_id}: its executions here are not the venue's"


def books_equal(world: World) -> Iterator[str]:
    """P4: positions and cash are the venue's, and made of executions and labelled adjustments alone."""
    engine = world.engine
    portfolio = _kernel(world).portfolio
    held = {p.symbol: p.quantity for p in ([] if engine is None else engine.positions())}
    ours = {p.symbol: p.quantity for p in portfolio.positions.get_all() if p.quantity}
    for symbol in sorted(held.keys() | ours.keys()):
        # Coins are charged to more digits than the venue tells.
        if abs(held.get(symbol, _ZERO) - ours.get(symbol, _ZERO)) > _slack(symbol):
            yield f"{symbol}: {held.get(symbol, _ZERO)} at the venue, {ours.get(symbol, _ZERO)} here"
    if engine is not None and portfolio.account is not None:
        cash = engine.account().cash
        if abs(cash - portfolio.positions.cash) >= _CENT:
            yield f"cash: {cash} at the venue, {portfolio.positions.cash} here"
    for adjustment in portfolio.positions.adjustments:
        if not adjustment.label:
            yield f"{adjustment.symbol}: an adjustment of {adjustment.quantity} without a label"
        elif "/" not in adjustment.symbol and adjustment.quantity:
            yield f"{adjustment.symbol}: {adjustment.quantity} adopted as {adjustment.label!r}"


# -- P5: the life of an order -------------------------------------------------------------------


def stays_closed(world: World) -> Iterator[str]:
    """P5: once the journal holds the venue's closing word on an order, it is never open again; late fills count."""
    yield from world.replayed.reopened


def verdicts_hold(world: World) -> Iterator[str]:
    """Ambiguity never becomes a verdict: what was closed as refused or never sent is really not at the venue."""
    there = {order_id: order.status for order_id, order in _venue_orders_by_our_ids(world).items()}
    for order_id, (status, evidence) in world.replayed.denied.items():
        if there.get(order_id, OrderStatus.REJECTED) is not OrderStatus.REJECTED:
            yield f"order {order_id} was closed as {status} ({evidence}), and is {there[order_id]} at the venue"


# -- P6, P7: limits and guards ------------------------------------------------------------------


def within_limits(world: World) -> Iterator[str]:
    """P6: no window of a minute saw more trading requests of one run leave than the limit allows.

    A window in which the wall clock was set ahead has less than a minute of the bot's own time in it, and is not judged.
    """
    limit = world.scenario.rate_limit
    by_process: defaultdict[int, list[float]] = defaultdict(list)
    for departure in world.door.departures:
        if departure.path.startswith(_TRADING) and "/stocks/" not in departure.path:
            by_process[departure.process].append(departure.at)
    ahead = [at for at, step in world.steps if step > 0]
    for process, times in by_process.items():
        for index in range(limit, len(times)):
            first, last = times[index - limit], times[index]
            unset = bisect_left(ahead, first - _LOOK_SECONDS) == bisect_left(ahead, last)
            if unset and last - first < _WINDOW_SECONDS - 1e-6:
                yield f"run {process} sent {limit + 1} requests within {last - first:.6f} s, until {last:.6f} s"
                break


def only_approved(world: World) -> Iterator[str]:
    """P7: every order at the venue's door has an approving verdict in the journal, given before it."""
    approved: set[str] = set()
    for _, commands in world.recorded:
        for verdict in _verdicts(commands):
            if verdict.approved and verdict.client_order_id:
                approved.add(verdict.client_order_id)
    for _, order_id in world.door.arrivals:
        if order_id not in approved:
            yield f"order {order_id} arrived at the venue without an approving verdict"


def never_flips(world: World) -> Iterator[str]:
    """P7: by the venue's own history of positions no reducing order crossed zero, or made a position larger."""
    engine = world.engine
    positions: defaultdict[str, Decimal] = defaultdict(Decimal)
    legs = {order.id for order in _venue_orders(world) if order.terms is not None and order.terms.parent is not None}
    for fill in [] if engine is None else engine.activities():
        before, after = positions[fill.symbol], fill.position_qty
        positions[fill.symbol] = after
        intent = world.disk.intents.get(fill.client_order_id)
        if fill.order_id not in legs and (intent is None or not intent.reduce_only):
            continue
        crossed = before * after < 0
        if crossed or abs(after) > abs(before):
            yield (
                f"the reducing order {fill.client_order_id} took {fill.symbol} from {before} to {after} "
                f"({fill.side} {fill.quantity})"
            )


def no_stale_entries(world: World) -> Iterator[str]:
    """P7: nothing that opens was approved by a bot that had not seen a price for longer than its limit."""
    limit = world.config.risk.max_data_age
    if limit is None:
        return
    age_max = round(limit.total_seconds() * 1e9)
    seen: dict[str, int] = {}
    for event, commands in world.recorded:
        symbol, ts = getattr(event, "symbol", None), event.ts
        if type(event).__name__ in {"Bar", "Quote"} and symbol is not None:
            seen[symbol] = max(seen.get(symbol, 0), ts)
        for command in commands:
            if isinstance(command, PLACING) and not command.intent.reduce_only:
                age = command.intent.created_at - seen.get(command.intent.symbol, 0)
                if age > age_max:
                    yield f"order {command.intent.client_order_id} opens on a price that is {age / 1e9:.0f} s old"


def not_too_late(world: World) -> Iterator[str]:
    """No opening order left later than its deadline after it was released; the bot's own clock may have been set."""
    deadline = _kernel(world).settings.submit_deadline / NS_PER_SECOND
    stepped = [at for at, _ in world.steps]
    for departure in world.door.departures:
        intent = world.disk.intents.get(departure.client_order_id)
        if intent is None or intent.reduce_only:
            continue
        released = world.disk.written_at[departure.client_order_id]
        unset = not any(released - _SLEW_SECONDS <= at <= departure.at for at in stepped)
        if unset and departure.at - released > deadline + _TURN_SECONDS:
            yield f"order {departure.client_order_id} left {departure.at - released:.3f} s after it was released"


# -- two sources --------------------------------------------------------------------------------


def asks_after_gaps(world: World) -> Iterator[str]:
    """Whatever was streamed while nobody listened was streamed to nobody: every reconnect asks for it."""
    has_account = False
    for event, commands in world.recorded:
        if type(event) in (AccountUpdated, BrokerReported):
            has_account = True
        elif (
            type(event) is StreamConnected
            and event.stream == "user"
            and has_account
            and not any(type(command) is Reconcile for command in commands)
        ):
            yield f"the user stream came back at {event.ts}, and the venue was not asked what had happened"


def listening(world: World) -> Iterator[str]:
    """A user stream that calls itself connected is listening, by the venue's own list of listeners."""
    process = world.process
    if process is None or process.owner.dead or not process.started:
        return
    if process.container.user_stream.is_connected() and not world.venue.is_listening(world.key):
        yield "the user stream calls itself connected, and the venue sends it nothing"


def halts_hold(world: World) -> Iterator[str]:
    """P7: while the journal says halted no order is decided on, and while it says reducing none that opens."""
    state = TradingState.ACTIVE
    for event, commands in world.recorded:
        if type(event) is TradingStateChanged:
            state = event.state
        for command in commands:
            if isinstance(command, PLACING) and (
                state is TradingState.HALTED or (state is TradingState.REDUCING and not command.intent.reduce_only)
            ):
                yield f"order {command.intent.client_order_id} was decided on while trading was {state}"


# -- P8: the journal ----------------------------------------------------------------------------


def replays(world: World) -> Iterator[str]:
    """P8: the journal gives every recorded decision again, and the books that the bot had at its end."""
    if world.replayed.difference:
        yield world.replayed.difference
        return
    live = _kernel(world)
    for what, look in _STATE.items():
        ours, again = look(live), look(world.replayed.kernel)
        if ours != again:
            yield f"the {what} after a replay are not those of the bot: {_first_difference(ours, again)}"


def strategies_alike(world: World) -> Iterator[str]:
    """P8: what the strategies keep is the same after a replay."""
    for ours, again in zip(_kernel(world).strategies, world.replayed.kernel.strategies, strict=True):
        left, right = _memory(ours), _memory(again)
        if left != right:
            yield f"{ours.name}: {_first_difference(left, right)}"


def restarted_alike(world: World) -> Iterator[str]:
    """P8: no run found at its start that it would decide otherwise today than is recorded."""
    for number, difference in world.differences:
        yield f"run {number} would decide otherwise: {difference}"


def shown_once(world: World) -> Iterator[str]:
    """Every bar reached the strategies once, and none went backwards."""
    process = world.process
    if process is None:
        return
    kernel = _kernel(world)
    for symbol, book in kernel.portfolio.books.items():
        bars = world.venue.exchange.series.get(symbol)
        if bars is not None and book.bars > len(bars):
            yield f"{symbol}: {book.bars} bars were shown of a market of {len(bars)}"


_ON_ITS_WAY = 60 * NS_PER_SECOND

# -- P9: liveness -------------------------------------------------------------------------------


def settled(world: World) -> Iterator[str]:
    """P9: the bound after the last fault has passed: nothing is unknown, in flight, missing or different any more."""
    process = world.process
    if process is None or process.owner.dead or not process.started:
        yield "no bot is trading"
        return
    kernel = process.container.kernel
    if not kernel.portfolio.verified:
        yield "the books were never compared"
    yield from _open_questions(world, kernel)
    for drift in kernel.reconciliation.drift:
        yield f"{drift.symbol} still differs: ours {drift.ours}, the venue's {drift.venue}"
    for book in kernel.portfolio.books.values():
        if book.exit is not None:
            yield f"{book.symbol}: an exit still waits"
    for name, stream in process.container.streams.items():
        if not stream.is_connected():
            yield f"the {name} stream is still down"


def _open_questions(world: World, kernel: Kernel) -> Iterator[str]:
    tracker = kernel.portfolio.tracker
    # The market goes on after the faults: what was decided a moment ago is on its way, and no leftover of theirs.
    lately = kernel.portfolio.now_ns - _ON_ITS_WAY
    young = {order.client_order_id for order in tracker.open_orders() if order.created_at > lately}
    for order in tracker.open_orders():
        if order.status in IN_FLIGHT and order.client_order_id not in young:
            yield f"order {order.client_order_id} is still {order.status}"
    for order in tracker.orders_with_missing_fills():
        yield (
            f"order {order.client_order_id} still misses fills: {order.filled_quantity} of {order.reported_filled_qty}"
        )
    there = _venue_orders_by_our_ids(world)
    for order in tracker.orders():
        theirs = there.get(order.client_order_id)
        if theirs is not None and theirs.status is not order.status and order.client_order_id not in young:
            yield f"order {order.client_order_id} is {theirs.status} at the venue, and still held to be {order.status}"


#: Asked at the end of the bound after the last fault, while the bot runs.
AT_THE_BOUND: dict[str, Check] = {
    "P9 settled": settled,
    "two sources": listening,
}

#: Asked when the run is over.
CHECKERS: dict[str, Check] = {
    "P1 written ahead": written_ahead,
    "P2 sent once": sent_once,
    "P2 accounted for": accounted_for,
    "P2 one at a time": one_at_a_time,
    "P3 counted once": counted_once,
    "P4 books equal": books_equal,
    "P5 stays closed": stays_closed,
    "P5 verdicts hold": verdicts_hold,
    "P6 within limits": within_limits,
    "P7 only approved": only_approved,
    "P7 never flips": never_flips,
    "P7 no stale entries": no_stale_entries,
    "P7 halts hold": halts_hold,
    "P8 replays": replays,
    "P8 strategies alike": strategies_alike,
    "P8 restarted alike": restarted_alike,
    "two sources": asks_after_gaps,
    "deadlines": not_too_late,
    "shown once": shown_once,
}


# -- leaves -------------------------------------------------------------------------------------


def _kernel(world: World) -> Kernel:
    assert world.process is not None  # noqa: S101 - every run starts one
    return world.process.container.kernel


def _venue_orders(world: World) -> list[VenueOrder]:
    engine = world.engine
    return [] if engine is None else engine.orders("all", newest_first=False)


def _venue_orders_by_our_ids(world: World) -> dict[str, VenueOrder]:
    """The venue's orders by the ids that they have here: that of their intent, or what follows from it for its exits."""
    orders = {order.id: order for order in _venue_orders(world)}
    found: dict[str, VenueOrder] = {}
    for order in orders.values():
        parent = orders.get((order.terms.parent if order.terms is not None else None) or "")
        if parent is None or order.client_order_id in world.disk.intents:
            found[order.client_order_id] = order
            continue
        while parent.replaces:
            parent = orders[parent.replaces]
        suffix = "tp" if order.order_type is OrderType.LIMIT else "sl"
        found[f"{parent.client_order_id}.{suffix}"] = order
    return found


def _intent_of(world: World, order_id: str) -> OrderIntent | None:
    """The journaled intent of an order, or the one that brought it as its exit."""
    intents = world.disk.intents
    return intents.get(order_id) or intents.get(order_id.rpartition(".")[0])


def _is_what_was_meant(world: World, order_id: str, order: VenueOrder) -> bool:
    """Whether the venue's order has the terms of its intent. What a group has to leave may have become less."""
    intent = _intent_of(world, order_id)
    if intent is None or order.symbol != intent.symbol:
        return False
    meant, stop = intent.terms or OrderTerms(), None if order.terms is None else order.terms.stop_price
    limit = order.limit_price if order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None
    if order_id in world.disk.intents:
        quantity_fits = order.quantity == intent.quantity or (meant.is_group and order.quantity < intent.quantity)
        stop_fits = meant.trails or stop == meant.stop_price
        return quantity_fits and stop_fits and (order.side, limit) == (intent.side, intent.limit_price)
    side = intent.side if meant.order_class is OrderClass.OCO else intent.side.opposite
    prices = (
        (meant.take_profit, None) if order.order_type is OrderType.LIMIT else (meant.stop_loss_limit, meant.stop_loss)
    )
    return order.side is side and order.quantity <= intent.quantity and (limit, stop) == prices


def _verdicts(commands: tuple[Command, ...]) -> Iterator[Verdict]:
    for command in commands:
        if type(command) is RecordVerdict:
            yield command.verdict


def _slack(symbol: str) -> Decimal:
    return Decimal("1e-8") if "/" in symbol else _ZERO


def _orders_of(kernel: Kernel) -> dict[str, object]:
    return {order.client_order_id: _order_state(order) for order in kernel.portfolio.tracker.orders()}


def _order_state(order: InFlightOrder) -> object:
    return (
        order.status,
        order.broker_id,
        order.filled_quantity,
        order.reported_filled_qty,
        order.cancel_requested,
        order.evidence,
        len(order.executions),
    )


def _positions_of(kernel: Kernel) -> dict[str, object]:
    positions = kernel.portfolio.positions
    held: dict[str, object] = {p.symbol: (p.quantity, p.cost_basis) for p in positions.get_all()}
    return {**held, "cash": positions.cash, "realised": positions.realized_pnl, "trades": len(positions.closed_trades)}


def _timers_of(kernel: Kernel) -> dict[str, object]:
    return dict(kernel.timers)


_STATE: dict[str, Callable[[Kernel], dict[str, object]]] = {
    "orders": _orders_of,
    "positions": _positions_of,
    "timers": _timers_of,
}


def _memory(strategy: object) -> dict[str, object]:
    """What a strategy keeps, without what is the kernel's."""
    return {key: _plain(value) for key, value in vars(strategy).items() if key != "_context"}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, int | float | str | Decimal | bool | None):
        return repr(value)
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    fields = vars(value) if hasattr(value, "__dict__") else {n: getattr(value, n, None) for n in names}
    return {key: _plain(member) for key, member in fields.items() if key not in {"view", "_context"}}


def _first_difference(left: dict[str, object], right: dict[str, object]) -> str:
    for key in {**left, **right}:
        if left.get(key) != right.get(key):
            return f"{key}: {left.get(key)} and {right.get(key)}"
    return "none"
