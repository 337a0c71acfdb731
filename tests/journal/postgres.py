"""A real PostgreSQL server for tests: the one that answers, or one that is started for them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from holdfast.journal import DatabaseUrl

_ADDRESS = os.environ.get("HOLDFAST_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
PASSWORD = "open sesame"
_UNPRIVILEGED = ("postgres", "nobody")


class Server:
    """A server of our own: it can be stopped, killed and started again.

    Args:
        folder: Where it keeps its data.
        user: Who runs it, where we are root (PostgreSQL refuses to run as root).
    """

    def __init__(self, folder: Path, user: str | None) -> None:
        self.data = folder / "data"
        self._folder = folder
        self._user = user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def url(self, user: str = "postgres", password: str = PASSWORD, options: str = "") -> DatabaseUrl:
        """The address for a user."""
        return DatabaseUrl(
            f"postgresql://{user}:{password.replace(' ', '%20')}@127.0.0.1:{self.port}/postgres{options}"
        )

    def create(self) -> None:
        """Make the data; passwords are asked for."""
        secret = self._folder / "password"
        secret.write_text(PASSWORD, encoding="ascii")
        secret.chmod(0o644)
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--pwfile", str(secret), "-A", "scram-sha-256", "-N"
        )

    def start(self) -> None:
        """Return once it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=20"
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self._folder / "log"), "-o", options, "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        """As a crash would (``immediate``), or in order (``fast``)."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def _run(self, *command: str) -> None:
        environment = {**os.environ, "LC_ALL": "C"}
        # Its output goes to a file: the server that pg_ctl starts would hold a pipe open.
        with (self._folder / "output").open("ab") as output:
            subprocess.run(
                command, stdout=output, stderr=output, user=self._user, env=environment, cwd=self._folder, check=True
            )


@contextlib.contextmanager
def own_server() -> Iterator[Server]:
    """A server of our own, running; skips where there is none to start."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("initdb and pg_ctl are not installed: no PostgreSQL server can be started")
    user = None
    if os.geteuid() == 0:
        known = {entry.pw_name for entry in pwd.getpwall()}
        user = next((name for name in _UNPRIVILEGED if name in known), None)
        if user is None:
            pytest.skip("we are root, and nobody is there to run a PostgreSQL server")
    folder = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        server = Server(folder, user)
        server.create()
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # a test may have stopped it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
