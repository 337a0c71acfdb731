"""The journal in PostgreSQL when the server, the wire or the rights fail."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
import pytest

from holdfast.journal import DatabaseUrl, read_owner
from holdfast.journal.postgres import PostgresJournal
from holdfast.journal.postgres_store import PostgresStore, bounded
from holdfast.model.errors import ConfigurationError, JournalError, JournalOwnedError
from holdfast.model.events import TimerFired
from tests.journal.conftest import schema_name
from tests.journal.postgres import PASSWORD, Schemas, Server
from tests.journal.proxy import Cut, Proxy, proxy


def timer(number: int) -> TimerFired:
    """A small event."""
    return TimerFired(ts=number, name=f"timer {number}")


@pytest.fixture
def url(schemas: Schemas, tmp_path: object) -> DatabaseUrl:
    """A schema of this test's own."""
    return schemas.url(schema_name(tmp_path))  # type: ignore[arg-type]  # only its text matters


@pytest.fixture
def wire(url: DatabaseUrl) -> Iterator[tuple[Proxy, DatabaseUrl]]:
    """A wire that can be cut, and the same schema by way of it."""
    parts = urlsplit(url.address)
    with proxy((parts.hostname or "127.0.0.1", parts.port or 5432)) as made:
        host = f"{parts.hostname}:{parts.port}"
        yield made, DatabaseUrl(url.address.replace(host, f"127.0.0.1:{made.port}"))


def do(url: DatabaseUrl, statement: str) -> None:
    """Do to the schema what nobody should."""
    with psycopg.connect(url.address, autocommit=True) as connection:
        connection.execute(statement.encode())


def numbers(url: DatabaseUrl) -> list[int]:
    """The records that are there."""
    with contextlib.closing(PostgresStore(url, read_only=True)) as store:
        store.open()
        return [row.seq for row in store.page(0, 1_000)]


##### A connection that is lost


@pytest.mark.parametrize("cut", [Cut.BEFORE_THE_REQUEST, Cut.AFTER_THE_REQUEST])
async def test_a_commit_that_nobody_answered_is_settled(wire: tuple[Proxy, DatabaseUrl], cut: Cut) -> None:
    """By looking: what is there counts, what is not is written once more. Each record is there once, and it goes on."""
    line, url = wire
    journal = PostgresJournal(url)
    journal.append_event(timer(1))
    await journal.sync()
    line.cut = cut
    journal.append_event(timer(2))
    journal.append_event(timer(3))

    await journal.sync()

    assert line.cuts == 1
    journal.append_event(timer(4))
    await journal.sync()
    assert [record.content for record in journal.records()] == [timer(number) for number in (1, 2, 3, 4)]
    owner = read_owner(url)  # signed anew, by the new session
    assert owner is not None
    journal.close()
    assert numbers(url) == [1, 2, 3, 4]


@pytest.mark.parametrize("again_at", [b"pg_locks", b"DELETE FROM holdfast_owner", b"SELECT crc FROM holdfast_records"])
async def test_a_server_that_goes_down_takes_the_next_connection_too(
    wire: tuple[Proxy, DatabaseUrl], again_at: bytes
) -> None:
    """It still let us in, and ended that session as well, wherever it was: one more is tried, within the bound."""
    line, url = wire
    journal = PostgresJournal(url)
    journal.append_event(timer(1))
    await journal.sync()
    line.lingers = True  # so the lock is not free at once, and its owner is looked for
    line.cut = Cut.BEFORE_THE_REQUEST
    journal.append_event(timer(2))
    line.cut_at = again_at

    await journal.sync()

    assert line.cuts == 2
    journal.append_event(timer(3))
    await journal.sync()
    journal.close()
    assert numbers(url) == [1, 2, 3]


async def test_a_connection_that_does_not_come_back_is_a_failure(wire: tuple[Proxy, DatabaseUrl]) -> None:
    """Within the bound, as one sentence, without the password; and nothing is built on it."""
    line, url = wire
    journal = PostgresJournal(url, patience_seconds=0.3)
    line.refuse = True
    line.cut = Cut.AFTER_THE_REQUEST
    journal.append_event(timer(1))

    with pytest.raises(
        JournalError, match=r"was lost \(.*\) and did not come back within 0\.3 s .* trading stops"
    ) as met:
        await journal.sync()

    assert "\n" not in str(met.value)
    with pytest.raises(JournalError, match="was lost"):
        journal.append_event(timer(2))
    with pytest.raises(JournalError, match="was lost"):
        journal.close()
    line.refuse = False
    again = PostgresJournal(url)  # it was there after all: the next run finds it
    assert [record.content for record in again.records()] == [timer(1)]
    again.close()


@pytest.mark.parametrize("silence", [cut for cut in Cut if cut.is_silent])
async def test_a_server_that_falls_silent_is_asked_over_another_connection(
    wire: tuple[Proxy, DatabaseUrl], silence: Cut
) -> None:
    """The connection stands, so no error would ever come. Its session still has the lock, and is ended first."""
    line, url = wire
    journal = PostgresJournal(url, patience_seconds=2.0)
    journal.append_event(timer(1))
    await journal.sync()
    line.lingers = True
    line.cut = silence
    journal.append_event(timer(2))

    await journal.sync()

    assert line.cuts == 1
    journal.append_event(timer(3))
    await journal.sync()
    journal.close()
    assert numbers(url) == [1, 2, 3]


async def test_a_server_that_stays_silent_is_a_failure(wire: tuple[Proxy, DatabaseUrl]) -> None:
    """Within the bound, whatever the connection looks like."""
    line, url = wire
    journal = PostgresJournal(url, patience_seconds=0.4)
    line.refuse = True
    line.cut = Cut.SILENCE_AFTER_THE_REQUEST
    journal.append_event(timer(1))

    with pytest.raises(
        JournalError, match=r"the server did not answer within 0\.2 s.* and did not come back within 0\.4 s"
    ):
        await journal.sync()

    with pytest.raises(JournalError, match="was lost"):
        journal.close()


def test_whoever_only_reads_is_answered_or_told_in_time(url: DatabaseUrl) -> None:
    """Every statement of every connection has its bound, and a quick one is not touched by it."""
    connection = bounded(psycopg, 0.3).connect(url.address, autocommit=True)
    assert connection.execute("SELECT pg_sleep(0.05), 7").fetchone() == ("", 7)

    with pytest.raises(psycopg.OperationalError, match=r"did not answer within 0\.3 s"):
        connection.execute("SELECT pg_sleep(30)")

    assert connection.closed


async def test_a_session_that_was_ended_is_replaced(url: DatabaseUrl) -> None:
    """An administrator ends every session of ours, idle as they are; the next sync does not notice."""
    journal = PostgresJournal(url)
    journal.append_event(timer(1))
    await journal.sync()
    list(journal.records())
    do(url, "SELECT pg_terminate_backend(backend) FROM holdfast_owner")

    journal.append_event(timer(2))
    await journal.sync()

    assert [record.seq for record in journal.records()] == [1, 2]
    journal.close()


async def test_who_took_the_journal_meanwhile_keeps_it(url: DatabaseUrl) -> None:
    """A session that was lost, and a second bot that came between: the first one stops, and writes nothing."""
    journal = PostgresJournal(url, patience_seconds=0.3)
    do(url, "SELECT pg_terminate_backend(backend) FROM holdfast_owner")
    other = _open_when_free(url)
    other.append_event(timer(100))
    await other.sync()
    journal.append_event(timer(1))

    with pytest.raises(JournalError, match="owned by another running process"):
        await journal.sync()

    with contextlib.suppress(JournalError):
        journal.close()
    assert [record.content for record in other.records()] == [timer(100)]
    other.close()


def _open_when_free(url: DatabaseUrl) -> PostgresJournal:
    """The ended session lets go a moment after it was told to."""
    for _ in range(200):
        with contextlib.suppress(JournalOwnedError):
            return PostgresJournal(url)
        with psycopg.connect(url.address) as waiting:
            waiting.execute("SELECT pg_sleep(0.02)")
    return PostgresJournal(url)


async def test_a_journal_that_was_changed_meanwhile_is_not_gone_on_with(url: DatabaseUrl) -> None:
    """While the connection was lost somebody else wrote: the end is not ours any more."""
    journal = PostgresJournal(url)
    journal.append_event(timer(1))
    await journal.sync()
    do(url, "SELECT pg_terminate_backend(backend) FROM holdfast_owner")
    do(url, "DELETE FROM holdfast_records")
    journal.append_event(timer(2))

    with pytest.raises(JournalError, match="was changed while the connection was lost: it ends at record 0"):
        await journal.sync()

    with contextlib.suppress(JournalError):
        journal.close()
    assert numbers(url) == []


##### A server of our own, which may be stopped


@pytest.mark.slow
async def test_a_server_that_is_restarted_underneath_loses_nothing(own: Server) -> None:
    """As a crash would end it: what was synced is there, and the journal goes on over the new server."""
    with psycopg.connect(own.url().address, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA restarted")
    url = own.url(options="?options=-csearch_path%3Drestarted")
    journal = PostgresJournal(url)
    for number in range(1, 4):
        journal.append_event(timer(number))
        await journal.sync()
        own.stop("immediate")
        own.start()
    journal.append_event(timer(4))
    await journal.sync()

    assert [record.content for record in journal.records()] == [timer(number) for number in range(1, 5)]
    journal.close()


@pytest.mark.slow
async def test_a_server_that_stays_away_fails_the_sync(own: Server) -> None:
    """One sentence; and opening it then is one, too."""
    with psycopg.connect(own.url().address, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA away")
    url = own.url(options="?options=-csearch_path%3Daway")
    journal = PostgresJournal(url, patience_seconds=0.3)
    own.stop("immediate")
    try:
        journal.append_event(timer(1))
        with pytest.raises(JournalError, match=r"did not come back within 0\.3 s \(connection failed"):
            await journal.sync()
        with contextlib.suppress(JournalError):
            journal.close()
        with pytest.raises(JournalError, match="cannot be used as a journal: connection failed") as met:
            PostgresJournal(url)
        assert "\n" not in str(met.value)
        assert PASSWORD.replace(" ", "%20") not in str(met.value)
    finally:
        own.start()


@pytest.mark.slow
async def test_a_server_that_is_restarted_while_the_journal_is_read_is_waited_for(own: Server) -> None:
    """Neither the first reading connection nor a later one is the end of a run that has only begun."""
    with psycopg.connect(own.url().address, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA reading")
    journal = PostgresJournal(own.url(options="?options=-csearch_path%3Dreading"))
    for number in range(1, 4):
        journal.append_event(timer(number))
    await journal.sync()

    for _ in range(2):
        own.stop("immediate")
        with ThreadPoolExecutor() as pool:
            reading = pool.submit(lambda: [record.content for record in journal.records()])
            own.start()
            assert reading.result() == [timer(number) for number in range(1, 4)]
    journal.close()


@pytest.mark.slow
async def test_a_server_that_stays_away_ends_the_reading_with_a_sentence(own: Server) -> None:
    """Which names no password."""
    with psycopg.connect(own.url().address, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA unread")
    journal = PostgresJournal(own.url(options="?options=-csearch_path%3Dunread"), patience_seconds=0.3)
    journal.append_event(timer(1))
    await journal.sync()
    own.stop("immediate")
    try:
        with pytest.raises(JournalError, match=r"lost while it was read and did not come back within 0\.3 s") as met:
            list(journal.records())
        assert PASSWORD.replace(" ", "%20") not in str(met.value)
        with contextlib.suppress(JournalError):
            journal.close()
    finally:
        own.start()


def test_a_wrong_password_is_one_sentence(own: Server) -> None:
    """Which names the user, and not the password."""
    with pytest.raises(JournalError, match="password authentication failed for user") as met:
        PostgresJournal(own.url(password="wrongword"))

    assert "wrongword" not in str(met.value)
    assert "\n" not in str(met.value)
    assert f"postgresql://postgres@127.0.0.1:{own.port}/postgres cannot be used as a journal" in str(met.value)


def test_a_user_without_rights_is_refused_at_once(own: Server) -> None:
    """One who may not make the tables, and one who may read them and not write."""
    with psycopg.connect(own.url().address, autocommit=True) as admin:
        admin.execute("DROP SCHEMA IF EXISTS guarded CASCADE")
        admin.execute("CREATE SCHEMA guarded")
        admin.execute("DROP ROLE IF EXISTS looker")
        admin.execute(f"CREATE ROLE looker LOGIN PASSWORD '{PASSWORD}'")
        admin.execute("GRANT USAGE ON SCHEMA guarded TO looker")
    options = "?options=-csearch_path%3Dguarded"

    with pytest.raises(JournalError, match="cannot be used as a journal: permission denied for schema guarded"):
        PostgresJournal(own.url("looker", options=options))

    PostgresJournal(own.url(options=options)).close()
    with psycopg.connect(own.url().address, autocommit=True) as admin:
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA guarded TO looker")
    with pytest.raises(JournalError, match="permission denied for table holdfast_meta"):
        PostgresJournal(own.url("looker", options=options))
    with contextlib.closing(PostgresStore(own.url("looker", options=options), read_only=True)) as reader:
        assert reader.open().form == 2  # looking is allowed
    with psycopg.connect(own.url().address, autocommit=True) as admin:
        admin.execute("DROP SCHEMA guarded CASCADE")
        admin.execute("DROP ROLE looker")


def test_a_read_only_database_is_refused_at_once(own: Server) -> None:
    """A standby, for instance."""
    with pytest.raises(
        JournalError, match=r"cannot be used as a journal: cannot execute .* in a read-only transaction"
    ):
        PostgresJournal(own.url(options="?options=-cdefault_transaction_read_only%3Don"))


async def test_what_the_server_confirms_is_on_its_disk(own: Server) -> None:
    """A default that would confirm sooner is not followed; a server that never flushes is reported."""
    with psycopg.connect(own.url().address, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA careless")
    journal = PostgresJournal(own.url(options="?options=-csearch_path%3Dcareless%20-csynchronous_commit%3Doff"))
    store = journal._store
    assert isinstance(store, PostgresStore)

    assert store._one("SHOW synchronous_commit") == "on"
    assert journal.reports == ()
    journal.close()


##### What is refused at the door


def test_a_schema_that_is_not_there_is_one_sentence(schemas: Schemas) -> None:
    """It is not made: a mistyped name should not start an empty journal somewhere."""
    joint = "&" if "?" in schemas.address else "?"

    with pytest.raises(JournalError, match="the schema of its search_path does not exist"):
        PostgresJournal(DatabaseUrl(f"{schemas.address}{joint}options=-csearch_path%3Dholdfast_nowhere"))


def test_a_newer_form_is_refused(url: DatabaseUrl) -> None:
    """And let go of, so that who can read it may."""
    PostgresJournal(url).close()
    do(url, "UPDATE holdfast_meta SET value = '3' WHERE key = 'form'")

    for _ in range(2):
        with pytest.raises(JournalError, match="form 3; this version of Holdfast reads up to form 2"):
            PostgresJournal(url)


def test_somebody_elses_tables_are_no_journal(url: DatabaseUrl) -> None:
    """They are told apart and left alone."""
    do(url, "CREATE TABLE holdfast_meta (key text, value text)")

    with pytest.raises(JournalError, match="no journal of Holdfast"):
        PostgresJournal(url)


def test_there_is_nothing_to_read_where_there_is_no_journal(url: DatabaseUrl) -> None:
    """Reading makes no tables."""
    with contextlib.closing(PostgresStore(url, read_only=True)) as store:
        with pytest.raises(JournalError, match=r"there is no journal in postgresql://.* \(schema holdfast_"):
            store.open()
        assert not store.exists()
    assert read_owner(url) is None


def test_without_the_driver_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is imported before it is needed."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'holdfast\[postgres\]'"):
        PostgresJournal("postgresql://somebody@127.0.0.1/x")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:secret@h:5/db?password=secret", "postgresql://u@h:5/db"),
        ("postgres://h/db", "postgresql://h/db"),
        ("postgresql://u:se@[::1]:5/db", "postgresql://u@[::1]:5/db"),
        ("postgresql://u:p@h:x/db", "postgresql://..."),
        ("postgresql:///db?host=127.0.0.1&password=secret", "postgresql:///db"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    """Wherever it stands; and it cannot come out by way of repr."""
    url = DatabaseUrl(address)

    assert str(url) == shown
    assert repr(url) == f"DatabaseUrl('{shown}')"
    assert url == DatabaseUrl(address)
    assert hash(url) == hash(DatabaseUrl(address))


def test_a_malformed_address_does_not_show_its_password() -> None:
    """The driver's complaint may quote the address."""
    with pytest.raises(JournalError) as met:
        PostgresJournal("postgresql://u:secret@127.0.0.1:port/db?nonsense=1")

    assert "secret" not in str(met.value)
    assert "cannot be used as a journal" in str(met.value)
