"""Who owns a journal: one process at a time, told from outside by its pid and the moment of its birth.

A pid alone names nobody: numbers are used again. With it goes the process's *birth*, which the system keeps
and which no two processes of one machine share with the same pid. Whoever means to end an owner compares both.

A file is owned by an operating-system lock on ``FILE.lock``, which ends with the process however the process ends.
The lock file also says who holds it, and up to which record the journal was written (the *mark*): that is how a
journal that ends too early is noticed, because an older copy was put in its place, or because a disk lost what it had
confirmed. The mark is a hint and is not synced; without it nothing is lost but the notice.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import msgspec

from holdfast.journal.places import DatabaseUrl, to_place
from holdfast.model.errors import JournalError, JournalOwnedError
from holdfast.model.timestamps import NS_PER_SECOND, format_rfc3339, parse_rfc3339

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; there SQLite's own lock is the second line
    fcntl = None  # type: ignore[assignment]  # None stands for a system without it

_OWNER_BYTES, _MARK_BYTES = 512, 128
_PROC = Path("/proc")


class Owner(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A process that owns a journal, or did.

    Attributes:
        pid: Its number.
        host: The machine that it runs on.
        started_at: When it was started (UTC ns, to the system's precision); 0 where the system does not tell.
        birth: What tells it from every other process of that machine with this pid; empty where the system does not tell.
    """

    pid: int
    host: str
    started_at: int = 0
    birth: str = ""

    def __str__(self) -> str:
        """For people."""
        return f"pid {self.pid} on {self.host}{self.since}"

    @property
    def since(self) -> str:
        """When it was started, for people, to the second; empty where that is not known."""
        return (
            f", started {format_rfc3339(self.started_at // NS_PER_SECOND * NS_PER_SECOND)}" if self.started_at else ""
        )

    @property
    def is_here(self) -> bool:
        """Whether it ran on this machine."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs; True for one of another machine, of which nothing can be known."""
        if not self.is_here:
            return True
        if not self.birth:
            return _exists(self.pid)
        # Where the system told a birth once, none now means that the process is gone, or dead and not yet waited for.
        return _birth(self.pid)[0] == self.birth


def owned(journal: str, owner: Owner | None) -> JournalOwnedError:
    """The refusal that names the owner."""
    who = f"(pid {owner.pid}) on {owner.host}{owner.since}" if owner is not None else "that does not say who it is"
    return JournalOwnedError(f"the journal {journal} is owned by another running process {who}")


def this_process() -> Owner:
    """Ourselves, as an owner."""
    return owner_of(os.getpid())


def owner_of(pid: int) -> Owner:
    """A process of this machine, as an owner."""
    birth, started_at = _birth(pid)
    return Owner(pid=pid, host=socket.gethostname(), started_at=started_at, birth=birth)


# -- births -------------------------------------------------------------------------------------


def _birth(pid: int) -> tuple[str, int]:
    """What tells a process from others, and when it began (UTC ns); empty and 0 where it, or the knowledge, is missing."""
    try:
        # The name in brackets may hold spaces and brackets; the 20th field behind it counts ticks since the boot.
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()
        if fields[0] == "Z":
            return "", 0  # dead, and waiting for its parent to notice
        ticks = int(fields[19])
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        booted = next(line for line in (_PROC / "stat").read_text(encoding="ascii").splitlines() if line[:5] == "btime")
        return f"{boot}:{ticks}", int(booted.split()[1]) * NS_PER_SECOND + ticks * NS_PER_SECOND // os.sysconf(
            "SC_CLK_TCK"
        )
    except (OSError, ValueError, IndexError, StopIteration):
        return _birth_by_ps(pid) if not _PROC.is_dir() else ("", 0)


def _birth_by_ps(pid: int) -> tuple[str, int]:
    """The same on a system without /proc."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout  # noqa: S603 - a fixed command and a number
        day, month, number, time, year = said.split()
    except (OSError, ValueError, subprocess.CalledProcessError):
        return "", 0
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    started = f"{year}-{months.index(month) + 1:02}-{int(number):02}T{time}Z"
    return f"{day} {started}", parse_rfc3339(started)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


# -- the lock of a file -------------------------------------------------------------------------


class FileOwnership:
    """The lock on a journal file, held until ``release`` or the end of the process.

    Args:
        path: The journal.

    Raises:
        JournalError: The lock file cannot be opened or written.
        JournalOwnedError: A live process has it; names the process.
    """

    def __init__(self, path: Path) -> None:
        lock = lock_path(path)
        try:
            self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            message = f"the journal {path} cannot be opened: {error.strerror} ({lock})"
            raise JournalError(message) from None
        try:
            if fcntl is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._say(this_process())
        except BlockingIOError:
            owner = _parse_owner(os.pread(self._descriptor, _OWNER_BYTES, 0))
            os.close(self._descriptor)
            raise owned(str(path), owner) from None
        except OSError as error:
            os.close(self._descriptor)
            message = f"the journal {path} cannot be owned: {error.strerror} ({lock})"
            raise JournalError(message) from None

    def mark(self, journal_id: str, seq: int) -> None:
        """Note up to which record the journal is durable."""
        with contextlib.suppress(OSError):  # a hint: a full disk is noticed where it matters
            os.pwrite(self._descriptor, f"{journal_id} {seq}\n".encode().ljust(_MARK_BYTES), _OWNER_BYTES)

    def marked(self, journal_id: str) -> int:
        """The record that this journal had reached when it was last written here; 0 where nobody noted it."""
        said = os.pread(self._descriptor, _MARK_BYTES, _OWNER_BYTES).split()
        return int(said[1]) if len(said) == 2 and said[0] == journal_id.encode() and said[1].isdigit() else 0

    def release(self) -> None:
        """Let go: the next may come. The file stays, with its mark."""
        self._say(None)
        os.close(self._descriptor)

    def _say(self, owner: Owner | None) -> None:
        said = msgspec.json.encode(owner) if owner is not None else b""
        os.pwrite(self._descriptor, said.ljust(_OWNER_BYTES - 1) + b"\n", 0)


def lock_path(path: Path) -> Path:
    """The lock file of a journal file."""
    return Path(f"{path}.lock")


def read_owner(where: str | Path | DatabaseUrl) -> Owner | None:
    """The live process that owns a journal; None where there is none. Takes no lock, and disturbs nobody.

    Args:
        where: A file, or the address of a PostgreSQL database.

    Raises:
        JournalError: The lock file cannot be read, or the database cannot be asked.
    """
    place = to_place(where)
    if isinstance(place, DatabaseUrl):
        from holdfast.journal.postgres_store import PostgresStore  # noqa: PLC0415 - the driver is an extra

        with contextlib.closing(PostgresStore(place, read_only=True)) as store:
            return store.owner()
    return _file_owner(place)


def _file_owner(path: Path) -> Owner | None:
    try:
        with lock_path(path).open("rb") as file:
            said = file.read(_OWNER_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"the owner of {path} cannot be read: {error.strerror}"
        raise JournalError(message) from None
    owner = _parse_owner(said)
    return owner if owner is not None and owner.is_alive else None


def _parse_owner(said: bytes) -> Owner | None:
    try:
        return msgspec.json.decode(said, type=Owner)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
