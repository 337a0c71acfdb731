"""An examination of one check, with what it needs, in a home of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.doctor import CHECKS, Check, Finding, Situation, Thresholds, examine
from holdfast.time import Clock
from tests.doctor.stub import Stub, running_stub
from tests.e2e.helpers import Commands

KEY, SECRET = "PKDOCTORDOCTORDOCTOR", "doctorsSecretDoctorsSecretDoctorsSecretX"
Look = Callable[..., Awaitable[Finding]]
_BY_NAME = {check.name: check for check in CHECKS}


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.upper().startswith(("APCA_", "ALPACA_", "HOLDFAST_", "MASSIVE_", "POLYGON_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "home"))


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    """A venue that says what the test wants."""
    async with running_stub() as running:
        yield running


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """The command as a process."""
    found = Commands(tmp_path)
    try:
        yield found
    finally:
        found.clean_up()


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Makes one check, after those that it needs; ``settings`` go over the defaults, ``url`` is where everything is."""

    async def make(
        name: str,
        url: str | None = None,
        *,
        path: Path | None = None,
        clock: Clock | None = None,
        thresholds: Thresholds | None = None,
        notify: bool = False,
        **settings: Any,
    ) -> Finding:
        values: dict[str, Any] = {"journal": {"path": tmp_path / "the.journal"}, **settings}
        if url is not None:
            addresses = {"base_url": url, "data_url": url, "market_stream_url": url.replace("http", "ws", 1)}
            values["alpaca"] = {"api_key": KEY, "api_secret": SECRET, **addresses, **settings.get("alpaca", {})}
        situation = Situation(path, values, clock=clock, thresholds=thresholds, notify=notify)
        found = [finding async for finding in examine(situation, _needed(name))]
        assert SECRET not in str(found)
        assert KEY not in str(found)
        return found[-1]

    return make


def _needed(name: str) -> tuple[Check, ...]:
    wanted, queue = {name}, [name]
    while queue:
        for need in _BY_NAME[queue.pop()].needs:
            wanted.add(need)
            queue.append(need)
    return tuple(check for check in CHECKS if check.name in wanted)
