"""The journal in one SQLite file: WAL, a synchronous commit per ``sync``, one writer thread.

What happens when it fails:

- before a sync: appended records are in memory only. A crash loses them, and nothing that depended
  on them has left the process; the bars among them are fetched again on restart.
- during a sync: SQLite's commit is atomic; the batch is there whole or not at all.
- after a sync: the records are on disk (``synchronous=FULL`` flushes the WAL at each commit).
- an error of append or sync (disk full, file gone, I/O error) raises JournalError and the journal
  stays failed: the runner stops, because the kernel may not be ahead of its log.

Ownership is an operating-system lock on ``FILE.lock``, held while the journal is open: it ends with
the process, however the process ends. The lock file names the owner for the message to the second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from holdfast.journal.log import FORM, EpochRecord, Kind, Record, checksum, decode, encode
from holdfast.model.commands import Command
from holdfast.model.errors import JournalError, JournalOwnedError
from holdfast.model.events import Event

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; there SQLite's own lock is the second line
    fcntl = None  # type: ignore[assignment]  # None stands for a system without it

_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    """
    CREATE TABLE records (
        seq INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        payload BLOB NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT
    """,
)
_INSERT = "INSERT INTO records (seq, kind, payload, crc) VALUES (?, ?, ?, ?)"
_Row = tuple[int, int, bytes, int]


class SqliteJournal:
    """A journal in a file; made if it does not exist.

    Args:
        path: Where it is kept. ``FILE.lock``, ``FILE-wal`` and ``FILE-shm`` stand beside it.

    Raises:
        JournalError: The file cannot be opened, is no journal, or is of a newer form.
        JournalOwnedError: Another live process owns it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_file = _take_ownership(path)
        self._buffer: list[_Row] = []
        self._failure: JournalError | None = None
        self._closed = False
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._open_or_create()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            self._release_ownership()
            message = f"{path} cannot be used as a journal: {error}"
            raise JournalError(message) from None
        except BaseException:
            self._release_ownership()
            raise

    # -- appending ------------------------------------------------------------------------------

    @property
    def journal_id(self) -> str:
        """128 random bits in hex, made when the file was."""
        return self._journal_id

    @property
    def buffered(self) -> int:
        """Records appended and not yet synced."""
        return len(self._buffer)

    def append_epoch(self, record: EpochRecord) -> None:
        """Append the head of a new run."""
        self._append(Kind.EPOCH, encode(record))

    def append_event(self, event: Event) -> None:
        """Append an event, before the kernel is shown it."""
        self._append(Kind.EVENT, encode(event))

    def append_commands(self, commands: Sequence[Command]) -> None:
        """Append what the kernel answered to the last event."""
        self._append(Kind.COMMANDS, encode(tuple(commands)))

    async def sync(self) -> None:
        """Commit all that is buffered; returns when it is on disk. Concurrent calls share commits."""
        self._check()
        # An empty batch queues too: an earlier one may still be on its way to the disk, and there is one writer.
        batch, self._buffer = self._buffer, []
        commit = asyncio.get_running_loop().run_in_executor(self._writer, self._commit, batch)
        # Who waits may be cancelled; the batch may not, or the records after it would follow a gap.
        await asyncio.shield(commit)
        self._check()

    def records(self) -> Iterator[Record]:
        """All durable records, oldest first, each verified."""
        expected = 1
        for seq, kind, payload, crc in self._db.execute("SELECT seq, kind, payload, crc FROM records ORDER BY seq"):
            if seq != expected:
                message = f"{self.path}: journal record {expected} is missing (found {seq} in its place)"
                raise JournalError(message)
            expected += 1
            try:
                record = decode(seq, kind, payload, crc)
            except JournalError as error:
                message = f"{self.path}: {error}"
                raise JournalError(message) from None
            yield record

    def close(self) -> None:
        """Commit the rest, where the journal has not failed, and release the file. Again is nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._failure is None and self._buffer:
                batch, self._buffer = self._buffer, []
                self._writer.submit(self._commit, batch).result()
        finally:
            self._writer.shutdown(wait=True)
            self._db.close()
            self._release_ownership()
        self._check()

    # -- inside ---------------------------------------------------------------------------------

    def _append(self, kind: Kind, payload: bytes) -> None:
        if self._failure is not None:
            self._check()
        self._seq += 1
        self._buffer.append((self._seq, kind, payload, checksum(kind, payload)))

    def _commit(self, batch: list[_Row]) -> None:
        """Runs in the writer thread. A failure is kept: every later call meets it."""
        if self._failure is not None or not batch:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_INSERT, batch)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            message = f"the journal {self.path} could not be written: {error}; trading stops, nothing unsynced was sent"
            self._failure = JournalError(message)
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                self._db.execute("ROLLBACK")

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _open_or_create(self) -> None:
        db = self._db
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        meta = self._read_meta(tables) if tables else {"form": str(FORM), "journal_id": secrets.token_hex(16)}
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("BEGIN IMMEDIATE")
        if not tables:
            for statement in _SCHEMA:
                db.execute(statement)
            db.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", meta.items())
        # Changes nothing; better to learn now than at the first order that the file cannot be written.
        db.execute("UPDATE meta SET value = value WHERE key = 'form'")
        db.execute("COMMIT")
        self._journal_id = meta["journal_id"]
        self._seq = db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0]

    def _read_meta(self, tables: set[str]) -> dict[str, str]:
        """What an existing file says of itself. Nothing is written to a file that is not ours."""
        meta = dict(self._db.execute("SELECT key, value FROM meta")) if {"meta", "records"} <= tables else {}
        form = str(meta.get("form", ""))
        if not form.isdecimal() or not meta.get("journal_id"):
            message = f"{self.path} is an SQLite file but no journal of Holdfast"
            raise JournalError(message)
        if int(form) > FORM:
            message = f"{self.path} has journal form {form}; this version of Holdfast reads up to form {FORM}"
            raise JournalError(message)
        return meta

    def _release_ownership(self) -> None:
        os.close(self._lock_file)


def _take_ownership(path: Path) -> int:
    """An exclusive lock on ``path.lock``, as an open file descriptor."""
    lock_path = Path(f"{path}.lock")
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        message = f"the journal {path} cannot be opened: {error.strerror} ({lock_path})"
        raise JournalError(message) from None
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            message = f"the journal {path} is owned by another running process (pid {owner})"
            raise JournalOwnedError(message) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
