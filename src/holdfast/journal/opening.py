"""Opens the journal of a place, whichever kind of place it is."""

from __future__ import annotations

from pathlib import Path

from holdfast.journal.places import DatabaseUrl, to_place
from holdfast.journal.sqlite import SqliteJournal
from holdfast.journal.stored import StoredJournal


def open_journal(where: str | Path | DatabaseUrl) -> StoredJournal:
    """Own the journal of a place; it is made if it is not there.

    Args:
        where: A file, or the address of a PostgreSQL database.

    Raises:
        ConfigurationError: The place is of no kind that is known, or its driver is not installed.
        JournalError: It cannot be opened, is no journal, is of a newer form, or is damaged.
        JournalOwnedError: Another live process owns it; names the process.
    """
    place = to_place(where)
    if isinstance(place, DatabaseUrl):
        from holdfast.journal.postgres import PostgresJournal  # noqa: PLC0415 - the driver is an extra

        return PostgresJournal(place)
    return SqliteJournal(place)
