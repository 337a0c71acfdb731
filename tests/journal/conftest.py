"""Journals of every kind in places of their own, and ways to do to them what nobody should."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from holdfast.journal import DatabaseUrl, JournalReader, open_journal
from holdfast.journal.rows import Row
from holdfast.journal.stored import StoredJournal
from tests.journal.postgres import Schemas, Server, answering_server, own_server


@pytest.fixture(scope="session")
def own() -> Iterator[Server]:
    """A PostgreSQL server that a test may stop."""
    with own_server() as server:
        yield server


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest) -> str:
    """Of the PostgreSQL server that answers; one is started where none does."""
    found = answering_server()
    if found is None:
        server: Server = request.getfixturevalue("own")
        found = server.url().address
    return found


@pytest.fixture
def schemas(address: str) -> Iterator[Schemas]:
    """Schemas of this test alone."""
    made = Schemas(address)
    yield made
    made.drop()


def schema_name(place: Path) -> str:
    """One name per place."""
    return "holdfast_" + hashlib.sha256(str(place).encode()).hexdigest()[:16]


class Bench:
    """One journal, whichever kind it is.

    Args:
        where: Where it is.
    """

    def __init__(self, where: Path | DatabaseUrl) -> None:
        self.where = where
        self.prefix = "holdfast_" if isinstance(where, DatabaseUrl) else ""

    def open(self) -> StoredJournal:
        """Own it."""
        return open_journal(self.where)

    def read(self) -> JournalReader:
        """Look at it."""
        return JournalReader(self.where)

    def do(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run a statement; ``{}`` stands before each table's name, ``?`` for a parameter."""
        statement = statement.format(self.prefix)
        if isinstance(self.where, DatabaseUrl):
            with psycopg.connect(self.where.address, autocommit=True) as server:
                cursor = server.execute(statement.replace("?", "%s").encode(), parameters)
                return cursor.fetchall() if cursor.description else []
        with contextlib.closing(sqlite3.connect(self.where, isolation_level=None)) as db:
            return db.execute(statement, parameters).fetchall()

    def rows(self) -> list[Row]:
        """What is there."""
        return [
            Row(*row)  # type: ignore[arg-type]  # the columns of a row
            for row in self.do("SELECT seq, kind, form, payload, crc FROM {}records ORDER BY seq")
        ]

    def put(self, row: Row) -> None:
        """Replace a record."""
        self.do("DELETE FROM {}records WHERE seq = ?", row.seq)
        self.do("INSERT INTO {}records (seq, kind, form, payload, crc) VALUES (?, ?, ?, ?, ?)", *row)

    def cut_payload(self, seq: int) -> None:
        """Leave the first half of a record's payload, as a write that was interrupted."""
        (row,) = [row for row in self.rows() if row.seq == seq]
        self.put(row._replace(payload=row.payload[: len(row.payload) // 2]))


@pytest.fixture(params=["sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A journal that does not exist yet, in a file and in PostgreSQL."""
    if request.param == "sqlite":
        return Bench(tmp_path / "bot.journal")
    schemas: Schemas = request.getfixturevalue("schemas")
    return Bench(schemas.url(schema_name(tmp_path)))
