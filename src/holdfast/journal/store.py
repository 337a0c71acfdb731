"""What a journal needs of a database: rows in and out. SQLite and PostgreSQL each have one; policy is in ``stored``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from holdfast.journal.log import Snapshot
from holdfast.journal.rows import Content, Row, Seal, SnapshotRow, open_snapshot, seed, verified
from holdfast.model.errors import JournalError

_PAGE = 5_000


class Head(NamedTuple):
    """What a journal says of itself."""

    journal_id: str
    form: int


class TornRow(NamedTuple):
    """A row that was cut off: what was there, and when it was found."""

    cut: int
    reason: str
    row: Row


class Store(Protocol):
    """Rows of one journal. Every method may raise JournalError with a sentence that names the journal.

    Writing happens in one thread at a time; reading may happen beside it, and sees only what is durable.

    Attributes:
        name: For people; without passwords.
        sealing: How the rows that are there were sealed.
        warnings: What was found out about the database itself that people should know.
    """

    name: str
    sealing: Seal
    warnings: tuple[str, ...]

    def open(self) -> Head:
        """Look at what is there; make it, or bring it to today's form, where this store may write."""
        ...

    def newest(self, limit: int) -> list[Row]:
        """The last rows, newest first."""
        ...

    def page(self, after: int, limit: int) -> list[Row]:
        """Some rows with numbers above ``after``, oldest first, at most so many; none only where there are none."""
        ...

    def write(self, rows: Sequence[Row]) -> None:
        """Make rows durable: all of them or none."""
        ...

    def write_snapshot(self, row: SnapshotRow, keep: int) -> None:
        """Make a snapshot durable, and drop all but the newest few."""
        ...

    def snapshots(self) -> list[int]:
        """The record numbers after which there are snapshots, newest first."""
        ...

    def snapshot(self, seq: int) -> SnapshotRow | None:
        """One of them."""
        ...

    def cut(self, after: int, reason: str) -> None:
        """Put every row above ``after`` aside, and drop the snapshots that hold any of it."""
        ...

    def torn(self) -> list[TornRow]:
        """What was put aside."""
        ...

    def size(self) -> int:
        """What the journal takes in storage, in bytes."""
        ...

    def written_before(self) -> int:
        """The record that this journal is known to have reached once; 0 where nothing is known."""
        ...

    def remember(self, seq: int) -> None:
        """Keep, as a hint and outside of the rows, which record was reached."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


def all_rows(store: Store, after: int = 0) -> Iterator[Row]:
    """Every row above a number, oldest first, a page at a time: no reading holds the database for long."""
    while rows := store.page(after, _PAGE):
        yield from rows
        after = rows[-1].seq


def all_records(store: Store, head: Head, after: int = 0) -> Iterator[tuple[Row, Content]]:
    """Every row above a number with its content, each verified.

    Raises:
        JournalDamagedError: One is missing or damaged; names the place.
    """
    chain = chain_at(store, after, seed(head.journal_id))
    if chain is None:
        message = f"{store.name}: there is no journal record {after}"
        raise JournalError(message)
    return verified(all_rows(store, after), after, chain, store.name, store.sealing)


def chain_at(store: Store, seq: int, first: int) -> int | None:
    """The checksum of a record (``first``: what the first record goes on from); None where there is no such record."""
    if seq == 0:
        return first
    rows = store.page(seq - 1, 1)
    return rows[0].crc if rows and rows[0].seq == seq else None


def newest_snapshot(store: Store) -> tuple[Snapshot | None, list[str]]:
    """The newest snapshot that is whole and belongs to the records that are there; and a sentence for each passed over."""
    passed_over: list[str] = []
    for seq in store.snapshots():
        row = store.snapshot(seq)
        try:
            if row is not None:
                return open_snapshot(row, chain_at(store, seq, 0)), passed_over
        except JournalError as error:
            passed_over.append(f"{error}; it was passed over")
    return None, passed_over
