"""Who owns a journal: a process id alone is not enough to end a process by.

Process ids are given out again. A pid in a file of yesterday may be somebody's editor today, so an owner is named
by its pid *and* the moment at which the process began, as the operating system tells it: whoever wants to end the
owner compares both, and leaves a process alone that merely has the number.

The moment is kept as text and only compared for equality: on Linux the ticks of ``/proc/PID/stat`` together with
the boot's id, elsewhere what ``ps -o lstart=`` prints.

To be the owner is to hold the lock; the lock's file only names who does. Whoever asks does not try the lock (a bot that
starts at that moment would be refused), but looks whether the process that the file names lives: an owner empties the
file before it lets go.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import msgspec

_STAT_START = 19  # of the fields after the command's name: field 22 of /proc/PID/stat


class Owner(msgspec.Struct, frozen=True):
    """A process that owns, or owned, a journal.

    Attributes:
        pid: Its number.
        started: When it began, in the operating system's words; empty where that is not known.
        host: The machine's name.
    """

    pid: int
    started: str = ""
    host: str = ""


def this_process() -> Owner:
    """Ourselves."""
    return Owner(os.getpid(), process_start(os.getpid()), platform.node())


def process_start(pid: int) -> str:
    """When a live process of this machine began, as text to compare; empty where there is none, or nothing is known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return _start_by_ps(pid)
    # The command's name stands in parentheses and may hold spaces and parentheses of its own.
    fields = stat.rpartition(")")[2].split()
    if fields[:1] in (["Z"], ["X"]):
        return ""  # it has ended, and only its parent does not know yet: its locks are free
    return f"{boot}:{fields[_STAT_START]}" if len(fields) > _STAT_START else ""


def _start_by_ps(pid: int) -> str:
    try:
        ps = subprocess.run(  # noqa: S603 - a fixed command and a number
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
            capture_output=True,
            timeout=5.0,
            check=False,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return " ".join(ps.stdout.decode(errors="replace").split())


def read_owner(journal: Path) -> Owner | None:
    """The live process that owns a journal; None where nobody does.

    A name without a start (an earlier version wrote it, or the system does not tell) is believed as long as some process
    has that pid: whoever wants to end it must know more, and will refuse.
    """
    try:
        owner = decode_owner(Path(f"{journal}.lock").read_bytes())
    except OSError:
        return None
    if owner is None:
        return None
    if owner.host not in ("", platform.node()):
        return owner  # another machine's: nobody here can tell
    found = process_start(owner.pid)
    return owner if found and owner.started in ("", found) else None


def encode_owner(owner: Owner) -> bytes:
    """For the lock file."""
    return msgspec.json.encode(owner)


def decode_owner(content: bytes) -> Owner | None:
    """The owner that a lock file names; None where it names none. A bare number is what earlier versions wrote."""
    text = content.strip()
    if text.isdigit():
        return Owner(int(text))
    try:
        return msgspec.json.decode(text, type=Owner)
    except msgspec.MsgspecError:
        return None
