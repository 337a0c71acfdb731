"""A PostgreSQL server of one's own: started for a test, stopped as by a crash, and started again.

It listens on the loopback interface alone, on a free port, and everything that it writes is in a folder that goes with it.
"""

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

from holdfast.journal import DatabaseUrl
from holdfast.testing.processes import ProcessFailedError

PASSWORD = "open sesame"  # noqa: S105 - of a server that lives as long as a test
_UNPRIVILEGED = ("postgres", "nobody")


class PostgresServer:
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
            subprocess.run(  # noqa: S603 - the server's own commands, with arguments that we wrote
                command, stdout=output, stderr=output, user=self._user, env=environment, cwd=self._folder, check=True
            )


def why_no_server() -> str:
    """What keeps this machine from starting one; empty where nothing does."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        return "initdb and pg_ctl are not on the path: no PostgreSQL server can be started"
    if os.geteuid() == 0 and _somebody() is None:
        return "we are root, and nobody is there to run a PostgreSQL server"
    return ""


@contextlib.contextmanager
def own_server() -> Iterator[PostgresServer]:
    """A server of our own, running; it ends with the block.

    Raises:
        ProcessFailedError: None can be started here.
    """
    if reason := why_no_server():
        raise ProcessFailedError(reason)
    user = _somebody() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        server = PostgresServer(folder, user)
        server.create()
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # somebody may have stopped it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _somebody() -> str | None:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in _UNPRIVILEGED if name in known), None)
