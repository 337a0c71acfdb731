"""A disk beneath SQLite that fails when it is told to, and whose every write is known: a VFS made with ctypes.

The journal runs unchanged over the same library; its file operations come by here. What it wrote and what it flushed
is kept in order, so that the disk can be shown as a power cut at any moment may leave it: everything that was flushed,
and of the rest whatever chance decides, a half-written sector-row among it.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random  # noqa: TID251 - seeded, and printed with each complaint
from typing import Any, NamedTuple

import pytest

SECTOR = 512
IOERR_WRITE, IOERR_FSYNC, FULL = 778, 1034, 13

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P)
_WRITE = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_TRUNCATE = ctypes.CFUNCTYPE(_I, _P, _L)
_SYNC = ctypes.CFUNCTYPE(_I, _P, _I)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", _I),
        ("szOsFile", _I),
        ("mxPathname", _I),
        ("pNext", _P),
        ("zName", ctypes.c_char_p),
        ("pAppData", _P),
        ("xOpen", _P),
        ("others", _P * 14),
    )


class _Methods(ctypes.Structure):
    _fields_ = (
        ("iVersion", _I),
        ("xClose", _P),
        ("xRead", _P),
        ("xWrite", _P),
        ("xTruncate", _P),
        ("xSync", _P),
        ("others", _P * 13),
    )


class Operation(NamedTuple):
    """One thing that was done to a file; ``mark`` is no file's, and says how many records a sync had promised by then."""

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""


class Disk:
    """What is done to the files of one folder.

    Attributes:
        log: Everything, in order.
        fault: Asked before each operation, with its kind and number; what it returns, if not zero, is the operation's end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.log: list[Operation] = []
        self.fault: Callable[[str, int], int] | None = None
        self._before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self._open: dict[int, str] = {}
        self._kept: list[Any] = []
        self._counts: dict[str, int] = {}

    def mark(self, promised: int) -> None:
        """A sync has returned: so many records are promised."""
        self.log.append(Operation("mark", "", promised))

    def promised(self, moment: int) -> int:
        """How many records were promised by then."""
        return max((one.offset for one in self.log[:moment] if one.kind == "mark"), default=0)

    def lose_power(self, moment: int, seed: int, target: Path) -> None:
        """Make the files as a power cut after so many operations may leave them."""
        chance = Random(seed)  # noqa: S311 - a seeded accident
        flushed = {name: bytearray(data) for name, data in self._before.items()}
        waiting: dict[str, list[Operation]] = {}
        for one in self.log[:moment]:
            if one.kind == "sync":
                for earlier in waiting.pop(one.path, []):
                    _apply(flushed.setdefault(one.path, bytearray()), earlier)
            elif one.kind != "mark":
                waiting.setdefault(one.path, []).append(one)
        for name, operations in waiting.items():
            content = flushed.setdefault(name, bytearray())
            for one in operations:
                _apply(content, one, chance)
        for name, content in flushed.items():
            if not name.endswith(("-shm", ".lock")):  # the index of the log is memory, and the lock is the process's
                (target / name).write_bytes(content)

    # -- beneath SQLite -------------------------------------------------------------------------

    @contextlib.contextmanager
    def beneath(self) -> Iterator[None]:
        """Everything that opens a database meanwhile comes by here."""
        library = ctypes.CDLL(_sqlite3.__file__)
        try:
            find, register, forget = (
                library.sqlite3_vfs_find,
                library.sqlite3_vfs_register,
                library.sqlite3_vfs_unregister,
            )
        except AttributeError:
            pytest.skip("this Python keeps SQLite's functions to itself: no file system can be put beneath it")
        find.restype = ctypes.POINTER(_Vfs)
        usual = find(None)
        ours = _Vfs.from_buffer_copy(usual.contents)
        ours.zName = b"holdfast-disk"
        opening = _OPEN(usual.contents.xOpen)
        really_open = _OPEN(partial(self._on_open, opening, usual))
        ours.xOpen = ctypes.cast(really_open, _P)
        self._kept += [ours, opening, really_open]
        register(ctypes.byref(ours), 1)
        try:
            yield
        finally:
            forget(ctypes.byref(ours))
            register(usual, 1)

    def _on_open(
        self, opening: Any, usual: Any, vfs: int, name: int | None, file: int, flags: int, out: int | None
    ) -> int:
        code: int = opening(ctypes.cast(usual, _P), name, file, flags, out)
        path = ctypes.string_at(name).decode() if name else ""
        if code == 0 and path.startswith(self.folder):
            pointer = ctypes.cast(file, ctypes.POINTER(ctypes.POINTER(_Methods)))
            pointer[0] = ctypes.pointer(self._wrapped(pointer[0].contents))
            self._open[file] = Path(path).name
        return code

    def _wrapped(self, usual: _Methods) -> _Methods:
        """The methods of a file, three of which come by here."""
        ours = _Methods.from_buffer_copy(usual)
        write, truncate, sync = _WRITE(usual.xWrite), _TRUNCATE(usual.xTruncate), _SYNC(usual.xSync)

        def on_write(file: int, data: int, length: int, offset: int) -> int:
            content = ctypes.string_at(data, length)
            return self._do(
                Operation("write", self._open[file], offset, content), lambda: write(file, data, length, offset)
            )

        def on_truncate(file: int, size: int) -> int:
            return self._do(Operation("truncate", self._open[file], size), lambda: truncate(file, size))

        def on_sync(file: int, flags: int) -> int:
            return self._do(Operation("sync", self._open[file]), lambda: sync(file, flags))

        callbacks = _WRITE(on_write), _TRUNCATE(on_truncate), _SYNC(on_sync)
        ours.xWrite, ours.xTruncate, ours.xSync = (ctypes.cast(one, _P) for one in callbacks)
        self._kept += [ours, callbacks, write, truncate, sync]
        return ours

    def _do(self, operation: Operation, really: Callable[[], int]) -> int:
        number = self._counts[operation.kind] = self._counts.get(operation.kind, 0) + 1
        fault = self.fault(operation.kind, number) if self.fault is not None else 0
        if fault:
            return fault
        code = really()
        if code == 0:
            self.log.append(operation)
        return code


def _apply(content: bytearray, one: Operation, chance: Random | None = None) -> None:
    """Do it; or, where chance has a say, do it, do some sectors of it, or do not."""
    fate = 0.0 if chance is None else chance.random()
    if fate > 0.6:
        return
    data = one.data
    if chance is not None and fate > 0.4:
        data = data[: chance.randrange(len(data) // SECTOR + 1) * SECTOR]
    if one.kind == "truncate":
        del content[one.offset :]
        return
    end = one.offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[one.offset : end] = data
