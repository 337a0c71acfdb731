"""A venue that runs by itself, the command as a process, and the same work without one."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.cli.certify import Options, certify
from tests.e2e.helpers import Commands

KEY, SECRET = "PKCERTIFYCERTIFYCERT", "certifiesSecretCertifiesSecretCertifies1"
KEYS = {"APCA_API_KEY_ID": KEY, "APCA_API_SECRET_KEY": SECRET}
HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
Certified = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.upper().startswith(("APCA_", "HOLDFAST_")):
            monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """The command as a process."""
    found = Commands(tmp_path)
    try:
        yield found
    finally:
        found.clean_up()


@pytest.fixture
def certified(capsys: pytest.CaptureFixture[str]) -> Certified:
    """What ``holdfast certify --json`` prints, without a process of its own."""

    async def run(url: str | None, **options: Any) -> dict[str, Any]:
        is_equal = await certify(Options(venue=url, json=True, **options))
        found: dict[str, Any] = msgspec.json.decode(capsys.readouterr().out)
        assert is_equal is (found["differences"] == [])
        return found

    return run
