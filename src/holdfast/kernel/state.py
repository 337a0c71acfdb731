"""The kernel's whole state in writing: for snapshots, and as one hash by which two kernels are compared.

Everything on which later behaviour depends is in it, and nothing else: from the same state, the same events give the
same commands. What a part knows, the part itself writes down (``export_state``) and takes up again in place
(``import_state``), because strategies, guards and read models hold on to the parts. What follows from other fields
(which orders are open, the floats beside a position) is made again and not written.

The written form is MessagePack of the structs below: fields and lists in their order, floats bit for bit, Decimals
digit for digit. No set is iterated, so the hash does not depend on ``PYTHONHASHSEED``.

A strategy's state is its own affair. One that gives none (it does not implement ``save_state``) cannot be restored, so
then there is no snapshot at all: a kernel with half a memory would trade.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from hashlib import blake2b

import msgspec

from holdfast.kernel import plain
from holdfast.kernel.adjustments import Adjustments, AdjustmentsState
from holdfast.kernel.boundary import strategy_error
from holdfast.kernel.counters import Counters
from holdfast.kernel.flattening import Flattening, FlatteningState
from holdfast.kernel.hearing import Hearing, HearingState
from holdfast.kernel.looks import Looks
from holdfast.kernel.others import Others, OthersState
from holdfast.kernel.portfolio import Portfolio, PortfolioState
from holdfast.kernel.reconciliation import Reconciliation, ReconciliationState
from holdfast.kernel.recorded import RecordedDecisions
from holdfast.kernel.unknowns import Unknowns, UnknownState
from holdfast.model import Verdict
from holdfast.model.commands import Command
from holdfast.model.errors import DataError, StrategyError, invariant
from holdfast.model.events import Event
from holdfast.risk.protections import ProtectionManager
from holdfast.risk.protections.manager import ProtectionsState
from holdfast.strategies import Strategy
from holdfast.strategies.base import overrides

# Raise it when the structs change, or what a field means: a snapshot of another form is not used.
STATE_FORM = 4


class CountersState(msgspec.Struct, frozen=True, kw_only=True):
    """The counters as they are written."""

    signals: int
    orders: int
    executions: int
    duplicate_bars: int
    blocked: dict[str, int]


class StrategyState(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy's state as it is written. ``data`` is in the form of ``plain``; None: it gives none."""

    name: str
    version: int
    data: bytes | None


class KernelState(msgspec.Struct, frozen=True, kw_only=True):
    """All of a kernel."""

    form: int
    journal_id: str
    epoch: int
    next_intent: int
    day_ends_at: int
    stopping: bool
    counters: CountersState
    timers: dict[str, int]
    full_look_at: int
    hearing: HearingState
    unknowns: UnknownState
    others: OthersState
    adjustments: AdjustmentsState
    recent_verdicts: tuple[Verdict, ...]
    portfolio: PortfolioState
    protections: ProtectionsState
    reconciliation: ReconciliationState
    flattening: FlatteningState
    strategies: tuple[StrategyState, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KernelState)


def encode_state(state: KernelState) -> bytes:
    """A state as bytes: the same state is always the same bytes."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> KernelState:
    """The state that ``encode_state`` wrote.

    Raises:
        DataError: The bytes are not a kernel's state, or of another form.
    """
    try:
        state = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        message = f"not a kernel's state: {error}"
        raise DataError(message) from None
    if state.form != STATE_FORM:
        message = f"a kernel's state of form {state.form}; this version reads form {STATE_FORM}"
        raise DataError(message)
    return state


def digest(encoded: bytes) -> str:
    """The hash of an encoded state, in hex."""
    return blake2b(encoded, digest_size=32).hexdigest()


class Restorable:
    """The part of the kernel that can be written down and taken up again."""

    strategies: tuple[Strategy, ...]
    portfolio: Portfolio
    protections: ProtectionManager
    reconciliation: Reconciliation
    flattening: Flattening
    counters: Counters
    timers: dict[str, int]
    recent_verdicts: deque[Verdict]
    journal_id: str
    epoch: int
    looks: Looks
    hearing: Hearing
    unknowns: Unknowns
    others: Others
    adjustments: Adjustments
    _next_intent: int
    _day_ends_at: int
    _stopping: bool
    commands: list[Command]
    _recorded: RecordedDecisions | None

    def save_state(self) -> KernelState | None:
        """Everything that later behaviour depends on; None where a strategy gives no state (see ``unsaved``).

        It is the kernel's of this moment, and does not change with it any more. Between two events only.
        """
        state = self._written()
        return None if any(record.data is None for record in state.strategies) else state

    def unsaved(self) -> str:
        """Why there is no state to be saved, in a sentence; empty where there is."""
        reasons = (_state_of(strategy)[1] for strategy in self.strategies)
        return next((reason for reason in reasons if reason), "")

    def state_hash(self) -> str:
        """The hash of everything that later behaviour depends on. Strategies that give no state are left out."""
        return digest(encode_state(self._written()))

    def load_state(self, state: KernelState) -> None:
        """Continue from a saved state; this kernel must be new, and made as the one that was saved.

        Raises:
            DataError: The state is that of other strategies or protections; nothing was loaded.
            StrategyError: A strategy cannot continue from the state that it saved. The kernel is void.
        """
        invariant(not self.journal_id and not self.portfolio.now_ns, "a state is loaded into a new kernel only")
        ours = [(strategy.name, strategy.version) for strategy in self.strategies]
        theirs = [(record.name, record.version) for record in state.strategies]
        if ours != theirs:
            message = f"the state is that of the strategies {_names(theirs)}; these are {_names(ours)}"
            raise DataError(message)
        saved = [(record, plain.from_bytes(record.data)) for record in state.strategies if record.data is not None]
        if len(saved) != len(ours):
            message = "the state has no state of its strategies"
            raise DataError(message)
        self.protections.import_state(state.protections)
        self.portfolio.import_state(state.portfolio)
        self.reconciliation.import_state(state.reconciliation)
        self.flattening.import_state(state.flattening)
        for name in CountersState.__struct_fields__:
            setattr(self.counters, name, getattr(state.counters, name))
        self.counters.blocked = dict(state.counters.blocked)
        self.timers.clear()
        self.timers.update(state.timers)
        self.looks.full_at = state.full_look_at
        self.hearing.import_state(state.hearing)
        self.unknowns.state = deepcopy(state.unknowns)
        self.others.state = deepcopy(state.others)
        self.adjustments.state = deepcopy(state.adjustments)
        self.recent_verdicts.clear()
        self.recent_verdicts.extend(state.recent_verdicts)
        self.journal_id, self.epoch = state.journal_id, state.epoch
        self._next_intent, self._day_ends_at, self._stopping = state.next_intent, state.day_ends_at, state.stopping
        for strategy, (record, content) in zip(self.strategies, saved, strict=True):
            _restore(strategy, record, content)

    def _take_note(self, event: Event) -> None:
        """For whoever reads the journal: nothing follows from it, or a state could not be hashed without changing."""

    def _written(self) -> KernelState:
        invariant(not self.commands and self._recorded is None, "a state is taken between two events only")
        return KernelState(
            form=STATE_FORM,
            journal_id=self.journal_id,
            epoch=self.epoch,
            next_intent=self._next_intent,
            day_ends_at=self._day_ends_at,
            stopping=self._stopping,
            counters=CountersState(
                signals=self.counters.signals,
                orders=self.counters.orders,
                executions=self.counters.executions,
                duplicate_bars=self.counters.duplicate_bars,
                blocked=dict(self.counters.blocked),
            ),
            timers=dict(self.timers),
            full_look_at=self.looks.full_at,
            hearing=self.hearing.export_state(),
            unknowns=deepcopy(self.unknowns.state),
            others=deepcopy(self.others.state),
            adjustments=deepcopy(self.adjustments.state),
            recent_verdicts=tuple(self.recent_verdicts),
            portfolio=self.portfolio.export_state(),
            protections=self.protections.export_state(),
            reconciliation=self.reconciliation.export_state(),
            flattening=self.flattening.export_state(),
            strategies=tuple(
                StrategyState(name=strategy.name, version=strategy.version, data=_state_of(strategy)[0])
                for strategy in self.strategies
            ),
        )


def _state_of(strategy: Strategy) -> tuple[bytes | None, str]:
    """A strategy's state in its written form, or why there is none."""
    if not strategy.keeps_state:
        return plain.to_bytes(None), ""
    saves, loads = overrides(strategy, "save_state"), overrides(strategy, "load_state")
    if not (saves and loads):
        lacks = "save_state and load_state" if not (saves or loads) else "load_state" if saves else "save_state"
        return None, f"strategy {strategy.name} does not implement {lacks}, nor says keeps_state = False"
    try:
        state = strategy.save_state()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code; the reason is told, and costs a snapshot only
        return None, str(strategy_error(strategy, "save_state", error))
    if state is NotImplemented:
        return None, f"strategy {strategy.name} does not implement save_state"
    try:
        return plain.to_bytes(state), ""
    except DataError as error:
        return None, f"strategy {strategy.name}: {error}"


def _restore(strategy: Strategy, record: StrategyState, content: object) -> None:
    """Have a strategy continue, and see that it does."""
    if not strategy.keeps_state:
        return
    try:
        strategy.load_state(content)
    except (Exception, SystemExit) as error:
        raise strategy_error(strategy, "load_state", error) from error
    data, reason = _state_of(strategy)
    if data != record.data:
        why = reason or "what it would save now is not what it was given"
        message = (
            f"strategy {strategy.name} does not continue from the state that it saved: {why}; "
            "correct load_state, or raise the strategy's version, and the whole journal is shown again"
        )
        raise StrategyError(message)


def _names(strategies: list[tuple[str, int]]) -> str:
    return ", ".join(f"{name}@{version}" for name, version in strategies) or "none"
