"""Rows in a schema of a PostgreSQL database: one statement per commit, an advisory lock for the owner.

The tables ``holdfast_meta``, ``holdfast_records``, ``holdfast_snapshots``, ``holdfast_torn`` and ``holdfast_owner`` are made in
the connection's first schema (``options=-csearch_path%3DNAME`` in the address chooses it): one journal per schema.

The session that writes holds a session-level advisory lock: nobody else can own the journal while that session lives, and
a session that is gone can write nothing any more. So a commit whose answer was lost with the connection can be settled: a
new session takes the lock, which it only gets when the old one has ended, and looks whether the batch is there. If it is, all
is well; if not, it is written once more. Where that cannot be done within ``patience_seconds``, the journal has failed.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.journal.owner import Owner, owned, this_process
from holdfast.journal.places import DatabaseUrl
from holdfast.journal.rows import FORM, Row, Seal, SnapshotRow, seal
from holdfast.journal.store import Head, TornRow
from holdfast.model.errors import ConfigurationError, JournalError, JournalOwnedError

if TYPE_CHECKING:
    from types import ModuleType

    from psycopg import Connection

T = TypeVar("T")

_STATEMENTS = (
    "CREATE TABLE holdfast_meta (key text PRIMARY KEY, value text NOT NULL)",
    """
    CREATE TABLE holdfast_records (
        seq bigint PRIMARY KEY,
        kind smallint NOT NULL,
        form smallint NOT NULL,
        payload bytea NOT NULL,
        crc bigint NOT NULL
    )
    """,
    "CREATE TABLE holdfast_snapshots (seq bigint PRIMARY KEY, content bytea NOT NULL, crc bigint NOT NULL)",
    """
    CREATE TABLE holdfast_torn (
        cut integer NOT NULL,
        reason text NOT NULL,
        seq bigint NOT NULL,
        kind smallint NOT NULL,
        form smallint NOT NULL,
        payload bytea NOT NULL,
        crc bigint NOT NULL,
        PRIMARY KEY (cut, seq)
    )
    """,
    """
    CREATE TABLE holdfast_owner (
        pid integer NOT NULL,
        host text NOT NULL,
        started_at bigint NOT NULL,
        birth text NOT NULL,
        backend integer NOT NULL
    )
    """,
)
# One statement is one transaction, one round trip and one flush of the server's log.
_INSERT = """
    INSERT INTO holdfast_records (seq, kind, form, payload, crc)
    SELECT * FROM unnest(%b::bigint[], %b::smallint[], %b::smallint[], %b::bytea[], %b::bigint[])
"""
_PATIENCE_SECONDS = 10.0
#: For whoever reads or copies a whole journal, and whom no order waits for.
UNHURRIED_SECONDS = 120.0
_RETRY_SECONDS = 0.1
_NOT_USABLE = "{name} cannot be used as a journal: {error}"
_NOT_READ = "the journal {name} cannot be read: {error}"
_NOT_WRITTEN = "the journal {name} could not be written: {error}; trading stops, nothing unsynced was sent"


class PostgresStore:
    """One schema.

    Args:
        url: Where the database is.
        read_only: For looking alone: takes no lock and writes nothing.
        journal_id: For a new journal; default: a random one.
        patience_seconds: How long a lost connection may take to come back, in the middle of a write.

    Raises:
        ConfigurationError: The driver is not installed.
        JournalError: The server cannot be reached, or refuses us.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        read_only: bool = False,
        journal_id: str | None = None,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self.url = url
        self.name = str(url)
        self.sealing: Seal = seal
        self.warnings: tuple[str, ...] = ()
        self._read_only = read_only
        self._new_id = journal_id or secrets.token_hex(16)
        self._patience_seconds = patience_seconds
        self._psycopg = load_driver(self.name)
        self._connection = bounded(self._psycopg, patience_seconds / 2)
        self._reader: Connection | None = None
        self._sessions: set[int] = set()  # the server's processes that were ours
        with self._said(_NOT_USABLE):
            self._db = self._connect()

    # -- opening --------------------------------------------------------------------------------

    def open(self) -> Head:
        """Look at the schema; make the tables where they may be made."""
        with self._said(_NOT_USABLE):
            if not self._read_only:
                self._own()
            exists = self._one("SELECT to_regclass('holdfast_meta')") is not None
            if not exists and self._read_only:
                message = f"there is no journal in {self.name} (schema {self._schema})"
                raise JournalError(message)
            if not exists:
                with self._db.transaction():
                    for statement in _STATEMENTS:
                        self._db.execute(statement)
                    for item in (("form", str(FORM)), ("journal_id", self._new_id)):
                        self._db.execute("INSERT INTO holdfast_meta (key, value) VALUES (%s, %s)", item)
            head = self._read_head()
            if not self._read_only:
                # Changes nothing of the journal; better to learn now than at the first order that nothing can be written.
                self._db.execute("UPDATE holdfast_meta SET value = value WHERE key = 'form'")
                self._sign()
                if self._one("SELECT current_setting('fsync')") == "off":
                    self.warnings += (
                        "the PostgreSQL server runs with fsync off: what it confirms may not be on its disk",
                    )
        return head

    def _read_head(self) -> Head:
        meta: dict[str, str] = dict(self._db.execute("SELECT key, value FROM holdfast_meta").fetchall())
        form = str(meta.get("form", ""))
        if not form.isdecimal() or not meta.get("journal_id"):
            message = f"{self.name} has tables of that name, but no journal of Holdfast"
            raise JournalError(message)
        if int(form) > FORM:
            message = f"{self.name} has journal form {form}; this version of Holdfast reads up to form {FORM}"
            raise JournalError(message)
        return Head(meta["journal_id"], int(form))

    # -- reading --------------------------------------------------------------------------------

    def newest(self, limit: int) -> list[Row]:
        """The last rows, newest first."""
        return [
            Row(*row)
            for row in self._read(
                "SELECT seq, kind, form, payload, crc FROM holdfast_records ORDER BY seq DESC LIMIT %s", (limit,)
            )
        ]

    def page(self, after: int, limit: int) -> list[Row]:
        """Some rows above a number, oldest first."""
        statement = "SELECT seq, kind, form, payload, crc FROM holdfast_records WHERE seq > %s ORDER BY seq LIMIT %s"
        return [Row(*row) for row in self._read(statement, (after, limit))]

    def snapshots(self) -> list[int]:
        """The record numbers after which there are snapshots, newest first."""
        return [row[0] for row in self._read("SELECT seq FROM holdfast_snapshots ORDER BY seq DESC")]

    def snapshot(self, seq: int) -> SnapshotRow | None:
        """One of them."""
        found = self._read("SELECT seq, content, crc FROM holdfast_snapshots WHERE seq = %s", (seq,))
        return SnapshotRow(*found[0]) if found else None

    def torn(self) -> list[TornRow]:
        """What was put aside."""
        statement = "SELECT cut, reason, seq, kind, form, payload, crc FROM holdfast_torn ORDER BY cut, seq"
        return [TornRow(cut, reason, Row(*row)) for cut, reason, *row in self._read(statement)]

    def size(self) -> int:
        """The bytes of the tables with their indexes."""
        statement = """
            SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relname LIKE 'holdfast\\_%%' AND relkind = 'r'
        """
        return int(self._read(statement)[0][0] or 0)

    def written_before(self) -> int:
        """Nothing is kept outside of the database."""
        return 0

    def remember(self, seq: int) -> None:
        """Nothing is kept outside of the database."""

    # -- writing --------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> None:
        """One durable commit; one that ended with the connection is settled."""
        self._persist(lambda: self._insert(rows), lambda: self._settle(rows))

    def write_snapshot(self, row: SnapshotRow, keep: int) -> None:
        """One durable commit; where the connection was lost, once more."""
        self._persist(lambda: self._insert_snapshot(row, keep), lambda: self._insert_snapshot(row, keep))

    def cut(self, after: int, reason: str) -> None:
        """Put every row above ``after`` aside."""
        with self._said(_NOT_WRITTEN), self._db.transaction():
            self._db.execute(
                """
                INSERT INTO holdfast_torn (cut, reason, seq, kind, form, payload, crc)
                SELECT (SELECT coalesce(max(cut), 0) + 1 FROM holdfast_torn), %s, seq, kind, form, payload, crc
                FROM holdfast_records WHERE seq > %s
                """,
                (reason, after),
            )
            self._db.execute("DELETE FROM holdfast_records WHERE seq > %s", (after,))
            self._db.execute("DELETE FROM holdfast_snapshots WHERE seq > %s", (after,))

    def owner(self) -> Owner | None:
        """Who holds the journal now; None where nobody does."""
        with self._said(_NOT_READ):
            return self._find_owner()

    def close(self) -> None:
        """Let go; the lock ends with the session."""
        for db in (self._reader, self._db):
            if db is not None:
                with contextlib.suppress(self._psycopg.Error):
                    db.close()

    @property
    def schema(self) -> str:
        """Where the tables are."""
        return self._schema

    def exists(self) -> bool:
        """Whether there is a journal."""
        with self._said(_NOT_READ):
            return self._one("SELECT to_regclass('holdfast_meta')") is not None

    @contextlib.contextmanager
    def as_one(self) -> Iterator[None]:
        """Everything that is written inside is there as a whole, or not at all."""
        with self._said(_NOT_WRITTEN), self._db.transaction():
            yield

    # -- inside ---------------------------------------------------------------------------------

    def _insert(self, rows: Sequence[Row]) -> None:
        self._db.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])

    def _insert_snapshot(self, row: SnapshotRow, keep: int) -> None:
        with self._db.transaction():
            self._db.execute(
                "INSERT INTO holdfast_snapshots (seq, content, crc) VALUES (%b, %b, %b) "
                "ON CONFLICT (seq) DO UPDATE SET content = excluded.content, crc = excluded.crc",
                row,
            )
            self._db.execute(
                "DELETE FROM holdfast_snapshots WHERE seq NOT IN "
                "(SELECT seq FROM holdfast_snapshots ORDER BY seq DESC LIMIT %s)",
                (keep,),
            )

    def _persist(self, work: Callable[[], None], again: Callable[[], None]) -> None:
        """Do it; where its session ends, do ``again`` over a new one, within the bound.

        Over another one still where a server that is going down took that one along.
        """
        until = time.monotonic() + self._patience_seconds
        with self._said(_NOT_WRITTEN):
            while True:
                try:
                    work()
                except self._psycopg.Error as error:
                    if not self._db.closed:
                        raise
                    self._reconnect(error, until)
                    work = again
                else:
                    return

    def _settle(self, rows: Sequence[Row]) -> None:
        """Find out what became of a batch whose commit was never answered; write it if it is not there."""
        found = self._one("SELECT crc FROM holdfast_records WHERE seq = %s", (rows[-1].seq,))
        if found == rows[-1].crc:
            return
        end = self._one("SELECT coalesce(max(seq), 0) FROM holdfast_records")
        if found is not None or end != rows[0].seq - 1:
            message = f"the journal {self.name} was changed while the connection was lost: it ends at record {end}"
            raise JournalError(message)
        self._insert(rows)

    def _reconnect(self, why: Exception, until: float) -> None:
        """A new session that owns the journal, within the bound; the old one has ended then, whatever became of it."""
        pause = threading.Event()
        while True:
            try:
                self._db = self._connect()
                self._own()
                self._sign()
            except (self._psycopg.Error, JournalOwnedError) as error:
                self._db.close() if not self._db.closed else None
                if time.monotonic() + _RETRY_SECONDS > until:
                    message = (
                        f"the connection to the journal {self.name} was lost ({_line(why)}) and did not come back "
                        f"within {self._patience_seconds:g} s ({_line(error)}); trading stops, nothing unsynced was sent"
                    )
                    raise JournalError(self._safe(message)) from None
                pause.wait(_RETRY_SECONDS)
            else:
                return

    def _connect(self) -> Connection:
        db: Connection = self._connection.connect(
            self.url.address,
            autocommit=True,
            connect_timeout=5,
            application_name="holdfast",
            client_encoding="UTF8",  # a server without an encoding would give us bytes for text
            keepalives=1,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=15_000,
        )
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: Connection) -> None:
        found = db.execute("SELECT current_schema()").fetchone()
        if found is None or found[0] is None:
            message = f"{self.name} cannot be used as a journal: the schema of its search_path does not exist"
            raise JournalError(message)
        self._schema = str(found[0])
        # Only the first: a table of that name further down the path is somebody else's.
        db.execute("SELECT set_config('search_path', quote_ident(%s), false)", (self._schema,))
        if self._read_only:
            db.execute("SET default_transaction_read_only = on")
            return
        db.execute("SET lock_timeout = '10s'")
        # What the server confirms must be on its disk, whatever its default is; more than that may stay.
        db.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        # A session of which we are gone ends soon, and its lock with it.
        for name, value in (("idle", "10"), ("interval", "5"), ("count", "3")):
            db.execute("SELECT set_config('tcp_keepalives_' || %s, %s, false)", (name, value))

    @property
    def _key(self) -> int:
        """The number of the lock: one per schema."""
        digest = hashlib.sha256(f"holdfast journal {self._schema}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def _own(self) -> None:
        """Take the lock, from a dead session of our own if need be."""
        self._sessions.add(self._db.info.backend_pid)
        if self._one("SELECT pg_try_advisory_lock(%s)", (self._key,)):
            return
        # Not by owner(): a server that dies right now is the driver's error here, which a reconnection survives.
        owner, holder = self._find_owner(), self._find_holder()
        if owner == this_process() and holder in self._sessions:
            # The server has not noticed yet that an old connection of ours is gone.
            self._db.execute("SELECT pg_terminate_backend(%s)", (holder,))
        raise owned(self.name, owner)

    def _find_owner(self) -> Owner | None:
        if self._find_holder() is None or self._one("SELECT to_regclass('holdfast_owner')") is None:
            return None
        found = self._db.execute("SELECT pid, host, started_at, birth FROM holdfast_owner").fetchone()
        return None if found is None else Owner(pid=found[0], host=found[1], started_at=found[2], birth=found[3])

    def _find_holder(self) -> int | None:
        """The server's process whose session has the lock."""
        found: int | None = self._one(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND (classid::bigint << 32) | objid::bigint = %s",
            (self._key,),
        )
        return found

    def _sign(self) -> None:
        """Say who we are."""
        me = this_process()
        with self._db.transaction():
            self._db.execute("DELETE FROM holdfast_owner")
            self._db.execute(
                "INSERT INTO holdfast_owner (pid, host, started_at, birth, backend) VALUES (%s, %s, %s, %s, %s)",
                (me.pid, me.host, me.started_at, me.birth, self._db.info.backend_pid),
            )

    def _one(self, statement: Any, parameters: Sequence[object] = ()) -> Any:
        found = self._db.execute(statement, parameters).fetchone()
        return None if found is None else found[0]

    def _read(self, statement: Any, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Ask over the reading connection; where it is lost or cannot be made, over a new one, within the bound."""
        until = time.monotonic() + self._patience_seconds
        pause = threading.Event()
        with self._said(_NOT_READ):
            while True:
                try:
                    return self._ask(statement, parameters)
                except self._psycopg.OperationalError as error:
                    if self._reader is not None and not self._reader.closed:
                        raise
                    if time.monotonic() + _RETRY_SECONDS > until:
                        message = (
                            f"the connection to the journal {self.name} was lost while it was read and did not come back "
                            f"within {self._patience_seconds:g} s ({_line(error)})"
                        )
                        raise JournalError(self._safe(message)) from None
                pause.wait(_RETRY_SECONDS)

    def _ask(self, statement: Any, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        if self._reader is None or self._reader.closed:
            self._reader = self._connect()
        with self._reader.cursor(binary=True) as cursor:
            return cursor.execute(statement, parameters).fetchall()

    @contextlib.contextmanager
    def _said(self, sentence: str) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            raise JournalError(self._safe(sentence.format(name=self.name, error=_line(error)))) from None

    def _safe(self, text: str) -> str:
        """Without the address as it was given: it may hold a password."""
        return text.replace(self.url.address, self.name)


def bounded(driver: ModuleType, seconds: float) -> type[Connection]:
    """A connection class of the driver's whose statements are answered within a time, or end it."""

    def within(work: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        # A protocol of the driver's: what is yielded is what to wait for, what is sent is what came; nothing, at intervals.
        until = time.monotonic() + seconds
        ready = None
        while True:
            try:
                waited_for = work.send(ready)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's value
            ready = yield waited_for
            if not ready and time.monotonic() > until:
                message = f"the server did not answer within {seconds:g} s"
                raise TimeoutError(message)

    class Bounded(driver.Connection):  # type: ignore[misc, name-defined]  # the driver is an extra
        def wait(self, work: Generator[Any, Any, T], *arguments: Any, **options: Any) -> T:
            try:
                return super().wait(within(work), *arguments, **options)  # type: ignore[no-any-return]  # as above
            except TimeoutError as error:
                self.pgconn.finish()
                raise driver.OperationalError(*error.args) from None

    return Bounded


def load_driver(name: str) -> ModuleType:
    """The driver, which is an extra.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import psycopg  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        message = f"the journal {name} needs the PostgreSQL driver: expected pip install 'holdfast[postgres]'"
        raise ConfigurationError(message) from None
    return psycopg


def _line(error: Exception) -> str:
    """A driver's message, which may have several lines, as one."""
    said = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    return " ".join(said.split()).rstrip(".")
