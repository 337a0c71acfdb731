"""The status API's server: uvicorn as a guest in the bot's own event loop.

Uvicorn likes to own its process: it installs signal handlers, exits when a port is taken, and waits
for slow clients before it stops. A bot cannot have any of that, for Ctrl-C must first settle orders, and a
forgotten browser tab must not delay the end. So this guest brings its own bound socket, hears no
signals, and is shown the door within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Generator

import structlog
import uvicorn

from holdfast.model.errors import ConfigurationError
from holdfast.web.app import StatusSource, create_app

_log = structlog.get_logger(__name__)

_GRACE_SECONDS = 0.5  # for answers that are on their way
_ABORT_SECONDS = 0.3  # for what is cut off after that
_BACKLOG = 64
_CONNECTIONS_MAX = 64  # more than a person and a supervisor need; the next one is told 503


class StatusServer:
    """Serves the status of one bot over HTTP, beside the bot.

    Args:
        source: What is shown.
        host: A loopback address, unless ``allow_remote`` says that the world may knock.
        port: 0 takes any free port; ``.port`` tells which.
        token: What a client must send; see ``create_app``.
        allow_remote: Accept a host that other machines can reach. There is no TLS here: put a proxy in front.

    Raises:
        ConfigurationError: The host is reachable from other machines and nobody allowed that, or the port or
            the token cannot be one.
    """

    def __init__(
        self,
        source: StatusSource,
        *,
        host: str = "127.0.0.1",
        port: int = 8787,
        token: str,
        allow_remote: bool = False,
    ) -> None:
        if not allow_remote and not _is_loopback(host):
            message = (
                f"the status API would listen on {host!r}, which other machines can reach "
                "(expected a loopback address such as 127.0.0.1, or allow_remote set on purpose)"
            )
            raise ConfigurationError(message)
        if not 0 <= port <= 65535:
            message = f"the status API cannot listen on port {port} (expected 0 to 65535)"
            raise ConfigurationError(message)
        self._app = create_app(source, token)
        self._host = host
        self._port = port
        self._bound_port = port
        self._server: _Guest | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on; before the start, the one it was asked to."""
        return self._bound_port

    @property
    def url(self) -> str:
        """Where to find it, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Returns when the first request can be answered; does nothing where it runs already.

        Raises:
            ConfigurationError: The port is in use, or the address is not one of this machine's.
        """
        if self._task is not None:
            return
        listener = _bind(self._host, self._port)
        self._bound_port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            self._app,
            http="httptools",
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS_MAX,
        )
        self._server = _Guest(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="holdfast-status-api")
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await self._task

    async def stop(self) -> None:
        """Stop within a second, whatever clients do; does nothing where it does not run."""
        server, task = self._server, self._task
        self._server = self._task = None
        if server is None or task is None:
            return
        server.should_exit = True
        await asyncio.wait({task}, timeout=_GRACE_SECONDS)
        if not task.done():
            server.cut_off()
            await asyncio.wait({task}, timeout=_ABORT_SECONDS)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Exception):
            # A window that broke is worth a line, never the bot's orderly end.
            _log.warning("status API ended with an error", error=repr(outcome))


class _Guest(uvicorn.Server):
    """A uvicorn server that hears no signals and says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the bot's."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets=sockets)
        self.ready.set()

    def cut_off(self) -> None:
        """Drop the connections that are still there."""
        self.force_exit = True
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name can point anywhere, tomorrow more than today


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound here so that a failure is ours to put into words."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        message = f"the status API cannot listen on {host!r}: {error.strerror} (expected an address of this machine)"
        raise ConfigurationError(message) from None
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # A restart need not wait for the last run's connections to time out; a live listener still refuses.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            message = (
                f"port {port} on {host} is in use, so the status API cannot listen there "
                "(expected a free port; 0 takes any)"
            )
        else:
            message = f"the status API cannot listen on {host}:{port}: {error.strerror} (expected a free port of ours)"
        raise ConfigurationError(message) from None
    return listener
