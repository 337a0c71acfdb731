"""Rows in one SQLite file: WAL, a synchronous commit per write, a connection for reading beside the one that writes.

- before a write: nothing is in the file;
- during one: SQLite's commit is atomic, the batch is there whole or not at all;
- after one: it is on disk (``synchronous=FULL`` flushes the WAL at each commit).
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.journal.owner import FileOwnership
from holdfast.journal.rows import (
    FORM,
    TORN_RECORDS_MAX,
    Row,
    Seal,
    SnapshotRow,
    find_end,
    seal,
    seal_form_1,
    seed,
    torn_report,
    verified,
)
from holdfast.journal.store import Head, TornRow
from holdfast.model.errors import JournalDamagedError, JournalError

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    form INTEGER NOT NULL,
    payload BLOB NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE TABLE snapshots (seq INTEGER PRIMARY KEY, content BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE torn (
    cut INTEGER NOT NULL,
    reason TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    form INTEGER NOT NULL,
    payload BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (cut, seq)
) STRICT;
"""
_STATEMENTS = tuple(statement.strip() for statement in _TABLES.split(";") if statement.strip())
_INSERT = "INSERT INTO records (seq, kind, form, payload, crc) VALUES (?, ?, ?, ?, ?)"
_ROW = "seq, kind, form, payload, crc"
_SELECT_1 = "SELECT seq, kind, 1, payload, crc FROM records_1"
_NOT_USABLE = "{path} cannot be used as a journal: {error}"
_NOT_READ = "the journal {path} cannot be read: {error}"
_NOT_WRITTEN = "the journal {path} could not be written: {error}; trading stops, nothing unsynced was sent"
_NOT_COPIED = "the journal {path} cannot be copied: {error}"


class SqliteStore:
    """One file.

    Args:
        path: The file.
        ownership: The lock on it, where this store may write; None opens it for reading alone.
        journal_id: For a new file; default: a random one.
    """

    def __init__(self, path: Path, ownership: FileOwnership | None = None, journal_id: str | None = None) -> None:
        self.path = path
        self.name = str(path)
        self.sealing: Seal = seal
        self.warnings: tuple[str, ...] = ()
        self._new_id = journal_id or secrets.token_hex(16)
        self._head = Head("", FORM)
        self._ownership = ownership
        self._reader: sqlite3.Connection | None = None
        with self._said(_NOT_USABLE):
            self._db = self._connect() if ownership is not None else self._connect_to_read()

    # -- opening --------------------------------------------------------------------------------

    def open(self) -> Head:
        """Look at the file; make it, or bring it to today's form, where it may be written."""
        with self._said(_NOT_USABLE):
            self._head = self._open()
        return self._head

    def _open(self) -> Head:
        db = self._db
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        head = self._read_head(tables) if tables or self._ownership is None else Head(self._new_id, FORM)
        if self._ownership is None:
            self.sealing = seal if head.form > 1 else seal_form_1
            return head
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            if not tables:
                for statement in _STATEMENTS:
                    db.execute(statement)
                meta = {"form": str(FORM), "journal_id": head.journal_id}
                db.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", meta.items())
            elif head.form < FORM:
                self._upgrade_from_1(head.journal_id)
            # Changes nothing; better to learn now than at the first order that the file cannot be written.
            db.execute("UPDATE meta SET value = value WHERE key = 'form'")
        return Head(head.journal_id, FORM)

    def _read_head(self, tables: set[str]) -> Head:
        """What an existing file says of itself. Nothing is written to a file that is not ours."""
        meta = dict(self._db.execute("SELECT key, value FROM meta")) if {"meta", "records"} <= tables else {}
        form = str(meta.get("form", ""))
        if not form.isdecimal() or int(form) < 1 or not meta.get("journal_id"):
            message = f"{self.path} is an SQLite file but no journal of Holdfast"
            raise JournalError(message)
        if int(form) > FORM:
            message = f"{self.path} has journal form {form}; this version of Holdfast reads up to form {FORM}"
            raise JournalError(message)
        return Head(meta["journal_id"], int(form))

    def _upgrade_from_1(self, journal_id: str) -> None:
        """Form 2 chains the checksums and lets each record carry its form. Every record is verified on the way.

        One transaction: the file is of the one form or of the other.

        Raises:
            JournalDamagedError: The middle is damaged; the file stays as it was.
        """
        db = self._db
        db.execute("DROP TABLE IF EXISTS snapshots")  # form 1 has none, save in a version that was never released
        db.execute("ALTER TABLE records RENAME TO records_1")
        for statement in _STATEMENTS[1:]:
            db.execute(statement)
        newest = _rows(db.execute(f"{_SELECT_1} ORDER BY seq DESC LIMIT {TORN_RECORDS_MAX + 2}"))
        end, reason = find_end(newest, journal_id, self.name, seal_form_1)
        chain = seed(journal_id)
        old = (Row(*row) for row in db.execute(f"{_SELECT_1} WHERE seq <= {end} ORDER BY seq"))
        for row, _ in verified(old, 0, chain, self.name, seal_form_1):
            chain = seal(chain, row.form, row.kind, row.payload)
            db.execute(_INSERT, (row.seq, row.kind, row.form, row.payload, chain))
        if reason:
            statement = f"INSERT INTO torn SELECT 1, ?, * FROM ({_SELECT_1} WHERE seq > ?)"  # noqa: S608 - constants
            db.execute(statement, (reason, end))
            self.warnings += (torn_report(end, newest[0].seq, reason),)
        db.execute("DROP TABLE records_1")
        db.execute("UPDATE meta SET value = ? WHERE key = 'form'", (str(FORM),))

    # -- reading --------------------------------------------------------------------------------

    def newest(self, limit: int) -> list[Row]:
        """The last rows, newest first."""
        with self._said(_NOT_READ):
            return _rows(self._read_db.execute(f"{self._select} ORDER BY seq DESC LIMIT {limit}"))

    def page(self, after: int, limit: int) -> list[Row]:
        """Some rows above a number. Where the file itself is damaged, those before the damage; then the damage."""
        statement = f"{self._select} WHERE seq > ? ORDER BY seq LIMIT ?"
        try:
            return _rows(self._read_db.execute(statement, (after, limit)))
        except sqlite3.Error as error:
            rows: list[Row] = []
            with contextlib.suppress(sqlite3.Error):
                while len(rows) < limit:
                    rows += _rows(self._read_db.execute(statement, (rows[-1].seq if rows else after, 1)))
            if rows:
                return rows
            message = f"{self.name}: journal record {after + 1} cannot be read from the file: {error}"
            raise JournalDamagedError(message, after + 1, "", str(error)) from None

    def snapshots(self) -> list[int]:
        """The record numbers after which there are snapshots, newest first."""
        if self._head.form < FORM:
            return []
        with self._said(_NOT_READ):
            return [row[0] for row in self._read_db.execute("SELECT seq FROM snapshots ORDER BY seq DESC")]

    def snapshot(self, seq: int) -> SnapshotRow | None:
        """One of them."""
        with self._said(_NOT_READ):
            found = self._read_db.execute("SELECT seq, content, crc FROM snapshots WHERE seq = ?", (seq,)).fetchone()
        return None if found is None else SnapshotRow(*found)

    def torn(self) -> list[TornRow]:
        """What was put aside."""
        if self._head.form < FORM:
            return []
        with self._said(_NOT_READ):
            found = self._read_db.execute(f"SELECT cut, reason, {_ROW} FROM torn ORDER BY cut, seq").fetchall()  # noqa: S608 - constants
        return [TornRow(cut, reason, Row(*row)) for cut, reason, *row in found]

    def size(self) -> int:
        """The bytes of the file and of what is not yet merged into it."""
        files = (self.path, Path(f"{self.path}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def written_before(self) -> int:
        """What the lock file remembers."""
        return self._ownership.marked(self._head.journal_id) if self._ownership is not None else 0

    def copy_to(self, target: Path) -> None:
        """Copy the whole file as it is at one moment, also while its owner writes (SQLite's online backup)."""
        with self._said(_NOT_COPIED), contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
            self._read_db.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it

    # -- writing --------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> None:
        """One durable commit."""
        with self._said(_NOT_WRITTEN), self._transaction():
            self._db.executemany(_INSERT, rows)
        self.remember(rows[-1].seq)

    def remember(self, seq: int) -> None:
        """In the lock file."""
        if self._ownership is not None:
            self._ownership.mark(self._head.journal_id, seq)

    def write_snapshot(self, row: SnapshotRow, keep: int) -> None:
        """One durable commit."""
        with self._said(_NOT_WRITTEN), self._transaction():
            self._db.execute("INSERT OR REPLACE INTO snapshots (seq, content, crc) VALUES (?, ?, ?)", row)
            self._db.execute(
                "DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)", (keep,)
            )

    def cut(self, after: int, reason: str) -> None:
        """Put every row above ``after`` aside."""
        with self._said(_NOT_WRITTEN), self._transaction():
            number = self._db.execute("SELECT coalesce(max(cut), 0) + 1 FROM torn").fetchone()[0]
            self._db.execute(
                f"INSERT INTO torn SELECT ?, ?, {_ROW} FROM records WHERE seq > ?",  # noqa: S608 - constants
                (number, reason, after),
            )
            self._db.execute("DELETE FROM records WHERE seq > ?", (after,))
            self._db.execute("DELETE FROM snapshots WHERE seq > ?", (after,))

    def merge(self) -> None:
        """Bring everything into the one file, without a log beside it, for a file that is about to be moved."""
        with self._said(_NOT_WRITTEN):
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            self._db.execute("PRAGMA journal_mode=DELETE")

    def close(self) -> None:
        """Let go of the file, and of the lock on it."""
        try:
            for db in (self._reader, self._db):
                if db is not None:
                    db.close()
        finally:
            if self._ownership is not None:
                self._ownership.release()
                self._ownership = None

    # -- inside ---------------------------------------------------------------------------------

    @property
    def _select(self) -> str:
        return f"SELECT {_ROW} FROM records" if self._head.form > 1 else _SELECT_1.replace("records_1", "records")  # noqa: S608 - constants

    @property
    def _read_db(self) -> sqlite3.Connection:
        """A connection of its own beside the writer's: it sees only what is committed."""
        if self._ownership is None:
            return self._db
        if self._reader is None:
            self._reader = self._connect()
            self._reader.execute("PRAGMA query_only=1")
        return self._reader

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)

    def _connect_to_read(self) -> sqlite3.Connection:
        if not self.path.is_file():
            message = f"there is no journal {self.path}"
            raise JournalError(message)
        address = self.path.resolve().as_uri()
        # Opened for writing where that is possible, and never used for it: so the log's files beside the journal, which
        # even a reader needs, are gone again afterwards.
        db = sqlite3.connect(f"{address}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA query_only=1")
            db.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            db.close()
            if Path(f"{self.path}-wal").exists():
                raise
            # Nothing may be written beside it, and nothing is: then it is all in the one file.
            return sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _said(self, sentence: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(sentence.format(path=self.path, error=error)) from None


def _rows(cursor: sqlite3.Cursor) -> list[Row]:
    return [Row(*row) for row in cursor.fetchall()]
