"""A line that cannot be written is lost, and nothing else: whoever logs goes on."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from holdfast.cli.logs import configure_logs
from holdfast.testing.processes import own_environment


class Full(io.StringIO):
    """A file on a disk without room."""

    def write(self, text: str) -> int:
        """Refuse."""
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        """Refuse."""
        raise OSError(28, "No space left on device")


def closed() -> io.StringIO:
    """A file that was closed."""
    file = io.StringIO()
    file.close()
    return file


def test_a_line_goes_to_standard_error_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to the one of the moment when logging was set up."""
    configure_logs()
    now = io.StringIO()
    monkeypatch.setattr(sys, "stderr", now)
    structlog.get_logger().warning("stream reconnects", attempt=2)
    assert '"event": "stream reconnects"' in now.getvalue()
    assert now.getvalue().endswith("}\n")


@pytest.mark.parametrize("gone", [Full, closed])
def test_a_line_that_cannot_be_written_is_lost_and_nothing_is_raised(
    gone: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised, it would end a stream that had only something to say."""
    configure_logs()
    monkeypatch.setattr(sys, "stderr", gone())
    structlog.get_logger().warning("nobody reads this")
    with pytest.raises((OSError, ValueError)):  # and the file does refuse
        sys.stderr.write("this")


def test_what_was_never_taken_does_not_change_the_exit_code(tmp_path: Path) -> None:
    """Python flushes standard error once more at its end, and would exit with 120."""
    ended = said_to(tmp_path, ("backtest", "--data", "no.csv"), "2>/dev/full")
    assert ended.returncode == 2


PAPER = ("paper", "--speed", "max", "--once", "--json")


def said_to(output: Path, arguments: tuple[str, ...], redirection: str) -> subprocess.CompletedProcess[bytes]:
    """What a command ends with whose descriptors a shell has redirected."""
    command = shlex.join([sys.executable, "-m", "holdfast", *arguments])
    return subprocess.run(
        ["/bin/sh", "-c", f"{command} {redirection}"],
        cwd=output,
        env={**own_environment(output / "home"), "PYTHONUNBUFFERED": ""},  # as at most users'
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_bot_that_can_tell_nobody_ends_its_session_as_ever(tmp_path: Path, redirection: str) -> None:
    """With its books compared and its summary printed."""
    ended = said_to(tmp_path, PAPER, redirection)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["drift"] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_summary_that_could_not_be_written_is_said(tmp_path: Path) -> None:
    """One sentence and a failure, no traceback."""
    ended = said_to(tmp_path, ("backtest", "--json"), ">/dev/full")
    assert ended.returncode == 1
    assert ended.stderr.decode().splitlines()[-1:] == ["holdfast: the output is not whole: No space left on device"]
