"""The venue's memory: what was asked of it, and how far the replay had come. Survives SIGKILL at any moment.

The engine is deterministic, so its state need not be stored. The book holds two things:

- ``inputs``: everything that came from outside and changed something (an account opened, an order
  accepted, a cancel accepted), each with the moment of the replay at which it came, append-only;
- ``cursor``: how far the replay has come, one row, overwritten by each advance.

A restart replays the inputs through the engine and arrives at the same orders, executions and ids.
Each input also records how many events the engine had given by then. A replay that counts otherwise
(another engine, a damaged file) is refused and never shown to a client.

Two kinds of commit, because they protect different things. WAL mode keeps commits in order, and the
operating system keeps what was written when the process is killed, so both kinds survive SIGKILL:

- a commit that holds an input or follows a fill is synchronous (``FULL``): it also survives a power cut;
- a commit that only moves the cursor is not synced (``NORMAL``, about 20 us instead of 250): a power
  cut may lose the bars since the last synced commit, in which nothing happened to any order. The next
  synced commit carries the earlier moves with it.

One process owns a book: SQLite's exclusive locking mode, which the kernel releases however the owner
dies. The owner's process id lies beside the book for the error message.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import msgspec

from holdfast.model.errors import VenueError

# A book written under another format, or by an engine that decides otherwise, must not be replayed.
FORMAT = "1"
BOOK_ID_BITS = 40
_BOOK_ID = "book_id"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inputs (
    number INTEGER PRIMARY KEY,
    steps INTEGER NOT NULL,
    now INTEGER NOT NULL,
    account INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    events INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS cursor (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    steps INTEGER NOT NULL,
    now INTEGER NOT NULL,
    events INTEGER NOT NULL
);
"""
_MOVE = "INSERT OR REPLACE INTO cursor VALUES (1, ?, ?, ?)"

_RETRY_SECONDS = 0.05


class Cursor(msgspec.Struct, frozen=True):
    """A moment of the replay.

    Attributes:
        steps: Market steps done (openings and ends of bars); moves of time alone are not counted.
        now: The venue's time (UTC ns).
        events: Events that all engines had given by then.
    """

    steps: int
    now: int
    events: int


class Input(msgspec.Struct, frozen=True):
    """Something from outside that changed the venue, and the moment at which it did.

    Attributes:
        at: When; the state into which the input is put.
        account: Number of the account; 0 for what an operator does.
        kind: ``open``, ``operate``, or what an account is asked for: ``submit``, ``cancel``, ...
        body: The details, as JSON.
    """

    at: Cursor
    account: int
    kind: str
    body: bytes


class Book:
    """An open book. Made by ``open_book``.

    Attributes:
        path: Its file.
        book_id: A number that the ids of its orders and executions are made of, chosen when the book was made.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, book_id: int = 0, *, temporary: bool = False
    ) -> None:
        self.path = path
        self.book_id = book_id
        self._connection = connection
        self._temporary = temporary
        self._added: list[Input] = []
        self._synced = True
        (self._count,) = connection.execute("SELECT count(*) FROM inputs").fetchone()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def cursor(self) -> Cursor | None:
        """Where the replay stood at the last commit; None in a new book."""
        row = self._connection.execute("SELECT steps, now, events FROM cursor").fetchone()
        return None if row is None else Cursor(*row)

    def inputs(self) -> Iterator[Input]:
        """All committed inputs, in order."""
        rows = self._connection.execute("SELECT steps, now, events, account, kind, body FROM inputs ORDER BY number")
        for steps, now, events, account, kind, body in rows:
            yield Input(Cursor(steps, now, events), account, kind, body)

    def add(self, entry: Input) -> None:
        """Take an input into the next commit."""
        self._added.append(entry)

    def commit(self, cursor: Cursor, *, durable: bool) -> None:
        """Write the inputs added since the last commit, and the cursor, in one transaction.

        Args:
            cursor: How far the replay has come.
            durable: Sync to disk. Always done when there are inputs.

        Raises:
            VenueError: The book cannot be written. The engine is then ahead of it: stop.
        """
        execute = self._connection.execute
        synced = durable or bool(self._added)
        try:
            if synced is not self._synced:
                execute("PRAGMA synchronous = FULL" if synced else "PRAGMA synchronous = NORMAL")
                self._synced = synced
            if not self._added:
                execute(_MOVE, (cursor.steps, cursor.now, cursor.events))  # one statement is a transaction of its own
                return
            execute("BEGIN")
            for entry in self._added:
                self._count += 1
                at = entry.at
                execute(
                    "INSERT INTO inputs VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (self._count, at.steps, at.now, entry.account, entry.kind, entry.body, at.events),
                )
            execute(_MOVE, (cursor.steps, cursor.now, cursor.events))
            execute("COMMIT")
        except sqlite3.Error as error:
            message = f"the venue's book {self.path} cannot be written: {error}"
            raise VenueError(message) from error
        self._added.clear()

    def close(self) -> None:
        """Release the book. A temporary one is removed."""
        self._connection.close()
        _owner_file(self.path).unlink(missing_ok=True)
        if self._temporary:
            shutil.rmtree(self.path.parent, ignore_errors=True)


async def open_book(
    path: Path | None, identity: Mapping[str, str], *, book_id: int | None = None, wait_seconds: float = 5.0
) -> Book:
    """Open the book at a path, or make it.

    Args:
        path: The file; None makes a temporary one, removed when closed.
        identity: What the book was made for (data, fees, ...); the book of another venue is refused.
        book_id: The id of a new book; None draws one, so that no two books give the same ids to a client.
        wait_seconds: How long to wait for a previous owner, which may be dying (real seconds).

    Raises:
        VenueError: Another process keeps the book, it is no book, or it belongs to other data or settings.
    """
    temporary = path is None
    if path is None:
        path = Path(tempfile.mkdtemp(prefix="holdfast-venue-")) / "book.sqlite"
    connection = await _own(path, wait_seconds)
    try:
        new_id = secrets.randbits(BOOK_ID_BITS) if book_id is None else book_id
        kept_id = _check_identity(connection, path, {"format": FORMAT, **identity}, new_id)
    except BaseException:
        connection.close()
        _owner_file(path).unlink(missing_ok=True)
        raise
    return Book(connection, path, kept_id, temporary=temporary)


def memory_book(book_id: int) -> Book:
    """A new book that lives as long as this process: for simulations, in which a venue is restarted but no disk is."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.executescript(_SCHEMA)
    return Book(connection, Path("book-in-memory"), book_id)


async def _own(path: Path, wait_seconds: float) -> sqlite3.Connection:
    """A connection that holds the file's exclusive lock."""
    attempts = max(1, round(wait_seconds / _RETRY_SECONDS))
    for attempt in range(1, attempts + 1):
        connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            # Exclusive mode must be chosen before WAL is entered: then the lock is held until the connection closes.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            busy = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
            if not busy:
                message = f"the venue's book {path} cannot be opened: {error}"
                raise VenueError(message) from error
            if attempt == attempts:
                message = f"the venue's book {path} is in use by {_owner(path)}; stop that venue or name another book"
                raise VenueError(message) from error
        else:
            _owner_file(path).write_text(str(os.getpid()), encoding="ascii")
            return connection
        await asyncio.sleep(_RETRY_SECONDS)
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


def _check_identity(connection: sqlite3.Connection, path: Path, identity: Mapping[str, str], new_id: int) -> int:
    """Write the identity into a new book; compare it with that of a used one. Gives the book's id."""
    try:
        connection.executescript(_SCHEMA)
        known = dict(connection.execute("SELECT key, value FROM meta"))
        if not known:
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)", [*sorted(identity.items()), (_BOOK_ID, str(new_id))]
            )
            connection.execute("COMMIT")
            return new_id
    except sqlite3.Error as error:
        message = f"{path} is no venue book: {error}"
        raise VenueError(message) from error
    kept_id = int(known.pop(_BOOK_ID, new_id))
    for key in sorted(known.keys() | identity.keys()):
        was, now = known.get(key, "nothing"), identity.get(key, "nothing")
        if was != now:
            message = f"the venue's book {path} was made with {key} = {was}, this venue has {now}; name another book"
            raise VenueError(message)
    return kept_id


def _owner_file(path: Path) -> Path:
    return path.with_name(path.name + ".pid")


def _owner(path: Path) -> str:
    try:
        return f"process {_owner_file(path).read_text(encoding='ascii')}"
    except OSError:
        return "another process"
