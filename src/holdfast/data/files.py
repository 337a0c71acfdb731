"""Files that appear whole or not at all, also where the power fails."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.model.errors import DataError

#: How a file is called while it is being written; whoever finds one may delete it.
PARTIAL_SUFFIX = ".partial"


def write_whole(target: Path, data: bytes) -> None:
    """Write, sync, rename, sync the folder.

    Raises:
        DataError: It cannot be written.
    """
    partial = target.with_name(target.name + PARTIAL_SUFFIX)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        message = f"{target}: cannot be written: {error.strerror or error}"
        raise DataError(message) from None


def append_line(target: Path, line: bytes) -> None:
    """Append one line and sync. What an earlier crash left of an unfinished line is cut off first.

    Raises:
        DataError: It cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        is_new = not target.exists()
        with target.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if file.read() not in (b"", b"\n"):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_folder(target.parent)
    except OSError as error:
        message = f"{target}: cannot be written: {error.strerror or error}"
        raise DataError(message) from None


def sync_folder(folder: Path) -> None:
    """Make a rename in it durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
