"""The command as real processes: started, watched from outside, killed, and asked what they hold.

Every process writes into files of a folder, so that no full pipe ever holds one up and what it said can be read while it
runs. Nothing waits for a guessed time: ``until`` looks again and again at what must become true.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from holdfast.net.tls import trusted_by

T = TypeVar("T")

#: The account that ``holdfast paper`` opens on a built-in venue where no keys are configured.
LOCAL_KEYS = {"APCA-API-KEY-ID": "HOLDFAST-LOCAL", "APCA-API-SECRET-KEY": "local-venue-only"}
_LAST_WORDS_SECONDS = 10.0
_PATIENCE_SECONDS = 120.0
_TICK_SECONDS = 0.02
_ORDERS_PAGE = 500


class ProcessFailedError(Exception):
    """A process ended that should not have, or never came to what it should."""


class Finished(msgspec.Struct, frozen=True):
    """How a process ended, and all that it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output; fails with what it said where it failed."""
        if self.code:
            message = f"ended with {self.code}; it said: {self.err[-2_000:]}"
            raise ProcessFailedError(message)
        found: dict[str, Any] = msgspec.json.decode(self.out)
        return found


class Command:
    """A running ``holdfast ARGUMENTS``.

    Args:
        folder: Where it runs and what it writes is kept; its home is there too, and no key of a user reaches it.
        name: Of its files.
        arguments: After ``holdfast``.
        environment: Settings beside those of the command line.
    """

    def __init__(
        self, folder: Path, name: str, arguments: Sequence[object], environment: Mapping[str, str] | None = None
    ) -> None:
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(  # noqa: S603 - our own command, with arguments that we wrote
                [sys.executable, "-m", "holdfast", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={**own_environment(folder / "home"), "PYTHONFAULTHANDLER": "1", **(environment or {})},
            )

    @property
    def out(self) -> str:
        """What it has written to standard output so far."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None

    def tick(self) -> None:
        """Let a moment pass; less if the process ends in it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_TICK_SECONDS)

    def until(self, look: Callable[[], T | None], seconds: float = _PATIENCE_SECONDS) -> T:
        """What ``look`` finds, as soon as it finds something.

        Raises:
            ProcessFailedError: The process ended before, or nothing was found in so many seconds: then it is ended, and
                has said in which line each of its threads was.
        """
        deadline = time.monotonic() + seconds
        while not (found := look()):
            if self.has_ended:
                message = f"{self._out.stem} ended with {self.process.returncode}; it said: {self.err[-2_000:]}"
                raise ProcessFailedError(message)
            if time.monotonic() > deadline:
                message = f"{self._out.stem} is waited for in vain; it said: {self._last_words()[-4_000:]}"
                raise ProcessFailedError(message)
            self.tick()
        return found

    def _last_words(self) -> str:
        """End it so that it says where it was: without that, what hung can only be guessed at."""
        self.process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST_WORDS_SECONDS)
        return self.err

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.kill()
        self.process.wait(_PATIENCE_SECONDS)

    def finish(self, number: signal.Signals | None = None) -> Finished:
        """Send it a signal, where one is given, and wait for its end, however it ends.

        Raises:
            ProcessFailedError: It does not end within ten minutes.
        """
        if number is not None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(5 * _PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            message = f"{self._out.stem} does not end; it said: {self.err[-2_000:]}"
            raise ProcessFailedError(message) from None
        return Finished(code, self.out, self.err)

    def end(self) -> dict[str, Any]:
        """Wait for its end; the one JSON object that it printed.

        Raises:
            ProcessFailedError: It ended with an error, or not within ten minutes.
        """
        finished = self.finish()
        if finished.code:
            message = f"{self._out.stem} ended with {finished.code}; it said: {finished.err[-2_000:]}"
            raise ProcessFailedError(message)
        return finished.json

    def venue_url(self) -> str:
        """Where the venue that it trades on is, from its first lines."""
        return self.until(lambda: self.word_after("built-in venue at "))

    def status_url(self) -> str:
        """Where its status API is."""
        return self.until(lambda: self.word_after("status  ")).removesuffix("/status")

    def word_after(self, mark: str) -> str | None:
        """The word after a mark in a complete line of standard error; None while there is none."""
        for line in self.err.splitlines(keepends=True):
            if mark in line and line.endswith("\n"):
                return line.partition(mark)[2].split()[0]
        return None


class VenueProcess(Command):
    """A ``holdfast venue`` that listens."""

    def __init__(self, folder: Path, name: str, arguments: Sequence[object]) -> None:
        super().__init__(folder, name, ("venue", *arguments))
        try:
            line = self.until(lambda: self.out if self.out.endswith("\n") else None)
        except ProcessFailedError:
            self.kill()  # whoever would end it was not given it
            raise
        self.url: str = msgspec.json.decode(line)["url"]

    @property
    def port(self) -> int:
        """Of its trading API."""
        return int(self.url.rpartition(":")[2])


def own_environment(home: Path) -> dict[str, str]:
    """This process's environment without any key or setting of a user, and with another home. The cache has nothing of a user."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key == "HOLDFAST_CACHE" or not key.startswith(("APCA_", "HOLDFAST_"))
    }
    return {**kept, "HOLDFAST_HOME": str(home), "COLUMNS": "100"}


def venue_state(url: str) -> dict[str, Any] | None:
    """What a venue says of itself; None while nobody answers."""
    try:
        found: dict[str, Any] = httpx.get(url + "/", timeout=5.0, trust_env=False, verify=trusted_by(url)).json()
    except (httpx.HTTPError, ValueError):
        return None
    return found


class VenueBooks(msgspec.Struct, frozen=True):
    """What the venue's REST API says of one account."""

    orders: list[dict[str, Any]]
    fills: list[dict[str, Any]]
    positions: dict[str, str]
    cash: str

    @classmethod
    def ask(cls, url: str, keys: Mapping[str, str] | None = None) -> VenueBooks:
        """All of it, page by page; of the account that ``holdfast paper`` opens, unless keys are given."""
        with httpx.Client(
            base_url=url, headers=keys or LOCAL_KEYS, timeout=30.0, trust_env=False, verify=trusted_by(url)
        ) as client:
            return cls(
                orders=list(_pages(client, "/v2/orders", {"status": "all", "limit": "500"}, "after_order_id")),
                fills=list(_pages(client, "/v2/account/activities/FILL", {"page_size": "100"}, "page_token")),
                positions={row["symbol"]: row["qty"] for row in _rows(client, "/v2/positions", {})},
                cash=client.get("/v2/account").raise_for_status().json()["cash"],
            )


def _pages(client: httpx.Client, path: str, query: dict[str, str], token: str) -> Iterator[dict[str, Any]]:
    last: dict[str, str] = {}
    while page := _rows(client, path, {**query, "direction": "asc", **last}):
        yield from page
        last = {token: page[-1]["id"]}


def _rows(client: httpx.Client, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(path, params=query).raise_for_status().json()
    return found
