"""The journal in one SQLite file."""

from __future__ import annotations

from pathlib import Path

from holdfast.journal.owner import FileOwnership
from holdfast.journal.sqlite_store import SqliteStore
from holdfast.journal.stored import StoredJournal


class SqliteJournal(StoredJournal):
    """A journal in a file; made if it does not exist.

    Args:
        path: Where it is kept. ``FILE.lock``, ``FILE-wal`` and ``FILE-shm`` stand beside it.

    Raises:
        JournalError: The file cannot be opened, is no journal, is of a newer form, or is damaged.
        JournalOwnedError: Another live process owns it; names the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        ownership = FileOwnership(path)
        try:
            store = SqliteStore(path, ownership)
        except BaseException:
            ownership.release()
            raise
        super().__init__(store)
