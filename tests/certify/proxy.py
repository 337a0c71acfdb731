"""A wire that changes a few of the venue's words on their way, byte for byte, so that every length stays right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

_CHUNK = 1 << 16


class Wire:
    """Between a client and a venue.

    Args:
        port: Of the venue.
        changes: What is said instead of what.

    Attributes:
        changed: How often something was changed.
    """

    def __init__(self, port: int, changes: Mapping[bytes, bytes]) -> None:
        assert all(len(old) == len(new) for old, new in changes.items())
        self._port, self._changes = port, changes
        self.changed = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def upstream() -> None:
            while data := await reader.read(_CHUNK):
                up_writer.write(data)
                await up_writer.drain()

        async def downstream() -> None:
            while data := await up_reader.read(_CHUNK):
                for old, new in self._changes.items():
                    self.changed += data.count(old)
                    data = data.replace(old, new)
                writer.write(data)
                await writer.drain()

        tasks = {asyncio.create_task(upstream()), asyncio.create_task(downstream())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (writer, up_writer):
                end.close()


@asynccontextmanager
async def wire(port: int, changes: Mapping[bytes, bytes] | None = None) -> AsyncIterator[Wire]:
    """A wire to the venue at a port."""
    found = Wire(port, changes or {})
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    async with server:
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found
