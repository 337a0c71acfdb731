"""A real PostgreSQL server for tests: the one that answers, or one that is started for them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import psycopg
import pytest

from holdfast.journal import DatabaseUrl
from holdfast.testing.postgres import PASSWORD, why_no_server
from holdfast.testing.postgres import PostgresServer as Server
from holdfast.testing.postgres import own_server as start_server

__all__ = ["PASSWORD", "Schemas", "Server", "answering_server", "own_server"]

_ADDRESS = os.environ.get("HOLDFAST_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")


@contextlib.contextmanager
def own_server() -> Iterator[Server]:
    """A server of our own, running; skips where there is none to start."""
    if reason := why_no_server():
        pytest.skip(reason)
    with start_server() as server:
        yield server


def answering_server() -> str | None:
    """The address of the server that is there; None where none answers."""
    try:
        with psycopg.connect(_ADDRESS, connect_timeout=2):
            return _ADDRESS
    except psycopg.OperationalError:
        return None


class Schemas:
    """Schemas of a server that are dropped in the end.

    Args:
        address: The server's database.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._names: list[str] = []

    def url(self, name: str) -> DatabaseUrl:
        """The address of a schema; made if it is not there."""
        if name not in self._names:
            self._names.append(name)
            self.run(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
        joint = "&" if "?" in self.address else "?"
        return DatabaseUrl(f"{self.address}{joint}options=-csearch_path%3D{name}")

    def run(self, statement: str) -> None:
        """Do something."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute(statement.encode())

    def drop(self) -> None:
        """Remove them all."""
        for name in self._names:
            self.run(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
