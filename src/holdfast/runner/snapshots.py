"""Snapshots of the kernel, so that a restart reads the end of a journal and not the whole of it.

A snapshot is taken when nothing is waiting: after so many records, and at a clean stop. The state is written down
between two events, and becomes durable with the records that it follows from, in the journal's own time. Its hash is
an event of the journal, by which a replay sees whether it came to the same state.

It is used only by a run of the same kernel: same form of the state, same strategies and versions, same configuration.
Any other run is shown the whole journal, where recorded decisions win. The same goes for a strategy that does not say
what it keeps: for it no snapshot is taken, which is said once.
"""

from __future__ import annotations

import msgspec
import structlog

from holdfast.journal import EpochRecord, Journal, Snapshot
from holdfast.kernel import Kernel
from holdfast.kernel.state import STATE_FORM, KernelState, decode_state, digest, encode_state
from holdfast.model.errors import DataError, invariant
from holdfast.runner.ports import AlertPort

_log = structlog.get_logger(__name__)

SNAPSHOT_EVERY = 10_000  # records between two of them


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds: the kernel's state as bytes, its hash, and the run that it was taken in."""

    epoch: EpochRecord
    digest: str
    state: bytes


class Snapshots:
    """Takes them.

    Args:
        kernel: Whose state.
        journal: Where they are kept.
        alerts: Told once where none can be taken.
        every: Records between two of them; 0 for none.

    Attributes:
        epoch: The run that is on; set when it begins.
        last: The record of the last one.
        is_void: The kernel was stopped in the middle of an event, and has no state that could be gone on from.
    """

    def __init__(self, kernel: Kernel, journal: Journal, alerts: AlertPort, *, every: int) -> None:
        self.every = every
        self.epoch: EpochRecord | None = None
        self.last = 0
        self.is_void = False
        self._kernel = kernel
        self._journal = journal
        self._alerts = alerts
        self._said = False

    @property
    def is_due(self) -> bool:
        """Whether there are enough new records for another one."""
        return self.every > 0 and not self.is_void and self._journal.last_seq - self.last >= self.every

    def take(self) -> tuple[str, bytes | None]:
        """The state's hash and, where every strategy gives its part, the state as bytes."""
        self.last = self._journal.last_seq
        state = self._kernel.save_state()
        if state is None:
            self._say_why()
            return self._kernel.state_hash(), None
        encoded = encode_state(state)
        return digest(encoded), encoded

    def keep(self, at: int, found: str, state: bytes | None) -> None:
        """Hand a state to the journal, which has recorded its hash (``at``, UTC ns)."""
        epoch = self.epoch
        if state is None or epoch is None or not self.every:
            return
        self.last = self._journal.last_seq
        self._journal.save_snapshot(
            Snapshot(
                seq=self.last,
                form=STATE_FORM,
                code=epoch.code,
                config=epoch.config,
                strategy=epoch.strategy,
                at=at,
                state=msgspec.msgpack.encode(Kept(epoch=epoch, digest=found, state=state)),
            )
        )

    def _say_why(self) -> None:
        if self.every and not self._said:
            self._said = True
            reason = self._kernel.unsaved()
            _log.warning("no snapshots are taken", reason=reason)
            self._alerts.notify_nowait("system", "no snapshots are taken: a restart reads the whole journal", reason)


def why_not(snapshot: Snapshot, *, config: str, strategy: str) -> str:
    """Why a snapshot is not one of the kernel that these versions make; empty where it is."""
    if snapshot.form != STATE_FORM:
        return f"its state has form {snapshot.form} and this version reads form {STATE_FORM}"
    if snapshot.strategy != strategy:
        return f"it is of the strategies {snapshot.strategy or 'none'} and these are {strategy or 'none'}"
    return "the configuration was another one" if snapshot.config != config else ""


def load(snapshot: Snapshot, kernel: Kernel) -> EpochRecord:
    """Have a new kernel continue from a snapshot; returns the run that it was taken in.

    Raises:
        DataError: It is no state of this kernel; nothing was loaded.
        StrategyError: A strategy cannot continue from what it saved. The kernel is void.
    """
    try:
        kept = msgspec.msgpack.decode(snapshot.state, type=Kept)
    except msgspec.MsgspecError as error:
        message = f"it cannot be read: {error}"
        raise DataError(message) from None
    state: KernelState = decode_state(kept.state)
    kernel.load_state(state)
    invariant(kernel.state_hash() == kept.digest, "a snapshot was loaded and the state is another one")
    return kept.epoch


def load_books(snapshot: Snapshot, kernel: Kernel) -> EpochRecord:
    """Have a kernel without strategies continue from a snapshot of one with any; returns the run that it was taken in.

    For whoever closes or compares what a bot left behind: orders, positions and guards are the bot's, and nothing trades.

    Raises:
        DataError: It is no state of a kernel with these guards; nothing was loaded.
    """
    invariant(not kernel.strategies, "books alone are loaded into a kernel without strategies")
    try:
        kept = msgspec.msgpack.decode(snapshot.state, type=Kept)
    except msgspec.MsgspecError as error:
        message = f"it cannot be read: {error}"
        raise DataError(message) from None
    kernel.load_state(msgspec.structs.replace(decode_state(kept.state), strategies=()))
    return kept.epoch
