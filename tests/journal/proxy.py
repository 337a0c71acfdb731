"""A wire between a client and a PostgreSQL server that can be cut at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from enum import Enum


class Cut(Enum):
    """What the next request that writes records meets."""

    NOWHERE = "it passes"
    BEFORE_THE_REQUEST = "the connection ends before the server has seen the request"
    AFTER_THE_REQUEST = "the server carries it out, and the connection ends before the client has the answer"
    SILENCE_BEFORE_THE_REQUEST = "the server never sees the request, and the connection stands"
    SILENCE_AFTER_THE_REQUEST = "the server carries it out, no answer ever comes, and the connection stands"

    @property
    def is_silent(self) -> bool:
        """Whether the connection stands."""
        return self in {Cut.SILENCE_BEFORE_THE_REQUEST, Cut.SILENCE_AFTER_THE_REQUEST}


class Proxy:
    """Passes everything on, in both directions; cuts the connection on which records are written, once.

    Args:
        server: Host and port to pass on to.

    Attributes:
        cut: What the next write meets.
        cut_at: What the next request that ends its connection holds; before the server has seen it.
        lingers: Whether the server does not notice that a connection was cut.
        refuse: Whether new connections are closed at once.
        cuts: How many connections were cut.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut = Cut.NOWHERE
        self.cut_at = b""
        self.lingers = False
        self.refuse = False
        self.cuts = 0
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def start(self) -> None:
        """Begin to listen."""
        self._go(self._accept)

    def close(self) -> None:
        """End every connection."""
        for one in (self._listener, *self._sockets):
            _end(one)
        for thread in self._threads:
            thread.join(timeout=10)

    def _go(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # a method of ours
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                _end(client)
                continue
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            lost, silent = threading.Event(), threading.Event()
            self._go(self._to_server, client, server, lost, silent)
            self._go(self._to_client, client, server, lost, silent)

    def _to_server(
        self, client: socket.socket, server: socket.socket, lost: threading.Event, silent: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                if self.cut is not Cut.NOWHERE and b"INSERT INTO holdfast_records" in data:
                    cut, self.cut = self.cut, Cut.NOWHERE
                    self.cuts += 1
                    (silent if cut.is_silent else lost).set()
                    if cut is Cut.BEFORE_THE_REQUEST:
                        break
                    if cut is Cut.SILENCE_BEFORE_THE_REQUEST:
                        continue
                if self.cut_at and self.cut_at in data:
                    self.cut_at = b""
                    self.cuts += 1
                    break
                server.sendall(data)
        _end(client)
        if not self.lingers:
            _end(server)

    def _to_client(
        self, client: socket.socket, server: socket.socket, lost: threading.Event, silent: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if lost.is_set():
                    break  # the answer to the write that is cut: nobody hears it
                if not silent.is_set():
                    client.sendall(data)
        _end(client)
        _end(server)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        one.close()


@contextlib.contextmanager
def proxy(server: tuple[str, int]) -> Iterator[Proxy]:
    """A proxy for the length of a test."""
    made = Proxy(server)
    made.start()
    try:
        yield made
    finally:
        made.close()
