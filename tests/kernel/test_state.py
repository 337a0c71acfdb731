"""The kernel's state in writing: complete, exact, and one hash for it (P8)."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.kernel import Kernel
from holdfast.kernel.counters import Counters
from holdfast.kernel.flattening import FlatteningState
from holdfast.kernel.state import (
    STATE_FORM,
    CountersState,
    KernelState,
    decode_state,
    digest,
    encode_state,
)
from holdfast.model import OrderIntent, OrderStatus
from holdfast.model.commands import SubmitOrder
from holdfast.model.errors import DataError, InvariantError, StrategyError
from holdfast.risk.protections import DailyLossLimit, MaxDrawdown, Protection, StoplossGuard
from holdfast.strategies import Strategy, VwapMeanReversion
from tests.kernel.helpers import COIN, SPY, Bench, Scripted, buy, leave, make_kernel, of, report_of
from tests.kernel.world import ACTIONS, VENUE, World


def guards() -> list[Protection]:
    """Both kinds: those that watch the equity, and one that reads trades."""
    return [
        MaxDrawdown(max_drawdown=0.5),
        DailyLossLimit(max_loss=50_000),
        StoplossGuard(max_stoplosses=1, lookback_period=timedelta(hours=1), cooldown_duration=timedelta(minutes=5)),
    ]


def twin(bench: Bench, **parts: Any) -> Kernel:
    """A new kernel, made as the bench's was."""
    return make_kernel([Scripted(bench.symbols, bench.strategy.script)], settings=bench.kernel.settings, **parts)


def written(kernel: Kernel) -> KernelState:
    """Its state, after a way through bytes."""
    state = kernel.save_state()
    assert state is not None
    return decode_state(encode_state(state))


def rich() -> Bench:
    """A kernel of which no part is empty: orders of every kind, a waiting exit, drift, holds, strangers."""
    bench = Bench(SPY, "QQQ", COIN, protections=guards())
    bench.hold(10)
    bench.hold(2, symbol=COIN)
    bench.bar(101.0)
    stop = bench.order(leave(reason="stop_loss"), 98.0)
    bench.accepted(stop)
    bench.filled(stop, 10, 98.0)
    bench.act(buy(1), 98.0)  # blocked by the guard of stop-losses
    assert bench.verdict.guard == "stoploss_guard"
    bench.wait(600)
    bench.hold(-4, 200.0, symbol="QQQ")
    limit = bench.order(lambda s: s.buy("QQQ", 2, limit=150.0), 200.0, symbol="QQQ")
    bench.accepted(limit)
    bench.order(lambda s: s.replace(limit.client_order_id, limit=151.0), 200.0, symbol="QQQ")
    bench.act(lambda s: s.exit("QQQ"), 200.0, symbol="QQQ")
    bench.unknown(bench.order(buy(3, limit=90.0), 98.0))
    bench.order(lambda s: s.buy(SPY, 2, stop=120.0), 98.0)
    bench.order(lambda s: s.buy(SPY, 2, limit=97.0, take_profit=105.0, stop_loss=90.0), 98.0)
    bench.act(lambda s: s.cancel(SPY), 98.0)  # it has no id yet to be cancelled by
    stranger = report_of(limit, OrderStatus.NEW, broker_id="x1", client_order_id="x1")
    stray = bench.execution(limit, 1, 150.0, execution_id="stray", broker_id="nobody", client_order_id=None)
    for _ in range(2):
        bench.wait(6)
        held: dict[str, Decimal | int] = {"QQQ": -4, COIN: Decimal("1.5"), "IWM": 7}
        bench.reported(orders=[stranger], executions=[stray], positions=held)
    portfolio = bench.kernel.portfolio
    portfolio.positions.adjust(SPY, Decimal(1), "a gift", bench.now, cash=Decimal("0.50"))
    portfolio.waited_enough[stop.client_order_id] = None
    portfolio.cash_uncertainty = Decimal("0.25")
    portfolio.tracker.forget_settled(stop.created_at)
    bench.kernel.reconciliation._missing_looks[stop.client_order_id] = 2
    bench.kernel.adjustments.state.seen["a fee"] = True
    # A flatten in the middle of which everything else stands as it is.
    bench.kernel.flattening.import_state(
        FlatteningState(
            closing={SPY: True, "QQQ": False}, foreign={"x2": "QQQ"}, gone_since={SPY: bench.now}, touched=(SPY, COIN)
        )
    )
    return bench


def resting(bench: Bench) -> OrderIntent:
    """The order that rests in QQQ."""
    intents = [submit.intent for submit in of(SubmitOrder, bench.commands)]
    return next(intent for intent in intents if intent.symbol == "QQQ" and intent.limit_price)


# -- complete --------------------------------------------------------------------------------------

# Attributes that are not written, and why they need not be.
DERIVED = {
    "Kernel": {
        *("settings", "strategies", "gate", "_path", "_handlers"),  # how it was made
        "_groups",  # holds nothing of its own
        *("_books", "_tracker"),  # other names of the portfolio's
        *("commands", "_recorded"),  # empty between two events
        "_hears",  # follows from the settings
        "looks",  # its one number is written as full_look_at
    },
    "Counters": set[str](),
    "Portfolio": {
        *("fees", "_sessions_for"),  # how it was made
        "_recent_from",  # a hint, from which a search goes on
        "left_out",  # None between two events
    },
    "SymbolBook": {
        *("sessions", "strategies", "fill_listeners", "order_listeners"),  # how it was made
        "_positions",  # the portfolio's
        "asset_class",  # follows from the properties
    },
    "Reconciliation": {"_portfolio", "_settings", "_others"},  # how it was made
    "ProtectionManager": {
        *("protections", "_clock", "_by_trades", "lookback_ns"),  # how it was made
    },
    "OrderTracker": {
        *(
            "_by_broker_id",
            "open",
            "_open_by_symbol",
            "missing",
            "_forgotten_broker_ids",
            "_exits",
            "_unnamed",
        ),  # made again
    },
    "PositionStore": set[str](),
    "Position": {"quantity_float", "average_price_float"},  # mirrors, set from the Decimals
    "InFlightOrder": set[str](),
}
RENAMED = {"_by_equity": "watchers", "newest_trip": "trip"}


def attributes(thing: object) -> set[str]:
    """What an object holds, slots or not."""
    slots = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())}
    return slots | set(getattr(thing, "__dict__", {}))


def unwritten(thing: object, struct: type[msgspec.Struct]) -> set[str]:
    """What an object holds that neither its written form nor the list above names."""
    held = attributes(thing) - DERIVED[type(thing).__name__]
    names = {RENAMED.get(name, name.removeprefix("_")) for name in held}
    return names - {name.removeprefix("_") for name in struct.__struct_fields__}


def test_p8_every_attribute_is_written_or_has_a_reason_not_to_be() -> None:
    """Whoever adds one to the kernel's parts must write it down, or say here what it follows from."""
    kernel = rich().kernel
    portfolio = kernel.portfolio
    state = written(kernel)
    pairs: list[tuple[object, Any]] = [
        (kernel, state),
        (kernel.counters, state.counters),
        (portfolio, state.portfolio),
        (portfolio.books[SPY], state.portfolio.books[0]),
        (kernel.reconciliation, state.reconciliation),
        (kernel.protections, state.protections),
        (portfolio.tracker, state.portfolio.tracker),
        (portfolio.positions, state.portfolio.positions),
        (portfolio.positions.position(SPY), state.portfolio.positions.positions[0]),
        (portfolio.tracker.orders()[0], state.portfolio.tracker.orders[0]),
    ]
    assert {type(thing).__name__ for thing, _ in pairs} == set(DERIVED)
    assert {type(thing).__name__: unwritten(thing, type(record)) for thing, record in pairs} == {
        name: set() for name in DERIVED
    }


def test_an_attribute_that_nobody_writes_is_found() -> None:
    """The checker above can fail."""

    class Counters2(Counters):
        __slots__ = ("forgotten",)

    Counters2.__name__ = "Counters"
    assert unwritten(Counters2(), CountersState) == {"forgotten"}


# A change of these makes another thing of what they name, not another state of it.
NAMES = {
    "form",
    "name",
    "version",
    "data",
    "symbol",
    "client_order_id",
    "broker_id",
    "execution_id",
    "shadows",
    "asset_class",
}


def changes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every variant of a written state in which exactly one leaf is another, with the leaf's path."""
    if isinstance(value, msgspec.Struct | dict | list | tuple):
        for place, name, item in parts(value):
            for where, other in changes(item, path + place):
                yield where, with_part(value, name, other)
    elif value is not None:
        yield path, changed(value)


def parts(value: Any) -> list[tuple[str, Any, Any]]:
    """What a value is made of: where, by which name, and what."""
    if isinstance(value, msgspec.Struct):
        names = [name for name in value.__struct_fields__ if name not in NAMES]
        return [(f".{name}", name, getattr(value, name)) for name in names]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [(f"[{key}]", key, item) for key, item in items]


def with_part(value: Any, name: Any, other: Any) -> Any:
    """The same with one part changed."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **{name: other})
    if isinstance(value, dict):
        return {**value, name: other}
    return type(value)([*value[:name], other, *value[name + 1 :]])


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, Enum):
        others = list(type(value))
        return others[(others.index(value) + 1) % len(others)]
    if isinstance(value, float):
        return value + 1.0 if math.isfinite(value) else 1.0
    return value + "x" if isinstance(value, str) else value + 1


# Leaves that follow from others, so that a change of them alone is undone, or refused, when it is read.
FOLLOWING = (
    ".protections.watchers[0][0]",
    ".protections.watchers[1][0]",
    *(f".portfolio.books[2].properties.{name}" for name in ("shortable", "fractionable", "marginable")),  # a coin's
)


def test_p8_every_field_of_the_state_changes_the_hash_also_after_a_restore() -> None:
    """Each leaf is written, and each is read: what was changed in the written form is changed in the kernel too."""
    bench = rich()
    state = written(bench.kernel)
    original = bench.kernel.state_hash()
    assert digest(encode_state(state)) == original
    paths = []
    for path, other in changes(state):
        if path.startswith(FOLLOWING):
            continue
        assert digest(encode_state(other)) != original, path
        kernel = twin(bench, protections=guards())
        kernel.load_state(decode_state(encode_state(other)))
        assert kernel.state_hash() == digest(encode_state(other)), path
        paths.append(path)

    assert len(paths) > 300
    reached = {path.partition("[")[0].split(".")[1] for path in paths}
    assert reached == {*KernelState.__struct_fields__} - {"form", "cancel_when_known", "strategies"}


# -- exact -----------------------------------------------------------------------------------------

_HISTORIES = st.lists(st.tuples(st.sampled_from([*ACTIONS, *VENUE]), st.integers(0, 99)), min_size=10, max_size=50)


@settings(max_examples=60)
@given(history=_HISTORIES, cut=st.floats(0, 1))
def test_p8_a_restored_kernel_goes_on_like_the_one_that_was_saved(history: list[tuple[str, int]], cut: float) -> None:
    """Saved anywhere in any history, and loaded into a new kernel: the same commands and the same hash ever after."""
    world = World()
    steps = iter(history)
    for _ in range(round(len(history) * cut)):
        world.step(*next(steps))
    bench = world.bench
    state, shown = written(bench.kernel), len(bench.shown)
    kernel = twin(bench)
    kernel.load_state(state)
    assert kernel.state_hash() == bench.kernel.state_hash()
    for step in steps:
        world.step(*step)
        for event, commands in bench.shown[shown:]:
            assert list(kernel.handle(event)) == commands
        shown = len(bench.shown)
        assert kernel.state_hash() == bench.kernel.state_hash()


def test_p8_a_rich_kernel_goes_on_too() -> None:
    """Several symbols, protections that hold, an exit that waits, drift: the next events find everything in place."""
    bench = rich()
    kernel = twin(bench, protections=guards())
    kernel.load_state(written(bench.kernel))
    assert kernel.state_hash() == bench.kernel.state_hash()
    shown = len(bench.shown)
    bench.canceled(resting(bench))
    bench.bar(97.0)
    bench.act(buy(1), 97.0)
    bench.fire()
    bench.begin(epoch=2)
    for event, commands in bench.shown[shown:]:
        assert list(kernel.handle(event)) == commands
    assert kernel.state_hash() == bench.kernel.state_hash()


def test_a_saved_state_does_not_change_with_its_kernel() -> None:
    """It is encoded beside the trading, when the kernel is further already."""
    bench = rich()
    state = bench.kernel.save_state()
    assert state is not None
    before = encode_state(state)
    kept = {order.client_order_id: list(order.executions) for order in bench.kernel.portfolio.tracker.orders()}
    bench.hold(1, 90.0)
    bench.filled(resting(bench), 1, 150.0)
    bench.bar(95.0, "QQQ")
    bench.reported()

    assert kept != {order.client_order_id: order.executions for order in bench.kernel.portfolio.tracker.orders()}
    assert encode_state(state) == before
    assert bench.kernel.state_hash() != digest(before)


def test_what_holds_on_to_the_parts_sees_the_restored_state() -> None:
    """A strategy keeps its views from ``on_start``, read models keep the tracker and the store."""
    bench = rich()
    kernel = twin(bench, protections=guards())
    view, tracker, positions = kernel.view("QQQ"), kernel.portfolio.tracker, kernel.portfolio.positions
    held = positions.position("QQQ")
    kernel.load_state(written(bench.kernel))

    assert view is kernel.view("QQQ")
    assert (view.position, view.busy, held.quantity) == (Decimal(-4), True, Decimal(-4))
    assert kernel.portfolio.tracker is tracker
    assert kernel.portfolio.positions is positions
    assert list(tracker.open) == list(bench.kernel.portfolio.tracker.open) != []


def test_p8_the_hash_does_not_depend_on_the_hash_seed() -> None:
    """The same history in processes with different seeds."""
    hashes = set()
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.kernel.fixed_history"],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        lines = [line for line in done.stdout.decode().splitlines() if len(line) == 64]
        assert len(lines) == 2
        hashes.add(tuple(lines))
    assert len(hashes) == 1


# -- refused ---------------------------------------------------------------------------------------


def test_a_state_is_loaded_into_a_new_kernel_only() -> None:
    """A kernel that has seen anything has a past of its own."""
    bench = rich()
    with pytest.raises(InvariantError, match="new kernel"):
        bench.kernel.load_state(written(bench.kernel))


def test_other_strategies_and_protections_are_refused_before_anything_is_loaded() -> None:
    """Each with both sides in the sentence, and the kernel as new as it was."""
    bench = rich()
    state = written(bench.kernel)
    other = make_kernel([VwapMeanReversion([SPY])], protections=guards())
    with pytest.raises(DataError, match=r"strategies Scripted@1; these are VwapMeanReversion@1"):
        other.load_state(state)
    with pytest.raises(DataError, match=r"protections \['max_drawdown', 'daily_loss_limit'\]; these are \[\]"):
        twin(bench).load_state(state)
    assert other.state_hash() == make_kernel([VwapMeanReversion([SPY])], protections=guards()).state_hash()


@pytest.mark.parametrize("data", [b"", b"\x80", b"nonsense"])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    """In one sentence."""
    with pytest.raises(DataError, match="not a kernel's state"):
        decode_state(data)


def test_a_state_of_another_form_is_refused() -> None:
    """By its number."""
    state = msgspec.structs.replace(written(rich().kernel), form=STATE_FORM + 1)
    with pytest.raises(DataError, match=f"form {STATE_FORM + 1}; this version reads form {STATE_FORM}"):
        decode_state(encode_state(state))


# The form's number, and the hash of what the structs are. Whoever changes them raises STATE_FORM and pins them anew.
PINNED = (4, "684fbd4d518f408f")


def test_the_form_has_another_number_when_the_structs_are_others() -> None:
    """A snapshot that was written by other structs must not be read by these."""
    assert (STATE_FORM, shape()) == PINNED


def shape() -> str:
    """A hash of all field names and types of the written form."""
    found = msgspec.inspect.type_info(KernelState)
    return digest(repr(found).encode())[:16]


# -- what strategies give --------------------------------------------------------------------------


class Silent(Strategy):
    """Keeps state and says nothing of it."""

    def on_start(self) -> None:
        """Begin to count."""
        self.count = 0


class Stateless(Strategy):
    """Keeps nothing."""

    keeps_state = False


class Half(Silent):
    """Saves, and cannot load."""

    def save_state(self) -> object:
        """The count."""
        return self.count


class Counting(Half):
    """Does both."""

    def load_state(self, state: Any) -> None:
        """The count."""
        self.count = state


class Forgetful(Half):
    """Loads something else than it saved."""

    def load_state(self, state: Any) -> None:
        """Nothing."""


class Raising(Counting):
    """Fails when it is asked."""

    def save_state(self) -> object:
        """Nothing comes of it."""
        return 1 / 0


class Unordered(Counting):
    """Gives what has no order."""

    def save_state(self) -> object:
        """A set deep inside."""
        return {"seen": [{SPY}]}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Silent, "does not implement save_state and load_state, nor says keeps_state = False"),
        (Half, "does not implement load_state"),
        (Raising, "strategy Raising raised ZeroDivisionError in save_state"),
        (Unordered, r"strategy Unordered: state\['seen'\]\[0\] is a set"),
        (Stateless, ""),
        (Counting, ""),
    ],
)
def test_a_strategy_that_gives_no_state_gives_no_snapshot(kind: type[Strategy], reason: str) -> None:
    """The kernel says why; the hash of all the rest is there all the same."""
    kernel = make_kernel([Stateless(["QQQ"]), kind([SPY])])
    assert (kernel.save_state() is None) == bool(reason)
    if reason:
        with pytest.raises(StrategyError, match=reason):
            raise StrategyError(kernel.unsaved())
    else:
        assert kernel.unsaved() == ""
    assert len(kernel.state_hash()) == 64


def test_a_strategy_that_does_not_continue_from_what_it_saved_is_found_out() -> None:
    """Half a memory is worse than none: it stops here, with what can be done."""
    before = make_kernel([Forgetful([SPY])])
    strategy = before.strategies[0]
    assert isinstance(strategy, Forgetful)
    strategy.count = 7
    with pytest.raises(StrategyError, match="strategy Forgetful does not continue from the state that it saved"):
        make_kernel([Forgetful([SPY])]).load_state(written(before))


def test_a_strategy_that_raises_on_loading_is_named() -> None:
    """With the place, like anything else that it raises."""

    class Picky(Counting):
        def load_state(self, state: Any) -> None:
            """Refuse it."""
            raise ValueError(state)

    with pytest.raises(StrategyError, match="strategy Picky raised ValueError in load_state"):
        make_kernel([Picky([SPY])]).load_state(written(make_kernel([Picky([SPY])])))


def test_a_state_without_its_strategies_is_refused() -> None:
    """Somebody made it by hand."""
    state = written(make_kernel([Counting([SPY])]))
    (record,) = state.strategies
    hollow = msgspec.structs.replace(state, strategies=(msgspec.structs.replace(record, data=None),))
    with pytest.raises(DataError, match="no state of its strategies"):
        make_kernel([Counting([SPY])]).load_state(hollow)
