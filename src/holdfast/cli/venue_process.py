"""A venue as a process of its own, which ends when we do, however we end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast.cli.market import Market
from holdfast.model.errors import ConfigurationError, VenueError

# The keys of the built-in venue's account: any pair opens one, and these never leave this machine.
_LOCAL_KEYS = {"api_key": "HOLDFAST-LOCAL", "api_secret": "local-venue-only"}
_EXIT_USAGE = 2
_START_SECONDS = 60.0
_STOP_SECONDS = 3.0


class _Ready(msgspec.Struct):
    url: str
    admin: str


class VenueProcess:
    """A running ``holdfast venue``; its standard input is our lifeline to it.

    Attributes:
        url: Of its trading API.
        arguments: With which it is started again, in whichever folder, by whoever goes on from its book.
    """

    def __init__(self, process: asyncio.subprocess.Process, url: str, arguments: tuple[str, ...]) -> None:
        self._process = process
        self.url = url
        self.arguments = arguments

    @classmethod
    async def start(cls, market: Market, speed: str | float, book: Path | None) -> VenueProcess:
        """Start it and wait until it listens.

        Raises:
            VenueError: It ended instead; carries its own words.
            ConfigurationError: It refused its options or its data; carries its own words.
        """
        return await cls.start_again(_arguments(market, speed, book))

    @classmethod
    async def start_again(cls, arguments: Sequence[str]) -> VenueProcess:
        """The same, with the arguments of an earlier one."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "holdfast",
            "venue",
            *arguments,
            "--exit-with-parent",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is ours to handle: first the bot stops, then the venue
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await process.stdout.readline() if process.stdout is not None else b""
        except TimeoutError:
            process.kill()
            message = f"the venue did not start within {_START_SECONDS:.0f} s"
            raise VenueError(message) from None
        if not line:
            words = (await process.stderr.read()).decode(errors="replace") if process.stderr is not None else ""
            # Its exit code says whose fault it was, as ours does: 2 is what the user asked for.
            error = ConfigurationError if await process.wait() == _EXIT_USAGE else VenueError
            raise error(_last_words(words))
        return cls(process, msgspec.json.decode(line, type=_Ready).url, tuple(arguments))

    async def died(self) -> VenueError:
        """Returns when it ends although nobody stopped it."""
        drained = asyncio.create_task(_drain(self._process.stdout))
        words = await _drain(self._process.stderr)
        await self._process.wait()
        drained.cancel()
        return VenueError(f"the venue ended: {_last_words(words)}")

    async def stop(self) -> None:
        """Close its standard input; it writes its book and ends."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


def local_venue(values: Mapping[str, Any], url: str, *, keep_keys: bool = False) -> dict[str, Any]:
    """The same for a built-in venue: one address for everything, the market too, and keys that any such venue accepts."""
    url = url.rstrip("/")
    alpaca: dict[str, Any] = {"base_url": url, "data_url": url, "market_stream_url": url.replace("http", "ws", 1)}
    if not keep_keys or not os.environ.get("APCA_API_KEY_ID"):
        alpaca |= _LOCAL_KEYS
    return {**values, "alpaca": alpaca, "market_data": "alpaca"}


def _arguments(market: Market, speed: str | float, book: Path | None) -> list[str]:
    arguments = [*market.arguments(), "--speed", str(speed)]
    if "--data" in arguments:
        at = arguments.index("--data") + 1
        arguments[at] = str(Path(arguments[at]).absolute())
    return arguments if book is None else [*arguments, "--book", str(book.absolute())]


async def _drain(stream: asyncio.StreamReader | None) -> str:
    """Read to the end, so that a full pipe never stops the venue; the last lines are kept."""
    last = b""
    while stream is not None:
        line = await stream.readline()
        if not line:
            break
        last = line
    return last.decode(errors="replace")


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("holdfast: ") if lines else "it said nothing"
