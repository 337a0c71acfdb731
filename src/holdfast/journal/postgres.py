"""The journal in a PostgreSQL database."""

from __future__ import annotations

from holdfast.journal.places import DatabaseUrl
from holdfast.journal.postgres_store import PostgresStore
from holdfast.journal.stored import StoredJournal


class PostgresJournal(StoredJournal):
    """A journal in a schema of a database; its tables are made if they do not exist.

    Args:
        url: Where the database is.
        patience_seconds: How long a connection that was lost during a write may take to come back.

    Raises:
        ConfigurationError: The driver is not installed.
        JournalError: The server cannot be reached or refuses us, or what is there is no journal, of a newer form, or damaged.
        JournalOwnedError: Another live process owns it; names the process.
    """

    def __init__(self, url: DatabaseUrl | str, *, patience_seconds: float = 10.0) -> None:
        url = url if isinstance(url, DatabaseUrl) else DatabaseUrl(url)
        self.url = url
        super().__init__(PostgresStore(url, patience_seconds=patience_seconds))
