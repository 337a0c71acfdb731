"""Reading a journal without owning it: also while a bot writes it. Nothing is changed, nothing is cut off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.journal.log import Record, Snapshot
from holdfast.journal.places import DatabaseUrl, to_place
from holdfast.journal.sqlite_store import SqliteStore
from holdfast.journal.store import Store, all_records, newest_snapshot


class JournalReader:
    """A journal as it is now, for whoever looks at it from outside.

    A torn tail is damage here: reading stops at it and names the place. Only the owner cuts it off.

    Args:
        where: A file, or the address of a PostgreSQL database.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """

    def __init__(self, where: str | Path | DatabaseUrl) -> None:
        self.store = open_to_read(where)
        try:
            self.head = self.store.open()
        except BaseException:
            self.store.close()
            raise
        self.reports: tuple[str, ...] = self.store.warnings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Where it is, for people."""
        return self.store.name

    @property
    def journal_id(self) -> str:
        """The journal's id."""
        return self.head.journal_id

    @property
    def form(self) -> int:
        """The form that the journal is in: an older one is read as it is."""
        return self.head.form

    @property
    def last_seq(self) -> int:
        """The number of the last record."""
        newest = self.store.newest(1)
        return newest[0].seq if newest else 0

    def records(self, after: int = 0) -> Iterator[Record]:
        """The records with numbers above ``after``, oldest first, each verified.

        Raises:
            JournalDamagedError: One is damaged or missing; names the place.
        """
        for row, content in all_records(self.store, self.head, after):
            yield Record(row.seq, content)

    def latest_snapshot(self) -> Snapshot | None:
        """The newest snapshot that can be trusted; ``reports`` says which were passed over."""
        snapshot, passed_over = newest_snapshot(self.store)
        self.reports += tuple(report for report in passed_over if report not in self.reports)
        return snapshot

    def close(self) -> None:
        """Let go."""
        self.store.close()


def open_to_read(where: str | Path | DatabaseUrl) -> Store:
    """The store of a journal, for reading alone."""
    place = to_place(where)
    if isinstance(place, DatabaseUrl):
        from holdfast.journal.postgres_store import PostgresStore  # noqa: PLC0415 - the driver is an extra

        return PostgresStore(place, read_only=True)
    return SqliteStore(place)


def journal_exists(where: str | Path | DatabaseUrl) -> bool:
    """Whether there is a journal; looks, and opens nothing.

    Raises:
        JournalError: The database cannot be asked.
    """
    place = to_place(where)
    if isinstance(place, DatabaseUrl):
        from holdfast.journal.postgres_store import PostgresStore  # noqa: PLC0415 - the driver is an extra

        with contextlib.closing(PostgresStore(place, read_only=True)) as store:
            return store.exists()
    return place.is_file()
