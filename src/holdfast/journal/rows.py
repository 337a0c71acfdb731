"""How a record is kept: its row, its checksum, and what a row that does not fit means.

A row is ``(seq, kind, form, payload, crc)``, the same in SQLite and PostgreSQL. ``form`` is the form of
the journal that wrote this record, so that a later version knows how to read each. ``payload`` is
MessagePack.

Checksums are chained: a record's CRC-32 goes on from that of the record before (the first from the
journal's id) over form, kind and payload. A record's own bytes are guarded as before; beyond that, two
records that changed places, one that was replaced by a record with a fitting checksum, and one of
another journal are found, because the next does not go on from them. Each row keeps its value, so
damage stays local: the rows after a damaged one can still be judged.

Of a row that does not fit there are two kinds, and they are told apart by what follows:

- a **torn tail**: the checksum of every row after the last whole one does not fit, and there are no more than
  ``TORN_RECORDS_MAX`` of them. A write was cut off. The owner removes them when it opens the journal, keeps them aside, and says so;
- a **damaged middle**: everything else. A whole row comes after it, a number is missing, or the checksum fits
  and the content cannot be read. Something that had been written is gone, or is not for this version. Nothing is
  built on that: reading stops and names the place.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from holdfast.journal.log import EpochRecord, Kind, Snapshot
from holdfast.model.commands import Command
from holdfast.model.errors import JournalDamagedError, JournalError
from holdfast.model.events import Event

FORM = 2
# More broken rows than one commit may hold are no torn write.
TORN_RECORDS_MAX = 4_096

_encoder = msgspec.msgpack.Encoder()
_DECODERS: dict[int, msgspec.msgpack.Decoder[Any]] = {
    Kind.EPOCH: msgspec.msgpack.Decoder(EpochRecord),
    Kind.EVENT: msgspec.msgpack.Decoder(Event),
    Kind.COMMANDS: msgspec.msgpack.Decoder(tuple[Command, ...]),
}
_HEADS = {int(kind): bytes((FORM, kind)) for kind in Kind}
_new_row = tuple.__new__  # a named tuple's own constructor takes twice as long
_snapshots = msgspec.msgpack.Decoder(Snapshot)
_SNAPSHOT_KIND = 0
_BROKEN = "its checksum does not match its content"

Content = EpochRecord | Event | tuple[Command, ...]
Seal = Callable[[int, int, int, bytes], int]


class Row(NamedTuple):
    """One record as it is kept."""

    seq: int
    kind: int
    form: int
    payload: bytes
    crc: int


class SnapshotRow(NamedTuple):
    """One snapshot as it is kept."""

    seq: int
    content: bytes
    crc: int


# -- sealing ------------------------------------------------------------------------------------


def seed(journal_id: str) -> int:
    """What the first record's checksum goes on from."""
    return zlib.crc32(journal_id.encode())


def seal(previous: int, form: int, kind: int, payload: bytes) -> int:
    """The checksum of a record that follows one with checksum ``previous``."""
    return zlib.crc32(payload, zlib.crc32(bytes((form & 0xFF, kind & 0xFF)), previous))


def seal_form_1(previous: int, form: int, kind: int, payload: bytes) -> int:  # noqa: ARG001 - the signature of seal
    """The checksum as form 1 had it: over kind and payload alone."""
    return zlib.crc32(payload, kind)


def encode(content: Content | Sequence[Command]) -> bytes:
    """A record's content as bytes."""
    return _encoder.encode(content)


def decode(kind: int, payload: bytes) -> Content:
    """A record's content from its bytes.

    Raises:
        ValueError: It cannot be read; the message says why.
    """
    try:
        decoder = _DECODERS[kind]
    except KeyError:
        message = f"it has unknown kind {kind}; expected one of {[int(k) for k in Kind]}"
        raise ValueError(message) from None
    try:
        return decoder.decode(payload)  # type: ignore[no-any-return]  # one of the three
    except msgspec.MsgspecError as error:
        message = f"it cannot be read: {error}"
        raise ValueError(message) from None


def seal_all(first: int, previous: int, contents: Iterable[tuple[int, Content]]) -> list[Row]:
    """The rows of new records from number ``first`` on, which follow a record with checksum ``previous``.

    As ``seal`` does one by one; written out because it runs once for every record, beside the trading thread.
    """
    rows = []
    crc32, encoded, heads, form = zlib.crc32, _encoder.encode, _HEADS, FORM
    for seq, (kind, content) in enumerate(contents, first):
        payload = encoded(content)
        previous = crc32(payload, crc32(heads[kind], previous))
        rows.append(_new_row(Row, (seq, kind, form, payload, previous)))
    return rows


# -- judging ------------------------------------------------------------------------------------


def fault(row: Row, previous: int, sealing: Seal = seal) -> str | None:
    """Why a row is not what it should be, given the checksum before it; None where it is."""
    if sealing(previous, row.form, row.kind, row.payload) != row.crc:
        return _BROKEN
    if not 0 < row.form <= FORM:
        return f"it has form {row.form}; this version of Holdfast reads up to form {FORM}"
    try:
        decode(row.kind, row.payload)
    except ValueError as error:
        return str(error)
    return None


def verified(
    rows: Iterable[Row], after: int, previous: int, where: str, sealing: Seal = seal
) -> Iterator[tuple[Row, Content]]:
    """Rows with their content. They must go on from number ``after``, whose checksum is ``previous``.

    Raises:
        JournalDamagedError: One is missing or not whole; names the place.
    """
    expected = after + 1
    for row in rows:
        seq, kind, form, payload, crc = row
        if seq != expected:
            raise missing(where, expected, seq)
        if sealing(previous, form, kind, payload) != crc:
            raise damaged(where, row, _BROKEN)
        if not 0 < form <= FORM:
            raise damaged(where, row, fault(row, previous, sealing) or "")
        try:
            content = decode(kind, payload)
        except ValueError as error:
            raise damaged(where, row, str(error)) from None
        yield row, content
        previous = crc
        expected += 1


def missing(where: str, seq: int, found: int) -> JournalDamagedError:
    """A number that is not there."""
    reason = f"it is missing (record {found} is in its place)"
    return JournalDamagedError(
        f"{where}: journal record {seq} is missing (found {found} in its place)", seq, "", reason
    )


def damaged(where: str, row: Row, reason: str) -> JournalDamagedError:
    """A row that does not fit."""
    kind = _name(row.kind)
    return JournalDamagedError(
        f"{where}: journal record {row.seq} is damaged ({kind}): {reason}", row.seq, kind, reason
    )


def find_end(newest_first: Sequence[Row], journal_id: str, where: str, sealing: Seal = seal) -> tuple[int, str]:
    """The number of the last whole row, and why the one after it is broken (empty where none is).

    Args:
        newest_first: The last rows, ``TORN_RECORDS_MAX + 2`` of them where there are so many.
        journal_id: The first record's checksum goes on from it.
        where: For messages.
        sealing: How these rows were sealed.

    Raises:
        JournalDamagedError: What is wrong is no torn tail.
    """
    reason = ""
    for index, row in enumerate(newest_first):
        previous = _chain_before(newest_first, index, journal_id, where)
        if previous is None:
            break  # the window ends: more is broken than a torn write breaks
        found = fault(row, previous, sealing)
        if found is None:
            return row.seq, reason
        if found != _BROKEN:
            raise damaged(where, row, found)  # written whole, and not for us to read: nothing that was cut off
        _refuse_changed_checksum(newest_first, index, journal_id, where, sealing)
        reason = found
    if not newest_first or newest_first[-1].seq == 1:
        return 0, reason
    first = newest_first[-2]
    raise damaged(where, first, f"{reason}, and so it is with all to {newest_first[0].seq}")


def _chain_before(newest_first: Sequence[Row], index: int, journal_id: str, where: str) -> int | None:
    """The checksum that a row of the window goes on from; None where the window ends."""
    row = newest_first[index]
    if index + 1 < len(newest_first):
        before = newest_first[index + 1]
        if before.seq != row.seq - 1:
            raise missing(where, before.seq + 1, row.seq)
        return before.crc
    if row.seq == 1:
        return seed(journal_id)
    if len(newest_first) <= TORN_RECORDS_MAX:
        raise missing(where, 1, row.seq)
    return None


def _refuse_changed_checksum(
    newest_first: Sequence[Row], index: int, journal_id: str, where: str, sealing: Seal
) -> None:
    """Where a broken row goes on from what the one before *should* have, it is whole, and that one's checksum was changed."""
    if index + 1 == len(newest_first):
        return
    row, before = newest_first[index], newest_first[index + 1]
    chain = _chain_before(newest_first, index + 1, journal_id, where)
    if chain is not None and fault(row, sealing(chain, before.form, before.kind, before.payload), sealing) is None:
        raise damaged(where, before, _BROKEN)


def torn_report(end: int, last: int, reason: str) -> str:
    """What people are told of a tail that was cut off."""
    which = f"record {last} was" if last == end + 1 else f"records {end + 1} to {last} were"
    return (
        f"the journal's tail was torn: {which} half written ({reason}), cut off and put aside; "
        "whatever they told of is learnt again from the venue"
    )


def _name(kind: int) -> str:
    try:
        return Kind(kind).name.lower()
    except ValueError:
        return f"kind {kind}"


# -- snapshots ----------------------------------------------------------------------------------


def seal_snapshot(snapshot: Snapshot, chain: int) -> SnapshotRow:
    """A snapshot's row. ``chain`` is the checksum of the record that it was taken after: it belongs to that history alone."""
    content = _encoder.encode(snapshot)
    return SnapshotRow(snapshot.seq, content, seal(chain, FORM, _SNAPSHOT_KIND, content))


def open_snapshot(row: SnapshotRow, chain: int | None) -> Snapshot:
    """A snapshot from its row.

    Raises:
        JournalError: It cannot be trusted; says why.
    """
    if chain is None:
        message = f"the snapshot after record {row.seq} belongs to a record that is not there"
        raise JournalError(message)
    if seal(chain, FORM, _SNAPSHOT_KIND, row.content) != row.crc:
        message = f"the snapshot after record {row.seq} is damaged: its checksum does not match its content"
        raise JournalError(message)
    try:
        snapshot = _snapshots.decode(row.content)
    except msgspec.MsgspecError as error:
        message = f"the snapshot after record {row.seq} cannot be read: {error}"
        raise JournalError(message) from None
    if snapshot.seq != row.seq:
        message = f"the snapshot after record {row.seq} says that it was taken after record {snapshot.seq}"
        raise JournalError(message)
    return snapshot
