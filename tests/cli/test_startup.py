"""What a command imports before it does its work: nothing heavy that it does not use."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.journal import open_journal
from holdfast.testing.processes import own_environment

# By a command's arguments, what it has no use for and must not wait for.
SPARED = {
    "--version": {"asyncio", "holdfast.journal", "httpx", "numpy", "pydantic", "rich", "sqlite3", "structlog"},
    "--help": {"asyncio", "holdfast.journal", "httpx", "numpy", "pydantic", "rich", "sqlite3", "structlog"},
    "status": {"fastapi", "holdfast.di.config", "holdfast.kernel", "numpy", "pandas", "structlog", "uvicorn"},
    "halt --journal the.journal": {"fastapi", "holdfast.kernel", "httpx", "numpy", "pandas", "structlog", "uvicorn"},
    "resume --journal the.journal": {"fastapi", "holdfast.kernel", "httpx", "numpy", "pandas", "structlog", "uvicorn"},
    "backtest --json": {"fastapi", "holdfast.brokers", "holdfast.web", "httpx", "pandas", "polars", "uvicorn"},
    # Its venue has kept the calendar before it is asked for here.
    "paper --synthetic F --sessions 1 --speed max --once --json --status-port 0": {
        "apprise",
        "numpy",
        "pandas",
        "polars",
    },
    # structlog would write to standard output, which is the venue's ready line alone, as long as nobody told it where to.
    "venue --exit-with-parent": {
        "fastapi",
        "holdfast.di",
        "holdfast.kernel",
        "holdfast.web",
        "httpx",
        "pandas",
        "structlog",
    },
}


def watched(folder: Path, arguments: str) -> tuple[set[str], str]:
    """The modules that a command has imported at its end, by Python's own account, and what it printed."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "holdfast", *arguments.split()],
        cwd=folder,
        env=own_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}, ended.stdout


def loaded(folder: Path, arguments: str) -> set[str]:
    """The modules alone."""
    return watched(folder, arguments)[0]


@pytest.mark.parametrize("arguments", SPARED)
def test_a_command_imports_nothing_heavy_that_it_does_not_use(tmp_path: Path, arguments: str) -> None:
    """Least of all those that somebody types in a hurry."""
    open_journal(tmp_path / "the.journal").close()

    found = loaded(tmp_path, arguments)

    assert "holdfast.cli.main" in found
    assert found & SPARED[arguments] == set()


def test_canary_what_is_imported_is_seen(tmp_path: Path) -> None:
    """Also deep inside a command, and a library by its name."""
    assert {"typer", "httpx", "holdfast.cli.inspect"} <= loaded(tmp_path, "status")


def test_only_the_first_command_that_asks_for_market_hours_imports_pandas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one finds the calendar where the first has kept it, and comes to the same."""
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    command = "backtest --synthetic SPY --sessions 1 --json"

    cold, said_first = watched(tmp_path, command)
    warm, said_then = watched(tmp_path, command)

    assert {"pandas", "exchange_calendars"} <= cold
    assert {"pandas", "exchange_calendars"} & warm == set()
    assert said_then == said_first
    assert '"bars":390' in said_then


@pytest.mark.parametrize(
    "package", sorted(path.parent.name for path in Path(holdfast.__path__[0]).glob("*/__init__.py"))
)
def test_every_public_name_of_a_package_is_there(package: str) -> None:
    """Also one that loads later; and what is not there is missed as anywhere else."""
    module = importlib.import_module(f"holdfast.{package}")

    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module 'holdfast.{package}' has no attribute 'Nonsense'"):
        module.Nonsense  # noqa: B018 - to look is to load
    with pytest.raises(ImportError, match=r"cannot import name 'Nonsense'"):
        exec(f"from holdfast.{package} import Nonsense")  # noqa: S102 - the statement is what is tested
