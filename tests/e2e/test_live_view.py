"""The live view, in a terminal that is one: it is drawn while the bot trades, and Ctrl-C ends both."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from holdfast.testing.processes import own_environment
from tests.e2e.helpers import PATIENCE, SAMPLE_SYMBOL, Commands, save_waves

CTRL_C = b"\x03"


class Terminal:
    """A pseudo-terminal with a process in its foreground."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.shown = ""

    def read(self) -> bool:
        """Take what has been shown since; False when the other side has hung up."""
        ready, _, _ = select.select([self._descriptor], [], [], 0.2)
        if ready:
            try:
                found = os.read(self._descriptor, 65_536)
            except OSError:
                return False
            self.shown += found.decode(errors="replace")
            return bool(found)
        return True

    def read_until(self, text: str) -> None:
        """Returns once it has been shown."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert self.read(), self.shown
            assert time.monotonic() < deadline, self.shown

    def press(self, key: bytes) -> None:
        """Type."""
        os.write(self._descriptor, key)

    def wait(self) -> int:
        """The exit code; what is still shown is read meanwhile, as a terminal does."""
        while self.read():
            if self.process.poll() is not None and not select.select([self._descriptor], [], [], 0)[0]:
                break
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def terminal(commands: Commands, *arguments: object) -> Iterator[Terminal]:
    """Run the command as the leader of a session on a terminal of its own, as a shell's window does."""
    ours, theirs = pty.openpty()
    script = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-m", "holdfast", *map(str, arguments)]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=commands.folder,
        env={**own_environment(commands.home), "TERM": "xterm-256color", "LINES": "40"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
        os.close(ours)


@pytest.mark.slow
@pytest.mark.parametrize("speed", ["600", "max"])
def test_the_live_view_is_shown_and_ctrl_c_ends_it_cleanly(commands: Commands, speed: str) -> None:
    """The market, the equity and the symbol are there; the terminal gets its cursor back; exit code 0."""
    data = save_waves(commands.folder / "waves.csv", 1_500)
    arguments = ["paper", "--data", data, "--symbol", SAMPLE_SYMBOL, "--speed", speed, "--param", "deviations=1.2"]
    with terminal(commands, *arguments) as screen:
        screen.read_until("built-in venue at")
        screen.read_until("\x1b[?25l")  # the view hides the cursor
        screen.read_until(SAMPLE_SYMBOL)
        screen.press(CTRL_C)
        assert screen.wait() == 0, screen.shown
        assert "\x1b[?25h" in screen.shown
        assert "Traceback" not in screen.shown
        assert "books equal the venue's" in screen.shown.splitlines()[-1]
