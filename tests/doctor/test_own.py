"""What is on our side of the wire: each check fails where there is reason to, and says what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from holdfast.doctor import State, Thresholds
from holdfast.doctor.own import _missing
from holdfast.journal import open_journal
from holdfast.model.events import StreamConnected
from holdfast.runner.halt_file import HaltFile, make_order
from holdfast.time import BacktestClock
from tests.doctor.conftest import KEY, SECRET, Look
from tests.doctor.stub import Stub
from tests.e2e.helpers import Commands


async def test_this_machine_is_well(look: Look) -> None:
    """Python, zones, defaults, environment, disk and port of whoever runs the tests."""
    for name in ("python", "time zones", "configuration", "environment", "strategy", "journal", "halt", "status port"):
        found = await look(name)
        assert (found.state, found.remedy) == (State.OK, ""), found


def test_a_library_that_is_missing_or_old_is_named() -> None:
    """With what was expected; extras and other platforms do not count."""
    short = list(_missing(["httpx>=99.1", "no-such-library>=1.0", "msgspec>=0.19", "polars>=999; extra == 'parquet'"]))

    assert len(short) == 2
    assert short[0].startswith("httpx is ")
    assert "expected 99.1" in short[0]
    assert short[1] == "no-such-library is not installed"


async def test_a_calendar_that_does_not_reach_today_is_told(look: Look) -> None:
    """As it will be one day, with a package that nobody upgraded."""
    found = await look("time zones", clock=BacktestClock(datetime(2099, 1, 1, tzinfo=UTC)))

    assert found.state is State.FAILED
    assert "exchange-calendars" in found.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[risk]\nmax_open_ordres = 3\n", "risk.max_open_ordres: no such setting"),
        ("[reconcile]\ninterval_seconds = 1\n", "greater than or equal to 5"),
        ("[limits]\nalpaca_trading = {limit = -1}\n", "limits.alpaca_trading"),
        ("[risk\n", "is not TOML"),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_told(look: Look, tmp_path: Path, text: str, said: str) -> None:
    """Unknown keys, ranges, limits and syntax, each by its place."""
    path = tmp_path / "my.toml"
    path.write_text(text)

    found = await look("configuration", path=path)

    assert found.state is State.FAILED
    assert said in found.said


async def test_a_secret_that_others_can_read_is_told(look: Look, tmp_path: Path) -> None:
    """And one in a file of one's own is not."""
    path = tmp_path / "my.toml"
    path.write_text(f'[alpaca]\napi_key = "{KEY}"\napi_secret = "{SECRET}"\n')
    path.chmod(0o644)

    found = await look("configuration", path=path)
    path.chmod(0o600)

    assert found.state is State.WARNING
    assert found.remedy.startswith("chmod 600")
    assert (await look("configuration", path=path)).state is State.OK


@pytest.mark.parametrize(
    ("name", "said", "remedy"),
    [
        ("HOLDFAST_RISKK__MAX_OPEN_ORDERS", "no such setting", "did you mean HOLDFAST_RISK?"),
        ("ALPACA_API_KEY", "does not read it", "APCA_API_KEY_ID"),
    ],
)
async def test_a_misspelt_variable_is_told(
    look: Look, monkeypatch: pytest.MonkeyPatch, name: str, said: str, remedy: str
) -> None:
    """Nobody would ever read it, and nobody would ever say so."""
    monkeypatch.setenv(name, "1")

    found = await look("environment")

    assert found.state is State.WARNING
    assert said in found.said
    assert remedy in found.remedy


async def test_a_strategy_that_cannot_be_made_is_told(look: Look) -> None:
    """By what the bot would say at its start."""
    found = await look("strategy", strategy={"source": "nowhere.py:Mine", "symbols": ["SPY"]})

    assert found.state is State.FAILED
    assert "no strategy file nowhere.py" in found.said


@pytest.mark.parametrize(
    ("key", "secret", "mode", "state", "said"),
    [
        (None, None, "paper", State.SKIPPED, "no keys are configured"),
        (None, None, "live", State.FAILED, "alpaca.api_key is not set"),
        ("AK" + KEY[2:], SECRET, "paper", State.FAILED, "as those of live accounts do"),
        (KEY, SECRET, "live", State.FAILED, "as those of paper accounts do"),
        (KEY, "short", "paper", State.WARNING, "shorter than Alpaca's"),
        (KEY, f"{SECRET[:20]} {SECRET[20:]}", "paper", State.FAILED, "holds a space"),
        (KEY, KEY, "paper", State.FAILED, "the same text"),
        (KEY, SECRET, "paper", State.OK, "of a paper account"),
    ],
)
async def test_keys_are_judged(
    look: Look, key: str | None, secret: str | None, mode: str, state: State, said: str
) -> None:
    """By what can be seen of them without asking anybody."""
    alpaca = {name: value for name, value in (("api_key", key), ("api_secret", secret)) if value is not None}

    found = await look("keys", alpaca=alpaca, account={"mode": mode, "live_confirmed": True})

    assert found.state is state
    assert said in found.said


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("https://api.alpaca.markets", State.FAILED),
        ("http://paper-api.alpaca.markets", State.WARNING),
        ("nonsense", State.FAILED),
        ("https://paper-api.alpaca.markets", State.OK),
    ],
)
async def test_the_address_is_judged(look: Look, url: str, state: State) -> None:
    """Real money by accident, keys in clear, and what is no address."""
    found = await look("address", alpaca={"api_key": KEY, "api_secret": SECRET, "base_url": url})

    assert found.state is state


# -- memory ---------------------------------------------------------------------------------------


async def test_a_damaged_journal_is_told(look: Look, tmp_path: Path) -> None:
    """By the record that is not what was written."""
    path = tmp_path / "the.journal"
    await _write(path)
    assert "5 records" in (await look("journal")).said
    with sqlite3.connect(path) as db:
        db.execute("UPDATE records SET payload = x'00' WHERE seq = 3")
    db.close()

    found = await look("journal")

    assert found.state is State.FAILED
    assert "3" in found.said


async def test_what_is_no_journal_is_told(look: Look, tmp_path: Path) -> None:
    """A name that points to something else."""
    (tmp_path / "the.journal").write_text("dear diary")

    assert (await look("journal")).state is State.FAILED


async def test_a_bot_that_runs_keeps_its_streams(look: Look, tmp_path: Path, stub: Stub) -> None:
    """The one connection of the account is the bot's: nothing is opened, and the owner is named."""
    path = tmp_path / "the.journal"
    journal = open_journal(path)
    try:
        for name in ("trade stream", "data streams"):
            found = await look(name, stub.url)
            assert found.state is State.SKIPPED
            assert str(os.getpid()) in found.said
        assert "a bot runs on it" in (await look("journal")).said
    finally:
        journal.close()

    assert (await look("trade stream", stub.url)).state is State.OK


async def test_a_halt_is_told(look: Look, tmp_path: Path) -> None:
    """With who and why, and how to lift it."""
    HaltFile(tmp_path / "the.journal").write(make_order("halted", "news at two"))

    found = await look("halt")

    assert found.state is State.WARNING
    assert "news at two" in found.said
    assert "holdfast resume" in found.remedy


async def test_a_disk_that_cannot_be_written_is_told(look: Look) -> None:
    """The folder is there, and takes no file, whoever asks."""
    found = await look("disk", journal={"path": "/proc/self/the.journal"})

    assert found.state is State.FAILED
    assert "nothing can be written" in found.said


@pytest.mark.parametrize(
    ("thresholds", "state"),
    [
        (Thresholds(free_warning=1 << 60), State.WARNING),
        (Thresholds(free_failed=1 << 60), State.FAILED),
        (Thresholds(sync_warning=0.0), State.WARNING),
        (Thresholds(sync_failed=0.0), State.FAILED),
        (Thresholds(sync_warning=60.0, sync_failed=60.0, free_warning=0, free_failed=0), State.OK),
    ],
)
async def test_a_full_or_slow_disk_is_told(look: Look, tmp_path: Path, thresholds: Thresholds, state: State) -> None:
    """Against thresholds that this disk does not keep; and nothing is left behind by looking."""
    before = await asyncio.to_thread(lambda: sorted(tmp_path.iterdir()))

    found = await look("disk", thresholds=thresholds)

    assert found.state is state
    assert await asyncio.to_thread(lambda: sorted(tmp_path.iterdir())) == before


# -- people ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_alerts_that_reach_nobody_are_told(commands: Commands) -> None:
    """No channel, a webhook that is none, and, when a test is asked for, one where nobody answers. The address is not shown."""

    def alerts(*options: str, webhook: str = "") -> dict[str, str]:
        channels = {"HOLDFAST_NOTIFY__SYSTEM": f'["{webhook}"]'} if webhook else {}
        said = commands.run("doctor", "--json", *options, env=channels)
        assert not webhook or webhook not in said.out
        found = msgspec.json.decode(said.out)["findings"]
        return next(finding for finding in found if finding["name"] == "alerts")

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"json://127.0.0.1:{closed.getsockname()[1]}/hook"
        understood, tried = alerts(webhook=dead), alerts("--notify", webhook=dead)

    assert alerts()["state"] == "warning"
    assert alerts(webhook="nonsense")["state"] == "failed"
    assert (understood["state"], "not tried" in understood["said"]) == ("ok", True)
    assert tried["state"] == "failed"


async def test_a_port_that_is_taken_is_told(look: Look) -> None:
    """Also a host that the world could reach, which nobody allowed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        found = await look("status port", status={"port": port})

    assert found.state is State.FAILED
    assert str(port) in found.said
    assert (await look("status port", status={"port": port})).state is State.OK
    assert (await look("status port", status={"host": "0.0.0.0", "port": port})).state is State.FAILED  # noqa: S104 - this is refused


async def _write(path: Path) -> None:
    journal = open_journal(path)
    try:
        for number in range(5):
            journal.append_event(StreamConnected(ts=number, stream="user"))
        await journal.sync()
    finally:
        journal.close()
